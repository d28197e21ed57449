//! The largest keys of a job, of what is counted so far: its runs merged and ranked, whether it has ended or not.
//!
//! Blocks; decides nothing. What would surprise: reading every run costs what a reduce costs, so an answer is given again for a while,
//! the longer the more it cost.

use crate::archive::{Archive, ArchiveError, JobFile};
use rabbit_reduce_core::id::{JobId, PartitionNumber};
use rabbit_reduce_core::job::Value;
use rabbit_reduce_core::ledger::Ledger;
use rabbit_reduce_core::merge::Merge;
use rabbit_reduce_core::message::{Answer, Top};
use rabbit_reduce_core::pairs::Cursor;
use rabbit_reduce_core::rows::{Cell, RowSink};
use rabbit_reduce_core::run::RunReader;
use rabbit_reduce_core::spec::ByteText;
use rabbit_reduce_runtime::process::clock;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io::{self, BufReader};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Keys in an answer.
const MOST: u32 = 1000;
/// What their bytes may be, unless it is one alone: the smallest counts make room.
const MOST_BYTES: usize = 1 << 20;
/// An answer stands for so long at least.
const LEAST_AGE: Duration = Duration::from_secs(2);
/// And so many times as long as it took to find.
const AGE_PER_COST: u32 = 10;
/// Jobs whose answers are kept.
const KEPT: usize = 16;
/// Times that a merge is begun anew, when a run that it wants was merged with others meanwhile.
const ATTEMPTS: usize = 5;

/// Answers of a while ago; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tops {
    found: Arc<Mutex<BTreeMap<JobId, Found>>>,
    /// Held by whoever looks: one at a time, as each look reads all of a job.
    looking: Arc<Mutex<()>>,
}

impl Tops {
    fn found(&self) -> MutexGuard<'_, BTreeMap<JobId, Found>> {
        self.found.lock().expect("nobody panics with it")
    }
}

#[derive(Clone, Debug)]
struct Found {
    top: Top,
    limit: u32,
    until: Instant,
}

/// See the module.
pub(crate) fn top(archive: &Archive, job: JobId, limit: u32) -> Result<Answer, ArchiveError> {
    if archive.is_removed(job)? {
        return Ok(Answer::Unknown);
    }
    let Some(file) = archive.job(job)? else { return Ok(Answer::Unknown) };
    if !file.program.ranked() {
        let reason = format!("the rows of {} have no count to be ranked by", file.program.name());
        return Ok(Answer::Refused(reason));
    }
    let limit = limit.min(MOST);
    let before = archive.tops.found().get(&job).filter(|found| found.limit == limit).cloned();
    if let Some(found) = &before
        && clock::instant() < found.until
    {
        return Ok(Answer::Top(found.top.clone()));
    }
    let Ok(_looking) = archive.tops.looking.try_lock() else {
        let later = || Answer::Later("the largest keys of a job are being looked for".to_owned());
        return Ok(before.map_or_else(later, |found| Answer::Top(found.top)));
    };
    let began = clock::instant();
    let top = find(archive, &file, limit)?;
    let now = clock::instant();
    let until = now + (now.saturating_duration_since(began) * AGE_PER_COST).max(LEAST_AGE);
    let mut found = archive.tops.found();
    found.insert(job, Found { top: top.clone(), limit, until });
    if found.len() > KEPT
        && let Some(oldest) = found.iter().min_by_key(|(_, found)| found.until).map(|(job, _)| *job)
    {
        found.remove(&oldest);
    }
    Ok(Answer::Top(top))
}

fn find(archive: &Archive, file: &JobFile, limit: u32) -> Result<Top, ArchiveError> {
    let job = file.spec.job;
    let mut largest = Largest { limit: limit as usize, heap: BinaryHeap::new(), bytes: 0 };
    let (mut counted, mut whole) = (u32::MAX, true);
    for partition in (0..file.spec.partitions).map(PartitionNumber) {
        let mut ledger = Ledger::default();
        for attempt in 1.. {
            archive.refresh(job, partition, &mut ledger)?;
            match largest.take(archive, file, partition, &ledger)? {
                true => break,
                false if attempt == ATTEMPTS => {
                    let path = Archive::runs_folder(job, partition);
                    let reason = "runs that the ledger names are missing".to_owned();
                    return Err(ArchiveError::Damaged { path, reason });
                }
                false => {}
            }
        }
        counted = counted.min(ledger.whole());
        whole &= ledger.finished().is_some();
    }
    let chunks = archive.seal(job)?.map(|seal| seal.chunks);
    let rows = largest.rows(file).map_err(|error| damaged(file, &error))?;
    Ok(Top { rows, counted, chunks, whole })
}

fn damaged(file: &JobFile, error: &io::Error) -> ArchiveError {
    ArchiveError::Damaged { path: format!("jobs/{}", file.spec.job), reason: error.to_string() }
}

/// The largest pairs seen; of equal counts those with the smaller keys.
struct Largest {
    limit: usize,
    /// The one that would be dropped next is on top.
    heap: BinaryHeap<(Reverse<u64>, Vec<u8>)>,
    /// Of all keys in it.
    bytes: usize,
}

impl Largest {
    /// Takes in what a partition counts so far; `false`, with nothing taken, if a run is gone meanwhile.
    fn take(
        &mut self,
        archive: &Archive,
        file: &JobFile,
        partition: PartitionNumber,
        ledger: &Ledger,
    ) -> Result<bool, ArchiveError> {
        let part = ledger.finished().map(|finish| finish.part);
        let runs: Vec<_> = part.map_or_else(|| ledger.runs().keys().copied().collect(), |part| vec![part]);
        let mut cursors = Vec::with_capacity(runs.len());
        for run in runs {
            let path = Archive::run_path(file.spec.job, partition, run);
            let Some(opened) = archive.store.open(&path, 0)? else { return Ok(false) };
            cursors.push(RunReader::new(BufReader::with_capacity(64 << 10, opened)));
        }
        self.merge(file, cursors).map_err(|error| damaged(file, &error))?;
        Ok(true)
    }

    fn merge<C: Cursor>(&mut self, file: &JobFile, cursors: Vec<C>) -> io::Result<()> {
        let mut pairs = Merge::new(cursors, file.program.combiner())?;
        while pairs.advance()? {
            let count = u64::decode(pairs.value()).map_err(|error| io::Error::other(error.to_string()))?;
            let full = self.heap.len() >= self.limit;
            let comes_after = |(least, last): &(Reverse<u64>, Vec<u8>)| (Reverse(count), pairs.key()) > (*least, last);
            if full && self.heap.peek().is_none_or(comes_after) {
                continue;
            }
            self.bytes += pairs.key().len();
            self.heap.push((Reverse(count), pairs.key().to_vec()));
            while self.heap.len() > self.limit || (self.bytes > MOST_BYTES && self.heap.len() > 1) {
                let dropped = self.heap.pop().map_or(0, |(_, key)| key.len());
                self.bytes -= dropped;
            }
        }
        Ok(())
    }

    /// As the program prints them.
    fn rows(self, file: &JobFile) -> io::Result<Vec<(ByteText, u64)>> {
        let pairs = self.heap.into_sorted_vec().into_iter();
        let mut pairs = Pairs { left: pairs, key: Vec::new(), value: Vec::new() };
        let mut rows = Rows(Vec::new());
        // Programs that are ranked name no source.
        file.program.rows(&[], &mut pairs, &mut rows)?;
        Ok(rows.0)
    }
}

struct Pairs {
    left: std::vec::IntoIter<(Reverse<u64>, Vec<u8>)>,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl Cursor for Pairs {
    fn advance(&mut self) -> io::Result<bool> {
        let Some((Reverse(count), key)) = self.left.next() else { return Ok(false) };
        self.value.clear();
        count.encode(&mut self.value);
        self.key = key;
        Ok(true)
    }

    fn key(&self) -> &[u8] {
        &self.key
    }

    fn value(&self) -> &[u8] {
        &self.value
    }
}

struct Rows(Vec<(ByteText, u64)>);

impl RowSink for Rows {
    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()> {
        if let [Cell::Bytes(key), Cell::Number(count)] = cells {
            self.0.push((ByteText(key.to_vec()), *count));
        }
        Ok(())
    }
}
