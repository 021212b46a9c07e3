//! A block: the unit that is coded, hashed and read on its own.
//!
//! A code is always shorter than what it stands for. Bytes that nothing can shorten are kept as they are, and a block
//! that is as long as its elements is such a one.

use crate::bits::{BitReader, BitWriter};
use crate::delta::{self, DeltaScratch};
use crate::element::Element;
use crate::error::{KernelError, Result};
use crate::model::{Frequencies, Histogram, entropy_bits, histogram};
use crate::packed::{FIELD_BYTES, Field};
use crate::planes::{merge, split};
use crate::rans::{Decoder, DecoderTables, Encoder};
use crate::simd::Level;

/// First byte of a code.
mod kind {
    pub const PLANES: u8 = 1;
    pub const DELTA: u8 = 2;
    pub const SAME: u8 = 3;
}

/// First byte of a plane.
mod mode {
    pub const RAW: u8 = 0;
    pub const CONSTANT: u8 = 1;
    pub const CODED: u8 = 2;
    pub const PACKED: u8 = 3;
}

/// Share of its bytes that a plane has to save to be coded at all.
const SAVING_MIN: f64 = 1.0 / 64.0;
/// Bytes of a plane that are looked at together, and how many times as many are passed over.
const SAMPLE_RUN: usize = 256;
const SAMPLE_STRIDE: usize = 8;
/// Planes up to this length are counted as a whole.
const SAMPLED_FROM: usize = 32 * 1024;
/// Bytes that a stream has beside its symbols: the states, and a table of few symbols.
const STREAM_HEAD_BYTES: f64 = 300.0;
/// A delta as small as this is taken without trying the planes.
const DELTA_IS_GOOD: f64 = 0.6;
/// Bytes decoded at a time before they are put together.
const TILE: usize = 4096;

/// Memory that is kept from block to block.
#[derive(Default)]
pub struct Scratch {
    encoder: Encoder,
    tables: DecoderTables,
    delta: DeltaScratch,
    planes: Vec<u8>,
    code: Vec<u8>,
}

/// Encodes one block to the end of `out`. `base` has the length of `raw`, a multiple of the element.
pub fn encode(
    scratch: &mut Scratch,
    level: Level,
    element: Element,
    raw: &[u8],
    base: Option<&[u8]>,
    out: &mut Vec<u8>,
) {
    let start = out.len();
    if let Some(base) = base {
        out.push(kind::DELTA);
        let differs = delta::encode(
            &mut scratch.delta,
            &mut scratch.encoder,
            level,
            element,
            raw,
            base,
            out,
        );
        if !differs && raw.len() > 1 {
            out[start] = kind::SAME;
            return;
        }
        if differs && ((out.len() - start) as f64) < raw.len() as f64 * DELTA_IS_GOOD {
            return;
        }
    }
    let mut code = std::mem::take(&mut scratch.code);
    code.clear();
    encode_planes(scratch, level, element, raw, &mut code);
    if base.is_none() || code.len() < out.len() - start || out.len() - start == 1 {
        out.truncate(start);
        out.extend_from_slice(&code);
    }
    scratch.code = code;
    if out.len() - start >= raw.len() {
        out.truncate(start);
        out.extend_from_slice(raw);
    }
}

fn encode_planes(
    scratch: &mut Scratch,
    level: Level,
    element: Element,
    raw: &[u8],
    out: &mut Vec<u8>,
) {
    out.push(kind::PLANES);
    scratch.planes.resize(raw.len(), 0);
    split(level, element, raw, &mut scratch.planes);
    let count = raw.len() / element.size();
    for (index, plane) in scratch.planes.chunks_exact(count.max(1)).enumerate() {
        encode_plane(&mut scratch.encoder, level, plane, index == 0, out);
    }
}

fn encode_plane(
    encoder: &mut Encoder,
    level: Level,
    plane: &[u8],
    always_counted: bool,
    out: &mut Vec<u8>,
) {
    let start = out.len();
    let field = Field::of(plane);
    if field.width == 0 && !plane.is_empty() {
        out.extend_from_slice(&[mode::CONSTANT, plane[0]]);
        return;
    }
    if let Some(counts) = worth_coding(plane, always_counted) {
        if packs_as_well(field, &counts, plane.len()) {
            out.push(mode::PACKED);
            field.write(out);
            field.pack(plane, out);
            return;
        }
        let table = Frequencies::scaled(&counts);
        out.extend_from_slice(&[mode::CODED, 0, 0, 0, 0]);
        let mut bits = BitWriter::new(out);
        table.write(256, &mut bits);
        bits.finish();
        encoder.encode(plane, &[], &[table], level, out);
        let length = out.len() - start - 5;
        if length + 5 < plane.len() {
            out[start + 1..start + 5].copy_from_slice(&(length as u32).to_le_bytes());
            return;
        }
        out.truncate(start);
    }
    out.push(mode::RAW);
    out.extend_from_slice(plane);
}

/// True for a plane whose constant bits are all that a coder would find.
fn packs_as_well(field: Field, counts: &Histogram, count: usize) -> bool {
    let packed = FIELD_BYTES + field.packed_bytes(count);
    field.width < u8::BITS && (packed as f64) < entropy_bits(counts) / 8.0 + STREAM_HEAD_BYTES
}

/// Counts of a plane that is worth to be coded. A long one is judged by a sample before all of it is counted.
fn worth_coding(plane: &[u8], always_counted: bool) -> Option<Histogram> {
    if !always_counted && plane.len() > SAMPLED_FROM {
        let mut sample = [0; 256];
        let mut taken = 0;
        for run in plane.chunks(SAMPLE_RUN).step_by(SAMPLE_STRIDE) {
            for &byte in run {
                sample[usize::from(byte)] += 1;
            }
            taken += run.len();
        }
        // A sample shows less entropy than there is, by about half a bit for each symbol in use (Miller 1955).
        let used = sample.iter().filter(|&&count| count > 0).count() as f64;
        let bits = entropy_bits(&sample) + (used - 1.0) / (2.0 * std::f64::consts::LN_2);
        if bits > taken as f64 * 8.0 * (1.0 - SAVING_MIN) {
            return None;
        }
    }
    let counts = histogram(plane);
    let worth = entropy_bits(&counts) < plane.len() as f64 * 8.0 * (1.0 - SAVING_MIN);
    worth.then_some(counts)
}

/// True for the code of a block of `raw_bytes` bytes that is decoded with the base only.
pub fn needs_base(code: &[u8], raw_bytes: usize) -> bool {
    code.len() < raw_bytes && matches!(code.first(), Some(&(kind::DELTA | kind::SAME)))
}

/// Decodes one block into `out`.
pub fn decode(
    scratch: &mut Scratch,
    level: Level,
    element: Element,
    code: &[u8],
    base: Option<&[u8]>,
    out: &mut [u8],
) -> Result<()> {
    if code.len() == out.len() {
        out.copy_from_slice(code);
        return Ok(());
    }
    let (&kind, rest) = code
        .split_first()
        .ok_or(KernelError::Corrupt("a block has no bytes"))?;
    match kind {
        kind::PLANES => decode_planes(scratch, level, element, rest, out),
        kind::DELTA => {
            let base = base.ok_or(KernelError::BaseNeeded)?;
            delta::decode(&mut scratch.tables, level, element, rest, base, out)
        }
        kind::SAME if rest.is_empty() => {
            out.copy_from_slice(base.ok_or(KernelError::BaseNeeded)?);
            Ok(())
        }
        _ => Err(KernelError::Corrupt("a block is of an unknown kind")),
    }
}

/// A plane as it is stored, or what is left of one to decode.
enum Plane<'a, Coded> {
    Raw(&'a [u8]),
    Constant(u8),
    Packed(Field, &'a [u8]),
    Coded(Coded),
}

fn decode_planes(
    scratch: &mut Scratch,
    level: Level,
    element: Element,
    mut code: &[u8],
    out: &mut [u8],
) -> Result<()> {
    let count = out.len() / element.size();
    let mut stored = Vec::with_capacity(element.size());
    // The planes are read side by side, tile by tile, so each has slots of its own.
    for index in 0..element.size() {
        stored.push(read_plane(&mut code, count, index, &mut scratch.tables)?);
    }
    if !code.is_empty() {
        return Err(KernelError::Corrupt("a block has bytes after its planes"));
    }
    let mut planes = Vec::with_capacity(element.size());
    for (index, plane) in stored.into_iter().enumerate() {
        planes.push(match plane {
            Plane::Raw(bytes) => Plane::Raw(bytes),
            Plane::Constant(byte) => Plane::Constant(byte),
            Plane::Packed(field, bytes) => Plane::Packed(field, bytes),
            Plane::Coded(stream) => {
                Plane::Coded(Decoder::new(&scratch.tables, index, stream, level)?)
            }
        });
    }
    let mut buffers = [[0u8; TILE]; 8];
    for (tile, out) in out.chunks_mut(TILE * element.size()).enumerate() {
        let length = out.len() / element.size();
        let mut views: [&[u8]; 8] = [&[]; 8];
        for ((plane, buffer), view) in planes.iter_mut().zip(&mut buffers).zip(&mut views) {
            *view = plane.tile(tile * TILE, length, buffer)?;
        }
        merge(level, element, &views[..element.size()], out);
    }
    for plane in &planes {
        if let Plane::Coded(decoder) = plane {
            decoder.finish()?;
        }
    }
    Ok(())
}

impl Plane<'_, Decoder<'_>> {
    fn tile<'b>(
        &'b mut self,
        start: usize,
        length: usize,
        buffer: &'b mut [u8; TILE],
    ) -> Result<&'b [u8]> {
        let buffer = &mut buffer[..length];
        match self {
            Self::Raw(bytes) => return Ok(&bytes[start..start + length]),
            Self::Constant(byte) => buffer.fill(*byte),
            Self::Packed(field, bytes) => field.unpack(&bytes[field.packed_bytes(start)..], buffer),
            Self::Coded(decoder) => decoder.decode(&[], buffer)?,
        }
        Ok(buffer)
    }
}

fn read_plane<'a>(
    code: &mut &'a [u8],
    count: usize,
    index: usize,
    tables: &mut DecoderTables,
) -> Result<Plane<'a, &'a [u8]>> {
    const SHORT: KernelError = KernelError::Corrupt("a plane is shorter than it says");
    let (&mode, rest) = code.split_first().ok_or(SHORT)?;
    match mode {
        mode::RAW => {
            let (bytes, rest) = rest.split_at_checked(count).ok_or(SHORT)?;
            *code = rest;
            Ok(Plane::Raw(bytes))
        }
        mode::CONSTANT => {
            let (&byte, rest) = rest.split_first().ok_or(SHORT)?;
            *code = rest;
            Ok(Plane::Constant(byte))
        }
        mode::PACKED => {
            let (field, rest) = rest.split_first_chunk::<FIELD_BYTES>().ok_or(SHORT)?;
            let field = Field::read(*field)?;
            let (bytes, rest) = rest
                .split_at_checked(field.packed_bytes(count))
                .ok_or(SHORT)?;
            if !field.ends_in_zeros(bytes, count) {
                return Err(KernelError::Corrupt("a plane has bits behind its end"));
            }
            *code = rest;
            Ok(Plane::Packed(field, bytes))
        }
        mode::CODED => {
            let (length, rest) = rest.split_first_chunk::<4>().ok_or(SHORT)?;
            let (coded, rest) = rest
                .split_at_checked(u32::from_le_bytes(*length) as usize)
                .ok_or(SHORT)?;
            *code = rest;
            let mut head = BitReader::new(coded);
            tables.set(index, &Frequencies::read(256, &mut head)?);
            Ok(Plane::Coded(&coded[head.finish()?..]))
        }
        _ => Err(KernelError::Corrupt("a plane is of an unknown mode")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round_trip(element: Element, raw: &[u8], base: Option<&[u8]>) -> Vec<u8> {
        let mut scratch = Scratch::default();
        let mut expected: Option<Vec<u8>> = None;
        for level in Level::available() {
            let mut code = Vec::new();
            encode(&mut scratch, level, element, raw, base, &mut code);
            assert!(
                code.len() <= raw.len(),
                "{} bytes for {}",
                code.len(),
                raw.len()
            );
            if let Some(expected) = &expected {
                assert_eq!(&code, expected, "level {}", level.name());
            }
            let mut out = vec![0xa5; raw.len()];
            decode(&mut scratch, level, element, &code, base, &mut out).unwrap();
            assert_eq!(out, raw, "level {}", level.name());
            expected = Some(code);
        }
        expected.unwrap_or_default()
    }

    /// Bytes with few or many distinct values, in any number.
    fn skewed() -> impl Strategy<Value = Vec<u8>> {
        (0u32..9, prop::collection::vec(any::<u16>(), 0..3000)).prop_map(|(shift, words)| {
            words
                .into_iter()
                .flat_map(|word| {
                    [
                        (word & 0xff) as u8,
                        ((word >> 8) as u8).checked_shr(shift).unwrap_or(0),
                    ]
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn blocks_come_back_bit_for_bit(bytes in skewed()) {
            for (element, _) in Element::all() {
                let raw = &bytes[..bytes.len() / element.size() * element.size()];
                round_trip(element, raw, None);
            }
        }

        #[test]
        fn deltas_come_back_bit_for_bit(base in skewed(), noise in skewed(), mask in any::<u64>()) {
            let mut bytes = base.clone();
            for (index, (byte, noise)) in bytes.iter_mut().zip(&noise).enumerate() {
                if mask >> (index % 64) & 1 == 1 {
                    *byte = byte.wrapping_add(*noise & 3);
                }
            }
            for (element, _) in Element::all() {
                let length = bytes.len() / element.size() * element.size();
                round_trip(element, &bytes[..length], Some(&base[..length]));
            }
        }

        #[test]
        fn damaged_codes_never_panic(
            bytes in skewed(),
            noise in skewed(),
            at in any::<prop::sample::Index>(),
            flip in 1u8..,
            cut in any::<prop::sample::Index>(),
        ) {
            let mut scratch = Scratch::default();
            for element in [Element::U8, Element::Bf16, Element::F32, Element::I64] {
                let length = bytes.len().min(noise.len()) / element.size() * element.size();
                for base in [None, Some(&noise[..length])] {
                    let mut code = Vec::new();
                    encode(&mut scratch, Level::best(), element, &bytes[..length], base, &mut code);
                    if code.is_empty() {
                        continue;
                    }
                    let index = at.index(code.len());
                    code[index] ^= flip;
                    for level in Level::available() {
                        let mut out = vec![0; length];
                        let _ = decode(&mut scratch, level, element, &code, base, &mut out);
                        let _ = decode(&mut scratch, level, element, &code[..cut.index(code.len())], base, &mut out);
                    }
                }
            }
        }
    }

    #[test]
    fn deltas_with_many_tables_and_nearly_certain_symbols_come_back() {
        let base: Vec<u8> = (0..1u32 << 16)
            .flat_map(|i| ((i.wrapping_mul(i) >> 9) as u16 ^ 0x3c00).to_le_bytes())
            .collect();
        for step in [3, 40, 1000, 30_000] {
            let mut raw = base.clone();
            for byte in raw.iter_mut().step_by(step * 2) {
                *byte ^= 3;
            }
            round_trip(Element::Bf16, &raw, Some(&base));
            round_trip(Element::F16, &raw, Some(&base));
        }
    }

    #[test]
    fn a_block_of_one_value_takes_a_few_bytes() {
        assert!(round_trip(Element::F32, &[0; 1 << 16], None).len() < 16);
    }

    #[test]
    fn a_sign_that_is_never_set_takes_no_room() {
        let mut state = 7u32;
        let raw: Vec<u8> = (0..1 << 16)
            .flat_map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (0x3f80_0000 | state >> 9).to_le_bytes()
            })
            .collect();
        let code = round_trip(Element::F32, &raw, None);
        // Exponent and sign are constant: 23 bits are left of 32.
        assert!(code.len() < raw.len() / 32 * 23 + 32, "{}", code.len());
    }

    #[test]
    fn a_block_equal_to_its_base_takes_one_byte() {
        let raw: Vec<u8> = (0..4096u32)
            .flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes())
            .collect();
        assert_eq!(round_trip(Element::F32, &raw, Some(&raw)), [kind::SAME]);
    }

    #[test]
    fn a_single_byte_equal_to_its_base_is_kept_as_it_is() {
        assert_eq!(round_trip(Element::U8, &[7], Some(&[7])), [7]);
        assert!(round_trip(Element::U8, &[], Some(&[])).is_empty());
    }

    #[test]
    fn noise_is_kept_as_it_is() {
        let mut state = 1u64;
        let raw: Vec<u8> = std::iter::repeat_with(|| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        })
        .take(1 << 17)
        .collect();
        assert_eq!(round_trip(Element::U8, &raw, None), raw);
    }
}
