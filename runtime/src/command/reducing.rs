//! A partition through a reducer.
//!
//! What would surprise: what it writes is sorted again, since it may write any keys.

use super::exchange::{ExchangeError, Sides};
use super::{CommandProgram, GIVEN_BYTES, Report, Splitting};
use crate::process::start::chain;
use rabbit_reduce_core::job::{PairTaker, ProgramFailed};
use rabbit_reduce_core::lines::{LineFormat, LinePlace, Lines};
use rabbit_reduce_core::map::MapError;
use rabbit_reduce_core::pairs::PairSource;
use rabbit_reduce_core::program::ReducePlace;
use rabbit_reduce_core::short::Key;
use rabbit_reduce_core::table::Table;
use std::io;

/// What is held in memory of its output before it spills, in bytes.
const REDUCED_BYTES: usize = 32 << 20;

/// Gives it all pairs, and hands on what it writes, in order of keys.
pub(super) fn reduce(
    program: &CommandProgram,
    words: &[String],
    at: &ReducePlace<'_>,
    pairs: &mut dyn PairSource,
    out: &mut PairTaker<'_>,
) -> io::Result<()> {
    let table = Table::new(&program.lines, 1, REDUCED_BYTES, u64::from(at.partition.0));
    let reduced = Reduced { table, number: 0, format: program.format(), at };
    let mut sides = Reducing { pairs, lines: Splitting::default(), reduced };
    let variables = [
        ("RABBIT_REDUCE_JOB", at.job.to_string()),
        ("RABBIT_REDUCE_PARTITION", at.partition.to_string()),
        ("mapreduce_task_partition", at.partition.to_string()),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value)).to_vec();
    program.run(words, variables, u64::MAX, &mut sides).map_err(|error| failure(at, error))?;
    let Reducing { mut lines, mut reduced, .. } = sides;
    lines.finish(&mut |line| reduced.add(line)).map_err(|error| failure(at, ExchangeError::Taker(error)))?;
    reduced.table.drain(at.scratch, |_, key, _, value| out(key, value))
}

fn failure(at: &ReducePlace<'_>, error: ExchangeError<MapError>) -> io::Error {
    match error {
        ExchangeError::Pipe(error) | ExchangeError::Taker(MapError::Scratch(error)) => error,
        ExchangeError::Stopped => io::Error::other("nobody wants it any more"),
        error => ProgramFailed(format!("the reducer of partition {}: {}", at.partition, chain(&error))).into(),
    }
}

/// What a reducer has written.
struct Reduced<'r> {
    table: Table<'r, Lines>,
    number: u64,
    format: &'r LineFormat,
    at: &'r ReducePlace<'r>,
}

impl Reduced<'_> {
    fn add(&mut self, line: &[u8]) -> Result<(), MapError> {
        let (key, value) = self.format.split(line);
        let mut inner = Vec::new();
        self.format.inner(key, LinePlace::reduced(self.at.partition, self.number), &mut inner);
        self.number += 1;
        if self.table.add(Key::of(&inner), value.to_vec()) {
            self.table.spill(self.at.scratch)?;
        }
        Ok(())
    }
}

/// A reducer at work.
struct Reducing<'r> {
    pairs: &'r mut dyn PairSource,
    lines: Splitting,
    reduced: Reduced<'r>,
}

impl Sides for Reducing<'_> {
    type Error = MapError;

    fn give(&mut self, input: &mut Vec<u8>) -> io::Result<()> {
        while input.len() < GIVEN_BYTES {
            let Some((inner, value)) = self.pairs.next()? else { break };
            let key = self.reduced.format.key_of(inner);
            let key = key.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a pair has no key"))?;
            self.reduced.format.join(&key, value, input);
        }
        Ok(())
    }

    fn take(&mut self, output: &[u8]) -> Result<(), MapError> {
        let Self { lines, reduced, .. } = self;
        lines.take(output, &mut |line| reduced.add(line))
    }

    fn hear(&mut self, line: &[u8]) -> bool {
        Report::of(line).is_some()
    }

    fn stops(&mut self) -> bool {
        (self.reduced.at.stops)()
    }
}
