//! Commands over several sets.

use std::collections::HashSet;

use crate::commands::families::value::{int_argument, write_element};
use crate::commands::table::error::CommandError;
use crate::commands::table::handler::{Change, Found, Look, Outcome, PlanContext, check_kind};
use crate::keyspace::collection::Part;
use crate::keyspace::collection::set::{Member, SetView, put_add, put_remove};
use crate::keyspace::{Effect, KeyEvent, Kind, Value};
use crate::resp::{Args, Reply};

use super::combining::{Given, Operation, combine_in_steps, store_in_steps};
use super::set_of;

pub(super) fn look_all<'a>(
    context: &PlanContext<'_>,
    args: &Args<'a>,
    looks: &mut Vec<Look<'a>>,
) -> Outcome {
    looks.extend(args.iter().skip(1).map(|key| context.look(key, true)));
    Ok(())
}

/// The sets that were found; empty ones for missing keys.
fn sets<'a>(found: &[Found<'a>]) -> Result<Vec<SetView<'a>>, CommandError> {
    let mut sets = Vec::with_capacity(found.len());
    for entry in found {
        check_kind(Some(Kind::Set), entry.as_ref())?;
        sets.push(set_of(entry.as_ref()));
    }
    Ok(sets)
}

/// The members that all sets have, up to a limit.
fn intersection<'s>(sets: &'s [SetView<'_>], limit: usize) -> Vec<Member<'s>> {
    let mut by_size: Vec<_> = sets.iter().collect();
    by_size.sort_by_key(|set| set.len());
    let Some((smallest, others)) = by_size.split_first() else {
        return Vec::new();
    };
    let mut buffer = itoa::Buffer::new();
    let mut is_in_all = |member: &Member<'_>| {
        let text = member.text(&mut buffer);
        others.iter().all(|set| set.contains(text))
    };
    smallest
        .members()
        .filter(|member| is_in_all(member))
        .take(limit)
        .collect()
}

/// The members that any set has.
fn union<'s>(sets: &'s [SetView<'_>]) -> Vec<Member<'s>> {
    let mut seen = HashSet::new();
    let all = sets.iter().flat_map(SetView::members);
    all.filter(|member| seen.insert(*member)).collect()
}

/// The members of the first set that no other has.
fn difference<'s>(sets: &'s [SetView<'_>]) -> Vec<Member<'s>> {
    let Some((first, others)) = sets.split_first() else {
        return Vec::new();
    };
    let mut buffer = itoa::Buffer::new();
    let mut is_elsewhere = |member: &Member<'_>| {
        let text = member.text(&mut buffer);
        others.iter().any(|set| set.contains(text))
    };
    first
        .members()
        .filter(|member| !is_elsewhere(member))
        .collect()
}

fn write(members: &[Member<'_>], reply: &mut Reply<'_>) {
    reply.set(members.len());
    for member in members {
        write_element(reply, *member);
    }
}

pub(super) fn sinter<'a>(
    _: &PlanContext<'_>,
    _: &Args<'a>,
    found: &[Found<'a>],
    _: &mut Vec<Change<'a>>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let sets = sets(found)?;
    if !combine_in_steps(Operation::Intersection, Given::Members, found, &sets, reply) {
        write(&intersection(&sets, usize::MAX), reply);
    }
    Ok(())
}

pub(super) fn sunion<'a>(
    _: &PlanContext<'_>,
    _: &Args<'a>,
    found: &[Found<'a>],
    _: &mut Vec<Change<'a>>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let sets = sets(found)?;
    if !combine_in_steps(Operation::Union, Given::Members, found, &sets, reply) {
        write(&union(&sets), reply);
    }
    Ok(())
}

pub(super) fn sdiff<'a>(
    _: &PlanContext<'_>,
    _: &Args<'a>,
    found: &[Found<'a>],
    _: &mut Vec<Change<'a>>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let sets = sets(found)?;
    if !combine_in_steps(Operation::Difference, Given::Members, found, &sets, reply) {
        write(&difference(&sets), reply);
    }
    Ok(())
}

/// The keys of SINTERCARD, and how many members it counts at most.
fn counted<'a>(args: &Args<'a>) -> Result<(Args<'a>, usize), CommandError> {
    let wrong = CommandError::Plain("numkeys should be greater than 0");
    let count = int_argument(args.at(1)).ok();
    let count = count.and_then(|count| usize::try_from(count).ok());
    let count = count.filter(|count| *count > 0).ok_or(wrong)?;
    if count > args.len() - 2 {
        return Err(CommandError::Plain(
            "Number of keys can't be greater than number of args",
        ));
    }
    let mut limit = 0;
    let mut options = args.iter().skip(2 + count);
    while let Some(option) = options.next() {
        let value = options
            .next()
            .filter(|_| option.eq_ignore_ascii_case(b"limit"))
            .ok_or(CommandError::Syntax)?;
        limit = int_argument(value)
            .ok()
            .and_then(|limit| usize::try_from(limit).ok())
            .ok_or(CommandError::Plain("LIMIT can't be negative"))?;
    }
    let limit = if limit == 0 { usize::MAX } else { limit };
    Ok((args.slice(2..2 + count), limit))
}

pub(super) fn sintercard_look<'a>(
    context: &PlanContext<'_>,
    args: &Args<'a>,
    looks: &mut Vec<Look<'a>>,
) -> Outcome {
    let (keys, _) = counted(args)?;
    looks.extend(keys.iter().map(|key| context.look(key, true)));
    Ok(())
}

pub(super) fn sintercard_decide<'a>(
    _: &PlanContext<'_>,
    args: &Args<'a>,
    found: &[Found<'a>],
    _: &mut Vec<Change<'a>>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let (_, limit) = counted(args)?;
    let sets = sets(found)?;
    let given = Given::Count(limit);
    if !combine_in_steps(Operation::Intersection, given, found, &sets, reply) {
        reply.count(intersection(&sets, limit).len() as u64);
    }
    Ok(())
}

/// The destination, and the keys behind it.
pub(super) fn store_look<'a>(
    context: &PlanContext<'_>,
    args: &Args<'a>,
    looks: &mut Vec<Look<'a>>,
) -> Outcome {
    looks.push(context.look(args.at(1), false));
    looks.extend(args.iter().skip(2).map(|key| context.look(key, true)));
    Ok(())
}

pub(super) fn sinterstore<'a>(
    context: &PlanContext<'a>,
    args: &Args<'a>,
    found: &[Found<'a>],
    changes: &mut Vec<Change<'a>>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let sets = sets(&found[1..])?;
    let (at, event) = ((context, args), KeyEvent::SInterStore);
    if store_in_steps(Operation::Intersection, at, &found[1..], &sets, event) {
        return Ok(());
    }
    let members = intersection(&sets, usize::MAX);
    let events = &[KeyEvent::SInterStore];
    store(
        (context, args),
        found[0],
        &members,
        (changes, events),
        reply,
    );
    Ok(())
}

pub(super) fn sunionstore<'a>(
    context: &PlanContext<'a>,
    args: &Args<'a>,
    found: &[Found<'a>],
    changes: &mut Vec<Change<'a>>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let sets = sets(&found[1..])?;
    let (at, event) = ((context, args), KeyEvent::SUnionStore);
    if store_in_steps(Operation::Union, at, &found[1..], &sets, event) {
        return Ok(());
    }
    let events = &[KeyEvent::SUnionStore];
    store(
        (context, args),
        found[0],
        &union(&sets),
        (changes, events),
        reply,
    );
    Ok(())
}

pub(super) fn sdiffstore<'a>(
    context: &PlanContext<'a>,
    args: &Args<'a>,
    found: &[Found<'a>],
    changes: &mut Vec<Change<'a>>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let sets = sets(&found[1..])?;
    let (at, event) = ((context, args), KeyEvent::SDiffStore);
    if store_in_steps(Operation::Difference, at, &found[1..], &sets, event) {
        return Ok(());
    }
    let events = &[KeyEvent::SDiffStore];
    store(
        (context, args),
        found[0],
        &difference(&sets),
        (changes, events),
        reply,
    );
    Ok(())
}

/// Puts members in place of what the first key has; none of them remove it.
fn store<'a>(
    (context, args): (&PlanContext<'a>, &Args<'a>),
    before: Found<'a>,
    members: &[Member<'_>],
    (changes, events): (&mut Vec<Change<'a>>, &'static [KeyEvent]),
    reply: &mut Reply<'_>,
) {
    let (db, key) = (context.db, args.at(1));
    if !members.is_empty() {
        let mut ops = Vec::new();
        let mut buffer = itoa::Buffer::new();
        for member in members {
            put_add(&mut ops, member.text(&mut buffer));
        }
        let effect = Effect::Put {
            kind: Kind::Set,
            value: Value::Written(context.made.keep(ops)),
            expire_at: None,
            pinned_until: None,
        };
        changes.push(Change {
            db,
            key,
            effect,
            events,
        });
    } else if before.is_some() {
        changes.push(Change {
            db,
            key,
            effect: Effect::Remove,
            events: &[KeyEvent::Del],
        });
    }
    reply.count(members.len() as u64);
}

pub(super) fn smove_look<'a>(
    context: &PlanContext<'_>,
    args: &Args<'a>,
    looks: &mut Vec<Look<'a>>,
) -> Outcome {
    let member = Part::Member(args.at(3));
    looks.extend([1, 2].map(|place| context.look_at_part(args.at(place), member)));
    Ok(())
}

pub(super) fn smove_decide<'a>(
    context: &PlanContext<'a>,
    args: &Args<'a>,
    found: &[Found<'a>],
    changes: &mut Vec<Change<'a>>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let (source, destination, member) = (args.at(1), args.at(2), args.at(3));
    if found[0].is_none() {
        reply.int(0);
        return Ok(());
    }
    let sets = sets(found)?;
    let is_there = sets[0].contains(member);
    reply.int(i64::from(is_there));
    if !is_there || source == destination {
        return Ok(());
    }
    let mut delta = |key, is_new, put: fn(&mut Vec<u8>, &[u8]), events| {
        let mut ops = Vec::new();
        put(&mut ops, member);
        let effect = Effect::Delta {
            kind: Kind::Set,
            is_new,
            ops: context.made.keep(ops),
        };
        changes.push(Change {
            db: context.db,
            key,
            effect,
            events,
        });
    };
    let gone: &[KeyEvent] = match sets[0].len() {
        1 => &[KeyEvent::SRem, KeyEvent::Del],
        _ => &[KeyEvent::SRem],
    };
    delta(source, false, put_remove, gone);
    if !sets[1].contains(member) {
        delta(destination, found[1].is_none(), put_add, &[KeyEvent::SAdd]);
    }
    Ok(())
}
