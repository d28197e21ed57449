//! Subscriptions: one channel each, with a consumer tag that is never used twice.
//!
//! It does not decide what to settle. What would surprise: the channel sits in a place that the consumer empties when it ends,
//! because every clone of a channel keeps it open, and with it the deliveries that should go back.

use super::delivery::{death, returns};
use crate::broker::{Consumer, Delivery, Inbox, Receipt, Settle, Settlement};
use async_trait::async_trait;
use bytes::Bytes;
use deadpool_lapin::lapin::message;
use deadpool_lapin::lapin::options::{BasicAckOptions, BasicNackOptions};
use deadpool_lapin::lapin::{Channel, Consumer as Subscription};
use futures_util::StreamExt;
use std::sync::{Arc, Mutex, PoisonError};

/// A consumer's channel, until the consumer ends.
pub(super) struct Epoch(Mutex<Option<Channel>>);

impl Epoch {
    fn channel(&self) -> Option<Channel> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Closes the channel: all its unsettled deliveries go back, and no settlement counts any more.
    fn end(&self) {
        drop(self.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

#[async_trait]
impl Settle for Epoch {
    async fn settle(&self, tag: u64, how: Settlement) -> bool {
        let Some(channel) = self.channel() else { return false };
        let settled = match how {
            Settlement::Ack => channel.basic_ack(tag, BasicAckOptions::default()).await,
            Settlement::Return => channel.basic_nack(tag, BasicNackOptions { multiple: false, requeue: true }).await,
        };
        // The consumer may have ended meanwhile, and the channel only then been closed: nothing can be said for the broker.
        settled.is_ok() && self.channel().is_some()
    }
}

/// A subscription to a work queue.
pub(super) struct RabbitConsumer {
    subscription: Option<Subscription>,
    epoch: Arc<Epoch>,
    namespace: String,
}

impl RabbitConsumer {
    pub(super) fn new(channel: Channel, subscription: Subscription, namespace: String) -> Self {
        Self { subscription: Some(subscription), epoch: Arc::new(Epoch(Mutex::new(Some(channel)))), namespace }
    }

    async fn message(&mut self) -> Option<message::Delivery> {
        match self.subscription.as_mut()?.next().await {
            Some(Ok(message)) => return Some(message),
            Some(Err(error)) => tracing::debug!(%error, "a consumer's channel is gone"),
            None => tracing::debug!("the broker cancelled a consumer"),
        }
        self.end();
        None
    }

    fn end(&mut self) {
        self.subscription = None;
        self.epoch.end();
    }
}

#[async_trait]
impl Consumer for RabbitConsumer {
    async fn next(&mut self) -> Option<Delivery> {
        let message = self.message().await?;
        Some(Delivery {
            returns: returns(&message.properties),
            died: death(&message.properties, &self.namespace),
            receipt: Receipt::new(self.epoch.clone(), message.delivery_tag),
            body: message.data.into(),
        })
    }
}

impl Drop for RabbitConsumer {
    fn drop(&mut self) {
        self.end();
    }
}

/// A subscription to this process's own queue.
pub(super) struct RabbitInbox {
    name: String,
    consumer: RabbitConsumer,
    /// A message whose ack is under way, so that it is not lost if the caller stops waiting just then.
    taken: Option<Bytes>,
}

impl RabbitInbox {
    pub(super) const fn new(name: String, consumer: RabbitConsumer) -> Self {
        Self { name, consumer, taken: None }
    }
}

#[async_trait]
impl Inbox for RabbitInbox {
    fn name(&self) -> &str {
        &self.name
    }

    async fn next(&mut self) -> Option<Bytes> {
        if self.taken.is_none() {
            let delivery = self.consumer.next().await?;
            self.taken = Some(delivery.body);
            // What cannot be acked would come again only if its queue survived, which it does not: the message is ours.
            let _counted: bool = delivery.receipt.ack().await;
        }
        self.taken.take()
    }
}
