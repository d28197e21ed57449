//! How a job stands, in words and as JSON, for whoever shows it: state, what it waits for, what is lost.
//!
//! It asks nobody and has no clock. What would surprise: names in a status are as they came; who shows them makes them harmless.

pub mod json;
pub mod letters;

use crate::figures::count;
use rabbit_reduce_core::id::ChunkNumber;
use rabbit_reduce_core::message::{Outcome, Status};

/// Chunks that are named while they are waited for.
const NAMED_CHUNKS: usize = 10;
/// Partitions that are named of a chunk.
const NAMED_PARTITIONS: usize = 8;

/// What a job is at, in a word or three.
#[must_use]
pub const fn state(status: &Status) -> &'static str {
    match &status.end {
        Some(end) => outcome(&end.outcome),
        None if status.chunks.is_none() && status.after.is_some() && status.covered == 0 => "waiting",
        None if status.chunks.is_none() => "publishing",
        None if status.lacking.is_empty() && all_decided(status) => "finishing",
        None => "counting",
    }
}

/// How a job ended, in a word or three.
#[must_use]
pub const fn outcome(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Done => "done",
        Outcome::DoneWithLosses => "done with losses",
        Outcome::Failed(_) => "failed",
        Outcome::Cancelled => "cancelled",
    }
}

/// Every chunk is covered, or named among the lost.
const fn all_decided(status: &Status) -> bool {
    match status.chunks {
        Some(chunks) => status.covered as usize + status.losses.chunks.len() >= chunks as usize,
        None => false,
    }
}

/// What a job that has not ended waits for; of its queues and roles, the broker knows more.
#[must_use]
pub fn waiting(status: &Status) -> Option<String> {
    if status.end.is_some() {
        return None;
    }
    if let (Some(before), None) = (status.after, status.chunks) {
        return Some(format!("the result of the step before it, job {before}, which an aggregator publishes"));
    }
    let Some(chunks) = status.chunks else {
        let job = status.job;
        return Some(format!("its producer, which has not published everything; if it is gone: producer resume {job}"));
    };
    if !status.lacking.is_empty() {
        let named = status.lacking.iter().take(NAMED_CHUNKS);
        let named = named.map(|(chunk, partitions)| format!("{chunk} ({})", partitions_lacking(partitions, status)));
        let named = named.collect::<Vec<_>>().join(", ");
        let open = u64::from(chunks.saturating_sub(status.covered)).max(status.lacking.len() as u64);
        let more = open.saturating_sub(NAMED_CHUNKS as u64);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        return Some(format!("{} {named}{more}", if open == 1 { "chunk" } else { "chunks" }));
    }
    if !all_decided(status) {
        return Some(count(u64::from(chunks - status.covered), "chunk", "chunks"));
    }
    match status.partitions.saturating_sub(status.finished) {
        0 => Some("its end to be written".to_owned()),
        open => Some(format!("{} to be finished", count(open.into(), "partition", "partitions"))),
    }
}

fn partitions_lacking(partitions: &[u32], status: &Status) -> String {
    if partitions.len() == status.partitions as usize {
        "all partitions".to_owned()
    } else {
        partitions_named(partitions)
    }
}

/// Partitions by their numbers, the first of them.
#[must_use]
pub fn partitions_named(partitions: &[u32]) -> String {
    let named = partitions.iter().take(NAMED_PARTITIONS).map(u32::to_string).collect::<Vec<_>>().join(", ");
    match partitions.len() {
        1 => format!("partition {named}"),
        number if number > NAMED_PARTITIONS => format!("partitions {named} and {} more", number - NAMED_PARTITIONS),
        _ => format!("partitions {named}"),
    }
}

/// Chunks by their numbers, the first of them.
#[must_use]
pub fn chunks_named(chunks: &[ChunkNumber]) -> String {
    let named = chunks.iter().take(NAMED_CHUNKS).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let more =
        if chunks.len() > NAMED_CHUNKS { format!(" and {} more", chunks.len() - NAMED_CHUNKS) } else { String::new() };
    format!("{} {named}{more}", if chunks.len() == 1 { "chunk" } else { "chunks" })
}
