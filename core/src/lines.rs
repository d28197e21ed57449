//! Pairs as lines of text, and keys made of fields: what programs that read and write lines are given and give.
//!
//! A line is a key, a separator and a value; without a separator it is all key. Inside, a pair's key also says how it sorts, where
//! it goes and which place it has among equal ones, so that the rest of the pipeline treats it like any other. What would
//! surprise: all of that is bytes that order as they should; nobody compares fields.
//!
//! `sort form | key | partition form | place`, the first three ended as [`crate::key`] does; only the key and the place where the
//! job names no fields, and no place where pairs of equal keys are combined: then the key alone, as it is, if there are no fields. The partition form stands behind the key, which decides it, so that it orders nothing. The place is sixteen bytes: for a mapped pair its source, the offset of its piece and its number there;
//! for a reduced one its partition, its number there and zeros.

mod fields;

pub use self::fields::{FieldError, MOST_FIELDS, SortField};

use crate::boundary::Boundary;
use crate::id::{PartitionNumber, SourceNumber};
use crate::job::{Pair, Piece, Program, RecordError, Records};
use crate::key;
use crate::pairs::PairSource;
use crate::rows::{Cell, RowSink};
use std::borrow::Cow;
use std::io;

/// Bytes of a place.
const PLACE_BYTES: usize = 16;

/// How lines are read, and in which order pairs come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineFormat {
    /// Between key and value, and between the fields of a key.
    pub separator: u8,
    /// How many fields the key is, from the first; one if nobody says.
    pub key_fields: usize,
    /// The fields of a key that choose its partition, from 1; all of it without any.
    pub partition_fields: Vec<usize>,
    /// The fields of a key that order it; as bytes without any.
    pub sort_fields: Vec<SortField>,
    /// Whether equal keys stay apart, each with its place; if not, there is one pair of each key, without a place.
    pub placed: bool,
}

impl Default for LineFormat {
    fn default() -> Self {
        Self { separator: b'\t', key_fields: 1, partition_fields: Vec::new(), sort_fields: Vec::new(), placed: true }
    }
}

/// Where a pair stands among those of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinePlace([u8; PLACE_BYTES]);

impl LinePlace {
    /// Of a mapped pair: the source and offset of its piece, and its number there.
    #[must_use]
    pub fn mapped(source: SourceNumber, offset: u64, number: u32) -> Self {
        let mut place = [0; PLACE_BYTES];
        place[..4].copy_from_slice(&source.0.to_be_bytes());
        place[4..12].copy_from_slice(&offset.to_be_bytes());
        place[12..].copy_from_slice(&number.to_be_bytes());
        Self(place)
    }

    /// Of a reduced pair: its partition, and its number there.
    #[must_use]
    pub fn reduced(partition: PartitionNumber, number: u64) -> Self {
        let mut place = [0; PLACE_BYTES];
        place[..4].copy_from_slice(&partition.0.to_be_bytes());
        place[4..12].copy_from_slice(&number.to_be_bytes());
        Self(place)
    }
}

impl LineFormat {
    /// A line as a key and a value.
    #[must_use]
    pub fn split<'l>(&self, line: &'l [u8]) -> (&'l [u8], &'l [u8]) {
        let mut separators = memchr::memchr_iter(self.separator, line);
        match separators.nth(self.key_fields.saturating_sub(1)) {
            Some(at) => (&line[..at], &line[at + 1..]),
            None => (line, b""),
        }
    }

    /// Appends a pair as a line.
    pub fn join(&self, key: &[u8], value: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(key);
        out.push(self.separator);
        out.extend_from_slice(value);
        out.push(b'\n');
    }

    fn has_fields(&self) -> bool {
        !self.partition_fields.is_empty() || !self.sort_fields.is_empty()
    }

    const fn place_bytes(&self) -> usize {
        if self.placed { PLACE_BYTES } else { 0 }
    }

    /// Whether an inner key is the key itself, as nothing is to be told of it.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        !self.placed && !self.has_fields()
    }

    /// The inner key of a pair.
    pub fn inner(&self, key: &[u8], place: LinePlace, out: &mut Vec<u8>) {
        out.clear();
        if self.is_plain() {
            out.extend_from_slice(key);
        } else if !self.has_fields() {
            key::put_part(out, key);
        } else {
            let fields: Vec<&[u8]> = key.split(|&byte| byte == self.separator).collect();
            let mut form = Vec::new();
            self.sort_fields.iter().for_each(|field| field.put(&fields, &mut form));
            key::put_part(out, &form);
            key::put_part(out, key);
            form.clear();
            if self.partition_fields.is_empty() {
                form.extend_from_slice(key);
            }
            for number in &self.partition_fields {
                key::put_part(&mut form, fields.get(number - 1).copied().unwrap_or_default());
            }
            key::put_part(out, &form);
        }
        out.extend_from_slice(&place.0[..self.place_bytes()]);
    }

    /// The parts of an inner key: its key, what chooses the partition, and the place.
    fn parts_of<'k>(&self, inner: &'k [u8]) -> Option<[&'k [u8]; 3]> {
        let (key, group, place) = if self.is_plain() {
            return Some([inner, inner, &[]]);
        } else if self.has_fields() {
            let (_, rest) = key::split_part(inner)?;
            let (key, rest) = key::split_part(rest)?;
            let (group, place) = key::split_part(rest)?;
            (key, group, place)
        } else {
            let (key, place) = key::split_part(inner)?;
            (key, key, place)
        };
        Some([key, group, place])
    }

    /// All of an inner key but the place.
    #[must_use]
    pub fn without_place<'k>(&self, inner: &'k [u8]) -> &'k [u8] {
        &inner[..inner.len().saturating_sub(self.place_bytes())]
    }

    /// The key in an inner key.
    #[must_use]
    pub fn key_of<'k>(&self, inner: &'k [u8]) -> Option<Cow<'k, [u8]>> {
        if self.is_plain() {
            return Some(Cow::Borrowed(inner));
        }
        let [key, _, place] = self.parts_of(inner)?;
        (place.len() == self.place_bytes()).then(|| key::read_part(key))
    }
}

/// What is the same for all programs that give and take lines: how their pairs lie, and how they are printed. Its map takes
/// every line for a pair as it is.
#[derive(Clone, Debug)]
pub struct Lines(pub LineFormat);

impl Program for Lines {
    type Value = Vec<u8>;

    fn boundary(&self) -> Boundary {
        Boundary::Line
    }

    fn records(&self) -> Records {
        Records::Lines
    }

    fn map<'r>(&'r self, line: Piece<'r>) -> impl Iterator<Item = Result<Pair<'r, Vec<u8>>, RecordError>> + 'r {
        let (key, value) = self.0.split(line.bytes);
        let mut inner = Vec::new();
        self.0.inner(key, LinePlace::mapped(line.source, line.offset, 0), &mut inner);
        std::iter::once(Ok(Pair { key: Cow::Owned(inner), value: value.to_vec() }))
    }

    /// Two pairs of one place are the same pair.
    fn merge(&self, _: &[u8], _: &mut Vec<u8>, _: Vec<u8>) {}

    fn group<'k>(&self, key: &'k [u8]) -> &'k [u8] {
        self.0.parts_of(key).map_or(key, |[_, group, _]| group)
    }

    fn makes(&self, key: &[u8], _value: &[u8]) -> bool {
        let Some(outer) = self.0.key_of(key) else { return false };
        let mut inner = Vec::new();
        self.0.inner(&outer, LinePlace([0; PLACE_BYTES]), &mut inner);
        self.0.without_place(key) == self.0.without_place(&inner)
    }

    fn columns(&self) -> &'static [&'static str] {
        &["key", "value"]
    }

    fn rows(&self, _: &[Vec<u8>], pairs: &mut dyn PairSource, sink: &mut dyn RowSink) -> io::Result<()> {
        while let Some((inner, value)) = pairs.next()? {
            let key = self.0.key_of(inner);
            let key = key.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a pair has no key"))?;
            sink.row(&[Cell::Bytes(key), Cell::Bytes(Cow::Borrowed(value))])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn format(separator: u8, key_fields: usize, partition: &[usize], sort: &[&str]) -> LineFormat {
        let sort_fields = sort.iter().map(|field| field.parse().unwrap()).collect();
        LineFormat { separator, key_fields, partition_fields: partition.to_vec(), sort_fields, placed: true }
    }

    #[test]
    fn a_line_is_split_at_the_separator_behind_the_key() {
        let tab = LineFormat::default();
        assert_eq!(tab.split(b"a\tb\tc"), (&b"a"[..], &b"b\tc"[..]));
        assert_eq!(tab.split(b"a b"), (&b"a b"[..], &b""[..]));
        assert_eq!(tab.split(b"\tb"), (&b""[..], &b"b"[..]));
        assert_eq!(tab.split(b""), (&b""[..], &b""[..]));
        let two = format(b'.', 2, &[], &[]);
        assert_eq!(two.split(b"11.12.1.2"), (&b"11.12"[..], &b"1.2"[..]));
        assert_eq!(two.split(b"11.12"), (&b"11.12"[..], &b""[..]));
    }

    fn sorted(format: &LineFormat, keys: &[&str]) -> Vec<String> {
        let place = LinePlace::reduced(PartitionNumber(0), 0);
        let mut inner: Vec<Vec<u8>> = keys
            .iter()
            .map(|key| {
                let mut inner = Vec::new();
                format.inner(key.as_bytes(), place, &mut inner);
                inner
            })
            .collect();
        inner.sort();
        inner.iter().map(|inner| String::from_utf8(format.key_of(inner).unwrap().into_owned()).unwrap()).collect()
    }

    #[test]
    fn keys_order_by_the_fields_that_are_named() {
        let keys = ["a.10", "b.9", "a.9", "b.-1", "a.x", "b.0.5"];
        assert_eq!(sorted(&format(b'.', 2, &[], &["1", "2n"]), &keys), ["a.x", "a.9", "a.10", "b.-1", "b.0.5", "b.9"]);
        assert_eq!(sorted(&format(b'.', 2, &[], &["2nr"]), &keys), ["a.10", "a.9", "b.9", "a.x", "b.0.5", "b.-1"]);
        assert_eq!(sorted(&format(b'.', 2, &[], &["1r"]), &keys), ["b.-1", "b.0.5", "b.9", "a.10", "a.9", "a.x"]);
        assert_eq!(sorted(&LineFormat::default(), &["b", "a\0", "a"]), ["a", "a\0", "b"]);
        assert_eq!(sorted(&format(b'.', 2, &[2], &[]), &["b.1", "a.2", "a-.0"]), ["a-.0", "a.2", "b.1"]);
        assert_eq!(sorted(&format(b'.', 3, &[3], &["1"]), &["a.z.1", "a.y.2"]), ["a.y.2", "a.z.1"]);
    }

    proptest! {
        #[test]
        fn an_inner_key_tells_its_key_and_group(
            keys in prop::collection::vec("[ab.\0]{0,6}", 2), partition in prop::collection::vec(1_usize..4, 0..3),
            sort in prop::collection::vec("[1-3]n?r?", 0..3), number: u32,
        ) {
            let sort: Vec<&str> = sort.iter().map(String::as_str).collect();
            let program = Lines(format(b'.', 2, &partition, &sort));
            let place = LinePlace::mapped(SourceNumber(7), 1, number);
            let [left, right] = [0, 1].map(|at| {
                let mut inner = Vec::new();
                program.0.inner(keys[at].as_bytes(), place, &mut inner);
                inner
            });
            prop_assert_eq!(program.0.key_of(&left).unwrap(), keys[0].as_bytes());
            prop_assert!(program.makes(&left, b""));
            let field = |key: &str, number: usize| key.split('.').nth(number - 1).unwrap_or_default().to_owned();
            let chosen = |key: &str| match partition.as_slice() {
                [] => vec![key.to_owned()],
                fields => fields.iter().map(|number| field(key, *number)).collect(),
            };
            prop_assert_eq!(program.group(&left) == program.group(&right), chosen(&keys[0]) == chosen(&keys[1]));
        }

        #[test]
        fn any_bytes_are_a_pair_or_refused(bytes: Vec<u8>, fields: bool) {
            let program = Lines(if fields { format(b'.', 2, &[1], &["2n"]) } else { LineFormat::default() });
            if program.makes(&bytes, b"") {
                let key = program.0.key_of(&bytes).unwrap().into_owned();
                let mut inner = Vec::new();
                program.0.inner(&key, LinePlace(bytes[bytes.len() - PLACE_BYTES..].try_into().unwrap()), &mut inner);
                prop_assert_eq!(inner, bytes);
            }
        }
    }
}
