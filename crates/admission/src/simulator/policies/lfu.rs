//! Least frequently used, by the uses of an entry since it was stored; the longest unused of equals goes first.

use std::collections::BTreeMap;

use super::linked::ByHash;
use crate::simulator::Cache;

pub struct Lfu {
    capacity: u64,
    used: u64,
    clock: u64,
    entries: ByHash<(u64, u64, u64)>,
    order: BTreeMap<(u64, u64), u64>,
}

impl Lfu {
    pub fn new(capacity: u64) -> Self {
        Self {
            capacity,
            used: 0,
            clock: 0,
            entries: ByHash::default(),
            order: BTreeMap::new(),
        }
    }
}

impl Cache for Lfu {
    fn request(&mut self, hash: u64, cost: u64) -> bool {
        self.clock += 1;
        if let Some((uses, since, _)) = self.entries.get_mut(&hash) {
            self.order.remove(&(*uses, *since));
            (*uses, *since) = (*uses + 1, self.clock);
            self.order.insert((*uses, *since), hash);
            return true;
        }
        if cost > self.capacity {
            return false;
        }
        while self.used + cost > self.capacity {
            if let Some((_, victim)) = self.order.pop_first()
                && let Some((_, _, cost)) = self.entries.remove(&victim)
            {
                self.used -= cost;
            }
        }
        self.used += cost;
        self.entries.insert(hash, (1, self.clock, cost));
        self.order.insert((1, self.clock), hash);
        false
    }
}
