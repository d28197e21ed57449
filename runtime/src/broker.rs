//! What the roles need of a message broker, and the contract that every broker keeps.
//!
//! # The contract
//! Each rule has a test of its number in `tests`, run against RabbitMQ and against the embedded broker.
//!
//! 1. A publication is confirmed only when it is stored in a queue; until then the caller waits. One that ends in an error may
//!    have been stored all the same: publish it again.
//! 2. A publication to a queue that is full is refused; nothing of it is stored. What was under way when the queue filled may
//!    still be taken, and a queue that was full may refuse until a fifth of it is free.
//! 3. A publication that no queue takes is returned, and told apart from a refusal. The news is the exception.
//! 4. A delivery that is not settled comes back when its consumer, channel or connection ends, with its count raised.
//! 5. A delivery is settled once: acked (gone) or returned to its queue (its count raised).
//! 6. A consumer holds at most its prefetch of unsettled deliveries.
//! 7. A delivery returned more often than its queue's limit goes to the queue's dead letters, once or more, with the reason.
//! 8. A message older than its queue's time to live goes to the queue's dead letters.
//! 9. Of two messages of a queue that nobody returned, the one confirmed before the other was published is delivered first;
//!    returned ones come sooner.
//! 10. Declaring again with the same arguments does nothing; with others it fails and names the queue.
//! 11. A private queue lives as long as its consumer, takes news and what is addressed to it, and drops its oldest when full.
//! 12. A queue tells how many messages wait and how many consumers it has.
//! 13. A settlement of a delivery whose channel is gone reports that it did not count.
//! 14. Unknown headers and bodies of zero bytes pass unchanged; a body over the limit is refused before it is sent.

pub mod embedded;
pub mod rabbit;
pub mod stored;

use async_trait::async_trait;
use bytes::Bytes;
use rabbit_reduce_core::topology::Topology;
use std::fmt;
use std::sync::Arc;

/// The largest body that is ever published: RabbitMQ 4 refuses more than 16 MiB.
pub const MAX_BODY_BYTES: usize = 12 << 20;
/// The largest prefetch: quorum queues of some versions go no further than 2000, and memory is prefetch times body.
pub const MAX_PREFETCH: u16 = 1000;
/// Messages that a private queue holds before it drops its oldest.
pub const PRIVATE_MESSAGES: u64 = 1024;
/// Bytes that a private queue holds before it drops its oldest: a few of the largest answers.
pub const PRIVATE_BYTES: u64 = 64 << 20;
/// Messages of a private queue that are under way to its process at once.
pub(crate) const PRIVATE_PREFETCH: u16 = 16;

/// Where a publication goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// To a work queue of the namespace; it must be stored there.
    Queue(String),
    /// To one process's private queue, by the name that [`Inbox::name`] told; lost if that process is gone (see rule 3:
    /// then it is returned).
    Private(String),
    /// To every private queue; a hint, so nobody listening is fine.
    News,
}

/// What the broker did with a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "only a confirmed publication is stored"]
pub enum Published {
    /// Stored.
    Confirmed,
    /// Refused for now: the queue is full. Publish again later.
    Refused,
    /// No such queue.
    Returned,
}

/// A message as it arrives.
#[derive(Debug)]
#[must_use = "a delivery is settled, or it comes back"]
pub struct Delivery {
    /// The message.
    pub body: Bytes,
    /// How often it was returned before; 0 the first time.
    pub returns: u32,
    /// Why the broker dead-lettered it, and from which queue (its name inside the namespace); `None` for a message as published.
    pub died: Option<Death>,
    /// The means to settle it.
    pub receipt: Receipt,
}

/// A broker's dead-lettering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    /// The queue it left, inside the namespace.
    pub queue: String,
    /// `delivery_limit`, `expired`, `rejected` or `maxlen`, as RabbitMQ says it.
    pub reason: String,
}

/// Settles one delivery, once. Dropping it settles nothing: the delivery stays unsettled until its channel ends.
pub struct Receipt {
    channel: Arc<dyn Settle>,
    tag: u64,
}

impl fmt::Debug for Receipt {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Receipt({})", self.tag)
    }
}

/// How a delivery ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Done: it goes.
    Ack,
    /// Back to the queue, counted as a return.
    Return,
}

/// What settles deliveries of one channel.
#[async_trait]
pub trait Settle: Send + Sync {
    /// Whether it counted: `false` if the channel is gone.
    async fn settle(&self, tag: u64, how: Settlement) -> bool;
}

impl Receipt {
    /// For the delivery that a channel knows by a tag.
    #[must_use]
    pub const fn new(channel: Arc<dyn Settle>, tag: u64) -> Self {
        Self { channel, tag }
    }

    /// For no delivery: settling it does nothing, and counts. For mistakes that are made on purpose.
    #[must_use]
    pub fn spent() -> Self {
        struct Nothing;
        #[async_trait]
        impl Settle for Nothing {
            async fn settle(&self, _: u64, _: Settlement) -> bool {
                true
            }
        }
        Self::new(Arc::new(Nothing), 0)
    }

    /// The delivery is done. `false` if its channel is gone: it may come again. `true` says that a live channel took it, which is
    /// all that the protocol can say: if the connection breaks at once, the delivery comes again nevertheless.
    pub async fn ack(self) -> bool {
        self.channel.settle(self.tag, Settlement::Ack).await
    }

    /// The delivery goes back to its queue, counted as a return. `false` if its channel is gone: it came back by itself.
    pub async fn give_back(self) -> bool {
        self.channel.settle(self.tag, Settlement::Return).await
    }
}

/// A subscription. Dropping it ends it and gives all its unsettled deliveries back.
#[async_trait]
pub trait Consumer: Send {
    /// The next delivery. Safe to stop waiting for: nothing is lost. `None` when the channel is gone, after which nothing it delivered can be settled: consume anew.
    async fn next(&mut self) -> Option<Delivery>;
}

/// A process's private queue. Dropping it ends it. Its messages are acked as they arrive.
#[async_trait]
pub trait Inbox: Send {
    /// The name that [`Route::Private`] takes.
    fn name(&self) -> &str;
    /// The next message. Safe to stop waiting for: nothing is lost. `None` when the channel is gone: open another.
    async fn next(&mut self) -> Option<Bytes>;
}

/// A queue's depth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Messages that wait to be delivered.
    pub messages: u32,
    /// Consumers.
    pub consumers: u32,
}

/// Why a broker did not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BrokerError {
    /// It cannot be reached, or the connection was lost. Trying again may help.
    #[error("the broker at {address} cannot be reached: {reason}")]
    Unreachable {
        /// Host and port, without credentials.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// It refuses these credentials or this virtual host. Trying again does not help.
    #[error("the broker at {address} refuses access: {reason}")]
    Refused {
        /// Host and port, without credentials.
        address: String,
        /// What it said, and the remedy.
        reason: String,
    },
    /// The namespace is declared otherwise: by another version, other settings, or for another store.
    #[error("queue {queue} exists with other arguments: {reason}")]
    Mismatch {
        /// The queue's full name.
        queue: String,
        /// What the broker said, and the remedy.
        reason: String,
    },
    /// A body over [`MAX_BODY_BYTES`].
    #[error("a message of {bytes} bytes is over the limit of {MAX_BODY_BYTES}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The broker says no to something that is none of the above.
    #[error("the broker refuses to {action}: {reason}")]
    Denied {
        /// What was asked for.
        action: String,
        /// What it said.
        reason: String,
    },
}

impl BrokerError {
    /// Whether the same call may succeed later without anyone's doing.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}

/// A message broker.
#[async_trait]
pub trait Broker: Send + Sync + fmt::Debug {
    /// Declares the namespace: its exchanges and queues.
    async fn declare(&self, topology: &Topology) -> Result<(), BrokerError>;
    /// Publishes one persistent message and waits for what became of it. Many calls may be under way at once. Whoever stops
    /// waiting does not learn whether it is stored. While the broker is blocked this waits, and fails after half a minute.
    async fn publish(&self, route: &Route, body: Bytes) -> Result<Published, BrokerError>;
    /// Consumes from a queue, holding at most `prefetch` unsettled deliveries.
    async fn consume(&self, queue: &str, prefetch: u16) -> Result<Box<dyn Consumer>, BrokerError>;
    /// Opens a private queue.
    async fn inbox(&self) -> Result<Box<dyn Inbox>, BrokerError>;
    /// How deep a queue is; `None` if there is no such queue.
    async fn depth(&self, queue: &str) -> Result<Option<Depth>, BrokerError>;
    /// Binds the namespace to a store by its id: the first to come wins, [`BrokerError::Mismatch`] for any other.
    async fn bind_store(&self, store_id: &str) -> Result<(), BrokerError>;
    /// Whether the broker has stopped taking publications (a memory or disk alarm), with its reason.
    fn blocked(&self) -> Option<String>;
    /// Deletes every queue and exchange of the namespace, with what they hold.
    async fn teardown(&self, topology: &Topology) -> Result<(), BrokerError>;
}
