//! What becomes of a task that was not mapped: tried again after a while, or a loss. A pure decision.

use rabbit_reduce_core::message::{Failure, Task};
use rabbit_reduce_core::skip::short_reason;
use rabbit_reduce_core::spec::PROGRAM_VERSION;

/// Attempts after which a failure that may pass is taken for one that does not.
pub(crate) const ATTEMPTS: u32 = 5;
/// Returns of a task after which it is suspected of killing its workers.
pub(crate) const SUSPICIOUS_RETURNS: u32 = 3;
/// Suspicions after which a task is a loss.
pub(crate) const CRASHES: u32 = 3;

/// The fate.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// To `retry`, as this task.
    Retry(Box<Task>),
    /// To `dead`, with this record.
    Dead(Failure),
}

/// Decides, after an attempt at `task` failed for `reason`.
pub(crate) fn decide(task: Task, reason: &str, may_pass: bool, worker: &str, now_ms: u64) -> Fate {
    if may_pass && task.attempt < ATTEMPTS {
        // The n-th pause is n rounds through `retry`; the task counts them itself, so nobody needs a clock.
        let rounds = task.attempt.saturating_sub(1);
        return Fate::Retry(Box::new(Task { attempt: task.attempt + 1, rounds, ..task }));
    }
    Fate::Dead(failure(&task, reason, worker, now_ms))
}

/// The record of a task that failed for good.
pub(crate) fn failure(task: &Task, reason: &str, worker: &str, now_ms: u64) -> Failure {
    Failure {
        job: task.job,
        chunk: task.chunk,
        reason: short_reason(reason.to_owned()),
        attempts: task.attempt,
        worker: worker.to_owned(),
        version: PROGRAM_VERSION,
        time_ms: now_ms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rabbit_reduce_core::id::{ChunkNumber, JobId};
    use rabbit_reduce_core::jobs::Options;
    use rabbit_reduce_core::spec::ProgramSpec;

    fn task() -> Task {
        let options = Options::default();
        Task {
            job: JobId(uuid::Uuid::nil()),
            chunk: ChunkNumber(7),
            attempt: 1,
            crashes: 0,
            rounds: 0,
            program: ProgramSpec { name: "word-count".into(), version: PROGRAM_VERSION, options, sha256: None },
            partitions: 1,
            reduce_queues: 8,
            segment_bytes: 1,
            output_bytes: 1,
            store: String::new(),
            pieces: vec![],
            too_long: vec![],
            skips: vec![],
        }
    }

    #[test]
    fn what_may_pass_is_tried_five_times_with_growing_pauses() {
        let (mut task, mut rounds) = (task(), Vec::new());
        let dead = loop {
            match decide(task, "gone", true, "w", 5) {
                Fate::Retry(next) => {
                    rounds.push(next.rounds);
                    task = *next;
                }
                Fate::Dead(failure) => break failure,
            }
        };
        assert_eq!(rounds, [0, 1, 2, 3]);
        assert_eq!((dead.attempts, dead.chunk, dead.reason.as_str()), (ATTEMPTS, ChunkNumber(7), "gone"));
    }

    #[test]
    fn what_does_not_pass_is_a_loss_at_once() {
        assert!(matches!(decide(task(), "no", false, "w", 5), Fate::Dead(Failure { attempts: 1, .. })));
    }
}
