//! Dead letters: kept first, then read; a failed chunk becomes a loss in every partition that lacks it, then the letter is acked.
//!
//! Blocks. What would surprise: a task or a partial that the broker gave up on is no loss; it is sent again, counted, and lost
//! only when that has happened too often.

use crate::archive::{Appended, Archive, ArchiveError, JobFile};
use crate::aside::Note;
use crate::folding::Event;
use bytes::Bytes;
use rabbit_reduce_core::id::{ChunkNumber, JobId, PartitionNumber};
use rabbit_reduce_core::ledger::{Entry, Ledger};
use rabbit_reduce_core::message::{self, Failure, Kind, Partial, Task};
use rabbit_reduce_core::spec::SEGMENT_BYTES;
use rabbit_reduce_core::topology::{REDUCE_QUEUES, queue};
use rabbit_reduce_runtime::process::start;

/// Times that a task or partial is sent again before it is a loss.
const STRIKES: u32 = 3;

/// What is left to do before a letter is acked.
pub(crate) struct Buried {
    /// Publish this first, and wait for its confirm.
    pub(crate) send: Option<(String, Bytes)>,
    /// Then tell the loop.
    pub(crate) events: Vec<Event>,
}

/// The ledgers of the job that the last letter was about: losses come in swarms.
#[derive(Default)]
pub(crate) struct Letters {
    last: Option<(JobId, Vec<Ledger>)>,
}

impl Letters {
    /// Buries one letter. One that cannot be dealt with however often it comes is set aside: it would stand before all others.
    pub(crate) fn bury(&mut self, archive: &Archive, letter: &Bytes) -> Result<Buried, ArchiveError> {
        let aside = |reason: String| {
            archive.set_aside(letter, Note::of(letter, queue::DEAD, reason))?;
            Ok(Buried { send: None, events: Vec::new() })
        };
        match self.try_bury(archive, letter) {
            Ok(Ok(buried)) => Ok(buried),
            Ok(Err(reason)) => aside(reason),
            Err(error @ (ArchiveError::Damaged { .. } | ArchiveError::Spec { .. })) => aside(start::chain(&error)),
            Err(error) => Err(error),
        }
    }

    /// A letter that is none is given back with the reason.
    fn try_bury(&mut self, archive: &Archive, letter: &Bytes) -> Result<Result<Buried, String>, ArchiveError> {
        let Some(job) = message::job(letter) else {
            return Ok(Err("it is neither a failure nor a task nor a partial".to_owned()));
        };
        if archive.is_removed(job)? {
            return Ok(Ok(Buried { send: None, events: Vec::new() }));
        }
        let Some(file) = archive.job(job)? else { return Ok(Err(format!("no job {job} is known to this store"))) };
        let chunks = archive.seal(job)?.map(|seal| seal.chunks);
        if let Ok((failure, _)) = message::decode::<Failure>(letter) {
            if let Err(claim) = failure.check().and_then(|()| failure.chunk.check(chunks)) {
                return Ok(Err(claim.to_string()));
            }
            return self.lose(archive, &file, letter, failure.chunk, None, &failure.reason).map(Ok);
        }
        if let Ok((task, body)) = message::decode::<Task>(letter) {
            if let Err(claim) = task.check().and_then(|()| task.chunk.check(chunks)) {
                return Ok(Err(claim.to_string()));
            }
            if task.crashes >= STRIKES {
                let reason = "the broker gave up delivering its task, again and again";
                return self.lose(archive, &file, letter, task.chunk, None, reason).map(Ok);
            }
            tracing::warn!(job = %task.job, chunk = %task.chunk, "the broker gave up on a task; it is sent again, set apart");
            let again = Task { crashes: task.crashes + 1, ..task };
            return Ok(sent(queue::SUSPECT.to_owned(), &again, &body));
        }
        if let Ok((partial, body)) = message::decode::<Partial>(letter) {
            if let Err(claim) = partial.check().and_then(|()| partial.check_in(&file.spec, chunks)) {
                return Ok(Err(claim.to_string()));
            }
            if partial.strikes >= STRIKES {
                let reason = "the broker gave up delivering one of its partials, again and again";
                return self.lose(archive, &file, letter, partial.chunk, Some(partial.partition), reason).map(Ok);
            }
            tracing::warn!(job = %partial.job, chunk = %partial.chunk, partition = %partial.partition,
                "the broker gave up on a partial; it is sent again");
            let again = Partial { strikes: partial.strikes + 1, ..partial };
            let large = body.len() > SEGMENT_BYTES;
            let name =
                if large { queue::REDUCE_LARGE.to_owned() } else { queue::reduce(again.partition, REDUCE_QUEUES) };
            return Ok(sent(name, &again, &body));
        }
        unreachable!("only these three speak of a job")
    }

    /// Notes a loss, everywhere or in one partition only.
    fn lose(
        &mut self,
        archive: &Archive,
        file: &JobFile,
        letter: &Bytes,
        chunk: ChunkNumber,
        only: Option<PartitionNumber>,
        reason: &str,
    ) -> Result<Buried, ArchiveError> {
        let job = file.spec.job;
        archive.set_dead(job, letter, Note::of(letter, queue::DEAD, format!("chunk {chunk} is lost: {reason}")))?;
        if self.last.as_ref().is_none_or(|(known, _)| *known != job) {
            self.last = Some((job, vec![Ledger::default(); file.spec.partitions as usize]));
        }
        let (_, ledgers) = self.last.as_mut().expect("just set");
        for (number, ledger) in (0..).zip(ledgers) {
            let partition = PartitionNumber(number);
            if only.is_some_and(|only| only != partition) {
                continue;
            }
            archive.refresh(job, partition, ledger)?;
            let entry = Entry::Lose { chunk, reason: reason.to_owned() };
            // No longer valid: the partition has all of it, or knows of the loss.
            let _: Appended = archive.append(job, partition, ledger, entry, None)?;
        }
        Ok(Buried { send: None, events: vec![Event::Look(job)] })
    }
}

/// One that says more of itself than a message can carry is given back with the reason.
fn sent<K: Kind>(queue: String, again: &K, body: &Bytes) -> Result<Buried, String> {
    let message = message::try_encode(again, body).map_err(|error| format!("it cannot be sent again: {error}"))?;
    Ok(Buried { send: Some((queue, message)), events: Vec::new() })
}
