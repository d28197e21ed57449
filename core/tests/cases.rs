//! Cases with answers from elsewhere (see `cases/README.md`), each mapped whole and cut at every allowed place.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;
mod plain;

use common::{Source, job};
use plain::{run, whole};
use rabbit_reduce_core::jobs::Job;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::path::PathBuf;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(name)
}

fn cases(name: &str) -> Vec<Json> {
    let text = std::fs::read_to_string(path(name)).unwrap();
    let data: Json = serde_json::from_str(&text).unwrap();
    data["cases"].as_array().unwrap().clone()
}

fn source(number: usize, text: &Json) -> Source {
    (number.to_string().into_bytes(), text.as_str().unwrap().as_bytes().to_vec())
}

fn check(job: &Job, sources: &[Source], case: &Json) {
    let expected: BTreeMap<&str, u64> =
        case["expected"].as_object().unwrap().iter().map(|(k, n)| (k.as_str(), n.as_u64().unwrap())).collect();
    let expected: String = expected
        .iter()
        .map(|(key, count)| format!("{}\t{count}\n", key.as_bytes().escape_ascii()).replace("\\'", "'"))
        .collect();
    for outcome in [whole(job, sources), run(job, sources, &mut |_| true, &mut |pairs| pairs.reverse())] {
        assert_eq!(outcome.tsv.replace("\\'", "'"), expected, "{}", case["description"]);
    }
}

#[test]
fn words_are_counted_as_the_exercise_says() {
    // Runs of letters and digits, with apostrophes between them, not around them.
    let words = job("word-count", r#"{"token_regex":"[\\pL\\d]+('[\\pL\\d]+)*","lowercase":true}"#);
    let cases = cases("exercism/word-count.canonical-data.json");
    assert!(cases.len() >= 15);
    for case in cases {
        check(&words, &[source(0, &case["input"]["sentence"])], &case);
    }
}

#[test]
fn letters_are_counted_as_the_exercise_says() {
    let letters = job("letter-count", r#"{"lowercase":true}"#);
    let cases = cases("exercism/parallel-letter-frequency.canonical-data.json");
    assert!(cases.len() >= 13);
    for case in cases {
        let texts = case["input"]["texts"].as_array().unwrap();
        let sources: Vec<_> = texts.iter().enumerate().map(|(number, text)| source(number, text)).collect();
        check(&letters, &sources, &case);
    }
}

#[test]
fn words_are_counted_as_the_tutorial_of_hadoop_does() {
    for version in ["hadoop-wordcount-v1", "hadoop-wordcount-v2"] {
        let read = |name: &str| std::fs::read(path("hadoop").join(version).join(name)).unwrap();
        let sources = ["file01", "file02"].map(|name| (name.as_bytes().to_vec(), read(name)));
        let outcome = whole(&job("word-count", "{}"), &sources);
        assert_eq!(outcome.tsv.as_bytes(), read("expected.txt"), "{version}");
    }
}
