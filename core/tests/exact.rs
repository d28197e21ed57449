//! The promise of exactness, for every built-in job: whatever the chunks, partitions, segments, memory, order and duplicates, the
//! answer is that of a plain run over the same sources, byte for byte, less the same records.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::cluster::{self, Shape};
use common::{cases, job, jobs, sources};
use proptest::prelude::*;
use rabbit_reduce_core::jobs::{Job, with_program};
use rabbit_reduce_core::local::{self, LocalSource};
use rabbit_reduce_core::rows::format::Format;
use rabbit_reduce_core::spec::SEGMENT_BYTES;
use rabbit_reduce_core::split::MAX_RECORD_BYTES;
use std::collections::BTreeSet;
use std::sync::LazyLock;

static JOBS: LazyLock<Vec<Job>> = LazyLock::new(jobs);

/// Small limits, so that small sources meet all of them.
fn tiny_shape() -> impl Strategy<Value = Shape> {
    let budget = || prop_oneof![2 => 1_usize..300, 1 => Just(1 << 20)];
    let limits = (1_u64..80).prop_flat_map(|record| (1..=3 * record, Just(record)));
    let segment = prop_oneof![2 => 1_usize..100, 1 => 256_usize..1024];
    (limits, 1_u32..9, segment, [budget(), budget()], any::<bool>(), any::<u64>()).prop_map(
        |((chunk_bytes, record_bytes), partitions, segment_bytes, budgets, sizes_known, seed)| Shape {
            chunk_bytes,
            record_bytes,
            partitions,
            segment_bytes,
            budgets,
            sizes_known,
            seed,
        },
    )
}

fn check(job: &Job, sources: &[LocalSource], shape: &Shape) {
    let expected = with_program!(job, program => local::run_program(program, sources, shape.record_bytes));
    let answer = with_program!(job, program => cluster::run(program, sources, shape));
    let printed = |format| local::print(job, sources, &expected, format).unwrap();
    let shown = |bytes: &[u8]| bytes.escape_ascii().to_string();
    assert_eq!(shown(&answer.tsv), shown(&printed(Format::Tsv)), "{job:?}");
    assert_eq!(shown(&answer.json), shown(&printed(Format::Json)), "{job:?}");
    assert_eq!(answer.pairs, expected.pairs, "{job:?}");
    let skips: BTreeSet<_> = expected.skips.iter().cloned().collect();
    assert_eq!(answer.skips.len() as u64 + answer.more_skips, skips.len() as u64, "{job:?}");
    assert!(answer.skips.is_subset(&skips), "{job:?}: {:?} of {skips:?}", answer.skips);
}

fn local_sources(sources: Vec<common::Source>) -> Vec<LocalSource> {
    sources.into_iter().map(|(name, bytes)| LocalSource { name, bytes }).collect()
}

proptest! {
    #![proptest_config(cases(12_000))]

    #[test]
    fn every_job_is_exact_within_small_limits(
        job in 0..JOBS.len(), sources in sources(), shape in tiny_shape(),
    ) {
        check(&JOBS[job], &local_sources(sources), &shape);
    }
}

proptest! {
    #![proptest_config(cases(40))]

    #[test]
    fn every_job_is_exact_within_the_real_limits(
        sources in sources(), repeats in 1_usize..300, chunk_bytes in 64_u64..16384, partitions in 1_u32..9, seed: u64,
    ) {
        let sources: Vec<_> = local_sources(sources).into_iter()
            .map(|source| LocalSource { bytes: source.bytes.repeat(repeats), ..source }).collect();
        let shape = Shape {
            chunk_bytes, partitions, seed,
            record_bytes: MAX_RECORD_BYTES,
            segment_bytes: SEGMENT_BYTES,
            budgets: [16 << 10, 1 << 20],
            sizes_known: true,
        };
        check(&JOBS[seed as usize % JOBS.len()], &sources, &shape);
    }
}

#[test]
fn records_about_the_greatest_length_are_kept_or_lost_alike() {
    let longest = usize::try_from(MAX_RECORD_BYTES).unwrap();
    let line = |length: usize| [vec![b'x'; length - 1], b"\n".to_vec()].concat();
    let bytes = [line(3), line(longest), line(2), line(longest + 1), line(5)].concat();
    let sources = [LocalSource { name: b"a".to_vec(), bytes }];
    for (name, options) in [("grep", r#"{"pattern":"x"}"#), ("word-count", "{}"), ("count", "{}")] {
        for chunk_bytes in [1 << 20, MAX_RECORD_BYTES, 3 * MAX_RECORD_BYTES] {
            let shape = Shape {
                chunk_bytes,
                record_bytes: MAX_RECORD_BYTES,
                partitions: 3,
                segment_bytes: SEGMENT_BYTES,
                budgets: [1 << 20, 64 << 20],
                sizes_known: true,
                seed: 7,
            };
            check(&job(name, options), &sources, &shape);
        }
    }
}
