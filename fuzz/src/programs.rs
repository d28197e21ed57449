//! Programs: over any input, however it is cut, and over pairs that they never made.

use rabbit_reduce_core::id::SourceNumber;
use rabbit_reduce_core::job::{Piece, Program};
use rabbit_reduce_core::jobs::{Job, NAMES, Options};
use rabbit_reduce_core::local::{self, LocalSource};
use rabbit_reduce_core::map::{LeftOut, Limits, map_chunk};
use rabbit_reduce_core::merge::{Merge, combine};
use rabbit_reduce_core::pairs::{Cursor, PairReader};
use rabbit_reduce_core::rows::Cell;
use rabbit_reduce_core::rows::format::{Format, writer};
use rabbit_reduce_core::split::{Sources, Splitter};
use rabbit_reduce_core::table::{Scratch, ScratchFile};
use rabbit_reduce_core::with_program;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;

/// The jobs by a number, with options by another.
fn job(name: u8, options: u8) -> Job {
    let name = NAMES[usize::from(name) % NAMES.len()];
    let tokens = ["whitespace", "letters", "words"][usize::from(options % 3)];
    let lowercase = options & 4 > 0;
    let said = match name {
        "word-count" | "index" => format!(r#"{{"tokens":"{tokens}","lowercase":{lowercase}}}"#),
        "letter-count" => format!(r#"{{"lowercase":{lowercase}}}"#),
        "count" => format!(r#"{{"by_source":{lowercase}}}"#),
        "grep" => r#"{"pattern":"a|\\d"}"#.to_owned(),
        _ => "{}".to_owned(),
    };
    let records = match options >> 3 & 7 {
        1 => r#"{"form":"csv","field":"1"}"#,
        2 => r#"{"form":"csv","no_header":true,"delimiter":";","field":"2"}"#,
        3 => r#"{"form":"jsonl","field":"a.0"}"#,
        4 => r#"{"form":"paragraph"}"#,
        5 => r#"{"form":"tsv","field":"1"}"#,
        6 => r#"{"form":"delimiter","delimiter":"b"}"#,
        7 => r#"{"form":"line","field":"2"}"#,
        _ => "null",
    };
    let mut options: Options = serde_json::from_str(&said).expect("these are options");
    if name != "count" {
        options.records = serde_json::from_str(records).expect("these are too");
    }
    Job::new(name, &options).expect("these are jobs")
}

struct InMemory;

impl Scratch for InMemory {
    fn create(&self) -> io::Result<Box<dyn ScratchFile>> {
        Ok(Box::new(io::Cursor::new(Vec::new())))
    }
}

struct Held<'s>(&'s [LocalSource]);

impl Held<'_> {
    fn bytes(&self, source: SourceNumber) -> &[u8] {
        &self.0[source.index()].bytes
    }
}

impl Sources for Held<'_> {
    fn count(&self) -> u32 {
        u32::try_from(self.0.len()).expect("few")
    }

    fn size(&self, source: SourceNumber) -> Option<u64> {
        Some(self.bytes(source).len() as u64)
    }

    fn name_bytes(&self, source: SourceNumber) -> usize {
        self.0[source.index()].name.len()
    }

    fn window(&mut self, source: SourceNumber, offset: u64, length: usize) -> io::Result<&[u8]> {
        let bytes = self.bytes(source);
        let start = usize::try_from(offset).expect("small").min(bytes.len());
        Ok(&bytes[start..bytes.len().min(start.saturating_add(length))])
    }
}

/// A job, its options, the size of a chunk, and two sources with a byte 0xfe between them: what the chunks give together is what the
/// oracle gives of the whole.
pub(crate) fn chunks(bytes: &[u8]) {
    let [name, options, size, input @ ..] = bytes else { return };
    let job = job(*name, *options);
    let mut parts = input.splitn(2, |&byte| byte == 0xfe);
    let mut source =
        |name: &[u8]| LocalSource { name: name.to_vec(), bytes: parts.next().unwrap_or_default().to_vec() };
    let sources = [source(b"a"), source(b"b")];
    let expected = local::run(&job, &sources);
    let chunked = with_program!(&job, program => combined(program, &sources, 1 + u64::from(*size)));
    assert_eq!(chunked, expected.pairs);
    for format in [Format::Tsv, Format::Json, Format::Ndjson, Format::Csv] {
        local::print(&job, &sources, &expected, format).expect("a result prints");
    }
}

fn combined<P: Program>(program: &P, sources: &[LocalSource], chunk_bytes: u64) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let limits = Limits { partitions: 3, segment_bytes: 256, output_bytes: 1 << 30, budget_bytes: 512 };
    let (mut held, mut splitter) = (Held(sources), Splitter::new(program.boundary(), chunk_bytes));
    let mut bodies = Vec::new();
    while let Some(plan) = splitter.next(&mut held).expect("memory can be read") {
        let piece = |range: &rabbit_reduce_core::split::PieceRange| {
            let source = &sources[range.source.index()];
            let start = usize::try_from(range.offset).expect("small");
            let end = start + usize::try_from(range.length).expect("small");
            Piece {
                source: range.source,
                name: &source.name,
                offset: range.offset,
                bytes: &source.bytes[start..end],
                continues: range.continues,
                ends: range.ends,
                column: local::column_of(program, &source.bytes),
            }
        };
        let pieces: Vec<Piece<'_>> = plan.pieces.iter().map(piece).collect();
        let left_out = LeftOut { too_long: &plan.too_long, agreed: &[] };
        let mut mapped = map_chunk(program, &pieces, left_out, limits, &InMemory, &mut ()).expect("it is small");
        for partition in 0..mapped.partials.len() {
            for segment in 0..mapped.partials[partition].len() {
                bodies.push(mapped.body(partition, segment).expect("it is in memory"));
            }
        }
    }
    let cursors = bodies.iter().map(|body| PairReader::new(&body[..])).collect();
    let mut merged =
        Merge::new(cursors, |key, total, other| combine(program, key, total, other)).expect("sorted pairs");
    let mut pairs = BTreeMap::new();
    while merged.advance().expect("sorted pairs") {
        assert!(program.makes(merged.key(), merged.value()), "what it made is taken for another's");
        pairs.insert(merged.key().to_vec(), merged.value().to_vec());
    }
    pairs
}

/// A job and pairs of anybody: merged with themselves, reduced and printed, or refused; and what the job says that it makes, prints.
pub(crate) fn foreign(bytes: &[u8]) {
    let [name, options, pairs @ ..] = bytes else { return };
    let job = job(*name, *options);
    let names = vec![b"a".to_vec(), b"b".to_vec()];
    with_program!(&job, program => {
        let cursors = vec![PairReader::new(pairs), PairReader::new(pairs)];
        let Ok(mut merged) = Merge::new(cursors, |key, total, other| combine(program, key, total, other)) else { return };
        let mut out = Vec::new();
        let mut sink = writer(Format::Tsv, program.columns(), &mut out).expect("memory takes it");
        if program.rows(&names, &mut merged, &mut *sink).is_ok() {
            sink.finish().expect("memory takes it");
        }
    });
}

/// Fields between bytes 0xfe: a row of TSV parses back to them, JSON is JSON.
pub(crate) fn rows(bytes: &[u8]) {
    let fields: Vec<&[u8]> = bytes.split(|&byte| byte == 0xfe).take(8).collect();
    let columns = &["a", "b", "c", "d", "e", "f", "g", "h"][..fields.len()];
    let cells: Vec<Cell<'_>> = fields.iter().map(|field| Cell::Bytes(Cow::Borrowed(*field))).collect();
    for format in [Format::Tsv, Format::Json, Format::Ndjson, Format::Csv] {
        let mut out = Vec::new();
        let mut sink = writer(format, columns, &mut out).expect("memory takes it");
        sink.row(&cells).expect("memory takes it");
        sink.finish().expect("memory takes it");
        match format {
            Format::Tsv => {
                let line = out.strip_suffix(b"\n").expect("a line ends");
                let read: Vec<Vec<u8>> = line.split(|&byte| byte == b'\t').map(unescaped).collect();
                assert_eq!(read, fields);
            }
            Format::Json => {
                drop(serde_json::from_slice::<Vec<BTreeMap<String, serde_json::Value>>>(&out).expect("JSON"))
            }
            Format::Ndjson => drop(serde_json::from_slice::<BTreeMap<String, serde_json::Value>>(&out).expect("JSON")),
            Format::Csv => {}
        }
    }
}

fn unescaped(field: &[u8]) -> Vec<u8> {
    let (mut plain, mut bytes) = (Vec::new(), field.iter());
    while let Some(&byte) = bytes.next() {
        plain.push(match byte {
            b'\\' => match bytes.next() {
                Some(b't') => b'\t',
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                other => *other.expect("an escape is whole"),
            },
            byte => byte,
        });
    }
    plain
}
