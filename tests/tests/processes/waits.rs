//! Jobs that cannot go on: who waits says for what, and goes on as soon as it is there.

use rabbit_reduce_tests::namespaces::Namespace;
use rabbit_reduce_tests::processes::Running;
use rabbit_reduce_tests::seen;
use std::process::Command;

#[test]
fn without_an_aggregator_a_push_says_so_and_waits() {
    let namespace = Namespace::default();
    let expected = namespace.input(500);
    let mut push = namespace.producer(&["push", "in.txt"]);
    push.says("waiting for an aggregator: none is running in this namespace; start one with `aggregator`");
    let _aggregator = namespace.aggregator();
    push.says("waiting for a worker: none is running in this namespace; start one with `worker`");
    let _worker = namespace.worker(&[]);
    assert_eq!(push.ended().text(0), expected);
    seen::fault("nobody is there to work", "the push says who is missing, and goes on when they come");
}

/// A limit on the size of files stands for a full disk: it needs no rights, and goes when the process is told so.
#[test]
fn a_store_that_takes_nothing_more_is_told_of_and_the_job_ends_exact_when_there_is_room() {
    let namespace = Namespace::default();
    let expected = namespace.input(20_000);
    let _worker = namespace.worker(&[]);
    let mut limited = Command::new("sh");
    let aggregator = namespace.command("aggregator", &[]);
    // A few KiB are more than ledgers and specs take, and less than a run of all these words.
    limited.args(["-c", "ulimit -S -f 16; trap '' XFSZ; exec \"$0\" --store store"]).arg(aggregator.get_program());
    copy_environment(&aggregator, &mut limited);
    let mut aggregator = Running::start(&mut limited);
    let mut push = namespace.producer(&["push", "--partitions", "1", "--chunk-size", "64KiB", "in.txt"]);
    aggregator.says("File too large");
    push.says("the aggregator waits: ");
    assert!(push.lives() && aggregator.lives());
    let made_room = Command::new("prlimit").args(["--pid", &aggregator.id().to_string(), "--fsize=unlimited"]).status();
    assert!(made_room.expect("util-linux has prlimit").success());
    assert_eq!(push.ended().text(0), expected);
    seen::fault("a folder is full", "the producer is told; the result is exact once there is room");
}

fn copy_environment(from: &Command, to: &mut Command) {
    to.current_dir(from.get_current_dir().expect("a room's command works in it"));
    for (name, value) in from.get_envs() {
        match value {
            Some(value) => to.env(name, value),
            None => to.env_remove(name),
        };
    }
}
