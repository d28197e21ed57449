//! What happens in a simulated world, line by line: its hash tells whether two runs were the same.
//!
//! What would surprise: lines are kept only where somebody wants to read them; the hash is made of all of them.

use std::fmt::{self, Write};
use std::hash::{DefaultHasher, Hasher};
use std::time::Duration;
use tokio::time::Instant;

/// A world in which more happens goes round in circles.
pub(super) const MOST_EVENTS: u64 = 300_000;

/// A trace.
#[derive(Debug)]
pub struct Trace {
    began: Instant,
    hash: DefaultHasher,
    events: u64,
    line: String,
    lines: Option<Vec<String>>,
}

impl Trace {
    /// Begins now; `kept` lines can be read afterwards.
    #[must_use]
    pub fn new(kept: bool) -> Self {
        let lines = kept.then(Vec::new);
        Self { began: Instant::now(), hash: DefaultHasher::new(), events: 0, line: String::new(), lines }
    }

    /// Something happens.
    ///
    /// # Panics
    /// If too much does.
    pub fn note(&mut self, what: fmt::Arguments<'_>) {
        self.count();
        self.line.clear();
        let at = self.age().as_micros();
        write!(self.line, "{:>6}.{:03} {what}", at / 1000, at % 1000).expect("text takes all");
        self.hash.write(self.line.as_bytes());
        if let Some(lines) = &mut self.lines {
            lines.push(self.line.clone());
        }
    }

    /// Something happens that is not worth a line.
    ///
    /// # Panics
    /// If too much does.
    pub fn count(&mut self) {
        self.events += 1;
        assert!(self.events < MOST_EVENTS, "the world goes round in circles");
    }

    /// How long the world has been.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// Of everything so far.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash.finish()
    }

    /// How much happened.
    #[must_use]
    pub const fn events(&self) -> u64 {
        self.events
    }

    /// The lines, if they were kept.
    pub fn take_lines(&mut self) -> Vec<String> {
        self.lines.take().unwrap_or_default()
    }
}
