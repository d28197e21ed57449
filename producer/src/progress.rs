//! How far a job is, for whoever waits: a bar on a terminal, otherwise a line now and then, nothing when quiet.
//!
//! It measures nothing and has no clock: numbers and the time passed are arguments. What would surprise: a line that cannot be
//! written to stderr is dropped, since nobody is there to be told.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rabbit_reduce_runtime::figures::{count, percent, size, span};
use rabbit_reduce_runtime::shown::{Shown, lines};
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

/// Between two plain lines, so that a log stays short.
const BETWEEN_LINES: Duration = Duration::from_secs(5);
/// Rates are taken over at least this long.
const LEAST_STEP: Duration = Duration::from_millis(200);
/// A rate forgets what is older than this, about.
const RATE_MEMORY_SECONDS: f64 = 10.0;

/// What a job is at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its input is on its way to the broker; bytes and chunks are published ones.
    Publishing,
    /// Its chunks are mapped and folded; bytes and chunks are covered ones.
    Counting,
    /// Its parts are made.
    Finishing,
    /// Its result comes; bytes are those of the parts.
    Fetching,
    /// For this, and nothing moves until then.
    Waiting(String),
}

impl fmt::Display for Phase {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Publishing => out.write_str("publishing"),
            Self::Counting => out.write_str("counting"),
            Self::Finishing => out.write_str("finishing"),
            Self::Fetching => out.write_str("fetching"),
            Self::Waiting(what) => write!(out, "waiting for {}", Shown(what.as_bytes())),
        }
    }
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// What it is at.
    pub phase: Phase,
    /// Bytes done.
    pub bytes: u64,
    /// Bytes in all, if known.
    pub bytes_total: Option<u64>,
    /// Chunks done.
    pub chunks: u32,
    /// Chunks in all, if known.
    pub chunks_total: Option<u32>,
    /// What is lost so far.
    pub losses: u64,
}

impl Snapshot {
    /// One line for people. `rate` is in bytes a second; without one (or at 0) there is no guess at the time left.
    #[must_use]
    pub fn line(&self, rate: Option<u64>, elapsed: Duration) -> String {
        let mut parts = vec![match self.bytes_total {
            Some(total) => {
                format!("{}% ({} of {})", percent(self.bytes, total), size(self.bytes.min(total)), size(total))
            }
            None => size(self.bytes),
        }];
        match self.chunks_total {
            Some(total) => parts.push(format!("{} of {}", self.chunks, count(total.into(), "chunk", "chunks"))),
            None if self.chunks > 0 => parts.push(count(self.chunks.into(), "chunk", "chunks")),
            None => {}
        }
        if let Some(rate) = rate.filter(|rate| *rate > 0 && !matches!(self.phase, Phase::Waiting(_))) {
            parts.push(format!("{}/s", size(rate)));
            let left = self.bytes_total.map(|total| total.saturating_sub(self.bytes)).filter(|left| *left > 0);
            parts.extend(left.map(|left| format!("{} left", span(Duration::from_secs(left.div_ceil(rate))))));
        }
        if self.losses > 0 {
            parts.push(count(self.losses, "loss", "losses"));
        }
        format!("{}: {}, {} so far", self.phase, parts.join(", "), span(elapsed))
    }
}

/// Bytes a second, the last seconds counting most.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rate {
    last: Option<(Duration, u64)>,
    per_second: Option<f64>,
}

impl Rate {
    /// Takes what is done by now. Steps too short to measure are joined with the next.
    pub fn take(&mut self, bytes: u64, elapsed: Duration) {
        let Some((then, before)) = self.last else {
            self.last = Some((elapsed, bytes));
            return;
        };
        let step = elapsed.saturating_sub(then);
        if step < LEAST_STEP {
            return;
        }
        let seconds = step.as_secs_f64();
        let now = bytes.saturating_sub(before) as f64 / seconds;
        let weight = 1.0 - (-seconds / RATE_MEMORY_SECONDS).exp();
        self.per_second = Some(self.per_second.map_or(now, |rate| weight.mul_add(now - rate, rate)));
        self.last = Some((elapsed, bytes));
    }

    /// The rate, once it is known.
    #[must_use]
    pub fn bytes_per_second(&self) -> Option<u64> {
        self.per_second.map(|rate| rate as u64)
    }
}

/// Shows it.
pub struct Progress {
    form: Form,
    rate: Rate,
    phase: Option<Phase>,
    shown_at: Duration,
}

enum Form {
    Quiet,
    Lines(Box<dyn Write + Send>),
    Bar(ProgressBar),
}

impl Progress {
    /// On stderr, as it suits what is there.
    #[must_use]
    pub fn on_stderr(quiet: bool) -> Self {
        if quiet {
            return Self::new(Form::Quiet);
        }
        if !io::stderr().is_terminal() {
            return Self::in_lines(Box::new(io::stderr()));
        }
        Self::new(Form::Bar(ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())))
    }

    /// In plain lines, to anything.
    #[must_use]
    pub fn in_lines(out: Box<dyn Write + Send>) -> Self {
        Self::new(Form::Lines(out))
    }

    const fn new(form: Form) -> Self {
        Self { form, rate: Rate { last: None, per_second: None }, phase: None, shown_at: Duration::ZERO }
    }

    /// Shows how far it is, `elapsed` after the beginning; call it as often as there is news. A new phase is shown at once.
    pub fn show(&mut self, snapshot: &Snapshot, elapsed: Duration) {
        let news = self.phase.as_ref() != Some(&snapshot.phase);
        if news {
            self.rate = Rate::default();
            self.phase = Some(snapshot.phase.clone());
        }
        self.rate.take(snapshot.bytes, elapsed);
        let line = || snapshot.line(self.rate.bytes_per_second(), elapsed);
        match &mut self.form {
            Form::Quiet => {}
            Form::Lines(out) => {
                if news || elapsed.saturating_sub(self.shown_at) >= BETWEEN_LINES {
                    self.shown_at = elapsed;
                    writeln!(out, "{}", line()).ok();
                }
            }
            Form::Bar(bar) => {
                if news {
                    bar.set_style(style(snapshot.bytes_total.is_some()));
                }
                bar.set_length(snapshot.bytes_total.unwrap_or(0));
                bar.set_position(snapshot.bytes);
                bar.set_message(line());
                bar.tick();
            }
        }
    }

    /// Says something beside it that stays: a line of its own.
    pub fn say(&mut self, text: &str) {
        let text = lines(text);
        match &mut self.form {
            Form::Quiet => {}
            Form::Lines(out) => drop(writeln!(out, "{text}")),
            Form::Bar(bar) => bar.println(text),
        }
    }

    /// Lets something else write to the terminal: logs, or the result if stdout is the terminal too.
    pub fn suspend<T>(&self, other: impl FnOnce() -> T) -> T {
        match &self.form {
            Form::Bar(bar) => bar.suspend(other),
            Form::Quiet | Form::Lines(_) => other(),
        }
    }

    /// Takes the bar away.
    pub fn end(self) {
        if let Form::Bar(bar) = self.form {
            bar.finish_and_clear();
        }
    }
}

fn style(total_known: bool) -> ProgressStyle {
    let template = if total_known { "{bar:20} {wide_msg}" } else { "{spinner} {wide_msg}" };
    ProgressStyle::with_template(template).expect("the template is well formed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    fn counting() -> Snapshot {
        let (bytes_total, chunks_total) = (Some(10 << 30), Some(2560));
        Snapshot { phase: Phase::Counting, bytes: 1 << 30, bytes_total, chunks: 256, chunks_total, losses: 2 }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_line_says_what_is_known() {
        let line = counting().line(Some(100 << 20), seconds(12));
        let full =
            "counting: 10% (1.0 GiB of 10.0 GiB), 256 of 2560 chunks, 100.0 MiB/s, 1:33 left, 2 losses, 0:12 so far";
        assert_eq!(line, full);
        let stream = Snapshot { bytes_total: None, chunks_total: None, losses: 0, ..counting() };
        assert_eq!(
            stream.line(Some(1 << 20), seconds(3600)),
            "counting: 1.0 GiB, 256 chunks, 1.0 MiB/s, 1:00:00 so far"
        );
        let start = Snapshot { phase: Phase::Publishing, bytes: 0, chunks: 0, ..stream };
        assert_eq!(start.line(None, seconds(0)), "publishing: 0 B, 0:00 so far");
        let phase = Phase::Waiting("an aggregator\x1b".to_owned());
        let waiting = Snapshot { phase, bytes_total: Some(0), chunks_total: Some(1), ..start };
        assert_eq!(
            waiting.line(Some(9), seconds(61)),
            "waiting for an aggregator\\u{1b}: 100% (0 B of 0 B), 0 of 1 chunk, 1:01 so far"
        );
    }

    #[test]
    fn a_rate_follows_what_happens_and_ignores_steps_too_short() {
        let mut rate = Rate::default();
        rate.take(500, seconds(1));
        assert_eq!(rate.bytes_per_second(), None);
        rate.take(1500, seconds(2));
        rate.take(9_999_999, seconds(2) + Duration::from_millis(1));
        assert_eq!(rate.bytes_per_second(), Some(1000));
        for second in 3..100 {
            rate.take(1500, seconds(second));
        }
        assert_eq!(rate.bytes_per_second(), Some(0));
    }

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn plain_lines_come_every_few_seconds_and_with_every_phase() {
        let written = Written::default();
        let mut progress = Progress::in_lines(Box::new(written.clone()));
        for second in 0..12 {
            progress.show(&counting(), seconds(second));
        }
        progress.show(&Snapshot { phase: Phase::Finishing, ..counting() }, seconds(12));
        progress.say("and a word");
        progress.end();
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let ends: Vec<_> = text.lines().map(|line| line.rsplit(", ").next().unwrap()).collect();
        assert_eq!(ends, ["0:00 so far", "0:05 so far", "0:10 so far", "0:12 so far", "and a word"]);
    }

    #[test]
    fn a_bar_takes_every_snapshot() {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        let mut progress = Progress::new(Form::Bar(bar));
        progress.show(&counting(), seconds(1));
        progress.show(&Snapshot { bytes_total: None, phase: Phase::Publishing, ..counting() }, seconds(2));
        assert_eq!(progress.suspend(|| 7), 7);
        progress.say("a word");
        progress.end();
        Progress::new(Form::Quiet).say("nothing");
    }
}
