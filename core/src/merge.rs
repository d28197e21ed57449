//! Merges sorted streams of pairs into one, values of equal keys combined; holds one pair of each stream.
//!
//! What would surprise: a key that stands in one stream only passes as it is, its value never decoded.

use crate::job::{Program, Value, ValueError};
use crate::pairs::Cursor;
use crate::short::ShortKey;
use std::io;

/// Adds an encoded value to another of the same key.
///
/// # Errors
/// Fails on bytes that are no values of the program.
pub fn combine<P: Program>(program: &P, key: &[u8], total: &mut Vec<u8>, other: &[u8]) -> Result<(), ValueError> {
    let mut sum = P::Value::decode(total)?;
    program.merge(key, &mut sum, P::Value::decode(other)?);
    total.clear();
    sum.encode(total);
    Ok(())
}

/// The streams as one.
#[derive(Debug)]
pub struct Merge<C, F> {
    cursors: Vec<C>,
    /// Of the pair that each stands on; [`ENDED`] behind the last.
    ranks: Vec<u128>,
    /// A tournament: who lost at each node of a binary tree whose leaves are the streams, and at 0 who won it all.
    losers: Vec<usize>,
    combine: F,
    key: Vec<u8>,
    value: Vec<u8>,
}

/// The first fifteen bytes of a key and how many it has, as a number that orders as keys do. Only long keys can differ and yet
/// have the same.
#[inline]
fn rank(key: &[u8]) -> u128 {
    if let Some(key) = ShortKey::of(key) {
        let [low, high] = key.words();
        return u128::from(low.swap_bytes()) << 64 | u128::from(high.swap_bytes());
    }
    let first = key.first_chunk().map_or(0, |first| u128::from_be_bytes(*first));
    first & !0xff | LONG
}

/// How the rank of a long key ends: above what any short one has there.
const LONG: u128 = 0xfe;
/// The rank behind the last pair, above that of any key.
const ENDED: u128 = u128::MAX;

impl<C, E, F> Merge<C, F>
where
    C: Cursor,
    E: Into<io::Error>,
    F: FnMut(&[u8], &mut Vec<u8>, &[u8]) -> Result<(), E>,
{
    /// Merges streams that have not begun. `combine` adds the last argument into the second, for the key that comes first.
    ///
    /// # Errors
    /// Fails if the first pair of a stream cannot be read.
    pub fn new(cursors: Vec<C>, combine: F) -> io::Result<Self> {
        let (streams, ranks) = (cursors.len(), vec![ENDED; cursors.len()]);
        let mut merge = Self { cursors, ranks, losers: Vec::new(), combine, key: Vec::new(), value: Vec::new() };
        for stream in 0..streams {
            merge.read(stream)?;
        }
        // Who has won at each node, from the leaves to the root.
        let mut winners: Vec<usize> = (0..2 * streams).map(|node| node.saturating_sub(streams)).collect();
        merge.losers = vec![0; streams];
        for node in (1..streams).rev() {
            let (left, right) = (winners[2 * node], winners[2 * node + 1]);
            (winners[node], merge.losers[node]) = if merge.before(left, right) { (left, right) } else { (right, left) };
        }
        if let [first, ..] = merge.losers.as_mut_slice() {
            *first = winners[1];
        }
        Ok(merge)
    }

    /// The stream that comes first, if any has not ended.
    #[inline]
    fn top(&self) -> Option<usize> {
        self.losers.first().copied().filter(|first| self.ranks[*first] != ENDED)
    }

    /// Whether a stream's pair comes before that of another one; equal ones by stream.
    #[inline]
    fn before(&self, left: usize, right: usize) -> bool {
        let (rank, other) = (self.ranks[left], self.ranks[right]);
        if rank == other && rank & 0xff == LONG {
            return (self.cursors[left].key(), left) < (self.cursors[right].key(), right);
        }
        (rank, left) < (other, right)
    }

    /// Moves a stream to its next pair.
    #[inline]
    fn read(&mut self, stream: usize) -> io::Result<()> {
        self.ranks[stream] = if self.cursors[stream].advance()? { rank(self.cursors[stream].key()) } else { ENDED };
        Ok(())
    }

    /// Moves the stream that has won to its next pair, and plays its games anew.
    #[inline]
    fn step(&mut self, stream: usize) -> io::Result<()> {
        self.read(stream)?;
        let (mut winner, mut node) = (stream, (stream + self.cursors.len()) / 2);
        while node > 0 {
            if self.before(self.losers[node], winner) {
                winner = std::mem::replace(&mut self.losers[node], winner);
            }
            node /= 2;
        }
        self.losers[0] = winner;
        Ok(())
    }
}

impl<C, E, F> Cursor for Merge<C, F>
where
    C: Cursor,
    E: Into<io::Error>,
    F: FnMut(&[u8], &mut Vec<u8>, &[u8]) -> Result<(), E>,
{
    fn advance(&mut self) -> io::Result<bool> {
        let Some(top) = self.top() else { return Ok(false) };
        let rank = self.ranks[top];
        self.key.clear();
        self.key.extend_from_slice(self.cursors[top].key());
        self.value.clear();
        self.value.extend_from_slice(self.cursors[top].value());
        self.step(top)?;
        while let Some(top) = self.top()
            && self.ranks[top] == rank
            && (rank & 0xff != LONG || self.cursors[top].key() == self.key)
        {
            (self.combine)(&self.key, &mut self.value, self.cursors[top].value()).map_err(Into::into)?;
            self.step(top)?;
        }
        Ok(true)
    }

    fn key(&self) -> &[u8] {
        &self.key
    }

    fn value(&self) -> &[u8] {
        &self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pairs::{PairReader, PairSource, PairWriter};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn encoded(pairs: &BTreeMap<Vec<u8>, u64>) -> Vec<u8> {
        let (mut bytes, mut writer) = (Vec::new(), PairWriter::default());
        for (key, count) in pairs {
            let mut value = Vec::new();
            count.encode(&mut value);
            writer.put(&mut bytes, key, &value);
        }
        bytes
    }

    fn sum(_: &[u8], total: &mut Vec<u8>, other: &[u8]) -> Result<(), ValueError> {
        let sum = u64::decode(total)? + u64::decode(other)?;
        total.clear();
        sum.encode(total);
        Ok(())
    }

    /// Keys that often meet, and keys that differ where a rank ends or in nothing but zeros.
    fn keys() -> impl Strategy<Value = Vec<u8>> {
        let of = |bytes: Vec<u8>, length| prop::collection::vec(prop::sample::select(bytes), length);
        prop_oneof![
            of(vec![b'a', b'b'], 0..12),
            of(vec![b'a', 0, 0xff], 0..3),
            of(vec![0xff], 13..19),
            of(vec![0, 0xff], 14..18)
        ]
    }

    proptest! {
        #[test]
        fn merging_equals_adding_maps(
            maps in prop::collection::vec(prop::collection::btree_map(keys(), 0u64..1000, 0..20), 0..9),
        ) {
            let mut expected = BTreeMap::new();
            for (key, count) in maps.iter().flatten() {
                *expected.entry(key.clone()).or_insert(0) += count;
            }
            let streams: Vec<_> = maps.iter().map(encoded).collect();
            let cursors = streams.iter().map(|bytes| PairReader::new(bytes.as_slice())).collect();
            let mut merge = Merge::new(cursors, sum).unwrap();
            let mut merged = BTreeMap::new();
            while let Some((key, value)) = merge.next().unwrap() {
                prop_assert!(merged.last_key_value().is_none_or(|(last, _): (&Vec<u8>, _)| last.as_slice() < key));
                merged.insert(key.to_vec(), u64::decode(value).unwrap());
            }
            prop_assert_eq!(merged, expected);
        }
    }
}
