//! A chunk that is being mapped, whoever maps it: its pairs as they come, the records that are left out, and in the end its
//! segments and its digest.

use super::segments::Segments;
use super::{LEAST_SCRATCH_BYTES, Limits, MAX_PAIR_BYTES, MapError, Mapped, Refusals, SCRATCH_FACTOR};
use crate::counting::{self, Counters};
use crate::job::{Piece, Program};
use crate::short::{Key, ShortKey};
use crate::skip::{LISTED_SKIPS, Skip, SkipList};
use crate::table::{Scratch, Table};
use xxhash_rust::xxh3::Xxh3;

/// The pairs of a chunk after they were combined, and what they take.
const COMBINED: &str = "combined";
const COMBINED_BYTES: &str = "combined-bytes";

/// The chunk.
pub struct Building<'p, P: Program> {
    program: &'p P,
    table: Table<'p, P>,
    limits: Limits,
    skips: SkipList,
    refused: Refusals,
    digest: Xxh3,
    counters: Counters,
}

impl<'p, P: Program> Building<'p, P> {
    /// A chunk of these pieces, without its records that are too long to travel.
    #[must_use]
    pub fn new(program: &'p P, pieces: &[Piece<'_>], too_long: &[Skip], limits: Limits) -> Self {
        let mut skips = SkipList::default();
        too_long.iter().cloned().for_each(|skip| skips.push(skip));
        let mut digest = Xxh3::new();
        for piece in pieces {
            digest.update(piece.bytes);
        }
        // Who wants keys to collide in the table would have to know the hash of an input that they are a part of.
        let table = Table::new(program, limits.partitions, limits.budget_bytes, digest.digest());
        let bytes = pieces.iter().map(|piece| piece.bytes.len() as u64).sum();
        let counters = Counters::from([
            ("bytes".to_owned(), bytes),
            ("records".to_owned(), 0),
            (COMBINED.to_owned(), 0),
            (COMBINED_BYTES.to_owned(), 0),
        ]);
        Self { program, table, limits, skips, refused: Refusals::default(), digest, counters }
    }

    /// Pairs so far.
    #[must_use]
    pub const fn pairs(&self) -> u64 {
        self.table.pairs()
    }

    /// Leaves a record out.
    pub fn skip(&mut self, skip: Skip, record: &Piece<'_>) {
        if self.skips.listed.len() < LISTED_SKIPS {
            self.refused.push(skip.clone(), record);
        }
        self.skips.push(skip);
    }

    /// Takes over what was counted and left out when this chunk was mapped, since its pairs go through something else now.
    pub fn take_over(&mut self, mapped: &mut Mapped) {
        self.skips = std::mem::take(&mut mapped.skips);
        self.refused = std::mem::take(&mut mapped.refused);
        self.counters = std::mem::take(&mut mapped.counters);
        // These are combined anew.
        self.counters.extend([COMBINED, COMBINED_BYTES].map(|name| (name.to_owned(), 0)));
    }

    /// Counts something.
    pub fn count(&mut self, name: &str, more: u64) {
        counting::add(&mut self.counters, name, more);
    }

    /// Counts what a program has counted on this thread.
    #[inline]
    pub fn count_taken(&mut self) {
        counting::take_into(&mut self.counters);
    }

    /// Has the memory fetched for pairs of these keys, which are added soon.
    #[inline(always)]
    pub fn look_ahead(&self, keys: impl Iterator<Item = ShortKey>) {
        self.table.look_ahead(keys);
    }

    /// Adds a pair.
    ///
    /// # Errors
    /// If it is too large, or it is one too many, or there is no room for it.
    #[inline(always)]
    pub fn add(&mut self, key: Key<'_>, value: P::Value, scratch: &dyn Scratch) -> Result<(), MapError> {
        if let Key::Long(key) = key
            && key.len() > MAX_PAIR_BYTES
        {
            return Err(MapError::Pair { bytes: key.len() });
        }
        if self.table.add(key, value) { self.spill(scratch) } else { Ok(()) }
    }

    /// Bounds the scratch files. They tell a hopeless chunk early only where the limit is far behind: [`Segments::put`] decides.
    fn spill(&mut self, scratch: &dyn Scratch) -> Result<(), MapError> {
        self.table.spill(scratch)?;
        let limit = self.limits.output_bytes;
        let most = limit.saturating_mul(SCRATCH_FACTOR).saturating_add(LEAST_SCRATCH_BYTES);
        if self.table.bytes() > most {
            self.table.compact(scratch)?;
            if self.table.bytes() > most {
                return Err(MapError::Output { limit });
            }
        }
        Ok(())
    }

    /// All of it. `look` is called before every combined pair, and may stop it.
    ///
    /// # Errors
    /// If there is more than the job allows, or no room for it.
    pub fn finish(
        mut self,
        scratch: &dyn Scratch,
        mut look: impl FnMut() -> Result<(), MapError>,
    ) -> Result<Mapped, MapError> {
        let pairs = self.table.pairs();
        let (mut segments, mut room) = (Segments::new(self.limits, scratch), Vec::new());
        self.table.drain(scratch, |partition, key, pairs, value| {
            look()?;
            segments.put(partition, key, pairs, self.program.settled(key, value, &mut room))
        })?;
        let (combined, combined_bytes) = segments.put_so_far();
        let (partials, spool, output_digest) = segments.finish()?;
        counting::add(&mut self.counters, COMBINED, combined);
        counting::add(&mut self.counters, COMBINED_BYTES, combined_bytes);
        for skip in &self.skips.listed {
            self.digest.update(&skip.source.0.to_le_bytes());
            self.digest.update(&skip.offset.to_le_bytes());
            self.digest.update(&(skip.reason.len() as u64).to_le_bytes());
            self.digest.update(skip.reason.as_bytes());
        }
        self.digest.update(&self.skips.more.to_le_bytes());
        self.digest.update(&output_digest.to_le_bytes());
        let Self { skips, refused, digest, counters, .. } = self;
        Ok(Mapped { partials, skips, refused, pairs, counters, digest: digest.digest(), spool })
    }
}
