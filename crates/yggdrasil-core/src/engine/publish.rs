//! Publish and subscribe over all workers: each knows its own listeners; a message goes to every worker that has any.

use super::Engine;
use super::dispatch::Flow;
use super::links::Envelope;
use super::pending::{Gather, Receiver, Waiter};
use super::pubsub::Topic;
use super::remote::Message;
use super::session::{Gates, Wait};
use super::wire::{self, Reader};
use crate::commands::Join;
use crate::resp::{Args, Protocol, Reply};
use crate::ring::FrameKind;
use crate::stats::Counter;

/// What a message to another worker says of what is published, as bits of its tag.
mod said {
    /// The channel is one of shards.
    pub const SHARDED: u64 = 1;
    /// Nothing is delivered yet: the answer is the number of those who would hear it.
    pub const COUNTED: u64 = 2;
    /// Nobody waits for an answer.
    pub const UNANSWERED: u64 = 4;
}

impl Engine {
    /// Delivers a message to all listeners of the node; the reply is their number.
    pub(super) fn publish(&mut self, args: &Args<'_>, sharded: bool, receiver: Receiver) -> usize {
        self.stats.add(Counter::Published, 1);
        let heard = self.deliver(args.at(1), args.at(2), sharded);
        self.ask_hearers(args, (sharded, 0), receiver, heard)
    }

    /// Counts who would hear a message; the reply is their number.
    pub(super) fn count_hearers(
        &mut self,
        args: &Args<'_>,
        sharded: bool,
        receiver: Receiver,
    ) -> usize {
        let hearing = self.subscriptions.hearers(args.at(1), sharded).len();
        self.ask_hearers(args, (sharded, said::COUNTED), receiver, hearing)
    }

    /// Delivers a message whose listeners were counted before.
    pub(super) fn deliver_counted(&mut self, args: &Args<'_>, sharded: bool) {
        self.stats.add(Counter::Published, 1);
        self.deliver(args.at(1), args.at(2), sharded);
        let envelope = Envelope {
            tag: u64::from(sharded) | said::UNANSWERED,
            ..Envelope::new(FrameKind::Publish, 0)
        };
        let payload = payload_of(args);
        for shard in self.workers_of_hearers(sharded) {
            self.links.send(shard, envelope, &payload);
        }
    }

    /// The other workers whose clients listen to anything of that kind.
    fn workers_of_hearers(&self, sharded: bool) -> Vec<usize> {
        let counter = if sharded {
            Counter::ShardSubscriptions
        } else {
            Counter::Subscriptions
        };
        (0..self.shape.shards)
            .filter(|&shard| shard != self.me && self.control.stats(shard).get(counter) > 0)
            .collect()
    }

    fn ask_hearers(
        &mut self,
        args: &Args<'_>,
        (sharded, said): (bool, u64),
        receiver: Receiver,
        heard: usize,
    ) -> usize {
        let others = self.workers_of_hearers(sharded);
        let mut gathering = Gather::new(Join::Sum, Vec::new(), others.len() + 1, receiver);
        gathering.parts[0] = Some(format!(":{heard}\r\n").into_bytes());
        let gather = self.gathers.insert(gathering);
        let payload = payload_of(args);
        for (other, shard) in others.into_iter().enumerate() {
            let envelope = Envelope {
                tag: u64::from(sharded) | said,
                ..Envelope::new(FrameKind::Publish, 0)
            };
            self.send_asking(
                shard,
                Waiter::Part {
                    gather,
                    part: other + 1,
                },
                envelope,
                &payload,
            );
        }
        self.finish_if_complete(gather);
        gather
    }

    /// PUBLISH and SPUBLISH of a session.
    pub(super) fn publish_for_session(
        &mut self,
        index: usize,
        args: &Args<'_>,
        sharded: bool,
    ) -> Flow {
        if let Some(shard) = (0..self.shape.shards).find(|&shard| self.links.is_backlogged(shard)) {
            return Flow::Again(Wait::Ring(shard));
        }
        let session = &mut self.sessions[index];
        let slot = session.open_slot();
        let receiver = Receiver::Slot {
            session: session.at,
            slot,
        };
        self.publish(args, sharded, receiver);
        Flow::Done
    }

    /// A message published through another worker.
    pub(super) fn take_publish(&mut self, message: &Message<'_>) {
        let mut reader = Reader::new(&message.payload);
        let said = message.header.tag;
        let sharded = said & said::SHARDED != 0;
        let heard = match reader.blob() {
            Some(channel) if said & said::COUNTED != 0 => {
                self.subscriptions.hearers(channel, sharded).len()
            }
            Some(channel) => self.deliver(channel, reader.rest(), sharded),
            None => 0,
        };
        if said & said::UNANSWERED != 0 {
            return;
        }
        let reply = format!(":{heard}\r\n");
        self.send_reply(message.from, &message.header, reply.as_bytes());
    }

    /// Delivers a message to the listeners of this worker; returns how many heard it.
    pub(super) fn deliver(&mut self, channel: &[u8], message: &[u8], sharded: bool) -> usize {
        let hearers = self.subscriptions.hearers(channel, sharded);
        for (index, pattern) in &hearers {
            let Some(session) = self.sessions.get_mut(*index) else {
                continue;
            };
            let protocol = session.protocol;
            // Behind the replies that are under way: who publishes to itself gets the reply first.
            let mut reply = Reply::new(session.reply_target(), protocol);
            match pattern {
                Some(pattern) => {
                    reply.push(4);
                    reply.bulk(b"pmessage");
                    reply.bulk(pattern);
                }
                None => {
                    reply.push(3);
                    reply.bulk(if sharded { b"smessage" } else { b"message" });
                }
            }
            reply.bulk(channel);
            reply.bulk(message);
            self.touch(*index);
            self.check_output(*index);
        }
        hearers.len()
    }

    /// Closes a subscriber that is too far behind.
    pub(super) fn check_output(&mut self, index: usize) {
        let now = self.now;
        let session = &mut self.sessions[index];
        let limit = if session.subscriptions() > 0 {
            self.options.output_pubsub
        } else {
            self.options.output_normal
        };
        let held = session.output.held() + session.slots.bytes();
        let over_soft = limit.soft_bytes != 0 && held > limit.soft_bytes;
        match (over_soft, session.over_soft_limit_since) {
            (false, _) => session.over_soft_limit_since = 0,
            (true, 0) => session.over_soft_limit_since = now,
            (true, _) => {}
        }
        let soft_for = now.saturating_sub(session.over_soft_limit_since);
        let too_long = over_soft && soft_for > limit.soft_seconds * 1000;
        if ((limit.hard_bytes != 0 && held > limit.hard_bytes) || too_long) && !session.closing {
            self.stats.add(Counter::OutputLimitDisconnects, 1);
            self.drop_session(index);
        }
    }

    /// SUBSCRIBE and its kin.
    pub(super) fn subscribe(
        &mut self,
        index: usize,
        args: &Args<'_>,
        topic: Topic,
        out: &mut Vec<u8>,
    ) {
        let protocol = self.sessions[index].protocol;
        for name in args.iter().skip(1) {
            let details = self.sessions[index].details_mut();
            let was_empty = details.subscribed.total() == 0;
            if !details
                .subscribed
                .of(topic)
                .iter()
                .any(|known| &**known == name)
            {
                details.subscribed.of(topic).push(name.into());
                self.subscriptions.add(topic, name, index);
                self.stats.add(topic_counter(topic), 1);
                if was_empty {
                    self.stats.add(Counter::PubsubClients, 1);
                }
            }
            let count = self.sessions[index].details_mut().subscribed.count(topic);
            confirm(out, protocol, verb(topic, true), Some(name), count);
        }
        self.update_subscribed(index);
    }

    /// UNSUBSCRIBE and its kin; without names, of all.
    pub(super) fn unsubscribe(
        &mut self,
        index: usize,
        args: &Args<'_>,
        topic: Topic,
        out: &mut Vec<u8>,
    ) {
        let protocol = self.sessions[index].protocol;
        let subscribed = &mut self.sessions[index].details_mut().subscribed;
        let names: Vec<Box<[u8]>> = match args.len() {
            1 => subscribed.of(topic).clone(),
            _ => args.iter().skip(1).map(Into::into).collect(),
        };
        if names.is_empty() {
            let count = subscribed.count(topic);
            confirm(out, protocol, verb(topic, false), None, count);
        }
        for name in names {
            self.drop_subscription(index, topic, &name);
            let count = self.sessions[index].details_mut().subscribed.count(topic);
            confirm(out, protocol, verb(topic, false), Some(&name), count);
        }
        self.update_subscribed(index);
    }

    fn drop_subscription(&mut self, index: usize, topic: Topic, name: &[u8]) {
        let subscribed = &mut self.sessions[index].details_mut().subscribed;
        let names = subscribed.of(topic);
        let before = names.len();
        names.retain(|known| &**known != name);
        if names.len() < before {
            if subscribed.total() == 0 {
                self.stats.subtract(Counter::PubsubClients, 1);
            }
            self.subscriptions.remove(topic, name, index);
            self.stats.subtract(topic_counter(topic), 1);
        }
    }

    fn update_subscribed(&mut self, index: usize) {
        let session = &mut self.sessions[index];
        let restricted = session.subscriptions() > 0 && session.protocol == Protocol::Resp2;
        session.gates.set(Gates::SUBSCRIBED, restricted);
    }

    /// Ends all subscriptions of a session without a word.
    pub(super) fn forget_subscriptions(&mut self, index: usize) {
        if self.sessions[index].subscriptions() == 0 {
            return;
        }
        for topic in [Topic::Channel, Topic::Pattern, Topic::Sharded] {
            let names = self.sessions[index]
                .details_mut()
                .subscribed
                .of(topic)
                .clone();
            names
                .iter()
                .for_each(|name| self.drop_subscription(index, topic, name));
        }
        self.update_subscribed(index);
    }

    /// The channels that clients of this worker listen to, with their numbers.
    #[must_use]
    pub fn channels(&self, pattern: Option<&[u8]>, sharded: bool) -> Vec<(Vec<u8>, usize)> {
        self.subscriptions.channels(pattern, sharded)
    }

    /// The patterns that clients of this worker listen to.
    #[must_use]
    pub fn patterns(&self) -> Vec<Vec<u8>> {
        self.subscriptions.patterns()
    }
}

fn payload_of(args: &Args<'_>) -> Vec<u8> {
    let mut payload = Vec::new();
    wire::put_blob(&mut payload, args.at(1));
    payload.extend_from_slice(args.at(2));
    payload
}

fn topic_counter(topic: Topic) -> Counter {
    match topic {
        Topic::Channel | Topic::Pattern => Counter::Subscriptions,
        Topic::Sharded => Counter::ShardSubscriptions,
    }
}

fn verb(topic: Topic, on: bool) -> &'static [u8] {
    match (topic, on) {
        (Topic::Channel, true) => b"subscribe",
        (Topic::Channel, false) => b"unsubscribe",
        (Topic::Pattern, true) => b"psubscribe",
        (Topic::Pattern, false) => b"punsubscribe",
        (Topic::Sharded, true) => b"ssubscribe",
        (Topic::Sharded, false) => b"sunsubscribe",
    }
}

fn confirm(out: &mut Vec<u8>, protocol: Protocol, verb: &[u8], name: Option<&[u8]>, count: usize) {
    let mut reply = Reply::new(out, protocol);
    reply.push(3);
    reply.bulk(verb);
    match name {
        Some(name) => reply.bulk(name),
        None => reply.null(),
    }
    reply.int(count as i64);
}
