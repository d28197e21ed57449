//! Which partition a key belongs to: XXH3 (64 bits, seeded) modulo P, the same in every process, build and version.

use crate::id::PartitionNumber;

/// The seed of the hash. Changing it changes where every key lives: never do so within a protocol version.
pub const SEED: u64 = 0x7261_6262_6974_7264; // "rabbitrd"

/// The hash of the part of a key that chooses its partition.
#[must_use]
pub fn hash(group: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(group, SEED)
}

/// The partition of a hash, among `partitions` of them.
///
/// # Panics
/// If `partitions` is 0: a job's spec is checked to have at least one.
#[must_use]
pub fn of_hash(hash: u64, partitions: u32) -> PartitionNumber {
    PartitionNumber(u32::try_from(hash % u64::from(partitions)).expect("a remainder of a u32 fits a u32"))
}
