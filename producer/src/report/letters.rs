//! Dead letters, as text for people: a line each in a list, or everything about one.
//!
//! It asks nobody and has no clock. What would surprise: of a payload only the beginning is shown unless all is asked for, and
//! whatever it holds has no power over the terminal.

use super::{between, line, source_named, table};
use crate::dead::opened::{Chunk, Contents, Opened, Record};
use crate::dead::selection::Listed;
use rabbit_reduce_core::message::{Letter, LetterKind, RecordState, TaskPiece};
use rabbit_reduce_core::skip::{LostKey, Skip};
use rabbit_reduce_core::spec::ProgramSpec;
use rabbit_reduce_runtime::figures::{count, size};
use rabbit_reduce_runtime::shown::Shown;
use rabbit_reduce_runtime::standing::letters::{letter_state, record_state};
use std::fmt::Display;

/// Characters of a reason in a list: the rest is told by `show`.
const LISTED_REASON: usize = 100;
/// Bytes that are shown of a record, or of a piece of a chunk.
const SHOWN_BYTES: usize = 400;

/// What is shown of payloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Their beginnings.
    Beginning,
    /// All.
    Full,
}

/// What `dead ls` prints: a line a letter, below a heading, then one for each key that the result lacks. `sources` are the names of the job's sources.
#[must_use]
pub fn letters_text(letters: &[Listed], keys: &[LostKey], sources: &[Vec<u8>], now_ms: u64) -> String {
    let heading = ["NAME", "WHAT", "WHERE", "ATTEMPTS", "AGE", "STATE", "REASON"].map(str::to_owned);
    let rows = letters.iter().map(|Listed { letter, short }| {
        [
            short.clone(),
            what(letter),
            place(letter, sources),
            attempts(letter),
            if letter.time_ms == 0 { "?".to_owned() } else { between(letter.time_ms, now_ms) },
            letter_state(letter).to_owned(),
            cut(&letter.reason),
        ]
    });
    let keys = keys.iter().map(|LostKey { key, reason, .. }| {
        let key = format!("key `{}`", Shown(&key.0));
        ["-".to_owned(), key, "-".to_owned(), "-".to_owned(), "-".to_owned(), "lost".to_owned(), cut(reason)]
    });
    table(std::iter::once(heading).chain(rows).chain(keys))
}

fn what(letter: &Letter) -> String {
    match (&letter.kind, letter.chunk) {
        (LetterKind::Chunk, Some(chunk)) => format!("chunk {chunk}"),
        (LetterKind::Records(records), _) => count(records.len() as u64, "record", "records"),
        (LetterKind::Partial, Some(chunk)) => format!("partial of chunk {chunk}"),
        (LetterKind::Unknown, _) => format!("unknown, {}", size(letter.bytes)),
        (LetterKind::Chunk, None) => "a chunk".to_owned(),
        (LetterKind::Partial, None) => "a partial".to_owned(),
    }
}

/// The first place, and how many sources there are beside it.
fn place(letter: &Letter, sources: &[Vec<u8>]) -> String {
    let (first, more) = match &letter.kind {
        LetterKind::Records(skips) => {
            let Some(Skip { source, offset, .. }) = skips.first() else { return "?".to_owned() };
            (format!("{}, byte {offset}", source_named(*source, sources)), skips.len() - 1)
        }
        _ => {
            let Some(source) = letter.sources.first() else { return "?".to_owned() };
            let at = letter.offset.map_or_else(String::new, |offset| format!(", byte {offset}"));
            (format!("{}{at}", source_named(*source, sources)), letter.sources.len() - 1)
        }
    };
    if more == 0 { first } else { format!("{first} and {more} more") }
}

fn attempts(letter: &Letter) -> String {
    match letter.retry {
        0 => letter.attempts.to_string(),
        retry => format!("{}, retry {retry}", letter.attempts),
    }
}

fn cut(reason: &str) -> String {
    let mut characters = reason.chars();
    let first: String = characters.by_ref().take(LISTED_REASON).collect();
    let more = if characters.next().is_some() { "…" } else { "" };
    format!("{}{more}", Shown(first.as_bytes()))
}

/// What `dead show` prints of one letter. `program` is its job's, where there is one; `fits` tells records that are asked for.
#[must_use]
pub fn opened_text(
    Opened { listed: Listed { letter, short }, contents }: &Opened,
    program: Option<&ProgramSpec>,
    sources: &[Vec<u8>],
    fits: impl Fn(&Skip) -> bool,
    extent: Extent,
    now_ms: u64,
) -> String {
    let mut text = String::new();
    field(&mut text, "letter", format_args!("{short} ({}, {})", letter.name, size(letter.bytes)));
    field(&mut text, "what", what(letter));
    field(&mut text, "state", letter_state(letter));
    if !letter.reason.is_empty() {
        field(&mut text, "reason", Shown(letter.reason.as_bytes()));
    }
    let tasks = if let Contents::Chunk(chunk) = contents { Some(&chunk.task.program) } else { None };
    if let Some(program) = tasks.or(program) {
        let options = serde_json::to_string(&program.options).expect("options are plain data");
        field(&mut text, "program", format_args!("{}, version {}", Shown(program.name.as_bytes()), program.version));
        field(&mut text, "options", Shown(options.as_bytes()));
    }
    match contents {
        Contents::Chunk(chunk) => chunk_text(&mut text, letter, chunk, extent, now_ms),
        Contents::Records(records) => {
            if let Some(chunk) = letter.chunk {
                field(&mut text, "chunk", chunk);
            }
            let states = letter.records.iter().copied().chain(std::iter::repeat(RecordState::Lost));
            for (record, state) in records.iter().zip(states).filter(|(record, _)| fits(&record.skip)) {
                record_text(&mut text, record, state, sources, extent);
            }
        }
        Contents::Partial(partial, body) => {
            let (attempt, segment) = (partial.attempt, partial.segment);
            field(&mut text, "partition", format_args!("{}, segment {segment}, attempt {attempt}", partial.partition));
            field(&mut text, "worker", Shown(partial.worker.as_bytes()));
            field(&mut text, "pairs", format_args!("{} mapped, {} here", partial.pairs, size(body.len() as u64)));
        }
        Contents::Unknown(bytes) => {
            field(&mut text, "bytes", bytes.len());
            payload(&mut text, bytes, extent);
        }
    }
    text
}

fn chunk_text(text: &mut String, letter: &Letter, chunk: &Chunk, extent: Extent, now_ms: u64) {
    field(text, "job", chunk.task.job);
    field(text, "attempts", attempts(letter));
    for attempt in chunk.attempts() {
        let (worker, reason) = (Shown(attempt.worker.as_bytes()), Shown(attempt.reason.as_bytes()));
        field(text, "attempt", format_args!("{} ago by {worker}: {reason}", between(attempt.time_ms, now_ms)));
    }
    if let Some(place) = chunk.failure.as_ref().and_then(|failure| failure.record) {
        let piece = chunk.pieces.iter().find(|(piece, _)| piece.source == place.source);
        let name = piece.map(|(piece, _)| Shown(&piece.name.0).to_string()).unwrap_or_default();
        field(text, "record", format_args!("{name}, byte {}: whoever maps it dies", place.offset));
    }
    for (piece, bytes) in &chunk.pieces {
        field(text, "piece", piece_line(piece));
        match (bytes, &piece.file) {
            (Some(bytes), _) => payload(text, bytes, extent),
            (None, Some(_)) => {}
            (None, None) => field(text, "", "(its bytes are missing)"),
        }
    }
}

fn piece_line(piece: &TaskPiece) -> String {
    let name = Shown(&piece.name.0);
    let place = format!("{name}, byte {}, {}", piece.offset, count(piece.length, "byte", "bytes"));
    match &piece.file {
        Some(file) => format!("{place}, in the file {}", Shown(&file.path.0)),
        None => place,
    }
}

fn record_text(text: &mut String, record: &Record, state: RecordState, sources: &[Vec<u8>], extent: Extent) {
    let Skip { source, offset, reason } = &record.skip;
    let (source, reason) = (source_named(*source, sources), Shown(reason.as_bytes()));
    let length = count(record.length, "byte", "bytes");
    field(text, "record", format_args!("{source}, byte {offset}, {length}: {reason}"));
    if state != RecordState::Lost {
        field(text, "", format_args!("({})", record_state(state)));
    }
    match &record.bytes {
        Some(bytes) => payload(text, bytes, extent),
        None => field(text, "", "(not kept, since there were too many such bytes: read them at their source)"),
    }
}

/// Lines of bytes, set off so that they cannot be taken for ours.
fn payload(text: &mut String, bytes: &[u8], extent: Extent) {
    let shown = match extent {
        Extent::Beginning => &bytes[..bytes.len().min(SHOWN_BYTES)],
        Extent::Full => bytes,
    };
    for shown in shown.split_inclusive(|byte| *byte == b'\n') {
        field(text, "", format_args!("| {}", Shown(shown.strip_suffix(b"\n").unwrap_or(shown))));
    }
    let more = bytes.len() - shown.len();
    if more > 0 {
        let more = count(more as u64, "byte", "bytes");
        field(text, "", format_args!("({more} more; --full shows all, `dead export` writes them to files)"));
    }
}

fn field(text: &mut String, name: &str, value: impl Display) {
    line(text, format_args!("{name:<9} {value}"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead::opened::tests::{failed_chunk, opened, refused_records};

    fn names() -> Vec<Vec<u8>> {
        vec![b"logs/a.txt".to_vec(), b"b\x1b[2J".to_vec()]
    }

    #[test]
    fn letters_stand_in_columns_and_cannot_command_a_terminal() {
        let mut chunk = opened("0000000017-abcdef", &failed_chunk()).listed;
        chunk.letter.reason = format!("{}\n", "x".repeat(200));
        let mut records = opened("0000000003-123456", &refused_records()).listed;
        (records.letter.retry, records.letter.time_ms) = (0, 0);
        let mut again = chunk.clone();
        (again.letter.again, again.letter.reason, again.letter.sources) = (true, "\x1b[2J".to_owned(), vec![]);
        let key = LostKey::new(b"k", b"k\x1b[2J".to_vec(), "no\x1b".to_owned());
        let text = letters_text(&[records, chunk, again], &[key], &names(), 121_000);
        let expected = format!(
            "\
NAME     WHAT              WHERE                           ATTEMPTS    AGE   STATE       REASON
3-1234   3 records         logs/a.txt, byte 20 and 2 more  2           ?     lost        why\\u{{1b}}
17-abcd  chunk 17          logs/a.txt, byte 4 and 1 more   2, retry 1  1:00  lost        {}…
17-abcd  chunk 17          ?                               2, retry 1  1:00  sent again  \\u{{1b}}[2J
-        key `k\\u{{1b}}[2J`  -                               -           -     lost        no\\u{{1b}}
",
            "x".repeat(100)
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn a_chunk_is_shown_with_its_attempts_and_pieces() {
        let opened = opened("0000000017-abcdef", &failed_chunk());
        let text = opened_text(&opened, None, &names(), |_| true, Extent::Beginning, 121_000);
        let expected = "\
what      chunk 17
state     lost
reason    why\\u{1b}
program   grep, version 1
options   {}
job       00000000-0000-0000-0000-000000000007
attempts  2, retry 1
attempt   2:00 ago by w1: cannot open x
attempt   1:00 ago by w2: mapping panicked
piece     logs/a.txt, byte 4, 3 bytes
          | abc
piece     logs/b.txt, byte 0, 2 bytes
          | d\\u{1b}
piece     c.txt, byte 0, 9 bytes, in the file /mnt/c.txt
";
        assert!(text.starts_with("letter    17-abcd (0000000017-abcdef, "), "{text}");
        assert!(text.ends_with(expected), "{text}");
    }

    #[test]
    fn records_are_shown_with_their_bytes_and_only_those_asked_for() {
        let opened = opened("0000000003-abcdef", &refused_records());
        let text = opened_text(&opened, None, &names(), |skip| skip.offset != 0, Extent::Beginning, 0);
        let expected = "\
record    logs/a.txt, byte 20, 3 bytes: it is no number
          | n/a
record    logs/a.txt, byte 30, 9000000 bytes: it is no number
          (not kept, since there were too many such bytes: read them at their source)
";
        assert!(text.ends_with(expected), "{text}");
        let text = opened_text(&opened, None, &names(), |skip| skip.offset == 0, Extent::Full, 0);
        let expected = "\
record    b\\u{1b}[2J, byte 0, 2 bytes: it is no number
          | \\u{1b}[
";
        assert!(text.ends_with(expected) && !text.contains("n/a"), "{text}");
    }

    #[test]
    fn of_a_long_payload_the_beginning_is_shown_unless_all_is_asked_for() {
        let opened = opened("abcdef0123", &bytes::Bytes::from("line\n".repeat(100)));
        let lines = |extent| {
            let text = opened_text(&opened, None, &[], |_| true, extent, 0);
            (text.matches("          | line\n").count(), text.contains("(100 bytes more; --full shows all"))
        };
        assert_eq!((lines(Extent::Beginning), lines(Extent::Full)), ((80, true), (100, false)));
    }
}
