//! Chunks and records of a job that are sent again: which to ask for, and which to ask for once more since nothing was heard of them.
//!
//! It sends nothing and knows no clock; it counts sweeps. What would surprise: a task that is sent once too often does no harm, so
//! nobody needs to know whether the first was lost or only waits; the pauses double, so that waiting tasks do not pile up.

use crate::ending;
use crate::repair::Again;
use rabbit_reduce_core::id::Origin;
use rabbit_reduce_core::ledger::Ledger;
use rabbit_reduce_runtime::mistake::{self, Mistake};
use std::collections::{BTreeMap, BTreeSet};

/// Sweeps that a retry may take before its task is sent once more.
const PATIENCE: u32 = 2;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Repairs {
    /// No task of these is kept.
    hopeless: BTreeSet<Origin>,
    /// How many sweeps have seen a retry open.
    seen: BTreeMap<Origin, u32>,
}

impl Repairs {
    /// What some partitions count and others lack, and can be sent again.
    pub(super) fn wanted(&self, ledgers: &[&Ledger]) -> Vec<Origin> {
        if mistake::makes(Mistake::MixedIsReported) {
            return Vec::new();
        }
        let mut mixed = ending::mixed(ledgers);
        if mistake::makes(Mistake::MixedRecordIsReported) {
            mixed.retain(|origin| origin.record.is_none());
        }
        mixed.difference(&self.hopeless).copied().collect()
    }

    /// Of these no task is kept.
    pub(super) fn give_up(&mut self, origins: Vec<Origin>) {
        self.hopeless.extend(origins);
    }

    /// Counts a sweep; the retries whose tasks are to be sent once more.
    pub(super) fn sweep<'l>(&mut self, ledgers: impl Iterator<Item = &'l Ledger>) -> Vec<Again> {
        let mut open = BTreeMap::new();
        for ledger in ledgers {
            let chunks = ledger.retrying().map(Origin::from);
            for origin in chunks.chain(ledger.retrying_records().map(Origin::from)) {
                let retry = open.entry(origin).or_insert(0);
                *retry = ledger.retries(origin).max(*retry);
            }
        }
        self.seen.retain(|origin, _| open.contains_key(origin));
        open.retain(|origin, _| {
            let seen = self.seen.entry(*origin).or_default();
            *seen += 1;
            *seen >= PATIENCE && seen.is_power_of_two()
        });
        open.into_iter().map(|(origin, retry)| Again { origin, retry }).collect()
    }

    /// Something is being sent again, as far as the last sweep saw.
    pub(super) fn are_open(&self) -> bool {
        !self.seen.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rabbit_reduce_core::id::ChunkNumber;
    use rabbit_reduce_core::ledger::Entry;

    const CHUNK: ChunkNumber = ChunkNumber(3);

    #[test]
    fn a_retry_without_outcome_is_sent_again_ever_more_rarely() {
        let (mut ledger, mut repairs) = (Ledger::default(), Repairs::default());
        ledger.apply(&Entry::Lose { chunk: CHUNK, record: None, reason: String::new(), retry: 0 });
        assert!(repairs.sweep([&ledger].into_iter()).is_empty());
        assert!(!repairs.are_open());
        ledger.apply(&Entry::Retry { chunk: CHUNK, retry: 1 });
        let sent: Vec<u32> = (1..=20).filter(|_| !repairs.sweep([&ledger].into_iter()).is_empty()).collect();
        assert_eq!(sent, [2, 4, 8, 16]);
        assert!(repairs.are_open());
        ledger.apply(&Entry::Lose { chunk: CHUNK, record: None, reason: String::new(), retry: 1 });
        assert!(repairs.sweep([&ledger].into_iter()).is_empty());
        assert!(!repairs.are_open());
    }
}
