//! A set of small numbers, in ascending order: which of 65,536 neighbouring sources something occurs in.
//!
//! In bytes: for each number a varint of how far it lies behind the one before it, less one; the first counts from zero. Knows
//! nothing of words. What would surprise: numbers nearly always come in order, and sets behind one another, so both are appended.

use crate::job::{Value, ValueError};
use crate::pairs::{put_varint, take_varint};
use smallvec::{SmallVec, smallvec};

/// So many that, with its key and count, it takes a line of a processor's cache in a table.
const INLINE: usize = 16;

/// The set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Postings(SmallVec<[u16; INLINE]>);

impl Postings {
    /// The set of one number.
    #[inline]
    #[must_use]
    pub fn of(number: u16) -> Self {
        Self(smallvec![number])
    }

    /// The numbers, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u16> {
        self.0.iter().copied()
    }

    /// Adds the numbers of another set.
    #[inline]
    pub fn add(&mut self, other: Self) {
        match (self.0.last(), other.0.as_slice()) {
            (Some(last), [only]) if last == only => {}
            (Some(last), [first, ..]) if last >= first => self.unite(other),
            _ => self.0.extend_from_slice(&other.0),
        }
    }

    fn unite(&mut self, other: Self) {
        self.0.extend(other.0);
        // Two ascending runs, one behind the other: this sort finds and merges them.
        self.0.sort();
        self.0.dedup();
    }
}

impl Value for Postings {
    fn encode(&self, out: &mut Vec<u8>) {
        let mut next = 0;
        for number in self.iter().map(u64::from) {
            put_varint(out, number - next);
            next = number + 1;
        }
    }

    fn decode(mut bytes: &[u8]) -> Result<Self, ValueError> {
        let (mut numbers, mut next) = (SmallVec::new(), 0_u64);
        while !bytes.is_empty() {
            let behind = take_varint(&mut bytes).ok_or(ValueError("a source is cut short"))?;
            let number = next.checked_add(behind).and_then(|number| u16::try_from(number).ok());
            let number = number.ok_or(ValueError("a source is beyond its block"))?;
            numbers.push(number);
            next = u64::from(number) + 1;
        }
        if numbers.is_empty() { Err(ValueError("there is no source")) } else { Ok(Self(numbers)) }
    }

    #[inline]
    fn heap_bytes(&self) -> usize {
        if self.0.spilled() { self.0.capacity() * size_of::<u16>() } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn sets() -> impl Strategy<Value = BTreeSet<u16>> {
        prop_oneof![
            prop::collection::btree_set(any::<u16>(), 1..40),
            prop::collection::btree_set(0_u16..20, 1..20),
            prop::collection::btree_set(0xfff0_u16.., 1..16)
        ]
    }

    fn encoded(set: &Postings) -> Vec<u8> {
        let mut bytes = Vec::new();
        set.encode(&mut bytes);
        bytes
    }

    fn of(set: &BTreeSet<u16>) -> Postings {
        set.iter().fold(Postings::default(), |mut all, number| {
            all.add(Postings::of(*number));
            all
        })
    }

    proptest! {
        #[test]
        fn adding_is_uniting_sets_and_what_is_written_reads_back(left in sets(), right in sets()) {
            let mut united = of(&left);
            united.add(of(&right));
            let expected: Vec<u16> = left.union(&right).copied().collect();
            prop_assert_eq!(united.iter().collect::<Vec<_>>(), expected);
            prop_assert_eq!(Postings::decode(&encoded(&united)), Ok(united));
        }

        #[test]
        fn numbers_in_any_order_make_the_same_set(numbers in prop::collection::vec(0_u16..50, 1..60)) {
            let mut set = Postings::default();
            numbers.iter().for_each(|number| set.add(Postings::of(*number)));
            prop_assert_eq!(set, of(&numbers.into_iter().collect()));
        }

        #[test]
        fn bytes_are_a_set_in_its_only_form_or_refused(bytes: Vec<u8>) {
            if let Ok(set) = Postings::decode(&bytes) {
                prop_assert_eq!(encoded(&set), bytes);
            }
        }
    }

    #[test]
    fn a_number_beyond_the_last_is_refused() {
        let bytes = |numbers: &[u64]| {
            numbers.iter().fold(Vec::new(), |mut bytes, number| {
                put_varint(&mut bytes, *number);
                bytes
            })
        };
        assert!(Postings::decode(&bytes(&[0xffff])).is_ok());
        for wrong in [&bytes(&[0x1_0000])[..], &bytes(&[0xffff, 0]), &bytes(&[1, u64::MAX]), b"", b"\x80"] {
            assert!(Postings::decode(wrong).is_err(), "{wrong:?}");
        }
    }
}
