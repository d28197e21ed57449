//! Something that breaks and is made anew by whoever needs it next: a connection, a publishing lane.
//!
//! It does not know what it holds, and never waits before it tries: backing off is the caller's. What would surprise: callers
//! that waited while an attempt failed get that attempt's error instead of each trying in turn, so that a hundred publications
//! fail after one time-out and not after a hundred.

use crate::broker::BrokerError;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Mutex;

/// A value that may be missing.
pub(super) struct Slot<T> {
    /// Attempts that have ended.
    attempts: AtomicU64,
    held: Mutex<Held<T>>,
}

struct Held<T> {
    value: Option<T>,
    error: Option<BrokerError>,
}

impl<T: Clone> Slot<T> {
    pub(super) fn empty() -> Self {
        Self { attempts: AtomicU64::new(0), held: Mutex::new(Held { value: None, error: None }) }
    }

    /// The value if it is alive, else a new one.
    pub(super) async fn get(
        &self,
        alive: impl Fn(&T) -> bool,
        make: impl Future<Output = Result<T, BrokerError>> + Send,
    ) -> Result<T, BrokerError> {
        let before = self.attempts.load(Ordering::Acquire);
        let mut held = self.held.lock().await;
        if let Some(value) = held.value.as_ref().filter(|value| alive(value)) {
            return Ok(value.clone());
        }
        // Dropped first: it may hold the place that the new one needs.
        held.value = None;
        if self.attempts.load(Ordering::Acquire) != before
            && let Some(error) = &held.error
        {
            return Err(error.clone());
        }
        let made = make.await;
        self.attempts.fetch_add(1, Ordering::AcqRel);
        held.error = made.as_ref().err().cloned();
        held.value = made.as_ref().ok().cloned();
        made
    }

    /// Forgets the value that `is_this` recognises; the next to need one makes it anew.
    pub(super) async fn discard(&self, is_this: impl Fn(&T) -> bool) {
        let mut held = self.held.lock().await;
        if held.value.as_ref().is_some_and(is_this) {
            held.value = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    #[tokio::test]
    async fn those_who_waited_for_a_failed_attempt_share_its_error() {
        let (slot, tries) = (Slot::<u32>::empty(), AtomicU32::new(0));
        let fail = || async {
            tries.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            Err(BrokerError::TooLarge { bytes: 1 })
        };
        let (first, second) = tokio::join!(slot.get(|_| true, fail()), slot.get(|_| true, fail()));
        assert!(first.is_err() && second.is_err());
        assert_eq!(tries.load(Ordering::Relaxed), 1);
        assert_eq!(slot.get(|_| true, async { Ok(7) }).await.unwrap(), 7);
        assert_eq!(slot.get(|_| true, fail()).await.unwrap(), 7);
        slot.discard(|value| *value == 7).await;
        assert_eq!(slot.get(|_| true, async { Ok(8) }).await.unwrap(), 8);
    }
}
