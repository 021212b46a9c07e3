//! Changes of collections that were looked at before: their entries are not looked for again.

use crate::keyspace::collection::Collection;
use crate::keyspace::kind::{Encoding, Kind};
use crate::keyspace::types::{Key, KeyspaceError, Millis};

use super::{Place, Shard};

/// The place of an entry that was used, as long as nothing is changed.
#[derive(Clone, Copy, Debug)]
pub struct EntryPlace {
    place: Place,
    /// The number of the last change by then.
    number: u64,
}

impl EntryPlace {
    pub(super) fn new(place: Place, number: u64) -> Self {
        Self { place, number }
    }
}

/// Whether a change counts as a use of its entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Use {
    Counts,
    /// It was counted when the entry was found.
    Counted,
}

/// Memory for operations up to this size is kept.
const KEPT_OPS_BYTES: usize = 4096;

impl Shard {
    /// An empty buffer for operations on a collection, with room for so many bytes.
    #[inline]
    #[must_use]
    pub fn take_ops(&mut self, bytes: usize) -> Vec<u8> {
        let mut ops = std::mem::take(&mut self.trees.ops);
        ops.reserve(bytes);
        ops
    }

    /// Keeps the memory of operations that have been made for the next ones.
    #[inline]
    pub fn keep_ops(&mut self, mut ops: Vec<u8>) {
        if ops.capacity() <= KEPT_OPS_BYTES {
            ops.clear();
            self.trees.ops = ops;
        }
    }

    /// Changes a collection as [`Shard::change`] does, whose entry was used just before. Gives the number of its elements
    /// where it is not packed.
    ///
    /// # Errors
    /// There is no memory or no room for the record, or the value is of another kind: nothing has changed then.
    pub fn change_at(
        &mut self,
        at: Option<EntryPlace>,
        key: &Key<'_>,
        kind: Kind,
        ops: &[u8],
        now: Millis,
    ) -> Result<Option<u64>, KeyspaceError> {
        let Some(place) = self.tree_place(at, key, kind) else {
            return self.change(key, kind, ops, now).map(|()| None);
        };
        debug_assert!(Collection::check(kind, ops), "{kind:?}: {ops:?}");
        self.reserve_record((key.bytes.len() + ops.len()) as u64)?;
        match self.change_tree(key, &place, kind, ops, now, Use::Counted) {
            Err(KeyspaceError::OutOfMemory { needed, .. }) => {
                let change = |shard: &mut Self| shard.try_change(key, kind, ops, now);
                self.make_room(key, now, needed, change).map(|()| None)
            }
            done => done.map(Some),
        }
    }

    /// Makes a collection smaller as [`Shard::reduce`] does, whose entry was used just before.
    ///
    /// # Errors
    /// There is no room for the record, or the value is of another kind.
    pub fn reduce_at(
        &mut self,
        at: Option<EntryPlace>,
        key: &Key<'_>,
        kind: Kind,
        ops: &[u8],
        now: Millis,
    ) -> Result<(), KeyspaceError> {
        let Some(place) = self.tree_place(at, key, kind) else {
            return self.reduce(key, kind, ops, now);
        };
        self.reserve_record((key.bytes.len() + ops.len()) as u64)?;
        let limit = std::mem::replace(&mut self.arena.limit, u64::MAX);
        let outcome = self.change_tree(key, &place, kind, ops, now, Use::Counted);
        self.arena.limit = limit;
        outcome.map(drop)
    }

    /// The place, where it still is that of a tree of a kind.
    #[inline]
    fn tree_place(&self, at: Option<EntryPlace>, key: &Key<'_>, kind: Kind) -> Option<Place> {
        let EntryPlace { place, number } = at?;
        let header = &place.header;
        let holds = number == self.journal.number()
            && header.encoding() == Encoding::Tree
            && header.kind() == Some(kind);
        debug_assert!(
            !holds || self.locate(key).map(|place| place.at) == Some(place.at),
            "an entry stays where it is while nothing is changed"
        );
        holds.then_some(place)
    }
}
