//! A chunk through a mapper and a combiner.
//!
//! What would surprise: a combiner reads the pairs as they would be sent, so whatever it writes goes the same way a second time.

use super::exchange::{ExchangeError, Sides};
use super::isolation::{isolate, lines_of};
use super::{CommandProgram, GIVEN_BYTES, Report, Splitting};
use rabbit_reduce_core::id::SourceNumber;
use rabbit_reduce_core::job::Piece;
use rabbit_reduce_core::lines::{LineFormat, LinePlace, Lines};
use rabbit_reduce_core::map::{Building, LeftOut, Limits, MapError, Mapped, Watch};
use rabbit_reduce_core::pairs::{Cursor, PairReader};
use rabbit_reduce_core::program::MapPlace;
use rabbit_reduce_core::short::Key;
use rabbit_reduce_core::table::Scratch;
use std::io;

/// Pairs between two questions whether to stop.
const GLANCE_PAIRS: u64 = 1024;
/// The number of the first pair of a record that is mapped alone: none of a chunk's pairs has it, or a greater one.
const FIRST_ALONE: u32 = 1 << 31;

/// The chunk, and with what it is mapped.
pub(super) struct Chunk<'c> {
    pub(super) program: &'c CommandProgram,
    pub(super) at: &'c MapPlace,
    pub(super) pieces: &'c [Piece<'c>],
    pub(super) left_out: LeftOut<'c>,
    pub(super) limits: Limits,
    pub(super) scratch: &'c dyn Scratch,
}

impl<'c> Chunk<'c> {
    /// What the mapper makes of it. If it fails, the line at fault is looked for.
    pub(super) fn mapped(&self, words: &[String], watch: &mut dyn Watch) -> Result<Mapped, MapError> {
        let mut building = self.building();
        for source in self.pieces.chunk_by(|left, right| left.source == right.source) {
            let given = lines_of(source, self.left_out, &mut building);
            match self.run(words, &source[0], given, &mut building, watch) {
                Ok(_) => {}
                Err(ExchangeError::Failed { how, said }) => return Err(isolate(self, words, (how, said), watch)),
                Err(error) => return Err(self.program.failure("the mapper", error)),
            }
        }
        self.finish(building, watch)
    }

    /// What the combiner makes of that.
    pub(super) fn combined(
        &self,
        words: &[String],
        mut mapped: Mapped,
        watch: &mut dyn Watch,
    ) -> Result<Mapped, MapError> {
        let Some(first) = self.pieces.first() else { return Ok(mapped) };
        let mut building = self.building();
        building.take_over(&mut mapped);
        let given = Combinable { mapped, partition: 0, segment: 0, reader: None, format: self.program.format() };
        let ran = self.run(words, first, given, &mut building, watch);
        ran.map_err(|error| self.program.failure("the combiner", error))?;
        self.finish(building, watch)
    }

    fn building(&self) -> Building<'c, Lines> {
        Building::new(&self.program.lines, self.pieces, self.left_out.too_long, self.limits)
    }

    fn finish(&self, building: Building<'_, Lines>, watch: &mut dyn Watch) -> Result<Mapped, MapError> {
        let mut pairs = 0_u64;
        building.finish(self.scratch, || {
            pairs += 1;
            let stops = pairs.is_multiple_of(GLANCE_PAIRS) && watch.stops();
            if stops { Err(MapError::Stopped) } else { Ok(()) }
        })
    }

    /// Runs a command whose pairs begin where `first` does.
    fn run<G: Given>(
        &self,
        words: &[String],
        first: &Piece<'_>,
        given: G,
        building: &mut Building<'c, Lines>,
        watch: &mut dyn Watch,
    ) -> Result<(), ExchangeError<MapError>> {
        let (place, format) = ((first.source, first.offset), self.program.format());
        // A record alone is at a place where its chunk has pairs already.
        let number = if self.at.alone { FIRST_ALONE } else { 0 };
        let pairs = Pairs { building, place, number, format, scratch: self.scratch };
        let mut sides = Mapping { given, lines: Splitting::default(), pairs, watch };
        self.program.run(words, variables_of(self.at, first), self.limits.output_bytes, &mut sides)?;
        let Mapping { lines, pairs, .. } = &mut sides;
        lines.finish(&mut |line| pairs.add(line)).map_err(ExchangeError::Taker)
    }
}

/// What a process is told of where it is.
pub(super) fn variables_of(at: &MapPlace, piece: &Piece<'_>) -> Vec<(String, String)> {
    let source = String::from_utf8_lossy(piece.name).into_owned();
    let variables = [
        ("RABBIT_REDUCE_JOB_ID", at.job.to_string()),
        ("RABBIT_REDUCE_CHUNK", at.chunk.to_string()),
        ("RABBIT_REDUCE_OFFSET", piece.offset.to_string()),
        ("RABBIT_REDUCE_SOURCE", source.clone()),
        // As scripts for Hadoop look for it, today and long ago.
        ("mapreduce_map_input_file", source.clone()),
        ("map_input_file", source),
    ];
    variables.map(|(name, value)| (name.to_owned(), value.replace('\0', ""))).to_vec()
}

/// What a process is given to read.
pub(super) trait Given {
    /// Appends some of it; nothing at the end.
    fn give(&mut self, input: &mut Vec<u8>) -> io::Result<()>;
}

/// Lines as pairs of a chunk.
struct Pairs<'m, 'p> {
    building: &'m mut Building<'p, Lines>,
    place: (SourceNumber, u64),
    number: u32,
    format: &'p LineFormat,
    scratch: &'m dyn Scratch,
}

impl Pairs<'_, '_> {
    fn add(&mut self, line: &[u8]) -> Result<(), MapError> {
        let (key, value) = self.format.split(line);
        let mut inner = Vec::new();
        let (source, offset) = self.place;
        self.format.inner(key, LinePlace::mapped(source, offset, self.number), &mut inner);
        let too_many = MapError::Program { reason: "it writes too many lines".to_owned(), may_pass: false };
        self.number = self.number.checked_add(1).filter(|next| *next != FIRST_ALONE).ok_or(too_many)?;
        self.building.add(Key::of(&inner), value.to_vec(), self.scratch)
    }
}

/// A mapper or combiner at work.
struct Mapping<'m, 'p, 'w, G> {
    given: G,
    lines: Splitting,
    pairs: Pairs<'m, 'p>,
    watch: &'w mut dyn Watch,
}

impl<G: Given> Sides for Mapping<'_, '_, '_, G> {
    type Error = MapError;

    fn give(&mut self, input: &mut Vec<u8>) -> io::Result<()> {
        self.given.give(input)
    }

    fn take(&mut self, output: &[u8]) -> Result<(), MapError> {
        let Self { lines, pairs, .. } = self;
        lines.take(output, &mut |line| pairs.add(line))
    }

    fn hear(&mut self, line: &[u8]) -> bool {
        let report = Report::of(line);
        if let Some(Report::Counter { name, more }) = &report {
            self.pairs.building.count(name, *more);
        }
        report.is_some()
    }

    fn stops(&mut self) -> bool {
        self.watch.stops()
    }
}

/// The combined pairs of a chunk as lines, partition after partition.
struct Combinable<'f> {
    mapped: Mapped,
    partition: usize,
    segment: usize,
    reader: Option<PairReader<bytes::Bytes>>,
    format: &'f LineFormat,
}

impl Given for Combinable<'_> {
    fn give(&mut self, input: &mut Vec<u8>) -> io::Result<()> {
        while input.len() < GIVEN_BYTES {
            if let Some(reader) = &mut self.reader {
                if reader.advance()? {
                    let key = self.format.key_of(reader.key()).expect("it was made so");
                    self.format.join(&key, reader.value(), input);
                } else {
                    self.reader = None;
                }
                continue;
            }
            let Some(segments) = self.mapped.partials.get(self.partition) else { break };
            if self.segment == segments.len() {
                (self.partition, self.segment) = (self.partition + 1, 0);
                continue;
            }
            self.reader = Some(PairReader::new(self.mapped.body(self.partition, self.segment)?));
            self.segment += 1;
        }
        Ok(())
    }
}
