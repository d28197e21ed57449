//! Processes, and the broker itself, that stand still for longer than a heartbeat and then go on as if nothing had been.
//!
//! What would surprise: nothing is waited for by the clock; a process stands still until its work is done by somebody else, or
//! until the others have noticed.

use crate::{agrees, is_spent};
use rabbit_reduce_tests::namespaces::Namespace;
use rabbit_reduce_tests::node::Node;
use rabbit_reduce_tests::processes::{Running, until};
use rabbit_reduce_tests::seen;

const PUSH: [&str; 4] = ["push", "--chunk-size", "16KiB", "in.txt"];

/// A namespace whose connections are given up after a few silent seconds.
fn impatient(node: &Node) -> Namespace {
    Namespace::at(format!("{}?heartbeat=2", node.url()))
}

/// Waits until the broker has as many consumers of a queue.
fn consumed_by(node: &Node, namespace: &Namespace, queue: &str, consumers: u64) {
    until("as many consume", || (node.queue(&namespace.name, queue).consumers == consumers).then_some(()));
}

/// Stands still in the middle of whatever it does, until the broker has given it up.
fn freeze(node: &Node, namespace: &Namespace, role: &Running, queue: &str) {
    role.signal("STOP");
    consumed_by(node, namespace, queue, 0);
}

#[test]
fn a_worker_that_wakes_up_after_its_heartbeat_counts_nothing_twice() {
    let node = Node::default();
    let namespace = impatient(&node);
    let expected = namespace.input(20_000);
    let (_aggregator, push) = (namespace.aggregator(), namespace.producer(&PUSH));
    let mut sleeper = namespace.worker(&[]);
    until("it has done some", || (namespace.stored("ledger") > 0).then_some(()));
    freeze(&node, &namespace, &sleeper, "map");
    let other = namespace.worker(&[]);
    agrees(push, &expected);
    other.kill();
    sleeper.signal("CONT");
    agrees(namespace.producer(&PUSH), &expected);
    assert!(sleeper.lives());
    is_spent(&node, &namespace);
    seen::fault("worker stopped beyond the heartbeat", "its tasks are done by another, both jobs exact, it works on");
}

#[test]
fn an_aggregator_that_wakes_up_after_its_heartbeat_counts_nothing_twice() {
    let node = Node::default();
    let namespace = impatient(&node);
    let expected = namespace.input(20_000);
    let mut sleeper = namespace.aggregator();
    let (_worker, push) = (namespace.worker(&[]), namespace.producer(&PUSH));
    until("it has done some", || (namespace.stored("ledger") > 0).then_some(()));
    freeze(&node, &namespace, &sleeper, "reduce.0");
    let other = namespace.aggregator();
    agrees(push, &expected);
    // What it was about to write comes to ledgers that have moved on.
    sleeper.signal("CONT");
    consumed_by(&node, &namespace, "reduce.0", 2);
    other.kill();
    agrees(namespace.producer(&PUSH), &expected);
    assert!(sleeper.lives());
    is_spent(&node, &namespace);
    seen::fault("aggregator stopped beyond the heartbeat", "another finished its job, both jobs exact, it works on");
}

#[test]
fn a_producer_that_wakes_up_after_its_heartbeat_goes_on() {
    let node = Node::default();
    let namespace = impatient(&node);
    let expected = namespace.input(60_000);
    let _aggregator = namespace.aggregator();
    let mut push = namespace.producer(&["push", "--chunk-size", "4KiB", "in.txt"]);
    // Nobody maps: the map queue fills, and publishing stops in the middle.
    push.says("waiting for a worker");
    let connections = || node.control(&["list_connections", "--no-table-headers", "pid"]).lines().count();
    let before = connections();
    push.signal("STOP");
    until("the broker has given it up", || (connections() < before).then_some(()));
    let _worker = namespace.worker(&[]);
    until("what it had published is mapped", || (node.queue(&namespace.name, "map").messages == 0).then_some(()));
    push.signal("CONT");
    agrees(push, &expected);
    is_spent(&node, &namespace);
    seen::fault("producer stopped beyond the heartbeat", "it publishes on, answer exact, nothing left");
}

#[test]
fn a_broker_that_stands_still_beyond_the_heartbeat_costs_time_only() {
    let node = Node::default();
    let namespace = impatient(&node);
    let expected = namespace.input(20_000);
    let (mut aggregator, mut worker) = (namespace.aggregator(), namespace.worker(&[]));
    let mut push = namespace.producer(&PUSH);
    until("some is done", || (namespace.stored("ledger") > 0).then_some(()));
    assert!(push.lives(), "the job was over before the broker could stand still");
    node.freeze();
    worker.says("the channel is gone; consuming anew");
    aggregator.says("the channel is gone; consuming anew");
    node.thaw();
    agrees(push, &expected);
    assert!(worker.lives() && aggregator.lives());
    is_spent(&node, &namespace);
    seen::fault("broker stopped beyond the heartbeat", "everybody connects anew, answer exact, nothing left");
}
