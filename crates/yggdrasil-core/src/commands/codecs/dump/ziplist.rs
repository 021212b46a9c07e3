//! Ziplists: what listpacks were before Redis 7.
//!
//! ```text
//! total bytes: u32 | offset of the last entry: u32 | entries: u16 | entries | 0xff
//! entry = length of the one before it: u8, or 254 and u32 | encoding | bytes of the element
//! ```
//! Numbers are little-endian, but for the lengths in encodings.

use crate::keyspace::collection::listpack::Element;

use super::reader::Reader;

const HEADER_BYTES: usize = 10;
const END: u8 = 0xff;
const LONG: u8 = 0xfe;
/// Stands for a number of entries that has to be counted.
const UNKNOWN: u16 = u16::MAX;

/// The elements of a ziplist; `None` for bytes that are none.
pub(super) fn parse(bytes: &[u8]) -> Option<Vec<Element<'_>>> {
    let mut reader = Reader::new(bytes, 0);
    let total = u32::from_le_bytes(reader.take()?) as usize;
    let last = u32::from_le_bytes(reader.take()?) as usize;
    let count = u16::from_le_bytes(reader.take()?);
    if total != bytes.len() || bytes.last() != Some(&END) {
        return None;
    }
    let entries = bytes.get(HEADER_BYTES..total.checked_sub(1)?)?;
    let mut reader = Reader::new(entries, 0);
    let (mut elements, mut before) = (Vec::new(), 0);
    let (mut left, mut last_at) = (entries.len(), HEADER_BYTES);
    while left > 0 {
        last_at = HEADER_BYTES + entries.len() - left;
        let length_before = match reader.byte()? {
            LONG => u32::from_le_bytes(reader.take()?) as usize,
            END => return None,
            short => usize::from(short),
        };
        if length_before != before {
            return None;
        }
        elements.push(element(&mut reader)?);
        before = left - reader.left();
        left = reader.left();
    }
    let is_counted = count == UNKNOWN || usize::from(count) == elements.len();
    (is_counted && last == last_at).then_some(elements)
}

fn element<'a>(reader: &mut Reader<'a>) -> Option<Element<'a>> {
    let first = reader.byte()?;
    let len = match first >> 6 {
        0 => usize::from(first),
        1 => usize::from(first & 0x3f) << 8 | usize::from(reader.byte()?),
        2 => u32::from_be_bytes(reader.take()?) as usize,
        _ => return integer(first, reader).map(Element::Int),
    };
    reader.bytes(len).map(Element::of)
}

fn integer(first: u8, reader: &mut Reader<'_>) -> Option<i64> {
    match first {
        0xc0 => reader.take().map(|bytes| i16::from_le_bytes(bytes).into()),
        0xd0 => reader.take().map(|bytes| i32::from_le_bytes(bytes).into()),
        0xe0 => reader.take().map(i64::from_le_bytes),
        0xf0 => {
            let [a, b, c] = reader.take()?;
            Some(i64::from(i32::from_le_bytes([0, a, b, c]) >> 8))
        }
        0xfe => reader.take().map(|bytes| i8::from_le_bytes(bytes).into()),
        0xf1..=0xfd => Some(i64::from(first & 0x0f) - 1),
        _ => None,
    }
}
