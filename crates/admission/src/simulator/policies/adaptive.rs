//! The policy of the engine, over a hash table.

use crate::policy::{Counters, Policy};
use crate::simulator::Cache;
use crate::slot::Slot;
use crate::table::Table;

/// As in the engine.
const TIDY_STEPS: usize = 2;

#[derive(Debug)]
pub struct Adaptive {
    capacity: u64,
    policy: Policy,
    table: Table,
}

impl Adaptive {
    pub fn new(capacity: u64) -> Self {
        Self {
            capacity,
            // What a simulation counts need not be bytes.
            policy: Policy::with_full_samples(),
            table: Table::default(),
        }
    }

    pub fn counters(&self) -> Counters {
        self.policy.counters()
    }
}

impl Cache for Adaptive {
    fn request(&mut self, hash: u64, cost: u64) -> bool {
        let cost = cost.min(Table::COST_MAX);
        let slot = Slot::new(hash, 0);
        if let Some(place) = self.table.position(slot) {
            let (tag, cost) = self.table.entry(place);
            let tag = self.policy.on_hit(hash, 0, tag, cost);
            self.table.update(place, tag, cost);
            return true;
        }
        if cost > self.capacity {
            return false;
        }
        while self.policy.bytes() + cost > self.capacity {
            if let Some(victim) = self.policy.evict(&mut self.table) {
                self.table.remove(victim.place);
            }
        }
        let tag = self.policy.on_insert(hash, 0, cost);
        self.table.insert(slot, tag, cost);
        self.policy.tidy(&mut self.table, TIDY_STEPS);
        false
    }
}
