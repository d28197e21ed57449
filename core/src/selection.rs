//! What of the input a job looks at, for jobs that need no program of one's own: records of a form, and a field of each.
//!
//! It is what `--records`, `--delimiter`, `--no-header` and `--field` say. A [`Selected`] program is given the field as if it were
//! all there is. What would surprise: which column of CSV a name means is told by the first record of each source, which only who
//! reads that source's beginning can see; so pieces carry the [`Column`], and sources may order theirs differently.

mod columns;
mod json;
pub mod quotes;

pub use self::columns::{Column, ColumnError, MAX_HEADER_BYTES};

use crate::boundary::Boundary;
use crate::job::{Pair, Piece, Program, RecordError, Records};
use crate::nearest::nearest;
use crate::pairs::PairSource;
use crate::records::{RecordIter, without_line_end};
use crate::rows::RowSink;
use crate::rows::format::unescape;
use crate::tokens::Whitespace;
use columns::{cell, fields};
use quotes::Quotes;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::io;

/// How input falls into records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// A line.
    #[default]
    Line,
    /// Lines up to a blank one.
    Paragraph,
    /// What lies between two of a character.
    Delimiter,
    /// A record of CSV.
    Csv,
    /// A line that is a JSON object.
    Jsonl,
    /// A line of fields between tabs, as this project writes it.
    Tsv,
}

/// What is said of records; what is not said is not written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RecordOptions {
    /// What they are.
    pub form: Form,
    /// The character between records, or between fields of CSV: a comma if nobody says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<String>,
    /// Sources of CSV begin with a record like any other.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_header: bool,
    /// The field that alone is looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

/// What of the input is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    records: Records,
    boundary: Boundary,
    field: Field,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Field {
    /// All of a record.
    All,
    /// A run of anything but white space, from 0.
    Token(usize),
    /// Of TSV, from 0.
    Tab(usize),
    /// Of CSV.
    Column(String),
    /// Of JSON: the names that lead to it.
    Path(Vec<String>),
}

impl RecordOptions {
    /// What they mean.
    ///
    /// # Errors
    /// Names the option that is wrong, and what would be right.
    pub fn selection(&self) -> Result<Selection, String> {
        let delimiter = match (self.form, self.delimiter.as_deref().map(str::as_bytes)) {
            (Form::Delimiter, None) => return Err("--records delimiter needs --delimiter".to_owned()),
            (Form::Csv, None) => b',',
            (Form::Csv, Some([b'"' | b'\n' | b'\r'])) => {
                return Err("--delimiter of csv is no quote and no line's end".to_owned());
            }
            (Form::Delimiter | Form::Csv, Some([byte])) => *byte,
            (Form::Delimiter | Form::Csv, Some(_)) => {
                return Err("--delimiter is one ASCII character, \\t, \\n or \\0".to_owned());
            }
            (_, Some(_)) => return Err("--delimiter is for --records delimiter and csv".to_owned()),
            (_, None) => b'\n',
        };
        if self.no_header && self.form != Form::Csv {
            return Err("--no-header is for --records csv".to_owned());
        }
        let (records, boundary) = match self.form {
            Form::Line | Form::Jsonl | Form::Tsv => (Records::Lines, Boundary::Line),
            Form::Paragraph => (Records::Paragraphs, Boundary::Paragraph),
            Form::Delimiter => (Records::Delimited(delimiter), Boundary::Byte(delimiter)),
            Form::Csv => (Records::Csv { delimiter, header: !self.no_header }, Boundary::Csv(delimiter)),
        };
        let field = match (self.form, &self.field) {
            (_, None) => Field::All,
            (Form::Csv, Some(name)) if self.no_header && number(name).is_none() => {
                return Err("--field without a header is the number of a column, counted from 1".to_owned());
            }
            (Form::Csv, Some(name)) => Field::Column(name.clone()),
            (Form::Jsonl, Some(path)) => Field::Path(names(path)?),
            (Form::Tsv, Some(field)) => Field::Tab(
                number(field).ok_or("--field of tsv is a number, counted from 1 (a file with a header is csv with --delimiter \\t)")?,
            ),
            (_, Some(field)) => Field::Token(number(field).ok_or(
                "--field of a line, a paragraph or what is delimited is a number: fields lie between white space, counted from 1 (csv and jsonl have names: say --records)",
            )?),
        };
        Ok(Selection { records, boundary, field })
    }
}

/// A number that counts from 1, as one that counts from 0.
fn number(text: &str) -> Option<usize> {
    text.parse::<usize>().ok()?.checked_sub(1)
}

/// The names in `a.b`, or in a JSON pointer `/a/b` (RFC 6901).
fn names(path: &str) -> Result<Vec<String>, String> {
    let names: Vec<String> = match path.strip_prefix('/') {
        Some(pointer) => pointer.split('/').map(|name| name.replace("~1", "/").replace("~0", "~")).collect(),
        None => path.split('.').map(str::to_owned).collect(),
    };
    if path.is_empty() || !path.starts_with('/') && names.iter().any(String::is_empty) {
        return Err(format!("--field: {path:?} is no field: it is a name, names joined by dots, or a JSON pointer"));
    }
    Ok(names)
}

impl Selection {
    /// How a piece falls into records.
    #[must_use]
    pub const fn records(&self) -> Records {
        self.records
    }

    /// Where a source may be cut.
    #[must_use]
    pub const fn boundary(&self) -> Boundary {
        self.boundary
    }

    /// Whether it is about a field of a record, and not about all of it.
    #[must_use]
    pub const fn has_field(&self) -> bool {
        !matches!(self.field, Field::All)
    }

    /// Whether pieces need a [`Column`].
    #[must_use]
    pub const fn needs_column(&self) -> bool {
        matches!(self.field, Field::Column(_))
    }

    /// The column that is meant in a source that begins so. `all`: that is all of it. `None` if there is no record.
    ///
    /// # Errors
    /// If there is no such column.
    pub fn column(&self, beginning: &[u8], all: bool) -> Result<Option<Column>, ColumnError> {
        let (Field::Column(name), Records::Csv { delimiter, header }) = (&self.field, self.records) else {
            return Ok(None);
        };
        if beginning.is_empty() {
            return Ok(None);
        }
        let mut from = 0;
        let first = loop {
            let rest = &beginning[from..];
            let end = Quotes::new(delimiter).end(rest);
            let record = match end {
                Some(end) => without_line_end(&rest[..end]),
                None if all => rest,
                None => return Err(ColumnError::TooLong),
            };
            // Where columns have names, they stand in the first line.
            if header || !record.is_empty() {
                break record;
            }
            match end {
                Some(end) => from += end,
                None => return Ok(None),
            }
        };
        let fields = fields(first, delimiter);
        let of = u32::try_from(fields.len()).map_err(|_| ColumnError::TooLong)?;
        let column = |at: usize| Column { at: u32::try_from(at).unwrap_or(of), of };
        let numbered = number(name).filter(|at| *at < fields.len());
        let missing = |columns, nearest| ColumnError::Missing { name: name.clone(), nearest, columns };
        if !header {
            return numbered.map(|at| Some(column(at))).ok_or_else(|| missing(Err(fields.len()), None));
        }
        let mut of_name = fields.iter().enumerate().filter(|(_, field)| **field == name.as_bytes()).map(|(at, _)| at);
        match (of_name.next(), of_name.next()) {
            (Some(at), None) => Ok(Some(column(at))),
            (Some(_), Some(_)) => Err(ColumnError::Ambiguous(name.clone())),
            (None, _) => numbered.map(|at| Some(column(at))).ok_or_else(|| {
                let columns: Vec<String> =
                    fields.iter().map(|field| String::from_utf8_lossy(field).into_owned()).collect();
                let nearest = nearest(name, columns.iter().map(String::as_str)).map(ToOwned::to_owned);
                missing(Ok(columns), nearest)
            }),
        }
    }

    /// The part of a record that is looked at; `None` if it has none.
    ///
    /// # Errors
    /// If the record is not what it should be.
    pub fn content<'r>(&self, record: &Piece<'r>) -> Result<Option<Cow<'r, [u8]>>, RecordError> {
        let bytes = record.bytes;
        match &self.field {
            Field::All => Ok(Some(Cow::Borrowed(bytes))),
            Field::Token(at) => Ok(Whitespace::new(bytes).nth(*at).map(Cow::Borrowed)),
            Field::Tab(at) => tab(bytes, *at).map(Some),
            Field::Path(names) => json::value(bytes, names),
            Field::Column(_) => {
                let Records::Csv { delimiter, .. } = self.records else { unreachable!("columns are of CSV") };
                let column = record.column.ok_or_else(|| RecordError::new("nobody told which column it is about"))?;
                cell(bytes, delimiter, column).map(Some)
            }
        }
    }
}

/// A field between tabs, as it was before it was written.
fn tab(line: &[u8], at: usize) -> Result<Cow<'_, [u8]>, RecordError> {
    let Some(field) = line.split(|&byte| byte == b'\t').nth(at) else {
        let count = memchr::memchr_iter(b'\t', line).count() + 1;
        return Err(RecordError::new(format!(
            "the number of its fields is {count}, and field {} is looked at",
            at + 1
        )));
    };
    Ok(unescape(field))
}

/// A program that is given a part of each record as if it were all there is.
#[derive(Clone, Debug)]
pub struct Selected<P> {
    /// What it looks at.
    pub selection: Selection,
    /// What it does with that.
    pub program: P,
}

impl<P: Program> Selected<P> {
    /// The pairs of what a record holds.
    fn pairs<'s>(&'s self, content: Piece<'s>) -> impl Iterator<Item = Result<Pair<'s, P::Value>, RecordError>> + 's {
        // A field is one value, or nothing if it is empty, where all of a record may hold several.
        let one = self.program.records() == Records::Tokens && self.selection.has_field();
        let bytes = if one { content.bytes.trim_ascii() } else { content.bytes };
        let records = if one && !bytes.is_empty() { Records::Piece } else { self.program.records() };
        RecordIter::new(records, Piece { bytes, ..content }).flat_map(|part| self.program.map(part))
    }
}

/// A record's pairs: as they come where they borrow of the record, or else all of them.
enum Mapped<I, H> {
    Lazy(I),
    Held(H),
}

impl<T, I: Iterator<Item = T>, H: Iterator<Item = T>> Iterator for Mapped<I, H> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match self {
            Self::Lazy(pairs) => pairs.next(),
            Self::Held(pairs) => pairs.next(),
        }
    }
}

impl<P: Program> Program for Selected<P> {
    type Value = P::Value;

    fn boundary(&self) -> Boundary {
        self.selection.boundary()
    }

    fn records(&self) -> Records {
        self.selection.records()
    }

    fn selection(&self) -> Option<&Selection> {
        Some(&self.selection)
    }

    fn map<'r>(&'r self, record: Piece<'r>) -> impl Iterator<Item = Result<Pair<'r, P::Value>, RecordError>> + 'r {
        let whole = Piece { continues: false, ends: true, ..record };
        let held = |pairs: Vec<_>| Mapped::Held(pairs.into_iter());
        match self.selection.content(&record) {
            Ok(None) => held(Vec::new()),
            Ok(Some(Cow::Borrowed(bytes))) => Mapped::Lazy(self.pairs(Piece { bytes, ..whole })),
            Ok(Some(Cow::Owned(bytes))) => {
                let owned = |pair: Pair<'_, P::Value>| Pair { key: Cow::Owned(pair.key.into_owned()), ..pair };
                held(self.pairs(Piece { bytes: &bytes, ..whole }).map(|pair| pair.map(owned)).collect())
            }
            Err(error) => held(vec![Err(error)]),
        }
    }

    fn merge(&self, key: &[u8], total: &mut P::Value, other: P::Value) {
        self.program.merge(key, total, other);
    }

    fn settled<'v>(&self, key: &[u8], value: &'v [u8], room: &'v mut Vec<u8>) -> &'v [u8] {
        self.program.settled(key, value, room)
    }

    fn group<'k>(&self, key: &'k [u8]) -> &'k [u8] {
        self.program.group(key)
    }

    fn makes(&self, key: &[u8], value: &[u8]) -> bool {
        self.program.makes(key, value)
    }

    fn columns(&self) -> &'static [&'static str] {
        self.program.columns()
    }

    fn ranked(&self) -> bool {
        self.program.ranked()
    }

    fn is_summary(&self) -> bool {
        self.program.is_summary()
    }

    fn rows(&self, sources: &[Vec<u8>], pairs: &mut dyn PairSource, sink: &mut dyn RowSink) -> io::Result<()> {
        self.program.rows(sources, pairs, sink)
    }
}

#[cfg(test)]
mod tests;
