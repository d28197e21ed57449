//! A grouping program gives the same answer whatever the chunks, partitions, memory, order and duplicates, and streams its groups.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::cases;
use common::cluster::{self, InMemory, Shape};
use proptest::prelude::*;
use rabbit_reduce_core::grouping::{Grouping, GroupingProgram, Values};
use rabbit_reduce_core::id::SourceNumber;
use rabbit_reduce_core::job::{Piece, Program, RecordError, Records};
use rabbit_reduce_core::local::{self, LocalSource};
use rabbit_reduce_core::map::{LeftOut, Limits, MapError, map_chunk};
use rabbit_reduce_core::map_reduce::{Reducing, Row};
use rabbit_reduce_core::pairs::PairSource;
use rabbit_reduce_core::rows::format::Format;
use std::io;

/// Lines `key value…`: the values of a key joined in order, and how many there are. A line that begins with `!` is refused after its
/// first value.
struct Join {
    /// A row for each value instead of one of all.
    each: bool,
}

impl GroupingProgram for Join {
    type Key = Vec<u8>;
    type Value = Vec<u8>;

    fn map<'r>(&'r self, record: Piece<'r>) -> impl Iterator<Item = Result<(Vec<u8>, Vec<u8>), RecordError>> + 'r {
        let mut fields = record.bytes.split(|&byte| byte == b' ');
        let key = fields.next().unwrap_or_default();
        fields.enumerate().map(move |(place, value)| {
            if place > 0 && key.starts_with(b"!") {
                return Err(RecordError { reason: "refused".into() });
            }
            Ok((key.to_vec(), value.to_vec()))
        })
    }

    fn columns(&self) -> &'static [&'static str] {
        &["key", "value"]
    }

    fn reduce<'v>(
        &'v self,
        key: &'v Vec<u8>,
        mut values: Values<'v, Vec<u8>>,
    ) -> impl Iterator<Item = io::Result<Row>> + 'v {
        let (mut joined, mut count) = (Vec::new(), 0);
        std::iter::from_fn(move || {
            loop {
                match values.next() {
                    Some(Err(error)) => return Some(Err(error)),
                    Some(Ok(value)) if self.each => return Some(Ok(row(key, value))),
                    Some(Ok(value)) => {
                        joined.extend_from_slice(&value);
                        joined.push(b'+');
                        count += 1;
                    }
                    None if count > 0 => {
                        joined.extend_from_slice(std::mem::take(&mut count).to_string().as_bytes());
                        return Some(Ok(row(key, std::mem::take(&mut joined))));
                    }
                    None => return None,
                }
            }
        })
    }
}

const fn reducing<G>(program: G) -> Reducing<Grouping<G>> {
    Reducing(Grouping(program))
}

fn row(key: &[u8], value: Vec<u8>) -> Row {
    Row::new().with(key.to_vec()).with(value)
}

fn source(bytes: &[u8]) -> LocalSource {
    LocalSource { name: b"a".to_vec(), bytes: bytes.to_vec() }
}

fn printed(sources: &[LocalSource]) -> String {
    let program = reducing(Join { each: false });
    let result = local::run_program(&program, sources, 1 << 20);
    String::from_utf8(local::print_program(&program, sources, &result, Format::Tsv).unwrap()).unwrap()
}

#[test]
fn values_come_in_the_order_of_the_input_with_their_key() {
    let sources = [source(b"b 9 8\na 7\n"), source(b"b 1\na\0 5\n! 1 2\nc\n")];
    assert_eq!(printed(&sources), "a\t7+1\na\0\t5+1\nb\t9+8+1+3\n");
}

fn texts() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let field = prop::sample::select(vec![&b"a"[..], b"b", b"a\0", b"", b"\xff", b"!", b"a\0\0", b"word"]);
    let line = prop::collection::vec(field, 0..6).prop_map(|fields| fields.join(&b' '));
    prop::collection::vec(prop::collection::vec(line, 0..12).prop_map(|lines| lines.join(&b'\n')), 0..4)
}

proptest! {
    #![proptest_config(cases(4000))]

    #[test]
    fn the_answer_is_that_of_a_plain_run(
        texts in texts(), limits in (1_u64..30, 30_u64..60), partitions in 1_u32..9, segment_bytes in 1_usize..200,
        budget in 1_usize..400, each: bool, sizes_known: bool, seed: u64,
    ) {
        let program = reducing(Join { each });
        let sources: Vec<_> = texts.iter().map(|bytes| source(bytes)).collect();
        let (chunk_bytes, record_bytes) = limits;
        let budgets = [budget, 1 << 20];
        let shape = Shape { chunk_bytes, record_bytes, partitions, segment_bytes, budgets, sizes_known, seed };
        let answer = cluster::run(&program, &sources, &shape);
        let expected = local::run_program(&program, &sources, record_bytes);
        prop_assert_eq!(&answer.pairs, &expected.pairs);
        prop_assert_eq!(&answer.tsv, &local::print_program(&program, &sources, &expected, Format::Tsv).unwrap());
        prop_assert_eq!(&answer.json, &local::print_program(&program, &sources, &expected, Format::Json).unwrap());
        prop_assert_eq!(answer.skips.into_iter().collect::<Vec<_>>(), expected.skips);
    }
}

#[test]
fn a_key_with_more_values_than_the_memory_is_reduced_all_the_same() {
    let program = reducing(Join { each: false });
    let lines: String = (0..20_000).map(|number| format!("k {number}\n")).collect();
    let sources = [source(lines.as_bytes())];
    let budgets = [16 << 10, 8 << 10];
    let shape = Shape {
        chunk_bytes: 128 << 10,
        record_bytes: 1 << 20,
        partitions: 3,
        segment_bytes: 4096,
        budgets,
        sizes_known: true,
        seed: 1,
    };
    let answer = cluster::run(&program, &sources, &shape);
    assert_eq!(answer.pairs, local::run_program(&program, &sources, 1 << 20).pairs);
    let text = String::from_utf8(answer.tsv).unwrap();
    assert!(text.starts_with("k\t0+1+2+3+") && text.ends_with("+19998+19999+20000\n"));
}

/// Pairs of one group without end; they fail after so many.
struct Endless {
    left: u32,
    key: Vec<u8>,
}

impl PairSource for Endless {
    fn next(&mut self) -> io::Result<Option<(&[u8], &[u8])>> {
        if self.left == 0 {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the store is gone"));
        }
        self.left -= 1;
        self.key = [&b"k\0\0"[..], &[0; 12], &self.left.to_be_bytes()].concat();
        Ok(Some((&self.key, b"v\0\0")))
    }
}

#[test]
fn outputs_are_given_while_values_are_read_and_a_failure_ends_the_reduce() {
    let mut given = 0;
    let mut pairs = Endless { left: 1000, key: Vec::new() };
    let failure = reducing(Join { each: true }).reduce(&mut pairs, &mut |_, _| {
        given += 1;
        Ok(())
    });
    assert_eq!(given, 1000);
    assert_eq!(failure.unwrap_err().kind(), io::ErrorKind::TimedOut);
}

/// Looks at the first value of each key, and hides what goes wrong.
struct First;

impl GroupingProgram for First {
    type Key = Vec<u8>;
    type Value = Vec<u8>;

    fn map<'r>(&'r self, record: Piece<'r>) -> impl Iterator<Item = Result<(Vec<u8>, Vec<u8>), RecordError>> + 'r {
        let (key, value) = record.bytes.split_first().unwrap_or((&b' ', b""));
        std::iter::once(Ok((vec![*key], value.to_vec())))
    }

    fn columns(&self) -> &'static [&'static str] {
        &["key", "value"]
    }

    fn reduce<'v>(
        &'v self,
        key: &'v Vec<u8>,
        values: Values<'v, Vec<u8>>,
    ) -> impl Iterator<Item = io::Result<Row>> + 'v {
        values
            .filter_map(Result::ok)
            .take(if key.as_slice() == b"z" { 9999 } else { 1 })
            .map(|value| Ok(row(key, value)))
    }
}

#[test]
fn values_that_nobody_takes_are_passed_over() {
    let program = reducing(First);
    let sources = [source(b"a1\na2\nb1\na3\nb2\nz1\nz2\n")];
    let result = local::run_program(&program, &sources, 1 << 20);
    let text = local::print_program(&program, &sources, &result, Format::Tsv).unwrap();
    assert_eq!(String::from_utf8(text).unwrap(), "a\t1\nb\t1\nz\t1\nz\t2\n");
}

#[test]
fn a_failure_that_the_program_hides_ends_the_reduce_all_the_same() {
    struct Hides;
    impl PairSource for Hides {
        fn next(&mut self) -> io::Result<Option<(&[u8], &[u8])>> {
            Err(io::Error::other("the disk is gone"))
        }
    }
    struct Once<P>(bool, P);
    impl<P: PairSource> PairSource for Once<P> {
        fn next(&mut self) -> io::Result<Option<(&[u8], &[u8])>> {
            if std::mem::replace(&mut self.0, true) {
                return self.1.next();
            }
            Ok(Some((b"z\0\0________\0\0\0\0\0\0\0\0", b"1\0\0")))
        }
    }
    let failure = reducing(First).reduce(&mut Once(false, Hides), &mut |_, _| Ok(()));
    assert_eq!(failure.unwrap_err().to_string(), "the disk is gone");
}

#[test]
fn foreign_pairs_are_refused() {
    struct One(bool);
    impl PairSource for One {
        fn next(&mut self) -> io::Result<Option<(&[u8], &[u8])>> {
            Ok((!std::mem::replace(&mut self.0, true)).then_some((b"no part", b"")))
        }
    }
    let failure = reducing(First).reduce(&mut One(false), &mut |_, _| Ok(())).unwrap_err();
    assert_eq!(failure.kind(), io::ErrorKind::InvalidData);
}

#[test]
fn an_endless_record_is_stopped_by_the_output_limit() {
    struct Forever(Records);
    impl GroupingProgram for Forever {
        type Key = String;
        type Value = Vec<u8>;

        fn records(&self) -> Records {
            self.0
        }

        fn map<'r>(&'r self, _: Piece<'r>) -> impl Iterator<Item = Result<(String, Vec<u8>), RecordError>> + 'r {
            std::iter::repeat_with(|| Ok(("k".to_owned(), vec![0; 1 << 16])))
        }

        fn columns(&self) -> &'static [&'static str] {
            &["key"]
        }

        fn reduce<'v>(&'v self, _: &'v String, _: Values<'v, Vec<u8>>) -> impl Iterator<Item = io::Result<Row>> + 'v {
            std::iter::empty()
        }
    }
    let piece = Piece {
        source: SourceNumber(0),
        name: b"a",
        offset: 0,
        bytes: b"x",
        continues: false,
        ends: true,
        column: None,
    };
    let limits = Limits { partitions: 2, segment_bytes: 4096, output_bytes: 1 << 20, budget_bytes: 1 << 20 };
    for records in [Records::Piece, Records::Lines] {
        let mapped = map_chunk(&reducing(Forever(records)), &[piece], LeftOut::default(), limits, &InMemory, &mut ());
        assert!(matches!(mapped, Err(MapError::Output { limit }) if limit == 1 << 20), "{records:?}");
    }
}
