//! The last look at a job: what its ledgers say, what its parts hold, and whether both are what they must be.
//!
//! It reads the store itself, and trusts nobody who wrote there. What would surprise: every entry is judged again, in its place.

use super::expected::{Expected, Pairs};
use super::plan::JobPlan;
use super::world::{World, locked};
use bytes::Bytes;
use rabbit_reduce_core::id::{ChunkNumber, JobId, Unit};
use rabbit_reduce_core::ledger::append::Record;
use rabbit_reduce_core::ledger::{Entry, Ledger};
use rabbit_reduce_core::message::{self, End, Failure, Outcome};
use rabbit_reduce_core::pairs::Cursor;
use rabbit_reduce_core::run::RunReader;
use rabbit_reduce_runtime::store::Store;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::sync::atomic::Ordering;

/// What a partition counts, by its log.
struct Partition {
    ledger: Ledger,
    units: BTreeSet<Unit>,
    pairs: BTreeMap<ChunkNumber, u64>,
}

/// A job to look at.
pub struct Audit<'a> {
    /// Where.
    pub world: &'a World,
    /// What was asked for.
    pub plan: &'a JobPlan,
    /// The job.
    pub job: JobId,
}

impl Audit<'_> {
    fn file(&self, path: &str) -> Option<Vec<u8>> {
        self.world.store.get(&format!("jobs/{}/{path}", self.job)).expect("memory can be read")
    }

    fn names(&self, folder: &str) -> Vec<String> {
        self.world.store.list(&format!("jobs/{}{folder}", self.job)).expect("memory can be read")
    }

    fn wrong(&self, what: &str) {
        self.world.wrong(format!("job {}: {what}", self.job));
    }

    fn check(&self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.wrong(&what());
        }
    }

    /// Its newest end.
    ///
    /// # Panics
    /// If it cannot be read.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        let newest = self.names("/end").pop()?;
        Some(serde_json::from_slice(&self.file(&format!("end/{newest}"))?).expect("an end can be read"))
    }

    /// Nothing of it is left but the mark that it was.
    pub fn is_removed(&self) {
        let left = self.names("");
        self.check(left == ["removed"], || format!("is removed, but there are {left:?}"));
    }

    /// It ended, as it must.
    pub fn ended(&self) {
        let Some(end) = self.end() else { return self.wrong("has no end") };
        self.world.note(format_args!("{} ended: {:?} {:?}", self.job, end.outcome, end.losses));
        match &end.outcome {
            Outcome::Cancelled => self.check(self.plan.cancelled.is_some(), || "nobody cancelled it".to_owned()),
            Outcome::Failed(reason) => self.check(self.may_fail(reason), || format!("failed: {reason}")),
            Outcome::Done | Outcome::DoneWithLosses => self.counted(&end),
        }
    }

    fn may_fail(&self, reason: &str) -> bool {
        reason.starts_with(&format!("more than {} losses", self.plan.order.max_losses)) && {
            let expected = Expected::of(self.plan, |_| Vec::new());
            let lost = locked(&self.world.verdicts).count(self.job) as u64;
            lost + expected.plain.skips.len() as u64 > self.plan.order.max_losses
        }
    }

    fn counted(&self, end: &End) {
        let chunks = u32::try_from(Expected::of(self.plan, |_| Vec::new()).chunks.len()).expect("there are few");
        let partitions: Vec<Partition> =
            (0..self.plan.order.partitions).map(|number| self.replay(number as usize, chunks)).collect();
        // Partitions may disagree about what to leave out: those that count any of the chunk count the same attempt.
        let agreed = |chunk| {
            let counting = partitions.iter().find(|partition| partition.ledger.touches(chunk));
            counting.or(partitions.first()).map(|partition| partition.ledger.agreed(chunk))
        };
        let expected = Expected::of(self.plan, |chunk| agreed(chunk).map(<[_]>::to_vec).unwrap_or_default());
        let all = (0..chunks).map(ChunkNumber).all(|chunk| agreed(chunk).is_none_or(<[_]>::is_empty));
        let lost: BTreeSet<ChunkNumber> =
            partitions.iter().flat_map(|partition| partition.ledger.lost().map(|(chunk, _)| chunk)).collect();
        self.losses(end, &expected, &partitions, &lost, all);
        self.sums(end, &expected, &partitions, &lost);
        self.check(end.parts.len() == partitions.len(), || format!("has {} parts", end.parts.len()));
        for (number, (partition, part)) in partitions.iter().zip(&end.parts).enumerate() {
            let finish = partition.ledger.finished();
            let named = finish.is_some_and(|finish| part.name == format!("runs/{number:04}/{}", finish.part));
            self.check(named, || format!("the end names part {}, the ledger {finish:?}", part.name));
            let missing: Vec<_> =
                partition.ledger.runs().keys().filter(|run| self.file(&run_name(number, **run)).is_none()).collect();
            self.check(missing.is_empty(), || format!("partition {number} lacks the runs {missing:?}"));
            let counts = expected.part(number, partition.units.iter().copied());
            let found = self.file(&part.name).map(|part| pairs_of(&part));
            let Some(found) = found else { return self.wrong(&format!("part {number} is gone")) };
            self.check(found == counts, || format!("part {number} is {}", difference(&found, &counts)));
            if lost.is_empty() && all {
                let plain = expected.plain_part(number);
                self.check(found == plain, || {
                    format!("part {number}, by a plain run, is {}", difference(&found, &plain))
                });
            }
            self.orphans(number, partition);
        }
    }

    /// Follows a log from its first entry to its last.
    fn replay(&self, number: usize, chunks: u32) -> Partition {
        let mut partition = Partition { ledger: Ledger::default(), units: BTreeSet::new(), pairs: BTreeMap::new() };
        while let Some(bytes) = self.file(&format!("ledger/{number:04}/{:010}", partition.ledger.next())) {
            let Record { entry, writer, .. } = serde_json::from_slice(&bytes).expect("an entry can be read");
            let at = partition.ledger.next();
            if let Err(invalid) = partition.ledger.judge(&entry, Some(chunks)) {
                self.wrong(&format!("entry {at} of partition {number}, by {writer}, is not valid: {invalid}"));
            }
            if let Entry::Commit(commit) = &entry {
                for part in &commit.chunks {
                    for &(segment, last, pairs) in &part.units {
                        let new = partition.units.insert(Unit { chunk: part.chunk, record: None, segment, last });
                        self.check(new, || {
                            format!("chunk {} segment {segment} is counted twice in {number}", part.chunk)
                        });
                        *partition.pairs.entry(part.chunk).or_default() += pairs;
                    }
                }
            }
            partition.ledger.apply(&entry);
        }
        let complete = partition.ledger.complete(chunks);
        self.check(complete, || format!("partition {number} has not decided about every one of {chunks} chunks"));
        partition
    }

    fn losses(
        &self,
        end: &End,
        expected: &Expected,
        partitions: &[Partition],
        lost: &BTreeSet<ChunkNumber>,
        all: bool,
    ) {
        let told: BTreeMap<ChunkNumber, Vec<usize>> = end
            .losses
            .chunks
            .iter()
            .map(|lost| (lost.chunk, lost.partitions.iter().map(|partition| partition.index()).collect()))
            .collect();
        let lacks = |chunk: &ChunkNumber| {
            let lacking = (0..partitions.len()).filter(|number| !partitions[*number].ledger.covers_chunk(*chunk));
            (*chunk, lacking.collect())
        };
        let known: BTreeMap<ChunkNumber, Vec<usize>> = lost.iter().map(lacks).collect();
        self.check(told == known, || format!("tells of lost chunks {told:?}, there are {known:?}"));
        for chunk in lost {
            let counted = partitions.iter().any(|partition| partition.ledger.touches(*chunk));
            let again = partitions.iter().any(|partition| partition.ledger.retries(*chunk) > 0);
            // No attempt can satisfy partitions that disagree about what to leave out.
            let left_out = |pair: &[Partition]| pair[0].ledger.agreed(*chunk) == pair[1].ledger.agreed(*chunk);
            let repairable = counted && partitions.windows(2).all(left_out) && self.keeps_task(*chunk);
            self.check(!repairable || again, || {
                format!("chunk {chunk} is counted here and lost there, and was never sent again")
            });
            let justified = locked(&self.world.verdicts).justify(self.job, *chunk);
            self.check(justified, || format!("chunk {chunk} is lost, and nobody said why"));
        }
        let mut skips = Vec::new();
        for (number, chunk) in (0..).map(ChunkNumber).zip(&expected.chunks) {
            let first =
                |partition: &Partition| partition.units.iter().any(|unit| unit.chunk == number && unit.segment == 0);
            if partitions.iter().any(first) {
                skips.extend(chunk.skips.listed.iter().cloned());
            }
        }
        skips.sort();
        self.check(end.losses.records == skips, || {
            format!("tells of lost records {:?}, not {skips:?}", end.losses.records)
        });
        if lost.is_empty() && all {
            self.check(skips == expected.plain.skips, || format!("a plain run loses {:?}", expected.plain.skips));
        }
        let count = (lost.len() + skips.len()) as u64;
        self.check(end.losses.count == count, || format!("tells of {} losses, not {count}", end.losses.count));
        let outcome = if count == 0 { Outcome::Done } else { Outcome::DoneWithLosses };
        self.check(end.outcome == outcome, || format!("is {:?}, not {outcome:?}", end.outcome));
    }

    /// Whether the task of a chunk that failed is kept.
    fn keeps_task(&self, chunk: ChunkNumber) -> bool {
        let begins = format!("{:010}-", chunk.0);
        let of_chunk = |name: &String| name.starts_with(&begins) && !name.ends_with(".json");
        self.names("/dead").iter().filter(|name| of_chunk(name)).any(|name| {
            let letter = self.file(&format!("dead/{name}")).map(Bytes::from);
            letter.is_some_and(|letter| message::decode::<Failure>(&letter).is_ok())
        })
    }

    /// What was mapped is what is counted.
    fn sums(&self, end: &End, expected: &Expected, partitions: &[Partition], lost: &BTreeSet<ChunkNumber>) {
        let (mut pairs, mut counters) = (0, BTreeMap::<String, u64>::new());
        for (number, chunk) in (0..).map(ChunkNumber).zip(&expected.chunks).filter(|(number, _)| !lost.contains(number))
        {
            pairs += chunk.pairs;
            for (name, count) in &chunk.counters {
                *counters.entry(name.clone()).or_default() += count;
            }
            let counted: u64 = partitions.iter().filter_map(|partition| partition.pairs.get(&number)).sum();
            self.check(counted == chunk.pairs, || {
                format!("of chunk {number} {counted} pairs are counted, not {}", chunk.pairs)
            });
        }
        self.check(end.pairs == pairs, || format!("tells of {} pairs, not {pairs}", end.pairs));
        self.check(end.counters == counters, || format!("tells of {:?}, not {counters:?}", end.counters));
        let chunks = expected.chunks.len() - lost.len();
        self.check(end.chunks as usize == chunks, || format!("tells of {} chunks, not {chunks}", end.chunks));
    }

    /// Files that no entry names: left only by those who died, or whose store failed.
    fn orphans(&self, number: usize, partition: &Partition) {
        let faults = &self.world.plan.faults;
        let excused = self.world.dead_aggregators.load(Ordering::Relaxed) > 0
            || faults.unknown_writes + faults.failed_steps > 0
            || !faults.full.is_empty();
        if excused {
            return;
        }
        let named = |name: &str| name.parse().is_ok_and(|file| partition.ledger.names(file));
        let orphans: Vec<_> =
            self.names(&format!("/runs/{number:04}")).into_iter().filter(|name| !named(name)).collect();
        self.check(orphans.is_empty(), || format!("nobody named the files {orphans:?} of partition {number}"));
    }
}

fn run_name(partition: usize, run: uuid::Uuid) -> String {
    format!("runs/{partition:04}/{run}")
}

/// The pairs of a part.
fn pairs_of(part: &[u8]) -> Pairs {
    let mut reader = RunReader::new(Box::new(std::io::Cursor::new(part.to_vec())) as Box<dyn Read>);
    let mut pairs = Pairs::new();
    while reader.advance().expect("a part can be read") {
        pairs.insert(reader.key().to_vec(), reader.value().to_vec());
    }
    pairs
}

fn difference(found: &Pairs, expected: &Pairs) -> String {
    let shown = |bytes: &[u8]| bytes.escape_ascii().to_string();
    let key = found.keys().chain(expected.keys()).find(|key| found.get(*key) != expected.get(*key));
    let value =
        |pairs: &Pairs, key: &Vec<u8>| pairs.get(key).map_or_else(|| "nothing".to_owned(), |value| shown(value));
    key.map_or_else(String::new, |key| {
        format!("wrong at {:?}: {:?}, not {:?}", shown(key), value(found, key), value(expected, key))
    })
}
