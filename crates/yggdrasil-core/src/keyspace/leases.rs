//! Leases of this process on its own arena: what is lent is not reused, and not written, before it is given back.
//!
//! A lease names a place inside a run, and the run is found by it: whoever frees pages asks whether any lease lies
//! among them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use super::classes::CLASS_BYTES_MAX;
use super::layout::PAGE_BYTES;

/// All leases on one arena. One thread, the owner's, takes and returns them.
#[derive(Debug, Default)]
pub(super) struct Leases {
    /// Page -> leases that begin in it.
    pages: RefCell<BTreeMap<u32, u32>>,
    /// A page has lost its last lease since last asked.
    returned: Cell<bool>,
}

impl Leases {
    fn take(self: &Rc<Self>, page: u32) -> Lease {
        *self.pages.borrow_mut().entry(page).or_default() += 1;
        Lease {
            leases: Rc::clone(self),
            page,
        }
    }

    fn give_back(&self, page: u32) {
        let mut pages = self.pages.borrow_mut();
        let Some(count) = pages.get_mut(&page) else {
            return;
        };
        *count -= 1;
        if *count == 0 {
            pages.remove(&page);
            self.returned.set(true);
        }
    }

    /// True when anything is lent of the `count` pages from `first` on.
    pub(super) fn any_in(&self, first: u32, count: u32) -> bool {
        let pages = self.pages.borrow();
        !pages.is_empty() && pages.range(first..first + count).next().is_some()
    }

    /// True when a page has lost its last lease since this was last asked.
    pub(super) fn take_returned(&self) -> bool {
        self.returned.replace(false)
    }

    /// True when [`Leases::take_returned`] would be.
    pub(super) fn has_returned(&self) -> bool {
        self.returned.get()
    }
}

/// Keeps a run from being reused or written in place; ends when it is dropped.
#[derive(Debug)]
pub struct Lease {
    leases: Rc<Leases>,
    page: u32,
}

impl Clone for Lease {
    fn clone(&self) -> Self {
        self.leases.take(self.page)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.leases.give_back(self.page);
    }
}

/// Bytes of the arena, where they lie and the lease on them.
#[derive(Clone, Debug)]
pub struct Lent {
    /// Byte of the segment in which they begin.
    pub offset: u64,
    pub len: u64,
    pub lease: Lease,
}

/// Lends bytes of an arena by their address.
#[derive(Debug)]
pub struct Lender {
    leases: Rc<Leases>,
    /// Where the arena is mapped.
    base: usize,
    bytes: u64,
}

impl Lender {
    /// Shorter values may lie in a page with others, which is not lent.
    pub const BYTES_MIN: usize = CLASS_BYTES_MAX as usize;

    pub(super) fn new(leases: &Rc<Leases>, base: usize, bytes: u64) -> Self {
        Self {
            leases: Rc::clone(leases),
            base,
            bytes,
        }
    }

    /// A lease on bytes of a value of this arena, more than [`Lender::BYTES_MIN`] of them. `None` for any other bytes.
    pub fn lend(&self, bytes: &[u8]) -> Option<Lent> {
        let offset = bytes.as_ptr().addr().checked_sub(self.base)? as u64;
        let len = bytes.len() as u64;
        let is_ours = offset.checked_add(len).is_some_and(|end| end <= self.bytes);
        (is_ours && bytes.len() > Self::BYTES_MIN).then(|| Lent {
            offset,
            len,
            lease: self.leases.take((offset / PAGE_BYTES) as u32),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_leased_until_the_last_lease_ends() {
        let leases = Rc::new(Leases::default());
        let (a, b) = (leases.take(7), leases.take(7));
        let c = a.clone();
        assert!(leases.any_in(5, 3));
        assert!(!leases.any_in(5, 2));
        assert!(!leases.any_in(8, 100));
        drop((a, c));
        assert!(!leases.take_returned());
        assert!(leases.any_in(7, 1));
        drop(b);
        assert!(!leases.any_in(0, 100));
        assert!(leases.take_returned());
        assert!(!leases.take_returned());
    }

    #[test]
    fn only_long_values_of_the_arena_are_lent() {
        let leases = Rc::new(Leases::default());
        let arena = vec![0; 4 * PAGE_BYTES as usize];
        let lender = Lender::new(&leases, arena.as_ptr().addr(), arena.len() as u64);
        let lent = lender.lend(&arena[100_000..200_000]).unwrap();
        assert_eq!((lent.offset, lent.len), (100_000, 100_000));
        assert!(leases.any_in(1, 1));
        assert!(lender.lend(&arena[..Lender::BYTES_MIN]).is_none());
        assert!(lender.lend(&vec![0; 100_000]).is_none());
    }
}
