//! Messages that nobody can use: they are kept, and nobody minds them.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod world;

use bytes::Bytes;
use rabbit_reduce_core::id::{ChunkNumber, JobId, PartitionNumber};
use rabbit_reduce_core::message::{self, Failure, News, Outcome, Partial};
use rabbit_reduce_core::topology::queue;
use rabbit_reduce_tests::cluster::{Cluster, Order, source};
use rabbit_reduce_tests::home::Home;
use rabbit_reduce_tests::seen;
use rabbit_reduce_tests::wait::until;
use std::collections::BTreeSet;
use uuid::Uuid;

world::on_both_brokers! {
    a_partial_of_an_unknown_job_is_set_aside
    a_partial_of_another_store_is_set_aside
    a_failure_of_an_unknown_job_is_set_aside
    garbage_on_any_queue_is_kept_and_the_next_job_goes_on
    a_message_of_another_kind_is_kept_and_the_next_job_goes_on
}

fn partial(store: String) -> Bytes {
    let partial = Partial {
        job: JobId(Uuid::now_v7()),
        chunk: ChunkNumber(0),
        attempt: 1,
        partition: PartitionNumber(1),
        partitions: 3,
        segment: 0,
        last: true,
        store,
        digest: 7,
        worker: "stranger".to_owned(),
        pairs: 0,
        strikes: 0,
        agreed: 0,
        skips: None,
        home: None,
    };
    message::encode(&partial, &[])
}

/// All of them are kept as they are, and a job runs as if nothing were.
async fn are_kept(cluster: Cluster, messages: Vec<(&str, Bytes)>) {
    let mut expected = BTreeSet::new();
    for (queue, message) in messages {
        cluster.crew.home.store(queue, message.clone()).await;
        expected.insert(message.to_vec());
    }
    let report = cluster.run(&Order::of("word-count"), &[source("a", "b c b")]).await;
    assert_eq!((report.end.outcome, report.tsv.as_slice()), (Outcome::Done, &b"b\t2\nc\t1\n"[..]));
    until("all are kept", async || {
        let names = cluster.set_aside();
        let read = |name: &String| cluster.crew.store.get(&format!("aside/{name}")).unwrap().unwrap();
        (names.iter().map(read).collect::<BTreeSet<_>>() == expected).then_some(())
    })
    .await;
    cluster.finish().await;
}

async fn a_partial_of_an_unknown_job_is_set_aside(home: Home) {
    let cluster = Cluster::builder().start(home).await;
    let store = cluster.crew.store.store_id().unwrap();
    are_kept(cluster, vec![("reduce.1", partial(store))]).await;
    seen::fault("a partial of an unknown job", "kept as it came, the next job exact");
}

async fn a_partial_of_another_store_is_set_aside(home: Home) {
    let cluster = Cluster::builder().start(home).await;
    are_kept(cluster, vec![("reduce.1", partial(Uuid::new_v4().to_string()))]).await;
    seen::fault("a partial of another store", "kept as it came, the next job exact");
}

async fn a_failure_of_an_unknown_job_is_set_aside(home: Home) {
    let failure = Failure {
        job: JobId(Uuid::now_v7()),
        chunk: ChunkNumber(3),
        reason: "who knows".to_owned(),
        attempts: 1,
        retry: 0,
        record: None,
        worker: "stranger".to_owned(),
        version: 1,
        time_ms: 0,
    };
    let cluster = Cluster::builder().start(home).await;
    are_kept(cluster, vec![(queue::DEAD, message::encode(&failure, b"its task"))]).await;
    seen::fault("a failure of an unknown job", "kept as it came, the next job exact");
}

fn everywhere() -> [&'static str; 8] {
    [queue::MAP, queue::AGAIN, queue::SUSPECT, "reduce.0", "reduce.7", queue::REDUCE_LARGE, queue::CONTROL, queue::DEAD]
}

async fn garbage_on_any_queue_is_kept_and_the_next_job_goes_on(home: Home) {
    let cluster = Cluster::builder().start(home).await;
    let mut messages = Vec::new();
    for name in everywhere() {
        messages.push((name, Bytes::from(format!("garbage on {name}"))));
        messages.push((
            name,
            Bytes::from([b"RR\x01\x02\xff\xff\xff\xff\xff\xff\xff\xff".as_slice(), name.as_bytes()].concat()),
        ));
    }
    messages.push((queue::MAP, Bytes::new()));
    are_kept(cluster, messages).await;
    seen::fault("garbage on any queue", "kept as it came, the next job exact");
}

async fn a_message_of_another_kind_is_kept_and_the_next_job_goes_on(home: Home) {
    let cluster = Cluster::builder().start(home).await;
    let news = |number: u128| message::encode(&News::Ended(JobId(Uuid::from_u128(number))), &[]);
    let messages = (0..).zip(everywhere()).map(|(number, name)| (name, news(number))).collect();
    are_kept(cluster, messages).await;
    seen::fault("a message of another kind", "kept as it came, the next job exact");
}
