//! A value that many wait for.
//!
//! What would surprise: tokio's own wakes those who wait in an order of its own random choice, and would spoil every trace.

use super::world::locked;
use std::pin::pin;
use std::sync::Mutex;
use tokio::sync::Notify;

/// See the module.
#[derive(Debug)]
pub struct Signal<T> {
    value: Mutex<T>,
    changed: Notify,
}

impl<T: Copy> Signal<T> {
    /// With its first value.
    pub fn new(value: T) -> Self {
        Self { value: Mutex::new(value), changed: Notify::new() }
    }

    /// The value.
    pub fn get(&self) -> T {
        *locked(&self.value)
    }

    /// From now on it is this.
    pub fn set(&self, value: T) {
        *locked(&self.value) = value;
        self.changed.notify_waiters();
    }

    /// Waits until it is one of these.
    pub async fn until(&self, is: impl Fn(T) -> bool + Send) -> T {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            let value = self.get();
            if is(value) {
                return value;
            }
            changed.await;
        }
    }
}
