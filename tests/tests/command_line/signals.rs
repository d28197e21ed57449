//! Ctrl-C during `run`: a quick end with exit code 6 that leaves nothing behind.

use rabbit_reduce_tests::processes::{Room, Running, until, words};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{ChildStdin, Stdio};
use std::time::Duration;

/// Quick, for a person who waits on a machine that does other things too.
const QUICK: Duration = Duration::from_secs(5);

/// A run in the middle of an input that does not end.
fn endless(room: &Room, args: &[&str]) -> (Running, ChildStdin) {
    let mut command = room.command("producer");
    command.args(["run", "--chunk-size", "16KiB"]).args(args).arg("-").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut running = Running::collecting(&mut command);
    let mut input = running.input();
    input.write_all(words(20_000).as_bytes()).expect("it reads");
    until("a run of pairs in the temporary store", || holds_runs(&room.path("tmp")).then_some(()));
    (running, input)
}

fn holds_runs(folder: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    entries.flatten().any(|entry| {
        let path = entry.path();
        path.is_dir()
            && ((path.ends_with("runs") && path.read_dir().is_ok_and(|mut runs| runs.next().is_some()))
                || holds_runs(&path))
    })
}

#[test]
fn an_interrupt_in_the_middle_ends_with_6_and_leaves_nothing() {
    for signal in ["INT", "TERM", "HUP"] {
        let room = Room::default();
        let (running, _open) = endless(&room, &["-o", "out"]);
        running.signal(signal);
        running.ended_within(QUICK).refused(6, &["interrupted"]);
        assert!(room.is_clean(), "{signal} leaves {:?}", room.names("tmp"));
        assert_eq!(room.names("."), ["tmp"], "after {signal}");
    }
}

#[test]
fn an_interrupt_at_any_moment_leaves_nothing() {
    let room = Room::default();
    room.write("in.txt", words(30_000));
    // From before the first temporary file to the printing of the answer.
    for moment in 0..12 {
        let mut command = room.command("producer");
        let running = Running::start(command.args(["run", "--chunk-size", "64KiB", "in.txt", "-o", "out"]));
        until("so many looks", || {
            let began = !room.is_clean();
            (began || moment == 0).then_some(())
        });
        let mut looks = 0;
        until("so many looks", || {
            looks += 1;
            (looks > 4 * moment).then_some(())
        });
        running.signal("INT");
        let outcome = running.ended_within(QUICK);
        // Done before, interrupted, or not even listening yet.
        assert!(matches!(outcome.code, Some(0 | 6) | None), "at {moment}: {outcome:?}");
        assert!(room.is_clean(), "at {moment}: {:?}", room.names("tmp"));
        std::fs::remove_file(room.path("out")).ok();
        assert_eq!(room.names("."), ["in.txt", "tmp"], "at {moment}");
    }
}

#[test]
fn a_second_signal_at_once_ends_it_too() {
    let room = Room::default();
    let (running, _open) = endless(&room, &[]);
    running.signal("INT");
    running.signal("INT");
    running.ended_within(QUICK).refused(6, &["interrupted"]);
}

#[test]
fn an_interrupt_while_nobody_reads_the_answer_ends_it() {
    let room = Room::default();
    room.write("in.txt", (0..300_000).map(|number| format!("{number}\n")).collect::<String>());
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut command = room.command("producer");
    let running = Running::collecting(command.args(["run", "in.txt"]).stdin(Stdio::null()).stdout(writer));
    drop(command);
    // The answer has begun, and is longer than a pipe holds.
    reader.read_exact(&mut [0; 10]).unwrap();
    running.signal("INT");
    assert_eq!(running.ended_within(QUICK).code, Some(6));
    assert!(room.is_clean());
}
