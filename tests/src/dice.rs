//! Numbers from a seed, so that everything random in a test is told by one number.
//!
//! SplitMix64 (Steele, Lea, Flood 2014). What would surprise: several tasks may share one; which of them throws first is not
//! told by the seed.

use std::sync::atomic::{AtomicU64, Ordering};

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Dice.
#[derive(Debug)]
pub struct Dice(AtomicU64);

impl Dice {
    /// The same seed throws the same numbers.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// Any number.
    pub fn throw(&self) -> u64 {
        let state = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&self, bound: u64) -> u64 {
        self.throw() % bound
    }

    /// Whether something happens that does so in `per_mille` of a thousand cases.
    pub fn hits(&self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }
}
