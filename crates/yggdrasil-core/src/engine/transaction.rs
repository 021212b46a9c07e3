//! Transactions over shards: reserve, execute, release.
//!
//! The worker of the client coordinates. It reserves the shards one after another in ascending order, so that two
//! transactions never wait for each other in a circle; a reserved shard defers everything else. When all are
//! reserved the requests are executed, each on its shards, and only then are all shards released: nobody sees a part
//! of it. A transaction that needs the own shard only passes through the same steps without waiting.

use std::collections::VecDeque;

use super::again::{Again, SeenBefore};
use super::dispatch::Flow;
use super::durability::{AckChoice, Finished, note_due};
use super::execute::{Execution, Nesting};
use super::job::Job;
use super::links::Envelope;
use super::output::{Tail, Tails};
use super::parked::Asker;
use super::pending::{Receiver, SessionRef, Waiter};
use super::reservation::{Deferred, Ending, Granted, Reservation};
use super::savepoint::StepState;
use super::session::{Queued, Wait};
use super::spread::{Settled, SpreadId};
use super::together::Step;
use super::{Engine, Event};
use crate::commands::{CommandError, CommandId, Flags, Run, SessionCommand};
use crate::keyspace::NotedEvent;
use crate::resp::{Args, Protocol, Reply};
use crate::ring::FrameKind;
use crate::stats::Counter;

/// Bits of a tag that count transactions; those above name the run of the worker.
pub const TAG_SERIAL_BITS: u32 = 40;
/// The highest bit of a run without a log: logs number their runs by themselves.
pub(super) const UNLOGGED_RUN: u64 = 1 << (63 - TAG_SERIAL_BITS);

/// A transaction that this worker coordinates.
pub(super) struct Transaction {
    pub session: SessionRef,
    slot: u64,
    /// Shards still to reserve, ascending.
    wanted: VecDeque<usize>,
    pub reserved: Vec<usize>,
    pub tag: u64,
    /// A shard was restarted while it was reserved, or before: nothing more is executed.
    pub lost: bool,
    pub touched: bool,
    /// A shard does not execute what is asked of it.
    pub refusal: Option<CommandError>,
    /// Shards whose logs take nothing, each with the error of the operating system.
    pub failed_logs: Vec<(usize, i32)>,
    /// The room that each of them had for certain when it was reserved.
    pub rooms: Vec<u64>,
    /// The step under way may be undone.
    pub saved: StepState,
    /// What happened to keys in steps that other shards have answered, in order.
    pub events: Vec<NotedEvent>,
    /// It may begin again on more shards.
    pub again: Option<Box<Again>>,
    /// It has begun again.
    pub seen_before: Option<SeenBefore>,
    pub queue: VecDeque<Queued>,
    /// The reply of EXEC is an array of the replies.
    pub exec: bool,
    /// What it reads is remembered by the owners of the keys.
    pub tracks: bool,
    /// The client of EXEC did not want its reply: that of a step it may want again.
    muted: bool,
    pub db: u8,
    pub protocol: Protocol,
    /// The acknowledgement that its client has chosen.
    pub ack: AckChoice,
    /// The changes that must be durable before it is answered, of each shard the last.
    pub due: Vec<(usize, u64)>,
    /// The changes that are in logs, of each shard the last.
    pub parts: Vec<(usize, u64)>,
    reply: Vec<u8>,
    /// What is made of it later.
    tails: Tails,
    /// Requests under way, in order.
    gathers: VecDeque<usize>,
    /// A request over several keys that looks before it changes.
    pub step: Option<Step>,
    /// Python, or a script, is at work on a step.
    pub waits_for_code: bool,
    pub commands: Vec<CommandId>,
    /// What it has to do with requests of Python commands.
    pub nesting: Nesting,
    /// The request that may wait, of which this is a try.
    pub spread: Option<SpreadId>,
    /// The try has found nothing.
    pub waits: bool,
    /// The script that waits for its reservations.
    pub waiting_script: Option<usize>,
    /// Who gets the reply, where that is no session of this worker.
    asker: Option<Asker>,
}

/// For whom a script runs.
pub(super) struct ScriptHolder {
    pub session: SessionRef,
    pub slot: u64,
    pub db: u8,
    pub protocol: Protocol,
    pub asker: Option<Asker>,
}

impl Transaction {
    /// A transaction over shards, as bits, of one session or, without it, of nobody.
    pub(super) fn new(at: Option<(SessionRef, u64)>, shards: u64, queue: Vec<Queued>) -> Self {
        let nobody = SessionRef {
            index: usize::MAX,
            client: 0,
        };
        let (session, slot) = at.unwrap_or((nobody, 0));
        Self {
            session,
            slot,
            wanted: (0..64).filter(|shard| shards & (1 << shard) != 0).collect(),
            reserved: Vec::new(),
            tag: 0,
            lost: false,
            touched: false,
            refusal: None,
            failed_logs: Vec::new(),
            rooms: Vec::new(),
            saved: StepState::Free,
            events: Vec::new(),
            again: None,
            seen_before: None,
            queue: queue.into(),
            exec: false,
            muted: false,
            tracks: false,
            db: 0,
            protocol: Protocol::Resp3,
            ack: AckChoice::Default,
            due: Vec::new(),
            parts: Vec::new(),
            reply: Vec::new(),
            tails: Tails::new(),
            gathers: VecDeque::new(),
            step: None,
            waits_for_code: false,
            commands: Vec::new(),
            nesting: Nesting::default(),
            spread: None,
            waits: false,
            waiting_script: None,
            asker: None,
        }
    }

    /// A request of a Python command. As a step of another transaction it executes on what that has reserved.
    pub(super) fn of_execution(execution: Execution, shards: u64, parent: Option<&Self>) -> Self {
        let (nesting, db) = (execution.nesting(), execution.db);
        let wanted = if parent.is_none() { shards } else { 0 };
        Self {
            reserved: parent.map_or_else(Vec::new, |parent| parent.reserved.clone()),
            tag: parent.map_or(0, |parent| parent.tag),
            lost: parent.is_some_and(|parent| parent.lost),
            nesting,
            db,
            ..Self::new(None, wanted, vec![execution.into_queued()])
        }
    }

    /// True where a client gets the reply as it is.
    pub(super) fn is_for_client(&self) -> bool {
        self.asker.is_none() && self.nesting.parent.is_none() && self.nesting.execution.is_none()
    }

    /// Takes what is made later of a reply that has so many bytes, the replies of its requests last.
    fn take_tails(&mut self, bytes: usize) -> Tails {
        let before = bytes.saturating_sub(self.reply.len());
        let tails = std::mem::take(&mut self.tails).into_iter();
        tails.map(|(at, tail)| (before + at, tail)).collect()
    }

    fn write_reply(&self, writer: &mut Reply<'_>) {
        if self.lost && self.commands.is_empty() {
            writer.error("ERR a shard of this transaction was restarted before it began; nothing was executed");
        } else if self.lost {
            writer.error("ERR a shard was restarted while this ran; whether it was executed on the others is unknown");
        } else if self.touched {
            writer.null_array();
        } else if let Some(error) = &self.refusal {
            error.write(writer);
        } else {
            if self.exec && !self.muted {
                writer.array(self.commands.len());
            }
            writer.raw(&self.reply);
        }
    }

    /// The transaction of a script that waits for something, on the shards that it holds.
    pub(super) fn of_script(holder: ScriptHolder, tag: u64, reserved: Vec<usize>) -> Self {
        Self {
            reserved,
            tag,
            db: holder.db,
            protocol: holder.protocol,
            waits_for_code: true,
            asker: holder.asker,
            ..Self::new(Some((holder.session, holder.slot)), 0, Vec::new())
        }
    }

    /// A request of a script, on the shards that it holds.
    pub(super) fn of_script_request(
        queued: Queued,
        script: usize,
        parent: usize,
        of: &Self,
    ) -> Self {
        let holder = ScriptHolder {
            session: of.session,
            slot: of.slot,
            db: of.db,
            protocol: of.protocol,
            asker: None,
        };
        Self {
            lost: of.lost,
            queue: VecDeque::from([queued]),
            waits_for_code: false,
            nesting: Nesting::of_script(script, parent),
            ack: of.ack,
            ..Self::of_script(holder, of.tag, of.reserved.clone())
        }
    }

    /// Forgets what it has held and replied, to execute requests on other shards.
    pub(super) fn restart(&mut self, queue: Vec<Queued>, shards: u64) {
        self.reserved.clear();
        self.rooms.clear();
        self.failed_logs.clear();
        self.parts.clear();
        self.due.clear();
        self.reply.clear();
        self.tails.clear();
        self.commands.clear();
        self.waits_for_code = false;
        self.lost = false;
        self.queue = queue.into();
        self.want(shards);
    }

    /// True while none of its shards was lost.
    pub(super) fn is_whole(&self) -> bool {
        !self.lost
    }

    /// Wants to reserve these shards; nothing is reserved yet.
    pub(super) fn want(&mut self, shards: u64) {
        self.wanted = (0..64).filter(|shard| shards & (1 << shard) != 0).collect();
    }

    /// True where something prevents its requests from being executed.
    pub(super) fn is_prevented(&self) -> bool {
        self.lost || self.touched || self.refusal.is_some()
    }

    /// The shards that it has reserved, as bits.
    pub(super) fn reserved_shards(&self) -> u64 {
        self.reserved
            .iter()
            .fold(0, |shards, shard| shards | 1 << shard)
    }
}

impl Engine {
    /// Begins a transaction for a session, which is suspended until it has ended.
    pub(super) fn start_transaction(
        &mut self,
        index: usize,
        queue: Vec<Queued>,
        exec: bool,
    ) -> Flow {
        if !self.sessions[index].slots.is_empty() && self.shape.shards > 1 && exec {
            return Flow::Again(Wait::Slots);
        }
        let mut shards = 0_u64;
        for queued in &queue {
            shards |= self.shards_of(queued.command, &queued.args.as_args());
        }
        if exec {
            shards |= self.sessions[index]
                .details()
                .map_or(0, |details| details.multi.watched);
        }
        let tag = self.next_tag();
        let tracks = self.tracks_transaction(index, exec);
        let session = &mut self.sessions[index];
        let muted = exec && session.is_muted();
        let slot = if exec {
            session.open_slot_of_exec()
        } else {
            session.open_slot()
        };
        let touched = exec
            && session
                .details()
                .is_some_and(|details| details.multi.watch_lost);
        let (at, db, protocol) = (session.at, session.db, session.protocol);
        let ack = session.ack;
        self.set_wait(index, Wait::Answer);
        let spread = self.new_spread(index, slot, &queue, exec);
        let transaction = Transaction {
            tag,
            touched,
            exec,
            muted,
            tracks,
            db,
            protocol,
            ack,
            spread,
            ..Transaction::new(Some((at, slot)), shards, queue)
        };
        self.begin_transaction(transaction);
        Flow::Done
    }

    /// Begins a transaction of a job of another worker, which executes it in steps.
    pub(super) fn start_alone_for(&mut self, asker: Asker, job: &Job<'_>) {
        let queued = Queued {
            command: job.command,
            args: (*job.args).into(),
        };
        let transaction = Transaction {
            tag: self.next_tag(),
            db: job.db,
            protocol: job.protocol,
            ack: job.ack,
            asker: Some(asker),
            ..Transaction::new(None, 1 << self.me, vec![queued])
        };
        self.begin_transaction(transaction);
    }

    /// A number that no other transaction of this worker, or of its predecessors, has.
    pub(super) fn next_tag(&mut self) -> u64 {
        self.transaction_serial += 1;
        self.transaction_serial | self.run << TAG_SERIAL_BITS
    }

    /// True for a number of this worker itself.
    pub(super) fn is_own_tag(&self, tag: u64) -> bool {
        tag >> TAG_SERIAL_BITS == self.run << TAG_SERIAL_BITS >> TAG_SERIAL_BITS
    }

    pub(super) fn begin_transaction(&mut self, transaction: Transaction) {
        if transaction.wanted.len() > 1 {
            self.stats.add(Counter::Transactions, 1);
        }
        let id = self.transactions.insert(transaction);
        self.reserve_next(id);
    }

    fn watch_token(&self, transaction: usize) -> u64 {
        let transaction = &self.transactions[transaction];
        if transaction.exec {
            transaction.session.client
        } else {
            0
        }
    }

    /// Reserves the next shard; when there is none left, executes.
    pub(super) fn reserve_next(&mut self, id: usize) {
        loop {
            let transaction = &mut self.transactions[id];
            let Some(&shard) = transaction.wanted.front() else {
                break;
            };
            let (tag, coordinator) = (transaction.tag, self.me);
            let is_alone = shard == self.me
                && transaction.wanted.len() == 1
                && transaction.reserved.is_empty();
            let token = self.watch_token(id);
            if shard != self.me {
                let envelope = Envelope {
                    tag,
                    ..Envelope::new(FrameKind::Reserve, 0)
                };
                let waiter = Waiter::Reserved { transaction: id };
                self.send_asking(shard, waiter, envelope, &token.to_le_bytes());
                return;
            }
            if self.reserved.is_some() {
                self.deferred.push_back(Deferred::Transaction(id));
                return;
            }
            let reservation = Reservation {
                coordinator,
                tag,
                is_alone,
                since: 0,
            };
            let granted = self.reserve_own(reservation, token);
            self.note_granted(id, Some(granted));
        }
        self.refuse_unlogged(id);
        self.save_exec(id);
        self.advance_transaction(id);
    }

    fn note_granted(&mut self, id: usize, granted: Option<Granted>) {
        let transaction = &mut self.transactions[id];
        let Some(shard) = transaction.wanted.pop_front() else {
            return;
        };
        match granted {
            Some(granted) => {
                let mut commands = transaction.queue.iter().map(|queued| queued.command);
                transaction.refusal = transaction.refusal.take().or_else(|| {
                    let error = commands.find_map(|command| {
                        let flags = self.table.spec(command).flags;
                        granted.state.refusal(flags, &granted.failure)
                    })?;
                    Some(granted.state.refusal_of(error, transaction.exec))
                });
                transaction.touched |= granted.touched;
                transaction.rooms.push(granted.room);
                if granted.log_errno != 0 {
                    transaction.failed_logs.push((shard, granted.log_errno));
                }
                transaction.reserved.push(shard);
            }
            None => transaction.lost = true,
        }
    }

    /// Another worker has reserved its shard, or was restarted before.
    pub(super) fn reservation_granted(&mut self, id: usize, reply: Option<&[u8]>) {
        if self.transactions.contains(id) {
            self.note_granted(id, reply.and_then(Granted::decode));
            self.reserve_next(id);
        }
    }

    /// Executes what can be executed now; ends the transaction when nothing is left.
    pub(super) fn advance_transaction(&mut self, id: usize) {
        if let Some(script) = self.transactions[id].waiting_script.take() {
            self.continue_script(script);
            return;
        }
        if self.transactions[id].is_prevented() {
            if !self.is_under_way(id) {
                self.finish_transaction(id);
            }
            return;
        }
        loop {
            self.collect_replies(id);
            let transaction = &self.transactions[id];
            // A script that begins again waits for more shards.
            if transaction.waits_for_code
                || !transaction.wanted.is_empty()
                || (transaction.step.is_some() && !self.continue_together(id))
            {
                return;
            }
            if !self.finish_savepoint(id) {
                return;
            }
            let transaction = &self.transactions[id];
            let Some(next) = transaction.queue.front() else {
                break;
            };
            // The reply of what is executed here comes behind those that are awaited, and events come in order.
            let is_in_order = self.shard.tells_events() || self.is_answered_here(id, next);
            if !transaction.gathers.is_empty()
                && (is_in_order || self.is_at_work(&transaction.gathers))
            {
                return;
            }
            let next = self.transactions[id]
                .queue
                .pop_front()
                .expect("it was there above");
            self.transactions[id].commands.push(next.command);
            self.execute_step(id, next);
            if !self.transactions.contains(id) {
                return;
            }
        }
        if self.transactions[id].gathers.is_empty() {
            self.finish_transaction(id);
        }
    }

    /// True while answers to what a transaction has sent are awaited; those that are there are taken.
    fn is_under_way(&mut self, id: usize) -> bool {
        self.collect_replies(id);
        if matches!(self.transactions[id].saved, StepState::Undoing(_))
            && !self.finish_savepoint(id)
        {
            return true;
        }
        let transaction = &self.transactions[id];
        let gather = match transaction.step {
            _ if transaction.waits_for_code || !transaction.gathers.is_empty() => return true,
            None => return false,
            Some(Step::Looking { gather, .. } | Step::Changing { gather, .. }) => gather,
        };
        if !self.gathers[gather].is_complete() {
            return true;
        }
        self.gathers.remove(gather);
        self.transactions[id].step = None;
        false
    }

    /// A shard that was reserved is no longer: its worker was restarted. A transaction that went on could wait for
    /// one that has reserved the shard since and waits for this one.
    pub(super) fn lose_reservations(&mut self, shard: usize) {
        for (_, transaction) in &mut self.transactions {
            transaction.lost |= transaction.reserved.contains(&shard);
        }
    }

    /// Requests that one message to each shard answers: the next may be sent before the replies are there.
    fn is_simple(&self, command: CommandId, args: &Args<'_>) -> bool {
        match self.table.spec(command).run {
            Run::Shard(_) | Run::Read(_) | Run::ReadEach(_) => true,
            Run::Together(_) => self.shards_of(command, args).is_power_of_two(),
            Run::Session(SessionCommand::Publish | SessionCommand::SPublish) => true,
            Run::Session(_) | Run::Script(_) | Run::Python | Run::Container | Run::Help => false,
        }
    }

    /// True for a request whose reply, or whose error, is there at once.
    fn is_answered_here(&self, id: usize, next: &Queued) -> bool {
        let (command, args) = (next.command, next.args.as_args());
        let row = self.table.spec(command);
        let transaction = &self.transactions[id];
        !self.is_simple(command, &args)
            || row.check_steps(&args).is_err()
            || transaction.exec && self.is_denied_step(transaction.session, command, &args)
    }

    fn execute_step(&mut self, id: usize, next: Queued) {
        let args = next.args.as_args();
        let row = self.table.spec(next.command);
        let run = row.run;
        let is_push = row.flags.has(Flags::PUBSUB);
        let transaction = &self.transactions[id];
        let (db, protocol, tag) = (transaction.db, transaction.protocol, transaction.tag);
        let (is_exec, at) = (transaction.exec, transaction.session);
        if is_exec && let Some(error) = self.refusal_of_step(at, next.command, &args) {
            let mut reply = Vec::new();
            error.write(&mut Reply::new(&mut reply, protocol));
            self.step_done(id, &reply);
            return;
        }
        if let Err(error) = row.check_steps(&args) {
            self.together_failed(id, protocol, &error);
            return;
        }
        match run {
            Run::Session(SessionCommand::Publish | SessionCommand::SPublish) => {
                let sharded = matches!(run, Run::Session(SessionCommand::SPublish));
                let gather = self.publish_in(id, &args, sharded);
                self.transactions[id].gathers.push_back(gather);
            }
            Run::Session(command) => {
                let reply = self.session_step(id, command, &args);
                if is_push {
                    self.transactions[id].reply.extend_from_slice(&reply);
                } else {
                    self.step_done(id, &reply);
                }
            }
            Run::Help => {
                let mut reply = Vec::new();
                self.write_help(next.command, &mut Reply::new(&mut reply, protocol));
                self.step_done(id, &reply);
            }
            Run::Script(call) => {
                self.transactions[id].waits_for_code = true;
                self.start_script_step(id, next.command, call, &args);
            }
            Run::Python | Run::Container => {
                let transaction = &mut self.transactions[id];
                transaction.waits_for_code = true;
                let (session, slot) = (transaction.session, transaction.slot);
                let event = Event::Command {
                    session,
                    slot,
                    command: next.command,
                    args: next.args,
                    transaction: Some(id),
                };
                self.events.push(event);
            }
            Run::Together(together) if !self.is_simple(next.command, &args) => {
                let origin = self.origin_of_receiver(Receiver::Transaction(id), next.command);
                self.start_together(id, together, next.args, origin);
            }
            _ => {
                let (parts, order) = self.split_in(next.command, &args, db);
                self.save_parts(id, row, &args, &parts);
                let receiver = Receiver::Transaction(id);
                let gather = self.gather(next.command, parts, order, receiver, db, protocol, tag);
                self.transactions[id].gathers.push_back(gather);
            }
        }
    }

    /// Appends the replies that are complete, in order.
    fn collect_replies(&mut self, id: usize) {
        while let Some(&gather) = self.transactions[id].gathers.front() {
            if !self.gathers[gather].is_complete() {
                return;
            }
            self.transactions[id].gathers.pop_front();
            let mut gathering = self.gathers.remove(gather);
            let (tail, reply) = (gathering.tail.take(), gathering.finish());
            if self.transactions[id].gathers.is_empty() {
                self.end_savepoint(id, reply.first() != Some(&b'-'));
            }
            self.step_done_with(id, &reply, tail);
        }
    }

    /// The reply of a request, with what is made of it later.
    pub(super) fn step_done_with(&mut self, id: usize, reply: &[u8], tail: Option<Tail>) {
        self.step_done(id, reply);
        if let Some(tail) = tail
            && !self.is_exec_muted(id)
        {
            let transaction = &mut self.transactions[id];
            transaction.tails.push((transaction.reply.len(), tail));
        }
    }

    /// The reply of a request that did not go through a gather.
    pub(super) fn step_done(&mut self, id: usize, reply: &[u8]) {
        if !self.is_exec_muted(id) {
            self.transactions[id].reply.extend_from_slice(reply);
        }
    }

    /// True while the client of an EXEC wants no replies: a step may have said so.
    pub(super) fn is_exec_muted(&mut self, id: usize) -> bool {
        let (exec, at) = (self.transactions[id].exec, self.transactions[id].session);
        exec && self.session(at).is_some_and(|session| session.is_muted())
    }

    /// A Python command inside a transaction has ended.
    pub(super) fn code_step_done(&mut self, id: usize, reply: Vec<u8>) {
        let Some(transaction) = self.transactions.get_mut(id) else {
            return;
        };
        if transaction.nesting.is_executing() {
            // What it has executed and not waited for ends before the shards are released.
            transaction.nesting.python_reply = Some(reply);
            return;
        }
        transaction.waits_for_code = false;
        self.step_done(id, &reply);
        self.advance_transaction(id);
    }

    /// Releases all shards and answers.
    fn finish_transaction(&mut self, id: usize) {
        let muted = self.is_exec_muted(id);
        let mut transaction = self.transactions.remove(id);
        let is_over = self.settle_spread(&transaction);
        self.release_shards(&mut transaction);
        let mut reply = Vec::new();
        let mut writer = Reply::new(&mut reply, transaction.protocol);
        match is_over {
            Settled::Waits => return,
            Settled::Ended(ended) => writer.raw(&ended),
            Settled::Done => transaction.write_reply(&mut writer),
        }
        let has_failed = transaction.is_prevented();
        if muted && has_failed {
            reply.clear();
        }
        if has_failed {
            transaction.tails.clear();
        }
        if transaction.exec
            && let Some(session) = self.session(transaction.session)
        {
            session.mute_this = false;
        }
        let failed = reply.first() == Some(&b'-');
        if !transaction.exec {
            for command in &transaction.commands {
                // A Python command is counted when it ends, and every step of EXEC by who executes it.
                if !matches!(self.table.spec(*command).run, Run::Python | Run::Script(_)) {
                    self.stats.executed(command.index(), 0, failed);
                    self.stats.add(Counter::CommandsProcessed, 1);
                }
            }
        }
        self.hand_over(transaction, reply);
    }

    /// Releases what a transaction has reserved, once it is decided that it counts.
    fn release_shards(&mut self, transaction: &mut Transaction) {
        if transaction.nesting.parent.is_some() {
            return;
        }
        let mut ending = Ending::without_decision(if transaction.exec {
            transaction.session.client
        } else {
            0
        });
        ending.counts = !transaction.lost;
        self.end_again(transaction, ending.counts);
        self.decide_group(&mut ending, transaction);
        if ending.counts {
            self.publish_events_of(transaction);
        }
        self.release(transaction.tag, &transaction.reserved, &ending);
    }

    pub(super) fn release(&mut self, tag: u64, shards: &[usize], ending: &Ending) {
        for &shard in shards {
            if shard == self.me {
                self.end_reservation(self.me, tag, ending);
            } else {
                let envelope = Envelope {
                    tag,
                    ..Envelope::new(FrameKind::Release, 0)
                };
                self.links.send(shard, envelope, &ending.encode());
            }
        }
    }

    /// Gives the reply of a transaction to who waits for it, when it may be given.
    fn hand_over(&mut self, mut transaction: Transaction, reply: Vec<u8>) {
        let parent = transaction.nesting.parent;
        if let Some(parent) = parent.and_then(|id| self.transactions.get_mut(id)) {
            for (shard, number) in transaction.parts {
                note_due(&mut parent.parts, shard, number);
            }
            for (shard, number) in transaction.due {
                note_due(&mut parent.due, shard, number);
            }
            self.nested_done(transaction.nesting, reply);
            return;
        }
        let tails = transaction.take_tails(reply.len());
        let then = match (transaction.nesting.execution, transaction.asker) {
            (Some(_), _) => Finished::Nested(transaction.nesting),
            (None, Some(asker)) => Finished::Told(asker),
            (None, None) => Finished::Slot {
                session: transaction.session,
                slot: transaction.slot,
                tails,
            },
        };
        self.finish_when_durable(&transaction.due, then, reply);
    }
}
