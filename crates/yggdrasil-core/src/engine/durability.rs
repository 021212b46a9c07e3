//! Replies that wait until what they tell of is durable, and groups of changes of which all come back or none.
//!
//! A reply to a client of this worker waits in the client's output, behind a gate that has the number of the change. A
//! reply to another worker waits here, with its owner, so that numbers of one shard are never needed elsewhere.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::Arc;

mod gathering;
mod groups;
mod moved;
mod pressure;
mod refusing;

use gathering::Gathering;

use super::Engine;
use super::execute::Nesting;
use super::gate::ShardState;
use super::links::Envelope;
use super::output::Tails;
use super::parked::Asker;
use super::pending::{Receiver, SessionRef, Waiter};
use super::remote::RESTARTED;
use crate::keyspace::{ChangeListener, Millis};
use crate::namespaces::Namespaces;
use crate::ring::FrameKind;

/// The acknowledgement that a connection has asked for, by CLIENT ACK.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub enum AckChoice {
    /// That of each namespace.
    #[default]
    Default,
    /// The record is written: it survives the process. Namespaces may ask for more.
    Fast,
    /// The record is durable.
    Sync,
}

impl AckChoice {
    /// The choice of this name, in upper or lower case.
    #[must_use]
    pub fn named(name: &[u8]) -> Option<Self> {
        match name.to_ascii_lowercase().as_slice() {
            b"default" => Some(Self::Default),
            b"fast" => Some(Self::Fast),
            b"sync" => Some(Self::Sync),
            _ => None,
        }
    }

    /// The choice that `as u8` gives this number.
    #[must_use]
    pub fn numbered(number: u8) -> Self {
        match number {
            1 => Self::Fast,
            2 => Self::Sync,
            _ => Self::Default,
        }
    }
}

/// The log of a shard as its engine sees it. The same log listens to the shard.
pub trait Log: Debug {
    /// Number of the last change that is durable.
    fn durable(&self) -> u64;

    /// The run that writes it: a number that none before had.
    fn run(&self) -> u64;

    /// Asks for all that is written to be made durable, at once.
    fn demand(&self);

    /// Asks for it soon: there will be more to make durable with it.
    fn demand_soon(&self) {
        self.demand();
    }

    /// Number of the last change that has to be durable before a connection with this choice is answered.
    fn must_be_durable(&self, ack: AckChoice) -> u64;

    /// True where the log of a shard has the decision that a transaction of its worker counts, under no lower number
    /// than `since`.
    fn has_decided(&self, coordinator: usize, tag: u64, since: u64) -> bool;

    /// What there is to tell of it.
    fn status(&self) -> LogStatus;

    /// Says what is kept of which keys from now on.
    fn set_namespaces(&mut self, namespaces: Arc<Namespaces>);

    /// Does from time to time what is to be done.
    fn work(&mut self, now: Millis);

    /// Makes durable what is written, and what says so; nothing is written later.
    fn close(&mut self) {}

    /// Says how far the disk is behind.
    fn pressure(&self) -> Pressure {
        Pressure::None
    }
}

/// How far the disk is behind what is written to a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Pressure {
    #[default]
    None,
    /// What is written is to be made durable, whether or not anybody waits for it.
    Flush,
    /// Nothing more is to be written before some of it is durable.
    Wait,
}

pub(super) use groups::Unsettled;
pub use moved::{Origin, OtherShard};

/// A log in numbers.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct LogStatus {
    /// Bytes written, over all runs.
    pub bytes: u64,
    /// Bytes of them that are not durable.
    pub unflushed_bytes: u64,
    pub syncs: u64,
    /// The number of the way in which it is made durable; 0 for none.
    pub persist: u8,
    /// The error of the operating system for which nothing more is taken; 0 for none.
    pub errno: i32,
    /// Changes that found no room though nothing could refuse them.
    pub lost_changes: u64,
}

/// A reply that waits for a number.
struct Withheld {
    number: u64,
    asker: Asker,
    reply: Vec<u8>,
}

/// A reply that waits for changes of several shards to be durable.
pub(super) struct Acknowledged {
    /// Shards that have not said so.
    waits_for: usize,
    then: Finished,
    reply: Vec<u8>,
}

/// The receiver of the reply of a transaction.
pub(super) enum Finished {
    Slot {
        session: SessionRef,
        slot: u64,
        /// What is made of it later.
        tails: Tails,
    },
    Nested(Nesting),
    Told(Asker),
}

/// What waits for the log of the own shard.
pub(super) struct Durability {
    pub log: Box<dyn Log>,
    withheld: Vec<Withheld>,
    /// Those that wait for a sync alone, whatever groups it ends.
    asked: Vec<Withheld>,
    /// Sessions with a gate in their output.
    gated: Vec<usize>,
    /// The log was asked for all up to this number.
    demanded: u64,
    /// The highest number that anything waits for.
    wanted: u64,
    /// The highest number that a sync alone is waited for.
    wanted_synced: u64,
    gathering: Gathering,
    /// What was durable, and what was settled, when it was last looked who waits for that.
    synced: u64,
    released: u64,
    /// Groups of several shards that may not be durable everywhere, in order.
    unsettled: VecDeque<Unsettled>,
    /// Names of groups in `unsettled`, given away so far.
    groups: u64,
    /// The last transaction of this worker that was decided, of each shard that it had reserved.
    decided: Vec<u64>,
}

impl Engine {
    /// Keeps the changes of the shard in a log from now on.
    pub fn set_log(&mut self, log: Box<dyn Log>) {
        self.run = log.run();
        self.durability = Some(Durability {
            demanded: log.durable(),
            log,
            withheld: Vec::new(),
            asked: Vec::new(),
            gated: Vec::new(),
            wanted: 0,
            wanted_synced: 0,
            gathering: Gathering::default(),
            synced: 0,
            released: 0,
            unsettled: VecDeque::new(),
            groups: 0,
            decided: vec![0; self.shape.shards],
        });
    }

    /// The log of the shard.
    #[must_use]
    pub fn log(&self) -> Option<&dyn Log> {
        self.durability
            .as_ref()
            .map(|durability| &*durability.log as &dyn Log)
    }

    /// Goes on behind a number; a log hears of what follows.
    pub fn begin_log(
        &mut self,
        number: u64,
        mut log: Box<dyn Log>,
        listener: Box<dyn ChangeListener>,
    ) {
        if self.shard.number() < number {
            self.shard.resume_from(number);
        }
        log.set_namespaces(Arc::clone(&self.options.namespaces));
        self.shard.set_listener(Some(listener));
        self.set_log(log);
    }

    /// Ends the log, if there is one: no change follows.
    pub fn end_log(&mut self) {
        if let Some(durability) = &mut self.durability {
            durability.log.close();
        }
    }

    /// Ends the loading: the shard serves.
    pub fn end_loading(&mut self) {
        self.read_clock();
        self.set_shard_state(ShardState::Serving);
        self.settle();
    }

    /// True where a transaction of this worker, or of its predecessor, was decided. It has reserved a shard whose worker
    /// has died; those under way that have are decided no more.
    pub fn has_decided(&mut self, tag: u64, lost: usize) -> bool {
        self.lose_reservations(lost);
        let is_own = self.is_own_tag(tag);
        let Some(durability) = &self.durability else {
            return false;
        };
        if is_own {
            // None was decided behind it: that would have had to reserve the shard, which was released by nobody.
            return durability.decided.get(lost) == Some(&tag);
        }
        durability.log.has_decided(self.me, tag, 0)
    }

    /// The number that has to be durable before a request is answered that has made the changes behind `before`; 0 where
    /// it may be answered at once.
    #[inline]
    pub(super) fn number_due(&self, ack: AckChoice, before: u64) -> u64 {
        match &self.durability {
            None => 0,
            Some(durability) => durability.number_due(ack, before),
        }
    }

    /// Where in the replies of a session the next one begins, for [`Engine::hold_back`].
    #[inline]
    pub(super) fn reply_start(&mut self, index: usize) -> u64 {
        match &self.durability {
            None => 0,
            Some(_) => self.sessions[index].reply_start(),
        }
    }

    /// Keeps what a session is sent from a place on until a change is durable.
    #[cold]
    pub(super) fn hold_back(&mut self, index: usize, start: u64, number: u64) {
        self.sessions[index].hold_back(start, number);
        if let Some(durability) = &mut self.durability {
            durability.wanted = durability.wanted.max(number);
            // Requests of a pipeline wait as one.
            if durability.gated.last() != Some(&index) {
                durability.gated.push(index);
                durability.gathering.add();
            }
        }
    }

    /// Has all that is written made durable; the answer comes as [`Event::CallAnswered`](super::Event).
    pub fn sync_log(&mut self, call: u64) {
        let number = match &self.durability {
            None => 0,
            Some(durability) => durability.log.must_be_durable(AckChoice::Sync),
        };
        let asker = Asker::Here(Waiter::Call { call });
        self.tell_when_durable(number, asker, b"");
        self.settle();
    }

    /// Gives a reply to who waits for it when a change is durable: at once for 0.
    pub(super) fn tell_when_durable(&mut self, number: u64, asker: Asker, reply: &[u8]) {
        match &mut self.durability {
            Some(durability) if number > durability.settled() => {
                durability.wanted = durability.wanted.max(number);
                durability.gathering.add();
                let reply = reply.to_vec();
                durability.withheld.push(Withheld {
                    number,
                    asker,
                    reply,
                });
            }
            _ => self.tell(asker, reply),
        }
    }

    /// Gives an answer when the log is synced up to a change, whether or not its group is durable elsewhere.
    pub(super) fn tell_when_synced(&mut self, number: u64, asker: Asker, reply: &[u8]) {
        match &mut self.durability {
            Some(durability) if number > durability.log.durable() => {
                durability.wanted_synced = durability.wanted_synced.max(number);
                durability.gathering.add();
                let reply = reply.to_vec();
                durability.asked.push(Withheld {
                    number,
                    asker,
                    reply,
                });
            }
            _ => self.tell(asker, reply),
        }
    }

    /// Gives a transaction's reply when its changes are durable, each shard's with its number.
    pub(super) fn finish_when_durable(
        &mut self,
        due: &[(usize, u64)],
        then: Finished,
        reply: Vec<u8>,
    ) {
        if due.is_empty() {
            self.finish_with(then, reply);
            return;
        }
        let index = self.acknowledged.insert(Acknowledged {
            waits_for: due.len(),
            then,
            reply,
        });
        let waiter = Waiter::Acknowledged { index };
        for (shard, number) in due {
            if *shard == self.me {
                self.tell_when_synced(*number, Asker::Here(waiter), b"");
            } else {
                let envelope = Envelope {
                    tag: *number,
                    ..Envelope::new(FrameKind::Durable, 0)
                };
                self.send_asking(*shard, waiter, envelope, b"");
            }
        }
    }

    /// A shard has made durable what a reply waits for, or was restarted before it said so.
    pub(super) fn acknowledged(&mut self, index: usize, said: Option<&[u8]>) {
        let Some(waiting) = self.acknowledged.get_mut(index) else {
            return;
        };
        if said.is_none() {
            waiting.reply = RESTARTED.to_vec();
            if let Finished::Slot { tails, .. } = &mut waiting.then {
                tails.clear();
            }
        }
        waiting.waits_for -= 1;
        if waiting.waits_for == 0 {
            let Acknowledged { then, reply, .. } = self.acknowledged.remove(index);
            self.finish_with(then, reply);
        }
    }

    fn finish_with(&mut self, then: Finished, reply: Vec<u8>) {
        match then {
            Finished::Slot {
                session,
                slot,
                tails,
            } => self.answer_with(session, slot, &reply, tails),
            Finished::Nested(nesting) => self.nested_done(nesting, reply),
            Finished::Told(asker) => self.tell(asker, &reply),
        }
    }

    /// The acknowledgement that the client behind a gathered reply has chosen.
    pub(super) fn ack_of_gather(&self, gather: usize) -> AckChoice {
        self.ack_of(Waiter::Part { gather, part: 0 })
    }

    /// Remembers up to which change of a shard a transaction must be durable before it is answered.
    pub(super) fn note_part(&mut self, gather: usize, shard: usize, part: PartOfGroup) {
        if part.number == 0 {
            return;
        }
        let Some(Receiver::Transaction(id)) =
            self.gathers.get(gather).map(|gather| gather.receiver)
        else {
            return;
        };
        self.note_part_of(id, shard, part);
    }

    /// The same for a transaction.
    pub(super) fn note_part_of(&mut self, id: usize, shard: usize, part: PartOfGroup) {
        if part.number == 0 {
            return;
        }
        let Some(transaction) = self.transactions.get_mut(id) else {
            return;
        };
        note_due(&mut transaction.parts, shard, part.number);
        if part.must_be_durable {
            note_due(&mut transaction.due, shard, part.number);
        }
    }

    /// What a request inside of a transaction has written to the log since `before`.
    pub(super) fn part_of_group(&self, ack: AckChoice, before: u64) -> PartOfGroup {
        let Some(durability) = &self.durability else {
            return PartOfGroup::default();
        };
        let number = durability.log.must_be_durable(AckChoice::Sync);
        PartOfGroup {
            number: if number > before { number } else { 0 },
            must_be_durable: durability.log.must_be_durable(ack) > before,
        }
    }

    /// Lets go what waited for changes that are durable by now.
    pub(super) fn note_durable(&mut self) {
        let Some(durability) = &mut self.durability else {
            return;
        };
        let (synced, durable) = (durability.log.durable(), durability.settled());
        if synced == durability.synced && durable == durability.released {
            return;
        }
        (durability.synced, durability.released) = (synced, durable);
        let mut ready = take_ready(&mut durability.asked, synced);
        ready.extend(take_ready(&mut durability.withheld, durable));
        let gated = std::mem::take(&mut durability.gated);
        for withheld in ready {
            self.tell(withheld.asker, &withheld.reply);
        }
        let mut still = Vec::new();
        for index in gated {
            let Some(session) = self.sessions.get_mut(index) else {
                continue;
            };
            if session.open_gates(durable) {
                self.touch(index);
            }
            if self.sessions[index].has_gates() {
                still.push(index);
            }
        }
        still.dedup();
        if let Some(durability) = &mut self.durability {
            durability.gated.append(&mut still);
            let waiting = durability.waiting();
            durability.gathering.synced(waiting);
        }
    }

    /// Asks the log for what is waited for: once for all that a round has brought. True where it is durable at once, so
    /// that something may go on.
    pub(super) fn demand_durable(&mut self) -> bool {
        let Some(durability) = &mut self.durability else {
            return false;
        };
        let wanted = durability.wanted.max(durability.wanted_synced);
        let mut is_durable = false;
        if wanted > durability.demanded {
            let waiting = durability.waiting();
            if durability.gathering.is_enough(waiting) {
                durability.demanded = wanted;
                durability.log.demand();
            } else {
                durability.log.demand_soon();
            }
            is_durable = durability.log.durable() >= wanted;
            if is_durable {
                durability.demanded = wanted;
                self.note_durable();
            }
        }
        self.ask_for_groups();
        is_durable
    }
}

/// Takes the replies that wait for numbers up to one, in the order in which they came.
fn take_ready(withheld: &mut Vec<Withheld>, durable: u64) -> Vec<Withheld> {
    if withheld.iter().all(|one| one.number > durable) {
        return Vec::new();
    }
    let all = std::mem::take(withheld).into_iter();
    let (ready, left) = all.partition(|one| one.number <= durable);
    *withheld = left;
    ready
}

/// Remembers the highest number of a shard.
pub(super) fn note_due(due: &mut Vec<(usize, u64)>, shard: usize, number: u64) {
    match due.iter_mut().find(|(known, _)| *known == shard) {
        Some((_, known)) => *known = number.max(*known),
        None => due.push((shard, number)),
    }
}

/// What a request inside of a transaction has written to a log.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct PartOfGroup {
    /// The last change; 0 for none.
    number: u64,
    /// It must be durable before the client is answered.
    must_be_durable: bool,
}

impl PartOfGroup {
    pub fn encode(self) -> u64 {
        self.number << 1 | u64::from(self.must_be_durable)
    }

    pub fn decode(tag: u64) -> Self {
        Self {
            number: tag >> 1,
            must_be_durable: tag & 1 != 0,
        }
    }
}

impl Durability {
    /// Number of the last change that is durable and of which nothing that is not durable elsewhere is a part.
    fn settled(&self) -> u64 {
        let durable = self.log.durable();
        let open = self.unsettled.front();
        open.map_or(durable, |group| durable.min(group.before))
    }

    /// Clients and workers that wait for anything.
    fn waiting(&self) -> usize {
        self.gated.len() + self.withheld.len() + self.asked.len()
    }

    fn number_due(&self, ack: AckChoice, before: u64) -> u64 {
        let number = self.log.must_be_durable(ack);
        if number > before && number > self.settled() {
            number
        } else {
            0
        }
    }
}
