//! How often every token occurs.
//!
//! What would surprise: it cannot fail on any input, so a whole piece is one record.

use super::foreign;
use super::words::{self, TakeWord};
use crate::boundary::Boundary;
use crate::job::{Pair, Piece, Program, RecordError, Records, TakePair, Value};
use crate::pairs::PairSource;
use crate::rows::{Cell, RowSink};
use crate::short::ShortKey;
use crate::text;
use crate::tokens::Tokens;
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
        Some(words::each(record.bytes, self.lowercase, &mut Ones(take)))
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

/// Words, each with a count of one.
struct Ones<'t, T>(&'t mut T);

impl<T: TakePair<u64>> TakeWord for Ones<'_, T> {
    type Error = T::Error;

    #[inline(always)]
    fn short(&mut self, word: ShortKey) -> Result<(), T::Error> {
        self.0.short(word, 1)
    }

    fn other(&mut self, word: &[u8]) -> Result<(), T::Error> {
        self.0.other(word, 1)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SourceNumber;
    use proptest::prelude::*;

    #[derive(Default)]
    struct Taken(Vec<(Vec<u8>, u64)>);

    impl TakePair<u64> for Taken {
        type Error = std::convert::Infallible;

        fn short(&mut self, key: ShortKey, value: u64) -> Result<(), Self::Error> {
            self.0.push((key.padded()[..key.len()].to_vec(), value));
            Ok(())
        }

        fn other(&mut self, key: &[u8], value: u64) -> Result<(), Self::Error> {
            self.0.push((key.to_vec(), value));
            Ok(())
        }
    }

    proptest! {
        #[test]
        fn pairs_handed_over_are_those_of_the_iterator(
            text in "([a-zA-Z]{1,20}|\\PC|\\s|[ßİΣ ]){0,60}",
            lowercase: bool,
        ) {
            let program = WordCount { tokens: Tokens::Whitespace, lowercase };
            let bytes = text.as_bytes();
            let piece = Piece { source: SourceNumber(0), name: b"-", offset: 0, bytes, continues: false, ends: true, column: None };
            let mapped: Vec<_> = program.map(piece).map(|pair| pair.map(|pair| (pair.key.into_owned(), pair.value)).unwrap()).collect();
            let mut taken = Taken::default();
            prop_assert_eq!(program.map_all(piece, &mut taken), Some(Ok(())));
            prop_assert_eq!(taken.0, mapped);
        }
    }
}
