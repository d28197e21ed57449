//! Programs that are commands: a mapper, a combiner and a reducer that read lines and write lines, as with Hadoop Streaming.
//!
//! A mapper is given the lines of a chunk, a process for each source in it; a combiner the mapped pairs of a chunk, a reducer all
//! pairs of a partition, both in order of keys. What a process writes are pairs again. What would surprise: a record on which a
//! mapper fails is looked for by giving it halves of the chunk, until one line is left.

mod descendants;
mod exchange;
mod isolation;

pub use self::exchange::Limits;

use self::exchange::{ExchangeError, Invocation, Sides, exchange};
use crate::process::start::chain;
use rabbit_reduce_core::boundary::Boundary;
use rabbit_reduce_core::id::PartitionNumber;
use rabbit_reduce_core::job::{PairTaker, Piece, Program, ProgramFailed, ValueError};
use rabbit_reduce_core::jobs::{Flag, JobError, Options};
use rabbit_reduce_core::lines::{LineFormat, LinePlace, Lines};
use rabbit_reduce_core::map::{self, Building, LeftOut, MapError, Mapped, Watch, map_chunk};
use rabbit_reduce_core::pairs::{Cursor, PairReader, PairSource};
use rabbit_reduce_core::program::{AnyProgram, MapPlace, Programs, ReducePlace};
use rabbit_reduce_core::rows::RowSink;
use rabbit_reduce_core::short::Key;
use rabbit_reduce_core::table::{Scratch, Table};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

/// What such a program is called in a job's spec.
pub const NAME: &str = "command";
/// The longest line that a command may write, in bytes, without its line feed.
const LINE_BYTES: usize = map::MAX_PAIR_BYTES / 2;
/// What a reducer's output holds in memory before it spills, in bytes.
const REDUCED_BYTES: usize = 32 << 20;

/// Where commands run.
#[derive(Clone, Debug)]
pub struct Host {
    /// Their working directories are made here.
    pub scratch: PathBuf,
    /// What each of them may take.
    pub limits: Limits,
    /// There is no other machine, which might have a program that this one lacks.
    pub alone: bool,
}

/// Whether a process runs commands.
#[derive(Clone, Debug)]
pub enum Permission {
    /// It never has to.
    NeverAsked,
    /// It refuses jobs for which it would have to, with these words.
    Refused(&'static str),
    /// Here.
    Allowed(Host),
}

/// Adds commands to the programs that a process knows.
#[must_use]
pub fn with_commands(programs: Programs, permission: Permission) -> Programs {
    programs.with_options(NAME, move |options| Ok(Arc::new(CommandProgram::of(options, &permission)?)))
}

#[derive(Debug)]
struct CommandProgram {
    lines: Lines,
    mapper: Option<Vec<String>>,
    combiner: Option<Vec<String>>,
    reducer: Option<Vec<String>>,
    host: Option<Host>,
}

impl CommandProgram {
    fn of(options: &Options, permission: &Permission) -> Result<Self, JobError> {
        let refused = |reason: String| JobError::Setting { job: NAME.to_owned(), reason };
        if let Some(flag) = options.given().find(|flag| *flag != Flag::Streaming) {
            return Err(JobError::Unused { job: NAME.to_owned(), flag });
        }
        let streaming = options.streaming.clone().unwrap_or_default();
        let words = |flag: &str, command: &Option<String>| {
            let Some(command) = command else { return Ok(None) };
            let words = shell_words::split(command).map_err(|error| refused(format!("{flag} `{command}`: {error}")))?;
            if words.is_empty() { Err(refused(format!("{flag} names no program"))) } else { Ok(Some(words)) }
        };
        let (mapper, combiner, reducer) = (
            words("--mapper", &streaming.mapper)?,
            words("--combiner", &streaming.combiner)?,
            words("--reducer", &streaming.reducer)?,
        );
        let host = match permission {
            Permission::Refused(reason) if reducer.is_some() => return Err(refused((*reason).to_owned())),
            Permission::Refused(_) | Permission::NeverAsked => None,
            Permission::Allowed(host) => Some(host.clone()),
        };
        let lines = Lines(streaming.line_format().map_err(refused)?);
        Ok(Self { lines, mapper, combiner, reducer, host })
    }

    fn host(&self) -> &Host {
        self.host.as_ref().expect("who only prints is asked for nothing else")
    }

    fn format(&self) -> &LineFormat {
        &self.lines.0
    }

    /// Runs a command in a folder of its own.
    fn run<S: Sides>(
        &self,
        words: &[String],
        mut variables: Vec<(String, String)>,
        output_bytes: u64,
        sides: &mut S,
    ) -> Result<(), ExchangeError<S::Error>> {
        let host = self.host();
        let folder = TempDir::with_prefix_in("command-", &host.scratch)?;
        let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".to_owned());
        let here = folder.path().display().to_string();
        let common = [("PATH", path), ("HOME", here.clone()), ("TMPDIR", here), ("LANG", "C.UTF-8".to_owned())];
        variables.extend(common.map(|(name, value)| (name.to_owned(), value)));
        let separator = char::from(self.format().separator).to_string();
        variables.push(("RABBIT_REDUCE_SEPARATOR".to_owned(), separator));
        let invocation =
            Invocation { words, folder: folder.path(), variables: &variables, limits: host.limits, output_bytes };
        exchange(&invocation, sides)
    }

    /// What a mapper makes of the pieces, but for the lines that are left out.
    fn mapped<'p>(
        &'p self,
        at: &MapPlace,
        words: &[String],
        pieces: &[Piece<'_>],
        left_out: LeftOut<'_>,
        limits: map::Limits,
        scratch: &dyn Scratch,
        watch: &mut dyn Watch,
    ) -> Result<Building<'p, Lines>, ExchangeError<MapError>> {
        let mut building = Building::new(&self.lines, pieces, left_out.too_long, limits);
        for source in pieces.chunk_by(|left, right| left.source == right.source) {
            let given = isolation::lines_of(source, left_out.agreed, &mut building);
            let place = (source[0].source, source[0].offset);
            let mut sides = Mapping {
                given,
                lines: Splitting::default(),
                building: &mut building,
                place,
                number: 0,
                format: self.format(),
                scratch,
                watch,
            };
            self.run(words, variables_of(at, &source[0]), limits.output_bytes, &mut sides)?;
            sides.finish()?;
        }
        Ok(building)
    }

    /// A failed exchange, as mapping fails.
    fn failure(&self, what: &str, error: ExchangeError<MapError>) -> MapError {
        let may_pass = match error {
            ExchangeError::Taker(error) => return error,
            ExchangeError::Stopped => return MapError::Stopped,
            ExchangeError::Pipe(error) => return MapError::Scratch(error),
            // Another machine may have it.
            ExchangeError::Start { .. } => !self.host().alone,
            ExchangeError::Failed { .. } => false,
        };
        MapError::Program { reason: format!("{what}: {}", chain(&error)), may_pass }
    }

    /// The pairs of a chunk through the combiner.
    fn combined(
        &self,
        at: &MapPlace,
        words: &[String],
        pieces: &[Piece<'_>],
        left_out: LeftOut<'_>,
        limits: map::Limits,
        mapped: Mapped,
        scratch: &dyn Scratch,
        watch: &mut dyn Watch,
    ) -> Result<Mapped, MapError> {
        let mut building = Building::new(&self.lines, pieces, left_out.too_long, limits);
        let Some(first) = pieces.first() else { return Ok(mapped) };
        for (name, count) in &mapped.counters {
            if name != "bytes" {
                building.count(name, *count);
            }
        }
        let given = Combinable { mapped, partition: 0, segment: 0, reader: None, format: self.format() };
        let place = (first.source, first.offset);
        let mut sides = Mapping {
            given,
            lines: Splitting::default(),
            building: &mut building,
            place,
            number: 0,
            format: self.format(),
            scratch,
            watch,
        };
        let ran =
            self.run(words, variables_of(at, first), limits.output_bytes, &mut sides).and_then(|()| sides.finish());
        let Combinable { mapped: Mapped { skips, refused, .. }, .. } = sides.given;
        ran.map_err(|error| self.failure("the combiner", error))?;
        let mut combined = building.finish(scratch, || if watch.stops() { Err(MapError::Stopped) } else { Ok(()) })?;
        (combined.skips, combined.refused) = (skips, refused);
        Ok(combined)
    }
}

/// What a process is told of where it is.
fn variables_of(at: &MapPlace, piece: &Piece<'_>) -> Vec<(String, String)> {
    let source = String::from_utf8_lossy(piece.name).into_owned();
    let variables = [
        ("RABBIT_REDUCE_JOB", at.job.to_string()),
        ("RABBIT_REDUCE_CHUNK", at.chunk.to_string()),
        ("RABBIT_REDUCE_OFFSET", piece.offset.to_string()),
        ("RABBIT_REDUCE_SOURCE", source.clone()),
        // As scripts for Hadoop look for it, today and long ago.
        ("mapreduce_map_input_file", source.clone()),
        ("map_input_file", source),
    ];
    variables.map(|(name, value)| (name.to_owned(), value.replace('\0', ""))).to_vec()
}

/// Lines out of bytes that come in pieces.
#[derive(Default)]
struct Splitting {
    rest: Vec<u8>,
}

impl Splitting {
    fn take<E>(&mut self, mut bytes: &[u8], each: &mut dyn FnMut(&[u8]) -> Result<(), E>) -> Result<(), E>
    where
        E: From<MapError>,
    {
        while let Some(at) = memchr::memchr(b'\n', bytes) {
            if self.rest.is_empty() {
                each(&bytes[..at])?;
            } else {
                self.rest.extend_from_slice(&bytes[..at]);
                each(&self.rest)?;
                self.rest.clear();
            }
            bytes = &bytes[at + 1..];
        }
        if self.rest.len() + bytes.len() > LINE_BYTES {
            return Err(MapError::Pair { bytes: self.rest.len() + bytes.len() }.into());
        }
        self.rest.extend_from_slice(bytes);
        Ok(())
    }

    /// The last line may lack its end.
    fn finish<E>(&mut self, each: &mut dyn FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let rest = std::mem::take(&mut self.rest);
        if rest.is_empty() { Ok(()) } else { each(&rest) }
    }
}

/// What a process is given to read.
trait Given {
    fn give(&mut self, input: &mut Vec<u8>) -> io::Result<()>;
}

/// A mapper or combiner at work.
struct Mapping<'m, 'p, 'w, G> {
    given: G,
    lines: Splitting,
    building: &'m mut Building<'p, Lines>,
    place: (rabbit_reduce_core::id::SourceNumber, u64),
    number: u32,
    format: &'p LineFormat,
    scratch: &'m dyn Scratch,
    watch: &'w mut dyn Watch,
}

impl<G> Mapping<'_, '_, '_, G> {
    fn add(
        line: &[u8],
        building: &mut Building<'_, Lines>,
        (source, offset): (rabbit_reduce_core::id::SourceNumber, u64),
        number: &mut u32,
        format: &LineFormat,
        scratch: &dyn Scratch,
    ) -> Result<(), MapError> {
        let (key, value) = format.split(line);
        let mut inner = Vec::new();
        format.inner(key, LinePlace::mapped(source, offset, *number), &mut inner);
        *number = number
            .checked_add(1)
            .ok_or(MapError::Program { reason: "it writes too many lines".to_owned(), may_pass: false })?;
        building.add(Key::of(&inner), value.to_vec(), scratch)
    }

    fn finish(&mut self) -> Result<(), ExchangeError<MapError>> {
        let Self { lines, building, place, number, format, scratch, .. } = self;
        lines
            .finish(&mut |line| Self::add(line, building, *place, number, format, *scratch))
            .map_err(ExchangeError::Taker)
    }
}

impl<G: Given> Sides for Mapping<'_, '_, '_, G> {
    type Error = MapError;

    fn give(&mut self, input: &mut Vec<u8>) -> io::Result<()> {
        self.given.give(input)
    }

    fn take(&mut self, output: &[u8]) -> Result<(), MapError> {
        let Self { lines, building, place, number, format, scratch, .. } = self;
        lines.take(output, &mut |line| Self::add(line, building, *place, number, format, *scratch))
    }

    fn hear(&mut self, line: &[u8]) -> bool {
        let report = Report::of(line);
        if let Some(Report::Counter { name, more }) = &report {
            self.building.count(name, *more);
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

/// Bytes given at once, about.
const GIVEN_BYTES: usize = 64 << 10;

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

/// What a process reports on stderr, in the way of Hadoop Streaming.
#[derive(Debug, PartialEq, Eq)]
enum Report {
    /// `reporter:counter:GROUP,NAME,N`
    Counter { name: String, more: u64 },
    /// `reporter:status:TEXT`
    Status,
}

impl Report {
    fn of(line: &[u8]) -> Option<Self> {
        let report = std::str::from_utf8(line).ok()?.trim_end().strip_prefix("reporter:")?;
        if report.starts_with("status:") {
            return Some(Self::Status);
        }
        let (names, more) = report.strip_prefix("counter:")?.rsplit_once(',')?;
        let (group, name) = names.split_once(',')?;
        let more = more.trim().parse().ok()?;
        let name = format!("{}.{}", group.trim(), name.trim());
        Some(Self::Counter { name, more })
    }
}

impl AnyProgram for CommandProgram {
    fn boundary(&self) -> Boundary {
        Boundary::Line
    }

    fn map_chunk(
        &self,
        at: &MapPlace,
        pieces: &[Piece<'_>],
        left_out: LeftOut<'_>,
        limits: map::Limits,
        scratch: &dyn Scratch,
        watch: &mut dyn Watch,
    ) -> Result<Mapped, MapError> {
        let mapped = match &self.mapper {
            None => map_chunk(&self.lines, pieces, left_out, limits, scratch, watch)?,
            Some(words) => match self.mapped(at, words, pieces, left_out, limits, scratch, watch) {
                Ok(building) => {
                    building.finish(scratch, || if watch.stops() { Err(MapError::Stopped) } else { Ok(()) })?
                }
                Err(ExchangeError::Failed { how, said }) => {
                    return Err(isolation::isolate(
                        self,
                        at,
                        words,
                        pieces,
                        left_out,
                        limits.output_bytes,
                        watch,
                        (how, said),
                    ));
                }
                Err(error) => return Err(self.failure("the mapper", error)),
            },
        };
        match &self.combiner {
            None => Ok(mapped),
            Some(words) => self.combined(at, words, pieces, left_out, limits, mapped, scratch, watch),
        }
    }

    fn combine(&self, _: &[u8], _: &mut Vec<u8>, _: &[u8]) -> Result<(), ValueError> {
        // Two pairs of one place are the same pair.
        Ok(())
    }

    fn group<'k>(&self, key: &'k [u8]) -> &'k [u8] {
        Program::group(&self.lines, key)
    }

    fn makes(&self, key: &[u8], value: &[u8]) -> bool {
        Program::makes(&self.lines, key, value)
    }

    fn groups(&self) -> bool {
        self.reducer.is_some()
    }

    fn reduce(&self, at: &ReducePlace<'_>, pairs: &mut dyn PairSource, out: &mut PairTaker<'_>) -> io::Result<()> {
        let Some(words) = &self.reducer else { return Program::reduce(&self.lines, pairs, out) };
        let table = Table::new(&self.lines, 1, REDUCED_BYTES, u64::from(at.partition.0));
        let mut sides = Reducing {
            pairs,
            table,
            lines: Splitting::default(),
            number: 0,
            partition: at.partition,
            format: self.format(),
            at,
        };
        let variables = [
            ("RABBIT_REDUCE_JOB".to_owned(), at.job.to_string()),
            ("RABBIT_REDUCE_PARTITION".to_owned(), at.partition.to_string()),
            ("mapreduce_task_partition".to_owned(), at.partition.to_string()),
        ];
        let ran = self.run(words, variables.to_vec(), u64::MAX, &mut sides).and_then(|()| sides.finish());
        ran.map_err(|error| match error {
            ExchangeError::Pipe(error) => error,
            ExchangeError::Stopped => io::Error::other("nobody wants it any more"),
            ExchangeError::Taker(MapError::Scratch(error)) => error,
            error => {
                let reason = chain(&error);
                ProgramFailed(format!("the reducer of partition {}: {reason}", at.partition)).into()
            }
        })?;
        sides.table.drain(at.scratch, |_, key, _, value| out(key, value))
    }

    fn columns(&self) -> &'static [&'static str] {
        Program::columns(&self.lines)
    }

    fn ranked(&self) -> bool {
        false
    }

    fn rows(&self, sources: &[Vec<u8>], pairs: &mut dyn PairSource, sink: &mut dyn RowSink) -> io::Result<()> {
        Program::rows(&self.lines, sources, pairs, sink)
    }
}

/// A reducer at work. What it writes is sorted again, since it may write any keys.
struct Reducing<'r, 'p> {
    pairs: &'r mut dyn PairSource,
    table: Table<'p, Lines>,
    lines: Splitting,
    number: u64,
    partition: PartitionNumber,
    format: &'p LineFormat,
    at: &'r ReducePlace<'r>,
}

impl Reducing<'_, '_> {
    fn add(
        line: &[u8],
        table: &mut Table<'_, Lines>,
        number: &mut u64,
        partition: PartitionNumber,
        format: &LineFormat,
        scratch: &dyn Scratch,
    ) -> Result<(), MapError> {
        let (key, value) = format.split(line);
        let mut inner = Vec::new();
        format.inner(key, LinePlace::reduced(partition, *number), &mut inner);
        *number += 1;
        if table.add(Key::of(&inner), value.to_vec()) {
            table.spill(scratch)?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), ExchangeError<MapError>> {
        let Self { lines, table, number, partition, format, at, .. } = self;
        let mut each = |line: &[u8]| Self::add(line, table, number, *partition, format, at.scratch);
        lines.finish(&mut each).map_err(ExchangeError::Taker)
    }
}

impl Sides for Reducing<'_, '_> {
    type Error = MapError;

    fn give(&mut self, input: &mut Vec<u8>) -> io::Result<()> {
        while input.len() < GIVEN_BYTES {
            let Some((inner, value)) = self.pairs.next()? else { break };
            let key = self.format.key_of(inner);
            let key = key.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a pair has no key"))?;
            self.format.join(&key, value, input);
        }
        Ok(())
    }

    fn take(&mut self, output: &[u8]) -> Result<(), MapError> {
        let Self { lines, table, number, partition, format, at, .. } = self;
        lines.take(output, &mut |line| Self::add(line, table, number, *partition, format, at.scratch))
    }

    fn hear(&mut self, line: &[u8]) -> bool {
        Report::of(line).is_some()
    }

    fn stops(&mut self) -> bool {
        (self.at.stops)()
    }
}

#[cfg(test)]
mod tests;
