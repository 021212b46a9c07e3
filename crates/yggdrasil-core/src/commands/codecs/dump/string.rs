//! Strings.

use crate::keyspace::Value;

use super::types;
use super::writer::{write_bytes, write_int};

pub(super) fn write(out: &mut Vec<u8>, value: Value<'_>) {
    out.push(types::STRING);
    match value {
        Value::Int(int) => write_int(out, int),
        Value::Bytes(bytes) => write_bytes(out, bytes),
        Value::Tree(_) | Value::Written(_) | Value::AtOwner | Value::Absent(_) => {
            write_bytes(out, b"");
        }
    }
}
