//! The holder's side of a lease page.

use std::collections::BTreeSet;

use crate::hashing::SeededMap;
use crate::shm::lease;

use super::page::{LeasePage, PageState, slot_word};

/// A run that is held. To be given back by [`Holder::release`].
#[derive(PartialEq, Eq, Debug)]
#[must_use = "a run that is not given back stays where it is for as long as its holder lives"]
pub struct RunLease {
    pub(crate) shard: usize,
    pub(crate) first_page: u32,
}

#[derive(Debug)]
struct Held {
    slot: usize,
    count: usize,
}

/// The one writer of a lease page. Leases of the same run share a slot.
#[derive(Debug)]
pub struct Holder {
    page: LeasePage,
    /// The lowest is taken first, so that owners find what they look for at the beginning.
    free: BTreeSet<usize>,
    held: SeededMap<(usize, u32), Held>,
    /// For each shard, the slots that name one of its runs.
    taken: Vec<BTreeSet<usize>>,
    number: u64,
}

impl Holder {
    /// Takes over an empty page that nobody else uses.
    #[must_use]
    pub fn new(page: LeasePage) -> Self {
        Self {
            free: (0..page.slots()).collect(),
            held: SeededMap::default(),
            taken: vec![BTreeSet::new(); page.shards()],
            number: 0,
            page,
        }
    }

    /// Names a run, so that it stays as it is if it is still in use when this returns: that is for the caller to find
    /// out by the sequence number of its bucket. `None` when all slots are taken.
    pub(crate) fn hold(&mut self, shard: usize, first_page: u32) -> Option<RunLease> {
        if let Some(held) = self.held.get_mut(&(shard, first_page)) {
            held.count += 1;
        } else {
            let slot = self.free.pop_first()?;
            self.number += 1;
            self.taken[shard].insert(slot);
            lease::protect(
                self.page.end(shard),
                self.end(shard),
                self.page.slot(slot),
                slot_word(shard, self.number, first_page),
            );
            let held = Held { slot, count: 1 };
            self.held.insert((shard, first_page), held);
        }
        Some(RunLease { shard, first_page })
    }

    /// Gives a run back whose bytes are not looked at any more.
    pub fn release(&mut self, lease: RunLease) {
        let RunLease { shard, first_page } = lease;
        let Some(held) = self.held.get_mut(&(shard, first_page)) else {
            return;
        };
        held.count -= 1;
        if held.count > 0 {
            return;
        }
        let slot = held.slot;
        self.held.remove(&(shard, first_page));
        self.taken[shard].remove(&slot);
        lease::release(self.page.end(shard), self.end(shard), self.page.slot(slot));
        self.free.insert(slot);
    }

    /// From which slot on none names a run of this shard.
    fn end(&self, shard: usize) -> u64 {
        self.taken[shard].last().map_or(0, |slot| *slot as u64 + 1)
    }

    /// Runs that are held now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// True when nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Reports to the owner of a shard that one of its keys was read.
    #[inline]
    pub fn report(&self, shard: usize, hash: u64, db: u8) {
        self.page.report(shard, hash, db);
    }

    /// The last word of the node to this holder.
    #[must_use]
    pub fn state(&self) -> PageState {
        self.page.state()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARDS: usize = 2;
    const SHARD: usize = 1;

    fn page() -> LeasePage {
        let segment = LeasePage::create(SHARDS).unwrap();
        LeasePage::open(&segment, SHARDS, 8).unwrap()
    }

    #[test]
    fn what_is_held_is_found_while_others_come_and_go() {
        let page = page();
        let mut holder = Holder::new(page.clone());
        let other = holder.hold(SHARD, 10).unwrap();
        let lease = holder.hold(SHARD, 20).unwrap();
        holder.release(other);
        // An owner looks how far it has to look ...
        let runs = page.runs(SHARD);
        let other = holder.hold(SHARD, 10).unwrap();
        // ... and then at the slots.
        assert_eq!(runs.collect::<Vec<_>>(), [10, 20]);
        holder.release(lease);
        assert_eq!(page.runs(SHARD).collect::<Vec<_>>(), [10]);
        holder.release(other);
        assert_eq!(
            page.end(SHARD).load(std::sync::atomic::Ordering::Relaxed),
            0
        );
        assert!(holder.is_empty());
    }
}
