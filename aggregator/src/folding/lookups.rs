//! Jobs that are not in memory: looked up in the store, while what arrived for them waits.
//!
//! What would surprise: a look-up that finds no job decides nothing about what came after it was asked for, since the job may be
//! younger than the answer.

use super::repairs::Repairs;
use super::{Effect, Folding, JobState, LookUp, Opened, OpenedJob};
use crate::archive::ArchiveError;
use crate::shard::{HeldReceipt, Shard};
use bytes::Bytes;
use rabbit_reduce_core::id::JobId;
use rabbit_reduce_core::message::{End, Partial};
use rabbit_reduce_runtime::process::start;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The pause after a look-up that failed.
const LOOK_UP_PAUSE: Duration = Duration::from_secs(2);

/// A partial that waits for its job to be looked up.
pub(super) struct Arrival {
    pub(super) held: HeldReceipt,
    pub(super) partial: Partial,
    pub(super) body: Bytes,
    pub(super) message: Bytes,
    /// The look-up asked for last before it came: only a later one tells about its job.
    pub(super) after: LookUp,
}

/// Arrivals for a job that is being looked up.
#[derive(Default)]
pub(super) struct Waiting {
    pub(super) arrivals: Vec<Arrival>,
    /// The look-up asked for last.
    pub(super) asked: LookUp,
    /// It failed, and is tried again then.
    pub(super) again: Option<Instant>,
}

/// Look-ups of a job that are under way.
#[derive(Default)]
pub(super) struct Opening {
    /// The one asked for last.
    last: LookUp,
    /// How the job ended meanwhile: they may have looked before that.
    end: Option<End>,
}

impl Folding {
    /// A job that is not in memory ended. It may be on its way there.
    pub(super) fn ended_on_the_way(&mut self, job: JobId, end: End) {
        if let Some(opening) = self.opening.get_mut(&job) {
            opening.end = Some(end);
        }
    }

    pub(super) fn look_up(&mut self, job: JobId, effects: &mut Vec<Effect>) {
        self.asked = LookUp(self.asked.0 + 1);
        self.opening.entry(job).or_default().last = self.asked;
        if let Some(waiting) = self.waiting.get_mut(&job) {
            (waiting.asked, waiting.again) = (self.asked, None);
        }
        effects.push(Effect::Open(job, self.asked));
    }

    pub(super) fn opened(
        &mut self,
        job: JobId,
        asked: LookUp,
        opened: Result<Opened, ArchiveError>,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        let ended = self.opening.get(&job).and_then(|opening| opening.end.clone());
        if self.opening.get(&job).is_some_and(|opening| opening.last == asked) {
            self.opening.remove(&job);
        }
        let Waiting { arrivals, asked: last, .. } = self.waiting.remove(&job).unwrap_or_default();
        match opened {
            Ok(Opened::Job(mut found)) => {
                found.end = found.end.or(ended);
                self.enter(job, *found);
                arrivals.into_iter().for_each(|arrival| self.fold(arrival, now, effects));
            }
            Ok(Opened::Removed) => self.drop_late(job, arrivals.into_iter().map(|arrival| arrival.held), effects),
            Ok(Opened::Unknown) => {
                // What came after this look-up was asked for may be of a job that is younger than its answer.
                let (told, untold): (Vec<_>, Vec<_>) = arrivals.into_iter().partition(|arrival| arrival.after < asked);
                for Arrival { held, message, .. } in told {
                    self.set_aside(held, message, format!("no job {job} is known to this store"), effects);
                }
                if !untold.is_empty() {
                    self.waiting.insert(job, Waiting { arrivals: untold, asked: last, again: None });
                    if last <= asked {
                        self.look_up(job, effects);
                    }
                }
            }
            Err(error @ ArchiveError::Store(_)) => {
                self.raise(&error);
                if !arrivals.is_empty() {
                    // They keep waiting, unsettled.
                    self.waiting.insert(job, Waiting { arrivals, asked: last, again: Some(now + LOOK_UP_PAUSE) });
                }
            }
            // Others can.
            Err(error) if error.is_only_here() => {
                tracing::error!(%job, reason = start::chain(&error), "what comes for a job of others goes back");
                for Arrival { held, message, .. } in arrivals {
                    let queue = self.queue(held.channel.consumer);
                    effects.push(Effect::HandBack { queue, message, receipt: self.release(held) });
                }
            }
            // Looking again would not help: nobody here can read this job.
            Err(error) => {
                let reason = start::chain(&error);
                tracing::error!(%job, reason, "a job that cannot be read is left alone");
                for Arrival { held, message, .. } in arrivals {
                    self.set_aside(held, message, reason.clone(), effects);
                }
            }
        }
    }

    /// Puts a job that was looked up into memory, or what is new of it: of two look-ups the later knows more.
    fn enter(&mut self, job: JobId, found: OpenedJob) {
        let OpenedJob { file, chunks, end, ledgers } = found;
        let state = self.jobs.entry(job).or_insert_with(|| JobState {
            file: Arc::new(file),
            chunks: None,
            end: None,
            shards: ledgers.into_iter().map(Shard::new).collect(),
            ending: false,
            repairs: Repairs::default(),
            over: false,
        });
        state.chunks = state.chunks.or(chunks);
        if state.end.is_none()
            && let Some(end) = end
        {
            state.over = !end.outcome.has_result();
            state.end = Some(end);
        }
    }
}
