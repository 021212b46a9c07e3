//! The owner's side: the pages of all who may hold a run of its shard.

use std::sync::atomic::AtomicU64;

use crate::shm::lease;

use super::page::{LeasePage, PageState};

/// Tells holders apart; chosen by the node.
pub type HolderId = u64;

#[derive(Debug)]
struct Known {
    id: HolderId,
    page: LeasePage,
    /// Reports that were fetched.
    seen: u64,
    /// True when it may be cut off: workers may not.
    is_guest: bool,
}

/// All holders, as the owner of one shard knows them.
#[derive(Debug, Default)]
pub struct Holders {
    shard: usize,
    known: Vec<Known>,
}

impl Holders {
    /// For the owner of a shard, with the pages of the node's workers, its own included.
    #[must_use]
    pub fn new(shard: usize, workers: impl IntoIterator<Item = LeasePage>) -> Self {
        let known = (0..).zip(workers).map(|(id, page)| Known {
            id,
            page,
            seen: 0,
            is_guest: false,
        });
        Self {
            shard,
            known: known.collect(),
        }
    }

    /// Adds a process that reads from outside, before it takes its first lease.
    pub fn add_guest(&mut self, id: HolderId, page: LeasePage) {
        self.known.push(Known {
            id,
            page,
            seen: 0,
            is_guest: true,
        });
    }

    /// Forgets a process that has ended, or whose leases count no more.
    pub fn remove_guest(&mut self, id: HolderId) {
        self.known.retain(|known| !known.is_guest || known.id != id);
    }

    /// True when anyone holds the run that begins at `first_page`. What led to the run has changed before.
    #[must_use]
    pub fn is_leased(&self, first_page: u32) -> bool {
        lease::look::<AtomicU64>();
        let mut pages = self.known.iter().map(|known| &known.page);
        pages.any(|page| page.runs(self.shard).any(|run| run == first_page))
    }

    /// All runs of the shard that are held, in order, each once.
    #[must_use]
    pub fn leased(&self) -> Vec<u32> {
        lease::look::<AtomicU64>();
        let pages = self.known.iter().map(|known| &known.page);
        let mut runs: Vec<u32> = pages.flat_map(|page| page.runs(self.shard)).collect();
        runs.sort_unstable();
        runs.dedup();
        runs
    }

    /// Tells the guests that hold a run that their leases count no more, and forgets them.
    pub fn cut_off(&mut self, first_page: u32) {
        let shard = self.shard;
        self.known.retain(|known| {
            let is_overdue = known.is_guest && known.page.runs(shard).any(|run| run == first_page);
            if is_overdue {
                known.page.set_state(PageState::Overdue);
            }
            !is_overdue
        });
    }

    /// Hands over what was read of this shard by others since the last call: hash of the key and logical database.
    /// Both may be anything.
    pub fn drain_reports(&mut self, mut each: impl FnMut(u64, u8)) {
        for known in &mut self.known {
            known.seen = known.page.reported(self.shard, known.seen, &mut each);
        }
    }
}
