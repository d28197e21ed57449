//! A broker that stops, dies, and runs out of memory and disk in the middle of a job.
//!
//! What would surprise: nobody is told that it comes back; every process finds out by itself.

use crate::{agrees, goes_on, is_spent};
use rabbit_reduce_tests::forwarder::{Forwarder, Passage};
use rabbit_reduce_tests::namespaces::Namespace;
use rabbit_reduce_tests::node::Node;
use rabbit_reduce_tests::processes::Running;
use rabbit_reduce_tests::seen;

/// Bytes a second that reach a worker: no machine is through before something goes wrong.
const PACE: Passage = Passage::Throttled(400_000);
const PUSH: [&str; 4] = ["push", "--chunk-size", "32KiB", "in.txt"];

/// A job over which something happens to the broker, again and again.
fn happens(times: usize, fault: &str, what: impl Fn(&mut Node, &mut Running)) {
    let mut node = Node::default();
    let cable = Forwarder::to(node.address()).unwrap();
    cable.pass(PACE);
    let mut namespace = Namespace::at(format!("amqp://guest:guest@{}/%2f", cable.address()));
    let expected = namespace.input(24_000);
    let workers = [namespace.worker(&[]), namespace.worker(&[])];
    namespace.reach_by(node.url());
    let mut roles = [namespace.aggregator(), namespace.aggregator()].into_iter().chain(workers).collect::<Vec<_>>();
    let mut push = namespace.producer(&PUSH);
    for _ in 0..times {
        goes_on(&namespace, &mut push);
        what(&mut node, &mut push);
    }
    agrees(push, &expected);
    for role in &mut roles {
        assert!(role.lives(), "somebody gave up: {}", role.said());
    }
    is_spent(&node, &namespace);
    seen::fault(fault, &format!("{times} times, answer exact, every process lives, nothing left"));
}

#[test]
fn a_broker_that_is_stopped_and_started_again_costs_time_only() {
    happens(1, "broker stopped and started again", |node, _| {
        node.stop();
        node.start_again();
    });
}

#[test]
fn a_broker_that_is_killed_and_started_again_costs_time_only() {
    happens(2, "broker killed", |node, _| {
        node.kill();
        node.start_again();
    });
}

#[test]
fn an_alarm_over_memory_is_waited_out() {
    happens(1, "memory alarm", |node, push| {
        node.control(&["set_vm_memory_high_watermark", "absolute", "1MB"]);
        push.says("the broker takes no messages");
        node.control(&["set_vm_memory_high_watermark", "0.8"]);
    });
}

#[test]
fn an_alarm_over_disk_is_waited_out() {
    happens(1, "disk alarm", |node, push| {
        node.control(&["set_disk_free_limit", "100000GB"]);
        push.says("the broker takes no messages");
        node.control(&["set_disk_free_limit", "50MB"]);
    });
}
