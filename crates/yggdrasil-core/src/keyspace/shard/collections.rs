//! Collections in a shard: how they change, and the trees of large ones on the owner's heap.

use std::collections::VecDeque;

use slab::Slab;

use crate::keyspace::bucket::{close, open};
use crate::keyspace::classes::footprint;
use crate::keyspace::collection::table::Table;
use crate::keyspace::collection::tree::Wreckage;
use crate::keyspace::collection::{Collection, Fit, Held, Packing};
use crate::keyspace::effect::Effect;
use crate::keyspace::entry::Header;
use crate::keyspace::journal::Cause;
use crate::keyspace::kind::{Encoding, Kind, Stored, Value};
use crate::keyspace::types::{Expiry, Key, KeyspaceError, Millis};

use super::change::Use;
use super::{Place, Shard};

/// Bytes that a change of a tree may take beside its operations: nodes that are split on its way.
const SPLIT_BYTES: u64 = 4096;

/// The collections that have trees, and the remains of former ones.
#[derive(Debug)]
pub(super) struct Trees {
    all: Slab<Collection>,
    wrecks: VecDeque<Box<dyn Wreckage>>,
    /// Remains of what was held beside its key.
    given_up: Vec<Box<dyn Wreckage>>,
    packing: Packing,
    /// Bytes of a packed collection while it is changed.
    scratch: Vec<u8>,
    /// Memory for the operations of the next change.
    pub(super) ops: Vec<u8>,
}

/// A collection that is to be stored.
enum Made {
    Packed(Vec<u8>),
    Tree(Collection),
}

/// The number of a tree, as the value of an entry.
type Root = [u8; 4];

impl Trees {
    /// None yet, for a shard with this seed.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            all: Slab::new(),
            wrecks: VecDeque::new(),
            given_up: Vec::new(),
            packing: Packing {
                seed,
                ..Packing::default()
            },
            scratch: Vec::new(),
            ops: Vec::new(),
        }
    }

    /// The collection of a root.
    pub(super) fn at(&self, root: &[u8]) -> Option<&Collection> {
        self.all.get(number(root)?)
    }
}

fn number(root: &[u8]) -> Option<usize> {
    let root: Root = root.try_into().ok()?;
    Some(u32::from_le_bytes(root) as usize)
}

impl Shard {
    /// How collections are packed.
    #[must_use]
    pub fn packing(&self) -> &Packing {
        &self.trees.packing
    }

    /// Changes how collections are packed from now on; the seed stays that of the shard.
    pub fn set_packing(&mut self, packing: Packing) {
        self.trees.packing = Packing {
            seed: self.shape.hash_seed,
            ..packing
        };
    }

    /// The collection of an entry that is a root.
    pub(super) fn tree_at(&self, at: u64, header: &Header) -> Option<&Collection> {
        if header.encoding() != Encoding::Tree {
            return None;
        }
        self.trees.at(self.value_bytes_at(at, header))
    }

    /// Third stage of a batch: the entry of a key is there; gives the table of its elements, where it has one.
    #[inline]
    #[must_use]
    pub fn table_of(&self, key: &Key<'_>) -> Option<&Table> {
        let place = self.locate(key)?;
        self.tree_at(place.at, &place.header)?.table()
    }

    fn value_bytes_at(&self, at: u64, header: &Header) -> &[u8] {
        let offset = at * 8 + header.value_offset();
        self.arena.mapping.slice(offset, header.value_bytes())
    }

    /// Bytes that an entry takes, its tree included.
    #[inline(always)]
    pub(super) fn weight(&self, at: u64, header: &Header) -> u64 {
        footprint(header.total_bytes()) + self.tree_bytes(at, header)
    }

    /// Bytes of the tree of an entry that has one.
    #[inline(always)]
    pub(super) fn tree_bytes(&self, at: u64, header: &Header) -> u64 {
        if header.encoding() != Encoding::Tree {
            return 0;
        }
        self.tree_at(at, header).map_or(0, Collection::heap_bytes)
    }

    /// Changes a collection by operations, which [`Elements::check`] holds for, and makes it where there is none. It
    /// is gone when no element is left.
    ///
    /// [`Elements::check`]: crate::keyspace::collection::Elements::check
    ///
    /// # Errors
    /// There is no memory or no room for the record, or the value is of another kind: nothing has changed then.
    pub fn change(
        &mut self,
        key: &Key<'_>,
        kind: Kind,
        ops: &[u8],
        now: Millis,
    ) -> Result<(), KeyspaceError> {
        debug_assert!(Collection::check(kind, ops), "{kind:?}: {ops:?}");
        self.reserve_record((key.bytes.len() + ops.len()) as u64)?;
        self.with_room(key, now, |shard| shard.try_change(key, kind, ops, now))
    }

    /// The same for operations that make a collection smaller, or hardly larger: memory does not refuse them.
    ///
    /// # Errors
    /// There is no room for the record, or the value is of another kind.
    pub fn reduce(
        &mut self,
        key: &Key<'_>,
        kind: Kind,
        ops: &[u8],
        now: Millis,
    ) -> Result<(), KeyspaceError> {
        self.reserve_record((key.bytes.len() + ops.len()) as u64)?;
        let limit = std::mem::replace(&mut self.arena.limit, u64::MAX);
        let outcome = self.try_change(key, kind, ops, now);
        self.arena.limit = limit;
        outcome
    }

    /// The same for one of the steps of a removal that has begun: nothing refuses it, so that all of it is made. Room for
    /// the records of all steps was reserved before the first.
    ///
    /// # Errors
    /// The value is of another kind.
    pub fn go_on_reducing(
        &mut self,
        key: &Key<'_>,
        kind: Kind,
        ops: &[u8],
        now: Millis,
    ) -> Result<(), KeyspaceError> {
        self.without_limit(|shard| shard.reduce(key, kind, ops, now))
    }

    pub(super) fn try_change(
        &mut self,
        key: &Key<'_>,
        kind: Kind,
        ops: &[u8],
        now: Millis,
    ) -> Result<(), KeyspaceError> {
        let Some((place, header)) = self.locate_live(key, now) else {
            let Some(made) = self.make_of(kind, ops) else {
                return Ok(());
            };
            let said = Effect::Delta {
                kind,
                is_new: true,
                ops,
            };
            self.store_made(key, kind, made, Expiry::Clear, &said, now)?;
            if kind == Kind::Hash {
                self.note_fields_of_ops(key, ops);
            }
            return Ok(());
        };
        if header.kind() != Some(kind) {
            return Err(KeyspaceError::WrongKind);
        }
        match header.encoding() {
            Encoding::Raw => self.change_packed(key, &place, kind, ops, now)?,
            Encoding::Tree => {
                if !ops.is_empty() || !self.pack_again(key, &place, kind, ops, now) {
                    self.change_tree(key, &place, kind, ops, now, Use::Counts)?;
                }
                return Ok(());
            }
            Encoding::Int | Encoding::Absent => return Err(KeyspaceError::WrongKind),
        }
        if kind == Kind::Hash {
            self.note_fields_of_ops(key, ops);
        }
        Ok(())
    }

    fn change_packed(
        &mut self,
        key: &Key<'_>,
        place: &Place,
        kind: Kind,
        ops: &[u8],
        now: Millis,
    ) -> Result<(), KeyspaceError> {
        let said = Effect::Delta {
            kind,
            is_new: false,
            ops,
        };
        let mut packed = std::mem::take(&mut self.trees.scratch);
        packed.clear();
        packed.extend_from_slice(self.value_bytes_at(place.at, &place.header));
        let packing = self.trees.packing;
        let outcome = match Collection::apply_packed(kind, &mut packed, ops, &packing) {
            Fit::Packed if packed.is_empty() => {
                self.remove_emptied(key, place, &said);
                Ok(())
            }
            Fit::Packed => {
                let stored = Stored {
                    kind,
                    encoding: Encoding::Raw,
                    bytes: &packed,
                    said: Some(&said),
                };
                self.try_set(key, stored, Expiry::Keep, now).map(drop)
            }
            Fit::TooLarge => {
                let bytes = self.value_bytes_at(place.at, &place.header);
                match Collection::unpack(kind, bytes, &packing) {
                    Some(mut tree) => {
                        tree.apply(ops, &packing);
                        if tree.is_empty() {
                            self.remove_emptied(key, place, &said);
                            Ok(())
                        } else {
                            self.store_made(key, kind, Made::Tree(tree), Expiry::Keep, &said, now)
                                .map(drop)
                        }
                    }
                    None => Err(KeyspaceError::WrongKind),
                }
            }
        };
        self.trees.scratch = packed;
        outcome
    }

    /// Changes a tree. Gives the number of its elements.
    pub(super) fn change_tree(
        &mut self,
        key: &Key<'_>,
        place: &Place,
        kind: Kind,
        ops: &[u8],
        now: Millis,
        counts: Use,
    ) -> Result<u64, KeyspaceError> {
        let header = &place.header;
        let needed = 2 * ops.len() as u64 + SPLIT_BYTES;
        self.check_heap(needed)?;
        if header.is_pinned() {
            self.pins.room().check(&[(key.bytes, ops.len() as u64)])?;
        }
        let effect = || Effect::Delta {
            kind,
            is_new: false,
            ops,
        };
        let number = self.commit(key, header.value_bytes(), effect);
        let root = number_of_root(self.value_bytes_at(place.at, header));
        let Trees { all, packing, .. } = &mut self.trees;
        let tree = &mut all[root];
        let bytes_before = tree.heap_bytes();
        tree.apply(ops, packing);
        let (len, is_empty) = (tree.len(), tree.is_empty());
        let has_times = tree.has_times();
        let bytes_after = tree.heap_bytes();
        self.count_tree_bytes(bytes_before, bytes_after);
        let access = match counts {
            Use::Counts => self.eviction.used(place, key.hash, now, bytes_before),
            Use::Counted => header.access(),
        };
        let own = footprint(header.total_bytes());
        let (before, after) = (own + bytes_before, own + bytes_after);
        self.eviction.resized(access, before, after);
        self.note_pinned_weight(key, place, after);
        if is_empty {
            self.discard(place);
            return Ok(0);
        }
        if has_times {
            self.note_fields_of_ops(key, ops);
        }
        let new = header.changed(number, header.has_expiry());
        open(&mut self.arena.mapping, place.home);
        self.arena.mapping.store(place.at, new.word0);
        self.arena
            .mapping
            .store(place.at + 1, new.with_access(access));
        close(&mut self.arena.mapping, place.home);
        if kind == Kind::List && !self.is_follower {
            self.pack_again(key, place, kind, ops, now);
        }
        Ok(len)
    }

    /// Packs a tree that operations have made small, as a change of its own that has no operations: whoever follows does
    /// the same then. False where it stays a tree.
    #[inline]
    fn pack_again(
        &mut self,
        key: &Key<'_>,
        place: &Place,
        kind: Kind,
        ops: &[u8],
        now: Millis,
    ) -> bool {
        let tree = self.trees.at(self.value_bytes_at(place.at, &place.header));
        let packed = tree.and_then(|tree| tree.packed_again(ops, &self.trees.packing));
        let Some(packed) = packed.map(<[u8]>::to_vec) else {
            return false;
        };
        self.store_again(key, kind, &packed, now)
    }

    #[cold]
    fn store_again(&mut self, key: &Key<'_>, kind: Kind, packed: &[u8], now: Millis) -> bool {
        let said = Effect::Delta {
            kind,
            is_new: false,
            ops: &[],
        };
        let stored = Stored {
            kind,
            encoding: Encoding::Raw,
            bytes: packed,
            said: Some(&said),
        };
        self.reserve_record(key.bytes.len() as u64)
            .and_then(|()| self.try_set(key, stored, Expiry::Keep, now))
            .is_ok()
    }

    /// Removes an entry whose collection a change leaves empty.
    fn remove_emptied(&mut self, key: &Key<'_>, place: &Place, said: &Effect<'_>) {
        let subject = self.subject(key, 0);
        self.commit_as(&subject, said, Cause::Asked);
        self.discard(place);
    }

    /// The collection that operations make; `None` without elements.
    fn make_of(&self, kind: Kind, ops: &[u8]) -> Option<Made> {
        let packing = &self.trees.packing;
        let mut packed = Vec::new();
        match Collection::apply_packed(kind, &mut packed, ops, packing) {
            Fit::Packed => (!packed.is_empty()).then_some(Made::Packed(packed)),
            Fit::TooLarge => Collection::written(kind, ops, packing)
                .filter(|tree| !tree.is_empty())
                .map(Made::Tree),
        }
    }

    /// Stores a collection in place of whatever is there. Tells whether a live entry was there before.
    fn store_made(
        &mut self,
        key: &Key<'_>,
        kind: Kind,
        made: Made,
        expiry: Expiry,
        said: &Effect<'_>,
        now: Millis,
    ) -> Result<bool, KeyspaceError> {
        match made {
            Made::Packed(bytes) => {
                let stored = Stored {
                    kind,
                    encoding: Encoding::Raw,
                    bytes: &bytes,
                    said: Some(said),
                };
                self.try_set(key, stored, expiry, now)
            }
            Made::Tree(tree) => {
                let bytes = tree.heap_bytes();
                self.check_heap(bytes)?;
                let root = self.trees.all.insert(tree);
                let stored = Stored {
                    kind,
                    encoding: Encoding::Tree,
                    bytes: &(root as u32).to_le_bytes(),
                    said: Some(said),
                };
                let existed = match self.try_set(key, stored, expiry, now) {
                    Ok(existed) => existed,
                    Err(error) => {
                        self.trees.all.remove(root);
                        return Err(error);
                    }
                };
                self.count_tree_bytes(0, bytes);
                if let Some(place) = self.locate(key) {
                    let after = self.weight(place.at, &place.header);
                    let access = place.header.access();
                    self.eviction.resized(access, after - bytes, after);
                    self.note_pinned_weight(key, &place, after);
                }
                Ok(existed)
            }
        }
    }

    /// Stores a collection that is given as a tree or written. One without elements removes the key.
    pub(super) fn put_collection(
        &mut self,
        key: &Key<'_>,
        kind: Kind,
        value: Value<'_>,
        expiry: Expiry,
        now: Millis,
    ) -> Result<bool, KeyspaceError> {
        let mut written = Vec::new();
        let made = match value {
            Value::Tree(tree) => {
                if self.journal.has_listener() && !self.journal.has_written() {
                    tree.write(&mut written);
                }
                Some(Made::Tree(tree.clone()))
            }
            Value::Written(ops) => {
                written.extend_from_slice(ops);
                self.make_of(kind, ops)
            }
            _ => None,
        };
        let Some(made) = made else {
            return Ok(self.remove(key, now));
        };
        self.reserve_record((key.bytes.len() + written.len()) as u64)?;
        let expire_at = match expiry {
            Expiry::At(at) => Some(at),
            Expiry::Clear => None,
            Expiry::Keep => self.look(key, now).and_then(|entry| entry.expire_at),
        };
        let mut made = Some(made);
        self.with_room(key, now, |shard| {
            let said = Effect::Put {
                kind,
                value: Value::Written(&written),
                expire_at,
                pinned_until: None,
            };
            let again = match &made {
                Some(Made::Packed(bytes)) => Made::Packed(bytes.clone()),
                Some(Made::Tree(tree)) => Made::Tree(tree.clone()),
                None => return Ok(false),
            };
            let stored = shard.store_made(key, kind, again, expiry, &said, now)?;
            made = None;
            Ok(stored)
        })
    }

    /// Takes the tree of an entry that is about to go, or gets another value.
    #[inline(always)]
    pub(super) fn drop_tree(&mut self, at: u64, header: &Header) {
        if header.encoding() == Encoding::Tree {
            self.wreck(at, header);
        }
    }

    #[cold]
    fn wreck(&mut self, at: u64, header: &Header) {
        let root = number(self.value_bytes_at(at, header));
        let tree = root.and_then(|root| self.trees.all.try_remove(root));
        if let Some(tree) = tree {
            self.trees.wrecks.push_back(tree.into_wreck());
        }
    }

    /// True while remains of trees take memory.
    pub(super) fn has_wrecks(&self) -> bool {
        !self.trees.wrecks.is_empty()
    }

    /// Frees about `budget` nodes of trees that are gone. Returns what is left of the budget.
    pub(super) fn free_wrecks(&mut self, budget: usize) -> usize {
        self.trees.given_up.extend(Held::take_given_up());
        let mut left = budget;
        while left > 0
            && let Some(wreck) = self.trees.wrecks.front_mut()
        {
            let (bytes, rest) = wreck.free(left);
            self.arena.tree_bytes -= bytes;
            left = rest;
            if left > 0 {
                self.trees.wrecks.pop_front();
                left -= 1;
            }
        }
        // What was held beside its key is not counted.
        while left > 0
            && let Some(wreck) = self.trees.given_up.last_mut()
        {
            (_, left) = wreck.free(left);
            if left > 0 {
                self.trees.given_up.pop();
                left -= 1;
            }
        }
        left
    }

    fn check_heap(&self, bytes: u64) -> Result<(), KeyspaceError> {
        let (limit, used) = (self.arena.limit, self.arena.needed());
        if used.saturating_add(bytes) <= limit {
            return Ok(());
        }
        Err(KeyspaceError::OutOfMemory {
            needed: bytes,
            limit,
            used,
        })
    }

    fn count_tree_bytes(&mut self, before: u64, after: u64) {
        self.arena.tree_bytes = self.arena.tree_bytes + after - before;
        self.arena.note_peak();
    }

    /// Checks that each tree is the value of one entry, and that their bytes are counted.
    pub(super) fn check_trees(&self, refs: &[u64]) {
        let mut roots: Vec<usize> = refs
            .iter()
            .map(|at| (*at, self.header(*at)))
            .filter(|(_, header)| header.encoding() == Encoding::Tree)
            .map(|(at, header)| number_of_root(self.value_bytes_at(at, &header)))
            .collect();
        roots.sort_unstable();
        let known: Vec<usize> = self.trees.all.iter().map(|(root, _)| root).collect();
        assert_eq!(roots, known, "each tree belongs to one entry");
        if self.trees.wrecks.is_empty() {
            let bytes = self.trees.all.iter().map(|(_, tree)| tree.heap_bytes());
            assert_eq!(bytes.sum::<u64>(), self.arena.tree_bytes);
        }
        assert!(self.trees.all.iter().all(|(_, tree)| !tree.is_empty()));
    }
}

/// The number of the tree of an entry that has one.
fn number_of_root(root: &[u8]) -> usize {
    number(root).expect("the value of a root is the number of its tree")
}
