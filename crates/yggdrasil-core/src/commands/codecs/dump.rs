//! The payload of DUMP and RESTORE: a value in the format of Redis's snapshots, its version and a checksum.
//!
//! ```text
//! type: u8 | value | version: u16 LE | crc64: u64 LE over all before
//! ```

use std::borrow::Cow;

use crc::{CRC_64_REDIS, Crc, Table};

use crate::commands::codecs::lzf;
use crate::commands::table::error::CommandError;
use crate::keyspace::{Kind, Value};

/// The version that is written, and the newest that is read: that of Redis 8.0.
const VERSION: u16 = 12;
const FOOTER_BYTES: usize = 10;
const TYPE_STRING: u8 = 0;

// First byte of a length: its upper two bits tell how to read it.
const LEN_6_BIT: u8 = 0;
const LEN_14_BIT: u8 = 1;
const LEN_LONG: u8 = 2;
const LEN_32_BIT: u8 = 0x80;
const LEN_64_BIT: u8 = 0x81;
// No length but an encoding, in the lower six bits.
const ENCODED: u8 = 0xc0;
const INT_8: u8 = 0;
const INT_16: u8 = 1;
const INT_32: u8 = 2;
const LZF: u8 = 3;

const CRC64: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_REDIS);
static CRC64_TABLE: Crc<u64, Table<16>> = CRC64;

/// The payload of a value.
///
/// # Errors
/// The value is of a kind, or in a place, that has no payload here.
pub(in crate::commands) fn dump(kind: Kind, value: Value<'_>) -> Result<Vec<u8>, CommandError> {
    let mut out = vec![TYPE_STRING];
    match (kind, value) {
        (Kind::String, Value::Int(int)) => write_int(&mut out, int),
        (Kind::String, Value::Bytes(bytes)) => write_bytes(&mut out, bytes),
        (_, Value::Absent(_)) => return Err(CommandError::NotInMemory),
        (kind, _) => {
            return Err(CommandError::text(format!(
                "ERR values of type {} have no DUMP payload; read them by the commands of their type",
                kind.type_name()
            )));
        }
    }
    seal(&mut out);
    Ok(out)
}

/// Appends version and checksum.
pub(super) fn seal(out: &mut Vec<u8>) {
    out.extend(VERSION.to_le_bytes());
    let checksum = CRC64_TABLE.checksum(out);
    out.extend(checksum.to_le_bytes());
}

/// The part of a payload before version and checksum, if these are right.
pub(super) fn body(payload: &[u8]) -> Result<&[u8], CommandError> {
    check(payload).ok_or(CommandError::Plain(
        "DUMP payload version or checksum are wrong",
    ))
}

/// The string in a payload, which may have up to `bytes_max` bytes.
pub(in crate::commands) fn restore(
    payload: &[u8],
    bytes_max: u64,
) -> Result<Cow<'_, [u8]>, CommandError> {
    let body = body(payload)?;
    read(body, bytes_max).ok_or(CommandError::Plain("Bad data format"))
}

fn write_int(out: &mut Vec<u8>, int: i64) {
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

pub(super) fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = bytes.len();
    out.reserve(len + FOOTER_BYTES + 9);
    if len < 1 << 6 {
        out.push(len as u8);
    } else if len < 1 << 14 {
        out.extend((len as u16 | u16::from(LEN_14_BIT) << 14).to_be_bytes());
    } else if let Ok(len) = u32::try_from(len) {
        out.push(LEN_32_BIT);
        out.extend(len.to_be_bytes());
    } else {
        out.push(LEN_64_BIT);
        out.extend((len as u64).to_be_bytes());
    }
    out.extend_from_slice(bytes);
}

/// The bytes before the footer, if the footer is right.
fn check(payload: &[u8]) -> Option<&[u8]> {
    let checked = payload.len().checked_sub(FOOTER_BYTES - 2)?;
    let (checked, checksum) = payload.split_at(checked);
    let (body, version) = checked.split_at_checked(checked.len().checked_sub(2)?)?;
    let version = u16::from_le_bytes(version.try_into().ok()?);
    let checksum = u64::from_le_bytes(checksum.try_into().ok()?);
    (version <= VERSION && CRC64_TABLE.checksum(checked) == checksum).then_some(body)
}

fn read(body: &[u8], bytes_max: u64) -> Option<Cow<'_, [u8]>> {
    let mut rest = body;
    if take::<1>(&mut rest)? != [TYPE_STRING] {
        return None;
    }
    read_string(&mut rest, bytes_max)
}

/// A string at the front of `rest`, which may have up to `bytes_max` bytes.
pub(super) fn read_string<'a>(rest: &mut &'a [u8], bytes_max: u64) -> Option<Cow<'a, [u8]>> {
    let first = *rest.first()?;
    if first < ENCODED {
        let len = read_len(rest)?;
        let (string, after) = rest.split_at_checked(len)?;
        *rest = after;
        return Some(Cow::Borrowed(string));
    }
    *rest = &rest[1..];
    let int = match first & !ENCODED {
        INT_8 => i64::from(i8::from_le_bytes(take(rest)?)),
        INT_16 => i64::from(i16::from_le_bytes(take(rest)?)),
        INT_32 => i64::from(i32::from_le_bytes(take(rest)?)),
        LZF => {
            let packed_len = read_len(rest)?;
            let len = read_len(rest)?;
            if len as u64 > bytes_max {
                return None;
            }
            let (packed, after) = rest.split_at_checked(packed_len)?;
            *rest = after;
            return lzf::unpack(packed, len).map(Cow::Owned);
        }
        _ => return None,
    };
    Some(Cow::Owned(int.to_string().into_bytes()))
}

fn read_len(rest: &mut &[u8]) -> Option<usize> {
    let [first] = take(rest)?;
    let len = match first >> 6 {
        LEN_6_BIT => u64::from(first),
        LEN_14_BIT => {
            let [low] = take(rest)?;
            u64::from(first & 0x3f) << 8 | u64::from(low)
        }
        LEN_LONG if first == LEN_32_BIT => u64::from(u32::from_be_bytes(take(rest)?)),
        LEN_LONG if first == LEN_64_BIT => u64::from_be_bytes(take(rest)?),
        _ => return None,
    };
    usize::try_from(len).ok()
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dump(value: Value<'_>) -> Vec<u8> {
        super::dump(Kind::String, value).unwrap()
    }
    use crate::commands::families::value::canonical;
    use proptest::prelude::*;

    const MAX: u64 = 1 << 20;

    /// Payloads of Redis 8.0, those without compression.
    #[test]
    fn payloads_are_those_of_redis() {
        let bytes_64: Vec<u8> = (0..64).collect();
        for (text, expected) in [
            (&b"1"[..], &b"\x00\xc0\x01\x0c\x00\xed\x0e\xd3\x76\x2b\x2b\x8f\xb5"[..]),
            (&b"-128"[..], &b"\x00\xc0\x80\x0c\x00\x52\x10\x06\xad\xd5\x26\xc5\x90"[..]),
            (&b"300"[..], &b"\x00\xc1\x2c\x01\x0c\x00\x5e\x34\x55\x32\x9f\xa8\xc2\x59"[..]),
            (&b"-70000"[..], &b"\x00\xc2\x90\xee\xfe\xff\x0c\x00\xe3\x03\xea\xbb\xe9\xc1\xb6\x49"[..]),
            (&b"2147483648"[..], &b"\x00\x0a\x32\x31\x34\x37\x34\x38\x33\x36\x34\x38\x0c\x00\x2c\xc7\x1d\x63\xb6\x37\xe8\xa7"[..]),
            (&b""[..], &b"\x00\x00\x0c\x00\x96\xed\x68\x80\xf5\x55\x3c\x93"[..]),
            (&b"abc"[..], &b"\x00\x03\x61\x62\x63\x0c\x00\x12\xda\x04\xfd\xbb\x58\x3c\xab"[..]),
        ] {
            assert_eq!(dump(canonical(text)), expected, "{text:?}");
            assert_eq!(restore(expected, MAX).unwrap(), text);
        }
        let payload = dump(Value::Bytes(&bytes_64));
        assert_eq!(payload[..3], *b"\x00\x40\x40");
        assert_eq!(payload[67..], *b"\x0c\x00\x47\x7a\x33\x6c\x0f\x22\x2a\x0c");
    }

    #[test]
    fn compressed_payloads_of_redis_are_read() {
        for (payload, text) in [
            (&b"\x00\xc3\x09\x3f\x01\x78\x78\xe0\x32\x00\x01\x78\x78\x0c\x00\xb9\xd6\x23\x65\x9a\xc7\x68\xac"[..], b"x".repeat(63)),
            (&b"\x00\xc3\x09\x40\x64\x01\x30\x30\xe0\x57\x00\x01\x30\x30\x0c\x00\x7b\x15\xbc\xb4\x67\xc9\xc4\xf1"[..], b"0".repeat(100)),
            (&b"\x00\xc3\x0b\x31\x03\x61\x62\x63\x61\xe0\x22\x02\x01\x63\x21\x0c\x00\x30\x66\x52\x2b\x0d\x48\xc7\xad"[..], [b"abc".repeat(16), b"!".to_vec()].concat()),
        ] {
            assert_eq!(restore(payload, MAX).unwrap(), text);
        }
    }

    #[test]
    fn broken_payloads_are_refused() {
        let good = dump(Value::Bytes(b"abc"));
        let wrong = CommandError::Plain("DUMP payload version or checksum are wrong");
        for len in 0..good.len() {
            assert_eq!(restore(&good[..len], MAX), Err(wrong.clone()));
        }
        for index in 0..good.len() {
            let mut bad = good.clone();
            bad[index] ^= 1;
            assert_eq!(restore(&bad, MAX), Err(wrong.clone()));
        }
        for body in [
            &b""[..],
            b"\x00",
            b"\x01\x03abc",
            b"\x00\x04abc",
            b"\x00\xc0",
            b"\x00\xc4a",
            b"\x00\xc3\x01\xff",
            b"\x00\x80\xff\xff\xff\xffa",
            b"\x00\x81\xff\xff\xff\xff\xff\xff\xff\xffa",
            b"\x00\x82a",
            b"\x00\xc3\x02\x81\xff\xff\xff\xff\xff\xff\xff\xff\x00a",
        ] {
            let mut payload = [body, &VERSION.to_le_bytes()].concat();
            let checksum = CRC64_TABLE.checksum(&payload);
            payload.extend(checksum.to_le_bytes());
            assert_eq!(
                restore(&payload, MAX),
                Err(CommandError::Plain("Bad data format")),
                "{body:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn every_value_comes_back(bytes in proptest::collection::vec(any::<u8>(), 0..20_000)) {
            let payload = dump(Value::Bytes(&bytes));
            prop_assert_eq!(&*restore(&payload, MAX).unwrap(), &bytes[..]);
        }

        #[test]
        fn every_integer_comes_back(int: i64) {
            let payload = dump(Value::Int(int));
            let text = int.to_string();
            prop_assert_eq!(&*restore(&payload, MAX).unwrap(), text.as_bytes());
        }
    }
}
