//! Tokens between white space on their way into a table, as words in registers where they are short.
//!
//! The quick twin of [`Tokens::of`](crate::tokens::Tokens::of) with [`text::lowercase`].

use crate::short::{Key, ShortKey};
use crate::text;
use crate::tokens::Whitespace;

/// Hands over each word of `bytes`, in lower case if that is asked for.
///
/// # Errors
/// Stops with the first error of `take`.
#[inline(always)]
pub(super) fn each<E>(bytes: &[u8], lowercase: bool, take: &mut impl FnMut(Key<'_>) -> Result<(), E>) -> Result<(), E> {
    if lowercase { each_in::<true, E>(bytes, take) } else { each_in::<false, E>(bytes, take) }
}

#[inline(never)]
fn each_in<const LOWERCASE: bool, E>(bytes: &[u8], take: &mut impl FnMut(Key<'_>) -> Result<(), E>) -> Result<(), E> {
    Whitespace::each(bytes, |token, ascii| {
        if let Some(key) = ShortKey::within(bytes, token.start, token.len()) {
            if !LOWERCASE {
                return take(Key::Short(key));
            }
            if ascii || key.is_ascii() {
                return take(Key::Short(key.to_ascii_lowercase()));
            }
        }
        other::<LOWERCASE, E>(&bytes[token], take)
    })
}

/// Hands over any token.
#[inline(never)]
fn other<const LOWERCASE: bool, E>(token: &[u8], take: &mut impl FnMut(Key<'_>) -> Result<(), E>) -> Result<(), E> {
    if LOWERCASE { take(Key::of(&text::lowercase(token))) } else { take(Key::of(token)) }
}
