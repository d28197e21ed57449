//! Programs that are commands: a mapper, a combiner and a reducer that read lines and write lines, as with Hadoop Streaming.
//!
//! A mapper is given the lines of a chunk, a process for each source in it; a combiner the mapped pairs of a chunk, a reducer all
//! pairs of a partition, both in order of keys. What a process writes are pairs again. What would surprise: a record on which a
//! mapper fails is looked for by giving it halves of the chunk, until one line is left.

mod at_work;
mod descendants;
mod exchange;
mod isolation;
mod mapping;
mod reducing;

pub use self::at_work::leave;
pub use self::exchange::Limits;

use self::exchange::{ExchangeError, Invocation, Sides, exchange};
use self::mapping::Chunk;
use crate::private;
use crate::process::start::chain;
use crate::shipped::ShippedFiles;
use rabbit_reduce_core::boundary::Boundary;
use rabbit_reduce_core::job::{PairTaker, Piece, Program};
use rabbit_reduce_core::jobs::{Flag, JobError, Options, SideFile};
use rabbit_reduce_core::lines::{LineFormat, Lines};
use rabbit_reduce_core::map::{self, LeftOut, MapError, Mapped, Watch, map_chunk};
use rabbit_reduce_core::pairs::PairSource;
use rabbit_reduce_core::program::{AnyProgram, Combiner, MapPlace, Programs, ReducePlace};
use rabbit_reduce_core::rows::RowSink;
use rabbit_reduce_core::table::Scratch;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What such a program is called in a job's spec.
pub const NAME: &str = "command";
/// The longest line that a command may write, in bytes, without its line feed.
const LINE_BYTES: usize = map::MAX_PAIR_BYTES / 2;
/// Bytes that a command is given at once, about.
const GIVEN_BYTES: usize = 64 << 10;

/// Where commands run.
#[derive(Clone, Debug)]
pub struct Host {
    /// Their working directories are made here.
    pub scratch: PathBuf,
    /// Files that travel with jobs are found here.
    pub files: ShippedFiles,
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

/// Lets no other process of our user read our environment and our memory, and what is secret there: commands are such processes.
///
/// # Errors
/// If the system knows no such thing.
pub fn keep_from_commands() -> io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

#[derive(Debug)]
struct CommandProgram {
    lines: Lines,
    mapper: Option<Vec<String>>,
    combiner: Option<Vec<String>>,
    reducer: Option<Vec<String>>,
    /// What they find beside them.
    files: Vec<SideFile>,
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
            Permission::Refused(reason) if reducer.is_some() => {
                return Err(JobError::NotHere { job: NAME.to_owned(), reason: (*reason).to_owned() });
            }
            Permission::Refused(_) | Permission::NeverAsked => None,
            Permission::Allowed(host) => Some(host.clone()),
        };
        let lines = Lines(streaming.line_format().map_err(refused)?);
        let files = streaming.files;
        if let Some(beside) = files.iter().find(|beside| !beside.has_plain_name()) {
            return Err(refused(format!("a file beside a command cannot be called {:?}", beside.name)));
        }
        Ok(Self { lines, mapper, combiner, reducer, files, host })
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
        let _visit = at_work::visit().ok_or(ExchangeError::Stopped)?;
        let folder = private::temporary_folder("command-", &host.scratch)?;
        let here = folder.path().display().to_string();
        let mut path = std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".to_owned());
        if !self.files.is_empty() {
            // A script that travels with its job is found by its name alone.
            path = format!("{here}:{path}");
        }
        self.files.iter().try_for_each(|beside| put_beside(host, beside, folder.path()))?;
        let common = [("PATH", path), ("HOME", here.clone()), ("TMPDIR", here), ("LANG", "C.UTF-8".to_owned())];
        variables.extend(common.map(|(name, value)| (name.to_owned(), value)));
        let separator = char::from(self.format().separator).to_string();
        variables.push(("RABBIT_REDUCE_SEPARATOR".to_owned(), separator));
        let invocation =
            Invocation { words, folder: folder.path(), variables: &variables, limits: host.limits, output_bytes };
        exchange(&invocation, sides)
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
}

/// Puts a file into the folder of a command. It is the command's own: whatever it does to it is done to nobody else.
fn put_beside(host: &Host, beside: &SideFile, folder: &Path) -> io::Result<()> {
    let bytes = host.files.read(&beside.file)?;
    let bytes =
        bytes.ok_or_else(|| io::Error::other(format!("the job's file {} is not here (any more)", beside.name)))?;
    let mut file = File::options().write(true).create_new(true).mode(0o700).open(folder.join(&beside.name))?;
    file.write_all(&bytes)
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
            let reason = format!("it wrote a line of more than {LINE_BYTES} bytes");
            return Err(MapError::Program { reason, may_pass: false }.into());
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
        let chunk = Chunk { program: self, at, pieces, left_out, limits, scratch };
        let mapped = match &self.mapper {
            None => map_chunk(&self.lines, pieces, left_out, limits, scratch, watch)?,
            Some(words) => chunk.mapped(words, watch)?,
        };
        match &self.combiner {
            None => Ok(mapped),
            Some(words) => chunk.combined(words, mapped, watch),
        }
    }

    fn combiner(&self) -> Combiner<'_> {
        // Two pairs of one place are the same pair.
        Box::new(|_, _, _| Ok(()))
    }

    fn group<'k>(&self, key: &'k [u8]) -> &'k [u8] {
        Program::group(&self.lines, key)
    }

    fn together<'k>(&self, key: &'k [u8]) -> &'k [u8] {
        self.format().without_place(key)
    }

    fn makes(&self, key: &[u8], value: &[u8]) -> bool {
        Program::makes(&self.lines, key, value)
    }

    fn groups(&self) -> bool {
        self.reducer.is_some()
    }

    fn reduce(&self, at: &ReducePlace<'_>, pairs: &mut dyn PairSource, out: &mut PairTaker<'_>) -> io::Result<()> {
        match &self.reducer {
            None => Program::reduce(&self.lines, pairs, out),
            Some(words) => reducing::reduce(self, words, at, pairs, out),
        }
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

#[cfg(test)]
mod tests;
