//! Byte copies to and from words that other processes read (or write) at the same time.
//!
//! All accesses are relaxed atomic loads and stores of whole words, so a race gives mixed bytes, never undefined
//! behaviour; a sequence check outside tells whether the bytes belong together. Offsets are in bytes.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// Mask of the low `count` bytes, for `count` below 8.
#[inline(always)]
fn low_bytes(count: usize) -> u64 {
    (1 << (count * 8)) - 1
}

/// Up to 8 bytes as the low bytes of a word.
#[inline(always)]
fn little_endian(bytes: &[u8]) -> u64 {
    match bytes.first_chunk::<8>() {
        Some(whole) => u64::from_le_bytes(*whole),
        None => bytes
            .iter()
            .rev()
            .fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

/// The last `count` bytes, fewer than 8, as the low bytes of a word.
#[inline(always)]
fn last_bytes(bytes: &[u8], count: usize) -> u64 {
    match bytes.last_chunk::<8>() {
        Some(whole) if count > 0 => u64::from_le_bytes(*whole) >> (64 - count * 8),
        _ => little_endian(&bytes[bytes.len() - count..]),
    }
}

/// The words that `len` bytes at `offset` touch, and where in the first word they begin.
#[inline(always)]
fn span(words: &[AtomicU64], offset: u64, len: usize) -> Option<(&[AtomicU64], usize)> {
    let end = offset.checked_add(len as u64)?.checked_add(7)? >> 3;
    let touched = words.get((offset >> 3) as usize..end as usize)?;
    Some((touched, (offset & 7) as usize))
}

/// Copies `out.len()` bytes out. `None` when they are not all inside; then `out` is as it was.
#[inline]
pub(super) fn copy_out(words: &[AtomicU64], offset: u64, out: &mut [u8]) -> Option<()> {
    let (words, phase) = span(words, offset, out.len())?;
    if phase == 0 {
        copy_out_aligned(words, out);
    } else {
        copy_out_shifted(words, phase, out);
    }
    Some(())
}

#[inline(always)]
fn copy_out_aligned(words: &[AtomicU64], out: &mut [u8]) {
    let body = out.len() / 8;
    let mut chunks = out.chunks_exact_mut(8);
    for (chunk, word) in chunks.by_ref().zip(words) {
        chunk.copy_from_slice(&word.load(Relaxed).to_le_bytes());
    }
    let tail = chunks.into_remainder();
    if !tail.is_empty() {
        let last = words[body].load(Relaxed).to_le_bytes();
        tail.copy_from_slice(&last[..tail.len()]);
    }
}

#[inline(always)]
fn copy_out_shifted(words: &[AtomicU64], phase: usize, out: &mut [u8]) {
    if out.is_empty() {
        return;
    }
    let (down, up) = (phase * 8, 64 - phase * 8);
    let (first, rest) = (&words[0], &words[1..]);
    let mut carried = first.load(Relaxed) >> down;
    let body = out.len() / 8;
    let mut chunks = out.chunks_exact_mut(8);
    for (chunk, word) in chunks.by_ref().zip(rest) {
        let word = word.load(Relaxed);
        chunk.copy_from_slice(&(carried | word << up).to_le_bytes());
        carried = word >> down;
    }
    let tail = chunks.into_remainder();
    if !tail.is_empty() {
        // The tail may end in the word that was read last; then there is no further one.
        let next = rest.get(body).map_or(0, |word| word.load(Relaxed));
        let last = (carried | next << up).to_le_bytes();
        tail.copy_from_slice(&last[..tail.len()]);
    }
}

/// True when the bytes at a word boundary equal `expected`.
#[inline(always)]
pub(super) fn equals(words: &[AtomicU64], word: u64, expected: &[u8]) -> Option<bool> {
    let end = word.checked_add(expected.len().div_ceil(8) as u64)?;
    let words = words.get(word as usize..end as usize)?;
    let chunks = expected.chunks_exact(8);
    let tail = chunks.remainder();
    for (chunk, word) in chunks.zip(words) {
        if word.load(Relaxed) != little_endian(chunk) {
            return Some(false);
        }
    }
    if tail.is_empty() {
        return Some(true);
    }
    let found = words[expected.len() / 8].load(Relaxed) & low_bytes(tail.len());
    Some(found == last_bytes(expected, tail.len()))
}

/// Replaces the bytes of one word that `mask` names. Only the single writer of the word may.
#[inline(always)]
fn merge(word: &AtomicU64, mask: u64, value: u64) {
    word.store(word.load(Relaxed) & !mask | value & mask, Relaxed);
}

/// Splits `len` bytes that begin at byte `phase` of a word into head, whole words and tail.
#[inline(always)]
fn split(phase: usize, len: usize) -> (usize, usize, usize) {
    let head = if phase == 0 { 0 } else { (8 - phase).min(len) };
    let body = (len - head) / 8;
    (head, body, len - head - body * 8)
}

/// Copies `bytes` in. The caller is the only writer of the words touched. `None` when they are not all inside.
#[inline]
pub(super) fn copy_in(words: &[AtomicU64], offset: u64, bytes: &[u8]) -> Option<()> {
    let (mut words, phase) = span(words, offset, bytes.len())?;
    let (head, body, tail) = split(phase, bytes.len());
    if head > 0 {
        let first = match bytes.first_chunk::<8>() {
            Some(whole) => u64::from_le_bytes(*whole),
            None => little_endian(&bytes[..head]),
        };
        merge(
            &words[0],
            low_bytes(head) << (phase * 8),
            first << (phase * 8),
        );
        words = &words[1..];
    }
    for (word, chunk) in words.iter().zip(bytes[head..].chunks_exact(8)) {
        word.store(little_endian(chunk), Relaxed);
    }
    if tail > 0 {
        merge(&words[body], low_bytes(tail), last_bytes(bytes, tail));
    }
    Some(())
}

/// Copies `bytes` in at a word boundary; what they leave of the last word becomes zero, so that no word is read. The
/// caller is the only writer of the words touched.
#[inline]
pub(super) fn fill(words: &[AtomicU64], word: u64, bytes: &[u8]) -> Option<()> {
    let end = word.checked_add(bytes.len().div_ceil(8) as u64)?;
    let words = words.get(word as usize..end as usize)?;
    let chunks = bytes.chunks_exact(8);
    let tail = chunks.remainder();
    for (word, chunk) in words.iter().zip(chunks) {
        word.store(little_endian(chunk), Relaxed);
    }
    if !tail.is_empty() {
        words[bytes.len() / 8].store(last_bytes(bytes, tail.len()), Relaxed);
    }
    Some(())
}

/// Zeroes `len` bytes, under the same terms as [`copy_in`].
pub(super) fn zero(words: &[AtomicU64], offset: u64, len: usize) -> Option<()> {
    let (mut words, phase) = span(words, offset, len)?;
    let (head, body, tail) = split(phase, len);
    if head > 0 {
        merge(&words[0], low_bytes(head) << (phase * 8), 0);
        words = &words[1..];
    }
    for word in &words[..body] {
        word.store(0, Relaxed);
    }
    if tail > 0 {
        merge(&words[body], low_bytes(tail), 0);
    }
    Some(())
}

/// Copies between two places of the same phase (`from % 8 == to % 8`) that do not overlap.
pub(super) fn copy_within(words: &[AtomicU64], from: u64, to: u64, len: usize) -> Option<()> {
    assert_eq!(
        from & 7,
        to & 7,
        "the two places lie differently in their words"
    );
    let (mut source, phase) = span(words, from, len)?;
    let (mut target, _) = span(words, to, len)?;
    let (head, body, tail) = split(phase, len);
    if head > 0 {
        merge(
            &target[0],
            low_bytes(head) << (phase * 8),
            source[0].load(Relaxed),
        );
        (source, target) = (&source[1..], &target[1..]);
    }
    for (to, from) in target.iter().zip(source).take(body) {
        to.store(from.load(Relaxed), Relaxed);
    }
    if tail > 0 {
        merge(&target[body], low_bytes(tail), source[body].load(Relaxed));
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(bytes: &[u8]) -> Vec<AtomicU64> {
        assert!(bytes.len().is_multiple_of(8));
        bytes
            .as_chunks::<8>()
            .0
            .iter()
            .map(|chunk| AtomicU64::new(u64::from_le_bytes(*chunk)))
            .collect()
    }

    fn bytes(words: &[AtomicU64]) -> Vec<u8> {
        words
            .iter()
            .flat_map(|word| word.load(Relaxed).to_le_bytes())
            .collect()
    }

    fn pattern(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 7 + 3) as u8).collect()
    }

    #[test]
    fn every_place_and_length_copies_out() {
        let source = pattern(48);
        let words = words(&source);
        for offset in 0..=48 {
            for len in 0..=48 - offset {
                let mut out = vec![0; len];
                copy_out(&words, offset as u64, &mut out).unwrap();
                assert_eq!(out, source[offset..offset + len]);
            }
            assert!(copy_out(&words, offset as u64, &mut vec![0; 49 - offset]).is_none());
        }
        assert!(copy_out(&words, u64::MAX, &mut [0]).is_none());
    }

    #[test]
    fn every_place_and_length_copies_in() {
        for offset in 0..=40 {
            for len in 0..=40 - offset {
                let mut expected = pattern(40);
                let target = words(&expected);
                let new = vec![0xee; len];
                expected[offset..offset + len].fill(0xee);
                copy_in(&target, offset as u64, &new).unwrap();
                assert_eq!(bytes(&target), expected);
                zero(&target, offset as u64, len).unwrap();
                expected[offset..offset + len].fill(0);
                assert_eq!(bytes(&target), expected);
            }
            assert!(copy_in(&words(&pattern(40)), offset as u64, &vec![0; 41 - offset]).is_none());
        }
    }

    #[test]
    fn every_length_fills_whole_words() {
        for len in 0..=24 {
            let source = pattern(len);
            let target = words(&[0xee; 40]);
            fill(&target, 1, &source).unwrap();
            let mut expected = vec![0xee; 40];
            expected[8..8 + len.next_multiple_of(8)].fill(0);
            expected[8..8 + len].copy_from_slice(&source);
            assert_eq!(bytes(&target), expected);
        }
        assert!(fill(&words(&[0; 16]), 1, &[0; 9]).is_none());
    }

    #[test]
    fn every_phase_copies_within() {
        for phase in 0..8 {
            for len in 0..=24 - phase {
                let mut expected = pattern(64);
                let target = words(&expected);
                copy_within(&target, phase as u64, 32 + phase as u64, len).unwrap();
                expected.copy_within(phase..phase + len, 32 + phase);
                assert_eq!(bytes(&target), expected);
            }
        }
    }

    #[test]
    fn comparison_sees_every_byte() {
        let source = pattern(24);
        let words = words(&source);
        for len in 0..=16 {
            assert_eq!(equals(&words, 1, &source[8..8 + len]), Some(true));
            for wrong in 0..len {
                let mut other = source[8..8 + len].to_vec();
                other[wrong] ^= 0x10;
                assert_eq!(equals(&words, 1, &other), Some(false));
            }
        }
        assert_eq!(equals(&words, 1, &[0; 17]), None);
    }
}
