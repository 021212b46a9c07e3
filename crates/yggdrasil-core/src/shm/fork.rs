//! Noticing that this process is a fork of the one that made something, without asking the system each time.
#![allow(unsafe_code)]

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use rustix::mm::{Advice, MapFlags, ProtFlags};

const BYTES: usize = 4096;

/// A word that the kernel wipes in the children that a process forks.
#[derive(Debug)]
pub struct ForkMark {
    word: NonNull<AtomicU64>,
}

// SAFETY: the mapping belongs to the process, and all access is atomic.
unsafe impl Send for ForkMark {}
// SAFETY: as above.
unsafe impl Sync for ForkMark {}

impl ForkMark {
    /// Marks this process.
    ///
    /// # Errors
    /// When the system gives no memory.
    pub fn new() -> io::Result<Self> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the kernel chooses the address, so no mapping that exists is touched.
        let address = unsafe {
            rustix::mm::mmap_anonymous(std::ptr::null_mut(), BYTES, protection, MapFlags::PRIVATE)
        }?;
        let word = NonNull::new(address.cast::<AtomicU64>()).ok_or(io::ErrorKind::OutOfMemory)?;
        let mark = Self { word };
        // SAFETY: the page was mapped above and is nobody else's.
        unsafe { rustix::mm::madvise(address, BYTES, Advice::LinuxWipeOnFork) }?;
        mark.get().store(1, Relaxed);
        Ok(mark)
    }

    fn get(&self) -> &AtomicU64 {
        // SAFETY: mapped and aligned for as long as `self` lives.
        unsafe { self.word.as_ref() }
    }

    /// True when this is still the process that was marked.
    #[inline(always)]
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.get().load(Relaxed) == 1
    }
}

impl Drop for ForkMark {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this size, and no reference into it outlives `self`.
        let unmapped = unsafe { rustix::mm::munmap(self.word.as_ptr().cast(), BYTES) };
        debug_assert!(unmapped.is_ok());
    }
}
