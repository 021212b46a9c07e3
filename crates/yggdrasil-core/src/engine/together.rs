//! Commands over several keys that look before they change (RENAME, COPY, MSETNX, LCS ...) when the keys belong to
//! several shards: steps of a transaction, which has reserved the shards.

use std::cell::RefCell;

use std::collections::VecDeque;

use super::Engine;
use super::links::Envelope;
use super::output::Tail;
use super::pending::{Gather, Receiver, Waiter};
use super::tracking::Origin;
use super::views::Keeping;
use super::wire;
use crate::commands::together::{decode, encode_look};
use crate::commands::{
    Change, CommandError, Further, InSteps, Join, KeyLimits, Look, Made, MayWait, PlanContext,
    Together, Waits,
};
use crate::keyspace::{Key, Millis, PinRoom, hash_key};
use crate::resp::{ArgsBuffer, Protocol, Reply};
use crate::ring::FrameKind;

/// How far such a command has come.
pub(super) enum Step {
    /// The entries it wants to see are being fetched.
    Looking { asked: Asked, gather: usize },
    /// Its changes are being made, then others; then this is the reply.
    Changing {
        gather: usize,
        rest: VecDeque<Prepared>,
        reply: Decided,
    },
}

/// What comes when all changes are made.
pub(super) enum Decided {
    /// A reply, and what is made of it later.
    Reply(Vec<u8>, Option<Tail>),
    /// The wait for a change of the keys.
    Wait(Waits),
}

/// A change as it is sent to the owner of its key.
pub(super) struct Prepared {
    shard: usize,
    db: u8,
    payload: Vec<u8>,
}

/// What was asked for, and what has been seen for it so far.
pub(super) struct Asked {
    together: Together,
    args: ArgsBuffer,
    origin: Origin,
    seen: Vec<Vec<u8>>,
}

/// What the steps of such a command stand on, apart from the engine, which makes its changes.
struct Ground {
    limits: KeyLimits,
    pins: PinRoom,
    made: Made,
    may_wait: MayWait,
    further: Further,
    in_steps: RefCell<InSteps>,
}

impl Ground {
    fn of(engine: &Engine, may_wait: bool) -> Self {
        Self {
            limits: engine.options.limits,
            pins: engine.shard.pins().room(),
            made: Made::default(),
            may_wait: MayWait::new(may_wait),
            further: Further::default(),
            in_steps: RefCell::default(),
        }
    }

    fn plan(&self, db: u8, now: Millis) -> PlanContext<'_> {
        PlanContext {
            db,
            now,
            limits: &self.limits,
            pins: &self.pins,
            made: &self.made,
            may_wait: &self.may_wait,
            further: &self.further,
            in_steps: &self.in_steps,
            is_logged: false,
        }
    }
}

impl Engine {
    /// What the own shard has under the key of a look, on behalf of a client.
    pub(super) fn look_here(&mut self, look: &Look<'_>, origin: Origin) -> Vec<u8> {
        let key = Key {
            db: look.db,
            hash: hash_key(self.shape.hash_seed, look.key),
            bytes: look.key,
        };
        let found = if origin.untouched {
            self.shard.look(&key, self.now)
        } else {
            self.shard.use_entry(&key, self.now)
        };
        let mut bytes = Vec::new();
        encode_look(found.as_ref(), look, &mut bytes);
        self.track(origin, std::iter::once(look.key));
        bytes
    }

    /// Begins with the first half, in a transaction.
    pub(super) fn start_together(
        &mut self,
        id: usize,
        together: Together,
        args: ArgsBuffer,
        origin: Origin,
    ) {
        let transaction = &self.transactions[id];
        let (db, protocol) = (transaction.db, transaction.protocol);
        let mut looks = Vec::new();
        let ground = Ground::of(self, transaction.spread.is_some());
        let plan = ground.plan(db, self.now);
        if let Err(error) = (together.look)(&plan, &args.as_args(), &mut looks) {
            self.together_failed(id, protocol, &error);
            return;
        }
        let gather = self.gather_looks(id, &looks, origin);
        let asked = Asked {
            together,
            args,
            origin,
            seen: Vec::new(),
        };
        self.transactions[id].step = Some(Step::Looking { asked, gather });
    }

    /// Asks the owners for what some keys have.
    fn gather_looks(&mut self, id: usize, looks: &[Look<'_>], origin: Origin) -> usize {
        let tag = self.transactions[id].tag;
        let gather = self.new_gather(id, looks.len());
        for (part, look) in looks.iter().enumerate() {
            let shard = self.shard_of(look.key);
            if shard == self.me {
                self.gathers[gather].parts[part] = Some(self.look_here(look, origin));
            } else {
                let envelope = Envelope {
                    tag,
                    db: look.db,
                    ..Envelope::new(FrameKind::Fetch, 0)
                };
                let mut payload = Vec::new();
                wire::put_origin(&mut payload, origin);
                wire::put_look(&mut payload, look);
                self.send_asking(shard, Waiter::Part { gather, part }, envelope, &payload);
            }
        }
        gather
    }

    fn new_gather(&mut self, id: usize, parts: usize) -> usize {
        self.gathers.insert(Gather::new(
            Join::AllOk,
            Vec::new(),
            parts,
            Receiver::Transaction(id),
        ))
    }

    pub(super) fn together_failed(&mut self, id: usize, protocol: Protocol, error: &CommandError) {
        let mut reply = Vec::new();
        error.write(&mut Reply::new(&mut reply, protocol));
        self.step_done(id, &reply);
    }

    /// Goes on as far as possible; false while something is under way.
    pub(super) fn continue_together(&mut self, id: usize) -> bool {
        let gather = match self.transactions[id].step.as_ref() {
            None => return true,
            Some(Step::Looking { gather, .. } | Step::Changing { gather, .. }) => *gather,
        };
        if !self.gathers[gather].is_complete() {
            return false;
        }
        let parts = self.gathers.remove(gather).into_parts();
        match self.transactions[id].step.take() {
            Some(Step::Looking { mut asked, .. }) => {
                asked.seen.extend(parts);
                self.decide(id, asked);
                self.continue_together(id)
            }
            Some(Step::Changing { rest, reply, .. }) => {
                let error = parts.into_iter().find(|part| part.first() == Some(&b'-'));
                if error.is_none() && !rest.is_empty() {
                    self.send_prepared(id, rest, reply);
                    return self.continue_together(id);
                }
                self.end_savepoint(id, error.is_none());
                match (error, reply) {
                    (Some(error), _) => self.step_done(id, &error),
                    (None, Decided::Reply(reply, tail)) => self.step_done_with(id, &reply, tail),
                    (None, Decided::Wait(waits)) => self.found_nothing(id, waits),
                }
                self.finish_savepoint(id)
            }
            None => true,
        }
    }

    /// The second half: everything is known.
    fn decide(&mut self, id: usize, asked: Asked) {
        if self.is_left(id) {
            self.transactions[id].waits = true;
            return;
        }
        let transaction = &self.transactions[id];
        let ground = Ground::of(self, transaction.spread.is_some());
        let (db, protocol) = (transaction.db, transaction.protocol);
        let views: Option<Vec<_>> = asked.seen.iter().map(|part| decode(part)).collect();
        let Some(views) = views else {
            let error =
                CommandError::Plain("a shard of this command was restarted; nothing was changed");
            self.together_failed(id, protocol, &error);
            return;
        };
        let mut changes = Vec::new();
        let mut reply = Vec::new();
        let is_for_client = transaction.is_for_client();
        let mut keeping = Keeping(&mut self.lending);
        let mut writer = match is_for_client {
            true => Reply::lending(&mut reply, protocol, &mut keeping),
            false => Reply::new(&mut reply, protocol),
        };
        let outcome = (asked.together.decide)(
            &ground.plan(db, self.now),
            &asked.args.as_args(),
            &views,
            &mut changes,
            &mut writer,
        );
        let tail = self.lending.take_rest().map(Tail::Here);
        match (outcome, ground.may_wait.asked()) {
            (Err(error), _) => self.together_failed(id, protocol, &error),
            (Ok(()), Some(waits)) if changes.is_empty() => self.found_nothing(id, waits),
            (Ok(()), Some(waits)) => self.send_changes(id, &changes, Decided::Wait(waits)),
            (Ok(()), None) => {
                let further = ground.further.take();
                if further.is_empty() {
                    self.send_changes(id, &changes, Decided::Reply(reply, tail));
                } else {
                    self.look_further(id, asked, &further);
                }
            }
        }
    }

    /// Goes on when further keys have been seen.
    fn look_further(&mut self, id: usize, asked: Asked, keys: &[Vec<u8>]) {
        let db = self.transactions[id].db;
        let look = |key| Look {
            db,
            key,
            value: true,
            part: None,
        };
        let looks: Vec<_> = keys.iter().map(|key| look(key.as_slice())).collect();
        let gather = self.gather_looks(id, &looks, asked.origin);
        self.transactions[id].step = Some(Step::Looking { asked, gather });
    }

    /// Sends changes to the owners. Where one may be refused, none is made.
    fn send_changes(&mut self, id: usize, changes: &[Change<'_>], reply: Decided) {
        let transaction = &self.transactions[id];
        let (author, ack) = (transaction.session.client, transaction.ack);
        if changes.len() > 1 && changes.iter().any(|change| change.effect.may_be_refused()) {
            let shards = changes
                .iter()
                .fold(0, |shards, change| shards | 1 << self.shard_of(change.key));
            self.begin_savepoint(id, shards);
        }
        let prepared = changes.iter().map(|change| {
            let mut payload = vec![ack as u8];
            wire::put_change(&mut payload, author, change);
            Prepared {
                shard: self.shard_of(change.key),
                db: change.db,
                payload,
            }
        });
        let prepared = prepared.collect();
        self.send_prepared(id, prepared, reply);
    }

    /// Sends changes that are left: all at once, or one after the other where their events have an order.
    fn send_prepared(&mut self, id: usize, mut changes: VecDeque<Prepared>, reply: Decided) {
        let (tag, ack) = (self.transactions[id].tag, self.transactions[id].ack);
        let rest = if self.shard.tells_events() && !changes.is_empty() {
            changes.split_off(1)
        } else {
            VecDeque::new()
        };
        let gather = self.new_gather(id, changes.len());
        for (part, change) in changes.into_iter().enumerate() {
            let Prepared { shard, db, payload } = change;
            if shard == self.me {
                let before = self.shard.number();
                let done = self.apply(db, &payload[1..]);
                self.note_part(gather, self.me, self.part_of_group(ack, before));
                self.gathers[gather].parts[part] = Some(done);
            } else {
                let envelope = Envelope {
                    tag,
                    db,
                    ..Envelope::new(FrameKind::Apply, 0)
                };
                self.send_asking(shard, Waiter::Part { gather, part }, envelope, &payload);
            }
        }
        self.transactions[id].step = Some(Step::Changing {
            gather,
            rest,
            reply,
        });
    }
}

/// The answer to a change, which says whether it was made.
pub(super) fn written(outcome: Result<(), CommandError>) -> Vec<u8> {
    let mut reply = Vec::new();
    let mut writer = Reply::new(&mut reply, Protocol::Resp2);
    match outcome {
        Ok(()) => writer.ok(),
        Err(error) => error.write(&mut writer),
    }
    reply
}
