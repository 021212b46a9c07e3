//! Elements as unsigned words: the arithmetic that all coders share.

/// An unsigned word with the operations that the mappings need.
pub trait Word: Copy + Default + Eq {
    const SIZE: usize;

    fn read(bytes: &[u8]) -> Self;
    fn write(self, bytes: &mut [u8]);
    fn from_u64(value: u64) -> Self;
    fn to_u64(self) -> u64;
    /// The byte at `index`, the highest one first.
    fn byte_from_top(self, index: usize) -> u8;
    fn with_byte_from_top(self, index: usize, byte: u8) -> Self;

    fn rotated(self) -> Self;
    fn unrotated(self) -> Self;
    fn zigzag(self) -> Self;
    fn unzigzag(self) -> Self;
    /// Floats by sign and magnitude as integers that are ordered like the floats.
    fn ordered(self) -> Self;
    fn unordered(self) -> Self;
    fn plus(self, other: Self) -> Self;
    fn minus(self, other: Self) -> Self;
}

macro_rules! word {
    ($unsigned:ty, $signed:ty) => {
        impl Word for $unsigned {
            const SIZE: usize = size_of::<$unsigned>();

            #[inline(always)]
            fn read(bytes: &[u8]) -> Self {
                Self::from_le_bytes(bytes.try_into().expect("a word's bytes"))
            }

            #[inline(always)]
            fn write(self, bytes: &mut [u8]) {
                bytes.copy_from_slice(&self.to_le_bytes());
            }

            #[inline(always)]
            fn from_u64(value: u64) -> Self {
                value as Self
            }

            #[inline(always)]
            fn to_u64(self) -> u64 {
                u64::from(self)
            }

            #[inline(always)]
            fn byte_from_top(self, index: usize) -> u8 {
                (self >> ((Self::SIZE - 1 - index) * 8)) as u8
            }

            #[inline(always)]
            fn with_byte_from_top(self, index: usize, byte: u8) -> Self {
                self | Self::from(byte) << ((Self::SIZE - 1 - index) * 8)
            }

            #[inline(always)]
            fn rotated(self) -> Self {
                self.rotate_left(1)
            }

            #[inline(always)]
            fn unrotated(self) -> Self {
                self.rotate_right(1)
            }

            #[inline(always)]
            fn zigzag(self) -> Self {
                self << 1 ^ sign_mask(self as $signed) as Self
            }

            #[inline(always)]
            fn unzigzag(self) -> Self {
                self >> 1 ^ (self & 1).wrapping_neg()
            }

            #[inline(always)]
            fn ordered(self) -> Self {
                self ^ (sign_mask(self as $signed) as Self | 1 << (Self::BITS - 1))
            }

            #[inline(always)]
            fn unordered(self) -> Self {
                self ^ (sign_mask(!self as $signed) as Self | 1 << (Self::BITS - 1))
            }

            #[inline(always)]
            fn plus(self, other: Self) -> Self {
                self.wrapping_add(other)
            }

            #[inline(always)]
            fn minus(self, other: Self) -> Self {
                self.wrapping_sub(other)
            }
        }
    };
}

/// All bits set for a negative number, none for another one.
#[inline(always)]
fn sign_mask<S: std::ops::Shr<u32, Output = S>>(value: S) -> S {
    value >> (size_of::<S>() as u32 * 8 - 1)
}

word!(u8, i8);
word!(u16, i16);
word!(u32, i32);
word!(u64, i64);

/// Calls a generic function with the word that has the size of an element.
macro_rules! with_word {
    ($size:expr, $function:ident ( $($argument:expr),* $(,)? )) => {
        match $size {
            1 => $function::<u8>($($argument),*),
            2 => $function::<u16>($($argument),*),
            4 => $function::<u32>($($argument),*),
            _ => $function::<u64>($($argument),*),
        }
    };
}
pub(crate) use with_word;

#[cfg(test)]
mod tests {
    use super::*;

    fn check<W: Word + std::fmt::Debug>(value: u64) {
        let word = W::from_u64(value);
        assert_eq!(word.rotated().unrotated(), word);
        assert_eq!(word.zigzag().unzigzag(), word);
        assert_eq!(word.ordered().unordered(), word);
    }

    #[test]
    fn the_mappings_can_be_undone() {
        for value in 0..=u64::from(u16::MAX) {
            check::<u8>(value);
            check::<u16>(value);
            check::<u32>(value << 16 | value);
            check::<u64>(value << 48 | value);
        }
    }

    #[test]
    fn ordered_words_are_ordered_like_the_floats() {
        let floats = [
            f32::NEG_INFINITY,
            -2.5,
            -1e-40,
            -0.0,
            0.0,
            1e-40,
            1.0,
            f32::MAX,
            f32::INFINITY,
        ];
        let ordered: Vec<u32> = floats
            .iter()
            .map(|float| float.to_bits().ordered())
            .collect();
        assert!(ordered.is_sorted());
    }
}
