//! What a program is: a lazy map from a record to pairs, and a reduce.
//!
//! A program knows nothing of chunks, partitions, queues or files. What would surprise: there is one kind of reduce beneath.
//! A *grouping* program is a combining one whose inner key also holds the place of the value, so that no two of its pairs are
//! ever equal, its values come back in their defined order, and no list of them is ever held (see [`crate::grouping`]).

use crate::boundary::Boundary;
use crate::id::SourceNumber;
use crate::pairs::PairSource;
use crate::rows::RowSink;
use crate::selection::{Column, Selection};
use crate::short::ShortKey;
use crate::skip::LostKey;
use std::borrow::Cow;
use std::fmt;
use std::io;

/// A stretch of one source: whole records, cut where the program's [`Boundary`] allows.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// The source's place in the job's list.
    pub source: SourceNumber,
    /// The source's name, as typed.
    pub name: &'a [u8],
    /// Where the piece begins in the source, in bytes.
    pub offset: u64,
    /// The piece itself.
    pub bytes: &'a [u8],
    /// The piece begins inside a run that had no boundary (only for [`Boundary::SpaceOrCharacter`]).
    pub continues: bool,
    /// The piece ends where its source ends.
    pub ends: bool,
    /// The column of its source's records that the job looks at, where these are CSV and it looks at one.
    pub column: Option<Column>,
}

impl<'a> Piece<'a> {
    /// The bytes, if they are text in UTF-8.
    #[must_use]
    pub fn text(&self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes).ok()
    }
}

/// How a piece falls into records, the unit that is counted wholly or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Records {
    /// The whole piece is one record: for programs that cannot fail on any input.
    Piece,
    /// A record a line, without its line feed or its carriage return and line feed.
    Lines,
    /// A record a run of anything but Unicode white space.
    Tokens,
    /// A record a run of lines that are not blank, without the last line's end.
    Paragraphs,
    /// A record what lies between two of this byte, or before the first, or after the last unless that is empty.
    Delimited(u8),
    /// A record of CSV (RFC 4180), without its line's end; an empty line is none.
    Csv {
        /// The byte between fields.
        delimiter: u8,
        /// The first record of every source, which begins at its first byte, tells the names of its columns, and is none.
        header: bool,
    },
}

/// A pair that a map yields: a key, and a value that merges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair<'r, V> {
    /// Keys are compared, and sorted, as bytes.
    pub key: Cow<'r, [u8]>,
    /// The value.
    pub value: V,
}

/// Why a record is not counted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct RecordError {
    /// One line for people.
    pub reason: String,
}

impl RecordError {
    /// A record is not counted for this reason.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

/// A reduce failed by the program's fault: it would fail again. It travels as an [`io::Error`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct ProgramFailed {
    /// One line for people.
    pub reason: String,
    /// The keys at fault, if all others can be reduced without them.
    pub keys: Vec<LostKey>,
}

impl ProgramFailed {
    /// A failure that no keys alone are to blame for.
    pub fn wholly(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), keys: Vec::new() }
    }

    /// A failure on these keys.
    #[must_use]
    pub fn on(keys: Vec<LostKey>) -> Self {
        let reason = keys.first().map_or_else(String::new, |key| key.reason.clone());
        Self { reason, keys }
    }
}

impl From<ProgramFailed> for io::Error {
    fn from(failed: ProgramFailed) -> Self {
        Self::other(failed)
    }
}

/// A value with a byte form. The form is canonical: equal values have equal bytes. Its default stands where no value is, and is
/// never merged.
pub trait Value: Clone + Default + fmt::Debug + Send + Sync + 'static {
    /// Appends the byte form.
    fn encode(&self, out: &mut Vec<u8>);
    /// Reads a byte form back, all of it.
    ///
    /// # Errors
    /// Fails on bytes that [`Value::encode`] does not produce.
    fn decode(bytes: &[u8]) -> Result<Self, ValueError>;
    /// Bytes it holds besides its own size, about.
    fn heap_bytes(&self) -> usize {
        0
    }
}

/// Bytes that are no value of this program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a value of this program: {0}")]
pub struct ValueError(pub &'static str);

impl From<ValueError> for io::Error {
    fn from(error: ValueError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

/// Takes pairs one by one: key, value.
pub type PairTaker<'t> = dyn FnMut(&[u8], &[u8]) -> io::Result<()> + 't;

/// Takes mapped pairs one by one. A method for each kind of key, so that short ones stay in a processor's registers.
pub trait TakePair<V> {
    /// Why it takes no more.
    type Error;
    /// Takes a pair of a short key.
    ///
    /// # Errors
    /// If it takes no more.
    fn short(&mut self, key: ShortKey, value: V) -> Result<(), Self::Error>;
    /// Takes a pair of any other key.
    ///
    /// # Errors
    /// If it takes no more.
    fn other(&mut self, key: &[u8], value: V) -> Result<(), Self::Error>;
}

/// A MapReduce program. Deterministic: the same records give the same pairs, everywhere.
pub trait Program: Send + Sync + 'static {
    /// What a key's value is.
    type Value: Value;

    /// Where a chunk may be cut.
    fn boundary(&self) -> Boundary;

    /// How a piece falls into records.
    fn records(&self) -> Records;

    /// What of the input it looks at, if not at all of it: who reads sources tells pieces their [`Piece::column`].
    fn selection(&self) -> Option<&Selection> {
        None
    }

    /// Maps one record (a [`Piece`] whose bytes are just that record) to pairs, lazily.
    fn map<'r>(&'r self, record: Piece<'r>) -> impl Iterator<Item = Result<Pair<'r, Self::Value>, RecordError>> + 'r;

    /// Maps all of a record at once, where a program whose records are whole pieces knows a quicker way than one pair after the
    /// other: hands the very pairs of [`Program::map`] to `take`. `None`, and nothing taken, where it does not.
    ///
    /// # Errors
    /// Stops with the first error of `take`.
    fn map_all<T: TakePair<Self::Value>>(&self, _record: Piece<'_>, _take: &mut T) -> Option<Result<(), T::Error>> {
        None
    }

    /// Adds `other` into `total`. Associative and commutative.
    fn merge(&self, key: &[u8], total: &mut Self::Value, other: Self::Value);

    /// What goes out of a chunk for the encoded value of a combined pair: that very value, unless a program holds values in
    /// another form as long as they may still be merged. `room` is for the bytes.
    fn settled<'v>(&self, _key: &[u8], value: &'v [u8], _room: &'v mut Vec<u8>) -> &'v [u8] {
        value
    }

    /// The part of a key that chooses its partition: all of it, unless keys that begin alike must meet.
    fn group<'k>(&self, key: &'k [u8]) -> &'k [u8] {
        key
    }

    /// Whether it can have mapped to such a pair. What came in a message is asked about before it is merged: a pair that nobody
    /// can read would spoil the whole result in the end.
    fn makes(&self, _key: &[u8], value: &[u8]) -> bool {
        Self::Value::decode(value).is_ok()
    }

    /// Whether [`Program::reduce`] does anything: if not, combined pairs are a part as they stand.
    fn groups(&self) -> bool {
        false
    }

    /// Turns the combined pairs of one partition, in ascending order of keys, into the pairs of its part, with keys that
    /// strictly ascend. A program that only combines has nothing left to do. It may run twice; one output is kept.
    ///
    /// # Errors
    /// Fails where the pairs come from or where `out` puts them, and with `InvalidData` on a pair that this program never
    /// makes.
    fn reduce(&self, pairs: &mut dyn PairSource, out: &mut PairTaker<'_>) -> io::Result<()> {
        while let Some((key, value)) = pairs.next()? {
            out(key, value)?;
        }
        Ok(())
    }

    /// The names of the columns of [`Program::rows`].
    fn columns(&self) -> &'static [&'static str];

    /// Whether the last column counts, so that rows can be asked for by value, largest first.
    fn ranked(&self) -> bool {
        false
    }

    /// Whether rows are made of all pairs together, so that a part of the result has none of its own.
    fn is_summary(&self) -> bool {
        false
    }

    /// Turns a whole result, its [reduced](Program::reduce) pairs in ascending order of keys, into rows. `sources` are the names of the job's sources,
    /// in their order.
    ///
    /// # Errors
    /// Fails where the pairs come from or the rows go, and with `InvalidData` on a pair that this program never makes.
    fn rows(&self, sources: &[Vec<u8>], pairs: &mut dyn PairSource, sink: &mut dyn RowSink) -> io::Result<()>;
}

impl Value for u64 {
    fn encode(&self, out: &mut Vec<u8>) {
        crate::pairs::put_varint(out, *self);
    }

    fn decode(bytes: &[u8]) -> Result<Self, ValueError> {
        let mut rest = bytes;
        let number = crate::pairs::take_varint(&mut rest).ok_or(ValueError("a number is cut short"))?;
        if rest.is_empty() { Ok(number) } else { Err(ValueError("bytes follow the number")) }
    }
}

impl Value for () {
    fn encode(&self, _: &mut Vec<u8>) {}

    fn decode(bytes: &[u8]) -> Result<Self, ValueError> {
        if bytes.is_empty() { Ok(()) } else { Err(ValueError("a value where none belongs")) }
    }
}

/// Bytes merge by nothing: for keys that never meet, such as a line at its place.
impl Value for Vec<u8> {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }

    fn decode(bytes: &[u8]) -> Result<Self, ValueError> {
        Ok(bytes.to_vec())
    }

    fn heap_bytes(&self) -> usize {
        self.len()
    }
}
