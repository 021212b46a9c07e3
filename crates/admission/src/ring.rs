//! First-in-first-out rings of slots, in blocks: growing and shrinking never copies more than one list of pointers.

use std::collections::VecDeque;

use crate::slot::Slot;

const SLOT_BYTES: usize = 6;
/// Slots of a block that fills a 4 KiB allocation, and of one for queues of a few hundred keys.
pub(crate) const BLOCK_LARGE: usize = 680;
pub(crate) const BLOCK_SMALL: usize = 40;

type Block<const SLOTS: usize> = [[u8; SLOT_BYTES]; SLOTS];

/// A queue of slots at six bytes each, `SLOTS` in a block.
#[derive(Debug, Default)]
pub(crate) struct Ring<const SLOTS: usize> {
    blocks: VecDeque<Box<Block<SLOTS>>>,
    /// Position of the front in the first block.
    head: usize,
    len: usize,
    /// A block that was emptied, kept for the next one that is needed.
    spare: Option<Box<Block<SLOTS>>>,
}

impl<const SLOTS: usize> Ring<SLOTS> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The slot `ahead` places behind the front.
    #[inline]
    pub(crate) fn get(&self, ahead: usize) -> Option<Slot> {
        if ahead >= self.len {
            return None;
        }
        let position = self.head + ahead;
        let bytes = self.blocks[position / SLOTS][position % SLOTS];
        Some(Slot::from_bytes(bytes))
    }

    #[inline]
    pub(crate) fn push(&mut self, slot: Slot) {
        let position = self.head + self.len;
        if position / SLOTS == self.blocks.len() {
            let block = self.spare.take();
            self.blocks
                .push_back(block.unwrap_or_else(|| Box::new([[0; SLOT_BYTES]; SLOTS])));
        }
        self.blocks[position / SLOTS][position % SLOTS] = slot.to_bytes();
        self.len += 1;
    }

    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Slot> {
        let slot = self.get(0)?;
        self.head += 1;
        self.len -= 1;
        if self.head == SLOTS || self.len == 0 {
            self.head = 0;
            self.spare = self.blocks.pop_front();
        }
        Some(slot)
    }

    /// Bytes of its blocks.
    pub(crate) fn memory(&self) -> usize {
        let blocks = self.blocks.len() + usize::from(self.spare.is_some());
        blocks * size_of::<Block<SLOTS>>() + self.blocks.capacity() * size_of::<Box<Block<SLOTS>>>()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_ring_is_a_queue(runs in prop::collection::vec((any::<bool>(), 0..2_000usize), 1..30)) {
            let mut ring = Ring::<BLOCK_LARGE>::default();
            let mut model = VecDeque::new();
            let mut next = 0;
            for (push, count) in runs {
                for _ in 0..count {
                    if push {
                        let slot = Slot::new(next << 20 | next, 3);
                        next += 1;
                        ring.push(slot);
                        model.push_back(slot);
                    } else {
                        prop_assert_eq!(ring.pop(), model.pop_front());
                    }
                }
                prop_assert_eq!(ring.len(), model.len());
                for ahead in [0, 1, 679, 680, 1_500] {
                    prop_assert_eq!(ring.get(ahead), model.get(ahead).copied());
                }
                let blocks = ring.len() / BLOCK_LARGE + 3;
                prop_assert!(ring.memory() <= blocks * size_of::<Block<BLOCK_LARGE>>() + 16 * 64);
            }
        }
    }
}
