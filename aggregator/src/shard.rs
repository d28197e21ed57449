//! One (job, partition) in memory: its ledger as last read, what was folded since, and when it is due to be tended.
//!
//! Decides by state and time, and never waits. What would surprise: while it is tended its ledger is away, and what arrives is
//! folded unseen; it is compared with the ledger at the next tending.

use rabbit_reduce_core::id::Origin;
use rabbit_reduce_core::ledger::Ledger;
use rabbit_reduce_core::ledger::delta::Delta;
use rabbit_reduce_core::run::RunSize;
use rabbit_reduce_runtime::broker::Receipt;
use std::time::{Duration, Instant};

/// Bytes of folded pairs that are committed whatever else: about as large as a run should be.
const COMMIT_BYTES: usize = 64 << 20;
/// Nothing new for so long: commit.
const QUIET: Duration = Duration::from_secs(1);
/// So old: commit.
const AGE: Duration = Duration::from_secs(20);
/// The pause after the store failed.
const PAUSE: Duration = Duration::from_secs(2);
/// The pause after a program failed to reduce what amends a result.
const LONG_PAUSE: Duration = Duration::from_secs(60);

/// A delivery that a delta holds, and where it came from.
#[derive(Debug)]
pub(crate) struct HeldReceipt {
    pub(crate) receipt: Receipt,
    pub(crate) channel: Channel,
}

/// One life of one consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Channel {
    /// The consumer's place among the aggregator's.
    pub(crate) consumer: usize,
    /// Which life.
    pub(crate) epoch: u64,
}

/// A partition of a job.
#[derive(Debug, Default)]
pub(crate) struct Shard {
    /// Away while it is tended.
    pub(crate) ledger: Option<Ledger>,
    pub(crate) delta: Delta<HeldReceipt>,
    pub(crate) losses: Vec<(Origin, String)>,
    /// What the ledger said when it was last here.
    pub(crate) seen: Seen,
    /// Something may have changed that only the store knows.
    pub(crate) wanted: bool,
    /// It is being reduced, beside all else.
    pub(crate) reducing: bool,
    /// Chunks and input bytes of the delta that is away with the ledger.
    away: (u32, u64),
    first: Option<Instant>,
    last: Option<Instant>,
    not_before: Option<Instant>,
    /// Until then it is neither tended nor reduced again, for this reason.
    failed: Option<(Instant, String)>,
}

/// What of a shard is away while it is tended.
#[derive(Debug)]
pub(crate) struct Away {
    pub(crate) ledger: Ledger,
    pub(crate) delta: Delta<HeldReceipt>,
    /// Chunks and records that are lost here, with the reasons.
    pub(crate) losses: Vec<(Origin, String)>,
}

/// What a ledger says in numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) whole: u32,
    pub(crate) losses: u64,
    pub(crate) bytes: u64,
    pub(crate) finished: bool,
    /// Bytes of its part, or of its runs until it is finished.
    pub(crate) kept_bytes: u64,
    /// It has so many keys at least; of a program that groups, pairs.
    pub(crate) least_keys: u64,
}

impl Shard {
    pub(crate) fn new(ledger: Ledger) -> Self {
        let mut shard = Self::default();
        shard.come_back(ledger);
        shard
    }

    /// Notes that a segment was folded.
    pub(crate) fn folded(&mut self, now: Instant) {
        self.first.get_or_insert(now);
        self.last = Some(now);
    }

    /// Whether to tend it now. `chunks` is C, once the job is sealed; `groups` says that it is finished by a reduce.
    pub(crate) fn due(&self, chunks: Option<u32>, groups: bool, now: Instant) -> bool {
        let Some(ledger) = &self.ledger else { return false };
        if self.fails(now) || self.not_before.is_some_and(|pause| now < pause) {
            return false;
        }
        let passed = |since: Option<Instant>, limit| since.is_some_and(|at| now.saturating_duration_since(at) >= limit);
        self.wanted
            || !self.losses.is_empty()
            || self.delta.bytes() >= COMMIT_BYTES
            || (!self.delta.is_empty() && (passed(self.last, QUIET) || passed(self.first, AGE)))
            || chunks.is_some_and(|chunks| self.could_finish(ledger, chunks, groups))
    }

    /// Whether to reduce it now: everything of it is decided and in the ledger.
    pub(crate) fn could_reduce(&self, chunks: Option<u32>, now: Instant) -> bool {
        let (Some(ledger), Some(chunks)) = (&self.ledger, chunks) else { return false };
        let still = !self.reducing && !self.wanted && self.delta.is_empty() && self.losses.is_empty();
        let paused = self.fails(now) || self.not_before.is_some_and(|pause| now < pause);
        // Counting first: it is exact only when it may be enough.
        let known = u64::from(self.seen.whole) + self.seen.losses;
        still && !paused && known >= u64::from(chunks) && ledger.unfinished() && ledger.complete(chunks)
    }

    fn could_finish(&self, ledger: &Ledger, chunks: u32, groups: bool) -> bool {
        // Counting first: it is exact only when it may be enough.
        let known = u64::from(self.seen.whole) + self.seen.losses + self.delta.len() as u64;
        (!groups && ledger.unfinished() || !self.delta.is_empty())
            && known >= u64::from(chunks)
            && self.delta.completes(ledger, chunks)
    }

    /// Takes out what tending needs.
    pub(crate) fn leave(&mut self) -> Option<Away> {
        let ledger = self.ledger.take()?;
        self.wanted = false;
        self.away = folded(&self.delta);
        (self.first, self.last) = (None, None);
        let (delta, losses) = (std::mem::take(&mut self.delta), std::mem::take(&mut self.losses));
        Some(Away { ledger, delta, losses })
    }

    /// Puts the ledger back.
    pub(crate) fn come_back(&mut self, ledger: Ledger) {
        self.seen = Seen {
            whole: ledger.whole(),
            losses: ledger.lost().count() as u64 + ledger.skipped(),
            bytes: ledger.home_bytes(),
            finished: ledger.finished().is_some(),
            kept_bytes: sizes(&ledger).iter().map(|size| size.bytes).fold(0, u64::saturating_add),
            least_keys: sizes(&ledger).iter().map(|size| size.pairs).max().unwrap_or(0),
        };
        self.failed.take_if(|_| ledger.finished().is_some());
        self.away = (0, 0);
        self.ledger = Some(ledger);
    }

    /// Chunks and input bytes that are folded, committed or not: for people.
    pub(crate) fn progress(&self) -> (u32, u64) {
        let (chunks, bytes) = folded(&self.delta);
        (self.seen.whole + self.away.0 + chunks, self.seen.bytes + self.away.1 + bytes)
    }

    /// Nothing of it is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.ledger.is_some() && self.delta.is_empty() && !self.reducing && self.failed.is_none()
    }

    /// The program cannot reduce it: not again soon.
    pub(crate) fn fail(&mut self, now: Instant, reason: String) {
        self.failed = Some((now + LONG_PAUSE, reason));
    }

    fn fails(&self, now: Instant) -> bool {
        self.failed.as_ref().is_some_and(|(until, _)| now < *until)
    }

    /// Why it is not reduced, if it cannot be.
    pub(crate) fn failure(&self) -> Option<&String> {
        self.failed.as_ref().map(|(_, reason)| reason)
    }

    /// Tending failed: not again at once.
    pub(crate) fn pause(&mut self, now: Instant) {
        self.not_before = Some(now + PAUSE);
        self.wanted = true;
    }
}

/// Chunks that a delta completes, as far as it tells by itself, and the input bytes it says to have mapped.
fn folded(delta: &Delta<HeldReceipt>) -> (u32, u64) {
    let chunks = delta.held().filter(|held| held.partial.last).count();
    let homes = delta.held().filter_map(|held| held.partial.home.as_ref());
    let bytes = homes.filter_map(|home| home.counters.get("bytes")).sum();
    (u32::try_from(chunks).unwrap_or(u32::MAX), bytes)
}

/// Of what it has in the store: its part, once it is finished, and its runs until then. Each key is in each of these once at the most.
fn sizes(ledger: &Ledger) -> Vec<RunSize> {
    ledger.finished().map_or_else(|| ledger.runs().values().copied().collect(), |finish| vec![finish.size])
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn a_shard_with_nothing_to_do_is_never_due() {
        let now = rabbit_reduce_runtime::process::clock::instant();
        assert!(!Shard::new(Ledger::default()).due(None, false, now + LONG));
        assert!(!Shard::new(Ledger::default()).due(Some(1), false, now + LONG));
    }

    #[test]
    fn a_sealed_job_of_no_chunks_is_finished_at_once() {
        let now = rabbit_reduce_runtime::process::clock::instant();
        assert!(Shard::new(Ledger::default()).due(Some(0), false, now));
    }

    #[test]
    fn a_shard_whose_ledger_is_away_is_not_due() {
        let now = rabbit_reduce_runtime::process::clock::instant();
        let mut shard = Shard::new(Ledger::default());
        shard.wanted = true;
        assert!(shard.due(None, false, now));
        let Away { ledger, .. } = shard.leave().expect("it was here");
        shard.wanted = true;
        assert!(!shard.due(None, false, now));
        shard.come_back(ledger);
        assert!(shard.due(None, false, now));
    }

    #[test]
    fn after_a_failure_of_the_program_nothing_is_tried_for_a_while_whatever_comes() {
        let now = rabbit_reduce_runtime::process::clock::instant();
        let mut shard = Shard::new(Ledger::default());
        shard.fail(now, "no".to_owned());
        shard.wanted = true;
        shard.losses.push((rabbit_reduce_core::id::ChunkNumber(0).into(), "gone".to_owned()));
        assert!(!shard.due(Some(0), false, now) && !shard.is_idle());
        assert!(shard.due(Some(0), false, now + LONG_PAUSE));
    }

    #[test]
    fn after_a_failure_of_the_store_there_is_a_pause() {
        let now = rabbit_reduce_runtime::process::clock::instant();
        let mut shard = Shard::new(Ledger::default());
        shard.pause(now);
        assert!(!shard.due(None, false, now));
        assert!(shard.due(None, false, now + PAUSE));
    }
}
