//! Streams: entries by rising ids, in listpacks below a tree, and groups of consumers.
//!
//! ```text
//! operations   1 | id | pairs: length | field | value ...      appends an entry
//!              2 | id                                           deletes an entry
//!              3 | entries: length                              removes so many from the front
//!              4 | last id | entries added: u64 | largest deleted id
//!              5 | group | last id | entries read: u64, all ones for unknown
//!              6 | group                                        removes it
//!              7 | group | consumer | seen at: u64 | active at: u64, all ones for never
//!              8 | group | consumer                             removes it
//!              9 | group | consumer | id | delivered at: u64 | deliveries: u64
//!             10 | group | id                                   acknowledges an entry
//!             11 | entries: u64                                 those of the stream of which this is a part
//! ```
//! An id is two numbers of eight bytes; groups, consumers, fields and values stand behind their lengths. A stream lives
//! on without entries, and has no packed form.

mod group;
mod id;
mod node;
mod ops;
mod part;
#[cfg(test)]
mod tests;

pub use self::group::{Consumer, Group, Name, Pending};
pub use self::id::StreamId;
use self::node::NodeLimits;
pub use self::node::{StreamEntry, StreamNode};
pub use self::ops::StreamOps;
use self::ops::{Op, Pairs};
pub use self::part::StreamPart;
use super::map::Map;
use super::tree::{Tree, Wreckage, Wrecks};
use super::wire::Wire;
use super::{Elements, Fit, Packing};

/// A stream.
#[derive(Clone, Debug)]
pub struct Stream {
    nodes: Tree<StreamNode>,
    last_id: StreamId,
    entries_added: u64,
    max_deleted_id: StreamId,
    groups: Map<Name, Group>,
    /// Entries that the stream has of which this is a part.
    total: Option<u64>,
}

/// The side of a range from which entries are given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    Forward,
    Back,
}

/// The entries that a stream is trimmed to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trim {
    /// So many, the newest.
    Length(u64),
    /// Those from an id on.
    From(StreamId),
}

impl Stream {
    /// The number of entries.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.total.unwrap_or(self.nodes.len())
    }

    /// The id of the last entry that was appended.
    #[must_use]
    pub fn last_id(&self) -> StreamId {
        self.last_id
    }

    /// Entries that were ever appended.
    #[must_use]
    pub fn entries_added(&self) -> u64 {
        self.entries_added
    }

    /// The largest id of those that were deleted.
    #[must_use]
    pub fn max_deleted_id(&self) -> StreamId {
        self.max_deleted_id
    }

    /// The id of the first entry, zero without entries.
    #[must_use]
    pub fn first_id(&self) -> StreamId {
        let first = self
            .range(StreamId::MIN, StreamId::MAX, Direction::Forward)
            .next();
        first.map_or(StreamId::MIN, |entry| entry.id)
    }

    /// The nodes in which the entries lie.
    pub fn nodes(&self) -> impl Iterator<Item = &StreamNode> {
        self.nodes
            .walk_all()
            .map(|found| found.leaf)
            .filter(|node| !super::tree::Leaf::is_empty(*node))
    }

    /// The groups by name.
    #[must_use]
    pub fn groups(&self) -> &Map<Name, Group> {
        &self.groups
    }

    /// The group of a name.
    #[must_use]
    pub fn group(&self, name: &[u8]) -> Option<&Group> {
        self.groups.get(&Name::from(name))
    }

    /// The entries from one id up to another, both included.
    pub fn range(
        &self,
        start: StreamId,
        end: StreamId,
        direction: Direction,
    ) -> Box<dyn Iterator<Item = StreamEntry<'_>> + '_> {
        match direction {
            Direction::Forward => Box::new(
                self.nodes
                    .walk_from_key(&start)
                    .flat_map(|found| found.leaf.entries())
                    .skip_while(move |entry| entry.id < start)
                    .take_while(move |entry| entry.id <= end),
            ),
            Direction::Back => Box::new(
                self.nodes
                    .back_from_key(&end)
                    .flat_map(|found| found.leaf.entries_back())
                    .skip_while(move |entry| entry.id > end)
                    .take_while(move |entry| entry.id >= start),
            ),
        }
    }

    /// The entry of an id.
    #[must_use]
    pub fn get(&self, id: StreamId) -> Option<StreamEntry<'_>> {
        self.range(id, id, Direction::Forward).next()
    }

    /// Entries at the front that trimming removes. Where that is only about right, whole nodes are removed, and at
    /// most `limit` entries if there is one.
    #[must_use]
    pub fn excess(&self, trim: Trim, is_approximate: bool, limit: Option<u64>) -> u64 {
        if !is_approximate {
            return match trim {
                Trim::Length(length) => self.entries().saturating_sub(length),
                Trim::From(id) => self.entries_before(id),
            };
        }
        let mut removed = 0;
        for node in self.nodes() {
            let here = super::tree::Leaf::len(node) as u64;
            if limit.is_some_and(|limit| removed + here > limit) {
                break;
            }
            let goes = match trim {
                Trim::Length(length) => self.entries() - removed - here >= length,
                Trim::From(id) => node.entries_back().next().is_none_or(|last| last.id < id),
            };
            if !goes {
                break;
            }
            removed += here;
        }
        removed
    }

    fn entries_before(&self, id: StreamId) -> u64 {
        let found = self.nodes.find_by_key(&id);
        let inside = found.leaf.entries().take_while(|entry| entry.id < id);
        found.start + inside.count() as u64
    }

    /// The number that an entry had among all that were ever appended, where that can be told.
    #[must_use]
    pub fn number_of(&self, id: StreamId) -> Option<u64> {
        if self.entries_added == 0 {
            return Some(0);
        }
        if self.entries() == 0 && id <= self.last_id {
            return Some(self.entries_added);
        }
        match id.cmp(&self.last_id) {
            std::cmp::Ordering::Equal => return Some(self.entries_added),
            std::cmp::Ordering::Greater => return None,
            std::cmp::Ordering::Less => {}
        }
        let first = self.first_id();
        let is_whole = self.max_deleted_id == StreamId::MIN || self.max_deleted_id < first;
        let before = self.entries_added - self.entries();
        match id.cmp(&first) {
            std::cmp::Ordering::Less if is_whole => Some(before),
            std::cmp::Ordering::Equal if is_whole => Some(before + 1),
            _ => None,
        }
    }

    /// True where an entry from an id on may have been deleted.
    #[must_use]
    pub fn has_gaps_from(&self, start: StreamId) -> bool {
        self.entries() > 0
            && self.max_deleted_id != StreamId::MIN
            && self.first_id() <= self.max_deleted_id
            && start <= self.max_deleted_id
    }

    fn change(&mut self, op: Op<'_>, packing: &Packing) {
        match op {
            Op::Add { id, pairs } => self.add(id, pairs, packing),
            Op::Delete(id) => self.delete(id),
            Op::Trim(entries) => {
                self.nodes
                    .remove_range(0, entries, |node, from, to| node.delete_range(from, to));
            }
            Op::Set {
                last_id,
                entries_added,
                max_deleted_id,
            } => {
                self.last_id = last_id;
                self.entries_added = entries_added;
                self.max_deleted_id = max_deleted_id;
            }
            Op::Group {
                group,
                last_id,
                entries_read,
            } => {
                let known = self.groups.change(&Name::from(group), |group| {
                    group.last_id = last_id;
                    group.entries_read = entries_read;
                });
                if known.is_none() {
                    let made = Group::new(last_id, entries_read);
                    self.groups.insert(Name::from(group), made);
                }
            }
            Op::Total(entries) => self.total = Some(entries),
            Op::RemoveGroup(group) => {
                self.groups.remove(&Name::from(group));
            }
            Op::InGroup(group, op) => {
                self.groups
                    .change(&Name::from(group), |group| op.apply(group));
            }
        }
    }

    fn add(&mut self, id: StreamId, pairs: Pairs<'_>, packing: &Packing) {
        let limits = NodeLimits {
            bytes: packing.stream_node_bytes_max,
            entries: packing.stream_node_entries_max,
        };
        // An id that is not behind all others comes from no command: what it would overwrite stays.
        if !self.nodes.is_empty() && id <= self.last_id {
            return;
        }
        self.nodes
            .edit_by_position(u64::MAX, |node, _| node.push(id, pairs, limits));
        self.last_id = id;
        self.entries_added += 1;
    }

    fn delete(&mut self, id: StreamId) {
        if self.get(id).is_some() {
            self.nodes.edit_by_key(&id, |node| node.delete(id));
            self.max_deleted_id = self.max_deleted_id.max(id);
        }
    }
}

impl Elements for Stream {
    fn new(_: &Packing) -> Self {
        Self {
            nodes: Tree::default(),
            last_id: StreamId::MIN,
            entries_added: 0,
            max_deleted_id: StreamId::MIN,
            groups: Map::default(),
            total: None,
        }
    }

    fn check(ops: &[u8]) -> bool {
        let mut wire = Wire::new(ops);
        while !wire.is_empty() {
            if Op::read(&mut wire).is_none() {
                return false;
            }
        }
        true
    }

    fn len(&self) -> u64 {
        self.entries()
    }

    fn is_empty(&self) -> bool {
        false
    }

    fn heap_bytes(&self) -> u64 {
        size_of::<Self>() as u64 + self.nodes.heap_bytes() + self.groups.heap_bytes()
    }

    fn apply(&mut self, ops: &[u8], packing: &Packing) {
        let mut wire = Wire::new(ops);
        while let Some(op) = Op::read(&mut wire) {
            self.change(op, packing);
        }
    }

    fn apply_packed(_: &mut Vec<u8>, _: &[u8], _: &Packing) -> Fit {
        Fit::TooLarge
    }

    fn unpack(_: &[u8], packing: &Packing) -> Self {
        Self::new(packing)
    }

    /// The groups come with the last entries.
    fn write_from(&self, position: u64, bytes: usize, out: &mut Vec<u8>) -> Option<u64> {
        let end = out.len().saturating_add(bytes);
        for found in self.nodes.walk_from_position(position) {
            if super::tree::Leaf::is_empty(found.leaf) {
                continue;
            }
            if out.len() >= end {
                return Some(found.start);
            }
            let mut ops = StreamOps::new(out);
            for entry in found.leaf.entries() {
                ops.add_entry(&entry);
            }
        }
        let mut ops = StreamOps::new(out);
        ops.set(self.last_id, self.entries_added, self.max_deleted_id);
        for (name, group) in self.groups.iter() {
            ops.group(name, group.last_id, group.entries_read);
            for (consumer, state) in group.consumers.iter() {
                ops.consumer(name, consumer, state.seen_at, state.active_at);
            }
            for (id, pending) in group.pending.iter() {
                ops.deliver(name, *id, pending);
            }
        }
        None
    }

    fn into_wreck(self) -> Box<dyn Wreckage> {
        let groups = self.groups.into_wreck();
        Box::new(Wrecks::new(
            size_of::<Self>() as u64,
            vec![Box::new(self.nodes.into_wreck()), groups],
        ))
    }
}
