//! The log of a running shard: it hears of each change, and says when that is durable.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use yggdrasil_core::engine::{AckChoice, Log, LogStatus, Pressure};
use yggdrasil_core::keyspace::{ChangeListener, KeyspaceError, Mark, Millis, Record};
use yggdrasil_core::namespaces::{Ack, Namespaces};

use crate::flusher::{Failure, FailureKind, Progress};
use crate::format::{Content, Decision, Outcome};
use crate::reader::LogError;
use crate::recovery::find_decision;
use crate::writer::{Given, Writer};

/// Waits so long, in ms, before it tries again to write what a failed sync has left.
const HEAL_MS: u64 = 500;
/// Attempts to read the log of another shard, which may lose its first segments meanwhile.
const ATTEMPTS: u32 = 10;

/// The name of the directory of a shard's log, beside those of the others.
#[must_use]
pub fn shard_directory(shard: usize) -> String {
    format!("shard-{shard}")
}

/// The log of a shard.
#[derive(Debug)]
pub struct ShardLog {
    shared: Rc<RefCell<State>>,
}

/// What listens to the shard for a [`ShardLog`].
#[derive(Debug)]
pub struct LogListener {
    shared: Rc<RefCell<State>>,
}

#[derive(Debug)]
struct State {
    writer: Writer,
    progress: Arc<Progress>,
    namespaces: Arc<Namespaces>,
    /// The group in hand.
    group: Option<Group>,
    due: Due,
    /// Nothing is kept of the key that the next change is for.
    is_exempt: bool,
    heal_at: Millis,
    /// Bytes that may be written and not durable.
    unflushed_max: u64,
    /// Names given to long values in pieces, so far.
    drafts: u64,
    /// The next change is that of a value in pieces.
    published: Option<Given>,
}

#[derive(Clone, Copy, Debug)]
struct Group {
    coordinator: u16,
    tag: u64,
    /// A change of it is written, and the mark before that.
    has_begun: bool,
}

/// The last changes of keys that ask for more than that they are written.
#[derive(Clone, Copy, Default, Debug)]
struct Due {
    /// Whatever the connection says.
    always: u64,
    /// Where the connection says nothing.
    by_default: u64,
    /// Where the connection asks for it.
    if_asked: u64,
}

impl ShardLog {
    /// The log that a writer writes, and what is to listen to the shard. Beyond `unflushed_max` bytes that are not
    /// durable, writers are to wait.
    #[must_use]
    pub fn new(
        writer: Writer,
        namespaces: Arc<Namespaces>,
        unflushed_max: u64,
    ) -> (Self, LogListener) {
        let state = State {
            progress: Arc::clone(writer.progress()),
            writer,
            namespaces,
            group: None,
            due: Due::default(),
            is_exempt: false,
            heal_at: 0,
            unflushed_max,
            drafts: 0,
            published: None,
        };
        let shared = Rc::new(RefCell::new(state));
        let listener = LogListener {
            shared: Rc::clone(&shared),
        };
        (Self { shared }, listener)
    }
}

impl State {
    /// Looks into the log of a shard.
    fn has_decided(&self, coordinator: usize, tag: u64, since: u64) -> bool {
        let (disk, directory) = (self.writer.disk(), self.writer.directory());
        let other = directory.with_file_name(shard_directory(coordinator));
        let mut found = find_decision(disk, &other, tag, since);
        for _ in 1..ATTEMPTS {
            if found.is_ok() {
                break;
            }
            // A snapshot may just have shortened it.
            found = find_decision(disk, &other, tag, since);
        }
        // A log that cannot be read stops its own shard.
        found.unwrap_or(false)
    }

    fn change(&mut self, number: u64, record: &Record<'_>) {
        let (ack, may_lower) = if record.key.is_empty() {
            (self.namespaces.strongest(), true)
        } else {
            let namespace = self.namespaces.of(record.key);
            (namespace.ack, namespace.may_lower)
        };
        let published = self.published.take();
        match ack {
            Ack::None => {
                if let Some(given) = published {
                    self.writer.abandon(given.draft);
                }
                return;
            }
            Ack::Fast => {}
            Ack::Sync if may_lower => self.due.by_default = number,
            Ack::Sync => self.due.always = number,
        }
        self.due.if_asked = number;
        if let Some(group) = &mut self.group
            && !group.has_begun
        {
            group.has_begun = true;
            let (coordinator, tag) = (group.coordinator, group.tag);
            self.writer.mark(&Content::Begin { coordinator, tag });
        }
        match published {
            Some(given) => self.writer.change_in_pieces(number, record, given),
            None => self.writer.change(number, record),
        }
    }

    fn mark(&mut self, number: u64, mark: &Mark<'_>) {
        let outcome = match *mark {
            Mark::Begin { coordinator, tag } => {
                self.group = Some(Group {
                    coordinator,
                    tag,
                    has_begun: false,
                });
                return;
            }
            Mark::Decided { tag, parts } => {
                let parts = parts.to_vec();
                let decision = Content::Decision(Decision { tag, parts });
                self.writer.mark_numbered(number, &decision);
                return;
            }
            Mark::Whole => Outcome::Whole,
            Mark::Released => Outcome::Released,
            Mark::Undone => Outcome::Undone,
        };
        if let Some(group) = self.group.take()
            && group.has_begun
        {
            self.writer.mark(&Content::End {
                coordinator: group.coordinator,
                tag: group.tag,
                outcome,
            });
        }
    }
}

impl ChangeListener for LogListener {
    #[inline]
    fn reserve(&mut self, bytes: u64) -> Result<(), KeyspaceError> {
        let mut state = self.shared.borrow_mut();
        if state.is_exempt {
            return Ok(());
        }
        state.writer.reserve(bytes).map_err(error_of)
    }

    #[inline]
    fn admit(&mut self, key: &[u8]) -> Result<(), KeyspaceError> {
        let mut state = self.shared.borrow_mut();
        state.is_exempt = if key.is_empty() {
            state.namespaces.keep_nothing()
        } else {
            state.namespaces.of(key).ack == Ack::None
        };
        let has_failed = state.progress.has_failed() || state.writer.keeps_records();
        if state.is_exempt || !has_failed {
            return Ok(());
        }
        state.writer.check().map_err(error_of)
    }

    fn has_room(&self, bytes: u64) -> bool {
        self.shared.borrow_mut().writer.reserve(bytes).is_ok()
    }

    fn certain_room(&self) -> u64 {
        let state = self.shared.borrow();
        if state.progress.has_failed() || state.writer.keeps_records() {
            return 0;
        }
        state.writer.room()
    }

    fn name_draft(&mut self, key: &[u8]) -> u64 {
        let mut state = self.shared.borrow_mut();
        if state.namespaces.of(key).ack == Ack::None {
            return 0;
        }
        state.drafts += 1;
        state.drafts
    }

    fn piece(&mut self, draft: u64, offset: u64, bytes: &[u8]) -> bool {
        let mut state = self.shared.borrow_mut();
        !state.progress.has_failed() && state.writer.piece(draft, offset, bytes)
    }

    fn is_behind(&mut self) -> bool {
        let state = self.shared.borrow_mut();
        let progress = &state.progress;
        let durable = progress.durable_position();
        let unflushed = progress.position().saturating_sub(durable);
        if unflushed > state.unflushed_max / 2 {
            progress.demand();
        }
        unflushed > state.unflushed_max
    }

    fn publish_pieces(&mut self, draft: u64, bytes: u64) {
        self.shared.borrow_mut().published = Some(Given { draft, bytes });
    }

    fn abandon_pieces(&mut self, draft: u64) {
        self.shared.borrow_mut().writer.abandon(draft);
    }

    fn mark(&mut self, number: u64, mark: &Mark<'_>) {
        self.shared.borrow_mut().mark(number, mark);
    }

    #[inline]
    fn changed(&mut self, number: u64, record: &Record<'_>) {
        self.shared.borrow_mut().change(number, record);
    }
}

#[cold]
fn error_of(failure: Failure) -> KeyspaceError {
    KeyspaceError::LogFailed {
        errno: failure.errno,
    }
}

impl Log for ShardLog {
    #[inline]
    fn durable(&self) -> u64 {
        self.shared.borrow().progress.durable_number()
    }

    fn run(&self) -> u64 {
        self.shared.borrow().writer.epoch()
    }

    fn has_decided(&self, coordinator: usize, tag: u64, since: u64) -> bool {
        let state = self.shared.borrow();
        state.has_decided(coordinator, tag, since)
    }

    fn demand(&self) {
        self.shared.borrow().writer.demand();
    }

    fn demand_soon(&self) {
        self.shared.borrow().writer.demand_soon();
    }

    #[inline]
    fn must_be_durable(&self, ack: AckChoice) -> u64 {
        let due = self.shared.borrow().due;
        match ack {
            AckChoice::Default => due.always.max(due.by_default),
            AckChoice::Fast => due.always,
            AckChoice::Sync => due.if_asked.max(due.always).max(due.by_default),
        }
    }

    fn close(&mut self) {
        self.shared.borrow_mut().writer.close();
    }

    fn status(&self) -> LogStatus {
        let state = self.shared.borrow();
        let progress = &state.progress;
        let bytes = progress.position();
        LogStatus {
            bytes,
            unflushed_bytes: bytes.saturating_sub(progress.durable_position()),
            syncs: progress.syncs(),
            persist: progress.persist() as u8,
            errno: progress.failure().map_or(0, |failure| failure.errno),
            lost_changes: state.writer.lost(),
        }
    }

    fn set_namespaces(&mut self, namespaces: Arc<Namespaces>) {
        self.shared.borrow_mut().namespaces = namespaces;
    }

    fn pressure(&self) -> Pressure {
        let state = self.shared.borrow();
        let progress = &state.progress;
        if progress.has_failed() {
            return Pressure::None;
        }
        let unflushed = progress
            .position()
            .saturating_sub(progress.durable_position());
        if unflushed > state.unflushed_max || state.writer.waits_for_segment() {
            Pressure::Wait
        } else if unflushed > state.unflushed_max / 2 {
            Pressure::Flush
        } else {
            Pressure::None
        }
    }

    fn work(&mut self, now: Millis) {
        let mut state = self.shared.borrow_mut();
        if !state.progress.has_failed() {
            state.writer.commit();
            return;
        }
        if now < state.heal_at {
            return;
        }
        state.heal_at = now + HEAL_MS;
        if state.progress.must_heal()
            && let Err(LogError::Disk { error, .. }) = state.writer.heal()
        {
            // The cause may be another one by now.
            let failure = Failure::new(FailureKind::Sync, &error);
            state.progress.set_failure(failure);
        }
    }
}
