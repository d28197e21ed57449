//! From the parts of a result to the bytes that people read.
//!
//! It knows no broker and no store: a part is anything that reads. Held are a frame and a pair of every part, one row, and
//! what `ranking` may.

mod ranking;

use self::ranking::Ranking;
use crate::job::Value;
use crate::pairs::Cursor;
use crate::parts;
use crate::program::NamedProgram;
use crate::rows::format::{self, Format};
use crate::table::Scratch;
use std::io::{self, Read, Write};
use std::num::NonZeroUsize;

/// What ranking holds in memory; more goes to scratch files.
const RANKING_BYTES: usize = 32 << 20;

/// What a result looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputOptions {
    /// How rows are written.
    pub format: Format,
    /// In which order.
    pub order: Order,
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

/// An order that the job's rows do not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "--top and --sort value need a row for every key and its count (word-count, letter-count); the job `{job}` has other rows"
)]
pub struct OrderError {
    /// The job.
    pub job: String,
}

impl OutputOptions {
    /// Whether the job's rows can be had in this order.
    ///
    /// # Errors
    /// Names the job if not.
    pub fn check(&self, job: &NamedProgram) -> Result<(), OrderError> {
        if self.order != Order::Key && !job.ranked() { Err(OrderError { job: job.name().to_owned() }) } else { Ok(()) }
    }
}

/// Writes a whole result to `out`, which should be buffered. `sources` are the names of the job's sources; `parts` are runs,
/// one of every partition.
///
/// # Errors
/// Fails where parts come from, rows go or scratch files lie; names a part that is damaged. To tell a failed `out` from the
/// rest, see [`destination`].
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
    options.check(job).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let mut pairs = parts::parts(parts)?;
    let mut rows = format::writer(options.format, job.columns(), out)?;
    match options.order {
        Order::Key => job.rows(sources, &mut pairs, &mut *rows)?,
        Order::Value { top } => {
            let mut ranking = Ranking::new(top.map_or(usize::MAX, NonZeroUsize::get), ranking_bytes, scratch);
            while pairs.advance()? {
                let count =
                    u64::decode(pairs.value()).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                ranking.put(count, pairs.key())?;
            }
            // A job with a row for every pair takes its pairs in any order.
            job.rows(sources, &mut ranking.finish()?, &mut *rows)?;
        }
    }
    rows.finish()
}

#[cfg(test)]
mod tests;
