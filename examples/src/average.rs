//! The average per key.
//!
//! Averages do not merge, sums and counts do: so the value is both, and the division comes last.

use rabbit_reduce_core::job::{Piece, RecordError, Value, ValueError};
use rabbit_reduce_core::map_reduce::{MapReduce, Members, Row};
use rabbit_reduce_core::ordered::Ordered;
use rabbit_reduce_core::rows::Cell;
use std::io;

/// Rows of a key, how many numbers there are, and their average in hundredths, rounded half away from zero. Lines are
/// `key<TAB>whole number`.
pub struct Average;

/// How many numbers, and their sum.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    count: u64,
    /// Wide enough for as many numbers as there can be.
    sum: i128,
}

impl Value for Tally {
    fn encode(&self, out: &mut Vec<u8>) {
        (self.count, self.sum).put(out);
    }

    fn decode(bytes: &[u8]) -> Result<Self, ValueError> {
        let (count, sum) = <(u64, i128)>::read(bytes).ok_or(ValueError("a tally is two numbers"))?;
        Ok(Self { count, sum })
    }
}

impl MapReduce for Average {
    type Group = String;
    type Rest = ();
    type Value = Tally;

    fn map<'r>(&'r self, line: Piece<'r>) -> impl Iterator<Item = Result<(String, (), Tally), RecordError>> + 'r {
        let pair = line.text().and_then(|line| line.split_once('\t'));
        let pair = pair.and_then(|(key, number)| {
            Some((key.to_owned(), (), Tally { count: 1, sum: number.parse::<i64>().ok()?.into() }))
        });
        std::iter::once(pair.ok_or_else(|| RecordError::new("a line is a key, a tab and a whole number")))
    }

    fn merge(&self, total: &mut Tally, other: Tally) {
        total.count += other.count;
        total.sum += other.sum;
    }

    fn columns(&self) -> &'static [&'static str] {
        &["key", "count", "average"]
    }

    fn reduce<'v>(
        &'v self,
        key: &'v String,
        members: Members<'v, (), Tally>,
    ) -> impl Iterator<Item = io::Result<Row>> + 'v {
        members.map(|member| {
            let ((), Tally { count, sum }) = member?;
            let average = Cell::Decimal(Some(hundredths(sum, count)));
            Ok(Row::new().with(key.as_str()).with(count).with(average))
        })
    }
}

fn hundredths(sum: i128, count: u64) -> String {
    let count = i128::from(count);
    let rounded = (200 * sum.abs() + count) / (2 * count);
    let sign = if sum < 0 && rounded > 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", rounded / 100, rounded % 100)
}
