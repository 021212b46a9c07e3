//! Shards, their logs, and a store in memory.
#![allow(dead_code, reason = "each test uses a part of it")]

pub mod place;

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use yggdrasil_core::keyspace::{
    ChangeListener, Effect, EntryView, Expiry, Key, KeyspaceError, Kind, Record, Shard,
    ShardReader, ShardShape, Swept, Value, hash_key,
};
use yggdrasil_core::shm::Segment;
use yggdrasil_snapshot::{
    Change, History, Loader, Owner, ShardPart, SnapshotError, Store, Stored, Visit,
};

pub const SEED: u64 = 0x5eed;
pub const NOW: u64 = 1_700_000_000_000;
pub const RECORD_BYTES_MAX: u64 = 1 << 26;
const DATABASES: u16 = 4;

pub fn key(db: u8, bytes: &[u8]) -> Key<'_> {
    Key {
        db,
        hash: hash_key(SEED, bytes),
        bytes,
    }
}

/// The changes of a shard, as a log would have them.
pub type Log = Arc<Mutex<Vec<(u64, Vec<u8>)>>>;

#[derive(Debug)]
struct Scribe(Log);

impl ChangeListener for Scribe {
    fn reserve(&mut self, _: u64) -> Result<(), KeyspaceError> {
        Ok(())
    }

    fn changed(&mut self, number: u64, record: &Record<'_>) {
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        self.0.lock().unwrap().push((number, bytes));
    }
}

/// A log that begins with the change of a number.
pub struct Logged {
    pub log: Log,
    pub first: u64,
}

impl History for Logged {
    fn since(&mut self, first: u64, visit: &mut Visit<'_>) -> Result<bool, SnapshotError> {
        if first < self.first {
            return Ok(false);
        }
        let log = self.log.lock().unwrap().clone();
        for (number, record) in log.iter().filter(|(number, _)| *number >= first) {
            visit(Change {
                number: *number,
                record,
            })?;
        }
        Ok(true)
    }

    fn settle(&mut self) -> Result<(), SnapshotError> {
        Ok(())
    }
}

/// A shard, and what reads it from outside.
pub struct Rig {
    pub segment: Segment,
    pub shard: Shard,
    pub reader: ShardReader,
    pub log: Log,
}

impl Rig {
    pub fn new() -> Self {
        let shape = shape();
        let segment = Segment::create("test", shape.segment_bytes).unwrap();
        let mut shard = Shard::create(segment.own().unwrap(), shape.clone()).unwrap();
        let reader = ShardReader::open(segment.read().unwrap(), &shape).unwrap();
        let log = Log::default();
        shard.set_listener(Some(Box::new(Scribe(Arc::clone(&log)))));
        Self {
            segment,
            shard,
            reader,
            log,
        }
    }

    pub fn history(&self) -> Logged {
        Logged {
            log: Arc::clone(&self.log),
            first: 0,
        }
    }

    pub fn set(&mut self, db: u8, name: &[u8], value: &[u8]) {
        self.put(db, name, Kind::String, value, Expiry::Clear);
    }

    pub fn put(&mut self, db: u8, name: &[u8], kind: Kind, value: &[u8], expiry: Expiry) {
        let value = Value::Bytes(value);
        self.shard
            .put(&key(db, name), kind, value, expiry, NOW)
            .unwrap();
    }

    pub fn remove(&mut self, db: u8, name: &[u8]) {
        self.shard.remove(&key(db, name), NOW);
    }
}

pub fn shape() -> ShardShape {
    ShardShape {
        databases: DATABASES,
        segment_bytes: 1 << 34,
        memory_limit: 1 << 31,
        hash_seed: SEED,
        value_bytes_max: 1 << 25,
    }
}

/// The owner of a shard that is asked only for pins, between two scans.
pub struct Pins(pub Vec<(u64, Vec<u8>)>);

impl Pins {
    pub fn of(shard: &Shard, names: &[(u8, Vec<u8>)]) -> Self {
        let pin = |(db, name): &(u8, Vec<u8>)| {
            let view = shard.look(&key(*db, name), NOW)?;
            let until = view.pinned_until?;
            let mut bytes = Vec::new();
            Record {
                db: *db,
                key: name,
                effect: Effect::Pin { until: Some(until) },
            }
            .encode(&mut bytes);
            Some((view.version, bytes))
        };
        Self(names.iter().filter_map(pin).collect())
    }
}

impl Owner for Pins {
    fn entries(&mut self, _: u8, _: &[Vec<u8>], _: &mut Visit<'_>) -> Result<(), SnapshotError> {
        unreachable!("there are no trees")
    }

    fn pins(&mut self, visit: &mut Visit<'_>) -> Result<(), SnapshotError> {
        for (number, record) in &self.0 {
            visit(Change {
                number: *number,
                record,
            })?;
        }
        Ok(())
    }
}

/// Kind, value, time of expiry and version of each key, by physical database.
pub type Contents = BTreeMap<(u8, Vec<u8>), (Kind, Vec<u8>, Option<u64>, u64)>;

pub fn contents(reader: &ShardReader) -> (Vec<u8>, Contents) {
    let mut contents = Contents::new();
    let mut swept = Swept::default();
    for physical in 0..DATABASES as u8 {
        let mut cursor = 0;
        loop {
            let mut visit = |key: &[u8], view: &EntryView<'_>| {
                let value = match view.value {
                    Value::Tree(_) | Value::Written(_) | Value::AtOwner => Vec::new(),
                    Value::Int(number) => number.to_string().into_bytes(),
                    Value::Bytes(bytes) | Value::Absent(bytes) => bytes.to_vec(),
                };
                let entry = (view.kind, value, view.expire_at, view.version);
                contents.insert((physical, key.to_vec()), entry);
            };
            cursor = reader
                .scan(physical, cursor, &mut swept, &mut visit)
                .expect("nothing is going on");
            if cursor == 0 {
                break;
            }
        }
    }
    (reader.map(), contents)
}

/// A shard as it is made from a snapshot, and from a log where it goes on.
pub fn load(store: &Arc<dyn Store>, part: &ShardPart, log: &[(u64, Vec<u8>)]) -> Rig {
    let mut rig = Rig::new();
    rig.shard.follow(true);
    let mut apply = |number: u64, record: &[u8]| {
        let record = Record::decode(record).unwrap();
        rig.shard.apply(&record, number).unwrap();
    };
    for batch in Loader::new(store, part, 2, RECORD_BYTES_MAX) {
        for change in batch.unwrap().changes() {
            apply(change.number, change.record);
        }
    }
    for (number, record) in log {
        if *number >= part.start() {
            apply(*number, record);
        }
    }
    rig
}

/// A store in memory that fails after some more writes.
#[derive(Default)]
pub struct Memory {
    pub objects: Mutex<BTreeMap<String, Vec<u8>>>,
    /// Writes that succeed before one fails; negative for all.
    pub writes_left: AtomicI64,
}

impl Memory {
    pub fn new() -> Self {
        Self {
            writes_left: AtomicI64::new(i64::MAX),
            ..Self::default()
        }
    }
}

impl Store for Memory {
    fn get(&self, name: &str, limit: u64) -> io::Result<Vec<u8>> {
        let objects = self.objects.lock().unwrap();
        let found = objects.get(name).ok_or(io::ErrorKind::NotFound)?;
        if found.len() as u64 > limit {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(found.clone())
    }

    fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        if self.writes_left.fetch_sub(1, Ordering::Relaxed) <= 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut objects = self.objects.lock().unwrap();
        objects.insert(name.to_owned(), bytes.to_vec());
        Ok(())
    }

    fn settle(&self) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, part: &str) -> io::Result<Vec<Stored>> {
        let objects = self.objects.lock().unwrap();
        let named = objects.iter().filter(|(name, _)| name.starts_with(part));
        let stored = named.map(|(name, bytes)| Stored {
            name: name.clone(),
            bytes: bytes.len() as u64,
            age: Some(Duration::from_secs(60)),
        });
        Ok(stored.collect())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.objects.lock().unwrap().remove(name);
        Ok(())
    }
}

/// A folder that is removed at the end.
pub struct Scratch(pub std::path::PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("yggdrasil-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
