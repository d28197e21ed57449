//! Keys as a table takes them: up to sixteen bytes in two machine words, longer ones where they lie.
//!
//! Most keys of text are short; as words they are compared, hashed and put in lower case without a loop. Knows nothing of
//! tables. What would surprise: a short key is told apart from the same one with zeros behind it by its length alone.

/// The longest short key, in bytes.
pub const SHORT_BYTES: usize = 16;

/// A key.
#[derive(Clone, Copy, Debug)]
pub enum Key<'k> {
    /// Of sixteen bytes at the most.
    Short(ShortKey),
    /// Of more.
    Long(&'k [u8]),
}

impl<'k> Key<'k> {
    /// The key of these bytes.
    #[inline]
    #[must_use]
    pub fn of(bytes: &'k [u8]) -> Self {
        ShortKey::of(bytes).map_or(Self::Long(bytes), Self::Short)
    }

    /// Its bytes; a short key's are put into `room`.
    #[inline(always)]
    #[must_use]
    pub fn bytes<'b>(self, room: &'b mut [u8; SHORT_BYTES]) -> &'b [u8]
    where
        'k: 'b,
    {
        match self {
            Self::Short(key) => {
                *room = key.padded();
                &room[..key.len()]
            }
            Self::Long(bytes) => bytes,
        }
    }
}

/// A key of sixteen bytes at the most.
///
/// Two words rather than one of twice the size: what is written to memory in halves and read as a whole stalls a processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShortKey {
    /// Its bytes, the first ones lowest, and zeros.
    words: [u64; 2],
    length: u64,
}

const fn each_byte(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

impl ShortKey {
    /// The key of these bytes, unless they are too many.
    #[inline]
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        // Two words that overlap are quicker than a loop or a copy of unknown length.
        let length = bytes.len();
        let words = if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
            let behind = length - 8;
            if behind > 8 {
                return None;
            }
            u128::from(u64::from_le_bytes(*first)) | u128::from(u64::from_le_bytes(*last)) << (8 * behind)
        } else if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
            u128::from(u32::from_le_bytes(*first)) | u128::from(u32::from_le_bytes(*last)) << (8 * (length - 4))
        } else {
            bytes.iter().rev().fold(0, |words, byte| words << 8 | u128::from(*byte))
        };
        Some(Self::new(words, length))
    }

    #[inline(always)]
    const fn new(words: u128, length: usize) -> Self {
        Self { words: [words as u64, (words >> 64) as u64], length: length as u64 }
    }

    /// The key of `length` of the bytes from `start` on, unless they are too many; there must be as many.
    ///
    /// The bytes behind it are read along where there are any, which is why it is the quickest way.
    #[inline]
    #[must_use]
    pub fn within(bytes: &[u8], start: usize, length: usize) -> Option<Self> {
        if length == 0 || length > SHORT_BYTES {
            return Self::of(&bytes[start..start + length]);
        }
        let Some(words) = bytes.get(start..).and_then(|rest| rest.first_chunk()) else {
            return Self::of(&bytes[start..start + length]);
        };
        Some(Self::new(u128::from_le_bytes(*words) & (u128::MAX >> (8 * (SHORT_BYTES - length))), length))
    }

    /// How many bytes it has.
    #[inline]
    #[must_use]
    pub const fn len(self) -> usize {
        self.length as usize
    }

    /// Whether it has none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.length == 0
    }

    /// Its bytes, and zeros behind them.
    #[inline]
    #[must_use]
    pub const fn padded(self) -> [u8; SHORT_BYTES] {
        let [low, high] = self.words;
        (low as u128 | (high as u128) << 64).to_le_bytes()
    }

    /// Its bytes as two words, the first ones lowest.
    #[inline]
    pub(crate) const fn words(self) -> [u64; 2] {
        self.words
    }

    /// The key of these words and length.
    #[inline]
    pub(crate) const fn from_words(words: [u64; 2], length: u64) -> Self {
        Self { words, length }
    }

    /// Whether all of it is ASCII.
    #[inline]
    #[must_use]
    pub const fn is_ascii(self) -> bool {
        (self.words[0] | self.words[1]) & each_byte(0x80) == 0
    }

    /// The same with `A` to `Z` in lower case; for ASCII only.
    #[inline]
    #[must_use]
    pub const fn to_ascii_lowercase(self) -> Self {
        let [low, high] = self.words;
        Self { words: [lowercase(low), lowercase(high)], length: self.length }
    }
}

#[inline]
const fn lowercase(word: u64) -> u64 {
    // No byte overflows into the next: each is below 0x80, and what is added is, too.
    let from_a = word + each_byte(0x80 - b'A');
    let beyond_z = word + each_byte(0x80 - b'Z' - 1);
    let upper = (from_a ^ beyond_z) & each_byte(0x80);
    // The bit of capital letters, 0x80, two places lower is the one that makes them small.
    word | upper >> 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_letter_gets_its_lower_case_and_nothing_else_changes() {
        for byte in 0..0x80 {
            let key = ShortKey::of(&[b'z', byte, b'@']).unwrap();
            let lower = [b'z', byte.to_ascii_lowercase(), b'@'];
            assert_eq!(key.to_ascii_lowercase(), ShortKey::of(&lower).unwrap(), "{byte}");
        }
    }

    proptest! {
        #[test]
        fn a_key_is_the_same_wherever_it_is_read(before: Vec<u8>, key: Vec<u8>, behind: Vec<u8>) {
            let all = [before.as_slice(), &key, &behind].concat();
            let read = ShortKey::within(&all, before.len(), key.len());
            prop_assert_eq!(read, ShortKey::of(&key));
            prop_assert_eq!(read.is_some(), key.len() <= SHORT_BYTES);
            if let Some(read) = read {
                prop_assert_eq!(&read.padded()[..read.len()], key.as_slice());
                prop_assert!(read.padded()[read.len()..].iter().all(|byte| *byte == 0));
                prop_assert_eq!(read.is_ascii(), key.is_ascii());
            }
        }
    }
}
