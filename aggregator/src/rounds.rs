//! Messages that are for other aggregators, put back at the end of their queue.
//!
//! What would surprise: each is published anew rather than returned, since a return is counted, and enough of them would be taken
//! for a failure; and the pause comes once all that stands in the queue has had its turn, not with each message, or many of them
//! would hold up for hours what stands between them.

use bytes::Bytes;
use rabbit_reduce_runtime::broker::stored::publish_stored;
use rabbit_reduce_runtime::broker::{Broker, Receipt, Route};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

/// Between two rounds.
const PAUSE: Duration = Duration::from_secs(5);
/// Who cannot publish for so long returns the message.
const PATIENCE: Duration = Duration::from_secs(60);

/// What only others can use.
pub(crate) const FOR_OTHERS: &str =
    "start aggregators of their release, that know their program and may run its commands";

/// For each queue, how many more may be put back before the next pause.
#[derive(Default)]
pub(crate) struct Rounds(Mutex<BTreeMap<String, u32>>);

impl Rounds {
    /// Puts a message back, and says why once a round. One that cannot be published is returned.
    pub(crate) async fn hand_back(
        &self,
        broker: &dyn Broker,
        queue: String,
        message: Bytes,
        receipt: Receipt,
        why: &str,
    ) {
        if !self.takes_part(&queue) {
            tracing::error!(queue, why, "messages go back");
            tokio::time::sleep(PAUSE).await;
            // Who cannot look puts one back each time.
            let waiting = broker.depth(&queue).await.ok().flatten().map_or(0, |depth| depth.messages);
            self.begin(&queue, waiting);
        }
        let _counted: bool = match publish_stored(broker, &Route::Queue(queue), message, Some(PATIENCE)).await {
            Ok(()) => receipt.ack().await,
            Err(error) => {
                tracing::error!(%error, "a message for others cannot be put back; it is returned");
                receipt.give_back().await
            }
        };
    }

    /// Whether one more belongs to the round.
    fn takes_part(&self, queue: &str) -> bool {
        let mut rounds = self.0.lock().expect("nobody panics with it");
        let Some(left) = rounds.get_mut(queue).filter(|left| **left > 0) else { return false };
        *left -= 1;
        true
    }

    /// Begins a round of what waits behind the message that is put back now.
    fn begin(&self, queue: &str, waiting: u32) {
        self.0.lock().expect("nobody panics with it").insert(queue.to_owned(), waiting);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_is_as_long_as_its_queue_was() {
        let rounds = Rounds::default();
        assert!(!rounds.takes_part("dead"));
        rounds.begin("dead", 2);
        rounds.begin("reduce.1", 0);
        assert_eq!(
            ["dead", "reduce.1", "dead", "dead"].map(|queue| rounds.takes_part(queue)),
            [true, false, true, false]
        );
    }
}
