//! How jobs stand, as text for people: what is done, what it waits for, what is lost and why.
//!
//! It asks nobody and has no clock. Whatever comes from input, programs or workers is shown without power over the terminal.
//! What would surprise: a name of a source may be missing, for the list is fetched only where there is something to name.

pub mod letters;
pub mod letters_json;

use rabbit_reduce_core::id::{PartitionNumber, SourceNumber};
use rabbit_reduce_core::message::{End, Losses, LostChunk, Outcome, Status};
use rabbit_reduce_core::skip::{LostKey, Skip};
use rabbit_reduce_runtime::figures::{count, percent, size, span};
use rabbit_reduce_runtime::shown::Shown;
use rabbit_reduce_runtime::standing::{chunks_named, outcome, partitions_named, state, waiting};
use std::fmt::Write;
use std::time::Duration;

/// What `status` prints. `steps` are all of those that the job is one of, itself among them; `sources` are the names of its
/// sources, or none; `now_ms` is in milliseconds since 1970.
#[must_use]
pub fn status_text(status: &Status, steps: &[Status], sources: &[Vec<u8>], now_ms: u64) -> String {
    let mut text = String::new();
    let mut field = |name: &str, value: String| line(&mut text, format_args!("{name:<11} {value}"));
    field("job", status.job.to_string());
    field("program", Shown(status.program.as_bytes()).to_string());
    if steps.len() > 1 {
        for (number, step) in (1_u32..).zip(steps) {
            let here = if step.job == status.job { ", this one" } else { "" };
            let (job, program) = (step.job, Shown(step.program.as_bytes()));
            field(&format!("step {number}"), format!("{job} {program}: {}{here}", state(step)));
        }
    }
    field("state", state_line(status));
    field("input", status.input_bytes.map_or_else(|| "a stream".to_owned(), size));
    let covered = match status.chunks {
        Some(chunks) => {
            format!("{} of {chunks} covered ({}%)", status.covered, percent(status.covered.into(), chunks.into()))
        }
        None => format!("{} covered, how many there will be is not known yet", status.covered),
    };
    field("chunks", format!("{covered}, {}", size(status.covered_bytes)));
    field("partitions", format!("{} of {} finished", status.finished, status.partitions));
    let losses = status.end.as_ref().map_or(&status.losses, |end| &end.losses);
    field("losses", losses.count.to_string());
    if !status.retrying.is_empty() {
        field("sent again", chunks_named(&status.retrying));
    }
    for (_, place) in &status.retrying_records {
        field("sent again", format!("{}, byte {}", source_named(place.source, sources), place.offset));
    }
    if status.late > 0 {
        field("dropped", count(status.late, "message that came too late", "messages that came too late"));
    }
    let made = format!("made {} ago", between(status.created_ms, now_ms));
    match &status.end {
        Some(end) => {
            let took = between(status.created_ms, end.time_ms);
            field("time", format!("took {took}, {made}, ended {} ago", between(end.time_ms, now_ms)));
            // A later version than the first one counts what was lost before.
            let amended = if end.version > 1 { ", amended" } else { "" };
            let version = format!("version {}{amended}", end.version);
            field("result", format!("{version}, of {} mapped pairs in {}", end.pairs, parts(end)));
            for (name, number) in &end.counters {
                field("counter", format!("{} {number}", Shown(name.as_bytes())));
            }
        }
        None => field("time", made),
    }
    for alarm in &status.alarms {
        field("alarm", Shown(alarm.as_bytes()).to_string());
    }
    text + &losses_text(losses, sources)
}

fn state_line(status: &Status) -> String {
    let state = state(status);
    match (&status.end, waiting(status)) {
        (Some(End { outcome: Outcome::Failed(reason), .. }), _) => format!("{state}: {}", Shown(reason.as_bytes())),
        (None, Some(what)) => format!("{state}; waits for {what}"),
        (Some(_), _) if !status.retrying.is_empty() || !status.retrying_records.is_empty() => {
            let what = match (status.retrying.len(), status.retrying_records.len()) {
                (1, 0) => "a chunk is",
                (0, 1) => "a record is",
                (_, 0) => "chunks are",
                (0, _) => "records are",
                _ => "chunks and records are",
            };
            format!("{state}; {what} being sent again")
        }
        _ => state.to_owned(),
    }
}

fn parts(end: &End) -> String {
    let bytes = end.parts.iter().map(|part| part.bytes).sum();
    format!("{} of {}", count(end.parts.len() as u64, "part", "parts"), size(bytes))
}

/// One line on how a job ended, for whoever waited for it.
#[must_use]
pub fn end_text(end: &End, created_ms: u64) -> String {
    let mut text = outcome(&end.outcome).to_owned();
    if let Outcome::Failed(reason) = &end.outcome {
        write!(text, ": {}", Shown(reason.as_bytes())).expect("a string takes everything");
    }
    let (chunks, took) = (count(end.chunks.into(), "chunk", "chunks"), between(created_ms, end.time_ms));
    write!(text, "; {chunks}, {} in {took}", count(end.losses.count, "loss", "losses"))
        .expect("a string takes everything");
    text
}

/// Losses, one a line, or nothing. See [`status_text`] for `sources`.
#[must_use]
pub fn losses_text(losses: &Losses, sources: &[Vec<u8>]) -> String {
    let mut text = String::new();
    for LostChunk { chunk, partitions, reason } in &losses.chunks {
        let partitions: Vec<u32> = partitions.iter().map(|PartitionNumber(number)| *number).collect();
        let lack = if partitions.is_empty() { String::new() } else { format!(", {}", partitions_named(&partitions)) };
        line(&mut text, format_args!("lost: chunk {chunk}{lack}: {}", Shown(reason.as_bytes())));
    }
    for Skip { source, offset, reason } in &losses.records {
        let place = source_named(*source, sources);
        line(&mut text, format_args!("lost: {place}, byte {offset}: {}", Shown(reason.as_bytes())));
    }
    for LostKey { key, reason, .. } in &losses.keys {
        line(&mut text, format_args!("lost: key `{}`: {}", Shown(&key.0), Shown(reason.as_bytes())));
    }
    let listed = (losses.chunks.len() + losses.records.len() + losses.keys.len()) as u64;
    if losses.count > listed {
        line(&mut text, format_args!("lost: {} more", losses.count - listed));
    }
    text
}

pub(crate) fn source_named(source: SourceNumber, sources: &[Vec<u8>]) -> String {
    sources.get(source.index()).map_or_else(|| format!("source {source}"), |name| Shown(name).to_string())
}

/// What `jobs` prints: a line a job, below a heading.
#[must_use]
pub fn jobs_text(jobs: &[Status], now_ms: u64) -> String {
    let heading = ["JOB", "PROGRAM", "STATE", "CHUNKS", "INPUT", "LOSSES", "AGE"].map(str::to_owned);
    let rows = jobs.iter().map(|status| {
        let chunks = status.chunks.map_or_else(|| "?".to_owned(), |chunks| chunks.to_string());
        let losses = status.end.as_ref().map_or(&status.losses, |end| &end.losses).count;
        [
            status.job.to_string(),
            Shown(status.program.as_bytes()).to_string(),
            state(status).to_owned(),
            format!("{}/{chunks}", status.covered),
            status.input_bytes.map_or_else(|| "?".to_owned(), size),
            losses.to_string(),
            between(status.created_ms, now_ms),
        ]
    });
    table(std::iter::once(heading).chain(rows))
}

/// Rows, each column as wide as its widest cell.
fn table(rows: impl Iterator<Item = [String; 7]>) -> String {
    let rows: Vec<_> = rows.collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 7] = std::array::from_fn(width);
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        line(&mut text, format_args!("{}", cells.collect::<Vec<_>>().join("  ").trim_end()));
    }
    text
}

/// The time between two clocks, which may disagree: never less than nothing.
fn between(from_ms: u64, to_ms: u64) -> String {
    span(Duration::from_millis(to_ms.saturating_sub(from_ms)))
}

fn line(text: &mut String, what: std::fmt::Arguments<'_>) {
    writeln!(text, "{what}").expect("a string takes everything");
}

#[cfg(test)]
pub(crate) mod tests;
