//! The heap of the process: what the system's allocator holds, and when it gives back what nobody uses.
//!
//! The allocator gives back by itself only what is free at the end of its heap. One small block that lives on there
//! keeps all that is free in front of it, and what a process holds for nobody is not there for keys.
#![allow(unsafe_code)]

/// Free bytes that are worth looking for.
const WORTHWHILE_BYTES: u64 = 1024 * 1024;
/// Looks, ten in a second, for which they have to be free: what is used again at once would only be faulted in again.
const LOOKS: u32 = 10;

/// What is known of the free bytes of the heap.
#[derive(Debug, Default)]
pub struct Heap {
    /// The fewest there were since they were last given back. They stay addresses of the heap without memory behind
    /// them, which the allocator goes on counting as free.
    fewest: Option<u64>,
    /// Looks since when more are free than that.
    looks: u32,
}

impl Heap {
    /// Looks at the heap, about ten times a second, and gives back what was free for a second. How many bytes are free
    /// and not given back.
    pub fn look(&mut self) -> u64 {
        let free = free_bytes();
        let fewest = self.fewest.map_or(free, |fewest| fewest.min(free));
        self.fewest = Some(fewest);
        if free - fewest < WORTHWHILE_BYTES {
            self.looks = 0;
            return free - fewest;
        }
        self.looks += 1;
        if self.looks < LOOKS {
            return free - fewest;
        }
        self.trim();
        0
    }

    /// Gives back all that is free, in whole pages.
    pub fn trim(&mut self) {
        trim();
        self.fewest = Some(free_bytes());
        self.looks = 0;
    }
}

/// Bytes that the allocator holds for the next allocations.
#[cfg(target_env = "gnu")]
fn free_bytes() -> u64 {
    // SAFETY: it only reads, under the allocator's own locks.
    let info = unsafe { libc::mallinfo2() };
    info.fordblks as u64
}

/// Gives whole pages that nobody uses back to the system, wherever they are in the heap.
#[cfg(target_env = "gnu")]
fn trim() {
    // SAFETY: it touches only memory that is free, under the allocator's own locks.
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators give back what is free by themselves, and do not tell.
#[cfg(not(target_env = "gnu"))]
fn free_bytes() -> u64 {
    0
}

#[cfg(not(target_env = "gnu"))]
fn trim() {}
