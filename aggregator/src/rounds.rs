//! Messages that are for other aggregators, put back at the end of their queue.
//!
//! What would surprise: each is published anew rather than returned, since a return is counted, and enough of them would be taken
//! for a failure; and the pause comes once all that stands in the queue has had its turn, not with each message, or many of them
//! would hold up for hours what stands between them.

use crate::PATIENCE;
use bytes::Bytes;
use rabbit_reduce_core::message::checksum;
use rabbit_reduce_runtime::broker::stored::publish_stored;
use rabbit_reduce_runtime::broker::{Broker, Receipt, Route};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Between two rounds.
const PAUSE: Duration = Duration::from_secs(5);

/// Of each queue, its round.
#[derive(Default)]
pub(crate) struct Rounds(Mutex<BTreeMap<String, Arc<Turn>>>);

/// Who puts back messages of one queue, one after the other.
#[derive(Default)]
struct Turn {
    /// How many wait for it.
    waiting: AtomicU32,
    round: tokio::sync::Mutex<Round>,
}

/// Once around a queue.
#[derive(Debug, Default)]
struct Round {
    /// The checksum of the message that began it: when that comes again, it is over.
    first: u64,
    /// How many more may be put back before the next pause.
    left: u32,
}

impl Rounds {
    /// Puts a message back, and says once a round why. One that cannot be published is returned.
    pub(crate) async fn hand_back(
        &self,
        broker: &dyn Broker,
        queue: String,
        message: Bytes,
        receipt: Receipt,
        why: &str,
    ) {
        let turn = Arc::clone(self.0.lock().expect("nobody panics with it").entry(queue.clone()).or_default());
        turn.waiting.fetch_add(1, Ordering::Relaxed);
        let mut round = turn.round.lock().await;
        turn.waiting.fetch_sub(1, Ordering::Relaxed);
        let sum = checksum(&message, &[], &[]);
        if !round.takes_part(sum) {
            tracing::error!(queue, why, "messages go back");
            tokio::time::sleep(PAUSE).await;
            // Who cannot look lets those have their turn who wait here.
            let behind = broker.depth(&queue).await.ok().flatten().map_or(0, |depth| depth.messages);
            *round = Round { first: sum, left: behind.saturating_add(turn.waiting.load(Ordering::Relaxed)) };
        }
        drop(round);
        let _counted: bool = match publish_stored(broker, &Route::Queue(queue), message, Some(PATIENCE)).await {
            Ok(()) => receipt.ack().await,
            Err(error) => {
                tracing::error!(%error, "a message for others cannot be put back; it is returned");
                receipt.give_back().await
            }
        };
    }
}

impl Round {
    /// Whether a message belongs to it.
    const fn takes_part(&mut self, sum: u64) -> bool {
        if self.left == 0 || self.first == sum {
            return false;
        }
        self.left -= 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_ends_when_all_had_their_turn_or_the_first_comes_again() {
        assert!(!Round::default().takes_part(0));
        let mut short = Round { first: 1, left: 2 };
        assert_eq!([2, 3, 4].map(|sum| short.takes_part(sum)), [true, true, false]);
        // What stood between them was taken meanwhile.
        let mut long = Round { first: 1, left: 50_000 };
        assert_eq!([2, 1].map(|sum| long.takes_part(sum)), [true, false]);
    }
}
