//! Bytes that are no message, on every queue.

use super::{QUEUES, Throw, all_are_kept, expected, partial, stranger, text};
use bytes::Bytes;
use rabbit_reduce_core::message::{
    self, Answer, Ask, Kind, MAX_BODY_BYTES, MAX_HEADER_BYTES, News, Outcome, Task, checksum,
};
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

fn sealed(header: &[u8], body: &[u8]) -> Bytes {
    let lengths = [header, body].map(|bytes| u32::try_from(bytes.len()).unwrap());
    forged(message::VERSION, Task::NUMBER, lengths, header, body, 0)
}

/// A name, what is sent to a queue of that name, and the reason where somebody reads it who expects such a message.
type Line = (&'static str, fn(&str) -> Bytes);

const LINES: [Line; 15] = [
    ("a body of no bytes", |_| Bytes::new()),
    ("random bytes", |queue| {
        let dice = Dice::new(queue.len() as u64);
        (0..500).map(|_| dice.throw().to_le_bytes()[0]).chain(queue.bytes()).collect()
    }),
    ("another magic", |queue| [b"PK\x03\x04 garbage that is long enough ", queue.as_bytes()].concat().into()),
    ("a message cut short", |queue| sealed(queue.as_bytes(), b"body").slice(..16 + queue.len() / 2)),
    ("a version of yesterday", |queue| forged(0, 1, [queue.len() as u32, 0], queue.as_bytes(), b"", 0)),
    ("a kind that there is not", |queue| forged(1, 77, [queue.len() as u32, 0], queue.as_bytes(), b"", 0)),
    ("a wrong checksum", |queue| forged(1, 1, [queue.len() as u32, 0], queue.as_bytes(), b"", 1)),
    ("lengths of four gigabytes", |queue| forged(1, 1, [u32::MAX; 2], queue.as_bytes(), b"", 0)),
    ("lengths that add up to what is there", |queue| {
        forged(1, 1, [u32::MAX, queue.len() as u32 + 1], queue.as_bytes(), b"", 0)
    }),
    ("a header that is no JSON", |queue| sealed(queue.as_bytes(), b"")),
    ("a header a million levels deep", |queue| sealed(&[&b"[".repeat(1 << 20)[..], queue.as_bytes()].concat(), b"")),
    ("the longest header, of nothing", |queue| {
        let mut header = [b"{\"pieces\":[{\"name\":[".as_slice(), &b"0,".repeat((MAX_HEADER_BYTES - 100) / 2)].concat();
        header.extend_from_slice(queue.as_bytes());
        sealed(&header, b"")
    }),
    ("the longest body", |queue| sealed(queue.as_bytes(), &vec![0; MAX_BODY_BYTES])),
    ("more than any message", |queue| [queue.as_bytes(), &vec![7; MOST_BYTES - 100]].concat().into()),
    ("gzip of a great many zeros", |queue| {
        [b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03", queue.as_bytes()].concat().into()
    }),
];

/// The reason depends on who reads it first: an aggregator names what is wrong, a worker sends it on to the dead letters.
fn thrown() -> Vec<Throw> {
    let mut thrown = Vec::new();
    for (name, make) in LINES {
        for queue in QUEUES {
            thrown.push(Throw { name, queue: queue.to_owned(), message: make(queue), reason: "it" });
        }
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
    let session = cluster.session().await;
    let ask = Ask::Status { job: report.job, detail: true };
    let (Answer::Status(status), _) = within("the status", session.ask(ask, &[])).await.unwrap() else {
        panic!("another answer")
    };
    let told = format!("{} messages that nobody can use", cluster.set_aside().len());
    assert!(status.alarms.iter().any(|alarm| alarm.starts_with(&told)), "{:?}", status.alarms);
    cluster.finish().await;
    let (lines, queues) = (LINES.len(), QUEUES.len());
    seen::fault("bytes that are no message", &format!("{lines} kinds on {queues} queues kept, the job exact"));
}
