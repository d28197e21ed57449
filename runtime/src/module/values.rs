//! Values of one key, one after the other, each behind its length in LEB128: as a module takes them to combine them.
//!
//! What would surprise: to call a module costs as much as to combine some ten small values, so values are gathered first, and
//! short lists of short values take no memory of their own.

use rabbit_reduce_core::job::{Value, ValueError};
use rabbit_reduce_core::pairs::{put_varint, take_varint};
use smallvec::SmallVec;

/// The most bytes of a length.
pub(super) const MOST_LENGTH_BYTES: usize = 10;
/// What lies in a list itself, in bytes.
const SHORT_BYTES: usize = 16;
/// A list that is longer is combined, in bytes; one that holds a long value once it is twice as long as that.
const LONG_BYTES: usize = 1 << 10;

/// Appends a value to a list.
pub(super) fn put(list: &mut Vec<u8>, value: &[u8]) {
    put_varint(list, value.len() as u64);
    list.extend_from_slice(value);
}

/// The first value of a list, and what follows.
fn first(mut list: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = usize::try_from(take_varint(&mut list)?).ok()?;
    list.split_at_checked(length)
}

/// The value of a list that has no other.
pub(super) fn only(list: &[u8]) -> Option<&[u8]> {
    first(list).filter(|(_, rest)| rest.is_empty()).map(|(value, _)| value)
}

/// The list.
#[derive(Clone, Debug, Default)]
pub(super) struct List(SmallVec<[u8; SHORT_BYTES]>);

impl List {
    /// Of one value.
    pub(super) fn of(value: &[u8]) -> Self {
        let mut bytes = [0; SHORT_BYTES];
        if value.len() < SHORT_BYTES {
            bytes[0] = value.len() as u8;
            bytes[1..=value.len()].copy_from_slice(value);
            return Self(SmallVec::from_buf_and_len(bytes, 1 + value.len()));
        }
        let mut list = Vec::with_capacity(MOST_LENGTH_BYTES + value.len());
        put(&mut list, value);
        Self(SmallVec::from_vec(list))
    }

    pub(super) fn append(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it should be combined now.
    pub(super) fn is_long(&self) -> bool {
        self.0.len() > LONG_BYTES && first(&self.0).is_none_or(|(value, _)| self.0.len() > 2 * value.len())
    }
}

impl Value for List {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }

    fn decode(bytes: &[u8]) -> Result<Self, ValueError> {
        Ok(Self(SmallVec::from_slice(bytes)))
    }

    fn heap_bytes(&self) -> usize {
        if self.0.spilled() { self.0.capacity() } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_holds_its_values_one_after_the_other() {
        let long = vec![7; 300];
        let mut list = List::of(b"ab");
        assert_eq!(only(list.bytes()), Some(&b"ab"[..]));
        list.append(&List::of(b""));
        list.append(&List::of(&long));
        assert_eq!(only(list.bytes()), None);
        let mut plain = Vec::new();
        [&b"ab"[..], b"", &long].into_iter().for_each(|value| put(&mut plain, value));
        assert_eq!(list.bytes(), plain);
        let mut encoded = Vec::new();
        list.encode(&mut encoded);
        assert_eq!(List::decode(&encoded).unwrap().bytes(), plain);
        assert_eq!(only(b""), None);
        assert_eq!(only(List::of(b"").bytes()), Some(&b""[..]));
    }

    #[test]
    fn a_list_is_combined_once_it_is_long_and_not_for_one_long_value() {
        let mut list = List::of(b"1");
        while !list.is_long() {
            list.append(&List::of(b"1"));
        }
        assert_eq!(list.bytes().len(), LONG_BYTES + 2);
        let mut list = List::of(&vec![0; 10_000]);
        list.append(&List::of(&vec![0; 5000]));
        assert!(!list.is_long());
        list.append(&List::of(&vec![0; 5000]));
        assert!(list.is_long());
    }
}
