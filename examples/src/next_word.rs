//! Which word follows which, how often, and in how many of a hundred cases.
//!
//! The total of a word must be known before its rows are made, and its rows must not be collected. So every pair is mapped twice:
//! with the next word as the rest of the key, and without one, which sorts first.

use rabbit_reduce_core::job::{Piece, RecordError};
use rabbit_reduce_core::map_reduce::{MapReduce, Members, Row};
use rabbit_reduce_core::rows::Cell;
use std::io;

/// Rows of a word, the next word, how often, and the share in percent.
pub struct NextWord {
    /// What occurs less often has no row.
    pub least: u64,
}

impl MapReduce for NextWord {
    type Group = Vec<u8>;
    type Rest = Option<Vec<u8>>;
    type Value = u64;

    fn map<'r>(
        &'r self,
        line: Piece<'r>,
    ) -> impl Iterator<Item = Result<(Vec<u8>, Option<Vec<u8>>, u64), RecordError>> + 'r {
        let words = || line.bytes.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        words().zip(words().skip(1)).flat_map(|(word, next)| {
            let (word, next) = (word.to_ascii_lowercase(), next.to_ascii_lowercase());
            [Ok((word.clone(), None, 1)), Ok((word, Some(next), 1))]
        })
    }

    fn merge(&self, total: &mut u64, other: u64) {
        *total += other;
    }

    fn columns(&self) -> &'static [&'static str] {
        &["word", "next", "count", "percent"]
    }

    fn reduce<'v>(
        &'v self,
        word: &'v Vec<u8>,
        members: Members<'v, Option<Vec<u8>>, u64>,
    ) -> impl Iterator<Item = io::Result<Row>> + 'v {
        let mut total = 0;
        members.filter_map(move |member| match member {
            Err(error) => Some(Err(error)),
            Ok((None, count)) => {
                total = count;
                None
            }
            Ok((Some(_), count)) if count < self.least => None,
            Ok((Some(next), count)) => {
                let share = Cell::Decimal(Some(percent(count, total)));
                Some(Ok(Row::new().with(word.clone()).with(next).with(count).with(share)))
            }
        })
    }
}

/// With one digit behind the point, rounded half up.
fn percent(count: u64, total: u64) -> String {
    let (count, total) = (u128::from(count), u128::from(total));
    let tenths = (2000 * count + total) / (2 * total);
    format!("{}.{}", tenths / 10, tenths % 10)
}
