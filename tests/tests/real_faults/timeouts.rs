//! A program that takes longer for a chunk than the broker waits for an ack.
//!
//! The broker then closes the worker's channel and hands the task out again, while the worker still maps it. What would surprise: a
//! worker is made slow by stopping it nearly all of the time; it wakes up often enough for its heartbeats, and is not taken for dead.

use crate::{agrees, is_spent};
use rabbit_reduce_runtime::process::clock;
use rabbit_reduce_tests::forwarder::{Forwarder, Passage};
use rabbit_reduce_tests::namespaces::Namespace;
use rabbit_reduce_tests::node::Node;
use rabbit_reduce_tests::processes::until;
use rabbit_reduce_tests::seen;
use std::thread;
use std::time::Duration;

/// A slow worker works for so long and then stands still, again and again, until its time is over.
const WORK: Duration = Duration::from_millis(5);
/// Bytes a second that reach the worker: it is slow before it has a chunk.
const PACE: Passage = Passage::Throttled(300_000);
/// A timeout of a minute is noticed within two.
const LATEST: Duration = Duration::from_secs(240);

/// A job that has a chunk which takes the worker longer than the node's timeout; when that was over.
fn slow_program(node: &Node, lines: usize, chunk_size: &str, rest: Duration) -> Duration {
    let cable = Forwarder::to(node.address()).unwrap();
    cable.pass(PACE);
    let mut namespace = Namespace::at(node.url());
    let expected = namespace.input(lines);
    let _aggregator = namespace.aggregator();
    let mut push = namespace.producer(&["push", "--chunk-size", chunk_size, "in.txt"]);
    push.says("waiting for a worker");
    namespace.reach_by(format!("amqp://guest:guest@{}/%2f?heartbeat=60", cable.address()));
    let worker = namespace.worker(&[]);
    // From now on the first chunk is on its way, and takes a while to arrive.
    until("it consumes", || (node.queue(&namespace.name, "map").consumers == 1).then_some(()));
    let began = clock::instant();
    while !worker.said().contains("the channel is gone") {
        assert!(push.lives(), "the job was over before any ack came too late");
        assert!(began.elapsed() < LATEST, "no ack comes too late: {}", worker.said());
        worker.signal("STOP");
        thread::sleep(rest);
        worker.signal("CONT");
        thread::sleep(WORK);
    }
    let took = began.elapsed();
    agrees(push, &expected);
    is_spent(node, &namespace);
    took
}

/// The broker looks for late acks once a minute unless told otherwise.
#[test]
fn a_program_that_is_slower_than_the_consumer_timeout_is_counted_once() {
    let node = Node::with("consumer_timeout = 3000");
    node.control(&["eval", "application:set_env(rabbit, channel_tick_interval, 1000)."]);
    slow_program(&node, 12_000, "1MiB", Duration::from_millis(1500));
    seen::fault("consumer timeout of 3 s", "the task came again while it was mapped, answer exact, nothing left");
}

#[test]
#[ignore = "long: scripts/long-faults"]
fn a_program_that_is_slower_than_a_consumer_timeout_of_a_minute_is_counted_once() {
    let node = Node::with("consumer_timeout = 60000");
    let took = slow_program(&node, 24_000, "2MiB", Duration::from_secs(20));
    seen::fault(
        "consumer timeout of a minute",
        &format!("reached after {} s, answer exact, nothing left", took.as_secs()),
    );
}
