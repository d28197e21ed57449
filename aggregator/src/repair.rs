//! Lost chunks sent again: because a person asks for it, or because some partitions count a chunk that others lack.
//!
//! Blocks, and publishes nothing: it says which tasks to send. What would surprise: the entries come first, so that no partition
//! is finished between the sending and its outcome. Who dies in between leaves a retry that nobody has sent; the sweep does.

use crate::archive::{Appended, Archive, ArchiveError};
use bytes::Bytes;
use rabbit_reduce_core::id::{ChunkNumber, JobId, PartitionNumber};
use rabbit_reduce_core::ledger::{Entry, Ledger};
use rabbit_reduce_core::message::{self, Task};
use rabbit_reduce_core::skip::Skip;
use rabbit_reduce_runtime::crash_point;

/// The one retry that a chunk gets by itself.
const BY_ITSELF: u32 = 1;

/// A chunk to be sent again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Again {
    pub(crate) chunk: ChunkNumber,
    /// Which retry it is.
    pub(crate) retry: u32,
}

/// What becomes of a lost chunk.
pub(crate) enum PutBack {
    /// Its task is to be sent, as its retry of this number.
    Send(u32),
    /// It is being sent again already.
    UnderWay,
    /// It cannot be sent again, for this reason.
    No(String),
}

/// Agrees that chunks of mixed fates are sent again: those to send, and the chunks of which none is kept.
pub(crate) fn repair(
    archive: &Archive,
    job: JobId,
    chunks: Vec<ChunkNumber>,
) -> Result<(Vec<Again>, Vec<ChunkNumber>), ArchiveError> {
    let partitions = archive.job(job)?.map_or(0, |file| file.spec.partitions);
    let mut ledgers = archive.ledgers(job, partitions)?;
    let (mut again, mut hopeless) = (Vec::new(), Vec::new());
    for chunk in chunks {
        match archive.put_back(job, &mut ledgers, chunk, BY_ITSELF)? {
            PutBack::Send(retry) => {
                tracing::warn!(%job, %chunk, "some partitions count a chunk and others lack it; it is sent again");
                again.push(Again { chunk, retry });
            }
            PutBack::UnderWay => {}
            PutBack::No(reason) => {
                tracing::warn!(%job, %chunk, reason, "some partitions count a chunk and others lack it");
                hopeless.push(chunk);
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
            return Ok(if open { PutBack::UnderWay } else { PutBack::No(format!("chunk {chunk} is not lost")) });
        }
        let retry = ledgers.iter().map(|ledger| ledger.retries(chunk)).max().unwrap_or(0).saturating_add(1);
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
        let mut agreed = false;
        for partition in lost {
            let entry = Entry::Retry { chunk, retry };
            agreed |=
                matches!(self.append(job, partition, &mut ledgers[partition.index()], entry, None)?, Appended::Yes);
            crash_point::reached("aggregator.retry_agreed");
        }
        Ok(if agreed { PutBack::Send(retry) } else { PutBack::UnderWay })
    }

    /// The task of a chunk that is being sent again, if it is kept.
    pub(crate) fn task_again(&self, job: JobId, again: Again) -> Result<Option<Bytes>, ArchiveError> {
        let Some(task) = self.kept_task(job, again.chunk)? else { return Ok(None) };
        let mut ledger = Ledger::default();
        self.refresh(job, PartitionNumber(0), &mut ledger)?;
        Ok(Some(fresh(task, again.retry, ledger.agreed(again.chunk).to_vec())))
    }
}

/// The same task, as if nothing had happened, but for what is left out; so all attempts at it give the same units.
pub(crate) fn fresh((task, body): (Task, Bytes), retry: u32, skips: Vec<Skip>) -> Bytes {
    let again = Task { attempt: 1, crashes: 0, died_at: None, strikes: 0, rounds: 0, retry, skips, ..task };
    message::encode(&again, &body)
}
