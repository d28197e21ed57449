//! Chance, thrown at the rim only: fresh ids, and the jitter of pauses.
//!
//! What would surprise: a thread can be given a seed, and throws from it ever after; then two runs of a simulation make the
//! same ids. Nothing here is fit for secrets.

use super::clock;
use std::cell::Cell;
use uuid::{Builder, Uuid};

thread_local! {
    static SEEDED: Cell<Option<u64>> = const { Cell::new(None) };
}

/// The step of `SplitMix64` (Steele, Lea, Flood 2014).
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Has this thread throw from a seed from now on, or from the system's randomness again.
pub fn seed(seed: Option<u64>) {
    SEEDED.set(seed);
}

/// An id that nobody else has.
#[must_use]
pub fn id() -> Uuid {
    seeded_bytes().map_or_else(Uuid::new_v4, |bytes| Builder::from_random_bytes(bytes).into_uuid())
}

/// An id that nobody else has, and that sorts behind those made before.
#[must_use]
pub fn dated_id() -> Uuid {
    let Some(bytes) = seeded_bytes() else { return Uuid::now_v7() };
    let random = bytes.first_chunk().expect("ten of sixteen");
    Builder::from_unix_timestamp_millis(clock::now_ms(), random).into_uuid()
}

/// A number in 0..=1.
#[must_use]
pub fn fraction() -> f64 {
    f64::from(id().as_u128() as u16) / f64::from(u16::MAX)
}

fn seeded_bytes() -> Option<[u8; 16]> {
    let (low, high) = (throw()?, throw()?);
    Some((u128::from(high) << 64 | u128::from(low)).to_le_bytes())
}

fn throw() -> Option<u64> {
    let state = SEEDED.get()?.wrapping_add(STEP);
    SEEDED.set(Some(state));
    let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    Some(mixed ^ mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_ids_and_no_seed_makes_others() {
        let ids = |from| {
            seed(from);
            let ids: Vec<Uuid> = (0..3).map(|_| id()).collect();
            seed(None);
            ids
        };
        assert_eq!(ids(Some(7)), ids(Some(7)));
        assert_ne!(ids(Some(7)), ids(Some(8)));
        assert_ne!(ids(None), ids(None));
    }

    #[test]
    fn ids_are_of_the_kind_that_they_say() {
        for from in [None, Some(1)] {
            seed(from);
            assert_eq!((id().get_version_num(), dated_id().get_version_num()), (4, 7));
            assert!((0.0..=1.0).contains(&fraction()));
        }
        seed(None);
    }
}
