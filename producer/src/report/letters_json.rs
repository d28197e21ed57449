//! Dead letters, as JSON for programs. The payloads are not in it; `dead export` writes them to files.
//!
//! The form is ours to keep, whatever the messages become, so every field is named here.

use crate::dead::opened::{Chunk, Contents, Opened, Record};
use crate::dead::selection::Listed;
use rabbit_reduce_core::message::TaskPiece;
use rabbit_reduce_core::skip::Skip;
use rabbit_reduce_runtime::standing::letters::{self, skip_value};
use serde_json::{Value, json};

/// What `dead ls --format json` tells of a letter.
#[must_use]
pub fn letter_value(Listed { letter, short }: &Listed, sources: &[Vec<u8>]) -> Value {
    let mut value = letters::letter_value(letter, sources);
    value["short"] = short.as_str().into();
    value
}

/// What `dead show --format json` and the index of an export tell of a letter: as above, with what it holds.
#[must_use]
pub fn opened_value(opened: &Opened, sources: &[Vec<u8>], fits: impl Fn(&Skip) -> bool) -> Value {
    let mut value = letter_value(&opened.listed, sources);
    match &opened.contents {
        Contents::Chunk(chunk) => {
            value["task"] = chunk_value(chunk);
        }
        Contents::Records(records) => {
            let fitting = records.iter().filter(|record| fits(&record.skip));
            value["records"] = fitting.map(|record| record_value(record, sources)).collect();
        }
        Contents::Partial(partial, _) => {
            let (partition, segment) = (partial.partition.0, partial.segment);
            value["partial"] = json!({ "partition": partition, "segment": segment, "worker": partial.worker });
        }
        Contents::Unknown(_) => {}
    }
    value
}

fn record_value(record: &Record, sources: &[Vec<u8>]) -> Value {
    let mut value = skip_value(&record.skip, sources);
    (value["length"], value["kept"]) = (record.length.into(), record.bytes.is_some().into());
    value
}

fn chunk_value(chunk: &Chunk) -> Value {
    let attempts = chunk
        .attempts()
        .into_iter()
        .map(|attempt| json!({ "worker": attempt.worker, "reason": attempt.reason, "time_ms": attempt.time_ms }));
    let task = &chunk.task;
    json!({
        "job": task.job.to_string(),
        "program": task.program.name,
        "version": task.program.version,
        "options": task.program.options,
        "partitions": task.partitions,
        "attempts": attempts.collect::<Value>(),
        "pieces": chunk.pieces.iter().map(|(piece, _)| piece_value(piece)).collect::<Value>(),
    })
}

fn piece_value(piece: &TaskPiece) -> Value {
    let file = piece
        .file
        .as_ref()
        .map(|file| json!({ "path": file.path, "size": file.size, "modified_ns": file.modified_ns }));
    let (source, offset, length) = (piece.source.0, piece.offset, piece.length);
    json!({ "source": source, "name": piece.name, "offset": offset, "length": length, "file": file })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead::opened::tests::{failed_chunk, opened, refused_records};
    use rabbit_reduce_core::id::SourceNumber;

    #[test]
    fn a_chunk_is_told_with_its_task() {
        let value = opened_value(&opened("0000000017-abcdef", &failed_chunk()), &[b"\xff".to_vec()], |_| true);
        assert_eq!(
            (&value["short"], &value["kind"], &value["chunk"]),
            (&"17-abcd".into(), &"chunk".into(), &17.into())
        );
        assert_eq!((&value["state"], &value["records"]), (&"lost".into(), &Value::Null));
        assert_eq!(value["sources"][0]["name"]["base64"], "/w==");
        assert!(value["sources"][1]["name"].is_null(), "its name is not known");
        assert_eq!(value["task"]["pieces"][2]["file"]["path"], "/mnt/c.txt");
        assert_eq!(value["task"]["attempts"][1]["worker"], "w2");
    }

    #[test]
    fn records_are_told_one_by_one() {
        let value = opened_value(&opened("0000000003-abcdef", &refused_records()), &[b"a".to_vec()], |skip| {
            skip.source == SourceNumber(0)
        });
        let records = value["records"].as_array().unwrap();
        let told: Vec<_> = records.iter().map(|record| (&record["offset"], &record["kept"], &record["name"])).collect();
        assert_eq!(told, [(&20.into(), &true.into(), &"a".into()), (&30.into(), &false.into(), &"a".into())]);
    }
}
