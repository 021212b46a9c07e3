//! Random operations on a shard and on a hash map, which must agree after every step.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use proptest::prelude::*;

use super::{Rig, key};
use crate::keyspace::{
    ChangeListener, Effect, EntryView, Expiry, KeyspaceError, Kind, Read, Record, Shard,
    ShardReader, Swept, Value,
};

const START: u64 = 1_700_000_000_000;

#[derive(Clone, Debug)]
enum Stored {
    Bytes(Vec<u8>),
    Int(i64),
}

impl Stored {
    fn view(&self) -> Value<'_> {
        match self {
            Self::Bytes(bytes) => Value::Bytes(bytes),
            Self::Int(int) => Value::Int(*int),
        }
    }

    fn spelled(&self) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes.clone(),
            Self::Int(int) => int.to_string().into_bytes(),
        }
    }
}

/// A refused APPEND may have spelled an integer out.
fn spelled(value: Value<'_>) -> Vec<u8> {
    match value {
        Value::Bytes(bytes) => bytes.to_vec(),
        Value::Int(int) => int.to_string().into_bytes(),
        _ => panic!("a string is here"),
    }
}

#[derive(Clone, Copy, Debug)]
enum Timing {
    Clear,
    Keep,
    In(u64),
    Far(u64),
}

#[derive(Clone, Debug)]
enum Step {
    Set(u8, u16, Stored, Timing),
    Remove(u8, u16),
    RemoveMany(u8, u16),
    SetMany(u8, u16, u16),
    Find(u8, u16),
    SetExpiry(u8, u16, Option<u64>),
    Append(u8, u16, Vec<u8>),
    Pin(u8, u16, u64),
    Unpin(u8, u16),
    WriteRange(u8, u16, u64, Vec<u8>),
    Swap(u8, u8),
    ClearDatabase(u8),
    Clear,
    Wait(u64),
    Advance(usize),
    Limit(u64),
    /// Several values of which all are stored or none; the last one never is where this says so.
    AllOrNone(u8, u16, u16, bool),
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    let size = prop_oneof![6 => 0..80_usize, 3 => 80..3000_usize, 1 => 15_000..17_000_usize, 1 => 60_000..200_000_usize];
    (size, any::<u8>()).prop_map(|(size, fill)| vec![fill; size])
}

fn stored() -> impl Strategy<Value = Stored> {
    prop_oneof![4 => content().prop_map(Stored::Bytes), 1 => any::<i64>().prop_map(Stored::Int)]
}

fn timing() -> impl Strategy<Value = Timing> {
    prop_oneof![
        4 => Just(Timing::Clear),
        2 => Just(Timing::Keep),
        3 => (1..100_000_u64).prop_map(Timing::In),
        1 => ((1_u64 << 48) - 3..(1 << 48) + 3).prop_map(Timing::Far),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let db = || 0..3_u8;
    let name = || 0..80_u16;
    prop_oneof![
        20 => (db(), name(), stored(), timing()).prop_map(|(d, n, v, t)| Step::Set(d, n, v, t)),
        8 => (db(), name()).prop_map(|(d, n)| Step::Remove(d, n)),
        2 => (db(), name()).prop_map(|(d, n)| Step::RemoveMany(d, n)),
        2 => (db(), name(), 0..200_u16).prop_map(|(d, n, size)| Step::SetMany(d, n, size)),
        6 => (db(), name()).prop_map(|(d, n)| Step::Find(d, n)),
        5 => (db(), name(), prop::option::of(1..100_000_u64)).prop_map(|(d, n, e)| Step::SetExpiry(d, n, e)),
        6 => (db(), name(), content()).prop_map(|(d, n, c)| Step::Append(d, n, c)),
        4 => (db(), name(), 1..100_000_u64).prop_map(|(d, n, ms)| Step::Pin(d, n, ms)),
        2 => (db(), name()).prop_map(|(d, n)| Step::Unpin(d, n)),
        4 => (db(), name(), 0..70_000_u64, content()).prop_map(|(d, n, o, c)| Step::WriteRange(d, n, o, c)),
        1 => (db(), db()).prop_map(|(a, b)| Step::Swap(a, b)),
        1 => db().prop_map(Step::ClearDatabase),
        1 => Just(Step::Clear),
        5 => (1..40_000_u64).prop_map(Step::Wait),
        5 => (1..100_usize).prop_map(Step::Advance),
        1 => (200_000..3_000_000_u64).prop_map(Step::Limit),
        4 => (db(), name(), 0..30_000_u16, any::<bool>()).prop_map(|(d, n, size, fails)| Step::AllOrNone(d, n, size, fails)),
    ]
}

/// Key names of several lengths, wide ones among them.
fn name(number: u16) -> Vec<u8> {
    let size = match number % 10 {
        0 => usize::from(number / 10),
        1 => 260,
        _ => 14,
    };
    let mut name = format!("{number}:").into_bytes();
    name.resize(size.max(if size == 0 { 0 } else { name.len() }), b'x');
    name
}

type Entry = (Stored, Option<u64>);

struct Pair {
    rig: Rig,
    model: HashMap<(u8, Vec<u8>), Entry>,
    pins: HashMap<(u8, Vec<u8>), u64>,
    now: u64,
}

impl Pair {
    fn live(&self, db: u8, name: &[u8]) -> Option<Entry> {
        self.model
            .get(&(db, name.to_vec()))
            .filter(|entry| entry.1.is_none_or(|at| at > self.now))
            .cloned()
    }

    fn pinned_until(&self, db: u8, name: &[u8]) -> Option<u64> {
        self.live(db, name)?;
        let until = self.pins.get(&(db, name.to_vec())).copied();
        until.filter(|until| *until > self.now)
    }

    /// Puts an entry. An overwritten one keeps its pin; a new one has none.
    fn put(&mut self, db: u8, name: Vec<u8>, entry: Entry) {
        if self.live(db, &name).is_none() {
            self.pins.remove(&(db, name.clone()));
        }
        self.model.insert((db, name), entry);
    }

    /// Applies a result: what is out of memory changes nothing.
    fn agree<T: PartialEq + std::fmt::Debug>(
        result: Result<T, KeyspaceError>,
        expected: T,
    ) -> bool {
        match result {
            Ok(found) => {
                assert_eq!(found, expected);
                true
            }
            Err(KeyspaceError::OutOfMemory { .. }) => false,
            Err(other) => panic!("{other}"),
        }
    }

    fn set(&mut self, db: u8, name: Vec<u8>, value: Stored, timing: Timing) {
        let before = self.live(db, &name);
        let (expiry, expire_at) = match timing {
            Timing::Clear => (Expiry::Clear, None),
            Timing::Keep => (Expiry::Keep, before.as_ref().and_then(|entry| entry.1)),
            Timing::In(ms) => (Expiry::At(self.now + ms), Some(self.now + ms)),
            Timing::Far(at) => (Expiry::At(at), Some(at)),
        };
        let result = self
            .rig
            .shard
            .set(&key(db, &name), value.view(), expiry, self.now);
        if Self::agree(result, before.is_some()) {
            self.put(db, name, (value, expire_at));
        }
    }

    fn splice(&mut self, db: u8, name: Vec<u8>, offset: Option<u64>, bytes: &[u8]) {
        let before = self.live(db, &name);
        let (mut content, expire_at) = before.map_or((Vec::new(), None), |(value, expire_at)| {
            (value.spelled(), expire_at)
        });
        let start = offset.map_or(content.len(), |offset| offset as usize);
        content.resize(content.len().max(start + bytes.len()), 0);
        content[start..start + bytes.len()].copy_from_slice(bytes);
        let k = key(db, &name);
        let result = match offset {
            None => self.rig.shard.append(&k, bytes, self.now),
            Some(offset) => self.rig.shard.write_range(&k, offset, bytes, self.now),
        };
        match result {
            Err(KeyspaceError::ValueTooLarge { .. }) => assert!(content.len() > 1 << 20),
            other => {
                if Self::agree(other, content.len() as u64) {
                    self.put(db, name, (Stored::Bytes(content), expire_at));
                }
            }
        }
    }

    fn remove(&mut self, db: u8, name: Vec<u8>) {
        let live = self.live(db, &name).is_some();
        assert_eq!(self.rig.shard.remove(&key(db, &name), self.now), live);
        self.pins.remove(&(db, name.clone()));
        self.model.remove(&(db, name));
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Set(db, number, value, timing) => self.set(db, name(number), value, timing),
            Step::Remove(db, number) => self.remove(db, name(number)),
            Step::RemoveMany(db, from) => {
                (from..from + 150).for_each(|number| self.remove(db, name(number)))
            }
            Step::SetMany(db, from, size) => {
                let value = Stored::Bytes(vec![5; usize::from(size)]);
                (from..from + 150)
                    .for_each(|number| self.set(db, name(number), value.clone(), Timing::Keep));
            }
            Step::Find(db, number) => {
                let _ = self.rig.shard.use_entry(&key(db, &name(number)), self.now);
            }
            Step::SetExpiry(db, number, ms) => {
                let name = name(number);
                let at = ms.map(|ms| self.now + ms);
                let before = self.live(db, &name);
                assert_eq!(
                    self.rig.shard.set_expiry(&key(db, &name), at, self.now),
                    before.is_some()
                );
                if let Some((value, _)) = before {
                    self.put(db, name, (value, at));
                }
            }
            Step::Pin(db, number, ms) => {
                let (name, until) = (name(number), self.now + ms);
                let live = self.live(db, &name).is_some();
                assert_eq!(self.rig.shard.pin(&key(db, &name), until, self.now), live);
                if live {
                    self.pins.insert((db, name), until);
                }
            }
            Step::Unpin(db, number) => {
                let name = name(number);
                let pinned = self.pinned_until(db, &name).is_some();
                assert_eq!(self.rig.shard.unpin(&key(db, &name), self.now), pinned);
                self.pins.remove(&(db, name));
            }
            Step::Append(db, number, bytes) => self.splice(db, name(number), None, &bytes),
            Step::WriteRange(db, number, offset, bytes) => {
                self.splice(db, name(number), Some(offset), &bytes)
            }
            Step::Swap(a, b) => self.swap(a, b),
            Step::ClearDatabase(db) => {
                self.rig.shard.clear_database(db);
                self.model.retain(|(other, _), _| *other != db);
                self.pins.retain(|(other, _), _| *other != db);
            }
            Step::Clear => {
                self.rig.shard.clear();
                self.model.clear();
                self.pins.clear();
            }
            Step::Wait(ms) => self.now += ms,
            Step::Advance(budget) => {
                self.rig.shard.advance(self.now, budget);
            }
            Step::Limit(bytes) => self.rig.shard.set_memory_limit(bytes),
            Step::AllOrNone(db, from, size, fails) => self.all_or_none(db, from, size, fails),
        }
    }

    fn all_or_none(&mut self, db: u8, from: u16, size: u16, fails: bool) {
        let value = vec![b'v'; usize::from(size)];
        let shard = &mut self.rig.shard;
        shard.begin_changes();
        let names: Vec<_> = (from..from + 30).map(name).collect();
        let mut is_done = !fails;
        for (index, name) in names.iter().enumerate() {
            let expiry = Expiry::At(self.now + 1_000);
            let value = Value::Bytes(&value);
            is_done &= match index % 3 {
                0 => {
                    shard.remove(&key(db, name), self.now);
                    true
                }
                _ => shard.set(&key(db, name), value, expiry, self.now).is_ok(),
            };
        }
        // Those within them that are undone alone leave no trace.
        shard.begin_changes();
        for (index, name) in names.iter().enumerate() {
            match index % 2 {
                0 => drop(shard.remove(&key(db, name), self.now)),
                _ => drop(shard.set(&key(db, name), Value::Bytes(b"7"), Expiry::Clear, self.now)),
            }
        }
        shard.end_changes(false, self.now);
        shard.end_changes(is_done, self.now);
        if !is_done {
            return;
        }
        for (index, name) in names.into_iter().enumerate() {
            if index % 3 == 0 {
                self.pins.remove(&(db, name.clone()));
                self.model.remove(&(db, name));
            } else {
                let entry = (Stored::Bytes(value.clone()), Some(self.now + 1_000));
                self.put(db, name, entry);
            }
        }
    }

    fn swap(&mut self, a: u8, b: u8) {
        self.rig.shard.swap_databases(a, b);
        let swapped = |(db, name): (u8, Vec<u8>)| match db {
            db if db == a => (b, name),
            db if db == b => (a, name),
            db => (db, name),
        };
        let model = std::mem::take(&mut self.model).into_iter();
        self.model = model.map(|(k, entry)| (swapped(k), entry)).collect();
        let pins = std::mem::take(&mut self.pins).into_iter();
        self.pins = pins.map(|(k, until)| (swapped(k), until)).collect();
    }

    fn check(&self) {
        self.rig.shard.check_invariants();
        let mut scratch = Vec::new();
        for (db, name) in self.model.keys() {
            let k = key(*db, name);
            let expected = self.live(*db, name);
            let found = self.rig.shard.look(&k, self.now);
            assert_eq!(
                found.map(|view| (spelled(view.value), view.expire_at)),
                expected.as_ref().map(|e| (e.0.spelled(), e.1))
            );
            let pinned_until = found.and_then(|view| view.pinned_until);
            assert_eq!(
                pinned_until.filter(|until| *until > self.now),
                self.pinned_until(*db, name)
            );
            match self.rig.reader.read(&k, self.now, &mut scratch) {
                Read::Hit(view, _) => {
                    let seen = found.map(|found| EntryView {
                        pinned_until: None,
                        ..found
                    });
                    assert_eq!(Some(view), seen);
                }
                Read::Miss(_) => assert_eq!(found, None),
                Read::AskOwner | Read::Unsettled => panic!("nothing is going on"),
            }
        }
        for db in 0..3 {
            let alive = |entry: &&Entry| entry.1.is_none_or(|at| at > self.now);
            let entries = self
                .model
                .iter()
                .filter(|((other, _), _)| *other == db)
                .map(|(_, entry)| entry);
            let live = entries.filter(alive).count() as u64;
            assert!(self.rig.shard.len(db) >= live);
            assert_eq!(self.rig.shard.len(db), self.rig.reader.len(db));
            let mut scanned = 0;
            self.rig
                .shard
                .scan(db, 0, usize::MAX, self.now, &mut |_, _| scanned += 1);
            assert_eq!(scanned, live);
        }
    }
}

/// The records of all changes, with their numbers.
type Log = Rc<RefCell<Vec<(u64, Vec<u8>)>>>;

#[derive(Debug)]
struct Scribe(Log);

impl ChangeListener for Scribe {
    fn reserve(&mut self, _: u64) -> Result<(), KeyspaceError> {
        Ok(())
    }

    fn changed(&mut self, number: u64, record: &Record<'_>) {
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        self.0.borrow_mut().push((number, bytes));
    }
}

/// Kind, value, time of expiry and version of each key, by physical database.
type Contents = BTreeMap<(u8, Vec<u8>), (Kind, Vec<u8>, Option<u64>, u64)>;

/// The entries of a shard as they are seen from outside, expired ones included.
fn contents(reader: &ShardReader) -> Contents {
    let mut contents = Contents::new();
    let mut swept = Swept::default();
    for physical in 0..4 {
        let mut cursor = 0;
        loop {
            let next = reader.scan(physical, cursor, &mut swept, &mut |key, view| {
                let entry = (view.kind, spelled(view.value), view.expire_at, view.version);
                contents.insert((physical, key.to_vec()), entry);
            });
            cursor = next.expect("nothing is going on");
            if cursor == 0 {
                break;
            }
        }
    }
    contents
}

/// Puts entries, and the map that they were seen under, into a shard.
fn load(shard: &mut Shard, contents: &Contents, map: &[u8], number: u64) {
    let effect = Effect::MapDatabases { physical: map };
    let record = Record {
        db: 0,
        key: b"",
        effect,
    };
    assert_eq!(shard.apply(&record, number.max(1)), Ok(true));
    for ((db, key), (kind, value, expire_at, version)) in contents {
        let effect = Effect::Put {
            kind: *kind,
            value: Value::Bytes(value),
            expire_at: *expire_at,
            pinned_until: None,
        };
        let record = Record {
            db: *db,
            key,
            effect,
        };
        assert_eq!(shard.apply(&record, *version), Ok(true));
    }
}

fn replay(shard: &mut Shard, log: &[(u64, Vec<u8>)]) {
    for (number, bytes) in log {
        let record = Record::decode(bytes).unwrap();
        assert!(shard.apply(&record, *number).is_ok());
    }
    shard.check_invariants();
}

fn follower() -> Rig {
    // What was applied is there whatever the limit says.
    let mut rig = Rig::new(1 << 26, 1 << 16);
    rig.shard.follow(true);
    rig
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn a_shard_is_made_again_from_its_changes(
        steps in prop::collection::vec(step(), 1..120),
        snapshot_at in 0..120_usize,
        overlap in 0..200_u64,
    ) {
        let mut pair = Pair { rig: Rig::new(1 << 24, 1_500_000), model: HashMap::new(), pins: HashMap::new(), now: START };
        let log = Log::default();
        pair.rig.shard.set_listener(Some(Box::new(Scribe(Rc::clone(&log)))));
        let mut loaded = follower();
        let mut first = 0;
        for (index, step) in steps.into_iter().enumerate() {
            if index == snapshot_at {
                let reader = &pair.rig.reader;
                load(&mut loaded.shard, &contents(reader), &reader.map(), reader.number());
                first = reader.number().saturating_sub(overlap);
            }
            pair.apply(step);
            prop_assert_eq!(pair.rig.reader.number(), pair.rig.shard.number());
        }
        let log = log.borrow();
        prop_assert!(log.iter().map(|(number, _)| *number).eq(1..=pair.rig.shard.number()), "each change has one number");
        let expected = contents(&pair.rig.reader);
        let mut follower = follower();
        replay(&mut follower.shard, &log);
        prop_assert_eq!(contents(&follower.reader), expected.clone());
        prop_assert_eq!(follower.reader.map(), pair.rig.reader.map());
        for (db, name) in pair.model.keys() {
            let pin = |shard: &Shard| shard.look(&key(*db, name), 0).and_then(|view| view.pinned_until);
            prop_assert_eq!(pin(&follower.shard), pin(&pair.rig.shard));
        }
        // A snapshot, and the log from before it on.
        replay(&mut loaded.shard, &log[first as usize..]);
        prop_assert_eq!(contents(&loaded.reader), expected);
        prop_assert_eq!(loaded.reader.map(), pair.rig.reader.map());
    }

    #[test]
    fn a_shard_agrees_with_a_hash_map(steps in prop::collection::vec(step(), 1..120)) {
        let mut pair = Pair { rig: Rig::new(1 << 24, 1_500_000), model: HashMap::new(), pins: HashMap::new(), now: START };
        for step in steps {
            pair.apply(step);
            pair.check();
        }
        while pair.rig.shard.advance(pair.now, 50) {}
        pair.check();
        let live = pair.model.values().filter(|entry| entry.1.is_none_or(|at| at > pair.now)).count() as u64;
        prop_assert_eq!((0..3).map(|db| pair.rig.shard.len(db)).sum::<u64>(), live);
    }
}
