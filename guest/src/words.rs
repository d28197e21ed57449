//! Words of a record.
//!
//! What would surprise: eight bytes are looked at together, whether any of them is as small as white space.

/// One, in each byte.
const EACH: u64 = 0x0101_0101_0101_0101;

/// Runs of bytes of which none is white space of ASCII, as C has it: space, tab, line feed, vertical tab, form feed and carriage
/// return.
#[derive(Clone, Debug)]
pub struct Words<'r> {
    bytes: &'r [u8],
}

impl<'r> Words<'r> {
    pub(crate) fn of(bytes: &'r [u8]) -> Self {
        Self { bytes }
    }
}

impl<'r> Iterator for Words<'r> {
    type Item = &'r [u8];

    #[inline]
    fn next(&mut self) -> Option<&'r [u8]> {
        let mut bytes = self.bytes;
        while let Some((first, rest)) = bytes.split_first() {
            if !is_space(*first) {
                let (word, rest) = bytes.split_at(length(bytes));
                self.bytes = rest;
                return Some(word);
            }
            bytes = rest;
        }
        None
    }
}

#[inline]
fn is_space(byte: u8) -> bool {
    byte <= b' ' && matches!(byte, b' ' | b'\t'..=b'\r')
}

/// How many bytes there are before the first white space.
#[inline]
fn length(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(eight) = bytes.get(at..at + 8) {
        let mut word = [0; 8];
        word.copy_from_slice(eight);
        let word = u64::from_le_bytes(word);
        // The highest bit of each byte that is as small as a space or smaller: nothing carries from one byte to the next.
        let small = !(((word & (0x7f * EACH)) + 0x5f * EACH) | word) & (0x80 * EACH);
        if small == 0 {
            at += 8;
            continue;
        }
        at += small.trailing_zeros() as usize / 8;
        if is_space(bytes[at]) {
            return at;
        }
        at += 1;
    }
    while at < bytes.len() && !is_space(bytes[at]) {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_what_stands_between_white_space_whatever_stands_in_them() {
        // Every byte, at every place of eight and behind.
        for byte in 0..=255_u8 {
            for place in 0..20 {
                let mut text = vec![b'x'; 20];
                text[place] = byte;
                let expected: Vec<&[u8]> =
                    text.split(|byte| b" \t\n\x0b\x0c\r".contains(byte)).filter(|word| !word.is_empty()).collect();
                assert_eq!(Words::of(&text).collect::<Vec<_>>(), expected, "{} at {}", byte, place);
            }
        }
        assert_eq!(Words::of(b"").count() + Words::of(b" \t \r\n").count(), 0);
        assert_eq!(Words::of(b"  to be\n").collect::<Vec<_>>(), [&b"to"[..], b"be"]);
    }
}
