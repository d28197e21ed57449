//! Random kills of everybody through a whole job: workers, aggregators, and the producer, which is resumed.
//!
//! What would surprise: whom and when follow from the seed, but how far each had come does not; a failure may need several runs.

use crate::{agrees, is_spent};
use rabbit_reduce_runtime::process::clock;
use rabbit_reduce_tests::dice::Dice;
use rabbit_reduce_tests::namespaces::Namespace;
use rabbit_reduce_tests::node::Node;
use rabbit_reduce_tests::processes::{Running, until};
use rabbit_reduce_tests::seen;
use std::mem::replace;
use std::time::Duration;

/// Between two kills, in milliseconds, from and to.
const PAUSE_MS: (u64, u64) = (50, 400);

/// One job under kills; how many there were.
#[allow(clippy::print_stdout, reason = "who reads of a failure needs the seed")]
fn job(node: &Node, seed: u64) -> usize {
    println!("seed {seed}");
    let (dice, namespace) = (Dice::new(seed), Namespace::at(node.url()));
    let expected = namespace.input(60_000);
    let mut aggregators = [namespace.aggregator(), namespace.aggregator()];
    let mut workers = [namespace.worker(&[]), namespace.worker(&[])];
    let mut producer = namespace.producer(&["push", "--chunk-size", "16KiB", "in.txt"]);
    producer.says("job ");
    let mut killed = 0;
    while producer.lives() {
        let (began, pause) =
            (clock::instant(), Duration::from_millis(PAUSE_MS.0 + dice.below(PAUSE_MS.1 - PAUSE_MS.0)));
        until("the next kill, or the end", || (began.elapsed() >= pause || !producer.lives()).then_some(()));
        if !producer.lives() {
            break;
        }
        killed += 1;
        match dice.below(5) {
            0 => replace(&mut producer, namespace.producer(&["resume", "@"])).kill(),
            victim @ (1 | 2) => end(&mut aggregators[victim as usize - 1], || namespace.aggregator()),
            victim => end(&mut workers[victim as usize - 3], || namespace.worker(&[])),
        }
    }
    agrees(producer, &expected);
    is_spent(node, &namespace);
    killed
}

fn end(victim: &mut Running, successor: impl FnOnce() -> Running) {
    replace(victim, successor()).kill();
}

fn jobs(seeds: std::ops::Range<u64>) {
    let node = Node::default();
    let killed: Vec<usize> = seeds.map(|seed| job(&node, seed)).collect();
    let (jobs, all) = (killed.len(), killed.iter().sum::<usize>());
    assert!(all > 3 * jobs, "the jobs were over before anyone could die");
    seen::fault("random kills of everybody", &format!("{jobs} jobs, {all} kills, every answer exact, nothing left"));
}

#[test]
fn everybody_may_be_killed_at_any_time() {
    jobs(0..2);
}

#[test]
#[ignore = "long: scripts/long-faults"]
fn everybody_may_be_killed_at_any_time_in_many_jobs() {
    jobs(100..140);
}
