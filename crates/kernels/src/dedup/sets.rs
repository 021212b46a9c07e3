//! True similarity of documents, as sets of shingles.

use crate::error::{KernelError, Result};

/// Sets of shingles of some documents, each in order and without repeats.
#[derive(Debug, Default)]
pub struct Sets {
    shingles: Vec<u32>,
    ends: Vec<usize>,
}

impl Sets {
    /// Adds the set of a document; repeats may be given.
    pub fn push(&mut self, shingles: impl Iterator<Item = u32>) {
        let first = self.shingles.len();
        self.shingles.extend(shingles);
        self.shingles[first..].sort_unstable();
        let mut kept = first;
        for index in first..self.shingles.len() {
            if index == first || self.shingles[index] != self.shingles[kept - 1] {
                self.shingles[kept] = self.shingles[index];
                kept += 1;
            }
        }
        self.shingles.truncate(kept);
        self.ends.push(kept);
    }

    /// The Jaccard similarity of two sets, by the order in which they were added; 0 as soon as it is below `least`.
    pub fn jaccard(&self, left: u32, right: u32, least: f64) -> Result<f64> {
        let (left, right) = (self.set(left)?, self.set(right)?);
        let (short, long) = (left.len().min(right.len()), left.len().max(right.len()));
        if short == 0 || (short as f64) < least * long as f64 {
            return Ok(0.0);
        }
        let common = common(left, right);
        Ok(common as f64 / (left.len() + right.len() - common) as f64)
    }

    fn set(&self, index: u32) -> Result<&[u32]> {
        let index = index as usize;
        let end = *self.ends.get(index).ok_or(KernelError::Parameter(
            "a pair names a set that was not given",
        ))?;
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        Ok(&self.shingles[start..end])
    }
}

/// The number of elements that two sets share. Without branches on the data, which nobody can predict.
fn common(left: &[u32], right: &[u32]) -> usize {
    let (mut at_left, mut at_right, mut count) = (0, 0, 0);
    while at_left < left.len() && at_right < right.len() {
        let (from_left, from_right) = (left[at_left], right[at_right]);
        count += usize::from(from_left == from_right);
        at_left += usize::from(from_left <= from_right);
        at_right += usize::from(from_right <= from_left);
    }
    count
}

#[cfg(test)]
mod tests {
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
}
