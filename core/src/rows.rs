//! The rows that people read: cells, columns, and what takes them.
//!
//! A result holds pairs; a program turns them into rows one at a time, and a format (see [`mod@format`]) writes them. Nothing here
//! holds more than one row.

pub mod format;

use std::borrow::Cow;
use std::io;

/// One field of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell<'a> {
    /// Bytes of the input: text where they are UTF-8.
    Bytes(Cow<'a, [u8]>),
    /// As [`Cell::Bytes`], and TSV joins it to the next cell by `:` in one field; the other formats keep both apart.
    Label(Cow<'a, [u8]>),
    /// A whole number.
    Number(u64),
    /// An exact decimal, or nothing.
    Decimal(Option<String>),
    /// Several byte strings in one field: joined with `,` in TSV and CSV (`,` and `\` escaped by `\`), an array in JSON.
    List(Vec<Cow<'a, [u8]>>),
}

impl From<Vec<u8>> for Cell<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(Cow::Owned(bytes))
    }
}

impl From<String> for Cell<'_> {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl From<&str> for Cell<'_> {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<u64> for Cell<'_> {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

/// Takes rows in order.
pub trait RowSink {
    /// Takes one row, with one cell for every column.
    ///
    /// # Errors
    /// Fails where the rows go.
    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()>;
}
