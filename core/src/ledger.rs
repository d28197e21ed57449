//! The ledger of one (job, partition): the log that decides what is counted, as a state folded from its entries.
//!
//! Everything here is synchronous and pure: an entry is judged against the whole state before it, then put at n+1 by somebody
//! else ([`append`]), then applied. What would surprise: an entry that lost the race for n+1 is judged again against what won;
//! validity is never remembered.

pub mod append;
pub mod delta;

use crate::counting::Counters;
use crate::id::{ChunkNumber, Origin, Unit};
use crate::message::Home;
use crate::run::RunSize;
use crate::skip::{AGREED_SKIPS, LostKey, Place, Skip, SkipList};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Entry {
    /// This run holds these units.
    Commit(Commit),
    /// This partition lacks (some of) this chunk.
    Lose {
        /// The chunk.
        chunk: ChunkNumber,
        /// The record of it, if that was sent again by itself and failed again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        record: Option<Place>,
        /// Why.
        reason: String,
        /// Of which retry this is the outcome; 0 for the first sending.
        #[serde(default, skip_serializing_if = "is_none")]
        retry: u32,
    },
    /// This chunk is a loss here and is sent again; put before its task is, so that nothing is finished meanwhile.
    Retry {
        /// The chunk.
        chunk: ChunkNumber,
        /// Which retry this is, from 1.
        retry: u32,
    },
    /// This record of this chunk, which is counted without it, is sent again by itself; put before its task is. A kind of its
    /// own, so that releases that do not know it leave the ledger alone from here on, instead of taking the record's units
    /// for the chunk's.
    RetryRecord {
        /// The chunk.
        chunk: ChunkNumber,
        /// The record.
        record: Place,
        /// Which retry this is, from 1.
        retry: u32,
    },
    /// The keys that the newest finish left out are reduced again, and so is the whole partition with them.
    Rereduce {
        /// The finish: the entries that its part holds, all before this number.
        at: u64,
    },
    /// This record of this chunk is left out, since it kills who maps it; put before the task is sent with that list.
    Skip {
        /// The chunk.
        chunk: ChunkNumber,
        /// The record.
        skip: Skip,
    },
    /// A merge of runs, to bound how many there are.
    Replace {
        /// The runs that were merged.
        runs: Vec<Uuid>,
        /// Their sum.
        run: Uuid,
        /// Its size.
        size: RunSize,
    },
    /// This part holds all live runs.
    Finish(Finish),
    /// These files will be deleted.
    Retire {
        /// Runs and parts.
        files: Vec<Uuid>,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_none(count: &u32) -> bool {
    *count == 0
}

/// See [`Entry::Commit`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// The run.
    pub run: Uuid,
    /// Its size.
    pub size: RunSize,
    /// Who mapped the chunks; [`CommitChunk::worker`] points in here.
    pub workers: Vec<String>,
    /// What the run holds, by chunk.
    pub chunks: Vec<CommitChunk>,
}

/// Units of one chunk in a commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitChunk {
    /// The chunk.
    pub chunk: ChunkNumber,
    /// The record of it, if that was sent again by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Place>,
    /// Of the attempt that these units stem from.
    pub digest: u64,
    /// Who made it, as a place in [`Commit::workers`].
    pub worker: u32,
    /// Segment, whether it is the last, the mapped pairs it stands for.
    pub units: Vec<(u32, bool, u64)>,
    /// How many records the attempt left out because [`Entry::Skip`] said so.
    #[serde(default, skip_serializing_if = "is_none")]
    pub agreed: u32,
    /// With segment 0: records not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skips: Option<SkipList>,
    /// With segment 0 of the home partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<Home>,
}

/// See [`Entry::Finish`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finish {
    /// The part: a file.
    pub part: Uuid,
    /// Its size.
    pub size: RunSize,
    /// The entries that it holds: all before this number.
    pub at: u64,
    /// Keys that the program cannot reduce: their pairs are in the runs, and nothing of them is in the part.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<LostKey>,
    /// What the reduce has counted.
    #[serde(default, skip_serializing_if = "Counters::is_empty")]
    pub counters: Counters,
}

/// Why an entry may not be appended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Some of its units are counted already, or named twice.
    #[error("{} segment {} is counted already", .0.origin(), .0.segment)]
    Covered(Unit),
    /// Two attempts at a chunk disagree.
    #[error("{0}")]
    Disagreement(Disagreement),
    /// It stems from an attempt that did not leave out what was agreed, or more than that; or that nobody agreed to.
    #[error("an attempt at {0} did not leave out what was agreed, or was not agreed")]
    Stale(Origin),
    /// The chunk or record is covered, or this was said of it before, or it is none to be sent again.
    #[error("{0} is decided already")]
    Decided(Origin),
    /// That finish has left out no keys, or is not the newest any more.
    #[error("no keys are left out, or they are being reduced again")]
    Reduced,
    /// It names a run that is not live, or makes one that was before, or retires one that is.
    #[error("file {0} is live, retired or gone")]
    File(Uuid),
    /// A finish with something open, or of a state that is no more.
    #[error("the partition is not at its end, or has moved on")]
    Open,
}

/// Two attempts at one chunk that differ: the program is not deterministic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disagreement {
    /// The chunk, or the record of it.
    pub origin: Origin,
    /// Who mapped it.
    pub workers: [String; 2],
}

impl std::fmt::Display for Disagreement {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [first, second] = &self.workers;
        write!(
            out,
            "workers {first} and {second} map {} to different pairs: the program is not deterministic",
            self.origin
        )
    }
}

/// What is known of one chunk, or of a record of it that was sent again, in this partition. There is one for every chunk, so
/// what most of them do not have is elsewhere.
#[derive(Clone, Debug, Default)]
struct ChunkState {
    whole: bool,
    worker: u32,
    digest: u64,
    pairs: u64,
    rest: Option<Box<Rest>>,
}

/// What is not known of most chunks, once they are whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Rest {
    /// Segments counted while some are missing; empty once the chunk is whole, as is the number of the last.
    segments: BTreeSet<u32>,
    last: Option<u32>,
    lost: Option<String>,
    /// How often it was sent again after it was lost.
    retries: u32,
    /// Records that every attempt leaves out.
    agreed: Vec<Skip>,
    skips: Option<SkipList>,
    home: Option<Home>,
}

static NOTHING: Rest =
    Rest { segments: BTreeSet::new(), last: None, lost: None, retries: 0, agreed: Vec::new(), skips: None, home: None };

impl ChunkState {
    fn rest(&self) -> &Rest {
        self.rest.as_deref().unwrap_or(&NOTHING)
    }

    fn rest_mut(&mut self) -> &mut Rest {
        self.rest.get_or_insert_default()
    }

    /// Whether anything of it is counted.
    fn is_touched(&self) -> bool {
        self.whole || !self.rest().segments.is_empty()
    }

    /// Notes what became of a sending: the reason of a loss, or that it is under way.
    fn decide(&mut self, lost: Option<String>, retry: u32) {
        let rest = self.rest_mut();
        (rest.lost, rest.retries) = (lost, retry);
    }

    /// Notes that all of it is counted.
    fn complete(&mut self) {
        self.whole = true;
        let rest = self.rest_mut();
        (rest.segments, rest.last) = (BTreeSet::new(), None);
        self.rest.take_if(|rest| **rest == NOTHING);
    }
}

/// The state that entries fold into.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    next: u64,
    chunks: BTreeMap<ChunkNumber, ChunkState>,
    workers: Vec<String>,
    whole: u32,
    /// Records that chunks left out.
    skipped: u64,
    /// Chunks that are lost and not whole.
    lost: BTreeSet<ChunkNumber>,
    /// Chunks that are sent again, and neither counted nor lost since.
    retrying: BTreeSet<ChunkNumber>,
    /// Records that were sent again: some of those that a chunk lists as skipped, so there are few of each.
    records: BTreeMap<(ChunkNumber, Place), ChunkState>,
    /// Those that are neither counted nor lost since.
    retrying_records: BTreeSet<(ChunkNumber, Place)>,
    /// How many are counted.
    whole_records: u64,
    runs: BTreeMap<Uuid, RunSize>,
    /// Every file that was live once; none may be named anew.
    gone: BTreeSet<Uuid>,
    finish: Option<Finish>,
    /// The part before the newest, which readers may still be reading.
    previous_part: Option<Uuid>,
    /// Something was decided since the last finish.
    moved: bool,
    /// Input bytes of the chunks whose home this is.
    home_bytes: u64,
}

impl Ledger {
    /// The number that the next entry gets.
    #[must_use]
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// Whether an entry may follow this very state. `chunks` is C, once the job is sealed.
    ///
    /// # Errors
    /// Says why not.
    pub fn judge(&self, entry: &Entry, chunks: Option<u32>) -> Result<(), Invalid> {
        match entry {
            Entry::Commit(commit) => self.judge_commit(commit),
            Entry::Lose { chunk, record, retry, .. } => {
                // The outcome of an earlier sending says nothing of a later one.
                let news = |state: &ChunkState| {
                    !state.whole
                        && (*retry > state.rest().retries
                            || (*retry == state.rest().retries && state.rest().lost.is_none()))
                };
                let origin = Origin { chunk: *chunk, record: *record };
                // A record is lost by its chunk's partials until it is sent again.
                let valid = self.state(origin).map_or(record.is_none(), news);
                if valid { Ok(()) } else { Err(Invalid::Decided(origin)) }
            }
            Entry::Retry { chunk, retry } => {
                let lost = self.chunks.get(chunk).filter(|_| self.lost.contains(chunk));
                let again = lost.is_some_and(|state| *retry > state.rest().retries);
                if again { Ok(()) } else { Err(Invalid::Decided((*chunk).into())) }
            }
            Entry::RetryRecord { chunk, record, retry } => {
                let origin = Origin::from((*chunk, *record));
                let lost =
                    |state: &ChunkState| !state.whole && state.rest().lost.is_some() && *retry > state.rest().retries;
                let valid = *retry > 0 && self.leaves_out(*chunk, *record) && self.state(origin).is_none_or(lost);
                if valid { Ok(()) } else { Err(Invalid::Decided(origin)) }
            }
            Entry::Rereduce { at } => {
                let lacks = self.finished().is_some_and(|finish| finish.at == *at && !finish.keys.is_empty());
                if lacks { Ok(()) } else { Err(Invalid::Reduced) }
            }
            Entry::Skip { chunk, skip } => {
                let room = |state: &ChunkState| {
                    let agreed = &state.rest().agreed;
                    let known = agreed.iter().any(|agreed| agreed.place() == skip.place());
                    !known && agreed.len() < AGREED_SKIPS
                };
                let untouched = !self.touches(*chunk) && !self.is_lost(*chunk);
                let valid = untouched && self.chunks.get(chunk).is_none_or(room);
                if valid { Ok(()) } else { Err(Invalid::Decided((*chunk).into())) }
            }
            Entry::Replace { runs, run, .. } => {
                // A run named twice would be merged twice, and a merge of none holds what nobody committed.
                let mut seen = BTreeSet::new();
                let dead = runs.iter().find(|run| !self.runs.contains_key(run) || !seen.insert(**run));
                let bad = dead.or(runs.is_empty().then_some(run));
                bad.map_or_else(|| self.judge_new(*run), |bad| Err(Invalid::File(*bad)))
            }
            Entry::Finish(finish) => {
                let complete = chunks.is_some_and(|chunks| self.complete(chunks));
                let whole = finish.at == self.next && complete && self.unfinished();
                // A run may be the part as it stands where no other is live.
                let only = self.runs.len() == 1 && self.runs.contains_key(&finish.part);
                match whole {
                    false => Err(Invalid::Open),
                    true if only => Ok(()),
                    true => self.judge_new(finish.part),
                }
            }
            Entry::Retire { files } => {
                let named = files.iter().find(|file| self.names(**file));
                named.map_or(Ok(()), |file| Err(Invalid::File(*file)))
            }
        }
    }

    fn judge_new(&self, file: Uuid) -> Result<(), Invalid> {
        if self.names(file) || self.gone.contains(&file) { Err(Invalid::File(file)) } else { Ok(()) }
    }

    fn judge_commit(&self, commit: &Commit) -> Result<(), Invalid> {
        self.judge_new(commit.run)?;
        let mut seen = BTreeSet::new();
        for chunk in &commit.chunks {
            let origin = Origin { chunk: chunk.chunk, record: chunk.record };
            if !self.expects(origin, chunk.agreed) {
                return Err(Invalid::Stale(origin));
            }
            let worker = commit.workers.get(chunk.worker as usize).map_or("", String::as_str);
            self.agrees(origin, chunk.digest, worker).map_err(Invalid::Disagreement)?;
            for &(segment, last, _) in &chunk.units {
                let unit = Unit { chunk: chunk.chunk, record: chunk.record, segment, last };
                if self.covers(unit) || !seen.insert((origin, segment)) {
                    return Err(Invalid::Covered(unit));
                }
            }
        }
        Ok(())
    }

    /// Applies an entry that was judged valid and put at [`Ledger::next`].
    pub fn apply(&mut self, entry: &Entry) {
        self.next += 1;
        match entry {
            Entry::Commit(commit) => self.apply_commit(commit),
            Entry::Lose { chunk, record: Some(place), reason, retry } => {
                self.records.entry((*chunk, *place)).or_default().decide(Some(reason.clone()), *retry);
                self.retrying_records.remove(&(*chunk, *place));
                self.moved = true;
            }
            Entry::RetryRecord { chunk, record, retry } => {
                self.records.entry((*chunk, *record)).or_default().decide(None, *retry);
                self.retrying_records.insert((*chunk, *record));
                self.moved = true;
            }
            Entry::Lose { chunk, record: None, reason, retry } => {
                self.chunks.entry(*chunk).or_default().decide(Some(reason.clone()), *retry);
                self.lost.insert(*chunk);
                self.retrying.remove(chunk);
                self.moved = true;
            }
            Entry::Retry { chunk, retry } => {
                self.chunks.entry(*chunk).or_default().decide(None, *retry);
                self.lost.remove(chunk);
                self.retrying.insert(*chunk);
                self.moved = true;
            }
            Entry::Rereduce { .. } => self.moved = true,
            Entry::Skip { chunk, skip } => {
                self.chunks.entry(*chunk).or_default().rest_mut().agreed.push(skip.clone());
            }
            Entry::Replace { runs, run, size } => {
                for old in runs {
                    self.runs.remove(old);
                    self.gone.insert(*old);
                }
                self.runs.insert(*run, *size);
            }
            Entry::Finish(finish) => {
                // Readers may be at the part before this one, not at the one before that.
                self.gone.extend(self.previous_part);
                self.previous_part = self.finish.replace(finish.clone()).map(|previous| previous.part);
                self.moved = false;
            }
            Entry::Retire { files } => self.gone.extend(files),
        }
    }

    fn apply_commit(&mut self, commit: &Commit) {
        let places: Vec<u32> = commit.workers.iter().map(|worker| self.worker_place(worker)).collect();
        for part in &commit.chunks {
            let chunk = match part.record {
                None => self.chunks.entry(part.chunk).or_default(),
                Some(place) => self.records.entry((part.chunk, place)).or_default(),
            };
            chunk.digest = part.digest;
            chunk.worker = places.get(part.worker as usize).copied().unwrap_or(u32::MAX);
            let rest = chunk.rest.get_or_insert_default();
            if let (None, Some(skips)) = (&rest.skips, part.skips.as_ref().filter(|skips| skips.count() > 0)) {
                if part.record.is_none() {
                    self.skipped = self.skipped.saturating_add(skips.count());
                }
                rest.skips = Some(skips.clone());
            }
            if let (None, Some(home)) = (&rest.home, &part.home) {
                // The bytes of a record are among those of its chunk.
                let bytes = home.counters.get("bytes").copied().filter(|_| part.record.is_none());
                self.home_bytes = self.home_bytes.saturating_add(bytes.unwrap_or(0));
                rest.home = Some(home.clone());
            }
            for &(segment, last, pairs) in &part.units {
                rest.segments.insert(segment);
                rest.last = if last { Some(segment) } else { rest.last };
                chunk.pairs = chunk.pairs.saturating_add(pairs);
            }
            let all = rest.last.is_some_and(|last| rest.segments.len() as u64 == u64::from(last) + 1);
            if !chunk.whole && all {
                if part.record.is_some() {
                    rest.lost = None;
                }
                chunk.complete();
                if let Some(place) = part.record {
                    self.whole_records += 1;
                    self.retrying_records.remove(&(part.chunk, place));
                } else {
                    self.whole += 1;
                    self.lost.remove(&part.chunk);
                    self.retrying.remove(&part.chunk);
                }
            }
        }
        self.runs.insert(commit.run, commit.size);
        self.moved = true;
    }

    fn worker_place(&mut self, worker: &str) -> u32 {
        let place = self.workers.iter().position(|known| known == worker).unwrap_or_else(|| {
            self.workers.push(worker.to_owned());
            self.workers.len() - 1
        });
        u32::try_from(place).unwrap_or(u32::MAX)
    }

    fn state(&self, origin: Origin) -> Option<&ChunkState> {
        match origin.record {
            None => self.chunks.get(&origin.chunk),
            Some(place) => self.records.get(&(origin.chunk, place)),
        }
    }

    /// Whether an attempt that left out so many records by agreement may be counted: all that is agreed for a chunk, and of a
    /// record none, once it was agreed that it is sent again.
    #[must_use]
    pub fn expects(&self, origin: Origin, agreed: u32) -> bool {
        match origin.record {
            None => agreed as usize == self.agreed(origin.chunk).len(),
            Some(_) => agreed == 0 && self.state(origin).is_some(),
        }
    }

    /// Whether a chunk is counted here, and names a record among those that it left out.
    #[must_use]
    pub fn leaves_out(&self, chunk: ChunkNumber, place: Place) -> bool {
        self.chunks.get(&chunk).filter(|state| state.whole).is_some_and(|state| {
            let Rest { skips, agreed, .. } = state.rest();
            skips.iter().flat_map(|skips| &skips.listed).chain(agreed).any(|skip| skip.place() == place)
        })
    }

    /// Whether a record that was left out is counted after all.
    #[must_use]
    pub fn covers_record(&self, chunk: ChunkNumber, place: Place) -> bool {
        self.records.get(&(chunk, place)).is_some_and(|state| state.whole)
    }

    /// Whether any of a record that was left out is counted after all.
    #[must_use]
    pub fn touches_record(&self, chunk: ChunkNumber, place: Place) -> bool {
        self.records.get(&(chunk, place)).is_some_and(ChunkState::is_touched)
    }

    /// Why a record that was sent again is lost again.
    #[must_use]
    pub fn lost_again(&self, chunk: ChunkNumber, place: Place) -> Option<&str> {
        self.records.get(&(chunk, place)).filter(|state| !state.whole)?.rest().lost.as_deref()
    }

    /// Whether a record is sent again, and neither counted nor lost since.
    #[must_use]
    pub fn is_retrying_record(&self, chunk: ChunkNumber, place: Place) -> bool {
        self.retrying_records.contains(&(chunk, place))
    }

    /// Records that are sent again, and neither counted nor lost since.
    pub fn retrying_records(&self) -> impl Iterator<Item = (ChunkNumber, Place)> {
        self.retrying_records.iter().copied()
    }

    /// Whether a unit is counted.
    #[must_use]
    pub fn covers(&self, unit: Unit) -> bool {
        self.state(unit.origin()).is_some_and(|chunk| chunk.whole || chunk.rest().segments.contains(&unit.segment))
    }

    /// Whether all of a chunk is counted here.
    #[must_use]
    pub fn covers_chunk(&self, chunk: ChunkNumber) -> bool {
        self.chunks.get(&chunk).is_some_and(|chunk| chunk.whole)
    }

    /// Whether any of a chunk is counted here.
    #[must_use]
    pub fn touches(&self, chunk: ChunkNumber) -> bool {
        self.chunks.get(&chunk).is_some_and(ChunkState::is_touched)
    }

    /// How often a chunk, or a record of it, was sent again after it was lost here.
    #[must_use]
    pub fn retries(&self, origin: impl Into<Origin>) -> u32 {
        self.state(origin.into()).map_or(0, |state| state.rest().retries)
    }

    /// Records of a chunk that every attempt leaves out.
    #[must_use]
    pub fn agreed(&self, chunk: ChunkNumber) -> &[Skip] {
        self.chunks.get(&chunk).map_or(&[], |state| &state.rest().agreed)
    }

    /// Records that every attempt at their chunks leaves out.
    pub fn left_out(&self) -> impl Iterator<Item = (ChunkNumber, Place)> {
        self.chunks.iter().flat_map(|(chunk, state)| state.rest().agreed.iter().map(|skip| (*chunk, skip.place())))
    }

    /// Whether a chunk is a loss here.
    #[must_use]
    pub fn is_lost(&self, chunk: ChunkNumber) -> bool {
        self.lost.contains(&chunk)
    }

    /// Whether a chunk is sent again, and neither counted nor lost since.
    #[must_use]
    pub fn is_retrying(&self, chunk: ChunkNumber) -> bool {
        self.retrying.contains(&chunk)
    }

    /// Chunks that are sent again, and neither counted nor lost since.
    pub fn retrying(&self) -> impl Iterator<Item = ChunkNumber> {
        self.retrying.iter().copied()
    }

    /// Whether an attempt's digest is that of what is counted of the chunk or record, if anything is.
    ///
    /// # Errors
    /// Names the chunk and who disagrees.
    pub fn agrees(&self, origin: Origin, digest: u64, worker: &str) -> Result<(), Disagreement> {
        let Some(state) = self.state(origin).filter(|state| state.is_touched()) else {
            return Ok(());
        };
        if state.digest == digest {
            return Ok(());
        }
        Err(Disagreement { origin, workers: [self.worker_of(state).to_owned(), worker.to_owned()] })
    }

    fn worker_of(&self, state: &ChunkState) -> &str {
        self.workers.get(state.worker as usize).map_or("?", String::as_str)
    }

    /// Whether every one of `chunks` chunks is counted or lost.
    #[must_use]
    pub fn complete(&self, chunks: u32) -> bool {
        self.complete_with(std::iter::empty(), chunks)
    }

    /// Whether every one of `chunks` chunks, and every record that was sent again, would be counted or lost if `units` (sorted)
    /// were counted too.
    #[must_use]
    pub fn complete_with(&self, units: impl Iterator<Item = Unit>, chunks: u32) -> bool {
        // What stands beyond the job's chunks, noted before anybody knew how many there are, stands for none of them.
        let beyond = |state: &&ChunkState| state.whole;
        let strange = self.chunks.range(ChunkNumber(chunks)..).map(|(_, state)| state).filter(beyond).count();
        let mut whole = u64::from(self.whole).saturating_sub(strange as u64);
        let mut lost = self.lost.len() - self.lost.range(ChunkNumber(chunks)..).count();
        let mut open_records = self.retrying_records.len();
        let mut count = |origin: Origin, more: &BTreeSet<u32>, last: Option<u32>| {
            if origin.chunk.0 >= chunks {
                return;
            }
            let state = self.state(origin);
            let known = state.map(|state| &state.rest().segments);
            let segments = more.len() + known.map_or(0, |known| known.difference(more).count());
            let last = last.or_else(|| state.and_then(|state| state.rest().last));
            if state.is_none_or(|state| !state.whole) && last.is_some_and(|last| segments as u64 == u64::from(last) + 1)
            {
                if let Some(place) = origin.record {
                    open_records -= usize::from(self.retrying_records.contains(&(origin.chunk, place)));
                } else {
                    whole += 1;
                    lost -= usize::from(self.lost.contains(&origin.chunk));
                }
            }
        };
        let mut open: Option<(Origin, BTreeSet<u32>, Option<u32>)> = None;
        for unit in units {
            if let Some((origin, segments, last)) = open.take_if(|(origin, ..)| *origin != unit.origin()) {
                count(origin, &segments, last);
            }
            let (_, segments, last) = open.get_or_insert_with(|| (unit.origin(), BTreeSet::new(), None));
            segments.insert(unit.segment);
            *last = last.or(unit.last.then_some(unit.segment));
        }
        if let Some((origin, segments, last)) = open {
            count(origin, &segments, last);
        }
        whole + lost as u64 >= u64::from(chunks) && open_records == 0
    }

    /// Whether something was decided that no part holds yet.
    #[must_use]
    pub const fn unfinished(&self) -> bool {
        self.finish.is_none() || self.moved
    }

    /// The newest finish, if nothing was decided after it.
    #[must_use]
    pub fn finished(&self) -> Option<&Finish> {
        self.finish.as_ref().filter(|_| !self.moved)
    }

    /// The newest finish that left out keys, if they are not decided anew since, and whether they are being reduced again.
    #[must_use]
    pub fn lacks_keys(&self) -> Option<(&Finish, bool)> {
        self.finish.as_ref().filter(|finish| !finish.keys.is_empty()).map(|finish| (finish, self.moved))
    }

    /// Chunks that are counted wholly.
    #[must_use]
    pub const fn whole(&self) -> u32 {
        self.whole
    }

    /// Input bytes of the chunks whose home partition this is, as far as they are counted.
    #[must_use]
    pub const fn home_bytes(&self) -> u64 {
        self.home_bytes
    }

    /// Records that counted chunks left out, but for those that were counted later.
    #[must_use]
    pub const fn skipped(&self) -> u64 {
        self.skipped.saturating_sub(self.whole_records)
    }

    /// Chunks that are not, and the reasons.
    pub fn lost(&self) -> impl Iterator<Item = (ChunkNumber, &str)> {
        self.lost.iter().map(|chunk| {
            let reason = self.chunks.get(chunk).and_then(|state| state.rest().lost.as_deref());
            (*chunk, reason.unwrap_or_default())
        })
    }

    /// The runs that make up what is counted.
    #[must_use]
    pub const fn runs(&self) -> &BTreeMap<Uuid, RunSize> {
        &self.runs
    }

    /// The part before the newest.
    #[must_use]
    pub const fn previous_part(&self) -> Option<Uuid> {
        self.previous_part
    }

    /// Whether a file is live: a run, the part, or the part before it.
    #[must_use]
    pub fn names(&self, file: Uuid) -> bool {
        self.runs.contains_key(&file)
            || self.finish.as_ref().is_some_and(|finish| finish.part == file)
            || self.previous_part == Some(file)
    }

    /// Whether a file was given up by an entry, so that it may be deleted.
    #[must_use]
    pub fn gave_up(&self, file: Uuid) -> bool {
        self.gone.contains(&file) && !self.names(file)
    }

    /// What is counted of each chunk: the basis of the last checks over all partitions.
    pub fn chunks(&self) -> impl Iterator<Item = Counted<'_>> {
        self.chunks_from(ChunkNumber(0))
    }

    /// The same from a chunk on.
    pub fn chunks_from(&self, first: ChunkNumber) -> impl Iterator<Item = Counted<'_>> {
        self.chunks.range(first..).map(|(chunk, state)| self.counted((*chunk).into(), state))
    }

    /// What is counted of each record that was sent again.
    pub fn records(&self) -> impl Iterator<Item = Counted<'_>> {
        self.records.iter().map(|(record, state)| self.counted((*record).into(), state))
    }

    fn counted<'l>(&'l self, origin: Origin, state: &'l ChunkState) -> Counted<'l> {
        Counted {
            chunk: origin.chunk,
            record: origin.record,
            whole: state.whole,
            lost: !state.whole && state.rest().lost.is_some(),
            digest: state.is_touched().then_some(state.digest),
            worker: self.worker_of(state),
            pairs: state.pairs,
            skips: state.rest().skips.as_ref(),
            home: state.rest().home.as_ref(),
        }
    }
}

/// What a ledger counts of a chunk, or of a record of it that was sent again.
#[derive(Clone, Copy, Debug)]
pub struct Counted<'l> {
    /// The chunk.
    pub chunk: ChunkNumber,
    /// The record.
    pub record: Option<Place>,
    /// All of it is counted here.
    pub whole: bool,
    /// It is a loss here.
    pub lost: bool,
    /// Of the attempt that is counted.
    pub digest: Option<u64>,
    /// Who made that.
    pub worker: &'l str,
    /// Mapped pairs that are counted here.
    pub pairs: u64,
    /// Records not counted.
    pub skips: Option<&'l SkipList>,
    /// What the chunk says of itself, in its home partition.
    pub home: Option<&'l Home>,
}

#[cfg(test)]
mod tests;
