//! Programs as values: any program behind one pointer, whatever it is written in, and the list of those that a process knows.
//!
//! The roles hold programs so, and know no other way. What would surprise: a call through the pointer is made once a chunk, or
//! for a pair that is merged, never for a record or a pair that is mapped: [`crate::map`] is compiled for each program.

use crate::boundary::Boundary;
use crate::id::{ChunkNumber, JobId, PartitionNumber};
use crate::job::{PairTaker, Piece, Program};
use crate::jobs::{Job, JobError, Names, Options};
use crate::map::{LeftOut, Limits, MapError, Mapped, Watch, map_chunk};
use crate::merge::combine;
use crate::pairs::PairSource;
use crate::rows::RowSink;
use crate::selection::Selection;
use crate::table::Scratch;
use crate::with_program;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::Deref;
use std::sync::Arc;

/// Whose chunk is mapped.
#[derive(Clone, Copy, Debug)]
pub struct MapPlace {
    /// The job.
    pub job: JobId,
    /// The chunk.
    pub chunk: ChunkNumber,
    /// One record of it is mapped alone, after all others.
    pub alone: bool,
}

/// Whose partition is reduced, and with what.
pub struct ReducePlace<'a> {
    /// The job.
    pub job: JobId,
    /// The partition.
    pub partition: PartitionNumber,
    /// For what does not fit in memory.
    pub scratch: &'a dyn Scratch,
    /// Whether nobody wants it any more.
    pub stops: &'a dyn Fn() -> bool,
    /// What it may put out at most, in bytes.
    pub output_bytes: u64,
    /// The same pairs again.
    pub again: &'a dyn Again,
}

/// Pairs that can be read more than once.
pub trait Again {
    /// All of them, from the first on.
    ///
    /// # Errors
    /// If they cannot be had.
    fn pairs(&self) -> io::Result<Box<dyn PairSource + '_>>;
}

/// Adds an encoded value (the last argument) to another of the same key (the first).
///
/// It fails with `InvalidData` on bytes that are no values of the program, and with [`crate::job::ProgramFailed`] where the program
/// fails itself.
pub type Combiner<'p> = Box<dyn FnMut(&[u8], &mut Vec<u8>, &[u8]) -> io::Result<()> + 'p>;

/// What the roles ask of a program. A [`Program`] is one; what is not mapped record by record in this process implements it
/// itself.
pub trait AnyProgram: Send + Sync + 'static {
    /// [`Program::boundary`]
    fn boundary(&self) -> Boundary;

    /// [`Program::selection`]
    fn selection(&self) -> Option<&Selection> {
        None
    }

    /// Maps the pieces of a chunk, as [`map_chunk`] does.
    ///
    /// # Errors
    /// Fails as a whole or not at all.
    fn map_chunk(
        &self,
        at: &MapPlace,
        pieces: &[Piece<'_>],
        left_out: LeftOut<'_>,
        limits: Limits,
        scratch: &dyn Scratch,
        watch: &mut dyn Watch,
    ) -> Result<Mapped, MapError>;

    /// What adds encoded values to others of the same key, as [`combine`] does, for as long as one merge takes.
    fn combiner(&self) -> Combiner<'_>;

    /// [`Program::group`]
    fn group<'k>(&self, key: &'k [u8]) -> &'k [u8];

    /// The part of a key that its pairs share which are left out together if they cannot be reduced.
    fn together<'k>(&self, key: &'k [u8]) -> &'k [u8] {
        self.group(key)
    }

    /// [`Program::makes`]
    fn makes(&self, key: &[u8], value: &[u8]) -> bool;

    /// [`Program::groups`]
    fn groups(&self) -> bool;

    /// [`Program::reduce`]
    ///
    /// # Errors
    /// As [`Program::reduce`].
    fn reduce(&self, at: &ReducePlace<'_>, pairs: &mut dyn PairSource, out: &mut PairTaker<'_>) -> io::Result<()>;

    /// [`Program::columns`]
    fn columns(&self) -> &'static [&'static str];

    /// [`Program::ranked`]
    fn ranked(&self) -> bool;

    /// [`Program::is_summary`]
    fn is_summary(&self) -> bool {
        false
    }

    /// [`Program::rows`]
    ///
    /// # Errors
    /// As [`Program::rows`].
    fn rows(&self, sources: &[Vec<u8>], pairs: &mut dyn PairSource, sink: &mut dyn RowSink) -> io::Result<()>;
}

impl<P: Program> AnyProgram for P {
    fn boundary(&self) -> Boundary {
        Program::boundary(self)
    }

    fn selection(&self) -> Option<&Selection> {
        Program::selection(self)
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
        map_chunk(self, pieces, left_out, limits, scratch, watch)
    }

    fn combiner(&self) -> Combiner<'_> {
        Box::new(|key, total, other| Ok(combine(self, key, total, other)?))
    }

    fn group<'k>(&self, key: &'k [u8]) -> &'k [u8] {
        Program::group(self, key)
    }

    fn makes(&self, key: &[u8], value: &[u8]) -> bool {
        Program::makes(self, key, value)
    }

    fn groups(&self) -> bool {
        Program::groups(self)
    }

    fn reduce(&self, _: &ReducePlace<'_>, pairs: &mut dyn PairSource, out: &mut PairTaker<'_>) -> io::Result<()> {
        Program::reduce(self, pairs, out)
    }

    fn columns(&self) -> &'static [&'static str] {
        Program::columns(self)
    }

    fn ranked(&self) -> bool {
        Program::ranked(self)
    }

    fn is_summary(&self) -> bool {
        Program::is_summary(self)
    }

    fn rows(&self, sources: &[Vec<u8>], pairs: &mut dyn PairSource, sink: &mut dyn RowSink) -> io::Result<()> {
        Program::rows(self, sources, pairs, sink)
    }
}

/// A program by its name.
#[derive(Clone)]
pub struct NamedProgram {
    name: Arc<str>,
    program: Arc<dyn AnyProgram>,
}

impl NamedProgram {
    /// Gives a program its name.
    #[must_use]
    pub fn new(name: &str, program: Arc<dyn AnyProgram>) -> Self {
        Self { name: name.into(), program }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Deref for NamedProgram {
    type Target = dyn AnyProgram;

    fn deref(&self) -> &Self::Target {
        &*self.program
    }
}

impl fmt::Debug for NamedProgram {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("NamedProgram").field(&self.name).finish()
    }
}

impl From<Job> for NamedProgram {
    fn from(job: Job) -> Self {
        let name = job.name();
        Self::new(name, with_program!(job, program => Arc::new(program) as Arc<dyn AnyProgram>))
    }
}

/// What a job says with `--set NAME=VALUE`, for programs that are not built in.
#[derive(Debug)]
pub struct Settings(BTreeMap<String, String>);

impl Settings {
    /// Takes a setting, if it is said. One that nobody takes is an error.
    ///
    /// # Errors
    /// Names a setting whose value cannot be read.
    pub fn take<T: std::str::FromStr<Err: fmt::Display>>(&mut self, name: &str) -> Result<Option<T>, String> {
        let Some(value) = self.0.remove(name) else { return Ok(None) };
        value.parse().map(Some).map_err(|error| format!("the setting {name}={value} cannot be read: {error}"))
    }
}

type Make = dyn Fn(&Options) -> Result<NamedProgram, JobError> + Send + Sync;

/// The programs that a process knows: those built in, and those added to them.
#[derive(Clone, Default)]
pub struct Programs {
    added: BTreeMap<String, Arc<Make>>,
}

impl fmt::Debug for Programs {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_set().entries(self.names().iter()).finish()
    }
}

impl Programs {
    /// Those built in.
    #[must_use]
    pub fn built_in() -> Self {
        Self::default()
    }

    /// Adds a program. `make` makes it of a job's settings, or says in a line what is wrong with them.
    ///
    /// # Panics
    /// If there is a program of that name.
    #[must_use]
    pub fn with<P: AnyProgram>(
        self,
        name: &str,
        make: impl Fn(&mut Settings) -> Result<P, String> + Send + Sync + 'static,
    ) -> Self {
        let job = name.to_owned();
        self.with_options(name, move |options| {
            if let Some(flag) = options.given().find(|flag| !flag.is_for_any()) {
                return Err(JobError::Unused { job: job.clone(), flag });
            }
            let mut settings = Settings(options.set.clone());
            let made = make(&mut settings).map_err(|reason| JobError::Setting { job: job.clone(), reason })?;
            match settings.0.into_keys().next() {
                Some(unused) => {
                    Err(JobError::Setting { job: job.clone(), reason: format!("it has no setting `{unused}`") })
                }
                None => Ok(Arc::new(made)),
            }
        })
    }

    /// Adds a program that is made of a job's options.
    ///
    /// # Panics
    /// If there is a program of that name.
    #[must_use]
    pub fn with_options(
        mut self,
        name: &str,
        make: impl Fn(&Options) -> Result<Arc<dyn AnyProgram>, JobError> + Send + Sync + 'static,
    ) -> Self {
        assert!(!self.knows(name), "there is a program `{name}` already");
        let named = name.to_owned();
        let make = move |options: &Options| Ok(NamedProgram::new(&named, make(options)?));
        self.added.insert(name.to_owned(), Arc::new(make));
        self
    }

    /// Their names: first those built in, then the others in alphabetical order.
    #[must_use]
    pub fn names(&self) -> Names<'_> {
        Names::of(self.added.keys())
    }

    /// Whether there is a program of that name.
    #[must_use]
    pub fn knows(&self, name: &str) -> bool {
        self.names().contains(&name)
    }

    /// Makes a program.
    ///
    /// # Errors
    /// Fails on an unknown name, an option that the program does not use, a missing one, and one that cannot be read.
    pub fn make(&self, name: &str, options: &Options) -> Result<NamedProgram, JobError> {
        match self.added.get(name) {
            Some(make) => make(options),
            None if crate::jobs::NAMES.contains(&name) => Job::new(name, options).map(NamedProgram::from),
            None => Err(JobError::unknown(name, &self.names())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::WordCount;
    use crate::tokens::Tokens;

    fn programs() -> Programs {
        Programs::built_in().with("my-count", |settings| {
            let lowercase = settings.take("lowercase")?.unwrap_or(false);
            Ok(WordCount { tokens: Tokens::Whitespace, lowercase })
        })
    }

    fn made(name: &str, set: &[(&str, &str)]) -> Result<NamedProgram, String> {
        let set = set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        programs().make(name, &Options { set, ..Options::default() }).map_err(|error| error.to_string())
    }

    #[test]
    fn a_program_that_is_added_is_made_by_its_name_and_settings() {
        assert_eq!(made("my-count", &[("lowercase", "true")]).unwrap().name(), "my-count");
        assert_eq!(made("word-count", &[]).unwrap().name(), "word-count");
        assert_eq!(programs().names().to_string(), "word-count, letter-count, count, sum, index, grep, my-count");
    }

    #[test]
    fn what_is_wrong_with_a_setting_is_told_by_name() {
        let refused = |name, set: &[_]| made(name, set).unwrap_err();
        assert_eq!(
            refused("my-count", &[("lowercase", "yes")]),
            "the job `my-count`: the setting lowercase=yes cannot be read: provided string was not `true` or `false`"
        );
        assert_eq!(refused("my-count", &[("upper", "1")]), "the job `my-count`: it has no setting `upper`");
        let built_in = refused("sum", &[("a", "b")]);
        assert_eq!(built_in, "the job `sum` does not use --set; programs that are not built in do");
        assert!(refused("my-cuont", &[]).contains("did you mean `my-count`?"), "{}", refused("my-cuont", &[]));
    }

    #[test]
    fn an_option_of_another_job_is_refused() {
        let options = Options { lowercase: true, ..Options::default() };
        let refused = programs().make("my-count", &options).unwrap_err().to_string();
        assert_eq!(refused, "the job `my-count` does not use --lowercase; word-count, letter-count, index do");
    }

    #[test]
    #[should_panic(expected = "there is a program `grep` already")]
    fn a_name_is_given_once() {
        drop(Programs::built_in().with("grep", |_| Ok(crate::jobs::Sum)));
    }
}
