//! What can be said about a job: the options, which job takes which, and what they are called on the command line.
//!
//! Knows no command line parser. What would surprise: this is what a job's spec carries, so a name here is part of the protocol.

use super::JobError;
use crate::tokens::Tokens;
use regex::bytes::Regex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// The longest regular expression. The library bounds what it makes of one, but only at the end: on the way, two letters that
/// name a class of characters take thousands of bytes.
pub const MAX_EXPRESSION_BYTES: usize = 16 << 10;

/// The options of a job; what is not said is not written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// How text falls into tokens; white space if neither this nor `token_regex` is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<TokensName>,
    /// An expression whose matches are the tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_regex: Option<String>,
    /// Whether tokens are counted in lower case.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub lowercase: bool,
    /// The expression that `grep` looks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// Whether `count` counts every source by itself.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub by_source: bool,
    /// What programs that are not built in are told.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, String>,
}

/// A rule for tokens that has a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokensName {
    /// [`Tokens::Whitespace`]
    #[default]
    Whitespace,
    /// [`Tokens::Letters`]
    Letters,
    /// [`Tokens::Words`]
    Words,
}

/// A name that is no rule for tokens.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are no tokens `{0}`; there are whitespace, letters, words")]
pub struct TokensNameError(pub String);

impl FromStr for TokensName {
    type Err = TokensNameError;

    fn from_str(name: &str) -> Result<Self, TokensNameError> {
        match name {
            "whitespace" => Ok(Self::Whitespace),
            "letters" => Ok(Self::Letters),
            "words" => Ok(Self::Words),
            _ => Err(TokensNameError(name.to_owned())),
        }
    }
}

/// An option by its name on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// `--tokens`
    Tokens,
    /// `--token-regex`
    TokenRegex,
    /// `--lowercase`
    Lowercase,
    /// `--pattern`
    Pattern,
    /// `--by-source`
    BySource,
    /// `--set`
    Set,
}

impl Flag {
    /// Whether any program may use it, but those built in.
    #[must_use]
    pub const fn is_for_any(self) -> bool {
        matches!(self, Self::Set)
    }

    /// The jobs that use it.
    #[must_use]
    pub const fn takers(self) -> &'static [&'static str] {
        match self {
            Self::Tokens | Self::TokenRegex => &["word-count", "index"],
            Self::Lowercase => &["word-count", "letter-count", "index"],
            Self::Pattern => &["grep"],
            Self::BySource => &["count"],
            Self::Set => &["programs that are not built in"],
        }
    }
}

impl fmt::Display for Flag {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Tokens => "--tokens",
            Self::TokenRegex => "--token-regex",
            Self::Lowercase => "--lowercase",
            Self::Pattern => "--pattern",
            Self::BySource => "--by-source",
            Self::Set => "--set",
        })
    }
}

impl Options {
    /// The options that are said.
    pub(crate) fn given(&self) -> impl Iterator<Item = Flag> {
        let said = [
            (self.tokens.is_some(), Flag::Tokens),
            (self.token_regex.is_some(), Flag::TokenRegex),
            (self.lowercase, Flag::Lowercase),
            (self.pattern.is_some(), Flag::Pattern),
            (self.by_source, Flag::BySource),
            (!self.set.is_empty(), Flag::Set),
        ];
        said.into_iter().filter_map(|(said, flag)| said.then_some(flag))
    }

    pub(super) fn tokens(&self) -> Result<Tokens, JobError> {
        match (self.tokens, &self.token_regex) {
            (Some(_), Some(_)) => Err(JobError::TwoTokens),
            (None, Some(expression)) => Ok(Tokens::Regex(compiled(Flag::TokenRegex, expression)?)),
            (name, None) => Ok(match name.unwrap_or_default() {
                TokensName::Whitespace => Tokens::Whitespace,
                TokensName::Letters => Tokens::Letters,
                TokensName::Words => Tokens::Words,
            }),
        }
    }

    pub(super) fn pattern(&self, job: &'static str) -> Result<Regex, JobError> {
        let pattern = self.pattern.as_deref().ok_or(JobError::Missing { job, flag: Flag::Pattern })?;
        compiled(Flag::Pattern, pattern)
    }
}

fn compiled(flag: Flag, expression: &str) -> Result<Regex, JobError> {
    if expression.len() > MAX_EXPRESSION_BYTES {
        return Err(JobError::Long { flag, bytes: expression.len() });
    }
    Regex::new(expression).map_err(|source| {
        let (expression, source) = (expression.to_owned(), Box::new(source));
        JobError::Regex { flag, expression, source }
    })
}
