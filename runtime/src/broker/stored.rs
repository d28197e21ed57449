//! Publishing until it is stored: a full queue and a lost connection are waited out, with growing pauses.
//!
//! It does not know what is published, nor whether it was stored before: a publication of unknown fate is published again, and
//! what arrives twice does no harm. The pauses are a pure function of the attempt and a random number.

use super::{Broker, BrokerError, Published, Route};
use crate::process::chance;
use bytes::Bytes;
use std::time::Duration;

/// The first pause.
const SHORTEST: Duration = Duration::from_millis(2);
/// The longest pause: short enough that a queue with room again is soon used.
const LONGEST: Duration = Duration::from_millis(500);

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
                Ok(Published::Refused) => last = Some(denied(route, "the queue is full".to_owned())),
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

    #[test]
    fn pauses_grow_and_stay_bounded() {
        let pauses: Vec<_> = (1..40).map(|attempt| pause(attempt, 1.0)).collect();
        assert!(pauses.is_sorted());
        assert_eq!((pauses[0], pauses[38]), (SHORTEST, LONGEST));
        assert_eq!(pause(1, 0.0), SHORTEST / 2);
    }
}
