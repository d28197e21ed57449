//! The lines, or other records, that an expression matches, with their places, in the order of the sources.
//!
//! What would surprise: a key is a place, so no two pairs ever meet, and the order of keys is the order of the input.

use super::foreign;
use crate::boundary::Boundary;
use crate::job::{Pair, Piece, Program, RecordError, Records};
use crate::pairs::PairSource;
use crate::rows::{Cell, RowSink};
use crate::selection::Selection;
use regex::bytes::Regex;
use std::borrow::Cow;
use std::io;

/// Finds records. Key: the source's number and the record's offset, both big-endian. Value: the record without what ends it.
#[derive(Clone, Debug)]
pub struct Grep {
    /// What a line, or what is looked at of a record, must match somewhere.
    pub pattern: Regex,
    /// What is looked at, if not lines as they are.
    pub selection: Option<Selection>,
}

/// Bytes of a place: source and offset.
const PLACE_BYTES: usize = 4 + 8;

impl Program for Grep {
    type Value = Vec<u8>;

    fn boundary(&self) -> Boundary {
        self.selection.as_ref().map_or(Boundary::Line, Selection::boundary)
    }

    fn records(&self) -> Records {
        self.selection.as_ref().map_or(Records::Lines, Selection::records)
    }

    fn selection(&self) -> Option<&Selection> {
        self.selection.as_ref()
    }

    fn map<'r>(&'r self, record: Piece<'r>) -> impl Iterator<Item = Result<Pair<'r, Vec<u8>>, RecordError>> + 'r {
        let looked_at = match &self.selection {
            None => Ok(Some(Cow::Borrowed(record.bytes))),
            Some(selection) => selection.content(&record),
        };
        let found = looked_at.map(|looked_at| looked_at.filter(|bytes| self.pattern.is_match(bytes)));
        let pair = move |_| {
            let key = [&record.source.0.to_be_bytes()[..], &record.offset.to_be_bytes()].concat();
            Pair { key: Cow::Owned(key), value: record.bytes.to_vec() }
        };
        found.map(|found| found.map(pair)).transpose().into_iter()
    }

    /// Two pairs of one place are the same pair.
    fn merge(&self, _: &[u8], _: &mut Vec<u8>, _: Vec<u8>) {}

    fn makes(&self, key: &[u8], _line: &[u8]) -> bool {
        key.len() == PLACE_BYTES
    }

    fn columns(&self) -> &'static [&'static str] {
        &["source", "offset", "line"]
    }

    fn rows(&self, sources: &[Vec<u8>], pairs: &mut dyn PairSource, sink: &mut dyn RowSink) -> io::Result<()> {
        while let Some((key, line)) = pairs.next()? {
            let place = key
                .split_first_chunk::<4>()
                .and_then(|(source, offset)| Some((source, <[u8; 8]>::try_from(offset).ok()?)));
            let Some((source, offset)) = place else {
                return Err(foreign("a key of grep is no place"));
            };
            let name = sources.get(u32::from_be_bytes(*source) as usize);
            let name = name.ok_or_else(|| foreign("a line is of no source of this job"))?;
            let (name, line) = (Cell::Label(Cow::Borrowed(name)), Cell::Bytes(Cow::Borrowed(line)));
            sink.row(&[name, Cell::Number(u64::from_be_bytes(offset)), line])?;
        }
        Ok(())
    }
}
