//! A decimal as text, in its shortest form.
//!
//! What would surprise: a number has an exponent only where it would need more than [`MOST_PADDING`] zeros without. Lengths are told before anything is built, since a number with an exponent
//! may be millions of digits long without one.

use super::{Decimal, LIMB_DIGITS};
use std::fmt;
use std::fmt::Write as _;

/// Zeros that only hold a place, beyond which a number is written as `d.ddde±x`.
const MOST_PADDING: i64 = 20;

/// The shortest digits that are exactly the number: no sign, zero or point that says nothing.
impl fmt::Display for Decimal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_zero() {
            return out.write_str("0");
        }
        let (digits, lowest) = self.digits();
        let count = digits.len() as i64;
        let highest = lowest + count - 1;
        // Zeros that only hold a place: behind the digits, or between the point and them.
        let padding = if lowest > 0 { lowest } else { -highest - 1 };
        if self.negative {
            out.write_str("-")?;
        }
        let zeros = |count: i64| "0".repeat(usize::try_from(count).expect("few, by the limit on padding"));
        if padding > MOST_PADDING {
            let (first, rest) = digits.split_at(1);
            let point = if rest.is_empty() { "" } else { "." };
            write!(out, "{first}{point}{rest}e{highest}")
        } else if lowest >= 0 {
            write!(out, "{digits}{}", zeros(lowest))
        } else if highest >= 0 {
            let (whole, fraction) =
                digits.split_at(digits.len() - usize::try_from(-lowest).expect("fewer than the digits"));
            write!(out, "{whole}.{fraction}")
        } else {
            write!(out, "0.{}{digits}", zeros(-highest - 1))
        }
    }
}

impl Decimal {
    /// The digits from the first to the last that is not zero, and the position of the last.
    pub(super) fn digits(&self) -> (String, i64) {
        let mut digits = String::with_capacity(self.limbs.len() * 18);
        for (index, limb) in self.limbs.iter().rev().enumerate() {
            let width = if index == 0 { 0 } else { 18 };
            write!(digits, "{limb:0width$}").expect("a string takes anything");
        }
        let zeros = digits.len() - digits.trim_end_matches('0').len();
        digits.truncate(digits.len() - zeros);
        (digits, self.low * LIMB_DIGITS + zeros as i64)
    }
}
