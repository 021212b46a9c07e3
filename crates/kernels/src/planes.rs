//! Grouping: the fields of all elements side by side, the most significant byte first.

use crate::element::{Element, Mapping};
use crate::simd::for_each_level;
use crate::word::{Word, with_word};

for_each_level! {
    /// Splits elements into planes; `planes` has as many bytes as `raw`.
    pub fn split(element: Element, raw: &[u8], planes: &mut [u8]) = split_any
}

for_each_level! {
    /// Puts elements together again from their planes.
    pub fn merge(element: Element, planes: &[&[u8]], raw: &mut [u8]) = merge_any
}

for_each_level! {
    /// Writes the byte of each element that tells its magnitude: the exponent of a float, nothing of an integer.
    pub fn magnitudes(element: Element, raw: &[u8], out: &mut [u8]) = magnitudes_any
}

#[inline(always)]
fn split_any(element: Element, raw: &[u8], planes: &mut [u8]) {
    let mapping = element.mapping();
    with_word!(element.size(), split_words(mapping, raw, planes));
}

#[inline(always)]
fn split_words<W: Word>(mapping: Mapping, raw: &[u8], planes: &mut [u8]) {
    let count = raw.len() / W::SIZE;
    if W::SIZE == 1 {
        planes.copy_from_slice(raw);
        return;
    }
    for (index, plane) in planes
        .chunks_exact_mut(count.max(1))
        .enumerate()
        .take(W::SIZE)
    {
        match mapping {
            Mapping::Plain => take_plane::<W>(raw, plane, |word| word.byte_from_top(index)),
            Mapping::Zigzag => {
                take_plane::<W>(raw, plane, |word| word.zigzag().byte_from_top(index))
            }
            Mapping::Rotated => {
                take_plane::<W>(raw, plane, |word| word.rotated().byte_from_top(index))
            }
        }
    }
}

#[inline(always)]
fn take_plane<W: Word>(raw: &[u8], plane: &mut [u8], field: impl Fn(W) -> u8) {
    for (bytes, target) in raw.chunks_exact(W::SIZE).zip(plane) {
        *target = field(W::read(bytes));
    }
}

#[inline(always)]
fn merge_any(element: Element, planes: &[&[u8]], raw: &mut [u8]) {
    let mapping = element.mapping();
    with_word!(element.size(), merge_words(mapping, planes, raw));
}

#[inline(always)]
fn merge_words<W: Word>(mapping: Mapping, planes: &[&[u8]], raw: &mut [u8]) {
    match mapping {
        Mapping::Plain => merge_mapped::<W>(planes, raw, |word| word),
        Mapping::Zigzag => merge_mapped::<W>(planes, raw, W::unzigzag),
        Mapping::Rotated => merge_mapped::<W>(planes, raw, W::unrotated),
    }
}

#[inline(always)]
fn merge_mapped<W: Word>(planes: &[&[u8]], raw: &mut [u8], unmap: impl Fn(W) -> W) {
    let count = raw.len() / W::SIZE;
    let plane = |index: usize| &planes[index][..count];
    match W::SIZE {
        1 => raw.copy_from_slice(plane(0)),
        2 => merge_from::<W, 2>([plane(0), plane(1)], raw, unmap),
        4 => merge_from::<W, 4>([plane(0), plane(1), plane(2), plane(3)], raw, unmap),
        _ => merge_from::<W, 8>(std::array::from_fn(plane), raw, unmap),
    }
}

#[inline(always)]
fn merge_from<W: Word, const PLANES: usize>(
    planes: [&[u8]; PLANES],
    raw: &mut [u8],
    unmap: impl Fn(W) -> W,
) {
    let count = raw.len() / W::SIZE;
    let planes = planes.map(|plane| &plane[..count]);
    for (at, target) in raw.chunks_exact_mut(W::SIZE).enumerate() {
        let mut word = W::default();
        for (index, plane) in planes.iter().enumerate() {
            word = word.with_byte_from_top(index, plane[at]);
        }
        unmap(word).write(target);
    }
}

#[inline(always)]
fn magnitudes_any(element: Element, raw: &[u8], out: &mut [u8]) {
    if element.is_float() {
        with_word!(element.size(), exponents(raw, out));
    } else {
        out.fill(0);
    }
}

#[inline(always)]
fn exponents<W: Word>(raw: &[u8], out: &mut [u8]) {
    take_plane::<W>(raw, out, |word| word.rotated().byte_from_top(0));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::simd::Level;

    proptest! {
        #[test]
        fn planes_are_put_together_again_at_every_level(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            for (element, _) in Element::all() {
                let count = bytes.len() / element.size();
                let raw = &bytes[..count * element.size()];
                let mut expected = vec![0; raw.len()];
                split(Level::available().next().unwrap(), element, raw, &mut expected);
                for level in Level::available() {
                    let mut planes = vec![0; raw.len()];
                    split(level, element, raw, &mut planes);
                    prop_assert_eq!(&planes, &expected);
                    let views: Vec<&[u8]> = (0..element.size()).map(|i| &planes[i * count..(i + 1) * count]).collect();
                    let mut merged = vec![0; raw.len()];
                    merge(level, element, &views, &mut merged);
                    prop_assert_eq!(&merged[..], raw);
                }
            }
        }
    }

    #[test]
    fn the_first_plane_of_a_bf16_is_its_exponent() {
        let raw = 0xbf81_u16.to_le_bytes();
        let mut planes = [0; 2];
        split(Level::best(), Element::Bf16, &raw, &mut planes);
        assert_eq!(planes, [0x7f, 0x03]);
    }
}
