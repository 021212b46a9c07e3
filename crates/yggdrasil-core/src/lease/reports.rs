//! Reports of a holder's reads to the owner of the shard, through a ring that loses what is not fetched in time.
//!
//! ```text
//! 0    head: reports so far
//! 64   entries: hash of the key, logical database
//! ```
//! Threads of a holder may report at the same time: then reports are lost or mixed, and a key counts for another one.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::page::LeasePage;

const ENTRIES: usize = 256;
const ENTRIES_AT: usize = 64;
const ENTRY_BYTES: usize = 16;
pub(super) const RING_BYTES: usize = ENTRIES_AT + ENTRIES * ENTRY_BYTES;

impl LeasePage {
    /// Reports that a key of a shard was read.
    #[inline]
    pub fn report(&self, shard: usize, hash: u64, db: u8) {
        let ring = self.ring_at(shard);
        let head = self.word(ring).load(Relaxed);
        let entry = ring + ENTRIES_AT + head as usize % ENTRIES * ENTRY_BYTES;
        self.word(entry).store(hash, Relaxed);
        self.word(entry + 8).store(u64::from(db), Relaxed);
        self.word(ring).store(head.wrapping_add(1), Release);
    }

    /// Hands over what was reported behind `seen`, as far as it is still there; returns the new end.
    pub(super) fn reported(&self, shard: usize, seen: u64, each: &mut impl FnMut(u64, u8)) -> u64 {
        let ring = self.ring_at(shard);
        let head = self.word(ring).load(Acquire);
        let fresh = head.wrapping_sub(seen).min(ENTRIES as u64);
        for back in (1..=fresh).rev() {
            let entry =
                ring + ENTRIES_AT + head.wrapping_sub(back) as usize % ENTRIES * ENTRY_BYTES;
            let (hash, db) = (self.word(entry), self.word(entry + 8));
            each(hash.load(Relaxed), db.load(Relaxed) as u8);
        }
        head
    }
}
