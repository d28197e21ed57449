//! The broker inside this process: the same contract as RabbitMQ, for one process that runs all roles, and for tests.
//!
//! What happens is decided by the state machine in `state`; here is only who waits and what time it is. Nothing survives the process. What would
//! surprise: the lock is never held over an await, and a timer task exists only once a queue with a time to live is declared.

mod state;

use super::{
    Broker, BrokerError, Consumer, Delivery, Depth, Inbox, MAX_BODY_BYTES, Published, Receipt, Route, Settle,
    Settlement,
};
use async_trait::async_trait;
use bytes::Bytes;
use rabbit_reduce_core::topology::Topology;
use state::{ConsumerId, Next, State};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// A broker in this process. Its clones are the same broker.
#[derive(Clone)]
pub struct EmbeddedBroker {
    shared: Arc<Shared>,
}

struct Shared {
    inner: Mutex<Inner>,
    /// The state's time zero.
    start: Instant,
    /// Tells the timer that it should look again.
    rearm: Arc<Notify>,
}

#[derive(Default)]
struct Inner {
    state: State,
    sleepers: HashMap<ConsumerId, Arc<Notify>>,
    /// When the timer will look, if it runs.
    alarm: Option<Duration>,
    has_timer: bool,
}

impl Default for EmbeddedBroker {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for EmbeddedBroker {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("EmbeddedBroker")
    }
}

impl EmbeddedBroker {
    /// An empty broker.
    #[must_use]
    pub fn new() -> Self {
        let (inner, rearm) = (Mutex::default(), Arc::default());
        Self { shared: Arc::new(Shared { inner, start: Instant::now(), rearm }) }
    }

    fn subscribe(
        &self,
        open: impl FnOnce(Duration, &mut State) -> Result<ConsumerId, BrokerError>,
    ) -> Result<Seat, BrokerError> {
        let wake = Arc::new(Notify::new());
        let id = self.shared.step(open)?;
        self.shared.lock().sleepers.insert(id, wake.clone());
        // Whatever came between the two steps above found nobody to wake.
        wake.notify_one();
        Ok(Seat { shared: self.shared.clone(), id, wake })
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic inside a step is a bug that is reported where it happened; whoever unwinds must still be able to end.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One step of the state, and then whoever it woke.
    fn step<T>(&self, step: impl FnOnce(Duration, &mut State) -> T) -> T {
        let now = self.start.elapsed();
        let mut guard = self.lock();
        let inner = &mut *guard;
        let result = step(now, &mut inner.state);
        for id in inner.state.woken() {
            if let Some(sleeper) = inner.sleepers.get(&id) {
                sleeper.notify_one();
            }
        }
        if inner.has_timer && inner.state.next_expiry().is_some_and(|next| inner.alarm.is_none_or(|alarm| next < alarm))
        {
            self.rearm.notify_one();
        }
        result
    }

    fn start_timer(self: &Arc<Self>) {
        if !std::mem::replace(&mut self.lock().has_timer, true) {
            tokio::spawn(keep_time(Arc::downgrade(self), self.rearm.clone()));
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.rearm.notify_one();
    }
}

/// Sets expired messages aside until the broker is gone.
async fn keep_time(shared: Weak<Shared>, rearm: Arc<Notify>) {
    loop {
        let alarm = {
            let Some(shared) = shared.upgrade() else { return };
            shared.step(|now, state| state.expire(now));
            let mut inner = shared.lock();
            inner.alarm = inner.state.next_expiry();
            inner.alarm.map(|alarm| shared.start + alarm)
        };
        match alarm {
            Some(alarm) => drop(tokio::time::timeout_at(alarm, rearm.notified()).await),
            None => rearm.notified().await,
        }
    }
}

/// A consumer's place at the broker, given up when dropped.
struct Seat {
    shared: Arc<Shared>,
    id: ConsumerId,
    wake: Arc<Notify>,
}

impl Seat {
    async fn next<T>(&self, look: impl Fn(&mut State, ConsumerId) -> Next<T> + Send) -> Option<T> {
        loop {
            match self.shared.step(|_, state| look(state, self.id)) {
                Next::Found(found) => return Some(found),
                Next::Ended => return None,
                Next::Wait => self.wake.notified().await,
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.shared.lock().sleepers.remove(&self.id);
        self.shared.step(|now, state| state.end(now, self.id));
    }
}

/// Settles the deliveries of one consumer.
struct Channel {
    shared: Arc<Shared>,
    id: ConsumerId,
}

#[async_trait]
impl Settle for Channel {
    async fn settle(&self, tag: u64, how: Settlement) -> bool {
        self.shared.step(|now, state| state.settle(now, self.id, tag, how))
    }
}

struct EmbeddedConsumer {
    seat: Seat,
    channel: Arc<Channel>,
}

#[async_trait]
impl Consumer for EmbeddedConsumer {
    async fn next(&mut self) -> Option<Delivery> {
        let found = self.seat.next(State::next).await?;
        let receipt = Receipt::new(self.channel.clone(), found.tag);
        Some(Delivery { body: found.body, returns: found.returns, died: found.died, receipt })
    }
}

struct EmbeddedInbox {
    name: String,
    seat: Seat,
}

#[async_trait]
impl Inbox for EmbeddedInbox {
    fn name(&self) -> &str {
        &self.name
    }

    async fn next(&mut self) -> Option<Bytes> {
        self.seat.next(State::next_private).await
    }
}

#[async_trait]
impl Broker for EmbeddedBroker {
    async fn declare(&self, topology: &Topology) -> Result<(), BrokerError> {
        self.shared.step(|_, state| state.declare(topology))?;
        if topology.queues.iter().any(|queue| queue.ttl.is_some()) {
            self.shared.start_timer();
        }
        Ok(())
    }

    async fn publish(&self, route: &Route, body: Bytes) -> Result<Published, BrokerError> {
        if body.len() > MAX_BODY_BYTES {
            return Err(BrokerError::TooLarge { bytes: body.len() });
        }
        self.shared.step(|now, state| state.publish(now, route, body))
    }

    async fn consume(&self, queue: &str, prefetch: u16) -> Result<Box<dyn Consumer>, BrokerError> {
        let seat = self.subscribe(|now, state| state.consume(now, queue, prefetch))?;
        let channel = Arc::new(Channel { shared: self.shared.clone(), id: seat.id });
        Ok(Box::new(EmbeddedConsumer { seat, channel }))
    }

    async fn inbox(&self) -> Result<Box<dyn Inbox>, BrokerError> {
        let mut name = String::new();
        let seat = self.subscribe(|_, state| {
            let (id, its_name) = state.open_private()?;
            name = its_name;
            Ok(id)
        })?;
        Ok(Box::new(EmbeddedInbox { name, seat }))
    }

    async fn depth(&self, queue: &str) -> Result<Option<Depth>, BrokerError> {
        Ok(self.shared.step(|_, state| state.depth(queue)))
    }

    async fn bind_store(&self, store_id: &str) -> Result<(), BrokerError> {
        self.shared.step(|_, state| state.bind_store(store_id))
    }

    fn blocked(&self) -> Option<String> {
        None
    }

    async fn teardown(&self, topology: &Topology) -> Result<(), BrokerError> {
        self.shared.step(|_, state| state.teardown(topology));
        Ok(())
    }
}
