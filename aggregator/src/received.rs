//! Pairs that came in messages, looked at before they are merged: whether the program makes such pairs, for this partition.
//!
//! Knows no messages. What would surprise: a pair in the wrong partition is as bad as one that cannot be read, since its key
//! would stand in two parts of the result.

use rabbit_reduce_core::id::PartitionNumber;
use rabbit_reduce_core::pairs::{Cursor, PairReader};
use rabbit_reduce_core::partition;
use rabbit_reduce_core::program::AnyProgram;
use std::io;

/// What a pair must be of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    pub(crate) partition: PartitionNumber,
    pub(crate) partitions: u32,
}

/// Pairs, looked at on the way if anything is expected of them.
pub(crate) struct Received<'p, C> {
    pub(crate) program: &'p dyn AnyProgram,
    pub(crate) expected: Option<Expected>,
    pub(crate) pairs: C,
}

impl<C: Cursor> Cursor for Received<'_, C> {
    fn advance(&mut self) -> io::Result<bool> {
        if !self.pairs.advance()? {
            return Ok(false);
        }
        let Some(Expected { partition, partitions }) = self.expected else { return Ok(true) };
        let (key, value) = (self.pairs.key(), self.pairs.value());
        let place = partition::of_hash(partition::hash(self.program.group(key)), partitions);
        if place == partition && self.program.makes(key, value) {
            return Ok(true);
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "a pair that the program does not make for this partition"))
    }

    fn key(&self) -> &[u8] {
        self.pairs.key()
    }

    fn value(&self) -> &[u8] {
        self.pairs.value()
    }
}

/// Whether a message's body is sorted pairs of the program for that partition.
pub(crate) fn is_readable(program: &dyn AnyProgram, expected: Expected, body: &[u8]) -> bool {
    let mut pairs = Received { program, expected: Some(expected), pairs: PairReader::new(body) };
    loop {
        match pairs.advance() {
            Ok(true) => {}
            ended => return ended.is_ok(),
        }
    }
}
