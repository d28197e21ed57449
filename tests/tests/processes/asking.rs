//! Jobs that are left alone and asked about later.

use rabbit_reduce_tests::binaries::binary;
use rabbit_reduce_tests::namespaces::Namespace;
use rabbit_reduce_tests::node::{Node, free_port};
use rabbit_reduce_tests::processes::{Running, until};
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

#[test]
fn a_detached_job_is_listed_read_and_removed() {
    let namespace = Namespace::default();
    let expected = namespace.input(2000);
    let _aggregator = namespace.aggregator();
    namespace.ask(&["status"]).refused(2, &["no job was made on this machine", "producer jobs"]);
    let job = namespace.ask(&["push", "--detach", "in.txt"]).text(0).trim().to_owned();

    let listed = namespace.ask(&["jobs"]).text(0);
    assert!(listed.contains(&job) && listed.contains("counting"), "{listed}");
    assert!(namespace.ask(&["status", "--format", "json"]).text(0).contains(&job));
    namespace.ask(&["results"]).refused(1, &[&job, "has not ended", "producer status"]);
    namespace.ask(&["remove", "@"]).refused(1, &[&job, "cancel"]);

    let _worker = namespace.worker(&[]);
    until("the end of the job", || namespace.ask(&["status", "@"]).text(0).contains("done").then_some(()));
    assert_eq!(namespace.ask(&["results"]).text(0), expected);
    assert_eq!(namespace.ask(&["results", &job, "--top", "1", "--format", "csv"]).text(0).lines().count(), 2);
    assert_eq!(namespace.ask(&["results", "@", "-o", "out"]).text(0), "");
    assert_eq!(std::fs::read_to_string(namespace.room.path("out")).unwrap(), expected);
    namespace.ask(&["cancel", "@"]).refused(1, &[&job, "has ended"]);

    let removed = namespace.ask(&["remove", "@"]);
    assert_eq!((removed.text(0), removed.stderr), (String::new(), format!("job {job} is removed\n")));
    for command in ["status", "results", "resume", "cancel"] {
        namespace.ask(&[command, &job]).refused(1, &["no such job", "producer jobs"]);
    }
    assert!(!namespace.ask(&["jobs"]).text(0).contains(&job));
}

#[test]
fn a_cancelled_job_ends_for_who_waits_with_6() {
    let namespace = Namespace::default();
    let _counts = namespace.input(2000);
    let _aggregator = namespace.aggregator();
    let mut push = namespace.producer(&["push", "in.txt"]);
    push.says("waiting for a worker");
    let cancelled = namespace.ask(&["cancel", "@"]);
    assert!(cancelled.text(0).is_empty() && cancelled.stderr.contains("is cancelled"), "{}", cancelled.stderr);
    push.ended().refused(6, &["was cancelled"]);
    namespace.ask(&["results"]).refused(6, &["was cancelled"]);
    assert!(namespace.ask(&["status"]).text(0).contains("cancelled"));
}

#[test]
fn a_job_of_another_machine_is_not_known_by_its_sign() {
    let namespace = Namespace::default();
    let _aggregator = namespace.aggregator();
    for command in ["resume", "cancel", "remove"] {
        namespace.ask(&[command, "@"]).refused(2, &["no job was made on this machine", &namespace.name]);
    }
    let unknown = "01890000-0000-7000-8000-000000000000";
    namespace.ask(&["status", unknown]).refused(1, &["no such job"]);
    assert_eq!(namespace.ask(&["jobs"]).text(0).lines().count(), 1);
    assert_eq!(namespace.ask(&["jobs", "--format", "json"]).text(0).trim(), "[]");
}

#[test]
fn the_doctor_finds_what_is_missing_and_says_what_to_do() {
    let namespace = Namespace::default();
    let empty = namespace.ask(&["doctor"]);
    let text = empty.text(1);
    assert!(text.contains("BAD   namespace") && text.contains("producer set-up"), "{text}");
    let aggregator = namespace.aggregator();
    until("the namespace is there", || namespace.ask(&["jobs"]).code.filter(|code| *code == 0));
    let idle = namespace.ask(&["doctor"]).text(1);
    assert!(idle.contains("BAD   worker") && idle.contains("start one with `worker`"), "{idle}");
    let mut worker = namespace.worker(&[]);
    worker.says("working");
    until("the worker is seen", || (namespace.ask(&["doctor"]).code == Some(0)).then_some(()));
    let well = namespace.ask(&["doctor", "--format", "json"]).text(0);
    let findings: serde_json::Value = serde_json::from_str(&well).expect("it is JSON");
    assert!(findings.as_array().expect("it is a list").iter().all(|finding| finding["health"] != "bad"), "{well}");
    assert!(well.contains("the aggregator's agrees with this one"), "its clock is this one: {well}");
    aggregator.kill();
    let silent = namespace.ask(&["doctor"]).text(1);
    assert!(silent.contains("BAD   aggregator"), "{silent}");
    // Without a broker there is nothing to look at, and nobody at the management API is told of; both are findings, too.
    let alone = namespace.ask(&["doctor", "--broker-url", "amqp://127.0.0.1:1"]).text(4);
    assert!(alone.contains("BAD   broker") && alone.contains("cannot be reached") && alone.contains("→ "), "{alone}");
    let unseen = namespace.ask(&["doctor", "--management-url", "http://127.0.0.1:1"]).text(4);
    assert!(unseen.contains("BAD   broker") && unseen.contains("rabbitmq_management"), "{unseen}");
}

#[test]
fn the_doctor_looks_inside_the_broker_where_it_may() {
    let port = free_port();
    let settings = format!("management.tcp.port = {port}\nmanagement.tcp.ip = 127.0.0.1");
    let node = Node::with_plugins(&settings, "rabbitmq_management");
    let namespace = Namespace::at(node.url());
    let (_aggregator, mut worker) = (namespace.aggregator(), namespace.worker(&[]));
    worker.says("working");
    let url = format!("http://127.0.0.1:{port}");
    let doctor = || namespace.ask(&["doctor", "--management-url", &url]);
    // The broker tells of its disks some seconds after its start.
    until("all is well", || Some(doctor()).filter(|told| told.code == Some(0) && told.text(0).contains(" free")));
    assert!(doctor().text(0).contains("RabbitMQ "));
    node.control(&[
        "set_policy",
        "short",
        &format!("^{}", namespace.name),
        "{\"message-ttl\":1000}",
        "--apply-to",
        "queues",
    ]);
    until("the policy is seen", || doctor().text(0).contains("the policy \"short\" applies to").then_some(()));
    node.control(&["clear_policy", "short"]);
    node.control(&["set_disk_free_limit", "9000GB"]);
    until("the alarm is seen", || (doctor().code == Some(1)).then_some(()));
    assert!(doctor().text(1).contains("short of disk: it takes no messages"));
    namespace.ask(&["jobs"]).refused(4, &["the broker takes no messages", "`producer doctor`"]);
    node.control(&["set_disk_free_limit", "50MB"]);
    until("the alarm is over", || (doctor().code == Some(0)).then_some(()));
}

#[test]
fn the_largest_keys_are_told_with_what_they_are_of() {
    let namespace = Namespace::default();
    namespace.room.write("in.txt", "a b a c a b\n");
    let (_aggregator, _worker) = (namespace.aggregator(), namespace.worker(&[]));
    assert_eq!(namespace.ask(&["push", "--quiet", "in.txt"]).code, Some(0));
    let top = namespace.ask(&["top", "-n", "2"]);
    assert_eq!(top.text(0), "a\t3\nb\t2\n");
    assert!(top.stderr.contains("this is the result"), "{}", top.stderr);
    let told: serde_json::Value =
        serde_json::from_str(&namespace.ask(&["top", "--format", "json"]).text(0)).expect("it is JSON");
    assert_eq!((&told["rows"][0]["key"], &told["exact"]), (&"a".into(), &true.into()));
    assert_eq!(namespace.ask(&["push", "--quiet", "--job", "index", "in.txt"]).code, Some(0));
    namespace.ask(&["top"]).refused(1, &["index have no count"]);
}

#[test]
fn losses_of_a_job_that_is_still_open_are_counted_in_the_list() {
    let namespace = Namespace::default();
    let (_aggregator, _worker) = (namespace.aggregator(), namespace.worker(&[]));
    let mut command = namespace.command("producer", &["push", "--quiet", "--job", "sum", "--chunk-size", "64", "-"]);
    let mut push = Running::collecting(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
    let mut input = push.input();
    input.write_all(format!("none\n{}", "1\n".repeat(20_000)).as_bytes()).expect("it reads");
    let listed = || -> serde_json::Value {
        serde_json::from_str(&namespace.ask(&["jobs", "--format", "json"]).text(0)).expect("it is JSON")
    };
    let losing = until("the loss is listed", || Some(listed()).filter(|jobs| jobs[0]["losses"]["count"] == 1));
    assert_eq!(losing[0]["end"], serde_json::Value::Null, "it is still open: {losing}");
    drop(input);
    assert!(push.ended().text(3).starts_with("count\t20000\n"));
}

#[test]
fn on_a_terminal_a_job_is_followed_on_a_screen_of_its_own() {
    let namespace = Namespace::default();
    namespace.room.write("in.txt", "the end the\n".repeat(2000));
    let _aggregator = namespace.aggregator();
    assert_eq!(namespace.ask(&["push", "--detach", "--quiet", "--chunk-size", "1KiB", "in.txt"]).code, Some(0));
    let command = format!("stty cols 100 rows 30; {} watch", binary("producer").display());
    let watch = Running::start(&mut namespace.command_of(Path::new("script"), &["-qec", &command, "/dev/null"]));
    until("the job is on it", || watch.written().contains("0 of 8 partitions").then_some(()));
    let _worker = namespace.worker(&[]);
    let shown = String::from_utf8_lossy(&watch.ended().stdout).into_owned();
    let (on, rest) = shown.split_once("\u{1b}[?1049h").expect("it goes to the other screen");
    let (board, after) = rest.rsplit_once("\u{1b}[?1049l").expect("it comes back");
    assert_eq!(on, "", "nothing is written before");
    for wanted in
        ["word-count", "map     ", "reduce  ", "input   ", "lost    nothing", "in the queue for", "Ctrl-C leaves"]
    {
        assert!(board.contains(wanted), "no `{wanted}` in {board}");
    }
    assert!(
        after.contains("done; ") && after.contains("0 losses"),
        "how it ended stays on the screen that comes back: {after}"
    );
}

#[test]
fn a_job_is_followed_to_its_end_and_explained_on_the_way() {
    let namespace = Namespace::default();
    let expected = namespace.input(2000);
    let _aggregator = namespace.aggregator();
    assert_eq!(namespace.ask(&["push", "--detach", "--quiet", "--chunk-size", "8KiB", "in.txt"]).code, Some(0));
    let idle = namespace.ask(&["explain"]).text(0);
    assert!(idle.contains("no worker runs, and") && idle.contains("→ start one with `worker`"), "{idle}");
    let mut watch = namespace.producer(&["watch", "@"]);
    watch.says("waiting for a worker");
    let _worker = namespace.worker(&[]);
    let watched = watch.ended();
    assert_eq!(watched.text(0), "", "it prints no result");
    assert!(watched.stderr.contains(": done; 26 chunks, 0 losses in "), "{}", watched.stderr);
    assert_eq!(namespace.ask(&["results"]).text(0), expected);
    let done: serde_json::Value =
        serde_json::from_str(&namespace.ask(&["explain", "--format", "json"]).text(0)).expect("it is JSON");
    assert!(done[0]["says"].as_str().is_some_and(|says| says.starts_with("it is done, after ")), "{done}");
    namespace.room.write("sums.txt", "1\nnone\n");
    assert_eq!(namespace.ask(&["push", "--quiet", "--job", "sum", "sums.txt"]).code, Some(3));
    let losing = namespace.ask(&["explain"]).text(0);
    assert!(losing.contains("done with losses") && losing.contains("`producer dead ls "), "{losing}");
    assert_eq!(namespace.ask(&["watch"]).code, Some(3));
}
