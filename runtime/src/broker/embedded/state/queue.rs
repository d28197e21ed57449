//! A work queue's messages: what waits, in which order, and how much of it.
//!
//! It does not know consumers beyond their ids, nor other queues. What would surprise: a dead letter is never refused; if its
//! queue is full it waits outside, as RabbitMQ keeps it in its old queue until the new one takes it.

use super::super::super::{Death, Depth};
use super::ConsumerId;
use bytes::Bytes;
use rabbit_reduce_core::topology::Queue;
use std::collections::VecDeque;
use std::time::Duration;

/// Time to live of nothing would let two queues that are each other's dead letters spin for ever.
const SHORTEST_TTL: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub(super) struct Message {
    pub(super) body: Bytes,
    pub(super) returns: u32,
    pub(super) died: Option<Death>,
    pub(super) expires: Option<Duration>,
}

impl Message {
    pub(super) const fn new(body: Bytes) -> Self {
        Self { body, returns: 0, died: None, expires: None }
    }

    const fn bytes(&self) -> u64 {
        self.body.len() as u64
    }
}

#[derive(Debug)]
pub(super) struct WorkQueue {
    pub(super) spec: Queue,
    pub(super) consumers: u32,
    /// Consumers that may take a message, in turn; also some that have ended.
    pub(super) with_room: VecDeque<ConsumerId>,
    /// Delivered before all others.
    returned: VecDeque<Message>,
    fresh: VecDeque<Message>,
    bytes: u64,
    /// Dead letters of other queues, until there is room.
    outside: VecDeque<Message>,
}

impl WorkQueue {
    pub(super) const fn new(spec: Queue) -> Self {
        Self {
            spec,
            consumers: 0,
            with_room: VecDeque::new(),
            returned: VecDeque::new(),
            fresh: VecDeque::new(),
            bytes: 0,
            outside: VecDeque::new(),
        }
    }

    /// As on RabbitMQ a message may pass the limit of bytes, the next one may not.
    pub(super) fn is_full(&self) -> bool {
        self.spec.max_messages.is_some_and(|limit| self.len() as u64 >= limit)
            || self.spec.max_bytes.is_some_and(|limit| self.bytes >= limit)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn depth(&self) -> Depth {
        Depth { messages: u32::try_from(self.len()).unwrap_or(u32::MAX), consumers: self.consumers }
    }

    pub(super) fn push(&mut self, mut message: Message, now: Duration) {
        message.expires = self.spec.ttl.map(|ttl| now + ttl.max(SHORTEST_TTL));
        self.bytes += message.bytes();
        self.fresh.push_back(message);
    }

    pub(super) fn push_returned(&mut self, message: Message) {
        self.bytes += message.bytes();
        self.returned.push_back(message);
    }

    pub(super) fn push_dead_letter(&mut self, message: Message, now: Duration) {
        self.outside.push_back(message);
        self.admit_dead_letters(now);
    }

    pub(super) fn admit_dead_letters(&mut self, now: Duration) {
        while !self.outside.is_empty() && !self.is_full() {
            let message = self.outside.pop_front().expect("it is not empty");
            self.push(message, now);
        }
    }

    pub(super) fn pop(&mut self) -> Option<Message> {
        let message = self.returned.pop_front().or_else(|| self.fresh.pop_front())?;
        self.bytes -= message.bytes();
        Some(message)
    }

    /// The head, if it is past its time: nothing expires behind one that is not.
    pub(super) fn pop_expired(&mut self, now: Duration) -> Option<Message> {
        self.next_expiry().filter(|expires| *expires <= now).and_then(|_| self.pop())
    }

    pub(super) fn next_expiry(&self) -> Option<Duration> {
        self.returned.front().or_else(|| self.fresh.front())?.expires
    }

    fn len(&self) -> usize {
        self.returned.len() + self.fresh.len()
    }
}
