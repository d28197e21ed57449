//! Which files of folders are input, and whether what is not plain is unpacked.
//!
//! It opens nothing. What would surprise: a pattern without a slash is about names, wherever they lie; one with a slash about paths
//! beneath the folder that was typed. What was typed itself is always input.

use globset::{Error, Glob, GlobBuilder, GlobMatcher};
use std::path::Path;
use std::str::FromStr;

/// A pattern, as `*.txt`, `logs/**/2026-*.gz` or `{a,b}.csv`.
#[derive(Clone, Debug)]
pub struct Pattern {
    matcher: GlobMatcher,
    by_path: bool,
}

/// A text that is no pattern.
#[derive(Clone, Debug, thiserror::Error)]
#[error("`{typed}` is no pattern ({reason}); write something like '*.txt' or 'logs/**/2026-*'")]
pub struct PatternError {
    typed: String,
    reason: String,
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(typed: &str) -> Result<Self, PatternError> {
        // As people write paths.
        let plain = typed.strip_prefix("./").unwrap_or(typed);
        let plain = plain.strip_suffix('/').unwrap_or(plain);
        let built: Result<Glob, Error> = GlobBuilder::new(plain).literal_separator(true).build();
        match built {
            Ok(glob) => Ok(Self { matcher: glob.compile_matcher(), by_path: plain.contains('/') }),
            Err(error) => Err(PatternError { typed: typed.to_owned(), reason: error.kind().to_string() }),
        }
    }
}

impl Pattern {
    /// Whether it is about what lies at this path, beneath the folder that was typed.
    fn fits(&self, beneath: &Path) -> bool {
        if self.by_path {
            return self.matcher.is_match(beneath);
        }
        beneath.file_name().is_some_and(|name| self.matcher.is_match(Path::new(name)))
    }
}

/// A pattern of whole paths beneath a folder.
pub(super) struct PathPattern {
    matcher: GlobMatcher,
    deepest: usize,
}

impl PathPattern {
    pub(super) fn new(typed: &str) -> Result<Self, String> {
        let glob = GlobBuilder::new(typed).literal_separator(true).build().map_err(|error| error.kind().to_string())?;
        let deepest = if typed.contains("**") { usize::MAX } else { typed.matches('/').count() };
        Ok(Self { matcher: glob.compile_matcher(), deepest })
    }

    pub(super) fn fits(&self, beneath: &Path) -> bool {
        self.matcher.is_match(beneath)
    }

    /// How many folders down it may be about anything.
    pub(super) const fn deepest(&self) -> usize {
        self.deepest
    }
}

/// What of folders is input.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Only files that one of these is about; all, if there are none.
    pub include: Vec<Pattern>,
    /// No files and folders that one of these is about.
    pub exclude: Vec<Pattern>,
    /// What is compressed or marked is input as it is.
    pub as_is: bool,
}

impl Choice {
    pub(super) fn wants_file(&self, beneath: &Path) -> bool {
        let included = self.include.is_empty() || self.include.iter().any(|pattern| pattern.fits(beneath));
        included && self.wants_folder(beneath)
    }

    pub(super) fn wants_folder(&self, beneath: &Path) -> bool {
        !self.exclude.iter().any(|pattern| pattern.fits(beneath))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn choice(include: &[&str], exclude: &[&str]) -> Choice {
        let patterns = |typed: &[&str]| typed.iter().map(|typed| typed.parse().unwrap()).collect();
        Choice { include: patterns(include), exclude: patterns(exclude), as_is: false }
    }

    #[test]
    fn patterns_are_about_names_or_about_paths() {
        let wants = |choice: &Choice, path: &str| choice.wants_file(Path::new(path));
        let texts = choice(&["*.txt", "{a,b}.csv"], &[]);
        assert!(wants(&texts, "x.txt") && wants(&texts, "d/e/x.txt") && wants(&texts, "d/b.csv"));
        assert!(!wants(&texts, "x.txt.gz") && !wants(&texts, "c.csv"));
        let logs = choice(&["logs/**/2026-*"], &["old", "*~"]);
        assert!(wants(&logs, "logs/a/b/2026-11") && wants(&logs, "logs/2026-11"));
        assert!(!wants(&logs, "x/logs/2026-11") && !wants(&logs, "logs/2025-11") && !wants(&logs, "logs/2026-11~"));
        assert!(!logs.wants_folder(Path::new("logs/old")) && logs.wants_folder(Path::new("logs/older")));
        assert!(wants(&choice(&[], &[]), "anything"));
        assert!(wants(&choice(&["./a.txt"], &[]), "a.txt") && !choice(&[], &["old/"]).wants_folder(Path::new("old")));
    }

    #[test]
    fn what_is_no_pattern_is_told() {
        let error = "a{b".parse::<Pattern>().unwrap_err().to_string();
        assert!(error.contains("`a{b`") && error.contains("'*.txt'"), "{error}");
    }
}
