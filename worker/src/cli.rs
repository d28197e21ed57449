//! The worker's flags, and from errors to exit codes.

use crate::{Config, LEAST_BUDGET_BYTES, Roots, apart, run_at};
use clap::Parser;
use clap::builder::FalseyValueParser;
use rabbit_reduce_core::program::Programs;
use rabbit_reduce_runtime::command::with_commands;
use rabbit_reduce_runtime::module::with_modules;
use rabbit_reduce_runtime::process::args::{AllowArgs, BrokerArgs, ByteSize, LogArgs, ModuleArgs, memory_default};
use rabbit_reduce_runtime::process::broker::{connect_and_declare, failure};
use rabbit_reduce_runtime::process::config::{self, Parsed};
use rabbit_reduce_runtime::process::exit::Exit;
use rabbit_reduce_runtime::process::http::HttpArgs;
use rabbit_reduce_runtime::process::identity;
use rabbit_reduce_runtime::process::shutdown::Shutdown;
use rabbit_reduce_runtime::process::start::{self, Failure};
use rabbit_reduce_runtime::shipped::ShippedFiles;
use std::ffi::OsString;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::process::ExitCode;

/// Maps chunks for rabbit-reduce: start as many as you like, on as many machines, and stop them whenever you like
///
/// A worker needs the broker alone. The first Ctrl-C finishes what it maps and hands the rest back; the second leaves at once.
#[derive(Debug, Parser)]
#[command(name = "worker", version)]
pub struct Cli {
    /// Chunks mapped at once [default: one for each processor]
    #[arg(long, env = "RABBIT_REDUCE_THREADS", value_name = "N")]
    threads: Option<NonZeroU16>,
    /// Memory for all of it, as 512MiB or 2GiB [default: a quarter of the machine's]
    #[arg(long, env = "RABBIT_REDUCE_MEMORY", value_name = "SIZE")]
    memory: Option<ByteSize>,
    /// Folder that by-reference input may lie in; give it again for more
    #[arg(long = "input-root", env = "RABBIT_REDUCE_INPUT_ROOT", value_name = "DIR", value_delimiter = ':')]
    input_roots: Vec<PathBuf>,
    /// Folder for pairs that do not fit in memory [default: the system's]
    #[arg(long, env = "RABBIT_REDUCE_TEMPORARY", value_name = "DIR")]
    temporary: Option<PathBuf>,
    /// Leave when nothing has been waiting for a while
    #[arg(long, env = "RABBIT_REDUCE_EXIT_WHEN_IDLE", value_parser = FalseyValueParser::new())]
    exit_when_idle: bool,
    /// What a worker starts itself with, for a task that may kill who maps it.
    #[arg(long = "map-apart", value_name = "PARENT", hide = true)]
    map_apart: Option<String>,
    /// Where it notes its progress then.
    #[arg(long, value_name = "FILE", hide = true, requires = "map_apart")]
    notes: Option<PathBuf>,
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

/// A worker that knows these programs, from its command line (with a name first) to its exit code.
#[must_use]
pub fn main(programs: Programs, line: impl IntoIterator<Item = OsString>) -> ExitCode {
    let Parsed { flags: cli, .. }: Parsed<Cli> = match config::parse("worker", line) {
        Ok(parsed) => parsed,
        Err(exit) => return exit,
    };
    let logs = cli.logs.clone();
    start::run(&logs, |shutdown| cli.work(programs, shutdown))
}

impl Cli {
    /// Connects and works.
    ///
    /// # Errors
    /// With the exit code that the failure means.
    pub async fn work(self, programs: Programs, shutdown: Shutdown) -> Result<Exit, Failure> {
        self.commands.prepare()?;
        let roots = Roots::beneath(&self.input_roots)
            .map_err(|error| Failure::new(Exit::Usage, format!("--input-root {error}")))?;
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let scratch = self.temporary.unwrap_or_else(std::env::temp_dir);
        // Without them, tasks of commands go back like those of any program that is not known here.
        let allowed = self.commands.allow_commands;
        let files = ShippedFiles::shared(&scratch);
        let programs =
            if allowed { with_commands(programs, self.commands.limits.allowed(&scratch, &files)) } else { programs };
        let threads = self.threads.map_or(processors, |threads| usize::from(threads.get()));
        let memory_bytes = self.memory.unwrap_or_else(memory_default).0;
        let modules = match self.map_apart {
            None => self.modules.host(&files, memory_bytes, threads),
            // Its parent has looked whether there is enough; what is said here is for pairs.
            Some(_) => self.modules.host(&files, u64::MAX, 1),
        };
        let programs = with_modules(programs, Some(modules));
        let config = Config {
            name: identity::name(),
            threads,
            memory_bytes,
            least_budget_bytes: LEAST_BUDGET_BYTES,
            roots,
            scratch,
            exit_when_idle: self.exit_when_idle,
            // This very program, even where another release lies under its name by now.
            program: Some(PathBuf::from("/proc/self/exe")),
            programs,
            commands: allowed.then(|| self.commands.limits.limits()),
            module_silence: self.modules.module_silence,
            files,
        };
        if let Some((parent, notes)) = self.map_apart.zip(self.notes) {
            let config = Config { name: parent, ..config };
            return match apart::map_for_parent(&config, &notes) {
                Ok(()) => Ok(Exit::Done),
                Err(error) => Err(Failure::new(Exit::InputOutput, error)),
            };
        }
        let site = self.http.open().await?;
        let broker = tokio::select! {
            broker = connect_and_declare(&self.broker) => broker?,
            () = shutdown.graceful() => return Ok(Exit::Done),
        };
        tracing::info!(worker = config.name, threads = config.threads, broker = %self.broker.url, "working");
        if let Some(site) = &site {
            tracing::info!(url = site.url(), "health and figures are served");
        }
        run_at(site, config, broker, shutdown).await.map_err(failure)?;
        Ok(Exit::Done)
    }
}
