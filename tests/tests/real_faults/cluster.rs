//! Three brokers that hold the same queues: one that leads them dies, and one is cut off from the others.
//!
//! What would surprise: the clients know one address, that of a cable which takes them to the first node that lets them in.

use crate::{agrees, goes_on, is_spent};
use rabbit_reduce_tests::forwarder::{Forwarder, Passage};
use rabbit_reduce_tests::namespaces::Namespace;
use rabbit_reduce_tests::node::Cluster;
use rabbit_reduce_tests::processes::Running;
use rabbit_reduce_tests::seen;

/// Bytes a second that a connection lets pass until something has gone wrong: no machine is through before, however long it
/// takes to ask a cluster who leads it.
const PACE: Passage = Passage::Throttled(50_000);

/// A job over a cluster, to which something happens in the middle.
fn happens(fault: &str, what: impl Fn(&mut Cluster, usize, &Namespace, &mut Running)) {
    let mut cluster = Cluster::default();
    let cable = Forwarder::to_first_of(cluster.nodes.iter().map(|node| node.address()).collect()).unwrap();
    cable.pass(PACE);
    let mut namespace = Namespace::at(format!("amqp://guest:guest@{}/%2f?heartbeat=4", cable.address()));
    let expected = namespace.input(30_000);
    let mut roles = [namespace.aggregator(), namespace.worker(&[]), namespace.worker(&[])];
    let mut push = namespace.producer(&["push", "--chunk-size", "32KiB", "in.txt"]);
    goes_on(&namespace, &mut push);
    let leader = cluster.leader(&format!("{}.map", namespace.name));
    assert_eq!(cluster.members(&format!("{}.map", namespace.name)), 3);
    what(&mut cluster, leader, &namespace, &mut push);
    cable.pass(Passage::Free);
    agrees(push, &expected);
    for role in &mut roles {
        assert!(role.lives(), "somebody gave up: {}", role.said());
    }
    is_spent(&cluster.nodes[leader], &namespace);
    namespace.reach_by(cluster.nodes[leader].url());
    seen::fault(fault, "answer exact, every process lives, nothing left");
}

#[test]
fn a_cluster_whose_leader_dies_goes_on() {
    happens("leader of a cluster killed", |cluster, leader, namespace, push| {
        cluster.nodes[leader].kill();
        goes_on(namespace, push);
        cluster.nodes[leader].start_again();
    });
}

#[test]
fn a_cluster_of_which_the_leader_is_cut_off_goes_on() {
    happens("node of a cluster cut off", |cluster, leader, namespace, push| {
        cluster.cut_off(leader);
        goes_on(namespace, push);
        cluster.heal(leader);
    });
}
