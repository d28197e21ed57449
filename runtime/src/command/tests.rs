//! Commands that behave, and commands that do not.

use super::*;
use std::convert::Infallible;
use std::time::Duration;

/// Gives some lines, and keeps what is written.
#[derive(Default)]
struct Kept {
    input: Vec<u8>,
    output: Vec<u8>,
    reports: Vec<Report>,
    stops: bool,
}

impl Sides for Kept {
    type Error = Infallible;

    fn give(&mut self, input: &mut Vec<u8>) -> io::Result<()> {
        input.append(&mut self.input);
        Ok(())
    }

    fn take(&mut self, output: &[u8]) -> Result<(), Infallible> {
        self.output.extend_from_slice(output);
        Ok(())
    }

    fn hear(&mut self, line: &[u8]) -> bool {
        Report::of(line).map(|report| self.reports.push(report)).is_some()
    }

    fn stops(&mut self) -> bool {
        self.stops
    }
}

const LIMITS: Limits = Limits { silence: Duration::from_secs(60), memory_bytes: 1 << 30, processes: 64 };

/// Runs a script within limits; what it wrote, or why it failed.
fn run_within(limits: Limits, script: &str, sides: &mut Kept) -> Result<String, String> {
    let words = ["sh", "-c", script].map(str::to_owned);
    let folder = tempfile::tempdir().unwrap();
    let variables = [("PATH".to_owned(), "/usr/bin:/bin".to_owned())];
    let invocation =
        Invocation { words: &words, folder: folder.path(), variables: &variables, limits, output_bytes: 16 << 20 };
    let ran = exchange(&invocation, sides);
    ran.map(|()| String::from_utf8(std::mem::take(&mut sides.output)).unwrap()).map_err(|error| error.to_string())
}

fn run(script: &str) -> Result<String, String> {
    run_within(LIMITS, script, &mut Kept::default())
}

#[test]
fn what_is_given_is_read_and_what_is_written_is_taken() {
    let lines = "a line\n".repeat(300_000);
    let mut sides = Kept { input: lines.clone().into_bytes(), ..Kept::default() };
    assert_eq!(run_within(LIMITS, "cat", &mut sides).unwrap(), lines, "more than any pipe holds");
    assert_eq!(run("pwd | grep -c tmp; ls -A; env | cut -d= -f1 | sort | tr '\\n' ' '").unwrap(), "1\nPATH PWD ");
}

#[test]
fn who_has_read_enough_may_stop_reading() {
    let mut sides = Kept { input: b"first\n".repeat(500_000), ..Kept::default() };
    assert_eq!(run_within(LIMITS, "head -n 1", &mut sides).unwrap(), "first\n");
}

#[test]
fn how_it_ended_is_told_with_the_end_of_what_it_said() {
    let failed = run("seq 10000 >&2; printf 'why\\033[31m not' >&2; exit 7").unwrap_err();
    assert!(failed.starts_with("it ended with exit status 7: "), "{failed}");
    assert!(failed.ends_with("9999 | 10000 | why[31m not") && failed.len() < 4000, "{failed}");
    assert!(run("kill -SEGV $$").unwrap_err().contains("it was killed (signal: 11"), "by itself");
    assert_eq!(run("exit 1").unwrap_err(), "it ended with exit status 1");
}

#[test]
fn reports_are_heard_and_not_shown() {
    let mut sides = Kept::default();
    let script = "echo reporter:counter:My Group,bad lines,12 >&2; echo reporter:status:half >&2; echo oh >&2;
        printf 'reporter:counter:a,b,1' >&2; exit 1";
    assert_eq!(run_within(LIMITS, script, &mut sides).unwrap_err(), "it ended with exit status 1: oh");
    let counter = |name: &str, more| Report::Counter { name: name.to_owned(), more };
    assert_eq!(sides.reports, [counter("My Group.bad lines", 12), Report::Status, counter("a.b", 1)]);
    assert_eq!(Report::of(b"reporter:counter:a,b,c"), None);
    assert_eq!(Report::of(b"reporter:counter:a,1"), None);
}

#[test]
fn who_neither_reads_nor_writes_is_killed_even_if_it_ignores_that_it_should_end() {
    let limits = Limits { silence: Duration::from_secs(3), ..LIMITS };
    let failed = run_within(limits, "trap '' TERM INT HUP; echo started >&2; sleep 600", &mut Kept::default());
    assert_eq!(
        failed.unwrap_err(),
        "it neither read nor wrote for 3 s and was killed (see --command-silence): started"
    );
}

#[test]
fn what_it_has_left_behind_ends_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("left");
    let script = format!("(trap '' HUP; sleep 601) > /dev/null 2>&1 & echo $! > {}; echo done", file.display());
    assert_eq!(run(&script).unwrap(), "done\n");
    let left = std::fs::read_to_string(file).unwrap();
    let stat = format!("/proc/{}/stat", left.trim());
    // Gone, or a zombie that nobody has asked after; dying takes a moment.
    let lives = || std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
    let waits = (0..10_000).take_while(|_| lives()).inspect(|_| std::thread::sleep(Duration::from_millis(1))).count();
    assert!(waits < 10_000, "{left} lives on");
}

#[test]
fn output_that_comes_after_the_end_is_never_dropped_in_silence() {
    let failed = run("(sleep 605; echo late) & echo early").unwrap_err();
    assert_eq!(failed, "it ended, and what it had started still holds its output");
}

#[test]
fn noise_is_no_sign_of_life() {
    let limits = Limits { silence: Duration::from_secs(3), ..LIMITS };
    let failed = run_within(limits, "yes 'cannot connect' >&2", &mut Kept::default()).unwrap_err();
    assert!(
        failed.starts_with("it neither read nor wrote for 3 s and was killed (see --command-silence): "),
        "{failed}"
    );
}

#[test]
fn who_takes_too_much_memory_or_too_many_processes_is_killed() {
    let limits = Limits { memory_bytes: 64 << 20, ..LIMITS };
    let bomb = "awk 'BEGIN { x = \"x\"; while (1) x = x x }'";
    let failed = run_within(limits, bomb, &mut Kept::default()).unwrap_err();
    assert!(failed.contains("memory") || failed.contains("exit status"), "{failed}");
    let limits = Limits { processes: 8, ..LIMITS };
    let failed = run_within(limits, "for i in $(seq 40); do sleep 602 & done; wait", &mut Kept::default());
    assert_eq!(failed.unwrap_err(), "it started more than 8 processes and was killed");
}

#[test]
fn who_writes_without_end_is_killed() {
    assert_eq!(run("yes").unwrap_err(), "it wrote more than 16777216 bytes and was killed (see --max-output)");
}

#[test]
fn it_ends_when_nobody_wants_it() {
    let mut sides = Kept { stops: true, ..Kept::default() };
    assert_eq!(run_within(LIMITS, "sleep 603", &mut sides).unwrap_err(), "nobody wants it any more");
}

#[test]
fn what_cannot_be_started_is_named() {
    let words = ["no-such-program".to_owned()];
    let folder = tempfile::tempdir().unwrap();
    let invocation =
        Invocation { words: &words, folder: folder.path(), variables: &[], limits: LIMITS, output_bytes: 1 };
    let failed = exchange(&invocation, &mut Kept::default()).unwrap_err();
    assert!(failed.to_string().starts_with("cannot start `no-such-program`: it must be in PATH"), "{failed}");
}

#[test]
fn lines_come_whole_however_the_bytes_come() {
    for size in 1..12 {
        let (mut splitting, mut lines) = (Splitting::default(), Vec::new());
        let mut each = |line: &[u8]| {
            lines.push(String::from_utf8(line.to_vec()).unwrap());
            Ok::<(), MapError>(())
        };
        for bytes in b"one\n\ntwo three\nfour".chunks(size) {
            splitting.take(bytes, &mut each).unwrap();
        }
        splitting.finish(&mut each).unwrap();
        assert_eq!(lines, ["one", "", "two three", "four"]);
    }
}
