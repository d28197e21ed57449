//! Rows as JSON objects: an array of them, or one a line.
//!
//! What would surprise: decimals are strings, for most readers would round a number of theirs; bytes that are not UTF-8 become
//! `{"base64":"…"}`.

use super::Formatter;
use crate::rows::{Cell, RowSink};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::io::{self, Write};

/// Writes objects, each on its line.
pub(super) struct Json<'w> {
    columns: &'static [&'static str],
    out: &'w mut dyn Write,
    array: bool,
    first: bool,
}

impl<'w> Json<'w> {
    pub(super) fn array(columns: &'static [&'static str], out: &'w mut dyn Write) -> Self {
        Self { columns, out, array: true, first: true }
    }

    pub(super) fn lines(columns: &'static [&'static str], out: &'w mut dyn Write) -> Self {
        Self { columns, out, array: false, first: true }
    }

    fn string(&mut self, text: &str) -> io::Result<()> {
        Ok(serde_json::to_writer(&mut *self.out, text)?)
    }

    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.string(text),
            Err(_) => write!(self.out, r#"{{"base64":"{}"}}"#, STANDARD.encode(bytes)),
        }
    }

    fn cell(&mut self, cell: &Cell<'_>) -> io::Result<()> {
        match cell {
            Cell::Bytes(bytes) | Cell::Label(bytes) => self.bytes(bytes),
            Cell::Number(number) => write!(self.out, "{number}"),
            Cell::Decimal(Some(decimal)) => self.string(decimal),
            Cell::Decimal(None) => self.out.write_all(b"null"),
            Cell::List(list) => {
                self.out.write_all(b"[")?;
                for (index, element) in list.iter().enumerate() {
                    if index > 0 {
                        self.out.write_all(b",")?;
                    }
                    self.bytes(element)?;
                }
                self.out.write_all(b"]")
            }
        }
    }
}

impl RowSink for Json<'_> {
    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()> {
        debug_assert_eq!(cells.len(), self.columns.len(), "a cell for every column");
        if self.array {
            self.out.write_all(if self.first { b"[\n" } else { b",\n" })?;
        }
        self.first = false;
        for (index, (column, cell)) in self.columns.iter().zip(cells).enumerate() {
            self.out.write_all(if index == 0 { b"{" } else { b"," })?;
            self.string(column)?;
            self.out.write_all(b":")?;
            self.cell(cell)?;
        }
        self.out.write_all(if self.array { b"}" } else { b"}\n" })
    }
}

impl Formatter for Json<'_> {
    fn finish(self: Box<Self>) -> io::Result<()> {
        if self.array {
            self.out.write_all(if self.first { b"[]\n" } else { b"\n]\n" })?;
        }
        self.out.flush()
    }
}
