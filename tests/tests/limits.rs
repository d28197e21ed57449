//! What one job may take from others: it fails with the limit's name, what it took goes with it, and others go on.
//!
//! AMQP_URL says where the broker is.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use rabbit_reduce_tests::namespaces::Namespace;
use rabbit_reduce_tests::processes::Running;
use rabbit_reduce_tests::seen::fault;

fn aggregator(namespace: &Namespace, limits: &[&str]) -> Running {
    Running::start(&mut namespace.command("aggregator", &[&["--store", "store", "--threads", "2"], limits].concat()))
}

/// A job of many chunks fails for this reason and is removed, and one of few words is done by the same aggregator. How many files of
/// dead letters there were.
fn fails(limits: &[&str], push: &[&str], said: &[&str]) -> usize {
    let namespace = Namespace::default();
    let mut aggregator = aggregator(&namespace, limits);
    let _worker = namespace.worker(&[]);
    let push = [&["push", "--chunk-size", "4KiB", "--quiet"], push].concat();
    namespace.room.write("few.txt", "1\n2\n");
    let _counted = namespace.input(2000);
    namespace.room.write("sums.txt", "none 1\n".repeat(5000));
    namespace.ask(&push).refused(1, said);
    let letters = namespace.stored("dead");
    assert_eq!(namespace.ask(&["remove", "@"]).code, Some(0));
    assert_eq!(namespace.stored("runs") + namespace.stored("dead"), 0);
    assert_eq!(namespace.ask(&["push", "--quiet", "few.txt"]).text(0), "1\t1\n2\t1\n");
    assert!(aggregator.lives());
    letters
}

#[test]
fn a_job_that_takes_too_much_room_fails_and_others_go_on() {
    let _none =
        fails(&["--max-job-size", "32KiB"], &["in.txt"], &["take more than 32KiB in the store", "--max-job-size"]);
    fault("a job fills the store", "it fails at its limit");
}

#[test]
fn a_job_that_has_too_many_keys_fails_and_others_go_on() {
    let _none = fails(&["--max-job-keys", "100"], &["in.txt"], &["more than 100 keys", "--max-job-keys"]);
    fault("a job has keys without end", "it fails at its limit");
}

#[test]
fn a_job_that_leaves_too_many_dead_letters_fails_and_others_go_on() {
    let push = ["--job", "sum", "--max-losses", "1000000", "sums.txt"];
    let letters = fails(&["--max-job-letters", "3"], &push, &["more than 3 dead letters", "--max-job-letters"]);
    assert_eq!(letters, 6, "each has its summary");
    fault("a job leaves dead letters without end", "it fails at its limit, and no more are kept");
}

#[test]
fn a_job_that_takes_too_long_fails() {
    let namespace = Namespace::default();
    let _counted = namespace.input(10);
    let first = aggregator(&namespace, &[]);
    assert_eq!(namespace.ask(&["push", "--detach", "--quiet", "in.txt"]).code, Some(0));
    first.kill();
    // It looks as it starts.
    let mut second = aggregator(&namespace, &["--max-job-time", "1ms"]);
    second.says("a job takes too long");
    namespace.ask(&["results", "@"]).refused(1, &["has not ended within 1ms", "--max-job-time"]);
    fault("a job waits for ever", "it fails at its limit");
}
