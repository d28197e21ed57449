//! Two releases side by side: what a later one wrote is refused by its version, never misread, and not lost.
//!
//! What would surprise: the later release is this one with another number in the second place of its messages; the test turns the
//! number back when the later release is to read them.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod world;

use bytes::Bytes;
use rabbit_reduce_core::id::JobId;
use rabbit_reduce_core::ledger::Ledger;
use rabbit_reduce_core::local;
use rabbit_reduce_core::message::{self, Ask, FIRST_VERSION, News, Outcome, Task, VERSION};
use rabbit_reduce_core::rows::format::Format;
use rabbit_reduce_core::spec::PROGRAM_VERSION;
use rabbit_reduce_core::topology::queue;
use rabbit_reduce_producer::session::{Known, Session};
use rabbit_reduce_runtime::broker::{Published, Route};
use rabbit_reduce_runtime::store::Put;
use rabbit_reduce_tests::cluster::{Cluster, Order, Report, source};
use rabbit_reduce_tests::crew::Role;
use rabbit_reduce_tests::home::{Home, publish};
use rabbit_reduce_tests::seen::fault;
use rabbit_reduce_tests::wait::{until, within};
use std::collections::BTreeSet;
use std::sync::Arc;
use uuid::Uuid;

world::on_both_brokers! {
    tasks_of_a_later_release_wait_for_it
    tasks_of_another_version_of_their_program_wait_for_it
    a_ledger_entry_of_a_later_release_keeps_its_job_from_being_opened
    a_ledger_entry_of_a_later_release_holds_up_its_partition
    partials_of_a_later_release_wait_for_it
    letters_questions_answers_and_news_of_a_later_release_are_not_misread
    many_letters_of_a_later_release_hold_up_no_others
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

async fn tasks_of_a_later_release_wait_for_it(home: Home) {
    let chunks = tasks_wait(home, later, |task| in_version(task, FIRST_VERSION)).await;
    fault("tasks of a later release", &format!("all {chunks} go back uncounted, and are counted by the later release"));
}

/// The same message, of a program that maps otherwise.
fn of_program_version(task: &Bytes, version: u32) -> Bytes {
    let (mut task, input) = message::decode::<Task>(task).unwrap();
    task.program.version = version;
    message::encode(&task, &input)
}

async fn tasks_of_another_version_of_their_program_wait_for_it(home: Home) {
    let theirs = |task: &Bytes| of_program_version(task, PROGRAM_VERSION + 1);
    let chunks = tasks_wait(home, theirs, |task| of_program_version(task, PROGRAM_VERSION)).await;
    let result = format!("all {chunks} go back uncounted, and are counted by a release of that version");
    fault("tasks of another version of their program", &result);
}

/// A job of the text, how many chunks it has, and its tasks, taken out of their queue.
async fn published(cluster: &Cluster, session: &Session) -> (Known, u32, Vec<Bytes>) {
    let sources = cluster.write(&[source("a", TEXT.repeat(REPEATS))]);
    let known = cluster.submit(session, &Order::of("word-count"), sources).await;
    let chunks = within("published", session.publish(&known, None)).await.unwrap();
    let tasks = take(cluster, &names(&[queue::MAP]), chunks as usize).await;
    (known, chunks, tasks.into_iter().map(|(_, task)| task).collect())
}

/// Tasks that are `theirs` are handed back by our worker as they are, and counted once they are `ours`; how many.
async fn tasks_wait(home: Home, theirs: impl Fn(&Bytes) -> Bytes, ours: impl Fn(&Bytes) -> Bytes) -> u32 {
    let cluster = Cluster::builder().workers(0).start(home).await;
    let session = cluster.session().await;
    let (known, chunks, tasks) = published(&cluster, &session).await;
    let tasks: Vec<Bytes> = tasks.iter().map(theirs).collect();
    // One of each queue that tasks are in.
    let places = [queue::MAP, queue::AGAIN, queue::SUSPECT];
    let scattered = (0..).zip(&tasks).map(|(number, task)| (places[number % 3].to_owned(), task.clone()));
    put(&cluster, scattered.collect()).await;
    let worker = cluster.crew.hire(Role::Worker).await;
    let waiting = async || cluster.crew.home.depth(queue::RETRY).await.messages;
    until("the other release hands them back", async || (waiting().await == chunks).then_some(())).await;
    within("it stops", cluster.crew.stop(&worker)).await;
    let mut handed_back = take(&cluster, &names(&[queue::AGAIN, queue::MAP, queue::SUSPECT]), chunks as usize).await;
    let as_they_are: BTreeSet<&Bytes> = handed_back.iter().map(|(_, task)| task).collect();
    assert_eq!(as_they_are, tasks.iter().collect(), "one is not as it was");
    for (name, task) in &mut handed_back {
        (*name, *task) = (queue::MAP.to_owned(), ours(task));
    }
    assert_eq!(cluster.files(known.spec.job, "dead"), [""; 0]);
    put(&cluster, handed_back).await;
    cluster.crew.hire(Role::Worker).await;
    agree(&cluster.conclude(&session, &known, chunks).await);
    assert_eq!(cluster.set_aside(), [""; 0]);
    cluster.finish().await;
    chunks
}

/// An entry that no release knows yet, as the first of a partition.
const ENTRY: &str =
    r#"{"nonce":"6f1c3a4e-0d43-4a3e-9b1e-6c2f4a7d9e10","writer":"later","entry":{"ponder":{"chunk":0}}}"#;

fn entry_path(job: JobId, number: u64) -> String {
    format!("jobs/{job}/ledger/0000/{number:010}")
}

/// Who asks how a job stands that cannot be read is told so.
async fn is_told_of(session: &Session, job: JobId, path: &str) {
    let told = within("an answer", session.ask(Ask::Status { job, detail: true }, &[])).await.unwrap_err().to_string();
    assert!(told.contains("unknown variant `ponder`") && told.contains(path), "{told}");
}

/// The entry was there first: nobody here begins with the job.
async fn a_ledger_entry_of_a_later_release_keeps_its_job_from_being_opened(home: Home) {
    let cluster = Cluster::builder().start(home).await;
    let session = cluster.session().await;
    let order = Order::of("word-count");
    let known = cluster.submit(&session, &order, cluster.write(&[source("a", TEXT.repeat(REPEATS))])).await;
    let job = known.spec.job;
    for name in cluster.crew.names(Role::Aggregator) {
        within("it stops", cluster.crew.stop(&name)).await;
    }
    let (store, path) = (Arc::clone(&cluster.crew.store), entry_path(job, Ledger::default().next()));
    assert_eq!(store.put_new(&path, ENTRY.as_bytes()).unwrap(), Put::Created);
    let chunks = cluster.publish_unsealed(&session, &known, None).await;
    cluster.crew.hire(Role::Aggregator).await;
    let partials = 3 * chunks as usize;
    until("all are kept", async || (cluster.set_aside().len() == partials).then_some(())).await;
    until("all have notes", async || {
        let notes = cluster.set_aside().into_iter().map(|name| cluster.note(&format!("aside/{name}")));
        let notes: Option<Vec<_>> = notes.collect();
        let about = |note: &serde_json::Value| note["reason"].as_str().unwrap().contains("unknown variant `ponder`");
        notes.map(|notes| assert!(notes.iter().all(about), "{notes:?}"))
    })
    .await;
    is_told_of(&session, job, &path).await;
    assert_eq!(cluster.files(job, "ledger/0000").len(), 1);
    assert!(cluster.files(job, "ledger/0001").is_empty() && cluster.files(job, "runs").is_empty());
    // Another job is nothing to it.
    agree(&cluster.run(&order, &[source("a", TEXT.repeat(REPEATS))]).await);
    // What the later release does about its entry is its own; once it can be read, `resume` goes on.
    store.remove(&path).unwrap();
    let open = session.uncovered(job, chunks).await.unwrap();
    assert_eq!(open.len(), chunks as usize);
    let chunks = within("published", session.publish(&known, Some(open))).await.unwrap();
    agree(&cluster.conclude(&session, &known, chunks).await);
    cluster.finish().await;
    fault(
        "a ledger entry of a later release",
        &format!("told, {partials} partials kept aside, nothing counted beside it; `resume` repairs"),
    );
}

/// The entry comes while the job is in memory: its partition stands still, with all that came for it.
async fn a_ledger_entry_of_a_later_release_holds_up_its_partition(home: Home) {
    let cluster = Cluster::builder().start(home).await;
    let session = cluster.session().await;
    let order = Order::of("word-count");
    let known = cluster.submit(&session, &order, cluster.write(&[source("a", TEXT.repeat(REPEATS))])).await;
    let (job, some) = (known.spec.job, BTreeSet::from([0, 1]));
    cluster.publish_unsealed(&session, &known, Some(some.clone())).await;
    until("some are counted", async || session.uncovered(job, 2).await.unwrap().is_empty().then_some(())).await;
    let entries = |partition: u32| cluster.files(job, &format!("ledger/{partition:04}")).len();
    let before = [0, 1, 2].map(entries);
    let (store, path) = (Arc::clone(&cluster.crew.store), entry_path(job, before[0] as u64 + Ledger::default().next()));
    assert_eq!(store.put_new(&path, ENTRY.as_bytes()).unwrap(), Put::Created);
    let chunks = within("published", session.publish(&known, None)).await.unwrap();
    until("the others are committed", async || [1, 2].iter().all(|&p| entries(p) > before[p as usize]).then_some(()))
        .await;
    is_told_of(&session, job, &path).await;
    assert_eq!((entries(0), cluster.files(job, "end"), cluster.set_aside()), (before[0] + 1, vec![], vec![]));
    // It cannot commit what it holds, so it does not stop when it is asked to.
    for name in cluster.crew.names(Role::Aggregator) {
        cluster.crew.kill(&name);
    }
    store.remove(&path).unwrap();
    cluster.crew.hire(Role::Aggregator).await;
    agree(&cluster.conclude(&session, &known, chunks).await);
    cluster.finish().await;
    fault(
        "a ledger entry of a later release in the middle of a job",
        "told; nothing is counted beside it, nothing lost",
    );
}

async fn partials_of_a_later_release_wait_for_it(home: Home) {
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

async fn many_letters_of_a_later_release_hold_up_no_others(home: Home) {
    const LETTERS: usize = 200;
    let cluster = Cluster::builder().workers(0).start(home).await;
    let session = cluster.session().await;
    let (known, chunks, tasks) = published(&cluster, &session).await;
    let theirs = || later(&message::encode(&News::Ended(JobId(Uuid::now_v7())), b"a letter"));
    let letters: Vec<Bytes> = std::iter::repeat_with(theirs).take(LETTERS).collect();
    let to_dead = |message: &Bytes| (queue::DEAD.to_owned(), message.clone());
    put(&cluster, letters.iter().map(to_dead).collect()).await;
    // As if the broker had given up on them: they are sent again.
    put(&cluster, tasks.iter().map(to_dead).collect()).await;
    cluster.crew.hire(Role::Worker).await;
    agree(&cluster.conclude(&session, &known, chunks).await);
    for name in cluster.crew.names(Role::Aggregator) {
        within("it stops", cluster.crew.stop(&name)).await;
    }
    let left = take(&cluster, &names(&[queue::DEAD]), LETTERS).await;
    assert_eq!(left.iter().map(|(_, letter)| letter).collect::<BTreeSet<_>>(), letters.iter().collect());
    cluster.crew.hire(Role::Aggregator).await;
    assert_eq!(cluster.set_aside(), [""; 0]);
    cluster.finish().await;
    let result = format!("{LETTERS} of them wait for it, and {chunks} others between them are dealt with");
    fault("many letters of a later release", &result);
}

async fn letters_questions_answers_and_news_of_a_later_release_are_not_misread(home: Home) {
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
