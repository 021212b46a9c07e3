//! Victims out of random samples, as Redis finds them.

use super::linked::ByHash;
use crate::simulator::Cache;

/// Which of the samples goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sampling {
    Random,
    Lru,
    Lfu,
}

const SAMPLES: usize = 5;
const LOG_FACTOR: u64 = 10;
const USES_INITIAL: u8 = 5;
/// Requests for each entry after which a count that was not used falls by one.
const DECAY: u64 = 1;

#[derive(Clone, Copy)]
struct Entry {
    hash: u64,
    cost: u64,
    last: u64,
    uses: u8,
}

pub struct Sampled {
    capacity: u64,
    used: u64,
    clock: u64,
    random: u64,
    sampling: Sampling,
    entries: Vec<Entry>,
    by_hash: ByHash<usize>,
}

impl Sampled {
    pub fn new(capacity: u64, sampling: Sampling) -> Self {
        Self {
            capacity,
            used: 0,
            clock: 0,
            random: 0x2545_f491_4f6c_dd1d,
            sampling,
            entries: Vec::new(),
            by_hash: ByHash::default(),
        }
    }

    fn next_random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn uses(&self, entry: &Entry) -> u8 {
        let idle = (self.clock - entry.last) / (DECAY * self.entries.len().max(1) as u64);
        entry.uses.saturating_sub(idle.min(255) as u8)
    }

    fn evict(&mut self) {
        let samples = if self.sampling == Sampling::Random {
            1
        } else {
            SAMPLES
        };
        let victim = (0..samples)
            .map(|_| self.next_random() as usize % self.entries.len())
            .collect::<Vec<_>>()
            .into_iter()
            .min_by_key(|at| {
                let entry = &self.entries[*at];
                match self.sampling {
                    Sampling::Lfu => (u64::from(self.uses(entry)), entry.last),
                    Sampling::Lru | Sampling::Random => (0, entry.last),
                }
            });
        let Some(victim) = victim else {
            return;
        };
        let gone = self.entries.swap_remove(victim);
        self.by_hash.remove(&gone.hash);
        self.used -= gone.cost;
        if let Some(moved) = self.entries.get(victim) {
            self.by_hash.insert(moved.hash, victim);
        }
    }
}

impl Cache for Sampled {
    fn request(&mut self, hash: u64, cost: u64) -> bool {
        self.clock += 1;
        if let Some(at) = self.by_hash.get(&hash).copied() {
            let uses = self.uses(&self.entries[at]);
            let beyond = u64::from(uses.saturating_sub(USES_INITIAL));
            let rises =
                uses < u8::MAX && self.next_random().is_multiple_of(beyond * LOG_FACTOR + 1);
            let entry = &mut self.entries[at];
            entry.uses = uses + u8::from(rises);
            entry.last = self.clock;
            return true;
        }
        if cost > self.capacity {
            return false;
        }
        while self.used + cost > self.capacity {
            self.evict();
        }
        self.used += cost;
        self.by_hash.insert(hash, self.entries.len());
        self.entries.push(Entry {
            hash,
            cost,
            last: self.clock,
            uses: USES_INITIAL,
        });
        false
    }
}
