//! From what was seen of a job to what is to be said of it. Pure.
//!
//! What would surprise: the slowest stage is the one that others wait for: where messages pile up, whoever takes from there is it.

use rabbit_reduce_core::message::{End, Outcome, SeenWorker, Status, Top};
use rabbit_reduce_runtime::broker::Depth;
use rabbit_reduce_runtime::figures::{count, percent, size, span};
use rabbit_reduce_runtime::standing::{outcome, waiting};
use std::time::Duration;

/// A partition that has so many times what the others have on average stands out.
const SKEW: u64 = 2;
/// Below so many pairs nobody waits for it all the same.
const SKEWED_PAIRS: u64 = 10_000;
/// A key that makes up so many percent of all pairs stands out.
const HOT_PERCENT: u64 = 30;
/// So few chunks that are open when nothing waits any more are stragglers.
const STRAGGLERS: u32 = 20;

/// What was seen.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The job, with its detail.
    pub status: Status,
    /// Whether the broker takes no messages, and why.
    pub blocked: Option<String>,
    /// Tasks that wait, and workers.
    pub map: Depth,
    /// Partials that wait, and aggregators.
    pub reduce: Depth,
    /// Tasks that are mapped apart or tried again.
    pub apart: u32,
    /// Workers, as an aggregator sees them.
    pub workers: Vec<SeenWorker>,
    /// The largest key, of a job that counts.
    pub top: Option<Top>,
}

/// Something to be said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// In a line.
    pub says: String,
    /// What helps, if anything does.
    pub helps: Option<String>,
}

fn told(says: String) -> Reason {
    Reason { says, helps: None }
}

fn helped(says: String, helps: impl Into<String>) -> Reason {
    Reason { says, helps: Some(helps.into()) }
}

/// Everything that is to be said, what matters most first.
#[must_use]
pub fn reasons(seen: &Seen) -> Vec<Reason> {
    let Status { job, losses, alarms, end, .. } = &seen.status;
    let mut reasons: Vec<Reason> =
        alarms.iter().map(|alarm| helped(alarm.clone(), "see the aggregator's log")).collect();
    reasons.extend(match end {
        Some(end) => vec![ended(end, &seen.status)],
        None => open(seen),
    });
    let losses = end.as_ref().map_or(losses, |end| &end.losses);
    if losses.count > 0 {
        let says =
            format!("{} not counted", count(losses.count, "chunk, record or key is", "chunks, records and keys are"));
        reasons.push(helped(
            says,
            format!("`producer dead ls {job}` says why, `producer dead retry {job}` sends it again"),
        ));
    }
    if let Some(end) = end {
        reasons.extend(skew(end));
        reasons.extend(hot(end, seen.top.as_ref()));
    }
    reasons
}

fn ended(end: &End, status: &Status) -> Reason {
    let took = span(Duration::from_millis(end.time_ms.saturating_sub(status.created_ms)));
    match &end.outcome {
        Outcome::Failed(reason) => told(format!("it failed after {took}: {reason}")),
        Outcome::Cancelled => helped(format!("it was cancelled after {took}"), "push it again to have a result"),
        Outcome::Done | Outcome::DoneWithLosses => told(format!("it is {}, after {took}", outcome(&end.outcome))),
    }
}

/// Why a job has not ended.
fn open(seen: &Seen) -> Vec<Reason> {
    let Seen { status, map, reduce, .. } = seen;
    // The list of those that are lacking is cut short; their number is not.
    let missing = status.chunks.map_or(0, |chunks| chunks.saturating_sub(status.covered));
    let mut reasons = Vec::new();
    if let Some(reason) = &seen.blocked {
        reasons.push(helped(
            format!("the broker takes no messages: {reason}"),
            "`producer doctor` says what it is short of",
        ));
    }
    reasons.extend(waiting(status).map(|what| told(format!("it waits for {what}"))));
    if map.consumers == 0 {
        let says = format!("no worker runs, and {}", count(map.messages.into(), "task waits", "tasks wait"));
        reasons.push(helped(says, "start one with `worker`"));
    } else if reduce.messages > map.messages && reduce.messages > 0 {
        let says = format!(
            "reducing is the slowest stage: {} for {}",
            count(reduce.messages.into(), "partial waits", "partials wait"),
            count(reduce.consumers.into(), "aggregator", "aggregators")
        );
        reasons.push(helped(says, "start another `aggregator` on the same store, or give it more --threads"));
    } else if map.messages > 0 {
        let rate: u64 = seen.workers.iter().map(|worker| worker.bytes_per_second).sum();
        let says = format!(
            "mapping is the slowest stage: {} for {}, which map {}/s together",
            count(map.messages.into(), "task waits", "tasks wait"),
            count(map.consumers.into(), "worker", "workers"),
            size(rate)
        );
        reasons.push(helped(says, "start more of `worker`, here or on other machines"));
    } else if status.chunks.is_none() {
        reasons.push(told("publishing is the slowest stage: nothing waits behind it".to_owned()));
    } else if (1..=STRAGGLERS).contains(&missing) && status.alarms.is_empty() {
        let says = format!("{} still mapped", count(missing.into(), "chunk is", "chunks are"));
        reasons.push(helped(says, "a worker may be slow or gone: `producer doctor` tells when each was heard last"));
    }
    if seen.apart > 0 {
        let says =
            format!("{} tried again, or apart from all others", count(seen.apart.into(), "task is", "tasks are"));
        reasons.push(helped(says, "the logs of the workers say what failed"));
    }
    reasons
}

/// A partition that has much more than the others.
fn skew(end: &End) -> Option<Reason> {
    let parts = end.parts.len() as u64;
    let all: u64 = end.parts.iter().map(|part| part.pairs).sum();
    let (number, largest) = end.parts.iter().enumerate().max_by_key(|(_, part)| part.pairs)?;
    let stands_out = parts > 1 && largest.pairs >= SKEWED_PAIRS && largest.pairs * parts > SKEW * all;
    let times = largest.pairs * parts / all.max(1);
    stands_out.then(|| {
        let says = format!(
            "partition {number} has {} pairs, {times} times what it would have if all had the same",
            largest.pairs
        );
        helped(says, "of a program of your own, let more of the key choose the partition (--partition-fields)")
    })
}

/// A key that is a large part of everything.
fn hot(end: &End, top: Option<&Top>) -> Option<Reason> {
    let (key, counted) = top?.rows.first()?;
    let share = percent(*counted, end.pairs);
    (end.pairs > 0 && share >= HOT_PERCENT).then(|| {
        told(format!(
            "the key `{}` is {share} % of all pairs; combined before they travel, they cost little",
            String::from_utf8_lossy(&key.0)
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::counting;
    use rabbit_reduce_core::id::JobId;
    use rabbit_reduce_core::message::{Losses, Part};
    use rabbit_reduce_core::spec::ByteText;
    use uuid::Uuid;

    /// A job of a hundred chunks, half of which are mapped.
    fn seen() -> Seen {
        let (job, lacking) = (JobId(Uuid::nil()), Vec::new());
        let (input_bytes, covered_bytes) = (Some(1 << 30), 1 << 29);
        let status = Status { job, covered: 50, input_bytes, covered_bytes, lacking, ..counting() };
        let one = Depth { messages: 0, consumers: 1 };
        Seen { status, blocked: None, map: one, reduce: one, apart: 0, workers: Vec::new(), top: None }
    }

    fn done(pairs: [u64; 4]) -> Seen {
        let parts = pairs.map(|pairs| Part { name: "p".to_owned(), pairs, bytes: pairs, at: 1 }).to_vec();
        let (outcome, losses) = (Outcome::Done, Losses::default());
        let end = End {
            version: 1,
            outcome,
            parts,
            losses,
            counters: Default::default(),
            pairs: 1000,
            chunks: 100,
            time_ms: 61_000,
        };
        let mut seen = seen();
        seen.status.end = Some(end);
        seen
    }

    /// What is said with these words, and what helps.
    #[track_caller]
    fn says(seen: &Seen, words: &str, helps: &str) {
        let reasons = reasons(seen);
        let found = reasons.iter().find(|reason| reason.says.contains(words));
        let helping = found.map(|reason| reason.helps.clone().unwrap_or_default());
        assert!(helping.is_some_and(|text| text.contains(helps)), "no `{words}` with `{helps}` in {reasons:?}");
    }

    #[test]
    fn the_slowest_stage_is_where_messages_pile_up() {
        let mapping = Seen { map: Depth { messages: 30, consumers: 2 }, ..seen() };
        says(&mapping, "mapping is the slowest stage: 30 tasks wait for 2 workers", "start more of `worker`");
        let idle = Seen { map: Depth { messages: 1, consumers: 0 }, ..seen() };
        says(&idle, "no worker runs, and 1 task waits", "start one with `worker`");
        let reducing = Seen { reduce: Depth { messages: 30, consumers: 1 }, ..mapping.clone() };
        assert!(reasons(&reducing).iter().any(|reason| reason.says.starts_with("mapping")), "as many wait for both");
        let reducing = Seen { reduce: Depth { messages: 31, consumers: 1 }, ..mapping };
        says(&reducing, "reducing is the slowest stage: 31 partials wait for 1 aggregator", "--threads");
        let mut publishing = seen();
        publishing.status.chunks = None;
        says(&publishing, "publishing is the slowest stage", "");
        says(&publishing, "waits for its producer", "");
    }

    #[test]
    fn what_holds_a_job_up_is_told_with_what_helps() {
        let mut straggling = seen();
        straggling.status.covered = 98;
        says(&straggling, "2 chunks are still mapped", "`producer doctor`");
        says(&Seen { apart: 3, ..seen() }, "3 tasks are tried again", "logs of the workers");
        says(&Seen { blocked: Some("disk".to_owned()), ..seen() }, "takes no messages: disk", "`producer doctor`");
        let mut losing = seen();
        losing.status.losses.count = 1;
        says(&losing, "1 chunk, record or key is not counted", "`producer dead ls 0000");
        losing.status.alarms.push("the store is full".to_owned());
        says(&losing, "the store is full", "log");
        assert_eq!(reasons(&losing)[0].says, "the store is full", "nothing else helps before that is mended");
    }

    #[test]
    fn of_a_job_that_has_ended_skew_and_hot_keys_are_told() {
        let even = done([20_000, 20_000, 20_001, 19_999]);
        assert_eq!(reasons(&even), [told("it is done, after 1:00".to_owned())]);
        says(&done([20_000, 100_000, 20_000, 20_000]), "partition 1 has 100000 pairs, 2 times", "--partition-fields");
        assert_eq!(reasons(&done([10, 1000, 10, 10])).len(), 1, "nobody waits for so few");
        let rows = vec![(ByteText(b"the".to_vec()), 400)];
        let top = Some(Top { rows, counted: 100, chunks: Some(100), whole: true });
        says(&Seen { top, ..even }, "the key `the` is 40 % of all pairs", "");
        let mut failed = done([0; 4]);
        if let Some(end) = &mut failed.status.end {
            end.outcome = Outcome::Failed("too many losses".to_owned());
        }
        says(&failed, "it failed after 1:00: too many losses", "");
    }
}
