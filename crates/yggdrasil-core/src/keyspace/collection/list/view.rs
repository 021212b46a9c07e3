//! The elements of a list, whatever form it has.

use std::ops::Range;

use super::leaf::{ListLeaf, Part};
use super::{List, Side, put_push};
use crate::keyspace::collection::listpack::{self, Element, Listpack};
use crate::keyspace::collection::tree::{Back, Walk};
use crate::keyspace::collection::{Collection, Elements, Packing};
use crate::keyspace::kind::Value;

/// A list that is read.
#[derive(Clone, Debug)]
pub enum ListView<'a> {
    Packed(Listpack<'a>),
    Tree(&'a List),
    /// One that came from elsewhere.
    Made(Box<List>),
}

impl<'a> ListView<'a> {
    /// The list of a value; an empty one for what is no list.
    #[must_use]
    pub fn of(value: &Value<'a>, packing: &Packing) -> Self {
        match *value {
            Value::Bytes(packed) => Self::packed(packed),
            Value::Tree(Collection::List(list)) => Self::Tree(list),
            Value::Written(ops) => {
                let mut list = List::new(packing);
                list.apply(ops, packing);
                Self::Made(Box::new(list))
            }
            _ => Self::packed(b""),
        }
    }

    /// The list in the bytes of an entry.
    #[must_use]
    pub fn packed(packed: &'a [u8]) -> Self {
        Self::Packed(Listpack::trusted(packed))
    }

    fn tree(&self) -> Option<&List> {
        match self {
            Self::Packed(_) => None,
            Self::Tree(list) => Some(list),
            Self::Made(list) => Some(list),
        }
    }

    /// The number of elements.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Packed(pack) => pack.len() as u64,
            Self::Tree(list) => list.len(),
            Self::Made(list) => list.len(),
        }
    }

    /// True without elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element at a position.
    #[must_use]
    pub fn at(&self, position: u64) -> Option<Element<'_>> {
        if position >= self.len() {
            return None;
        }
        match (self, self.tree()) {
            (Self::Packed(pack), _) => pack.get(i64::try_from(position).ok()?),
            (_, list) => {
                let found = list?.tree.find_by_position(position);
                match &found.leaf.part {
                    Part::Pack(pack) => pack.view().get((position - found.start) as i64),
                    Part::Plain(element) => Some(Element::Str(element)),
                }
            }
        }
    }

    /// The element at an end.
    #[must_use]
    pub fn end(&self, side: Side) -> Option<Element<'_>> {
        let pack = match (self, self.tree()) {
            (Self::Packed(pack), _) => *pack,
            (_, list) => match &list?.tree.end_leaf(side == Side::Back).part {
                Part::Pack(pack) => pack.view(),
                Part::Plain(element) => return Some(Element::Str(element)),
            },
        };
        let place = match side {
            Side::Front => pack.first(),
            Side::Back => pack.last(),
        };
        pack.at(place?)
    }

    /// The elements from a position on.
    #[must_use]
    pub fn from(&self, position: u64) -> Forward<'_> {
        if position >= self.len() {
            return Forward::default();
        }
        match (self, self.tree()) {
            (Self::Packed(pack), _) => Forward {
                pack: Some(from_offset(*pack, position as usize)),
                ..Forward::default()
            },
            (_, Some(list)) => Forward {
                offset: position,
                walk: Some(list.tree.walk_from_position(position)),
                ..Forward::default()
            },
            (_, None) => Forward::default(),
        }
    }

    /// Visits the elements of some positions.
    #[inline]
    pub fn visit(&self, span: Range<u64>, mut visit: impl FnMut(Element<'_>)) {
        let span = span.start..span.end.min(self.len());
        if span.is_empty() {
            return;
        }
        match (self, self.tree()) {
            (Self::Packed(pack), _) => visit_part(*pack, &(0..span.end), &span, visit),
            (_, Some(list)) => {
                for found in list.tree.walk_from_position(span.start) {
                    let positions = found.start..found.start + found.leaf.part.len() as u64;
                    match &found.leaf.part {
                        Part::Pack(pack) => {
                            visit_part(pack.view(), &positions, &span, &mut visit);
                        }
                        Part::Plain(element) => visit(Element::Str(element)),
                    }
                    if positions.end >= span.end {
                        break;
                    }
                }
            }
            (_, None) => {}
        }
    }

    /// The elements from a position back to the first.
    #[must_use]
    pub fn back_from(&self, position: u64) -> Backward<'_> {
        if position >= self.len() {
            return Backward::default();
        }
        match (self, self.tree()) {
            (Self::Packed(pack), _) => Backward {
                pack: Some(up_to_offset(*pack, position as usize)),
                ..Backward::default()
            },
            (_, Some(list)) => Backward {
                position,
                walk: Some(list.tree.back_from_position(position)),
                ..Backward::default()
            },
            (_, None) => Backward::default(),
        }
    }

    /// Up to `count` elements from an end on, the outermost first.
    pub fn from_end(&self, side: Side, count: u64) -> Box<dyn Iterator<Item = Element<'_>> + '_> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        match (side, self.len().checked_sub(1)) {
            (Side::Front, _) => Box::new(self.from(0).take(count)),
            (Side::Back, Some(last)) => Box::new(self.back_from(last).take(count)),
            (Side::Back, None) => Box::new(std::iter::empty()),
        }
    }

    /// The operations that make a list of up to `count` elements of an end, in their order.
    #[must_use]
    pub fn written_end(&self, side: Side, count: u64) -> Vec<u8> {
        let into = match side {
            Side::Front => Side::Back,
            Side::Back => Side::Front,
        };
        let mut ops = Vec::new();
        let mut buffer = itoa::Buffer::new();
        for element in self.from_end(side, count) {
            put_push(&mut ops, into, element.text(&mut buffer));
        }
        ops
    }

    /// The nodes of a list, as they are in a dump: packs, and elements that stand alone.
    pub fn nodes(&self) -> Box<dyn Iterator<Item = Node<'_>> + '_> {
        match (self, self.tree()) {
            (Self::Packed(pack), _) => Box::new(std::iter::once(Node::Pack(*pack))),
            (_, Some(list)) => Box::new(list.tree.walk_all().map(|found| node_of(found.leaf))),
            (_, None) => Box::new(std::iter::empty()),
        }
    }
}

/// A node of a list.
#[derive(Clone, Copy, Debug)]
pub enum Node<'a> {
    Pack(Listpack<'a>),
    Plain(&'a [u8]),
}

fn node_of(leaf: &ListLeaf) -> Node<'_> {
    match &leaf.part {
        Part::Pack(pack) => Node::Pack(pack.view()),
        Part::Plain(element) => Node::Plain(element),
    }
}

/// Visits the elements of a pack that lie in a span; `positions` are those of the pack.
#[inline]
fn visit_part(
    pack: Listpack<'_>,
    positions: &Range<u64>,
    span: &Range<u64>,
    mut visit: impl FnMut(Element<'_>),
) {
    let offset = span.start.saturating_sub(positions.start);
    let count = span.end.min(positions.end) - positions.start - offset;
    let elements = from_offset(pack, offset as usize).take(count as usize);
    elements.for_each(|(_, element)| visit(element));
}

fn from_offset(pack: Listpack<'_>, offset: usize) -> listpack::Entries<'_> {
    let from = pack.seek(offset as i64).unwrap_or(pack.end());
    pack.entries_between(from, pack.end())
}

/// The elements up to the one at an offset, that one included.
fn up_to_offset(pack: Listpack<'_>, offset: usize) -> listpack::Entries<'_> {
    let behind = pack.seek(offset as i64).and_then(|at| pack.after(at));
    let first = pack.first().unwrap_or(pack.end());
    pack.entries_between(first, behind.unwrap_or(pack.end()))
}

/// Elements in their order.
#[derive(Debug, Default)]
pub struct Forward<'a> {
    pack: Option<listpack::Entries<'a>>,
    /// Where in the next leaf it begins, as a position in the list.
    offset: u64,
    walk: Option<Walk<'a, ListLeaf>>,
}

impl<'a> Iterator for Forward<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        loop {
            if let Some(pack) = &mut self.pack
                && let Some((_, element)) = pack.next()
            {
                return Some(element);
            }
            self.pack = None;
            let found = self.walk.as_mut()?.next()?;
            let offset = self.offset.saturating_sub(found.start) as usize;
            match &found.leaf.part {
                Part::Pack(pack) => self.pack = Some(from_offset(pack.view(), offset)),
                Part::Plain(element) if offset == 0 => return Some(Element::Str(element)),
                Part::Plain(_) => {}
            }
        }
    }
}

/// Elements against their order.
#[derive(Debug, Default)]
pub struct Backward<'a> {
    pack: Option<listpack::Entries<'a>>,
    /// The position of the next element.
    position: u64,
    walk: Option<Back<'a, ListLeaf>>,
}

impl<'a> Iterator for Backward<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        loop {
            if let Some(pack) = &mut self.pack
                && let Some((_, element)) = pack.next_back()
            {
                return Some(element);
            }
            self.pack = None;
            let found = self.walk.as_mut()?.next()?;
            let offset = self.position.saturating_sub(found.start) as usize;
            self.position = found.start.saturating_sub(1);
            match &found.leaf.part {
                Part::Pack(pack) => self.pack = Some(up_to_offset(pack.view(), offset)),
                Part::Plain(element) => return Some(Element::Str(element)),
            }
        }
    }
}
