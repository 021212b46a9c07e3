//! True similarity of documents, as sets of shingles.

use crate::error::{KernelError, Result};
use crate::simd::{Level, for_each_level};

/// Sets of shingles of some documents, each without repeats.
#[derive(Debug)]
pub struct Sets {
    level: Level,
    shingles: Vec<u32>,
    ends: Vec<usize>,
    table: Table,
    /// The set that is in the table.
    loaded: Option<u32>,
}

impl Default for Sets {
    fn default() -> Self {
        Self::new(Level::best())
    }
}

impl Sets {
    pub fn new(level: Level) -> Self {
        Self {
            level,
            shingles: Vec::new(),
            ends: Vec::new(),
            table: Table::default(),
            loaded: None,
        }
    }

    /// Adds the set of a document; repeats may be given.
    pub fn push(&mut self, shingles: impl IntoIterator<Item = u32>) {
        let start = self.shingles.len();
        self.shingles.extend(shingles);
        let mut kept = 0;
        let set = &mut self.shingles[start..];
        self.table.clear(set.len());
        without_repeats(self.level, &mut self.table, set, &mut kept);
        self.shingles.truncate(start + kept);
        self.loaded = u32::try_from(self.ends.len()).ok();
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
            load(self.level, &mut self.table, &self.shingles[set.clone()]);
            self.loaded = Some(left);
        }
        let mut common = 0;
        let others = &self.shingles[other.clone()];
        count_common(self.level, &self.table, others, &mut common);
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

/// Shingles that are compared at once.
const LINE: usize = 16;
/// Shingles of a line on the average, at most: few lines are full.
const LINE_USED: usize = 8;

#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Line([u32; LINE]);

impl Line {
    /// Without a branch, for vectors.
    #[inline(always)]
    fn has(&self, shingle: u32) -> bool {
        self.0
            .iter()
            .fold(false, |found, &slot| found | (slot == shingle))
    }
}

/// A hash table of shingles, which are hashes themselves: a line for each value of their lowest bits. What has no room
/// in its line is in the next one that has.
#[derive(Debug, Default)]
struct Table {
    lines: Vec<Line>,
    used: Vec<u8>,
    mask: usize,
}

impl Table {
    /// Empties the table, and makes room for so many shingles.
    fn clear(&mut self, shingles: usize) {
        let lines = (shingles / LINE_USED).next_power_of_two().max(2);
        self.mask = lines - 1;
        if self.lines.len() < lines {
            self.lines.resize(lines, Line([0; LINE]));
            self.used.resize(lines, 0);
        }
        self.used[..lines].fill(0);
        for (index, line) in (0_u32..).zip(&mut self.lines[..lines]) {
            // A free slot has what is at home in another line.
            line.0 = [!index; LINE];
        }
    }

    /// Adds a shingle, and tells whether it is new.
    #[inline(always)]
    fn insert(&mut self, shingle: u32) -> bool {
        let home = shingle as usize & self.mask;
        if self.lines[home].has(shingle) {
            return false;
        }
        let used = usize::from(self.used[home]);
        if used == LINE {
            return self.insert_behind(home, shingle);
        }
        self.lines[home].0[used] = shingle;
        self.used[home] += 1;
        true
    }

    #[inline(always)]
    fn contains(&self, shingle: u32) -> bool {
        let home = shingle as usize & self.mask;
        self.lines[home].has(shingle)
            || (usize::from(self.used[home]) == LINE && self.find_behind(home, shingle).is_none())
    }

    #[cold]
    fn insert_behind(&mut self, home: usize, shingle: u32) -> bool {
        let Some(line) = self.find_behind(home, shingle) else {
            return false;
        };
        self.lines[line].0[usize::from(self.used[line])] = shingle;
        self.used[line] += 1;
        true
    }

    /// The next line with room behind one that is full; None where the shingle stands before it. There is such a line,
    /// as the slots are more than the shingles that there was to be room for.
    #[cold]
    fn find_behind(&self, home: usize, shingle: u32) -> Option<usize> {
        let mut line = home;
        loop {
            line = (line + 1) & self.mask;
            let used = usize::from(self.used[line]);
            if self.lines[line].0[..used].contains(&shingle) {
                return None;
            }
            if used < LINE {
                return Some(line);
            }
        }
    }
}

for_each_level! {
    /// Moves what is in a set to its front, each shingle once, and puts it into the table.
    fn without_repeats(table: &mut Table, set: &mut [u32], kept: &mut usize) = without_repeats_body
}

for_each_level! {
    fn load(table: &mut Table, set: &[u32]) = load_body
}

for_each_level! {
    fn count_common(table: &Table, set: &[u32], common: &mut usize) = count_common_body
}

#[inline(always)]
fn without_repeats_body(table: &mut Table, set: &mut [u32], kept: &mut usize) {
    for index in 0..set.len() {
        let shingle = set[index];
        set[*kept] = shingle;
        *kept += usize::from(table.insert(shingle));
    }
}

#[inline(always)]
fn load_body(table: &mut Table, set: &[u32]) {
    for &shingle in set {
        table.insert(shingle);
    }
}

#[inline(always)]
fn count_common_body(table: &Table, set: &[u32], common: &mut usize) {
    *common = set
        .iter()
        .map(|&shingle| usize::from(table.contains(shingle)))
        .sum();
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn similarity_is_that_of_the_sets() {
        let mut sets = Sets::default();
        sets.push([3, 1, 2, 2, 1]);
        sets.push([2, 3, 4]);
        sets.push([]);
        sets.push([9]);
        assert_eq!(sets.jaccard(0, 1, 0.0), Ok(0.5));
        assert_eq!(sets.jaccard(0, 0, 0.9), Ok(1.0));
        assert_eq!(sets.jaccard(2, 2, 0.0), Ok(0.0));
        assert_eq!(sets.jaccard(0, 3, 0.5), Ok(0.0));
        assert!(sets.jaccard(0, 4, 0.5).is_err());
    }

    #[test]
    fn lines_may_be_full() {
        // All have their home in the last line, and the first one stands where another's free slot might be.
        let crowded: Vec<u32> = (0..100).map(|number| !(number << 16)).collect();
        for level in Level::available() {
            let mut sets = Sets::new(level);
            sets.push(crowded.iter().chain(&crowded).copied());
            sets.push(crowded[..50].iter().copied());
            sets.push(crowded.iter().map(|shingle| shingle ^ 1 << 15));
            assert_eq!(sets.ends, [100, 150, 250]);
            assert_eq!(sets.jaccard(0, 1, 0.0), Ok(0.5), "{}", level.name());
            assert_eq!(sets.jaccard(1, 0, 0.0), Ok(0.5), "{}", level.name());
            assert_eq!(sets.jaccard(0, 2, 0.0), Ok(0.0), "{}", level.name());
        }
    }

    proptest! {
        #[test]
        fn all_pairs_have_the_similarity_of_their_sets(given in prop::collection::vec(prop::collection::vec(0_u32..40, 0..60), 2..6)) {
            for level in Level::available() {
            let mut sets = Sets::new(level);
            for set in &given {
                // Some shingles that want the same line.
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
}
