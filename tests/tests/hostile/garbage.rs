//! Bytes that are no message, on every queue.

use super::{NEITHER, NO_BEGINNING, QUEUES, Throw, all_are_kept, aside, expected, partial, reason, stranger, text};
use bytes::Bytes;
use rabbit_reduce_core::message::{
    self, Answer, Ask, FIRST_VERSION, Failure, Kind, MAX_BODY_BYTES, MAX_HEADER_BYTES, News, Outcome, Partial, Request,
    Task, checksum,
};
use rabbit_reduce_core::topology::queue;
use rabbit_reduce_runtime::broker::{MAX_BODY_BYTES as MOST_BYTES, Published, Route};
use rabbit_reduce_tests::cluster::{Cluster, Order};
use rabbit_reduce_tests::dice::Dice;
use rabbit_reduce_tests::home::Home;
use rabbit_reduce_tests::seen;
use rabbit_reduce_tests::wait::within;

crate::world::on_both_brokers! {
    bytes_that_are_no_message_are_kept_wherever_they_come
}

/// A message whose lengths, version and checksum are as they are told, over a header that may be anything.
fn forged(version: u8, kind: u8, lengths: [u32; 2], header: &[u8], body: &[u8], spoil: u64) -> Bytes {
    let [one, other] = lengths.map(u32::to_le_bytes);
    let prelude = [b"RR".as_slice(), &[version, kind], &one, &other].concat();
    let sum = (checksum(&prelude, header, body) ^ spoil).to_le_bytes();
    [&prelude, sum.as_slice(), header, body].concat().into()
}

/// What whoever takes messages out of a queue expects there.
fn kind(queue: &str) -> u8 {
    match queue {
        queue::CONTROL => Request::NUMBER,
        queue::DEAD => Failure::NUMBER,
        reduce if reduce.starts_with("reduce") => Partial::NUMBER,
        _ => Task::NUMBER,
    }
}

/// A message of the kind that is expected, and of a header that names the queue.
fn sealed(queue: &str, header: &[u8], body: &[u8]) -> Bytes {
    let lengths = [header, body].map(|bytes| u32::try_from(bytes.len()).unwrap());
    forged(FIRST_VERSION, kind(queue), lengths, header, body, 0)
}

/// The same with other lengths, and no body.
fn lying(queue: &str, lengths: [u32; 2]) -> Bytes {
    forged(FIRST_VERSION, kind(queue), lengths, queue.as_bytes(), b"", 0)
}

/// A name, what is sent to a queue of that name, and the reason of an aggregator that takes it out there.
type Line = (&'static str, fn(&str) -> Bytes, &'static str);

const LENGTHS: &str = "its lengths lie";
const HEADER: &str = "its header cannot be read";

const LINES: [Line; 14] = [
    (
        "random bytes",
        |queue| {
            let dice = Dice::new(queue.len() as u64);
            (0..500).map(|_| dice.throw().to_le_bytes()[0]).chain(queue.bytes()).collect()
        },
        NO_BEGINNING,
    ),
    (
        "another magic",
        |queue| [b"PK\x03\x04 garbage that is long enough ", queue.as_bytes()].concat().into(),
        NO_BEGINNING,
    ),
    ("a message cut short", |queue| sealed(queue, queue.as_bytes(), b"body").slice(..20 + queue.len()), LENGTHS),
    (
        "a version of yesterday",
        |queue| forged(0, kind(queue), [queue.len() as u32, 0], queue.as_bytes(), b"", 0),
        "it is of version 0,",
    ),
    (
        "a kind that there is not",
        |queue| forged(FIRST_VERSION, 77, [queue.len() as u32, 0], queue.as_bytes(), b"", 0),
        "it is of kind 77,",
    ),
    (
        "a wrong checksum",
        |queue| forged(FIRST_VERSION, kind(queue), [queue.len() as u32, 0], queue.as_bytes(), b"", 1),
        "its checksum is wrong",
    ),
    ("lengths of four gigabytes", |queue| lying(queue, [u32::MAX; 2]), LENGTHS),
    ("lengths that add up to what is there", |queue| lying(queue, [u32::MAX, queue.len() as u32 + 1]), LENGTHS),
    ("a header that is no JSON", |queue| sealed(queue, queue.as_bytes(), b""), HEADER),
    (
        "a header a million levels deep",
        |queue| sealed(queue, &[&b"[".repeat(1 << 20)[..], queue.as_bytes()].concat(), b""),
        HEADER,
    ),
    (
        "the longest header, of nothing",
        |queue| {
            let mut header = b"{\"pieces\":[{\"name\":[".to_vec();
            header.extend_from_slice(&b"0,".repeat((MAX_HEADER_BYTES - 100) / 2));
            header.extend_from_slice(queue.as_bytes());
            sealed(queue, &header, b"")
        },
        HEADER,
    ),
    ("the longest body", |queue| sealed(queue, queue.as_bytes(), &vec![0; MAX_BODY_BYTES]), HEADER),
    ("more than any message", |queue| [queue.as_bytes(), &vec![7; MOST_BYTES - 100]].concat().into(), NO_BEGINNING),
    (
        "gzip of a great many zeros",
        |queue| [b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03", queue.as_bytes(), &[0; 20]].concat().into(),
        NO_BEGINNING,
    ),
];

fn thrown() -> Vec<Throw> {
    let mut thrown = Vec::new();
    for (name, make, told) in LINES {
        for queue in QUEUES {
            let (message, reason) = (make(queue), reason(queue, told));
            thrown.push(Throw { name, queue: queue.to_owned(), message, reason });
        }
    }
    // The same in every queue, hence kept once, with the reason of whoever was first.
    for queue in QUEUES {
        let message = Bytes::new();
        thrown.push(Throw { name: "a body of no bytes", queue: queue.to_owned(), message, reason: "" });
    }
    thrown
}

async fn bytes_that_are_no_message_are_kept_wherever_they_come(home: Home) {
    let cluster = Cluster::builder().workers(2).start(home).await;
    let thrown = thrown();
    for Throw { queue, message, .. } in &thrown {
        cluster.crew.home.store(queue, message.clone()).await;
    }
    // News is a hint: what is none is passed over by everybody, and what is read is not believed.
    let store = cluster.crew.store.store_id().unwrap();
    let foreign =
        [message::encode(&partial(stranger(), &store), b""), message::encode(&News::Removed(stranger()), b"")];
    for message in thrown.iter().map(|throw| &throw.message).filter(|message| message.len() < 1000).chain(&foreign) {
        let told = cluster.crew.home.broker.publish(&Route::News, message.clone()).await;
        assert_eq!(told.unwrap(), Published::Confirmed);
    }
    let report = cluster.run(&Order::of("word-count"), &text()).await;
    assert_eq!((report.end.outcome, String::from_utf8(report.tsv).unwrap()), (Outcome::Done, expected()));
    all_are_kept(&cluster, &thrown).await;
    let (_, nothing) = aside(&cluster).into_iter().find(|(kept, _)| kept.is_empty()).unwrap();
    assert!([NO_BEGINNING, NEITHER].contains(&nothing["reason"].as_str().unwrap()), "{nothing}");
    let session = cluster.session().await;
    let ask = Ask::Status { job: report.job, detail: true };
    let (Answer::Status(status), _) = within("the status", session.ask(ask, &[])).await.unwrap() else {
        panic!("another answer")
    };
    let told = format!("{} messages that nobody can use", cluster.set_aside().len());
    assert!(status.alarms.iter().any(|alarm| alarm.starts_with(&told)), "{:?}", status.alarms);
    cluster.finish().await;
    let (lines, queues) = (LINES.len() + 1, QUEUES.len());
    seen::fault("bytes that are no message", &format!("{lines} kinds on {queues} queues kept, the job exact"));
}
