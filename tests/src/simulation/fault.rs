//! The kinds of faults that a simulation injects, for counting.

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Fault {
    Killed,
    KilledAtTheStore,
    Frozen,
    AskedToStop,
    Cut,
    Outage,
    Duplicate,
    Delay,
    LostConfirm,
    LostAck,
    LostHint,
    LatePublication,
    LateWrite,
    SlowStep,
    UnknownWrite,
    FailedStep,
    FullStore,
    GivenUp,
    Purge,
    FalseVerdict,
    Gossip,
    ProducerDied,
    Cancelled,
    Removed,
}
