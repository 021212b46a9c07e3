//! Inner nodes of a tree.

use std::mem::size_of;
use std::rc::Rc;

use super::{Leaf, NODE_BYTES, Node, leaf_bytes};

/// Children that an inner node has at most. With the one more that it may have for a moment, they fill size classes of
/// the allocator.
pub(super) const CHILDREN_MAX: usize = 63;
/// An inner node with fewer children takes in its neighbour's, where they fit.
const CHILDREN_FEW: usize = CHILDREN_MAX / 4;

/// A node, as the one above it knows it.
#[derive(Debug)]
pub(super) struct Child<L: Leaf> {
    /// No key below is smaller, and all keys before are.
    pub(super) least: L::Key,
    /// Elements below.
    pub(super) len: u64,
    pub(super) node: Node<L>,
}

/// The children of a node, of which there is one at least.
///
/// What a search looks at lies together: the least keys of all children are a few cache lines.
#[derive(Debug)]
pub(super) struct Inner<L: Leaf> {
    least: Vec<L::Key>,
    lens: Vec<u64>,
    nodes: Vec<Node<L>>,
}

/// The element that a way down leads to.
pub(super) enum Seek<'k, K> {
    Key(&'k K),
    /// The leaf of a position in a node of `len` elements; the end belongs to the last leaf.
    Position {
        at: u64,
        len: u64,
    },
}

impl<K> Clone for Seek<'_, K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K> Copy for Seek<'_, K> {}

impl<K> Seek<'_, K> {
    /// The same below a child that begins at a position and has so many elements.
    #[inline]
    pub(super) fn below(self, start: u64, len: u64) -> Self {
        match self {
            Self::Key(key) => Self::Key(key),
            Self::Position { at, .. } => Self::Position {
                at: at - start,
                len,
            },
        }
    }
}

/// A copy has as much room as every node: for all children that one can have, and one more.
impl<L: Leaf> Clone for Inner<L> {
    fn clone(&self) -> Self {
        let mut copy = Self::with_room();
        copy.extend_from(self);
        copy
    }
}

impl<L: Leaf> Inner<L> {
    fn with_room() -> Self {
        Self {
            least: Vec::with_capacity(CHILDREN_MAX + 1),
            lens: Vec::with_capacity(CHILDREN_MAX + 1),
            nodes: Vec::with_capacity(CHILDREN_MAX + 1),
        }
    }

    /// A node with these children.
    pub(super) fn of(children: impl IntoIterator<Item = Child<L>>) -> Self {
        let mut inner = Self::with_room();
        for child in children {
            inner.least.push(child.least);
            inner.lens.push(child.len);
            inner.nodes.push(child.node);
        }
        inner
    }

    /// Bytes of a node, which has room for all its children from the start.
    pub(super) fn bytes() -> u64 {
        let child = size_of::<L::Key>() + size_of::<u64>() + size_of::<Node<L>>();
        (NODE_BYTES + size_of::<Self>() + (CHILDREN_MAX + 1) * child) as u64
    }

    pub(super) fn count(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn is_small(&self) -> bool {
        self.count() < CHILDREN_FEW
    }

    pub(super) fn first_key(&self) -> &L::Key {
        &self.least[0]
    }

    pub(super) fn nodes(&self) -> &[Node<L>] {
        &self.nodes
    }

    pub(super) fn into_nodes(self) -> Vec<Node<L>> {
        self.nodes
    }

    #[cfg(test)]
    pub(super) fn least_of(&self, index: usize) -> &L::Key {
        &self.least[index]
    }

    #[inline]
    pub(super) fn len_of(&self, index: usize) -> u64 {
        self.lens[index]
    }

    #[inline]
    pub(super) fn node(&self, index: usize) -> &Node<L> {
        &self.nodes[index]
    }

    #[inline]
    pub(super) fn node_mut(&mut self, index: usize) -> &mut Node<L> {
        &mut self.nodes[index]
    }

    /// Counts elements that have come below a child, or have gone.
    #[inline]
    pub(super) fn add_len(&mut self, index: usize, more: i64) {
        let len = &mut self.lens[index];
        *len = len.saturating_add_signed(more);
    }

    /// Notes that a key belongs below a child.
    #[inline]
    pub(super) fn admit(&mut self, index: usize, key: &L::Key) {
        if *key < self.least[index] {
            self.least[index] = key.clone();
        }
    }

    /// The child that has a key if any has it.
    #[inline]
    pub(super) fn child_of_key(&self, key: &L::Key) -> usize {
        let behind = self.least.partition_point(|least| least <= key);
        behind.saturating_sub(1)
    }

    /// The child that has a position in this node of `len` elements, and the position of its first element. It is
    /// searched from the nearer end.
    #[inline]
    pub(super) fn child_of_position(&self, at: u64, len: u64) -> (usize, u64) {
        if at < len / 2 {
            let mut start = 0;
            for (index, len) in self.lens.iter().enumerate() {
                if at < start + len {
                    return (index, start);
                }
                start += len;
            }
        }
        let mut start = len;
        for (index, len) in self.lens.iter().enumerate().rev() {
            start -= len;
            if at >= start && (*len > 0 || index == 0) {
                return (index, start);
            }
        }
        (0, 0)
    }

    /// The child that a way down leads through, and the position of its first element below the node.
    #[inline]
    pub(super) fn choose(&self, seek: Seek<'_, L::Key>) -> (usize, u64) {
        match seek {
            Seek::Key(key) => {
                let index = self.child_of_key(key);
                (index, self.lens[..index].iter().sum())
            }
            Seek::Position { at, len } => self.child_of_position(at, len),
        }
    }

    /// Takes in children that come behind one that was split. Gives those for which there is no room, in nodes of their
    /// own.
    pub(super) fn take_in(&mut self, index: usize, behind: Vec<Child<L>>) -> Vec<Child<L>> {
        let at = index + 1;
        let parts = behind.into_iter();
        let (least, (lens, nodes)): (Vec<_>, (Vec<_>, Vec<_>)) = parts
            .map(|child| (child.least, (child.len, child.node)))
            .unzip();
        self.least.splice(at..at, least);
        self.lens.splice(at..at, lens);
        self.nodes.splice(at..at, nodes);
        let mut behind = Vec::new();
        while self.count() > CHILDREN_MAX {
            // Whoever only appends gets full nodes.
            let at = if index + 2 >= self.count() {
                CHILDREN_MAX
            } else {
                self.count() / 2
            };
            behind.push(self.split_off(at).into_child());
        }
        behind.reverse();
        behind
    }

    fn split_off(&mut self, at: usize) -> Self {
        let mut rest = Self::with_room();
        rest.least.extend(self.least.drain(at..));
        rest.lens.extend(self.lens.drain(at..));
        rest.nodes.extend(self.nodes.drain(at..));
        rest
    }

    /// The node, as the one above it will know it.
    pub(super) fn into_child(self) -> Child<L> {
        Child {
            least: self.first_key().clone(),
            len: self.lens.iter().sum(),
            node: Node::Inner(Rc::new(self)),
        }
    }

    fn extend_from(&mut self, other: &Self) {
        self.least.extend_from_slice(&other.least);
        self.lens.extend_from_slice(&other.lens);
        self.nodes.extend_from_slice(&other.nodes);
    }

    fn remove(&mut self, index: usize) -> Node<L> {
        self.least.remove(index);
        self.lens.remove(index);
        self.nodes.remove(index)
    }

    /// Removes a child that has become empty, or joins it with a neighbour if both are small. Returns the bytes that
    /// are freed.
    pub(super) fn tidy(&mut self, index: usize) -> i64 {
        if self.count() == 1 {
            return 0;
        }
        if self.lens[index] == 0 {
            return node_bytes(&self.remove(index)) as i64;
        }
        if !self.nodes[index].is_small() {
            return 0;
        }
        let before = index.checked_sub(1);
        let pairs = [Some(index), before];
        let mut pairs = pairs.into_iter().flatten();
        pairs.find_map(|at| self.join(at)).unwrap_or(0)
    }

    /// Joins a child with the next one. Returns the bytes that are freed, or `None` where they stay apart.
    fn join(&mut self, index: usize) -> Option<i64> {
        let [left, right] = self.nodes.get_mut(index..index + 2)? else {
            return None;
        };
        let freed = match (left, right) {
            (Node::Leaf(left), Node::Leaf(right)) => {
                let before = leaf_bytes(&**left) + leaf_bytes(&**right);
                let joined = Rc::make_mut(left);
                if !joined.absorb(right) {
                    return None;
                }
                before as i64 - leaf_bytes(joined) as i64
            }
            (Node::Inner(left), Node::Inner(right)) => {
                if left.count() + right.count() > CHILDREN_MAX / 2 {
                    return None;
                }
                Rc::make_mut(left).extend_from(right);
                Self::bytes() as i64
            }
            _ => return None,
        };
        self.lens[index] += self.lens[index + 1];
        self.remove(index + 1);
        Some(freed)
    }
}

/// Bytes of a node without elements below, and of those below it that have none either.
fn node_bytes<L: Leaf>(node: &Node<L>) -> u64 {
    match node {
        Node::Leaf(leaf) => leaf_bytes(&**leaf),
        Node::Inner(inner) => {
            let below = inner.nodes.iter().map(node_bytes);
            Inner::<L>::bytes() + below.sum::<u64>()
        }
    }
}
