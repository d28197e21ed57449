//! Decimals against whole numbers of any size: a decimal is looked at as a whole number of 10^-SCALE.

use super::*;
use crate::job::Value;
use num_bigint::{BigInt, Sign};
use proptest::prelude::*;

/// Low enough for every number that [`token`] makes.
const SCALE: i64 = 160;

/// Tokens of all the accepted shapes, with zeros and nines where they hurt.
fn token() -> impl Strategy<Value = String> {
    let digits = "(0{0,20}|9{1,40}|[0-9]{1,30}|[1-9]0{15,40})";
    (
        "[+-]?",
        prop_oneof![digits, "[05]\\.", "\\.[0-9]{1,30}", "[0-9]{0,20}\\.[0-9]{1,30}"],
        "([eE][+-]?0{0,2}[0-9]{1,2})?",
    )
        .prop_map(|(sign, digits, exponent)| {
            format!("{sign}{}{exponent}", if digits.is_empty() { "0" } else { &digits })
        })
}

/// The token, scaled, by other means.
fn scaled(token: &str) -> BigInt {
    let (mantissa, exponent) = token.split_once(['e', 'E']).unwrap_or((token, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let number: BigInt = format!("{whole}{fraction}0").parse().unwrap();
    let shift = SCALE + exponent.parse::<i64>().unwrap() - fraction.len() as i64 - 1;
    number * BigInt::from(10).pow(shift.try_into().unwrap())
}

fn decimal(token: &str) -> Decimal {
    Decimal::parse(token.as_bytes()).unwrap()
}

fn encoded(decimal: &Decimal) -> Vec<u8> {
    let mut bytes = Vec::new();
    decimal.encode(&mut bytes);
    bytes
}

/// `numerator / count` to 20 digits, half to even, by whole numbers alone; scaled.
fn quotient(numerator: &BigInt, count: u64) -> BigInt {
    // 40 more digits make sure that 20 are there; whether something follows them is kept apart.
    let (magnitude, ten) = (numerator.magnitude() * num_bigint::BigUint::from(10_u32).pow(40), BigInt::from(10));
    let (exact, rest) = (&magnitude / count, &magnitude % count);
    let drop = (exact.to_string().len() as u32).saturating_sub(20);
    let unit = num_bigint::BigUint::from(10_u32).pow(drop);
    let (kept, dropped) = (&exact / &unit, (&exact % &unit) * 2_u32);
    let tail = rest != 0_u32.into();
    let up = dropped > unit || (dropped == unit && (tail || kept.bit(0)));
    let rounded = BigInt::from(kept + u32::from(up)) * BigInt::from(unit) / ten.pow(40);
    if numerator.sign() == Sign::Minus { -rounded } else { rounded }
}

proptest! {
    #[test]
    fn what_is_printed_reads_back_and_is_shortest(token in token()) {
        let number = decimal(&token);
        let text = number.to_string();
        prop_assert_eq!(scaled(&text), scaled(&token));
        prop_assert_eq!(&decimal(&text), &number);
        let digits = number.digits().0;
        let written: String = text.split('e').next().unwrap_or_default().chars().filter(char::is_ascii_digit).collect();
        prop_assert!(number.is_zero() || written.trim_matches('0') == digits.trim_matches('0'), "{}", text);
        let zeros = written.len() - digits.len().min(written.len());
        prop_assert!(zeros <= 21, "{}", text);
    }

    #[test]
    fn sums_and_order_are_those_of_whole_numbers(tokens in prop::collection::vec(token(), 1..8)) {
        let mut sum = Decimal::default();
        let mut expected = BigInt::default();
        for token in &tokens {
            prop_assert_eq!(sum.cmp(&decimal(token)), expected.cmp(&scaled(token)));
            sum.add(decimal(token));
            expected += scaled(token);
            prop_assert_eq!(scaled(&sum.to_string()), expected.clone());
        }
        for token in &tokens {
            let negated = match token.strip_prefix('-') {
                Some(above) => above.to_owned(),
                None => format!("-{}", token.trim_start_matches('+')),
            };
            sum.add(decimal(&negated));
        }
        prop_assert_eq!(sum, Decimal::default());
    }

    #[test]
    fn bytes_are_canonical(left in token(), right in token()) {
        let (left, right) = (decimal(&left), decimal(&right));
        prop_assert_eq!(&Decimal::decode(&encoded(&left)).unwrap(), &left);
        prop_assert_eq!(left == right, encoded(&left) == encoded(&right));
    }

    #[test]
    fn any_bytes_are_a_canonical_decimal_or_refused(sign in 0_u8..3, tail in prop::collection::vec(prop_oneof![Just(0), Just(1), any::<u8>()], 0..20)) {
        let bytes = [&[sign][..], &tail].concat();
        if let Ok(decimal) = Decimal::decode(&bytes) {
            prop_assert_eq!(encoded(&decimal), bytes);
        }
    }

    #[test]
    fn a_quotient_is_rounded_half_to_even(token in token(), count in prop_oneof![1_u64..20, any::<u64>().prop_map(|n| n.max(1)), Just(1 << 20)]) {
        let mean = decimal(&token).divide(count).unwrap();
        // Scaled by 10^40 inside: exact as long as the mean's digits end above 10^-SCALE.
        prop_assume!(mean.is_zero() || mean.digits().1 >= -SCALE);
        prop_assert_eq!(scaled(&mean.to_string()), quotient(&scaled(&token), count), "{} / {}", token, count);
    }

    #[test]
    fn a_tie_goes_to_the_even_digit(kept in 10_u128.pow(19)..10_u128.pow(20), below in prop::sample::select(vec!["", "000000000000000000000000000001"])) {
        let mean = decimal(&format!("{kept}.5{below}")).divide(1).unwrap();
        let up = !below.is_empty() || kept % 2 == 1;
        prop_assert_eq!(mean, decimal(&(kept + u128::from(up)).to_string()));
    }

    #[test]
    fn a_whole_number_comes_back(number: u64) {
        prop_assert_eq!(Decimal::from(number).to_u64(), Some(number));
        prop_assert_eq!(Decimal::from(number).to_string().parse::<f64>().unwrap(), number as f64);
    }
}

#[test]
fn the_shortest_form_is_printed() {
    let cases = [
        ("-0", "0"),
        ("0e99999999999999999999", "0"),
        ("+5.", "5"),
        (".5", "0.5"),
        ("100", "100"),
        ("1000", "1000"),
        ("1500", "1500"),
        ("0.01", "0.01"),
        ("0.001", "0.001"),
        ("1e20", "100000000000000000000"),
        ("1e21", "1e21"),
        ("123e20", "12300000000000000000000"),
        ("1e-21", "0.000000000000000000001"),
        ("1e-22", "1e-22"),
        ("-12.3400", "-12.34"),
        ("12e-1", "1.2"),
        ("1e8000000", "1e8000000"),
        ("-1e-8000000", "-1e-8000000"),
        ("1e18", "1000000000000000000"),
        ("1000000000000000001", "1000000000000000001"),
    ];
    for (token, expected) in cases {
        assert_eq!(decimal(token).to_string(), expected, "{token}");
    }
}

#[test]
fn what_is_no_number_is_refused() {
    let tokens: [&[u8]; 19] = [
        b"",
        b"+",
        b".",
        b"-.",
        b"e5",
        b".e5",
        b"1e",
        b"1e+",
        b"--1",
        b"inf",
        b"nan",
        b"1_000",
        b"0x10",
        b"1,5",
        b"1.2.3",
        b"1e5.0",
        b"\xff",
        b"1\xff",
        "١".as_bytes(),
    ];
    for token in tokens {
        assert_eq!(Decimal::parse(token), Err(NumberError::NotANumber), "{}", token.escape_ascii());
    }
}

#[test]
fn digits_beyond_the_limit_are_refused_and_zeros_are_not() {
    for token in
        ["1e8000001", "10e8000000", "1e-8000001", "0.1e-8000000", "1e99999999999999999999", "1e-99999999999999999999"]
    {
        assert_eq!(Decimal::parse(token.as_bytes()), Err(NumberError::OutOfRange), "{token}");
    }
    assert_eq!(decimal("0.1e8000001"), decimal("1e8000000"));
    assert_eq!(decimal("1.0e-8000000"), decimal("1e-8000000"));
}

#[test]
fn the_longest_sum_still_fits_a_message() {
    let mut sum = decimal(&format!("{}e-4000000", "9".repeat(8_000_000)));
    for token in ["9e8000000", "9e8000000", "1e-8000000"] {
        sum.add(decimal(token));
    }
    let bytes = encoded(&sum);
    assert!(bytes.len() < 8 << 20, "{}", bytes.len());
    assert_eq!(Decimal::decode(&bytes).unwrap(), sum);
    assert!(sum.to_string().starts_with("180000"));
}

#[test]
fn adding_ever_smaller_numbers_is_linear() {
    let mut sum = Decimal::default();
    for place in 0..200_000 {
        sum.add(decimal(&format!("1e-{}", place * 18)));
    }
    assert_eq!(sum.limbs.len(), 200_000);
}
