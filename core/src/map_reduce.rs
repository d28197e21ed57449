//! The way to write a program of your own: a map with typed keys and values, and a reduce over the members of a group.
//!
//! A pair's key has two parts. Pairs of one *group* meet in one reduce; the *rest* of the key orders them there (a "secondary
//! sort"), and values of equal group and rest merge, already where they are mapped. What would surprise: members are streamed
//! from sorted pairs, so a group may have more of them than memory holds, and need not be read to its end.
//!
//! ```
//! use rabbit_reduce_core::job::{Piece, RecordError};
//! use rabbit_reduce_core::map_reduce::{MapReduce, Members, Row};
//!
//! /// How many distinct users come each day, from lines `day user`.
//! struct UsersPerDay;
//!
//! impl MapReduce for UsersPerDay {
//!     type Group = String;
//!     type Rest = String;
//!     type Value = ();
//!
//!     fn map<'r>(&'r self, line: Piece<'r>) -> impl Iterator<Item = Result<(String, String, ()), RecordError>> + 'r {
//!         let visit = line.text().and_then(|line| line.split_once(' '));
//!         let visit = visit.ok_or_else(|| RecordError::new("a line is a day and a user"));
//!         std::iter::once(visit.map(|(day, user)| (day.to_owned(), user.to_owned(), ())))
//!     }
//!
//!     fn columns(&self) -> &'static [&'static str] {
//!         &["day", "users"]
//!     }
//!
//!     fn reduce<'v>(
//!         &'v self,
//!         day: &'v String,
//!         mut users: Members<'v, String, ()>,
//!     ) -> impl Iterator<Item = std::io::Result<Row>> + 'v {
//!         let users = users.try_fold(0_u64, |users, user| user.map(|_| users + 1));
//!         std::iter::once(users.map(|users| Row::new().with(day.as_str()).with(users)))
//!     }
//! }
//! ```

use crate::boundary::Boundary;
use crate::job::{Pair, PairTaker, Piece, Program, ProgramFailed, RecordError, Records, Value};
use crate::ordered::Ordered;
use crate::pairs::{MAX_FIELD_BYTES, PairSource, put_varint, take_varint};
use crate::rows::{Cell, RowSink};
use crate::skip::{LOST_KEYS, LostKey, said};
use std::borrow::Cow;
use std::fmt;
use std::io;
use std::panic::{self, AssertUnwindSafe};

/// A program with typed keys and values. Deterministic: the same records give the same pairs, the same members the same rows.
pub trait MapReduce: Send + Sync + 'static {
    /// What pairs must share to be reduced together.
    type Group: Ordered;
    /// The rest of a key: members of a group come in its order. `()` if there is no more to a key.
    type Rest: Ordered;
    /// What is merged for equal keys.
    type Value: Value;

    /// Where a chunk may be cut: it must fit [`MapReduce::records`].
    fn boundary(&self) -> Boundary {
        Boundary::Line
    }

    /// How a piece falls into records.
    fn records(&self) -> Records {
        Records::Lines
    }

    /// Maps one record to pairs of (group, rest, value), lazily. With the first error, nothing of the record counts.
    fn map<'r>(&'r self, record: Piece<'r>) -> impl Iterator<Item = Mapped<Self>> + 'r;

    /// Adds `other` into `total`, for pairs of the same key. Associative and commutative. Without it the two are taken for the
    /// same, and one is kept.
    fn merge(&self, _total: &mut Self::Value, _other: Self::Value) {}

    /// The names of the columns of rows.
    fn columns(&self) -> &'static [&'static str];

    /// Reduces a group to any number of rows. It need not take all members. An error among them is to be passed on; it ends
    /// the reduce even if it is not. An error of its own, or a panic, costs the group: it has no rows, and is reported.
    fn reduce<'v>(
        &'v self,
        group: &'v Self::Group,
        members: Members<'v, Self::Rest, Self::Value>,
    ) -> impl Iterator<Item = io::Result<Row>> + 'v;
}

/// What [`MapReduce::map`] yields.
pub type Mapped<M> = Result<(<M as MapReduce>::Group, <M as MapReduce>::Rest, <M as MapReduce>::Value), RecordError>;

/// A row of a result, one field for every column.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row(Vec<Cell<'static>>);

impl Row {
    /// A row without fields.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// And then this field.
    #[must_use]
    pub fn with(mut self, field: impl Into<Cell<'static>>) -> Self {
        self.0.push(field.into());
        self
    }

    /// `varint(kind) varint(length) bytes` a field.
    fn encode(&self, out: &mut Vec<u8>) {
        for cell in &self.0 {
            let mut number = Vec::new();
            let (kind, bytes): (u64, &[u8]) = match cell {
                Cell::Bytes(bytes) => (0, bytes),
                Cell::Label(bytes) => (1, bytes),
                Cell::Number(count) => {
                    put_varint(&mut number, *count);
                    (2, &number)
                }
                Cell::Decimal(Some(decimal)) => (3, decimal.as_bytes()),
                Cell::Decimal(None) => (4, &[]),
                Cell::List(list) => {
                    for item in list {
                        put_varint(&mut number, item.len() as u64);
                        number.extend_from_slice(item);
                    }
                    (5, &number)
                }
            };
            put_varint(out, kind);
            put_varint(out, bytes.len() as u64);
            out.extend_from_slice(bytes);
        }
    }

    fn decode(mut bytes: &[u8]) -> Option<Vec<Cell<'_>>> {
        let mut cells = Vec::new();
        while !bytes.is_empty() {
            let kind = take_varint(&mut bytes)?;
            let mut field = take_bytes(&mut bytes)?;
            cells.push(match kind {
                0 => Cell::Bytes(Cow::Borrowed(field)),
                1 => Cell::Label(Cow::Borrowed(field)),
                2 => Cell::Number(take_varint(&mut field).filter(|_| field.is_empty())?),
                3 => Cell::Decimal(Some(String::from_utf8(field.to_vec()).ok()?)),
                4 => Cell::Decimal(None),
                5 => {
                    let mut list = Vec::new();
                    while !field.is_empty() {
                        list.push(Cow::Borrowed(take_bytes(&mut field)?));
                    }
                    Cell::List(list)
                }
                _ => return None,
            });
        }
        Some(cells)
    }
}

fn take_bytes<'b>(bytes: &mut &'b [u8]) -> Option<&'b [u8]> {
    let length = usize::try_from(take_varint(bytes)?).ok()?;
    bytes.split_off(..length)
}

/// A [`MapReduce`] as a [`Program`].
///
/// Key: the group, then the rest. After the reduce, key: the group, then the row's number in it, big-endian; value: the row.
#[derive(Clone, Debug)]
pub struct Reducing<M>(pub M);

impl<M: MapReduce> Program for Reducing<M> {
    type Value = M::Value;

    fn boundary(&self) -> Boundary {
        self.0.boundary()
    }

    fn records(&self) -> Records {
        self.0.records()
    }

    fn map<'r>(&'r self, record: Piece<'r>) -> impl Iterator<Item = Result<Pair<'r, M::Value>, RecordError>> + 'r {
        self.0.map(record).map(|pair| {
            let (group, rest, value) = pair?;
            let mut key = Vec::new();
            group.put(&mut key);
            rest.put(&mut key);
            Ok(Pair { key: Cow::Owned(key), value })
        })
    }

    fn merge(&self, _: &[u8], total: &mut M::Value, other: M::Value) {
        self.0.merge(total, other);
    }

    fn group<'k>(&self, key: &'k [u8]) -> &'k [u8] {
        split::<M::Group>(key).map_or(key, |(group, _)| group)
    }

    fn makes(&self, key: &[u8], value: &[u8]) -> bool {
        let pair = split::<M::Group>(key).and_then(|(group, rest)| M::Group::read(group).zip(M::Rest::read(rest)));
        pair.is_some() && M::Value::decode(value).is_ok()
    }

    fn groups(&self) -> bool {
        true
    }

    fn reduce(&self, pairs: &mut dyn PairSource, out: &mut PairTaker<'_>) -> io::Result<()> {
        let mut groups = Groups::<M::Rest, M::Value> {
            pairs,
            end_of_group: |key| split::<M::Group>(key).map(|(group, _)| group.len()),
            group: None,
            first: None,
            next: None,
            failure: None,
        };
        let columns = self.0.columns().len();
        let (mut key, mut value, mut failed) = (Vec::new(), Vec::new(), Vec::new());
        while groups.advance()? && failed.len() <= LOST_KEYS {
            let form = groups.group.clone().expect("it stands on one");
            let group = M::Group::read(&form).ok_or_else(|| invalid("a group is not of this program"))?;
            let mut refused = None;
            let reducing = || {
                for (number, row) in (0_u64..).zip(self.0.reduce(&group, Members(&mut groups))) {
                    let row = row?;
                    if row.0.len() != columns {
                        return Err(invalid("a row has not one field for each column"));
                    }
                    key.clear();
                    key.extend_from_slice(&form);
                    key.extend_from_slice(&number.to_be_bytes());
                    value.clear();
                    row.encode(&mut value);
                    if key.len().max(value.len()) > MAX_FIELD_BYTES {
                        return Err(invalid("a reduced row is longer than a part may hold"));
                    }
                    // Once a key has failed, all of it is made anew without that key; the others are only tried.
                    if failed.is_empty()
                        && let Err(error) = out(&key, &value)
                    {
                        refused = Some(error);
                        break;
                    }
                }
                Ok(())
            };
            let reduced = panic::catch_unwind(AssertUnwindSafe(reducing));
            let reduced = reduced.unwrap_or_else(|panic| Err(io::Error::other(format!("panicked: {}", said(&*panic)))));
            if let Some(failure) = groups.failure.take().or(refused) {
                return Err(failure);
            }
            if let Err(error) = reduced {
                // All of it is made anew, and counted then.
                let mut shown = Vec::new();
                group.show(&mut shown);
                failed.push(LostKey::new(&form, shown, format!("the reduce failed: {error}")));
            }
        }
        if failed.is_empty() { Ok(()) } else { Err(ProgramFailed::on(failed).into()) }
    }

    fn columns(&self) -> &'static [&'static str] {
        self.0.columns()
    }

    fn rows(&self, _: &[Vec<u8>], pairs: &mut dyn PairSource, sink: &mut dyn RowSink) -> io::Result<()> {
        let columns = self.0.columns().len();
        while let Some((_, row)) = pairs.next()? {
            let cells = Row::decode(row).ok_or_else(|| invalid("a reduced pair is no row"))?;
            if cells.len() != columns {
                return Err(invalid("a row has not one field for each column"));
            }
            sink.row(&cells)?;
        }
        Ok(())
    }
}

/// The group's part of a key, and the rest.
fn split<G: Ordered>(key: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut rest = key;
    G::skip(&mut rest)?;
    Some(key.split_at(key.len() - rest.len()))
}

/// The members of a group, in the order of the rest of their keys.
pub struct Members<'v, R, V>(&'v mut (dyn Iterator<Item = io::Result<(R, V)>> + 'v));

impl<R, V> Iterator for Members<'_, R, V> {
    type Item = io::Result<(R, V)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

impl<R, V> fmt::Debug for Members<'_, R, V> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Members")
    }
}

/// Sorted pairs as groups, and as the iterator over the members of the group it stands on.
struct Groups<'p, R, V> {
    pairs: &'p mut dyn PairSource,
    /// Where the group's part of a key ends.
    end_of_group: fn(&[u8]) -> Option<usize>,
    /// The group it stands on.
    group: Option<Vec<u8>>,
    /// That group's first member, until it is taken.
    first: Option<(R, V)>,
    /// How the next group begins, once the last member of this one was passed.
    next: Option<Begun<R, V>>,
    /// What the pairs failed with while a program read them.
    failure: Option<io::Error>,
}

/// What follows a group.
enum Begun<R, V> {
    Group(Vec<u8>, (R, V)),
    End,
}

impl<R: Ordered, V: Value> Groups<'_, R, V> {
    /// Moves to the next group, past members that nobody took; `false` at the end.
    fn advance(&mut self) -> io::Result<bool> {
        self.first = None;
        loop {
            match self.next.take() {
                Some(Begun::Group(group, first)) => {
                    (self.group, self.first) = (Some(group), Some(first));
                    return Ok(true);
                }
                Some(Begun::End) => return Ok(false),
                None => self.read().map(drop)?,
            }
        }
    }

    /// The next member of this group; `None` once what follows the group is known.
    fn read(&mut self) -> io::Result<Option<(R, V)>> {
        if self.next.is_some() {
            return Ok(None);
        }
        let Some((key, value)) = self.pairs.next()? else {
            self.next = Some(Begun::End);
            return Ok(None);
        };
        let end = (self.end_of_group)(key).ok_or_else(|| invalid("a key is not of this program"))?;
        let (group, rest) = key.split_at(end);
        let rest = R::read(rest).ok_or_else(|| invalid("the rest of a key is not of this program"))?;
        let value = V::decode(value).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        if self.group.as_deref() == Some(group) {
            return Ok(Some((rest, value)));
        }
        self.next = Some(Begun::Group(group.to_vec(), (rest, value)));
        Ok(None)
    }
}

impl<R: Ordered, V: Value> Iterator for Groups<'_, R, V> {
    type Item = io::Result<(R, V)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failure.is_some() {
            return None;
        }
        if let Some(first) = self.first.take() {
            return Some(Ok(first));
        }
        self.read().transpose().map(|member| {
            member.map_err(|failure| {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_reads_back() {
        let list = Cell::List(vec![Cow::Borrowed(b"a"), Cow::Borrowed(b"")]);
        let row = Row::new().with("text").with(7_u64).with(b"\xff".to_vec()).with(Cell::Decimal(Some("1.5".into())));
        let row = row.with(Cell::Decimal(None)).with(list).with(Cell::Label(Cow::Borrowed(b"l")));
        let mut bytes = Vec::new();
        row.encode(&mut bytes);
        assert_eq!(Row::decode(&bytes), Some(row.0));
        for end in 1..bytes.len() {
            let cut = Row::decode(&bytes[..end]);
            assert!(cut.is_none_or(|cells| cells.len() < 7), "{end}");
        }
    }
}
