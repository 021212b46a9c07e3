//! S3-FIFO (Yang, Zhang, Qiu, Yue, Rashmi 2023): a small queue of 10%, a main queue, and a ghost queue of the hashes
//! that left the small one, as long as the main queue.

use std::collections::VecDeque;

use super::linked::{ByHash, Lists};
use crate::simulator::Cache;

const SMALL: u8 = 0;
const MAIN: u8 = 1;
const USES_MAX: u8 = 3;
/// Uses in the small queue that let an entry into the main one.
const USES_TO_STAY: u8 = 2;

pub struct S3Fifo {
    capacity: u64,
    small_capacity: u64,
    lists: Lists,
    ghosts: VecDeque<(u64, u64, u64)>,
    ghost_bytes: u64,
    ghost_of: ByHash<u64>,
    clock: u64,
}

impl S3Fifo {
    pub fn new(capacity: u64) -> Self {
        Self {
            capacity,
            small_capacity: (capacity / 10).max(1),
            lists: Lists::new(2),
            ghosts: VecDeque::new(),
            ghost_bytes: 0,
            ghost_of: ByHash::default(),
            clock: 0,
        }
    }

    fn evict(&mut self) {
        let main_is_full = self.lists.bytes(MAIN) > self.capacity - self.small_capacity;
        if main_is_full || self.lists.bytes(SMALL) == 0 {
            self.evict_main();
        } else {
            self.evict_small();
        }
    }

    fn evict_small(&mut self) {
        while let Some(front) = self.lists.front(SMALL) {
            if self.lists.node(front).uses < USES_TO_STAY {
                let node = self.lists.remove(front);
                self.remember(node.hash, node.cost);
                return;
            }
            self.lists.node_mut(front).uses = 0;
            self.lists.shift(MAIN, front);
        }
    }

    fn evict_main(&mut self) {
        while let Some(front) = self.lists.front(MAIN) {
            if self.lists.node(front).uses == 0 {
                self.lists.remove(front);
                return;
            }
            self.lists.node_mut(front).uses -= 1;
            self.lists.shift(MAIN, front);
        }
    }

    fn remember(&mut self, hash: u64, cost: u64) {
        self.clock += 1;
        self.ghosts.push_back((hash, cost, self.clock));
        self.ghost_of.insert(hash, self.clock);
        self.ghost_bytes += cost;
        while self.ghost_bytes > self.capacity - self.small_capacity {
            let Some((old, cost, since)) = self.ghosts.pop_front() else {
                return;
            };
            self.ghost_bytes -= cost;
            if self.ghost_of.get(&old) == Some(&since) {
                self.ghost_of.remove(&old);
            }
        }
    }
}

impl Cache for S3Fifo {
    fn request(&mut self, hash: u64, cost: u64) -> bool {
        if let Some(at) = self.lists.find(hash) {
            let node = self.lists.node_mut(at);
            node.uses = (node.uses + 1).min(USES_MAX);
            return true;
        }
        if cost > self.capacity {
            return false;
        }
        while self.lists.bytes(SMALL) + self.lists.bytes(MAIN) + cost > self.capacity {
            self.evict();
        }
        let list = if self.ghost_of.remove(&hash).is_some() {
            MAIN
        } else {
            SMALL
        };
        self.lists.push(list, hash, cost);
        false
    }
}
