//! Faults on real brokers, with real processes: the three binaries on RabbitMQ nodes that the tests start, and break.
//!
//! Every fault ends the same way: the answer is that of the plainest count, the job ended as it should, and nothing is left in any
//! queue or set aside. What would surprise: what takes minutes is ignored here and run by `scripts/long-faults`.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod brokers;
mod cluster;
mod crash_points;
mod frozen;
mod kills;
mod network;
mod queues;
mod soak;
mod timeouts;

use rabbit_reduce_runtime::process::clock;
use rabbit_reduce_tests::namespaces::Namespace;
use rabbit_reduce_tests::node::Node;
use rabbit_reduce_tests::processes::{Running, until};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// How long a job may take on which something was broken: longer than a confirm is waited for, twice over.
const BOUND: Duration = Duration::from_secs(150);

/// Between two looks, each of which starts a program.
const LOOK: Duration = Duration::from_millis(300);

/// Does something with each of them, some at once; what fails fails the test.
fn side_by_side<T: Sync>(at_once: usize, all: &[T], work: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while let Some(one) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    work(one);
                }
            });
        }
    });
}

/// Waits until more is committed, while the job goes on.
#[track_caller]
fn goes_on(namespace: &Namespace, push: &mut Running) {
    let before = namespace.stored("ledger");
    until("another commit", || (namespace.stored("ledger") > before || !push.lives()).then_some(()));
    assert!(push.lives(), "the job was over before anything could go wrong");
}

/// Waits for the end of a `push` or `resume`, and holds its answer against the expected one.
#[track_caller]
fn agrees(producer: Running, expected: &str) {
    let outcome = producer.ended_within(BOUND);
    assert_eq!(outcome.code, Some(0), "it said: {}", outcome.stderr);
    let answer = String::from_utf8(outcome.stdout).unwrap();
    assert!(answer == expected, "the answer differs: {} bytes, not {}", answer.len(), expected.len());
}

/// Whether nothing is left of a job that has ended: no message, ready or unacked, in any queue, and none set aside.
#[track_caller]
fn is_spent(node: &Node, namespace: &Namespace) {
    let began = clock::instant();
    loop {
        let left = node.holding(&namespace.name);
        if left.is_empty() {
            break;
        }
        assert!(began.elapsed() < BOUND, "left in queues: {left:?}");
        thread::sleep(LOOK);
    }
    assert!(!namespace.room.path("store/aside").exists(), "something was set aside");
}
