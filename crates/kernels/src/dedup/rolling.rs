//! Rolling hashes of windows of bytes.

use crate::dedup::mix;

/// The odd base of the hash.
const BASE: u64 = 0x9e37_79b9_7f4a_7c15;

/// Tables for windows of one length.
#[derive(Clone, Debug)]
pub struct Rolling {
    length: usize,
    entering: [u64; 256],
    leaving: [u64; 256],
}

impl Rolling {
    pub fn new(length: usize) -> Self {
        let power = (0..length).fold(1_u64, |power, _| power.wrapping_mul(BASE));
        let entering: [u64; 256] = std::array::from_fn(|byte| mix(byte as u64 + 1));
        Self {
            length,
            entering,
            leaving: entering.map(|unit| unit.wrapping_mul(power)),
        }
    }

    pub fn length(&self) -> usize {
        self.length
    }

    /// The hash of the first window of a text, which is long enough.
    #[inline]
    pub fn first(&self, text: &[u8]) -> u64 {
        text[..self.length].iter().fold(0_u64, |hash, &byte| {
            hash.wrapping_mul(BASE)
                .wrapping_add(self.entering[usize::from(byte)])
        })
    }

    /// The hash of the next window, which `come` enters and `gone` leaves.
    #[inline]
    pub fn next(&self, hash: u64, gone: u8, come: u8) -> u64 {
        hash.wrapping_mul(BASE)
            .wrapping_add(self.entering[usize::from(come)])
            .wrapping_sub(self.leaving[usize::from(gone)])
    }
}
