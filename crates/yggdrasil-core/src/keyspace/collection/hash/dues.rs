//! The fields of a large hash that expire, in the order of their times.

use crate::keyspace::collection::tree::{Leaf, Tree, Wreckage};
use crate::keyspace::types::Millis;

/// Fields of a leaf at most.
const ROWS_MAX: usize = 64;
/// Bytes that a heap block takes beside its contents.
const BLOCK_BYTES: usize = 16;

/// A field, by the time when it expires.
type Due = (Millis, Box<[u8]>);

#[derive(Clone, Debug, Default)]
struct Times {
    rows: Vec<Due>,
    /// Bytes of the names.
    bytes: usize,
}

impl Times {
    fn of(rows: Vec<Due>) -> Self {
        let bytes = rows.iter().map(|(_, field)| field.len() + BLOCK_BYTES);
        Self {
            bytes: bytes.sum(),
            rows,
        }
    }
}

impl Leaf for Times {
    type Key = Due;

    fn len(&self) -> usize {
        self.rows.len()
    }

    fn heap_bytes(&self) -> usize {
        let rows = self.rows.capacity() * size_of::<Due>();
        size_of::<Self>() + rows + BLOCK_BYTES + self.bytes
    }

    fn first_key(&self) -> Due {
        self.rows.first().cloned().unwrap_or_default()
    }

    fn split(&mut self) -> Option<Self> {
        if self.rows.len() <= ROWS_MAX {
            return None;
        }
        let upper = self.rows.split_off(self.rows.len() / 2);
        *self = Self::of(std::mem::take(&mut self.rows));
        Some(Self::of(upper))
    }

    fn is_small(&self) -> bool {
        self.rows.len() < ROWS_MAX / 2
    }

    fn absorb(&mut self, next: &Self) -> bool {
        if self.rows.len() + next.rows.len() > ROWS_MAX / 2 {
            return false;
        }
        self.rows.extend_from_slice(&next.rows);
        self.bytes += next.bytes;
        true
    }
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Dues {
    tree: Option<Tree<Times>>,
}

impl Dues {
    pub(super) fn is_empty(&self) -> bool {
        self.tree.as_ref().is_none_or(Tree::is_empty)
    }

    pub(super) fn heap_bytes(&self) -> u64 {
        self.tree.as_ref().map_or(0, Tree::heap_bytes)
    }

    pub(super) fn add(&mut self, at: Millis, field: &[u8]) {
        let due: Due = (at, field.into());
        let tree = self.tree.get_or_insert_default();
        tree.edit_by_key(&due, |times| {
            if let Err(place) = times.rows.binary_search(&due) {
                times.bytes += field.len() + BLOCK_BYTES;
                times.rows.insert(place, due.clone());
            }
        });
    }

    pub(super) fn remove(&mut self, at: Millis, field: &[u8]) {
        let due: Due = (at, field.into());
        let Some(tree) = &mut self.tree else {
            return;
        };
        tree.edit_by_key(&due, |times| {
            if let Ok(place) = times.rows.binary_search(&due) {
                times.rows.remove(place);
                times.bytes -= field.len() + BLOCK_BYTES;
            }
        });
        if tree.is_empty() {
            self.tree = None;
        }
    }

    /// The earliest time.
    pub(super) fn first(&self) -> Option<Millis> {
        self.until(Millis::MAX).next().map(|(at, _)| at)
    }

    /// Fields and their times, up to one that belongs to it.
    pub(super) fn until(&self, last: Millis) -> impl Iterator<Item = (Millis, &[u8])> {
        let leaves = self.tree.iter().flat_map(Tree::walk_all);
        let rows = leaves.flat_map(|found| found.leaf.rows.iter());
        rows.map(|(at, field)| (*at, &**field))
            .take_while(move |(at, _)| *at <= last)
    }

    pub(super) fn into_wreck(self) -> Option<Box<dyn Wreckage>> {
        let tree = self.tree?;
        Some(Box::new(tree.into_wreck()))
    }
}
