//! Single-producer single-consumer rings of bytes in shared memory.
//!
//! ```text
//! 0    tail: u64      bytes ever written; producer stores with release after the bytes are in place
//! 64   head: u64      bytes ever read; consumer stores with release after it has copied them out
//! 128  starved: u64   1 while the producer waits for room; the consumer wakes it then
//! 192  data           `capacity` bytes, a power of two
//! ```
//! Frames begin and end at multiples of 8 bytes, so that copies go by whole words.
//!
//! A producer that dies between two stores leaves at most bytes beyond `tail`, which nobody sees. Positions come
//! from another process and are not trusted: an impossible distance reads as an empty ring.

mod frame;
pub(crate) mod positions;
#[cfg(all(test, loom))]
mod positions_model;

pub use frame::{FRAME_HEADER_BYTES, FrameHeader, FrameKind};

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crate::shm::SharedMapping;

/// Frames begin at multiples of this.
const ALIGNMENT: usize = 8;

/// The bytes that `length` bytes take in a ring.
#[inline]
#[must_use]
pub fn padded(length: usize) -> usize {
    length.next_multiple_of(ALIGNMENT)
}

/// Bytes before the data of a ring.
pub const RING_HEADER_BYTES: usize = 192;
const TAIL: usize = 0;
const HEAD: usize = 64;
const STARVED: usize = 128;

const INSIDE: &str = "a ring lies inside the control segment";

fn word(mapping: &SharedMapping, offset: usize) -> &AtomicU64 {
    mapping.u64(offset as u64).expect(INSIDE)
}

/// The writing end.
pub struct Producer {
    mapping: Arc<SharedMapping>,
    base: usize,
    capacity: usize,
    /// Written so far, of which the bytes up to the stored tail are published.
    written: u64,
    published: u64,
    head_seen: u64,
}

impl Producer {
    /// Takes the writing end over, from a predecessor perhaps: goes on at the published tail.
    #[must_use]
    pub fn new(mapping: Arc<SharedMapping>, base: usize, capacity: usize) -> Self {
        let tail = word(&mapping, base + TAIL).load(Relaxed);
        Self {
            mapping,
            base,
            capacity,
            written: tail,
            published: tail,
            head_seen: 0,
        }
    }

    /// Bytes that one frame may have at most, header included, so that several fit.
    #[must_use]
    pub fn frame_bytes_at_most(&self) -> usize {
        self.capacity / 4
    }

    /// Writes a frame, whole or not at all. It becomes visible with [`Producer::publish`].
    pub fn push(&mut self, header: &[u8; FRAME_HEADER_BYTES], payload: &[u8]) -> bool {
        let length = FRAME_HEADER_BYTES + padded(payload.len());
        let has_room = positions::has_room(
            word(&self.mapping, self.base + HEAD),
            word(&self.mapping, self.base + STARVED),
            self.written,
            length as u64,
            self.capacity as u64,
            &mut self.head_seen,
        );
        if has_room {
            self.write_at(self.written, header);
            self.write_at(self.written + FRAME_HEADER_BYTES as u64, payload);
            self.written += length as u64;
        }
        has_room
    }

    /// Positions are multiples of 8, and so is the room up to the end of the ring.
    fn write_at(&self, position: u64, bytes: &[u8]) {
        let data = self.base + RING_HEADER_BYTES;
        let start = position as usize & (self.capacity - 1);
        let first = bytes.len().min(self.capacity - start);
        self.mapping
            .fill((data + start) as u64, &bytes[..first])
            .expect(INSIDE);
        if first < bytes.len() {
            self.mapping
                .fill(data as u64, &bytes[first..])
                .expect(INSIDE);
        }
    }

    /// Makes everything pushed visible; true when there was something.
    pub fn publish(&mut self) -> bool {
        if self.published == self.written {
            return false;
        }
        positions::publish(word(&self.mapping, self.base + TAIL), self.written);
        self.published = self.written;
        true
    }
}

/// The reading end.
pub struct Consumer {
    mapping: Arc<SharedMapping>,
    base: usize,
    capacity: usize,
    head: u64,
}

impl Consumer {
    /// Takes the reading end over, from a predecessor perhaps: goes on at the stored head.
    #[must_use]
    pub fn new(mapping: Arc<SharedMapping>, base: usize, capacity: usize) -> Self {
        let head = word(&mapping, base + HEAD).load(Relaxed);
        Self {
            mapping,
            base,
            capacity,
            head,
        }
    }

    /// Bytes that wait.
    #[must_use]
    pub fn depth(&self) -> usize {
        let tail = word(&self.mapping, self.base + TAIL);
        positions::waiting(tail, self.head, self.capacity as u64) as usize
    }

    /// Appends all waiting bytes to `into` and gives their room back. Returns whether the producer waits for room.
    pub fn drain(&mut self, into: &mut Vec<u8>) -> bool {
        let waiting = self.depth();
        if waiting == 0 {
            return false;
        }
        let data = self.base + RING_HEADER_BYTES;
        let start = self.head as usize & (self.capacity - 1);
        let first = waiting.min(self.capacity - start);
        let end = into.len();
        into.resize(end + waiting, 0);
        let (behind, wrapped) = into[end..].split_at_mut(first);
        self.mapping
            .copy_out((data + start) as u64, behind)
            .expect(INSIDE);
        self.mapping.copy_out(data as u64, wrapped).expect(INSIDE);
        self.head = self.head.wrapping_add(waiting as u64);
        let head = word(&self.mapping, self.base + HEAD);
        let starved = word(&self.mapping, self.base + STARVED);
        positions::give_back(head, starved, self.head)
    }
}
