//! How often every token occurs.
//!
//! What would surprise: it cannot fail on any input, so a whole piece is one record.

use super::foreign;
use crate::boundary::Boundary;
use crate::job::{Pair, Piece, Program, RecordError, Records, TakePair, Value};
use crate::pairs::PairSource;
use crate::rows::{Cell, RowSink};
use crate::short::ShortKey;
use crate::text;
use crate::tokens::{Tokens, Whitespace};
use std::borrow::Cow;
use std::io;

/// Counts tokens. Key: the token. Value: its count.
#[derive(Clone, Debug)]
pub struct WordCount {
    /// What a token is.
    pub tokens: Tokens,
    /// Whether tokens are counted in lower case.
    pub lowercase: bool,
}

impl Program for WordCount {
    type Value = u64;

    fn boundary(&self) -> Boundary {
        self.tokens.boundary()
    }

    fn records(&self) -> Records {
        Records::Piece
    }

    fn map<'r>(&'r self, record: Piece<'r>) -> impl Iterator<Item = Result<Pair<'r, u64>, RecordError>> + 'r {
        self.tokens.of(record.bytes).map(|token| {
            let key = if self.lowercase { text::lowercase(token) } else { Cow::Borrowed(token) };
            Ok(Pair { key, value: 1 })
        })
    }

    fn map_all<T: TakePair<u64>>(&self, record: Piece<'_>, take: &mut T) -> Option<Result<(), T::Error>> {
        let Tokens::Whitespace = self.tokens else { return None };
        let mut each = |bytes: &[u8]| {
            let mut tokens = Whitespace::new(bytes);
            while let Some(token) = tokens.next() {
                let short = ShortKey::within(bytes, tokens.end() - token.len(), token.len());
                let short = match short {
                    Some(short) if self.lowercase => short.is_ascii().then(|| short.to_ascii_lowercase()),
                    as_it_is => as_it_is,
                };
                match short {
                    Some(short) => take.short(short, 1)?,
                    None if self.lowercase => take.other(&text::lowercase(token), 1)?,
                    None => take.other(token, 1)?,
                }
            }
            Ok(())
        };
        Some(each(record.bytes))
    }

    fn merge(&self, _: &[u8], total: &mut u64, other: u64) {
        add(total, other);
    }

    fn columns(&self) -> &'static [&'static str] {
        &["key", "count"]
    }

    fn ranked(&self) -> bool {
        true
    }

    fn rows(&self, _: &[Vec<u8>], pairs: &mut dyn PairSource, sink: &mut dyn RowSink) -> io::Result<()> {
        key_count_rows(pairs, sink)
    }
}

/// A row for every pair, as it is.
pub(super) fn key_count_rows(pairs: &mut dyn PairSource, sink: &mut dyn RowSink) -> io::Result<()> {
    while let Some((key, value)) = pairs.next()? {
        let count = count(value)?;
        sink.row(&[Cell::Bytes(Cow::Borrowed(key)), Cell::Number(count)])?;
    }
    Ok(())
}

/// Adds counts. No input is long enough to reach the end of a `u64`; a forged message is, and must not stop the process.
pub(super) fn add(total: &mut u64, other: u64) {
    *total = total.saturating_add(other);
}

/// A pair's value, which must be a count.
pub(super) fn count(value: &[u8]) -> io::Result<u64> {
    u64::decode(value).map_err(|_| foreign("a count is no number"))
}
