//! The oracle: a plain single-threaded run with nothing clever in it, which every other mode is compared with.
//!
//! It holds the input and all pairs in memory, knows no chunks, partitions, segments or runs, and is meant for tests and for
//! reading. What would surprise: it has to look for records too long to travel, since the answer lacks them in every mode.

use crate::boundary::Boundary;
use crate::counting::{self, Counters};
use crate::id::SourceNumber;
use crate::job::{Piece, Program, ProgramFailed, RecordError, Value};
use crate::jobs::Job;
use crate::pairs::PairSource;
use crate::records::RecordIter;
use crate::rows::format::{Format, writer};
use crate::selection::Column;
use crate::skip::{LostKey, Skip, said};
use crate::split::MAX_RECORD_BYTES;
use crate::with_program;
use std::any::Any;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::panic::{self, AssertUnwindSafe};

/// A source in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalSource {
    /// Its name.
    pub name: Vec<u8>,
    /// All of it.
    pub bytes: Vec<u8>,
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalResult {
    /// Reduced pairs by key, values in their byte form.
    pub pairs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Records that are not counted, in order.
    pub skips: Vec<Skip>,
    /// Keys that the program cannot reduce, in order.
    pub keys: Vec<LostKey>,
    /// What the program has counted.
    pub counters: Counters,
}

/// Runs a job over its sources.
#[must_use]
pub fn run(job: &Job, sources: &[LocalSource]) -> LocalResult {
    with_program!(job, program => run_program(program, sources, MAX_RECORD_BYTES))
}

/// The answer as it is printed.
///
/// # Errors
/// Fails on pairs that the job never makes.
pub fn print(job: &Job, sources: &[LocalSource], result: &LocalResult, format: Format) -> io::Result<Vec<u8>> {
    with_program!(job, program => print_program(program, sources, result, format))
}

/// As [`print()`], for any program.
///
/// # Errors
/// Fails on pairs that the program never makes.
pub fn print_program<P: Program>(
    program: &P,
    sources: &[LocalSource],
    result: &LocalResult,
    format: Format,
) -> io::Result<Vec<u8>> {
    let names: Vec<Vec<u8>> = sources.iter().map(|source| source.name.clone()).collect();
    let mut out = Vec::new();
    let mut rows = writer(format, program.columns(), &mut out)?;
    program.rows(&names, &mut MapSource { pairs: result.pairs.iter() }, &mut *rows)?;
    rows.finish()?;
    Ok(out)
}

struct MapSource<'a> {
    pairs: std::collections::btree_map::Iter<'a, Vec<u8>, Vec<u8>>,
}

impl PairSource for MapSource<'_> {
    fn next(&mut self) -> io::Result<Option<(&[u8], &[u8])>> {
        Ok(self.pairs.next().map(|(key, value)| (key.as_slice(), value.as_slice())))
    }
}

/// Runs a program over sources, records over `record_bytes` left out.
///
/// # Panics
/// If the program's reduce fails on the program's own pairs.
pub fn run_program<P: Program>(program: &P, sources: &[LocalSource], record_bytes: u64) -> LocalResult {
    let mut totals: BTreeMap<Vec<u8>, P::Value> = BTreeMap::new();
    let (mut skips, mut counters) = (Vec::new(), Counters::new());
    counting::discard();
    for (number, source) in sources.iter().enumerate() {
        let number = SourceNumber(u32::try_from(number).expect("sources are numbered in 32 bits"));
        let (stretches, too_long) = stretches(program.boundary(), &source.bytes, record_bytes);
        let column = column_of(program, &source.bytes);
        for stretch in &stretches {
            let piece = Piece {
                source: number,
                name: &source.name,
                offset: stretch.start as u64,
                bytes: &source.bytes[stretch.clone()],
                continues: false,
                ends: stretch.end == source.bytes.len(),
                column,
            };
            map_piece(program, &piece, &mut totals, &mut skips, &mut counters);
        }
        skips.extend(too_long.into_iter().map(|record| Skip {
            source: number,
            offset: record.start as u64,
            reason: format!("a record of {} bytes is longer than {record_bytes} bytes", record.len()),
        }));
    }
    skips.sort();
    let encode = |(key, value): (Vec<u8>, P::Value)| {
        let mut bytes = Vec::new();
        value.encode(&mut bytes);
        (key, bytes)
    };
    let combined: BTreeMap<Vec<u8>, Vec<u8>> = totals.into_iter().map(encode).collect();
    let (pairs, keys) = reduced(program, combined);
    counting::take_into(&mut counters);
    LocalResult { pairs, skips, keys, counters }
}

/// The reduced pairs, and the keys that the program cannot reduce.
fn reduced<P: Program>(
    program: &P,
    mut combined: BTreeMap<Vec<u8>, Vec<u8>>,
) -> (BTreeMap<Vec<u8>, Vec<u8>>, Vec<LostKey>) {
    let mut keys: Vec<LostKey> = Vec::new();
    loop {
        counting::discard();
        let mut pairs = BTreeMap::new();
        let mut take = |key: &[u8], value: &[u8]| {
            let before = pairs.insert(key.to_vec(), value.to_vec());
            assert_eq!(before, None, "a reduce gave a key twice");
            Ok(())
        };
        let Err(error) = program.reduce(&mut MapSource { pairs: combined.iter() }, &mut take) else {
            return (pairs, keys);
        };
        let failed = error.downcast::<ProgramFailed>().expect("pairs in memory are read without fail");
        assert!(!failed.keys.is_empty(), "all of it fails: {failed}");
        combined.retain(|key, _| !failed.keys.iter().any(|lost| lost.group.0 == program.group(key)));
        keys.extend(failed.keys);
    }
}

/// The column that a program looks at in a source; none if there is no such column, and then no record counts.
pub fn column_of<P: Program>(program: &P, source: &[u8]) -> Option<Column> {
    program.selection().and_then(|selection| selection.column(source, true).ok().flatten())
}

fn map_piece<P: Program>(
    program: &P,
    piece: &Piece<'_>,
    totals: &mut BTreeMap<Vec<u8>, P::Value>,
    skips: &mut Vec<Skip>,
    counters: &mut Counters,
) {
    for record in RecordIter::new(program.records(), *piece) {
        let mapped = panic::catch_unwind(AssertUnwindSafe(|| program.map(record).collect::<Result<Vec<_>, _>>()));
        let panicked =
            |panic: Box<dyn Any + Send>| Err(RecordError::new(format!("mapping panicked: {}", said(&*panic))));
        match mapped.unwrap_or_else(panicked) {
            Err(error) => {
                counting::discard();
                skips.push(Skip::new(piece.source, record.offset, error.reason));
            }
            Ok(pairs) => {
                counting::take_into(counters);
                for pair in pairs {
                    match totals.get_mut(&*pair.key) {
                        Some(total) => program.merge(&pair.key, total, pair.value),
                        None => drop(totals.insert(pair.key.into_owned(), pair.value)),
                    }
                }
            }
        }
    }
}

/// The source without its records that are too long, and those records.
fn stretches(boundary: Boundary, bytes: &[u8], record_bytes: u64) -> (Vec<Range<usize>>, Vec<Range<usize>>) {
    let (mut stretches, mut too_long) = (Vec::new(), Vec::new());
    let (mut begin, mut at) = (0, 0);
    let any_too_long = boundary != Boundary::SpaceOrCharacter && bytes.len() as u64 > record_bytes;
    while any_too_long && at < bytes.len() {
        let end = boundary.first_in(bytes, at, bytes.len()).unwrap_or(bytes.len());
        if (end - at) as u64 > record_bytes {
            stretches.push(begin..at);
            too_long.push(at..end);
            begin = end;
        }
        at = end;
    }
    stretches.push(begin..bytes.len());
    stretches.retain(|stretch| !stretch.is_empty());
    (stretches, too_long)
}
