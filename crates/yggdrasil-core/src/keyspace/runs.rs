//! Which pages are free: contiguous runs, found by best fit and joined with their neighbours when they come back.

use std::collections::{BTreeMap, BTreeSet};

/// The free pages of an arena.
#[derive(Debug)]
pub(super) struct FreeRuns {
    /// start -> length
    by_start: BTreeMap<u32, u32>,
    /// (length, start)
    by_length: BTreeSet<(u32, u32)>,
}

impl FreeRuns {
    pub(super) fn new(first: u32, end: u32) -> Self {
        let mut runs = Self {
            by_start: BTreeMap::new(),
            by_length: BTreeSet::new(),
        };
        runs.insert(first, end - first);
        runs
    }

    /// Takes `pages` in a row: from the shortest run that has them, the lowest of those.
    pub(super) fn take(&mut self, pages: u32) -> Option<u32> {
        let (length, start) = *self.by_length.range((pages, 0)..).next()?;
        self.remove(start, length);
        if length > pages {
            self.insert(start + pages, length - pages);
        }
        Some(start)
    }

    /// Takes the `pages` that begin at `start` from the middle of a free run, if they are free.
    pub(super) fn take_inside(&mut self, start: u32, pages: u32) -> bool {
        let before = self.by_start.range(..=start).next_back();
        let Some((&first, &length)) = before else {
            return false;
        };
        if u64::from(start) + u64::from(pages) > u64::from(first) + u64::from(length) {
            return false;
        }
        self.remove(first, length);
        if start > first {
            self.insert(first, start - first);
        }
        if first + length > start + pages {
            self.insert(start + pages, first + length - start - pages);
        }
        true
    }

    /// Takes the `pages` that begin where a free run does, if they are free.
    pub(super) fn take_at(&mut self, start: u32, pages: u32) -> bool {
        let Some(length) = self
            .by_start
            .get(&start)
            .copied()
            .filter(|length| *length >= pages)
        else {
            return false;
        };
        self.remove(start, length);
        if length > pages {
            self.insert(start + pages, length - pages);
        }
        true
    }

    /// Gives pages back.
    pub(super) fn give(&mut self, start: u32, pages: u32) {
        let (mut start, mut length) = (start, pages);
        if let Some((&before, &before_length)) = self.by_start.range(..start).next_back() {
            assert!(before + before_length <= start, "pages are given back once");
            if before + before_length == start {
                self.remove(before, before_length);
                (start, length) = (before, before_length + length);
            }
        }
        let end = start + length;
        if let Some((&after, &after_length)) = self.by_start.range(start..).next() {
            assert!(end <= after, "pages are given back once");
            if end == after {
                self.remove(after, after_length);
                length += after_length;
            }
        }
        self.insert(start, length);
    }

    /// Free runs as (start, length), in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.by_start
            .iter()
            .map(|(start, length)| (*start, *length))
    }

    fn insert(&mut self, start: u32, length: u32) {
        self.by_start.insert(start, length);
        self.by_length.insert((length, start));
    }

    fn remove(&mut self, start: u32, length: u32) {
        self.by_start.remove(&start);
        self.by_length.remove(&(length, start));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn best_fit_spares_the_long_runs() {
        let mut runs = FreeRuns::new(10, 1000);
        let (a, b, c) = (
            runs.take(5).unwrap(),
            runs.take(2).unwrap(),
            runs.take(1).unwrap(),
        );
        assert_eq!((a, b, c), (10, 15, 17));
        assert!(!runs.take_inside(17, 1));
        assert!(!runs.take_inside(990, 11));
        assert!(runs.take_inside(990, 2));
        runs.give(990, 2);
        runs.give(a, 5);
        assert_eq!(runs.take(4), Some(10));
        assert_eq!(runs.take(1), Some(14));
        assert!(!runs.take_at(17, 1));
        assert!(runs.take_at(18, 982));
        assert_eq!(runs.take(1), None);
    }

    proptest! {
        #[test]
        fn free_and_taken_pages_make_up_the_whole(steps in prop::collection::vec((any::<bool>(), 1u32..20), 1..200)) {
            let mut runs = FreeRuns::new(1, 300);
            let mut taken: Vec<(u32, u32)> = Vec::new();
            for (take, size) in steps {
                if take {
                    taken.extend(runs.take(size).map(|start| (start, size)));
                } else if !taken.is_empty() {
                    let (start, length) = taken.swap_remove(size as usize % taken.len());
                    runs.give(start, length);
                }
                let free: Vec<_> = runs.iter().collect();
                prop_assert!(free.windows(2).all(|pair| pair[0].0 + pair[0].1 < pair[1].0), "neighbours are joined");
                let mut all = free;
                all.extend(&taken);
                all.sort_unstable();
                prop_assert!(all.windows(2).all(|pair| pair[0].0 + pair[0].1 == pair[1].0));
                prop_assert_eq!(all.iter().map(|run| run.1).sum::<u32>(), 299);
            }
        }
    }
}
