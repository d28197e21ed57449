//! How jobs stand, as JSON for programs.
//!
//! The form is ours to keep, whatever the messages become, so every field is named here. What would surprise: names that are not
//! UTF-8 are `{"base64": …}`, as in a result.

use super::{state, waiting};
use crate::shown::json_for_eyes;
use rabbit_reduce_core::message::{End, Losses, Outcome, Status};
use rabbit_reduce_core::spec::ByteText;
use serde_json::{Value, json};

/// What `status --format json` prints. `steps` are all of those that the job is one of; `sources` are the names of its sources.
#[must_use]
pub fn status_json(status: &Status, steps: &[Status], sources: &[Vec<u8>]) -> String {
    let mut value = status_value(status, sources);
    value["steps"] = steps
        .iter()
        .map(|step| json!({ "job": step.job.to_string(), "program": step.program, "state": state(step) }))
        .collect();
    pretty(&value)
}

/// What `jobs --format json` prints: an array, in the order given.
#[must_use]
pub fn jobs_json(jobs: &[Status]) -> String {
    pretty(&jobs.iter().map(|status| status_value(status, &[])).collect())
}

/// What both tell of a job. `sources` are the names of its sources, where there are records to be named.
#[must_use]
pub fn status_value(status: &Status, sources: &[Vec<u8>]) -> Value {
    let lacking = status.lacking.iter().map(|(chunk, partitions)| json!({ "chunk": chunk, "partitions": partitions }));
    let losses = status.end.as_ref().map_or(&status.losses, |end| &end.losses);
    json!({
        "job": status.job.to_string(),
        "program": status.program,
        "state": state(status),
        "waits_for": waiting(status),
        "after": status.after.map(|job| job.to_string()),
        "then": status.then.map(|job| job.to_string()),
        "created_ms": status.created_ms,
        "input_bytes": status.input_bytes,
        "chunks": status.chunks,
        "covered_chunks": status.covered,
        "covered_bytes": status.covered_bytes,
        "partitions": status.partitions,
        "finished_partitions": status.finished,
        "lacking": lacking.collect::<Value>(),
        "retrying_records": status.retrying_records.iter().map(|(chunk, place)| {
            json!({ "chunk": chunk.0, "source": place.source.0, "offset": place.offset })
        }).collect::<Value>(),
        "retrying": status.retrying.iter().map(|chunk| chunk.0).collect::<Value>(),
        "losses": losses_value(losses, sources),
        "late_messages": status.late,
        "alarms": status.alarms,
        "end": status.end.as_ref().map(|end| end_value(end, status.created_ms)),
    })
}

fn losses_value(losses: &Losses, sources: &[Vec<u8>]) -> Value {
    let chunks = losses.chunks.iter().map(|lost| {
        let partitions = lost.partitions.iter().map(|number| number.0).collect::<Value>();
        json!({ "chunk": lost.chunk.0, "partitions": partitions, "reason": lost.reason })
    });
    let records = losses.records.iter().map(|skip| {
        let name = sources.get(skip.source.index()).map(|name| ByteText(name.clone()));
        json!({ "source": skip.source.0, "name": name, "offset": skip.offset, "reason": skip.reason })
    });
    let keys = losses.keys.iter().map(|lost| json!({ "key": lost.key, "reason": lost.reason }));
    json!({
        "count": losses.count,
        "chunks": chunks.collect::<Value>(),
        "records": records.collect::<Value>(),
        "keys": keys.collect::<Value>(),
    })
}

fn end_value(end: &End, created_ms: u64) -> Value {
    let reason = if let Outcome::Failed(reason) = &end.outcome { Some(reason) } else { None };
    json!({
        "version": end.version,
        "amended": end.version > 1,
        "reason": reason,
        "time_ms": end.time_ms,
        "took_ms": end.time_ms.saturating_sub(created_ms),
        "chunks": end.chunks,
        "pairs": end.pairs,
        "counters": end.counters,
        "parts": end.parts.len(),
        "part_sizes": end.parts.iter().map(|part| json!({ "pairs": part.pairs, "bytes": part.bytes })).collect::<Value>(),
        "result_pairs": end.parts.iter().map(|part| part.pairs).sum::<u64>(),
        "bytes": end.parts.iter().map(|part| part.bytes).sum::<u64>(),
    })
}

/// JSON as it is printed.
#[must_use]
pub fn pretty(value: &Value) -> String {
    json_for_eyes(&format!("{value:#}\n"))
}
