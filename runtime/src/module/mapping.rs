//! A chunk through a module, record by record.
//!
//! What would surprise: where a module can, many records go through it in one call, and if that does not end well, they go through
//! it one by one, since nobody knows which was at fault. A record that traps costs itself alone, at once, and a new instance for the next; one that is stopped by
//! a limit costs the attempt, and is only left out once all have agreed on it, since another machine may be faster.

use super::Running;
use super::compiled::ticks;
use super::guest::{CallError, Guest};
use super::values::{self, Short, Waiting};
use rabbit_reduce_core::boundary::Boundary;
use rabbit_reduce_core::job::{Pair, Piece, Program, RecordError, Records, Value};
use rabbit_reduce_core::lines::{LinePlace, Lines};
use rabbit_reduce_core::map::{Building, LeftOut, Limits, MapError, Mapped, Watch};
use rabbit_reduce_core::pairs::PairSource;
use rabbit_reduce_core::records::RecordIter;
use rabbit_reduce_core::rows::RowSink;
use rabbit_reduce_core::short::Key;
use rabbit_reduce_core::skip::{Place, Skip};
use rabbit_reduce_core::table::Scratch;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};

/// For so many pairs memory is asked for their places before the first of them is added.
const LOOK_AHEAD: usize = 64;
/// Records that are mapped in one call, in bytes: few enough that their pairs stay near the processor.
const GATHERED_BYTES: usize = 4 << 10;

/// What one record may put out, in bytes: whether it counts is known when it is done.
const RECORD_OUTPUT_BYTES: u64 = 64 << 20;

/// The chunk, and with what it is mapped.
pub(super) struct Chunk<'c> {
    pub(super) running: &'c Running,
    pub(super) pieces: &'c [Piece<'c>],
    pub(super) left_out: LeftOut<'c>,
    pub(super) limits: Limits,
    pub(super) scratch: &'c dyn Scratch,
}

impl<'c> Chunk<'c> {
    /// Its pairs, as `program` merges them. `merged` says whether that went well so far.
    pub(super) fn mapped<P: Valued>(
        &self,
        program: &'c P,
        lines: &Lines,
        merged: &dyn Fn() -> Result<(), MapError>,
        watch: &mut dyn Watch,
    ) -> Result<Mapped, MapError> {
        let building = Building::new(program, self.pieces, self.left_out.too_long, self.limits);
        let glance = Glance { watch, merged, asked: 0 };
        let (guest, inner, gathered) = (None, Vec::new(), Gathered::default());
        // Where nothing is to be told of a key, its values are combined, in whatever order.
        let gathers = self.running.gathers.load(Ordering::Relaxed) && lines.0.is_plain() && !glance.watch.needs_each();
        let mut mapping = Mapping { chunk: self, program, lines, building, guest, inner, glance, gathered, gathers };
        let mut records = 0;
        for piece in self.pieces {
            for record in RecordIter::new(Records::Lines, *piece) {
                records += 1;
                mapping.glance.look()?;
                let place = Place { source: record.source, offset: record.offset };
                if let Some(skip) = self.left_out.agreed_at(place) {
                    mapping.map_gathered()?;
                    mapping.building.skip(skip.clone(), &record);
                    continue;
                }
                mapping.glance.watch.record(Some(place), record.bytes);
                if mapping.gathers && record.bytes.len() <= GATHERED_BYTES {
                    mapping.gather(record)?;
                } else {
                    mapping.map_gathered()?;
                    mapping.record(&record)?;
                }
            }
            // The next piece is of another source.
            mapping.map_gathered()?;
        }
        let Mapping { mut building, mut glance, .. } = mapping;
        building.count("records", records);
        let mapped = building.finish(self.scratch, || glance.look())?;
        merged()?;
        Ok(mapped)
    }

    /// Has a record mapped, by a new instance if there is none; or says why it is not counted.
    fn map(
        &self,
        guest: &mut Option<Guest>,
        record: &Piece<'_>,
        lines: &Lines,
    ) -> Result<Result<(), String>, MapError> {
        match self.tried(guest, record, lines) {
            Ok(None) => Ok(Ok(())),
            Ok(Some(refused)) => Ok(Err(refused)),
            Err(error) => {
                // Nobody knows in which state it is.
                *guest = None;
                match error {
                    CallError::Trapped(reason) => Ok(Err(reason)),
                    CallError::Output { limit } => Err(MapError::Output { limit }),
                    CallError::Pair { bytes } => Err(MapError::Pair { bytes }),
                    CallError::Stopped => Err(MapError::Stopped),
                    CallError::Limit(reason) => Err(self.limited(record, reason, lines)),
                }
            }
        }
    }

    fn tried(&self, guest: &mut Option<Guest>, record: &Piece<'_>, lines: &Lines) -> Result<Option<String>, CallError> {
        let guest = self.running.begun(guest)?;
        guest.source(record.name);
        let limit = self.limits.output_bytes;
        guest.map(record.bytes, record.offset, limit.min(RECORD_OUTPUT_BYTES), lines.0.is_plain()).map_err(|error| {
            match error {
                CallError::Output { .. } if limit > RECORD_OUTPUT_BYTES => {
                    let mebibytes = RECORD_OUTPUT_BYTES >> 20;
                    CallError::Trapped(format!(
                        "it puts out more than {mebibytes} MiB, which are held until it is done"
                    ))
                }
                other => other,
            }
        })
    }

    /// A record was stopped by a limit: it alone is at fault, unless the first and the last of the chunk fare no better.
    fn limited(&self, record: &Piece<'_>, reason: String, lines: &Lines) -> MapError {
        let place = |record: &Piece<'_>| Place { source: record.source, offset: record.offset };
        let records = || {
            let all = self.pieces.iter().flat_map(|piece| RecordIter::new(Records::Lines, *piece));
            all.filter(|other| place(other) != place(record) && self.left_out.agreed_at(place(other)).is_none())
        };
        let others: Vec<Piece<'_>> = records().next().into_iter().chain(records().last()).collect();
        let all_fail = !others.is_empty()
            && others.iter().all(|other| matches!(self.tried(&mut None, other, lines), Err(CallError::Limit(_))));
        match all_fail {
            true => MapError::Program {
                reason: format!("{reason}; and so with every record that was tried"),
                may_pass: false,
            },
            false => MapError::Record { place: place(record), reason },
        }
    }
}

/// Whoever watches and whoever merges, asked whether to stop: once a tick, as a record may take next to no time, or long.
struct Glance<'m> {
    watch: &'m mut dyn Watch,
    merged: &'m dyn Fn() -> Result<(), MapError>,
    /// At which tick.
    asked: u64,
}

impl Glance<'_> {
    #[inline(always)]
    fn look(&mut self) -> Result<(), MapError> {
        if ticks() == self.asked { Ok(()) } else { self.ask() }
    }

    #[cold]
    fn ask(&mut self) -> Result<(), MapError> {
        self.asked = ticks();
        (self.merged)()?;
        if self.watch.stops() { Err(MapError::Stopped) } else { Ok(()) }
    }
}

/// Records of one piece that are mapped in one call.
#[derive(Default)]
struct Gathered<'c> {
    records: Vec<Piece<'c>>,
    /// Each of them behind its length in LEB128.
    list: Vec<u8>,
}

/// A chunk on its way through an instance.
struct Mapping<'m, 'c, P: Valued> {
    chunk: &'m Chunk<'c>,
    program: &'c P,
    lines: &'m Lines,
    building: Building<'c, P>,
    guest: Option<Guest>,
    inner: Vec<u8>,
    glance: Glance<'m>,
    gathered: Gathered<'c>,
    /// Whether records are mapped many in a call.
    gathers: bool,
}

impl<'c, P: Valued> Mapping<'_, 'c, P> {
    /// Maps a record by itself.
    fn record(&mut self, record: &Piece<'c>) -> Result<(), MapError> {
        match self.chunk.map(&mut self.guest, record, self.lines)? {
            Ok(()) => self.take_pairs(record),
            Err(reason) => {
                self.building.skip(Skip::new(record.source, record.offset, reason), record);
                Ok(())
            }
        }
    }

    /// Puts a record to those that are mapped together.
    fn gather(&mut self, record: Piece<'c>) -> Result<(), MapError> {
        if self.gathered.list.len() + record.bytes.len() > GATHERED_BYTES {
            self.map_gathered()?;
        }
        values::put(&mut self.gathered.list, record.bytes);
        self.gathered.records.push(record);
        Ok(())
    }

    /// Maps what is gathered: in one call, or, where that ends in any way but well, one by one, as all that comes behind them.
    fn map_gathered(&mut self) -> Result<(), MapError> {
        let Gathered { mut records, mut list } = std::mem::take(&mut self.gathered);
        let Some(first) = records.first() else { return Ok(()) };
        let limit = self.chunk.limits.output_bytes;
        let mapped = self.chunk.running.begun(&mut self.guest).and_then(|guest| {
            guest.source(first.name);
            guest.map_all(&list, limit.min(RECORD_OUTPUT_BYTES))
        });
        if let Ok(None) = mapped {
            self.take_pairs(first)?;
        } else {
            if let Err(CallError::Limit(_)) = mapped {
                // They may be slow, each within its limit: then so are those of all other chunks.
                self.chunk.running.gathers.store(false, Ordering::Relaxed);
            }
            (self.guest, self.gathers) = (None, false);
            records.iter().try_for_each(|record| self.record(record))?;
        }
        records.clear();
        list.clear();
        self.gathered = Gathered { records, list };
        Ok(())
    }

    /// Takes over what the call before has put out, for a record or for all from that on.
    fn take_pairs(&mut self, record: &Piece<'c>) -> Result<(), MapError> {
        let Self { chunk, program, lines, building, guest, inner, glance, .. } = self;
        let guest = guest.as_ref().expect("it has just mapped");
        for some in guest.short().chunks(LOOK_AHEAD) {
            building.look_ahead(some.iter().map(|(key, _)| *key));
            for (key, value) in some {
                building.add(Key::Short(*key), program.short(*value), chunk.scratch)?;
                glance.look()?;
            }
        }
        for (number, (key, value)) in (0..).zip(guest.held().iter()) {
            lines.0.inner(key, LinePlace::mapped(record.source, record.offset, number), inner);
            building.add(Key::of(inner), program.value(value), chunk.scratch)?;
            glance.look()?;
        }
        for (name, more) in guest.counts() {
            building.count(&format!("program.{name}"), *more);
        }
        Ok(())
    }
}

/// A program whose values are those of a module.
pub(super) trait Valued: Program {
    /// A value as the module gave it.
    fn value(&self, bytes: &[u8]) -> Self::Value;

    /// The same of a short one.
    fn short(&self, value: Short) -> Self::Value {
        self.value(value.bytes(&mut [0; 8]))
    }
}

impl Valued for Lines {
    fn value(&self, bytes: &[u8]) -> Vec<u8> {
        bytes.to_vec()
    }
}

/// Pairs that a module combines: one of each key. The values of a key are held as they come, and combined many at a time.
pub(super) struct Combining {
    lines: Lines,
    running: Arc<Running>,
    guest: Mutex<Combiner>,
}

/// Who combines for one chunk. A failure is kept until somebody asks, and from then on nothing is combined any more.
#[derive(Default)]
struct Combiner {
    guest: Option<Guest>,
    failed: Option<CallError>,
}

impl Combining {
    pub(super) fn new(lines: &Lines, running: &Arc<Running>) -> Self {
        Self { lines: lines.clone(), running: Arc::clone(running), guest: Mutex::default() }
    }

    fn guest(&self) -> MutexGuard<'_, Combiner> {
        self.guest.lock().expect("nobody panics with it")
    }

    /// Whether everything was combined so far.
    pub(super) fn check(&self) -> Result<(), MapError> {
        match &self.guest().failed {
            None => Ok(()),
            Some(CallError::Stopped) => Err(MapError::Stopped),
            Some(CallError::Pair { bytes }) => Err(MapError::Pair { bytes: *bytes }),
            Some(error) => {
                let reason = format!("the module cannot combine values: {}", error.reason());
                Err(MapError::Program { reason, may_pass: false })
            }
        }
    }

    #[inline(never)]
    fn gather_alike(&self, total: &mut Waiting, value: Short, times: u64) {
        self.gather(total, &Waiting::Times(value, times));
    }

    /// Has others wait too, or all of them combined.
    #[inline(never)]
    fn gather(&self, total: &mut Waiting, others: &Waiting) {
        total.append(others);
        if total.are_many() {
            let (mut runs, mut sum) = (Vec::new(), Vec::new());
            total.encode(&mut runs);
            if self.combine(&runs, &mut sum) {
                *total = Waiting::of(&sum);
            }
        }
    }

    /// Puts into `sum` what runs of values make together; `false` if nothing is combined any more.
    fn combine(&self, runs: &[u8], sum: &mut Vec<u8>) -> bool {
        let mut combiner = self.guest();
        let Combiner { guest, failed } = &mut *combiner;
        values::combined(runs, sum, |list, sum| {
            if failed.is_some() {
                return false;
            }
            let combined = self.running.begun(guest).and_then(|guest| guest.combine(list, sum));
            *failed = combined.err();
            failed.is_none()
        })
    }
}

impl Valued for Combining {
    #[inline(always)]
    fn value(&self, bytes: &[u8]) -> Waiting {
        Waiting::of(bytes)
    }

    #[inline(always)]
    fn short(&self, value: Short) -> Waiting {
        Waiting::Times(value, 1)
    }
}

impl Program for Combining {
    type Value = Waiting;

    fn boundary(&self) -> Boundary {
        self.lines.boundary()
    }

    fn records(&self) -> Records {
        self.lines.records()
    }

    fn map<'r>(&'r self, record: Piece<'r>) -> impl Iterator<Item = Result<Pair<'r, Waiting>, RecordError>> + 'r {
        self.lines.map(record).map(|pair| pair.map(|Pair { key, value }| Pair { key, value: Waiting::of(&value) }))
    }

    #[inline(always)]
    fn merge(&self, _: &[u8], total: &mut Waiting, other: Waiting) {
        match other {
            // In registers all along: what is written to memory in halves and read as a whole stalls a processor.
            Waiting::Times(value, times) => {
                if !total.take_alike(value, times) {
                    self.gather_alike(total, value, times);
                }
            }
            others @ Waiting::Many(_) => self.gather(total, &others),
        }
    }

    fn settled<'v>(&self, _: &[u8], runs: &'v [u8], room: &'v mut Vec<u8>) -> &'v [u8] {
        match values::only(runs) {
            Some(value) => value,
            None if self.combine(runs, room) => room,
            // Whoever asks hears that it failed, and nothing of this goes out.
            None => &[],
        }
    }

    fn group<'k>(&self, key: &'k [u8]) -> &'k [u8] {
        Program::group(&self.lines, key)
    }

    fn columns(&self) -> &'static [&'static str] {
        Program::columns(&self.lines)
    }

    fn rows(&self, sources: &[Vec<u8>], pairs: &mut dyn PairSource, sink: &mut dyn RowSink) -> io::Result<()> {
        Program::rows(&self.lines, sources, pairs, sink)
    }
}
