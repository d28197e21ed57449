//! The records of a piece, each with its place in the source.
//!
//! What a record means is the program's. What would surprise: a record is a [`Piece`] too, and a line keeps its carriage return.

use crate::job::{Piece, Records};
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
}

impl<'a> RecordIter<'a> {
    /// The records of `piece` by `records`.
    #[must_use]
    pub const fn new(records: Records, piece: Piece<'a>) -> Self {
        let rule = match records {
            Records::Piece => Rule::Piece { given: false },
            Records::Lines => Rule::Lines { at: 0 },
            Records::Tokens => Rule::Tokens(Whitespace::new(piece.bytes)),
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
                let end = memchr::memchr(b'\n', rest).map_or(bytes.len(), |length| start + length);
                *at = end + 1;
                (start, end, *at)
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SourceNumber;

    fn records(records: Records, bytes: &[u8]) -> Vec<(u64, &[u8], bool)> {
        let piece = Piece { source: SourceNumber(0), name: b"-", offset: 100, bytes, continues: false, ends: true };
        RecordIter::new(records, piece).map(|record| (record.offset, record.bytes, record.ends)).collect()
    }

    #[test]
    fn a_line_has_no_line_feed_and_the_last_may_lack_it() {
        let lines = records(Records::Lines, b"a\r\n\nb");
        assert_eq!(lines, [(100, b"a\r".as_slice(), false), (103, b"", false), (104, b"b", true)]);
        assert_eq!(records(Records::Lines, b"a\n"), [(100, b"a".as_slice(), true)]);
        assert_eq!(records(Records::Lines, b""), []);
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
