//! What tending does where the store is not as the ledger says.

use super::*;
use crate::folding::tests::{JOB, job_file, partial};
use bytes::Bytes;
use rabbit_reduce_core::id::ChunkNumber;
use rabbit_reduce_core::ledger::{Commit, CommitChunk};

/// A sealed partition whose ledger names two runs that have no files.
fn without_files(archive: &Archive) -> Tend<()> {
    let mut ledger = Ledger::default();
    for number in 0..2 {
        let (chunk, units) = (ChunkNumber(number), vec![(0, true, 1)]);
        let chunks =
            vec![CommitChunk { chunk, digest: 7, worker: 0, units, agreed: 0, record: None, skips: None, home: None }];
        let (run, size, workers) = (Uuid::new_v4(), RunSize::default(), vec!["w".to_owned()]);
        ledger.apply(&Entry::Commit(Commit { run, size, workers, chunks }));
    }
    let (archive, job, partition) = (archive.clone(), Arc::new(job_file()), PartitionNumber(0));
    Tend { archive, job, partition, chunks: Some(2), ledger, delta: Delta::default(), losses: Vec::new() }
}

#[test]
fn a_run_that_is_missing_is_told_of_rather_than_looked_for_for_ever() {
    let tended = without_files(&Archive::of_tests()).run();
    let Some(Trouble::Archive(error)) = tended.trouble else { panic!("it cannot finish") };
    assert!(error.to_string().contains("a run that the ledger names is missing"), "{error}");
    assert!(!tended.finished);
}

#[test]
fn a_job_that_was_removed_is_left_alone_and_leaves_nothing() {
    let archive = Archive::of_tests();
    archive.remove(JOB).unwrap();
    archive.put_bytes(&Archive::run_path(JOB, PartitionNumber(0), Uuid::new_v4()), b"late").unwrap();
    assert!(matches!(without_files(&archive).run().trouble, Some(Trouble::Removed)));
    assert_eq!(archive.store.list(&format!("jobs/{JOB}")).unwrap(), ["removed"]);
}

/// A partition that holds a partial whose pairs nobody can read.
fn with_spoiled(archive: &Archive) -> Tend<()> {
    let mut delta = Delta::default();
    delta.fold(partial(), Bytes::from_static(b"\xff no pairs"), ());
    Tend { chunks: None, ledger: Ledger::default(), delta, ..without_files(archive) }
}

#[test]
fn partials_that_cannot_be_read_are_dead_letters_as_any_and_a_job_may_have_so_many_of_them() {
    let archive = Archive::of_tests();
    let tended = with_spoiled(&archive).run();
    assert!(tended.trouble.is_none() && tended.done.len() == 1, "it is kept, its loss noted, and acked");
    assert_eq!(archive.letter_count(JOB).unwrap(), 1);
    let letters = Some(0);
    let archive = Archive { limits: crate::limits::Limits { letters, ..Default::default() }, ..Archive::of_tests() };
    let Some(Trouble::Program(failed)) = with_spoiled(&archive).run().trouble else { panic!("it goes on") };
    assert!(failed.keys.is_empty() && failed.reason.contains("--max-job-letters"), "{failed:?}");
    assert_eq!(archive.letter_count(JOB).unwrap(), 0);
}
