//! Eviction when memory runs short: enough goes, and the right entries.

use std::collections::HashSet;

use super::{Rig, key, shape};
use crate::keyspace::{EvictionOptions, Expiry, KeyspaceError, Policy, ShardShape, Value};

const START: u64 = 1_700_000_000_000;

fn rig(policy: Policy, limit: u64) -> Rig {
    let mut rig = Rig::new(1 << 30, limit);
    rig.shard.set_eviction(EvictionOptions {
        policy,
        ..EvictionOptions::default()
    });
    rig
}

fn name(number: u64) -> Vec<u8> {
    format!("key:{number:012}").into_bytes()
}

fn put(rig: &mut Rig, number: u64, bytes: usize, expiry: Expiry, now: u64) {
    let (name, value) = (name(number), vec![7; bytes]);
    // As the engine does before it executes a write.
    assert!(rig.shard.relieve(now, 64));
    let set = rig
        .shard
        .set(&key(0, &name), Value::Bytes(&value), expiry, now);
    assert!(set.is_ok(), "{number}: {set:?}");
}

fn has(rig: &Rig, number: u64, now: u64) -> bool {
    rig.shard.look(&key(0, &name(number)), now).is_some()
}

/// Stores many keys of this size; the limit holds at every step.
fn fill(rig: &mut Rig, numbers: std::ops::Range<u64>, bytes: usize) {
    for number in numbers {
        put(rig, number, bytes, Expiry::Clear, START);
        let memory = rig.shard.memory();
        // The queues of the policy may grow by a step.
        assert!(
            memory.used <= memory.limit + memory.limit / 50,
            "{memory:?}"
        );
    }
}

const ALL_KEYS: [Policy; 4] = [
    Policy::TinyLfu,
    Policy::AllKeysLru,
    Policy::AllKeysLfu,
    Policy::AllKeysRandom,
];

#[test]
fn a_full_shard_takes_every_size_after_any_other() {
    for policy in ALL_KEYS {
        // The admission policy has books of up to 1 MiB, whatever the limit.
        let mut rig = rig(policy, 16 << 20);
        let mut next = 0;
        for bytes in [100, 300, 20_000, 40, 1000, 200_000, 8, 3000, 100] {
            let count = (20 << 20) / (bytes as u64 + 60);
            fill(&mut rig, next..next + count, bytes);
            next += count;
            rig.shard.check_invariants();
            assert!(has(&rig, next - 1, START));
        }
        let memory = rig.shard.memory();
        assert!(memory.live * 10 > memory.limit * 6, "{policy:?} {memory:?}");
        assert!(rig.shard.counters().evicted > 10_000);
        assert_eq!(rig.shard.counters().refused, 0);
    }
}

#[test]
fn what_is_used_stays() {
    for policy in [Policy::AllKeysLru, Policy::AllKeysLfu, Policy::TinyLfu] {
        let mut rig = rig(policy, 2 << 20);
        let mut now = START;
        for number in 0..1000 {
            put(&mut rig, number, 100, Expiry::Clear, now);
        }
        for round in 0..40 {
            now += 60_000;
            for number in 0..1000 {
                rig.shard.use_entry(&key(0, &name(number)), now);
            }
            for number in 0..1000 {
                put(
                    &mut rig,
                    10_000 + round * 1000 + number,
                    100,
                    Expiry::Clear,
                    now,
                );
            }
        }
        let kept = (0..1000).filter(|number| has(&rig, *number, now)).count();
        assert!(kept > 800, "{policy:?} kept {kept}");
        rig.shard.check_invariants();
    }
}

#[test]
fn volatile_policies_take_only_what_expires() {
    for policy in [
        Policy::VolatileLru,
        Policy::VolatileLfu,
        Policy::VolatileRandom,
        Policy::VolatileTtl,
    ] {
        let mut rig = rig(policy, 2 << 20);
        for number in 0..3000 {
            let expiry = if number % 3 == 0 {
                Expiry::At(START + 1_000_000 + number)
            } else {
                Expiry::Clear
            };
            put(&mut rig, number, 100, expiry, START);
        }
        for number in 10_000..40_000 {
            put(
                &mut rig,
                number,
                100,
                Expiry::At(START + 10_000_000 + number),
                START,
            );
        }
        for number in 0..3000 {
            assert!(number % 3 == 0 || has(&rig, number, START), "{policy:?}");
        }
        if policy == Policy::VolatileTtl {
            assert!((0..3000).step_by(3).all(|number| !has(&rig, number, START)));
        }
        rig.shard.check_invariants();
        for number in 10_000..40_000 {
            rig.shard.remove(&key(0, &name(number)), START);
        }
        for number in (0..3000).step_by(3) {
            rig.shard.remove(&key(0, &name(number)), START);
        }
        let (value, mut refused) = ([7; 100], false);
        for number in 50_000..90_000 {
            let name = name(number);
            let set = rig
                .shard
                .set(&key(0, &name), Value::Bytes(&value), Expiry::Clear, START);
            refused |= matches!(set, Err(KeyspaceError::OutOfMemory { .. }));
        }
        assert!(
            refused,
            "without keys that expire it is as if there were no eviction"
        );
    }
}

#[test]
fn pinned_keys_stay() {
    for policy in ALL_KEYS {
        let mut rig = rig(policy, 2 << 20);
        for number in 0..2000 {
            put(&mut rig, number, 100, Expiry::Clear, START);
            assert!(rig.shard.pin(&key(0, &name(number)), START + 1000, START));
        }
        fill(&mut rig, 10_000..40_000, 100);
        assert!(
            (0..2000).all(|number| has(&rig, number, START)),
            "{policy:?}"
        );
        rig.shard.check_invariants();
        while rig.shard.advance(START + 1000, 100) {}
        fill(&mut rig, 50_000..90_000, 100);
        assert!(rig.shard.pins().is_empty());
        let kept = (0..2000).filter(|number| has(&rig, *number, START)).count();
        // New keys that are used once displace nothing that was used as often.
        assert!(policy == Policy::TinyLfu || kept < 500, "{policy:?} {kept}");
    }
}

#[test]
fn a_key_is_not_evicted_by_its_own_growth() {
    for policy in ALL_KEYS {
        let mut rig = rig(policy, 2 << 20);
        put(&mut rig, 0, 10, Expiry::At(START + 1_000_000), START);
        fill(&mut rig, 1..20_000, 100);
        put(&mut rig, 0, 10, Expiry::At(START + 1_000_000), START);
        for step in 1..200 {
            let length = rig
                .shard
                .append(&key(0, &name(0)), &[1; 5000], START)
                .unwrap();
            assert_eq!(length, 10 + 5000 * step, "{policy:?}");
            let entry = rig.shard.look(&key(0, &name(0)), START).unwrap();
            assert_eq!(entry.expire_at, Some(START + 1_000_000));
        }
        rig.shard.check_invariants();
    }
}

#[test]
fn watches_are_told_of_evictions() {
    let mut rig = rig(Policy::AllKeysRandom, 2 << 20);
    put(&mut rig, 0, 100, Expiry::Clear, START);
    rig.shard.watch(&key(0, &name(0)), 5, START);
    let mut number = 1;
    while has(&rig, 0, START) {
        assert!(!rig.shard.is_touched(5, START));
        put(&mut rig, number, 100, Expiry::Clear, START);
        number += 1;
    }
    assert!(rig.shard.is_touched(5, START));
}

#[test]
fn a_lowered_limit_is_reached_in_steps() {
    for policy in ALL_KEYS {
        let mut rig = rig(policy, 8 << 20);
        fill(&mut rig, 0..100_000, 100);
        rig.shard.set_memory_limit(2 << 20);
        let mut steps = 0;
        loop {
            rig.shard.advance(START, 100);
            if !rig.shard.is_over_limit() {
                break;
            }
            steps += 1;
            // Writes go on meanwhile.
            put(&mut rig, 200_000 + steps, 100, Expiry::Clear, START);
            assert!(
                steps < 10_000,
                "{policy:?} {:?} {:?}",
                rig.shard.memory(),
                rig.shard.admission()
            );
        }
        assert!(steps > 50);
        rig.shard.check_invariants();
    }
}

#[test]
fn writes_go_on_while_a_lowered_limit_is_not_reached() {
    for policy in ALL_KEYS {
        let mut rig = rig(policy, 64 << 20);
        fill(&mut rig, 0..300_000, 100);
        rig.shard.set_memory_limit(8 << 20);
        let (evicted, used) = (rig.shard.counters().evicted, rig.shard.memory().used);
        for number in 300_000..300_100 {
            put(&mut rig, number, 1000, Expiry::Clear, START);
            assert!(has(&rig, number, START));
        }
        // A write waits for little more than what it needs.
        let each = (rig.shard.counters().evicted - evicted) / 100;
        assert!(each <= 2_000, "{policy:?}: {each}");
        assert!(rig.shard.memory().used < used);
        assert_eq!(rig.shard.counters().refused, 0);
        rig.shard.check_invariants();
    }
}

#[test]
fn purging_after_deletions_leaves_little_beyond_what_lives() {
    let mut rig = Rig::roomy();
    let mut kept = HashSet::new();
    for number in 0..400_000 {
        put(&mut rig, number, 100, Expiry::Clear, START);
    }
    for number in 0..400_000 {
        if number * 7919 % 10 == 3 {
            kept.insert(number);
        } else {
            rig.shard.remove(&key(0, &name(number)), START);
        }
    }
    rig.shard.purge();
    // As many rounds of housekeeping as there are in two seconds.
    for _ in 0..20 {
        while rig.shard.advance(START, 512) {}
    }
    let memory = rig.shard.memory();
    assert!(memory.used * 10 <= memory.live * 13, "{memory:?}");
    assert!(kept.iter().all(|number| has(&rig, *number, START)));
    rig.shard.check_invariants();
}

fn rig_of_long_values(policy: Policy, limit: u64) -> Rig {
    let mut rig = Rig::of(ShardShape {
        value_bytes_max: limit,
        ..shape(1 << 30, limit)
    });
    rig.shard.set_eviction(EvictionOptions {
        policy,
        ..EvictionOptions::default()
    });
    rig
}

#[test]
fn a_long_value_takes_the_place_of_others_as_it_comes() {
    const PIECE: u64 = 64 << 10;
    for policy in ALL_KEYS {
        let mut rig = rig_of_long_values(policy, 48 << 20);
        fill(&mut rig, 0..300_000, 100);
        let (name, len) = (b"long".to_vec(), 20 << 20);
        let before = rig.shard.counters().evicted;
        let mut draft = rig.shard.draft(name.len(), len).unwrap();
        let mut evicted = rig.shard.counters().evicted;
        assert!(evicted - before < 5_000, "{policy:?}: {}", evicted - before);
        let mut received = 0;
        while received < len {
            let piece = vec![(received / PIECE) as u8; PIECE as usize];
            rig.shard.write_draft(&mut draft, received, &piece).unwrap();
            received += PIECE;
            let memory = rig.shard.memory();
            assert!(memory.used <= memory.limit + memory.limit / 50);
            let now = rig.shard.counters().evicted;
            assert!(
                now - evicted < 10_000,
                "{policy:?}: {} at once",
                now - evicted
            );
            evicted = now;
        }
        rig.shard.fill_draft(&mut draft, len);
        let key = key(0, &name);
        rig.shard
            .publish(draft, &key, Expiry::Clear, START)
            .unwrap();
        rig.shard.check_invariants();
        let entry = rig.shard.look(&key, START).unwrap();
        let Value::Bytes(value) = entry.value else {
            panic!("a string");
        };
        assert_eq!(value.len() as u64, len);
        let right = (0..)
            .zip(value.chunks(PIECE as usize))
            .all(|(n, piece): (u64, _)| piece.iter().all(|byte| *byte == n as u8));
        assert!(right);
    }
}

#[test]
fn nothing_goes_for_a_value_that_cannot_come() {
    for policy in [Policy::TinyLfu, Policy::AllKeysLru, Policy::VolatileLru] {
        let mut rig = rig_of_long_values(policy, 48 << 20);
        for number in 0..30 {
            put(&mut rig, number, 1 << 20, Expiry::Clear, START);
            let name = name(number);
            assert!(rig.shard.pin(&key(0, &name), START + 60_000, START));
        }
        fill(&mut rig, 1_000..2_000, 100);
        let before = rig.shard.counters();
        let refused = rig.shard.draft(4, 30 << 20);
        assert!(matches!(refused, Err(KeyspaceError::OutOfMemory { .. })));
        assert_eq!(rig.shard.counters().evicted, before.evicted);
        assert_eq!(rig.shard.counters().refused, before.refused + 1);
        // What can be hoped for at first and not later leaves no trace.
        let mut draft = rig.shard.draft(4, 10 << 20).unwrap();
        let more = rig.shard.draft(4, 10 << 20);
        assert!(matches!(more, Err(KeyspaceError::OutOfMemory { .. })));
        rig.shard.write_draft(&mut draft, 0, &[1; 100_000]).unwrap();
        rig.shard.abandon(draft);
        rig.shard.check_invariants();
    }
}

#[test]
fn what_was_cleared_is_room_at_once() {
    for (policy, limit) in [
        (Policy::NoEviction, 32 << 20),
        (Policy::NoEviction, 24 << 20),
        (Policy::VolatileLru, 24 << 20),
        (Policy::TinyLfu, 24 << 20),
    ] {
        for bytes in [1_000, 300_000, 10 << 20] {
            let mut rig = rig_of_long_values(policy, 32 << 20);
            fill(&mut rig, 0..20_000, 1_000);
            rig.shard
                .set_memory_limit(limit.min(rig.shard.memory().used));
            rig.shard.clear_database(0);
            put(&mut rig, 0, bytes, Expiry::Clear, START);
            let draft = rig.shard.draft(4, 8 << 20).unwrap();
            rig.shard.abandon(draft);
            assert_eq!(rig.shard.counters().refused, 0);
            rig.shard.check_invariants();
        }
    }
}

#[test]
fn what_was_cleared_leads_under_a_lowered_limit() {
    for policy in [Policy::NoEviction, Policy::VolatileLru] {
        let mut rig = rig_of_long_values(policy, 32 << 20);
        fill(&mut rig, 0..20_000, 1_000);
        rig.shard.set_memory_limit(rig.shard.memory().used / 2);
        assert!(!rig.shard.relieve(START, 64), "nothing may be evicted");
        rig.shard.clear_database(0);
        assert!(rig.shard.relieve(START, 64));
        assert_eq!(rig.shard.counters().evicted, 0);
    }
}

#[test]
fn random_eviction_spares_nobody_for_long() {
    const TURNOVERS: u64 = 12;
    for (policy, expiry) in [
        (Policy::AllKeysRandom, Expiry::Clear),
        (Policy::VolatileRandom, Expiry::At(START + 1_000_000_000)),
    ] {
        let mut rig = rig(policy, 6 << 20);
        let mut number = 0;
        let mut put_next = |rig: &mut Rig| {
            put(rig, number, 100, expiry, START);
            number += 1;
        };
        while rig.shard.counters().evicted == 0 {
            put_next(&mut rig);
        }
        let keys = rig.shard.len(0);
        (0..TURNOVERS * keys).for_each(|_| put_next(&mut rig));
        let old = (0..number - 4 * keys).filter(|number| has(&rig, *number, START));
        // Of entries that are all as likely to go, 1.8 % see four turnovers.
        let part = old.count() as f64 / rig.shard.len(0) as f64;
        assert!(part < 0.03, "{policy:?}: {part}");
    }
}

#[test]
fn what_is_not_pinned_goes_where_nearly_all_keys_are_pinned() {
    const PINNED: u64 = 20_000;
    for policy in [
        Policy::TinyLfu,
        Policy::AllKeysLru,
        Policy::AllKeysLfu,
        Policy::AllKeysRandom,
        Policy::VolatileLru,
        Policy::VolatileLfu,
        Policy::VolatileRandom,
        Policy::VolatileTtl,
    ] {
        let mut rig = rig(policy, 32 << 20);
        let until = START + 1_000_000;
        for number in 0..PINNED {
            put(&mut rig, number, 100, Expiry::At(until), START);
            assert!(rig.shard.pin(&key(0, &name(number)), until, START));
        }
        for number in PINNED..PINNED + 2_000 {
            put(&mut rig, number, 100_000, Expiry::At(until + 1_000), START);
        }
        assert!(rig.shard.counters().evicted > 1_000, "{policy:?}");
        rig.shard.check_invariants();
        assert!((0..PINNED).all(|number| has(&rig, number, START)));
    }
}
