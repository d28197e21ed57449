//! RabbitMQ: the [`Broker`] contract over AMQP, on any version from 3.10 to 4.
//!
//! It does not retry, and does not know what it carries. Publishing and consuming have connections of their own, since a broker
//! in alarm stops reading whoever publishes, and with it the acks on that connection. Whatever fails is dropped whole and made
//! anew by the next call; nothing recovers behind the caller's back, because a consumer that is silently resubscribed holds
//! deliveries whose tags mean something else.
//!
//! What would surprise: `ack` that counted was handed to a live connection; if that breaks at once, the delivery comes again.

mod access;
mod consumer;
mod declare;
mod delivery;
mod failure;
mod lane;
mod management;
mod reach;
mod slot;
mod url;

pub use access::{Credentials, password_in};
pub use management::{Management, ManagementError};
pub use url::{BadUrl, RabbitUrl};

use super::{
    Broker, BrokerError, Consumer, Depth, Inbox, MAX_BODY_BYTES, MAX_PREFETCH, PRIVATE_PREFETCH, Published, Route,
};
use crate::process::chance;
use crate::process::joined::joined;
use access::Publishers;
use async_trait::async_trait;
use bytes::Bytes;
use consumer::{RabbitConsumer, RabbitInbox};
use deadpool::Runtime;
use deadpool::managed::{Pool, PoolConfig, PoolError, Timeouts};
use deadpool_lapin::lapin::options::{BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions};
use deadpool_lapin::lapin::types::{FieldTable, ShortString};
use deadpool_lapin::lapin::{Channel, Connection, Error};
use declare::{answers_exchange, full_name, news_exchange};
use failure::{classify, classify_declaration, is_not_found, unreachable};
use lane::{Alarm, Lane, Publication};
use rabbit_reduce_core::topology::{Topology, queue};
use slot::Slot;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// How long connecting may take: name, TCP, handshake and login together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the broker may take to answer anything but a publication; declaring a quorum queue on a busy cluster is slow.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Publishing connections, with one channel each: a channel is one process on the broker, so a second one uses a second core.
const LANES: usize = 2;
/// Bytes of a namespace's name: with a queue's name behind it, it still fits AMQP's 255.
const MAX_NAMESPACE_BYTES: usize = 100;

/// How to reach RabbitMQ, and which namespace to work in.
#[derive(Clone, Debug)]
pub struct RabbitConfig {
    /// Where, as whom, in which virtual host.
    pub url: RabbitUrl,
    /// What the URL does not say.
    pub credentials: Credentials,
    /// The prefix of every name.
    pub namespace: String,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// What RabbitMQ's listings call our connections.
    pub connection_name: String,
}

impl RabbitConfig {
    /// The usual settings; the URL's `connection_timeout` (milliseconds) is respected.
    #[must_use]
    pub fn new(url: RabbitUrl, namespace: impl Into<String>) -> Self {
        let connect_timeout = url.connect_timeout().unwrap_or(CONNECT_TIMEOUT);
        let (credentials, connection_name) = (Credentials::default(), "rabbit-reduce".to_owned());
        Self { url, credentials, namespace: namespace.into(), connect_timeout, connection_name }
    }
}

/// RabbitMQ, in one namespace.
pub struct RabbitBroker {
    config: RabbitConfig,
    pool: Pool<Publishers>,
    lanes: [Slot<Lane>; LANES],
    next_lane: AtomicUsize,
    consuming: Slot<Arc<Connection>>,
    /// For dead letters alone: what breaks connections ends there, and must not return what others hold.
    burying: Slot<Arc<Connection>>,
    alarm: Alarm,
    /// Whether it was let in before.
    was_let_in: AtomicBool,
}

impl fmt::Debug for RabbitBroker {
    // By hand: pools and lanes say nothing to people.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("RabbitBroker").field("config", &self.config).finish_non_exhaustive()
    }
}

impl RabbitBroker {
    /// Connects once, so that a wrong URL or password shows here.
    ///
    /// # Errors
    /// [`BrokerError::Unreachable`] or [`BrokerError::Refused`]; [`BrokerError::Denied`] for a namespace that no broker takes.
    pub async fn connect(config: RabbitConfig) -> Result<Self, BrokerError> {
        check_namespace(&config.namespace)?;
        let broker = Self {
            pool: pool(&config)?,
            lanes: std::array::from_fn(|_| Slot::empty()),
            next_lane: AtomicUsize::new(0),
            consuming: Slot::empty(),
            burying: Slot::empty(),
            alarm: Alarm::default(),
            was_let_in: AtomicBool::new(false),
            config,
        };
        broker.connection(&broker.consuming).await?;
        broker.was_let_in.store(true, Ordering::Relaxed);
        Ok(broker)
    }

    /// The namespace it works in.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.config.namespace
    }

    async fn connection(&self, slot: &Slot<Arc<Connection>>) -> Result<Arc<Connection>, BrokerError> {
        let connect = async {
            self.in_time(async {
                access::open(&self.config, "consume").await.map(Arc::new).map_err(|error| self.unless_it_changes(error))
            })
            .await
        };
        slot.get(|connection| connection.status().connected(), connect).await
    }

    /// A channel of its own for one purpose: an error closes no other's.
    async fn channel(&self) -> Result<Channel, BrokerError> {
        let connection = self.connection(&self.consuming).await?;
        self.answer(connection.create_channel())
            .await
            .map_err(|error| classify(&self.config.url, "open a channel", &error))
    }

    /// Waits for the broker's answer.
    async fn answer<T>(&self, asked: impl Future<Output = Result<T, Error>> + Send) -> Result<T, Error> {
        self.answer_on(&self.consuming, asked).await
    }

    /// The same on another connection. One that does not answer is given up.
    async fn answer_on<T>(
        &self,
        slot: &Slot<Arc<Connection>>,
        asked: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        match tokio::time::timeout(ANSWER_TIMEOUT, asked).await {
            Ok(answer) => answer,
            Err(_) => {
                slot.discard(|_| true).await;
                Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", ANSWER_TIMEOUT.as_secs()))
                    .into())
            }
        }
    }

    async fn lane(&self) -> Result<Lane, BrokerError> {
        let slot = &self.lanes[self.next_lane.fetch_add(1, Ordering::Relaxed) % LANES];
        let open = async {
            let connection = self.pool.get().await.map_err(|error| self.pool_error(error))?;
            let opened = Lane::open(connection, self.config.url.clone(), self.alarm.clone());
            tokio::time::timeout(ANSWER_TIMEOUT, opened).await.unwrap_or_else(|_| Err(self.no_answer(ANSWER_TIMEOUT)))
        };
        slot.get(Lane::is_alive, open).await
    }

    /// Waits for what connects for as long as that may take.
    async fn in_time<T>(&self, connecting: impl Future<Output = Result<T, BrokerError>>) -> Result<T, BrokerError> {
        let within = self.config.connect_timeout;
        tokio::time::timeout(within, connecting).await.unwrap_or_else(|_| Err(self.no_answer(within)))
    }

    fn pool_error(&self, error: PoolError<BrokerError>) -> BrokerError {
        match error {
            PoolError::Backend(error) => self.unless_it_changes(error),
            PoolError::Timeout(_) => self.no_answer(self.config.connect_timeout),
            other => unreachable(&self.config.url, other.to_string()),
        }
    }

    /// A password or certificate out of a file may be on its way: who was let in before tries again.
    fn unless_it_changes(&self, error: BrokerError) -> BrokerError {
        match error {
            BrokerError::Refused { reason, .. }
                if self.config.credentials.let_us_in() && self.was_let_in.load(Ordering::Relaxed) =>
            {
                unreachable(&self.config.url, reason)
            }
            error => error,
        }
    }

    fn no_answer(&self, within: Duration) -> BrokerError {
        unreachable(&self.config.url, format!("no answer within {} ms", within.as_millis()))
    }

    /// Where a message goes; `None` if no queue can have that name.
    fn publication(&self, route: &Route, body: Bytes) -> Option<Publication> {
        let namespace = self.namespace();
        let (exchange, key) = match route {
            Route::Queue(name) => (namespace.to_owned(), name.as_str()),
            // The name came in somebody's message: it must not lead into a work queue.
            Route::Private(name) => {
                (answers_exchange(namespace), Some(name.as_str()).filter(|name| self.is_private(name))?)
            }
            Route::News => (news_exchange(namespace), ""),
        };
        let key = ShortString::try_new(key).ok()?;
        Some(Publication { exchange: exchange.into(), key, mandatory: *route != Route::News, body })
    }

    fn is_private(&self, name: &str) -> bool {
        name.strip_prefix(self.namespace()).is_some_and(|rest| rest.starts_with(".private."))
    }

    /// Consumes from a queue on a channel of its own, prepared first.
    ///
    /// In a task that goes on when the caller stops waiting: a client library's future that is dropped half way leaves a consumer
    /// at the broker that nobody reads, and with it messages that never come back. What the task brings too late is closed.
    async fn subscribe<P>(
        &self,
        from: &str,
        name: ShortString,
        prefetch: u16,
        prepare: impl FnOnce(Channel) -> P + Send + 'static,
    ) -> Result<RabbitConsumer, BrokerError>
    where
        P: Future<Output = Result<Channel, Error>> + Send,
    {
        let slot = if from == queue::DEAD { &self.burying } else { &self.consuming };
        let connection = self.connection(slot).await?;
        let (prefetch, namespace) = (prefetch.clamp(1, MAX_PREFETCH), self.namespace().to_owned());
        let tag = format!("{namespace}.{}", chance::id().simple());
        let opening = tokio::spawn(async move {
            let channel = prepare(connection.create_channel().await?).await?;
            channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
            let options = BasicConsumeOptions::default();
            let subscription = channel.basic_consume(name, tag.into(), options, FieldTable::default()).await?;
            Ok(RabbitConsumer::new(channel, subscription, namespace))
        });
        let opened = async { joined(opening.await).await };
        let denied = |error: Error| classify(&self.config.url, &format!("consume from {from}"), &error);
        self.answer_on(slot, opened).await.map_err(denied)
    }

    fn check_topology(&self, topology: &Topology) -> Result<(), BrokerError> {
        if topology.namespace == self.namespace() {
            return Ok(());
        }
        let reason = format!("this connection works in {}", self.namespace());
        Err(BrokerError::Denied { action: format!("declare namespace {}", topology.namespace), reason })
    }

    fn name_of(&self, queue: &str, action: &str) -> Result<ShortString, BrokerError> {
        ShortString::try_new(full_name(self.namespace(), queue))
            .map_err(|error| BrokerError::Denied { action: format!("{action} {queue}"), reason: error.to_string() })
    }
}

#[async_trait]
impl Broker for RabbitBroker {
    async fn declare(&self, topology: &Topology) -> Result<(), BrokerError> {
        self.check_topology(topology)?;
        let (url, namespace) = (&self.config.url, self.namespace());
        let channel = self.channel().await?;
        let exchanges = self.answer(declare::exchanges(&channel, namespace)).await;
        exchanges.map_err(|error| classify_declaration(url, namespace, &error))?;
        for queue in &topology.queues {
            let name = self.name_of(&queue.name, "declare")?;
            let declared = self.answer(declare::work_queue(&channel, namespace, queue)).await;
            declared.map_err(|error| classify_declaration(url, name.as_str(), &error))?;
        }
        Ok(())
    }

    async fn publish(&self, route: &Route, body: Bytes) -> Result<Published, BrokerError> {
        if body.len() > MAX_BODY_BYTES {
            return Err(BrokerError::TooLarge { bytes: body.len() });
        }
        let Some(publication) = self.publication(route, body) else { return Ok(Published::Returned) };
        self.lane().await?.publish(publication).await
    }

    async fn consume(&self, queue: &str, prefetch: u16) -> Result<Box<dyn Consumer>, BrokerError> {
        let name = self.name_of(queue, "consume from")?;
        let ready = |channel| std::future::ready(Ok(channel));
        Ok(Box::new(self.subscribe(queue, name, prefetch, ready).await?))
    }

    async fn inbox(&self) -> Result<Box<dyn Inbox>, BrokerError> {
        let name = format!("{}.private.{}", self.namespace(), chance::id().simple());
        let (namespace, declared) = (self.namespace().to_owned(), name.clone());
        let declare = |channel| async move {
            declare::private_queue(&channel, &namespace, &declared).await?;
            Ok(channel)
        };
        let consumer = self.subscribe(&name, name.clone().into(), PRIVATE_PREFETCH, declare).await?;
        Ok(Box::new(RabbitInbox::new(name, consumer)))
    }

    async fn depth(&self, queue: &str) -> Result<Option<Depth>, BrokerError> {
        let name = self.name_of(queue, "look at")?;
        let channel = self.channel().await?;
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        match self.answer(channel.queue_declare(name, passive, FieldTable::default())).await {
            Ok(found) => Ok(Some(Depth { messages: found.message_count(), consumers: found.consumer_count() })),
            Err(error) if is_not_found(&error) => Ok(None),
            Err(error) => Err(classify(&self.config.url, &format!("look at {queue}"), &error)),
        }
    }

    async fn bind_store(&self, store_id: &str) -> Result<(), BrokerError> {
        let channel = self.channel().await?;
        let bound = self.answer(declare::store_queue(&channel, self.namespace(), store_id)).await;
        bound
            .map_err(|error| classify_declaration(&self.config.url, &full_name(self.namespace(), queue::STORE), &error))
    }

    fn blocked(&self) -> Option<String> {
        self.alarm.reason()
    }

    async fn teardown(&self, topology: &Topology) -> Result<(), BrokerError> {
        self.check_topology(topology)?;
        let channel = self.channel().await?;
        let deleted = self.answer(declare::delete(&channel, topology)).await;
        deleted.map_err(|error| classify(&self.config.url, "delete the namespace", &error))
    }
}

fn check_namespace(namespace: &str) -> Result<(), BrokerError> {
    let reason = if namespace.is_empty() {
        "it is empty"
    } else if namespace.len() > MAX_NAMESPACE_BYTES {
        "it is longer than 100 bytes"
    } else if namespace.starts_with("amq.") {
        "names that start with amq. belong to the broker"
    } else {
        return Ok(());
    };
    Err(BrokerError::Denied { action: format!("use the namespace {namespace:?}"), reason: reason.to_owned() })
}

fn pool(config: &RabbitConfig) -> Result<Pool<Publishers>, BrokerError> {
    let timeout = Some(config.connect_timeout);
    let timeouts = Timeouts { wait: timeout, create: timeout, recycle: timeout };
    let settings = PoolConfig { timeouts, ..PoolConfig::new(LANES) };
    let built = Pool::builder(Publishers(config.clone())).config(settings).runtime(Runtime::Tokio1).build();
    built
        .map_err(|error| BrokerError::Denied { action: "make a connection pool".to_owned(), reason: error.to_string() })
}
