//! How an entry gets into the log: judged, put if absent at n+1, judged again if another was first.
//!
//! A dialogue: [`Append::next`] says what to do, the answer comes with the next call. It does no I/O itself. What would
//! surprise: a put may succeed without saying so, so an unknown outcome is read back and recognised by its nonce.

use super::{Entry, Invalid, Ledger};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// An entry as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Made for this one attempt at appending.
    pub nonce: Uuid,
    /// Who wrote it, for people.
    pub writer: String,
    /// The entry.
    pub entry: Entry,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Put the record at this number if it is free; answer [`Event::Created`], [`Event::Exists`] or [`Event::Unknown`].
    Put(u64),
    /// Read this number; answer [`Event::Read`].
    Read(u64),
    /// It is in the log, and applied.
    Appended,
    /// It is no longer valid; the state is that of the log.
    GaveUp(Invalid),
}

/// What came of a step.
#[derive(Debug)]
pub enum Event {
    /// Begin, or begin again after a failure that put nothing.
    Begin,
    /// The put created the entry.
    Created,
    /// Another entry has the number.
    Exists,
    /// The put may have created the entry.
    Unknown,
    /// What the number holds.
    Read(Option<Box<Record>>),
}

/// One entry on its way into the log.
#[derive(Debug)]
pub struct Append {
    record: Record,
    chunks: Option<u32>,
}

impl Append {
    /// Wants `record` in the log. `chunks` is C, once the job is sealed.
    #[must_use]
    pub const fn new(record: Record, chunks: Option<u32>) -> Self {
        Self { record, chunks }
    }

    /// The record to put.
    #[must_use]
    pub const fn record(&self) -> &Record {
        &self.record
    }

    /// Takes what came of the last step and says the next.
    pub fn next(&self, ledger: &mut Ledger, event: Event) -> Step {
        match event {
            Event::Begin | Event::Read(None) => self.judge(ledger),
            Event::Exists | Event::Unknown => Step::Read(ledger.next()),
            Event::Created => {
                ledger.apply(&self.record.entry);
                Step::Appended
            }
            Event::Read(Some(found)) => {
                ledger.apply(&found.entry);
                if found.nonce == self.record.nonce { Step::Appended } else { self.judge(ledger) }
            }
        }
    }

    fn judge(&self, ledger: &Ledger) -> Step {
        match ledger.judge(&self.record.entry, self.chunks) {
            Ok(()) => Step::Put(ledger.next()),
            Err(invalid) => Step::GaveUp(invalid),
        }
    }
}
