//! Where a source may be cut so that no record is.
//!
//! Whether a place is a boundary is told by the three bytes before it and the two after, so that a reader looks at the
//! neighbourhood of a cut alone; except in CSV, where it depends on all quotes since the last boundary. What would surprise:
//! ill-formed bytes need no care here, since a lead byte never stands inside a well-formed character, and so every character is
//! found wherever the reading began.

use crate::selection::quotes::Quotes;
use crate::text;

/// Bytes before a place that tell whether it is a boundary.
pub const LOOK_BEHIND: usize = 3;
/// Bytes after a place that tell whether it is a boundary.
pub const LOOK_AHEAD: usize = 2;

/// A program's rule for cutting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundary {
    /// After any Unicode white space character.
    Space,
    /// As [`Boundary::Space`]; inside a run longer than a chunk, before any character.
    SpaceOrCharacter,
    /// After a line feed, or after an ASCII space or tab that an ASCII byte follows: there UAX #29 never joins.
    Word,
    /// After a line feed.
    Line,
    /// After a blank line, one that is empty but for a carriage return, if none follows: so what comes next begins with none, and
    /// nothing before it needs to be known.
    Paragraph,
    /// After this byte.
    Byte(u8),
    /// After a line feed that is not between double quotes, where this byte separates fields.
    Csv(u8),
}

impl Boundary {
    /// Whether the bytes around a place tell all of it. If not, bytes are looked at from a boundary on.
    #[must_use]
    pub const fn is_local(self) -> bool {
        !matches!(self, Self::Csv(_))
    }

    /// Whether `at` is a boundary inside `bytes`. Both ends of `bytes` are taken for the middle of something: only what the
    /// bytes themselves tell counts.
    #[must_use]
    #[inline]
    pub fn is_at(self, bytes: &[u8], at: usize) -> bool {
        let Some(&before) = at.checked_sub(1).and_then(|last| bytes.get(last)) else { return false };
        match self {
            Self::Line => before == b'\n',
            Self::Byte(byte) => before == byte,
            Self::Paragraph => {
                let blank = bytes[..at].ends_with(b"\n\n") || bytes[..at].ends_with(b"\n\r\n");
                blank && !matches!(bytes[at..], [] | [b'\n', ..] | [b'\r'] | [b'\r', b'\n', ..])
            }
            Self::Csv(_) => self.first_in(bytes, at - 1, at).is_some(),
            Self::Word => {
                before == b'\n' || (matches!(before, b' ' | b'\t') && bytes.get(at).is_some_and(u8::is_ascii))
            }
            Self::Space | Self::SpaceOrCharacter => ends_in_white_space(&bytes[..at]),
        }
    }

    /// The byte that every boundary of this kind stands behind.
    const fn byte(self) -> Option<u8> {
        match self {
            Self::Line => Some(b'\n'),
            Self::Byte(byte) => Some(byte),
            _ => None,
        }
    }

    /// The last boundary in `(from, to]`. Unless it is [local](Boundary::is_local), `bytes` begin at a boundary.
    #[must_use]
    pub fn last_in(self, bytes: &[u8], from: usize, to: usize) -> Option<usize> {
        if let Some(byte) = self.byte() {
            return memchr::memrchr(byte, &bytes[from..to]).map(|at| from + at + 1);
        }
        if let Self::Csv(delimiter) = self {
            return Quotes::new(delimiter).ends(&bytes[..to]).filter(|&at| at > from).last();
        }
        (from + 1..=to).rev().find(|&at| self.is_at(bytes, at))
    }

    /// The first boundary in `(from, to]`. Unless it is [local](Boundary::is_local), `bytes` begin at a boundary.
    #[must_use]
    pub fn first_in(self, bytes: &[u8], from: usize, to: usize) -> Option<usize> {
        if let Some(byte) = self.byte() {
            return memchr::memchr(byte, &bytes[from..to]).map(|at| from + at + 1);
        }
        if let Self::Csv(delimiter) = self {
            return Quotes::new(delimiter).ends(&bytes[..to]).find(|&at| at > from);
        }
        (from + 1..=to).find(|&at| self.is_at(bytes, at))
    }
}

/// The greatest place at or below `at` that stands before a whole character, however ill-formed the bytes around it.
///
/// A character has at most three bytes after its lead: behind four of them, no character goes on.
#[must_use]
pub fn character_at_or_before(bytes: &[u8], at: usize) -> usize {
    let continues = |place: usize| bytes.get(place).is_some_and(|byte| byte & 0xC0 == 0x80);
    (at.saturating_sub(3)..=at).rev().find(|&place| !continues(place)).unwrap_or(at)
}

#[inline]
fn ends_in_white_space(bytes: &[u8]) -> bool {
    match bytes {
        [.., last] if last.is_ascii() => matches!(last, b'\t'..=b'\r' | b' '),
        [.., a, b, c] if text::space_len(&[*a, *b, *c]) == 3 => true,
        [.., b, c] => text::space_len(&[*b, *c]) == 2,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unicode_white_space_character_is_a_boundary() {
        for character in ('\0'..=char::MAX).filter(|c| c.is_whitespace()) {
            let text = format!("a{character}b");
            let after = 1 + character.len_utf8();
            let found: Vec<_> = (0..=text.len()).filter(|&at| Boundary::Space.is_at(text.as_bytes(), at)).collect();
            assert_eq!(found, [after], "{character:?}");
        }
    }

    #[test]
    fn blank_lines_end_a_paragraph_with_or_without_carriage_returns() {
        let found =
            |text: &[u8]| -> Vec<_> { (0..=text.len()).filter(|&at| Boundary::Paragraph.is_at(text, at)).collect() };
        assert_eq!(found(b"a\n\nb\n\n\nc"), [3, 7]);
        assert_eq!(found(b"a\r\n\r\nb\n\r"), [5]);
        assert_eq!(found(b"a\n\n\r\n\rb"), [5]);
        assert!(found(b"\na\n b").is_empty());
    }

    #[test]
    fn a_line_feed_between_quotes_is_no_boundary_of_csv() {
        let text = b"a,\"b\nc\"\nd\n";
        let found: Vec<_> = (0..=text.len()).filter(|&at| Boundary::Csv(b',').is_at(text, at)).collect();
        assert_eq!(found, [8, 10]);
        assert_eq!(Boundary::Csv(b',').last_in(text, 0, 9), Some(8));
        assert_eq!(Boundary::Csv(b',').first_in(text, 8, text.len()), Some(10));
    }

    #[test]
    fn a_space_before_a_combining_mark_is_no_boundary_of_words() {
        assert!(!Boundary::Word.is_at("a \u{308}b".as_bytes(), 2));
        assert!(Boundary::Word.is_at(b"a b", 2));
        assert!(!Boundary::Word.is_at(b"a ", 2), "what follows is not known");
    }

    #[test]
    fn a_cut_before_a_character_leaves_its_bytes_together() {
        let text = "aé€😀".as_bytes();
        let places: Vec<_> = (0..=text.len()).map(|at| character_at_or_before(text, at)).collect();
        assert_eq!(places, [0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10]);
        assert_eq!(character_at_or_before(&[0x80; 9], 5), 5, "nothing well-formed is there to be cut");
    }
}
