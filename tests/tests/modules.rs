//! Programs of WebAssembly: in Rust, in C and in text, in one process and through RabbitMQ; and modules that fail or mean harm.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use rabbit_reduce_tests::guests::guest;
use rabbit_reduce_tests::namespaces::Namespace;
use rabbit_reduce_tests::processes::{Outcome, Room, Running, counted, words};
use rabbit_reduce_tests::seen;
use std::path::PathBuf;

/// A module's path, as a person types it.
fn path(name: &str) -> String {
    guest(name).display().to_string()
}

/// A module of what makes one, in text form.
fn text(room: &Room, body: &str) -> PathBuf {
    let whole = format!(
        r#"(module
            (import "rabbit_reduce_1" "emit" (func $emit (param i32 i32 i32 i32)))
            (import "rabbit_reduce_1" "emit_all" (func $emit_all (param i32 i32)))
            (import "rabbit_reduce_1" "next" (func $next (param i32 i32) (result i32)))
            (memory (export "memory") 2)
            (func (export "reserve") (param i32) (result i32) (i32.const 65536))
            {body})"#
    );
    room.write("program.wasm", wat::parse_str(whole).unwrap())
}

/// A job of a module, what it is given, and what it answers.
struct Case {
    module: &'static str,
    args: &'static [&'static str],
    input: &'static str,
    rows: &'static str,
}

const CASES: [Case; 6] = [
    Case {
        module: "word_count",
        args: &[],
        input: "to be or\nnot to be\n\nTo",
        rows: "To\t1\nbe\t2\nnot\t1\nor\t1\nto\t2\n",
    },
    Case {
        module: "word_count",
        args: &["--set", "lowercase=true"],
        input: "to be or\nnot to be\n\nTo",
        rows: "be\t2\nnot\t1\nor\t1\nto\t3\n",
    },
    Case {
        module: "word_count.c",
        args: &[],
        input: "to be or\nnot to be\n\nTo",
        rows: "To\t1\nbe\t2\nnot\t1\nor\t1\nto\t2\n",
    },
    Case {
        module: "next_word",
        args: &["--partitions", "3"],
        input: "a b a b\na c\nb a b\na b",
        // After `a` comes `b` four times of five, and `c` once.
        rows: "a\tb 80%\na\tc 20%\nb\ta 100%\n",
    },
    Case { module: "average", args: &[], input: "x 1\ny 10\nx 2\nx 2\n", rows: "x\t1.66\ny\t10.00\n" },
    Case {
        module: "longest_value.c",
        args: &["--sort-fields", "1nr"],
        input: "9\tab\n10\tabc\n9\tcd\n10\txyz\n9\t\n",
        // Keys as numbers, the largest first; of equally long values the first.
        rows: "10\tabc\n9\tab\n",
    },
];

#[test]
fn modules_in_rust_and_in_c_answer_in_one_process() {
    for case in &CASES {
        let room = Room::default();
        room.write("in.txt", case.input);
        let module = path(case.module);
        let args = [&["run", "--chunk-size", "64", "--program", &module], case.args, &["in.txt"]].concat();
        assert_eq!(room.run("producer", &args).text(0), case.rows, "{}", case.module);
        assert!(room.is_clean(), "{}: {:?}", case.module, room.names("tmp"));
    }
}

#[test]
fn modules_travel_to_workers_and_aggregators_through_rabbitmq_while_workers_are_killed() {
    let namespace = Namespace::default();
    let _aggregator = namespace.aggregator();
    for (number, case) in CASES.iter().enumerate() {
        namespace.room.write("in.txt", case.input);
        // As on another machine: it does not find what the aggregator keeps.
        let elsewhere = format!("elsewhere-{number}");
        namespace.room.write(&format!("{elsewhere}/there"), "");
        let worker = namespace.worker(&["--temporary", &elsewhere]);
        let module = path(case.module);
        let args = [&["push", "--chunk-size", "64", "--program", &module], case.args, &["in.txt"]].concat();
        let push = namespace.producer(&args);
        worker.kill();
        let _worker = namespace.worker(&["--temporary", &elsewhere]);
        assert_eq!(push.ended().text(0), case.rows, "{}", case.module);
        let kept = namespace.room.names(&elsewhere).into_iter().find(|name| name.starts_with("rabbit-reduce-files"));
        assert_eq!(namespace.room.names(&format!("{elsewhere}/{}", kept.unwrap())).len(), 1, "it was fetched");
    }
    // Whoever prints a result has no module.
    assert_eq!(namespace.ask(&["results"]).text(0), CASES[5].rows);
}

#[test]
fn a_module_counts_as_the_built_in_job_does() {
    let room = Room::default();
    // Also a line with more pairs than are handed over together, and words that are longer than that, or nearly.
    let long = ["x".repeat(10_000), "y".repeat(3_000), "z".repeat(17), words(400).replace('\n', " ")].join(" ");
    let text = words(3000) + &long;
    room.write("in.txt", &text);
    for module in ["word_count", "word_count.c"] {
        // So little memory that pairs are spilled.
        let limits = ["--memory", "80MiB", "--threads", "2", "--module-memory", "5MiB", "--chunk-size", "20KiB"];
        let path = path(module);
        let args = [&["run", "--program", &path], &limits[..], &["in.txt"]].concat();
        assert_eq!(room.run("producer", &args).text(0), counted(&text), "{module}");
    }
}

#[test]
fn words_are_the_same_in_c_and_in_rust_whatever_bytes_stand_in_them() {
    let room = Room::default();
    // Every byte but that which ends a line, at every place of eight and behind; what Rust makes of them its own tests tell.
    let line = |byte: u8, place: usize| [&b"xxxxxxxxxxxx"[..place], &[byte], &b"yyyyyyyyyyyy"[place..], b"\n"].concat();
    let bytes = (0..=255).filter(|byte| *byte != b'\n');
    room.write("in.txt", bytes.flat_map(|byte| (0..12).flat_map(move |place| line(byte, place))).collect::<Vec<_>>());
    let counted = |name: &str| room.run("producer", &["run", "--program", &path(name), "in.txt"]);
    let [c, rust] = ["word_count.c", "word_count"].map(counted);
    assert_eq!((c.code, rust.code), (Some(0), Some(0)), "{}", c.stderr);
    assert!(c.stdout == rust.stdout && c.stdout.len() > 255 * 12 * 10, "{} and {}", c.stdout.len(), rust.stdout.len());
}

#[test]
fn without_combine_and_reduce_pairs_stay_apart_in_the_order_of_the_input() {
    let room = Room::default();
    // The first byte of a line is its key, and all of it the value.
    let module = text(
        &room,
        r#"(func (export "map") (param i32 i32)
            (call $emit (local.get 0) (i32.const 1) (local.get 0) (local.get 1)))"#,
    );
    room.write("in.txt", "b2\na1\nb1\na0\nb3\n");
    let args = ["run", "--program", module.to_str().unwrap(), "--chunk-size", "64", "in.txt"];
    assert_eq!(room.run("producer", &args).text(0), "a\ta1\na\ta0\nb\tb2\nb\tb1\nb\tb3\n");
}

/// A hundred records of 20 KB: three trap, two have keys that the reduce cannot.
fn bad_records() -> String {
    let record = |number: usize| {
        let kind = match number {
            13 | 99 => "panic",
            50 => "refuse",
            _ => "good",
        };
        let key = match number {
            7 => "fail",
            42 => "die",
            _ => "key",
        };
        format!("{key}{number:03}\t{kind} {}\n", "x".repeat(20 << 10))
    };
    (0..100).map(record).collect()
}

fn ninety_five(outcome: &Outcome) {
    let good = (0..100).filter(|number| ![7, 13, 42, 50, 99].contains(number));
    let expected: Vec<String> = good.map(|number| format!("key{number:03}\t1\n")).collect();
    assert_eq!(expected.len(), 95);
    assert_eq!(outcome.text(3), expected.concat());
    for said in [
        "wasm trap: wasm `unreachable` instruction executed",
        "this line is refused",
        "lost: key `fail007`: the reduce failed: this key is refused",
        "lost: key `die042`: the reduce failed: wasm trap: ",
    ] {
        assert!(outcome.stderr.contains(said), "`{said}` is not in: {}", outcome.stderr);
    }
}

#[test]
fn of_a_hundred_records_of_which_three_fail_to_map_and_two_to_reduce_ninety_five_are_left() {
    let room = Room::default();
    room.write("in.txt", bad_records());
    ninety_five(&room.run("producer", &["run", "--program", &path("fragile.c"), "in.txt"]));
    let namespace = Namespace::default();
    namespace.room.write("in.txt", bad_records());
    let (_aggregator, _worker) = (namespace.aggregator(), namespace.worker(&[]));
    ninety_five(&namespace.ask(&["push", "--program", &path("fragile.c"), "in.txt"]));
    let status = namespace.ask(&["status", "--format", "json"]).text(0);
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let counters = &status["end"]["counters"];
    let counted = (counters["records"].as_u64(), counters["program.lines"].as_u64());
    assert_eq!((counted, status["losses"]["count"].as_u64()), ((Some(100), Some(97)), Some(5)), "{status}");
    let letters = namespace.ask(&["dead", "ls"]).text(0);
    assert!(letters.contains("this line is refused"), "{letters}");
    seen::fault("a module traps on some records and keys", "they are left out and named, all others count once");
}

#[test]
fn a_record_on_which_a_module_never_ends_is_left_out_once_all_agree() {
    let namespace = Namespace::default();
    namespace.room.write("in.txt", "a\t1\nb\thang\nc\t1\n");
    let (_aggregator, _worker) = (namespace.aggregator(), namespace.worker(&["--module-silence", "500ms"]));
    let outcome = namespace.ask(&["push", "--program", &path("fragile.c"), "in.txt"]);
    assert_eq!(outcome.text(3), "a\t1\nc\t1\n");
    assert!(outcome.stderr.contains("it ran for 0.5 s without asking for more"), "{}", outcome.stderr);
    seen::fault("a module never ends on a record", "it is stopped, and the record left out in all partitions alike");
}

#[test]
fn a_worker_that_dies_of_a_suspect_has_the_module_mapped_apart() {
    let namespace = Namespace::default();
    namespace.room.write("in.txt", "to be or not to be");
    let _aggregator = namespace.aggregator();
    let push = namespace.producer(&["push", "--program", &path("word_count"), "in.txt"]);
    // Each of them takes the task and is killed with it; then it is a suspect.
    for _ in 0..3 {
        let mut command = namespace.command("worker", &["--threads", "1"]);
        let worker = Running::start(command.env("RABBIT_REDUCE_CRASH_AT", "worker.taken"));
        assert_eq!(worker.ended().code, None);
    }
    let _worker = namespace.worker(&[]);
    assert_eq!(push.ended().text(0), "be\t2\nnot\t1\nor\t1\nto\t2\n");
}

#[test]
fn a_hostile_module_costs_one_clear_failure_and_nothing_else() {
    let endless = r#"(func (export "map") (param i32 i32) (loop $l (br $l)))"#;
    let memory = r#"(func (export "map") (param i32 i32)
        (loop $l (br_if $l (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable)"#;
    let output = r#"(func (export "map") (param i32 i32)
        (loop $l (call $emit (i32.const 0) (i32.const 1000) (i32.const 0) (i32.const 1000)) (br $l)))"#;
    let empty_output = r#"(func (export "map") (param i32 i32)
        (loop $l (call $emit (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)) (br $l)))"#;
    let recursion = r#"(func $f (export "map") (param i32 i32) (call $f (local.get 0) (local.get 1)) drop_nothing)"#;
    let recursion = recursion.replace(" drop_nothing", "");
    let outside = r#"(func (export "map") (param i32 i32)
        (call $emit (i32.const -1) (i32.const 1000) (i32.const 0) (i32.const 0)))"#;
    let cut = r#"(func (export "map") (param i32 i32) (call $emit_all (i32.const 0) (i32.const 1)))"#;
    let all_outside = r#"(func (export "map") (param i32 i32) (call $emit_all (i32.const 131070) (i32.const 3)))"#;
    let all_output = r#"(func (export "map") (param i32 i32)
        (loop $l (call $emit_all (i32.const 0) (i32.const 65536)) (br $l)))"#;
    let misplaced = r#"(func (export "map") (param i32 i32) (drop (call $next (i32.const 0) (i32.const 0))))"#;
    let hostile = [
        (endless, "it ran for 0.5 s without asking for more and was stopped"),
        (memory, "wasm trap: wasm `unreachable` instruction executed"),
        (output, "more than 1048576 bytes of pairs"),
        (empty_output, "more than 1048576 bytes of pairs"),
        (&recursion, "its calls need more stack than there is"),
        (outside, "it names bytes outside its memory"),
        (cut, "the last of the pairs that it puts out together is cut short"),
        (all_outside, "it names bytes outside its memory"),
        (all_output, "more than 1048576 bytes of pairs"),
        (misplaced, "it calls `next` where there is none"),
    ];
    for (body, reason) in hostile {
        let room = Room::default();
        let module = text(&room, body);
        room.write("in.txt", "a line\n");
        let limits = ["--module-silence", "500ms", "--max-output", "1MiB"];
        let args = [&["run", "--program", module.to_str().unwrap(), "in.txt"], &limits[..]].concat();
        let outcome = room.run("producer", &args);
        assert_eq!(outcome.text(3), "", "{reason}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(reason), "`{reason}` is not in {}", outcome.stderr);
        assert_eq!(outcome.stderr.matches("lost: ").count(), 1, "{}", outcome.stderr);
        assert!(room.is_clean());
    }
    seen::fault("a module loops, grows or floods", "it is stopped, its record or chunk is lost with the reason");
}

#[test]
fn a_module_that_fails_on_everything_ends_the_job_early_and_says_why() {
    let room = Room::default();
    let module = text(&room, r#"(func (export "map") (param i32 i32) unreachable)"#);
    room.write("in.txt", "a line\n".repeat(4000));
    let args = ["run", "--chunk-size", "1KiB", "--max-losses", "3", "--program", module.to_str().unwrap(), "in.txt"];
    let outcome = room.run("producer", &args);
    outcome.refused(1, &["more than 3 losses", "wasm trap: wasm `unreachable` instruction executed"]);
    assert!(outcome.stderr.matches("lost: ").count() <= 101, "the first few reasons do: {}", outcome.stderr);
}

#[test]
fn a_reduce_that_never_ends_costs_its_key() {
    // It works for ever, or asks for ever how long its next value is, and never takes it.
    for endless in ["", "(drop (call $next (i32.const 0) (i32.const 0)))"] {
        let room = Room::default();
        let body = r#"(func (export "map") (param i32 i32)
                (call $emit (local.get 0) (local.get 1) (local.get 0) (local.get 1)))
            (func (export "reduce") (param i32 i32)
                (if (i32.eq (i32.load8_u (local.get 0)) (i32.const 98)) (then (loop $l ENDLESS (br $l))))
                (call $emit (local.get 0) (local.get 1) (i32.const 0) (i32.const 0)))"#;
        let module = text(&room, &body.replace("ENDLESS", endless));
        room.write("in.txt", "a\nb\nc\n");
        let args = ["run", "--program", module.to_str().unwrap(), "--module-silence", "500ms", "in.txt"];
        let outcome = room.run("producer", &args);
        assert_eq!(outcome.text(3), "a\t\nc\t\n");
        assert!(outcome.stderr.contains("lost: key `b`: the reduce failed: it ran for 0.5 s"), "{}", outcome.stderr);
    }
}

#[test]
fn a_combine_that_fails_ends_the_job_and_says_why() {
    let room = Room::default();
    let module = text(
        &room,
        r#"(func (export "map") (param i32 i32)
            (call $emit (local.get 0) (i32.const 1) (local.get 0) (local.get 1)))
           (func (export "combine") (param i32 i32) (result i64) unreachable)"#,
    );
    // The two meet where they are mapped, or only where they are merged.
    for (input, reason) in [
        ("a1\na2\n".to_owned(), "the module cannot combine values: wasm trap: "),
        (format!("a1{0}\na2{0}\n", "x".repeat(100)), "combining two values of key \"a\": wasm trap: "),
    ] {
        room.write("in.txt", input);
        let args = ["run", "--program", module.to_str().unwrap(), "--chunk-size", "64", "--max-losses", "0", "in.txt"];
        room.run("producer", &args).refused(1, &[reason]);
    }
}

#[test]
fn what_is_wrong_with_a_module_is_said_before_anything_is_read() {
    let room = Room::default();
    room.write("in.txt", "a");
    let refused = |args: &[&str], said: &[&str]| {
        room.run("producer", &[&["run", "in.txt"], args].concat()).refused(2, said);
    };
    let map = r#"(func (export "map") (param i32 i32))"#;
    let written = |bytes: &[u8]| room.write("program.wasm", bytes).display().to_string();
    let whole = std::fs::read(text(&room, map)).unwrap();
    for (bytes, said) in [
        (&b"#!/bin/sh"[..], "it is no WebAssembly module that can be used"),
        (&whole[..whole.len() - 7], "it is no WebAssembly module that can be used"),
        (b"", "it is no WebAssembly module that can be used"),
        (&vec![0; 100 << 20], "has more than 64MiB"),
        (&vec![0; 20 << 20], "at most 16777216 are compiled"),
    ] {
        refused(&["--program", &written(bytes)], &["--program", "program.wasm", said]);
    }
    for (body, said) in [
        ("", "the module exports no `map` (a function of (i32, i32) that gives ())"),
        (r#"(func (export "map") (param i32))"#, "the module exports no `map`"),
        (
            &format!(r#"{map} (func (export "combine"))"#),
            "exports no `combine` (a function of (i32, i32) that gives (i64))",
        ),
        (&format!(r#"{map} (global (export "reduce") i32 (i32.const 0))"#), "the module exports no `reduce`"),
        (&format!(r#"{map} (func $s unreachable) (start $s)"#), "the module cannot be begun: wasm trap"),
        (
            &format!(
                r#"{map} (func $s (call $emit (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))) (start $s)"#
            ),
            "it calls `emit` where there is none",
        ),
    ] {
        let module = text(&room, body);
        refused(&["--program", module.to_str().unwrap()], &[said]);
    }
    let wasi = wat::parse_str(format!(
        r#"(module (import "wasi_snapshot_preview1" "clock_time_get" (func (param i32 i64 i32) (result i32)))
            (memory (export "memory") 1) (func (export "reserve") (param i32) (result i32) (i32.const 0)) {map})"#
    ));
    refused(
        &["--program", &written(&wasi.unwrap())],
        &[
            "the module needs `clock_time_get` of `wasi_snapshot_preview1`, which nobody offers",
            "wasm32-unknown-unknown",
        ],
    );
    let large = wat::parse_str(format!(
        r#"(module (memory (export "memory") 2000) (func (export "reserve") (param i32) (result i32) (i32.const 0)) {map})"#
    ));
    refused(
        &["--program", &written(&large.unwrap())],
        &["it begins with more memory than the 16777216 bytes that it may take (see --module-memory)"],
    );
    let good = text(&room, map).display().to_string();
    refused(&["--program", "nowhere.wasm"], &["--program nowhere.wasm: it cannot be read: No such file"]);
    refused(&["--program", &good, "--mapper", "cat"], &["leave out --mapper"]);
    refused(&["--program", &good, "--job", "sum"], &["the job `sum` does not use --program"]);
    refused(&["--program", &good, "--lowercase"], &["does not use --lowercase"]);
    refused(&["--module-memory", "1MiB"], &["--module-memory is for a module"]);
    refused(&["--program", &good, "--module-memory", "2GiB"], &["--module-memory is 2GiB"]);
    let small = ["run", "in.txt", "--program", &good, "--memory", "80MiB"];
    room.run("producer", &small).refused(1, &["raise --memory, or lower --module-memory"]);
}
