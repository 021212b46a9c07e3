//! Requests of commands that are written in Python: executed where their keys are, and answered by an event.
//!
//! A request for one shard goes to its owner. One for several becomes a transaction of its own. Inside of EXEC both are
//! transactions within the one that runs: they execute under its tag, on the shards that it has reserved.

use std::collections::VecDeque;
use std::sync::Arc;

use super::denials::DeniedWhere;
use super::durability::AckChoice;
use super::job::{Job, Lends, MaySteps, Ran};
use super::parked::Asker;
use super::pending::{SessionRef, Waiter};
use super::reservation::Deferred;
use super::session::Queued;
use super::tracking::Origin;
use super::transaction::Transaction;
use super::{Engine, Event};
use crate::acl::User;
use crate::commands::{CommandError, CommandId, Flags, Run, SessionCommand};
use crate::resp::{Args, ArgsBuffer, Protocol, Reply};

/// The Python command that executes a request.
#[derive(Clone, Debug)]
pub struct Executor {
    /// Its row.
    pub command: CommandId,
    /// The transaction whose step it is.
    pub transaction: Option<usize>,
    /// Its client.
    pub session: SessionRef,
    /// The user of its client, by whose rules requests are checked; without one, everything is allowed.
    pub user: Option<Arc<User>>,
    /// The logical database of its client.
    pub db: u8,
}

/// A request of a Python command.
pub(super) struct Execution {
    number: u64,
    command: CommandId,
    args: ArgsBuffer,
    pub db: u8,
    parent: Option<usize>,
}

impl Execution {
    pub fn nesting(&self) -> Nesting {
        Nesting {
            execution: Some(self.number),
            parent: self.parent,
            ..Nesting::default()
        }
    }

    pub fn into_queued(self) -> Queued {
        Queued {
            command: self.command,
            args: self.args,
        }
    }
}

/// How a transaction belongs to requests of Python commands.
#[derive(Default)]
pub(super) struct Nesting {
    /// The number of the request that it executes.
    pub execution: Option<u64>,
    /// The transaction on whose shards it executes.
    pub parent: Option<usize>,
    /// Requests of its Python step that are under way, or wait.
    children: usize,
    /// Those that wait: one executes at a time.
    waiting: VecDeque<Execution>,
    /// The script whose request it executes.
    script: Option<usize>,
    /// The reply of its Python step, which has ended before them.
    pub python_reply: Option<Vec<u8>>,
}

impl Nesting {
    /// A request of a script, in the transaction that holds its shards.
    pub fn of_script(script: usize, parent: usize) -> Self {
        Self {
            parent: Some(parent),
            script: Some(script),
            ..Self::default()
        }
    }

    pub fn add_child(&mut self) {
        self.children += 1;
    }

    pub fn is_executing(&self) -> bool {
        self.children > 0
    }
}

impl Engine {
    /// Executes a request of a Python command. The reply comes as [`Event::Executed`] with this number; an error is
    /// a reply, too.
    pub fn execute_for(&mut self, execution: u64, by: &Executor, args: &Args<'_>) {
        self.run_staged();
        self.read_clock();
        match self.check_execution(by, args) {
            Ok(command) => self.start_execution(Execution {
                number: execution,
                command,
                args: (*args).into(),
                db: by.db,
                parent: by.transaction,
            }),
            Err(error) => {
                let mut reply = Vec::new();
                error.write(&mut Reply::new(&mut reply, Protocol::Resp3));
                self.executed(execution, reply);
            }
        }
        self.settle();
    }

    /// The command of a request, if this Python command may execute it now.
    fn check_execution(
        &mut self,
        by: &Executor,
        args: &Args<'_>,
    ) -> Result<CommandId, CommandError> {
        if args.is_empty() {
            return Err(CommandError::Plain("a request without a command's name"));
        }
        let command = self.table.lookup(args)?;
        let row = self.table.spec(command);
        if let Some(user) = &by.user {
            self.check_for(by.session, user, command, args, DeniedWhere::Module)?;
        }
        row.check_steps(args)?;
        let caller = self.table.spec(by.command);
        let refused = |why: &str| {
            let text = format!("ERR '{}' cannot execute '{}': {why}", caller.name, row.name);
            Err(CommandError::text(text))
        };
        match row.run {
            Run::Shard(_) | Run::Read(_) | Run::ReadEach(_) | Run::Together(_) => {}
            Run::Session(SessionCommand::Publish | SessionCommand::SPublish) => {}
            Run::Script(_) => return refused("it runs a script"),
            Run::Session(_) => return refused("it is about a connection"),
            Run::Python | Run::Container | Run::Help => {
                return refused("it is written in Python, too; call its function");
            }
        }
        if row.flags.has(Flags::BLOCKING) {
            return refused("it may wait for other clients");
        }
        if row.flags.has(Flags::WRITE) && !caller.flags.has(Flags::WRITE) {
            return refused(
                "it writes; give the row of the command that executes it the flag 'write'",
            );
        }
        if let Some(id) = by.transaction {
            let Some(transaction) = self.transactions.get(id) else {
                return refused("the transaction is over");
            };
            if self.shards_of(command, args) & !transaction.reserved_shards() != 0 {
                return refused(
                    "inside of MULTI only keys can be used that the row of the command that executes it declares, \
                     and others of their shards",
                );
            }
        }
        Ok(command)
    }

    pub(super) fn start_execution(&mut self, execution: Execution) {
        let shards = self.shards_of(execution.command, &execution.args.as_args());
        if let Some(parent) = execution.parent {
            let nesting = &mut self.transactions[parent].nesting;
            nesting.add_child();
            if nesting.children == 1 {
                self.start_nested(execution, parent);
            } else {
                nesting.waiting.push_back(execution);
            }
        } else if shards.is_power_of_two() {
            self.execute_on_one(execution, shards.trailing_zeros() as usize);
        } else {
            self.start_transaction_of(execution, shards);
        }
    }

    fn start_transaction_of(&mut self, execution: Execution, shards: u64) {
        let tag = self.next_tag();
        let mut transaction = Transaction::of_execution(execution, shards, None);
        transaction.tag = tag;
        self.begin_transaction(transaction);
    }

    fn start_nested(&mut self, execution: Execution, parent: usize) {
        let nested = Transaction::of_execution(execution, 0, Some(&self.transactions[parent]));
        self.begin_transaction(nested);
    }

    fn execute_on_one(&mut self, execution: Execution, shard: usize) {
        let Execution {
            number,
            command,
            ref args,
            db,
            ..
        } = execution;
        if shard != self.me && self.links.is_backlogged(shard) {
            self.delayed_executions.push_back(execution);
        } else if shard != self.me {
            let waiter = Waiter::Execution { execution: number };
            let args = args.as_args();
            self.send_request(shard, waiter, command, &args, None, db, Protocol::Resp3, 0);
        } else if self.reserved.is_some() {
            self.deferred.push_back(Deferred::Execution(execution));
        } else {
            let mut reply = Vec::new();
            self.ticks = (self.clock.ticks)();
            let job = Job {
                command,
                args: &args.as_args(),
                hash: None,
                db,
                protocol: Protocol::Resp3,
                may_wait: false,
                in_steps: MaySteps::MayAsk,
                origin: Origin::default(),
                ack: AckChoice::Default,
            };
            let before = self.shard.number();
            let ran = self.run_job(&job, &mut reply, Lends::Nothing);
            if matches!(ran, Ran::Long) {
                self.start_transaction_of(execution, 1 << shard);
                return;
            }
            assert!(ran.is_done(), "it was not allowed to wait");
            self.account(&job, 0, &reply);
            let due = self.number_due(job.ack, before);
            let asker = Asker::Here(Waiter::Execution { execution: number });
            self.tell_when_durable(due, asker, &reply);
        }
    }

    /// Tries again what waited for room in a ring.
    pub(super) fn retry_executions(&mut self) {
        for execution in std::mem::take(&mut self.delayed_executions) {
            self.start_execution(execution);
        }
    }

    /// The reply to a request of a Python command is there.
    pub(super) fn executed(&mut self, execution: u64, reply: Vec<u8>) {
        self.events.push(Event::Executed { execution, reply });
    }

    /// The transaction that a request of a Python command became has ended.
    pub(super) fn nested_done(&mut self, nesting: Nesting, reply: Vec<u8>) {
        let script = nesting.script;
        let answer = match nesting.execution {
            Some(execution) => {
                self.executed(execution, reply);
                Vec::new()
            }
            None => reply,
        };
        let Some(parent) = nesting.parent.filter(|id| self.transactions.contains(*id)) else {
            return;
        };
        let waiting = &mut self.transactions[parent].nesting;
        waiting.children -= 1;
        if let Some(next) = waiting.waiting.pop_front() {
            self.start_nested(next, parent);
            return;
        }
        if !waiting.is_executing()
            && let Some(reply) = waiting.python_reply.take()
        {
            self.code_step_done(parent, reply);
        }
        if let Some(script) = script {
            self.script_answered(script, &answer);
        }
    }
}
