//! From the parts of a result to the bytes that people read.
//!
//! It knows no broker and no store: a part is anything that reads. Held are a frame and a pair of every part, one row, and
//! what `ranking` may.

pub mod ranking;

use self::ranking::Ranking;
use crate::job::Value;
use crate::pairs::Cursor;
use crate::parts;
use crate::program::NamedProgram;
use crate::rows::format::{self, Format};
use crate::rows::{Cell, RowSink};
use crate::table::Scratch;
use memchr::memmem;
use std::borrow::Cow;
use std::io::{self, Read, Write};
use std::num::NonZeroUsize;

/// What ranking holds in memory; more goes to scratch files.
const RANKING_BYTES: usize = 32 << 20;

/// What a result looks like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutputOptions {
    /// How rows are written.
    pub format: Format,
    /// Which of them, and in which order.
    pub selection: Selection,
}

/// Which rows of a result, and in which order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// In which order.
    pub order: Order,
    /// Only those whose first field begins so.
    pub prefix: Vec<u8>,
    /// Only those of which a field has this in it.
    pub contains: Vec<u8>,
    /// Only those with such a count, or a larger one.
    pub least: u64,
}

/// The order of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// By key, as the job defines it.
    #[default]
    Key,
    /// The largest value first, ties by key.
    Value {
        /// Only so many.
        top: Option<NonZeroUsize>,
    },
}

/// A form that the job's rows do not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// They have no counts.
    #[error(
        "--top, --sort value and --min-count need a row for every key and its count (word-count, letter-count); the job `{job}` has other rows"
    )]
    Unranked {
        /// The job.
        job: String,
    },
    /// They are of the whole result.
    #[error("the few rows of the job `{job}` are of the whole result, none of a partition: leave out --parts")]
    Summary {
        /// The job.
        job: String,
    },
}

/// Whether a job's rows can be written partition by partition.
///
/// # Errors
/// Names the job if not.
pub fn check_parts(job: &NamedProgram) -> Result<(), OrderError> {
    if job.is_summary() { Err(OrderError::Summary { job: job.name().to_owned() }) } else { Ok(()) }
}

impl Selection {
    /// Whether the job has such rows.
    ///
    /// # Errors
    /// Names the job if not.
    pub fn check(&self, job: &NamedProgram) -> Result<(), OrderError> {
        let by_count = self.order != Order::Key || self.least > 0;
        if by_count && !job.ranked() { Err(OrderError::Unranked { job: job.name().to_owned() }) } else { Ok(()) }
    }

    fn wants(&self, cells: &[Cell<'_>]) -> bool {
        let begins = |cell: &Cell<'_>| match cell {
            Cell::Bytes(bytes) | Cell::Label(bytes) => bytes.starts_with(&self.prefix),
            _ => false,
        };
        let has = |bytes: &[u8]| memmem::find(bytes, &self.contains).is_some();
        let contains = |cell: &Cell<'_>| match cell {
            Cell::Bytes(bytes) | Cell::Label(bytes) => has(bytes),
            Cell::Number(number) => has(number.to_string().as_bytes()),
            Cell::Decimal(decimal) => decimal.as_ref().is_some_and(|decimal| has(decimal.as_bytes())),
            Cell::List(list) => list.iter().any(|element| has(element)),
        };
        let enough = |cell: &Cell<'_>| matches!(cell, Cell::Number(count) if *count >= self.least);
        (self.prefix.is_empty() || cells.first().is_some_and(begins))
            && (self.contains.is_empty() || cells.iter().any(contains))
            && (self.least == 0 || cells.get(1).is_some_and(enough))
    }
}

/// Lets rows through that are wanted.
struct Selected<'s> {
    selection: &'s Selection,
    rows: &'s mut dyn RowSink,
}

impl RowSink for Selected<'_> {
    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()> {
        if self.selection.wants(cells) { self.rows.row(cells) } else { Ok(()) }
    }
}

/// Writes a whole result to `out`, which should be buffered. `sources` are the names of the job's sources; `parts` are runs,
/// one of every partition.
///
/// # Errors
/// Fails where parts come from, rows go or scratch files lie; names a part that is damaged. A failed `out` is not told from the
/// rest: whoever gives it notes that.
pub fn print_result(
    job: &NamedProgram,
    sources: &[Vec<u8>],
    parts: Vec<Box<dyn Read + Send>>,
    options: &OutputOptions,
    scratch: &dyn Scratch,
    out: &mut dyn Write,
) -> io::Result<()> {
    print_within(RANKING_BYTES, job, sources, parts, options, scratch, out)
}

fn print_within(
    ranking_bytes: usize,
    job: &NamedProgram,
    sources: &[Vec<u8>],
    parts: Vec<Box<dyn Read + Send>>,
    options: &OutputOptions,
    scratch: &dyn Scratch,
    out: &mut dyn Write,
) -> io::Result<()> {
    options.selection.check(job).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let mut rows = format::writer(options.format, job.columns(), out)?;
    select_within(ranking_bytes, job, sources, parts, &options.selection, scratch, &mut *rows)?;
    rows.finish()
}

/// Gives the rows of a result that are wanted to `rows`. See [`print_result`].
///
/// # Errors
/// As [`print_result`], and whatever `rows` fails with.
pub fn select(
    job: &NamedProgram,
    sources: &[Vec<u8>],
    parts: Vec<Box<dyn Read + Send>>,
    selection: &Selection,
    scratch: &dyn Scratch,
    rows: &mut dyn RowSink,
) -> io::Result<()> {
    selection.check(job).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    select_within(RANKING_BYTES, job, sources, parts, selection, scratch, rows)
}

fn select_within(
    ranking_bytes: usize,
    job: &NamedProgram,
    sources: &[Vec<u8>],
    parts: Vec<Box<dyn Read + Send>>,
    selection: &Selection,
    scratch: &dyn Scratch,
    rows: &mut dyn RowSink,
) -> io::Result<()> {
    let mut pairs = parts::parts(parts)?;
    match selection.order {
        Order::Key => job.rows(sources, &mut pairs, &mut Selected { selection, rows }),
        Order::Value { top } => {
            let mut ranking = Ranking::new(top.map_or(usize::MAX, NonZeroUsize::get), ranking_bytes, scratch);
            while pairs.advance()? {
                let count =
                    u64::decode(pairs.value()).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                // Of such a job, the pair is the row.
                if selection.wants(&[Cell::Bytes(Cow::Borrowed(pairs.key())), Cell::Number(count)]) {
                    ranking.put(count, pairs.key())?;
                }
            }
            // A job with a row for every pair takes its pairs in any order.
            job.rows(sources, &mut ranking.finish()?, rows)
        }
    }
}

#[cfg(test)]
mod tests;
