//! What `run` reads, and that the answer depends on nothing else.

use rabbit_reduce_tests::processes::{Room, Running, arg, counted, words};
use std::process::{Command, Stdio};
use std::time::Duration;

/// For a job that takes milliseconds, on a machine that does other things too.
const QUICK: Duration = Duration::from_secs(10);

#[test]
fn a_file_is_counted_whatever_the_threads_chunks_and_partitions() {
    let (room, text) = (Room::default(), words(3000));
    room.write("in.txt", &text);
    let settings: [&[&str]; 6] = [
        &[],
        &["--threads", "1", "--chunk-size", "8MiB", "--partitions", "1"],
        &["--threads", "7", "--chunk-size", "4096", "--partitions", "3"],
        &["--threads", "2", "--chunk-size", "1KiB", "--partitions", "2"],
        &["--partitions", "1024"],
        &["--memory", "80MiB"],
    ];
    for setting in settings {
        let outcome = room.run("producer", &[&["run", "in.txt"], setting].concat());
        assert_eq!(outcome.text(0), counted(&text), "with {setting:?}");
    }
    assert!(room.is_clean());
}

#[test]
fn the_least_memory_that_is_taken_is_enough() {
    let room = Room::default();
    room.write("in.txt", words(500));
    room.run("producer", &["run", "--memory", "1MiB", "in.txt"]).refused(2, &["--memory is 1MiB", "from 80MiB"]);
    assert_eq!(room.run("producer", &["run", "--memory", "80MiB", "in.txt"]).text(0), counted(&words(500)));
}

#[test]
fn folders_are_read_in_the_order_of_their_names_and_hidden_files_count() {
    let room = Room::default();
    for (name, body) in [("d/b", "two\n"), ("d/a/z", "one\n"), ("d/.c", "hidden\n"), ("e", "last")] {
        room.write(name, body);
    }
    let found = room.run("producer", &["run", "--job", "grep", "--pattern", ".", "d", "e"]).text(0);
    assert_eq!(found, "d/.c:0\thidden\nd/a/z:0\tone\nd/b:0\ttwo\ne:0\tlast\n");
}

#[test]
fn standard_input_and_pipes_are_read_as_files_are() {
    let (room, text) = (Room::default(), words(2000));
    let fed = Running::fed(room.command("producer").args(["run", "-"]), text.as_bytes()).ended();
    assert_eq!(fed.text(0), counted(&text));

    let pipe = room.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let reading = Running::start(room.command("producer").args(["run", arg(&pipe)]));
    std::fs::write(&pipe, &text).unwrap();
    assert_eq!(reading.ended().text(0), counted(&text));

    let file = std::fs::File::open(room.write("in.txt", &text)).unwrap();
    let mut command = room.command("producer");
    let redirected = Running::collecting(command.args(["run", "/dev/stdin"]).stdin(file).stdout(Stdio::piped()));
    assert_eq!(redirected.ended().text(0), counted(&text));
    assert!(room.is_clean());
}

#[test]
fn standard_input_joins_files_in_the_order_typed() {
    let room = Room::default();
    room.write("a", "1\n");
    room.write("b", "3\n");
    let args = ["run", "--job", "grep", "--pattern", ".", "a", "-", "b"];
    let outcome = Running::fed(room.command("producer").args(args), b"2\n").ended();
    assert_eq!(outcome.text(0), "a:0\t1\n-:0\t2\nb:0\t3\n");
}

#[test]
fn no_input_is_an_empty_answer() {
    let room = Room::default();
    room.write("empty", "");
    std::fs::create_dir(room.path("nothing")).unwrap();
    for input in ["empty", "nothing", "/dev/null", "-"] {
        assert_eq!(room.run("producer", &["run", input]).text(0), "", "{input}");
    }
    let count = room.run("producer", &["run", "--job", "count", "empty"]).text(0);
    assert_eq!(count, "lines\t0\nwords\t0\nchars\t0\nbytes\t0\n");
    let sum = room.run("producer", &["run", "--job", "sum", "empty"]).text(0);
    assert_eq!(sum, "count\t0\nsum\t0\nmin\t\nmax\t\nmean\t\n");
    assert_eq!(room.run("producer", &["run", "--format", "json", "empty"]).text(0).trim(), "[]");
}

#[test]
fn a_job_of_nothing_ends_at_once_every_time() {
    let room = Room::default();
    for _ in 0..30 {
        let outcome = Running::start(room.command("producer").args(["run", "/dev/null"])).ended_within(QUICK);
        assert_eq!(outcome.text(0), "");
    }
}

#[test]
fn every_job_gives_its_rows() {
    let room = Room::default();
    room.write("a", "To be, or not\nto be\n");
    room.write("n", "1 2.5\n-3e1\n");
    let cases: [(&[&str], &str); 8] = [
        (&["--lowercase", "--tokens", "words", "a"], "be\t2\nnot\t1\nor\t1\nto\t2\n"),
        (&["--token-regex", "[tT]o", "a"], "To\t1\nto\t1\n"),
        (&["--job", "letter-count", "--lowercase", "--top", "2", "a"], "o\t4\nt\t3\n"),
        (&["--job", "count", "a"], "lines\t2\nwords\t6\nchars\t20\nbytes\t20\n"),
        (&["--job", "count", "--by-source", "a", "n"], "a\t2\t6\t20\t20\nn\t2\t3\t11\t11\ntotal\t4\t9\t31\t31\n"),
        (&["--job", "sum", "n"], "count\t3\nsum\t-26.5\nmin\t-30\nmax\t2.5\nmean\t-8.8333333333333333333\n"),
        (&["--job", "index", "--tokens", "letters", "a", "n"], "To\ta\nbe\ta\ne\tn\nnot\ta\nor\ta\nto\ta\n"),
        (&["--job", "grep", "--pattern", "^to", "a"], "a:14\tto be\n"),
    ];
    for (args, rows) in cases {
        assert_eq!(room.run("producer", &[&["run"], args].concat()).text(0), rows, "{args:?}");
    }
}

#[test]
fn every_flag_can_come_from_the_environment() {
    let room = Room::default();
    room.write("in.txt", "b a B c b\n");
    let mut command = room.command("producer");
    for (name, value) in
        [("LOWERCASE", "1"), ("TOP", "1"), ("FORMAT", "csv"), ("PARTITIONS", "2"), ("CHUNK_SIZE", "64")]
    {
        command.env(format!("RABBIT_REDUCE_{name}"), value);
    }
    let outcome = Running::start(command.args(["run", "in.txt"])).ended();
    assert_eq!(outcome.text(0).lines().last(), Some("b,3"));
    // The flag is stronger than the variable.
    let outcome = Running::start(command.args(["--format", "tsv"])).ended();
    assert_eq!(outcome.text(0), "b\t3\n");
    let outcome = Running::start(command.env("RABBIT_REDUCE_CHUNK_SIZE", "no")).ended();
    outcome.refused(2, &["--chunk-size", "`no` is no size"]);
}
