//! Queues that somebody purges, and policies that undercut what the queues were declared with.
//!
//! What is thrown away is never counted, so its chunks stay uncovered: the job waits, `status` names them, `resume` repairs it.
//! What would surprise: a policy may lower a limit of a queue whose arguments set one, and no client is told.

use crate::{BOUND, agrees, is_spent, side_by_side};
use rabbit_reduce_core::jobs::{Job, Options};
use rabbit_reduce_core::spec::Source;
use rabbit_reduce_core::split::Splitter;
use rabbit_reduce_producer::reader::Reader;
use rabbit_reduce_producer::sources::collect;
use rabbit_reduce_tests::namespaces::Namespace;
use rabbit_reduce_tests::node::Node;
use rabbit_reduce_tests::processes::{Outcome, Running, counted, until};
use rabbit_reduce_tests::seen;
use std::collections::BTreeSet;
use std::sync::Arc;

const PUSH: [&str; 6] = ["push", "--detach", "--chunk-size", "32KiB", "--quiet", "in.txt"];

fn leaves(role: Running) {
    role.signal("TERM");
    assert_eq!(role.ended().code, Some(0));
}

/// A job whose tasks, or partials, wait in their queues, and nobody works.
fn waiting(namespace: &Namespace, mapped: bool) {
    let aggregator = namespace.aggregator();
    assert_eq!(namespace.ask(&PUSH).code, Some(0));
    leaves(aggregator);
    if mapped {
        assert_eq!(namespace.worker(&["--exit-when-idle"]).ended().code, Some(0));
    }
}

/// Somebody works now; the job cannot end, `status` says what lacks, and `resume` ends it.
fn is_repaired(node: &Node, namespace: &Namespace, expected: &str) {
    let (_aggregator, _worker) = (namespace.aggregator(), namespace.worker(&[]));
    until("what is left is counted", || node.holding(&namespace.name).is_empty().then_some(()));
    let status = namespace.ask(&["status", "@"]).text(0);
    assert!(status.contains("waits for chunk"), "{status}");
    agrees(namespace.producer(&["resume", "@"]), expected);
    is_spent(node, namespace);
}

#[test]
fn a_purged_queue_is_told_of_and_repaired() {
    let node = Node::default();
    for (fault, queue, mapped) in [("tasks purged", "map", false), ("partials purged", "reduce.3", true)] {
        let namespace = Namespace::at(node.url());
        let expected = namespace.input(5000);
        waiting(&namespace, mapped);
        assert!(node.queue(&namespace.name, queue).messages > 0);
        node.control(&["purge_queue", &format!("{}.{queue}", namespace.name)]);
        is_repaired(&node, &namespace, &expected);
        seen::fault(fault, "status names the chunks, resume repairs, answer exact");
    }
}

/// What somebody sets on a broker.
struct Policy {
    name: &'static str,
    command: &'static str,
    definition: &'static str,
    /// On which of the namespace's queues, as a regular expression.
    queues: &'static str,
}

const POLICIES: [Policy; 6] = [
    Policy {
        name: "policy by which tasks expire",
        command: "set_policy",
        definition: r#"{"message-ttl":1}"#,
        queues: "map",
    },
    Policy {
        name: "policy by which queues drop their heads",
        command: "set_policy",
        definition: r#"{"max-length":1,"overflow":"drop-head"}"#,
        queues: "(map|reduce.0)",
    },
    Policy {
        name: "policy that lowers the delivery limit",
        command: "set_policy",
        definition: r#"{"delivery-limit":1}"#,
        queues: ".*",
    },
    Policy {
        name: "operator policy by which tasks expire",
        command: "set_operator_policy",
        definition: r#"{"message-ttl":1}"#,
        queues: "map",
    },
    Policy {
        name: "operator policy by which everything expires",
        command: "set_operator_policy",
        definition: r#"{"message-ttl":1}"#,
        queues: "(map|again|suspect|retry|dead|reduce.*)",
    },
    Policy {
        name: "operator policy that lowers the length limit",
        command: "set_operator_policy",
        definition: r#"{"max-length":1}"#,
        queues: ".*",
    },
];

/// The bytes of a room's input, chunk by chunk, as a producer cuts it.
fn chunks(namespace: &Namespace, chunk_bytes: u64) -> Vec<String> {
    let text = std::fs::read(namespace.room.path("in.txt")).unwrap();
    let sources: Arc<[Source]> = collect(&[namespace.room.path("in.txt")]).unwrap().sources.into();
    let program = Job::new("word-count", &Options::default()).unwrap();
    let (mut reader, mut splitter) = (Reader::new(sources), Splitter::new(program.boundary(), chunk_bytes));
    let mut chunks = Vec::new();
    while let Some(plan) = splitter.next(&mut reader).unwrap() {
        let bytes = plan.pieces.iter().flat_map(|piece| &text[piece.offset as usize..][..piece.length as usize]);
        chunks.push(String::from_utf8(bytes.copied().collect()).unwrap());
    }
    chunks
}

/// The answer is exact: that of everything, less the chunks that are told to be lost. How many these are.
fn exact_less_losses(outcome: &Outcome, chunks: &[String]) -> usize {
    let told = outcome.stderr.lines().filter_map(|line| line.strip_prefix("lost: chunk "));
    let lost: BTreeSet<usize> = told.map(|rest| rest.split([',', ':']).next().unwrap().parse().unwrap()).collect();
    assert_eq!(outcome.code, Some(if lost.is_empty() { 0 } else { 3 }), "{}", outcome.stderr);
    let kept = chunks.iter().enumerate().filter(|(number, _)| !lost.contains(number));
    let kept: String = kept.map(|(_, text)| text.as_str()).collect();
    assert!(String::from_utf8_lossy(&outcome.stdout) == counted(&kept), "the answer differs: {}", outcome.stderr);
    lost.len()
}

/// Whatever a policy throws away: the answer is exact, less what is told to be lost; or the job waits, says for what, and is
/// repaired once the policy is gone.
fn undercut(node: &Node, Policy { name, command, definition, queues }: &Policy) {
    let namespace = Namespace::at(node.url());
    let _counts = namespace.input(5000);
    let chunks = chunks(&namespace, 32 << 10);
    let _aggregator = namespace.aggregator();
    // They are declared once somebody answers.
    assert_eq!(namespace.ask(&["jobs"]).code, Some(0));
    let (policy, pattern) = (&namespace.name, format!("^{}.{queues}$", namespace.name));
    node.control(&[command, "--apply-to", "queues", policy, &pattern, definition]);
    let mut push = namespace.producer(&["push", "--chunk-size", "32KiB", "--partitions", "1", "in.txt"]);
    push.says("waiting for a worker");
    let nothing_held = || node.holding(&namespace.name).is_empty();
    // One that dies, so that everything it held is returned.
    let dying = Running::start(namespace.command("worker", &[]).env("RABBIT_REDUCE_CRASH_AT", "worker.published:3"));
    until("a worker dies, or has nothing to do", || (dying.said().contains("dying") || nothing_held()).then_some(()));
    drop(dying);
    let _worker = namespace.worker(&[]);
    let mut waited = false;
    until("the job ends, or says what it waits for", || {
        // In this order: nothing held means that nothing more will be counted.
        waited = nothing_held() && namespace.ask(&["status", "@"]).text(0).contains("waits for chunk");
        (waited || !push.lives()).then_some(())
    });
    node.control(&[&command.replace("set", "clear"), policy]);
    let outcome = if waited { namespace.producer(&["resume", "@"]) } else { push }.ended_within(BOUND);
    let lost = exact_less_losses(&outcome, &chunks);
    is_spent(node, &namespace);
    let came = if waited { "the job waited and said for what, and was resumed" } else { "the job ended" };
    seen::fault(name, &format!("{came}, with {lost} of {} chunks told to be lost, exact", chunks.len()));
}

#[test]
fn a_policy_that_undercuts_a_queue_never_makes_an_answer_silently_wrong() {
    let node = Node::default();
    side_by_side(3, &POLICIES, |policy| undercut(&node, policy));
}

#[test]
fn what_goes_with_a_deleted_queue_is_told_of_and_repaired() {
    let node = Node::default();
    let namespace = Namespace::at(node.url());
    let expected = namespace.input(500);
    let aggregator = namespace.aggregator();
    let mut push = namespace.producer(&["push", "--by", "reference", "in.txt"]);
    push.says("waiting for a worker");
    // A task that is tried again lies in its queue for five seconds.
    let (file, away) = (namespace.room.path("in.txt"), namespace.room.path("away"));
    std::fs::rename(&file, &away).unwrap();
    let mut worker = namespace.worker(&[]);
    worker.says("is tried again");
    node.control(&["delete_queue", &format!("{}.retry", namespace.name)]);
    std::fs::rename(&away, &file).unwrap();
    drop((worker, aggregator));
    is_repaired(&node, &namespace, &expected);
    agrees(push, &expected);
    seen::fault("queue deleted", "status names the chunk that went with it, resume repairs, answer exact");
}
