//! The orderings of leases (hazard pointers: Michael 2004), written once for real memory and for the model checker.
//!
//! Holder: [`protect`] the run that a bucket names, then check the sequence number of the bucket as ever
//! ([`settle`](super::sequence::settle) and load): if it is still the same, the run stays as it is until [`release`].
//! Owner: change the bucket, [`look`], then look at every slot ([`protected_run`]): a run that none names is free.
//! Of the two fences one comes first: either the owner sees the slot, or the holder sees the changed bucket.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

use super::sequence::AtomicWord;

/// Names a run in a slot. `active` tells the owner that there is something to look for; it has no other writer.
#[inline]
pub fn protect<W: AtomicWord>(active: &W, count: u64, slot: &W, run: u64) {
    active.store(count, Relaxed);
    slot.store(run, Relaxed);
    // Pairs with the fence in `look`.
    W::fence(SeqCst);
}

/// Lets a run go whose bytes are not looked at any more.
#[inline]
pub fn release<W: AtomicWord>(active: &W, count: u64, slot: &W) {
    // Pair with the loads in `active_runs` and `protected_run`.
    slot.store(0, Release);
    active.store(count, Release);
}

/// Comes between the change of a bucket and the look at the slots.
#[inline]
pub fn look<W: AtomicWord>() {
    // Pairs with the fence in `protect`.
    W::fence(SeqCst);
}

/// How many slots of a holder name a run.
#[inline]
pub fn active_runs<W: AtomicWord>(active: &W) -> u64 {
    active.load(Acquire)
}

/// The run that a slot names, 0 for none.
#[inline]
pub fn protected_run<W: AtomicWord>(slot: &W) -> u64 {
    slot.load(Acquire)
}
