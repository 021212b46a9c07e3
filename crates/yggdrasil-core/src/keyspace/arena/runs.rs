//! Runs: pages one after the other for one large entry.

use super::{Arena, InLimbo, Limit, OutOfMemory, Page, PageUse};
use crate::keyspace::layout::{BLOCK_BYTES, PAGE_BYTES, PAGE_WORDS};

impl Arena {
    pub(super) fn allocate_run(
        &mut self,
        bytes: u64,
        spare_pages: u64,
        limit: Limit,
    ) -> Result<u64, OutOfMemory> {
        let blocks = bytes.div_ceil(BLOCK_BYTES) as u32;
        let pages = bytes.div_ceil(PAGE_BYTES);
        if pages == 1 && spare_pages == 0 {
            let number = self.take_page(PageUse::Run, blocks, limit)?;
            self.pages[number as usize].next = 1;
            return Ok(u64::from(number) * PAGE_WORDS);
        }
        if let Some(number) = self.take_warm_run(pages + spare_pages, blocks, limit)? {
            return Ok(u64::from(number) * PAGE_WORDS);
        }
        self.admit(u64::from(blocks) * BLOCK_BYTES, limit)?;
        let (number, pages) = self
            .take_run(pages + spare_pages)
            .or_else(|| self.take_run(pages))
            .ok_or(OutOfMemory { needed: bytes })?;
        self.place(number, PageUse::Run, blocks);
        self.pages[number as usize].next = pages;
        Ok(u64::from(number) * PAGE_WORDS)
    }

    /// A run of so many pages whose memory is there already.
    fn take_warm_run(
        &mut self,
        pages: u64,
        blocks: u32,
        limit: Limit,
    ) -> Result<Option<u32>, OutOfMemory> {
        let Some(pages) = u32::try_from(pages).ok() else {
            return Ok(None);
        };
        let Some(warm) = self.warm.take(pages) else {
            return Ok(None);
        };
        self.kept_bytes -= warm.bytes();
        let more = u64::from(blocks.max(warm.blocks)) * BLOCK_BYTES;
        if let Err(refusal) = self.admit(more, limit) {
            self.kept_bytes += warm.bytes();
            self.warm.give(warm.start, warm.pages, warm.blocks);
            return Err(refusal);
        }
        self.place(warm.start, PageUse::Run, blocks.max(warm.blocks));
        self.pages[warm.start as usize].next = pages;
        Ok(Some(warm.start))
    }

    fn take_run(&mut self, pages: u64) -> Option<(u32, u32)> {
        let pages = u32::try_from(pages).ok()?;
        Some((self.free.take(pages)?, pages))
    }

    /// True when the run at `at` has, or can be given, room for `bytes`.
    pub(super) fn grow_run(&mut self, at: u64, bytes: u64) -> Result<bool, OutOfMemory> {
        let number = (at / PAGE_WORDS) as u32;
        let page = self.pages[number as usize];
        let pages = bytes.div_ceil(PAGE_BYTES);
        let blocks = bytes.div_ceil(BLOCK_BYTES) as u32;
        if pages > u64::from(page.next) {
            let Ok(more) = u32::try_from(pages - u64::from(page.next)) else {
                return Ok(false);
            };
            if !self.free.take_at(number + page.next, more) {
                return Ok(false);
            }
            self.pages[number as usize].next += more;
        }
        if blocks > page.blocks {
            self.touch(number, blocks, Limit::Respect)?;
        }
        Ok(true)
    }

    /// Gives back what a run that now needs `bytes` no longer does, after its bucket has changed.
    pub(in crate::keyspace) fn trim_run(&mut self, at: u64, bytes: u64) {
        let number = (at / PAGE_WORDS) as u32;
        let page = self.pages[number as usize];
        let blocks = bytes.div_ceil(BLOCK_BYTES) as u32;
        if blocks < page.blocks {
            let surplus = page.blocks - blocks;
            self.punch(
                u64::from(number) * PAGE_BYTES + u64::from(blocks) * BLOCK_BYTES,
                surplus,
            );
            self.pages[number as usize].blocks = blocks;
            self.entry_bytes -= u64::from(surplus) * BLOCK_BYTES;
        }
        // Address space for growth is kept up to twice the need.
        let pages = (2 * bytes.div_ceil(PAGE_BYTES)) as u32;
        if pages < page.next {
            self.pages[number as usize].next = pages;
            self.free.give(number + pages, page.next - pages);
        }
    }

    pub(super) fn release_run(&mut self, at: u64) {
        let number = (at / PAGE_WORDS) as u32;
        debug_assert_eq!(self.pages[number as usize].purpose, PageUse::Run);
        if self.is_leased(at) {
            self.pages[number as usize].purpose = PageUse::Limbo;
            self.limbo.push_back(InLimbo::new(number));
        } else {
            self.free_run(number);
        }
    }

    pub(in crate::keyspace) fn free_run(&mut self, number: u32) {
        let Page {
            blocks,
            next: pages,
            ..
        } = self.pages[number as usize];
        if pages == 1 {
            self.release_page(number);
            return;
        }
        let bytes = u64::from(blocks) * BLOCK_BYTES;
        self.entry_bytes -= bytes;
        self.kept_bytes += bytes;
        self.pages[number as usize] = Page::default();
        self.warm.give(number, pages, blocks);
    }
}
