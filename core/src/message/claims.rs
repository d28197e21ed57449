//! What messages say of themselves, held against what their makers can say: a message may be well formed and yet a lie.
//!
//! Pure; whoever receives a message asks here before it is used, and sets it aside if it is told no. What would surprise: a
//! claim within these limits may still be wrong. Digests and the sums at a job's end find that out; here is what would cost
//! memory, never end, or make a message that cannot be sent on.

use super::{Attempt, Failure, MAX_BODY_BYTES, MAX_HISTORY, Partial, Refused, Task, TaskPiece};
use crate::id::ChunkNumber;
use crate::jobs::MAX_EXPRESSION_BYTES;
use crate::shipped::{MAX_FILE_BYTES, MAX_FILES};
use crate::skip::{AGREED_SKIPS, LISTED_SKIPS, MAX_REASON_BYTES, Place, Skip};
use crate::spec::{MAX_CHUNKS, MAX_PARTITIONS, MIN_SEGMENT_BYTES, OUTPUT_BYTES, SEGMENT_BYTES, Spec};
use crate::split::{MAX_NAME_BYTES, MAX_PIECES, MAX_REFERENCE_BYTES};
use crate::topology::REDUCE_QUEUES;

/// The longest id of a store; it is a UUID.
const MAX_STORE_BYTES: usize = 128;
/// The longest name of a worker; `runtime::process::identity` makes them half as long.
const MAX_WORKER_BYTES: usize = 128;
/// The most counters of a chunk, and the longest name of one: they are kept for every chunk of a job.
pub(crate) const MAX_COUNTERS: usize = 64;
pub(crate) const MAX_COUNTER_BYTES: usize = 64;
/// What is counted of one chunk is far below, and as many chunks as there can be do not reach the end of a `u64`.
pub(crate) const MAX_COUNT: u64 = 1 << 40;
/// More attempts, suspicions or rounds than anybody makes.
const MAX_ATTEMPTS: u32 = 1000;
/// What a pair may take of a segment for each byte that the output limit counts, at the most.
const SEGMENT_FACTOR: u64 = 64;
/// The longest name of a file, which a chunk carries whatever else it carries; the system takes 4 KiB.
const MAX_PATH_BYTES: usize = 64 << 10;

/// What cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FalseClaim(pub &'static str);

fn holds(claim: bool, otherwise: &'static str) -> Result<(), FalseClaim> {
    if claim { Ok(()) } else { Err(FalseClaim(otherwise)) }
}

fn is_short(skip: &Skip) -> bool {
    is_short_reason(&skip.reason)
}

const fn is_short_reason(reason: &str) -> bool {
    reason.len() <= MAX_REASON_BYTES + '…'.len_utf8()
}

impl ChunkNumber {
    /// Whether a job that is sealed with so many chunks, or not sealed yet, can have it.
    ///
    /// # Errors
    /// Says why not.
    pub fn check(self, chunks: Option<u32>) -> Result<(), FalseClaim> {
        holds(u64::from(self.0) < MAX_CHUNKS, "its chunk is beyond those that any job can have")?;
        holds(chunks.is_none_or(|chunks| self.0 < chunks), "its chunk is beyond those that the job has")
    }
}

impl Task {
    /// Whether a producer can have made it, and a worker can send it on.
    ///
    /// # Errors
    /// Names what cannot be.
    pub fn check(&self) -> Result<(), FalseClaim> {
        self.chunk.check(None)?;
        let most = self.crashes.max(self.rounds).max(self.strikes).max(self.retry);
        let tried = (1..=MAX_ATTEMPTS).contains(&self.attempt) && most <= MAX_ATTEMPTS;
        holds(tried, "its number of attempts is out of range")?;
        holds((1..=MAX_PARTITIONS).contains(&self.partitions), "its number of partitions is out of range")?;
        holds((1..=REDUCE_QUEUES).contains(&self.reduce_queues), "its number of reduce queues is out of range")?;
        holds((MIN_SEGMENT_BYTES..=SEGMENT_BYTES).contains(&self.segment_bytes), "its segment size is out of range")?;
        holds((1..=OUTPUT_BYTES).contains(&self.output_bytes), "its output limit is out of range")?;
        holds(self.store.len() <= MAX_STORE_BYTES, "its store's id is too long")?;
        holds(self.program.name.len() <= MAX_COUNTER_BYTES, "its program's name is too long")?;
        let expressions = [&self.program.options.pattern, &self.program.options.token_regex];
        let short = expressions.into_iter().flatten().all(|expression| expression.len() <= MAX_EXPRESSION_BYTES);
        holds(short, "its regular expression is too long")?;
        holds(self.program.options.files().count() <= MAX_FILES, "it needs too many files")?;
        let travels = self.program.options.files().all(|file| file.bytes <= MAX_FILE_BYTES);
        holds(travels, "it needs a file that is longer than any that travels")?;
        self.check_pieces()?;
        holds(self.record.is_none_or(|place| self.is_only(place)), "it is of a single record and says more than that")?;
        let mut skips = self.too_long.iter().chain(&self.skips);
        let few = self.too_long.len() <= MAX_PIECES && self.skips.len() <= AGREED_SKIPS;
        holds(few, "it leaves out too many records")?;
        let told = |attempt: &Attempt| is_short_reason(&attempt.reason) && attempt.worker.len() <= MAX_WORKER_BYTES;
        let history = self.history.len() <= MAX_HISTORY && self.history.iter().all(told);
        holds(history, "it tells too much of the attempts before")?;
        holds(skips.all(is_short), "it gives too long a reason for leaving out a record")
    }

    fn is_only(&self, place: Place) -> bool {
        let at = |piece: &TaskPiece| Place { source: piece.source, offset: piece.offset };
        let one = matches!(self.pieces.as_slice(), [piece] if at(piece) == place && piece.file.is_none());
        one && self.retry > 0 && self.skips.is_empty() && self.too_long.is_empty()
    }

    fn check_pieces(&self) -> Result<(), FalseClaim> {
        holds(self.pieces.len() <= MAX_PIECES, "it has too many pieces")?;
        let sum = |sum: u64, piece: &TaskPiece| {
            piece.offset.checked_add(piece.length).and_then(|_| sum.checked_add(piece.length))
        };
        let bytes = self.pieces.iter().try_fold(0, sum).ok_or(FalseClaim("a piece lies beyond all files"))?;
        let by_reference = self.pieces.iter().all(|piece| piece.file.is_some());
        let most = if by_reference { MAX_REFERENCE_BYTES } else { MAX_BODY_BYTES as u64 };
        holds(bytes <= most, "it is larger than a chunk may be")?;
        let names = |piece: &TaskPiece| piece.name.0.len() + piece.file.as_ref().map_or(0, |file| file.path.0.len());
        let names: usize = self.pieces.iter().map(names).sum();
        holds(names <= MAX_NAME_BYTES + 2 * MAX_PATH_BYTES, "its names are too long")
    }
}

impl Partial {
    /// Whether a worker can have made it.
    ///
    /// # Errors
    /// Names what cannot be.
    pub fn check(&self) -> Result<(), FalseClaim> {
        self.chunk.check(None)?;
        holds((1..=MAX_PARTITIONS).contains(&self.partitions), "its number of partitions is out of range")?;
        holds(self.partition.0 < self.partitions, "its partition is beyond those that it speaks of")?;
        holds(self.store.len() <= MAX_STORE_BYTES, "its store's id is too long")?;
        holds(self.worker.len() <= MAX_WORKER_BYTES, "its worker's name is too long")?;
        holds(self.pairs <= MAX_COUNT, "it stands for more pairs than a chunk can have")?;
        holds(self.strikes <= MAX_ATTEMPTS, "its number of strikes is out of range")?;
        holds(self.agreed as usize <= AGREED_SKIPS, "it leaves out too many records")?;
        if self.record.is_some() {
            let none = self.agreed == 0 && self.skips.as_ref().is_none_or(|skips| skips.count() == 0);
            holds(none, "a single record leaves out no other")?;
            let counts = self.home.as_ref().is_some_and(|home| !home.counters.is_empty());
            holds(!counts, "what is counted on the way is told by its chunk, and not by a single record")?;
        }
        holds(self.skips.is_none() || self.segment == 0, "skips ride in segment 0, and in no other")?;
        let home = self.segment == 0 && self.chunk.0 % self.partitions == self.partition.0;
        holds(self.home.is_none() || home, "what a chunk says of itself rides in its home partition, and in no other")?;
        if let Some(skips) = &self.skips {
            holds(skips.listed.len() <= LISTED_SKIPS && skips.more <= MAX_COUNT, "it leaves out too many records")?;
            holds(skips.listed.iter().all(is_short), "it gives too long a reason for leaving out a record")?;
        }
        let Some(home) = &self.home else { return Ok(()) };
        holds(home.pairs <= MAX_COUNT, "its chunk has more pairs than a chunk can have")?;
        holds(home.counters.len() <= MAX_COUNTERS, "it has too many counters")?;
        let fits = |(name, count): (&String, &u64)| name.len() <= MAX_COUNTER_BYTES && *count <= MAX_COUNT;
        holds(home.counters.iter().all(fits), "one of its counters is out of range")
    }

    /// Whether it can be of a job, sealed with so many chunks or not sealed yet.
    ///
    /// # Errors
    /// Names what cannot be.
    pub fn check_in(&self, spec: &Spec, chunks: Option<u32>) -> Result<(), FalseClaim> {
        holds(self.partitions == spec.partitions, "its job has another number of partitions")?;
        self.chunk.check(chunks)?;
        // A segment and the one after it hold more than a segment's size together.
        let most = spec.output_bytes.saturating_mul(SEGMENT_FACTOR) / spec.segment_bytes.max(1) as u64;
        holds(u64::from(self.segment) <= most.saturating_add(1), "its segment is beyond those that a chunk can have")
    }
}

impl Failure {
    /// Whether a worker can have made it.
    ///
    /// # Errors
    /// Names what cannot be.
    pub fn check(&self) -> Result<(), FalseClaim> {
        self.chunk.check(None)?;
        holds(is_short_reason(&self.reason), "its reason is too long")?;
        holds(self.attempts.max(self.retry) <= MAX_ATTEMPTS, "its number of attempts is out of range")?;
        holds(self.worker.len() <= MAX_WORKER_BYTES, "its worker's name is too long")
    }
}

impl Refused {
    /// Whether a worker can have made it.
    ///
    /// # Errors
    /// Names what cannot be.
    pub fn check(&self) -> Result<(), FalseClaim> {
        holds(self.records.len() <= LISTED_SKIPS, "it has too many records")?;
        holds(self.records.iter().all(|record| is_short(&record.skip)), "one of its reasons is too long")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_one_that_its_job_has() {
        assert!(ChunkNumber(u32::MAX).check(None).is_err());
        assert!(ChunkNumber(1 << 20).check(None).is_ok());
        assert!(ChunkNumber(9).check(Some(10)).is_ok());
        assert!(ChunkNumber(10).check(Some(10)).is_err());
    }
}
