//! How often every word occurs, written the fast way: as a [`Program`] itself.
//!
//! Keys are bytes here, borrowed from the record; no typed key is put into bytes, and no group is reduced. A whole piece of the
//! input is one record, since nothing in it can fail; so no pair waits for the end of its line.

use rabbit_reduce_core::boundary::Boundary;
use rabbit_reduce_core::job::{Pair, Piece, Program, RecordError, Records, Value};
use rabbit_reduce_core::pairs::PairSource;
use rabbit_reduce_core::rows::{Cell, RowSink};
use std::borrow::Cow;
use std::io;

/// Rows of a word, as ASCII white space ends it, and how often it occurs.
pub struct Words;

impl Program for Words {
    type Value = u64;

    fn boundary(&self) -> Boundary {
        Boundary::Line
    }

    fn records(&self) -> Records {
        Records::Piece
    }

    fn map<'r>(&'r self, piece: Piece<'r>) -> impl Iterator<Item = Result<Pair<'r, u64>, RecordError>> + 'r {
        let words = piece.bytes.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        words.map(|word| Ok(Pair { key: Cow::Borrowed(word), value: 1 }))
    }

    fn merge(&self, _: &[u8], total: &mut u64, other: u64) {
        *total += other;
    }

    fn columns(&self) -> &'static [&'static str] {
        &["word", "count"]
    }

    /// The value is a count, so `--top` and `--sort value` know what to do.
    fn ranked(&self) -> bool {
        true
    }

    fn rows(&self, _: &[Vec<u8>], pairs: &mut dyn PairSource, sink: &mut dyn RowSink) -> io::Result<()> {
        while let Some((word, count)) = pairs.next()? {
            let count = u64::decode(count).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            sink.row(&[Cell::Bytes(Cow::Borrowed(word)), Cell::Number(count)])?;
        }
        Ok(())
    }
}
