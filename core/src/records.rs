//! The records of a piece, each with its place in the source.
//!
//! What a record means is the program's. What would surprise: a record is a [`Piece`] too, and its bytes lack what ended it.

use crate::boundary::Boundary;
use crate::job::{Piece, Records};
use crate::selection::quotes::Quotes;
use crate::tokens::Whitespace;

/// The records of a piece, in order.
#[derive(Clone, Debug)]
pub struct RecordIter<'a> {
    piece: Piece<'a>,
    rule: Rule<'a>,
}

#[derive(Clone, Debug)]
enum Rule<'a> {
    Piece { given: bool },
    Lines { at: usize },
    Tokens(Whitespace<'a>),
    Paragraphs { at: usize },
    Delimited { at: usize, by: u8 },
    Csv { at: usize, quotes: Quotes, head: bool },
}

impl<'a> RecordIter<'a> {
    /// The records of `piece` by `records`.
    #[must_use]
    pub const fn new(records: Records, piece: Piece<'a>) -> Self {
        let rule = match records {
            Records::Piece => Rule::Piece { given: false },
            Records::Lines => Rule::Lines { at: 0 },
            Records::Tokens => Rule::Tokens(Whitespace::new(piece.bytes)),
            Records::Paragraphs => Rule::Paragraphs { at: 0 },
            Records::Delimited(by) => Rule::Delimited { at: 0, by },
            Records::Csv { delimiter, header } => {
                Rule::Csv { at: 0, quotes: Quotes::new(delimiter), head: header && piece.offset == 0 }
            }
        };
        Self { piece, rule }
    }
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Piece<'a>;

    #[inline]
    fn next(&mut self) -> Option<Piece<'a>> {
        let bytes = self.piece.bytes;
        let (start, end, after) = match &mut self.rule {
            Rule::Piece { given } => return (!std::mem::replace(given, true)).then_some(self.piece),
            Rule::Lines { at } => {
                let start = *at;
                let rest = bytes.get(start..).filter(|rest| !rest.is_empty())?;
                let feed = memchr::memchr(b'\n', rest);
                let end = feed.map_or(bytes.len(), |length| start + length);
                *at = end + 1;
                let end = if feed.is_some_and(|feed| rest[..feed].ends_with(b"\r")) { end - 1 } else { end };
                (start, end, *at)
            }
            Rule::Delimited { at, by } => {
                let start = *at;
                let rest = bytes.get(start..).filter(|rest| !rest.is_empty())?;
                let end = memchr::memchr(*by, rest).map_or(bytes.len(), |length| start + length);
                *at = end + 1;
                (start, end, *at)
            }
            Rule::Paragraphs { at } => {
                let start = *at + blank_lines(&bytes[*at..]);
                if start == bytes.len() {
                    return None;
                }
                let after = Boundary::Paragraph.first_in(bytes, start, bytes.len()).unwrap_or(bytes.len());
                *at = after;
                let last = bytes[start..after].iter().rposition(|byte| !b"\r\n".contains(byte));
                (start, last.map_or(start, |last| start + last + 1), after)
            }
            Rule::Csv { at, quotes, head } => loop {
                let start = *at;
                let rest = bytes.get(start..).filter(|rest| !rest.is_empty())?;
                let after = quotes.end(rest).map_or(bytes.len(), |length| start + length);
                *at = after;
                let record = without_line_end(&bytes[start..after]);
                // The first line may be a header, and empty ones are no records.
                if !std::mem::take(head) && !record.is_empty() {
                    break (start, start + record.len(), after);
                }
            },
            Rule::Tokens(tokens) => {
                let length = tokens.next()?.len();
                (tokens.end() - length, tokens.end(), tokens.end())
            }
        };
        Some(Piece {
            offset: self.piece.offset + start as u64,
            bytes: &bytes[start..end],
            continues: self.piece.continues && start == 0,
            ends: self.piece.ends && after >= bytes.len(),
            ..self.piece
        })
    }
}

/// A line without its line feed, and without a carriage return before that.
pub(crate) fn without_line_end(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\n").map_or(line, |line| line.strip_suffix(b"\r").unwrap_or(line))
}

/// How long the blank lines are that it begins with.
fn blank_lines(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let Some(more) = rest.strip_prefix(b"\n").or_else(|| rest.strip_prefix(b"\r\n")) {
        rest = more;
    }
    bytes.len() - rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SourceNumber;

    fn records(records: Records, bytes: &[u8]) -> Vec<(u64, &[u8], bool)> {
        let source = SourceNumber(0);
        let piece = Piece { source, name: b"-", offset: 100, bytes, continues: false, ends: true, column: None };
        RecordIter::new(records, piece).map(|record| (record.offset, record.bytes, record.ends)).collect()
    }

    #[test]
    fn a_line_ends_in_a_line_feed_with_or_without_a_carriage_return_and_the_last_may_lack_both() {
        let lines = records(Records::Lines, b"a\r\n\nb");
        assert_eq!(lines, [(100, b"a".as_slice(), false), (103, b"", false), (104, b"b", true)]);
        assert_eq!(
            records(Records::Lines, b"a\r\r\n\r\nb\r"),
            [(100, b"a\r".as_slice(), false), (104, b"", false), (106, b"b\r", true)]
        );
        assert_eq!(records(Records::Lines, b"a\n"), [(100, b"a".as_slice(), true)]);
        assert_eq!(records(Records::Lines, b""), []);
    }

    #[test]
    fn a_paragraph_has_no_blank_lines_around_it() {
        let paragraphs = records(Records::Paragraphs, b"\n\r\na\nb\r\n\r\n\nc\n");
        assert_eq!(paragraphs, [(103, b"a\nb".as_slice(), false), (111, b"c", true)]);
        assert_eq!(records(Records::Paragraphs, b"\n\n"), []);
    }

    #[test]
    fn any_byte_may_stand_between_records() {
        assert_eq!(
            records(Records::Delimited(b';'), b"a;;b\r\n"),
            [(100, b"a".as_slice(), false), (102, b"", false), (103, b"b\r\n", true)]
        );
    }

    #[test]
    fn a_record_of_csv_may_have_lines_and_the_first_of_a_source_may_be_its_header() {
        let csv = Records::Csv { delimiter: b',', header: true };
        let text = b"a,\"b\r\nc\"\r\n\r\nd,\"";
        assert_eq!(records(csv, text), [(100, b"a,\"b\r\nc\"".as_slice(), false), (112, b"d,\"", true)]);
        let piece = |offset| {
            let source = SourceNumber(0);
            Piece { source, name: b"-", offset, bytes: b"h\n\n1\n", continues: false, ends: true, column: None }
        };
        let first = |offset| RecordIter::new(csv, piece(offset)).next().map(|record| record.offset);
        assert_eq!((first(0), first(7)), (Some(3), Some(7)));
    }

    #[test]
    fn a_token_tells_its_place() {
        let tokens = records(Records::Tokens, "\u{a0}1 22\t".as_bytes());
        assert_eq!(tokens, [(102, b"1".as_slice(), false), (104, b"22", false)]);
    }

    #[test]
    fn an_empty_piece_is_one_record_where_pieces_are() {
        assert_eq!(records(Records::Piece, b""), [(100, b"".as_slice(), true)]);
    }
}
