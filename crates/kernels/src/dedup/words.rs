//! Words of text, as hashes.

use xxhash_rust::xxh3::xxh3_64;

use crate::dedup::ascii::{self, is_word};
use crate::dedup::text::ascii_end;
use crate::simd::{Level, for_each_level};

/// Bytes of a word that is hashed at once.
const SHORT: usize = 16;
/// What the halves of a short word are mixed with: bytes that no text has, so that neither factor is zero.
const KEYS: [u64; 2] = [0xa076_1d64_78bd_642f, 0xe703_7ed1_a0b4_28db];
/// Bytes for each of which there is a bit in one value.
const BLOCK: usize = 64;
/// Values whose borders of words are gathered together.
const GROUP: usize = 16;
/// Borders that are written at once, whether there are so many or not.
const STEP: usize = 8;

/// Appends the hashes of the words of ASCII text. `bits` is a buffer.
pub fn ascii_words(level: Level, text: &[u8], bits: &mut Vec<u64>, units: &mut Vec<u64>) {
    ascii::word_bits(level, text, bits);
    hash_runs(level, text, bits, units);
}

/// Appends the hashes of the words of any text.
pub fn words(level: Level, text: &str, bits: &mut Vec<u64>, units: &mut Vec<u64>) {
    ascii::word_bits(level, text.as_bytes(), bits);
    if add_letters(text, bits) {
        hash_runs(level, text.as_bytes(), bits, units);
    } else {
        letter_by_letter(text, units);
    }
}

/// Sets the bits of letters and digits beyond ASCII. False where a letter is a word of its own, which bits do not say.
fn add_letters(text: &str, bits: &mut [u64]) -> bool {
    let mut at = 0;
    loop {
        let start = ascii_end(text.as_bytes(), at);
        let Some(letter) = text[start..].chars().next() else {
            return true;
        };
        at = start + letter.len_utf8();
        if stands_alone(letter) {
            return false;
        }
        if letter.is_alphanumeric() {
            for byte in start..at {
                bits[byte / BLOCK] |= 1 << (byte % BLOCK);
            }
        }
    }
}

for_each_level! {
    fn hash_runs(text: &[u8], bits: &[u64], units: &mut Vec<u64>) = hash_runs_body
}

#[inline(always)]
fn hash_runs_body(text: &[u8], bits: &[u64], units: &mut Vec<u64>) {
    // Starts and ends in turns.
    let mut borders = [0_usize; 1 + GROUP * BLOCK + STEP];
    let (mut filled, mut inside) = (0, 0);
    for (group, bits) in bits.chunks(GROUP).enumerate() {
        for (index, &bits) in bits.iter().enumerate() {
            let mut left = bits ^ (bits << 1 | inside);
            inside = bits >> (BLOCK - 1);
            let first = (group * GROUP + index) * BLOCK;
            let count = left.count_ones() as usize;
            // By steps of one length, since nobody can predict how many there are.
            for step in (0..count).step_by(STEP) {
                for border in &mut borders[filled + step..filled + step + STEP] {
                    *border = first + left.trailing_zeros() as usize;
                    left &= left.wrapping_sub(1);
                }
            }
            filled += count;
        }
        let (pairs, open) = borders[..filled].as_chunks::<2>();
        units.extend(pairs.iter().map(|&[start, end]| hash(text, start, end)));
        filled = open.len();
        if let &[start] = open {
            borders[0] = start;
        }
    }
    if filled == 1 {
        units.push(hash(text, borders[0], text.len()));
    }
}

/// The hash of the word at a place of the text.
#[inline(always)]
fn hash(text: &[u8], start: usize, end: usize) -> u64 {
    let length = end - start;
    if length > SHORT {
        return xxh3_64(&text[start..end]);
    }
    let bytes = text[start..].first_chunk().copied().unwrap_or_else(|| {
        let mut filled = [0; SHORT];
        filled[..length].copy_from_slice(&text[start..end]);
        filled
    });
    let bytes = u128::from_le_bytes(bytes) & (u128::MAX >> (128 - 8 * length));
    #[allow(clippy::cast_possible_truncation)]
    let halves = [bytes as u64, (bytes >> 64) as u64];
    let product = u128::from(halves[0] ^ KEYS[0]) * u128::from(halves[1] ^ KEYS[1]);
    #[allow(clippy::cast_possible_truncation)]
    let folded = product as u64 ^ (product >> 64) as u64;
    folded
}

fn letter_by_letter(text: &str, units: &mut Vec<u64>) {
    let bytes = text.as_bytes();
    let mut start = None;
    for (at, letter) in text.char_indices() {
        let alone = stands_alone(letter);
        if !alone && belongs(letter) {
            start.get_or_insert(at);
            continue;
        }
        if let Some(first) = start.take() {
            units.push(hash(bytes, first, at));
        }
        if alone {
            units.push(hash(bytes, at, at + letter.len_utf8()));
        }
    }
    if let Some(first) = start {
        units.push(hash(bytes, first, bytes.len()));
    }
}

fn belongs(letter: char) -> bool {
    u8::try_from(letter).map_or(letter.is_alphanumeric(), |byte| {
        is_word(byte) || (!byte.is_ascii() && letter.is_alphanumeric())
    })
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
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn found(level: Level, text: &str) -> Vec<u64> {
        let (mut bits, mut units) = (Vec::new(), Vec::new());
        words(level, text, &mut bits, &mut units);
        units
    }

    fn slowly(text: &str) -> Vec<u64> {
        let mut units = Vec::new();
        letter_by_letter(text, &mut units);
        units
    }

    #[test]
    fn a_word_has_one_hash_wherever_it_stands() {
        let long = "a_word_of_many_letters_and_more";
        for length in 1..=long.len() {
            let word = &long[..length];
            let alone = found(Level::best(), word);
            assert_eq!(alone.len(), 1);
            for text in [format!("- {word}"), format!("{word} {}", "x".repeat(40))] {
                assert_eq!(found(Level::best(), &text)[0], alone[0], "{word}");
            }
        }
    }

    #[test]
    fn words_that_differ_have_other_hashes() {
        let mut seen = HashMap::new();
        for number in 0..200_000_u64 {
            for word in [format!("{number}"), format!("w{number:017}")] {
                let other = seen.insert(slowly(&word)[0], word.clone());
                assert_eq!(other, None, "{word}");
            }
        }
    }

    #[test]
    fn scripts_without_spaces_have_a_word_for_each_character() {
        assert_eq!(found(Level::best(), "我爱北京天安门").len(), 7);
        assert_eq!(found(Level::best(), "Python语言 rocks").len(), 4);
        assert_eq!(found(Level::best(), "naïve Straße — 10 €").len(), 3);
    }

    proptest! {
        #[test]
        fn all_ways_find_the_same_words(text in "([a-c_0 .;]{0,80}\\PC{0,2}[ä语—]?){0,30}", plain in "[\\x00-\\x7f]{0,3000}") {
            for level in Level::available() {
                prop_assert_eq!(found(level, &text), slowly(&text), "{}", level.name());
                let (mut bits, mut units) = (vec![1], Vec::new());
                ascii_words(level, plain.as_bytes(), &mut bits, &mut units);
                prop_assert_eq!(units, slowly(&plain), "{}", level.name());
            }
        }
    }
}
