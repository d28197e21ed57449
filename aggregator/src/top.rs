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
use rabbit_reduce_core::output::ranking::Ranking;
use rabbit_reduce_core::pairs::Cursor;
use rabbit_reduce_core::rows::{Cell, RowSink};
use rabbit_reduce_core::run::RunReader;
use rabbit_reduce_core::spec::ByteText;
use rabbit_reduce_runtime::process::clock;
use rabbit_reduce_runtime::scratch::ScratchFolder;
use std::collections::BTreeMap;
use std::io::{self, BufReader};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Keys in an answer.
const MOST: u32 = 1000;
/// What their bytes may be, unless it is one alone: the smaller counts are left out.
const MOST_BYTES: usize = 1 << 20;
/// What ranking holds in memory; more goes to scratch files.
const RANKING_BYTES: usize = 4 << 20;
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
    let scratch = ScratchFolder(archive.scratch.clone());
    let mut ranking = Ranking::new(limit as usize, RANKING_BYTES, &scratch);
    let (mut counted, mut whole) = (u32::MAX, true);
    for partition in (0..file.spec.partitions).map(PartitionNumber) {
        let mut ledger = Ledger::default();
        for attempt in 1.. {
            archive.refresh(job, partition, &mut ledger)?;
            match rank(&mut ranking, archive, file, partition, &ledger)? {
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
    let mut rows = Rows::default();
    // Programs that are ranked name no source.
    let print = |mut ranked| file.program.rows(&[], &mut ranked, &mut rows);
    ranking.finish().and_then(print).map_err(|error| damaged(file, &error))?;
    Ok(Top { rows: rows.rows, counted, chunks, whole })
}

fn damaged(file: &JobFile, error: &io::Error) -> ArchiveError {
    ArchiveError::Damaged { path: format!("jobs/{}", file.spec.job), reason: error.to_string() }
}

/// Has what a partition counts so far ranked; `false`, with nothing taken, if a run is gone meanwhile.
fn rank(
    ranking: &mut Ranking<'_>,
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
    let merge = || {
        let mut pairs = Merge::new(cursors, file.program.combiner())?;
        while pairs.advance()? {
            let count = u64::decode(pairs.value()).map_err(|error| io::Error::other(error.to_string()))?;
            ranking.put(count, pairs.key())?;
        }
        Ok(())
    };
    merge().map_err(|error: io::Error| damaged(file, &error))?;
    Ok(true)
}

/// Rows of an answer, as far as they fit in it.
#[derive(Default)]
struct Rows {
    rows: Vec<(ByteText, u64)>,
    bytes: usize,
}

impl RowSink for Rows {
    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()> {
        if let [Cell::Bytes(key), Cell::Number(count)] = cells {
            self.bytes += key.len();
            if self.rows.is_empty() || self.bytes <= MOST_BYTES {
                self.rows.push((ByteText(key.to_vec()), *count));
            }
        }
        Ok(())
    }
}
