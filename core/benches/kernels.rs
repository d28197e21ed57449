//! The kernels one by one, in bytes a second: cargo bench -p rabbit-reduce-core
//!
//! Their input is a text of 30,000 words, as frequent as those of a natural language are, or that of the file in BENCH_TEXT.
//! What would surprise: `map` is the whole of a chunk's mapping, from its bytes to its segments; what is above it are its parts.

use bytes::Bytes;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use rabbit_reduce_core::id::{ChunkNumber, JobId, PartitionNumber, SourceNumber};
use rabbit_reduce_core::job::Piece;
use rabbit_reduce_core::jobs::WordCount;
use rabbit_reduce_core::ledger::delta::{Delta, Fold};
use rabbit_reduce_core::map::{LeftOut, Limits, Mapped, map_chunk};
use rabbit_reduce_core::merge::{Merge, combine};
use rabbit_reduce_core::message::Partial;
use rabbit_reduce_core::pairs::{Cursor, PairReader, PairWriter};
use rabbit_reduce_core::spec::{OUTPUT_BYTES, SEGMENT_BYTES};
use rabbit_reduce_core::table::{Scratch, ScratchFile};
use rabbit_reduce_core::tokens::Tokens;
use std::io;
use std::sync::LazyLock;

/// A chunk.
const CHUNK_BYTES: usize = 4 << 20;
const WORDS: u64 = 30_000;
/// Segments that are merged at once.
const RUNS: usize = 16;

static TEXT: LazyLock<Vec<u8>> = LazyLock::new(|| match std::env::var_os("BENCH_TEXT") {
    None => text(),
    Some(path) => {
        let mut text = std::fs::read(path).expect("BENCH_TEXT is a file");
        text.truncate(CHUNK_BYTES);
        text
    }
});

/// A word's rank is as likely as one over it: the logarithm of the rank is uniform.
fn text() -> Vec<u8> {
    let (mut text, mut random) = (Vec::with_capacity(CHUNK_BYTES), fastrand::Rng::with_seed(7));
    while text.len() < CHUNK_BYTES {
        let rank = (WORDS as f64).powf(random.f64()) as u64;
        let mut word = fastrand::Rng::with_seed(rank);
        let length = 1 + (64 - rank.leading_zeros()) / 3 + word.u32(0..4);
        text.extend(
            (0..length).map(
                |place| if place == 0 && rank.is_multiple_of(9) { word.uppercase() } else { word.lowercase() } as u8,
            ),
        );
        text.push(if random.u32(0..12) == 0 { b'\n' } else { b' ' });
    }
    text.truncate(CHUNK_BYTES);
    text
}

const PROGRAM: WordCount = WordCount { tokens: Tokens::Whitespace, lowercase: true };

struct NoScratch;

impl Scratch for NoScratch {
    fn create(&self) -> io::Result<Box<dyn ScratchFile>> {
        Err(io::Error::other("it fits in memory"))
    }
}

fn mapped(bytes: &[u8], partitions: u32) -> Mapped {
    let piece =
        Piece { source: SourceNumber(0), name: b"-", offset: 0, bytes, continues: false, ends: true, column: None };
    let limits =
        Limits { partitions, segment_bytes: SEGMENT_BYTES, output_bytes: OUTPUT_BYTES, budget_bytes: 256 << 20 };
    map_chunk(&PROGRAM, &[piece], LeftOut::default(), limits, &NoScratch, &mut ()).expect("words can be counted")
}

/// The pairs of one partition's segments.
fn segments() -> Vec<Bytes> {
    let chunks = TEXT.chunks(CHUNK_BYTES / RUNS);
    chunks.map(|chunk| mapped(chunk, 1).body(0, 0).expect("it is in memory")).collect()
}

fn bytes_of(segments: &[Bytes]) -> BytesCount {
    BytesCount::new(segments.iter().map(Bytes::len).sum::<usize>())
}

/// Every token of a text by white space.
#[divan::bench]
fn tokens(bencher: Bencher<'_, '_>) {
    let tokens = Tokens::Whitespace;
    bencher.counter(BytesCount::of_slice(TEXT.as_slice())).bench(|| tokens.of(black_box(TEXT.as_slice())).count());
}

/// Every letter run of a text, by Unicode.
#[divan::bench]
fn letters(bencher: Bencher<'_, '_>) {
    let tokens = Tokens::Letters;
    bencher.counter(BytesCount::of_slice(TEXT.as_slice())).bench(|| tokens.of(black_box(TEXT.as_slice())).count());
}

/// A chunk, counted, sorted and cut into segments for so many partitions.
#[divan::bench(args = [1, 16])]
fn map(bencher: Bencher<'_, '_>, partitions: u32) {
    bencher.counter(BytesCount::of_slice(TEXT.as_slice())).bench(|| mapped(black_box(TEXT.as_slice()), partitions));
}

/// Pairs written as a segment's body.
#[divan::bench]
fn encode(bencher: Bencher<'_, '_>) {
    let mut pairs = Vec::new();
    for segment in segments() {
        let mut reader = PairReader::new(segment);
        while reader.advance().expect("our own pairs can be read") {
            pairs.push((reader.key().to_vec(), reader.value().to_vec()));
        }
    }
    bencher.counter(bytes_of(&segments())).bench(|| {
        let (mut out, mut writer) = (Vec::new(), PairWriter::default());
        for (key, value) in black_box(&pairs) {
            writer.put(&mut out, key, value);
        }
        out
    });
}

/// The pairs of segments read back.
#[divan::bench]
fn decode(bencher: Bencher<'_, '_>) {
    let segments = segments();
    bencher.counter(bytes_of(&segments)).bench(|| {
        let mut pairs = 0;
        for segment in black_box(&segments) {
            let mut reader = PairReader::new(segment.clone());
            while reader.advance().expect("our own pairs can be read") {
                pairs += reader.value().len();
            }
        }
        pairs
    });
}

/// Segments merged into one run, equal keys added up.
#[divan::bench]
fn merge(bencher: Bencher<'_, '_>) {
    let segments = segments();
    bencher.counter(bytes_of(&segments)).bench(|| {
        let cursors = black_box(&segments).iter().map(|body| PairReader::new(body.clone())).collect();
        let adding = |key: &[u8], total: &mut Vec<u8>, other: &[u8]| combine(&PROGRAM, key, total, other);
        let mut merged = Merge::new(cursors, adding).expect("our own pairs can be read");
        let mut pairs = 0;
        while merged.advance().expect("our own pairs can be read") {
            pairs += merged.value().len();
        }
        pairs
    });
}

/// Segments taken into a delta, as an aggregator holds them until it commits; a segment each of as many chunks.
#[divan::bench]
fn fold(bencher: Bencher<'_, '_>) {
    const CHUNKS: u32 = 1000;
    let body = segments().swap_remove(0);
    let partial = |chunk| Partial {
        job: JobId(uuid::Uuid::nil()),
        chunk: ChunkNumber(chunk),
        record: None,
        attempt: 1,
        partition: PartitionNumber(0),
        partitions: 1,
        segment: 0,
        last: true,
        store: String::new(),
        digest: 7,
        worker: "w".to_owned(),
        pairs: 1,
        strikes: 0,
        agreed: 0,
        skips: None,
        home: None,
    };
    let partials: Vec<Partial> = (0..CHUNKS).map(partial).collect();
    bencher.counter(BytesCount::new(body.len() * partials.len())).with_inputs(|| partials.clone()).bench_values(
        |partials| {
            let mut delta = Delta::default();
            for partial in partials {
                let folded = delta.fold(partial, black_box(body.clone()), ());
                assert!(matches!(folded, Fold::Held), "each is of a chunk of its own");
            }
            delta
        },
    );
}

fn main() {
    divan::main();
}
