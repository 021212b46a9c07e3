//! Sets.

use std::collections::HashSet;

use crate::keyspace::Value;
use crate::keyspace::collection::Packing;
use crate::keyspace::collection::intset::Intset;
use crate::keyspace::collection::listpack::Listpack;
use crate::keyspace::collection::set::{PackedSet, SetView, put_add};

use super::reader::Reader;
use super::types;
use super::writer::{write_bytes, write_element, write_number};

pub(super) fn write(out: &mut Vec<u8>, value: Value<'_>) {
    if let Value::Bytes(packed) = value {
        out.push(match PackedSet::of(packed) {
            PackedSet::Integers(_) => types::SET_INTSET,
            PackedSet::Listpack(_) => types::SET_LISTPACK,
        });
        // Behind its first byte the packed form is that of Redis.
        write_bytes(out, packed.get(1..).unwrap_or(&[]));
        return;
    }
    let set = SetView::of(&value, &Packing::default());
    out.push(types::SET);
    write_number(out, set.len());
    for member in set.members() {
        write_element(out, member);
    }
}

/// The operations that make a set.
pub(super) fn read(kind: u8, reader: &mut Reader<'_>) -> Option<Vec<u8>> {
    let mut ops = Vec::new();
    let mut seen = HashSet::new();
    let mut buffer = itoa::Buffer::new();
    match kind {
        types::SET => {
            for _ in 0..reader.number()? {
                let member = reader.string()?;
                put_add(&mut ops, &member);
                if !seen.insert(member.into_owned()) {
                    return None;
                }
            }
        }
        types::SET_INTSET => {
            let bytes = reader.string()?;
            for number in Intset::parse(&bytes).ok()?.iter() {
                put_add(&mut ops, buffer.format(number).as_bytes());
            }
        }
        types::SET_LISTPACK => {
            let bytes = reader.string()?;
            let mut seen = HashSet::new();
            for member in Listpack::parse(&bytes).ok()? {
                put_add(&mut ops, member.text(&mut buffer));
                if !seen.insert(member) {
                    return None;
                }
            }
        }
        _ => return None,
    }
    Some(ops)
}
