//! Pins: entries that are neither evicted nor moved to a lower tier until their time is over.

use crate::keyspace::classes::footprint;
use crate::keyspace::effect::Effect;
use crate::keyspace::entry::Header;
use crate::keyspace::journal::Cause;
use crate::keyspace::pins::{PinLedger, PinLimits, Pins};
use crate::keyspace::types::{Key, KeyspaceError, Millis, hash_key};

use super::{Place, Shard};

impl Shard {
    /// The pins of the shard, and their limits.
    #[must_use]
    pub fn pins(&self) -> &Pins {
        &self.pins
    }

    /// Changes the limits of pins. What is pinned stays so, even beyond them.
    pub fn set_pin_limits(&mut self, limits: PinLimits) {
        self.pins.set_limits(limits);
    }

    /// Shares the limits of pins with the other shards of the node.
    pub fn share_pins(&mut self, ledger: Box<dyn PinLedger>) {
        self.pins.share(ledger);
    }

    /// Pins a live entry until `until`, whatever [`Pins::check`] says. Tells whether there is one.
    pub fn pin(&mut self, key: &Key<'_>, until: Millis, now: Millis) -> bool {
        let Some((place, header)) = self.locate_live(key, now) else {
            return false;
        };
        let effect = || Effect::Pin { until: Some(until) };
        self.commit(key, header.value_bytes(), effect);
        let bytes = self.weight(place.at, &header);
        self.pins
            .set(place.physical, key.hash, key.bytes, bytes, until);
        self.mark_pinned(&place, true);
        true
    }

    /// Ends the pin of an entry. Tells whether it had one.
    pub fn unpin(&mut self, key: &Key<'_>, now: Millis) -> bool {
        let Some((place, header)) = self.locate_live(key, now) else {
            return false;
        };
        let was_pinned = self
            .end_of_pin(place.at, &header)
            .is_some_and(|at| at > now);
        if header.is_pinned() {
            self.commit_of_entry(&place, &Effect::Pin { until: None }, Cause::Asked);
        }
        self.release_pin(&place);
        was_pinned
    }

    /// Visits about `count` keys whose pin has not ended, from a cursor on. Returns the next one; 0 begins and ends.
    pub fn pinned(
        &self,
        db: u8,
        cursor: u64,
        count: u64,
        now: Millis,
        visit: &mut dyn FnMut(&[u8]),
    ) -> u64 {
        let physical = self.map[usize::from(db)];
        self.pins
            .scan(physical, cursor, count, &mut |bytes, until| {
                let hash = hash_key(self.shape.hash_seed, bytes);
                // One that has expired is removed when it is next looked at.
                if until > now && self.look(&Key { db, hash, bytes }, now).is_some() {
                    visit(bytes);
                }
            })
    }

    /// Ends pins whose time has come, about `budget` of them. Returns what is left of the budget.
    pub(super) fn end_pins(&mut self, now: Millis, budget: usize) -> usize {
        let mut left = budget;
        while left > 0
            && let Some((physical, hash, bytes)) = self.pins.take_due(now)
        {
            left -= 1;
            if let Some(place) = self.locate_in(physical, hash, &bytes) {
                self.commit_of_entry(&place, &Effect::Pin { until: None }, Cause::Time);
                self.mark_pinned(&place, false);
            }
        }
        self.pins.drop_cleared(left)
    }

    /// Refuses to let a pinned entry grow beyond the limits.
    #[inline]
    pub(super) fn check_pinned_growth(
        &self,
        header: &Header,
        key: &[u8],
        to: u64,
    ) -> Result<(), KeyspaceError> {
        if !header.is_pinned() {
            return Ok(());
        }
        let grown = footprint(to).saturating_sub(footprint(header.total_bytes()));
        self.pins.room().check(&[(key, grown)])
    }

    /// A pinned entry weighs so much now.
    #[inline]
    pub(super) fn note_pinned_weight(&mut self, key: &Key<'_>, place: &Place, weight: u64) {
        if place.header.is_pinned() {
            self.pins
                .resize(place.physical, key.hash, key.bytes, weight);
        }
    }

    /// When the pin of an entry ends, if it has one.
    #[inline]
    pub(super) fn end_of_pin(&self, at: u64, header: &Header) -> Option<Millis> {
        if !header.is_pinned() {
            return None;
        }
        let key = self.key_bytes(at, header);
        self.pins.until(header.db(), self.hash_of(at), key)
    }

    /// Ends the pin of an entry that is there, or about to go.
    #[inline]
    pub(super) fn release_pin(&mut self, place: &Place) {
        if place.header.is_pinned() {
            let hash = self.hash_of(place.at);
            let key = self.arena.mapping.slice(
                (place.at + place.header.key_word()) * 8,
                place.header.key_bytes(),
            );
            self.pins.remove(place.physical, hash, key);
            self.mark_pinned(place, false);
        }
    }

    /// Readers from outside do not look at the mark: the bucket need not be opened for it.
    fn mark_pinned(&mut self, place: &Place, pinned: bool) {
        let header = place.header.with_pin(pinned);
        self.arena.mapping.store(place.at, header.word0);
    }

    /// Checks the books against the entries that are marked.
    pub(super) fn check_pins(&self, refs: &[u64]) {
        let mut marked: Vec<_> = refs
            .iter()
            .map(|at| (*at, self.header(*at)))
            .filter(|(_, header)| header.is_pinned())
            .map(|(at, header)| {
                let key = self.key_bytes(at, &header);
                let bytes = self.weight(at, &header);
                (header.db(), self.hash_of(at), key, bytes)
            })
            .collect();
        marked.sort_unstable();
        let mut known: Vec<_> = self.pins.all().collect();
        known.sort_unstable();
        assert_eq!(marked, known, "what is marked as pinned is in the books");
        let bytes: u64 = known.iter().map(|pin| pin.3).sum();
        assert_eq!(bytes, self.pins.bytes());
    }
}
