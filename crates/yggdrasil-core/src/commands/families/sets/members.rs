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

/// The members among arguments, each once, that a set has (or has not).
fn chosen<'a>(
    set: &SetView<'_>,
    members: impl ExactSizeIterator<Item = &'a [u8]>,
    are_there: bool,
) -> Vec<&'a [u8]> {
    let may_repeat = members.len() > 1;
    let mut seen = HashSet::new();
    let mut chosen = Vec::with_capacity(members.len());
    for member in members {
        if set.contains(member) == are_there && (!may_repeat || seen.insert(member)) {
            chosen.push(member);
        }
    }
    chosen
}

pub(super) fn sadd(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let key = context.first_key(&args[1]);
    let entry = context.of_kind(Kind::Set, &key)?;
    let new = chosen(&set_of(entry.as_ref()), args.iter().skip(2), false);
    if !new.is_empty() {
        let mut ops = Vec::new();
        for member in &new {
            put_add(&mut ops, member);
        }
        context.change(&key, Kind::Set, &ops)?;
        context.notify(KeyEvent::SAdd, &key);
    }
    reply.count(new.len() as u64);
    Ok(())
}

pub(super) fn srem(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let key = context.first_key(&args[1]);
    let entry = context.of_kind(Kind::Set, &key)?;
    let set = set_of(entry.as_ref());
    let gone = chosen(&set, args.iter().skip(2), true);
    let count = gone.len() as u64;
    let is_last = set.len() == count;
    if count > 0 {
        let mut ops = Vec::new();
        for member in &gone {
            put_remove(&mut ops, member);
        }
        context.reduce(&key, Kind::Set, &ops)?;
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
    for member in set.members() {
        write_element(reply, member);
    }
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
