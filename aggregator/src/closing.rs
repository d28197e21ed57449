//! Ends put into the archive: at most one of each version, and none over a ledger that has moved on. Blocks.

use crate::archive::{Archive, ArchiveError};
use crate::ending;
use rabbit_reduce_core::id::{JobId, PartitionNumber};
use rabbit_reduce_core::ledger::{Finish, Ledger};
use rabbit_reduce_core::message::{End, Outcome};
use rabbit_reduce_runtime::crash_point;
use rabbit_reduce_runtime::process::clock;

impl Archive {
    /// Ends a job without a result, unless it has ended; the end that stands.
    pub(crate) fn end_without_result(&self, job: JobId, outcome: Outcome) -> Result<End, ArchiveError> {
        loop {
            if let Some(end) = self.end(job)? {
                return Ok(end);
            }
            let partitions = self.job(job)?.map_or(0, |file| file.spec.partitions);
            let ledgers = self.ledgers(job, partitions)?;
            let losses = ending::losses(&ledgers.iter().collect::<Vec<_>>());
            let end = ending::without_result(outcome.clone(), 1, losses, clock::now_ms());
            crash_point::reached("aggregator.ending_without_result");
            if self.put_end(job, &end)? {
                crash_point::reached("aggregator.ended_without_result");
                return Ok(end);
            }
        }
    }

    /// Whether there may be something left to do for a job: it has not ended, or something was decided since. (That files were
    /// given up since decides nothing.)
    pub(crate) fn goes_on(&self, job: JobId) -> Result<bool, ArchiveError> {
        let Some(end) = self.end(job)? else { return Ok(true) };
        if end.losses.is_empty() {
            return Ok(false);
        }
        for (number, part) in (0..).zip(&end.parts) {
            let partition = PartitionNumber(number);
            if !self.has_entry(job, partition, part.at + 1)? {
                continue;
            }
            let mut ledger = Ledger::default();
            self.refresh(job, partition, &mut ledger)?;
            let told = |finish: &Finish| Self::part_name(partition, finish.part) == part.name;
            if !ledger.finished().is_some_and(told) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Puts an end, unless it is taken or a ledger has moved on; the end that stands, if one does.
    pub(crate) fn end_finished(&self, job: JobId, mut end: End, unless: &[u64]) -> Result<Option<End>, ArchiveError> {
        for (number, next) in (0..).zip(unless) {
            if self.has_entry(job, PartitionNumber(number), *next)? {
                return self.end(job);
            }
        }
        end.time_ms = clock::now_ms();
        crash_point::reached("aggregator.ending");
        self.put_end(job, &end)?;
        crash_point::reached("aggregator.ended");
        self.end(job)
    }
}
