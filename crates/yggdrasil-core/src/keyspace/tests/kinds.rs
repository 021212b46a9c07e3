//! Values of other kinds than strings.

use super::{Rig, key, large_set};
use crate::keyspace::{Expiry, KeyspaceError, Kind, Looked, Read, Value};

const NOW: u64 = 1_700_000_000_000;
const PACKED: Value<'static> = Value::Bytes(b"packed");

#[test]
fn every_change_keeps_or_replaces_kind_and_encoding() {
    let mut rig = Rig::roomy();
    let tree = large_set();
    let values = |kind| match kind {
        Kind::String => vec![PACKED, Value::Int(7), Value::Absent(b"place")],
        Kind::Set => vec![PACKED, Value::Tree(&tree), Value::Absent(b"place")],
        _ => vec![PACKED, Value::Absent(b"place")],
    };
    for long_key in [false, true] {
        let name = vec![b'k'; if long_key { 17_000 } else { 3 }];
        let k = key(1, &name);
        for kind in Kind::ALL {
            for value in values(kind) {
                for expiry in [Expiry::Clear, Expiry::Keep, Expiry::At(NOW + 5)] {
                    rig.shard.put(&k, kind, value, expiry, NOW).unwrap();
                    rig.shard.pin(&k, NOW + 3, NOW);
                    rig.shard.set_expiry(&k, Some(NOW + 9), NOW);
                    rig.shard.unpin(&k, NOW);
                    let view = rig.shard.look(&k, NOW).unwrap();
                    assert_eq!((view.kind, view.value), (kind, value));
                    rig.shard.check_invariants();
                }
            }
        }
    }
}

#[test]
fn only_strings_are_spliced() {
    let mut rig = Rig::roomy();
    let k = key(0, b"k");
    for (kind, value) in [
        (Kind::List, PACKED),
        (Kind::Set, Value::Tree(&large_set())),
        (Kind::String, Value::Absent(b"place")),
    ] {
        rig.shard.put(&k, kind, value, Expiry::Clear, NOW).unwrap();
        let version = rig.shard.look(&k, NOW).unwrap().version;
        let refused = Err(KeyspaceError::WrongKind);
        assert_eq!(rig.shard.append(&k, b"more", NOW), refused);
        assert_eq!(rig.shard.write_range(&k, 2, b"more", NOW), refused);
        let view = rig.shard.look(&k, NOW).unwrap();
        assert_eq!(
            (view.kind, view.value, view.version),
            (kind, value, version)
        );
    }
}

#[test]
fn readers_get_what_is_packed_and_leave_the_rest_to_the_owner() {
    let mut rig = Rig::roomy();
    let (k, mut scratch) = (key(0, b"k"), Vec::new());
    let Rig { shard, reader, .. } = &mut rig;
    shard
        .put(&k, Kind::Set, PACKED, Expiry::Clear, NOW)
        .unwrap();
    assert!(matches!(
        reader.get(&k, NOW, &mut scratch),
        Looked::Hit(view) if (view.kind, view.value) == (Kind::Set, PACKED)
    ));
    assert!(matches!(reader.read(&k, NOW, &mut scratch), Read::Hit(..)));
    assert_eq!(reader.look_up(&k, NOW, &mut scratch), Looked::OtherKind);
    assert_eq!(reader.describe(&k, NOW), Looked::OtherKind);
    for (kind, value, as_string) in [
        (Kind::Set, Value::Tree(&large_set()), Looked::OtherKind),
        (Kind::Set, Value::Absent(b"place"), Looked::OtherKind),
        (Kind::String, Value::Absent(b"place"), Looked::AskOwner),
    ] {
        shard.put(&k, kind, value, Expiry::Clear, NOW).unwrap();
        assert_eq!(reader.get(&k, NOW, &mut scratch), Looked::AskOwner);
        assert_eq!(reader.read(&k, NOW, &mut scratch), Read::AskOwner);
        assert_eq!(reader.look_up(&k, NOW, &mut scratch), as_string);
    }
    assert_eq!(reader.retries(), 0);
}
