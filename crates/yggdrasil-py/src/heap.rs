//! The heap of the process: what allocators hold, and when they give back what nobody uses.
//!
//! All of Rust allocates by jemalloc. Its work for a block does not grow with the number of blocks, where that of the
//! system's allocator does: counting and giving back what is free visits each free block. A thread of jemalloc gives
//! back what nobody uses, little by little. The rest of the process (Python and libraries in C) has the system's
//! allocator, and so little of it that visiting all of it takes microseconds.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char};

use tikv_jemalloc_ctl::background_thread;
use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// Settings of jemalloc. What is free goes back within two seconds, also large blocks, which by default go at once.
/// One arena serves all threads of a worker, of which one allocates much.
const SETTINGS: &CStr =
    c"narenas:1,dirty_decay_ms:2000,muzzy_decay_ms:0,oversize_threshold:0,max_background_threads:1";

/// The symbol by which jemalloc finds its settings.
// SAFETY: No other symbol has this name, which belongs to jemalloc with its prefix.
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static JEMALLOC_SETTINGS: Option<&'static c_char> =
    // SAFETY: It points to a constant text that ends with a zero.
    Some(unsafe { &*SETTINGS.as_ptr() });

/// The call that gives back all of them at once.
const PURGE: &CStr = c"arena.4096.purge";

/// Free bytes of the system's allocator that are worth looking for.
const WORTHWHILE_BYTES: u64 = 1024 * 1024;
/// Looks, ten in a second, for which they have to be free: what is used again at once would only be faulted in again.
const LOOKS: u32 = 10;

/// What is known of the free bytes of the system's allocator.
#[derive(Debug, Default)]
pub struct Heap {
    /// The fewest there were since they were last given back. They stay addresses of the heap without memory behind
    /// them, which the allocator goes on counting as free.
    fewest: Option<u64>,
    /// Looks since when more are free than that.
    looks: u32,
}

impl Heap {
    /// Looks at the heap, about ten times a second, and gives back what was free for a second. How many bytes of the
    /// system's allocator are free and not given back. Those of jemalloc count as taken until they are: they are so in
    /// a moment, and resident memory is what is limited.
    pub fn look(&mut self) -> u64 {
        self.look_at_system()
    }

    fn look_at_system(&mut self) -> u64 {
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
        self.trim_system();
        0
    }

    fn trim_system(&mut self) {
        trim();
        self.fewest = Some(free_bytes());
        self.looks = 0;
    }

    /// Gives back all that is free, in whole pages.
    pub fn trim(&mut self) {
        self.trim_system();
        purge();
    }
}

/// Has a thread of jemalloc give back what nobody uses, so that no other thread does it in the middle of its work.
///
/// # Errors
/// There is no thread to be had.
pub fn give_back_beside() -> Result<(), tikv_jemalloc_ctl::Error> {
    background_thread::write(true)
}

fn purge() {
    use std::ptr::null_mut;
    // SAFETY: The call takes no value and gives none.
    unsafe {
        tikv_jemalloc_sys::mallctl(PURGE.as_ptr(), null_mut(), null_mut(), null_mut(), 0);
    }
}

/// Bytes that the system's allocator holds for the next allocations.
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
