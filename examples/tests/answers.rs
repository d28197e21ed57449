//! What each example answers, worked out by hand; in one process, and through RabbitMQ.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use rabbit_reduce_tests::namespaces::Namespace;
use rabbit_reduce_tests::processes::{Room, Running};
use std::path::Path;
use std::process::Command;

/// A job, the files it is run over, what it prints, and its exit code.
struct Example {
    args: &'static [&'static str],
    files: &'static [(&'static str, &'static str)],
    rows: &'static str,
    code: i32,
}

const EXAMPLES: [Example; 6] = [
    Example {
        args: &["--job", "next-word", "in.txt"],
        files: &[("in.txt", "to be or not to be\nTo go\nbe\n")],
        // `to` is followed by something three times, by `be` in two of them; the end of a line is followed by nothing.
        rows: "be\tor\t1\t100.0\nnot\tto\t1\t100.0\nor\tnot\t1\t100.0\nto\tbe\t2\t66.7\nto\tgo\t1\t33.3\n",
        code: 0,
    },
    Example {
        args: &["--job", "next-word", "--set", "least=2", "in.txt"],
        files: &[("in.txt", "to be or not to be\nTo go\nbe\n")],
        rows: "to\tbe\t2\t66.7\n",
        code: 0,
    },
    Example {
        args: &["--job", "join", "--set", "left=users", "users", "orders"],
        files: &[("users", "1\tann\n2\tbob\n3\tcy\n3\tcleo\n"), ("orders", "3\tnut\n1\tbolt\n3\tcap\n4\tpin\n")],
        rows: "1\tann\tbolt\n3\tcy\tnut\n3\tcleo\tnut\n3\tcy\tcap\n3\tcleo\tcap\n",
        code: 0,
    },
    Example {
        args: &["--job", "users-per-day", "--format", "csv", "visits"],
        files: &[("visits", "mon ann\nmon bob x\nmon ann\ntue ann\nwed\n")],
        rows: "day,users\r\nmon,2\r\ntue,1\r\n",
        code: 3,
    },
    Example {
        args: &["--job", "words", "--top", "2", "in.txt"],
        files: &[("in.txt", "to be or not to be\nto\n")],
        rows: "to\t3\nbe\t2\n",
        code: 0,
    },
    Example {
        args: &["--job", "average", "--format", "ndjson", "numbers"],
        files: &[("numbers", "a\t1\nb\t-7\na\t2\nb\t6\na\t2\n")],
        rows: "{\"key\":\"a\",\"count\":3,\"average\":\"1.67\"}\n{\"key\":\"b\",\"count\":2,\"average\":\"-0.50\"}\n",
        code: 0,
    },
];

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_rabbit-examples"))
}

fn write(room: &Room, example: &Example) {
    for (name, body) in example.files {
        room.write(name, body);
    }
}

#[test]
fn every_example_answers_in_one_process() {
    for example in &EXAMPLES {
        let room = Room::default();
        write(&room, example);
        let mut command = room.command_of(program());
        command.args(["producer", "run", "--chunk-size", "64", "--partitions", "3"]).args(example.args);
        assert_eq!(Running::start(&mut command).ended().text(example.code), example.rows, "{:?}", example.args);
    }
}

#[test]
fn every_example_answers_through_rabbitmq_while_workers_are_killed() {
    let namespace = Namespace::default();
    let start = |args: &[&str]| Running::start(&mut namespace.command_of(program(), args));
    let _aggregator = start(&["aggregator", "--store", "store"]);
    for example in &EXAMPLES {
        write(&namespace.room, example);
        let worker = start(&["worker", "--threads", "1"]);
        let args = [&["producer", "push", "--chunk-size", "64", "--partitions", "3"], example.args].concat();
        let push = start(&args);
        worker.kill();
        let _worker = start(&["worker", "--threads", "1"]);
        assert_eq!(push.ended().text(example.code), example.rows, "{:?}", example.args);
    }
}

#[test]
fn a_worker_without_the_program_leaves_its_tasks_to_those_that_have_it() {
    let namespace = Namespace::default();
    let start = |args: &[&str]| Running::start(&mut namespace.command_of(program(), args));
    namespace.room.write("numbers", "a\t1\n");
    let _aggregator = start(&["aggregator", "--store", "store"]);
    let mut stranger = namespace.worker(&[]);
    let push = start(&["producer", "push", "--job", "average", "numbers"]);
    stranger.says("a program that is not known here goes back");
    let _worker = start(&["worker", "--threads", "1"]);
    assert_eq!(push.ended().text(0), "a\t1\t1.00\n");
}

#[test]
fn an_aggregator_without_the_program_leaves_what_comes_to_those_that_have_it() {
    let namespace = Namespace::default();
    let start = |args: &[&str]| Running::start(&mut namespace.command_of(program(), args));
    namespace.room.write("numbers", "a\t1\nb\t2\n");
    let aggregator = start(&["aggregator", "--store", "store"]);
    let job = start(&["producer", "push", "--job", "average", "--detach", "numbers"]).ended().text(0);
    aggregator.kill();
    let mut stranger = namespace.aggregator();
    let _worker = start(&["worker", "--threads", "1"]);
    stranger.says("what comes for a job of others goes back");
    stranger.signal("TERM");
    assert_eq!(stranger.ended().code, Some(0));
    let _aggregator = start(&["aggregator", "--store", "store"]);
    let resumed = start(&["producer", "resume", job.trim()]).ended();
    assert_eq!(resumed.text(0), "a\t1\t1.00\nb\t1\t2.00\n");
}

#[test]
fn a_wrong_line_is_refused_with_what_would_be_right() {
    let room = Room::default();
    room.write("in.txt", "a");
    let refused = |args: &[&str], said: &[&str]| {
        let mut command: Command = room.command_of(program());
        Running::start(command.args(args)).ended().refused(2, said);
    };
    refused(&["run", "in.txt"], &["say first what to be: producer, worker or aggregator"]);
    refused(&["producer", "run", "--job", "join", "in.txt"], &["--set left=NAME"]);
    refused(&["producer", "run", "--job", "avarage", "in.txt"], &["did you mean `average`?"]);
    refused(&["producer", "run", "--set", "least", "in.txt"], &["a setting is NAME=VALUE"]);
}
