//! Pairs in bytes: sorted by key, each key told by what it shares with the one before (front coding), and streams of them.
//!
//! `varint(shared) varint(rest) rest-of-key varint(value length) value`. The first key of a stretch shares nothing, so every
//! stretch reads by itself. Deliberately unknown here: what keys and values mean.

use std::io;
use std::ops::Range;

/// The longest key or value that a reader accepts, in bytes: a record of the greatest size, and its name.
pub const MAX_FIELD_BYTES: usize = 9 << 20;

/// Appends a number in LEB128.
pub fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

/// Takes a number off the front; `None` if it is cut short, longer than needed or over 64 bits.
#[inline]
pub fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let (&first, rest) = bytes.split_first()?;
    if first < 0x80 {
        *bytes = rest;
        return Some(u64::from(first));
    }
    let mut number = u64::from(first & 0x7f);
    let mut rest = rest;
    for shift in (7..64).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return None;
        }
        number |= bits << shift;
        if byte < 0x80 {
            *bytes = rest;
            return (byte != 0).then_some(number);
        }
    }
    None
}

/// A stream of pairs in ascending order of keys.
pub trait PairSource {
    /// The next pair, or `None` at the end.
    ///
    /// # Errors
    /// Fails where the pairs come from, or on bytes that are no pairs.
    fn next(&mut self) -> io::Result<Option<(&[u8], &[u8])>>;
}

/// A stream of pairs that stands on one of them.
pub trait Cursor {
    /// Moves to the next pair; `false` at the end.
    ///
    /// # Errors
    /// Fails where the pairs come from, or with `InvalidData` on bytes that are no sorted pairs.
    fn advance(&mut self) -> io::Result<bool>;
    /// The key of the pair last moved to.
    fn key(&self) -> &[u8];
    /// The value of the pair last moved to.
    fn value(&self) -> &[u8];
}

impl<C: Cursor> PairSource for C {
    fn next(&mut self) -> io::Result<Option<(&[u8], &[u8])>> {
        Ok(if self.advance()? { Some((self.key(), self.value())) } else { None })
    }
}

/// Writes pairs into bytes.
#[derive(Debug, Default)]
pub struct PairWriter {
    last_key: Vec<u8>,
}

impl PairWriter {
    /// Appends a pair to `out`. The first pair of a stretch must come to a new writer.
    pub fn put(&mut self, out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
        let shared = shared_prefix(&self.last_key, key);
        put_varint(out, shared as u64);
        put_varint(out, (key.len() - shared) as u64);
        out.extend_from_slice(&key[shared..]);
        put_varint(out, value.len() as u64);
        out.extend_from_slice(value);
        self.last_key.truncate(shared);
        self.last_key.extend_from_slice(&key[shared..]);
    }
}

#[inline]
fn shared_prefix(left: &[u8], right: &[u8]) -> usize {
    let mut shared = 0;
    let (mut lefts, mut rights) = (left, right);
    while let (Some((l, more_left)), Some((r, more_right))) = (lefts.split_first_chunk(), rights.split_first_chunk()) {
        let differ = u64::from_le_bytes(*l) ^ u64::from_le_bytes(*r);
        if differ != 0 {
            return shared + differ.trailing_zeros() as usize / 8;
        }
        (shared, lefts, rights) = (shared + 8, more_left, more_right);
    }
    shared + lefts.iter().zip(rights).take_while(|(l, r)| l == r).count()
}

/// Reads pairs from bytes in memory. Keeps one key; the value stays where it is.
#[derive(Debug)]
pub struct PairReader<B> {
    bytes: B,
    /// Where the next pair begins.
    at: usize,
    key: Vec<u8>,
    value: Range<usize>,
}

impl<B: AsRef<[u8]>> PairReader<B> {
    /// Reads from the beginning of a stretch.
    pub const fn new(bytes: B) -> Self {
        Self { bytes, at: 0, key: Vec::new(), value: 0..0 }
    }
}

impl<B: AsRef<[u8]>> Cursor for PairReader<B> {
    fn advance(&mut self) -> io::Result<bool> {
        let bytes = self.bytes.as_ref();
        let mut rest = &bytes[self.at..];
        if rest.is_empty() {
            return Ok(false);
        }
        let (shared, more) = (length(&mut rest)?, length(&mut rest)?);
        if shared > self.key.len() || shared.saturating_add(more) > MAX_FIELD_BYTES {
            return Err(invalid("a key's length lies"));
        }
        let behind = rest.split_off(..more).ok_or_else(cut_short)?;
        // Behind what is shared it goes on with a greater byte, or goes on at all; only the first key of a stretch may be empty.
        let ascends = match (self.key.get(shared), behind.first()) {
            (None, new) => new.is_some() || self.at == 0,
            (Some(old), Some(new)) => new > old,
            (Some(_), None) => false,
        };
        if !ascends {
            return Err(invalid("keys are not in ascending order"));
        }
        self.key.truncate(shared);
        self.key.extend_from_slice(behind);
        let value = length(&mut rest)?;
        if value > MAX_FIELD_BYTES {
            return Err(invalid("a value's length lies"));
        }
        rest = rest.get(value..).ok_or_else(cut_short)?;
        self.at = bytes.len() - rest.len();
        self.value = self.at - value..self.at;
        Ok(true)
    }

    fn key(&self) -> &[u8] {
        &self.key
    }

    fn value(&self) -> &[u8] {
        &self.bytes.as_ref()[self.value.clone()]
    }
}

/// Takes a length off the front. One that memory cannot have is as wrong as any that lies.
#[inline]
fn length(rest: &mut &[u8]) -> io::Result<usize> {
    let number = take_varint(rest).ok_or_else(|| invalid("a length is cut short or no number"))?;
    Ok(usize::try_from(number).unwrap_or(usize::MAX))
}

fn cut_short() -> io::Error {
    invalid("the pairs are cut short")
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn a_number_reads_back(number: u64) {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, number);
            let mut rest = bytes.as_slice();
            prop_assert_eq!(take_varint(&mut rest), Some(number));
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn what_two_keys_share_is_found(shared: Vec<u8>, left: Vec<u8>, right: Vec<u8>) {
            let more = left.iter().zip(&right).take_while(|(l, r)| l == r).count();
            let [left, right] = [left, right].map(|rest| [shared.as_slice(), &rest].concat());
            prop_assert_eq!(shared_prefix(&left, &right), shared.len() + more);
        }

        #[test]
        fn pairs_read_back(pairs: BTreeMap<Vec<u8>, Vec<u8>>) {
            let (mut bytes, mut writer) = (Vec::new(), PairWriter::default());
            for (key, value) in &pairs {
                writer.put(&mut bytes, key, value);
            }
            let mut reader = PairReader::new(bytes.as_slice());
            for (key, value) in &pairs {
                prop_assert_eq!(reader.next().unwrap(), Some((key.as_slice(), value.as_slice())));
            }
            prop_assert_eq!(reader.next().unwrap(), None);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let mut reader = PairReader::new(bytes.as_slice());
            while let Ok(true) = reader.advance() {}
        }
    }

    #[test]
    fn a_number_longer_than_needed_is_refused() {
        assert_eq!(take_varint(&mut [0x80, 0x00].as_slice()), None);
        assert_eq!(take_varint(&mut [0xff; 10].as_slice()), None);
    }

    #[test]
    fn keys_out_of_order_are_refused() {
        let (mut bytes, mut writer) = (Vec::new(), PairWriter::default());
        writer.put(&mut bytes, b"b", b"");
        writer.put(&mut bytes, b"a", b"");
        let mut reader = PairReader::new(bytes.as_slice());
        assert!(reader.advance().unwrap());
        assert!(reader.advance().is_err());
    }
}
