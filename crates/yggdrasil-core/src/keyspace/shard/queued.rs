//! The admission policy over the entries of a shard: it is told of what happens to them, and names those that go.
//!
//! The 24 access bits of an entry are `tag:20 | era:4` then. An entry of another era was stored while another policy
//! was in force: it is not queued yet.

use yggdrasil_admission::{Entries, Found, Policy, Slot, Tag};

use crate::keyspace::bucket::{Line, fingerprint, line_reference, matches};
use crate::keyspace::entry::Header;
use crate::keyspace::layout::LINK;
use crate::keyspace::types::{AdmissionState, Millis};

use super::{Place, Shard};

const ERAS: u32 = 16;
/// Low bits of a hash that a slot knows.
const SLOT_HASH_BITS: u32 = 28;
/// Buckets that are searched in one step for entries that are not queued.
const SWEPT_AT_ONCE: u64 = 64;
/// Calls of the policy for one victim.
const TRIES: usize = 64;
/// Slots without an entry that are looked for at each new entry.
const TIDIED_AT_ONCE: usize = 2;

/// The policy while it is in force.
#[derive(Debug)]
pub(super) struct Queued {
    policy: Policy,
    era: u32,
    /// Where the search for entries that are not queued goes on: physical database and bucket.
    sweep: (u8, u64),
}

impl Queued {
    /// A policy that knows nothing yet. The bits of entries that others have written must not look like its own.
    pub(super) fn new(former_era: u32, now: Millis) -> Self {
        // The upper bits of Redis's clocks, in seconds and in minutes, change within days.
        let (seconds, minutes) = (((now / 1000) >> 20) as u32, ((now / 60_000) >> 12) as u32);
        let distance = |era: u32, other: u32| {
            let ahead = era.wrapping_sub(other) % ERAS;
            ahead.min(ERAS - ahead)
        };
        let clear = |era: &u32| {
            *era != former_era && distance(*era, seconds) > 2 && distance(*era, minutes) > 2
        };
        Self {
            policy: Policy::new(),
            era: (0..ERAS).find(clear).unwrap_or_default(),
            sweep: (0, 0),
        }
    }

    pub(super) fn era(&self) -> u32 {
        self.era
    }

    pub(super) fn memory(&self) -> u64 {
        self.policy.memory() as u64
    }

    #[inline]
    fn tag(&self, access: u32) -> Tag {
        if access >> Tag::BITS == self.era {
            Tag::from_bits(access)
        } else {
            Tag::NONE
        }
    }

    #[inline]
    fn access(&self, tag: Tag) -> u32 {
        self.era << Tag::BITS | tag.bits()
    }

    /// Access bits of a new entry that takes `cost` bytes.
    #[inline]
    pub(super) fn inserted(&mut self, physical: u8, hash: u64, cost: u64) -> u32 {
        let tag = self.policy.on_insert(hash, physical, cost);
        self.access(tag)
    }

    /// Access bits after one more use.
    #[inline]
    pub(super) fn used(&mut self, physical: u8, hash: u64, access: u32, cost: u64) -> u32 {
        let tag = self.policy.on_hit(hash, physical, self.tag(access), cost);
        self.access(tag)
    }

    #[inline]
    pub(super) fn resized(&mut self, access: u32, before: u64, after: u64) {
        if before != after {
            self.policy.on_resize(self.tag(access), before, after);
        }
    }

    #[inline]
    pub(super) fn removed(&mut self, physical: u8, hash: u64, access: u32, cost: u64) {
        self.policy
            .on_remove(hash, physical, self.tag(access), cost);
    }

    pub(super) fn uses(&self, access: u32) -> u32 {
        self.policy.uses(self.tag(access))
    }
}

impl Shard {
    /// Counts of the admission policy, while it is in force.
    #[must_use]
    pub fn admission(&self) -> Option<AdmissionState> {
        let queued = self.eviction.queued()?;
        let counters = queued.policy.counters();
        Some(AdmissionState {
            admitted: counters.admitted,
            rejected: counters.rejected,
            window_bytes: counters.window_bytes,
            window_share: counters.window_share,
            memory: queued.memory(),
        })
    }

    /// Notes a use of a key that was served elsewhere, known by its hash.
    pub fn note_use(&mut self, db: u8, hash: u64, now: Millis) {
        if usize::from(db) >= self.databases.len() {
            return;
        }
        if let Some(place) = self.locate_hash(self.map[usize::from(db)], hash) {
            let tree_bytes = self.tree_bytes(place.at, &place.header);
            let access = self.eviction.used(&place, hash, now, tree_bytes);
            self.store_access(&place, access);
        }
    }

    /// The policy's next victim. It does not count it any more.
    pub(super) fn queued_victim(&mut self) -> Option<Place> {
        let mut queued = self.eviction.take_queued()?;
        let mut view = View {
            era: queued.era,
            shard: self,
        };
        let victim = (0..TRIES).find_map(|_| queued.policy.evict(&mut view));
        self.eviction.put_queued(queued);
        victim.map(|victim| victim.place)
    }

    /// Drops slots of the policy whose entries are gone.
    #[inline]
    pub(super) fn tidy_queues(&mut self, steps: usize) {
        if let Some(mut queued) = self.eviction.take_queued() {
            let mut view = View {
                era: queued.era,
                shard: self,
            };
            queued.policy.tidy(&mut view, steps);
            self.arena.policy_bytes = queued.memory();
            self.eviction.put_queued(queued);
        }
    }

    #[inline]
    pub(super) fn tidy_after_insert(&mut self) {
        self.tidy_queues(TIDIED_AT_ONCE);
    }

    /// Queues some of the entries that are not yet. Returns what is left of the budget.
    pub(super) fn adopt_some(&mut self, budget: usize) -> usize {
        let Some(mut queued) = self.eviction.take_queued() else {
            return budget;
        };
        let keys: u64 = self.databases.iter().map(|database| database.keys).sum();
        let mut left = budget;
        if (queued.policy.keys() as u64) < keys {
            for _ in 0..SWEPT_AT_ONCE {
                if left == 0 {
                    break;
                }
                left = left.saturating_sub(self.adopt_bucket(&mut queued));
            }
        }
        self.eviction.put_queued(queued);
        left
    }

    /// Queues what is not in the next bucket. Returns the number of entries of that.
    fn adopt_bucket(&mut self, queued: &mut Queued) -> usize {
        let (physical, bucket) = queued.sweep;
        let database = &self.databases[usize::from(physical)];
        if bucket >= database.buckets() {
            let next = usize::from(physical) + 1;
            queued.sweep = ((next % self.databases.len()) as u8, 0);
            return 1;
        }
        queued.sweep.1 += 1;
        let refs: Vec<u64> = self.refs_of(database.bucket(bucket)).collect();
        for at in &refs {
            let header = self.header(*at);
            if queued.tag(header.access()) == Tag::NONE {
                let hash = self.hash_of(*at);
                let cost = self.weight(*at, &header);
                let tag = queued.policy.adopt(hash, physical, cost);
                let word = header.with_access(queued.access(tag));
                self.arena.mapping.store(at + 1, word);
            }
        }
        refs.len()
    }
}

/// The entries of a shard, as the policy sees them.
struct View<'s> {
    shard: &'s mut Shard,
    era: u32,
}

impl View<'_> {
    /// Home bucket of a slot; none where the index is larger than what a slot knows of a hash.
    #[inline]
    fn home(&self, slot: Slot) -> Option<u64> {
        let database = self.shard.databases.get(usize::from(slot.db()))?;
        (1..=1 << SLOT_HASH_BITS)
            .contains(&database.buckets())
            .then(|| database.home(slot.low_bits()))
    }

    #[inline]
    fn tag(&self, header: &Header) -> Option<Tag> {
        let access = header.access();
        (access >> Tag::BITS == self.era).then(|| Tag::from_bits(access))
    }
}

impl Entries for View<'_> {
    type Place = Place;

    #[inline]
    fn find(&self, slot: Slot) -> Option<Found<Place>> {
        let home = self.home(slot)?;
        let mapping = &self.shard.arena.mapping;
        let mut line = home;
        loop {
            let contents: Line = mapping.load_line(line);
            let mut places = matches(contents[0], contents[1], slot.high_bits());
            while places != 0 {
                let place = places.trailing_zeros();
                places &= places - 1;
                let at = line_reference(&contents, place);
                if at == 0 || at & LINK != 0 {
                    continue;
                }
                let header = self.shard.header(at);
                let Some(tag) = self.tag(&header).filter(|tag| slot.has_generation(*tag)) else {
                    continue;
                };
                let hash = self.shard.hash_of(at);
                debug_assert_eq!(fingerprint(hash), slot.high_bits());
                if slot.has_hash(hash) {
                    let physical = slot.db();
                    return Some(Found {
                        place: Place {
                            physical,
                            home,
                            line,
                            place,
                            at,
                            header,
                        },
                        tag,
                        cost: self.shard.weight(at, &header),
                        pinned: header.is_pinned() || self.shard.eviction.spares(physical, hash),
                    });
                }
            }
            line = self.shard.next_line(line)?;
        }
    }

    #[inline]
    fn set_tag(&mut self, place: Place, tag: Tag) {
        self.shard
            .store_access(&place, self.era << Tag::BITS | tag.bits());
    }

    #[inline]
    fn prefetch_index(&self, slot: Slot) {
        if let Some(home) = self.home(slot) {
            self.shard.arena.mapping.prefetch(home * 8);
        }
    }

    #[inline]
    fn prefetch_entry(&self, slot: Slot) {
        if let Some(home) = self.home(slot) {
            let hash = u64::from(slot.high_bits()) << 56;
            self.shard.prefetch_entry(home, hash);
        }
    }
}
