//! Hashes.

use std::collections::HashSet;

use crate::keyspace::collection::Packing;
use crate::keyspace::collection::hash::{HashView, PackedHash, put_set};
use crate::keyspace::collection::listpack::{Element, Listpack};
use crate::keyspace::{Millis, Value};

use super::reader::Reader;
use super::writer::{write_bytes, write_element, write_number};
use super::{types, ziplist};

/// The latest time at which a field may expire: 48 bits, less what Redis keeps for itself.
const TIME_MAX: u64 = (1 << 48) - 2;

pub(super) fn write(out: &mut Vec<u8>, value: Value<'_>) {
    // Fields that have expired go along, as they do in Redis: whoever reads them passes over them.
    let hash = HashView::of(&value, &Packing::default(), 0);
    let first = hash.next_expiry();
    if let Value::Bytes(packed) = value {
        if PackedHash::of(packed).has_times() {
            out.push(types::HASH_LISTPACK_TIMES);
            out.extend(first.unwrap_or(0).to_le_bytes());
        } else {
            out.push(types::HASH_LISTPACK);
        }
        // Behind its first byte the packed form is that of Redis.
        write_bytes(out, packed.get(1..).unwrap_or(&[]));
        return;
    }
    match first {
        None => out.push(types::HASH),
        Some(first) => {
            out.push(types::HASH_TIMES);
            out.extend(first.to_le_bytes());
        }
    }
    write_number(out, hash.len());
    for row in hash.rows() {
        if let Some(first) = first {
            let time = row.cell.expire_at.map_or(0, |at| at - first + 1);
            write_number(out, time);
        }
        write_element(out, row.field);
        write_element(out, row.cell.value);
    }
}

/// Operations that make a hash, each field of which comes once.
#[derive(Default)]
struct Fields {
    ops: Vec<u8>,
    seen: HashSet<Vec<u8>>,
}

impl Fields {
    fn add(&mut self, field: &[u8], value: &[u8], expire_at: Option<Millis>) -> Option<()> {
        if expire_at.is_some_and(|at| at > TIME_MAX) || !self.seen.insert(field.to_vec()) {
            return None;
        }
        put_set(&mut self.ops, field, value, expire_at);
        Some(())
    }

    fn add_row(
        &mut self,
        field: Element<'_>,
        value: Element<'_>,
        at: Option<Millis>,
    ) -> Option<()> {
        let (mut field_buffer, mut value_buffer) = (itoa::Buffer::new(), itoa::Buffer::new());
        self.add(
            field.text(&mut field_buffer),
            value.text(&mut value_buffer),
            at,
        )
    }

    /// Adds fields, each with its value.
    fn add_pairs<'e>(&mut self, mut elements: impl Iterator<Item = Element<'e>>) -> Option<()> {
        while let Some(field) = elements.next() {
            self.add_row(field, elements.next()?, None)?;
        }
        Some(())
    }

    /// Adds fields, each with its value and its time, so that they come to stand in the same order.
    fn add_triples<'e>(&mut self, mut elements: impl Iterator<Item = Element<'e>>) -> Option<()> {
        let (mut timed, mut lasting) = (Vec::new(), Vec::new());
        while let Some(field) = elements.next() {
            let value = elements.next()?;
            let Element::Int(time) = elements.next()? else {
                return None;
            };
            match u64::try_from(time).ok().filter(|at| *at > 0) {
                Some(at) => timed.push((field, value, at)),
                None => lasting.push((field, value)),
            }
        }
        // A field is put in front of those that expire at the same time.
        for (field, value, at) in timed.into_iter().rev() {
            self.add_row(field, value, Some(at))?;
        }
        for (field, value) in lasting {
            self.add_row(field, value, None)?;
        }
        Some(())
    }
}

/// The operations that make a hash.
pub(super) fn read(kind: u8, reader: &mut Reader<'_>) -> Option<Vec<u8>> {
    let mut fields = Fields::default();
    match kind {
        types::HASH => {
            for _ in 0..reader.number()? {
                let (field, value) = (reader.string()?, reader.string()?);
                fields.add(&field, &value, None)?;
            }
        }
        types::HASH_TIMES | types::HASH_TIMES_EARLY => read_times(kind, reader, &mut fields)?,
        types::HASH_LISTPACK => {
            let bytes = reader.string()?;
            fields.add_pairs(Listpack::parse(&bytes).ok()?.iter())?;
        }
        types::HASH_LISTPACK_TIMES | types::HASH_LISTPACK_TIMES_EARLY => {
            if kind == types::HASH_LISTPACK_TIMES {
                reader.time()?;
            }
            let bytes = reader.string()?;
            fields.add_triples(Listpack::parse(&bytes).ok()?.iter())?;
        }
        types::HASH_ZIPLIST => {
            let bytes = reader.string()?;
            fields.add_pairs(ziplist::parse(&bytes)?.into_iter())?;
        }
        types::HASH_ZIPMAP => read_zipmap(&reader.string()?, &mut fields)?,
        _ => return None,
    }
    Some(fields.ops)
}

fn read_times(kind: u8, reader: &mut Reader<'_>, fields: &mut Fields) -> Option<()> {
    let first = match kind {
        types::HASH_TIMES => reader.time()?,
        _ => 1,
    };
    for _ in 0..reader.number()? {
        let time = reader.number()?;
        let expire_at = match time {
            0 => None,
            time => Some(first.checked_add(time - 1)?),
        };
        let (field, value) = (reader.string()?, reader.string()?);
        fields.add(&field, &value, expire_at)?;
    }
    Some(())
}

/// Reads the form that small hashes had before Redis 2.6: their number of fields, then for each its length, its bytes,
/// the length of its value, a number of unused bytes, the value, and these; 255 ends it.
fn read_zipmap(bytes: &[u8], fields: &mut Fields) -> Option<()> {
    const LONG: u8 = 254;
    const END: u8 = 255;
    let mut reader = Reader::new(bytes, 0);
    reader.byte()?;
    let length = |reader: &mut Reader<'_>, first: u8| match first {
        LONG => reader
            .take()
            .map(|bytes| u32::from_le_bytes(bytes) as usize),
        END => None,
        short => Some(usize::from(short)),
    };
    loop {
        let first = reader.byte()?;
        if first == END {
            return Some(());
        }
        let len = length(&mut reader, first)?;
        let field = reader.bytes(len)?;
        let first = reader.byte()?;
        let len = length(&mut reader, first)?;
        let unused = usize::from(reader.byte()?);
        let value = reader.bytes(len)?;
        reader.bytes(unused)?;
        fields.add(field, value, None)?;
    }
}
