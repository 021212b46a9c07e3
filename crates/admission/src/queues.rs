//! Window, probation and protected queues (Einziger, Friedman, Manes 2017), as rings with lazy promotion: a use only
//! sets bits in the entry, and what they mean is seen when the entry comes to the front of its ring.

use crate::ghosts::Ghosts;
use crate::policy::Counters;
use crate::ring::Ring;
use crate::slot::{GENERATIONS, Queue, Slot, Tag};

/// Ring entries that one call looks at in a queue.
const STEPS_MAX: usize = 32;
/// The same in the window: entries that were used go behind those that are new, which are not to be overtaken by many.
const STEPS_WINDOW: usize = 8;
/// The same in the protected queue, which may hold little but what is pinned.
const STEPS_PROTECTED: usize = 4;
/// Uses in the window that let an entry into the main part by the rule of S3-FIFO.
const USES_TO_STAY: u32 = 2;
/// Entries that one call moves from the window to the main part after the window's share was lowered.
const TRANSFERS_MAX: usize = 8;
/// Entries that one call moves out of a protected queue that is not to be any more.
const DEMOTIONS: usize = 4;
/// Slots without an entry that a ring may have: a quarter of its entries, and a few.
const STALE_SHARE: usize = 4;
const STALE_FEW: usize = 64;
/// How far ahead of the fronts entries are asked for.
const PREFETCH_INDEX: usize = 4;
const PREFETCH_ENTRY: usize = 2;

/// A live entry that a slot names.
#[derive(Clone, Copy, Debug)]
pub struct Found<P> {
    pub place: P,
    pub tag: Tag,
    /// Bytes that its removal gives back.
    pub cost: u64,
    /// Whether it may not be evicted now.
    pub pinned: bool,
}

/// The store of the entries, as the policy sees it.
pub trait Entries {
    /// Where an entry is, until the store changes.
    type Place: Copy;

    /// The entry of the slot's database whose key's hash the slot has ([`Slot::has_hash`]) and whose tag has the slot's
    /// generation ([`Slot::has_generation`]).
    fn find(&self, slot: Slot) -> Option<Found<Self::Place>>;

    /// Stores another tag with an entry.
    fn set_tag(&mut self, place: Self::Place, tag: Tag);

    /// Asks for what [`Entries::find`] reads first: it will be called soon.
    #[inline]
    fn prefetch_index(&self, slot: Slot) {
        let _ = slot;
    }

    /// Asks for what [`Entries::find`] reads then.
    #[inline]
    fn prefetch_entry(&self, slot: Slot) {
        let _ = slot;
    }
}

/// What is to be removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Victim<P> {
    pub place: P,
    pub cost: u64,
    /// Whether it was new and not admitted, rather than kept for a while.
    pub rejected: bool,
    pub(crate) slot: Slot,
    pub(crate) uses: u32,
}

/// How the queues share the memory, and who gets into the main part.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Shares {
    /// Of all bytes, those of the window, in 1024ths.
    pub(crate) window: u32,
    /// Of the main part's bytes, those of the protected queue, in 1024ths. 0: the main part is one queue, where an
    /// entry goes round once for each of its uses, up to three (as in S3-FIFO).
    pub(crate) protected: u32,
    /// Uses of what would have to go, as far as they are counted against a candidate,
    pub(crate) held_against: u32,
    /// and uses that a candidate must have beyond those. In a loop what is there has one use less than what comes,
    /// until its turn comes too: with a margin of one it stays until then.
    pub(crate) margin: u32,
    /// Whether a key that is remembered comes into the main part at once.
    pub(crate) direct: bool,
    /// Whether the rule of S3-FIFO holds instead (Yang, Zhang, Qiu, Yue, Rashmi 2023): who was used twice while in the
    /// window gets in, whatever has to go, and who left the window lately comes into the main part at once.
    pub(crate) ghosts: bool,
}

/// The queues of a cache, in blocks of so many slots.
#[derive(Debug)]
pub(crate) struct Queues<const SLOTS: usize> {
    rings: [Ring<SLOTS>; 3],
    bytes: [u64; 3],
    entries: [usize; 3],
    generation: u8,
    shares: Shares,
    ghosts: Ghosts,
    /// Bytes to be moved from the window to the main part without being compared: its share was lowered.
    surplus: u64,
    /// Whether there were evictions since the queues were last seen to have room.
    full: bool,
    admitted: u64,
    rejected: u64,
    evicted: u64,
}

/// A share of all bytes. With a window of that there is no main part: what is used there goes over to the window, and
/// is not looked at again before all others were.
pub(crate) const ALL: u32 = 1024;

const WINDOW: usize = 0;
const PROBATION: usize = 1;
const PROTECTED: usize = 2;
const QUEUES: [Queue; 3] = [Queue::Window, Queue::Probation, Queue::Protected];

impl<const SLOTS: usize> Queues<SLOTS> {
    pub(crate) fn new(shares: Shares) -> Self {
        Self {
            rings: Default::default(),
            bytes: [0; 3],
            entries: [0; 3],
            generation: 0,
            shares,
            ghosts: Ghosts::default(),
            surplus: 0,
            full: false,
            admitted: 0,
            rejected: 0,
            evicted: 0,
        }
    }

    pub(crate) fn keys(&self) -> usize {
        self.entries.iter().sum()
    }

    pub(crate) fn total(&self) -> u64 {
        self.bytes.iter().sum()
    }

    pub(crate) fn counters(&self) -> Counters {
        Counters {
            admitted: self.admitted,
            rejected: self.rejected,
            evicted: self.evicted,
            adapted: 0,
            window_bytes: self.bytes[WINDOW],
            window_share: u64::from(self.shares.window),
        }
    }

    pub(crate) fn memory(&self) -> usize {
        self.rings.iter().map(Ring::memory).sum::<usize>() + self.ghosts.memory()
    }

    pub(crate) fn set_shares(&mut self, shares: Shares) {
        self.shares = shares;
        self.surplus = self.bytes[WINDOW].saturating_sub(self.window_target());
    }

    /// Keeps the window at its share while nothing has to go: what was there first comes into the main part first, and
    /// is what newcomers are compared with as soon as there is no more room. To be called after each insert.
    #[inline]
    pub(crate) fn fill<E: Entries>(&mut self, entries: &mut E) {
        if !self.full {
            self.surplus = self.bytes[WINDOW].saturating_sub(self.window_target());
            self.transfer(entries);
        }
    }

    /// Notes that there is room again.
    pub(crate) fn has_room(&mut self) {
        self.full = false;
    }

    /// Puts a new entry at the end of the window, or of the main part. Its tag is the one returned. `uses` are those
    /// that are remembered, and this one.
    #[inline]
    pub(crate) fn insert(&mut self, slot: Slot, cost: u64, uses: u32, epoch: u8) -> Tag {
        let direct = if self.shares.ghosts {
            self.ghosts.take(slot.key())
        } else {
            // A main part that is still small would lose it at once.
            self.shares.direct && uses > 1 && self.bytes[PROBATION] > self.bytes[WINDOW]
        };
        let queue = if direct { PROBATION } else { WINDOW };
        self.admitted += u64::from(direct);
        self.bytes[queue] += cost;
        self.entries[queue] += 1;
        self.put(queue, slot, Tag::new(Queue::Window, 0, uses, epoch), 0)
    }

    /// Forgets an entry that was removed; its slot becomes stale.
    #[inline]
    pub(crate) fn remove(&mut self, tag: Tag, cost: u64) {
        let Some(queue) = index_of(tag.queue()) else {
            return;
        };
        self.bytes[queue] = self.bytes[queue].saturating_sub(cost);
        self.entries[queue] = self.entries[queue].saturating_sub(1);
    }

    /// Notes that an entry has another cost.
    #[inline]
    pub(crate) fn resize(&mut self, tag: Tag, before: u64, after: u64) {
        let Some(queue) = index_of(tag.queue()) else {
            return;
        };
        self.bytes[queue] = (self.bytes[queue] + after).saturating_sub(before);
    }

    /// Chooses an entry to be removed and forgets it. None where there is nothing to be evicted, or where one call's
    /// bounded work did not find anything: then another call goes on.
    pub(crate) fn evict<E: Entries>(
        &mut self,
        entries: &mut E,
        epoch: u8,
    ) -> Option<Victim<E::Place>> {
        if !self.full {
            self.full = true;
            self.set_shares(self.shares);
        }
        self.transfer(entries);
        if self.shares.protected == 0 && self.bytes[PROTECTED] > 0 {
            self.demote(entries, &mut { DEMOTIONS });
        }
        let candidate = if self.bytes[WINDOW] > self.window_target() {
            self.front(WINDOW, entries, STEPS_WINDOW)
        } else {
            None
        };
        let victim = if self.shares.ghosts && candidate.is_some() {
            None
        } else {
            self.front_of_main(entries)
        };
        let (queue, chosen, rejected) = match (candidate, victim) {
            (None, None) => {
                let found = self.front(WINDOW, entries, STEPS_MAX)?;
                (WINDOW, found, false)
            }
            (None, Some((queue, found))) => (queue, found, false),
            (Some(found), None) => {
                self.rejected += u64::from(self.shares.ghosts);
                (WINDOW, found, true)
            }
            (Some(candidate), Some((queue, victim))) => {
                if self.is_admitted(&candidate, &victim, epoch) {
                    self.admitted += 1;
                    self.shift(WINDOW, PROBATION, 0, &candidate, entries);
                    (queue, victim, false)
                } else {
                    self.rejected += 1;
                    (WINDOW, candidate, true)
                }
            }
        };
        if !self.shares.ghosts {
            self.ghosts.release();
        } else if queue == WINDOW {
            self.ghosts.remember(chosen.slot.key(), self.keys());
        }
        self.rings[queue].pop();
        self.bytes[queue] = self.bytes[queue].saturating_sub(chosen.found.cost);
        self.entries[queue] = self.entries[queue].saturating_sub(1);
        self.evicted += 1;
        Some(Victim {
            place: chosen.found.place,
            cost: chosen.found.cost,
            rejected,
            slot: chosen.slot,
            uses: chosen.found.tag.uses(epoch),
        })
    }

    /// What is to go from the main part, and from which of its queues.
    #[inline]
    fn front_of_main<E: Entries>(&mut self, entries: &mut E) -> Option<(usize, Front<E::Place>)> {
        match self.front(PROBATION, entries, STEPS_MAX) {
            Some(found) => Some((PROBATION, found)),
            None => self
                .front(PROTECTED, entries, STEPS_PROTECTED)
                .map(|found| (PROTECTED, found)),
        }
    }

    /// The front of a ring: stale slots before it are dropped, used entries get their promotion.
    #[inline]
    fn front<E: Entries>(
        &mut self,
        queue: usize,
        entries: &mut E,
        mut steps: usize,
    ) -> Option<Front<E::Place>> {
        loop {
            let slot = self.rings[queue].get(0)?;
            self.prefetch(queue, entries);
            let found = entries
                .find(slot)
                .filter(|found| found.tag.queue() == QUEUES[queue]);
            let Some(found) = found else {
                self.rings[queue].pop();
                steps = steps.checked_sub(1)?;
                continue;
            };
            let front = Front { slot, found };
            if steps == 0 {
                return (!found.pinned).then_some(front);
            }
            steps -= 1;
            if found.pinned {
                self.shift(queue, PROTECTED, 0, &front, entries);
            } else if found.tag.touched() == 0 {
                return Some(front);
            } else if self.shares.window == ALL {
                self.shift(queue, WINDOW, 0, &front, entries);
            } else if queue == WINDOW && self.shares.ghosts {
                if found.tag.touched() < USES_TO_STAY {
                    return Some(front);
                }
                self.admitted += 1;
                self.shift(WINDOW, PROBATION, 0, &front, entries);
            } else if queue == WINDOW || queue == PROTECTED {
                self.shift(queue, queue, 0, &front, entries);
            } else if self.shares.protected == 0 {
                let rounds = found.tag.touched() - 1;
                self.shift(PROBATION, PROBATION, rounds, &front, entries);
            } else {
                self.shift(PROBATION, PROTECTED, 0, &front, entries);
                self.demote(entries, &mut steps);
            }
        }
    }

    /// Keeps the protected queue at its share.
    fn demote<E: Entries>(&mut self, entries: &mut E, steps: &mut usize) {
        while *steps > 0 && self.bytes[PROTECTED] > self.protected_target() {
            *steps -= 1;
            let Some(slot) = self.rings[PROTECTED].get(0) else {
                return;
            };
            self.prefetch(PROTECTED, entries);
            match entries.find(slot) {
                Some(found) if found.tag.queue() == Queue::Protected => {
                    let front = Front { slot, found };
                    let touched = found.tag.touched();
                    if found.pinned || touched > 0 && self.shares.protected > 0 {
                        self.shift(PROTECTED, PROTECTED, 0, &front, entries);
                    } else {
                        self.shift(PROTECTED, PROBATION, touched, &front, entries);
                    }
                }
                _ => {
                    self.rings[PROTECTED].pop();
                }
            }
        }
    }

    /// Moves what the window has too much since its share was lowered, a few entries at a time.
    fn transfer<E: Entries>(&mut self, entries: &mut E) {
        for _ in 0..TRANSFERS_MAX {
            if self.surplus == 0 {
                return;
            }
            let Some(slot) = self.rings[WINDOW].get(0) else {
                self.surplus = 0;
                return;
            };
            self.prefetch(WINDOW, entries);
            match entries.find(slot) {
                Some(found) if found.tag.queue() == Queue::Window => {
                    self.surplus = self.surplus.saturating_sub(found.cost);
                    self.rings[WINDOW].pop();
                    self.account(WINDOW, PROBATION, found.cost);
                    let tag = self.put(PROBATION, slot, found.tag, found.tag.touched());
                    entries.set_tag(found.place, tag);
                }
                _ => {
                    self.rings[WINDOW].pop();
                }
            }
        }
    }

    /// Looks through the ring that has the most slots without an entry, if those are many.
    pub(crate) fn tidy<E: Entries>(&mut self, entries: &mut E, steps: usize) {
        let stale = |queue: &usize| {
            self.rings[*queue]
                .len()
                .saturating_sub(self.entries[*queue])
        };
        let Some(queue) = (WINDOW..=PROTECTED).max_by_key(stale) else {
            return;
        };
        if stale(&queue) <= self.entries[queue] / STALE_SHARE + STALE_FEW {
            return;
        }
        for _ in 0..steps {
            let Some(slot) = self.rings[queue].pop() else {
                return;
            };
            self.prefetch(queue, entries);
            if entries
                .find(slot)
                .is_some_and(|found| found.tag.queue() == QUEUES[queue])
            {
                self.rings[queue].push(slot);
            }
        }
    }

    pub(crate) fn prefetch_fronts<E: Entries>(&self, entries: &E) {
        for queue in WINDOW..=PROTECTED {
            self.prefetch(queue, entries);
        }
    }

    /// TinyLFU: a candidate must have been used more than what it would displace, by its bytes and the margin.
    fn is_admitted<P>(&mut self, candidate: &Front<P>, victim: &Front<P>, epoch: u8) -> bool {
        let newer = u64::from(candidate.found.tag.uses(epoch));
        let uses = victim.found.tag.uses(epoch);
        let older = u64::from(uses.min(self.shares.held_against));
        let (size, room) = (candidate.found.cost, victim.found.cost.max(1));
        let displaced = older * size.max(room) / room;
        newer > displaced + u64::from(self.shares.margin)
    }

    /// Moves the front of a ring to the end of one.
    fn shift<E: Entries>(
        &mut self,
        from: usize,
        to: usize,
        touched: u32,
        front: &Front<E::Place>,
        entries: &mut E,
    ) {
        self.rings[from].pop();
        self.account(from, to, front.found.cost);
        let tag = self.put(to, front.slot, front.found.tag, touched);
        entries.set_tag(front.found.place, tag);
    }

    fn account(&mut self, from: usize, to: usize, cost: u64) {
        self.bytes[from] = self.bytes[from].saturating_sub(cost);
        self.bytes[to] += cost;
        self.entries[from] = self.entries[from].saturating_sub(1);
        self.entries[to] += 1;
    }

    #[inline]
    fn put(&mut self, queue: usize, slot: Slot, tag: Tag, touched: u32) -> Tag {
        self.generation = (self.generation + 1) % GENERATIONS;
        self.rings[queue].push(slot.with_generation(self.generation));
        tag.queued(QUEUES[queue], self.generation, touched)
    }

    #[inline]
    fn prefetch<E: Entries>(&self, queue: usize, entries: &E) {
        if let Some(slot) = self.rings[queue].get(PREFETCH_INDEX) {
            entries.prefetch_index(slot);
        }
        if let Some(slot) = self.rings[queue].get(PREFETCH_ENTRY) {
            entries.prefetch_entry(slot);
        }
    }

    fn window_target(&self) -> u64 {
        share_of(self.total(), self.shares.window)
    }

    fn protected_target(&self) -> u64 {
        share_of(
            self.bytes[PROBATION] + self.bytes[PROTECTED],
            self.shares.protected,
        )
    }
}

struct Front<P> {
    slot: Slot,
    found: Found<P>,
}

fn share_of(bytes: u64, share: u32) -> u64 {
    (u128::from(bytes) * u128::from(share) / 1024) as u64
}

#[inline]
fn index_of(queue: Queue) -> Option<usize> {
    match queue {
        Queue::None => None,
        Queue::Window => Some(WINDOW),
        Queue::Probation => Some(PROBATION),
        Queue::Protected => Some(PROTECTED),
    }
}

#[cfg(test)]
mod tests;
