//! Differences to a base, coded by how large the base is.
//!
//! Floats are mapped to integers that are ordered like them, and subtracted. A weight moves by about the same amount
//! whatever its size, so the difference in units of its last place depends on its exponent: the exponent of the base
//! chooses the table. A difference is coded as one of a few *classes*, sixteen small values and then four for each power
//! of two, and the bits that the class leaves open follow as they are.

use crate::bits::{BitReader, BitWriter};
use crate::element::Element;
use crate::error::{KernelError, Result};
use crate::model::{Frequencies, Histogram, histogram};
use crate::planes::magnitudes;
use crate::rans::{CONTEXTS_MAX, Decoder, DecoderTables, Encoder};
use crate::simd::{Level, for_each_level};
use crate::word::{Word, with_word};

/// Differences below are classes of their own.
const SMALL: u64 = 16;
const SMALL_BITS: u32 = 4;
/// Elements decoded at a time, so that what is between the steps stays in the nearest cache.
const TILE: usize = 4096;
/// Elements for which a table of its own pays.
const ELEMENTS_PER_CONTEXT: usize = 2048;

/// The number of classes that differences of a type can have.
fn alphabet(element: Element) -> usize {
    // 4 classes for each power of two from 2^4 on: 32, 64, 128 and 256 in all.
    element.size().next_power_of_two() * 32
}

#[inline(always)]
fn class_of(difference: u64) -> (u8, u32) {
    if difference < SMALL {
        return (difference as u8, 0);
    }
    let width = difference.ilog2();
    let top = (difference >> (width - 2)) & 3;
    let class = SMALL + u64::from(width - SMALL_BITS) * 4 + top;
    (class as u8, width - 2)
}

/// The smallest difference of a class, and the bits that follow it.
#[inline(always)]
fn class_start(class: u8) -> (u64, u32) {
    if u64::from(class) < SMALL {
        return (u64::from(class), 0);
    }
    let index = u32::from(class) - SMALL as u32;
    let width = index / 4 + SMALL_BITS;
    let top = u64::from(4 | (index & 3));
    (top << (width - 2), width - 2)
}

/// The table that each magnitude of the base chooses.
struct Clusters {
    /// The first magnitude of each table but the first.
    boundaries: Vec<u8>,
    table_of: [u8; 256],
}

impl Clusters {
    fn choose(counts: &Histogram, elements: usize) -> Self {
        let tables_max = (elements / ELEMENTS_PER_CONTEXT).clamp(1, CONTEXTS_MAX);
        let share = elements / (tables_max + tables_max / 4 + 1);
        let mut boundaries = Vec::new();
        let mut gathered = 0;
        for magnitude in 1..=255u8 {
            gathered += counts[usize::from(magnitude) - 1] as usize;
            if gathered > share && boundaries.len() + 1 < tables_max {
                boundaries.push(magnitude);
                gathered = 0;
            }
        }
        Self::new(boundaries)
    }

    fn new(boundaries: Vec<u8>) -> Self {
        let mut table_of = [0; 256];
        for (magnitude, table) in table_of.iter_mut().enumerate() {
            *table = boundaries
                .iter()
                .filter(|&&first| usize::from(first) <= magnitude)
                .count() as u8;
        }
        Self {
            boundaries,
            table_of,
        }
    }

    fn tables(&self) -> usize {
        self.boundaries.len() + 1
    }

    fn write(&self, bits: &mut BitWriter<'_>) {
        bits.write(self.boundaries.len() as u64, 4);
        let mut last = 0;
        for &first in &self.boundaries {
            bits.write_gamma(u32::from(first - last));
            last = first;
        }
    }

    fn read(bits: &mut BitReader<'_>) -> Result<Self> {
        let count = bits.read(4);
        let mut boundaries = Vec::with_capacity(CONTEXTS_MAX);
        let mut last = 0u32;
        for _ in 0..count {
            last += bits.read_gamma(8)?;
            let first = u8::try_from(last)
                .map_err(|_| KernelError::Corrupt("a table begins past all magnitudes"))?;
            boundaries.push(first);
        }
        Ok(Self::new(boundaries))
    }
}

/// Memory that is kept from block to block.
#[derive(Default)]
pub struct DeltaScratch {
    classes: Vec<u8>,
    contexts: Vec<u8>,
    differences: Vec<u64>,
    open_bits: Vec<u8>,
}

/// Appends the code of a block to `out`, and gives true; or false where the block is equal to its base.
pub fn encode(
    scratch: &mut DeltaScratch,
    encoder: &mut Encoder,
    level: Level,
    element: Element,
    raw: &[u8],
    base: &[u8],
    out: &mut Vec<u8>,
) -> bool {
    if raw == base {
        return false;
    }
    let count = raw.len() / element.size();
    scratch.contexts.resize(count, 0);
    magnitudes(level, element, base, &mut scratch.contexts);
    let clusters = Clusters::choose(&histogram(&scratch.contexts), count);
    for context in &mut scratch.contexts {
        *context = clusters.table_of[usize::from(*context)];
    }
    let counts = classify(scratch, level, element, raw, base, clusters.tables());
    let tables: Vec<Frequencies> = counts.iter().map(Frequencies::scaled).collect();
    let head = out.len();
    out.extend_from_slice(&[0; 4]);
    let mut bits = BitWriter::new(out);
    clusters.write(&mut bits);
    for table in &tables {
        table.write(alphabet(element), &mut bits);
    }
    bits.finish();
    encoder.encode(&scratch.classes, &scratch.contexts, &tables, level, out);
    let length = (out.len() - head - 4) as u32;
    out[head..head + 4].copy_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&scratch.open_bits);
    true
}

/// Fills in the classes and their open bits, and counts the classes of each table.
fn classify(
    scratch: &mut DeltaScratch,
    level: Level,
    element: Element,
    raw: &[u8],
    base: &[u8],
    tables: usize,
) -> Vec<Histogram> {
    let count = raw.len() / element.size();
    scratch.classes.resize(count, 0);
    scratch.differences.resize(TILE.min(count), 0);
    scratch.open_bits.clear();
    let mut bits = BitWriter::new(&mut scratch.open_bits);
    let mut counts = vec![[0; 256]; tables];
    let bytes = TILE * element.size();
    let tiles = scratch
        .classes
        .chunks_mut(TILE)
        .zip(scratch.contexts.chunks(TILE));
    for ((classes, contexts), (raw, base)) in tiles.zip(raw.chunks(bytes).zip(base.chunks(bytes))) {
        let differences = &mut scratch.differences[..classes.len()];
        subtract(level, element, raw, base, differences);
        for ((target, &context), &difference) in classes.iter_mut().zip(contexts).zip(&*differences)
        {
            let (class, open) = class_of(difference);
            *target = class;
            counts[usize::from(context)][usize::from(class)] += 1;
            if open > 0 {
                bits.write_wide(difference, open);
            }
        }
    }
    bits.finish();
    counts
}

for_each_level! {
    /// Writes the folded differences of ordered words.
    fn subtract(element: Element, raw: &[u8], base: &[u8], out: &mut [u64]) = subtract_any
}

#[inline(always)]
fn subtract_any(element: Element, raw: &[u8], base: &[u8], out: &mut [u64]) {
    if element.is_float() {
        with_word!(element.size(), subtract_words(raw, base, out, true));
    } else {
        with_word!(element.size(), subtract_words(raw, base, out, false));
    }
}

#[inline(always)]
fn subtract_words<W: Word>(raw: &[u8], base: &[u8], out: &mut [u64], ordered: bool) {
    let pairs = raw.chunks_exact(W::SIZE).zip(base.chunks_exact(W::SIZE));
    for ((new, old), target) in pairs.zip(out) {
        let (new, old) = (W::read(new), W::read(old));
        let difference = if ordered {
            new.ordered().minus(old.ordered())
        } else {
            new.minus(old)
        };
        *target = difference.zigzag().to_u64();
    }
}

for_each_level! {
    /// Adds folded differences to ordered words.
    fn add(element: Element, differences: &[u64], base: &[u8], out: &mut [u8]) = add_any
}

#[inline(always)]
fn add_any(element: Element, differences: &[u64], base: &[u8], out: &mut [u8]) {
    if element.is_float() {
        with_word!(element.size(), add_words(differences, base, out, true));
    } else {
        with_word!(element.size(), add_words(differences, base, out, false));
    }
}

#[inline(always)]
fn add_words<W: Word>(differences: &[u64], base: &[u8], out: &mut [u8], ordered: bool) {
    let pairs = out
        .chunks_exact_mut(W::SIZE)
        .zip(base.chunks_exact(W::SIZE));
    for ((target, old), &difference) in pairs.zip(differences) {
        let difference = W::from_u64(difference).unzigzag();
        let old = W::read(old);
        let new = if ordered {
            old.ordered().plus(difference).unordered()
        } else {
            old.plus(difference)
        };
        new.write(target);
    }
}

/// Decodes a block; `base` and `out` have the same length, a multiple of the element.
pub fn decode(
    tables: &mut DecoderTables,
    level: Level,
    element: Element,
    code: &[u8],
    base: &[u8],
    out: &mut [u8],
) -> Result<()> {
    let (length, rest) = code
        .split_first_chunk::<4>()
        .ok_or(KernelError::Corrupt("a delta has no length"))?;
    let (coded, open) = rest
        .split_at_checked(u32::from_le_bytes(*length) as usize)
        .ok_or(KernelError::Corrupt("a delta is shorter than it says"))?;
    let mut head = BitReader::new(coded);
    let clusters = Clusters::read(&mut head)?;
    for context in 0..clusters.tables() {
        tables.set(context, &Frequencies::read(alphabet(element), &mut head)?);
    }
    let stream = &coded[head.finish()?..];
    let mut decoder = Decoder::new(tables, 0, stream, level)?;
    let mut open = BitReader::new(open);
    let mut contexts = [0; TILE];
    let mut classes = [0; TILE];
    let mut differences = [0; TILE];
    let bytes = TILE * element.size();
    for (out, base) in out.chunks_mut(bytes).zip(base.chunks(bytes)) {
        let count = out.len() / element.size();
        let contexts = &mut contexts[..count];
        magnitudes(level, element, base, contexts);
        for context in &mut *contexts {
            *context = clusters.table_of[usize::from(*context)];
        }
        decoder.decode(contexts, &mut classes[..count])?;
        expand(&classes[..count], &mut open, &mut differences[..count]);
        add(level, element, &differences[..count], base, out);
    }
    open.finish()?;
    decoder.finish()
}

/// Turns classes and their open bits into differences.
fn expand(classes: &[u8], open: &mut BitReader<'_>, differences: &mut [u64]) {
    for (classes, differences) in classes.chunks(64).zip(differences.chunks_mut(64)) {
        for (&class, difference) in classes.iter().zip(&mut *differences) {
            *difference = u64::from(class);
        }
        if classes.iter().all(|&class| u64::from(class) < SMALL) {
            continue;
        }
        for (&class, difference) in classes.iter().zip(differences) {
            let (start, width) = class_start(class);
            *difference = start | open.read_wide(width);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_cover_all_differences_without_gaps() {
        let edges = (0..64).flat_map(|bit| {
            [
                1u64 << bit,
                (1u64 << bit) - 1,
                3u64 << bit >> 1,
                u64::MAX >> bit,
            ]
        });
        for difference in edges.chain(0..5000) {
            let (class, open) = class_of(difference);
            let (start, width) = class_start(class);
            assert_eq!(open, width, "difference {difference}");
            assert_eq!(
                difference >> width << width,
                start,
                "difference {difference}"
            );
        }
        assert_eq!(class_of(u64::MAX).0, 255);
        assert_eq!(class_of(u64::from(u16::MAX)).0, 63);
    }

    #[test]
    fn clusters_are_written_and_read_back() {
        let mut counts = [0; 256];
        for (magnitude, count) in counts.iter_mut().enumerate() {
            *count = 1000 * (magnitude as u32 % 7);
        }
        let elements = counts.iter().sum::<u32>() as usize;
        let clusters = Clusters::choose(&counts, elements);
        assert_eq!(clusters.tables(), CONTEXTS_MAX);
        let mut bytes = Vec::new();
        let mut bits = BitWriter::new(&mut bytes);
        clusters.write(&mut bits);
        bits.finish();
        let read = Clusters::read(&mut BitReader::new(&bytes)).unwrap();
        assert_eq!(read.table_of, clusters.table_of);
    }
}
