//! Transactions that begin again: a script has named a key in a shard that is not held.
//!
//! Shards are reserved in ascending order, so none can be taken later. Instead the script, or EXEC with all its steps,
//! undoes what it has changed, releases its shards, and begins again with all there are. Nobody has seen anything of it:
//! events and stale keys are told when changes count, and what it publishes waits for its end.

use super::Engine;
use super::pending::Receiver;
use super::reservation::Ending;
use super::savepoint::Savepoint;
use super::scripts::{Held, ScriptRun};
use super::session::{Gates, Queued};
use super::transaction::Transaction;
use crate::commands::{CalledBy, CommandId, Flags, Keys, Route, Run};
use crate::keyspace::NotedEvent;
use crate::resp::{Args, ArgsBuffer, Protocol};
use crate::script::{Ask, Names, Resume};

/// All that a transaction needs to begin again.
#[derive(Default)]
pub(super) struct Again {
    /// Shards that keep what they change, as bits.
    saved: u64,
    /// Messages for the end; true for those of shards.
    published: Vec<(ArgsBuffer, bool)>,
    /// The beginning of EXEC.
    exec: Option<Exec>,
}

/// EXEC and its session before its first step.
struct Exec {
    queue: Vec<Queued>,
    db: u8,
    protocol: Protocol,
    reply_gates: [bool; 2],
    mute_this: bool,
    random: u64,
}

/// What a script that begins again sees as it has seen it before.
#[derive(Clone, Copy, Debug)]
pub(super) struct SeenBefore {
    /// The state of its random numbers.
    pub random: u64,
    pub time_us: Option<u64>,
}

const REPLY_GATES: [Gates; 2] = [Gates::REPLY_OFF, Gates::REPLY_SKIP];

impl Engine {
    /// All shards, as bits.
    pub(super) fn all_shards(&self) -> u64 {
        u64::MAX >> (64 - self.shape.shards)
    }

    /// The transaction on whose shards one executes: itself, or the one around it.
    pub(super) fn root_of(&self, id: usize) -> usize {
        self.transactions[id].nesting.parent.unwrap_or(id)
    }

    /// Says whether a script may begin again, now that it is known what it holds.
    pub(super) fn allow_again(&mut self, script: &mut ScriptRun) {
        let (all, callee) = (self.all_shards(), &script.run.callee);
        script.may_begin_again = match script.held {
            Held::Nothing => false,
            Held::Own { .. } => all != 1 << self.me && callee.may_roam(|name| self.names_of(name)),
            Held::Transaction(id) if self.transactions[id].exec => {
                self.transactions[id].again.is_some()
            }
            Held::Transaction(id) => {
                let is_part = self.transactions[id].reserved_shards() != all;
                let may = is_part && callee.may_roam(|name| self.names_of(name));
                if may {
                    self.transactions[id].again.get_or_insert_default();
                }
                may
            }
        };
    }

    /// The keys that a command may name, by its own name.
    pub(super) fn names_of(&self, name: &[u8]) -> Names {
        let Some(command) = self.table.find(name) else {
            return Names::Others;
        };
        let row = self.table.spec(command);
        match row.run {
            Run::Session(_) => Names::Nothing,
            _ if row.keys == Keys::FIRST && row.route == Route::Key => Names::First,
            _ => Names::Others,
        }
    }

    /// True for a step of EXEC that may name keys of shards which its request does not tell.
    fn may_step_roam(&self, queued: &Queued) -> bool {
        let Run::Script(call) = self.table.spec(queued.command).run else {
            return false;
        };
        let (args, cache) = (queued.args.as_args(), &self.scripts.cache);
        let script = match call.by {
            CalledBy::Name => None,
            CalledBy::Hash => cache.peek(args.at(1)),
            CalledBy::Text => cache.peek_body(args.at(1)),
        };
        script.is_none_or(|script| script.may_roam(|name| self.names_of(name)))
    }

    /// What a script needs to begin again, as it gets a transaction.
    pub(super) fn again_of(&self, script: &ScriptRun) -> Option<Box<Again>> {
        script.may_begin_again.then(|| {
            Box::new(Again {
                saved: u64::from(script.has_written) << self.me,
                ..Again::default()
            })
        })
    }

    /// A script is about to execute a request. From its first write on the shards keep what they change, where it may
    /// begin again, and readers from outside are kept away from its own.
    pub(super) fn note_write(&mut self, script: &mut ScriptRun, command: CommandId) {
        let writes = self.table.spec(command).flags.has(Flags::WRITE);
        if !writes || std::mem::replace(&mut script.has_written, true) {
            return;
        }
        match &mut script.held {
            Held::Own { excludes, .. } => {
                *excludes = true;
                self.shard.reserve();
                if script.may_begin_again {
                    self.note_savepoint(Savepoint::Begin);
                }
            }
            Held::Transaction(id) if script.may_begin_again => self.save_all(*id),
            Held::Transaction(_) | Held::Nothing => {}
        }
    }

    /// Has all shards of a transaction keep what they change from now on.
    fn save_all(&mut self, id: usize) {
        let transaction = &mut self.transactions[id];
        let (tag, shards) = (transaction.tag, transaction.reserved_shards());
        let Some(again) = transaction.again.as_mut().filter(|again| again.saved == 0) else {
            return;
        };
        again.saved = shards;
        self.keep_own_events(id);
        self.send_word(tag, shards, Savepoint::Begin);
        if shards & 1 << self.me != 0 {
            self.note_savepoint(Savepoint::Begin);
        }
    }

    /// Has EXEC be able to begin again, where a step of it may need that. Its shards are reserved.
    pub(super) fn save_exec(&mut self, id: usize) {
        let transaction = &self.transactions[id];
        let is_whole = transaction.reserved_shards() == self.all_shards();
        if !transaction.exec || is_whole || transaction.is_prevented() {
            return;
        }
        let mut queue = transaction.queue.iter();
        if !queue.any(|queued| self.may_step_roam(queued)) {
            return;
        }
        let session = self.sessions.get(transaction.session.index);
        let exec = Exec {
            queue: transaction.queue.iter().cloned().collect(),
            db: transaction.db,
            protocol: transaction.protocol,
            reply_gates: REPLY_GATES.map(|gate| session.is_some_and(|s| s.gates.any(gate))),
            mute_this: session.is_some_and(|session| session.mute_this),
            random: self.scripts.random_state(),
        };
        self.transactions[id].again = Some(Box::new(Again {
            exec: Some(exec),
            ..Again::default()
        }));
        self.save_all(id);
    }

    /// Runs a script anew with all shards, as if it had not begun; inside of EXEC, all of that.
    pub(super) fn begin_again(&mut self, mut script: ScriptRun, args: Option<&Args<'_>>) {
        script.run.callee.set_roaming();
        while script.run.resume(Resume::Kill) != Ask::Done {}
        let id = self.hold_by_transaction(&mut script);
        let seen = SeenBefore {
            random: script.random,
            time_us: script.time_us,
        };
        let kept = script.args.take();
        let args = kept.or_else(|| args.map(|args| (*args).into()));
        let request = Queued {
            command: script.command,
            args: args.unwrap_or_default(),
        };
        let mut discarded = Vec::new();
        self.scripts
            .finish(script.run, script.protocol, &mut discarded);
        let exec = self.undo_all(id);
        let all = self.all_shards();
        let transaction = &mut self.transactions[id];
        match exec {
            None => {
                transaction.seen_before = Some(seen);
                transaction.restart(vec![request], all);
            }
            Some(exec) => {
                transaction.seen_before = Some(SeenBefore {
                    random: exec.random,
                    time_us: None,
                });
                (transaction.db, transaction.protocol) = (exec.db, exec.protocol);
                let at = transaction.session;
                transaction.restart(exec.queue, all);
                if let Some(session) = self.session(at) {
                    (session.db, session.protocol) = (exec.db, exec.protocol);
                    session.mute_this = exec.mute_this;
                    for (gate, on) in REPLY_GATES.into_iter().zip(exec.reply_gates) {
                        session.gates.set(gate, on);
                    }
                }
            }
        }
        self.reserve_next(id);
    }

    /// Undoes all that a transaction has done, and releases its shards; the beginning of EXEC.
    fn undo_all(&mut self, id: usize) -> Option<Exec> {
        self.keep_own_events(id);
        let next = self.next_tag();
        let transaction = &mut self.transactions[id];
        let reserved = std::mem::take(&mut transaction.reserved);
        let tag = std::mem::replace(&mut transaction.tag, next);
        let mut events = std::mem::take(&mut transaction.events);
        let again = transaction.again.take();
        events.retain(NotedEvent::is_of_time_or_memory);
        if !events.is_empty() {
            self.publish_these(&events);
        }
        // A release undoes what was not said to stay.
        let ending = Ending {
            counts: false,
            ..Ending::without_decision(0)
        };
        self.release(tag, &reserved, &ending);
        again.and_then(|again| again.exec)
    }

    /// PUBLISH inside of a transaction; the gather of its reply. Where that may begin again, hearers are only counted.
    pub(super) fn publish_in(&mut self, id: usize, args: &Args<'_>, sharded: bool) -> usize {
        let (root, receiver) = (self.root_of(id), Receiver::Transaction(id));
        match self.transactions[root].again.as_deref_mut() {
            None => self.publish(args, sharded, receiver),
            Some(again) => {
                again.published.push(((*args).into(), sharded));
                self.count_hearers(args, sharded, receiver)
            }
        }
    }

    /// Ends what a transaction might have begun again with: its changes stay, and its messages are delivered.
    pub(super) fn end_again(&mut self, transaction: &mut Transaction, counts: bool) {
        let Some(again) = transaction.again.take().filter(|_| counts) else {
            return;
        };
        self.send_word(transaction.tag, again.saved, Savepoint::Keep);
        if again.saved & 1 << self.me != 0 {
            self.close_savepoints(true);
        }
        for (args, sharded) in again.published {
            self.deliver_counted(&args.as_args(), sharded);
        }
    }
}
