//! Dead letters as JSON for programs, without their payloads, and what has become of them in words.
//!
//! The form is ours to keep, whatever the messages become, so every field is named here.

use rabbit_reduce_core::id::SourceNumber;
use rabbit_reduce_core::message::{Letter, LetterKind, RecordState};
use rabbit_reduce_core::skip::{LostKey, Skip};
use rabbit_reduce_core::spec::ByteText;
use serde_json::{Value, json};

/// What `dead ls --format json` tells of a letter.
#[must_use]
pub fn letter_value(letter: &Letter, sources: &[Vec<u8>]) -> Value {
    let records = match &letter.kind {
        LetterKind::Records(skips) => {
            let values = skips.iter().enumerate().map(|(at, skip)| {
                let mut value = skip_value(skip, sources);
                value["state"] = letter.records.get(at).map_or(Value::Null, |state| record_state(*state).into());
                value
            });
            values.collect()
        }
        _ => Value::Null,
    };
    let touched = letter.sources.iter().map(|source| json!({ "source": source.0, "name": name(*source, sources) }));
    json!({
        "name": letter.name,
        "kind": kind(letter),
        "chunk": letter.chunk.map(|chunk| chunk.0),
        "state": letter_state(letter),
        "lost": letter.lost,
        "reason": letter.reason,
        "sources": touched.collect::<Value>(),
        "offset": letter.offset,
        "records": records,
        "attempts": letter.attempts,
        "retry": letter.retry,
        "time_ms": if letter.time_ms == 0 { Value::Null } else { letter.time_ms.into() },
        "bytes": letter.bytes,
    })
}

/// What `dead ls --format json` tells of a key that the result lacks, for which there is no letter.
#[must_use]
pub fn key_value(LostKey { key, reason, .. }: &LostKey) -> Value {
    json!({ "kind": "key", "key": key, "state": "lost", "lost": true, "reason": reason })
}

/// What has become of what a letter is about.
#[must_use]
pub fn letter_state(letter: &Letter) -> &'static str {
    match &letter.kind {
        // A digest alone is the name of what belongs to no job.
        _ if !letter.name.contains('-') => "of no job",
        _ if letter.again => "sent again",
        _ if letter.lost => "lost",
        LetterKind::Records(_) if !letter.records.is_empty() => "counted",
        // The records are not a loss of their own.
        LetterKind::Records(_) => "lost with its chunk",
        _ => "counted",
    }
}

/// What has become of a record.
#[must_use]
pub const fn record_state(state: RecordState) -> &'static str {
    match state {
        RecordState::Lost => "lost",
        RecordState::Again => "sent again",
        RecordState::Counted => "counted",
    }
}

const fn kind(letter: &Letter) -> &'static str {
    match letter.kind {
        LetterKind::Chunk => "chunk",
        LetterKind::Records(_) => "records",
        LetterKind::Partial => "partial",
        LetterKind::Unknown => "unknown",
    }
}

fn name(source: SourceNumber, sources: &[Vec<u8>]) -> Option<ByteText> {
    sources.get(source.index()).map(|name| ByteText(name.clone()))
}

/// A record that is not counted.
#[must_use]
pub fn skip_value(skip: &Skip, sources: &[Vec<u8>]) -> Value {
    let Skip { source, offset, reason } = skip;
    json!({ "source": source.0, "name": name(*source, sources), "offset": offset, "reason": reason })
}
