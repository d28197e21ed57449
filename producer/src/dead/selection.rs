//! Which dead letters are meant: by name, chunk, source and reason. Pure.
//!
//! It asks nobody. What would surprise: a letter's short name is made for the letters it is listed with, as short as it can be
//! among them, and every longer beginning of the whole name means the same letter; and a letter of very many sources cannot be
//! judged by its summary, which names the first of them only.

use rabbit_reduce_core::message::{LETTER_SOURCES, Letter, LetterKind};
use rabbit_reduce_core::skip::{LostKey, Skip};
use std::str::FromStr;

/// Digits of a digest that a short name has at least: enough to be unlikely to change as letters come.
const SHORT_DIGITS: usize = 4;
/// The same where no chunk tells letters apart.
const SHORT_DIGITS_ALONE: usize = 8;

/// A letter, and what it is called for short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// As the aggregator tells of it.
    pub letter: Letter,
    /// A beginning of its name that no other letter of the list has, with the chunk's number as people write it.
    pub short: String,
}

/// Gives letters, in the order of their names, their short names.
#[must_use]
pub fn listed(letters: Vec<Letter>) -> Vec<Listed> {
    let shared = |one: &Letter, other: Option<&Letter>| {
        other.map_or(0, |other| one.name.bytes().zip(other.name.bytes()).take_while(|(a, b)| a == b).count())
    };
    let short = |(at, letter): (usize, &Letter)| {
        let before = at.checked_sub(1).and_then(|before| letters.get(before));
        let unique = shared(letter, before).max(shared(letter, letters.get(at + 1))) + 1;
        match letter.name.split_once('-') {
            Some((chunk, digest)) => {
                let digits = unique.saturating_sub(chunk.len() + 1).max(SHORT_DIGITS);
                let chunk = chunk.trim_start_matches('0');
                let chunk = if chunk.is_empty() { "0" } else { chunk };
                format!("{chunk}-{}", digest.get(..digits).unwrap_or(digest))
            }
            None => letter.name.get(..unique.max(SHORT_DIGITS_ALONE)).unwrap_or(&letter.name).to_owned(),
        }
    };
    let shorts: Vec<String> = letters.iter().enumerate().map(short).collect();
    letters.into_iter().zip(shorts).map(|(letter, short)| Listed { letter, short }).collect()
}

/// A letter as people name it: `17-3fa9`, or the beginning of a digest where it belongs to no job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LetterName {
    chunk: Option<u32>,
    digest: String,
}

/// Why a name means no letter, or more than one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not of the form.
    #[error(
        "`{0}` is no dead letter's name: write it as `producer dead ls` shows it, such as 17-3fa9; --chunk 17 takes all letters of a chunk"
    )]
    Form(String),
    /// There is none.
    #[error("there is no dead letter `{0}` (any more): see `producer dead ls`")]
    Unknown(String),
    /// There are several.
    #[error("`{name}` is the beginning of several dead letters' names ({candidates}): write more of it")]
    Ambiguous {
        /// As given.
        name: String,
        /// Some of them.
        candidates: String,
    },
}

impl FromStr for LetterName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let wrong = || NameError::Form(text.to_owned());
        let (chunk, digest) = match text.split_once('-') {
            Some((chunk, digest)) => (Some(chunk.parse().map_err(|_| wrong())?), digest),
            None => (None, text),
        };
        if digest.is_empty() || !digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        Ok(Self { chunk, digest: digest.to_ascii_lowercase() })
    }
}

impl LetterName {
    /// Refuses a name that no letter of a job can have: the beginning of a digest alone, or a chunk's number.
    ///
    /// # Errors
    /// [`NameError::Form`]
    pub fn of_a_job(&self) -> Result<(), NameError> {
        self.chunk.map(drop).ok_or_else(|| NameError::Form(self.text()))
    }

    fn means(&self, name: &str) -> bool {
        match (self.chunk, name.split_once('-')) {
            (Some(chunk), Some((number, digest))) => number.parse() == Ok(chunk) && digest.starts_with(&self.digest),
            (None, None) => name.starts_with(&self.digest),
            // The beginning of a digest alone could be taken for a chunk's number.
            _ => false,
        }
    }

    fn text(&self) -> String {
        self.chunk.map_or_else(|| self.digest.clone(), |chunk| format!("{chunk}-{}", self.digest))
    }
}

/// What letters have to be: all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// One of these; any, if there are none.
    pub names: Vec<LetterName>,
    /// About one of these chunks; any, if there are none.
    pub chunks: Vec<u32>,
    /// About a source of this name, whole or from a `/` on.
    pub source: Option<Vec<u8>>,
    /// With this in the reason.
    pub reason: Option<String>,
}

/// Whether a letter is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It is.
    Yes,
    /// It is not.
    No,
    /// Its summary does not tell: it touches more sources than are named there.
    Open,
}

impl Selection {
    /// Whether it leaves nothing out.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// Whether chunks can be told by their number and reason alone.
    #[must_use]
    pub const fn is_of_chunks(&self) -> bool {
        self.names.is_empty() && self.source.is_none()
    }

    /// Whether a lost chunk fits, of which there may be no letter; only if [`Selection::is_of_chunks`].
    #[must_use]
    pub fn fits_chunk(&self, chunk: u32, reason: &str) -> bool {
        self.has_chunk(chunk) && self.has_reason(reason)
    }

    /// Whether a key that was left out of the result fits, which has no letter and stems from any chunk.
    #[must_use]
    pub fn fits_key(&self, key: &LostKey) -> bool {
        self.is_of_any_chunk() && self.has_reason(&key.reason)
    }

    /// Whether it asks for no chunk, source or letter alone.
    #[must_use]
    pub const fn is_of_any_chunk(&self) -> bool {
        self.is_of_chunks() && self.chunks.is_empty()
    }

    /// Checks that every name means one letter.
    ///
    /// # Errors
    /// Names the first that does not.
    pub fn check_names(&self, letters: &[Listed]) -> Result<(), NameError> {
        const CANDIDATES: usize = 5;
        for name in &self.names {
            let meant: Vec<&str> = letters
                .iter()
                .filter(|listed| name.means(&listed.letter.name))
                .map(|listed| listed.short.as_str())
                .collect();
            match meant.len() {
                0 => return Err(NameError::Unknown(name.text())),
                1 => {}
                several => {
                    let more = if several > CANDIDATES { ", …" } else { "" };
                    let candidates = format!("{}{more}", meant[..several.min(CANDIDATES)].join(", "));
                    return Err(NameError::Ambiguous { name: name.text(), candidates });
                }
            }
        }
        Ok(())
    }

    /// Judges a letter by its summary. `sources` are the names of its job's sources.
    #[must_use]
    pub fn fit(&self, letter: &Letter, sources: &[Vec<u8>]) -> Fit {
        let named = self.names.is_empty() || self.names.iter().any(|name| name.means(&letter.name));
        let of_chunk = self.chunks.is_empty() || letter.chunk.is_some_and(|chunk| self.has_chunk(chunk.0));
        if !named || !of_chunk {
            return Fit::No;
        }
        if let LetterKind::Records(skips) = &letter.kind {
            let any = skips.iter().any(|skip| self.fits_record(skip, sources));
            return if any || skips.is_empty() { Fit::Yes } else { Fit::No };
        }
        if !self.has_reason(&letter.reason) {
            return Fit::No;
        }
        let named = |source: &rabbit_reduce_core::id::SourceNumber| {
            sources.get(source.index()).is_some_and(|name| self.has_source(name))
        };
        match (&self.source, letter.sources.len() < LETTER_SOURCES) {
            (None, _) => Fit::Yes,
            (Some(_), _) if letter.sources.iter().any(named) => Fit::Yes,
            (Some(_), true) => Fit::No,
            (Some(_), false) => Fit::Open,
        }
    }

    /// Judges one record of a letter.
    #[must_use]
    pub fn fits_record(&self, skip: &Skip, sources: &[Vec<u8>]) -> bool {
        let named = match &self.source {
            None => true,
            Some(_) => sources.get(skip.source.index()).is_some_and(|name| self.has_source(name)),
        };
        named && self.has_reason(&skip.reason)
    }

    /// Judges a source by its name.
    #[must_use]
    pub fn has_source(&self, name: &[u8]) -> bool {
        self.source.as_ref().is_none_or(|wanted| {
            name.strip_suffix(wanted.as_slice()).is_some_and(|before| before.is_empty() || before.ends_with(b"/"))
        })
    }

    fn has_chunk(&self, chunk: u32) -> bool {
        self.chunks.is_empty() || self.chunks.contains(&chunk)
    }

    fn has_reason(&self, reason: &str) -> bool {
        self.reason.as_ref().is_none_or(|part| reason.contains(part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rabbit_reduce_core::id::{ChunkNumber, SourceNumber};

    fn letter(name: &str, reason: &str, sources: &[u32]) -> Letter {
        Letter {
            name: name.to_owned(),
            kind: LetterKind::Chunk,
            chunk: name.split_once('-').map(|(chunk, _)| ChunkNumber(chunk.parse().unwrap())),
            reason: reason.to_owned(),
            sources: sources.iter().copied().map(SourceNumber).collect(),
            offset: Some(0),
            attempts: 1,
            retry: 0,
            time_ms: 0,
            bytes: 9,
            record: None,
            records: Vec::new(),
            lost: true,
            again: false,
        }
    }

    fn three() -> Vec<Listed> {
        let names = ["0000000000-00ff00", "0000000017-abcdef01", "0000000017-abcdef02"];
        listed(names.map(|name| letter(name, "cannot open x", &[0])).into())
    }

    fn named(names: &[&str]) -> Selection {
        Selection { names: names.iter().map(|name| name.parse().unwrap()).collect(), ..Selection::default() }
    }

    #[test]
    fn short_names_are_unique_and_read_back() {
        let letters = three();
        assert_eq!(
            letters.iter().map(|one| one.short.as_str()).collect::<Vec<_>>(),
            ["0-00ff", "17-abcdef01", "17-abcdef02"]
        );
        for one in &letters {
            for name in [&one.short, &one.letter.name] {
                let selection = named(&[name]);
                selection.check_names(&letters).unwrap();
                let meant: Vec<_> =
                    letters.iter().filter(|other| selection.fit(&other.letter, &[]) == Fit::Yes).collect();
                assert_eq!(meant, [one]);
            }
        }
        let alone = listed(vec![letter("00112233445566", "", &[]), letter("0011223344aa", "", &[])]);
        assert_eq!(alone.iter().map(|one| one.short.len()).collect::<Vec<_>>(), [11, 11]);
        assert_eq!(alone[1].short, "0011223344a");
        named(&["0011223344A"]).check_names(&alone).unwrap();
    }

    #[test]
    fn a_name_that_means_nothing_or_too_much_is_told_of() {
        let letters = three();
        let error = |name: &str| named(&[name]).check_names(&letters).unwrap_err().to_string();
        assert!(error("17-abcd").contains("`17-abcd` is the beginning of several"), "{}", error("17-abcd"));
        assert!(error("17-abcd").contains("17-abcdef01, 17-abcdef02"));
        assert!(error("18-abcd").contains("there is no dead letter `18-abcd`"));
        // The number of a chunk is not taken for a digest.
        assert!(error("00ff00").contains("there is no dead letter"));
        for text in ["", "17-", "x", "17-xyz", "-1", "99999999999-a", "../x"] {
            assert!(matches!(text.parse::<LetterName>(), Err(NameError::Form(_))), "{text}");
        }
    }

    #[test]
    fn filters_have_to_hold_together() {
        let names = [b"logs/in.txt".to_vec(), b"main.txt".to_vec()];
        let one = letter("0000000017-ab", "cannot open /x", &[0]);
        let fit = |selection: Selection| selection.fit(&one, &names);
        assert_eq!(fit(Selection::default()), Fit::Yes);
        let chunk = |chunk| Selection { chunks: vec![3, chunk], ..Selection::default() };
        assert_eq!((fit(chunk(17)), fit(chunk(18))), (Fit::Yes, Fit::No));
        let source = |source: &str| Selection { source: Some(source.into()), ..Selection::default() };
        let fits = ["in.txt", "logs/in.txt", "n.txt", "main.txt", "logs"].map(|name| fit(source(name)));
        assert_eq!(fits, [Fit::Yes, Fit::Yes, Fit::No, Fit::No, Fit::No]);
        let reason = |reason: &str| Selection { reason: Some(reason.into()), ..chunk(17) };
        assert_eq!((fit(reason("open")), fit(reason("panicked"))), (Fit::Yes, Fit::No));
        let many = letter("0000000001-ab", "", &[1; LETTER_SOURCES]);
        assert_eq!(source("in.txt").fit(&many, &names), Fit::Open, "the summary does not name them all");
        assert_eq!(source("main.txt").fit(&many, &names), Fit::Yes);
    }

    #[test]
    fn records_are_judged_one_by_one() {
        let skip = |source, reason: &str| Skip { source: SourceNumber(source), offset: 5, reason: reason.to_owned() };
        let skips = vec![skip(0, "`x` is no number"), skip(1, "`y` is no number")];
        let one =
            Letter { kind: LetterKind::Records(skips.clone()), ..letter("0000000002-ab", "`x` is no number", &[]) };
        let names = [b"a".to_vec(), b"b".to_vec()];
        let selection =
            Selection { source: Some(b"b".to_vec()), reason: Some("`y`".to_owned()), ..Selection::default() };
        assert_eq!(selection.fit(&one, &names), Fit::Yes);
        assert_eq!(skips.iter().map(|skip| selection.fits_record(skip, &names)).collect::<Vec<_>>(), [false, true]);
        let crossed = Selection { source: Some(b"a".to_vec()), ..selection };
        assert_eq!(crossed.fit(&one, &names), Fit::No);
    }
}
