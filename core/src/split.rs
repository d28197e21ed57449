//! Cuts the sources of a job into chunks, at record boundaries, looking only at the neighbourhood of each cut.
//!
//! It knows sources by their sizes and by windows of their bytes, not how they are read; CSV alone it reads as a whole, since only
//! all quotes before a line feed tell what that is. The same sources and limits always
//! give the same chunks. What would surprise: whether a record is too long does not depend on the chunk size, so that every
//! chunk size gives the same answer; a chunk that is larger than the longest record is made of strides that are not.

use crate::boundary::{self, Boundary};
use crate::id::{ChunkNumber, SourceNumber};
use crate::selection::quotes::Quotes;
use crate::skip::Skip;
use std::io;

/// The longest record, in bytes, up to and with its boundary; a longer one is a loss. What a message can carry sets it.
pub const MAX_RECORD_BYTES: u64 = 8 << 20;
/// The largest chunk whose task does not carry it.
pub const MAX_REFERENCE_BYTES: u64 = 64 << 20;
/// The most pieces a chunk has, so that a task's header stays small beside its body.
pub const MAX_PIECES: usize = 4096;
/// The most bytes of source names a chunk carries, for the same reason: in JSON a byte may take six.
pub const MAX_NAME_BYTES: usize = 512 << 10;
/// What is looked at around a cut at first, in bytes; more only if there is no boundary.
const NEIGHBOURHOOD: u64 = 4096;
/// How far a search goes in one step, in bytes.
const STRIDE: u64 = 256 << 10;

/// Bytes of the longest character in UTF-8.
const LONGEST_CHARACTER: usize = 4;

/// Sources as the splitter needs them.
pub trait Sources {
    /// How many there are.
    fn count(&self) -> u32;
    /// A source's size in bytes, if it is known before it is read.
    fn size(&self, source: SourceNumber) -> Option<u64>;
    /// Bytes that a task's header takes for it: its name, and its path where tasks go by reference.
    fn name_bytes(&self, source: SourceNumber) -> usize;
    /// Its bytes from `offset`, `length` of them; fewer only where it ends. Windows move forward: a source that cannot be read
    /// twice must keep what lies behind the last [`Piece`](ChunkPlan) alone.
    ///
    /// # Errors
    /// Fails if it cannot be read.
    fn window(&mut self, source: SourceNumber, offset: u64, length: usize) -> io::Result<&[u8]>;
}

/// A piece of a chunk, as a range of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PieceRange {
    /// The source.
    pub source: SourceNumber,
    /// Where it begins, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub length: u64,
    /// It begins inside a run without boundary.
    pub continues: bool,
    /// It ends where its source ends.
    pub ends: bool,
}

/// One chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkPlan {
    /// Its number.
    pub number: ChunkNumber,
    /// Its pieces, in order.
    pub pieces: Vec<PieceRange>,
    /// Records too long to travel.
    pub too_long: Vec<Skip>,
}

impl ChunkPlan {
    /// The bytes of its pieces.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.length).sum()
    }
}

/// Yields the chunks of a job, in order.
#[derive(Debug)]
pub struct Splitter {
    boundary: Boundary,
    chunk_bytes: u64,
    record_bytes: u64,
    source: u32,
    offset: u64,
    continues: bool,
    next: u32,
}

enum Step {
    Piece { length: u64, ends: bool, continues: bool },
    TooLong { length: u64, ends: bool },
    Full,
    Nothing,
}

impl Splitter {
    /// Chunks of at most `chunk_bytes`, unless a record is longer.
    ///
    /// # Panics
    /// If `chunk_bytes` is 0 or over [`MAX_REFERENCE_BYTES`]: a job's spec is checked.
    #[must_use]
    pub fn new(boundary: Boundary, chunk_bytes: u64) -> Self {
        Self::with_record_limit(boundary, chunk_bytes, MAX_RECORD_BYTES)
    }

    /// The same with another longest record, for tests.
    ///
    /// # Panics
    /// As [`Splitter::new`].
    #[must_use]
    pub fn with_record_limit(boundary: Boundary, chunk_bytes: u64, record_bytes: u64) -> Self {
        assert!(chunk_bytes > 0 && chunk_bytes <= MAX_REFERENCE_BYTES, "a chunk of {chunk_bytes} bytes");
        Self { boundary, chunk_bytes, record_bytes, source: 0, offset: 0, continues: false, next: 0 }
    }

    /// The next chunk, or `None` after the last.
    ///
    /// # Errors
    /// Fails if a source cannot be read; the splitter then stays where it was.
    pub fn next(&mut self, sources: &mut dyn Sources) -> io::Result<Option<ChunkPlan>> {
        let mut plan = ChunkPlan { number: ChunkNumber(self.next), pieces: Vec::new(), too_long: Vec::new() };
        let (mut bytes, mut name_bytes) = (0, 0);
        while self.source < sources.count() {
            let source = SourceNumber(self.source);
            let fresh = plan.pieces.is_empty();
            let goes_on = plan.pieces.last_mut().filter(|last| last.source == source);
            if !fresh && goes_on.is_none() && name_bytes + sources.name_bytes(source) > MAX_NAME_BYTES {
                break;
            }
            // No farther than a record may reach: one that is too long then never lies between two boundaries that are found.
            let stride = (self.chunk_bytes - bytes).min(self.record_bytes);
            match self.step(sources, source, stride, fresh)? {
                Step::Piece { length, ends, continues } => {
                    if let Some(last) = goes_on {
                        (last.length, last.ends) = (last.length + length, ends);
                    } else {
                        let (offset, begun) = (self.offset, self.continues);
                        plan.pieces.push(PieceRange { source, offset, length, continues: begun, ends });
                        name_bytes += sources.name_bytes(source);
                    }
                    bytes += length;
                    self.advance(length, ends, continues);
                    let full = bytes >= self.chunk_bytes || continues || !ends && stride < self.record_bytes;
                    if full || plan.pieces.len() == MAX_PIECES {
                        break;
                    }
                }
                Step::TooLong { length, ends } => {
                    let reason = format!("a record of {length} bytes is longer than {} bytes", self.record_bytes);
                    plan.too_long.push(Skip { source, offset: self.offset, reason });
                    self.advance(length, ends, false);
                    if plan.too_long.len() == MAX_PIECES {
                        break;
                    }
                }
                Step::Full => break,
                Step::Nothing => self.advance(0, true, false),
            }
        }
        if plan.pieces.is_empty() && plan.too_long.is_empty() {
            return Ok(None);
        }
        self.next += 1;
        Ok(Some(plan))
    }

    fn advance(&mut self, length: u64, ends: bool, continues: bool) {
        if ends {
            (self.source, self.offset, self.continues) = (self.source + 1, 0, false);
        } else {
            self.offset += length;
            self.continues = continues;
        }
    }

    /// What comes next from this source: all of it if it fits, else up to the last boundary that fits, else one long record.
    fn step(&self, sources: &mut dyn Sources, source: SourceNumber, budget: u64, fresh: bool) -> io::Result<Step> {
        let rest = match sources.size(source) {
            Some(size) => size.saturating_sub(self.offset),
            None => bytes_ahead(sources, source, self.offset, budget + 1)?,
        };
        if rest == 0 {
            return Ok(Step::Nothing);
        }
        if rest <= budget {
            return Ok(Step::Piece { length: rest, ends: true, continues: false });
        }
        if let Some(length) = self.last_boundary(sources, source, budget)? {
            return Ok(Step::Piece { length, ends: false, continues: false });
        }
        if !fresh {
            return Ok(Step::Full);
        }
        if self.boundary == Boundary::SpaceOrCharacter {
            let wanted = as_usize(budget) + 1 + LONGEST_CHARACTER;
            let window = sources.window(source, self.offset, wanted)?;
            let length = boundary::character_at_or_before(window, as_usize(budget));
            // A chunk smaller than one character is stretched to hold it whole.
            let length = if length > 0 { length } else { first_character(window) };
            let ends = window.len() < wanted && length == window.len();
            // A stretched chunk may end behind white space.
            let continues = !ends && !self.boundary.is_at(window, length);
            return Ok(Step::Piece { length: length as u64, ends, continues });
        }
        if let Boundary::Csv(delimiter) = self.boundary {
            return self.long_csv_record(sources, source, Quotes::new(delimiter));
        }
        self.long_record(sources, source, budget)
    }

    /// The last boundary within `budget`, looking near its end first, where that tells.
    fn last_boundary(&self, sources: &mut dyn Sources, source: SourceNumber, budget: u64) -> io::Result<Option<u64>> {
        let spans = [NEIGHBOURHOOD, budget];
        for span in if self.boundary.is_local() { &spans } else { &spans[1..] } {
            let span = *span;
            let span = span.min(budget);
            let behind = if span == budget { 0 } else { boundary::LOOK_BEHIND as u64 };
            let begin = budget - span - behind.min(budget - span);
            let length = as_usize(budget - begin) + boundary::LOOK_AHEAD;
            let window = sources.window(source, self.offset + begin, length)?;
            let (from, to) = (as_usize(budget - span - begin), as_usize(budget - begin).min(window.len()));
            if let Some(at) = self.boundary.last_in(window, from, to) {
                return Ok(Some(begin + at as u64));
            }
        }
        Ok(None)
    }

    /// A record that does not fit `budget`: on to its end, however far; too long if that is beyond the limit.
    fn long_record(&self, sources: &mut dyn Sources, source: SourceNumber, budget: u64) -> io::Result<Step> {
        let mut from = budget;
        loop {
            let begin = from - from.min(boundary::LOOK_BEHIND as u64);
            let length = as_usize(from - begin + STRIDE) + boundary::LOOK_AHEAD;
            let window = sources.window(source, self.offset + begin, length)?;
            let ended = window.len() < length;
            let to = if ended { window.len() } else { window.len() - boundary::LOOK_AHEAD };
            let found = self.boundary.first_in(window, as_usize(from - begin), to).map(|at| begin + at as u64);
            let end = begin + window.len() as u64;
            if let Some(length) = found.or(ended.then_some(end)) {
                return Ok(self.long(length, ended && length == end));
            }
            from = begin + to as u64;
        }
    }

    /// The same of CSV: all of it is read, since what a line feed means depends on the quotes before it.
    fn long_csv_record(&self, sources: &mut dyn Sources, source: SourceNumber, mut quotes: Quotes) -> io::Result<Step> {
        let mut from = 0;
        loop {
            // A byte more tells whether the record ends with the source.
            let wanted = as_usize(STRIDE) + 1;
            let window = sources.window(source, self.offset + from, wanted)?;
            let ended = window.len() < wanted;
            let part = if ended { window } else { &window[..wanted - 1] };
            if let Some(read) = quotes.end(part) {
                return Ok(self.long(from + read as u64, ended && read == part.len()));
            }
            from += part.len() as u64;
            if ended {
                return Ok(self.long(from, true));
            }
        }
    }

    const fn long(&self, length: u64, ends: bool) -> Step {
        if length <= self.record_bytes {
            Step::Piece { length, ends, continues: false }
        } else {
            Step::TooLong { length, ends }
        }
    }
}

fn bytes_ahead(sources: &mut dyn Sources, source: SourceNumber, offset: u64, wanted: u64) -> io::Result<u64> {
    Ok(sources.window(source, offset, as_usize(wanted))?.len() as u64)
}

fn first_character(window: &[u8]) -> usize {
    (1..window.len()).find(|&at| window[at] & 0xC0 != 0x80).unwrap_or(window.len()).min(LONGEST_CHARACTER)
}

fn as_usize(bytes: u64) -> usize {
    usize::try_from(bytes).expect("windows are bounded by the record limit")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct InMemory {
        sources: Vec<Vec<u8>>,
        sizes_known: bool,
        farthest: u64,
    }

    impl Sources for InMemory {
        fn count(&self) -> u32 {
            self.sources.len() as u32
        }
        fn size(&self, source: SourceNumber) -> Option<u64> {
            self.sizes_known.then(|| self.sources[source.index()].len() as u64)
        }
        fn name_bytes(&self, _: SourceNumber) -> usize {
            1
        }
        fn window(&mut self, source: SourceNumber, offset: u64, length: usize) -> io::Result<&[u8]> {
            self.farthest += length as u64;
            let bytes = &self.sources[source.index()];
            let from = (offset as usize).min(bytes.len());
            Ok(&bytes[from..(from + length).min(bytes.len())])
        }
    }

    fn split(boundary: Boundary, chunk: u64, record: u64, sources: &[Vec<u8>], sizes_known: bool) -> Vec<ChunkPlan> {
        let mut sources = InMemory { sources: sources.to_vec(), sizes_known, farthest: 0 };
        let mut splitter = Splitter::with_record_limit(boundary, chunk, record);
        let mut chunks = Vec::new();
        while let Some(chunk) = splitter.next(&mut sources).unwrap() {
            assert_eq!(chunk.number.index(), chunks.len());
            chunks.push(chunk);
        }
        chunks
    }

    fn texts() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let piece = prop_oneof![
            4 => "[a-c]{1,6}".prop_map(String::into_bytes),
            4 => "[ \n\t]".prop_map(String::into_bytes),
            2 => "(\r\n|\n\n|c\"|\")".prop_map(String::into_bytes),
            1 => Just("\u{3000}".as_bytes().to_vec()),
            1 => Just("é€😀\u{308}".as_bytes().to_vec()),
            1 => prop::collection::vec(any::<u8>(), 1..4),
        ];
        let source = prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat());
        prop::collection::vec(source, 0..6)
    }

    fn boundaries() -> impl Strategy<Value = Boundary> {
        prop::sample::select(vec![
            Boundary::Space,
            Boundary::SpaceOrCharacter,
            Boundary::Word,
            Boundary::Line,
            Boundary::Paragraph,
            Boundary::Byte(b'b'),
            Boundary::Csv(b'c'),
        ])
    }

    proptest! {
        #[test]
        fn chunks_cover_the_input_once_and_cut_at_boundaries_only(
            sources in texts(), boundary in boundaries(), chunk in 1u64..90, known: bool,
        ) {
            let mut at = vec![0u64; sources.len()];
            for plan in split(boundary, chunk, 40, &sources, known) {
                let longest = plan.pieces.len() == 1;
                prop_assert!(plan.bytes() <= chunk || longest, "{plan:?}");
                for piece in &plan.pieces {
                    let bytes = &sources[piece.source.index()];
                    // What lies between is a record too long, told of in its place or in a chunk before.
                    prop_assert!(piece.offset >= at[piece.source.index()]);
                    let end = piece.offset + piece.length;
                    prop_assert_eq!(piece.ends, end == bytes.len() as u64);
                    let whole = piece.ends || boundary.is_at(bytes, end as usize);
                    prop_assert!(whole || boundary == Boundary::SpaceOrCharacter, "{piece:?}");
                    at[piece.source.index()] = end;
                }
            }
        }

        #[test]
        fn the_same_records_are_too_long_whatever_the_chunk_size(
            sources in texts(), boundary in boundaries(), chunks in (1u64..40, 1u64..40), known: bool,
        ) {
            let skips = |chunk| -> Vec<_> {
                split(boundary, chunk, 12, &sources, known).into_iter().flat_map(|plan| plan.too_long).collect()
            };
            prop_assert_eq!(skips(chunks.0), skips(chunks.1));
            if boundary == Boundary::SpaceOrCharacter {
                prop_assert_eq!(skips(chunks.0), vec![]);
            }
        }

        #[test]
        fn pieces_and_records_too_long_make_up_every_source(sources in texts(), boundary in boundaries(), chunk in 1u64..40) {
            let plans = split(boundary, chunk, 12, &sources, true);
            let mut spans: Vec<(u32, u64, u64)> = plans.iter().flat_map(|plan| &plan.pieces)
                .map(|piece| (piece.source.0, piece.offset, piece.length)).collect();
            spans.extend(plans.iter().flat_map(|plan| &plan.too_long).map(|skip| {
                let length = skip.reason.split(' ').nth(3).unwrap().parse().unwrap();
                (skip.source.0, skip.offset, length)
            }));
            spans.sort_unstable();
            let mut at = vec![0; sources.len()];
            for (source, offset, length) in spans {
                prop_assert_eq!(at[source as usize], offset);
                at[source as usize] = offset + length;
            }
            let sizes: Vec<_> = sources.iter().map(|source| source.len() as u64).collect();
            prop_assert_eq!(at, sizes);
        }

        #[test]
        fn known_and_unknown_sizes_give_the_same_chunks(sources in texts(), boundary in boundaries(), chunk in 1u64..90) {
            prop_assert_eq!(split(boundary, chunk, 40, &sources, true), split(boundary, chunk, 40, &sources, false));
        }
    }

    #[test]
    fn a_large_source_is_read_around_its_cuts_only() {
        let text = b"some words and\n".repeat(1 << 16);
        let mut sources = InMemory { sources: vec![text.clone()], sizes_known: true, farthest: 0 };
        let mut splitter = Splitter::new(Boundary::Space, 64 << 10);
        while splitter.next(&mut sources).unwrap().is_some() {}
        assert!(sources.farthest < text.len() as u64 / 10, "{} of {} bytes", sources.farthest, text.len());
    }

    #[test]
    fn many_small_sources_share_a_chunk() {
        let sources = vec![b"tiny\n".to_vec(); 1000];
        assert_eq!(split(Boundary::Line, 4096, 4096, &sources, true).len(), 2);
    }
}
