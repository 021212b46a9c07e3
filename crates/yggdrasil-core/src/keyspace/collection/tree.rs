//! A counted B+ tree of shared nodes, under every large collection.
//!
//! Elements lie packed in leaves. Nodes are counted references: a clone of a tree takes constant time, and a change
//! copies only the nodes on its way that somebody else holds, too. Inner nodes know how many elements are below each
//! child, so a position is found as fast as a key.

mod inner;
mod walk;
mod wreck;

#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::rc::Rc;

use self::inner::{CHILDREN_MAX, Child, Inner, Seek};
pub use self::walk::{Back, Walk};
pub use self::wreck::{Wreck, Wreckage, Wrecks};

/// Bytes of a heap block and of the counts of a node, beside its contents.
pub const NODE_BYTES: usize = 32;

/// A block of packed elements.
pub trait Leaf: Clone + Debug + Default + 'static {
    /// The order of the elements; `()` where only their positions count.
    type Key: Ord + Clone + Debug;

    /// The number of elements.
    fn len(&self) -> usize;

    /// True without elements.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes on the heap, the leaf itself included.
    fn heap_bytes(&self) -> usize;

    /// The key of the first element of a leaf that has some.
    fn first_key(&self) -> Self::Key;

    /// Gives up the upper part of a leaf that is too long.
    fn split(&mut self) -> Option<Self>;

    /// True for a leaf that is short enough to belong together with another one.
    fn is_small(&self) -> bool;

    /// Takes in the elements of the next leaf if both are so short that they belong together.
    fn absorb(&mut self, next: &Self) -> bool;
}

#[derive(Debug)]
enum Node<L: Leaf> {
    Leaf(Rc<L>),
    Inner(Rc<Inner<L>>),
}

impl<L: Leaf> Clone for Node<L> {
    fn clone(&self) -> Self {
        match self {
            Self::Leaf(leaf) => Self::Leaf(Rc::clone(leaf)),
            Self::Inner(inner) => Self::Inner(Rc::clone(inner)),
        }
    }
}

/// The tree.
#[derive(Debug)]
pub struct Tree<L: Leaf> {
    root: Node<L>,
    len: u64,
    heap_bytes: u64,
}

impl<L: Leaf> Clone for Tree<L> {
    fn clone(&self) -> Self {
        Self {
            root: self.root.clone(),
            ..*self
        }
    }
}

impl<L: Leaf> Default for Tree<L> {
    fn default() -> Self {
        let leaf = L::default();
        Self {
            len: 0,
            heap_bytes: leaf_bytes(&leaf),
            root: Node::Leaf(Rc::new(leaf)),
        }
    }
}

/// The leaf of a search.
#[derive(Debug)]
pub struct Found<'a, L> {
    pub leaf: &'a L,
    /// Position in the tree of its first element.
    pub start: u64,
}

impl<L> Clone for Found<'_, L> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<L> Copy for Found<'_, L> {}

/// The outcome of a change for the nodes above.
struct Change<L: Leaf> {
    heap_bytes: i64,
    /// Elements that came, or went.
    len: i64,
    /// Nodes that come behind the changed one.
    behind: Vec<Child<L>>,
    /// A neighbour may take it in.
    is_small: bool,
}

/// Levels of inner nodes, of which no tree in memory can have more: a root is split when it has 64 children.
const LEVELS_MAX: usize = 16;

/// The way to a leaf, as the place of the child in each inner node.
#[derive(Default)]
struct Path {
    places: [u8; LEVELS_MAX],
    len: usize,
}

impl Path {
    fn push(&mut self, place: usize) {
        self.places[self.len] = place as u8;
        self.len += 1;
    }

    fn as_slice(&self) -> &[u8] {
        &self.places[..self.len]
    }
}

fn leaf_bytes<L: Leaf>(leaf: &L) -> u64 {
    (leaf.heap_bytes() + NODE_BYTES) as u64
}

impl<L: Leaf> Node<L> {
    /// Changes the leaf that a way down leads to, and notes the way. No counts above are changed yet.
    #[inline]
    fn change<R>(
        &mut self,
        mut seek: Seek<'_, L::Key>,
        path: &mut Path,
        change: impl FnOnce(&mut L, usize) -> R,
    ) -> (R, Change<L>) {
        let mut node = self;
        loop {
            match node {
                Self::Leaf(leaf) => return change_leaf(leaf, seek, change),
                Self::Inner(inner) => {
                    let inner = Rc::make_mut(inner);
                    let (index, start) = match seek {
                        Seek::Key(key) => {
                            let index = inner.child_of_key(key);
                            inner.admit(index, key);
                            (index, 0)
                        }
                        Seek::Position { at, len } => inner.child_of_position(at, len),
                    };
                    path.push(index);
                    seek = seek.below(start, inner.len_of(index));
                    node = inner.node_mut(index);
                }
            }
        }
    }

    /// Counts elements that came to the leaf of a way, or went, and changed nothing else.
    #[inline]
    fn count(&mut self, path: &[u8], len: i64) {
        let mut node = self;
        for place in path {
            let Self::Inner(inner) = node else { return };
            let inner = Rc::make_mut(inner);
            let index = usize::from(*place);
            inner.add_len(index, len);
            node = inner.node_mut(index);
        }
    }

    /// Counts what a change has brought to the leaf of a way, and brings the nodes above in order. Returns what
    /// comes behind this node, and the bytes that the nodes above the leaf take more.
    fn settle(&mut self, path: &[u8], below: &mut Change<L>) {
        let (Some((place, path)), Self::Inner(inner)) = (path.split_first(), self) else {
            return;
        };
        let inner = Rc::make_mut(inner);
        let index = usize::from(*place);
        inner.node_mut(index).settle(path, below);
        let behind = std::mem::take(&mut below.behind);
        let len_behind: u64 = behind.iter().map(|child| child.len).sum();
        inner.add_len(index, below.len - len_behind as i64);
        if !behind.is_empty() {
            below.behind = inner.take_in(index, behind);
            below.heap_bytes += (below.behind.len() as u64 * Inner::<L>::bytes()) as i64;
        } else if below.len <= 0 {
            below.heap_bytes -= inner.tidy(index);
        }
    }

    fn is_small(&self) -> bool {
        match self {
            Self::Leaf(leaf) => leaf.is_small(),
            Self::Inner(inner) => inner.is_small(),
        }
    }
}

#[inline]
fn change_leaf<L: Leaf, R>(
    leaf: &mut Rc<L>,
    seek: Seek<'_, L::Key>,
    change: impl FnOnce(&mut L, usize) -> R,
) -> (R, Change<L>) {
    let leaf = Rc::make_mut(leaf);
    let (bytes_before, len_before) = (leaf_bytes(leaf), leaf.len());
    let offset = match seek {
        Seek::Key(_) => 0,
        Seek::Position { at, .. } => at as usize,
    };
    let outcome = change(leaf, offset);
    let mut behind = Vec::new();
    let mut rest = leaf.split();
    let (mut bytes, mut len) = (leaf_bytes(leaf), leaf.len());
    while let Some(mut part) = rest {
        rest = part.split();
        bytes += leaf_bytes(&part);
        len += part.len();
        behind.push(Child {
            least: part.first_key(),
            len: part.len() as u64,
            node: Node::Leaf(Rc::new(part)),
        });
    }
    let change = Change {
        heap_bytes: bytes as i64 - bytes_before as i64,
        len: len as i64 - len_before as i64,
        behind,
        is_small: len <= len_before && (len == 0 || leaf.is_small()),
    };
    (outcome, change)
}

impl<L: Leaf> Tree<L> {
    /// The number of elements.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// True without elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes on the heap, as if nobody shared them.
    #[must_use]
    pub fn heap_bytes(&self) -> u64 {
        self.heap_bytes
    }

    /// The leaf of a tree that has no other.
    #[inline]
    #[must_use]
    pub fn only_leaf(&self) -> Option<&L> {
        match &self.root {
            Node::Leaf(leaf) => Some(leaf),
            Node::Inner(_) => None,
        }
    }

    /// Changes the leaf that has a key, or into which it belongs.
    pub fn edit_by_key<R>(&mut self, key: &L::Key, change: impl FnOnce(&mut L) -> R) -> R {
        self.edit(Seek::Key(key), |leaf, _| change(leaf))
    }

    /// Changes the leaf that has the element of a position; `change` gets the position inside of the leaf. The
    /// position behind the last element belongs to the last leaf.
    pub fn edit_by_position<R>(
        &mut self,
        position: u64,
        change: impl FnOnce(&mut L, usize) -> R,
    ) -> R {
        self.edit(self.seek(position), change)
    }

    fn seek<'k>(&self, position: u64) -> Seek<'k, L::Key> {
        Seek::Position {
            at: position.min(self.len),
            len: self.len,
        }
    }

    #[inline]
    fn edit<R>(&mut self, seek: Seek<'_, L::Key>, change: impl FnOnce(&mut L, usize) -> R) -> R {
        let mut path = Path::default();
        let (outcome, change) = self.root.change(seek, &mut path, change);
        self.len = self.len.saturating_add_signed(change.len);
        if change.behind.is_empty() && !change.is_small {
            self.heap_bytes = self.heap_bytes.saturating_add_signed(change.heap_bytes);
            if change.len != 0 {
                self.root.count(path.as_slice(), change.len);
            }
        } else {
            self.settle(&path, change);
        }
        outcome
    }

    /// Brings the nodes above a leaf in order that was split, or is small.
    #[inline(never)]
    fn settle(&mut self, path: &Path, mut change: Change<L>) {
        self.root.settle(path.as_slice(), &mut change);
        self.heap_bytes = self.heap_bytes.saturating_add_signed(change.heap_bytes);
        if !change.behind.is_empty() {
            self.raise(change.behind);
        }
        self.lower();
    }

    /// Puts a new root above the old one and what came behind it, which is counted already.
    fn raise(&mut self, behind: Vec<Child<L>>) {
        let len_behind: u64 = behind.iter().map(|child| child.len).sum();
        let first = Child {
            least: first_key(&self.root),
            len: self.len - len_behind,
            node: self.root.clone(),
        };
        let mut level: Vec<Child<L>> = std::iter::once(first).chain(behind).collect();
        loop {
            if level.len() <= CHILDREN_MAX {
                self.heap_bytes += Inner::<L>::bytes();
                self.root = Node::Inner(Rc::new(Inner::of(level)));
                return;
            }
            let mut above = Vec::with_capacity(level.len().div_ceil(CHILDREN_MAX));
            let mut rest = level.into_iter().peekable();
            while rest.peek().is_some() {
                self.heap_bytes += Inner::<L>::bytes();
                above.push(Inner::of(rest.by_ref().take(CHILDREN_MAX)).into_child());
            }
            level = above;
        }
    }

    /// Takes away roots with a single child.
    fn lower(&mut self) {
        while let Node::Inner(inner) = &self.root
            && inner.count() == 1
        {
            let child = inner.node(0).clone();
            self.heap_bytes = self.heap_bytes.saturating_sub(Inner::<L>::bytes());
            self.root = child;
        }
    }

    /// The leaf that has a key if any has it.
    #[must_use]
    pub fn find_by_key(&self, key: &L::Key) -> Found<'_, L> {
        self.find(Seek::Key(key))
    }

    /// The leaf that has the element of a position.
    #[must_use]
    pub fn find_by_position(&self, position: u64) -> Found<'_, L> {
        self.find(self.seek(position))
    }

    fn find(&self, mut seek: Seek<'_, L::Key>) -> Found<'_, L> {
        let mut node = &self.root;
        let mut start = 0;
        loop {
            match node {
                Node::Leaf(leaf) => return Found { leaf, start },
                Node::Inner(inner) => {
                    let (index, before) = inner.choose(seek);
                    seek = seek.below(before, inner.len_of(index));
                    start += before;
                    node = inner.node(index);
                }
            }
        }
    }

    /// The leaf that has a key if any has it. Cheaper than [`Tree::find_by_key`], since it does not count.
    #[must_use]
    pub fn leaf_of(&self, key: &L::Key) -> &L {
        let mut node = &self.root;
        loop {
            match node {
                Node::Leaf(leaf) => return leaf,
                Node::Inner(inner) => node = inner.node(inner.child_of_key(key)),
            }
        }
    }

    /// The first leaf, or the last one.
    #[must_use]
    pub fn end_leaf(&self, is_last: bool) -> &L {
        let mut node = &self.root;
        loop {
            match node {
                Node::Leaf(leaf) => return leaf,
                Node::Inner(inner) if is_last => node = inner.node(inner.count() - 1),
                Node::Inner(inner) => node = inner.node(0),
            }
        }
    }

    /// Removes the elements from `from` up to `to`; `drain` removes such a part from a leaf.
    pub fn remove_range(
        &mut self,
        from: u64,
        to: u64,
        mut drain: impl FnMut(&mut L, usize, usize),
    ) {
        let mut left = to.min(self.len).saturating_sub(from);
        while left > 0 {
            left -= self.edit_by_position(from, |leaf, offset| {
                let end = (offset as u64 + left).min(leaf.len() as u64) as usize;
                drain(leaf, offset, end);
                (end - offset) as u64
            });
        }
    }

    /// Builds a tree of leaves that are in order. Empty ones are left out.
    pub fn from_leaves(leaves: impl IntoIterator<Item = L>) -> Self {
        let mut tree = Self::default();
        let leaves = leaves.into_iter().filter(|leaf| !leaf.is_empty());
        let mut all = leaves.map(|leaf| {
            let bytes = leaf_bytes(&leaf);
            let child = Child {
                least: leaf.first_key(),
                len: leaf.len() as u64,
                node: Node::Leaf(Rc::new(leaf)),
            };
            (child, bytes)
        });
        let Some((first, bytes)) = all.next() else {
            return tree;
        };
        tree.heap_bytes = bytes;
        tree.len = first.len;
        tree.root = first.node;
        let behind: Vec<Child<L>> = all
            .map(|(child, bytes)| {
                tree.heap_bytes += bytes;
                child
            })
            .collect();
        if !behind.is_empty() {
            tree.len += behind.iter().map(|child| child.len).sum::<u64>();
            tree.raise(behind);
        }
        tree
    }
}

fn first_key<L: Leaf>(node: &Node<L>) -> L::Key {
    match node {
        Node::Leaf(leaf) => leaf.first_key(),
        Node::Inner(inner) => inner.first_key().clone(),
    }
}
