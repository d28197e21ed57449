//! Floods through real processes, whose memory stays far below what they were given.
//!
//! What would surprise: the limits asserted are about twice what was measured, so that what begins to pile up anywhere is noticed
//! long before it is a danger. A private queue is flooded through the news, or by the name that its owner gives with a question.

use super::{QUEUES, stranger};
use bytes::Bytes;
use rabbit_reduce_core::id::{ChunkNumber, JobId, PartitionNumber};
use rabbit_reduce_core::message::{self, Answer, MAX_BODY_BYTES, News, Partial, Reply, Request};
use rabbit_reduce_core::pairs::PairWriter;
use rabbit_reduce_core::topology::{QUEUE_BYTES, Topology, queue};
use rabbit_reduce_runtime::broker::rabbit::RabbitBroker;
use rabbit_reduce_runtime::broker::stored::publish_stored;
use rabbit_reduce_runtime::broker::{Broker, Route};
use rabbit_reduce_tests::home::{connect, publish};
use rabbit_reduce_tests::namespaces::Namespace;
use rabbit_reduce_tests::processes::{Running, until};
use rabbit_reduce_tests::wait::within;
use rabbit_reduce_tests::{rabbit, seen};
use std::time::Duration;
use tokio::runtime::Runtime;
use uuid::Uuid;

const MESSAGES: usize = 2000;
const BYTES: usize = 1 << 20;
/// So many of them are different: the others are kept already.
const DIFFERENT: usize = 50;
/// Of the 300 that every process is given here, in MiB.
const MOST_MIB: u64 = 128;
/// All queues that somebody reads; what lies in `retry` comes by `again`.
const FLOODED: usize = QUEUES.len() - 1;
/// Messages to every private queue, and answers to nobody's question.
const PRIVATE_MESSAGES: usize = 300;
const KEYS: u32 = 10_000_000;
/// In letters of this many bits, so that keys ascend as their numbers do.
const LETTER_BITS: [u32; 4] = [18, 12, 6, 0];

/// The most memory that a process ever had, in MiB.
fn peak_mib(process: &Running) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
}

/// What they had at the most, in this order, if none had too much.
#[track_caller]
fn bounded<const N: usize>(processes: [&Running; N], most_mib: u64) -> [u64; N] {
    let peaks = processes.map(peak_mib);
    assert!(peaks.iter().all(|peak| *peak < most_mib), "{peaks:?} MiB of {most_mib}");
    peaks
}

fn on_a_broker<T>(namespace: &Namespace, work: impl AsyncFnOnce(&RabbitBroker) -> T) -> T {
    Runtime::new().unwrap().block_on(async { work(&connect(&rabbit(), &namespace.name).await).await })
}

fn garbage(number: usize) -> Bytes {
    let mut body = vec![b'g'; BYTES];
    body[..8].copy_from_slice(&number.to_le_bytes());
    body.into()
}

async fn flood(broker: &RabbitBroker, namespace: &str) {
    for number in 0..MESSAGES {
        let route = Route::Queue(QUEUES[number % FLOODED].to_owned());
        publish_stored(broker, &route, garbage(number % DIFFERENT), None).await.unwrap();
    }
    for queue in Topology::new(namespace, QUEUE_BYTES).queues {
        while broker.depth(&queue.name).await.unwrap().unwrap().messages > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[test]
fn two_gigabytes_of_garbage_take_no_more_memory_than_was_given() {
    let namespace = Namespace::default();
    let expected = namespace.input(2000);
    let (aggregator, worker) = (namespace.aggregator(), namespace.worker(&[]));
    assert_eq!(namespace.ask(&["push", "in.txt"]).text(0), expected);
    let before = bounded([&aggregator, &worker], MOST_MIB);
    on_a_broker(&namespace, async |broker| flood(broker, &namespace.name).await);
    let kept = || {
        let names = std::fs::read_dir(namespace.room.path("store/aside")).into_iter().flatten().flatten();
        names.filter(|name| !name.path().to_string_lossy().ends_with(".json")).count()
    };
    until("all are kept", || (kept() == DIFFERENT).then_some(()));
    assert_eq!(namespace.ask(&["push", "in.txt"]).text(0), expected);
    let after = bounded([&aggregator, &worker], MOST_MIB);
    let result = format!(
        "{MESSAGES} MiB into {FLOODED} queues; aggregator and worker had {before:?} MiB before, and {after:?} at the most"
    );
    seen::fault("a flood of garbage", &result);
}

/// The private queue of somebody who asks; the question stays where it is.
async fn asked_from(broker: &RabbitBroker) -> String {
    let mut questions = broker.consume(queue::CONTROL, 1).await.unwrap();
    let question = within("a question", questions.next()).await.unwrap();
    let (request, _) = message::decode::<Request>(&question.body).unwrap();
    assert!(within("it goes back", question.receipt.give_back()).await);
    request.reply_to
}

/// What no private queue wants: a part of it for everybody, a part for one of whom the name is known.
async fn flood_privately(broker: &RabbitBroker, one: &str) {
    let one = Route::Private(one.to_owned());
    for number in 0..PRIVATE_MESSAGES {
        for route in [&Route::News, &one] {
            let _returned_if_gone = publish(broker, route, garbage(number)).await;
        }
        let answer = Answer::Refused("x".repeat(1 << 16));
        let answer = message::encode(&Reply { id: Uuid::new_v4(), answer }, &[7; 1 << 16]);
        let _returned_if_gone = publish(broker, &one, answer).await;
        for news in [News::Removed(stranger()), News::Finished(stranger(), PartitionNumber(u32::MAX))] {
            let _heard = publish(broker, &Route::News, message::encode(&news, b"")).await;
        }
    }
}

#[test]
fn a_flood_of_private_queues_reaches_nobody() {
    let namespace = Namespace::default();
    let expected = namespace.input(2000);
    let push = namespace.producer(&["push", "in.txt"]);
    let private = on_a_broker(&namespace, async |broker| {
        // The producer declares the queues; until then there is nothing to consume from.
        within("it is there", async {
            while !matches!(broker.depth(queue::CONTROL).await, Ok(Some(_))) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        asked_from(broker).await
    });
    let aggregator = namespace.aggregator();
    on_a_broker(&namespace, async |broker| flood_privately(broker, &private).await);
    let [producing] = bounded([&push], MOST_MIB);
    // The job waits for a worker, which is flooded in its turn while it works.
    let worker = namespace.worker(&[]);
    on_a_broker(&namespace, async |broker| flood_privately(broker, &private).await);
    assert_eq!(push.ended().text(0), expected);
    assert_eq!(namespace.ask(&["push", "in.txt"]).text(0), expected);
    let [aggregating, working] = bounded([&aggregator, &worker], MOST_MIB);
    assert!(!namespace.room.path("store/aside").exists(), "something private was set aside");
    let result = format!(
        "{} MiB to everybody, as much to a producer, and answers to no question: exact; producer {producing} MiB, \
         aggregator {aggregating} MiB, worker {working} MiB at the most",
        2 * PRIVATE_MESSAGES
    );
    seen::fault("a flood of private queues", &result);
}

/// Ten million keys in as few bodies as hold them, and how many each has.
fn bodies() -> Vec<(u32, Vec<u8>)> {
    let (mut bodies, mut body, mut writer, mut pairs) = (Vec::new(), Vec::new(), PairWriter::default(), 0);
    for number in 0..KEYS {
        let key = LETTER_BITS.map(|bits| b'0' + u8::try_from(number >> bits & 0x3f).unwrap());
        writer.put(&mut body, &key, b"\x01");
        pairs += 1;
        if body.len() > MAX_BODY_BYTES - 64 || number + 1 == KEYS {
            bodies.push((pairs, std::mem::take(&mut body)));
            (writer, pairs) = (PairWriter::default(), 0);
        }
    }
    bodies
}

/// They could be of the job's one chunk, which nobody has mapped yet: they are counted, until the chunk itself comes.
#[test]
fn ten_million_keys_take_no_more_memory_than_was_given() {
    let namespace = Namespace::default();
    let _counts = namespace.input(2000);
    let aggregator = namespace.aggregator();
    let job = namespace.ask(&["push", "--detach", "--partitions", "1", "in.txt"]).text(0);
    let job: JobId = job.trim().parse().unwrap();
    let store = std::fs::read_to_string(namespace.room.path("store/id")).unwrap();
    let bodies = bodies();
    let before = peak_mib(&aggregator);
    on_a_broker(&namespace, async |broker| {
        for (segment, (pairs, body)) in (0..).zip(&bodies) {
            let partial = Partial {
                chunk: ChunkNumber(0),
                partition: PartitionNumber(0),
                partitions: 1,
                segment,
                last: false,
                pairs: u64::from(*pairs),
                ..super::partial(job, store.trim())
            };
            let route = Route::Queue(queue::REDUCE_LARGE.to_owned());
            publish_stored(broker, &route, message::encode(&partial, body), None).await.unwrap();
        }
        while broker.depth(queue::REDUCE_LARGE).await.unwrap().unwrap().messages > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    until("they are counted", || (namespace.stored("runs") >= bodies.len()).then_some(()));
    let _worker = namespace.worker(&[]);
    let ended = namespace.ask(&["resume", &job.to_string()]);
    ended.refused(1, &["stranger"]);
    let [after] = bounded([&aggregator], MOST_MIB);
    let result = format!(
        "{KEYS} keys in {} messages: the job fails and names who sent them; the aggregator had {before} MiB before, and {after} at \
         the most",
        bodies.len()
    );
    seen::fault("a flood of keys", &result);
}
