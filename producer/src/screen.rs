//! What a person sees of a job under way (stub until progress is merged).
use rabbit_reduce_core::message::Status;
use rabbit_reduce_runtime::process;
use std::sync::Mutex;

/// Where a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// p
    Publishing,
    /// c
    Counting,
}

/// state
#[derive(Default, Debug)]
pub struct State {
    /// b
    pub published_bytes: u64,
}

/// screen
#[derive(Default, Debug)]
pub struct Screen {
    quiet: bool,
    state: Mutex<State>,
    said: Mutex<String>,
}
impl Screen {
    /// n
    pub fn new(quiet: bool) -> Self {
        Self { quiet, ..Self::default() }
    }
    /// s
    pub fn say(&self, text: &str) {
        let mut said = self.said.lock().expect("x");
        if !self.quiet && *said != text {
            process::tell(text);
            said.replace_range(.., text);
        }
    }
    /// u
    pub fn update(&self, _: Phase, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().expect("x"));
    }
    /// sh
    pub fn show(&self, _: Phase, _: &Status) {}
    /// f
    pub fn finish(&self) {}
}
