//! How often every letter occurs: every alphabetic character.
//!
//! What would surprise: a letter in lower case may be two characters (`İ`); they stay one key.

use super::word_count::{add, key_count_rows};
use crate::boundary::Boundary;
use crate::job::{Pair, Piece, Program, RecordError, Records};
use crate::pairs::PairSource;
use crate::rows::RowSink;
use crate::text;
use crate::tokens::letter_len;
use std::borrow::Cow;
use std::io;

/// Counts letters. Key: the letter in UTF-8. Value: its count.
#[derive(Clone, Debug)]
pub struct LetterCount {
    /// Whether letters are counted in lower case.
    pub lowercase: bool,
}

/// The lower case of `A` to `Z`, so that the most common letters need no memory of their own.
const LOWER: &[u8; 26] = b"abcdefghijklmnopqrstuvwxyz";

/// The letters of a piece, one by one.
struct Letters<'r> {
    rest: &'r [u8],
}

impl<'r> Iterator for Letters<'r> {
    type Item = &'r [u8];

    #[inline]
    fn next(&mut self) -> Option<&'r [u8]> {
        while !self.rest.is_empty() {
            let length = letter_len(self.rest);
            let (letter, rest) = self.rest.split_at(length.max(text::char_len(self.rest)));
            self.rest = rest;
            if length > 0 {
                return Some(letter);
            }
        }
        None
    }
}

/// One letter in lower case.
#[inline]
fn lowercase(letter: &[u8]) -> Cow<'_, [u8]> {
    match letter {
        [upper @ b'A'..=b'Z'] => {
            let place = usize::from(upper - b'A');
            Cow::Borrowed(&LOWER[place..=place])
        }
        [_] => Cow::Borrowed(letter),
        _ => text::lowercase(letter),
    }
}

impl Program for LetterCount {
    type Value = u64;

    fn boundary(&self) -> Boundary {
        Boundary::SpaceOrCharacter
    }

    fn records(&self) -> Records {
        Records::Piece
    }

    fn map<'r>(&'r self, record: Piece<'r>) -> impl Iterator<Item = Result<Pair<'r, u64>, RecordError>> + 'r {
        Letters { rest: record.bytes }.map(|letter| {
            let key = if self.lowercase { lowercase(letter) } else { Cow::Borrowed(letter) };
            Ok(Pair { key, value: 1 })
        })
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
