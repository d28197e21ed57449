//! A broker with a namespace of the test's own, gone when the test ends, also by a panic.
//!
//! It does not know what is tested. What would surprise: tearing down runs on a thread with a runtime of its own, because the
//! test's may be unwinding.

use crate::rabbit;
use crate::wait::within;
use bytes::Bytes;
use rabbit_reduce_core::topology::{Queue, Topology};
use rabbit_reduce_runtime::broker::embedded::EmbeddedBroker;
use rabbit_reduce_runtime::broker::rabbit::{RabbitBroker, RabbitConfig};
use rabbit_reduce_runtime::broker::{Broker, Delivery, Published, Route};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Returns after which the queues of a [`Home`] set a message aside.
pub const LIMIT: u32 = 2;
/// Messages that the queue `small` holds.
pub const SMALL: u64 = 5;
/// How long the queue `later` keeps a message.
pub const LATER: Duration = Duration::from_millis(200);

/// A declared namespace on a broker: unless said otherwise the queues `work`, `small` (of [`SMALL`] messages), `later` (for
/// [`LATER`]) and `dead`.
pub struct Home {
    /// The broker.
    pub broker: Arc<dyn Broker>,
    /// What is declared.
    pub topology: Topology,
    on_rabbit: bool,
    /// What others connect to, if it is not the broker itself.
    detour: Option<String>,
}

impl Home {
    /// In this process.
    pub async fn embedded() -> Self {
        Self::embedded_with(topology()).await
    }

    /// In this process, with other queues.
    pub async fn embedded_with(topology: Topology) -> Self {
        Self::declared(Arc::new(EmbeddedBroker::new()), topology, false).await
    }

    /// On the RabbitMQ of `AMQP_URL`.
    pub async fn rabbit() -> Self {
        Self::rabbit_with(topology()).await
    }

    /// On the RabbitMQ of `AMQP_URL`, with other queues.
    pub async fn rabbit_with(topology: Topology) -> Self {
        let broker = connect(&rabbit(), &topology.namespace).await;
        Self::declared(Arc::new(broker), topology, true).await
    }

    /// From now on [`Home::connect`] goes to this URL, from where the broker is reached too.
    #[must_use]
    pub fn reached_by(mut self, url: String) -> Self {
        self.detour = Some(url);
        self
    }

    /// Another process's way to it: connections of its own, where there are any.
    pub async fn connect(&self) -> Arc<dyn Broker> {
        if self.on_rabbit {
            let url = self.detour.clone().unwrap_or_else(rabbit);
            Arc::new(connect(&url, &self.topology.namespace).await)
        } else {
            Arc::clone(&self.broker)
        }
    }

    async fn declared(broker: Arc<dyn Broker>, topology: Topology, on_rabbit: bool) -> Self {
        let home = Self { broker, topology, on_rabbit, detour: None };
        within("declare", home.broker.declare(&home.topology)).await.expect("the namespace is new");
        home
    }

    /// Publishes to a queue.
    pub async fn publish(&self, queue: &str, body: impl Into<Bytes>) -> Published {
        publish(&*self.broker, &Route::Queue(queue.to_owned()), body).await
    }

    /// Publishes to a queue, which takes it.
    pub async fn store(&self, queue: &str, body: impl Into<Bytes>) {
        assert_eq!(self.publish(queue, body).await, Published::Confirmed);
    }

    /// The queue's depth.
    pub async fn depth(&self, queue: &str) -> rabbit_reduce_runtime::broker::Depth {
        self.broker.depth(queue).await.expect("the broker answers").expect("the queue exists")
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if self.on_rabbit {
            let topology = self.topology.clone();
            let torn_down = std::thread::spawn(move || {
                let runtime = tokio::runtime::Runtime::new().expect("a runtime");
                runtime.block_on(async {
                    let broker = connect(&rabbit(), &topology.namespace).await;
                    within("tear down", broker.teardown(&topology)).await.expect("a namespace can be torn down");
                });
            })
            .join();
            // A second panic would hide the first.
            assert!(torn_down.is_ok() || std::thread::panicking(), "the namespace is left behind");
        }
    }
}

/// Publishes and expects an answer.
pub async fn publish(broker: &dyn Broker, route: &Route, body: impl Into<Bytes>) -> Published {
    within("publish", broker.publish(route, body.into())).await.expect("the broker answers")
}

/// Connects to RabbitMQ.
pub async fn connect(url: &str, namespace: &str) -> RabbitBroker {
    let config = RabbitConfig::new(url.parse().expect("AMQP_URL is a URL"), namespace);
    RabbitBroker::connect(config).await.expect("RabbitMQ runs where AMQP_URL says")
}

/// A delivery's body as text.
#[must_use]
pub fn text(delivery: &Delivery) -> String {
    String::from_utf8_lossy(&delivery.body).into_owned()
}

/// A name that nobody else has.
#[must_use]
pub fn fresh_namespace() -> String {
    format!("test-{}", Uuid::new_v4().simple())
}

fn topology() -> Topology {
    let queue = |name: &str| Queue {
        name: name.to_owned(),
        max_messages: None,
        max_bytes: Some(64 << 20),
        delivery_limit: LIMIT,
        ttl: None,
        dead_letter_to: Some("dead".to_owned()),
    };
    Topology {
        namespace: fresh_namespace(),
        queues: vec![
            queue("work"),
            Queue { max_messages: Some(SMALL), ..queue("small") },
            Queue { ttl: Some(LATER), ..queue("later") },
            Queue { dead_letter_to: None, ..queue("dead") },
        ],
    }
}
