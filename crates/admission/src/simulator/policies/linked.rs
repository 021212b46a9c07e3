//! Lists through one slab, as the linked policies need them.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Keys are hashes already.
#[derive(Default)]
pub(super) struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are 64-bit hashes");
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

pub(super) type ByHash<V> = HashMap<u64, V, BuildHasherDefault<Identity>>;

pub(super) const NIL: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) hash: u64,
    pub(super) cost: u64,
    pub(super) list: u8,
    pub(super) uses: u8,
    previous: u32,
    next: u32,
}

/// Front, back and bytes of a list.
#[derive(Clone, Copy, Debug)]
struct Ends {
    front: u32,
    back: u32,
    bytes: u64,
}

/// Nodes by hash, each on one of several lists.
pub(super) struct Lists {
    nodes: Vec<Node>,
    free: Vec<u32>,
    by_hash: ByHash<u32>,
    ends: Vec<Ends>,
}

impl Lists {
    pub(super) fn new(lists: usize) -> Self {
        let empty = Ends {
            front: NIL,
            back: NIL,
            bytes: 0,
        };
        Self {
            nodes: Vec::new(),
            free: Vec::new(),
            by_hash: ByHash::default(),
            ends: vec![empty; lists],
        }
    }

    pub(super) fn find(&self, hash: u64) -> Option<u32> {
        self.by_hash.get(&hash).copied()
    }

    pub(super) fn len(&self) -> usize {
        self.by_hash.len()
    }

    pub(super) fn node(&self, at: u32) -> &Node {
        &self.nodes[at as usize]
    }

    pub(super) fn node_mut(&mut self, at: u32) -> &mut Node {
        &mut self.nodes[at as usize]
    }

    pub(super) fn bytes(&self, list: u8) -> u64 {
        self.ends[usize::from(list)].bytes
    }

    pub(super) fn front(&self, list: u8) -> Option<u32> {
        Some(self.ends[usize::from(list)].front).filter(|at| *at != NIL)
    }

    /// Adds a node at the back of a list.
    pub(super) fn push(&mut self, list: u8, hash: u64, cost: u64) -> u32 {
        let node = Node {
            hash,
            cost,
            list,
            uses: 0,
            previous: NIL,
            next: NIL,
        };
        let at = match self.free.pop() {
            Some(at) => {
                self.nodes[at as usize] = node;
                at
            }
            None => {
                self.nodes.push(node);
                (self.nodes.len() - 1) as u32
            }
        };
        self.by_hash.insert(hash, at);
        self.link(list, at);
        at
    }

    /// Moves a node to the back of a list.
    pub(super) fn shift(&mut self, list: u8, at: u32) {
        self.unlink(at);
        self.link(list, at);
    }

    pub(super) fn remove(&mut self, at: u32) -> Node {
        self.unlink(at);
        let node = self.nodes[at as usize];
        self.by_hash.remove(&node.hash);
        self.free.push(at);
        node
    }

    fn link(&mut self, list: u8, at: u32) {
        let ends = &mut self.ends[usize::from(list)];
        let back = std::mem::replace(&mut ends.back, at);
        let node = &mut self.nodes[at as usize];
        (node.list, node.previous, node.next) = (list, back, NIL);
        ends.bytes += node.cost;
        if back == NIL {
            ends.front = at;
        } else {
            self.nodes[back as usize].next = at;
        }
    }

    fn unlink(&mut self, at: u32) {
        let node = self.nodes[at as usize];
        let ends = &mut self.ends[usize::from(node.list)];
        ends.bytes -= node.cost;
        if node.previous == NIL {
            ends.front = node.next;
        }
        if node.next == NIL {
            ends.back = node.previous;
        }
        if node.previous != NIL {
            self.nodes[node.previous as usize].next = node.next;
        }
        if node.next != NIL {
            self.nodes[node.next as usize].previous = node.previous;
        }
    }
}
