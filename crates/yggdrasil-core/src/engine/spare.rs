//! Memory of queues and tables that were long once and are not any more.

use std::collections::VecDeque;

use slab::Slab;

use super::Engine;

/// Places that are kept in any case: a busy worker needs them again at once.
const KEPT_PLACES: usize = 1024;
/// Bytes of a buffer that are kept in any case.
const KEPT_BYTES: usize = 256 * 1024;
/// What is used by less than this part is given back.
const USED_PART: usize = 4;

/// A queue, a table or a buffer that keeps the room of its longest time.
pub(super) trait Spare {
    /// Gives back what is not used, if that is most of it.
    fn give_back(&mut self);
}

fn is_spare(len: usize, capacity: usize, kept: usize) -> bool {
    capacity > kept && len < capacity / USED_PART
}

fn kept_of<T>() -> usize {
    if size_of::<T>() == 1 {
        KEPT_BYTES
    } else {
        KEPT_PLACES
    }
}

impl<T> Spare for Vec<T> {
    fn give_back(&mut self) {
        if is_spare(self.len(), self.capacity(), kept_of::<T>()) {
            self.shrink_to(kept_of::<T>());
        }
    }
}

impl<T> Spare for VecDeque<T> {
    fn give_back(&mut self) {
        if is_spare(self.len(), self.capacity(), kept_of::<T>()) {
            self.shrink_to(kept_of::<T>());
        }
    }
}

impl<T> Spare for Slab<T> {
    /// What is left keeps its place.
    fn give_back(&mut self) {
        if is_spare(self.len(), self.capacity(), KEPT_PLACES) {
            self.shrink_to_fit();
        }
    }
}

impl Engine {
    /// Gives back what queues and tables have kept of their longest time.
    pub(super) fn give_back_room(&mut self) {
        self.tickets.give_back();
        self.gathers.give_back();
        self.transactions.give_back();
        self.sessions.give_back();
        self.deferred.give_back();
        self.resumable.give_back();
        self.ready.give_back();
        self.ring_waiters.give_back();
        self.events.give_back();
        self.steps.lists.give_back();
        self.links.give_back();
        for buffer in [
            &mut self.scratch,
            &mut self.payload,
            &mut self.reply_scratch,
            &mut self.inbox,
        ] {
            buffer.give_back();
        }
    }
}
