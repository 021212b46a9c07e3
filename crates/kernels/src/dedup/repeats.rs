//! Runs of bytes that stand in a text a second time.
//!
//! All windows of a length are hashed. A filter of two bits a slot leaves those whose slot was met twice; their hashes
//! are sorted, and all but the first of equal ones are repeats. What is remembered of a text is so little that any
//! number of texts can be looked at in parts, one part of the hashes after the other.

use xxhash_rust::xxh3::xxh3_64;

use crate::dedup::mix;
use crate::error::{KernelError, Result};

/// The least and the largest length of a repeat in bytes.
pub const LENGTH_MIN: usize = 8;
pub const LENGTH_MAX: usize = 1 << 16;

/// The most slots of a filter: half a gigabyte.
const SLOTS_MAX: usize = 1 << 31;
const SLOTS_A_WORD: usize = 32;

/// The odd base of the rolling hash.
const BASE: u64 = 0x9e37_79b9_7f4a_7c15;

/// A window whose slot was met twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Window {
    rolling: u64,
    /// A second hash, of another family: 128 bits in all.
    check: u64,
    at: u64,
}

/// A finder of repeats among the windows of one part of the hashes.
///
/// Every text is given to `observe` and then, in the same order, to `collect`.
#[derive(Clone, Debug)]
pub struct Repeats {
    length: usize,
    part: u64,
    parts: u64,
    entering: [u64; 256],
    leaving: [u64; 256],
    filter: Vec<u64>,
    windows: Vec<Window>,
}

impl Repeats {
    /// A finder of repeats of at least `length` bytes in about `bytes` bytes of text.
    pub fn new(length: usize, bytes: u64, part: u32, parts: u32) -> Result<Self> {
        if !(LENGTH_MIN..=LENGTH_MAX).contains(&length) {
            return Err(KernelError::Parameter("a repeat has 8 to 65536 bytes"));
        }
        if part >= parts {
            return Err(KernelError::Parameter(
                "the part is below the number of parts",
            ));
        }
        let power = (0..length).fold(1_u64, |power, _| power.wrapping_mul(BASE));
        let entering: [u64; 256] = std::array::from_fn(|byte| mix(byte as u64 + 1));
        let slots = usize::try_from(bytes / u64::from(parts) * 8)
            .unwrap_or(SLOTS_MAX)
            .clamp(1 << 10, SLOTS_MAX)
            .next_power_of_two();
        Ok(Self {
            length,
            part: u64::from(part),
            parts: u64::from(parts),
            entering,
            leaving: entering.map(|unit| unit.wrapping_mul(power)),
            filter: vec![0; slots / SLOTS_A_WORD],
            windows: Vec::new(),
        })
    }

    /// Remembers the windows of a text.
    pub fn observe(&mut self, text: &[u8]) {
        let mut filter = std::mem::take(&mut self.filter);
        let mask = filter.len() - 1;
        self.each(text, |_, hash| {
            let (word, bit) = place(hash, mask);
            let met = filter[word] >> bit & 1;
            filter[word] |= 1 << bit | met << (bit + 1);
        });
        self.filter = filter;
    }

    /// Collects the windows of a text that were met twice. Its first byte is at position `base` of all texts.
    pub fn collect(&mut self, text: &[u8], base: u64) {
        let mut windows = std::mem::take(&mut self.windows);
        let mask = self.filter.len() - 1;
        self.each(text, |index, rolling| {
            let (word, bit) = place(rolling, mask);
            if self.filter[word] >> (bit + 1) & 1 == 1 {
                windows.push(Window {
                    rolling,
                    check: xxh3_64(&text[index..index + self.length]),
                    at: base + index as u64,
                });
            }
        });
        self.windows = windows;
    }

    /// The bytes that are held.
    pub fn held(&self) -> usize {
        size_of_val(self.filter.as_slice()) + self.windows.capacity() * size_of::<Window>()
    }

    /// The ranges of bytes that stand at an earlier position, too, in order and apart from each other. The first of
    /// equal windows stays whole where the next ones overlap it.
    pub fn finish(mut self) -> Vec<(u64, u64)> {
        self.windows.sort_unstable();
        let length = self.length as u64;
        let mut ranges = Vec::new();
        let alike = |left: &Window, right: &Window| {
            left.rolling == right.rolling && left.check == right.check
        };
        for run in self.windows.chunk_by(alike) {
            let kept = run[0].at + length;
            ranges.extend(
                run[1..]
                    .iter()
                    .map(|window| (window.at.max(kept), window.at + length))
                    .filter(|(start, end)| start < end),
            );
        }
        self.windows = Vec::new();
        joined(ranges)
    }

    fn each(&self, text: &[u8], mut take: impl FnMut(usize, u64)) {
        if text.len() < self.length {
            return;
        }
        let mut hash = 0_u64;
        for &byte in &text[..self.length] {
            hash = hash
                .wrapping_mul(BASE)
                .wrapping_add(self.entering[usize::from(byte)]);
        }
        let mut offer = |index: usize, hash: u64| {
            let mixed = mix(hash);
            if (mixed >> 32).wrapping_mul(self.parts) >> 32 == self.part {
                take(index, mixed);
            }
        };
        offer(0, hash);
        for (index, (&gone, &come)) in text.iter().zip(&text[self.length..]).enumerate() {
            hash = hash
                .wrapping_mul(BASE)
                .wrapping_add(self.entering[usize::from(come)])
                .wrapping_sub(self.leaving[usize::from(gone)]);
            offer(index + 1, hash);
        }
    }
}

/// The word and the bit of a hash in a filter. The upper half of the hash chooses its part.
fn place(hash: u64, mask: usize) -> (usize, u32) {
    let slot = mix(hash);
    #[allow(clippy::cast_possible_truncation)]
    let (word, bit) = ((slot >> 5) as usize & mask, (slot & 31) as u32 * 2);
    (word, bit)
}

/// Ranges in order, those that touch joined.
pub fn joined(mut ranges: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    ranges.sort_unstable();
    let mut found: Vec<(u64, u64)> = Vec::new();
    for (start, end) in ranges {
        match found.last_mut() {
            Some(last) if start <= last.1 => last.1 = last.1.max(end),
            _ => found.push((start, end)),
        }
    }
    found
}

/// Borders at which a text may be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Border {
    /// Between two characters.
    Character,
    /// After white space.
    Word,
    /// After a line feed.
    Line,
}

impl Border {
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "character" => Some(Self::Character),
            "word" => Some(Self::Word),
            "line" => Some(Self::Line),
            _ => None,
        }
    }

    fn stands(self, text: &[u8], at: usize) -> bool {
        if at == 0 || at >= text.len() {
            return true;
        }
        match self {
            // The first byte of a character of UTF-8 is no continuation.
            Self::Character => text[at] & 0xc0 != 0x80,
            Self::Word => text[at - 1].is_ascii_whitespace(),
            Self::Line => text[at - 1] == b'\n',
        }
    }

    /// The largest range within one that begins and ends at borders; None where there is none.
    pub fn within(self, text: &[u8], start: usize, end: usize) -> Option<(usize, usize)> {
        let start = (start..end).find(|&at| self.stands(text, at))?;
        let end = (start + 1..=end).rev().find(|&at| self.stands(text, at))?;
        Some((start, end))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(texts: &[&[u8]], length: usize, parts: u32) -> Vec<(u64, u64)> {
        let mut all = Vec::new();
        for part in 0..parts {
            let bytes = texts.iter().map(|text| text.len() as u64).sum();
            let mut finder = Repeats::new(length, bytes, part, parts).expect("valid parameters");
            texts.iter().for_each(|text| finder.observe(text));
            let mut base = 0;
            for text in texts {
                finder.collect(text, base);
                base += text.len() as u64;
            }
            all.extend(finder.finish());
        }
        joined(all)
    }

    /// The definition: every window that stands at an earlier position, byte by byte.
    fn by_definition(texts: &[&[u8]], length: usize) -> Vec<(u64, u64)> {
        let mut windows: Vec<(&[u8], u64)> = Vec::new();
        let (mut base, mut ranges) = (0, Vec::new());
        for text in texts {
            for (index, window) in text.windows(length).enumerate() {
                let at = base + index as u64;
                match windows.iter().find(|(other, _)| *other == window) {
                    Some(&(_, first)) => {
                        ranges.push((at.max(first + length as u64), at + length as u64));
                    }
                    None => windows.push((window, at)),
                }
            }
            base += text.len() as u64;
        }
        ranges.retain(|(start, end)| start < end);
        joined(ranges)
    }

    #[test]
    fn the_second_of_equal_runs_is_found() {
        let texts: [&[u8]; 3] = [b"see 0123456789ab", b"and 0123456789", b"or 01234567 no"];
        assert_eq!(found(&texts, 10, 1), [(19, 30)]);
        assert_eq!(found(&texts, 8, 3), [(19, 30), (32, 41)]);
        assert_eq!(found(&texts, 12, 1), []);
    }

    #[test]
    fn the_first_of_a_run_that_repeats_itself_stays_whole() {
        assert_eq!(found(&[&[b'a'; 100]], 10, 1), [(10, 100)]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert!(Repeats::new(7, 1, 0, 1).is_err());
        assert!(Repeats::new(LENGTH_MAX + 1, 1, 0, 1).is_err());
        assert!(Repeats::new(8, 1, 1, 1).is_err());
    }

    #[test]
    fn a_cut_is_moved_to_borders() {
        let text = "ab ÄÖ cd\nefg\nh".as_bytes();
        assert_eq!(Border::Character.within(text, 4, 6), None);
        assert_eq!(Border::Character.within(text, 4, 7), Some((5, 7)));
        assert_eq!(Border::Character.within(text, 3, 6), Some((3, 5)));
        assert_eq!(Border::Word.within(text, 1, 9), Some((3, 8)));
        assert_eq!(Border::Line.within(text, 1, 15), Some((11, 15)));
        assert_eq!(Border::Line.within(text, 1, 14), None);
        assert_eq!(Border::Line.within(text, 1, 5), None);
    }

    proptest! {
        #[test]
        fn what_is_found_is_what_the_definition_says(
            texts in prop::collection::vec(prop::collection::vec(0_u8..3, 0..60), 0..8),
            length in 8_usize..12,
            parts in 1_u32..4,
        ) {
            let texts: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(found(&texts, length, parts), by_definition(&texts, length));
        }

        #[test]
        fn a_cut_at_borders_lies_within_and_leaves_whole_characters(text in "[aÄ語 \n]{0,30}", start in 0_usize..40, more in 0_usize..40) {
            let bytes = text.as_bytes();
            let start = start.min(bytes.len());
            let end = (start + more).min(bytes.len());
            for border in [Border::Character, Border::Word, Border::Line] {
                if let Some((first, last)) = border.within(bytes, start, end) {
                    prop_assert!(start <= first && first < last && last <= end);
                    prop_assert!(text.is_char_boundary(first) && text.is_char_boundary(last));
                }
            }
        }
    }
}
