//! What stands between a request and its execution: authentication, MULTI, subscriptions, pauses, monitors.

use super::Engine;
use super::dispatch::Flow;
use super::session::{Gates, Queued, Wait};
use crate::commands::{CommandError, CommandId, Flags, Run, SessionCommand};
use crate::resp::{Args, Reply};

/// CLIENT PAUSE.
#[derive(Default)]
pub(super) struct Pause {
    until: u64,
    writes_only: bool,
    sessions: Vec<usize>,
}

impl Pause {
    #[inline]
    pub fn is_on(&self) -> bool {
        self.until != 0
    }

    pub fn add(&mut self, index: usize) {
        self.sessions.push(index);
    }
}

impl Engine {
    /// Pauses clients until a moment in Unix ms. A longer pause that is in force already stays.
    pub fn pause(&mut self, until: u64, writes_only: bool) {
        self.pause.writes_only = writes_only && (self.pause.writes_only || !self.pause.is_on());
        self.pause.until = self.pause.until.max(until);
    }

    /// Ends a pause.
    pub fn unpause(&mut self) {
        self.pause.until = 0;
        for index in std::mem::take(&mut self.pause.sessions) {
            if self
                .sessions
                .get(index)
                .is_some_and(|session| session.wait == Wait::Pause)
            {
                self.resume(index);
            }
        }
        self.settle();
    }

    /// Ends a pause whose time is over.
    pub(super) fn end_pause_in_time(&mut self) {
        if self.pause.is_on() && self.now >= self.pause.until {
            self.unpause();
        }
    }

    /// `Some` when the request is not to be executed now.
    pub(super) fn pass_gates(
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
        if gates.any(Gates::SUBSCRIBED) && !Self::is_allowed_subscribed(&run) {
            let text = format!(
                "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are \
                 allowed in this context"
            );
            self.refuse(index, Some(command), &CommandError::text(text));
            return Some(Flow::Done);
        }
        if self.must_pause(index, command, &run) {
            return Some(Flow::Again(Wait::Pause));
        }
        if gates.any(Gates::REPLY_SKIP) {
            let session = &mut self.sessions[index];
            session.gates.set(Gates::REPLY_SKIP, false);
            session.mute_this = true;
        }
        if self.observations.monitors_anywhere
            && !flags.has(Flags::SKIP_MONITOR)
            && !gates.any(Gates::MONITOR)
            && !flags.has(Flags::ADMIN)
        {
            // Once, however often it has to wait.
            if !std::mem::take(&mut self.sessions[index].is_shown) {
                self.feed_monitors(index, command, args);
            }
        }
        if gates.any(Gates::MULTI) && !Self::runs_inside_multi(&run) {
            self.queue(index, command, args, flags);
            return Some(Flow::Done);
        }
        None
    }

    fn must_pause(&self, index: usize, command: CommandId, run: &Run) -> bool {
        if !self.pause.is_on() {
            return false;
        }
        let flags = self.table.spec(command).flags;
        if !self.pause.writes_only {
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

    fn runs_inside_multi(run: &Run) -> bool {
        use SessionCommand as Session;
        matches!(
            run,
            Run::Session(
                Session::Exec
                    | Session::Discard
                    | Session::Multi
                    | Session::Watch
                    | Session::Quit
                    | Session::Reset
            )
        )
    }

    fn queue(&mut self, index: usize, command: CommandId, args: &Args<'_>, flags: Flags) {
        if flags.has(Flags::NO_MULTI) {
            let error = CommandError::Plain("Command not allowed inside a transaction");
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
