//! Bits of byte strings: bit 0 is the highest of the first byte.

use std::ops::Range;

/// Bytes that a field of up to 64 bits may touch.
pub const WINDOW_BYTES: usize = 9;

/// The first eight bytes as a number.
fn word(bytes: &[u8]) -> u64 {
    bytes
        .first_chunk()
        .map_or(0, |word| u64::from_be_bytes(*word))
}

/// The number of bits that are set.
pub fn count(bytes: &[u8]) -> u64 {
    let words = bytes.chunks_exact(8);
    let rest = words
        .remainder()
        .iter()
        .map(|byte| u64::from(byte.count_ones()));
    let words = words.map(|chunk| u64::from(word(chunk).count_ones()));
    words.sum::<u64>() + rest.sum::<u64>()
}

/// The number of set bits in a range of bits, which lies inside.
pub fn count_in(bytes: &[u8], bits: Range<u64>) -> u64 {
    let (first, last) = match edges(&bits) {
        None => return 0,
        Some(edges) => edges,
    };
    let inside = &bytes[first.at..=last.at];
    let outside = bytes[first.at] & !first.mask;
    let behind = bytes[last.at] & !last.mask;
    count(inside) - u64::from(outside.count_ones()) - u64::from(behind.count_ones())
}

/// A byte at the end of a range of bits, and those of its bits that lie inside, as far as this end says it.
struct Edge {
    at: usize,
    mask: u8,
}

/// The bytes at both ends of a range of bits; `None` where it is empty.
fn edges(bits: &Range<u64>) -> Option<(Edge, Edge)> {
    if bits.is_empty() {
        return None;
    }
    let last = bits.end - 1;
    let first = Edge {
        at: (bits.start / 8) as usize,
        mask: u8::MAX >> (bits.start % 8),
    };
    let last = Edge {
        at: (last / 8) as usize,
        mask: u8::MAX << (7 - last % 8),
    };
    Some((first, last))
}

/// The place of the first bit of this value in a range of bits, which lies inside.
pub fn find_in(bytes: &[u8], bits: Range<u64>, wanted: bool) -> Option<u64> {
    let (first, last) = edges(&bits)?;
    let flip = if wanted { 0 } else { u8::MAX };
    let place = |at: usize, byte: u8| at as u64 * 8 + u64::from(byte.leading_zeros());
    let mut at_first = (bytes[first.at] ^ flip) & first.mask;
    if first.at == last.at {
        at_first &= last.mask;
    }
    if at_first != 0 {
        return Some(place(first.at, at_first));
    }
    if first.at == last.at {
        return None;
    }
    let between = &bytes[first.at + 1..last.at];
    if let Some(found) = find_byte(between, flip) {
        let at = first.at + 1 + found;
        return Some(place(at, bytes[at] ^ flip));
    }
    let at_last = (bytes[last.at] ^ flip) & last.mask;
    (at_last != 0).then(|| place(last.at, at_last))
}

/// The place of the first byte that is another than this.
fn find_byte(bytes: &[u8], skipped: u8) -> Option<usize> {
    let all = u64::from_be_bytes([skipped; 8]);
    let mut words = bytes.chunks_exact(8);
    let in_words = words.position(|chunk| word(chunk) != all);
    let start = in_words.unwrap_or(bytes.len() / 8) * 8;
    let found = bytes[start..].iter().position(|byte| *byte != skipped)?;
    Some(start + found)
}

/// An operation on whole strings, of which shorter ones have zeros behind their end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    And,
    Or,
    Xor,
    Not,
}

impl Operation {
    pub fn named(name: &[u8]) -> Option<Self> {
        let named = [
            (&b"and"[..], Self::And),
            (b"or", Self::Or),
            (b"xor", Self::Xor),
            (b"not", Self::Not),
        ];
        let mut named = named.into_iter();
        named
            .find(|(known, _)| name.eq_ignore_ascii_case(known))
            .map(|(_, operation)| operation)
    }

    /// The result, as long as the longest source.
    pub fn combine(self, sources: &[&[u8]]) -> Vec<u8> {
        let len = sources.iter().map(|source| source.len()).max().unwrap_or(0);
        let mut sources = sources.iter();
        let mut result = sources.next().map_or_else(Vec::new, |first| first.to_vec());
        result.resize(len, 0);
        if self == Self::Not {
            result.iter_mut().for_each(|byte| *byte = !*byte);
        }
        for source in sources {
            let (both, alone) = result.split_at_mut(source.len());
            let pairs = both.iter_mut().zip(*source);
            match self {
                Self::And => {
                    pairs.for_each(|(byte, other)| *byte &= other);
                    alone.fill(0);
                }
                Self::Or => pairs.for_each(|(byte, other)| *byte |= other),
                Self::Xor => pairs.for_each(|(byte, other)| *byte ^= other),
                Self::Not => {}
            }
        }
        result
    }
}

fn all_of(window: &[u8; WINDOW_BYTES]) -> u128 {
    u128::from(word(window)) << 8 | u128::from(window[8])
}

/// The number that the bits of a window are, from one bit on.
pub fn read(window: &[u8; WINDOW_BYTES], start: u32, bits: u32) -> u64 {
    let shifted = all_of(window) >> (72 - start - bits);
    shifted as u64 & mask(bits)
}

/// Puts a number into the bits of a window, from one bit on.
pub fn write(window: &mut [u8; WINDOW_BYTES], start: u32, bits: u32, number: u64) {
    let shift = 72 - start - bits;
    let cleared = all_of(window) & !(u128::from(mask(bits)) << shift);
    let written = cleared | u128::from(number & mask(bits)) << shift;
    window.copy_from_slice(&written.to_be_bytes()[16 - WINDOW_BYTES..]);
}

fn mask(bits: u32) -> u64 {
    u64::MAX >> (64 - bits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bit(bytes: &[u8], at: u64) -> bool {
        bytes[(at / 8) as usize] >> (7 - at % 8) & 1 == 1
    }

    fn bytes_and_range() -> impl Strategy<Value = (Vec<u8>, Range<u64>)> {
        let byte = prop_oneof![Just(0), Just(u8::MAX), any::<u8>()];
        prop::collection::vec(byte, 1..60).prop_flat_map(|bytes| {
            let bits = bytes.len() as u64 * 8;
            (Just(bytes), 0..=bits, 0..=bits).prop_map(|(bytes, a, b)| (bytes, a.min(b)..a.max(b)))
        })
    }

    proptest! {
        #[test]
        fn a_range_is_counted_bit_by_bit((bytes, bits) in bytes_and_range()) {
            let expected = bits.clone().filter(|at| bit(&bytes, *at)).count() as u64;
            prop_assert_eq!(count_in(&bytes, bits), expected);
        }

        #[test]
        fn the_first_bit_is_found((bytes, bits) in bytes_and_range(), wanted: bool) {
            let expected = bits.clone().find(|at| bit(&bytes, *at) == wanted);
            prop_assert_eq!(find_in(&bytes, bits, wanted), expected);
        }

        #[test]
        fn strings_are_combined_byte_by_byte(a: Vec<u8>, b: Vec<u8>, c: Vec<u8>) {
            let sources = [&a[..], &b, &c];
            let len = sources.iter().map(|source| source.len()).max().unwrap_or(0);
            let at = |source: &[u8], at: usize| source.get(at).copied().unwrap_or(0);
            for (operation, both) in [
                (Operation::And, (|a, b| a & b) as fn(u8, u8) -> u8),
                (Operation::Or, |a, b| a | b),
                (Operation::Xor, |a, b| a ^ b),
            ] {
                let expected: Vec<u8> = (0..len)
                    .map(|place| both(both(at(&a, place), at(&b, place)), at(&c, place)))
                    .collect();
                prop_assert_eq!(operation.combine(&sources), expected);
            }
            let not: Vec<u8> = a.iter().map(|byte| !byte).collect();
            prop_assert_eq!(Operation::Not.combine(&[&a]), not);
        }

        #[test]
        fn a_field_is_read_as_it_was_written(
            before: [u8; WINDOW_BYTES], start in 0_u32..8, bits in 1_u32..=64, number: u64,
        ) {
            let mut window = before;
            write(&mut window, start, bits, number);
            prop_assert_eq!(read(&window, start, bits), number & mask(bits));
            for at in (0..72).filter(|at| !(start..start + bits).contains(at)) {
                prop_assert_eq!(bit(&window, at.into()), bit(&before, at.into()));
            }
        }
    }
}
