//! The flags, raw: their names, variables, defaults and help.
//!
//! Nothing is checked here but what one value alone can tell. What would surprise: every command takes the log flags itself,
//! so that they may stand behind its name, where people write them. A positional argument comes first in its struct, or it
//! would inherit the heading of the shared flags before it.

use super::JobName;
use super::dead::DeadArgs;
use crate::sources::Pattern;
use clap::builder::{FalseyValueParser, PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use rabbit_reduce_core::jobs::TokensName;
use rabbit_reduce_core::rows::format::Format;
use rabbit_reduce_core::selection::Form;
use rabbit_reduce_core::spec::{By, DEFAULT_MAX_LOSSES, DEFAULT_PARTITIONS, OUTPUT_BYTES};
use rabbit_reduce_runtime::process::args::{BrokerArgs, ByteSize, CommandLimitArgs, LogArgs, ModuleArgs};
use rabbit_reduce_runtime::publishing::Packing;
use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;

const EXAMPLES: &str = "\
Examples:
  producer run --top 10 books/                      the ten most common words, in this process alone
  producer push --job grep --pattern ERROR logs/    through RabbitMQ; waits and prints the lines
  producer push --detach logs/ && producer status   push, leave, and ask later
  producer results --format csv -o words.csv        the last job's result again

Exit codes: 0 done, 1 failed, 2 usage, 3 done with losses, 4 broker, 5 input or output, 6 interrupted or cancelled, 70 a bug";

const RUN_EXAMPLES: &str = "\
Examples:
  producer run --top 10 books/
  producer run --records csv --field country --top 10 visits.csv    the most common values of a column
  producer run books/ --then --job count                     how many different words there are";

const PUSH_EXAMPLES: &str = "\
Examples:
  producer push --job index --lowercase --tokens words books/ -o index.tsv
  producer push --by reference --detach /mnt/shared/logs     workers read the files themselves (worker --input-root)";

const PLAN_EXAMPLES: &str = "\
Examples:
  producer plan books/
  producer plan --by reference --chunk-size 32MiB --partitions 32 /mnt/shared/logs";

const CONFIG_EXAMPLES: &str = "\
The file is the first of: --config, RABBIT_REDUCE_CONFIG, ./rabbit-reduce.toml, rabbit-reduce/config.toml beneath
XDG_CONFIG_HOME or ~/.config. Flags of all programs stand at its top, others in [producer], [worker], [aggregator], or of one
command as in [producer.push]. A flag that is given, or its variable, comes before the file.

Example:
  namespace = \"logs\"
  [worker]
  memory = \"2GiB\"
  [producer.push]
  compress = \"lz4\"";

const RESULTS_EXAMPLES: &str = "\
Examples:
  producer results                         of the last job of this machine
  producer results --sort value --format ndjson -o counts.ndjson";

const DEAD_EXAMPLES: &str = "\
Examples:
  producer dead ls                         what the last job of this machine lost, and why
  producer dead show --reason 'no number'  the records, with their bytes
  producer dead export -o lost             the same, as files
  producer dead retry @                    send it again and amend the result";

/// Splits input into chunks, has them mapped and reduced, and prints the answer
#[derive(Clone, Debug, Parser)]
#[command(name = "producer", version, after_help = EXAMPLES, subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    pub(super) command: CommandArgs,
}

const DOCTOR_EXAMPLES: &str = "\
Examples:
  producer doctor
  producer doctor --management-url http://127.0.0.1:15672    also what RabbitMQ is like inside

It ends with 0 if nothing keeps jobs from being done, with 4 if the broker or its management API cannot be reached, else with 1.";

const SET_UP_EXAMPLES: &str = "\
Examples:
  producer set-up
  producer set-up --management-url http://127.0.0.1:15672 --passwords secrets";

#[derive(Clone, Debug, Subcommand)]
pub(super) enum CommandArgs {
    /// Do everything in this process; needs no broker
    #[command(after_help = RUN_EXAMPLES, override_usage = "producer run [OPTIONS] <INPUT>... [--then [JOB OPTIONS]]...")]
    Run(Box<RunArgs>),
    /// Start a job through RabbitMQ, wait for it, print the result
    #[command(after_help = PUSH_EXAMPLES, override_usage = "producer push [OPTIONS] <INPUT>... [--then [JOB OPTIONS]]...")]
    Push(Box<PushArgs>),
    /// Tell what a job of this input would be: chunks, messages, bytes on the network, time; nothing is sent
    #[command(after_help = PLAN_EXAMPLES)]
    Plan(Box<PlanArgs>),
    /// Take up a job again that was interrupted: publish what is not counted yet, wait, print the result
    Resume(ResumeArgs),
    /// List the jobs, newest first
    Jobs(JobsArgs),
    /// Tell how a job stands, what it waits for, what it lost
    Status(StatusArgs),
    /// Follow a job to its end: progress, what it waits for, how it ended
    Watch(WatchArgs),
    /// Say why a job is where it is: what it waits for, its slowest stage, what stands out, and what helps
    Explain(StatusArgs),
    /// Show the largest keys of a job, of what is counted so far (counting jobs)
    Top(TopArgs),
    /// Print the result of a job
    #[command(after_help = RESULTS_EXAMPLES)]
    Results(ResultsArgs),
    /// End a job without a result
    Cancel(ChangeArgs),
    /// Delete a job and its result
    Remove(ChangeArgs),
    /// See, keep, send again or delete what was lost
    #[command(subcommand, after_help = DEAD_EXAMPLES)]
    Dead(DeadArgs),
    /// Look whether broker, namespace, aggregators and workers are there and well
    #[command(after_help = DOCTOR_EXAMPLES)]
    Doctor(DoctorArgs),
    /// Look at the file that flags come from
    #[command(subcommand, after_help = CONFIG_EXAMPLES)]
    Config(ConfigCommand),
    /// Print a script that completes commands and flags in a shell
    Completions(CompletionsArgs),
    /// Declare a namespace, and show or give each role the permissions that it needs
    #[command(after_help = SET_UP_EXAMPLES)]
    SetUp(SetUpArgs),
    /// Delete every queue of the namespace
    Teardown(TeardownArgs),
}

/// What is read.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Input options")]
pub(super) struct InputArgs {
    /// A file with further inputs, one a line; - is standard input
    #[arg(long, env = "RABBIT_REDUCE_FILES_FROM", value_name = "LIST")]
    pub(super) files_from: Option<PathBuf>,
    /// Of folders only files like this, as '*.txt' or 'logs/**/2026-*'; give it again for more
    #[arg(long, env = "RABBIT_REDUCE_INCLUDE", value_name = "PATTERN")]
    pub(super) include: Vec<Pattern>,
    /// Of folders no files and folders like this; give it again for more
    #[arg(long, env = "RABBIT_REDUCE_EXCLUDE", value_name = "PATTERN")]
    pub(super) exclude: Vec<Pattern>,
    /// Take compressed files, byte-order marks and UTF-16 as the bytes that they are
    #[arg(long, env = "RABBIT_REDUCE_AS_IS", value_parser = FalseyValueParser::new())]
    pub(super) as_is: bool,
}

#[derive(Clone, Debug, Args)]
pub(super) struct RunArgs {
    /// Files, folders (all files in them, in byte order of their names), patterns of files, or - for standard input
    #[arg(required_unless_present = "files_from", value_name = "INPUT")]
    pub(super) inputs: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) input: InputArgs,
    #[command(flatten)]
    pub(super) job: JobArgs,
    #[command(flatten)]
    pub(super) steps: ThenArgs,
    /// Chunks mapped at once [default: the machine's processors]
    #[arg(long, env = "RABBIT_REDUCE_THREADS", value_name = "N", help_heading = "Resources")]
    pub(super) threads: Option<usize>,
    /// Memory to use [default: a quarter of the machine's]
    #[arg(long, env = "RABBIT_REDUCE_MEMORY", value_name = "SIZE", help_heading = "Resources")]
    pub(super) memory: Option<ByteSize>,
    #[command(flatten)]
    pub(super) commands: CommandLimitArgs,
    #[command(flatten)]
    pub(super) modules: ModuleArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
    #[command(flatten)]
    pub(super) log: LogArgs,
}

#[derive(Clone, Debug, Args)]
pub(super) struct PushArgs {
    /// Files, folders (all files in them, in byte order of their names), patterns of files, or - for standard input
    #[arg(required_unless_present = "files_from", value_name = "INPUT")]
    pub(super) inputs: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) input: InputArgs,
    #[command(flatten)]
    pub(super) job: JobArgs,
    #[command(flatten)]
    pub(super) steps: ThenArgs,
    #[command(flatten)]
    pub(super) sending: SendArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
    /// Leave once the input is published; `producer results` prints the result later
    #[arg(long, env = "RABBIT_REDUCE_DETACH", value_parser = FalseyValueParser::new(), help_heading = "Push options")]
    pub(super) detach: bool,
    #[command(flatten)]
    pub(super) broker: BrokerArgs,
    #[command(flatten)]
    pub(super) log: LogArgs,
}

/// How chunks travel.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Push options")]
pub(super) struct SendArgs {
    /// Send the bytes of chunks, or the places of files that workers can read
    #[arg(long, env = "RABBIT_REDUCE_BY", default_value = "value", value_parser = by())]
    pub(super) by: By,
    /// Pack the bytes of chunks that are sent, for a network of a gigabit or less
    #[arg(long = "compress", env = "RABBIT_REDUCE_COMPRESS", default_value = "none", value_parser = packing())]
    pub(super) packing: Packing,
}

#[derive(Clone, Debug, Args)]
pub(super) struct PlanArgs {
    /// Files, folders (all files in them, in byte order of their names), patterns of files, or - for standard input
    #[arg(required_unless_present = "files_from", value_name = "INPUT")]
    pub(super) inputs: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) input: InputArgs,
    #[command(flatten)]
    pub(super) job: JobArgs,
    #[command(flatten)]
    pub(super) sending: SendArgs,
    /// What the plan looks like
    #[arg(long, env = "RABBIT_REDUCE_STATUS_FORMAT", value_enum, default_value_t, help_heading = None)]
    pub(super) format: StateFormat,
    #[command(flatten)]
    pub(super) log: LogArgs,
}

#[derive(Clone, Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Say which file flags come from, what it sets, and what of that is wrong
    Check(ConfigCheckArgs),
}

#[derive(Clone, Debug, Args)]
pub(super) struct ConfigCheckArgs {
    #[command(flatten)]
    pub(super) log: LogArgs,
}

#[derive(Clone, Debug, Args)]
pub(super) struct ResumeArgs {
    /// The job's id, or @ for the last one of this machine
    #[arg(value_name = "JOB")]
    pub(super) job: JobName,
    /// Pack the bytes of chunks that are sent, for a network of a gigabit or less
    #[arg(long = "compress", env = "RABBIT_REDUCE_COMPRESS", default_value = "none", value_parser = packing())]
    pub(super) packing: Packing,
    /// Leave once the input is published
    #[arg(long, env = "RABBIT_REDUCE_DETACH", value_parser = FalseyValueParser::new())]
    pub(super) detach: bool,
    #[command(flatten)]
    pub(super) output: OutputArgs,
    #[command(flatten)]
    pub(super) broker: BrokerArgs,
    #[command(flatten)]
    pub(super) log: LogArgs,
}

#[derive(Clone, Debug, Args)]
pub(super) struct JobsArgs {
    /// What the list looks like
    #[arg(long, env = "RABBIT_REDUCE_STATUS_FORMAT", value_enum, default_value_t)]
    pub(super) format: StateFormat,
    #[command(flatten)]
    pub(super) broker: BrokerArgs,
    #[command(flatten)]
    pub(super) log: LogArgs,
}

#[derive(Clone, Debug, Args)]
pub(super) struct StatusArgs {
    /// The job's id, or @ for the last one of this machine [default: @]
    #[arg(value_name = "JOB")]
    pub(super) job: Option<JobName>,
    /// What the answer looks like
    #[arg(long, env = "RABBIT_REDUCE_STATUS_FORMAT", value_enum, default_value_t)]
    pub(super) format: StateFormat,
    #[command(flatten)]
    pub(super) broker: BrokerArgs,
    #[command(flatten)]
    pub(super) log: LogArgs,
}

#[derive(Clone, Debug, Args)]
pub(super) struct WatchArgs {
    /// The job's id, or @ for the last one of this machine [default: @]
    #[arg(value_name = "JOB")]
    pub(super) job: Option<JobName>,
    #[command(flatten)]
    pub(super) broker: BrokerArgs,
    #[command(flatten)]
    pub(super) log: LogArgs,
}

#[derive(Clone, Debug, Args)]
pub(super) struct TopArgs {
    /// The job's id, or @ for the last one of this machine [default: @]
    #[arg(value_name = "JOB")]
    pub(super) job: Option<JobName>,
    /// How many keys, up to 1000
    #[arg(
        short = 'n',
        long,
        env = "RABBIT_REDUCE_LIMIT",
        value_name = "N",
        default_value_t = 20,
        value_parser = clap::value_parser!(u32).range(1..=1000)
    )]
    pub(super) limit: u32,
    /// What the answer looks like
    #[arg(long, env = "RABBIT_REDUCE_STATUS_FORMAT", value_enum, default_value_t)]
    pub(super) format: StateFormat,
    #[command(flatten)]
    pub(super) broker: BrokerArgs,
    #[command(flatten)]
    pub(super) log: LogArgs,
}

#[derive(Clone, Debug, Args)]
pub(super) struct DoctorArgs {
    /// RabbitMQ's management API, as http://127.0.0.1:15672, with the login of the broker's URL: version, alarms, disks, policies
    #[arg(long, env = "RABBIT_REDUCE_MANAGEMENT_URL", hide_env_values = true, value_name = "URL")]
    pub(super) management_url: Option<String>,
    /// What the findings look like
    #[arg(long, env = "RABBIT_REDUCE_STATUS_FORMAT", value_enum, default_value_t)]
    pub(super) format: StateFormat,
    #[command(flatten)]
    pub(super) broker: BrokerArgs,
    #[command(flatten)]
    pub(super) log: LogArgs,
}

#[derive(Clone, Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell, as bash, zsh or fish
    #[arg(value_name = "SHELL")]
    pub(super) shell: Shell,
    #[command(flatten)]
    pub(super) log: LogArgs,
}

#[derive(Clone, Debug, Args)]
pub(super) struct ResultsArgs {
    /// The job's id, or @ for the last one of this machine [default: @]
    #[arg(value_name = "JOB")]
    pub(super) job: Option<JobName>,
    #[command(flatten)]
    pub(super) output: OutputArgs,
    #[command(flatten)]
    pub(super) broker: BrokerArgs,
    #[command(flatten)]
    pub(super) log: LogArgs,
}

#[derive(Clone, Debug, Args)]
pub(super) struct ChangeArgs {
    /// The job's id, or @ for the last one of this machine
    #[arg(value_name = "JOB")]
    pub(super) job: JobName,
    #[command(flatten)]
    pub(super) broker: BrokerArgs,
    #[command(flatten)]
    pub(super) log: LogArgs,
}

#[derive(Clone, Debug, Args)]
pub(super) struct SetUpArgs {
    /// RabbitMQ's management API, as http://127.0.0.1:15672: a user for each role is made there by that of the broker's URL
    #[arg(
        long,
        env = "RABBIT_REDUCE_MANAGEMENT_URL",
        hide_env_values = true,
        value_name = "URL",
        requires = "passwords"
    )]
    pub(super) management_url: Option<String>,
    /// The folder with a file for each role's password, called producer, worker and aggregator; what is missing is made
    #[arg(long, env = "RABBIT_REDUCE_PASSWORDS", value_name = "DIR", requires = "management_url")]
    pub(super) passwords: Option<PathBuf>,
    #[command(flatten)]
    pub(super) broker: BrokerArgs,
    #[command(flatten)]
    pub(super) log: LogArgs,
}

#[derive(Clone, Debug, Args)]
pub(super) struct TeardownArgs {
    /// Yes, delete it all
    #[arg(long, env = "RABBIT_REDUCE_YES", value_parser = FalseyValueParser::new())]
    pub(super) yes: bool,
    #[command(flatten)]
    pub(super) broker: BrokerArgs,
    #[command(flatten)]
    pub(super) log: LogArgs,
}

/// Steps after the first.
#[derive(Clone, Debug, Args)]
pub(super) struct ThenArgs {
    /// Another step: its job options. Its input is the rows of the step before; the answer is the last step's. Comes after all
    /// else; give it again for more
    #[arg(
        long,
        env = "RABBIT_REDUCE_THEN",
        num_args = 0..,
        allow_hyphen_values = true,
        value_name = "JOB OPTIONS",
        help_heading = "Steps"
    )]
    pub(super) then: Option<Vec<OsString>>,
}

/// A step after another.
#[derive(Clone, Debug, Parser)]
#[command(name = "--then", no_binary_name = true, disable_help_flag = true)]
pub(super) struct StepArgs {
    #[command(flatten)]
    pub(super) job: JobArgs,
}

/// What a job does.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Job options")]
pub(super) struct JobArgs {
    /// What to do: word-count, letter-count, count, sum, index or grep [default: word-count]
    #[arg(long, env = "RABBIT_REDUCE_JOB", value_name = "NAME")]
    pub(super) job: Option<String>,
    /// What a word is (word-count, index) [default: whitespace; whole with --field]
    #[arg(long, env = "RABBIT_REDUCE_TOKENS", value_name = "RULE", value_parser = tokens())]
    pub(super) tokens: Option<TokensName>,
    /// An expression whose matches in a line are its words (word-count, index)
    #[arg(long, env = "RABBIT_REDUCE_TOKEN_REGEX", value_name = "RE", allow_hyphen_values = true)]
    pub(super) token_regex: Option<String>,
    /// Count in lower case (word-count, letter-count, index)
    #[arg(long, env = "RABBIT_REDUCE_LOWERCASE", value_parser = FalseyValueParser::new())]
    pub(super) lowercase: bool,
    /// The expression to look for (grep)
    #[arg(long, env = "RABBIT_REDUCE_PATTERN", value_name = "RE", allow_hyphen_values = true)]
    pub(super) pattern: Option<String>,
    /// What a record is (all but count): the first record of a file of csv names its columns [default: line]
    #[arg(long, env = "RABBIT_REDUCE_RECORDS", help_heading = "Records", value_name = "FORM", value_parser = form())]
    pub(super) records: Option<Form>,
    /// Look at this field of a record alone: a column of csv, the number of one of tsv, a name in jsonl as a.b, or else the number of a word
    #[arg(
        long,
        env = "RABBIT_REDUCE_FIELD",
        help_heading = "Records",
        value_name = "NAME",
        allow_hyphen_values = true
    )]
    pub(super) field: Option<String>,
    /// The character between records (delimiter) or fields (csv), as ; or \t or \0 [default for csv: a comma]
    #[arg(
        long,
        env = "RABBIT_REDUCE_DELIMITER",
        help_heading = "Records",
        value_name = "CHARACTER",
        allow_hyphen_values = true
    )]
    pub(super) delimiter: Option<String>,
    /// Files of csv begin with a record like any other; columns have numbers, from 1
    #[arg(
        long,
        env = "RABBIT_REDUCE_NO_HEADER",
        help_heading = "Records",
        value_parser = FalseyValueParser::new()
    )]
    pub(super) no_header: bool,
    /// A row for every source (count)
    #[arg(long, env = "RABBIT_REDUCE_BY_SOURCE", value_parser = FalseyValueParser::new())]
    pub(super) by_source: bool,
    /// A command of your own that reads lines and writes lines of a key, a tab and a value; no shell is asked
    #[arg(
        long,
        env = "RABBIT_REDUCE_MAPPER",
        help_heading = "Commands",
        value_name = "COMMAND",
        allow_hyphen_values = true
    )]
    pub(super) mapper: Option<String>,
    /// The same for the pairs of a chunk, in order of keys
    #[arg(
        long,
        env = "RABBIT_REDUCE_COMBINER",
        help_heading = "Commands",
        value_name = "COMMAND",
        allow_hyphen_values = true
    )]
    pub(super) combiner: Option<String>,
    /// The same for all pairs of a partition, in order of keys
    #[arg(
        long,
        env = "RABBIT_REDUCE_REDUCER",
        help_heading = "Commands",
        value_name = "COMMAND",
        allow_hyphen_values = true
    )]
    pub(super) reducer: Option<String>,
    /// The character between key and value, and between fields of a key [default: a tab]
    #[arg(
        long,
        env = "RABBIT_REDUCE_SEPARATOR",
        help_heading = "Commands",
        value_name = "CHARACTER",
        allow_hyphen_values = true
    )]
    pub(super) separator: Option<String>,
    /// How many fields of a line are its key [default: 1]
    #[arg(long, env = "RABBIT_REDUCE_KEY_FIELDS", help_heading = "Commands", value_name = "N")]
    pub(super) key_fields: Option<usize>,
    /// Fields of the key that choose its partition, as 1,2 [default: all of it]
    #[arg(
        long,
        env = "RABBIT_REDUCE_PARTITION_FIELDS",
        help_heading = "Commands",
        value_name = "N,…",
        value_delimiter = ','
    )]
    pub(super) partition_fields: Vec<usize>,
    /// Fields that order keys, as 1,2nr: n for numeric, r for reverse [default: all of it, as bytes]
    #[arg(
        long,
        env = "RABBIT_REDUCE_SORT_FIELDS",
        help_heading = "Commands",
        value_name = "N[n][r],…",
        value_delimiter = ','
    )]
    pub(super) sort_fields: Vec<String>,
    /// A file that commands find in their working directory; give it again for more
    #[arg(
        long = "file",
        env = "RABBIT_REDUCE_FILE",
        help_heading = "Commands",
        value_name = "FILE",
        value_delimiter = ':'
    )]
    pub(super) files: Vec<PathBuf>,
    /// A program of your own as a WebAssembly module; it travels with the job
    #[arg(long, env = "RABBIT_REDUCE_PROGRAM", help_heading = "Modules", value_name = "FILE")]
    pub(super) program: Option<PathBuf>,
    /// Memory that an instance of the module may take, 1MiB to 1GiB [default: 16MiB]
    #[arg(long, env = "RABBIT_REDUCE_MODULE_MEMORY", help_heading = "Modules", value_name = "SIZE")]
    pub(super) module_memory: Option<ByteSize>,
    /// What a program that is not built in is told; give it again for more
    #[arg(long, env = "RABBIT_REDUCE_SET", value_name = "NAME=VALUE", allow_hyphen_values = true)]
    pub(super) set: Vec<Setting>,
    /// Bytes of a chunk, 64 to 64MiB, by value to 8MiB [default: by the size of the input]
    #[arg(long, env = "RABBIT_REDUCE_CHUNK_SIZE", value_name = "SIZE")]
    pub(super) chunk_size: Option<ByteSize>,
    /// Parts of the result, made side by side, 1 to 1024
    #[arg(long, env = "RABBIT_REDUCE_PARTITIONS", value_name = "P", default_value_t = DEFAULT_PARTITIONS)]
    pub(super) partitions: u32,
    /// What one chunk may map to; beyond it the chunk is lost
    #[arg(long, env = "RABBIT_REDUCE_MAX_OUTPUT", value_name = "SIZE", default_value_t = ByteSize(OUTPUT_BYTES))]
    pub(super) max_output: ByteSize,
    /// Losses beyond which the job fails early; 0: at the first
    #[arg(long, env = "RABBIT_REDUCE_MAX_LOSSES", value_name = "N", default_value_t = DEFAULT_MAX_LOSSES)]
    pub(super) max_losses: u64,
}

/// A setting: its name and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting(pub(super) String, pub(super) String);

/// Text without a name before it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("a setting is NAME=VALUE")]
pub(super) struct NoSetting;

impl FromStr for Setting {
    type Err = NoSetting;

    fn from_str(text: &str) -> Result<Self, NoSetting> {
        let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or(NoSetting)?;
        Ok(Self(name.to_owned(), value.to_owned()))
    }
}

/// Where the answer goes.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Output options")]
pub(super) struct OutputArgs {
    /// Write to a file, in place of what was there once all is written; - is stdout
    #[arg(short, long, env = "RABBIT_REDUCE_OUTPUT", value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
    /// Write a file for every partition into a folder that is new or empty, all of them or none
    #[arg(long, env = "RABBIT_REDUCE_PARTS", value_name = "DIR", conflicts_with = "output")]
    pub(super) parts: Option<PathBuf>,
    /// What rows look like
    #[arg(long, env = "RABBIT_REDUCE_FORMAT", default_value = "tsv", value_parser = format())]
    pub(super) format: Format,
    /// Rows by key, or the largest value first (counting jobs) [default: key]
    #[arg(long, env = "RABBIT_REDUCE_SORT", value_name = "ORDER", value_enum)]
    pub(super) sort: Option<Sort>,
    /// Only so many rows, the largest value first (counting jobs)
    #[arg(long, env = "RABBIT_REDUCE_TOP", value_name = "N")]
    pub(super) top: Option<usize>,
    /// Only rows with such a count, or a larger one (counting jobs)
    #[arg(long, env = "RABBIT_REDUCE_MIN_COUNT", value_name = "N")]
    pub(super) min_count: Option<u64>,
    /// Only rows whose first field begins so
    #[arg(long, env = "RABBIT_REDUCE_PREFIX", value_name = "TEXT")]
    pub(super) prefix: Option<OsString>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Sort {
    Key,
    Value,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum StateFormat {
    #[default]
    Text,
    Json,
}

fn by() -> impl TypedValueParser<Value = By> {
    PossibleValuesParser::new(["value", "reference"])
        .map(|name| if name == "reference" { By::Reference } else { By::Value })
}

fn packing() -> impl TypedValueParser<Value = Packing> {
    PossibleValuesParser::new(["none", "lz4"]).map(|name| if name == "lz4" { Packing::Lz4 } else { Packing::None })
}

fn tokens() -> impl TypedValueParser<Value = TokensName> {
    PossibleValuesParser::new(["whitespace", "letters", "words", "whole"]).try_map(|name| name.parse::<TokensName>())
}

fn form() -> impl TypedValueParser<Value = Form> {
    PossibleValuesParser::new(["line", "paragraph", "delimiter", "csv", "tsv", "jsonl"]).map(|name| match &*name {
        "tsv" => Form::Tsv,
        "paragraph" => Form::Paragraph,
        "delimiter" => Form::Delimiter,
        "csv" => Form::Csv,
        "jsonl" => Form::Jsonl,
        _ => Form::Line,
    })
}

fn format() -> impl TypedValueParser<Value = Format> {
    PossibleValuesParser::new(["tsv", "json", "ndjson", "csv"]).try_map(|name| name.parse::<Format>())
}
