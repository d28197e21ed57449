//! A plain run of a job: cut, map, merge, rows; in one thread, without any of the code that does it for real.
//!
//! The cutter looks at one character at a time and allows whatever the documentation of [`Boundary`] allows.
#![allow(dead_code, reason = "every test binary uses a part of it")]

use crate::common::Source;
use rabbit_reduce_core::boundary::Boundary;
use rabbit_reduce_core::id::SourceNumber;
use rabbit_reduce_core::job::{Piece, Program, Records, Value};
use rabbit_reduce_core::jobs::{Job, with_program};
use rabbit_reduce_core::local::column_of;
use rabbit_reduce_core::pairs::PairSource;
use rabbit_reduce_core::rows::format::{Format, writer};
use rabbit_reduce_core::tokens::Whitespace;
use std::collections::BTreeMap;
use std::io::{self, Read};

/// Keys and values in their byte form, as mapped.
pub(crate) type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// What a run gives: rows in TSV, and the lost records with source, offset and reason.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) tsv: String,
    pub(crate) losses: Vec<(u32, u64, String)>,
}

/// Every source as one piece.
pub(crate) fn whole(job: &Job, sources: &[Source]) -> Outcome {
    run(job, sources, &mut |_| false, &mut |_| {})
}

/// Cut wherever `cut` says so for an allowed place; pairs merged in the order that `shuffle` leaves them in.
pub(crate) fn run(
    job: &Job,
    sources: &[Source],
    cut: &mut dyn FnMut(usize) -> bool,
    shuffle: &mut dyn FnMut(&mut Pairs),
) -> Outcome {
    let (mut pairs, mut losses) = (Vec::new(), Vec::new());
    for (number, (name, bytes)) in sources.iter().enumerate() {
        let mut starts = vec![(0, false)];
        starts.extend(
            allowed(with_program!(job, program => program.boundary()), bytes).into_iter().filter(|(at, _)| cut(*at)),
        );
        let ends = starts.iter().skip(1).map(|(at, _)| *at).chain([bytes.len()]);
        for (&(start, continues), end) in starts.iter().zip(ends) {
            let source = SourceNumber(number.try_into().unwrap());
            let (offset, ends) = (start as u64, end == bytes.len());
            let column = with_program!(job, program => column_of(program, bytes));
            let piece = Piece { source, name, offset, bytes: &bytes[start..end], continues, ends, column };
            with_program!(job, program => map(program, piece, &mut pairs, &mut losses));
        }
    }
    shuffle(&mut pairs);
    let names: Vec<_> = sources.iter().map(|(name, _)| name.clone()).collect();
    let mut tsv = Vec::new();
    with_program!(job, program => reduce(program, &names, pairs, &mut tsv));
    Outcome { tsv: tsv.escape_ascii().to_string().replace("\\n", "\n").replace("\\t", "\t"), losses }
}

fn map<P: Program>(program: &P, piece: Piece<'_>, pairs: &mut Pairs, losses: &mut Vec<(u32, u64, String)>) {
    for (at, bytes) in records(program.records(), piece.bytes, piece.offset == 0) {
        let record = Piece { offset: piece.offset + at as u64, bytes, ..piece };
        for pair in program.map(record) {
            match pair {
                Err(error) => losses.push((record.source.0, record.offset, error.reason)),
                Ok(pair) => {
                    let mut value = Vec::new();
                    pair.value.encode(&mut value);
                    pairs.push((pair.key.into_owned(), value));
                }
            }
        }
    }
}

fn records(records: Records, bytes: &[u8], begins: bool) -> Vec<(usize, &[u8])> {
    match records {
        Records::Piece => vec![(0, bytes)],
        Records::Tokens => {
            let mut tokens = Whitespace::new(bytes);
            let placed = || tokens.next().map(|token| (tokens.end() - token.len(), token));
            std::iter::from_fn(placed).collect()
        }
        Records::Lines => {
            let bare = |line: &'_ [u8]| {
                line.strip_suffix(b"\n").map_or(line.len(), |line| line.strip_suffix(b"\r").unwrap_or(line).len())
            };
            parts(bytes, b'\n').map(|(at, line)| (at, &line[..bare(line)])).collect()
        }
        Records::Delimited(by) => {
            parts(bytes, by).map(|(at, part)| (at, part.strip_suffix(&[by]).unwrap_or(part))).collect()
        }
        Records::Paragraphs => {
            let mut paragraphs: Vec<(usize, usize)> = Vec::new();
            let mut goes_on = false;
            for (at, line) in parts(bytes, b'\n') {
                let blank = line == b"\n" || line == b"\r\n";
                match paragraphs.last_mut() {
                    Some((_, end)) if goes_on && !blank => *end = at + line.len(),
                    _ if !blank => paragraphs.push((at, at + line.len())),
                    _ => {}
                }
                goes_on = !blank;
            }
            let trimmed = |end: usize, at: usize| {
                let last = bytes[at..end].iter().rposition(|byte| !b"\r\n".contains(byte));
                last.map_or(at, |last| at + last + 1)
            };
            paragraphs.into_iter().map(|(at, end)| (at, &bytes[at..trimmed(end, at)])).collect()
        }
        Records::Csv { delimiter, header } => {
            let records = csv_records(bytes, delimiter).into_iter();
            let header = |(at, _): &(usize, &[u8])| header && begins && *at == 0;
            records.filter(|record| !header(record)).collect()
        }
    }
}

fn parts(bytes: &[u8], by: u8) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    bytes.split_inclusive(move |&byte| byte == by).map(move |part| {
        at += part.len();
        (at - part.len(), part)
    })
}

/// By the `csv` library: what it has read when it gives a record is where that ends.
fn csv_records(bytes: &[u8], delimiter: u8) -> Vec<(usize, &[u8])> {
    let mut builder = csv::ReaderBuilder::new();
    builder.has_headers(false).flexible(true).delimiter(delimiter).terminator(csv::Terminator::Any(b'\n'));
    // Behind an empty line it takes no byte-order mark away.
    let mut reader = builder.from_reader(b"\n".chain(bytes));
    let (mut records, mut record) = (Vec::new(), csv::ByteRecord::new());
    let mut at = 0;
    while reader.read_byte_record(&mut record).unwrap() {
        let end = usize::try_from(reader.position().byte()).unwrap() - 1;
        let found = &bytes[at..end];
        let blank = found.iter().take_while(|byte| **byte == b'\n').count();
        let bare =
            found[blank..].strip_suffix(b"\n").map_or(&found[blank..], |line| line.strip_suffix(b"\r").unwrap_or(line));
        if !bare.is_empty() {
            records.push((at + blank, bare));
        }
        at = end;
    }
    records
}

fn reduce<P: Program>(program: &P, names: &[Vec<u8>], pairs: Pairs, out: &mut Vec<u8>) {
    let mut totals: BTreeMap<Vec<u8>, P::Value> = BTreeMap::new();
    for (key, value) in pairs {
        let value = P::Value::decode(&value).unwrap();
        match totals.get_mut(&key) {
            Some(total) => program.merge(&key, total, value),
            None => drop(totals.insert(key, value)),
        }
    }
    let encoded = totals.into_iter().map(|(key, total)| {
        let mut value = Vec::new();
        total.encode(&mut value);
        (key, value)
    });
    let mut source = Encoded { pairs: encoded.collect(), next: 0 };
    let mut formatter = writer(Format::Tsv, program.columns(), out).unwrap();
    program.rows(names, &mut source, &mut *formatter).unwrap();
    formatter.finish().unwrap();
}

struct Encoded {
    pairs: Pairs,
    next: usize,
}

impl PairSource for Encoded {
    fn next(&mut self) -> io::Result<Option<(&[u8], &[u8])>> {
        self.next += 1;
        Ok(self.pairs.get(self.next - 1).map(|(key, value)| (key.as_slice(), value.as_slice())))
    }
}

/// All inner places where `boundary` allows a cut, each with whether the piece behind it continues a run.
fn allowed(boundary: Boundary, bytes: &[u8]) -> Vec<(usize, bool)> {
    let mut characters = Vec::new();
    let mut end = 0;
    for part in bytes.utf8_chunks() {
        let valid = part.valid().chars().map(|character| (character.len_utf8(), Some(character)));
        for (length, character) in valid.chain(part.invalid().iter().map(|_| (1, None))) {
            end += length;
            characters.push((end, character));
        }
    }
    let inner = characters.into_iter().filter(|(at, _)| *at < bytes.len());
    inner
        .filter_map(|(at, character)| {
            let space = character.is_some_and(char::is_whitespace);
            match boundary {
                Boundary::Space => space.then_some((at, false)),
                Boundary::SpaceOrCharacter => Some((at, !space)),
                Boundary::Word => {
                    let blank = matches!(character, Some(' ' | '\t')) && bytes[at].is_ascii();
                    (blank || character == Some('\n')).then_some((at, false))
                }
                Boundary::Line => (character == Some('\n')).then_some((at, false)),
                Boundary::Byte(byte) => (bytes[at - 1] == byte).then_some((at, false)),
                Boundary::Paragraph => {
                    let (before, after) = bytes.split_at(at);
                    let blank = before.ends_with(b"\n\n") || before.ends_with(b"\n\r\n");
                    let goes_on = after.starts_with(b"\n") || after.starts_with(b"\r\n") || after == b"\r";
                    (blank && !goes_on).then_some((at, false))
                }
                Boundary::Csv(delimiter) => csv_records(bytes, delimiter)
                    .iter()
                    .any(|(begin, record)| *begin == at && !record.is_empty())
                    .then_some((at, false)),
            }
        })
        .collect()
}
