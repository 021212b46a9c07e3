//! A counted B+ tree of shared nodes, under every large collection.
//!
//! Elements lie packed in leaves. Nodes are counted references: a clone of a tree takes constant time, and a change
//! copies only the nodes on its way that somebody else holds, too. Inner nodes know how many elements are below each
//! child, so a position is found as fast as a key.

mod walk;
mod wreck;

#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::mem::size_of;
use std::rc::Rc;

pub use self::walk::{Back, Walk};
pub use self::wreck::{Wreck, Wreckage, Wrecks};

/// Children that an inner node has at most. With the one more that it may have for a moment, they fill a size class of
/// the allocator.
const CHILDREN_MAX: usize = 63;
/// An inner node with fewer children takes in its neighbour's, where they fit.
const CHILDREN_FEW: usize = CHILDREN_MAX / 4;
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
    Inner(Rc<Vec<Child<L>>>),
}

impl<L: Leaf> Clone for Node<L> {
    fn clone(&self) -> Self {
        match self {
            Self::Leaf(leaf) => Self::Leaf(Rc::clone(leaf)),
            Self::Inner(children) => Self::Inner(Rc::clone(children)),
        }
    }
}

#[derive(Debug)]
struct Child<L: Leaf> {
    /// No key below is smaller, and all keys before are.
    least: L::Key,
    /// Elements below.
    len: u64,
    node: Node<L>,
}

impl<L: Leaf> Clone for Child<L> {
    fn clone(&self) -> Self {
        Self {
            least: self.least.clone(),
            len: self.len,
            node: self.node.clone(),
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

/// The element that a way down leads to.
enum Seek<'k, K> {
    Key(&'k K),
    /// The leaf of a position in a node of `len` elements; the end belongs to the last leaf.
    Position {
        at: u64,
        len: u64,
    },
}

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

/// Bytes of an inner node, which has room for all its children from the start.
fn inner_bytes<L: Leaf>() -> u64 {
    (NODE_BYTES + size_of::<Vec<Child<L>>>() + (CHILDREN_MAX + 1) * size_of::<Child<L>>()) as u64
}

fn children_of<L: Leaf>(children: impl Iterator<Item = Child<L>>) -> Vec<Child<L>> {
    let mut all = Vec::with_capacity(CHILDREN_MAX + 1);
    all.extend(children);
    all
}

/// The child that has a key if any has it.
#[inline]
fn child_of_key<L: Leaf>(children: &[Child<L>], key: &L::Key) -> usize {
    let behind = children.partition_point(|child| child.least <= *key);
    behind.saturating_sub(1)
}

/// The child that has a position in a node of `len` elements, and the position of its first element. It is searched
/// from the nearer end.
fn child_of_position<L: Leaf>(children: &[Child<L>], at: u64, len: u64) -> (usize, u64) {
    if at < len / 2 {
        let mut start = 0;
        for (index, child) in children.iter().enumerate() {
            if at < start + child.len {
                return (index, start);
            }
            start += child.len;
        }
    }
    let mut start = len;
    for (index, child) in children.iter().enumerate().rev() {
        start -= child.len;
        if at >= start && (child.len > 0 || index == 0) {
            return (index, start);
        }
    }
    (0, 0)
}

/// The child that a way down leads through, and the position of its first element below the node.
fn choose<L: Leaf>(children: &[Child<L>], seek: Seek<'_, L::Key>) -> (usize, u64) {
    match seek {
        Seek::Key(key) => {
            let index = child_of_key(children, key);
            let start = children[..index].iter().map(|child| child.len).sum();
            (index, start)
        }
        Seek::Position { at, len } => child_of_position(children, at, len),
    }
}

impl<K> Clone for Seek<'_, K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K> Copy for Seek<'_, K> {}

impl<'k, K> Seek<'k, K> {
    /// The same below a child that begins at a position and has so many elements.
    fn below(self, start: u64, len: u64) -> Self {
        match self {
            Self::Key(key) => Self::Key(key),
            Self::Position { at, .. } => Self::Position {
                at: at - start,
                len,
            },
        }
    }
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
                Self::Inner(children) => {
                    let children = unshared(children);
                    let (index, start) = match seek {
                        Seek::Key(key) => (child_of_key(children, key), 0),
                        Seek::Position { at, len } => child_of_position(children, at, len),
                    };
                    path.push(index);
                    let child = &mut children[index];
                    if let Seek::Key(key) = seek
                        && *key < child.least
                    {
                        child.least = key.clone();
                    }
                    seek = seek.below(start, child.len);
                    node = &mut child.node;
                }
            }
        }
    }

    /// Counts elements that came to the leaf of a way, or went, and changed nothing else.
    #[inline]
    fn count(&mut self, path: &[u8], len: i64) {
        let mut node = self;
        for place in path {
            let Self::Inner(children) = node else { return };
            let child = &mut unshared(children)[usize::from(*place)];
            child.len = child.len.saturating_add_signed(len);
            node = &mut child.node;
        }
    }

    /// Counts what a change has brought to the leaf of a way, and brings the nodes above in order. Returns what
    /// comes behind this node, and the bytes that the nodes above the leaf take more.
    fn settle(&mut self, path: &[u8], below: &mut Change<L>) {
        let (Some((place, path)), Self::Inner(children)) = (path.split_first(), self) else {
            return;
        };
        let children = unshared(children);
        let index = usize::from(*place);
        let child = &mut children[index];
        child.node.settle(path, below);
        let behind = std::mem::take(&mut below.behind);
        let len_behind: u64 = behind.iter().map(|child| child.len).sum();
        child.len = child.len.saturating_add_signed(below.len) - len_behind;
        if !behind.is_empty() {
            children.splice(index + 1..index + 1, behind);
            below.behind = overflow(children, index);
            below.heap_bytes += (below.behind.len() as u64 * inner_bytes::<L>()) as i64;
        } else if below.len <= 0 {
            below.heap_bytes -= tidy(children, index);
        }
    }

    fn is_small(&self) -> bool {
        match self {
            Self::Leaf(leaf) => leaf.is_small(),
            Self::Inner(children) => children.len() < CHILDREN_FEW,
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

/// Moves children for which a node has no room to nodes behind it; `index` is the child that was split.
fn overflow<L: Leaf>(children: &mut Vec<Child<L>>, index: usize) -> Vec<Child<L>> {
    let mut behind = Vec::new();
    while children.len() > CHILDREN_MAX {
        // Whoever only appends gets full nodes.
        let at = if index + 2 >= children.len() {
            CHILDREN_MAX
        } else {
            children.len() / 2
        };
        behind.push(parent(children_of(children.drain(at..))));
    }
    behind.reverse();
    behind
}

/// The children of a node that nobody else holds.
fn unshared<L: Leaf>(children: &mut Rc<Vec<Child<L>>>) -> &mut Vec<Child<L>> {
    if Rc::strong_count(children) > 1 {
        *children = Rc::new(children_of(children.iter().cloned()));
    }
    Rc::make_mut(children)
}

fn parent<L: Leaf>(children: Vec<Child<L>>) -> Child<L> {
    Child {
        least: children[0].least.clone(),
        len: children.iter().map(|child| child.len).sum(),
        node: Node::Inner(Rc::new(children)),
    }
}

/// Removes a child that has become empty, or joins it with a neighbour if both are small. Returns the bytes that are
/// freed.
fn tidy<L: Leaf>(children: &mut Vec<Child<L>>, index: usize) -> i64 {
    if children.len() == 1 {
        return 0;
    }
    if children[index].len == 0 {
        let removed = children.remove(index);
        return node_bytes(&removed.node) as i64;
    }
    if !children[index].node.is_small() {
        return 0;
    }
    let before = index.checked_sub(1);
    let pairs = [Some(index), before];
    let mut pairs = pairs.into_iter().flatten();
    pairs.find_map(|at| join(children, at)).unwrap_or(0)
}

/// Bytes of a node without elements below, and of those below it that have none either.
fn node_bytes<L: Leaf>(node: &Node<L>) -> u64 {
    match node {
        Node::Leaf(leaf) => leaf_bytes(&**leaf),
        Node::Inner(children) => {
            let below = children.iter().map(|child| node_bytes(&child.node));
            inner_bytes::<L>() + below.sum::<u64>()
        }
    }
}

/// Joins a child with the next one. Returns the bytes that are freed, or `None` where they stay apart.
fn join<L: Leaf>(children: &mut Vec<Child<L>>, index: usize) -> Option<i64> {
    let [left, right] = children.get_mut(index..index + 2)? else {
        return None;
    };
    let freed = match (&mut left.node, &right.node) {
        (Node::Leaf(left), Node::Leaf(right)) => {
            let before = leaf_bytes(&**left) + leaf_bytes(&**right);
            let joined = Rc::make_mut(left);
            if !joined.absorb(right) {
                return None;
            }
            before as i64 - leaf_bytes(joined) as i64
        }
        (Node::Inner(left), Node::Inner(right)) => {
            if left.len() + right.len() > CHILDREN_MAX / 2 {
                return None;
            }
            unshared(left).extend(right.iter().cloned());
            inner_bytes::<L>() as i64
        }
        _ => return None,
    };
    left.len += right.len;
    children.remove(index + 1);
    Some(freed)
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
        let mut level = children_of(std::iter::once(first).chain(behind));
        loop {
            if level.len() <= CHILDREN_MAX {
                self.heap_bytes += inner_bytes::<L>();
                self.root = Node::Inner(Rc::new(level));
                return;
            }
            let mut above = Vec::with_capacity(CHILDREN_MAX + 1);
            let mut rest = level.into_iter().peekable();
            while rest.peek().is_some() {
                self.heap_bytes += inner_bytes::<L>();
                above.push(parent(children_of(rest.by_ref().take(CHILDREN_MAX))));
            }
            level = above;
        }
    }

    /// Takes away roots with a single child.
    fn lower(&mut self) {
        while let Node::Inner(children) = &self.root
            && children.len() == 1
        {
            let child = children[0].node.clone();
            self.heap_bytes = self.heap_bytes.saturating_sub(inner_bytes::<L>());
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
                Node::Inner(children) => {
                    let (index, before) = choose(children, seek);
                    seek = seek.below(before, children[index].len);
                    start += before;
                    node = &children[index].node;
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
                Node::Inner(children) => {
                    node = &children[child_of_key(children, key)].node;
                }
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
        Node::Inner(children) => children[0].least.clone(),
    }
}
