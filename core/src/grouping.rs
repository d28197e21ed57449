//! The grouping reduce: all values of a key, in their defined order, as an iterator; built from the combining machinery.
//!
//! A value's place in the input (source, offset of its record, emission) stands in the key that the machinery sees, so that no two
//! pairs are ever equal, values sort by their places whatever the chunks and arrivals, and a group is a stretch of sorted pairs.
//! What would surprise: a group is streamed; only a program that collects its values ever holds more than one of them.

use crate::boundary::Boundary;
use crate::job::{Pair, PairTaker, Piece, Program, RecordError, Records};
use crate::key;
use crate::pairs::{MAX_FIELD_BYTES, PairSource, put_varint, take_varint};
use crate::rows::{Cell, RowSink};
use std::borrow::Cow;
use std::io;

/// Bytes of a value's place, behind the key's part: source, offset, emission.
const PLACE_BYTES: usize = 4 + 8 + 4;

/// A pair that a reduce gives: a key and a value, as they are shown.
pub type Output = (Vec<u8>, Vec<u8>);

/// The values of one key, in order.
pub type Values<'v> = dyn Iterator<Item = io::Result<Vec<u8>>> + 'v;

/// A program that reduces groups. Deterministic: the same records give the same pairs, the same values the same output.
pub trait GroupingProgram: Send + Sync + 'static {
    /// Where a chunk may be cut.
    fn boundary(&self) -> Boundary;

    /// How a piece falls into records.
    fn records(&self) -> Records;

    /// Maps one record to keys and values, lazily.
    fn map<'r>(&'r self, record: Piece<'r>) -> impl Iterator<Item = Result<Pair<'r, Vec<u8>>, RecordError>> + 'r;

    /// Reduces one key's values, ordered by source, offset of the record, and emission, to any number of pairs. It need not
    /// take all values. An error among them is to be passed on; it ends the reduce even if it is not.
    fn reduce<'v>(&'v self, key: &'v [u8], values: &'v mut Values<'v>)
    -> impl Iterator<Item = io::Result<Output>> + 'v;

    /// The names of the columns: of the output's keys, and of its values.
    fn columns(&self) -> &'static [&'static str] {
        &["key", "value"]
    }
}

/// A grouping program as a [`Program`].
///
/// Key: the key as a part (see [`crate::key`]), then the value's place: source, offset, emission, big-endian. Value: the value.
/// After the reduce, key: the part, then the row's number in its group, big-endian. Value: length of the output's key, that key, its
/// value.
#[derive(Clone, Debug)]
pub struct Grouping<G>(pub G);

impl<G: GroupingProgram> Program for Grouping<G> {
    type Value = Vec<u8>;

    fn boundary(&self) -> Boundary {
        self.0.boundary()
    }

    fn records(&self) -> Records {
        self.0.records()
    }

    fn groups(&self) -> bool {
        true
    }

    fn map<'r>(&'r self, record: Piece<'r>) -> impl Iterator<Item = Result<Pair<'r, Vec<u8>>, RecordError>> + 'r {
        (0_u32..).zip(self.0.map(record)).map(move |(emission, pair)| {
            let Pair { key: group, value } = pair?;
            let mut key = Vec::with_capacity(group.len() + 2 + PLACE_BYTES);
            key::put_part(&mut key, &group);
            key.extend_from_slice(&record.source.0.to_be_bytes());
            key.extend_from_slice(&record.offset.to_be_bytes());
            key.extend_from_slice(&emission.to_be_bytes());
            Ok(Pair { key: Cow::Owned(key), value })
        })
    }

    /// Two pairs of one place are the same pair.
    fn merge(&self, _: &[u8], _: &mut Vec<u8>, _: Vec<u8>) {}

    fn group<'k>(&self, key: &'k [u8]) -> &'k [u8] {
        key::split_part(key).map_or(key, |(part, _)| part)
    }

    fn makes(&self, key: &[u8], _value: &[u8]) -> bool {
        key::split_part(key).is_some_and(|(_, place)| place.len() == PLACE_BYTES)
    }

    fn reduce(&self, pairs: &mut dyn PairSource, out: &mut PairTaker<'_>) -> io::Result<()> {
        let mut groups = Groups { pairs, part: Vec::new(), first: None, next: None, failure: None };
        let (mut key, mut value) = (Vec::new(), Vec::new());
        while groups.advance()? {
            let part = groups.part.clone();
            let group = key::read_part(&part);
            for (row, output) in (0_u64..).zip(self.0.reduce(&group, &mut groups)) {
                let (shown, result) = output?;
                key.clear();
                key.extend_from_slice(&part);
                key.extend_from_slice(&row.to_be_bytes());
                value.clear();
                put_varint(&mut value, shown.len() as u64);
                value.extend_from_slice(&shown);
                value.extend_from_slice(&result);
                if key.len().max(value.len()) > MAX_FIELD_BYTES {
                    return Err(invalid("a reduced pair is longer than a part may hold"));
                }
                out(&key, &value)?;
            }
            if let Some(failure) = groups.failure.take() {
                return Err(failure);
            }
        }
        Ok(())
    }

    fn columns(&self) -> &'static [&'static str] {
        self.0.columns()
    }

    fn rows(&self, _: &[Vec<u8>], pairs: &mut dyn PairSource, sink: &mut dyn RowSink) -> io::Result<()> {
        while let Some((_, mut rest)) = pairs.next()? {
            let length = take_varint(&mut rest).and_then(|length| usize::try_from(length).ok());
            let output = length.and_then(|length| rest.split_at_checked(length));
            let (key, value) = output.ok_or_else(|| invalid("a reduced pair has no key"))?;
            sink.row(&[Cell::Bytes(Cow::Borrowed(key)), Cell::Bytes(Cow::Borrowed(value))])?;
        }
        Ok(())
    }
}

/// Sorted pairs as groups, and as the iterator over the values of the group it stands on.
struct Groups<'p> {
    pairs: &'p mut dyn PairSource,
    /// The key's part of the group it stands on.
    part: Vec<u8>,
    /// That group's first value, until it is taken.
    first: Option<Vec<u8>>,
    /// How the next group begins, once the last value of this one was passed.
    next: Option<Begun>,
    /// What the pairs failed with while a program read them.
    failure: Option<io::Error>,
}

/// What follows a group.
enum Begun {
    Group(Vec<u8>, Vec<u8>),
    End,
}

impl Groups<'_> {
    /// Moves to the next group, past values that nobody took; `false` at the end.
    fn advance(&mut self) -> io::Result<bool> {
        self.first = None;
        loop {
            match self.next.take() {
                Some(Begun::Group(part, value)) => {
                    (self.part, self.first) = (part, Some(value));
                    return Ok(true);
                }
                Some(Begun::End) => return Ok(false),
                None => self.read().map(drop)?,
            }
        }
    }

    /// The next value of this group; `None` once what follows the group is known.
    fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        if self.next.is_some() {
            return Ok(None);
        }
        let Some((key, value)) = self.pairs.next()? else {
            self.next = Some(Begun::End);
            return Ok(None);
        };
        let placed = key::split_part(key).filter(|(_, place)| place.len() == PLACE_BYTES);
        let (part, _) = placed.ok_or_else(|| invalid("a key of a grouping program has no place"))?;
        // A part is never empty, so that the first pair of all begins a group too.
        if part == self.part {
            return Ok(Some(value.to_vec()));
        }
        self.next = Some(Begun::Group(part.to_vec(), value.to_vec()));
        Ok(None)
    }
}

impl Iterator for Groups<'_> {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failure.is_some() {
            return None;
        }
        if let Some(first) = self.first.take() {
            return Some(Ok(first));
        }
        self.read().transpose().map(|value| {
            value.map_err(|failure| {
                // The program may drop its error; the one kept here ends the reduce all the same.
                let told = io::Error::new(failure.kind(), failure.to_string());
                self.failure = Some(failure);
                told
            })
        })
    }
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
