//! A job's life apart from its answer: cancelled, removed, taken up by another producer; and roles that come and go.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod world;

use futures_util::future::join_all;
use rabbit_reduce_aggregator as aggregator;
use rabbit_reduce_core::local::{self, LocalSource};
use rabbit_reduce_core::message::{Answer, Ask, Outcome};
use rabbit_reduce_core::program::Programs;
use rabbit_reduce_core::rows::format::Format;
use rabbit_reduce_core::topology::queue;
use rabbit_reduce_producer::session::{Known, Session, SessionError};
use rabbit_reduce_runtime::client::ClientError;
use rabbit_reduce_runtime::process::shutdown::Shutdown;
use rabbit_reduce_runtime::process::start;
use rabbit_reduce_runtime::shipped::ShippedFiles;
use rabbit_reduce_runtime::store::Store;
use rabbit_reduce_runtime::store::memory::MemoryStore;
use rabbit_reduce_tests::cluster::{Cluster, Order, Report, source};
use rabbit_reduce_tests::crew::{Role, Setup};
use rabbit_reduce_tests::home::Home;
use rabbit_reduce_tests::seen;
use rabbit_reduce_tests::troubles::Trouble;
use rabbit_reduce_tests::wait::{until, within};
use std::collections::BTreeSet;
use std::sync::Arc;

world::on_both_brokers! {
    a_cancelled_job_ends_and_its_late_tasks_are_dropped
    a_removed_job_leaves_its_tombstone_whatever_comes_later
    a_running_job_is_not_removed
    a_job_whose_producer_died_before_the_seal_is_resumed
    a_job_whose_producer_died_after_the_seal_is_resumed
    a_purged_map_queue_is_repaired_by_resume
    a_second_store_is_refused_by_both_names
    an_aggregator_that_is_asked_to_stop_commits_what_it_holds
    a_worker_that_is_asked_to_stop_hands_back_what_it_did_not_map
    two_jobs_run_side_by_side
    a_store_that_keeps_silent_about_many_writes_is_asked_again
}

fn text() -> [LocalSource; 2] {
    [source("a", "one two three two ".repeat(40)), source("b", "three four\n".repeat(40))]
}

fn agree(sources: &[LocalSource], report: &Report) {
    let program = Order::of("word-count").program();
    let rows = local::print(&program, sources, &local::run(&program, sources), Format::Tsv).unwrap();
    assert_eq!(report.end.outcome, Outcome::Done);
    assert_eq!(String::from_utf8(report.tsv.clone()).unwrap(), String::from_utf8(rows).unwrap());
}

async fn submitted(cluster: &Cluster, session: &Session) -> Known {
    cluster.submit(session, &Order::of("word-count"), cluster.write(&text())).await
}

async fn published(session: &Session, known: &Known) -> u32 {
    within("published", session.publish(known, None)).await.unwrap()
}

async fn resumed(cluster: &Cluster, known: &Known, most: u32) -> (BTreeSet<u32>, Report) {
    let session = cluster.session().await;
    let found = session.find(known.spec.job).await.unwrap();
    assert_eq!((found.spec, &found.sources), (Arc::clone(&known.spec), &known.sources));
    let open = session.uncovered(known.spec.job, most).await.unwrap();
    let found = session.find(known.spec.job).await.unwrap();
    let chunks = within("published", session.publish(&found, Some(open.clone()))).await.unwrap();
    (open, cluster.conclude(&session, &found, chunks).await)
}

async fn a_cancelled_job_ends_and_its_late_tasks_are_dropped(home: Home) {
    let cluster = Cluster::builder().workers(0).start(home).await;
    let session = cluster.session().await;
    let known = submitted(&cluster, &session).await;
    let chunks = published(&session, &known).await;
    let job = known.spec.job;
    session.ask(Ask::Cancel { job }, &[]).await.unwrap();
    session.ask(Ask::Cancel { job }, &[]).await.expect("it may be asked twice");
    let report = cluster.conclude(&session, &known, chunks).await;
    assert_eq!(report.end.outcome, Outcome::Cancelled);
    cluster.crew.hire(Role::Worker).await;
    // Nothing is said against a job that runs beside it.
    agree(&text(), &cluster.run(&Order::of("word-count"), &text()).await);
    assert_eq!((cluster.files(job, "ledger"), cluster.files(job, "runs")), (vec![], vec![]));
    assert_eq!(cluster.files(job, "end"), ["000001"]);
    assert_eq!(cluster.set_aside(), [""; 0]);
    cluster.finish().await;
    seen::fault("tasks of a cancelled job", "dropped; a job beside it is exact");
}

async fn a_removed_job_leaves_its_tombstone_whatever_comes_later(home: Home) {
    let cluster = Cluster::builder().start(home).await;
    let session = cluster.session().await;
    let known = submitted(&cluster, &session).await;
    let chunks = published(&session, &known).await;
    agree(&text(), &cluster.conclude(&session, &known, chunks).await);
    let job = known.spec.job;
    session.ask(Ask::Remove { job }, &[]).await.unwrap();
    assert_eq!(cluster.files(job, ""), ["removed"]);
    session.ask(Ask::Remove { job }, &[]).await.expect("it may be asked twice");
    let gone = session.status(job).await.expect_err("it is gone");
    assert!(matches!(gone, SessionError::Client(ClientError::Unknown)), "{gone}");
    // Its tasks come once more, all of them, and so does its seal.
    let again = within("published", session.publish(&known, None)).await.expect_err("there is nothing to seal");
    assert!(matches!(again, SessionError::Client(ClientError::Unknown)), "{again}");
    let (inputs, set_aside) = (text(), cluster.set_aside());
    agree(&inputs, &cluster.run(&Order::of("word-count"), &inputs).await);
    until("its tasks are dropped", async || cluster.left_over().await.is_empty().then_some(())).await;
    assert_eq!((cluster.files(job, ""), set_aside), (vec!["removed".to_owned()], vec![]));
    let store = Arc::clone(&cluster.crew.store);
    cluster.finish().await;
    assert_eq!(store.list(&format!("jobs/{job}")).unwrap(), ["removed"]);
    assert_eq!(store.list("aside").unwrap(), [""; 0]);
    seen::fault("tasks of a removed job", "dropped, and nothing but the tombstone is left");
}

async fn a_running_job_is_not_removed(home: Home) {
    let cluster = Cluster::builder().start(home).await;
    let session = cluster.session().await;
    let known = submitted(&cluster, &session).await;
    let refused = session.ask(Ask::Remove { job: known.spec.job }, &[]).await.expect_err("it runs");
    assert!(refused.to_string().contains("cancel it first"), "{refused}");
    let chunks = published(&session, &known).await;
    agree(&text(), &cluster.conclude(&session, &known, chunks).await);
    cluster.finish().await;
}

async fn a_job_whose_producer_died_before_the_seal_is_resumed(home: Home) {
    let cluster = Cluster::builder().start(home).await;
    let session = cluster.session().await;
    let known = submitted(&cluster, &session).await;
    let some = BTreeSet::from([0, 1, 4]);
    cluster.publish_unsealed(&session, &known, Some(some.clone())).await;
    until("what was published is counted", async || {
        let open = session.uncovered(known.spec.job, 8).await.unwrap();
        open.is_disjoint(&some).then_some(())
    })
    .await;
    drop(session);
    let (open, report) = resumed(&cluster, &known, 1000).await;
    assert!(open.is_disjoint(&some) && open.contains(&2));
    agree(&text(), &report);
    cluster.finish().await;
    seen::fault("a producer dies before the seal", "the others are published by who resumes, answer exact");
}

async fn a_job_whose_producer_died_after_the_seal_is_resumed(home: Home) {
    let cluster = Cluster::builder().workers(0).start(home).await;
    let session = cluster.session().await;
    let known = submitted(&cluster, &session).await;
    let chunks = published(&session, &known).await;
    drop(session);
    cluster.crew.hire(Role::Worker).await;
    let (_, report) = resumed(&cluster, &known, chunks).await;
    assert_eq!(report.end.chunks, chunks);
    agree(&text(), &report);
    // It ended long ago: nothing is open, and it ends the same.
    let (open, again) = resumed(&cluster, &known, chunks).await;
    assert_eq!((open, again.end.version), (BTreeSet::new(), 1));
    agree(&text(), &again);
    cluster.finish().await;
    seen::fault("a producer dies after the seal", "whoever resumes sees the same end, answer exact");
}

async fn a_purged_map_queue_is_repaired_by_resume(home: Home) {
    let cluster = Cluster::builder().workers(0).start(home).await;
    let session = cluster.session().await;
    let known = submitted(&cluster, &session).await;
    let chunks = published(&session, &known).await;
    let mut consumer = cluster.crew.home.broker.consume(queue::MAP, 10).await.unwrap();
    for _ in 0..chunks {
        assert!(within("a task", consumer.next()).await.expect("it lives").receipt.ack().await);
    }
    drop(consumer);
    cluster.crew.hire(Role::Worker).await;
    let (open, report) = resumed(&cluster, &known, chunks).await;
    assert_eq!(open, (0..chunks).collect());
    agree(&text(), &report);
    cluster.finish().await;
    seen::fault("tasks are acked unmapped", "sent again by who resumes, answer exact");
}

async fn a_second_store_is_refused_by_both_names(home: Home) {
    let cluster = Cluster::builder().start(home).await;
    agree(&text(), &cluster.run(&Order::of("word-count"), &text()).await);
    let second: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let (ours, theirs) = (cluster.crew.store.store_id().unwrap(), second.store_id().unwrap());
    let config = aggregator::Config {
        name: "second".to_owned(),
        memory_bytes: 256 << 20,
        threads: 1,
        segment_bytes: 4096,
        keep: None,
        max_runs: aggregator::MAX_RUNS,
        limits: aggregator::Limits::default(),
        scratch: std::env::temp_dir(),
        programs: Programs::built_in(),
        files: ShippedFiles::shared(&std::env::temp_dir()),
    };
    let broker = cluster.crew.home.connect().await;
    let running = aggregator::run(config, broker, second, Shutdown::new());
    let refused = within("it is refused", running).await.expect_err("the namespace has a store");
    let refused = start::chain(&refused);
    assert!(refused.contains(&ours) && refused.contains(&theirs), "{refused}");
    agree(&text(), &cluster.run(&Order::of("word-count"), &text()).await);
    cluster.finish().await;
    seen::fault("a second store in a namespace", "refused by the names of both; the first goes on");
}

async fn an_aggregator_that_is_asked_to_stop_commits_what_it_holds(home: Home) {
    let setup = Setup { prefetch: 256, segment_bytes: 4096, ..Setup::default() };
    let cluster = Cluster::builder().setup(setup).start(home).await;
    let session = cluster.session().await;
    let known = submitted(&cluster, &session).await;
    let chunks = cluster.publish_unsealed(&session, &known, None).await;
    // Empty queues would not say so: what is on its way to somebody is in none.
    let folded = async || match session.ask(Ask::Status { job: known.spec.job, detail: false }, &[]).await.unwrap() {
        (Answer::Status(status), _) => (status.covered == chunks).then_some(()),
        other => panic!("{other:?}"),
    };
    until("all is mapped and taken", folded).await;
    for name in [cluster.crew.names(Role::Worker), cluster.crew.names(Role::Aggregator)].concat() {
        within("it stops", cluster.crew.stop(&name)).await;
    }
    assert!(!cluster.files(known.spec.job, "ledger").is_empty());
    // Without a worker: whatever is counted now was committed, or came back.
    cluster.crew.hire(Role::Aggregator).await;
    let session = cluster.session().await;
    until("all is counted", async || session.uncovered(known.spec.job, chunks).await.unwrap().is_empty().then_some(()))
        .await;
    let (_, report) = resumed(&cluster, &known, chunks).await;
    agree(&text(), &report);
    cluster.finish().await;
    seen::fault("an aggregator is asked to stop", "it commits what it holds, answer exact");
}

async fn a_worker_that_is_asked_to_stop_hands_back_what_it_did_not_map(home: Home) {
    let setup = Setup { threads: 1, ..Setup::default() };
    let cluster = Cluster::builder().setup(setup).start(home).await;
    let session = cluster.session().await;
    let known = submitted(&cluster, &session).await;
    let chunks = published(&session, &known).await;
    let [worker] = cluster.crew.names(Role::Worker).try_into().unwrap();
    within("it stops", cluster.crew.stop(&worker)).await;
    cluster.crew.hire(Role::Worker).await;
    agree(&text(), &cluster.conclude(&session, &known, chunks).await);
    assert_eq!(cluster.files(known.spec.job, "dead"), [""; 0]);
    cluster.finish().await;
    seen::fault("a worker is asked to stop", "the rest is handed back, answer exact");
}

async fn two_jobs_run_side_by_side(home: Home) {
    let cluster = Cluster::builder().workers(2).aggregators(2).start(home).await;
    let (order, inputs) = (Order::of("word-count"), text());
    let (one, other) = tokio::join!(cluster.run(&order, &inputs), cluster.run(&order, &inputs[..1]));
    agree(&inputs, &one);
    agree(&inputs[..1], &other);
    let jobs = cluster.session().await.ask(Ask::Jobs, &[]).await.unwrap().0;
    let rabbit_reduce_core::message::Answer::Jobs(jobs) = jobs else { panic!("{jobs:?}") };
    let listed: BTreeSet<_> = jobs.iter().map(|status| status.job).collect();
    assert_eq!(listed, BTreeSet::from([one.job, other.job]));
    cluster.finish().await;
}

async fn a_store_that_keeps_silent_about_many_writes_is_asked_again(home: Home) {
    let trouble = Trouble { unknown: 400, ..Trouble::default() };
    let cluster = Cluster::builder().seed(1).trouble(trouble).aggregators(2).start(home).await;
    let (order, inputs) = (Order::of("word-count"), text());
    let reports = join_all((0..20).map(|_| cluster.run(&order, &inputs))).await;
    reports.iter().for_each(|report| agree(&inputs, report));
    cluster.finish().await;
    seen::fault("a store does not say what became of a write", "read back, every answer exact");
}
