//! A dead letter opened: what its bytes say of a chunk, of records, of a partial. Pure.
//!
//! It knows no job's list of sources. What would surprise: whatever the bytes are, something comes of them; what cannot be read
//! is kept as it came.

use super::selection::Listed;
use bytes::Bytes;
use rabbit_reduce_core::message::{self, Attempt, Failure, Partial, Refused, Task, TaskPiece};
use rabbit_reduce_core::skip::Skip;

/// A letter and its contents.
#[derive(Clone, Debug)]
pub struct Opened {
    /// What the list says of it.
    pub listed: Listed,
    /// What is in it.
    pub contents: Contents,
}

/// What a letter holds.
#[derive(Clone, Debug)]
pub enum Contents {
    /// A chunk that failed.
    Chunk(Box<Chunk>),
    /// Records that were refused.
    Records(Vec<Record>),
    /// A partial.
    Partial(Box<Partial>, Bytes),
    /// Bytes, as they came.
    Unknown(Bytes),
}

/// A chunk that failed.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The last failure; none where the broker gave up on it.
    pub failure: Option<Failure>,
    /// What was to be done.
    pub task: Task,
    /// Its pieces, each with its bytes unless they are in a file.
    pub pieces: Vec<(TaskPiece, Option<Bytes>)>,
}

/// A record that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Which, and why.
    pub skip: Skip,
    /// How long it is, in bytes.
    pub length: u64,
    /// Its bytes, if they are kept.
    pub bytes: Option<Bytes>,
}

impl Contents {
    /// Reads a letter.
    #[must_use]
    pub fn of(letter: &Bytes) -> Self {
        if let Ok((failure, task)) = message::decode::<Failure>(letter)
            && let Ok((task, body)) = message::decode::<Task>(&task)
        {
            return Self::Chunk(Box::new(Chunk { failure: Some(failure), pieces: pieces(&task, body), task }));
        }
        if let Ok((task, body)) = message::decode::<Task>(letter) {
            return Self::Chunk(Box::new(Chunk { failure: None, pieces: pieces(&task, body), task }));
        }
        if let Ok((refused, body)) = message::decode::<Refused>(letter) {
            return Self::Records(records(refused, body));
        }
        if let Ok((partial, body)) = message::decode::<Partial>(letter) {
            return Self::Partial(Box::new(partial), body);
        }
        Self::Unknown(letter.clone())
    }
}

impl Chunk {
    /// Every attempt that is known of, the last one last.
    #[must_use]
    pub fn attempts(&self) -> Vec<Attempt> {
        let last = self.failure.as_ref().map(|failure| Attempt {
            worker: failure.worker.clone(),
            reason: failure.reason.clone(),
            time_ms: failure.time_ms,
        });
        self.task.history.iter().cloned().chain(last).collect()
    }
}

fn pieces(task: &Task, mut body: Bytes) -> Vec<(TaskPiece, Option<Bytes>)> {
    let bytes = |piece: &TaskPiece| if piece.file.is_none() { taken(&mut body, piece.length) } else { None };
    let bytes: Vec<_> = task.pieces.iter().map(bytes).collect();
    task.pieces.iter().cloned().zip(bytes).collect()
}

fn records(refused: Refused, mut body: Bytes) -> Vec<Record> {
    let record = |record: message::RefusedRecord| {
        let bytes = if record.kept { taken(&mut body, record.length) } else { None };
        Record { skip: record.skip, length: record.length, bytes }
    };
    refused.records.into_iter().map(record).collect()
}

/// So many bytes off the front, if there are as many.
fn taken(body: &mut Bytes, length: u64) -> Option<Bytes> {
    let length = usize::try_from(length).ok().filter(|length| *length <= body.len())?;
    Some(body.split_to(length))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use rabbit_reduce_core::id::{ChunkNumber, JobId, SourceNumber};
    use rabbit_reduce_core::jobs::Options;
    use rabbit_reduce_core::message::{Letter, LetterKind, RefusedRecord, encode};
    use rabbit_reduce_core::spec::{ByteText, FileStamp, ProgramSpec};
    use uuid::Uuid;

    fn piece(source: u32, name: &str, offset: u64, length: u64, file: Option<&str>) -> TaskPiece {
        let file = file.map(|path| FileStamp { path: ByteText(path.into()), size: 100, modified_ns: 0 });
        let (source, name) = (SourceNumber(source), ByteText(name.into()));
        TaskPiece { source, name, offset, length, continues: false, ends: true, file, column: None }
    }

    /// A chunk of two pieces by value and one by reference that failed twice.
    pub(crate) fn failed_chunk() -> Bytes {
        let job = JobId(Uuid::from_u128(7));
        let attempt = Attempt { worker: "w1".to_owned(), reason: "cannot open x".to_owned(), time_ms: 1_000 };
        let pieces = vec![
            piece(0, "logs/a.txt", 4, 3, None),
            piece(1, "logs/b.txt", 0, 2, None),
            piece(2, "c.txt", 0, 9, Some("/mnt/c.txt")),
        ];
        let program = ProgramSpec { name: "grep".to_owned(), version: 1, options: Options::default() };
        let task = Task {
            job,
            chunk: ChunkNumber(17),
            attempt: 2,
            crashes: 0,
            died_at: None,
            record: None,
            strikes: 0,
            retry: 1,
            rounds: 0,
            program,
            partitions: 4,
            reduce_queues: 8,
            segment_bytes: 1 << 20,
            output_bytes: 1 << 30,
            store: "s".to_owned(),
            pieces,
            too_long: Vec::new(),
            skips: Vec::new(),
            history: vec![attempt],
        };
        let failure = Failure {
            job,
            chunk: ChunkNumber(17),
            reason: "mapping panicked".to_owned(),
            attempts: 2,
            retry: 1,
            record: None,
            retried: None,
            worker: "w2".to_owned(),
            version: 1,
            time_ms: 61_000,
        };
        encode(&failure, &encode(&task, b"abcd\x1b"))
    }

    /// Records `n/a`, one that is not kept, and one of control characters.
    pub(crate) fn refused_records() -> Bytes {
        let record = |source, offset, length, kept| RefusedRecord {
            skip: Skip { source: SourceNumber(source), offset, reason: "it is no number".to_owned() },
            length,
            kept,
            column: None,
        };
        let records = vec![record(0, 20, 3, true), record(0, 30, 9_000_000, false), record(1, 0, 2, true)];
        let refused = Refused { job: JobId(Uuid::from_u128(7)), chunk: ChunkNumber(3), records };
        encode(&refused, b"n/a\x1b[")
    }

    pub(crate) fn opened(name: &str, letter: &Bytes) -> Opened {
        let contents = Contents::of(letter);
        let kind = match &contents {
            Contents::Chunk(_) => LetterKind::Chunk,
            Contents::Records(records) => {
                LetterKind::Records(records.iter().map(|record| record.skip.clone()).collect())
            }
            Contents::Partial(..) => LetterKind::Partial,
            Contents::Unknown(_) => LetterKind::Unknown,
        };
        let letter = Letter {
            name: name.to_owned(),
            kind,
            chunk: name.split_once('-').map(|(chunk, _)| ChunkNumber(chunk.parse().unwrap())),
            reason: "why\x1b".to_owned(),
            sources: vec![SourceNumber(0), SourceNumber(1)],
            offset: Some(4),
            attempts: 2,
            retry: 1,
            time_ms: 61_000,
            bytes: letter.len() as u64,
            record: None,
            records: Vec::new(),
            lost: true,
            again: false,
        };
        Opened { listed: super::super::selection::listed(vec![letter]).remove(0), contents }
    }

    #[test]
    fn a_failed_chunk_has_its_pieces_and_every_attempt() {
        let Contents::Chunk(chunk) = Contents::of(&failed_chunk()) else { panic!("no chunk") };
        let bytes: Vec<_> = chunk.pieces.iter().map(|(_, bytes)| bytes.clone()).collect();
        assert_eq!(bytes, [Some(Bytes::from("abc")), Some(Bytes::from("d\x1b")), None]);
        let told: Vec<_> = chunk.attempts().into_iter().map(|attempt| (attempt.worker, attempt.reason)).collect();
        let expected = [("w1", "cannot open x"), ("w2", "mapping panicked")];
        assert_eq!(told, expected.map(|(worker, reason)| (worker.to_owned(), reason.to_owned())));
    }

    #[test]
    fn records_are_cut_out_of_the_body_and_a_body_that_is_too_short_hurts_nobody() {
        let Contents::Records(records) = Contents::of(&refused_records()) else { panic!("no records") };
        let bytes: Vec<_> = records.iter().map(|record| record.bytes.as_deref()).collect();
        assert_eq!(bytes, [Some(&b"n/a"[..]), None, Some(b"\x1b[")]);
        let long = Refused {
            job: JobId(Uuid::nil()),
            chunk: ChunkNumber(0),
            records: vec![RefusedRecord {
                skip: Skip { source: SourceNumber(0), offset: 0, reason: String::new() },
                length: u64::MAX,
                kept: true,
                column: None,
            }],
        };
        let Contents::Records(records) = Contents::of(&encode(&long, b"abc")) else { panic!("no records") };
        assert_eq!(records[0].bytes, None);
    }

    #[test]
    fn what_is_no_message_is_kept_as_it_came() {
        assert!(matches!(Contents::of(&Bytes::from("hello")), Contents::Unknown(bytes) if bytes == "hello"));
        let bare = failed_chunk();
        let (_, task) = message::decode::<Failure>(&bare).unwrap();
        let Contents::Chunk(chunk) = Contents::of(&task) else { panic!("no chunk") };
        assert_eq!((chunk.failure, chunk.task.chunk), (None, ChunkNumber(17)));
    }
}
