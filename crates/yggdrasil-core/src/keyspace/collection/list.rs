//! Lists: packed as a listpack, and as a tree of listpacks by position.
//!
//! ```text
//! operations   1 | element                   puts it before the first
//!              2 | element                   puts it behind the last
//!              3 | count                     removes so many first ones
//!              4 | count                     removes so many last ones
//!              5 | position | element        puts it in the place of another one
//!              6 | position | element        puts it before another one, or behind the last
//!              7 | position | count          removes so many from there on
//!              8 | listpack                  puts its elements behind the last
//! ```
//! An element of more bytes than a node may have is a leaf of its own, as it is.

mod leaf;
#[cfg(test)]
mod tests;
mod view;

use self::leaf::{ListLeaf, Part};
pub use self::view::{ListView, Node};
use super::listpack::{Element, Listpack, ListpackBuf};
use super::tree::{Tree, Wreckage};
use super::wire::{Wire, put_bytes, put_length};
use super::{Elements, Fit, ListNode, Packing};

const PUSH_FRONT: u8 = 1;
const PUSH_BACK: u8 = 2;
const POP_FRONT: u8 = 3;
const POP_BACK: u8 = 4;
const SET: u8 = 5;
const INSERT: u8 = 6;
const REMOVE: u8 = 7;
const APPEND: u8 = 8;

/// An end of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    Front,
    Back,
}

/// Appends the operation that puts an element at an end.
pub fn put_push(ops: &mut Vec<u8>, side: Side, element: &[u8]) {
    ops.push(match side {
        Side::Front => PUSH_FRONT,
        Side::Back => PUSH_BACK,
    });
    put_bytes(ops, element);
}

/// Appends the operation that removes elements at an end.
pub fn put_pop(ops: &mut Vec<u8>, side: Side, count: u64) {
    ops.push(match side {
        Side::Front => POP_FRONT,
        Side::Back => POP_BACK,
    });
    put_length(ops, count as usize);
}

/// Appends the operation that puts an element in the place of another one.
pub fn put_set(ops: &mut Vec<u8>, position: u64, element: &[u8]) {
    ops.push(SET);
    put_length(ops, position as usize);
    put_bytes(ops, element);
}

/// Appends the operation that puts an element before another one.
pub fn put_insert(ops: &mut Vec<u8>, position: u64, element: &[u8]) {
    ops.push(INSERT);
    put_length(ops, position as usize);
    put_bytes(ops, element);
}

/// Appends the operation that removes elements from a position on.
pub fn put_remove(ops: &mut Vec<u8>, position: u64, count: u64) {
    ops.push(REMOVE);
    put_length(ops, position as usize);
    put_length(ops, count as usize);
}

/// Appends the operation that puts the elements of a listpack behind the last.
pub fn put_append(ops: &mut Vec<u8>, pack: Listpack<'_>) {
    ops.push(APPEND);
    put_bytes(ops, pack.bytes());
}

/// An operation.
#[derive(Clone, Copy)]
enum Op<'a> {
    Push(Side, &'a [u8]),
    Pop(Side, u64),
    Set(u64, &'a [u8]),
    Insert(u64, &'a [u8]),
    Remove(u64, u64),
    Append(Listpack<'a>),
}

impl Op<'_> {
    /// Bytes that it adds, as Redis counts them before it decides upon the form.
    fn added_bytes(self) -> usize {
        match self {
            Self::Push(_, element) | Self::Set(_, element) | Self::Insert(_, element) => {
                element.len()
            }
            Self::Append(pack) => pack.bytes().len() - super::listpack::EMPTY_BYTES,
            Self::Pop(..) | Self::Remove(..) => 0,
        }
    }

    /// Elements that it adds.
    fn added_len(self) -> usize {
        match self {
            Self::Push(..) | Self::Set(..) | Self::Insert(..) => 1,
            Self::Append(pack) => pack.len(),
            Self::Pop(..) | Self::Remove(..) => 0,
        }
    }
}

fn next_op<'a>(wire: &mut Wire<'a>) -> Option<Op<'a>> {
    let tag = wire.byte()?;
    let number = |wire: &mut Wire<'a>| wire.length().map(|number| number as u64);
    Some(match tag {
        PUSH_FRONT => Op::Push(Side::Front, wire.bytes()?),
        PUSH_BACK => Op::Push(Side::Back, wire.bytes()?),
        POP_FRONT => Op::Pop(Side::Front, number(wire)?),
        POP_BACK => Op::Pop(Side::Back, number(wire)?),
        SET => Op::Set(number(wire)?, wire.bytes()?),
        INSERT => Op::Insert(number(wire)?, wire.bytes()?),
        REMOVE => Op::Remove(number(wire)?, number(wire)?),
        APPEND => Op::Append(Listpack::trusted(wire.bytes()?)),
        _ => return None,
    })
}

fn ops_of(ops: &[u8]) -> impl Iterator<Item = Op<'_>> {
    let mut wire = Wire::new(ops);
    std::iter::from_fn(move || next_op(&mut wire))
}

/// A list that is not packed.
#[derive(Clone, Debug)]
pub struct List {
    tree: Tree<ListLeaf>,
    /// The limit of a node when the list was changed last.
    limit: ListNode,
}

/// Equality of the elements, whatever the nodes are.
impl PartialEq for List {
    fn eq(&self, other: &Self) -> bool {
        let (one, other) = (ListView::Tree(self), ListView::Tree(other));
        one.len() == other.len() && one.from(0).eq(other.from(0))
    }
}

impl Eq for List {}

impl List {
    fn push(&mut self, side: Side, element: &[u8]) {
        let limit = self.limit;
        let position = match side {
            Side::Front => 0,
            Side::Back => self.tree.len(),
        };
        self.tree.edit_by_position(position, |leaf, offset| {
            leaf.insert(offset, element, limit);
        });
    }

    fn insert(&mut self, position: u64, element: &[u8]) {
        let limit = self.limit;
        if position <= self.tree.len() {
            self.tree.edit_by_position(position, |leaf, offset| {
                leaf.insert(offset, element, limit);
            });
        }
    }

    fn set(&mut self, position: u64, element: &[u8]) {
        let limit = self.limit;
        if position < self.tree.len() {
            self.tree.edit_by_position(position, |leaf, offset| {
                leaf.replace(offset, element, limit);
            });
        }
    }

    fn remove(&mut self, position: u64, count: u64) {
        let end = position.saturating_add(count);
        self.tree.remove_range(position, end, ListLeaf::drain);
    }

    fn append(&mut self, pack: Listpack<'_>) {
        let end = self.tree.len();
        self.tree.edit_by_position(end, |leaf, _| leaf.append(pack));
    }
}

impl Elements for List {
    fn new(packing: &Packing) -> Self {
        Self {
            tree: Tree::default(),
            limit: packing.list_node,
        }
    }

    fn check(ops: &[u8]) -> bool {
        let mut wire = Wire::new(ops);
        while !wire.is_empty() {
            match next_op(&mut wire) {
                None => return false,
                Some(Op::Append(pack)) if Listpack::parse(pack.bytes()).is_err() => return false,
                Some(_) => {}
            }
        }
        true
    }

    fn only_removes(ops: &[u8]) -> bool {
        ops_of(ops).all(|op| matches!(op, Op::Pop(..) | Op::Remove(..)))
    }

    fn len(&self) -> u64 {
        self.tree.len()
    }

    fn heap_bytes(&self) -> u64 {
        self.tree.heap_bytes()
    }

    fn apply(&mut self, ops: &[u8], packing: &Packing) {
        self.limit = packing.list_node;
        for op in ops_of(ops) {
            match op {
                Op::Push(side, element) => self.push(side, element),
                Op::Pop(Side::Front, count) => self.remove(0, count),
                Op::Pop(Side::Back, count) => {
                    let count = count.min(self.tree.len());
                    self.remove(self.tree.len() - count, count);
                }
                Op::Set(position, element) => self.set(position, element),
                Op::Insert(position, element) => self.insert(position, element),
                Op::Remove(position, count) => self.remove(position, count),
                Op::Append(pack) => self.append(pack),
            }
        }
    }

    fn apply_packed(packed: &mut Vec<u8>, ops: &[u8], packing: &Packing) -> Fit {
        let mut pack = if packed.is_empty() {
            ListpackBuf::new()
        } else {
            ListpackBuf::trusted(std::mem::take(packed))
        };
        let (mut bytes, mut len) = (pack.bytes().len(), pack.view().len());
        for op in ops_of(ops) {
            bytes = bytes.saturating_add(op.added_bytes());
            len = len.saturating_add(op.added_len());
        }
        if (bytes, len) != (pack.bytes().len(), pack.view().len())
            && !packing.list_node.allows(bytes, len)
        {
            *packed = pack.into_bytes();
            return Fit::TooLarge;
        }
        for op in ops_of(ops) {
            apply_to_pack(&mut pack, op);
        }
        if !pack.view().is_empty() {
            *packed = pack.into_bytes();
        }
        Fit::Packed
    }

    fn unpack(packed: &[u8], packing: &Packing) -> Self {
        let mut list = Self::new(packing);
        list.append(Listpack::trusted(packed));
        list
    }

    /// As in Redis, a list goes back when elements are removed or replaced, not when it grows.
    #[inline]
    fn packed_again(&self, ops: &[u8], packing: &Packing) -> Option<&[u8]> {
        let Part::Pack(pack) = &self.tree.only_leaf()?.part else {
            return None;
        };
        let (bytes, len) = (pack.bytes(), pack.view().len());
        let mut ops = ops_of(ops);
        let grows = ops.any(|op| matches!(op, Op::Push(..) | Op::Insert(..) | Op::Append(_)));
        (!grows && packing.list_node.is_far_below(bytes.len(), len)).then_some(bytes)
    }

    fn write_from(&self, position: u64, bytes: usize, ops: &mut Vec<u8>) -> Option<u64> {
        let end = ops.len().saturating_add(bytes);
        for found in self.tree.walk_from_position(position) {
            if ops.len() >= end {
                return Some(found.start);
            }
            found.leaf.write(ops);
        }
        None
    }

    fn into_wreck(self) -> Box<dyn Wreckage> {
        Box::new(self.tree.into_wreck())
    }
}

fn apply_to_pack(pack: &mut ListpackBuf, op: Op<'_>) {
    let seek = |pack: &ListpackBuf, position: u64| {
        let index = i64::try_from(position).unwrap_or(i64::MAX);
        pack.view().seek(index)
    };
    match op {
        Op::Push(Side::Front, element) => pack.push_front(Element::of(element)),
        Op::Push(Side::Back, element) => pack.push_back(Element::of(element)),
        Op::Pop(Side::Front, count) => {
            if let Some(at) = pack.view().first() {
                pack.remove(at, count as usize);
            }
        }
        Op::Pop(Side::Back, count) => {
            let len = pack.view().len() as u64;
            let kept = len.saturating_sub(count);
            if let Some(at) = seek(pack, kept) {
                pack.remove(at, len as usize);
            }
        }
        Op::Set(position, element) => {
            if let Some(at) = seek(pack, position) {
                pack.replace(at, Element::of(element));
            }
        }
        Op::Insert(position, element) => {
            if position == pack.view().len() as u64 {
                pack.push_back(Element::of(element));
            } else if let Some(at) = seek(pack, position) {
                pack.insert(at, Element::of(element));
            }
        }
        Op::Remove(position, count) => {
            if let Some(at) = seek(pack, position) {
                pack.remove(at, count as usize);
            }
        }
        Op::Append(other) => pack.append(other),
    }
}
