//! Changes of a shard of another number of shards: their keys go to the shards that they belong to now.

use std::collections::HashMap;

use super::Engine;
use crate::control::NodeShape;
use crate::keyspace::{Effect, Key, KeyspaceError, Kind, Record, hash_key, slot::key_slot};

/// A shard of another number of shards, as far as its snapshot and its log were read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OtherShard {
    /// The shard, of how many.
    pub shard: usize,
    pub shards: usize,
    /// Physical number of each logical database there; empty where none was ever swapped.
    map: Vec<u8>,
    /// The number of the change under which that was made.
    map_number: u64,
    /// The number of the last change before those that a log may repeat.
    covered: u64,
    /// Numbers of the changes from which keys are as they are, where a log may repeat older ones.
    versions: HashMap<(u8, Vec<u8>), u64>,
}

impl OtherShard {
    /// The shard `shard` of `shards`.
    #[must_use]
    pub fn new(shard: usize, shards: usize) -> Self {
        Self {
            shard,
            shards,
            map: Vec::new(),
            map_number: 0,
            covered: 0,
            versions: HashMap::new(),
        }
    }

    /// Begins with a snapshot, in whose first layer are all changes with lower numbers than `start`.
    pub fn begin_snapshot(&mut self, start: u64) {
        self.covered = start.saturating_sub(1);
    }

    /// Ends with it: a log goes on from `start`.
    pub fn end_snapshot(&mut self, start: u64) {
        self.covered = start.saturating_sub(1);
        let covered = self.covered;
        self.versions.retain(|_, number| *number > covered);
    }

    fn version(&self, record: &Record<'_>) -> u64 {
        if self.versions.is_empty() {
            return 0;
        }
        let key = (record.db, record.key.to_vec());
        self.versions.get(&key).copied().unwrap_or(0)
    }

    /// Remembers what a key is as, where a log may repeat what was before.
    fn note(&mut self, record: &Record<'_>, number: u64) {
        if number <= self.covered {
            return;
        }
        let key = (record.db, record.key.to_vec());
        match record.effect {
            Effect::Remove => {
                self.versions.remove(&key);
            }
            Effect::Pin { .. } => {}
            _ => {
                self.versions.insert(key, number);
            }
        }
    }
}

/// The origin of a change of another shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    Snapshot,
    Log,
}

/// Keys looked at in one step of a search.
const SCAN_COUNT: usize = 1024;

impl Engine {
    /// Makes a change that the snapshot or the log of another number of shards has, where it is about a key of this
    /// shard. Until the end a database has the physical number as its logical one.
    ///
    /// # Errors
    /// It does not fit the shard.
    pub fn replay_moved(
        &mut self,
        from: &mut OtherShard,
        origin: Origin,
        record: &Record<'_>,
        number: u64,
    ) -> Result<bool, KeyspaceError> {
        if usize::from(record.db) >= self.shape.databases {
            return Err(KeyspaceError::Shape(
                "what is loaded has more databases than the node",
            ));
        }
        if origin == Origin::Log && number <= from.covered {
            return Ok(false);
        }
        match record.effect {
            Effect::MapDatabases { .. } if number < from.map_number => Ok(false),
            Effect::MapDatabases { physical } => {
                from.map = physical.to_vec();
                from.map_number = number;
                Ok(true)
            }
            Effect::Clear => {
                self.clear_moved(from, record.db, number);
                Ok(true)
            }
            _ if self.shard_of(record.key) != self.me => Ok(false),
            _ => {
                let is_made = self.remake_moved(from, record, number)?;
                if is_made && origin == Origin::Snapshot {
                    from.note(record, number);
                }
                Ok(is_made)
            }
        }
    }

    /// Makes a change of a key of this shard by the rule of [`Shard::apply`](crate::keyspace::Shard::apply): what a key
    /// has from a later change stays.
    fn remake_moved(
        &mut self,
        from: &OtherShard,
        record: &Record<'_>,
        number: u64,
    ) -> Result<bool, KeyspaceError> {
        let effect = &record.effect;
        let newest = number - u64::from(!matches!(effect, Effect::Pin { .. }));
        if from.version(record) > newest {
            return Ok(false);
        }
        let key = Key {
            db: record.db,
            hash: hash_key(self.shape.hash_seed, record.key),
            bytes: record.key,
        };
        let kind = self.shard.look(&key, 0).map(|entry| entry.kind);
        let has_base = match effect {
            Effect::Put { .. } | Effect::Delta { is_new: true, .. } => true,
            Effect::Delta { kind: of, .. } => kind == Some(*of),
            Effect::Splice { .. } => kind == Some(Kind::String),
            _ => kind.is_some(),
        };
        if !has_base {
            return Ok(false);
        }
        if matches!(effect, Effect::Delta { is_new: true, .. }) && kind.is_some() {
            // Whatever is left of an older value under this name was gone when the collection began.
            self.shard.remove(&key, 0);
        }
        self.shard.remake(&key, effect, self.now)?;
        Ok(true)
    }

    /// Gives the databases the order that all logs end with.
    pub fn finish_moved(&mut self, from: &OtherShard) {
        let databases = self.shape.databases;
        let is_whole = from.map.len() == databases;
        if is_whole {
            self.shard.map_databases(&from.map);
        }
    }

    /// Removes the keys of a database that another shard had before a change.
    fn clear_moved(&mut self, from: &OtherShard, db: u8, number: u64) {
        let before = NodeShape {
            shards: from.shards,
            ..self.shape
        };
        let mut keys = Vec::new();
        let mut cursor = 0;
        loop {
            cursor = self.shard.scan(db, cursor, SCAN_COUNT, 0, &mut |key, _| {
                let is_later = from
                    .versions
                    .get(&(db, key.to_vec()))
                    .is_some_and(|version| *version >= number);
                if !is_later && before.shard_of_slot(key_slot(key)) == from.shard {
                    keys.push(key.to_vec());
                }
            });
            if cursor == 0 {
                break;
            }
        }
        for bytes in keys {
            let key = Key {
                db,
                hash: hash_key(self.shape.hash_seed, &bytes),
                bytes: &bytes,
            };
            self.shard.remove(&key, 0);
        }
    }
}
