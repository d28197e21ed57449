//! Messages that read well and say what cannot be.

use super::{Throw, all_are_kept, expected, failure, partial, stranger, task, text};
use bytes::Bytes;
use rabbit_reduce_core::id::{ChunkNumber, JobId, PartitionNumber, SourceNumber};
use rabbit_reduce_core::jobs::{Options, SideFile, Streaming};
use rabbit_reduce_core::message::{self, Ask, Home as Said, Outcome, Partial, Task, TaskPiece};
use rabbit_reduce_core::pairs::PairWriter;
use rabbit_reduce_core::partition;
use rabbit_reduce_core::shipped::Shipped;
use rabbit_reduce_core::skip::{Skip, SkipList};
use rabbit_reduce_core::spec::{ByteText, FileStamp, ProgramSpec, SEGMENT_BYTES};
use rabbit_reduce_core::split::MAX_REFERENCE_BYTES;
use rabbit_reduce_core::topology::queue;
use rabbit_reduce_tests::cluster::{Cluster, Order};
use rabbit_reduce_tests::crew::Role;
use rabbit_reduce_tests::home::Home;
use rabbit_reduce_tests::seen;
use rabbit_reduce_tests::wait::{until, within};
use std::collections::BTreeSet;

crate::world::on_both_brokers! {
    what_cannot_be_said_of_a_running_job_is_kept
    tasks_that_no_producer_makes_are_kept
    a_loss_beyond_the_last_chunk_stands_for_none_before_it
    pairs_that_the_program_does_not_make_are_never_counted
    a_chunk_that_the_job_does_not_have_fails_it
}

/// How often a job that waits is looked at.
const LOOKS: u32 = 100;

/// What is wrong with a partial, how it is made of one with which nothing is, and the reason.
type Lie = (&'static str, fn(Partial) -> Partial, &'static str);

fn skips(count: usize, reason: &str) -> Option<SkipList> {
    let skip = Skip { source: SourceNumber(0), offset: 0, reason: reason.to_owned() };
    Some(SkipList { listed: vec![skip; count], more: 0 })
}

fn home(pairs: u64, counters: impl Iterator<Item = (String, u64)>) -> Option<Said> {
    Some(Said { pairs, counters: counters.collect(), release: None })
}

const LIES: [Lie; 18] = [
    ("a partition beyond those of the message", |p| Partial { partition: PartitionNumber(3), ..p }, "partition"),
    ("another number of partitions", |p| Partial { partitions: 5, ..p }, "another number of partitions"),
    ("four billion partitions", |p| Partial { partitions: u32::MAX, ..p }, "number of partitions is out of range"),
    ("no partitions", |p| Partial { partitions: 0, ..p }, "number of partitions is out of range"),
    ("chunk four billion", |p| Partial { chunk: ChunkNumber(u32::MAX), ..p }, "beyond those that any job can have"),
    ("segment four billion", |p| Partial { segment: u32::MAX, ..p }, "segment is beyond"),
    ("more pairs than there are", |p| Partial { pairs: u64::MAX, ..p }, "more pairs"),
    ("strikes beyond counting", |p| Partial { strikes: u32::MAX, ..p }, "strikes"),
    ("a worker's name of a megabyte", |p| Partial { worker: "w".repeat(1 << 20), ..p }, "worker's name is too long"),
    ("another store", |p| Partial { store: "another".to_owned(), ..p }, "it belongs to store another"),
    ("a store's name of a megabyte", |p| Partial { store: "s".repeat(1 << 20), ..p }, "it belongs to store sss"),
    ("skips in a later segment", |p| Partial { segment: 1, skips: skips(1, "x"), ..p }, "segment 0, and in no other"),
    ("ten thousand skips", |p| Partial { skips: skips(10_000, "x"), ..p }, "too many records"),
    ("a reason of a megabyte", |p| Partial { skips: skips(1, &"x".repeat(1 << 20)), ..p }, "too long a reason"),
    (
        "skips beyond counting",
        |p| Partial { skips: Some(SkipList { listed: vec![], more: u64::MAX }), ..p },
        "too many records",
    ),
    ("a home in another partition", |p| Partial { home: home(0, std::iter::empty()), ..p }, "rides in its home"),
    (
        "fifty thousand counters",
        |p| {
            let counters = (0..50_000).map(|number: u64| (number.to_string(), number));
            Partial { partition: PartitionNumber(1), home: home(0, counters), ..p }
        },
        "too many counters",
    ),
    (
        "a counter beyond counting",
        |p| {
            let counters = std::iter::once(("bytes".to_owned(), u64::MAX));
            Partial { partition: PartitionNumber(1), home: home(0, counters), ..p }
        },
        "counters is out of range",
    ),
];

fn about(job: JobId, store: &str) -> Vec<Throw> {
    let mut thrown = Vec::new();
    for (name, lie, reason) in LIES {
        let worker = |queue: &str, partial: Partial| Partial { digest: queue.len() as u64, ..partial };
        let queues: &[&str] =
            if reason.contains("store") { &["reduce.2"] } else { &["reduce.2", "reduce.large", "dead"] };
        for queue in queues {
            let message = message::encode(&worker(queue, lie(partial(job, store))), b"");
            thrown.push(Throw { name, queue: (*queue).to_owned(), message, reason });
        }
    }
    let message = message::encode(&partial(job, store), &vec![0; SEGMENT_BYTES + 1]);
    let reason = "more than a segment's";
    thrown.push(Throw { name: "a body beyond a segment", queue: "reduce.2".to_owned(), message, reason });
    let mut dead = |name, message, reason| thrown.push(Throw { name, queue: queue::DEAD.to_owned(), message, reason });
    let lost = failure(job, u32::MAX);
    dead("a failure of chunk four billion", message::encode(&lost, b""), "beyond those that any job can have");
    let long = message::Failure { reason: "x".repeat(1 << 20), ..failure(job, 0) };
    dead("a failure with a reason of a megabyte", message::encode(&long, b""), "reason is too long");
    dead("a failure of a job of nobody", message::encode(&failure(stranger(), 0), b""), "no job");
    dead("a partial of a job of nobody", message::encode(&partial(stranger(), store), b""), "no job");
    dead("a task of a job of nobody", message::encode(&task(stranger(), store), b""), "no job");
    let beyond = Task { chunk: ChunkNumber(u32::MAX), ..task(job, store) };
    dead("a task of chunk four billion", message::encode(&beyond, b""), "beyond those that any job can have");
    thrown
}

async fn what_cannot_be_said_of_a_running_job_is_kept(home: Home) {
    let cluster = Cluster::builder().start(home).await;
    let session = cluster.session().await;
    let known = cluster.submit(&session, &Order::of("word-count"), cluster.write(&text())).await;
    let thrown = about(known.spec.job, &known.store);
    for Throw { queue, message, .. } in &thrown {
        cluster.crew.home.store(queue, message.clone()).await;
    }
    let chunks = within("published", session.publish(&known, None)).await.unwrap();
    let report = cluster.conclude(&session, &known, chunks).await;
    assert_eq!((report.end.outcome, String::from_utf8(report.tsv).unwrap()), (Outcome::Done, expected()));
    all_are_kept(&cluster, &thrown).await;
    cluster.finish().await;
    seen::fault("messages that say what cannot be", &format!("{} kept, the job exact", thrown.len()));
}

/// What is wrong with a task, how it is made of one with which nothing is, and the reason of a worker that takes it.
type BadTask = (&'static str, fn(Task) -> Task, &'static str);

fn piece(offset: u64, length: u64, name: usize) -> TaskPiece {
    let (source, name) = (SourceNumber(0), ByteText(vec![1; name]));
    TaskPiece { source, name, offset, length, continues: false, ends: false, file: None, column: None }
}

fn expression(pattern: String) -> ProgramSpec {
    let options = serde_json::from_value(serde_json::json!({ "pattern": pattern })).unwrap();
    ProgramSpec { name: "grep".to_owned(), options, ..super::program() }
}

const TASKS: [BadTask; 24] = [
    ("no attempt", |t| Task { attempt: 0, pieces: vec![missing()], ..t }, "number of attempts is out of range"),
    ("rounds beyond counting", |t| Task { rounds: u32::MAX, ..t }, "number of attempts is out of range"),
    ("crashes beyond counting", |t| Task { crashes: u32::MAX, ..t }, "number of attempts is out of range"),
    ("no partitions", |t| Task { partitions: 0, ..t }, "number of partitions is out of range"),
    ("four billion partitions", |t| Task { partitions: u32::MAX, ..t }, "number of partitions is out of range"),
    ("no queues", |t| Task { reduce_queues: 0, ..t }, "number of reduce queues is out of range"),
    ("segments of no bytes", |t| Task { segment_bytes: 0, ..t }, "segment size is out of range"),
    ("segments without end", |t| Task { segment_bytes: usize::MAX, ..t }, "segment size is out of range"),
    ("output without end", |t| Task { output_bytes: u64::MAX, ..t }, "output limit is out of range"),
    (
        "chunk four billion",
        |t| Task { chunk: ChunkNumber(u32::MAX), ..t },
        "chunk is beyond those that any job can have",
    ),
    (
        "a store's name of four megabytes",
        |t| Task { store: "s".repeat((4 << 20) - 2000), ..t },
        "store's id is too long",
    ),
    (
        "a program's name of four megabytes",
        |t| Task { program: ProgramSpec { name: "p".repeat((4 << 20) - 2000), ..super::program() }, ..t },
        "program's name is too long",
    ),
    (
        "an expression of a megabyte of classes",
        |t| Task { program: expression(r"\w".repeat(1 << 19)), ..t },
        "regular expression is too long",
    ),
    (
        "an expression that is small and large",
        |t| Task { program: expression("((a{1000}){1000}){1000}".to_owned()), ..t },
        "is no regular expression that can be used",
    ),
    ("a file of a terabyte", |t| Task { program: needing(1, 1 << 40), ..t }, "longer than any that travels"),
    ("a hundred files", |t| Task { program: needing(100, 1), ..t }, "too many files"),
    ("forty thousand pieces", |t| Task { pieces: vec![piece(0, 0, 1); 40_000], ..t }, "too many pieces"),
    (
        "a piece beyond all files",
        |t| Task { pieces: vec![piece(u64::MAX, 2, 1)], ..t },
        "a piece lies beyond all files",
    ),
    ("a piece longer than the body", |t| Task { pieces: vec![piece(0, 100, 1)], ..t }, "not well formed"),
    (
        "a piece of sixteen exabytes",
        |t| Task { pieces: vec![piece(0, u64::MAX, 1)], ..t },
        "larger than a chunk may be",
    ),
    (
        "a reference to more than a chunk",
        |t| Task { pieces: vec![TaskPiece { length: MAX_REFERENCE_BYTES + 1, ..missing() }], ..t },
        "larger than a chunk may be",
    ),
    // It fits after all: it is mapped, and what is kept is its partial, of a job of nobody.
    ("names that fit once", |t| Task { pieces: vec![piece(0, 0, 600 << 10)], rounds: 3, ..t }, "it is of kind 2,"),
    (
        "too long reasons",
        |t| Task { too_long: vec![Skip { source: SourceNumber(0), offset: 0, reason: "x".repeat(1 << 20) }; 3], ..t },
        "too long a reason",
    ),
    ("a file outside", |t| Task { pieces: vec![missing()], attempt: 5, ..t }, "cannot be read"),
];

/// It cannot be read: the attempt fails and the task is sent on.
fn missing() -> TaskPiece {
    let file = FileStamp { path: ByteText(b"/nonexistent/../../etc/passwd".to_vec()), size: 9, modified_ns: 0 };
    TaskPiece { file: Some(file), ..piece(0, 9, 1) }
}

/// A program of commands beside so many files of so many bytes.
fn needing(count: usize, bytes: u64) -> ProgramSpec {
    let beside = SideFile { name: "f".to_owned(), file: Shipped { bytes, ..Shipped::of(b"") } };
    let streaming = Some(Box::new(Streaming { files: vec![beside; count], ..Streaming::default() }));
    let options = Options { streaming, ..Options::default() };
    ProgramSpec { name: "command".to_owned(), options, ..super::program() }
}

/// All of jobs of nobody, so that what fails ends aside, under its job's id.
async fn tasks_that_no_producer_makes_are_kept(home: Home) {
    let cluster = Cluster::builder().workers(2).start(home).await;
    let store = cluster.crew.store.store_id().unwrap();
    let mut jobs = Vec::new();
    for (name, lie, reason) in TASKS {
        for queue in [queue::MAP, queue::AGAIN, queue::SUSPECT, queue::DEAD] {
            let job = stranger();
            let message = message::try_encode(&lie(task(job, &store)), b"").unwrap();
            cluster.crew.home.store(queue, message).await;
            jobs.push((name, queue, job, reason));
        }
    }
    let report = cluster.run(&Order::of("word-count"), &text()).await;
    assert_eq!((report.end.outcome, String::from_utf8(report.tsv).unwrap()), (Outcome::Done, expected()));
    let mut otherwise = Vec::new();
    for &(name, queue, job, reason) in &jobs {
        let kept = until(&format!("a task with {name} on {queue} is kept"), async || {
            let kept = super::aside(&cluster).into_iter();
            kept.filter(|(_, note)| note["job"].as_str() == Some(&job.to_string())).map(|(message, _)| message).next()
        })
        .await;
        // Of what was found among the dead letters it is only told that its job is nobody's.
        if queue != queue::DEAD {
            let said = match message::decode::<message::Failure>(&kept.into()) {
                Ok((failure, _)) => failure.reason,
                Err(error) => error.to_string(),
            };
            if !said.contains(reason) {
                otherwise.push(format!("{name} on {queue}: {said}"));
            }
        }
    }
    assert_eq!(otherwise, [""; 0]);
    cluster.finish().await;
    seen::fault("tasks that no producer makes", &format!("{} kept, no worker died, the job exact", jobs.len()));
}

async fn a_loss_beyond_the_last_chunk_stands_for_none_before_it(home: Home) {
    let cluster = Cluster::builder().start(home).await;
    let session = cluster.session().await;
    let known = cluster.submit(&session, &Order::of("word-count"), cluster.write(&text())).await;
    let job = known.spec.job;
    // Nobody knows yet how many chunks there will be.
    cluster.crew.home.store(queue::DEAD, message::encode(&failure(job, 100_000), b"")).await;
    until("the loss is noted", async || (cluster.files(job, "ledger").len() == 3).then_some(())).await;
    let chunks = cluster.publish_unsealed(&session, &known, Some(BTreeSet::new())).await;
    let all_but_one = (1..chunks).collect();
    cluster.publish_unsealed(&session, &known, Some(all_but_one)).await;
    session.ask(Ask::Seal { job, chunks }, &[]).await.unwrap();
    let mut looks = 0;
    until("all others are counted, and it stays so", async || {
        let (message::Answer::Status(status), _) = session.ask(Ask::Status { job, detail: true }, &[]).await.unwrap()
        else {
            panic!("another answer")
        };
        assert_eq!(status.end, None, "a chunk is missing");
        // Were it enough, the job would be at its end after a few answers more.
        looks += u32::from(status.covered + 1 == chunks);
        (looks == LOOKS).then_some(())
    })
    .await;
    cluster.publish_unsealed(&session, &known, Some(BTreeSet::from([0]))).await;
    let report = cluster.conclude(&session, &known, chunks).await;
    assert_eq!((report.end.outcome, String::from_utf8(report.tsv).unwrap()), (Outcome::DoneWithLosses, expected()));
    assert_eq!(report.end.losses.chunks.iter().map(|lost| lost.chunk.0).collect::<Vec<_>>(), [100_000]);
    cluster.finish().await;
    seen::fault("a loss beyond the last chunk", "told, and no chunk is missing for it");
}

/// Pairs in the order given.
fn body(pairs: &[(&[u8], &[u8])]) -> Bytes {
    let (mut bytes, mut writer) = (Vec::new(), PairWriter::default());
    pairs.iter().for_each(|(key, value)| writer.put(&mut bytes, key, value));
    bytes.into()
}

/// A word that belongs into a partition of three.
fn word_of(wanted: u32) -> Vec<u8> {
    let words = (0..100).map(|number| format!("word{number}").into_bytes());
    let mut there = words.filter(|word| partition::of_hash(partition::hash(word), 3).0 == wanted);
    there.next().expect("some word is there")
}

async fn pairs_that_the_program_does_not_make_are_never_counted(home: Home) {
    let cluster = Cluster::builder().start(home).await;
    let session = cluster.session().await;
    let known = cluster.submit(&session, &Order::of("word-count"), cluster.write(&text())).await;
    let job = known.spec.job;
    let (here, elsewhere) = (word_of(2), word_of(1));
    let many: Vec<Vec<u8>> = (0..1_000_000_u32).map(|number| number.to_be_bytes().to_vec()).collect();
    let many: Vec<(&[u8], &[u8])> = many.iter().map(|key| (key.as_slice(), b"\x01".as_slice())).collect();
    let bodies = [
        body(&[(&here, b"\xff\xff")]),
        body(&[(&here, b"")]),
        body(&[(&elsewhere, b"\x01")]),
        body(&[(b"z", b"\x01"), (b"a", b"\x01")]),
        Bytes::from_static(b"\x00\xff\xff\xff\xff\x0fabc"),
        body(&many),
    ];
    let numbers: Vec<u32> = (0..).map(|number| 10_001 + 3 * number).take(bodies.len()).collect();
    for (chunk, body) in numbers.iter().zip(&bodies) {
        let partial = Partial { chunk: ChunkNumber(*chunk), ..partial(job, &known.store) };
        let queue = if body.len() > SEGMENT_BYTES { queue::REDUCE_LARGE } else { "reduce.2" };
        cluster.crew.home.store(queue, message::encode(&partial, body)).await;
    }
    until("all are kept", async || (cluster.files(job, "dead").len() == 2 * bodies.len()).then_some(())).await;
    for name in cluster.files(job, "dead").iter().filter(|name| !name.ends_with(".json")) {
        let note = cluster.note(&format!("jobs/{job}/dead/{name}")).unwrap();
        assert_eq!(note["reason"], "its pairs for this partition cannot be read", "{note}");
        assert_eq!(note["kind"], "partial");
    }
    let chunks = within("published", session.publish(&known, None)).await.unwrap();
    let report = cluster.conclude(&session, &known, chunks).await;
    assert_eq!((report.end.outcome, String::from_utf8(report.tsv).unwrap()), (Outcome::DoneWithLosses, expected()));
    assert_eq!(report.end.losses.chunks.iter().map(|lost| lost.chunk.0).collect::<Vec<_>>(), numbers);
    cluster.finish().await;
    seen::fault("pairs that the program does not make", "kept, their chunks told as lost, all others exact");
}

async fn a_chunk_that_the_job_does_not_have_fails_it(home: Home) {
    let cluster = Cluster::builder().workers(0).start(home).await;
    let session = cluster.session().await;
    let known = cluster.submit(&session, &Order::of("word-count"), cluster.write(&text())).await;
    let job = known.spec.job;
    // It could be of a chunk that is still to come, until the job is sealed; but then it is counted.
    let forged = Partial { chunk: ChunkNumber(100_001), pairs: 5, ..partial(job, &known.store) };
    cluster.crew.home.store("reduce.2", message::encode(&forged, &body(&[(&word_of(2), b"\x05")]))).await;
    until("it is counted", async || (!cluster.files(job, "runs").is_empty()).then_some(())).await;
    cluster.crew.hire(Role::Worker).await;
    let chunks = within("published", session.publish(&known, None)).await.unwrap();
    let report = cluster.conclude(&session, &known, chunks).await;
    let Outcome::Failed(reason) = &report.end.outcome else { panic!("{:?}", report.end) };
    assert!(reason.contains("worker stranger sent chunk 100001"), "{reason}");
    cluster.finish().await;
    seen::fault("a chunk that the job does not have", "the job fails and names the chunk and who sent it");
}
