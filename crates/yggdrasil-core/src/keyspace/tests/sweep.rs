//! Scans of all entries from outside.

use std::collections::BTreeSet;

use super::{Rig, key, large_set};
use crate::keyspace::{Expiry, Kind, Swept, Value};

const NOW: u64 = 1_700_000_000_000;

fn set(rig: &mut Rig, name: &str, value: &[u8]) {
    let stored = Value::Bytes(value);
    let k = key(0, name.as_bytes());
    rig.shard.set(&k, stored, Expiry::Clear, NOW).unwrap();
}

#[test]
fn what_stays_is_visited_whatever_comes_and_goes() {
    for grows in [true, false] {
        let mut rig = Rig::roomy();
        let lasting: BTreeSet<String> = (0..300).map(|n| format!("lasting{n}")).collect();
        for name in &lasting {
            set(&mut rig, name, name.as_bytes());
        }
        let passing = |n: u64| format!("passing{n}");
        for n in 0..4_000 {
            set(&mut rig, &passing(n), b"x");
        }
        let (mut seen, mut swept) = (BTreeSet::new(), Swept::default());
        let (mut cursor, mut step) = (0, 0);
        loop {
            let next = rig.reader.scan(0, cursor, &mut swept, &mut |key, view| {
                let name = String::from_utf8(key.to_vec()).unwrap();
                if name.starts_with("lasting") {
                    assert_eq!(view.value, Value::Bytes(key));
                    seen.insert(name);
                }
            });
            cursor = next.unwrap();
            if cursor == 0 {
                break;
            }
            // The index grows, or shrinks, under the scan; values move.
            for n in step * 10..step * 10 + 10 {
                if grows {
                    set(&mut rig, &passing(4_000 + n), b"y");
                } else {
                    let name = passing(n);
                    rig.shard.remove(&key(0, name.as_bytes()), NOW);
                }
            }
            step += 1;
            rig.shard.advance(NOW, 50);
        }
        assert_eq!(seen, lasting);
        assert!(step > 50);
    }
}

#[test]
fn a_reserved_shard_is_not_scanned_and_a_cleared_database_is_over() {
    let mut rig = Rig::roomy();
    let mut swept = Swept::default();
    let mut scan = |rig: &Rig, cursor| rig.reader.scan(0, cursor, &mut swept, &mut |_, _| {});
    assert_eq!(scan(&rig, 0), Some(0));
    for n in 0..1_000 {
        set(&mut rig, &n.to_string(), b"x");
    }
    rig.shard.reserve();
    assert_eq!(scan(&rig, 0), None);
    rig.shard.release();
    let cursor = scan(&rig, 0).unwrap();
    assert_ne!(cursor, 0);
    rig.shard.clear_database(0);
    assert_eq!(scan(&rig, cursor), Some(0));
    assert_eq!(rig.reader.scan(9, 0, &mut swept, &mut |_, _| {}), Some(0));
}

#[test]
fn nobody_looks_at_a_number_within_a_transaction() {
    let mut rig = Rig::roomy();
    set(&mut rig, "a", b"1");
    let number = |rig: &Rig| rig.reader.between_transactions(|reader| reader.number());
    assert_eq!(number(&rig), Some(1));
    rig.shard.reserve();
    set(&mut rig, "b", b"1");
    assert_eq!((number(&rig), rig.reader.number()), (None, 2));
    rig.shard.release();
    assert_eq!(number(&rig), Some(2));
    // One that begins while somebody looks.
    let Rig { reader, shard, .. } = &mut rig;
    assert_eq!(reader.between_transactions(|_| shard.reserve()), None);
    shard.release();
    assert_eq!(reader.between_transactions(|_| ()), Some(()));
}

#[test]
fn values_of_every_kind_are_visited_as_they_are_stored() {
    let mut rig = Rig::roomy();
    let tree = large_set();
    let values = [
        (Kind::String, Value::Int(-5)),
        (Kind::Hash, Value::Bytes(b"packed")),
        (Kind::Set, Value::Tree(&tree)),
        (Kind::String, Value::Absent(b"place")),
    ];
    for (n, (kind, value)) in values.into_iter().enumerate() {
        let name = [n as u8; 17_000];
        let expiry = Expiry::At(NOW - 1);
        rig.shard
            .put(&key(2, &name), kind, value, expiry, NOW)
            .unwrap();
    }
    let (mut swept, mut cursor, mut seen) = (Swept::default(), 0, 0);
    loop {
        let next = rig.reader.scan(2, cursor, &mut swept, &mut |key, view| {
            let (kind, value) = values[usize::from(key[0])];
            let seen_value = match value {
                Value::Tree(_) => Value::AtOwner,
                value => value,
            };
            assert_eq!((view.kind, view.value), (kind, seen_value));
            assert_eq!(view.expire_at, Some(NOW - 1));
            seen += 1;
        });
        cursor = next.unwrap();
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(seen, values.len());
}

#[test]
fn numbers_go_on_behind_those_before_a_restart() {
    let mut rig = Rig::roomy();
    rig.shard.resume_from(1 << 40);
    assert_eq!(rig.reader.number(), 1 << 40);
    set(&mut rig, "a", b"1");
    let version = rig.shard.look(&key(0, b"a"), NOW).unwrap().version;
    assert_eq!(
        (version, rig.shard.number()),
        ((1 << 40) + 1, (1 << 40) + 1)
    );
}

#[test]
fn a_follower_hides_what_has_expired_and_waits_for_its_removal() {
    let mut rig = Rig::roomy();
    let k = key(0, b"k");
    let soon = Expiry::At(NOW + 10);
    rig.shard.set(&k, Value::Int(1), soon, NOW).unwrap();
    rig.shard.follow(true);
    let (number, later) = (rig.shard.number(), NOW + 20);
    assert_eq!(rig.shard.use_entry(&k, later), None);
    assert_eq!(rig.shard.look(&k, later), None);
    while rig.shard.advance(later, 100) {}
    assert_eq!((rig.shard.len(0), rig.shard.number()), (1, number));
    rig.shard.follow(false);
    while rig.shard.advance(later, 100) {}
    assert_eq!((rig.shard.len(0), rig.shard.number()), (0, number + 1));
}
