//! Effects on a shard: those that were decided here, and those that another shard, or a log, has numbered.

use crate::keyspace::collection::Collection;
use crate::keyspace::effect::{Effect, Record};
use crate::keyspace::entry::VERSION_MASK;
use crate::keyspace::kind::{Kind, Value};
use crate::keyspace::types::{Expiry, Key, KeyspaceError, Millis, hash_key};

use super::Shard;

/// A fault of a numbered change.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ApplyError {
    #[error("the change has the number {0}, and numbers go from 1 to 2^48 - 1")]
    Number(u64),
    #[error(
        "the change is one of a shard of {found} databases at least, and this one has {databases}"
    )]
    Database { found: usize, databases: usize },
    #[error("the change is one of a key of shard {0}, so this is the log of another shard")]
    Shard(usize),
    #[error(transparent)]
    Keyspace(#[from] KeyspaceError),
}

impl Shard {
    /// Lets another shard decide what is changed, or ends that. A follower hides what has expired and does not remove
    /// it, evicts nothing, and is changed by [`Shard::apply`] alone.
    pub fn follow(&mut self, follows: bool) {
        self.is_follower = follows;
    }

    /// Makes a change under the number that it has. What the entry has from a later change stays: so a log may be
    /// applied to entries that were copied while it was written. Returns false for a change that came too late.
    ///
    /// # Errors
    /// The change does not fit the shard, and nothing has changed. Memory and pins are not limited.
    pub fn apply(&mut self, record: &Record<'_>, number: u64) -> Result<bool, ApplyError> {
        if number == 0 || number > VERSION_MASK {
            return Err(ApplyError::Number(number));
        }
        let databases = self.databases.len();
        let found = match record.effect {
            Effect::MapDatabases { physical } => physical.len(),
            _ => usize::from(record.db) + 1,
        };
        let is_map = matches!(record.effect, Effect::MapDatabases { .. });
        if found > databases || is_map && found != databases {
            return Err(ApplyError::Database { found, databases });
        }
        let last = self.number();
        let follows = std::mem::replace(&mut self.is_follower, true);
        let outcome = self.without_limit(|shard| {
            let hash = hash_key(shard.shape.hash_seed, record.key);
            if shard.insert_applied(record, hash, number)? {
                return Ok(true);
            }
            shard.apply_after(last, record, hash, number)
        });
        self.is_follower = follows;
        self.set_number(last.max(number));
        Ok(outcome?)
    }

    /// Asks for the index line of a key of a physical database whose change is applied some records later.
    #[inline]
    pub fn prefetch_key(&self, physical: u8, key: &[u8]) {
        let Some(database) = self.databases.get(usize::from(physical)) else {
            return;
        };
        if database.buckets() != 0 {
            let home = database.home(hash_key(self.shape.hash_seed, key));
            self.arena.mapping.prefetch(home * 8);
        }
    }

    /// Stores a value that lies in its entry whole under a name that is free, as nearly all changes of a snapshot and of
    /// a log do. False for any other change.
    fn insert_applied(
        &mut self,
        record: &Record<'_>,
        hash: u64,
        number: u64,
    ) -> Result<bool, KeyspaceError> {
        let Effect::Put {
            kind,
            value: value @ (Value::Bytes(_) | Value::Int(_)),
            expire_at,
            pinned_until: None,
        } = record.effect
        else {
            return Ok(false);
        };
        // Fields of a hash may expire.
        if kind == Kind::Hash || self.journal.is_attended() {
            return Ok(false);
        }
        if self.locate_in(record.db, hash, record.key).is_some() {
            return Ok(false);
        }
        let key = Key {
            db: self.logical(record.db),
            hash,
            bytes: record.key,
        };
        let mut int = [0; 8];
        let stored = value.stored(kind, &mut int);
        self.check_sizes(key.bytes.len() as u64, stored.bytes.len() as u64)?;
        self.set_number(number - 1);
        self.insert(&key, stored, 0, expire_at, self.clock)?;
        Ok(true)
    }

    fn apply_after(
        &mut self,
        last: u64,
        record: &Record<'_>,
        hash: u64,
        number: u64,
    ) -> Result<bool, KeyspaceError> {
        let key = Key {
            db: self.logical(record.db),
            hash,
            bytes: record.key,
        };
        match record.effect {
            Effect::Clear if number <= last => {
                self.clear_older(record.db, number);
                return Ok(true);
            }
            Effect::MapDatabases { .. } if number <= last => return Ok(false),
            Effect::Clear | Effect::MapDatabases { .. } => {}
            effect => {
                let place = self.locate(&key);
                // A pin leaves the version as it is, and a snapshot tells it under that of the entry.
                let newest = number - u64::from(!matches!(effect, Effect::Pin { .. }));
                let is_late = place.is_some_and(|place| place.header.version() > newest);
                // What it changed a part of is gone by a later change, or was replaced by one.
                let has_base = match effect {
                    Effect::Put { .. } | Effect::Delta { is_new: true, .. } => true,
                    Effect::Delta { kind, .. } => {
                        place.is_some_and(|place| place.header.kind() == Some(kind))
                    }
                    Effect::Splice { .. } => {
                        place.is_some_and(|place| place.header.is_string_here())
                    }
                    _ => place.is_some(),
                };
                if is_late || !has_base {
                    return Ok(false);
                }
            }
        }
        self.set_number(number - 1);
        if matches!(record.effect, Effect::Delta { is_new: true, .. }) {
            // Whatever is left of an older value under this name was gone when the collection began.
            if let Some(place) = self.locate(&key) {
                self.discard(&place);
            }
        }
        self.make(&key, &record.effect, self.clock)?;
        Ok(true)
    }

    /// Makes a change that another shard had made, as one of this shard's own. Neither memory nor a listener refuses it.
    ///
    /// # Errors
    /// The value is of another kind.
    pub fn remake(
        &mut self,
        key: &Key<'_>,
        effect: &Effect<'_>,
        now: Millis,
    ) -> Result<(), KeyspaceError> {
        self.without_limit(|shard| shard.make(key, effect, now))
    }

    /// Removes the entries of a database that are older than a change that cleared it.
    fn clear_older(&mut self, physical: u8, number: u64) {
        let database = &self.databases[usize::from(physical)];
        let refs = (0..database.buckets()).flat_map(|bucket| self.refs_of(database.bucket(bucket)));
        let older: Vec<u64> = refs
            .filter(|at| self.header(*at).version() < number)
            .collect();
        for at in older {
            if let Some(place) = self.place_of(at) {
                self.discard(&place);
            }
        }
    }

    /// Does to a key, its database or the map of databases what an effect says. Pins hold whatever their limits say.
    ///
    /// # Errors
    /// There is no memory for it, or no room for its record, or the value is of another kind: nothing has changed then.
    pub fn make(
        &mut self,
        key: &Key<'_>,
        effect: &Effect<'_>,
        now: Millis,
    ) -> Result<(), KeyspaceError> {
        self.admit(key.bytes)?;
        self.reserve_record(key.bytes.len() as u64)?;
        match *effect {
            Effect::Put {
                kind,
                value,
                expire_at,
                pinned_until,
            } => {
                let expiry = expire_at.map_or(Expiry::Clear, Expiry::At);
                self.put(key, kind, value, expiry, now)?;
                if let Some(until) = pinned_until {
                    let before = self.look(key, now).and_then(|entry| entry.pinned_until);
                    self.pin(key, before.unwrap_or(0).max(until), now);
                }
            }
            Effect::Splice { offset, bytes } => {
                self.write_range(key, offset, bytes, now)?;
            }
            Effect::Expire { at } => {
                self.set_expiry(key, at, now);
            }
            Effect::Remove => {
                self.remove(key, now);
            }
            Effect::Pin { until: Some(until) } => {
                self.pin(key, until, now);
            }
            Effect::Pin { until: None } => {
                self.unpin(key, now);
            }
            Effect::Clear => self.clear_database(key.db),
            Effect::MapDatabases { physical } => self.map_databases(physical),
            Effect::Delta { kind, ops, .. } if Collection::only_removes(kind, ops) => {
                self.reduce(key, kind, ops, now)?;
            }
            Effect::Delta { kind, ops, .. } => self.change(key, kind, ops, now)?,
        }
        Ok(())
    }
}
