//! Lines, words, characters and bytes, in all or of every source: as `wc`, but a last line without line feed is a line.
//!
//! What would surprise: a piece may begin inside a word (see [`Piece::continues`]); what then comes first is no word of its own.

use super::foreign;
use super::word_count::{add, count};
use crate::boundary::Boundary;
use crate::job::{Pair, Piece, Program, RecordError, Records, Value};
use crate::pairs::PairSource;
use crate::rows::{Cell, RowSink};
use crate::text;
use crate::tokens::Whitespace;
use std::borrow::Cow;
use std::io;

/// Counts what `wc` counts. Key: the measure's number; by source, after the source's number. Value: how many, never 0.
#[derive(Clone, Debug)]
pub struct Count {
    /// Whether every source has its row.
    pub by_source: bool,
}

/// The measures by number.
const MEASURES: [&str; 4] = ["lines", "words", "chars", "bytes"];

/// The four measures of a piece.
fn measure(piece: &Piece<'_>) -> [u64; 4] {
    let bytes = piece.bytes;
    let feeds = memchr::memchr_iter(b'\n', bytes).count() as u64;
    let open = piece.ends && bytes.last().is_some_and(|&last| last != b'\n');
    let words = Whitespace::new(bytes).count() as u64;
    let counted = piece.continues && !bytes.is_empty() && text::space_len(bytes) == 0;
    [feeds + u64::from(open), words - u64::from(counted), text::count_chars(bytes), bytes.len() as u64]
}

impl Count {
    fn key(&self, piece: &Piece<'_>, measure: u8) -> Cow<'static, [u8]> {
        if self.by_source {
            let mut key = piece.source.0.to_be_bytes().to_vec();
            key.push(measure);
            Cow::Owned(key)
        } else {
            Cow::Borrowed(&[[0], [1], [2], [3]][usize::from(measure)])
        }
    }

    fn source_rows(sources: &[Vec<u8>], pairs: &mut dyn PairSource, sink: &mut dyn RowSink) -> io::Result<()> {
        let mut pair = next_of_source(pairs)?;
        let mut total = [0; 4];
        for (number, name) in sources.iter().enumerate() {
            let mut row = [0; 4];
            while let Some((source, measure, count)) = pair.filter(|(source, ..)| *source == number) {
                debug_assert_eq!(source, number);
                row[measure] = count;
                add(&mut total[measure], count);
                pair = next_of_source(pairs)?;
            }
            source_row(name, row, sink)?;
        }
        if pair.is_some() {
            return Err(foreign("a count is of no source of this job"));
        }
        source_row(b"total", total, sink)
    }
}

/// The next pair as source, measure and count.
fn next_of_source(pairs: &mut dyn PairSource) -> io::Result<Option<(usize, usize, u64)>> {
    let Some((key, value)) = pairs.next()? else {
        return Ok(None);
    };
    match *key {
        [a, b, c, d, measure @ 0..=3] => {
            let source = u32::from_be_bytes([a, b, c, d]) as usize;
            Ok(Some((source, usize::from(measure), count(value)?)))
        }
        _ => Err(foreign("a key of count is no source and measure")),
    }
}

fn source_row(name: &[u8], row: [u64; 4], sink: &mut dyn RowSink) -> io::Result<()> {
    let [lines, words, chars, bytes] = row.map(Cell::Number);
    sink.row(&[Cell::Bytes(Cow::Borrowed(name)), lines, words, chars, bytes])
}

impl Program for Count {
    type Value = u64;

    fn boundary(&self) -> Boundary {
        Boundary::SpaceOrCharacter
    }

    fn records(&self) -> Records {
        Records::Piece
    }

    fn map<'r>(&'r self, record: Piece<'r>) -> impl Iterator<Item = Result<Pair<'r, u64>, RecordError>> + 'r {
        // Zeros are left out, so that the pairs do not tell how the input was cut.
        let counts = (0..).zip(measure(&record)).filter(|(_, count)| *count > 0);
        counts.map(move |(measure, value)| Ok(Pair { key: self.key(&record, measure), value }))
    }

    fn merge(&self, _: &[u8], total: &mut u64, other: u64) {
        add(total, other);
    }

    fn makes(&self, key: &[u8], value: &[u8]) -> bool {
        let measure =
            if self.by_source { key.split_at_checked(4).map_or(&[][..], |(_, measure)| measure) } else { key };
        matches!(measure, [0..=3]) && u64::decode(value).is_ok()
    }

    fn columns(&self) -> &'static [&'static str] {
        if self.by_source { &["source", "lines", "words", "chars", "bytes"] } else { &["key", "count"] }
    }

    fn is_summary(&self) -> bool {
        true
    }

    fn rows(&self, sources: &[Vec<u8>], pairs: &mut dyn PairSource, sink: &mut dyn RowSink) -> io::Result<()> {
        if self.by_source {
            return Self::source_rows(sources, pairs, sink);
        }
        let mut counts = [0; 4];
        while let Some((key, value)) = pairs.next()? {
            let &[measure @ 0..=3] = key else {
                return Err(foreign("a key of count is no measure"));
            };
            counts[usize::from(measure)] = count(value)?;
        }
        for (name, count) in MEASURES.into_iter().zip(counts) {
            sink.row(&[Cell::Bytes(Cow::Borrowed(name.as_bytes())), Cell::Number(count)])?;
        }
        Ok(())
    }
}
