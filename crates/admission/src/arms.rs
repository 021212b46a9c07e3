//! Which window and which rule for newcomers serve best, found by miniature simulation (Waldspurger, Saemundsson,
//! Ahmad, Park 2017).
//!
//! Each arm is a small cache with other shares for its queues, or another rule. It sees only the requests for a fixed
//! sample of the keys and has as much less memory as it has fewer keys, so that its hit ratio tells that of the whole
//! cache under its shares. The arms are compared request by request (McNemar 1947): only requests on which two arms
//! differ tell anything; a lead must be larger than chance would give it, and than what a change costs.

use crate::queues::{ALL, Queues, Shares};
use crate::ring::BLOCK_SMALL;
use crate::slot::{Slot, Tag};
use crate::table::Table;

/// From W-TinyLFU with a window of 1% to a plain clock. Besides the window they differ in how the main part keeps its
/// order, and in who gets into it: the second and the last keep loops, the last two take in at once what comes back,
/// the fifth by the rule of S3-FIFO. No more are needed: on nearly every trace one of them is within half a point of
/// the best policy, and with each that is added the choice gets harder.
const SHARES: [Shares; 6] = [
    shares(10, ROUNDS),
    Shares {
        margin: 1,
        ..shares(10, ROUNDS)
    },
    Shares {
        held_against: 2,
        ..shares(102, SEGMENTS)
    },
    shares(ALL, SEGMENTS),
    Shares {
        ghosts: true,
        ..shares(10, ROUNDS)
    },
    Shares {
        margin: 1,
        direct: true,
        ..shares(102, ROUNDS)
    },
];
/// Where a cache begins: with the arm that is seldom far behind, whatever comes.
const FIRST: usize = 2;

/// The main part as one queue, and as probation and protected queue.
const ROUNDS: u32 = 0;
const SEGMENTS: u32 = 819;

const fn shares(window: u32, protected: u32) -> Shares {
    Shares {
        window,
        protected,
        held_against: Tag::USES_MAX,
        margin: 0,
        direct: false,
        ghosts: false,
    }
}

/// Keys of an arm above which it sees half as many, where bytes do not set a lower bound,
const KEYS_MAX: u64 = 2048;
/// and how low that may be.
const KEYS_MIN: u64 = 128;
/// Bytes that the arms take for each key that they have, together.
const KEY_BYTES: u64 = 300;
/// Decisions in the time in which an arm's keys are requested once, on average.
const DECISIONS: u64 = 4;
const PERIOD_MIN: u64 = 64;
/// Requests for each key of an arm after which they count 1/e.
const MEMORY: f64 = 32.0;
/// A lead counts above so many standard deviations,
const SURE: f64 = 3.0;
/// and when it is at least this share of the requests,
const WORTH: f64 = 0.001;
/// and this share of an arm's keys: some of what the arm in force has gathered is lost by a change.
const COST: f64 = 0.05;
/// To leave the plain clock takes more: a cache should not be worse than a least recently used list, whatever it tries.
const COST_LEAVING_CLOCK: f64 = 3.0;
/// Each change makes the next one so much dearer, and that fades as requests do: where requests come in long turns
/// leads come and go, and who follows each of them is always late.
const COST_GROWS: f64 = 2.0;
const COST_MAX: f64 = 3.2;

#[derive(Debug)]
struct Arm {
    queues: Queues<BLOCK_SMALL>,
    table: Table,
    hit: bool,
    /// Hits more than the arm in force, and requests on which they differed; older ones count less.
    lead: f64,
    differed: f64,
}

#[derive(Debug)]
pub(crate) struct Arms {
    arms: [Arm; SHARES.len()],
    current: usize,
    /// Bytes of the cache for each that the arms may take.
    share: Option<u64>,
    /// One key in 2^shift is in the sample.
    shift: u32,
    /// Requests since the last decision, and before it with their weight.
    requests: u64,
    weight: f64,
    /// What a change must be worth now, as [`COST`].
    cost: f64,
}

/// A request as the cache sees it.
#[derive(Clone, Copy)]
pub(crate) struct Request {
    pub(crate) slot: Slot,
    pub(crate) cost: u64,
    /// Uses of the key lately, this one included.
    pub(crate) uses: u32,
    pub(crate) epoch: u8,
    /// Keys in the cache, and their bytes.
    pub(crate) keys: usize,
    pub(crate) bytes: u64,
    /// Bytes that fit into the cache, once it has been full.
    pub(crate) limit: Option<u64>,
}

impl Arms {
    /// Of all bytes in the cache the arms take at most one in `share`; none: those of [`KEYS_MAX`] keys.
    pub(crate) fn new(share: Option<u64>) -> Self {
        Self {
            arms: SHARES.map(|shares| Arm {
                queues: Queues::new(shares),
                table: Table::default(),
                hit: false,
                lead: 0.0,
                differed: 0.0,
            }),
            current: FIRST,
            share,
            shift: 0,
            requests: 0,
            weight: 0.0,
            cost: COST,
        }
    }

    pub(crate) fn shares(&self) -> Shares {
        SHARES[self.current]
    }

    /// Shows a request to the arms. Returns the shares that are to be in force from now on, where they change.
    #[inline]
    pub(crate) fn request(&mut self, request: &Request) -> Option<Shares> {
        if !self.is_sampled(request.slot) {
            return None;
        }
        let keys_max = self.share.map_or(KEYS_MAX, |share| {
            (request.bytes / share / KEY_BYTES).clamp(KEYS_MIN, KEYS_MAX)
        });
        while request.keys as u64 >> self.shift > keys_max {
            self.halve();
        }
        let limit = request.limit.map(|bytes| bytes >> self.shift);
        for arm in &mut self.arms {
            arm.hit = arm.request(request, limit);
        }
        let current = self.arms[self.current].hit;
        for arm in &mut self.arms {
            if arm.hit != current {
                arm.lead += if arm.hit { 1.0 } else { -1.0 };
                arm.differed += 1.0;
            }
        }
        self.requests += 1;
        let keys = self.arms[self.current].queues.keys() as u64;
        if self.requests < (keys / DECISIONS).max(PERIOD_MIN) {
            return None;
        }
        self.decide(keys.max(PERIOD_MIN))
    }

    /// Forgets a key that was removed.
    #[inline]
    pub(crate) fn remove(&mut self, slot: Slot) {
        if !self.is_sampled(slot) {
            return;
        }
        for arm in &mut self.arms {
            if let Some(place) = arm.table.position(slot) {
                let (tag, cost) = arm.table.entry(place);
                arm.queues.remove(tag, cost);
                arm.table.remove(place);
            }
        }
    }

    pub(crate) fn memory(&self) -> usize {
        self.arms
            .iter()
            .map(|arm| arm.queues.memory() + arm.table.memory())
            .sum()
    }

    #[inline]
    fn is_sampled(&self, slot: Slot) -> bool {
        self.shift == 0 || sample(slot) >> (64 - self.shift) == 0
    }

    /// Takes half of the keys out of the sample.
    fn halve(&mut self) {
        self.shift += 1;
        let shift = self.shift;
        for Arm { queues, table, .. } in &mut self.arms {
            table.retain(
                |slot| sample(slot) >> (64 - shift) == 0,
                |tag, cost| queues.remove(tag, cost),
            );
        }
    }

    fn decide(&mut self, keys: u64) -> Option<Shares> {
        let decay = (-(self.requests as f64) / (MEMORY * keys as f64)).exp();
        self.weight = self.weight * decay + self.requests as f64;
        self.cost = COST + (self.cost - COST) * decay;
        self.requests = 0;
        let leaving = if self.shares().window == ALL {
            COST_LEAVING_CLOCK
        } else {
            1.0
        };
        let bar = (WORTH * self.weight).max(leaving * self.cost * keys as f64);
        let mut best = self.current;
        let mut surest = 0.0;
        for (number, arm) in self.arms.iter_mut().enumerate() {
            let sure = arm.lead - SURE * arm.differed.sqrt();
            if sure > surest && arm.lead > bar {
                (best, surest) = (number, sure);
            }
            arm.lead *= decay;
            arm.differed *= decay;
        }
        if best == self.current {
            return None;
        }
        self.current = best;
        self.cost = (self.cost * COST_GROWS).min(COST_MAX);
        let lead = self.arms[best].lead;
        for arm in &mut self.arms {
            arm.lead -= lead;
        }
        Some(self.shares())
    }
}

impl Arm {
    fn request(&mut self, request: &Request, limit: Option<u64>) -> bool {
        if let Some(place) = self.table.position(request.slot) {
            let (tag, before) = self.table.entry(place);
            let after = request.cost.min(Table::COST_MAX);
            self.queues.resize(tag, before, after);
            self.table
                .update(place, tag.after_use(request.epoch), after);
            return true;
        }
        let cost = request.cost.min(Table::COST_MAX);
        if let Some(limit) = limit {
            if cost > limit {
                return false;
            }
            while self.queues.total() + cost > limit {
                if let Some(victim) = self.queues.evict(&mut self.table, request.epoch) {
                    self.table.remove(victim.place);
                }
            }
        }
        let tag = self
            .queues
            .insert(request.slot, cost, request.uses, request.epoch);
        self.table.insert(request.slot, tag, cost);
        self.queues.fill(&mut self.table);
        false
    }
}

/// Bits that have nothing to do with those that place a key elsewhere.
#[inline]
fn sample(slot: Slot) -> u64 {
    let mixed = slot.key().wrapping_mul(0xd6e8_feb8_6659_fd93);
    (mixed ^ mixed >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93)
}
