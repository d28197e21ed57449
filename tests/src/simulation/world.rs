//! What all in a simulation share: the dice, the broker, the store, the trace, and whether things still go wrong.
//!
//! It knows no role. What would surprise: everything random after the beginning is thrown here, by one thread, so the order in
//! which things happen decides what happens next, and the seed decides both.

use super::fault::Fault;
use super::life::Life;
use super::plan::Plan;
use super::signal::Signal;
use super::trace::{MOST_EVENTS, Trace};
use super::verdicts::Verdicts;
use crate::dice::Dice;
use bytes::Bytes;
use rabbit_reduce_core::id::JobId;
use rabbit_reduce_core::message::{self, Ask, Request};
use rabbit_reduce_runtime::broker::Broker;
use rabbit_reduce_runtime::broker::embedded::EmbeddedBroker;
use rabbit_reduce_runtime::store::memory::MemoryStore;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// The world.
pub struct World {
    /// What the seed says.
    pub plan: Plan,
    /// What chance says.
    pub dice: Dice,
    /// The broker without faults.
    pub broker: Arc<dyn Broker>,
    /// The store without faults.
    pub store: MemoryStore,
    /// Whether the store lets a second writer have a name.
    pub overwrites: bool,
    /// Jobs of which somebody sent anything to the store.
    pub begun: Mutex<BTreeSet<JobId>>,
    /// Jobs that nobody wants any more: somebody asked for their removal.
    pub unwanted: Mutex<BTreeSet<JobId>>,
    /// Jobs that were submitted, and how many partitions they have.
    pub jobs: Mutex<Vec<(JobId, u32)>>,
    /// Who declared chunks dead.
    pub verdicts: Mutex<Verdicts>,
    trace: Mutex<Trace>,
    calm: Signal<bool>,
    under_way: AtomicUsize,
    lives: Mutex<Vec<Weak<Life>>>,
    wrong: Mutex<Vec<String>>,
    faults: Mutex<BTreeMap<Fault, u64>>,
}

impl fmt::Debug for World {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("World")
    }
}

/// Locks what nobody leaves in a bad state.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    /// A world before anything has happened, its queues declared.
    ///
    /// # Panics
    /// Never: nobody has declared other queues.
    pub async fn new(seed: u64, plan: Plan, overwrites: bool, kept: bool) -> Arc<Self> {
        let broker = Arc::new(EmbeddedBroker::new());
        broker.declare(&plan.topology()).await.expect("the namespace is new");
        Arc::new(Self {
            plan,
            dice: Dice::new(seed),
            broker,
            store: MemoryStore::default(),
            overwrites,
            begun: Mutex::default(),
            unwanted: Mutex::default(),
            jobs: Mutex::default(),
            verdicts: Mutex::default(),
            trace: Mutex::new(Trace::new(kept)),
            calm: Signal::new(false),
            under_way: AtomicUsize::new(0),
            lives: Mutex::default(),
            wrong: Mutex::default(),
            faults: Mutex::default(),
        })
    }

    /// Something happens.
    pub fn note(&self, what: fmt::Arguments<'_>) {
        locked(&self.trace).note(what);
    }

    /// How long it has been.
    #[must_use]
    pub fn age(&self) -> Duration {
        locked(&self.trace).age()
    }

    /// The trace; not to be held while anything else happens.
    pub fn trace(&self) -> MutexGuard<'_, Trace> {
        locked(&self.trace)
    }

    /// Something is so that must not be.
    pub fn wrong(&self, what: String) {
        if self.trace().events() + 1 < MOST_EVENTS {
            self.note(format_args!("WRONG {what}"));
        }
        locked(&self.wrong).push(what);
    }

    /// A fault was injected.
    pub fn injected(&self, fault: Fault) {
        *locked(&self.faults).entry(fault).or_default() += 1;
    }

    /// Somebody publishes a message that may begin a job.
    pub fn asked(&self, body: &Bytes) {
        let Ok((request, _)) = message::decode::<Request>(body) else { return };
        match request.ask {
            Ask::PutSources { job, .. } => drop(locked(&self.begun).insert(job)),
            Ask::Submit { spec } => drop(locked(&self.begun).insert(spec.job)),
            _ => {}
        }
    }

    /// How often each fault was injected.
    #[must_use]
    pub fn faults(&self) -> BTreeMap<Fault, u64> {
        locked(&self.faults).clone()
    }

    /// What is wrong so far.
    #[must_use]
    pub fn wrongs(&self) -> Vec<String> {
        locked(&self.wrong).clone()
    }

    /// From now on everything goes well.
    pub fn calm_down(&self) {
        self.note(format_args!("calm"));
        self.calm.set(true);
    }

    /// Whether everything goes well.
    #[must_use]
    pub fn is_calm(&self) -> bool {
        self.calm.get()
    }

    /// Waits until everything goes well.
    pub async fn calm(&self) {
        self.calm.until(|calm| calm).await;
    }

    /// Whether chance has something happen that does so in `share` of a thousand cases, until it is calm.
    #[must_use]
    pub fn happens(&self, share: u64) -> bool {
        share > 0 && !self.is_calm() && self.dice.hits(share)
    }

    /// The same for a fault, which is counted.
    #[must_use]
    pub fn strikes(&self, fault: Fault, share: u64) -> bool {
        let happens = self.happens(share);
        if happens {
            self.injected(fault);
        }
        happens
    }

    /// A span up to `longest`.
    #[must_use]
    pub fn span(&self, longest: Duration) -> Duration {
        let micros = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.dice.below(micros.max(1)))
    }

    /// A span as messages take.
    #[must_use]
    pub fn delay(&self) -> Duration {
        self.span(self.plan.faults.longest)
    }

    /// Whether now is in one of these times, and things go wrong.
    #[must_use]
    pub fn is_in(&self, times: &[Range<Duration>]) -> bool {
        !times.is_empty() && !self.is_calm() && {
            let age = self.age();
            times.iter().any(|time| time.contains(&age))
        }
    }

    /// Does something later, whoever is there then.
    pub fn later(self: &Arc<Self>, after: Duration, what: impl Future<Output = ()> + Send + 'static) {
        let world = Arc::clone(self);
        world.under_way.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            what.await;
            world.under_way.fetch_sub(1, Ordering::Relaxed);
        });
    }

    /// Whether nothing is still to come of what was to be done later.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) == 0
    }

    /// Somebody lives.
    pub fn welcome(&self, life: &Arc<Life>) {
        let mut lives = locked(&self.lives);
        lives.retain(|life| life.strong_count() > 0);
        lives.push(Arc::downgrade(life));
    }

    /// Everybody's connection breaks.
    pub fn cut_all(&self) {
        let lives: Vec<_> = locked(&self.lives).iter().filter_map(Weak::upgrade).collect();
        lives.iter().for_each(|life| life.cut());
    }
}
