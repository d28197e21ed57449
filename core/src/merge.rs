//! Merges sorted streams of pairs into one, values of equal keys combined; holds one pair of each stream.
//!
//! What would surprise: a key that stands in one stream only passes as it is, its value never decoded.

use crate::job::{Program, Value, ValueError};
use crate::pairs::Cursor;
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
    /// Places of `cursors` that stand on a pair, as a binary heap by key; ties by place.
    heap: Vec<(u64, usize)>,
    combine: F,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl<C, F> Merge<C, F>
where
    C: Cursor,
    F: FnMut(&[u8], &mut Vec<u8>, &[u8]) -> Result<(), ValueError>,
{
    /// Merges streams that have not begun. `combine` adds the last argument into the second, for the key that comes first.
    ///
    /// # Errors
    /// Fails if the first pair of a stream cannot be read.
    pub fn new(cursors: Vec<C>, combine: F) -> io::Result<Self> {
        let mut merge =
            Self { heap: Vec::with_capacity(cursors.len()), cursors, combine, key: Vec::new(), value: Vec::new() };
        for place in 0..merge.cursors.len() {
            if merge.cursors[place].advance()? {
                merge.heap.push((prefix(merge.cursors[place].key()), place));
            }
        }
        for place in (0..merge.heap.len() / 2).rev() {
            merge.sift_down(place);
        }
        Ok(merge)
    }

    fn before(&self, left: (u64, usize), right: (u64, usize)) -> bool {
        let by_key = || self.cursors[left.1].key().cmp(self.cursors[right.1].key());
        left.0.cmp(&right.0).then_with(by_key).then(left.1.cmp(&right.1)).is_lt()
    }

    fn sift_down(&mut self, mut place: usize) {
        loop {
            let mut least = 2 * place + 1;
            let Some(&left) = self.heap.get(least) else { return };
            if let Some(&right) = self.heap.get(least + 1)
                && self.before(right, left)
            {
                least += 1;
            }
            if !self.before(self.heap[least], self.heap[place]) {
                return;
            }
            self.heap.swap(place, least);
            place = least;
        }
    }

    /// Moves the stream at the top to its next pair and restores the heap.
    fn step(&mut self) -> io::Result<()> {
        let place = self.heap[0].1;
        if self.cursors[place].advance()? {
            self.heap[0].0 = prefix(self.cursors[place].key());
        } else {
            self.heap.swap_remove(0);
        }
        self.sift_down(0);
        Ok(())
    }
}

impl<C, F> Cursor for Merge<C, F>
where
    C: Cursor,
    F: FnMut(&[u8], &mut Vec<u8>, &[u8]) -> Result<(), ValueError>,
{
    fn advance(&mut self) -> io::Result<bool> {
        let Some(&(_, top)) = self.heap.first() else { return Ok(false) };
        self.key.clear();
        self.key.extend_from_slice(self.cursors[top].key());
        self.value.clear();
        self.value.extend_from_slice(self.cursors[top].value());
        self.step()?;
        while let Some(&(_, top)) = self.heap.first()
            && self.cursors[top].key() == self.key
        {
            (self.combine)(&self.key, &mut self.value, self.cursors[top].value())
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            self.step()?;
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

/// The first eight bytes of a key as a number that orders as they do: most comparisons end here.
#[must_use]
#[inline]
pub fn prefix(key: &[u8]) -> u64 {
    key.first_chunk::<8>().map_or_else(
        || {
            let mut bytes = [0; 8];
            bytes[..key.len()].copy_from_slice(key);
            u64::from_be_bytes(bytes)
        },
        |bytes| u64::from_be_bytes(*bytes),
    )
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

    proptest! {
        #[test]
        fn merging_equals_adding_maps(
            maps in prop::collection::vec(prop::collection::btree_map("[ab]{0,12}".prop_map(String::into_bytes), 0u64..1000, 0..20), 0..9),
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
