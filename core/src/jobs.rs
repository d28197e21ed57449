//! The built-in jobs: their names, their options, and the way from both to a program.
//!
//! A closed enum, no trait objects: [`with_program!`](crate::with_program) reaches the concrete program once per chunk, and everything
//! inside is compiled for it. What would surprise: an option that a job does not use is an error, so no flag is ever ignored.

pub mod count;
pub mod grep;
pub mod index;
pub mod letter_count;
pub mod options;
pub mod sum;
pub mod word_count;
mod words;

pub use self::count::Count;
pub use self::grep::Grep;
pub use self::index::Index;
pub use self::letter_count::LetterCount;
pub use self::options::{Flag, MAX_EXPRESSION_BYTES, Module, Options, SideFile, Streaming, TokensName};
pub use self::sum::Sum;
pub use self::word_count::WordCount;
pub use crate::with_program;

use crate::nearest::{DidYouMean, nearest};
use crate::selection::Selected;
use std::fmt;
use std::io;
use std::ops::Deref;

/// The names of the jobs, in the order in which people are told of them.
pub const NAMES: [&str; 6] = ["word-count", "letter-count", "count", "sum", "index", "grep"];

/// A built-in program with its options.
#[derive(Clone, Debug)]
pub enum Job {
    /// `word-count`
    WordCount(WordCount),
    /// `letter-count`
    LetterCount(LetterCount),
    /// `count`
    Count(Count),
    /// `sum`
    Sum(Sum),
    /// `index`
    Index(Index),
    /// `grep`
    Grep(Grep),
    /// `word-count` of what is selected
    SelectedWordCount(Selected<WordCount>),
    /// `letter-count` of what is selected
    SelectedLetterCount(Selected<LetterCount>),
    /// `sum` of what is selected
    SelectedSum(Selected<Sum>),
    /// `index` of what is selected
    SelectedIndex(Selected<Index>),
}

/// Evaluates an expression with `$program` bound to a reference to the concrete program of a [`Job`](crate::jobs::Job).
#[macro_export]
macro_rules! with_program {
    ($job:expr, $program:ident => $body:expr) => {
        match $job {
            $crate::jobs::Job::WordCount($program) => $body,
            $crate::jobs::Job::LetterCount($program) => $body,
            $crate::jobs::Job::Count($program) => $body,
            $crate::jobs::Job::Sum($program) => $body,
            $crate::jobs::Job::Index($program) => $body,
            $crate::jobs::Job::Grep($program) => $body,
            $crate::jobs::Job::SelectedWordCount($program) => $body,
            $crate::jobs::Job::SelectedLetterCount($program) => $body,
            $crate::jobs::Job::SelectedSum($program) => $body,
            $crate::jobs::Job::SelectedIndex($program) => $body,
        }
    };
}

/// Names of programs, in the order in which people are told of them.
#[derive(Clone, Debug)]
pub struct Names<'n>(Vec<&'n str>);

impl<'n> Names<'n> {
    /// Those of the built-in jobs, and some more.
    pub(crate) fn of(more: impl Iterator<Item = &'n String>) -> Self {
        Self(NAMES.into_iter().chain(more.map(String::as_str)).collect())
    }
}

impl<'n> Deref for Names<'n> {
    type Target = [&'n str];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl fmt::Display for Names<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0.join(", "))
    }
}

/// Why there is no such job.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The name is not known.
    #[error("there is no job `{name}`{}; the jobs are {known}", DidYouMean(.nearest.as_deref()))]
    Unknown {
        /// The name.
        name: String,
        /// A known name that is spelt much like it.
        nearest: Option<String>,
        /// All known names.
        known: String,
    },
    /// An option is given that the job does not use.
    #[error("the job `{job}` does not use {flag}; {} {}", .flag.takers().join(", "), if .flag.takers().len() == 1 && !.flag.is_for_any() { "does" } else { "do" })]
    Unused {
        /// The job.
        job: String,
        /// The option.
        flag: Flag,
    },
    /// A setting of a program that is not built in.
    #[error("the job `{job}`: {reason}")]
    Setting {
        /// The job.
        job: String,
        /// What is wrong, in one line.
        reason: String,
    },
    /// It cannot be run by this process, but may be by others.
    #[error("the job `{job}`: {reason}")]
    NotHere {
        /// The job.
        job: String,
        /// Why not, in one line.
        reason: String,
    },
    /// Both rules for tokens are given.
    #[error("{} and {} are both given: leave one out", Flag::Tokens, Flag::TokenRegex)]
    TwoTokens,
    /// An option that the job needs is missing.
    #[error("the job `{job}` needs {flag}")]
    Missing {
        /// The job.
        job: &'static str,
        /// The option.
        flag: Flag,
    },
    /// An expression is longer than any that is looked at.
    #[error("{flag}: an expression of {bytes} bytes is too long; at most {MAX_EXPRESSION_BYTES} are taken")]
    Long {
        /// The option that gives it.
        flag: Flag,
        /// Its length.
        bytes: usize,
    },
    /// An expression is not well formed, or too large. The source says where.
    #[error("{flag}: `{expression}` is no regular expression that can be used")]
    Regex {
        /// The option that gives it.
        flag: Flag,
        /// The expression.
        expression: String,
        /// What is wrong, and where.
        source: Box<regex::Error>,
    },
}

impl JobError {
    /// Whether another process may run what this one cannot.
    #[must_use]
    pub const fn is_only_here(&self) -> bool {
        matches!(self, Self::Unknown { .. } | Self::NotHere { .. })
    }

    /// For a name that is none of these.
    pub(crate) fn unknown(name: &str, known: &Names<'_>) -> Self {
        let nearest = nearest(&name.replace('_', "-"), known.iter().copied()).map(ToOwned::to_owned);
        Self::Unknown { name: name.to_owned(), nearest, known: known.to_string() }
    }
}

impl Job {
    /// The job of that name.
    ///
    /// # Errors
    /// Fails on an unknown name, an option that the job does not use, a missing one, and a bad regular expression.
    pub fn new(name: &str, options: &Options) -> Result<Self, JobError> {
        let Some(job) = NAMES.into_iter().find(|known| *known == name) else {
            return Err(JobError::unknown(name, &Names::of(std::iter::empty())));
        };
        if let Some(flag) = options.given().find(|flag| !flag.takers().contains(&job)) {
            return Err(JobError::Unused { job: job.to_owned(), flag });
        }
        let selection = options.selection(job)?;
        let lowercase = options.lowercase;
        Ok(match (job, selection) {
            ("grep", selection) => Self::Grep(Grep { pattern: options.pattern(job)?, selection }),
            ("word-count", None) => Self::WordCount(WordCount { tokens: options.tokens()?, lowercase }),
            ("word-count", Some(selection)) => {
                let program = WordCount { tokens: options.tokens()?, lowercase };
                Self::SelectedWordCount(Selected { selection, program })
            }
            ("letter-count", None) => Self::LetterCount(LetterCount { lowercase }),
            ("letter-count", Some(selection)) => {
                Self::SelectedLetterCount(Selected { selection, program: LetterCount { lowercase } })
            }
            ("sum", None) => Self::Sum(Sum),
            ("sum", Some(selection)) => Self::SelectedSum(Selected { selection, program: Sum }),
            ("index", None) => Self::Index(Index { tokens: options.tokens()?, lowercase }),
            ("index", Some(selection)) => {
                let program = Index { tokens: options.tokens()?, lowercase };
                Self::SelectedIndex(Selected { selection, program })
            }
            _ => Self::Count(Count { by_source: options.by_source }),
        })
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::WordCount(_) | Self::SelectedWordCount(_) => NAMES[0],
            Self::LetterCount(_) | Self::SelectedLetterCount(_) => NAMES[1],
            Self::Count(_) => NAMES[2],
            Self::Sum(_) | Self::SelectedSum(_) => NAMES[3],
            Self::Index(_) | Self::SelectedIndex(_) => NAMES[4],
            Self::Grep(_) => NAMES[5],
        }
    }
}

/// An error for a pair that no run of the program makes.
pub(crate) fn foreign(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests;
