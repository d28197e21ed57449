//! Dead letters: kept first, then read; a failed chunk becomes a loss in every partition that lacks it, then the letter is acked.
//!
//! Blocks. What would surprise: a task or a partial that the broker gave up on is no loss; it is sent again, counted, and lost
//! only when that has happened too often.

use crate::archive::{Appended, Archive, ArchiveError, JobFile};
use crate::folding::Event;
use crate::repair;
use crate::tend::{Tend, Tended, Trouble};
use bytes::Bytes;
use rabbit_reduce_core::id::{ChunkNumber, JobId, PartitionNumber};
use rabbit_reduce_core::ledger::delta::Delta;
use rabbit_reduce_core::ledger::{Entry, Ledger};
use rabbit_reduce_core::message::{self, Failure, Outcome, Partial, Refused, Task};
use rabbit_reduce_core::skip::Skip;
use rabbit_reduce_core::spec::SEGMENT_BYTES;
use rabbit_reduce_core::topology::{REDUCE_QUEUES, queue};
use rabbit_reduce_runtime::crash_point;
use std::sync::Arc;

/// Times that a task or partial is sent again before it is taken for what the broker takes it for.
const STRIKES: u32 = 3;
/// Aggregators that may die folding a partial alone before it is a loss.
const DEATHS: u32 = 3;

/// What is left to do before a letter is acked.
#[derive(Default)]
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

/// A chunk that is lost.
struct Loss<'l> {
    job: JobId,
    chunk: ChunkNumber,
    /// In one partition only.
    only: Option<PartitionNumber>,
    reason: &'l str,
    /// Which retry failed; `None` for the last that the ledger knows of.
    retry: Option<u32>,
}

impl Letters {
    /// Buries one letter, which came back `returns` times.
    pub(crate) fn bury(&mut self, archive: &Archive, letter: &Bytes, returns: u32) -> Result<Buried, ArchiveError> {
        if let Ok((failure, task)) = message::decode::<Failure>(letter) {
            if let Some(buried) = self.skip(archive, letter, &failure, &task)? {
                return Ok(buried);
            }
            let Failure { job, chunk, ref reason, retry, .. } = failure;
            return self.lose(archive, letter, &Loss { job, chunk, only: None, reason, retry: Some(retry) });
        }
        if let Ok((refused, _)) = message::decode::<Refused>(letter) {
            return keep_refused(archive, letter, &refused);
        }
        if let Ok((task, body)) = message::decode::<Task>(letter) {
            return self.bury_task(archive, letter, task, &body);
        }
        if let Ok((partial, body)) = message::decode::<Partial>(letter) {
            return self.bury_partial(archive, letter, partial, body, returns);
        }
        let path = archive.set_aside(letter)?;
        tracing::error!(path, "a dead letter that cannot be read is kept");
        Ok(Buried::default())
    }

    fn bury_task(
        &mut self,
        archive: &Archive,
        letter: &Bytes,
        task: Task,
        body: &Bytes,
    ) -> Result<Buried, ArchiveError> {
        let Task { job, chunk, retry, .. } = task;
        if task.strikes >= STRIKES {
            let reason = "the broker gave up delivering its task, again and again";
            return self.lose(archive, letter, &Loss { job, chunk, only: None, reason, retry: Some(retry) });
        }
        tracing::warn!(%job, %chunk, "the broker gave up on a task; it is sent again, set apart");
        let again = Task { strikes: task.strikes + 1, ..task };
        Ok(sent(queue::SUSPECT.to_owned(), message::encode(&again, body)))
    }

    fn bury_partial(
        &mut self,
        archive: &Archive,
        letter: &Bytes,
        partial: Partial,
        body: Bytes,
        returns: u32,
    ) -> Result<Buried, ArchiveError> {
        let Partial { job, chunk, partition, .. } = partial;
        if partial.strikes < STRIKES {
            tracing::warn!(%job, %chunk, %partition, "the broker gave up on a partial; it is sent again");
            let again = Partial { strikes: partial.strikes + 1, ..partial };
            let large = body.len() > SEGMENT_BYTES;
            let name = if large { queue::REDUCE_LARGE.to_owned() } else { queue::reduce(partition, REDUCE_QUEUES) };
            return Ok(sent(name, message::encode(&again, &body)));
        }
        if returns < DEATHS {
            tracing::warn!(%job, %chunk, %partition, "the broker gave up on a partial, again and again; it is folded alone");
            return fold_alone(archive, letter, partial, body);
        }
        let reason = "aggregators died folding one of its partials";
        self.lose(archive, letter, &Loss { job, chunk, only: Some(partition), reason, retry: None })
    }

    /// Has a record left out that kills who maps it, and the rest of its chunk mapped; `None` if it is too late for that.
    fn skip(
        &mut self,
        archive: &Archive,
        letter: &Bytes,
        failure: &Failure,
        task: &Bytes,
    ) -> Result<Option<Buried>, ArchiveError> {
        let (Some(place), Ok((task, body))) = (failure.record, message::decode::<Task>(task)) else { return Ok(None) };
        let Some(file) = job_of(archive, letter, failure.job)? else { return Ok(Some(Buried::default())) };
        let ledgers = self.ledgers(archive, failure.job, &file)?;
        let skip = Skip::new(place.source, place.offset, failure.reason.clone());
        if !repair::leave_out(archive, failure.job, ledgers, failure.chunk, &skip)? {
            return Ok(None);
        }
        let skips = ledgers.first().map(|ledger| ledger.agreed(failure.chunk).to_vec()).unwrap_or_default();
        let (job, chunk, offset) = (failure.job, failure.chunk, place.offset);
        tracing::error!(%job, %chunk, source = place.source.0, offset, reason = skip.reason, "a record is left out");
        Ok(Some(sent(queue::SUSPECT.to_owned(), repair::fresh((task, body), failure.retry, skips))))
    }

    /// The ledgers of a job as they are now.
    fn ledgers(&mut self, archive: &Archive, job: JobId, file: &JobFile) -> Result<&mut [Ledger], ArchiveError> {
        if self.last.as_ref().is_none_or(|(known, _)| *known != job) {
            self.last = Some((job, vec![Ledger::default(); file.spec.partitions as usize]));
        }
        let (_, ledgers) = self.last.as_mut().expect("just set");
        for (partition, ledger) in (0..).map(PartitionNumber).zip(ledgers.iter_mut()) {
            archive.refresh(job, partition, ledger)?;
        }
        Ok(ledgers)
    }

    /// Notes a loss, everywhere or in one partition only.
    fn lose(&mut self, archive: &Archive, letter: &Bytes, loss: &Loss<'_>) -> Result<Buried, ArchiveError> {
        let Loss { job, chunk, only, reason, retry } = *loss;
        let Some(file) = job_of(archive, letter, job)? else { return Ok(Buried::default()) };
        let name = archive.keep_letter(job, chunk, letter, reason)?;
        crash_point::reached("aggregator.letter_stored");
        tracing::error!(%job, %chunk, reason, name, "a chunk is lost");
        for (partition, ledger) in (0..).map(PartitionNumber).zip(self.ledgers(archive, job, &file)?) {
            if only.is_some_and(|only| only != partition) {
                continue;
            }
            let retry = retry.unwrap_or_else(|| ledger.retries(chunk));
            let entry = Entry::Lose { chunk, reason: reason.to_owned(), retry };
            // No longer valid: the partition has all of it, or knows of the loss.
            let _: Appended = archive.append(job, partition, ledger, entry, None)?;
            crash_point::reached("aggregator.loss_noted");
        }
        Ok(Buried { send: None, events: vec![Event::Look(job)] })
    }
}

/// A letter's job. Without one there is nothing to note: it was removed, or nobody knows it and the letter is kept.
fn job_of(archive: &Archive, letter: &Bytes, job: JobId) -> Result<Option<JobFile>, ArchiveError> {
    if archive.is_removed(job)? {
        return Ok(None);
    }
    let file = archive.job(job)?;
    if file.is_none() {
        let path = archive.set_aside(letter)?;
        tracing::error!(%job, path, "a dead letter of a job that this store does not know is kept");
    }
    Ok(file)
}

/// Records that were refused are losses by the partials of their chunk; here they are only kept.
fn keep_refused(archive: &Archive, letter: &Bytes, refused: &Refused) -> Result<Buried, ArchiveError> {
    let Refused { job, chunk, records } = refused;
    if job_of(archive, letter, *job)?.is_some() {
        let reason = records.first().map_or("", |record| record.skip.reason.as_str());
        archive.keep_letter(*job, *chunk, letter, reason)?;
        tracing::warn!(%job, %chunk, records = records.len(), reason, "records are refused by their program");
    }
    Ok(Buried::default())
}

/// Folds and commits one partial with nothing else in hand, so that what dies of it loses nothing else.
fn fold_alone(archive: &Archive, letter: &Bytes, partial: Partial, body: Bytes) -> Result<Buried, ArchiveError> {
    let Partial { job, partition, .. } = partial;
    let Some(file) = job_of(archive, letter, job)? else { return Ok(Buried::default()) };
    if partition.0 >= file.spec.partitions || partial.partitions != file.spec.partitions {
        let path = archive.set_aside(letter)?;
        tracing::error!(%job, %partition, path, "a partial that does not fit its job is kept");
        return Ok(Buried::default());
    }
    let mut delta = Delta::default();
    delta.fold(partial, body, ());
    let (archive_too, job_file, ledger) = (archive.clone(), Arc::new(file), Ledger::default());
    let tend = Tend { archive: archive_too, job: job_file, partition, chunks: None, ledger, delta, losses: Vec::new() };
    let Tended { trouble, .. } = tend.run();
    match trouble {
        None | Some(Trouble::Removed | Trouble::GivenUp) => Ok(Buried { send: None, events: vec![Event::Look(job)] }),
        Some(Trouble::Archive(error)) => Err(error),
        Some(Trouble::Disagreement(disagreement)) => {
            let end = archive.end_without_result(job, Outcome::Failed(disagreement.to_string()))?;
            Ok(Buried { send: None, events: vec![Event::Ended(job, Ok(Some(end)))] })
        }
    }
}

fn sent(queue: String, message: Bytes) -> Buried {
    Buried { send: Some((queue, message)), events: Vec::new() }
}
