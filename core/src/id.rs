//! The numbers and names that cross a border, as types of their own, so that a chunk is never passed for a partition.

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

/// What is counted once: one segment of one chunk's partial for one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Unit {
    /// The chunk it stems from.
    pub chunk: ChunkNumber,
    /// Its place among the partial's segments, from 0.
    pub segment: u32,
    /// Whether no segment follows.
    pub last: bool,
}
