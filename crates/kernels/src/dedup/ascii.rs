//! ASCII text by vectors: its folded form, and the bytes of its words.
#![allow(unsafe_code)]

use crate::simd::{Level, Width};

/// Bytes that are looked at together.
const BLOCK: usize = 64;

/// The byte that stands for an ASCII byte in the folded form: lower case, and a space for white space.
const FOLDED: [u8; 256] = folded_table();

const fn folded_table() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        #[allow(clippy::cast_possible_truncation)]
        let value = byte as u8;
        table[byte] = match value {
            b'\t'..=b'\r' | b' ' => b' ',
            _ => value.to_ascii_lowercase(),
        };
        byte += 1;
    }
    table
}

/// The folded form of an ASCII byte.
pub fn folded(byte: u8) -> u8 {
    FOLDED[usize::from(byte)]
}

/// True for ASCII letters, digits and `_`.
pub fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() | (byte == b'_')
}

/// Appends ASCII text in the folded form, and tells whether a space is the last of it. `space` says that one, or nothing,
/// stands before: no other follows.
pub fn fold(level: Level, text: &[u8], space: bool, out: &mut Vec<u8>) -> bool {
    let Some(&last) = text.last() else {
        return space;
    };
    match level.width() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a level of this width exists only where the processor has these instructions.
        Width::Avx512 => unsafe { avx512::fold(text, space, out) },
        _ => fold_bytes(text, space, out),
    }
    folded(last) == b' '
}

/// Writes a bit for each byte of the text that belongs to a word of ASCII, 64 in a value, the first one lowest.
pub fn word_bits(level: Level, text: &[u8], bits: &mut Vec<u64>) {
    bits.clear();
    bits.reserve(text.len().div_ceil(BLOCK));
    match level.width() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a level of this width exists only where the processor has these instructions.
        Width::Avx512 => unsafe { avx512::word_bits(text, bits) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Width::Avx2 => unsafe { avx2::word_bits(text, bits) },
        _ => bits.extend(text.chunks(BLOCK).map(block_bits)),
    }
}

fn fold_bytes(text: &[u8], mut space: bool, out: &mut Vec<u8>) {
    let mut length = out.len();
    out.resize(length + text.len(), 0);
    // Without a branch: a byte is written always, and kept unless it is a space after a space.
    for &byte in text {
        let folded = folded(byte);
        let is_space = folded == b' ';
        out[length] = folded;
        length += usize::from(!(is_space & space));
        space = is_space;
    }
    out.truncate(length);
}

fn block_bits(block: &[u8]) -> u64 {
    let mut flags = [0_u8; BLOCK];
    for (flag, &byte) in flags.iter_mut().zip(block) {
        *flag = u8::from(is_word(byte));
    }
    let (eights, _) = flags.as_chunks::<8>();
    eights.iter().rev().fold(0, |bits, eight| {
        // The product moves the lowest bit of each byte into the highest byte.
        let gathered = u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        bits << 8 | gathered
    })
}

#[cfg(target_arch = "x86_64")]
#[allow(clippy::cast_possible_wrap)]
mod avx512 {
    use std::arch::x86_64::*;

    use super::BLOCK;

    /// A block of at most 64 bytes, filled up with zeros.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn loaded(block: &[u8]) -> (__m512i, u64) {
        let inside = u64::MAX >> (BLOCK - block.len());
        // SAFETY: only the bytes of the block are read.
        let bytes = unsafe { _mm512_maskz_loadu_epi8(inside, block.as_ptr().cast()) };
        (bytes, inside)
    }

    /// The bytes from `first` on, `count` of them.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn within(bytes: __m512i, first: u8, count: u8) -> u64 {
        let above = _mm512_sub_epi8(bytes, _mm512_set1_epi8(first as i8));
        _mm512_cmplt_epu8_mask(above, _mm512_set1_epi8(count as i8))
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi2,popcnt")]
    pub fn fold(text: &[u8], space: bool, out: &mut Vec<u8>) {
        out.reserve(text.len() + BLOCK);
        let spaces = _mm512_set1_epi8(b' ' as i8);
        let room = out.spare_capacity_mut();
        let (mut length, mut space) = (0, u64::from(space));
        for block in text.chunks(BLOCK) {
            let (bytes, inside) = loaded(block);
            let upper = within(bytes, b'A', 26);
            let white = within(bytes, b'\t', 5) | _mm512_cmpeq_epi8_mask(bytes, spaces);
            let bytes = _mm512_mask_add_epi8(bytes, upper, bytes, spaces);
            let bytes = _mm512_mask_mov_epi8(bytes, white, spaces);
            let kept = inside & !(white & (white << 1 | space));
            space = white >> (BLOCK - 1);
            let bytes = _mm512_maskz_compress_epi8(kept, bytes);
            // At most as many bytes are kept as were read, so a whole block fits behind them.
            let target = &mut room[length..length + BLOCK];
            // SAFETY: the target has the bytes of a block.
            unsafe { _mm512_storeu_si512(target.as_mut_ptr().cast(), bytes) };
            length += kept.count_ones() as usize;
        }
        length += out.len();
        // SAFETY: so many bytes have been written.
        unsafe { out.set_len(length) };
    }

    #[target_feature(enable = "avx512f,avx512bw")]
    pub fn word_bits(text: &[u8], bits: &mut Vec<u64>) {
        for block in text.chunks(BLOCK) {
            let (bytes, _) = loaded(block);
            let lower = _mm512_or_si512(bytes, _mm512_set1_epi8(0x20));
            let letters = within(lower, b'a', 26) | within(bytes, b'0', 10);
            bits.push(letters | _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(b'_' as i8)));
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[allow(clippy::cast_possible_wrap, clippy::cast_sign_loss)]
mod avx2 {
    use std::arch::x86_64::*;

    use super::{BLOCK, block_bits};

    #[target_feature(enable = "avx2")]
    pub fn word_bits(text: &[u8], bits: &mut Vec<u64>) {
        let (blocks, rest) = text.as_chunks::<BLOCK>();
        for block in blocks {
            let (low, high) = block.split_at(BLOCK / 2);
            bits.push(u64::from(half_bits(high)) << (BLOCK / 2) | u64::from(half_bits(low)));
        }
        if !rest.is_empty() {
            bits.push(block_bits(rest));
        }
    }

    /// The bits of 32 bytes.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn half_bits(half: &[u8]) -> u32 {
        debug_assert_eq!(half.len(), BLOCK / 2);
        // SAFETY: the half of a block has 32 bytes.
        let bytes = unsafe { _mm256_loadu_si256(half.as_ptr().cast()) };
        let lower = _mm256_or_si256(bytes, _mm256_set1_epi8(0x20));
        let underscores = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(b'_' as i8));
        let found = _mm256_or_si256(within(lower, b'a', 26), within(bytes, b'0', 10));
        _mm256_movemask_epi8(_mm256_or_si256(found, underscores)) as u32
    }

    /// The bytes from `first` on, `count` of them.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn within(bytes: __m256i, first: u8, count: u8) -> __m256i {
        let above = _mm256_sub_epi8(bytes, _mm256_set1_epi8(first as i8));
        let last = _mm256_set1_epi8((count - 1) as i8);
        _mm256_cmpeq_epi8(_mm256_min_epu8(above, last), above)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn all_levels_fold_alike(text in "[\\x00-\\x7f]{0,300}", blank in "[ \n\ta]{0,200}") {
            for (text, space) in [(&text, true), (&text, false), (&blank, true), (&blank, false)] {
                let mut plain = b"before".to_vec();
                fold_bytes(text.as_bytes(), space, &mut plain);
                for level in Level::available() {
                    let mut out = b"before".to_vec();
                    let ends_so = fold(level, text.as_bytes(), space, &mut out);
                    prop_assert_eq!(&out, &plain, "{}", level.name());
                    prop_assert_eq!(ends_so, if text.is_empty() { space } else { out.ends_with(b" ") || (space && out.len() == 6) });
                }
            }
        }

        #[test]
        fn all_levels_find_the_same_words(text in prop::collection::vec(any::<u8>(), 0..300)) {
            for level in Level::available() {
                let mut bits = vec![7];
                word_bits(level, &text, &mut bits);
                prop_assert_eq!(bits.len(), text.len().div_ceil(BLOCK));
                let expected: Vec<u64> = text.chunks(BLOCK).map(|block| {
                    (0..).zip(block).map(|(at, &byte)| u64::from(is_word(byte)) << at).sum()
                }).collect();
                prop_assert_eq!(&bits, &expected, "{}", level.name());
            }
        }
    }
}
