//! A file that is mapped to be written.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ptr::NonNull;

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// A writable shared mapping of a whole file. Nobody else maps the file for writing, and nobody reads through this
/// mapping.
#[derive(Debug)]
pub struct Mapped {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the mapping belongs to this value alone, and `&mut self` is needed for each store.
unsafe impl Send for Mapped {}

impl Mapped {
    /// Maps the first `bytes` bytes of a file, which has as many at least.
    pub fn new(file: &File, bytes: u64) -> io::Result<Self> {
        let bytes = usize::try_from(bytes).map_err(io::Error::other)?;
        let flags = MapFlags::SHARED;
        let rights = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the kernel chooses the address, so no other mapping is touched.
        let start = unsafe { mmap(std::ptr::null_mut(), bytes, rights, flags, file, 0) }?;
        let start = NonNull::new(start.cast())
            .ok_or_else(|| io::Error::other("the kernel mapped a file at address zero"))?;
        Ok(Self { start, bytes })
    }

    /// Copies bytes there.
    ///
    /// # Panics
    /// They do not lie in the mapping.
    #[inline]
    pub fn write(&mut self, offset: u64, bytes: &[u8]) {
        let end = offset.checked_add(bytes.len() as u64);
        assert!(
            end.is_some_and(|end| end <= self.bytes as u64),
            "a record lies in its segment"
        );
        // SAFETY: the place lies in the mapping, as was checked, which lives as long as `self`.
        let to = unsafe { self.start.as_ptr().add(offset as usize) };
        // SAFETY: both have as many bytes, and do not overlap, as nobody has a reference into the mapping.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and nothing refers to it any more. It fails for no valid range.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}
