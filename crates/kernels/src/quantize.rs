//! Lossy coding by groups: each group of elements has a scale, and each element a whole number of few bits.
//!
//! A payload is the scales (f32, little endian), then the codes: a byte for each element, or half of one, the lower half
//! first. A code is the element divided by the scale, to the nearest: from -127 to 127, or from -7 to 7.

use half::{bf16, f16};

use crate::element::Element;
use crate::error::{KernelError, Result};

/// The width of a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bits {
    Eight,
    Four,
}

impl Bits {
    pub fn new(bits: u32) -> Option<Self> {
        match bits {
            8 => Some(Self::Eight),
            4 => Some(Self::Four),
            _ => None,
        }
    }

    fn code_max(self) -> f32 {
        match self {
            Self::Eight => 127.0,
            Self::Four => 7.0,
        }
    }

    fn code_bytes(self, elements: usize) -> usize {
        match self {
            Self::Eight => elements,
            Self::Four => elements.div_ceil(2),
        }
    }
}

/// Quantized elements, and how far they are from the exact ones.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantized {
    pub payload: Vec<u8>,
    /// The largest error of an element.
    pub error_max: f64,
    /// The largest error of an element as a share of the largest element of its group.
    pub relative_error_max: f64,
}

const SCALE_BYTES: usize = 4;

/// Bytes of the payload of so many elements.
pub fn payload_bytes(bits: Bits, group: usize, elements: usize) -> usize {
    elements.div_ceil(group.max(1)) * SCALE_BYTES + bits.code_bytes(elements)
}

fn check(element: Element, group: usize, raw_bytes: usize) -> Result<()> {
    if !matches!(element, Element::F16 | Element::Bf16 | Element::F32) {
        return Err(KernelError::Parameter(
            "only f16, bf16 and f32 can be quantized",
        ));
    }
    if group == 0 || !group.is_multiple_of(2) {
        return Err(KernelError::Parameter(
            "a group has an even number of elements, two at least",
        ));
    }
    if !raw_bytes.is_multiple_of(element.size()) {
        return Err(KernelError::Parameter(
            "the bytes are not a whole number of elements",
        ));
    }
    Ok(())
}

fn read(element: Element, bytes: &[u8]) -> f32 {
    match (element, bytes) {
        (Element::F16, &[a, b]) => f16::from_le_bytes([a, b]).to_f32(),
        (Element::Bf16, &[a, b]) => bf16::from_le_bytes([a, b]).to_f32(),
        (_, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]),
        _ => unreachable!("`check` has seen the type"),
    }
}

fn write(element: Element, value: f32, out: &mut [u8]) {
    match element {
        Element::F16 => out.copy_from_slice(&f16::from_f32(value).to_le_bytes()),
        Element::Bf16 => out.copy_from_slice(&bf16::from_f32(value).to_le_bytes()),
        _ => out.copy_from_slice(&value.to_le_bytes()),
    }
}

/// The element as the type can hold it: what a reader gets for `value`.
fn rounded(element: Element, value: f32) -> f32 {
    match element {
        Element::F16 => f16::from_f32(value).to_f32(),
        Element::Bf16 => bf16::from_f32(value).to_f32(),
        _ => value,
    }
}

/// Quantizes elements. Infinities and NaN have no bound, so they are refused.
pub fn quantize(element: Element, bits: Bits, group: usize, raw: &[u8]) -> Result<Quantized> {
    check(element, group, raw.len())?;
    let elements = raw.len() / element.size();
    let mut payload = vec![0; payload_bytes(bits, group, elements)];
    let (scales, codes) = payload.split_at_mut(elements.div_ceil(group) * SCALE_BYTES);
    let (scales, _) = scales.as_chunks_mut::<SCALE_BYTES>();
    let (mut error_max, mut relative_error_max) = (0f64, 0f64);
    let mut values = Vec::with_capacity(group.min(elements));
    let parts = raw
        .chunks(group * element.size())
        .zip(codes.chunks_mut(bits.code_bytes(group)));
    for ((raw, codes), target) in parts.zip(scales) {
        values.clear();
        values.extend(
            raw.chunks_exact(element.size())
                .map(|bytes| read(element, bytes)),
        );
        if values.iter().any(|value| !value.is_finite()) {
            return Err(KernelError::Parameter(
                "an element is infinite or not a number, so no bound can hold",
            ));
        }
        let largest = values
            .iter()
            .fold(0f32, |largest, value| largest.max(value.abs()));
        let scale = largest / bits.code_max();
        *target = scale.to_le_bytes();
        let mut group_error = 0f64;
        for (index, &value) in values.iter().enumerate() {
            let code = if scale > 0.0 {
                (value / scale)
                    .round()
                    .clamp(-bits.code_max(), bits.code_max())
            } else {
                0.0
            };
            put_code(bits, codes, index, code as i8);
            let error = f64::from(rounded(element, code * scale)) - f64::from(value);
            group_error = group_error.max(error.abs());
        }
        error_max = error_max.max(group_error);
        if largest > 0.0 {
            relative_error_max = relative_error_max.max(group_error / f64::from(largest));
        }
    }
    Ok(Quantized {
        payload,
        error_max,
        relative_error_max,
    })
}

/// Writes elements back from a payload.
pub fn dequantize(
    element: Element,
    bits: Bits,
    group: usize,
    payload: &[u8],
    out: &mut [u8],
) -> Result<()> {
    check(element, group, out.len())?;
    let elements = out.len() / element.size();
    let expected = payload_bytes(bits, group, elements);
    if payload.len() != expected {
        return Err(KernelError::Length {
            what: "a quantized payload",
            expected: expected as u64,
            found: payload.len() as u64,
        });
    }
    let (scales, codes) = payload.split_at(elements.div_ceil(group) * SCALE_BYTES);
    let (scales, _) = scales.as_chunks::<SCALE_BYTES>();
    let parts = out
        .chunks_mut(group * element.size())
        .zip(codes.chunks(bits.code_bytes(group)));
    for ((out, codes), scale) in parts.zip(scales) {
        let scale = f32::from_le_bytes(*scale);
        for (index, target) in out.chunks_exact_mut(element.size()).enumerate() {
            write(
                element,
                f32::from(code_at(bits, codes, index)) * scale,
                target,
            );
        }
    }
    Ok(())
}

fn put_code(bits: Bits, codes: &mut [u8], index: usize, code: i8) {
    match bits {
        Bits::Eight => codes[index] = code as u8,
        Bits::Four => codes[index / 2] |= (code as u8 & 15) << (index % 2 * 4),
    }
}

fn code_at(bits: Bits, codes: &[u8], index: usize) -> i8 {
    match bits {
        Bits::Eight => codes[index] as i8,
        // Shifted to the top and back, so that the sign comes along.
        Bits::Four => (codes[index / 2] << (4 - index % 2 * 4)) as i8 >> 4,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_error_is_what_was_said(values in prop::collection::vec(-1e6f32..1e6, 0..500), group in 1usize..40) {
            for element in [Element::F16, Element::Bf16, Element::F32] {
                let mut raw = vec![0; values.len() * element.size()];
                for (bytes, value) in raw.chunks_exact_mut(element.size()).zip(&values) {
                    write(element, value / 1e3, bytes);
                }
                for bits in [Bits::Eight, Bits::Four] {
                    let quantized = quantize(element, bits, group * 2, &raw).unwrap();
                    let mut out = vec![0; raw.len()];
                    dequantize(element, bits, group * 2, &quantized.payload, &mut out).unwrap();
                    let worst = raw
                        .chunks_exact(element.size())
                        .zip(out.chunks_exact(element.size()))
                        .map(|(old, new)| (f64::from(read(element, old)) - f64::from(read(element, new))).abs())
                        .fold(0.0, f64::max);
                    prop_assert_eq!(worst, quantized.error_max);
                    // Half a step, and the rounding of the type itself.
                    let bound = 0.5 / f64::from(bits.code_max()) + 0.004;
                    prop_assert!(quantized.relative_error_max <= bound);
                }
            }
        }
    }

    #[test]
    fn what_has_no_bound_is_refused() {
        for value in [f32::NAN, f32::INFINITY] {
            assert!(quantize(Element::F32, Bits::Eight, 2, &value.to_le_bytes()).is_err());
        }
        assert!(quantize(Element::I32, Bits::Eight, 2, &[0; 4]).is_err());
    }

    #[test]
    fn a_payload_of_another_length_is_refused() {
        assert!(dequantize(Element::F32, Bits::Four, 2, &[0; 9], &mut [0; 4]).is_err());
    }
}
