//! Who declared which chunk dead, as the world saw it: a loss that nobody's verdict stands behind is none.
//!
//! What would surprise: that the broker gave up on a message is a verdict only when the message says that it happened again and
//! again.

use bytes::Bytes;
use rabbit_reduce_core::id::{ChunkNumber, JobId};
use rabbit_reduce_core::message::{self, Failure, Partial, Task};
use std::collections::{BTreeMap, BTreeSet};

/// Suspicions, or times that the broker gave up, after which a chunk may be lost.
const ENOUGH: u32 = 3;

/// The verdicts, and the tasks that they may be about.
#[derive(Debug, Default)]
pub struct Verdicts {
    given: BTreeSet<(JobId, ChunkNumber)>,
    tasks: BTreeMap<(JobId, ChunkNumber), Bytes>,
}

impl Verdicts {
    /// Somebody sends a task.
    pub fn sent(&mut self, task: &Task, raw: &Bytes) {
        self.tasks.insert((task.job, task.chunk), raw.clone());
    }

    /// The task of a chunk, as it was sent last.
    #[must_use]
    pub fn task(&self, job: JobId, chunk: ChunkNumber) -> Option<Bytes> {
        self.tasks.get(&(job, chunk)).cloned()
    }

    /// Somebody publishes a message.
    pub fn published(&mut self, body: &Bytes) {
        if let Ok((failure, _)) = message::decode::<Failure>(body) {
            self.given.insert((failure.job, failure.chunk));
        }
        if let Ok((task, _)) = message::decode::<Task>(body)
            && task.crashes.max(task.strikes) >= ENOUGH
        {
            self.given.insert((task.job, task.chunk));
        }
        if let Ok((partial, _)) = message::decode::<Partial>(body)
            && partial.strikes >= ENOUGH
        {
            self.given.insert((partial.job, partial.chunk));
        }
    }

    /// Whether there was a reason to lose a chunk.
    #[must_use]
    pub fn justify(&self, job: JobId, chunk: ChunkNumber) -> bool {
        self.given.contains(&(job, chunk))
    }

    /// Chunks of a job that there was a reason to lose.
    #[must_use]
    pub fn count(&self, job: JobId) -> usize {
        self.given.iter().filter(|(whose, _)| *whose == job).count()
    }
}
