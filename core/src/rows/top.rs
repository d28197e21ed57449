//! The largest counts of a result, without holding the result.
//!
//! Knows no rows and no program. What would surprise: of equal counts the smaller keys win, so the answer does not depend on the
//! order in which pairs come.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Keeps the `limit` largest counts, ties by key, ascending.
#[derive(Clone, Debug)]
pub struct Top {
    limit: usize,
    /// The worst that is kept comes first.
    kept: BinaryHeap<Reverse<(u64, Reverse<Vec<u8>>)>>,
}

impl Top {
    /// Keeps at most `limit` pairs, and no room for more than come.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self { limit, kept: BinaryHeap::new() }
    }

    /// Takes a pair if it is among the largest so far. Its key is copied only then.
    pub fn offer(&mut self, count: u64, key: &[u8]) {
        if self.kept.len() < self.limit {
            self.kept.push(Reverse((count, Reverse(key.to_vec()))));
            return;
        }
        let Some(mut worst) = self.kept.peek_mut() else {
            return;
        };
        let Reverse((least, Reverse(last))) = &mut *worst;
        if count > *least || (count == *least && key < last.as_slice()) {
            *least = count;
            last.clear();
            last.extend_from_slice(key);
        }
    }

    /// The pairs kept: largest count first, ties by key, ascending.
    pub fn into_ranked(self) -> impl Iterator<Item = (u64, Vec<u8>)> {
        self.kept.into_sorted_vec().into_iter().map(|Reverse((count, Reverse(key)))| (count, key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_top_is_the_head_of_everything_sorted(pairs in prop::collection::vec((0_u64..5, "[a-c]{0,2}"), 0..40), limit in 0_usize..12) {
            let mut top = Top::new(limit);
            let mut all: Vec<_> = pairs.into_iter().map(|(count, key)| (count, key.into_bytes())).collect();
            for (count, key) in &all {
                top.offer(*count, key);
            }
            all.sort_by(|(left, a), (right, b)| right.cmp(left).then(a.cmp(b)));
            all.truncate(limit);
            prop_assert_eq!(top.into_ranked().collect::<Vec<_>>(), all);
        }
    }
}
