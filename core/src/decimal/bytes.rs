//! The byte form of a decimal: one form for each number.
//!
//! What would surprise: bounds are checked on the way in, since the place of a forged limb would choose how much memory an addition
//! takes.

use super::{BASE, Decimal, LIMB_DIGITS, LIMIT};
use crate::job::{Value, ValueError};
use crate::pairs::{put_varint, take_varint};
use std::collections::VecDeque;

/// Where the lowest limb of a value may stand.
const LOWEST_LIMB: i64 = (-LIMIT).div_euclid(LIMB_DIGITS);
/// Where the highest limb of a value may stand: two more than a token's, for the carries of 2^64 additions.
const HIGHEST_LIMB: i64 = LIMIT.div_euclid(LIMB_DIGITS) + 2;

/// Sign (0: zero, 1: above, 2: below), place of the lowest limb (zigzag), highest limb, the other limbs downwards in eight bytes.
impl Value for Decimal {
    fn encode(&self, out: &mut Vec<u8>) {
        let mut limbs = self.limbs.iter().rev();
        let Some(&highest) = limbs.next() else {
            return out.push(0);
        };
        out.push(if self.negative { 2 } else { 1 });
        put_varint(out, (self.low << 1 ^ self.low >> 63).cast_unsigned());
        put_varint(out, highest);
        limbs.for_each(|limb| out.extend_from_slice(&limb.to_le_bytes()));
    }

    fn decode(bytes: &[u8]) -> Result<Self, ValueError> {
        let negative = match bytes {
            [0] => return Ok(Self::default()),
            [1, ..] => false,
            [2, ..] => true,
            _ => return Err(ValueError("a decimal begins with its sign")),
        };
        let mut rest = &bytes[1..];
        let cut = ValueError("a decimal is cut short");
        let place = take_varint(&mut rest).ok_or_else(|| cut.clone())?;
        let low = (place >> 1).cast_signed() ^ -(place & 1).cast_signed();
        let highest = take_varint(&mut rest).ok_or_else(|| cut.clone())?;
        let (lower, odd) = rest.as_chunks::<8>();
        if !odd.is_empty() {
            return Err(cut);
        }
        let limbs: VecDeque<u64> =
            lower.iter().rev().map(|bytes| u64::from_le_bytes(*bytes)).chain([highest]).collect();
        let decimal = Self { negative, low, limbs };
        if decimal.limbs.iter().any(|&limb| limb >= BASE) || decimal.limbs.front() == Some(&0) || highest == 0 {
            return Err(ValueError("a decimal is not in its canonical form"));
        }
        if !(LOWEST_LIMB..=HIGHEST_LIMB).contains(&low) || decimal.high() > HIGHEST_LIMB + 1 {
            return Err(ValueError("a decimal is out of range"));
        }
        Ok(decimal)
    }
}
