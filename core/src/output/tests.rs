//! What is printed must be what the plain run prints, in every order and format, however little memory there is.

use super::*;
use crate::jobs::{Job, Options};
use crate::local::{self, LocalSource};
use crate::partition;
use crate::program::Programs;
use crate::run::RunWriter;
use crate::table::ScratchFile;
use proptest::prelude::*;
use std::cell::Cell;
use std::collections::BTreeMap;

/// Scratch files in memory, counted.
#[derive(Default)]
struct Memory {
    files: Cell<usize>,
}

impl Scratch for Memory {
    fn create(&self) -> io::Result<Box<dyn ScratchFile>> {
        self.files.set(self.files.get() + 1);
        Ok(Box::new(io::Cursor::new(Vec::new())))
    }
}

fn parts(pairs: &BTreeMap<Vec<u8>, Vec<u8>>, count: u32) -> Vec<Box<dyn Read + Send>> {
    let part = |number| {
        let mut writer = RunWriter::new(Vec::new()).unwrap();
        let mine = |key: &[u8]| partition::of_hash(partition::hash(key), count).0 == number;
        pairs.iter().filter(|(key, _)| mine(key)).for_each(|(key, value)| writer.put(key, value).unwrap());
        Box::new(io::Cursor::new(writer.finish().unwrap().0)) as Box<dyn Read + Send>
    };
    (0..count).map(part).collect()
}

fn program(name: &str, options: &Options) -> NamedProgram {
    Programs::built_in().make(name, options).unwrap()
}

fn word_count() -> NamedProgram {
    program("word-count", &Options::default())
}

fn counts(pairs: &[(&str, u64)]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let encoded = |count: u64| {
        let mut value = Vec::new();
        count.encode(&mut value);
        value
    };
    pairs.iter().map(|(key, count)| (key.as_bytes().to_vec(), encoded(*count))).collect()
}

fn print(pairs: &BTreeMap<Vec<u8>, Vec<u8>>, order: Order, budget: usize) -> (String, usize) {
    let (mut out, scratch) = (Vec::new(), Memory::default());
    let options = OutputOptions { format: Format::Tsv, selection: Selection { order, ..Selection::default() } };
    print_within(budget, &word_count(), &[], parts(pairs, 3), &options, &scratch, &mut out).unwrap();
    (String::from_utf8(out).unwrap(), scratch.files.get())
}

#[test]
fn every_job_prints_what_the_plain_run_prints() {
    let sources = ["a b a\n1 2.5\n", "", "b ü c\n3\n"].map(|text| text.as_bytes().to_vec());
    let names = ["x", "y", "z"].map(|name| name.as_bytes().to_vec());
    let local: Vec<_> = names
        .iter()
        .zip(&sources)
        .map(|(name, bytes)| LocalSource { name: name.clone(), bytes: bytes.clone() })
        .collect();
    for name in crate::jobs::NAMES {
        let pattern = (name == "grep").then(|| "b".to_owned());
        let options = Options { pattern, by_source: name == "count", ..Options::default() };
        let (job, plain) = (program(name, &options), Job::new(name, &options).unwrap());
        let result = local::run(&plain, &local);
        for format in [Format::Tsv, Format::Json, Format::Ndjson, Format::Csv] {
            let (mut out, options) = (Vec::new(), OutputOptions { format, ..OutputOptions::default() });
            let scratch = Memory::default();
            print_result(&job, &names, parts(&result.pairs, 4), &options, &scratch, &mut out).unwrap();
            assert_eq!(out, local::print(&plain, &local, &result, format).unwrap(), "{name} {format:?}");
            assert_eq!(scratch.files.get(), 0);
        }
    }
}

#[test]
fn the_largest_come_first_and_ties_by_key() {
    let pairs = counts(&[("d", 2), ("a", 1), ("c", 9), ("b", 2), ("e", 300)]);
    let (all, files) = print(&pairs, Order::Value { top: None }, RANKING_BYTES);
    assert_eq!((all.as_str(), files), ("e\t300\nc\t9\nb\t2\nd\t2\na\t1\n", 0));
    let (three, _) = print(&pairs, Order::Value { top: NonZeroUsize::new(3) }, RANKING_BYTES);
    assert_eq!(three, "e\t300\nc\t9\nb\t2\n");
}

#[test]
fn a_small_top_of_many_needs_no_file() {
    let pairs: Vec<_> = (0..5000).map(|number| (format!("k{number}"), number % 777)).collect();
    let pairs: Vec<_> = pairs.iter().map(|(key, count)| (key.as_str(), *count)).collect();
    let (top, files) = print(&counts(&pairs), Order::Value { top: NonZeroUsize::new(2) }, 1000);
    assert_eq!((top.as_str(), files), ("k1553\t776\nk2330\t776\n", 0));
}

#[test]
fn only_counts_are_ranked() {
    let job = program("sum", &Options::default());
    let options = OutputOptions {
        selection: Selection { order: Order::Value { top: None }, ..Selection::default() },
        ..OutputOptions::default()
    };
    let refused = print_result(&job, &[], vec![], &options, &Memory::default(), &mut Vec::new()).unwrap_err();
    assert!(refused.to_string().contains("the job `sum` has other rows"), "{refused}");
}

#[test]
fn a_damaged_part_and_a_key_in_two_parts_are_refused() {
    let pairs = counts(&[("a", 1), ("b", 2)]);
    let refused = |parts| {
        let options = OutputOptions::default();
        print_result(&word_count(), &[], parts, &options, &Memory::default(), &mut Vec::new()).unwrap_err().to_string()
    };
    let twice = refused(parts(&pairs, 1).into_iter().chain(parts(&pairs, 1)).collect());
    assert!(twice.contains("two parts"), "{twice}");
    let damaged = Box::new(&b"RRrun"[..]) as Box<dyn Read + Send>;
    let cut = refused(parts(&pairs, 1).into_iter().chain([damaged]).collect());
    assert!(cut.starts_with("part 1 of the result: the run is damaged"), "{cut}");
}

proptest! {
    #[test]
    fn ranking_is_sorting_however_little_memory_there_is(
        pairs in prop::collection::btree_map("[a-c]{0,6}", 0_u64..6, 0..600), top in prop::option::of(1_usize..40), budget in 0_usize..3000,
    ) {
        let listed: Vec<_> = pairs.iter().map(|(key, count)| (key.as_str(), *count)).collect();
        let mut sorted = listed.clone();
        sorted.sort_by(|left, right| right.1.cmp(&left.1).then(left.0.cmp(right.0)));
        sorted.truncate(top.unwrap_or(usize::MAX));
        let expected: String = sorted.iter().map(|(key, count)| format!("{key}\t{count}\n")).collect();
        let (printed, _) = print(&counts(&listed), Order::Value { top: top.and_then(NonZeroUsize::new) }, budget);
        prop_assert_eq!(printed, expected);
    }
}

#[test]
fn only_rows_that_are_wanted_are_printed_in_every_order() {
    let pairs = counts(&[("apple", 3), ("apricot", 9), ("bat", 7), ("grape", 2)]);
    let print = |selection: Selection| {
        let (mut out, options) = (Vec::new(), OutputOptions { selection, ..OutputOptions::default() });
        print_result(&word_count(), &[], parts(&pairs, 3), &options, &Memory::default(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    let by_key = Selection { prefix: b"ap".to_vec(), ..Selection::default() };
    assert_eq!(print(by_key.clone()), "apple\t3\napricot\t9\n");
    let top = NonZeroUsize::new(1);
    assert_eq!(print(Selection { order: Order::Value { top }, ..by_key }), "apricot\t9\n");
    let contains = Selection { contains: b"ap".to_vec(), least: 3, ..Selection::default() };
    assert_eq!(print(contains.clone()), "apple\t3\napricot\t9\n");
    let order = Order::Value { top: NonZeroUsize::new(5) };
    assert_eq!(print(Selection { order, ..contains }), "apricot\t9\napple\t3\n");
    assert_eq!(
        print(Selection { contains: b"7".to_vec(), ..Selection::default() }),
        "bat\t7\n",
        "numbers have text, too"
    );
    assert_eq!(print(Selection { prefix: b"pp".to_vec(), ..Selection::default() }), "");
}

#[test]
fn a_least_count_is_for_jobs_that_count() {
    let index = program("index", &Options::default());
    let least = Selection { least: 2, ..Selection::default() };
    assert!(least.check(&index).unwrap_err().to_string().contains("--min-count"));
    assert!(least.check(&word_count()).is_ok());
    assert!(Selection { prefix: b"a".to_vec(), ..Selection::default() }.check(&index).is_ok());
}
