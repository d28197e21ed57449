//! The aggregator's flags, and from errors to exit codes.

use crate::{AggregatorError, Config, least_memory_bytes, run};
use clap::Parser;
use rabbit_reduce_core::spec::SEGMENT_BYTES;
use rabbit_reduce_runtime::process::args::{BrokerArgs, ByteSize, LogArgs, memory_default};
use rabbit_reduce_runtime::process::broker::{connect_and_declare, failure as broker_failure};
use rabbit_reduce_runtime::process::exit::Exit;
use rabbit_reduce_runtime::process::identity;
use rabbit_reduce_runtime::process::shutdown::Shutdown;
use rabbit_reduce_runtime::process::start::Failure;
use rabbit_reduce_runtime::store::directory::{DirectoryStore, Durability};
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::sync::Arc;

/// Folds what the workers map, keeps it in a store, and serves the answer
///
/// One is enough; several may run side by side on one store. The first Ctrl-C commits what was folded; the second leaves at
/// once. Nothing is lost either way.
#[derive(Debug, Parser)]
#[command(name = "aggregator", version)]
pub struct Cli {
    /// Folder that keeps ledgers and results; it is made if it is missing
    #[arg(long, env = "RABBIT_REDUCE_STORE", value_name = "DIR", default_value = "rabbit-reduce-store")]
    store: PathBuf,
    /// Memory for all of it, as 512MiB or 2GiB; at least 289MiB [default: a quarter of the machine's]
    #[arg(long, env = "RABBIT_REDUCE_MEMORY", value_name = "SIZE")]
    memory: Option<ByteSize>,
    /// Partitions worked on at once [default: one for each processor]
    #[arg(long, env = "RABBIT_REDUCE_THREADS", value_name = "N")]
    threads: Option<NonZeroU16>,
    #[command(flatten)]
    broker: BrokerArgs,
    /// How much is logged.
    #[command(flatten)]
    pub logs: LogArgs,
}

impl Cli {
    /// Opens the store, connects and works.
    ///
    /// # Errors
    /// With the exit code that the failure means.
    pub async fn work(self, shutdown: Shutdown) -> Result<Exit, Failure> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let config = Config {
            name: identity::name(),
            memory_bytes: self
                .memory
                .unwrap_or_else(|| memory_default().max(ByteSize(least_memory_bytes(SEGMENT_BYTES))))
                .0,
            threads: self.threads.map_or(processors, |threads| usize::from(threads.get())),
            segment_bytes: SEGMENT_BYTES,
            max_runs: crate::MAX_RUNS,
        };
        config.prefetch().map_err(failure)?;
        if self.store.as_os_str().as_encoded_bytes().starts_with(b"s3://") {
            let unsupported = "--store s3://… is not supported by this release; use a directory";
            return Err(Failure::new(Exit::Usage, unsupported));
        }
        let store = DirectoryStore::open(&self.store, Durability::Synced).map_err(|error| failure(error.into()))?;
        let broker = tokio::select! {
            broker = connect_and_declare(&self.broker) => broker?,
            () = shutdown.graceful() => return Ok(Exit::Done),
        };
        let shown = self.store.display();
        tracing::info!(aggregator = config.name, store = %shown, broker = %self.broker.url, "aggregating");
        run(config, broker, Arc::new(store), shutdown).await.map_err(failure)?;
        Ok(Exit::Done)
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
