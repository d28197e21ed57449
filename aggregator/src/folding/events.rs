//! What happens to the aggregator, and what it does about it, as values.
//!
//! What would surprise: nothing here does anything; the loop carries effects out, and answers most of them with an event.

use crate::archive::{Archive, ArchiveError, JobFile};
use crate::repair::Again;
use crate::shard::{Away, Channel, HeldReceipt};
use crate::tend::{Tend, Tended, Trouble};
use bytes::Bytes;
use rabbit_reduce_core::id::{JobId, Origin, PartitionNumber};
use rabbit_reduce_core::ledger::Ledger;
use rabbit_reduce_core::message::{End, News};
use rabbit_reduce_runtime::broker::{Delivery, Receipt};
use std::sync::Arc;

/// What happens.
pub(crate) enum Event {
    /// A consumer began to live.
    Consuming(Channel),
    /// It ended: nothing that it delivered can be settled.
    Lost(Channel),
    /// A delivery of a reduce queue.
    Arrived(Channel, Delivery),
    /// A job was looked up.
    Opened(JobId, LookUp, Result<Opened, ArchiveError>),
    /// A shard comes back.
    Tended(JobId, PartitionNumber, Box<Tended<HeldReceipt>>),
    /// A partition was reduced: whether that finished it, or why not.
    Reduced(JobId, PartitionNumber, Result<bool, Trouble>),
    /// What is of mixed fates was sent again, but for this, of which no task is kept.
    Repaired(JobId, Result<Vec<Origin>, ArchiveError>),
    /// A job's input is all published.
    Sealed(JobId, u32),
    /// A job ended, or an end was tried and this is the newest.
    Ended(JobId, Result<Option<End>, ArchiveError>),
    /// A job is gone.
    Removed(JobId),
    /// A job that is a step after another may have no input yet, or not all of it; whether somebody asked for it.
    Waits(JobId, bool),
    /// The store may know more than we do.
    Look(JobId),
    /// Somebody, perhaps we, told this.
    Heard(News),
    /// Time passes.
    Tick,
    /// Ended jobs may be forgotten.
    Sweep,
}

/// Which look-up it is, in the order in which they were asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LookUp(pub(crate) u64);

/// A job as it was found.
pub(crate) enum Opened {
    /// It is there.
    Job(Box<OpenedJob>),
    /// It was removed.
    Removed,
    /// There never was one.
    Unknown,
}

/// What is to be done.
pub(crate) enum Effect {
    /// Look a job up; answer [`Event::Opened`].
    Open(JobId, LookUp),
    /// Ack.
    Ack(Vec<Receipt>),
    /// Keep a message with the dead letters, alarm, then ack.
    SetAside { queue: String, message: Bytes, reason: String, receipt: Receipt },
    /// Put a message that others can use back into its queue, uncounted, then ack.
    HandBack { queue: String, message: Bytes, receipt: Receipt },
    /// Tend a shard; answer [`Event::Tended`].
    Tend(Box<ShardWork>),
    /// Reduce a partition of a grouping program, which may take long; answer [`Event::Reduced`].
    Reduce { job: Arc<JobFile>, partition: PartitionNumber, chunks: Option<u32> },
    /// See how the job ended; answer [`Event::Ended`].
    ReadEnd(JobId),
    /// Put this end, unless a ledger has an entry at its number; answer [`Event::Ended`].
    End { job: JobId, end: Box<End>, unless: Vec<u64> },
    /// Put an end without result; answer [`Event::Ended`].
    Fail { job: JobId, reason: String },
    /// Send again what some partitions count and others lack; answer [`Event::Repaired`].
    Repair { job: JobId, mixed: Vec<Origin> },
    /// Send a chunk again whose retry has had no outcome for long.
    SendAgain(JobId, Again),
    /// Give a job that is a step after another its input; whether somebody asked for it. Answer [`Event::Sealed`] or
    /// [`Event::Ended`].
    GoOn(JobId, bool),
    /// Tell everybody.
    Announce(News),
}

/// A shard on its way to be tended.
pub(crate) struct ShardWork {
    pub(crate) job: Arc<JobFile>,
    pub(crate) partition: PartitionNumber,
    pub(crate) chunks: Option<u32>,
    pub(crate) away: Away,
}

impl ShardWork {
    pub(crate) fn into_tend(self, archive: Archive) -> Tend<HeldReceipt> {
        let Self { job, partition, chunks, away: Away { ledger, delta, losses } } = self;
        Tend { archive, job, partition, chunks, ledger, delta, losses }
    }
}

/// Everything that the store says of a job.
pub(crate) struct OpenedJob {
    pub(crate) file: JobFile,
    pub(crate) chunks: Option<u32>,
    pub(crate) end: Option<End>,
    pub(crate) ledgers: Vec<Ledger>,
}
