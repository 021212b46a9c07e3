//! Events of keys, noted until they are published.

use crate::keyspace::events::{EventClasses, EventMark, KeyEvent, NotedEvent};

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
