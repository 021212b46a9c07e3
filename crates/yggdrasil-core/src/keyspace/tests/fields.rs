//! Fields of hashes that expire: hidden at once, removed in steps by the owner alone.

use super::{Rig, key};
use crate::keyspace::collection::hash::{HashView, put_expire, put_set};
use crate::keyspace::events::KeyEvent;
use crate::keyspace::{EventClasses, Expiry, Key, Kind, Packing, Record, Value};

const NOW: u64 = 1_700_000_000_000;

fn rig() -> Rig {
    let mut rig = Rig::roomy();
    let letters = EventClasses::from_letters("EA").unwrap();
    rig.shard.ask_for_events(letters);
    rig
}

/// Operations for so many fields, the one with number n expiring n milliseconds from now, that with number 0 never.
fn fields(count: u64) -> Vec<u8> {
    let mut ops = Vec::new();
    for number in 0..count {
        let expire_at = (number > 0).then_some(NOW + number);
        put_set(&mut ops, number.to_string().as_bytes(), b"v", expire_at);
    }
    ops
}

fn len(rig: &Rig, key: &Key<'_>, now: u64) -> Option<(u64, u64)> {
    let entry = rig.shard.look(key, now)?;
    let hash = HashView::of(&entry.value, &Packing::default(), now);
    Some((hash.live_len(), hash.len()))
}

fn advance(rig: &mut Rig, now: u64) -> Vec<KeyEvent> {
    while rig.shard.advance(now, 1000) {}
    rig.shard.check_invariants();
    let events = rig.shard.take_events();
    events.into_iter().map(|noted| noted.event).collect()
}

#[test]
fn fields_are_hidden_at_once_and_removed_by_the_owner() {
    for count in [10, 2000] {
        let mut rig = rig();
        let k = key(0, b"k");
        rig.shard
            .change(&k, Kind::Hash, &fields(count), NOW)
            .unwrap();
        assert_eq!(rig.shard.next_expiry(), Some(NOW + 1));
        assert_eq!(len(&rig, &k, NOW + 5), Some((count - 5, count)));
        advance(&mut rig, NOW);
        assert_eq!(advance(&mut rig, NOW + 5), [KeyEvent::HExpired]);
        assert_eq!(len(&rig, &k, NOW + 5), Some((count - 5, count - 5)));
        assert_eq!(rig.shard.next_expiry(), Some(NOW + 6));
        let events = advance(&mut rig, NOW + count);
        assert!(!events.is_empty() && events.iter().all(|event| *event == KeyEvent::HExpired));
        assert_eq!(len(&rig, &k, NOW + count), Some((1, 1)));
        assert_eq!(rig.shard.next_expiry(), None);
        let mut ops = Vec::new();
        put_expire(&mut ops, b"0", Some(NOW + count + 9));
        rig.shard.change(&k, Kind::Hash, &ops, NOW + count).unwrap();
        let events = advance(&mut rig, NOW + count + 9);
        assert_eq!(events, [KeyEvent::HExpired, KeyEvent::Del]);
        assert_eq!(len(&rig, &k, NOW + count + 9), None);
        assert_eq!(rig.shard.memory().live, 0);
    }
}

#[test]
fn a_hash_that_leaves_takes_its_times_along() {
    let mut rig = rig();
    let (k, other) = (key(0, b"k"), key(1, b"other"));
    let fill = |rig: &mut Rig| {
        rig.shard.change(&k, Kind::Hash, &fields(3), NOW).unwrap();
    };
    fill(&mut rig);
    rig.shard.remove(&k, NOW);
    assert_eq!(rig.shard.next_expiry(), None);
    fill(&mut rig);
    let string = Value::Bytes(b"string");
    rig.shard.set(&k, string, Expiry::Clear, NOW).unwrap();
    assert_eq!(rig.shard.next_expiry(), None);
    rig.shard.remove(&k, NOW);
    fill(&mut rig);
    rig.shard.clear_database(0);
    while rig.shard.advance(NOW, 1000) {}
    assert_eq!(rig.shard.next_expiry(), None);
    fill(&mut rig);
    let packed = match rig.shard.look(&k, NOW).unwrap().value {
        Value::Bytes(packed) => packed.to_vec(),
        value => panic!("{value:?} is not packed"),
    };
    rig.shard.remove(&k, NOW);
    let value = Value::Bytes(&packed);
    rig.shard
        .put(&other, Kind::Hash, value, Expiry::Clear, NOW)
        .unwrap();
    assert_eq!(rig.shard.next_expiry(), Some(NOW + 1));
    assert_eq!([0, 1].map(|db| rig.shard.hashes_with_times(db)), [0, 1]);
    advance(&mut rig, NOW + 2);
    assert_eq!(len(&rig, &other, NOW + 2), Some((1, 1)));
    assert_eq!(rig.shard.counters().expired_fields, 2);
}

#[test]
fn what_is_undone_expires_as_it_would_have() {
    let mut rig = rig();
    let k = key(0, b"k");
    rig.shard.change(&k, Kind::Hash, &fields(3), NOW).unwrap();
    rig.shard.begin_changes();
    rig.shard.remove(&k, NOW);
    rig.shard.end_changes(false, NOW);
    advance(&mut rig, NOW + 2);
    assert_eq!(len(&rig, &k, NOW + 2), Some((1, 1)));
}

#[test]
fn a_follower_hides_fields_and_waits_for_their_removal() {
    let mut rig = rig();
    let k = key(0, b"k");
    rig.shard.follow(true);
    let effect = crate::keyspace::Effect::Delta {
        kind: Kind::Hash,
        is_new: true,
        ops: &fields(3),
    };
    let record = Record {
        db: 0,
        key: b"k",
        effect,
    };
    rig.shard.apply(&record, 1).unwrap();
    assert_eq!(advance(&mut rig, NOW + 2), []);
    assert_eq!(len(&rig, &k, NOW + 2), Some((1, 3)));
    rig.shard.follow(false);
    assert_eq!(advance(&mut rig, NOW + 2), [KeyEvent::HExpired]);
    assert_eq!(len(&rig, &k, NOW + 2), Some((1, 1)));
}
