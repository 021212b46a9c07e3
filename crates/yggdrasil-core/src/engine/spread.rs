//! Requests that wait for changes of several shards, or of one and change another: coordinated by the worker of their
//! client.
//!
//! Each try is a transaction over all shards of the request. Where it finds nothing it leaves a place in the order of
//! those who wait at each shard, before it releases them. An owner that comes to this place claims it; then comes the
//! next try. Whatever ends the wait, the places are given up.

use std::collections::BTreeMap;

use super::Engine;
use super::links::Envelope;
use super::parked::{Blocked, Due, Ending};
use super::pending::{SessionRef, Waiter};
use super::session::Queued;
use super::transaction::Transaction;
use crate::commands::{Run, Waits};
use crate::keyspace::Millis;
use crate::resp::{ArgsBuffer, Protocol};
use crate::ring::FrameKind;
use crate::stats::Counter;

/// The number of a request that waits at several shards: never used twice.
pub(super) type SpreadId = u64;

/// All of them.
#[derive(Default)]
pub(super) struct Spreads {
    by_id: BTreeMap<SpreadId, Spread>,
    last: SpreadId,
}

impl Spreads {
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    fn add(&mut self, spread: Spread) -> SpreadId {
        self.last += 1;
        self.by_id.insert(self.last, spread);
        self.last
    }

    fn get(&self, id: SpreadId) -> Option<&Spread> {
        self.by_id.get(&id)
    }

    fn get_mut(&mut self, id: SpreadId) -> Option<&mut Spread> {
        self.by_id.get_mut(&id)
    }
}

/// A request that waits at several shards.
pub(super) struct Spread {
    session: SessionRef,
    slot: u64,
    queued: Queued,
    db: u8,
    protocol: Protocol,
    /// What it reads is remembered by the owners of the keys.
    tracks: bool,
    until: Option<Millis>,
    /// Its places: the shard, and the ticket there, or the token at the own one.
    places: Vec<(usize, u64)>,
    /// Shards that have claimed it, as bits.
    claims: u64,
    /// A try is under way.
    trying: bool,
    /// The reply, if this try finds nothing.
    ended: Option<Vec<u8>>,
    /// The client has gone.
    left: bool,
}

/// What becomes of a request after a transaction.
pub(super) enum Settled {
    /// It is answered by what the transaction has found.
    Done,
    /// It has this answer.
    Ended(Vec<u8>),
    /// It waits.
    Waits,
}

impl Engine {
    /// The place of a request that may wait, for the transaction that tries it first.
    pub(super) fn new_spread(
        &mut self,
        index: usize,
        slot: u64,
        queue: &[Queued],
        exec: bool,
    ) -> Option<SpreadId> {
        let [queued] = queue else {
            return None;
        };
        let is_together = matches!(self.table.spec(queued.command).run, Run::Together(_));
        if exec || !is_together || !self.is_blocking(queued.command) {
            return None;
        }
        let tracks = self.tracks(index);
        let session = &self.sessions[index];
        let spread = self.spreads.add(Spread {
            session: session.at,
            slot,
            queued: queued.clone(),
            db: session.db,
            protocol: session.protocol,
            tracks,
            until: None,
            places: Vec::new(),
            claims: 0,
            trying: true,
            ended: None,
            left: false,
        });
        self.sessions[index].blocked = Some(Blocked::Spread(spread));
        Some(spread)
    }

    /// True for a try of a request whose client has gone.
    pub(super) fn is_left(&self, id: usize) -> bool {
        let spread = self.transactions[id].spread;
        let waiting = spread.and_then(|spread| self.spreads.get(spread));
        waiting.is_some_and(|waiting| waiting.left)
    }

    /// A try has found nothing. The first one leaves its places, while all shards are reserved.
    pub(super) fn found_nothing(&mut self, id: usize, waits: Waits) {
        let transaction = &mut self.transactions[id];
        transaction.waits = true;
        let (tag, Some(spread)) = (transaction.tag, transaction.spread) else {
            return;
        };
        let Some(waiting) = self.spreads.get_mut(spread) else {
            return;
        };
        if !waiting.places.is_empty() {
            return;
        }
        waiting.until = waits.until;
        if let Some(args) = waits.instead {
            waiting.queued.args = *args;
        }
        let (queued, db) = (waiting.queued.clone(), waiting.db);
        if let Some(until) = waits.until {
            self.deadlines.insert((until, Due::Spread(spread)));
        }
        let places = self.take_places(spread, &queued, db, tag);
        if let Some(waiting) = self.spreads.get_mut(spread) {
            waiting.places = places;
            self.stats.add(Counter::BlockedClients, 1);
        }
    }

    fn take_places(
        &mut self,
        spread: SpreadId,
        queued: &Queued,
        db: u8,
        tag: u64,
    ) -> Vec<(usize, u64)> {
        let (command, args) = (queued.command, queued.args.as_args());
        let mut keys: Vec<ArgsBuffer> = vec![ArgsBuffer::default(); self.shape.shards];
        for place in self.table.spec(command).waits_for(&args) {
            let key = args.at(place);
            keys[self.shard_of(key)].push(key);
        }
        let mut places = Vec::new();
        for (shard, keys) in keys.into_iter().enumerate() {
            if keys.as_args().is_empty() {
                continue;
            }
            let number = if shard == self.me {
                self.wait_here(spread, command, keys, db)
            } else {
                let incarnation = self.links.incarnation(shard);
                let waiter = Waiter::Spread { spread };
                let ticket = self.tickets.issue(waiter, shard, incarnation);
                let envelope = Envelope {
                    tag,
                    db,
                    ..Envelope::new(FrameKind::Wait, ticket)
                };
                self.links
                    .send(shard, envelope, &Self::wait_payload(command, &keys));
                ticket
            };
            places.push((shard, number));
        }
        places
    }

    /// An owner has come to the place of a request: it is tried again.
    pub(super) fn spread_claimed(&mut self, spread: SpreadId, shard: usize) {
        let Some(waiting) = self.spreads.get_mut(spread) else {
            return;
        };
        waiting.claims |= 1 << shard;
        if std::mem::replace(&mut waiting.trying, true) {
            return;
        }
        let (at, db, protocol, tracks) = (
            (waiting.session, waiting.slot),
            waiting.db,
            waiting.protocol,
            waiting.tracks,
        );
        let queued = waiting.queued.clone();
        let shards = self.shards_of(queued.command, &queued.args.as_args());
        let mut transaction = Transaction::new(Some(at), shards, vec![queued]);
        (transaction.db, transaction.protocol) = (db, protocol);
        transaction.tracks = tracks;
        transaction.tag = self.next_tag();
        transaction.spread = Some(spread);
        self.begin_transaction(transaction);
    }

    /// Says what becomes of a request after a try, whose shards are not released yet.
    pub(super) fn settle_spread(&mut self, transaction: &Transaction) -> Settled {
        let Some(spread) = transaction.spread else {
            return Settled::Done;
        };
        let has_run = !transaction.lost && !transaction.touched && transaction.refusal.is_none();
        let Some(waiting) = self.spreads.get_mut(spread) else {
            return Settled::Done;
        };
        if !has_run || !transaction.waits {
            self.remove_spread(spread, transaction.tag);
            return Settled::Done;
        }
        if waiting.left {
            self.remove_spread(spread, transaction.tag);
            return Settled::Ended(Vec::new());
        }
        if let Some(reply) = waiting.ended.take() {
            self.remove_spread(spread, transaction.tag);
            return Settled::Ended(reply);
        }
        waiting.trying = false;
        let claims = std::mem::take(&mut waiting.claims);
        for (shard, number) in waiting.places.clone() {
            if claims & (1 << shard) == 0 {
                continue;
            }
            if shard == self.me {
                self.unclaim(number);
            } else {
                let envelope = Envelope::new(FrameKind::Unclaim, number);
                self.links.send(shard, envelope, &[]);
            }
        }
        Settled::Waits
    }

    /// Gives up the places of a request. `tag` is that of the transaction that has reserved them, or 0.
    fn remove_spread(&mut self, spread: SpreadId, tag: u64) {
        let Some(waiting) = self.spreads.by_id.remove(&spread) else {
            return;
        };
        if !waiting.places.is_empty() {
            self.stats.subtract(Counter::BlockedClients, 1);
        }
        if let Some(until) = waiting.until {
            self.deadlines.remove(&(until, Due::Spread(spread)));
        }
        for (shard, number) in waiting.places {
            if shard == self.me {
                self.unpark(number);
            } else if self.tickets.redeem(number).is_some() {
                self.send_cancel(shard, number, tag, Ending::Gone);
            }
        }
    }

    /// Ends a request with a reply, unless a try that is under way finds something.
    pub(super) fn end_spread(&mut self, spread: SpreadId, reply: Vec<u8>) {
        let Some(waiting) = self.spreads.get_mut(spread) else {
            return;
        };
        if waiting.trying {
            waiting.ended.get_or_insert(reply);
            return;
        }
        let (session, slot) = (waiting.session, waiting.slot);
        self.remove_spread(spread, 0);
        self.answer(session, slot, &reply);
    }

    pub(super) fn end_spread_by(&mut self, spread: SpreadId, ending: Ending) {
        if let Some(waiting) = self.spreads.get(spread) {
            let reply = ending.reply(waiting.protocol);
            self.end_spread(spread, reply);
        }
    }

    /// The client of a request has gone.
    pub(super) fn leave_spread(&mut self, spread: SpreadId) {
        match self.spreads.get_mut(spread) {
            Some(waiting) if waiting.trying => waiting.left = true,
            _ => self.remove_spread(spread, 0),
        }
    }
}
