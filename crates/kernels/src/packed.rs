//! Planes of which only some neighbouring bits differ, such as the lowest byte of floats without a sign.

use crate::error::{KernelError, Result};

/// Bytes packed together: as many as a field then has bytes for its bits.
const GROUP: usize = 8;
/// Bytes of a stored field.
pub const FIELD_BYTES: usize = 3;

/// Calls a function that is compiled for each width.
macro_rules! with_width {
    ($width:expr, $function:ident ( $($argument:expr),* )) => {
        match $width {
            1 => $function::<1>($($argument),*),
            2 => $function::<2>($($argument),*),
            3 => $function::<3>($($argument),*),
            4 => $function::<4>($($argument),*),
            5 => $function::<5>($($argument),*),
            6 => $function::<6>($($argument),*),
            _ => $function::<7>($($argument),*),
        }
    };
}

/// The bits of a byte that differ within a plane, and the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    shift: u32,
    /// The number of bits; none in a plane of one value.
    pub width: u32,
    rest: u8,
}

impl Field {
    pub fn of(plane: &[u8]) -> Self {
        let (any, all) = plane
            .iter()
            .fold((0, u8::MAX), |(any, all), &byte| (any | byte, all & byte));
        let differing = any & !all;
        if differing == 0 {
            return Self {
                shift: 0,
                width: 0,
                rest: any,
            };
        }
        let shift = differing.trailing_zeros();
        let width = u8::BITS - differing.leading_zeros() - shift;
        let inside = low_bits(width) as u8;
        Self {
            shift,
            width,
            rest: any & !(inside << shift),
        }
    }

    /// Bytes that `count` bytes of a plane take.
    pub fn packed_bytes(self, count: usize) -> usize {
        count.div_ceil(GROUP) * self.width as usize
    }

    pub fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.shift as u8, self.width as u8, self.rest]);
    }

    pub fn read(bytes: [u8; FIELD_BYTES]) -> Result<Self> {
        let [shift, width, rest] = bytes;
        let (shift, width) = (u32::from(shift), u32::from(width));
        let fits = (1..u8::BITS).contains(&width) && shift <= u8::BITS - width;
        if !fits || rest & (low_bits(width) as u8) << shift != 0 {
            return Err(KernelError::Corrupt("a plane has an impossible field"));
        }
        Ok(Self { shift, width, rest })
    }

    /// True where the last group has nothing behind the last byte, so that each plane has one code.
    pub fn ends_in_zeros(self, code: &[u8], count: usize) -> bool {
        let used = count % GROUP * self.width as usize;
        let start = code.len().saturating_sub(self.width as usize);
        used == 0
            || code[start..].iter().enumerate().all(|(index, &byte)| {
                let behind = used.saturating_sub(index * 8).min(8);
                u32::from(byte) >> behind == 0
            })
    }

    /// Appends the bits of a plane.
    pub fn pack(self, plane: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.resize(start + self.packed_bytes(plane.len()), 0);
        let target = &mut out[start..];
        with_width!(self.width, pack_groups(self, plane, target));
    }

    /// Restores bytes of a plane; `code` begins with a whole group.
    pub fn unpack(self, code: &[u8], plane: &mut [u8]) {
        with_width!(self.width, unpack_groups(self, code, plane));
    }
}

fn pack_groups<const WIDTH: usize>(field: Field, plane: &[u8], code: &mut [u8]) {
    let mask = u64::from_le_bytes([low_bits(WIDTH as u32) as u8; GROUP]);
    let pack = |group: [u8; GROUP]| -> [u8; WIDTH] {
        let bits = together::<WIDTH>(u64::from_le_bytes(group) >> field.shift & mask).to_le_bytes();
        std::array::from_fn(|index| bits[index])
    };
    let (groups, rest) = plane.as_chunks::<GROUP>();
    let (targets, _) = code.as_chunks_mut::<WIDTH>();
    for (&group, target) in groups.iter().zip(&mut *targets) {
        *target = pack(group);
    }
    if let (false, Some(target)) = (rest.is_empty(), targets.last_mut()) {
        let mut group = [0; GROUP];
        group[..rest.len()].copy_from_slice(rest);
        *target = pack(group);
    }
}

fn unpack_groups<const WIDTH: usize>(field: Field, code: &[u8], plane: &mut [u8]) {
    let others = u64::from_le_bytes([field.rest; GROUP]);
    let unpack = |bits: [u8; WIDTH]| -> [u8; GROUP] {
        let bits = std::array::from_fn(|index| bits.get(index).copied().unwrap_or(0));
        (apart::<WIDTH>(u64::from_le_bytes(bits)) << field.shift | others).to_le_bytes()
    };
    let (codes, _) = code.as_chunks::<WIDTH>();
    let (groups, rest) = plane.as_chunks_mut::<GROUP>();
    for (group, &bits) in groups.iter_mut().zip(codes) {
        *group = unpack(bits);
    }
    if let Some(&bits) = codes.get(groups.len()) {
        rest.copy_from_slice(&unpack(bits)[..rest.len()]);
    }
}

/// Moves eight fields of a byte each together: by pairs, then by fours, then all.
fn together<const WIDTH: usize>(fields: u64) -> u64 {
    let gap = GROUP - WIDTH;
    let pairs = fields & 0x00ff_00ff_00ff_00ff | (fields & 0xff00_ff00_ff00_ff00) >> gap;
    let fours = pairs & 0x0000_ffff_0000_ffff | (pairs & 0xffff_0000_ffff_0000) >> (2 * gap);
    fours & 0xffff_ffff | (fours & !0xffff_ffff) >> (4 * gap)
}

fn apart<const WIDTH: usize>(bits: u64) -> u64 {
    let gap = GROUP - WIDTH;
    let (one, two, four) = (
        low_bits(WIDTH as u32),
        low_bits(2 * WIDTH as u32),
        low_bits(4 * WIDTH as u32),
    );
    let fours = bits & four | (bits >> (4 * WIDTH) & four) << 32;
    let twos = two << 32 | two;
    let pairs = fours & twos | (fours & twos << (2 * WIDTH)) << (2 * gap);
    let ones = one << 48 | one << 32 | one << 16 | one;
    pairs & ones | (pairs & ones << WIDTH) << gap
}

fn low_bits(count: u32) -> u64 {
    (1 << count) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_comes_back_at_every_length() {
        for width in 1..8 {
            for shift in 0..=8 - width {
                let rest = 0b1010_0101 & !((low_bits(width) as u8) << shift);
                for count in [2, 7, 8, 9, 64, 100] {
                    let plane: Vec<u8> = (0..count as u64)
                        .map(|at| {
                            let bits = (at.wrapping_mul(0x9e37_79b9) >> 3 ^ at) & low_bits(width);
                            let bits = if at == 0 {
                                0
                            } else if at == 1 {
                                low_bits(width)
                            } else {
                                bits
                            };
                            (bits as u8) << shift | rest
                        })
                        .collect();
                    let field = Field::of(&plane);
                    assert_eq!(field, Field { shift, width, rest });
                    let mut code = Vec::new();
                    field.write(&mut code);
                    assert_eq!(Field::read([code[0], code[1], code[2]]).unwrap(), field);
                    code.clear();
                    field.pack(&plane, &mut code);
                    assert!(field.ends_in_zeros(&code, count));
                    assert_eq!(code.len(), field.packed_bytes(count));
                    let mut back = vec![0xa5; count];
                    field.unpack(&code, &mut back);
                    assert_eq!(back, plane);
                }
            }
        }
    }

    #[test]
    fn a_plane_of_one_value_has_no_field() {
        assert_eq!(Field::of(&[9; 20]).width, 0);
    }

    #[test]
    fn bits_behind_the_last_byte_are_noticed() {
        let field = Field::of(&[0, 0b110]);
        let mut code = Vec::new();
        field.pack(&[0, 0b110], &mut code);
        for bit in 0..16 {
            let mut changed = code.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(field.ends_in_zeros(&changed, 2), bit < 4, "bit {bit}");
        }
    }

    #[test]
    fn impossible_fields_are_refused() {
        for bytes in [
            [0, 0, 0],
            [0, 8, 0],
            [3, 6, 0],
            [9, 1, 0],
            [255, 2, 0],
            [1, 2, 0b100],
        ] {
            assert!(Field::read(bytes).is_err(), "{bytes:?}");
        }
    }
}
