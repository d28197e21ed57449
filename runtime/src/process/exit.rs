//! The exit codes that every binary keeps to.
//!
//! It does not know which error means which code: each binary says that once, in one match.

use std::process::ExitCode;

/// How a process ended, for whoever started it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything was done.
    Done = 0,
    /// The job failed.
    Failed = 1,
    /// The command line was wrong.
    Usage = 2,
    /// Done, with losses that were reported.
    Losses = 3,
    /// The broker is unreachable, lost or misconfigured, or nobody answers.
    Broker = 4,
    /// Input could not be read or output not be written.
    InputOutput = 5,
    /// Interrupted or cancelled.
    Interrupted = 6,
    /// A mistake of ours.
    Bug = 70,
}

impl Exit {
    /// The number that the shell sees.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::Exit::*;

    #[test]
    fn the_numbers_are_those_that_are_documented() {
        let codes = [Done, Failed, Usage, Losses, Broker, InputOutput, Interrupted, Bug].map(super::Exit::code);
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 70]);
    }
}
