//! How a piece falls into tokens: white space, letters, words, or matches of a regular expression.
//!
//! The iterators are concrete and hold nothing but a view of the piece. They know nothing of chunks: that cuts at
//! [`Tokens::boundary`] change no token is theirs to keep. What would surprise: white space is found without validating UTF-8
//! (see [`crate::text`]) and 64 bytes at a time, and text is cut at [`Boundary::Word`] before UAX #29 looks at it.

use crate::boundary::Boundary;
use crate::spaces::{Block, Spaces};
use crate::text;
use regex::bytes::{Matches, Regex};
use std::iter::FusedIterator;
use std::ops::Range;
use std::str::Utf8Chunks;
use unicode_segmentation::{UnicodeSegmentation, UnicodeWords};

/// A rule that finds tokens.
#[derive(Clone, Debug)]
pub enum Tokens {
    /// Maximal runs of anything but Unicode white space.
    Whitespace,
    /// Maximal runs of alphabetic characters.
    Letters,
    /// The words of UAX #29, within well-formed text.
    Words,
    /// The matches of an expression in each line, without its line's end, that are not empty.
    Regex(Regex),
    /// All of it is one, also if it is empty: for records, and fields of them.
    Whole,
}

impl Tokens {
    /// Where input may be cut so that no token is.
    #[must_use]
    pub const fn boundary(&self) -> Boundary {
        match self {
            Self::Whitespace | Self::Letters => Boundary::Space,
            Self::Words => Boundary::Word,
            Self::Regex(_) | Self::Whole => Boundary::Line,
        }
    }

    /// The tokens of a piece, in order.
    #[must_use]
    pub fn of<'t>(&'t self, bytes: &'t [u8]) -> TokenIter<'t> {
        match self {
            Self::Whitespace => TokenIter::Whitespace(Whitespace::new(bytes)),
            Self::Letters => TokenIter::Letters(Letters::new(bytes)),
            Self::Words => TokenIter::Words(Words::new(bytes)),
            Self::Regex(regex) => TokenIter::Regex(RegexTokens::new(regex, bytes)),
            Self::Whole => TokenIter::Whole(Some(bytes)),
        }
    }
}

/// The tokens of a piece by any of the rules.
#[derive(Debug)]
pub enum TokenIter<'t> {
    /// By [`Tokens::Whitespace`].
    Whitespace(Whitespace<'t>),
    /// By [`Tokens::Letters`].
    Letters(Letters<'t>),
    /// By [`Tokens::Words`].
    Words(Words<'t>),
    /// By [`Tokens::Regex`].
    Regex(RegexTokens<'t>),
    /// By [`Tokens::Whole`].
    Whole(Option<&'t [u8]>),
}

impl<'t> Iterator for TokenIter<'t> {
    type Item = &'t [u8];

    #[inline]
    fn next(&mut self) -> Option<&'t [u8]> {
        match self {
            Self::Whitespace(tokens) => tokens.next(),
            Self::Letters(tokens) => tokens.next(),
            Self::Words(tokens) => tokens.next(),
            Self::Regex(tokens) => tokens.next(),
            Self::Whole(all) => all.take(),
        }
    }
}

/// What a byte means to a scan, so that most bytes cost one look-up.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Belongs to a token.
    Inside,
    /// Separates tokens.
    Outside,
    /// The characters that begin with it must be looked at.
    Depends,
}

const fn classes(of: [Class; 128], high: Class) -> [Class; 256] {
    let mut table = [high; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = of[byte];
        byte += 1;
    }
    table
}

const LETTERS: [Class; 256] = {
    let mut ascii = [Class::Outside; 128];
    let mut byte = 0;
    while byte < 26 {
        ascii[b'a' as usize + byte] = Class::Inside;
        ascii[b'A' as usize + byte] = Class::Inside;
        byte += 1;
    }
    classes(ascii, Class::Depends)
};

/// Runs of anything but Unicode white space.
#[derive(Clone, Debug)]
pub struct Whitespace<'t> {
    bytes: &'t [u8],
    spaces: Spaces<'t>,
    /// Where the block begins that is being looked at.
    block: usize,
    /// A bit where a run begins or ends in it, without those that were given.
    edges: u64,
    /// The last bit of its white space.
    last: u64,
    at: usize,
}

impl<'t> Whitespace<'t> {
    /// The runs of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'t [u8]) -> Self {
        // Before the beginning lies white space, as behind the end.
        Self { bytes, spaces: Spaces::new(bytes), block: 0, edges: 0, last: 1, at: 0 }
    }

    /// Where the run that was given last ends, in bytes from the beginning.
    #[must_use]
    pub const fn end(&self) -> usize {
        self.at
    }

    /// Hands over what an iterator gives, without being asked each time: where each run of `bytes` begins and ends, and whether
    /// it is known to be ASCII, which holds for runs of up to a block.
    ///
    /// # Errors
    /// Stops with the first error of `take`.
    #[inline(always)]
    pub(crate) fn each<E>(bytes: &[u8], mut take: impl FnMut(Range<usize>, bool) -> Result<(), E>) -> Result<(), E> {
        let (mut blocks, mut last, mut open, mut before) = (Spaces::new(bytes), 1, None, true);
        while let Some(Block { begin, spaces, ascii }) = blocks.next() {
            let mut edges = spaces ^ (spaces << 1 | last);
            last = spaces >> 63;
            let both = before && ascii;
            before = ascii;
            while edges != 0 {
                let place = begin + edges.trailing_zeros() as usize;
                edges &= edges - 1;
                match open.take() {
                    None => open = Some(place),
                    Some(start) => take(start..place, both)?,
                }
            }
        }
        Ok(())
    }

    /// Where the next run begins, or the one that has begun ends.
    #[inline(always)]
    fn edge(&mut self) -> Option<usize> {
        while self.edges == 0 {
            let Block { begin, spaces, .. } = self.spaces.next()?;
            self.block = begin;
            self.edges = spaces ^ (spaces << 1 | self.last);
            self.last = spaces >> 63;
        }
        let place = self.block + self.edges.trailing_zeros() as usize;
        self.edges &= self.edges - 1;
        Some(place)
    }
}

impl<'t> Iterator for Whitespace<'t> {
    type Item = &'t [u8];

    #[inline(always)]
    fn next(&mut self) -> Option<&'t [u8]> {
        let start = self.edge()?;
        // White space behind the end ends it at the latest.
        self.at = self.edge()?;
        Some(&self.bytes[start..self.at])
    }
}

impl FusedIterator for Whitespace<'_> {}

/// Runs of alphabetic characters.
#[derive(Clone, Debug)]
pub struct Letters<'t> {
    rest: &'t [u8],
}

impl<'t> Letters<'t> {
    /// The runs of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'t [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'t> Iterator for Letters<'t> {
    type Item = &'t [u8];

    #[inline]
    fn next(&mut self) -> Option<&'t [u8]> {
        let mut start = 0;
        loop {
            let tail = self.rest.get(start..).filter(|tail| !tail.is_empty())?;
            if letter_len(tail) > 0 {
                break;
            }
            start += text::char_len(tail);
        }
        let mut end = start;
        loop {
            match letter_len(&self.rest[end..]) {
                0 => break,
                length => end += length,
            }
        }
        let token = &self.rest[start..end];
        self.rest = &self.rest[end..];
        Some(token)
    }
}

/// The length of the alphabetic character that `bytes` begins with; 0 if it begins with none.
#[inline]
pub(crate) fn letter_len(bytes: &[u8]) -> usize {
    let Some(&first) = bytes.first() else {
        return 0;
    };
    match LETTERS[usize::from(first)] {
        Class::Inside => 1,
        Class::Outside => 0,
        Class::Depends => wide_letter_len(bytes),
    }
}

/// As [`letter_len`], apart, so that the loop over ASCII stays small.
#[inline(never)]
fn wide_letter_len(bytes: &[u8]) -> usize {
    match text::decode(bytes) {
        Some((character, length)) if text::is_alphabetic(character) => length,
        _ => 0,
    }
}

/// The words of UAX #29.
///
/// A well-formed part is cut where [`Boundary::Word`] allows it: each stretch gives its words by itself, so cuts elsewhere cannot
/// matter, and a stretch of plain ASCII takes the fast way of the segmentation.
pub struct Words<'t> {
    parts: Utf8Chunks<'t>,
    part: &'t str,
    words: Option<UnicodeWords<'t>>,
}

impl std::fmt::Debug for Words<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Words").field("part", &self.part).finish_non_exhaustive()
    }
}

impl<'t> Words<'t> {
    /// The words of `bytes`.
    #[must_use]
    pub fn new(bytes: &'t [u8]) -> Self {
        Self { parts: bytes.utf8_chunks(), part: "", words: None }
    }
}

impl<'t> Iterator for Words<'t> {
    type Item = &'t [u8];

    fn next(&mut self) -> Option<&'t [u8]> {
        loop {
            if let Some(word) = self.words.as_mut().and_then(Iterator::next) {
                return Some(word.as_bytes());
            }
            if self.part.is_empty() {
                self.part = self.parts.next()?.valid();
            }
            let (stretch, rest) = self.part.split_at(stretch_len(self.part));
            self.part = rest;
            self.words = Some(stretch.unicode_words());
        }
    }
}

/// How far `text` goes to its first [`Boundary::Word`].
fn stretch_len(text: &str) -> usize {
    let bytes = text.as_bytes();
    let cut = bytes.iter().enumerate().position(|(at, byte)| match byte {
        b'\n' => true,
        b' ' | b'\t' => bytes.get(at + 1).is_some_and(u8::is_ascii),
        _ => false,
    });
    cut.map_or(bytes.len(), |at| at + 1)
}

/// The matches of an expression in each line that are not empty.
#[derive(Debug)]
pub struct RegexTokens<'t> {
    regex: &'t Regex,
    rest: &'t [u8],
    matches: Option<Matches<'t, 't>>,
}

impl<'t> RegexTokens<'t> {
    /// The matches in the lines of `bytes`.
    #[must_use]
    pub const fn new(regex: &'t Regex, bytes: &'t [u8]) -> Self {
        Self { regex, rest: bytes, matches: None }
    }
}

impl<'t> Iterator for RegexTokens<'t> {
    type Item = &'t [u8];

    fn next(&mut self) -> Option<&'t [u8]> {
        loop {
            let found = self.matches.as_mut().and_then(|matches| matches.find(|found| !found.is_empty()));
            if let Some(found) = found {
                return Some(found.as_bytes());
            }
            if self.rest.is_empty() {
                return None;
            }
            let end = memchr::memchr(b'\n', self.rest).unwrap_or(self.rest.len());
            self.matches = Some(self.regex.find_iter(&self.rest[..end]));
            self.rest = self.rest.get(end + 1..).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn strings(tokens: &Tokens, bytes: &[u8]) -> Vec<String> {
        tokens.of(bytes).map(|token| token.escape_ascii().to_string()).collect()
    }

    proptest! {
        #[test]
        fn white_space_splits_text_as_the_standard_library_does(text in "(\\PC|\\s|\u{85}|\u{3000}){0,40}") {
            let expected: Vec<_> = text.split_whitespace().map(str::as_bytes).collect();
            prop_assert_eq!(Tokens::Whitespace.of(text.as_bytes()).collect::<Vec<_>>(), expected);
        }

        #[test]
        fn runs_handed_over_are_those_of_the_iterator(text in "(\\PC|[a-z]{1,90}|\\s|\u{85}|\u{3000}){0,40}") {
            let (bytes, mut iterator) = (text.as_bytes(), Whitespace::new(text.as_bytes()));
            let each = Whitespace::each(bytes, |run, ascii| {
                prop_assert_eq!(Some(&bytes[run.clone()]), iterator.next());
                prop_assert!(!ascii || run.len() > 64 || bytes[run].is_ascii());
                Ok(())
            });
            each?;
            prop_assert_eq!(iterator.next(), None);
        }

        #[test]
        fn letters_are_what_other_characters_leave(text in "(\\PC|\\pL|\\pM){0,40}") {
            let expected: Vec<_> = text.split(|c: char| !c.is_alphabetic()).filter(|run| !run.is_empty()).map(str::as_bytes).collect();
            prop_assert_eq!(Tokens::Letters.of(text.as_bytes()).collect::<Vec<_>>(), expected);
        }

        #[test]
        fn words_are_those_of_the_whole_text(text in "(\\PC|[ \t\r\n.,:'_a1\u{300}\u{200d}\u{5d0}\u{30ab}🇩🇪]){0,40}") {
            let expected: Vec<_> = text.unicode_words().map(str::as_bytes).collect();
            prop_assert_eq!(Tokens::Words.of(text.as_bytes()).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn an_ill_formed_byte_belongs_to_a_token_of_white_space_and_ends_letters_and_words() {
        let bytes = b"one\xfftwo \xe2\x80 x";
        assert_eq!(strings(&Tokens::Whitespace, bytes), ["one\\xfftwo", "\\xe2\\x80", "x"]);
        assert_eq!(strings(&Tokens::Letters, bytes), ["one", "two", "x"]);
        assert_eq!(strings(&Tokens::Words, bytes), ["one", "two", "x"]);
    }

    #[test]
    fn a_run_tells_where_it_ends() {
        let mut tokens = Whitespace::new("\u{a0}1 22\t".as_bytes());
        let mut next = || {
            let token = tokens.next()?;
            Some((tokens.end(), token))
        };
        assert_eq!([next(), next(), next()], [Some((3, b"1".as_slice())), Some((6, b"22")), None]);
    }

    #[test]
    fn an_expression_sees_a_line_without_its_line_feed_and_gives_no_empty_match() {
        let tokens = Tokens::Regex(Regex::new(r"(?:^|,)\w*\r?$|b*").unwrap());
        assert_eq!(strings(&tokens, b"a\nxbb,c\r\n\n,d"), ["a", "bb", ",c\\r", ",d"]);
    }
}
