//! The decoder on vectors of 256 bits.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::{CONTEXTS_MAX, Decoder, LANES, STATE_LOW};
use crate::model::{PRECISION, TOTAL};

/// Words that a group of 64 symbols takes in at most, which is also what its eight loads reach.
const GROUP_WORDS_MAX: usize = LANES;
const PARTS: usize = LANES / 8;

/// For each set of lanes, the word that each of its lanes gets: the lowest lane the first one.
static SPREAD: [[u32; 8]; 256] = {
    let mut table = [[0; 8]; 256];
    let mut set = 0;
    while set < 256 {
        let mut lane = 0;
        let mut next = 0;
        while lane < 8 {
            if set >> lane & 1 == 1 {
                table[set][lane] = next;
                next += 1;
            }
            lane += 1;
        }
        set += 1;
    }
    table
};

/// Decodes whole groups of 64 while enough words are left, and tells how many symbols that were.
pub fn decode(decoder: &mut Decoder<'_>, contexts: &[u8], out: &mut [u8]) -> usize {
    if contexts.is_empty() {
        // SAFETY: this module is called at the level `Avx2` only, which stands for these features.
        unsafe { decode_groups::<false>(decoder, contexts, out) }
    } else {
        // SAFETY: as above.
        unsafe { decode_groups::<true>(decoder, contexts, out) }
    }
}

#[target_feature(enable = "avx2,popcnt")]
fn decode_groups<const CONTEXTS: bool>(
    decoder: &mut Decoder<'_>,
    contexts: &[u8],
    out: &mut [u8],
) -> usize {
    let slots = &*decoder.tables.slots;
    let table = _mm256_set1_epi32(decoder.table as i32);
    let mut state = load_states(&decoder.states);
    let (groups, _) = out.as_chunks_mut::<LANES>();
    let (rows, _) = contexts.as_chunks::<LANES>();
    let mut words = decoder.words;
    let mut done = 0;
    for (index, group) in groups.iter_mut().enumerate() {
        if words.len() < GROUP_WORDS_MAX * 2 {
            break;
        }
        let (targets, _) = group.as_chunks_mut::<8>();
        for (part, target) in targets.iter_mut().enumerate() {
            let row = if CONTEXTS {
                load_rows(&rows[index], part)
            } else {
                table
            };
            let within = _mm256_and_si256(state[part], _mm256_set1_epi32(TOTAL as i32 - 1));
            let at = _mm256_or_si256(within, _mm256_slli_epi32::<{ PRECISION as i32 }>(row));
            let slot = gather(slots, at);
            *target = symbols_of(slot);
            words = take_in(&mut state[part], slot, words);
        }
        done += LANES;
    }
    decoder.words = words;
    store_states(state, &mut decoder.states);
    done
}

/// The top bytes of eight slots.
#[target_feature(enable = "avx2")]
#[inline]
fn symbols_of(slot: __m256i) -> [u8; 8] {
    let tops = _mm256_srli_epi32::<24>(slot);
    let halves = _mm256_packus_epi32(tops, tops);
    let bytes = _mm256_packus_epi16(halves, halves);
    let low = _mm256_extract_epi32::<0>(bytes) as u32;
    let high = _mm256_extract_epi32::<4>(bytes) as u32;
    (u64::from(low) | u64::from(high) << 32).to_le_bytes()
}

/// Steps eight states, and gives the low ones a word each.
#[target_feature(enable = "avx2,popcnt")]
#[inline]
fn take_in<'a>(state: &mut __m256i, slot: __m256i, words: &'a [u8]) -> &'a [u8] {
    let mask = _mm256_set1_epi32(TOTAL as i32 - 1);
    let frequency = _mm256_and_si256(slot, mask);
    let offset = _mm256_and_si256(_mm256_srli_epi32::<{ PRECISION as i32 }>(slot), mask);
    let quotient = _mm256_srli_epi32::<{ PRECISION as i32 }>(*state);
    let next = _mm256_add_epi32(_mm256_mullo_epi32(quotient, frequency), offset);
    // To be below 2^15 is to have nothing in the bits above, which spares a comparison without sign.
    let low = _mm256_cmpeq_epi32(_mm256_srli_epi32::<15>(next), _mm256_setzero_si256());
    let chosen = _mm256_movemask_ps(_mm256_castsi256_ps(low)) as u32;
    const { assert!(STATE_LOW == 1 << 15) };
    let source = words
        .first_chunk::<16>()
        .expect("the caller has seen enough words");
    // SAFETY: the array has 16 bytes, and the load needs no alignment.
    let raw = unsafe { _mm_loadu_si128(source.as_ptr().cast()) };
    let order = &SPREAD[chosen as usize];
    // SAFETY: the array has 32 bytes, and the load needs no alignment.
    let order = unsafe { _mm256_loadu_si256(order.as_ptr().cast()) };
    let fresh = _mm256_permutevar8x32_epi32(_mm256_cvtepu16_epi32(raw), order);
    let refilled = _mm256_or_si256(_mm256_slli_epi32::<16>(next), fresh);
    *state = _mm256_blendv_epi8(next, refilled, low);
    &words[chosen.count_ones() as usize * 2..]
}

#[target_feature(enable = "avx2")]
#[inline]
fn gather(slots: &[u32; CONTEXTS_MAX << PRECISION], at: __m256i) -> __m256i {
    let within = _mm256_and_si256(
        at,
        _mm256_set1_epi32(((CONTEXTS_MAX << PRECISION) - 1) as i32),
    );
    // SAFETY: each index is masked to less than the length of the table, a power of two.
    unsafe { _mm256_i32gather_epi32::<4>(slots.as_ptr().cast(), within) }
}

#[target_feature(enable = "avx2")]
#[inline]
fn load_rows(rows: &[u8; LANES], part: usize) -> __m256i {
    let (parts, _) = rows.as_chunks::<8>();
    _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(i64::from_le_bytes(parts[part])))
}

#[target_feature(enable = "avx2")]
#[inline]
fn load_states(states: &[u32; LANES]) -> [__m256i; PARTS] {
    let (parts, _) = states.as_chunks::<8>();
    let mut loaded = [_mm256_setzero_si256(); PARTS];
    for (target, part) in loaded.iter_mut().zip(parts) {
        // SAFETY: the array has 32 bytes, and the load needs no alignment.
        *target = unsafe { _mm256_loadu_si256(part.as_ptr().cast()) };
    }
    loaded
}

#[target_feature(enable = "avx2")]
#[inline]
fn store_states(state: [__m256i; PARTS], states: &mut [u32; LANES]) {
    let (parts, _) = states.as_chunks_mut::<8>();
    for (part, vector) in parts.iter_mut().zip(state) {
        // SAFETY: the array has 32 bytes, and the store needs no alignment.
        unsafe { _mm256_storeu_si256(part.as_mut_ptr().cast(), vector) };
    }
}
