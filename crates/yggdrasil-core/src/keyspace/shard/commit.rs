//! The one way by which changes become real, and the way back.

use crate::keyspace::effect::{Effect, Record};
use crate::keyspace::entry::VERSION_MASK;
use crate::keyspace::events::EventMark;
use crate::keyspace::journal::{Before, Cause, ChangeListener, Mark, Past, Subject};
use crate::keyspace::kind::Value;
use crate::keyspace::layout::{BLOCK_BYTES, NUMBER};
use crate::keyspace::tracking::Tracking;
use crate::keyspace::types::{EntryView, Key, KeyspaceError, Millis};

use super::{Place, Shard};

/// What others had heard of when changes began of which they hear later, if at all.
#[derive(Clone, Copy, Debug)]
pub struct Unheard {
    events: EventMark,
    touched: usize,
    stale: usize,
}

/// Bytes of a record beside its key and its value, and some more.
const RECORD_BYTES: u64 = 64;

/// Room beyond this is not promised to a transaction.
const MOST_CERTAIN_BYTES: u64 = 16 << 20;

/// An entry, to be put again as it is.
fn past(view: &EntryView<'_>) -> Past {
    if let Value::Tree(tree) = view.value {
        return Past::Tree {
            tree: tree.clone(),
            expire_at: view.expire_at,
            pinned_until: view.pinned_until,
        };
    }
    let mut put = Vec::new();
    view.as_put().encode(&mut put);
    Past::Put(put)
}

impl Shard {
    /// Number of the last change. Numbers rise by every change, and are never given twice.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.journal.number()
    }

    /// Goes on numbering behind the changes that were made before a restart.
    ///
    /// # Panics
    /// If the shard has made changes beyond that, or no number would be left.
    pub fn resume_from(&mut self, number: u64) {
        assert!(
            (self.journal.number()..VERSION_MASK).contains(&number),
            "numbers of changes rise"
        );
        self.set_number(number);
    }

    pub(super) fn set_number(&mut self, number: u64) {
        self.journal.go_on_from(number);
        self.arena.mapping.announce(NUMBER, number);
    }

    /// Has all changes told to a listener, or to none. Returns the one before.
    pub fn set_listener(
        &mut self,
        listener: Option<Box<dyn ChangeListener>>,
    ) -> Option<Box<dyn ChangeListener>> {
        self.journal.set_listener(listener)
    }

    /// True while changes are told to a listener.
    #[inline]
    #[must_use]
    pub fn has_listener(&self) -> bool {
        self.journal.has_listener()
    }

    /// Makes sure that a record with so many bytes of key and value can be kept.
    ///
    /// # Errors
    /// The listener has no room for it. Nothing has changed.
    #[inline(always)]
    pub fn reserve_record(&mut self, bytes: u64) -> Result<(), KeyspaceError> {
        if self.journal.is_attended() {
            return self.journal.reserve(bytes + RECORD_BYTES);
        }
        Ok(())
    }

    /// Makes sure that changes of a key can be kept.
    ///
    /// # Errors
    /// The listener refuses them. Nothing has changed.
    pub fn admit(&mut self, key: &[u8]) -> Result<(), KeyspaceError> {
        self.journal.admit(key)
    }

    /// Tells the listener where a group of changes begins or ends.
    pub fn mark(&mut self, mark: &Mark<'_>) {
        self.journal.mark(mark);
    }

    /// Tells the listener that a group of several shards counts. Returns the number of the decision.
    pub fn decide(&mut self, tag: u64, parts: &[(u16, u64)]) -> u64 {
        let number = self.count_change();
        self.journal.mark(&Mark::Decided { tag, parts });
        number
    }

    /// True where a whole database was changed since the last call while changes might have been undone.
    pub fn take_cannot_undo(&mut self) -> bool {
        self.journal.take_cannot_undo()
    }

    /// Makes a change of an entry real that was asked for: gives it its number and tells everybody. Called once for each change, when
    /// nothing can prevent it any more and before any of it is written. `value_bytes` is the length of the value after it.
    #[inline(always)]
    pub(super) fn commit<'a>(
        &mut self,
        key: &Key<'a>,
        value_bytes: u64,
        effect: impl FnOnce() -> Effect<'a>,
    ) -> u64 {
        let number = self.count_change();
        if self.journal.is_attended() {
            let subject = self.subject(key, value_bytes);
            self.attend(number, &subject, &effect(), Cause::Asked);
        }
        number
    }

    /// Makes a change of a known subject real.
    pub(super) fn commit_as(&mut self, subject: &Subject<'_>, effect: &Effect<'_>, cause: Cause) {
        let number = self.count_change();
        if self.journal.is_attended() {
            self.attend(number, subject, effect, cause);
        }
    }

    /// Makes the removal of an entry real.
    pub(super) fn commit_removal(&mut self, place: &Place, cause: Cause) -> u64 {
        self.commit_of_entry(place, &Effect::Remove, cause)
    }

    /// Makes a change real of an entry of which only the place is known.
    pub(super) fn commit_of_entry(
        &mut self,
        place: &Place,
        effect: &Effect<'_>,
        cause: Cause,
    ) -> u64 {
        let number = self.count_change();
        if self.journal.is_attended() {
            let key = self.key_bytes(place.at, &place.header).to_vec();
            let subject = Subject {
                physical: place.physical,
                hash: self.hash_of(place.at),
                key: &key,
                value_bytes: place.header.value_bytes(),
            };
            self.attend(number, &subject, effect, cause);
        }
        number
    }

    /// Makes a change real by bytes that lie in the arena already.
    pub(super) fn commit_in_arena(
        &mut self,
        subject: &Subject<'_>,
        offset: u64,
        len: u64,
        effect: impl for<'b> FnOnce(&'b [u8]) -> Effect<'b>,
    ) -> u64 {
        let number = self.count_change();
        if self.journal.is_attended() {
            self.keep_before(subject);
            let db = self.logical(subject.physical);
            let Self { arena, journal, .. } = self;
            let bytes = arena.mapping.slice(offset, len);
            journal.tell(number, db, subject, &effect(bytes), Cause::Asked);
        }
        number
    }

    /// Makes a change real of a whole database, or of the map of all.
    pub(super) fn commit_whole(&mut self, physical: u8, effect: Effect<'_>) -> u64 {
        let number = self.count_change();
        let record = Record {
            db: physical,
            key: b"",
            effect,
        };
        self.journal.note_whole();
        self.journal.tell_listener(number, &record);
        number
    }

    /// Numbers a change and publishes the number: what has lower ones is visible from now on.
    #[inline(always)]
    fn count_change(&mut self) -> u64 {
        let number = self.journal.count();
        self.arena.mapping.announce(NUMBER, number);
        number
    }

    #[cold]
    #[inline(never)]
    fn attend(&mut self, number: u64, subject: &Subject<'_>, effect: &Effect<'_>, cause: Cause) {
        if cause == Cause::Asked {
            self.keep_before(subject);
        }
        let db = self.logical(subject.physical);
        self.journal.tell(number, db, subject, effect, cause);
    }

    /// Keeps the entry as it is, where its change may be undone.
    fn keep_before(&mut self, subject: &Subject<'_>) {
        if self.journal.undo().is_none() || self.journal.has_kept(subject) {
            return;
        }
        let place = self.locate_in(subject.physical, subject.hash, subject.key);
        let entry = place.map(|place| past(&self.view(place.at, &place.header)));
        let before = Before {
            physical: subject.physical,
            hash: subject.hash,
            key: subject.key.into(),
            entry,
        };
        if let Some(undo) = self.journal.undo() {
            undo.push(before);
        }
    }

    /// Begins changes of which all count or none.
    pub fn begin_changes(&mut self) {
        self.journal.begin_undo();
    }

    /// Ends them: they count, or are undone, whatever memory that takes. An eviction is no part of them and stays.
    pub fn end_changes(&mut self, count: bool, now: Millis) {
        let before = self.journal.end_undo(count);
        if !count {
            // What is as it was before is nothing to undo for changes around these.
            let around = self.journal.take_undo();
            self.without_limit(|shard| {
                for before in before.into_iter().rev() {
                    shard.restore(&before, now);
                }
            });
            self.journal.set_undo(around);
        }
    }

    /// Begins changes of which all count or none, and of which no other client hears before they count: the shard is
    /// held for them.
    pub fn begin_unheard(&mut self) -> Unheard {
        let begun = Unheard {
            events: self.event_mark(),
            touched: self.journal.watches().unsure(),
            stale: self.journal.with_tracking(Tracking::begin_unsure),
        };
        self.begin_changes();
        begun
    }

    /// Ends them. Undone, it is as if they had not been made: watches and events are as they were, too.
    pub fn end_unheard(&mut self, begun: &Unheard, count: bool, now: Millis) {
        if count {
            self.end_changes(true, now);
        } else {
            self.journal
                .with_watches(|watches| watches.undo_since(begun.touched));
            self.journal.set_undoing(true);
            self.end_changes(false, now);
            self.journal.set_undoing(false);
            self.forget_events_since(begun.events);
        }
        self.journal
            .with_tracking(|tracking| tracking.end_unsure(begun.stale, count));
    }

    /// Does something that neither memory nor a listener refuses.
    pub(super) fn without_limit<T>(&mut self, change: impl FnOnce(&mut Self) -> T) -> T {
        let limit = std::mem::replace(&mut self.arena.limit, u64::MAX);
        self.journal.set_exempt(true);
        let outcome = change(self);
        self.journal.set_exempt(false);
        self.arena.limit = limit;
        outcome
    }

    fn restore(&mut self, before: &Before, now: Millis) {
        let key = Key {
            db: self.logical(before.physical),
            hash: before.hash,
            bytes: &before.key,
        };
        self.remove(&key, now);
        let effect = match &before.entry {
            None => return,
            Some(Past::Put(put)) => Effect::decode(put),
            Some(Past::Tree {
                tree,
                expire_at,
                pinned_until,
            }) => Ok(Effect::Put {
                kind: tree.kind(),
                value: Value::Tree(tree),
                expire_at: *expire_at,
                pinned_until: *pinned_until,
            }),
        };
        if let Ok(effect) = effect {
            let restored = self.make(&key, &effect, now);
            debug_assert_eq!(restored, Ok(()));
        }
    }

    /// Bytes that new entries may take together, each as by [`Shard::certain_need`], without a chance of refusal.
    #[must_use]
    pub fn certain_room(&self) -> u64 {
        if self.pins.bytes() > 0 {
            return 0;
        }
        // Nothing is set aside for it: most requests need little of it.
        let room = self.room().min(MOST_CERTAIN_BYTES);
        room.min(self.journal.certain_room())
    }

    /// What an entry may take at most: a page of another size class, and one of the index, may be begun for it.
    #[must_use]
    pub fn certain_need(key_bytes: u64, value_bytes: u64) -> u64 {
        let entry = super::room_of_entry(key_bytes, value_bytes);
        entry.saturating_add(2 * BLOCK_BYTES + RECORD_BYTES)
    }

    /// True where entries of these sizes, as bytes of key and value, are stored without a chance of refusal.
    #[must_use]
    pub fn has_room_for(&self, entries: impl Iterator<Item = (u64, u64)>) -> bool {
        if self.pins.bytes() > 0 {
            return false;
        }
        let (mut needed, mut records) = (0_u64, 0_u64);
        for (key_bytes, value_bytes) in entries {
            if self.check_sizes(key_bytes, value_bytes).is_err() {
                return false;
            }
            needed = needed.saturating_add(Self::certain_need(key_bytes, value_bytes));
            let record = key_bytes.saturating_add(value_bytes) + RECORD_BYTES;
            records = records.saturating_add(record);
        }
        needed <= self.room() && self.journal.has_room(records)
    }
}
