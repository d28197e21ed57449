//! What a person sees of a job under way: progress, and what is said beside it. Shared by all who have something to say.
//!
//! It reads the clock and hands the time on. What would surprise: nothing is shown of a job that is over before anyone could
//! have read it.

use crate::progress::{Phase, Progress, Snapshot};
use rabbit_reduce_core::message::Status;
use rabbit_reduce_runtime::process::clock;
use std::fmt;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// A job over sooner shows no progress.
const SHOWN_AFTER: Duration = Duration::from_secs(1);

/// The screen.
pub struct Screen {
    inner: Mutex<Inner>,
    began: Instant,
    quiet: bool,
}

struct Inner {
    progress: Progress,
    said: String,
    losses: u64,
    input_bytes: Option<u64>,
}

impl fmt::Debug for Screen {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Screen").field("quiet", &self.quiet).finish_non_exhaustive()
    }
}

impl Screen {
    /// On stderr, or nowhere.
    #[must_use]
    pub fn new(quiet: bool) -> Self {
        let progress = Progress::on_stderr(quiet);
        let inner = Inner { progress, said: String::new(), losses: 0, input_bytes: None };
        Self { inner: Mutex::new(inner), began: clock::instant(), quiet }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nobody panics with it")
    }

    /// Says something, once as long as nothing else is said.
    pub fn say(&self, text: &str) {
        let mut inner = self.inner();
        if inner.said != text {
            inner.progress.say(text);
            text.clone_into(&mut inner.said);
        }
    }

    /// How much of the input is published.
    pub fn published(&self, chunks: u32, bytes: u64, bytes_total: Option<u64>) {
        let mut inner = self.inner();
        inner.input_bytes = bytes_total;
        let losses = inner.losses;
        self.show(
            &mut inner,
            Snapshot { phase: Phase::Publishing, bytes, bytes_total, chunks, chunks_total: None, losses },
        );
    }

    /// Losses so far, for what is shown next.
    pub fn lost(&self, losses: u64) {
        self.inner().losses = losses;
    }

    /// How much is counted.
    pub fn counted(&self, status: &Status) {
        let mut inner = self.inner();
        let complete = status.chunks.is_some_and(|chunks| status.covered >= chunks);
        let snapshot = Snapshot {
            phase: if complete { Phase::Finishing } else { Phase::Counting },
            bytes: status.covered_bytes,
            bytes_total: status.input_bytes,
            chunks: status.covered,
            chunks_total: status.chunks,
            losses: status.losses.count,
        };
        self.show(&mut inner, snapshot);
    }

    fn show(&self, inner: &mut Inner, snapshot: Snapshot) {
        let elapsed = self.began.elapsed();
        if elapsed >= SHOWN_AFTER {
            inner.progress.show(&snapshot, elapsed);
        }
    }

    /// Takes the progress away: what comes next is the answer.
    pub fn finish(&self) {
        let progress = Progress::on_stderr(self.quiet);
        std::mem::replace(&mut self.inner().progress, progress).end();
    }
}
