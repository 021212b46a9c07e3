//! A chunk: a header with a table of blocks, and the blocks.
//!
//! ```text
//! 0   4   magic "MCK1"
//! 4   1   type of the elements
//! 5   1   flags: bit 0 set when some block needs the base
//! 6   2   zero
//! 8   4   bytes of a block, a multiple of 64 elements; the last block may be shorter
//! 12  4   number of blocks
//! 16  8   bytes of the elements
//! 24  32  root: the hash of what the chunk decodes to
//! 56  32  root of the base, or zeros
//! 88  20n for each block its stored length (4) and the first half of its hash (16)
//!     16  first half of the BLAKE3 of all header bytes before
//! ```
//!
//! All numbers are little endian. The hash of a block is the BLAKE3 of its elements; the root is the BLAKE3 of the type,
//! the bytes of a block (4), the bytes of the elements (8) and the hashes of all blocks.

use std::ops::Range;

use crate::block::{self, Scratch};
use crate::element::Element;
use crate::error::{KernelError, Result};
use crate::simd::Level;

pub const MAGIC: [u8; 4] = *b"MCK1";
pub const HASH_BYTES: usize = 32;
/// Most bytes that a block may have, which is what a reader has to be ready to hold.
pub const BLOCK_BYTES_MAX: usize = 16 << 20;
/// Most bytes that a chunk may have.
pub const CHUNK_BYTES_MAX: u64 = 1 << 30;
const FIXED_BYTES: usize = 88;
const ENTRY_BYTES: usize = 20;
const SHORT_HASH_BYTES: usize = 16;
/// Blocks have a multiple of so many elements, as the coder's states are as many.
const ELEMENTS_MULTIPLE: usize = 64;
const FLAG_DELTA: u8 = 1;

pub type Hash = [u8; HASH_BYTES];

/// The elements that a delta refers to, with the root of their own chunk.
#[derive(Clone, Copy)]
pub struct Base<'a> {
    pub raw: &'a [u8],
    pub root: &'a Hash,
}

/// Hashes of the blocks of a chunk, and the one of them all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    pub root: Hash,
    pub blocks: Vec<Hash>,
}

/// Hashes what a chunk would hold, without encoding it.
pub fn fingerprint(element: Element, block_bytes: usize, raw: &[u8]) -> Result<Fingerprint> {
    check_shape(element, block_bytes, raw.len() as u64)?;
    let blocks: Vec<Hash> = raw
        .chunks(block_bytes)
        .map(|block| *blake3::hash(block).as_bytes())
        .collect();
    let root = root_of(element, block_bytes, raw.len() as u64, &blocks);
    Ok(Fingerprint { root, blocks })
}

fn root_of(element: Element, block_bytes: usize, raw_bytes: u64, blocks: &[Hash]) -> Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[element.code()]);
    hasher.update(&(block_bytes as u32).to_le_bytes());
    hasher.update(&raw_bytes.to_le_bytes());
    hasher.update(blocks.as_flattened());
    *hasher.finalize().as_bytes()
}

fn check_shape(element: Element, block_bytes: usize, raw_bytes: u64) -> Result<()> {
    if block_bytes == 0
        || block_bytes > BLOCK_BYTES_MAX
        || !block_bytes.is_multiple_of(ELEMENTS_MULTIPLE * element.size())
    {
        return Err(KernelError::Parameter(
            "the bytes of a block must be a multiple of 64 elements, at most 16 MiB",
        ));
    }
    if raw_bytes > CHUNK_BYTES_MAX {
        return Err(KernelError::Parameter("a chunk has at most 1 GiB"));
    }
    if !raw_bytes.is_multiple_of(element.size() as u64) {
        return Err(KernelError::Parameter(
            "the bytes are not a whole number of elements",
        ));
    }
    Ok(())
}

/// Encodes a chunk: the whole of it, header first.
pub fn encode(
    scratch: &mut Scratch,
    level: Level,
    element: Element,
    block_bytes: usize,
    raw: &[u8],
    fingerprint: &Fingerprint,
    base: Option<Base<'_>>,
) -> Result<Vec<u8>> {
    check_shape(element, block_bytes, raw.len() as u64)?;
    let count = raw.len().div_ceil(block_bytes);
    if fingerprint.blocks.len() != count {
        return Err(KernelError::Parameter(
            "the fingerprint is of something else",
        ));
    }
    if let Some(base) = base
        && base.raw.len() != raw.len()
    {
        return Err(KernelError::Length {
            what: "the base",
            expected: raw.len() as u64,
            found: base.raw.len() as u64,
        });
    }
    let header_bytes = FIXED_BYTES + count * ENTRY_BYTES + SHORT_HASH_BYTES;
    let mut out = Vec::with_capacity(header_bytes + raw.len() / 4 * 3 + 64);
    out.resize(header_bytes, 0);
    let mut is_delta = false;
    for (index, elements) in raw.chunks(block_bytes).enumerate() {
        let before = out.len();
        let start = index * block_bytes;
        let old = base.map(|base| &base.raw[start..start + elements.len()]);
        block::encode(scratch, level, element, elements, old, &mut out);
        let entry = FIXED_BYTES + index * ENTRY_BYTES;
        is_delta |= block::needs_base(&out[before..], elements.len());
        let stored = (out.len() - before) as u32;
        out[entry..entry + 4].copy_from_slice(&stored.to_le_bytes());
        out[entry + 4..entry + ENTRY_BYTES]
            .copy_from_slice(&fingerprint.blocks[index][..SHORT_HASH_BYTES]);
    }
    out[..4].copy_from_slice(&MAGIC);
    out[4] = element.code();
    out[8..12].copy_from_slice(&(block_bytes as u32).to_le_bytes());
    out[12..16].copy_from_slice(&(count as u32).to_le_bytes());
    out[16..24].copy_from_slice(&(raw.len() as u64).to_le_bytes());
    out[24..56].copy_from_slice(&fingerprint.root);
    if let Some(base) = base.filter(|_| is_delta) {
        out[5] = FLAG_DELTA;
        out[56..88].copy_from_slice(base.root);
    }
    let table_end = header_bytes - SHORT_HASH_BYTES;
    let check = blake3::hash(&out[..table_end]);
    out[table_end..header_bytes].copy_from_slice(&check.as_bytes()[..SHORT_HASH_BYTES]);
    Ok(out)
}

/// The header of a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub element: Element,
    pub block_bytes: usize,
    pub raw_bytes: usize,
    pub root: Hash,
    /// Root of the chunk that this one is a delta to.
    pub base_root: Option<Hash>,
    hashes: Vec<[u8; SHORT_HASH_BYTES]>,
    /// Where each block begins after the header, and where the last one ends.
    offsets: Vec<u64>,
}

/// Bytes that the header of a chunk has, from its first 24 bytes.
pub fn header_bytes(start: &[u8]) -> Result<usize> {
    let start = start
        .first_chunk::<24>()
        .ok_or(KernelError::Corrupt("a chunk is shorter than its header"))?;
    if start[..4] != MAGIC {
        return Err(KernelError::Corrupt(
            "this is no chunk: it does not begin with MCK1",
        ));
    }
    let count = read_u32(&start[12..]) as usize;
    if count as u64 > CHUNK_BYTES_MAX {
        return Err(KernelError::Corrupt("a chunk has too many blocks"));
    }
    Ok(FIXED_BYTES + count * ENTRY_BYTES + SHORT_HASH_BYTES)
}

/// Bytes that the header has of a chunk with so many bytes of elements.
pub fn header_bytes_for(block_bytes: usize, raw_bytes: u64) -> u64 {
    let count = raw_bytes.div_ceil(block_bytes.max(1) as u64);
    (FIXED_BYTES + SHORT_HASH_BYTES) as u64 + count * ENTRY_BYTES as u64
}

fn read_u32(bytes: &[u8]) -> u32 {
    bytes
        .first_chunk::<4>()
        .map_or(0, |word| u32::from_le_bytes(*word))
}

impl Header {
    /// Reads and checks the header at the start of `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let length = header_bytes(bytes)?;
        let head = bytes
            .get(..length)
            .ok_or(KernelError::Corrupt("a chunk is shorter than its header"))?;
        let (table, check) = head.split_at(length - SHORT_HASH_BYTES);
        if blake3::hash(table).as_bytes()[..SHORT_HASH_BYTES] != *check {
            return Err(KernelError::Corrupt("the header of a chunk is damaged"));
        }
        let element = Element::from_code(table[4]).ok_or(KernelError::Corrupt(
            "a chunk has elements of an unknown type; a newer version may know it",
        ))?;
        if table[5] & !FLAG_DELTA != 0 || table[6..8] != [0; 2] {
            return Err(KernelError::Corrupt(
                "a chunk has unknown flags; a newer version may know them",
            ));
        }
        let block_bytes = read_u32(&table[8..]) as usize;
        let raw_bytes = u64::from(read_u32(&table[20..])) << 32 | u64::from(read_u32(&table[16..]));
        check_shape(element, block_bytes, raw_bytes)
            .map_err(|_| KernelError::Corrupt("a chunk has impossible sizes"))?;
        let (entries, _) = table[FIXED_BYTES..].as_chunks::<ENTRY_BYTES>();
        if raw_bytes.div_ceil(block_bytes as u64) != entries.len() as u64 {
            return Err(KernelError::Corrupt(
                "the sizes in the header of a chunk do not agree",
            ));
        }
        let mut header = Self {
            element,
            block_bytes,
            raw_bytes: raw_bytes as usize,
            root: table[24..56].try_into().unwrap_or_default(),
            base_root: (table[5] & FLAG_DELTA != 0)
                .then(|| table[56..88].try_into().unwrap_or_default()),
            hashes: Vec::with_capacity(entries.len()),
            offsets: vec![0],
        };
        let mut end = 0;
        for (index, entry) in entries.iter().enumerate() {
            let stored = read_u32(entry) as usize;
            if stored > header.block_range(index).len() {
                return Err(KernelError::Corrupt("a block is longer than its elements"));
            }
            end += stored as u64;
            header.offsets.push(end);
            header
                .hashes
                .push(entry[4..].try_into().unwrap_or_default());
        }
        Ok(header)
    }

    pub fn blocks(&self) -> usize {
        self.hashes.len()
    }

    /// Bytes of the header itself.
    pub fn bytes(&self) -> usize {
        FIXED_BYTES + self.blocks() * ENTRY_BYTES + SHORT_HASH_BYTES
    }

    /// Where each block begins, counted from the end of the header, and where the last one ends.
    pub fn offsets(&self) -> &[u64] {
        &self.offsets
    }

    /// The bytes of the elements that block `index` holds.
    fn block_range(&self, index: usize) -> Range<usize> {
        let start = index * self.block_bytes;
        start..self.raw_bytes.min(start + self.block_bytes)
    }

    /// The bytes of the elements that a run of blocks holds.
    pub fn raw_range(&self, blocks: Range<usize>) -> Range<usize> {
        let start = (blocks.start * self.block_bytes).min(self.raw_bytes);
        start..self.raw_bytes.min(blocks.end * self.block_bytes).max(start)
    }

    /// Decodes a run of blocks from their stored bytes; `base` and `out` are what the run covers.
    pub fn decode(
        &self,
        scratch: &mut Scratch,
        level: Level,
        blocks: Range<usize>,
        stored: &[u8],
        base: Option<Base<'_>>,
        out: &mut [u8],
    ) -> Result<()> {
        if blocks.start > blocks.end || blocks.end > self.blocks() {
            return Err(KernelError::Parameter(
                "the chunk does not have these blocks",
            ));
        }
        let start = self.offsets[blocks.start];
        require(
            "the stored run of blocks",
            self.offsets[blocks.end] - start,
            stored.len(),
        )?;
        let whole = self.raw_range(blocks.clone());
        require("the target", whole.len() as u64, out.len())?;
        if let Some(base) = base {
            require("the base", whole.len() as u64, base.raw.len())?;
        }
        let base = self.checked_base(base)?;
        for index in blocks {
            let from = (self.offsets[index] - start) as usize;
            let to = (self.offsets[index + 1] - start) as usize;
            let range = self.block_range(index);
            let range = range.start - whole.start..range.end - whole.start;
            let target = &mut out[range.clone()];
            let old = base.map(|base| &base[range]);
            block::decode(scratch, level, self.element, &stored[from..to], old, target)?;
            if blake3::hash(target).as_bytes()[..SHORT_HASH_BYTES] != self.hashes[index] {
                return Err(KernelError::Hash(index as u32));
            }
        }
        Ok(())
    }

    fn checked_base<'a>(&self, base: Option<Base<'a>>) -> Result<Option<&'a [u8]>> {
        match (self.base_root, base) {
            (None, _) => Ok(None),
            (Some(_), None) => Err(KernelError::BaseNeeded),
            (Some(root), Some(base)) if *base.root == root => Ok(Some(base.raw)),
            (Some(_), Some(_)) => Err(KernelError::WrongBase),
        }
    }
}

fn require(what: &'static str, expected: u64, found: usize) -> Result<()> {
    if expected == found as u64 {
        return Ok(());
    }
    Err(KernelError::Length {
        what,
        expected,
        found: found as u64,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BLOCK: usize = 1024;

    fn chunk_of(element: Element, raw: &[u8], base: Option<Base<'_>>) -> Vec<u8> {
        let print = fingerprint(element, BLOCK, raw).unwrap();
        encode(
            &mut Scratch::default(),
            Level::best(),
            element,
            BLOCK,
            raw,
            &print,
            base,
        )
        .unwrap()
    }

    fn decode_all(chunk: &[u8], base: Option<Base<'_>>) -> Result<Vec<u8>> {
        let header = Header::parse(chunk)?;
        let mut out = vec![0; header.raw_bytes];
        let stored = &chunk[header.bytes()..];
        header.decode(
            &mut Scratch::default(),
            Level::best(),
            0..header.blocks(),
            stored,
            base,
            &mut out,
        )?;
        Ok(out)
    }

    fn sample(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|i| ((i * i) >> 7) as u8 & 0x1f).collect()
    }

    #[test]
    fn runs_of_blocks_decode_on_their_own() {
        let raw = sample(5 * BLOCK + 100);
        let chunk = chunk_of(Element::Bf16, &raw, None);
        let header = Header::parse(&chunk).unwrap();
        assert_eq!(header.blocks(), 6);
        for start in 0..6 {
            for end in start..=6 {
                let offsets = header.offsets();
                let stored =
                    &chunk[header.bytes()..][offsets[start] as usize..offsets[end] as usize];
                let range = header.raw_range(start..end);
                let mut out = vec![0; range.len()];
                let scratch = &mut Scratch::default();
                header
                    .decode(scratch, Level::best(), start..end, stored, None, &mut out)
                    .unwrap();
                assert_eq!(out, raw[range]);
            }
        }
    }

    #[test]
    fn a_delta_asks_for_its_base_and_refuses_another() {
        let old = sample(3 * BLOCK);
        let mut new = old.clone();
        new[17] ^= 1;
        let print = fingerprint(Element::F32, BLOCK, &old).unwrap();
        let base = Base {
            raw: &old,
            root: &print.root,
        };
        let chunk = chunk_of(Element::F32, &new, Some(base));
        assert_eq!(decode_all(&chunk, Some(base)).unwrap(), new);
        assert_eq!(decode_all(&chunk, None), Err(KernelError::BaseNeeded));
        let other = Base {
            raw: &new,
            root: &[7; 32],
        };
        assert_eq!(decode_all(&chunk, Some(other)), Err(KernelError::WrongBase));
        let forged = Base {
            raw: &new,
            root: &print.root,
        };
        assert!(matches!(
            decode_all(&chunk, Some(forged)),
            Err(KernelError::Hash(_))
        ));
    }

    #[test]
    fn an_empty_chunk_has_a_header_only() {
        let chunk = chunk_of(Element::F64, &[], None);
        assert_eq!(decode_all(&chunk, None).unwrap(), Vec::<u8>::new());
        assert_eq!(header_bytes(&chunk).unwrap(), chunk.len());
        assert_eq!(header_bytes_for(BLOCK, 0), chunk.len() as u64);
    }

    #[test]
    fn parts_of_an_element_are_refused() {
        assert!(fingerprint(Element::F32, BLOCK, &[0; 5]).is_err());
        assert!(fingerprint(Element::F32, 100, &[0; 4]).is_err());
    }

    proptest! {
        #[test]
        fn a_damaged_chunk_is_an_error(
            bytes in 1usize..5000, at in any::<prop::sample::Index>(), flip in 1u8.., cut in any::<prop::sample::Index>(),
        ) {
            let raw = sample(bytes / 2 * 2);
            let chunk = chunk_of(Element::Bf16, &raw, None);
            let mut damaged = chunk.clone();
            damaged[at.index(chunk.len())] ^= flip;
            prop_assert!(decode_all(&damaged, None).is_err_and(|error| !error.to_string().is_empty()));
            prop_assert!(decode_all(&chunk[..cut.index(chunk.len())], None).is_err());
        }
    }
}
