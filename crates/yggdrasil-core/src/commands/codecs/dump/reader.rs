//! Reading lengths and strings of payloads.

use std::borrow::Cow;

use crate::commands::codecs::lzf;

use super::{
    ENCODED, INT_8, INT_16, INT_32, LEN_6_BIT, LEN_14_BIT, LEN_32_BIT, LEN_64_BIT, LEN_LONG, LZF,
};

/// A payload that is being read. Whatever it says, no more memory is taken than a limit allows.
#[derive(Debug)]
pub(in crate::commands::codecs) struct Reader<'a> {
    rest: &'a [u8],
    /// Bytes that may still be unpacked.
    unpack_max: u64,
}

impl<'a> Reader<'a> {
    pub(in crate::commands::codecs) fn new(bytes: &'a [u8], unpack_max: u64) -> Self {
        Self {
            rest: bytes,
            unpack_max,
        }
    }

    pub(in crate::commands::codecs) fn byte(&mut self) -> Option<u8> {
        self.take().map(|[byte]: [u8; 1]| byte)
    }

    pub(super) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, after) = self.rest.split_first_chunk()?;
        self.rest = after;
        Some(*first)
    }

    pub(super) fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (bytes, after) = self.rest.split_at_checked(len)?;
        self.rest = after;
        Some(bytes)
    }

    /// A number that is stored as a length.
    pub(super) fn number(&mut self) -> Option<u64> {
        let first = self.byte()?;
        match first >> 6 {
            LEN_6_BIT => Some(u64::from(first)),
            LEN_14_BIT => {
                let low = self.byte()?;
                Some(u64::from(first & 0x3f) << 8 | u64::from(low))
            }
            LEN_LONG if first == LEN_32_BIT => Some(u64::from(u32::from_be_bytes(self.take()?))),
            LEN_LONG if first == LEN_64_BIT => Some(u64::from_be_bytes(self.take()?)),
            _ => None,
        }
    }

    pub(super) fn len(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok()
    }

    /// Bytes that are not read yet.
    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    /// A time in milliseconds.
    pub(super) fn time(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    pub(in crate::commands::codecs) fn string(&mut self) -> Option<Cow<'a, [u8]>> {
        let first = *self.rest.first()?;
        if first < ENCODED {
            let len = self.len()?;
            return self.bytes(len).map(Cow::Borrowed);
        }
        self.byte()?;
        let int = match first & !ENCODED {
            INT_8 => i64::from(i8::from_le_bytes(self.take()?)),
            INT_16 => i64::from(i16::from_le_bytes(self.take()?)),
            INT_32 => i64::from(i32::from_le_bytes(self.take()?)),
            LZF => return self.packed().map(Cow::Owned),
            _ => return None,
        };
        Some(Cow::Owned(int.to_string().into_bytes()))
    }

    fn packed(&mut self) -> Option<Vec<u8>> {
        let (packed_len, len) = (self.len()?, self.len()?);
        self.unpack_max = self.unpack_max.checked_sub(len as u64)?;
        lzf::unpack(self.bytes(packed_len)?, len)
    }
}
