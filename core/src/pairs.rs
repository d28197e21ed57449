//! Pairs in bytes: sorted by key, each key told by what it shares with the one before (front coding), and streams of them.
//!
//! `varint(shared) varint(rest) rest-of-key varint(value length) value`. The first key of a stretch shares nothing, so every
//! stretch reads by itself. Deliberately unknown here: what keys and values mean.

use std::io::{self, BufRead};

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
    left.iter().zip(right).take_while(|(l, r)| l == r).count()
}

/// Reads pairs from anything buffered: a file, or bytes in memory (`&[u8]`). Keeps one key and one value.
#[derive(Debug)]
pub struct PairReader<R> {
    input: R,
    key: Vec<u8>,
    value: Vec<u8>,
    first: bool,
}

impl<R: BufRead> PairReader<R> {
    /// Reads from the beginning of a stretch.
    pub fn new(input: R) -> Self {
        Self { input, key: Vec::new(), value: Vec::new(), first: true }
    }

    /// A length; `None` at the end of the input. Lengths over [`MAX_FIELD_BYTES`] are cut to just above it, to be refused.
    fn number(&mut self) -> io::Result<Option<usize>> {
        let buffer = self.input.fill_buf()?;
        let Some(&first) = buffer.first() else { return Ok(None) };
        if first < 0x80 {
            self.input.consume(1);
            return Ok(Some(usize::from(first)));
        }
        let mut bytes = Vec::with_capacity(10);
        loop {
            let Some(&byte) = self.input.fill_buf()?.first() else { return Err(cut_short()) };
            self.input.consume(1);
            bytes.push(byte);
            if byte < 0x80 || bytes.len() == 10 {
                break;
            }
        }
        let number = take_varint(&mut bytes.as_slice()).ok_or_else(|| invalid("a length is not a number"))?;
        Ok(Some(usize::try_from(number).unwrap_or(usize::MAX).min(MAX_FIELD_BYTES + 1)))
    }
}

impl<R: BufRead> Cursor for PairReader<R> {
    fn advance(&mut self) -> io::Result<bool> {
        let Some(shared) = self.number()? else { return Ok(false) };
        let rest = self.number()?.ok_or_else(cut_short)?;
        if shared > self.key.len() || shared.saturating_add(rest) > MAX_FIELD_BYTES {
            return Err(invalid("a key's length lies"));
        }
        let before = self.key.get(shared).copied();
        self.key.truncate(shared);
        read_exact_into(&mut self.input, &mut self.key, rest)?;
        let ascends = self.first
            || match (before, self.key.get(shared)) {
                (None, Some(_)) => true,
                (Some(old), Some(&new)) => new > old,
                (_, None) => false,
            };
        if !ascends {
            return Err(invalid("keys are not in ascending order"));
        }
        self.first = false;
        let length = self.number()?.ok_or_else(cut_short)?;
        if length > MAX_FIELD_BYTES {
            return Err(invalid("a value's length lies"));
        }
        self.value.clear();
        read_exact_into(&mut self.input, &mut self.value, length)?;
        Ok(true)
    }

    fn key(&self) -> &[u8] {
        &self.key
    }

    fn value(&self) -> &[u8] {
        &self.value
    }
}

/// Reads `length` bytes to the end of `out`, trusting the length only as far as bytes really come.
fn read_exact_into<R: BufRead>(input: &mut R, out: &mut Vec<u8>, mut length: usize) -> io::Result<()> {
    while length > 0 {
        let buffer = input.fill_buf()?;
        if buffer.is_empty() {
            return Err(cut_short());
        }
        let taken = buffer.len().min(length);
        out.extend_from_slice(&buffer[..taken]);
        input.consume(taken);
        length -= taken;
    }
    Ok(())
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
