//! An inner join of two sources on the first field of their lines.
//!
//! Values of a key come in the order of the sources, so the left side is complete before the first of the right side comes. Only
//! the left side of one key is held.

use rabbit_reduce_core::grouping::{GroupingProgram, Values};
use rabbit_reduce_core::job::{Piece, RecordError};
use rabbit_reduce_core::map_reduce::Row;
use std::io;

/// Rows of a key, what the left source says of it, and what others say. Lines are `key<TAB>anything`.
pub struct Join {
    /// The name of the left source, which must be given before the others.
    pub left: Vec<u8>,
}

impl GroupingProgram for Join {
    type Key = Vec<u8>;
    type Value = (bool, Vec<u8>);

    fn map<'r>(
        &'r self,
        line: Piece<'r>,
    ) -> impl Iterator<Item = Result<(Vec<u8>, (bool, Vec<u8>)), RecordError>> + 'r {
        let tab = line.bytes.iter().position(|&byte| byte == b'\t');
        let tab = tab.ok_or_else(|| RecordError::new("a line is a key, a tab and what is said of it"));
        let is_left = line.name == self.left;
        std::iter::once(tab.map(|tab| (line.bytes[..tab].to_vec(), (is_left, line.bytes[tab + 1..].to_vec()))))
    }

    fn columns(&self) -> &'static [&'static str] {
        &["key", "left", "right"]
    }

    fn reduce<'v>(
        &'v self,
        key: &'v Vec<u8>,
        values: Values<'v, (bool, Vec<u8>)>,
    ) -> impl Iterator<Item = io::Result<Row>> + 'v {
        let mut lefts = Vec::new();
        values.flat_map(move |value| match value {
            Err(error) => vec![Err(error)],
            Ok((true, left)) => {
                lefts.push(left);
                Vec::new()
            }
            Ok((false, right)) => {
                let row = |left: &Vec<u8>| Ok(Row::new().with(key.clone()).with(left.clone()).with(right.clone()));
                lefts.iter().map(row).collect()
            }
        })
    }
}
