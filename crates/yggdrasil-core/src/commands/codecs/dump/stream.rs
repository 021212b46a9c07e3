//! Streams.
//!
//! ```text
//! nodes | (id: 16 bytes BE, listpack)...
//! entries | last id | [first id | largest deleted id | entries added]
//! groups | (name, last id, [entries read], pending entries, consumers)...
//! pending entries | (id: 16 bytes BE, delivered at: u64, deliveries)...
//! consumers | (name, seen at: u64, [active at: u64], pending | ids: 16 bytes BE)...
//! ```
//! Numbers are lengths unless said otherwise. What stands in brackets came with later types.

use std::collections::{BTreeMap, HashSet};

use crate::keyspace::Value;
use crate::keyspace::collection::Collection;
use crate::keyspace::collection::stream::{Group, Name, Pending, StreamId, StreamNode, StreamOps};

use super::reader::Reader;
use super::types;
use super::writer::{write_bytes, write_number};

/// Stands for a number of entries that is not known, and for a time that never was.
const UNKNOWN: u64 = u64::MAX;

pub(super) fn write(out: &mut Vec<u8>, value: Value<'_>) {
    let Value::Tree(Collection::Stream(stream)) = value else {
        return;
    };
    out.push(types::STREAM_LISTPACKS_3);
    write_number(out, stream.nodes().count() as u64);
    for node in stream.nodes() {
        write_bytes(out, &raw(node.id()));
        write_bytes(out, node.bytes());
    }
    write_number(out, stream.entries());
    write_id(out, stream.last_id());
    write_id(out, stream.first_id());
    write_id(out, stream.max_deleted_id());
    write_number(out, stream.entries_added());
    write_number(out, stream.groups().len());
    for (name, group) in stream.groups().iter() {
        write_bytes(out, name);
        write_group(out, group);
    }
}

fn write_group(out: &mut Vec<u8>, group: &Group) {
    write_id(out, group.last_id);
    write_number(out, group.entries_read.unwrap_or(UNKNOWN));
    write_number(out, group.pending.len());
    for (id, pending) in group.pending.iter() {
        out.extend(raw(*id));
        out.extend(pending.delivered_at.to_le_bytes());
        write_number(out, pending.deliveries);
    }
    write_number(out, group.consumers.len());
    for (name, consumer) in group.consumers.iter() {
        write_bytes(out, name);
        out.extend(consumer.seen_at.to_le_bytes());
        out.extend(consumer.active_at.unwrap_or(UNKNOWN).to_le_bytes());
        write_number(out, consumer.pending.len());
        for (id, ()) in consumer.pending.iter() {
            out.extend(raw(*id));
        }
    }
}

/// An id as Redis orders it.
fn raw(id: StreamId) -> [u8; 16] {
    let both = u128::from(id.milliseconds) << 64 | u128::from(id.sequence);
    both.to_be_bytes()
}

fn write_id(out: &mut Vec<u8>, id: StreamId) {
    write_number(out, id.milliseconds);
    write_number(out, id.sequence);
}

fn of_raw(bytes: [u8; 16]) -> StreamId {
    let both = u128::from_be_bytes(bytes);
    StreamId::new((both >> 64) as u64, both as u64)
}

fn read_id(reader: &mut Reader<'_>) -> Option<StreamId> {
    Some(StreamId::new(reader.number()?, reader.number()?))
}

/// The operations that make a stream.
pub(super) fn read(kind: u8, reader: &mut Reader<'_>) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut ops = StreamOps::new(&mut bytes);
    let (entries, newest) = read_nodes(reader, &mut ops)?;
    let length = reader.number()?;
    let last_id = read_id(reader)?;
    let (mut max_deleted_id, mut entries_added) = (StreamId::MIN, length);
    if kind != types::STREAM_LISTPACKS {
        read_id(reader)?;
        max_deleted_id = read_id(reader)?;
        entries_added = reader.number()?;
    }
    if length != entries || newest.is_some_and(|newest| newest > last_id) || entries_added < length
    {
        return None;
    }
    ops.set(last_id, entries_added, max_deleted_id);
    let mut names = HashSet::new();
    for _ in 0..reader.number()? {
        let name = reader.string()?.into_owned();
        read_group(kind, &name, reader, &mut ops)?;
        if !names.insert(name) {
            return None;
        }
    }
    Some(bytes)
}

/// Reads the nodes. Returns the number of entries, and the id of the last one.
fn read_nodes(reader: &mut Reader<'_>, ops: &mut StreamOps<'_>) -> Option<(u64, Option<StreamId>)> {
    let (mut entries, mut newest) = (0, None);
    for _ in 0..reader.number()? {
        let id: [u8; 16] = (*reader.string()?).try_into().ok()?;
        let listpack = reader.string()?;
        let node = StreamNode::parse(of_raw(id), &listpack)?;
        for entry in node.entries() {
            if newest >= Some(entry.id) {
                return None;
            }
            newest = Some(entry.id);
            entries += 1;
            ops.add_entry(&entry);
        }
    }
    Some((entries, newest))
}

fn read_group(
    kind: u8,
    name: &[u8],
    reader: &mut Reader<'_>,
    ops: &mut StreamOps<'_>,
) -> Option<()> {
    let last_id = read_id(reader)?;
    let entries_read = match kind {
        types::STREAM_LISTPACKS => UNKNOWN,
        _ => reader.number()?,
    };
    let known = |number: u64| Some(number).filter(|number| *number != UNKNOWN);
    ops.group(name, last_id, known(entries_read));
    let mut pending = BTreeMap::new();
    for _ in 0..reader.number()? {
        let id = of_raw(reader.take()?);
        let (delivered_at, deliveries) = (reader.time()?, reader.number()?);
        if pending.insert(id, (delivered_at, deliveries)).is_some() {
            return None;
        }
    }
    for _ in 0..reader.number()? {
        let consumer = Name::from(&*reader.string()?);
        let seen_at = reader.time()?;
        let active_at = match kind {
            types::STREAM_LISTPACKS_3 => known(reader.time()?),
            _ => Some(seen_at),
        };
        ops.consumer(name, &consumer, seen_at, active_at);
        for _ in 0..reader.number()? {
            let id = of_raw(reader.take()?);
            let (delivered_at, deliveries) = pending.remove(&id)?;
            let delivered = Pending {
                consumer: Name::clone(&consumer),
                delivered_at,
                deliveries,
            };
            ops.deliver(name, id, &delivered);
        }
    }
    // An entry that waits for nobody's acknowledgement is none.
    pending.is_empty().then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::collection::stream::Stream;
    use crate::keyspace::collection::{Elements, Packing};
    use proptest::prelude::*;

    fn stream(entries: &[(u8, Vec<u8>)], read: usize) -> Stream {
        let mut bytes = Vec::new();
        let mut ops = StreamOps::new(&mut bytes);
        ops.group(b"g", StreamId::MIN, None);
        ops.consumer(b"g", b"c", 5, None);
        ops.consumer(b"g", b"d", 7, Some(8));
        for (number, (field, value)) in (1..).zip(entries) {
            let id = StreamId::new(number, 3);
            ops.add(id, [&[*field][..], value].into_iter());
            if number as usize <= read {
                let pending = Pending {
                    consumer: Name::from(&b"d"[..]),
                    delivered_at: 99,
                    deliveries: 2,
                };
                ops.deliver(b"g", id, &pending);
            }
        }
        ops.delete(StreamId::new(2, 3));
        let packing = Packing {
            stream_node_entries_max: 5,
            ..Packing::default()
        };
        let mut stream = Stream::new(&packing);
        stream.apply(&bytes, &packing);
        stream
    }

    proptest! {
        #[test]
        fn a_stream_comes_back(entries: Vec<(u8, Vec<u8>)>, read in 0..20_usize) {
            let made = Collection::from(stream(&entries, read));
            let mut out = Vec::new();
            write(&mut out, Value::Tree(&made));
            let mut reader = Reader::new(&out[1..], u64::MAX);
            let ops = read_ops(&mut reader);
            let packing = Packing::default();
            let mut again = Stream::new(&packing);
            again.apply(&ops, &packing);
            prop_assert_eq!(Collection::from(again), made);
        }

        #[test]
        fn a_damaged_stream_is_refused_or_another(entries: Vec<(u8, Vec<u8>)>, at: prop::sample::Index, with: u8) {
            let made = Collection::from(stream(&entries, 5));
            let mut out = Vec::new();
            write(&mut out, Value::Tree(&made));
            let at = at.index(out.len());
            out[at] ^= with;
            for kind in [types::STREAM_LISTPACKS, types::STREAM_LISTPACKS_2, types::STREAM_LISTPACKS_3] {
                if let Some(ops) = read(kind, &mut Reader::new(&out[1..], 1 << 20)) {
                    prop_assert!(Stream::check(&ops));
                }
            }
        }
    }

    fn read_ops(reader: &mut Reader<'_>) -> Vec<u8> {
        read(types::STREAM_LISTPACKS_3, reader).expect("what was written is read")
    }
}
