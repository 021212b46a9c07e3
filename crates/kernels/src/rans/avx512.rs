//! The coder on vectors of 512 bits.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::{
    BIAS_MASK, CONTEXTS_MAX, Decoder, EncoderSymbol, HEADROOM, LANES, LIMIT_SHIFT, SHIFT_AT,
    STATE_LOW,
};
use crate::model::{PRECISION, TOTAL};

/// Symbols that a table in registers can hold.
const RANKS_MAX: usize = 64;
/// Words that a group of 64 symbols takes in at most, which is also what its four loads reach.
const GROUP_WORDS_MAX: usize = LANES;

/// The encoder's table for at most 64 distinct symbols: the processor looks it up in registers.
pub struct SmallTable {
    rank_of: [u8; 256],
    /// The lower halves of the entries.
    packed: [u32; RANKS_MAX],
    reciprocals: [u32; RANKS_MAX],
    ranks: usize,
}

impl SmallTable {
    pub fn new(symbols: &[EncoderSymbol]) -> Option<Self> {
        let mut small = Self {
            rank_of: [0; 256],
            packed: [0; RANKS_MAX],
            reciprocals: [0; RANKS_MAX],
            ranks: 0,
        };
        for (symbol, entry) in symbols.iter().enumerate().take(256) {
            if entry.frequency() == 0 {
                continue;
            }
            if small.ranks == RANKS_MAX {
                return None;
            }
            small.rank_of[symbol] = small.ranks as u8;
            small.packed[small.ranks] = entry.0 as u32;
            small.reciprocals[small.ranks] = (entry.0 >> 32) as u32;
            small.ranks += 1;
        }
        Some(small)
    }

    /// Codes groups of 64 symbols, the last one first, and tells where the words begin then.
    pub fn encode(
        &self,
        symbols: &[u8],
        states: &mut [u32; LANES],
        words: &mut [u16],
        position: usize,
    ) -> usize {
        if self.ranks <= 32 {
            // SAFETY: this module is used at the level `Avx512` only, which stands for these features.
            unsafe { encode_groups::<false>(symbols, self, states, words, position) }
        } else {
            // SAFETY: as above.
            unsafe { encode_groups::<true>(symbols, self, states, words, position) }
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,popcnt")]
fn encode_groups<const WIDE: bool>(
    symbols: &[u8],
    table: &SmallTable,
    states: &mut [u32; LANES],
    words: &mut [u16],
    mut position: usize,
) -> usize {
    let ranks = RankTable::new(&table.rank_of);
    let packed = WordTable::new(&table.packed);
    let reciprocals = WordTable::new(&table.reciprocals);
    let mut state = load_states(states);
    let (groups, _) = symbols.as_chunks::<LANES>();
    for group in groups.iter().rev() {
        let rank = ranks.look_up(load_bytes(group));
        let indices = [
            _mm512_cvtepu8_epi32(_mm512_extracti32x4_epi32::<0>(rank)),
            _mm512_cvtepu8_epi32(_mm512_extracti32x4_epi32::<1>(rank)),
            _mm512_cvtepu8_epi32(_mm512_extracti32x4_epi32::<2>(rank)),
            _mm512_cvtepu8_epi32(_mm512_extracti32x4_epi32::<3>(rank)),
        ];
        for part in (0..4).rev() {
            let entry = packed.look_up::<WIDE>(indices[part]);
            let reciprocal = reciprocals.look_up::<WIDE>(indices[part]);
            position = put_in(&mut state[part], entry, reciprocal, words, position);
        }
    }
    store_states(state, states);
    position
}

/// Codes groups of 64 symbols by tables in memory, the last group first, and tells where the words begin then.
pub fn encode(
    symbols: &[u8],
    contexts: &[u8],
    tables: &[EncoderSymbol],
    states: &mut [u32; LANES],
    words: &mut [u16],
    position: usize,
) -> usize {
    if contexts.is_empty() {
        // SAFETY: this module is used at the level `Avx512` only, which stands for these features.
        unsafe { encode_gathered::<false>(symbols, contexts, tables, states, words, position) }
    } else {
        // SAFETY: as above.
        unsafe { encode_gathered::<true>(symbols, contexts, tables, states, words, position) }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,popcnt")]
fn encode_gathered<const CONTEXTS: bool>(
    symbols: &[u8],
    contexts: &[u8],
    tables: &[EncoderSymbol],
    states: &mut [u32; LANES],
    words: &mut [u16],
    mut position: usize,
) -> usize {
    let mut state = load_states(states);
    let (groups, _) = symbols.as_chunks::<LANES>();
    let (rows, _) = contexts.as_chunks::<LANES>();
    for (index, group) in groups.iter().enumerate().rev() {
        for part in (0..4).rev() {
            let mut at = load_rows(group, part);
            if CONTEXTS {
                at = _mm512_or_si512(at, _mm512_slli_epi32::<8>(load_rows(&rows[index], part)));
            }
            let (entry, reciprocal) = gather_symbols(tables, at);
            position = put_in(&mut state[part], entry, reciprocal, words, position);
        }
    }
    store_states(state, states);
    position
}

/// The lower and the upper halves of sixteen entries.
#[target_feature(enable = "avx512f")]
#[inline]
fn gather_symbols(tables: &[EncoderSymbol], at: __m512i) -> (__m512i, __m512i) {
    let last = _mm512_set1_epi32(tables.len() as i32 - 1);
    let within = _mm512_min_epu32(at, last);
    let start: *const i32 = tables.as_ptr().cast();
    // SAFETY: each index is at most that of the last entry, and an entry is eight bytes wide.
    let entry = unsafe { _mm512_i32gather_epi32::<8>(within, start) };
    // SAFETY: as above; the upper half of an entry is its second word.
    let reciprocal = unsafe { _mm512_i32gather_epi32::<8>(within, start.wrapping_add(1)) };
    (entry, reciprocal)
}

/// Takes sixteen symbols into the states, after what they have to give off.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,popcnt")]
#[inline]
fn put_in(
    state: &mut __m512i,
    entry: __m512i,
    reciprocal: __m512i,
    words: &mut [u16],
    position: usize,
) -> usize {
    let frequency = _mm512_and_si512(entry, _mm512_set1_epi32(TOTAL as i32 - 1));
    let limit = _mm512_slli_epi32::<LIMIT_SHIFT>(frequency);
    let gives_off = _mm512_cmpge_epu32_mask(*state, limit);
    let position = give_off(*state, gives_off, words, position);
    let reduced = _mm512_mask_srli_epi32::<16>(*state, gives_off, *state);
    *state = step(reduced, entry, frequency, reciprocal);
    position
}

/// Writes the low halves of the chosen states, the first one lowest.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,popcnt")]
#[inline]
fn give_off(state: __m512i, chosen: __mmask16, words: &mut [u16], position: usize) -> usize {
    let count = chosen.count_ones();
    let packed = _mm512_maskz_compress_epi32(chosen, state);
    // Turned to the right end: what is written below are words that later groups write again.
    let lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    let turned = _mm512_add_epi32(lanes, _mm512_set1_epi32(count as i32));
    let aligned = _mm512_cvtepi32_epi16(_mm512_permutexvar_epi32(turned, packed));
    let target = words[..position].last_chunk_mut::<16>();
    let target = target.expect("room below the words");
    debug_assert!(HEADROOM >= target.len());
    // SAFETY: the array has 32 bytes, and the store needs no alignment.
    unsafe { _mm256_storeu_si256(target.as_mut_ptr().cast(), aligned) };
    position - count as usize
}

#[target_feature(enable = "avx512f")]
#[inline]
fn step(state: __m512i, entry: __m512i, frequency: __m512i, reciprocal: __m512i) -> __m512i {
    let even = _mm512_mul_epu32(state, reciprocal);
    let odd = _mm512_mul_epu32(
        _mm512_srli_epi64::<32>(state),
        _mm512_srli_epi64::<32>(reciprocal),
    );
    let high = _mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64::<32>(even), odd);
    let quotient = _mm512_srlv_epi32(high, _mm512_srli_epi32::<SHIFT_AT>(entry));
    let bias = _mm512_and_si512(
        _mm512_srli_epi32::<PRECISION>(entry),
        _mm512_set1_epi32(BIAS_MASK as i32),
    );
    let rest = _mm512_sub_epi32(_mm512_set1_epi32(TOTAL as i32), frequency);
    _mm512_add_epi32(
        _mm512_add_epi32(state, bias),
        _mm512_mullo_epi32(quotient, rest),
    )
}

/// A table of 256 bytes in four registers.
struct RankTable([__m512i; 4]);

impl RankTable {
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn new(table: &[u8; 256]) -> Self {
        let (quarters, _) = table.as_chunks::<64>();
        Self([
            load_bytes(&quarters[0]),
            load_bytes(&quarters[1]),
            load_bytes(&quarters[2]),
            load_bytes(&quarters[3]),
        ])
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    #[inline]
    fn look_up(&self, bytes: __m512i) -> __m512i {
        let low = _mm512_permutex2var_epi8(self.0[0], bytes, self.0[1]);
        let high = _mm512_permutex2var_epi8(self.0[2], bytes, self.0[3]);
        _mm512_mask_blend_epi8(_mm512_movepi8_mask(bytes), low, high)
    }
}

/// A table of 64 words in four registers.
struct WordTable([__m512i; 4]);

impl WordTable {
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn new(table: &[u32; RANKS_MAX]) -> Self {
        Self(load_states(table))
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn look_up<const WIDE: bool>(&self, index: __m512i) -> __m512i {
        let low = _mm512_permutex2var_epi32(self.0[0], index, self.0[1]);
        if !WIDE {
            return low;
        }
        let high = _mm512_permutex2var_epi32(self.0[2], index, self.0[3]);
        let upper = _mm512_test_epi32_mask(index, _mm512_set1_epi32(32));
        _mm512_mask_blend_epi32(upper, low, high)
    }
}

/// Decodes whole groups of 64 while enough words are left, and tells how many symbols that were.
pub fn decode(decoder: &mut Decoder<'_>, contexts: &[u8], out: &mut [u8]) -> usize {
    if contexts.is_empty() {
        // SAFETY: this module is called at the level `Avx512` only, which stands for these features.
        unsafe { decode_groups::<false>(decoder, contexts, out) }
    } else {
        // SAFETY: as above.
        unsafe { decode_groups::<true>(decoder, contexts, out) }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,popcnt")]
fn decode_groups<const CONTEXTS: bool>(
    decoder: &mut Decoder<'_>,
    contexts: &[u8],
    out: &mut [u8],
) -> usize {
    let slots = &*decoder.tables.slots;
    let table = _mm512_set1_epi32(decoder.table as i32);
    let mut state = load_states(&decoder.states);
    let (groups, _) = out.as_chunks_mut::<LANES>();
    let (rows, _) = contexts.as_chunks::<LANES>();
    let mut words = decoder.words;
    let mut done = 0;
    for (index, group) in groups.iter_mut().enumerate() {
        if words.len() < GROUP_WORDS_MAX * 2 {
            break;
        }
        let mut decoded = [_mm_setzero_si128(); 4];
        for (part, target) in decoded.iter_mut().enumerate() {
            let row = if CONTEXTS {
                load_rows(&rows[index], part)
            } else {
                table
            };
            let within = _mm512_and_si512(state[part], _mm512_set1_epi32(TOTAL as i32 - 1));
            let at = _mm512_or_si512(within, _mm512_slli_epi32::<PRECISION>(row));
            let slot = gather(slots, at);
            *target = _mm512_cvtepi32_epi8(_mm512_srli_epi32::<24>(slot));
            words = take_in(&mut state[part], slot, words);
        }
        store_symbols(decoded, group);
        done += LANES;
    }
    decoder.words = words;
    store_states(state, &mut decoder.states);
    done
}

/// Steps sixteen states, and gives the low ones a word each.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,popcnt")]
#[inline]
fn take_in<'a>(state: &mut __m512i, slot: __m512i, words: &'a [u8]) -> &'a [u8] {
    let mask = _mm512_set1_epi32(TOTAL as i32 - 1);
    let frequency = _mm512_and_si512(slot, mask);
    let offset = _mm512_and_si512(_mm512_srli_epi32::<PRECISION>(slot), mask);
    let quotient = _mm512_srli_epi32::<PRECISION>(*state);
    let next = _mm512_add_epi32(_mm512_mullo_epi32(quotient, frequency), offset);
    let low = _mm512_cmplt_epu32_mask(next, _mm512_set1_epi32(STATE_LOW as i32));
    let source = words
        .first_chunk::<32>()
        .expect("the caller has seen enough words");
    // SAFETY: the array has 32 bytes, and the load needs no alignment.
    let raw = unsafe { _mm256_loadu_si256(source.as_ptr().cast()) };
    let fresh = _mm512_maskz_expand_epi32(low, _mm512_cvtepu16_epi32(raw));
    *state = _mm512_mask_or_epi32(next, low, _mm512_slli_epi32::<16>(next), fresh);
    &words[low.count_ones() as usize * 2..]
}

#[target_feature(enable = "avx512f")]
#[inline]
fn gather(slots: &[u32; CONTEXTS_MAX << PRECISION], at: __m512i) -> __m512i {
    let within = _mm512_and_si512(
        at,
        _mm512_set1_epi32(((CONTEXTS_MAX << PRECISION) - 1) as i32),
    );
    // SAFETY: each index is masked to less than the length of the table, a power of two.
    unsafe { _mm512_i32gather_epi32::<4>(within, slots.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn load_rows(rows: &[u8; LANES], part: usize) -> __m512i {
    let (parts, _) = rows.as_chunks::<16>();
    let source = &parts[part];
    // SAFETY: the array has 16 bytes, and the load needs no alignment.
    _mm512_cvtepu8_epi32(unsafe { _mm_loadu_si128(source.as_ptr().cast()) })
}

#[target_feature(enable = "avx512f")]
#[inline]
fn load_bytes(bytes: &[u8; 64]) -> __m512i {
    // SAFETY: the array has 64 bytes, and the load needs no alignment.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn load_states(states: &[u32; LANES]) -> [__m512i; 4] {
    let (parts, _) = states.as_chunks::<16>();
    let mut loaded = [_mm512_setzero_si512(); 4];
    for (target, part) in loaded.iter_mut().zip(parts) {
        // SAFETY: the array has 64 bytes, and the load needs no alignment.
        *target = unsafe { _mm512_loadu_si512(part.as_ptr().cast()) };
    }
    loaded
}

#[target_feature(enable = "avx512f")]
#[inline]
fn store_states(state: [__m512i; 4], states: &mut [u32; LANES]) {
    let (parts, _) = states.as_chunks_mut::<16>();
    for (part, vector) in parts.iter_mut().zip(state) {
        // SAFETY: the array has 64 bytes, and the store needs no alignment.
        unsafe { _mm512_storeu_si512(part.as_mut_ptr().cast(), vector) };
    }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn store_symbols(decoded: [__m128i; 4], group: &mut [u8; LANES]) {
    let (parts, _) = group.as_chunks_mut::<16>();
    for (part, vector) in parts.iter_mut().zip(decoded) {
        // SAFETY: the array has 16 bytes, and the store needs no alignment.
        unsafe { _mm_storeu_si128(part.as_mut_ptr().cast(), vector) };
    }
}
