//! Bit streams, lowest bit first.

use crate::error::{KernelError, Result};

/// Writes bits to the end of a vector.
pub struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    pending: u64,
    used: u32,
}

impl<'a> BitWriter<'a> {
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self {
            out,
            pending: 0,
            used: 0,
        }
    }

    /// Appends the lowest `count` bits of `value`, at most 32.
    #[inline]
    pub fn write(&mut self, value: u64, count: u32) {
        debug_assert!(count <= 32);
        self.pending |= (value & ((1 << count) - 1)) << self.used;
        self.used += count;
        if self.used >= 32 {
            let word = (self.pending & u64::from(u32::MAX)) as u32;
            self.out.extend_from_slice(&word.to_le_bytes());
            self.pending >>= 32;
            self.used -= 32;
        }
    }

    /// Appends up to 64 bits.
    #[inline]
    pub fn write_wide(&mut self, value: u64, count: u32) {
        if count <= 32 {
            self.write(value, count);
        } else {
            self.write(value, 32);
            self.write(value >> 32, count - 32);
        }
    }

    /// Appends a number from one up, in Elias's gamma code.
    pub fn write_gamma(&mut self, value: u32) {
        let width = value.ilog2();
        self.write(1 << width, width + 1);
        self.write(u64::from(value), width);
    }

    /// Fills the last byte with zeros.
    pub fn finish(mut self) {
        while self.used > 0 {
            self.out.push((self.pending & 0xff) as u8);
            self.pending >>= 8;
            self.used = self.used.saturating_sub(8);
        }
    }
}

/// Reads bits. Past the end come zeros, and `finish` refuses them.
pub struct BitReader<'a> {
    bytes: &'a [u8],
    /// Bits taken so far.
    position: usize,
}

impl<'a> BitReader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// The next 57 bits or more, lowest first.
    #[inline]
    fn window(&self) -> u64 {
        let rest = self.bytes.get(self.position / 8..).unwrap_or_default();
        let word = match rest.first_chunk::<8>() {
            Some(chunk) => u64::from_le_bytes(*chunk),
            None => {
                let mut chunk = [0; 8];
                chunk[..rest.len()].copy_from_slice(rest);
                u64::from_le_bytes(chunk)
            }
        };
        word >> (self.position % 8)
    }

    /// Takes `count` bits, at most 32.
    #[inline]
    pub fn read(&mut self, count: u32) -> u64 {
        debug_assert!(count <= 32);
        let value = self.window() & ((1 << count) - 1);
        self.position += count as usize;
        value
    }

    /// Takes up to 64 bits.
    #[inline]
    pub fn read_wide(&mut self, count: u32) -> u64 {
        if count <= 32 {
            self.read(count)
        } else {
            let low = self.read(32);
            low | self.read(count - 32) << 32
        }
    }

    /// Takes a number in Elias's gamma code that has at most `width` bits after its first.
    pub fn read_gamma(&mut self, width: u32) -> Result<u32> {
        debug_assert!(width < 32);
        let zeros = self.window().trailing_zeros();
        if zeros > width {
            return Err(KernelError::Corrupt("a number in a table is too large"));
        }
        self.position += zeros as usize + 1;
        let low = self.read(zeros);
        Ok((1 << zeros) | low as u32)
    }

    /// Bytes taken, the last one perhaps in part.
    pub fn finish(&self) -> Result<usize> {
        let taken = self.position.div_ceil(8);
        if taken > self.bytes.len() {
            return Err(KernelError::Corrupt("a bit stream ends too early"));
        }
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_back(items in prop::collection::vec((any::<u64>(), 0u32..=64), 0..200)) {
            let mut bytes = Vec::new();
            let mut writer = BitWriter::new(&mut bytes);
            for &(value, count) in &items {
                writer.write_wide(value, count);
                writer.write_gamma(count + 1);
            }
            writer.finish();
            let mut reader = BitReader::new(&bytes);
            for &(value, count) in &items {
                let mask = if count == 64 { u64::MAX } else { (1 << count) - 1 };
                prop_assert_eq!(reader.read_wide(count), value & mask);
                prop_assert_eq!(reader.read_gamma(8).unwrap(), count + 1);
            }
            prop_assert_eq!(reader.finish().unwrap(), bytes.len());
        }
    }

    #[test]
    fn reading_past_the_end_is_told() {
        let mut reader = BitReader::new(&[0xff]);
        assert_eq!(reader.read(12), 0xff);
        assert!(reader.finish().is_err());
    }

    #[test]
    fn a_number_that_is_too_wide_is_refused() {
        assert!(BitReader::new(&[0; 16]).read_gamma(12).is_err());
    }
}
