//! Collections in a shard: their forms, their bytes, their ends.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use proptest::prelude::*;

use super::{Rig, key, large_set};
use crate::keyspace::collection::set::{Member, SetView, put_add, put_remove};
use crate::keyspace::{Effect, Expiry, KeyspaceError, Kind, Packing, Record, Value};

const NOW: u64 = 1_700_000_000_000;

#[derive(Clone, Debug)]
enum Step {
    Add(u8, Vec<u16>),
    Remove(u8, Vec<u16>),
    Set(u8),
    Expire(u8),
    Delete(u8),
    Copy(u8, u8),
    Undo(u8, Vec<u16>),
    Advance,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let members = || prop::collection::vec(0..900_u16, 0..120);
    let name = || 0..3_u8;
    let step = prop_oneof![
        6 => (name(), members()).prop_map(|(name, members)| Step::Add(name, members)),
        4 => (name(), members()).prop_map(|(name, members)| Step::Remove(name, members)),
        1 => name().prop_map(Step::Set),
        1 => name().prop_map(Step::Expire),
        1 => name().prop_map(Step::Delete),
        1 => (name(), name()).prop_map(|(from, to)| Step::Copy(from, to)),
        2 => (name(), members()).prop_map(|(name, members)| Step::Undo(name, members)),
        1 => Just(Step::Advance),
    ];
    prop::collection::vec(step, 0..60)
}

fn ops(members: &[u16], put: fn(&mut Vec<u8>, &[u8])) -> Vec<u8> {
    members.iter().fold(Vec::new(), |mut ops, member| {
        put(&mut ops, format!("member {member}").as_bytes());
        ops
    })
}

fn names(members: &[u16]) -> impl Iterator<Item = Vec<u8>> + '_ {
    members
        .iter()
        .map(|member| format!("member {member}").into_bytes())
}

type Model = [Option<BTreeSet<Vec<u8>>>; 3];

/// The members that a shard has under a name; `None` for none, and for what is no set.
fn members(rig: &Rig, name: u8) -> Option<BTreeSet<Vec<u8>>> {
    let bytes = [name];
    let entry = rig.shard.look(&key(0, &bytes), NOW)?;
    let view = SetView::of(&entry.value, rig.shard.packing());
    (entry.kind == Kind::Set).then(|| view.members().map(Member::to_vec).collect())
}

fn change(rig: &mut Rig, name: u8, ops: &[u8]) -> bool {
    let (bytes, mut len) = ([name], None);
    let k = key(0, &bytes);
    let at = rig.shard.use_entry_at(&k, NOW).map(|(_, at)| at);
    let changed = rig.shard.change_at(at, &k, Kind::Set, ops, NOW);
    if let Ok(Some(told)) = changed {
        let members = members(rig, name).map_or(0, |members| members.len());
        len = Some((told, members as u64));
    }
    assert!(len.is_none_or(|(told, members)| told == members));
    changed.is_ok()
}

fn take(rig: &mut Rig, model: &mut Model, step: &Step) {
    match step {
        Step::Add(name, added) => {
            if change(rig, *name, &ops(added, put_add)) && !added.is_empty() {
                let set = model[usize::from(*name)].get_or_insert_default();
                set.extend(names(added));
            }
        }
        Step::Remove(name, removed) => {
            if change(rig, *name, &ops(removed, put_remove)) {
                let set = &mut model[usize::from(*name)];
                let gone: BTreeSet<_> = names(removed).collect();
                if let Some(members) = set {
                    members.retain(|member| !gone.contains(member));
                }
                *set = set.take().filter(|members| !members.is_empty());
            }
        }
        Step::Set(name) => {
            let put = rig.shard.set(
                &key(0, &[*name]),
                Value::Bytes(b"a string"),
                Expiry::Clear,
                NOW,
            );
            put.unwrap();
            model[usize::from(*name)] = None;
        }
        Step::Expire(name) => {
            rig.shard
                .set_expiry(&key(0, &[*name]), Some(NOW + 1000), NOW);
        }
        Step::Delete(name) => {
            rig.shard.remove(&key(0, &[*name]), NOW);
            model[usize::from(*name)] = None;
        }
        Step::Copy(from, to) => {
            let tree = rig
                .shard
                .look(&key(0, &[*from]), NOW)
                .and_then(|entry| match entry.value {
                    Value::Tree(tree) => Some(tree.clone()),
                    _ => None,
                });
            if let Some(tree) = tree {
                let put = rig.shard.put(
                    &key(0, &[*to]),
                    Kind::Set,
                    Value::Tree(&tree),
                    Expiry::Clear,
                    NOW,
                );
                put.unwrap();
                model[usize::from(*to)] = model[usize::from(*from)].clone();
            }
        }
        Step::Undo(name, added) => {
            rig.shard.begin_changes();
            change(rig, *name, &ops(added, put_add));
            rig.shard.remove(&key(0, &[*name]), NOW);
            change(rig, *name, &ops(&[1, 2, 3], put_add));
            rig.shard.end_changes(false, NOW);
        }
        Step::Advance => {
            rig.shard.advance(NOW, 50);
        }
    }
}

/// The changes, in the form in which a log has them.
#[derive(Debug, Default)]
pub(super) struct Log(pub(super) Rc<RefCell<Records>>);

pub(super) type Records = Vec<(u64, Vec<u8>)>;

impl crate::keyspace::ChangeListener for Log {
    fn reserve(&mut self, _: u64) -> Result<(), crate::keyspace::KeyspaceError> {
        Ok(())
    }

    fn changed(&mut self, number: u64, record: &Record<'_>) {
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        self.0.borrow_mut().push((number, bytes));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn sets_of_all_forms_are_sets(steps in steps(), integers in 0..20_usize, entries in 0..80_usize) {
        let (mut rig, mut model) = (Rig::roomy(), Model::default());
        rig.shard.set_packing(Packing { set_integers_max: integers, set_entries_max: entries, ..Packing::default() });
        let log = Log::default();
        let records = Rc::clone(&log.0);
        rig.shard.set_listener(Some(Box::new(log)));
        for step in &steps {
            take(&mut rig, &mut model, step);
            rig.shard.check_invariants();
        }
        let mut follower = Rig::roomy();
        for (number, bytes) in records.borrow().iter() {
            follower.shard.apply(&Record::decode(bytes).unwrap(), *number).unwrap();
        }
        follower.shard.check_invariants();
        for (name, set) in (0..).zip(&model) {
            prop_assert_eq!(&members(&rig, name), set);
            prop_assert_eq!(&members(&follower, name), set);
        }
        rig.shard.clear();
        while rig.shard.advance(NOW, 1000) {}
        prop_assert_eq!(rig.shard.memory().live, 0);
    }
}

#[test]
fn a_large_set_goes_in_steps_and_its_bytes_come_back() {
    let mut rig = Rig::roomy();
    let k = key(0, b"k");
    rig.shard.advance(NOW, 1);
    let before = rig.shard.memory().used;
    let tree = large_set();
    rig.shard
        .put(&k, Kind::Set, Value::Tree(&tree), Expiry::Clear, NOW)
        .unwrap();
    assert!(rig.shard.memory().used >= before + tree.heap_bytes());
    assert!(rig.shard.entry_bytes(&k, NOW).unwrap() > tree.heap_bytes());
    assert!(rig.shard.remove(&k, NOW));
    assert!(rig.shard.memory().used >= before + tree.heap_bytes() / 2);
    while rig.shard.advance(NOW, 3) {}
    assert_eq!(rig.shard.memory().live, 0);
}

#[test]
fn a_set_that_finds_no_memory_stays_as_it_was() {
    let mut rig = Rig::roomy();
    let k = key(0, b"k");
    rig.shard
        .put(&k, Kind::Set, Value::Tree(&large_set()), Expiry::Clear, NOW)
        .unwrap();
    rig.shard.set_memory_limit(rig.shard.memory().used);
    let mut added = Vec::new();
    put_add(&mut added, b"one more");
    assert!(rig.shard.change(&k, Kind::Set, &added, NOW).is_err());
    let mut removed = Vec::new();
    put_remove(&mut removed, b"member 1");
    rig.shard.reduce(&k, Kind::Set, &removed, NOW).unwrap();
    let view = rig.shard.look(&k, NOW).unwrap();
    assert_eq!(SetView::of(&view.value, rig.shard.packing()).len(), 499);
    rig.shard.check_invariants();
}

#[test]
fn a_place_holds_until_something_changes() {
    let mut rig = Rig::roomy();
    let k = key(0, b"k");
    let put = |rig: &mut Rig| {
        let tree = large_set();
        rig.shard
            .put(&k, Kind::Set, Value::Tree(&tree), Expiry::Clear, NOW)
            .unwrap();
    };
    let mut added = Vec::new();
    put_add(&mut added, b"one more");
    put(&mut rig);
    let at = rig.shard.use_entry_at(&k, NOW).map(|(_, at)| at);
    let told = rig.shard.change_at(at, &k, Kind::Set, &added, NOW);
    assert_eq!(told, Ok(Some(501)));
    // The key is gone, or another value is there, since it was found.
    rig.shard.remove(&k, NOW);
    let told = rig.shard.change_at(at, &k, Kind::Set, &added, NOW);
    assert_eq!(told, Ok(None));
    put(&mut rig);
    let at = rig.shard.use_entry_at(&k, NOW).map(|(_, at)| at);
    rig.shard
        .set(&k, Value::Bytes(b"a string"), Expiry::Clear, NOW)
        .unwrap();
    let told = rig.shard.change_at(at, &k, Kind::Set, &added, NOW);
    assert_eq!(told, Err(KeyspaceError::WrongKind));
    // Without memory it is as if it had been looked for.
    put(&mut rig);
    while rig.shard.advance(NOW, 1000) {}
    rig.shard.set_memory_limit(rig.shard.memory().used);
    let at = rig.shard.use_entry_at(&k, NOW).map(|(_, at)| at);
    let told = rig.shard.change_at(at, &k, Kind::Set, &added, NOW);
    assert!(matches!(told, Err(KeyspaceError::OutOfMemory { .. })));
    let mut removed = Vec::new();
    put_remove(&mut removed, b"member 1");
    rig.shard
        .reduce_at(at, &k, Kind::Set, &removed, NOW)
        .unwrap();
    let view = rig.shard.look(&k, NOW).unwrap();
    assert_eq!(SetView::of(&view.value, rig.shard.packing()).len(), 499);
    rig.shard.check_invariants();
}

#[test]
fn a_delta_that_came_too_late_is_left_out() {
    let mut rig = Rig::roomy();
    let (mut one, mut two) = (Vec::new(), Vec::new());
    put_add(&mut one, b"1");
    put_remove(&mut two, b"1");
    let record = |ops, is_new| Record {
        db: 0,
        key: b"k",
        effect: Effect::Delta {
            kind: Kind::Set,
            is_new,
            ops,
        },
    };
    assert_eq!(rig.shard.apply(&record(&one, false), 3), Ok(false));
    assert_eq!(rig.shard.apply(&record(&one, true), 5), Ok(true));
    assert_eq!(rig.shard.apply(&record(&two, false), 4), Ok(false));
    assert!(rig.shard.look(&key(0, b"k"), NOW).is_some());
    assert_eq!(rig.shard.apply(&record(&two, false), 6), Ok(true));
    assert!(rig.shard.look(&key(0, b"k"), NOW).is_none());
}
