//! The flags that all binaries share, raw as clap reads them.
//!
//! It knows no role and connects to nothing. What would surprise: the broker's URL is taken as it is and checked where it is
//! used, since clap repeats in its message whatever it refuses, and here that would be a password.

pub use super::byte_size::ByteSize;
use super::config::ConfigArgs;
use super::exit::Exit;
pub use super::memory::memory_default;
use super::start::Failure;
use crate::broker::rabbit::Credentials;
use crate::command::{Host, Limits, Permission, keep_from_commands};
use crate::module;
use crate::shipped::ShippedFiles;
use std::convert::Infallible;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::LazyLock;
use std::time::Duration;

const DEFAULT_URL: &str = "amqp://guest:guest@127.0.0.1:5672/%2f";
const DEFAULT_NAMESPACE: &str = "rabbit-reduce";
const MAX_NAMESPACE_BYTES: usize = 64;
/// Processes that one command may be: more than any pipeline, and few enough to be killed.
const MOST_PROCESSES: usize = 256;

/// The URL when neither the flag nor `AMQP_URL` gives one; clap reads a single variable per flag.
static FALLBACK_URL: LazyLock<String> = LazyLock::new(|| fallback_url(std::env::var("RABBIT_REDUCE_BROKER_URL").ok()));

fn fallback_url(variable: Option<String>) -> String {
    variable.filter(|url| !url.is_empty()).unwrap_or_else(|| DEFAULT_URL.to_owned())
}

/// Where the broker is, and which part of it is ours.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Broker")]
pub struct BrokerArgs {
    /// RabbitMQ's URL; also from RABBIT_REDUCE_BROKER_URL; otherwise guest at this machine
    #[arg(
        long = "broker-url",
        env = "AMQP_URL",
        value_name = "URL",
        hide_env_values = true,
        hide_default_value = true,
        default_value = FALLBACK_URL.as_str()
    )]
    pub url: BrokerUrl,
    /// File with the user's password, in place of the URL's; read anew whenever somebody connects
    #[arg(long, env = "RABBIT_REDUCE_BROKER_PASSWORD_FILE", value_name = "FILE")]
    pub broker_password_file: Option<PathBuf>,
    /// File with the certificates (PEM) of who vouches for a broker at amqps://, beside those that the system trusts
    #[arg(long, env = "RABBIT_REDUCE_BROKER_CA", value_name = "FILE")]
    pub broker_ca: Option<PathBuf>,
    /// File with our own certificate (PEM) for a broker at amqps://; with ?auth_mechanism=external in the URL it is the login
    #[arg(long, env = "RABBIT_REDUCE_BROKER_CERT", value_name = "FILE", requires = "broker_key")]
    pub broker_cert: Option<PathBuf>,
    /// File with that certificate's key (PEM)
    #[arg(long, env = "RABBIT_REDUCE_BROKER_KEY", value_name = "FILE", requires = "broker_cert")]
    pub broker_key: Option<PathBuf>,
    /// Prefix of every queue: who shares it, shares the work
    #[arg(
        long,
        env = "RABBIT_REDUCE_NAMESPACE",
        value_name = "NAME",
        default_value = DEFAULT_NAMESPACE,
        value_parser = parse_namespace
    )]
    pub namespace: String,
}

impl BrokerArgs {
    /// What is not in the URL.
    #[must_use]
    pub fn credentials(&self) -> Credentials {
        Credentials {
            password: self.broker_password_file.clone(),
            authorities: self.broker_ca.clone(),
            identity: self.broker_cert.clone().zip(self.broker_key.clone()),
        }
    }
}

/// Whether commands that come with jobs are run, and what they may take.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Commands")]
pub struct AllowArgs {
    /// Run the commands that jobs bring with them: whoever may start jobs may then do anything here that you may
    #[arg(long, env = "RABBIT_REDUCE_ALLOW_COMMANDS", value_parser = clap::builder::FalseyValueParser::new())]
    pub allow_commands: bool,
    /// What they may take.
    #[command(flatten)]
    pub limits: CommandLimitArgs,
}

impl AllowArgs {
    /// At the start of a process: where commands run, it keeps to itself what it knows.
    ///
    /// # Errors
    /// If it cannot.
    pub fn prepare(&self) -> Result<(), Failure> {
        let kept = if self.allow_commands { keep_from_commands() } else { Ok(()) };
        let refused =
            "the system does not keep this process from the commands that it is to run: leave out --allow-commands";
        kept.map_err(|error| Failure::new(Exit::Bug, format!("{refused} ({error})")))
    }

    /// As it is asked for; with these words where it is not.
    #[must_use]
    pub fn permission(&self, refused: &'static str, scratch: &Path, files: &ShippedFiles) -> Permission {
        if self.allow_commands { self.limits.allowed(scratch, files) } else { Permission::Refused(refused) }
    }
}

/// What a command may take.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Commands")]
pub struct CommandLimitArgs {
    /// How long a command may neither read nor write before it is killed, as 30s or 10m
    #[arg(long, env = "RABBIT_REDUCE_COMMAND_SILENCE", value_name = "DURATION", default_value = "10m", value_parser = humantime::parse_duration)]
    pub command_silence: Duration,
    /// Memory that a command may take, for each that runs
    #[arg(long, env = "RABBIT_REDUCE_COMMAND_MEMORY", value_name = "SIZE", default_value_t = ByteSize(1 << 30))]
    pub command_memory: ByteSize,
}

impl CommandLimitArgs {
    /// As limits.
    #[must_use]
    pub const fn limits(&self) -> Limits {
        Limits { silence: self.command_silence, memory_bytes: self.command_memory.0, processes: MOST_PROCESSES }
    }

    /// Commands run within these, in folders beneath this one.
    #[must_use]
    pub fn allowed(&self, scratch: &Path, files: &ShippedFiles) -> Permission {
        let (scratch, files) = (scratch.to_owned(), files.clone());
        Permission::Allowed(Host { scratch, files, limits: self.limits(), alone: false })
    }
}

/// What a module may take.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Modules")]
pub struct ModuleArgs {
    /// How long a module may work on a record, or on a key without taking its next value, before it is stopped
    #[arg(long, env = "RABBIT_REDUCE_MODULE_SILENCE", value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    pub module_silence: Duration,
}

impl ModuleArgs {
    /// Of all that a process may use, modules may take so much.
    const SHARE: u64 = 4;

    /// Modules run here, on so many threads.
    #[must_use]
    pub fn host(&self, files: &ShippedFiles, memory_bytes: u64, threads: usize) -> module::Host {
        let memory_bytes = memory_bytes / Self::SHARE;
        module::Host { files: files.clone(), silence: self.module_silence, memory_bytes, threads }
    }
}

/// How much is logged.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Logs")]
pub struct LogArgs {
    /// Log more; twice and thrice for more yet (or set RABBIT_REDUCE_LOG to a filter)
    #[arg(short, long, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    pub verbose: u8,
    /// Log errors only
    #[arg(short, long)]
    pub quiet: bool,
    /// What lines of the log look like: text for people, json an object each for programs
    #[arg(
        long,
        env = "RABBIT_REDUCE_LOG_FORMAT",
        value_name = "FORMAT",
        value_enum,
        default_value_t,
        hide_possible_values = true
    )]
    pub log_format: LogFormat,
    /// Where flags come from, too.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// The long names of the flags that all programs take.
pub(super) fn shared_flags() -> Vec<String> {
    let command =
        <LogArgs as clap::Args>::augment_args(<BrokerArgs as clap::Args>::augment_args(clap::Command::new("all")));
    command.get_arguments().filter_map(clap::Arg::get_long).map(str::to_owned).collect()
}

/// What lines of the log look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// An object a line, for programs.
    Json,
}

fn parse_namespace(text: &str) -> Result<String, String> {
    let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
    if text.is_empty() || text.len() > MAX_NAMESPACE_BYTES || !text.bytes().all(letters) {
        return Err(format!("a namespace is 1 to {MAX_NAMESPACE_BYTES} of a-z, 0-9, `.` and `-`, as rabbit-reduce"));
    }
    Ok(text.to_owned())
}

/// A broker's URL, which is never shown with its password.
#[derive(Clone, PartialEq, Eq)]
pub struct BrokerUrl(String);

impl BrokerUrl {
    /// The whole URL, password and all, for connecting.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for BrokerUrl {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.trim().to_owned()))
    }
}

impl fmt::Display for BrokerUrl {
    /// Leaves out everything between the user's name and the last `@`: too much rather than too little.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((before, after)) = self.0.rsplit_once('@') else { return self.0.fmt(out) };
        let (scheme, user) = match before.split_once("://") {
            Some((scheme, login)) => (scheme, login.split_once(':').map(|(user, _)| user)),
            None => ("***", None),
        };
        write!(out, "{scheme}://{}:***@{after}", user.unwrap_or("***"))
    }
}

impl fmt::Debug for BrokerUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, Parser};

    #[derive(Debug, Parser)]
    struct Flags {
        #[command(flatten)]
        broker: BrokerArgs,
        #[command(flatten)]
        log: LogArgs,
        #[arg(long, default_value_t = ByteSize(4 << 20))]
        chunk_size: ByteSize,
    }

    fn read(flags: &[&str]) -> Result<Flags, String> {
        Flags::try_parse_from(std::iter::once("test").chain(flags.iter().copied())).map_err(|error| error.to_string())
    }

    const SECRET: &str = "amqp://me:se:cr@et/@host:5672/%2f";

    #[test]
    fn flags_are_read() {
        let flags = read(&["--broker-url", SECRET, "--namespace", "a-1.b", "-vv", "--chunk-size", "64KiB"]).unwrap();
        assert_eq!((flags.broker.url.expose(), flags.broker.namespace.as_str()), (SECRET, "a-1.b"));
        assert_eq!((flags.log.verbose, flags.chunk_size), (2, ByteSize(64 << 10)));
        assert!(read(&["-v", "-q"]).is_err());
        assert!(read(&["--chunk-size", "4 elephants"]).unwrap_err().contains("`4 elephants` is no size"));
        Flags::command().debug_assert();
    }

    #[test]
    fn a_namespace_is_short_and_plain() {
        for bad in ["", "A", "a_b", "a/b", "ä", &"x".repeat(65)] {
            assert!(read(&["--namespace", bad]).unwrap_err().contains("a namespace is"), "{bad:?}");
        }
        assert!(read(&["--namespace", &"x".repeat(64)]).is_ok());
    }

    #[test]
    fn the_password_is_never_shown() {
        let flags = read(&["--broker-url", SECRET]).unwrap();
        assert_eq!(flags.broker.url.to_string(), "amqp://me:***@host:5672/%2f");
        let shown =
            format!("{flags:?}{:?}{:?}", "nonsense:se:cr@x".parse::<BrokerUrl>(), "amqp://cr@x".parse::<BrokerUrl>());
        assert!(!shown.contains("cr"), "{shown}");
        assert_eq!("amqp://host/%2f".parse::<BrokerUrl>().unwrap().to_string(), "amqp://host/%2f");
    }

    #[test]
    fn help_shows_no_url_that_came_from_the_environment() {
        let help = Flags::command().render_long_help().to_string();
        assert!(!help.contains("amqp://") && help.contains("[env: AMQP_URL]"), "{help}");
    }

    #[test]
    fn the_second_variable_comes_before_the_default() {
        assert_eq!(fallback_url(Some("amqp://other".to_owned())), "amqp://other");
        assert_eq!([fallback_url(None), fallback_url(Some(String::new()))], [DEFAULT_URL; 2]);
    }
}
