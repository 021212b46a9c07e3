//! Scripts under way: what they ask for, and how they wait.

use super::Engine;
use super::denials::DeniedWhere;
use super::job::{Job, Lends, MaySteps, Ran};
use super::pending::{SessionRef, Waiter};
use super::reservation::Ending;
use super::script_queries::write_time;
use super::scripts::{Held, Origin, ScriptRun};
use super::session::{Queued, Wait};
use super::transaction::{ScriptHolder, Transaction};
use crate::commands::{CommandError, CommandId, Flags, Run, SessionCommand, database_argument};
use crate::resp::{Args, ArgsBuffer, Reply};
use crate::script::{Ask, Resume};
use crate::stats::Counter;

/// What became of a request of a script.
enum Step {
    /// The answer is there.
    Answered,
    /// The script waits, or has begun again elsewhere.
    Gone,
}

/// How a request of a script is executed.
enum Way {
    Here,
    /// At another owner, whose shard is held.
    At(usize),
    /// As a transaction in that of the script.
    Nested,
    /// When these shards are held.
    Later(u64),
}

/// Errors in Redis's words.
const UNKNOWN_COMMAND: &str = "ERR Unknown Redis command called from script";
const WRONG_COUNT: &str = "ERR Wrong number of args calling Redis command from script";
const NOT_ALLOWED: &str = "ERR This Redis command is not allowed from script";
const READ_ONLY: &str = "ERR Write commands are not allowed from read-only scripts.";
const UNDECLARED: &str = "ERR Script attempted to access a key that it has not declared, in a shard of no declared \
                          key, after it has written. Declare all keys, or none";

/// The error of a request that the user may not make.
fn in_script(error: &CommandError) -> CommandError {
    let text = error.to_string();
    let reason = text.strip_prefix("NOPERM ").unwrap_or(&text);
    CommandError::text(format!("ERR ACL failure in script: {reason}"))
}

impl Engine {
    /// Lets a script go on until it has ended, or waits. True when it has ended: its reply is at the end of `out`.
    pub(super) fn drive(
        &mut self,
        mut script: ScriptRun,
        args: Option<&Args<'_>>,
        out: &mut Vec<u8>,
    ) -> bool {
        let mut began = (self.clock.ticks)();
        loop {
            let how = if script.is_killed {
                Resume::Kill
            } else {
                Resume::On
            };
            let ask = script.run.resume(how);
            let now = (self.clock.ticks)();
            script.nanoseconds += self.clock.nanoseconds(now.wrapping_sub(began));
            began = now;
            self.ticks = now;
            match ask {
                Ask::Done => {
                    self.end_script(script, args, out);
                    return true;
                }
                Ask::Slice => {
                    let id = self.suspend_script(script, args);
                    self.waiting.scripts[id].is_ready = true;
                    self.waiting.turns.push_back(id);
                    return false;
                }
                Ask::Permission => self.answer_permission(&script),
                Ask::Command => match self.script_request(script, args) {
                    (Some(returned), Step::Answered) => {
                        script = returned;
                        script.nanoseconds +=
                            self.clock.nanoseconds(self.ticks.wrapping_sub(began));
                        began = self.ticks;
                    }
                    _ => return false,
                },
            }
        }
    }

    /// Ends a script: its reply goes to `out`, and what it held for itself is free.
    fn end_script(&mut self, script: ScriptRun, args: Option<&Args<'_>>, out: &mut Vec<u8>) {
        let start = out.len();
        if let Held::Own { excludes, .. } = script.held {
            self.close_savepoints(true);
            if let Some(reservation) = self.reserved {
                self.end_group(&reservation, &Ending::without_decision(0));
            }
            self.reserved = None;
            if excludes {
                self.shard.release();
            }
        }
        let (command, client, nanoseconds) = (script.command, script.client, script.nanoseconds);
        self.scripts.finish(script.run, script.protocol, out);
        self.report_logs();
        // A session counts what is executed in the round in which it came.
        if !matches!(script.origin, Origin::Session(_)) {
            let kept = script.args.as_ref().map(ArgsBuffer::as_args);
            let nothing = Args::new(b"", &[]);
            let args = kept.as_ref().or(args).unwrap_or(&nothing);
            self.account_script((command, client, nanoseconds), args, &out[start..]);
        }
    }

    fn answer_permission(&mut self, script: &ScriptRun) {
        let request = script.run.take_request();
        let mut answer = script.run.take_answer();
        let args = request.as_args();
        let may = match &script.user {
            Some((_, user)) => self.allows(user, &args),
            None => self.table.lookup(&args).map(|_| true),
        };
        answer.extend_from_slice(match may {
            Ok(true) => b":1\r\n",
            Ok(false) => b":0\r\n",
            Err(_) => b"_\r\n",
        });
        script.run.answer(answer);
        script.run.give_request(request);
    }

    /// Executes a request of a script, or lets the script wait for it.
    fn script_request(
        &mut self,
        mut script: ScriptRun,
        args: Option<&Args<'_>>,
    ) -> (Option<ScriptRun>, Step) {
        let request = script.run.take_request();
        let mut answer = script.run.take_answer();
        let way = match self.check_script_request(&script, &request.as_args()) {
            Err(error) => {
                error.write(&mut Reply::new(&mut answer, script.run.protocol()));
                None
            }
            Ok(command) => {
                self.show_script_request(&script, command, &request.as_args());
                let own =
                    self.run_without_shard(&mut script, command, &request.as_args(), &mut answer);
                (!own).then(|| (command, self.way_of(&script, command, &request.as_args())))
            }
        };
        match way {
            None => {}
            Some((command, Way::Here)) => {
                let done =
                    self.run_script_job(&mut script, command, &request.as_args(), &mut answer);
                if !done {
                    script.run.answer(answer);
                    self.nest_script_request(script, args, command, request);
                    return (None, Step::Gone);
                }
            }
            Some((command, Way::At(shard))) => {
                script.run.answer(answer);
                self.send_script_request(script, args, (shard, command), request);
                return (None, Step::Gone);
            }
            Some((command, Way::Nested)) => {
                script.run.answer(answer);
                self.nest_script_request(script, args, command, request);
                return (None, Step::Gone);
            }
            Some((_, Way::Later(shards))) => {
                script.run.answer(answer);
                return self.widen_script(script, args, shards, request);
            }
        }
        script.run.answer(answer);
        script.run.give_request(request);
        (Some(script), Step::Answered)
    }

    /// The command of a request, if the script may call it now.
    fn check_script_request(
        &mut self,
        script: &ScriptRun,
        args: &Args<'_>,
    ) -> Result<CommandId, CommandError> {
        let error = |text: &'static str| Err(CommandError::text(text));
        let Ok(command) = self.table.lookup(args) else {
            return match self.table.named(args) {
                Some(_) => error(WRONG_COUNT),
                None => error(UNKNOWN_COMMAND),
            };
        };
        let row = self.table.spec(command);
        if row.flags.has(Flags::NOSCRIPT) || matches!(row.run, Run::Script(_)) {
            return error(NOT_ALLOWED);
        }
        if let Some((at, user)) = script.user.clone() {
            let checked = self.check_for(at, &user, command, args, DeniedWhere::Script);
            checked.map_err(|error| in_script(&error))?;
        }
        let writes = row.flags.has(Flags::WRITE) || row.flags.has(Flags::MAY_REPLICATE);
        if script.read_only && writes {
            return error(READ_ONLY);
        }
        row.check_steps(args)?;
        if let Held::Transaction(id) = script.held
            && !self.transactions[id].is_whole()
        {
            return error("ERR a shard that the script holds was restarted");
        }
        Ok(command)
    }

    fn show_script_request(&mut self, script: &ScriptRun, command: CommandId, args: &Args<'_>) {
        let flags = self.table.spec(command).flags;
        if self.gate.is_monitored() && !flags.has(Flags::SKIP_MONITOR) && !flags.has(Flags::ADMIN) {
            self.feed_monitors_of_script(script.db, command, args);
        }
    }

    /// Executes what is about the script itself, and needs no shard; false for everything else.
    fn run_without_shard(
        &mut self,
        script: &mut ScriptRun,
        command: CommandId,
        args: &Args<'_>,
        answer: &mut Vec<u8>,
    ) -> bool {
        use SessionCommand as Command;
        let Run::Session(own) = self.table.spec(command).run else {
            return false;
        };
        let mut reply = Reply::new(answer, script.run.protocol());
        match own {
            Command::Publish | Command::SPublish => return false,
            Command::Ping if args.len() == 1 => reply.simple("PONG"),
            Command::Ping | Command::Echo if args.len() == 2 => reply.bulk(args.at(1)),
            Command::Ping => reply.error("ERR wrong number of arguments for 'ping' command"),
            Command::Time => {
                let at = *script.time_us.get_or_insert_with(self.clock.unix_us);
                write_time(at, &mut reply);
            }
            Command::Select => {
                let databases = self.options.limits.databases;
                match database_argument(args.at(1), databases) {
                    Ok(db) => {
                        script.db = db;
                        reply.ok();
                    }
                    Err(error) => error.write(&mut reply),
                }
            }
            Command::ReadOnly | Command::ReadWrite | Command::Asking => reply.ok(),
            _ => reply.error(NOT_ALLOWED),
        }
        self.ticks = (self.clock.ticks)();
        self.stats
            .executed(command.index(), 0, answer.first() == Some(&b'-'));
        self.stats.add(Counter::CommandsProcessed, 1);
        true
    }

    fn way_of(&self, script: &ScriptRun, command: CommandId, args: &Args<'_>) -> Way {
        let row = self.table.spec(command);
        let needs_no_shard = matches!(
            row.run,
            Run::Session(_) | Run::Python | Run::Container | Run::Help
        );
        let all = u64::MAX >> (64 - self.shape.shards);
        let shards = match self.shards_of(command, args) {
            // Its handler will refuse it.
            0 if !needs_no_shard => 1 << self.me,
            shards => shards,
        };
        let held = match script.held {
            Held::Nothing => 0,
            Held::Own { .. } => 1 << self.me,
            Held::Transaction(id) => self.transactions[id].reserved_shards(),
        };
        if shards & !held != 0 {
            return Way::Later(if held == 0 { all } else { shards });
        }
        if needs_no_shard || !shards.is_power_of_two() {
            return Way::Nested;
        }
        match shards.trailing_zeros() as usize {
            shard if shard == self.me => Way::Here,
            shard => Way::At(shard),
        }
    }

    /// Executes a request of a script on the own shard. False for one that is to be executed in steps, and has changed
    /// nothing.
    fn run_script_job(
        &mut self,
        script: &mut ScriptRun,
        command: CommandId,
        args: &Args<'_>,
        answer: &mut Vec<u8>,
    ) -> bool {
        self.note_write(script, command);
        let job = Job {
            command,
            args,
            hash: None,
            db: script.db,
            protocol: script.run.protocol(),
            may_wait: false,
            in_steps: MaySteps::MayAsk,
            origin: self.origin_of_script(script, command),
            ack: script.ack,
        };
        let before = self.shard.number();
        let ran = self.run_job(&job, answer, Lends::Nothing);
        if matches!(ran, Ran::Long) {
            return false;
        }
        assert!(ran.is_done(), "it was not allowed to wait");
        self.account(&job, script.client, answer);
        if let Held::Transaction(id) = script.held {
            let part = self.part_of_group(script.ack, before);
            self.note_part_of(id, self.me, part);
        }
        true
    }

    fn send_script_request(
        &mut self,
        mut script: ScriptRun,
        args: Option<&Args<'_>>,
        (shard, command): (usize, CommandId),
        request: ArgsBuffer,
    ) {
        self.note_write(&mut script, command);
        let (db, protocol) = (script.db, script.run.protocol());
        let id = self.suspend_script(script, args);
        let tag = match self.waiting.scripts[id].held {
            Held::Transaction(transaction) => self.transactions[transaction].tag,
            _ => 0,
        };
        let waiter = Waiter::Script { script: id };
        self.send_request(
            shard,
            waiter,
            command,
            &request.as_args(),
            None,
            db,
            protocol,
            tag,
        );
        self.waiting.scripts[id].run.give_request(request);
    }

    /// Executes a request of a script that needs more than one shard, or Python, or steps, in the transaction of the script.
    fn nest_script_request(
        &mut self,
        mut script: ScriptRun,
        args: Option<&Args<'_>>,
        command: CommandId,
        request: ArgsBuffer,
    ) {
        self.note_write(&mut script, command);
        let (db, protocol) = (script.db, script.run.protocol());
        let tracks = script.tracks;
        let id = self.suspend_script(script, args);
        let Held::Transaction(parent) = self.waiting.scripts[id].held else {
            return;
        };
        let queued = Queued {
            command,
            args: request,
        };
        let of = &self.transactions[parent];
        let mut nested = Transaction::of_script_request(queued, id, parent, of);
        (nested.db, nested.protocol, nested.tracks) = (db, protocol, tracks);
        self.transactions[parent].nesting.add_child();
        self.begin_transaction(nested);
    }

    /// Lets a script wait for shards that it does not hold. One that holds others already begins again, as none of
    /// these can be taken out of order.
    fn widen_script(
        &mut self,
        mut script: ScriptRun,
        args: Option<&Args<'_>>,
        shards: u64,
        request: ArgsBuffer,
    ) -> (Option<ScriptRun>, Step) {
        let is_own = self.shape.shards == 1 && self.reserved.is_none();
        match script.held {
            Held::Nothing if is_own => {
                script.held = self.hold_own();
                script.run.give_request(request);
                self.script_request(script, args)
            }
            Held::Nothing => {
                script.pending = Some(request);
                let id = self.suspend_script(script, args);
                if let Held::Transaction(transaction) = self.waiting.scripts[id].held {
                    self.reserve_for_script(transaction, id, shards);
                }
                (None, Step::Gone)
            }
            Held::Transaction(id) if self.transactions[id].reserved_shards() == 0 => {
                script.pending = Some(request);
                let waiting = self.suspend_script(script, args);
                self.reserve_for_script(id, waiting, shards);
                (None, Step::Gone)
            }
            _ if !script.may_begin_again && (script.has_written || self.is_in_exec(&script)) => {
                script.run.callee.set_roaming();
                let mut answer = script.run.take_answer();
                Reply::new(&mut answer, script.run.protocol()).error(UNDECLARED);
                script.run.answer(answer);
                script.run.give_request(request);
                (Some(script), Step::Answered)
            }
            _ => {
                self.begin_again(script, args);
                (None, Step::Gone)
            }
        }
    }

    /// True for a script whose transaction has done something before it, or will behind it.
    fn is_in_exec(&self, script: &ScriptRun) -> bool {
        match script.held {
            Held::Transaction(id) => {
                matches!(script.origin, Origin::Step) && self.transactions[id].exec
            }
            Held::Nothing | Held::Own { .. } => false,
        }
    }

    fn reserve_for_script(&mut self, transaction: usize, script: usize, shards: u64) {
        self.transactions[transaction].want(shards);
        self.transactions[transaction].waiting_script = Some(script);
        self.reserve_next(transaction);
    }

    /// Makes a script wait, by its number among those that do. From now on it has a transaction.
    fn suspend_script(&mut self, mut script: ScriptRun, args: Option<&Args<'_>>) -> usize {
        if script.args.is_none() {
            script.args = args.map(|args| (*args).into());
        }
        self.hold_by_transaction(&mut script);
        self.waiting.scripts.insert(script)
    }

    /// The transaction of a script, which has what the script holds.
    pub(super) fn hold_by_transaction(&mut self, script: &mut ScriptRun) -> usize {
        let (tag, reserved) = match script.held {
            Held::Transaction(id) => return id,
            Held::Nothing => (self.next_tag(), Vec::new()),
            Held::Own { tag, excludes } => {
                if !excludes {
                    self.shard.reserve();
                }
                (tag, vec![self.me])
            }
        };
        let nobody = SessionRef {
            index: usize::MAX,
            client: script.client,
        };
        let (session, slot, asker) = match script.origin {
            Origin::Session(index) => {
                let (session, slot) = self.suspend_for_script(index);
                (session, slot, None)
            }
            Origin::Asker(asker) => (nobody, 0, Some(asker)),
            Origin::Step => (nobody, 0, None),
        };
        let holder = ScriptHolder {
            session,
            slot,
            db: script.db,
            protocol: script.protocol,
            asker,
        };
        let has_held = !reserved.is_empty();
        let mut transaction = Transaction::of_script(holder, tag, reserved);
        (transaction.ack, transaction.tracks) = (script.ack, script.tracks);
        transaction.again = self.again_of(script);
        let id = self.transactions.insert(transaction);
        if has_held && script.has_written {
            let part = self.part_of_group(script.ack, 0);
            self.note_part_of(id, self.me, part);
        }
        script.held = Held::Transaction(id);
        // What it asks for from now on is not what its session has in hand.
        if matches!(script.origin, Origin::Session(_)) {
            script.origin =
                Origin::Asker(super::parked::Asker::Here(Waiter::Slot { session, slot }));
        }
        id
    }

    /// The answer to a request of a script is there.
    pub(super) fn script_answered(&mut self, id: usize, reply: &[u8]) {
        let Some(script) = self.waiting.scripts.get(id) else {
            return;
        };
        let mut answer = script.run.take_answer();
        answer.extend_from_slice(reply);
        script.run.answer(answer);
        self.continue_script(id);
    }

    /// Lets a script go on that has waited.
    pub(super) fn continue_script(&mut self, id: usize) {
        let mut script = self.waiting.scripts.remove(id);
        script.is_ready = false;
        let Held::Transaction(transaction) = script.held else {
            return;
        };
        if let Some(request) = script.pending.take() {
            script.run.give_request(request);
            match self.script_request(script, None) {
                (Some(returned), Step::Answered) => script = returned,
                _ => return,
            }
        }
        let mut reply = Vec::new();
        if self.drive(script, None, &mut reply) {
            self.code_step_done(transaction, reply);
        }
    }

    /// Lets sessions go on that wait for news of scripts, and the next script in turn run for a slice.
    pub(super) fn step_scripts(&mut self) {
        let news = std::mem::take(&mut self.waiting.news);
        if !news.is_empty() {
            // What others have sent meanwhile is in the rings.
            self.poll();
        }
        for index in news {
            let waits = |session: &super::session::Session| session.wait == Wait::News;
            if self.sessions.get(index).is_some_and(waits) {
                self.resume(index);
            }
        }
        self.read_clock();
        self.step_script();
        self.settle();
    }

    /// A slice of the next script in turn.
    fn step_script(&mut self) {
        let Some(id) = self.waiting.turns.pop_front() else {
            return;
        };
        let is_ready = |script: &ScriptRun| script.is_ready;
        if self.waiting.scripts.get(id).is_some_and(is_ready) {
            self.note_busy(id);
            self.continue_script(id);
        }
    }
}
