//! Frequency tables: what a symbol costs.

use crate::bits::{BitReader, BitWriter};
use crate::error::{KernelError, Result};

/// Bits of a frequency: all of a table add up to `TOTAL`.
pub const PRECISION: u32 = 12;
pub const TOTAL: u32 = 1 << PRECISION;
/// Most that one symbol may have, so that a frequency fits into twelve bits.
const FREQUENCY_MAX: u16 = (TOTAL - 1) as u16;

pub type Histogram = [u32; 256];

/// The frequencies of the 256 symbols.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frequencies(pub [u16; 256]);

/// The number of times that each byte occurs.
pub fn histogram(bytes: &[u8]) -> Histogram {
    // Eight tables: equal bytes in a row do not wait for each other.
    let mut tables = [[0u32; 256]; 8];
    let (chunks, rest) = bytes.as_chunks::<8>();
    for chunk in chunks {
        for (table, &byte) in tables.iter_mut().zip(chunk) {
            table[usize::from(byte)] += 1;
        }
    }
    for &byte in rest {
        tables[0][usize::from(byte)] += 1;
    }
    std::array::from_fn(|symbol| tables.iter().map(|table| table[symbol]).sum())
}

/// Bits that an ideal coder of order 0 would need.
pub fn entropy_bits(counts: &Histogram) -> f64 {
    let total: u64 = counts.iter().map(|&count| u64::from(count)).sum();
    let total = total as f64;
    counts
        .iter()
        .filter(|&&count| count > 0)
        .map(|&count| f64::from(count) * (total / f64::from(count)).log2())
        .sum()
}

impl Frequencies {
    /// Scales counts so that they add up to `TOTAL`; what occurs at all gets one at least.
    pub fn scaled(counts: &Histogram) -> Self {
        let total: u64 = counts.iter().map(|&count| u64::from(count)).sum();
        let mut scaled = [0u16; 256];
        if total == 0 {
            scaled[0] = FREQUENCY_MAX;
            scaled[1] = 1;
            return Self(scaled);
        }
        let mut sum = 0i64;
        for (slot, &count) in scaled.iter_mut().zip(counts) {
            if count > 0 {
                let exact = (u64::from(count) * u64::from(TOTAL) + total / 2) / total;
                *slot = exact.clamp(1, u64::from(FREQUENCY_MAX)) as u16;
                sum += i64::from(*slot);
            }
        }
        settle(&mut scaled, i64::from(TOTAL) - sum);
        Self(scaled)
    }

    pub fn write(&self, alphabet: usize, bits: &mut BitWriter<'_>) {
        for &frequency in &self.0[..alphabet] {
            bits.write_gamma(u32::from(frequency) + 1);
        }
    }

    pub fn read(alphabet: usize, bits: &mut BitReader<'_>) -> Result<Self> {
        let mut frequencies = [0u16; 256];
        let mut sum = 0;
        for slot in &mut frequencies[..alphabet] {
            let frequency = bits.read_gamma(PRECISION)? - 1;
            if frequency > u32::from(FREQUENCY_MAX) {
                return Err(KernelError::Corrupt("a frequency is too large"));
            }
            sum += frequency;
            *slot = frequency as u16;
        }
        if sum != TOTAL {
            return Err(KernelError::Corrupt(
                "the frequencies of a table do not add up",
            ));
        }
        Ok(Self(frequencies))
    }

    /// The first slot of each symbol.
    pub fn starts(&self) -> [u16; 256] {
        let mut next = 0;
        std::array::from_fn(|symbol| {
            let start = next;
            next += self.0[symbol];
            start
        })
    }
}

/// Takes what is over from the most frequent symbols, or gives them what is left.
fn settle(scaled: &mut [u16; 256], mut difference: i64) {
    while difference != 0 {
        let largest = (0..256)
            .max_by_key(|&symbol| (scaled[symbol], 256 - symbol))
            .unwrap_or(0);
        let frequency = i64::from(scaled[largest]);
        if difference > 0 {
            let step = difference.min(i64::from(FREQUENCY_MAX) - frequency);
            if step == 0 {
                // One symbol alone: its neighbour gets the slot that it cannot have.
                scaled[largest ^ 1] += 1;
                return;
            }
            scaled[largest] += step as u16;
            difference -= step;
        } else {
            let step = (-difference).min((frequency / 2).max(1));
            scaled[largest] -= step as u16;
            difference += step;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn scaled_counts_add_up_and_lose_no_symbol(
            bytes in prop::collection::vec(any::<u8>(), 1..5000),
            shift in 0u32..8,
        ) {
            let skewed: Vec<u8> = bytes.iter().map(|byte| byte >> shift).collect();
            let counts = histogram(&skewed);
            let table = Frequencies::scaled(&counts);
            prop_assert_eq!(table.0.iter().map(|&f| u32::from(f)).sum::<u32>(), TOTAL);
            for (&count, &frequency) in counts.iter().zip(&table.0) {
                prop_assert!(count == 0 || frequency > 0);
                prop_assert!(frequency <= FREQUENCY_MAX);
            }
            let mut written = Vec::new();
            let mut bits = BitWriter::new(&mut written);
            table.write(256, &mut bits);
            bits.finish();
            let mut reader = BitReader::new(&written);
            prop_assert_eq!(Frequencies::read(256, &mut reader).unwrap(), table);
        }
    }

    #[test]
    fn a_single_symbol_leaves_a_slot_to_another_one() {
        let table = Frequencies::scaled(&histogram(&[255; 100]));
        assert_eq!((table.0[255], table.0[254]), (FREQUENCY_MAX, 1));
    }

    #[test]
    fn a_table_that_does_not_add_up_is_refused() {
        assert!(Frequencies::read(2, &mut BitReader::new(&[0xff; 4])).is_err());
    }
}
