//! The policy of a cache: what it is told, and what it decides.

use crate::arms::{Arms, Request};
use crate::queues::{Entries, Queues, Victim};
use crate::ring::BLOCK_LARGE;
use crate::sketch::Sketch;
use crate::slot::{Queue, Slot, Tag};

/// Bytes of a cache for each that its miniature simulations may take.
const ARMS_SHARE: u64 = 64;
/// A cache has room again when it has taken in this part of its bytes and nothing had to go for it.
const ROOM_SHARE: u64 = 16;

/// What has happened since the start, and where the policy stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// New entries that got into the main part: used more than what went for them, or remembered.
    pub admitted: u64,
    /// New entries that were evicted instead.
    pub rejected: u64,
    /// All entries that were evicted, the rejected ones included.
    pub evicted: u64,
    /// Changes of the window's share.
    pub adapted: u64,
    /// Bytes in the window, and what it may have of all bytes, in 1024ths.
    pub window_bytes: u64,
    pub window_share: u64,
}

/// Adaptive W-TinyLFU over entries that somebody else stores.
///
/// Whoever stores them keeps a [`Tag`] with each, calls [`Policy::on_hit`], [`Policy::on_insert`],
/// [`Policy::on_resize`] and [`Policy::on_remove`] as things happen, and [`Policy::evict`] when room is needed. A key
/// is known by its 64-bit hash and the number of its database.
#[derive(Debug)]
pub struct Policy {
    queues: Queues<BLOCK_LARGE>,
    sketch: Sketch,
    arms: Arms,
    /// Bytes that fitted when the cache was last full.
    limit: Option<u64>,
    /// Bytes that came in since the last eviction.
    taken: u64,
    adapted: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self::new()
    }
}

impl Policy {
    /// A policy whose miniature simulations take at most a sixty-fourth of the cache's bytes, or 64 KiB where that is
    /// more.
    pub fn new() -> Self {
        Self::with_arms(Arms::new(Some(ARMS_SHARE)))
    }

    /// A policy whose miniature simulations are as large as they ever are. For costs that are not bytes.
    pub fn with_full_samples() -> Self {
        Self::with_arms(Arms::new(None))
    }

    fn with_arms(arms: Arms) -> Self {
        Self {
            queues: Queues::new(arms.shares()),
            sketch: Sketch::new(),
            arms,
            limit: None,
            taken: 0,
            adapted: 0,
        }
    }

    /// Notes a use of an entry. Its tag is the one returned from now on.
    #[inline]
    pub fn on_hit(&mut self, hash: u64, db: u8, tag: Tag, cost: u64) -> Tag {
        if tag.queue() == Queue::None {
            return self.adopt(hash, db, cost);
        }
        self.sketch.tick(self.queues.keys());
        let epoch = self.sketch.epoch();
        let used = tag.after_use(epoch);
        self.show(Slot::new(hash, db), cost, used.uses(epoch), epoch);
        used
    }

    /// Notes a new entry. Its tag is the one returned.
    #[inline]
    pub fn on_insert(&mut self, hash: u64, db: u8, cost: u64) -> Tag {
        self.sketch.tick(self.queues.keys());
        let epoch = self.sketch.epoch();
        let slot = Slot::new(hash, db);
        let uses = self.sketch.estimate(slot.key()) + 1;
        self.show(slot, cost, uses, epoch);
        if self.taken > self.queues.total() / ROOM_SHARE {
            self.queues.has_room();
        }
        self.taken = self.taken.saturating_add(cost);
        let tag = self.queues.insert(slot, cost, uses, epoch);
        self.sketch.follow(self.queues.keys());
        let total = self.queues.total();
        self.limit = self.limit.map(|limit| limit.max(total));
        tag
    }

    /// Takes over an entry that was stored while another policy was in force, as if it had been used once. For all of
    /// them one after the other when the policy comes into force; those that are used meanwhile are taken over then.
    pub fn adopt(&mut self, hash: u64, db: u8, cost: u64) -> Tag {
        let tag = self
            .queues
            .insert(Slot::new(hash, db), cost, 1, self.sketch.epoch());
        self.sketch.follow(self.queues.keys());
        tag
    }

    /// Notes that the cost of an entry has changed.
    #[inline]
    pub fn on_resize(&mut self, tag: Tag, before: u64, after: u64) {
        self.queues.resize(tag, before, after);
    }

    /// Notes that an entry was removed for other reasons than [`Policy::evict`].
    #[inline]
    pub fn on_remove(&mut self, hash: u64, db: u8, tag: Tag, cost: u64) {
        self.queues.remove(tag, cost);
        self.arms.remove(Slot::new(hash, db));
        self.sketch.follow(self.queues.keys());
    }

    /// Chooses the next entry to be removed. It is no longer counted here; its owner removes it without another call.
    ///
    /// The work of one call is bounded. None where there was nothing to be found within that: while
    /// [`Policy::keys`] is not zero and not everything is pinned, another call goes on.
    #[inline]
    pub fn evict<E: Entries>(&mut self, entries: &mut E) -> Option<Victim<E::Place>> {
        self.limit = Some(self.queues.total());
        self.taken = 0;
        let victim = self.queues.evict(entries, self.sketch.epoch())?;
        self.sketch.remember(victim.slot.key(), victim.uses);
        self.sketch.follow(self.queues.keys());
        Some(victim)
    }

    /// Asks for the memory that the next calls of [`Policy::evict`] look at.
    #[inline]
    pub fn prefetch<E: Entries>(&self, entries: &E) {
        self.queues.prefetch_fronts(entries);
    }

    /// Keeps the queues at their shares while the cache fills, and drops slots of entries that are gone, where there
    /// are many of them: at most `steps`. To be called after each insert and now and then; it costs nothing while there
    /// is nothing to do.
    #[inline]
    pub fn tidy<E: Entries>(&mut self, entries: &mut E, steps: usize) {
        self.queues.fill(entries);
        self.queues.tidy(entries, steps);
    }

    /// Entries that are queued.
    pub fn keys(&self) -> usize {
        self.queues.keys()
    }

    /// Their costs together.
    pub fn bytes(&self) -> u64 {
        self.queues.total()
    }

    /// Bytes that the policy itself takes.
    pub fn memory(&self) -> usize {
        self.queues.memory() + self.sketch.memory() + self.arms.memory()
    }

    pub fn counters(&self) -> Counters {
        Counters {
            adapted: self.adapted,
            ..self.queues.counters()
        }
    }

    /// Uses of an entry lately, 0 to 15.
    pub fn uses(&self, tag: Tag) -> u32 {
        tag.uses(self.sketch.epoch())
    }

    #[inline]
    fn show(&mut self, slot: Slot, cost: u64, uses: u32, epoch: u8) {
        let changed = self.arms.request(&Request {
            slot,
            cost,
            uses,
            epoch,
            keys: self.queues.keys(),
            bytes: self.queues.total(),
            limit: self.limit,
        });
        if let Some(shares) = changed {
            self.adapted += 1;
            self.queues.set_shares(shares);
        }
    }
}
