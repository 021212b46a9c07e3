//! The three ways to look at a segment.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64};

use rustix::fs::FallocateFlags;

use crate::lease::RunLease;

use super::copy;
use super::huge::HugePages;
use super::processor::prefetch;
use super::region::Region;
use super::sequence;

const OUTSIDE: &str = "an offset of the owner lies in its segment";

/// The mapping of a segment's only writer. Offsets are its own and right: a wrong one panics.
///
/// Plain borrows of the bytes are sound here because nobody else writes (a lock on the segment sees to that) and every
/// store needs `&mut self`.
#[derive(Debug)]
pub struct Mapping {
    region: Region,
    /// Holds the lock, and names the file for punching holes.
    file: OwnedFd,
}

impl Mapping {
    pub(super) fn new(region: Region, file: OwnedFd) -> Self {
        Self { region, file }
    }

    /// Holes begin and end at multiples of this.
    pub const HOLE_BYTES: u64 = 4096;

    /// The segment, for a system call to write to.
    #[cfg(test)]
    pub fn file(&self) -> std::os::fd::BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(&self.file)
    }

    pub fn bytes(&self) -> u64 {
        self.region.len() as u64
    }

    #[inline(always)]
    pub fn load(&self, word: u64) -> u64 {
        self.region.words()[word as usize].load(Relaxed)
    }

    /// A store that may become visible in any order.
    #[inline(always)]
    pub fn store(&mut self, word: u64, value: u64) {
        self.region.words()[word as usize].store(value, Relaxed);
    }

    /// A store that becomes visible before everything after it.
    #[inline(always)]
    pub fn announce(&mut self, word: u64, value: u64) {
        sequence::announce(&self.region.words()[word as usize], value);
    }

    /// A store that becomes visible after everything before it.
    #[inline(always)]
    pub fn publish(&mut self, word: u64, value: u64) {
        sequence::publish(&self.region.words()[word as usize], value);
    }

    /// A store that becomes visible after everything before it and before everything after it.
    #[inline(always)]
    pub fn switch(&mut self, word: u64, value: u64) {
        sequence::switch(&self.region.words()[word as usize], value);
    }

    /// `N` words in a row.
    #[inline(always)]
    pub fn load_line<const N: usize>(&self, word: u64) -> [u64; N] {
        let words = self.region.words().get(word as usize..);
        let line: &[AtomicU64; N] = words.and_then(<[_]>::first_chunk).expect(OUTSIDE);
        std::array::from_fn(|i| line[i].load(Relaxed))
    }

    /// 8 bytes that begin anywhere.
    #[inline(always)]
    pub fn load_unaligned(&self, offset: u64) -> u64 {
        self.slice(offset, 8)
            .try_into()
            .map_or(0, u64::from_le_bytes)
    }

    /// Bytes in place.
    #[inline(always)]
    pub fn slice(&self, offset: u64, len: u64) -> &[u8] {
        // SAFETY: no other process writes (the segment is locked), and a store here needs `&mut self`.
        unsafe { self.region.bytes(offset, len) }.expect(OUTSIDE)
    }

    /// Where the segment is mapped.
    pub fn address(&self) -> usize {
        self.region.address(0).map_or(0, <*const u8>::addr)
    }

    /// Bytes for a system call to read.
    pub fn exposed(&self, offset: u64, len: u64) -> Exposed<'_> {
        Exposed::of(&self.region, offset, len).expect(OUTSIDE)
    }

    /// Room for a system call to write to: its start and its length.
    pub fn landing(&mut self, offset: u64, len: u64) -> (*mut u8, usize) {
        let room = Exposed::of(&self.region, offset, len).expect(OUTSIDE);
        (room.start.cast_mut(), room.len)
    }

    #[inline(always)]
    pub fn copy_in(&mut self, offset: u64, bytes: &[u8]) {
        copy::copy_in(self.region.words(), offset, bytes).expect(OUTSIDE);
    }

    pub fn zero(&mut self, offset: u64, len: usize) {
        copy::zero(self.region.words(), offset, len).expect(OUTSIDE);
    }

    /// Copies between two places that do not overlap and lie alike in their words.
    pub fn copy_within(&mut self, from: u64, to: u64, len: usize) {
        copy::copy_within(self.region.words(), from, to, len).expect(OUTSIDE);
    }

    /// Asks for the cache line at a byte offset.
    #[inline(always)]
    pub fn prefetch(&self, offset: u64) {
        if let Some(address) = self.region.address(offset) {
            prefetch(address);
        }
    }

    /// Starts a thread that gets huge pages for it.
    pub fn huge_pages(&self) -> std::io::Result<HugePages> {
        HugePages::start(self.file.try_clone()?, self.bytes())
    }

    /// Gives the memory of a range back; it reads as zero afterwards. Both ends are multiples of
    /// [`Mapping::HOLE_BYTES`].
    pub fn punch_hole(&mut self, offset: u64, bytes: u64) -> std::io::Result<()> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let punch = || rustix::fs::fallocate(&self.file, flags, offset, bytes);
        Ok(rustix::io::retry_on_intr(punch)?)
    }
}

/// Bytes of a segment for a system call to read. Whoever makes it sees to it, by a lease, that they stay as they are
/// until the call has ended; the program itself does not look at them.
#[derive(Clone, Copy, Debug)]
pub struct Exposed<'a> {
    start: *const u8,
    len: usize,
    segment: PhantomData<&'a Region>,
}

impl<'a> Exposed<'a> {
    fn of(region: &'a Region, offset: u64, len: u64) -> Option<Self> {
        region.address(offset.checked_add(len)?.checked_sub(1)?)?;
        Some(Self {
            start: region.address(offset)?,
            len: usize::try_from(len).ok()?,
            segment: PhantomData,
        })
    }

    pub fn as_ptr(&self) -> *const u8 {
        self.start
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl<'a> From<&'a [u8]> for Exposed<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self {
            start: bytes.as_ptr(),
            len: bytes.len(),
            segment: PhantomData,
        }
    }
}

/// The view of everyone but the owner. Offsets come from memory that someone else writes: a wrong one gives `None`.
#[derive(Debug)]
pub struct ReadOnlyMapping {
    region: Region,
}

impl ReadOnlyMapping {
    pub(super) fn new(region: Region) -> Self {
        Self { region }
    }

    pub fn bytes(&self) -> u64 {
        self.region.len() as u64
    }

    #[inline(always)]
    pub fn load(&self, word: u64) -> Option<u64> {
        Some(self.region.words().get(word as usize)?.load(Relaxed))
    }

    /// A load after which everything is seen that came before the store it finds, if that was published.
    #[inline(always)]
    pub fn observe(&self, word: u64) -> Option<u64> {
        Some(sequence::observe(self.region.words().get(word as usize)?))
    }

    /// After this, loads find every announcement that preceded a store seen before it.
    #[inline(always)]
    pub fn settle(&self) {
        sequence::settle::<AtomicU64>();
    }

    /// `N` words in a row.
    #[inline(always)]
    pub fn load_line<const N: usize>(&self, word: u64) -> Option<[u64; N]> {
        let line: &[AtomicU64; N] = self.region.words().get(word as usize..)?.first_chunk()?;
        Some(std::array::from_fn(|i| line[i].load(Relaxed)))
    }

    #[inline(always)]
    pub fn equals(&self, word: u64, expected: &[u8]) -> Option<bool> {
        copy::equals(self.region.words(), word, expected)
    }

    /// Bytes for a system call to read, which a lease keeps as they are.
    pub fn exposed(&self, offset: u64, len: u64) -> Option<Exposed<'_>> {
        Exposed::of(&self.region, offset, len)
    }

    #[inline]
    pub fn copy_out(&self, offset: u64, out: &mut [u8]) -> Option<()> {
        copy::copy_out(self.region.words(), offset, out)
    }

    /// Bytes in place, of a run that is held.
    #[inline]
    pub fn leased<'a>(&'a self, _held: &'a RunLease, offset: u64, len: u64) -> Option<&'a [u8]> {
        // SAFETY: the lease keeps the owner, the only process that can write, from changing the bytes of a value in
        // the run or giving them another use; it lives as long as the slice.
        unsafe { self.region.bytes(offset, len) }
    }

    #[inline(always)]
    pub fn prefetch(&self, offset: u64) {
        if let Some(address) = self.region.address(offset) {
            prefetch(address);
        }
    }
}

/// A segment that several processes write by agreement. Offsets are in bytes; a wrong one gives `None`.
///
/// Who may write what is the users' affair: atomics by their own rules, bytes by one side at a time.
#[derive(Debug)]
pub struct SharedMapping {
    region: Region,
    /// Keeps owners out.
    _lock: OwnedFd,
}

impl SharedMapping {
    pub(super) fn new(region: Region, lock: OwnedFd) -> Self {
        Self {
            region,
            _lock: lock,
        }
    }

    pub fn bytes(&self) -> u64 {
        self.region.len() as u64
    }

    #[inline]
    pub fn u64(&self, offset: u64) -> Option<&AtomicU64> {
        if !offset.is_multiple_of(8) {
            return None;
        }
        self.region.words().get((offset >> 3) as usize)
    }

    /// The `N` words at a byte offset; `None` when outside or not aligned.
    #[inline]
    pub fn words<const N: usize>(&self, offset: u64) -> Option<&[AtomicU64; N]> {
        if !offset.is_multiple_of(8) {
            return None;
        }
        self.region
            .words()
            .get((offset >> 3) as usize..)?
            .first_chunk()
    }

    #[inline]
    pub fn u32(&self, offset: u64) -> Option<&AtomicU32> {
        self.region.u32(offset)
    }

    #[inline]
    pub fn u8(&self, offset: u64) -> Option<&AtomicU8> {
        self.region.u8(offset)
    }

    /// Consecutive 64-bit counters.
    #[inline]
    pub fn u64s(&self, offset: u64, count: usize) -> Option<&[AtomicU64]> {
        if !offset.is_multiple_of(8) {
            return None;
        }
        let start = (offset >> 3) as usize;
        self.region.words().get(start..start.checked_add(count)?)
    }

    /// Copies bytes in. The words that they touch have no other writer meanwhile.
    #[inline]
    pub fn copy_in(&self, offset: u64, bytes: &[u8]) -> Option<()> {
        copy::copy_in(self.region.words(), offset, bytes)
    }

    /// Copies bytes in, at a multiple of 8; what they leave of the last word becomes zero. The words have no other
    /// writer meanwhile.
    #[inline]
    pub fn fill(&self, offset: u64, bytes: &[u8]) -> Option<()> {
        if !offset.is_multiple_of(8) {
            return None;
        }
        copy::fill(self.region.words(), offset >> 3, bytes)
    }

    #[inline]
    pub fn copy_out(&self, offset: u64, out: &mut [u8]) -> Option<()> {
        copy::copy_out(self.region.words(), offset, out)
    }

    #[inline]
    pub fn prefetch(&self, offset: u64) {
        if let Some(address) = self.region.address(offset) {
            prefetch(address);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::shm::Segment;

    #[test]
    fn shared_atomics_are_bounded_and_aligned() {
        let segment = Segment::create("test", 65536).unwrap();
        let (one, other) = (segment.share().unwrap(), segment.share().unwrap());
        one.u32(12)
            .unwrap()
            .store(9, std::sync::atomic::Ordering::Release);
        assert_eq!(
            other
                .u32(12)
                .unwrap()
                .load(std::sync::atomic::Ordering::Acquire),
            9
        );
        one.u8(65535)
            .unwrap()
            .store(1, std::sync::atomic::Ordering::Release);
        assert!(one.u8(65536).is_none());
        assert!(one.u32(65534).is_none());
        assert!(one.u32(2).is_none());
        assert!(one.u64(4).is_none());
        assert!(one.u64(65536).is_none());
        assert_eq!(one.u64s(65520, 2).unwrap().len(), 2);
        assert!(one.u64s(65520, 3).is_none());
        assert!(one.copy_in(65530, b"1234567").is_none());
        one.copy_in(65530, b"123456").unwrap();
        let mut out = [0; 6];
        other.copy_out(65530, &mut out).unwrap();
        assert_eq!(&out, b"123456");
    }
}
