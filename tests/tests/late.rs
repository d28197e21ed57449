//! What comes for a job that is over: dropped, counted, and nothing of it left.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod world;

use bytes::Bytes;
use rabbit_reduce_core::message::{Answer, Ask, Outcome};
use rabbit_reduce_tests::cluster::{Cluster, Order, source};
use rabbit_reduce_tests::crew::Role;
use rabbit_reduce_tests::home::Home;
use rabbit_reduce_tests::seen::fault;
use rabbit_reduce_tests::wait::{until, within};

world::on_both_brokers! {
    partials_of_a_cancelled_job_are_dropped_and_counted
    partials_of_a_removed_job_are_dropped_and_leave_nothing
}

/// Partials of a job that nobody has folded, by their queues, and an aggregator that knows nothing of them.
struct Late {
    cluster: Cluster,
    job: rabbit_reduce_core::id::JobId,
    partials: Vec<(String, Bytes)>,
}

impl Late {
    async fn of(home: Home) -> Self {
        let cluster = Cluster::builder().start(home).await;
        let session = cluster.session().await;
        let sources = cluster.write(&[source("a", "one two three two\n".repeat(20))]);
        let known = cluster.submit(&session, &Order::of("word-count"), sources).await;
        for name in cluster.crew.names(Role::Aggregator) {
            within("it stops", cluster.crew.stop(&name)).await;
        }
        let chunks = cluster.publish_unsealed(&session, &known, None).await;
        let mut partials = Vec::new();
        for name in (0..3).map(|number| format!("reduce.{number}")) {
            let mut consumer = within("consume", cluster.crew.home.broker.consume(&name, 100)).await.unwrap();
            for _ in 0..chunks {
                let delivery = within("a partial", consumer.next()).await.unwrap();
                partials.push((name.clone(), delivery.body));
                assert!(within("ack", delivery.receipt.ack()).await);
            }
        }
        cluster.crew.hire(Role::Aggregator).await;
        Self { cluster, job: known.spec.job, partials }
    }

    async fn arrive(&self) {
        for (name, partial) in &self.partials {
            self.cluster.crew.home.store(name, partial.clone()).await;
        }
        until("all are taken", async || self.cluster.left_over().await.is_empty().then_some(())).await;
    }
}

async fn partials_of_a_cancelled_job_are_dropped_and_counted(home: Home) {
    let late = Late::of(home).await;
    let session = late.cluster.session().await;
    assert!(matches!(session.ask(Ask::Cancel { job: late.job }, &[]).await.unwrap().0, Answer::Done));
    late.arrive().await;
    let number = late.partials.len() as u64;
    let status = until("all are counted", async || {
        let status = session.status(late.job).await.unwrap();
        (status.late == number).then_some(status)
    })
    .await;
    assert_eq!(status.end.unwrap().outcome, Outcome::Cancelled);
    assert_eq!((late.cluster.set_aside(), late.cluster.files(late.job, "ledger")), (vec![], vec![]));
    late.cluster.finish().await;
    fault("partials of a cancelled job", &format!("all {number} are dropped and counted in `status`"));
}

async fn partials_of_a_removed_job_are_dropped_and_leave_nothing(home: Home) {
    let late = Late::of(home).await;
    let session = late.cluster.session().await;
    for ask in [Ask::Cancel { job: late.job }, Ask::Remove { job: late.job }] {
        assert!(matches!(session.ask(ask, &[]).await.unwrap().0, Answer::Done));
    }
    late.arrive().await;
    let left = late.cluster.crew.store.list(&format!("jobs/{}", late.job)).unwrap();
    assert_eq!((left, late.cluster.set_aside()), (vec!["removed".to_owned()], vec![]));
    late.cluster.finish().await;
    fault("partials of a removed job", "all are dropped; nothing but the tombstone is left");
}
