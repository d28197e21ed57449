//! Pairs by count, the largest first, in bounded memory: an external sort that may stop early.
//!
//! It knows counts and keys, no rows. What would surprise: a head of the order (`top`) is the same sort with most of its pairs
//! dropped on the way, so that neither many rows nor long keys can take more memory than a full sort.

use crate::job::Value;
use crate::merge::Merge;
use crate::pairs::{Cursor, PairSource};
use crate::parts::{Combine, refuse_equal};
use crate::run::{RunReader, RunWriter};
use crate::table::{Scratch, ScratchFile};
use std::cmp::Ordering;
use std::io::{self, BufReader, BufWriter};

/// Runs of one level that are merged into one of the next: with it grow open files and what a merge holds.
const FAN_IN: usize = 16;
/// Bytes of a count before a key.
const COUNT_BYTES: usize = 8;

/// Pairs on their way into order.
pub struct Ranking<'s> {
    top: usize,
    budget_bytes: usize,
    scratch: &'s dyn Scratch,
    held: Held,
    /// The worst of `top` pairs seen together: what comes after it is not wanted.
    floor: Option<(u64, Vec<u8>)>,
    /// Sorted runs; those of a level are about [`FAN_IN`] times as long as those of the level before.
    levels: Vec<Vec<Box<dyn ScratchFile>>>,
}

/// Pairs in memory.
#[derive(Default)]
struct Held {
    keys: Vec<u8>,
    places: Vec<Place>,
}

#[derive(Clone, Copy)]
struct Place {
    count: u64,
    start: usize,
    length: usize,
}

type Runs = Merge<RunReader<BufReader<Box<dyn ScratchFile>>>, Combine>;

impl<'s> Ranking<'s> {
    /// Wants the first `top` pairs, and holds about `budget_bytes` in memory.
    #[must_use]
    pub fn new(top: usize, budget_bytes: usize, scratch: &'s dyn Scratch) -> Self {
        Self { top, budget_bytes, scratch, held: Held::default(), floor: None, levels: Vec::new() }
    }

    /// Takes a pair. Keys never repeat.
    ///
    /// # Errors
    /// Fails where scratch files lie.
    pub fn put(&mut self, count: u64, key: &[u8]) -> io::Result<()> {
        if let Some((least, last)) = &self.floor
            && ranked((count, key), (*least, last)).is_gt()
        {
            return Ok(());
        }
        self.held.put(count, key);
        if self.held.bytes() > self.budget_bytes { self.shrink() } else { Ok(()) }
    }

    /// Drops what is not wanted; if too much is left, it goes to a file.
    fn shrink(&mut self) -> io::Result<()> {
        self.held.sort();
        if self.held.places.len() >= self.top {
            self.held.places.truncate(self.top);
            self.floor = self.held.places.last().map(|place| (place.count, self.held.key(place).to_vec()));
        }
        if self.held.wanted_bytes() > self.budget_bytes / 2 {
            return self.spill();
        }
        let mut kept = Held::default();
        for place in &self.held.places {
            kept.put(place.count, self.held.key(place));
        }
        self.held = kept;
        Ok(())
    }

    /// Moves the sorted pairs to a run, and merges levels that are full.
    fn spill(&mut self) -> io::Result<()> {
        let mut writer = RunWriter::new(BufWriter::new(self.scratch.create()?))?;
        let mut key = Vec::new();
        for place in &self.held.places {
            key.clear();
            key.extend_from_slice(&(!place.count).to_be_bytes());
            key.extend_from_slice(self.held.key(place));
            writer.put(&key, &[])?;
        }
        self.held.clear();
        let mut run = ended(writer)?;
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            self.levels[level].push(run);
            if self.levels[level].len() < FAN_IN {
                break;
            }
            let full = std::mem::take(&mut self.levels[level]);
            run = self.merged(full)?;
        }
        Ok(())
    }

    fn merged(&self, runs: Vec<Box<dyn ScratchFile>>) -> io::Result<Box<dyn ScratchFile>> {
        let mut writer = RunWriter::new(BufWriter::new(self.scratch.create()?))?;
        let mut runs = merge(runs)?;
        let mut left = self.top;
        while left > 0 && runs.advance()? {
            writer.put(runs.key(), &[])?;
            left -= 1;
        }
        ended(writer)
    }

    /// The pairs in order, keys and encoded counts.
    ///
    /// # Errors
    /// As [`Ranking::put`].
    pub fn finish(mut self) -> io::Result<Ranked> {
        self.held.sort();
        self.held.places.truncate(self.top);
        let origin = if self.levels.is_empty() {
            Origin::Memory(self.held, 0)
        } else {
            self.spill()?;
            Origin::Runs(merge(self.levels.into_iter().flatten().collect())?)
        };
        Ok(Ranked { origin, left: self.top, value: Vec::new() })
    }
}

/// How pairs follow each other.
fn ranked(left: (u64, &[u8]), right: (u64, &[u8])) -> Ordering {
    right.0.cmp(&left.0).then_with(|| left.1.cmp(right.1))
}

fn ended(writer: RunWriter<BufWriter<Box<dyn ScratchFile>>>) -> io::Result<Box<dyn ScratchFile>> {
    let (file, _) = writer.finish()?;
    let mut file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.rewind()?;
    Ok(file)
}

fn merge(runs: Vec<Box<dyn ScratchFile>>) -> io::Result<Runs> {
    let runs = runs.into_iter().map(|run| RunReader::new(BufReader::new(run))).collect();
    Merge::new(runs, refuse_equal as Combine)
}

impl Held {
    fn put(&mut self, count: u64, key: &[u8]) {
        self.places.push(Place { count, start: self.keys.len(), length: key.len() });
        self.keys.extend_from_slice(key);
    }

    fn key(&self, place: &Place) -> &[u8] {
        &self.keys[place.start..][..place.length]
    }

    fn bytes(&self) -> usize {
        self.keys.len() + self.places.len() * size_of::<Place>()
    }

    /// As [`Held::bytes`], of those that still have a place.
    fn wanted_bytes(&self) -> usize {
        self.places.iter().map(|place| place.length + size_of::<Place>()).sum()
    }

    fn sort(&mut self) {
        let Self { keys, places } = self;
        let pair = |place: &Place| (place.count, &keys[place.start..][..place.length]);
        places.sort_unstable_by(|left, right| ranked(pair(left), pair(right)));
    }

    fn clear(&mut self) {
        self.keys.clear();
        self.places.clear();
    }
}

/// Pairs in order.
pub struct Ranked {
    origin: Origin,
    left: usize,
    value: Vec<u8>,
}

enum Origin {
    Memory(Held, usize),
    Runs(Runs),
}

impl PairSource for Ranked {
    fn next(&mut self) -> io::Result<Option<(&[u8], &[u8])>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let (count, key) = match &mut self.origin {
            Origin::Memory(held, next) => {
                let Some(place) = held.places.get(*next) else { return Ok(None) };
                *next += 1;
                (place.count, held.key(place))
            }
            Origin::Runs(runs) => {
                if !runs.advance()? {
                    return Ok(None);
                }
                let (count, key) = runs.key().split_first_chunk::<COUNT_BYTES>().expect("every run is of our making");
                (!u64::from_be_bytes(*count), key)
            }
        };
        self.value.clear();
        count.encode(&mut self.value);
        Ok(Some((key, &self.value)))
    }
}
