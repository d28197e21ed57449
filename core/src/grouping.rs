//! The grouping reduce: all values of a key, in the order of the input, as an iterator.
//!
//! A value's place in the input (source, offset of its record, emission) is the rest of its key in a [`MapReduce`], so that no two
//! pairs are ever equal, and values sort by their places whatever the chunks and arrivals. What would surprise: values are
//! streamed; only a program that collects them ever holds more than one.

use crate::boundary::Boundary;
use crate::job::{Piece, RecordError, Records};
use crate::map_reduce::{MapReduce, Mapped, Members, Row};
use crate::ordered::{Ordered, Plain};
use std::fmt;
use std::io;

/// A value's place: source, offset of its record, emission.
pub type Place = (u32, u64, u32);

/// The values of one key, in order.
#[derive(Debug)]
pub struct Values<'v, V>(Members<'v, Place, Plain<V>>);

impl<V> Iterator for Values<'_, V> {
    type Item = io::Result<V>;

    fn next(&mut self) -> Option<io::Result<V>> {
        self.0.next().map(|member| member.map(|(_, Plain(value))| value))
    }
}

/// A program that reduces groups. Deterministic: the same records give the same pairs, the same values the same rows.
pub trait GroupingProgram: Send + Sync + 'static {
    /// What values are grouped by.
    type Key: Ordered;
    /// What is grouped. Values keep their order in the input, and never merge.
    type Value: Ordered + Clone + Default + fmt::Debug;

    /// Where a chunk may be cut: it must fit [`GroupingProgram::records`].
    fn boundary(&self) -> Boundary {
        Boundary::Line
    }

    /// How a piece falls into records.
    fn records(&self) -> Records {
        Records::Lines
    }

    /// Maps one record to keys and values, lazily. With the first error, nothing of the record counts.
    fn map<'r>(&'r self, record: Piece<'r>)
    -> impl Iterator<Item = Result<(Self::Key, Self::Value), RecordError>> + 'r;

    /// The names of the columns of rows.
    fn columns(&self) -> &'static [&'static str];

    /// Reduces one key's values, ordered by source, offset of the record, and emission, to any number of rows. It need not
    /// take all values. An error among them is to be passed on; it ends the reduce even if it is not. An error of its own, or
    /// a panic, costs the key: it has no rows, and is reported.
    fn reduce<'v>(
        &'v self,
        key: &'v Self::Key,
        values: Values<'v, Self::Value>,
    ) -> impl Iterator<Item = io::Result<Row>> + 'v;
}

/// A grouping program as a [`MapReduce`].
#[derive(Clone, Debug)]
pub struct Grouping<G>(pub G);

impl<G: GroupingProgram> MapReduce for Grouping<G> {
    type Group = G::Key;
    type Rest = Place;
    type Value = Plain<G::Value>;

    fn boundary(&self) -> Boundary {
        self.0.boundary()
    }

    fn records(&self) -> Records {
        self.0.records()
    }

    fn map<'r>(&'r self, record: Piece<'r>) -> impl Iterator<Item = Mapped<Self>> + 'r {
        (0_u32..).zip(self.0.map(record)).map(move |(emission, pair)| {
            let (key, value) = pair?;
            Ok((key, (record.source.0, record.offset, emission), Plain(value)))
        })
    }

    fn columns(&self) -> &'static [&'static str] {
        self.0.columns()
    }

    fn reduce<'v>(
        &'v self,
        group: &'v G::Key,
        members: Members<'v, Place, Plain<G::Value>>,
    ) -> impl Iterator<Item = io::Result<Row>> + 'v {
        self.0.reduce(group, Values(members))
    }
}
