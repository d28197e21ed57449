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

/// A module that reduces any key to pairs without end.
const GROWS: &str = r#"(module
    (import "rabbit_reduce_1" "emit" (func $emit (param i32 i32 i32 i32)))
    (memory (export "memory") 2)
    (func (export "reserve") (param i32) (result i32) (i32.const 65536))
    (func (export "map") (param i32 i32)
        (call $emit (local.get 0) (local.get 1) (i32.const 0) (i32.const 0)))
    (func (export "reduce") (param i32 i32)
        (loop (call $emit (i32.const 0) (i32.const 1000) (i32.const 0) (i32.const 0)) (br 0))))"#;

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
    namespace.room.write("grows.wasm", wat::parse_str(GROWS).unwrap());
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
fn a_job_that_reduces_to_more_than_a_job_may_have_fails_and_others_go_on() {
    let said = ["it wrote more than 1048576 bytes, which is all that one job may have (--max-job-size)"];
    let _none = fails(&["--max-job-size", "1MiB"], &["--program", "grows.wasm", "few.txt"], &said);
    fault("a reduce fills the disk", "its job fails at its limit");
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
fn a_job_too_many_is_refused_until_another_has_ended() {
    let namespace = Namespace::default();
    let mut aggregator = aggregator(&namespace, &["--max-jobs", "1"]);
    namespace.room.write("few.txt", "1\n2\n");
    // Without a worker it does not end.
    assert_eq!(namespace.ask(&["push", "--detach", "--quiet", "few.txt"]).code, Some(0));
    namespace
        .ask(&["push", "--detach", "--quiet", "few.txt"])
        .refused(1, &["as many jobs have not ended as", "1 (--max-jobs)"]);
    let jobs = namespace.ask(&["jobs", "--format", "json"]).text(0);
    assert_eq!(jobs.matches("\"job\":").count(), 1, "{jobs}");
    fault("jobs without end", "one too many is refused");
    assert_eq!(namespace.ask(&["cancel", "@"]).code, Some(0));
    let _worker = namespace.worker(&[]);
    // Of two steps the last is submitted first, and does not stay where the other is refused.
    namespace.ask(&["push", "--quiet", "few.txt", "--then"]).refused(1, &["--max-jobs"]);
    assert_eq!(namespace.ask(&["push", "--quiet", "few.txt"]).text(0), "1\t1\n2\t1\n");
    assert!(aggregator.lives());
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
