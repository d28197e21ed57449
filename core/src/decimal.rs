//! Exact decimals of any length: read, add, compare, divide by a count, print. All but printing 20 digits is linear.
//!
//! Knows nothing of sums or jobs. What would surprise: there is no rounding anywhere but in [`Decimal::divide`], and digits may
//! lie anywhere between the positions -[`LIMIT`] and [`LIMIT`], so one addition may make sixteen million digits.

mod bytes;
mod print;

use std::cmp::Ordering;
use std::collections::VecDeque;

/// The farthest from the point, on either side, that a token's digit other than zero may stand.
///
/// A sum with digits at both ends takes 16 million digits or 7.2 MB, and so still fits a message of at most 8 MiB.
pub const LIMIT: i64 = 8_000_000;

/// The significant digits of a quotient.
pub const QUOTIENT_DIGITS: usize = 20;

/// Decimal digits in a limb: the most that leave room for a carry in a `u64`, and for a remainder above them in a `u128`.
const LIMB_DIGITS: i64 = 18;
const BASE: u64 = 10_u64.pow(18);

/// An exact decimal number.
///
/// Its magnitude is the sum of `limbs[i] · BASE^(low + i)`. Neither end is a zero limb, and zero has no limbs, so equal numbers
/// have equal fields. Limbs grow at both ends, hence a deque.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decimal {
    negative: bool,
    low: i64,
    limbs: VecDeque<u64>,
}

/// Why a token gives no decimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// It is not written as a number.
    #[error("is no number")]
    NotANumber,
    /// Its digits reach too far.
    #[error("has digits beyond 10^±{LIMIT}")]
    OutOfRange,
}

impl Decimal {
    /// Reads an optional sign, digits with an optional fraction (`.5` and `5.` too), and an optional exponent.
    ///
    /// # Errors
    /// Anything else, and digits other than zero beyond [`LIMIT`].
    pub fn parse(token: &[u8]) -> Result<Self, NumberError> {
        let (negative, rest) = take_sign(token);
        let (whole, rest) = take_digits(rest);
        let (fraction, rest) = rest.strip_prefix(b".").map_or((&[][..], rest), take_digits);
        if whole.is_empty() && fraction.is_empty() {
            return Err(NumberError::NotANumber);
        }
        let exponent = match rest {
            [] => 0,
            [b'e' | b'E', rest @ ..] => {
                let (minus, rest) = take_sign(rest);
                let (digits, after) = take_digits(rest);
                if digits.is_empty() || !after.is_empty() {
                    return Err(NumberError::NotANumber);
                }
                let size = digits.iter().fold(0, |size: i64, digit| (size * 10 + i64::from(digit - b'0')).min(1 << 50));
                if minus { -size } else { size }
            }
            _ => return Err(NumberError::NotANumber),
        };
        let digits = Digits::new(whole, fraction, exponent);
        if digits.count > 0 && (digits.lowest < -LIMIT || digits.highest() > LIMIT) {
            return Err(NumberError::OutOfRange);
        }
        Ok(Self::from_digits(negative, digits))
    }

    fn from_digits(negative: bool, digits: Digits<'_>) -> Self {
        if digits.count == 0 {
            return Self::default();
        }
        let mut weight = 10_u64.pow(u32::try_from(digits.lowest.rem_euclid(LIMB_DIGITS)).expect("a remainder of 18"));
        let (mut limb, mut limbs) = (0, VecDeque::with_capacity(digits.count / 18 + 2));
        for digit in digits.ascending() {
            if weight == BASE {
                limbs.push_back(limb);
                (limb, weight) = (0, 1);
            }
            limb += u64::from(digit - b'0') * weight;
            weight *= 10;
        }
        limbs.push_back(limb);
        Self { negative, low: digits.lowest.div_euclid(LIMB_DIGITS), limbs }
    }

    /// Whether it is zero.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.limbs.is_empty()
    }

    /// Whether it is below zero.
    #[must_use]
    pub const fn is_negative(&self) -> bool {
        self.negative
    }

    /// The number as a `u64`, if it is one.
    #[must_use]
    pub fn to_u64(&self) -> Option<u64> {
        if self.negative || self.low < 0 {
            return None;
        }
        let limbs = self.limbs.iter().rev().copied();
        let zeros = std::iter::repeat_n(0, usize::try_from(self.low).ok()?);
        limbs.chain(zeros).try_fold(0_u64, |number, limb| number.checked_mul(BASE)?.checked_add(limb))
    }

    /// Adds `other`, in steps of its length, not of the sum's.
    pub fn add(&mut self, other: Self) {
        if self.is_zero() {
            *self = other;
        } else if self.negative == other.negative {
            self.add_magnitude(&other);
        } else if self.compare_magnitude(&other) == Ordering::Less {
            let smaller = std::mem::replace(self, other);
            self.subtract_magnitude(&smaller);
        } else {
            self.subtract_magnitude(&other);
        }
    }

    /// Makes room for the limbs of `other` and tells where its lowest belongs.
    fn cover(&mut self, other: &Self) -> usize {
        while self.low > other.low {
            self.limbs.push_front(0);
            self.low -= 1;
        }
        while self.high() < other.high() {
            self.limbs.push_back(0);
        }
        usize::try_from(other.low - self.low).expect("limbs reach down to the other's")
    }

    fn add_magnitude(&mut self, other: &Self) {
        if other.is_zero() {
            return;
        }
        let start = self.cover(other);
        let mut carry = false;
        for (limb, add) in self.limbs.range_mut(start..).zip(&other.limbs) {
            *limb += add + u64::from(carry);
            carry = *limb >= BASE;
            if carry {
                *limb -= BASE;
            }
        }
        // Sums of one sign only ever grow, so these steps are paid for by the additions that made the nines.
        for limb in self.limbs.range_mut(start + other.limbs.len()..) {
            if !carry {
                break;
            }
            carry = *limb == BASE - 1;
            *limb = if carry { 0 } else { *limb + 1 };
        }
        if carry {
            self.limbs.push_back(1);
        }
        self.trim();
    }

    /// Subtracts a magnitude that is not larger.
    fn subtract_magnitude(&mut self, other: &Self) {
        if other.is_zero() {
            return;
        }
        let start = self.cover(other);
        let mut taken = other.limbs.iter();
        let mut borrow = false;
        for limb in self.limbs.range_mut(start..) {
            let take = match taken.next() {
                Some(take) => take + u64::from(borrow),
                None if borrow => 1,
                None => break,
            };
            borrow = *limb < take;
            *limb = if borrow { *limb + BASE - take } else { *limb - take };
        }
        self.trim();
    }

    /// Restores the canonical form.
    fn trim(&mut self) {
        while self.limbs.back() == Some(&0) {
            self.limbs.pop_back();
        }
        while self.limbs.front() == Some(&0) {
            self.limbs.pop_front();
            self.low += 1;
        }
        if self.limbs.is_empty() {
            *self = Self::default();
        }
    }

    /// One above the place of the highest limb.
    fn high(&self) -> i64 {
        self.low + self.limbs.len() as i64
    }

    fn compare_magnitude(&self, other: &Self) -> Ordering {
        match (self.is_zero(), other.is_zero()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            // From the top; the lowest limb is never zero, so of two that agree so far the longer one is larger.
            (false, false) => {
                self.high().cmp(&other.high()).then_with(|| self.limbs.iter().rev().cmp(other.limbs.iter().rev()))
            }
        }
    }

    /// The number divided by `count`, to [`QUOTIENT_DIGITS`] significant digits, half to even; `None` for a count of 0.
    #[must_use]
    pub fn divide(&self, count: u64) -> Option<Self> {
        if count == 0 || self.is_zero() {
            return (count > 0).then(Self::default);
        }
        let divisor = u128::from(count);
        let (mut quotient, mut remainder) = (Vec::with_capacity(3), 0_u128);
        let (mut limbs, mut place) = (self.limbs.iter().rev(), self.high());
        // Three limbs from the first that is not zero hold at least 37 digits.
        while quotient.len() < 3 {
            let dividend = remainder * u128::from(BASE) + u128::from(limbs.next().copied().unwrap_or(0));
            let limb = u64::try_from(dividend / divisor).expect("the remainder is below the divisor");
            remainder = dividend % divisor;
            place -= 1;
            if limb > 0 || !quotient.is_empty() {
                quotient.push(limb);
            }
        }
        // What is left below: of limbs not looked at, the lowest is never zero.
        let sticky = remainder > 0 || limbs.next().is_some();
        let mut digits = format!("{}{:018}{:018}", quotient[0], quotient[1], quotient[2]).into_bytes();
        let dropped = round(&mut digits, sticky);
        Some(Self::from_digits(self.negative, Digits::new(&digits, b"", place * LIMB_DIGITS + dropped as i64)))
    }
}

/// Cuts `digits` to [`QUOTIENT_DIGITS`], half to even, and tells how many are gone; `sticky`: more than zero follows them.
fn round(digits: &mut Vec<u8>, sticky: bool) -> usize {
    let dropped = digits.split_off(QUOTIENT_DIGITS);
    let odd = digits.last().is_some_and(|digit| digit % 2 == 1);
    let up = match dropped[0].cmp(&b'5') {
        Ordering::Less => false,
        Ordering::Greater => true,
        Ordering::Equal => sticky || odd || dropped[1..].iter().any(|&digit| digit != b'0'),
    };
    if up {
        let nines = digits.iter().rev().take_while(|&&digit| digit == b'9').count();
        let kept = digits.len() - nines;
        digits[kept..].fill(b'0');
        match digits[..kept].last_mut() {
            Some(digit) => *digit += 1,
            None => digits.insert(0, b'1'),
        }
    }
    dropped.len()
}

/// Digits around a point, less the zeros at both ends.
#[derive(Clone, Copy)]
struct Digits<'d> {
    whole: &'d [u8],
    fraction: &'d [u8],
    trailing: usize,
    count: usize,
    lowest: i64,
}

impl<'d> Digits<'d> {
    fn new(whole: &'d [u8], fraction: &'d [u8], exponent: i64) -> Self {
        let is_zero = |digit: &&u8| **digit == b'0';
        let leading = whole.iter().chain(fraction).take_while(is_zero).count();
        let given = whole.len() + fraction.len() - leading;
        let trailing =
            if given == 0 { 0 } else { fraction.iter().rev().chain(whole.iter().rev()).take_while(is_zero).count() };
        let lowest = exponent - fraction.len() as i64 + trailing as i64;
        Self { whole, fraction, trailing, count: given - trailing, lowest }
    }

    const fn highest(&self) -> i64 {
        self.lowest + self.count as i64 - 1
    }

    /// From the least significant.
    fn ascending(self) -> impl Iterator<Item = u8> {
        self.fraction.iter().rev().chain(self.whole.iter().rev()).skip(self.trailing).take(self.count).copied()
    }
}

fn take_sign(bytes: &[u8]) -> (bool, &[u8]) {
    match bytes {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, bytes),
    }
}

fn take_digits(bytes: &[u8]) -> (&[u8], &[u8]) {
    bytes.split_at(bytes.iter().take_while(|byte| byte.is_ascii_digit()).count())
}

impl From<u64> for Decimal {
    fn from(number: u64) -> Self {
        let mut decimal = Self { negative: false, low: 0, limbs: [number % BASE, number / BASE].into() };
        decimal.trim();
        decimal
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.negative, other.negative) {
            (false, false) => self.compare_magnitude(other),
            (true, true) => other.compare_magnitude(self),
            (negative, _) => {
                if negative {
                    Ordering::Less
                } else {
                    Ordering::Greater
                }
            }
        }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests;
