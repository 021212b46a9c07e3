//! Reads of one key: of the own shard, or of another one through its shared memory.

use super::Engine;
use super::dispatch::{Flow, Plan};
use super::session::{Gates, Session, Wait};
use super::views::{Borrowed, LendingHeld};
use crate::commands::{CommandId, Flags, Group, ReadContext, ReadHandler};
use crate::keyspace::{EntryView, Key, Leased, LeasedValue, Looked, Value};
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
        let untouched = self.table.spec(command).flags.has(Flags::NO_TOUCH);
        let view = if untouched || session.gates.any(Gates::NO_TOUCH) {
            self.shard.peek(&key, self.now)
        } else {
            self.shard.find(&key, self.now)
        };
        let is_long = view.is_some_and(|view| view.is_long());
        if is_long && !session.slots.is_empty() {
            // Behind replies that are not there yet it would have to be copied.
            return Flow::Again(Wait::Slots);
        }
        let context = ReadContext {
            now: self.now,
            limits: &self.options.limits,
        };
        let lending = is_long.then_some(&mut self.lending as &mut dyn Lend);
        reply_read(&self.stats, session, &context, handler, view, args, lending);
        if is_long {
            session.output.add_views(self.lending.drain());
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
        if session.must_ask_owner(plan.shard, plan.hash) {
            return self.forward(index, plan.shard, command, args, Some(plan.hash));
        }
        let key = Key {
            db: session.db,
            hash: plan.hash,
            bytes: args.at(plan.key_at),
        };
        // Only a string command looks at nothing but the value and its version.
        let looked = if self.table.spec(command).group == Group::String {
            let (holder, scratch) = (&mut self.holder, &mut self.scratch);
            reader.lease(&key, self.now, plan.shard, holder, scratch)
        } else {
            Looked::Unsettled
        };
        let view = match looked {
            Looked::Hit(Leased::Run(value)) => {
                return self.reply_held(index, handler, args, plan, value);
            }
            Looked::Hit(Leased::Copied(info)) => {
                let bytes = || Value::Bytes(&self.scratch[..info.len as usize]);
                let value = info.int.map_or_else(bytes, Value::Int);
                Some(EntryView::outside(value, info.expire_at, info.version))
            }
            Looked::Miss => None,
            Looked::Hit(Leased::NoSlot) | Looked::OtherKind | Looked::Unsettled => {
                let Some(view) = reader.get(&key, self.now, &mut self.scratch) else {
                    self.stats.add(Counter::CrossShardRetries, 1);
                    return self.forward(index, plan.shard, command, args, Some(plan.hash));
                };
                view
            }
        };
        self.stats.add(Counter::CrossShardReads, 1);
        self.holder.report(plan.shard, plan.hash, key.db);
        self.shard.note_read(&key, payload_bytes(&key, view));
        let context = ReadContext {
            now: self.now,
            limits: &self.options.limits,
        };
        reply_read(&self.stats, session, &context, handler, view, args, None);
        Flow::Done
    }

    /// Replies with what a read handler makes of a long value of another shard, which is held for it.
    fn reply_held(
        &mut self,
        index: usize,
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
        self.holder.report(plan.shard, plan.hash, session.db);
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
            handler,
            Some(view),
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
    let value_bytes = |view: EntryView<'_>| match view.value {
        Value::Bytes(bytes) => bytes.len() as u64,
        Value::Int(number) => size_of_val(&number) as u64,
    };
    view.map_or(0, |view| key.bytes.len() as u64 + value_bytes(view))
}

/// Replies with what a read handler makes of an entry, wherever that was found.
#[inline]
fn reply_read(
    stats: &StatsBlock,
    session: &mut Session,
    context: &ReadContext<'_>,
    handler: ReadHandler,
    view: Option<EntryView<'_>>,
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
    if let Err(error) = handler(context, view, args, &mut reply) {
        error.write(&mut reply);
    }
}
