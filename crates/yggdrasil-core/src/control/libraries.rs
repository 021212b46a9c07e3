//! The version of the libraries of functions that a node keeps: one word, which tells workers when to read them again.
//!
//! ```text
//! version:56 | state:8     0, or who changes them (the number of a worker and one more), or 255
//! ```
//! Whoever changes them holds all shards, so there is one at a time. When that worker dies in between, nobody knows
//! whether what is kept was changed; so the supervisor raises the version and writes 255, and all others look.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use crate::shm::SharedMapping;

const STATE_BITS: u32 = 8;
const STATE_MASK: u64 = (1 << STATE_BITS) - 1;
const SETTLED: u64 = 0;
/// Left by a worker that has died: what is kept may not be durable.
const LEFT: u64 = STATE_MASK;
const _: () = assert!((super::SHARDS_MAX as u64) < LEFT);

/// The version, as one worker sees and changes it.
#[derive(Clone)]
pub struct LibrariesVersion {
    mapping: Arc<SharedMapping>,
    offset: u64,
    changer: u64,
}

impl LibrariesVersion {
    pub(super) fn new(mapping: Arc<SharedMapping>, offset: u64, worker: usize) -> Self {
        Self {
            mapping,
            offset,
            changer: worker as u64 + 1,
        }
    }

    #[inline]
    fn word(&self) -> &AtomicU64 {
        self.mapping.u64(self.offset).expect(super::INSIDE)
    }

    /// The version in force.
    #[inline]
    #[must_use]
    pub fn current(&self) -> u64 {
        self.word().load(Acquire) >> STATE_BITS
    }

    #[inline]
    fn state(&self) -> u64 {
        self.word().load(Acquire) & STATE_MASK
    }

    /// True while a worker changes what is kept.
    #[inline]
    #[must_use]
    pub fn is_changing(&self) -> bool {
        !matches!(self.state(), SETTLED | LEFT)
    }

    /// True where the worker that changed it last has died before it was sure that its change is durable.
    #[must_use]
    pub fn was_left(&self) -> bool {
        self.state() == LEFT
    }

    /// Announces a change of a version; false where another one is in force, or a change is under way.
    #[must_use]
    pub fn begin(&self, version: u64) -> bool {
        let word = self.word().load(Relaxed);
        let announced = version << STATE_BITS | self.changer;
        word >> STATE_BITS == version
            && matches!(word & STATE_MASK, SETTLED | LEFT)
            && self
                .word()
                .compare_exchange(word, announced, AcqRel, Relaxed)
                .is_ok()
    }

    /// Ends the change that was announced; the version in force then.
    pub fn end(&self, has_changed: bool) -> u64 {
        let version = self.current() + u64::from(has_changed);
        self.word().store(version << STATE_BITS | SETTLED, Release);
        version
    }

    /// Ends the change that the worker had announced before it died, if there is one.
    pub(super) fn end_of_dead(&self) {
        if self.state() == self.changer {
            let version = self.current() + 1;
            self.word().store(version << STATE_BITS | LEFT, Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Control, NodeShape};

    fn control() -> Control {
        let shape = NodeShape {
            shards: 2,
            arena_bytes: 1 << 20,
            ring_bytes: 4096,
            databases: 1,
            hash_seed: 0,
        };
        Control::open(Control::create(&shape).unwrap(), shape).unwrap()
    }

    #[test]
    fn a_version_rises_with_each_change_that_was_made() {
        let control = control();
        let (one, other) = (control.libraries(0), control.libraries(1));
        assert!(one.begin(0));
        assert!(other.is_changing());
        assert!(!other.begin(0), "one at a time");
        assert_eq!(one.end(true), 1);
        assert!(!other.begin(0), "it has not seen the change");
        assert!(other.begin(1));
        assert_eq!(other.end(false), 1);
        assert!(!one.is_changing());
        assert_eq!(one.current(), 1);
    }

    #[test]
    fn the_change_of_a_worker_that_died_is_over_and_to_be_looked_at() {
        let control = control();
        assert!(control.libraries(1).begin(0));
        let _ = control.next_incarnation(0);
        assert!(control.libraries(0).is_changing(), "another one has died");
        let _ = control.next_incarnation(1);
        assert!(!control.libraries(0).is_changing());
        assert_eq!(control.libraries(0).current(), 1);
        assert!(control.libraries(0).was_left());
        let _ = control.next_incarnation(1);
        assert_eq!(control.libraries(0).current(), 1, "it had changed nothing");
        assert!(control.libraries(0).begin(1));
        assert_eq!(control.libraries(0).end(true), 2);
        assert!(!control.libraries(1).was_left());
    }
}
