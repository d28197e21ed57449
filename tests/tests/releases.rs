//! Two releases side by side: what a later one wrote is refused by its version, never misread, and not lost.
//!
//! What would surprise: the later release is this one with another number in the second place of its messages; the test turns the
//! number back when the later release is to read them.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod world;

use bytes::Bytes;
use rabbit_reduce_core::id::JobId;
use rabbit_reduce_core::local;
use rabbit_reduce_core::message::{self, Ask, FIRST_VERSION, News, Outcome, VERSION};
use rabbit_reduce_core::rows::format::Format;
use rabbit_reduce_core::topology::queue;
use rabbit_reduce_runtime::broker::{Published, Route};
use rabbit_reduce_tests::cluster::{Cluster, Order, Report, source};
use rabbit_reduce_tests::crew::Role;
use rabbit_reduce_tests::home::publish;
use rabbit_reduce_tests::seen::fault;
use rabbit_reduce_tests::wait::{until, within};
use uuid::Uuid;

world::on_both_brokers! {
    tasks_of_a_later_release_wait_for_it
    partials_of_a_later_release_wait_for_it
    letters_questions_answers_and_news_of_a_later_release_are_not_misread
}

const TEXT: &str = "one two three two\n";
const REPEATS: usize = 20;

fn in_version(message: &Bytes, version: u8) -> Bytes {
    let mut bytes = message.to_vec();
    bytes[2] = version;
    bytes.into()
}

fn later(message: &Bytes) -> Bytes {
    in_version(message, VERSION + 1)
}

fn agree(report: &Report) {
    let (program, sources) = (Order::of("word-count").program(), [source("a", TEXT.repeat(REPEATS))]);
    let rows = local::print(&program, &sources, &local::run(&program, &sources), Format::Tsv).unwrap();
    assert_eq!((&report.end.outcome, &report.tsv), (&Outcome::Done, &rows));
}

/// Takes everything out of some queues, this many messages.
async fn take(cluster: &Cluster, queues: &[String], messages: usize) -> Vec<(String, Bytes)> {
    let mut taken = Vec::new();
    let broker = &cluster.crew.home.broker;
    let mut consumers = Vec::new();
    for name in queues {
        consumers.push((name.clone(), within("consume", broker.consume(name, 1000)).await.unwrap()));
    }
    while taken.len() < messages {
        let next =
            consumers.iter_mut().map(|(name, consumer)| Box::pin(async { (name.clone(), consumer.next().await) }));
        let ((name, delivery), ..) = within("all of them", futures_util::future::select_all(next)).await;
        let delivery = delivery.expect("the consumer lives");
        taken.push((name, delivery.body));
        assert!(within("ack", delivery.receipt.ack()).await);
    }
    taken
}

async fn put(cluster: &Cluster, messages: Vec<(String, Bytes)>) {
    for (name, message) in messages {
        cluster.crew.home.store(&name, message).await;
    }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn reduce_queues() -> Vec<String> {
    (0..3).map(|number| format!("reduce.{number}")).collect()
}

async fn tasks_of_a_later_release_wait_for_it(home: rabbit_reduce_tests::home::Home) {
    let cluster = Cluster::builder().workers(0).start(home).await;
    let session = cluster.session().await;
    let order = Order::of("word-count");
    let known = cluster.submit(&session, &order, cluster.write(&[source("a", TEXT.repeat(REPEATS))])).await;
    let chunks = within("published", session.publish(&known, None)).await.unwrap();
    let tasks = take(&cluster, &names(&[queue::MAP]), chunks as usize).await;
    // One of each queue that tasks are in.
    let places = [queue::MAP, queue::AGAIN, queue::SUSPECT];
    let scattered = (0..).zip(tasks).map(|(number, (_, task))| (places[number % 3].to_owned(), later(&task)));
    put(&cluster, scattered.collect()).await;
    let worker = cluster.crew.hire(Role::Worker).await;
    let waiting = async || cluster.crew.home.depth(queue::RETRY).await.messages;
    until("the earlier release hands them back", async || (waiting().await == chunks).then_some(())).await;
    within("it stops", cluster.crew.stop(&worker)).await;
    let mut handed_back = take(&cluster, &names(&[queue::AGAIN, queue::MAP, queue::SUSPECT]), chunks as usize).await;
    assert!(handed_back.iter().all(|(_, task)| task[2] == VERSION + 1));
    for (name, task) in &mut handed_back {
        (*name, *task) = (queue::MAP.to_owned(), in_version(task, FIRST_VERSION));
    }
    assert_eq!(cluster.files(known.spec.job, "dead"), [""; 0]);
    put(&cluster, handed_back).await;
    cluster.crew.hire(Role::Worker).await;
    agree(&cluster.conclude(&session, &known, chunks).await);
    assert_eq!(cluster.set_aside(), [""; 0]);
    cluster.finish().await;
    fault("tasks of a later release", &format!("all {chunks} go back uncounted, and are counted by the later release"));
}

async fn partials_of_a_later_release_wait_for_it(home: rabbit_reduce_tests::home::Home) {
    let cluster = Cluster::builder().start(home).await;
    let session = cluster.session().await;
    let order = Order::of("word-count");
    let known = cluster.submit(&session, &order, cluster.write(&[source("a", TEXT.repeat(REPEATS))])).await;
    for name in cluster.crew.names(Role::Aggregator) {
        within("it stops", cluster.crew.stop(&name)).await;
    }
    let chunks = cluster.publish_unsealed(&session, &known, None).await;
    let partials = 3 * chunks as usize;
    let mut taken = take(&cluster, &reduce_queues(), partials).await;
    taken.iter_mut().for_each(|(_, partial)| *partial = later(partial));
    // One of them where large ones travel.
    let (large, small) = taken.split_first_mut().unwrap();
    put(&cluster, small.to_vec()).await;
    put(&cluster, vec![(queue::REDUCE_LARGE.to_owned(), large.1.clone())]).await;
    let aggregator = cluster.crew.hire(Role::Aggregator).await;
    let everywhere = [reduce_queues(), names(&[queue::REDUCE_LARGE])].concat();
    let lie = async || {
        let mut messages = 0;
        for name in &everywhere {
            messages += cluster.crew.home.depth(name).await.messages as usize;
        }
        messages
    };
    until("they are taken", async || (lie().await < partials).then_some(())).await;
    let session = cluster.session().await;
    assert_eq!(session.uncovered(known.spec.job, chunks).await.unwrap().len(), chunks as usize, "one was misread");
    // Whoever stops puts back what it holds first.
    within("it stops", cluster.crew.stop(&aggregator)).await;
    let mut handed_back = take(&cluster, &everywhere, partials).await;
    assert!(handed_back.iter().all(|(_, partial)| partial[2] == VERSION + 1));
    handed_back.iter_mut().for_each(|(_, partial)| *partial = in_version(partial, FIRST_VERSION));
    put(&cluster, handed_back).await;
    cluster.crew.hire(Role::Aggregator).await;
    let chunks = within("sealed", session.publish(&known, None)).await.unwrap();
    agree(&cluster.conclude(&session, &known, chunks).await);
    assert_eq!(cluster.set_aside(), [""; 0]);
    cluster.finish().await;
    fault(
        "partials of a later release",
        &format!("all {partials} go back uncounted, and are counted by the later release"),
    );
}

async fn letters_questions_answers_and_news_of_a_later_release_are_not_misread(home: rabbit_reduce_tests::home::Home) {
    let cluster = Cluster::builder().start(home).await;
    let session = cluster.session().await;
    let order = Order::of("word-count");
    let known = cluster.submit(&session, &order, cluster.write(&[source("a", TEXT.repeat(REPEATS))])).await;
    let (home, job) = (&cluster.crew.home, known.spec.job);
    // This one would cancel the job, the next would end it, if they were read.
    let request = message::Request {
        id: Uuid::now_v7(),
        reply_to: "nobody".to_owned(),
        expires_ms: u64::MAX,
        ask: Ask::Cancel { job },
    };
    home.store(queue::CONTROL, later(&message::encode(&request, &[]))).await;
    let news = later(&message::encode(&News::Removed(job), &[]));
    let _heard: Published = publish(&*home.broker, &Route::News, news).await;
    let chunks = within("published", session.publish(&known, None)).await.unwrap();
    agree(&cluster.conclude(&session, &known, chunks).await);
    let letter = later(&message::encode(&News::Ended(JobId(Uuid::now_v7())), b"a letter"));
    home.store(queue::DEAD, letter.clone()).await;
    until("it is taken", async || (home.depth(queue::DEAD).await.messages == 0).then_some(())).await;
    for name in cluster.crew.names(Role::Aggregator) {
        within("it stops", cluster.crew.stop(&name)).await;
    }
    assert_eq!(take(&cluster, &names(&[queue::DEAD]), 1).await, [(queue::DEAD.to_owned(), letter)]);
    // Whoever comes next drops the question, too, once it went back often enough.
    cluster.crew.hire(Role::Aggregator).await;
    assert_eq!(cluster.set_aside(), [""; 0]);
    cluster.finish().await;
    fault(
        "letters, questions and news of a later release",
        "letters wait for it, questions and news are dropped unread",
    );
}
