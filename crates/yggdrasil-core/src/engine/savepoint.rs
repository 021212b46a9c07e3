//! Steps of a transaction over shards that count everywhere or nowhere: MSET, RENAME and the like.
//!
//! Each shard of such a step keeps what it changes from a savepoint on. When all have answered, the coordinator says
//! that the changes stay or, if one was refused, has all of them undone; only then the next step begins.

use super::Engine;
use super::durability::AckChoice;
use super::links::Envelope;
use super::pending::{Gather, Receiver, Waiter};
use super::remote::Message;
use super::routing::Part;
use crate::commands::{CommandSpec, Flags, Join};
use crate::keyspace::NotedEvent;
use crate::resp::Args;
use crate::ring::FrameKind;

/// A word about the savepoint of a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Savepoint {
    Begin,
    Keep,
    Undo,
}

impl Savepoint {
    fn from_number(number: u8) -> Option<Self> {
        [Self::Begin, Self::Keep, Self::Undo]
            .into_iter()
            .find(|word| *word as u8 == number)
    }
}

/// The savepoint of a step, as the coordinator knows it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) enum StepState {
    /// The step has none.
    #[default]
    Free,
    /// These shards, as bits, keep what they change; so many events were there before.
    Saved(u64, usize),
    /// They undo it; their answers come into this gather.
    Undoing(usize),
}

impl Engine {
    /// Begins a savepoint for a step that is sent in parts, where one may be refused.
    pub(super) fn save_parts(
        &mut self,
        id: usize,
        row: &CommandSpec,
        args: &Args<'_>,
        parts: &[Part],
    ) {
        let takes_memory = row.flags.has(Flags::DENYOOM);
        if parts.len() > 1 && takes_memory && !self.is_certain(id, row, args) {
            let shards = parts.iter();
            let shards = shards.fold(0, |shards, part| shards | 1 << part.shard);
            self.begin_savepoint(id, shards);
        }
    }

    /// True when no shard of a transaction will refuse the first of its requests.
    fn is_certain(&self, id: usize, row: &CommandSpec, args: &Args<'_>) -> bool {
        let transaction = &self.transactions[id];
        let is_first = transaction.commands.len() == 1 && transaction.nesting.parent.is_none();
        if !is_first {
            return false;
        }
        let mut needed = vec![0_u64; self.shape.shards];
        for (key, bytes) in row.rooms(args) {
            let there = &mut needed[self.shard_of(key)];
            *there = there.saturating_add(bytes);
        }
        let mut shards = transaction.reserved.iter().zip(&transaction.rooms);
        shards.all(|(shard, room)| needed[*shard] <= *room)
    }

    /// Has these shards, as bits, keep what the next step of a transaction changes there.
    pub(super) fn begin_savepoint(&mut self, id: usize, shards: u64) {
        debug_assert_eq!(self.transactions[id].saved, StepState::Free);
        let root = self.root_of(id);
        self.keep_own_events(root);
        let events = self.transactions[root].events.len();
        self.transactions[id].saved = StepState::Saved(shards, events);
        self.send_savepoint(id, shards, Savepoint::Begin);
        if shards & 1 << self.me != 0 {
            self.note_savepoint(Savepoint::Begin);
        }
    }

    /// Ends the savepoint of a step that all shards have answered, if it has one.
    pub(super) fn end_savepoint(&mut self, id: usize, counts: bool) {
        let StepState::Saved(shards, events) = self.transactions[id].saved else {
            return;
        };
        let is_own = shards & 1 << self.me != 0;
        if counts {
            self.transactions[id].saved = StepState::Free;
            self.send_savepoint(id, shards, Savepoint::Keep);
            if is_own {
                self.note_savepoint(Savepoint::Keep);
            }
            return;
        }
        let gather = Gather::new(
            Join::AllOk,
            Vec::new(),
            shards.count_ones() as usize,
            Receiver::Transaction(id),
        );
        let gather = self.gathers.insert(gather);
        let root = self.root_of(id);
        let told = &mut self.transactions[root].events;
        let undone = told.split_off(events);
        told.extend(undone.into_iter().filter(NotedEvent::is_of_time_or_memory));
        self.transactions[id].saved = StepState::Undoing(gather);
        let (tag, ack) = (self.transactions[id].tag, self.transactions[id].ack);
        let payload = [Savepoint::Undo as u8, ack as u8];
        let named = (0..64).filter(|shard| shards & 1 << shard != 0);
        for (part, shard) in named.enumerate() {
            if shard == self.me {
                let before = self.shard.number();
                self.note_savepoint(Savepoint::Undo);
                self.note_part(gather, shard, self.part_of_group(ack, before));
                self.gathers[gather].parts[part] = Some(Vec::new());
            } else {
                let envelope = Envelope {
                    tag,
                    ..Envelope::new(FrameKind::Savepoint, 0)
                };
                self.send_asking(shard, Waiter::Part { gather, part }, envelope, &payload);
            }
        }
        self.finish_savepoint(id);
    }

    /// True when a transaction has no savepoint any more.
    pub(super) fn finish_savepoint(&mut self, id: usize) -> bool {
        match self.transactions[id].saved {
            StepState::Free => return true,
            StepState::Saved(..) => return false,
            StepState::Undoing(gather) if !self.gathers[gather].is_complete() => return false,
            StepState::Undoing(gather) => self.gathers.remove(gather),
        };
        self.transactions[id].saved = StepState::Free;
        true
    }

    fn send_savepoint(&mut self, id: usize, shards: u64, word: Savepoint) {
        self.send_word(self.transactions[id].tag, shards, word);
    }

    /// Sends a word about a transaction to shards, as bits, that others own.
    pub(super) fn send_word(&mut self, tag: u64, shards: u64, word: Savepoint) {
        let others = (0..64).filter(|shard| shards & 1 << shard != 0 && *shard != self.me);
        for shard in others {
            let envelope = Envelope {
                tag,
                ..Envelope::new(FrameKind::Savepoint, 0)
            };
            self.links.send(shard, envelope, &[word as u8, 0]);
        }
    }

    /// A word of the coordinator about the own shard. That of a transaction which has lost the shard is late.
    pub(super) fn take_savepoint(&mut self, message: &Message<'_>) {
        let header = &message.header;
        let is_reserved = self
            .reserved
            .is_some_and(|reservation| reservation.is_of(message.from, header.tag));
        let [word, ack] = *message.payload.as_ref() else {
            return;
        };
        let word = Savepoint::from_number(word);
        let before = self.shard.number();
        if let Some(word) = word.filter(|_| is_reserved) {
            self.note_savepoint(word);
        }
        if word == Some(Savepoint::Undo) {
            let ack = AckChoice::numbered(ack);
            self.reply_to_request(message.from, header, before, ack, b"");
        }
    }

    pub(super) fn note_savepoint(&mut self, word: Savepoint) {
        match word {
            Savepoint::Begin => {
                let begun = self.shard.begin_unheard();
                self.saved.push(begun);
            }
            Savepoint::Keep | Savepoint::Undo => self.close_savepoint(word == Savepoint::Keep),
        }
    }

    /// Ends the last savepoint of the own shard, if there is one: what it has changed since counts, or is undone.
    fn close_savepoint(&mut self, counts: bool) {
        if let Some(begun) = self.saved.pop() {
            self.shard.end_unheard(&begun, counts, self.now);
            self.send_stale();
        }
    }

    /// Ends all savepoints of the own shard.
    pub(super) fn close_savepoints(&mut self, count: bool) {
        while !self.saved.is_empty() {
            self.close_savepoint(count);
        }
    }
}
