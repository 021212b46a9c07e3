//! Names of commands as they are looked up: by their first and last eight bytes in lower case. Names of up to 16 bytes
//! are compared by that alone, so no string is hashed and, for nearly all of them, none is compared.

use crate::resp::Span;

/// Longest name of a command or subcommand.
const NAME_BYTES_MAX: usize = 64;
/// Container of what is no subcommand.
pub(in crate::commands) const NO_CONTAINER: u16 = u16::MAX;

/// A name, as far as it is compared without looking at its letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::commands) struct NameKey {
    /// The first eight bytes, filled up with zeros.
    pub(in crate::commands) head: u64,
    /// The last eight bytes of a name that is longer than that, else zero.
    tail: u64,
    /// The length, and above it the row of the container.
    pub(in crate::commands) kind: u32,
}

impl NameKey {
    pub(in crate::commands) const EMPTY: Self = Self {
        head: 0,
        tail: 0,
        kind: 0,
    };
    /// Names of up to so many bytes are the same when their keys are.
    pub(in crate::commands) const WHOLE_BYTES_MAX: usize = 16;

    /// `None` for what is too short or too long to be a name.
    pub(in crate::commands) fn of(parent: u16, name: &[u8]) -> Option<Self> {
        let len = name.len();
        if !(1..=NAME_BYTES_MAX).contains(&len) {
            return None;
        }
        let head = word(name, 0).unwrap_or_else(|| {
            let mut bytes = [0; 8];
            bytes[..len].copy_from_slice(name);
            u64::from_le_bytes(bytes)
        });
        let tail = if len > 8 { word(name, len - 8)? } else { 0 };
        Some(Self {
            head: lower(head),
            tail: lower(tail),
            kind: len as u32 | u32::from(parent) << 8,
        })
    }

    /// The key of a name of up to eight bytes. As a rule others follow it, so that eight can be read at once.
    #[inline]
    pub(in crate::commands) fn short(bytes: &[u8], name: Span) -> Option<Self> {
        let head = word(bytes, name.start)?;
        if !(1..=8).contains(&name.len) {
            return None;
        }
        Some(Self {
            head: lower(head & (u64::MAX >> (64 - 8 * name.len))),
            tail: 0,
            kind: name.len as u32 | u32::from(NO_CONTAINER) << 8,
        })
    }

    /// The key of a name of nine to 16 bytes.
    pub(in crate::commands) fn long(bytes: &[u8], name: Span) -> Option<Self> {
        if !(9..=Self::WHOLE_BYTES_MAX).contains(&name.len) {
            return None;
        }
        Some(Self {
            head: lower(word(bytes, name.start)?),
            tail: lower(word(bytes, name.start + name.len - 8)?),
            kind: name.len as u32 | u32::from(NO_CONTAINER) << 8,
        })
    }

    #[inline]
    pub(in crate::commands) fn hash(&self) -> u64 {
        let mixed = self.head ^ self.tail.rotate_left(29) ^ u64::from(self.kind).rotate_right(24);
        mixed.wrapping_mul(0xd6e8_feb8_6659_fd93) >> 40
    }
}

#[inline]
fn word(bytes: &[u8], at: usize) -> Option<u64> {
    let chunk = bytes.get(at..)?.first_chunk()?;
    Some(u64::from_le_bytes(*chunk))
}

/// Eight letters at once: those from 'A' to 'Z' become lower case, every other byte stays.
#[inline]
fn lower(word: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let low_bits = word & (0x7f * EACH);
    // Bit 7 of a byte tells whether it is at least 'A', or beyond 'Z'.
    let from_a = low_bits + (0x80 - u64::from(b'A')) * EACH;
    let beyond_z = low_bits + (0x7f - u64::from(b'Z')) * EACH;
    let is_upper = (from_a ^ beyond_z) & !word & (0x80 * EACH);
    word | is_upper >> 2
}

/// True when a command may have this name, or a subcommand in its container.
pub(in crate::commands) fn is_name(name: &str) -> bool {
    let is_allowed = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.')
    };
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn eight_letters_are_lowered_at_once(word: u64) {
            let expected = u64::from_le_bytes(word.to_le_bytes().map(|byte| byte.to_ascii_lowercase()));
            prop_assert_eq!(lower(word), expected);
        }

        #[test]
        fn short_names_have_keys_of_their_own(a in "[a-z]{1,16}", b in "[a-z]{1,16}") {
            let (key_a, key_b) = (NameKey::of(NO_CONTAINER, a.as_bytes()), NameKey::of(NO_CONTAINER, b.as_bytes()));
            prop_assert_eq!(a == b, key_a == key_b);
            let request = format!("{a}\r\n$3\r\nkey\r\n");
            let name = Span { start: 0, len: a.len() };
            let (short, long) = (NameKey::short(request.as_bytes(), name), NameKey::long(request.as_bytes(), name));
            prop_assert_eq!(short.xor(long), key_a);
        }
    }
}
