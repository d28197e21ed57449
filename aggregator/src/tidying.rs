//! Files of ended jobs that no entry names: runs of who died before the entry, or came too late for it. They are given up, then
//! deleted; what has not ended is tidied up by whoever finishes it.
//!
//! Blocks. What would surprise: an ended job is looked at ever more rarely, since somebody may still come who slept for long, and
//! a look costs questions to the store.

use crate::archive::{Archive, ArchiveError, JobFile};
use crate::tend::{Tend, Trouble};
use rabbit_reduce_core::id::{JobId, PartitionNumber};
use rabbit_reduce_core::ledger::Ledger;
use rabbit_reduce_core::ledger::delta::Delta;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Partitions that one sweep looks at; the others wait for the next, so that a sweep of a store with many jobs has an end.
const MOST_PARTITIONS: u32 = 256;

/// How often each ended job was due, and the version of its end then.
#[derive(Debug, Default)]
pub(crate) struct Tidying {
    seen: BTreeMap<JobId, (u32, u32)>,
}

impl Tidying {
    /// One sweep, the newest jobs first. What fails is tried again by the next.
    pub(crate) fn sweep(&mut self, archive: &Archive) {
        let jobs = match archive.jobs() {
            Ok(jobs) => jobs,
            Err(error) => return tracing::error!(%error, "the store cannot be looked through"),
        };
        self.seen.retain(|job, _| jobs.contains(job));
        let mut left = MOST_PARTITIONS;
        for job in jobs {
            if let Err(error) = self.look_at(archive, job, &mut left) {
                tracing::warn!(%job, %error, "an ended job cannot be tidied up");
            }
            if left == 0 {
                return;
            }
        }
    }

    fn look_at(&mut self, archive: &Archive, job: JobId, left: &mut u32) -> Result<(), ArchiveError> {
        if archive.is_removed(job)? {
            return Ok(());
        }
        let Some(end) = archive.end(job)? else { return Ok(()) };
        let (version, sweeps) =
            self.seen.get(&job).copied().filter(|(version, _)| *version == end.version).unwrap_or((end.version, 0));
        let sweeps = sweeps + 1;
        if sweeps.is_power_of_two() {
            let Some(file) = archive.job(job)? else { return Ok(()) };
            *left = left.saturating_sub(file.spec.partitions);
            tidy_up(archive, file)?;
        }
        self.seen.insert(job, (version, sweeps));
        Ok(())
    }
}

fn tidy_up(archive: &Archive, file: JobFile) -> Result<(), ArchiveError> {
    let job = Arc::new(file);
    for partition in (0..job.spec.partitions).map(PartitionNumber) {
        // A ledger is read only where there is something to compare it with.
        if archive.store.list(&Archive::runs_folder(job.spec.job, partition))?.is_empty() {
            continue;
        }
        let (archive, job) = (archive.clone(), Arc::clone(&job));
        let (ledger, delta, losses) = (Ledger::default(), Delta::<()>::default(), Vec::new());
        match (Tend { archive, job, partition, chunks: None, ledger, delta, losses }).tidy_up() {
            Ok(()) => {}
            Err(Trouble::Archive(error)) => return Err(error),
            Err(trouble) => unreachable!("tidying up commits nothing: {trouble:?}"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
