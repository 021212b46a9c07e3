//! MinHash signatures: the least value of a set of shingles under each of many permutations.

use crate::dedup::mix;
use crate::simd::{Level, for_each_level};

/// Values that are worked out together, in registers.
const LANES: usize = 32;

/// A family of permutations `a * x + b` of 32 bits, `a` odd. Shingles are mixed well, which this family needs.
#[derive(Clone, Debug)]
pub struct MinHash {
    values: usize,
    factors: Vec<u32>,
    addends: Vec<u32>,
}

impl MinHash {
    /// A family of `values` permutations, drawn by a seed.
    #[allow(clippy::cast_possible_truncation)]
    pub fn new(values: usize, seed: u64) -> Self {
        let padded = values.next_multiple_of(LANES);
        let draws = (0..padded as u64).map(|index| mix(mix(seed).wrapping_add(mix(index + 1))));
        let (factors, addends) = draws
            .map(|draw| (draw as u32 | 1, (draw >> 32) as u32))
            .unzip();
        Self {
            values,
            factors,
            addends,
        }
    }

    /// Writes the signature of a set of shingles, in which repeats do not count.
    pub fn sign(&self, level: Level, shingles: &[u32], signature: &mut Vec<u32>) {
        signature.clear();
        signature.resize(self.factors.len(), u32::MAX);
        minima(level, shingles, &self.factors, &self.addends, signature);
        signature.truncate(self.values);
    }
}

for_each_level! {
    fn minima(shingles: &[u32], factors: &[u32], addends: &[u32], signature: &mut [u32]) = minima_body
}

#[inline(always)]
fn minima_body(shingles: &[u32], factors: &[u32], addends: &[u32], signature: &mut [u32]) {
    let (factors, _) = factors.as_chunks::<LANES>();
    let (addends, _) = addends.as_chunks::<LANES>();
    let (signature, _) = signature.as_chunks_mut::<LANES>();
    for ((factors, addends), least) in factors.iter().zip(addends).zip(signature) {
        let mut values = [u32::MAX; LANES];
        for &shingle in shingles {
            for lane in 0..LANES {
                let value = factors[lane]
                    .wrapping_mul(shingle)
                    .wrapping_add(addends[lane]);
                values[lane] = values[lane].min(value);
            }
        }
        *least = values;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sign(family: &MinHash, set: &[u32]) -> Vec<u32> {
        let mut signature = Vec::new();
        family.sign(Level::best(), set, &mut signature);
        signature
    }

    /// Two random sets with `common` shingles in both and `own` in each one only.
    fn pair(draw: u64, common: u64, own: u64) -> (Vec<u32>, Vec<u32>) {
        #[allow(clippy::cast_possible_truncation)]
        let shingle = |index: u64| mix(mix(draw).wrapping_add(index)) as u32;
        let left = (0..common + own).map(shingle).collect();
        let right = (0..common)
            .chain(common + own..common + 2 * own)
            .map(shingle)
            .collect();
        (left, right)
    }

    #[test]
    fn all_levels_sign_alike() {
        let family = MinHash::new(77, 1);
        let (set, _) = pair(5, 300, 0);
        for level in Level::available() {
            let mut signature = Vec::new();
            family.sign(level, &set, &mut signature);
            assert_eq!(signature.len(), 77);
            assert_eq!(signature, sign(&family, &set), "{}", level.name());
        }
    }

    #[test]
    fn order_and_repeats_of_shingles_do_not_count() {
        let family = MinHash::new(128, 1);
        let (mut set, _) = pair(6, 100, 0);
        let before = sign(&family, &set);
        set.reverse();
        set.extend_from_within(..50);
        assert_eq!(sign(&family, &set), before);
    }

    /// Twenty seeds, 400 independent pairs each: the mean square error is J(1 - J) / values, and there is no bias.
    #[test]
    fn the_estimate_of_similarity_has_the_error_that_theory_says() {
        let (values, seeds, pairs) = (128_u32, 20, 400);
        for (common, own) in [(300, 50), (150, 30), (40, 5)] {
            let truth = common as f64 / (common + 2 * own) as f64;
            let (mut square, mut sum) = (0.0, 0.0);
            for seed in 0..seeds {
                let family = MinHash::new(values as usize, seed);
                for draw in 0..pairs {
                    let (left, right) = pair(draw + 1_000 * common, common, own);
                    let (left, right) = (sign(&family, &left), sign(&family, &right));
                    let equal = left.iter().zip(&right).filter(|(l, r)| l == r).count();
                    let error = equal as f64 / f64::from(values) - truth;
                    square += error * error;
                    sum += error;
                }
            }
            let count = (seeds * pairs) as f64;
            let theory = (truth * (1.0 - truth) / f64::from(values)).sqrt();
            let error = (square / count).sqrt();
            assert!(
                error < 1.05 * theory,
                "error {error} at {truth}, theory {theory}"
            );
            assert!(
                error > 0.9 * theory,
                "error {error} at {truth}, theory {theory}"
            );
            assert!(
                (sum / count).abs() < 0.1 * theory,
                "bias {} at {truth}",
                sum / count
            );
        }
    }
}
