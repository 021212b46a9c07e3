//! Logs whose disk is slow: what is written becomes durable by chance, and only after it was asked for.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use super::chance::Chance;
use super::model::Operation;
use crate::engine::{AckChoice, Engine, Log, LogStatus};
use crate::keyspace::{ChangeListener, KeyspaceError, Mark, Millis, Record};
use crate::namespaces::Namespaces;

/// Decisions of all coordinators, by worker and tag: what their logs have on the disk outlives them.
type Decisions = Rc<RefCell<BTreeSet<(usize, u64)>>>;

#[derive(Default, Debug)]
struct Written {
    last: Cell<u64>,
    durable: Cell<u64>,
    /// What the next flushes make durable.
    wanted: Cell<u64>,
    records: RefCell<Vec<(u64, Vec<u8>)>>,
}

#[derive(Clone, Debug)]
pub(super) struct SlowLog {
    worker: usize,
    written: Rc<Written>,
    decisions: Decisions,
}

impl SlowLog {
    /// Has a part of what was asked for made durable, or all of it. True where that is news.
    pub fn flush(&self, random: &mut Chance, all: bool) -> bool {
        let (durable, wanted) = (self.written.durable.get(), self.written.wanted.get());
        let waits = wanted.saturating_sub(durable) as usize;
        if waits == 0 {
            return false;
        }
        let more = if all { waits } else { 1 + random.below(waits) };
        self.written.durable.set(durable + more as u64);
        true
    }

    /// Of the records that have a value: whether each is durable.
    fn records_of(&self, value: &[u8]) -> Vec<bool> {
        let (records, durable) = (self.written.records.borrow(), self.written.durable.get());
        let has_it = |record: &&(u64, Vec<u8>)| memchr::memmem::find(&record.1, value).is_some();
        let found = records.iter().filter(has_it);
        found.map(|(number, _)| *number <= durable).collect()
    }
}

impl ChangeListener for SlowLog {
    fn reserve(&mut self, _: u64) -> Result<(), KeyspaceError> {
        Ok(())
    }

    fn mark(&mut self, number: u64, mark: &Mark<'_>) {
        if let Mark::Decided { tag, .. } = mark {
            self.written.last.set(number);
            self.decisions.borrow_mut().insert((self.worker, *tag));
        }
    }

    fn changed(&mut self, number: u64, record: &Record<'_>) {
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        self.written.last.set(number);
        self.written.records.borrow_mut().push((number, bytes));
    }
}

impl Log for SlowLog {
    fn durable(&self) -> u64 {
        self.written.durable.get()
    }

    fn run(&self) -> u64 {
        1
    }

    fn demand(&self) {
        self.written.wanted.set(self.written.last.get());
    }

    fn must_be_durable(&self, ack: AckChoice) -> u64 {
        match ack {
            AckChoice::Sync => self.written.last.get(),
            AckChoice::Default | AckChoice::Fast => 0,
        }
    }

    fn has_decided(&self, coordinator: usize, tag: u64, _: u64) -> bool {
        self.decisions.borrow().contains(&(coordinator, tag))
    }

    fn status(&self) -> LogStatus {
        LogStatus::default()
    }

    fn set_namespaces(&mut self, _: Arc<Namespaces>) {}

    fn work(&mut self, _: Millis) {}
}

/// The logs of all workers of a node.
#[derive(Default)]
pub(super) struct Logs {
    logs: Vec<Option<SlowLog>>,
    decisions: Decisions,
}

impl Logs {
    /// Gives an engine a log of its own from now on.
    pub fn begin(&mut self, worker: usize, engine: &mut Engine) {
        let log = SlowLog {
            worker,
            written: Rc::default(),
            decisions: Rc::clone(&self.decisions),
        };
        let number = engine.shard.number();
        log.written.last.set(number);
        log.written.durable.set(number);
        log.written.wanted.set(number);
        engine.begin_log(number, Box::new(log.clone()), Box::new(log.clone()));
        if self.logs.len() <= worker {
            self.logs.resize(worker + 1, None);
        }
        self.logs[worker] = Some(log);
    }

    pub fn of(&self, worker: usize) -> Option<&SlowLog> {
        self.logs.get(worker)?.as_ref()
    }

    /// True where a value that an operation has written is in records of which none is durable.
    pub fn risk_of(&self, operation: &Operation) -> bool {
        let mut commands = operation
            .commands()
            .iter()
            .filter(|command| command[0] != b"LREM");
        commands.any(|command| {
            let is_value = |word: &&Vec<u8>| word.starts_with(b"v") && word.contains(&b':');
            command.iter().filter(is_value).any(|value| {
                let logs = self.logs.iter().flatten();
                let records: Vec<_> = logs.flat_map(|log| log.records_of(value)).collect();
                !records.is_empty() && !records.contains(&true)
            })
        })
    }
}
