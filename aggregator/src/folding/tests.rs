//! What the mind does with events that cross each other.

use super::*;
use crate::limits::Limits;
use crate::shard::Away;
use rabbit_reduce_core::id::ChunkNumber;
use rabbit_reduce_core::job::ProgramFailed;
use rabbit_reduce_core::jobs::{Job, Options};
use rabbit_reduce_core::message::{Losses, Outcome};
use rabbit_reduce_core::spec::{By, PROGRAM_VERSION, ProgramSpec, SourceList, Spec};
use rabbit_reduce_core::topology::Topology;
use rabbit_reduce_runtime::broker::embedded::EmbeddedBroker;
use rabbit_reduce_runtime::broker::{Broker, Published, Route};
use rabbit_reduce_runtime::store::StoreError;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use uuid::Uuid;

pub(crate) const JOB: JobId = JobId(Uuid::from_u128(1));

/// A job of nothing, with one partition.
pub(crate) fn job_file() -> JobFile {
    let options = Options::default();
    let program = Job::new("word-count", &options).unwrap();
    let spec = Spec {
        job: JOB,
        program: ProgramSpec { name: "word-count".to_owned(), version: PROGRAM_VERSION, options },
        by: By::Value,
        chunk_bytes: 64,
        segment_bytes: 1 << 20,
        output_bytes: 1 << 30,
        partitions: 1,
        max_losses: 0,
        sources: SourceList::of(&[]).0,
        created_ms: 0,
        owner: None,
        after: None,
        then: None,
    };
    JobFile { spec, program: program.into(), given_up: AtomicBool::new(false) }
}

/// The job as a look-up finds it.
fn found(asked: LookUp, chunks: Option<u32>) -> Event {
    let file = job_file();
    Event::Opened(
        JOB,
        asked,
        Ok(Opened::Job(Box::new(OpenedJob { file, chunks, end: None, ledgers: vec![Ledger::default()] }))),
    )
}

#[test]
fn a_seal_that_crosses_a_look_up_is_not_forgotten() {
    let mut folding = Folding::new("store".to_owned(), &[8, 1], 1, Limits::default());
    let now = rabbit_reduce_runtime::process::clock::instant();
    // A sweep and the seal each have the job looked up, and the sweep's look came just before the seal.
    for cause in [Event::Look(JOB), Event::Sealed(JOB, 0)] {
        let effects = folding.handle(cause, now);
        assert!(matches!(effects[..], [Effect::Open(JOB, _)]));
    }
    assert!(folding.handle(found(LookUp(1), None), now).is_empty(), "how many chunks there are is not known yet");
    let effects = folding.handle(found(LookUp(2), Some(0)), now);
    assert!(matches!(&effects[..], [Effect::Tend(work)] if work.chunks == Some(0)), "it has nothing to wait for");
}

/// The one partial of a job of one chunk.
pub(crate) fn partial() -> Partial {
    Partial {
        job: JOB,
        chunk: ChunkNumber(0),
        attempt: 1,
        partition: PartitionNumber(0),
        partitions: 1,
        segment: 0,
        last: true,
        store: "store".to_owned(),
        digest: 7,
        worker: "w".to_owned(),
        pairs: 0,
        strikes: 0,
        agreed: 0,
        record: None,
        skips: None,
        home: None,
    }
}

/// A delivery of it, from a real broker: nothing else makes receipts.
async fn delivery() -> Delivery {
    let broker = EmbeddedBroker::new();
    broker.declare(&Topology::new("test", 1 << 20)).await.unwrap();
    let route = Route::Queue("reduce.0".to_owned());
    let published = broker.publish(&route, message::encode(&partial(), b"")).await.unwrap();
    assert_eq!(published, Published::Confirmed);
    broker.consume("reduce.0", 8).await.unwrap().next().await.unwrap()
}

#[tokio::test]
async fn news_of_a_removal_is_anybodys_word_until_the_store_says_so() {
    let mut folding = Folding::new("store".to_owned(), &[8, 1], 1, Limits::default());
    let now = rabbit_reduce_runtime::process::clock::instant();
    let channel = Channel { consumer: 0, epoch: 1 };
    folding.handle(Event::Consuming(channel), now);
    folding.handle(Event::Look(JOB), now);
    folding.handle(found(LookUp(1), None), now);
    assert!(folding.handle(Event::Arrived(channel, delivery().await), now).is_empty(), "it is held");
    let heard = folding.handle(Event::Heard(News::Removed(JOB)), now);
    assert!(matches!(&heard[..], [Effect::Tend(work)] if work.away.delta.len() == 1), "nothing is acked");
}

#[test]
fn a_result_that_stands_outlives_a_program_that_cannot_amend_it() {
    let mut folding = Folding::new("store".to_owned(), &[8, 1], 1, Limits::default());
    let now = rabbit_reduce_runtime::process::clock::instant();
    folding.handle(Event::Look(JOB), now);
    let end = ending::without_result(Outcome::DoneWithLosses, 1, Losses::default(), 0);
    let opened = OpenedJob { file: job_file(), chunks: Some(0), end: Some(end), ledgers: vec![Ledger::default()] };
    let effects = folding.handle(Event::Opened(JOB, LookUp(1), Ok(Opened::Job(Box::new(opened)))), now);
    let Ok([Effect::Tend(work)]) = <[Effect; 1]>::try_from(effects) else { panic!("something is to be amended") };
    let Away { ledger, delta, losses } = work.away;
    let (done, chunks, finished) = (Vec::new(), None, false);
    let trouble = Some(Trouble::Program(ProgramFailed::wholly("no")));
    let tended = Tended { ledger, done, delta, losses, chunks, finished, trouble };
    let effects = folding.handle(Event::Tended(JOB, PartitionNumber(0), Box::new(tended)), now);
    assert!(effects.is_empty(), "the job does not fail, and is not tried again at once");
    assert_eq!(folding.alarms(Some(JOB)), ["the result cannot be amended: no"]);
    assert_eq!(folding.alarms(None), [""; 0]);
    folding.handle(Event::Sweep, now);
    let later = folding.handle(Event::Tick, now + Duration::from_secs(60));
    assert!(matches!(later[..], [Effect::Tend(_)]), "it is tried again later");
}

#[test]
fn of_many_news_of_an_end_one_has_it_read() {
    let mut folding = Folding::new("store".to_owned(), &[8, 1], 1, Limits::default());
    let now = rabbit_reduce_runtime::process::clock::instant();
    folding.handle(Event::Look(JOB), now);
    folding.handle(found(LookUp(1), None), now);
    let mut read = 0;
    for _ in 0..100 {
        read += folding.handle(Event::Heard(News::Ended(JOB)), now).len();
    }
    assert_eq!(read, 1);
}

#[tokio::test]
async fn an_end_that_comes_while_its_job_is_looked_up_is_not_missed() {
    let mut folding = Folding::new("store".to_owned(), &[8, 1], 1, Limits::default());
    let now = rabbit_reduce_runtime::process::clock::instant();
    let channel = Channel { consumer: 0, epoch: 1 };
    folding.handle(Event::Consuming(channel), now);
    folding.handle(Event::Look(JOB), now);
    let end = ending::without_result(Outcome::Cancelled, 1, Losses::default(), 0);
    assert!(folding.handle(Event::Ended(JOB, Ok(Some(end))), now).is_empty(), "it is not in memory");
    folding.handle(found(LookUp(1), None), now);
    let dropped = folding.handle(Event::Arrived(channel, delivery().await), now);
    assert!(matches!(&dropped[..], [Effect::Ack(receipts)] if receipts.len() == 1));
    assert_eq!((folding.late(JOB), folding.is_empty()), (1, true));
}

#[tokio::test]
async fn a_look_up_from_before_a_partial_came_decides_nothing_about_it() {
    let mut folding = Folding::new("store".to_owned(), &[8, 1], 1, Limits::default());
    let now = rabbit_reduce_runtime::process::clock::instant();
    let channel = Channel { consumer: 0, epoch: 1 };
    folding.handle(Event::Consuming(channel), now);
    let swept = folding.handle(Event::Look(JOB), now);
    assert!(matches!(swept[..], [Effect::Open(JOB, LookUp(1))]));
    let arrived = folding.handle(Event::Arrived(channel, delivery().await), now);
    assert!(matches!(arrived[..], [Effect::Open(JOB, LookUp(2))]));
    let stale = folding.handle(Event::Opened(JOB, LookUp(1), Ok(Opened::Unknown)), now);
    assert!(stale.is_empty(), "the job may be younger than this answer");
    let told = folding.handle(Event::Opened(JOB, LookUp(2), Ok(Opened::Unknown)), now);
    assert!(matches!(told[..], [Effect::SetAside { .. }]));
    assert!(folding.is_empty());
}

#[tokio::test]
async fn what_comes_back_to_a_job_that_was_cancelled_is_settled() {
    let mut folding = Folding::new("store".to_owned(), &[8, 1], 1, Limits::default());
    let now = rabbit_reduce_runtime::process::clock::instant();
    let channel = Channel { consumer: 0, epoch: 1 };
    folding.handle(Event::Consuming(channel), now);
    folding.handle(Event::Look(JOB), now);
    folding.handle(found(LookUp(1), None), now);
    folding.handle(Event::Arrived(channel, delivery().await), now);
    folding.flush();
    let Ok([Effect::Tend(work)]) = <[Effect; 1]>::try_from(folding.handle(Event::Tick, now)) else {
        panic!("the shard is due")
    };
    let end = ending::without_result(Outcome::Cancelled, 1, Losses::default(), 0);
    folding.handle(Event::Ended(JOB, Ok(Some(end))), now);
    let Away { ledger, delta, losses } = work.away;
    let full = StoreError::Full { path: "x".to_owned(), reason: "no room".to_owned() };
    let (done, chunks, finished) = (Vec::new(), None, false);
    let trouble = Some(Trouble::Archive(full.into()));
    let tended = Tended { ledger, done, delta, losses, chunks, finished, trouble };
    let effects = folding.handle(Event::Tended(JOB, PartitionNumber(0), Box::new(tended)), now);
    assert!(matches!(&effects[..], [Effect::Ack(receipts)] if receipts.len() == 1));
    assert!(folding.is_empty());
}

#[tokio::test]
async fn what_comes_back_after_its_channel_was_lost_is_not_taken_for_live() {
    let mut folding = Folding::new("store".to_owned(), &[8, 1], 1, Limits::default());
    let now = rabbit_reduce_runtime::process::clock::instant();
    let first = Channel { consumer: 0, epoch: 1 };
    folding.handle(Event::Consuming(first), now);
    folding.handle(Event::Look(JOB), now);
    folding.handle(found(LookUp(1), None), now);
    folding.handle(Event::Arrived(first, delivery().await), now);
    folding.flush();
    let Ok([Effect::Tend(work)]) = <[Effect; 1]>::try_from(folding.handle(Event::Tick, now)) else {
        panic!("the shard is due")
    };
    // The channel is lost, and before there is another, what was away comes back uncommitted.
    folding.handle(Event::Lost(first), now);
    let Away { ledger, delta, losses } = work.away;
    let full = StoreError::Full { path: "x".to_owned(), reason: "no room".to_owned() };
    let (done, chunks, finished) = (Vec::new(), None, false);
    let trouble = Some(Trouble::Archive(full.into()));
    let tended = Tended { ledger, done, delta, losses, chunks, finished, trouble };
    folding.handle(Event::Tended(JOB, PartitionNumber(0), Box::new(tended)), now);
    assert!(folding.is_empty(), "it comes again");
    let second = Channel { consumer: 0, epoch: 2 };
    folding.handle(Event::Consuming(second), now);
    let effects = folding.handle(Event::Arrived(second, delivery().await), now);
    assert!(effects.is_empty(), "the copy that came again is the one that is held");
    assert!(!folding.is_empty());
}
