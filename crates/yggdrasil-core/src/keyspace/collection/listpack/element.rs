//! Elements of listpacks, and their encoding.

use std::hash::{Hash, Hasher};

use crate::resp::parse_i64;

/// An element: a number is one however it was given, so that equal texts are equal elements.
#[derive(Clone, Copy, Debug)]
pub enum Element<'a> {
    Str(&'a [u8]),
    Int(i64),
}

impl<'a> Element<'a> {
    /// The element of a text: an integer where the text is exactly how an integer is printed.
    #[inline]
    pub fn of(text: &'a [u8]) -> Self {
        match text.first() {
            Some(b'0'..=b'9' | b'-') => parse_i64(text).map_or(Self::Str(text), Self::Int),
            _ => Self::Str(text),
        }
    }

    /// The text; that of an integer is written to `buffer`.
    #[inline]
    pub fn text<'b>(self, buffer: &'b mut itoa::Buffer) -> &'b [u8]
    where
        'a: 'b,
    {
        match self {
            Self::Str(text) => text,
            Self::Int(number) => buffer.format(number).as_bytes(),
        }
    }

    /// The text in memory of its own.
    pub fn to_vec(self) -> Vec<u8> {
        self.text(&mut itoa::Buffer::new()).to_vec()
    }

    /// Bytes of the text.
    pub fn text_len(self) -> usize {
        self.text(&mut itoa::Buffer::new()).len()
    }

    /// Bytes of its entry in a listpack.
    #[inline]
    pub fn packed_len(self) -> usize {
        let len = Encoded::of(self).len();
        len + back_len_bytes(len)
    }
}

/// Equality of the texts.
impl PartialEq for Element<'_> {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        match (*self, *other) {
            (Self::Str(one), Self::Str(other)) => one == other,
            (Self::Int(one), Self::Int(other)) => one == other,
            (Self::Str(text), Self::Int(number)) | (Self::Int(number), Self::Str(text)) => {
                parse_i64(text) == Some(number)
            }
        }
    }
}

impl Eq for Element<'_> {}

impl Hash for Element<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let canonical = match *self {
            Self::Str(text) => Self::of(text),
            number => number,
        };
        match canonical {
            Self::Str(text) => text.hash(state),
            Self::Int(number) => number.hash(state),
        }
    }
}

impl<'a> From<&'a [u8]> for Element<'a> {
    fn from(text: &'a [u8]) -> Self {
        Self::of(text)
    }
}

impl From<i64> for Element<'_> {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

// First bytes of entries, by their highest bits.
const INT_13: u8 = 0b1100_0000;
const STR_6: u8 = 0b1000_0000;
const STR_12: u8 = 0b1110_0000;
const STR_32: u8 = 0xf0;
const INT_16: u8 = 0xf1;
const INT_24: u8 = 0xf2;
const INT_32: u8 = 0xf3;
const INT_64: u8 = 0xf4;

/// The longest first part of an entry: that of an integer of 64 bits.
const HEAD_BYTES_MAX: usize = 9;

/// The longest length that stands behind an entry.
const BACK_BYTES_MAX: usize = 5;

/// An entry without its length at the end.
pub(super) struct Encoded<'a> {
    head: [u8; HEAD_BYTES_MAX],
    head_len: usize,
    text: &'a [u8],
}

impl<'a> Encoded<'a> {
    #[inline]
    pub(super) fn of(element: Element<'a>) -> Self {
        match element {
            Element::Str(text) => Self::of_text(text),
            Element::Int(number) => Self::of_number(number),
        }
    }

    fn new(head: &[u8], text: &'a [u8]) -> Self {
        let mut encoded = Self {
            head: [0; HEAD_BYTES_MAX],
            head_len: head.len(),
            text,
        };
        encoded.head[..head.len()].copy_from_slice(head);
        encoded
    }

    fn of_text(text: &'a [u8]) -> Self {
        let len = text.len();
        if len < 1 << 6 {
            Self::new(&[STR_6 | len as u8], text)
        } else if len < 1 << 12 {
            Self::new(&[STR_12 | (len >> 8) as u8, len as u8], text)
        } else {
            let [a, b, c, d] = (len as u32).to_le_bytes();
            Self::new(&[STR_32, a, b, c, d], text)
        }
    }

    fn of_number(number: i64) -> Self {
        let [a, b, c, d, ..] = number.to_le_bytes();
        match number {
            0..=127 => Self::new(&[a], &[]),
            -4096..=4095 => Self::new(&[INT_13 | (b & 0x1f), a], &[]),
            -0x8000..=0x7fff => Self::new(&[INT_16, a, b], &[]),
            -0x80_0000..=0x7f_ffff => Self::new(&[INT_24, a, b, c], &[]),
            -0x8000_0000..=0x7fff_ffff => Self::new(&[INT_32, a, b, c, d], &[]),
            _ => {
                let mut encoded = Self::new(&[INT_64; HEAD_BYTES_MAX], &[]);
                encoded.head[1..].copy_from_slice(&number.to_le_bytes());
                encoded
            }
        }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.head_len + self.text.len()
    }

    /// Bytes of the whole entry.
    #[inline]
    pub(super) fn entry_len(&self) -> usize {
        self.len() + back_len_bytes(self.len())
    }

    /// Appends the whole entry.
    pub(super) fn append(&self, out: &mut Vec<u8>) {
        let len = self.len();
        out.reserve(len + BACK_BYTES_MAX);
        out.extend_from_slice(&self.head[..self.head_len]);
        out.extend_from_slice(self.text);
        match back_len_bytes(len) {
            1 => out.push(len as u8),
            bytes => {
                let mut back = [0; BACK_BYTES_MAX];
                write_back_len(&mut back[..bytes], len);
                out.extend_from_slice(&back[..bytes]);
            }
        }
    }

    /// Writes the whole entry to a place of its length.
    pub(super) fn write(&self, place: &mut [u8]) {
        let (head, rest) = place.split_at_mut(self.head_len);
        head.copy_from_slice(&self.head[..self.head_len]);
        let (text, back) = rest.split_at_mut(self.text.len());
        text.copy_from_slice(self.text);
        write_back_len(back, self.len());
    }
}

/// Bytes of the length that stands behind an entry. The bounds are those of Redis, whose last values take a byte more
/// than they need.
#[inline]
fn back_len_bytes(len: usize) -> usize {
    match len {
        0..=127 => 1,
        128..=16_382 => 2,
        16_383..=2_097_150 => 3,
        2_097_151..=268_435_454 => 4,
        _ => 5,
    }
}

/// Writes a length in 7 bits a byte, the lowest last; all bytes but the first have their upper bit set.
fn write_back_len(place: &mut [u8], len: usize) {
    let mut rest = len;
    for byte in place.iter_mut().rev() {
        *byte = (rest & 0x7f) as u8 | 0x80;
        rest >>= 7;
    }
    if let Some(first) = place.first_mut() {
        *first &= 0x7f;
    }
}

/// The length that ends before `end`.
#[inline]
fn read_back_len(bytes: &[u8], end: usize) -> Option<usize> {
    let mut len = 0;
    for taken in 1..=5 {
        let byte = *bytes.get(end.checked_sub(taken)?)?;
        len |= usize::from(byte & 0x7f) << (7 * (taken - 1));
        if byte & 0x80 == 0 {
            return Some(len);
        }
    }
    None
}

/// An entry as it is read.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) element: Element<'a>,
    /// Where the next entry begins.
    pub(super) next: usize,
}

/// Reads the entry at a place; `None` where none is, or not all of it. What stands behind the element is passed over.
#[inline]
pub(super) fn read(bytes: &[u8], at: usize) -> Option<Entry<'_>> {
    let (element, len) = read_element(bytes.get(at..)?)?;
    let next = at + len + back_len_bytes(len);
    (next < bytes.len()).then_some(Entry { element, next })
}

/// True for texts that are no numbers, and whose entries say their length in the first byte.
#[inline]
pub(super) fn is_short_text(text: &[u8]) -> bool {
    text.len() < 1 << 6 && !matches!(text.first(), Some(b'0'..=b'9' | b'-'))
}

/// The first byte of the entry of a short text, and the bytes of the entry.
#[inline]
pub(super) fn head_of_short(text: &[u8]) -> (u8, usize) {
    (STR_6 | text.len() as u8, text.len() + 2)
}

/// True where the first byte of an entry says how long it is.
#[inline]
pub(super) fn says_length(first: u8) -> bool {
    first < STR_12
}

/// False where the entry at a place is not that of a short text, as its first bytes tell.
#[inline]
pub(super) fn may_be(bytes: &[u8], at: usize, text: &[u8]) -> bool {
    match (bytes.get(at), bytes.get(at + 1)) {
        (Some(&head), Some(second)) if head < INT_13 => {
            usize::from(head) == usize::from(STR_6) + text.len()
                && text.first().is_none_or(|first| first == second)
        }
        _ => true,
    }
}

/// Where the entry behind the one at a place begins, as [`read`] tells.
#[inline]
pub(super) fn skip(bytes: &[u8], at: usize) -> Option<usize> {
    let first = *bytes.get(at)?;
    // Most entries are short texts.
    if (STR_6..INT_13).contains(&first) {
        let next = at + 2 + usize::from(first & 0x3f);
        return (next < bytes.len()).then_some(next);
    }
    let byte = |place: usize| bytes.get(at + place).copied().map(usize::from);
    let len = match first {
        0..INT_13 => 1,
        INT_13..STR_12 => 2,
        STR_12..STR_32 => 2 + (usize::from(first & 0x0f) << 8 | byte(1)?),
        STR_32 => {
            let len = u32::from_le_bytes(*bytes.get(at + 1..)?.first_chunk()?);
            5 + len as usize
        }
        INT_16 => 3,
        INT_24 => 4,
        INT_32 => 5,
        INT_64 => 9,
        _ => return None,
    };
    let next = at + len + back_len_bytes(len);
    (next < bytes.len()).then_some(next)
}

/// Where the entry begins that ends at `end`.
#[inline]
pub(super) fn start_before(bytes: &[u8], end: usize) -> Option<usize> {
    let len = read_back_len(bytes, end)?;
    end.checked_sub(len + back_len_bytes(len))
}

/// Whether an entry that was read has its own length behind it.
pub(super) fn is_sound(bytes: &[u8], at: usize, next: usize) -> bool {
    read_back_len(bytes, next).is_some_and(|len| at + len + back_len_bytes(len) == next && len > 0)
}

/// The element at the beginning, and the bytes of its encoding.
#[inline]
fn read_element(bytes: &[u8]) -> Option<(Element<'_>, usize)> {
    let first = *bytes.first()?;
    match first {
        0..STR_6 => Some((Element::Int(first.into()), 1)),
        STR_6..INT_13 => text(bytes, 1, usize::from(first & 0x3f)),
        INT_13..STR_12 => {
            let unsigned = u16::from(first & 0x1f) << 8 | u16::from(*bytes.get(1)?);
            // The sign is the highest of 13 bits.
            let number = (unsigned << 3) as i16 >> 3;
            Some((Element::Int(number.into()), 2))
        }
        STR_12..STR_32 => {
            let len = usize::from(first & 0x0f) << 8 | usize::from(*bytes.get(1)?);
            text(bytes, 2, len)
        }
        STR_32 => {
            let len = u32::from_le_bytes(*bytes.get(1..)?.first_chunk()?);
            text(bytes, 5, len as usize)
        }
        INT_16 => number(bytes, 2),
        INT_24 => number(bytes, 3),
        INT_32 => number(bytes, 4),
        INT_64 => number(bytes, 8),
        _ => None,
    }
}

#[inline]
fn text(bytes: &[u8], from: usize, len: usize) -> Option<(Element<'_>, usize)> {
    let end = from.checked_add(len)?;
    Some((Element::Str(bytes.get(from..end)?), end))
}

/// The integer of some bytes behind the first one.
fn number(bytes: &[u8], width: usize) -> Option<(Element<'_>, usize)> {
    let mut wide = [0; 8];
    wide[8 - width..].copy_from_slice(bytes.get(1..=width)?);
    let number = i64::from_le_bytes(wide) >> (64 - 8 * width);
    Some((Element::Int(number), 1 + width))
}
