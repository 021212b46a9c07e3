//! Shingles: hashes of all runs of n units of a text.

use xxhash_rust::xxh3::xxh3_64;

use crate::dedup::mix;
use crate::dedup::text::characters;
use crate::error::{KernelError, Result};

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

/// A maker of shingles, with buffers that are used again.
#[derive(Clone, Debug)]
pub struct Shingler {
    unit: Unit,
    size: usize,
    /// The factor with which a unit leaves the window: `BASE` to the power of the size.
    leaving: u64,
    units: Vec<u64>,
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
            units: Vec::new(),
        })
    }

    /// Appends the shingles of a text, with their repeats.
    ///
    /// A text of fewer units than a shingle has one, of all its units; one without units has none.
    pub fn append(&mut self, text: &[u8], out: &mut Vec<u32>) {
        self.read(text);
        out.reserve(self.units.len());
        self.roll(|hash| out.push(shingle(hash)));
    }

    /// Appends the shingles of a text as hashes of 64 bits, of which even very many hardly ever collide.
    pub fn append_wide(&mut self, text: &[u8], out: &mut Vec<u64>) {
        self.read(text);
        self.roll(|hash| out.push(mix(hash)));
    }

    fn read(&mut self, text: &[u8]) {
        self.units.clear();
        match self.unit {
            Unit::Words if text.is_ascii() => ascii_words(text, &mut self.units),
            Unit::Words => words(&characters(text), &mut self.units),
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

    #[inline]
    fn roll(&self, mut take: impl FnMut(u64)) {
        let first = self.units.len().min(self.size);
        if first == 0 {
            return;
        }
        let mut hash = self.units[..first].iter().fold(0_u64, |hash, &unit| {
            hash.wrapping_mul(BASE).wrapping_add(unit)
        });
        take(hash);
        for (&gone, &come) in self.units.iter().zip(&self.units[first..]) {
            hash = hash
                .wrapping_mul(BASE)
                .wrapping_add(come)
                .wrapping_sub(gone.wrapping_mul(self.leaving));
            take(hash);
        }
    }
}

/// The upper half of the mixed hash. Sets of millions of shingles lose one in thousands to equal hashes.
#[allow(clippy::cast_possible_truncation)]
fn shingle(hash: u64) -> u32 {
    (mix(hash) >> 32) as u32
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() | (byte == b'_')
}

/// Hashes of the words of ASCII text. Borders of words are found 64 bytes at a time.
fn ascii_words(text: &[u8], units: &mut Vec<u64>) {
    let mut start = 0;
    let mut inside = 0_u64;
    for (index, block) in text.chunks(64).enumerate() {
        let bits = word_bits(block);
        let mut borders = bits ^ ((bits << 1) | inside);
        inside = bits >> 63;
        while borders != 0 {
            let bit = borders.trailing_zeros();
            let at = index * 64 + bit as usize;
            if bits >> bit & 1 == 1 {
                start = at;
            } else {
                units.push(xxh3_64(&text[start..at]));
            }
            borders &= borders - 1;
        }
    }
    if inside == 1 {
        units.push(xxh3_64(&text[start..]));
    }
}

/// A bit for each byte that belongs to a word.
fn word_bits(block: &[u8]) -> u64 {
    let mut flags = [0_u8; 64];
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

fn words(text: &str, units: &mut Vec<u64>) {
    let mut start = None;
    for (at, letter) in text.char_indices() {
        let alone = stands_alone(letter);
        if !alone && (letter.is_alphanumeric() || letter == '_') {
            start.get_or_insert(at);
            continue;
        }
        if let Some(first) = start.take() {
            units.push(xxh3_64(&text.as_bytes()[first..at]));
        }
        if alone {
            units.push(xxh3_64(&text.as_bytes()[at..at + letter.len_utf8()]));
        }
    }
    if let Some(first) = start {
        units.push(xxh3_64(&text.as_bytes()[first..]));
    }
}

/// True for letters of scripts that put no spaces between words: Thai, Lao, Tibetan, Burmese, Khmer, kana, Han.
fn stands_alone(letter: char) -> bool {
    matches!(letter,
        '\u{0e01}'..='\u{0e30}' | '\u{0e40}'..='\u{0e46}' | '\u{0e81}'..='\u{0eb0}' | '\u{0ec0}'..='\u{0ec6}'
        | '\u{0f40}'..='\u{0f6c}' | '\u{1000}'..='\u{102a}' | '\u{1780}'..='\u{17b3}'
        | '\u{3041}'..='\u{3096}' | '\u{30a1}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}')
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
    fn scripts_without_spaces_have_a_word_for_each_character() {
        assert_eq!(shingles(Unit::Words, 1, "我爱北京天安门").len(), 7);
        assert_eq!(shingles(Unit::Words, 1, "Python语言 rocks").len(), 4);
        assert_eq!(shingles(Unit::Words, 1, "naïve Straße").len(), 2);
    }

    #[test]
    fn a_size_out_of_range_is_refused() {
        assert!(Shingler::new(Unit::Words, 0).is_err());
        assert!(Shingler::new(Unit::Words, SIZE_MAX + 1).is_err());
    }

    proptest! {
        #[test]
        fn words_of_ascii_are_the_words_of_any_text(text in "[\\x00-\\x7f]{0,200}") {
            let (mut quick, mut general) = (Vec::new(), Vec::new());
            ascii_words(text.as_bytes(), &mut quick);
            words(&text, &mut general);
            prop_assert_eq!(quick, general);
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
