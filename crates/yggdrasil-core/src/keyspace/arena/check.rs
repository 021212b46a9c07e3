//! The check of the arena's invariants.

use super::{Arena, KEPT_PAGES, NONE, PAGE_BLOCKS, Page, PageUse};
use crate::keyspace::classes::{BUCKET_CLASS, CLASSES, slot_words};
use crate::keyspace::layout::{BLOCK_BYTES, PAGE_WORDS};

impl Arena {
    pub(in crate::keyspace) fn page(&self, number: u32) -> Page {
        self.pages.get(number as usize).copied().unwrap_or_default()
    }

    pub(in crate::keyspace) fn run_pages(&self, number: u32) -> u32 {
        self.page(number).next
    }

    /// Checks that every page is accounted for once, free lists included.
    pub(in crate::keyspace) fn check_invariants(&self) {
        let mut counted = [(0, 0); CLASSES + 1];
        let mut next = self.layout.first_data_page as u32;
        let mut free = self.free.iter().peekable();
        let mut warm: Vec<_> = self.warm.iter().copied().collect();
        warm.sort_unstable_by_key(|run| run.start);
        let mut warm = warm.into_iter().peekable();
        let (mut entries, mut index, mut kept) = (0, 0, 0);
        while u64::from(next) < self.layout.pages {
            if let Some((_, length)) = free.next_if(|(start, _)| *start == next) {
                next += length;
                continue;
            }
            if let Some(run) = warm.next_if(|run| run.start == next) {
                kept += run.bytes();
                next += run.pages;
                continue;
            }
            let page = self.page(next);
            let bytes = u64::from(page.blocks) * BLOCK_BYTES;
            let is_run = matches!(page.purpose, PageUse::Run | PageUse::Limbo);
            match page.purpose {
                PageUse::Free => {
                    assert!(
                        self.kept.contains(&next),
                        "page {next} is neither free nor kept nor used"
                    );
                    kept += bytes;
                }
                PageUse::Slots(class) => {
                    self.check_slots(next, &page, class);
                    let slots = &mut counted[usize::from(class)];
                    *slots = (
                        slots.0 + u64::from(page.used),
                        slots.1 + PAGE_WORDS / slot_words(class),
                    );
                    *if class == BUCKET_CLASS {
                        &mut index
                    } else {
                        &mut entries
                    } += bytes;
                }
                PageUse::Index => index += bytes,
                PageUse::Run => entries += bytes,
                PageUse::Limbo => {
                    assert!(self.limbo.iter().any(|run| run.is(next)));
                    entries += bytes;
                }
            }
            next += if is_run { page.next } else { 1 };
            if !is_run {
                assert!(u64::from(page.blocks) <= PAGE_BLOCKS);
            }
        }
        assert_eq!(
            (entries, index, kept),
            (self.entry_bytes, self.index_bytes, self.kept_bytes)
        );
        assert!(self.kept.len() < KEPT_PAGES);
        assert_eq!(counted, self.slots);
    }

    fn check_slots(&self, number: u32, page: &Page, class: u8) {
        let words = slot_words(class);
        let slots = (PAGE_WORDS / words) as u16;
        assert!(page.used > 0);
        assert!(!page.apart);
        assert!(page.used <= page.bump);
        assert!(page.bump <= slots);
        assert!(u64::from(page.bump) * words * 8 <= u64::from(page.blocks) * BLOCK_BYTES);
        let (mut free, mut count) = (page.free, 0);
        while free != 0 {
            assert!(free <= page.bump);
            count += 1;
            assert!(
                count <= page.bump - page.used,
                "the free slots of page {number} form a list without a loop"
            );
            free = self
                .mapping
                .load(u64::from(number) * PAGE_WORDS + u64::from(free - 1) * words)
                as u16;
        }
        assert_eq!(count, page.bump - page.used);
        let mut listed = self.partial[usize::from(class)];
        while listed != NONE && listed != number {
            listed = self.pages[listed as usize].next;
        }
        assert_eq!(
            listed == number,
            page.used < slots,
            "page {number} is listed when it has room"
        );
    }
}
