//! The gate between a request and its execution, in one place: authentication, rules of the user, subscriptions, what the shard does
//! just now, pauses, monitors, MULTI.

use super::Engine;
use super::dispatch::Flow;
use super::options::Allowed;
use super::session::{Gates, Queued, Session, Wait};
use crate::commands::{CommandError, CommandId, Flags, Run, SessionCommand};
use crate::resp::{Args, Reply};
use crate::stats::Counter;

/// The state of a worker's shard: it decides what is executed there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ShardState {
    /// It answers everything.
    #[default]
    Serving,
    /// It is being filled, and answers nothing about keys.
    Loading,
    /// It follows another node's shard: clients read it, and only that changes it.
    Following,
    /// It could not be filled, and answers with the reason.
    Failed,
}

impl ShardState {
    /// The state of which `as u8` gives this number.
    pub(super) fn from_number(number: u8) -> Option<Self> {
        [Self::Serving, Self::Loading, Self::Following, Self::Failed]
            .into_iter()
            .find(|state| *state as u8 == number)
    }

    /// True while the shard has not all of its keys.
    fn is_absent(self) -> bool {
        matches!(self, Self::Loading | Self::Failed)
    }

    /// The error of a transaction for that of one of its requests. Who may try again soon has to see that.
    pub(super) fn refusal_of(self, error: CommandError, is_exec: bool) -> CommandError {
        match self {
            Self::Failed if is_exec => error.of_exec(),
            _ => error,
        }
    }

    /// The error of a command that the shard does not execute in this state. `failure` says why it could not be filled.
    pub(super) fn refusal(self, flags: Flags, failure: &str) -> Option<CommandError> {
        match self {
            Self::Loading if !flags.has(Flags::LOADING) => Some(CommandError::Loading),
            Self::Failed if !flags.has(Flags::LOADING) => {
                Some(CommandError::text(format!("MISCONF {failure}")))
            }
            Self::Following if flags.has(Flags::WRITE) => Some(CommandError::ReadOnly),
            _ => None,
        }
    }
}

/// The reasons to hold or refuse requests of all sessions.
#[derive(Default)]
pub(super) struct Gate {
    pause: Pause,
    state: ShardState,
    /// Why the own shard could not be filled.
    failure: Box<str>,
    monitored: bool,
    /// A script that runs for long holds the own shard.
    busy: bool,
    /// The disk of the log is behind.
    log_behind: bool,
    /// Workers with requests that wait for that disk.
    held_workers: u64,
    /// Sessions with bytes of long values that the log has not taken yet.
    ahead: Vec<usize>,
    /// Any of these is in force.
    closed: bool,
}

impl Gate {
    /// True while requests are to be looked at more closely, whoever sent them.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// True while requests are shown to monitors.
    pub fn is_monitored(&self) -> bool {
        self.monitored
    }

    #[inline]
    pub fn set_monitored(&mut self, on: bool) {
        if self.monitored != on {
            self.monitored = on;
            self.refresh();
        }
    }

    pub fn is_busy(&self) -> bool {
        self.busy
    }

    pub fn set_busy(&mut self, on: bool) {
        if self.busy != on {
            self.busy = on;
            self.refresh();
        }
    }

    pub fn state(&self) -> ShardState {
        self.state
    }

    /// True while the own shard has not all of its keys.
    pub fn is_absent(&self) -> bool {
        self.state.is_absent()
    }

    /// Why the own shard could not be filled; empty where it could.
    pub fn failure(&self) -> &str {
        &self.failure
    }

    /// The error of a command that the own shard does not execute now.
    pub fn refusal(&self, flags: Flags) -> Option<CommandError> {
        self.state.refusal(flags, &self.failure)
    }

    pub fn is_log_behind(&self) -> bool {
        self.log_behind
    }

    pub fn set_log_behind(&mut self, on: bool) {
        self.log_behind = on;
        self.held_workers = 0;
        self.refresh();
    }

    /// True where a request of one of these workers waits for the disk of the log.
    pub fn has_held(&self, workers: u64) -> bool {
        self.held_workers & workers != 0
    }

    /// Remembers a session with bytes of a long value that the log has not taken yet.
    pub fn add_ahead(&mut self, index: usize) {
        if self.ahead.last() != Some(&index) {
            self.ahead.push(index);
        }
    }

    pub fn take_ahead(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.ahead)
    }

    /// Remembers that a request of these workers waits for the disk of the log.
    pub fn hold_behind(&mut self, workers: u64) {
        self.held_workers |= workers;
    }

    /// True while long values are not received into their pages.
    pub fn keeps_values_out(&self) -> bool {
        self.monitored || self.busy || self.pause.is_on() || self.state != ShardState::Serving
    }

    /// Remembers a session that the pause, or the disk of the log, holds.
    pub fn add_paused(&mut self, index: usize) {
        self.pause.sessions.push(index);
    }

    fn refresh(&mut self) {
        self.closed = self.keeps_values_out() || self.log_behind;
    }
}

/// CLIENT PAUSE.
#[derive(Default)]
struct Pause {
    until: u64,
    writes_only: bool,
    sessions: Vec<usize>,
}

impl Pause {
    fn is_on(&self) -> bool {
        self.until != 0
    }
}

impl Engine {
    /// Pauses clients until a moment in Unix ms. A longer pause that is in force already stays.
    pub fn pause(&mut self, until: u64, writes_only: bool) {
        let pause = &mut self.gate.pause;
        pause.writes_only = writes_only && (pause.writes_only || !pause.is_on());
        pause.until = pause.until.max(until);
        self.gate.refresh();
    }

    /// Ends a pause.
    pub fn unpause(&mut self) {
        self.gate.pause.until = 0;
        self.gate.refresh();
        self.resume_held();
        self.settle();
    }

    /// Lets sessions try again that the pause, or the disk of the log, has held.
    pub(super) fn resume_held(&mut self) {
        for index in std::mem::take(&mut self.gate.pause.sessions) {
            if self
                .sessions
                .get(index)
                .is_some_and(|session| session.wait == Wait::Pause)
            {
                self.resume(index);
            }
        }
    }

    /// Ends a pause whose time is over.
    pub(super) fn end_pause_in_time(&mut self) {
        let pause = &self.gate.pause;
        if pause.is_on() && self.now >= pause.until {
            self.unpause();
        }
    }

    /// Says what the own shard is there for from now on.
    pub fn set_shard_state(&mut self, state: ShardState) {
        let (was_absent, is_absent) = (self.gate.state.is_absent(), state.is_absent());
        self.gate.state = state;
        if state != ShardState::Failed {
            self.gate.failure = Box::default();
        }
        if was_absent != is_absent {
            self.shard.hide(is_absent);
            // What has expired meanwhile is removed when the numbers are known.
            self.shard.follow(is_absent);
        }
        self.stats.set(Counter::ShardServes, u64::from(!is_absent));
        self.gate.refresh();
        if state == ShardState::Following {
            self.end_waiting_writes();
            self.settle();
        }
    }

    /// Refuses requests for the own shard with the reason why it could not be filled, until its state is another.
    pub fn fail_shard(&mut self, reason: &str) {
        self.set_shard_state(ShardState::Failed);
        self.gate.failure = reason.into();
    }

    /// True where another worker has its shard.
    #[must_use]
    pub fn others_serve(&self) -> bool {
        let mut others = (0..self.shape.shards).filter(|shard| *shard != self.me);
        others.any(|shard| self.control.stats(shard).get(Counter::ShardServes) != 0)
    }

    /// Why a request is not executed in the state that the own shard is in. One that needs other shards only is a
    /// matter of these; one that needs none is refused while no shard serves, as where there is but one.
    fn refusal_by_state(&self, command: CommandId, args: &Args<'_>) -> Option<CommandError> {
        let row = self.table.spec(command);
        let refusal = self.gate.refusal(row.flags)?;
        if !self.gate.is_absent() {
            return Some(refusal);
        }
        let needed = match row.run {
            // It asks for shards when it names its first key.
            Run::Script(call) if Self::keys_of_script(call, args).next().is_none() => 0,
            _ => self.shards_of(command, args),
        };
        let is_refused = match needed {
            0 => !self.others_serve(),
            needed => needed & (1 << self.me) != 0,
        };
        is_refused.then_some(refusal)
    }

    /// True for a session whose next request has to pass the gate.
    #[inline(always)]
    pub(super) fn is_gated(&self, index: usize) -> bool {
        self.sessions[index].gates.is_slow() || self.gate.is_closed()
    }

    /// True for a session whose next request has to pass the gate for another reason than the rules of its user.
    #[inline]
    pub(super) fn is_held(&self, index: usize) -> bool {
        self.sessions[index].gates.is_held() || self.gate.keeps_values_out()
    }

    /// `Some` when the request is not to be executed now.
    pub(super) fn pass_gate(
        &mut self,
        index: usize,
        command: CommandId,
        args: &Args<'_>,
    ) -> Option<Flow> {
        let row = self.table.spec(command);
        let (flags, run) = (row.flags, row.run);
        let name = row.name;
        let gates = self.sessions[index].gates;
        if gates.any(Gates::UNAUTHENTICATED) && !flags.has(Flags::NO_AUTH) {
            self.refuse(
                index,
                Some(command),
                &CommandError::text("NOAUTH Authentication required."),
            );
            return Some(Flow::Done);
        }
        if gates.any(Gates::RESTRICTED)
            && let Some(error) = self.refusal_by_rules(index, command, args)
        {
            self.refuse(index, Some(command), &error);
            return Some(Flow::Done);
        }
        if gates.any(Gates::SUBSCRIBED) && !flags.has(Flags::IN_SUBSCRIBED) {
            let text = format!(
                "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are \
                 allowed in this context"
            );
            self.refuse(index, Some(command), &CommandError::text(text));
            return Some(Flow::Done);
        }
        if let Some(error) = self.refusal_by_state(command, args) {
            self.refuse(index, Some(command), &error);
            return Some(Flow::Done);
        }
        if gates.any(Gates::TRACKING) {
            self.decide_tracking(index, command);
        }
        if let Some(error) = self.busy_refusal(command, args) {
            self.refuse(index, Some(command), &error);
            return Some(Flow::Done);
        }
        let waits = self.must_pause(index, command, &run)
            || self.gate.is_log_behind() && self.must_wait_for_log(index, command, args);
        if waits {
            return Some(Flow::Again(Wait::Pause));
        }
        if gates.any(Gates::REPLY_SKIP) {
            let session = &mut self.sessions[index];
            session.gates.set(Gates::REPLY_SKIP, false);
            session.mute_this = true;
        }
        if self.gate.monitored
            && !flags.has(Flags::SKIP_MONITOR)
            && !gates.any(Gates::MONITOR)
            && !flags.has(Flags::ADMIN)
        {
            // Once, however often it has to wait.
            if !std::mem::take(&mut self.sessions[index].is_shown) {
                self.feed_monitors(index, command, args);
            }
        }
        if gates.any(Gates::MULTI) && !flags.has(Flags::IN_MULTI) {
            self.queue(index, command, args, flags);
            return Some(Flow::Done);
        }
        None
    }

    fn must_pause(&self, index: usize, command: CommandId, run: &Run) -> bool {
        let pause = &self.gate.pause;
        if !pause.is_on() {
            return false;
        }
        let flags = self.table.spec(command).flags;
        if !pause.writes_only {
            return !flags.has(Flags::NEVER_PAUSED);
        }
        let writes = |flags: Flags| flags.has(Flags::WRITE) || flags.has(Flags::MAY_REPLICATE);
        match run {
            Run::Session(SessionCommand::Exec) => {
                self.sessions[index].details().is_some_and(|details| {
                    let mut queue = details.multi.queue.iter();
                    queue.any(|queued| writes(self.table.spec(queued.command).flags))
                })
            }
            _ => writes(flags),
        }
    }

    /// Why a session may not use a command that is protected.
    pub(super) fn refusal_of_protected(
        &self,
        index: usize,
        command: CommandId,
    ) -> Option<CommandError> {
        let spec = self.table.spec(command);
        if !spec.flags.has(Flags::PROTECTED) {
            return None;
        }
        let is_allowed = match self.options.debug_allowed {
            Allowed::Nobody => false,
            Allowed::Local => self.sessions[index].is_local(),
            Allowed::Everyone => true,
        };
        (!is_allowed).then(|| {
            let name = spec.name.to_ascii_uppercase();
            CommandError::text(format!(
                "ERR {name} command not allowed. If the enable-debug-command option is set to \"local\", you can run \
                 it from a local connection, otherwise you need to set this option in the configuration file, and then \
                 restart the server."
            ))
        })
    }

    /// True for a session whose client is waited for by nobody: what a pause holds, and a command that blocks, end
    /// with the client's last byte.
    pub(super) fn ends_with_input(&self, index: usize) -> bool {
        let session = &self.sessions[index];
        session.wait == Wait::Pause || self.is_blocked(session)
    }

    /// True for a command that may wait for something else than work.
    #[must_use]
    pub fn is_blocking(&self, command: CommandId) -> bool {
        self.table.spec(command).flags.has(Flags::BLOCKING)
    }

    /// True for a session in a command that blocks.
    pub(super) fn is_blocked(&self, session: &Session) -> bool {
        session.wait == Wait::Answer
            && session
                .last_command
                .is_some_and(|command| self.is_blocking(command))
    }

    /// True for a session that counts as blocked where its client is. Who waits for a key is counted where its place
    /// in the order is taken: a client that comes when it has been counted comes behind it.
    pub(super) fn is_counted_as_blocked(&self, index: usize) -> bool {
        let session = &self.sessions[index];
        let command = session.last_command.filter(|_| self.is_blocked(session));
        command.is_some_and(|command| matches!(self.table.spec(command).run, Run::Python))
    }

    fn queue(&mut self, index: usize, command: CommandId, args: &Args<'_>, flags: Flags) {
        if flags.has(Flags::NO_MULTI) {
            let error = CommandError::Plain("Command not allowed inside a transaction");
            self.refuse(index, Some(command), &error);
            return;
        }
        if let Some(error) = self.refusal_of_protected(index, command) {
            self.refuse(index, Some(command), &error);
            return;
        }
        if self.is_refused_for_memory(command) {
            self.refuse(index, Some(command), &CommandError::OutOfMemory);
            return;
        }
        let session = &mut self.sessions[index];
        session.last_command = Some(command);
        let muted = session.gates.any(Gates::REPLY_OFF) || std::mem::take(&mut session.mute_this);
        session.details_mut().multi.queue.push(Queued {
            command,
            args: (*args).into(),
        });
        let protocol = session.protocol;
        if !muted {
            Reply::new(session.reply_target(), protocol).simple("QUEUED");
        }
    }
}
