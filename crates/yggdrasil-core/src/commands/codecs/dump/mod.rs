//! The payload of DUMP and RESTORE: a value in the format of Redis's snapshots, its version and a checksum.
//!
//! ```text
//! type: u8 | value | version: u16 LE | crc64: u64 LE over all before
//! ```

mod hash;
mod list;
pub(super) mod reader;
mod set;
mod sorted_set;
mod stream;
mod string;
#[cfg(test)]
mod tests;
pub(super) mod writer;
mod ziplist;

use std::borrow::Cow;

use crc::{CRC_64_REDIS, Crc, Table};

use crate::commands::table::error::CommandError;
use crate::keyspace::{Kind, Value};

use self::reader::Reader;

/// The version that is written, and the newest that is read: that of Redis 8.0.
const VERSION: u16 = 12;
const FOOTER_BYTES: usize = 10;

/// Types of values, by Redis's numbers.
mod types {
    pub const STRING: u8 = 0;
    pub const LIST: u8 = 1;
    pub const SET: u8 = 2;
    pub const SORTED_SET_TEXTS: u8 = 3;
    pub const HASH: u8 = 4;
    pub const SORTED_SET: u8 = 5;
    pub const HASH_ZIPMAP: u8 = 9;
    pub const LIST_ZIPLIST: u8 = 10;
    pub const SET_INTSET: u8 = 11;
    pub const SORTED_SET_ZIPLIST: u8 = 12;
    pub const HASH_ZIPLIST: u8 = 13;
    pub const LIST_ZIPLISTS: u8 = 14;
    pub const HASH_LISTPACK: u8 = 16;
    pub const STREAM_LISTPACKS: u8 = 15;
    pub const STREAM_LISTPACKS_2: u8 = 19;
    pub const SORTED_SET_LISTPACK: u8 = 17;
    pub const LIST_NODES: u8 = 18;
    pub const SET_LISTPACK: u8 = 20;
    pub const STREAM_LISTPACKS_3: u8 = 21;
    pub const HASH_TIMES_EARLY: u8 = 22;
    pub const HASH_LISTPACK_TIMES_EARLY: u8 = 23;
    pub const HASH_TIMES: u8 = 24;
    pub const HASH_LISTPACK_TIMES: u8 = 25;
}

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

/// What a payload holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::commands) enum Restored<'a> {
    String(Cow<'a, [u8]>),
    /// The operations that make a collection, which has elements.
    Collection {
        kind: Kind,
        ops: Vec<u8>,
    },
}

/// The payload of a value.
///
/// # Errors
/// The value is of a kind, or in a place, that has no payload here.
pub(in crate::commands) fn dump(kind: Kind, value: Value<'_>) -> Result<Vec<u8>, CommandError> {
    let mut out = Vec::new();
    append(&mut out, kind, value)?;
    seal(&mut out);
    Ok(out)
}

/// Appends type and value, as all that Redis writes has them.
///
/// # Errors
/// As [`dump`]; nothing is appended then.
pub(super) fn append(out: &mut Vec<u8>, kind: Kind, value: Value<'_>) -> Result<(), CommandError> {
    match (kind, value) {
        (_, Value::Absent(_)) => return Err(CommandError::NotInMemory),
        (Kind::String, value) => string::write(out, value),
        (Kind::List, value) => list::write(out, value),
        (Kind::Set, value) => set::write(out, value),
        (Kind::Hash, value) => hash::write(out, value),
        (Kind::Stream, value) => stream::write(out, value),
        (Kind::SortedSet, value) => sorted_set::write(out, value),
        (kind, _) => {
            return Err(CommandError::text(format!(
                "ERR values of type {} have no DUMP payload; read them by the commands of their type",
                kind.type_name()
            )));
        }
    }
    Ok(())
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

/// The value in a payload, whose strings may have up to `bytes_max` bytes when they are unpacked.
pub(in crate::commands) fn restore(
    payload: &[u8],
    bytes_max: u64,
) -> Result<Restored<'_>, CommandError> {
    read(body(payload)?, bytes_max).ok_or(CommandError::Plain("Bad data format"))
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

fn read(body: &[u8], bytes_max: u64) -> Option<Restored<'_>> {
    let mut reader = Reader::new(body, bytes_max);
    let kind = reader.byte()?;
    let ops = match kind {
        types::STRING => return reader.string().map(Restored::String),
        types::SET | types::SET_INTSET | types::SET_LISTPACK => {
            return collection(Kind::Set, set::read(kind, &mut reader)?);
        }
        types::STREAM_LISTPACKS | types::STREAM_LISTPACKS_2 | types::STREAM_LISTPACKS_3 => {
            return collection(Kind::Stream, stream::read(kind, &mut reader)?);
        }
        types::SORTED_SET
        | types::SORTED_SET_TEXTS
        | types::SORTED_SET_ZIPLIST
        | types::SORTED_SET_LISTPACK => {
            return collection(Kind::SortedSet, sorted_set::read(kind, &mut reader)?);
        }
        types::LIST | types::LIST_ZIPLIST | types::LIST_ZIPLISTS | types::LIST_NODES => {
            return collection(Kind::List, list::read(kind, &mut reader)?);
        }
        _ => hash::read(kind, &mut reader)?,
    };
    collection(Kind::Hash, ops)
}

/// A collection that is not empty.
fn collection<'a>(kind: Kind, ops: Vec<u8>) -> Option<Restored<'a>> {
    (!ops.is_empty()).then_some(Restored::Collection { kind, ops })
}
