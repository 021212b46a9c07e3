//! True similarity of documents, as sets of shingles.

use crate::error::{KernelError, Result};

/// Sets of shingles of some documents, each without repeats.
#[derive(Debug, Default)]
pub struct Sets {
    shingles: Vec<u32>,
    ends: Vec<usize>,
    table: Table,
    /// The set that is in the table.
    loaded: Option<u32>,
}

impl Sets {
    /// Adds the set of a document; repeats may be given.
    pub fn push(&mut self, shingles: impl ExactSizeIterator<Item = u32>) {
        self.table.clear(shingles.len());
        self.loaded = None;
        self.shingles
            .extend(shingles.filter(|&shingle| self.table.insert(shingle)));
        self.ends.push(self.shingles.len());
    }

    /// The Jaccard similarity of two sets, by the order in which they were added; 0 as soon as it is below `least`.
    ///
    /// Pairs with the same left one are best asked for one after the other.
    pub fn jaccard(&mut self, left: u32, right: u32, least: f64) -> Result<f64> {
        let (set, other) = (self.set(left)?, self.set(right)?);
        let (short, long) = (set.len().min(other.len()), set.len().max(other.len()));
        if short == 0 || (short as f64) < least * long as f64 {
            return Ok(0.0);
        }
        if self.loaded != Some(left) {
            self.table.clear(set.len());
            for &shingle in &self.shingles[set.clone()] {
                self.table.insert(shingle);
            }
            self.loaded = Some(left);
        }
        let found = self.shingles[other.clone()].iter();
        let common = found
            .filter(|&&shingle| self.table.contains(shingle))
            .count();
        Ok(common as f64 / (set.len() + other.len() - common) as f64)
    }

    /// The place of a set among the shingles.
    fn set(&self, index: u32) -> Result<std::ops::Range<usize>> {
        let index = index as usize;
        let end = *self.ends.get(index).ok_or(KernelError::Parameter(
            "a pair names a set that was not given",
        ))?;
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        Ok(start..end)
    }
}

/// A hash table of shingles, which are hashes themselves.
#[derive(Debug, Default)]
struct Table {
    /// The round in the upper half, a shingle in the lower one. What is of an earlier round is not there.
    slots: Vec<u64>,
    round: u32,
    mask: usize,
}

impl Table {
    /// Empties the table, and makes room for so many shingles.
    fn clear(&mut self, shingles: usize) {
        let slots = (2 * shingles).next_power_of_two().max(2);
        self.mask = slots - 1;
        self.round = self.round.wrapping_add(1);
        if self.slots.len() < slots || self.round == 0 {
            self.slots.clear();
            self.slots.resize(slots, 0);
            self.round = 1;
        }
    }

    /// Adds a shingle, and tells whether it is new.
    #[inline]
    fn insert(&mut self, shingle: u32) -> bool {
        let slot = self.slot(shingle);
        let new = self.slots[slot] != self.entry(shingle);
        self.slots[slot] = self.entry(shingle);
        new
    }

    #[inline]
    fn contains(&self, shingle: u32) -> bool {
        self.slots[self.slot(shingle)] == self.entry(shingle)
    }

    /// The slot that has the shingle, or could take it.
    #[inline]
    fn slot(&self, shingle: u32) -> usize {
        let mut slot = shingle as usize & self.mask;
        loop {
            let found = self.slots[slot];
            if found == self.entry(shingle) || found >> 32 != u64::from(self.round) {
                return slot;
            }
            slot = (slot + 1) & self.mask;
        }
    }

    #[inline]
    fn entry(&self, shingle: u32) -> u64 {
        u64::from(self.round) << 32 | u64::from(shingle)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn similarity_is_that_of_the_sets() {
        let mut sets = Sets::default();
        sets.push([3, 1, 2, 2, 1].into_iter());
        sets.push([2, 3, 4].into_iter());
        sets.push([].into_iter());
        sets.push([9].into_iter());
        assert_eq!(sets.jaccard(0, 1, 0.0), Ok(0.5));
        assert_eq!(sets.jaccard(0, 0, 0.9), Ok(1.0));
        assert_eq!(sets.jaccard(2, 2, 0.0), Ok(0.0));
        assert_eq!(sets.jaccard(0, 3, 0.5), Ok(0.0));
        assert!(sets.jaccard(0, 4, 0.5).is_err());
    }

    #[test]
    fn rounds_may_run_out() {
        let mut sets = Sets::default();
        sets.table.round = u32::MAX - 1;
        for _ in 0..4 {
            sets.push([0, 1, 2].into_iter());
        }
        for right in 0..4 {
            assert_eq!(sets.jaccard(3 - right, right, 0.0), Ok(1.0));
        }
    }

    proptest! {
        #[test]
        fn all_pairs_have_the_similarity_of_their_sets(given in prop::collection::vec(prop::collection::vec(0_u32..40, 0..60), 2..6)) {
            let mut sets = Sets::default();
            for set in &given {
                // Some shingles that want the same slot.
                sets.push(set.iter().map(|&shingle| (shingle << 16) | (shingle % 3)));
            }
            for (left, one) in (0..).zip(&given) {
                for (right, other) in (0..).zip(&given) {
                    let (one, other) = (one.iter().collect::<HashSet<_>>(), other.iter().collect::<HashSet<_>>());
                    let union = one.union(&other).count();
                    let expected = if union == 0 { 0.0 } else { one.intersection(&other).count() as f64 / union as f64 };
                    prop_assert_eq!(sets.jaccard(left, right, 0.0), Ok(expected));
                }
            }
        }
    }
}
