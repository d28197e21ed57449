//! What stands on the screen while a job runs. Pure: from what was seen to lines that fit.
//!
//! What would surprise: nothing that comes from input or a worker has power over the terminal, and no line is wider than it is, so
//! nothing moves that stands still.

use crate::top::label;
use console::{measure_text_width, style, truncate_str};
use rabbit_reduce_core::message::{SeenWorker, Status, Top};
use rabbit_reduce_runtime::broker::Depth;
use rabbit_reduce_runtime::figures::{count, percent, size, span};
use rabbit_reduce_runtime::shown::Shown;
use rabbit_reduce_runtime::standing::{state, waiting};
use std::time::Duration;

/// The widest bar, in characters.
const WIDEST_BAR: usize = 40;
/// The smallest screen that there is.
const LEAST: (usize, usize) = (1, 1);
/// Who was not heard for so long is no part of it any more, in milliseconds.
const SILENT_MS: u64 = 60_000;

/// What was seen.
pub(super) struct Seen<'s> {
    pub(super) namespace: &'s str,
    pub(super) status: &'s Status,
    /// In bytes a second, once it is known.
    pub(super) rate: Option<u64>,
    pub(super) workers: &'s [SeenWorker],
    /// Tasks that wait, and who takes them.
    pub(super) waiting: Option<Depth>,
    /// Why the broker takes nothing.
    pub(super) blocked: Option<String>,
    /// The largest keys, of a job that has such.
    pub(super) top: Option<&'s Top>,
    pub(super) now_ms: u64,
}

/// A screen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Board {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) colours: bool,
}

impl Board {
    /// The lines, none wider than the screen, and no more than fit.
    pub(super) fn lines(self, seen: &Seen<'_>) -> Vec<String> {
        let (width, height) = (self.width.max(LEAST.0), self.height.max(LEAST.1));
        let mut lines = self.head(seen);
        let rest = height.saturating_sub(lines.len() + 1);
        let workers = self.workers(seen);
        let keys = self.keys(seen);
        // Half of what is left for each, and what one does not need for the other.
        let of_workers =
            workers.len().min(if keys.is_empty() { rest } else { (rest / 2).max(rest.saturating_sub(keys.len() + 1)) });
        lines.extend(workers.into_iter().take(of_workers));
        if !keys.is_empty() && lines.len() + 2 < height {
            lines.push(String::new());
            lines.extend(keys);
        }
        lines.truncate(height.saturating_sub(1));
        lines.push(self.dim("Ctrl-C leaves; the job goes on"));
        lines.iter().map(|line| truncate_str(line, width, "…").into_owned()).collect()
    }

    fn head(self, seen: &Seen<'_>) -> Vec<String> {
        let status = seen.status;
        let program = Shown(status.program.as_bytes());
        let age = span(Duration::from_millis(seen.now_ms.saturating_sub(status.created_ms)));
        let mut lines = vec![
            format!("{}  {program}  {}  {age}", self.bold(&format!("job {}", status.job)), state(status)),
            self.dim(&format!("namespace {}", seen.namespace)),
            String::new(),
        ];
        let chunks = match status.chunks {
            Some(chunks) => format!("{} of {}", status.covered, count(chunks.into(), "chunk", "chunks")),
            None => format!("{}, more to come", count(status.covered.into(), "chunk", "chunks")),
        };
        let whole = status.chunks.map(u64::from);
        lines.push(format!("map     {}  {chunks}", self.bar(status.covered.into(), whole)));
        let (finished, partitions) = (status.finished, status.partitions);
        let bar = self.bar(finished.into(), Some(partitions.into()));
        lines.push(format!("reduce  {bar}  {finished} of {}", count(partitions.into(), "partition", "partitions")));
        let mut input = vec![match status.input_bytes {
            Some(bytes) => format!("{} of {}", size(status.covered_bytes.min(bytes)), size(bytes)),
            None => size(status.covered_bytes),
        }];
        if let Some(rate) = seen.rate.filter(|rate| *rate > 0) {
            input.push(format!("{}/s", size(rate)));
            let left = status.input_bytes.map_or(0, |bytes| bytes.saturating_sub(status.covered_bytes));
            if left > 0 {
                input.push(format!("{} left", span(Duration::from_secs(left.div_ceil(rate)))));
            }
        }
        lines.push(format!("input   {}", input.join(", ")));
        let losses = count(status.losses.count, "loss", "losses");
        lines.push(if status.losses.count > 0 {
            format!("lost    {}: see `producer dead ls`", self.red(&losses))
        } else {
            "lost    nothing".to_owned()
        });
        let tasks = |depth: Depth| {
            let tasks = count(depth.messages.into(), "task", "tasks");
            format!("{tasks} in the queue for {}", count(depth.consumers.into(), "worker", "workers"))
        };
        if let Some(depth) = seen.waiting {
            lines.push(format!("queue   {}", tasks(depth)));
        }
        let waits = seen.blocked.as_ref().map(|reason| format!("the broker takes no messages ({reason})"));
        let alarms = status.alarms.iter().map(|alarm| format!("the aggregator waits: {alarm}"));
        for what in alarms.chain(waits).chain(waiting(status).map(|what| format!("it waits for {what}"))) {
            lines.push(self.red(&Shown(what.as_bytes()).to_string()));
        }
        lines.push(String::new());
        lines
    }

    fn workers(self, seen: &Seen<'_>) -> Vec<String> {
        let mut workers: Vec<&SeenWorker> = seen.workers.iter().filter(|worker| worker.silent_ms < SILENT_MS).collect();
        if workers.is_empty() {
            return Vec::new();
        }
        workers.sort_by(|one, other| other.bytes.cmp(&one.bytes).then_with(|| one.name.cmp(&other.name)));
        let names: Vec<String> = workers.iter().map(|worker| Shown(worker.name.as_bytes()).to_string()).collect();
        let widest = names.iter().map(|name| measure_text_width(name)).max().unwrap_or_default().max("WORKER".len());
        let widest = widest.min(self.width.saturating_sub(40).max(12));
        let row = |name: &str, rest: [&str; 4]| {
            let [chunks, bytes, rate, heard] = rest;
            format!("{}  {chunks:>7}  {bytes:>10}  {rate:>12}  {heard}", padded(name, widest))
        };
        let mut lines = vec![self.dim(&row("WORKER", ["CHUNKS", "INPUT", "RATE", "HEARD"]))];
        lines.extend(workers.iter().zip(&names).map(|(worker, name)| {
            let rate = format!("{}/s", size(worker.bytes_per_second));
            let heard = format!("{} s ago", worker.silent_ms / 1000);
            row(name, [&worker.chunks.to_string(), &size(worker.bytes), &rate, &heard])
        }));
        lines
    }

    fn keys(self, seen: &Seen<'_>) -> Vec<String> {
        let Some(top) = seen.top.filter(|top| !top.rows.is_empty()) else { return Vec::new() };
        let widest = top.rows.iter().map(|(_, count)| count.to_string().len()).max().unwrap_or_default();
        let mut lines = vec![self.dim(&format!("LARGEST KEYS, {}", label(top)))];
        lines.extend(top.rows.iter().map(|(key, count)| format!("{count:>widest$}  {}", Shown(&key.0))));
        lines
    }

    fn bar(self, done: u64, whole: Option<u64>) -> String {
        let length = self.width.saturating_sub(40).clamp(8, WIDEST_BAR);
        let Some(whole) = whole else { return format!("{}    ", "·".repeat(length)) };
        let percent = percent(done, whole);
        let filled = usize::try_from(percent).unwrap_or(0) * length / 100;
        format!("{}{}{percent:>3}%", "█".repeat(filled), "░".repeat(length - filled))
    }

    fn bold(self, text: &str) -> String {
        style(text).force_styling(self.colours).bold().to_string()
    }

    fn dim(self, text: &str) -> String {
        style(text).force_styling(self.colours).dim().to_string()
    }

    fn red(self, text: &str) -> String {
        style(text).force_styling(self.colours).red().to_string()
    }
}

/// A name in so many columns.
fn padded(name: &str, columns: usize) -> String {
    let name = truncate_str(name, columns, "…");
    format!("{name}{}", " ".repeat(columns.saturating_sub(measure_text_width(&name))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::counting;
    use rabbit_reduce_core::spec::ByteText;

    fn status() -> Status {
        let (input_bytes, covered_bytes) = (Some(100 << 20), 75 << 20);
        Status { chunks: Some(8), covered: 6, partitions: 8, input_bytes, covered_bytes, ..counting() }
    }

    fn worker(name: &str, bytes: u64, silent_ms: u64) -> SeenWorker {
        SeenWorker { name: name.to_owned(), chunks: 3, bytes, bytes_per_second: 5 << 20, silent_ms, release: None }
    }

    fn drawn(board: Board, status: &Status, workers: &[SeenWorker], top: Option<&Top>) -> Vec<String> {
        let seen = Seen {
            namespace: "words",
            status,
            rate: Some(5 << 20),
            workers,
            waiting: Some(Depth { messages: 2, consumers: 1 }),
            blocked: None,
            top,
            now_ms: 63_000,
        };
        board.lines(&seen)
    }

    const BOARD: Board = Board { width: 80, height: 24, colours: false };

    fn top() -> Top {
        let rows = vec![(ByteText(b"the".to_vec()), 12), (ByteText(b"\x1b[2Jevil".to_vec()), 3)];
        Top { rows, counted: 6, chunks: Some(8), whole: false }
    }

    #[test]
    fn a_job_is_shown_with_its_stages_workers_and_largest_keys() {
        let lines = drawn(BOARD, &status(), &[worker("old", 9, 70_000), worker("b", 1 << 20, 900)], Some(&top()));
        let text = lines.join("\n");
        for wanted in [
            "word-count  counting  1:02",
            "namespace words",
            "75%  6 of 8 chunks",
            "0%  0 of 8 partitions",
            "75.0 MiB of 100.0 MiB, 5.0 MiB/s, 0:05 left",
            "lost    nothing",
            "2 tasks in the queue for 1 worker",
            "1.0 MiB     5.0 MiB/s  0 s ago",
            "LARGEST KEYS, so far: exact for at least 75 % of the chunks (6 of 8,",
            "12  the",
            "Ctrl-C leaves",
        ] {
            assert!(text.contains(wanted), "no `{wanted}` in\n{text}");
        }
        assert!(!text.contains("old"), "it was silent for too long");
        assert!(!text.contains('\u{1b}'), "a key has no power over the terminal, and there are no colours:\n{text}");
    }

    #[test]
    fn what_is_lost_or_in_the_way_is_told() {
        let mut status = status();
        status.losses.count = 2;
        status.alarms = vec!["the store is full".to_owned()];
        let text = drawn(BOARD, &status, &[], None).join("\n");
        assert!(text.contains("lost    2 losses: see `producer dead ls`"), "{text}");
        assert!(text.contains("the aggregator waits: the store is full"), "{text}");
        let coloured = drawn(Board { colours: true, ..BOARD }, &status, &[], None).join("\n");
        assert!(coloured.contains("\u{1b}[31m2 losses"), "{coloured:?}");
    }

    #[test]
    fn no_screen_is_too_small() {
        let workers: Vec<_> =
            (0..50).map(|number| worker(&format!("a-worker-with-a-long-name-{number}"), 1, 0)).collect();
        for (width, height) in [(0, 0), (3, 2), (20, 8), (40, 12), (79, 24), (200, 60)] {
            let board = Board { width, height, colours: false };
            let lines = drawn(board, &status(), &workers, Some(&top()));
            assert!(lines.len() <= height.max(LEAST.1), "{} lines in {height}", lines.len());
            assert!(lines.iter().all(|line| measure_text_width(line) <= width.max(LEAST.0)), "{width}: {lines:#?}");
        }
    }

    #[test]
    fn a_stream_has_no_end_to_reach() {
        let mut status = status();
        (status.chunks, status.input_bytes) = (None, None);
        let text = drawn(BOARD, &status, &[], None).join("\n");
        assert!(text.contains("6 chunks, more to come"), "{text}");
        assert!(text.contains("input   75.0 MiB, 5.0 MiB/s\n"), "{text}");
    }
}
