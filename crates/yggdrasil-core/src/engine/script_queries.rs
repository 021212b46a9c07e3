//! Questions about scripts and orders to them, and what others hear of a script that runs for long.

use super::Engine;
use super::Event;
use super::dispatch::Flow;
use super::links::Envelope;
use super::pending::{Gather, Receiver, Waiter};
use super::remote::Message;
use super::reservation::Deferred;
use super::scripts::{Held, ScriptRun};
use super::session::Wait;
use crate::commands::{CommandError, Flags, Join, Outcome, ScriptingQuery, glob, libraries};
use crate::resp::{Args, Reply};
use crate::ring::{FrameHeader, FrameKind};
use crate::script::Callee;
use crate::stats::Counter;

/// The answers to a worker's question whether it can end a script.
pub(super) const KILLED: &[u8] = b"+OK\r\n";
pub(super) const NOTHING_RUNS: &[u8] = b"-NOTBUSY No scripts in execution right now.\r\n";
const UNKILLABLE: &[u8] = b"-UNKILLABLE Sorry the script already executed write commands against the dataset. You can \
                           either wait the script termination or kill the server in a hard way using the SHUTDOWN NOSAVE \
                           command.\r\n";
const BUSY_FUNCTION: &str =
    "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.";
const BUSY_SCRIPT: &str =
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";

/// Writes a Unix time in seconds, and the microseconds beyond.
pub(super) fn write_time(at_us: u64, reply: &mut Reply<'_>) {
    reply.array(2);
    reply.bulk_int((at_us / 1_000_000) as i64);
    reply.bulk_int((at_us % 1_000_000) as i64);
}

fn is_function(script: &ScriptRun) -> bool {
    matches!(script.run.callee, Callee::Function(_))
}

impl Engine {
    /// Answers what needs no shard.
    pub(super) fn answer_scripting(
        &mut self,
        query: ScriptingQuery,
        args: &Args<'_>,
        reply: &mut Reply<'_>,
    ) -> Outcome {
        if query.looks_at_libraries() {
            self.meet_libraries()?;
        }
        match query {
            ScriptingQuery::ScriptDebug => {
                return Err(CommandError::Plain("there is no debugger for scripts"));
            }
            ScriptingQuery::ScriptExists => {
                reply.array(args.len() - 2);
                for sha in args.iter().skip(2) {
                    reply.int(i64::from(self.scripts.cache.knows(sha)));
                }
            }
            ScriptingQuery::FunctionDump => {
                reply.bulk(&libraries::dump(self.scripts.libraries.codes()));
            }
            ScriptingQuery::FunctionList => return self.list_libraries(args, reply),
            ScriptingQuery::FunctionStats => return self.write_function_stats(reply),
            ScriptingQuery::ScriptKill => reply.raw(&self.kill_own(false)),
            ScriptingQuery::FunctionKill => reply.raw(&self.kill_own(true)),
        }
        Ok(())
    }

    fn list_libraries(&self, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
        let (mut pattern, mut with_code) = (None, false);
        let mut rest = args.iter().skip(2);
        while let Some(option) = rest.next() {
            if !with_code && option.eq_ignore_ascii_case(b"withcode") {
                with_code = true;
            } else if pattern.is_none() && option.eq_ignore_ascii_case(b"libraryname") {
                let given = rest.next();
                pattern =
                    Some(given.ok_or(CommandError::Plain("library name argument was not given"))?);
            } else {
                let option = String::from_utf8_lossy(option);
                return Err(CommandError::text(format!("ERR Unknown argument {option}")));
            }
        }
        let fits = |name: &[u8]| pattern.is_none_or(|pattern| glob::matches(pattern, name));
        let listed = self.scripts.libraries.iter();
        let listed: Vec<_> = listed.filter(|(name, _)| fits(name)).collect();
        reply.array(listed.len());
        for (name, library) in listed {
            reply.map(if with_code { 4 } else { 3 });
            reply.bulk(b"library_name");
            reply.bulk(name);
            reply.bulk(b"engine");
            reply.bulk(b"LUA");
            reply.bulk(b"functions");
            reply.array(library.functions.len());
            for function in &library.functions {
                reply.map(3);
                reply.bulk(b"name");
                reply.bulk(&function.name);
                reply.bulk(b"description");
                match &function.description {
                    Some(description) => reply.bulk(description),
                    None => reply.null(),
                }
                reply.bulk(b"flags");
                reply.set(function.flags.names().count());
                for flag in function.flags.names() {
                    reply.simple(flag);
                }
            }
            if with_code {
                reply.bulk(b"library_code");
                reply.bulk(&library.code);
            }
        }
        Ok(())
    }

    fn write_function_stats(&mut self, reply: &mut Reply<'_>) -> Outcome {
        let mut running = self.waiting.scripts.iter();
        let running = running.find(|(_, script)| script.is_ready);
        if running.is_some_and(|(_, script)| !is_function(script)) {
            return Err(CommandError::text(BUSY_SCRIPT));
        }
        reply.map(2);
        reply.bulk(b"running_script");
        match running {
            None => reply.null(),
            Some((_, script)) => {
                reply.map(3);
                reply.bulk(b"name");
                reply.bulk(script.run.callee.name());
                reply.bulk(b"command");
                let args = script.args.clone().unwrap_or_default();
                let args = args.as_args();
                reply.array(args.len());
                args.iter().for_each(|arg| reply.bulk(arg));
                reply.bulk(b"duration_ms");
                reply.count(self.now.saturating_sub(script.started_at));
            }
        }
        let libraries = &self.scripts.libraries;
        reply.bulk(b"engines");
        reply.map(1);
        reply.bulk(b"LUA");
        reply.map(2);
        reply.bulk(b"libraries_count");
        reply.int(libraries.count() as i64);
        reply.bulk(b"functions_count");
        reply.int(libraries.functions_count() as i64);
        Ok(())
    }

    /// Ends the script that runs on any worker.
    pub(super) fn kill_for_session(&mut self, index: usize, functions: bool) -> Flow {
        let session = &mut self.sessions[index];
        let slot = session.open_slot();
        let session = session.at;
        let receiver = Receiver::Slot { session, slot };
        let shards = self.shape.shards;
        let gather = Gather::new(Join::Killed, Vec::new(), shards, receiver);
        let gather = self.gathers.insert(gather);
        let me = self.me;
        for shard in (0..shards).filter(|shard| *shard != me) {
            let waiter = Waiter::Part {
                gather,
                part: shard,
            };
            let envelope = Envelope::new(FrameKind::Kill, 0);
            self.send_asking(shard, waiter, envelope, &[u8::from(functions)]);
        }
        let own = self.kill_own(functions);
        self.part_done(gather, self.me, own);
        Flow::Done
    }

    pub(super) fn take_kill(&mut self, from: usize, header: &FrameHeader, payload: &[u8]) {
        let reply = self.kill_own(payload.first() == Some(&1));
        self.send_reply(from, header, &reply);
    }

    /// Ends the script that runs here; the reply.
    fn kill_own(&mut self, functions: bool) -> Vec<u8> {
        let mut running = self.waiting.scripts.iter_mut();
        let Some((_, script)) = running.find(|(_, script)| script.is_ready && !script.is_killed)
        else {
            return NOTHING_RUNS.to_vec();
        };
        if script.has_written {
            return UNKILLABLE.to_vec();
        }
        if is_function(script) != functions {
            let error = if functions {
                BUSY_SCRIPT
            } else {
                BUSY_FUNCTION
            };
            return format!("-{error}\r\n").into_bytes();
        }
        script.is_killed = true;
        KILLED.to_vec()
    }

    /// Tells who waits for the shards of a script that it runs for long, once it does.
    pub(super) fn note_busy(&mut self, id: usize) {
        let script = &self.waiting.scripts[id];
        let threshold = self.options.busy_reply_threshold_ms;
        if threshold == 0 || self.now.saturating_sub(script.started_at) < threshold {
            return;
        }
        let Held::Transaction(transaction) = script.held else {
            return;
        };
        if std::mem::replace(&mut self.waiting.scripts[id].is_busy, true) {
            return;
        }
        let tag = self.transactions[transaction].tag;
        let shards = self.transactions[transaction].reserved_shards();
        for shard in (0..self.shape.shards).filter(|shard| shards & (1 << shard) != 0) {
            if shard == self.me {
                self.take_busy(shard, tag);
            } else {
                let envelope = Envelope {
                    tag,
                    ..Envelope::new(FrameKind::Busy, 0)
                };
                self.links.send(shard, envelope, &[]);
            }
        }
    }

    /// The own shard is held by a script that runs for long.
    pub(super) fn take_busy(&mut self, coordinator: usize, tag: u64) {
        let reserved = self.reserved.as_ref();
        if !reserved.is_some_and(|reservation| reservation.is_of(coordinator, tag)) {
            return;
        }
        self.gate.set_busy(true);
        for deferred in std::mem::take(&mut self.deferred) {
            match deferred {
                Deferred::Session(at) => {
                    if self
                        .session(at)
                        .is_some_and(|session| session.wait == Wait::Release)
                    {
                        self.resume(at.index);
                    }
                }
                Deferred::Message(message) if self.refuse_busy(&message) => {}
                other => self.deferred.push_back(other),
            }
        }
    }

    /// Refuses the request of another worker that a busy script keeps from the shard; false for what waits.
    pub(super) fn refuse_busy(&mut self, message: &Message<'_>) -> bool {
        if !self.gate.is_busy() || message.header.kind != FrameKind::Request {
            return false;
        }
        let reply = format!("-{BUSY_SCRIPT}\r\n");
        self.send_reply(message.from, &message.header, reply.as_bytes());
        true
    }

    /// The error of a request that would have to wait for a busy script.
    pub(super) fn busy_refusal(
        &self,
        command: crate::commands::CommandId,
        args: &Args<'_>,
    ) -> Option<CommandError> {
        let is_refused = self.gate.is_busy()
            && !self.table.spec(command).flags.has(Flags::ALLOW_BUSY)
            && self.shards_of(command, args) & (1 << self.me) != 0;
        is_refused.then(|| CommandError::text(BUSY_SCRIPT))
    }

    /// Hands on what scripts have logged.
    pub(super) fn report_logs(&mut self) {
        for (level, line) in self.scripts.take_log() {
            self.events.push(Event::Logged { level, line });
        }
    }

    /// Sets what there is to tell about scripts.
    pub(super) fn count_scripts(&mut self) {
        let scripts = &self.scripts;
        let numbers = [
            (Counter::CachedScripts, scripts.cache.count()),
            (Counter::ScriptBytes, scripts.cache.bytes()),
            (Counter::InterpreterBytes, scripts.interpreter_bytes()),
            (Counter::Libraries, scripts.libraries.count()),
            (Counter::Functions, scripts.libraries.functions_count()),
            (Counter::FunctionBytes, scripts.libraries.bytes()),
            (Counter::EvictedScripts, scripts.cache.evicted() as usize),
        ];
        for (counter, number) in numbers {
            self.stats.set(counter, number as u64);
        }
    }
}
