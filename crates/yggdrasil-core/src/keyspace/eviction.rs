//! Policies of eviction, and what they remember of an access.
//!
//! An entry has 24 bits for its last uses. What they mean follows from the policy ([`AccessBits`]):
//! ```text
//! Clock       seconds:24               the last use
//! Frequency   minutes:16 | counter:8   as Redis's LFU: a logarithmic counter (Morris 1978) and its last decay
//! Queued      tag:20 | era:4           the place in the queues of the admission policy, and uses
//! ```
//! Entries that were stored under another policy are read as if they had been stored under this one, as in Redis.

use super::types::Millis;

/// `maxmemory-policy`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Policy {
    /// Adaptive W-TinyLFU: keeps what is used often for its size, and lets new keys prove themselves in a window.
    #[default]
    TinyLfu,
    NoEviction,
    AllKeysLru,
    AllKeysLfu,
    AllKeysRandom,
    VolatileLru,
    VolatileLfu,
    VolatileRandom,
    VolatileTtl,
}

impl Policy {
    /// All, with the names they have in the configuration.
    pub const ALL: [(&'static str, Policy); 9] = [
        ("tinylfu", Policy::TinyLfu),
        ("noeviction", Policy::NoEviction),
        ("allkeys-lru", Policy::AllKeysLru),
        ("allkeys-lfu", Policy::AllKeysLfu),
        ("allkeys-random", Policy::AllKeysRandom),
        ("volatile-lru", Policy::VolatileLru),
        ("volatile-lfu", Policy::VolatileLfu),
        ("volatile-random", Policy::VolatileRandom),
        ("volatile-ttl", Policy::VolatileTtl),
    ];

    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let found = Self::ALL.iter().find(|(known, _)| *known == name);
        found.map(|(_, policy)| *policy)
    }

    /// True when only entries with a time of expiry are removed.
    #[must_use]
    pub fn is_volatile(self) -> bool {
        matches!(
            self,
            Self::VolatileLru | Self::VolatileLfu | Self::VolatileRandom | Self::VolatileTtl
        )
    }

    /// True when victims are taken as they come.
    pub(super) fn is_random(self) -> bool {
        matches!(self, Self::AllKeysRandom | Self::VolatileRandom)
    }

    /// The meaning of the access bits of entries, with or without a limit of memory.
    #[must_use]
    pub fn access_bits(self, limited: bool) -> AccessBits {
        match self {
            Self::AllKeysLfu | Self::VolatileLfu => AccessBits::Frequency,
            Self::TinyLfu if limited => AccessBits::Queued,
            _ => AccessBits::Clock,
        }
    }
}

/// The meaning of the access bits of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AccessBits {
    #[default]
    Clock,
    Frequency,
    Queued,
}

/// Of the clock in seconds.
const CLOCK_MASK: u64 = 0xff_ffff;

impl AccessBits {
    /// Seconds since the last use, as far back as the clock reaches; `None` where uses are counted instead.
    #[must_use]
    pub fn idle_seconds(self, access: u32, now: Millis) -> Option<u64> {
        let idle = || (now / 1000).wrapping_sub(u64::from(access)) & CLOCK_MASK;
        (self == Self::Clock).then(idle)
    }

    /// The clock of an entry that was used so long ago.
    #[inline(always)]
    pub(super) fn clock(seconds_ago: u64, now: Millis) -> u32 {
        ((now / 1000).wrapping_sub(seconds_ago.min(CLOCK_MASK)) & CLOCK_MASK) as u32
    }
}

/// The LFU of Redis: a counter that grows the more rarely the larger it is, and shrinks with time.
pub(super) mod frequency {
    use super::Millis;

    /// Counter of a new entry, so that it is not the first to go.
    pub(crate) const INITIAL: u32 = 5;
    const COUNTER_MAX: u32 = 255;

    #[inline]
    pub(crate) fn pack(now: Millis, counter: u32) -> u32 {
        ((now / 60_000) as u32 & 0xffff) << 8 | counter
    }

    /// The counter as it is now: less by one for every `decay_minutes` that have passed; 0 never shrinks it.
    #[inline]
    pub(crate) fn counter(access: u32, now: Millis, decay_minutes: u32) -> u32 {
        let minutes = ((now / 60_000) as u32).wrapping_sub(access >> 8) & 0xffff;
        let periods = minutes.checked_div(decay_minutes).unwrap_or(0);
        (access & COUNTER_MAX).saturating_sub(periods)
    }

    /// The counter after one more use; `random` is a fresh random number.
    #[inline]
    pub(crate) fn increased(counter: u32, log_factor: u32, random: u32) -> u32 {
        if counter == COUNTER_MAX {
            return counter;
        }
        let above = u64::from(counter.saturating_sub(INITIAL));
        let odds = above * u64::from(log_factor) + 1;
        counter + u32::from(u64::from(random) * odds <= u64::from(u32::MAX))
    }
}

/// Settings of eviction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EvictionOptions {
    pub policy: Policy,
    /// Entries that are compared for each victim.
    pub samples: usize,
    pub lfu_log_factor: u32,
    /// Minutes after which a counter shrinks by one; 0 for never.
    pub lfu_decay_minutes: u32,
}

impl Default for EvictionOptions {
    fn default() -> Self {
        Self {
            policy: Policy::NoEviction,
            samples: 5,
            lfu_log_factor: 10,
            lfu_decay_minutes: 1,
        }
    }
}

/// An entry that might be evicted: its key's hash instead of its place, which may change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Candidate {
    pub(super) physical: u8,
    pub(super) hash: u64,
    /// The higher, the sooner it goes.
    pub(super) score: u64,
}

/// The best candidates of all samples so far, as in Redis: so that few samples come near to the true order.
#[derive(Debug, Default)]
pub(super) struct Pool {
    /// By score, the best last.
    candidates: Vec<Candidate>,
}

const POOL_SIZE: usize = 16;

impl Pool {
    pub(super) fn offer(&mut self, candidate: Candidate) {
        let known = |other: &Candidate| {
            (other.physical, other.hash) == (candidate.physical, candidate.hash)
        };
        // It may be idle for longer by now, or have been used since.
        if let Some(place) = self.candidates.iter().position(known) {
            self.candidates.remove(place);
        }
        if self.candidates.len() == POOL_SIZE {
            if candidate.score <= self.candidates[0].score {
                return;
            }
            self.candidates.remove(0);
        }
        let place = self
            .candidates
            .partition_point(|other| other.score <= candidate.score);
        self.candidates.insert(place, candidate);
    }

    /// The best candidate; it may be gone, or have been used since.
    pub(super) fn take(&mut self) -> Option<Candidate> {
        self.candidates.pop()
    }

    pub(super) fn clear(&mut self) {
        self.candidates.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_have_names_both_ways() {
        for (name, policy) in Policy::ALL {
            assert_eq!(Policy::named(name), Some(policy));
            assert_eq!(policy.is_volatile(), name.starts_with("volatile"));
        }
        assert_eq!(Policy::named("lru"), None);
    }

    #[test]
    fn clocks_tell_idle_times_around_their_end() {
        let now = 1_763_713_000_000;
        let bits = AccessBits::Clock;
        for seconds in [0, 8, 80, 8000] {
            let access = AccessBits::clock(seconds, now);
            assert_eq!(bits.idle_seconds(access, now), Some(seconds));
            assert_eq!(bits.idle_seconds(access, now + 16_000), Some(seconds + 16));
        }
        let far = AccessBits::clock(u64::MAX, now);
        assert_eq!(bits.idle_seconds(far, now), Some((1 << 24) - 1));
        assert_eq!(AccessBits::Queued.idle_seconds(far, now), None);
    }

    #[test]
    fn counters_grow_ever_more_rarely_and_shrink_with_time() {
        let now = 60_000_000;
        let access = frequency::pack(now, 100);
        assert_eq!(frequency::counter(access, now, 1), 100);
        assert_eq!(frequency::counter(access, now + 3 * 60_000, 1), 97);
        assert_eq!(frequency::counter(access, now + 3 * 60_000, 2), 99);
        assert_eq!(frequency::counter(access, now + 300 * 60_000, 1), 0);
        assert_eq!(frequency::counter(access, now + 300 * 60_000, 0), 100);
        assert_eq!(
            frequency::increased(5, 10, u32::MAX),
            6,
            "the first use always counts"
        );
        assert_eq!(frequency::increased(6, 10, u32::MAX / 12), 7);
        assert_eq!(frequency::increased(6, 10, u32::MAX / 10), 6);
        assert_eq!(frequency::increased(255, 10, 0), 255);
    }

    #[test]
    fn the_pool_knows_the_newest_score() {
        let mut pool = Pool::default();
        let candidate = |hash, score| Candidate {
            physical: 0,
            hash,
            score,
        };
        for hash in 0..POOL_SIZE as u64 {
            pool.offer(candidate(hash, 10));
        }
        pool.offer(candidate(0, 11));
        pool.offer(candidate(1, 9));
        let taken: Vec<u64> = std::iter::from_fn(|| pool.take())
            .map(|one| one.hash)
            .collect();
        assert_eq!(taken.len(), POOL_SIZE);
        assert_eq!((taken[0], taken[POOL_SIZE - 1]), (0, 1));
    }

    #[test]
    fn the_pool_keeps_the_best() {
        let mut pool = Pool::default();
        for hash in 0..100 {
            let score = hash * 37 % 100;
            pool.offer(Candidate {
                physical: 0,
                hash,
                score,
            });
        }
        let taken: Vec<u64> = std::iter::from_fn(|| pool.take())
            .map(|one| one.score)
            .collect();
        assert_eq!(taken, (84..100).rev().collect::<Vec<_>>());
    }
}
