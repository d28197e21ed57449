//! The topology as RabbitMQ's arguments.
//!
//! It decides nothing: [`Topology`] says what there is. What would surprise: every argument is part of a queue's identity, so a
//! change here makes existing namespaces refuse the new version.

use crate::broker::{PRIVATE_BYTES, PRIVATE_MESSAGES};
use deadpool_lapin::lapin::ExchangeKind;
use deadpool_lapin::lapin::options::{
    ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use deadpool_lapin::lapin::types::{AMQPValue, FieldTable};
use deadpool_lapin::lapin::{Channel, Error};
use rabbit_reduce_core::topology::{Queue, Topology, queue};

/// A queue's name on the broker.
pub(super) fn full_name(namespace: &str, queue: &str) -> String {
    format!("{namespace}.{queue}")
}

/// The fanout that carries the news.
pub(super) fn news_exchange(namespace: &str) -> String {
    full_name(namespace, "news")
}

/// What private queues get their messages by, and nobody publishes to who has nothing to answer.
pub(super) fn answers_exchange(namespace: &str) -> String {
    full_name(namespace, "answers")
}

pub(super) async fn exchanges(channel: &Channel, namespace: &str) -> Result<(), Error> {
    let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
    let all = [
        (namespace.to_owned(), ExchangeKind::Direct),
        (answers_exchange(namespace), ExchangeKind::Direct),
        (news_exchange(namespace), ExchangeKind::Fanout),
    ];
    for (name, kind) in all {
        channel.exchange_declare(name.into(), kind, durable, FieldTable::default()).await?;
    }
    Ok(())
}

pub(super) async fn work_queue(channel: &Channel, namespace: &str, queue: &Queue) -> Result<(), Error> {
    let name = full_name(namespace, &queue.name);
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare(name.as_str().into(), durable, work_arguments(namespace, queue)).await?;
    let (exchange, key) = (namespace.into(), queue.name.as_str().into());
    channel.queue_bind(name.into(), exchange, key, QueueBindOptions::default(), FieldTable::default()).await
}

/// Nothing is ever routed to it: its arguments are the message, namely whose store this namespace writes to.
pub(super) async fn store_queue(channel: &Channel, namespace: &str, store_id: &str) -> Result<(), Error> {
    let mut arguments = Arguments::of_type("quorum");
    arguments.text("x-dead-letter-exchange", namespace);
    arguments.text("x-dead-letter-routing-key", store_id);
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare(full_name(namespace, queue::STORE).into(), durable, arguments.0).await.map(drop)
}

/// Exclusive: gone with its connection. Deleted automatically: gone with its consumer.
pub(super) async fn private_queue(channel: &Channel, namespace: &str, name: &str) -> Result<(), Error> {
    let mut arguments = Arguments::of_type("classic");
    arguments.text("x-overflow", "drop-head");
    arguments.number("x-max-length", PRIVATE_MESSAGES);
    arguments.number("x-max-length-bytes", PRIVATE_BYTES);
    let exclusive = QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
    channel.queue_declare(name.into(), exclusive, arguments.0).await?;
    for exchange in [answers_exchange(namespace), news_exchange(namespace)] {
        let (options, arguments) = (QueueBindOptions::default(), FieldTable::default());
        channel.queue_bind(name.into(), exchange.into(), name.into(), options, arguments).await?;
    }
    Ok(())
}

/// Deleting what is not there is no error to RabbitMQ.
pub(super) async fn delete(channel: &Channel, topology: &Topology) -> Result<(), Error> {
    let namespace = topology.namespace.as_str();
    for name in topology.queues.iter().map(|queue| queue.name.as_str()).chain([queue::STORE]) {
        channel.queue_delete(full_name(namespace, name).into(), QueueDeleteOptions::default()).await?;
    }
    for exchange in [namespace.to_owned(), answers_exchange(namespace), news_exchange(namespace)] {
        channel.exchange_delete(exchange.into(), ExchangeDeleteOptions::default()).await?;
    }
    Ok(())
}

fn work_arguments(namespace: &str, queue: &Queue) -> FieldTable {
    let mut arguments = Arguments::of_type("quorum");
    arguments.text("x-overflow", "reject-publish");
    arguments.number("x-delivery-limit", queue.delivery_limit.into());
    if let Some(messages) = queue.max_messages {
        arguments.number("x-max-length", messages);
    }
    if let Some(bytes) = queue.max_bytes {
        arguments.number("x-max-length-bytes", bytes);
    }
    if let Some(ttl) = queue.ttl {
        arguments.number("x-message-ttl", u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
    }
    if let Some(target) = &queue.dead_letter_to {
        arguments.text("x-dead-letter-exchange", namespace);
        arguments.text("x-dead-letter-routing-key", target);
        arguments.text("x-dead-letter-strategy", "at-least-once");
    }
    arguments.0
}

struct Arguments(FieldTable);

impl Arguments {
    fn of_type(kind: &str) -> Self {
        let mut arguments = Self(FieldTable::default());
        arguments.text("x-queue-type", kind);
        arguments
    }

    fn text(&mut self, name: &str, value: &str) {
        self.0.insert(name.into(), AMQPValue::LongString(value.into()));
    }

    fn number(&mut self, name: &str, value: u64) {
        self.0.insert(name.into(), AMQPValue::LongLongInt(i64::try_from(value).unwrap_or(i64::MAX)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_work_queue_has_every_argument_that_at_least_once_dead_lettering_needs() {
        let queue = Queue {
            name: "retry".to_owned(),
            max_messages: Some(3),
            max_bytes: Some(4096),
            delivery_limit: 20,
            ttl: Some(Duration::from_secs(5)),
            dead_letter_to: Some("again".to_owned()),
        };
        let arguments = work_arguments("ns", &queue);
        let text = |value: &AMQPValue| match value {
            AMQPValue::LongString(text) => text.to_string(),
            AMQPValue::LongLongInt(number) => number.to_string(),
            other => format!("{other:?}"),
        };
        let said: Vec<_> = arguments.inner().iter().map(|(name, value)| format!("{name}={}", text(value))).collect();
        let expected = [
            "x-dead-letter-exchange=ns",
            "x-dead-letter-routing-key=again",
            "x-dead-letter-strategy=at-least-once",
            "x-delivery-limit=20",
            "x-max-length=3",
            "x-max-length-bytes=4096",
            "x-message-ttl=5000",
            "x-overflow=reject-publish",
            "x-queue-type=quorum",
        ];
        assert_eq!(said, expected);
    }
}
