//! Pushing and popping at the ends of a list.

use super::{arguments, list_of};
use crate::commands::families::removing::{Removal, remove};
use crate::commands::families::steps::{long, write_in_steps};
use crate::commands::families::value::write_element;
use crate::commands::table::error::CommandError;
use crate::commands::table::handler::{Outcome, ShardContext};
use crate::keyspace::collection::list::{ListView, Side, put_pop, put_push};
use crate::keyspace::{EntryPlace, Key, KeyEvent, Kind, Packing, Value};
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
    let mut ops = context.ops_of(args);
    let (found, at) = context.to_change(Kind::List, &key)?;
    if needs_list && found.is_none() {
        reply.int(0);
        return Ok(());
    }
    let before = list_of(found.as_ref()).len();
    for element in args.from(2).iter() {
        put_push(&mut ops, side, element);
    }
    context.change_at(at, &key, Kind::List, ops)?;
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
    let (Some(found), at) = context.to_change(Kind::List, &key)? else {
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
    if count == 1 {
        if let Some(element) = list.end(side) {
            write_element(reply, element);
        }
    } else if let Some(tree) = long(Some(&found), count) {
        write_in_steps(reply, tree, 0..count, move |tree, part, reply| {
            let list = ListView::of(&Value::Tree(tree), &Packing::default());
            let some = (part.end - part.start) as usize;
            let mut write = |element| write_element(reply, element);
            match side {
                Side::Front => list.from(part.start).take(some).for_each(&mut write),
                Side::Back => {
                    let last = len - 1 - part.start;
                    list.back_from(last).take(some).for_each(&mut write);
                }
            }
        });
    } else {
        for element in list.from_end(side, count) {
            write_element(reply, element);
        }
    }
    if count > 0 {
        remove_from_end(context, &key, at, side, count, count == len)?;
    }
    Ok(())
}

/// Bytes of the operation that removes one element.
const POP_BYTES: usize = 2;

/// Removes elements at an end, all of them or a part, and tells of it.
fn remove_from_end(
    context: &mut ShardContext<'_>,
    key: &Key<'_>,
    at: Option<EntryPlace>,
    side: Side,
    count: u64,
    all: bool,
) -> Outcome {
    if all {
        // What is left of a long one is freed in steps.
        context.shard.remove(key, context.now);
        context.notify(popped(side), key);
        context.notify(KeyEvent::Del, key);
        return Ok(());
    }
    if count == 1 {
        let mut ops = context.shard.take_ops(POP_BYTES);
        put_pop(&mut ops, side, 1);
        context.reduce_at(at, key, Kind::List, ops)?;
        context.notify(popped(side), key);
        return Ok(());
    }
    let removal = Removal {
        kind: Kind::List,
        count,
        bytes: 0,
        event: popped(side),
        ops: move |ops: &mut Vec<u8>, some| put_pop(ops, side, some),
    };
    remove(context, key, removal)
}
