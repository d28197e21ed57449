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

/// Text that is no formula to anybody.
fn as_text(text: &[u8]) -> Cow<'_, [u8]> {
    match text.first() {
        Some(b'=' | b'+' | b'-' | b'@' | b'\t' | b'\r') => Cow::Owned([b"'", text].concat()),
        _ => Cow::Borrowed(text),
    }
}

impl Formatter for Csv<'_> {
    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.out.flush()
    }
}
