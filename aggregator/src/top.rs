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
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Keys in an answer.
const MOST: u32 = 1000;
/// What their bytes may be in it: longer ones leave the rest out.
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
pub(crate) struct Tops(Arc<Mutex<BTreeMap<JobId, Found>>>);

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
    let began = clock::instant();
    if let Some(found) = archive.tops.0.lock().expect("nobody panics with it").get(&job)
        && found.limit == limit
        && began < found.until
    {
        return Ok(Answer::Top(found.top.clone()));
    }
    let top = find(archive, &file, limit)?;
    let now = clock::instant();
    let until = now + (now.saturating_duration_since(began) * AGE_PER_COST).max(LEAST_AGE);
    let mut kept = archive.tops.0.lock().expect("nobody panics with it");
    kept.insert(job, Found { top: top.clone(), limit, until });
    if kept.len() > KEPT {
        kept.pop_first();
    }
    Ok(Answer::Top(top))
}

fn find(archive: &Archive, file: &JobFile, limit: u32) -> Result<Top, ArchiveError> {
    let job = file.spec.job;
    let mut largest = Largest { limit: limit as usize, heap: BinaryHeap::new() };
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
            self.heap.push((Reverse(count), pairs.key().to_vec()));
            if full {
                self.heap.pop();
            }
        }
        Ok(())
    }

    /// As the program prints them.
    fn rows(self, file: &JobFile) -> io::Result<Vec<(ByteText, u64)>> {
        let pairs = self.heap.into_sorted_vec().into_iter();
        let mut pairs = Pairs { left: pairs, key: Vec::new(), value: Vec::new() };
        let mut rows = Rows { rows: Vec::new(), bytes: 0 };
        // Programs that are ranked name no source.
        file.program.rows(&[], &mut pairs, &mut rows)?;
        Ok(rows.rows)
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

struct Rows {
    rows: Vec<(ByteText, u64)>,
    bytes: usize,
}

impl RowSink for Rows {
    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()> {
        if let [Cell::Bytes(key), Cell::Number(count)] = cells {
            self.bytes += key.len() + 30;
            if self.bytes <= MOST_BYTES {
                self.rows.push((ByteText(key.to_vec()), *count));
            }
        }
        Ok(())
    }
}
