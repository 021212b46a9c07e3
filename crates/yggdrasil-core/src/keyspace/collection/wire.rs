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
