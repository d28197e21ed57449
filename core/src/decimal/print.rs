//! A decimal as text, in its shortest form.
//!
//! What would surprise: 1000 is `1e3`, for that is shorter. Lengths are told before anything is built, since a number with an exponent
//! may be millions of digits long without one.

use super::{Decimal, LIMB_DIGITS};
use std::fmt;
use std::fmt::Write as _;

/// The shortest form: without an exponent when that is at most as long as `d.ddde±x`.
impl fmt::Display for Decimal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_zero() {
            return out.write_str("0");
        }
        let (digits, lowest) = self.digits();
        let count = digits.len() as i64;
        let highest = lowest + count - 1;
        let exponent = highest.to_string();
        let long = count + i64::from(count > 1) + 1 + exponent.len() as i64;
        let plain = match (lowest >= 0, highest >= 0) {
            (true, _) => highest + 1,
            (false, true) => count + 1,
            (false, false) => 2 - lowest,
        };
        if self.negative {
            out.write_str("-")?;
        }
        let zeros = |count: i64| "0".repeat(usize::try_from(count).expect("shorter than the form with an exponent"));
        if plain > long {
            let (first, rest) = digits.split_at(1);
            let point = if rest.is_empty() { "" } else { "." };
            write!(out, "{first}{point}{rest}e{exponent}")
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
