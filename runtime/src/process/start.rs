//! A binary from its parsed flags to its exit code: logs, signals, the asynchronous runtime, and one print of what went wrong.
//!
//! It knows no role. What would surprise: threads that block are not waited for at the end; whoever leaves has settled what
//! matters, or was told to leave it.

use super::args::LogArgs;
use super::exit::Exit;
use super::shutdown::Shutdown;
use super::{complain, log};
use std::error::Error;
use std::future::Future;
use std::process::ExitCode;

/// A failure and the exit code that it means.
#[derive(Debug)]
pub struct Failure {
    /// What the process ends with.
    pub exit: Exit,
    /// What went wrong, with its sources.
    pub error: Box<dyn Error + Send + Sync>,
}

impl Failure {
    /// A failure.
    pub fn new(exit: Exit, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { exit, error: error.into() }
    }
}

/// An error and everything beneath it, in one line.
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(beneath) = source {
        let said = beneath.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = beneath.source();
    }
    text
}

/// Runs `role` to its end; it gets the wish to stop.
pub fn run<F>(logs: &LogArgs, role: impl FnOnce(Shutdown) -> F) -> ExitCode
where
    F: Future<Output = Result<Exit, Failure>>,
{
    if let Err(error) = log::start(logs) {
        complain(&chain(&error));
        return Exit::Usage.into();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("the system gives no threads: {error}"));
            return Exit::Bug.into();
        }
    };
    let ended = runtime.block_on(async {
        let shutdown = Shutdown::on_signals().map_err(|error| Failure::new(Exit::Bug, error))?;
        role(shutdown).await
    });
    runtime.shutdown_background();
    // Who still runs one on a thread is not waited for.
    crate::command::leave();
    match ended {
        Ok(exit) => exit.into(),
        Err(Failure { exit, error }) => {
            complain(&chain(&*error));
            exit.into()
        }
    }
}
