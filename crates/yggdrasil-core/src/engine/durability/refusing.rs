//! Requests on several shards where a log has failed: they are refused as a whole before anything is changed, so that
//! no half of one counts.

use crate::commands::{CommandError, Flags, Run};
use crate::engine::Engine;
use crate::engine::session::Queued;
use crate::engine::transaction::Transaction;
use crate::keyspace::KeyspaceError;
use crate::namespaces::Ack;

impl Engine {
    /// The error of the operating system for which the own log takes nothing; 0 for none.
    pub(in crate::engine) fn log_errno(&self) -> i32 {
        let durability = self.durability.as_ref();
        durability.map_or(0, |durability| durability.log.status().errno)
    }

    /// Refuses a transaction, whose shards are reserved, if a change of it would be refused by a log, or if no log can
    /// say that it was decided.
    pub(in crate::engine) fn refuse_unlogged(&mut self, id: usize) {
        let transaction = &self.transactions[id];
        if transaction.is_prevented() {
            return;
        }
        let refusal = match self.gate.is_absent() {
            true => self.refusal_of_coordinator(transaction),
            false if transaction.failed_logs.is_empty() => return,
            false => self.refusal_of_logs(transaction),
        };
        self.transactions[id].refusal = refusal;
    }

    fn refusal_of_logs(&self, transaction: &Transaction) -> Option<CommandError> {
        let mut failed = transaction.failed_logs.iter();
        let (_, errno) = failed.find(|(shard, _)| self.may_log_any(transaction, *shard))?;
        let error = CommandError::from(KeyspaceError::LogFailed { errno: *errno });
        Some(match transaction.exec {
            true => error.of_exec(),
            false => error,
        })
    }

    /// The own log says whether a transaction counts, so there is none that changes anything before that is open.
    fn refusal_of_coordinator(&self, transaction: &Transaction) -> Option<CommandError> {
        let mut shards = transaction.reserved.iter();
        let is_logged = shards.any(|shard| self.may_log_any(transaction, *shard));
        let error = is_logged.then(|| self.gate.refusal(Flags::default()))??;
        Some(self.gate.state().refusal_of(error, transaction.exec))
    }

    fn may_log_any(&self, transaction: &Transaction, shard: usize) -> bool {
        let mut queue = transaction.queue.iter();
        queue.any(|queued| self.may_log(queued, shard))
    }

    /// True for a request that may change what is kept of a shard. Of a script nobody knows before it runs.
    fn may_log(&self, queued: &Queued, shard: usize) -> bool {
        let (row, args) = (self.table.spec(queued.command), queued.args.as_args());
        let keys: Vec<&[u8]> = match row.run {
            Run::Script(call) if call.read_only => return false,
            Run::Script(call) => Self::keys_of_script(call, &args).collect(),
            _ if !row.flags.has(Flags::WRITE) => return false,
            _ => row.keys.positions(&args).map(|at| args.at(at)).collect(),
        };
        let namespaces = &self.options.namespaces;
        if keys.is_empty() {
            return !namespaces.keep_nothing();
        }
        let mut own = keys.iter().filter(|key| self.shard_of(key) == shard);
        own.any(|key| namespaces.of(key).ack != Ack::None)
    }
}
