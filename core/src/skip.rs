//! Records and keys that are not counted: which, and why.
//!
//! They ride in partials and end in the report of losses; what would surprise is that a chunk lists only the first of them.

use crate::id::SourceNumber;
use crate::spec::ByteText;
use serde::{Deserialize, Serialize};
use std::any::Any;

/// The most bytes of a skip's reason, so that the skips a chunk lists fit a header.
pub const MAX_REASON_BYTES: usize = 1 << 10;
/// Skips that a chunk lists one by one; the rest are counted only.
pub const LISTED_SKIPS: usize = 100;
/// Records of a chunk that are left out because each kills who maps it; with more, the chunk is lost.
pub const AGREED_SKIPS: usize = 16;

/// Where a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The source.
    pub source: SourceNumber,
    /// Where the record begins, in bytes.
    pub offset: u64,
}

/// A record that is not counted, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Skip {
    /// The source.
    pub source: SourceNumber,
    /// Where the record begins, in bytes.
    pub offset: u64,
    /// One line for people.
    pub reason: String,
}

impl Skip {
    /// A skip whose reason is cut where it is too long for a message.
    #[must_use]
    pub fn new(source: SourceNumber, offset: u64, reason: String) -> Self {
        Self { source, offset, reason: short_reason(reason) }
    }

    /// Where the record is.
    #[must_use]
    pub const fn place(&self) -> Place {
        Place { source: self.source, offset: self.offset }
    }
}

/// A reason, cut where it is too long for a message.
#[must_use]
pub fn short_reason(mut reason: String) -> String {
    if reason.len() > MAX_REASON_BYTES {
        reason.truncate(reason.floor_char_boundary(MAX_REASON_BYTES));
        reason.push('…');
    }
    reason
}

/// Keys of a partition that its reduce left out, at the most; with more, the job fails.
pub const LOST_KEYS: usize = 100;

/// A key that a program cannot reduce, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LostKey {
    /// What its pairs share: see [`crate::program::AnyProgram::together`].
    pub group: ByteText,
    /// The key as people know it.
    pub key: ByteText,
    /// One line for people.
    pub reason: String,
}

impl LostKey {
    /// A lost key. Its reason is cut where it is too long for a message, and so is what is shown of it.
    #[must_use]
    pub fn new(group: &[u8], mut key: Vec<u8>, reason: String) -> Self {
        key.truncate(SHOWN_KEY_BYTES);
        Self { group: ByteText(group.to_vec()), key: ByteText(key), reason: short_reason(reason) }
    }
}

impl LostKey {
    /// Whether a ledger cannot hold it.
    #[must_use]
    pub const fn is_too_long(&self) -> bool {
        self.group.0.len() > LOST_KEY_BYTES
    }
}

/// The longest key that can be left out, in bytes: they lie in an entry.
const LOST_KEY_BYTES: usize = 32 << 10;
/// So much of a lost key is shown.
const SHOWN_KEY_BYTES: usize = 256;

/// What a panic said, for a reason.
#[must_use]
pub fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a word".to_owned())
}

/// Records of a chunk that are not counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkipList {
    /// The first of them: records too long to travel, then others, each in the chunk's order.
    pub listed: Vec<Skip>,
    /// How many more there are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl SkipList {
    /// How many records are skipped.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.more.saturating_add(self.listed.len() as u64)
    }

    /// Adds one.
    pub fn push(&mut self, skip: Skip) {
        if self.listed.len() < LISTED_SKIPS {
            self.listed.push(skip);
        } else {
            self.more = self.more.saturating_add(1);
        }
    }
}
