//! The numbered contract of `runtime/src/broker.rs`, rule by rule, against both brokers.
//!
//! It knows no role. What would surprise: where RabbitMQ is free to do more than one thing, the test accepts them all, and the
//! embedded broker picks one.

use bytes::Bytes;
use futures_util::future::join_all;
use rabbit_reduce_core::topology::{Queue, Topology};
use rabbit_reduce_runtime::broker::{
    BrokerError, Consumer, Death, Delivery, Depth, Inbox, MAX_BODY_BYTES, PRIVATE_MESSAGES, Published, Route,
};
use rabbit_reduce_tests::home::{Home, LIMIT, SMALL, publish, text};
use rabbit_reduce_tests::wait::{until, within};
use std::collections::BTreeSet;

/// Makes one test per fact and broker.
macro_rules! on_both_brokers {
    ($($fact:ident)*) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $fact() {
                super::$fact(rabbit_reduce_tests::home::Home::embedded().await).await;
            })*
        }
        mod rabbitmq {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $fact() {
                super::$fact(rabbit_reduce_tests::home::Home::rabbit().await).await;
            })*
        }
    };
}

on_both_brokers! {
    rule_1_what_is_confirmed_is_stored_once
    rule_2_a_full_queue_refuses_and_stores_nothing_of_it
    rule_3_what_no_queue_takes_is_returned_also_among_others
    rule_4_what_is_not_settled_comes_back_with_its_count_raised
    rule_5_a_delivery_is_acked_and_gone_or_returned_and_counted
    rule_6_a_consumer_holds_at_most_its_prefetch
    rule_7_too_many_returns_lead_to_the_dead_letters
    rule_8_what_is_too_old_leads_to_the_dead_letters
    rule_9_messages_keep_the_order_of_their_confirms_and_returned_ones_come_sooner
    rule_10_declaring_again_is_nothing_and_declaring_otherwise_names_the_queue
    rule_10_a_second_store_is_refused
    rule_11_a_private_queue_takes_what_is_addressed_to_it_and_news
    rule_11_a_private_queue_drops_its_oldest_when_full
    rule_12_a_queue_tells_its_messages_and_consumers
    rule_13_a_settlement_after_the_end_does_not_count
    rule_14_bodies_pass_unchanged_and_never_over_the_limit
    a_consumer_ends_when_its_queue_is_deleted
    nothing_is_published_before_the_namespace_is_declared
}

async fn consume(home: &Home, queue: &str, prefetch: u16) -> Box<dyn Consumer> {
    within("consume", home.broker.consume(queue, prefetch)).await.expect("the queue exists")
}

async fn next(consumer: &mut dyn Consumer) -> Delivery {
    within("a delivery", consumer.next()).await.expect("the channel lives")
}

async fn next_acked(consumer: &mut dyn Consumer) -> String {
    let delivery = next(consumer).await;
    let text = text(&delivery);
    assert!(delivery.receipt.ack().await);
    text
}

async fn arrived(inbox: &mut dyn Inbox) -> Bytes {
    within("a message", inbox.next()).await.expect("the queue lives")
}

async fn is_empty(home: &Home, queue: &str) {
    until("the queue is empty", async || (home.depth(queue).await.messages == 0).then_some(())).await;
}

async fn rule_1_what_is_confirmed_is_stored_once(home: Home) {
    let bodies: BTreeSet<String> = (0..300).map(|number| number.to_string()).collect();
    let outcomes = join_all(bodies.iter().map(|body| home.publish("work", body.clone()))).await;
    assert!(outcomes.iter().all(|outcome| *outcome == Published::Confirmed));
    let mut consumer = consume(&home, "work", 50).await;
    let mut seen = BTreeSet::new();
    for _ in &bodies {
        assert!(seen.insert(next_acked(&mut *consumer).await));
    }
    assert_eq!(seen, bodies);
    drop(consumer);
    is_empty(&home, "work").await;
}

async fn rule_2_a_full_queue_refuses_and_stores_nothing_of_it(home: Home) {
    let mut stored = Vec::new();
    let mut refused = 0;
    for number in 0..4 * SMALL {
        match home.publish("small", number.to_string()).await {
            Published::Confirmed => stored.push(number.to_string()),
            Published::Refused => refused += 1,
            Published::Returned => panic!("the queue exists"),
        }
    }
    assert!(stored.len() as u64 >= SMALL && refused > 0, "{} stored, {refused} refused", stored.len());
    let mut consumer = consume(&home, "small", 100).await;
    for expected in &stored {
        assert_eq!(next_acked(&mut *consumer).await, *expected);
    }
    is_empty(&home, "small").await;
    until("it takes messages again", async || {
        (home.publish("small", "end").await == Published::Confirmed).then_some(())
    })
    .await;
    assert_eq!(next_acked(&mut *consumer).await, "end");
}

async fn rule_3_what_no_queue_takes_is_returned_also_among_others(home: Home) {
    let routes: Vec<_> = (0..400)
        .map(|number| match number % 4 {
            0 => (Route::Queue("nobody".to_owned()), Published::Returned),
            1 => (Route::Private(format!("{}.private.gone", home.topology.namespace)), Published::Returned),
            2 => (Route::News, Published::Confirmed),
            _ => (Route::Queue("work".to_owned()), Published::Confirmed),
        })
        .collect();
    let outcomes = join_all(routes.iter().map(|(route, _)| publish(&*home.broker, route, "x"))).await;
    for (outcome, (route, expected)) in outcomes.iter().zip(&routes) {
        assert_eq!(outcome, expected, "{route:?}");
    }
    until("all are stored", async || (home.depth("work").await.messages == 100).then_some(())).await;
    assert_eq!(publish(&*home.broker, &Route::Private("work".to_owned()), "x").await, Published::Returned);
}

async fn rule_4_what_is_not_settled_comes_back_with_its_count_raised(home: Home) {
    for body in ["a", "b", "c"] {
        home.store("work", body).await;
    }
    let mut first = consume(&home, "work", 10).await;
    for expected in ["a", "b"] {
        let delivery = next(&mut *first).await;
        assert_eq!((text(&delivery).as_str(), delivery.returns, &delivery.died), (expected, 0, &None));
    }
    // All three were on their way to it, also the one it did not look at.
    until("all are with the consumer", async || (home.depth("work").await.messages == 0).then_some(())).await;
    drop(first);
    let mut second = consume(&home, "work", 10).await;
    for expected in ["a", "b", "c"] {
        let delivery = next(&mut *second).await;
        assert_eq!((text(&delivery).as_str(), delivery.returns), (expected, 1));
        assert!(delivery.receipt.ack().await);
    }
}

async fn rule_5_a_delivery_is_acked_and_gone_or_returned_and_counted(home: Home) {
    home.store("work", "a").await;
    let mut consumer = consume(&home, "work", 1).await;
    for returns in 0..LIMIT {
        let delivery = next(&mut *consumer).await;
        assert_eq!(delivery.returns, returns);
        assert!(delivery.receipt.give_back().await);
    }
    assert_eq!(next_acked(&mut *consumer).await, "a");
    drop(consumer);
    is_empty(&home, "work").await;
    assert_eq!(home.depth("dead").await.messages, 0);
}

async fn rule_6_a_consumer_holds_at_most_its_prefetch(home: Home) {
    for number in 0..10 {
        home.store("work", number.to_string()).await;
    }
    let mut consumer = consume(&home, "work", 3).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(next(&mut *consumer).await);
    }
    assert_eq!(home.depth("work").await.messages, 7);
    assert!(held.remove(0).receipt.ack().await);
    held.push(next(&mut *consumer).await);
    until("six wait", async || (home.depth("work").await.messages == 6).then_some(())).await;
}

async fn rule_7_too_many_returns_lead_to_the_dead_letters(home: Home) {
    home.store("work", "poison").await;
    let mut consumer = consume(&home, "work", 1).await;
    for _ in 0..=LIMIT {
        assert!(next(&mut *consumer).await.receipt.give_back().await);
    }
    let mut dead = consume(&home, "dead", 1).await;
    let delivery = next(&mut *dead).await;
    assert_eq!(text(&delivery), "poison");
    assert_eq!(delivery.died, Some(Death { queue: "work".to_owned(), reason: "delivery_limit".to_owned() }));
    assert_eq!(delivery.returns, 0);
    assert!(delivery.receipt.ack().await);
    is_empty(&home, "work").await;
}

async fn rule_8_what_is_too_old_leads_to_the_dead_letters(home: Home) {
    home.store("later", "a").await;
    home.store("later", "b").await;
    let mut dead = consume(&home, "dead", 2).await;
    for expected in ["a", "b"] {
        let delivery = next(&mut *dead).await;
        assert_eq!(text(&delivery), expected);
        assert_eq!(delivery.died, Some(Death { queue: "later".to_owned(), reason: "expired".to_owned() }));
        assert!(delivery.receipt.ack().await);
    }
    is_empty(&home, "later").await;
}

async fn rule_9_messages_keep_the_order_of_their_confirms_and_returned_ones_come_sooner(home: Home) {
    for number in 0..20 {
        home.store("work", number.to_string()).await;
    }
    let mut consumer = consume(&home, "work", 1).await;
    assert!(next(&mut *consumer).await.receipt.give_back().await);
    for number in 0..20 {
        assert_eq!(next_acked(&mut *consumer).await, number.to_string());
    }
}

async fn rule_10_declaring_again_is_nothing_and_declaring_otherwise_names_the_queue(home: Home) {
    home.store("work", "kept").await;
    home.broker.declare(&home.topology).await.expect("it is the same");
    assert_eq!(home.depth("work").await.messages, 1);
    let mut queues = home.topology.queues.clone();
    queues[1] = Queue { max_messages: Some(SMALL + 1), ..queues[1].clone() };
    let otherwise = Topology { queues, ..home.topology.clone() };
    let error = home.broker.declare(&otherwise).await.expect_err("it is not the same");
    let name = format!("{}.small", home.topology.namespace);
    assert!(matches!(&error, BrokerError::Mismatch { queue, .. } if *queue == name), "{error}");
    assert!(!error.may_pass());
    // The broker object is as good as before.
    home.store("small", "fine").await;
}

async fn rule_10_a_second_store_is_refused(home: Home) {
    home.broker.bind_store("store-one").await.expect("the first wins");
    home.broker.bind_store("store-one").await.expect("it is the same");
    let error = home.broker.bind_store("store-two").await.expect_err("there is one already");
    let name = format!("{}.store", home.topology.namespace);
    assert!(matches!(&error, BrokerError::Mismatch { queue, .. } if *queue == name), "{error}");
    let text = error.to_string();
    assert!(text.contains("store-one") && text.contains("store-two"), "{text}");
}

async fn rule_11_a_private_queue_takes_what_is_addressed_to_it_and_news(home: Home) {
    let mut mine = within("inbox", home.broker.inbox()).await.expect("a private queue");
    let mut other = within("inbox", home.broker.inbox()).await.expect("a private queue");
    assert_ne!(mine.name(), other.name());
    let to_me = Route::Private(mine.name().to_owned());
    assert_eq!(publish(&*home.broker, &to_me, "for one").await, Published::Confirmed);
    assert_eq!(publish(&*home.broker, &Route::News, "for all").await, Published::Confirmed);
    assert_eq!(arrived(&mut *mine).await, "for one");
    assert_eq!(arrived(&mut *mine).await, "for all");
    assert_eq!(arrived(&mut *other).await, "for all");
    drop(mine);
    until("it is gone", async || (publish(&*home.broker, &to_me, "late").await == Published::Returned).then_some(()))
        .await;
    assert_eq!(publish(&*home.broker, &Route::News, "again").await, Published::Confirmed);
    assert_eq!(arrived(&mut *other).await, "again");
}

async fn rule_11_a_private_queue_drops_its_oldest_when_full(home: Home) {
    let mut inbox = within("inbox", home.broker.inbox()).await.expect("a private queue");
    let sent = PRIVATE_MESSAGES + 200;
    let outcomes = join_all((0..sent).map(|_| publish(&*home.broker, &Route::News, "old"))).await;
    assert!(outcomes.iter().all(|outcome| *outcome == Published::Confirmed));
    assert_eq!(publish(&*home.broker, &Route::News, "newest").await, Published::Confirmed);
    let mut seen = 0;
    while arrived(&mut *inbox).await != "newest" {
        seen += 1;
    }
    assert!((PRIVATE_MESSAGES - 1..sent).contains(&seen), "{seen} of {sent} old ones were kept");
}

async fn rule_12_a_queue_tells_its_messages_and_consumers(home: Home) {
    assert_eq!(home.depth("work").await, Depth { messages: 0, consumers: 0 });
    for body in ["a", "b", "c"] {
        home.store("work", body).await;
    }
    until("three wait", async || (home.depth("work").await == Depth { messages: 3, consumers: 0 }).then_some(())).await;
    let consumer = consume(&home, "work", 1).await;
    until("one is out", async || (home.depth("work").await == Depth { messages: 2, consumers: 1 }).then_some(())).await;
    drop(consumer);
    until("it is back", async || (home.depth("work").await == Depth { messages: 3, consumers: 0 }).then_some(())).await;
    assert_eq!(home.broker.depth("nobody").await.expect("the broker answers"), None);
}

async fn rule_13_a_settlement_after_the_end_does_not_count(home: Home) {
    home.store("work", "a").await;
    home.store("work", "b").await;
    let mut first = consume(&home, "work", 2).await;
    let (a, b) = (next(&mut *first).await, next(&mut *first).await);
    drop(first);
    let mut second = consume(&home, "work", 2).await;
    assert!(!a.receipt.ack().await);
    assert!(!b.receipt.give_back().await);
    for expected in ["a", "b"] {
        assert_eq!(next_acked(&mut *second).await, expected);
    }
}

async fn rule_14_bodies_pass_unchanged_and_never_over_the_limit(home: Home) {
    let every_byte: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let bodies =
        [Bytes::new(), Bytes::from(every_byte), Bytes::from_static(b"\0"), Bytes::from(vec![7; MAX_BODY_BYTES])];
    let mut consumer = consume(&home, "work", 1).await;
    for body in bodies {
        home.store("work", body.clone()).await;
        let delivery = next(&mut *consumer).await;
        assert!(delivery.body == body, "{} bytes came for {}", delivery.body.len(), body.len());
        assert!(delivery.receipt.ack().await);
    }
    let too_large = Bytes::from(vec![0; MAX_BODY_BYTES + 1]);
    let error = home.broker.publish(&Route::Queue("work".to_owned()), too_large).await.expect_err("it is too large");
    assert!(matches!(error, BrokerError::TooLarge { bytes } if bytes == MAX_BODY_BYTES + 1));
    drop(consumer);
    is_empty(&home, "work").await;
}

async fn a_consumer_ends_when_its_queue_is_deleted(home: Home) {
    home.store("work", "a").await;
    let mut consumer = consume(&home, "work", 1).await;
    let delivery = next(&mut *consumer).await;
    home.broker.teardown(&home.topology).await.expect("it can be deleted");
    assert!(within("the end", consumer.next()).await.is_none());
    assert!(!delivery.receipt.ack().await);
    let error = home.broker.consume("work", 1).await.err().expect("the queue is gone");
    assert!(matches!(error, BrokerError::Denied { .. }), "{error}");
    home.broker.declare(&home.topology).await.expect("it can be declared again");
    home.store("work", "b").await;
    let mut consumer = consume(&home, "work", 1).await;
    assert_eq!(next_acked(&mut *consumer).await, "b");
}

async fn nothing_is_published_before_the_namespace_is_declared(home: Home) {
    home.broker.teardown(&home.topology).await.expect("it can be deleted");
    for route in [Route::Queue("work".to_owned()), Route::News] {
        let error = home.broker.publish(&route, Bytes::new()).await.expect_err("there is nothing");
        assert!(matches!(error, BrokerError::Denied { .. }), "{error}");
    }
    home.broker.declare(&home.topology).await.expect("it can be declared");
    home.store("work", "a").await;
}
