//! Scripts: from a request to a script that runs, on the worker that has its keys.
//!
//! A script whose keys are all of one shard runs at the owner of that, and holds the shard while it runs. One with keys
//! of several shards is a transaction over these. One that names no keys begins at once, and holds nothing until it
//! asks for a key: then it holds all shards.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use slab::Slab;

use super::Engine;
use super::dispatch::Flow;
use super::durability::AckChoice;
use super::links::Envelope;
use super::parked::Asker;
use super::pending::SessionRef;
use super::reservation::Reservation;
use super::session::{Gates, Queued, Wait};
use crate::acl::User;
use crate::commands::{CalledBy, CommandError, CommandId, Outcome, ScriptCall};
use crate::resp::{Args, ArgsBuffer, Protocol, Reply, parse_i64};
use crate::ring::FrameKind;
use crate::script::{Callee, Given, Run, ScriptFlags};
use crate::stats::Counter;

/// Steps towards the limit before a script that may write is refused.
const RELIEF_STEPS: usize = 64;

/// What a script holds of the shards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Held {
    Nothing,
    /// The own shard; readers from outside are kept away from its first write on.
    Own {
        tag: u64,
        excludes: bool,
    },
    /// What a transaction has reserved.
    Transaction(usize),
}

/// For whom a script runs that has not waited for anything yet.
#[derive(Clone, Copy, Debug)]
pub(super) enum Origin {
    Session(usize),
    Asker(Asker),
    /// It has a transaction, which gets the reply.
    Step,
}

/// A script under way.
pub(super) struct ScriptRun {
    pub run: Run,
    pub origin: Origin,
    pub held: Held,
    pub command: CommandId,
    /// Kept when it waits for the first time.
    pub args: Option<ArgsBuffer>,
    pub client: u64,
    /// The session whose user may not do everything, and the user.
    pub user: Option<(SessionRef, Arc<User>)>,
    /// The acknowledgement that its client has chosen.
    pub ack: AckChoice,
    /// Its client keeps what it reads.
    pub tracks: bool,
    pub db: u8,
    pub protocol: Protocol,
    pub read_only: bool,
    pub has_written: bool,
    /// It begins again where it names a key in a shard that is not held.
    pub may_begin_again: bool,
    /// The state of the random numbers when it began.
    pub random: u64,
    /// The time that it was told.
    pub time_us: Option<u64>,
    pub is_killed: bool,
    /// The request that waits for shards.
    pub pending: Option<ArgsBuffer>,
    pub started_at: u64,
    /// Work so far.
    pub nanoseconds: u64,
    /// It waits for its turn, and for nothing else.
    pub is_ready: bool,
    /// Whoever waits for its shards was told that it runs for long.
    pub is_busy: bool,
}

/// Scripts that wait, and what waits for news of scripts.
#[derive(Default)]
pub(super) struct Waiting {
    pub scripts: Slab<ScriptRun>,
    /// Those whose slice was over, in turn.
    pub turns: VecDeque<usize>,
    /// Sessions that wait for news, and those that have.
    pub news: Vec<usize>,
    pub informed: HashSet<usize>,
    /// The reply of the script in hand.
    reply: Vec<u8>,
}

impl Waiting {
    /// True while a script waits for its turn only, or a session for news.
    pub fn has_steps(&self) -> bool {
        !self.turns.is_empty() || !self.news.is_empty()
    }
}

/// A request to run a script, with its parts.
pub(super) struct Request<'a> {
    pub command: CommandId,
    pub call: ScriptCall,
    pub args: &'a Args<'a>,
    pub keys: usize,
}

/// Why a script does not begin.
pub(super) enum Refusal {
    Error(CommandError),
    /// Nobody here knows the hash.
    Unknown,
}

impl From<CommandError> for Refusal {
    fn from(error: CommandError) -> Self {
        Self::Error(error)
    }
}

impl Refusal {
    fn write(self, reply: &mut Reply<'_>) {
        match self {
            Self::Error(error) => error.write(reply),
            Self::Unknown => {
                CommandError::text("NOSCRIPT No matching script. Please use EVAL.").write(reply);
            }
        }
    }
}

/// The number of keys that a request says.
fn count_of_keys(call: ScriptCall, args: &Args<'_>) -> Result<usize, CommandError> {
    let Some(count) = parse_i64(args.at(2)) else {
        return Err(match call.by {
            CalledBy::Name => CommandError::Plain("Bad number of keys provided"),
            CalledBy::Text | CalledBy::Hash => CommandError::NotAnInteger,
        });
    };
    if count > args.len() as i64 - 3 {
        return Err(CommandError::Plain(
            "Number of keys can't be greater than number of args",
        ));
    }
    usize::try_from(count).map_err(|_| CommandError::Plain("Number of keys can't be negative"))
}

impl Engine {
    /// Runs the script of a session's request, here or elsewhere.
    pub(super) fn start_script(
        &mut self,
        index: usize,
        command: CommandId,
        call: ScriptCall,
        args: &Args<'_>,
    ) -> Flow {
        if call.by == CalledBy::Name
            && let Some(wait) = self.wait_for_libraries()
        {
            return Flow::Again(wait);
        }
        let (callee, request) = match self.callee_of(command, call, args) {
            Ok(found) => found,
            Err(Refusal::Unknown) if self.may_get_news(index, call) => {
                return Flow::Again(Wait::News);
            }
            Err(refusal) => {
                self.waiting.informed.remove(&index);
                let session = &mut self.sessions[index];
                let protocol = session.protocol;
                refusal.write(&mut Reply::new(session.reply_target(), protocol));
                return Flow::Done;
            }
        };
        let own = 1 << self.me;
        let shards = self.shards_of_script(&callee, &request);
        if self.shape.shards > 1 && !self.sessions[index].slots.is_empty() {
            return Flow::Again(Wait::Slots);
        }
        if shards & !own == 0 {
            return self.run_script_here(index, callee, &request, shards == own);
        }
        // The rules of a user are known here only, and what a client keeps has to come by the way that says it is stale.
        let stays = self.sessions[index].gates.any(Gates::RESTRICTED) || self.tracks(index);
        if shards.is_power_of_two() && !stays {
            return self.forward_script(index, &callee, &request, shards.trailing_zeros() as usize);
        }
        self.show_script(index, command, args);
        let args = (*args).into();
        self.start_transaction(index, vec![Queued { command, args }], false)
    }

    /// Shows the request to monitors: its commands come after it.
    fn show_script(&mut self, index: usize, command: CommandId, args: &Args<'_>) {
        if self.gate.is_monitored() {
            self.feed_monitors(index, command, args);
        }
    }

    fn forward_script(
        &mut self,
        index: usize,
        callee: &Callee,
        request: &Request<'_>,
        shard: usize,
    ) -> Flow {
        if self.links.is_backlogged(shard) {
            return Flow::Again(Wait::Ring(shard));
        }
        // Where it may begin again on other shards, nothing else of its client is under way to these.
        let may_roam = callee.may_roam(|name| self.names_of(name));
        if may_roam && !self.sessions[index].slots.is_empty() {
            return Flow::Again(Wait::Slots);
        }
        self.show_script(index, request.command, request.args);
        let flow = self.forward_call(index, callee, request, shard);
        if may_roam && matches!(flow, Flow::Done) {
            self.set_wait(index, Wait::Answer);
        }
        flow
    }

    fn forward_call(
        &mut self,
        index: usize,
        callee: &Callee,
        request: &Request<'_>,
        shard: usize,
    ) -> Flow {
        let Callee::Script(script) = callee else {
            return self.forward(index, shard, request.command, request.args, None);
        };
        // The owner need not know the hash.
        let name: &[u8] = match request.call.read_only {
            true => b"eval_ro",
            false => b"eval",
        };
        let Some(command) = self.table.find(name) else {
            return Flow::Done;
        };
        let head = [name, &script.body].into_iter();
        let args: ArgsBuffer = head.chain(request.args.iter().skip(2)).collect();
        self.forward(index, shard, command, &args.as_args(), None)
    }

    /// Runs a script of a session on the own shard, or on none yet.
    fn run_script_here(
        &mut self,
        index: usize,
        callee: Callee,
        request: &Request<'_>,
        holds: bool,
    ) -> Flow {
        if holds && self.reserved.is_some() {
            return Flow::Again(Wait::Release);
        }
        if self.sessions[index].must_read_later(self.me) {
            return Flow::Again(Wait::Slots);
        }
        if let Some(shard) = self.event_backlog() {
            return Flow::Again(Wait::Ring(shard));
        }
        self.show_script(index, request.command, request.args);
        let (began, tracks) = (self.ticks, self.tracks(index));
        let session = &mut self.sessions[index];
        let (at, client, ack) = (session.at, session.at.client, session.ack);
        let (db, protocol) = (session.db, session.protocol);
        let (start, before) = (self.reply_start(index), self.shard.number());
        let mut reply = std::mem::take(&mut self.waiting.reply);
        reply.clear();
        match self.prepare_script(callee, request) {
            Err(error) => error.write(&mut Reply::new(&mut reply, protocol)),
            Ok(run) => {
                let mut script = self.new_script(run, request, Origin::Session(index), client);
                script.user = self.restricted_user(at);
                script.ack = ack;
                script.tracks = tracks;
                (script.db, script.protocol) = (db, protocol);
                if holds {
                    script.held = self.hold_own();
                    self.allow_again(&mut script);
                }
                self.drive(script, Some(request.args), &mut reply);
            }
        }
        // Of a script that waits, the reply comes to a slot.
        self.sessions[index]
            .reply_target()
            .extend_from_slice(&reply);
        let due = self.number_due(ack, before);
        if due != 0 && !reply.is_empty() {
            self.hold_back(index, start, due);
        }
        self.ticks = began;
        reply.shrink_to(super::KEEP_BUFFER_BYTES);
        self.waiting.reply = reply;
        Flow::Done
    }

    /// Runs a script for another worker.
    pub(super) fn start_script_for(
        &mut self,
        asker: Asker,
        (command, call): (CommandId, ScriptCall),
        args: &Args<'_>,
        client: u64,
        ack: AckChoice,
    ) {
        let Asker::There { header, .. } = asker else {
            return;
        };
        let before = self.shard.number();
        let protocol = if header.protocol == 3 {
            Protocol::Resp3
        } else {
            Protocol::Resp2
        };
        let mut reply = Vec::new();
        let began = self.callee_of(command, call, args);
        let began = began.and_then(|(callee, request)| {
            let run = self.prepare_script(callee, &request)?;
            Ok(self.new_script(run, &request, Origin::Asker(asker), client))
        });
        match began {
            Err(refusal) => refusal.write(&mut Reply::new(&mut reply, protocol)),
            Ok(mut script) => {
                (script.db, script.protocol) = (header.db, protocol);
                script.held = self.hold_own();
                self.allow_again(&mut script);
                script.ack = ack;
                if !self.drive(script, Some(args), &mut reply) {
                    return;
                }
            }
        }
        let due = self.number_due(ack, before);
        self.tell_when_durable(due, asker, &reply);
    }

    /// Runs a script as a step of a transaction, which waits for it.
    pub(super) fn start_script_step(
        &mut self,
        id: usize,
        command: CommandId,
        call: ScriptCall,
        args: &Args<'_>,
    ) {
        let transaction = &mut self.transactions[id];
        let (db, protocol, session) = (transaction.db, transaction.protocol, transaction.session);
        let (ack, tracks) = (transaction.ack, transaction.tracks);
        let seen_before = transaction.seen_before.take();
        let mut reply = Vec::new();
        let began = self.callee_of(command, call, args);
        let began = began.and_then(|(callee, request)| {
            let run = self.prepare_script(callee, &request)?;
            Ok(self.new_script(run, &request, Origin::Step, session.client))
        });
        match began {
            Err(refusal) => refusal.write(&mut Reply::new(&mut reply, protocol)),
            Ok(mut script) => {
                (script.db, script.protocol) = (db, protocol);
                script.held = Held::Transaction(id);
                self.allow_again(&mut script);
                if let Some(seen) = seen_before {
                    self.scripts.set_random_state(seen.random);
                    (script.random, script.time_us) = (seen.random, seen.time_us);
                }
                (script.ack, script.tracks) = (ack, tracks);
                script.user = self.restricted_user(session);
                if !self.drive(script, Some(args), &mut reply) {
                    return;
                }
            }
        }
        // The transaction goes on by whoever has called this.
        self.transactions[id].waits_for_code = false;
        self.step_done(id, &reply);
    }

    /// Finds what a request calls.
    fn callee_of<'a>(
        &mut self,
        command: CommandId,
        call: ScriptCall,
        args: &'a Args<'a>,
    ) -> Result<(Callee, Request<'a>), Refusal> {
        let named = args.at(1);
        let function = match call.by {
            CalledBy::Name => {
                self.meet_libraries()?;
                let found = self.scripts.libraries.find(named);
                Some(found.ok_or(CommandError::Plain("Function not found"))?)
            }
            CalledBy::Hash if named.len() != 40 => return Err(Refusal::Unknown),
            _ => None,
        };
        let keys = count_of_keys(call, args)?;
        let callee = match (call.by, function) {
            (_, Some(function)) => Callee::Function(function),
            (CalledBy::Hash, None) => {
                let found = self.scripts.cache.find(named);
                Callee::Script(found.ok_or(Refusal::Unknown)?)
            }
            (_, None) => match self.scripts.cache.find_body(named) {
                Some(script) => Callee::Script(script),
                None => {
                    let script = self.scripts.script_of(named, false);
                    let script =
                        script.map_err(|error| CommandError::text(format!("ERR {error}")))?;
                    self.spread_script(named);
                    Callee::Script(script)
                }
            },
        };
        let request = Request {
            command,
            call,
            args,
            keys,
        };
        Ok((callee, request))
    }

    /// Tells the other workers of a script, so that they know its hash.
    fn spread_script(&mut self, body: &[u8]) {
        for shard in (0..self.shape.shards).filter(|shard| *shard != self.me) {
            let envelope = Envelope::new(FrameKind::Script, 0);
            self.links.send(shard, envelope, body);
        }
    }

    /// Another worker was sent a script.
    pub(super) fn take_script(&mut self, body: &[u8]) {
        // A script that is none was refused there.
        let _ = self.scripts.script_of(body, false);
    }

    /// True once for a hash that another worker may just have been sent.
    fn may_get_news(&mut self, index: usize, call: ScriptCall) -> bool {
        call.by == CalledBy::Hash
            && self.shape.shards > 1
            && !self.waiting.informed.remove(&index)
            && self.waiting.informed.insert(index)
    }

    /// The shards that a script needs before it begins.
    fn shards_of_script(&self, callee: &Callee, request: &Request<'_>) -> u64 {
        let all = u64::MAX >> (64 - self.shape.shards);
        let keys = request.args.iter().skip(3).take(request.keys);
        let named = keys.fold(0, |shards, key| shards | 1 << self.shard_of(key));
        if callee.is_roaming() { all } else { named }
    }

    /// The shards that a request of EXEC needs for a script: all where it names no keys.
    pub(super) fn shards_of_script_step(&self, call: ScriptCall, args: &Args<'_>) -> u64 {
        let all = u64::MAX >> (64 - self.shape.shards);
        let keys = count_of_keys(call, args).unwrap_or(0);
        let is_roaming = match call.by {
            CalledBy::Name => {
                let function = self.scripts.libraries.find(args.at(1));
                function.is_some_and(|function| function.is_roaming.get())
            }
            CalledBy::Hash => self.scripts.cache.is_roaming(args.at(1)),
            CalledBy::Text => self.scripts.cache.is_body_roaming(args.at(1)),
        };
        if keys == 0 || is_roaming {
            return all;
        }
        let keys = args.iter().skip(3).take(keys);
        keys.fold(0, |shards, key| shards | 1 << self.shard_of(key))
    }

    /// The keys that a request names for a script.
    pub(super) fn keys_of_script<'a>(
        call: ScriptCall,
        args: &Args<'a>,
    ) -> impl Iterator<Item = &'a [u8]> {
        let keys = count_of_keys(call, args).unwrap_or(0);
        args.iter().skip(3).take(keys)
    }

    /// Makes a script ready, if it may run now.
    fn prepare_script(
        &mut self,
        callee: Callee,
        request: &Request<'_>,
    ) -> Result<Run, CommandError> {
        self.check_flags(callee.flags(), request.call)?;
        let behind = request.args.from(3);
        let given = Given {
            keys: Args::new(behind.bytes(), &behind.spans()[..request.keys]),
            arguments: behind.from(request.keys),
        };
        self.scripts
            .start(callee, &given)
            .map_err(|error| CommandError::text(format!("ERR {error}")))
    }

    /// Refuses a script that says of itself what does not fit.
    fn check_flags(&mut self, flags: ScriptFlags, call: ScriptCall) -> Outcome {
        if flags.has(ScriptFlags::UNDECLARED) || flags.has(ScriptFlags::NO_WRITES) {
            return Ok(());
        }
        if call.read_only {
            return Err(CommandError::Plain(
                "Can not execute a script with write flag using *_ro command.",
            ));
        }
        let may_be_full = !flags.has(ScriptFlags::ALLOW_OOM) && self.shard.is_over_limit();
        if may_be_full && !self.shard.relieve(self.now, RELIEF_STEPS) {
            return Err(CommandError::text(
                "OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'",
            ));
        }
        Ok(())
    }

    fn new_script(
        &mut self,
        run: Run,
        request: &Request<'_>,
        origin: Origin,
        client: u64,
    ) -> ScriptRun {
        let flags = run.callee.flags();
        ScriptRun {
            read_only: request.call.read_only || flags.has(ScriptFlags::NO_WRITES),
            run,
            origin,
            held: Held::Nothing,
            command: request.command,
            args: None,
            client,
            user: None,
            ack: AckChoice::Default,
            tracks: false,
            db: 0,
            protocol: Protocol::Resp2,
            has_written: false,
            may_begin_again: false,
            random: self.scripts.random_state(),
            time_us: None,
            is_killed: false,
            pending: None,
            started_at: self.now,
            nanoseconds: 0,
            is_ready: false,
            is_busy: false,
        }
    }

    /// The user of a session, if there are requests that it may not make.
    fn restricted_user(&mut self, at: SessionRef) -> Option<(SessionRef, Arc<User>)> {
        let session = self.session(at)?;
        let user = &session.user;
        (!user.is_unrestricted()).then(|| (at, Arc::clone(user)))
    }

    /// Holds the own shard, which is free.
    pub(super) fn hold_own(&mut self) -> Held {
        self.publish_events();
        let tag = self.next_tag();
        let coordinator = self.me;
        let reservation = Reservation {
            coordinator,
            tag,
            is_alone: true,
            since: 0,
        };
        self.reserved = Some(reservation);
        self.begin_group(&reservation);
        Held::Own {
            tag,
            excludes: false,
        }
    }

    /// The transaction of a script that waits.
    pub(super) fn transaction_of_script(&self, script: usize) -> Option<usize> {
        match self.waiting.scripts.get(script)?.held {
            Held::Transaction(id) => Some(id),
            Held::Own { .. } | Held::Nothing => None,
        }
    }

    /// The acknowledgement that the client behind a script that waits has chosen.
    pub(super) fn ack_of_script(&self, script: usize) -> AckChoice {
        let script = self.waiting.scripts.get(script);
        script.map_or(AckChoice::Default, |script| script.ack)
    }

    /// The client behind a script that waits.
    pub(super) fn client_of_script(&self, script: usize) -> u64 {
        self.waiting
            .scripts
            .get(script)
            .map_or(0, |script| script.client)
    }

    /// Counts a script that has ended elsewhere than in the round in which it came.
    pub(super) fn account_script(
        &mut self,
        (command, client, spent): (CommandId, u64, u64),
        args: &Args<'_>,
        reply: &[u8],
    ) {
        let failed = reply.first() == Some(&b'-');
        self.stats.executed(command.index(), spent, failed);
        self.stats.add(Counter::CommandsProcessed, 1);
        if failed {
            self.observations.count_error(reply);
            self.stats.add(Counter::ErrorReplies, 1);
        }
        if spent >= self.observations.slow_ns {
            self.note_slow(client, None, command, args, spent);
        }
    }

    /// The session and slot of a script that waits from now on.
    pub(super) fn suspend_for_script(&mut self, index: usize) -> (SessionRef, u64) {
        let session = &mut self.sessions[index];
        let (at, slot) = (session.at, session.open_slot());
        self.set_wait(index, Wait::Answer);
        (at, slot)
    }
}
