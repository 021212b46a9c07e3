//! Emptying sparse pages, so that their memory can serve another class.

use super::{Arena, NONE, PageUse};
use crate::keyspace::classes::{BUCKET_CLASS, CLASSES, slot_words};
use crate::keyspace::layout::PAGE_WORDS;

impl Arena {
    /// Number of the page behind the last one that was ever used.
    pub(in crate::keyspace) fn pages_end(&self) -> u32 {
        self.pages.len() as u32
    }

    /// True when it pays to empty a page: it is no fuller than others of its class, what it holds fits into those, and
    /// a quarter of the class is free, or was and has to become less than a sixteenth.
    pub(in crate::keyspace) fn is_sparse(&mut self, number: u32) -> bool {
        let page = self.page(number);
        let PageUse::Slots(class) = page.purpose else {
            return false;
        };
        let in_page = PAGE_WORDS / slot_words(class);
        let (used, slots) = self.slots[usize::from(class)];
        let free = slots - used;
        let settling = &mut self.settling[usize::from(class)];
        *settling = free * 16 >= slots && (*settling || free * 4 >= slots);
        *settling && free >= in_page && u64::from(page.used) * slots <= in_page * used
    }

    /// Takes up emptying the sparse pages of all classes.
    pub(in crate::keyspace) fn settle_all(&mut self) {
        self.settling = [true; CLASSES + 1];
    }

    /// A page whose slots can move to others of its class, the sparsest of some.
    pub(in crate::keyspace) fn page_to_empty(&mut self) -> Option<u32> {
        const LOOKED_AT: usize = 32;
        let class = self.loose;
        let (used, slots) = self.slots[usize::from(class)];
        if slots - used < PAGE_WORDS / slot_words(class) {
            return None;
        }
        let first = Some(self.partial[usize::from(class)]).filter(|number| *number != NONE);
        let listed = std::iter::successors(first, |number| {
            Some(self.pages[*number as usize].next).filter(|next| *next != NONE)
        });
        listed
            .take(LOOKED_AT)
            .min_by_key(|number| self.pages[*number as usize].used)
    }

    /// True when a slot holds an overflow bucket.
    pub(in crate::keyspace) fn is_bucket(&self, at: u64) -> bool {
        self.page((at / PAGE_WORDS) as u32).purpose == PageUse::Slots(BUCKET_CLASS)
    }

    /// Takes a page with room from the list, so that nothing new comes to it, and returns its entries.
    pub(in crate::keyspace) fn set_apart(&mut self, number: u32) -> Vec<u64> {
        let page = self.pages[number as usize];
        let PageUse::Slots(class) = page.purpose else {
            return Vec::new();
        };
        self.unlink(number, class);
        self.pages[number as usize].apart = true;
        let (first, words) = (u64::from(number) * PAGE_WORDS, slot_words(class));
        let mut live = vec![true; usize::from(page.bump)];
        let mut free = page.free;
        while free != 0 {
            live[usize::from(free - 1)] = false;
            free = self.mapping.load(first + u64::from(free - 1) * words) as u16;
        }
        (0..)
            .zip(live)
            .filter(|(_, live)| *live)
            .map(|(slot, _)| first + slot * words)
            .collect()
    }

    /// Lists a page again that could not be emptied.
    pub(in crate::keyspace) fn put_back(&mut self, number: u32) {
        let page = &mut self.pages[number as usize];
        if let (true, PageUse::Slots(class)) = (page.apart, page.purpose) {
            page.apart = false;
            self.link(number, class);
        }
    }
}
