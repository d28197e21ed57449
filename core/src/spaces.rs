//! Where white space is, 64 bytes at a time: a bit a byte, set where a white space character stands.
//!
//! Knows nothing of tokens. ASCII is found by comparing sixteen bytes at once where the processor has SSE2, which every x86-64
//! has, and one by one elsewhere. What would surprise: all white space beyond ASCII begins with one of four bytes, so text that
//! has none of them is never decoded, whatever its script; and what lies beyond the end counts as white space.

use crate::text;

/// Bytes of a block: as many as a word has bits.
const BLOCK: usize = 64;

/// What is known of a block.
pub(crate) struct Block {
    /// Where it begins.
    pub(crate) begin: usize,
    /// A bit for each byte of white space in it.
    pub(crate) spaces: u64,
    /// Whether all of it is ASCII.
    pub(crate) ascii: bool,
}

/// The blocks of some bytes, in order.
#[derive(Clone, Debug)]
pub(crate) struct Spaces<'t> {
    bytes: &'t [u8],
    /// Where the next block begins.
    at: usize,
    /// What a character that began in the block before has in this one.
    carried: u64,
}

impl<'t> Spaces<'t> {
    pub(crate) const fn new(bytes: &'t [u8]) -> Self {
        Self { bytes, at: 0, carried: 0 }
    }

    /// The next block.
    #[inline(always)]
    pub(crate) fn next(&mut self) -> Option<Block> {
        let begin = self.at;
        self.at += BLOCK;
        if let Some(block) = self.bytes.get(begin..begin + BLOCK) {
            let block = block.try_into().expect("it has the length of a block");
            return Some(self.found(begin, block));
        }
        self.last(begin)
    }

    /// The block that the end lies in: the last one.
    #[cold]
    fn last(&mut self, begin: usize) -> Option<Block> {
        let rest = self.bytes.get(begin..)?;
        let mut block = [b' '; BLOCK];
        block[..rest.len()].copy_from_slice(rest);
        Some(self.found(begin, &block))
    }

    #[inline(always)]
    fn found(&mut self, begin: usize, block: &[u8; BLOCK]) -> Block {
        let Found { spaces, high } = find(block);
        let spaces = spaces | std::mem::take(&mut self.carried);
        let spaces = if high == 0 { spaces } else { spaces | self.wide(begin, block, high) };
        Block { begin, spaces, ascii: high == 0 }
    }

    /// White space beyond ASCII in a block, of which `high` says where bytes beyond ASCII are.
    #[cold]
    fn wide(&mut self, begin: usize, block: &[u8; BLOCK], mut high: u64) -> u64 {
        let mut spaces = 0;
        while high != 0 {
            let place = high.trailing_zeros();
            high &= high - 1;
            if matches!(block[place as usize], 0xc2 | 0xe1..=0xe3) {
                // A character takes up to three bytes, the last of them maybe in the next block.
                let length = text::space_len(&self.bytes[begin + place as usize..]);
                let bits = u128::from((1_u8 << length) - 1) << place;
                spaces |= bits as u64;
                self.carried |= (bits >> BLOCK) as u64;
            }
        }
        spaces
    }
}

/// What a block holds, a bit a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Found {
    /// White space of ASCII.
    spaces: u64,
    /// Bytes beyond ASCII.
    high: u64,
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn find(block: &[u8; BLOCK]) -> Found {
    // SAFETY: SSE2 is a part of x86-64; there is no such processor without it.
    unsafe { sixteen_at_once(block) }
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "sse2")]
fn sixteen_at_once(block: &[u8; BLOCK]) -> Found {
    use std::arch::x86_64::{
        _mm_cmpeq_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x, _mm_set1_epi8, _mm_sub_epi8,
    };
    const AFTER_TAB: i8 = (b'\r' - b'\t') as i8;
    let (mut spaces, mut high) = (0, 0);
    for (place, half) in block.as_chunks::<16>().0.iter().enumerate() {
        let bits = u128::from_le_bytes(*half);
        let bytes = _mm_set_epi64x((bits >> 64) as i64, bits as i64);
        let blank = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b' ' as i8));
        // From tab to carriage return: at most so far behind tab, all others having wrapped around.
        let behind = _mm_sub_epi8(bytes, _mm_set1_epi8(b'\t' as i8));
        let control = _mm_cmpeq_epi8(_mm_min_epu8(behind, _mm_set1_epi8(AFTER_TAB)), behind);
        spaces |= u64::from(_mm_movemask_epi8(_mm_or_si128(blank, control)).cast_unsigned()) << (16 * place);
        high |= u64::from(_mm_movemask_epi8(bytes).cast_unsigned()) << (16 * place);
    }
    Found { spaces, high }
}

#[cfg(not(target_arch = "x86_64"))]
use plain as find;

/// The twin of `find` for any processor.
#[cfg(any(test, not(target_arch = "x86_64")))]
fn plain(block: &[u8; BLOCK]) -> Found {
    let bits =
        |is: fn(u8) -> bool| (0..).zip(block).fold(0, |bits, (place, byte)| bits | u64::from(is(*byte)) << place);
    Found { spaces: bits(|byte| matches!(byte, b'\t'..=b'\r' | b' ')), high: bits(|byte| byte >= 0x80) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bytes of white space, of what resembles it, and any others.
    fn spacious() -> impl Strategy<Value = Vec<u8>> {
        let known = prop::sample::select(vec![
            0x08, 0x09, 0x0d, 0x0e, 0x1f, 0x20, 0x21, 0x80, 0x85, 0x8a, 0x9a, 0x9f, 0xa0, 0xa8, 0xaf, 0xc2, 0xe1, 0xe2,
            0xe3,
        ]);
        prop::collection::vec(prop_oneof![3 => known, 1 => any::<u8>()], 0..200)
    }

    proptest! {
        #[test]
        fn both_twins_find_the_same(block in prop::array::uniform(any::<u8>())) {
            prop_assert_eq!(find(&block), plain(&block));
        }

        #[test]
        fn every_byte_of_white_space_has_its_bit(bytes in spacious()) {
            let mut expected = vec![true; (bytes.len() / BLOCK + 1) * BLOCK];
            let mut at = 0;
            while at < bytes.len() {
                let length = text::space_len(&bytes[at..]);
                expected[at..at + length.max(1)].fill(length > 0);
                at += length.max(1);
            }
            let (mut spaces, mut seen) = (Spaces::new(&bytes), Vec::new());
            while let Some(block) = spaces.next() {
                prop_assert_eq!(block.begin, seen.len());
                let rest = &bytes[block.begin..];
                prop_assert_eq!(block.ascii, rest[..rest.len().min(BLOCK)].is_ascii());
                seen.extend((0..BLOCK).map(|place| block.spaces >> place & 1 == 1));
            }
            prop_assert_eq!(seen, expected);
        }
    }
}
