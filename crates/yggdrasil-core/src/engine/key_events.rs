//! Keyspace events on their way to subscribers: the owner of a key notes them, and every worker with subscribers gets
//! them once the command, or the transaction around it, has ended. Those of a transaction over shards go through its
//! coordinator, which alone knows their order.

use super::Engine;
use super::links::Envelope;
use super::remote::Message;
use super::transaction::Transaction;
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
        self.publish_these(&noted);
    }

    pub(super) fn publish_these(&mut self, noted: &[NotedEvent]) {
        let payload = encode(noted);
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

    /// Events of another worker: to be heard or, where they are those of a step of a transaction that this one
    /// coordinates, to be kept until its end.
    pub(super) fn take_events_of(&mut self, message: &Message<'_>) {
        let noted = decode(&message.payload);
        let tag = message.header.tag;
        if tag == 0 {
            noted.iter().for_each(|event| self.hear_event(event));
            return;
        }
        let mut transactions = self.transactions.iter();
        let id = transactions.find(|(_, transaction)| {
            transaction.tag == tag && transaction.nesting.parent.is_none()
        });
        if let Some((id, _)) = id {
            self.keep_own_events(id);
            self.transactions[id].events.extend(noted);
        }
    }

    /// Moves the events that the own shard has noted for a transaction to those of its other shards.
    pub(super) fn keep_own_events(&mut self, id: usize) {
        let tag = self.transactions[id].tag;
        let is_its = self
            .reserved
            .is_some_and(|reservation| reservation.is_of(self.me, tag));
        if is_its && self.shard.has_events() {
            let noted = self.shard.take_events();
            self.transactions[id].events.extend(noted);
        }
    }

    /// Sends what the own shard has noted for a transaction ahead of the reply to its coordinator.
    pub(super) fn hand_over_events(&mut self, coordinator: usize, tag: u64) {
        let is_its = self
            .reserved
            .is_some_and(|reservation| reservation.is_of(coordinator, tag));
        if is_its && self.shard.has_events() {
            let payload = encode(&self.shard.take_events());
            let envelope = Envelope {
                tag,
                ..Envelope::new(FrameKind::Events, 0)
            };
            self.links.send(coordinator, envelope, &payload);
        }
    }

    /// Publishes the events of a transaction over shards, which ends.
    pub(super) fn publish_events_of(&mut self, transaction: &mut Transaction) {
        if transaction.events.is_empty() {
            return;
        }
        let mut noted = std::mem::take(&mut transaction.events);
        noted.extend(self.shard.take_events());
        self.publish_these(&noted);
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

fn encode(noted: &[NotedEvent]) -> Vec<u8> {
    let mut payload = Vec::new();
    for event in noted {
        payload.extend([event.event as u8, event.db]);
        wire::put_blob(&mut payload, &event.key);
    }
    payload
}

fn decode(payload: &[u8]) -> Vec<NotedEvent> {
    let mut reader = Reader::new(payload);
    let next = || {
        Some(NotedEvent {
            event: reader.u8().and_then(KeyEvent::numbered)?,
            db: reader.u8()?,
            key: reader.blob()?.into(),
        })
    };
    std::iter::from_fn(next).collect()
}
