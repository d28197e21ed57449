//! What is done for one (job, partition) at a time: commit what was folded, note losses, bound the runs, finish.
//!
//! It blocks, and runs beside the loop that folds, with the ledger and the delta in its hands. What would surprise: it always
//! does everything that can be done, whatever it was called for, so that nothing depends on who comes last.

use crate::archive::{Appended, Archive, ArchiveError, JobFile};
use crate::received::{Expected, Received, is_readable};
use rabbit_reduce_core::counting::{self, Counters};
use rabbit_reduce_core::id::{Origin, PartitionNumber};
use rabbit_reduce_core::job::ProgramFailed;
use rabbit_reduce_core::ledger::delta::{Delta, Held};
use rabbit_reduce_core::ledger::{Disagreement, Entry, Finish, Invalid, Ledger};
use rabbit_reduce_core::merge::Merge;
use rabbit_reduce_core::message;
use rabbit_reduce_core::pairs::{Cursor, PairReader, PairSource};
use rabbit_reduce_core::program::{Again, AnyProgram, ReducePlace};
use rabbit_reduce_core::run::{RunReader, RunSize, RunWriter};
use rabbit_reduce_core::skip::{LOST_KEYS, LostKey, said};
use rabbit_reduce_runtime::crash_point;
use rabbit_reduce_runtime::mistake::{self, Mistake};
use rabbit_reduce_runtime::process::chance;
use rabbit_reduce_runtime::scratch::ScratchFolder;
use rabbit_reduce_runtime::store::{StoreError, Upload};
use std::any::Any;
use std::io::{self, BufReader, BufWriter};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use uuid::Uuid;

/// Bytes written to the store at once.
const WRITE_BYTES: usize = 256 << 10;

/// One partition of one job, in the hands of who tends it.
///
/// `R` is what a delivery is to whoever holds it.
pub(crate) struct Tend<R> {
    pub(crate) archive: Archive,
    pub(crate) job: Arc<JobFile>,
    pub(crate) partition: PartitionNumber,
    pub(crate) chunks: Option<u32>,
    pub(crate) ledger: Ledger,
    pub(crate) delta: Delta<R>,
    pub(crate) losses: Vec<(Origin, String)>,
}

/// What came of it.
pub(crate) struct Tended<R> {
    pub(crate) ledger: Ledger,
    /// Deliveries whose units are counted now.
    pub(crate) done: Vec<R>,
    /// What is not committed: to be kept, for a later attempt.
    pub(crate) delta: Delta<R>,
    /// Losses that are not noted yet.
    pub(crate) losses: Vec<(Origin, String)>,
    /// C, if it is known by now.
    pub(crate) chunks: Option<u32>,
    /// This call finished the partition.
    pub(crate) finished: bool,
    /// What went wrong.
    pub(crate) trouble: Option<Trouble>,
}

/// Why tending stopped.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The store failed: try again later.
    Archive(ArchiveError),
    /// The program is not deterministic: the job fails.
    Disagreement(Disagreement),
    /// The program failed, and would again: the job fails.
    Program(ProgramFailed),
    /// The job was removed: everything of it is dropped.
    Removed,
    /// The job was given up meanwhile.
    GivenUp,
}

impl From<ArchiveError> for Trouble {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(error)
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Archive(error.into())
    }
}

impl<R> Tend<R> {
    /// Does everything that can be done now.
    pub(crate) fn run(mut self) -> Tended<R> {
        let mut done = Vec::new();
        let mut finished = false;
        let trouble = self.steps(&mut done, &mut finished).err();
        let Self { ledger, delta, losses, chunks, .. } = self;
        Tended { ledger, done, delta, losses, chunks, finished, trouble }
    }

    fn steps(&mut self, done: &mut Vec<R>, finished: &mut bool) -> Result<(), Trouble> {
        let id = self.job.spec.job;
        if self.archive.is_removed(id)? {
            // What an earlier call wrote after the removal goes too.
            self.archive.remove(id)?;
            return Err(Trouble::Removed);
        }
        self.archive.refresh(id, self.partition, &mut self.ledger)?;
        if self.chunks.is_none() {
            self.chunks = self.archive.seal(id)?.map(|seal| seal.chunks);
        }
        if mistake::makes(Mistake::FinishUnsealed) {
            self.chunks = self.chunks.or_else(|| Some(self.ledger.whole()));
        }
        self.commit(done)?;
        self.lose()?;
        self.compact()?;
        // What a grouping program reduces may take long; the deliveries that are counted now are not to wait for that.
        if !self.job.program.groups() {
            *finished = self.finish()?;
        }
        if self.archive.is_removed(id)? {
            // What was written meanwhile goes too.
            self.archive.remove(id)?;
            return Err(Trouble::Removed);
        }
        Ok(())
    }

    /// Puts what the delta holds into a run, and the run into the ledger.
    fn commit(&mut self, done: &mut Vec<R>) -> Result<(), Trouble> {
        loop {
            let covered = match mistake::makes(Mistake::CountTwice) {
                true => Vec::new(),
                false => self.delta.drop_covered(&self.ledger).map_err(Trouble::Disagreement)?,
            };
            done.extend(covered.into_iter().map(|held| held.receipt));
            if self.delta.is_empty() {
                return Ok(());
            }
            let cursors = self.delta.held().map(|held| PairReader::new(held.body.clone())).collect();
            let expected = Some(self.expected());
            let (run, size) = match self.write(cursors, expected, None) {
                Err(Trouble::Archive(ArchiveError::Damaged { .. })) if self.set_spoiled_aside(done)? => continue,
                written => written?,
            };
            let entry = Entry::Commit(self.delta.commit(run, size));
            match self.append_or_drop(entry, run)? {
                None => {
                    crash_point::reached("aggregator.committed");
                    let held = std::mem::take(&mut self.delta).into_held();
                    done.extend(held.into_iter().map(|Held { receipt, .. }| receipt));
                    return Ok(());
                }
                // Somebody covered some of it, or agreed to leave more out, or retired the run: what is left is committed anew.
                Some(Invalid::Covered(_) | Invalid::Stale(_) | Invalid::File(_)) => {}
                Some(Invalid::Disagreement(disagreement)) => return Err(Trouble::Disagreement(disagreement)),
                Some(invalid) => unreachable!("a commit is never judged {invalid}"),
            }
        }
    }

    /// Takes out segments whose pairs cannot be read: kept with the dead letters, their chunks lost. `false` if there are none.
    fn set_spoiled_aside(&mut self, done: &mut Vec<R>) -> Result<bool, Trouble> {
        let (job, expected) = (Arc::clone(&self.job), self.expected());
        let spoiled = self.delta.take_out(|held| !is_readable(&*job.program, expected, &held.body));
        for held in &spoiled {
            let message = message::encode(&held.partial, &held.body);
            let (chunk, partition) = (held.partial.chunk, self.partition);
            let reason = "its pairs for this partition cannot be read";
            if self.archive.limits.letters.is_some()
                && let Some(reason) = self.archive.limits.too_many_letters(self.archive.letter_count(job.spec.job)?)
            {
                return Err(Trouble::Program(ProgramFailed::wholly(reason)));
            }
            let name = self.archive.keep_letter(job.spec.job, chunk, &message, reason)?;
            tracing::error!(job = %job.spec.job, %chunk, %partition, name, "a partial's pairs cannot be read; it is set aside");
            self.losses.push((held.partial.unit().origin(), reason.to_owned()));
        }
        let found = !spoiled.is_empty();
        done.extend(spoiled.into_iter().map(|held| held.receipt));
        Ok(found)
    }

    fn lose(&mut self) -> Result<(), Trouble> {
        while let Some((origin, reason)) = self.losses.last().cloned() {
            // No longer valid: it is covered, or noted by somebody else. Either way there is nothing left to note.
            let (Origin { chunk, record }, retry) = (origin, self.ledger.retries(origin));
            let _: Appended = self.append(Entry::Lose { chunk, record, reason, retry })?;
            self.losses.pop();
        }
        Ok(())
    }

    /// Merges the smallest runs while there are too many.
    fn compact(&mut self) -> Result<(), Trouble> {
        while self.ledger.runs().len() > self.archive.max_runs {
            let mut by_size: Vec<(u64, Uuid)> =
                self.ledger.runs().iter().map(|(run, size)| (size.bytes, *run)).collect();
            by_size.sort_unstable();
            let runs: Vec<Uuid> = by_size[..merged_runs(self.archive.max_runs)].iter().map(|(_, run)| *run).collect();
            let Some(cursors) = self.open(&runs)? else {
                self.look_for_missing_run()?;
                continue;
            };
            let (run, size) = self.write(cursors, None, None)?;
            crash_point::reached("aggregator.runs_merged");
            if mistake::makes(Mistake::DeleteBeforeReplace) {
                runs.iter().try_for_each(|old| self.remove_run(*old))?;
            }
            let lost = self.append_or_drop(Entry::Replace { runs: runs.clone(), run, size }, run)?.is_some();
            if !lost {
                crash_point::reached("aggregator.runs_replaced");
                for old in runs.into_iter().filter(|old| self.ledger.gave_up(*old)) {
                    self.remove_run(old)?;
                    crash_point::reached("aggregator.replaced_run_deleted");
                }
            }
        }
        Ok(())
    }

    /// A live run has no file: somebody merged it meanwhile, or the job was removed, or the store is damaged.
    fn look_for_missing_run(&mut self) -> Result<(), Trouble> {
        let id = self.job.spec.job;
        if self.archive.refresh(id, self.partition, &mut self.ledger)? {
            return Ok(());
        }
        if self.archive.is_removed(id)? {
            return Err(Trouble::Removed);
        }
        let path = Archive::runs_folder(id, self.partition);
        Err(ArchiveError::Damaged { path, reason: "a run that the ledger names is missing".to_owned() }.into())
    }

    /// Merges the live runs into a part, if the partition is at its end; `true` if this call finished it.
    fn finish(&mut self) -> Result<bool, Trouble> {
        loop {
            let complete = self.chunks.is_some_and(|chunks| self.ledger.complete(chunks));
            if !complete || !self.ledger.unfinished() {
                return Ok(false);
            }
            self.tidy()?;
            let at = self.ledger.next();
            let runs: Vec<(Uuid, RunSize)> = self.ledger.runs().iter().map(|(run, size)| (*run, *size)).collect();
            // A single run is the part as it stands, unless there are groups to reduce; otherwise the part is written.
            let (mut keys, mut counters) = (Vec::new(), Counters::new());
            let (part, size, written) = match runs.as_slice() {
                [(run, size)] if !self.job.program.groups() => (*run, *size, false),
                _ => {
                    let names: Vec<Uuid> = runs.iter().map(|(run, _)| *run).collect();
                    let Some((part, size)) = self.reduce(&names, &mut keys, &mut counters)? else {
                        self.look_for_missing_run()?;
                        continue;
                    };
                    crash_point::reached("aggregator.part_written");
                    (part, size, true)
                }
            };
            let entry = Entry::Finish(Finish { part, size, at, keys, counters });
            if mistake::makes(Mistake::FinishOffTheLedger) {
                self.ledger.apply(&entry);
                return Ok(true);
            }
            let oldest = self.ledger.previous_part();
            if let Appended::Yes = self.append(entry)? {
                crash_point::reached("aggregator.finished");
                // Readers may be at the part before this one, not at the one before that, once an end has told of a newer.
                if let Some(given_up) = oldest.filter(|part| self.ledger.gave_up(*part))
                    && self.told()?.is_some_and(|told| self.ledger.names(told))
                {
                    self.remove_run(given_up)?;
                }
                return Ok(true);
            }
            if written {
                self.remove_run(part)?;
            }
        }
    }

    /// Reduces runs to a part, without the keys that the program cannot reduce, which are told; `None` if a run is gone.
    fn reduce(
        &self,
        runs: &[Uuid],
        keys: &mut Vec<LostKey>,
        counters: &mut Counters,
    ) -> Result<Option<(Uuid, RunSize)>, Trouble> {
        loop {
            // What an attempt before this one has counted is counted by this one again.
            counting::discard();
            let Some(cursors) = self.open(runs)? else { return Ok(None) };
            match self.write(cursors, None, Some(Reduction { runs, without: keys })) {
                Err(Trouble::Program(failed)) if !failed.keys.is_empty() => {
                    keys.extend(failed.keys);
                    if keys.len() > LOST_KEYS || keys.iter().any(LostKey::is_too_long) {
                        let reason = format!(
                            "too many or too long keys of partition {} fail: {}",
                            self.partition, failed.reason
                        );
                        return Err(Trouble::Program(ProgramFailed::wholly(reason)));
                    }
                }
                written => {
                    counting::take_into(counters);
                    return written.map(Some);
                }
            }
        }
    }

    /// Does nothing but finish, from what the store says, if that can be done: `true` if this call did.
    pub(crate) fn reduce_all(mut self) -> Result<bool, Trouble> {
        let id = self.job.spec.job;
        self.archive.refresh(id, self.partition, &mut self.ledger)?;
        let finished = self.finish()?;
        if self.archive.is_removed(id)? {
            // What was written meanwhile goes too.
            self.archive.remove(id)?;
            return Err(Trouble::Removed);
        }
        Ok(finished)
    }

    /// Does nothing but tidy up, as the ledger is now: for partitions at which nobody works any more.
    pub(crate) fn tidy_up(mut self) -> Result<(), Trouble> {
        let id = self.job.spec.job;
        self.archive.refresh(id, self.partition, &mut self.ledger)?;
        self.tidy()?;
        if self.archive.is_removed(id)? {
            // What was written meanwhile goes too.
            self.archive.remove(id)?;
        }
        Ok(())
    }

    /// Files that no entry names, left by lost races and dead processes, go once an entry has said so. Somebody may be about
    /// to name one of them: then he comes too late, and writes it anew.
    fn tidy(&mut self) -> Result<(), Trouble> {
        if mistake::makes(Mistake::OrphansStay) {
            return Ok(());
        }
        let names = self.archive.store.list(&Archive::runs_folder(self.job.spec.job, self.partition))?;
        let files = names.iter().filter_map(|name| Uuid::try_parse(name).ok());
        let orphans: Vec<Uuid> = files.filter(|file| !self.ledger.names(*file)).collect();
        let unsaid: Vec<Uuid> = orphans.iter().copied().filter(|file| !self.ledger.gave_up(*file)).collect();
        if !unsaid.is_empty()
            && let Appended::No(_) = self.append(Entry::Retire { files: unsaid })?
        {
            return Ok(());
        }
        crash_point::reached("aggregator.tidied");
        let told = if orphans.is_empty() { None } else { self.told()? };
        for file in orphans.into_iter().filter(|file| self.ledger.gave_up(*file) && told != Some(*file)) {
            crash_point::reached("aggregator.orphan_retired");
            self.remove_run(file)?;
            crash_point::reached("aggregator.orphan_deleted");
        }
        Ok(())
    }

    /// The part of this partition in the newest end: whoever reads the result is at it, whatever was finished since.
    fn told(&self) -> Result<Option<Uuid>, Trouble> {
        let end = self.archive.end(self.job.spec.job)?;
        let part = end.as_ref().and_then(|end| end.parts.get(self.partition.index()));
        Ok(part.and_then(|part| part.name.rsplit('/').next()).and_then(|file| Uuid::try_parse(file).ok()))
    }

    fn append(&mut self, entry: Entry) -> Result<Appended, Trouble> {
        Ok(self.archive.append(self.job.spec.job, self.partition, &mut self.ledger, entry, self.chunks)?)
    }

    /// Appends an entry that makes `run` live. A run that did not get in goes: nobody else can name it.
    fn append_or_drop(&mut self, entry: Entry, run: Uuid) -> Result<Option<Invalid>, Trouble> {
        match self.append(entry)? {
            Appended::Yes => Ok(None),
            Appended::No(invalid) => {
                self.remove_run(run)?;
                Ok(Some(invalid))
            }
        }
    }

    fn remove_run(&self, run: Uuid) -> Result<(), Trouble> {
        Ok(self.archive.store.remove(&Archive::run_path(self.job.spec.job, self.partition, run))?)
    }

    /// Opens runs; `None` if one of them is gone, merged by somebody else.
    fn open(&self, runs: &[Uuid]) -> Result<Option<Vec<OpenRun>>, Trouble> {
        let mut cursors = Vec::with_capacity(runs.len());
        for run in runs {
            let path = Archive::run_path(self.job.spec.job, self.partition, *run);
            match self.archive.store.open(&path, 0)? {
                Some(file) => cursors.push(RunReader::new(BufReader::with_capacity(64 << 10, file))),
                None => return Ok(None),
            }
        }
        Ok(Some(cursors))
    }

    /// What can be in this partition.
    fn expected(&self) -> Expected {
        Expected { partition: self.partition, partitions: self.job.spec.partitions }
    }

    /// Merges streams into a new, durable run, reduced if it is to be a part. What came in messages is checked on the way.
    fn write<C: Cursor>(
        &self,
        cursors: Vec<C>,
        expected: Option<Expected>,
        reduction: Option<Reduction<'_>>,
    ) -> Result<(Uuid, RunSize), Trouble> {
        let run = chance::dated_id();
        let path = Archive::run_path(self.job.spec.job, self.partition, run);
        let upload = self.archive.store.create(&path)?;
        let given_up = &self.job.given_up;
        let program = &*self.job.program;
        let cursors = cursors.into_iter().map(|pairs| Received { program, expected, pairs }).collect();
        let scratch = ScratchFolder(self.archive.scratch.clone());
        let stops = || given_up.load(Ordering::Relaxed);
        let again = Rerun { tend: self, reduction: reduction.unwrap_or_default() };
        let (job, partition) = (self.job.spec.job, self.partition);
        // One partition alone cannot have more than its job; whether all of them together have is seen once it is done.
        let output_bytes = self.archive.limits.bytes.unwrap_or(u64::MAX);
        let at = ReducePlace { job, partition, scratch: &scratch, stops: &stops, output_bytes, again: &again };
        let merging =
            || merge_into(program, cursors, reduction.map(|reduction| (&at, reduction.without)), upload, given_up);
        let panicked = |panic: Box<dyn Any + Send>| {
            Err(ProgramFailed::wholly(format!("merging panicked: {}", said(&*panic))).into())
        };
        let merged = catch_unwind(AssertUnwindSafe(merging)).unwrap_or_else(panicked);
        let (upload, size) = merged.map_err(|error| match given_up.load(Ordering::Relaxed) {
            true => Trouble::GivenUp,
            false => failed(&path, error),
        })?;
        crash_point::reached("aggregator.run_written");
        upload.finish()?;
        crash_point::reached("aggregator.run_durable");
        Ok((run, size))
    }
}

/// A reduction that can begin again.
struct Rerun<'t, R> {
    tend: &'t Tend<R>,
    reduction: Reduction<'t>,
}

impl<R> Again for Rerun<'_, R> {
    fn pairs(&self) -> io::Result<Box<dyn PairSource + '_>> {
        let opened = self.tend.open(self.reduction.runs).map_err(|trouble| io::Error::other(format!("{trouble:?}")))?;
        let cursors = opened.ok_or_else(|| io::Error::other("a run is gone meanwhile"))?;
        let program = &*self.tend.job.program;
        let merged = Merge::new(cursors, program.combiner())?;
        let pairs = Without { program, keys: self.reduction.without, pairs: merged };
        Ok(Box::new(Given::new(program, pairs, &self.tend.job.given_up)))
    }
}

/// Runs that are reduced to a part.
#[derive(Clone, Copy, Default)]
struct Reduction<'r> {
    runs: &'r [Uuid],
    /// Keys that cannot be.
    without: &'r [LostKey],
}

/// Pairs without those of some keys.
struct Without<'p, C> {
    program: &'p dyn AnyProgram,
    keys: &'p [LostKey],
    pairs: C,
}

impl<C: Cursor> Cursor for Without<'_, C> {
    fn advance(&mut self) -> io::Result<bool> {
        loop {
            if !self.pairs.advance()? {
                return Ok(false);
            }
            if self.keys.is_empty() {
                return Ok(true);
            }
            let key = self.program.together(self.pairs.key());
            if !self.keys.iter().any(|lost| lost.group.0 == key) {
                return Ok(true);
            }
        }
    }

    fn key(&self) -> &[u8] {
        self.pairs.key()
    }

    fn value(&self) -> &[u8] {
        self.pairs.value()
    }
}

/// How many keys a reduce was given.
const KEYS: &str = "keys";
/// Pairs between two looks whether anybody still wants what is made of them.
const GLANCE_PAIRS: u64 = 1024;

/// The pairs that a reduce is given, and how many keys they have. They end with an error once nobody wants them.
struct Given<'p, C> {
    program: &'p dyn AnyProgram,
    pairs: C,
    given_up: &'p AtomicBool,
    given: u64,
    key: Vec<u8>,
    keys: u64,
}

impl<'p, C> Given<'p, C> {
    const fn new(program: &'p dyn AnyProgram, pairs: C, given_up: &'p AtomicBool) -> Self {
        Self { program, pairs, given_up, given: 0, key: Vec::new(), keys: 0 }
    }
}

impl<C: Cursor> Cursor for Given<'_, C> {
    fn advance(&mut self) -> io::Result<bool> {
        self.given += 1;
        if self.given.is_multiple_of(GLANCE_PAIRS) && self.given_up.load(Ordering::Relaxed) {
            return Err(given_up());
        }
        let more = self.pairs.advance()?;
        if more {
            let key = self.program.together(self.pairs.key());
            if self.keys == 0 || key != self.key {
                self.keys += 1;
                self.key.clear();
                self.key.extend_from_slice(key);
            }
        }
        Ok(more)
    }

    fn key(&self) -> &[u8] {
        self.pairs.key()
    }

    fn value(&self) -> &[u8] {
        self.pairs.value()
    }
}

fn given_up() -> io::Error {
    io::Error::other("its job is given up")
}

/// Of so many runs and one more, those that one merge takes: most of them, so that merges are few.
const fn merged_runs(max_runs: usize) -> usize {
    let most = max_runs - max_runs / 4;
    if most < 2 { 2 } else { most }
}

type OpenRun = RunReader<BufReader<Box<dyn io::Read + Send>>>;

fn merge_into<C: Cursor>(
    program: &dyn AnyProgram,
    cursors: Vec<C>,
    reduced: Option<(&ReducePlace<'_>, &[LostKey])>,
    upload: Box<dyn Upload>,
    given_up: &AtomicBool,
) -> io::Result<(Box<dyn Upload>, RunSize)> {
    let mut writer = RunWriter::new(BufWriter::with_capacity(WRITE_BYTES, upload))?;
    let merged = Merge::new(cursors, program.combiner())?;
    let mut put = |key: &[u8], value: &[u8]| {
        if given_up.load(Ordering::Relaxed) {
            return Err(self::given_up());
        }
        writer.put(key, value)
    };
    if let Some((at, without)) = reduced {
        let pairs = Without { program, keys: without, pairs: merged };
        let mut pairs = Given::new(program, pairs, given_up);
        program.reduce(at, &mut pairs, &mut put)?;
        if program.groups() {
            counting::count_as(KEYS, pairs.keys);
        }
    } else {
        let mut merged = merged;
        while merged.advance()? {
            put(merged.key(), merged.value())?;
        }
    }
    let (upload, size) = writer.finish()?;
    Ok((upload.into_inner().map_err(io::IntoInnerError::into_error)?, size))
}

fn failed(path: &str, error: io::Error) -> Trouble {
    match error.downcast::<ProgramFailed>() {
        Ok(failed) => Trouble::Program(failed),
        Err(error) => damaged_or_full(path, error).into(),
    }
}

fn damaged_or_full(path: &str, error: io::Error) -> ArchiveError {
    if error.kind() == io::ErrorKind::InvalidData {
        return ArchiveError::Damaged { path: path.to_owned(), reason: format!("what it is merged from: {error}") };
    }
    StoreError::before_the_name(path, error).into()
}

#[cfg(test)]
mod tests;
