//! Workers and aggregators as tasks of this process, each with its own way to be stopped: asked, or killed.
//!
//! It knows no job. What would surprise: a killed task stops at its next await, but what it started on a thread goes on to its
//! end, as a process does that was thought dead.

use crate::home::Home;
use crate::troubled_store::TroubledStore;
use crate::troubles::{TroubledBroker, Troubles};
use rabbit_reduce_aggregator as aggregator;
use rabbit_reduce_core::message::MAX_BODY_BYTES;
use rabbit_reduce_core::topology::REDUCE_QUEUES;
use rabbit_reduce_runtime::broker::Broker;
use rabbit_reduce_runtime::process::shutdown::{Shutdown, Urgency};
use rabbit_reduce_runtime::shipped::ShippedFiles;
use rabbit_reduce_runtime::store::Store;
use rabbit_reduce_worker as worker;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::task::JoinHandle;

/// What somebody does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Maps.
    Worker,
    /// Folds.
    Aggregator,
}

/// How everyone is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Chunks that a worker maps at once, and shards that an aggregator tends.
    pub threads: usize,
    /// The largest segment, in bytes.
    pub segment_bytes: usize,
    /// Unacked messages of each reduce queue that an aggregator holds: from 8 to 256.
    pub prefetch: u64,
    /// Where workers may read.
    pub roots: worker::Roots,
}

impl Default for Setup {
    fn default() -> Self {
        Self { threads: 2, segment_bytes: 64 << 10, prefetch: 16, roots: worker::Roots::Anywhere }
    }
}

struct Member {
    role: Role,
    name: String,
    shutdown: Shutdown,
    task: JoinHandle<()>,
}

/// Everyone at work.
pub struct Crew {
    /// Where they meet.
    pub home: Home,
    /// Where results are.
    pub store: Arc<dyn Store>,
    /// What goes wrong.
    pub troubles: Arc<Troubles>,
    setup: Setup,
    members: Mutex<Vec<Member>>,
    hired: AtomicU32,
    complaints: Arc<Mutex<Vec<String>>>,
}

impl Crew {
    /// Nobody yet.
    #[must_use]
    pub fn new(home: Home, store: Arc<dyn Store>, troubles: Arc<Troubles>, setup: Setup) -> Self {
        let (members, hired, complaints) = (Mutex::default(), AtomicU32::new(0), Arc::default());
        Self { home, store, troubles, setup, members, hired, complaints }
    }

    /// A connection of somebody's own, with the troubles in it.
    pub async fn connect(&self) -> Arc<dyn Broker> {
        Arc::new(TroubledBroker { inner: self.home.connect().await, troubles: Arc::clone(&self.troubles) })
    }

    fn troubled_store(&self) -> Arc<dyn Store> {
        Arc::new(TroubledStore { inner: Arc::clone(&self.store), troubles: Arc::clone(&self.troubles) })
    }

    /// Somebody new begins to work; their name.
    pub async fn hire(&self, role: Role) -> String {
        let name = format!("{role:?}-{}", self.hired.fetch_add(1, Ordering::Relaxed));
        let (broker, shutdown) = (self.connect().await, Shutdown::new());
        let (complaints, who) = (Arc::clone(&self.complaints), name.clone());
        let running = run(role, &self.setup, name.clone(), broker, self.troubled_store(), shutdown.clone());
        let task = tokio::spawn(async move {
            if let Err(error) = running.await {
                complaints.lock().expect("nobody panics with it").push(format!("{who} stopped: {error}"));
            }
        });
        self.members().push(Member { role, name: name.clone(), shutdown, task });
        name
    }

    /// Those of a role who work.
    #[must_use]
    pub fn names(&self, role: Role) -> Vec<String> {
        self.members().iter().filter(|member| member.role == role).map(|member| member.name.clone()).collect()
    }

    /// Somebody is gone, in the middle of whatever they did.
    ///
    /// # Panics
    /// If there is nobody of that name.
    pub fn kill(&self, name: &str) {
        self.take(name).task.abort();
    }

    /// Somebody is asked to stop, and waited for.
    ///
    /// # Panics
    /// If there is nobody of that name, or they panicked.
    pub async fn stop(&self, name: &str) {
        let member = self.take(name);
        member.shutdown.ask(Urgency::Graceful);
        member.task.await.expect("it does not panic");
    }

    /// Everyone is asked to stop, workers first, and waited for.
    pub async fn stop_all(&self) {
        for role in [Role::Worker, Role::Aggregator] {
            for name in self.names(role) {
                self.stop(&name).await;
            }
        }
    }

    /// What made somebody stop by themselves.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        self.complaints.lock().expect("nobody panics with it").clone()
    }

    /// Kills somebody and hires somebody else in their place. `number` says whom.
    pub async fn replace(&self, number: u64) {
        let role = {
            let mut members = self.members();
            let Some(place) = number.checked_rem(members.len() as u64) else { return };
            let victim = members.remove(usize::try_from(place).expect("a place is small"));
            victim.task.abort();
            victim.role
        };
        self.hire(role).await;
    }

    fn take(&self, name: &str) -> Member {
        let mut members = self.members();
        let place = members.iter().position(|member| member.name == name);
        members.remove(place.unwrap_or_else(|| panic!("there is no {name}")))
    }

    fn members(&self) -> MutexGuard<'_, Vec<Member>> {
        self.members.lock().expect("nobody panics with it")
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        // Also when a test panics.
        self.members().iter().for_each(|member| member.task.abort());
    }
}

fn run(
    role: Role,
    setup: &Setup,
    name: String,
    broker: Arc<dyn Broker>,
    store: Arc<dyn Store>,
    until: Shutdown,
) -> futures_util::future::BoxFuture<'static, Result<(), String>> {
    let (threads, segment_bytes) = (setup.threads, setup.segment_bytes);
    // Of its own, as on another machine.
    let files = ShippedFiles::temporary(&std::env::temp_dir()).expect("there is room for temporary files");
    match role {
        Role::Worker => {
            let config = worker::Config {
                name,
                threads,
                memory_bytes: 64 << 20,
                least_budget_bytes: worker::LEAST_BUDGET_BYTES,
                roots: setup.roots.clone(),
                scratch: std::env::temp_dir(),
                exit_when_idle: false,
                program: None,
                commands: None,
                module_silence: Duration::ZERO,
                programs: crate::fragile::programs(&files),
                files,
            };
            Box::pin(async move { worker::run(config, broker, until).await.map_err(|error| error.to_string()) })
        }
        Role::Aggregator => {
            let window = u64::from(REDUCE_QUEUES) * segment_bytes as u64 * setup.prefetch;
            let memory_bytes = 4 * (window + MAX_BODY_BYTES as u64);
            let (max_runs, keep) = (aggregator::MAX_RUNS, None);
            let config = aggregator::Config {
                name,
                memory_bytes,
                threads,
                segment_bytes,
                max_runs,
                limits: aggregator::Limits::default(),
                keep,
                scratch: std::env::temp_dir(),
                programs: crate::fragile::programs(&files),
                files,
            };
            Box::pin(
                async move { aggregator::run(config, broker, store, until).await.map_err(|error| error.to_string()) },
            )
        }
    }
}
