//! Nodes of large lists.

use std::mem::size_of;

use super::{ListNode, Side, put_append, put_push};
use crate::keyspace::collection::listpack::{EMPTY_BYTES, Element, Listpack, ListpackBuf};
use crate::keyspace::collection::tree::Leaf;

/// The elements of a node.
#[derive(Clone, Debug)]
pub(super) enum Part {
    Pack(ListpackBuf),
    /// One element that is too long for a pack.
    Plain(Box<[u8]>),
}

impl Part {
    fn of(element: &[u8], limit: ListNode) -> Self {
        if limit.is_large(element.len()) {
            return Self::Plain(element.into());
        }
        let mut pack = ListpackBuf::new();
        pack.push_back(Element::of(element));
        Self::Pack(pack)
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Pack(pack) => pack.view().len(),
            Self::Plain(_) => 1,
        }
    }

    /// Gives back memory beyond what the elements need: this part will hardly grow.
    fn settle(&mut self) {
        if let Self::Pack(pack) = self {
            pack.shrink_to_fit();
        }
    }
}

/// A node, and while it is changed those that come behind it.
#[derive(Clone, Debug)]
pub(super) struct ListLeaf {
    pub(super) part: Part,
    behind: Vec<Part>,
}

impl Default for ListLeaf {
    fn default() -> Self {
        Self::of(Part::Pack(ListpackBuf::new()))
    }
}

impl ListLeaf {
    fn of(part: Part) -> Self {
        Self {
            part,
            behind: Vec::new(),
        }
    }

    /// Puts an element at an offset; the others move behind it.
    pub(super) fn insert(&mut self, offset: usize, element: &[u8], limit: ListNode) {
        let len = self.part.len();
        let Part::Pack(pack) = &mut self.part else {
            self.add_beside(offset, Part::of(element, limit));
            return;
        };
        let is_large = limit.is_large(element.len());
        let new = Element::of(element);
        let bytes = pack.bytes().len() + new.packed_len();
        if !is_large && (len == 0 || limit.allows(bytes, len + 1)) {
            if offset == 0 && len > 0 {
                pack.make_room_in_front(new.packed_len(), limit.bytes_max());
                pack.push_front(new);
            } else {
                pack.insert(place(pack, offset), new);
            }
        } else if len == 0 {
            self.part = Part::of(element, limit);
        } else if offset == 0 || offset == len {
            self.add_beside(offset, Part::of(element, limit));
        } else {
            let rest = pack.split_off(place(pack, offset));
            if !is_large {
                pack.push_back(new);
            }
            self.part.settle();
            if is_large {
                self.behind.push(Part::of(element, limit));
            }
            self.behind.push(Part::Pack(rest));
        }
    }

    /// Puts a new part before this one, or behind it.
    fn add_beside(&mut self, offset: usize, part: Part) {
        self.part.settle();
        let behind = if offset == 0 {
            std::mem::replace(&mut self.part, part)
        } else {
            part
        };
        self.behind.push(behind);
    }

    /// Puts an element in the place of another one.
    pub(super) fn replace(&mut self, offset: usize, element: &[u8], limit: ListNode) {
        let is_large = limit.is_large(element.len());
        match &mut self.part {
            Part::Pack(pack) if !is_large => {
                let new = Element::of(element);
                let bytes = pack.bytes().len() + new.packed_len();
                let at = place(pack, offset);
                if limit.allows(bytes, 0) {
                    pack.replace(at, new);
                } else {
                    pack.remove(at, 1);
                    self.insert(offset, element, limit);
                }
            }
            Part::Pack(pack) => {
                let at = place(pack, offset);
                pack.remove(at, 1);
                self.insert(offset, element, limit);
            }
            Part::Plain(_) => self.part = Part::of(element, limit),
        }
    }

    /// Removes the elements from one offset up to another.
    pub(super) fn drain(&mut self, from: usize, to: usize) {
        match &mut self.part {
            Part::Pack(pack) if from > 0 || to < pack.view().len() => {
                let at = place(pack, from);
                pack.remove(at, to - from);
            }
            part if to > from => *part = Part::Pack(ListpackBuf::new()),
            _ => {}
        }
    }

    /// Puts the elements of a pack behind all.
    pub(super) fn append(&mut self, pack: Listpack<'_>) {
        let new = Part::Pack(ListpackBuf::trusted(pack.bytes().to_vec()));
        if new.len() == 0 {
            return;
        }
        if self.part.len() == 0 {
            self.part = new;
        } else {
            self.part.settle();
            self.behind.push(new);
        }
    }

    /// Appends the operation that makes its elements.
    pub(super) fn write(&self, ops: &mut Vec<u8>) {
        match &self.part {
            Part::Pack(pack) if pack.view().is_empty() => {}
            Part::Pack(pack) => put_append(ops, pack.view()),
            Part::Plain(element) => put_push(ops, Side::Back, element),
        }
    }
}

/// The place of an element in a pack, or the end.
fn place(pack: &ListpackBuf, offset: usize) -> usize {
    let view = pack.view();
    let index = i64::try_from(offset).unwrap_or(i64::MAX);
    view.seek(index).unwrap_or(view.end())
}

impl Leaf for ListLeaf {
    type Key = ();

    fn len(&self) -> usize {
        self.part.len()
    }

    fn heap_bytes(&self) -> usize {
        let part = match &self.part {
            Part::Pack(pack) => pack.capacity(),
            Part::Plain(element) => element.len(),
        };
        size_of::<Self>() + part
    }

    fn first_key(&self) {}

    fn split(&mut self) -> Option<Self> {
        if self.behind.is_empty() {
            return None;
        }
        let mut parts = std::mem::take(&mut self.behind).into_iter();
        let next = parts.next()?;
        Some(Self {
            part: next,
            behind: parts.collect(),
        })
    }

    fn is_small(&self) -> bool {
        match &self.part {
            Part::Pack(pack) => {
                pack.bytes().len() < ListNode::SMALL_BYTES
                    && pack.view().len() < ListNode::SMALL_LEN
            }
            Part::Plain(_) => false,
        }
    }

    fn absorb(&mut self, next: &Self) -> bool {
        let (Part::Pack(pack), Part::Pack(other)) = (&mut self.part, &next.part) else {
            return false;
        };
        let bytes = pack.bytes().len() + other.bytes().len() - EMPTY_BYTES;
        let len = pack.view().len() + other.view().len();
        // Two nodes that are small under any limit.
        if bytes > ListNode::SMALL_BYTES || len > ListNode::SMALL_LEN {
            return false;
        }
        pack.append(other.view());
        true
    }
}
