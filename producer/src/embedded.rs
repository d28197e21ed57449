//! `run`: producer, worker and aggregator in this process, over the broker inside it and a temporary store.
//!
//! The one file that knows all roles. They are the same roles, with the same messages and ledgers, as those that meet in
//! RabbitMQ; what differs is told to them here.

use rabbit_reduce_aggregator as aggregator;
use rabbit_reduce_core::program::Programs;
use rabbit_reduce_core::spec::SEGMENT_BYTES;
use rabbit_reduce_core::topology::{QUEUE_BYTES, REDUCE_QUEUES, Topology};
use rabbit_reduce_runtime::broker::embedded::EmbeddedBroker;
use rabbit_reduce_runtime::broker::{Broker, BrokerError};
use rabbit_reduce_runtime::command;
use rabbit_reduce_runtime::process::compute;
use rabbit_reduce_runtime::process::joined::joined;
use rabbit_reduce_runtime::process::shutdown::{Shutdown, Urgency};
use rabbit_reduce_runtime::shipped::ShippedFiles;
use rabbit_reduce_runtime::store::StoreError;
use rabbit_reduce_runtime::store::temporary::TemporaryStore;
use rabbit_reduce_worker as worker;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// The namespace of a broker that nobody else sees.
const NAMESPACE: &str = "run";
/// The least memory with which every part still works.
pub const MIN_MEMORY_BYTES: u64 = 80 << 20;
/// What an aggregator holds besides segments, in bytes, at the most: the largest pair.
const LARGE_BYTES: u64 = 9 << 20;

/// Why the roles in this process do not work.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// The temporary store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The broker inside.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The aggregator inside.
    #[error(transparent)]
    Aggregator(#[from] aggregator::AggregatorError),
}

/// The roles at work, until this is dropped.
pub struct Embedded {
    /// Where they meet.
    pub broker: Arc<dyn Broker>,
    /// The size of segments that fits the memory.
    pub segment_bytes: usize,
    shutdown: Shutdown,
    roles: JoinSet<Result<(), EmbeddedError>>,
    store: Arc<TemporaryStore>,
}

/// How often it is looked at whether the temporary files are let go of.
const LOOK: Duration = Duration::from_millis(2);

/// The largest segment with which the aggregator's window fits a quarter of its share.
fn segment_bytes(memory_bytes: u64) -> usize {
    let window = (memory_bytes / 2 / 4).saturating_sub(LARGE_BYTES) / (u64::from(REDUCE_QUEUES) * 8);
    let fits = usize::try_from(window).unwrap_or(SEGMENT_BYTES).clamp(4 << 10, SEGMENT_BYTES);
    1 << fits.ilog2()
}

impl Embedded {
    /// Starts the roles.
    ///
    /// # Errors
    /// If there is no room for temporary files.
    pub async fn start(
        threads: usize,
        memory_bytes: u64,
        scratch: PathBuf,
        store: Arc<TemporaryStore>,
        programs: Programs,
    ) -> Result<Self, EmbeddedError> {
        let broker: Arc<dyn Broker> = Arc::new(EmbeddedBroker::new());
        let queue_bytes = (memory_bytes / 64).clamp(1 << 20, QUEUE_BYTES);
        broker.declare(&Topology::new(NAMESPACE, queue_bytes)).await?;
        let files = Self::files(&store);
        let shutdown = Shutdown::new();
        let segment_bytes = segment_bytes(memory_bytes);
        let mut roles = JoinSet::new();
        let config = aggregator::Config {
            name: "run".to_owned(),
            memory_bytes: memory_bytes / 2,
            threads,
            segment_bytes,
            keep: None,
            max_runs: aggregator::MAX_RUNS,
            limits: aggregator::Limits::default(),
            scratch: std::env::temp_dir(),
            programs: programs.clone(),
            files: files.clone(),
        };
        let (to, kept, until) = (Arc::clone(&broker), Arc::clone(&store), shutdown.clone());
        roles.spawn(async move { Ok(aggregator::run(config, to, kept, until).await?) });
        let config = worker::Config {
            name: "run".to_owned(),
            threads,
            memory_bytes: memory_bytes / 2,
            least_budget_bytes: worker::LEAST_BUDGET_BYTES,
            roots: worker::Roots::Anywhere,
            scratch,
            exit_when_idle: false,
            program: None,
            programs,
            commands: None,
            module_silence: Duration::ZERO,
            files,
        };
        let (to, until) = (Arc::clone(&broker), shutdown.clone());
        roles.spawn(async move { Ok(worker::run(config, to, until).await?) });
        Ok(Self { broker, segment_bytes, shutdown, roles, store })
    }

    /// Where files of the job are kept: they go with the store.
    #[must_use]
    pub fn files(store: &TemporaryStore) -> ShippedFiles {
        ShippedFiles::within(store.path())
    }

    /// Comes back only if a role stops by itself, with the reason.
    ///
    /// # Errors
    /// What stopped it.
    pub async fn failed(&mut self) -> EmbeddedError {
        loop {
            match self.roles.join_next().await {
                Some(ended) => {
                    if let Err(error) = joined(ended).await {
                        return error;
                    }
                }
                None => std::future::pending().await,
            }
        }
    }
}

impl Embedded {
    /// Stops the roles and waits until the last has let go of the temporary files, which are gone then. What still works on
    /// them on a thread of its own fails at its next step.
    pub async fn stop(mut self) {
        self.shutdown.ask(Urgency::Now);
        // Nobody waits for what commands write any more; whoever runs one would hold the temporary files.
        compute::blocking(command::leave).await;
        while self.roles.join_next().await.is_some() {}
        self.store.close();
        while Arc::strong_count(&self.store) > 1 {
            tokio::time::sleep(LOOK).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_memory_is_enough_for_an_aggregator() {
        for memory_bytes in [MIN_MEMORY_BYTES, MIN_MEMORY_BYTES + 1, 100 << 20, 1 << 30, 1 << 40] {
            let (name, segment_bytes) = (String::new(), segment_bytes(memory_bytes));
            let config = aggregator::Config {
                name,
                memory_bytes: memory_bytes / 2,
                threads: 1,
                segment_bytes,
                max_runs: aggregator::MAX_RUNS,
                limits: aggregator::Limits::default(),
                keep: None,
                scratch: std::env::temp_dir(),
                programs: Programs::built_in(),
                files: ShippedFiles::shared(&std::env::temp_dir()),
            };
            assert!(config.prefetch().is_ok(), "{memory_bytes}");
        }
    }
}
