//! The layout of a lease page, and its words.
//!
//! ```text
//! 0        state: the one word that the node writes
//! 64       for each shard: from which slot on none names one of its runs
//! 4096     slots: shard:8 | number:24 | first page of the run:32, or 0
//! 36864    for each shard: a ring of reports (see `reports`)
//! ```
//! Fields are named from the high bits down. The number tells one lease of a run from the next one.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::atomic::{AtomicU64, fence};

use crate::shm::{Segment, SharedMapping, ShmError, lease};

use super::reports::RING_BYTES;

/// Slots of a page; a holder may be allowed fewer.
pub const SLOTS_MAX: usize = 4096;
const ENDS_AT: usize = 64;
const SLOTS_AT: usize = 4096;
const REPORTS_AT: usize = SLOTS_AT + SLOTS_MAX * 8;
const _: () = assert!(ENDS_AT + crate::control::SHARDS_MAX * 8 <= SLOTS_AT);

const SHARD_SHIFT: u32 = 56;
const NUMBER_SHIFT: u32 = 32;
const NUMBER_MASK: u64 = (1 << (SHARD_SHIFT - NUMBER_SHIFT)) - 1;
const PAGE_MASK: u64 = (1 << NUMBER_SHIFT) - 1;
const INSIDE: &str = "a lease page has the size that its shape asks for";

/// A word of the node to a holder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PageState {
    Open,
    /// It held memory for too long that was no longer in use: its leases count no more.
    Overdue,
    /// The node is done with it.
    Closed,
}

/// A holder's page, in a segment of its own or as a part of one.
#[derive(Clone, Debug)]
pub struct LeasePage {
    mapping: Arc<SharedMapping>,
    base: u64,
    shards: usize,
    /// Slots that count.
    slots: usize,
}

impl LeasePage {
    /// Bytes that a page takes on a node of so many shards.
    #[must_use]
    pub fn bytes(shards: usize) -> usize {
        (REPORTS_AT + shards * RING_BYTES).next_multiple_of(4096)
    }

    /// A segment for one page, which its holder may be given.
    ///
    /// # Errors
    /// When the system gives no shared memory.
    pub fn create(shards: usize) -> Result<Segment, ShmError> {
        let bytes = Self::bytes(shards).next_multiple_of(Segment::GRANULARITY as usize);
        let segment = Segment::create("yggdrasil-leases", bytes as u64)?;
        segment.allow_writers()?;
        Ok(segment)
    }

    /// Maps a page that has a segment of its own. `slots` of it count.
    ///
    /// # Errors
    /// When it cannot be mapped or is too small.
    pub fn open(segment: &Segment, shards: usize, slots: usize) -> Result<Self, ShmError> {
        if segment.bytes() < Self::bytes(shards) as u64 {
            return Err(ShmError::Size {
                bytes: segment.bytes(),
            });
        }
        Ok(Self::inside(Arc::new(segment.share()?), 0, shards, slots))
    }

    /// The page that begins at `base` of a larger segment.
    pub(crate) fn inside(
        mapping: Arc<SharedMapping>,
        base: usize,
        shards: usize,
        slots: usize,
    ) -> Self {
        assert!(base + Self::bytes(shards) <= mapping.bytes() as usize);
        Self {
            mapping,
            base: base as u64,
            shards,
            slots: slots.min(SLOTS_MAX),
        }
    }

    pub(super) fn shards(&self) -> usize {
        self.shards
    }

    pub(super) fn slots(&self) -> usize {
        self.slots
    }

    pub(super) fn word(&self, offset: usize) -> &AtomicU64 {
        self.mapping.u64(self.base + offset as u64).expect(INSIDE)
    }

    pub(super) fn end(&self, shard: usize) -> &AtomicU64 {
        assert!(shard < self.shards);
        self.word(ENDS_AT + shard * 8)
    }

    pub(super) fn slot(&self, slot: usize) -> &AtomicU64 {
        assert!(slot < self.slots);
        self.word(SLOTS_AT + slot * 8)
    }

    /// The slots that count, in a row.
    pub(super) fn all_slots(&self) -> &[AtomicU64] {
        let offset = self.base + SLOTS_AT as u64;
        self.mapping.u64s(offset, self.slots).expect(INSIDE)
    }

    pub(super) fn ring_at(&self, shard: usize) -> usize {
        assert!(shard < self.shards);
        REPORTS_AT + shard * RING_BYTES
    }

    /// The last word of the node.
    #[inline]
    #[must_use]
    pub fn state(&self) -> PageState {
        match self.word(0).load(Acquire) {
            0 => PageState::Open,
            1 => PageState::Overdue,
            _ => PageState::Closed,
        }
    }

    /// Says something to the holder, before whatever the node does next to the memory that it may hold. The node's
    /// part.
    pub fn set_state(&self, state: PageState) {
        self.word(0).store(state as u64, Release);
        fence(Release);
    }

    /// Empties the page of a holder that is gone.
    pub fn clear(&self) {
        for slot in self.all_slots() {
            slot.store(0, Release);
        }
        for shard in 0..self.shards {
            self.end(shard).store(0, Release);
        }
    }

    /// The runs of a shard that are named, by their first page.
    pub(super) fn runs(&self, shard: usize) -> impl Iterator<Item = u32> + '_ {
        let end = lease::slots_end(self.end(shard));
        self.all_slots()
            .iter()
            .take(usize::try_from(end).unwrap_or(usize::MAX))
            .map(lease::protected_run)
            .filter(move |run| *run != 0 && shard_of(*run) == shard)
            .map(|run| (run & PAGE_MASK) as u32)
    }
}

/// The word that names a run.
pub(super) fn slot_word(shard: usize, number: u64, first_page: u32) -> u64 {
    (shard as u64) << SHARD_SHIFT | (number & NUMBER_MASK) << NUMBER_SHIFT | u64::from(first_page)
}

fn shard_of(run: u64) -> usize {
    (run >> SHARD_SHIFT) as usize
}
