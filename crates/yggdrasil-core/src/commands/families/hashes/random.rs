//! Fields that are chosen by chance.

use crate::commands::codecs::sample::{distinct, draws, is_many, one_of};
use crate::commands::families::steps::{STEP_SOUGHT, hold, write_held};
use crate::commands::families::value::{random_count, write_element};
use crate::commands::table::error::CommandError;
use crate::commands::table::handler::{Outcome, ShardContext};
use crate::keyspace::collection::hash::{HashView, Row, put_remove};
use crate::keyspace::{EntryView, Kind, Millis, Packing, Value};
use crate::random::Random;
use crate::resp::{Args, Protocol, Reply};

use super::hash_of;

/// Counts beyond this, either way, would not fit the reply with values.
const COUNT_WITH_VALUES_MAX: u64 = i64::MAX as u64 / 2;

pub(super) fn hrandfield(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let count = args.get(2).map(random_count).transpose()?;
    let with_values = match args.get(3) {
        Some(word) if args.len() == 4 && word.eq_ignore_ascii_case(b"withvalues") => true,
        Some(_) => return Err(CommandError::Syntax),
        None => false,
    };
    let wanted = count.map_or(0, i64::unsigned_abs);
    if with_values && wanted > COUNT_WITH_VALUES_MAX {
        return Err(CommandError::Plain("value is out of range"));
    }
    let (key, now) = (context.first_key(&args[1]), context.now);
    let mut random = Random::new(context.random.draw());
    let entry = context.of_kind(Kind::Hash, &key)?;
    let hash = hash_of(entry.as_ref(), now);
    let Some(count) = count else {
        match chosen(&hash, &mut random) {
            Some(row) => write_element(reply, row.field),
            None => reply.null(),
        }
        return Ok(());
    };
    let live = hash.live_len();
    let number = match count {
        _ if live == 0 => 0,
        count if count < 0 => wanted,
        _ => wanted.min(live),
    };
    write_length(reply, number as usize, with_values);
    if number > 0 && is_many(count, live) {
        write_drawn(
            reply,
            entry.as_ref(),
            (count, with_values),
            now,
            &mut random,
        );
        return Ok(());
    }
    if count > 0 {
        visit_distinct(&hash, number, &mut random, |row| {
            write_row(reply, row, with_values);
        });
    } else {
        for _ in 0..number {
            if let Some(row) = chosen(&hash, &mut random) {
                write_row(reply, row, with_values);
            }
        }
    }
    Ok(())
}

/// Gives fields that are drawn, in steps.
fn write_drawn(
    reply: &mut Reply<'_>,
    entry: Option<&EntryView<'_>>,
    (count, with_values): (i64, bool),
    now: Millis,
    random: &mut Random,
) {
    let Some(mut hash) = entry.and_then(hold) else {
        return;
    };
    let mut ops = Vec::new();
    for field in HashView::of(&Value::Tree(&hash), &Packing::default(), now).expired(usize::MAX) {
        put_remove(&mut ops, &field);
    }
    hash.apply(&ops, &Packing::default());
    let (number, mut draws) = draws(count, hash.len(), random);
    let part = 0..number;
    write_held(reply, hash, part, STEP_SOUGHT, move |tree, part, reply| {
        let hash = HashView::of(&Value::Tree(tree), &Packing::default(), now);
        for _ in part {
            if let Some(row) = hash.at(draws.draw()) {
                write_row(reply, row, with_values);
            }
        }
    });
}

/// One field, each as likely as the others.
fn chosen<'h>(hash: &'h HashView<'_>, random: &mut Random) -> Option<Row<'h>> {
    if hash.has_expired() {
        let place = one_of(hash.live_len(), random);
        return hash.rows().nth(usize::try_from(place).ok()?);
    }
    hash.at(one_of(hash.len(), random))
}

fn visit_distinct(
    hash: &HashView<'_>,
    count: u64,
    random: &mut Random,
    mut visit: impl FnMut(Row<'_>),
) {
    let positions = distinct(hash.live_len(), count, random);
    if hash.is_packed() || hash.has_expired() {
        let mut wanted = positions.into_iter().peekable();
        for (position, row) in (0..).zip(hash.rows()) {
            if wanted.next_if_eq(&position).is_some() {
                visit(row);
            }
        }
        return;
    }
    for position in positions {
        if let Some(row) = hash.at(position) {
            visit(row);
        }
    }
}

fn write_length(reply: &mut Reply<'_>, count: usize, with_values: bool) {
    let is_flat = with_values && reply.protocol() == Protocol::Resp2;
    reply.array(if is_flat { 2 * count } else { count });
}

fn write_row(reply: &mut Reply<'_>, row: Row<'_>, with_values: bool) {
    if with_values && reply.protocol() == Protocol::Resp3 {
        reply.array(2);
    }
    write_element(reply, row.field);
    if with_values {
        write_element(reply, row.cell.value);
    }
}
