//! The orderings of leases (hazard pointers: Michael 2004), written once for real memory and for the model checker.
//!
//! Holder: [`protect`] the run that a bucket names, then check the sequence number of the bucket as ever
//! ([`settle`](super::sequence::settle) and load): if it is still the same, the run stays as it is until [`release`].
//! Owner: change the bucket, [`look`], then look at every slot ([`protected_run`]) before the [`slots_end`]: a run that
//! none names is free. A run lies before the end for as long as it is named, so that an end that is out of date hides
//! none.
//! Of the two fences one comes first: either the owner sees the slot, or the holder sees the changed bucket.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

use super::sequence::AtomicWord;

/// Names a run in a slot that lies before `end`. The words have no other writer.
#[inline]
pub fn protect<W: AtomicWord>(end_word: &W, end: u64, slot: &W, run: u64) {
    end_word.store(end, Relaxed);
    slot.store(run, Relaxed);
    // Pairs with the fence in `look`.
    W::fence(SeqCst);
}

/// Lets a run go whose bytes are not looked at any more. All slots that still name one lie before `end`.
#[inline]
pub fn release<W: AtomicWord>(end_word: &W, end: u64, slot: &W) {
    // Pair with the loads in `slots_end` and `protected_run`.
    slot.store(0, Release);
    end_word.store(end, Release);
}

/// Comes between the change of a bucket and the look at the slots.
#[inline]
pub fn look<W: AtomicWord>() {
    // Pairs with the fence in `protect`.
    W::fence(SeqCst);
}

/// From which slot on none of a holder names a run.
#[inline]
pub fn slots_end<W: AtomicWord>(end_word: &W) -> u64 {
    end_word.load(Acquire)
}

/// The run that a slot names, 0 for none.
#[inline]
pub fn protected_run<W: AtomicWord>(slot: &W) -> u64 {
    slot.load(Acquire)
}
