//! Which sources every token occurs in.
//!
//! What would surprise: the sources are in the key, not in the value, so that no list of them is ever merged. The word's part of the
//! key chooses the partition, so all keys of a word meet.

use super::foreign;
use crate::boundary::Boundary;
use crate::job::{Pair, Piece, Program, RecordError, Records};
use crate::key;
use crate::pairs::PairSource;
use crate::rows::{Cell, RowSink};
use crate::text;
use crate::tokens::Tokens;
use std::borrow::Cow;
use std::io;

/// Indexes tokens. Key: the word as a part (see [`crate::key`]), the source's name. No value.
#[derive(Clone, Debug)]
pub struct Index {
    /// What a word is.
    pub tokens: Tokens,
    /// Whether words are indexed in lower case.
    pub lowercase: bool,
}

fn word_and_source(word: &[u8], source: &[u8]) -> Vec<u8> {
    let mut made = Vec::with_capacity(word.len() + source.len() + 2);
    key::put_part(&mut made, word);
    made.extend_from_slice(source);
    made
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
            Ok(Pair { key: Cow::Owned(word_and_source(&token, record.name)), value: () })
        })
    }

    fn merge(&self, _: &[u8], (): &mut (), (): ()) {}

    fn group<'k>(&self, key: &'k [u8]) -> &'k [u8] {
        key::split_part(key).map_or(key, |(word, _)| word)
    }

    fn makes(&self, key: &[u8], value: &[u8]) -> bool {
        key::split_part(key).is_some() && value.is_empty()
    }

    fn columns(&self) -> &'static [&'static str] {
        &["word", "sources"]
    }

    fn rows(&self, _: &[Vec<u8>], pairs: &mut dyn PairSource, sink: &mut dyn RowSink) -> io::Result<()> {
        // One word's sources are held: at most the names of the job's sources.
        let (mut part, mut sources) = (Vec::new(), Vec::new());
        while let Some((key, _)) = pairs.next()? {
            let (word, source) = key::split_part(key).ok_or_else(|| foreign("a key of index has no word"))?;
            if part != word {
                put(&part, &mut sources, sink)?;
                part.clear();
                part.extend_from_slice(word);
            }
            sources.push(Cow::Owned(source.to_vec()));
        }
        put(&part, &mut sources, sink)
    }
}

/// Writes the row of a word, and takes its sources away.
fn put(part: &[u8], sources: &mut Vec<Cow<'_, [u8]>>, sink: &mut dyn RowSink) -> io::Result<()> {
    if sources.is_empty() {
        return Ok(());
    }
    sink.row(&[Cell::Bytes(Cow::Owned(key::read_part(part))), Cell::List(std::mem::take(sources))])
}
