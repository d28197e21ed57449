//! A field that orders keys: `2`, `2n` as a number, `2r` the other way round, `2nr` both.
//!
//! A number is read as `sort -n` does: a sign, digits, a point, digits; what follows is not looked at, and what is no number is
//! zero. It is exact at any length. What would surprise: a missing field is an empty one.

use crate::key;
use std::fmt;
use std::str::FromStr;

/// The field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SortField {
    /// Which, from 1.
    pub number: usize,
    /// As a number.
    pub numeric: bool,
    /// The other way round.
    pub reverse: bool,
}

/// A text that is no such field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no field to sort by: write its number from 1, then n for numeric, r for reverse, as in 2nr")]
pub struct FieldError(String);

impl FromStr for SortField {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<Self, FieldError> {
        let refused = || FieldError(text.to_owned());
        let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
        let (number, flags) = text.split_at(end);
        let number = number.parse().ok().filter(|number| (1..=MOST_FIELDS).contains(number)).ok_or_else(refused)?;
        let mut field = Self { number, numeric: false, reverse: false };
        for flag in flags.chars() {
            match flag {
                'n' if !field.numeric => field.numeric = true,
                'r' if !field.reverse => field.reverse = true,
                _ => return Err(refused()),
            }
        }
        Ok(field)
    }
}

/// A field's greatest number.
pub const MOST_FIELDS: usize = 1000;

impl fmt::Display for SortField {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (n, r) = (if self.numeric { "n" } else { "" }, if self.reverse { "r" } else { "" });
        write!(out, "{}{n}{r}", self.number)
    }
}

impl SortField {
    /// Appends what orders a key with these fields.
    pub(super) fn put(self, fields: &[&[u8]], out: &mut Vec<u8>) {
        let begin = out.len();
        let field = fields.get(self.number - 1).copied().unwrap_or_default();
        if self.numeric {
            put_number(field, out);
        } else {
            key::put_part(out, field);
        }
        if self.reverse {
            out[begin..].iter_mut().for_each(|byte| *byte = !*byte);
        }
    }
}

const NEGATIVE: u8 = 0;
const ZERO: u8 = 1;
const POSITIVE: u8 = 2;

/// The sign; how many digits stand before the point; the digits, and an end below any of them. All but the sign turned where it is
/// negative.
fn put_number(field: &[u8], out: &mut Vec<u8>) {
    let text = field.trim_ascii_start();
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        text => (false, text),
    };
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (whole, rest) = text.split_at(digits(text));
    let fraction = rest.strip_prefix(b".").map_or(&b""[..], |rest| &rest[..digits(rest)]);
    let whole = &whole[whole.iter().take_while(|digit| **digit == b'0').count()..];
    let zeros = fraction.iter().rev().take_while(|digit| **digit == b'0').count();
    let fraction = &fraction[..fraction.len() - zeros];
    if whole.is_empty() && fraction.is_empty() {
        return out.push(ZERO);
    }
    out.push(if negative { NEGATIVE } else { POSITIVE });
    let begin = out.len();
    out.extend_from_slice(&u32::try_from(whole.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(whole);
    out.extend_from_slice(fraction);
    out.push(0);
    if negative {
        out[begin..].iter_mut().for_each(|byte| *byte = !*byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn form(number: &str) -> Vec<u8> {
        let mut out = Vec::new();
        put_number(number.as_bytes(), &mut out);
        out
    }

    #[test]
    fn numbers_are_read_as_sort_reads_them() {
        for (left, right) in [("007", "7"), ("1.50x", "1.5"), ("-0", "abc"), ("+3", "x"), ("", "0.000"), (".5", "0.5")]
        {
            assert_eq!(form(left), form(right), "{left} {right}");
        }
        let ascending =
            ["-100", "-99.9", "-2", "-0.5", "-0.05", "0", "0.05", "0.5", "0.51", "2", "10", "99999999999999999999"];
        assert!(ascending.windows(2).all(|pair| form(pair[0]) < form(pair[1])));
    }

    proptest! {
        #[test]
        fn numbers_order_by_size(left: i64, right: i64, scale in 0_u32..3) {
            let shown = |number: i64| {
                let (sign, size) = (if number < 0 { "-" } else { "" }, number.unsigned_abs());
                let unit = 10_u64.pow(scale);
                format!("{sign}{}.{:0width$}", size / unit, size % unit, width = scale as usize)
            };
            prop_assert_eq!(form(&shown(left)).cmp(&form(&shown(right))), left.cmp(&right));
        }
    }

    #[test]
    fn a_field_is_written_as_it_is_read() {
        for text in ["1", "2n", "3r", "10nr"] {
            assert_eq!(text.parse::<SortField>().unwrap().to_string(), text);
        }
        for text in ["", "0", "n", "1x", "2nn", "1001", "-1"] {
            assert_eq!(text.parse::<SortField>(), Err(FieldError(text.to_owned())));
        }
    }
}
