//! Changes inside of a list.

use super::arguments::{Range, integer, signed};
use super::list_of;
use super::read::position_of;
use super::seeking::{Clearing, Insertion, Search};
use crate::commands::families::removing::{Removal, remove};
use crate::commands::families::steps::STEP_NEXT;
use crate::commands::table::error::CommandError;
use crate::commands::table::handler::{Outcome, ShardContext};
use crate::keyspace::collection::list::{Side, put_insert, put_pop, put_remove, put_set};
use crate::keyspace::collection::listpack::Element;
use crate::keyspace::{Key, KeyEvent, Kind};
use crate::resp::{Args, Reply};

pub(super) fn linsert(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let word = args.at(2);
    let behind = if word.eq_ignore_ascii_case(b"after") {
        1
    } else if word.eq_ignore_ascii_case(b"before") {
        0
    } else {
        return Err(CommandError::Syntax);
    };
    let key = context.first_key(args.at(1));
    let may_work_in_steps = context.may_work_in_steps();
    let Some(found) = context.of_kind(Kind::List, &key)? else {
        reply.int(0);
        return Ok(());
    };
    let list = list_of(Some(&found));
    let len = list.len();
    let pivot = Element::of(args.at(3));
    let in_steps = len > STEP_NEXT && may_work_in_steps;
    let at_once = if in_steps { STEP_NEXT } else { len };
    let mut elements = list.from(0).take(at_once as usize);
    let position = elements.position(|element| element == pivot);
    match position {
        Some(position) => {
            let position = position as u64 + behind;
            insert(context, &key, position, args.at(4), reply, len)?;
        }
        None if in_steps => {
            let (key, pivot, element) = (args.at(1), args.at(3), args.at(4));
            let insertion = Insertion::new([key, pivot, element], behind, STEP_NEXT);
            context.work_in_steps(|| Box::new(insertion));
        }
        None => reply.int(-1),
    }
    Ok(())
}

/// Puts an element at a position of a list of so many.
pub(super) fn insert(
    context: &mut ShardContext<'_>,
    key: &Key<'_>,
    position: u64,
    element: &[u8],
    reply: &mut Reply<'_>,
    len: u64,
) -> Outcome {
    let mut ops = Vec::new();
    put_insert(&mut ops, position, element);
    context.change(key, Kind::List, &ops)?;
    context.notify(KeyEvent::LInsert, key);
    reply.count(len + 1);
    Ok(())
}

pub(super) fn lset(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let key = context.first_key(args.at(1));
    let found = context.of_kind(Kind::List, &key)?;
    let len = list_of(found.as_ref()).len();
    if found.is_none() {
        return Err(CommandError::NoSuchKey);
    }
    let position = position_of(integer(args.at(2))?, len);
    let position = position.ok_or(CommandError::Plain("index out of range"))?;
    let mut ops = Vec::new();
    put_set(&mut ops, position, args.at(3));
    context.change(&key, Kind::List, &ops)?;
    context.notify(KeyEvent::LSet, &key);
    reply.ok();
    Ok(())
}

pub(super) fn lrem(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let count = signed(args.at(2))?;
    let key = context.first_key(args.at(1));
    let may_work_in_steps = context.may_work_in_steps();
    let Some(found) = context.of_kind(Kind::List, &key)? else {
        reply.int(0);
        return Ok(());
    };
    let list = list_of(Some(&found));
    let len = list.len();
    let mut search = Search::new(args.at(3), count, len);
    search.go_on(&list, STEP_NEXT);
    if !search.is_over() {
        if may_work_in_steps {
            let clearing = Clearing::new(args.at(1), search);
            context.work_in_steps(|| Box::new(clearing));
            return Ok(());
        }
        search.go_on(&list, len);
    }
    let positions = search.into_positions();
    if positions.is_empty() {
        reply.int(0);
        return Ok(());
    }
    reply.count(positions.len() as u64);
    if positions.len() as u64 == len {
        remove_all(context, &key);
        return Ok(());
    }
    remove(context, &key, removal_of(positions))
}

/// Removes a list of which LREM leaves nothing.
pub(super) fn remove_all(context: &mut ShardContext<'_>, key: &Key<'_>) {
    context.shard.remove(key, context.now);
    context.notify(KeyEvent::LRem, key);
    context.notify(KeyEvent::Del, key);
}

/// The removal of the elements of some positions, the highest first.
pub(super) fn removal_of(positions: Vec<u64>) -> Removal<impl FnMut(&mut Vec<u8>, u64) + 'static> {
    let mut next = 0;
    Removal {
        kind: Kind::List,
        count: positions.len() as u64,
        bytes: 10 * positions.len() as u64,
        event: KeyEvent::LRem,
        ops: move |ops: &mut Vec<u8>, some: u64| {
            let end = next + some as usize;
            ops.extend(removals(&positions[next..end]));
            next = end;
        },
    }
}

/// The operations that remove the elements of these positions, of which the highest comes first: so all stay true.
fn removals(positions: &[u64]) -> Vec<u8> {
    let mut ops = Vec::new();
    for run in positions.chunk_by(|one, next| *one == next + 1) {
        put_remove(&mut ops, run[run.len() - 1], run.len() as u64);
    }
    ops
}

pub(super) fn ltrim(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let (start, stop) = (integer(args.at(2))?, integer(args.at(3))?);
    let key = context.first_key(args.at(1));
    let Some(found) = context.of_kind(Kind::List, &key)? else {
        reply.ok();
        return Ok(());
    };
    let len = list_of(Some(&found)).len();
    let kept = Range::of(start, stop, len);
    let (before, behind) =
        kept.map_or((len, 0), |kept| (kept.start, len - kept.start - kept.count));
    reply.ok();
    if kept.is_none() {
        // What is left of a long one is freed in steps.
        context.shard.remove(&key, context.now);
        context.notify(KeyEvent::LTrim, &key);
        context.notify(KeyEvent::Del, &key);
        return Ok(());
    }
    if before + behind == 0 {
        context.notify(KeyEvent::LTrim, &key);
        return Ok(());
    }
    let mut front = before;
    let removal = Removal {
        kind: Kind::List,
        count: before + behind,
        bytes: 0,
        event: KeyEvent::LTrim,
        ops: move |ops: &mut Vec<u8>, some: u64| {
            let of_front = some.min(front);
            front -= of_front;
            for (side, count) in [(Side::Front, of_front), (Side::Back, some - of_front)] {
                if count > 0 {
                    put_pop(ops, side, count);
                }
            }
        },
    };
    remove(context, &key, removal)
}
