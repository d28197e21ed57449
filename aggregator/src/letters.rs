//! Dead letters: kept first, then read; a failed chunk becomes a loss in every partition that lacks it, then the letter is acked.
//!
//! Blocks. What would surprise: a task or a partial that the broker gave up on is no loss; it is sent again, counted, and lost
//! only when that has happened too often.

use crate::archive::{Appended, Archive, ArchiveError, JobFile};
use crate::aside::Note;
use crate::folding::Event;
use crate::repair;
use crate::tend::{Tend, Tended, Trouble};
use bytes::Bytes;
use rabbit_reduce_core::id::{ChunkNumber, JobId, Origin, PartitionNumber};
use rabbit_reduce_core::ledger::delta::Delta;
use rabbit_reduce_core::ledger::{Entry, Ledger};
use rabbit_reduce_core::message::{self, Failure, FalseClaim, Kind, Outcome, Partial, Refused, Request, Task};
use rabbit_reduce_core::skip::Skip;
use rabbit_reduce_core::spec::SEGMENT_BYTES;
use rabbit_reduce_core::topology::{REDUCE_QUEUES, queue};
use rabbit_reduce_runtime::crash_point;
use rabbit_reduce_runtime::mistake::{self, Mistake};
use rabbit_reduce_runtime::process::start;
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
    /// How many letters a job had, and has got since, about, and the last of these: of the job of the last letter.
    kept: Option<(JobId, u64, String)>,
}

/// What a letter is: who gave up on what.
enum Given {
    /// A worker, on a task.
    Failure(Failure, Bytes),
    /// A program, on records.
    Refused(Refused),
    /// The broker, on a task.
    Task(Task, Bytes),
    /// The broker, on a partial.
    Partial(Partial, Bytes),
}

/// A letter that can be dealt with: it speaks of a job that is here.
struct Read<'l> {
    archive: &'l Archive,
    letter: &'l Bytes,
    /// Its job has not too many of them.
    is_kept: bool,
    file: JobFile,
    /// C, once it is known.
    chunks: Option<u32>,
}

/// Why a letter is not dealt with.
enum Refusal {
    /// It goes back, and comes again.
    Later(ArchiveError),
    /// However often it came, it could not be.
    Never(String),
}

impl From<ArchiveError> for Refusal {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Store(_) | ArchiveError::File { .. } => Self::Later(error),
            error if error.is_only_here() => Self::Later(error),
            ArchiveError::Damaged { .. } | ArchiveError::Spec { .. } => Self::Never(start::chain(&error)),
        }
    }
}

impl From<FalseClaim> for Refusal {
    fn from(claim: FalseClaim) -> Self {
        Self::Never(claim.to_string())
    }
}

/// A chunk that is lost, or a record that was sent again.
struct Loss<'l> {
    origin: Origin,
    /// In one partition only.
    only: Option<PartitionNumber>,
    reason: &'l str,
    /// Which retry failed; `None` for the last that the ledger knows of.
    retry: Option<u32>,
}

impl Letters {
    /// Buries one letter, which came back `returns` times. One that cannot be dealt with however often it comes is set aside:
    /// it would stand before all others.
    pub(crate) fn bury(&mut self, archive: &Archive, letter: &Bytes, returns: u32) -> Result<Buried, ArchiveError> {
        match self.try_bury(archive, letter, returns) {
            Ok(buried) => Ok(buried),
            Err(Refusal::Later(error)) => Err(error),
            Err(Refusal::Never(reason)) => {
                archive.set_aside(letter, Note::of(letter, queue::DEAD, reason))?;
                Ok(Buried::default())
            }
        }
    }

    fn try_bury(&mut self, archive: &Archive, letter: &Bytes, returns: u32) -> Result<Buried, Refusal> {
        if message::decode::<Request>(letter).is_ok() {
            tracing::debug!("the broker gave up on a request; whoever waits for its answer asks again");
            return Ok(Buried::default());
        }
        let none = || Refusal::Never("it is neither a failure nor a task nor a partial".to_owned());
        let given = Given::read(letter).ok_or_else(none)?;
        let (job, chunk) = given.about();
        let Some(file) = archive.job(job)? else {
            // The mark comes before the spec goes, so it is looked for after the spec.
            let unknown = Refusal::Never(format!("no job {job} is known to this store"));
            return if archive.is_removed(job)? { Ok(Buried::default()) } else { Err(unknown) };
        };
        if archive.is_removed(job)? {
            return Ok(Buried::default());
        }
        let chunks = archive.seal(job)?.map(|seal| seal.chunks);
        chunk.check(chunks)?;
        let too_many = self.too_many(archive, job)?;
        let is_kept = too_many.is_none();
        if let Some(reason) = too_many
            && archive.end(job)?.is_none()
        {
            return fail(archive, job, reason);
        }
        let read = Read { archive, letter, is_kept, file, chunks };
        match given {
            Given::Failure(failure, task) => self.bury_failure(&read, &failure, &task),
            Given::Refused(refused) => self.keep_refused(&read, &refused),
            Given::Task(task, body) => self.bury_task(&read, task, &body),
            Given::Partial(partial, body) => self.bury_partial(read, partial, body, returns),
        }
    }

    fn bury_failure(&mut self, read: &Read<'_>, failure: &Failure, task: &Bytes) -> Result<Buried, Refusal> {
        failure.check()?;
        if let Some(place) = failure.record
            && let Ok((task, body)) = message::decode::<Task>(task)
        {
            let skip = Skip::new(place.source, place.offset, failure.reason.clone());
            if let Some(again) = self.leave_out(read, failure, &skip, (task, body))? {
                return Ok(again);
            }
        }
        let Failure { chunk, retried: record, ref reason, retry, .. } = *failure;
        self.lose(read, &Loss { origin: Origin { chunk, record }, only: None, reason, retry: Some(retry) })
    }

    /// Has a record left out that kills who maps it, and the rest of its chunk mapped; `None` if it is too late for that.
    fn leave_out(
        &mut self,
        read: &Read<'_>,
        failure: &Failure,
        skip: &Skip,
        task: (Task, Bytes),
    ) -> Result<Option<Buried>, Refusal> {
        let Failure { job, chunk, retry, .. } = *failure;
        let Read { archive, file, .. } = read;
        self.keep(read, chunk, &failure.reason)?;
        crash_point::reached("aggregator.letter_stored");
        let ledgers = self.ledgers(archive, file)?;
        if !repair::leave_out(archive, job, ledgers, chunk, skip)? {
            return Ok(None);
        }
        let skips = ledgers.first().map(|ledger| ledger.agreed(chunk).to_vec()).unwrap_or_default();
        let (source, offset, reason) = (skip.source.0, skip.offset, &skip.reason);
        tracing::error!(%job, %chunk, source, offset, reason, "a record is left out");
        let send = Some((queue::SUSPECT.to_owned(), repair::fresh(task, retry, skips)));
        Ok(Some(Buried { send, events: Vec::new() }))
    }

    fn bury_task(&mut self, read: &Read<'_>, task: Task, body: &Bytes) -> Result<Buried, Refusal> {
        task.check()?;
        let Task { job, chunk, record, retry, .. } = task;
        if task.strikes >= STRIKES || mistake::makes(Mistake::LimitIsVerdict) {
            let reason = "the broker gave up delivering its task, again and again";
            let origin = Origin { chunk, record };
            return self.lose(read, &Loss { origin, only: None, reason, retry: Some(retry) });
        }
        tracing::warn!(%job, %chunk, "the broker gave up on a task; it is sent again, set apart");
        let again = Task { strikes: task.strikes + 1, ..task };
        sent(queue::SUSPECT.to_owned(), &again, body)
    }

    fn bury_partial(&mut self, read: Read<'_>, partial: Partial, body: Bytes, returns: u32) -> Result<Buried, Refusal> {
        partial.check()?;
        partial.check_in(&read.file.spec, read.chunks)?;
        let Partial { job, chunk, partition, .. } = partial;
        let origin = partial.unit().origin();
        if partial.strikes < STRIKES && !mistake::makes(Mistake::LimitIsVerdict) {
            tracing::warn!(%job, %chunk, %partition, "the broker gave up on a partial; it is sent again");
            let again = Partial { strikes: partial.strikes + 1, ..partial };
            let large = body.len() > SEGMENT_BYTES;
            let name = if large { queue::REDUCE_LARGE.to_owned() } else { queue::reduce(partition, REDUCE_QUEUES) };
            return sent(name, &again, &body);
        }
        if returns < DEATHS && !mistake::makes(Mistake::LimitIsVerdict) {
            tracing::warn!(%job, %chunk, %partition, "the broker gave up on a partial, again and again; it is folded alone");
            return read.fold_alone(partial, body);
        }
        let reason = "aggregators died folding one of its partials";
        self.lose(&read, &Loss { origin, only: Some(partition), reason, retry: None })
    }

    /// Why a job gets no more letters, if it has too many; counted anew before that is said, as some may have been dropped.
    fn too_many(&mut self, archive: &Archive, job: JobId) -> Result<Option<String>, ArchiveError> {
        if archive.limits.letters.is_none() {
            return Ok(None);
        }
        if let Some((known, kept, _)) = &self.kept
            && *known == job
            && archive.limits.too_many_letters(*kept).is_none()
        {
            return Ok(None);
        }
        let kept = archive.letter_count(job)?;
        self.kept = Some((job, kept, String::new()));
        Ok(archive.limits.too_many_letters(kept))
    }

    /// Keeps a letter, unless its job has too many; its name, if it has one.
    fn keep(&mut self, read: &Read<'_>, chunk: ChunkNumber, reason: &str) -> Result<Option<String>, ArchiveError> {
        let job = read.file.spec.job;
        if !read.is_kept {
            tracing::error!(%job, %chunk, reason, "a dead letter is not kept: its job has too many (--max-job-letters)");
            return Ok(None);
        }
        let name = read.archive.keep_letter(job, chunk, read.letter, reason)?;
        match &mut self.kept {
            // One that comes again is the same one.
            Some((known, kept, last)) if *known == job && *last != name => {
                *kept += 1;
                last.clone_from(&name);
            }
            _ => {}
        }
        Ok(Some(name))
    }

    /// Records that were refused are losses by the partials of their chunk; here they are only kept.
    fn keep_refused(&mut self, read: &Read<'_>, refused: &Refused) -> Result<Buried, Refusal> {
        refused.check()?;
        let Refused { job, chunk, records } = refused;
        let reason = records.first().map_or("", |record| record.skip.reason.as_str());
        self.keep(read, *chunk, reason)?;
        tracing::warn!(%job, %chunk, records = records.len(), reason, "records are refused by their program");
        Ok(Buried::default())
    }

    /// The ledgers of a job as they are now.
    fn ledgers(&mut self, archive: &Archive, file: &JobFile) -> Result<&mut [Ledger], ArchiveError> {
        let job = file.spec.job;
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
    fn lose(&mut self, read: &Read<'_>, loss: &Loss<'_>) -> Result<Buried, Refusal> {
        let Read { archive, file, .. } = read;
        let Loss { origin, only, reason, retry } = *loss;
        let Origin { chunk, record } = origin;
        let job = file.spec.job;
        let name = self.keep(read, chunk, reason)?;
        crash_point::reached("aggregator.letter_stored");
        tracing::error!(%job, what = %origin, reason, name, "it is lost");
        for (partition, ledger) in (0..).map(PartitionNumber).zip(self.ledgers(archive, file)?) {
            if only.is_some_and(|only| only != partition) {
                continue;
            }
            let retry = retry.unwrap_or_else(|| ledger.retries(origin));
            let entry = Entry::Lose { chunk, record, reason: reason.to_owned(), retry };
            // No longer valid: the partition has all of it, or knows of the loss.
            let _: Appended = archive.append(job, partition, ledger, entry, None)?;
            crash_point::reached("aggregator.loss_noted");
        }
        Ok(Buried { send: None, events: vec![Event::Look(job)] })
    }
}

impl Given {
    fn read(letter: &Bytes) -> Option<Self> {
        match message::kind(letter).ok()? {
            Failure::NUMBER => message::decode(letter).ok().map(|(failure, task)| Self::Failure(failure, task)),
            Refused::NUMBER => message::decode(letter).ok().map(|(refused, _)| Self::Refused(refused)),
            Task::NUMBER => message::decode(letter).ok().map(|(task, body)| Self::Task(task, body)),
            Partial::NUMBER => message::decode(letter).ok().map(|(partial, body)| Self::Partial(partial, body)),
            _ => None,
        }
    }

    const fn about(&self) -> (JobId, ChunkNumber) {
        match self {
            Self::Failure(failure, _) => (failure.job, failure.chunk),
            Self::Refused(refused) => (refused.job, refused.chunk),
            Self::Task(task, _) => (task.job, task.chunk),
            Self::Partial(partial, _) => (partial.job, partial.chunk),
        }
    }
}

impl Read<'_> {
    /// Folds and commits one partial with nothing else in hand, so that what dies of it loses nothing else.
    fn fold_alone(self, partial: Partial, body: Bytes) -> Result<Buried, Refusal> {
        let Partial { job, partition, .. } = partial;
        let mut delta = Delta::default();
        delta.fold(partial, body, ());
        let (archive, file, ledger) = (self.archive.clone(), Arc::new(self.file), Ledger::default());
        let tend = Tend { archive, job: file, partition, chunks: None, ledger, delta, losses: Vec::new() };
        let Tended { trouble, .. } = tend.run();
        match trouble {
            None | Some(Trouble::Removed | Trouble::GivenUp) => {
                Ok(Buried { send: None, events: vec![Event::Look(job)] })
            }
            Some(Trouble::Archive(error)) => Err(error.into()),
            Some(Trouble::Disagreement(disagreement)) => fail(self.archive, job, disagreement.to_string()),
            Some(Trouble::Program(failed)) => fail(self.archive, job, failed.reason),
        }
    }
}

/// The job fails, whatever else is known of it.
fn fail(archive: &Archive, job: JobId, reason: String) -> Result<Buried, Refusal> {
    let end = archive.end_without_result(job, Outcome::Failed(reason))?;
    Ok(Buried { send: None, events: vec![Event::Ended(job, Ok(Some(end)))] })
}

/// One that says more of itself than a message can carry is never sent again.
fn sent<K: Kind>(queue: String, again: &K, body: &Bytes) -> Result<Buried, Refusal> {
    let unsendable = |error| Refusal::Never(format!("it cannot be sent again: {error}"));
    let message = message::try_encode(again, body).map_err(unsendable)?;
    Ok(Buried { send: Some((queue, message)), events: Vec::new() })
}
