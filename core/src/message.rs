//! The messages, and their bytes.
//!
//! Every message is `magic "RR" | version u8 | kind u8 | header length u32 | body length u32 | XXH3 u64 | header | body`, numbers
//! little-endian, the checksum over all else. The header is JSON, so that a field can be added without a new version; the body
//! is bytes: a task's input, a partial's pairs, a page of a part. Limits are checked before anything is believed.

mod claims;
mod packed;
mod request;

pub use self::claims::FalseClaim;
pub(crate) use self::claims::{MAX_COUNT, MAX_COUNTER_BYTES, MAX_COUNTERS};
pub use self::packed::{pack, packed_bytes};
pub use self::request::{
    About, Answer, Ask, End, LETTER_SOURCES, Letter, LetterKind, Losses, LostChunk, News, Outcome, Part, PutBack,
    RecordState, Reply, Request, Rereduced, SeenWorker, Status, Top,
};

use crate::id::{ChunkNumber, JobId, PartitionNumber, SourceNumber, Unit};
use crate::selection::Column;
use crate::skip::{Place, Skip, SkipList};
use crate::spec::{ByteText, FileStamp, ProgramSpec};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use xxhash_rust::xxh3::Xxh3;

/// The latest version; all up to it are read.
pub const VERSION: u8 = PACKED_VERSION;
/// The version of most messages.
pub const FIRST_VERSION: u8 = 1;
/// Of those about a single record that is sent again, since releases that read only the one before would take them for messages
/// about the record's chunk.
const RECORD_VERSION: u8 = 2;
/// Of tasks whose body is packed; see [`pack`].
const PACKED_VERSION: u8 = 3;
/// The longest header: a task of very many pieces, or a long answer.
pub const MAX_HEADER_BYTES: usize = 4 << 20;
/// The longest body: a record of the greatest size, as a pair, and its key.
pub const MAX_BODY_BYTES: usize = (8 << 20) + (64 << 10);
const MAGIC: [u8; 2] = *b"RR";
const PRELUDE_BYTES: usize = 20;
/// Where the checksum begins, the last of that.
const CHECKSUM_AT: usize = 12;

/// Why bytes are no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Not ours at all, or cut short.
    #[error("it does not begin as a message does")]
    Magic,
    /// Of another version.
    #[error("it is of version {0}, this release reads versions {FIRST_VERSION} to {VERSION}")]
    Version(u8),
    /// Of a kind that is not expected here.
    #[error("it is of kind {found}, expected kind {expected}")]
    Kind {
        /// What it is.
        found: u8,
        /// What should come.
        expected: u8,
    },
    /// Its lengths are not those of its bytes, or over the limit.
    #[error("its lengths lie")]
    Length,
    /// Damaged on the way.
    #[error("its checksum is wrong")]
    Checksum,
    /// The header is no JSON of this kind.
    #[error("its header cannot be read: {0}")]
    Header(String),
}

impl MessageError {
    /// Whether a later release wrote it: somebody else may be able to read it.
    #[must_use]
    pub const fn is_newer(&self) -> bool {
        matches!(self, Self::Version(version) if *version > VERSION)
    }
}

impl From<MessageError> for std::io::Error {
    fn from(error: MessageError) -> Self {
        Self::other(error)
    }
}

/// A kind of message: the type of its header.
pub trait Kind: Serialize + DeserializeOwned {
    /// Its number on the wire.
    const NUMBER: u8;

    /// The version that a release must read to understand it.
    fn version(&self) -> u8 {
        FIRST_VERSION
    }
}

/// Puts a message into bytes.
///
/// # Panics
/// If the header or body is over its limit: what makes them bounds them.
#[must_use]
pub fn encode<K: Kind>(header: &K, body: &[u8]) -> Bytes {
    try_encode(header, body).expect("what makes a message bounds it")
}

/// Puts a message into bytes whose size nothing bounds before.
///
/// # Errors
/// [`MessageError::Length`] if the header or body is over its limit.
pub fn try_encode<K: Kind>(header: &K, body: &[u8]) -> Result<Bytes, MessageError> {
    encode_with(header, body.len(), |room| {
        room.copy_from_slice(body);
        Ok(())
    })
}

/// Puts a message into bytes, its body where it is to be: what fills that is handed so many bytes, all zero.
///
/// # Errors
/// [`MessageError::Length`] if the header or body is over its limit; or what filling says.
///
/// # Panics
/// Never: headers are plain data.
pub fn encode_with<K: Kind, E: From<MessageError>>(
    header: &K,
    body_bytes: usize,
    fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
) -> Result<Bytes, E> {
    let version = header.version();
    let header = serde_json::to_vec(header).expect("headers are plain data");
    assemble(version, K::NUMBER, &header, body_bytes, fill)
}

fn assemble<E: From<MessageError>>(
    version: u8,
    kind: u8,
    header: &[u8],
    body_bytes: usize,
    fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
) -> Result<Bytes, E> {
    if header.len() > MAX_HEADER_BYTES || body_bytes > MAX_BODY_BYTES {
        return Err(MessageError::Length.into());
    }
    let mut out = vec![0; PRELUDE_BYTES + header.len() + body_bytes];
    let (prelude, rest) = out.split_at_mut(PRELUDE_BYTES);
    let (place, body) = rest.split_at_mut(header.len());
    place.copy_from_slice(header);
    fill(body)?;
    let (facts, sum) = prelude.split_at_mut(CHECKSUM_AT);
    facts[..2].copy_from_slice(&MAGIC);
    facts[2..4].copy_from_slice(&[version, kind]);
    let length = |length: usize| u32::try_from(length).expect("checked above").to_le_bytes();
    facts[4..8].copy_from_slice(&length(header.len()));
    facts[8..].copy_from_slice(&length(body_bytes));
    sum.copy_from_slice(&checksum(facts, place, body).to_le_bytes());
    Ok(out.into())
}

/// Reads a message of one kind.
///
/// # Errors
/// Says what is wrong with it.
pub fn decode<K: Kind>(message: &Bytes) -> Result<(K, Bytes), MessageError> {
    let found = kind(message)?;
    if found != K::NUMBER {
        return Err(MessageError::Kind { found, expected: K::NUMBER });
    }
    let (header_bytes, body_bytes) = (header_bytes(message)?, length_at(message, 8)?);
    let whole = PRELUDE_BYTES + header_bytes + body_bytes;
    if header_bytes > MAX_HEADER_BYTES || body_bytes > MAX_BODY_BYTES || message.len() != whole {
        return Err(MessageError::Length);
    }
    let header = &message[PRELUDE_BYTES..PRELUDE_BYTES + header_bytes];
    let body = message.slice(PRELUDE_BYTES + header_bytes..);
    if message[CHECKSUM_AT..PRELUDE_BYTES] != checksum(&message[..CHECKSUM_AT], header, &body).to_le_bytes() {
        return Err(MessageError::Checksum);
    }
    let header: K = serde_json::from_slice(header).map_err(|error| MessageError::Header(short(&error.to_string())))?;
    if header.version() > message[2] {
        return Err(MessageError::Header("it says what its version cannot say".to_owned()));
    }
    let body = if message[2] == PACKED_VERSION { packed::unpack(found, &body)? } else { body };
    Ok((header, body))
}

fn header_bytes(message: &[u8]) -> Result<usize, MessageError> {
    length_at(message, 4)
}

fn length_at(message: &[u8], place: usize) -> Result<usize, MessageError> {
    let bytes = message.get(place..place + 4).and_then(|bytes| bytes.try_into().ok()).ok_or(MessageError::Magic)?;
    Ok(u32::from_le_bytes(bytes) as usize)
}

/// What the parser says may quote the header, which is as long as its writer liked, and has the lines that they liked.
fn short(said: &str) -> String {
    const SHOWN_CHARS: usize = 200;
    let mut shown = String::new();
    for (place, character) in said.chars().enumerate() {
        match character {
            _ if place == SHOWN_CHARS => return shown + "…",
            _ if character.is_control() => shown.extend(character.escape_default()),
            _ => shown.push(character),
        }
    }
    shown
}

/// The kind of a message, its bytes not checked further.
///
/// # Errors
/// Fails on bytes that do not begin as a message of a version that is read.
pub fn kind(message: &[u8]) -> Result<u8, MessageError> {
    let prelude = message.get(..PRELUDE_BYTES).ok_or(MessageError::Magic)?;
    if prelude[..2] != MAGIC {
        return Err(MessageError::Magic);
    }
    if !(FIRST_VERSION..=VERSION).contains(&prelude[2]) {
        return Err(MessageError::Version(prelude[2]));
    }
    Ok(prelude[3])
}

/// The job that a task, a partial, a failure or refused records speak of; `None` for anything else.
#[must_use]
pub fn job(message: &Bytes) -> Option<JobId> {
    match kind(message).ok()? {
        Task::NUMBER => decode::<Task>(message).ok().map(|(task, _)| task.job),
        Partial::NUMBER => decode::<Partial>(message).ok().map(|(partial, _)| partial.job),
        Failure::NUMBER => decode::<Failure>(message).ok().map(|(failure, _)| failure.job),
        Refused::NUMBER => decode::<Refused>(message).ok().map(|(refused, _)| refused.job),
        _ => None,
    }
}

/// The checksum of a message, over the bytes before it and what follows.
#[must_use]
pub fn checksum(prelude: &[u8], header: &[u8], body: &[u8]) -> u64 {
    let mut checksum = Xxh3::new();
    checksum.update(prelude);
    checksum.update(header);
    checksum.update(body);
    checksum.digest()
}

macro_rules! kinds {
    ($($name:ident = $number:literal $(, of a record by $record:ident)?;)*) => {
        $(impl Kind for $name {
            const NUMBER: u8 = $number;
            $(fn version(&self) -> u8 {
                if self.$record.is_some() { RECORD_VERSION } else { FIRST_VERSION }
            })?
        })*
    };
}

kinds! {
    Task = 1, of a record by record;
    Partial = 2, of a record by record;
    Failure = 3, of a record by retried;
    Request = 4;
    Reply = 5;
    News = 6;
    Refused = 7;
}

/// A chunk to be mapped. The body holds the bytes of its by-value pieces, one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// The job.
    pub job: JobId,
    /// The chunk.
    pub chunk: ChunkNumber,
    /// Only this record of it is to be mapped; its one piece is that record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Place>,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// How many processes died of it, alone with it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub crashes: u32,
    /// The record that all of them died of, as far as anybody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub died_at: Option<Place>,
    /// How often the broker gave up on it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub strikes: u32,
    /// Which retry this is of a chunk that was lost; 0 for the first sending.
    #[serde(default, skip_serializing_if = "is_default")]
    pub retry: u32,
    /// Passes through `retry` still to be made before it is tried again.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rounds: u32,
    /// What to run.
    pub program: ProgramSpec,
    /// P.
    pub partitions: u32,
    /// Q.
    pub reduce_queues: u32,
    /// The most bytes of a segment.
    pub segment_bytes: usize,
    /// The most bytes of pairs.
    pub output_bytes: u64,
    /// The store that the job lives in.
    pub store: String,
    /// The pieces, in order.
    pub pieces: Vec<TaskPiece>,
    /// Records too long to travel.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub too_long: Vec<Skip>,
    /// Records agreed to be left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skips: Vec<Skip>,
    /// What came of the attempts before this one, the latest last; for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Attempt>,
}

/// Attempts that a task tells of. Those of one sending fit; of earlier ones the oldest go first.
pub const MAX_HISTORY: usize = 16;

/// An attempt at a task that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Who made it.
    pub worker: String,
    /// What failed, in one line for people.
    pub reason: String,
    /// When, in milliseconds since 1970, by the worker's clock.
    pub time_ms: u64,
}

impl Task {
    /// Notes an attempt that failed.
    pub fn note(&mut self, attempt: Attempt) {
        if self.history.len() >= MAX_HISTORY {
            self.history.drain(..=self.history.len() - MAX_HISTORY);
        }
        self.history.push(attempt);
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A piece of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskPiece {
    /// The source's number.
    pub source: SourceNumber,
    /// The source's name.
    pub name: ByteText,
    /// Where it begins in the source, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub length: u64,
    /// It begins inside a run without boundary.
    #[serde(default, skip_serializing_if = "is_default")]
    pub continues: bool,
    /// It ends where its source ends.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ends: bool,
    /// The file to read it from; without one its bytes are in the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileStamp>,
    /// The column of CSV that the job looks at in its source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<Column>,
}

/// One segment of one chunk's pairs for one partition. The body holds the pairs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partial {
    /// The job.
    pub job: JobId,
    /// The chunk.
    pub chunk: ChunkNumber,
    /// The record of it that alone was mapped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Place>,
    /// The attempt that mapped it.
    pub attempt: u32,
    /// The partition.
    pub partition: PartitionNumber,
    /// P, as the worker knew it.
    pub partitions: u32,
    /// The segment's place.
    pub segment: u32,
    /// No segment follows.
    pub last: bool,
    /// The store that the job lives in.
    pub store: String,
    /// Of the whole attempt.
    pub digest: u64,
    /// Who mapped it.
    pub worker: String,
    /// Mapped pairs that this segment stands for.
    pub pairs: u64,
    /// How often the broker gave up on it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub strikes: u32,
    /// How many records the attempt left out because the ledgers agreed to.
    #[serde(default, skip_serializing_if = "is_default")]
    pub agreed: u32,
    /// In segment 0 of every partition: records not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skips: Option<SkipList>,
    /// In segment 0 of the home partition (chunk mod P).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<Home>,
}

impl Partial {
    /// The unit it is.
    #[must_use]
    pub const fn unit(&self) -> Unit {
        Unit { chunk: self.chunk, record: self.record, segment: self.segment, last: self.last }
    }
}

/// What a chunk says of itself once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Home {
    /// Mapped pairs in all partitions.
    pub pairs: u64,
    /// Counters, by name.
    #[serde(default)]
    pub counters: BTreeMap<String, u64>,
    /// The release of who mapped it, as 0.1.0; for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
}

/// Records that their program refused, so that people can see them. The body holds their bytes, one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The job.
    pub job: JobId,
    /// The chunk.
    pub chunk: ChunkNumber,
    /// The records, in order.
    pub records: Vec<RefusedRecord>,
}

impl Refused {
    /// One of the records and its bytes, if they are in the body.
    #[must_use]
    pub fn record_at(&self, place: Place, mut body: Bytes) -> Option<(&RefusedRecord, Bytes)> {
        for record in self.records.iter().filter(|record| record.kept) {
            let length = usize::try_from(record.length).ok().filter(|length| *length <= body.len())?;
            let bytes = body.split_to(length);
            if record.skip.place() == place {
                return Some((record, bytes));
            }
        }
        None
    }
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedRecord {
    /// Which, and why.
    #[serde(flatten)]
    pub skip: Skip,
    /// How long it is, in bytes; none of it is in the body if it did not fit.
    pub length: u64,
    /// Its bytes are in the body.
    pub kept: bool,
    /// The column of CSV that the job looks at in its source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<Column>,
}

/// A chunk that failed for good. The body holds the task's message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The job.
    pub job: JobId,
    /// The chunk.
    pub chunk: ChunkNumber,
    /// What failed, in one line for people.
    pub reason: String,
    /// Attempts made.
    pub attempts: u32,
    /// Which retry failed; 0 for the first sending.
    #[serde(default, skip_serializing_if = "is_default")]
    pub retry: u32,
    /// Everything but this record may be mapped: whoever maps it dies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Place>,
    /// The task was that of this record alone: it is lost again, and nothing else is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retried: Option<Place>,
    /// Who gave up.
    pub worker: String,
    /// [`crate::spec::PROGRAM_VERSION`] there.
    pub version: u32,
    /// When, in milliseconds since 1970, by the worker's clock.
    pub time_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_of_the_greatest_size_travels() {
        let body = vec![7; MAX_BODY_BYTES];
        let message = encode(&News::Ended(JobId(uuid::Uuid::nil())), &body);
        assert_eq!(decode::<News>(&message).unwrap().1, body);
    }

    #[test]
    #[should_panic(expected = "what makes a message bounds it")]
    fn a_larger_body_is_never_made() {
        drop(encode(&News::Ended(JobId(uuid::Uuid::nil())), &vec![7; MAX_BODY_BYTES + 1]));
    }

    #[test]
    fn the_header_of_the_fullest_task_fits() {
        use crate::selection::{Column, MAX_HEADER_BYTES as MOST_COLUMNS};
        use crate::split::{MAX_NAME_BYTES, MAX_PIECES};
        // A control character takes six bytes in JSON, more than a byte in base64 does.
        let text = || ByteText(vec![1; MAX_NAME_BYTES / MAX_PIECES / 2]);
        let file = FileStamp { path: text(), size: u64::MAX, modified_ns: i64::MIN };
        let number = u64::MAX;
        let source = SourceNumber(u32::MAX);
        let most = MOST_COLUMNS as u32;
        let (name, file, column) = (text(), Some(file), Some(Column { at: most, of: most }));
        let piece =
            TaskPiece { source, name, offset: number, length: number, continues: true, ends: true, file, column };
        let header = serde_json::to_vec(&vec![piece; MAX_PIECES]).expect("plain data");
        assert!(header.len() < MAX_HEADER_BYTES - (64 << 10), "{} bytes", header.len());
    }

    #[test]
    fn what_is_wrong_with_a_header_is_told_in_a_line() {
        let header = format!(r#"{{"{}":1}}"#, "x".repeat(MAX_HEADER_BYTES - 100));
        let error = serde_json::from_str::<ProgramSpec>(&header).unwrap_err();
        assert!(error.to_string().len() > 1 << 20, "the parser quotes it");
        assert!(short(&error.to_string()).len() < 300);
        assert_eq!(short("unknown `a\r\n\u{1b}`"), "unknown `a\\r\\n\\u{1b}`");
    }

    #[test]
    fn a_later_version_is_refused_as_such_and_a_later_field_passed_over() {
        let message = encode(&News::Ended(JobId(uuid::Uuid::nil())), b"body");
        let version = |number: u8| {
            let mut bytes = message.to_vec();
            bytes[2] = number;
            decode::<News>(&bytes.into()).unwrap_err()
        };
        assert!(version(VERSION + 1).is_newer() && version(u8::MAX).is_newer());
        assert!(!version(0).is_newer() && !MessageError::Checksum.is_newer());
        let home: Home = serde_json::from_str(r#"{"pairs":3,"of-a-later-release":[1]}"#).unwrap();
        assert_eq!(home.pairs, 3);
    }

    #[test]
    fn kinds_have_numbers_of_their_own() {
        let numbers = [Task::NUMBER, Partial::NUMBER, Failure::NUMBER, Request::NUMBER, Reply::NUMBER, News::NUMBER];
        assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
        assert_eq!(Refused::NUMBER, 7);
    }
}
