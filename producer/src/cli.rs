//! The producer's command line: flags and variables as clap reads them, made once into a checked [`Command`].
//!
//! It connects to nothing and opens no input. What would surprise: the program is built here, so that an unknown job or a bad
//! expression is told of before anything is touched; and a flag that would have no effect is an error, not ignored.

mod args;
mod dead;
#[cfg(test)]
mod tests;

use self::args::{CommandArgs, ConfigCommand, InputArgs, JobArgs, OutputArgs, Setting, StateFormat, StepArgs};
use crate::dead::selection::NameError;
use crate::embedded::MIN_MEMORY_BYTES;
use crate::sources::Choice;
use bytes::Bytes;
use clap::{CommandFactory, FromArgMatches};
use clap_complete::Shell;
use rabbit_reduce_core::id::JobId;
use rabbit_reduce_core::jobs::{JobError, Module, Options, SideFile, Streaming};
use rabbit_reduce_core::output::{Order, OrderError, OutputOptions, Selection, check_parts};
use rabbit_reduce_core::program::{NamedProgram, Programs};
use rabbit_reduce_core::selection::RecordOptions;
use rabbit_reduce_core::shipped::{MAX_FILE_BYTES, MAX_FILES, Shipped};
use rabbit_reduce_core::spec::{self, By, PROGRAM_VERSION, ProgramSpec};
use rabbit_reduce_core::split::{MAX_RECORD_BYTES, MAX_REFERENCE_BYTES};
use rabbit_reduce_runtime::command::{self, Limits};
use rabbit_reduce_runtime::module::{self, ModuleError};
use rabbit_reduce_runtime::process::args::{BrokerArgs, ByteSize, LogArgs, ModuleArgs, memory_default};
use rabbit_reduce_runtime::publishing::Packing;
use rabbit_reduce_runtime::reader::STANDARD_INPUT;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

pub use self::args::Cli;
pub use self::dead::{Action, Dead, Owner};

/// What is done if nothing else is asked for.
const DEFAULT_JOB: &str = "word-count";
/// What begins another step.
const THEN: &str = "--then";
/// How long a module may take to begin, here where it is only looked at.
const CHECK: Duration = Duration::from_secs(10);
/// The most compute threads: more than any machine uses, and few enough to start.
const MAX_THREADS: usize = 1024;

/// What was asked for, checked.
#[derive(Clone, Debug)]
pub enum Command {
    /// `run`
    Run(Run),
    /// `push`
    Push(Push),
    /// `plan`
    Plan(Plan),
    /// `config check`, of the file that is named
    ConfigCheck(Option<PathBuf>),
    /// `resume`
    Resume(Resume),
    /// `jobs`
    Jobs(Jobs),
    /// `status`
    Status(Status),
    /// `watch`
    Watch(Watch),
    /// `explain`
    Explain(Explain),
    /// `top`
    Top(Top),
    /// `doctor`
    Doctor(Doctor),
    /// `completions`
    Completions(Shell),
    /// `results`
    Results(Results),
    /// `cancel`
    Cancel(Change),
    /// `remove`
    Remove(Change),
    /// `dead`
    Dead(Dead),
    /// `set-up`
    SetUp(SetUp),
    /// `teardown`
    Teardown(Teardown),
}

/// Everything in this process.
#[derive(Clone, Debug)]
pub struct Run {
    /// What to do, one step after the other.
    pub steps: Vec<JobConfig>,
    /// Where the answer goes.
    pub output: OutputConfig,
    /// Chunks mapped at once.
    pub threads: usize,
    /// What all of it may use, in bytes.
    pub memory_bytes: u64,
    /// What commands may take.
    pub commands: Limits,
    /// What modules may take.
    pub modules: ModuleArgs,
    /// What is read.
    pub inputs: Inputs,
}

/// What is read.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// As typed.
    pub typed: Vec<PathBuf>,
    /// Where further ones are listed.
    pub list: Option<PathBuf>,
    /// What of it is input.
    pub choice: Choice,
}

/// A job through the broker.
#[derive(Clone, Debug)]
pub struct Push {
    /// Where it goes.
    pub broker: BrokerArgs,
    /// What to do, one step after the other.
    pub steps: Vec<JobConfig>,
    /// How tasks carry their chunks.
    pub by: By,
    /// Whether what they carry is packed.
    pub packing: Packing,
    /// Leave once the input is published.
    pub detach: bool,
    /// Where the answer goes.
    pub output: OutputConfig,
    /// What is read.
    pub inputs: Inputs,
}

/// A job that is only planned.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What it would do.
    pub job: JobConfig,
    /// How its tasks would carry their chunks.
    pub by: By,
    /// Whether what they carry would be packed.
    pub packing: Packing,
    /// What would be read.
    pub inputs: Inputs,
    /// As JSON rather than text.
    pub json: bool,
}

/// A job taken up again.
#[derive(Clone, Debug)]
pub struct Resume {
    /// Where it went.
    pub broker: BrokerArgs,
    /// Which.
    pub job: JobName,
    /// Whether what tasks carry is packed.
    pub packing: Packing,
    /// Leave once the input is published.
    pub detach: bool,
    /// Where the answer goes; [`Selection::check`] it once the job is known.
    pub output: OutputConfig,
}

/// A list of jobs.
#[derive(Clone, Debug)]
pub struct Jobs {
    /// Where they are.
    pub broker: BrokerArgs,
    /// As JSON rather than text.
    pub json: bool,
}

/// A job followed to its end.
#[derive(Clone, Debug)]
pub struct Watch {
    /// Where it is.
    pub broker: BrokerArgs,
    /// Which.
    pub job: JobName,
}

/// Why a job is where it is.
#[derive(Clone, Debug)]
pub struct Explain {
    /// Where it is.
    pub broker: BrokerArgs,
    /// Which.
    pub job: JobName,
    /// As JSON rather than text.
    pub json: bool,
}

/// The largest keys of a job so far.
#[derive(Clone, Debug)]
pub struct Top {
    /// Where it is.
    pub broker: BrokerArgs,
    /// Which.
    pub job: JobName,
    /// How many.
    pub limit: u32,
    /// As JSON rather than text.
    pub json: bool,
}

/// Whether all is there and well.
#[derive(Clone, Debug)]
pub struct Doctor {
    /// Where.
    pub broker: BrokerArgs,
    /// Where RabbitMQ tells of itself.
    pub management_url: Option<String>,
    /// As JSON rather than text.
    pub json: bool,
}

/// How a job stands.
#[derive(Clone, Debug)]
pub struct Status {
    /// Where it is.
    pub broker: BrokerArgs,
    /// Which.
    pub job: JobName,
    /// As JSON rather than text.
    pub json: bool,
}

/// A job's result.
#[derive(Clone, Debug)]
pub struct Results {
    /// Where it is.
    pub broker: BrokerArgs,
    /// Which.
    pub job: JobName,
    /// Where the answer goes; [`Selection::check`] it once the job is known.
    pub output: OutputConfig,
}

/// The end of a job, or its removal.
#[derive(Clone, Debug)]
pub struct Change {
    /// Where it is.
    pub broker: BrokerArgs,
    /// Which.
    pub job: JobName,
}

/// A namespace for roles that have users of their own.
#[derive(Clone, Debug)]
pub struct SetUp {
    /// Where it is to be.
    pub broker: BrokerArgs,
    /// Where users are made, and the folder of their passwords; otherwise it is only told what they need.
    pub users: Option<(String, PathBuf)>,
}

/// The end of a namespace; it was confirmed.
#[derive(Clone, Debug)]
pub struct Teardown {
    /// Where it is.
    pub broker: BrokerArgs,
}

/// What a job does, apart from its sources.
#[derive(Clone, Debug)]
pub struct JobConfig {
    /// The program.
    pub job: NamedProgram,
    /// What it was made of.
    pub options: Options,
    /// As said; otherwise [`spec::chunk_bytes_for`] the input.
    pub chunk_bytes: Option<u64>,
    /// P.
    pub partitions: u32,
    /// The most bytes of one chunk's pairs.
    pub output_bytes: u64,
    /// The bytes of files that travel with it.
    pub files: Vec<(Shipped, Bytes)>,
    /// Losses beyond which the job fails early.
    pub max_losses: u64,
}

impl JobConfig {
    /// The program as a spec carries it.
    #[must_use]
    pub fn program(&self) -> ProgramSpec {
        let (name, options) = (self.job.name().to_owned(), self.options.clone());
        ProgramSpec { name, version: PROGRAM_VERSION, options }
    }
}

/// Where an answer goes and what it looks like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutputConfig {
    /// A file, or stdout.
    pub path: Option<PathBuf>,
    /// A folder for a file of every partition, in place of both.
    pub parts: Option<PathBuf>,
    /// Its form.
    pub options: OutputOptions,
}

/// A job as people name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobName {
    /// The last one made on this machine.
    Last,
    /// This one.
    Id(JobId),
}

/// A text that names no job.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no job: write its id, as `producer jobs` shows it, or @ for the last one of this machine")]
pub struct JobNameError(String);

impl FromStr for JobName {
    type Err = JobNameError;

    fn from_str(text: &str) -> Result<Self, JobNameError> {
        match text {
            "@" => Ok(Self::Last),
            _ => text.parse().map(Self::Id).map_err(|_| JobNameError(text.to_owned())),
        }
    }
}

/// A command line that asks for what cannot be. Shown with its sources on one line
/// (see [`rabbit_reduce_runtime::shown::one_line`]).
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// The job or its options.
    #[error(transparent)]
    Job(#[from] JobError),
    /// An order that the job's rows do not have.
    #[error(transparent)]
    Order(#[from] OrderError),
    /// A number out of its range.
    #[error("{flag} is {value}: it must be from {least} to {most}")]
    Number {
        /// Which.
        flag: &'static str,
        /// As given.
        value: String,
        /// The least.
        least: String,
        /// The most.
        most: String,
    },
    /// `--top 0`
    #[error("--top 0 asks for no rows: say how many")]
    TopNone,
    /// `--parts` with `--top` or `--sort value`
    #[error("--parts writes each partition by key; --top and --sort value are for the whole result: leave one out")]
    PartsByValue,
    /// `--top` with `--sort key`
    #[error("--top takes the largest values first, --sort key the keys: leave one out")]
    TopByKey,
    /// A file that is to travel with the job.
    #[error("{flag} {path}: it cannot be read")]
    File {
        /// Who named it.
        flag: &'static str,
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// One that is too long for that.
    #[error("{flag} {path} has more than {most}, which is the most that travels with a job")]
    LongFile {
        /// Who named it.
        flag: &'static str,
        /// Which.
        path: String,
        /// What may.
        most: String,
    },
    /// A file beside commands.
    #[error("--file {name}: at most {MAX_FILES} files travel with a job, each under a name of its own")]
    Beside {
        /// What it would be called.
        name: String,
    },
    /// A module that cannot be run.
    #[error("--program {path}")]
    Module {
        /// Which.
        path: String,
        /// Why.
        source: ModuleError,
    },
    /// What belongs to commands, without any.
    #[error(
        "fields, separators and files are of commands and modules: name one with --mapper, --reducer or --program (`--mapper cat` takes lines as they are)"
    )]
    NoCommand,
    /// A step after another.
    #[error("step {number}: {reason} (--then takes job options; inputs and all else come before the first --then)")]
    Step {
        /// Which, from 2.
        number: usize,
        /// What the parser says.
        reason: String,
    },
    /// `--module-memory` alone.
    #[error("--module-memory is for a module: name one with --program")]
    MemoryOfNoModule,
    /// `-` more than once.
    #[error("`-` is given twice: standard input can be read once")]
    StandardInputTwice,
    /// Files have to be read by others, and there are none.
    #[error("--by reference needs files that workers can open, and `-` is none: leave out one of them")]
    StandardInputByReference,
    /// A text that names no job where one is needed.
    #[error(transparent)]
    JobName(#[from] JobNameError),
    /// A text that names no letter where one is meant.
    #[error(transparent)]
    LetterName(#[from] NameError),
    /// A text that names neither a job nor a letter.
    #[error(
        "`{0}` is neither a job (an id, as `producer jobs` shows it, or @) nor a dead letter's name (such as 17-3fa9, as `producer dead ls` shows it)"
    )]
    NoLetter(String),
    /// `--unknown` with a job.
    #[error("--unknown is for messages that belong to no job: leave out the job, or --unknown")]
    UnknownOfJob,
    /// `dead drop` of nothing in particular.
    #[error("dead drop deletes for good what could be looked at or sent again: name letters, or a filter, or --all")]
    DropWhat,
    /// `dead drop --all` of some.
    #[error("--all is every letter, names and filters are some: leave one out")]
    DropAllAndSome,
    /// `teardown` alone.
    #[error("teardown deletes every queue and message of the namespace `{namespace}`: add --yes if that is meant")]
    Unconfirmed {
        /// What would be deleted.
        namespace: String,
    },
}

impl Cli {
    /// How much to log; it also says whether progress is shown.
    #[must_use]
    pub const fn log(&self) -> &LogArgs {
        match &self.command {
            CommandArgs::Run(args) => &args.log,
            CommandArgs::Push(args) => &args.log,
            CommandArgs::Plan(args) => &args.log,
            CommandArgs::Config(ConfigCommand::Check(args)) => &args.log,
            CommandArgs::Resume(args) => &args.log,
            CommandArgs::Jobs(args) => &args.log,
            CommandArgs::Status(args) | CommandArgs::Explain(args) => &args.log,
            CommandArgs::Watch(args) => &args.log,
            CommandArgs::Results(args) => &args.log,
            CommandArgs::Top(args) => &args.log,
            CommandArgs::Doctor(args) => &args.log,
            CommandArgs::Completions(args) => &args.log,
            CommandArgs::Cancel(args) | CommandArgs::Remove(args) => &args.log,
            CommandArgs::Dead(args) => args.log(),
            CommandArgs::SetUp(args) => &args.log,
            CommandArgs::Teardown(args) => &args.log,
        }
    }

    /// What was asked for.
    ///
    /// # Errors
    /// Says what cannot be, and what can.
    pub fn into_command(self, programs: &Programs) -> Result<Command, UsageError> {
        Ok(match self.command {
            CommandArgs::Run(args) => {
                let streams = args.inputs.iter().any(|input| input.as_os_str() == STANDARD_INPUT);
                let steps = steps(
                    args.job,
                    if streams { By::Value } else { By::Reference },
                    args.steps.then.as_deref(),
                    programs,
                )?;
                Command::Run(Run {
                    output: args.output.check(steps.last().map(|step| &step.job))?,
                    steps,
                    threads: threads(args.threads)?,
                    memory_bytes: memory_bytes(args.memory)?,
                    commands: args.commands.limits(),
                    modules: args.modules,
                    inputs: inputs(args.inputs, args.input, By::Value)?,
                })
            }
            CommandArgs::Push(args) => {
                let steps = steps(args.job, args.sending.by, args.steps.then.as_deref(), programs)?;
                Command::Push(Push {
                    broker: args.broker,
                    output: args.output.check(steps.last().map(|step| &step.job))?,
                    steps,
                    by: args.sending.by,
                    packing: args.sending.packing,
                    detach: args.detach,
                    inputs: inputs(args.inputs, args.input, args.sending.by)?,
                })
            }
            CommandArgs::Plan(args) => Command::Plan(Plan {
                job: args.job.check(args.sending.by, programs)?,
                by: args.sending.by,
                packing: args.sending.packing,
                inputs: inputs(args.inputs, args.input, args.sending.by)?,
                json: args.format == StateFormat::Json,
            }),
            CommandArgs::Config(ConfigCommand::Check(args)) => {
                Command::ConfigCheck(args.log.config.config.filter(|path| !path.is_empty()).map(PathBuf::from))
            }
            CommandArgs::Resume(args) => Command::Resume(Resume {
                broker: args.broker,
                job: args.job,
                packing: args.packing,
                detach: args.detach,
                output: args.output.check(None)?,
            }),
            CommandArgs::Jobs(args) => {
                Command::Jobs(Jobs { broker: args.broker, json: args.format == StateFormat::Json })
            }
            CommandArgs::Status(args) => Command::Status(Status {
                broker: args.broker,
                job: args.job.unwrap_or(JobName::Last),
                json: args.format == StateFormat::Json,
            }),
            CommandArgs::Results(args) => Command::Results(Results {
                broker: args.broker,
                job: args.job.unwrap_or(JobName::Last),
                output: args.output.check(None)?,
            }),
            CommandArgs::Cancel(args) => Command::Cancel(Change { broker: args.broker, job: args.job }),
            CommandArgs::Remove(args) => Command::Remove(Change { broker: args.broker, job: args.job }),
            CommandArgs::Dead(args) => Command::Dead(args.check()?),
            CommandArgs::Watch(args) => {
                Command::Watch(Watch { broker: args.broker, job: args.job.unwrap_or(JobName::Last) })
            }
            CommandArgs::Explain(args) => Command::Explain(Explain {
                broker: args.broker,
                job: args.job.unwrap_or(JobName::Last),
                json: args.format == StateFormat::Json,
            }),
            CommandArgs::Top(args) => Command::Top(Top {
                broker: args.broker,
                job: args.job.unwrap_or(JobName::Last),
                limit: args.limit,
                json: args.format == StateFormat::Json,
            }),
            CommandArgs::Doctor(args) => Command::Doctor(Doctor {
                broker: args.broker,
                management_url: args.management_url,
                json: args.format == StateFormat::Json,
            }),
            CommandArgs::Completions(args) => Command::Completions(args.shell),
            CommandArgs::SetUp(args) => {
                Command::SetUp(SetUp { broker: args.broker, users: args.management_url.zip(args.passwords) })
            }
            CommandArgs::Teardown(args) => {
                if !args.yes {
                    return Err(UsageError::Unconfirmed { namespace: args.broker.namespace });
                }
                Command::Teardown(Teardown { broker: args.broker })
            }
        })
    }
}

/// The first step, and those that `then` tells of: all that stands behind its first mention.
fn steps(first: JobArgs, by: By, then: Option<&[OsString]>, programs: &Programs) -> Result<Vec<JobConfig>, UsageError> {
    let mut steps = vec![first.check(by, programs)?];
    let then = then.map(words).transpose()?.flatten();
    let then = then.iter().flat_map(|words| words.split(|word| word == THEN));
    for (number, options) in (2..).zip(then) {
        // The environment speaks of the first step.
        let parser = StepArgs::command().mut_args(|arg| arg.env(None));
        let refused = |error: clap::Error| UsageError::Step { number, reason: first_line(&error) };
        let parsed = parser.try_get_matches_from(options).and_then(|found| StepArgs::from_arg_matches(&found));
        steps.push(parsed.map_err(refused)?.job.check(By::Value, programs)?);
    }
    within("--then", steps.len() - 1, 0, spec::MAX_STEPS - 1)?;
    Ok(steps)
}

/// What stands behind `--then`, word by word. One word is split as a shell would: so it comes from the environment.
fn words(then: &[OsString]) -> Result<Option<Vec<OsString>>, UsageError> {
    let [text] = then else { return Ok(Some(then.to_vec())) };
    let refused = |reason: &str| UsageError::Step { number: 2, reason: reason.to_owned() };
    let text = text.to_str().ok_or_else(|| refused("the options are not UTF-8"))?;
    let words = shell_words::split(text).map_err(|error| refused(&error.to_string()))?;
    Ok((!words.is_empty()).then(|| words.into_iter().map(OsString::from).collect()))
}

fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    first.strip_prefix("error: ").unwrap_or(first).to_owned()
}

impl JobArgs {
    /// What is said of commands, with the files that lie beside them.
    fn streaming(&self, files: &mut Vec<(Shipped, Bytes)>) -> Result<Option<Box<Streaming>>, UsageError> {
        let mut streaming = Streaming {
            mapper: self.mapper.clone(),
            combiner: self.combiner.clone(),
            reducer: self.reducer.clone(),
            separator: self.separator.clone(),
            key_fields: self.key_fields,
            partition_fields: self.partition_fields.clone(),
            sort_fields: self.sort_fields.clone(),
            files: Vec::new(),
        };
        for path in &self.files {
            let (file, bytes) = shipped("--file", path)?;
            let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default().to_owned();
            if streaming.files.len() == MAX_FILES || streaming.files.iter().any(|other| other.name == name) {
                return Err(UsageError::Beside { name });
            }
            streaming.files.push(SideFile { name, file: file.clone() });
            files.push((file, bytes));
        }
        Ok((streaming != Streaming::default()).then(|| Box::new(streaming)))
    }

    /// The module, if it can be run.
    fn module(&self, files: &mut Vec<(Shipped, Bytes)>) -> Result<Option<Box<Module>>, UsageError> {
        let Some(path) = &self.program else {
            return if self.module_memory.is_none() { Ok(None) } else { Err(UsageError::MemoryOfNoModule) };
        };
        let (file, bytes) = shipped("--program", path)?;
        let memory = self.module_memory.unwrap_or(ByteSize(module::DEFAULT_MEMORY_BYTES));
        let (least, most) = module::MEMORY_BYTES.into_inner();
        let memory_bytes = within("--module-memory", memory, ByteSize(least), ByteSize(most))?.0;
        let refused = |source| UsageError::Module { path: path.display().to_string(), source };
        let module = module::check(&bytes, memory_bytes, CHECK).map_err(refused)?;
        files.push((file, bytes));
        Ok(Some(Box::new(module)))
    }

    fn check(self, by: By, programs: &Programs) -> Result<JobConfig, UsageError> {
        let mut files = Vec::new();
        let streaming = self.streaming(&mut files)?;
        let module = self.module(&mut files)?;
        let name = match (self.job, &streaming) {
            (Some(job), _) => job,
            (None, _) if module.is_some() => module::NAME.to_owned(),
            (None, Some(streaming)) if streaming.has_commands() => command::NAME.to_owned(),
            (None, Some(_)) => return Err(UsageError::NoCommand),
            (None, None) => DEFAULT_JOB.to_owned(),
        };
        let records = RecordOptions {
            form: self.records.unwrap_or_default(),
            delimiter: self.delimiter.map(|delimiter| match delimiter.as_str() {
                "\\t" => "\t".to_owned(),
                "\\n" => "\n".to_owned(),
                "\\0" => "\0".to_owned(),
                _ => delimiter,
            }),
            no_header: self.no_header,
            field: self.field,
        };
        let said = self.records.is_some() || records != RecordOptions::default();
        let records = said.then(|| Box::new(records));
        let options = Options {
            streaming,
            tokens: self.tokens,
            token_regex: self.token_regex,
            lowercase: self.lowercase,
            pattern: self.pattern,
            records,
            by_source: self.by_source,
            module,
            set: self.set.into_iter().map(|Setting(name, value)| (name, value)).collect(),
        };
        let job = programs.make(&name, &options)?;
        if let Some(size) = self.chunk_size {
            let (what, most) = match by {
                By::Value => ("--chunk-size (of what travels by value)", MAX_RECORD_BYTES),
                By::Reference => ("--chunk-size", MAX_REFERENCE_BYTES),
            };
            within(what, size, ByteSize(spec::MIN_CHUNK_BYTES), ByteSize(most))?;
        }
        let partitions = within("--partitions", self.partitions, 1, spec::MAX_PARTITIONS)?;
        let output = within("--max-output", self.max_output, ByteSize(1), ByteSize(spec::OUTPUT_BYTES))?;
        let chunk_bytes = self.chunk_size.map(|size| size.0);
        Ok(JobConfig {
            job,
            options,
            chunk_bytes,
            partitions,
            output_bytes: output.0,
            files,
            max_losses: self.max_losses,
        })
    }
}

impl OutputArgs {
    /// The job is not known yet where one is asked about that others made.
    fn check(self, job: Option<&NamedProgram>) -> Result<OutputConfig, UsageError> {
        let top = self.top.map(|rows| NonZeroUsize::new(rows).ok_or(UsageError::TopNone)).transpose()?;
        let order = match (self.sort, top) {
            (Some(args::Sort::Key), Some(_)) => return Err(UsageError::TopByKey),
            (Some(args::Sort::Key) | None, None) => Order::Key,
            (Some(args::Sort::Value) | None, top) => Order::Value { top },
        };
        if self.parts.is_some() && order != Order::Key {
            return Err(UsageError::PartsByValue);
        }
        let prefix = self.prefix.unwrap_or_default().into_encoded_bytes();
        let selection = Selection { order, prefix, contains: Vec::new(), least: self.min_count.unwrap_or(0) };
        let options = OutputOptions { format: self.format, selection };
        if let Some(job) = job {
            options.selection.check(job)?;
            self.parts.as_ref().map_or(Ok(()), |_| check_parts(job))?;
        }
        let path = self.output.filter(|path| path.as_os_str() != STANDARD_INPUT);
        Ok(OutputConfig { path, parts: self.parts, options })
    }
}

/// The script that completes the producer's commands and flags in a shell.
#[must_use]
pub fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "producer", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// A file that travels with the job.
fn shipped(flag: &'static str, path: &Path) -> Result<(Shipped, Bytes), UsageError> {
    let shown = || path.display().to_string();
    let failed = |source| UsageError::File { flag, path: shown(), source };
    let mut bytes = Vec::new();
    // One byte too many is enough to know.
    File::open(path).map_err(failed)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(UsageError::LongFile { flag, path: shown(), most: ByteSize(MAX_FILE_BYTES).to_string() });
    }
    Ok((Shipped::of(&bytes), bytes.into()))
}

fn inputs(typed: Vec<PathBuf>, args: InputArgs, by: By) -> Result<Inputs, UsageError> {
    let InputArgs { files_from: list, include, exclude, as_is } = args;
    let standard = typed.iter().chain(&list).filter(|input| input.as_os_str() == STANDARD_INPUT).count();
    let listed = list.as_ref().is_some_and(|list| list.as_os_str() == STANDARD_INPUT);
    let inputs = Inputs { typed, list, choice: Choice { include, exclude, as_is } };
    match standard {
        0 => Ok(inputs),
        1 if by == By::Value || listed => Ok(inputs),
        1 => Err(UsageError::StandardInputByReference),
        _ => Err(UsageError::StandardInputTwice),
    }
}

fn threads(said: Option<usize>) -> Result<usize, UsageError> {
    let machine = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get).min(MAX_THREADS);
    said.map_or_else(|| Ok(machine()), |threads| within("--threads", threads, 1, MAX_THREADS))
}

fn memory_bytes(said: Option<ByteSize>) -> Result<u64, UsageError> {
    let most = ByteSize(1 << 60);
    let size = said.map_or_else(
        || Ok(memory_default().max(ByteSize(MIN_MEMORY_BYTES))),
        |size| within("--memory", size, ByteSize(MIN_MEMORY_BYTES), most),
    )?;
    Ok(size.0)
}

fn within<N: PartialOrd + ToString>(flag: &'static str, value: N, least: N, most: N) -> Result<N, UsageError> {
    if (&least..=&most).contains(&&value) {
        return Ok(value);
    }
    Err(UsageError::Number { flag, value: value.to_string(), least: least.to_string(), most: most.to_string() })
}
