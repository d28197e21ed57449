//! Two byte strings in one key: a first part that tells where it ends, and any bytes behind it.
//!
//! Keys made so sort by the first part, then by what follows. What would surprise: an end behind the part alone would not keep that
//! order where a part holds zeros, so a zero inside a part is followed by a byte of its own.

use std::borrow::Cow;

/// Ends the first part of a key. A zero inside the part is followed by [`NOT_YET`] instead.
pub(crate) const END: [u8; 2] = [0, 0];
const NOT_YET: u8 = 0xff;

/// Appends `part`, escaped, and its end.
pub fn put_part(key: &mut Vec<u8>, part: &[u8]) {
    key.reserve(part.len() + END.len());
    if memchr::memchr(0, part).is_none() {
        key.extend_from_slice(part);
        key.extend_from_slice(&END);
        return;
    }
    for (index, stretch) in part.split(|&byte| byte == 0).enumerate() {
        if index > 0 {
            key.extend_from_slice(&[0, NOT_YET]);
        }
        key.extend_from_slice(stretch);
    }
    key.extend_from_slice(&END);
}

/// The first part of a key, escaped and with its end, and what follows; `None` if no part ends there.
#[must_use]
pub fn split_part(key: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut zeros = memchr::memchr_iter(0, key);
    let end = zeros.find(|&zero| key.get(zero + 1) == Some(&0))?;
    key.split_at_checked(end + END.len())
}

/// What [`put_part`] was given, from what [`split_part`] gave.
#[must_use]
pub fn read_part(escaped: &[u8]) -> Cow<'_, [u8]> {
    let part = escaped.strip_suffix(&END).unwrap_or(escaped);
    if !part.contains(&0) {
        return Cow::Borrowed(part);
    }
    let mut part = part.to_vec();
    let mut after_zero = false;
    part.retain(|&byte| {
        let kept = !(after_zero && byte == NOT_YET);
        after_zero = byte == 0;
        kept
    });
    Cow::Owned(part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn edges() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop::sample::select(vec![0, 1, b'a', 0xfe, 0xff]), 0..6)
    }

    fn made((part, rest): &(Vec<u8>, Vec<u8>)) -> Vec<u8> {
        let mut key = Vec::new();
        put_part(&mut key, part);
        key.extend_from_slice(rest);
        key
    }

    proptest! {
        #[test]
        fn keys_keep_the_order_of_their_parts_and_of_what_follows(
            left in (edges(), edges()), right in (edges(), edges()),
        ) {
            prop_assert_eq!(made(&left).cmp(&made(&right)), left.cmp(&right));
        }

        #[test]
        fn a_key_splits_into_what_it_was_made_of(pair in (edges(), edges())) {
            let key = made(&pair);
            let (part, rest) = split_part(&key).unwrap();
            prop_assert_eq!((read_part(part).into_owned(), rest.to_vec()), pair);
        }
    }

    #[test]
    fn bytes_in_which_no_part_ends_are_no_key() {
        assert_eq!(split_part(b""), None);
        assert_eq!(split_part(b"a\0\xffb\0"), None);
    }
}
