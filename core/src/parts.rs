//! The pairs of a whole result, out of its parts.
//!
//! It does not know where parts come from. What would surprise: a key that stands in two parts is an error, for partitions
//! share no key.

use crate::job::ValueError;
use crate::merge::Merge;
use crate::pairs::Cursor;
use crate::run::RunReader;
use std::io::{self, Read};

/// The pairs of all parts, in ascending order of keys.
pub type Parts = Merge<Part, Combine>;
/// How values of a key that stands in two streams are combined.
pub type Combine = fn(&[u8], &mut Vec<u8>, &[u8]) -> Result<(), ValueError>;

/// Reads `parts`, which are runs, one of every partition in order.
///
/// # Errors
/// Fails where parts come from, and names one that is damaged.
pub fn parts(parts: Vec<Box<dyn Read + Send>>) -> io::Result<Parts> {
    let parts = parts.into_iter().enumerate().map(|(number, part)| Part { number, run: RunReader::new(part) });
    Merge::new(parts.collect(), refuse_equal as Combine)
}

/// Combines nothing.
///
/// # Errors
/// Always: no key stands in two of the streams.
pub fn refuse_equal(_: &[u8], _: &mut Vec<u8>, _: &[u8]) -> Result<(), ValueError> {
    Err(ValueError("a key stands in two parts of the result"))
}

/// A part, whose errors say which it is.
pub struct Part {
    number: usize,
    run: RunReader<Box<dyn Read + Send>>,
}

impl Cursor for Part {
    fn advance(&mut self) -> io::Result<bool> {
        let number = self.number;
        self.run
            .advance()
            .map_err(|error| io::Error::new(error.kind(), format!("part {number} of the result: {error}")))
    }

    fn key(&self) -> &[u8] {
        self.run.key()
    }

    fn value(&self) -> &[u8] {
        self.run.value()
    }
}
