//! Texts that share a run of units with given ones, such as the questions of a benchmark.

use crate::dedup::shingles::Shingler;
use crate::dedup::text::{Form, normalize};
use crate::simd::Level;

/// Bits of the filter for each n-gram, at least.
const FILTER_BITS: usize = 16;

/// Appends the n-grams of a text, as hashes of 64 bits.
pub fn ngrams(form: Form, shingler: &mut Shingler, text: &[u8], out: &mut Vec<u64>) {
    let mut normal = Vec::new();
    normalize(Level::best(), form, text, &mut normal);
    shingler.append_wide(&normal, out);
}

/// A set of n-grams.
#[derive(Clone, Debug)]
pub struct Ngrams {
    /// In order.
    grams: Vec<u64>,
    /// A bit for each n-gram: nearly all that are not there end here.
    filter: Vec<u64>,
}

impl Ngrams {
    /// The set of n-grams, which may repeat.
    pub fn new(mut grams: Vec<u64>) -> Self {
        grams.sort_unstable();
        grams.dedup();
        let words = (grams.len() * FILTER_BITS / 64).next_power_of_two();
        let mut filter = vec![0; words];
        for &gram in &grams {
            let (word, bit) = place(gram, words);
            filter[word] |= bit;
        }
        Self { grams, filter }
    }

    /// The number of different n-grams.
    pub fn len(&self) -> usize {
        self.grams.len()
    }

    pub fn is_empty(&self) -> bool {
        self.grams.is_empty()
    }

    /// The number of n-grams, with repeats, that are in the set.
    pub fn count(&self, grams: &[u64]) -> usize {
        grams.iter().filter(|&&gram| self.contains(gram)).count()
    }

    fn contains(&self, gram: u64) -> bool {
        let (word, bit) = place(gram, self.filter.len());
        self.filter[word] & bit != 0 && self.grams.binary_search(&gram).is_ok()
    }
}

/// The word and the bit of an n-gram in a filter of a power of two of words.
#[allow(clippy::cast_possible_truncation)]
fn place(gram: u64, words: usize) -> (usize, u64) {
    ((gram >> 6) as usize & (words - 1), 1 << (gram & 63))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dedup::shingles::Unit;

    fn of(text: &str) -> Vec<u64> {
        let mut shingler = Shingler::new(Unit::Words, 3).expect("a valid size");
        let mut out = Vec::new();
        ngrams(Form::Folded, &mut shingler, text.as_bytes(), &mut out);
        out
    }

    #[test]
    fn shared_runs_of_words_are_counted() {
        let set = Ngrams::new([of("one two three four"), of("ONE  two, three")].concat());
        assert_eq!(set.len(), 2);
        assert_eq!(set.count(&of("zero one two three four five")), 2);
        assert_eq!(set.count(&of("two one three")), 0);
        assert_eq!(set.count(&of("")), 0);
        let none = Ngrams::new(Vec::new());
        assert!(none.is_empty());
        assert_eq!(none.count(&of("one two three")), 0);
    }

    #[test]
    fn all_of_many_are_found_and_no_others() {
        let grams: Vec<u64> = (0..10_000).map(crate::dedup::mix).collect();
        let others: Vec<u64> = (10_000..20_000).map(crate::dedup::mix).collect();
        let set = Ngrams::new(grams.clone());
        assert_eq!((set.count(&grams), set.count(&others)), (10_000, 0));
    }
}
