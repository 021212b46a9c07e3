//! The orderings of a change under a sequence number, written once for real memory and for the model checker.
//!
//! Writer: [`announce`] an odd number, store relaxed, [`publish`] the next even one.
//! Reader: [`observe`] an even number, load relaxed, [`settle`], load the number again: if it is the same, what was
//! loaded in between belongs together. Memory is reused only after the number that guards it was announced anew.

use std::sync::atomic::Ordering::{self, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU64, fence};

/// A shared 64-bit word, and the fence that goes with it.
pub trait AtomicWord {
    fn load(&self, ordering: Ordering) -> u64;
    fn store(&self, value: u64, ordering: Ordering);
    fn swap(&self, value: u64, ordering: Ordering) -> u64;
    fn fence(ordering: Ordering);
}

impl AtomicWord for AtomicU64 {
    #[inline(always)]
    fn load(&self, ordering: Ordering) -> u64 {
        AtomicU64::load(self, ordering)
    }

    #[inline(always)]
    fn store(&self, value: u64, ordering: Ordering) {
        AtomicU64::store(self, value, ordering);
    }

    #[inline(always)]
    fn swap(&self, value: u64, ordering: Ordering) -> u64 {
        AtomicU64::swap(self, value, ordering)
    }

    #[inline(always)]
    fn fence(ordering: Ordering) {
        fence(ordering);
    }
}

/// Stores so that whoever sees a later store sees this one too.
#[inline(always)]
pub fn announce<W: AtomicWord>(word: &W, value: u64) {
    word.store(value, Relaxed);
    // Pairs with the fence in `settle`.
    W::fence(Release);
}

/// Stores so that whoever sees this store sees all earlier ones too.
#[inline(always)]
pub fn publish<W: AtomicWord>(word: &W, value: u64) {
    // Pairs with the load in `observe`.
    word.store(value, Release);
}

/// Both at once: a single word that leads from one consistent whole to another.
#[inline(always)]
pub fn switch<W: AtomicWord>(word: &W, value: u64) {
    word.store(value, Release);
    W::fence(Release);
}

/// Loads what [`publish`] has stored, and with it all that came before.
#[inline(always)]
pub fn observe<W: AtomicWord>(word: &W) -> u64 {
    word.load(Acquire)
}

/// After this, loads find every [`announce`] that preceded a store seen before it.
#[inline(always)]
pub fn settle<W: AtomicWord>() {
    W::fence(Acquire);
}
