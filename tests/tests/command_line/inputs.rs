//! What `run` reads, and that the answer depends on nothing else.

use rabbit_reduce_tests::processes::{Room, Running, arg, counted, words};
use std::fs;
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

/// A file as `gzip` makes it, beside it.
fn gzip(room: &Room, name: &str) {
    let made = Command::new("gzip").arg("--keep").arg(room.path(name)).status().expect("there is gzip");
    assert!(made.success());
}

#[test]
fn what_is_compressed_or_marked_counts_as_what_it_stands_for() {
    let room = Room::default();
    let text = words(3000);
    let plain = room.write("plain/in.txt", &text);
    room.write("mixed/a.txt", &text);
    gzip(&room, "mixed/a.txt");
    fs::remove_file(room.path("mixed/a.txt")).expect("it is ours");
    room.write("mixed/b.txt", [b"\xef\xbb\xbf", text.as_bytes()].concat());
    let utf16: Vec<u8> = [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    room.write("mixed/c.txt", utf16);
    room.write("mixed/d.txt", &text);
    let run = |args: &[&str]| room.run("producer", &[&["run", "--chunk-size", "8KiB"], args].concat());
    let expected = counted(&text.repeat(4));
    assert_eq!(run(&["mixed"]).text(0), expected);
    assert!(room.is_clean());
    let as_is = run(&["--as-is", "mixed"]);
    assert!(as_is.code == Some(0) && as_is.stdout != expected.as_bytes());
    // Standard input, too.
    let compressed = fs::read(room.path("mixed/a.txt.gz")).expect("it was just made");
    let mut command = room.command("producer");
    assert_eq!(Running::fed(command.args(["run", "-"]), &compressed).ended().text(0), counted(&text));
    let mut command = room.command("producer");
    let as_is = Running::fed(command.args(["run", "--job", "count", "--as-is", "-"]), &compressed).ended().text(0);
    assert!(as_is.contains(&format!("bytes\t{}\n", compressed.len())), "{as_is}");
    // Half of it is no input, and says which it is; so does a beginning of which nothing can be told.
    room.write("few.gz", &compressed[..20]);
    run(&["few.gz"]).refused(5, &["few.gz cannot be read", "looks compressed", "--as-is"]);
    room.write("half.gz", &compressed[..compressed.len() / 2]);
    run(&["half.gz"]).refused(5, &["half.gz cannot be read", "looks compressed", "--as-is"]);
    let mut command = room.command("producer");
    Running::fed(command.args(["run", "-"]), &compressed[..20]).ended().refused(5, &["- cannot be read", "--as-is"]);
    assert_eq!(run(&[plain.to_str().expect("it is text")]).text(0), counted(&text));
}

#[test]
fn inputs_are_listed_in_files_and_chosen_by_patterns() {
    let room = Room::default();
    for (name, text) in [("d/a.txt", "a\n"), ("d/b.log", "b\n"), ("d/old/c.txt", "c\n"), ("e.txt", "e\n")] {
        room.write(name, text);
    }
    room.write("list", "d/a.txt\r\n\nd/b.log\n");
    let run = |args: &[&str]| room.run("producer", &[&["run"], args].concat());
    assert_eq!(run(&["--files-from", "list"]).text(0), "a\t1\nb\t1\n");
    assert_eq!(run(&["--files-from", "list", "e.txt"]).text(0), "a\t1\nb\t1\ne\t1\n");
    let mut command = room.command("producer");
    let listed = Running::fed(command.args(["run", "--files-from", "-"]), b"e.txt\n").ended();
    assert_eq!(listed.text(0), "e\t1\n");
    assert_eq!(run(&["--include", "*.txt", "d"]).text(0), "a\t1\nc\t1\n");
    assert_eq!(run(&["--include", "*.txt", "--exclude", "old", "d"]).text(0), "a\t1\n");
    assert_eq!(run(&["--include", "old/*", "d"]).text(0), "c\t1\n");
    assert_eq!(run(&["--exclude", "*.txt", "d", "e.txt"]).text(0), "b\t1\ne\t1\n", "what is typed is input");
    // A pattern that no shell has looked at.
    assert_eq!(run(&["d/**/*.txt"]).text(0), "a\t1\nc\t1\n");
    // Every file once, whatever folders the pattern is about, and by no link to a folder.
    std::os::unix::fs::symlink(".", room.path("d/loop")).expect("the folder is ours");
    for pattern in ["d/**", "d/**/*", "**", "d/*", "*"] {
        let counts = run(&["--job", "count", "--by-source", pattern]).text(0);
        let of = |name: &str| counts.lines().filter(|line| line.split('\t').next() == Some(name)).count();
        let deep = usize::from(pattern.contains("**"));
        let beneath = usize::from(pattern != "*");
        assert_eq!([of("d/a.txt"), of("d/b.log"), of("d/old/c.txt")], [beneath, beneath, deep], "{pattern}: {counts}");
    }
    room.write("with-standard-input", "-\n");
    run(&["--files-from", "with-standard-input"]).refused(2, &["names -", "standard input"]);
    run(&["d/*.none"]).refused(5, &["no file fits d/*.none", "check the spelling"]);
    run(&["--include", "*.none", "d"]).refused(5, &["no file is left to read", "--include"]);
    room.write("empty", "\n");
    run(&["--files-from", "empty"]).refused(5, &["--files-from names none"]);
    run(&["--files-from", "nowhere"]).refused(5, &["--files-from nowhere cannot be read"]);
    run(&["--files-from", "-", "-"]).refused(2, &["standard input"]);
    run(&["--include", "[", "d"]).refused(2, &["`[` is no pattern"]);
    run(&[]).refused(2, &["INPUT"]);
}

#[test]
fn only_rows_that_are_asked_for_are_printed() {
    let room = Room::default();
    room.write("in.txt", "apple apple bat apricot apricot apricot\n");
    let run = |args: &[&str]| room.run("producer", &[&["run", "in.txt"], args].concat());
    assert_eq!(run(&["--prefix", "ap"]).text(0), "apple\t2\napricot\t3\n");
    assert_eq!(run(&["--min-count", "2", "--sort", "value"]).text(0), "apricot\t3\napple\t2\n");
    assert_eq!(run(&["--prefix", "b", "--min-count", "2"]).text(0), "");
    run(&["--job", "index", "--min-count", "2"]).refused(2, &["--min-count", "index"]);
}
