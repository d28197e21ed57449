//! A partition's log, followed from its first entry to its last, each judged again in its place.

use super::Audit;
use rabbit_reduce_core::id::{Origin, Unit};
use rabbit_reduce_core::ledger::append::Record;
use rabbit_reduce_core::ledger::{Commit, Entry, Ledger};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// What a partition counts, by its log.
#[derive(Default)]
pub(super) struct Partition {
    pub(super) ledger: Ledger,
    /// Parts, by the numbers of the entries that made them.
    pub(super) finishes: BTreeMap<u64, Uuid>,
    /// Retries that there is an entry for, and those of which the outcome is a loss.
    pub(super) agreed: BTreeSet<(Origin, u32)>,
    pub(super) lost_again: BTreeSet<(Origin, u32)>,
    /// Why records that were sent again are not counted.
    pub(super) reasons: BTreeMap<Origin, String>,
    /// What was sent again, and the entries that said so and that decided about it.
    pub(super) retries: Vec<((Origin, u32), u64, u64)>,
    pub(super) units: BTreeSet<Unit>,
    pub(super) pairs: BTreeMap<Origin, u64>,
}

impl Audit<'_> {
    /// Follows a log from its first entry to its last.
    pub(super) fn replay(&self, number: usize, chunks: Option<u32>) -> Partition {
        let mut partition = Partition::default();
        let mut open: BTreeMap<Origin, (u32, u64)> = BTreeMap::new();
        while let Some(bytes) = self.file(&format!("ledger/{number:04}/{:010}", partition.ledger.next())) {
            let Record { entry, writer, .. } = serde_json::from_slice(&bytes).expect("an entry can be read");
            let at = partition.ledger.next();
            if let Err(invalid) = partition.ledger.judge(&entry, chunks) {
                self.wrong(&format!("entry {at} of partition {number}, by {writer}, is not valid: {invalid}"));
            }
            partition.ledger.apply(&entry);
            match entry {
                Entry::Commit(commit) => self.commit(&mut partition, number, &commit),
                Entry::Finish(finish) => {
                    partition.finishes.insert(at, finish.part);
                }
                Entry::Lose { chunk, record, reason, retry: retry @ 1.. } => {
                    let origin = Origin { chunk, record };
                    partition.lost_again.insert((origin, retry));
                    partition.reasons.insert(origin, reason);
                }
                Entry::Retry { chunk, retry } => partition.agree(&mut open, chunk.into(), retry, at),
                Entry::RetryRecord { chunk, record, retry } => {
                    partition.agree(&mut open, (chunk, record).into(), retry, at);
                }
                Entry::Lose { .. }
                | Entry::Rereduce { .. }
                | Entry::Skip { .. }
                | Entry::Replace { .. }
                | Entry::Retire { .. } => {}
            }
            let ledger = &partition.ledger;
            let is_open = |origin: &Origin| match origin.record {
                None => ledger.is_retrying(origin.chunk),
                Some(place) => ledger.is_retrying_record(origin.chunk, place),
            };
            let decided = open.extract_if(.., |origin, _| !is_open(origin));
            partition.retries.extend(decided.map(|(origin, (retry, asked))| ((origin, retry), asked, at)));
        }
        let entries = self.names(&format!("/ledger/{number:04}")).len() as u64;
        let read = partition.ledger.next();
        self.check(entries == read, || format!("of {entries} entries of partition {number} {read} can be read"));
        partition
    }

    fn commit(&self, partition: &mut Partition, number: usize, commit: &Commit) {
        for part in &commit.chunks {
            let origin = Origin { chunk: part.chunk, record: part.record };
            for &(segment, last, pairs) in &part.units {
                let new = partition.units.insert(Unit { chunk: part.chunk, record: part.record, segment, last });
                self.check(new, || format!("{origin} segment {segment} is counted twice in {number}"));
                *partition.pairs.entry(origin).or_default() += pairs;
            }
            if part.record.is_some_and(|place| partition.ledger.covers_record(part.chunk, place)) {
                partition.reasons.remove(&origin);
            }
        }
    }
}

impl Partition {
    fn agree(&mut self, open: &mut BTreeMap<Origin, (u32, u64)>, origin: Origin, retry: u32, at: u64) {
        self.agreed.insert((origin, retry));
        self.reasons.remove(&origin);
        open.insert(origin, (retry, at));
    }
}
