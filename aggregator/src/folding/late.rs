//! Messages of jobs that are over: dropped, and counted for whoever asks or reads the log.
//!
//! It settles nothing. What would surprise: it counts what this aggregator dropped since it began; others count theirs.

use rabbit_reduce_core::id::JobId;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Jobs that are remembered; beyond it the oldest are forgotten, not their messages.
const REMEMBERED_JOBS: usize = 1024;
/// Between two times that the log tells of it: a job's messages come in swarms.
const PAUSE: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Late {
    jobs: BTreeMap<JobId, Dropped>,
    told: Option<Instant>,
}

#[derive(Debug, Default)]
struct Dropped {
    messages: u64,
    said: u64,
}

impl Late {
    /// So many messages of a job came too late.
    pub(super) fn count(&mut self, job: JobId, messages: usize) {
        if messages == 0 {
            return;
        }
        self.jobs.entry(job).or_default().messages += messages as u64;
        if self.jobs.len() > REMEMBERED_JOBS {
            self.jobs.pop_first();
        }
    }

    /// How many there were.
    pub(super) fn of(&self, job: JobId) -> u64 {
        self.jobs.get(&job).map_or(0, |dropped| dropped.messages)
    }

    /// Tells the log of what came since it last did, unless that was just now.
    pub(super) fn say(&mut self, now: Instant) {
        if self.told.is_some_and(|told| now.saturating_duration_since(told) < PAUSE) {
            return;
        }
        for (job, dropped) in self.jobs.iter_mut().filter(|(_, dropped)| dropped.messages > dropped.said) {
            let (more, messages) = (dropped.messages - dropped.said, dropped.messages);
            tracing::info!(%job, more, messages, "messages of a job that is over were dropped");
            dropped.said = messages;
            self.told = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn the_oldest_are_forgotten_first() {
        let mut late = Late::default();
        let job = |number: usize| JobId(Uuid::from_u128(number as u128));
        (0..=REMEMBERED_JOBS).for_each(|number| late.count(job(number), 2));
        late.count(job(1), 3);
        assert_eq!([0, 1, 2].map(|number| late.of(job(number))), [0, 5, 2]);
    }
}
