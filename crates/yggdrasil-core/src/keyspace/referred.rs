//! Runs that are sent by reference: the kernel puts their pages into the queue of a socket instead of copying them.
//!
//! Nobody is told when it lets go of them; over loopback it is the receiver who does, by reading. So the bytes of a
//! value that was ever sent like this are never written again: a page that is punched out of the segment lives on for
//! those who refer to it, and what takes its place is another page. That makes the next value in its place cost more,
//! which pays when the value is sent more than once or twice.

use super::arena::{Arena, COOLED_PAGES, PageUse};
use super::layout::{BLOCK_BYTES, PAGE_BYTES, PAGE_WORDS};

/// How many times a value is sent by copying before that has cost what new pages cost.
const COPIES: u64 = 5;
/// Bytes that are given new pages in one step.
const RENEWED_BYTES: u64 = PAGE_BYTES;

impl Arena {
    /// Whether the next `len` bytes of a value, in the run that `page` belongs to, are to be sent by reference. The run
    /// is marked then. They are lent.
    pub(super) fn refer(&mut self, page: u32, len: u64) -> bool {
        if self.refers == Some(false) {
            return false;
        }
        let known = self.pages.len().min(page as usize + 1);
        let first = self.pages[..known]
            .iter()
            .rposition(|page| page.purpose != PageUse::Free);
        let Some(run) = first.map(|first| &mut self.pages[first]) else {
            return false;
        };
        debug_assert!(matches!(run.purpose, PageUse::Run | PageUse::Limbo));
        if u64::from(run.previous) >= COPIES * u64::from(run.blocks) {
            let mapping = &self.mapping;
            run.referred |= *self
                .refers
                .get_or_insert_with(|| mapping.keep_pages_small());
        } else if !run.referred {
            let blocks = u32::try_from(len.div_ceil(BLOCK_BYTES)).unwrap_or(u32::MAX);
            run.previous = run.previous.saturating_add(blocks);
        }
        run.referred
    }

    /// Whether the kernel may refer to the pages of the run at `at`.
    pub(super) fn is_referred(&self, at: u64) -> bool {
        self.pages[(at / PAGE_WORDS) as usize].referred
    }

    /// Frees such a run: its memory goes back to the system before it is used again. The pages of a long one go in
    /// steps.
    pub(super) fn free_referred(&mut self, number: u32, pages: u32, blocks: u32) {
        self.pages[number as usize] = Default::default();
        let bytes = u64::from(blocks) * BLOCK_BYTES;
        self.entry_bytes -= bytes;
        if pages > COOLED_PAGES {
            self.kept_bytes += bytes;
            self.warm.give_spent(number, pages, blocks);
        } else {
            self.punch(u64::from(number) * PAGE_BYTES, blocks);
            self.free.give(number, pages);
        }
    }

    /// Puts other pages with the same bytes in the place of those that hold `from..to` of the segment.
    pub(super) fn renew(&mut self, from: u64, to: u64) {
        let (mut from, end) = (
            from / BLOCK_BYTES * BLOCK_BYTES,
            to.next_multiple_of(BLOCK_BYTES),
        );
        while from < end {
            let len = RENEWED_BYTES.min(end - from);
            let bytes = self.mapping.slice(from, len).to_vec();
            self.punch(from, (len / BLOCK_BYTES) as u32);
            self.mapping.copy_in(from, &bytes);
            from += len;
        }
    }
}
