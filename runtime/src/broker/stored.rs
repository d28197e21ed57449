//! Publishing until it is stored: a full queue and a lost connection are waited out, with growing pauses.
//!
//! It does not know what is published, nor whether it was stored before: a publication of unknown fate is published again, and
//! what arrives twice does no harm. The pauses are a pure function of the attempt and a random number. What would surprise: a
//! full queue is asked for its depth, and not sent the same body until it refuses it no more: bodies are large, and a queue that
//! was full refuses until much of it is free.

use super::{Broker, BrokerError, Published, Route};
use crate::process::chance;
use bytes::Bytes;
use rabbit_reduce_core::topology::QUEUE_BYTES;
use std::time::Duration;
use tokio::sync::Mutex;

/// The first pause.
const SHORTEST: Duration = Duration::from_millis(2);
/// The longest pause: short enough that a queue with room again is soon used.
const LONGEST: Duration = Duration::from_millis(500);

/// Looks at a full queue before it is tried again whatever its depth: messages of others may be smaller than ours.
const LOOKS: u32 = 12;

/// The pause before attempt `attempt` (from 1), `random` in 0..1: doubling, between half of it and all of it.
#[must_use]
pub fn pause(attempt: u32, random: f64) -> Duration {
    let full = SHORTEST.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(LONGEST);
    full.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
}

/// Pauses by [`pause`].
pub async fn pause_before(attempt: u32) {
    tokio::time::sleep(pause(attempt, chance::fraction())).await;
}

/// Publishes, again and again, until the broker has stored it; gives up after `patience`, or at once on what does not pass.
///
/// # Errors
/// The last error; for a queue that stayed full, or is not there, one that names it.
pub async fn publish_stored(
    broker: &dyn Broker,
    route: &Route,
    body: Bytes,
    patience: Option<Duration>,
) -> Result<(), BrokerError> {
    let mut attempt = 0;
    let mut last = None;
    let trying = async {
        loop {
            match broker.publish(route, body.clone()).await {
                Ok(Published::Confirmed) => return Ok(()),
                Ok(Published::Refused) => {
                    last = Some(denied(route, "the queue is full".to_owned()));
                    attempt = wait_for_room(broker, route, attempt).await;
                    continue;
                }
                Ok(Published::Returned) => return Err(denied(route, "there is no such queue (any more)".to_owned())),
                Err(error) if error.may_pass() => last = Some(error),
                Err(error) => return Err(error),
            }
            attempt += 1;
            pause_before(attempt).await;
        }
    };
    match patience {
        None => trying.await,
        Some(patience) => match tokio::time::timeout(patience, trying).await {
            Ok(outcome) => outcome,
            Err(_) => Err(last.unwrap_or_else(|| denied(route, format!("nothing was confirmed in {patience:?}")))),
        },
    }
}

/// Waits until a quarter of what waits in a full queue is gone; the attempt that the last pause was for.
async fn wait_for_room(broker: &dyn Broker, route: &Route, mut attempt: u32) -> u32 {
    let full = waiting(broker, route).await;
    for _ in 0..LOOKS {
        attempt += 1;
        pause_before(attempt).await;
        // Of a queue that cannot be asked, publishing tells.
        let (Some(full), Some(now)) = (full, waiting(broker, route).await) else { break };
        if now <= full - full / 4 {
            break;
        }
    }
    attempt
}

/// How many messages wait where a route goes, if that can be told.
async fn waiting(broker: &dyn Broker, route: &Route) -> Option<u32> {
    let Route::Queue(queue) = route else { return None };
    broker.depth(queue).await.ok()?.map(|depth| depth.messages)
}

/// Keeps who publishes large bodies, one after the other, from filling a queue: half of it is left to others, and nothing is
/// sent only to be refused.
#[derive(Debug)]
pub struct Throttle {
    route: Route,
    /// Messages that wait in the queue at most.
    most: u32,
    /// How many more there is room for, as far as was seen.
    room: Mutex<u32>,
}

impl Throttle {
    /// For a queue that holds so many messages, and [`QUEUE_BYTES`], and for bodies of such a size.
    #[must_use]
    pub fn new(route: Route, messages: u64, body_bytes: u64) -> Self {
        let most = (messages / 2).min(QUEUE_BYTES / 2 / body_bytes.max(1)).max(1);
        Self { route, most: u32::try_from(most).unwrap_or(u32::MAX), room: Mutex::new(0) }
    }

    /// Waits until there is room for one more, as far as the queue's depth tells.
    pub async fn pass(&self, broker: &dyn Broker) {
        let mut room = self.room.lock().await;
        let mut attempt = 0;
        while *room == 0 {
            // Where the depth is not told, publishing tells whether there is room.
            *room = waiting(broker, &self.route).await.map_or(1, |waiting| self.most.saturating_sub(waiting));
            if *room == 0 {
                attempt += 1;
                pause_before(attempt).await;
            }
        }
        *room -= 1;
    }
}

fn denied(route: &Route, reason: String) -> BrokerError {
    let place = match route {
        Route::Queue(name) => format!("queue {name}"),
        Route::Private(name) => format!("private queue {name}"),
        Route::News => "the news".to_owned(),
    };
    BrokerError::Denied { action: format!("store a message in {place}"), reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::embedded::EmbeddedBroker;
    use rabbit_reduce_core::topology::Topology;
    use std::pin::pin;

    const QUEUE: &str = "map";

    async fn broker(queue_bytes: u64) -> EmbeddedBroker {
        let broker = EmbeddedBroker::new();
        broker.declare(&Topology::new("test", queue_bytes)).await.unwrap();
        broker
    }

    fn route() -> Route {
        Route::Queue(QUEUE.to_owned())
    }

    /// Takes and acks one message.
    async fn take_one(broker: &EmbeddedBroker) {
        let mut consumer = broker.consume(QUEUE, 1).await.unwrap();
        assert!(consumer.next().await.unwrap().receipt.ack().await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_is_not_sent_the_same_body_until_much_of_it_is_free() {
        let broker = broker(1000).await;
        let body = Bytes::from(vec![0; 100]);
        while broker.publish(&route(), body.clone()).await.unwrap() == Published::Confirmed {}
        let full = waiting(&broker, &route()).await.unwrap();
        assert!(full > 8);
        let route = route();
        let mut waiting = pin!(wait_for_room(&broker, &route, 0));
        for _ in 0..full / 4 {
            assert!(tokio::time::timeout(SHORTEST, &mut waiting).await.is_err());
            take_one(&broker).await;
        }
        let patient = LONGEST * LOOKS / 2;
        assert!(tokio::time::timeout(patient, waiting).await.is_ok_and(|attempt| attempt > 1 && attempt < LOOKS));
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_that_stays_as_it_is_is_tried_again() {
        let broker = broker(1000).await;
        let body = Bytes::from(vec![0; 100]);
        while broker.publish(&route(), body.clone()).await.unwrap() == Published::Confirmed {}
        assert_eq!(wait_for_room(&broker, &route(), 3).await, 3 + LOOKS);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_throttled_leaves_half_of_the_queue_to_others() {
        let broker = broker(QUEUE_BYTES).await;
        let throttle = Throttle::new(route(), 10, 1);
        let publish = async || {
            throttle.pass(&broker).await;
            publish_stored(&broker, &route(), Bytes::from_static(b"."), None).await.unwrap();
        };
        for _ in 0..5 {
            publish().await;
        }
        assert!(tokio::time::timeout(LONGEST * 10, publish()).await.is_err());
        take_one(&broker).await;
        publish().await;
        assert_eq!(waiting(&broker, &route()).await, Some(5));
        let large = Throttle::new(route(), 256, QUEUE_BYTES / 4);
        assert_eq!(large.most, 2);
    }

    #[test]
    fn pauses_grow_and_stay_bounded() {
        let pauses: Vec<_> = (1..40).map(|attempt| pause(attempt, 1.0)).collect();
        assert!(pauses.is_sorted());
        assert_eq!((pauses[0], pauses[38]), (SHORTEST, LONGEST));
        assert_eq!(pause(1, 0.0), SHORTEST / 2);
    }
}
