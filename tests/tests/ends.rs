//! Jobs that end early or are removed, as processes: everybody stops at once, and nothing is left.
//!
//! AMQP_URL says where the broker is. What would surprise: whether a process is idle is read from the system's account of its time.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use bytes::Bytes;
use rabbit_reduce_core::topology::{QUEUE_BYTES, REDUCE_QUEUES, Topology};
use rabbit_reduce_runtime::broker::stored::publish_stored;
use rabbit_reduce_runtime::broker::{Broker, Route};
use rabbit_reduce_runtime::process::clock;
use rabbit_reduce_runtime::store::Store;
use rabbit_reduce_runtime::store::directory::{DirectoryStore, Durability};
use rabbit_reduce_tests::buckets::files;
use rabbit_reduce_tests::home::connect;
use rabbit_reduce_tests::namespaces::Namespace;
use rabbit_reduce_tests::processes::{Running, until};
use rabbit_reduce_tests::rabbit;
use rabbit_reduce_tests::seen::fault;
use rabbit_reduce_tests::wait::within;
use std::time::Duration;

/// A second, or what it may become in a build that is slow, where other things run too.
const PROMPT: Duration = if cfg!(debug_assertions) { Duration::from_secs(3) } else { Duration::from_secs(1) };
/// A process that took less of a processor in a while is idle: timers and heartbeats.
const IDLE_TICKS: u64 = 2;
const WHILE: Duration = Duration::from_millis(250);

/// Hundredths of a second that a process has worked.
fn ticks(process: &Running) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.id())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Waits until nobody of these has worked for a while.
fn until_idle(processes: &[&Running]) {
    until("everybody is idle", || {
        let before: u64 = processes.iter().map(|process| ticks(process)).sum();
        let began = clock::instant();
        until("a while is over", || (began.elapsed() >= WHILE).then_some(()));
        let after: u64 = processes.iter().map(|process| ticks(process)).sum();
        (after - before <= IDLE_TICKS * processes.len() as u64).then_some(())
    });
}

/// Messages that lie in the queues of a namespace.
fn queued(namespace: &Namespace) -> u64 {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let broker = connect(&rabbit(), &namespace.name).await;
        let mut messages = 0;
        for queue in Topology::new(&namespace.name, QUEUE_BYTES).queues {
            messages += broker.depth(&queue.name).await.unwrap().map_or(0, |depth| u64::from(depth.messages));
        }
        messages
    })
}

fn store(namespace: &Namespace) -> DirectoryStore {
    DirectoryStore::open(namespace.room.path("store"), Durability::Volatile).unwrap()
}

/// Nothing but the store's id and the marks of removed jobs.
fn only_tombstones(store: &dyn Store) -> bool {
    files(store, "").iter().all(|path| path == "id" || path.ends_with("/removed"))
}

fn push(namespace: &Namespace) -> Running {
    namespace.producer(&["push", "--chunk-size", "64KiB", "in.txt"])
}

fn some_commits(namespace: &Namespace, push: &mut Running) {
    until("some commits", || (namespace.stored("ledger") > 8 || !push.lives()).then_some(()));
    assert!(push.lives(), "the job was over before anything could happen to it");
}

#[test]
fn a_cancelled_job_leaves_everybody_idle_and_every_queue_empty() {
    let namespace = Namespace::default();
    let _counts = namespace.input(300_000);
    let [first, second] = [(); 2].map(|()| namespace.aggregator());
    let [third, fourth] = [(); 2].map(|()| namespace.worker(&[]));
    let mut push = push(&namespace);
    some_commits(&namespace, &mut push);
    let began = clock::instant();
    assert_eq!(namespace.ask(&["cancel", "@"]).code, Some(0));
    let answered = began.elapsed();
    push.ended().refused(6, &["cancelled"]);
    let left = began.elapsed();
    until("the queues are empty", || (queued(&namespace) == 0).then_some(()));
    let empty = began.elapsed();
    until_idle(&[&first, &second, &third, &fourth]);
    let idle = began.elapsed() - WHILE;
    let spans = [answered, left, empty, idle];
    assert!(spans.iter().all(|span| *span < PROMPT), "answered, gone, empty, idle: {spans:?}, not within {PROMPT:?}");
    let [answered, left, empty, idle] = spans.map(|span| span.as_millis());
    fault(
        "a job is cancelled in the middle",
        &format!(
            "answered after {answered} ms, `push` gone after {left}, queues empty after {empty}, all idle after {idle}"
        ),
    );
}

#[test]
fn a_removal_that_was_cut_short_is_finished_by_whoever_comes_next() {
    let namespace = Namespace::default();
    let _counts = namespace.input(1000);
    for place in ["aggregator.tombstone_put", "aggregator.half_removed", "aggregator.half_removed:3"] {
        let mut command = namespace.command("aggregator", &["--store", "store", "--threads", "2"]);
        let aggregator = Running::start(command.env("RABBIT_REDUCE_CRASH_AT", place));
        let worker = namespace.worker(&[]);
        assert_eq!(namespace.ask(&["push", "in.txt"]).code, Some(0));
        let asking = namespace.producer(&["remove", "@"]);
        assert_eq!(aggregator.ended().code, None, "{place}");
        // Who asked is gone too: nobody asks again.
        asking.kill();
        drop(worker);
        assert!(!only_tombstones(&store(&namespace)), "{place}: the removal was over");
        let next = namespace.aggregator();
        until("the removal is finished", || only_tombstones(&store(&namespace)).then_some(()));
        drop(next);
    }
    fault("a removal is cut short", "the next aggregator finishes it without being asked");
}

#[test]
fn a_zombie_that_wakes_after_the_removal_leaves_nothing() {
    let namespace = Namespace::default();
    let _counts = namespace.input(100_000);
    let [zombie, _other] = [(); 2].map(|()| namespace.aggregator());
    let _worker = namespace.worker(&[]);
    let mut push = push(&namespace);
    some_commits(&namespace, &mut push);
    zombie.signal("STOP");
    assert_eq!(namespace.ask(&["cancel", "@"]).code, Some(0));
    assert_eq!(namespace.ask(&["remove", "@"]).code, Some(0));
    assert_ne!(push.ended().code, Some(0));
    zombie.signal("CONT");
    until("the queues are empty", || (queued(&namespace) == 0).then_some(()));
    until_idle(&[&zombie]);
    until("nothing is left", || only_tombstones(&store(&namespace)).then_some(()));
    fault("an aggregator sleeps through the removal of a job", "nothing but the tombstone is left, queues are empty");
}

/// What lies in the reduce queues is taken out.
fn taken(namespace: &Namespace) -> Vec<(String, Bytes)> {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let broker = connect(&rabbit(), &namespace.name).await;
        let mut taken = Vec::new();
        for name in (0..REDUCE_QUEUES).map(|number| format!("reduce.{number}")) {
            let messages = broker.depth(&name).await.unwrap().unwrap().messages;
            let mut consumer = broker.consume(&name, 100).await.unwrap();
            for _ in 0..messages {
                let partial = within("a partial", consumer.next()).await.unwrap();
                taken.push((name.clone(), partial.body));
                assert!(within("an ack", partial.receipt.ack()).await);
            }
        }
        taken
    })
}

#[test]
fn what_comes_for_a_removed_job_is_counted_in_the_log() {
    let namespace = Namespace::default();
    let _counts = namespace.input(5000);
    let aggregator = namespace.aggregator();
    assert_eq!(namespace.ask(&["push", "--detach", "--chunk-size", "32KiB", "in.txt"]).code, Some(0));
    drop(aggregator);
    assert_eq!(namespace.worker(&["--exit-when-idle"]).ended().code, Some(0));
    let partials = taken(&namespace);
    let mut aggregator = namespace.aggregator();
    for command in ["cancel", "remove"] {
        assert_eq!(namespace.ask(&[command, "@"]).code, Some(0));
    }
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let broker = connect(&rabbit(), &namespace.name).await;
        for (name, partial) in &partials {
            publish_stored(&broker, &Route::Queue(name.clone()), partial.clone(), None).await.unwrap();
        }
    });
    let number = partials.len();
    assert!(number > 8, "only {number} partials came late");
    let said = aggregator.says(&format!("messages={number}"));
    assert!(said.contains("messages of a job that is over were dropped"), "{said}");
    assert!(only_tombstones(&store(&namespace)));
    fault("partials of a removed job, by the log", &format!("all {number} are dropped and counted in the log"));
}

#[test]
fn what_is_older_than_keep_is_removed_and_teardown_leaves_no_queue() {
    let namespace = Namespace::default();
    let _counts = namespace.input(100);
    let aggregator = namespace.aggregator();
    let worker = namespace.worker(&[]);
    assert_eq!(namespace.ask(&["push", "in.txt"]).code, Some(0));
    drop(aggregator);
    let keeping = |keep| Running::start(&mut namespace.command("aggregator", &["--store", "store", "--keep", keep]));
    let patient = keeping("7d");
    assert_eq!(namespace.ask(&["results", "@"]).code, Some(0));
    drop(patient);
    let mut hasty = keeping("1ms");
    hasty.says("is older than --keep");
    until("nothing is left", || only_tombstones(&store(&namespace)).then_some(()));
    let jobs = namespace.ask(&["jobs", "--format", "json"]).text(0);
    assert_eq!(jobs.trim(), "[]");
    drop((worker, hasty));
    assert_eq!(namespace.ask(&["teardown", "--yes"]).code, Some(0));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let broker = connect(&rabbit(), &namespace.name).await;
        for queue in Topology::new(&namespace.name, QUEUE_BYTES).queues {
            assert_eq!(broker.depth(&queue.name).await.unwrap(), None, "{}", queue.name);
        }
    });
    fault("a result is older than `--keep`", "it is removed with a line in the log; only the tombstone is left");
}
