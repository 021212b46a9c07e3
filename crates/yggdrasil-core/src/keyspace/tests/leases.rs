//! Runs that somebody looks at while their keys change.

use proptest::prelude::*;

use super::{Rig, SEED, key, shape};
use crate::keyspace::{
    Expiry, Key, Leased, LeasedValue, Looked, Shard, ShardReader, Value, ValueInfo, hash_key,
};
use crate::lease::{Holder, Holders, LeasePage, PageState};
use crate::shm::Segment;

const NOW: u64 = 1_700_000_000_000;
const SHARD: usize = 2;
const SHARDS: usize = 3;
const SLOTS: usize = 16;
const GUEST: u64 = 77;

/// A shard, a guest that reads it, and the page of the owner itself.
struct Leases {
    segment: Segment,
    pages: [Segment; 2],
    shard: Shard,
    reader: ShardReader,
    own: Holder,
    guest: Holder,
}

fn page(segment: &Segment) -> LeasePage {
    LeasePage::open(segment, SHARDS, SLOTS).unwrap()
}

impl Leases {
    fn new() -> Self {
        let Rig {
            segment,
            shape,
            shard,
            reader,
        } = Rig::roomy();
        drop(shard);
        let pages = [(); 2].map(|()| LeasePage::create(SHARDS).unwrap());
        let shard = Shard::create_beside(
            Holders::new(SHARD, [page(&pages[0])]),
            segment.own().unwrap(),
            shape,
        );
        let mut shard = shard.unwrap();
        shard.add_guest(GUEST, page(&pages[1]));
        Self {
            own: Holder::new(page(&pages[0])),
            guest: Holder::new(page(&pages[1])),
            segment,
            pages,
            shard,
            reader,
        }
    }

    fn set(&mut self, name: &[u8], value: &[u8]) {
        let stored = Value::Bytes(value);
        self.shard
            .set(&key(0, name), stored, Expiry::Clear, NOW)
            .unwrap();
    }

    /// A lease of the guest.
    fn hold(&mut self, name: &[u8]) -> LeasedValue {
        let mut scratch = Vec::new();
        match self
            .reader
            .lease(&key(0, name), NOW, SHARD, &mut self.guest, &mut scratch)
        {
            Looked::Hit(Leased::Run(held)) => held,
            other => panic!("a large value is held: {other:?}"),
        }
    }

    fn held<'a>(&'a self, value: &'a LeasedValue) -> &'a [u8] {
        self.reader.leased_bytes(value)
    }

    fn settle(&mut self) {
        while self.shard.advance(NOW, 10_000) {}
        self.shard.check_invariants();
    }

    fn leased_bytes(&self) -> u64 {
        self.shard.memory().leased
    }

    /// Another owner takes over.
    fn restart(&mut self) {
        // The segment has one owner at a time.
        let other = Rig::new(1 << 24, 1 << 24).shard;
        drop(std::mem::replace(&mut self.shard, other));
        let mut holders = Holders::new(SHARD, [page(&self.pages[0])]);
        holders.add_guest(GUEST, page(&self.pages[1]));
        let mapping = self.segment.own().unwrap();
        self.shard = Shard::create_beside(holders, mapping, shape(1 << 36, 1 << 32)).unwrap();
        self.shard.check_invariants();
    }
}

/// Everything that takes the value of `k` away.
const ENDS: [fn(&mut Leases); 7] = [
    |leases| leases.set(b"k", &[9; 100_000]),
    |leases| leases.set(b"k", &[9; 200_000]),
    |leases| leases.set(b"k", b"small"),
    |leases| assert!(leases.shard.remove(&key(0, b"k"), NOW)),
    |leases| {
        leases.shard.clear_database(0);
    },
    |leases| {
        let range = leases.shard.write_range(&key(0, b"k"), 5, &[9; 10], NOW);
        range.unwrap();
    },
    |leases| {
        leases.shard.set_expiry(&key(0, b"k"), Some(NOW), NOW);
    },
];

#[test]
fn a_held_value_stays_whatever_becomes_of_its_key() {
    for end in ENDS {
        let mut leases = Leases::new();
        leases.set(b"k", &[1; 100_000]);
        let held = leases.hold(b"k");
        end(&mut leases);
        leases.settle();
        // Others come and go meanwhile.
        for n in 0..20_u8 {
            leases.set(&[n], &vec![n; 100_000]);
        }
        assert!(leases.held(&held).iter().all(|byte| *byte == 1));
        assert_eq!(leases.leased_bytes(), 102_400);
        let before = leases.shard.memory().used;
        leases.guest.release(held.lease);
        leases.settle();
        assert_eq!(leases.leased_bytes(), 0);
        leases.shard.purge();
        assert!(leases.shard.memory().used < before);
    }
}

#[test]
fn an_integer_under_a_long_key_is_read_as_an_integer() {
    let mut leases = Leases::new();
    let name = vec![b'k'; 17_000];
    leases
        .shard
        .set(&key(0, &name), Value::Int(-70), Expiry::Clear, NOW)
        .unwrap();
    let is_right = |info: ValueInfo| (info.len, info.int, info.is_run) == (3, Some(-70), false);
    let mut scratch = vec![0; 100];
    let Leases { reader, guest, .. } = &mut leases;
    let leased = reader.lease(&key(0, &name), NOW, SHARD, guest, &mut scratch);
    assert!(matches!(leased, Looked::Hit(Leased::Copied(info)) if is_right(info)));
    let found = [
        reader.look_up(&key(0, &name), NOW, &mut scratch),
        reader.copy_to(&key(0, &name), NOW, &mut scratch),
        reader.describe(&key(0, &name), NOW),
    ];
    assert!(
        found
            .iter()
            .all(|found| matches!(found, Looked::Hit(info) if is_right(*info)))
    );
    let view = reader.get(&key(0, &name), NOW, &mut scratch);
    assert!(matches!(view, Looked::Hit(view) if view.value == Value::Int(-70)));
}

#[test]
fn a_held_value_may_grow_where_it_is() {
    let mut leases = Leases::new();
    leases.set(b"k", &[1; 100_000]);
    let held = leases.hold(b"k");
    leases.shard.append(&key(0, b"k"), &[9; 10], NOW).unwrap();
    assert_eq!(leases.held(&held), [1; 100_000]);
    assert_eq!(leases.leased_bytes(), 0);
    leases.shard.remove(&key(0, b"k"), NOW);
    assert_ne!(leases.leased_bytes(), 0);
    leases.guest.release(held.lease);
    leases.settle();
    assert_eq!(leases.leased_bytes(), 0);
}

#[test]
fn changes_of_a_value_that_nobody_holds_stay_in_their_place() {
    let mut leases = Leases::new();
    leases.set(b"k", &[1; 100_000]);
    let used = leases.shard.memory().used;
    leases
        .shard
        .append(&key(0, b"k"), &[9; 10], NOW)
        .map(|len| assert_eq!(len, 100_010))
        .unwrap();
    leases.set(b"k", &[2; 100_000]);
    assert_eq!(leases.shard.memory().used, used);
    leases.settle();
}

#[test]
fn leases_of_the_same_run_share_a_slot() {
    let mut leases = Leases::new();
    leases.set(b"k", &[1; 100_000]);
    let held = [(); 3].map(|()| leases.hold(b"k"));
    assert_eq!(leases.guest.len(), 1);
    leases.set(b"k", &[2; 100_000]);
    for value in held {
        assert!(leases.held(&value).iter().all(|byte| *byte == 1));
        assert_eq!(leases.leased_bytes(), 102_400);
        leases.guest.release(value.lease);
        leases.settle();
    }
    assert_eq!(leases.leased_bytes(), 0);
    assert!(leases.guest.is_empty());
}

#[test]
fn memory_that_is_let_go_is_used_before_a_write_is_refused() {
    let mut leases = Leases::new();
    leases.set(b"k", &[1; 500_000]);
    let held = leases.hold(b"k");
    leases
        .shard
        .set_memory_limit(leases.shard.memory().used + 100_000);
    let other = |leases: &mut Leases| {
        let stored = Value::Bytes(&[3; 500_000]);
        let set = leases
            .shard
            .set(&key(0, b"other"), stored, Expiry::Clear, NOW);
        set.is_ok()
    };
    assert!(leases.shard.remove(&key(0, b"k"), NOW));
    assert!(!other(&mut leases), "held memory is not used");
    leases.guest.release(held.lease);
    assert!(other(&mut leases));
    leases.settle();
}

#[test]
fn slots_run_out_and_come_back() {
    let mut leases = Leases::new();
    let names: Vec<Vec<u8>> = (0..=SLOTS).map(|n| format!("k{n}").into_bytes()).collect();
    for name in &names {
        leases.set(name, &[1; 20_000]);
    }
    let mut held: Vec<LeasedValue> = names[1..].iter().map(|name| leases.hold(name)).collect();
    let mut scratch = Vec::new();
    let mut again = |leases: &mut Leases| {
        let Leases { reader, guest, .. } = leases;
        let looked = reader.lease(&key(0, &names[0]), NOW, SHARD, guest, &mut scratch);
        matches!(looked, Looked::Hit(Leased::Run(_)))
    };
    assert!(!again(&mut leases));
    leases.guest.release(held.remove(3).lease);
    assert!(again(&mut leases));
}

#[test]
fn small_values_and_integers_are_copied_and_others_are_not_there() {
    let mut leases = Leases::new();
    leases.set(b"small", &[1; 16_000]);
    let int = Value::Int(-5);
    let set = leases
        .shard
        .set(&key(0, b"int"), int, Expiry::At(NOW + 9), NOW);
    set.unwrap();
    let Leases { reader, guest, .. } = &mut leases;
    let mut scratch = Vec::new();
    let mut look =
        |name: &[u8], now| match reader.lease(&key(0, name), now, SHARD, guest, &mut scratch) {
            Looked::Hit(Leased::Copied(info)) => Some(match info.int {
                None => scratch[..info.len as usize].to_vec(),
                Some(int) => int.to_string().into_bytes(),
            }),
            Looked::Miss => None,
            other => panic!("{other:?}"),
        };
    assert_eq!(look(b"small", NOW), Some(vec![1; 16_000]));
    assert_eq!(look(b"int", NOW), Some(b"-5".to_vec()));
    assert_eq!(look(b"int", NOW + 9), None);
    assert_eq!(look(b"none", NOW), None);
    let mut out = [0; 16_000];
    let int = reader.copy_to(&key(0, b"int"), NOW, &mut out);
    assert!(matches!(int, Looked::Hit(info) if info.int == Some(-5) && info.len == 2));
    let small = reader.copy_to(&key(0, b"small"), NOW, &mut out);
    assert!(matches!(small, Looked::Hit(info) if info.int.is_none() && info.len == 16_000));
    assert!(out.iter().all(|byte| *byte == 1));
    let too_short = reader.copy_to(&key(0, b"small"), NOW, &mut out[..9]);
    assert!(matches!(too_short, Looked::Hit(info) if info.len == 16_000));
    let described = reader.describe(&key(0, b"int"), NOW);
    assert!(matches!(described, Looked::Hit(info) if info.expire_at == Some(NOW + 9)));
    assert_eq!(reader.describe(&key(0, b"int"), NOW + 9), Looked::Miss);
}

#[test]
fn an_expired_value_is_not_held() {
    let mut leases = Leases::new();
    let stored = Value::Bytes(&[1; 50_000]);
    let expiry = Expiry::At(NOW + 10);
    leases
        .shard
        .set(&key(0, b"k"), stored, expiry, NOW)
        .unwrap();
    let mut scratch = Vec::new();
    let looked = leases.reader.lease(
        &key(0, b"k"),
        NOW + 10,
        SHARD,
        &mut leases.guest,
        &mut scratch,
    );
    assert_eq!(looked, Looked::Miss);
    assert!(leases.guest.is_empty());
}

#[test]
fn held_values_outlive_their_owner() {
    let mut leases = Leases::new();
    for name in [b"a", b"b", b"c"] {
        leases.set(name, &vec![name[0]; 150_000]);
    }
    let (a, c) = (leases.hold(b"a"), leases.hold(b"c"));
    leases.restart();
    assert_eq!(leases.shard.len(0), 0);
    assert_eq!(leases.leased_bytes(), 2 * 151_552);
    for n in 0..40_u8 {
        leases.set(&[n], &vec![n; 100_000]);
    }
    for (value, name) in [(&a, b'a'), (&c, b'c')] {
        assert!(leases.held(value).iter().all(|byte| *byte == name));
    }
    for value in [a, c] {
        leases.guest.release(value.lease);
    }
    leases.shard.clear();
    leases.settle();
    assert_eq!(leases.leased_bytes(), 0);
    let resident = leases.segment.resident_bytes().unwrap();
    assert!(resident <= leases.shard.memory().used, "{resident}");
}

#[test]
fn a_guest_that_holds_what_is_gone_for_too_long_is_cut_off() {
    let mut leases = Leases::new();
    leases.shard.set_lease_age(60_000);
    leases.set(b"k", &[1; 100_000]);
    leases.set(b"stays", &[1; 100_000]);
    let (_gone, _lasting) = (leases.hold(b"k"), leases.hold(b"stays"));
    leases.shard.advance(NOW + 1_000_000, 100);
    assert_eq!(
        leases.guest.state(),
        PageState::Open,
        "the value is still in use"
    );
    leases.shard.remove(&key(0, b"k"), NOW);
    leases.shard.advance(NOW, 100);
    leases.shard.advance(NOW + 60_000, 100);
    assert_eq!(leases.guest.state(), PageState::Open);
    leases.shard.advance(NOW + 60_001, 100);
    assert_eq!(leases.guest.state(), PageState::Overdue);
    leases.settle();
    assert_eq!(leases.leased_bytes(), 0);
}

#[test]
fn what_a_guest_holds_is_free_when_it_has_gone() {
    let mut leases = Leases::new();
    leases.set(b"k", &[1; 100_000]);
    let _held = leases.hold(b"k");
    leases.shard.remove(&key(0, b"k"), NOW);
    leases.settle();
    assert_ne!(leases.leased_bytes(), 0);
    leases.shard.remove_guest(GUEST);
    leases.settle();
    assert_eq!(leases.leased_bytes(), 0);
}

#[test]
fn reports_reach_the_owner_and_the_oldest_are_lost() {
    let mut leases = Leases::new();
    let drained = |leases: &mut Leases| {
        let mut seen = Vec::new();
        leases.shard.drain_reports(|hash, db| seen.push((hash, db)));
        seen
    };
    leases.guest.report(SHARD, 11, 1);
    leases.own.report(SHARD, 12, 2);
    leases.guest.report((SHARD + 1) % SHARDS, 13, 0);
    assert_eq!(drained(&mut leases), [(12, 2), (11, 1)]);
    assert_eq!(drained(&mut leases), []);
    for hash in 0..1000 {
        leases.guest.report(SHARD, hash, 0);
    }
    let kept: Vec<(u64, u8)> = (1000 - 256..1000).map(|hash| (hash, 0)).collect();
    assert_eq!(drained(&mut leases), kept);
}

#[derive(Clone, Debug)]
enum Step {
    Set(u8, usize),
    Append(u8, usize),
    WriteRange(u8, usize),
    Remove(u8),
    Clear,
    Hold(u8),
    Release(usize),
    Advance,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = 0..6_u8;
    let len = prop_oneof![1..30_000_usize, 1..300_000_usize];
    let step = prop_oneof![
        6 => (name.clone(), len.clone()).prop_map(|(name, len)| Step::Set(name, len)),
        2 => (name.clone(), len.clone()).prop_map(|(name, len)| Step::Append(name, len)),
        2 => (name.clone(), len).prop_map(|(name, len)| Step::WriteRange(name, len)),
        2 => name.clone().prop_map(Step::Remove),
        1 => Just(Step::Clear),
        6 => name.prop_map(Step::Hold),
        4 => (0..100_usize).prop_map(Step::Release),
        2 => Just(Step::Advance),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..60)
}

fn filled(len: usize, with: &mut u8) -> Vec<u8> {
    *with = with.wrapping_add(1);
    vec![*with; len]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_held_never_changes(steps in steps()) {
        let mut leases = Leases::new();
        let mut held: Vec<(LeasedValue, Vec<u8>)> = Vec::new();
        let mut scratch = Vec::new();
        let mut with = 0;
        for step in steps {
            match step {
                Step::Set(name, len) => leases.set(&[name], &filled(len, &mut with)),
                Step::Append(name, len) => {
                    let _ = leases.shard.append(&key(0, &[name]), &filled(len, &mut with), NOW);
                }
                Step::WriteRange(name, len) => {
                    let bytes = filled(len, &mut with);
                    let _ = leases.shard.write_range(&key(0, &[name]), len as u64 / 2, &bytes, NOW);
                }
                Step::Remove(name) => drop(leases.shard.remove(&key(0, &[name]), NOW)),
                Step::Clear => leases.shard.clear_database(0),
                Step::Hold(name) => {
                    let looked = leases.reader.lease(&key(0, &[name]), NOW, SHARD, &mut leases.guest, &mut scratch);
                    if let Looked::Hit(Leased::Run(value)) = looked {
                        let bytes = leases.held(&value).to_vec();
                        held.push((value, bytes));
                    }
                }
                Step::Release(n) if !held.is_empty() => {
                    let (value, _) = held.swap_remove(n % held.len());
                    leases.guest.release(value.lease);
                }
                Step::Release(_) => {}
                Step::Advance => drop(leases.shard.advance(NOW, 100)),
                Step::Restart => leases.restart(),
            }
            leases.shard.check_invariants();
            for (value, bytes) in &held {
                prop_assert!(leases.held(value) == &bytes[..]);
            }
        }
    }

    #[test]
    fn a_damaged_page_harms_nobody_but_its_holder(
        words in prop::collection::vec((0..SLOTS, any::<u64>(), 0..70_u32), 1..40),
        end in any::<u64>(),
    ) {
        let mut leases = Leases::new();
        let mapping = leases.pages[1].share().unwrap();
        for n in 0..8 {
            leases.set(&[n], &vec![n; 90_000]);
        }
        for (slot, garbage, page) in words {
            let word = if garbage % 4 == 0 { garbage } else { (SHARD as u64) << 56 | u64::from(page) };
            mapping.u64(4096 + slot as u64 * 8).unwrap().store(word, std::sync::atomic::Ordering::Relaxed);
        }
        mapping.u64(64 + SHARD as u64 * 8).unwrap().store(end, std::sync::atomic::Ordering::Relaxed);
        leases.set(&[1], &[9; 100]);
        leases.shard.append(&key(0, &[2]), &[9; 100], NOW).unwrap();
        leases.shard.remove(&key(0, &[3]), NOW);
        leases.shard.advance(NOW, 100);
        leases.shard.check_invariants();
        leases.restart();
        leases.set(&[1], &[9; 200_000]);
        leases.shard.remove_guest(GUEST);
        leases.settle();
        prop_assert_eq!(leases.leased_bytes(), 0);
        let name = [1];
        let one = Key { db: 0, hash: hash_key(SEED, &name), bytes: &name };
        let found = leases.shard.look(&one, NOW).map(|view| view.value == Value::Bytes(&[9; 200_000]));
        prop_assert_eq!(found, Some(true));
    }
}
