//! Emptying sparse pages into others, so that memory follows when the mix of sizes changes.

use crate::keyspace::arena::Limit;
use crate::keyspace::bucket::{LAST, close, open, set_place};
use crate::keyspace::layout::{BUCKET_WORDS, LINK};

use super::Shard;

/// How far ahead of the move the bucket of an entry is asked for.
const PREFETCHED: usize = 8;
/// Page records that one call looks at.
const LOOKED_AT: usize = 4096;

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

    /// Has sparse pages emptied from now on until little of them is left, however little it pays.
    pub(super) fn settle_pages(&mut self) {
        self.arena.settle_all();
    }

    /// Moves the entries of a page elsewhere. Returns their number.
    pub(super) fn empty_page(&mut self, number: u32) -> usize {
        let entries = self.arena.set_apart(number);
        let count = entries.len();
        for (place, at) in entries.iter().enumerate() {
            if let Some(soon) = entries.get(place + PREFETCHED) {
                self.prefetch_home(*soon);
            }
            if !self.relocate(*at) {
                break;
            }
        }
        self.arena.put_back(number);
        count
    }

    /// Asks for the bucket of an entry that will be moved soon.
    fn prefetch_home(&self, at: u64) {
        if !self.arena.is_bucket(at) {
            let database = &self.databases[usize::from(self.header(at).db())];
            if database.buckets() != 0 {
                self.arena
                    .mapping
                    .prefetch(database.home(self.hash_of(at)) * 8);
            }
        }
    }

    /// Moves an entry or an overflow bucket to another slot. False when that is not possible. The page it comes from is
    /// freed by this: it may go over the limit meanwhile.
    fn relocate(&mut self, at: u64) -> bool {
        if self.arena.is_bucket(at) {
            return self.relocate_bucket(at);
        }
        let Some(place) = self.place_of(at) else {
            return false;
        };
        let header = place.header;
        let bytes = header.total_bytes();
        let Ok(target) = self.arena.allocate(bytes, 0, Limit::Ignore) else {
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

    /// Moves an overflow bucket: any entry in it leads to its chain.
    fn relocate_bucket(&mut self, line: u64) -> bool {
        let Some(at) = self.refs_in_line(line).into_iter().find(|at| *at != 0) else {
            return false;
        };
        let database = &self.databases[usize::from(self.header(at).db())];
        if database.buckets() == 0 {
            return false;
        }
        let home = database.home(self.hash_of(at));
        let mut before = home;
        while let Some(next) = self.next_line(before).filter(|next| *next != line) {
            before = next;
        }
        if self.next_line(before) != Some(line) {
            return false;
        }
        let Ok(target) = self.arena.allocate_bucket(Limit::Ignore) else {
            return false;
        };
        let mapping = &mut self.arena.mapping;
        mapping.copy_within(line * 8, target * 8, (BUCKET_WORDS * 8) as usize);
        open(mapping, home);
        set_place(mapping, before, LAST, 0, target | LINK);
        close(mapping, home);
        self.arena.release_bucket(line);
        true
    }
}
