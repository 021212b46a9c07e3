//! Least recently used.

use super::linked::Lists;
use crate::simulator::Cache;

pub struct Lru {
    capacity: u64,
    lists: Lists,
}

impl Lru {
    pub fn new(capacity: u64) -> Self {
        Self {
            capacity,
            lists: Lists::new(1),
        }
    }
}

impl Cache for Lru {
    fn request(&mut self, hash: u64, cost: u64) -> bool {
        if let Some(at) = self.lists.find(hash) {
            self.lists.shift(0, at);
            return true;
        }
        if cost > self.capacity {
            return false;
        }
        while self.lists.bytes(0) + cost > self.capacity {
            if let Some(front) = self.lists.front(0) {
                self.lists.remove(front);
            }
        }
        self.lists.push(0, hash, cost);
        false
    }
}
