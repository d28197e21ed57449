//! The queues as data: what a transport declares, and nothing about how.
//!
//! RabbitMQ and the embedded broker interpret the same description. What would surprise: a queue's caps are part of its
//! identity on RabbitMQ; declaring it again with other ones is refused.

use std::time::Duration;

/// Partial queues of a namespace; partition p travels in `reduce.(p mod Q)`.
pub const REDUCE_QUEUES: u32 = 8;
/// Bytes that a work queue holds before it refuses more.
pub const QUEUE_BYTES: u64 = 256 << 20;
/// Tasks that `map` holds: back-pressure on producers, and fairness between jobs.
pub const MAP_MESSAGES: u64 = 256;
/// What `unreadable` holds: what it is about, headers, is in no sum of bytes.
pub const UNREADABLE_MESSAGES: u64 = 1000;
/// Returns of a message before the broker sets it aside: a signal, never a verdict.
pub const DELIVERY_LIMIT: u32 = 20;
/// For queues where nothing may be set aside by count; RabbitMQ before 4.0 reads -1 as "at once", so a large number.
pub const UNLIMITED_DELIVERIES: u32 = 1_000_000;
/// Returns of a dead letter before the broker sets it aside: nobody who could deal with it brings it back so often.
pub const DEAD_DELIVERIES: u32 = 200;
/// How long `retry` keeps a task before it goes to `again`.
pub const RETRY_DELAY: Duration = Duration::from_secs(5);

/// A durable work queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Its name inside the namespace, which is also its routing key.
    pub name: String,
    /// Publishing beyond this many messages is refused (nacked).
    pub max_messages: Option<u64>,
    /// Publishing beyond this many bytes is refused (nacked).
    pub max_bytes: Option<u64>,
    /// Returns after which the broker dead-letters a message.
    pub delivery_limit: u32,
    /// How long a message stays before it is dead-lettered.
    pub ttl: Option<Duration>,
    /// The queue of this namespace that dead letters go to.
    pub dead_letter_to: Option<String>,
}

/// Everything a namespace declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// The prefix of every name, and the exchange's name.
    pub namespace: String,
    /// The work queues.
    pub queues: Vec<Queue>,
}

/// Names of the queues, so that none is spelt twice.
pub mod queue {
    /// Tasks.
    pub const MAP: &str = "map";
    /// Tasks whose delay is over.
    pub const AGAIN: &str = "again";
    /// Tasks that may have killed a worker.
    pub const SUSPECT: &str = "suspect";
    /// Single pairs larger than a segment.
    pub const REDUCE_LARGE: &str = "reduce.large";
    /// Requests to aggregators.
    pub const CONTROL: &str = "control";
    /// Tasks that wait for their next attempt.
    pub const RETRY: &str = "retry";
    /// Failures on their way back.
    pub const DEAD: &str = "dead";
    /// What nobody could take from `dead`, as its headers are longer than clients take; nobody consumes it.
    pub const UNREADABLE: &str = "unreadable";
    /// Binds the namespace to one store; carries nothing.
    pub const STORE: &str = "store";

    /// The queue that carries a partition.
    #[must_use]
    pub fn reduce(partition: crate::id::PartitionNumber, queues: u32) -> String {
        format!("reduce.{}", partition.0 % queues)
    }
}

impl Topology {
    /// The namespace's work queues, each holding at most `queue_bytes`.
    #[must_use]
    pub fn new(namespace: &str, queue_bytes: u64) -> Self {
        let work = |name: &str| Queue {
            name: name.to_owned(),
            max_messages: None,
            max_bytes: Some(queue_bytes),
            delivery_limit: DELIVERY_LIMIT,
            ttl: None,
            dead_letter_to: Some(queue::DEAD.to_owned()),
        };
        let mut queues = vec![
            Queue { max_messages: Some(MAP_MESSAGES), ..work(queue::MAP) },
            Queue { max_bytes: None, ..work(queue::AGAIN) },
            work(queue::SUSPECT),
            work(queue::REDUCE_LARGE),
            work(queue::CONTROL),
            Queue {
                delivery_limit: UNLIMITED_DELIVERIES,
                ttl: Some(RETRY_DELAY),
                dead_letter_to: Some(queue::AGAIN.to_owned()),
                ..work(queue::RETRY)
            },
            Queue {
                delivery_limit: DEAD_DELIVERIES,
                dead_letter_to: Some(queue::UNREADABLE.to_owned()),
                ..work(queue::DEAD)
            },
            Queue {
                max_messages: Some(UNREADABLE_MESSAGES),
                delivery_limit: UNLIMITED_DELIVERIES,
                dead_letter_to: None,
                ..work(queue::UNREADABLE)
            },
        ];
        queues.extend((0..REDUCE_QUEUES).map(|number| work(&format!("reduce.{number}"))));
        Self { namespace: namespace.to_owned(), queues }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dead_letter_goes_to_a_queue_that_is_declared() {
        let topology = Topology::new("test", QUEUE_BYTES);
        for queue in &topology.queues {
            if let Some(target) = &queue.dead_letter_to {
                assert!(topology.queues.iter().any(|other| other.name == *target), "{} → {target}", queue.name);
            }
        }
    }

    #[test]
    fn only_the_queue_that_nobody_consumes_lets_nothing_be_set_aside() {
        let ends: Vec<_> = Topology::new("test", 1).queues.into_iter().filter(|q| q.dead_letter_to.is_none()).collect();
        assert_eq!(ends.iter().map(|q| q.name.as_str()).collect::<Vec<_>>(), ["unreadable"]);
    }
}
