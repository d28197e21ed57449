//! Where records of CSV end: at line feeds that are not between double quotes (RFC 4180, section 2).
//!
//! It reads on where it left off, so that a record may come in parts. What would surprise: a quote opens a field only at its
//! beginning, as the `csv` library has it; in the middle of one it is a character like any other.

use std::iter;

/// A reader of quotes, between two bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quotes {
    delimiter: u8,
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before the first byte of a field.
    Begins,
    /// In a field that has no quotes around it.
    Plain,
    /// Between quotes.
    Quoted,
    /// After a quote that ends a field, unless another follows.
    Ended,
}

impl Quotes {
    /// At the beginning of a record.
    #[must_use]
    pub const fn new(delimiter: u8) -> Self {
        Self { delimiter, place: Place::Begins }
    }

    /// Whether it stands between quotes.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self.place, Place::Quoted)
    }

    /// Reads up to the end of a record: how many bytes, its line feed included. `None`: all of them, and the record goes on.
    pub fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        // The line feed that was found last; it is looked for anew only once it is passed, or a line of many fields would be read
        // once for each.
        let (mut at, mut feed) = (0, None);
        while at < bytes.len() {
            let rest = &bytes[at..];
            match self.place {
                Place::Quoted => match memchr::memchr(b'"', rest) {
                    None => return None,
                    Some(quote) => (at, self.place) = (at + quote + 1, Place::Ended),
                },
                Place::Ended if rest[0] == b'"' => (at, self.place) = (at + 1, Place::Quoted),
                Place::Begins if rest[0] == b'"' => (at, self.place) = (at + 1, Place::Quoted),
                // No quote matters before the next field, so what lies between is passed over at once.
                Place::Begins | Place::Plain | Place::Ended => {
                    let next = match feed {
                        Some(next) if next >= at => next,
                        _ => memchr::memchr(b'\n', rest).map_or(bytes.len(), |feed| at + feed),
                    };
                    feed = Some(next);
                    let line = &bytes[at..next];
                    if let Some(quote) = opening(line, self.delimiter) {
                        (at, self.place) = (at + quote, Place::Begins);
                    } else if next < bytes.len() {
                        self.place = Place::Begins;
                        return Some(next + 1);
                    } else {
                        self.place = if line.last() == Some(&self.delimiter) { Place::Begins } else { Place::Plain };
                        return None;
                    }
                }
            }
        }
        None
    }

    /// The ends of all records that end in `bytes`.
    pub fn ends(mut self, bytes: &[u8]) -> impl Iterator<Item = usize> {
        let mut at = 0;
        iter::from_fn(move || {
            at += self.end(&bytes[at..])?;
            Some(at)
        })
    }
}

/// The first quote behind a delimiter.
fn opening(line: &[u8], delimiter: u8) -> Option<usize> {
    memchr::memchr_iter(b'"', line).find(|&quote| quote > 0 && line[quote - 1] == delimiter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the `csv` library takes for records, each as its fields.
    fn by_library(bytes: &[u8], delimiter: u8) -> Vec<Vec<Vec<u8>>> {
        let mut builder = csv::ReaderBuilder::new();
        builder.has_headers(false).flexible(true).delimiter(delimiter).terminator(csv::Terminator::Any(b'\n'));
        let records = builder.from_reader(bytes).into_byte_records();
        records.map(|record| record.unwrap().iter().map(<[u8]>::to_vec).collect()).collect()
    }

    fn by_ends(bytes: &[u8], delimiter: u8) -> Vec<Vec<Vec<u8>>> {
        let mut from = 0;
        let ends = Quotes::new(delimiter).ends(bytes).chain([bytes.len()]);
        ends.flat_map(|end| by_library(&bytes[std::mem::replace(&mut from, end)..end], delimiter)).collect()
    }

    proptest! {
        #[test]
        fn records_end_where_the_library_ends_them(text in "[a,;\"\n\r ]{0,40}", semicolon: bool) {
            let delimiter = if semicolon { b';' } else { b',' };
            prop_assert_eq!(by_ends(text.as_bytes(), delimiter), by_library(text.as_bytes(), delimiter));
        }

        #[test]
        fn a_record_may_come_in_parts(text in "[a,\"\n]{0,40}", cuts in prop::collection::vec(0_usize..41, 0..4)) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).chain([0, text.len()]).collect();
            cuts.sort_unstable();
            let mut quotes = Quotes::new(b',');
            let mut ends = Vec::new();
            for part in cuts.windows(2) {
                let (mut from, to) = (part[0], part[1]);
                while let Some(read) = quotes.end(&text.as_bytes()[from..to]) {
                    from += read;
                    ends.push(from);
                }
            }
            prop_assert_eq!(ends, Quotes::new(b',').ends(text.as_bytes()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_line_of_very_many_fields_is_read_once() {
        // Read once for each of its fields, it would take hours.
        let line = [b"\"a\",".repeat(2_000_000).as_slice(), b"\n"].concat();
        assert_eq!(Quotes::new(b',').end(&line), Some(line.len()));
    }

    #[test]
    fn a_quote_in_the_middle_of_a_field_opens_nothing() {
        assert_eq!(Quotes::new(b',').ends(b"5\" pipe\n6\n").collect::<Vec<_>>(), [8, 10]);
    }
}
