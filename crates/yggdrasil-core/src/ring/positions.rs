//! How producer and consumer of a ring agree, written once for real memory and for the model checker.
//!
//! The producer alone stores `tail` and raises `starved`; the consumer alone stores `head` and lowers `starved`.
//! Positions count bytes and never wrap around.

use std::sync::atomic::Ordering::{Acquire, Release, SeqCst};

use crate::shm::sequence::AtomicWord;

/// Whether `wanted` more bytes have room behind `written`. If not, the consumer is asked to wake the producer once it
/// has made room. `head_seen` is the head as it was last seen.
#[inline]
pub fn has_room<W: AtomicWord>(
    head: &W,
    starved: &W,
    written: u64,
    wanted: u64,
    capacity: u64,
    head_seen: &mut u64,
) -> bool {
    let fits = |head: u64| written.wrapping_sub(head).saturating_add(wanted) <= capacity;
    if fits(*head_seen) {
        return true;
    }
    *head_seen = head.load(Acquire);
    if fits(*head_seen) {
        return true;
    }
    // The flag is raised before the last look. Either the consumer sees it after making room, or this look sees the
    // room.
    starved.swap(1, SeqCst);
    W::fence(SeqCst);
    *head_seen = head.load(Acquire);
    fits(*head_seen)
}

/// Makes the bytes up to `written` visible, which are in place.
#[inline]
pub fn publish<W: AtomicWord>(tail: &W, written: u64) {
    tail.store(written, Release);
}

/// Bytes that wait behind `head`. An impossible distance, which only a broken peer makes, is an empty ring.
#[inline]
pub fn waiting<W: AtomicWord>(tail: &W, head: u64, capacity: u64) -> u64 {
    let waiting = tail.load(Acquire).wrapping_sub(head);
    if waiting > capacity { 0 } else { waiting }
}

/// Gives the room up to `consumed` back, whose bytes are copied out. True when the producer waits for room.
#[inline]
pub fn give_back<W: AtomicWord>(head: &W, starved: &W, consumed: u64) -> bool {
    head.store(consumed, Release);
    W::fence(SeqCst);
    starved.load(SeqCst) != 0 && starved.swap(0, SeqCst) != 0
}

/// Notes that a sleeper is to be woken; true when its eventfd has to be written.
#[inline]
pub fn request_wake<W: AtomicWord>(woken: &W) -> bool {
    woken.swap(1, SeqCst) == 0
}

/// A sleeper has been woken, and looks at its rings after this.
#[inline]
pub fn woke<W: AtomicWord>(woken: &W) {
    woken.swap(0, SeqCst);
}
