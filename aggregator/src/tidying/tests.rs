//! What goes and what stays of an ended job, and how often anybody looks.

use super::*;
use crate::folding::tests::{JOB, job_file};
use rabbit_reduce_core::id::ChunkNumber;
use rabbit_reduce_core::ledger::{Commit, CommitChunk, Entry, Finish};
use rabbit_reduce_core::message::Outcome;
use rabbit_reduce_core::run::RunSize;
use uuid::Uuid;

const PARTITION: PartitionNumber = PartitionNumber(0);

/// A job of one chunk that is committed and finished with the same run; the run.
fn finished(archive: &Archive) -> (Ledger, Uuid) {
    archive.put_bytes(&Archive::spec_path(JOB), &serde_json::to_vec(&job_file().spec).unwrap()).unwrap();
    let (mut ledger, run) = (Ledger::default(), file(archive));
    commit(archive, &mut ledger, 0, run);
    finish(archive, &mut ledger, 1, run);
    (ledger, run)
}

fn commit(archive: &Archive, ledger: &mut Ledger, number: u32, run: Uuid) {
    let (chunk, units) = (ChunkNumber(number), vec![(0, true, 1)]);
    let chunks =
        vec![CommitChunk { chunk, record: None, digest: 7, worker: 0, units, agreed: 0, skips: None, home: None }];
    let commit = Commit { run, size: RunSize::default(), workers: vec!["w".to_owned()], chunks };
    archive.append(JOB, PARTITION, ledger, Entry::Commit(commit), None).unwrap();
}

fn finish(archive: &Archive, ledger: &mut Ledger, chunks: u32, part: Uuid) {
    let finish =
        Finish { part, size: RunSize::default(), at: ledger.next(), keys: Vec::new(), counters: Default::default() };
    archive.append(JOB, PARTITION, ledger, Entry::Finish(finish), Some(chunks)).unwrap();
}

fn end(archive: &Archive, ledger: &Ledger) {
    let version = archive.end(JOB).unwrap().map_or(1, |end| end.version + 1);
    let end = crate::ending::without_result(Outcome::Done, version, Default::default(), 0);
    let parts = crate::ending::parts(&[ledger]);
    assert!(archive.put_end(JOB, &rabbit_reduce_core::message::End { parts, ..end }).unwrap());
}

fn file(archive: &Archive) -> Uuid {
    let file = Uuid::new_v4();
    archive.put_bytes(&Archive::run_path(JOB, PARTITION, file), b"run").unwrap();
    file
}

fn files(archive: &Archive) -> Vec<Uuid> {
    let names = archive.store.list(&Archive::runs_folder(JOB, PARTITION)).unwrap();
    names.iter().map(|name| name.parse().unwrap()).collect()
}

#[test]
fn a_file_that_no_entry_names_goes_once_the_job_has_ended_and_an_entry_says_so() {
    let (archive, mut tidying) = (Archive::of_tests(), Tidying::default());
    let (mut ledger, run) = finished(&archive);
    let orphan = file(&archive);
    tidying.sweep(&archive);
    assert_eq!(files(&archive).len(), 2, "who finishes it tidies up");
    end(&archive, &ledger);
    tidying.sweep(&archive);
    assert_eq!(files(&archive), [run]);
    archive.refresh(JOB, PARTITION, &mut ledger).unwrap();
    assert!(ledger.gave_up(orphan));
    assert!(!archive.goes_on(JOB).unwrap());
}

#[test]
fn an_ended_job_is_looked_at_ever_more_rarely_until_it_is_amended() {
    let (archive, mut tidying) = (Archive::of_tests(), Tidying::default());
    let (ledger, _) = finished(&archive);
    end(&archive, &ledger);
    let mut looked = |sweep: &u32| {
        file(&archive);
        tidying.sweep(&archive);
        // What the sweeps between have left goes with the next that looks.
        let looked = files(&archive).len() == 1;
        assert!(looked || !sweep.is_power_of_two());
        looked
    };
    assert_eq!((1..=10).filter(&mut looked).collect::<Vec<u32>>(), [1, 2, 4, 8]);
    assert!(!looked(&11));
    end(&archive, &ledger);
    tidying.sweep(&archive);
    assert_eq!(files(&archive).len(), 1);
}

#[test]
fn the_part_that_the_newest_end_tells_of_stays_whatever_was_finished_since() {
    let (archive, mut tidying) = (Archive::of_tests(), Tidying::default());
    let (mut ledger, told) = finished(&archive);
    end(&archive, &ledger);
    for number in 1..3 {
        let (run, part) = (file(&archive), file(&archive));
        commit(&archive, &mut ledger, number, run);
        finish(&archive, &mut ledger, number + 1, part);
    }
    // The first run is also the first part, so a replacement gives it up.
    let (runs, merged) = (ledger.runs().keys().copied().collect(), file(&archive));
    let replace = Entry::Replace { runs, run: merged, size: RunSize::default() };
    archive.append(JOB, PARTITION, &mut ledger, replace, None).unwrap();
    assert!(ledger.gave_up(told));
    tidying.sweep(&archive);
    assert!(files(&archive).contains(&told));
    end(&archive, &ledger);
    tidying.sweep(&archive);
    assert!(!files(&archive).contains(&told));
    assert_eq!(files(&archive).len(), 3, "the run, the part, and the part before");
}
