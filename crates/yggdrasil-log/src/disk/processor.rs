//! Abilities of the processor: writing lines of its caches back to memory.
#![allow(unsafe_code)]

use std::ptr::NonNull;
use std::sync::OnceLock;

use super::Persist;

/// The best instruction that the processor has, found once; `None` where lines cannot be written back by a program.
pub(super) fn write_back_instruction() -> Option<Persist> {
    static FOUND: OnceLock<Option<Persist>> = OnceLock::new();
    *FOUND.get_or_init(find)
}

/// Writes the lines of a range back by an instruction that the processor has. It is over at the next [`fence`] of this
/// thread.
///
/// # Safety
/// The range lies in a mapping.
#[inline]
pub(super) unsafe fn write_back(instruction: Persist, start: NonNull<u8>, bytes: usize) {
    let line = line_bytes();
    let first = start.as_ptr() as usize & !(line - 1);
    let end = start.as_ptr() as usize + bytes;
    let mut address = first;
    while address < end {
        // SAFETY: the line holds a byte of the range, so it lies in a page of the mapping.
        unsafe { write_line_back(instruction, address) };
        address += line;
    }
}

#[cfg(target_arch = "x86_64")]
fn find() -> Option<Persist> {
    use std::arch::x86_64::{__cpuid_count, __get_cpuid_max};
    const CLFLUSH: u32 = 1 << 19;
    const CLFLUSHOPT: u32 = 1 << 23;
    const CLWB: u32 = 1 << 24;
    let (leaves, _) = __get_cpuid_max(0);
    let extended = if leaves >= 7 {
        __cpuid_count(7, 0).ebx
    } else {
        0
    };
    if extended & CLWB != 0 {
        Some(Persist::Clwb)
    } else if extended & CLFLUSHOPT != 0 {
        Some(Persist::Clflushopt)
    } else {
        (__cpuid_count(1, 0).edx & CLFLUSH != 0).then_some(Persist::Clflush)
    }
}

#[cfg(target_arch = "x86_64")]
fn line_bytes() -> usize {
    64
}

/// # Safety
/// The address is mapped, and the processor has the instruction.
#[cfg(target_arch = "x86_64")]
#[inline]
unsafe fn write_line_back(instruction: Persist, address: usize) {
    use std::arch::asm;
    match instruction {
        // SAFETY: the caller says that the address is mapped; the contents of memory stay as they are.
        Persist::Clwb => unsafe {
            asm!("clwb [{0}]", in(reg) address, options(nostack, preserves_flags));
        },
        // SAFETY: as above.
        Persist::Clflushopt => unsafe {
            asm!("clflushopt [{0}]", in(reg) address, options(nostack, preserves_flags));
        },
        // SAFETY: as above.
        _ => unsafe {
            asm!("clflush [{0}]", in(reg) address, options(nostack, preserves_flags));
        },
    }
}

/// Waits until all that this thread has written back is in memory, or in what a power cut leaves of it.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(super) fn fence() {
    // SAFETY: a fence changes nothing.
    unsafe { std::arch::asm!("sfence", options(nostack, preserves_flags)) };
}

/// DC CVAP, where the kernel says that programs may use it.
#[cfg(target_arch = "aarch64")]
fn find() -> Option<Persist> {
    const DCPOP: usize = 1 << 16;
    let (abilities, _) = rustix::param::linux_hwcap();
    (abilities & DCPOP != 0).then_some(Persist::DcCvap)
}

#[cfg(target_arch = "aarch64")]
fn line_bytes() -> usize {
    let cache_type: u64;
    // SAFETY: Linux lets programs read CTR_EL0, and reading it changes nothing.
    unsafe {
        std::arch::asm!("mrs {0}, ctr_el0", out(reg) cache_type, options(nomem, nostack, preserves_flags));
    }
    // The smallest line of all data caches, as a power of two of words.
    4 << (cache_type >> 16 & 0xf)
}

/// # Safety
/// The address is mapped, and the processor has the instruction.
#[cfg(target_arch = "aarch64")]
#[inline]
unsafe fn write_line_back(_: Persist, address: usize) {
    // SAFETY: the caller says that the address is mapped; this is DC CVAP in the encoding that every assembler knows.
    unsafe {
        std::arch::asm!("sys #3, c7, c12, #1, {0}", in(reg) address, options(nostack, preserves_flags));
    }
}

/// Waits until all that this thread has written back is in memory, or in what a power cut leaves of it.
#[cfg(target_arch = "aarch64")]
#[inline]
pub(super) fn fence() {
    // SAFETY: a barrier changes nothing.
    unsafe { std::arch::asm!("dsb sy", options(nostack, preserves_flags)) };
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn find() -> Option<Persist> {
    None
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn line_bytes() -> usize {
    64
}

/// # Safety
/// None: nothing is done.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
unsafe fn write_line_back(_: Persist, _: usize) {}

/// Does nothing: lines are never written back here.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) fn fence() {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written back or not, memory reads the same: what can be tested without persistent memory.
    #[test]
    fn every_instruction_of_the_processor_leaves_memory_as_it_is() {
        let Some(best) = write_back_instruction() else {
            return;
        };
        let mut bytes: Vec<u8> = (0..1000_u32).map(|n| n as u8).collect();
        let before = bytes.clone();
        let instructions = if cfg!(target_arch = "x86_64") {
            // Each of them implies those before it.
            let all = [Persist::Clflush, Persist::Clflushopt, Persist::Clwb];
            let known = all
                .iter()
                .position(|one| *one == best)
                .expect("one of them");
            all[..=known].to_vec()
        } else {
            vec![best]
        };
        for instruction in instructions {
            for (from, to) in [(0, 1000), (1, 2), (63, 65), (500, 500)] {
                let start = NonNull::from(&mut bytes[from]);
                // SAFETY: the range lies in the vector.
                unsafe { write_back(instruction, start, to - from) };
            }
            fence();
        }
        assert_eq!(bytes, before);
    }
}
