//! Emptying sparse pages into others, so that memory follows when the mix of sizes changes.

use crate::keyspace::arena::Limit;

use super::Shard;

/// Page records that one call looks at.
const LOOKED_AT: usize = 256;

impl Shard {
    /// Empties sparse pages, about `budget` entries of them. Returns what is left of the budget.
    pub(super) fn compact(&mut self, budget: usize) -> usize {
        let mut left = budget;
        for _ in 0..LOOKED_AT {
            if left == 0 {
                break;
            }
            self.sweep = if self.sweep < self.arena.pages_end() {
                self.sweep + 1
            } else {
                0
            };
            if self.arena.is_sparse(self.sweep) {
                left = left.saturating_sub(self.empty_page(self.sweep));
            }
        }
        left
    }

    /// Moves the entries of a page elsewhere. Returns their number.
    fn empty_page(&mut self, number: u32) -> usize {
        let entries = self.arena.set_apart(number);
        let count = entries.len();
        for at in entries {
            if !self.relocate(at) {
                break;
            }
        }
        self.arena.put_back(number);
        count
    }

    /// Moves an entry to another slot. False when there is none.
    fn relocate(&mut self, at: u64) -> bool {
        let Some(place) = self.place_of(at) else {
            return false;
        };
        let header = place.header;
        let bytes = header.total_bytes();
        let Ok(target) = self.arena.allocate(bytes, 0, Limit::Respect) else {
            return false;
        };
        let expire_at = self.expire_at(at, &header);
        self.wheel_unlink(at, &header);
        self.arena
            .mapping
            .copy_within(at * 8, target * 8, bytes as usize);
        self.reattach(&place, target);
        self.arena.release(at, bytes);
        self.link(target, expire_at, 0);
        true
    }
}
