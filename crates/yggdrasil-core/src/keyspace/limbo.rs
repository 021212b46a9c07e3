//! Runs that somebody looks at while they change or go: they wait in limbo, counted as used, for their last holder.

use super::arena::{Arena, PageUse};
use super::layout::{BLOCK_BYTES, PAGE_BYTES, PAGE_WORDS};
use super::leases::Lender;
use super::types::Millis;

/// A run that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct InLimbo {
    number: u32,
    /// When it was looked at first.
    since: Option<Millis>,
}

impl InLimbo {
    pub(super) fn new(number: u32) -> Self {
        Self {
            number,
            since: None,
        }
    }

    /// True when it is the run that begins with this page.
    pub(super) fn is(&self, number: u32) -> bool {
        self.number == number
    }
}

impl Arena {
    /// True when anybody looks at the run at `at`: then its bytes stay as they are. What led to it has changed before,
    /// or its bucket is open for a change.
    pub(super) fn is_leased(&self, at: u64) -> bool {
        self.is_run_leased((at / PAGE_WORDS) as u32)
    }

    fn is_run_leased(&self, number: u32) -> bool {
        self.leases.any_in(number, self.run_pages(number)) || self.holders.is_leased(number)
    }

    /// Lends bytes of this arena.
    pub(super) fn lender(&self) -> Lender {
        Lender::new(&self.leases, self.mapping.address(), self.mapping.bytes())
    }

    /// True when leases of this process have ended that kept freed runs from reuse.
    pub(super) fn has_returned_leases(&self) -> bool {
        !self.limbo.is_empty() && self.leases.has_returned()
    }

    /// Frees the runs in limbo at which nobody looks any more. True when there were any.
    pub(super) fn settle_limbo(&mut self) -> bool {
        self.leases.take_returned();
        self.look_at_limbo(self.limbo.len())
    }

    /// Looks at up to `count` runs in limbo and frees those at which nobody looks any more. True when there were any.
    pub(super) fn look_at_limbo(&mut self, count: usize) -> bool {
        let before = self.limbo.len();
        for _ in 0..count.min(before) {
            let Some(run) = self.limbo.pop_front() else {
                break;
            };
            if self.is_run_leased(run.number) {
                self.limbo.push_back(run);
            } else {
                self.free_run(run.number);
            }
        }
        self.limbo.len() < before
    }

    /// Cuts off who holds a run for longer than `age_max` after it was freed.
    pub(super) fn cut_off_overdue(&mut self, now: Millis, age_max: Millis) {
        for run in &mut self.limbo {
            let since = *run.since.get_or_insert(now);
            if now.saturating_sub(since) > age_max {
                self.holders.cut_off(run.number);
            }
        }
    }

    /// Bytes of the runs in limbo.
    pub(super) fn limbo_bytes(&self) -> u64 {
        let blocks = |run: &InLimbo| u64::from(self.pages[run.number as usize].blocks);
        self.limbo.iter().map(blocks).sum::<u64>() * BLOCK_BYTES
    }

    /// Takes back what [`Arena::resize_in_place`] has done for an entry that is not changed after all.
    pub(super) fn undo_resize(&mut self, at: u64, from: u64, to: u64) {
        self.live_bytes = self.live_bytes + from - to;
        if to > from {
            self.trim_run(at, from);
        }
    }

    /// Takes over a run of `bytes` that the last owner of the segment has left and that somebody holds. Without effect
    /// where its pages are not free.
    pub(super) fn adopt_leased(&mut self, number: u32, bytes: u64) {
        let blocks = bytes.div_ceil(BLOCK_BYTES) as u32;
        let Ok(pages) = u32::try_from(bytes.div_ceil(PAGE_BYTES)) else {
            return;
        };
        if self.free.take_inside(number, pages) {
            self.place(number, PageUse::Limbo, blocks);
            self.pages[number as usize].next = pages;
            self.limbo.push_back(InLimbo::new(number));
        }
    }
}
