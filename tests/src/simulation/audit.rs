//! The last look at a job: what its ledgers say, what its parts hold, and whether both are what they must be.
//!
//! It reads the store itself, and trusts nobody who wrote there. What would surprise: every entry is judged again, in its place.

mod partition;

use self::partition::Partition;
use super::expected::{Expected, Pairs};
use super::plan::JobPlan;
use super::shown::without_paths;
use super::world::{World, locked};
use bytes::Bytes;
use rabbit_reduce_core::id::{ChunkNumber, JobId, Origin, Unit};
use rabbit_reduce_core::ledger::Ledger;
use rabbit_reduce_core::message::{self, End, Failure, Outcome};
use rabbit_reduce_core::pairs::Cursor;
use rabbit_reduce_core::run::RunReader;
use rabbit_reduce_core::skip::{Place, Skip};
use rabbit_reduce_runtime::store::Store;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::time::Duration;
use uuid::Uuid;

/// What the ledgers say, beside what must be.
struct View<'v> {
    expected: &'v Expected,
    partitions: &'v [Partition],
    /// Chunks that are lost anywhere.
    lost: &'v BTreeSet<ChunkNumber>,
    /// Records that were sent again by themselves, and are counted everywhere.
    counted: &'v BTreeSet<(ChunkNumber, Place)>,
    /// Nothing that was agreed to be left out is still left out.
    all: bool,
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

    /// It is removed.
    #[must_use]
    pub fn is_marked(&self) -> bool {
        self.file("removed").is_some()
    }

    /// Nothing of it is left but the mark that it was.
    pub fn is_removed(&self) {
        let left = self.names("");
        self.check(left == ["removed"], || format!("is removed, but there are {left:?}"));
    }

    /// It ended, as it must.
    pub fn ended(&self) {
        let Some(end) = self.end() else { return self.wrong("has no end") };
        let losses = without_paths(&format!("{:?}", end.losses));
        self.world.note(format_args!("{} ended: {:?} {losses}", self.job, end.outcome));
        self.folders();
        match &end.outcome {
            Outcome::Cancelled => self.check(self.plan.cancelled.is_some(), || "nobody cancelled it".to_owned()),
            Outcome::Failed(reason) => self.check(self.may_fail(&end, reason), || format!("failed: {reason}")),
            Outcome::Done | Outcome::DoneWithLosses => return self.counted(&end),
        }
        self.given_up(&end);
    }

    /// It has no result: what its ledgers say is true all the same, and nothing else is left of it.
    fn given_up(&self, end: &End) {
        self.check(end.parts.is_empty(), || format!("ended without a result, and with {:?}", end.parts));
        let seal = self.file("seal.json").map(|seal| serde_json::from_slice(&seal).expect("a seal can be read"));
        let chunks = seal.and_then(|seal: serde_json::Value| u32::try_from(seal["chunks"].as_u64()?).ok());
        for number in 0..self.plan.order.partitions as usize {
            let partition = self.replay(number, chunks);
            self.files(number, &partition.ledger);
        }
    }

    /// Everything of it has a place, and every log ends where it is read to.
    fn folders(&self) {
        const KNOWN: [&str; 7] = ["dead", "end", "ledger", "runs", "seal.json", "sources", "spec.json"];
        let strange: Vec<String> = self.names("").into_iter().filter(|name| !KNOWN.contains(&name.as_str())).collect();
        self.check(strange.is_empty(), || format!("there are {strange:?}"));
        let ends: Vec<String> = (1..).map(|version| format!("{version:06}")).take(self.names("/end").len()).collect();
        self.check(ends == self.names("/end"), || format!("has the ends {:?}", self.names("/end")));
        for folder in ["ledger", "runs"] {
            let known = |name: &String| name.parse().is_ok_and(|number: u32| number < self.plan.order.partitions);
            let names = self.names(&format!("/{folder}"));
            self.check(names.iter().all(known), || format!("has {folder} of the partitions {names:?}"));
        }
    }

    fn may_fail(&self, end: &End, reason: &str) -> bool {
        self.was_left_unpublished(end, reason) || self.has_too_many_losses(reason)
    }

    /// For longer than jobs are kept, from when it was made.
    fn was_left_unpublished(&self, end: &End, reason: &str) -> bool {
        let made_ms = self.job.0.get_timestamp().map_or(u64::MAX, |time| time.to_unix().0 * 1000);
        let waited = Duration::from_millis(end.time_ms.saturating_sub(made_ms));
        reason.contains("--keep") && self.world.plan.keep.is_some_and(|keep| waited > keep)
    }

    fn has_too_many_losses(&self, reason: &str) -> bool {
        reason.starts_with(&format!("more than {} losses", self.plan.order.max_losses)) && {
            let expected = Expected::of(self.plan, &BTreeMap::new(), &BTreeSet::new());
            let lost = locked(&self.world.verdicts).count(self.job) as u64;
            lost + expected.plain.skips.len() as u64 > self.plan.order.max_losses
        }
    }

    fn counted(&self, end: &End) {
        let plain = Expected::of(self.plan, &BTreeMap::new(), &BTreeSet::new());
        let chunks = u32::try_from(plain.chunks.len()).expect("there are few");
        let partitions: Vec<Partition> =
            (0..self.plan.order.partitions).map(|number| self.replay(number as usize, Some(chunks))).collect();
        self.amended(&partitions);
        // Partitions may disagree about what to leave out: those that count any of the chunk count the same attempt.
        let agreed = |chunk| {
            let counting = partitions.iter().find(|partition| partition.ledger.touches(chunk));
            (
                chunk,
                counting.or(partitions.first()).map_or(&[][..], |partition| partition.ledger.agreed(chunk)).to_vec(),
            )
        };
        let agreed: BTreeMap<ChunkNumber, Vec<Skip>> = (0..chunks).map(ChunkNumber).map(agreed).collect();
        let again = partitions.iter().flat_map(|partition| &partition.units);
        let again = again.filter_map(|unit| Some((unit.chunk, unit.record?))).collect();
        let expected = Expected::of(self.plan, &agreed, &again);
        let counted: BTreeSet<_> =
            again.iter().copied().filter(|record| self.is_counted(*record, &expected, &partitions)).collect();
        let all =
            agreed.iter().all(|(chunk, skips)| skips.iter().all(|skip| counted.contains(&(*chunk, skip.place()))));
        let lost: BTreeSet<ChunkNumber> =
            partitions.iter().flat_map(|partition| partition.ledger.lost().map(|(chunk, _)| chunk)).collect();
        let view = View { expected: &expected, partitions: &partitions, lost: &lost, counted: &counted, all };
        self.losses(end, &view);
        self.records(end, &view);
        self.sums(end, &view);
        self.check(end.parts.len() == partitions.len(), || format!("has {} parts", end.parts.len()));
        for (number, (partition, part)) in partitions.iter().zip(&end.parts).enumerate() {
            let finish = partition.ledger.finished();
            let named = finish.is_some_and(|finish| part.name == format!("runs/{number:04}/{}", finish.part));
            self.check(named, || format!("the end names part {}, the ledger {finish:?}", part.name));
            let complete = partition.ledger.complete(chunks);
            self.check(complete, || format!("partition {number} has not decided about every one of {chunks} chunks"));
            self.files(number, &partition.ledger);
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
        }
    }

    /// Every version of the result says something new, and what was sent again is in exactly one of them.
    fn amended(&self, partitions: &[Partition]) {
        let ends: Vec<End> = self
            .names("/end")
            .iter()
            .filter_map(|name| self.file(&format!("end/{name}")))
            .map(|end| serde_json::from_slice(&end).expect("an end can be read"))
            .collect();
        for (number, end) in (1..).zip(&ends) {
            self.check(end.version == number, || format!("end {number} says that it is {}", end.version));
            for (partition, part) in partitions.iter().zip(&end.parts) {
                let finish = partition.finishes.get(&part.at).map(|part| part.to_string());
                let told = part.name.rsplit('/').next().map(str::to_owned);
                self.check(finish == told, || format!("end {number} tells of part {part:?}, the ledger of {finish:?}"));
            }
        }
        for pair in ends.windows(2) {
            let (before, after): (Vec<u64>, Vec<u64>) = (
                pair[0].parts.iter().map(|part| part.at).collect(),
                pair[1].parts.iter().map(|part| part.at).collect(),
            );
            let on = before.iter().zip(&after).all(|(before, after)| before <= after) && before != after;
            self.check(on, || format!("end {} is of {after:?}, the one before of {before:?}", pair[1].version));
        }
        let agreed: BTreeSet<(Origin, u32)> =
            partitions.iter().flat_map(|partition| partition.agreed.iter().copied()).collect();
        for (origin, retry) in partitions.iter().flat_map(|partition| &partition.lost_again) {
            let known = agreed.contains(&(*origin, *retry));
            self.check(known, || format!("{origin} is lost again, by retry {retry} to which nobody agreed"));
        }
        // The version that is the first to know of an entry.
        let version = |number: usize, entry: u64| {
            ends.iter().find(|end| end.parts.get(number).is_some_and(|part| part.at > entry)).map(|end| end.version)
        };
        let mut amended: BTreeMap<(Origin, u32), BTreeSet<Option<u32>>> = BTreeMap::new();
        for (number, partition) in partitions.iter().enumerate() {
            for (retry, asked, outcome) in &partition.retries {
                amended.entry(*retry).or_default().extend([version(number, *asked), version(number, *outcome)]);
            }
        }
        for ((origin, retry), versions) in amended {
            let once = versions.len() == 1 && versions.iter().all(Option::is_some);
            self.check(once, || format!("retry {retry} of {origin} amends the versions {versions:?}"));
        }
    }

    fn losses(&self, end: &End, View { partitions, lost, .. }: &View<'_>) {
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
        for chunk in *lost {
            let counted = partitions.iter().any(|partition| partition.ledger.touches(*chunk));
            let again = partitions.iter().any(|partition| partition.ledger.retries(*chunk) > 0);
            // No attempt can satisfy partitions that disagree about what to leave out.
            let left_out = |pair: &[Partition]| pair[0].ledger.agreed(*chunk) == pair[1].ledger.agreed(*chunk);
            let repairable = counted && partitions.windows(2).all(left_out) && self.keeps_task(*chunk);
            self.check(!repairable || again, || {
                format!("chunk {chunk} is counted here and lost there, and was never sent again")
            });
            let justified = locked(&self.world.verdicts).justify(self.job, (*chunk).into());
            self.check(justified, || format!("chunk {chunk} is lost, and nobody said why"));
        }
    }

    /// What counted chunks left out is lost, unless it was sent again by itself and is counted.
    fn records(&self, end: &End, View { expected, partitions, lost, counted, all }: &View<'_>) {
        let (mut skips, mut at_first) = (Vec::new(), Vec::new());
        for (number, chunk) in (0..).map(ChunkNumber).zip(&expected.chunks) {
            let first = |unit: &Unit| unit.origin() == number.into() && unit.segment == 0;
            if partitions.iter().any(|partition| partition.units.iter().any(first)) {
                let left = chunk.skips.listed.iter().filter(|skip| !counted.contains(&(number, skip.place())));
                at_first.extend(left.clone().cloned());
                skips.extend(left.map(|skip| self.lost_again(number, skip, partitions)));
            }
        }
        skips.sort();
        at_first.sort();
        self.check(end.losses.records == skips, || {
            format!("tells of lost records {:?}, not {skips:?}", end.losses.records)
        });
        if lost.is_empty() && *all {
            self.check(at_first == expected.plain.skips, || format!("a plain run loses {:?}", expected.plain.skips));
        }
        let count = (lost.len() + skips.len()) as u64;
        self.check(end.losses.count == count, || format!("tells of {} losses, not {count}", end.losses.count));
        let outcome = if count == 0 { Outcome::Done } else { Outcome::DoneWithLosses };
        self.check(end.outcome == outcome, || format!("is {:?}, not {outcome:?}", end.outcome));
    }

    /// A record that is lost, with the reason of its last attempt, which somebody has to have given.
    fn lost_again(&self, chunk: ChunkNumber, skip: &Skip, partitions: &[Partition]) -> Skip {
        let origin = Origin::from((chunk, skip.place()));
        let mut reasons = partitions.iter().filter_map(|partition| partition.reasons.get(&origin));
        let Some(reason) = reasons.next() else { return skip.clone() };
        let justified = locked(&self.world.verdicts).justify(self.job, origin);
        self.check(justified, || format!("{origin} is lost again, and nobody said why"));
        Skip { reason: reason.clone(), ..*skip }
    }

    /// Whether every partition counts all of a record that was sent again. One that counts some of it where others do not was
    /// sent again because of that.
    fn is_counted(&self, record: (ChunkNumber, Place), expected: &Expected, partitions: &[Partition]) -> bool {
        let origin = Origin::from(record);
        let alone = expected.origin(origin);
        self.check(alone.skips.count() == 0, || format!("{origin} is counted, but its program refuses it"));
        let (numbers, known) = (partitions.iter().zip(&alone.segments), |partition: &Partition| {
            partition.units.iter().filter(|unit| unit.origin() == origin).count()
        });
        let whole = numbers.filter(|(partition, segments)| known(partition) == segments.len()).count();
        let retries: BTreeSet<u32> = partitions.iter().map(|partition| partition.ledger.retries(origin)).collect();
        self.check(whole == partitions.len() || retries.len() > 1, || {
            format!("{origin} is counted by {whole} partitions only, and was not sent again for that")
        });
        whole == partitions.len()
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
    fn sums(&self, end: &End, View { expected, partitions, lost, counted, .. }: &View<'_>) {
        let (mut pairs, mut counters) = (0, BTreeMap::<String, u64>::new());
        let chunks = (0..).map(ChunkNumber).take(expected.chunks.len()).filter(|number| !lost.contains(number));
        let records = counted.iter().copied().map(Origin::from);
        for origin in chunks.map(Origin::from).chain(records) {
            let mapped = expected.origin(origin);
            pairs += mapped.pairs;
            // What is counted on the way was counted with the chunk.
            for (name, count) in mapped.counters.iter().filter(|_| origin.record.is_none()) {
                *counters.entry(name.clone()).or_default() += count;
            }
            let counted: u64 = partitions.iter().filter_map(|partition| partition.pairs.get(&origin)).sum();
            self.check(counted == mapped.pairs, || {
                format!("of {origin} {counted} pairs are counted, not {}", mapped.pairs)
            });
        }
        self.check(end.pairs == pairs, || format!("tells of {} pairs, not {pairs}", end.pairs));
        self.check(end.counters == counters, || format!("tells of {:?}, not {counters:?}", end.counters));
        let chunks = expected.chunks.len() - lost.len();
        self.check(end.chunks as usize == chunks, || format!("tells of {} chunks, not {chunks}", end.chunks));
    }

    /// The files of a partition are those that its ledger names.
    fn files(&self, number: usize, ledger: &Ledger) {
        let missing: Vec<_> =
            ledger.runs().keys().filter(|run| self.file(&run_name(number, **run)).is_none()).collect();
        self.check(missing.is_empty(), || format!("partition {number} lacks the runs {missing:?}"));
        let named = |name: &str| name.parse().is_ok_and(|file| ledger.names(file));
        let orphans: Vec<_> =
            self.names(&format!("/runs/{number:04}")).into_iter().filter(|name| !named(name)).collect();
        self.check(orphans.is_empty(), || format!("nobody names the files {orphans:?} of partition {number}"));
    }
}

fn run_name(partition: usize, run: Uuid) -> String {
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
