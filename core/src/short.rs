//! Keys as a table takes them: up to fifteen bytes in two machine words, longer ones where they lie.
//!
//! Most keys of text are short; as words they are compared, hashed and put in lower case without a loop. Knows nothing of
//! tables. What would surprise: the length is a part of the words, so that comparing these is all there is to comparing keys.

/// The longest short key, in bytes.
pub const SHORT_BYTES: usize = WORD_BYTES - 1;
/// Bytes of both words.
const WORD_BYTES: usize = 16;

/// A key.
#[derive(Clone, Copy, Debug)]
pub enum Key<'k> {
    /// Of fifteen bytes at the most.
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
                // All of it never happens; where nobody needs the bytes, a failure would keep the copy.
                room.get(..key.len()).unwrap_or(room)
            }
            Self::Long(bytes) => bytes,
        }
    }
}

/// A key of fifteen bytes at the most.
///
/// Two words rather than one of twice the size: what is written to memory in halves and read as a whole stalls a processor.
/// The default is no key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShortKey {
    /// Its bytes, the first ones lowest, and zeros; in the highest byte one more than its length.
    words: [u64; 2],
}

/// Above the bytes.
const LENGTH_SHIFT: u32 = 8 * (SHORT_BYTES as u32 - 8);

/// Of each length, which bytes belong to a key, and the length as a part of its words.
const LENGTHS: [([u64; 2], [u64; 2]); SHORT_BYTES + 1] = {
    let (mut lengths, mut length) = ([([0; 2], [0; 2]); SHORT_BYTES + 1], 0);
    while length <= SHORT_BYTES {
        let bytes = as_words(((1_u128 << (8 * length)) - 1).to_le_bytes());
        lengths[length] = (bytes, [0, (length as u64 + 1) << LENGTH_SHIFT]);
        length += 1;
    }
    lengths
};

const fn as_words(bytes: [u8; WORD_BYTES]) -> [u64; 2] {
    let words = u128::from_le_bytes(bytes);
    [words as u64, (words >> 64) as u64]
}

const fn each_byte(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

impl ShortKey {
    /// The key of these bytes, unless they are too many.
    #[inline]
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let (_, [_, of_length]) = LENGTHS.get(bytes.len())?;
        // Two words that overlap are quicker than a loop or a copy of unknown length.
        let words = if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
            let behind = bytes.len() - 8;
            u128::from(u64::from_le_bytes(*first)) | u128::from(u64::from_le_bytes(*last)) << (8 * behind)
        } else if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
            let behind = bytes.len() - 4;
            u128::from(u32::from_le_bytes(*first)) | u128::from(u32::from_le_bytes(*last)) << (8 * behind)
        } else {
            bytes.iter().rev().fold(0, |words, byte| words << 8 | u128::from(*byte))
        };
        let [low, high] = as_words(words.to_le_bytes());
        Some(Self { words: [low, high | of_length] })
    }

    /// The key of `length` of the bytes from `start` on, if that is quick: it must not be long, and sixteen bytes are read.
    #[inline(always)]
    #[must_use]
    pub fn within(bytes: &[u8], start: usize, length: usize) -> Option<Self> {
        let words = as_words(*bytes.get(start..)?.first_chunk()?);
        let (belong, of_length) = LENGTHS.get(length)?;
        Some(Self { words: [words[0] & belong[0] | of_length[0], words[1] & belong[1] | of_length[1]] })
    }

    /// How many bytes it has.
    #[inline]
    #[must_use]
    pub const fn len(self) -> usize {
        ((self.words[1] >> LENGTH_SHIFT) as usize).saturating_sub(1)
    }

    /// Whether it has none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Its bytes, and zeros behind them.
    #[inline]
    #[must_use]
    pub const fn padded(self) -> [u8; SHORT_BYTES] {
        let [low, high] = self.words;
        let bytes = (low as u128 | (high as u128) << 64).to_le_bytes();
        *bytes.first_chunk().expect("there is one byte more")
    }

    /// Its bytes as two words, the first ones lowest; in the highest byte one more than its length.
    #[inline]
    pub(crate) const fn words(self) -> [u64; 2] {
        self.words
    }

    /// The key of these words.
    #[inline]
    pub(crate) const fn from_words(words: [u64; 2]) -> Self {
        Self { words }
    }

    /// Whether one of its bytes is zero.
    #[inline]
    #[must_use]
    pub const fn has_zero(self) -> bool {
        let ([low, high], _) = LENGTHS[self.len()];
        has_zero(self.words[0] | !low) || has_zero(self.words[1] | !high)
    }

    /// The key of its bytes and these behind them, unless they are too many.
    #[inline]
    #[must_use]
    pub fn followed_by(self, more: [u8; 4]) -> Option<Self> {
        let length = self.len();
        let (_, [_, of_length]) = LENGTHS.get(length + more.len())?;
        let [low, high] = as_words((u128::from(u32::from_le_bytes(more)) << (8 * length)).to_le_bytes());
        let bytes = self.words[1] & !(0xff << LENGTH_SHIFT);
        Some(Self { words: [self.words[0] | low, bytes | high | of_length] })
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
        // No length is a letter.
        Self { words: [lowercase(low), lowercase(high)] }
    }
}

#[inline]
const fn has_zero(word: u64) -> bool {
    // What is subtracted borrows into the highest bit of a byte only where that byte, or one below it, is zero.
    word.wrapping_sub(each_byte(1)) & !word & each_byte(0x80) != 0
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
        fn bytes_behind_a_key_make_the_key_of_both(key in prop::collection::vec(any::<u8>(), 0..=15), more: [u8; 4]) {
            let both = [key.as_slice(), &more].concat();
            prop_assert_eq!(ShortKey::of(&key).unwrap().followed_by(more), ShortKey::of(&both));
        }

        #[test]
        fn a_key_is_the_same_wherever_it_is_read(before: Vec<u8>, key: Vec<u8>, behind: Vec<u8>) {
            let all = [before.as_slice(), &key, &behind].concat();
            let read = ShortKey::within(&all, before.len(), key.len());
            let room = WORD_BYTES <= key.len() + behind.len();
            prop_assert_eq!(read, ShortKey::of(&key).filter(|_| room));
            prop_assert_eq!(ShortKey::of(&key).is_some_and(ShortKey::has_zero), key.len() <= SHORT_BYTES && key.contains(&0));
            if let Some(read) = read {
                prop_assert_eq!(&read.padded()[..read.len()], key.as_slice());
                prop_assert!(read.padded()[read.len()..].iter().all(|byte| *byte == 0));
                prop_assert_eq!(read.is_ascii(), key.is_ascii());
            }
        }
    }
}
