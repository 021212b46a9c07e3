//! How many different keys there are among very many, about: HyperLogLog (Flajolet, Fusy, Gandouet and Meunier 2007).

use yggdrasil_core::keyspace::hash_key;

/// The bits of a hash that choose a register.
const CHOICE: u32 = 10;
const REGISTERS: usize = 1 << CHOICE;

/// An estimate of the number of different keys, within a few percent.
#[derive(Clone, Debug)]
pub struct Distinct {
    /// The longest row of zeros, and one more, that a hash of each has begun with.
    registers: Box<[u8]>,
}

impl Default for Distinct {
    fn default() -> Self {
        Self {
            registers: vec![0; REGISTERS].into_boxed_slice(),
        }
    }
}

impl Distinct {
    /// Notes a key.
    #[inline]
    pub fn note(&mut self, key: &[u8]) {
        let hash = hash_key(0, key);
        let register = &mut self.registers[(hash >> (64 - CHOICE)) as usize];
        let row = (hash << CHOICE | 1 << (CHOICE - 1)).leading_zeros() as u8 + 1;
        *register = (*register).max(row);
    }

    /// The number of different keys, about.
    #[must_use]
    pub fn estimate(&self) -> u64 {
        let all = REGISTERS as f64;
        let sum: f64 = self
            .registers
            .iter()
            .map(|row| (-f64::from(*row)).exp2())
            .sum();
        let estimate = 0.7213 / (1.0 + 1.079 / all) * all * all / sum;
        let empty = self.registers.iter().filter(|row| **row == 0).count();
        if estimate <= 2.5 * all && empty > 0 {
            return (all * (all / empty as f64).ln()) as u64;
        }
        estimate as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_keys_are_counted_once() {
        for keys in [0_u64, 10, 1_000, 3_000, 200_000] {
            let mut distinct = Distinct::default();
            for _ in 0..3 {
                for number in 0..keys {
                    distinct.note(format!("key:{}", number).as_bytes());
                }
            }
            let found = distinct.estimate();
            let error = found.abs_diff(keys);
            assert!(error * 8 <= keys, "{found} of {keys}");
        }
    }
}
