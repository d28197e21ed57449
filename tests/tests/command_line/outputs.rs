//! Where `run` writes: the answer to stdout or a file and nothing else, losses and what went wrong to stderr.

use rabbit_reduce_tests::binaries::binary;
use rabbit_reduce_tests::processes::{Room, Running, counted, until, words};
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

#[test]
fn formats_and_orders_are_those_asked_for() {
    let room = Room::default();
    room.write("in.txt", "b a c b\n");
    let shown = |args: &[&str]| room.run("producer", &[&["run", "in.txt"], args].concat()).text(0);
    assert_eq!(shown(&[]), "a\t1\nb\t2\nc\t1\n");
    assert_eq!(shown(&["--sort", "key"]), shown(&[]));
    assert_eq!(shown(&["--sort", "value"]), "b\t2\na\t1\nc\t1\n");
    assert_eq!(shown(&["--top", "2"]), "b\t2\na\t1\n");
    assert_eq!(shown(&["--format", "csv"]).replace('\r', ""), "key,count\nb,2\n".replace("b,2", "a,1\nb,2\nc,1"));
    assert_eq!(shown(&["--format", "ndjson", "--top", "1"]), "{\"key\":\"b\",\"count\":2}\n");
    let json = shown(&["--format", "json"]);
    assert_eq!(
        json.split_whitespace().collect::<String>(),
        r#"[{"key":"a","count":1},{"key":"b","count":2},{"key":"c","count":1}]"#
    );
}

#[test]
fn what_is_no_text_and_what_would_break_a_row_is_escaped() {
    let room = Room::default();
    room.write("in", b"\xff\xfe a\\b\n");
    let outcome = room.run("producer", &["run", "in"]);
    assert_eq!(outcome.stdout, b"a\\\\b\t1\n\xff\xfe\t1\n");
    let json = room.run("producer", &["run", "--format", "ndjson", "in"]).text(0);
    assert!(json.contains(r#"{"base64":"#), "{json}");
}

#[test]
fn every_partition_has_its_file_or_none_has() {
    let (room, text) = (Room::default(), words(500));
    room.write("in.txt", &text);
    let run = |args: &[&str]| room.run("producer", &[&["run", "in.txt", "--partitions", "3"], args].concat());
    assert_eq!(run(&["--parts", "out"]).text(0), "");
    assert_eq!(room.names("out"), ["part-00000.tsv", "part-00001.tsv", "part-00002.tsv"]);
    let read = |name: &String| fs::read_to_string(room.path("out").join(name)).unwrap();
    let parts: Vec<String> = room.names("out").iter().map(read).collect();
    assert!(parts.iter().all(|part| !part.is_empty() && part.lines().is_sorted()));
    let mut lines: Vec<&str> = parts.iter().flat_map(|part| part.lines()).collect();
    lines.sort_unstable();
    assert_eq!(lines.join("\n") + "\n", counted(&text));
    run(&["--parts", "out"]).refused(5, &["out", "name a folder that is new or empty"]);
    assert_eq!(run(&["--parts", "csv", "--format", "csv"]).text(0), "");
    assert_eq!(room.names("csv")[0], "part-00000.csv");
    run(&["--parts", "x", "--top", "3"]).refused(2, &["--parts", "leave one out"]);
    run(&["--parts", "x", "-o", "y"]).refused(2, &["cannot be used with"]);
    run(&["--parts", "x", "--job", "sum"]).refused(2, &["`sum`", "leave out --parts"]);
    run(&["--parts", "no/where/x"]).refused(5, &["no/where/x"]);
    assert!(!room.path("x").exists());
    assert!(room.is_clean());
}

#[test]
fn a_file_takes_the_answer_and_stdout_stays_empty() {
    let (room, text) = (Room::default(), words(500));
    room.write("in.txt", &text);
    room.write("out", "what was there before");
    assert_eq!(room.run("producer", &["run", "in.txt", "-o", "out"]).text(0), "");
    assert_eq!(fs::read_to_string(room.path("out")).unwrap(), counted(&text));
    assert_eq!(room.run("producer", &["run", "in.txt", "-o", "-"]).text(0), counted(&text));
    assert_eq!(room.names("."), ["in.txt", "out", "tmp"]);
}

#[test]
fn a_failed_run_leaves_the_file_as_it_was() {
    let room = Room::default();
    room.write("in.txt", "1 x 2");
    room.write("out", "before");
    let args = ["run", "--job", "sum", "--max-losses", "0", "in.txt", "-o"];
    assert_eq!(room.run("producer", &[&args[..], &["out"]].concat()).code, Some(1));
    assert_eq!(room.run("producer", &[&args[..], &["new"]].concat()).code, Some(1));
    assert_eq!(fs::read_to_string(room.path("out")).unwrap(), "before");
    assert_eq!(room.names("."), ["in.txt", "out", "tmp"]);
}

#[test]
fn a_place_that_takes_no_file_is_told_of_before_the_work() {
    let room = Room::default();
    let mut waiting = room.command("producer");
    // The input never ends: only who looks first can end.
    waiting.args(["run", "-", "-o", "no/such/out"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut running = Running::collecting(&mut waiting);
    let _open = running.input();
    running.ended().refused(5, &["cannot write no/such/out", "No such file"]);
    room.write("in.txt", "x");
    room.run("producer", &["run", "in.txt", "-o", "tmp"]).refused(5, &["cannot write tmp", "directory"]);
}

#[test]
fn a_full_disk_is_told_of() {
    let room = Room::default();
    room.write("in.txt", words(500));
    room.run("producer", &["run", "in.txt", "-o", "/dev/full"]).refused(5, &["cannot write /dev/full", "No space"]);
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = room.command("producer");
    let running = Running::collecting(command.args(["run", "in.txt"]).stdin(Stdio::null()).stdout(full));
    running.ended().refused(5, &["cannot write to stdout", "No space"]);
    assert!(room.is_clean());
}

#[test]
fn a_reader_that_leaves_is_a_quiet_end() {
    let room = Room::default();
    room.write("in.txt", (0..200_000).map(|number| format!("{number}\n")).collect::<String>());
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut command = room.command("producer");
    command.args(["run", "--quiet", "in.txt"]).stdin(Stdio::null()).stdout(writer);
    let running = Running::collecting(&mut command);
    drop(command);
    reader.read_exact(&mut [0; 10]).unwrap();
    drop(reader);
    let outcome = running.ended();
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
}

#[test]
fn losses_are_listed_with_their_places_and_the_rest_is_counted() {
    let room = Room::default();
    room.write("a.txt", "1 two 3\n");
    room.write("b.txt", "4 five\u{1b} 6\n");
    let outcome = room.run("producer", &["run", "--job", "sum", "--quiet", "a.txt", "b.txt"]);
    assert_eq!(outcome.text(3), "count\t4\nsum\t14\nmin\t1\nmax\t6\nmean\t3.5\n");
    let said: Vec<&str> = outcome.stderr.lines().collect();
    assert_eq!(said, ["lost: a.txt, byte 2: `two` is no number", "lost: b.txt, byte 2: `five\\u{1b}` is no number"]);
}

#[test]
fn more_losses_than_allowed_fail_the_job() {
    let room = Room::default();
    room.write("a.txt", "1 two 3\n");
    let outcome = room.run("producer", &["run", "--job", "sum", "--max-losses", "0", "a.txt"]);
    outcome.refused(1, &["a.txt, byte 2", "--max-losses"]);
    assert!(!outcome.stderr.contains("\n\n"), "{}", outcome.stderr);
    room.write("many.txt", "x ".repeat(100_000));
    let outcome = room.run("producer", &["run", "--job", "sum", "many.txt"]);
    outcome.refused(1, &["many.txt, byte 0", " more\n", "more than 100 losses"]);
    assert!(outcome.stderr.lines().count() < 120, "{}", outcome.stderr.lines().count());
    assert!(room.is_clean());
}

#[test]
fn quiet_says_nothing_and_progress_goes_to_stderr() {
    let (room, text) = (Room::default(), words(500));
    room.write("in.txt", &text);
    let outcome = room.run("producer", &["run", "--quiet", "in.txt"]);
    assert_eq!((outcome.stderr.as_str(), outcome.text(0)), ("", counted(&text)));
    let mut command = room.command("producer");
    command.args(["run", "--chunk-size", "4KiB", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut running = Running::collecting(&mut command);
    let (mut input, mut fed) = (running.input(), String::new());
    // A piece a time, so that there is something to tell after the first second.
    until("progress", || {
        input.write_all(text.as_bytes()).unwrap();
        fed.push_str(&text);
        running.said().contains("publishing: ").then_some(())
    });
    drop(input);
    assert_eq!(running.ended().text(0), counted(&fed));
}

#[test]
fn what_a_terminal_shows_commands_nothing() {
    let room = Room::default();
    room.write("in.txt", "a\u{1b}[2J b\n");
    let args = ["run", "--quiet", "in.txt"];
    assert_eq!(room.run("producer", &args).text(0), "a\u{1b}[2J\t1\nb\t1\n", "a pipe gets the bytes");
    // It gives a command a terminal, which writes CR LF.
    let command = format!("{} {}", binary("producer").display(), args.join(" "));
    let mut script = room.command_of(Path::new("script"));
    let shown = Running::start(script.args(["-qec", &command, "/dev/null"])).ended().text(0);
    assert_eq!(shown, "a\\u{1b}[2J\t1\r\nb\t1\r\n");
    // Nor does an error, whatever it repeats: commands of a job, places, settings of a file, what a command has said.
    room.write("theirs.toml", "\"\\u001b]0;x\\u0007\" = 1\n");
    let hostile = "\u{1b}]0;x\u{7}\u{202e}";
    let noisy = format!("sh -c \"cat >/dev/null; echo '{hostile}' >&2; exit 3\"");
    for args in [
        &["--mapper", "cat", "--reducer", hostile][..],
        &["--mapper", "cat", "--reducer", &noisy],
        &["-o", &format!("no/{hostile}")],
        &["--config", "theirs.toml"],
        &[hostile],
    ] {
        let told = room.run("producer", &[&["run", "in.txt"], args].concat());
        assert!(told.code != Some(0) && told.stderr.contains("\\u{"), "{args:?}: {:?}", told.stderr);
        assert!(!told.stderr.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{args:?}: {:?}", told.stderr);
    }
}

#[test]
fn shells_complete_commands_and_flags() {
    let room = Room::default();
    for (shell, word) in [("bash", "complete"), ("zsh", "#compdef producer"), ("fish", "complete -c producer")] {
        let script = room.run("producer", &["completions", shell]).text(0);
        assert!(script.contains(word) && script.contains("chunk-size") && script.contains("doctor"), "{shell}");
    }
    let script = room.path("completion.bash");
    fs::write(&script, room.run("producer", &["completions", "bash"]).stdout).expect("the folder is ours");
    assert!(Command::new("bash").arg("-n").arg(&script).status().expect("there is bash").success());
    room.run("producer", &["completions", "none"]).refused(2, &["none", "bash"]);
}
