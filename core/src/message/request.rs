//! Questions to the aggregators, their answers, and the news that go to everybody.
//!
//! It knows the shape of a job's standing, not how it is found out. What would surprise: every question may be asked, and answered,
//! twice.

use crate::id::{ChunkNumber, JobId, PartitionNumber, SourceNumber};
use crate::shipped::Shipped;
use crate::skip::{LostKey, Place, Skip};
use crate::spec::{ByteText, Spec};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;

/// A question to the aggregators.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Repeated in the reply.
    pub id: Uuid,
    /// The private queue of who asks.
    pub reply_to: String,
    /// After this many milliseconds since 1970 nobody waits for the answer.
    pub expires_ms: u64,
    /// The question.
    pub ask: Ask,
}

/// The questions. Every one of them may be asked twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// Keep a page of the source list; the body holds it.
    PutSources {
        /// The job.
        job: JobId,
        /// The page's number.
        page: u32,
    },
    /// Keep a page of a file that travels with the job; the body holds it.
    PutFile {
        /// The job.
        job: JobId,
        /// The file.
        file: Shipped,
        /// The page's number.
        page: u32,
    },
    /// Begin a job.
    Submit {
        /// The job.
        spec: Box<Spec>,
    },
    /// All tasks are published.
    Seal {
        /// The job.
        job: JobId,
        /// C.
        chunks: u32,
    },
    /// Publish the input of a job that is a step after another, or what is not counted of it.
    Step {
        /// The job.
        job: JobId,
    },
    /// How is it going?
    Status {
        /// The job.
        job: JobId,
        /// With what it lacks, chunk by chunk, and all its losses: for people, not for polling.
        detail: bool,
    },
    /// Which chunks are not covered everywhere?
    Uncovered {
        /// The job.
        job: JobId,
        /// Chunks below this number are asked about.
        chunks: u32,
    },
    /// Which jobs are there? The newest come first.
    Jobs,
    /// The same, page by page.
    JobsBefore {
        /// Only those that are older than this one.
        before: Option<JobId>,
        /// So many at most.
        limit: u32,
    },
    /// Which keys have the largest counts, of what is counted so far?
    Top {
        /// The job.
        job: JobId,
        /// So many at most.
        limit: u32,
    },
    /// Whose partials came lately?
    Workers,
    /// Who are you, and what time is it there?
    About,
    /// The spec again.
    Spec {
        /// The job.
        job: JobId,
    },
    /// A page of the source list; it comes as the body.
    Sources {
        /// The job.
        job: JobId,
        /// The page's number.
        page: u32,
    },
    /// A page of a file that travels with the job; it comes as the body.
    File {
        /// The job.
        job: JobId,
        /// The file.
        file: Shipped,
        /// The page's number.
        page: u32,
    },
    /// Bytes of a part of the result; they come as the body.
    Part {
        /// The job.
        job: JobId,
        /// The part's name, as the end tells it.
        part: String,
        /// From here, in bytes.
        offset: u64,
        /// So many bytes at most.
        length: u32,
    },
    /// End it.
    Cancel {
        /// The job.
        job: JobId,
    },
    /// Forget it.
    Remove {
        /// The job.
        job: JobId,
    },
    /// Which dead letters are there, in the order of their names?
    Letters {
        /// Of this job; without one, those that belong to no job.
        job: Option<JobId>,
        /// Only those whose names come after this one.
        after: String,
    },
    /// Bytes of a dead letter, as it came; they come as the body.
    Letter {
        /// Of this job; without one, of none.
        job: Option<JobId>,
        /// Its name.
        name: String,
        /// From here, in bytes.
        offset: u64,
        /// So many bytes at most.
        length: u32,
    },
    /// Send lost chunks again.
    Retry {
        /// The job.
        job: JobId,
        /// Which of its chunks.
        chunks: Vec<ChunkNumber>,
        /// Which records that counted chunks left out.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        records: Vec<(ChunkNumber, Place)>,
    },
    /// Reduce again, with all others of their partitions, the keys that the program could not reduce.
    Rereduce {
        /// The job.
        job: JobId,
    },
    /// Forget dead letters; what they were about stays lost.
    Drop {
        /// Of this job; without one, of none.
        job: Option<JobId>,
        /// Their names.
        names: Vec<String>,
    },
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The request's.
    pub id: Uuid,
    /// The answer.
    pub answer: Answer,
}

/// The answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// It is so now.
    Done,
    /// It cannot be, for this reason.
    Refused(String),
    /// It cannot be just now, for this reason: ask again.
    Later(String),
    /// There is no such job, or no such page or part of it.
    Unknown,
    /// The job's id is new, and this is the store it lives in.
    Submitted {
        /// The store's id.
        store: String,
    },
    /// See [`Ask::Status`].
    Status(Box<Status>),
    /// See [`Ask::Uncovered`]: ranges of chunks, both ends in them.
    Uncovered(Vec<(u32, u32)>),
    /// See [`Ask::Jobs`].
    Jobs(Vec<Status>),
    /// See [`Ask::Top`].
    Top(Top),
    /// See [`Ask::Workers`].
    Workers(Vec<SeenWorker>),
    /// See [`Ask::About`].
    About(About),
    /// See [`Ask::Spec`].
    Spec {
        /// The spec.
        spec: Box<Spec>,
        /// The store that it lives in.
        store: String,
    },
    /// See [`Ask::Letters`].
    Letters {
        /// The letters.
        letters: Vec<Letter>,
        /// There are more after the last of them.
        more: bool,
    },
    /// See [`Ask::Retry`].
    Retried {
        /// Chunks that are sent again now.
        chunks: Vec<ChunkNumber>,
        /// Chunks that were being sent again already.
        under_way: Vec<ChunkNumber>,
        /// Chunks that are not, each with the reason.
        refused: Vec<(ChunkNumber, String)>,
        /// What becomes of each record that was asked for; releases before the first that sends records again say nothing.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        records: Vec<(ChunkNumber, Place, PutBack)>,
    },
    /// See [`Ask::Rereduce`]. These partitions lacked keys; none, if no partition does.
    Rereduced(Vec<Rereduced>),
    /// The body holds what was asked for; `more` follows.
    Bytes {
        /// Whether it goes on behind the body.
        more: bool,
    },
}

/// The keys with the largest counts, of what is counted so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Top {
    /// Keys and counts, the largest first.
    pub rows: Vec<(ByteText, u64)>,
    /// So many chunks are counted in every partition; of others some partitions may count already.
    pub counted: u32,
    /// C, once the job is sealed.
    pub chunks: Option<u32>,
    /// Nothing is missing: this is the result.
    pub whole: bool,
}

/// An aggregator, as it tells of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Its release, as 0.1.0.
    pub release: String,
    /// Its clock, in milliseconds since 1970.
    pub time_ms: u64,
}

/// A worker, as an aggregator sees it by its partials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenWorker {
    /// What it calls itself.
    pub name: String,
    /// Chunks that came from it.
    pub chunks: u64,
    /// Their input, in bytes.
    pub bytes: u64,
    /// The same in the last seconds, for each of them.
    pub bytes_per_second: u64,
    /// How long ago it was heard last, in milliseconds.
    pub silent_ms: u64,
    /// Its release, as 0.1.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
}

/// A partition that is reduced again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rereduced {
    /// The partition.
    pub partition: PartitionNumber,
    /// How many keys it lacked.
    pub keys: u32,
    /// The finish that left them out, as [`Part::at`] tells it: an end that tells a later one is newer than this.
    pub at: u64,
}

/// What becomes of what is asked to be sent again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PutBack {
    /// It is sent again now.
    Sent,
    /// It was being sent again already.
    UnderWay,
    /// It is not, for this reason.
    Refused(String),
}

/// What has become of a record that was not counted with its chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordState {
    /// It is lost.
    Lost,
    /// It is being sent again.
    Again,
    /// It was sent again, and is counted.
    Counted,
}

/// Sources that a letter names in short.
pub const LETTER_SOURCES: usize = 20;

/// A dead letter, in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// Its name among those of its job.
    pub name: String,
    /// What it is.
    pub kind: LetterKind,
    /// The chunk it is about.
    pub chunk: Option<ChunkNumber>,
    /// Why it is here, in one line for people.
    pub reason: String,
    /// The sources that it touches, by number; the first [`LETTER_SOURCES`] of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<SourceNumber>,
    /// Where a chunk begins in the first of them, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// Attempts made at it.
    #[serde(default)]
    pub attempts: u32,
    /// Which retry failed; 0 for the first sending.
    #[serde(default)]
    pub retry: u32,
    /// When it was given up, in milliseconds since 1970; 0 where nobody knows.
    #[serde(default)]
    pub time_ms: u64,
    /// Its length in bytes.
    pub bytes: u64,
    /// The record of the chunk that its processes died of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Place>,
    /// What has become of each of its records, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<RecordState>,
    /// What it is about is still a loss.
    #[serde(default)]
    pub lost: bool,
    /// It, or some of it, is being sent again.
    #[serde(default)]
    pub again: bool,
}

/// Kinds of dead letters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LetterKind {
    /// A chunk that failed.
    Chunk,
    /// Records that their program refused, or one that is left out since it kills who maps it.
    Records(Vec<Skip>),
    /// A partial that cannot be folded.
    Partial,
    /// A message that nobody can use.
    Unknown,
}

/// How a job stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its id.
    pub job: JobId,
    /// What it runs.
    pub program: String,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// Bytes of its input, if known.
    pub input_bytes: Option<u64>,
    /// C, once it is sealed.
    pub chunks: Option<u32>,
    /// Chunks covered, in the partition that has the fewest.
    pub covered: u32,
    /// Input bytes counted.
    pub covered_bytes: u64,
    /// Partitions that are finished.
    pub finished: u32,
    /// P.
    pub partitions: u32,
    /// Some of the chunks that are not covered everywhere, each with the partitions that lack it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lacking: Vec<(u32, Vec<u32>)>,
    /// Lost chunks that are being sent again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retrying: Vec<ChunkNumber>,
    /// Lost records that are being sent again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retrying_records: Vec<(ChunkNumber, Place)>,
    /// What is not counted.
    #[serde(default, skip_serializing_if = "Losses::is_empty")]
    pub losses: Losses,
    /// What keeps the aggregator from going on, such as a full store; with the detail also messages that nobody can use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alarms: Vec<String>,
    /// The job whose result is its input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<JobId>,
    /// The job whose input its result is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<JobId>,
    /// Messages that came after it was cancelled or had failed, and that whoever answers has dropped.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub late: u64,
    /// How it ended.
    pub end: Option<End>,
}

/// What a job does not count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Losses {
    /// Lost chunks, each with the partitions that lack it and why; the first of them.
    #[serde(default)]
    pub chunks: Vec<LostChunk>,
    /// Lost records; the first of them.
    #[serde(default)]
    pub records: Vec<Skip>,
    /// Keys that the program cannot reduce; the first of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<LostKey>,
    /// How many there are, chunks, records and keys together.
    pub count: u64,
}

impl Losses {
    /// Nothing is lost.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// A chunk that is not, or not wholly, counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostChunk {
    /// The chunk.
    pub chunk: ChunkNumber,
    /// The partitions that lack it.
    pub partitions: Vec<PartitionNumber>,
    /// Why.
    pub reason: String,
}

/// How a job ended. It is the result's version; the newest counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// From 1.
    pub version: u32,
    /// How.
    pub outcome: Outcome,
    /// The parts, one for each partition in order; none unless it is done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
    /// What is not counted.
    #[serde(default, skip_serializing_if = "Losses::is_empty")]
    pub losses: Losses,
    /// Counters of all chunks, by name.
    #[serde(default)]
    pub counters: BTreeMap<String, u64>,
    /// Mapped pairs that are counted.
    #[serde(default)]
    pub pairs: u64,
    /// Chunks that are counted, at least in part.
    #[serde(default)]
    pub chunks: u32,
    /// When, in milliseconds since 1970, by the aggregator's clock.
    pub time_ms: u64,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Everything is counted.
    Done,
    /// Everything but the losses is counted.
    DoneWithLosses,
    /// There is no result, for this reason.
    Failed(String),
    /// Somebody ended it.
    Cancelled,
}

impl Outcome {
    /// Whether there is a result.
    #[must_use]
    pub const fn has_result(&self) -> bool {
        matches!(self, Self::Done | Self::DoneWithLosses)
    }
}

/// A part of a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The file, inside the job.
    pub name: String,
    /// Pairs in it.
    pub pairs: u64,
    /// Bytes of it.
    pub bytes: u64,
    /// The number of the entry that says so in the partition's ledger: which finish this is.
    #[serde(default)]
    pub at: u64,
}

/// A hint for everybody. Nothing depends on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum News {
    /// The job's input is all published.
    Sealed(JobId),
    /// A partition of the job was finished.
    Finished(JobId, PartitionNumber),
    /// The job ended.
    Ended(JobId),
    /// The job is gone.
    Removed(JobId),
}
