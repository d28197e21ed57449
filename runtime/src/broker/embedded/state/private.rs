//! One process's private queue: bounded, and it drops its oldest message rather than refuse one.
//!
//! It does not know who publishes. What would surprise: on RabbitMQ a few of the oldest messages are already on their way and
//! survive; here only the newest are kept.

use super::super::super::{PRIVATE_BYTES, PRIVATE_MESSAGES};
use bytes::Bytes;
use std::collections::VecDeque;

#[derive(Debug)]
pub(super) struct PrivateQueue {
    name: String,
    messages: VecDeque<Bytes>,
    bytes: u64,
}

impl PrivateQueue {
    pub(super) const fn new(name: String) -> Self {
        Self { name, messages: VecDeque::new(), bytes: 0 }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn push(&mut self, body: Bytes) {
        self.bytes += body.len() as u64;
        self.messages.push_back(body);
        while self.messages.len() as u64 > PRIVATE_MESSAGES || self.bytes > PRIVATE_BYTES {
            drop(self.pop());
        }
    }

    pub(super) fn pop(&mut self) -> Option<Bytes> {
        let body = self.messages.pop_front()?;
        self.bytes -= body.len() as u64;
        Some(body)
    }
}
