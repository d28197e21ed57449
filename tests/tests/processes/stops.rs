//! Processes that are asked to stop: promptly, with the right code, and with everything left for others.

use rabbit_reduce_tests::namespaces::Namespace;
use rabbit_reduce_tests::processes::{Running, until};
use rabbit_reduce_tests::seen;
use std::time::Duration;

/// Prompt, for a person who waits on a machine that does other things too.
const PROMPT: Duration = Duration::from_secs(10);

#[test]
fn roles_that_are_asked_to_stop_leave_with_0() {
    let namespace = Namespace::default();
    let _counts = namespace.input(100);
    for signal in ["TERM", "INT"] {
        let (mut aggregator, mut worker) = (namespace.aggregator(), namespace.worker(&[]));
        aggregator.says("aggregating");
        worker.says("working");
        // Both work once this is done.
        assert_eq!(namespace.ask(&["push", "in.txt"]).code, Some(0));
        for role in [worker, aggregator] {
            role.signal(signal);
            let outcome = role.ended_within(PROMPT);
            assert_eq!((outcome.code, outcome.stdout.len()), (Some(0), 0), "{signal}: {}", outcome.stderr);
        }
    }
}

#[test]
fn a_role_that_is_asked_to_stop_in_the_middle_of_a_job_loses_nothing() {
    let namespace = Namespace::default();
    let expected = namespace.input(40_000);
    let (mut aggregator, mut worker) = (namespace.aggregator(), namespace.worker(&[]));
    let mut push = namespace.producer(&["push", "--chunk-size", "32KiB", "in.txt"]);
    for _ in 0..2 {
        let before = namespace.stored("ledger");
        until("another commit", || (namespace.stored("ledger") > before || !push.lives()).then_some(()));
        for (role, next) in [(&mut worker, namespace.worker(&[])), (&mut aggregator, namespace.aggregator())] {
            let stopped = std::mem::replace(role, next);
            stopped.signal("TERM");
            let outcome = stopped.ended_within(PROMPT);
            assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        }
    }
    assert_eq!(push.ended().text(0), expected);
    seen::fault("roles are asked to stop in the middle of a job", "all leave with 0, answer exact");
}

#[test]
fn a_worker_that_may_leave_leaves_when_all_is_mapped() {
    let namespace = Namespace::default();
    let expected = namespace.input(10_000);
    let _aggregator = namespace.aggregator();
    let push = namespace.producer(&["push", "--chunk-size", "64KiB", "in.txt"]);
    until("a task", || (namespace.stored("sources") > 0).then_some(()));
    let worker = namespace.worker(&["--exit-when-idle"]);
    assert_eq!(push.ended().text(0), expected);
    assert_eq!(worker.ended().text(0), "");
}

#[test]
fn an_interrupted_push_is_resumable_and_says_how() {
    let namespace = Namespace::default();
    let expected = namespace.input(40_000);
    let _aggregator = namespace.aggregator();
    // Nobody maps, so the map queue fills and publishing stops in the middle.
    let mut push = namespace.producer(&["push", "--chunk-size", "4KiB", "in.txt", "-o", "out"]);
    push.says("waiting for a worker");
    push.signal("INT");
    // The second changes nothing but that nothing is waited for.
    push.signal("INT");
    let outcome = push.ended_within(PROMPT);
    outcome.refused(6, &["is not wholly published", "producer resume ", "interrupted"]);
    let command = outcome.stderr.split("`producer resume ").nth(1).and_then(|rest| rest.split('`').next());
    let _worker = namespace.worker(&[]);
    let resumed = namespace.ask(&["resume", command.expect("the command is told")]);
    assert_eq!(resumed.text(0), expected);
    assert!(!namespace.room.path("out").exists());
}

#[test]
fn whoever_waits_for_a_broker_that_says_nothing_can_be_stopped() {
    let namespace = Namespace::default();
    namespace.room.write("in.txt", "a");
    let roles: [(&str, &[&str], i32); 4] = [
        ("worker", &[], 0),
        ("aggregator", &[], 0),
        ("producer", &["push", "in.txt"], 6),
        ("producer", &["teardown", "--yes"], 6),
    ];
    for (role, args, code) in roles {
        // One for each: a role connects more than once, and what the one before left waiting says nothing of the next.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("amqp://{}/%2f", silent.local_addr().unwrap());
        let mut command = namespace.command(role, args);
        let running = Running::start(command.env("AMQP_URL", &url));
        // It listens to signals before it connects.
        let _connection = silent.accept().unwrap();
        running.signal("TERM");
        assert_eq!(running.ended_within(PROMPT).code, Some(code), "{role} {args:?}");
    }
    seen::fault("a broker says nothing to who is asked to stop", "every role leaves at once");
}

#[test]
fn an_interrupt_before_anything_is_submitted_ends_it() {
    let namespace = Namespace::default();
    namespace.room.write("in.txt", "a");
    let mut push = namespace.producer(&["push", "in.txt"]);
    push.says("waiting for an aggregator");
    push.signal("INT");
    push.signal("INT");
    push.ended_within(PROMPT).refused(6, &["interrupted"]);
}

#[test]
fn an_interrupt_while_counting_leaves_the_job_to_others() {
    let namespace = Namespace::default();
    let expected = namespace.input(1000);
    let _aggregator = namespace.aggregator();
    let mut push = namespace.producer(&["push", "in.txt"]);
    push.says("counting: ");
    push.signal("INT");
    push.ended_within(PROMPT).refused(6, &["goes on without us", "producer resume "]);
    let _worker = namespace.worker(&[]);
    assert_eq!(namespace.ask(&["resume", "@"]).text(0), expected);
}
