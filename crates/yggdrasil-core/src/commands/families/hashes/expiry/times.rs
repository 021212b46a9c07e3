//! When fields expire.

use std::collections::HashMap;

use crate::commands::table::handler::{Outcome, ReadContext, ShardContext};
use crate::keyspace::collection::hash::{put_expire, put_remove};
use crate::keyspace::{EntryView, Key, KeyEvent, Kind, Millis};
use crate::resp::{Args, Reply};

use super::hash_of;
use super::options::{Clock, Condition, NOT_POSITIVE, fields};

// Replies for a field.
const NO_FIELD: i64 = -2;
const NO_TIME: i64 = -1;
const REFUSED: i64 = 0;
const CHANGED: i64 = 1;
const REMOVED: i64 = 2;

pub(super) fn hexpire(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    expire(context, args, reply, Clock::SECONDS, "hexpire")
}

pub(super) fn hpexpire(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    expire(context, args, reply, Clock::MILLISECONDS, "hpexpire")
}

pub(super) fn hexpireat(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    expire(context, args, reply, Clock::UNIX_SECONDS, "hexpireat")
}

pub(super) fn hpexpireat(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    expire(context, args, reply, Clock::UNIX_MILLISECONDS, "hpexpireat")
}

/// Changes of times that a command has decided on.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) ops: Vec<u8>,
    pub(super) removed: u64,
    pub(super) changed: u64,
}

impl Changes {
    /// Lets a field expire at a time, or removes it where that is over. True for a removal.
    pub(super) fn expire(&mut self, field: &[u8], at: Millis, now: Millis) -> bool {
        let is_over = at <= now;
        if is_over {
            put_remove(&mut self.ops, field);
            self.removed += 1;
        } else {
            put_expire(&mut self.ops, field, Some(at));
            self.changed += 1;
        }
        is_over
    }

    /// Makes them, in a hash of so many fields, and publishes what has become of its key.
    pub(super) fn make(
        &self,
        context: &mut ShardContext<'_>,
        key: &Key<'_>,
        len: u64,
        event: KeyEvent,
    ) -> Outcome {
        if self.ops.is_empty() {
            return Ok(());
        }
        context.reduce(key, Kind::Hash, &self.ops)?;
        if self.removed > 0 {
            context.notify(KeyEvent::HDel, key);
        }
        if self.changed > 0 {
            context.notify(event, key);
        }
        if self.removed == len {
            context.notify(KeyEvent::Del, key);
        }
        Ok(())
    }
}

fn expire(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
    clock: Clock,
    command: &'static str,
) -> Outcome {
    let (key, now) = (context.first_key(&args[1]), context.now);
    let entry = context.of_kind(Kind::Hash, &key)?;
    let at = clock.read(args.at(2), now, command)?;
    let condition = Condition::of(args.at(3));
    let fields_at = if condition.is_some() { 4 } else { 3 };
    let wrong_number = "Parameter `numFields` should be greater than 0";
    let fields = fields(args, fields_at, wrong_number)?;
    let hash = hash_of(entry.as_ref(), now);
    let mut changes = Changes::default();
    // Fields that come again are seen as the command has left them.
    let mut done: HashMap<&[u8], Option<Option<Millis>>> = HashMap::new();
    reply.array(fields.len());
    for field in fields.iter() {
        let known = match done.get(field) {
            Some(known) => *known,
            None => hash.get(field).map(|cell| cell.expire_at),
        };
        let outcome = match known {
            None => NO_FIELD,
            Some(before) if condition.is_some_and(|c| !c.holds(before, at)) => REFUSED,
            Some(_) if changes.expire(field, at, now) => {
                done.insert(field, None);
                REMOVED
            }
            Some(_) => {
                done.insert(field, Some(Some(at)));
                CHANGED
            }
        };
        reply.int(outcome);
    }
    let len = hash.len();
    changes.make(context, &key, len, KeyEvent::HExpire)
}

pub(super) fn hpersist(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let (key, now) = (context.first_key(&args[1]), context.now);
    let entry = context.of_kind(Kind::Hash, &key)?;
    let fields = fields(args, 2, NOT_POSITIVE)?;
    let hash = hash_of(entry.as_ref(), now);
    let mut changes = Changes::default();
    let mut done: HashMap<&[u8], ()> = HashMap::new();
    reply.array(fields.len());
    for field in fields.iter() {
        let outcome = match hash.get(field).map(|cell| cell.expire_at) {
            None => NO_FIELD,
            Some(Some(_)) if done.insert(field, ()).is_none() => {
                put_expire(&mut changes.ops, field, None);
                changes.changed += 1;
                CHANGED
            }
            Some(_) => NO_TIME,
        };
        reply.int(outcome);
    }
    let len = hash.len();
    changes.make(context, &key, len, KeyEvent::HPersist)
}

pub(super) fn httl(
    context: &ReadContext<'_>,
    entry: Option<&EntryView<'_>>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let now = context.now;
    write_times(context, entry, args, reply, |at| (at - now).div_ceil(1000))
}

pub(super) fn hpttl(
    context: &ReadContext<'_>,
    entry: Option<&EntryView<'_>>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let now = context.now;
    write_times(context, entry, args, reply, |at| at - now)
}

pub(super) fn hexpiretime(
    context: &ReadContext<'_>,
    entry: Option<&EntryView<'_>>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    write_times(context, entry, args, reply, |at| at.div_ceil(1000))
}

pub(super) fn hpexpiretime(
    context: &ReadContext<'_>,
    entry: Option<&EntryView<'_>>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    write_times(context, entry, args, reply, |at| at)
}

fn write_times(
    context: &ReadContext<'_>,
    entry: Option<&EntryView<'_>>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
    time: impl Fn(Millis) -> u64,
) -> Outcome {
    let fields = fields(args, 2, NOT_POSITIVE)?;
    let hash = hash_of(entry, context.now);
    reply.array(fields.len());
    for field in fields.iter() {
        match hash.get(field).map(|cell| cell.expire_at) {
            None => reply.int(NO_FIELD),
            Some(None) => reply.int(NO_TIME),
            Some(Some(at)) => reply.count(time(at)),
        }
    }
    Ok(())
}
