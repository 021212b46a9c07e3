//! Messages from and to other workers.

use std::borrow::Cow;

use super::durability::{AckChoice, PartOfGroup};
use super::job::{Job, Lends, MaySteps, Ran};
use super::links::{Envelope, next_frame};
use super::parked::Asker;
use super::pending::{Receiver, Waiter};
use super::reservation::{Deferred, Ending, Reservation};
use super::together::written;
use super::tracking::Origin;
use super::wire::{self, Reader, RequestHead};
use super::works::Awaiting;
use super::{Caller, Engine, Event};
use crate::commands::{Change, CommandError, CommandId, Run};
use crate::keyspace::{Key, ShardReader, hash_key};
use crate::resp::{Args, Protocol, Reply};
use crate::ring::{FrameHeader, FrameKind};
use crate::stats::Counter;

/// Requests whose cache lines are asked for together.
const AHEAD: usize = 32;

/// The reply to a request whose parts make no sense.
pub(super) const UNREADABLE: &str = "ERR a worker sent a request that could not be read";

/// A message that has arrived.
pub(super) struct Message<'a> {
    pub from: usize,
    pub header: FrameHeader,
    pub payload: Cow<'a, [u8]>,
}

impl Message<'_> {
    fn into_owned(self) -> Message<'static> {
        Message {
            payload: Cow::Owned(self.payload.into_owned()),
            ..self
        }
    }
}

impl Engine {
    /// Sends a request to the owner of a shard, and gives the ticket of its reply. `hash` is that of its only key.
    #[allow(
        clippy::too_many_arguments,
        reason = "what a request is executed with, in one place"
    )]
    pub(super) fn send_request(
        &mut self,
        to: usize,
        waiter: Waiter,
        command: CommandId,
        args: &Args<'_>,
        hash: Option<u64>,
        db: u8,
        protocol: Protocol,
        tag: u64,
    ) -> u64 {
        let mut payload = std::mem::take(&mut self.payload);
        payload.clear();
        let head = RequestHead {
            hash,
            client: self.client_of(waiter),
            origin: self.origin_of_waiter(waiter, command),
            command: command.index() as u16,
            ack: self.ack_of(waiter),
            takes_parts: self.takes_parts(waiter, command),
        };
        head.put(&mut payload);
        wire::put_args(&mut payload, args.iter());
        let ticket = self.tickets.issue(waiter, to, self.links.incarnation(to));
        let envelope = Envelope {
            to_incarnation: None,
            kind: FrameKind::Request,
            ticket,
            tag,
            protocol: protocol.version(),
            db,
        };
        self.links.send(to, envelope, &payload);
        payload.shrink_to(super::KEEP_BUFFER_BYTES);
        self.payload = payload;
        self.stats.add(Counter::RequestsSent, 1);
        ticket
    }

    /// The client behind a request that is sent.
    fn origin_of_waiter(&self, waiter: Waiter, command: CommandId) -> Origin {
        let receiver = match waiter {
            Waiter::Slot { session, slot } => Receiver::Slot { session, slot },
            Waiter::Part { gather, .. } => self.gathers[gather].receiver,
            Waiter::Script { script } => {
                let script = self.waiting.scripts.get(script);
                let origin = script.map(|script| self.origin_of_script(script, command));
                return origin.unwrap_or_default();
            }
            Waiter::Reserved { .. }
            | Waiter::Call { .. }
            | Waiter::Execution { .. }
            | Waiter::Spread { .. }
            | Waiter::Acknowledged { .. }
            | Waiter::Rest { .. }
            | Waiter::Settled { .. } => {
                return Origin::default();
            }
        };
        self.origin_of_receiver(receiver, command)
    }

    /// The client whose request is sent as a whole; 0 for the parts of one.
    fn client_of(&self, waiter: Waiter) -> u64 {
        match waiter {
            Waiter::Slot { session, .. } => session.client,
            Waiter::Part { gather, .. } => match self.gathers[gather].receiver {
                Receiver::Transaction(id) if self.transactions[id].exec => {
                    self.transactions[id].session.client
                }
                Receiver::Transaction(_) | Receiver::Slot { .. } => 0,
            },
            Waiter::Script { script } => self.client_of_script(script),
            Waiter::Reserved { .. }
            | Waiter::Call { .. }
            | Waiter::Execution { .. }
            | Waiter::Spread { .. }
            | Waiter::Acknowledged { .. }
            | Waiter::Rest { .. }
            | Waiter::Settled { .. } => 0,
        }
    }

    /// The acknowledgement that the client behind a request has chosen.
    pub(super) fn ack_of(&self, waiter: Waiter) -> AckChoice {
        match waiter {
            Waiter::Slot { session, .. } => self.sessions[session.index].ack,
            Waiter::Part { gather, .. } => match self.gathers[gather].receiver {
                Receiver::Transaction(id) => self.transactions[id].ack,
                Receiver::Slot { session, .. } => self.sessions[session.index].ack,
            },
            Waiter::Script { script } => self.ack_of_script(script),
            _ => AckChoice::Default,
        }
    }

    /// Sends a message that is answered; the answer goes to `waiter`.
    pub(super) fn send_asking(
        &mut self,
        to: usize,
        waiter: Waiter,
        envelope: Envelope,
        payload: &[u8],
    ) {
        let ticket = self.tickets.issue(waiter, to, self.links.incarnation(to));
        self.links
            .send(to, Envelope { ticket, ..envelope }, payload);
    }

    pub(super) fn send_reply(&mut self, to: usize, request: &FrameHeader, reply: &[u8]) {
        self.links.send(to, Envelope::reply_to(request), reply);
    }

    /// Looks into the rings: called when the own eventfd was written.
    pub fn poll(&mut self) {
        self.run_staged();
        self.read_clock();
        self.links.woke();
        let mut inbox = std::mem::take(&mut self.inbox);
        for from in 0..self.shape.shards {
            inbox.clear();
            self.links.drain(from, &mut inbox);
            let (mut at, mut asked_for) = (0, 0);
            loop {
                if at == asked_for {
                    asked_for = self.prefetch_messages(&inbox, at);
                }
                let Some((header, payload)) = self.links.next_message(from, &inbox, &mut at) else {
                    break;
                };
                self.take_message(Message {
                    from,
                    header,
                    payload,
                });
            }
        }
        inbox.clear();
        inbox.shrink_to(1 << 20);
        self.inbox = inbox;
        self.notice_replaced();
        self.note_durable();
        self.settle();
    }

    /// Asks for the cache lines that the next requests will need; returns where these requests end.
    fn prefetch_messages(&self, inbox: &[u8], start: usize) -> usize {
        let mut end = start;
        let mut keys = [(0_u8, 0_u64); AHEAD];
        let mut count = 0;
        while count < AHEAD
            && let Some((header, payload)) = next_frame(inbox, &mut end)
        {
            if header.kind == FrameKind::Request
                && let Some(hash) =
                    RequestHead::read(&mut Reader::new(payload), 0).and_then(|head| head.hash)
            {
                keys[count] = (header.db, hash);
            }
            count += 1;
        }
        // A lone request would only wait for its own prefetches.
        if count > 1 {
            let homes: [u64; AHEAD] = std::array::from_fn(|at| {
                let (db, hash) = keys[at];
                if at < count {
                    self.shard.prefetch_index(&Key {
                        db,
                        hash,
                        bytes: b"",
                    })
                } else {
                    0
                }
            });
            for (&home, &(_, hash)) in homes.iter().zip(&keys) {
                self.shard.prefetch_entry(home, hash);
            }
        }
        end
    }

    pub(super) fn take_message(&mut self, message: Message<'_>) {
        let kind = message.header.kind;
        let is_reply = matches!(kind, FrameKind::Reply | FrameKind::Part);
        if !is_reply && self.links.is_outdated(message.from, &message.header) {
            return;
        }
        if !self.steps.works.is_empty() && self.is_behind_work(&message) {
            self.steps.behind.push_back(message.into_owned());
            return;
        }
        match kind {
            FrameKind::Reply => {
                let part = (message.from, PartOfGroup::decode(message.header.tag));
                self.take_reply(message.header.ticket, &message.payload, part);
            }
            FrameKind::Durable => {
                let (from, header) = (message.from, message.header);
                self.tell_when_synced(header.tag, Asker::There { from, header }, b"");
            }
            FrameKind::Part => self.take_part(&message),
            FrameKind::More => self.take_more(message.from, message.header, &message.payload),
            FrameKind::Forget => self.take_forget(message.from, &message.header),
            FrameKind::Publish => self.take_publish(&message),
            FrameKind::Events => self.take_events_of(&message),
            FrameKind::Stale => self.take_stale(&message),
            FrameKind::Monitor => self.deliver_to_monitors(&message.payload),
            FrameKind::Call => self.take_call(&message),
            FrameKind::Release => {
                if let Some(ending) = Ending::decode(&message.payload) {
                    self.end_reservation(message.from, message.header.tag, &ending);
                }
            }
            FrameKind::Savepoint => self.take_savepoint(&message),
            FrameKind::Watch => self.take_watch(&message),
            FrameKind::Unwatch => self.take_unwatch(&message),
            FrameKind::Begin => self.take_begin(&message),
            FrameKind::Slice => self.take_slice(&message),
            FrameKind::Abandon => self.take_abandon(&message),
            FrameKind::Script => self.take_script(&message.payload),
            FrameKind::Kill => self.take_kill(message.from, &message.header, &message.payload),
            FrameKind::Busy => self.take_busy(message.from, message.header.tag),
            FrameKind::Wait => self.take_wait(&message),
            FrameKind::Claim => self.take_claim(message.from, message.header.ticket),
            FrameKind::Unclaim => self.take_unclaim(message.from, &message.header),
            FrameKind::Go
            | FrameKind::Request
            | FrameKind::Reserve
            | FrameKind::Fetch
            | FrameKind::Apply
            | FrameKind::Finish
            | FrameKind::Cancel => {
                if self.must_defer(&message) && !self.refuse_busy(&message) {
                    self.deferred
                        .push_back(Deferred::Message(message.into_owned()));
                } else {
                    self.take_shard_message(&message);
                }
            }
        }
    }

    /// True for a message that needs the shard while that is reserved for somebody else, or has to wait for the disk.
    fn must_defer(&mut self, message: &Message<'_>) -> bool {
        let Some(reservation) = &self.reserved else {
            return self.gate.is_log_behind() && self.is_held_by_log(message);
        };
        // The tag of a long argument is a number of its own kind, and it is never part of a transaction.
        message.header.kind == FrameKind::Finish
            || !reservation.is_of(message.from, message.header.tag)
    }

    /// A message for the shard, which is free or reserved for its sender.
    pub(super) fn take_shard_message(&mut self, message: &Message<'_>) {
        let Message {
            from,
            header,
            payload,
        } = message;
        match header.kind {
            FrameKind::Reserve => self.grant(*from, header, payload),
            FrameKind::Fetch => {
                let reply = self.fetch(*from, header, payload);
                self.send_reply(*from, header, &reply);
            }
            FrameKind::Apply => {
                let before = self.shard.number();
                let (ack, change) = payload.split_first().unwrap_or((&0, &[]));
                let reply = self.apply(header.db, change);
                let ack = AckChoice::numbered(*ack);
                self.reply_to_request(*from, header, before, ack, &reply);
            }
            FrameKind::Finish => self.take_finish(message),
            FrameKind::Cancel => self.take_cancel(*from, header, payload),
            FrameKind::Go => self.take_go(*from, header),
            _ => self.take_request(*from, header, payload),
        }
    }

    pub(super) fn take_request(&mut self, from: usize, header: &FrameHeader, payload: &[u8]) {
        self.stats.add(Counter::RequestsReceived, 1);
        let protocol = if header.protocol == 3 {
            Protocol::Resp3
        } else {
            Protocol::Resp2
        };
        let mut reply = std::mem::take(&mut self.reply_scratch);
        reply.clear();
        let mut spans = std::mem::take(&mut self.spans);
        let mut reader = Reader::new(payload);
        let request = RequestHead::read(&mut reader, from).and_then(|head| {
            let command = self.table.at(usize::from(head.command))?;
            Some((head, command, reader.args(&mut spans)?))
        });
        match request {
            Some((head, command, bytes)) if self.table.spec(command).arity.allows(spans.len()) => {
                let args = wire::args(bytes, &spans);
                if let Run::Script(call) = self.table.spec(command).run {
                    let asker = Asker::There {
                        from,
                        header: *header,
                    };
                    self.start_script_for(asker, (command, call), &args, head.client, head.ack);
                    reply.shrink_to(super::KEEP_BUFFER_BYTES);
                    self.reply_scratch = reply;
                    self.spans = spans;
                    return;
                }
                let job = Job {
                    command,
                    args: &args,
                    hash: head.hash,
                    db: header.db,
                    protocol,
                    may_wait: header.tag == 0,
                    in_steps: match header.tag {
                        0 => MaySteps::MayAsk,
                        _ => MaySteps::Yes,
                    },
                    origin: head.origin,
                    ack: head.ack,
                };
                let before = self.shard.number();
                let lends = match head.takes_parts {
                    true => Lends::Rests,
                    false => Lends::Nothing,
                };
                let ran = self.run_job(&job, &mut reply, lends);
                self.conclude(ran, &job, (from, header), &head, (before, &reply));
            }
            _ => {
                Reply::new(&mut reply, protocol).error(UNREADABLE);
                self.send_reply(from, header, &reply);
            }
        }
        reply.shrink_to(super::KEEP_BUFFER_BYTES);
        self.reply_scratch = reply;
        self.spans = spans;
    }

    /// Answers a request of another worker, or keeps it.
    fn conclude(
        &mut self,
        ran: Ran,
        job: &Job<'_>,
        (from, header): (usize, &FrameHeader),
        head: &RequestHead,
        (before, reply): (u64, &[u8]),
    ) {
        let asker = Asker::There {
            from,
            header: *header,
        };
        match ran {
            Ran::Later(waits) => {
                self.park(job, head.client, asker, waits);
            }
            Ran::Long => {
                self.lending.clear();
                self.start_alone_for(asker, job);
            }
            Ran::Begun(work) => {
                self.account(job, head.client, reply);
                let header = *header;
                let awaiting = Awaiting::There { from, header };
                self.begin_work(awaiting, job, before, reply.to_vec(), work);
            }
            Ran::Done | Ran::TooEarly => {
                self.account(job, head.client, reply);
                match self.lending.take_rest() {
                    Some(rest) => self.lodge(from, header, rest, reply),
                    None => self.reply_to_request(from, header, before, head.ack, reply),
                }
            }
        }
    }

    /// Answers a request: when what it has changed is durable, or at once with the number inside of a transaction,
    /// whose coordinator waits for all its shards.
    pub(super) fn reply_to_request(
        &mut self,
        from: usize,
        header: &FrameHeader,
        before: u64,
        ack: AckChoice,
        reply: &[u8],
    ) {
        if header.tag != 0 && header.kind != FrameKind::Finish {
            self.hand_over_events(from, header.tag);
            let envelope = Envelope {
                tag: self.part_of_group(ack, before).encode(),
                ..Envelope::reply_to(header)
            };
            self.links.send(from, envelope, reply);
            return;
        }
        let due = self.number_due(ack, before);
        if due == 0 {
            self.send_reply(from, header, reply);
        } else {
            let header = *header;
            self.tell_when_durable(due, Asker::There { from, header }, reply);
        }
    }

    fn fetch(&mut self, from: usize, header: &FrameHeader, payload: &[u8]) -> Vec<u8> {
        let mut reader = Reader::new(payload);
        let origin = wire::origin(&mut reader, from);
        let look = wire::look(header.db, reader.rest());
        let Some((origin, look)) = origin.zip(look) else {
            return Vec::new();
        };
        self.look_here(&look, origin)
    }

    /// Makes a change that was sent; the answer says whether it was made.
    pub(super) fn apply(&mut self, db: u8, payload: &[u8]) -> Vec<u8> {
        let outcome = match wire::change(payload) {
            None => Err(CommandError::Plain(
                "a worker sent a change that could not be read",
            )),
            Some((author, key, effect, events)) => {
                let change = Change {
                    db,
                    key,
                    effect,
                    events: &events,
                };
                self.change(author, &change)
            }
        };
        written(outcome)
    }

    /// Makes a change that was decided by a command over several keys, for a client.
    pub(super) fn change(&mut self, author: u64, change: &Change<'_>) -> Result<(), CommandError> {
        let (db, bytes) = (change.db, change.key);
        let key = Key {
            db,
            hash: hash_key(self.shape.hash_seed, bytes),
            bytes,
        };
        self.shard.set_author(author);
        let made = self.shard.make(&key, &change.effect, self.now);
        self.shard.set_author(0);
        self.send_stale();
        made?;
        for event in change.events {
            self.shard.notify(*event, db, bytes);
        }
        Ok(())
    }

    /// Takes a reply, with the shard that gives it and what that has changed for a transaction.
    fn take_reply(&mut self, ticket: u64, reply: &[u8], part: (usize, PartOfGroup)) {
        if let Some(waiter) = self.tickets.redeem(ticket) {
            match waiter {
                Waiter::Part { gather, .. } => self.note_part(gather, part.0, part.1),
                Waiter::Script { script } => {
                    if let Some(id) = self.transaction_of_script(script) {
                        self.note_part_of(id, part.0, part.1);
                    }
                }
                _ => {}
            }
            self.give(waiter, Some(reply));
        }
    }

    /// Gives an answer, or its absence because the other worker was restarted, to who waits for it.
    pub(super) fn give(&mut self, waiter: Waiter, reply: Option<&[u8]>) {
        match waiter {
            Waiter::Slot { session, slot } => {
                self.answer(session, slot, reply.unwrap_or(RESTARTED));
            }
            Waiter::Part { gather, part } => {
                self.part_done(gather, part, reply.unwrap_or(RESTARTED).to_vec());
            }
            Waiter::Reserved { transaction } => self.reservation_granted(transaction, reply),
            Waiter::Execution { execution } => {
                self.executed(execution, reply.unwrap_or(RESTARTED).to_vec());
            }
            Waiter::Script { script } => {
                self.script_answered(script, reply.unwrap_or(RESTARTED));
            }
            Waiter::Spread { spread } => {
                if reply.is_none() {
                    self.end_spread(spread, RESTARTED.to_vec());
                }
            }
            Waiter::Rest { session } => self.take_piece(session, reply),
            Waiter::Settled { group } => self.group_settled(group),
            Waiter::Acknowledged { index } => self.acknowledged(index, reply),
            Waiter::Call { call } => self.events.push(Event::CallAnswered {
                call,
                answer: reply.map(<[u8]>::to_vec),
            }),
        }
    }

    /// Fails what was under way to workers that were replaced, and ends what they had begun here.
    fn notice_replaced(&mut self) {
        for (other, incarnation) in self.links.replaced() {
            self.lose_reservations(other);
            // Before anything is let go on: it must not begin anything for the dead worker.
            self.deferred.retain(|deferred| match deferred {
                Deferred::Message(message) => {
                    message.from != other || message.header.from_incarnation == incarnation
                }
                _ => true,
            });
            let reservation = self
                .reserved
                .filter(|reservation| reservation.coordinator == other);
            if let Some(reservation) = reservation {
                self.end_lost_work();
                self.end_lost_group(&reservation);
                self.reserved = None;
                self.gate.set_busy(false);
                self.shard.release();
                self.run_deferred();
            }
            for waiter in self.tickets.redeem_lost(other, incarnation) {
                self.give(waiter, None);
            }
            self.lose_watches(other);
            self.lose_tracked();
            self.lose_inbound(other, incarnation);
            self.lose_parked(other, incarnation);
            self.lose_rests(other, incarnation);
            self.wake_ring_waiters(1 << other);
        }
    }

    fn take_call(&mut self, message: &Message<'_>) {
        let mut reader = Reader::new(&message.payload);
        let Some(topic) = reader.blob() else { return };
        let caller = Caller {
            from: message.from,
            incarnation: message.header.from_incarnation,
            ticket: message.header.ticket,
        };
        self.events.push(Event::Called {
            caller,
            topic: topic.to_vec(),
            payload: reader.rest().to_vec(),
        });
    }

    /// Asks the Python of another worker; the answer comes as [`Event::CallAnswered`] with this number.
    pub fn call(&mut self, to: usize, call: u64, topic: &[u8], payload: &[u8]) {
        if to == self.me {
            // Calls to oneself come back the same way, so that there is one kind.
            let (topic, payload) = (topic.to_vec(), payload.to_vec());
            let incarnation = self.links.incarnation(to);
            let ticket = self.tickets.issue(Waiter::Call { call }, to, incarnation);
            let caller = Caller {
                from: to,
                incarnation,
                ticket,
            };
            self.events.push(Event::Called {
                caller,
                topic,
                payload,
            });
            return;
        }
        let mut bytes = Vec::new();
        wire::put_blob(&mut bytes, topic);
        bytes.extend_from_slice(payload);
        self.send_asking(
            to,
            Waiter::Call { call },
            Envelope::new(FrameKind::Call, 0),
            &bytes,
        );
        self.settle();
    }

    /// Answers an [`Event::Called`].
    pub fn answer_call(&mut self, caller: Caller, answer: &[u8]) {
        if caller.from == self.me {
            self.take_reply(caller.ticket, answer, (self.me, PartOfGroup::default()));
        } else {
            let envelope = Envelope {
                to_incarnation: Some(caller.incarnation),
                ..Envelope::new(FrameKind::Reply, caller.ticket)
            };
            self.links.send(caller.from, envelope, answer);
        }
        self.settle();
    }

    /// Reserves the own shard for a transaction of another worker.
    fn grant(&mut self, from: usize, header: &FrameHeader, payload: &[u8]) {
        let mut reader = Reader::new(payload);
        let token = reader.u64().unwrap_or(0);
        let coordinator = self.readers[from].as_ref();
        let since = coordinator.map_or(0, ShardReader::number);
        let granted = self.reserve_own(
            Reservation {
                coordinator: from,
                tag: header.tag,
                is_alone: false,
                since,
            },
            token,
        );
        let mut reply = std::mem::take(&mut self.reply_scratch);
        reply.clear();
        granted.encode(&mut reply);
        self.send_reply(from, header, &reply);
        self.reply_scratch = reply;
    }
}

/// The reply to a request whose owner died before it answered.
pub(super) const RESTARTED: &[u8] =
    b"-ERR the worker of this key's shard was restarted before it answered; whether the command was executed is unknown\r\n";
