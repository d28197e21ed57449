//! Where a source may be cut so that no record is.

/// A program's rule for cutting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundary {
    /// After any Unicode white space character.
    Space,
    /// As [`Boundary::Space`]; inside a run longer than a chunk, before any character.
    SpaceOrCharacter,
    /// After a line feed, or after an ASCII space or tab that an ASCII byte follows: there UAX #29 never joins.
    Word,
    /// After a line feed.
    Line,
}
