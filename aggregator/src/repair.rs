//! Lost chunks and records sent again: because a person asks for it, or because some partitions count a chunk that others lack.
//!
//! Blocks, and publishes nothing: it says which tasks to send. What would surprise: the entries come first, so that no partition
//! is finished between the sending and its outcome. Who dies in between leaves a retry that nobody has sent; who gets the request next does, or the sweep.

use crate::archive::{Appended, Archive, ArchiveError};
use bytes::Bytes;
use rabbit_reduce_core::id::{ChunkNumber, JobId, Origin, PartitionNumber};
use rabbit_reduce_core::ledger::{Entry, Ledger};
use rabbit_reduce_core::message::{self, MAX_BODY_BYTES, Rereduced, Task, TaskPiece};
use rabbit_reduce_core::skip::{Place, Skip};
use rabbit_reduce_core::spec::{Source, Spec};
use rabbit_reduce_core::topology::REDUCE_QUEUES;
use rabbit_reduce_runtime::crash_point;
use rabbit_reduce_runtime::mistake::{self, Mistake};

/// The retries that a chunk, or a record that was sent again, gets by itself.
const BY_ITSELF: u32 = 1;

/// A chunk, or a record of it, to be sent again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Again {
    pub(crate) origin: Origin,
    /// Which retry it is.
    pub(crate) retry: u32,
}

/// What becomes of a lost chunk or record.
pub(crate) enum PutBack {
    /// Its task is to be sent, as its retry of this number.
    Send(u32),
    /// It is being sent again already, as its retry of this number.
    UnderWay(u32),
    /// It cannot be sent again, for this reason.
    No(String),
}

/// Agrees that what is of mixed fates is sent again: what to send, and that of which nothing is kept.
pub(crate) fn repair(
    archive: &Archive,
    job: JobId,
    mixed: Vec<Origin>,
) -> Result<(Vec<Again>, Vec<Origin>), ArchiveError> {
    let partitions = archive.job(job)?.map_or(0, |file| file.spec.partitions);
    let mut ledgers = archive.ledgers(job, partitions)?;
    let (mut again, mut hopeless) = (Vec::new(), Vec::new());
    for origin in mixed {
        let put_back = if let Some(place) = origin.record {
            let counting = ledgers.iter().filter(|ledger| ledger.touches_record(origin.chunk, place));
            let counted = counting.map(|ledger| ledger.retries(origin)).max().unwrap_or(0);
            archive.put_record_back(job, &mut ledgers, (origin.chunk, place), counted.saturating_add(BY_ITSELF))?
        } else {
            archive.put_back(job, &mut ledgers, origin.chunk, BY_ITSELF)?
        };
        match put_back {
            PutBack::Send(retry) => {
                tracing::warn!(%job, what = %origin, "some partitions count it and others lack it; it is sent again");
                again.push(Again { origin, retry });
            }
            PutBack::UnderWay(_) => {}
            PutBack::No(reason) => {
                tracing::warn!(%job, what = %origin, reason, "some partitions count it and others lack it");
                hopeless.push(origin);
            }
        }
    }
    Ok((again, hopeless))
}

/// Agrees that a record is left out of every attempt at its chunk; `false` if something of the chunk is decided already.
pub(crate) fn leave_out(
    archive: &Archive,
    job: JobId,
    ledgers: &mut [Ledger],
    chunk: ChunkNumber,
    skip: &Skip,
) -> Result<bool, ArchiveError> {
    let knows = |ledger: &Ledger| ledger.agreed(chunk).iter().any(|agreed| agreed.place() == skip.place());
    let decided = |ledger: &Ledger| ledger.touches(chunk) || ledger.is_lost(chunk);
    if ledgers.iter().any(|ledger| decided(ledger) && !knows(ledger)) {
        return Ok(false);
    }
    for (partition, ledger) in (0..).map(PartitionNumber).zip(ledgers.iter_mut()) {
        let entry = Entry::Skip { chunk, skip: skip.clone() };
        if let Appended::No(_) = archive.append(job, partition, ledger, entry, None)?
            && !knows(ledger)
        {
            return Ok(false);
        }
        crash_point::reached("aggregator.record_left_out");
    }
    Ok(agree(ledgers, chunk))
}

/// Whether all partitions leave out the same of a chunk, so that one attempt can satisfy them all.
fn agree(ledgers: &[Ledger], chunk: ChunkNumber) -> bool {
    ledgers.windows(2).all(|pair| pair[0].agreed(chunk) == pair[1].agreed(chunk))
}

/// The number of the newest retry that any partition knows of.
fn newest(ledgers: &[Ledger], origin: Origin) -> u32 {
    ledgers.iter().map(|ledger| ledger.retries(origin)).max().unwrap_or(0)
}

impl Archive {
    /// Agrees that a chunk is sent again, as its retry of a number up to `most`.
    pub(crate) fn put_back(
        &self,
        job: JobId,
        ledgers: &mut [Ledger],
        chunk: ChunkNumber,
        most: u32,
    ) -> Result<PutBack, ArchiveError> {
        let mut lost = Vec::new();
        for (partition, ledger) in (0..).map(PartitionNumber).zip(ledgers.iter_mut()) {
            self.refresh(job, partition, ledger)?;
            if ledger.is_lost(chunk) {
                lost.push(partition);
            }
        }
        if lost.is_empty() {
            let open = ledgers.iter().any(|ledger| ledger.is_retrying(chunk));
            return Ok(if open {
                PutBack::UnderWay(newest(ledgers, chunk.into()))
            } else {
                PutBack::No(format!("chunk {chunk} is not lost"))
            });
        }
        let retry = newest(ledgers, chunk.into()).saturating_add(1);
        if retry > most {
            return Ok(PutBack::No(format!("chunk {chunk} was sent again before")));
        }
        if !agree(ledgers, chunk) {
            return Ok(PutBack::No(format!("partitions disagree about what to leave out of chunk {chunk}")));
        }
        if self.kept_task(job, chunk)?.is_none() {
            let reason = format!("the task of chunk {chunk} is not kept; push its input again, as a job of its own");
            return Ok(PutBack::No(reason));
        }
        if mistake::makes(Mistake::RetryIsNotAgreed) {
            return Ok(PutBack::Send(retry));
        }
        let mut agreed = false;
        for partition in lost {
            let entry = Entry::Retry { chunk, retry };
            agreed |=
                matches!(self.append(job, partition, &mut ledgers[partition.index()], entry, None)?, Appended::Yes);
            crash_point::reached("aggregator.retry_agreed");
        }
        Ok(if agreed { PutBack::Send(retry) } else { PutBack::UnderWay(newest(ledgers, chunk.into())) })
    }

    /// Agrees that a record is sent again by itself, wherever it is not counted, as its retry of a number up to `most`.
    pub(crate) fn put_record_back(
        &self,
        job: JobId,
        ledgers: &mut [Ledger],
        (chunk, place): (ChunkNumber, Place),
        most: u32,
    ) -> Result<PutBack, ArchiveError> {
        let origin = Origin::from((chunk, place));
        let mut lost = Vec::new();
        let (mut counted, mut left_out) = (true, true);
        for (partition, ledger) in (0..).map(PartitionNumber).zip(ledgers.iter_mut()) {
            self.refresh(job, partition, ledger)?;
            let counts = ledger.covers_record(chunk, place);
            (counted, left_out) = (counted && counts, left_out && ledger.leaves_out(chunk, place));
            if !counts && !ledger.is_retrying_record(chunk, place) {
                lost.push(partition);
            }
        }
        match (left_out, counted, lost.is_empty()) {
            (false, ..) => {
                return Ok(PutBack::No(format!("chunk {chunk} is not counted without it in every partition")));
            }
            (true, true, _) => return Ok(PutBack::No("it is counted".to_owned())),
            (true, false, true) => return Ok(PutBack::UnderWay(newest(ledgers, origin))),
            (true, false, false) => {}
        }
        let retry = newest(ledgers, origin).saturating_add(1);
        if retry > most {
            return Ok(PutBack::No("it was sent again before".to_owned()));
        }
        if self.record_task(job, origin, retry)?.is_none() {
            return Ok(PutBack::No("its bytes are not kept; push them again, as a job of their own".to_owned()));
        }
        let mut agreed = false;
        for partition in lost {
            let entry = Entry::RetryRecord { chunk, record: place, retry };
            agreed |=
                matches!(self.append(job, partition, &mut ledgers[partition.index()], entry, None)?, Appended::Yes);
            crash_point::reached("aggregator.retry_agreed");
        }
        Ok(if agreed { PutBack::Send(retry) } else { PutBack::UnderWay(newest(ledgers, origin)) })
    }

    /// Agrees that every partition that lacks keys is reduced again: those that are.
    pub(crate) fn reduce_again(&self, job: JobId, ledgers: &mut [Ledger]) -> Result<Vec<Rereduced>, ArchiveError> {
        let mut again = Vec::new();
        for (partition, ledger) in (0..).map(PartitionNumber).zip(ledgers) {
            let Some((finish, under_way)) = ledger.lacks_keys() else { continue };
            let (at, keys) = (finish.at, u32::try_from(finish.keys.len()).unwrap_or(u32::MAX));
            again.push(Rereduced { partition, keys, at });
            if under_way {
                continue;
            }
            // If somebody else comes first, then with the same: or something else is decided, and everything is reduced again.
            if let Appended::Yes = self.append(job, partition, ledger, Entry::Rereduce { at }, None)? {
                tracing::info!(%job, %partition, keys, "keys that were left out are reduced again, as somebody asked for");
            }
            crash_point::reached("aggregator.retry_agreed");
        }
        Ok(again)
    }

    /// The task of a chunk or record that is being sent again, if it is kept.
    pub(crate) fn task_again(&self, job: JobId, again: Again) -> Result<Option<Bytes>, ArchiveError> {
        let Again { origin, retry } = again;
        if origin.record.is_some() {
            return self.record_task(job, origin, retry);
        }
        let Some(task) = self.kept_task(job, origin.chunk)? else { return Ok(None) };
        let mut ledger = Ledger::default();
        self.refresh(job, PartitionNumber(0), &mut ledger)?;
        Ok(Some(fresh(task, retry, ledger.agreed(origin.chunk).to_vec())))
    }

    /// The task of a record alone, made anew from the bytes that are kept of it, so the same each time.
    fn record_task(&self, job: JobId, origin: Origin, retry: u32) -> Result<Option<Bytes>, ArchiveError> {
        let Some(place) = origin.record else { return Ok(None) };
        let Some(file) = self.job(job)? else { return Ok(None) };
        let Some((bytes, column)) = self.kept_record(job, origin.chunk, place)? else { return Ok(None) };
        let Some(source) = self.source(&file.spec, place)? else { return Ok(None) };
        let piece = TaskPiece {
            source: place.source,
            name: source.name,
            offset: place.offset,
            length: bytes.len() as u64,
            continues: false,
            ends: false,
            file: None,
            column,
        };
        let Spec { program, partitions, segment_bytes, output_bytes, .. } = file.spec;
        let task = Task {
            job,
            chunk: origin.chunk,
            record: Some(place),
            attempt: 1,
            crashes: 0,
            died_at: None,
            strikes: 0,
            retry,
            rounds: 0,
            program,
            partitions,
            reduce_queues: REDUCE_QUEUES,
            segment_bytes,
            output_bytes,
            store: self.store_id.clone(),
            pieces: vec![piece],
            too_long: Vec::new(),
            skips: Vec::new(),
            history: Vec::new(),
        };
        // A failure has to carry it, whole.
        Ok(message::try_encode(&task, &bytes).ok().filter(|task| task.len() <= MAX_BODY_BYTES))
    }

    /// A source of a job, found page by page.
    fn source(&self, spec: &Spec, place: Place) -> Result<Option<Source>, ArchiveError> {
        let mut before = 0;
        for page in 0..spec.sources.pages {
            let Some(sources) = self.read::<Vec<Source>>(&Self::sources_path(spec.job, page))? else { return Ok(None) };
            let at = place.source.index() - before;
            if at < sources.len() {
                return Ok(sources.into_iter().nth(at));
            }
            before += sources.len();
        }
        Ok(None)
    }
}

/// The same task, as if nothing had happened, but for what is left out; so all attempts at it give the same units.
pub(crate) fn fresh((task, body): (Task, Bytes), retry: u32, skips: Vec<Skip>) -> Bytes {
    let again = Task { attempt: 1, crashes: 0, died_at: None, strikes: 0, rounds: 0, retry, skips, ..task };
    message::encode(&again, &body)
}
