//! The name that somebody may have meant.
//!
//! It knows no list of names. What would surprise: a name that is far from all known ones is near none of them.

use std::fmt;

/// The known name that fewest edits make of `name`, if they are few, whatever the case of letters.
pub fn nearest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    /// Names of any length come from anywhere; the comparison is quadratic.
    const LONGEST: usize = 40;
    let plain = name.to_ascii_lowercase();
    if plain.len() > LONGEST {
        return None;
    }
    let known = known.filter(|known| known.len() <= LONGEST);
    let (edits, known) = known.map(|known| (edits(&plain, &known.to_ascii_lowercase()), known)).min()?;
    (edits <= known.len().div_ceil(3)).then_some(known)
}

/// Levenshtein's distance, row by row.
fn edits(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (done, left) in from.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], done + 1);
        for (column, right) in to.bytes().enumerate() {
            let replaced = diagonal + usize::from(left != right);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

/// What to ask whoever wrote it, if anything: `; did you mean …?`.
#[derive(Clone, Copy, Debug)]
pub struct DidYouMean<'n>(pub Option<&'n str>);

impl fmt::Display for DidYouMean<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |name| write!(out, "; did you mean `{name}`?"))
    }
}
