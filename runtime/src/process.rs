//! The process around a role: how it is told to start, to speak, to stop, and how it ends.
//!
//! It knows no role, broker or store. What would surprise: nothing here ends the process; only a `main` does, with an
//! [`exit::Exit`].

use crate::shown::lines;

pub mod args;
pub mod broker;
pub mod byte_size;
pub mod chance;
pub mod clock;
pub mod compute;
pub mod config;
pub mod exit;
pub mod files;
pub mod http;
pub mod identity;
pub mod joined;
pub mod log;
pub mod memory;
pub mod shutdown;
pub mod start;

/// Tells a person what went wrong: on stderr, whatever the logs are set to. What others wrote commands no terminal.
#[expect(clippy::print_stderr, reason = "this is the one place that speaks to people on stderr")]
pub fn complain(text: &str) {
    eprintln!("error: {}", lines(text));
}

/// Tells a person something, likewise.
#[expect(clippy::print_stderr, reason = "this is the other place")]
pub fn tell(text: &str) {
    eprintln!("{}", lines(text));
}
