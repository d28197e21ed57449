//! What a job does not count is told, with where it was and why; and what is no loss is none.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod world;

use rabbit_reduce_core::id::SourceNumber;
use rabbit_reduce_core::local::{self, LocalSource};
use rabbit_reduce_core::message::Outcome;
use rabbit_reduce_core::rows::format::Format;
use rabbit_reduce_producer::sources::collect;
use rabbit_reduce_tests::cluster::{Cluster, Order, Report, source};
use rabbit_reduce_tests::crew::{Role, Setup};
use rabbit_reduce_tests::home::Home;
use rabbit_reduce_tests::seen;
use rabbit_reduce_tests::wait::within;
use rabbit_reduce_worker::Roots;
use std::collections::BTreeSet;

world::on_both_brokers! {
    a_token_that_is_no_number_is_lost_with_its_source_and_offset
    a_record_over_eight_mebibytes_is_lost_with_its_source_and_offset
    more_losses_than_allowed_fail_the_job_before_its_input_is_mapped
    of_nothing_there_are_no_words_and_the_totals_are_zero
    input_outside_the_roots_of_a_worker_is_lost_with_the_reason
    a_file_that_changed_after_the_push_is_lost
    many_small_files_share_chunks
    of_a_hundred_records_of_which_three_panic_and_two_keys_fail_ninety_five_are_left
}

fn agree(order: &Order, sources: &[LocalSource], report: &Report) {
    let expected = local::run(&order.program(), sources);
    let rows = local::print(&order.program(), sources, &expected, Format::Tsv).unwrap();
    assert!(report.tsv == rows, "{} bytes of rows, {} expected", report.tsv.len(), rows.len());
    assert_eq!(report.end.losses.records, expected.skips);
    assert_eq!(report.end.losses.count, expected.skips.len() as u64);
}

async fn a_token_that_is_no_number_is_lost_with_its_source_and_offset(home: Home) {
    let cluster = Cluster::builder().start(home).await;
    let sources = [source("a", "1 2\n3"), source("b", "40 five 6e1 ")];
    let report = cluster.run(&Order::of("sum"), &sources).await;
    assert_eq!(report.end.outcome, Outcome::DoneWithLosses);
    let [lost] = report.end.losses.records.as_slice() else { panic!("{:?}", report.end.losses) };
    assert_eq!((lost.source, lost.offset), (SourceNumber(1), 3));
    assert!(lost.reason.contains("five"), "{}", lost.reason);
    assert_eq!(String::from_utf8(report.tsv.clone()).unwrap(), "count\t5\nsum\t106\nmin\t1\nmax\t60\nmean\t21.2\n");
    agree(&Order::of("sum"), &sources, &report);
    cluster.finish().await;
    seen::fault("a token is no number", "told with source and offset, the rest exact");
}

async fn a_record_over_eight_mebibytes_is_lost_with_its_source_and_offset(home: Home) {
    let cluster = Cluster::builder().start(home).await;
    let long = [b"ab\n".to_vec(), vec![b'x'; (8 << 20) + 1], b"\nab\n".to_vec()].concat();
    let sources = [source("short", "ab\n"), LocalSource { name: b"long".to_vec(), bytes: long }];
    let options = serde_json::from_str(r#"{"pattern":"b"}"#).unwrap();
    for order in [Order::of("grep"), Order::of("grep").by_reference()] {
        let order =
            Order { chunk_bytes: 1 << 20, options: serde_json::from_str(r#"{"pattern":"b|x"}"#).unwrap(), ..order };
        let report = cluster.run(&order, &sources).await;
        let [lost] = report.end.losses.records.as_slice() else { panic!("{:?}", report.end.losses) };
        assert_eq!((lost.source, lost.offset), (SourceNumber(1), 3));
        assert_eq!(report.end.outcome, Outcome::DoneWithLosses);
        agree(&order, &sources, &report);
    }
    // Just as long as may be, a line travels, alone where its pair is larger than a segment.
    let longest = [vec![b'b'; (8 << 20) - 1], b"\n".to_vec()].concat();
    let order = Order { options, chunk_bytes: 1 << 20, ..Order::of("grep") };
    let sources = [source("longest", longest)];
    let report = cluster.run(&order, &sources).await;
    assert_eq!(report.end.outcome, Outcome::Done);
    agree(&order, &sources, &report);
    cluster.finish().await;
    seen::fault("a record is over 8 MiB", "told with source and offset, the rest exact");
}

async fn more_losses_than_allowed_fail_the_job_before_its_input_is_mapped(home: Home) {
    let cluster = Cluster::builder().start(home).await;
    let order = Order { max_losses: 3, ..Order::of("sum") };
    let sources = cluster.write(&[source("a", "x 1 ".repeat(200))]);
    let session = cluster.session().await;
    let known = cluster.submit(&session, &order, sources).await;
    // The last chunk is never mapped; the job does not wait for it.
    let first = BTreeSet::from([0, 1, 2]);
    let chunks = within("published", session.publish(&known, Some(first))).await.unwrap();
    let report = cluster.conclude(&session, &known, chunks).await;
    let Outcome::Failed(reason) = &report.end.outcome else { panic!("{:?}", report.end) };
    assert!(reason.contains("more than 3 losses"), "{reason}");
    assert!(report.end.losses.count > 3 && report.end.parts.is_empty());
    cluster.finish().await;
    seen::fault("more is lost than is allowed", "the job fails and says why");
}

async fn of_nothing_there_are_no_words_and_the_totals_are_zero(home: Home) {
    let cluster = Cluster::builder().start(home).await;
    let zeros = "lines\t0\nwords\t0\nchars\t0\nbytes\t0\n";
    let sums = "count\t0\nsum\t0\nmin\t\nmax\t\nmean\t\n";
    for (job, rows) in [("word-count", ""), ("letter-count", ""), ("count", zeros), ("sum", sums)] {
        for sources in [vec![], vec![source("empty", "")], vec![source("a", ""), source("b", "")]] {
            let report = cluster.run(&Order::of(job), &sources).await;
            assert_eq!(report.end.outcome, Outcome::Done);
            assert_eq!(String::from_utf8(report.tsv.clone()).unwrap(), rows, "{job} of {}", sources.len());
            agree(&Order::of(job), &sources, &report);
        }
    }
    cluster.finish().await;
}

async fn input_outside_the_roots_of_a_worker_is_lost_with_the_reason(home: Home) {
    let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (near, link, far) = (inside.path().join("near"), inside.path().join("link"), outside.path().join("far"));
    std::fs::write(&near, "near").unwrap();
    std::fs::write(&far, "far").unwrap();
    std::os::unix::fs::symlink(&far, &link).unwrap();
    let roots = Roots::beneath(&[inside.path().to_owned()]).unwrap();
    let cluster = Cluster::builder().setup(Setup { roots, ..Setup::default() }).start(home).await;
    let order = Order::of("word-count").by_reference();
    for refused in [far, link] {
        let sources = collect(std::slice::from_ref(&refused)).unwrap().sources;
        let report = cluster.run_files(&order, sources).await;
        assert_eq!(report.end.outcome, Outcome::DoneWithLosses);
        let [lost] = report.end.losses.chunks.as_slice() else { panic!("{:?}", report.end.losses) };
        assert!(
            lost.reason.contains("--input-root") && lost.reason.contains(refused.to_str().unwrap()),
            "{}",
            lost.reason
        );
        assert_eq!((lost.chunk.0, lost.partitions.len(), report.tsv.as_slice()), (0, 3, &b""[..]));
        let kept = cluster.files(report.job, "dead");
        assert_eq!(kept.iter().filter(|name| !name.ends_with(".json")).count(), 1, "its task is kept: {kept:?}");
    }
    let report = cluster.run_files(&order, collect(&[near]).unwrap().sources).await;
    assert_eq!((report.end.outcome, report.tsv.as_slice()), (Outcome::Done, &b"near\t1\n"[..]));
    cluster.finish().await;
    seen::fault("input lies outside of the roots", "told with the reason, the rest exact");
}

async fn a_file_that_changed_after_the_push_is_lost(home: Home) {
    let cluster = Cluster::builder().workers(0).start(home).await;
    let order = Order::of("word-count").by_reference();
    let sources = cluster.write(&[source("same", "same ".repeat(20)), source("other", "before ".repeat(30))]);
    let changed = sources[1].file.as_ref().unwrap().path.0.clone();
    let session = cluster.session().await;
    let known = cluster.submit(&session, &order, sources).await;
    let chunks = within("published", session.publish(&known, None)).await.unwrap();
    std::fs::write(String::from_utf8(changed).unwrap(), "after ".repeat(30)).unwrap();
    cluster.crew.hire(Role::Worker).await;
    let report = cluster.conclude(&session, &known, chunks).await;
    assert_eq!(report.end.outcome, Outcome::DoneWithLosses);
    assert!(!report.end.losses.chunks.is_empty());
    for lost in &report.end.losses.chunks {
        assert!(lost.reason.contains("changed since the job was made"), "{}", lost.reason);
    }
    let rows = String::from_utf8(report.tsv).unwrap();
    assert!(rows.starts_with("same\t") && rows.lines().count() == 1, "{rows}");
    cluster.finish().await;
    seen::fault("a file changes after the push", "told with the reason");
}

async fn many_small_files_share_chunks(home: Home) {
    let cluster = Cluster::builder().workers(2).start(home).await;
    let sources: Vec<_> =
        (0..500).map(|number| source(&format!("f{number}"), format!("w{} end\n", number % 7))).collect();
    for order in [Order::of("index"), Order::of("index").by_reference()] {
        let order = Order { chunk_bytes: 1024, ..order };
        let report = cluster.run(&order, &sources).await;
        assert_eq!(report.end.outcome, Outcome::Done);
        assert!((2..20).contains(&report.chunks), "{} chunks", report.chunks);
        agree(&order, &sources, &report);
    }
    cluster.finish().await;
}

/// A program in Rust, of which three records of 20 KB cannot be mapped and two keys not reduced.
async fn of_a_hundred_records_of_which_three_panic_and_two_keys_fail_ninety_five_are_left(home: Home) {
    let cluster = Cluster::builder().workers(2).start(home).await;
    let record = |number: usize| {
        let value = match number {
            13 | 99 => "panic",
            50 => "refuse",
            _ => "good",
        };
        let key = match number {
            7 => "fail",
            42 => "die",
            _ => "key",
        };
        format!("{key}{number:03}\t{value} {}\n", "x".repeat(20 << 10))
    };
    let text: String = (0..100).map(record).collect();
    let order = Order { chunk_bytes: 100 << 10, ..Order::of("fragile") };
    let report = cluster.run(&order, &[source("in", text)]).await;
    let good = (0..100).filter(|number| ![7, 13, 42, 50, 99].contains(number));
    let expected: Vec<String> = good.map(|number| format!("key{number:03}\t1\n")).collect();
    assert_eq!(expected.len(), 95);
    assert_eq!(String::from_utf8(report.tsv).unwrap(), expected.concat());
    let losses = &report.end.losses;
    let reasons: Vec<&str> = losses.records.iter().map(|lost| lost.reason.as_str()).collect();
    let panicked = "mapping panicked: this line panics";
    assert_eq!((losses.count, reasons), (5, vec![panicked, "this line is refused", panicked]));
    let mut keys: Vec<&[u8]> = losses.keys.iter().map(|lost| lost.key.0.as_slice()).collect();
    keys.sort_unstable();
    assert_eq!(keys, [b"die042", b"fail007".as_slice()]);
    let counters = ["records", "program.lines", "keys", "program.keys"].map(|name| report.end.counters[name]);
    // A reduce is made anew without the keys that fail.
    assert_eq!(counters, [100, 97, 95, 95]);
    cluster.finish().await;
    seen::fault("a program in Rust panics on some records and keys", "they are left out, all others count once");
}
