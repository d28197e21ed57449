//! The worker: takes a task, maps it on a compute thread, publishes its partials, and only then acks it.
//!
//! It keeps nothing between tasks and needs the broker alone. What would surprise: it never decides what is counted. A task
//! mapped twice, or by a worker thought dead, is settled by the ledgers.

mod apart;
pub mod cli;
mod fate;
mod files;
mod frame;
pub mod input;
mod mapping;
mod partials;
mod tally;
mod task;

pub use input::Roots;

use rabbit_reduce_core::id::JobId;
use rabbit_reduce_core::message::{self, News};
use rabbit_reduce_core::program::Programs;
use rabbit_reduce_core::topology::queue;
use rabbit_reduce_runtime::broker::stored::pause_before;
use rabbit_reduce_runtime::broker::{Broker, BrokerError, Delivery};
use rabbit_reduce_runtime::client::Client;
use rabbit_reduce_runtime::command::Limits;
use rabbit_reduce_runtime::http::{Router, Site};
use rabbit_reduce_runtime::process::joined::joined;
use rabbit_reduce_runtime::process::shutdown::Shutdown;
use rabbit_reduce_runtime::shipped::ShippedFiles;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tally::Tally;
use task::Task;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::JoinSet;

/// Ended jobs that a worker remembers, to drop their tasks unmapped. Only a saving: the ledgers drop what it lets through.
const REMEMBERED_JOBS: usize = 1024;
/// With nothing in hand and nothing waiting for so long, a worker that may leave leaves.
const IDLE: Duration = Duration::from_secs(2);

/// What a worker is told at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who it is, in messages and logs.
    pub name: String,
    /// Chunks mapped at once.
    pub threads: usize,
    /// What all of it may use, in bytes.
    pub memory_bytes: u64,
    /// The least that the pairs of one task hold in memory, in bytes, before they spill.
    pub least_budget_bytes: usize,
    /// Where by-reference input may lie.
    pub roots: Roots,
    /// Where pairs wait that do not fit in memory.
    pub scratch: PathBuf,
    /// Leave when there is nothing to do.
    pub exit_when_idle: bool,
    /// The worker's program, to map suspects in a process of their own; without it they are mapped like all others.
    pub program: Option<PathBuf>,
    /// What it can map.
    pub programs: Programs,
    /// What commands may take, if it runs any.
    pub commands: Option<Limits>,
    /// How long a call of a module may last without asking for more.
    pub module_silence: Duration,
    /// Where files of jobs are kept.
    pub files: ShippedFiles,
}

impl Config {
    /// Tasks in hand at the most: one being mapped and one being published or waiting for each thread, one of each other queue.
    #[must_use]
    pub const fn hands(&self) -> u64 {
        2 * self.threads as u64 + 2
    }

    /// What the pairs of one task may hold in memory, in bytes: the table, and then as much again in segments.
    fn budget_bytes(&self) -> usize {
        usize::try_from(self.memory_bytes / (2 * self.hands())).unwrap_or(usize::MAX).max(self.least_budget_bytes)
    }
}

/// For [`Config::least_budget_bytes`]: a table smaller than this would spill all the time.
pub const LEAST_BUDGET_BYTES: usize = 1 << 20;

/// What tasks share.
struct Shared {
    config: Config,
    broker: Arc<dyn Broker>,
    compute: Arc<Semaphore>,
    kept: mapping::Kept,
    /// For questions, once there is one; who has it asks.
    client: tokio::sync::Mutex<Option<Client>>,
    ended: Mutex<VecDeque<JobId>>,
    /// Tells whoever works for a job that another one has ended.
    heard: Notify,
    tally: Tally,
}

/// Works until asked to stop, or until there is nothing to do if it was told to leave then.
///
/// # Errors
/// Fails if the broker refuses the worker for good; an unreachable one is waited for.
pub async fn run(config: Config, broker: Arc<dyn Broker>, shutdown: Shutdown) -> Result<(), BrokerError> {
    run_at(None, config, broker, shutdown).await
}

/// The same, and its health and figures served over HTTP meanwhile.
///
/// # Errors
/// As [`run`].
pub async fn run_at(
    site: Option<Site>,
    config: Config,
    broker: Arc<dyn Broker>,
    shutdown: Shutdown,
) -> Result<(), BrokerError> {
    let shared = Arc::new(Shared {
        compute: Arc::new(Semaphore::new(config.threads)),
        kept: mapping::Kept::new(config.programs.clone()),
        client: tokio::sync::Mutex::default(),
        ended: Mutex::default(),
        heard: Notify::new(),
        tally: Tally::default(),
        broker,
        config,
    });
    if let Some(site) = site {
        tokio::spawn(serve(site, Arc::clone(&shared), shutdown.clone()));
    }
    // One delivery waits for each hand-over; what is held besides is bounded by the prefetch.
    let (deliveries, mut arrivals) = mpsc::channel(1);
    let ahead = u16::try_from(shared.config.threads.saturating_mul(2)).unwrap_or(u16::MAX);
    let mut feeds = JoinSet::new();
    for (name, prefetch) in [(queue::MAP, ahead), (queue::AGAIN, 1), (queue::SUSPECT, 1)] {
        feeds.spawn(feed(Arc::clone(&shared.broker), name, prefetch, deliveries.clone()));
    }
    feeds.spawn(listen(Arc::clone(&shared)));
    let mut tasks = JoinSet::new();
    let mut idle = tokio::time::interval(IDLE);
    idle.reset();
    let outcome = loop {
        // In this order, so that what is rare is never starved by what always comes.
        tokio::select! {
            biased;
            () = shutdown.graceful() => break Ok(()),
            Some(ended) = feeds.join_next() => {
                if let Err(error) = joined(ended).await {
                    break Err(error);
                }
            }
            Some(done) = tasks.join_next(), if !tasks.is_empty() => {
                joined(done).await;
                idle.reset();
            }
            Some((queue, delivery)) = arrivals.recv() => {
                idle.reset();
                tasks.spawn(Task::new(Arc::clone(&shared), queue, delivery).settle());
            }
            _ = idle.tick(), if shared.config.exit_when_idle && tasks.is_empty() => {
                if nothing_waits(&*shared.broker).await { break Ok(()) }
            }
        }
    };
    // What is being mapped is finished; the feeds live on until then, since its acks need their channels.
    shared.compute.close();
    let finishing = async { while tasks.join_next().await.is_some() {} };
    tokio::select! {
        biased;
        () = shutdown.now() => {}
        () = finishing => {}
    }
    outcome
}

/// It is ready if it reaches the broker.
async fn serve(site: Site, shared: Arc<Shared>, shutdown: Shutdown) {
    let figures = Arc::clone(&shared);
    let ready = move || {
        let shared = Arc::clone(&shared);
        async move { shared.broker.depth(queue::MAP).await.map(drop).map_err(|error| error.to_string()) }
    };
    let metrics = move || std::future::ready(figures.tally.text());
    site.serve(Router::new(), ready, metrics, shutdown).await;
}

/// Consumes a queue, again whenever the channel is gone.
async fn feed(
    broker: Arc<dyn Broker>,
    queue: &'static str,
    prefetch: u16,
    deliveries: mpsc::Sender<(&'static str, Delivery)>,
) -> Result<(), BrokerError> {
    let mut attempt = 0;
    loop {
        match broker.consume(queue, prefetch).await {
            Ok(mut consumer) => {
                attempt = 0;
                while let Some(delivery) = consumer.next().await {
                    if deliveries.send((queue, delivery)).await.is_err() {
                        return Ok(());
                    }
                }
                tracing::warn!(queue, "the channel is gone; consuming anew");
            }
            Err(error) if error.may_pass() => tracing::warn!(queue, %error, "cannot consume; trying again"),
            Err(error) => return Err(error),
        }
        attempt += 1;
        pause_before(attempt.max(5)).await;
    }
}

/// Hears which jobs ended.
async fn listen(shared: Arc<Shared>) -> Result<(), BrokerError> {
    loop {
        match shared.broker.inbox().await {
            Ok(mut inbox) => {
                while let Some(message) = inbox.next().await {
                    if let Ok((News::Ended(job) | News::Removed(job), _)) = message::decode::<News>(&message) {
                        shared.remember(job);
                    }
                }
            }
            // A broker that is away is told of by whoever consumes.
            Err(error) if error.may_pass() => {}
            Err(error) => tracing::warn!(%error, "no news is heard; trying again"),
        }
        pause_before(9).await;
    }
}

async fn nothing_waits(broker: &dyn Broker) -> bool {
    for name in [queue::MAP, queue::AGAIN, queue::SUSPECT, queue::RETRY] {
        if !matches!(broker.depth(name).await, Ok(Some(depth)) if depth.messages == 0) {
            return false;
        }
    }
    true
}

impl Shared {
    fn remember(&self, job: JobId) {
        let mut ended = self.ended.lock().expect("nobody panics with it");
        if !ended.contains(&job) {
            ended.truncate(REMEMBERED_JOBS - 1);
            ended.push_front(job);
        }
        drop(ended);
        self.heard.notify_waiters();
    }

    fn has_ended(&self, job: JobId) -> bool {
        self.ended.lock().expect("nobody panics with it").contains(&job)
    }
}
