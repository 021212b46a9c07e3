//! A table from members to what belongs to each, under large sets and hashes, and beside the order of sorted sets.
//!
//! The members stand in the order of their hashes. So a cursor is a hash to go on from, and a walk by cursors visits
//! whatever is there all the time, however much comes and goes meanwhile.

mod ahead;
mod bucket;
#[cfg(test)]
mod tests;

use xxhash_rust::xxh3::xxh3_64_with_seed;

pub use self::ahead::Ahead;
use self::bucket::Bucket;
use super::tree::{Tree, Wreckage};

/// A member and what belongs to it.
pub type Row<'a> = (&'a [u8], &'a [u8]);

/// The table.
#[derive(Clone, Debug)]
pub struct Table {
    tree: Tree<Bucket>,
    seed: u64,
}

/// The hash that gives a member its place.
fn hash_of(seed: u64, member: &[u8]) -> u32 {
    (xxh3_64_with_seed(member, seed) >> 32) as u32
}

impl Table {
    /// An empty table, whose order depends on a seed that clients do not know.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            tree: Tree::default(),
            seed,
        }
    }

    /// The number of members.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.tree.len()
    }

    /// True without members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tree.is_empty()
    }

    /// Bytes on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> u64 {
        self.tree.heap_bytes()
    }

    /// The value of a member.
    #[must_use]
    pub fn get(&self, member: &[u8]) -> Option<&[u8]> {
        let hash = hash_of(self.seed, member);
        self.tree.leaf_of(&hash).get(hash, member)
    }

    /// True when a member is there.
    #[must_use]
    pub fn contains(&self, member: &[u8]) -> bool {
        self.get(member).is_some()
    }

    /// Gives a member a value. True for a member that was not there.
    pub fn insert(&mut self, member: &[u8], value: &[u8]) -> bool {
        self.insert_parts(member, &[value])
    }

    /// The same with a value whose parts lie in several places.
    pub fn insert_parts(&mut self, member: &[u8], parts: &[&[u8]]) -> bool {
        self.replace(member, parts, |before| before.is_none())
    }

    /// The same; `see` sees the value that the member had.
    pub fn replace<R>(
        &mut self,
        member: &[u8],
        parts: &[&[u8]],
        see: impl FnOnce(Option<&[u8]>) -> R,
    ) -> R {
        let hash = hash_of(self.seed, member);
        self.tree
            .edit_by_key(&hash, |bucket| bucket.insert(hash, member, parts, see))
    }

    /// Removes a member. False for one that was not there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        let hash = hash_of(self.seed, member);
        self.tree
            .edit_by_key(&hash, |bucket| bucket.remove(hash, member))
    }

    /// The member at a position.
    #[must_use]
    pub fn at(&self, position: u64) -> Option<Row<'_>> {
        let found = self.tree.find_by_position(position);
        let inside = position.checked_sub(found.start)?;
        found.leaf.row(inside as usize)
    }

    /// All members, in the order of their hashes.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.tree.walk_all().flat_map(|found| found.leaf.rows())
    }

    /// The members from a position on.
    pub fn rows_from(&self, position: u64) -> impl Iterator<Item = Row<'_>> {
        let mut leaves = self.tree.walk_from_position(position);
        let first = leaves.next();
        let inside = first.as_ref().map_or(0, |found| position - found.start);
        let first = first.into_iter().flat_map(|found| found.leaf.rows());
        first
            .skip(inside as usize)
            .chain(leaves.flat_map(|found| found.leaf.rows()))
    }

    /// Visits all members, in the order of their hashes.
    #[inline]
    pub fn visit(&self, mut visit: impl FnMut(Row<'_>)) {
        for found in self.tree.walk_all() {
            found.leaf.rows().for_each(&mut visit);
        }
    }

    /// Visits about `count` members from a cursor on. Returns the next cursor; 0 begins and ends.
    pub fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(Row<'_>)) -> u64 {
        let Ok(from) = u32::try_from(cursor) else {
            return 0;
        };
        let mut visited = 0;
        let mut last = None;
        for found in self.tree.walk_from_key(&from) {
            for (hash, row) in found.leaf.hashed_rows() {
                if hash < from {
                    continue;
                }
                // Members of one hash are visited together: no cursor stands between them.
                if visited >= count && last != Some(hash) {
                    return u64::from(hash);
                }
                visit(row);
                visited += 1;
                last = Some(hash);
            }
        }
        0
    }

    /// Gives the table up, to be freed in steps.
    #[must_use]
    pub fn into_wreck(self) -> Box<dyn Wreckage> {
        Box::new(self.tree.into_wreck())
    }
}
