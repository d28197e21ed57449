//! What one job may take of what all jobs share: room in the store, time, dead letters; and how many there may be. Pure.
//!
//! It knows no store and no flag. What would surprise: each aggregator judges by the partitions that it has seen lately, so several
//! of them may let a job have a little more before it fails; and a job whose result stands is never taken to task.

use crate::shard::Seen;
use rabbit_reduce_runtime::process::byte_size::ByteSize;
use std::time::Duration;

/// Beyond any of these a job fails; without one there is no bound but the store's room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that its pairs take in the store, in all partitions.
    pub bytes: Option<u64>,
    /// Its keys; of a program that groups, its pairs.
    pub keys: Option<u64>,
    /// From when it was made until it ends.
    pub time: Option<Duration>,
    /// Its dead letters.
    pub letters: Option<u64>,
    /// All jobs that have not ended, beyond which there are no new ones.
    pub jobs: Option<u64>,
}

impl Limits {
    /// Why a job whose partitions look like this has to fail.
    pub(crate) fn exceeded<'s>(&self, shards: impl Iterator<Item = &'s Seen>) -> Option<String> {
        let (bytes, keys) = shards.fold((0_u64, 0_u64), |(bytes, keys), seen| {
            (bytes.saturating_add(seen.kept_bytes), keys.saturating_add(seen.least_keys))
        });
        let beyond = |limit: Option<u64>, has: u64| limit.filter(|limit| has > *limit);
        if let Some(limit) = beyond(self.bytes, bytes) {
            return Some(refusal(
                &format!("its pairs take more than {} in the store", ByteSize(limit)),
                "--max-job-size",
            ));
        }
        beyond(self.keys, keys).map(|limit| refusal(&format!("it has more than {limit} keys"), "--max-job-keys"))
    }

    /// Why a job of this age that has not ended has to fail.
    pub(crate) fn too_old(&self, age: Duration) -> Option<String> {
        let limit = self.time.filter(|limit| age > *limit)?;
        let limit = humantime::format_duration(limit);
        Some(refusal(&format!("it has not ended within {limit}"), "--max-job-time"))
    }

    /// Why a job with so many dead letters gets no more of them.
    pub(crate) fn too_many_letters(&self, kept: u64) -> Option<String> {
        let limit = self.letters.filter(|limit| kept >= *limit)?;
        Some(refusal(&format!("it has more than {limit} dead letters"), "--max-job-letters"))
    }

    /// Why there is no new job where so many have not ended.
    pub(crate) fn too_many_jobs(&self, open: usize) -> Option<String> {
        let limit = self.jobs.filter(|limit| open as u64 >= *limit)?;
        Some(format!(
            "as many jobs have not ended as the aggregator lets there be, {limit} (--max-jobs): push it once one has"
        ))
    }
}

fn refusal(what: &str, flag: &str) -> String {
    format!("{what}, which is all that the aggregator lets one job have ({flag})")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    const SEEN: Seen = Seen { whole: 0, losses: 0, bytes: 0, finished: false, kept_bytes: 1024, least_keys: 6 };

    #[test]
    fn a_job_may_have_as_much_as_its_limit_says_and_no_more() {
        let limits = Limits { bytes: Some(2048), keys: Some(12), ..Limits::default() };
        assert_eq!(limits.exceeded([SEEN, SEEN].iter()), None);
        let bytes = Seen { kept_bytes: 1025, ..SEEN };
        assert!(limits.exceeded([SEEN, bytes].iter()).unwrap().contains("2KiB in the store, which"));
        let keys = Seen { least_keys: 7, ..SEEN };
        assert!(limits.exceeded([keys, SEEN].iter()).unwrap().contains("12 keys"));
    }

    #[test]
    fn without_limits_a_job_may_have_everything() {
        let everything = Seen { kept_bytes: u64::MAX, least_keys: u64::MAX, ..SEEN };
        let limits = Limits::default();
        assert_eq!(limits.exceeded([everything, everything].iter()), None);
        assert_eq!(limits.too_old(Duration::MAX), None);
        assert_eq!((limits.too_many_letters(u64::MAX), limits.too_many_jobs(usize::MAX)), (None, None));
    }

    #[test]
    fn there_may_be_as_many_jobs_as_the_limit_says() {
        let limits = Limits { jobs: Some(2), ..Limits::default() };
        assert_eq!(limits.too_many_jobs(1), None);
        assert!(limits.too_many_jobs(2).unwrap().contains("lets there be, 2 (--max-jobs)"));
    }

    #[test]
    fn a_job_may_last_and_fail_as_its_limits_say() {
        let limits = Limits { time: Some(Duration::from_secs(60)), letters: Some(3), ..Limits::default() };
        assert_eq!((limits.too_old(Duration::from_secs(60)), limits.too_many_letters(2)), (None, None));
        assert!(limits.too_old(Duration::from_secs(61)).unwrap().contains("within 1m,"));
        assert!(limits.too_many_letters(3).unwrap().contains("3 dead letters"));
    }
}
