//! Consumer groups of a stream.

use std::sync::Arc;

use crate::keyspace::collection::map::{Map, MapKey, MapValue};

use super::id::StreamId;

/// The name of a group or a consumer.
pub type Name = Arc<[u8]>;

/// Bytes that a shared name takes beside its contents.
const NAME_BYTES: usize = 32;

impl MapKey for Name {
    fn heap_bytes(&self) -> usize {
        self.len() + NAME_BYTES
    }
}

/// A group of consumers who share the entries of a stream.
#[derive(Clone, Debug)]
pub struct Group {
    /// The last entry that any consumer got.
    pub last_id: StreamId,
    /// Entries that the group has read of all that the stream ever had, where that is known.
    pub entries_read: Option<u64>,
    /// Entries that were delivered and not acknowledged.
    pub pending: Map<StreamId, Pending>,
    pub consumers: Map<Name, Consumer>,
}

/// A consumer of a group.
#[derive(Clone, Debug)]
pub struct Consumer {
    /// The time of its last attempt to get entries, in Unix milliseconds.
    pub seen_at: u64,
    /// The time at which it last got some, if ever.
    pub active_at: Option<u64>,
    /// Its part of the pending entries.
    pub pending: Map<StreamId, ()>,
}

/// An entry that waits for its acknowledgement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pending {
    pub consumer: Name,
    /// Unix milliseconds of the last delivery.
    pub delivered_at: u64,
    pub deliveries: u64,
}

impl MapValue for () {}

impl MapValue for Pending {}

impl MapValue for Consumer {
    fn heap_bytes(&self) -> usize {
        self.pending.heap_bytes() as usize
    }
}

impl MapValue for Group {
    fn heap_bytes(&self) -> usize {
        (self.pending.heap_bytes() + self.consumers.heap_bytes()) as usize
    }
}

impl Group {
    pub(super) fn new(last_id: StreamId, entries_read: Option<u64>) -> Self {
        Self {
            last_id,
            entries_read,
            pending: Map::default(),
            consumers: Map::default(),
        }
    }

    /// Makes a consumer, or notes when it was seen and active.
    pub(super) fn set_consumer(&mut self, name: &[u8], seen_at: u64, active_at: Option<u64>) {
        let name = Name::from(name);
        let known = self.consumers.change(&name, |consumer| {
            consumer.seen_at = seen_at;
            consumer.active_at = active_at;
        });
        if known.is_none() {
            let consumer = Consumer {
                seen_at,
                active_at,
                pending: Map::default(),
            };
            self.consumers.insert(name, consumer);
        }
    }

    /// Removes a consumer with its pending entries.
    pub(super) fn remove_consumer(&mut self, name: &[u8]) {
        if let Some(consumer) = self.consumers.remove(&Name::from(name)) {
            for (id, ()) in consumer.pending.iter() {
                self.pending.remove(id);
            }
        }
    }

    /// Makes an entry pending for a consumer that is there, in place of whoever had it.
    pub(super) fn deliver(&mut self, id: StreamId, mut pending: Pending) {
        // The name is that of the consumer, not a copy of it.
        let found = self.consumers.iter_from(&pending.consumer).next();
        let Some((name, _)) = found.filter(|(name, _)| **name == pending.consumer) else {
            return;
        };
        pending.consumer = Arc::clone(name);
        let consumer = Arc::clone(name);
        if let Some(before) = self.pending.insert(id, pending)
            && before.consumer != consumer
        {
            self.consumers
                .change(&before.consumer, |consumer| consumer.pending.remove(&id));
        }
        self.consumers
            .change(&consumer, |consumer| consumer.pending.insert(id, ()));
    }

    /// Takes an entry from what is pending.
    pub(super) fn acknowledge(&mut self, id: StreamId) {
        if let Some(pending) = self.pending.remove(&id) {
            self.consumers
                .change(&pending.consumer, |consumer| consumer.pending.remove(&id));
        }
    }
}
