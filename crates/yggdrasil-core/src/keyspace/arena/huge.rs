//! Full parts of the arena lie in huge pages, where that is wanted: reads of many keys spend much of their time on
//! finding out where a page is.
//!
//! Only parts in which every block is counted as touched are moved, so that it changes nothing about what is counted. A
//! hole that is punched later splits the huge page again.

use std::io::ErrorKind;

use super::{Arena, PAGE_BLOCKS, PageUse};
use crate::keyspace::layout::PAGE_BYTES;
use crate::shm::HugePages;

/// Pages of the arena in a huge page.
const PAGES: u32 = (HugePages::BYTES / PAGE_BYTES) as u32;
/// Parts that one call looks at.
const LOOKS_MAX: u32 = 256;

/// How a part stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    /// As the kernel first gave it.
    Scattered,
    Asked,
    Refused,
    /// In a huge page.
    Whole,
}

#[derive(Debug)]
pub(super) struct Huge {
    thread: HugePages,
    parts: Vec<Part>,
    /// The part that is looked at next.
    next: u32,
}

impl Huge {
    /// Forgets what became of a range.
    pub(super) fn note_hole(&mut self, offset: u64, bytes: u64) {
        let first = (offset / HugePages::BYTES) as usize;
        let end = ((offset + bytes).div_ceil(HugePages::BYTES) as usize).min(self.parts.len());
        if first < end {
            self.parts[first..end].fill(Part::Scattered);
        }
    }

    fn is_scattered(&self, part: u32) -> bool {
        let part = self.parts.get(part as usize);
        part.is_none_or(|part| *part == Part::Scattered)
    }

    /// False when too much is under way.
    fn ask(&mut self, part: u32) -> bool {
        if !self.thread.ask(u64::from(part) * HugePages::BYTES) {
            return false;
        }
        let part = part as usize;
        if self.parts.len() <= part {
            self.parts.resize(part + 1, Part::Scattered);
        }
        self.parts[part] = Part::Asked;
        true
    }

    fn hear(&mut self) {
        while let Some((offset, result)) = self.thread.answer() {
            let part = &mut self.parts[(offset / HugePages::BYTES) as usize];
            // A hole was punched meanwhile.
            if *part != Part::Asked {
                continue;
            }
            *part = match result {
                Ok(()) => Part::Whole,
                // The kernel uses some of it this very moment.
                Err(error) if error.kind() == ErrorKind::WouldBlock => Part::Scattered,
                Err(_) => Part::Refused,
            };
        }
    }
}

impl Arena {
    /// Begins or ends to seek huge pages. False where they cannot be had.
    pub(in crate::keyspace) fn set_huge_pages(&mut self, wanted: bool) -> bool {
        if !wanted {
            self.huge = None;
        } else if self.huge.is_none() {
            self.huge = self.mapping.huge_pages().ok().map(|thread| Huge {
                thread,
                parts: Vec::new(),
                next: 0,
            });
        }
        self.huge.is_some() == wanted
    }

    /// Bytes that lie in huge pages.
    pub(in crate::keyspace) fn huge_bytes(&self) -> u64 {
        let parts = self.huge.iter().flat_map(|huge| &huge.parts);
        parts.filter(|part| **part == Part::Whole).count() as u64 * HugePages::BYTES
    }

    /// Asks for huge pages for some parts that are full.
    pub(in crate::keyspace) fn seek_huge_pages(&mut self) {
        let Some(mut huge) = self.huge.take() else {
            return;
        };
        huge.hear();
        let parts = self.pages_end() / PAGES;
        for _ in 0..parts.min(LOOKS_MAX) {
            let part = if huge.next < parts { huge.next } else { 0 };
            if huge.is_scattered(part) && self.is_full(part) && !huge.ask(part) {
                break;
            }
            huge.next = part + 1;
        }
        self.huge = Some(huge);
    }

    /// True when all of a part holds small entries or buckets.
    fn is_full(&self, part: u32) -> bool {
        (part * PAGES..(part + 1) * PAGES).all(|number| {
            let page = self.page(number);
            let holds = matches!(page.purpose, PageUse::Slots(_) | PageUse::Index);
            holds && u64::from(page.blocks) == PAGE_BLOCKS
        })
    }
}
