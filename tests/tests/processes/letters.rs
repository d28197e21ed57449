//! What was lost, carried back to who asks: listed, shown, exported, sent again, dropped.

use rabbit_reduce_core::message::{self, Failure, Partial, Task};
use rabbit_reduce_core::topology::queue;
use rabbit_reduce_runtime::broker::{Broker, Published, Route};
use rabbit_reduce_tests::home::{connect, publish};
use rabbit_reduce_tests::namespaces::Namespace;
use rabbit_reduce_tests::processes::{Outcome, Running, until};
use rabbit_reduce_tests::rabbit;
use rabbit_reduce_tests::seen::fault;
use rabbit_reduce_tests::wait::within;
use serde_json::Value;

/// A worker that may read nothing of the input: what it gets by reference is a loss at once.
fn blind_worker(namespace: &Namespace) -> Running {
    std::fs::create_dir_all(namespace.room.path("empty")).expect("the room is ours");
    Running::start(&mut namespace.command("worker", &["--threads", "1", "--input-root", "empty"]))
}

/// Pushes an input of several chunks that nobody may read; what is to be counted, and how many chunks are lost.
fn lose_everything(namespace: &Namespace) -> (String, usize) {
    let expected = namespace.input(2000);
    let blind = blind_worker(namespace);
    let args = ["push", "--by", "reference", "--chunk-size", "32KiB", "--partitions", "2", "in.txt"];
    let lost = namespace.ask(&args);
    assert_eq!(lost.text(3), "");
    assert!(
        lost.stderr.contains("`producer dead ls ") && lost.stderr.contains("shows what is kept of it"),
        "{}",
        lost.stderr
    );
    blind.kill();
    let chunks = lost.stderr.matches("lost: chunk ").count();
    assert!(chunks > 3, "{}", lost.stderr);
    (expected, chunks)
}

fn says(outcome: &Outcome, text: &str) {
    assert!(outcome.stderr.contains(text), "`{text}` is not in {}", outcome.stderr);
}

fn listed(namespace: &Namespace, args: &[&str]) -> Vec<Value> {
    let text = namespace.ask(&[&["dead", "ls", "--format", "json"], args].concat()).text(0);
    serde_json::from_str(&text).expect("it is a list")
}

#[test]
fn lost_chunks_that_are_sent_again_make_the_result_whole() {
    let namespace = Namespace::default();
    let _aggregator = namespace.aggregator();
    let (expected, chunks) = lose_everything(&namespace);

    let table = namespace.ask(&["dead", "ls"]).text(0);
    assert_eq!(table.lines().count(), chunks + 1, "{table}");
    for text in ["chunk 1 ", "in.txt, byte ", " lost ", "outside this worker's input roots"] {
        assert!(table.contains(text), "`{text}` is not in {table}");
    }
    let path = namespace.room.path("in.txt").canonicalize().unwrap();
    let shown = namespace.ask(&["dead", "show", "@", "--chunk", "1"]).text(0);
    for text in ["chunk 1\n", "word-count", "attempt ", "--input-root", path.to_str().unwrap()] {
        assert!(shown.contains(text), "`{text}` is not in {shown}");
    }

    // One of them is sent again, to somebody who may not read it either.
    let blind = blind_worker(&namespace);
    let again = namespace.ask(&["dead", "retry", "@", "--source", "in.txt", "--chunk", "1"]);
    assert_eq!(again.text(3), "");
    says(&again, "sent again: chunk 1\n");
    says(&again, "1 chunk put back: 0 counted, 1 lost again (chunk 1: ");
    says(&again, "result version 2\n");
    assert_eq!(listed(&namespace, &["--chunk", "1"]).len(), 2, "every failure is kept");
    blind.kill();

    // All of them are, and nobody is there for a while.
    let mut retry = namespace.producer(&["dead", "retry", "@"]);
    retry.says("waiting for a worker");
    let status = namespace.ask(&["status"]).text(0);
    assert!(status.contains("chunks are being sent again") && status.contains("sent again  chunks 0, 1"), "{status}");
    assert!(listed(&namespace, &[]).iter().all(|letter| letter["state"] == "sent again"));
    namespace.ask(&["dead", "drop", "@", "--all"]).refused(1, &["chunk 0 is being sent again"]);
    let detached = namespace.ask(&["dead", "retry", "@", "--detach"]);
    assert_eq!(detached.text(0), "");
    says(&detached, "being sent again already: chunks 0, 1");

    let _worker = namespace.worker(&[]);
    let whole = retry.ended();
    assert_eq!(whole.text(0), "");
    says(&whole, &format!("{chunks} chunks put back: {chunks} counted; result version 3\n"));
    assert_eq!(namespace.ask(&["results"]).text(0), expected);
    assert_eq!(namespace.ask(&["run", "in.txt"]).text(0), expected);
    let status = namespace.ask(&["status"]).text(0);
    assert!(status.contains("version 3, amended") && status.contains("losses      0\n"), "{status}");
    assert!(listed(&namespace, &[]).iter().all(|letter| letter["state"] == "counted" && letter["lost"] == false));

    // Once only.
    let nothing = namespace.ask(&["dead", "retry", "@"]);
    assert_eq!(nothing.text(0), "");
    says(&nothing, "nothing of what was asked for is lost");
    assert!(namespace.ask(&["status"]).text(0).contains("version 3, amended"));
    let dropped = namespace.ask(&["dead", "drop", "@", "--all"]);
    says(&dropped, &format!("{} dead letters are dropped", chunks + 1));
    assert_eq!(listed(&namespace, &[]), Vec::<Value>::new());
    assert_eq!(namespace.ask(&["results"]).text(0), expected);
    fault("lost chunks are sent again", &format!("{chunks} chunks counted once each, the result amended"));
}

#[test]
fn a_retry_goes_on_without_who_asked_and_without_the_aggregator_that_was_asked() {
    let namespace = Namespace::default();
    let aggregator = namespace.aggregator();
    let (expected, _) = lose_everything(&namespace);
    let mut asked = namespace.producer(&["dead", "retry", "@"]);
    asked.says("sent again: chunks 0, 1");
    asked.kill();
    aggregator.kill();
    let mut asked = namespace.producer(&["dead", "retry", "@"]);
    let (_aggregator, _worker) = (namespace.aggregator(), namespace.worker(&[]));
    asked.says("job ");
    assert_eq!(asked.ended().text(0), "");
    let status = until("the amended result", || {
        let status = namespace.ask(&["status"]).text(0);
        status.contains("amended").then_some(status)
    });
    assert!(status.contains("state       done\n") && status.contains("version 2, amended"), "{status}");
    assert_eq!(namespace.ask(&["results"]).text(0), expected);
    fault("who asked for a retry is killed, and the aggregator", "the result is amended once");
}

#[test]
fn a_lost_chunk_whose_letter_is_dropped_is_read_from_its_source_again() {
    let namespace = Namespace::default();
    let _aggregator = namespace.aggregator();
    let (expected, chunks) = lose_everything(&namespace);
    let letters = listed(&namespace, &["--chunk", "0"]);
    let name = letters[0]["short"].as_str().unwrap();
    let dropped = namespace.ask(&["dead", "drop", "@", name]);
    assert_eq!(dropped.text(0), "");
    says(&dropped, "1 dead letter is dropped; what of job ");
    assert_eq!(listed(&namespace, &[]).len(), chunks - 1);
    namespace.ask(&["dead", "drop", "@", name]).refused(1, &["no dead letter", name, "producer dead ls"]);
    let (file, away) = (namespace.room.path("in.txt"), namespace.room.path("away"));
    std::fs::rename(&file, &away).unwrap();
    let refused = namespace.ask(&["dead", "retry", "@", "--chunk", "0"]);
    refused.refused(
        1,
        &[
            "no letter holds chunk 0, nor can the input be read again: ",
            "in.txt",
            "chunk 0: the task of chunk 0 is not kept",
            "push its input again",
            "nothing is sent again",
        ],
    );
    assert_eq!(namespace.ask(&["results"]).text(3), "", "it stays lost");

    std::fs::rename(&away, &file).unwrap();
    let _worker = namespace.worker(&[]);
    let again = namespace.ask(&["dead", "retry", "@"]);
    assert_eq!(again.text(0), "");
    says(&again, "no letter holds chunk 0; the input is read again for that\n");
    says(&again, &format!("{chunks} chunks put back: {chunks} counted; result version 2\n"));
    assert_eq!(namespace.ask(&["results"]).text(0), expected);
    fault("the letter of a lost chunk is dropped", "its task is read from its source again, and counted once");
}

#[test]
fn a_chunk_of_which_only_a_spoiled_partial_is_kept_is_read_from_its_source_again() {
    let namespace = Namespace::default();
    let aggregator = namespace.aggregator();
    let expected = namespace.input(2000);
    let job = namespace.ask(&["push", "--detach", "--chunk-size", "32KiB", "--partitions", "2", "in.txt"]).text(0);
    aggregator.signal("TERM");
    assert_eq!(aggregator.ended().code, Some(0));
    assert_eq!(namespace.worker(&["--exit-when-idle"]).ended().code, Some(0));
    let chunk = spoil_a_partial(&namespace);
    let (_aggregator, _worker) = (namespace.aggregator(), namespace.worker(&[]));
    // Nobody may send it again before it is known to be lost.
    until("the chunk is lost", || (namespace.ask(&["results", job.trim()]).code == Some(3)).then_some(()));
    let letters = listed(&namespace, &[]);
    assert_eq!((letters.len(), &letters[0]["kind"], &letters[0]["chunk"]), (1, &"partial".into(), &chunk.into()));
    let again = namespace.ask(&["dead", "retry", "@"]);
    assert_eq!(again.text(0), "");
    says(&again, &format!("no letter holds chunk {chunk}; the input is read again for that\n"));
    says(&again, "1 chunk put back: 1 counted; result version 2\n");
    assert_eq!(namespace.ask(&["results"]).text(0), expected);
    fault("only a spoiled partial of a lost chunk is kept", "its task is read from its source again, and counted once");
}

#[test]
fn a_chunk_that_no_letter_can_hold_is_refused_with_the_remedy() {
    let namespace = Namespace::default();
    let aggregator = namespace.aggregator();
    // Chunks of 8 MiB to the byte, of a thousand files each: with their names, none fits into a letter.
    let text = "letters ".repeat(1 << 10);
    for number in 0..2048 {
        namespace.room.write(&format!("in/{number:0100}"), &text);
    }
    let job = namespace.ask(&["push", "--detach", "--chunk-size", "8MiB", "--partitions", "2", "in"]).text(0);
    aggregator.signal("TERM");
    assert_eq!(aggregator.ended().code, Some(0));
    assert_eq!(namespace.worker(&["--exit-when-idle"]).ended().code, Some(0));
    let chunk = spoil_a_partial(&namespace);
    let (_aggregator, _worker) = (namespace.aggregator(), namespace.worker(&[]));
    until("the chunk is lost", || (namespace.ask(&["results", job.trim()]).code == Some(3)).then_some(()));
    let what = format!("chunk {chunk} with the names of its pieces is more than a dead letter holds");
    let refused = namespace.ask(&["dead", "retry", "@"]);
    refused.refused(5, &[&what, "push its input again", "in smaller chunks"]);
    assert_eq!(listed(&namespace, &[]).len(), 1, "nothing was sent");
    let status = namespace.ask(&["status", "@"]).text(0);
    assert!(status.contains("version 1") && !status.contains("amended"), "{status}");
}

#[test]
fn nothing_is_read_again_for_a_job_that_failed() {
    let namespace = Namespace::default();
    let _aggregator = namespace.aggregator();
    let _counted = namespace.input(200);
    let blind = blind_worker(&namespace);
    let failed = namespace.ask(&["push", "--by", "reference", "--max-losses", "0", "in.txt"]);
    assert_eq!(failed.code, Some(1), "{}", failed.stderr);
    blind.kill();
    assert_eq!(namespace.ask(&["dead", "drop", "@", "--all"]).code, Some(0));
    let refused = namespace.ask(&["dead", "retry", "@", "--chunk", "0"]);
    refused.refused(1, &["which nothing can amend", "push its input again"]);
    assert!(!refused.stderr.contains("is read again"), "{}", refused.stderr);
    assert_eq!(listed(&namespace, &[]).len(), 0, "nothing was sent to the letters");
}

/// Has nonsense stand for the pairs of a partial that waits; its chunk.
fn spoil_a_partial(namespace: &Namespace) -> u32 {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let broker = connect(&rabbit(), &namespace.name).await;
        let mut partials = broker.consume("reduce.1", 1).await.expect("the queue exists");
        let delivery = within("a partial", partials.next()).await.expect("the channel lives");
        let (partial, _) = message::decode::<Partial>(&delivery.body).expect("it is a partial");
        let spoiled = message::encode(&partial, b"\xff\xff\xff");
        assert_eq!(publish(&broker, &Route::Queue("reduce.1".to_owned()), spoiled).await, Published::Confirmed);
        assert!(delivery.receipt.ack().await);
        partial.chunk.0
    })
}

/// Plays a worker that gives up the first task it gets, for good; its chunk.
fn give_up_a_task(namespace: &Namespace) -> u32 {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let broker = connect(&rabbit(), &namespace.name).await;
        let mut tasks = broker.consume(queue::MAP, 1).await.expect("the queue exists");
        let delivery = within("a task", tasks.next()).await.expect("the channel lives");
        let (Task { job, chunk, .. }, _) = message::decode::<Task>(&delivery.body).expect("it is a task");
        let (reason, worker) = ("it is cursed".to_owned(), "a stranger".to_owned());
        let (record, version) = (None, 1);
        let failure =
            Failure { job, chunk, reason, attempts: 1, retry: 0, record, retried: None, worker, version, time_ms: 1 };
        let letter = message::encode(&failure, &delivery.body);
        assert_eq!(publish(&broker, &Route::Queue(queue::DEAD.to_owned()), letter).await, Published::Confirmed);
        assert!(delivery.receipt.ack().await);
        chunk.0
    })
}

#[test]
fn a_chunk_of_a_job_that_runs_is_exported_as_it_was_and_sent_again() {
    let namespace = Namespace::default();
    let _aggregator = namespace.aggregator();
    let expected = namespace.input(2000);
    let input = std::fs::read(namespace.room.path("in.txt")).unwrap();
    let args = ["push", "--detach", "--chunk-size", "32KiB", "--partitions", "2", "in.txt"];
    assert!(!namespace.ask(&args).text(0).is_empty());
    let chunk = give_up_a_task(&namespace);
    let letter = until("the letter", || listed(&namespace, &[]).pop());
    assert_eq!((&letter["chunk"], &letter["reason"]), (&chunk.into(), &"it is cursed".into()));
    let offset = usize::try_from(letter["offset"].as_u64().unwrap()).unwrap();

    assert_eq!(namespace.ask(&["dead", "export", "@", "-o", "lost"]).text(0), "");
    let piece = std::fs::read(namespace.room.path(&format!("lost/chunks/{chunk}/in.txt-{offset}"))).unwrap();
    assert!(piece.len() > 16 << 10 && piece == input[offset..offset + piece.len()], "{} bytes", piece.len());
    let shown = namespace.ask(&["dead", "show", letter["short"].as_str().unwrap()]).text(0);
    assert!(shown.contains("by a stranger: it is cursed") && shown.contains("--full shows all"), "{shown}");
    let full = namespace.ask(&["dead", "show", "--full", letter["short"].as_str().unwrap()]).text(0);
    assert_eq!(
        full.matches("          | ").count(),
        piece.split(|byte| *byte == b'\n').filter(|l| !l.is_empty()).count()
    );

    let mut retry = namespace.producer(&["dead", "retry", "@", "--chunk", &chunk.to_string()]);
    retry.says("waiting for a worker");
    let _worker = namespace.worker(&[]);
    let whole = retry.ended();
    assert_eq!(whole.text(0), "");
    says(&whole, "1 chunk put back: 1 counted; ");
    until("the end of the job", || namespace.ask(&["status"]).text(0).contains("state       done\n").then_some(()));
    assert_eq!(namespace.ask(&["results"]).text(0), expected);
    assert!(namespace.ask(&["status"]).text(0).contains("result      version 1, of "), "it had none to be amended");
    fault("a chunk of a running job is given up", "exported byte for byte, sent again, counted once");
}

#[test]
fn a_refused_record_comes_back_byte_for_byte() {
    let namespace = Namespace::default();
    let bad = b"12\x1b[2J\xff";
    namespace.room.write("logs/n.txt", [b"1 2 ", &bad[..], b" 3\n"].concat());
    namespace.room.write("m.txt", b"4 five 6\n");
    let (_aggregator, _worker) = (namespace.aggregator(), namespace.worker(&[]));
    let args = ["push", "--job", "sum", "--partitions", "1", "--chunk-size", "64", "logs/n.txt", "m.txt"];
    let pushed = namespace.ask(&args);
    assert!(pushed.text(3).contains("sum\t16\n"), "{}", pushed.stderr);
    // The letter travels by itself.
    let table = until("the letter", || {
        let table = namespace.ask(&["dead", "ls", "@"]).text(0);
        (table.lines().count() > 1).then_some(table)
    });
    assert!(table.contains("logs/n.txt, byte 4") && !table.contains('\x1b'), "{table}");

    let shown = namespace.ask(&["dead", "show", "--source", "n.txt"]).text(0);
    assert!(shown.contains("| 12\\u{1b}[2J\\xff\n") && !shown.contains("five"), "{shown}");
    let shown = namespace.ask(&["dead", "show", "--reason", "`five`"]).text(0);
    assert!(shown.contains("m.txt, byte 2, 4 bytes: `five` is no number\n          | five\n"), "{shown}");
    let nothing = namespace.ask(&["dead", "show", "--reason", "panicked"]);
    assert_eq!((nothing.text(0), nothing.stderr.as_str()), (String::new(), "there is no such dead letter\n"));

    let exported = namespace.ask(&["dead", "export", "-o", "lost"]);
    assert_eq!(exported.text(0), "");
    let read = |name: &str| std::fs::read(namespace.room.path("lost").join(name)).unwrap();
    assert_eq!(read("records/logs_n.txt-4"), bad);
    assert_eq!(read("records/m.txt-2"), b"five");
    let index = String::from_utf8(read("index.ndjson")).unwrap();
    let letters: Vec<Value> = index.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let records: Vec<&Value> = letters.iter().flat_map(|letter| letter["records"].as_array().unwrap()).collect();
    assert_eq!(records.len(), 2);
    assert_eq!((&records[0]["name"], &records[0]["exported"]), (&"logs/n.txt".into(), &"records/logs_n.txt-4".into()));
    namespace.ask(&["dead", "export", "-o", "lost"]).refused(5, &["lost is not empty", "name a new folder"]);
    assert_eq!(namespace.room.names("lost/records").len(), 2);

    let again = namespace.ask(&["dead", "retry", "@"]);
    assert_eq!(again.text(3), "");
    says(&again, "2 records put back: 0 counted, 2 lost again (logs/n.txt, byte 4: ");
    says(&again, "as a job of its own");
    assert!(namespace.ask(&["status"]).text(0).contains("result      version 2, amended, of "));
    let some = namespace.ask(&["dead", "drop", "@", "--source", "m.txt"]);
    assert_eq!(some.text(0), "");
    fault("records that a program refuses", "listed, shown and exported byte for byte, harmless for a terminal");
}

#[test]
fn messages_that_belong_to_no_job_are_listed_exported_and_dropped() {
    let namespace = Namespace::default();
    let _aggregator = namespace.aggregator();
    assert_eq!(namespace.ask(&["dead", "ls", "--unknown"]).text(0).lines().count(), 1);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let broker = connect(&rabbit(), &namespace.name).await;
        let dead = Route::Queue(queue::DEAD.to_owned());
        assert_eq!(publish(&broker, &dead, "what is \x1bthis?").await, Published::Confirmed);
    });
    let letters = until("the letter", || {
        let letters = listed(&namespace, &["--unknown"]);
        (!letters.is_empty()).then_some(letters)
    });
    let name = letters[0]["short"].as_str().unwrap();
    assert_eq!((letters.len(), &letters[0]["kind"]), (1, &"unknown".into()));
    let shown = namespace.ask(&["dead", "show", "--unknown", name]).text(0);
    assert!(shown.contains("| what is \\u{1b}this?\n"), "{shown}");
    assert_eq!(namespace.ask(&["dead", "export", "--unknown", "-o", "aside"]).text(0), "");
    let file = std::path::Path::new("aside/unknown").join(letters[0]["name"].as_str().unwrap());
    assert_eq!(std::fs::read(namespace.room.path(file.to_str().unwrap())).unwrap(), b"what is \x1bthis?");
    says(&namespace.ask(&["dead", "drop", "--unknown", name]), "1 dead letter is dropped\n");
    assert_eq!(listed(&namespace, &["--unknown"]).len(), 0);
}

#[test]
fn letters_that_are_not_there_are_told_of() {
    let namespace = Namespace::default();
    namespace.room.write("full/mine", "mine");
    namespace.room.write("n.txt", "1 2 3\n");
    // Before anybody is asked.
    namespace.ask(&["dead", "export", "-o", "full"]).refused(5, &["full is not empty"]);
    namespace.ask(&["dead", "ls"]).refused(2, &["no job was made on this machine"]);
    let unknown = "01890000-0000-7000-8000-000000000000";
    let questions: [&[&str]; 4] = [
        &["dead", "ls", unknown],
        &["dead", "export", unknown, "-o", "new"],
        &["dead", "retry", unknown],
        &["dead", "drop", unknown, "--all"],
    ];
    for question in questions.map(|question| namespace.producer(question)) {
        question.ended().refused(4, &["no aggregator answers", "`aggregator`"]);
    }
    let (_aggregator, _worker) = (namespace.aggregator(), namespace.worker(&[]));
    for question in questions {
        namespace.ask(question).refused(1, &["no such job", "producer jobs"]);
    }
    assert!(!namespace.room.path("new").exists());
    assert!(namespace.ask(&["push", "--job", "sum", "n.txt"]).text(0).contains("sum\t6\n"));
    namespace.ask(&["dead", "show", "17-3fa9"]).refused(1, &["no dead letter `17-3fa9`"]);
    assert_eq!(namespace.ask(&["dead", "ls"]).text(0).lines().count(), 1);
    assert_eq!(namespace.ask(&["dead", "ls", "--format", "json"]).text(0).trim(), "[]");
    namespace.ask(&["dead", "export", "-o", "no/such"]).refused(5, &["cannot write no/such", "No such file"]);
}
