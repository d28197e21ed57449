//! What becomes of a task that was not mapped: tried again after a while, tried apart from all others, or a loss. A pure
//! decision.

use rabbit_reduce_core::message::{Attempt, Failure, Task};
use rabbit_reduce_core::skip::{AGREED_SKIPS, Place, short_reason};
use rabbit_reduce_core::spec::PROGRAM_VERSION;

/// Attempts after which a failure that may pass is taken for one that does not.
pub(crate) const ATTEMPTS: u32 = 5;
/// Returns of a task after which it is suspected of killing its workers.
pub(crate) const SUSPICIOUS_RETURNS: u32 = 3;
/// Deaths of who had it alone, after which a task is a loss.
pub(crate) const CRASHES: u32 = 3;

/// The fate.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// To `retry`, as this task.
    Retry(Box<Task>),
    /// To `suspect`, as this task.
    Suspect(Box<Task>),
    /// To `dead`, with this record.
    Dead(Failure),
}

/// Decides, after an attempt at `task` failed.
pub(crate) fn failed(mut task: Task, attempt: Attempt, may_pass: bool) -> Fate {
    if !may_pass || task.attempt >= ATTEMPTS {
        return Fate::Dead(failure(&task, attempt));
    }
    // The n-th pause is n rounds through `retry`; the task counts them itself, so nobody needs a clock.
    task.rounds = task.attempt.saturating_sub(1);
    task.attempt += 1;
    task.note(attempt);
    Fate::Retry(Box::new(task))
}

/// Decides, after a task failed on one of its records for good: everything else may still be mapped, if there are not too many such
/// records.
pub(crate) fn failed_on(task: &Task, attempt: Attempt, place: Place) -> Fate {
    let record = Some(place).filter(|_| task.record.is_none() && task.skips.len() < AGREED_SKIPS);
    Fate::Dead(Failure { record, ..failure(task, attempt) })
}

/// Decides, after a task came back too often from the broker. Whose fault that is nobody knows yet.
pub(crate) fn returned(mut task: Task, attempt: Attempt) -> Fate {
    task.note(attempt);
    Fate::Suspect(Box::new(task))
}

/// Decides, after who had the task alone died of it, at this record if anybody knows.
pub(crate) fn crashed(mut task: Task, attempt: Attempt, place: Option<Place>) -> Fate {
    let same = task.crashes == 0 || task.died_at == place;
    task.died_at = if same { place } else { None };
    task.crashes += 1;
    if task.crashes >= CRASHES {
        let reason = short_reason(format!("{} processes died with it, alone: {}", task.crashes, attempt.reason));
        let attempt = Attempt { reason, ..attempt };
        return match task.died_at {
            Some(place) => failed_on(&task, attempt, place),
            None => Fate::Dead(failure(&task, attempt)),
        };
    }
    task.note(attempt);
    Fate::Suspect(Box::new(task))
}

/// The record of a task that failed for good.
pub(crate) fn failure(task: &Task, attempt: Attempt) -> Failure {
    Failure {
        job: task.job,
        chunk: task.chunk,
        reason: short_reason(attempt.reason),
        attempts: task.attempt.saturating_add(task.crashes.saturating_sub(1)),
        retry: task.retry,
        record: None,
        retried: task.record,
        worker: attempt.worker,
        version: PROGRAM_VERSION,
        time_ms: attempt.time_ms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rabbit_reduce_core::id::{ChunkNumber, JobId, SourceNumber};
    use rabbit_reduce_core::jobs::Options;
    use rabbit_reduce_core::spec::ProgramSpec;

    fn task() -> Task {
        let options = Options::default();
        Task {
            job: JobId(uuid::Uuid::nil()),
            chunk: ChunkNumber(7),
            attempt: 1,
            crashes: 0,
            died_at: None,
            record: None,
            strikes: 0,
            retry: 2,
            rounds: 0,
            program: ProgramSpec { name: "word-count".into(), version: PROGRAM_VERSION, options },
            partitions: 1,
            reduce_queues: 8,
            segment_bytes: 1,
            output_bytes: 1,
            store: String::new(),
            pieces: vec![],
            too_long: vec![],
            skips: vec![],
            history: vec![],
        }
    }

    fn attempt(reason: &str) -> Attempt {
        Attempt { worker: "w".into(), reason: reason.into(), time_ms: 5 }
    }

    #[test]
    fn what_may_pass_is_tried_five_times_with_growing_pauses() {
        let (mut task, mut rounds) = (task(), Vec::new());
        let dead = loop {
            match failed(task, attempt("gone"), true) {
                Fate::Retry(next) => {
                    rounds.push(next.rounds);
                    task = *next;
                    assert_eq!(task.history.len(), rounds.len());
                }
                Fate::Dead(failure) => break failure,
                Fate::Suspect(_) => panic!("nobody died"),
            }
        };
        assert_eq!(rounds, [0, 1, 2, 3]);
        assert_eq!(
            (dead.attempts, dead.chunk, dead.retry, dead.reason.as_str()),
            (ATTEMPTS, ChunkNumber(7), 2, "gone")
        );
    }

    #[test]
    fn what_does_not_pass_is_a_loss_at_once() {
        assert!(matches!(failed(task(), attempt("no"), false), Fate::Dead(Failure { attempts: 1, .. })));
    }

    #[test]
    fn what_only_came_back_is_tried_apart_and_never_lost_for_that() {
        let mut task = task();
        for _ in 0..100 {
            let Fate::Suspect(next) = returned(task, attempt("back")) else { panic!("nobody died") };
            task = *next;
        }
        assert_eq!((task.crashes, task.history.len()), (0, rabbit_reduce_core::message::MAX_HISTORY));
    }

    #[test]
    fn what_kills_three_processes_alone_is_a_loss() {
        let failure = killed([None, None, None]);
        assert_eq!((failure.attempts, failure.reason.as_str()), (3, "3 processes died with it, alone: signal 9"));
        assert_eq!(failure.record, None);
    }

    fn killed(places: [Option<Place>; 3]) -> Failure {
        let Fate::Suspect(task) = crashed(task(), attempt("signal 9"), places[0]) else { panic!("once is no proof") };
        let Fate::Suspect(task) = crashed(*task, attempt("signal 9"), places[1]) else { panic!("nor is twice") };
        let Fate::Dead(failure) = crashed(*task, attempt("signal 9"), places[2]) else {
            panic!("three times is enough")
        };
        failure
    }

    #[test]
    fn a_record_that_three_processes_died_of_is_named() {
        let (here, there) = ((0, 7), (1, 7));
        let place = |(source, offset)| Some(Place { source: SourceNumber(source), offset });
        assert_eq!(killed([here, here, here].map(place)).record, place(here));
        for places in [[here, there, there], [here, there, here], [here, here, there]] {
            assert_eq!(killed(places.map(place)).record, None, "{places:?}");
        }
        assert_eq!(killed([None, place(here), place(here)]).record, None);
    }

    #[test]
    fn a_reason_of_any_length_fits_a_message() {
        let record = failure(&task(), attempt(&"x".repeat(8 << 20)));
        assert!(record.reason.len() < 2000 && record.check().is_ok());
    }
}
