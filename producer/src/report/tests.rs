//! What people and programs are told of a job, in every state.

use super::*;
use rabbit_reduce_core::id::{ChunkNumber, JobId};
use rabbit_reduce_core::message::Part;
use rabbit_reduce_runtime::standing::json::{jobs_json, status_json};
use std::collections::BTreeMap;
use uuid::Uuid;

/// A job of a hundred chunks, of which two are missing.
pub(crate) fn counting() -> Status {
    Status {
        job: JobId(Uuid::from_u128(7)),
        program: "word-count".to_owned(),
        created_ms: 1_000,
        input_bytes: Some(10 << 20),
        chunks: Some(100),
        covered: 98,
        covered_bytes: 9 << 20,
        finished: 0,
        partitions: 4,
        lacking: vec![(17, vec![3]), (90, vec![0, 1, 2, 3])],
        retrying: Vec::new(),
        retrying_records: Vec::new(),
        losses: Losses::default(),
        alarms: Vec::new(),
        after: None,
        then: None,
        late: 0,
        end: None,
    }
}

fn lost() -> Losses {
    let chunk = |chunk, partitions: &[u32], reason: &str| LostChunk {
        chunk: ChunkNumber(chunk),
        partitions: partitions.iter().map(|number| PartitionNumber(*number)).collect(),
        reason: reason.to_owned(),
    };
    let record =
        |source, offset, reason: &str| Skip { source: SourceNumber(source), offset, reason: reason.to_owned() };
    Losses {
        chunks: vec![chunk(3, &[1, 2], "worker w1 was killed three times"), chunk(4, &[0], "\x1b[2J")],
        records: vec![record(0, 12, "`x` is no number"), record(9, 0, "too long")],
        keys: vec![LostKey::new(b"k\0\0", b"k\x1b".to_vec(), "the reduce failed: no".to_owned())],
        count: 51,
    }
}

fn ended(outcome: Outcome) -> Status {
    let parts = vec![Part { name: "p".to_owned(), pairs: 5, bytes: 2048, at: 0 }; 4];
    let (losses, counters) = (lost(), BTreeMap::from([("records".to_owned(), 9)]));
    let end = End { version: 1, outcome, parts, losses, counters, pairs: 77, chunks: 98, time_ms: 63_000 };
    Status { lacking: vec![], finished: 4, end: Some(end), ..counting() }
}

#[test]
fn a_running_job_says_what_it_waits_for() {
    let text = status_text(&counting(), &[], &[], 61_000);
    let expected = "\
job         00000000-0000-0000-0000-000000000007
program     word-count
state       counting; waits for chunks 17 (partition 3), 90 (all partitions)
input       10.0 MiB
chunks      98 of 100 covered (98%), 9.0 MiB
partitions  0 of 4 finished
losses      0
time        made 1:00 ago
";
    assert_eq!(text, expected);
}

#[test]
fn every_state_has_its_words() {
    let words = |status: &Status| (state(status), waiting(status).unwrap_or_default());
    let publishing = Status { chunks: None, lacking: vec![], ..counting() };
    let (state, waits) = words(&publishing);
    assert_eq!(state, "publishing");
    assert!(waits.ends_with("producer resume 00000000-0000-0000-0000-000000000007"), "{waits}");
    let unnamed = Status { lacking: vec![], ..counting() };
    assert_eq!(words(&unnamed), ("counting", "2 chunks".to_owned()));
    let many = Status { covered: 0, lacking: (0..20).map(|chunk| (chunk, (0..3).collect())).collect(), ..counting() };
    assert!(words(&many).1.ends_with("9 (partitions 0, 1, 2) and 90 more"), "{:?}", words(&many));
    let finishing = Status { lacking: vec![], covered: 98, losses: lost(), finished: 3, ..counting() };
    assert_eq!(words(&finishing), ("finishing", "1 partition to be finished".to_owned()));
    let last = Status { finished: 4, ..finishing };
    assert_eq!(words(&last), ("finishing", "its end to be written".to_owned()));
    let outcomes = [Outcome::Done, Outcome::DoneWithLosses, Outcome::Failed("x".to_owned()), Outcome::Cancelled];
    assert_eq!(outcomes.map(|outcome| words(&ended(outcome)).0), ["done", "done with losses", "failed", "cancelled"]);
}

#[test]
fn losses_come_one_a_line_and_cannot_command_a_terminal() {
    let text = status_text(&ended(Outcome::DoneWithLosses), &[], &[b"a\nb".to_vec()], 123_000);
    let expected = "\
time        took 1:02, made 2:02 ago, ended 1:00 ago
result      version 1, of 77 mapped pairs in 4 parts of 8.0 KiB
counter     records 9
lost: chunk 3, partitions 1, 2: worker w1 was killed three times
lost: chunk 4, partition 0: \\u{1b}[2J
lost: a\\nb, byte 12: `x` is no number
lost: source 9, byte 0: too long
lost: key `k\\u{1b}`: the reduce failed: no
lost: 46 more
";
    assert!(text.ends_with(expected), "{text}");
    assert!(text.contains("\nlosses      51\n"), "{text}");
}

#[test]
fn an_amended_result_and_what_is_sent_again_are_said() {
    let mut status = ended(Outcome::DoneWithLosses);
    status.end.as_mut().unwrap().version = 2;
    status.retrying = vec![ChunkNumber(17)];
    let text = status_text(&status, &[], &[], 0);
    for expected in [
        "state       done with losses; a chunk is being sent again\n",
        "sent again  chunk 17\n",
        "version 2, amended, of 77",
    ] {
        assert!(text.contains(expected), "`{expected}` is not in {text}");
    }
    let value: serde_json::Value = serde_json::from_str(&status_json(&status, &[], &[])).unwrap();
    assert_eq!((&value["retrying"][0], &value["end"]["amended"]), (&17.into(), &true.into()));
    status.retrying = (0..12).map(ChunkNumber).collect();
    let text = status_text(&status, &[], &[], 0);
    assert!(text.contains("sent again  chunks 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more\n"), "{text}");
}

#[test]
fn a_failure_gives_its_reason() {
    let failed = ended(Outcome::Failed("more than 100\nlosses".to_owned()));
    assert!(status_text(&failed, &[], &[], 0).contains("failed: more than 100\\nlosses\n"));
    let end = failed.end.unwrap();
    assert_eq!(end_text(&end, 1_000), "failed: more than 100\\nlosses; 98 chunks, 51 losses in 1:02");
}

#[test]
fn jobs_stand_in_columns() {
    let stream = Status { chunks: None, input_bytes: None, program: "sum".to_owned(), ..counting() };
    let text = jobs_text(&[ended(Outcome::DoneWithLosses), stream], 2_000);
    let expected = "\
JOB                                   PROGRAM     STATE             CHUNKS  INPUT     LOSSES  AGE
00000000-0000-0000-0000-000000000007  word-count  done with losses  98/100  10.0 MiB  51      0:01
00000000-0000-0000-0000-000000000007  sum         publishing        98/?    ?         0       0:01
";
    assert_eq!(text, expected);
}

#[test]
fn json_says_the_same() {
    let value: serde_json::Value = serde_json::from_str(&status_json(&counting(), &[], &[])).unwrap();
    assert_eq!((&value["state"], &value["lacking"][1]["chunk"]), (&"counting".into(), &90.into()));
    assert!(value["end"].is_null() && value["waits_for"].as_str().unwrap().starts_with("chunks 17"));
    let text = status_json(&ended(Outcome::Failed("why".to_owned())), &[], &[b"\xff".to_vec()]);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&value["end"]["reason"], &value["end"]["took_ms"]), (&"why".into(), &62_000.into()));
    assert_eq!(value["losses"]["records"][0]["name"]["base64"], "/w==");
    assert!(value["losses"]["records"][1]["name"].is_null() && value["waits_for"].is_null());
    assert_eq!(serde_json::from_str::<serde_json::Value>(&jobs_json(&[counting()])).unwrap()[0]["partitions"], 4);
    assert_eq!(jobs_json(&[]), "[]\n");
}
