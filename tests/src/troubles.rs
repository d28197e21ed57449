//! A broker between a role and the real one that does what networks and dying processes do: it publishes twice, late, out of
//! order, loses what may be lost, and ends channels.
//!
//! It changes no body and settles nothing. What would surprise: it never loses what must be stored, only requests, answers and
//! news; and it counts the moments around each publication, because those are when a kill hurts.

use crate::dice::Dice;
use async_trait::async_trait;
use bytes::Bytes;
use rabbit_reduce_core::topology::{Topology, queue};
use rabbit_reduce_runtime::broker::{Broker, BrokerError, Consumer, Delivery, Depth, Inbox, Published, Route};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

/// How much of each trouble there is.
#[derive(Clone, Debug, Default)]
pub struct Trouble {
    /// Of a thousand publications, so many come twice.
    pub duplicates: u64,
    /// Of a thousand publications, so many wait first.
    pub delays: u64,
    /// The longest wait, of a delayed publication or of a duplicate.
    pub longest: Duration,
    /// Of a thousand requests, answers and news, so many are lost.
    pub lost: u64,
    /// Of a thousand writes to the store, so many do not say whether they happened.
    pub unknown: u64,
    /// At these deliveries the channel that brings them ends.
    pub cuts: Vec<u64>,
    /// At these moments somebody is killed.
    pub kills: Vec<u64>,
}

/// The troubles of one cluster.
#[derive(Debug)]
pub struct Troubles {
    plan: Trouble,
    dice: Dice,
    calm: AtomicBool,
    under_way: AtomicUsize,
    moments: AtomicU64,
    deliveries: AtomicU64,
    kill: mpsc::Sender<()>,
}

impl Troubles {
    /// Troubles as planned; the receiver hears when somebody is to be killed.
    #[must_use]
    pub fn new(plan: Trouble, seed: u64) -> (Arc<Self>, mpsc::Receiver<()>) {
        let (kill, kills) = mpsc::channel(plan.kills.len().max(1));
        let (calm, under_way) = (AtomicBool::new(false), AtomicUsize::new(0));
        let (moments, deliveries, dice) = (AtomicU64::new(0), AtomicU64::new(0), Dice::new(seed));
        (Arc::new(Self { plan, dice, calm, under_way, moments, deliveries, kill }), kills)
    }

    /// From now on everything goes well.
    pub fn calm(&self) {
        self.calm.store(true, Ordering::Relaxed);
    }

    /// Whether every duplicate has been published.
    #[must_use]
    pub fn are_over(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) == 0
    }

    /// A moment passes.
    pub fn moment(&self) {
        let moment = self.moments.fetch_add(1, Ordering::Relaxed);
        if self.plan.kills.contains(&moment) && !self.is_calm() {
            // As many places as kills; a cluster that is gone kills nobody.
            self.kill.try_send(()).ok();
        }
    }

    /// Whether a write to the store does not say what became of it; if so, whether it happened.
    #[must_use]
    pub fn keeps_silent(&self) -> Option<bool> {
        self.happens(self.plan.unknown).then(|| self.dice.hits(500))
    }

    /// Whether the channel of a delivery ends with it.
    fn cuts(&self) -> bool {
        let delivery = self.deliveries.fetch_add(1, Ordering::Relaxed);
        self.plan.cuts.contains(&delivery) && !self.is_calm()
    }

    fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    fn happens(&self, per_mille: u64) -> bool {
        !self.is_calm() && self.dice.hits(per_mille)
    }

    async fn wait(&self) {
        let longest = u64::try_from(self.plan.longest.as_micros()).unwrap_or(u64::MAX);
        tokio::time::sleep(Duration::from_micros(self.dice.below(longest.max(1)))).await;
    }
}

/// See the module.
#[derive(Debug)]
pub struct TroubledBroker {
    /// The real one.
    pub inner: Arc<dyn Broker>,
    /// What goes wrong.
    pub troubles: Arc<Troubles>,
}

impl TroubledBroker {
    fn publish_twice(&self, route: &Route, body: &Bytes) {
        let (inner, troubles) = (Arc::clone(&self.inner), Arc::clone(&self.troubles));
        let (route, body) = (route.clone(), body.clone());
        troubles.under_way.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            troubles.wait().await;
            // Full, gone: then there is no duplicate.
            drop(inner.publish(&route, body).await);
            troubles.under_way.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

#[async_trait]
impl Broker for TroubledBroker {
    async fn publish(&self, route: &Route, body: Bytes) -> Result<Published, BrokerError> {
        let troubles = &self.troubles;
        let may_be_lost = !matches!(route, Route::Queue(name) if name != queue::CONTROL);
        if may_be_lost && troubles.happens(troubles.plan.lost) {
            return Ok(Published::Confirmed);
        }
        troubles.moment();
        if troubles.happens(troubles.plan.duplicates) {
            self.publish_twice(route, &body);
        }
        if troubles.happens(troubles.plan.delays) {
            troubles.wait().await;
        }
        let published = self.inner.publish(route, body).await;
        troubles.moment();
        if !troubles.plan.kills.is_empty() {
            // Whoever is killed now has published, and does not know it.
            tokio::task::yield_now().await;
        }
        published
    }

    async fn declare(&self, topology: &Topology) -> Result<(), BrokerError> {
        self.inner.declare(topology).await
    }

    async fn consume(&self, queue: &str, prefetch: u16) -> Result<Box<dyn Consumer>, BrokerError> {
        let inner = Some(self.inner.consume(queue, prefetch).await?);
        Ok(Box::new(TroubledConsumer { inner, troubles: Arc::clone(&self.troubles) }))
    }

    async fn inbox(&self) -> Result<Box<dyn Inbox>, BrokerError> {
        self.inner.inbox().await
    }

    async fn depth(&self, queue: &str) -> Result<Option<Depth>, BrokerError> {
        self.inner.depth(queue).await
    }

    async fn bind_store(&self, store_id: &str) -> Result<(), BrokerError> {
        self.inner.bind_store(store_id).await
    }

    fn blocked(&self) -> Option<String> {
        self.inner.blocked()
    }

    async fn teardown(&self, topology: &Topology) -> Result<(), BrokerError> {
        self.inner.teardown(topology).await
    }
}

/// A subscription that may end, with everything that it holds.
struct TroubledConsumer {
    inner: Option<Box<dyn Consumer>>,
    troubles: Arc<Troubles>,
}

#[async_trait]
impl Consumer for TroubledConsumer {
    async fn next(&mut self) -> Option<Delivery> {
        let delivery = self.inner.as_mut()?.next().await;
        if self.troubles.cuts() {
            self.inner = None;
            return None;
        }
        delivery
    }
}
