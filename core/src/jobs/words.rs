//! Tokens between white space on their way into a table, as words in registers where they are short.
//!
//! The quick twin of [`Tokens::of`](crate::tokens::Tokens::of) with [`text::lowercase`].

use crate::short::{Key, ShortKey};
use crate::text;
use crate::tokens::Whitespace;

/// Where words go. What it does with a short one is worth inlining, since nearly all of them are.
pub(super) trait TakeWord {
    /// Why it takes no more.
    type Error;
    /// A short one.
    fn short(&mut self, word: ShortKey) -> Result<(), Self::Error>;
    /// Any other.
    fn other(&mut self, word: &[u8]) -> Result<(), Self::Error>;
}

/// Hands over each word of `bytes`, in lower case if that is asked for.
///
/// # Errors
/// Stops with the first error of `take`.
pub(super) fn each<T: TakeWord>(bytes: &[u8], lowercase: bool, take: &mut T) -> Result<(), T::Error> {
    if lowercase { each_in::<true, T>(bytes, take) } else { each_in::<false, T>(bytes, take) }
}

#[inline(never)]
fn each_in<const LOWERCASE: bool, T: TakeWord>(bytes: &[u8], take: &mut T) -> Result<(), T::Error> {
    Whitespace::each(bytes, |token, ascii| {
        if let Some(word) = ShortKey::within(bytes, token.start, token.len()) {
            if !LOWERCASE {
                return take.short(word);
            }
            if ascii || word.is_ascii() {
                return take.short(word.to_ascii_lowercase());
            }
        }
        other::<LOWERCASE, T>(&bytes[token], take)
    })
}

/// Hands over any token.
#[inline(never)]
fn other<const LOWERCASE: bool, T: TakeWord>(token: &[u8], take: &mut T) -> Result<(), T::Error> {
    if !LOWERCASE {
        return take.other(token);
    }
    // What becomes short in lower case goes the way of all that are.
    match Key::of(&text::lowercase(token)) {
        Key::Short(word) => take.short(word),
        Key::Long(word) => take.other(word),
    }
}
