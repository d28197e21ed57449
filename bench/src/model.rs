//! What a job costs, on paper: messages, bytes through the broker, entries and bytes of the store.
//!
//! Pure. It knows how the roles work and not how fast they are; that is measured. What would surprise: it tells numbers as
//! fractions, since it is right to some per cent only.

use serde::Serialize;

/// A segment of pairs is cut at so many bytes.
const SEGMENT_BYTES: f64 = (1 << 20) as f64;
/// A delta of so many bytes is committed.
const COMMIT_BYTES: f64 = (64 << 20) as f64;
/// A delta so old is committed, in seconds.
const COMMIT_AGE_S: f64 = 20.0;
/// Runs of a partition beyond which some are merged.
const MAX_RUNS: f64 = 64.0;
/// So many.
const MERGED_RUNS: f64 = 48.0;
/// What a message holds besides its body.
const HEADER_BYTES: f64 = 400.0;

/// A job, and those who run it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job {
    pub(crate) input_bytes: f64,
    pub(crate) chunk_bytes: f64,
    pub(crate) by_value: bool,
    pub(crate) partitions: f64,
    /// A chunk's pairs, combined and encoded, of all partitions together.
    pub(crate) pair_bytes: f64,
    /// What the result holds, encoded.
    pub(crate) result_bytes: f64,
    /// Deliveries that an aggregator takes from a queue before it commits.
    pub(crate) window: f64,
    /// How long it takes.
    pub(crate) seconds: f64,
}

/// What it costs.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Costs {
    pub(crate) tasks: f64,
    pub(crate) partials: f64,
    /// Bytes that the broker takes in, and gives out again.
    pub(crate) broker_bytes: f64,
    /// Of these, pairs.
    pub(crate) pair_bytes: f64,
    /// Of all partitions.
    pub(crate) commits: f64,
    pub(crate) merges: f64,
    pub(crate) entries: f64,
    /// What aggregators write: runs, merges of them, parts.
    pub(crate) written_bytes: f64,
}

impl Job {
    pub(crate) fn costs(&self) -> Costs {
        let tasks = (self.input_bytes / self.chunk_bytes).ceil();
        let segments = (self.pair_bytes / self.partitions / SEGMENT_BYTES).ceil().max(1.0);
        let partials = tasks * self.partitions * segments;
        let pair_bytes = tasks * self.pair_bytes;
        let task_bytes = if self.by_value { self.input_bytes } else { 0.0 };
        // The result goes through it on its way to who asks.
        let broker_bytes = task_bytes + pair_bytes + self.result_bytes + HEADER_BYTES * (tasks + partials);

        // Of one partition.
        let pairs = pair_bytes / self.partitions;
        let result = self.result_bytes / self.partitions;
        let by_held = partials / self.partitions / self.window;
        let commits = (pairs / COMMIT_BYTES).max(by_held).max(self.seconds / COMMIT_AGE_S).ceil().max(1.0);
        // A run holds every key once, so that it cannot outgrow the result.
        let run = (pairs / commits).min(result);
        let merges = ((commits - MAX_RUNS) / (MERGED_RUNS - 1.0)).ceil().max(0.0);
        // The smallest are merged, so that each pair is merged once more whenever merged runs alone are too many.
        let alone = (MAX_RUNS - MERGED_RUNS + 1.0) * MERGED_RUNS;
        let generations = 1.0 + ((commits / alone).ln() / MERGED_RUNS.ln()).ceil().max(0.0);
        let merged = merges * (MERGED_RUNS * run).min(result) * generations;
        let part = if commits > 1.0 { result } else { 0.0 };
        Costs {
            tasks,
            partials,
            broker_bytes,
            pair_bytes,
            commits: commits * self.partitions,
            merges: merges * self.partitions,
            entries: (commits + merges + 1.0) * self.partitions,
            written_bytes: (commits * run + merged + part) * self.partitions,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: Job = Job {
        input_bytes: 1e12,
        chunk_bytes: 1e7,
        by_value: false,
        partitions: 8.0,
        pair_bytes: 8e5,
        result_bytes: 8e5,
        window: 100.0,
        seconds: 1.0,
    };

    #[test]
    fn a_chunk_is_a_task_and_a_partial_of_each_partition() {
        let costs = JOB.costs();
        assert_eq!((costs.tasks, costs.partials), (1e5, 8e5));
        // A partition's pairs of 16 MB are sixteen segments.
        let many = Job { pair_bytes: 8.0 * 16.5e6, ..JOB }.costs();
        assert_eq!(many.partials, 8e5 * 16.0);
    }

    #[test]
    fn by_value_the_input_goes_through_the_broker() {
        let more = Job { by_value: true, ..JOB }.costs().broker_bytes - JOB.costs().broker_bytes;
        assert_eq!(more, 1e12);
    }

    #[test]
    fn commits_follow_what_is_held_or_the_bytes_or_the_time() {
        assert_eq!(JOB.costs().commits, 8.0 * 1000.0);
        assert_eq!(Job { window: 1e6, ..JOB }.costs().commits, 8.0 * (1e10_f64 / COMMIT_BYTES).ceil());
        assert_eq!(Job { window: 1e6, seconds: 4e4, ..JOB }.costs().commits, 8.0 * 2000.0);
    }

    #[test]
    fn runs_of_the_same_keys_stay_small() {
        let costs = JOB.costs();
        // Of each partition a thousand commits and twenty merges of 100 kB, and two generations of these.
        assert!(costs.written_bytes <= 8.0 * 1e5 * (1000.0 + 2.0 * 20.0 + 1.0));
        let distinct = Job { result_bytes: 8e10, ..JOB }.costs();
        assert!(distinct.written_bytes > 2.0 * distinct.pair_bytes);
    }
}
