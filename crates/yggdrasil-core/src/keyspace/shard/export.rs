//! Entries as records, for who copies the shard and finds not everything from outside.

use crate::keyspace::collection::Collection;
use crate::keyspace::effect::{Effect, Record};
use crate::keyspace::kind::Value;
use crate::keyspace::types::{EntryView, hash_key};

use super::Shard;

impl Shard {
    /// Appends the record that puts an entry of a physical database elsewhere, and gives its version. An entry that
    /// has expired is given, too.
    pub fn record_of(&self, physical: u8, key: &[u8], out: &mut Vec<u8>) -> Option<u64> {
        let hash = hash_key(self.shape.hash_seed, key);
        let is_known = usize::from(physical) < self.databases.len();
        let place = is_known.then(|| self.locate_in(physical, hash, key))??;
        let view = self.view(place.at, &place.header);
        let record = Record {
            db: physical,
            key,
            effect: view.as_put(),
        };
        record.encode(out);
        Some(view.version)
    }

    /// The tree of an entry of a physical database as it is now, its version, and the record that puts it elsewhere up to
    /// the operations that make the tree. None for an entry without a tree.
    pub fn tree_record_of(&self, physical: u8, key: &[u8]) -> Option<(u64, Vec<u8>, Collection)> {
        let hash = hash_key(self.shape.hash_seed, key);
        let is_known = usize::from(physical) < self.databases.len();
        let place = is_known.then(|| self.locate_in(physical, hash, key))??;
        let view = self.view(place.at, &place.header);
        let Value::Tree(tree) = view.value else {
            return None;
        };
        let empty = EntryView {
            value: Value::Written(b""),
            ..view
        };
        let mut head = Vec::new();
        Record {
            db: physical,
            key,
            effect: empty.as_put(),
        }
        .encode(&mut head);
        Some((view.version, head, tree.clone()))
    }

    /// Visits about `count` pins of a physical database from a cursor on: the version of the entry, and a record.
    /// Returns the next cursor; 0 begins and ends.
    pub fn pin_records(
        &self,
        physical: u8,
        cursor: u64,
        count: u64,
        visit: &mut dyn FnMut(u64, &[u8]),
    ) -> u64 {
        if usize::from(physical) >= self.databases.len() {
            return 0;
        }
        let mut out = Vec::new();
        self.pins.scan(physical, cursor, count, &mut |key, until| {
            let hash = hash_key(self.shape.hash_seed, key);
            let Some(place) = self.locate_in(physical, hash, key) else {
                return;
            };
            let record = Record {
                db: physical,
                key,
                effect: Effect::Pin { until: Some(until) },
            };
            out.clear();
            record.encode(&mut out);
            visit(place.header.version(), &out);
        })
    }
}
