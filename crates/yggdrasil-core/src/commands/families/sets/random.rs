//! Members that are chosen by chance.

use crate::commands::codecs::sample::{Drawn, Draws, distinct, draws, is_many, one_of};
use crate::commands::families::removing::{Removal, remove};
use crate::commands::families::steps::{STEP_SOUGHT, hold, long, write_held};
use crate::commands::families::value::{int_argument, random_count, write_element};
use crate::commands::table::error::CommandError;
use crate::commands::table::handler::{Outcome, ShardContext};
use crate::keyspace::collection::Held;
use crate::keyspace::collection::set::{Member, SetView, put_remove};
use crate::keyspace::{Collection, EntryView, Key, KeyEvent, Kind, Packing, Value};
use crate::random::Random;
use crate::resp::{Args, Reply};

use super::members::write_members;
use super::set_of;

/// Visits so many members, each once, that are chosen by chance.
fn visit_distinct(
    set: &SetView<'_>,
    count: u64,
    random: &mut Random,
    mut visit: impl FnMut(Member<'_>),
) {
    let positions = distinct(set.len(), count, random);
    if let SetView::Packed(_) = set {
        let mut wanted = positions.into_iter().peekable();
        for (position, member) in (0..).zip(set.members()) {
            if wanted.next_if_eq(&position).is_some() {
                visit(member);
            }
        }
        return;
    }
    for position in positions {
        if let Some(member) = set.at(position) {
            visit(member);
        }
    }
}

pub(super) fn srandmember(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let count = match args.len() {
        2 => None,
        3 => Some(random_count(args.at(2))?),
        _ => return Err(CommandError::Syntax),
    };
    let key = context.first_key(&args[1]);
    let mut random = context.random.clone();
    let entry = context.of_kind(Kind::Set, &key)?;
    let set = set_of(entry.as_ref());
    match count {
        None => match set.at(one_of(set.len(), &mut random)) {
            Some(member) => write_element(reply, member),
            None => reply.null(),
        },
        Some(_) if set.is_empty() => reply.array(0),
        Some(count) if is_many(count, set.len()) => {
            let draws = draws(count, set.len(), &mut random);
            write_drawn(reply, entry.as_ref(), draws);
        }
        Some(count) if count < 0 => {
            let count = count.unsigned_abs();
            reply.array(count as usize);
            for _ in 0..count {
                if let Some(member) = set.at(one_of(set.len(), &mut random)) {
                    write_element(reply, member);
                }
            }
        }
        Some(count) => {
            let count = count.unsigned_abs().min(set.len());
            reply.array(count as usize);
            visit_distinct(&set, count, &mut random, |member| {
                write_element(reply, member);
            });
        }
    }
    *context.random = random;
    Ok(())
}

/// Gives members that are drawn, in steps.
fn write_drawn(reply: &mut Reply<'_>, entry: Option<&EntryView<'_>>, (count, draws): Drawn) {
    reply.array(count as usize);
    let Some(set) = entry.and_then(hold) else {
        return;
    };
    write_members_drawn(reply, set, (count, draws));
}

/// The same where the beginning of the reply is written.
fn write_members_drawn(reply: &mut Reply<'_>, set: Collection, (count, mut draws): Drawn) {
    write_held(
        reply,
        set,
        0..count,
        STEP_SOUGHT,
        move |tree, part, reply| {
            let set = SetView::of(&Value::Tree(tree), &Packing::default());
            for _ in part {
                if let Some(member) = set.at(draws.draw()) {
                    write_element(reply, member);
                }
            }
        },
    );
}

pub(super) fn spop(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let key = context.first_key(&args[1]);
    match args.len() {
        2 => pop_one(context, &key, reply),
        3 => {
            let count = int_argument(args.at(2)).ok();
            let count =
                count
                    .and_then(|count| u64::try_from(count).ok())
                    .ok_or(CommandError::Plain(
                        "value is out of range, must be positive",
                    ))?;
            pop_some(context, &key, count, reply)
        }
        _ => Err(CommandError::Syntax),
    }
}

fn pop_one(context: &mut ShardContext<'_>, key: &Key<'_>, reply: &mut Reply<'_>) -> Outcome {
    let drawn = context.random.draw();
    let entry = context.of_kind(Kind::Set, key)?;
    let set = set_of(entry.as_ref());
    let Some(member) = set.at(one_of(set.len(), &mut Random::new(drawn))) else {
        reply.null();
        return Ok(());
    };
    write_element(reply, member);
    let is_last = set.len() == 1;
    let mut ops = Vec::new();
    put_remove(&mut ops, member.text(&mut itoa::Buffer::new()));
    context.reduce(key, Kind::Set, &ops)?;
    context.notify(KeyEvent::SPop, key);
    if is_last {
        context.notify(KeyEvent::Del, key);
    }
    Ok(())
}

fn pop_some(
    context: &mut ShardContext<'_>,
    key: &Key<'_>,
    count: u64,
    reply: &mut Reply<'_>,
) -> Outcome {
    let mut random = Random::new(context.random.draw());
    let entry = context.of_kind(Kind::Set, key)?;
    let set = set_of(entry.as_ref());
    if count == 0 || set.is_empty() {
        reply.set(0);
        return Ok(());
    }
    if count >= set.len() {
        write_members(entry.as_ref(), reply);
        context.shard.remove(key, context.now);
        context.notify(KeyEvent::SPop, key);
        context.notify(KeyEvent::Del, key);
        return Ok(());
    }
    if let Some(tree) = long(entry.as_ref(), count) {
        let tree = tree.clone();
        return pop_many(context, key, tree, count, random, reply);
    }
    let mut ops = Vec::new();
    let mut buffer = itoa::Buffer::new();
    reply.set(count as usize);
    visit_distinct(&set, count, &mut random, |member| {
        write_element(reply, member);
        put_remove(&mut ops, member.text(&mut buffer));
    });
    context.reduce(key, Kind::Set, &ops)?;
    context.notify(KeyEvent::SPop, key);
    Ok(())
}

/// The same of many members of a large set, of which some are left.
fn pop_many(
    context: &mut ShardContext<'_>,
    key: &Key<'_>,
    set: Collection,
    count: u64,
    random: Random,
    reply: &mut Reply<'_>,
) -> Outcome {
    let draws = |random: &Random| Draws::distinct(set.len(), count, random.clone());
    let (given, mut removed) = (draws(&random), draws(&random));
    let held = Held::new(set.clone());
    reply.set(count as usize);
    let bytes = count * (set.heap_bytes() / set.len().max(1));
    write_members_drawn(reply, set, (count, given));
    let removal = Removal {
        kind: Kind::Set,
        count,
        bytes,
        event: KeyEvent::SPop,
        ops: move |ops: &mut Vec<u8>, some| {
            let set = SetView::of(&Value::Tree(&held), &Packing::default());
            for _ in 0..some {
                if let Some(member) = set.at(removed.draw()) {
                    put_remove(ops, member.text(&mut itoa::Buffer::new()));
                }
            }
        },
    };
    remove(context, key, removal)
}
