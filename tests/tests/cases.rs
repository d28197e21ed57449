//! The cases with answers from elsewhere (see `core/tests/cases/README.md`), from files to printed rows.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod world;

use rabbit_reduce_core::local::LocalSource;
use rabbit_reduce_core::message::Outcome;
use rabbit_reduce_tests::cluster::{Cluster, Order, source};
use rabbit_reduce_tests::home::Home;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::path::PathBuf;

world::on_both_brokers! {
    words_are_counted_as_the_tutorial_of_hadoop_does
    words_are_counted_as_the_exercise_says
    letters_are_counted_as_the_exercise_says
}

fn read(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../core/tests/cases").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn cases(name: &str) -> Vec<Json> {
    let data: Json = serde_json::from_slice(&read(name)).unwrap();
    data["cases"].as_array().unwrap().clone()
}

fn order(job: &str, options: &str) -> Order {
    Order { options: serde_json::from_str(options).unwrap(), ..Order::of(job) }
}

async fn check(cluster: &Cluster, order: &Order, sources: &[LocalSource], expected: &[u8]) {
    for order in [order.clone(), order.clone().by_reference()] {
        let report = cluster.run(&order, sources).await;
        assert_eq!(report.end.outcome, Outcome::Done);
        assert_eq!(report.tsv.escape_ascii().to_string(), expected.escape_ascii().to_string());
    }
}

async fn words_are_counted_as_the_tutorial_of_hadoop_does(home: Home) {
    let cluster = Cluster::builder().workers(2).start(home).await;
    for version in ["hadoop-wordcount-v1", "hadoop-wordcount-v2"] {
        let file = |name: &str| read(&format!("hadoop/{version}/{name}"));
        let sources = ["file01", "file02"].map(|name| source(name, file(name)));
        check(&cluster, &Order::of("word-count"), &sources, &file("expected.txt")).await;
    }
    cluster.finish().await;
}

fn rows(case: &Json) -> Vec<u8> {
    let expected: BTreeMap<&str, u64> = case["expected"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(key, count)| (key.as_str(), count.as_u64().unwrap()))
        .collect();
    expected.iter().map(|(key, count)| format!("{key}\t{count}\n")).collect::<String>().into_bytes()
}

async fn words_are_counted_as_the_exercise_says(home: Home) {
    // Runs of letters and digits, with apostrophes between them, not around them.
    let order = order("word-count", r#"{"token_regex":"[\\pL\\d]+('[\\pL\\d]+)*","lowercase":true}"#);
    let cluster = Cluster::builder().workers(2).start(home).await;
    for case in cases("exercism/word-count.canonical-data.json") {
        let sentence = source("sentence", case["input"]["sentence"].as_str().unwrap());
        check(&cluster, &order, &[sentence], &rows(&case)).await;
    }
    cluster.finish().await;
}

async fn letters_are_counted_as_the_exercise_says(home: Home) {
    let order = order("letter-count", r#"{"lowercase":true}"#);
    let cluster = Cluster::builder().workers(2).start(home).await;
    for case in cases("exercism/parallel-letter-frequency.canonical-data.json") {
        let texts = case["input"]["texts"].as_array().unwrap();
        let sources: Vec<_> = texts
            .iter()
            .enumerate()
            .map(|(number, text)| source(&number.to_string(), text.as_str().unwrap()))
            .collect();
        check(&cluster, &order, &sources, &rows(&case)).await;
    }
    cluster.finish().await;
}
