//! Trees that nobody needs any more, freed in steps.

use std::fmt::Debug;
use std::rc::Rc;

use super::{Leaf, Node, Tree, leaf_bytes};

/// The remains of a collection.
pub trait Wreckage: Debug {
    /// Frees about `budget` nodes. Returns the bytes that became free and what is left of the budget, which is
    /// something once all is freed.
    fn free(&mut self, budget: usize) -> (u64, usize);
}

/// The remains of a tree.
#[derive(Debug)]
pub struct Wreck<L: Leaf> {
    nodes: Vec<Node<L>>,
    /// Bytes that are not reported as free yet.
    heap_bytes: u64,
}

impl<L: Leaf> Tree<L> {
    /// Gives the tree up, to be freed in steps.
    #[must_use]
    pub fn into_wreck(self) -> Wreck<L> {
        Wreck {
            heap_bytes: self.heap_bytes,
            nodes: vec![self.root],
        }
    }
}

impl<L: Leaf> Wreckage for Wreck<L> {
    fn free(&mut self, budget: usize) -> (u64, usize) {
        let mut left = budget;
        let mut freed = 0;
        while left > 0
            && let Some(node) = self.nodes.pop()
        {
            left -= 1;
            match node {
                Node::Leaf(leaf) => freed += leaf_bytes(&*leaf),
                Node::Inner(inner) => {
                    // What somebody else holds lives on, and is no work.
                    if let Ok(inner) = Rc::try_unwrap(inner) {
                        self.nodes.extend(inner.into_nodes());
                    }
                }
            }
        }
        freed = freed.min(self.heap_bytes);
        if self.nodes.is_empty() {
            freed = self.heap_bytes;
            left = left.max(1);
        }
        self.heap_bytes -= freed;
        (freed, left)
    }
}

/// Remains of several parts, and bytes that are free with the last of them.
#[derive(Debug)]
pub struct Wrecks {
    heap_bytes: u64,
    parts: Vec<Box<dyn Wreckage>>,
}

impl Wrecks {
    /// The remains of a collection with so many bytes beside its parts.
    #[must_use]
    pub fn new(heap_bytes: u64, parts: Vec<Box<dyn Wreckage>>) -> Self {
        Self { heap_bytes, parts }
    }
}

impl Wreckage for Wrecks {
    fn free(&mut self, budget: usize) -> (u64, usize) {
        let (mut freed, mut left) = (0, budget);
        while left > 0
            && let Some(part) = self.parts.last_mut()
        {
            let (bytes, rest) = part.free(left);
            freed += bytes;
            left = rest;
            if left > 0 {
                self.parts.pop();
            }
        }
        if self.parts.is_empty() {
            freed += std::mem::take(&mut self.heap_bytes);
            left = left.max(1);
        }
        (freed, left)
    }
}
