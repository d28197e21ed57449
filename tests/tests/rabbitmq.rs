//! What only RabbitMQ does: refuse access, be elsewhere, and break.
//!
//! It knows no role. What would surprise: the connection is broken by cutting a cable between us and the broker, so that both
//! ends find out as they would in life.

use rabbit_reduce_core::topology::{Queue, Topology};
use rabbit_reduce_runtime::broker::rabbit::{RabbitBroker, RabbitConfig};
use rabbit_reduce_runtime::broker::{Broker, BrokerError, Published, Route};
use rabbit_reduce_tests::forwarder::Forwarder;
use rabbit_reduce_tests::home::{Home, connect, publish, text};
use rabbit_reduce_tests::wait::{until, within};
use rabbit_reduce_tests::{rabbit, seen};
use std::time::Duration;
use url::Url;

fn url(change: impl FnOnce(&mut Url)) -> String {
    let mut url = Url::parse(&rabbit()).expect("AMQP_URL is a URL");
    change(&mut url);
    url.into()
}

async fn refused(url: &str) -> BrokerError {
    let mut config = RabbitConfig::new(url.parse().expect("a URL"), "test");
    config.connect_timeout = Duration::from_secs(5);
    within("an answer", RabbitBroker::connect(config)).await.expect_err("this cannot work")
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_not_printed() {
    let error = refused(&url(|url| url.set_password(Some("s3cret")).unwrap())).await;
    assert!(matches!(error, BrokerError::Refused { .. }) && !error.may_pass(), "{error}");
    let (text, user) = (format!("{error} {error:?}"), Url::parse(&rabbit()).unwrap().username().to_owned());
    assert!(text.contains(&user) && text.contains("password") && !text.contains("s3cret"), "{text}");
    seen::fault("a wrong password", "refused, and not shown");
}

#[tokio::test]
async fn a_missing_virtual_host_is_refused_by_its_name() {
    let error = refused(&url(|url| url.set_path("/no-such-host"))).await;
    assert!(matches!(error, BrokerError::Refused { .. }), "{error}");
    assert!(error.to_string().contains("no-such-host"), "{error}");
    let error = refused(&url(|url| url.set_path("/"))).await;
    assert!(error.to_string().contains("%2f"), "{error}");
    seen::fault("a virtual host that is not there", "refused by its name");
}

#[tokio::test]
async fn nobody_at_the_port_may_pass() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = refused(&url(|url| url.set_port(Some(free.port())).unwrap())).await;
    assert!(
        matches!(&error, BrokerError::Unreachable { address, .. } if address.ends_with(&free.port().to_string())),
        "{error}"
    );
    assert!(error.may_pass());
    seen::fault("nobody at the broker's port", "told with the address, as something that may pass");
}

#[tokio::test]
async fn a_name_that_does_not_resolve_may_pass() {
    let error = refused(&url(|url| url.set_host(Some("no-such-host.invalid")).unwrap())).await;
    assert!(matches!(&error, BrokerError::Unreachable { .. }), "{error}");
    seen::fault("a broker's name that does not resolve", "told as something that may pass");
}

#[tokio::test]
async fn a_port_that_says_nothing_may_pass_after_the_time_out() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let text = url(|url| {
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(port)).unwrap();
        url.set_query(Some("connection_timeout=300"));
    });
    let config = RabbitConfig::new(text.parse().unwrap(), "test");
    assert_eq!(config.connect_timeout, Duration::from_millis(300));
    let error = within("the time-out", RabbitBroker::connect(config)).await.unwrap_err();
    assert!(matches!(&error, BrokerError::Unreachable { .. }), "{error}");
    seen::fault("a broker that says nothing", "given up after the time-out, as something that may pass");
}

#[tokio::test]
async fn a_queue_of_another_version_is_named() {
    let home = Home::rabbit().await;
    // What another version would have declared.
    let queue = home.topology.queues[0].clone();
    let other = Queue { name: "extra".to_owned(), delivery_limit: 7, ..queue.clone() };
    let theirs = Topology { queues: vec![other.clone()], ..home.topology.clone() };
    home.broker.declare(&theirs).await.unwrap();
    let ours = Topology { queues: vec![Queue { delivery_limit: 8, ..other }], ..home.topology.clone() };
    let error = home.broker.declare(&ours).await.unwrap_err();
    home.broker.teardown(&theirs).await.unwrap();
    let name = format!("{}.extra", home.topology.namespace);
    assert!(matches!(&error, BrokerError::Mismatch { queue, .. } if *queue == name), "{error}");
    assert!(error.to_string().contains("x-delivery-limit"), "{error}");
    seen::fault("a queue that another release declared", "refused by the queue's name and the argument's");
}

#[tokio::test]
async fn debug_output_has_no_password() {
    let home = Home::rabbit().await;
    let password = Url::parse(&rabbit()).unwrap().password().unwrap_or("guest").to_owned();
    let user = Url::parse(&rabbit()).unwrap().username().to_owned();
    let config = RabbitConfig::new(rabbit().parse().unwrap(), "test");
    for text in [format!("{:?}", home.broker), format!("{config:?}")] {
        assert!(!text.contains(&format!(":{password}@")), "{text}");
        assert!(password == user || !text.contains(&password), "{text}");
    }
}

#[tokio::test]
async fn a_namespace_that_no_broker_takes_is_refused_before_connecting() {
    for namespace in ["", "amq.mine", "x".repeat(101).as_str()] {
        let config = RabbitConfig::new("amqp://127.0.0.1:1/%2f".parse().unwrap(), namespace);
        let error = RabbitBroker::connect(config).await.unwrap_err();
        assert!(matches!(&error, BrokerError::Denied { .. }), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_cut_the_same_broker_works_again_and_unsettled_deliveries_return() {
    let home = Home::rabbit().await;
    let parsed = Url::parse(&rabbit()).unwrap();
    let target = format!("{}:{}", parsed.host_str().unwrap(), parsed.port().unwrap_or(5672));
    let cable = Forwarder::to(target).unwrap();
    let through = url(|url| {
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(cable.address().port())).unwrap();
    });
    let broker = connect(&through, &home.topology.namespace).await;
    let work = Route::Queue("work".to_owned());
    assert_eq!(publish(&broker, &work, "before").await, Published::Confirmed);
    let mut consumer = broker.consume("work", 1).await.unwrap();
    let mut inbox = broker.inbox().await.unwrap();
    let held = within("a delivery", consumer.next()).await.unwrap();

    cable.cut();

    assert!(within("the end", consumer.next()).await.is_none());
    assert!(within("the end", inbox.next()).await.is_none());
    assert!(!held.receipt.ack().await);
    until("publishing works again", async || match broker.publish(&work, "after".into()).await {
        Ok(Published::Confirmed) => Some(()),
        Ok(other) => panic!("{other:?}"),
        Err(error) if error.may_pass() => None,
        Err(error) => panic!("{error}"),
    })
    .await;
    let mut consumer = broker.consume("work", 2).await.unwrap();
    let delivery = within("the held one", consumer.next()).await.unwrap();
    assert_eq!((text(&delivery).as_str(), delivery.returns), ("before", 1));
    assert!(delivery.receipt.ack().await);
    let delivery = within("the new one", consumer.next()).await.unwrap();
    assert_eq!(text(&delivery), "after");
    assert!(delivery.receipt.ack().await);
    assert!(broker.inbox().await.is_ok());
    assert_eq!(broker.blocked(), None);
    seen::fault("a connection is cut under a delivery", "it works again, and what was unsettled comes again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_that_nobody_waits_for_leaves_no_consumer() {
    let home = Home::rabbit().await;
    let mut brokers = Vec::new();
    for patience in (0..120).map(|number| Duration::from_micros(60 * number)) {
        let broker = home.connect().await;
        // Whether it came in time is all the same: it is dropped.
        let abandon = async |queue| drop(tokio::time::timeout(patience, broker.consume(queue, 4)).await);
        tokio::join!(abandon("work"), abandon("small"), abandon("later"));
        // The first sixty live on, the others end at once.
        brokers.push(broker);
        brokers.truncate(60);
    }
    for queue in ["work", "small", "later"] {
        until("nobody consumes", async || (home.depth(queue).await.consumers == 0).then_some(())).await;
    }
    seen::fault("whoever subscribes stops waiting", "no consumer is left");
}
