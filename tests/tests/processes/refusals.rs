//! Brokers and stores that cannot be used: which, why, and what to do, with exit code 4.

use rabbit_reduce_core::topology::{QUEUE_BYTES, Topology};
use rabbit_reduce_runtime::broker::Broker;
use rabbit_reduce_tests::home::connect;
use rabbit_reduce_tests::namespaces::Namespace;
use rabbit_reduce_tests::processes::Running;
use rabbit_reduce_tests::rabbit;
use url::Url;

/// What each role says that is told to use this broker.
fn refused(change: impl Fn(&mut Url), said: &[&str]) {
    let namespace = Namespace::default();
    let mut url = Url::parse(&rabbit()).expect("AMQP_URL is a URL");
    change(&mut url);
    namespace.room.write("in.txt", "a");
    let roles: [(&str, &[&str]); 5] = [
        ("producer", &["push", "in.txt"]),
        ("producer", &["jobs"]),
        ("producer", &["teardown", "--yes"]),
        ("worker", &[]),
        ("aggregator", &[]),
    ];
    for (role, args) in roles {
        let outcome = Running::start(namespace.command(role, args).env("AMQP_URL", url.as_str())).ended();
        outcome.refused(4, said);
        assert!(!outcome.stderr.contains("s3cret"), "{role}: {}", outcome.stderr);
    }
}

#[test]
fn nobody_at_the_port_is_told_of_with_the_address() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let change = |url: &mut Url| {
        url.set_port(Some(free)).unwrap();
        url.set_password(Some("s3cret")).unwrap();
    };
    refused(change, &[&format!(":{free}"), "AMQP_URL"]);
}

#[test]
fn a_wrong_password_is_told_of_and_never_shown() {
    let user = Url::parse(&rabbit()).unwrap().username().to_owned();
    refused(|url| url.set_password(Some("s3cret")).unwrap(), &[&user, "password"]);
}

#[test]
fn a_missing_virtual_host_is_named() {
    refused(|url| url.set_path("/no-such-host"), &["no-such-host"]);
}

#[test]
fn a_queue_with_other_arguments_is_named() {
    let namespace = Namespace::default();
    let mut theirs = Topology::new(&namespace.name, QUEUE_BYTES);
    theirs.queues.retain(|queue| queue.name == "map");
    theirs.queues[0].delivery_limit += 1;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async { connect(&rabbit(), &namespace.name).await.declare(&theirs).await }).unwrap();
    let queue = format!("{}.map", namespace.name);
    for role in ["worker", "aggregator"] {
        let outcome = Running::start(&mut namespace.command(role, &[])).ended();
        outcome.refused(4, &[&queue, "x-delivery-limit", "teardown"]);
        assert!(!outcome.stderr.contains("Channel closed"), "it is said twice: {}", outcome.stderr);
    }
    namespace.ask(&["jobs"]).refused(4, &[&queue, "x-delivery-limit", "teardown"]);
}

#[test]
fn a_second_store_is_refused_with_the_names_of_both() {
    let namespace = Namespace::default();
    let mut first = namespace.aggregator();
    first.says("aggregating");
    // It has the namespace once it answers.
    assert_eq!(namespace.ask(&["jobs"]).text(0).lines().count(), 1);
    let second = Running::start(&mut namespace.command("aggregator", &["--store", "other"])).ended();
    let id = |store: &str| std::fs::read_to_string(namespace.room.path(store).join("id")).unwrap();
    second.refused(4, &[&id("store"), &id("other"), "--store"]);
    assert!(first.lives());
}

#[test]
fn without_an_aggregator_questions_end_after_a_while() {
    let namespace = Namespace::default();
    let job = "01890000-0000-7000-8000-000000000000";
    let questions: [&[&str]; 4] = [&["jobs"], &["status", job], &["results", job], &["cancel", job]];
    let asked = questions.map(|question| namespace.producer(question));
    for question in asked {
        question.ended().refused(4, &["no aggregator answers", "`aggregator`", "--namespace"]);
    }
}
