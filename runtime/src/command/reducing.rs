//! A partition through a reducer.
//!
//! What would surprise: what it writes is sorted again, since it may write any keys.

use super::exchange::{ExchangeError, Sides};
use super::isolation::at_fault;
use super::{CommandProgram, GIVEN_BYTES, Report, Splitting};
use crate::process::start::chain;
use crate::reduced::{Flow, Reduced};
use rabbit_reduce_core::counting::count_as;
use rabbit_reduce_core::job::{PairTaker, ProgramFailed};
use rabbit_reduce_core::lines::LineFormat;
use rabbit_reduce_core::map::MapError;
use rabbit_reduce_core::pairs::PairSource;
use rabbit_reduce_core::program::{AnyProgram, ReducePlace};
use rabbit_reduce_core::skip::LostKey;
use std::io;
use std::ops::Range;

/// Gives it all pairs, and hands on what it writes, in order of keys.
pub(super) fn reduce(
    program: &CommandProgram,
    words: &[String],
    at: &ReducePlace<'_>,
    pairs: &mut dyn PairSource,
    out: &mut PairTaker<'_>,
) -> io::Result<()> {
    let (format, reduced) = (program.format(), Reduced::new(&program.lines, at));
    let mut sides = Reducing { pairs, flow: Flow::new(at), lines: Splitting::default(), reduced, format, at };
    let variables = [
        ("RABBIT_REDUCE_JOB_ID", at.job.to_string()),
        ("RABBIT_REDUCE_PARTITION", at.partition.to_string()),
        ("mapreduce_task_partition", at.partition.to_string()),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value)).to_vec();
    match program.run(words, variables.clone(), u64::MAX, &mut sides) {
        Ok(()) => {}
        Err(ExchangeError::Failed { how, said }) => return Err(isolate(program, words, at, &variables, (how, said))),
        Err(error) => return Err(failure(at, error)),
    }
    let Reducing { mut lines, mut reduced, .. } = sides;
    let mut add = |line: &[u8]| {
        let (key, value) = format.split(line);
        reduced.add(key, value)
    };
    lines.finish(&mut add).map_err(|error| failure(at, ExchangeError::Taker(error)))?;
    reduced.drain(out)
}

fn failure(at: &ReducePlace<'_>, error: ExchangeError<MapError>) -> io::Error {
    match error {
        ExchangeError::Pipe(error) | ExchangeError::Taker(MapError::Scratch(error)) => error,
        ExchangeError::Stopped => io::Error::other("nobody wants it any more"),
        ExchangeError::Taker(error) => {
            ProgramFailed::wholly(format!("the reducer of partition {}: {error}", at.partition)).into()
        }
        error => ProgramFailed::wholly(reason_of(at, &error)).into(),
    }
}

fn reason_of(at: &ReducePlace<'_>, error: &ExchangeError<MapError>) -> String {
    format!("the reducer of partition {}: {}", at.partition, chain(error))
}

/// Says on which key the reducer fails, or that it fails otherwise.
fn isolate(
    program: &CommandProgram,
    words: &[String],
    at: &ReducePlace<'_>,
    variables: &[(String, String)],
    (how, said): (String, String),
) -> io::Error {
    let search = || {
        let keys = KeyRange::of(program, at.again.pairs()?, 0..usize::MAX).count()?;
        let mut fails = |tried: Range<usize>| {
            let given = KeyRange::of(program, at.again.pairs()?, tried);
            match program.run(words, variables.to_vec(), u64::MAX, &mut Trial { given, flow: Flow::new(at), at }) {
                Ok(()) => Ok(None),
                Err(ExchangeError::Failed { how, said }) => {
                    Ok(Some(reason_of(at, &ExchangeError::Failed { how, said })))
                }
                Err(error) => Err(failure(at, error)),
            }
        };
        let Some((number, reason)) = at_fault(keys, &mut fails)? else { return Ok(None) };
        let mut found = KeyRange::of(program, at.again.pairs()?, number..number + 1);
        let inner = found.next()?.map(|(inner, _)| inner.to_vec()).unwrap_or_default();
        let key = program.format().key_of(&inner).unwrap_or_default().into_owned();
        Ok(Some(LostKey::new(program.together(&inner), key, reason)))
    };
    match search() {
        Ok(Some(key)) => ProgramFailed::on(vec![key]).into(),
        Ok(None) => failure(at, ExchangeError::Failed { how, said }),
        Err(error) => error,
    }
}

/// The pairs of some of the keys of a partition, in their order.
struct KeyRange<'p> {
    program: &'p CommandProgram,
    pairs: Box<dyn PairSource + 'p>,
    wanted: Range<usize>,
    /// How many keys have begun.
    begun: usize,
    /// The one that began last.
    key: Vec<u8>,
    pair: (Vec<u8>, Vec<u8>),
}

impl<'p> KeyRange<'p> {
    const fn of(program: &'p CommandProgram, pairs: Box<dyn PairSource + 'p>, wanted: Range<usize>) -> Self {
        Self { program, pairs, wanted, begun: 0, key: Vec::new(), pair: (Vec::new(), Vec::new()) }
    }

    /// How many keys there are.
    fn count(mut self) -> io::Result<usize> {
        while self.next()?.is_some() {}
        Ok(self.begun)
    }

    fn next(&mut self) -> io::Result<Option<(&[u8], &[u8])>> {
        while let Some((inner, value)) = self.pairs.next()? {
            let key = self.program.together(inner);
            if self.begun == 0 || key != self.key {
                self.begun += 1;
                self.key.clear();
                self.key.extend_from_slice(key);
            }
            if self.begun > self.wanted.end {
                break;
            }
            if self.wanted.contains(&(self.begun - 1)) {
                self.pair = (inner.to_vec(), value.to_vec());
                return Ok(Some((&self.pair.0, &self.pair.1)));
            }
        }
        Ok(None)
    }
}

/// A reducer that is only watched.
struct Trial<'t> {
    given: KeyRange<'t>,
    flow: Flow,
    at: &'t ReducePlace<'t>,
}

impl Sides for Trial<'_> {
    type Error = MapError;

    fn give(&mut self, input: &mut Vec<u8>) -> io::Result<()> {
        let format = self.given.program.format();
        while input.len() < GIVEN_BYTES {
            let Some((inner, value)) = self.given.next()? else { break };
            let key = format.key_of(inner).ok_or_else(no_key)?;
            format.join(&key, value, input);
        }
        self.flow.given(input.len());
        Ok(())
    }

    fn take(&mut self, output: &[u8]) -> Result<(), MapError> {
        self.flow.taken(output.len())
    }

    fn hear(&mut self, line: &[u8]) -> bool {
        Report::of(line).is_some()
    }

    fn stops(&mut self) -> bool {
        (self.at.stops)()
    }
}

fn no_key() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a pair has no key")
}

/// A reducer at work.
struct Reducing<'r> {
    pairs: &'r mut dyn PairSource,
    flow: Flow,
    lines: Splitting,
    reduced: Reduced<'r>,
    format: &'r LineFormat,
    at: &'r ReducePlace<'r>,
}

impl Sides for Reducing<'_> {
    type Error = MapError;

    fn give(&mut self, input: &mut Vec<u8>) -> io::Result<()> {
        while input.len() < GIVEN_BYTES {
            let Some((inner, value)) = self.pairs.next()? else { break };
            let key = self.format.key_of(inner);
            let key = key.ok_or_else(no_key)?;
            self.format.join(&key, value, input);
        }
        self.flow.given(input.len());
        Ok(())
    }

    fn take(&mut self, output: &[u8]) -> Result<(), MapError> {
        self.flow.taken(output.len())?;
        let Self { lines, reduced, format, .. } = self;
        lines.take(output, &mut |line| {
            let (key, value) = format.split(line);
            reduced.add(key, value)
        })
    }

    fn hear(&mut self, line: &[u8]) -> bool {
        let report = Report::of(line);
        if let Some(Report::Counter { name, more }) = &report {
            count_as(name, *more);
        }
        report.is_some()
    }

    fn stops(&mut self) -> bool {
        (self.at.stops)()
    }
}
