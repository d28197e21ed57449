//! What is looked after once a minute: jobs that nobody goes on with, what removals left, and what is older than is kept.
//!
//! Blocks. What would surprise: nothing is ever too old unless somebody said how long things are kept; a store does not know
//! how old its files are, so the mark of a removed job ages from the first sweep that saw it, as does a job whose id tells no time,
//! or one to come: whoever makes a job chooses its id.

use crate::archive::{Archive, ArchiveError};
use crate::aside::{self, Note};
use crate::folding::Event;
use rabbit_reduce_core::id::{JobId, PartitionNumber};
use rabbit_reduce_core::message::Outcome;
use rabbit_reduce_runtime::store::PROBE;
use std::time::Duration;
use uuid::Uuid;

/// When the marks of removed jobs were first seen.
const MARKS: &str = "marks";
/// When jobs were first seen whose ids do not tell when they were made.
const UNDATED: &str = "undated";
/// A removed job's mark is kept for this long at least: by then nobody comes back who still works on it. Should a message of it
/// turn up after that, it is set aside as that of any unknown job.
const LEAST_MARK_AGE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Why a job that nobody goes on to publish has no result.
const ABANDONED: &str = "it was not published to its end for longer than the aggregator's --keep; push it again";
/// Nobody takes so long to try a store; who does after all fails, and is started again.
const LEAST_PROBE_AGE: Duration = Duration::from_secs(24 * 3600);

/// One sweep.
pub(crate) struct Sweep {
    pub(crate) archive: Archive,
    /// For how long ended jobs, abandoned ones, and what was set aside are kept; for ever without.
    pub(crate) keep: Option<Duration>,
    pub(crate) now_ms: u64,
}

impl Sweep {
    /// Does it, and tells what the loop has to know. What fails is tried again by the next.
    pub(crate) fn run(&self) -> Vec<Event> {
        let mut events = Vec::new();
        let swept = self.archive.jobs().map(|jobs| {
            for job in jobs {
                // What was done is told, whatever comes of the count.
                let looked = self.look_at(job).map(|event| events.extend(event));
                if let Err(error) = looked.and_then(|()| self.note_open(job)) {
                    tracing::error!(%job, %error, "a job cannot be looked after");
                }
            }
        });
        if let Err(error) = swept.and_then(|()| self.clear_aside()).and_then(|()| self.clear_probes()) {
            tracing::error!(%error, "the store cannot be looked through");
        }
        events
    }

    fn look_at(&self, job: JobId) -> Result<Option<Event>, ArchiveError> {
        if self.archive.is_removed(job)? {
            return self.finish_removal(job).map(|()| None);
        }
        if let Some(end) = self.archive.end(job)? {
            if self.keep.is_some_and(|keep| self.age(end.time_ms) > keep) && !self.is_read(job)? {
                tracing::warn!(%job, keep = ?self.keep, "an ended job is older than --keep; it is removed");
                self.archive.remove(job)?;
                return Ok(Some(Event::Removed(job)));
            }
        } else if let Some(reason) = self.took_too_long(job)? {
            tracing::warn!(%job, reason, "a job takes too long; it is ended");
            return self.fail(job, reason).map(Some);
        } else if self.waits_for_its_input(job)? {
            return Ok(Some(Event::Waits(job, false)));
        } else if self.is_abandoned(job)? {
            return self.give_up(job).map(Some);
        }
        Ok(self.archive.goes_on(job)?.then_some(Event::Look(job)))
    }

    /// Where there may be so many jobs only, one that was submitted, wherever that was, and has not ended is one of them.
    fn note_open(&self, job: JobId) -> Result<(), ArchiveError> {
        if self.archive.limits.jobs.is_some()
            && !self.archive.is_removed(job)?
            && self.archive.end(job)?.is_none()
            && self.archive.spec(job)?.is_some()
        {
            self.archive.open_jobs().insert(job);
        }
        Ok(())
    }

    /// Whoever removed it may have died over it, and whoever still worked on it may have put something there since.
    fn finish_removal(&self, job: JobId) -> Result<(), ArchiveError> {
        let folder = format!("jobs/{job}");
        if self.archive.store.list(&folder)? != ["removed"] {
            tracing::info!(%job, "what a removal left behind is removed");
            self.archive.remove(job)?;
        }
        if let Some(keep) = self.keep
            && self.mark_has_aged(job, keep.max(LEAST_MARK_AGE))?
        {
            self.archive.store.remove(&folder)?;
            self.archive.store.remove(&format!("{MARKS}/{job}"))?;
            self.archive.store.remove(&format!("{UNDATED}/{job}"))?;
        }
        Ok(())
    }

    /// Whether the step after a job may still read its result.
    fn is_read(&self, job: JobId) -> Result<bool, ArchiveError> {
        match self.archive.spec(job)? {
            Some(spec) => Ok(self.archive.reader(&spec)?.is_some()),
            None => Ok(false),
        }
    }

    /// Whether a job is a step after one that there is, or was, and has not got all of its input.
    fn waits_for_its_input(&self, job: JobId) -> Result<bool, ArchiveError> {
        let Some(after) = self.archive.spec(job)?.and_then(|spec| spec.after) else { return Ok(false) };
        let is_known = self.archive.is_removed(after)? || self.archive.spec(after)?.is_some();
        Ok(is_known && self.archive.seal(job)?.is_none())
    }

    /// Whether nothing was added for long to a job that is not sealed. A sealed one waits for something that may still come.
    fn is_abandoned(&self, job: JobId) -> Result<bool, ArchiveError> {
        let Some(keep) = self.keep else { return Ok(false) };
        Ok(self.archive.seal(job)?.is_none() && self.age(self.last_touched(job)?) > keep)
    }

    /// Why a job that goes on for too long has to fail.
    fn took_too_long(&self, job: JobId) -> Result<Option<String>, ArchiveError> {
        if self.archive.limits.time.is_none() {
            return Ok(None);
        }
        Ok(self.archive.limits.too_old(self.age(self.made_or_seen(job)?)))
    }

    /// When a job was made, or the last run of it: the names of both tell.
    fn last_touched(&self, job: JobId) -> Result<u64, ArchiveError> {
        Ok(self.made_or_seen(job)?.max(self.archive.last_run(job)?))
    }

    /// When a job was made, as its id tells, or when it was first seen.
    fn made_or_seen(&self, job: JobId) -> Result<u64, ArchiveError> {
        match made_ms(job.0) {
            Some(made) if made <= self.now_ms => Ok(made),
            _ => self.first_seen(&format!("{UNDATED}/{job}")),
        }
    }

    /// Ends a job that is abandoned, even one that was never submitted; it then goes as any that has ended. Its producer may come
    /// back just now: then it finds an end that says why, and not a job that was never there.
    fn give_up(&self, job: JobId) -> Result<Event, ArchiveError> {
        tracing::warn!(%job, keep = ?self.keep, "a job was not published to its end for longer than --keep; it is given up");
        self.fail(job, ABANDONED.to_owned())
    }

    fn fail(&self, job: JobId, reason: String) -> Result<Event, ArchiveError> {
        let end = self.archive.end_without_result(job, Outcome::Failed(reason))?;
        Ok(Event::Ended(job, Ok(Some(end))))
    }

    fn clear_aside(&self) -> Result<(), ArchiveError> {
        let Some(keep) = self.keep else { return Ok(()) };
        let store = &self.archive.store;
        for name in store.list(aside::FOLDER)?.iter().filter(|name| !name.ends_with(aside::NOTE)) {
            let (message, note) =
                (format!("{}/{name}", aside::FOLDER), format!("{}/{name}{}", aside::FOLDER, aside::NOTE));
            // Without a note it is just being put, or will come again.
            let Some(Note { first_seen_ms, .. }) = self.archive.read(&note)? else { continue };
            if self.age(first_seen_ms) > keep {
                tracing::warn!(name, ?keep, "a message that was set aside is older than --keep; it is removed");
                store.remove(&message)?;
                store.remove(&note)?;
            }
        }
        Ok(())
    }

    /// What those left who died while they tried whether the store can be used.
    fn clear_probes(&self) -> Result<(), ArchiveError> {
        let store = &self.archive.store;
        for name in store.list("")? {
            let made = name.strip_prefix(PROBE).and_then(|id| Uuid::try_parse(id).ok()).and_then(made_ms);
            if made.is_some_and(|made| self.age(made) > LEAST_PROBE_AGE) {
                store.remove(&name)?;
            }
        }
        Ok(())
    }

    /// Whether a removed job's mark was first seen longer ago than that.
    fn mark_has_aged(&self, job: JobId, least: Duration) -> Result<bool, ArchiveError> {
        Ok(self.age(self.first_seen(&format!("{MARKS}/{job}"))?) > least)
    }

    /// When it was noted at `path` that something was seen; if it was not seen before, it is now.
    fn first_seen(&self, path: &str) -> Result<u64, ArchiveError> {
        let Some(seen) = self.archive.store.get(path)? else {
            self.archive.put_bytes(path, self.now_ms.to_string().as_bytes())?;
            return Ok(self.now_ms);
        };
        let seen = std::str::from_utf8(&seen).ok().and_then(|text| text.parse().ok());
        let (path, reason) = (path.to_owned(), "it holds no time".to_owned());
        seen.ok_or(ArchiveError::Damaged { path, reason })
    }

    const fn age(&self, then_ms: u64) -> Duration {
        Duration::from_millis(self.now_ms.saturating_sub(then_ms))
    }
}

impl Archive {
    /// When the last run of a job was made; 0 without any.
    pub(crate) fn last_run(&self, job: JobId) -> Result<u64, ArchiveError> {
        let partitions = self.job(job)?.map_or(0, |file| file.spec.partitions);
        let mut last = 0;
        for partition in (0..partitions).map(PartitionNumber) {
            let names = self.store.list(&Self::runs_folder(job, partition))?;
            last = names.iter().filter_map(|name| Uuid::try_parse(name).ok()).filter_map(made_ms).fold(last, u64::max);
        }
        Ok(last)
    }
}

/// When a UUID was made, in milliseconds since 1970, if it tells.
fn made_ms(id: Uuid) -> Option<u64> {
    let (seconds, nanoseconds) = id.get_timestamp()?.to_unix();
    Some(seconds.saturating_mul(1000).saturating_add(u64::from(nanoseconds / 1_000_000)))
}

#[cfg(test)]
mod tests;
