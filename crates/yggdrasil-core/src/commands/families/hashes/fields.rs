//! Fields and their values.

use std::collections::HashSet;

use crate::commands::families::scan::{Scanned, scan_elements};
use crate::commands::families::steps::{long, write_in_steps};
use crate::commands::families::value::write_element;
use crate::commands::table::error::CommandError;
use crate::commands::table::handler::{Outcome, ReadContext, ShardContext};
use crate::keyspace::collection::hash::{Cell, HashView, Row, put_remove, put_set};
use crate::keyspace::{EntryView, KeyEvent, Kind, Millis, Packing, Value};
use crate::resp::{Args, Reply};

use super::hash_of;

pub(super) fn hset(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let new = set_all(context, args, "hset")?;
    reply.count(new);
    Ok(())
}

pub(super) fn hmset(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    set_all(context, args, "hmset")?;
    reply.ok();
    Ok(())
}

/// Gives fields values. Returns the number of new ones.
fn set_all(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    command: &'static str,
) -> Result<u64, CommandError> {
    if !args.len().is_multiple_of(2) {
        return Err(CommandError::WrongArity(command));
    }
    let key = context.first_key(&args[1]);
    let now = context.now;
    let mut ops = context.ops_of(args);
    let (entry, at) = context.to_change(Kind::Hash, &key)?;
    let hash = hash_of(entry.as_ref(), now);
    let (before, overwritten) = (hash.len(), expired_fields(&hash, args));
    for place in (2..args.len()).step_by(2) {
        put_set(&mut ops, args.at(place), args.at(place + 1), None);
    }
    let after = context.change_at(at, &key, Kind::Hash, ops)?;
    context.notify(KeyEvent::HSet, &key);
    let len = || hash_of(context.shard.look(&key, now).as_ref(), now).len();
    let after = after.unwrap_or_else(len);
    Ok(after - before + overwritten)
}

/// The number of fields among arguments that are in a hash but have expired.
fn expired_fields(hash: &HashView<'_>, args: &Args<'_>) -> u64 {
    if !hash.has_expired() {
        return 0;
    }
    let fields = args.iter().skip(2).step_by(2);
    let fields: HashSet<&[u8]> = fields.collect();
    let has_expired = |field: &&&[u8]| hash.has(field) && hash.get(field).is_none();
    fields.iter().filter(has_expired).count() as u64
}

pub(super) fn hsetnx(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let key = context.first_key(&args[1]);
    let now = context.now;
    let (entry, at) = context.to_change(Kind::Hash, &key)?;
    let is_there = hash_of(entry.as_ref(), now).get(args.at(2)).is_some();
    if !is_there {
        let mut ops = context.ops_of(args);
        put_set(&mut ops, args.at(2), args.at(3), None);
        context.change_at(at, &key, Kind::Hash, ops)?;
        context.notify(KeyEvent::HSet, &key);
    }
    reply.int(i64::from(!is_there));
    Ok(())
}

pub(super) fn hdel(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let key = context.first_key(&args[1]);
    let now = context.now;
    let mut ops = context.ops_of(args);
    let (entry, at) = context.to_change(Kind::Hash, &key)?;
    let hash = hash_of(entry.as_ref(), now);
    let mut gone = HashSet::new();
    for field in args.iter().skip(2) {
        if hash.get(field).is_some() && gone.insert(field) {
            put_remove(&mut ops, field);
        }
    }
    let is_last = hash.len() == gone.len() as u64;
    if !gone.is_empty() {
        context.reduce_at(at, &key, Kind::Hash, ops)?;
        context.notify(KeyEvent::HDel, &key);
        if is_last {
            context.notify(KeyEvent::Del, &key);
        }
    }
    reply.count(gone.len() as u64);
    Ok(())
}

/// The value of a field, or null.
pub(super) fn write_value(reply: &mut Reply<'_>, cell: Option<Cell<'_>>) {
    match cell {
        Some(cell) => write_element(reply, cell.value),
        None => reply.null(),
    }
}

pub(super) fn hget(
    context: &ReadContext<'_>,
    entry: Option<&EntryView<'_>>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let hash = hash_of(entry, context.now);
    write_value(reply, hash.get(args.at(2)));
    Ok(())
}

pub(super) fn hmget(
    context: &ReadContext<'_>,
    entry: Option<&EntryView<'_>>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let hash = hash_of(entry, context.now);
    reply.array(args.len() - 2);
    for field in args.iter().skip(2) {
        write_value(reply, hash.get(field));
    }
    Ok(())
}

pub(super) fn hgetall(
    context: &ReadContext<'_>,
    entry: Option<&EntryView<'_>>,
    _: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let hash = hash_of(entry, context.now);
    reply.map(hash.live_len() as usize);
    write_rows(context.now, entry, &hash, reply, |reply, row| {
        write_element(reply, row.field);
        write_element(reply, row.cell.value);
    });
    Ok(())
}

pub(super) fn hkeys(
    context: &ReadContext<'_>,
    entry: Option<&EntryView<'_>>,
    _: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let hash = hash_of(entry, context.now);
    reply.array(hash.live_len() as usize);
    write_rows(context.now, entry, &hash, reply, |reply, row| {
        write_element(reply, row.field);
    });
    Ok(())
}

pub(super) fn hvals(
    context: &ReadContext<'_>,
    entry: Option<&EntryView<'_>>,
    _: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let hash = hash_of(entry, context.now);
    reply.array(hash.live_len() as usize);
    write_rows(context.now, entry, &hash, reply, |reply, row| {
        write_element(reply, row.cell.value);
    });
    Ok(())
}

/// Writes something of each field, in steps where there are many.
fn write_rows(
    now: Millis,
    entry: Option<&EntryView<'_>>,
    hash: &HashView<'_>,
    reply: &mut Reply<'_>,
    write: impl Fn(&mut Reply<'_>, Row<'_>) + 'static,
) {
    let Some(tree) = long(entry, hash.len()) else {
        hash.visit(|row| write(reply, row));
        return;
    };
    write_in_steps(reply, tree, 0..hash.len(), move |tree, positions, reply| {
        let hash = HashView::of(&Value::Tree(tree), &Packing::default(), now);
        hash.rows_at(positions).for_each(|row| write(reply, row));
    });
}

pub(super) fn hlen(
    context: &ReadContext<'_>,
    entry: Option<&EntryView<'_>>,
    _: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    reply.count(hash_of(entry, context.now).len());
    Ok(())
}

pub(super) fn hstrlen(
    context: &ReadContext<'_>,
    entry: Option<&EntryView<'_>>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let hash = hash_of(entry, context.now);
    let cell = hash.get(args.at(2));
    reply.count(cell.map_or(0, |cell| cell.value.text_len() as u64));
    Ok(())
}

pub(super) fn hexists(
    context: &ReadContext<'_>,
    entry: Option<&EntryView<'_>>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let hash = hash_of(entry, context.now);
    reply.int(i64::from(hash.get(args.at(2)).is_some()));
    Ok(())
}

pub(super) fn hscan(
    context: &ReadContext<'_>,
    entry: Option<&EntryView<'_>>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let what = (Kind::Hash, Scanned::Fields);
    scan_elements(what, entry, args, reply, |entry, cursor, count, visit| {
        let (mut field, mut value) = (itoa::Buffer::new(), itoa::Buffer::new());
        hash_of(Some(entry), context.now).scan(cursor, count, |row| {
            let value = row.cell.value.text(&mut value);
            visit(row.field.text(&mut field), Some(value));
        })
    })
}
