//! One process's connection to the broker, and all that goes wrong on the way: late, twice, lost, cut, away.
//!
//! It loses only what may be lost: a confirm or an ack, never a stored message. What would surprise: a delivery is taken from
//! the broker by a pump that outlives its process, as a socket does whose other end froze or lost its power.

use super::fault::Fault;
use super::life::{Life, State};
use super::shown::shown;
use super::world::{World, locked};
use async_trait::async_trait;
use bytes::Bytes;
use rabbit_reduce_core::message::{self, Failure, Partial, Task};
use rabbit_reduce_core::skip::Place;
use rabbit_reduce_core::topology::{Topology, queue};
use rabbit_reduce_runtime::broker::{
    Broker, BrokerError, Consumer, Delivery, Depth, Inbox, MAX_PREFETCH, Published, Receipt, Route, Settle, Settlement,
};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// After so long the broker knows that a process without power is gone.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// Between two looks of whoever waits.
const LOOK: Duration = Duration::from_millis(100);

/// See the module.
#[derive(Clone, Debug)]
pub struct Line {
    /// Whose.
    pub life: Arc<Life>,
}

impl Line {
    fn world(&self) -> &Arc<World> {
        &self.life.world
    }

    /// Fails while the broker is away.
    fn up(&self) -> Result<(), BrokerError> {
        if self.world().is_in(&self.world().plan.faults.outages) { Err(unreachable("it is away")) } else { Ok(()) }
    }

    /// A broker that is short of memory or disk reads nothing from who publishes.
    async fn until_unblocked(&self) {
        let blocked = || self.world().is_in(&self.world().plan.faults.blocked);
        if blocked() {
            self.world().injected(Fault::Blocked);
        }
        while blocked() {
            tokio::time::sleep(LOOK).await;
            self.life.go_on().await;
        }
    }

    /// What else a publication may cause; `true` if a broken worker has taken it, and nobody else shall see it.
    fn echo(&self, route: &Route, body: &Bytes) -> bool {
        let (world, faults) = (self.world(), &self.world().plan.faults);
        if world.strikes(Fault::Duplicate, faults.duplicates) {
            self.publish_later(route.clone(), body.clone());
        }
        if let Ok((task, _)) = message::decode::<Task>(body) {
            locked(&world.verdicts).sent(&task, body);
            if world.strikes(Fault::FalseVerdict, faults.false_verdicts) {
                let piece = task.pieces.first().filter(|_| world.strikes(Fault::FalseBlame, 400));
                let record = piece.map(|piece| Place { source: piece.source, offset: piece.offset });
                self.declare_dead(&task, body, record);
                return world.strikes(Fault::Taken, 500);
            }
        }
        if let Ok((partial, _)) = message::decode::<Partial>(body)
            && world.strikes(Fault::HalfSent, faults.half_sent)
        {
            let raw = locked(&world.verdicts).task(partial.job, partial.unit().origin());
            let raw = raw.expect("a chunk was sent before it was mapped");
            let task = message::decode::<Task>(&raw).expect("it was a task").0;
            self.declare_dead(&task, &raw, None);
            return true;
        }
        false
    }

    /// A broken worker gives up on a task.
    fn declare_dead(&self, task: &Task, raw: &Bytes, record: Option<Place>) {
        let failure = Failure {
            job: task.job,
            chunk: task.chunk,
            reason: "a broken worker says so".to_owned(),
            attempts: 1,
            retry: task.retry,
            record,
            retried: task.record,
            worker: "broken".to_owned(),
            version: task.program.version,
            time_ms: 0,
        };
        let verdict = message::encode(&failure, raw);
        locked(&self.world().verdicts).published(&verdict);
        let (later, name) = (Arc::clone(self.world()), self.life.name.clone());
        self.world().later(self.world().delay(), async move {
            let dead = Route::Queue(queue::DEAD.to_owned());
            // Whoever takes a task away says so, however long it takes.
            while !matches!(later.broker.publish(&dead, verdict.clone()).await, Ok(Published::Confirmed)) {
                tokio::time::sleep(LOOK).await;
            }
            later.note(format_args!("{name} declared {}", shown(&verdict)));
        });
    }

    fn publish_later(&self, route: Route, body: Bytes) {
        let (later, name) = (Arc::clone(self.world()), self.life.name.clone());
        self.world().later(self.world().delay(), async move {
            // Full, gone: then there is no such message.
            let published = later.broker.publish(&route, body.clone()).await;
            later.note(format_args!("{name} published late {} to {route:?}: {published:?}", shown(&body)));
        });
    }
}

fn unreachable(reason: &str) -> BrokerError {
    BrokerError::Unreachable { address: "simulated".to_owned(), reason: reason.to_owned() }
}

/// What is in a socket when its owner dies may still arrive.
struct InSocket<'l> {
    line: &'l Line,
    message: Option<(Route, Bytes)>,
}

impl Drop for InSocket<'_> {
    fn drop(&mut self) {
        let world = self.line.world();
        if let Some((route, body)) = self.message.take()
            && world.strikes(Fault::LatePublication, world.plan.faults.stragglers)
        {
            self.line.publish_later(route, body);
        }
    }
}

#[async_trait]
impl Broker for Line {
    async fn publish(&self, route: &Route, body: Bytes) -> Result<Published, BrokerError> {
        self.life.moment().await;
        self.up()?;
        let (world, faults) = (self.world(), &self.world().plan.faults);
        locked(&world.verdicts).published(&body);
        world.asked(&body);
        let may_be_lost = !matches!(route, Route::Queue(name) if name != queue::CONTROL);
        if may_be_lost && world.strikes(Fault::LostHint, faults.lost_hints) {
            world.note(format_args!("{} loses {}", self.life.name, shown(&body)));
            return Ok(Published::Confirmed);
        }
        if self.echo(route, &body) {
            world.note(format_args!("a broken worker takes {}", shown(&body)));
            return Ok(Published::Confirmed);
        }
        if world.strikes(Fault::Delay, faults.delays) {
            let mut socket = InSocket { line: self, message: Some((route.clone(), body.clone())) };
            tokio::time::sleep(world.delay()).await;
            self.life.go_on().await;
            socket.message = None;
        }
        self.until_unblocked().await;
        let published = world.broker.publish(route, body.clone()).await;
        if matches!(published, Ok(Published::Refused)) {
            world.injected(Fault::FullQueue);
        }
        world.note(format_args!("{} published {} to {route:?}: {published:?}", self.life.name, shown(&body)));
        // Whoever is killed now has published, and does not know it.
        self.life.moment().await;
        if world.strikes(Fault::LostConfirm, faults.lost_confirms) {
            tokio::time::sleep(world.delay()).await;
            return Err(unreachable("the confirm was lost"));
        }
        published
    }

    async fn consume(&self, queue: &str, prefetch: u16) -> Result<Box<dyn Consumer>, BrokerError> {
        self.life.moment().await;
        self.up()?;
        let inner = self.world().broker.consume(queue, prefetch).await?;
        let channel = Arc::new(Channel::new(self.clone(), queue.to_owned()));
        let (found, deliveries) = mpsc::channel(usize::from(MAX_PREFETCH));
        let (closed, closing) = oneshot::channel();
        tokio::spawn(pump(inner, Arc::clone(&channel), found, closing));
        Ok(Box::new(LineConsumer { deliveries, channel, closed: Some(closed) }))
    }

    async fn inbox(&self) -> Result<Box<dyn Inbox>, BrokerError> {
        self.life.moment().await;
        self.up()?;
        let inner = self.world().broker.inbox().await?;
        Ok(Box::new(LineInbox { inner, line: self.clone() }))
    }

    async fn declare(&self, topology: &Topology) -> Result<(), BrokerError> {
        self.world().broker.declare(topology).await
    }

    async fn depth(&self, queue: &str) -> Result<Option<Depth>, BrokerError> {
        self.life.go_on().await;
        self.up()?;
        self.world().broker.depth(queue).await
    }

    async fn bind_store(&self, store_id: &str) -> Result<(), BrokerError> {
        self.life.moment().await;
        self.up()?;
        self.world().broker.bind_store(store_id).await
    }

    fn blocked(&self) -> Option<String> {
        self.world().is_in(&self.world().plan.faults.blocked).then(|| "low on memory".to_owned())
    }

    async fn teardown(&self, topology: &Topology) -> Result<(), BrokerError> {
        self.world().broker.teardown(topology).await
    }
}

/// Takes deliveries from the broker until the channel ends.
async fn pump(
    mut inner: Box<dyn Consumer>,
    channel: Arc<Channel>,
    found: mpsc::Sender<Delivery>,
    mut closing: oneshot::Receiver<Duration>,
) {
    let (world, life) = (Arc::clone(channel.line.world()), Arc::clone(&channel.line.life));
    let cuts = life.cuts();
    loop {
        let delivery = tokio::select! {
            biased;
            () = life.cut_off(cuts) => return,
            () = channel.ended.notified() => return,
            after = &mut closing => return tokio::time::sleep(after.unwrap_or_default()).await,
            delivery = inner.next() => delivery,
        };
        let Some(delivery) = delivery else { return };
        channel.note("delivers", &delivery.body);
        let delivery = channel.take(delivery);
        if world.strikes(Fault::Delay, world.plan.faults.delays) {
            // Others overtake it.
            let found = found.clone();
            world.later(world.delay(), async move { drop(found.try_send(delivery)) });
        } else if found.try_send(delivery).is_err() {
            // Nobody listens any more; the pump hears of it in a moment.
        }
        if world.strikes(Fault::Cut, world.plan.faults.cuts) {
            channel.note("ends with", &Bytes::new());
            return;
        }
    }
}

/// A channel as its process sees it.
struct Channel {
    line: Line,
    queue: String,
    receipts: Mutex<BTreeMap<u64, Receipt>>,
    tags: AtomicU64,
    ended: tokio::sync::Notify,
}

impl Channel {
    fn new(line: Line, queue: String) -> Self {
        let (receipts, tags, ended) = (Mutex::default(), AtomicU64::new(0), tokio::sync::Notify::new());
        Self { line, queue, receipts, tags, ended }
    }

    fn note(&self, what: &str, body: &Bytes) {
        self.line.world().note(format_args!("{} {what} {} of {}", self.line.life.name, shown(body), self.queue));
    }

    fn take(self: &Arc<Self>, delivery: Delivery) -> Delivery {
        let Delivery { body, returns, died, receipt } = delivery;
        let tag = self.tags.fetch_add(1, Ordering::Relaxed);
        locked(&self.receipts).insert(tag, receipt);
        Delivery { body, returns, died, receipt: Receipt::new(Arc::clone(self) as Arc<dyn Settle>, tag) }
    }
}

#[async_trait]
impl Settle for Channel {
    async fn settle(&self, tag: u64, how: Settlement) -> bool {
        let (life, world) = (&self.line.life, self.line.world());
        life.moment().await;
        let receipt = locked(&self.receipts).remove(&tag);
        let Some(receipt) = receipt else {
            world.wrong(format!("{} settles a delivery of {} twice", life.name, self.queue));
            return false;
        };
        if world.strikes(Fault::LostAck, world.plan.faults.lost_acks) {
            world.note(format_args!("{} loses an ack of {}, and the channel", life.name, self.queue));
            // The socket took it.
            self.ended.notify_one();
            return true;
        }
        let counted = match how {
            Settlement::Ack => receipt.ack().await,
            Settlement::Return => receipt.give_back().await,
        };
        world.note(format_args!("{} {how:?} #{tag} of {}: {counted}", life.name, self.queue));
        life.moment().await;
        counted
    }
}

struct LineConsumer {
    deliveries: mpsc::Receiver<Delivery>,
    channel: Arc<Channel>,
    closed: Option<oneshot::Sender<Duration>>,
}

#[async_trait]
impl Consumer for LineConsumer {
    async fn next(&mut self) -> Option<Delivery> {
        self.channel.line.life.go_on().await;
        let delivery = self.deliveries.recv().await;
        self.channel.line.life.go_on().await;
        delivery
    }
}

impl Drop for LineConsumer {
    fn drop(&mut self) {
        let world = self.channel.line.world();
        // The kernel of a killed process says goodbye; that of a machine without power does not.
        let silent = self.channel.line.life.state() == State::Dead && world.happens(300);
        let after = if silent { world.span(HEARTBEAT) } else { Duration::ZERO };
        self.closed.take().map(|closed| closed.send(after));
    }
}

struct LineInbox {
    inner: Box<dyn Inbox>,
    line: Line,
}

#[async_trait]
impl Inbox for LineInbox {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn next(&mut self) -> Option<Bytes> {
        let life = &self.line.life;
        let cuts = life.cuts();
        let message = tokio::select! {
            biased;
            () = life.cut_off(cuts) => None,
            message = self.inner.next() => message,
        };
        self.line.life.go_on().await;
        message
    }
}
