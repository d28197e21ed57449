//! Which line of a chunk a mapper fails on, found by giving it ever fewer of them; the search serves reducers and keys too.
//!
//! What would surprise: what it writes meanwhile is thrown away. A chunk is mapped as a whole once the lines at fault are known
//! and agreed to be left out, since a mapper may remember what it read before.

use super::GIVEN_BYTES;
use super::exchange::{ExchangeError, Sides};
use super::mapping::{Chunk, Given, variables_of};
use rabbit_reduce_core::job::{Piece, Records};
use rabbit_reduce_core::lines::Lines;
use rabbit_reduce_core::map::{Building, LeftOut, MapError, Watch};
use rabbit_reduce_core::records::RecordIter;
use rabbit_reduce_core::skip::Place;
use std::convert::Infallible;
use std::io;
use std::ops::Range;

/// Lines that are tried alone before a mapper is taken to fail on everything: the first, the middle and the last.
const TRIED: usize = 3;

/// Lines on their way into a process.
pub(super) struct GivenLines<'l> {
    lines: Vec<&'l [u8]>,
    next: usize,
}

impl Given for GivenLines<'_> {
    fn give(&mut self, input: &mut Vec<u8>) -> io::Result<()> {
        while input.len() < GIVEN_BYTES
            && let Some(line) = self.lines.get(self.next)
        {
            input.extend_from_slice(line);
            input.push(b'\n');
            self.next += 1;
        }
        Ok(())
    }
}

/// The lines of pieces, but for those that are agreed to be left out, which are noted.
pub(super) fn lines_of<'l>(
    pieces: &[Piece<'l>],
    left_out: LeftOut<'_>,
    building: &mut Building<'_, Lines>,
) -> GivenLines<'l> {
    let (mut lines, mut records) = (Vec::new(), 0);
    for piece in pieces {
        for record in RecordIter::new(Records::Lines, *piece) {
            records += 1;
            match left_out.agreed_at(place(&record)) {
                Some(skip) => building.skip(skip.clone(), &record),
                None => lines.push(record.bytes),
            }
        }
    }
    building.count("records", records);
    GivenLines { lines, next: 0 }
}

fn place(record: &Piece<'_>) -> Place {
    Place { source: record.source, offset: record.offset }
}

/// A mapper that is only watched.
struct Trial<'l, 'w> {
    given: GivenLines<'l>,
    watch: &'w mut dyn Watch,
}

impl Sides for Trial<'_, '_> {
    type Error = Infallible;

    fn give(&mut self, input: &mut Vec<u8>) -> io::Result<()> {
        self.given.give(input)
    }

    fn take(&mut self, _: &[u8]) -> Result<(), Infallible> {
        Ok(())
    }

    fn hear(&mut self, line: &[u8]) -> bool {
        super::Report::of(line).is_some()
    }

    fn stops(&mut self) -> bool {
        self.watch.stops()
    }
}

/// What is tried: these of what there is, with why the command fails on them, if it does.
type Try<'t, E> = dyn FnMut(Range<usize>) -> Result<Option<String>, E> + 't;

/// Says on which line the mapper fails, or that it fails otherwise.
pub(super) fn isolate(
    chunk: &Chunk<'_>,
    words: &[String],
    (how, said): (String, String),
    watch: &mut dyn Watch,
) -> MapError {
    let records = chunk.pieces.iter().flat_map(|piece| RecordIter::new(Records::Lines, *piece));
    let records: Vec<Piece<'_>> = records.filter(|record| chunk.left_out.agreed_at(place(record)).is_none()).collect();
    let mut fails = |tried: Range<usize>| {
        for source in records[tried].chunk_by(|left, right| left.source == right.source) {
            let given = GivenLines { lines: source.iter().map(|record| record.bytes).collect(), next: 0 };
            let mut trial = Trial { given, watch: &mut *watch };
            let variables = variables_of(chunk.at, &source[0]);
            match chunk.program.run(words, variables, chunk.limits.output_bytes, &mut trial) {
                Ok(()) => {}
                Err(ExchangeError::Failed { how, said }) => {
                    let error = ExchangeError::Failed { how, said };
                    return Ok(Some(chunk.program.failure("the mapper", error).to_string()));
                }
                Err(ExchangeError::Stopped) => return Err(MapError::Stopped),
                Err(ExchangeError::Pipe(error)) => return Err(MapError::Scratch(error)),
                Err(ExchangeError::Start { program, source }) => {
                    let error = ExchangeError::Start { program, source };
                    return Err(chunk.program.failure("the mapper", error));
                }
                Err(ExchangeError::Taker(never)) => match never {},
            }
        }
        Ok(None)
    };
    match at_fault(records.len(), &mut fails) {
        Ok(Some((number, reason))) => MapError::Record { place: place(&records[number]), reason },
        Ok(None) => chunk.program.failure("the mapper", ExchangeError::Failed { how, said }),
        Err(error) => error,
    }
}

/// Which one of so many is at fault, and why; none if no one alone is.
pub(super) fn at_fault<E>(count: usize, fails: &mut Try<'_, E>) -> Result<Option<(usize, String)>, E> {
    let Some(last) = count.checked_sub(1) else { return Ok(None) };
    if count > TRIED {
        let mut well = false;
        for tried in [0, last / 2, last] {
            well |= fails(tried..tried + 1)?.is_none();
        }
        if !well {
            return Ok(None);
        }
    }
    let mut range = 0..count;
    while range.len() > 1 {
        let middle = range.start + range.len() / 2;
        range = if fails(range.start..middle)?.is_some() {
            range.start..middle
        } else if fails(middle..range.end)?.is_some() {
            middle..range.end
        } else {
            return Ok(None);
        };
    }
    let number = range.start;
    Ok(fails(range)?.map(|reason| (number, reason)))
}
