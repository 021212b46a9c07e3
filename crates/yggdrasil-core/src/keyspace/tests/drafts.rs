//! Entries in the making, and uploads.

use super::{Rig, SEED, key, shape};
use crate::keyspace::{
    EvictionOptions, Expiry, KeyspaceError, Policy, Shard, ShardShape, UploadError, Value, hash_key,
};

const NOW: u64 = 1_700_000_000_000;

#[test]
fn keys_longer_than_32_bits_can_say_are_refused_before_their_value_comes() {
    let mut rig = Rig::of(ShardShape {
        value_bytes_max: 1 << 40,
        ..shape(1 << 36, 1 << 35)
    });
    let before = rig.shard.memory();
    let bytes = (1 << 32) + 5;
    let refused = KeyspaceError::KeyTooLarge {
        bytes,
        limit: u64::from(u32::MAX),
    };
    let draft = rig.shard.draft(bytes as usize, 100_000);
    assert_eq!(draft.unwrap_err(), refused);
    for expected in [None, Some(100_000)] {
        let draft = rig.shard.growing_draft(bytes as usize, expected);
        assert_eq!(draft.unwrap_err(), refused);
    }
    assert_eq!(rig.shard.memory(), before);
}

#[test]
fn bytes_that_do_not_come_do_not_count_for_an_upload() {
    let mut rig = Rig::new(1 << 30, 1 << 20);
    let shard = &mut rig.shard;
    shard
        .begin_upload(1, &key(0, b"k"), None, None, NOW)
        .unwrap();
    assert_eq!(shard.append_upload(1, &[1; 1000], NOW), Ok(1000));
    shard.receive_upload(1, 500_000).unwrap();
    assert_eq!(shard.uploads(), (1, 501_000));
    shard.upload_received(1, 0, Ok(&[2; 70_000]), NOW).unwrap();
    assert_eq!(shard.end_receiving(1, None, NOW), Ok(1000));
    assert_eq!(shard.uploads(), (1, 1000));
    let refused = shard.append_upload(1, &vec![3; 1 << 20], NOW);
    assert!(matches!(refused, Err(UploadError::Keyspace(_))));
    assert_eq!(shard.uploads(), (1, 1000));
    let hash = blake3::hash(&[1; 1000]);
    shard.commit_upload(1, Some(hash), NOW).unwrap();
    assert_eq!(shard.uploads(), (0, 0));
}

#[test]
fn an_upload_gets_the_version_of_its_entry_whatever_is_evicted_for_it() {
    let mut rig = Rig::new(1 << 30, 1 << 30);
    let shard = &mut rig.shard;
    shard.set_eviction(EvictionOptions {
        policy: Policy::AllKeysRandom,
        ..EvictionOptions::default()
    });
    let set = |shard: &mut Shard, db, name: &[u8]| {
        let stored = shard.set(&key(db, name), Value::Int(1), Expiry::Clear, NOW);
        assert_eq!(stored, Ok(false));
    };
    for number in 0..50_u64 {
        let (name, value) = (number.to_le_bytes(), Value::Bytes(&[1; 16_000]));
        let stored = shard.set(&key(0, &name), value, Expiry::Clear, NOW);
        assert_eq!(stored, Ok(false));
    }
    // Names that share the first bucket of another database, one more than have room in it.
    let names = (0..u64::MAX).map(u64::to_le_bytes);
    let mut sharing = names.filter(|name| hash_key(SEED, name).is_multiple_of(16));
    for name in sharing.by_ref().take(10) {
        set(shard, 1, &name);
    }
    let name = sharing.next().unwrap();
    shard
        .begin_upload(1, &key(1, &name), None, None, NOW)
        .unwrap();
    shard.append_upload(1, &[7; 17_000], NOW).unwrap();
    shard.purge();
    shard.set_memory_limit(shard.memory().used);
    let version = shard.commit_upload(1, None, NOW).unwrap();
    assert_ne!(shard.counters().evicted, 0);
    let entry = shard.look(&key(1, &name), NOW).unwrap();
    assert_eq!(entry.version, version);
    shard.check_invariants();
}
