//! A bucket: one cache line of 10 fingerprints and 10 refs.
//!
//! ```text
//! bits 0..32      sequence number of the bucket and all that hangs on it (unused in overflow buckets)
//! bits 32..112    fingerprints, 8 bits each
//! bits 112..512   refs, 40 bits each; 0 is an empty place, the highest bit marks a link
//! ```
//! Places are filled from the first on, in the home bucket and then in its overflow buckets.

use crate::shm::{Mapping, equal_bytes};

use super::layout::{BUCKET_WORDS, REF_BITS, REF_MASK};

pub(super) const PLACES: u32 = 10;
/// The place that may hold a link.
pub(super) const LAST: u32 = PLACES - 1;

const FINGERPRINTS_AT: u32 = 32;
const REFS_AT: u32 = FINGERPRINTS_AT + 8 * PLACES;
const ALL_PLACES: u32 = (1 << PLACES) - 1;
const _: () = assert!(REFS_AT + REF_BITS * PLACES == 64 * BUCKET_WORDS as u32);

/// A bucket as read at one moment.
pub(super) type Line = [u64; BUCKET_WORDS as usize];

/// The fingerprint of a hash.
#[inline(always)]
pub(super) fn fingerprint(hash: u64) -> u8 {
    (hash >> 56) as u8
}

#[inline(always)]
pub(super) fn sequence(word0: u64) -> u32 {
    word0 as u32
}

#[inline(always)]
fn with_sequence(word0: u64, sequence: u32) -> u64 {
    word0 & !u64::from(u32::MAX) | u64::from(sequence)
}

/// The places whose fingerprint is `fingerprint`, one bit each; empty ones may be among them.
#[inline(always)]
pub(super) fn matches(word0: u64, word1: u64, fingerprint: u8) -> u32 {
    (equal_bytes([word0, word1], fingerprint) >> (FINGERPRINTS_AT / 8)) & ALL_PLACES
}

/// Where a ref lies: its word and its bit in that.
#[inline(always)]
fn ref_position(place: u32) -> (usize, u32) {
    let bit = REFS_AT + REF_BITS * place;
    ((bit / 64) as usize, bit % 64)
}

/// The ref in a place of a bucket that was read.
#[inline(always)]
pub(super) fn line_reference(line: &Line, place: u32) -> u64 {
    let (index, shift) = ref_position(place);
    let pair = u128::from(line[index]) | u128::from(line[(index + 1) & 7]) << 64;
    (pair >> shift) as u64 & REF_MASK
}

#[inline(always)]
pub(super) fn line_fingerprint(line: &Line, place: u32) -> u8 {
    let bit = FINGERPRINTS_AT + 8 * place;
    (line[(bit / 64) as usize] >> (bit % 64)) as u8
}

/// The ref in a place of the owner's bucket.
#[inline(always)]
pub(super) fn owner_reference(mapping: &Mapping, line: u64, place: u32) -> u64 {
    // The 8 bytes that end with the ref are always inside the bucket.
    let end = u64::from(REFS_AT + REF_BITS * (place + 1)) / 8;
    mapping.load_unaligned(line * 8 + end - 8) >> (64 - REF_BITS)
}

/// Writes a place of a bucket whose chain is open for change.
#[inline(always)]
pub(super) fn set_place(
    mapping: &mut Mapping,
    line: u64,
    place: u32,
    fingerprint: u8,
    reference: u64,
) {
    let bit = FINGERPRINTS_AT + 8 * place;
    replace(
        mapping,
        line + u64::from(bit / 64),
        0xff << (bit % 64),
        u64::from(fingerprint) << (bit % 64),
    );
    set_reference(mapping, line, place, reference);
}

#[inline(always)]
pub(super) fn set_reference(mapping: &mut Mapping, line: u64, place: u32, reference: u64) {
    let (index, shift) = ref_position(place);
    let word = line + index as u64;
    replace(mapping, word, REF_MASK << shift, reference << shift);
    if shift > 64 - REF_BITS {
        replace(
            mapping,
            word + 1,
            REF_MASK >> (64 - shift),
            reference >> (64 - shift),
        );
    }
}

#[inline(always)]
fn replace(mapping: &mut Mapping, word: u64, mask: u64, value: u64) {
    let old = mapping.load(word);
    mapping.store(word, old & !mask | value);
}

/// Begins a change of a home bucket or of anything that hangs on it.
#[inline(always)]
pub(super) fn open(mapping: &mut Mapping, home: u64) {
    let word0 = mapping.load(home);
    debug_assert_eq!(word0 & 1, 0, "a change is not begun twice");
    mapping.announce(home, with_sequence(word0, sequence(word0).wrapping_add(1)));
}

/// Ends it.
#[inline(always)]
pub(super) fn close(mapping: &mut Mapping, home: u64) {
    let word0 = mapping.load(home);
    mapping.publish(home, with_sequence(word0, sequence(word0).wrapping_add(1)));
}

/// Empties a bucket whose chain is open for change, or which no reader can find yet.
pub(super) fn clear(mapping: &mut Mapping, line: u64, keep_sequence: bool) {
    let sequence = if keep_sequence {
        sequence(mapping.load(line))
    } else {
        0
    };
    mapping.store(line, u64::from(sequence));
    for word in 1..BUCKET_WORDS {
        mapping.store(line + word, 0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::shm::Segment;

    proptest! {
        #[test]
        fn places_do_not_disturb_each_other(
            writes in prop::collection::vec((0..PLACES, any::<u8>(), 0..=REF_MASK), 1..60),
            wanted in any::<u8>(),
        ) {
            let segment = Segment::create("test", 65536).unwrap();
            let mut mapping = segment.own().unwrap();
            mapping.store(7, u64::MAX);
            mapping.store(16, u64::MAX);
            let mut model = [(0, 0); PLACES as usize];
            for (place, fingerprint, reference) in writes {
                open(&mut mapping, 8);
                set_place(&mut mapping, 8, place, fingerprint, reference);
                close(&mut mapping, 8);
                model[place as usize] = (fingerprint, reference);
            }
            let line: Line = mapping.load_line(8);
            let found = matches(line[0], line[1], wanted);
            for (place, (fingerprint, expected)) in (0..).zip(model) {
                prop_assert_eq!(line_fingerprint(&line, place), fingerprint);
                prop_assert_eq!(line_reference(&line, place), expected);
                prop_assert_eq!(owner_reference(&mapping, 8, place), expected);
                prop_assert_eq!(found >> place & 1 == 1, fingerprint == wanted);
            }
            prop_assert_eq!(found >> PLACES, 0);
            prop_assert_eq!((mapping.load(7), mapping.load(16)), (u64::MAX, u64::MAX));
        }
    }
}
