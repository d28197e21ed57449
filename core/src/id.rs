//! The numbers and names that cross a border, as types of their own, so that a chunk is never passed for a partition.

use crate::skip::Place;
use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

/// One run of one program over some sources. A UUIDv7, made by the producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub Uuid);

impl fmt::Display for JobId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(out)
    }
}

impl std::str::FromStr for JobId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::try_parse(text).map(Self)
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u32);

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(out)
            }
        }

        impl $name {
            /// As an index into a slice.
            #[must_use]
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}

number!(
    /// A chunk's number, 0..C-1 in the order of the input.
    ChunkNumber
);
number!(
    /// A partition's number, 0..P-1.
    PartitionNumber
);
number!(
    /// A source's place in the job's ordered list of sources.
    SourceNumber
);

/// What units stem from: a chunk, or one record of it that was sent again by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The chunk.
    pub chunk: ChunkNumber,
    /// The record; none for the chunk as it was first sent.
    pub record: Option<Place>,
}

impl From<ChunkNumber> for Origin {
    fn from(chunk: ChunkNumber) -> Self {
        Self { chunk, record: None }
    }
}

impl From<(ChunkNumber, Place)> for Origin {
    fn from((chunk, place): (ChunkNumber, Place)) -> Self {
        Self { chunk, record: Some(place) }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.record {
            None => write!(out, "chunk {}", self.chunk),
            Some(Place { source, offset }) => write!(out, "chunk {}, source {source}, byte {offset}", self.chunk),
        }
    }
}

/// What is counted once: one segment of the partial of a chunk, or of a record of it, for one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Unit {
    /// The chunk it stems from.
    pub chunk: ChunkNumber,
    /// The record of it, if that was sent again by itself.
    pub record: Option<Place>,
    /// Its place among the partial's segments, from 0.
    pub segment: u32,
    /// Whether no segment follows.
    pub last: bool,
}

impl Unit {
    /// What it stems from.
    #[must_use]
    pub const fn origin(self) -> Origin {
        Origin { chunk: self.chunk, record: self.record }
    }
}
