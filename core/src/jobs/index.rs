//! Which sources every token occurs in.
//!
//! What would surprise: sources are told by their numbers; only rows name them. A word's sources lie in blocks of 65,536, a pair
//! for each, so that no value grows beyond 64 KiB however many sources there are. The word's part of the key chooses the
//! partition, so all blocks of a word meet.

use super::foreign;
use super::words::{self, TakeWord};
use crate::boundary::Boundary;
use crate::id::SourceNumber;
use crate::job::{Pair, Piece, Program, RecordError, Records, TakePair, Value};
use crate::key;
use crate::pairs::PairSource;
use crate::postings::Postings;
use crate::rows::{Cell, RowSink};
use crate::short::{Key, ShortKey};
use crate::text;
use crate::tokens::Tokens;
use std::borrow::Cow;
use std::io;

/// Indexes tokens. Key: the word as a part (see [`crate::key`]), a block's number in two bytes. Value: which of the block's
/// sources it occurs in.
#[derive(Clone, Debug)]
pub struct Index {
    /// What a word is.
    pub tokens: Tokens,
    /// Whether words are indexed in lower case.
    pub lowercase: bool,
}

/// Where a source is: its block, and which one of that.
const fn place(source: SourceNumber) -> (u16, u16) {
    ((source.0 >> 16) as u16, source.0 as u16)
}

/// The source at a place.
const fn source(block: u16, number: u16) -> SourceNumber {
    SourceNumber((block as u32) << 16 | number as u32)
}

fn word_and_block(word: &[u8], block: u16, key: &mut Vec<u8>) {
    key::put_part(key, word);
    key.extend_from_slice(&block.to_be_bytes());
}

/// A word as a part, and a block.
fn split_key(key: &[u8]) -> Option<(&[u8], u16)> {
    let (word, block) = key::split_part(key)?;
    Some((word, u16::from_be_bytes(<[u8; 2]>::try_from(block).ok()?)))
}

impl Index {
    /// The tokens of a record as words.
    fn words<'r>(&'r self, record: Piece<'r>) -> impl Iterator<Item = Cow<'r, [u8]>> {
        let word = |token| if self.lowercase { text::lowercase(token) } else { Cow::Borrowed(token) };
        self.tokens.of(record.bytes).map(word)
    }
}

impl Program for Index {
    type Value = Postings;

    fn boundary(&self) -> Boundary {
        self.tokens.boundary()
    }

    fn records(&self) -> Records {
        Records::Piece
    }

    fn map<'r>(&'r self, record: Piece<'r>) -> impl Iterator<Item = Result<Pair<'r, Postings>, RecordError>> + 'r {
        let (block, number) = place(record.source);
        self.words(record).map(move |word| {
            let mut key = Vec::new();
            word_and_block(&word, block, &mut key);
            Ok(Pair { key: Cow::Owned(key), value: Postings::of(number) })
        })
    }

    fn map_all<T: TakePair<Postings>>(&self, record: Piece<'_>, take: &mut T) -> Option<Result<(), T::Error>> {
        let (block, number) = place(record.source);
        let mut places = Places { take, block, number, key: Vec::new() };
        Some(match self.tokens {
            Tokens::Whitespace => words::each(record.bytes, self.lowercase, &mut places),
            _ => self.words(record).try_for_each(|word| places.other(&word)),
        })
    }

    fn merge(&self, _: &[u8], total: &mut Postings, other: Postings) {
        total.add(other);
    }

    fn group<'k>(&self, key: &'k [u8]) -> &'k [u8] {
        key::split_part(key).map_or(key, |(word, _)| word)
    }

    fn makes(&self, key: &[u8], value: &[u8]) -> bool {
        split_key(key).is_some() && Postings::decode(value).is_ok()
    }

    fn columns(&self) -> &'static [&'static str] {
        &["word", "sources"]
    }

    fn rows(&self, names: &[Vec<u8>], pairs: &mut dyn PairSource, sink: &mut dyn RowSink) -> io::Result<()> {
        let names = Names::new(names);
        // One word's sources are held: at most the names of the job's sources.
        let (mut part, mut sources) = (Vec::new(), Vec::new());
        while let Some((key, value)) = pairs.next()? {
            let (word, block) = split_key(key).ok_or_else(|| foreign("a key of index is no word and block"))?;
            if part != word {
                put(&part, &names, &mut sources, sink)?;
                part.clear();
                part.extend_from_slice(word);
            }
            let postings = Postings::decode(value).map_err(|_| foreign("a value of index is no sources"))?;
            for number in postings.iter() {
                let rank = names.ranks.get(source(block, number).index());
                sources.push(*rank.ok_or_else(|| foreign("a word is in no source of this job"))?);
            }
        }
        put(&part, &names, &mut sources, sink)
    }
}

/// Words of one source, each with where that is.
struct Places<'t, T> {
    take: &'t mut T,
    block: u16,
    number: u16,
    /// The key of a word that is not short, or not any more with its block.
    key: Vec<u8>,
}

impl<T: TakePair<Postings>> TakeWord for Places<'_, T> {
    type Error = T::Error;

    #[inline(always)]
    fn short(&mut self, word: ShortKey) -> Result<(), T::Error> {
        let [high, low] = self.block.to_be_bytes();
        match word.followed_by([key::END[0], key::END[1], high, low]) {
            Some(key) if !word.has_zero() => self.take.short(key, Postings::of(self.number)),
            _ => self.other(Key::Short(word).bytes(&mut Default::default())),
        }
    }

    #[inline(never)]
    fn other(&mut self, word: &[u8]) -> Result<(), T::Error> {
        self.key.clear();
        word_and_block(word, self.block, &mut self.key);
        self.take.other(&self.key, Postings::of(self.number))
    }
}

/// The names of a job's sources, in ascending order.
struct Names<'n> {
    sorted: Vec<&'n [u8]>,
    /// Of each source, which of these is its name.
    ranks: Vec<usize>,
}

impl<'n> Names<'n> {
    fn new(names: &'n [Vec<u8>]) -> Self {
        let mut sorted: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
        sorted.sort_unstable();
        // A source that was given twice is one.
        sorted.dedup();
        let rank = |name: &Vec<u8>| sorted.binary_search(&name.as_slice()).expect("every name is among them");
        let ranks = names.iter().map(rank).collect();
        Self { sorted, ranks }
    }
}

/// Writes the row of a word, and takes its sources away.
fn put(part: &[u8], names: &Names<'_>, sources: &mut Vec<usize>, sink: &mut dyn RowSink) -> io::Result<()> {
    if sources.is_empty() {
        return Ok(());
    }
    sources.sort_unstable();
    sources.dedup();
    let named = sources.drain(..).map(|rank| Cow::Borrowed(names.sorted[rank])).collect();
    sink.row(&[Cell::Bytes(key::read_part(part)), Cell::List(named)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Default)]
    struct Taken(Vec<(Vec<u8>, Postings)>);

    impl TakePair<Postings> for Taken {
        type Error = std::convert::Infallible;

        fn short(&mut self, key: ShortKey, value: Postings) -> Result<(), Self::Error> {
            self.0.push((key.padded()[..key.len()].to_vec(), value));
            Ok(())
        }

        fn other(&mut self, key: &[u8], value: Postings) -> Result<(), Self::Error> {
            self.0.push((key.to_vec(), value));
            Ok(())
        }
    }

    #[derive(Default)]
    struct Rows(Vec<(Vec<u8>, Vec<Vec<u8>>)>);

    impl RowSink for Rows {
        fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()> {
            let [Cell::Bytes(word), Cell::List(names)] = cells else { panic!("a word and its sources") };
            self.0.push((word.to_vec(), names.iter().map(|name| name.to_vec()).collect()));
            Ok(())
        }
    }

    /// The rows of one word's places, for a job of 70,000 sources, of which the last has the name of the first.
    fn rows(places: &[SourceNumber]) -> io::Result<Rows> {
        let mut names: Vec<Vec<u8>> = (0..70_000).map(|number| format!("{number:05}").into_bytes()).collect();
        names[69_999] = names[0].clone();
        let mut blocks = std::collections::BTreeMap::<u16, Postings>::new();
        for (block, number) in places.iter().map(|source| place(*source)) {
            blocks.entry(block).or_default().add(Postings::of(number));
        }
        let (mut bytes, mut writer) = (Vec::new(), crate::pairs::PairWriter::default());
        for (block, postings) in blocks {
            let (mut key, mut value) = (Vec::new(), Vec::new());
            word_and_block(b"word", block, &mut key);
            postings.encode(&mut value);
            writer.put(&mut bytes, &key, &value);
        }
        let (index, mut made) = (Index { tokens: Tokens::Whitespace, lowercase: false }, Rows::default());
        index.rows(&names, &mut crate::pairs::PairReader::new(bytes.as_slice()), &mut made)?;
        Ok(made)
    }

    #[test]
    fn blocks_of_a_word_are_one_row_and_a_source_given_twice_is_one() {
        let made = rows(&[0, 1, 65_535, 65_536, 69_999].map(SourceNumber)).unwrap();
        let names = ["00000", "00001", "65535", "65536"].map(|name| name.as_bytes().to_vec());
        assert_eq!(made.0, [(b"word".to_vec(), names.to_vec())]);
        assert!(rows(&[SourceNumber(70_000)]).is_err(), "there is no such source");
    }

    fn any_tokens() -> impl Strategy<Value = Tokens> {
        prop::sample::select(vec![Tokens::Whitespace, Tokens::Letters, Tokens::Words])
    }

    proptest! {
        #[test]
        fn pairs_handed_over_are_those_of_the_iterator(
            text in "([a-zA-Z]{1,20}|\\PC|\\s|\0|[ßİΣ ]){0,60}",
            tokens in any_tokens(),
            lowercase: bool,
            number: u32,
        ) {
            let program = Index { tokens, lowercase };
            let bytes = text.as_bytes();
            let source = SourceNumber(number);
            let piece = Piece { source, name: b"-", offset: 0, bytes, continues: false, ends: true, column: None };
            let mapped: Vec<_> = program.map(piece).map(|pair| pair.map(|pair| (pair.key.into_owned(), pair.value)).unwrap()).collect();
            let mut taken = Taken::default();
            prop_assert_eq!(program.map_all(piece, &mut taken), Some(Ok(())));
            prop_assert_eq!(taken.0, mapped);
        }
    }
}
