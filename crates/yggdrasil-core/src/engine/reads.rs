//! Reads of one key: of the own shard, or of another one through its shared memory.

use super::Engine;
use super::dispatch::{Flow, Plan};
use super::session::{Gates, Session, Wait};
use super::views::{Borrowed, LendingHeld, TooEarly};
use crate::commands::{CommandId, Flags, ReadContext, ReadHandler, check_kind};
use crate::keyspace::{
    EntryView, EventClasses, Key, KeyEvent, Kind, Leased, LeasedValue, Looked, Value,
};
use crate::resp::{Args, Lend, Reply};
use crate::stats::{Counter, StatsBlock};

impl Engine {
    #[inline(always)]
    pub(super) fn read_own(
        &mut self,
        index: usize,
        command: CommandId,
        handler: ReadHandler,
        args: &Args<'_>,
        plan: Plan,
    ) -> Flow {
        if self.reserved.is_some() {
            return Flow::Again(Wait::Release);
        }
        let session = &mut self.sessions[index];
        if session.must_read_later(self.me) {
            return Flow::Again(Wait::Slots);
        }
        let key = Key {
            db: session.db,
            hash: plan.hash,
            bytes: args.at(plan.key_at),
        };
        let row = self.table.spec(command);
        let untouched = row.flags.has(Flags::NO_TOUCH);
        let view = if untouched || session.gates.any(Gates::NO_TOUCH) {
            self.shard.look(&key, self.now)
        } else {
            self.shard.use_entry(&key, self.now)
        };
        let is_miss = view.is_none();
        let is_long = view.is_some_and(|view| view.is_long());
        if is_long && !session.slots.is_empty() {
            // Behind replies that are not there yet it would have to be copied.
            return Flow::Again(Wait::Slots);
        }
        let context = ReadContext {
            now: self.now,
            limits: &self.options.limits,
        };
        let is_tree = view.is_some_and(|view| matches!(view.value, Value::Tree(_)));
        let mut too_early = TooEarly::default();
        let lending = match is_long || is_tree {
            false => None,
            true if session.slots.is_empty() => Some(&mut self.lending as &mut dyn Lend),
            true => Some(&mut too_early as &mut dyn Lend),
        };
        let run = (row.needs, handler);
        let start = if is_tree {
            session.reply_target().len()
        } else {
            0
        };
        let view = view.as_ref();
        reply_read(&self.stats, session, &context, run, view, args, lending);
        if too_early.0 {
            session.take_back(start);
            self.stats.subtract(Counter::KeyspaceHits, 1);
            return Flow::Again(Wait::Slots);
        }
        if is_long || is_tree && !self.lending.is_empty() {
            session.output.add_views(self.lending.drain());
            self.keep_rest(index);
        }
        if self.tracks(index) {
            let origin = self.origin_of(index);
            self.track(origin, std::iter::once(key.bytes));
        }
        if is_miss {
            self.shard.notify(KeyEvent::KeyMiss, key.db, key.bytes);
        }
        Flow::Done
    }

    /// A read of another shard: through shared memory, or by its owner when something of this session is under way
    /// there, when the shard is reserved, or when the read does not settle.
    pub(super) fn read_other(
        &mut self,
        index: usize,
        command: CommandId,
        handler: ReadHandler,
        args: &Args<'_>,
        plan: Plan,
    ) -> Flow {
        let session = &mut self.sessions[index];
        let reader = self.readers[plan.shard]
            .as_ref()
            .expect("there is a reader of every other shard");
        if session.must_read_later(plan.shard) {
            return Flow::Again(Wait::Slots);
        }
        if session.must_ask_owner(plan.shard, plan.hash)
            || session.tracks
            || self.shard.wants_events(EventClasses::KEY_MISS)
        {
            return self.forward(index, plan.shard, command, args, Some(plan.hash));
        }
        let key = Key {
            db: session.db,
            hash: plan.hash,
            bytes: args.at(plan.key_at),
        };
        // Only a string command looks at nothing but the value and its version.
        let row = self.table.spec(command);
        let needs = row.needs;
        let untouched = row.flags.has(Flags::NO_TOUCH) || session.gates.any(Gates::NO_TOUCH);
        let looked = if needs == Some(Kind::String) {
            let (holder, scratch) = (&mut self.holder, &mut self.scratch);
            reader.lease(&key, self.now, plan.shard, holder, scratch)
        } else {
            Looked::Unsettled
        };
        let view = match looked {
            Looked::Hit(Leased::Run(value)) => {
                return self.reply_held(index, command, handler, args, plan, value);
            }
            Looked::Hit(Leased::Copied(info)) => {
                let bytes = || Value::Bytes(&self.scratch[..info.len as usize]);
                let value = info.int.map_or_else(bytes, Value::Int);
                Some(EntryView::outside(value, info.expire_at, info.version))
            }
            Looked::Miss => None,
            Looked::AskOwner => {
                return self.forward(index, plan.shard, command, args, Some(plan.hash));
            }
            Looked::Hit(Leased::NoSlot) | Looked::OtherKind | Looked::Unsettled => {
                match reader.get(&key, self.now, &mut self.scratch) {
                    Looked::Hit(view) => Some(view),
                    Looked::Miss => None,
                    other => {
                        let is_retry = u64::from(other != Looked::AskOwner);
                        self.stats.add(Counter::CrossShardRetries, is_retry);
                        return self.forward(index, plan.shard, command, args, Some(plan.hash));
                    }
                }
            }
        };
        self.stats.add(Counter::CrossShardReads, 1);
        if !untouched {
            self.holder.report(plan.shard, plan.hash, key.db);
        }
        self.shard.note_read(&key, payload_bytes(&key, view));
        let context = ReadContext {
            now: self.now,
            limits: &self.options.limits,
        };
        let run = (needs, handler);
        let view = view.as_ref();
        reply_read(&self.stats, session, &context, run, view, args, None);
        Flow::Done
    }

    /// Replies with what a read handler makes of a long value of another shard, which is held for it.
    fn reply_held(
        &mut self,
        index: usize,
        command: CommandId,
        handler: ReadHandler,
        args: &Args<'_>,
        plan: Plan,
        value: LeasedValue,
    ) -> Flow {
        let session = &mut self.sessions[index];
        if !session.slots.is_empty() {
            // Behind replies that are not there yet it would have to be copied.
            self.holder.release(value.lease);
            return Flow::Again(Wait::Slots);
        }
        let Some(reader) = &self.readers[plan.shard] else {
            return Flow::Done;
        };
        self.stats.add(Counter::CrossShardReads, 1);
        let flags = self.table.spec(command).flags;
        if !flags.has(Flags::NO_TOUCH) && !session.gates.any(Gates::NO_TOUCH) {
            self.holder.report(plan.shard, plan.hash, session.db);
        }
        let key = Key {
            db: session.db,
            hash: plan.hash,
            bytes: args.at(plan.key_at),
        };
        self.shard
            .note_read(&key, key.bytes.len() as u64 + value.len);
        let (expire_at, version) = (value.expire_at, value.version);
        let borrowed = Borrowed::new(plan.shard, value, &self.returned);
        let bytes = borrowed.bytes(reader);
        let mut lending = LendingHeld::new(&borrowed, bytes);
        let context = ReadContext {
            now: self.now,
            limits: &self.options.limits,
        };
        let view = EntryView::outside(Value::Bytes(bytes), expire_at, version);
        reply_read(
            &self.stats,
            session,
            &context,
            (Some(Kind::String), handler),
            Some(&view),
            args,
            Some(&mut lending),
        );
        session.output.add_views(lending.into_views());
        Flow::Done
    }
}

/// Bytes of a key and its value as they are stored; 0 without one.
#[inline]
pub(super) fn payload_bytes(key: &Key<'_>, view: Option<EntryView<'_>>) -> u64 {
    view.map_or(0, |view| key.bytes.len() as u64 + view.value.stored_len())
}

/// Replies with what a read handler makes of an entry, wherever that was found.
#[inline(always)]
fn reply_read(
    stats: &StatsBlock,
    session: &mut Session,
    context: &ReadContext<'_>,
    (needs, handler): (Option<Kind>, ReadHandler),
    view: Option<&EntryView<'_>>,
    args: &Args<'_>,
    lending: Option<&mut dyn Lend>,
) {
    let counter = if view.is_some() {
        Counter::KeyspaceHits
    } else {
        Counter::KeyspaceMisses
    };
    stats.add(counter, 1);
    let protocol = session.protocol;
    let target = session.reply_target();
    let mut reply = match lending {
        None => Reply::new(target, protocol),
        Some(lending) => Reply::lending(target, protocol, lending),
    };
    let fits = check_kind(needs, view);
    if let Err(error) = fits.and_then(|()| handler(context, view, args, &mut reply)) {
        error.write(&mut reply);
    }
}
