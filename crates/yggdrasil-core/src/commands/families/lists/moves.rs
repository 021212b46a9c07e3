//! Moving elements from list to list, and popping from the first of several lists that has some; at once, or when there
//! is one.

use super::arguments::{at_least, side};
use super::list_of;
use crate::commands::codecs::timeout::until_in_seconds;
use crate::commands::families::value::write_element;
use crate::commands::table::error::CommandError;
use crate::commands::table::handler::{Change, Found, Look, Outcome, PlanContext, check_kind};
use crate::keyspace::collection::Part;
use crate::keyspace::collection::list::{Side, put_pop, put_push};
use crate::keyspace::{Effect, KeyEvent, Kind, Millis};
use crate::resp::{Args, Reply};

/// A move from an end of a list to an end of another one, which may be the same.
struct Move {
    from: Side,
    to: Side,
    /// The end of its time, of one that waits.
    until: Option<Option<Millis>>,
}

impl Move {
    /// RPOPLPUSH source destination, LMOVE source destination from to, and their kin that wait, whose last argument is a
    /// time.
    fn parse(plan: &PlanContext<'_>, args: &Args<'_>) -> Result<Self, CommandError> {
        let (from, to) = match (args.get(3), args.get(4)) {
            (Some(from), Some(to)) => (side(from)?, side(to)?),
            _ => (Side::Back, Side::Front),
        };
        let time = match args.len() {
            4 => args.get(3),
            6 => args.get(5),
            _ => None,
        };
        let until = time
            .map(|time| until_in_seconds(time, plan.now))
            .transpose()?;
        Ok(Self { from, to, until })
    }
}

/// Enough of a list to tell whether an element is its last.
fn two(side: Side) -> Part<'static> {
    match side {
        Side::Front => Part::First(2),
        Side::Back => Part::Last(2),
    }
}

pub(super) fn move_look<'a>(
    plan: &PlanContext<'_>,
    args: &Args<'a>,
    looks: &mut Vec<Look<'a>>,
) -> Outcome {
    let wanted = Move::parse(plan, args)?;
    looks.push(plan.look_at_part(args.at(1), two(wanted.from)));
    looks.push(plan.look(args.at(2), false));
    Ok(())
}

pub(super) fn move_decide<'a>(
    plan: &PlanContext<'a>,
    args: &Args<'a>,
    found: &[Found<'a>],
    changes: &mut Vec<Change<'a>>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let wanted = Move::parse(plan, args)?;
    let (source, destination) = (args.at(1), args.at(2));
    check_kind(Some(Kind::List), found[0].as_ref())?;
    if found[0].is_none() {
        let waits = wanted
            .until
            .is_some_and(|until| plan.wait_for_change(until));
        if !waits {
            reply.null();
        }
        return Ok(());
    }
    check_kind(Some(Kind::List), found[1].as_ref())?;
    let list = list_of(found[0].as_ref());
    let is_last = list.len() == 1;
    let Some(element) = list.end(wanted.from) else {
        reply.null();
        return Ok(());
    };
    let mut push = Vec::new();
    put_push(&mut push, wanted.to, element.text(&mut itoa::Buffer::new()));
    write_element(reply, element);
    let mut pop = Vec::new();
    put_pop(&mut pop, wanted.from, 1);
    let mut change = |key, is_new, ops: Vec<u8>, events| {
        changes.push(Change {
            db: plan.db,
            key,
            effect: Effect::Delta {
                kind: Kind::List,
                is_new,
                ops: plan.made.keep(ops),
            },
            events,
        });
    };
    if source == destination {
        // The element goes before it comes: the list may have no other.
        let ops = if is_last {
            Vec::new()
        } else {
            [pop, push].concat()
        };
        change(source, false, ops, events_of_turn(wanted.from, wanted.to));
        return Ok(());
    }
    change(
        destination,
        found[1].is_none(),
        push,
        events_of_push(wanted.to),
    );
    change(source, false, pop, events_of_pop(wanted.from, is_last));
    Ok(())
}

fn events_of_push(side: Side) -> &'static [KeyEvent] {
    match side {
        Side::Front => &[KeyEvent::LPush],
        Side::Back => &[KeyEvent::RPush],
    }
}

fn events_of_pop(side: Side, is_last: bool) -> &'static [KeyEvent] {
    match (side, is_last) {
        (Side::Front, false) => &[KeyEvent::LPop],
        (Side::Front, true) => &[KeyEvent::LPop, KeyEvent::Del],
        (Side::Back, false) => &[KeyEvent::RPop],
        (Side::Back, true) => &[KeyEvent::RPop, KeyEvent::Del],
    }
}

/// The events of a move inside of one list.
fn events_of_turn(from: Side, to: Side) -> &'static [KeyEvent] {
    match (to, from) {
        (Side::Front, Side::Front) => &[KeyEvent::LPush, KeyEvent::LPop],
        (Side::Front, Side::Back) => &[KeyEvent::LPush, KeyEvent::RPop],
        (Side::Back, Side::Front) => &[KeyEvent::RPush, KeyEvent::LPop],
        (Side::Back, Side::Back) => &[KeyEvent::RPush, KeyEvent::RPop],
    }
}

/// A pop from the first of several lists that has elements.
struct Pop {
    /// Places of the keys among the arguments.
    first: usize,
    keys: usize,
    side: Side,
    /// How many elements, answered as an array of their own; or one.
    count: Option<u64>,
    /// The end of its time, of one that waits.
    until: Option<Option<Millis>>,
}

impl Pop {
    /// BLPOP key [key ...] timeout, BRPOP.
    fn parse_single(plan: &PlanContext<'_>, args: &Args<'_>) -> Result<Self, CommandError> {
        let last = args.len() - 1;
        let until = until_in_seconds(args.at(last), plan.now)?;
        let is_front = args.at(0).eq_ignore_ascii_case(b"blpop");
        Ok(Self {
            first: 1,
            keys: last - 1,
            side: if is_front { Side::Front } else { Side::Back },
            count: None,
            until: Some(until),
        })
    }

    /// LMPOP numkeys key [key ...] side [COUNT count], or BLMPOP with a time before that.
    fn parse_many(
        plan: &PlanContext<'_>,
        args: &Args<'_>,
        waits: bool,
    ) -> Result<Self, CommandError> {
        let keys_at = 1 + usize::from(waits);
        let error = "numkeys should be greater than 0";
        let keys = at_least(1, args.at(keys_at), error)?;
        let first = keys_at + 1;
        let side_at = usize::try_from(keys)
            .ok()
            .and_then(|keys| keys.checked_add(first));
        let side_at = side_at
            .filter(|at| *at < args.len())
            .ok_or(CommandError::Syntax)?;
        let side = side(args.at(side_at))?;
        let count = match (args.get(side_at + 1), args.get(side_at + 2)) {
            (None, _) => 1,
            (Some(word), Some(count)) if word.eq_ignore_ascii_case(b"count") => {
                at_least(1, count, "count should be greater than 0")?
            }
            _ => return Err(CommandError::Syntax),
        };
        if args.len() > side_at + 3 {
            return Err(CommandError::Syntax);
        }
        let until = waits
            .then(|| until_in_seconds(args.at(1), plan.now))
            .transpose()?;
        Ok(Self {
            first,
            keys: side_at - first,
            side,
            count: Some(count),
            until,
        })
    }

    fn parse(plan: &PlanContext<'_>, args: &Args<'_>) -> Result<Self, CommandError> {
        let name = args.at(0);
        if name.eq_ignore_ascii_case(b"lmpop") {
            Self::parse_many(plan, args, false)
        } else if name.eq_ignore_ascii_case(b"blmpop") {
            Self::parse_many(plan, args, true)
        } else {
            Self::parse_single(plan, args)
        }
    }

    /// One element more than is popped, to tell whether any is left.
    fn part(&self) -> Part<'static> {
        let count = self.count.unwrap_or(1).saturating_add(1);
        match self.side {
            Side::Front => Part::First(count),
            Side::Back => Part::Last(count),
        }
    }
}

pub(super) fn pop_look<'a>(
    plan: &PlanContext<'_>,
    args: &Args<'a>,
    looks: &mut Vec<Look<'a>>,
) -> Outcome {
    let pop = Pop::parse(plan, args)?;
    let keys = args.iter().skip(pop.first).take(pop.keys);
    looks.extend(keys.map(|key| plan.look_at_part(key, pop.part())));
    Ok(())
}

pub(super) fn pop_decide<'a>(
    plan: &PlanContext<'a>,
    args: &Args<'a>,
    found: &[Found<'a>],
    changes: &mut Vec<Change<'a>>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let pop = Pop::parse(plan, args)?;
    for (place, found) in (pop.first..).zip(found) {
        check_kind(Some(Kind::List), found.as_ref())?;
        let list = list_of(found.as_ref());
        let (key, len) = (args.at(place), list.len());
        if len == 0 {
            continue;
        }
        let count = pop.count.unwrap_or(1).min(len);
        reply.array(2);
        reply.bulk(key);
        if pop.count.is_some() {
            reply.array(count as usize);
        }
        for element in list.from_end(pop.side, count) {
            write_element(reply, element);
        }
        let mut ops = Vec::new();
        put_pop(&mut ops, pop.side, count);
        changes.push(Change {
            db: plan.db,
            key,
            effect: Effect::Delta {
                kind: Kind::List,
                is_new: false,
                ops: plan.made.keep(ops),
            },
            events: events_of_pop(pop.side, count == len),
        });
        return Ok(());
    }
    let waits = pop.until.is_some_and(|until| plan.wait_for_change(until));
    if !waits {
        reply.null_array();
    }
    Ok(())
}
