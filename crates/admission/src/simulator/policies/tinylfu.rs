//! W-TinyLFU with a fixed window (Einziger, Friedman, Manes 2017): least recently used lists, a window of 1%, a main
//! part of which 80% is protected, and a count-min sketch of 4-bit counters, 16 an entry, halved every 10 requests an
//! entry.

use super::linked::Lists;
use crate::simulator::Cache;

const WINDOW: u8 = 0;
const PROBATION: u8 = 1;
const PROTECTED: u8 = 2;
const COUNTER_MAX: u8 = 15;
/// Uses from which a candidate that is no better may still be let in, so that nobody can lock the cache up.
const WARM: u8 = 6;

pub struct WTinyLfu {
    capacity: u64,
    window_capacity: u64,
    protected_capacity: u64,
    lists: Lists,
    sketch: CountMin,
    random: u64,
}

impl WTinyLfu {
    /// `window_percent`: of the capacity.
    pub fn new(capacity: u64, window_percent: u64) -> Self {
        let window_capacity = (capacity * window_percent / 100).max(1);
        Self {
            capacity,
            window_capacity,
            protected_capacity: (capacity - window_capacity) * 8 / 10,
            lists: Lists::new(3),
            sketch: CountMin::new(),
            random: 1,
        }
    }

    fn used(&self) -> u64 {
        (WINDOW..=PROTECTED)
            .map(|list| self.lists.bytes(list))
            .sum()
    }

    /// Makes the queues fit again after an entry has come into the window.
    fn settle(&mut self) {
        let mut candidates = Vec::new();
        while self.lists.bytes(WINDOW) > self.window_capacity {
            let Some(front) = self.lists.front(WINDOW) else {
                break;
            };
            self.lists.shift(PROBATION, front);
            candidates.push(front);
        }
        let mut candidates = candidates.into_iter().peekable();
        while self.used() > self.capacity {
            let victim = self
                .lists
                .front(PROBATION)
                .or_else(|| self.lists.front(PROTECTED))
                .or_else(|| self.lists.front(WINDOW));
            let Some(victim) = victim else {
                return;
            };
            let loser = match candidates.peek().copied() {
                Some(candidate) if candidate != victim => {
                    if self.admits(candidate, victim) {
                        victim
                    } else {
                        candidates.next();
                        candidate
                    }
                }
                _ => {
                    candidates.next();
                    victim
                }
            };
            self.lists.remove(loser);
        }
    }

    fn admits(&mut self, candidate: u32, victim: u32) -> bool {
        let newer = self.sketch.estimate(self.lists.node(candidate).hash);
        let older = self.sketch.estimate(self.lists.node(victim).hash);
        if newer > older {
            return true;
        }
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        newer >= WARM && self.random.is_multiple_of(128)
    }
}

impl Cache for WTinyLfu {
    fn request(&mut self, hash: u64, cost: u64) -> bool {
        self.sketch.record(hash, self.lists.len());
        if let Some(at) = self.lists.find(hash) {
            match self.lists.node(at).list {
                PROBATION => {
                    self.lists.shift(PROTECTED, at);
                    while self.lists.bytes(PROTECTED) > self.protected_capacity {
                        let Some(front) = self.lists.front(PROTECTED) else {
                            break;
                        };
                        self.lists.shift(PROBATION, front);
                    }
                }
                list => self.lists.shift(list, at),
            }
            return true;
        }
        if cost > self.capacity {
            return false;
        }
        self.lists.push(WINDOW, hash, cost);
        self.settle();
        false
    }
}

/// Counters of 4 bits, kept in bytes: the memory of a simulation is not counted.
struct CountMin {
    counters: Vec<u8>,
    records: u64,
}

impl CountMin {
    fn new() -> Self {
        Self {
            counters: vec![0; 4 * 64],
            records: 0,
        }
    }

    fn place(&self, hash: u64, row: usize) -> usize {
        let width = self.counters.len() / 4;
        let mixed = (hash ^ (row as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
            .wrapping_mul(0xbf58_476d_1ce4_e5b9);
        row * width + (mixed >> 32) as usize % width
    }

    fn record(&mut self, hash: u64, entries: usize) {
        // Four rows of four counters an entry.
        if entries * 4 > self.counters.len() / 4 {
            let width = (entries * 8).next_power_of_two();
            self.counters = vec![0; 4 * width];
            self.records = 0;
        }
        for row in 0..4 {
            let place = self.place(hash, row);
            self.counters[place] = (self.counters[place] + 1).min(COUNTER_MAX);
        }
        self.records += 1;
        if self.records >= 10 * entries.max(16) as u64 {
            self.counters.iter_mut().for_each(|counter| *counter /= 2);
            self.records /= 2;
        }
    }

    fn estimate(&self, hash: u64) -> u8 {
        (0..4)
            .map(|row| self.counters[self.place(hash, row)])
            .min()
            .unwrap_or(0)
    }
}
