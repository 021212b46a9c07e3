//! Events of keys, and keys that clients have read and that are others now: noted until they are told.

use crate::keyspace::events::{EventClasses, EventMark, KeyEvent, NotedEvent};

use crate::keyspace::tracking::{Stale, Tracker};

use super::{Place, Shard};

impl Shard {
    /// Notes events of these classes from now on.
    pub fn ask_for_events(&mut self, classes: EventClasses) {
        self.events.ask(classes);
    }

    /// True when events of any of these classes are to be noted.
    #[inline(always)]
    #[must_use]
    pub fn wants_events(&self, classes: EventClasses) -> bool {
        self.events.wants(classes)
    }

    /// True while events of any class are asked for.
    #[must_use]
    pub fn tells_events(&self) -> bool {
        self.events.is_asked()
    }

    /// Notes an event of a key of a logical database, where its class is asked for.
    #[inline(always)]
    pub fn notify(&mut self, event: KeyEvent, db: u8, key: &[u8]) {
        if self.events.wants(event.class()) {
            self.events.note(event, db, key);
        }
    }

    /// Notes an event of an entry of which only the place is known.
    #[inline(always)]
    pub(super) fn notify_of(&mut self, event: KeyEvent, place: &Place) {
        if self.events.wants(event.class()) {
            let key = self.key_bytes(place.at, &place.header).to_vec();
            self.events.note(event, self.logical(place.physical), &key);
        }
    }

    /// Notes that there is a key that was not there before.
    #[inline(always)]
    pub(super) fn notify_new(&mut self, physical: u8, key: &[u8]) {
        if self.events.wants(EventClasses::NEW) {
            self.events.note(KeyEvent::New, self.logical(physical), key);
        }
    }

    /// Remembers that a client has read a key: when it is changed, that is told once.
    pub fn track(&mut self, key: &[u8], tracker: Tracker) {
        self.journal
            .with_tracking(|tracking| tracking.add(key, tracker));
    }

    /// Has all changes of keys told, whoever has read them, or ends that.
    pub fn track_all(&mut self, on: bool) {
        self.journal.with_tracking(|tracking| tracking.hear_all(on));
    }

    /// Limits the keys that are remembered; 0 for no limit.
    pub fn limit_tracking(&mut self, keys_max: usize) {
        self.journal
            .with_tracking(|tracking| tracking.set_limit(keys_max));
    }

    /// Says which client asks for the changes from now on; 0 for none.
    #[inline]
    pub fn set_author(&mut self, author: u64) {
        if self.is_tracked() {
            self.journal
                .with_tracking(|tracking| tracking.set_author(author));
        }
    }

    /// True while any client is to be told of changes.
    #[inline(always)]
    #[must_use]
    pub fn is_tracked(&self) -> bool {
        self.journal.is_attended() && !self.journal.tracking().is_idle()
    }

    /// Numbers of keys that are remembered, and of those who have read them.
    #[must_use]
    pub fn tracked(&self) -> (u64, u64) {
        self.journal.tracking().sizes()
    }

    /// Says that all keys may be others now: a database is empty.
    pub fn note_all_stale(&mut self) {
        self.journal.with_tracking(|tracking| tracking.note_all());
    }

    /// True when it is to be told that keys are others now.
    #[inline(always)]
    #[must_use]
    pub fn has_stale(&self) -> bool {
        self.journal.tracking().has_stale()
    }

    pub fn take_stale(&mut self) -> Vec<Stale> {
        self.journal.with_tracking(|tracking| tracking.take_stale())
    }

    /// True when events wait to be published.
    #[inline(always)]
    #[must_use]
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// The events that wait, in order.
    pub fn take_events(&mut self) -> Vec<NotedEvent> {
        self.events.take()
    }

    #[inline]
    #[must_use]
    pub fn event_mark(&self) -> EventMark {
        self.events.mark()
    }

    /// Forgets the events of a command that has failed.
    pub fn forget_events_since(&mut self, mark: EventMark) {
        self.events.forget_since(mark);
    }
}
