//! Hash maps whose order a seed decides. Who does not know it cannot choose names that meet.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Map under names that clients choose, with the seed of the node; or under numbers of ours, with the default.
pub type SeededMap<K, V> = HashMap<K, V, Seeded>;

/// Maker of hashes from a seed: XXH3 as in the index of keys.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seeded(u64);

impl Seeded {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// An empty map.
    #[must_use]
    pub fn map<K, V>(seed: u64) -> SeededMap<K, V> {
        HashMap::with_hasher(Self(seed))
    }
}

impl BuildHasher for Seeded {
    type Hasher = SeededHasher;

    #[inline]
    fn build_hasher(&self) -> SeededHasher {
        SeededHasher(self.0)
    }
}

/// Hash in the making.
#[derive(Clone, Copy, Debug)]
pub struct SeededHasher(u64);

impl Hasher for SeededHasher {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    #[inline]
    fn write_u8(&mut self, number: u8) {
        self.write_u64(number.into());
    }

    #[inline]
    fn write_u32(&mut self, number: u32) {
        self.write_u64(number.into());
    }

    /// A product of 128 bits, folded: all bits of both reach all bits of the hash.
    #[inline]
    fn write_u64(&mut self, number: u64) {
        let one = u128::from(self.0 ^ 0x9E37_79B9_7F4A_7C15);
        let product = one * u128::from(number ^ 0xD1B5_4A32_D192_ED03);
        self.0 = product as u64 ^ (product >> 64) as u64;
    }

    #[inline]
    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn one_seed_gives_one_order_and_another_gives_another() {
        let order = |seed| {
            let mut map = Seeded::map(seed);
            map.extend((0..100_u64).map(|number| (number.to_string().into_bytes(), ())));
            map.into_keys().collect::<Vec<_>>()
        };
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
    }

    #[test]
    fn numbers_in_a_row_spread_over_all_bits() {
        let hashes: Vec<_> = (0..4096_u64)
            .map(|n| Seeded::default().hash_one(n))
            .collect();
        let low: HashSet<_> = hashes.iter().map(|hash| hash & 4095).collect();
        let high: HashSet<_> = hashes.iter().map(|hash| hash >> 52).collect();
        // Chance alone fills 63 % of the places.
        assert!(
            low.len() > 2300 && high.len() > 2300,
            "{} {}",
            low.len(),
            high.len()
        );
    }
}
