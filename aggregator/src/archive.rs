//! A namespace's jobs as files of its store: which file says what, and how a ledger is read and appended to.
//!
//! Everything blocks. It judges nothing itself: validity is the ledger's. What would surprise: an entry written by somebody
//! else is made durable before it is acted on, since its writer may not have got that far.

use crate::limits::Limits;
use crate::top::Tops;
use rabbit_reduce_core::id::{ChunkNumber, JobId, PartitionNumber};
use rabbit_reduce_core::ledger::append::{Append, Event, Record, Step};
use rabbit_reduce_core::ledger::{Entry, Invalid, Ledger};
use rabbit_reduce_core::message::End;
use rabbit_reduce_core::program::{NamedProgram, Programs};
use rabbit_reduce_core::shipped::{MAX_FILE_BYTES, MAX_FILES, Shipped};
use rabbit_reduce_core::spec::{Spec, SpecError};
use rabbit_reduce_runtime::crash_point;
use rabbit_reduce_runtime::mistake::{self, Mistake};
use rabbit_reduce_runtime::process::chance;
use rabbit_reduce_runtime::shipped::ShippedFiles;
use rabbit_reduce_runtime::store::{Put, Store, StoreError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard};
use uuid::Uuid;

/// Times that a small file is put while the store does not say what became of it.
const PUTS: u32 = 10;
/// Entries of a ledger that are asked for at once.
const MOST_ENTRIES: u64 = 64;

/// The archive.
#[derive(Clone, Debug)]
pub(crate) struct Archive {
    pub(crate) store: Arc<dyn Store>,
    /// Of this store.
    pub(crate) store_id: String,
    /// Who writes, for people.
    pub(crate) writer: String,
    /// Live runs of a partition that are none too many.
    pub(crate) max_runs: usize,
    /// Of each job.
    pub(crate) limits: Limits,
    /// Jobs that had not ended when the store was last looked through, and those that were submitted here since.
    pub(crate) open: Arc<Mutex<BTreeSet<JobId>>>,
    /// What was found of late.
    pub(crate) tops: Tops,
    /// For what a reduce cannot hold in memory.
    pub(crate) scratch: PathBuf,
    /// What jobs can be of.
    pub(crate) programs: Programs,
    /// Where files of jobs are kept beside the store.
    pub(crate) files: ShippedFiles,
}

/// "This job has C chunks."
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seal {
    pub(crate) chunks: u32,
}

/// A job as its files tell it.
#[derive(Debug)]
pub(crate) struct JobFile {
    pub(crate) spec: Spec,
    pub(crate) program: NamedProgram,
    /// Nothing of it is counted any more: whoever works on it stops.
    pub(crate) given_up: AtomicBool,
}

/// Why the archive failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveError {
    /// The store did.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file is not what it should be.
    #[error("the store's file {path} cannot be read: {reason}")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// A file that travels with a job is not what the job names.
    #[error("a file of job {job} cannot be used: {reason}")]
    File {
        /// The job.
        job: JobId,
        /// What is wrong.
        reason: String,
    },
    /// A spec that this release cannot run.
    #[error("job {job} cannot be run here")]
    Spec {
        /// The job.
        job: JobId,
        /// Why.
        source: SpecError,
    },
}

impl ArchiveError {
    /// Whether another aggregator may be able to do what this one cannot.
    pub(crate) const fn is_only_here(&self) -> bool {
        match self {
            Self::Spec { source: SpecError::Job(error), .. } => error.is_only_here(),
            Self::File { .. } => true,
            _ => false,
        }
    }
}

#[cfg(test)]
impl Archive {
    /// An empty one in memory.
    pub(crate) fn of_tests() -> Self {
        Self {
            store: Arc::new(rabbit_reduce_runtime::store::memory::MemoryStore::default()),
            store_id: "s".to_owned(),
            writer: "w".to_owned(),
            max_runs: crate::MAX_RUNS,
            limits: Limits::default(),
            open: Arc::default(),
            tops: Tops::default(),
            scratch: std::env::temp_dir(),
            programs: Programs::built_in(),
            files: ShippedFiles::shared(&std::env::temp_dir()),
        }
    }
}

/// What came of an append.
#[derive(Debug)]
pub(crate) enum Appended {
    /// It is in the log.
    Yes,
    /// It is no longer valid.
    No(Invalid),
}

impl Archive {
    pub(crate) fn spec_path(job: JobId) -> String {
        format!("jobs/{job}/spec.json")
    }

    pub(crate) fn sources_path(job: JobId, page: u32) -> String {
        format!("jobs/{job}/sources/{page:06}")
    }

    pub(crate) fn file_path(job: JobId, file: &Shipped, page: u32) -> String {
        format!("jobs/{job}/files/{}/{page:03}", file.sha256)
    }

    fn seal_path(job: JobId) -> String {
        format!("jobs/{job}/seal.json")
    }

    pub(crate) fn input_path(job: JobId) -> String {
        format!("jobs/{job}/input.json")
    }

    fn end_path(job: JobId, version: u32) -> String {
        format!("jobs/{job}/end/{version:06}")
    }

    pub(crate) fn removed_path(job: JobId) -> String {
        format!("jobs/{job}/removed")
    }

    fn log_folder(job: JobId, partition: PartitionNumber) -> String {
        format!("jobs/{job}/ledger/{partition:04}")
    }

    pub(crate) fn runs_folder(job: JobId, partition: PartitionNumber) -> String {
        format!("jobs/{job}/runs/{partition:04}")
    }

    pub(crate) fn run_path(job: JobId, partition: PartitionNumber, run: Uuid) -> String {
        format!("{}/{run}", Self::runs_folder(job, partition))
    }

    /// The name of a part inside its job, as an end tells it.
    pub(crate) fn part_name(partition: PartitionNumber, part: Uuid) -> String {
        format!("runs/{partition:04}/{part}")
    }

    /// Reads a job; `None` if there is no such job, or not any more.
    pub(crate) fn job(&self, job: JobId) -> Result<Option<JobFile>, ArchiveError> {
        let Some(spec) = self.spec(job)? else { return Ok(None) };
        self.fetch_files(&spec)?;
        let program = spec.check(&self.programs).map_err(|source| ArchiveError::Spec { job, source })?;
        Ok(Some(JobFile { spec, program, given_up: AtomicBool::new(false) }))
    }

    /// What a job's spec says, whether or not it can be run here.
    pub(crate) fn spec(&self, job: JobId) -> Result<Option<Spec>, ArchiveError> {
        self.read(&Self::spec_path(job))
    }

    /// Sees to it that the files of a job are here, each held against its name.
    pub(crate) fn fetch_files(&self, spec: &Spec) -> Result<(), ArchiveError> {
        let job = spec.job;
        let failed = |reason: String| ArchiveError::File { job, reason };
        if spec.program.options.files().count() > MAX_FILES {
            return Err(failed(format!("it has more than {MAX_FILES} files")));
        }
        for file in spec.program.options.files().filter(|file| !self.files.has(file)) {
            if file.bytes > MAX_FILE_BYTES {
                let reason = format!("a file of {} bytes is too long: at most {MAX_FILE_BYTES} travel", file.bytes);
                return Err(failed(reason));
            }
            let mut bytes = Vec::new();
            for page in 0..file.pages() {
                let found = self.store.get(&Self::file_path(job, file, page))?;
                bytes.extend(found.ok_or_else(|| failed(format!("page {page} of {} is missing", file.sha256)))?);
            }
            if !file.is(&bytes) {
                return Err(failed(format!("what came is not {}, as its SHA-256 says", file.sha256)));
            }
            self.files.keep(&bytes).map_err(|error| failed(format!("it cannot be kept: {error}")))?;
        }
        Ok(())
    }

    pub(crate) fn is_removed(&self, job: JobId) -> Result<bool, ArchiveError> {
        Ok(self.store.get(&Self::removed_path(job))?.is_some() && !mistake::makes(Mistake::RemovedComesBack))
    }

    pub(crate) fn seal(&self, job: JobId) -> Result<Option<Seal>, ArchiveError> {
        self.read(&Self::seal_path(job))
    }

    /// Seals a job and tells what it is sealed with, which may be another's number.
    pub(crate) fn put_seal(&self, job: JobId, seal: Seal) -> Result<Seal, ArchiveError> {
        self.put(&Self::seal_path(job), &seal)?;
        let path = Self::seal_path(job);
        self.read(&path)?.ok_or_else(|| ArchiveError::Damaged { path, reason: "it is gone".to_owned() })
    }

    /// The newest end.
    pub(crate) fn end(&self, job: JobId) -> Result<Option<End>, ArchiveError> {
        let mut newest = None;
        for version in 1.. {
            match self.read(&Self::end_path(job, version))? {
                Some(end) => newest = Some(end),
                None => break,
            }
        }
        Ok(newest)
    }

    /// An end of that version.
    pub(crate) fn end_of_version(&self, job: JobId, version: u32) -> Result<Option<End>, ArchiveError> {
        self.read(&Self::end_path(job, version))
    }

    /// The step after a job, as long as that may have to read the job's result.
    pub(crate) fn reader(&self, spec: &Spec) -> Result<Option<JobId>, ArchiveError> {
        let Some(then) = spec.then else { return Ok(None) };
        let is_there = self.spec(then)?.is_some() && !self.is_removed(then)?;
        Ok((is_there && self.end(then)?.is_none()).then_some(then))
    }

    /// Puts an end at its version; `false` if that version is taken.
    pub(crate) fn put_end(&self, job: JobId, end: &End) -> Result<bool, ArchiveError> {
        self.put(&Self::end_path(job, end.version), end)
    }

    /// Forgets a job, but for the mark that it was.
    pub(crate) fn remove(&self, job: JobId) -> Result<(), ArchiveError> {
        self.put_bytes(&Self::removed_path(job), b"removed")?;
        crash_point::reached("aggregator.tombstone_put");
        for name in self.store.list(&format!("jobs/{job}"))? {
            if name != "removed" {
                self.store.remove(&format!("jobs/{job}/{name}"))?;
                crash_point::reached("aggregator.half_removed");
            }
        }
        Ok(())
    }

    /// The ids of all jobs, the newest first.
    pub(crate) fn jobs(&self) -> Result<Vec<JobId>, ArchiveError> {
        let mut jobs: Vec<JobId> = self.store.list("jobs")?.iter().filter_map(|name| name.parse().ok()).collect();
        jobs.sort_unstable_by(|left, right| right.cmp(left));
        Ok(jobs)
    }

    /// Jobs that have not ended, as far as is known here.
    pub(crate) fn open_jobs(&self) -> MutexGuard<'_, BTreeSet<JobId>> {
        self.open.lock().expect("nobody panics with it")
    }

    /// Looks at each of them again, as some may have ended since.
    pub(crate) fn recount_open(&self) -> Result<(), ArchiveError> {
        let known: Vec<JobId> = self.open_jobs().iter().copied().collect();
        for job in known {
            if self.is_removed(job)? || self.end(job)?.is_some() {
                self.open_jobs().remove(&job);
            }
        }
        Ok(())
    }

    /// Whether a ledger has an entry of that number.
    pub(crate) fn has_entry(&self, job: JobId, partition: PartitionNumber, number: u64) -> Result<bool, ArchiveError> {
        Ok(self.store.get(&entry_path(&Self::log_folder(job, partition), number))?.is_some())
    }

    /// Reads a ledger on to its end; `true` if there was anything new.
    pub(crate) fn refresh(
        &self,
        job: JobId,
        partition: PartitionNumber,
        ledger: &mut Ledger,
    ) -> Result<bool, ArchiveError> {
        let folder = Self::log_folder(job, partition);
        let mut records: Vec<Record> = Vec::new();
        // Mostly there is nothing new, or one entry; whoever begins has them all to read.
        let mut asked = if ledger.next() == Ledger::default().next() { MOST_ENTRIES } else { 1 };
        loop {
            let from = ledger.next() + records.len() as u64;
            let paths: Vec<String> = (from..from + asked).map(|number| entry_path(&folder, number)).collect();
            let found = self.store.get_while(&paths)?;
            for (path, bytes) in paths.iter().zip(&found) {
                records.push(parse(path, bytes)?);
            }
            if (found.len() as u64) < asked {
                break;
            }
            asked = (asked * 2).min(MOST_ENTRIES);
        }
        if records.is_empty() {
            return Ok(false);
        }
        self.store.settle(&folder)?;
        records.iter().for_each(|record| ledger.apply(&record.entry));
        Ok(true)
    }

    /// Appends an entry, if it is and stays valid.
    pub(crate) fn append(
        &self,
        job: JobId,
        partition: PartitionNumber,
        ledger: &mut Ledger,
        entry: Entry,
        chunks: Option<u32>,
    ) -> Result<Appended, ArchiveError> {
        let folder = Self::log_folder(job, partition);
        let record = Record { nonce: chance::id(), writer: self.writer.clone(), entry };
        let bytes = serde_json::to_vec(&record).expect("entries are plain data");
        let unjudged = match &record.entry {
            Entry::Commit(_) => mistake::makes(Mistake::CountTwice),
            Entry::Finish(_) => mistake::makes(Mistake::FinishOfThePast),
            Entry::Replace { .. } => mistake::makes(Mistake::ReplaceAfterLostRace),
            _ => false,
        };
        let append = Append::new(record, chunks);
        let mut event = Event::Begin;
        loop {
            event = match append.next(ledger, event) {
                Step::Appended => return Ok(Appended::Yes),
                Step::GaveUp(invalid) if !unjudged => return Ok(Appended::No(invalid)),
                Step::Put(_) | Step::GaveUp(_) => {
                    crash_point::reached("aggregator.entry_judged");
                    match self.store.put_new(&entry_path(&folder, ledger.next()), &bytes) {
                        Ok(Put::Created) => {
                            crash_point::reached("aggregator.entry_put");
                            Event::Created
                        }
                        Ok(Put::Exists) => Event::Exists,
                        Err(StoreError::Unknown { .. }) if mistake::makes(Mistake::UnknownIsDone) => Event::Created,
                        Err(StoreError::Unknown { .. }) => Event::Unknown,
                        Err(error) => return Err(error.into()),
                    }
                }
                Step::Read(number) => {
                    let found: Option<Record> = self.read(&entry_path(&folder, number))?;
                    if found.is_some() {
                        self.store.settle(&folder)?;
                    }
                    Event::Read(found.map(Box::new))
                }
            };
        }
    }

    /// Puts a small file; `false` if there was one. An unknown outcome is put again: the same bytes are the same file.
    pub(crate) fn put_bytes(&self, path: &str, bytes: &[u8]) -> Result<bool, ArchiveError> {
        for _ in 1..PUTS {
            match self.store.put_new(path, bytes) {
                Err(StoreError::Unknown { .. }) => {}
                put => return Ok(put? == Put::Created),
            }
            if let Some(found) = self.store.get(path)? {
                self.store.settle(path.rsplit_once('/').map_or("", |(folder, _)| folder))?;
                return Ok(found == bytes);
            }
        }
        Ok(self.store.put_new(path, bytes)? == Put::Created)
    }

    pub(crate) fn put<T: Serialize>(&self, path: &str, value: &T) -> Result<bool, ArchiveError> {
        self.put_bytes(path, &serde_json::to_vec(value).expect("files are plain data"))
    }

    pub(crate) fn read<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, ArchiveError> {
        let Some(bytes) = self.store.get(path)? else { return Ok(None) };
        parse(path, &bytes).map(Some)
    }
}

fn parse<T: DeserializeOwned>(path: &str, bytes: &[u8]) -> Result<T, ArchiveError> {
    let damaged = |error: serde_json::Error| ArchiveError::Damaged { path: path.to_owned(), reason: error.to_string() };
    serde_json::from_slice(bytes).map_err(damaged)
}

fn entry_path(folder: &str, number: u64) -> String {
    format!("{folder}/{number:010}")
}

/// Ranges, both ends in them, of ascending chunk numbers.
pub(crate) fn ranges(chunks: impl Iterator<Item = ChunkNumber>) -> Vec<(u32, u32)> {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for ChunkNumber(chunk) in chunks {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == chunk => *last = chunk,
            _ => ranges.push((chunk, chunk)),
        }
    }
    ranges
}
