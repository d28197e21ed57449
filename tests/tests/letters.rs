//! Failures carried back: kept so that they can be shown, sent again, and counted after all, once.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod world;

use bytes::Bytes;
use rabbit_reduce_core::id::{ChunkNumber, JobId, PartitionNumber, SourceNumber};
use rabbit_reduce_core::local::{self, LocalSource};
use rabbit_reduce_core::message::{
    self, Answer, Ask, Attempt, End, Failure, Letter, LetterKind, Outcome, Partial, PutBack, RecordState, Refused, Task,
};
use rabbit_reduce_core::rows::format::Format;
use rabbit_reduce_core::skip::{Place, Skip};
use rabbit_reduce_core::topology::queue;
use rabbit_reduce_producer::session::{Known, Session};
use rabbit_reduce_producer::sources::collect;
use rabbit_reduce_tests::cluster::{Cluster, Order, Report, source, topology};
use rabbit_reduce_tests::crew::{Role, Setup};
use rabbit_reduce_tests::home::Home;
use rabbit_reduce_tests::seen;
use rabbit_reduce_tests::wait::{until, within};
use rabbit_reduce_worker::Roots;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

world::on_both_brokers! {
    a_lost_chunk_that_is_sent_again_amends_the_result_once
    a_chunk_that_fails_again_is_lost_in_a_new_version
    a_retry_that_is_asked_for_twice_happens_once
    a_job_without_a_result_is_not_amended
    a_chunk_that_one_partition_lacks_is_sent_again_before_it_is_reported
    a_chunk_that_cannot_be_repaired_is_reported_with_the_partition_that_lacks_it
    a_partial_that_the_broker_gave_up_on_again_and_again_is_folded_alone
    refused_records_are_kept_byte_for_byte
    a_record_that_is_left_out_is_kept_with_its_attempts
    a_record_that_is_left_out_is_counted_once_it_is_sent_again
    a_record_that_is_refused_again_is_lost_in_a_new_version
    letters_are_dropped_and_their_losses_stay
}

const TEXT: &str = "one two three two\n";

fn rows(order: &Order, sources: &[LocalSource]) -> String {
    let program = order.program();
    let rows = local::print(&program, sources, &local::run(&program, sources), Format::Tsv).unwrap();
    String::from_utf8(rows).unwrap()
}

/// A cluster whose workers may read one folder, and a file that seems to lie in it and does not.
struct Astray {
    cluster: Cluster,
    order: Order,
    inside: TempDir,
    outside: TempDir,
}

impl Astray {
    async fn start(home: Home) -> Self {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let roots = Roots::beneath(&[inside.path().to_owned()]).unwrap();
        let cluster = Cluster::builder().setup(Setup { roots, ..Setup::default() }).start(home).await;
        std::fs::write(outside.path().join("a"), TEXT.repeat(20)).unwrap();
        std::os::unix::fs::symlink(outside.path().join("a"), inside.path().join("a")).unwrap();
        Self { cluster, order: Order::of("word-count").by_reference(), inside, outside }
    }

    fn path(&self) -> PathBuf {
        self.inside.path().join("a")
    }

    /// Every chunk is lost.
    async fn lose(&self) -> (Session, Known, Report) {
        let session = self.cluster.session().await;
        let known = self.cluster.submit(&session, &self.order, collect(&[self.path()]).unwrap().sources).await;
        let chunks = within("published", session.publish(&known, None)).await.unwrap();
        let report = self.cluster.conclude(&session, &known, chunks).await;
        assert_eq!(report.end.outcome, Outcome::DoneWithLosses);
        assert_eq!(
            (report.end.version, report.end.losses.count, report.tsv.as_slice()),
            (1, u64::from(chunks), &b""[..])
        );
        (session, known, report)
    }

    /// The file comes to lie where it seemed to.
    fn mend(&self) {
        std::fs::remove_file(self.path()).unwrap();
        std::fs::rename(self.outside.path().join("a"), self.path()).unwrap();
    }
}

async fn letters(session: &Session, job: JobId) -> Vec<Letter> {
    let ask = Ask::Letters { job: Some(job), after: String::new() };
    let (Answer::Letters { letters, more: false }, _) = session.ask(ask, &[]).await.unwrap() else {
        panic!("no letters")
    };
    letters
}

async fn retry(session: &Session, job: JobId, chunks: &[u32]) -> (Vec<u32>, Vec<u32>, Vec<(ChunkNumber, String)>) {
    let chunks = chunks.iter().copied().map(ChunkNumber).collect();
    let answer = session.ask(Ask::Retry { job, chunks, records: vec![] }, &[]).await.unwrap().0;
    let Answer::Retried { chunks, under_way, refused, records: _ } = answer else { panic!("{answer:?}") };
    let numbers = |chunks: Vec<ChunkNumber>| chunks.into_iter().map(|chunk| chunk.0).collect();
    (numbers(chunks), numbers(under_way), refused)
}

async fn amended(session: &Session, job: JobId, version: u32) -> End {
    until("the result is amended", async || {
        let end = session.status(job).await.unwrap().end.unwrap();
        (end.version >= version).then_some(end)
    })
    .await
}

async fn a_lost_chunk_that_is_sent_again_amends_the_result_once(home: Home) {
    let astray = Astray::start(home).await;
    let (session, known, before) = astray.lose().await;
    let (job, chunks) = (known.spec.job, before.chunks);
    let kept = letters(&session, job).await;
    assert_eq!(kept.len(), chunks as usize);
    for (number, letter) in (0..).zip(&kept) {
        assert_eq!((&letter.kind, letter.chunk, letter.lost), (&LetterKind::Chunk, Some(ChunkNumber(number)), true));
        assert!(letter.reason.contains("--input-root") && letter.attempts == 1, "{letter:?}");
    }
    astray.mend();
    let all: Vec<u32> = (0..chunks).collect();
    assert_eq!(retry(&session, job, &all).await, (all, vec![], vec![]));
    let end = amended(&session, job, 2).await;
    let report = astray.cluster.conclude(&session, &known, chunks).await;
    assert_eq!((report.end.version, &report.end.outcome), (2, &Outcome::Done));
    assert_eq!((end.version, report.end.losses.count, report.end.chunks), (2, 0, chunks));
    assert_eq!(report.end.counters["bytes"], 20 * TEXT.len() as u64);
    let sources = [source("a", TEXT.repeat(20))];
    assert_eq!(String::from_utf8(report.tsv).unwrap(), rows(&astray.order, &sources));
    assert!(letters(&session, job).await.iter().all(|letter| !letter.lost));
    let (_, _, refused) = retry(&session, job, &[0]).await;
    assert_eq!(refused, [(ChunkNumber(0), "chunk 0 is not lost".to_owned())]);
    astray.cluster.finish().await;
    seen::fault("a lost chunk is sent again", "the result is amended once, and is exact");
}

async fn a_chunk_that_fails_again_is_lost_in_a_new_version(home: Home) {
    let astray = Astray::start(home).await;
    let (session, known, before) = astray.lose().await;
    let job = known.spec.job;
    assert_eq!(retry(&session, job, &[1]).await, (vec![1], vec![], vec![]));
    let end = amended(&session, job, 2).await;
    assert_eq!((end.version, &end.outcome), (2, &Outcome::DoneWithLosses));
    assert_eq!(end.losses.count, before.end.losses.count);
    let again: Vec<_> = letters(&session, job).await.into_iter().filter(|letter| letter.retry == 1).collect();
    let [letter] = again.as_slice() else { panic!("{again:?}") };
    assert_eq!((letter.chunk, letter.lost), (Some(ChunkNumber(1)), true));
    astray.cluster.finish().await;
    seen::fault("a retry fails", "the chunk is lost again, in a new version of the result");
}

async fn a_retry_that_is_asked_for_twice_happens_once(home: Home) {
    let astray = Astray::start(home).await;
    let (session, known, _) = astray.lose().await;
    let job = known.spec.job;
    for name in astray.cluster.crew.names(Role::Worker) {
        within("it stops", astray.cluster.crew.stop(&name)).await;
    }
    astray.mend();
    assert_eq!(retry(&session, job, &[0, 2]).await, (vec![0, 2], vec![], vec![]));
    assert_eq!(retry(&session, job, &[2, 0]).await, (vec![], vec![2, 0], vec![]));
    assert_eq!(astray.cluster.crew.home.depth(queue::SUSPECT).await.messages, 2);
    let refused =
        session.ask(Ask::Drop { job: Some(job), names: vec![letters(&session, job).await[0].name.clone()] }, &[]);
    assert!(refused.await.unwrap_err().to_string().contains("chunk 0 is being sent again"));
    astray.cluster.crew.hire(Role::Worker).await;
    let end = amended(&session, job, 2).await;
    assert_eq!((end.version, end.chunks), (2, 2));
    astray.cluster.finish().await;
}

async fn a_job_without_a_result_is_not_amended(home: Home) {
    let cluster = Cluster::builder().start(home).await;
    let session = cluster.session().await;
    let known = cluster.submit(&session, &Order::of("word-count"), cluster.write(&[source("a", TEXT)])).await;
    let job = known.spec.job;
    session.ask(Ask::Cancel { job }, &[]).await.unwrap();
    let refused =
        session.ask(Ask::Retry { job, chunks: vec![ChunkNumber(0)], records: vec![] }, &[]).await.unwrap_err();
    assert!(refused.to_string().contains("push its input again"), "{refused}");
    cluster.finish().await;
}

/// A cluster with all of a job's partials in the reduce queues, nobody at work, and the tasks they came of.
async fn mapped(home: Home, order: &Order, sources: &[LocalSource]) -> (Cluster, Session, Known, Vec<Bytes>) {
    let cluster = Cluster::builder().workers(0).start(home).await;
    let session = cluster.session().await;
    let known = cluster.submit(&session, order, cluster.write(sources)).await;
    let chunks = within("published", session.publish(&known, None)).await.unwrap();
    for name in cluster.crew.names(Role::Aggregator) {
        within("it stops", cluster.crew.stop(&name)).await;
    }
    let tasks = take(&cluster, queue::MAP, chunks).await;
    for task in &tasks {
        cluster.crew.home.store(queue::MAP, task.clone()).await;
    }
    let worker = cluster.crew.hire(Role::Worker).await;
    for number in 0..order.partitions {
        let name = format!("reduce.{number}");
        until("all is mapped", async || (cluster.crew.home.depth(&name).await.messages == chunks).then_some(())).await;
    }
    within("it stops", cluster.crew.stop(&worker)).await;
    (cluster, session, known, tasks)
}

/// Takes so many messages out of a queue for good.
async fn take(cluster: &Cluster, queue: &str, messages: u32) -> Vec<Bytes> {
    let mut consumer = within("consume", cluster.crew.home.broker.consume(queue, 1000)).await.unwrap();
    let mut taken = Vec::new();
    for _ in 0..messages {
        let delivery = within("a delivery", consumer.next()).await.expect("it lives");
        taken.push(delivery.body);
        assert!(within("an ack", delivery.receipt.ack()).await);
    }
    until("all are gone", async || (cluster.crew.home.depth(queue).await.messages == 0).then_some(())).await;
    taken
}

async fn a_chunk_that_one_partition_lacks_is_sent_again_before_it_is_reported(home: Home) {
    let (order, sources) = (Order::of("word-count"), [source("a", TEXT.repeat(20))]);
    let (cluster, session, known, tasks) = mapped(home, &order, &sources).await;
    let chunks = u32::try_from(tasks.len()).unwrap();
    // One partition never hears of any chunk, and each is said to be lost.
    take(&cluster, "reduce.1", chunks).await;
    for task in tasks {
        let Task { job, chunk, .. } = message::decode::<Task>(&task).unwrap().0;
        let (reason, worker) = ("its worker was unlucky".to_owned(), "w".to_owned());
        let failure = Failure {
            job,
            chunk,
            reason,
            attempts: 1,
            retry: 0,
            record: None,
            retried: None,
            worker,
            version: 1,
            time_ms: 5,
        };
        cluster.crew.home.store(queue::DEAD, message::encode(&failure, &task)).await;
    }
    cluster.crew.hire(Role::Aggregator).await;
    cluster.crew.hire(Role::Worker).await;
    let report = cluster.conclude(&session, &known, chunks).await;
    assert_eq!((report.end.version, &report.end.outcome), (1, &Outcome::Done));
    assert_eq!(String::from_utf8(report.tsv).unwrap(), rows(&order, &sources));
    cluster.finish().await;
    seen::fault("some partitions count a chunk and others lack it", "it is sent again, counted, and never reported");
}

async fn a_chunk_that_cannot_be_repaired_is_reported_with_the_partition_that_lacks_it(home: Home) {
    let (order, sources) = (Order::of("word-count"), [source("a", TEXT.repeat(20))]);
    let (cluster, session, known, tasks) = mapped(home, &order, &sources).await;
    let chunks = u32::try_from(tasks.len()).unwrap();
    for partial in take(&cluster, "reduce.1", chunks).await {
        let (header, body) = message::decode::<Partial>(&partial).unwrap();
        let spoiled = if header.chunk.0 == 2 { Bytes::from_static(b"\xff\xff\xff") } else { body };
        cluster.crew.home.store("reduce.1", message::encode(&header, &spoiled)).await;
    }
    cluster.crew.hire(Role::Aggregator).await;
    cluster.crew.hire(Role::Worker).await;
    let report = cluster.conclude(&session, &known, chunks).await;
    assert_eq!(report.end.outcome, Outcome::DoneWithLosses);
    let [lost] = report.end.losses.chunks.as_slice() else { panic!("{:?}", report.end.losses) };
    assert_eq!((lost.chunk, lost.partitions.as_slice()), (ChunkNumber(2), &[PartitionNumber(1)][..]));
    let kept = letters(&session, known.spec.job).await;
    let [letter] = kept.as_slice() else { panic!("{kept:?}") };
    assert_eq!((&letter.kind, letter.chunk, letter.lost), (&LetterKind::Partial, Some(ChunkNumber(2)), true));
    assert!(letter.reason.contains("cannot be read"), "{letter:?}");
    let (_, _, refused) = retry(&session, known.spec.job, &[2]).await;
    assert!(refused[0].1.contains("the task of chunk 2 is not kept"), "{refused:?}");
    cluster.finish().await;
    seen::fault("a partial's pairs cannot be read", "its chunk is lost, in its partition alone");
}

async fn a_partial_that_the_broker_gave_up_on_again_and_again_is_folded_alone(home: Home) {
    let (order, sources) = (Order::of("word-count"), [source("a", TEXT.repeat(20))]);
    let (cluster, session, known, tasks) = mapped(home, &order, &sources).await;
    let chunks = u32::try_from(tasks.len()).unwrap();
    for partial in take(&cluster, "reduce.2", chunks).await {
        let (header, body) = message::decode::<Partial>(&partial).unwrap();
        cluster.crew.home.store(queue::DEAD, message::encode(&Partial { strikes: 3, ..header }, &body)).await;
    }
    cluster.crew.hire(Role::Aggregator).await;
    let report = cluster.conclude(&session, &known, chunks).await;
    assert_eq!(report.end.outcome, Outcome::Done);
    assert_eq!(String::from_utf8(report.tsv).unwrap(), rows(&order, &sources));
    assert_eq!(cluster.files(known.spec.job, "dead"), [""; 0]);
    cluster.finish().await;
    seen::fault("the broker gives up on a partial again and again", "it is folded alone, and counted");
}

async fn refused_records_are_kept_byte_for_byte(home: Home) {
    let cluster = Cluster::builder().start(home).await;
    let sources = [source("a", "1 2\n3"), source("b", b"40 five 6e1 \xffx7 1")];
    let session = cluster.session().await;
    let known = cluster.submit(&session, &Order::of("sum"), cluster.write(&sources)).await;
    let chunks = within("published", session.publish(&known, None)).await.unwrap();
    let report = cluster.conclude(&session, &known, chunks).await;
    assert_eq!((report.end.outcome, report.end.losses.count), (Outcome::DoneWithLosses, 2));
    let job = known.spec.job;
    let kept =
        until("they are kept", async || Some(letters(&session, job).await).filter(|kept| !kept.is_empty())).await;
    let [letter] = kept.as_slice() else { panic!("{kept:?}") };
    let LetterKind::Records(skips) = &letter.kind else { panic!("{letter:?}") };
    assert_eq!((skips.as_slice(), letter.lost), (report.end.losses.records.as_slice(), true));
    let ask = Ask::Letter { job: Some(job), name: letter.name.clone(), offset: 0, length: 1 << 20 };
    let (Answer::Bytes { more: false }, raw) = session.ask(ask, &[]).await.unwrap() else { panic!("no letter") };
    let (refused, bytes) = message::decode::<Refused>(&raw).unwrap();
    assert_eq!(refused.records.iter().map(|record| record.length).collect::<Vec<_>>(), [4, 3]);
    assert_eq!(&bytes[..], b"five\xffx7");
    for name in ["../spec.json", "", "a/b"] {
        let ask = Ask::Letter { job: Some(job), name: name.to_owned(), offset: 0, length: 10 };
        assert!(session.ask(ask, &[]).await.is_err(), "{name}");
    }
    cluster.finish().await;
    seen::fault("a record is refused by its program", "it is a loss with source and offset, and its bytes are kept");
}

/// A cluster whose job `sum` over four numbers leaves out the third: three processes are said to have died of it.
async fn leave_out(home: Home) -> (Cluster, Session, Known, Report) {
    let cluster = Cluster::builder().workers(0).start(home).await;
    let session = cluster.session().await;
    let known = cluster.submit(&session, &Order::of("sum"), cluster.write(&[source("a", "1 2 666 3\n")])).await;
    let chunks = within("published", session.publish(&known, None)).await.unwrap();
    let job = known.spec.job;
    for task in take(&cluster, queue::MAP, chunks).await {
        let (header, body) = message::decode::<Task>(&task).unwrap();
        let chunk = header.chunk;
        let worker = "w".to_owned();
        let died = Attempt { worker: worker.clone(), reason: "it died".to_owned(), time_ms: 4 };
        let task = message::encode(&Task { crashes: 2, history: vec![died], ..header }, &body);
        let (record, reason) = (Some(Place { source: SourceNumber(0), offset: 4 }), "3 processes died".to_owned());
        let failure = Failure {
            job,
            chunk,
            reason,
            attempts: 3,
            retry: 0,
            record,
            retried: None,
            worker,
            version: 1,
            time_ms: 5,
        };
        cluster.crew.home.store(queue::DEAD, message::encode(&failure, &task)).await;
    }
    cluster.crew.hire(Role::Worker).await;
    let report = cluster.conclude(&session, &known, chunks).await;
    assert_eq!((&report.end.outcome, report.end.losses.count), (&Outcome::DoneWithLosses, 1));
    (cluster, session, known, report)
}

async fn a_record_that_is_left_out_is_kept_with_its_attempts(home: Home) {
    let (cluster, session, known, report) = leave_out(home).await;
    let job = known.spec.job;
    let kept = until("both are kept", async || Some(letters(&session, job).await).filter(|kept| kept.len() == 2)).await;
    for letter in &kept {
        let LetterKind::Records(skips) = &letter.kind else { panic!("{letter:?}") };
        assert_eq!((skips, letter.lost, letter.again), (&report.end.losses.records, true, false), "{letter:?}");
    }
    let died: Vec<_> = kept.iter().filter(|letter| letter.attempts == 3).collect();
    let [letter] = died.as_slice() else { panic!("{kept:?}") };
    assert_eq!((letter.reason.as_str(), letter.time_ms), ("3 processes died", 5));
    let ask = Ask::Letter { job: Some(job), name: letter.name.clone(), offset: 0, length: 1 << 20 };
    let (Answer::Bytes { more: false }, raw) = session.ask(ask, &[]).await.unwrap() else { panic!("no letter") };
    let (_, task) = message::decode::<Failure>(&raw).unwrap();
    assert_eq!(message::decode::<Task>(&task).unwrap().0.history.len(), 1);
    cluster.finish().await;
    seen::fault("a record is left out", "what is known of its attempts is kept, and listed as that of a record");
}

async fn retry_record(session: &Session, job: JobId, chunk: ChunkNumber, skip: &Skip) -> PutBack {
    let ask = Ask::Retry { job, chunks: vec![], records: vec![(chunk, skip.place())] };
    let answer = session.ask(ask, &[]).await.unwrap().0;
    let Answer::Retried { mut records, .. } = answer else { panic!("{answer:?}") };
    assert_eq!((records.len(), records[0].0, records[0].1), (1, chunk, skip.place()));
    records.remove(0).2
}

/// The letters of records, once the bytes of them are kept, and the chunk they are of.
async fn record_letters(session: &Session, job: JobId) -> (ChunkNumber, Vec<Letter>) {
    let kept = until("the bytes are kept", async || {
        let kept = letters(session, job).await;
        kept.iter().any(|letter| letter.record.is_none()).then_some(kept)
    });
    let kept = kept.await;
    (kept[0].chunk.unwrap(), kept)
}

async fn a_record_that_is_left_out_is_counted_once_it_is_sent_again(home: Home) {
    let (cluster, session, known, before) = leave_out(home).await;
    let job = known.spec.job;
    let (chunk, _) = record_letters(&session, job).await;
    let skip = before.end.losses.records[0].clone();
    for name in cluster.crew.names(Role::Worker) {
        within("it stops", cluster.crew.stop(&name)).await;
    }
    assert_eq!(retry_record(&session, job, chunk, &skip).await, PutBack::Sent);
    assert_eq!(retry_record(&session, job, chunk, &skip).await, PutBack::UnderWay);
    let open = letters(&session, job).await;
    assert!(open.iter().all(|letter| letter.again && letter.records == [RecordState::Again]), "{open:?}");
    let drop = Ask::Drop { job: Some(job), names: vec![open[0].name.clone()] };
    assert!(session.ask(drop, &[]).await.unwrap_err().to_string().contains("being sent again"));
    let (Answer::Status(status), _) = session.ask(Ask::Status { job, detail: true }, &[]).await.unwrap() else {
        panic!("no status")
    };
    assert_eq!(status.retrying_records, [(chunk, skip.place())]);
    // What is sent twice is counted once.
    let twice = take(&cluster, queue::SUSPECT, 1).await.remove(0);
    for _ in 0..2 {
        cluster.crew.home.store(queue::SUSPECT, twice.clone()).await;
    }
    cluster.crew.hire(Role::Worker).await;
    amended(&session, job, 2).await;
    let chunks = before.chunks;
    let report = cluster.conclude(&session, &known, chunks).await;
    assert_eq!((report.end.version, &report.end.outcome, report.end.losses.count), (2, &Outcome::Done, 0));
    assert_eq!(report.end.counters, before.end.counters, "it was counted on the way with its chunk");
    assert!(report.end.pairs > before.end.pairs);
    let sources = [source("a", "1 2 666 3\n")];
    assert_eq!(String::from_utf8(report.tsv).unwrap(), rows(&Order::of("sum"), &sources));
    let counted = letters(&session, job).await;
    assert!(counted.iter().all(|letter| !letter.lost && letter.records == [RecordState::Counted]), "{counted:?}");
    assert_eq!(retry_record(&session, job, chunk, &skip).await, PutBack::Refused("it is counted".to_owned()));
    cluster.finish().await;
    seen::fault("a record that was left out is sent again", "it is counted once, and the result amended once");
}

async fn a_record_that_is_refused_again_is_lost_in_a_new_version(home: Home) {
    let cluster = Cluster::builder().start(home).await;
    let session = cluster.session().await;
    let known = cluster.submit(&session, &Order::of("sum"), cluster.write(&[source("a", "1 two 3\n")])).await;
    let chunks = within("published", session.publish(&known, None)).await.unwrap();
    let before = cluster.conclude(&session, &known, chunks).await;
    let job = known.spec.job;
    let (chunk, _) = record_letters(&session, job).await;
    let skip = before.end.losses.records[0].clone();
    let nowhere = Skip { offset: 0, ..skip.clone() };
    let refused = retry_record(&session, job, chunk, &nowhere).await;
    assert!(matches!(&refused, PutBack::Refused(reason) if reason.contains("not counted without it")), "{refused:?}");
    assert_eq!(retry_record(&session, job, chunk, &skip).await, PutBack::Sent);
    amended(&session, job, 2).await;
    let report = cluster.conclude(&session, &known, chunks).await;
    assert_eq!((report.end.version, &report.end.losses), (2, &before.end.losses));
    assert_eq!((report.end.pairs, report.tsv), (before.end.pairs, before.tsv));
    let kept = letters(&session, job).await;
    assert!(kept.iter().all(|letter| letter.lost && letter.records == [RecordState::Lost]), "{kept:?}");
    let again: Vec<_> = kept.iter().filter(|letter| letter.retry == 1).collect();
    let [again] = again.as_slice() else { panic!("{kept:?}") };
    assert_eq!((&again.kind, again.attempts), (&LetterKind::Records(vec![skip.clone()]), 1));
    assert_eq!(retry_record(&session, job, chunk, &skip).await, PutBack::Sent, "it may be tried as often as one likes");
    assert_eq!(amended(&session, job, 3).await.losses.count, 1);
    cluster.finish().await;
    seen::fault("a record that was refused is sent again", "it is lost again, in a new version of the result");
}

async fn letters_are_dropped_and_their_losses_stay(home: Home) {
    let astray = Astray::start(home).await;
    let (session, known, before) = astray.lose().await;
    let job = known.spec.job;
    let names: Vec<String> = letters(&session, job).await.into_iter().map(|letter| letter.name).collect();
    session.ask(Ask::Drop { job: Some(job), names: names[..2].to_vec() }, &[]).await.unwrap();
    session.ask(Ask::Drop { job: Some(job), names: names[..2].to_vec() }, &[]).await.expect("it may be asked twice");
    let left: Vec<String> = letters(&session, job).await.into_iter().map(|letter| letter.name).collect();
    assert_eq!(left, names[2..]);
    assert_eq!(session.status(job).await.unwrap().end.unwrap().losses, before.end.losses);
    let (_, _, refused) = retry(&session, job, &[0]).await;
    assert!(refused[0].1.contains("is not kept"), "{refused:?}");
    astray.cluster.finish().await;
}

/// Nobody else can tell that a task vanished: the sweep sends it again, some minutes later.
#[test]
fn a_retry_whose_task_vanishes_is_sent_once_more() {
    world::simulated(async {
        let astray = Astray::start(Home::embedded_with(topology()).await).await;
        let (session, known, _) = astray.lose().await;
        for name in astray.cluster.crew.names(Role::Worker) {
            within("it stops", astray.cluster.crew.stop(&name)).await;
        }
        astray.mend();
        assert_eq!(retry(&session, known.spec.job, &[0]).await.0, [0]);
        take(&astray.cluster, queue::SUSPECT, 1).await;
        astray.cluster.crew.hire(Role::Worker).await;
        let sweeps = Duration::from_secs(600);
        let ended = tokio::time::timeout(sweeps, async {
            loop {
                let end = session.status(known.spec.job).await.unwrap().end.unwrap();
                if end.version == 2 {
                    return end;
                }
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
        });
        assert_eq!(ended.await.expect("the sweep sends it").chunks, 1);
        astray.cluster.finish().await;
        seen::fault("the task of a retry vanishes", "the sweep sends it once more, and the result is amended");
    });
}
