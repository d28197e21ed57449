//! Sizes as people write them.
//!
//! What would surprise: `K`, `M`, `G`, `T` alone are binary, as `KiB` and so on; `KB`, `MB`, `GB`, `TB` are decimal.

use std::fmt;
use std::str::FromStr;

/// A number of bytes; written `64KiB`, `4MiB`, `1GB` or `1048576`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

/// A text that is no size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ByteSizeError {
    /// Not a number with a unit that we know.
    #[error("`{0}` is no size; write a whole number with or without a unit, as 64KiB, 4MiB, 1GB or 1048576")]
    Unreadable(String),
    /// More than a 64-bit number holds.
    #[error("`{0}` is more bytes than there are; write something like 64KiB, 4MiB or 1GB")]
    TooLarge(String),
}

/// Units, as they are shown: the first that divides a size is taken.
const UNITS: [(&str, u64); 8] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
];

impl FromStr for ByteSize {
    type Err = ByteSizeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unreadable = || ByteSizeError::Unreadable(text.to_owned());
        let written = text.trim();
        let digits = written.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = written.split_at(digits);
        let unit = unit_bytes(unit.trim_start()).ok_or_else(unreadable)?;
        if number.is_empty() {
            return Err(unreadable());
        }
        let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
        bytes.map(Self).ok_or_else(|| ByteSizeError::TooLarge(text.to_owned()))
    }
}

fn unit_bytes(unit: &str) -> Option<u64> {
    if unit.is_empty() || unit.eq_ignore_ascii_case("B") {
        return Some(1);
    }
    let full = if unit.len() == 1 { format!("{unit}iB") } else { unit.to_owned() };
    UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(&full)).map(|(_, bytes)| *bytes)
}

impl fmt::Display for ByteSize {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().find(|(_, bytes)| self.0 >= *bytes && self.0.is_multiple_of(*bytes)) {
            Some((unit, bytes)) => write!(out, "{}{unit}", self.0 / bytes),
            None => self.0.fmt(out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        let read = |text: &str| text.parse::<ByteSize>().map(|size| size.0);
        for (text, bytes) in [
            ("64KiB", 64 << 10),
            ("4 mib", 4 << 20),
            ("1GB", 1_000_000_000),
            ("1048576", 1 << 20),
            ("2k", 2 << 10),
            ("3G", 3 << 30),
            ("0", 0),
            ("7b", 7),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(read(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn an_unreadable_size_is_named_with_examples() {
        for text in ["", "MiB", "-1", "1.5MiB", "4 MiBs", "ten", "1KiB2", "1 ä"] {
            let error = text.parse::<ByteSize>().unwrap_err();
            assert_eq!(error, ByteSizeError::Unreadable(text.to_owned()));
            assert!(error.to_string().contains(&format!("`{text}`")) && error.to_string().contains("64KiB"));
        }
        for text in ["18446744073709551616", "16777216TiB"] {
            assert_eq!(text.parse::<ByteSize>(), Err(ByteSizeError::TooLarge(text.to_owned())));
        }
    }

    #[test]
    fn what_is_shown_reads_back_the_same() {
        let shown = [0, 1, 1023, 1 << 10, 4 << 20, 3 << 29, 1_000_000_000, 1_000_001, u64::MAX].map(ByteSize);
        let texts = ["0", "1", "1023", "1KiB", "4MiB", "1536MiB", "1GB", "1000001", "18446744073709551615"];
        assert_eq!(shown.map(|size| size.to_string()), texts);
        assert_eq!(shown.map(|size| size.to_string().parse()), shown.map(Ok));
    }
}
