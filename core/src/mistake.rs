//! Mistakes that a test can have the code make on purpose, to see that the simulation catches each of them.
//!
//! Where the code does the right thing it asks [`makes`] first. What would surprise: builds without debug assertions, such as
//! those of users, make none, and a mistake is made on the thread that was told to make it and on no other.

/// What the code can be made to do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// A worker acks its task before its partials are confirmed.
    AckBeforeConfirm,
    /// An aggregator acks partials before the commit that contains them.
    CommitAfterAck,
    /// A commit is put although some of its units are counted already.
    CountTwice,
    /// A store lets the second writer of a name have it. Asked by the stores of tests.
    PutOverwrites,
    /// A finish is put although the state that was merged is no more.
    FinishOfThePast,
    /// A partition is finished before its job is sealed.
    FinishUnsealed,
    /// Runs are deleted once they are merged, before the entry that replaces them.
    DeleteBeforeReplace,
    /// A worker leaves out a part of a task that came back to it.
    LeaveOutOnReturn,
    /// A message that the broker gave up on once is a loss.
    LimitIsVerdict,
    /// A job that was removed is not known to have been.
    RemovedComesBack,
    /// What a lost channel delivered stays in the delta.
    DeltaOutlivesChannel,
    /// That a partition is finished is believed when it is told.
    NewsIsTruth,
    /// A write of unknown outcome is taken for one that happened.
    UnknownIsDone,
    /// An attempt maps what was agreed to be left out, and says that it did not.
    AgreedIsMapped,
    /// A chunk that some partitions count and others lack is reported as it is.
    MixedIsReported,
    /// A record that some partitions count and others lack is reported as it is.
    MixedRecordIsReported,
    /// A record that is counted after all is told of as lost all the same.
    RecordStaysLost,
    /// A chunk is sent again before its partitions have agreed to wait for it, and they never do.
    RetryIsNotAgreed,
    /// A segment that is in the delta is folded into it once more.
    FoldTwice,
    /// A merge of runs is put although some of them are merged already.
    ReplaceAfterLostRace,
    /// A partition is finished, and the job ended with it, without an entry that says so.
    FinishOffTheLedger,
    /// What an attempt that is not counted left out is told of all the same.
    UncountedAreLosses,
    /// What no entry names stays in the store.
    OrphansStay,
}

/// Every mistake.
pub const ALL: [Mistake; 23] = [
    Mistake::AckBeforeConfirm,
    Mistake::CommitAfterAck,
    Mistake::CountTwice,
    Mistake::PutOverwrites,
    Mistake::FinishOfThePast,
    Mistake::FinishUnsealed,
    Mistake::DeleteBeforeReplace,
    Mistake::LeaveOutOnReturn,
    Mistake::LimitIsVerdict,
    Mistake::RemovedComesBack,
    Mistake::DeltaOutlivesChannel,
    Mistake::NewsIsTruth,
    Mistake::UnknownIsDone,
    Mistake::AgreedIsMapped,
    Mistake::MixedIsReported,
    Mistake::MixedRecordIsReported,
    Mistake::RecordStaysLost,
    Mistake::RetryIsNotAgreed,
    Mistake::FoldTwice,
    Mistake::ReplaceAfterLostRace,
    Mistake::FinishOffTheLedger,
    Mistake::UncountedAreLosses,
    Mistake::OrphansStay,
];

/// Whether this thread makes a mistake.
#[inline]
#[must_use]
pub fn makes(mistake: Mistake) -> bool {
    #[cfg(debug_assertions)]
    return planted::PLANTED.get() == Some(mistake);
    #[cfg(not(debug_assertions))]
    {
        _ = mistake;
        false
    }
}

/// Has this thread make a mistake, or none, from now on.
#[cfg(debug_assertions)]
pub fn plant(mistake: Option<Mistake>) {
    planted::PLANTED.set(mistake);
}

#[cfg(debug_assertions)]
mod planted {
    use super::Mistake;
    use std::cell::Cell;

    thread_local! {
        pub(super) static PLANTED: Cell<Option<Mistake>> = const { Cell::new(None) };
    }
}
