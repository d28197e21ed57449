//! Messages of somebody who may write anything to any queue: each is kept with its reason, and the job beside it ends exact.
//!
//! What is thrown stands in tables (`garbage.rs`, `lies.rs`): a line is a name, what is sent, and a part of the reason that the
//! store must tell. What would surprise: a lie within all limits cannot be told from the truth when it comes; the last tests show
//! that it is found out in the end.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../world/mod.rs"]
mod world;

mod amqp;
mod flood;
mod garbage;
mod lies;
mod plain_amqp;
mod questions;

use bytes::Bytes;
use rabbit_reduce_core::id::{ChunkNumber, JobId, PartitionNumber};
use rabbit_reduce_core::jobs::Options;
use rabbit_reduce_core::local;
use rabbit_reduce_core::message::{Failure, Partial, Task};
use rabbit_reduce_core::rows::format::Format;
use rabbit_reduce_core::spec::{OUTPUT_BYTES, PROGRAM_VERSION, ProgramSpec, SEGMENT_BYTES};
use rabbit_reduce_tests::cluster::{Cluster, Order, source};
use rabbit_reduce_tests::wait::until;
use serde_json::Value;
use std::collections::BTreeSet;
use uuid::Uuid;

/// Something to be thrown at a queue.
pub(crate) struct Throw {
    pub(crate) name: &'static str,
    pub(crate) queue: String,
    pub(crate) message: Bytes,
    /// A part of the reason for which it is kept.
    pub(crate) reason: &'static str,
}

/// Queues that somebody reads.
pub(crate) const QUEUES: [&str; 9] =
    ["map", "again", "suspect", "reduce.0", "reduce.7", "reduce.large", "control", "dead", "retry"];

/// Why an aggregator keeps what it cannot tell apart from random bytes.
pub(crate) const NO_BEGINNING: &str = "it does not begin as a message does";
/// Why it keeps what it finds among the dead letters and cannot read.
pub(crate) const NEITHER: &str = "it is neither a failure nor a task nor a partial";

/// The reason for which a message is kept: `told` by the aggregator that takes it out of its queue; of what a worker took, or the
/// broker gave up on, an aggregator knows only that it is no dead letter.
pub(crate) fn reason(queue: &str, told: &'static str) -> &'static str {
    if queue.starts_with("reduce") || queue == "control" { told } else { NEITHER }
}

const TEXT: &str = "one two three two\nfour\n";

pub(crate) fn text() -> Vec<local::LocalSource> {
    vec![source("a", TEXT.repeat(40))]
}

/// What a plain run prints of it.
pub(crate) fn expected() -> String {
    let (program, sources) = (Order::of("word-count").program(), text());
    let rows = local::print(&program, &sources, &local::run(&program, &sources), Format::Tsv).unwrap();
    String::from_utf8(rows).unwrap()
}

pub(crate) fn program() -> ProgramSpec {
    ProgramSpec { name: "word-count".into(), version: PROGRAM_VERSION, options: Options::default() }
}

/// A task that nothing is wrong with, of nothing.
pub(crate) fn task(job: JobId, store: &str) -> Task {
    Task {
        job,
        chunk: ChunkNumber(0),
        attempt: 1,
        crashes: 0,
        died_at: None,
        record: None,
        strikes: 0,
        retry: 0,
        rounds: 0,
        program: program(),
        partitions: 3,
        reduce_queues: 8,
        segment_bytes: SEGMENT_BYTES,
        output_bytes: OUTPUT_BYTES,
        store: store.to_owned(),
        pieces: vec![],
        too_long: vec![],
        skips: vec![],
        history: vec![],
    }
}

/// A partial that nothing is wrong with: of chunk 1 in partition 2, and of no pairs.
pub(crate) fn partial(job: JobId, store: &str) -> Partial {
    Partial {
        job,
        chunk: ChunkNumber(1),
        attempt: 1,
        partition: PartitionNumber(2),
        partitions: 3,
        segment: 0,
        last: true,
        store: store.to_owned(),
        digest: 7,
        worker: "stranger".to_owned(),
        pairs: 0,
        strikes: 0,
        agreed: 0,
        record: None,
        skips: None,
        home: None,
    }
}

pub(crate) fn failure(job: JobId, chunk: u32) -> Failure {
    Failure {
        job,
        chunk: ChunkNumber(chunk),
        reason: "who knows".to_owned(),
        attempts: 1,
        retry: 0,
        record: None,
        retried: None,
        worker: "stranger".to_owned(),
        version: 1,
        time_ms: 0,
    }
}

pub(crate) fn stranger() -> JobId {
    JobId(Uuid::now_v7())
}

/// What is aside: the messages, and what their notes say.
pub(crate) fn aside(cluster: &Cluster) -> Vec<(Vec<u8>, Value)> {
    let read = |name: String| {
        let path = format!("aside/{name}");
        // The message is put before its note.
        Some((cluster.crew.store.get(&path).unwrap()?, cluster.note(&path)?))
    };
    cluster.set_aside().into_iter().filter_map(read).collect()
}

/// Waits until each that was thrown is kept as it came, with its reason.
pub(crate) async fn all_are_kept(cluster: &Cluster, thrown: &[Throw]) {
    // The same bytes are kept once, whatever queues they come from.
    let wanted = thrown.iter().map(|throw| &throw.message).collect::<BTreeSet<_>>().len();
    until("all are kept", async || (cluster.set_aside().len() >= wanted).then_some(())).await;
    // The note of the last comes after it.
    let kept = until("all have notes", async || Some(aside(cluster)).filter(|kept| kept.len() >= wanted)).await;
    for Throw { name, queue, message, reason } in thrown {
        let found = kept.iter().find(|(kept, _)| kept == message);
        let (_, note) = found.unwrap_or_else(|| panic!("{name} on {queue} is not kept"));
        assert!(note["reason"].as_str().unwrap().contains(reason), "{name} on {queue}: {note}");
        assert!(note["first_seen_ms"].is_u64() && note["queue"].is_string(), "{name} on {queue}: {note}");
    }
}
