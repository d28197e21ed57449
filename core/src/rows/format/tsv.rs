//! Rows as lines of fields between tabs, as `cut` and `sort` like them.
//!
//! What would surprise: a list's commas are escaped first and the field after, so a `,` inside an element reads `\\,`.

use super::{Formatter, in_list};
use crate::rows::{Cell, RowSink};
use std::borrow::Cow;
use std::io::{self, Write};

/// Writes TSV.
pub(super) struct Tsv<'w> {
    out: &'w mut dyn Write,
    /// The row that is being written.
    line: Vec<u8>,
}

impl<'w> Tsv<'w> {
    pub(super) fn new(out: &'w mut dyn Write) -> Self {
        Self { out, line: Vec::new() }
    }

    fn put(&mut self, field: &[u8]) {
        // Nearly always, and seen for many bytes at once: nothing of it depends on what came before.
        if !field.iter().fold(false, |any, byte| any | escape(*byte).is_some()) {
            return self.line.extend_from_slice(field);
        }
        for byte in field {
            match escape(*byte) {
                Some(letter) => self.line.extend_from_slice(&[b'\\', letter]),
                None => self.line.push(*byte),
            }
        }
    }
}

/// What stands for a byte behind a `\`.
#[inline(always)]
const fn escape(byte: u8) -> Option<u8> {
    match byte {
        b'\t' => Some(b't'),
        b'\n' => Some(b'n'),
        b'\r' => Some(b'r'),
        b'\\' => Some(b'\\'),
        _ => None,
    }
}

/// A field as it was before it was written. A `\` that escapes nothing is what it is.
#[must_use]
pub fn unescape(field: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'\\', field).is_none() {
        return Cow::Borrowed(field);
    }
    let (mut plain, mut bytes) = (Vec::with_capacity(field.len()), field.iter().copied());
    while let Some(byte) = bytes.next() {
        match if byte == b'\\' { bytes.next() } else { None } {
            None => plain.push(byte),
            Some(b't') => plain.push(b'\t'),
            Some(b'n') => plain.push(b'\n'),
            Some(b'r') => plain.push(b'\r'),
            Some(b'\\') => plain.push(b'\\'),
            Some(other) => plain.extend([b'\\', other]),
        }
    }
    Cow::Owned(plain)
}

impl RowSink for Tsv<'_> {
    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()> {
        self.line.clear();
        for (index, cell) in cells.iter().enumerate() {
            match cell {
                Cell::Bytes(bytes) | Cell::Label(bytes) => self.put(bytes),
                Cell::Number(number) => self.line.extend_from_slice(itoa::Buffer::new().format(*number).as_bytes()),
                Cell::Decimal(decimal) => {
                    self.line.extend_from_slice(decimal.as_deref().unwrap_or_default().as_bytes())
                }
                Cell::List(list) => {
                    for (index, element) in list.iter().enumerate() {
                        if index > 0 {
                            self.line.push(b',');
                        }
                        self.put(&in_list(element));
                    }
                }
            }
            self.line.push(match cell {
                _ if index + 1 == cells.len() => b'\n',
                Cell::Label(_) => b':',
                _ => b'\t',
            });
        }
        self.out.write_all(&self.line)
    }
}

impl Formatter for Tsv<'_> {
    fn finish(self: Box<Self>) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Any bytes, mostly those that are escaped.
    fn field() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop_oneof![prop::sample::select(b"\t\n\r\\,:tnr".to_vec()), any::<u8>()], 0..12)
    }

    /// Reads a list of at least one element back.
    fn split(field: &[u8]) -> Vec<Vec<u8>> {
        let (mut bytes, mut list) = (field.iter(), vec![Vec::new()]);
        while let Some(&byte) = bytes.next() {
            match byte {
                b',' => list.push(Vec::new()),
                b'\\' => list.last_mut().unwrap().push(*bytes.next().unwrap()),
                byte => list.last_mut().unwrap().push(byte),
            }
        }
        list
    }

    proptest! {
        #[test]
        fn fields_and_lists_parse_back(label in field(), number: u64, text in field(), list in prop::collection::vec(field(), 1..5)) {
            let mut out = Vec::new();
            let mut writer = Tsv::new(&mut out);
            let elements = list.iter().map(|element| Cow::Borrowed(element.as_slice())).collect();
            let cells = [Cell::Bytes(text.clone().into()), Cell::Label(label.clone().into()), Cell::Number(number), Cell::List(elements)];
            writer.row(&cells).unwrap();
            writer.row(&cells).unwrap();
            let lines: Vec<_> = out.split_inclusive(|&byte| byte == b'\n').collect();
            prop_assert_eq!(lines.len(), 2);
            let fields: Vec<_> = lines[1].strip_suffix(b"\n").unwrap().split(|&byte| byte == b'\t').map(|field| unescape(field).into_owned()).collect();
            prop_assert_eq!(fields.len(), 3);
            prop_assert_eq!(&fields[0], &text);
            prop_assert_eq!(&fields[1], &[label.as_slice(), b":", number.to_string().as_bytes()].concat());
            prop_assert_eq!(split(&fields[2]), list);
        }
    }
}
