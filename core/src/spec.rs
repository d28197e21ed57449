//! A job's spec: everything that shapes its answer, fixed when it is submitted.
//!
//! It goes over the wire and into the store as JSON. What would surprise: the sources are not in it but in pages beside it,
//! named by their digest, since there can be a million of them.

use crate::id::JobId;
use crate::job::Records;
use crate::jobs::{JobError, Options};
use crate::program::{NamedProgram, Programs};
use crate::selection::Selection;
use crate::split::{MAX_RECORD_BYTES, MAX_REFERENCE_BYTES};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use xxhash_rust::xxh3::Xxh3;

/// The version of programs, tables and row forms: a worker of another version hands tasks back.
pub const PROGRAM_VERSION: u32 = 3;
/// The default number of partitions.
pub const DEFAULT_PARTITIONS: u32 = 8;
/// The most partitions of a job: each chunk sends a message to each.
pub const MAX_PARTITIONS: u32 = 1024;
/// The default chunk size, in bytes, for inputs that are large enough.
pub const DEFAULT_CHUNK_BYTES: u64 = 4 << 20;
/// The largest chunk size that is chosen where nobody says, in bytes, for what is read where it lies.
pub const DEFAULT_REFERENCE_BYTES: u64 = 16 << 20;
/// The smallest chunk size, in bytes: below it a job is all messages.
pub const MIN_CHUNK_BYTES: u64 = 64;
/// The smallest size of a segment's body, in bytes, for the same reason.
pub const MIN_SEGMENT_BYTES: usize = 256;
/// The default size of a segment's body, in bytes, and the largest.
pub const SEGMENT_BYTES: usize = 1 << 20;
/// The most chunks of a job: a ledger keeps some 150 bytes of each in memory.
pub const MAX_CHUNKS: u64 = 1 << 22;
/// The default for pairs of one chunk, in bytes, beyond which it fails, and the largest.
pub const OUTPUT_BYTES: u64 = 1 << 30;
/// The most steps that are run one after the other.
pub const MAX_STEPS: usize = 100;
/// Losses beyond which a job fails, unless it says otherwise.
pub const DEFAULT_MAX_LOSSES: u64 = 100;
/// Source bytes in a page of the source list, about.
pub const SOURCE_PAGE_BYTES: usize = 512 << 10;

/// A byte string that is text when it can be: a JSON string, or `{"base64": …}` where it is not UTF-8.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteText(pub Vec<u8>);

impl fmt::Debug for ByteText {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(&self.0).fmt(out)
    }
}

/// The form of what is no text.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Base64 {
    base64: String,
}

impl Serialize for ByteText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => Base64 { base64: STANDARD.encode(&self.0) }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for ByteText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ByteTextVisitor)
    }
}

/// Looks at the form as it comes. An untagged enum would keep all of it first, whatever it is: sixty times its bytes in memory.
struct ByteTextVisitor;

impl<'de> Visitor<'de> for ByteTextVisitor {
    type Value = ByteText;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a string, or bytes in base64")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<ByteText, E> {
        Ok(ByteText(text.as_bytes().to_vec()))
    }

    fn visit_string<E: serde::de::Error>(self, text: String) -> Result<ByteText, E> {
        Ok(ByteText(text.into_bytes()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ByteText, A::Error> {
        let Base64 { base64 } = Base64::deserialize(MapAccessDeserializer::new(map))?;
        Ok(ByteText(STANDARD.decode(base64).map_err(serde::de::Error::custom)?))
    }
}

/// A source, as the spec's list has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Its name, as typed; files of a directory joined with `/`.
    pub name: ByteText,
    /// The file behind it, if there is one: `resume` and by-reference tasks read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileStamp>,
    /// The file that this stream is unpacked from, if there is one: `resume` reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packed: Option<FileStamp>,
}

impl Source {
    /// A stream of this name.
    #[must_use]
    pub const fn stream(name: Vec<u8>) -> Self {
        Self { name: ByteText(name), file: None, packed: None }
    }
}

/// A file, and what it was when the job was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileStamp {
    /// Absolute.
    pub path: ByteText,
    /// In bytes.
    pub size: u64,
    /// Nanoseconds since 1970.
    pub modified_ns: i64,
}

/// The list of sources, as the spec names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceList {
    /// How many there are.
    pub count: u32,
    /// In how many pages.
    pub pages: u32,
    /// Of all pages, in order.
    pub digest: u64,
    /// Bytes of all, unless one of them is a stream.
    pub bytes: Option<u64>,
}

impl SourceList {
    /// The list in pages of JSON, and what the spec says of it.
    ///
    /// # Panics
    /// Never: sources are plain data.
    #[must_use]
    pub fn of(sources: &[Source]) -> (Self, Vec<Vec<u8>>) {
        let (mut pages, mut page, mut size) = (Vec::new(), Vec::new(), 0);
        for source in sources {
            size += 100 + source.name.0.len();
            size += source.file.iter().chain(&source.packed).map(|file| file.path.0.len()).sum::<usize>();
            page.push(source);
            if size >= SOURCE_PAGE_BYTES {
                pages.push(serde_json::to_vec(&page).expect("sources are plain data"));
                page.clear();
                size = 0;
            }
        }
        if !page.is_empty() {
            pages.push(serde_json::to_vec(&page).expect("sources are plain data"));
        }
        let count = u32::try_from(sources.len()).expect("sources are numbered in 32 bits");
        let bytes = sources.iter().map(|source| source.file.as_ref().map(|file| file.size)).sum();
        let pages_count = u32::try_from(pages.len()).expect("fewer pages than sources");
        (Self { count, pages: pages_count, digest: Self::digest(&pages), bytes }, pages)
    }

    /// The digest of pages.
    #[must_use]
    pub fn digest(pages: &[Vec<u8>]) -> u64 {
        let mut digest = PagesDigest::default();
        pages.iter().for_each(|page| digest.add(page));
        digest.get()
    }
}

/// The digest of a source list, page by page.
#[derive(Default)]
pub struct PagesDigest(Xxh3);

impl PagesDigest {
    /// Adds the next page.
    pub fn add(&mut self, page: &[u8]) {
        self.0.update(&(page.len() as u64).to_le_bytes());
        self.0.update(page);
    }

    /// Of the pages so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.digest()
    }
}

/// A program and its options.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgramSpec {
    /// Its name.
    pub name: String,
    /// [`PROGRAM_VERSION`] of who made the job.
    pub version: u32,
    /// What it was asked to do.
    #[serde(default)]
    pub options: Options,
}

/// How tasks carry their chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// As bytes.
    Value,
    /// As paths that workers read.
    Reference,
}

/// A job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Its id.
    pub job: JobId,
    /// What it runs.
    pub program: ProgramSpec,
    /// By value or by reference.
    pub by: By,
    /// The most bytes of a chunk, unless a record is longer.
    pub chunk_bytes: u64,
    /// The most bytes of a segment, unless a pair is larger.
    pub segment_bytes: usize,
    /// The most bytes of one chunk's pairs.
    pub output_bytes: u64,
    /// P.
    pub partitions: u32,
    /// Losses beyond which the job fails early.
    pub max_losses: u64,
    /// The input.
    pub sources: SourceList,
    /// When it was made, in milliseconds since 1970, by the producer's clock.
    pub created_ms: u64,
    /// Whose it is, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The job whose result is its input: its one source is a stream of the rows as TSV, and no producer publishes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<JobId>,
    /// The job whose input its result is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<JobId>,
}

/// A spec that cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// Its program.
    #[error(transparent)]
    Job(#[from] JobError),
    /// One of its numbers.
    #[error("{what} is {value}: it must be from {least} to {most}")]
    Number {
        /// Which.
        what: &'static str,
        /// As given.
        value: u64,
        /// The least.
        least: u64,
        /// The most.
        most: u64,
    },
    /// Its input.
    #[error("a step after another has one source, the rows of the other's result, which travel by value")]
    Step,
    /// Its input is no CSV.
    #[error("the rows of the step before it are TSV: say --records tsv, and the number of a column with --field")]
    Rows,
    /// Its version.
    #[error(
        "the job was made for version {theirs} of the programs, this is version {PROGRAM_VERSION}: use the same release everywhere"
    )]
    Version {
        /// As given.
        theirs: u32,
    },
}

impl Spec {
    /// Checks every limit and builds the program.
    ///
    /// # Errors
    /// Names what is wrong and what would be right.
    pub fn check(&self, programs: &Programs) -> Result<NamedProgram, SpecError> {
        let number = |what, value, least, most| {
            if (least..=most).contains(&value) { Ok(()) } else { Err(SpecError::Number { what, value, least, most }) }
        };
        if self.program.version != PROGRAM_VERSION {
            return Err(SpecError::Version { theirs: self.program.version });
        }
        if let Some(bytes) = self.sources.bytes {
            let what = "the number of chunks (a larger chunk size makes fewer)";
            number(what, bytes.div_ceil(self.chunk_bytes.max(1)), 0, MAX_CHUNKS)?;
        }
        if self.after.is_some() && (self.sources.count, self.sources.bytes, self.by) != (1, None, By::Value) {
            return Err(SpecError::Step);
        }
        let most = most_chunk_bytes(self.by, self.sources.bytes);
        let what = match (self.by, self.sources.bytes) {
            (By::Reference, None) => "the chunk size in bytes (of an input with a stream, which travels by value)",
            _ => "the chunk size in bytes",
        };
        number(what, self.chunk_bytes, MIN_CHUNK_BYTES, most)?;
        number("the number of partitions", u64::from(self.partitions), 1, u64::from(MAX_PARTITIONS))?;
        number("the segment size in bytes", self.segment_bytes as u64, MIN_SEGMENT_BYTES as u64, SEGMENT_BYTES as u64)?;
        number("the most bytes of a chunk's pairs", self.output_bytes, 1, OUTPUT_BYTES)?;
        let program = programs.make(&self.program.name, &self.program.options)?;
        let records = program.selection().map(Selection::records);
        if self.after.is_some() && matches!(records, Some(Records::Csv { .. })) {
            return Err(SpecError::Rows);
        }
        Ok(program)
    }
}

/// The largest chunk: what a message carries, unless all is read where it lies. A stream, whose size nobody knows, is not.
#[must_use]
pub const fn most_chunk_bytes(by: By, input_bytes: Option<u64>) -> u64 {
    match (by, input_bytes) {
        (By::Reference, Some(_)) => MAX_REFERENCE_BYTES,
        _ => MAX_RECORD_BYTES,
    }
}

/// Who maps a job's chunks, where that is known before it begins.
#[derive(Clone, Copy, Debug)]
pub struct Mappers {
    /// Chunks mapped at once.
    pub threads: usize,
    /// What they and all else may use, in bytes.
    pub memory_bytes: u64,
}

/// The chunk size for an input of `bytes` (unknown for streams): so large that what is done once a chunk and key costs little,
/// so small that the input falls into enough chunks to be worked on side by side, and to end together.
#[must_use]
pub fn chunk_bytes_for(bytes: Option<u64>, by: By, mappers: Option<Mappers>) -> u64 {
    /// Of an input of up to [`DEFAULT_CHUNK_BYTES`] each.
    const CHUNKS_OF_A_SMALL_INPUT: u64 = 16;
    const CHUNKS_OF_A_LARGE_INPUT: u64 = 48;
    const CHUNKS_OF_A_THREAD: u64 = 12;
    const LEAST: u64 = 128 << 10;
    /// A dead letter holds such a chunk with the names of a thousand files.
    const MOST_BY_VALUE: u64 = MAX_RECORD_BYTES - (1 << 20);
    /// Of the memory, all chunks that are mapped at once take one in so many parts.
    const SHARE: u64 = 8;
    let Some(bytes) = bytes else { return DEFAULT_CHUNK_BYTES / 4 };
    let most = if by == By::Value { MOST_BY_VALUE } else { DEFAULT_REFERENCE_BYTES };
    let (chunks, most) = mappers.map_or((CHUNKS_OF_A_LARGE_INPUT, most), |Mappers { threads, memory_bytes }| {
        let threads = threads as u64;
        (CHUNKS_OF_A_THREAD * threads, most.min(memory_bytes / (SHARE * threads)).max(LEAST))
    });
    let small = (bytes / CHUNKS_OF_A_SMALL_INPUT).clamp(LEAST, DEFAULT_CHUNK_BYTES);
    // What would be too many chunks otherwise; above what a chunk may have, it is refused.
    let fits = bytes.div_ceil(MAX_CHUNKS / 2).min(most_chunk_bytes(by, Some(bytes)));
    small.max(bytes / chunks).min(most).max(fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn spec() -> Spec {
        Spec {
            job: JobId(Uuid::nil()),
            program: ProgramSpec { name: "word-count".into(), version: PROGRAM_VERSION, options: Options::default() },
            by: By::Value,
            chunk_bytes: DEFAULT_CHUNK_BYTES,
            segment_bytes: SEGMENT_BYTES,
            output_bytes: OUTPUT_BYTES,
            partitions: DEFAULT_PARTITIONS,
            max_losses: DEFAULT_MAX_LOSSES,
            sources: SourceList::default(),
            created_ms: 0,
            owner: None,
            after: None,
            then: None,
        }
    }

    fn refusal(change: impl Fn(&mut Spec)) -> String {
        let mut spec = spec();
        change(&mut spec);
        spec.check(&Programs::built_in()).unwrap_err().to_string()
    }

    #[test]
    fn every_limit_is_refused_by_name_and_with_what_would_be_right() {
        assert_eq!(spec().check(&Programs::built_in()).unwrap().name(), "word-count");
        assert_eq!(refusal(|s| s.chunk_bytes = 63), "the chunk size in bytes is 63: it must be from 64 to 8388608");
        assert!(refusal(|s| s.chunk_bytes = MAX_RECORD_BYTES + 1).starts_with("the chunk size in bytes is 8388609"));
        let by_reference = refusal(|s| {
            (s.by, s.sources.bytes, s.chunk_bytes) = (By::Reference, Some(1), MAX_REFERENCE_BYTES + 1);
        });
        assert_eq!(by_reference, "the chunk size in bytes is 67108865: it must be from 64 to 67108864");
        let a_stream =
            refusal(|s| (s.by, s.sources.bytes, s.chunk_bytes) = (By::Reference, None, MAX_RECORD_BYTES + 1));
        let what = "the chunk size in bytes (of an input with a stream, which travels by value)";
        assert_eq!(a_stream, format!("{what} is 8388609: it must be from 64 to 8388608"));
        assert_eq!(refusal(|s| s.partitions = 0), "the number of partitions is 0: it must be from 1 to 1024");
        assert!(refusal(|s| s.partitions = 1025).starts_with("the number of partitions is 1025"));
        let segment = "the segment size in bytes is 255: it must be from 256 to 1048576";
        assert_eq!(refusal(|s| s.segment_bytes = 255), segment);
        assert!(refusal(|s| s.segment_bytes = SEGMENT_BYTES + 1).starts_with("the segment size in bytes is 1048577"));
        let step = refusal(|s| (s.after, s.sources.count, s.sources.bytes) = (Some(s.job), 2, None));
        assert!(step.starts_with("a step after another has one source"), "{step}");
        let output = "the most bytes of a chunk's pairs is 0: it must be from 1 to 1073741824";
        assert_eq!(refusal(|s| s.output_bytes = 0), output);
        assert!(refusal(|s| s.program.version = 9).contains("version 9 of the programs, this is version 3"));
        assert!(refusal(|s| s.program.name = "wordcount".into()).contains("did you mean `word-count`?"));
    }

    #[test]
    fn a_spec_with_a_field_that_is_not_known_is_refused() {
        let mut json = serde_json::to_value(spec()).unwrap();
        assert_eq!(serde_json::from_value::<Spec>(json.clone()).unwrap(), spec());
        json["sample"] = 7.into();
        assert!(serde_json::from_value::<Spec>(json).unwrap_err().to_string().contains("`sample`"));
    }

    #[test]
    fn bytes_that_are_no_text_read_back() {
        for bytes in [&b""[..], b"a\"\\\0", "é".as_bytes(), b"\xff/\xc3"] {
            let text = ByteText(bytes.to_vec());
            let json = serde_json::to_string(&text).unwrap();
            assert_eq!(serde_json::from_str::<ByteText>(&json).unwrap(), text, "{json}");
        }
        assert_eq!(serde_json::to_string(&ByteText(b"\xff".to_vec())).unwrap(), r#"{"base64":"/w=="}"#);
        assert!(serde_json::from_str::<ByteText>(r#"{"base64":"?"}"#).is_err());
    }

    #[test]
    fn a_list_of_sources_falls_into_pages_that_its_digest_names() {
        let source = |number: u32| {
            let file = FileStamp { path: ByteText(vec![b'p'; 200]), size: 3, modified_ns: 0 };
            Source { file: Some(file), ..Source::stream(number.to_string().into_bytes()) }
        };
        let sources: Vec<Source> = (0..4000).map(source).collect();
        let (list, pages) = SourceList::of(&sources);
        assert_eq!((list.count, list.bytes), (4000, Some(12_000)));
        assert!(list.pages > 1 && list.pages as usize == pages.len());
        assert!(pages.iter().all(|page| page.len() < 2 * SOURCE_PAGE_BYTES));
        let read: Vec<Source> =
            pages.iter().flat_map(|page| serde_json::from_slice::<Vec<Source>>(page).unwrap()).collect();
        assert_eq!(read, sources);
        assert_eq!(list.digest, SourceList::digest(&pages));
        let swapped: Vec<Vec<u8>> = pages.iter().rev().cloned().collect();
        assert_ne!(list.digest, SourceList::digest(&swapped));
        let stream = Source::stream(b"-".to_vec());
        assert_eq!(SourceList::of(&[source(0), stream]).0.bytes, None, "a stream's size is not known");
    }

    #[test]
    fn a_small_input_falls_into_several_chunks_of_a_size_that_is_allowed() {
        let by_value = |bytes| chunk_bytes_for(bytes, By::Value, None);
        assert_eq!(by_value(Some(0)), 128 << 10);
        assert_eq!(by_value(Some(16 << 20)), 1 << 20);
        assert_eq!(by_value(Some(100 << 20)), DEFAULT_CHUNK_BYTES);
        assert_eq!(by_value(Some(1 << 40)), 7 << 20);
        assert_eq!(chunk_bytes_for(Some(1 << 40), By::Reference, None), 16 << 20);
        assert_eq!(chunk_bytes_for(Some(100 << 40), By::Reference, None), 50 << 20, "or it would be too many chunks");
        assert_eq!(by_value(Some(100 << 40)), MAX_RECORD_BYTES, "which is refused as too many");
        let here = |bytes, threads, memory_bytes| {
            chunk_bytes_for(bytes, By::Reference, Some(Mappers { threads, memory_bytes }))
        };
        assert_eq!(here(Some(240 << 20), 2, 1 << 30), 10 << 20);
        assert_eq!(here(Some(1 << 40), 2, 128 << 20), 8 << 20, "the memory is scarce");
        for bytes in [None, Some(0), Some(u64::MAX)] {
            for (by, mappers) in [
                (By::Value, None),
                (By::Reference, None),
                (By::Reference, Some((1, 0))),
                (By::Reference, Some((4096, 1 << 40))),
            ] {
                let mappers = mappers.map(|(threads, memory_bytes)| Mappers { threads, memory_bytes });
                let allowed = MIN_CHUNK_BYTES..=most_chunk_bytes(by, bytes);
                assert!(allowed.contains(&chunk_bytes_for(bytes, by, mappers)), "{bytes:?} {by:?} {mappers:?}");
            }
        }
    }
}
