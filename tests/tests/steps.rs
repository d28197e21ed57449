//! Jobs of several steps: the rows of one are the input of the next, as if they had been written to a file and given to another
//! job.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod world;

use rabbit_reduce_core::id::{ChunkNumber, JobId};
use rabbit_reduce_core::local::{self, LocalSource};
use rabbit_reduce_core::message::{Ask, Outcome};
use rabbit_reduce_core::rows::format::Format;
use rabbit_reduce_core::topology::queue;
use rabbit_reduce_producer::session::{Known, Session, SessionError};
use rabbit_reduce_runtime::client::ClientError;
use rabbit_reduce_tests::cluster::{Cluster, Order, source};
use rabbit_reduce_tests::crew::Role;
use rabbit_reduce_tests::home::Home;
use rabbit_reduce_tests::namespaces::Namespace;
use rabbit_reduce_tests::processes::{Room, Running, counted};
use rabbit_reduce_tests::seen;
use rabbit_reduce_tests::wait::{until, within};

world::on_both_brokers! {
    steps_answer_as_jobs_would_one_after_the_other
    a_step_after_one_without_a_result_fails_and_says_why
    what_a_step_reads_is_neither_amended_nor_removed_before_its_end
    tasks_of_a_step_that_vanished_are_published_again_when_asked
}

fn text() -> [LocalSource; 2] {
    [source("a", "one two three two ".repeat(40)), source("b", "three 4\n5.5\n".repeat(40))]
}

/// What plain runs give, one after the other.
fn expected(orders: &[Order], sources: &[LocalSource]) -> String {
    let (mut sources, mut rows) = (sources.to_vec(), Vec::new());
    for (number, order) in (1..).zip(orders) {
        let program = order.program();
        rows = local::print(&program, &sources, &local::run(&program, &sources), Format::Tsv).unwrap();
        sources = vec![source(&format!("step-{number}"), &rows)];
    }
    String::from_utf8(rows).unwrap()
}

async fn steps_answer_as_jobs_would_one_after_the_other(home: Home) {
    let cluster = Cluster::builder().workers(2).aggregators(2).start(home).await;
    for steps in
        [&["word-count", "count"][..], &["index", "letter-count", "sum"], &["count", "index", "word-count", "count"]]
    {
        let orders: Vec<Order> = steps.iter().map(|job| Order::of(job)).collect();
        let report = cluster.run_steps(&orders, &text()).await;
        assert_eq!(String::from_utf8(report.tsv).unwrap(), expected(&orders, &text()), "{steps:?}");
    }
    assert_eq!(cluster.set_aside(), [""; 0]);
    cluster.finish().await;
}

async fn refusal(session: &Session, ask: Ask) -> String {
    match session.ask(ask, &[]).await {
        Err(SessionError::Client(ClientError::Refused(reason))) => reason,
        other => panic!("{other:?}"),
    }
}

async fn a_step_after_one_without_a_result_fails_and_says_why(home: Home) {
    let cluster = Cluster::builder().workers(0).start(home).await;
    let session = cluster.session().await;
    let orders = ["word-count", "count", "count"].map(Order::of);
    let steps = cluster.submit_steps(&session, &orders, &text()).await;
    within("the input is published", session.publish(&steps[0], None)).await.unwrap();
    let jobs: Vec<JobId> = steps.iter().map(|step| step.spec.job).collect();
    session.ask(Ask::Cancel { job: jobs[0] }, &[]).await.unwrap();
    let end = within("the last step ends", session.watch(jobs[2])).await.unwrap();
    let Outcome::Failed(reason) = end.outcome else { panic!("{:?}", end.outcome) };
    let why =
        format!("the step before it, job {}, failed: the step before it, job {}, was cancelled", jobs[1], jobs[0]);
    assert_eq!(reason, why);
    // The tasks of the first are dropped.
    cluster.crew.hire(Role::Worker).await;
    cluster.finish().await;
    seen::fault("a step is cancelled", "those after it fail and name it");
}

/// Two steps of which the first is done and nobody is left to map the second.
async fn between_steps(cluster: &Cluster, session: &Session, orders: &[Order; 2]) -> [Known; 2] {
    let [first, second] = cluster.submit_steps(session, orders, &text()).await.try_into().ok().unwrap();
    let chunks = cluster.publish_unsealed(session, &first, None).await;
    let job = first.spec.job;
    until("all is mapped", async || (session.status(job).await.unwrap().covered == chunks).then_some(())).await;
    let [worker] = cluster.crew.names(Role::Worker).try_into().unwrap();
    within("it stops", cluster.crew.stop(&worker)).await;
    session.ask(Ask::Seal { job, chunks }, &[]).await.unwrap();
    within("the first step ends", session.watch(job)).await.unwrap();
    [first, second]
}

async fn what_a_step_reads_is_neither_amended_nor_removed_before_its_end(home: Home) {
    let cluster = Cluster::builder().start(home).await;
    let session = cluster.session().await;
    let orders = ["word-count", "count"].map(Order::of);
    let [first, second] = between_steps(&cluster, &session, &orders).await;
    let job = first.spec.job;
    for ask in [Ask::Remove { job }, Ask::Retry { job, chunks: vec![ChunkNumber(0)], records: Vec::new() }] {
        let reason = refusal(&session, ask).await;
        assert!(reason.contains(&format!("is read by the step after it, job {}", second.spec.job)), "{reason}");
    }
    cluster.crew.hire(Role::Worker).await;
    let report = cluster.conclude(&session, &second, 0).await;
    assert_eq!(String::from_utf8(report.tsv).unwrap(), expected(&orders, &text()));
    session.ask(Ask::Remove { job }, &[]).await.unwrap();
    cluster.finish().await;
}

async fn tasks_of_a_step_that_vanished_are_published_again_when_asked(home: Home) {
    let cluster = Cluster::builder().start(home).await;
    let session = cluster.session().await;
    let orders = ["word-count", "count"].map(Order::of);
    let [first, second] = between_steps(&cluster, &session, &orders).await;
    let job = second.spec.job;
    let chunks = until("it is published", async || session.status(job).await.unwrap().chunks).await;
    let mut consumer = cluster.crew.home.broker.consume(queue::MAP, 10).await.unwrap();
    for _ in 0..chunks {
        assert!(within("a task", consumer.next()).await.expect("it lives").receipt.ack().await);
    }
    drop(consumer);
    cluster.crew.hire(Role::Worker).await;
    session.ask(Ask::Step { job }, &[]).await.unwrap();
    let report = cluster.conclude(&session, &second, chunks).await;
    assert_eq!(String::from_utf8(report.tsv).unwrap(), expected(&orders, &text()));
    let reason = refusal(&session, Ask::Step { job: first.spec.job }).await;
    assert!(reason.contains("is no step after another"), "{reason}");
    cluster.finish().await;
    seen::fault("tasks of a step vanish", "published again by an aggregator when asked, answer exact");
}

/// Sums what follows a tab, key by key.
const SUM: &str = r#"awk -F '\t' 'NR > 1 && $1 != key { print key "\t" sum; sum = 0 } { key = $1; sum += $2 } END { if (NR) print key "\t" sum }'"#;
/// Pairs of neighbours and a one.
const PAIRS: &str = r#"awk '{ for (i = 1; i < NF; i++) print $i " " $(i + 1) "\t1" }'"#;
/// The first of a pair, and the other with the number.
const BY_FIRST: &str = r#"awk -F '\t' '{ split($1, pair, " "); print pair[1] "\t" pair[2] " " $2 }'"#;
/// Shares of the sum of a key.
const SHARES: &str = r#"awk -F '\t' 'function tell() { for (i = 1; i <= n; i++) { split(value[i], part, " "); printf "%s\t%s %d%%\n", key, part[1], 100 * part[2] / sum } } $1 != key { tell(); key = $1; n = 0; sum = 0 } { value[++n] = $2; split($2, part, " "); sum += part[2] } END { tell() }'"#;
/// All under one key.
const TOGETHER: &str = r#"awk -F '\t' '{ print "most\t" $2 " " $1 }'"#;
/// The largest of them.
const MOST: &str = r#"awk -F '\t' '{ split($2, part, " "); if (part[1] + 0 > most + 0) { most = part[1]; word = part[2] } } END { if (NR) print word "\t" most }'"#;

/// What is done, what it is given, what it answers.
const CASES: [(&[&str], &str, &str); 3] = [
    (&["in.txt", "--then", "--mapper", TOGETHER, "--reducer", MOST], "to be or\nnot to be\n\nto", "to\t3\n"),
    (
        &[
            "--mapper",
            PAIRS,
            "--combiner",
            SUM,
            "--reducer",
            SUM,
            "in.txt",
            "--then",
            "--mapper",
            BY_FIRST,
            "--reducer",
            SHARES,
        ],
        "a b a b\na c\nb a b\na b",
        // After `a` comes `b` four times of five, and `c` once.
        "a\tb 80%\na\tc 20%\nb\ta 100%\n",
    ),
    (
        &["in.txt", "--then", "--job", "count", "--then", "--job", "sum"],
        "",
        "count\t4\nsum\t0\nmin\t0\nmax\t0\nmean\t0\n",
    ),
];

#[test]
fn two_steps_find_the_most_used_word_and_what_follows_a_word_in_one_process() {
    for (args, input, rows) in &CASES {
        let room = Room::default();
        room.write("in.txt", input);
        let outcome = room.run("producer", &[&["run", "--chunk-size", "64", "--max-losses", "10"], *args].concat());
        let code = if input.is_empty() { 3 } else { 0 };
        assert_eq!(outcome.text(code), *rows, "{args:?}");
        assert!(room.is_clean(), "{args:?}");
    }
}

#[test]
fn two_steps_go_through_rabbitmq_while_workers_and_aggregators_are_killed() {
    let namespace = Namespace::default();
    for (args, input, rows) in &CASES[..2] {
        namespace.room.write("in.txt", input);
        let aggregator =
            || Running::start(&mut namespace.command("aggregator", &["--store", "store", "--allow-commands"]));
        let (worker, first) = (namespace.worker(&["--allow-commands"]), aggregator());
        let push = namespace.producer(&[&["push", "--chunk-size", "64"], *args].concat());
        worker.kill();
        let (_worker, _second) = (namespace.worker(&["--allow-commands"]), aggregator());
        first.kill();
        assert_eq!(push.ended().text(0), *rows, "{args:?}");
    }
}

#[test]
fn every_step_is_seen_and_they_are_ended_and_removed_together() {
    let namespace = Namespace::default();
    let expected = namespace.input(200);
    let (_aggregator, worker) = (namespace.aggregator(), namespace.worker(&[]));
    let push = ["push", "--partitions", "2", "in.txt", "--then", "--chunk-size", "1KiB"];
    assert_eq!(namespace.ask(&push).text(0), counted(&expected));
    let status = |job: &str| -> serde_json::Value {
        serde_json::from_str(&namespace.ask(&["status", "--format", "json", job]).text(0)).unwrap()
    };
    let last = status("@");
    let steps = last["steps"].as_array().unwrap();
    assert_eq!((steps.len(), &last["steps"][1]["job"], &last["then"]), (2, &last["job"], &serde_json::Value::Null));
    let first = last["after"].as_str().unwrap();
    assert_eq!((&last["steps"][0]["job"], &status(first)["then"]), (&first.into(), &last["job"]));
    assert!(steps.iter().all(|step| step["state"] == "done" && step["program"] == "word-count"), "{steps:?}");
    let text = namespace.ask(&["status"]).text(0);
    assert!(text.contains("step 1 ") && text.contains("word-count: done, this one"), "{text}");
    // Every step has a result of its own.
    assert_eq!(namespace.ask(&["results", first]).text(0), expected);
    assert_eq!(namespace.ask(&["resume", "@"]).text(0), counted(&expected));
    assert_eq!(namespace.ask(&["remove", first]).code, Some(0));
    assert_eq!(namespace.ask(&["jobs", "--format", "json"]).text(0).trim(), "[]");

    worker.kill();
    assert_eq!(namespace.ask(&[&["push", "--detach"], &push[1..]].concat()).code, Some(0));
    let waits = namespace.ask(&["status"]).text(0);
    assert!(waits.contains("waiting; waits for the result of the step before it"), "{waits}");
    namespace.ask(&["remove", "@"]).refused(1, &["is running; cancel it first"]);
    assert_eq!(namespace.ask(&["cancel", "@"]).code, Some(0));
    let cancelled = status("@");
    let states: Vec<_> = cancelled["steps"].as_array().unwrap().iter().map(|step| &step["state"]).collect();
    assert_eq!(states, ["cancelled", "cancelled"]);
    assert_eq!(namespace.ask(&["remove", "@"]).code, Some(0));
    assert_eq!(namespace.ask(&["jobs", "--format", "json"]).text(0).trim(), "[]");
    let _worker = namespace.worker(&[]);
}
