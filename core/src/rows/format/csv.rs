//! Rows as CSV by RFC 4180: a header, CR LF, quotes where they are needed.
//!
//! What would surprise: bytes stay as they are, even where they are not UTF-8, for CSV has no escape; but for a `'` before text
//! that a spreadsheet would take for a formula, as whoever wrote the input may mean harm to whoever opens the answer.

use super::{Formatter, join};
use crate::rows::{Cell, RowSink};
use csv::{Terminator, Writer, WriterBuilder};
use std::borrow::Cow;
use std::io::{self, Write};

/// Writes CSV.
pub(super) struct Csv<'w> {
    out: Writer<&'w mut dyn Write>,
}

impl<'w> Csv<'w> {
    pub(super) fn new(columns: &[&str], out: &'w mut dyn Write) -> io::Result<Self> {
        let mut out = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(out);
        out.write_record(columns)?;
        Ok(Self { out })
    }
}

impl RowSink for Csv<'_> {
    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()> {
        for cell in cells {
            match cell {
                Cell::Bytes(bytes) | Cell::Label(bytes) => self.out.write_field(as_text(bytes))?,
                Cell::Number(number) => self.out.write_field(number.to_string())?,
                Cell::Decimal(decimal) => self.out.write_field(decimal.as_deref().unwrap_or_default())?,
                Cell::List(list) => self.out.write_field(as_text(&join(list)))?,
            }
        }
        Ok(self.out.write_record(None::<&[u8]>)?)
    }
}

/// Full-width forms of what begins a formula, which some spreadsheets take for it.
const WIDE: [&str; 4] = ["\u{ff1d}", "\u{ff0b}", "\u{ff0d}", "\u{ff20}"];

/// Text that is no formula to anybody. What begins with a `'` gets one too, so that all of it reads back.
fn as_text(text: &[u8]) -> Cow<'_, [u8]> {
    let suspect = matches!(text.first(), Some(b'=' | b'+' | b'-' | b'@' | b'\t' | b'\r' | b'\n' | b'\''))
        || WIDE.iter().any(|wide| text.starts_with(wide.as_bytes()));
    if suspect && !is_number(text) { Cow::Owned([b"'", text].concat()) } else { Cow::Borrowed(text) }
}

/// Digits with a sign, and a point among them.
fn is_number(text: &[u8]) -> bool {
    let unsigned = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text);
    let (whole, part) = unsigned.split_at(unsigned.iter().position(|byte| *byte == b'.').unwrap_or(unsigned.len()));
    let digits = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    digits(whole) && part.strip_prefix(b".").is_none_or(digits)
}

impl Formatter for Csv<'_> {
    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.out.flush()
    }
}
