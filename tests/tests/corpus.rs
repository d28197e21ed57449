//! What fuzzers have found, once more: every input that was kept goes through its decoder.
//!
//! The functions are those that the fuzzers call. What would surprise: a file that breaks one has its cause in the decoder; it
//! stays in the corpus when it is mended.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use rabbit_reduce_fuzz::TARGETS;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// More than the repository should carry.
const MOST_BYTES: u64 = 1 << 20;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("fuzz/corpus")
}

fn names(folder: &Path) -> BTreeSet<String> {
    folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn every_decoder_takes_every_input_that_was_kept() {
    for target in TARGETS {
        let folder = corpus().join(target.name);
        let names = names(&folder);
        assert!(!names.is_empty(), "nothing was kept for {}", target.name);
        for name in names {
            // A panic says where; this says with what.
            println!("{}/{name}", folder.display());
            (target.run)(&std::fs::read(folder.join(name)).unwrap());
        }
    }
}

#[test]
fn the_corpus_is_small_and_of_decoders_that_there_are() {
    assert_eq!(names(&corpus()), TARGETS.iter().map(|target| target.name.to_owned()).collect());
    let sizes = TARGETS.iter().flat_map(|target| corpus().join(target.name).read_dir().unwrap());
    let bytes: u64 = sizes.map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    assert!(bytes < MOST_BYTES, "{bytes} bytes");
}
