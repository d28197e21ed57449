//! Dead letters: kept first, then read; a failed chunk becomes a loss in every partition that lacks it, then the letter is acked.
//!
//! Blocks. What would surprise: a task or a partial that the broker gave up on is no loss; it is sent again, counted, and lost
//! only when that has happened too often.

use crate::archive::{Appended, Archive, ArchiveError};
use crate::folding::Event;
use bytes::Bytes;
use rabbit_reduce_core::id::{ChunkNumber, JobId, PartitionNumber};
use rabbit_reduce_core::ledger::{Entry, Ledger};
use rabbit_reduce_core::message::{self, Failure, Partial, Task};
use rabbit_reduce_core::spec::SEGMENT_BYTES;
use rabbit_reduce_core::topology::{REDUCE_QUEUES, queue};
use rabbit_reduce_runtime::mistake::{self, Mistake};

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
    /// Buries one letter.
    pub(crate) fn bury(&mut self, archive: &Archive, letter: &Bytes) -> Result<Buried, ArchiveError> {
        if let Ok((failure, _)) = message::decode::<Failure>(letter) {
            return self.lose(archive, letter, failure.job, failure.chunk, None, &failure.reason);
        }
        if let Ok((task, body)) = message::decode::<Task>(letter) {
            if task.crashes >= STRIKES || mistake::makes(Mistake::LimitIsVerdict) {
                let reason = "the broker gave up delivering its task, again and again";
                return self.lose(archive, letter, task.job, task.chunk, None, reason);
            }
            tracing::warn!(job = %task.job, chunk = %task.chunk, "the broker gave up on a task; it is sent again, set apart");
            let again = Task { crashes: task.crashes + 1, ..task };
            return Ok(sent(queue::SUSPECT.to_owned(), message::encode(&again, &body)));
        }
        if let Ok((partial, body)) = message::decode::<Partial>(letter) {
            if partial.strikes >= STRIKES || mistake::makes(Mistake::LimitIsVerdict) {
                let reason = "the broker gave up delivering one of its partials, again and again";
                return self.lose(archive, letter, partial.job, partial.chunk, Some(partial.partition), reason);
            }
            tracing::warn!(job = %partial.job, chunk = %partial.chunk, partition = %partial.partition,
                "the broker gave up on a partial; it is sent again");
            let again = Partial { strikes: partial.strikes + 1, ..partial };
            let large = body.len() > SEGMENT_BYTES;
            let name =
                if large { queue::REDUCE_LARGE.to_owned() } else { queue::reduce(again.partition, REDUCE_QUEUES) };
            return Ok(sent(name, message::encode(&again, &body)));
        }
        let path = archive.set_aside(None, letter)?;
        tracing::error!(path, "a dead letter that cannot be read is kept");
        Ok(Buried { send: None, events: Vec::new() })
    }

    /// Notes a loss, everywhere or in one partition only.
    fn lose(
        &mut self,
        archive: &Archive,
        letter: &Bytes,
        job: JobId,
        chunk: ChunkNumber,
        only: Option<PartitionNumber>,
        reason: &str,
    ) -> Result<Buried, ArchiveError> {
        let nothing = Buried { send: None, events: Vec::new() };
        if archive.is_removed(job)? {
            return Ok(nothing);
        }
        let Some(file) = archive.job(job)? else {
            let path = archive.set_aside(None, letter)?;
            tracing::error!(%job, path, "a dead letter of a job that this store does not know is kept");
            return Ok(nothing);
        };
        let path = archive.set_aside(Some(job), letter)?;
        tracing::error!(%job, %chunk, reason, path, "a chunk is lost");
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

fn sent(queue: String, message: Bytes) -> Buried {
    Buried { send: Some((queue, message)), events: Vec::new() }
}
