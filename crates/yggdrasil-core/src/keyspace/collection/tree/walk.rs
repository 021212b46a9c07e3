//! Walks over the leaves of a tree, in both directions.

use super::inner::{Inner, Seek};
use super::{Found, LEVELS_MAX, Leaf, Node, Tree};

/// The inner nodes above a leaf, each with a place among its children.
#[derive(Debug)]
struct Above<'a, L: Leaf> {
    nodes: [Option<&'a Inner<L>>; LEVELS_MAX],
    places: [u8; LEVELS_MAX],
    len: usize,
}

impl<'a, L: Leaf> Above<'a, L> {
    fn new() -> Self {
        Self {
            nodes: [None; LEVELS_MAX],
            places: [0; LEVELS_MAX],
            len: 0,
        }
    }

    #[inline]
    fn push(&mut self, inner: &'a Inner<L>, place: usize) {
        (self.nodes[self.len], self.places[self.len]) = (Some(inner), place as u8);
        self.len += 1;
    }

    #[inline]
    fn pop(&mut self) -> Option<(&'a Inner<L>, usize)> {
        self.len = self.len.checked_sub(1)?;
        Some((self.nodes[self.len]?, usize::from(self.places[self.len])))
    }
}

/// The leaves from some element on.
#[derive(Debug)]
pub struct Walk<'a, L: Leaf> {
    /// The places are those of the children to go on with.
    above: Above<'a, L>,
    /// The last leaf that was given, or the first one.
    at: Option<Found<'a, L>>,
    has_begun: bool,
}

/// The leaves from some element back to the first.
#[derive(Debug)]
pub struct Back<'a, L: Leaf> {
    /// The places are numbers of children that are left.
    above: Above<'a, L>,
    /// The last leaf that was given, or the first one.
    at: Option<Found<'a, L>>,
    has_begun: bool,
}

impl<L: Leaf> Tree<L> {
    /// The leaves from that of a position on.
    #[must_use]
    pub fn walk_from_position(&self, position: u64) -> Walk<'_, L> {
        self.walk(self.seek(position))
    }

    /// The leaves from that on which has a key if any has it.
    #[must_use]
    pub fn walk_from_key(&self, key: &L::Key) -> Walk<'_, L> {
        self.walk(Seek::Key(key))
    }

    /// All leaves.
    #[must_use]
    pub fn walk_all(&self) -> Walk<'_, L> {
        self.walk(self.seek(0))
    }

    /// The leaves from that of a position back to the first.
    #[must_use]
    pub fn back_from_position(&self, position: u64) -> Back<'_, L> {
        self.back(self.seek(position))
    }

    /// The leaves back to the first, from that which has a key if any has it.
    #[must_use]
    pub fn back_from_key(&self, key: &L::Key) -> Back<'_, L> {
        self.back(Seek::Key(key))
    }

    fn walk(&self, seek: Seek<'_, L::Key>) -> Walk<'_, L> {
        let mut above = Above::new();
        let first = self.descend(seek, |inner, index| above.push(inner, index + 1));
        Walk {
            above,
            at: Some(first),
            has_begun: false,
        }
    }

    fn back(&self, seek: Seek<'_, L::Key>) -> Back<'_, L> {
        let mut above = Above::new();
        let first = self.descend(seek, |inner, index| above.push(inner, index));
        Back {
            above,
            at: Some(first),
            has_begun: false,
        }
    }

    fn descend<'a>(
        &'a self,
        mut seek: Seek<'_, L::Key>,
        mut pass: impl FnMut(&'a Inner<L>, usize),
    ) -> Found<'a, L> {
        let mut node = &self.root;
        let mut start = 0;
        loop {
            match node {
                Node::Leaf(leaf) => return Found { leaf, start },
                Node::Inner(inner) => {
                    let (index, before) = inner.choose(seek);
                    pass(inner, index);
                    seek = seek.below(before, inner.len_of(index));
                    start += before;
                    node = inner.node(index);
                }
            }
        }
    }
}

impl<'a, L: Leaf> Iterator for Walk<'a, L> {
    type Item = Found<'a, L>;

    fn next(&mut self) -> Option<Found<'a, L>> {
        if !self.has_begun {
            self.has_begun = true;
            return self.at;
        }
        let last = self.at.take()?;
        let start = last.start + last.leaf.len() as u64;
        while let Some((inner, index)) = self.above.pop() {
            let Some(mut node) = inner.nodes().get(index) else {
                continue;
            };
            self.above.push(inner, index + 1);
            while let Node::Inner(inner) = node {
                self.above.push(inner, 1);
                node = inner.node(0);
            }
            if let Node::Leaf(leaf) = node {
                self.at = Some(Found { leaf, start });
            }
            break;
        }
        self.at
    }
}

impl<'a, L: Leaf> Iterator for Back<'a, L> {
    type Item = Found<'a, L>;

    fn next(&mut self) -> Option<Found<'a, L>> {
        if !self.has_begun {
            self.has_begun = true;
            return self.at;
        }
        let last = self.at.take()?;
        while let Some((inner, left)) = self.above.pop() {
            let Some(index) = left.checked_sub(1) else {
                continue;
            };
            self.above.push(inner, index);
            let mut node = inner.node(index);
            while let Node::Inner(inner) = node {
                let last = inner.count() - 1;
                self.above.push(inner, last);
                node = inner.node(last);
            }
            if let Node::Leaf(leaf) = node {
                let start = last.start - leaf.len() as u64;
                self.at = Some(Found { leaf, start });
            }
            break;
        }
        self.at
    }
}
