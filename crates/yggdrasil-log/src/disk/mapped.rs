//! A file that is mapped to be written.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;

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
// SAFETY: by a shared reference lines are written back, which neither reads nor changes what is in them.
unsafe impl Sync for Mapping {}

/// The lines of a mapping of persistent memory.
#[derive(Debug)]
pub struct MappedLines {
    mapping: Arc<Mapping>,
    instruction: Persist,
}

impl Mapped {
    /// Maps the first `bytes` bytes of a file, which has as many at least.
    pub fn new(file: &File, bytes: u64) -> io::Result<Self> {
        Ok(Self::with_flags(file, bytes, MapFlags::SHARED)?)
    }

    /// Maps a file that is persistent memory, with the means to write its lines back; `None` for any other file. All
    /// that the file system knows of the mapped bytes is durable then.
    pub fn direct(file: &File, bytes: u64) -> io::Result<Option<(Self, MappedLines)>> {
        let Some(instruction) = write_back_instruction() else {
            return Ok(None);
        };
        let flags = MapFlags::SHARED_VALIDATE | MapFlags::SYNC;
        let mapped = match Self::with_flags(file, bytes, flags) {
            Err(Errno::OPNOTSUPP | Errno::INVAL) => return Ok(None),
            mapped => mapped?,
        };
        let lines = MappedLines {
            mapping: Arc::clone(&mapped.mapping),
            instruction,
        };
        Ok(Some((mapped, lines)))
    }

    fn with_flags(file: &File, bytes: u64, flags: MapFlags) -> Result<Self, Errno> {
        let bytes = usize::try_from(bytes).map_err(|_| Errno::FBIG)?;
        let rights = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the kernel chooses the address, so no other mapping is touched.
        let start = unsafe { mmap(std::ptr::null_mut(), bytes, rights, flags, file, 0) }?;
        let start = NonNull::new(start.cast()).ok_or(Errno::FAULT)?;
        Ok(Self {
            mapping: Arc::new(Mapping { start, bytes }),
        })
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
