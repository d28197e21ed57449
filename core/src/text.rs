//! Bytes seen as characters: well-formed UTF-8, and ill-formed bytes that each count as one character.
//!
//! An ill-formed byte is neither space nor letter and passes unchanged. Nothing here knows words or jobs. What would surprise:
//! UTF-8 synchronises itself, so whether a character is well formed depends on its own bytes alone. That is why a source may be
//! cut before any character, and why looking for white space needs no validation.

use std::borrow::Cow;
use std::sync::LazyLock;

/// The well-formed character that `bytes` begins with, and its length in bytes; `None` for an ill-formed byte and at the end.
#[inline]
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<(char, usize)> {
    let &lead = bytes.first()?;
    // A table of lead bytes instead would allow overlong forms: those are refused below, by the least value of each length.
    let (length, least, mut code) = match lead {
        0x00..=0x7f => return Some((char::from(lead), 1)),
        0xc2..=0xdf => (2, 0x80, u32::from(lead & 0x1f)),
        0xe0..=0xef => (3, 0x800, u32::from(lead & 0x0f)),
        0xf0..=0xf4 => (4, 0x1_0000, u32::from(lead & 0x07)),
        _ => return None,
    };
    for &byte in bytes.get(1..length)? {
        if byte & 0xc0 != 0x80 {
            return None;
        }
        code = code << 6 | u32::from(byte & 0x3f);
    }
    if code < least {
        return None;
    }
    Some((char::from_u32(code)?, length))
}

/// The length of the character that `bytes` begins with: 1 for an ill-formed byte, 0 at the end.
#[inline]
#[must_use]
pub fn char_len(bytes: &[u8]) -> usize {
    decode(bytes).map_or(usize::from(!bytes.is_empty()), |(_, length)| length)
}

/// The length of the Unicode white space character that `bytes` begins with; 0 if it begins with none.
#[inline]
#[must_use]
pub fn space_len(bytes: &[u8]) -> usize {
    match *bytes {
        [b'\t'..=b'\r' | b' ', ..] => 1,
        [0xc2, 0x85 | 0xa0, ..] => 2,
        [0xe1, 0x9a, 0x80, ..] | [0xe2, 0x81, 0x9f, ..] | [0xe3, 0x80, 0x80, ..] => 3,
        [0xe2, 0x80, 0x80..=0x8a | 0xa8 | 0xa9 | 0xaf, ..] => 3,
        _ => 0,
    }
}

/// How many characters there are: well-formed ones and ill-formed bytes.
#[must_use]
pub fn count_chars(bytes: &[u8]) -> u64 {
    // Validation and `chars().count()` both run many bytes at a time; ill-formed bytes are rare.
    bytes.utf8_chunks().map(|chunk| (chunk.valid().chars().count() + chunk.invalid().len()) as u64).sum()
}

/// Whether a character is alphabetic.
#[inline]
#[must_use]
pub fn is_alphabetic(character: char) -> bool {
    static TABLE: LazyLock<Table> = LazyLock::new(|| Table::new(char::is_alphabetic));
    TABLE.has(character).unwrap_or_else(|| character.is_alphabetic())
}

/// Whether a character is another one, or several, in lower case.
#[inline]
fn has_lowercase(character: char) -> bool {
    static TABLE: LazyLock<Table> = LazyLock::new(|| Table::new(|character| !character.to_lowercase().eq([character])));
    TABLE.has(character).unwrap_or_else(|| !character.to_lowercase().eq([character]))
}

/// A property of the characters up to U+FFFF, a bit each: the search of the standard library takes ten times as long.
struct Table([u64; 1024]);

impl Table {
    fn new(property: fn(char) -> bool) -> Self {
        let mut bits = [0; 1024];
        for code in 0..=u32::from(u16::MAX) {
            if char::from_u32(code).is_some_and(property) {
                bits[code as usize / 64] |= 1 << (code % 64);
            }
        }
        Self(bits)
    }

    /// `None` for a character beyond the table.
    #[inline]
    fn has(&self, character: char) -> Option<bool> {
        let code = u32::from(character);
        self.0.get(code as usize / 64).map(|bits| bits >> (code % 64) & 1 == 1)
    }
}

/// One token in lower case: Unicode's full mapping, without any locale, of this token by itself.
///
/// Ill-formed bytes pass. They end the context that a final sigma looks at, as any sign that is no letter does.
#[must_use]
pub fn lowercase(token: &[u8]) -> Cow<'_, [u8]> {
    if token.is_ascii() {
        if token.iter().any(u8::is_ascii_uppercase) {
            return Cow::Owned(token.to_ascii_lowercase());
        }
        return Cow::Borrowed(token);
    }
    let mut rest = token;
    while !rest.is_empty() {
        let (changes, length) =
            decode(rest).map_or((false, 1), |(character, length)| (has_lowercase(character), length));
        if changes {
            return Cow::Owned(mapped(token));
        }
        rest = &rest[length..];
    }
    Cow::Borrowed(token)
}

/// What is left to do when a character has a lower case.
fn mapped(token: &[u8]) -> Vec<u8> {
    let mut lower = Vec::with_capacity(token.len());
    for chunk in token.utf8_chunks() {
        lower.extend_from_slice(chunk.valid().to_lowercase().as_bytes());
        lower.extend_from_slice(chunk.invalid());
    }
    lower
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bytes near the edges of UTF-8, so that broken sequences are common.
    fn edgy() -> impl Strategy<Value = Vec<u8>> {
        let edges = prop::sample::select(vec![
            0x20, 0x41, 0x80, 0x85, 0x8a, 0x9a, 0x9f, 0xa0, 0xa8, 0xbf, 0xc0, 0xc2, 0xdf, 0xe0, 0xe1, 0xe2, 0xe3, 0xed,
            0xef, 0xf0, 0xf4, 0xf5, 0xff,
        ]);
        prop::collection::vec(prop_oneof![edges, any::<u8>()], 0..24)
    }

    /// The same view from the standard library: `None` is an ill-formed byte.
    fn reference(bytes: &[u8]) -> Vec<Option<char>> {
        let parts = bytes.utf8_chunks();
        parts.flat_map(|part| part.valid().chars().map(Some).chain(part.invalid().iter().map(|_| None))).collect()
    }

    proptest! {
        #[test]
        fn characters_are_those_of_the_standard_library(bytes in edgy()) {
            let (mut rest, mut seen) = (bytes.as_slice(), Vec::new());
            while !rest.is_empty() {
                let character = decode(rest).map(|(character, _)| character);
                prop_assert_eq!(space_len(rest) > 0, character.is_some_and(char::is_whitespace));
                seen.push(character);
                rest = &rest[char_len(rest)..];
            }
            prop_assert_eq!(&seen, &reference(&bytes));
            prop_assert_eq!(count_chars(&bytes), seen.len() as u64);
        }

        #[test]
        fn lower_case_of_text_is_that_of_the_standard_library(text: String) {
            let lower = lowercase(text.as_bytes());
            let expected = text.to_lowercase();
            prop_assert_eq!(lower.as_ref(), expected.as_bytes());
        }
    }

    #[test]
    fn every_white_space_character_is_found_with_its_length() {
        for character in (0..=u32::from(char::MAX)).filter_map(char::from_u32) {
            let mut bytes = [0; 4];
            let text = character.encode_utf8(&mut bytes);
            let expected = if character.is_whitespace() { text.len() } else { 0 };
            assert_eq!(space_len(text.as_bytes()), expected, "{character:?}");
        }
    }

    #[test]
    fn the_tables_say_what_the_standard_library_says() {
        for character in '\0'..=char::MAX {
            let mut bytes = [0; 4];
            let text = &*character.encode_utf8(&mut bytes);
            assert_eq!(is_alphabetic(character), character.is_alphabetic(), "{character:?}");
            let expected = text.to_lowercase();
            let lower = lowercase(text.as_bytes());
            assert_eq!(lower.as_ref(), expected.as_bytes());
            assert_eq!(matches!(lower, Cow::Borrowed(_)), text == expected, "{character:?}");
        }
    }

    #[test]
    fn lower_case_passes_ill_formed_bytes_and_knows_a_final_sigma() {
        assert_eq!(lowercase(b"A\xffB").as_ref(), b"a\xffb");
        assert_eq!(lowercase("ΟΔΟΣ".as_bytes()).as_ref(), "οδος".as_bytes());
        assert_eq!(lowercase("İ".as_bytes()).as_ref(), "i\u{307}".as_bytes());
        assert!(matches!(lowercase("straße".as_bytes()), Cow::Borrowed(_)));
    }
}
