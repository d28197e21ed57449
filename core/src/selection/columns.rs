//! Columns of CSV: which one a name means, and what stands in it.
//!
//! It reads one record; where records end is [`super::quotes`]'. What would surprise: a record must have as many fields as the first
//! of its source, or it is refused.

use super::quotes::Quotes;
use crate::job::RecordError;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;

/// The longest first record of a source of CSV, in bytes.
pub const MAX_HEADER_BYTES: usize = 1 << 20;
/// Columns that are named where one is not found.
const NAMED_COLUMNS: usize = 20;
/// Characters that are shown of such a name.
const SHOWN_CHARS: usize = 40;

/// A column of a source of CSV.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u32, u32)", into = "(u32, u32)")]
pub struct Column {
    /// Which one, from 0.
    pub at: u32,
    /// How many there are.
    pub of: u32,
}

impl From<(u32, u32)> for Column {
    fn from((at, of): (u32, u32)) -> Self {
        Self { at, of }
    }
}

impl From<Column> for (u32, u32) {
    fn from(Column { at, of }: Column) -> Self {
        (at, of)
    }
}

/// Why a source has no such column.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ColumnError {
    /// None of that name or number.
    #[error("it has no column {name:?}{}; {}", NearestName(.nearest.as_deref()), Columns(.columns))]
    Missing {
        /// As asked for.
        name: String,
        /// One that is called much like it.
        nearest: Option<String>,
        /// Those that it has, or how many if they have no names.
        columns: Result<Vec<String>, usize>,
    },
    /// More than one of that name.
    #[error("it has several columns {0:?}: ask for one by its number, counted from 1")]
    Ambiguous(String),
    /// It cannot be told.
    #[error("its first record is longer than {MAX_HEADER_BYTES} bytes: are these the records that were meant?")]
    TooLong,
}

struct NearestName<'n>(Option<&'n str>);

impl fmt::Display for NearestName<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |name| write!(out, ", did you mean {name:?}?"))
    }
}

struct Columns<'c>(&'c Result<Vec<String>, usize>);

impl fmt::Display for Columns<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Err(count) => write!(out, "without a header they have numbers, here from 1 to {count}"),
            Ok(names) => {
                let cut = |name: &String| match name.char_indices().nth(SHOWN_CHARS) {
                    Some((end, _)) => format!("{:?}…", &name[..end]),
                    None => format!("{name:?}"),
                };
                let shown: Vec<_> = names.iter().take(NAMED_COLUMNS).map(cut).collect();
                write!(out, "its columns are {}", shown.join(", "))?;
                let more = names.len().saturating_sub(NAMED_COLUMNS);
                if more > 0 { write!(out, " and {more} more") } else { Ok(()) }
            }
        }
    }
}

/// The fields of a record.
pub(super) fn fields(record: &[u8], delimiter: u8) -> Vec<Vec<u8>> {
    let mut fields = vec![Vec::new()];
    each_field(record, delimiter, |at, part| {
        fields.resize(at + 1, Vec::new());
        fields[at].extend_from_slice(part);
    });
    fields
}

/// A field of a record that has as many as its source's first.
pub(super) fn cell(record: &[u8], delimiter: u8, column: Column) -> Result<Cow<'_, [u8]>, RecordError> {
    let (at, of) = (column.at as usize, column.of as usize);
    let wrong = |count: usize| {
        RecordError::new(format!("the number of its fields is {count}, that of the first record of its source {of}"))
    };
    if memchr::memchr(b'"', record).is_none() {
        let mut delimiters = memchr::memchr_iter(delimiter, record);
        let begin = if at == 0 { Some(0) } else { delimiters.nth(at - 1).map(|before| before + 1) };
        let end = delimiters.next();
        let count = if begin.is_some() {
            at + 1 + usize::from(end.is_some()) + delimiters.count()
        } else {
            memchr::memchr_iter(delimiter, record).count() + 1
        };
        return match begin {
            Some(begin) if count == of => Ok(Cow::Borrowed(&record[begin..end.unwrap_or(record.len())])),
            _ => Err(wrong(count)),
        };
    }
    let mut quotes = Quotes::new(delimiter);
    if quotes.end(record).is_none() && quotes.is_open() {
        return Err(RecordError::new(format!("a quote is opened and not closed in {} bytes", record.len())));
    }
    let (mut content, mut count) = (Vec::new(), 1);
    each_field(record, delimiter, |field, part| {
        count = field + 1;
        if field == at {
            content.extend_from_slice(part);
        }
    });
    if count == of { Ok(Cow::Owned(content)) } else { Err(wrong(count)) }
}

/// Hands over the fields of a record without their quotes: the number of each with a part of it, at least one.
fn each_field(record: &[u8], delimiter: u8, mut take: impl FnMut(usize, &[u8])) {
    let (mut rest, mut number) = (record, 0);
    loop {
        let mut quoted = rest.strip_prefix(b"\"");
        while let Some(within) = quoted {
            let end = memchr::memchr(b'"', within).unwrap_or(within.len());
            take(number, &within[..end]);
            rest = within.get(end + 1..).unwrap_or_default();
            // Two quotes are one that belongs to the field.
            quoted = rest.strip_prefix(b"\"");
            if quoted.is_some() {
                take(number, b"\"");
            }
        }
        // What follows a quote up to the next field belongs to this one, as the `csv` library has it.
        let Some(end) = memchr::memchr(delimiter, rest) else { return take(number, rest) };
        take(number, &rest[..end]);
        (rest, number) = (&rest[end + 1..], number + 1);
    }
}
