//! Fields of hashes that expire.

use crate::keyspace::collection::hash::{HashView, earliest_of_ops, put_remove};
use crate::keyspace::events::KeyEvent;
use crate::keyspace::kind::{Kind, Value};
use crate::keyspace::types::{Key, Millis, hash_key};

use super::{Place, Shard};

/// Fields that are removed from a hash in one step.
pub(super) const FIELDS_AT_ONCE: usize = 16;
/// Milliseconds after which a removal that was refused is tried again.
const RETRY_AFTER: Millis = 100;

impl Shard {
    /// Notes when fields expire that operations on a hash have set.
    pub(super) fn note_fields_of_ops(&mut self, key: &Key<'_>, ops: &[u8]) {
        if let Some(at) = earliest_of_ops(ops) {
            let physical = self.map[usize::from(key.db)];
            self.field_dues.note(physical, key.bytes, at);
        }
    }

    /// Notes when fields of a hash expire that was stored as a whole.
    pub(super) fn note_fields(&mut self, key: &Key<'_>, value: &Value<'_>) {
        if let Value::Written(ops) = value {
            self.note_fields_of_ops(key, ops);
        } else if let Some(at) = HashView::of(value, self.packing(), 0).next_expiry() {
            let physical = self.map[usize::from(key.db)];
            self.field_dues.note(physical, key.bytes, at);
        }
    }

    /// Forgets the fields of an entry that is about to go.
    #[inline]
    pub(super) fn forget_fields(&mut self, place: &Place) {
        let header = &place.header;
        if header.kind() == Some(Kind::Hash) && !self.field_dues.is_empty() {
            let (at, bytes) = ((place.at + header.key_word()) * 8, header.key_bytes());
            let key = self.arena.mapping.slice(at, bytes);
            self.field_dues.forget(place.physical, key);
        }
    }

    /// One step of the expiry of fields. False when none is due.
    pub(super) fn expire_fields(&mut self, now: Millis) -> bool {
        let Some((physical, name)) = self.field_dues.take_due(now) else {
            return false;
        };
        let key = Key {
            db: self.logical(physical),
            hash: hash_key(self.shape.hash_seed, &name),
            bytes: &name,
        };
        let (mut ops, mut is_last, mut removed) = (Vec::new(), false, 0);
        if let Some(hash) = self.hash_at(&key, now) {
            let expired = hash.expired(FIELDS_AT_ONCE);
            removed = expired.len() as u64;
            is_last = hash.len() == removed;
            for field in expired {
                put_remove(&mut ops, &field);
            }
        }
        if !ops.is_empty() {
            if self.reduce(&key, Kind::Hash, &ops, now).is_err() {
                self.field_dues.note(physical, &name, now + RETRY_AFTER);
                return true;
            }
            self.counters.expired_fields += removed;
            self.notify(KeyEvent::HExpired, key.db, key.bytes);
            if is_last {
                self.notify(KeyEvent::Del, key.db, key.bytes);
            }
        }
        let next = self.hash_at(&key, now).and_then(|hash| hash.next_expiry());
        if let Some(next) = next {
            self.field_dues.note(physical, &name, next);
        }
        true
    }

    /// Hashes of a database that have fields with a time of expiry.
    #[must_use]
    pub fn hashes_with_times(&self, db: u8) -> u64 {
        self.field_dues.len(self.map[usize::from(db)])
    }

    fn hash_at(&self, key: &Key<'_>, now: Millis) -> Option<HashView<'_>> {
        let entry = self.look(key, now)?;
        (entry.kind == Kind::Hash).then(|| HashView::of(&entry.value, self.packing(), now))
    }
}
