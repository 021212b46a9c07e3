//! Walks over the leaves of a tree, in both directions.

use super::{Child, Found, Leaf, Node, Seek, Tree, choose};

/// The leaves from some element on.
#[derive(Debug)]
pub struct Walk<'a, L: Leaf> {
    /// The inner nodes above the next leaf, each with the child to go on with.
    above: Vec<(&'a [Child<L>], usize)>,
    next: Option<Found<'a, L>>,
}

/// The leaves from some element back to the first.
#[derive(Debug)]
pub struct Back<'a, L: Leaf> {
    /// The inner nodes above the next leaf, each with the number of children that are left.
    above: Vec<(&'a [Child<L>], usize)>,
    next: Option<Found<'a, L>>,
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
        let mut above = Vec::new();
        let next = self.descend(seek, |children, index| above.push((children, index + 1)));
        Walk {
            above,
            next: Some(next),
        }
    }

    fn back(&self, seek: Seek<'_, L::Key>) -> Back<'_, L> {
        let mut above = Vec::new();
        let next = self.descend(seek, |children, index| above.push((children, index)));
        Back {
            above,
            next: Some(next),
        }
    }

    fn descend<'a>(
        &'a self,
        mut seek: Seek<'_, L::Key>,
        mut pass: impl FnMut(&'a [Child<L>], usize),
    ) -> Found<'a, L> {
        let mut node = &self.root;
        let mut start = 0;
        loop {
            match node {
                Node::Leaf(leaf) => return Found { leaf, start },
                Node::Inner(children) => {
                    let (index, before) = choose(children, seek);
                    pass(children, index);
                    seek = seek.below(before, children[index].len);
                    start += before;
                    node = &children[index].node;
                }
            }
        }
    }
}

impl<'a, L: Leaf> Iterator for Walk<'a, L> {
    type Item = Found<'a, L>;

    fn next(&mut self) -> Option<Found<'a, L>> {
        let found = self.next.take()?;
        let start = found.start + found.leaf.len() as u64;
        while let Some((children, index)) = self.above.pop() {
            let Some(child) = children.get(index) else {
                continue;
            };
            self.above.push((children, index + 1));
            let mut node = &child.node;
            while let Node::Inner(children) = node {
                self.above.push((children, 1));
                node = &children[0].node;
            }
            if let Node::Leaf(leaf) = node {
                self.next = Some(Found { leaf, start });
            }
            break;
        }
        Some(found)
    }
}

impl<'a, L: Leaf> Iterator for Back<'a, L> {
    type Item = Found<'a, L>;

    fn next(&mut self) -> Option<Found<'a, L>> {
        let found = self.next.take()?;
        while let Some((children, left)) = self.above.pop() {
            let Some(index) = left.checked_sub(1) else {
                continue;
            };
            self.above.push((children, index));
            let mut node = &children[index].node;
            while let Node::Inner(children) = node {
                let last = children.len() - 1;
                self.above.push((children, last));
                node = &children[last].node;
            }
            if let Node::Leaf(leaf) = node {
                let start = found.start - leaf.len() as u64;
                self.next = Some(Found { leaf, start });
            }
            break;
        }
        Some(found)
    }
}
