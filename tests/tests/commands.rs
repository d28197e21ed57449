//! Commands as mappers, combiners and reducers: the documented behaviour of Hadoop Streaming, with answers worked out by hand, in
//! one process and through RabbitMQ; and commands that fail or mean harm.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use rabbit_reduce_tests::namespaces::Namespace;
use rabbit_reduce_tests::processes::{Outcome, Room, Running, until};
use rabbit_reduce_tests::seen;
use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// A user who may do nothing much.
const NOBODY: u32 = 65534;

/// A job of commands, what it is given, and what it answers.
struct Case {
    what: &'static str,
    args: &'static [&'static str],
    input: &'static str,
    rows: &'static str,
}

/// Sums what follows a tab, key by key, as long as equal keys come together.
const SUM: &str = r#"awk -F '\t' 'NR > 1 && $1 != key { print key "\t" sum; sum = 0 } { key = $1; sum += $2 } END { if (NR) print key "\t" sum }'"#;
/// A pair of every word and a one.
const WORDS: &str = r#"awk '{ for (i = 1; i <= NF; i++) print $i "\t1" }'"#;

const CASES: [Case; 10] = [
    Case {
        what: "the identity keeps lines, those without a tab and those without a key too, in order of keys",
        args: &["--mapper", "cat"],
        input: "b\t2\na\t1\nno tab\n\tempty key\na\t0\n\nb\tx\ty\n",
        // Of equal keys, in the order of the input.
        rows: "\tempty key\n\t\na\t1\na\t0\nb\t2\nb\tx\\ty\nno tab\t\n",
    },
    Case {
        what: "without a mapper, lines are pairs as they are",
        args: &["--reducer", "cat"],
        input: "b\t2\na\t1\nc",
        rows: "a\t1\nb\t2\nc\t\n",
    },
    Case {
        what: "cut",
        args: &["--mapper", "cut -d : -f 1"],
        input: "root:x:0\nbin:x:1\nroot:y:2\n",
        rows: "bin\t\nroot\t\nroot\t\n",
    },
    Case {
        what: "tr and uniq count words, as in Hadoop's own example",
        args: &["--mapper", "tr ' ' '\\n'", "--reducer", "uniq", "--partitions", "1"],
        input: "roses.are.red violets.are.blue\nbunnies.are.pink roses.are.red\n",
        rows: "bunnies.are.pink\t\nroses.are.red\t\nviolets.are.blue\t\n",
    },
    Case {
        what: "a word count with a combiner",
        args: &["--mapper", WORDS, "--combiner", SUM, "--reducer", SUM],
        input: "to be or\nnot to be\n\nto\n",
        rows: "be\t2\nnot\t1\nor\t1\nto\t3\n",
    },
    Case {
        what: "another separator",
        args: &["--mapper", "cat", "--separator", ":", "--reducer", "sed s/:/=/"],
        input: "a:1\nb:2:3\n",
        rows: "a=1\t\nb=2\t3\n",
    },
    Case {
        what: "a key of four fields, ordered by the second as a number, the largest first, as in Hadoop's page on comparators",
        args: &["--mapper", "cat", "--separator", ".", "--key-fields", "4", "--sort-fields", "2nr"],
        input: "11.12.1.2\n11.14.2.3\n11.11.4.1\n11.12.1.1\n11.14.2.2\n",
        // What is equal there is ordered by the whole key.
        rows: "11.14.2.2\t\n11.14.2.3\t\n11.12.1.1\t\n11.12.1.2\t\n11.11.4.1\t\n",
    },
    Case {
        what: "a secondary sort: keys that begin alike meet in one reducer, ordered by the rest of the key",
        args: &[
            "--mapper",
            "cat",
            "--separator",
            ".",
            "--key-fields",
            "2",
            "--partition-fields",
            "1",
            "--sort-fields",
            "1,2n",
            "--reducer",
            // The first of each key's fields: its least second field.
            "awk -F . '!seen[$1]++ { print $1 \".\" $2 \".\" $3 }'",
        ],
        input: "x.10.a\ny.9.b\nx.9.c\ny.10.d\nx.-1.e\nz.3.f\n",
        rows: "x.-1\te\ny.9\tb\nz.3\tf\n",
    },
    Case {
        what: "a reducer may write any keys: they are put in order over all partitions",
        args: &["--mapper", "cat", "--reducer", "rev"],
        input: "ab\ncd\nxa\nza\n",
        rows: "",
    },
    Case { what: "nothing at all", args: &["--mapper", "cat"], input: "", rows: "" },
];

/// `rev` gives the tab first, so that the key is empty.
const REVERSED: &str = "\tax\n\taz\n\tba\n\tdc\n";

fn rows_of(case: &Case) -> &'static str {
    if case.rows.is_empty() && !case.input.is_empty() { REVERSED } else { case.rows }
}

/// Rows of one key may come from several partitions; their order among each other is that of the partitions.
fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

fn is(case: &Case, outcome: &Outcome) {
    let (found, expected) = (outcome.text(0), rows_of(case));
    if expected == REVERSED {
        assert_eq!(sorted(&found), sorted(expected), "{}", case.what);
    } else {
        assert_eq!(found, expected, "{}", case.what);
    }
}

#[test]
fn what_hadoop_streaming_documents_holds_in_one_process() {
    for case in &CASES {
        let room = Room::default();
        room.write("in.txt", case.input);
        let args = [&["run", "--chunk-size", "64"], case.args, &["in.txt"]].concat();
        is(case, &room.run("producer", &args));
        assert!(room.is_clean(), "{}", case.what);
    }
}

#[test]
fn what_hadoop_streaming_documents_holds_through_rabbitmq_while_workers_are_killed() {
    let namespace = Namespace::default();
    let aggregator = ["--store", "store", "--allow-commands"];
    let _aggregator = Running::start(&mut namespace.command("aggregator", &aggregator));
    for case in &CASES {
        namespace.room.write("in.txt", case.input);
        let worker = namespace.worker(&["--allow-commands"]);
        let push = namespace.producer(&[&["push", "--chunk-size", "64"], case.args, &["in.txt"]].concat());
        worker.kill();
        let _worker = namespace.worker(&["--allow-commands"]);
        is(case, &push.ended());
    }
}

#[test]
fn commands_run_only_where_they_are_allowed() {
    let namespace = Namespace::default();
    namespace.room.write("in.txt", "b\na\n");
    let aggregator = namespace.aggregator();
    let refused = namespace.ask(&["push", "--mapper", "cat", "--reducer", "cat", "in.txt"]);
    refused.refused(1, &["its reducer would run on an aggregator that runs no commands", "--allow-commands"]);
    // Without a reducer it has nothing to run.
    let mut stranger = namespace.worker(&[]);
    let push = namespace.producer(&["push", "--mapper", "cat", "in.txt"]);
    stranger.says("a program that is not known here goes back");
    let _worker = namespace.worker(&["--allow-commands"]);
    assert_eq!(push.ended().text(0), "a\t\nb\t\n");
    drop(aggregator);
}

#[test]
fn a_command_sees_where_it_is_and_nothing_of_who_runs_it() {
    let namespace = Namespace::default();
    namespace.room.write("one", "x\n");
    namespace.room.write("two", "y\n");
    let secret = "RABBIT_REDUCE_TEST_SECRET";
    let mut worker = namespace.command("worker", &["--threads", "1", "--allow-commands"]);
    let _worker = Running::start(worker.env(secret, "hunter2"));
    let aggregator = ["--store", "store", "--allow-commands"];
    let _aggregator = Running::start(&mut namespace.command("aggregator", &aggregator));
    let mapper = r#"sh -c 'read line; echo "$line $RABBIT_REDUCE_SOURCE $map_input_file $RABBIT_REDUCE_CHUNK"; env; pwd; ls -A'"#;
    let told = namespace.ask(&["push", "--mapper", mapper, "one", "two"]).text(0);
    assert!(told.contains("x one one 0\t\n") && told.contains("y two two 0\t\n"), "a process for each source: {told}");
    for hidden in [secret, "hunter2", "AMQP", "RABBIT_REDUCE_NAMESPACE", "guest"] {
        assert!(!told.contains(hidden), "{hidden} in {told}");
    }
    seen::fault("a command looks for credentials in its environment", "there are none");
}

/// Root may read everything, so somebody else is to run this in a room.
fn as_nobody(room: &Room, command: &mut Command) {
    if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
        for folder in [".", "tmp"] {
            std::fs::set_permissions(room.path(folder), Permissions::from_mode(0o777)).unwrap();
        }
        command.uid(NOBODY).gid(NOBODY);
    }
}

#[test]
fn a_command_reads_no_process_of_the_roles_though_none_of_them_runs_it() {
    let namespace = Namespace::default();
    namespace.room.write("in.txt", "x\n");
    let secret = "hunter3";
    let start = |role: &str, args: &[&str]| {
        let mut command = namespace.command(role, args);
        as_nobody(&namespace.room, command.env("RABBIT_REDUCE_TEST_SECRET", secret));
        Running::start(&mut command)
    };
    let mut roles = [
        start("worker", &["--threads", "1", "--allow-commands"]),
        start("aggregator", &["--store", "store", "--allow-commands"]),
    ];
    roles[0].says("working");
    roles[1].says("aggregating");
    let search =
        r#"sh -c 'cat >/dev/null; cat /proc/[0-9]*/environ 2>/dev/null | tr "\\0" "\\n" | grep hunter3; echo looked'"#;
    assert_eq!(namespace.ask(&["push", "--quiet", "--mapper", search, "in.txt"]).text(0), "looked\t\n");
    assert!(roles.iter_mut().all(Running::lives));
}

#[test]
fn a_command_reads_nothing_of_the_process_that_runs_it_nor_others_what_is_the_commands() {
    let room = Room::default();
    room.write("in.txt", "x\n");
    let mapper = r#"sh -c 'cat >/dev/null; tr "\\0" "\\n" </proc/$PPID/environ; echo looked; stat -c "mode %a" .'"#;
    let mut run = room.command("producer");
    run.args(["run", "--quiet", "--mapper", mapper, "in.txt"]).env("RABBIT_REDUCE_TEST_SECRET", "hunter2");
    as_nobody(&room, &mut run);
    let told = Running::start(&mut run).ended().text(0);
    assert_eq!(told, "looked\t\nmode 700\t\n");
    seen::fault("a command reads the process that runs it", "the system lets it not");
}

/// Words that are not on a list which lies beside the script.
const SCRIPT: &str = "#!/bin/sh\ntr ' ' '\\n' | grep -vxFf stop.txt\n";

#[test]
fn a_script_and_its_data_travel_with_the_job() {
    let files = ["--file", "scripts/words", "--file", "stop.txt"];
    let job = [&["--mapper", "words", "--reducer", "uniq -c"], &files[..], &["in.txt"]].concat();
    let prepare = |room: &Room| {
        room.write("in.txt", "the rose the bee\nthe rose\n");
        room.write("scripts/words", SCRIPT);
        room.write("stop.txt", "the\n");
    };
    let expected = "      1 bee\t\n      2 rose\t\n";
    let room = Room::default();
    prepare(&room);
    let args = [&["run", "--partitions", "1"], &job[..]].concat();
    assert_eq!(room.run("producer", &args).text(0), expected);
    assert!(room.is_clean());
    let namespace = Namespace::default();
    prepare(&namespace.room);
    namespace.room.write("elsewhere/there", "");
    let aggregator = ["--store", "store", "--allow-commands"];
    let _aggregator = Running::start(&mut namespace.command("aggregator", &aggregator));
    let _worker = namespace.worker(&["--allow-commands", "--temporary", "elsewhere"]);
    let args = [&["push", "--partitions", "1"], &job[..]].concat();
    assert_eq!(namespace.ask(&args).text(0), expected);
    for (flags, said) in [
        (&["--file", "nowhere"][..], "--file nowhere: it cannot be read"),
        (&["--file", "stop.txt", "--file", "./stop.txt"], "each under a name of its own"),
    ] {
        let args = [&["run", "--mapper", "cat"], flags, &["in.txt"]].concat();
        room.run("producer", &args).refused(2, &[said]);
    }
}

/// A hundred records of 20 KB; three crash the mapper.
fn bad_records() -> String {
    let record = |number: usize| {
        let kind = if [13, 50, 99].contains(&number) { "BAD" } else { "good" };
        format!("{number:03}\t{kind} {}\n", "x".repeat(20 << 10))
    };
    (0..100).map(record).collect()
}

/// Dies of a bad record, with some of it written.
const CRASHES: &str = r#"awk -F '\t' '/BAD/ { print "half"; print "cannot read " $1 > "/dev/stderr"; exit 3 }
    { print $1 "\tok"; print "reporter:counter:test,good,1" > "/dev/stderr" }'"#;

fn without_bad_records(outcome: &Outcome, status: &str) {
    let rows = outcome.text(3);
    let expected: Vec<String> =
        (0..100).filter(|number| ![13, 50, 99].contains(number)).map(|number| format!("{number:03}\tok\n")).collect();
    assert_eq!(rows, expected.concat());
    for number in ["013", "050", "099"] {
        let reason = format!("the mapper: it ended with exit status 3: cannot read {number}");
        assert!(outcome.stderr.contains(&reason), "{}", outcome.stderr);
    }
    let status: serde_json::Value = serde_json::from_str(status).unwrap();
    let counters = &status["end"]["counters"];
    assert_eq!((counters["records"].as_u64(), counters["test.good"].as_u64()), (Some(100), Some(97)), "{status}");
}

#[test]
fn the_records_that_crash_a_mapper_are_left_out_and_all_others_count() {
    let namespace = Namespace::default();
    namespace.room.write("in.txt", bad_records());
    let _aggregator = namespace.aggregator();
    let _worker = namespace.worker(&["--allow-commands"]);
    let outcome = namespace.ask(&["push", "--mapper", CRASHES, "in.txt"]);
    without_bad_records(&outcome, &namespace.ask(&["status", "--format", "json"]).text(0));
    let letters = namespace.ask(&["dead", "ls"]).text(0);
    assert!(letters.contains("cannot read 050"), "{letters}");
    seen::fault("a command crashes on some records", "they are left out and named, all others count once");
}

#[test]
fn a_line_that_was_left_out_is_counted_once_it_is_sent_again_to_a_better_mapper() {
    let namespace = Namespace::default();
    namespace.room.write("in.txt", "k\tBAD\nk\tgood\n");
    let better = namespace.room.path("better");
    let mapper = format!(r#"awk '/BAD/ {{ if (system("test -e {}")) exit 3 }} {{ print }}'"#, better.display());
    let aggregator = ["--store", "store", "--allow-commands"];
    let _aggregator = Running::start(&mut namespace.command("aggregator", &aggregator));
    let _worker = namespace.worker(&["--allow-commands"]);
    let outcome = namespace.ask(&["push", "--mapper", &mapper, "--reducer", "cat", "in.txt"]);
    assert_eq!(outcome.text(3), "k\tgood\n");
    namespace.room.write("better", "");
    assert_eq!(namespace.ask(&["dead", "retry", "@"]).code, Some(0));
    // What comes by itself comes after its chunk.
    assert_eq!(namespace.ask(&["results"]).text(0), "k\tgood\nk\tBAD\n");
}

#[test]
fn a_mapper_that_fails_on_everything_ends_the_job_early_and_says_why() {
    let room = Room::default();
    room.write("in.txt", "a line\n".repeat(400));
    let mapper = "sh -c 'echo never >&2; exit 9'";
    let outcome =
        room.run("producer", &["run", "--chunk-size", "64", "--max-losses", "3", "--mapper", mapper, "in.txt"]);
    outcome.refused(1, &["more than 3 losses", "the mapper: it ended with exit status 9: never"]);
    assert!(outcome.stderr.matches("lost: ").count() < 10, "the first few reasons do: {}", outcome.stderr);
    assert!(room.is_clean());
}

/// Ends with 5 at a key that is its.
const PICKY: &str = r#"awk -F '\t' '$1 ~ /^(007|042)$/ { print "not " $1 > "/dev/stderr"; exit 5 } { print }'"#;

#[test]
fn the_keys_that_crash_a_reducer_are_left_out_and_all_others_count() {
    let namespace = Namespace::default();
    namespace.room.write("in.txt", bad_records());
    let aggregator = ["--store", "store", "--allow-commands"];
    let _aggregator = Running::start(&mut namespace.command("aggregator", &aggregator));
    let _worker = namespace.worker(&["--allow-commands"]);
    let outcome = namespace.ask(&["push", "--mapper", CRASHES, "--reducer", PICKY, "in.txt"]);
    let expected: Vec<String> = (0..100)
        .filter(|number| ![7, 13, 42, 50, 99].contains(number))
        .map(|number| format!("{number:03}\tok\n"))
        .collect();
    assert_eq!(expected.len(), 95);
    assert_eq!(outcome.text(3), expected.concat());
    for key in ["007", "042"] {
        assert!(
            outcome.stderr.contains(&format!("lost: key `{key}`: the reducer of partition ")),
            "{}",
            outcome.stderr
        );
        assert!(outcome.stderr.contains(&format!("it ended with exit status 5: not {key}")), "{}", outcome.stderr);
    }
    let status: serde_json::Value =
        serde_json::from_str(&namespace.ask(&["status", "--format", "json"]).text(0)).unwrap();
    assert_eq!(
        (status["losses"]["count"].as_u64(), status["end"]["counters"]["test.good"].as_u64()),
        (Some(5), Some(97))
    );
    let mut keys: Vec<&str> = (0..2).filter_map(|key| status["losses"]["keys"][key]["key"].as_str()).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["007", "042"], "{status}");
    seen::fault("a reducer fails on some keys", "they are left out and named, all others count once");
}

#[test]
fn a_key_that_was_left_out_is_in_the_result_once_it_is_reduced_again_by_a_better_reducer() {
    let namespace = Namespace::default();
    namespace.room.write("in.txt", "a\t1\nb\tBAD\nb\tWORSE\nc\t3\n");
    let better = namespace.room.path("better");
    let reducer = format!(
        r#"awk '/BAD|WORSE/ {{ if (system("test -e {}")) {{ print "not " $1 > "/dev/stderr"; exit 3 }} }} {{ print }}'"#,
        better.display()
    );
    let aggregator = ["--store", "store", "--allow-commands"];
    let _aggregator = Running::start(&mut namespace.command("aggregator", &aggregator));
    let _worker = namespace.worker(&["--allow-commands"]);
    let outcome = namespace.ask(&["push", "--mapper", "cat", "--reducer", &reducer, "in.txt"]);
    assert_eq!(outcome.text(3), "a\t1\nc\t3\n");
    let letters = namespace.ask(&["dead", "ls"]).text(0);
    assert!(letters.contains("key `b`") && letters.contains("not b"), "{letters}");
    assert!(!namespace.ask(&["dead", "ls", "--chunk", "0"]).text(0).contains("key `b`"));
    let listed: serde_json::Value =
        serde_json::from_str(&namespace.ask(&["dead", "ls", "--format", "json"]).text(0)).unwrap();
    assert_eq!((&listed[0]["kind"], &listed[0]["key"]), (&"key".into(), &"b".into()), "{listed}");
    // The reducer is as it was.
    let again = namespace.ask(&["dead", "retry", "@"]);
    assert_eq!(again.code, Some(3));
    assert!(again.stderr.contains("1 key reduced again, 1 left out again (`b`: "), "{}", again.stderr);
    assert_eq!(namespace.ask(&["results"]).text(3), "a\t1\nc\t3\n");
    namespace.room.write("better", "");
    let unmeant = namespace.ask(&["dead", "retry", "@", "--reason", "something else"]);
    assert!(unmeant.stderr.contains("nothing of what was asked for is lost"), "{}", unmeant.stderr);
    let again = namespace.ask(&["dead", "retry", "@", "--reason", "not b"]);
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    assert!(again.stderr.contains("1 key reduced again, and in the result now; result version 3"), "{}", again.stderr);
    assert_eq!(namespace.ask(&["results"]).text(0), "a\t1\nb\tBAD\nb\tWORSE\nc\t3\n");
    let status: serde_json::Value =
        serde_json::from_str(&namespace.ask(&["status", "--format", "json"]).text(0)).unwrap();
    assert_eq!((status["losses"]["count"].as_u64(), status["end"]["counters"]["keys"].as_u64()), (Some(0), Some(3)));
    seen::fault("a key is reduced again", "left out again with the reason, then in the result, once");
}

#[test]
fn a_reducer_that_fails_on_everything_ends_the_job_and_says_why() {
    let room = Room::default();
    room.write("in.txt", "a\t1\n");
    let reducer = "sh -c 'cat > /dev/null; echo no >&2; exit 4'";
    let outcome = room.run("producer", &["run", "--mapper", "cat", "--reducer", reducer, "in.txt"]);
    outcome.refused(1, &["the reducer of partition ", "it ended with exit status 4: no"]);
    assert!(room.is_clean());
}

#[test]
fn a_long_reducer_holds_up_nobody_else() {
    let namespace = Namespace::default();
    namespace.room.write("in.txt", "b a b\n");
    let (began, go) = (namespace.room.path("began"), namespace.room.path("go"));
    let reducer =
        format!("sh -c 'touch {}; while ! test -e {}; do sleep 0.1; done; cat'", began.display(), go.display());
    let aggregator = ["--store", "store", "--allow-commands", "--threads", "1"];
    let _aggregator = Running::start(&mut namespace.command("aggregator", &aggregator));
    let _worker = namespace.worker(&["--allow-commands"]);
    let long = namespace.producer(&["push", "--partitions", "3", "--mapper", "cat", "--reducer", &reducer, "in.txt"]);
    until("the reducer has begun", || began.exists().then_some(()));
    for _ in 0..3 {
        assert_eq!(namespace.ask(&["push", "in.txt"]).text(0), "a\t1\nb\t2\n");
    }
    namespace.room.write("go", "");
    assert_eq!(long.ended().text(0), "b a b\t\n");
    seen::fault("a reducer takes as long as it likes", "other jobs go on, on an aggregator of one thread");
}

#[test]
fn a_hostile_command_costs_one_clear_failure_and_nothing_else() {
    let hostile = [
        (
            "sh -c 'trap \"\" TERM; cat > /dev/null; sleep 600'",
            "2s",
            "64MiB",
            "neither read nor wrote for 2 s and was killed",
        ),
        ("yes", "60s", "64MiB", "it wrote more than 1048576 bytes and was killed"),
        (
            "sh -c 'cat > /dev/null; for i in $(seq 400); do sleep 604 & done; wait'",
            "60s",
            "16GiB",
            "started more than 256 processes",
        ),
        ("awk 'BEGIN { x = \"x\"; while (1) x = x x }'", "60s", "64MiB", "the mapper: it"),
        ("no-such-program", "60s", "64MiB", "cannot start `no-such-program`"),
    ];
    for (mapper, silence, memory, reason) in hostile {
        let room = Room::default();
        room.write("in.txt", "a\nb\n");
        let limits = ["--command-silence", silence, "--command-memory", memory, "--max-output", "1MiB"];
        let outcome = room.run("producer", &[&["run", "--mapper", mapper, "in.txt"], &limits[..]].concat());
        assert_eq!(outcome.text(3), "", "{mapper}");
        assert!(outcome.stderr.contains(reason), "{mapper}: {}", outcome.stderr);
        assert!(room.is_clean(), "{mapper}: {:?}", room.names("tmp"));
    }
    seen::fault("a command hangs, floods or multiplies", "it is killed, its chunk is lost with the reason");
}

#[test]
fn who_is_interrupted_leaves_no_command_behind() {
    let room = Room::default();
    room.write("in.txt", "a\n");
    let file = room.path("left");
    let mapper = format!("sh -c 'echo $$ > {}; exec sleep 606'", file.display());
    let run = Running::start(room.command("producer").args(["run", "--mapper", &mapper, "in.txt"]));
    let started = || std::fs::read_to_string(&file).ok().filter(|text| text.ends_with('\n'));
    let command = until("the command has started", started);
    run.signal("INT");
    assert_eq!(run.ended().code, Some(6));
    let stat = format!("/proc/{}/stat", command.trim());
    let gone = || std::fs::read_to_string(&stat).map_or(Some(()), |stat| stat.contains(") Z ").then_some(()));
    until("the command is gone", gone);
}

#[test]
fn what_is_wrong_with_commands_is_said_before_anything_is_read() {
    let room = Room::default();
    room.write("in.txt", "a");
    let refused = |args: &[&str], said: &[&str]| {
        room.run("producer", &[&["run", "in.txt"], args].concat()).refused(2, said);
    };
    refused(&["--mapper", "sh -c 'x"], &["--mapper `sh -c 'x`"]);
    refused(&["--mapper", " "], &["--mapper names no program"]);
    refused(&["--mapper", "cat", "--separator", "ab"], &["--separator is one ASCII character"]);
    refused(&["--mapper", "cat", "--sort-fields", "2x"], &["`2x` is no field to sort by"]);
    refused(&["--mapper", "cat", "--partition-fields", "0"], &["fields are numbered from 1"]);
    refused(&["--mapper", "cat", "--job", "sum"], &["the job `sum` does not use --mapper"]);
    refused(&["--sort-fields", "2n"], &["name one with --mapper"]);
    refused(&["--mapper", "cat", "--lowercase"], &["does not use --lowercase"]);
    refused(&["--mapper", "cat", "--top", "3"], &["--top"]);
}
