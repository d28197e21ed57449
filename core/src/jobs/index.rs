//! Which sources every token occurs in.
//!
//! What would surprise: the sources are in the key, not in the value, so that no list of them is ever merged. They are numbers
//! there, which keeps most keys short; only rows name them. The word's part of the key chooses the partition, so all keys of a
//! word meet.

use super::foreign;
use crate::boundary::Boundary;
use crate::id::SourceNumber;
use crate::job::{Pair, Piece, Program, RecordError, Records, TakePair};
use crate::key;
use crate::pairs::PairSource;
use crate::rows::{Cell, RowSink};
use crate::text;
use crate::tokens::Tokens;
use std::borrow::Cow;
use std::io;

/// Indexes tokens. Key: the word as a part (see [`crate::key`]), the source's number in four bytes. No value.
#[derive(Clone, Debug)]
pub struct Index {
    /// What a word is.
    pub tokens: Tokens,
    /// Whether words are indexed in lower case.
    pub lowercase: bool,
}

/// Bytes of a source's number, the most significant first.
const SOURCE_BYTES: usize = 4;

impl Index {
    /// The tokens of a record as words.
    fn words<'r>(&'r self, record: Piece<'r>) -> impl Iterator<Item = Cow<'r, [u8]>> {
        let lowercase = self.lowercase;
        let word = move |token| if lowercase { text::lowercase(token) } else { Cow::Borrowed(token) };
        self.tokens.of(record.bytes).map(word)
    }
}

fn put_key(key: &mut Vec<u8>, word: &[u8], source: SourceNumber) {
    key::put_part(key, word);
    key.extend_from_slice(&source.0.to_be_bytes());
}

/// A word, and the number of a source that it occurs in.
fn split_key(key: &[u8]) -> Option<(&[u8], SourceNumber)> {
    let (word, source) = key::split_part(key)?;
    Some((word, SourceNumber(u32::from_be_bytes(<[u8; SOURCE_BYTES]>::try_from(source).ok()?))))
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
        self.words(record).map(move |word| {
            let mut key = Vec::new();
            put_key(&mut key, &word, record.source);
            Ok(Pair { key: Cow::Owned(key), value: () })
        })
    }

    fn map_all<T: TakePair<()>>(&self, record: Piece<'_>, take: &mut T) -> Option<Result<(), T::Error>> {
        let mut key = Vec::new();
        let mut each = self.words(record).map(|word| {
            key.clear();
            put_key(&mut key, &word, record.source);
            take.other(&key, ())
        });
        Some(each.try_for_each(|taken| taken))
    }

    fn merge(&self, _: &[u8], (): &mut (), (): ()) {}

    fn group<'k>(&self, key: &'k [u8]) -> &'k [u8] {
        key::split_part(key).map_or(key, |(word, _)| word)
    }

    fn makes(&self, key: &[u8], value: &[u8]) -> bool {
        split_key(key).is_some() && value.is_empty()
    }

    fn columns(&self) -> &'static [&'static str] {
        &["word", "sources"]
    }

    fn rows(&self, names: &[Vec<u8>], pairs: &mut dyn PairSource, sink: &mut dyn RowSink) -> io::Result<()> {
        // One word's sources are held: at most the names of the job's sources.
        let (mut part, mut sources) = (Vec::new(), Vec::new());
        while let Some((key, _)) = pairs.next()? {
            let (word, source) = split_key(key).ok_or_else(|| foreign("a key of index is no word and source"))?;
            if part != word {
                put(&part, &mut sources, sink)?;
                part.clear();
                part.extend_from_slice(word);
            }
            let name = names.get(source.index()).ok_or_else(|| foreign("a word is in no source of this job"))?;
            sources.push(Cow::Borrowed(name.as_slice()));
        }
        put(&part, &mut sources, sink)
    }
}

/// Writes the row of a word, and takes its sources away. One that was given twice is one.
fn put(part: &[u8], sources: &mut Vec<Cow<'_, [u8]>>, sink: &mut dyn RowSink) -> io::Result<()> {
    if sources.is_empty() {
        return Ok(());
    }
    sources.sort_unstable();
    sources.dedup();
    sink.row(&[Cell::Bytes(Cow::Owned(key::read_part(part))), Cell::List(std::mem::take(sources))])
}
