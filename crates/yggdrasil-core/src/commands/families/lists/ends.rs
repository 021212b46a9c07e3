//! Pushing and popping at the ends of a list.

use super::{arguments, list_of, write_element};
use crate::commands::table::error::CommandError;
use crate::commands::table::handler::{Outcome, ShardContext};
use crate::keyspace::collection::list::{Side, put_pop, put_push};
use crate::keyspace::{Key, KeyEvent, Kind};
use crate::resp::{Args, Reply};

pub(super) fn lpush(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    push(context, args, reply, Side::Front, false)
}

pub(super) fn rpush(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    push(context, args, reply, Side::Back, false)
}

pub(super) fn lpushx(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    push(context, args, reply, Side::Front, true)
}

pub(super) fn rpushx(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    push(context, args, reply, Side::Back, true)
}

/// The event of a push at an end.
fn pushed(side: Side) -> KeyEvent {
    match side {
        Side::Front => KeyEvent::LPush,
        Side::Back => KeyEvent::RPush,
    }
}

/// The event of a pop at an end.
fn popped(side: Side) -> KeyEvent {
    match side {
        Side::Front => KeyEvent::LPop,
        Side::Back => KeyEvent::RPop,
    }
}

fn push(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
    side: Side,
    needs_list: bool,
) -> Outcome {
    let key = context.first_key(args.at(1));
    let found = context.of_kind(Kind::List, &key)?;
    if needs_list && found.is_none() {
        reply.int(0);
        return Ok(());
    }
    let before = list_of(found.as_ref()).len();
    let mut ops = Vec::with_capacity(args.iter().skip(2).map(|element| element.len() + 6).sum());
    for element in args.iter().skip(2) {
        put_push(&mut ops, side, element);
    }
    context.change(&key, Kind::List, &ops)?;
    context.notify(pushed(side), &key);
    reply.count(before + args.len() as u64 - 2);
    Ok(())
}

pub(super) fn lpop(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    pop(context, args, reply, "lpop", Side::Front)
}

pub(super) fn rpop(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    pop(context, args, reply, "rpop", Side::Back)
}

fn pop(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
    name: &'static str,
    side: Side,
) -> Outcome {
    if args.len() > 3 {
        return Err(CommandError::WrongArity(name));
    }
    let error = "value is out of range, must be positive";
    let wanted = args
        .get(2)
        .map(|count| arguments::at_least(0, count, error));
    let wanted = wanted.transpose()?;
    let key = context.first_key(args.at(1));
    let Some(found) = context.of_kind(Kind::List, &key)? else {
        match wanted {
            Some(_) => reply.null_array(),
            None => reply.null(),
        }
        return Ok(());
    };
    let list = list_of(Some(&found));
    let len = list.len();
    let count = wanted.unwrap_or(1).min(len);
    if wanted.is_some() {
        reply.array(count as usize);
    }
    for element in list.from_end(side, count) {
        write_element(reply, element);
    }
    if count > 0 {
        remove_from_end(context, &key, side, count, count == len)?;
    }
    Ok(())
}

/// Removes elements at an end, all of them or a part, and tells of it.
fn remove_from_end(
    context: &mut ShardContext<'_>,
    key: &Key<'_>,
    side: Side,
    count: u64,
    all: bool,
) -> Outcome {
    let mut ops = Vec::with_capacity(10);
    put_pop(&mut ops, side, count);
    context.reduce(key, Kind::List, &ops)?;
    context.notify(popped(side), key);
    if all {
        context.notify(KeyEvent::Del, key);
    }
    Ok(())
}
