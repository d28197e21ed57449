//! Programs of WebAssembly: a module that travels with its job maps, combines and reduces, and can do nothing else.
//!
//! A module is given a record at a time, and a key with its values; what it puts out are pairs. If it can combine, its pairs are
//! merged wherever two of a key meet; if not, they stay apart, in the order of the input. If it can reduce, every key goes
//! through it in the end. What would surprise: nobody has to allow modules, as one can reach nothing but what it is given; and
//! whatever it may take is said by the job, since a module may do otherwise with less.

mod compiled;
mod extent;
mod feed;
mod guest;
mod mapping;
mod reducing;
mod values;

pub use self::compiled::ModuleError;

use self::compiled::Compiled;
use self::guest::{CallError, Guest, Terms};
use self::mapping::Combining;
use crate::shipped::ShippedFiles;
use rabbit_reduce_core::boundary::Boundary;
use rabbit_reduce_core::job::{PairTaker, Piece, Program, ProgramFailed};
use rabbit_reduce_core::jobs::{Flag, JobError, Module, Options};
use rabbit_reduce_core::lines::{LineFormat, Lines};
use rabbit_reduce_core::map::{LeftOut, Limits, MapError, Mapped, Watch};
use rabbit_reduce_core::pairs::PairSource;
use rabbit_reduce_core::program::{AnyProgram, Combiner, MapPlace, Programs, ReducePlace};
use rabbit_reduce_core::rows::{Cell, RowSink};
use rabbit_reduce_core::shipped::Shipped;
use rabbit_reduce_core::table::Scratch;
use std::borrow::Cow;
use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What such a program is called in a job's spec.
pub const NAME: &str = "module";
/// What an instance may take unless the job says otherwise, in bytes.
pub const DEFAULT_MEMORY_BYTES: u64 = 16 << 20;
/// The least that a job may say, and the most.
pub const MEMORY_BYTES: std::ops::RangeInclusive<u64> = 1 << 20..=1 << 30;
/// Modules that stay compiled: as many as jobs are likely to run side by side.
const KEPT_MODULES: usize = 16;
/// Instances of one thread at work: one maps, one combines.
const INSTANCES: u64 = 2;

/// Where modules run.
#[derive(Clone, Debug)]
pub struct Host {
    /// Where they are found.
    pub files: ShippedFiles,
    /// How long a call may last without asking for more.
    pub silence: Duration,
    /// What all instances may take together, in bytes.
    pub memory_bytes: u64,
    /// How many threads run them.
    pub threads: usize,
}

/// Compiled modules, the latest first.
type Kept = Mutex<Vec<(Module, Arc<Compiled>)>>;

/// Adds modules to the programs that a process knows. Without a host they are never run, only their results printed.
#[must_use]
pub fn with_modules(programs: Programs, host: Option<Host>) -> Programs {
    let kept = Arc::new(Kept::default());
    programs.with_options(NAME, move |options| Ok(Arc::new(ModuleProgram::of(options, host.as_ref(), &kept)?)))
}

/// A module as a job names it, if it can be run: it is compiled, and begun once.
///
/// # Errors
/// Says what is wrong with it.
pub fn check(bytes: &[u8], memory_bytes: u64, silence: Duration) -> Result<Module, ModuleError> {
    let compiled = Compiled::of(bytes, memory_bytes)?;
    let terms = Terms { silence, ..Terms::default() };
    Guest::begin(&compiled, &terms).map_err(|error| match error {
        CallError::Trapped(reason) if reason.contains("memory minimum size") => ModuleError::Begin(format!(
            "it begins with more memory than the {memory_bytes} bytes that it may take (see --module-memory)"
        )),
        error => ModuleError::Begin(error.reason()),
    })?;
    Ok(Module { file: Shipped::of(bytes), memory_bytes, combined: compiled.gives_combined() })
}

struct ModuleProgram {
    /// How its mapped pairs lie.
    mapped: Lines,
    /// How what it reduces to does.
    placed: Lines,
    /// How the pairs of its result do.
    printed: LineFormat,
    /// Nothing where results are only printed.
    running: Option<Arc<Running>>,
}

/// What runs.
struct Running {
    compiled: Arc<Compiled>,
    terms: Terms,
    /// Whether many records may go through it in one call: no longer, once so many have taken too long.
    gathers: AtomicBool,
}

impl Running {
    fn begin(&self) -> Result<Guest, CallError> {
        self.begin_with(&self.terms)
    }

    /// An instance, a new one if there is none.
    fn begun<'g>(&self, guest: &'g mut Option<Guest>) -> Result<&'g mut Guest, CallError> {
        match guest {
            Some(guest) => Ok(guest),
            none => Ok(none.insert(self.begin()?)),
        }
    }

    fn begin_with(&self, terms: &Terms) -> Result<Guest, CallError> {
        Guest::begin(&self.compiled, terms)
    }
}

impl ModuleProgram {
    fn of(options: &Options, host: Option<&Host>, kept: &Kept) -> Result<Self, JobError> {
        let refused = |reason: String| JobError::Setting { job: NAME.to_owned(), reason };
        let taken = |flag: &Flag| matches!(flag, Flag::Module | Flag::Streaming | Flag::Set);
        if let Some(flag) = options.given().find(|flag| !taken(flag)) {
            return Err(JobError::Unused { job: NAME.to_owned(), flag });
        }
        let module = options.module.as_deref().ok_or(JobError::Missing { job: NAME, flag: Flag::Module })?;
        let streaming = options.streaming.clone().unwrap_or_default();
        if streaming.has_commands() || streaming.key_fields.is_some() || !streaming.files.is_empty() {
            let reason = "a module maps and reduces by itself: leave out --mapper, --combiner, --reducer, --key-fields and --file, or --program";
            return Err(refused(reason.to_owned()));
        }
        if !MEMORY_BYTES.contains(&module.memory_bytes) {
            let (least, most) = (MEMORY_BYTES.start(), MEMORY_BYTES.end());
            let reason = format!("--module-memory is {} bytes: it must be from {least} to {most}", module.memory_bytes);
            return Err(refused(reason));
        }
        let format = streaming.line_format().map_err(refused)?;
        let printed = LineFormat { placed: !module.combined, ..format.clone() };
        let Some(host) = host else {
            let (mapped, placed) = (Lines(printed.clone()), Lines(format));
            return Ok(Self { mapped, placed, printed, running: None });
        };
        let compiled = Self::compiled(module, host, kept)?;
        let mapped = Lines(LineFormat { placed: !compiled.combines, ..format.clone() });
        let settings = Arc::new(options.set.clone());
        let terms = Terms { settings, silence: host.silence, ..Terms::default() };
        let running = Arc::new(Running { gathers: AtomicBool::new(compiled.maps_all), compiled, terms });
        Ok(Self { mapped, placed: Lines(format), printed, running: Some(running) })
    }

    /// The module, compiled now or before.
    fn compiled(module: &Module, host: &Host, kept: &Kept) -> Result<Arc<Compiled>, JobError> {
        let not_here = |reason: String| JobError::NotHere { job: NAME.to_owned(), reason };
        let needed = module.memory_bytes.saturating_mul(INSTANCES).saturating_mul(host.threads as u64);
        if needed > host.memory_bytes {
            return Err(not_here(format!(
                "{} threads with {INSTANCES} instances of {} bytes take more than the {} bytes that there are for modules: raise --memory, or lower --module-memory or --threads",
                host.threads, module.memory_bytes, host.memory_bytes
            )));
        }
        let mut kept = kept.lock().expect("nobody panics with it");
        if let Some(place) = kept.iter().position(|(known, _)| known == module) {
            let found = kept.remove(place);
            let compiled = Arc::clone(&found.1);
            kept.insert(0, found);
            return Ok(compiled);
        }
        let bytes = host.files.read(&module.file);
        let bytes = bytes.map_err(|error| not_here(format!("its module cannot be read: {error}")))?;
        let bytes = bytes.ok_or_else(|| not_here("its module is not here (any more)".to_owned()))?;
        let refused = |reason: String| JobError::Setting { job: NAME.to_owned(), reason };
        let compiled = Compiled::of(&bytes, module.memory_bytes).map_err(|error| refused(error.to_string()))?;
        if compiled.gives_combined() != module.combined {
            return Err(refused("what the job says of its module is not so".to_owned()));
        }
        let compiled = Arc::new(compiled);
        kept.truncate(KEPT_MODULES - 1);
        kept.insert(0, (module.clone(), Arc::clone(&compiled)));
        Ok(compiled)
    }

    fn running(&self) -> &Arc<Running> {
        self.running.as_ref().expect("who only prints is asked for nothing else")
    }
}

impl AnyProgram for ModuleProgram {
    fn boundary(&self) -> Boundary {
        Boundary::Line
    }

    fn map_chunk(
        &self,
        _: &MapPlace,
        pieces: &[Piece<'_>],
        left_out: LeftOut<'_>,
        limits: Limits,
        scratch: &dyn Scratch,
        watch: &mut dyn Watch,
    ) -> Result<Mapped, MapError> {
        let running = self.running();
        let chunk = mapping::Chunk { running, pieces, left_out, limits, scratch };
        if !running.compiled.combines {
            return chunk.mapped(&self.mapped, &self.mapped, &|| Ok(()), watch);
        }
        let combining = Combining::new(&self.mapped, running);
        chunk.mapped(&combining, &self.mapped, &|| combining.check(), watch)
    }

    fn combiner(&self) -> Combiner<'_> {
        let running = self.running();
        if !running.compiled.combines {
            // Two pairs of one place are the same pair.
            return Box::new(|_, _, _| Ok(()));
        }
        let (mut guest, mut list) = (None, Vec::new());
        Box::new(move |key, total, other| {
            list.clear();
            values::put(&mut list, total);
            values::put(&mut list, other);
            let combined = running.begun(&mut guest).and_then(|guest| guest.combine(&list, total));
            combined.map_err(|error| match error {
                CallError::Stopped => io::Error::other("nobody wants it any more"),
                error => {
                    let key = self.mapped.0.key_of(key).unwrap_or_default();
                    let key = String::from_utf8_lossy(&key[..key.len().min(100)]).into_owned();
                    ProgramFailed::wholly(format!("combining two values of key {key:?}: {}", error.reason())).into()
                }
            })
        })
    }

    fn group<'k>(&self, key: &'k [u8]) -> &'k [u8] {
        Program::group(&self.mapped, key)
    }

    fn together<'k>(&self, key: &'k [u8]) -> &'k [u8] {
        self.mapped.0.without_place(key)
    }

    fn makes(&self, key: &[u8], value: &[u8]) -> bool {
        Program::makes(&self.mapped, key, value)
    }

    fn groups(&self) -> bool {
        self.running().compiled.reduces
    }

    fn reduce(&self, at: &ReducePlace<'_>, pairs: &mut dyn PairSource, out: &mut PairTaker<'_>) -> io::Result<()> {
        if self.groups() { reducing::reduce(self, at, pairs, out) } else { Program::reduce(&self.mapped, pairs, out) }
    }

    fn columns(&self) -> &'static [&'static str] {
        Program::columns(&self.placed)
    }

    fn ranked(&self) -> bool {
        false
    }

    fn rows(&self, _: &[Vec<u8>], pairs: &mut dyn PairSource, sink: &mut dyn RowSink) -> io::Result<()> {
        while let Some((inner, value)) = pairs.next()? {
            let key = self
                .printed
                .key_of(inner)
                .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a pair has no key"))?;
            sink.row(&[Cell::Bytes(key), Cell::Bytes(Cow::Borrowed(value))])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
