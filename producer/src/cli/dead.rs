//! The flags of `dead`, raw, and what they say once they are checked.
//!
//! What would surprise: the first word behind `show`, `export` and `drop` may be a job or a letter's name. They cannot be
//! confused: a job is `@` or an id, and no name of a letter is either.

use super::args::StateFormat;
use super::{JobName, UsageError};
use crate::dead::selection::{LetterName, Selection};
use clap::builder::FalseyValueParser;
use clap::{Args, Subcommand};
use rabbit_reduce_runtime::process::args::{BrokerArgs, LogArgs};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

const RETRY_EXAMPLES: &str = "\
Examples:
  producer dead retry @                       all that the last job of this machine lost
  producer dead retry @ --reason 'cannot open'
  producer dead retry @ 17-3fa9 90-0c1e --detach";

const DROP_EXAMPLES: &str = "\
Examples:
  producer dead drop @ 17-3fa9
  producer dead drop @ --all";

#[derive(Clone, Debug, Subcommand)]
pub(super) enum DeadArgs {
    /// List the dead letters of a job: what was lost, where, why
    Ls(LsArgs),
    /// Tell everything about dead letters: places, attempts, bytes
    Show(ShowArgs),
    /// Write the lost chunks and records to files
    Export(ExportArgs),
    /// Send lost chunks and records again, wait, and amend the result
    #[command(after_help = RETRY_EXAMPLES)]
    Retry(RetryArgs),
    /// Delete dead letters; what they were about stays lost
    #[command(after_help = DROP_EXAMPLES)]
    Drop(DropArgs),
}

#[derive(Clone, Debug, Args)]
pub(super) struct LsArgs {
    /// The job's id, or @ for the last one of this machine [default: @]
    #[arg(value_name = "JOB", conflicts_with = "unknown")]
    job: Option<JobName>,
    /// What the list looks like
    #[arg(long, env = "RABBIT_REDUCE_STATUS_FORMAT", value_enum, default_value_t)]
    format: StateFormat,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    unknown: UnknownArgs,
    #[command(flatten)]
    broker: BrokerArgs,
    #[command(flatten)]
    pub(super) log: LogArgs,
}

#[derive(Clone, Debug, Args)]
pub(super) struct ShowArgs {
    #[command(flatten)]
    which: WhichArgs,
    /// All bytes of records and chunks, not only the first ones
    #[arg(long, env = "RABBIT_REDUCE_DEAD_FULL", value_parser = FalseyValueParser::new())]
    full: bool,
    /// What the answer looks like; JSON is without the bytes of records and chunks
    #[arg(long, env = "RABBIT_REDUCE_STATUS_FORMAT", value_enum, default_value_t)]
    format: StateFormat,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    unknown: UnknownArgs,
    #[command(flatten)]
    broker: BrokerArgs,
    #[command(flatten)]
    pub(super) log: LogArgs,
}

#[derive(Clone, Debug, Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    which: WhichArgs,
    /// The folder to write to: a new one, or an empty one
    #[arg(short, long, env = "RABBIT_REDUCE_DEAD_OUTPUT", value_name = "DIR", required = true)]
    output: PathBuf,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    unknown: UnknownArgs,
    #[command(flatten)]
    broker: BrokerArgs,
    #[command(flatten)]
    pub(super) log: LogArgs,
}

#[derive(Clone, Debug, Args)]
pub(super) struct RetryArgs {
    /// The job's id, or @ for the last one of this machine
    #[arg(value_name = "JOB")]
    job: JobName,
    /// Letters, as `producer dead ls` names them [default: all that the filters leave]
    #[arg(value_name = "NAME")]
    names: Vec<LetterName>,
    /// Leave once they are sent
    #[arg(long, env = "RABBIT_REDUCE_DETACH", value_parser = FalseyValueParser::new())]
    detach: bool,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    broker: BrokerArgs,
    #[command(flatten)]
    pub(super) log: LogArgs,
}

#[derive(Clone, Debug, Args)]
pub(super) struct DropArgs {
    /// The job's id, or @ for the last one of this machine
    #[arg(value_name = "JOB", required_unless_present = "unknown")]
    job: Option<String>,
    /// Letters, as `producer dead ls` names them
    #[arg(value_name = "NAME")]
    names: Vec<LetterName>,
    /// Every letter
    #[arg(long, env = "RABBIT_REDUCE_DEAD_ALL", value_parser = FalseyValueParser::new())]
    all: bool,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    unknown: UnknownArgs,
    #[command(flatten)]
    broker: BrokerArgs,
    #[command(flatten)]
    pub(super) log: LogArgs,
}

#[derive(Clone, Debug, Args)]
struct WhichArgs {
    /// The job's id, or @ for the last one of this machine [default: @]
    #[arg(value_name = "JOB")]
    job: Option<String>,
    /// Letters, as `producer dead ls` names them [default: all that the filters leave]
    #[arg(value_name = "NAME")]
    names: Vec<LetterName>,
}

/// What letters have to be.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Filters")]
struct FilterArgs {
    /// Only of this chunk; may be given several times
    #[arg(long, env = "RABBIT_REDUCE_DEAD_CHUNK", value_name = "N", value_delimiter = ',')]
    chunk: Vec<u32>,
    /// Only of a source of this name, whole or from a / on: in.txt also means logs/in.txt
    #[arg(long, env = "RABBIT_REDUCE_DEAD_SOURCE", value_name = "NAME")]
    source: Option<OsString>,
    /// Only with this text in the reason
    #[arg(long, env = "RABBIT_REDUCE_DEAD_REASON", value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Filters")]
struct UnknownArgs {
    /// Messages that belong to no job and that nobody could use, in place of a job's letters
    #[arg(long, env = "RABBIT_REDUCE_DEAD_UNKNOWN", value_parser = FalseyValueParser::new(), conflicts_with = "source")]
    unknown: bool,
}

/// What to do with dead letters.
#[derive(Clone, Debug)]
pub struct Dead {
    /// Where they are.
    pub broker: BrokerArgs,
    /// Whose.
    pub owner: Owner,
    /// Which.
    pub selection: Selection,
    /// What.
    pub action: Action,
}

/// Whose letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Of this job.
    Job(JobName),
    /// Of none.
    Nobody,
}

/// What to do with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// `ls`
    List {
        /// As JSON rather than text.
        json: bool,
    },
    /// `show`
    Show {
        /// As JSON rather than text.
        json: bool,
        /// All bytes, not only the first.
        full: bool,
    },
    /// `export`
    Export {
        /// Where to.
        folder: PathBuf,
    },
    /// `retry`
    Retry {
        /// Leave once they are sent.
        detach: bool,
    },
    /// `drop`
    Drop,
}

impl DeadArgs {
    pub(super) const fn log(&self) -> &LogArgs {
        match self {
            Self::Ls(args) => &args.log,
            Self::Show(args) => &args.log,
            Self::Export(args) => &args.log,
            Self::Retry(args) => &args.log,
            Self::Drop(args) => &args.log,
        }
    }

    pub(super) fn check(self) -> Result<Dead, UsageError> {
        let dead = self.into_dead()?;
        if let Owner::Job(_) = dead.owner {
            dead.selection.names.iter().try_for_each(LetterName::of_a_job)?;
        }
        Ok(dead)
    }

    fn into_dead(self) -> Result<Dead, UsageError> {
        Ok(match self {
            Self::Ls(args) => {
                let owner =
                    if args.unknown.unknown { Owner::Nobody } else { Owner::Job(args.job.unwrap_or(JobName::Last)) };
                let action = Action::List { json: args.format == StateFormat::Json };
                Dead { broker: args.broker, owner, selection: args.filter.with(Vec::new()), action }
            }
            Self::Show(args) => {
                let (owner, names) = args.which.check(args.unknown)?;
                let action = Action::Show { json: args.format == StateFormat::Json, full: args.full };
                Dead { broker: args.broker, owner, selection: args.filter.with(names), action }
            }
            Self::Export(args) => {
                let (owner, names) = args.which.check(args.unknown)?;
                let action = Action::Export { folder: args.output };
                Dead { broker: args.broker, owner, selection: args.filter.with(names), action }
            }
            Self::Retry(args) => {
                let (owner, action) = (Owner::Job(args.job), Action::Retry { detach: args.detach });
                Dead { broker: args.broker, owner, selection: args.filter.with(args.names), action }
            }
            Self::Drop(args) => {
                if let (Some(job), false) = (&args.job, args.unknown.unknown) {
                    // Who deletes names the job.
                    job.parse::<JobName>()?;
                }
                let (owner, names) = WhichArgs { job: args.job, names: args.names }.check(args.unknown)?;
                let selection = args.filter.with(names);
                match (selection.is_everything(), args.all) {
                    (true, false) => return Err(UsageError::DropWhat),
                    (false, true) => return Err(UsageError::DropAllAndSome),
                    _ => Dead { broker: args.broker, owner, selection, action: Action::Drop },
                }
            }
        })
    }
}

impl WhichArgs {
    fn check(self, unknown: UnknownArgs) -> Result<(Owner, Vec<LetterName>), UsageError> {
        let Self { job, mut names } = self;
        let job = match job.map(|text| (text.parse::<JobName>(), text)) {
            None => None,
            // The digest of a letter without a job can look like an id without its dashes.
            Some((Ok(job), text)) if !unknown.unknown || text.contains(['-', '@']) => Some(job),
            Some((_, text)) => {
                names.insert(0, text.parse().map_err(|_| UsageError::NoLetter(text))?);
                None
            }
        };
        match (job, unknown.unknown) {
            (Some(_), true) => Err(UsageError::UnknownOfJob),
            (None, true) => Ok((Owner::Nobody, names)),
            (job, false) => Ok((Owner::Job(job.unwrap_or(JobName::Last)), names)),
        }
    }
}

impl FilterArgs {
    fn with(self, names: Vec<LetterName>) -> Selection {
        Selection { names, chunks: self.chunk, source: self.source.map(OsString::into_vec), reason: self.reason }
    }
}
