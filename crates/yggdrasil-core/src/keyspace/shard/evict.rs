//! Making room: which entries go when memory runs short, and how their memory becomes free for others.

use crate::keyspace::bucket::{Line, PLACES, fingerprint, line_reference, matches};
use crate::keyspace::classes::footprint;
use crate::keyspace::entry::Header;
use crate::keyspace::events::KeyEvent;
use crate::keyspace::eviction::{AccessBits, Candidate, EvictionOptions, Policy, Pool, frequency};
use crate::keyspace::journal::Cause;
use crate::keyspace::layout::{LINK, PAGE_BYTES};
use crate::keyspace::types::{Key, KeyspaceError, Millis};
use crate::random::Random;

use super::background::Cleared;
use super::queued::Queued;
use super::{Place, Shard};

/// How long room is sought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Effort {
    /// As long as others are served in time all the same.
    Little,
    /// Until there is no hope.
    Full,
}

/// Steps of little effort.
const STEPS_LITTLE: u64 = 256;
/// Steps that a write may take to find room: it gives up when so many have not been enough.
const STEPS_MIN: u64 = 16 * 1024;
/// Bytes of a write that allow it one step more.
const BYTES_PER_STEP: u64 = 32;
/// Buckets looked at for the samples of one victim.
const BUCKETS_PER_SAMPLE: usize = 8;
/// Random buckets looked at for an entry that is to be as likely as any other.
const BUCKETS_DRAWN_MAX: usize = 256;
/// Buckets, and entries of the timing wheel, that are searched where samples find pinned keys only.
const BUCKETS_SEARCHED: u64 = 4096;
const EXPIRING_SEARCHED: usize = 32 * 1024;
/// A bucket with so many entries is always taken when it is drawn.
const FULL_BUCKET: usize = 16;
/// Entries of cleared databases that are freed in one step.
const RECLAIMED_AT_ONCE: usize = 64;

/// The choice of victims.
#[derive(Debug, Default)]
pub(super) struct Eviction {
    options: EvictionOptions,
    bits: AccessBits,
    /// The admission policy, while its bits are those of the entries.
    queued: Option<Box<Queued>>,
    /// Of the last admission policy.
    era: u32,
    pool: Pool,
    random: Random,
    /// Database and hash of the key that is being written: it is not evicted for its own sake.
    spared: Option<(u8, u64)>,
}

impl Eviction {
    pub(super) fn queued(&self) -> Option<&Queued> {
        self.queued.as_deref()
    }

    #[inline]
    pub(super) fn take_queued(&mut self) -> Option<Box<Queued>> {
        self.queued.take()
    }

    #[inline]
    pub(super) fn put_queued(&mut self, queued: Box<Queued>) {
        self.queued = Some(queued);
    }

    /// True when it is the key that is being written.
    #[inline]
    pub(super) fn spares(&self, physical: u8, hash: u64) -> bool {
        self.spared == Some((physical, hash))
    }

    /// Access bits of a new entry that takes `bytes`.
    #[inline(always)]
    pub(super) fn inserted(&mut self, physical: u8, hash: u64, bytes: u64, now: Millis) -> u32 {
        match self.bits {
            AccessBits::Clock => AccessBits::clock(0, now),
            AccessBits::Frequency => frequency::pack(now, frequency::INITIAL),
            AccessBits::Queued => {
                let cost = footprint(bytes);
                let queued = self.queued.as_mut();
                queued.map_or(0, |queued| queued.inserted(physical, hash, cost))
            }
        }
    }

    /// True where the policy asks for the weight of what is used.
    #[inline(always)]
    pub(super) fn weighs_uses(&self) -> bool {
        self.bits == AccessBits::Queued
    }

    /// Access bits after one more use of an entry whose tree takes `tree_bytes`.
    #[inline(always)]
    pub(super) fn used(&mut self, place: &Place, hash: u64, now: Millis, tree_bytes: u64) -> u32 {
        if self.bits == AccessBits::Clock {
            AccessBits::clock(0, now)
        } else {
            self.used_under_policy(*place, hash, now, tree_bytes)
        }
    }

    #[inline(never)]
    fn used_under_policy(&mut self, place: Place, hash: u64, now: Millis, tree_bytes: u64) -> u32 {
        let access = place.header.access();
        match self.bits {
            AccessBits::Clock => AccessBits::clock(0, now),
            AccessBits::Frequency => self.used_frequency(access, now),
            AccessBits::Queued => {
                let cost = footprint(place.header.total_bytes()) + tree_bytes;
                let queued = self.queued.as_mut();
                queued.map_or(0, |queued| queued.used(place.physical, hash, access, cost))
            }
        }
    }

    /// Notes that an entry with these access bits weighs more or less than before.
    #[inline]
    pub(super) fn resized(&mut self, access: u32, before: u64, after: u64) {
        if let Some(queued) = &mut self.queued {
            queued.resized(access, before, after);
        }
    }

    /// Notes that an entry is gone for other reasons than eviction.
    #[inline]
    pub(super) fn removed(
        &mut self,
        physical: u8,
        access: u32,
        weight: u64,
        hash: impl Fn() -> u64,
    ) {
        if let Some(queued) = &mut self.queued {
            queued.removed(physical, hash(), access, weight);
        }
    }

    fn used_frequency(&mut self, access: u32, now: Millis) -> u32 {
        let counter = self.counter(access, now);
        let random = (self.random.draw() >> 32) as u32;
        let counter = frequency::increased(counter, self.options.lfu_log_factor, random);
        frequency::pack(now, counter)
    }

    fn counter(&self, access: u32, now: Millis) -> u32 {
        frequency::counter(access, now, self.options.lfu_decay_minutes)
    }

    /// How much it speaks for removing an entry.
    fn score(&mut self, access: u32, expire_at: Option<Millis>, now: Millis) -> u64 {
        match self.options.policy {
            Policy::AllKeysLfu | Policy::VolatileLfu => {
                u64::from(u8::MAX) - u64::from(self.counter(access, now))
            }
            Policy::VolatileTtl => Millis::MAX - expire_at.unwrap_or(Millis::MAX),
            _ => self.bits.idle_seconds(access, now).unwrap_or_default(),
        }
    }
}

impl Shard {
    /// Changes how victims are chosen.
    pub fn set_eviction(&mut self, options: EvictionOptions) {
        if self.eviction.options.policy != options.policy {
            self.eviction.pool.clear();
        }
        self.eviction.options = options;
        self.update_access_bits();
    }

    pub(super) fn update_access_bits(&mut self) {
        let limited = self.arena.limit != u64::MAX;
        let bits = self.eviction.options.policy.access_bits(limited);
        let was = std::mem::replace(&mut self.eviction.bits, bits);
        if was == bits {
            return;
        }
        self.arena.policy_bytes = 0;
        self.eviction.queued = (bits == AccessBits::Queued).then(|| {
            let queued = Queued::new(self.eviction.era, self.clock);
            self.eviction.era = queued.era();
            Box::new(queued)
        });
    }

    /// True if the policy looks at how often or when entries are used.
    #[must_use]
    pub fn counts_uses(&self) -> bool {
        use Policy::{AllKeysRandom, NoEviction, VolatileRandom, VolatileTtl};
        self.arena.limit != u64::MAX
            && !matches!(
                self.eviction.options.policy,
                AllKeysRandom | NoEviction | VolatileRandom | VolatileTtl
            )
    }

    /// The present meaning of the access bits of entries.
    #[must_use]
    pub fn access_bits(&self) -> AccessBits {
        self.eviction.bits
    }

    /// The counter of an entry under a policy that counts uses, without counting this one.
    #[must_use]
    pub fn frequency(&self, access: u32, now: Millis) -> Option<u32> {
        match self.eviction.bits {
            AccessBits::Clock => None,
            AccessBits::Frequency => Some(self.eviction.counter(access, now)),
            AccessBits::Queued => self.eviction.queued().map(|queued| queued.uses(access)),
        }
    }

    /// Gives an entry a counter, under a policy that counts uses.
    pub fn set_frequency(&mut self, key: &Key<'_>, counter: u8, now: Millis) {
        if self.eviction.bits == AccessBits::Frequency
            && let Some(place) = self.locate(key)
        {
            self.store_access(&place, frequency::pack(now, u32::from(counter)));
        }
    }

    /// Makes an entry look as if it had not been used for so long, under a policy that keeps the time.
    pub fn set_idle(&mut self, key: &Key<'_>, seconds: u64, now: Millis) {
        if self.eviction.bits == AccessBits::Clock
            && let Some(place) = self.locate(key)
        {
            self.store_access(&place, AccessBits::clock(seconds, now));
        }
    }

    #[inline]
    pub(super) fn store_access(&mut self, place: &Place, access: u32) {
        let header = self.header(place.at);
        self.arena
            .mapping
            .store(place.at + 1, header.with_access(access));
    }

    /// True when there may be something to evict.
    #[inline]
    pub(super) fn may_evict(&self) -> bool {
        match self.eviction.options.policy {
            Policy::NoEviction => false,
            policy if policy.is_volatile() => self.wheel.linked() > 0,
            _ => self.live_bytes() > 0,
        }
    }

    /// True when there may be something to free.
    fn may_free(&self) -> bool {
        !self.cleared.is_empty() || self.has_wrecks() || self.may_evict()
    }

    /// Bytes of entries and of their trees.
    fn live_bytes(&self) -> u64 {
        self.arena.live_bytes + self.arena.tree_bytes
    }

    /// Runs a change; as long as there is no memory for it, evicts and tries again. The key of the change is spared.
    #[inline]
    pub(super) fn with_room<T>(
        &mut self,
        key: &Key<'_>,
        now: Millis,
        mut change: impl FnMut(&mut Self) -> Result<T, KeyspaceError>,
    ) -> Result<T, KeyspaceError> {
        match change(self) {
            Err(KeyspaceError::OutOfMemory { needed, .. }) => {
                self.make_room(key, now, needed, change)
            }
            done => done,
        }
    }

    /// As [`Shard::with_room`], for a change that was tried and needs so many bytes.
    pub(super) fn make_room<T>(
        &mut self,
        key: &Key<'_>,
        now: Millis,
        needed: u64,
        change: impl FnMut(&mut Self) -> Result<T, KeyspaceError>,
    ) -> Result<T, KeyspaceError> {
        self.eviction.spared = Some((self.map[usize::from(key.db)], key.hash));
        // A limit that was lowered is reached bit by bit: until then a change may take what was freed for it.
        let limit = self.arena.limit;
        self.arena.limit = limit.max(self.arena.needed());
        let outcome = self.evict_and_try(needed, now, Effort::Full, change);
        self.arena.limit = limit;
        self.eviction.spared = None;
        outcome
    }

    /// As [`Shard::with_room`], for memory that no key has yet.
    pub(super) fn with_room_for_draft<T>(
        &mut self,
        effort: Effort,
        mut take: impl FnMut(&mut Self) -> Result<T, KeyspaceError>,
    ) -> Result<T, KeyspaceError> {
        match take(self) {
            Err(KeyspaceError::OutOfMemory { needed, .. }) => {
                self.evict_and_try(needed, self.clock, effort, take)
            }
            done => done,
        }
    }

    fn evict_and_try<T>(
        &mut self,
        mut needed: u64,
        now: Millis,
        effort: Effort,
        mut change: impl FnMut(&mut Self) -> Result<T, KeyspaceError>,
    ) -> Result<T, KeyspaceError> {
        let mut steps = match effort {
            Effort::Little if !self.could_free(needed) => 0,
            Effort::Little => STEPS_LITTLE,
            Effort::Full => STEPS_MIN + needed / BYTES_PER_STEP,
        };
        while steps > 0 && self.may_free() {
            steps -= 1;
            if !self.free_some(now) {
                break;
            }
            // What needs pages has no use for a slot.
            if needed > PAGE_BYTES && self.room() < needed {
                continue;
            }
            match change(self) {
                Err(KeyspaceError::OutOfMemory { needed: more, .. }) => needed = more,
                done => return done,
            }
        }
        if effort == Effort::Full {
            return Err(self.refused(needed));
        }
        Err(self.out_of_memory(needed))
    }

    /// Counts a change that is refused for want of memory.
    pub(super) fn refused(&mut self, needed: u64) -> KeyspaceError {
        self.counters.refused += 1;
        self.out_of_memory(needed)
    }

    fn out_of_memory(&self, needed: u64) -> KeyspaceError {
        KeyspaceError::OutOfMemory {
            needed,
            limit: self.arena.limit,
            used: self.arena.used(),
        }
    }

    /// True when eviction can be expected to make room for so many bytes.
    pub(super) fn could_free(&self, bytes: u64) -> bool {
        let fixed = self.draft_bytes + self.pins.bytes();
        self.room() + self.evictable().saturating_sub(fixed) >= bytes
    }

    /// Bytes of entries that the policy lets go, those that are pinned or not there yet included, and of those that
    /// cleared databases have left.
    fn evictable(&self) -> u64 {
        let policy = self.eviction.options.policy;
        if self.may_evict() && !policy.is_volatile() {
            return self.live_bytes();
        }
        let cleared: u64 = self.cleared.iter().map(Cleared::entries).sum();
        let stored: u64 = self.databases.iter().map(|database| database.keys).sum();
        let all = (stored + cleared).max(1);
        let volatile = if self.may_evict() {
            self.wheel.linked()
        } else {
            0
        };
        self.live_bytes() / all * (volatile + cleared).min(all)
    }

    /// Frees memory while more is stored than the limit allows, in at most `steps` steps. Tells whether that has led
    /// under the limit, or at least towards it.
    pub fn relieve(&mut self, now: Millis, steps: usize) -> bool {
        let mut freed = false;
        for _ in 0..steps {
            while self.is_over_limit()
                && (self.arena.give_up_kept_page() || self.arena.give_up_warm(1))
            {}
            if !self.is_over_limit() {
                return true;
            }
            if !self.may_free() || !self.free_some(now) {
                return freed;
            }
            freed = true;
        }
        freed
    }

    /// One step towards more free memory. False when nothing can be done.
    fn free_some(&mut self, now: Millis) -> bool {
        if self.has_wrecks() {
            self.free_wrecks(RECLAIMED_AT_ONCE);
            return true;
        }
        if !self.cleared.is_empty() {
            self.reclaim(RECLAIMED_AT_ONCE);
            return true;
        }
        if let Some(page) = self.arena.page_to_empty() {
            self.empty_page(page);
            // What was moved may have touched blocks that were not counted before.
            while self.is_over_limit() && self.arena.give_up_kept_page() {}
            return true;
        }
        if let Some(place) = self.queued_victim() {
            self.note_eviction(&place);
            self.discard_uncounted(&place);
            return true;
        }
        let Some(place) = self.victim(now) else {
            return false;
        };
        self.note_eviction(&place);
        self.discard(&place);
        true
    }

    fn note_eviction(&mut self, place: &Place) {
        self.counters.evicted += 1;
        self.notify_of(KeyEvent::Evicted, place);
        self.commit_removal(place, Cause::Eviction);
    }

    /// The next entry to go.
    fn victim(&mut self, now: Millis) -> Option<Place> {
        const ROUNDS: usize = 16;
        let is_random = self.eviction.options.policy.is_random();
        for _ in 0..ROUNDS {
            if is_random {
                if let Some(place) = self.random_victim() {
                    return Some(place);
                }
                continue;
            }
            self.sample(now);
            while let Some(candidate) = self.eviction.pool.take() {
                let place = self.locate_hash(candidate.physical, candidate.hash);
                let Some(place) = place.filter(|place| self.is_evictable(place)) else {
                    continue;
                };
                return Some(place);
            }
        }
        if self.pins.bytes() == 0 {
            return None;
        }
        self.unpinned_victim()
    }

    /// Any entry that may go, where most are pinned.
    #[cold]
    fn unpinned_victim(&mut self) -> Option<Place> {
        if self.eviction.options.policy.is_volatile() {
            // The first walk may begin in the middle of a list, behind what is new.
            return (0..2).find_map(|_| {
                let mut found = Vec::new();
                let wheel = &mut self.wheel;
                wheel.walk(&self.arena.mapping, EXPIRING_SEARCHED, &mut found);
                found.into_iter().find_map(|at| self.evictable_at(at))
            });
        }
        let (physical, start, _) = self.random_bucket()?;
        let database = &self.databases[physical];
        let buckets = (0..BUCKETS_SEARCHED.min(database.buckets()))
            .map(|step| database.bucket((start + step) % database.buckets()));
        buckets
            .flat_map(|home| self.refs_of(home))
            .find_map(|at| self.evictable_at(at))
    }

    /// Where an entry is that may go.
    fn evictable_at(&self, at: u64) -> Option<Place> {
        if self.header(at).is_pinned() {
            return None;
        }
        self.place_of(at).filter(|place| self.is_evictable(place))
    }

    fn is_evictable(&self, place: &Place) -> bool {
        let header = &place.header;
        let policy = self.eviction.options.policy;
        !header.is_pinned()
            && (!policy.is_volatile() || self.expire_at(place.at, header).is_some())
            && (self.eviction.spared.is_none()
                || !self.eviction.spares(place.physical, self.hash_of(place.at)))
    }

    fn random_victim(&mut self) -> Option<Place> {
        if !self.eviction.options.policy.is_volatile() {
            return self.random_entry().and_then(|at| self.evictable_at(at));
        }
        let sampled = self.sampled_entries(1);
        sampled.into_iter().find_map(|at| self.evictable_at(at))
    }

    /// Offers some entries to the pool.
    fn sample(&mut self, now: Millis) {
        let samples = self.eviction.options.samples;
        for at in self.sampled_entries(samples) {
            let header = self.header(at);
            if header.is_pinned() || self.databases[usize::from(header.db())].buckets() == 0 {
                continue;
            }
            let expire_at = self.expire_at(at, &header);
            let score = self.eviction.score(header.access(), expire_at, now);
            let candidate = Candidate {
                physical: header.db(),
                hash: self.hash_of(at),
                score,
            };
            self.eviction.pool.offer(candidate);
        }
    }

    /// About `count` entries as the policy wants them: from anywhere, or from those that expire.
    fn sampled_entries(&mut self, count: usize) -> Vec<u64> {
        let mut found = Vec::with_capacity(count);
        match self.eviction.options.policy {
            Policy::VolatileTtl => self.wheel.soonest(&self.arena.mapping, count, &mut found),
            policy if policy.is_volatile() => {
                self.wheel.walk(&self.arena.mapping, count, &mut found);
            }
            _ => self.sample_index(count, &mut found),
        }
        found
    }

    /// An entry, each with the same chance: a bucket is taken with a chance by what it holds. Were every bucket as
    /// likely, those that are not split yet, to which twice as many new entries come, would grow without end.
    fn random_entry(&mut self) -> Option<u64> {
        for _ in 0..BUCKETS_DRAWN_MAX {
            let (physical, bucket, random) = self.random_bucket()?;
            let home = self.databases[physical].bucket(bucket);
            let length = self.refs_of(home).count();
            let drawn = random as usize % FULL_BUCKET.max(length);
            if drawn < length {
                return self.refs_of(home).nth(drawn);
            }
        }
        None
    }

    /// A bucket of a database that has a chance by its size, and what is left of the random number.
    fn random_bucket(&mut self) -> Option<(usize, u64, u64)> {
        let keys: u64 = self.databases.iter().map(|database| database.keys).sum();
        if keys == 0 {
            return None;
        }
        let mut drawn = self.eviction.random.draw() % keys;
        let physical = self.databases.iter().position(|database| {
            let here = drawn < database.keys;
            drawn = drawn.saturating_sub(database.keys);
            here
        })?;
        let random = self.eviction.random.draw();
        let buckets = self.databases[physical].buckets();
        let product = u128::from(random) * u128::from(buckets);
        Some((physical, (product >> 64) as u64, product as u64 >> 32))
    }

    /// Entries of random buckets.
    fn sample_index(&mut self, count: usize, found: &mut Vec<u64>) {
        let Some((physical, mut bucket, random)) = self.random_bucket() else {
            return;
        };
        let database = &self.databases[physical];
        let start = random as usize;
        for _ in 0..BUCKETS_PER_SAMPLE {
            let before = found.len();
            found.extend(self.refs_of(database.bucket(bucket)));
            // Which of them are taken does not depend on their order in the bucket.
            let length = (found.len() - before).max(1);
            found[before..].rotate_left(start % length);
            if found.len() >= count {
                break;
            }
            bucket = (bucket + 1) % database.buckets();
        }
        found.truncate(count);
        for at in found.iter() {
            self.arena.mapping.prefetch(at * 8);
        }
    }

    /// The entry of a hash; another key may have the same.
    pub(super) fn locate_hash(&self, physical: u8, hash: u64) -> Option<Place> {
        let database = &self.databases[usize::from(physical)];
        if database.buckets() == 0 {
            return None;
        }
        let home = database.home(hash);
        let mut line = home;
        loop {
            let contents: Line = self.arena.mapping.load_line(line);
            let mut places = matches(contents[0], contents[1], fingerprint(hash));
            while places != 0 {
                let place = places.trailing_zeros();
                places &= places - 1;
                let at = line_reference(&contents, place);
                if place < PLACES && at != 0 && at & LINK == 0 && self.hash_of(at) == hash {
                    let header: Header = self.header(at);
                    return Some(Place {
                        physical,
                        home,
                        line,
                        place,
                        at,
                        header,
                    });
                }
            }
            line = self.next_line(line)?;
        }
    }
}
