//! Large collections that the listener gets in parts, ahead of the change that puts them: no step takes long.

use crate::keyspace::collection::{Collection, Held};
use crate::keyspace::effect::Effect;
use crate::keyspace::kind::Value;
use crate::keyspace::types::{Key, KeyspaceError, Millis};

use super::Shard;

/// Bytes of operations of a part, and parts of a step.
const PART_BYTES: usize = 64 * 1024;
const PARTS_AT_ONCE: usize = 4;

/// A collection of which the listener has some operations.
#[derive(Debug)]
pub struct WrittenAhead {
    collection: Held,
    /// The name that the listener has for it; 0 where its change brings all of it, `None` before the first part.
    name: Option<u64>,
    /// The next element; `None` behind the last.
    position: Option<u64>,
    /// Bytes of operations that the listener has.
    bytes: u64,
}

impl WrittenAhead {
    /// A collection of which the listener has nothing yet.
    #[must_use]
    pub fn new(collection: Collection) -> Self {
        Self {
            collection: Held::new(collection),
            name: None,
            position: Some(0),
            bytes: 0,
        }
    }

    /// The collection as it was.
    #[must_use]
    pub fn collection(&self) -> &Collection {
        &self.collection
    }
}

impl Shard {
    /// Gives the listener some more of a collection that will be the value of a key. True when it has all of it, false
    /// also where it can take nothing just now.
    ///
    /// # Errors
    /// The listener refuses the change.
    pub fn write_ahead(
        &mut self,
        ahead: &mut WrittenAhead,
        key: &[u8],
    ) -> Result<bool, KeyspaceError> {
        if let Err(error) = self.admit(key) {
            self.abandon_ahead(ahead);
            return Err(error);
        }
        let Some(listener) = self.journal.listener() else {
            return Ok(true);
        };
        let name = *ahead.name.get_or_insert_with(|| listener.name_draft(key));
        if name == 0 {
            return Ok(true);
        }
        for _ in 0..PARTS_AT_ONCE {
            let Some(position) = ahead.position else {
                break;
            };
            let mut part = Vec::new();
            let next = ahead.collection.write_from(position, PART_BYTES, &mut part);
            if listener.is_behind() || !listener.piece(name, ahead.bytes, &part) {
                return Ok(false);
            }
            ahead.bytes += part.len() as u64;
            ahead.position = next;
        }
        Ok(ahead.position.is_none())
    }

    /// Puts a collection of which the listener has all that it takes ahead. It keeps its pin until `pinned_until`.
    ///
    /// # Errors
    /// As [`Shard::make`].
    pub fn put_ahead(
        &mut self,
        ahead: &mut WrittenAhead,
        key: &Key<'_>,
        expire_at: Option<Millis>,
        pinned_until: Option<Millis>,
        now: Millis,
    ) -> Result<(), KeyspaceError> {
        let given = ahead.name.filter(|name| *name != 0);
        self.journal
            .set_written(given.map(|name| (name, ahead.bytes)));
        let effect = Effect::Put {
            kind: ahead.collection.kind(),
            value: Value::Tree(&ahead.collection),
            expire_at,
            pinned_until,
        };
        let outcome = self.make(key, &effect, now);
        self.journal.set_written(None);
        // Where its change has come, there is nothing to give up.
        self.abandon_ahead(ahead);
        outcome
    }

    fn abandon_ahead(&mut self, ahead: &mut WrittenAhead) {
        if let Some(listener) = self.journal.listener()
            && let Some(name) = ahead.name.take().filter(|name| *name != 0)
        {
            listener.abandon_pieces(name);
        }
    }
}
