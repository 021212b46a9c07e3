//! From received bytes to executed commands: parse a batch, prefetch, execute.

use std::ops::Range;

use super::job::{Job, Lends, MaySteps, Ran};
use super::output::Tails;
use super::parked::{Asker, Blocked};
use super::pending::{SessionRef, Waiter};
use super::session::{Gates, Queued, Wait};
use super::tracking::Origin;
use super::{Engine, Event};
use crate::commands::{CommandError, CommandId, Flags, Keys, Route, Run, parts};
use crate::keyspace::{Key, hash_key};
use crate::resp::{Args, Limits, Parsed, Parser, Reply, Requests, finish_at_once};
use crate::stats::Counter;

/// Requests parsed and prefetched together.
const BATCH: usize = 64;
/// The cost of requests after which others have their turns: a request counts once, and once more for each argument
/// beyond those of SET. That takes up to a millisecond, where each is a new element of a very large collection.
pub(super) const TURN_COST: usize = 256;
const CHEAP_ARGUMENTS: usize = 3;
/// Steps towards the limit before a write is executed.
const RELIEF_STEPS: usize = 64;
/// A session with so many open reply slots waits for them.
const SLOTS_AT_MOST: usize = 4096;

/// What is known of a request before it is executed.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    pub command: Option<CommandId>,
    /// Place of the first key among the arguments; 0 without one.
    pub key_at: usize,
    /// Hash of the first key.
    pub hash: u64,
    /// The owner of the first key; the own shard without one.
    pub shard: usize,
    /// The index line of the first key, if it was asked for; else 0.
    pub home: u64,
    /// Place of the first element of a collection among the arguments; 0 without one.
    pub element_at: u8,
    /// The database of the key.
    pub db: u8,
}

/// A Python command that has ended.
pub struct Ended<'a> {
    pub session: SessionRef,
    pub slot: u64,
    /// The transaction whose step it was.
    pub transaction: Option<usize>,
    pub command: CommandId,
    pub args: &'a Args<'a>,
    /// From its start to its end.
    pub nanoseconds: u64,
}

/// What became of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Flow {
    /// Executed, or under way with a reply slot.
    Done,
    /// Not executed: to be tried again when the wait is over.
    Again(Wait),
}

impl Engine {
    /// Executes requests from `input`, which starts at the boundary of a request; returns how far it came.
    pub(super) fn execute_input(&mut self, index: usize, input: &[u8]) -> usize {
        let mut requests = std::mem::take(&mut self.requests);
        let mut start = 0;
        let mut left = TURN_COST;
        loop {
            requests.clear();
            let session = &mut self.sessions[index];
            let limits = Limits {
                bulk_bytes_max: self.options.bulk_bytes_max,
                authenticated: !session.gates.any(Gates::UNAUTHENTICATED),
                ..Limits::default()
            };
            let mut end = Ok(Parsed::Request);
            while requests.len() < BATCH && end == Ok(Parsed::Request) {
                end = session
                    .parser
                    .next(input, &mut start, &limits, &mut requests);
            }
            session.input_wanted = match end {
                Ok(Parsed::Incomplete { wanted }) => wanted,
                _ => 0,
            };
            if let Some(stopped) = self.execute_batch(index, input, &requests, &mut left) {
                start = stopped;
                break;
            }
            match end {
                Ok(Parsed::Request) => {}
                Ok(Parsed::Incomplete { .. }) => {
                    if self.begin_incoming(index, &input[start..]) {
                        start = input.len();
                    }
                    break;
                }
                Err(error) => {
                    self.stats.add(Counter::ProtocolErrors, 1);
                    let session = &mut self.sessions[index];
                    let protocol = session.protocol;
                    Reply::new(session.reply_target(), protocol).error(&error);
                    self.close_after_output(index);
                    start = input.len();
                    break;
                }
            }
        }
        requests.clear();
        self.requests = requests;
        self.steps.turns.note_spent(TURN_COST - left);
        start
    }

    /// Executes a parsed batch; `Some` tells where execution stopped before its end.
    fn execute_batch(
        &mut self,
        index: usize,
        input: &[u8],
        requests: &Requests,
        left: &mut usize,
    ) -> Option<usize> {
        self.plan(index, input, requests);
        // Executing may let other sessions go on, whose batches are planned in the same place.
        let plans = std::mem::take(&mut self.plans);
        let stopped = self.execute_planned(index, input, requests, &plans, 0..plans.len(), left);
        self.plans = plans;
        stopped
    }

    /// Executes these requests of a session; `Some` tells where execution stopped before their end. Takes their
    /// cost from what is `left` of the turn.
    pub(super) fn execute_planned(
        &mut self,
        index: usize,
        input: &[u8],
        requests: &Requests,
        plans: &[Plan],
        numbers: Range<usize>,
        left: &mut usize,
    ) -> Option<usize> {
        for request in numbers {
            let plan = plans[request];
            let args = requests.args(request, input);
            let flow = match self.sessions[index].incoming.take() {
                None => self.execute(index, &args, plan),
                Some(incoming) => self.execute_received(index, &args, plan, *incoming),
            };
            *left = left.saturating_sub(1 + args.len().saturating_sub(CHEAP_ARGUMENTS));
            let session = self.sessions.get_mut(index)?;
            let wait = match flow {
                Flow::Again(wait) => Some((wait, requests.wire(request).start)),
                Flow::Done if session.closing => return Some(input.len()),
                Flow::Done if session.wait != Wait::None => {
                    Some((session.wait, requests.wire(request).end))
                }
                Flow::Done if session.is_full() => Some((Wait::Output, requests.wire(request).end)),
                Flow::Done if *left == 0 => {
                    let end = requests.wire(request).end;
                    (end < input.len()).then_some((Wait::Turn, end))
                }
                Flow::Done => None,
            };
            if let Some((wait, stopped)) = wait {
                // What was parsed of later requests is parsed again.
                session.parser = Parser::default();
                session.input_wanted = 0;
                self.suspend(index, wait);
                return Some(stopped);
            }
        }
        if self.sessions[index].is_worth_sending() {
            self.touch(index);
        }
        None
    }

    /// Suspends a session until the reason is gone.
    pub(super) fn suspend(&mut self, index: usize, wait: Wait) {
        self.touch(index);
        self.set_wait(index, wait);
        match wait {
            Wait::Release => self
                .deferred
                .push_back(super::reservation::Deferred::Session(
                    self.sessions[index].at,
                )),
            Wait::Ring(_) => self.ring_waiters.push(index),
            Wait::Pause => self.gate.add_paused(index),
            Wait::News => self.waiting.news.push(index),
            Wait::Turn => self.steps.turns.add(self.sessions[index].at),
            Wait::None | Wait::Answer | Wait::Slots | Wait::Output => {}
        }
    }

    /// Looks commands up, hashes keys, and asks for the cache lines that execution will need.
    fn plan(&mut self, index: usize, input: &[u8], requests: &Requests) {
        let db = self.sessions[index].db;
        self.plans.clear();
        let mut elements = 0;
        for request in 0..requests.len() {
            let args = requests.args(request, input);
            let plan = if requests.len() > 1 {
                self.plan_ahead(&args, db)
            } else {
                // A lone request would only wait for its own prefetches.
                self.plan_request(self.table.lookup(&args).ok(), &args)
            };
            elements |= plan.element_at;
            self.plans.push(plan);
        }
        self.prefetch_entries(&self.plans);
        if elements != 0 {
            self.prefetch_elements(input, requests, &self.plans);
        }
    }

    /// The plan of a request that is not executed at once: the index line of its first key is asked for.
    #[inline(always)]
    pub(super) fn plan_ahead(&self, args: &Args<'_>, db: u8) -> Plan {
        let mut plan = self.plan_request(self.table.lookup(args).ok(), args);
        if plan.key_at != 0 {
            let key = Key {
                db,
                hash: plan.hash,
                bytes: args.at(plan.key_at),
            };
            plan.home = self.prefetch_index(plan.shard, &key);
            plan.db = db;
        }
        plan
    }

    #[inline(always)]
    pub(super) fn plan_request(&self, command: Option<CommandId>, args: &Args<'_>) -> Plan {
        let none = Plan {
            command,
            key_at: 0,
            hash: 0,
            shard: self.me,
            home: 0,
            element_at: 0,
            db: 0,
        };
        let Some(id) = command else { return none };
        if self.table.spec(id).route == Route::Upload {
            let shard = self.upload_shard(args);
            return Plan { shard, ..none };
        }
        let key_at = match self.table.spec(id).keys {
            Keys::At { first, .. } => usize::from(first),
            // Those of scripts: behind their count.
            Keys::Counted {
                count_at,
                destination: None,
            } => usize::from(count_at) + 1,
            _ => return none,
        };
        let Some(key) = args.get(key_at) else {
            return none;
        };
        Plan {
            command,
            key_at,
            hash: hash_key(self.shape.hash_seed, key),
            shard: self.shard_of(key),
            element_at: self.element_places.at(id),
            ..none
        }
    }

    /// Asks for the entries of the keys of planned requests, whose index lines have been asked for.
    #[inline]
    pub(super) fn prefetch_entries(&self, plans: &[Plan]) {
        let mut last = 0;
        for plan in plans {
            // Requests of one batch often have one key.
            if plan.hash != last {
                self.prefetch_entry(plan.shard, plan.home, plan.hash);
            }
            last = plan.hash;
        }
    }

    #[inline(always)]
    pub(super) fn prefetch_entry(&self, shard: usize, home: u64, hash: u64) {
        match &self.readers[shard] {
            None => self.shard.prefetch_entry(home, hash),
            Some(reader) => reader.prefetch_entry(home, hash),
        }
    }

    #[inline(always)]
    pub(super) fn prefetch_index(&self, shard: usize, key: &Key<'_>) -> u64 {
        match &self.readers[shard] {
            None => self.shard.prefetch_index(key),
            Some(reader) => reader.prefetch_index(key),
        }
    }

    /// The shard that owns a key.
    #[inline]
    pub(super) fn shard_of(&self, key: &[u8]) -> usize {
        self.shape.shard_of(key)
    }

    /// The shard of the upload that a request names; the own for one that its handler will refuse.
    pub(super) fn upload_shard(&self, args: &Args<'_>) -> usize {
        parts::upload_shard(args)
            .filter(|shard| *shard < self.shape.shards)
            .unwrap_or(self.me)
    }

    /// Executes one request of a session.
    #[inline(always)]
    pub(super) fn execute(&mut self, index: usize, args: &Args<'_>, plan: Plan) -> Flow {
        let Some(command) = plan.command else {
            self.refuse_unknown(index, args);
            return Flow::Done;
        };
        let spec = self.table.spec(command);
        if self.is_gated(index)
            && let Some(flow) = self.pass_gate(index, command, args)
        {
            return flow;
        }
        let session = &mut self.sessions[index];
        session.commands += 1;
        session.last_command = Some(command);
        let target = session.reply_target();
        let start = target.len();
        let slots_before = session.slots.opened();
        let flow = match spec.run {
            Run::Read(handler) if plan.shard == self.me => {
                self.read_own(index, command, handler, args, plan)
            }
            Run::Read(handler) => self.read_other(index, command, handler, args, plan),
            Run::Shard(_) if spec.route == Route::Key && plan.shard == self.me => {
                self.run_own(index, command, args, Some(plan.hash))
            }
            Run::Shard(_) if spec.route == Route::Key => {
                self.forward(index, plan.shard, command, args, Some(plan.hash))
            }
            Run::Shard(_) if spec.route == Route::Upload && plan.shard == self.me => {
                self.run_own(index, command, args, None)
            }
            Run::Shard(_) if spec.route == Route::Upload => {
                self.forward(index, plan.shard, command, args, None)
            }
            Run::Session(own) => self.run_session(index, own, args),
            Run::Script(call) => self.start_script(index, command, call, args),
            Run::Python | Run::Container => self.start_python(index, command, args),
            Run::Help => self.help(index, command),
            _ => self.run_over_shards(index, command, args),
        };
        if flow == Flow::Done {
            self.finish_command(index, command, args, start, slots_before);
            self.publish_events();
            self.tell_stale();
        } else {
            self.take_back(index);
        }
        flow
    }

    /// A request has to wait and comes again.
    #[cold]
    fn take_back(&mut self, index: usize) {
        let session = &mut self.sessions[index];
        session.commands -= 1;
        session.is_shown = self.gate.is_monitored();
    }

    /// Statistics, slow log and muted replies, after a request was executed here or sent on its way.
    #[inline(always)]
    fn finish_command(
        &mut self,
        index: usize,
        command: CommandId,
        args: &Args<'_>,
        start: usize,
        slots_before: u64,
    ) {
        let ticks = (self.clock.ticks)();
        let spent = self.clock.nanoseconds(ticks.wrapping_sub(self.ticks));
        self.ticks = ticks;
        let Some(session) = self.sessions.get_mut(index) else {
            return;
        };
        let is_tracking = session.gates.any(Gates::TRACKING);
        let is_answered = session.slots.opened() == slots_before;
        if is_answered {
            let muted = session.is_muted();
            let target = session.reply_target();
            let failed = target.get(start) == Some(&b'-');
            if failed {
                let error = target[start..].to_vec();
                self.observations.count_error(&error);
                self.stats.add(Counter::ErrorReplies, 1);
            }
            if muted {
                let session = &mut self.sessions[index];
                // What confirms a subscription is a push, and pushes are always sent.
                if !self.table.spec(command).flags.has(Flags::PUBSUB) {
                    session.take_back(start);
                }
                session.mute_this = false;
            }
            self.stats.executed(command.index(), spent, failed);
            self.stats.add(Counter::CommandsProcessed, 1);
        }
        if is_tracking {
            self.end_caching(index, command);
        }
        if spent >= self.observations.slow_ns && (is_answered || self.is_spread(command)) {
            let client = self.sessions[index].at.client;
            self.note_slow(client, Some(index), command, args, spent);
        }
    }

    /// Refuses a request that names no command, or has a wrong number of arguments for it.
    #[cold]
    fn refuse_unknown(&mut self, index: usize, args: &Args<'_>) {
        let Err(error) = self.table.lookup(args) else {
            return;
        };
        let name = args.at(0);
        if name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:") {
            // A browser was led here: nothing behind this line is meant for us.
            self.close_after_output(index);
        } else if name.eq_ignore_ascii_case(b"exec") {
            self.end_multi(index);
            let text = error.to_string();
            let reason = text.strip_prefix("ERR ").unwrap_or(&text);
            let error = format!("EXECABORT Transaction discarded because of: {reason}");
            self.refuse(index, None, &CommandError::text(error));
        } else {
            self.refuse(index, self.table.named(args), &error);
        }
    }

    /// Requests of which no other worker, and no coroutine, knows the whole.
    fn is_spread(&self, command: CommandId) -> bool {
        let spec = self.table.spec(command);
        spec.route != Route::Key
            && !matches!(spec.run, Run::Python | Run::Container | Run::Script(_))
    }

    /// Replies with an error instead of executing a request; a queueing transaction is spoilt by it.
    pub(super) fn refuse(
        &mut self,
        index: usize,
        command: Option<CommandId>,
        error: &CommandError,
    ) {
        if let Some(command) = command {
            self.stats.rejected(command.index());
        }
        let session = &mut self.sessions[index];
        if session.gates.any(Gates::MULTI) {
            session.details_mut().multi.aborted = true;
        }
        let protocol = session.protocol;
        let target = session.reply_target();
        let start = target.len();
        error.write(&mut Reply::new(target, protocol));
        let text = target[start..].to_vec();
        self.observations.count_error(&text);
        self.stats.add(Counter::ErrorReplies, 1);
        self.stats.add(Counter::CommandsProcessed, 1);
        if session.gates.any(Gates::REPLY_OFF) {
            session.reply_target().truncate(start);
        }
        self.ticks = (self.clock.ticks)();
    }

    /// A command of the own shard.
    pub(super) fn run_own(
        &mut self,
        index: usize,
        command: CommandId,
        args: &Args<'_>,
        hash: Option<u64>,
    ) -> Flow {
        if self.reserved.is_some() {
            return Flow::Again(Wait::Release);
        }
        if let Some(shard) = self.event_backlog() {
            return Flow::Again(Wait::Ring(shard));
        }
        let (start, before) = (self.reply_start(index), self.shard.number());
        let session = &mut self.sessions[index];
        if session.must_read_later(self.me) && self.table.spec(command).flags.has(Flags::READONLY) {
            return Flow::Again(Wait::Slots);
        }
        let (db, protocol, ack) = (session.db, session.protocol, session.ack);
        let is_first = session.slots.is_empty();
        let origin = Origin::of_session(session, self.me);
        let mut target = std::mem::take(session.reply_target());
        let job = Job {
            command,
            args,
            hash,
            db,
            protocol,
            may_wait: true,
            in_steps: MaySteps::MayAsk,
            origin,
            ack,
        };
        // Behind replies that are not there yet, what is long would have to be copied.
        let lends = match is_first {
            true => Lends::All,
            false if self.table.spec(command).flags.has(Flags::READONLY) => Lends::NotYet,
            false => Lends::Rests,
        };
        let ran = self.run_job_inline(&job, &mut target, lends);
        let session = &mut self.sessions[index];
        *session.reply_target() = target;
        if !ran.is_done() {
            return self.put_off(index, &job, ran);
        }
        if !is_first && let Some(rest) = self.lending.take_rest() {
            finish_at_once(rest, session.reply_target());
        }
        if !self.lending.is_empty() {
            session.output.add_views(self.lending.drain());
            self.keep_rest(index);
        }
        let due = self.number_due(ack, before);
        if due != 0 {
            self.hold_back(index, start, due);
        }
        Flow::Done
    }

    /// Takes note of a command of the own shard that has changed nothing yet.
    #[cold]
    #[inline(never)]
    fn put_off(&mut self, index: usize, job: &Job<'_>, ran: Ran) -> Flow {
        match ran {
            Ran::TooEarly => Flow::Again(Wait::Slots),
            Ran::Long => {
                self.lending.clear();
                self.start_alone(index, job.command, job.args)
            }
            Ran::Later(waits) => {
                let session = &mut self.sessions[index];
                let (session, slot) = (session.at, session.open_slot());
                let asker = Asker::Here(Waiter::Slot { session, slot });
                let token = self.park(job, session.client, asker, waits);
                self.set_wait(index, Wait::Answer);
                self.sessions[index].blocked = Some(Blocked::Here(token));
                Flow::Done
            }
            Ran::Done | Ran::Begun(_) => Flow::Done,
        }
    }

    fn help(&mut self, index: usize, command: CommandId) -> Flow {
        let session = &mut self.sessions[index];
        let protocol = session.protocol;
        let mut target = std::mem::take(session.reply_target());
        self.write_help(command, &mut Reply::new(&mut target, protocol));
        *self.sessions[index].reply_target() = target;
        Flow::Done
    }

    /// The subcommands of a container.
    pub(super) fn write_help(&self, command: CommandId, reply: &mut Reply<'_>) {
        if let Some(container) = self.table.spec(command).container() {
            self.table.write_help(container, reply);
        }
    }

    /// Suspends the session behind a request that Python answers.
    fn start_python(&mut self, index: usize, command: CommandId, args: &Args<'_>) -> Flow {
        let session = &mut self.sessions[index];
        if !session.slots.is_empty() {
            return Flow::Again(Wait::Slots);
        }
        if let Some(error) = self.refusal_of_protected(index, command) {
            let session = &mut self.sessions[index];
            let protocol = session.protocol;
            error.write(&mut Reply::new(session.reply_target(), protocol));
            return Flow::Done;
        }
        if self.table.spec(command).flags.has(Flags::ATOMIC) {
            let args = (*args).into();
            return self.start_transaction(index, vec![Queued { command, args }], false);
        }
        let session = &mut self.sessions[index];
        let slot = session.open_slot();
        let at = session.at;
        self.set_wait(index, Wait::Answer);
        self.events.push(Event::Command {
            session: at,
            slot,
            command,
            args: (*args).into(),
            transaction: None,
        });
        Flow::Done
    }

    /// Ends a Python command with its whole reply.
    pub fn complete(&mut self, ended: &Ended<'_>, reply: Vec<u8>) {
        self.run_staged();
        self.read_clock();
        let command = ended.command;
        // Waiting is not work.
        let waits = self.table.spec(command).flags.has(Flags::BLOCKING);
        let spent = if waits { 0 } else { ended.nanoseconds };
        let failed = reply.first() == Some(&b'-');
        self.stats.executed(command.index(), spent, failed);
        self.stats.add(Counter::CommandsProcessed, 1);
        if failed {
            self.observations.count_error(&reply);
            self.stats.add(Counter::ErrorReplies, 1);
        }
        if spent >= self.observations.slow_ns {
            let at = ended.session;
            let index = self.session(at).is_some().then_some(at.index);
            self.note_slow(at.client, index, command, ended.args, spent);
        }
        match ended.transaction {
            Some(transaction) => self.code_step_done(transaction, reply),
            None => self.answer(ended.session, ended.slot, &reply),
        }
        self.settle();
    }

    /// Fills a reply slot; a session that waited for it goes on.
    pub(super) fn answer(&mut self, at: SessionRef, slot: u64, reply: &[u8]) {
        self.answer_with(at, slot, reply, Tails::new());
    }

    /// The same with what is made of the reply later.
    pub(super) fn answer_with(&mut self, at: SessionRef, slot: u64, reply: &[u8], tails: Tails) {
        let Some(session) = self.session(at) else {
            return;
        };
        session.fill_slot(slot, reply, tails);
        self.note_answered(at.index, slot);
        let session = &mut self.sessions[at.index];
        let goes_on = match session.wait {
            Wait::Answer | Wait::Slots => session.slots.is_empty(),
            _ => false,
        };
        if session.is_worth_sending() {
            self.touch(at.index);
        }
        if goes_on {
            self.resume(at.index);
        }
        if self.sessions[at.index].output.has_rests() {
            self.line_up(at.index);
        }
    }

    /// Sends a request to the worker that owns its keys; the reply gets a slot. `hash` is that of its only key.
    pub(super) fn forward(
        &mut self,
        index: usize,
        shard: usize,
        command: CommandId,
        args: &Args<'_>,
        hash: Option<u64>,
    ) -> Flow {
        if self.links.is_backlogged(shard) {
            return Flow::Again(Wait::Ring(shard));
        }
        if self.reads_out_of_turn(index, command, shard) {
            return Flow::Again(Wait::Slots);
        }
        let session = &mut self.sessions[index];
        if session.slots.len() >= SLOTS_AT_MOST {
            return Flow::Again(Wait::Slots);
        }
        let slot = session.open_slot_at(1 << shard, hash);
        if self.table.spec(command).flags.has(Flags::READONLY) {
            session.reads_under_way |= 1 << shard;
        }
        let waiter = Waiter::Slot {
            session: session.at,
            slot,
        };
        let (db, protocol) = (session.db, session.protocol);
        let ticket = self.send_request(shard, waiter, command, args, hash, db, protocol, 0);
        if self.table.spec(command).flags.has(Flags::BLOCKING) {
            // What comes behind it runs when it is answered.
            self.set_wait(index, Wait::Answer);
            self.sessions[index].blocked = Some(Blocked::There { shard, ticket });
        }
        Flow::Done
    }

    /// True for a read of `shard` that would be served around an earlier read of its session.
    #[inline]
    fn reads_out_of_turn(&self, index: usize, command: CommandId, shard: usize) -> bool {
        self.sessions[index].must_read_later(shard)
            && self.table.spec(command).flags.has(Flags::READONLY)
    }

    /// True where the own shard may not execute a command now.
    #[inline(always)]
    pub(super) fn may_refuse(&self, flags: Flags) -> bool {
        self.gate.is_closed() || flags.has(Flags::DENYOOM) && self.shard.is_over_limit()
    }

    /// The error of a command that the own shard does not execute now, whoever sent it.
    #[cold]
    pub(super) fn refusal(&mut self, command: CommandId) -> Option<CommandError> {
        if self.gate.is_closed() {
            let flags = self.table.spec(command).flags;
            if let Some(error) = self.gate.refusal(flags) {
                return Some(error);
            }
        }
        self.is_refused_for_memory(command)
            .then_some(CommandError::OutOfMemory)
    }

    /// True when a command must be refused: the shard is over its limit, and nothing can be evicted.
    pub(super) fn is_refused_for_memory(&mut self, command: CommandId) -> bool {
        self.table.spec(command).flags.has(Flags::DENYOOM)
            && self.shard.is_over_limit()
            && !self.shard.relieve(self.now, RELIEF_STEPS)
    }
}
