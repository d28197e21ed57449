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
}

/// Every mistake.
pub const ALL: [Mistake; 2] = [Mistake::AckBeforeConfirm, Mistake::CommitAfterAck];

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
