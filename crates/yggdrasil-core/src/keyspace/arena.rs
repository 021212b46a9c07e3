//! The arena: pages of one size class each, index pages, and runs of pages for large entries.
//!
//! The owner's heap alone knows where everything lies, in a record per page. Only the links of free slots lie in the
//! slots themselves. Memory is counted by the 4 KB blocks that have been touched, which is what the kernel counts;
//! within a page they are always the first ones.

mod check;
mod emptying;
mod huge;
mod runs;

use std::collections::{TryReserveError, VecDeque};
use std::rc::Rc;

use crate::lease::Holders;
use crate::shm::Mapping;

use self::huge::Huge;
use super::classes::{BUCKET_CLASS, CLASS_BYTES_MAX, CLASSES, class_of, slot_words};
use super::layout::{BLOCK_BYTES, HEADER_WORDS, Layout, PAGE_BYTES, PAGE_WORDS};
use super::leases::Leases;
use super::limbo::InLimbo;
use super::runs::FreeRuns;
use super::types::Millis;
use super::warm::WarmRuns;

const PAGE_BLOCKS: u64 = PAGE_BYTES / BLOCK_BYTES;
/// Empty pages that keep their memory, so that a key that comes and goes does not cost system calls.
const KEPT_PAGES: usize = 16;
/// Pages that are given back to the system in one step.
pub(super) const COOLED_PAGES: u32 = 64;
const NONE: u32 = 0;

/// The use of a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum PageUse {
    #[default]
    Free,
    /// Slots of a size class.
    Slots(u8),
    Index,
    /// First page of a run.
    Run,
    /// First page of a run that was freed while somebody held it.
    Limbo,
}

/// The owner's record of a page.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Page {
    pub(super) purpose: PageUse,
    /// Slots in use.
    pub(super) used: u16,
    /// Slots ever used; those beyond are untouched.
    pub(super) bump: u16,
    /// First free slot below `bump`, plus 1; the next one stands in the slot.
    free: u16,
    /// Being emptied, and therefore not among the pages that have room.
    apart: bool,
    /// Touched blocks.
    pub(super) blocks: u32,
    /// Neighbours among the pages of the class that have room. Of a run, `next` is the number of its pages.
    pub(super) previous: u32,
    pub(super) next: u32,
}

/// No memory within the limit, or no run of pages in the address space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct OutOfMemory {
    pub(super) needed: u64,
}

/// Respect of an allocation for the limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Limit {
    Respect,
    /// For changes that must not fail and hardly need memory.
    Ignore,
}

#[derive(Debug)]
pub(super) struct Arena {
    pub(super) mapping: Mapping,
    pub(super) layout: Layout,
    pub(super) limit: u64,
    /// Indexed by page number. Its capacity is the whole address space, so it never moves.
    pub(super) pages: Vec<Page>,
    /// First page with room, by class.
    partial: [u32; CLASSES + 1],
    /// Slots in use and slots there are, by class.
    slots: [(u64, u64); CLASSES + 1],
    /// A class that may have as many free slots as a page holds.
    loose: u8,
    /// Classes whose sparse pages are being emptied until little is free.
    settling: [bool; CLASSES + 1],
    /// The fewest pages that were kept since this was last looked at: so many were not needed.
    kept_least: usize,
    pub(super) free: FreeRuns,
    kept: Vec<u32>,
    pub(super) warm: WarmRuns,
    /// The leases of this process.
    pub(super) leases: Rc<Leases>,
    /// Who else may hold runs.
    pub(super) holders: Holders,
    /// Which parts lie in huge pages, if they are wanted.
    huge: Option<Huge>,
    /// Freed runs that are still lent or held.
    pub(super) limbo: VecDeque<InLimbo>,
    pub(super) entry_bytes: u64,
    pub(super) index_bytes: u64,
    pub(super) kept_bytes: u64,
    /// Bytes that entries asked for.
    pub(super) live_bytes: u64,
    /// Heap bytes of large collections.
    pub(super) tree_bytes: u64,
    /// Header, directories and heap.
    pub(super) fixed_bytes: u64,
    /// Heap bytes of the policy of eviction.
    pub(super) policy_bytes: u64,
    pub(super) peak: u64,
}

impl Arena {
    pub(super) fn new(
        mapping: Mapping,
        layout: Layout,
        limit: u64,
    ) -> Result<Self, TryReserveError> {
        let mut pages = Vec::new();
        pages.try_reserve_exact(layout.pages as usize)?;
        pages.resize(layout.first_data_page as usize, Page::default());
        Ok(Self {
            mapping,
            layout,
            limit,
            pages,
            partial: [NONE; CLASSES + 1],
            slots: [(0, 0); CLASSES + 1],
            loose: 0,
            settling: [false; CLASSES + 1],
            free: FreeRuns::new(layout.first_data_page as u32, layout.pages as u32),
            kept: Vec::with_capacity(KEPT_PAGES),
            warm: WarmRuns::default(),
            leases: Rc::default(),
            kept_least: 0,
            holders: Holders::default(),
            huge: None,
            limbo: VecDeque::new(),
            entry_bytes: 0,
            index_bytes: 0,
            kept_bytes: 0,
            live_bytes: 0,
            tree_bytes: 0,
            fixed_bytes: HEADER_WORDS * 8,
            policy_bytes: 0,
            peak: 0,
        })
    }

    pub(super) fn used(&self) -> u64 {
        let pages = self.entry_bytes + self.index_bytes + self.kept_bytes;
        pages + self.tree_bytes + self.fixed_bytes + self.policy_bytes
    }

    pub(super) fn note_peak(&mut self) {
        self.peak = self.peak.max(self.used());
    }

    /// Bytes of the records of pages.
    pub(super) fn heap_bytes(&self) -> u64 {
        (self.pages.len() * size_of::<Page>()) as u64
    }

    /// Room for an entry of `bytes`; a run also gets up to `spare_pages` of address space to grow into.
    #[inline]
    pub(super) fn allocate(
        &mut self,
        bytes: u64,
        spare_pages: u64,
        limit: Limit,
    ) -> Result<u64, OutOfMemory> {
        let at = if bytes <= CLASS_BYTES_MAX {
            self.allocate_slot(class_of(bytes), limit)?
        } else {
            self.allocate_run(bytes, spare_pages, limit)?
        };
        self.live_bytes += bytes;
        Ok(at)
    }

    /// Frees an entry of `bytes`, after the bucket it hung on has changed.
    #[inline]
    pub(super) fn release(&mut self, at: u64, bytes: u64) {
        self.live_bytes -= bytes;
        if bytes <= CLASS_BYTES_MAX {
            self.release_slot(at, class_of(bytes));
        } else {
            self.release_run(at);
        }
    }

    /// True when an entry can change its size from `from` to `to` where it is. Grows its run when that is needed.
    #[inline]
    pub(super) fn resize_in_place(
        &mut self,
        at: u64,
        from: u64,
        to: u64,
    ) -> Result<bool, OutOfMemory> {
        if from > CLASS_BYTES_MAX && to > CLASS_BYTES_MAX && self.grow_run(at, to)? {
            self.live_bytes = self.live_bytes + to - from;
            return Ok(true);
        }
        Ok(self.resize_in_slot(from, to))
    }

    /// True when an entry can change its size within its slot.
    #[inline(always)]
    pub(super) fn resize_in_slot(&mut self, from: u64, to: u64) -> bool {
        let fits =
            from <= CLASS_BYTES_MAX && to <= CLASS_BYTES_MAX && class_of(from) == class_of(to);
        if fits {
            self.live_bytes = self.live_bytes + to - from;
        }
        fits
    }

    pub(super) fn allocate_bucket(&mut self, limit: Limit) -> Result<u64, OutOfMemory> {
        self.allocate_slot(BUCKET_CLASS, limit)
    }

    pub(super) fn release_bucket(&mut self, at: u64) {
        self.release_slot(at, BUCKET_CLASS);
    }

    #[inline]
    fn allocate_slot(&mut self, class: u8, limit: Limit) -> Result<u64, OutOfMemory> {
        let number = self.partial[usize::from(class)];
        if number == NONE {
            return self.allocate_in_new_page(class, limit);
        }
        let words = slot_words(class);
        let page = &mut self.pages[number as usize];
        let first = u64::from(number) * PAGE_WORDS;
        let at = if page.free != 0 {
            let at = first + u64::from(page.free - 1) * words;
            page.free = self.mapping.load(at) as u16;
            at
        } else {
            let end = (u64::from(page.bump) + 1) * words * 8;
            let blocks = end.div_ceil(BLOCK_BYTES) as u32;
            if blocks > page.blocks {
                self.touch(number, blocks, limit)?;
            }
            let page = &mut self.pages[number as usize];
            page.bump += 1;
            first + u64::from(page.bump - 1) * words
        };
        self.slots[usize::from(class)].0 += 1;
        let page = &mut self.pages[number as usize];
        page.used += 1;
        if u64::from(page.used) == PAGE_WORDS / words {
            self.unlink(number, class);
        }
        Ok(at)
    }

    #[cold]
    fn allocate_in_new_page(&mut self, class: u8, limit: Limit) -> Result<u64, OutOfMemory> {
        let blocks = (slot_words(class) * 8).div_ceil(BLOCK_BYTES);
        let number = self.take_page(PageUse::Slots(class), blocks as u32, limit)?;
        let page = &mut self.pages[number as usize];
        (page.used, page.bump, page.free) = (1, 1, 0);
        self.link(number, class);
        let slots = &mut self.slots[usize::from(class)];
        *slots = (slots.0 + 1, slots.1 + PAGE_WORDS / slot_words(class));
        Ok(u64::from(number) * PAGE_WORDS)
    }

    #[inline]
    fn release_slot(&mut self, at: u64, class: u8) {
        let words = slot_words(class);
        let number = (at / PAGE_WORDS) as u32;
        let slot = (at % PAGE_WORDS) as u32 / words as u32;
        let page = &mut self.pages[number as usize];
        debug_assert_eq!(page.purpose, PageUse::Slots(class));
        self.mapping.store(at, u64::from(page.free));
        page.free = slot as u16 + 1;
        let was_full = u64::from(page.used) == PAGE_WORDS / words;
        page.used -= 1;
        let slots = &mut self.slots[usize::from(class)];
        slots.0 -= 1;
        if slots.1 - slots.0 >= PAGE_WORDS / words {
            self.loose = class;
        }
        if page.used == 0 {
            if !was_full && !page.apart {
                self.unlink(number, class);
            }
            self.slots[usize::from(class)].1 -= PAGE_WORDS / words;
            self.release_page(number);
        } else if was_full {
            self.link(number, class);
        }
    }

    /// Puts a page at the head of those of its class that have room.
    fn link(&mut self, number: u32, class: u8) {
        let head = std::mem::replace(&mut self.partial[usize::from(class)], number);
        if head != NONE {
            self.pages[head as usize].previous = number;
        }
        let page = &mut self.pages[number as usize];
        (page.previous, page.next) = (NONE, head);
    }

    fn unlink(&mut self, number: u32, class: u8) {
        let Page { previous, next, .. } = self.pages[number as usize];
        if previous == NONE {
            self.partial[usize::from(class)] = next;
        } else {
            self.pages[previous as usize].next = next;
        }
        if next != NONE {
            self.pages[next as usize].previous = previous;
        }
    }

    /// A page for the buckets of an index; its blocks are touched by [`Arena::touch_index`].
    pub(super) fn allocate_index_page(&mut self) -> Result<u32, OutOfMemory> {
        self.take_page(PageUse::Index, 1, Limit::Respect)
    }

    /// Counts the first `blocks` of an index page as touched.
    #[inline]
    pub(super) fn touch_index(&mut self, number: u32, blocks: u32) -> Result<(), OutOfMemory> {
        if blocks > self.pages[number as usize].blocks {
            self.touch(number, blocks, Limit::Respect)
        } else {
            Ok(())
        }
    }

    pub(super) fn release_index_page(&mut self, number: u32) {
        self.release_page(number);
    }

    fn counter(&mut self, purpose: PageUse) -> &mut u64 {
        match purpose {
            PageUse::Free => &mut self.kept_bytes,
            PageUse::Slots(BUCKET_CLASS) | PageUse::Index => &mut self.index_bytes,
            PageUse::Slots(_) | PageUse::Run | PageUse::Limbo => &mut self.entry_bytes,
        }
    }

    /// Lets the first `blocks` of a page or run be touched, if the limit allows.
    fn touch(&mut self, number: u32, blocks: u32, limit: Limit) -> Result<(), OutOfMemory> {
        let page = self.pages[number as usize];
        let more = u64::from(blocks - page.blocks) * BLOCK_BYTES;
        self.admit(more, limit)?;
        self.pages[number as usize].blocks = blocks;
        *self.counter(page.purpose) += more;
        self.note_peak();
        Ok(())
    }

    /// Checks that `more` bytes may be used, giving kept pages up for them. What needs none is allowed above a limit
    /// that was lowered, too.
    fn admit(&mut self, more: u64, limit: Limit) -> Result<(), OutOfMemory> {
        if more == 0 || limit == Limit::Ignore || self.used() + more <= self.limit {
            return Ok(());
        }
        while self.used() + more > self.limit {
            let surplus = self.used() + more - self.limit;
            let pages = u32::try_from(surplus.div_ceil(PAGE_BYTES)).unwrap_or(u32::MAX);
            if !self.give_up_kept_page() && !self.give_up_warm(pages) {
                return Err(OutOfMemory { needed: more });
            }
        }
        Ok(())
    }

    /// A page of which at least `blocks` are touched.
    fn take_page(
        &mut self,
        purpose: PageUse,
        blocks: u32,
        limit: Limit,
    ) -> Result<u32, OutOfMemory> {
        let resident = self
            .kept
            .last()
            .map_or(0, |kept| self.pages[*kept as usize].blocks);
        let more = u64::from(blocks.saturating_sub(resident)) * BLOCK_BYTES;
        self.admit(more, limit)?;
        let (number, resident) = match self.kept.pop() {
            Some(number) => {
                self.kept_least = self.kept_least.min(self.kept.len());
                (number, self.pages[number as usize].blocks)
            }
            None => (
                self.free
                    .take(1)
                    .ok_or(OutOfMemory { needed: PAGE_BYTES })?,
                0,
            ),
        };
        self.kept_bytes -= u64::from(resident) * BLOCK_BYTES;
        self.place(number, purpose, blocks.max(resident));
        Ok(number)
    }

    /// Starts the record of a page or run.
    pub(super) fn place(&mut self, number: u32, purpose: PageUse, blocks: u32) {
        let index = number as usize;
        if index >= self.pages.len() {
            self.fixed_bytes += ((index + 1 - self.pages.len()) * size_of::<Page>()) as u64;
            self.pages.resize(index + 1, Page::default());
        }
        self.pages[index] = Page {
            purpose,
            blocks,
            ..Page::default()
        };
        *self.counter(purpose) += u64::from(blocks) * BLOCK_BYTES;
        self.note_peak();
    }

    fn release_page(&mut self, number: u32) {
        let Page {
            purpose, blocks, ..
        } = self.pages[number as usize];
        let bytes = u64::from(blocks) * BLOCK_BYTES;
        *self.counter(purpose) -= bytes;
        self.pages[number as usize] = Page {
            blocks,
            ..Page::default()
        };
        self.kept_bytes += bytes;
        self.kept.push(number);
        if self.kept.len() == KEPT_PAGES {
            self.give_up_kept_page();
        }
    }

    /// Gives the memory of an empty page back to the system. False when none is kept.
    pub(super) fn give_up_kept_page(&mut self) -> bool {
        let Some(number) = self.kept.pop() else {
            return false;
        };
        let blocks = self.pages[number as usize].blocks;
        self.kept_bytes -= u64::from(blocks) * BLOCK_BYTES;
        self.punch(u64::from(number) * PAGE_BYTES, blocks);
        self.pages[number as usize] = Page::default();
        self.free.give(number, 1);
        true
    }

    /// Gives back what has not been needed since the last call, a page at a time.
    pub(super) fn give_up_unneeded(&mut self) {
        if self.kept_least > 0 {
            self.give_up_kept_page();
        }
        self.kept_least = self.kept.len();
    }

    /// Gives up to `pages` of the run that was kept longest back to the system. False when none is kept.
    pub(super) fn give_up_warm(&mut self, pages: u32) -> bool {
        let Some(cold) = self.warm.cool(pages) else {
            return false;
        };
        self.kept_bytes -= u64::from(cold.blocks) * BLOCK_BYTES;
        self.punch(u64::from(cold.start) * PAGE_BYTES, cold.blocks);
        self.free.give(cold.start, cold.pages);
        true
    }

    /// Gives back a part of what was kept for long enough. True when that was not all.
    pub(super) fn cool(&mut self, now: Millis) -> bool {
        if self.warm.is_due(now, self.entry_bytes) {
            self.give_up_warm(COOLED_PAGES);
        }
        self.warm.is_due(now, self.entry_bytes)
    }

    /// Bytes in use for more than being kept.
    pub(super) fn needed(&self) -> u64 {
        self.used() - self.kept_bytes
    }

    pub(super) fn punch(&mut self, offset: u64, blocks: u32) {
        if blocks == 0 {
            return;
        }
        let punched = self
            .mapping
            .punch_hole(offset, u64::from(blocks) * BLOCK_BYTES);
        assert!(
            punched.is_ok(),
            "a hole can be punched into the owner's segment: {punched:?}"
        );
        if let Some(huge) = &mut self.huge {
            huge.note_hole(offset, u64::from(blocks) * BLOCK_BYTES);
        }
    }
}
