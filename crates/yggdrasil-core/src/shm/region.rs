//! The raw mapping. Everything unsafe about it is here, behind slices of atomics.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64};

use rustix::mm::{MapFlags, ProtFlags};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Access {
    ReadOnly,
    ReadWrite,
}

/// A whole segment, mapped shared and kept mapped while this lives.
#[derive(Debug)]
pub(super) struct Region {
    base: NonNull<u8>,
    bytes: usize,
}

/// Where a mapping begins at a multiple of this, the kernel can map huge pages.
pub(super) const HUGE_PAGE_BYTES: usize = 2 << 20;

// SAFETY: the mapping belongs to the process, not to a thread, and all access goes through atomics or, for an owner,
// through the borrow rules of `Mapping`.
unsafe impl Send for Region {}
// SAFETY: as above; `&Region` gives out atomics and, to `Mapping` only, the bytes that nobody writes meanwhile.
unsafe impl Sync for Region {}

impl Region {
    /// `bytes` is the size of the file, which is sealed against shrinking, a multiple of 8 and not 0.
    pub(super) fn map(
        file: BorrowedFd<'_>,
        bytes: u64,
        access: Access,
    ) -> rustix::io::Result<Self> {
        let bytes = usize::try_from(bytes).map_err(|_| rustix::io::Errno::NOMEM)?;
        let protection = match access {
            Access::ReadOnly => ProtFlags::READ,
            Access::ReadWrite => ProtFlags::READ | ProtFlags::WRITE,
        };
        let flags = MapFlags::SHARED | MapFlags::NORESERVE;
        let base = if bytes < HUGE_PAGE_BYTES {
            // SAFETY: the kernel chooses the address, so no mapping that exists is touched.
            unsafe { rustix::mm::mmap(std::ptr::null_mut(), bytes, protection, flags, file, 0) }?
        } else {
            let place = Reserved::aligned(bytes)?;
            // SAFETY: the range is reserved and nobody else knows it.
            unsafe {
                rustix::mm::mmap(
                    place.start,
                    bytes,
                    protection,
                    flags | MapFlags::FIXED,
                    file,
                    0,
                )
            }?;
            place.taken()
        };
        let base = NonNull::new(base.cast::<u8>()).ok_or(rustix::io::Errno::NOMEM)?;
        Ok(Self { base, bytes })
    }

    pub(super) fn len(&self) -> usize {
        self.bytes
    }

    /// Asks the kernel to put the range of a huge page that begins at `offset` into one.
    pub(super) fn collapse(&self, offset: u64) -> std::io::Result<()> {
        let start = self
            .checked(offset, HUGE_PAGE_BYTES as u64, HUGE_PAGE_BYTES as u64)
            .ok_or(std::io::ErrorKind::InvalidInput)?;
        // SAFETY: the range is mapped, and the call changes where its bytes lie but not what they are.
        let result =
            unsafe { libc::madvise(start.as_ptr().cast(), HUGE_PAGE_BYTES, libc::MADV_COLLAPSE) };
        if result == 0 {
            return Ok(());
        }
        Err(std::io::Error::last_os_error())
    }

    /// The segment as words. Over a read-only mapping they may only be loaded: a store would fault.
    #[inline(always)]
    pub(super) fn words(&self) -> &[AtomicU64] {
        let base = self.base.as_ptr().cast::<AtomicU64>();
        // SAFETY: `base` maps `bytes` bytes while `self` lives (the file cannot shrink), is page-aligned, and atomics
        // may be shared with other processes.
        unsafe { std::slice::from_raw_parts(base, self.bytes / 8) }
    }

    /// A 32-bit atomic at a byte offset; `None` when outside or not aligned.
    #[inline]
    pub(super) fn u32(&self, offset: u64) -> Option<&AtomicU32> {
        let start = self.checked(offset, 4, 4)?;
        // SAFETY: 4 mapped and aligned bytes, by the check above.
        Some(unsafe { AtomicU32::from_ptr(start.as_ptr().cast()) })
    }

    /// An 8-bit atomic at a byte offset; `None` when outside.
    #[inline]
    pub(super) fn u8(&self, offset: u64) -> Option<&AtomicU8> {
        let start = self.checked(offset, 1, 1)?;
        // SAFETY: a mapped byte, by the check above.
        Some(unsafe { AtomicU8::from_ptr(start.as_ptr()) })
    }

    /// Bytes as a plain slice.
    ///
    /// # Safety
    /// Nobody, in no process, writes to them while the slice lives.
    #[inline(always)]
    pub(super) unsafe fn bytes(&self, offset: u64, len: u64) -> Option<&[u8]> {
        let start = self.checked(offset, len, 1)?;
        let len = usize::try_from(len).ok()?;
        // SAFETY: mapped by the check above, and not written by the caller's promise.
        Some(unsafe { std::slice::from_raw_parts(start.as_ptr(), len) })
    }

    /// The address of a byte inside the mapping, for prefetching.
    #[inline(always)]
    pub(super) fn address(&self, offset: u64) -> Option<*const u8> {
        Some(self.checked(offset, 1, 1)?.as_ptr().cast_const())
    }

    #[inline(always)]
    fn checked(&self, offset: u64, len: u64, align: u64) -> Option<NonNull<u8>> {
        let end = offset.checked_add(len)?;
        if end > self.bytes as u64 || !offset.is_multiple_of(align) {
            return None;
        }
        // SAFETY: `offset <= bytes`, so the result stays inside the mapping or one past its end.
        Some(unsafe { self.base.add(offset as usize) })
    }
}

/// Addresses that nothing is mapped to yet, and that nobody else will be given.
struct Reserved {
    start: *mut c_void,
    bytes: usize,
}

impl Reserved {
    /// `bytes` of addresses that begin at a multiple of a huge page.
    fn aligned(bytes: usize) -> rustix::io::Result<Self> {
        let room = bytes
            .checked_add(HUGE_PAGE_BYTES)
            .ok_or(rustix::io::Errno::NOMEM)?;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: the kernel chooses the address, so no mapping that exists is touched.
        let first = unsafe {
            rustix::mm::mmap_anonymous(std::ptr::null_mut(), room, ProtFlags::empty(), flags)
        }?;
        let before = first.cast::<u8>().align_offset(HUGE_PAGE_BYTES);
        let start = first.cast::<u8>().wrapping_add(before);
        if before > 0 {
            // SAFETY: a part of what was just mapped, before what is returned.
            unsafe { rustix::mm::munmap(first, before)? };
        }
        // SAFETY: a part of what was just mapped, behind what is returned.
        unsafe { rustix::mm::munmap(start.wrapping_add(bytes).cast(), room - bytes - before)? };
        Ok(Self {
            start: start.cast(),
            bytes,
        })
    }

    /// Something is mapped there now, which its owner unmaps.
    fn taken(self) -> *mut c_void {
        std::mem::ManuallyDrop::new(self).start
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        // SAFETY: reserved by `aligned`, and nothing was mapped there since.
        let unmapped = unsafe { rustix::mm::munmap(self.start, self.bytes) };
        debug_assert!(unmapped.is_ok());
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: mapped by `map` with this size, and no reference into it outlives `self`.
        let unmapped = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.bytes) };
        debug_assert!(unmapped.is_ok());
    }
}
