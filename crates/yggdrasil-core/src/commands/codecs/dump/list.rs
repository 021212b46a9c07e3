//! Lists.
//!
//! ```text
//! nodes        nodes | { 1 | string: an element } or { 2 | string: listpack } ...
//! ziplists     nodes | { string: ziplist } ...
//! ziplist      string: ziplist
//! elements     elements | { string } ...
//! ```

use crate::keyspace::Value;
use crate::keyspace::collection::Packing;
use crate::keyspace::collection::list::{ListView, Node, Side, put_append, put_push};
use crate::keyspace::collection::listpack::Listpack;

use super::reader::Reader;
use super::writer::{write_bytes, write_number};
use super::{types, ziplist};

const PLAIN: u64 = 1;
const PACKED: u64 = 2;

pub(super) fn write(out: &mut Vec<u8>, value: Value<'_>) {
    let list = ListView::of(&value, &Packing::default());
    out.push(types::LIST_NODES);
    write_number(out, list.nodes().count() as u64);
    for node in list.nodes() {
        let (container, bytes) = match node {
            Node::Plain(element) => (PLAIN, element),
            Node::Pack(pack) => (PACKED, pack.bytes()),
        };
        write_number(out, container);
        write_bytes(out, bytes);
    }
}

/// The operations that make a list.
pub(super) fn read(kind: u8, reader: &mut Reader<'_>) -> Option<Vec<u8>> {
    let mut ops = Vec::new();
    if kind == types::LIST_ZIPLIST {
        read_ziplist(reader, &mut ops)?;
        return Some(ops);
    }
    for _ in 0..reader.number()? {
        match kind {
            types::LIST => put_push(&mut ops, Side::Back, &reader.string()?),
            types::LIST_ZIPLISTS => read_ziplist(reader, &mut ops)?,
            types::LIST_NODES => read_node(reader, &mut ops)?,
            _ => return None,
        }
    }
    Some(ops)
}

fn read_ziplist(reader: &mut Reader<'_>, ops: &mut Vec<u8>) -> Option<()> {
    let packed = reader.string()?;
    let mut buffer = itoa::Buffer::new();
    for element in ziplist::parse(&packed)? {
        put_push(ops, Side::Back, element.text(&mut buffer));
    }
    Some(())
}

fn read_node(reader: &mut Reader<'_>, ops: &mut Vec<u8>) -> Option<()> {
    let container = reader.number()?;
    let bytes = reader.string()?;
    match container {
        PLAIN => put_push(ops, Side::Back, &bytes),
        PACKED => {
            let pack = Listpack::parse(&bytes).ok()?;
            if !pack.is_empty() {
                put_append(ops, pack);
            }
        }
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Restored, dump, restore, seal};
    use super::*;
    use crate::keyspace::Kind;
    use crate::keyspace::collection::Collection;
    use crate::keyspace::collection::listpack::Element;

    const MAX: u64 = 1 << 20;

    fn elements(ops: &[u8]) -> Vec<Vec<u8>> {
        let list = ListView::of(&Value::Written(ops), &Packing::default());
        list.from(0).map(Element::to_vec).collect()
    }

    fn restored(payload: &[u8]) -> Option<Vec<Vec<u8>>> {
        match restore(payload, MAX).ok()? {
            Restored::Collection {
                kind: Kind::List,
                ops,
            } => Some(elements(&ops)),
            other => panic!("{other:?}"),
        }
    }

    /// Bodies of older versions of Redis, and what is in them.
    #[test]
    fn old_forms_are_read() {
        let ziplist = b"\x10\0\0\0\x0d\0\0\0\x02\0\0\x01a\x03\xf3\xff";
        let one = [&[types::LIST_ZIPLIST, ziplist.len() as u8], &ziplist[..]].concat();
        let two = [
            &[types::LIST_ZIPLISTS, 1, ziplist.len() as u8],
            &ziplist[..],
        ]
        .concat();
        for body in [one, two, b"\x01\x02\x01a\xc0\x02".to_vec()] {
            let mut payload = body;
            seal(&mut payload);
            assert_eq!(restored(&payload), Some(vec![b"a".to_vec(), b"2".to_vec()]));
        }
    }

    #[test]
    fn damaged_lists_are_refused() {
        for body in [
            &b"\x12\x00"[..],
            b"\x12\x01\x02\x07\x07\0\0\0\0\0\xff",
            b"\x12\x01\x02\x07\x08\0\0\0\0\0\xff",
            b"\x12\x01\x03\x01a",
            b"\x12\x02\x01\x01a",
            b"\x01\x00",
            b"\x0a\x01a",
        ] {
            let mut payload = body.to_vec();
            seal(&mut payload);
            assert_eq!(restored(&payload), None, "{body:?}");
        }
    }

    proptest! {
        #[test]
        fn every_list_comes_back(texts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3000), 1..20)) {
            let mut ops = Vec::new();
            for text in &texts {
                put_push(&mut ops, Side::Back, text);
            }
            let list = Collection::written(Kind::List, &ops, &Packing::default()).unwrap();
            let payload = dump(Kind::List, Value::Tree(&list)).unwrap();
            prop_assert_eq!(restored(&payload), Some(texts));
        }
    }
}
