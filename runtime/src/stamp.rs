//! What a file was when a job was made: the one formula that producers write and workers compare.

use rabbit_reduce_core::spec::FileStamp;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// A file's size in bytes and its modification time in nanoseconds since 1970.
#[must_use]
pub fn stamp_of(metadata: &Metadata) -> (u64, i64) {
    (metadata.size(), metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec()))
}

/// Whether this is still the regular file that the stamp tells of.
#[must_use]
pub fn is_as_stamped(metadata: &Metadata, stamp: &FileStamp) -> bool {
    metadata.is_file() && stamp_of(metadata) == (stamp.size, stamp.modified_ns)
}
