//! What every job promises: the rows, and the losses, do not depend on how the input is cut or in which order pairs merge.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;
mod plain;

use common::{job, jobs, numbers, sources};
use plain::{run, whole};
use proptest::prelude::*;
use rabbit_reduce_core::jobs::Job;

proptest! {
    #[test]
    fn rows_do_not_depend_on_cuts_or_order(sources in sources(), seed: u64, often in 1_u64..5) {
        for job in jobs() {
            let mut cuts = numbers(seed);
            let mut order = numbers(!seed);
            let outcome = run(&job, &sources, &mut |_| cuts().is_multiple_of(often), &mut |pairs| {
                for index in (1..pairs.len()).rev() {
                    pairs.swap(index, order() as usize % (index + 1));
                }
            });
            prop_assert_eq!(outcome, whole(&job, &sources), "{:?}", job);
        }
    }
}

fn rows(job: &Job, texts: &[&[u8]]) -> String {
    let names = ["a", "b", "c"];
    let sources: Vec<_> =
        names.iter().zip(texts).map(|(name, text)| (name.as_bytes().to_vec(), text.to_vec())).collect();
    let outcome = whole(job, &sources);
    assert_eq!(outcome.losses, []);
    outcome.tsv
}

#[test]
fn count_counts_a_last_line_without_line_feed_and_ill_formed_bytes_as_characters() {
    let count = job("count", "{}");
    assert_eq!(rows(&count, &[b"one two\nthr\xffee \xc3\xa9"]), "lines\t2\nwords\t4\nchars\t16\nbytes\t17\n");
    assert_eq!(rows(&count, &[]), "lines\t0\nwords\t0\nchars\t0\nbytes\t0\n");
    let by_source = job("count", r#"{"by_source":true}"#);
    assert_eq!(
        rows(&by_source, &[b"x\n", b"", b"y"]),
        "a\t1\t1\t2\t2\nb\t0\t0\t0\t0\nc\t1\t1\t1\t1\ntotal\t2\t2\t3\t3\n"
    );
    assert_eq!(rows(&by_source, &[]), "total\t0\t0\t0\t0\n");
}

#[test]
fn sum_is_exact_and_of_nothing_mostly_empty() {
    let sum = job("sum", "{}");
    assert_eq!(
        rows(&sum, &[b"0.1 0.2\n", b"-1e-30"]),
        "count\t3\nsum\t0.299999999999999999999999999999\nmin\t-1e-30\nmax\t0.2\nmean\t0.1\n"
    );
    assert_eq!(rows(&sum, &[b"1 1 0"]), "count\t3\nsum\t2\nmin\t0\nmax\t1\nmean\t0.66666666666666666667\n");
    assert_eq!(rows(&sum, &[b" \n"]), "count\t0\nsum\t0\nmin\t\nmax\t\nmean\t\n");
    assert_eq!(rows(&sum, &[b"-5"]), "count\t1\nsum\t-5\nmin\t-5\nmax\t-5\nmean\t-5\n");
}

#[test]
fn a_token_that_is_no_number_is_lost_with_its_place() {
    let long = [b"1".repeat(50), b"x".to_vec()].concat();
    let text = [b"1 \x1b[0m\n2 \xff\xc3\xa9 1e9000000 ".as_slice(), &long].concat();
    let outcome = whole(&job("sum", "{}"), &[(b"a".to_vec(), text)]);
    let cut = format!("`{}…` is no number", "1".repeat(40));
    let expected = [
        (0, 2, "`\\u{1b}[0m` is no number".to_owned()),
        (0, 9, "`\\xffé` is no number".to_owned()),
        (0, 13, "`1e9000000` has digits beyond 10^±8000000".to_owned()),
        (0, 23, cut),
    ];
    assert_eq!(outcome.losses, expected);
    assert!(outcome.tsv.starts_with("count\t2\nsum\t3\n"));
}

#[test]
fn index_has_a_row_a_word_with_sorted_sources() {
    let index = job("index", r#"{"lowercase":true}"#);
    assert_eq!(rows(&index, &[b"x y X", b"z", b"y"]), "x\ta\ny\ta,c\nz\tb\n");
    let sources = [(b"2,b".to_vec(), b"w".to_vec()), (b"1".to_vec(), b"w".to_vec())];
    assert_eq!(whole(&index, &sources).tsv, "w\t1,2\\\\\\\\,b\n", "each backslash shows twice");
}

#[test]
fn grep_tells_source_and_byte_offset_in_the_order_of_the_sources() {
    let grep = job("grep", r#"{"pattern":"o$"}"#);
    assert_eq!(
        rows(&grep, &["é\nfoo\nbar\nfoo\r\nzoo".as_bytes(), b"o\n"]),
        "a:3\tfoo\na:11\tfoo\na:16\tzoo\nb:0\to\n"
    );
}

#[test]
fn letters_fold_case_one_by_one() {
    let letters = job("letter-count", r#"{"lowercase":true}"#);
    assert_eq!(rows(&letters, &["aAz1 \u{301}İ".as_bytes()]), "a\t2\ni\\xcc\\x87\t1\nz\t1\n");
}
