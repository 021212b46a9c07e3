//! Shingles: hashes of all runs of n units of a text.

use crate::dedup::mix;
use crate::dedup::text::characters;
use crate::dedup::words::{ascii_words, words};
use crate::error::{KernelError, Result};
use crate::simd::{Level, for_each_level};

/// A unit of which shingles are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Runs of letters, digits and `_`. In scripts without spaces between words every character is one.
    Words,
    Characters,
    Bytes,
    /// Four bytes: the number of a token.
    Tokens,
}

impl Unit {
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "words" => Some(Self::Words),
            "characters" => Some(Self::Characters),
            "bytes" => Some(Self::Bytes),
            "tokens" => Some(Self::Tokens),
            _ => None,
        }
    }
}

/// The largest number of units of a shingle.
pub const SIZE_MAX: usize = 1024;

/// The odd base of the rolling hash.
const BASE: u64 = 0x9e37_79b9_7f4a_7c15;
/// Parts of a text that roll beside each other: each step waits for the one before.
const PARTS: usize = 4;

/// A maker of shingles, with buffers that are used again.
#[derive(Clone, Debug)]
pub struct Shingler {
    unit: Unit,
    size: usize,
    /// The factor with which a unit leaves the window: `BASE` to the power of the size.
    leaving: u64,
    level: Level,
    units: Vec<u64>,
    hashes: Vec<u64>,
    bits: Vec<u64>,
}

impl Shingler {
    pub fn new(unit: Unit, size: usize) -> Result<Self> {
        if size == 0 || size > SIZE_MAX {
            return Err(KernelError::Parameter("a shingle has 1 to 1024 units"));
        }
        let leaving = (0..size).fold(1_u64, |power, _| power.wrapping_mul(BASE));
        Ok(Self {
            unit,
            size,
            leaving,
            level: Level::best(),
            units: Vec::new(),
            hashes: Vec::new(),
            bits: Vec::new(),
        })
    }

    /// Appends the shingles of a text, with their repeats.
    ///
    /// A text of fewer units than a shingle has one, of all its units; one without units has none.
    pub fn append(&mut self, text: &[u8], out: &mut Vec<u32>) {
        self.read(text);
        self.roll();
        narrow(self.level, &self.hashes, out);
    }

    /// Appends the shingles of a text as hashes of 64 bits, of which even very many hardly ever collide.
    pub fn append_wide(&mut self, text: &[u8], out: &mut Vec<u64>) {
        self.read(text);
        self.roll();
        out.extend(self.hashes.iter().map(|&hash| mix(hash)));
    }

    fn read(&mut self, text: &[u8]) {
        self.units.clear();
        match self.unit {
            Unit::Words if text.is_ascii() => {
                ascii_words(self.level, text, &mut self.bits, &mut self.units);
            }
            Unit::Words => words(
                self.level,
                &characters(text),
                &mut self.bits,
                &mut self.units,
            ),
            Unit::Characters => {
                let text = characters(text);
                self.units
                    .extend(text.chars().map(|unit| mix(u64::from(u32::from(unit)) + 1)));
            }
            Unit::Bytes => self
                .units
                .extend(text.iter().map(|&unit| mix(u64::from(unit) + 1))),
            Unit::Tokens => self.units.extend(
                text.as_chunks::<4>()
                    .0
                    .iter()
                    .map(|&unit| mix(u64::from(u32::from_le_bytes(unit)) + 1)),
            ),
        }
    }

    /// Puts the hashes of all windows of units into `hashes`.
    fn roll(&mut self) {
        let first = self.units.len().min(self.size);
        let windows = if first == 0 {
            0
        } else {
            self.units.len() - first + 1
        };
        self.hashes.resize(windows, 0);
        let part = windows / PARTS;
        if part == 0 {
            self.roll_part(0, windows);
            return;
        }
        let mut hashes: [u64; PARTS] =
            std::array::from_fn(|index| self.window(index * part, first));
        for at in 0..part {
            for (index, hash) in hashes.iter_mut().enumerate() {
                let at = index * part + at;
                self.hashes[at] = *hash;
                if let Some(&come) = self.units.get(at + first) {
                    *hash = self.moved(*hash, self.units[at], come);
                }
            }
        }
        self.roll_part(PARTS * part, windows);
    }

    /// The same for some of the windows.
    fn roll_part(&mut self, start: usize, end: usize) {
        if start == end {
            return;
        }
        let first = self.units.len().min(self.size);
        let mut hash = self.window(start, first);
        self.hashes[start] = hash;
        for at in start + 1..end {
            hash = self.moved(hash, self.units[at - 1], self.units[at + first - 1]);
            self.hashes[at] = hash;
        }
    }

    fn window(&self, start: usize, units: usize) -> u64 {
        let window = &self.units[start..start + units];
        window.iter().fold(0, |hash: u64, &unit| {
            hash.wrapping_mul(BASE).wrapping_add(unit)
        })
    }

    /// The hash of a window that is moved by one unit.
    #[inline]
    fn moved(&self, hash: u64, gone: u64, come: u64) -> u64 {
        let change = come.wrapping_sub(gone.wrapping_mul(self.leaving));
        hash.wrapping_mul(BASE).wrapping_add(change)
    }
}

for_each_level! {
    /// Appends the upper halves of the mixed hashes. Sets of millions of shingles lose one in thousands to equal hashes.
    fn narrow(hashes: &[u64], out: &mut Vec<u32>) = narrow_body
}

#[allow(clippy::cast_possible_truncation)]
#[inline(always)]
fn narrow_body(hashes: &[u64], out: &mut Vec<u32>) {
    out.extend(hashes.iter().map(|&hash| (mix(hash) >> 32) as u32));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shingles(unit: Unit, size: usize, text: &str) -> Vec<u32> {
        let mut out = Vec::new();
        Shingler::new(unit, size)
            .expect("a valid size")
            .append(text.as_bytes(), &mut out);
        out
    }

    #[test]
    fn a_window_hashes_to_the_same_wherever_it_is() {
        let long = shingles(Unit::Words, 3, "a b c d e a b c");
        assert_eq!(long.len(), 6);
        assert_eq!(long[0], long[5]);
        assert_eq!(shingles(Unit::Words, 3, "b, c; (d)"), [long[1]]);
        assert_ne!(shingles(Unit::Words, 3, "d c b"), [long[1]]);
    }

    #[test]
    fn short_texts_have_one_shingle_and_empty_ones_none() {
        assert_eq!(shingles(Unit::Words, 5, "one two").len(), 1);
        assert_eq!(shingles(Unit::Words, 5, " ,;. ").len(), 0);
        assert_eq!(shingles(Unit::Characters, 5, "").len(), 0);
        assert_eq!(shingles(Unit::Bytes, 2, "äb").len(), 2);
        assert_eq!(shingles(Unit::Characters, 2, "äb").len(), 1);
        assert_eq!(shingles(Unit::Tokens, 2, "aaaabbbbaaaabbbb").len(), 3);
    }

    #[test]
    fn a_size_out_of_range_is_refused() {
        assert!(Shingler::new(Unit::Words, 0).is_err());
        assert!(Shingler::new(Unit::Words, SIZE_MAX + 1).is_err());
    }

    proptest! {
        #[test]
        fn windows_hash_as_texts_of_their_own(units in prop::collection::vec(0_u32..50, 1..70), size in 1_usize..9) {
            let bytes = |units: &[u32]| units.iter().flat_map(|unit| unit.to_le_bytes()).collect::<Vec<u8>>();
            let mut shingler = Shingler::new(Unit::Tokens, size).expect("a valid size");
            let (mut all, mut one) = (Vec::new(), Vec::new());
            shingler.append(&bytes(&units), &mut all);
            for window in units.windows(size.min(units.len())) {
                shingler.append(&bytes(window), &mut one);
            }
            prop_assert_eq!(all, one);
        }

        #[test]
        fn any_bytes_are_taken(text in prop::collection::vec(any::<u8>(), 0..200), size in 1_usize..9) {
            for unit in [Unit::Words, Unit::Characters, Unit::Bytes, Unit::Tokens] {
                let mut out = Vec::new();
                Shingler::new(unit, size).expect("a valid size").append(&text, &mut out);
                prop_assert!(out.len() <= text.len().max(1));
            }
        }
    }
}
