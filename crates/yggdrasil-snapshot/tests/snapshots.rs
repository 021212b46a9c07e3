//! A shard is made again from its snapshots.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use yggdrasil_core::keyspace::{Expiry, Kind, ShardReader, Value};
use yggdrasil_snapshot::{
    History, Manifest, NoHistory, Options, Owner, Progress, SnapshotError, Source, Store, Unowned,
    Visit, list, newest, prune, take,
};

use common::{Logged, Memory, NOW, Pins, Rig, contents, key, load, shape};

const NODE: &str = "node";

fn snapshot(
    store: &dyn Store,
    reader: &ShardReader,
    history: &mut dyn History,
    owner: &mut dyn Owner,
    base: Option<&Manifest>,
) -> Result<Manifest, SnapshotError> {
    // Small shards are written over by more than their half at once.
    snapshot_with(100_000, store, reader, history, owner, base)
}

/// Takes one that may take so much more than a whole one would, in percent.
fn snapshot_with(
    growth_max: u64,
    store: &dyn Store,
    reader: &ShardReader,
    history: &mut dyn History,
    owner: &mut dyn Owner,
    base: Option<&Manifest>,
) -> Result<Manifest, SnapshotError> {
    let options = Options {
        growth_max,
        generation: 0,
        ..Options::default()
    };
    let mut sources = [Source {
        shard: 0,
        reader,
        history,
        owner,
        keeps: &|_| true,
    }];
    let progress = Progress::default();
    let now = || NOW;
    let taken = take(store, NODE, &mut sources, base, &options, &progress, &now)?;
    Ok(taken.manifest)
}

fn store() -> Arc<dyn Store> {
    Arc::new(Memory::new())
}

#[test]
fn values_of_all_lengths_come_back() {
    let mut rig = Rig::new();
    for (n, len) in [0, 1, 300, 20_000, 4 << 20, (9 << 20) + 7]
        .into_iter()
        .enumerate()
    {
        let value: Vec<u8> = (0..len).map(|n: usize| (n * 7 % 251) as u8).collect();
        rig.put(
            n as u8 % 4,
            &[n as u8; 300],
            Kind::Hash,
            &value,
            Expiry::At(NOW + 5),
        );
        rig.set(n as u8 % 4, &[n as u8], &value);
    }
    let store = store();
    let manifest = snapshot(&*store, &rig.reader, &mut NoHistory, &mut Unowned(0), None).unwrap();
    let part = manifest.shard(0).unwrap();
    assert_eq!((part.keys, manifest.keys()), (12, 12));
    let loaded = load(&store, part, &[]);
    assert_eq!(contents(&loaded.reader), contents(&rig.reader));
    assert_eq!(loaded.reader.number(), rig.reader.number());
}

#[test]
fn an_empty_shard_has_a_snapshot() {
    let rig = Rig::new();
    let store = store();
    let manifest = snapshot(&*store, &rig.reader, &mut NoHistory, &mut Unowned(0), None).unwrap();
    let loaded = load(&store, manifest.shard(0).unwrap(), &[]);
    assert_eq!(contents(&loaded.reader), contents(&rig.reader));
    assert_eq!(newest(&*store, NODE).unwrap(), Some(manifest));
    assert_eq!(newest(&*store, "other").unwrap(), None);
}

#[test]
fn a_few_changes_cost_a_few_bytes() {
    let mut rig = Rig::new();
    let value = |n: u64| {
        format!(
            "{{\"id\":{n},\"text\":\"{:x}\"}}",
            n.wrapping_mul(0x9e37_79b9_7f4a_7c15)
        )
        .repeat(3)
    };
    for n in 0..50_000 {
        rig.set(0, format!("key:{n}").as_bytes(), value(n).as_bytes());
    }
    let store = store();
    let (mut history, mut owner) = (rig.history(), Unowned(0));
    let first = snapshot(&*store, &rig.reader, &mut history, &mut owner, None).unwrap();
    for n in 0..500 {
        rig.set(
            0,
            format!("key:{}", n * 97).as_bytes(),
            value(n + 1).as_bytes(),
        );
    }
    let second = snapshot(&*store, &rig.reader, &mut history, &mut owner, Some(&first)).unwrap();
    assert_eq!(second.base.as_ref(), Some(&first.id));
    assert!(
        second.new_bytes * 100 <= first.bytes() * 3,
        "{} of {}",
        second.new_bytes,
        first.bytes()
    );
    let loaded = load(&store, second.shard(0).unwrap(), &[]);
    assert_eq!(contents(&loaded.reader), contents(&rig.reader));
    // Nothing has changed: nothing is written but the manifest.
    let third = snapshot(
        &*store,
        &rig.reader,
        &mut history,
        &mut owner,
        Some(&second),
    )
    .unwrap();
    assert_eq!((third.new_bytes, &third.shards), (0, &second.shards));
}

/// Text of which no two pieces have much in common.
fn text(n: u64) -> Vec<u8> {
    let mut random = n;
    let words = (0..12).map(|_| {
        random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        format!("{:x}", random >> 16)
    });
    words.collect::<Vec<_>>().concat().into_bytes()
}

#[test]
fn what_is_new_is_added_and_what_was_written_over_is_not_kept_for_ever() {
    let mut rig = Rig::new();
    let store = store();
    let (mut history, mut owner) = (rig.history(), Unowned(0));
    let mut taken: Option<Manifest> = None;
    let mut snapshot_of = |rig: &Rig| {
        let base = taken.as_ref();
        let next = snapshot_with(50, &*store, &rig.reader, &mut history, &mut owner, base);
        taken.insert(next.unwrap()).clone()
    };
    let mut name = 0..;
    let mut layers = Vec::new();
    for keys in [100, 400, 2_000, 8_000, 80] {
        for name in name.by_ref().take(keys) {
            rig.set(0, &u64::to_le_bytes(name), &text(name));
        }
        layers.push(snapshot_of(&rig).shards[0].layers.len());
    }
    assert_eq!(layers, [1, 2, 3, 4, 5], "each adds what is new");
    let (mut most, mut written, mut whole) = (0, 0, 0);
    for round in 1..=20 {
        for name in 0..2_000 {
            rig.set(0, &u64::to_le_bytes(name), &text(name + round * 1_000_000));
        }
        let next = snapshot_of(&rig);
        most = most.max(next.bytes());
        written += next.new_bytes;
        whole += u32::from(next.shards[0].layers.len() == 1);
    }
    let at_once = snapshot(&*store, &rig.reader, &mut NoHistory, &mut Unowned(0), None).unwrap();
    let once = at_once.bytes();
    assert!(
        most < 2 * once,
        "{most} bytes of snapshots, {once} of a whole one"
    );
    assert!(whole > 2, "{whole} whole ones");
    // Each changes a fifth of all.
    assert!(
        written < 20 * once / 5 * 3,
        "{written} bytes written, {once} of a whole one"
    );
}

#[test]
fn what_a_log_does_not_tell_any_more_is_written_whole() {
    let mut rig = Rig::new();
    rig.set(0, b"a", b"1");
    let store = store();
    let mut owner = Unowned(0);
    let first = snapshot(&*store, &rig.reader, &mut rig.history(), &mut owner, None).unwrap();
    rig.set(0, b"b", b"1");
    rig.remove(0, b"a");
    let mut short = Logged {
        log: Arc::clone(&rig.log),
        first: 3,
    };
    let second = snapshot(&*store, &rig.reader, &mut short, &mut owner, Some(&first)).unwrap();
    let part = second.shard(0).unwrap();
    assert_eq!((part.layers.len(), second.base.as_ref()), (1, None));
    assert_eq!(
        contents(&load(&store, part, &[]).reader),
        contents(&rig.reader)
    );
}

#[test]
fn what_was_cleared_begins_anew() {
    let mut rig = Rig::new();
    let store = store();
    let (mut history, mut owner) = (rig.history(), Unowned(0));
    rig.set(0, b"a", b"1");
    let first = snapshot(&*store, &rig.reader, &mut history, &mut owner, None).unwrap();
    rig.shard.clear_database(0);
    rig.set(0, b"b", b"1");
    let second = snapshot(&*store, &rig.reader, &mut history, &mut owner, Some(&first)).unwrap();
    let part = second.shard(0).unwrap();
    assert_eq!(part.layers.len(), 1);
    assert_eq!(
        contents(&load(&store, part, &[]).reader),
        contents(&rig.reader)
    );
}

#[test]
fn a_failed_write_leaves_the_snapshots_before() {
    let mut rig = Rig::new();
    for n in 0..20_000_u32 {
        let value: Vec<u8> = (0..500)
            .map(|place| (n.wrapping_mul(place * 77 + 1) >> 11) as u8)
            .collect();
        rig.set(0, &n.to_le_bytes(), &value);
    }
    let memory = Arc::new(Memory::new());
    let store: Arc<dyn Store> = memory.clone();
    let mut owner = Unowned(0);
    let first = snapshot(&*store, &rig.reader, &mut NoHistory, &mut owner, None).unwrap();
    let chunks = first.chunks().count() as i64;
    assert!(chunks > 1);
    rig.set(0, b"more", b"1");
    for writes in 0..=chunks {
        memory.writes_left.store(writes, Ordering::Relaxed);
        let failed = snapshot(&*store, &rig.reader, &mut NoHistory, &mut owner, None);
        assert!(
            matches!(failed, Err(SnapshotError::Store { .. })),
            "{failed:?}"
        );
    }
    assert_eq!(newest(&*store, NODE).unwrap().as_ref(), Some(&first));
    // What the failed ones have left is removed, and the first is whole.
    prune(&*store, 1, Duration::ZERO).unwrap();
    assert_eq!(memory.objects.lock().unwrap().len() as i64, chunks + 1);
    let loaded = load(&store, first.shard(0).unwrap(), &[]);
    assert_eq!(loaded.reader.len(0), 20_000);
}

#[test]
fn old_snapshots_go_and_shared_chunks_stay() {
    let mut rig = Rig::new();
    let store = store();
    let (mut history, mut owner) = (rig.history(), Unowned(0));
    let mut taken: Vec<Manifest> = Vec::new();
    for n in 0..4_u8 {
        rig.set(0, &[n], &[n; 100]);
        let next = snapshot(&*store, &rig.reader, &mut history, &mut owner, taken.last()).unwrap();
        taken.push(next);
    }
    let pruned = prune(&*store, 2, Duration::ZERO).unwrap();
    assert_eq!(pruned.snapshots, [taken[0].id.clone(), taken[1].id.clone()]);
    assert_eq!(pruned.chunks, 0, "the later ones go on from them");
    let ids: Vec<String> = list(&*store)
        .unwrap()
        .into_iter()
        .map(|listed| listed.id)
        .collect();
    assert_eq!(ids, [taken[2].id.clone(), taken[3].id.clone()]);
    let loaded = load(&store, taken[3].shard(0).unwrap(), &[]);
    assert_eq!(contents(&loaded.reader), contents(&rig.reader));
    assert!(
        prune(&*store, 2, Duration::from_secs(3_600))
            .unwrap()
            .snapshots
            .is_empty()
    );
    assert!(
        prune(&*store, 0, Duration::from_secs(3_600))
            .unwrap()
            .chunks
            == 0,
        "they are young"
    );
    assert!(prune(&*store, 0, Duration::ZERO).unwrap().chunks > 0);
}

/// A shard is written all the time while snapshots of it are taken, each on top of the one before.
#[test]
fn snapshots_taken_while_a_shard_changes_are_exact() {
    let mut rig = Rig::new();
    let reader = ShardReader::open(rig.segment.read().unwrap(), &shape()).unwrap();
    let (mut history, log) = (rig.history(), Arc::clone(&rig.log));
    for n in 0..30_000_u64 {
        rig.set(0, &n.to_le_bytes(), &n.to_le_bytes());
    }
    let store = store();
    let (is_over, count) = (AtomicBool::new(false), AtomicUsize::new(0));
    let taken = std::thread::scope(|scope| {
        let taking = scope.spawn(|| {
            let mut owner = Unowned(0);
            let mut taken: Vec<Manifest> = Vec::new();
            while taken.len() < 4 {
                let next = snapshot(&*store, &reader, &mut history, &mut owner, taken.last());
                taken.push(next.unwrap());
                count.store(taken.len(), Ordering::Relaxed);
            }
            is_over.store(true, Ordering::Relaxed);
            taken
        });
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        while !is_over.load(Ordering::Relaxed) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let name = (random >> 20) % 40_000;
            let name = name.to_le_bytes();
            match random % 100 {
                0..60 => rig.set(0, &name, &random.to_le_bytes()),
                60..80 => rig.remove(0, &name),
                80..98 => {
                    let at = Some(NOW + random % 1_000);
                    rig.shard.set_expiry(&key(0, &name), at, NOW);
                }
                98 => rig.set(1, &name, &[1; 50]),
                _ if random % 5_000 == 99 => rig.shard.map_databases(&[1, 0, 2, 3]),
                _ if random % 5_000 == 199 => rig.shard.map_databases(&[0, 1, 2, 3]),
                // Behind the last one there are layers, however long a snapshot takes.
                _ if random % 90_000 == 299 && count.load(Ordering::Relaxed) < 2 => {
                    rig.shard.clear_database(1);
                }
                _ => {}
            }
        }
        taking.join().unwrap()
    });
    let log = log.lock().unwrap().clone();
    let expected = contents(&rig.reader);
    for manifest in &taken {
        let part = manifest.shard(0).unwrap();
        assert_eq!(contents(&load(&store, part, &log).reader), expected);
        // By itself it is the shard as it was after its last change.
        let last = part.layers.iter().map(|layer| layer.end).max().unwrap();
        let upto: Vec<_> = log
            .iter()
            .filter(|(number, _)| *number <= last)
            .cloned()
            .collect();
        let mut whole = Rig::new();
        whole.shard.follow(true);
        for (number, record) in &upto {
            let record = yggdrasil_core::keyspace::Record::decode(record).unwrap();
            whole.shard.apply(&record, *number).unwrap();
        }
        let alone = load(&store, part, &[]);
        if alone.reader.number() == last {
            assert_eq!(contents(&alone.reader), contents(&whole.reader));
        }
    }
    let mut layers = taken.iter().map(|manifest| manifest.shards[0].layers.len());
    assert!(layers.any(|layers| layers > 1));
}

#[derive(Clone, Debug)]
enum Step {
    Set(u8, u8, u16),
    Remove(u8, u8),
    Expire(u8, u8, Option<u64>),
    Pin(u8, u8, Option<u64>),
    Splice(u8, u8, u8),
    Clear(u8),
    Swap(u8, u8),
    Snapshot,
}

fn step() -> impl Strategy<Value = Step> {
    let (db, name) = (0..4_u8, 0..12_u8);
    let at = prop::option::of(1..1_000_u64);
    prop_oneof![
        8 => (db.clone(), name.clone(), 0..300_u16).prop_map(|(db, name, len)| Step::Set(db, name, len)),
        4 => (db.clone(), name.clone()).prop_map(|(db, name)| Step::Remove(db, name)),
        2 => (db.clone(), name.clone(), at.clone()).prop_map(|(db, name, at)| Step::Expire(db, name, at)),
        2 => (db.clone(), name.clone(), at).prop_map(|(db, name, at)| Step::Pin(db, name, at)),
        2 => (db.clone(), name.clone(), 0..100_u8).prop_map(|(db, name, at)| Step::Splice(db, name, at)),
        1 => db.clone().prop_map(Step::Clear),
        1 => (db.clone(), db).prop_map(|(a, b)| Step::Swap(a, b)),
        3 => Just(Step::Snapshot),
    ]
}

fn apply(rig: &mut Rig, step: &Step) {
    match *step {
        Step::Set(db, name, len) => rig.set(db, &[name], &vec![name; usize::from(len)]),
        Step::Remove(db, name) => rig.remove(db, &[name]),
        Step::Expire(db, name, at) => {
            rig.shard
                .set_expiry(&key(db, &[name]), at.map(|at| NOW + at), NOW);
        }
        Step::Pin(db, name, Some(at)) => {
            rig.shard.pin(&key(db, &[name]), NOW + at, NOW);
        }
        Step::Pin(db, name, None) => {
            rig.shard.unpin(&key(db, &[name]), NOW);
        }
        Step::Splice(db, name, at) => {
            rig.shard
                .write_range(&key(db, &[name]), u64::from(at), b"spliced", NOW)
                .unwrap();
        }
        Step::Clear(db) => rig.shard.clear_database(db),
        Step::Swap(a, b) => {
            let mut map = rig.reader.map();
            map.swap(usize::from(a), usize::from(b));
            rig.shard.map_databases(&map);
        }
        Step::Snapshot => {}
    }
}

fn names() -> Vec<(u8, Vec<u8>)> {
    (0..4)
        .flat_map(|db| (0..12).map(move |name| (db, vec![name])))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn chains_of_snapshots_are_the_shard(steps in prop::collection::vec(step(), 1..80), logged in any::<bool>()) {
        let mut rig = Rig::new();
        let store = store();
        let mut last: Option<Manifest> = None;
        let mut history = rig.history();
        let names = names();
        for step in steps.iter().chain([&Step::Snapshot]) {
            apply(&mut rig, step);
            if matches!(step, Step::Snapshot) {
                // Physical numbers: the map of the test's databases is known.
                let map = rig.reader.map();
                let mut pins = Pins::of(&rig.shard, &names);
                for (_, record) in &mut pins.0 {
                    record[0] = map[usize::from(record[0])];
                }
                let history: &mut dyn History = if logged { &mut history } else { &mut NoHistory };
                last = Some(snapshot(&*store, &rig.reader, history, &mut pins, last.as_ref()).unwrap());
            }
        }
        let part = last.as_ref().unwrap().shard(0).unwrap();
        let log = rig.log.lock().unwrap().clone();
        for log in [&log[..0], &log[..]] {
            let loaded = load(&store, part, log);
            prop_assert_eq!(contents(&loaded.reader), contents(&rig.reader));
            for (db, name) in &names {
                let pin = |rig: &Rig| rig.shard.look(&key(*db, name), NOW).and_then(|view| view.pinned_until);
                prop_assert_eq!(pin(&loaded), pin(&rig), "{} {:?}", db, name);
            }
        }
    }
}

/// The owner of a shard that changes another one when it is asked.
struct Meanwhile<'a>(&'a mut dyn FnMut());

impl Owner for Meanwhile<'_> {
    fn entries(&mut self, _: u8, _: &[Vec<u8>], _: &mut Visit<'_>) -> Result<(), SnapshotError> {
        unreachable!("there are no trees")
    }

    fn pins(&mut self, _: &mut Visit<'_>) -> Result<(), SnapshotError> {
        (self.0)();
        Ok(())
    }
}

#[test]
fn decisions_about_shards_that_are_done_stay_in_the_logs() {
    let (mut done, mut later) = (Rig::new(), Rig::new());
    done.set(0, b"a", b"1");
    later.set(0, b"a", b"1");
    let before = later.reader.number();
    let (mut done_history, mut later_history) = (done.history(), later.history());
    let Rig { shard, reader, .. } = &mut later;
    let mut change = || {
        let value = Value::Bytes(b"while the second shard waits for its turn");
        let key = key(0, b"decided");
        let put = shard.put(&key, Kind::String, value, Expiry::Clear, NOW);
        put.unwrap();
    };
    let mut sources = [
        Source {
            shard: 0,
            reader: &done.reader,
            history: &mut done_history,
            owner: &mut Meanwhile(&mut change),
            keeps: &|_| true,
        },
        Source {
            shard: 1,
            reader,
            history: &mut later_history,
            owner: &mut Unowned(1),
            keeps: &|_| true,
        },
    ];
    let (options, progress) = (Options::default(), Progress::default());
    let taken = take(
        &*store(),
        NODE,
        &mut sources,
        None,
        &options,
        &progress,
        &|| NOW,
    )
    .unwrap();
    let start = taken.manifest.shard(1).unwrap().start();
    assert_eq!(taken.needed().nth(1), Some((1, before)));
    assert!(start > before, "the second shard was looked at later");
}
