//! What can be said about a job: the options, which job takes which, and what they are called on the command line.
//!
//! Knows no command line parser. What would surprise: this is what a job's spec carries, so a name here is part of the protocol.

use super::JobError;
use crate::lines::{LineFormat, MOST_FIELDS, SortField};
use crate::selection::{RecordOptions, Selection};
use crate::shipped::Shipped;
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
    /// What of the input is looked at, for jobs that need not look at all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records: Option<Box<RecordOptions>>,
    /// Whether `count` counts every source by itself.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub by_source: bool,
    /// What a program of commands is made of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub streaming: Option<Box<Streaming>>,
    /// The WebAssembly that a program is made of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module: Option<Box<Module>>,
    /// What programs that are not built in are told.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, String>,
}

/// Commands, and how they read and write lines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Streaming {
    /// The command that maps; without one every line is a pair as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mapper: Option<String>,
    /// The command that combines the pairs of a chunk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub combiner: Option<String>,
    /// The command that reduces a partition; without one its pairs are the result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reducer: Option<String>,
    /// One character between key and value, and between the fields of a key; a tab if it is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub separator: Option<String>,
    /// How many fields the key is; one if it is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_fields: Option<usize>,
    /// Fields that choose the partition.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub partition_fields: Vec<usize>,
    /// Fields that order keys, as in `2nr`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sort_fields: Vec<String>,
    /// What commands find in their working directories.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<SideFile>,
}

/// A file beside a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SideFile {
    /// What it is called there.
    pub name: String,
    /// Its bytes.
    pub file: Shipped,
}

impl SideFile {
    /// Whether it is called by a name, and not by a way to somewhere else.
    #[must_use]
    pub fn has_plain_name(&self) -> bool {
        let name = self.name.as_str();
        !name.is_empty() && name.len() <= 255 && name != "." && name != ".." && !name.contains(['/', '\0'])
    }
}

/// A program of WebAssembly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Module {
    /// The module.
    pub file: Shipped,
    /// What an instance of it may take, in bytes: the same everywhere, since a program may do otherwise with less.
    pub memory_bytes: u64,
    /// Its result is made of combined pairs as they are: whoever prints it has no module to ask.
    pub combined: bool,
}

impl Streaming {
    /// Whether anything runs.
    #[must_use]
    pub const fn has_commands(&self) -> bool {
        self.mapper.is_some() || self.combiner.is_some() || self.reducer.is_some()
    }

    /// How lines are read.
    ///
    /// # Errors
    /// Names the option that is wrong, and what would be right.
    pub fn line_format(&self) -> Result<LineFormat, String> {
        let separator = match self.separator.as_deref().map(str::as_bytes) {
            None => b'\t',
            Some([byte]) if *byte != b'\n' => *byte,
            Some(_) => return Err("--separator is one ASCII character, and no line feed".to_owned()),
        };
        let key_fields = self.key_fields.unwrap_or(1);
        let fields = 1..=MOST_FIELDS;
        if !fields.contains(&key_fields) || !self.partition_fields.iter().all(|field| fields.contains(field)) {
            return Err(format!("fields are numbered from 1 to {MOST_FIELDS}"));
        }
        if self.partition_fields.len() > MOST_FIELDS || self.sort_fields.len() > MOST_FIELDS {
            return Err(format!("there are more than {MOST_FIELDS} fields"));
        }
        let sort_fields = self.sort_fields.iter().map(|field| field.parse::<SortField>());
        let sort_fields = sort_fields.collect::<Result<_, _>>().map_err(|error| format!("--sort-fields: {error}"))?;
        let partition_fields = self.partition_fields.clone();
        Ok(LineFormat { separator, key_fields, partition_fields, sort_fields, placed: true })
    }
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
    /// [`Tokens::Whole`]
    Whole,
}

/// A name that is no rule for tokens.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are no tokens `{0}`; there are whitespace, letters, words, whole")]
pub struct TokensNameError(pub String);

impl FromStr for TokensName {
    type Err = TokensNameError;

    fn from_str(name: &str) -> Result<Self, TokensNameError> {
        match name {
            "whitespace" => Ok(Self::Whitespace),
            "letters" => Ok(Self::Letters),
            "words" => Ok(Self::Words),
            "whole" => Ok(Self::Whole),
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
    /// `--records` and `--field`
    Records,
    /// `--by-source`
    BySource,
    /// `--mapper`, `--combiner`, `--reducer` and what belongs to them
    Streaming,
    /// `--program`
    Module,
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
            Self::Records => &["word-count", "letter-count", "sum", "index", "grep"],
            Self::BySource => &["count"],
            Self::Streaming => &["command", "module"],
            Self::Module => &["module"],
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
            Self::Records => "--records, --field or what belongs to them",
            Self::BySource => "--by-source",
            Self::Streaming => "--mapper, --reducer or what belongs to them",
            Self::Module => "--program",
            Self::Set => "--set",
        })
    }
}

impl Options {
    /// The options that are said.
    pub fn given(&self) -> impl Iterator<Item = Flag> {
        let said = [
            (self.tokens.is_some(), Flag::Tokens),
            (self.token_regex.is_some(), Flag::TokenRegex),
            (self.lowercase, Flag::Lowercase),
            (self.pattern.is_some(), Flag::Pattern),
            (self.records.is_some(), Flag::Records),
            (self.by_source, Flag::BySource),
            (self.streaming.is_some(), Flag::Streaming),
            (self.module.is_some(), Flag::Module),
            (!self.set.is_empty(), Flag::Set),
        ];
        said.into_iter().filter_map(|(said, flag)| said.then_some(flag))
    }

    /// The files that travel with such a job.
    pub fn files(&self) -> impl Iterator<Item = &Shipped> {
        let beside = self.streaming.iter().flat_map(|streaming| &streaming.files).map(|beside| &beside.file);
        self.module.iter().map(|module| &module.file).chain(beside)
    }

    pub(super) fn tokens(&self) -> Result<Tokens, JobError> {
        match (self.tokens, &self.token_regex) {
            (Some(_), Some(_)) => Err(JobError::TwoTokens),
            (None, Some(expression)) => Ok(Tokens::Regex(compiled(Flag::TokenRegex, expression)?)),
            // The value of a field is what a person counts, unless they say otherwise.
            (None, None) if self.records.as_ref().is_some_and(|records| records.field.is_some()) => Ok(Tokens::Whole),
            (name, None) => Ok(match name.unwrap_or_default() {
                TokensName::Whitespace => Tokens::Whitespace,
                TokensName::Letters => Tokens::Letters,
                TokensName::Words => Tokens::Words,
                TokensName::Whole => Tokens::Whole,
            }),
        }
    }

    /// What of the input is looked at; `None`: all of it, as it comes.
    pub(super) fn selection(&self, job: &str) -> Result<Option<Selection>, JobError> {
        // A token that is all there is needs something that ends.
        let lines = (self.tokens == Some(TokensName::Whole)).then(Box::default);
        let records = self.records.clone().or(lines);
        let selection = records.map(|records| records.selection()).transpose();
        selection.map_err(|reason| JobError::Setting { job: job.to_owned(), reason })
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
