//! What was folded and not yet committed: the segments of one (job, partition), each with the delivery that brought it.
//!
//! It knows nothing of what a delivery is (`R`), only that it must be settled after the commit, or given back. What would
//! surprise: nothing is merged here; a delta holds the segments as they came, so one channel's can be taken out again.

use super::{Commit, CommitChunk, Disagreement, Ledger};
use crate::id::Origin;
use crate::message::{Home, Partial};
use crate::mistake::{self, Mistake};
use crate::run::RunSize;
use crate::skip::SkipList;
use bytes::Bytes;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use uuid::Uuid;

/// A segment that waits for its commit.
#[derive(Debug)]
pub struct Held<R> {
    /// Its pairs.
    pub body: Bytes,
    /// What it says of itself.
    pub partial: Partial,
    /// The delivery that brought it.
    pub receipt: R,
}

/// The delta.
#[derive(Debug)]
pub struct Delta<R> {
    held: BTreeMap<(Origin, u32), Held<R>>,
    bytes: usize,
}

impl<R> Default for Delta<R> {
    fn default() -> Self {
        Self { held: BTreeMap::new(), bytes: 0 }
    }
}

/// What becomes of a segment that arrives.
#[derive(Debug)]
pub enum Fold<R> {
    /// It waits for its commit.
    Held,
    /// It is here already: the delivery can be acked.
    Duplicate(R),
    /// It waits for its commit, and these do not any more: their attempt left out less than was agreed. They can be acked.
    Supersedes(Vec<R>),
    /// Another attempt at the chunk is here and differs: the job fails.
    Disagreement(R, Disagreement),
}

impl<R> Delta<R> {
    /// Takes a segment in.
    pub fn fold(&mut self, partial: Partial, body: Bytes, receipt: R) -> Fold<R> {
        let origin = partial.unit().origin();
        let mut unit = (origin, partial.segment);
        let mut superseded = Vec::new();
        if let Some((_, other)) = self.held.range((origin, 0)..=(origin, u32::MAX)).next() {
            match other.partial.agreed.cmp(&partial.agreed) {
                Ordering::Greater => return Fold::Duplicate(receipt),
                Ordering::Less => superseded = self.take_out(|held| held.partial.unit().origin() == origin),
                Ordering::Equal if other.partial.digest != partial.digest => {
                    let workers = [other.partial.worker.clone(), partial.worker];
                    return Fold::Disagreement(receipt, Disagreement { origin, workers });
                }
                Ordering::Equal => {}
            }
        }
        if let Some(first) = self.held.get_mut(&unit) {
            if mistake::makes(Mistake::UncountedAreLosses)
                && let (Some(told), Some(more)) = (&mut first.partial.skips, &partial.skips)
            {
                told.listed.extend(more.listed.iter().cloned());
            }
            unit.1 = !unit.1;
            if !mistake::makes(Mistake::FoldTwice) || self.held.contains_key(&unit) {
                return Fold::Duplicate(receipt);
            }
        }
        self.bytes += body.len();
        self.held.insert(unit, Held { body, partial, receipt });
        if superseded.is_empty() {
            return Fold::Held;
        }
        Fold::Supersedes(superseded.into_iter().map(|held| held.receipt).collect())
    }

    /// Bytes of pairs in it.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Segments in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// What it holds, by chunk and segment: the pairs that the commit's run is merged from.
    pub fn held(&self) -> impl Iterator<Item = &Held<R>> {
        self.held.values()
    }

    /// The receipts, in no order that matters.
    pub fn receipts(&self) -> impl Iterator<Item = &R> {
        self.held.values().map(|held| &held.receipt)
    }

    /// Takes out what `which` says of a receipt: deliveries of a channel that is gone, or units that are covered.
    pub fn take_out(&mut self, mut which: impl FnMut(&Held<R>) -> bool) -> Vec<Held<R>> {
        let out: Vec<_> = self.held.extract_if(.., |_, held| which(held)).map(|(_, held)| held).collect();
        self.bytes -= out.iter().map(|held| held.body.len()).sum::<usize>();
        out
    }

    /// Takes everything out.
    pub fn into_held(self) -> Vec<Held<R>> {
        self.held.into_values().collect()
    }

    /// Takes out what the ledger covers already, their digests compared first, and what does not leave out what was agreed.
    ///
    /// # Errors
    /// Names the chunk and the workers that disagree.
    pub fn drop_covered(&mut self, ledger: &Ledger) -> Result<Vec<Held<R>>, Disagreement> {
        for held in self.held.values() {
            let Partial { digest, worker, .. } = &held.partial;
            if !is_stale(held, ledger) {
                ledger.agrees(held.partial.unit().origin(), *digest, worker)?;
            }
        }
        Ok(self.take_out(|held| is_stale(held, ledger) || ledger.covers(held.partial.unit())))
    }

    /// Whether, with this delta committed, every one of `chunks` chunks would be counted or lost.
    #[must_use]
    pub fn completes(&self, ledger: &Ledger, chunks: u32) -> bool {
        ledger.complete_with(self.held.values().map(|held| held.partial.unit()), chunks)
    }

    /// The commit that says what this delta holds, in `run`.
    #[must_use]
    pub fn commit(&self, run: Uuid, size: RunSize) -> Commit {
        let mut commit = Commit { run, size, workers: Vec::new(), chunks: Vec::new() };
        for held in self.held.values() {
            let Partial { chunk, record, digest, worker, segment, last, pairs, agreed, skips, home, .. } =
                &held.partial;
            if commit.chunks.last().is_none_or(|before| (before.chunk, before.record) != (*chunk, *record)) {
                let place = place_of(&mut commit.workers, worker);
                let units = Vec::new();
                commit.chunks.push(CommitChunk {
                    chunk: *chunk,
                    record: *record,
                    digest: *digest,
                    worker: place,
                    units,
                    agreed: *agreed,
                    skips: None,
                    home: None,
                });
            }
            let entry = commit.chunks.last_mut().expect("just pushed");
            if mistake::makes(Mistake::FoldTwice) && entry.units.iter().any(|unit| unit.0 == *segment) {
                continue;
            }
            entry.units.push((*segment, *last, *pairs));
            note(&mut entry.skips, &mut entry.home, skips.as_ref(), home.as_ref());
        }
        commit
    }
}

fn is_stale<R>(held: &Held<R>, ledger: &Ledger) -> bool {
    !ledger.expects(held.partial.unit().origin(), held.partial.agreed)
}

fn place_of(workers: &mut Vec<String>, worker: &str) -> u32 {
    let place = workers.iter().position(|known| known == worker).unwrap_or_else(|| {
        workers.push(worker.to_owned());
        workers.len() - 1
    });
    u32::try_from(place).expect("fewer workers than deliveries")
}

fn note(skips: &mut Option<SkipList>, home: &mut Option<Home>, new_skips: Option<&SkipList>, new_home: Option<&Home>) {
    if let Some(list) = new_skips.filter(|list| list.count() > 0) {
        *skips = Some(list.clone());
    }
    if let Some(said) = new_home {
        *home = Some(said.clone());
    }
}
