//! How a job ends: the last checks over all of its partitions, and the words for it. Pure.
//!
//! What would surprise: a result that does not add up is no result. The job then fails, loudly, whatever its parts hold.

use crate::archive::Archive;
use rabbit_reduce_core::id::{ChunkNumber, Origin, PartitionNumber};
use rabbit_reduce_core::ledger::{Counted, Disagreement, Ledger};
use rabbit_reduce_core::message::{End, Losses, LostChunk, Outcome, Part};
use rabbit_reduce_core::mistake::{self, Mistake};
use rabbit_reduce_core::skip::{Place, Skip};
use std::collections::{BTreeMap, BTreeSet};

/// Losses that an end or a status lists one by one, chunks and records each.
const LISTED_LOSSES: usize = 1000;
/// What each of the two lists may take in an answer, in bytes, about.
const LISTED_BYTES: usize = 256 << 10;

/// Everything the partitions say, as an end of that version, not yet dated. All ledgers must be finished.
pub(crate) fn judge(ledgers: &[&Ledger], version: u32, max_losses: u64) -> End {
    let losses = losses(ledgers);
    let mut end = End {
        version,
        outcome: if losses.is_empty() { Outcome::Done } else { Outcome::DoneWithLosses },
        parts: parts(ledgers),
        counters: BTreeMap::new(),
        pairs: 0,
        chunks: 0,
        losses,
        time_ms: 0,
    };
    // A result that stands is amended, and never taken away for what a person tried to make better.
    if version == 1 && end.losses.count > max_losses {
        return failed(end, too_many_losses(max_losses));
    }
    match add_up(ledgers) {
        Err(reason) => failed(end, reason),
        Ok(sums) => {
            (end.counters, end.pairs, end.chunks) = (sums.counters, sums.pairs, sums.chunks);
            end
        }
    }
}

fn failed(end: End, reason: String) -> End {
    End { outcome: Outcome::Failed(reason), parts: Vec::new(), ..end }
}

/// The reason for which a job with too many losses fails.
pub(crate) fn too_many_losses(max_losses: u64) -> String {
    format!("more than {max_losses} losses; start it with a larger --max-losses to go on without them")
}

/// An end without a result.
pub(crate) fn without_result(outcome: Outcome, version: u32, losses: Losses, now_ms: u64) -> End {
    let (parts, counters) = (Vec::new(), BTreeMap::new());
    End { version, outcome, parts, losses, counters, pairs: 0, chunks: 0, time_ms: now_ms }
}

pub(crate) fn parts(ledgers: &[&Ledger]) -> Vec<Part> {
    let part = |(number, ledger): (usize, &&Ledger)| {
        let finish = ledger.finished()?;
        let name = Archive::part_name(partition(number), finish.part);
        Some(Part { name, pairs: finish.size.pairs, bytes: finish.size.bytes, at: finish.at })
    };
    ledgers.iter().enumerate().filter_map(part).collect()
}

fn partition(number: usize) -> PartitionNumber {
    PartitionNumber(u32::try_from(number).expect("partitions are numbered in 32 bits"))
}

/// What the partitions lack: lost chunks with the partitions that lack them, and the records that counted chunks left out.
pub(crate) fn losses(ledgers: &[&Ledger]) -> Losses {
    let mut chunks: BTreeMap<ChunkNumber, LostChunk> = BTreeMap::new();
    for (number, ledger) in ledgers.iter().enumerate() {
        for (chunk, reason) in ledger.lost() {
            let lost = LostChunk { chunk, partitions: Vec::new(), reason: reason.to_owned() };
            chunks.entry(chunk).or_insert(lost).partitions.push(partition(number));
        }
    }
    let mut seen = BTreeSet::new();
    let mut losses = Losses { count: chunks.len() as u64, ..Losses::default() };
    for counted in ledgers.iter().flat_map(|ledger| ledger.chunks()) {
        // The list rides in every partition of the chunk, and is the same in each.
        let Some(skips) = counted.skips.filter(|_| seen.insert(counted.chunk)) else { continue };
        losses.count = losses.count.saturating_add(skips.count());
        let left = skips.listed.iter().filter(|skip| !counts_record(ledgers, counted.chunk, skip.place()));
        let again = |skip: &Skip| {
            let reason = ledgers.iter().find_map(|ledger| ledger.lost_again(counted.chunk, skip.place()));
            Skip { reason: reason.unwrap_or(&skip.reason).to_owned(), ..*skip }
        };
        losses.records.extend(left.map(again));
    }
    losses.count = losses.count.saturating_sub(counted_records(ledgers).count() as u64);
    losses.records.sort();
    losses.records = listed(losses.records, |skip| 50 + skip.reason.len());
    let keys = || ledgers.iter().filter_map(|ledger| ledger.finished()).flat_map(|finish| &finish.keys);
    losses.count = losses.count.saturating_add(keys().count() as u64);
    losses.keys = listed(keys().cloned(), |lost| 50 + lost.group.0.len() + lost.key.0.len() + lost.reason.len());
    losses.chunks = listed(chunks.into_values(), |lost| 50 + lost.reason.len() + 6 * lost.partitions.len());
    losses
}

/// Whether a record that its chunk left out is counted after all, in every partition.
pub(crate) fn counts_record(ledgers: &[&Ledger], chunk: ChunkNumber, place: Place) -> bool {
    ledgers.iter().all(|ledger| ledger.covers_record(chunk, place)) && !mistake::makes(Mistake::RecordStaysLost)
}

/// Those that are.
pub(crate) fn counted_records<'l>(ledgers: &'l [&'l Ledger]) -> impl Iterator<Item = (ChunkNumber, Place)> {
    let first = ledgers.first().into_iter().flat_map(|ledger| ledger.records());
    first
        .filter_map(|counted| Some((counted.chunk, counted.record?)))
        .filter(|(chunk, place)| counts_record(ledgers, *chunk, *place))
}

/// What some partitions count, in part at least, and others lack: chunks that were not sent again since they were lost, and
/// records of which all partitions know the same retry, so that none was sent again because of this.
pub(crate) fn mixed(ledgers: &[&Ledger]) -> BTreeSet<Origin> {
    let lost = ledgers.iter().flat_map(|ledger| ledger.lost().map(|(chunk, _)| chunk));
    let counted = |chunk: &ChunkNumber| ledgers.iter().any(|ledger| ledger.touches(*chunk));
    let first = |chunk: &ChunkNumber| ledgers.iter().all(|ledger| ledger.retries(*chunk) == 0);
    let chunks = lost.filter(|chunk| counted(chunk) && first(chunk)).map(Origin::from);
    let records = ledgers.iter().flat_map(|ledger| ledger.records());
    let records = records.filter(|counted| counted.lost).filter_map(|counted| Some((counted.chunk, counted.record?)));
    let counted = |&(chunk, place): &(_, _)| ledgers.iter().any(|ledger| ledger.touches_record(chunk, place));
    let same = |record: &(_, _)| ledgers.windows(2).all(|pair| pair[0].retries(*record) == pair[1].retries(*record));
    chunks.chain(records.filter(|record| counted(record) && same(record)).map(Origin::from)).collect()
}

/// A chunk that is counted although a job of so many chunks has none of that number: it came before anybody knew how many
/// there are. The result holds its pairs, and so is none.
pub(crate) fn counted_beyond(ledgers: &[&Ledger], chunks: u32) -> Option<String> {
    let beyond = |counted: &Counted<'_>| counted.chunk.0 >= chunks && counted.digest.is_some();
    let counted = ledgers.iter().flat_map(|ledger| ledger.chunks_from(ChunkNumber(chunks))).find(beyond)?;
    Some(format!(
        "worker {} sent chunk {}, but the job has {chunks} chunks: its messages are not those of its producer",
        counted.worker, counted.chunk
    ))
}

/// The first of them, as many as an answer can carry.
fn listed<T>(all: impl IntoIterator<Item = T>, bytes: impl Fn(&T) -> usize) -> Vec<T> {
    let mut room = LISTED_BYTES;
    let fits = |one: &T| {
        let size = bytes(one);
        let fits = size <= room;
        room = room.saturating_sub(size);
        fits
    };
    all.into_iter().take(LISTED_LOSSES).take_while(fits).collect()
}

struct Sums {
    counters: BTreeMap<String, u64>,
    pairs: u64,
    chunks: u32,
}

/// The pairs that the counted segments stand for must be what their chunks say they mapped, and every partition must have
/// counted the same attempt. Chunks and records that are lost anywhere are left out.
fn add_up(ledgers: &[&Ledger]) -> Result<Sums, String> {
    let lost: BTreeSet<ChunkNumber> = ledgers.iter().flat_map(|ledger| ledger.lost().map(|(chunk, _)| chunk)).collect();
    let mut sums = Sums { counters: BTreeMap::new(), pairs: 0, chunks: 0 };
    let (mut attempts, mut said) = (BTreeMap::new(), 0);
    for counted in ledgers.iter().flat_map(|ledger| ledger.chunks()).filter(|counted| !lost.contains(&counted.chunk)) {
        same_attempt(&mut attempts, &counted).map_err(|disagreement| disagreement.to_string())?;
        sums.pairs = sums.pairs.saturating_add(counted.pairs);
        if let Some(home) = counted.home {
            said = home.pairs.saturating_add(said);
            sums.chunks += 1;
            for (name, count) in &home.counters {
                let sum = sums.counters.entry(name.clone()).or_default();
                *sum = sum.saturating_add(*count);
            }
        }
    }
    for (name, more) in ledgers.iter().filter_map(|ledger| ledger.finished()).flat_map(|finish| &finish.counters) {
        let sum = sums.counters.entry(name.clone()).or_default();
        *sum = sum.saturating_add(*more);
    }
    // What is counted on the way, such as bytes, was counted with the chunk that left the record out.
    let whole: BTreeSet<_> = counted_records(ledgers).collect();
    let is_whole = |counted: &Counted<'_>| counted.record.is_some_and(|place| whole.contains(&(counted.chunk, place)));
    for counted in ledgers.iter().flat_map(|ledger| ledger.records()).filter(is_whole) {
        same_attempt(&mut attempts, &counted).map_err(|disagreement| disagreement.to_string())?;
        sums.pairs = sums.pairs.saturating_add(counted.pairs);
        said = counted.home.map_or(0, |home| home.pairs).saturating_add(said);
    }
    if sums.pairs != said {
        let counted = sums.pairs;
        return Err(format!("{counted} pairs are counted but {said} were mapped: this is a bug, please report it"));
    }
    Ok(sums)
}

fn same_attempt<'l>(
    attempts: &mut BTreeMap<Origin, (u64, &'l str)>,
    counted: &Counted<'l>,
) -> Result<(), Disagreement> {
    let Some(digest) = counted.digest else { return Ok(()) };
    let origin = Origin { chunk: counted.chunk, record: counted.record };
    let (first, worker) = *attempts.entry(origin).or_insert((digest, counted.worker));
    if first == digest {
        return Ok(());
    }
    Err(Disagreement { origin, workers: [worker.to_owned(), counted.worker.to_owned()] })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rabbit_reduce_core::ledger::{Commit, CommitChunk, Entry, Finish};
    use rabbit_reduce_core::message::Home;
    use rabbit_reduce_core::run::RunSize;
    use uuid::Uuid;

    fn chunk(number: u32, digest: u64, pairs: u64, home: Option<u64>) -> CommitChunk {
        let home =
            home.map(|pairs| Home { pairs, counters: BTreeMap::from([("bytes".to_owned(), 10)]), release: None });
        let (chunk, units) = (ChunkNumber(number), vec![(0, true, pairs)]);
        CommitChunk { chunk, digest, worker: 0, units, agreed: 0, record: None, skips: None, home }
    }

    fn ledger(chunks: Vec<CommitChunk>, lost: &[u32]) -> Ledger {
        let (run, size, workers) = (Uuid::from_u128(1), RunSize::default(), vec!["w".to_owned()]);
        let mut ledger = Ledger::default();
        ledger.apply(&Entry::Commit(Commit { run, size, workers, chunks }));
        for number in lost {
            ledger.apply(&Entry::Lose {
                chunk: ChunkNumber(*number),
                record: None,
                reason: "gone".to_owned(),
                retry: 0,
            });
        }
        let finish = Finish { part: run, size, at: ledger.next(), keys: Vec::new(), counters: Default::default() };
        ledger.apply(&Entry::Finish(finish));
        ledger
    }

    #[test]
    fn a_job_that_adds_up_is_done() {
        let ledgers = [ledger(vec![chunk(0, 7, 3, Some(5))], &[]), ledger(vec![chunk(0, 7, 2, None)], &[])];
        let end = judge(&ledgers.each_ref(), 1, 0);
        assert_eq!(end.outcome, Outcome::Done);
        assert_eq!((end.pairs, end.chunks, end.counters["bytes"], end.parts.len()), (5, 1, 10, 2));
    }

    #[test]
    fn a_job_that_does_not_add_up_fails() {
        let ledgers = [ledger(vec![chunk(0, 7, 3, Some(6))], &[]), ledger(vec![chunk(0, 7, 2, None)], &[])];
        let end = judge(&ledgers.each_ref(), 1, 0);
        assert!(
            matches!(&end.outcome, Outcome::Failed(reason) if reason.contains("5 pairs are counted but 6")),
            "{end:?}"
        );
        assert_eq!(end.parts, []);
    }

    #[test]
    fn partitions_that_count_different_attempts_fail_the_job() {
        let ledgers = [ledger(vec![chunk(0, 7, 3, Some(5))], &[]), ledger(vec![chunk(0, 8, 2, None)], &[])];
        let end = judge(&ledgers.each_ref(), 1, 0);
        assert!(matches!(&end.outcome, Outcome::Failed(reason) if reason.contains("not deterministic")), "{end:?}");
    }

    #[test]
    fn a_chunk_that_is_lost_in_one_partition_is_named_with_it_and_left_out_of_the_sums() {
        let whole = ledger(vec![chunk(0, 7, 3, Some(5)), chunk(1, 9, 4, None)], &[]);
        let lacking = ledger(vec![chunk(0, 7, 2, None)], &[1]);
        let end = judge(&[&whole, &lacking], 1, 1);
        assert_eq!(end.outcome, Outcome::DoneWithLosses);
        assert_eq!((end.pairs, end.chunks), (5, 1));
        let (chunk, partitions) = (ChunkNumber(1), vec![PartitionNumber(1)]);
        assert_eq!(end.losses.chunks, [LostChunk { chunk, partitions, reason: "gone".to_owned() }]);
    }

    #[test]
    fn a_chunk_of_mixed_fates_is_repaired_once() {
        let whole = ledger(vec![chunk(0, 7, 3, Some(5)), chunk(1, 9, 4, None)], &[]);
        let mut lacking = ledger(vec![chunk(0, 7, 2, None)], &[1, 2]);
        let also = ledger(vec![chunk(0, 7, 2, None), chunk(1, 9, 4, None)], &[2]);
        assert_eq!(mixed(&[&whole, &lacking, &also]), BTreeSet::from([ChunkNumber(1).into()]));
        let reason = "gone".to_owned();
        lacking.apply(&Entry::Retry { chunk: ChunkNumber(1), retry: 1 });
        lacking.apply(&Entry::Lose { chunk: ChunkNumber(1), record: None, reason, retry: 1 });
        assert_eq!(mixed(&[&whole, &lacking, &also]), BTreeSet::new());
    }

    #[test]
    fn one_loss_more_than_allowed_fails_the_job() {
        let lacking = ledger(vec![], &[0, 1]);
        assert_eq!(judge(&[&lacking], 1, 2).outcome, Outcome::DoneWithLosses);
        let end = judge(&[&lacking], 1, 1);
        assert!(matches!(&end.outcome, Outcome::Failed(reason) if reason.contains("--max-losses")), "{end:?}");
        assert_eq!(end.losses.count, 2);
    }

    #[test]
    fn a_result_that_stands_is_amended_however_much_is_lost() {
        let lacking = ledger(vec![chunk(0, 7, 3, Some(3))], &[1, 2]);
        let end = judge(&[&lacking], 2, 1);
        assert_eq!((end.version, &end.outcome, end.parts.len()), (2, &Outcome::DoneWithLosses, 1));
    }

    #[test]
    fn a_list_of_losses_fits_an_answer() {
        let long = listed(0..100_000, |_| 1000);
        assert_eq!(long.len(), LISTED_BYTES / 1000);
        assert_eq!(listed(0..100_000, |_| 1).len(), LISTED_LOSSES);
    }
}
