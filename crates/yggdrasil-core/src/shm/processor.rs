//! Abilities of the processor beyond the language: prefetching and comparing many bytes at once.
#![allow(unsafe_code)]

/// A hint that a line will be needed soon.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) fn prefetch(address: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a prefetch never faults, whatever the address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
}

/// A hint that a line will be needed soon.
#[cfg(target_arch = "aarch64")]
#[inline(always)]
pub(super) fn prefetch(address: *const u8) {
    // SAFETY: a prefetch never faults, whatever the address.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{0}]", in(reg) address, options(nostack, preserves_flags, readonly));
    };
}

/// A hint that a line will be needed soon.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
#[inline(always)]
pub(super) fn prefetch(_address: *const u8) {}

/// A hint that values of the heap will be needed soon.
#[inline(always)]
pub fn prefetch_slice<T>(values: &[T]) {
    const LINE_BYTES: usize = 64;
    let (start, bytes) = (values.as_ptr().cast::<u8>(), size_of_val(values));
    for line in 0..bytes.div_ceil(LINE_BYTES) {
        prefetch(start.wrapping_add(line * LINE_BYTES));
    }
    // It need not begin with a line.
    prefetch(start.wrapping_add(bytes.saturating_sub(1)));
}

/// Which of the 16 bytes of two words equal `wanted`: one bit each, the first byte in the lowest bit.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub fn equal_bytes(words: [u64; 2], wanted: u8) -> u32 {
    // SAFETY: every x86-64 processor has SSE2.
    unsafe { equal_bytes_sse2(words, wanted) }
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "sse2")]
fn equal_bytes_sse2(words: [u64; 2], wanted: u8) -> u32 {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_movemask_epi8, _mm_set_epi64x, _mm_set1_epi8};
    let bytes = _mm_set_epi64x(words[1] as i64, words[0] as i64);
    _mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(wanted as i8))) as u32
}

/// Which of the 16 bytes of two words equal `wanted`: one bit each, the first byte in the lowest bit.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub fn equal_bytes(words: [u64; 2], wanted: u8) -> u32 {
    equal_bytes_portably(words, wanted)
}

#[cfg(any(test, not(target_arch = "x86_64")))]
#[inline(always)]
fn equal_bytes_portably(words: [u64; 2], wanted: u8) -> u32 {
    let wanted = u64::from(wanted) * 0x0101_0101_0101_0101;
    (zero_bytes(words[0] ^ wanted) | zero_bytes(words[1] ^ wanted) << 8) as u32
}

/// One bit per byte of a word that is 0. Exact: no byte influences its neighbour.
#[cfg(any(test, not(target_arch = "x86_64")))]
#[inline(always)]
fn zero_bytes(word: u64) -> u64 {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    /// Carries bit 8 n to bit 56 + n.
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let zero = !(((word & LOW) + LOW) | word | LOW) >> 7;
    zero.wrapping_mul(GATHER) >> 56
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn both_ways_find_the_equal_bytes(words in any::<[u64; 2]>(), at in 0..16_usize, spread in any::<u8>()) {
            let bytes = [words[0].to_le_bytes(), words[1].to_le_bytes()].concat();
            for wanted in [bytes[at], spread, 0, bytes[at].wrapping_add(1)] {
                let expected = (0..16).filter(|i| bytes[*i] == wanted).map(|i| 1 << i).sum::<u32>();
                prop_assert_eq!(equal_bytes(words, wanted), expected);
                prop_assert_eq!(equal_bytes_portably(words, wanted), expected);
            }
        }
    }
}
