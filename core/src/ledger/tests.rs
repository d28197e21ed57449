//! What a ledger and a delta accept and refuse, entry by entry.

use super::append::{Append, Event, Record, Step};
use super::delta::{Delta, Fold};
use super::*;
use crate::id::{JobId, PartitionNumber, SourceNumber};
use crate::message::Partial;
use crate::skip::Skip;
use bytes::Bytes;

const SIZE: RunSize = RunSize { pairs: 1, bytes: 1 };

fn file(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn chunk(number: u32, digest: u64, units: &[(u32, bool)]) -> CommitChunk {
    let units = units.iter().map(|&(segment, last)| (segment, last, 10)).collect();
    CommitChunk {
        chunk: ChunkNumber(number),
        digest,
        worker: 0,
        units,
        agreed: 0,
        record: None,
        skips: None,
        home: None,
    }
}

fn commit(run: u128, worker: &str, chunks: Vec<CommitChunk>) -> Entry {
    Entry::Commit(Commit { run: file(run), size: SIZE, workers: vec![worker.into()], chunks })
}

fn lose(chunk: u32) -> Entry {
    Entry::Lose { chunk: ChunkNumber(chunk), record: None, reason: "poison".into(), retry: 0 }
}

fn replace(runs: &[u128], run: u128) -> Entry {
    Entry::Replace { runs: runs.iter().copied().map(file).collect(), run: file(run), size: SIZE }
}

fn retire(number: u128) -> Entry {
    Entry::Retire { files: vec![file(number)] }
}

fn finish(part: u128, at: u64) -> Entry {
    Entry::Finish(Finish { part: file(part), size: SIZE, at, keys: Vec::new(), counters: Default::default() })
}

#[test]
fn a_whole_chunk_takes_little_memory() {
    let ledger = ledger(2, &[commit(1, "w", vec![chunk(0, 7, &[(0, false), (1, true)]), chunk(1, 8, &[(0, false)])])]);
    let [whole, open] = [0, 1].map(|number| &ledger.chunks[&ChunkNumber(number)]);
    assert!(whole.whole && whole.rest.is_none() && size_of::<ChunkState>() <= 32);
    assert!(!open.whole && open.rest().segments.contains(&0));
}

/// The ledger after these entries, each of them valid for a job of `chunks` chunks.
fn ledger(chunks: u32, entries: &[Entry]) -> Ledger {
    let mut ledger = Ledger::default();
    for entry in entries {
        assert_eq!(ledger.judge(entry, Some(chunks)), Ok(()), "{entry:?}");
        ledger.apply(entry);
    }
    ledger
}

fn partial(chunk: u32, segment: u32, last: bool, digest: u64, worker: &str) -> Partial {
    Partial {
        job: JobId(Uuid::nil()),
        chunk: ChunkNumber(chunk),
        record: None,
        attempt: 1,
        partition: PartitionNumber(0),
        partitions: 1,
        segment,
        last,
        store: String::new(),
        digest,
        worker: worker.into(),
        pairs: 10,
        strikes: 0,
        agreed: 0,
        skips: None,
        home: None,
    }
}

fn delta(partials: Vec<Partial>) -> Delta<u32> {
    let mut delta = Delta::default();
    for (receipt, partial) in (0..).zip(partials) {
        assert!(matches!(delta.fold(partial, Bytes::from_static(b"pairs"), receipt), Fold::Held));
    }
    delta
}

#[test]
fn a_chunk_is_whole_when_all_its_segments_are_counted_in_any_order() {
    let mut ledger = ledger(1, &[commit(1, "w", vec![chunk(0, 5, &[(2, true)])])]);
    assert!(!ledger.covers_chunk(ChunkNumber(0)) && !ledger.complete(1));
    assert!(ledger.covers(Unit { chunk: ChunkNumber(0), record: None, segment: 2, last: true }));
    ledger.apply(&commit(2, "w", vec![chunk(0, 5, &[(0, false), (1, false)])]));
    assert!(ledger.covers_chunk(ChunkNumber(0)) && ledger.complete(1));
    assert_eq!((ledger.whole(), ledger.chunks().next().unwrap().pairs), (1, 30));
}

#[test]
fn a_unit_is_counted_once() {
    let first = commit(1, "w", vec![chunk(0, 5, &[(0, false)])]);
    let ledger = ledger(1, std::slice::from_ref(&first));
    let again = commit(2, "w", vec![chunk(0, 5, &[(1, true), (0, false)])]);
    let unit = Unit { chunk: ChunkNumber(0), record: None, segment: 0, last: false };
    assert_eq!(ledger.judge(&again, None), Err(Invalid::Covered(unit)));
    let twice = commit(2, "w", vec![chunk(0, 5, &[(1, true), (1, true)])]);
    let unit = Unit { chunk: ChunkNumber(0), record: None, segment: 1, last: true };
    assert_eq!(ledger.judge(&twice, None), Err(Invalid::Covered(unit)), "named twice in one commit");
}

#[test]
fn two_digests_against_a_ledger_name_the_chunk_and_both_workers() {
    let mut ledger = ledger(9, &[commit(1, "ann", vec![chunk(4, 5, &[(0, false)])])]);
    let other = commit(2, "bob", vec![chunk(4, 6, &[(1, true)])]);
    let Err(Invalid::Disagreement(error)) = ledger.judge(&other, None) else { panic!("it agrees") };
    assert_eq!(error.workers, ["ann", "bob"]);
    let said = "workers ann and bob map chunk 4 to different pairs: the program is not deterministic";
    assert_eq!(error.to_string(), said);
    ledger.apply(&commit(2, "ann", vec![chunk(4, 5, &[(1, true)])]));
    assert!(ledger.agrees(ChunkNumber(4).into(), 6, "bob").is_err(), "a whole chunk is compared too");
    assert_eq!(ledger.agrees(ChunkNumber(3).into(), 6, "bob"), Ok(()), "of that chunk nothing is counted");
}

#[test]
fn a_lost_chunk_that_is_counted_later_is_lifted() {
    let mut ledger = ledger(2, &[commit(1, "w", vec![chunk(0, 5, &[(0, false)])]), lose(0), lose(1)]);
    assert_eq!(ledger.judge(&lose(0), None), Err(Invalid::Decided(ChunkNumber(0).into())));
    assert!(ledger.complete(2));
    assert_eq!(ledger.lost().collect::<Vec<_>>(), [(ChunkNumber(0), "poison"), (ChunkNumber(1), "poison")]);
    ledger.apply(&finish(9, ledger.next()));
    assert!(!ledger.unfinished());
    ledger.apply(&commit(2, "w", vec![chunk(0, 5, &[(1, true)])]));
    assert_eq!(ledger.lost().collect::<Vec<_>>(), [(ChunkNumber(1), "poison")]);
    assert!(ledger.unfinished() && ledger.complete(2), "it is to be finished anew");
    assert_eq!(ledger.judge(&lose(0), None), Err(Invalid::Decided(ChunkNumber(0).into())));
}

#[test]
fn a_run_that_was_live_named_or_retired_is_never_made_anew() {
    let units = |number| vec![chunk(number, 5, &[(0, true)])];
    let ledger = ledger(9, &[commit(1, "w", units(0)), retire(2), commit(3, "w", units(1)), replace(&[1, 3], 4)]);
    for run in [1, 2, 3, 4] {
        let again = commit(run, "w", units(7));
        assert_eq!(ledger.judge(&again, None), Err(Invalid::File(file(run))), "run {run}");
        assert_eq!(ledger.judge(&replace(&[4], run), None), Err(Invalid::File(file(run))), "run {run}");
    }
    assert!(ledger.gave_up(file(1)) && ledger.gave_up(file(2)) && !ledger.gave_up(file(4)));
    assert_eq!(ledger.judge(&retire(4), None), Err(Invalid::File(file(4))), "it is live");
    assert_eq!(ledger.runs().keys().copied().collect::<Vec<_>>(), [file(4)]);
}

#[test]
fn a_merge_takes_live_runs_each_once() {
    let ledger = ledger(9, &[commit(1, "w", vec![chunk(0, 5, &[(0, true)])])]);
    assert_eq!(ledger.judge(&replace(&[1, 1], 2), None), Err(Invalid::File(file(1))));
    assert_eq!(ledger.judge(&replace(&[1, 8], 2), None), Err(Invalid::File(file(8))));
    assert_eq!(ledger.judge(&replace(&[], 2), None), Err(Invalid::File(file(2))));
    assert_eq!(ledger.judge(&replace(&[1], 2), None), Ok(()));
}

#[test]
fn a_finish_holds_only_on_the_very_state_that_was_merged() {
    let entries = [commit(1, "w", vec![chunk(0, 5, &[(0, true)])]), lose(1)];
    let mut ledger = ledger(2, &entries);
    assert_eq!(ledger.judge(&finish(9, 1), Some(2)), Err(Invalid::Open), "an entry came after the merge");
    assert_eq!(ledger.judge(&finish(9, 3), Some(2)), Err(Invalid::Open), "nobody saw such a state");
    assert_eq!(ledger.judge(&finish(9, 2), Some(3)), Err(Invalid::Open), "chunk 2 is open");
    assert_eq!(ledger.judge(&finish(9, 2), None), Err(Invalid::Open), "the job is not sealed");
    assert_eq!(ledger.judge(&finish(9, 2), Some(2)), Ok(()));
    ledger.apply(&finish(9, 2));
    assert_eq!(ledger.finished().map(|finish| finish.part), Some(file(9)));
    assert_eq!(ledger.judge(&finish(8, 3), Some(2)), Err(Invalid::Open), "nothing was decided since");
}

#[test]
fn a_live_run_is_a_part_only_where_no_other_run_is() {
    let units = |number| vec![chunk(number, 5, &[(0, true)])];
    let one = ledger(1, &[commit(1, "w", units(0))]);
    assert_eq!(one.judge(&finish(1, 1), Some(1)), Ok(()));
    let two = ledger(2, &[commit(1, "w", units(0)), commit(2, "w", units(1))]);
    assert_eq!(two.judge(&finish(1, 2), Some(2)), Err(Invalid::File(file(1))));
}

#[test]
fn a_part_is_kept_for_readers_until_the_second_finish_after_it() {
    let units = |number| vec![chunk(number, 5, &[(0, true)])];
    let mut ledger = ledger(3, &[lose(0), lose(1), lose(2), finish(11, 3), commit(1, "w", units(0)), finish(12, 5)]);
    assert!(ledger.names(file(11)) && !ledger.gave_up(file(11)));
    ledger.apply(&commit(2, "w", units(1)));
    ledger.apply(&finish(13, ledger.next()));
    assert!(!ledger.names(file(11)) && ledger.gave_up(file(11)));
    assert!(ledger.names(file(12)) && ledger.names(file(13)));
    let again = commit(11, "w", units(2));
    assert_eq!(ledger.judge(&again, None), Err(Invalid::File(file(11))));
}

#[test]
fn two_digests_in_a_delta_name_the_chunk_and_both_workers() {
    let mut delta = delta(vec![partial(4, 0, false, 5, "ann")]);
    let other = delta.fold(partial(4, 1, true, 6, "bob"), Bytes::new(), 7);
    let Fold::Disagreement(7, error) = other else { panic!("{other:?}") };
    assert_eq!(error, Disagreement { origin: ChunkNumber(4).into(), workers: ["ann".into(), "bob".into()] });
    assert_eq!((delta.len(), delta.bytes()), (1, 5));
    let held = ledger(9, &[commit(1, "eve", vec![chunk(4, 6, &[(1, true)])])]);
    let error = delta.drop_covered(&held).unwrap_err();
    assert_eq!(error.workers, ["eve", "ann"]);
}

#[test]
fn a_second_copy_is_a_duplicate_while_the_first_is_held() {
    let mut delta = delta(vec![partial(0, 0, true, 5, "w")]);
    assert!(matches!(delta.fold(partial(0, 0, true, 5, "v"), Bytes::new(), 8), Fold::Duplicate(8)));
    let out = delta.take_out(|held| held.receipt == 0);
    assert_eq!((out.len(), delta.bytes(), delta.is_empty()), (1, 0, true));
    assert!(matches!(delta.fold(partial(0, 0, true, 5, "v"), Bytes::new(), 9), Fold::Held));
}

#[test]
fn what_is_covered_leaves_a_delta_before_its_commit() {
    let mut delta = delta(vec![partial(0, 0, false, 5, "w"), partial(0, 1, true, 5, "w"), partial(1, 0, true, 6, "w")]);
    let ledger = ledger(2, &[commit(1, "w", vec![chunk(0, 5, &[(0, false)])])]);
    assert!(delta.completes(&ledger, 2) && !delta.completes(&ledger, 3));
    let out = delta.drop_covered(&ledger).unwrap();
    assert_eq!(out.iter().map(|held| held.receipt).collect::<Vec<_>>(), [0]);
    assert!(delta.completes(&ledger, 2), "what is covered and what is held make the chunk whole together");
    assert_eq!(ledger.judge(&Entry::Commit(delta.commit(file(2), SIZE)), None), Ok(()));
    assert_eq!(delta.receipts().copied().collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_commit_names_units_workers_skips_and_home_by_chunk() {
    let skips = SkipList { listed: vec![Skip::new(SourceNumber(0), 3, "no number".into())], more: 0 };
    let home = Home { pairs: 20, ..Home::default() };
    let first = Partial { skips: Some(skips.clone()), home: Some(home.clone()), ..partial(0, 0, false, 5, "ann") };
    let none = Partial { skips: Some(SkipList::default()), ..partial(1, 0, true, 6, "bob") };
    let commit = delta(vec![none, partial(0, 1, true, 5, "eve"), first]).commit(file(2), SIZE);
    assert_eq!(commit.workers, ["ann", "bob"]);
    let expected = [
        CommitChunk { skips: Some(skips), home: Some(home), ..chunk(0, 5, &[(0, false), (1, true)]) },
        CommitChunk { worker: 1, ..chunk(1, 6, &[(0, true)]) },
    ];
    assert_eq!(commit.chunks, expected);
    let ledger = ledger(2, &[Entry::Commit(commit)]);
    assert_eq!(ledger.chunks().map(|chunk| chunk.worker).collect::<Vec<_>>(), ["ann", "bob"]);
    assert_eq!(ledger.chunks().filter_map(|chunk| chunk.skips).map(SkipList::count).sum::<u64>(), 1);
}

fn append(nonce: u128, entry: Entry) -> Append {
    Append::new(Record { nonce: file(nonce), writer: "a".into(), entry }, Some(1))
}

#[test]
fn a_put_of_unknown_outcome_is_recognised_by_its_nonce() {
    let (append, mut ledger) = (append(7, lose(0)), Ledger::default());
    assert_eq!(append.next(&mut ledger, Event::Begin), Step::Put(0));
    assert_eq!(append.next(&mut ledger, Event::Unknown), Step::Read(0));
    assert_eq!(append.next(&mut ledger, Event::Read(None)), Step::Put(0), "it did not arrive");
    assert_eq!(append.next(&mut ledger, Event::Unknown), Step::Read(0));
    let found = Box::new(append.record().clone());
    assert_eq!(append.next(&mut ledger, Event::Read(Some(found))), Step::Appended);
    assert_eq!((ledger.next(), ledger.lost().count()), (1, 1));
}

#[test]
fn who_loses_the_race_is_judged_again_against_what_won() {
    let other = |entry| Box::new(Record { nonce: file(8), writer: "b".into(), entry });
    let (first, mut ledger) = (append(7, lose(0)), Ledger::default());
    assert_eq!(first.next(&mut ledger, Event::Begin), Step::Put(0));
    assert_eq!(first.next(&mut ledger, Event::Exists), Step::Read(0));
    assert_eq!(first.next(&mut ledger, Event::Read(Some(other(retire(1))))), Step::Put(1), "still valid");
    assert_eq!(first.next(&mut ledger, Event::Exists), Step::Read(1));
    let decided = Step::GaveUp(Invalid::Decided(ChunkNumber(0).into()));
    assert_eq!(first.next(&mut ledger, Event::Read(Some(other(lose(0))))), decided);
    assert_eq!(ledger.next(), 2);
}

fn lose_again(chunk: u32, retry: u32) -> Entry {
    Entry::Lose { chunk: ChunkNumber(chunk), record: None, reason: "poison".into(), retry }
}

fn retry(chunk: u32, retry: u32) -> Entry {
    Entry::Retry { chunk: ChunkNumber(chunk), retry }
}

#[test]
fn only_a_loss_is_sent_again_and_each_retry_happens_once() {
    let decided = Err(Invalid::Decided(ChunkNumber(0).into()));
    assert_eq!(Ledger::default().judge(&retry(0, 1), Some(1)), decided, "nothing is lost");
    let lost = ledger(1, &[lose(0)]);
    assert_eq!(lost.judge(&retry(0, 0), Some(1)), decided);
    let open = ledger(1, &[lose(0), retry(0, 1)]);
    assert_eq!(open.judge(&retry(0, 1), Some(1)), decided);
    assert_eq!(open.judge(&retry(0, 2), Some(1)), decided, "one at a time");
    let counted = ledger(1, &[lose(0), retry(0, 1), commit(1, "w", vec![chunk(0, 7, &[(0, true)])])]);
    assert_eq!(counted.judge(&retry(0, 2), Some(1)), decided);
}

#[test]
fn a_chunk_that_is_sent_again_keeps_its_partition_open_until_it_is_decided() {
    let before = [lose(0), finish(1, 1)];
    assert!(ledger(1, &before).finished().is_some());
    let open = ledger(1, &[&before[..], &[retry(0, 1)]].concat());
    assert_eq!((open.finished(), open.complete(1), open.lost().count()), (None, false, 0));
    assert_eq!(open.retrying().collect::<Vec<_>>(), [ChunkNumber(0)]);
    assert_eq!(open.judge(&finish(2, 3), Some(1)), Err(Invalid::Open));
    let counted = ledger(1, &[&before[..], &[retry(0, 1), commit(3, "w", vec![chunk(0, 7, &[(0, true)])])]].concat());
    assert_eq!((counted.complete(1), counted.retrying().count()), (true, 0));
    let lost = ledger(1, &[&before[..], &[retry(0, 1), lose_again(0, 1)]].concat());
    assert_eq!((lost.complete(1), lost.lost().count(), lost.retries(ChunkNumber(0))), (true, 1, 1));
    assert_eq!(lost.judge(&retry(0, 2), Some(1)), Ok(()));
}

#[test]
fn the_failure_of_an_earlier_sending_says_nothing_of_a_later_one() {
    let open = ledger(1, &[lose(0), retry(0, 1)]);
    assert_eq!(open.judge(&lose(0), Some(1)), Err(Invalid::Decided(ChunkNumber(0).into())));
    // A partition that never heard of the first loss, nor of the retry, hears of the second.
    let fresh = ledger(1, &[lose_again(0, 1)]);
    assert_eq!((fresh.retries(ChunkNumber(0)), fresh.lost().count()), (1, 1));
    // One that heard of the first only, too.
    let lost = ledger(1, &[lose(0)]);
    assert_eq!(lost.judge(&lose_again(0, 1), Some(1)), Ok(()));
}

fn skip(chunk: u32, offset: u64) -> Entry {
    Entry::Skip { chunk: ChunkNumber(chunk), skip: Skip::new(SourceNumber(0), offset, "it kills".into()) }
}

fn without(agreed: u32, run: u128, of: CommitChunk) -> Entry {
    commit(run, "w", vec![CommitChunk { agreed, ..of }])
}

#[test]
fn a_record_is_agreed_to_be_left_out_once_and_only_while_nothing_of_its_chunk_is_decided() {
    let decided = Err(Invalid::Decided(ChunkNumber(0).into()));
    let agreed = ledger(1, &[skip(0, 5)]);
    assert_eq!((agreed.judge(&skip(0, 5), Some(1)), agreed.judge(&skip(0, 6), Some(1))), (decided.clone(), Ok(())));
    let touched = ledger(1, &[commit(1, "w", vec![chunk(0, 7, &[(1, true)])])]);
    assert_eq!(touched.judge(&skip(0, 5), Some(1)), decided);
    assert_eq!(ledger(1, &[lose(0)]).judge(&skip(0, 5), Some(1)), decided);
    let many: Vec<Entry> = (0..AGREED_SKIPS as u64).map(|offset| skip(0, offset)).collect();
    assert_eq!(ledger(1, &many).judge(&skip(0, 99), Some(1)), decided);
    assert!(!agreed.complete(1), "the chunk is still open");
}

#[test]
fn only_attempts_that_leave_out_what_was_agreed_are_counted() {
    let stale = Err(Invalid::Stale(ChunkNumber(0).into()));
    let agreed = ledger(1, &[skip(0, 5)]);
    assert_eq!(agreed.judge(&without(0, 1, chunk(0, 7, &[(0, true)])), Some(1)), stale);
    assert_eq!(agreed.judge(&without(2, 1, chunk(0, 7, &[(0, true)])), Some(1)), stale);
    assert!(ledger(1, &[skip(0, 5), without(1, 1, chunk(0, 7, &[(0, true)]))]).complete(1));
    assert_eq!(Ledger::default().judge(&without(1, 1, chunk(0, 7, &[(0, true)])), Some(1)), stale);
}

#[test]
fn a_delta_prefers_attempts_that_leave_out_more_and_drops_what_the_ledger_refuses() {
    let with = |agreed, segment, digest| Partial { agreed, ..partial(0, segment, true, digest, "w") };
    let mut delta = Delta::default();
    assert!(matches!(delta.fold(with(0, 0, 7), Bytes::from_static(b"old"), 1), Fold::Held));
    let Fold::Supersedes(old) = delta.fold(with(1, 0, 8), Bytes::from_static(b"newer"), 2) else {
        panic!("it is newer")
    };
    assert_eq!((old, delta.len(), delta.bytes()), (vec![1], 1, 5));
    assert!(matches!(delta.fold(with(0, 1, 7), Bytes::new(), 3), Fold::Duplicate(3)));
    let dropped = delta.drop_covered(&Ledger::default()).unwrap();
    assert_eq!((dropped.len(), dropped[0].receipt, delta.len()), (1, 2, 0), "nothing was agreed in this ledger");
    let agreed = ledger(1, &[skip(0, 5)]);
    assert!(matches!(delta.fold(with(1, 0, 8), Bytes::new(), 4), Fold::Held));
    assert!(delta.drop_covered(&agreed).unwrap().is_empty());
    assert_eq!(delta.commit(file(1), SIZE).chunks[0].agreed, 1);
}

#[test]
fn what_stands_beyond_the_jobs_chunks_stands_for_none_of_them() {
    let mut ledger = Ledger::default();
    for entry in [lose(1_000), commit(1, "w", vec![chunk(2_000, 7, &[(0, true)]), chunk(0, 7, &[(0, true)])])] {
        ledger.apply(&entry);
    }
    assert!(ledger.complete(1), "chunk 0 is counted");
    for chunks in 2..5 {
        assert!(!ledger.complete(chunks), "of {chunks} chunks all but the first are missing");
    }
    let beyond = [Unit { chunk: ChunkNumber(3_000), record: None, segment: 0, last: true }];
    assert!(!ledger.complete_with(beyond.into_iter(), 2));
    assert!(
        ledger.complete_with([Unit { chunk: ChunkNumber(1), record: None, segment: 0, last: true }].into_iter(), 2)
    );
}

const PLACE: Place = Place { source: SourceNumber(0), offset: 5 };

/// A chunk that is whole, and left out the record at byte 5.
fn without_a_record() -> Ledger {
    let mut skips = SkipList::default();
    skips.push(Skip::new(PLACE.source, PLACE.offset, "no number".into()));
    ledger(1, &[commit(1, "w", vec![CommitChunk { skips: Some(skips), ..chunk(0, 7, &[(0, true)]) }])])
}

fn retry_record(offset: u64, retry: u32) -> Entry {
    Entry::RetryRecord { chunk: ChunkNumber(0), record: Place { offset, ..PLACE }, retry }
}

fn lose_record(retry: u32) -> Entry {
    Entry::Lose { chunk: ChunkNumber(0), record: Some(PLACE), reason: "again".into(), retry }
}

fn commit_record(run: u128, digest: u64, units: &[(u32, bool)]) -> Entry {
    let home = Home { pairs: 10, counters: BTreeMap::from([("bytes".into(), 3)]), release: None };
    commit(run, "w", vec![CommitChunk { record: Some(PLACE), home: Some(home), ..chunk(0, digest, units) }])
}

fn applied(mut ledger: Ledger, entries: &[Entry]) -> Ledger {
    for entry in entries {
        assert_eq!(ledger.judge(entry, Some(1)), Ok(()), "{entry:?}");
        ledger.apply(entry);
    }
    ledger
}

#[test]
fn a_record_is_sent_again_only_if_its_chunk_is_counted_without_it() {
    let decided = |offset| Err(Invalid::Decided((ChunkNumber(0), Place { offset, ..PLACE }).into()));
    let whole = without_a_record();
    assert_eq!(whole.judge(&retry_record(6, 1), None), decided(6), "it was counted");
    assert_eq!(whole.judge(&retry_record(5, 0), None), decided(5), "retries count from 1");
    assert_eq!(whole.judge(&lose_record(1), None), decided(5), "its chunk says that it is lost");
    let stale = Err(Invalid::Stale((ChunkNumber(0), PLACE).into()));
    assert_eq!(whole.judge(&commit_record(2, 9, &[(0, true)]), None), stale, "nobody asked for it");
    assert_eq!(Ledger::default().judge(&retry_record(5, 1), None), decided(5), "its chunk is not counted");
    let open = applied(whole, &[retry_record(5, 1)]);
    assert_eq!(open.judge(&retry_record(5, 2), None), decided(5), "it is under way");
    // What was agreed to be left out is as good as what the program refused.
    let agreed = ledger(1, &[skip(0, 5), commit(1, "w", vec![CommitChunk { agreed: 1, ..chunk(0, 7, &[(0, true)]) }])]);
    assert_eq!(agreed.judge(&retry_record(5, 1), None), Ok(()));
}

#[test]
fn a_record_that_is_sent_again_keeps_its_partition_open_and_is_counted_once() {
    let finished = applied(without_a_record(), &[finish(1, 1)]);
    assert_eq!(finished.skipped(), 1);
    let open = applied(finished, &[retry_record(5, 1)]);
    assert!(!open.complete(1) && open.unfinished() && open.is_retrying_record(ChunkNumber(0), PLACE));
    assert_eq!(open.judge(&finish(9, open.next()), Some(1)), Err(Invalid::Open));
    let half = applied(open, &[commit_record(2, 9, &[(0, false)])]);
    let unit = |segment, last| Unit { chunk: ChunkNumber(0), record: Some(PLACE), segment, last };
    assert!(!half.complete(1) && half.complete_with([unit(1, true)].into_iter(), 1));
    let other = half.judge(&commit_record(3, 8, &[(1, true)]), None);
    assert!(matches!(other, Err(Invalid::Disagreement(_))), "{other:?}");
    let whole = applied(half, &[commit_record(3, 9, &[(1, true)])]);
    assert!(whole.complete(1) && whole.covers_record(ChunkNumber(0), PLACE));
    assert_eq!((whole.skipped(), whole.whole(), whole.home_bytes()), (0, 1, 0), "its bytes are its chunk's");
    assert_eq!(whole.judge(&commit_record(4, 9, &[(0, false)]), None), Err(Invalid::Covered(unit(0, false))));
    assert!(whole.judge(&lose_record(1), None).is_err() && whole.judge(&retry_record(5, 2), None).is_err());
    assert_eq!(whole.records().map(|record| (record.pairs, record.whole)).collect::<Vec<_>>(), [(20, true)]);
}

#[test]
fn a_record_that_fails_again_is_lost_for_the_new_reason_until_a_late_attempt_counts_it() {
    let lost = applied(without_a_record(), &[retry_record(5, 1), lose_record(1)]);
    assert!(lost.complete(1) && lost.unfinished());
    assert_eq!((lost.skipped(), lost.lost_again(ChunkNumber(0), PLACE)), (1, Some("again")));
    assert!(lost.judge(&lose_record(1), None).is_err());
    let again = applied(lost.clone(), &[retry_record(5, 2)]);
    assert!(
        again.judge(&lose_record(1), None).is_err(),
        "the outcome of an earlier sending says nothing of a later one"
    );
    assert_eq!(again.lost_again(ChunkNumber(0), PLACE), None);
    let late = applied(lost, &[commit_record(2, 9, &[(0, true)])]);
    assert_eq!((late.skipped(), late.lost_again(ChunkNumber(0), PLACE)), (0, None));
}

#[test]
fn a_delta_tells_a_record_from_its_chunk() {
    let record = |segment, last, digest| Partial { record: Some(PLACE), ..partial(0, segment, last, digest, "w") };
    let mut delta = delta(vec![partial(0, 0, true, 7, "w"), record(0, true, 9)]);
    assert_eq!(delta.len(), 2, "they are not compared");
    assert!(matches!(delta.fold(record(0, true, 9), Bytes::new(), 5), Fold::Duplicate(5)));
    let Entry::Commit(commit) = Entry::Commit(delta.commit(file(2), SIZE)) else { unreachable!() };
    assert_eq!(commit.chunks.iter().map(|part| part.record).collect::<Vec<_>>(), [None, Some(PLACE)]);
    let open = applied(without_a_record(), &[retry_record(5, 1)]);
    assert!(delta.completes(&open, 1));
    let dropped = delta.drop_covered(&open).unwrap();
    assert_eq!((dropped.len(), delta.len()), (1, 1), "the chunk is covered, the record is not");
    assert_eq!(delta.drop_covered(&without_a_record()).unwrap().len(), 1, "nobody asked for it there");
}

#[test]
fn keys_that_a_finish_left_out_are_reduced_again_once() {
    let without_keys = |keys: Vec<LostKey>, part, at| {
        Entry::Finish(Finish { part: file(part), size: SIZE, at, keys, counters: Default::default() })
    };
    let key = || LostKey::new(b"k", b"k".to_vec(), "no".to_owned());
    let whole = ledger(1, &[commit(1, "w", vec![chunk(0, 7, &[(0, true)])])]);
    let again = |at| Entry::Rereduce { at };
    assert_eq!(whole.judge(&again(1), Some(1)), Err(Invalid::Reduced), "it is not finished");
    let finished = applied(whole.clone(), &[without_keys(Vec::new(), 2, 1)]);
    assert_eq!(finished.judge(&again(1), Some(1)), Err(Invalid::Reduced), "it lacks no key");
    let lacking = applied(whole, &[without_keys(vec![key()], 2, 1)]);
    assert_eq!(lacking.judge(&again(2), Some(1)), Err(Invalid::Reduced), "that is another finish");
    let open = applied(lacking, &[again(1)]);
    assert!(open.unfinished() && open.finished().is_none());
    assert_eq!(open.judge(&again(1), Some(1)), Err(Invalid::Reduced), "it is under way");
    let twice = applied(open, &[without_keys(vec![key()], 3, 3)]);
    assert_eq!(twice.judge(&again(1), Some(1)), Err(Invalid::Reduced), "who comes late asks about what is no more");
    let done = applied(twice, &[again(3), without_keys(Vec::new(), 4, 5)]);
    assert_eq!(done.finished().map(|finish| finish.keys.len()), Some(0));
}
