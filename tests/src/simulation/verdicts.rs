//! Who declared which chunk dead, as the world saw it: a loss that nobody's verdict stands behind is none.
//!
//! What would surprise: that the broker gave up on a message is a verdict only when the message says that it happened again and
//! again.

use bytes::Bytes;
use rabbit_reduce_core::id::{ChunkNumber, JobId};
use rabbit_reduce_core::message::{self, Failure, Partial, Task};
use std::collections::BTreeSet;

/// Suspicions, or times that the broker gave up, after which a chunk may be lost.
const ENOUGH: u32 = 3;

/// The verdicts.
#[derive(Debug, Default)]
pub struct Verdicts(BTreeSet<(JobId, ChunkNumber)>);

impl Verdicts {
    /// Somebody publishes a message.
    pub fn published(&mut self, body: &Bytes) {
        if let Ok((failure, _)) = message::decode::<Failure>(body) {
            self.0.insert((failure.job, failure.chunk));
        }
        if let Ok((task, _)) = message::decode::<Task>(body)
            && task.crashes >= ENOUGH
        {
            self.0.insert((task.job, task.chunk));
        }
        if let Ok((partial, _)) = message::decode::<Partial>(body)
            && partial.strikes >= ENOUGH
        {
            self.0.insert((partial.job, partial.chunk));
        }
    }

    /// Whether there was a reason to lose a chunk.
    #[must_use]
    pub fn justify(&self, job: JobId, chunk: ChunkNumber) -> bool {
        self.0.contains(&(job, chunk))
    }

    /// Chunks of a job that there was a reason to lose.
    #[must_use]
    pub fn count(&self, job: JobId) -> usize {
        self.0.iter().filter(|(whose, _)| *whose == job).count()
    }
}
