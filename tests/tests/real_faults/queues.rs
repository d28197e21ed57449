//! Queues that somebody purges, and policies that undercut what the queues were declared with.
//!
//! What is thrown away is never counted, so its chunks stay uncovered: the job waits, `status` names them, `resume` repairs it.
//! What would surprise: a policy may lower a limit of a queue whose arguments set one, and no client is told.

use crate::{BOUND, agrees, is_spent, side_by_side};
use deadpool_lapin::lapin::options::QueuePurgeOptions;
use deadpool_lapin::lapin::{Connection, ConnectionProperties};
use rabbit_reduce_core::jobs::Options;
use rabbit_reduce_core::program::Programs;
use rabbit_reduce_core::spec::Source;
use rabbit_reduce_core::split::Splitter;
use rabbit_reduce_core::topology::queue;
use rabbit_reduce_producer::sources::collect;
use rabbit_reduce_runtime::broker::{Broker, Published, Route};
use rabbit_reduce_runtime::reader::Reader;
use rabbit_reduce_tests::home::{connect, publish};
use rabbit_reduce_tests::namespaces::Namespace;
use rabbit_reduce_tests::node::Node;
use rabbit_reduce_tests::processes::{Outcome, Running, counted, until, words};
use rabbit_reduce_tests::{seen, wait};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::runtime::Runtime;

const PUSH: [&str; 6] = ["push", "--detach", "--chunk-size", "32KiB", "--quiet", "in.txt"];
/// Longer than a segment, so that it travels by itself.
const LONG_WORD: usize = 1_500_000;

fn leaves(role: Running) {
    role.signal("TERM");
    assert_eq!(role.ended().code, Some(0));
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

/// Throws away what waits in a queue, as soon as anything does.
fn purge(node: &Node, namespace: &Namespace, queue: &str) {
    let name = format!("{}.{queue}", namespace.name);
    Runtime::new().unwrap().block_on(async {
        let connection = Connection::connect(&node.url(), ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        wait::until(&format!("something waits in {name}"), async || {
            let purged = channel.queue_purge(name.as_str().into(), QueuePurgeOptions::default()).await.unwrap();
            (purged > 0).then_some(())
        })
        .await;
    });
}

/// Waits until a queue holds something.
fn holds(node: &Node, namespace: &Namespace, queue: &str) {
    Runtime::new().unwrap().block_on(async {
        let broker = connect(&node.url(), &namespace.name).await;
        wait::until(&format!("something waits in {queue}"), async || {
            let depth = broker.depth(queue).await.unwrap();
            depth.is_some_and(|depth| depth.messages > 0).then_some(())
        })
        .await;
    });
}

/// A job whose tasks wait, and nobody is there.
fn push(namespace: &Namespace, args: &[&str]) {
    let aggregator = namespace.aggregator();
    assert_eq!(namespace.ask(args).code, Some(0));
    leaves(aggregator);
}

fn tasks_wait(_node: &Node, namespace: &Namespace) -> String {
    let expected = namespace.input(5000);
    push(namespace, &PUSH);
    expected
}

fn partials_wait(node: &Node, namespace: &Namespace) -> String {
    let expected = tasks_wait(node, namespace);
    assert_eq!(namespace.worker(&["--exit-when-idle"]).ended().code, Some(0));
    expected
}

fn large_partials_wait(_node: &Node, namespace: &Namespace) -> String {
    let text = format!("{}{} b {}\n", words(500), "x".repeat(LONG_WORD), "y".repeat(LONG_WORD));
    namespace.room.write("in.txt", &text);
    push(namespace, &PUSH);
    assert_eq!(namespace.worker(&["--exit-when-idle"]).ended().code, Some(0));
    counted(&text)
}

/// A worker that may read nothing of the input gives all of it up.
fn failures_wait(_node: &Node, namespace: &Namespace) -> String {
    let expected = namespace.input(5000);
    push(namespace, &[&PUSH[..], &["--by", "reference"]].concat());
    std::fs::create_dir(namespace.room.path("empty")).unwrap();
    let args = ["--threads", "1", "--input-root", "empty", "--exit-when-idle"];
    assert_eq!(Running::start(&mut namespace.command("worker", &args)).ended().code, Some(0));
    expected
}

/// Tasks that are sent to be mapped apart, by hand instead of by workers that died.
fn suspects_wait(node: &Node, namespace: &Namespace) -> String {
    let expected = tasks_wait(node, namespace);
    Runtime::new().unwrap().block_on(async {
        let broker = connect(&node.url(), &namespace.name).await;
        let mut tasks = broker.consume(queue::MAP, 4).await.unwrap();
        for _ in 0..4 {
            let task = wait::within("a task", tasks.next()).await.unwrap();
            let sent = publish(&broker, &Route::Queue(queue::SUSPECT.to_owned()), task.body.clone()).await;
            assert_eq!(sent, Published::Confirmed);
            assert!(wait::within("an ack", task.receipt.ack()).await);
        }
    });
    expected
}

/// A task whose file is away, for the five seconds after its attempt.
fn retries_wait(node: &Node, namespace: &Namespace) -> String {
    let expected = namespace.input(500);
    push(namespace, &["push", "--detach", "--by", "reference", "--quiet", "in.txt"]);
    let (file, away) = (namespace.room.path("in.txt"), namespace.room.path("away"));
    std::fs::rename(&file, &away).unwrap();
    let worker = namespace.worker(&[]);
    holds(node, namespace, queue::RETRY);
    leaves(worker);
    std::fs::rename(&away, &file).unwrap();
    expected
}

/// What is thrown away, and how it comes to wait there.
type Purge = (&'static str, &'static str, fn(&Node, &Namespace) -> String);

const PURGES: [Purge; 7] = [
    ("tasks purged", queue::MAP, tasks_wait),
    ("partials purged", "reduce.3", partials_wait),
    ("large partials purged", queue::REDUCE_LARGE, large_partials_wait),
    ("dead letters purged", queue::DEAD, failures_wait),
    ("suspects purged", queue::SUSPECT, suspects_wait),
    ("tasks purged before they are tried again", queue::RETRY, retries_wait),
    ("tasks purged when they are tried again", queue::AGAIN, retries_wait),
];

#[test]
fn a_purged_queue_is_told_of_and_repaired() {
    let node = Node::default();
    side_by_side(3, &PURGES, |(fault, queue, wait)| {
        let namespace = Namespace::at(node.url());
        let expected = wait(&node, &namespace);
        purge(&node, &namespace, queue);
        is_repaired(&node, &namespace, &expected);
        seen::fault(fault, "status names the chunks, resume repairs, answer exact");
    });
}

#[test]
fn questions_that_are_purged_are_asked_again() {
    let node = Node::default();
    let namespace = Namespace::at(node.url());
    let expected = namespace.input(500);
    let push = namespace.producer(&["push", "--quiet", "in.txt"]);
    // Nobody answers yet, and the producer declares the queues before it asks.
    holds(&node, &namespace, queue::CONTROL);
    for _ in 0..2 {
        purge(&node, &namespace, queue::CONTROL);
    }
    let (_aggregator, _worker) = (namespace.aggregator(), namespace.worker(&[]));
    agrees(push, &expected);
    is_spent(&node, &namespace);
    seen::fault("questions purged", "asked again by whoever waits, answer exact");
}

/// What somebody sets on a broker.
struct Policy {
    name: &'static str,
    command: &'static str,
    definition: &'static str,
    /// On which of the namespace's queues, as a regular expression.
    queues: &'static str,
    /// Chunks that may be lost at the most, told as such.
    most_lost: usize,
}

/// Of 17, where everything expires at once: several times what was ever seen.
const MOST_LOST: usize = 6;

const POLICIES: [Policy; 6] = [
    Policy {
        name: "policy by which tasks expire",
        command: "set_policy",
        definition: r#"{"message-ttl":1}"#,
        queues: "map",
        most_lost: 0,
    },
    Policy {
        name: "policy by which queues drop their heads",
        command: "set_policy",
        definition: r#"{"max-length":1,"overflow":"drop-head"}"#,
        queues: "(map|reduce.0)",
        most_lost: 0,
    },
    Policy {
        name: "policy that lowers the delivery limit",
        command: "set_policy",
        definition: r#"{"delivery-limit":1}"#,
        queues: ".*",
        most_lost: 0,
    },
    Policy {
        name: "operator policy by which tasks expire",
        command: "set_operator_policy",
        definition: r#"{"message-ttl":1}"#,
        queues: "map",
        most_lost: 0,
    },
    Policy {
        name: "operator policy by which everything expires",
        command: "set_operator_policy",
        definition: r#"{"message-ttl":1}"#,
        queues: "(map|again|suspect|retry|dead|reduce.*)",
        // A chunk is given up that was sent again three times and expired each time. Of most nothing is left, and nothing told.
        most_lost: MOST_LOST,
    },
    Policy {
        name: "operator policy that lowers the length limit",
        command: "set_operator_policy",
        definition: r#"{"max-length":1}"#,
        queues: ".*",
        most_lost: 0,
    },
];

/// The bytes of a room's input, chunk by chunk, as a producer cuts it.
fn chunks(namespace: &Namespace, chunk_bytes: u64) -> Vec<String> {
    let text = std::fs::read(namespace.room.path("in.txt")).unwrap();
    let sources: Arc<[Source]> = collect(&[namespace.room.path("in.txt")]).unwrap().sources.into();
    let program = Programs::built_in().make("word-count", &Options::default()).unwrap();
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
fn undercut(node: &Node, Policy { name, command, definition, queues, most_lost }: &Policy) {
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
    // What a policy takes out of `dead` ends where nobody takes it.
    let unreadable = format!("{}.{}", namespace.name, queue::UNREADABLE);
    let nothing_held = || node.holding(&namespace.name).iter().all(|queue| queue.name == unreadable);
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
    assert!(lost <= *most_lost, "{name}: {lost} chunks are lost: {}", outcome.stderr);
    // Only where it takes something out of `dead`.
    assert!(queues.contains("dead") || node.queue(&namespace.name, queue::UNREADABLE).messages == 0, "{name}");
    node.control(&["purge_queue", &unreadable]);
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
