//! Commands that read or set fields, and change when they expire.

use std::collections::HashSet;

use crate::commands::families::hashes::fields::write_value;
use crate::commands::table::handler::{Outcome, ShardContext};
use crate::keyspace::collection::hash::{put_expire, put_remove, put_set};
use crate::keyspace::{KeyEvent, Kind};
use crate::resp::{Args, Reply};

use super::hash_of;
use super::options::{NOT_POSITIVE, Needs, NewTime, Setex, fields, getex};
use super::times::Changes;

pub(super) fn hgetdel(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let (key, now) = (context.first_key(&args[1]), context.now);
    let entry = context.of_kind(Kind::Hash, &key)?;
    let fields = fields(args, 2, NOT_POSITIVE)?;
    let hash = hash_of(entry.as_ref(), now);
    let mut gone = HashSet::new();
    let mut ops = Vec::new();
    reply.array(fields.len());
    for field in fields.iter() {
        let cell = hash.get(field).filter(|_| !gone.contains(field));
        write_value(reply, cell);
        if cell.is_some() {
            put_remove(&mut ops, field);
            gone.insert(field);
        }
    }
    let is_last = hash.len() == gone.len() as u64;
    if !gone.is_empty() {
        context.reduce(&key, Kind::Hash, &ops)?;
        context.notify(KeyEvent::HDel, &key);
        if is_last {
            context.notify(KeyEvent::Del, &key);
        }
    }
    Ok(())
}

pub(super) fn hgetex(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let (key, now) = (context.first_key(&args[1]), context.now);
    let entry = context.of_kind(Kind::Hash, &key)?;
    let (time, fields) = getex(args, now)?;
    let hash = hash_of(entry.as_ref(), now);
    let mut changes = Changes::default();
    let mut gone = HashSet::new();
    reply.array(fields.len());
    for field in fields.iter() {
        let cell = hash.get(field).filter(|_| !gone.contains(field));
        write_value(reply, cell);
        let Some(cell) = cell else {
            continue;
        };
        match time {
            NewTime::At(at) if changes.expire(field, at, now) => {
                gone.insert(field);
            }
            NewTime::Never if cell.expire_at.is_some() => {
                put_expire(&mut changes.ops, field, None);
                changes.changed += 1;
            }
            NewTime::At(_) | NewTime::Never | NewTime::Keep => {}
        }
    }
    let event = match time {
        NewTime::Never => KeyEvent::HPersist,
        NewTime::At(_) | NewTime::Keep => KeyEvent::HExpire,
    };
    let len = hash.len();
    changes.make(context, &key, len, event)
}

pub(super) fn hsetex(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let (key, now) = (context.first_key(&args[1]), context.now);
    let options = Setex::parse(args, now)?;
    let entry = context.of_kind(Kind::Hash, &key)?;
    let hash = hash_of(entry.as_ref(), now);
    let fields = || options.pairs.iter().step_by(2);
    let holds = match options.needs {
        Needs::Nothing => true,
        Needs::None => fields().all(|field| hash.get(field).is_none()),
        Needs::All => fields().all(|field| hash.get(field).is_some()),
    };
    reply.int(i64::from(holds));
    if !holds {
        return Ok(());
    }
    let is_over = matches!(options.time, NewTime::At(at) if at <= now);
    let mut ops = Vec::with_capacity(args.bytes().len());
    for (field, value) in fields().zip(options.pairs.iter().skip(1).step_by(2)) {
        let expire_at = match options.time {
            NewTime::Never => None,
            NewTime::At(at) => Some(at),
            NewTime::Keep => hash.get(field).and_then(|cell| cell.expire_at),
        };
        if is_over {
            put_remove(&mut ops, field);
        } else {
            put_set(&mut ops, field, value, expire_at);
        }
    }
    let is_new = hash.is_empty();
    let distinct: HashSet<_> = fields().filter(|field| hash.get(field).is_some()).collect();
    let is_gone = is_over && !is_new && hash.len() == distinct.len() as u64;
    if !(is_over && distinct.is_empty()) {
        context.change(&key, Kind::Hash, &ops)?;
    }
    context.notify(KeyEvent::HSet, &key);
    match options.time {
        _ if is_over => context.notify(KeyEvent::HDel, &key),
        NewTime::At(_) => context.notify(KeyEvent::HExpire, &key),
        NewTime::Never | NewTime::Keep => {}
    }
    if is_gone || is_over && is_new {
        context.notify(KeyEvent::Del, &key);
    }
    Ok(())
}
