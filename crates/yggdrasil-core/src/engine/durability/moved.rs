//! Changes from the log of a shard of another number of shards: their keys go to the shards that they belong to now.

use super::Engine;
use crate::control::NodeShape;
use crate::keyspace::{Effect, Key, KeyspaceError, Record, hash_key, slot::key_slot};

/// A log of another number of shards, as far as it was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OtherShard {
    /// The shard that wrote it, of how many.
    pub shard: usize,
    pub shards: usize,
    /// Physical number of each logical database there; empty where none was ever swapped.
    map: Vec<u8>,
}

impl OtherShard {
    /// The shard `shard` of `shards`.
    #[must_use]
    pub fn new(shard: usize, shards: usize) -> Self {
        Self {
            shard,
            shards,
            map: Vec::new(),
        }
    }
}

/// Keys looked at in one step of a search.
const SCAN_COUNT: usize = 1024;

impl Engine {
    /// Makes a change that the log of another number of shards has, where it is about a key of this shard. Until the
    /// end a database has the physical number as its logical one.
    ///
    /// # Errors
    /// It does not fit the shard.
    pub fn replay_moved(
        &mut self,
        from: &mut OtherShard,
        record: &Record<'_>,
    ) -> Result<bool, KeyspaceError> {
        if usize::from(record.db) >= self.shape.databases {
            return Err(KeyspaceError::Shape(
                "a log has more databases than the node",
            ));
        }
        match record.effect {
            Effect::MapDatabases { physical } => {
                from.map = physical.to_vec();
                Ok(true)
            }
            Effect::Clear => {
                self.clear_moved(from, record.db);
                Ok(true)
            }
            effect => {
                if self.shard_of(record.key) != self.me {
                    return Ok(false);
                }
                let key = Key {
                    db: record.db,
                    hash: hash_key(self.shape.hash_seed, record.key),
                    bytes: record.key,
                };
                let is_put = matches!(effect, Effect::Put { .. });
                if !is_put && self.shard.look(&key, 0).is_none() {
                    return Ok(false);
                }
                self.shard.remake(&key, &effect, self.now)?;
                Ok(true)
            }
        }
    }

    /// Gives the databases the order that all logs end with.
    pub fn finish_moved(&mut self, from: &OtherShard) {
        let databases = self.shape.databases;
        let is_whole = from.map.len() == databases;
        if is_whole {
            self.shard.map_databases(&from.map);
        }
    }

    /// Removes the keys of a database that another shard had.
    fn clear_moved(&mut self, from: &OtherShard, db: u8) {
        let before = NodeShape {
            shards: from.shards,
            ..self.shape
        };
        let mut keys = Vec::new();
        let mut cursor = 0;
        loop {
            cursor = self.shard.scan(db, cursor, SCAN_COUNT, 0, &mut |key, _| {
                if before.shard_of_slot(key_slot(key)) == from.shard {
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
