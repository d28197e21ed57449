//! The aggregator's flags, and from errors to exit codes.

use crate::{AggregatorError, Config, Limits, least_memory_bytes, run_at};
use clap::Parser;
use rabbit_reduce_core::program::Programs;
use rabbit_reduce_core::spec::SEGMENT_BYTES;
use rabbit_reduce_runtime::command::with_commands;
use rabbit_reduce_runtime::module::with_modules;
use rabbit_reduce_runtime::process::args::{AllowArgs, BrokerArgs, ByteSize, LogArgs, ModuleArgs, memory_default};
use rabbit_reduce_runtime::process::broker::{connect_and_declare, failure as broker_failure};
use rabbit_reduce_runtime::process::config::{self, Parsed};
use rabbit_reduce_runtime::process::exit::Exit;
use rabbit_reduce_runtime::process::http::HttpArgs;
use rabbit_reduce_runtime::process::identity;
use rabbit_reduce_runtime::process::joined::joined;
use rabbit_reduce_runtime::process::shutdown::Shutdown;
use rabbit_reduce_runtime::process::start::{self, Failure};
use rabbit_reduce_runtime::shipped::ShippedFiles;
use rabbit_reduce_runtime::store::bucket::{BadAddress, BucketAddress, BucketStore, SCHEME};
use rabbit_reduce_runtime::store::directory::{DirectoryStore, Durability};
use rabbit_reduce_runtime::store::{Store, StoreError};
use std::ffi::OsString;
use std::fmt;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// To jobs that bring a reducer.
const NO_COMMANDS: &str =
    "its reducer would run on an aggregator that runs no commands: start it with --allow-commands";

/// Where the store is.
#[derive(Clone, Debug)]
enum Place {
    Folder(PathBuf),
    Bucket(BucketAddress),
}

/// Folds what the workers map, keeps it in a store, and serves the answer
///
/// One is enough; several may run side by side on one store. The first Ctrl-C commits what was folded; the second leaves at
/// once. Nothing is lost either way.
#[derive(Debug, Parser)]
#[command(name = "aggregator", version)]
pub struct Cli {
    /// What keeps ledgers and results: a folder, which is made if it is missing, or s3://BUCKET/PREFIX
    ///
    /// Aggregators on several machines share a bucket, or a folder that all of them mount. Keys, region and address of a bucket's
    /// server come from the usual variables: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL.
    #[arg(long, env = "RABBIT_REDUCE_STORE", value_name = "DIR|s3://…", default_value = "rabbit-reduce-store")]
    store: Place,
    /// Memory for all of it, as 512MiB or 2GiB; at least 289MiB [default: a quarter of the machine's]
    #[arg(long, env = "RABBIT_REDUCE_MEMORY", value_name = "SIZE")]
    memory: Option<ByteSize>,
    /// Partitions worked on at once [default: one for each processor]
    #[arg(long, env = "RABBIT_REDUCE_THREADS", value_name = "N")]
    threads: Option<NonZeroU16>,
    /// For how long ended jobs are kept, with results and dead letters, as 12h, 7d or 4weeks [default: for ever]
    ///
    /// Also messages that were set aside. What is older is removed. A job that its producer leaves unpublished for so long fails.
    #[arg(long, env = "RABBIT_REDUCE_KEEP", value_name = "DURATION", value_parser = humantime::parse_duration)]
    keep: Option<Duration>,
    /// Folder for what a reduce cannot hold in memory [default: the system's]
    #[arg(long, env = "RABBIT_REDUCE_TEMPORARY", value_name = "DIR")]
    temporary: Option<PathBuf>,
    /// How many jobs that have not ended there may be; beyond it new ones are refused [default: any number]
    #[arg(long, env = "RABBIT_REDUCE_MAX_JOBS", value_name = "N")]
    max_jobs: Option<u64>,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    http: HttpArgs,
    #[command(flatten)]
    commands: AllowArgs,
    #[command(flatten)]
    modules: ModuleArgs,
    #[command(flatten)]
    broker: BrokerArgs,
    /// How much is logged.
    #[command(flatten)]
    pub logs: LogArgs,
}

/// What one job may take of what all share.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Limits of a job, beyond which it fails")]
struct LimitArgs {
    /// What its pairs may take in the store, as 20GiB; a reduce is judged by what it puts out [default: what there is]
    #[arg(long, env = "RABBIT_REDUCE_MAX_JOB_SIZE", value_name = "SIZE")]
    max_job_size: Option<ByteSize>,
    /// How many keys it may have; of a program that groups, pairs [default: any]
    #[arg(long, env = "RABBIT_REDUCE_MAX_JOB_KEYS", value_name = "N")]
    max_job_keys: Option<u64>,
    /// How long it may take, from when it was made until it ends, as 12h or 7d; looked at once a minute [default: for ever]
    #[arg(long, env = "RABBIT_REDUCE_MAX_JOB_TIME", value_name = "DURATION", value_parser = humantime::parse_duration)]
    max_job_time: Option<Duration>,
    /// How many dead letters it may leave; those that come after are dropped [default: any number]
    #[arg(long, env = "RABBIT_REDUCE_MAX_JOB_LETTERS", value_name = "N")]
    max_job_letters: Option<u64>,
}

impl LimitArgs {
    fn of_a_job(&self) -> Limits {
        Limits {
            bytes: self.max_job_size.map(|size| size.0),
            keys: self.max_job_keys,
            time: self.max_job_time,
            letters: self.max_job_letters,
            ..Limits::default()
        }
    }
}

/// An aggregator that knows these programs, from its command line (with a name first) to its exit code.
#[must_use]
pub fn main(programs: Programs, line: impl IntoIterator<Item = OsString>) -> ExitCode {
    let Parsed { flags: cli, .. }: Parsed<Cli> = match config::parse("aggregator", line) {
        Ok(parsed) => parsed,
        Err(exit) => return exit,
    };
    let logs = cli.logs.clone();
    start::run(&logs, |shutdown| cli.work(programs, shutdown))
}

impl Cli {
    /// Opens the store, connects and works.
    ///
    /// # Errors
    /// With the exit code that the failure means.
    pub async fn work(self, programs: Programs, shutdown: Shutdown) -> Result<Exit, Failure> {
        self.commands.prepare()?;
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let scratch = self.temporary.clone().unwrap_or_else(std::env::temp_dir);
        let least = || memory_default().max(ByteSize(least_memory_bytes(SEGMENT_BYTES)));
        let memory_bytes = self.memory.unwrap_or_else(least).0;
        let threads = self.threads.map_or(processors, |threads| usize::from(threads.get()));
        let files = ShippedFiles::shared(&scratch);
        let programs = with_commands(programs, self.commands.permission(NO_COMMANDS, &scratch, &files));
        let config = Config {
            name: identity::name(),
            memory_bytes,
            threads,
            segment_bytes: SEGMENT_BYTES,
            keep: self.keep,
            max_runs: crate::MAX_RUNS,
            limits: Limits { jobs: self.max_jobs, ..self.limits.of_a_job() },
            programs: with_modules(programs, Some(self.modules.host(&files, memory_bytes, threads))),
            files,
            scratch,
        };
        config.prefetch().map_err(failure)?;
        let site = self.http.open().await?;
        let ready = async {
            let place = self.store.clone();
            let opened = joined(tokio::task::spawn_blocking(move || place.open()).await).await;
            Ok::<_, Failure>((opened.map_err(|error| failure(error.into()))?, connect_and_declare(&self.broker).await?))
        };
        let (store, broker) = tokio::select! {
            ready = ready => ready?,
            () = shutdown.graceful() => return Ok(Exit::Done),
        };
        tracing::info!(aggregator = config.name, store = %self.store, broker = %self.broker.url, "aggregating");
        if let Some(site) = &site {
            tracing::info!(url = site.url(), "the page is served");
        }
        run_at(site, config, broker, store, shutdown).await.map_err(failure)?;
        Ok(Exit::Done)
    }
}

impl Place {
    fn open(self) -> Result<Arc<dyn Store>, StoreError> {
        Ok(match self {
            Self::Folder(folder) => Arc::new(DirectoryStore::open(folder, Durability::Synced)?),
            Self::Bucket(address) => {
                let variables = std::env::vars_os();
                let readable =
                    variables.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
                Arc::new(BucketStore::open(&address, readable)?)
            }
        })
    }
}

impl FromStr for Place {
    type Err = BadAddress;

    fn from_str(typed: &str) -> Result<Self, BadAddress> {
        if typed.starts_with(SCHEME) { typed.parse().map(Self::Bucket) } else { Ok(Self::Folder(typed.into())) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => write!(formatter, "{}", folder.display()),
            Self::Bucket(address) => write!(formatter, "{address}"),
        }
    }
}

fn failure(error: AggregatorError) -> Failure {
    let exit = match error {
        AggregatorError::Broker(error) => return broker_failure(error),
        AggregatorError::OtherStore { .. } => Exit::Broker,
        AggregatorError::Store(_) => Exit::InputOutput,
        AggregatorError::Memory { .. } => Exit::Usage,
    };
    Failure::new(exit, error)
}
