//! Faults that are not drawn by chance: what the broker gives up on, files that are gone for a while, connections that break.
//!
//! What would surprise: to make the broker give up on a message, a test takes it and drops its consumer, again and again, as
//! workers do that it kills.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod world;

use rabbit_reduce_core::local;
use rabbit_reduce_core::message::Outcome;
use rabbit_reduce_core::rows::format::Format;
use rabbit_reduce_core::topology::{DELIVERY_LIMIT, queue};
use rabbit_reduce_producer::session::{Known, Session};
use rabbit_reduce_tests::cluster::{Cluster, Order, Report, source, topology};
use rabbit_reduce_tests::crew::Role;
use rabbit_reduce_tests::forwarder::Forwarder;
use rabbit_reduce_tests::home::Home;
use rabbit_reduce_tests::wait::{until, within};
use rabbit_reduce_tests::{rabbit, seen};
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

world::on_both_brokers! {
    tasks_that_the_broker_gave_up_on_are_counted_all_the_same
    partials_that_the_broker_gave_up_on_are_counted_all_the_same
    a_file_that_comes_back_is_counted
}

/// How often connections break, and how soon again.
const CUTS: u32 = 8;
const BETWEEN_CUTS: Duration = Duration::from_millis(120);
const TEXT: &str = "one two three two\n";

fn agree(report: &Report, repeats: usize) {
    let (program, sources) = (Order::of("word-count").program(), [source("a", TEXT.repeat(repeats))]);
    let rows = local::print(&program, &sources, &local::run(&program, &sources), Format::Tsv).unwrap();
    assert_eq!(report.end.outcome, Outcome::Done);
    assert_eq!(String::from_utf8(report.tsv.clone()).unwrap(), String::from_utf8(rows).unwrap());
}

async fn published(cluster: &Cluster, session: &Session, order: &Order) -> (Known, u32) {
    let known = cluster.submit(session, order, cluster.write(&[source("a", TEXT.repeat(20))])).await;
    let chunks = within("published", session.publish(&known, None)).await.unwrap();
    (known, chunks)
}

/// Takes everything in a queue, and dies, as often as the broker gives it back.
async fn die_with_all_of(home: &Home, queue: &str) {
    let messages = until("the queue has come to rest", async || {
        let depth = home.depth(queue).await;
        (depth.consumers == 0).then_some(depth.messages)
    })
    .await;
    for _ in 0..=DELIVERY_LIMIT {
        let mut consumer = within("consume", home.broker.consume(queue, 1000)).await.unwrap();
        for _ in 0..messages {
            drop(within("a delivery", consumer.next()).await.expect("it lives"));
        }
    }
    until("the broker gives up", async || (home.depth(queue).await.messages == 0).then_some(())).await;
}

async fn tasks_that_the_broker_gave_up_on_are_counted_all_the_same(home: Home) {
    let cluster = Cluster::builder().workers(0).start(home).await;
    let session = cluster.session().await;
    let (known, chunks) = published(&cluster, &session, &Order::of("word-count")).await;
    die_with_all_of(&cluster.crew.home, queue::MAP).await;
    cluster.crew.hire(Role::Worker).await;
    agree(&cluster.conclude(&session, &known, chunks).await, 20);
    cluster.finish().await;
    seen::fault("the broker gives up on tasks", "sent again, set apart, and counted");
}

async fn partials_that_the_broker_gave_up_on_are_counted_all_the_same(home: Home) {
    let cluster = Cluster::builder().workers(0).start(home).await;
    let session = cluster.session().await;
    let (known, chunks) = published(&cluster, &session, &Order::of("word-count")).await;
    for name in cluster.crew.names(Role::Aggregator) {
        within("it stops", cluster.crew.stop(&name)).await;
    }
    let worker = cluster.crew.hire(Role::Worker).await;
    until("all is mapped", async || {
        let mut partials = 0;
        for number in 0..3 {
            partials += cluster.crew.home.depth(&format!("reduce.{number}")).await.messages;
        }
        (partials == 3 * chunks).then_some(())
    })
    .await;
    within("it stops", cluster.crew.stop(&worker)).await;
    for number in 0..3 {
        die_with_all_of(&cluster.crew.home, &format!("reduce.{number}")).await;
    }
    cluster.crew.hire(Role::Aggregator).await;
    agree(&cluster.conclude(&session, &known, chunks).await, 20);
    cluster.finish().await;
    seen::fault("the broker gives up on partials", "sent again and counted");
}

fn path_of(known: &Known) -> PathBuf {
    PathBuf::from(String::from_utf8(known.sources[0].file.as_ref().unwrap().path.0.clone()).unwrap())
}

async fn a_file_that_comes_back_is_counted(home: Home) {
    let cluster = Cluster::builder().workers(0).start(home).await;
    let session = cluster.session().await;
    let (known, chunks) = published(&cluster, &session, &Order::of("word-count").by_reference()).await;
    let (path, away) = (path_of(&known), path_of(&known).with_extension("away"));
    std::fs::rename(&path, &away).unwrap();
    cluster.crew.hire(Role::Worker).await;
    until("every task waits for its next attempt", async || {
        (cluster.crew.home.depth(queue::RETRY).await.messages == chunks).then_some(())
    })
    .await;
    std::fs::rename(&away, &path).unwrap();
    agree(&cluster.conclude(&session, &known, chunks).await, 20);
    cluster.finish().await;
    seen::fault("a file is away for a while", "tried again and counted");
}

/// Five attempts take most of a minute: only where the clock is ours.
#[test]
fn a_file_that_stays_away_is_lost_with_the_reason() {
    world::simulated(async {
        let cluster = Cluster::builder().workers(0).start(Home::embedded_with(topology()).await).await;
        let session = cluster.session().await;
        let (known, chunks) = published(&cluster, &session, &Order::of("word-count").by_reference()).await;
        std::fs::remove_file(path_of(&known)).unwrap();
        cluster.crew.hire(Role::Worker).await;
        let report = cluster.conclude(&session, &known, chunks).await;
        assert_eq!((report.end.outcome, report.end.losses.count), (Outcome::DoneWithLosses, u64::from(chunks)));
        for lost in &report.end.losses.chunks {
            assert!(lost.reason.contains("cannot be read") && lost.partitions.len() == 3, "{lost:?}");
        }
        assert_eq!(report.tsv, b"");
        cluster.finish().await;
    });
    seen::fault("a file stays away", "every chunk is told as lost, with the reason, after five attempts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_outlives_the_connections_of_everyone() {
    let mut url = Url::parse(&rabbit()).expect("AMQP_URL is a URL");
    let target = format!("{}:{}", url.host_str().expect("it has a host"), url.port().unwrap_or(5672));
    let cable = Forwarder::to(target).expect("a port can be had");
    url.set_host(Some("127.0.0.1")).expect("it is an address");
    url.set_port(Some(cable.address().port())).expect("it is a port");
    let home = Home::rabbit_with(topology()).await.reached_by(url.to_string());
    let cluster = Cluster::builder().workers(2).aggregators(2).start(home).await;
    let order = Order::of("word-count");
    let sources = [source("a", TEXT.repeat(2000))];
    let cutting = async {
        let mut cuts = tokio::time::interval(BETWEEN_CUTS);
        for _ in 0..CUTS {
            cuts.tick().await;
            cable.cut();
        }
    };
    // Connected first: who cannot connect at the start says so and gives up.
    let session = cluster.session().await;
    let known = cluster.submit(&session, &order, cluster.write(&sources)).await;
    let working = async {
        let chunks = within("published", session.publish(&known, None)).await.unwrap();
        cluster.conclude(&session, &known, chunks).await
    };
    let (report, ()) = tokio::join!(working, cutting);
    agree(&report, 2000);
    assert_eq!(cluster.files(report.job, "dead"), [""; 0]);
    assert_eq!(cluster.set_aside(), [""; 0]);
    cluster.finish().await;
    seen::fault("connections of everybody are cut again and again", "made anew, answer exact, nothing aside");
}
