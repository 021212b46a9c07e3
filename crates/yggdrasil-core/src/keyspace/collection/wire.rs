//! Lengths, bytes and numbers in the operations on collections, and in their leaves.
//!
//! A length is a LEB128 number: seven bits a byte, the lowest first, and the top bit where more follow.

/// Appends a length.
pub fn put_length(out: &mut Vec<u8>, length: usize) {
    let mut left = length as u64;
    while left >= 0x80 {
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}

/// Appends bytes with their length before them.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_length(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Bytes that a length takes.
#[inline]
pub fn length_bytes(length: usize) -> usize {
    const BITS: u32 = 7;
    (usize::BITS - (length | 1).leading_zeros()).div_ceil(BITS) as usize
}

/// Writes a length at the front of a place, and leaves what is behind it.
#[inline]
pub fn write_length(place: &mut &mut [u8], length: usize) {
    let mut left = length;
    while left >= 0x80 {
        write_bytes(place, &[left as u8 | 0x80]);
        left >>= 7;
    }
    write_bytes(place, &[left as u8]);
}

/// Writes bytes at the front of a place that has room for them, and leaves what is behind it.
#[inline]
pub fn write_bytes(place: &mut &mut [u8], bytes: &[u8]) {
    let (front, behind) = std::mem::take(place).split_at_mut(bytes.len());
    front.copy_from_slice(bytes);
    *place = behind;
}

/// The length at the front of some bytes, and what follows it.
#[inline]
pub fn length_at(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    if *first < 0x80 {
        return Some((usize::from(*first), rest));
    }
    long_length_at(bytes)
}

fn long_length_at(bytes: &[u8]) -> Option<(usize, &[u8])> {
    const BYTES_MAX: usize = 10;
    let mut length = 0_u64;
    for (index, byte) in bytes.iter().take(BYTES_MAX).enumerate() {
        if index == BYTES_MAX - 1 && *byte > 1 {
            return None;
        }
        length |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let length = usize::try_from(length).ok()?;
            return Some((length, &bytes[index + 1..]));
        }
    }
    None
}

/// Operations that are being read.
#[derive(Clone, Copy, Debug)]
pub struct Wire<'a> {
    rest: &'a [u8],
}

impl<'a> Wire<'a> {
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// True at the end.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    /// A length.
    pub fn length(&mut self) -> Option<usize> {
        let (length, rest) = length_at(self.rest)?;
        self.rest = rest;
        Some(length)
    }

    /// Bytes behind their length.
    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.length()?;
        self.take(length)
    }

    /// So many bytes.
    pub fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(bytes)
    }

    /// All that is left.
    #[must_use]
    pub fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// A number of eight bytes.
    pub fn u64(&mut self) -> Option<u64> {
        let (number, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(u64::from_le_bytes(*number))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lengths_and_bytes_come_back(length: u32, bytes: Vec<u8>, number: u64) {
            let mut out = Vec::new();
            put_length(&mut out, length as usize);
            put_bytes(&mut out, &bytes);
            out.extend(number.to_le_bytes());
            let mut wire = Wire::new(&out);
            let mut written = vec![0; length_bytes(length as usize) + bytes.len()];
            let mut place = &mut written[..];
            write_length(&mut place, length as usize);
            write_bytes(&mut place, &bytes);
            prop_assert!(place.is_empty());
            prop_assert!(out.starts_with(&written[..length_bytes(length as usize)]));
            prop_assert!(written.ends_with(&bytes));
            prop_assert_eq!(wire.length(), Some(length as usize));
            prop_assert_eq!(wire.bytes(), Some(&bytes[..]));
            prop_assert_eq!(wire.u64(), Some(number));
            prop_assert!(wire.is_empty());
        }

        #[test]
        fn no_bytes_are_too_strange_to_be_read(bytes: Vec<u8>) {
            let mut wire = Wire::new(&bytes);
            while wire.bytes().is_some() {}
        }
    }
}
