use std::collections::{BTreeSet, HashMap};

use super::{Rig, key};
use crate::keyspace::{Expiry, KeyspaceError, Read, Shard, ShardReader, Value};

const NOW: u64 = 1_700_000_000_000;

fn bytes(shard: &Shard, name: &[u8], now: u64) -> Option<Vec<u8>> {
    match shard.look(&key(0, name), now)?.value {
        Value::Bytes(bytes) => Some(bytes.to_vec()),
        Value::Int(int) => Some(int.to_string().into_bytes()),
        _ => panic!("a string is here"),
    }
}

fn set(shard: &mut Shard, name: &[u8], value: &[u8]) {
    shard
        .set(&key(0, name), Value::Bytes(value), Expiry::Clear, NOW)
        .unwrap();
}

fn names(count: usize) -> impl Iterator<Item = Vec<u8>> {
    (0..count).map(|i| format!("key:{i:012}").into_bytes())
}

#[test]
fn values_of_all_sizes_come_back() {
    let mut rig = Rig::roomy();
    for size in (0..600).chain([
        1000,
        16_000,
        16_345,
        16_352,
        16_360,
        16_400,
        65_536,
        65_537,
        300_000,
        1 << 20,
    ]) {
        for key_size in [0, 1, 16, 254, 255, 256, 5000] {
            let name = vec![b'k'; key_size];
            let value: Vec<u8> = (0..size).map(|i| (i * 31 + key_size) as u8).collect();
            set(&mut rig.shard, &name, &value);
            assert_eq!(bytes(&rig.shard, &name, NOW).as_deref(), Some(&value[..]));
            let mut scratch = Vec::new();
            let Read::Hit(view, stamp) = rig.reader.read(&key(0, &name), NOW, &mut scratch) else {
                panic!("a reader finds it");
            };
            assert_eq!(view.value, Value::Bytes(&value));
            assert!(rig.reader.still_valid(&stamp));
        }
    }
    rig.shard.check_invariants();
    assert_eq!(rig.shard.len(0), 7);
    assert_eq!(rig.reader.len(0), 7);
}

#[test]
fn too_large_is_refused() {
    let mut rig = Rig::roomy();
    let large = vec![0; (1 << 20) + 1];
    let refused = rig
        .shard
        .set(&key(0, b"k"), Value::Bytes(&large), Expiry::Clear, NOW);
    assert_eq!(
        refused,
        Err(KeyspaceError::ValueTooLarge {
            bytes: (1 << 20) + 1,
            limit: 1 << 20
        })
    );
    assert!(matches!(
        rig.shard.write_range(&key(0, b"k"), u64::MAX, b"x", NOW),
        Err(KeyspaceError::ValueTooLarge { .. })
    ));
    assert!(matches!(
        rig.shard
            .set(&key(0, &large), Value::Bytes(b""), Expiry::Clear, NOW),
        Err(KeyspaceError::KeyTooLarge { .. })
    ));
    assert_eq!(rig.shard.len(0), 0);
}

#[test]
fn an_index_grows_and_shrinks_with_its_keys() {
    let mut rig = Rig::roomy();
    let all: Vec<_> = names(30_000).collect();
    for (i, name) in all.iter().enumerate() {
        set(&mut rig.shard, name, &i.to_le_bytes());
    }
    rig.shard.check_invariants();
    assert_eq!(rig.shard.len(0), 30_000);
    let memory = rig.shard.memory();
    assert!(memory.index < 30_000 * 13, "{memory:?}");
    for (i, name) in all.iter().enumerate() {
        assert_eq!(bytes(&rig.shard, name, NOW).unwrap(), i.to_le_bytes());
    }
    for name in &all[100..] {
        assert!(rig.shard.remove(&key(0, name), NOW));
    }
    rig.shard.check_invariants();
    while rig.shard.advance(NOW, 1000) {}
    rig.shard.purge();
    rig.shard.check_invariants();
    let memory = rig.shard.memory();
    assert!(memory.entries + memory.index < 200_000, "{memory:?}");
    for (i, name) in all[..100].iter().enumerate() {
        assert_eq!(bytes(&rig.shard, name, NOW).unwrap(), i.to_le_bytes());
    }
    assert!(!rig.shard.remove(&key(0, &all[100]), NOW));
}

#[test]
fn memory_is_counted_as_the_kernel_counts_it() {
    let mut rig = Rig::roomy();
    for (i, name) in names(20_000).enumerate() {
        set(&mut rig.shard, &name, &vec![1; i % 700]);
        if i % 3 == 0 {
            rig.shard.remove(&key(0, &name), NOW);
        }
        if i % 100 == 0 {
            set(&mut rig.shard, &name, &vec![1; 17_000 + i * 10]);
        }
    }
    for name in names(20_000).step_by(200) {
        set(&mut rig.shard, &name, &vec![1; 20_000]);
    }
    for name in names(20_000).skip(100).step_by(400) {
        rig.shard.remove(&key(0, &name), NOW);
    }
    rig.shard.check_invariants();
    let resident = rig.segment.resident_bytes().unwrap();
    let memory = rig.shard.memory();
    let heap = memory.used - resident;
    assert!(heap < 128 * 1024, "{memory:?} {resident}");
    rig.shard.clear();
    while rig.shard.advance(NOW, 1000) {}
    rig.shard.purge();
    assert!(rig.segment.resident_bytes().unwrap() <= 10 * 4096);
}

#[test]
fn a_large_value_takes_the_blocks_it_touches() {
    let mut rig = Rig::roomy();
    set(&mut rig.shard, b"k", &[1; 20_000]);
    let before = rig.segment.resident_bytes().unwrap();
    set(&mut rig.shard, b"k", &[2; 900_000]);
    let grown = rig.segment.resident_bytes().unwrap();
    assert!(grown - before > 870_000 && grown - before < 890_000);
    set(&mut rig.shard, b"k", &[3; 20_000]);
    assert_eq!(rig.segment.resident_bytes().unwrap(), before);
    rig.shard.remove(&key(0, b"k"), NOW);
    rig.shard.check_invariants();
}

#[test]
fn at_the_limit_writes_are_refused_and_reads_go_on() {
    let mut rig = Rig::new(1 << 26, 1 << 20);
    let mut stored = Vec::new();
    let refusal = names(100_000).find_map(|name| {
        let result = rig
            .shard
            .set(&key(0, &name), Value::Bytes(&[7; 300]), Expiry::Clear, NOW);
        stored.push(name);
        result.err()
    });
    assert!(matches!(refusal, Some(KeyspaceError::OutOfMemory { limit, .. }) if limit == 1 << 20));
    assert_eq!(rig.shard.counters().refused, 1);
    let refused = stored.pop().unwrap();
    rig.shard.check_invariants();
    assert!(rig.shard.memory().used <= 1 << 20);
    assert!(stored.len() > 2500);
    assert_eq!(bytes(&rig.shard, &refused, NOW), None);
    assert!(
        stored
            .iter()
            .all(|name| bytes(&rig.shard, name, NOW).unwrap() == [7; 300])
    );
    assert!(
        rig.shard
            .append(&key(0, &stored[0]), &[1; 30_000], NOW)
            .is_err()
    );
    assert!(
        rig.shard
            .set_expiry(&key(0, &stored[0]), Some(NOW + 5), NOW),
        "an expiry is set even so"
    );
    rig.shard.check_invariants();
    set(&mut rig.shard, &stored[1], &[8; 300]);
    rig.shard.clear_database(0);
    set(&mut rig.shard, &refused, &[9; 300]);
    let again: Vec<_> = names(stored.len() - 50).collect();
    for name in &again {
        set(&mut rig.shard, name, &[9; 300]);
    }
    rig.shard.check_invariants();
}

#[test]
fn integers_stay_integers_until_bytes_are_needed() {
    let mut rig = Rig::roomy();
    let k = key(0, b"n");
    rig.shard
        .set(&k, Value::Int(-42), Expiry::Clear, NOW)
        .unwrap();
    assert_eq!(rig.shard.use_entry(&k, NOW).unwrap().value, Value::Int(-42));
    let mut scratch = Vec::new();
    assert!(
        matches!(rig.reader.read(&k, NOW, &mut scratch), Read::Hit(view, _) if view.value == Value::Int(-42))
    );
    assert_eq!(rig.shard.append(&k, b"0", NOW), Ok(4));
    assert_eq!(
        rig.shard.use_entry(&k, NOW).unwrap().value,
        Value::Bytes(b"-420")
    );
    rig.shard
        .set(&k, Value::Int(i64::MIN), Expiry::Clear, NOW)
        .unwrap();
    assert_eq!(rig.shard.write_range(&k, 1, b"77", NOW), Ok(20));
    assert_eq!(
        rig.shard.use_entry(&k, NOW).unwrap().value,
        Value::Bytes(b"-7723372036854775808")
    );
}

#[test]
fn appending_and_writing_ranges() {
    let mut rig = Rig::roomy();
    let k = key(0, b"k");
    assert_eq!(rig.shard.append(&k, b"", NOW), Ok(0));
    let mut model = Vec::new();
    for i in 0..3000_usize {
        let piece = vec![i as u8; i % 61];
        model.extend_from_slice(&piece);
        assert_eq!(rig.shard.append(&k, &piece, NOW), Ok(model.len() as u64));
    }
    assert_eq!(bytes(&rig.shard, b"k", NOW), Some(model.clone()));
    assert_eq!(rig.shard.write_range(&k, 200_000, b"end", NOW), Ok(200_003));
    model.resize(200_000, 0);
    model.extend_from_slice(b"end");
    assert_eq!(rig.shard.write_range(&k, 5, b"start", NOW), Ok(200_003));
    model[5..10].copy_from_slice(b"start");
    assert_eq!(bytes(&rig.shard, b"k", NOW), Some(model));
    assert_eq!(rig.shard.write_range(&key(0, b"new"), 3, b"x", NOW), Ok(4));
    assert_eq!(bytes(&rig.shard, b"new", NOW).unwrap(), b"\0\0\0x");
    rig.shard.check_invariants();
}

#[test]
fn entries_expire_at_access_and_in_the_background() {
    let mut rig = Rig::roomy();
    for (i, name) in names(5000).enumerate() {
        rig.shard
            .set(
                &key(0, &name),
                Value::Bytes(b"v"),
                Expiry::At(NOW + 1 + i as u64 * 37),
                NOW,
            )
            .unwrap();
    }
    rig.shard.check_invariants();
    assert_eq!(rig.shard.expiring(0), 5000);
    assert!(rig.shard.next_expiry().unwrap() <= NOW + 1);
    let first = names(1).next().unwrap();
    let mut scratch = Vec::new();
    assert!(rig.shard.look(&key(0, &first), NOW).is_some());
    assert!(rig.shard.look(&key(0, &first), NOW + 1).is_none());
    assert!(matches!(
        rig.reader.read(&key(0, &first), NOW + 1, &mut scratch),
        Read::Miss(_)
    ));
    assert_eq!(rig.shard.len(0), 5000);
    assert!(rig.shard.use_entry(&key(0, &first), NOW + 1).is_none());
    assert_eq!((rig.shard.len(0), rig.shard.counters().expired), (4999, 1));
    let mut now = NOW;
    while rig.shard.len(0) > 0 {
        now += 1000;
        while rig.shard.advance(now, 7) {}
        let alive = (0..5000).filter(|i| NOW + 1 + i * 37 > now).count() as u64;
        assert_eq!(rig.shard.len(0), alive);
        assert!(rig.shard.next_expiry().is_none_or(|next| next > now));
    }
    rig.shard.check_invariants();
    assert_eq!(
        (rig.shard.expiring(0), rig.shard.counters().expired),
        (0, 5000)
    );
}

#[test]
fn times_of_expiry_come_and_go() {
    let mut rig = Rig::roomy();
    let k = key(0, b"k");
    for at in [NOW + 1, (1 << 48) - 2, (1 << 48) - 1, 1 << 48, u64::MAX - 1] {
        rig.shard
            .set(&k, Value::Bytes(b"value"), Expiry::At(at), NOW)
            .unwrap();
        assert_eq!(rig.shard.use_entry(&k, NOW).unwrap().expire_at, Some(at));
        rig.shard
            .set(&k, Value::Bytes(b"other"), Expiry::Keep, NOW)
            .unwrap();
        assert_eq!(rig.shard.use_entry(&k, NOW).unwrap().expire_at, Some(at));
        assert!(rig.shard.set_expiry(&k, None, NOW));
        assert_eq!(rig.shard.use_entry(&k, NOW).unwrap().expire_at, None);
        assert_eq!(rig.shard.expiring(0), 0);
        assert!(rig.shard.set_expiry(&k, Some(at), NOW));
        assert_eq!(rig.shard.use_entry(&k, NOW).unwrap().expire_at, Some(at));
        assert_eq!(rig.shard.append(&k, b"!", NOW), Ok(6));
        assert_eq!(rig.shard.use_entry(&k, NOW).unwrap().expire_at, Some(at));
        rig.shard.check_invariants();
        rig.shard
            .set(&k, Value::Bytes(b"value"), Expiry::Clear, NOW)
            .unwrap();
        assert_eq!(rig.shard.use_entry(&k, NOW).unwrap().expire_at, None);
        rig.shard.check_invariants();
    }
    assert!(
        !rig.shard
            .set_expiry(&key(0, b"missing"), Some(NOW + 1), NOW)
    );
}

#[test]
fn databases_are_swapped_and_cleared() {
    let mut rig = Rig::roomy();
    for (i, name) in names(2000).enumerate() {
        let at = Expiry::At(NOW + 10 + i as u64);
        rig.shard
            .set(&key(0, &name), Value::Bytes(b"zero"), at, NOW)
            .unwrap();
    }
    rig.shard
        .set(&key(1, b"k"), Value::Bytes(b"one"), Expiry::Clear, NOW)
        .unwrap();
    let slot = crate::keyspace::slot::key_slot(b"k");
    let mut scratch = Vec::new();
    let Read::Hit(_, stamp) = rig.reader.read(&key(1, b"k"), NOW, &mut scratch) else {
        panic!()
    };
    rig.shard.swap_databases(0, 1);
    assert!(!rig.reader.still_valid(&stamp));
    assert_eq!(
        (
            rig.shard.len(0),
            rig.shard.len(1),
            rig.reader.len(0),
            rig.reader.len(1)
        ),
        (1, 2000, 1, 2000)
    );
    assert_eq!(rig.shard.slot_len(slot), 1);
    assert_eq!(
        rig.shard.use_entry(&key(0, b"k"), NOW).unwrap().value,
        Value::Bytes(b"one")
    );
    rig.shard.clear_database(1);
    assert_eq!(rig.shard.len(1), 0);
    rig.shard.check_invariants();
    let mut steps = 0;
    while rig.shard.advance(NOW + 500, 10) {
        steps += 1;
        rig.shard
            .set(
                &key(1, &[steps as u8]),
                Value::Bytes(b"new"),
                Expiry::At(NOW + 600),
                NOW,
            )
            .unwrap();
        if steps % 50 == 0 {
            rig.shard.check_invariants();
        }
    }
    assert!(steps > 100);
    rig.shard.check_invariants();
    assert_eq!(
        rig.shard.counters().expired,
        0,
        "what is cleared does not expire"
    );
    rig.shard.clear();
    assert_eq!(rig.shard.slot_len(slot), 0);
    while rig.shard.advance(NOW + 500, 100) {}
    assert_eq!(rig.shard.memory().live, 0);
    rig.shard.check_invariants();
}

#[test]
fn a_scan_meets_what_stays() {
    let mut rig = Rig::roomy();
    let stay: BTreeSet<_> = names(3000).collect();
    for name in &stay {
        set(&mut rig.shard, name, b"v");
    }
    let mut seen: HashMap<Vec<u8>, usize> = HashMap::new();
    let (mut cursor, mut round) = (0, 0);
    loop {
        cursor = rig.shard.scan(0, cursor, 5, NOW, &mut |key, view| {
            assert_eq!(view.value, Value::Bytes(b"v"));
            *seen.entry(key.to_vec()).or_default() += 1;
        });
        if cursor == 0 {
            break;
        }
        round += 1;
        for i in 0..40 {
            let other = format!("other:{}", (round / 40) * 40 + i);
            if round / 20 % 2 == 0 {
                set(&mut rig.shard, other.as_bytes(), b"v");
            } else {
                rig.shard.remove(&key(0, other.as_bytes()), NOW);
            }
        }
    }
    assert!(stay.iter().all(|name| seen.contains_key(name)));
    let mut visits = 0;
    assert_eq!(rig.shard.scan(1, 0, 10, NOW, &mut |_, _| visits += 1), 0);
    assert_eq!(
        rig.shard
            .scan(0, 0, usize::MAX, NOW, &mut |_, _| visits += 1),
        0
    );
    assert_eq!(visits, rig.shard.len(0));
}

#[test]
fn random_keys_are_spread_and_live() {
    let mut rig = Rig::roomy();
    assert_eq!(rig.shard.random(0, 5, NOW), None);
    for (i, name) in names(200).enumerate() {
        let expiry = if i < 100 {
            Expiry::At(NOW + 1)
        } else {
            Expiry::Clear
        };
        rig.shard
            .set(&key(0, &name), Value::Bytes(b"v"), expiry, NOW)
            .unwrap();
    }
    let drawn: BTreeSet<_> = (0..3000)
        .map(|r| rig.shard.random(0, r, NOW + 1).unwrap().to_vec())
        .collect();
    assert!(drawn.into_iter().eq(names(200).skip(100)));
    for name in names(200).skip(101) {
        rig.shard.remove(&key(0, &name), NOW);
    }
    assert_eq!(
        rig.shard.random(0, 9, NOW + 1),
        names(200).nth(100).as_deref()
    );
}

#[test]
fn watches_are_touched_by_changes_only() {
    let mut rig = Rig::roomy();
    set(&mut rig.shard, b"a", b"1");
    rig.shard
        .set(
            &key(0, b"soon"),
            Value::Bytes(b"1"),
            Expiry::At(NOW + 5),
            NOW,
        )
        .unwrap();
    let mut token = 0;
    let mut touches = |rig: &mut Rig, name: &[u8], change: &dyn Fn(&mut Shard)| {
        token += 1;
        rig.shard.watch(&key(0, name), token, NOW);
        assert!(!rig.shard.is_touched(token, NOW));
        change(&mut rig.shard);
        let touched = rig.shard.is_touched(token, NOW);
        rig.shard.unwatch(token);
        assert!(!rig.shard.is_touched(token, NOW));
        touched
    };
    assert!(touches(&mut rig, b"a", &|shard| set(shard, b"a", b"1")));
    assert!(!touches(&mut rig, b"a", &|shard| set(shard, b"b", b"1")));
    assert!(!touches(&mut rig, b"a", &|shard| {
        let _ = shard.use_entry(&key(0, b"a"), NOW);
    }));
    assert!(touches(&mut rig, b"a", &|shard| {
        let _ = shard.append(&key(0, b"a"), b"x", NOW);
    }));
    assert!(touches(&mut rig, b"a", &|shard| {
        let _ = shard.write_range(&key(0, b"a"), 0, b"x", NOW);
    }));
    assert!(touches(&mut rig, b"a", &|shard| {
        let _ = shard.set_expiry(&key(0, b"a"), Some(NOW + 50), NOW);
    }));
    assert!(touches(&mut rig, b"new", &|shard| {
        let _ = shard.append(&key(0, b"new"), b"", NOW);
    }));
    assert!(!touches(&mut rig, b"missing", &|shard| {
        let _ = shard.remove(&key(0, b"missing"), NOW);
    }));
    assert!(touches(&mut rig, b"new", &|shard| {
        let _ = shard.remove(&key(0, b"new"), NOW);
    }));
    assert!(!touches(&mut rig, b"missing", &|shard| shard.clear_database(0)));
    set(&mut rig.shard, b"a", b"1");
    assert!(touches(&mut rig, b"a", &|shard| shard.clear_database(0)));
    set(&mut rig.shard, b"a", b"1");
    assert!(!touches(&mut rig, b"a", &|shard| shard.swap_databases(1, 2)));
    assert!(touches(&mut rig, b"a", &|shard| shard.swap_databases(1, 0)));
    assert!(touches(&mut rig, b"a", &|shard| shard.swap_databases(1, 0)));
}

#[test]
fn a_watched_key_that_expires_is_touched() {
    let mut rig = Rig::roomy();
    rig.shard
        .set(
            &key(0, b"soon"),
            Value::Bytes(b"1"),
            Expiry::At(NOW + 5),
            NOW,
        )
        .unwrap();
    rig.shard.watch(&key(0, b"soon"), 1, NOW);
    rig.shard.watch(&key(0, b"soon"), 2, NOW + 5);
    rig.shard.watch(&key(0, b"other"), 1, NOW);
    assert!(!rig.shard.is_touched(1, NOW + 4));
    assert!(rig.shard.is_touched(1, NOW + 5));
    while rig.shard.advance(NOW + 5, 10) {}
    assert_eq!(rig.shard.len(0), 0);
    assert!(rig.shard.is_touched(1, NOW + 5));
    assert!(
        !rig.shard.is_touched(2, NOW + 5),
        "it was gone already when it was watched"
    );
}

#[test]
fn readers_stay_away_while_a_shard_is_reserved() {
    let mut rig = Rig::roomy();
    set(&mut rig.shard, b"k", b"v");
    let mut scratch = Vec::new();
    let Read::Hit(_, stamp) = rig.reader.read(&key(0, b"k"), NOW, &mut scratch) else {
        panic!()
    };
    let Read::Miss(missing) = rig.reader.read(&key(1, b"k"), NOW, &mut scratch) else {
        panic!()
    };
    rig.shard.reserve();
    assert_eq!(
        rig.reader.read(&key(0, b"k"), NOW, &mut scratch),
        Read::Unsettled
    );
    assert!(rig.reader.still_valid(&stamp), "nothing was written yet");
    set(&mut rig.shard, b"k", b"w");
    assert!(!rig.reader.still_valid(&stamp));
    rig.shard.release();
    assert!(matches!(
        rig.reader.read(&key(0, b"k"), NOW, &mut scratch),
        Read::Hit(..)
    ));
    assert!(rig.reader.still_valid(&missing));
}

#[test]
fn a_stamp_holds_until_its_bucket_changes() {
    let mut rig = Rig::roomy();
    let mut scratch = Vec::new();
    let Read::Miss(empty) = rig.reader.read(&key(0, b"k"), NOW, &mut scratch) else {
        panic!()
    };
    set(&mut rig.shard, b"k", b"v");
    assert!(!rig.reader.still_valid(&empty));
    let Read::Hit(_, stamp) = rig.reader.read(&key(0, b"k"), NOW, &mut scratch) else {
        panic!()
    };
    rig.shard.use_entry(&key(0, b"k"), NOW + 10_000);
    assert!(rig.reader.still_valid(&stamp), "reading changes nothing");
    set(&mut rig.shard, b"k", b"v");
    assert!(!rig.reader.still_valid(&stamp));
    let stamps: Vec<_> = names(5000)
        .map(|name| {
            set(&mut rig.shard, &name, b"v");
            let Read::Hit(_, stamp) = rig.reader.read(&key(0, &name), NOW, &mut scratch) else {
                panic!()
            };
            stamp
        })
        .collect();
    let valid = stamps
        .iter()
        .filter(|stamp| rig.reader.still_valid(stamp))
        .count();
    assert!(valid > 100 && valid < 4900, "{valid}");
}

#[test]
fn a_new_owner_starts_empty() {
    let Rig {
        segment,
        shape,
        mut shard,
        reader,
    } = Rig::roomy();
    let mut scratch = Vec::new();
    set(&mut shard, b"k", b"v");
    shard.reserve();
    drop(shard);
    let mut shard = Shard::create(segment.own().unwrap(), shape.clone()).unwrap();
    shard.check_invariants();
    assert!(matches!(
        reader.read(&key(0, b"k"), NOW, &mut scratch),
        Read::Miss(_)
    ));
    set(&mut shard, b"k", b"w");
    assert!(matches!(
        reader.read(&key(0, b"k"), NOW, &mut scratch),
        Read::Hit(..)
    ));
    let other = crate::shm::Segment::create("test", 1 << 20).unwrap();
    assert!(matches!(
        Shard::create(other.own().unwrap(), shape.clone()),
        Err(KeyspaceError::SegmentSize { .. })
    ));
    assert!(matches!(
        ShardReader::open(other.read().unwrap(), &shape),
        Err(KeyspaceError::SegmentSize { .. })
    ));
}

#[test]
fn an_entry_costs_less_than_40_bytes_beyond_key_and_value() {
    const KEYS: u64 = 200_000;
    let mut rig = Rig::roomy();
    for name in names(KEYS as usize) {
        set(&mut rig.shard, &name, &[1; 200]);
    }
    let memory = rig.shard.memory();
    let heap = memory.used - rig.segment.resident_bytes().unwrap();
    let all = rig.segment.resident_bytes().unwrap() + heap;
    let beyond = all as f64 / KEYS as f64 - 216.0;
    assert!(beyond < 32.0, "{beyond} {memory:?}");
}

#[test]
fn sparse_pages_are_emptied_for_other_sizes() {
    let mut rig = Rig::roomy();
    let value = |i: usize| vec![i as u8; 100 + i % 20];
    for (i, name) in names(40_000).enumerate() {
        let expiry = if i % 3 == 0 {
            Expiry::At(NOW + 1_000_000)
        } else {
            Expiry::Clear
        };
        rig.shard
            .set(&key(0, &name), Value::Bytes(&value(i)), expiry, NOW)
            .unwrap();
    }
    for (_, name) in names(40_000).enumerate().filter(|(i, _)| i % 10 != 0) {
        rig.shard.remove(&key(0, &name), NOW);
    }
    let before = rig.shard.memory();
    for _ in 0..1000 {
        rig.shard.advance(NOW, 300);
    }
    rig.shard.check_invariants();
    let after = rig.shard.memory();
    assert_eq!(before.live, after.live);
    assert!(before.entries > 4 * after.live, "{before:?}");
    assert!(after.entries < 2 * after.live, "{after:?}");
    let mut scratch = Vec::new();
    for (i, name) in names(40_000).enumerate().filter(|(i, _)| i % 10 == 0) {
        let view = rig.shard.look(&key(0, &name), NOW).unwrap();
        assert_eq!(view.value, Value::Bytes(&value(i)));
        assert_eq!(view.expire_at.is_some(), i % 3 == 0);
        assert!(
            matches!(rig.reader.read(&key(0, &name), NOW, &mut scratch), Read::Hit(read, _) if read == view)
        );
    }
    while rig.shard.advance(NOW + 1_000_000, 100) {}
    assert_eq!(
        rig.shard.len(0),
        (0..40_000).step_by(10).filter(|i| i % 3 != 0).count() as u64
    );
    rig.shard.check_invariants();
}
