//! Freed runs that keep their memory for a while.
//!
//! Pages that come fresh from the system are zeroed and mapped one by one, which costs more than to receive a value
//! into them. So a run that is freed waits here for the next value, and is given back to the system in small steps when
//! none has come.

use super::layout::{BLOCK_BYTES, PAGE_BYTES};
use super::types::Millis;

const PAGE_BLOCKS: u32 = (PAGE_BYTES / BLOCK_BYTES) as u32;
/// How long a run is kept.
const KEPT_MS: Millis = 3000;
/// Bytes that may always be kept, however little is stored.
const KEPT_BYTES_MIN: u64 = 256 * 1024 * 1024;

/// A run that nobody uses, whose first blocks are touched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct WarmRun {
    pub(super) start: u32,
    pub(super) pages: u32,
    pub(super) blocks: u32,
    since: Millis,
}

impl WarmRun {
    pub(super) fn bytes(&self) -> u64 {
        u64::from(self.blocks) * BLOCK_BYTES
    }

    /// Cuts off what lies behind the first `pages`.
    fn split(self, pages: u32) -> (Self, Option<Self>) {
        let blocks = self.blocks.min(pages * PAGE_BLOCKS);
        let taken = Self {
            pages,
            blocks,
            ..self
        };
        let rest = Self {
            start: self.start + pages,
            pages: self.pages - pages,
            blocks: self.blocks - blocks,
            ..self
        };
        (taken, (rest.pages > 0).then_some(rest))
    }
}

/// Pages that went cold: their blocks are to be given back to the system, and they to the free ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Cold {
    pub(super) start: u32,
    pub(super) pages: u32,
    pub(super) blocks: u32,
}

/// The warm runs of an arena, in the order in which they were freed.
#[derive(Debug, Default)]
pub(super) struct WarmRuns {
    runs: Vec<WarmRun>,
    /// Bytes of all of them.
    bytes: u64,
    /// When a run is freed, as well as that is known.
    now: Millis,
}

impl WarmRuns {
    /// Keeps a run that was freed.
    pub(super) fn give(&mut self, start: u32, pages: u32, blocks: u32) {
        let run = WarmRun {
            start,
            pages,
            blocks,
            since: self.now,
        };
        self.bytes += run.bytes();
        self.runs.push(run);
    }

    /// Takes `pages` of the smallest run that has so many; the rest of it stays.
    pub(super) fn take(&mut self, pages: u32) -> Option<WarmRun> {
        let fitting = self.runs.iter().enumerate();
        let (index, _) = fitting
            .filter(|(_, run)| run.pages >= pages)
            .min_by_key(|(_, run)| run.pages)?;
        let (taken, rest) = self.runs[index].split(pages);
        match rest {
            Some(rest) => self.runs[index] = rest,
            None => drop(self.runs.remove(index)),
        }
        self.bytes -= taken.bytes();
        Some(taken)
    }

    /// Takes up to `pages` from the end of the run that was kept longest.
    pub(super) fn cool(&mut self, pages: u32) -> Option<Cold> {
        let oldest = self.runs.first_mut()?;
        let staying = oldest.pages.saturating_sub(pages);
        let (kept, cold) = oldest.split(staying);
        let cold = cold?;
        if staying == 0 {
            self.runs.remove(0);
        } else {
            *oldest = kept;
        }
        self.bytes -= cold.bytes();
        Some(Cold {
            start: cold.start,
            pages: cold.pages,
            blocks: cold.blocks,
        })
    }

    /// True when a run is due to be given back, when so many bytes of entries are stored.
    pub(super) fn is_due(&mut self, now: Millis, stored_bytes: u64) -> bool {
        self.now = now;
        self.runs.first().is_some_and(|oldest| {
            oldest.since + KEPT_MS <= now || self.bytes > stored_bytes.max(KEPT_BYTES_MIN)
        })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &WarmRun> {
        self.runs.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_run_that_fits_is_taken_and_its_rest_stays() {
        let mut warm = WarmRuns::default();
        warm.give(100, 50, 50 * PAGE_BLOCKS);
        warm.give(200, 10, 10 * PAGE_BLOCKS - 3);
        assert_eq!(warm.take(51), None);
        let taken = warm.take(8).unwrap();
        assert_eq!(
            (taken.start, taken.pages, taken.blocks),
            (200, 8, 8 * PAGE_BLOCKS)
        );
        let rest = warm.take(2).unwrap();
        assert_eq!(
            (rest.start, rest.pages, rest.blocks),
            (208, 2, 2 * PAGE_BLOCKS - 3)
        );
        assert_eq!(warm.bytes, 50 * PAGE_BYTES);
    }

    #[test]
    fn the_oldest_run_goes_cold_from_its_end() {
        let mut warm = WarmRuns::default();
        assert!(!warm.is_due(1000, 0));
        warm.give(100, 50, 45 * PAGE_BLOCKS);
        assert!(!warm.is_due(3999, 0));
        assert!(warm.is_due(4000, 0));
        let cold = |start, pages, blocks| {
            Some(Cold {
                start,
                pages,
                blocks,
            })
        };
        assert_eq!(warm.cool(20), cold(130, 20, 15 * PAGE_BLOCKS));
        assert_eq!(warm.cool(20), cold(110, 20, 20 * PAGE_BLOCKS));
        assert_eq!(warm.cool(20), cold(100, 10, 10 * PAGE_BLOCKS));
        assert_eq!((warm.cool(20), warm.bytes), (None, 0));
        warm.give(1, 5000, 5000 * PAGE_BLOCKS);
        assert!(warm.is_due(4000, 0));
        assert!(!warm.is_due(4000, 5000 * PAGE_BYTES));
    }
}
