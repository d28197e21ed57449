//! The bytes on the wire and in the store, written out: what an older or newer release reads must stay what it is.
//!
//! A difference here is a change of the protocol. It needs a new version, with a test for old and new, unless it only adds a field
//! that older releases pass over.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use bytes::Bytes;
use proptest::prelude::*;
use rabbit_reduce_core::id::{ChunkNumber, JobId, PartitionNumber, SourceNumber};
use rabbit_reduce_core::jobs::Options;
use rabbit_reduce_core::ledger::append::Record;
use rabbit_reduce_core::ledger::{Commit, CommitChunk, Entry, Finish};
use rabbit_reduce_core::message::{self, Kind, MessageError};
use rabbit_reduce_core::message::{
    About, Answer, Ask, Attempt, Failure, Home, News, Partial, Refused, RefusedRecord, Reply, Request, SeenWorker,
    Status, Task, TaskPiece, Top,
};
use rabbit_reduce_core::pairs::{PairReader, PairSource, PairWriter};
use rabbit_reduce_core::partition;
use rabbit_reduce_core::run::{RunReader, RunSize, RunWriter};
use rabbit_reduce_core::selection::{Column, Form, RecordOptions};
use rabbit_reduce_core::skip::Skip;
use rabbit_reduce_core::skip::SkipList;
use rabbit_reduce_core::spec::{By, ByteText, FileStamp, ProgramSpec, SourceList, Spec};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::PathBuf;
use uuid::Uuid;

/// The bytes of a golden file. `GOLDEN=write` makes the files anew, for whoever changes the protocol on purpose.
fn golden(name: &str, bytes: &[u8]) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("GOLDEN").is_some_and(|what| what == "write") {
        std::fs::write(&path, bytes).unwrap();
    }
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

fn check_message<K: Kind + PartialEq + Debug>(name: &str, header: &K, body: &[u8]) {
    let bytes = message::encode(header, body);
    let golden = Bytes::from(golden(name, &bytes));
    assert_eq!(shown(&bytes), shown(&golden), "{name}");
    assert_eq!(message::kind(&golden), Ok(K::NUMBER));
    let (read, read_body) = message::decode::<K>(&golden).unwrap();
    assert_eq!((&read, &read_body[..]), (header, body), "{name}");
}

/// A task that was packed is read, whatever the packing library makes of it today.
fn check_packed(name: &str, task: &Task, body: &[u8]) {
    let packed = message::pack(message::encode(task, body));
    let golden = Bytes::from(golden(name, &packed));
    for bytes in [&packed, &golden] {
        assert!(bytes.len() < message::encode(task, body).len() && bytes[2] == 3);
        let (read, read_body) = message::decode::<Task>(bytes).unwrap();
        assert_eq!((&read, &read_body[..]), (task, body), "{name}");
    }
}

fn check_json<T: Serialize + DeserializeOwned + PartialEq + Debug>(name: &str, value: &T) {
    let bytes = serde_json::to_vec(value).unwrap();
    let golden = golden(name, &bytes);
    assert_eq!(shown(&bytes), shown(&golden), "{name}");
    assert_eq!(&serde_json::from_slice::<T>(&golden).unwrap(), value, "{name}");
}

fn job() -> JobId {
    JobId(Uuid::from_u128(0x0192_0c2e_7b5a_7def_8123_4567_89ab_cdef))
}

fn file(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn program() -> ProgramSpec {
    let options: Options = serde_json::from_str(r#"{"tokens":"words","lowercase":true}"#).unwrap();
    ProgramSpec { name: "word-count".into(), version: 1, options }
}

fn stamp() -> FileStamp {
    FileStamp { path: ByteText(b"/in/b\xff.txt".to_vec()), size: 900, modified_ns: 1_700_000_000_123_456_789 }
}

fn piece() -> TaskPiece {
    let (source, name) = (SourceNumber(2), ByteText(b"a.txt".to_vec()));
    TaskPiece { source, name, offset: 64, length: 5, continues: false, ends: true, file: None, column: None }
}

fn task() -> Task {
    Task {
        job: job(),
        chunk: ChunkNumber(7),
        attempt: 1,
        crashes: 0,
        died_at: None,
        record: None,
        strikes: 0,
        retry: 0,
        rounds: 0,
        program: program(),
        partitions: 8,
        reduce_queues: 8,
        segment_bytes: 1 << 20,
        output_bytes: 1 << 30,
        store: "store-1".into(),
        pieces: vec![piece()],
        too_long: vec![],
        skips: vec![],
        history: Vec::new(),
    }
}

fn skip() -> Skip {
    Skip { source: SourceNumber(1), offset: 12, reason: "`x` is no number".into() }
}

fn skips() -> SkipList {
    SkipList { listed: vec![skip()], more: 3 }
}

fn home() -> Home {
    Home { pairs: 40, counters: BTreeMap::from([("bytes".into(), 4096), ("records".into(), 12)]), release: None }
}

fn partial() -> Partial {
    Partial {
        job: job(),
        chunk: ChunkNumber(7),
        attempt: 2,
        partition: PartitionNumber(7),
        partitions: 8,
        segment: 0,
        last: true,
        store: "store-1".into(),
        digest: u64::MAX - 1,
        worker: "host-1".into(),
        pairs: 5,
        strikes: 0,
        agreed: 0,
        record: None,
        skips: Some(skips()),
        home: Some(home()),
    }
}

fn pairs() -> [(&'static [u8], &'static [u8]); 4] {
    [(b"", b"\x01"), (b"the", b"\xac\x02"), (b"them", b""), (b"\xff\xfe", b"\x07")]
}

fn segment() -> Vec<u8> {
    let (mut bytes, mut writer) = (Vec::new(), PairWriter::default());
    pairs().iter().for_each(|(key, value)| writer.put(&mut bytes, key, value));
    bytes
}

fn run() -> (Vec<u8>, RunSize) {
    let mut writer = RunWriter::new(Vec::new()).unwrap();
    pairs().iter().for_each(|(key, value)| writer.put(key, value).unwrap());
    writer.finish().unwrap()
}

fn spec() -> Spec {
    Spec {
        job: job(),
        program: program(),
        by: By::Reference,
        chunk_bytes: 4 << 20,
        segment_bytes: 1 << 20,
        output_bytes: 1 << 30,
        partitions: 8,
        max_losses: 100,
        sources: SourceList { count: 3, pages: 1, digest: 99, bytes: None },
        created_ms: 1_700_000_000_000,
        owner: Some("ada".into()),
        after: None,
        then: None,
    }
}

#[test]
fn a_task_by_value_has_these_bytes() {
    check_message("task-by-value.bin", &task(), b"to be");
}

#[test]
fn a_packed_task_is_read_as_it_was() {
    check_packed("task-packed.bin", &task(), &b"to be or not to be, ".repeat(20));
    let record = Task { record: Some(skip().place()), ..task() };
    let body = b"to be ".repeat(50);
    let packed = message::pack(message::encode(&record, &body));
    assert_eq!(message::decode::<Task>(&packed).unwrap(), (record, body.into()));
    let short = message::encode(&task(), b"to be");
    assert_eq!(message::pack(short.clone()), short, "packing saves nothing");
}

#[test]
fn a_packed_body_that_lies_about_its_length_is_refused() {
    let body = b"to be or not to be, ".repeat(20);
    let packed = message::pack(message::encode(&task(), &body));
    let (_, kept) = packed.split_at(20 + u32::from_le_bytes(packed[4..8].try_into().unwrap()) as usize);
    let header = serde_json::to_string(&task()).unwrap();
    let claimed = |length: u32| [&length.to_le_bytes(), &kept[4..]].concat();
    let decoded =
        |body: &[u8]| message::decode::<Task>(&forged_in(3, Task::NUMBER, &header, body)).map(|(_, body)| body.len());
    let length = u32::try_from(body.len()).unwrap();
    assert_eq!(decoded(&claimed(length)), Ok(body.len()));
    for lie in [0, 1, length - 1, length + 1, 9 << 20, u32::MAX] {
        assert_eq!(decoded(&claimed(lie)), Err(MessageError::Length), "{lie}");
    }
    assert_eq!(decoded(b""), Err(MessageError::Length));
    assert_eq!(decoded(&kept[..kept.len() - 1]), Err(MessageError::Length));
    let partial = forged_in(3, Partial::NUMBER, &serde_json::to_string(&partial()).unwrap(), kept);
    assert_eq!(message::decode::<Partial>(&partial).unwrap_err(), MessageError::Length);
}

#[test]
fn a_task_by_reference_with_all_its_fields_has_these_bytes() {
    let referred = TaskPiece { continues: true, ends: false, file: Some(stamp()), ..piece() };
    let (too_long, skips) = (vec![skip()], vec![skip()]);
    let task = Task { attempt: 3, crashes: 1, rounds: 2, pieces: vec![referred], too_long, skips, ..task() };
    check_message("task-by-reference.bin", &task, b"");
}

#[test]
fn a_partial_with_skips_and_home_has_these_bytes() {
    check_message("partial.bin", &partial(), &segment());
}

#[test]
fn a_partial_without_what_was_agreed_has_these_bytes() {
    check_message("partial-agreed.bin", &Partial { agreed: 2, ..partial() }, &segment());
}

#[test]
fn a_failure_has_these_bytes() {
    let failure = Failure {
        job: job(),
        chunk: ChunkNumber(7),
        reason: "mapping panicked: out of luck".into(),
        attempts: 5,
        worker: "host-1".into(),
        version: 1,
        retry: 0,
        record: None,
        retried: None,
        time_ms: 1_700_000_000_001,
    };
    check_message("failure.bin", &failure, b"the task's message");
    let failure = Failure { retry: 2, record: Some(skip().place()), ..failure };
    check_message("failure-of-a-retry.bin", &failure, b"the task's message");
}

/// Releases that read version 1 only would take these for messages about the whole chunk.
#[test]
fn messages_about_a_single_record_have_these_bytes_and_the_next_version() {
    let record = Some(skip().place());
    let piece = TaskPiece { source: SourceNumber(1), offset: 12, ends: false, ..piece() };
    let task = Task { record, retry: 1, pieces: vec![piece], ..task() };
    task.check().unwrap();
    check_message("task-of-a-record.bin", &task, b"to be");
    let home = Home { counters: BTreeMap::new(), ..home() };
    let partial = Partial { record, skips: None, home: Some(home), ..partial() };
    partial.check().unwrap();
    check_message("partial-of-a-record.bin", &partial, &segment());
    let failure = Failure {
        job: job(),
        chunk: ChunkNumber(7),
        reason: "`x` is no number".into(),
        attempts: 1,
        retry: 1,
        record: None,
        retried: record,
        worker: "host-1".into(),
        version: 1,
        time_ms: 1_700_000_000_001,
    };
    check_message("failure-of-a-record.bin", &failure, b"the task's message");
    let messages = [message::encode(&task, b""), message::encode(&partial, b""), message::encode(&failure, b"")];
    assert!(messages.iter().all(|message| message[2] == 2));
    assert_eq!(message::encode(&Partial { record: None, ..partial.clone() }, b"")[2], 1);
    // Nor may one pass for a message of version 1.
    let header = serde_json::to_vec(&partial).unwrap();
    let mut forged = message::encode(&partial, b"").to_vec();
    forged[2] = 1;
    let checksum = message::checksum(&forged[..12], &header, b"");
    forged[12..20].copy_from_slice(&checksum.to_le_bytes());
    let refused = message::decode::<Partial>(&forged.into());
    assert!(matches!(refused, Err(MessageError::Header(_))), "{refused:?}");
}

#[test]
fn a_task_that_failed_before_has_these_bytes() {
    let attempt = Attempt { worker: "host-1".into(), reason: "no room".into(), time_ms: 1_700_000_000_001 };
    let task =
        Task { attempt: 2, died_at: Some(skip().place()), strikes: 1, retry: 2, history: vec![attempt], ..task() };
    check_message("task-that-failed.bin", &task, b"to be");
}

#[test]
fn refused_records_have_these_bytes() {
    let kept = RefusedRecord { skip: skip(), length: 3, kept: true, column: None };
    let refused = Refused {
        job: job(),
        chunk: ChunkNumber(7),
        records: vec![kept.clone(), RefusedRecord { kept: false, ..kept }],
    };
    check_message("refused.bin", &refused, b"abc");
}

#[test]
fn messages_about_a_column_of_csv_have_these_bytes() {
    let column = Some(Column { at: 1, of: 3 });
    let records = RecordOptions { form: Form::Csv, field: Some("city".into()), ..RecordOptions::default() };
    let options = Options { records: Some(Box::new(records)), ..Options::default() };
    let program = ProgramSpec { options, ..program() };
    let task = Task { program, pieces: vec![TaskPiece { column, ..piece() }], ..task() };
    check_message("task-of-a-column.bin", &task, b"to be");
    let records = vec![RefusedRecord { skip: skip(), length: 3, kept: true, column }];
    check_message("refused-of-a-column.bin", &Refused { job: job(), chunk: ChunkNumber(7), records }, b"a,b");
    let home = Some(Home { release: Some("0.1.0".into()), ..home() });
    check_message("partial-of-a-release.bin", &Partial { home, ..partial() }, b"");
}

#[test]
fn questions_about_what_is_there_have_these_bytes() {
    let request = |ask| Request { id: file(5), reply_to: "replies.1".into(), expires_ms: 1_700_000_010_000, ask };
    let reply = |answer| Reply { id: file(5), answer };
    check_message("request-about.bin", &request(Ask::About), b"");
    let about = About { release: "0.1.0".into(), time_ms: 1_700_000_000_000 };
    check_message("reply-about.bin", &reply(Answer::About(about)), b"");
    check_message("request-workers.bin", &request(Ask::Workers), b"");
    let worker = SeenWorker {
        name: "host-1".into(),
        chunks: 3,
        bytes: 4096,
        bytes_per_second: 512,
        silent_ms: 1500,
        release: Some("0.1.0".into()),
    };
    check_message("reply-workers.bin", &reply(Answer::Workers(vec![worker])), b"");
    check_message("request-top.bin", &request(Ask::Top { job: job(), limit: 20 }), b"");
    let rows = vec![(ByteText(b"the".to_vec()), 7), (ByteText(b"\xff".to_vec()), 1)];
    let top = Top { rows, counted: 2, chunks: Some(5), whole: false };
    check_message("reply-top.bin", &reply(Answer::Top(top)), b"");
    check_message("request-jobs-before.bin", &request(Ask::JobsBefore { before: Some(job()), limit: 100 }), b"");
}

#[test]
fn a_request_and_a_reply_have_these_bytes() {
    let ask = Ask::Submit { spec: Box::new(spec()) };
    let request = Request { id: file(5), reply_to: "replies.1".into(), expires_ms: 1_700_000_010_000, ask };
    check_message("request-submit.bin", &request, b"");
    let status = Status {
        job: job(),
        program: "word-count".into(),
        created_ms: 1_700_000_000_000,
        input_bytes: Some(1 << 33),
        chunks: Some(12),
        covered: 11,
        covered_bytes: 1 << 32,
        finished: 0,
        partitions: 8,
        lacking: vec![(3, vec![0, 7])],
        retrying: vec![],
        retrying_records: Vec::new(),
        alarms: vec![],
        after: None,
        then: None,
        late: 0,
        losses: Default::default(),
        end: None,
    };
    check_message("reply-status.bin", &Reply { id: file(5), answer: Answer::Status(Box::new(status)) }, b"");
}

#[test]
fn news_has_these_bytes() {
    check_message("news.bin", &News::Finished(job(), PartitionNumber(3)), b"");
}

#[test]
fn a_segment_has_these_bytes() {
    let expected = b"\0\0\x01\x01\0\x03the\x02\xac\x02\x03\x01m\0\0\x02\xff\xfe\x01\x07";
    assert_eq!(shown(&segment()), shown(expected));
    let mut reader = PairReader::new(&expected[..]);
    for pair in pairs() {
        assert_eq!(reader.next().unwrap(), Some(pair));
    }
    assert_eq!(reader.next().unwrap(), None);
}

#[test]
fn a_run_has_these_bytes() {
    let (bytes, size) = run();
    let golden = golden("run.bin", &bytes);
    assert_eq!(shown(&bytes), shown(&golden));
    assert_eq!(size, RunSize { pairs: 4, bytes: golden.len() as u64 });
    let mut reader = RunReader::new(&golden[..]);
    for pair in pairs() {
        assert_eq!(reader.next().unwrap(), Some(pair));
    }
    assert_eq!(reader.next().unwrap(), None);
}

#[test]
fn every_entry_of_the_ledger_has_this_json() {
    let (run, size) = (file(1), RunSize { pairs: 4, bytes: 60 });
    let units = vec![(0, false, 30), (1, true, 10)];
    let chunks = vec![
        CommitChunk {
            chunk: ChunkNumber(7),
            digest: 5,
            worker: 1,
            units,
            agreed: 0,
            record: None,
            skips: Some(skips()),
            home: Some(home()),
        },
        CommitChunk {
            chunk: ChunkNumber(9),
            digest: 6,
            worker: 0,
            units: vec![(0, true, 0)],
            agreed: 0,
            record: None,
            skips: None,
            home: None,
        },
    ];
    let home = Home { counters: BTreeMap::new(), ..home() };
    let of_record = vec![CommitChunk {
        record: Some(skip().place()),
        worker: 0,
        skips: None,
        home: Some(home),
        ..chunks[0].clone()
    }];
    let workers = vec!["host-2".into(), "host-1".into()];
    let entries = [
        ("commit", Entry::Commit(Commit { run, size, workers, chunks })),
        ("lose", Entry::Lose { chunk: ChunkNumber(3), record: None, reason: "it killed 3 workers".into(), retry: 0 }),
        (
            "lose-again",
            Entry::Lose { chunk: ChunkNumber(3), record: None, reason: "it killed 3 workers".into(), retry: 2 },
        ),
        (
            "lose-record",
            Entry::Lose { chunk: ChunkNumber(3), record: Some(skip().place()), reason: "no".into(), retry: 1 },
        ),
        ("retry-record", Entry::RetryRecord { chunk: ChunkNumber(3), record: skip().place(), retry: 1 }),
        ("commit-record", Entry::Commit(Commit { run, size, workers: vec!["host-1".into()], chunks: of_record })),
        ("skip", Entry::Skip { chunk: ChunkNumber(3), skip: skip() }),
        ("retry", Entry::Retry { chunk: ChunkNumber(3), retry: 2 }),
        ("rereduce", Entry::Rereduce { at: 17 }),
        ("replace", Entry::Replace { runs: vec![file(1), file(2)], run: file(3), size }),
        (
            "finish",
            Entry::Finish(Finish { part: file(4), size, at: 17, keys: Vec::new(), counters: Default::default() }),
        ),
        ("retire", Entry::Retire { files: vec![file(1), file(2)] }),
    ];
    for (name, entry) in entries {
        let record = Record { nonce: file(77), writer: "aggregator-1".into(), entry };
        check_json(&format!("entry-{name}.json"), &record);
    }
}

#[test]
fn a_spec_has_this_json() {
    check_json("spec.json", &spec());
}

#[test]
fn keys_live_where_they_always_did() {
    let long = b"the quick brown fox ".repeat(50);
    let expected: [(&[u8], u64, [u32; 3]); 4] = [
        (b"", 0x903b_ac82_c599_0c5f, [0, 7, 0]),
        (b"the", 0x11ca_2670_e32e_522d, [0, 5, 12]),
        (&long, 0xa8c5_6dec_c00b_2316, [0, 6, 3]),
        (b"\xff\x00\xc3", 0x538a_2c61_6015_a69a, [0, 2, 5]),
    ];
    for (key, hash, partitions) in expected {
        let found = partition::hash(key);
        assert_eq!((found, [1, 8, 13].map(|p| partition::of_hash(found, p).0)), (hash, partitions), "{}", shown(key));
    }
}

/// A message of one's own making, its checksum right.
fn forged(kind: u8, header: &str, body: &[u8]) -> Bytes {
    forged_in(2, kind, header, body)
}

/// The same in a version.
fn forged_in(version: u8, kind: u8, header: &str, body: &[u8]) -> Bytes {
    let mut bytes = vec![b'R', b'R', version, kind];
    bytes.extend_from_slice(&u32::try_from(header.len()).unwrap().to_le_bytes());
    bytes.extend_from_slice(&u32::try_from(body.len()).unwrap().to_le_bytes());
    let checksum = xxhash_rust::xxh3::xxh3_64(&[&bytes, header.as_bytes(), body].concat());
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(body);
    bytes.into()
}

#[test]
fn fields_of_a_later_release_are_passed_over() {
    let mut json = serde_json::to_value(partial()).unwrap();
    json["later"] = true.into();
    json["skips"]["later"] = 1.into();
    json["home"]["later"] = 2.into();
    let (read, body) = message::decode::<Partial>(&forged(2, &json.to_string(), b"body")).unwrap();
    assert_eq!((read, &body[..]), (partial(), &b"body"[..]));
    let mut json = serde_json::to_value(task()).unwrap();
    json["later"] = "x".into();
    json["pieces"][0]["later"] = "y".into();
    assert_eq!(message::decode::<Task>(&forged(1, &json.to_string(), b"")).unwrap().0, task());
}

#[test]
fn each_thing_that_is_wrong_with_a_message_has_its_error() {
    let good = message::encode(&task(), b"to be").to_vec();
    let error = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        message::decode::<Task>(&bytes.into()).unwrap_err()
    };
    assert_eq!(error(&|bytes| bytes[0] = b'X'), MessageError::Magic);
    assert_eq!(error(&|bytes| bytes.truncate(19)), MessageError::Magic);
    assert_eq!(error(&|bytes| bytes[2] = 9), MessageError::Version(9));
    assert_eq!(error(&|bytes| bytes[3] = 2), MessageError::Kind { found: 2, expected: 1 });
    assert_eq!(error(&|bytes| bytes.truncate(bytes.len() - 1)), MessageError::Length);
    assert_eq!(error(&|bytes| bytes.push(0)), MessageError::Length);
    assert_eq!(error(&|bytes| bytes[7] = 0xff), MessageError::Length);
    assert_eq!(error(&|bytes| bytes[11] = 0xff), MessageError::Length);
    assert_eq!(error(&|bytes| *bytes.last_mut().unwrap() ^= 1), MessageError::Checksum);
    assert_eq!(error(&|bytes| bytes[12] ^= 1), MessageError::Checksum);
    let unread = message::decode::<Task>(&forged(1, r#"{"job":1}"#, b"")).unwrap_err();
    assert!(matches!(unread, MessageError::Header(_)), "{unread}");
}

/// Reads bytes as every kind of thing. Nothing read may be larger than what was given.
fn read_all(bytes: &[u8]) {
    let message = Bytes::copy_from_slice(bytes);
    let bodies = [
        message::decode::<Task>(&message).map(|(_, body)| body.len()),
        message::decode::<Partial>(&message).map(|(_, body)| body.len()),
        message::decode::<Failure>(&message).map(|(_, body)| body.len()),
        message::decode::<Request>(&message).map(|(_, body)| body.len()),
        message::decode::<Reply>(&message).map(|(_, body)| body.len()),
        message::decode::<News>(&message).map(|(_, body)| body.len()),
    ];
    assert!(bodies.into_iter().flatten().all(|length| length < bytes.len()));
    let mut sources: [&mut dyn PairSource; 2] = [&mut PairReader::new(bytes), &mut RunReader::new(bytes)];
    for source in &mut sources {
        while let Ok(Some((key, value))) = source.next() {
            assert!(key.len().max(value.len()) <= bytes.len());
        }
    }
    drop(serde_json::from_slice::<Record>(bytes));
    drop(serde_json::from_slice::<Spec>(bytes));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        read_all(&bytes);
    }

    #[test]
    fn changed_bytes_are_read_or_refused(
        which in 0_usize..3, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = match which {
            0 => message::encode(&task(), b"to be").to_vec(),
            1 => message::encode(&partial(), &segment()).to_vec(),
            _ => run().0,
        };
        let whole = bytes.clone();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        read_all(&bytes);
        if bytes != whole {
            let message = Bytes::from(bytes);
            prop_assert!(message::decode::<Task>(&message).is_err());
            prop_assert!(message::decode::<Partial>(&message).is_err());
        }
    }

    #[test]
    fn any_header_with_a_right_checksum_is_read_or_refused(kind in 0_u8..9, header in "[\\[\\]{}\":,a-z0-9]{0,40}") {
        for version in [2, 3] {
            read_all(&forged_in(version, kind, &header, b"body"));
        }
    }
}
