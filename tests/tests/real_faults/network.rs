//! Networks that cut, reset, half-close, stall, delay, throttle and swallow, between every process and the broker.
//!
//! What would surprise: heartbeats are short here, so that what is noticed by them is noticed soon.

use crate::{agrees, is_spent};
use rabbit_reduce_tests::forwarder::{Forwarder, Passage, Way};
use rabbit_reduce_tests::namespaces::Namespace;
use rabbit_reduce_tests::node::Node;
use rabbit_reduce_tests::processes::until;
use rabbit_reduce_tests::seen;
use std::collections::BTreeSet;
use std::time::Duration;

/// Bytes a second that a connection lets pass while nothing is wrong: no machine is through before something is.
const PACE: Passage = Passage::Throttled(1_000_000);
/// Next to nothing for a task or a run of partials.
const NARROW: Passage = Passage::Throttled(150_000);
/// What a slow cable costs each time.
const DELAY: Duration = Duration::from_millis(20);

/// The broker's connections, by its names for them.
fn connections(node: &Node) -> BTreeSet<String> {
    node.control(&["list_connections", "--no-table-headers", "pid"]).lines().map(str::to_owned).collect()
}

/// Everybody who is connected now is given up by the broker.
fn given_up(node: &Node) {
    let before = connections(node);
    until("the broker has given everybody up", || connections(node).is_disjoint(&before).then_some(()));
}

/// A job over a cable to which something happens, a few times.
fn happens(fault: &str, times: usize, what: impl Fn(&Forwarder, &Node)) {
    let node = Node::default();
    let cable = Forwarder::to(node.address()).unwrap();
    cable.pass(PACE);
    let through = format!("amqp://guest:guest@{}/%2f?heartbeat=2", cable.address());
    let mut namespace = Namespace::at(through);
    let expected = namespace.input(30_000);
    let mut roles = [namespace.aggregator(), namespace.worker(&[]), namespace.worker(&[])];
    let mut push = namespace.producer(&["push", "--chunk-size", "32KiB", "in.txt"]);
    for _ in 0..times {
        let before = namespace.stored("ledger");
        until("another commit", || (namespace.stored("ledger") > before || !push.lives()).then_some(()));
        assert!(push.lives(), "the job was over before anything could go wrong");
        what(&cable, &node);
    }
    agrees(push, &expected);
    for role in &mut roles {
        assert!(role.lives(), "somebody gave up: {}", role.said());
    }
    is_spent(&node, &namespace);
    namespace.reach_by(node.url());
    seen::fault(fault, "answer exact, every process lives, nothing left");
}

#[test]
fn cut_connections_are_made_anew() {
    happens("connections cut", 3, |cable, _| cable.cut());
}

#[test]
fn reset_connections_are_made_anew() {
    happens("connections reset", 3, |cable, _| cable.reset());
}

#[test]
fn half_closed_connections_are_made_anew() {
    happens("connections half closed", 1, |cable, node| {
        for way in [Way::There, Way::Back] {
            let before = connections(node);
            cable.half_close(way);
            until("the broker has given everybody up", || connections(node).is_disjoint(&before).then_some(()));
        }
    });
}

#[test]
fn a_stall_beyond_the_heartbeat_costs_time_only() {
    happens("network stalls", 1, |cable, node| {
        cable.pass(Passage::Stalled);
        given_up(node);
        cable.pass(PACE);
    });
}

#[test]
fn a_network_that_swallows_what_goes_to_the_broker_costs_time_only() {
    happens("network drops one direction, to the broker", 1, |cable, node| {
        cable.pass(Passage::Deaf(Way::There));
        given_up(node);
        cable.pass(PACE);
    });
}

#[test]
fn a_network_that_swallows_what_comes_from_the_broker_costs_time_only() {
    happens("network drops one direction, from the broker", 1, |cable, node| {
        cable.pass(Passage::Deaf(Way::Back));
        given_up(node);
        cable.pass(PACE);
    });
}

#[test]
fn a_slow_network_costs_time_only() {
    happens("network delays", 1, |cable, _| cable.pass(Passage::Delayed(DELAY)));
}

#[test]
fn a_narrow_network_costs_time_only() {
    happens("network throttles", 1, |cable, _| cable.pass(NARROW));
}
