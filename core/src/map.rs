//! One chunk mapped: every record through the program, pairs combined, cut into segments for each partition.
//!
//! Runs on a compute thread; knows nothing of queues. The same chunk and limits always give the same segments, byte for byte,
//! whatever the memory: budgets change where pairs wait, never what comes out.

mod building;
mod segments;

pub use self::building::Building;

use self::segments::Spool;
use crate::counting;
use crate::job::{Pair, Piece, Program, RecordError, Records, TakePair, Value};
use crate::message::{MAX_BODY_BYTES, RefusedRecord};
use crate::records::RecordIter;
use crate::short::{Key, ShortKey};
use crate::skip::{Place, Skip, SkipList, said};
use crate::table::Scratch;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::io;
use std::panic::{self, AssertUnwindSafe};

/// The longest pair, key and value together, in bytes: a message's body holds it and its lengths.
pub const MAX_PAIR_BYTES: usize = MAX_BODY_BYTES - LENGTHS_BYTES;
/// The three lengths before a pair, each in at most ten bytes.
const LENGTHS_BYTES: usize = 30;
/// How many times the output limit scratch files may take before they are merged, and so hold every key once.
const SCRATCH_FACTOR: u64 = 3;
/// Pairs between two questions whether to stop: some tens of microseconds.
const GLANCE_PAIRS: u64 = 1024;
/// What they may always take, so that the lengths and counts of small pairs decide nothing.
const LEAST_SCRATCH_BYTES: u64 = 16 << 20;

/// What a chunk's mapping may use. The first two shape the output, and so are the job's; the last two are the machine's.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Partitions of the job.
    pub partitions: u32,
    /// A segment's body holds at most this many bytes, unless a single pair is larger.
    pub segment_bytes: usize,
    /// Combined pairs of more bytes, keys and values alone, fail the chunk.
    pub output_bytes: u64,
    /// Pairs past this many bytes go to scratch files.
    pub budget_bytes: usize,
}

/// A segment of a partial.
#[derive(Debug)]
pub struct Segment {
    /// Mapped pairs that it stands for.
    pub pairs: u64,
    begin: u64,
    length: usize,
}

impl Segment {
    /// What its pairs take, in bytes.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.length as u64
    }
}

/// A mapped chunk.
pub struct Mapped {
    /// The segments of each partition; at least one each.
    pub partials: Vec<Vec<Segment>>,
    /// Records that are not counted.
    pub skips: SkipList,
    /// Those of them that the program refused, as far as they are listed.
    pub refused: Refusals,
    /// Mapped pairs in all.
    pub pairs: u64,
    /// Counted on the way, by name.
    pub counters: BTreeMap<String, u64>,
    /// Of the input, the skips and all segments: equal for every attempt of a deterministic program.
    pub digest: u64,
    spool: Spool,
}

/// Records that a program refused, for people to see.
#[derive(Debug, Default)]
pub struct Refusals {
    /// The records.
    pub records: Vec<RefusedRecord>,
    /// Their bytes, one after the other, as far as a message holds them.
    pub bytes: Vec<u8>,
}

impl Refusals {
    fn push(&mut self, skip: Skip, record: &Piece<'_>) {
        let (bytes, column) = (record.bytes, record.column);
        let kept = self.bytes.len() + bytes.len() <= MAX_BODY_BYTES;
        if kept {
            self.bytes.extend_from_slice(bytes);
        }
        self.records.push(RefusedRecord { skip, length: bytes.len() as u64, kept, column });
    }
}

impl Mapped {
    /// The pairs of a segment.
    ///
    /// # Errors
    /// Fails if they wait in a scratch file that cannot be read.
    pub fn body(&mut self, partition: usize, segment: usize) -> io::Result<Bytes> {
        let Segment { begin, length, .. } = self.partials[partition][segment];
        self.spool.read(begin, length)
    }
}

/// Why a chunk could not be mapped.
///
/// Whether a chunk fails by a limit does not depend on the memory: all attempts at it fail alike.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// More pairs than the job allows.
    #[error("the chunk maps to more than {limit} bytes of pairs")]
    Output {
        /// The job's limit.
        limit: u64,
    },
    /// A pair that no message can carry.
    #[error("the chunk maps to a pair of {bytes} bytes, a message carries at most {MAX_PAIR_BYTES}")]
    Pair {
        /// Bytes of its key and value.
        bytes: usize,
    },
    /// A program whose records are whole pieces failed on one.
    #[error("the program cannot map a piece: {reason}")]
    Piece {
        /// What it said.
        reason: String,
    },
    /// The program failed.
    #[error("{reason}")]
    Program {
        /// What happened.
        reason: String,
        /// Elsewhere it may not.
        may_pass: bool,
    },
    /// The program fails on one record, and all others may be mapped without it.
    #[error("{reason}")]
    Record {
        /// Which.
        place: Place,
        /// What happened.
        reason: String,
    },
    /// Scratch files failed.
    #[error("temporary files failed")]
    Scratch(#[from] io::Error),
    /// Whoever watched wanted no more of it.
    #[error("nobody wants it any more")]
    Stopped,
}

/// Records of a chunk that are not mapped.
#[derive(Clone, Copy, Debug, Default)]
pub struct LeftOut<'c> {
    /// The splitter left them out: no message carries them.
    pub too_long: &'c [Skip],
    /// The ledgers agreed to leave them out: they kill who maps them.
    pub agreed: &'c [Skip],
}

impl<'c> LeftOut<'c> {
    /// What was agreed of the record at this place.
    #[inline]
    #[must_use]
    pub fn agreed_at(&self, place: Place) -> Option<&'c Skip> {
        if self.agreed.is_empty() { None } else { self.agreed.iter().find(|skip| skip.place() == place) }
    }
}

/// Who is told of every record before it is mapped, and may stop it all.
pub trait Watch {
    /// This one comes next. Without a place it is all of a piece, which no skip names.
    fn record(&mut self, place: Option<Place>, bytes: &[u8]);

    /// Whether a record is told of only when all before it are mapped.
    fn needs_each(&self) -> bool {
        false
    }

    /// Whether nobody wants the chunk any more; asked every now and then.
    fn stops(&mut self) -> bool {
        false
    }
}

/// Nobody.
impl Watch for () {
    #[inline]
    fn record(&mut self, _: Option<Place>, _: &[u8]) {}
}

/// Maps the pieces of a chunk.
///
/// # Errors
/// Fails as a whole or not at all.
pub fn map_chunk<P: Program, W: Watch + ?Sized>(
    program: &P,
    pieces: &[Piece<'_>],
    left_out: LeftOut<'_>,
    limits: Limits,
    scratch: &dyn Scratch,
    watch: &mut W,
) -> Result<Mapped, MapError> {
    counting::discard();
    let building = Building::new(program, pieces, left_out.too_long, limits);
    let glance = Glance { watch, pairs: 0 };
    let mut mapping = Mapping { program, building, limits, left_out, glance };
    for piece in pieces {
        let records = mapping.piece(piece, scratch)?;
        mapping.building.count("records", records);
    }
    let Mapping { building, mut glance, .. } = mapping;
    building.finish(scratch, || glance.pair())
}

/// A record's pairs, or why it is not counted.
type Held<'r, P> = Result<Vec<Pair<'r, <P as Program>::Value>>, RecordError>;

/// Whoever watches, asked now and then whether to stop.
struct Glance<'c, W: ?Sized> {
    watch: &'c mut W,
    pairs: u64,
}

impl<W: Watch + ?Sized> Glance<'_, W> {
    #[inline(always)]
    fn pair(&mut self) -> Result<(), MapError> {
        self.pairs += 1;
        if self.pairs.is_multiple_of(GLANCE_PAIRS) { self.look() } else { Ok(()) }
    }

    /// Looks whether to stop.
    #[cold]
    fn look(&mut self) -> Result<(), MapError> {
        if self.watch.stops() { Err(MapError::Stopped) } else { Ok(()) }
    }
}

struct Mapping<'p, 'c, P: Program, W: ?Sized> {
    program: &'p P,
    building: Building<'p, P>,
    limits: Limits,
    left_out: LeftOut<'c>,
    glance: Glance<'c, W>,
}

/// Takes all pairs of a piece.
struct All<'m, 'p, 'c, P: Program, W: ?Sized> {
    mapping: &'m mut Mapping<'p, 'c, P, W>,
    scratch: &'m dyn Scratch,
}

impl<P: Program, W: Watch + ?Sized> TakePair<P::Value> for All<'_, '_, '_, P, W> {
    type Error = MapError;

    #[inline(always)]
    fn short(&mut self, key: ShortKey, value: P::Value) -> Result<(), MapError> {
        self.mapping.add(Key::Short(key), value, self.scratch)
    }

    fn other(&mut self, key: &[u8], value: P::Value) -> Result<(), MapError> {
        self.mapping.add(Key::of(key), value, self.scratch)
    }
}

impl<'p, P: Program, W: Watch + ?Sized> Mapping<'p, '_, P, W> {
    /// Maps a piece and tells how many records it had.
    fn piece(&mut self, piece: &Piece<'_>, scratch: &dyn Scratch) -> Result<u64, MapError> {
        let records = RecordIter::new(self.program.records(), *piece);
        if self.program.records() == Records::Piece {
            self.glance.watch.record(None, piece.bytes);
            let program = self.program;
            if let Some(mapped) = program.map_all(*piece, &mut All { mapping: self, scratch }) {
                self.building.count_taken();
                return mapped.map(|()| 1);
            }
            for pair in self.program.map(*piece) {
                let pair = pair.map_err(|error| MapError::Piece { reason: error.reason })?;
                self.add(Key::of(&pair.key), pair.value, scratch)?;
            }
            self.building.count_taken();
            return Ok(1);
        }
        let mut number = 0;
        for record in records {
            number += 1;
            self.glance.pair()?;
            if self.leaves_out(piece, &record) {
                continue;
            }
            match self.hold(record)? {
                Ok(held) => {
                    self.building.count_taken();
                    for pair in held {
                        self.add(Key::of(&pair.key), pair.value, scratch)?;
                    }
                }
                Err(error) => {
                    counting::discard();
                    self.building.skip(Skip::new(piece.source, record.offset, error.reason), &record);
                }
            }
        }
        Ok(number)
    }

    /// Whether a record was agreed to be left out, and then does so. Whoever watches is told of the others.
    #[inline]
    fn leaves_out(&mut self, piece: &Piece<'_>, record: &Piece<'_>) -> bool {
        let place = Place { source: piece.source, offset: record.offset };
        if let Some(skip) = self.left_out.agreed_at(place) {
            self.building.skip(skip.clone(), record);
            return true;
        }
        self.glance.watch.record(Some(place), record.bytes);
        false
    }

    /// A record's pairs, held until its iterator ends, so that a record counts wholly or not at all; one on which the program
    /// panics does not. What is held is bounded too: a record without end fails its chunk.
    fn hold<'r>(&mut self, record: Piece<'r>) -> Result<Held<'r, P>, MapError>
    where
        'p: 'r,
    {
        let (program, glance, limit): (&'p P, _, _) = (self.program, &mut self.glance, self.limits.output_bytes);
        let mapping = || {
            let (mut held, mut bytes) = (Vec::new(), 0_u64);
            for pair in program.map(record) {
                glance.pair()?;
                match pair {
                    Ok(pair) => {
                        bytes += (size_of_val(&pair) + pair.key.len() + pair.value.heap_bytes()) as u64;
                        if bytes > limit {
                            return Err(MapError::Output { limit });
                        }
                        held.push(pair);
                    }
                    Err(error) => return Ok(Err(error)),
                }
            }
            Ok(Ok(held))
        };
        // Whatever a panic leaves half done is the record's alone: a program has no state that another record sees.
        let held = panic::catch_unwind(AssertUnwindSafe(mapping));
        held.unwrap_or_else(|panic| Ok(Err(RecordError { reason: format!("mapping panicked: {}", said(&*panic)) })))
    }

    /// Adds a pair, and looks now and then whether to stop.
    #[inline(always)]
    fn add(&mut self, key: Key<'_>, value: P::Value, scratch: &dyn Scratch) -> Result<(), MapError> {
        self.building.add(key, value, scratch)?;
        if self.building.pairs().is_multiple_of(GLANCE_PAIRS) { self.glance.look() } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
