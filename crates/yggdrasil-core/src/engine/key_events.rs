//! Keyspace events on their way to subscribers: the owner of a key notes them, and every worker with subscribers gets
//! them once the command, or the transaction around it, has ended.

use super::Engine;
use super::links::Envelope;
use super::remote::Message;
use super::wire::{self, Reader};
use crate::keyspace::{EventClasses, KeyEvent, NotedEvent};
use crate::ring::FrameKind;
use crate::stats::Counter;

impl Engine {
    pub(super) fn apply_event_classes(&mut self) {
        self.shard.ask_for_events(self.options.event_classes);
    }

    /// Publishes what the own shard has noted, unless a transaction that has reserved it is still going on.
    #[inline(always)]
    pub(super) fn publish_events(&mut self) {
        if self.shard.has_events() && self.reserved.is_none() {
            self.publish_noted();
        }
    }

    #[cold]
    fn publish_noted(&mut self) {
        let noted = self.shard.take_events();
        let mut payload = Vec::new();
        for event in &noted {
            payload.extend([event.event as u8, event.db]);
            wire::put_blob(&mut payload, &event.key);
        }
        for shard in self.event_hearers() {
            self.links
                .send(shard, Envelope::new(FrameKind::Events, 0), &payload);
        }
        noted.iter().for_each(|event| self.hear_event(event));
    }

    /// The other workers whose clients subscribe to anything.
    fn event_hearers(&self) -> Vec<usize> {
        let others = (0..self.shape.shards).filter(|shard| *shard != self.me);
        others
            .filter(|shard| self.control.stats(*shard).get(Counter::Subscriptions) > 0)
            .collect()
    }

    /// A worker to which too many events are on their way already for more to be caused.
    #[inline(always)]
    pub(super) fn event_backlog(&self) -> Option<usize> {
        if !self
            .shard
            .wants_events(EventClasses::BY_KEY | EventClasses::BY_EVENT)
        {
            return None;
        }
        let mut hearers = self.event_hearers().into_iter();
        hearers.find(|shard| self.links.is_backlogged(*shard))
    }

    /// Events of another worker's shard.
    pub(super) fn take_events_of(&mut self, message: &Message<'_>) {
        let mut reader = Reader::new(&message.payload);
        while let Some(event) = reader.u8().and_then(KeyEvent::numbered) {
            let (Some(db), Some(key)) = (reader.u8(), reader.blob()) else {
                return;
            };
            let key = key.into();
            self.hear_event(&NotedEvent { event, db, key });
        }
    }

    /// Delivers an event to the subscribers of this worker: first those of its key, then those of its name.
    fn hear_event(&mut self, noted: &NotedEvent) {
        let classes = self.options.event_classes;
        let (db, name, key) = (noted.db, noted.event.name(), &noted.key);
        if classes.any(EventClasses::BY_KEY) {
            let channel = [format!("__keyspace@{db}__:").as_bytes(), key].concat();
            self.deliver(&channel, name.as_bytes(), false);
        }
        if classes.any(EventClasses::BY_EVENT) {
            let channel = format!("__keyevent@{db}__:{name}");
            self.deliver(channel.as_bytes(), key, false);
        }
    }
}
