//! HyperLogLog in the format of Redis: 16,384 registers of 6 bits in a string.
//!
//! ```text
//! "HYLL" | encoding: u8 | 3 bytes | cached cardinality: u64 LE, its top bit set where it is outdated | registers
//! ```
//! The dense encoding has the registers one after another, lowest bits first. The sparse one has runs:
//! `00nnnnnn` of n+1 zeros, `01nnnnnn nnnnnnnn` of n+1 zeros, `1vvvvvnn` of n+1 registers of value v+1.

mod estimate;
mod sparse;

use std::borrow::Cow;

pub use estimate::estimate;

const MAGIC: &[u8; 4] = b"HYLL";
const HEADER_BYTES: usize = 16;
const ENCODING_AT: usize = 4;
const CACHE_AT: usize = 8;
/// The byte of the cached cardinality whose top bit says that it is outdated.
const CACHE_TOP_AT: usize = 15;
const OUTDATED: u8 = 0x80;
const INDEX_BITS: u32 = 14;
pub const REGISTERS: usize = 1 << INDEX_BITS;
const REGISTER_BITS: usize = 6;
const DENSE_BYTES: usize = HEADER_BYTES + REGISTERS * REGISTER_BITS / 8;
/// The bits of a hash that are searched for the first one that is set.
const SEARCHED_BITS: u32 = 64 - INDEX_BITS;
const HASH_SEED: u64 = 0xadc8_3b19;

/// Registers, one a byte.
pub type Registers = [u8; REGISTERS];

/// The ways that registers are stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Encoding {
    Dense = 0,
    Sparse = 1,
}

/// The reason why bytes are no HyperLogLog.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Invalid {
    /// Another string.
    Foreign,
    /// Its runs are not those of all registers.
    Corrupt,
}

/// A string that begins as a HyperLogLog does.
#[derive(Clone, Debug)]
pub struct Sketch<'a> {
    bytes: Cow<'a, [u8]>,
    encoding: Encoding,
}

/// The register of an element, and the value that this is to have at least.
pub fn place_of(element: &[u8]) -> (usize, u8) {
    let hash = murmur64a(element, HASH_SEED);
    let index = hash as usize % REGISTERS;
    let searched = hash >> INDEX_BITS | 1 << SEARCHED_BITS;
    (index, searched.trailing_zeros() as u8 + 1)
}

/// MurmurHash2 for 64 bits (Appleby 2008).
fn murmur64a(bytes: &[u8], seed: u64) -> u64 {
    const FACTOR: u64 = 0xc6a4_a793_5bd1_e995;
    const SHIFT: u32 = 47;
    let mut hash = seed ^ (bytes.len() as u64).wrapping_mul(FACTOR);
    let words = bytes.chunks_exact(8);
    let rest = words.remainder();
    for word in words {
        let mut word = le_word(word).wrapping_mul(FACTOR);
        word ^= word >> SHIFT;
        hash = (hash ^ word.wrapping_mul(FACTOR)).wrapping_mul(FACTOR);
    }
    if !rest.is_empty() {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        hash = (hash ^ le_word(&last)).wrapping_mul(FACTOR);
    }
    hash ^= hash >> SHIFT;
    hash = hash.wrapping_mul(FACTOR);
    hash ^ hash >> SHIFT
}

fn le_word(bytes: &[u8]) -> u64 {
    bytes
        .first_chunk()
        .map_or(0, |word| u64::from_le_bytes(*word))
}

impl<'a> Sketch<'a> {
    /// One without elements.
    pub fn new() -> Self {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes[..MAGIC.len()].copy_from_slice(MAGIC);
        bytes[ENCODING_AT] = Encoding::Sparse as u8;
        sparse::put_zeros(&mut bytes, REGISTERS);
        Self {
            bytes: bytes.into(),
            encoding: Encoding::Sparse,
        }
    }

    /// The one that a string is; its runs are not looked at yet.
    pub fn of(bytes: &'a [u8]) -> Result<Self, Invalid> {
        if bytes.len() < HEADER_BYTES || !bytes.starts_with(MAGIC) {
            return Err(Invalid::Foreign);
        }
        let encoding = match bytes[ENCODING_AT] {
            0 if bytes.len() == DENSE_BYTES => Encoding::Dense,
            1 => Encoding::Sparse,
            _ => return Err(Invalid::Foreign),
        };
        Ok(Self {
            bytes: bytes.into(),
            encoding,
        })
    }

    #[cfg(test)]
    fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes.into_owned()
    }

    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// The runs of the sparse encoding.
    pub fn runs(&self) -> impl Iterator<Item = sparse::Run> + '_ {
        sparse::Runs::new(&self.bytes[HEADER_BYTES..])
    }

    /// The registers of the dense encoding.
    fn dense_registers(&self) -> impl Iterator<Item = u8> + '_ {
        let groups = self.bytes[HEADER_BYTES..].chunks_exact(3);
        groups.flat_map(|group| registers_of(group[0], group[1], group[2]))
    }

    fn register(&self, index: usize) -> u8 {
        let bit = index * REGISTER_BITS;
        let at = HEADER_BYTES + bit / 8;
        let low = u16::from(self.bytes[at]);
        let high = self.bytes.get(at + 1).copied().map_or(0, u16::from);
        ((low | high << 8) >> (bit % 8)) as u8 & 0x3f
    }

    fn set_register(&mut self, index: usize, value: u8) {
        let bit = index * REGISTER_BITS;
        let (at, shift) = (HEADER_BYTES + bit / 8, bit % 8);
        let bytes = self.bytes.to_mut();
        let (mask, value) = (0x3f_u16 << shift, u16::from(value) << shift);
        bytes[at] = bytes[at] & !(mask as u8) | value as u8;
        if let Some(next) = bytes.get_mut(at + 1) {
            *next = *next & !((mask >> 8) as u8) | (value >> 8) as u8;
        }
    }

    /// Gives a register a value at least. Tells whether that has changed anything. `sparse_bytes_max` is the longest
    /// that the sparse encoding may be.
    pub fn raise(
        &mut self,
        index: usize,
        value: u8,
        sparse_bytes_max: usize,
    ) -> Result<bool, Invalid> {
        if self.encoding == Encoding::Sparse {
            match sparse::raise(&self.bytes[HEADER_BYTES..], index, value)? {
                sparse::Raised::Already => return Ok(false),
                sparse::Raised::Runs(runs)
                    if runs.len() <= self.bytes.len() - HEADER_BYTES
                        || HEADER_BYTES + runs.len() <= sparse_bytes_max =>
                {
                    let bytes = self.bytes.to_mut();
                    bytes.truncate(HEADER_BYTES);
                    bytes.extend_from_slice(&runs);
                    self.outdate();
                    return Ok(true);
                }
                sparse::Raised::Runs(_) | sparse::Raised::TooLarge => self.make_dense()?,
            }
        }
        let raises = self.register(index) < value;
        if raises {
            self.set_register(index, value);
            self.outdate();
        }
        Ok(raises)
    }

    /// Says that the cached cardinality is that of earlier registers.
    pub fn outdate(&mut self) {
        if self.bytes[CACHE_TOP_AT] & OUTDATED == 0 {
            self.bytes.to_mut()[CACHE_TOP_AT] |= OUTDATED;
        }
    }

    pub fn make_dense(&mut self) -> Result<(), Invalid> {
        if self.encoding == Encoding::Dense {
            return Ok(());
        }
        let registers = self.registers()?;
        let mut bytes = self.bytes[..HEADER_BYTES].to_vec();
        bytes[ENCODING_AT] = Encoding::Dense as u8;
        bytes.resize(DENSE_BYTES, 0);
        (self.bytes, self.encoding) = (bytes.into(), Encoding::Dense);
        for (index, value) in registers
            .iter()
            .enumerate()
            .filter(|(_, value)| **value > 0)
        {
            self.set_register(index, *value);
        }
        Ok(())
    }

    /// All registers, one a byte.
    pub fn registers(&self) -> Result<Box<Registers>, Invalid> {
        let mut registers = Box::new([0; REGISTERS]);
        self.merge_into(&mut registers)?;
        Ok(registers)
    }

    /// Raises registers to those of this sketch.
    pub fn merge_into(&self, registers: &mut Registers) -> Result<(), Invalid> {
        if self.encoding == Encoding::Dense {
            for (register, value) in registers.iter_mut().zip(self.dense_registers()) {
                *register = value.max(*register);
            }
            return Ok(());
        }
        let mut index = 0;
        for run in self.runs() {
            let end = index + run.len;
            let run_registers = registers.get_mut(index..end).ok_or(Invalid::Corrupt)?;
            if run.value > 0 {
                for register in run_registers {
                    *register = run.value.max(*register);
                }
            }
            index = end;
        }
        if index == REGISTERS {
            Ok(())
        } else {
            Err(Invalid::Corrupt)
        }
    }

    /// The cardinality, where it is known.
    pub fn cached(&self) -> Option<u64> {
        let cached = le_word(&self.bytes[CACHE_AT..]);
        (self.bytes[CACHE_TOP_AT] & OUTDATED == 0).then_some(cached)
    }

    /// The cardinality by the registers, as it is to be cached at [`Sketch::CACHE_OFFSET`].
    pub fn count(&self) -> Result<u64, Invalid> {
        let mut histogram = [0; 64];
        if self.encoding == Encoding::Dense {
            for value in self.dense_registers() {
                histogram[usize::from(value)] += 1;
            }
        } else {
            let mut registers = 0;
            for run in self.runs() {
                registers += run.len;
                histogram[usize::from(run.value)] += run.len as u32;
            }
            if registers != REGISTERS {
                return Err(Invalid::Corrupt);
            }
        }
        Ok(estimate(&histogram))
    }

    pub const CACHE_OFFSET: u64 = CACHE_AT as u64;
}

/// The four registers that three bytes hold.
#[inline]
fn registers_of(a: u8, b: u8, c: u8) -> [u8; 4] {
    [
        a & 0x3f,
        a >> 6 | (b & 0xf) << 2,
        b >> 4 | (c & 0x3) << 4,
        c >> 2,
    ]
}

/// How many registers have each value.
pub fn histogram(registers: &Registers) -> [u32; 64] {
    let mut histogram = [0; 64];
    for register in registers {
        histogram[usize::from(register & 0x3f)] += 1;
    }
    histogram
}

#[cfg(test)]
mod tests;
