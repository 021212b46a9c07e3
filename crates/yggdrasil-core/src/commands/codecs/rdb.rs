//! Values as they stand in files of Redis, for who reads and writes such files.

use super::dump::{append, seal, writer};
use super::lzf;
use crate::keyspace::collection::{Collection, Packing};
use crate::keyspace::{Kind, Value};

/// Appends the type of a value and the value. False where it has no form there: nothing is appended then.
pub fn append_value(out: &mut Vec<u8>, kind: Kind, value: Value<'_>) -> bool {
    let Value::Written(ops) = value else {
        return append(out, kind, value).is_ok();
    };
    let collection = Collection::written(kind, ops, &Packing::default());
    collection.is_some_and(|tree| append(out, kind, Value::Tree(&tree)).is_ok())
}

/// Makes the payload that RESTORE takes from type and value.
pub fn seal_payload(typed: &mut Vec<u8>) {
    seal(typed);
}

/// Appends a length.
pub fn append_length(out: &mut Vec<u8>, length: u64) {
    writer::write_number(out, length);
}

/// Appends a string.
pub fn append_text(out: &mut Vec<u8>, text: &[u8]) {
    writer::write_bytes(out, text);
}

/// Unpacks a string that LZF has made shorter; `None` unless that makes exactly `len` bytes.
#[must_use]
pub fn unpack(packed: &[u8], len: usize) -> Option<Vec<u8>> {
    lzf::unpack(packed, len)
}
