//! Processes that die in the middle of a job, without a word: the answer is the same.

use rabbit_reduce_runtime::process::clock;
use rabbit_reduce_tests::namespaces::Namespace;
use rabbit_reduce_tests::processes::until;
use rabbit_reduce_tests::seen;
use std::process::Command;
use std::time::Duration;

/// How long a worker lives.
const LIFE: Duration = Duration::from_millis(300);

#[test]
fn a_worker_that_is_killed_every_300_ms_costs_time_only() {
    let namespace = Namespace::default();
    let expected = namespace.input(60_000);
    let _aggregator = namespace.aggregator();
    let mut push = namespace.producer(&["push", "--chunk-size", "32KiB", "in.txt"]);
    let (mut born, mut worker, mut killed) = (clock::instant(), namespace.worker(&[]), 0);
    until("the end of the job", || {
        if born.elapsed() >= LIFE {
            killed += 1;
            std::mem::replace(&mut worker, namespace.worker(&[])).kill();
            born = clock::instant();
        }
        (!push.lives()).then_some(())
    });
    assert_eq!(push.ended().text(0), expected);
    assert!(killed > 2, "the job was over before anyone could die");
    seen::fault("a worker is killed every 300 ms", "answer exact");
}

#[test]
fn an_aggregator_that_is_killed_in_the_middle_is_replaced_by_another() {
    let namespace = Namespace::default();
    let expected = namespace.input(40_000);
    let (mut aggregator, _worker) = (namespace.aggregator(), namespace.worker(&[]));
    let mut push = namespace.producer(&["push", "--chunk-size", "32KiB", "in.txt"]);
    for kill in 1..=3 {
        // Something more is committed each time, and not everything.
        let before = namespace.stored("ledger");
        until("another commit", || (namespace.stored("ledger") > before || !push.lives()).then_some(()));
        assert!(push.lives() || kill > 1, "the job was over before anyone could die");
        std::mem::replace(&mut aggregator, namespace.aggregator()).kill();
    }
    assert_eq!(push.ended().text(0), expected);
    seen::fault("an aggregator is killed in the middle", "three times, answer exact");
}

#[test]
fn a_producer_that_is_killed_in_the_middle_is_resumed() {
    let namespace = Namespace::default();
    let expected = namespace.input(40_000);
    let _aggregator = namespace.aggregator();
    // Nobody maps: the map queue fills, and publishing stops in the middle.
    let mut push = namespace.producer(&["push", "--chunk-size", "4KiB", "in.txt"]);
    push.says("waiting for a worker");
    push.kill();
    let _worker = namespace.worker(&[]);
    let status = namespace.ask(&["status"]).text(0);
    assert!(status.contains("publishing; waits for its producer"), "{status}");
    assert_eq!(namespace.ask(&["resume", "@"]).text(0), expected);
    // Once more changes nothing.
    assert_eq!(namespace.ask(&["resume", "@"]).text(0), expected);
    seen::fault("a producer is killed in the middle", "status says so; resumed, answer exact");
}

#[test]
fn a_job_over_compressed_files_is_resumed() {
    let namespace = Namespace::default();
    let expected = namespace.input(20_000);
    assert!(Command::new("gzip").arg(namespace.room.path("in.txt")).status().expect("there is gzip").success());
    let _aggregator = namespace.aggregator();
    // Nobody maps, so the queue is full before everything is published.
    let mut push = namespace.producer(&["push", "--chunk-size", "4KiB", "in.txt.gz"]);
    push.says("job ");
    until("something is published", || {
        let status = namespace.ask(&["status", "--format", "json"]);
        (status.code == Some(0)).then_some(())
    });
    push.signal("INT");
    push.ended().refused(6, &["is not wholly published", "producer resume "]);
    let _worker = namespace.worker(&[]);
    assert_eq!(namespace.ask(&["resume", "--quiet", "@"]).text(0), expected);
    seen::fault("a push of compressed files is interrupted", "resumed, the answer is exact");
}
