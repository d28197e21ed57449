//! Networks that cut, reset, half-close, stall, delay, throttle and swallow, between every process and the broker.
//!
//! What would surprise: heartbeats are short here, so that what is noticed by them is noticed soon.

use crate::{agrees, goes_on, is_spent, side_by_side};
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

/// Jobs that go on at once: most of one is waiting.
const AT_ONCE: usize = 4;

/// What happens to a cable, and what it is called.
struct Fault {
    name: &'static str,
    times: usize,
    happens: fn(&Forwarder, &Node),
}

const FAULTS: [Fault; 8] = [
    Fault {
        name: "network stalls",
        times: 1,
        happens: |cable, node| {
            cable.pass(Passage::Stalled);
            given_up(cable, node);
            cable.pass(PACE);
        },
    },
    Fault {
        name: "network swallows what goes to the broker",
        times: 1,
        happens: |cable, node| {
            cable.pass(Passage::Deaf(Way::There));
            given_up(cable, node);
            cable.pass(PACE);
        },
    },
    Fault {
        name: "network swallows what comes from the broker",
        times: 1,
        happens: |cable, node| {
            cable.pass(Passage::Deaf(Way::Back));
            given_up(cable, node);
            cable.pass(PACE);
        },
    },
    Fault {
        name: "connections half closed",
        times: 1,
        happens: |cable, node| {
            for way in [Way::There, Way::Back] {
                let ports = cable.ports();
                cable.half_close(way);
                until_gone(&ports, node);
            }
        },
    },
    Fault { name: "connections cut", times: 3, happens: |cable, _| cable.cut() },
    Fault { name: "connections reset", times: 3, happens: |cable, _| cable.reset() },
    Fault { name: "network delays", times: 1, happens: |cable, _| cable.pass(Passage::Delayed(DELAY)) },
    Fault { name: "network throttles", times: 1, happens: |cable, _| cable.pass(NARROW) },
];

/// Everybody who is connected by this cable now is given up by the broker.
fn given_up(cable: &Forwarder, node: &Node) {
    until_gone(&cable.ports(), node);
}

fn until_gone(ports: &BTreeSet<u16>, node: &Node) {
    let connected = || {
        let listed = node.control(&["list_connections", "--no-table-headers", "peer_port"]);
        listed.lines().filter_map(|port| port.trim().parse().ok()).collect::<BTreeSet<u16>>()
    };
    until("the broker has given everybody up", || connected().is_disjoint(ports).then_some(()));
}

/// A job over a cable to which something happens, a few times.
fn job(node: &Node, fault: &Fault) {
    let cable = Forwarder::to(node.address()).unwrap();
    cable.pass(PACE);
    let mut namespace = Namespace::at(format!("amqp://guest:guest@{}/%2f?heartbeat=2", cable.address()));
    let expected = namespace.input(30_000);
    let mut roles = [namespace.aggregator(), namespace.worker(&[]), namespace.worker(&[])];
    let mut push = namespace.producer(&["push", "--chunk-size", "32KiB", "in.txt"]);
    for _ in 0..fault.times {
        goes_on(&namespace, &mut push);
        (fault.happens)(&cable, node);
    }
    agrees(push, &expected);
    for role in &mut roles {
        assert!(role.lives(), "{}: somebody gave up: {}", fault.name, role.said());
    }
    is_spent(node, &namespace);
    // A cable that is slow now is none to tidy up by.
    namespace.reach_by(node.url());
    seen::fault(fault.name, "answer exact, every process lives, nothing left");
}

#[test]
fn whatever_a_network_does_costs_time_only() {
    let node = Node::default();
    side_by_side(AT_ONCE, &FAULTS, |fault| job(&node, fault));
}
