//! Which sources every token occurs in.
//!
//! What would surprise: the sources are in the key, not in the value, so that no list of them is ever merged. The word's part of the
//! key chooses the partition, so all keys of a word meet.

use super::foreign;
use crate::boundary::Boundary;
use crate::job::{Pair, Piece, Program, RecordError, Records};
use crate::pairs::PairSource;
use crate::rows::{Cell, RowSink};
use crate::text;
use crate::tokens::Tokens;
use std::borrow::Cow;
use std::io;

/// Indexes tokens. Key: the word, its end, the source's name. No value.
#[derive(Clone, Debug)]
pub struct Index {
    /// What a word is.
    pub tokens: Tokens,
    /// Whether words are indexed in lower case.
    pub lowercase: bool,
}

/// Ends a word. A zero inside a word is followed by [`NOT_YET`] instead, which keeps the order of words.
const END: [u8; 2] = [0, 0];
const NOT_YET: u8 = 0xff;

fn key(word: &[u8], source: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(word.len() + END.len() + source.len());
    for (index, part) in word.split(|&byte| byte == 0).enumerate() {
        if index > 0 {
            key.extend_from_slice(&[0, NOT_YET]);
        }
        key.extend_from_slice(part);
    }
    key.extend_from_slice(&END);
    key.extend_from_slice(source);
    key
}

/// Where the word's part of a key ends, behind [`END`].
fn word_end(key: &[u8]) -> Option<usize> {
    let mut zeros = memchr::memchr_iter(0, key);
    zeros.find(|&zero| key.get(zero + 1) == Some(&0)).map(|zero| zero + END.len())
}

/// The word of a word's part.
fn word(part: &[u8]) -> Vec<u8> {
    let mut word = part.strip_suffix(&END).unwrap_or(part).to_vec();
    let mut after_zero = false;
    word.retain(|&byte| {
        let kept = !(after_zero && byte == NOT_YET);
        after_zero = byte == 0;
        kept
    });
    word
}

impl Program for Index {
    type Value = ();

    fn boundary(&self) -> Boundary {
        self.tokens.boundary()
    }

    fn records(&self) -> Records {
        Records::Piece
    }

    fn map<'r>(&'r self, record: Piece<'r>) -> impl Iterator<Item = Result<Pair<'r, ()>, RecordError>> + 'r {
        self.tokens.of(record.bytes).map(move |token| {
            let token = if self.lowercase { text::lowercase(token) } else { Cow::Borrowed(token) };
            Ok(Pair { key: Cow::Owned(key(&token, record.name)), value: () })
        })
    }

    fn merge(&self, _: &[u8], (): &mut (), (): ()) {}

    fn group<'k>(&self, key: &'k [u8]) -> &'k [u8] {
        word_end(key).map_or(key, |end| &key[..end])
    }

    fn columns(&self) -> &'static [&'static str] {
        &["word", "sources"]
    }

    fn rows(&self, _: &[Vec<u8>], pairs: &mut dyn PairSource, sink: &mut dyn RowSink) -> io::Result<()> {
        // One word's sources are held: at most the names of the job's sources.
        let (mut part, mut sources) = (Vec::new(), Vec::new());
        while let Some((key, _)) = pairs.next()? {
            let end = word_end(key).ok_or_else(|| foreign("a key of index has no word"))?;
            if part != key[..end] {
                put(&part, &mut sources, sink)?;
                part.clear();
                part.extend_from_slice(&key[..end]);
            }
            sources.push(Cow::Owned(key[end..].to_vec()));
        }
        put(&part, &mut sources, sink)
    }
}

/// Writes the row of a word, and takes its sources away.
fn put(part: &[u8], sources: &mut Vec<Cow<'_, [u8]>>, sink: &mut dyn RowSink) -> io::Result<()> {
    if sources.is_empty() {
        return Ok(());
    }
    sink.row(&[Cell::Bytes(Cow::Owned(word(part))), Cell::List(std::mem::take(sources))])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn edges() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop::sample::select(vec![0, 1, 0xfe, 0xff]), 0..6)
    }

    proptest! {
        #[test]
        fn keys_keep_the_order_of_words_and_sources(
            left in ("[\0\u{1}a]{0,4}", "[\0a]{0,3}"),
            right in ("[\0\u{1}a]{0,4}", "[\0a]{0,3}"),
        ) {
            let made = |(word, source): &(String, String)| key(word.as_bytes(), source.as_bytes());
            prop_assert_eq!(made(&left).cmp(&made(&right)), left.cmp(&right));
            let key = made(&left);
            let end = word_end(&key).unwrap();
            prop_assert_eq!(word(&key[..end]), left.0.into_bytes());
            prop_assert_eq!(&key[end..], left.1.as_bytes());
        }

        #[test]
        fn bytes_beyond_text_keep_their_order_too(left in edges(), right in edges()) {
            let (made, end) = (key(&left, b"\0"), key(&left, b"").len());
            prop_assert_eq!(made.cmp(&key(&right, b"\0")), left.cmp(&right));
            prop_assert_eq!(word_end(&made), Some(end));
            prop_assert_eq!(word(&made[..end]), left);
        }
    }
}
