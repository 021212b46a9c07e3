//! Files that are mapped to be written.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::Persist;
use super::direct::{Lines, Store};
use super::processor::{fence, write_back, write_back_instruction};

/// A writable shared mapping of a whole file. Nobody else maps the file for writing, and nobody reads through this
/// mapping.
#[derive(Debug)]
pub struct Mapped {
    mapping: Arc<Mapping>,
}

#[derive(Debug)]
struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the mapping belongs to this value alone, and stores need `&mut` of the one `Mapped`.
unsafe impl Send for Mapping {}
// SAFETY: by a shared reference lines are written back, which neither reads nor changes what is in them, and
// `SharedMapping` leaves each byte to one side.
unsafe impl Sync for Mapping {}

/// The lines of a mapping of persistent memory.
#[derive(Debug)]
pub struct MappedLines {
    mapping: Arc<Mapping>,
    instruction: Persist,
}

/// A mapping that a writer and a reader share. Each byte belongs to one of them at a time, as words of it say.
#[derive(Debug)]
pub(super) struct SharedMapping(Mapping);

/// Bytes as direct writes want them.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(4096))]
pub(super) struct Block([u8; Block::BYTES]);

impl Block {
    pub const BYTES: usize = 4096;
    pub const ZERO: Self = Self([0; Self::BYTES]);

    /// The bytes of blocks.
    pub fn bytes_of(blocks: &mut [Self]) -> &mut [u8] {
        let bytes = blocks.len() * Self::BYTES;
        // SAFETY: blocks are arrays of bytes without gaps, and the borrow goes on.
        unsafe { std::slice::from_raw_parts_mut(blocks.as_mut_ptr().cast(), bytes) }
    }
}

impl SharedMapping {
    /// Maps the first `bytes` bytes of a file, which has as many at least.
    pub fn new(file: &File, bytes: u64) -> io::Result<Self> {
        Ok(Self(Mapping::new(file, bytes, MapFlags::SHARED)?))
    }

    /// A word of the mapping, which is never stored to as bytes.
    pub fn word(&self, offset: u64) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8), "a word has a place of its own");
        let at = self.0.place(offset, 8).cast::<AtomicU64>();
        // SAFETY: it lies in the mapping, as was checked, aligned, and is used as a word only.
        unsafe { at.as_ref() }
    }

    /// Copies bytes there, which belong to the writer.
    #[inline]
    pub fn store(&self, offset: u64, bytes: &[u8]) {
        let to = self.0.place(offset, bytes.len() as u64);
        // SAFETY: the place lies in the mapping, as was checked. It is the writer's, so nobody else reads or writes it.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to.as_ptr(), bytes.len()) };
    }

    /// Copies bytes from there, which belong to the reader.
    pub fn load(&self, offset: u64, bytes: &mut [u8]) {
        let from = self.0.place(offset, bytes.len() as u64);
        // SAFETY: the place lies in the mapping, as was checked. It is the reader's, so nobody writes it.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), bytes.as_mut_ptr(), bytes.len()) };
    }
}

impl Mapped {
    /// Maps a file that is persistent memory, with the means to write its lines back; `None` for any other file. All
    /// that the file system knows of the mapped bytes is durable then.
    pub fn direct(file: &File, bytes: u64) -> io::Result<Option<(Self, MappedLines)>> {
        let Some(instruction) = write_back_instruction() else {
            return Ok(None);
        };
        let flags = MapFlags::SHARED_VALIDATE | MapFlags::SYNC;
        let mapping = match Mapping::new(file, bytes, flags) {
            Err(Errno::OPNOTSUPP | Errno::INVAL) => return Ok(None),
            mapping => Arc::new(mapping?),
        };
        let mapped = Self { mapping };
        let lines = MappedLines {
            mapping: Arc::clone(&mapped.mapping),
            instruction,
        };
        Ok(Some((mapped, lines)))
    }
}

impl Store for Mapped {
    #[inline]
    fn store(&mut self, offset: u64, bytes: &[u8]) {
        let to = self.mapping.place(offset, bytes.len() as u64);
        // SAFETY: both have as many bytes, and do not overlap, as nobody has a reference into the mapping.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to.as_ptr(), bytes.len()) };
    }
}

impl Lines for MappedLines {
    fn write_back(&self, range: Range<u64>) {
        let bytes = range.end - range.start;
        let start = self.mapping.place(range.start, bytes);
        // SAFETY: the range lies in the mapping, as was checked.
        unsafe { write_back(self.instruction, start, bytes as usize) };
    }

    fn fence(&self) {
        fence();
    }

    fn persist(&self) -> Persist {
        self.instruction
    }
}

impl Mapping {
    fn new(file: &File, bytes: u64, flags: MapFlags) -> Result<Self, Errno> {
        let bytes = usize::try_from(bytes).map_err(|_| Errno::FBIG)?;
        let rights = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the kernel chooses the address, so no other mapping is touched.
        let start = unsafe { mmap(std::ptr::null_mut(), bytes, rights, flags, file, 0) }?;
        let start = NonNull::new(start.cast()).ok_or(Errno::FAULT)?;
        Ok(Self { start, bytes })
    }

    /// The address of a range.
    ///
    /// # Panics
    /// It does not lie in the mapping.
    #[inline]
    fn place(&self, offset: u64, bytes: u64) -> NonNull<u8> {
        let end = offset.checked_add(bytes);
        assert!(
            end.is_some_and(|end| end <= self.bytes as u64),
            "a record lies in its segment"
        );
        // SAFETY: the place lies in the mapping, as was checked, which lives as long as `self`.
        unsafe { self.start.add(offset as usize) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and nothing refers to it any more. It fails for no valid range.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}
