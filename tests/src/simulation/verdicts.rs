//! Who declared which chunk or record dead, as the world saw it: a loss that nobody's verdict stands behind is none.
//!
//! What would surprise: that the broker gave up on a message is a verdict only when the message says that it happened again and
//! again.

use bytes::Bytes;
use rabbit_reduce_core::id::{JobId, Origin};
use rabbit_reduce_core::message::{self, Failure, Partial, Task};
use std::collections::{BTreeMap, BTreeSet};

/// Suspicions, or times that the broker gave up, after which a chunk, or a record sent again, may be lost.
const ENOUGH: u32 = 3;

/// The verdicts, and the tasks that they may be about.
#[derive(Debug, Default)]
pub struct Verdicts {
    given: BTreeSet<(JobId, Origin)>,
    tasks: BTreeMap<(JobId, Origin), Bytes>,
}

impl Verdicts {
    /// Somebody sends a task.
    pub fn sent(&mut self, task: &Task, raw: &Bytes) {
        self.tasks.insert((task.job, of_task(task)), raw.clone());
    }

    /// The task of a chunk or record, as it was sent last.
    #[must_use]
    pub fn task(&self, job: JobId, origin: Origin) -> Option<Bytes> {
        self.tasks.get(&(job, origin)).cloned()
    }

    /// Somebody publishes a message.
    pub fn published(&mut self, body: &Bytes) {
        if let Ok((failure, _)) = message::decode::<Failure>(body) {
            self.given.insert((failure.job, Origin { chunk: failure.chunk, record: failure.retried }));
        }
        if let Ok((task, _)) = message::decode::<Task>(body)
            && task.crashes.max(task.strikes) >= ENOUGH
        {
            self.given.insert((task.job, of_task(&task)));
        }
        if let Ok((partial, _)) = message::decode::<Partial>(body)
            && partial.strikes >= ENOUGH
        {
            self.given.insert((partial.job, partial.unit().origin()));
        }
    }

    /// Whether there was a reason to lose a chunk, or a record that was sent again.
    #[must_use]
    pub fn justify(&self, job: JobId, origin: Origin) -> bool {
        self.given.contains(&(job, origin))
    }

    /// Chunks of a job that there was a reason to lose.
    #[must_use]
    pub fn count(&self, job: JobId) -> usize {
        self.given.iter().filter(|(whose, origin)| *whose == job && origin.record.is_none()).count()
    }
}

const fn of_task(task: &Task) -> Origin {
    Origin { chunk: task.chunk, record: task.record }
}
