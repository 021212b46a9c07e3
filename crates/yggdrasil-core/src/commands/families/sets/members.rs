//! Commands over the members of one set.

use std::collections::HashSet;

use crate::commands::families::scan::{Scanned, scan_elements};
use crate::commands::families::steps::{long, write_in_steps};
use crate::commands::families::value::write_element;
use crate::commands::table::handler::{Outcome, ReadContext, ShardContext};
use crate::keyspace::collection::set::{SetView, put_add, put_remove};
use crate::keyspace::{EntryView, KeyEvent, Kind, Packing, Value};
use crate::resp::{Args, Reply};

use super::set_of;

/// Appends the operations of `put` on the members among arguments, each once, that a set has (or has not). Gives their
/// number.
fn put_each(
    ops: &mut Vec<u8>,
    set: &SetView<'_>,
    args: &Args<'_>,
    are_there: bool,
    put: fn(&mut Vec<u8>, &[u8]),
) -> u64 {
    let members = args.from(2).iter();
    let mut seen = (members.len() > 1).then(HashSet::new);
    let mut count = 0;
    for member in members {
        let is_meant = set.contains(member) == are_there;
        if is_meant && seen.as_mut().is_none_or(|seen| seen.insert(member)) {
            put(ops, member);
            count += 1;
        }
    }
    count
}

pub(super) fn sadd(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let key = context.first_key(&args[1]);
    let mut ops = context.ops_of(args);
    let (entry, at) = context.to_change(Kind::Set, &key)?;
    let new = put_each(&mut ops, &set_of(entry.as_ref()), args, false, put_add);
    if new > 0 {
        context.change_at(at, &key, Kind::Set, ops)?;
        context.notify(KeyEvent::SAdd, &key);
    } else {
        context.keep_ops(ops);
    }
    reply.count(new);
    Ok(())
}

pub(super) fn srem(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let key = context.first_key(&args[1]);
    let mut ops = context.ops_of(args);
    let (entry, at) = context.to_change(Kind::Set, &key)?;
    let set = set_of(entry.as_ref());
    let count = put_each(&mut ops, &set, args, true, put_remove);
    let is_last = set.len() == count;
    if count > 0 {
        context.reduce_at(at, &key, Kind::Set, ops)?;
        context.notify(KeyEvent::SRem, &key);
        if is_last {
            context.notify(KeyEvent::Del, &key);
        }
    }
    reply.count(count);
    Ok(())
}

pub(super) fn scard(
    _: &ReadContext<'_>,
    entry: Option<&EntryView<'_>>,
    _: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    reply.count(set_of(entry).len());
    Ok(())
}

pub(super) fn sismember(
    _: &ReadContext<'_>,
    entry: Option<&EntryView<'_>>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    reply.int(i64::from(set_of(entry).contains(args.at(2))));
    Ok(())
}

pub(super) fn smismember(
    _: &ReadContext<'_>,
    entry: Option<&EntryView<'_>>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let set = set_of(entry);
    reply.array(args.len() - 2);
    for member in args.iter().skip(2) {
        reply.int(i64::from(set.contains(member)));
    }
    Ok(())
}

pub(super) fn smembers(
    _: &ReadContext<'_>,
    entry: Option<&EntryView<'_>>,
    _: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    write_members(entry, reply);
    Ok(())
}

/// All members, as a set.
pub(super) fn write_members(entry: Option<&EntryView<'_>>, reply: &mut Reply<'_>) {
    let set = set_of(entry);
    reply.set(set.len() as usize);
    if let Some(tree) = long(entry, set.len()) {
        write_in_steps(reply, tree, 0..set.len(), |tree, positions, reply| {
            let set = SetView::of(&Value::Tree(tree), &Packing::default());
            set.visit_at(positions, |member| write_element(reply, member));
        });
        return;
    }
    set.visit(|member| write_element(reply, member));
}

pub(super) fn sscan(
    _: &ReadContext<'_>,
    entry: Option<&EntryView<'_>>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let what = (Kind::Set, Scanned::Members);
    scan_elements(what, entry, args, reply, |entry, cursor, count, visit| {
        let mut buffer = itoa::Buffer::new();
        set_of(Some(entry)).scan(cursor, count, |member| {
            visit(member.text(&mut buffer), None);
        })
    })
}
