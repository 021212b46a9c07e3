//! The leaves of a table.

use crate::keyspace::collection::tree::Leaf;
use crate::keyspace::collection::wire::{length_at, length_bytes, write_bytes, write_length};
use crate::shm::prefetch_slice;

use super::Row;

/// A bucket with more bytes or rows is split.
const BYTES_MAX: usize = 2048;
const ROWS_MAX: usize = 64;
/// Memory grows by so much: doubling would leave a quarter of all memory empty.
const BYTES_STEP: usize = 128;
const ROWS_STEP: usize = 8;
/// Bytes that a heap block takes beside its contents.
const BLOCK_BYTES: usize = 16;

/// The place of a row.
#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: u32,
    /// Where it begins.
    start: u32,
}

/// Rows in the order of their hashes: `member length | member | value length | value` each.
#[derive(Clone, Debug, Default)]
pub(super) struct Bucket {
    slots: Vec<Slot>,
    bytes: Vec<u8>,
}

impl Leaf for Bucket {
    type Key = u32;

    fn len(&self) -> usize {
        self.slots.len()
    }

    fn heap_bytes(&self) -> usize {
        let blocks = self.bytes.capacity() + self.slots.capacity() * size_of::<Slot>();
        size_of::<Self>() + blocks + 2 * BLOCK_BYTES
    }

    fn first_key(&self) -> u32 {
        self.slots.first().map_or(0, |slot| slot.hash)
    }

    fn split(&mut self) -> Option<Self> {
        if self.bytes.len() <= BYTES_MAX && self.slots.len() <= ROWS_MAX {
            return None;
        }
        let at = self.middle()?;
        let start = self.slots[at].start;
        let moved = self.slots[at..].iter().map(|slot| Slot {
            start: slot.start - start,
            ..*slot
        });
        let upper = Self {
            slots: moved.collect(),
            bytes: self.bytes[start as usize..].to_vec(),
        };
        self.slots.truncate(at);
        self.slots.shrink_to_fit();
        self.bytes.truncate(start as usize);
        self.bytes.shrink_to_fit();
        Some(upper)
    }

    fn is_small(&self) -> bool {
        self.bytes.len() < BYTES_MAX / 2 && self.slots.len() < ROWS_MAX / 2
    }

    fn absorb(&mut self, next: &Self) -> bool {
        let bytes = self.bytes.len() + next.bytes.len();
        let rows = self.slots.len() + next.slots.len();
        if bytes > BYTES_MAX / 2 || rows > ROWS_MAX / 2 {
            return false;
        }
        let shift = self.bytes.len() as u32;
        self.slots.extend(next.slots.iter().map(|slot| Slot {
            start: slot.start + shift,
            ..*slot
        }));
        self.bytes.extend_from_slice(&next.bytes);
        true
    }
}

impl Bucket {
    /// The slot from which the upper part begins: as near to the middle as slots of different hashes meet.
    fn middle(&self) -> Option<usize> {
        let half = self.bytes.len() as u32 / 2;
        let middle = self.slots.partition_point(|slot| slot.start < half);
        let is_border = |at: &usize| self.slots[at - 1].hash != self.slots[*at].hash;
        let above = (middle.max(1)..self.slots.len()).find(is_border);
        above.or_else(|| (1..middle.min(self.slots.len())).rev().find(is_border))
    }

    fn end_of(&self, index: usize) -> usize {
        self.slots
            .get(index + 1)
            .map_or(self.bytes.len(), |slot| slot.start as usize)
    }

    /// Asks for the memory of the places of all rows.
    #[inline]
    pub(super) fn ask_for_places(&self) {
        prefetch_slice(&self.slots);
    }

    /// Asks for the memory of the row of a hash, or of that before which it belongs.
    #[inline]
    pub(super) fn ask_for_row(&self, hash: u32) {
        /// Longer rows are copied or compared from their beginning on, which the processor foresees.
        const BYTES_MAX: usize = 128;
        let index = self.slots.partition_point(|slot| slot.hash < hash);
        if let Some(slot) = self.slots.get(index) {
            let start = slot.start as usize;
            let end = self.end_of(index).min(start + BYTES_MAX);
            prefetch_slice(&self.bytes[start..end]);
        }
    }

    /// The row at a position.
    pub(super) fn row(&self, index: usize) -> Option<Row<'_>> {
        let start = self.slots.get(index)?.start as usize;
        let bytes = &self.bytes[start..self.end_of(index)];
        let (len, rest) = length_at(bytes)?;
        let (member, rest) = rest.split_at_checked(len)?;
        let (len, value) = length_at(rest)?;
        Some((member, value.get(..len)?))
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        (0..self.slots.len()).filter_map(|index| self.row(index))
    }

    pub(super) fn hashed_rows(&self) -> impl Iterator<Item = (u32, Row<'_>)> {
        let hashes = self.slots.iter().map(|slot| slot.hash);
        hashes.zip(self.rows())
    }

    /// The position and the value of a member, or the position where it belongs.
    #[inline]
    fn find(&self, hash: u32, member: &[u8]) -> Result<(usize, &[u8]), usize> {
        let mut index = self.slots.partition_point(|slot| slot.hash < hash);
        while self.slots.get(index).is_some_and(|slot| slot.hash == hash) {
            match self.row(index) {
                Some((found, value)) if found == member => return Ok((index, value)),
                _ => index += 1,
            }
        }
        Err(index)
    }

    #[inline]
    pub(super) fn get(&self, hash: u32, member: &[u8]) -> Option<&[u8]> {
        self.find(hash, member).ok().map(|(_, value)| value)
    }

    /// Gives a member a value; `see` sees the one that it had.
    pub(super) fn insert<R>(
        &mut self,
        hash: u32,
        member: &[u8],
        parts: &[&[u8]],
        see: impl FnOnce(Option<&[u8]>) -> R,
    ) -> R {
        let value_bytes = parts.iter().map(|part| part.len()).sum();
        let lengths = length_bytes(member.len()) + length_bytes(value_bytes);
        let row_bytes = lengths + member.len() + value_bytes;
        let (index, old, seen) = match self.find(hash, member) {
            Ok((index, value)) => {
                let seen = see(Some(value));
                let start = self.slots[index].start as usize;
                (index, start..self.end_of(index), seen)
            }
            Err(index) => {
                let start = self.end_of_before(index);
                if self.slots.len() == self.slots.capacity() {
                    self.slots.reserve_exact(ROWS_STEP);
                }
                let slot = Slot {
                    hash,
                    start: start as u32,
                };
                self.slots.insert(index, slot);
                (index, start..start, see(None))
            }
        };
        let mut place = self.open(index, old, row_bytes);
        write_length(&mut place, member.len());
        write_bytes(&mut place, member);
        write_length(&mut place, value_bytes);
        for part in parts {
            write_bytes(&mut place, part);
        }
        seen
    }

    /// Where the row of a position begins, or would.
    fn end_of_before(&self, index: usize) -> usize {
        self.slots
            .get(index)
            .map_or(self.bytes.len(), |slot| slot.start as usize)
    }

    /// Makes room of so many bytes in place of those of a row, and shifts the rows behind it.
    fn open(&mut self, index: usize, old: std::ops::Range<usize>, to: usize) -> &mut [u8] {
        let (start, from) = (old.start, old.len());
        if from != to {
            let needed = (self.bytes.len() - from + to).saturating_sub(self.bytes.capacity());
            if needed > 0 {
                let more = self.bytes.capacity() + needed.next_multiple_of(BYTES_STEP);
                self.bytes.reserve_exact(more - self.bytes.len());
            }
            let old_len = self.bytes.len();
            if to > from {
                self.bytes.resize(old_len + to - from, 0);
            }
            self.bytes.copy_within(old.end..old_len, start + to);
            self.bytes.truncate(old_len - from + to);
            let shift = (to as u32).wrapping_sub(from as u32);
            for slot in &mut self.slots[index + 1..] {
                slot.start = slot.start.wrapping_add(shift);
            }
        }
        &mut self.bytes[start..start + to]
    }

    /// Removes a member. False for one that is not there.
    pub(super) fn remove(&mut self, hash: u32, member: &[u8]) -> bool {
        let Ok((index, _)) = self.find(hash, member) else {
            return false;
        };
        let range = self.slots[index].start as usize..self.end_of(index);
        self.open(index, range, 0);
        self.slots.remove(index);
        if self.bytes.capacity() > 2 * self.bytes.len() + 4 * BYTES_STEP {
            self.bytes.shrink_to(self.bytes.len() + BYTES_STEP);
            self.slots.shrink_to(self.slots.len() + ROWS_STEP);
        }
        true
    }
}
