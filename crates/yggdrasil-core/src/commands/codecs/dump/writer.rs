//! Writing lengths and strings of payloads.

use crate::keyspace::collection::listpack::Element;

use super::{ENCODED, FOOTER_BYTES, INT_8, INT_16, INT_32, LEN_14_BIT, LEN_32_BIT, LEN_64_BIT};

pub(super) fn write_int(out: &mut Vec<u8>, int: i64) {
    if let Ok(int) = i8::try_from(int) {
        out.push(ENCODED | INT_8);
        out.extend(int.to_le_bytes());
    } else if let Ok(int) = i16::try_from(int) {
        out.push(ENCODED | INT_16);
        out.extend(int.to_le_bytes());
    } else if let Ok(int) = i32::try_from(int) {
        out.push(ENCODED | INT_32);
        out.extend(int.to_le_bytes());
    } else {
        write_bytes(out, itoa::Buffer::new().format(int).as_bytes());
    }
}

pub(in crate::commands::codecs) fn write_number(out: &mut Vec<u8>, number: u64) {
    if number < 1 << 6 {
        out.push(number as u8);
    } else if number < 1 << 14 {
        out.extend((number as u16 | u16::from(LEN_14_BIT) << 14).to_be_bytes());
    } else if let Ok(number) = u32::try_from(number) {
        out.push(LEN_32_BIT);
        out.extend(number.to_be_bytes());
    } else {
        out.push(LEN_64_BIT);
        out.extend(number.to_be_bytes());
    }
}

pub(in crate::commands::codecs) fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.reserve(bytes.len() + FOOTER_BYTES + 9);
    write_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// An element, as an integer where it is one.
pub(super) fn write_element(out: &mut Vec<u8>, element: Element<'_>) {
    match element {
        Element::Int(number) => write_int(out, number),
        Element::Str(text) => match Element::of(text) {
            Element::Int(number) => write_int(out, number),
            Element::Str(text) => write_bytes(out, text),
        },
    }
}
