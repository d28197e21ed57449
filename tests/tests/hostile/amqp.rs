//! What AMQP lets a publisher say around a message: none of it is believed, and the message is taken for what it is.
//!
//! Only RabbitMQ. What would surprise: the client library is used here as a stranger would use it; no role does.

use super::plain_amqp::PlainPublisher;
use super::{NEITHER, NO_BEGINNING, Throw, all_are_kept, expected, reason, text};
use bytes::Bytes;
use deadpool_lapin::lapin::options::{BasicPublishOptions, QueuePurgeOptions};
use deadpool_lapin::lapin::types::{AMQPValue, FieldArray, FieldTable};
use deadpool_lapin::lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use rabbit_reduce_core::message::Outcome;
use rabbit_reduce_core::topology::queue;
use rabbit_reduce_tests::cluster::{Cluster, Order, topology};
use rabbit_reduce_tests::home::Home;

use rabbit_reduce_tests::wait::{until, within};
use rabbit_reduce_tests::{rabbit, seen};

fn string(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

fn table(entries: Vec<(String, AMQPValue)>) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in entries {
        table.insert(name.into(), value);
    }
    table
}

fn headers(entries: Vec<(&str, AMQPValue)>) -> BasicProperties {
    BasicProperties::default()
        .with_headers(table(entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()))
}

/// Ways to say something about a message.
fn oddities(namespace: &str) -> Vec<(&'static str, BasicProperties)> {
    let plain = BasicProperties::default;
    let death = table(vec![
        ("queue".to_owned(), string(&format!("{namespace}.map"))),
        ("reason".to_owned(), string("delivery_limit")),
        ("count".to_owned(), AMQPValue::LongLongInt(i64::MAX)),
    ]);
    let deaths = FieldArray::from(vec![AMQPValue::FieldTable(death)]);
    let many = (0..3000).map(|number| (format!("x-header-{number}"), string("a value of some length"))).collect();
    vec![
        ("nothing, not even that it stays", plain().with_delivery_mode(1)),
        ("the highest priority", plain().with_priority(255)),
        ("another encoding", plain().with_content_type("application/json".into()).with_content_encoding("gzip".into())),
        (
            "an answer to elsewhere",
            plain().with_reply_to(format!("{namespace}.map").into()).with_correlation_id("1".into()),
        ),
        ("an id that is none", plain().with_message_id("not-a-number".into())),
        ("returns beyond counting", headers(vec![("x-delivery-count", AMQPValue::LongLongInt(i64::MAX))])),
        ("returns below nothing", headers(vec![("x-delivery-count", AMQPValue::LongLongInt(-7))])),
        ("returns that are text", headers(vec![("x-delivery-count", string("many"))])),
        ("deaths that never were", headers(vec![("x-death", AMQPValue::FieldArray(deaths))])),
        ("deaths that are none", headers(vec![("x-death", string("no")), ("x-first-death-queue", AMQPValue::Void)])),
        ("three thousand headers", plain().with_headers(table(many))),
    ]
}

async fn throw(channel: &Channel, namespace: &str, queue: &str, properties: BasicProperties, body: &[u8]) {
    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    let sent = channel.basic_publish(namespace.into(), queue.into(), options, body, properties);
    drop(within("publish", sent).await.unwrap());
}

async fn stranger_channel() -> (Connection, Channel) {
    let connection = Connection::connect(&rabbit(), ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_as_long_as_a_frame_stop_nobody_and_end_where_nobody_takes_them() {
    let mut topology = topology();
    // Sooner than in earnest.
    topology.queues.iter_mut().filter(|queue| queue.name == queue::DEAD).for_each(|dead| dead.delivery_limit = 20);
    let cluster = Cluster::builder().start(Home::rabbit_with(topology).await).await;
    let namespace = cluster.crew.home.topology.namespace.clone();
    let queues = [queue::MAP, queue::SUSPECT, "reduce.3", queue::CONTROL, queue::DEAD];
    let exchange = namespace.clone();
    let publishing = move || {
        let mut publisher = PlainPublisher::connect(&rabbit());
        // The broker lets a frame be longer than it said by what is around it; a client does not.
        queues.iter().for_each(|name| publisher.publish(&exchange, name, publisher.frame_max, b"anything"));
    };
    within("published", tokio::task::spawn_blocking(publishing)).await.unwrap();
    let report = cluster.run(&Order::of("word-count"), &text()).await;
    assert_eq!((report.end.outcome, String::from_utf8(report.tsv).unwrap()), (Outcome::Done, expected()));
    let home = &cluster.crew.home;
    until("all of them end there", async || {
        (home.depth(queue::UNREADABLE).await.messages as usize == queues.len()).then_some(())
    })
    .await;
    assert_eq!(cluster.set_aside(), [""; 0]);
    let (_connection, channel) = stranger_channel().await;
    let name = format!("{namespace}.{}", queue::UNREADABLE);
    let purged = channel.queue_purge(name.into(), QueuePurgeOptions::default()).await.unwrap();
    assert_eq!(purged as usize, queues.len());
    cluster.finish().await;
    seen::fault("headers as long as a frame", &format!("{purged} messages end in `unreadable`, the job exact"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_around_a_message_is_not_believed() {
    let cluster = Cluster::builder().start(Home::rabbit_with(topology()).await).await;
    let namespace = cluster.crew.home.topology.namespace.clone();
    let (_connection, channel) = stranger_channel().await;
    let mut thrown = Vec::new();
    for (name, properties) in oddities(&namespace) {
        for queue in [queue::MAP, queue::SUSPECT, "reduce.3", queue::REDUCE_LARGE, queue::CONTROL, queue::DEAD] {
            let message = Bytes::from(format!("{name} on {queue}"));
            throw(&channel, &namespace, queue, properties.clone(), &message).await;
            let reason = reason(queue, NO_BEGINNING);
            thrown.push(Throw { name, queue: queue.to_owned(), message, reason });
        }
    }
    // Longer than anybody of ours may publish, so that whoever cannot use it cannot send it on either.
    let longest = vec![b'l'; 15 << 20];
    throw(&channel, &namespace, queue::MAP, BasicProperties::default(), &longest).await;
    let (name, queue, message, reason) = ("fifteen megabytes", queue::MAP.to_owned(), longest.into(), NEITHER);
    thrown.push(Throw { name, queue, message, reason });
    // One that is over before anybody takes it goes the way of the dead.
    let expired = BasicProperties::default().with_expiration("0".into());
    let message = Bytes::from_static(b"over at once");
    throw(&channel, &namespace, queue::RETRY, expired, &message).await;
    thrown.push(Throw { name: "expired", queue: queue::RETRY.to_owned(), message, reason: NEITHER });
    let report = cluster.run(&Order::of("word-count"), &text()).await;
    assert_eq!((report.end.outcome, String::from_utf8(report.tsv).unwrap()), (Outcome::Done, expected()));
    all_are_kept(&cluster, &thrown).await;
    cluster.finish().await;
    seen::fault("what AMQP says around a message", &format!("{} messages kept, the job exact", thrown.len()));
}
