//! A flood of garbage through a real process, whose memory stays what it was told.

use super::QUEUES;
use bytes::Bytes;
use rabbit_reduce_core::topology::{QUEUE_BYTES, Topology};
use rabbit_reduce_runtime::broker::stored::publish_stored;
use rabbit_reduce_runtime::broker::{Broker, Route};
use rabbit_reduce_tests::home::connect;
use rabbit_reduce_tests::namespaces::Namespace;
use rabbit_reduce_tests::processes::{Running, until};
use rabbit_reduce_tests::{rabbit, seen};

const MESSAGES: usize = 2000;
const BYTES: usize = 1 << 20;
/// So many of them are different: the others are kept already.
const DIFFERENT: usize = 50;
/// What `Namespace` gives every process.
const MEMORY_MIB: u64 = 300;

/// The most memory that a process ever had, in MiB.
fn peak_mib(process: &Running) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
}

async fn flood(namespace: &str) {
    let broker = connect(&rabbit(), namespace).await;
    let broker: &dyn Broker = &broker;
    for number in 0..MESSAGES {
        let mut body = vec![b'g'; BYTES];
        body[..8].copy_from_slice(&(number % DIFFERENT).to_le_bytes());
        let route = Route::Queue(QUEUES[3 + number % 5].to_owned());
        publish_stored(broker, &route, Bytes::from(body), None).await.unwrap();
    }
    for queue in Topology::new(namespace, QUEUE_BYTES).queues {
        while broker.depth(&queue.name).await.unwrap().unwrap().messages > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

#[test]
fn two_gigabytes_of_garbage_take_no_more_memory_than_was_given() {
    let namespace = Namespace::default();
    let expected = namespace.input(2000);
    let (aggregator, worker) = (namespace.aggregator(), namespace.worker(&[]));
    assert_eq!(namespace.ask(&["push", "in.txt"]).text(0), expected);
    let before = peak_mib(&aggregator);
    tokio::runtime::Runtime::new().unwrap().block_on(flood(&namespace.name));
    let kept = || {
        let names = std::fs::read_dir(namespace.room.path("store/aside")).into_iter().flatten().flatten();
        names.filter(|name| !name.path().to_string_lossy().ends_with(".json")).count()
    };
    until("all are kept", || (kept() == DIFFERENT).then_some(()));
    assert_eq!(namespace.ask(&["push", "in.txt"]).text(0), expected);
    let (aggregator, worker) = (peak_mib(&aggregator), peak_mib(&worker));
    assert!(aggregator < MEMORY_MIB && worker < MEMORY_MIB, "{aggregator} and {worker} MiB, before {before} MiB");
    seen::fault(
        "a flood of garbage",
        &format!("{MESSAGES} MiB through an aggregator that had {before} MiB: {aggregator} MiB"),
    );
}
