//! Sorted sets: members that are taken from an end of the first of several that has any; at once, or when one has.

use crate::commands::codecs::timeout::until_in_seconds;
use crate::commands::families::sorted_sets::docs;
use crate::commands::families::sorted_sets::removals::End;
use crate::commands::families::sorted_sets::store::transient_packing;
use crate::commands::families::value::{int_argument, write_element};
use crate::commands::table::error::CommandError;
use crate::commands::table::flags::Flags;
use crate::commands::table::handler::{
    Change, DecideHandler, Found, Look, LookHandler, Outcome, PlanContext, Run, Together,
    check_kind,
};
use crate::commands::table::key_use;
use crate::commands::table::keys::Keys;
use crate::commands::table::spec::Arity::{self, AtLeast};
use crate::commands::table::spec::{CommandSpec, Docs, Group, Route};
use crate::keyspace::collection::Part;
use crate::keyspace::collection::listpack::Element;
use crate::keyspace::collection::sorted_set::{SortedSetView, put_remove, put_remove_span};
use crate::keyspace::{Effect, EntryView, KeyEvent, Kind, Millis, Value};
use crate::resp::{Args, Reply};

const MANY: &str = "O(K + M * log N) for K keys and M of N members";
const ONE: &str = "O(K + log N) for K keys and N members";

pub(in crate::commands) const COMMANDS: &[CommandSpec] = &[
    pop(
        "zmpop",
        AtLeast(4),
        Flags::of(&[Flags::WRITE, Flags::MOVABLE_KEYS]),
        counted(1),
        (look_many, take_many),
        docs(
            "Removes members with the lowest or highest scores from the first sorted set that has any and gives them.",
            "7.0.0",
            MANY,
            "numkeys key [key ...] <MIN | MAX> [COUNT count]",
            &[key_use::MOVE_AWAY],
        ),
    ),
    pop(
        "bzmpop",
        AtLeast(5),
        Flags::of(&[Flags::WRITE, Flags::BLOCKING, Flags::MOVABLE_KEYS]),
        counted(2),
        (look_many, take_many),
        docs(
            "Does the same as ZMPOP, once there is a member.",
            "7.0.0",
            MANY,
            "timeout numkeys key [key ...] <MIN | MAX> [COUNT count]",
            &[key_use::MOVE_AWAY],
        ),
    ),
    pop(
        "bzpopmin",
        AtLeast(3),
        Flags::of(&[Flags::WRITE, Flags::BLOCKING, Flags::FAST]),
        Keys::range(1, -2),
        (look_lowest, take_lowest),
        docs(
            "Removes the member with the lowest score from the first sorted set that has any, once one has.",
            "5.0.0",
            ONE,
            "key [key ...] timeout",
            &[key_use::MOVE_AWAY],
        ),
    ),
    pop(
        "bzpopmax",
        AtLeast(3),
        Flags::of(&[Flags::WRITE, Flags::BLOCKING, Flags::FAST]),
        Keys::range(1, -2),
        (look_highest, take_highest),
        docs(
            "Removes the member with the highest score from the first sorted set that has any, once one has.",
            "5.0.0",
            ONE,
            "key [key ...] timeout",
            &[key_use::MOVE_AWAY],
        ),
    ),
];

const fn counted(count_at: u16) -> Keys {
    Keys::Counted {
        count_at,
        destination: None,
    }
}

const fn pop(
    name: &'static str,
    arity: Arity,
    flags: Flags,
    keys: Keys,
    (look, decide): (LookHandler, DecideHandler),
    docs: Docs,
) -> CommandSpec {
    CommandSpec {
        name,
        arity,
        flags,
        keys,
        group: Group::SortedSet,
        // What waits is woken by values of this kind.
        needs: Some(Kind::SortedSet),
        route: Route::Together,
        run: Run::Together(Together { look, decide }),
        docs,
    }
}

/// A pop from the first of several sorted sets.
struct Pop {
    /// The place of the first key, and the number of keys.
    first: usize,
    keys: usize,
    end: End,
    /// The number of members, given as an array of pairs; or one, behind its key.
    count: Option<u64>,
    /// The end of its time, of one that waits.
    until: Option<Option<Millis>>,
}

impl Pop {
    /// The arguments of BZPOPMIN and BZPOPMAX.
    fn parse_one(plan: &PlanContext<'_>, args: &Args<'_>, end: End) -> Result<Self, CommandError> {
        let last = args.len() - 1;
        Ok(Self {
            first: 1,
            keys: last - 1,
            end,
            count: None,
            until: Some(until_in_seconds(args.at(last), plan.now)?),
        })
    }

    /// The arguments of ZMPOP, and of BZMPOP with its time before the number of keys.
    fn parse_many(plan: &PlanContext<'_>, args: &Args<'_>) -> Result<Self, CommandError> {
        let waits = args.at(0).eq_ignore_ascii_case(b"bzmpop");
        let count_at = 1 + usize::from(waits);
        let keys = positive(args.at(count_at), "numkeys should be greater than 0")?;
        let keys = usize::try_from(keys).unwrap_or(usize::MAX);
        let first = count_at + 1;
        let end_at = first.saturating_add(keys);
        let end = match args.get(end_at) {
            Some(end) if end.eq_ignore_ascii_case(b"min") => End::Lowest,
            Some(end) if end.eq_ignore_ascii_case(b"max") => End::Highest,
            _ => return Err(CommandError::Syntax),
        };
        let mut count = None;
        let mut rest = args.from(end_at + 1).iter();
        while let Some(option) = rest.next() {
            let value = rest.next().ok_or(CommandError::Syntax)?;
            if count.is_some() || !option.eq_ignore_ascii_case(b"count") {
                return Err(CommandError::Syntax);
            }
            count = Some(positive(value, "count should be greater than 0")?);
        }
        let until = waits.then(|| until_in_seconds(args.at(1), plan.now));
        Ok(Self {
            first,
            keys,
            end,
            count: Some(count.unwrap_or(1)),
            until: until.transpose()?,
        })
    }

    fn look<'a>(&self, plan: &PlanContext<'_>, args: &Args<'a>, looks: &mut Vec<Look<'a>>) {
        let keys = args.from(self.first).iter().take(self.keys);
        // One more tells whether any is left.
        let count = self.count.unwrap_or(1).saturating_add(1);
        let part = match self.end {
            End::Lowest => Part::First(count),
            End::Highest => Part::Last(count),
        };
        looks.extend(keys.map(|key| plan.look_at_part(key, part)));
    }

    /// Takes members from the first key that is there, or waits for one.
    fn take<'a>(
        &self,
        plan: &PlanContext<'a>,
        args: &Args<'a>,
        found: &[Found<'a>],
        changes: &mut Vec<Change<'a>>,
        reply: &mut Reply<'_>,
    ) -> Outcome {
        for (key, found) in args.from(self.first).iter().zip(found) {
            check_kind(Some(Kind::SortedSet), found.as_ref())?;
            if let Some(entry) = found {
                changes.push(self.take_from(plan, key, entry, reply));
                return Ok(());
            }
        }
        if !self.until.is_some_and(|until| plan.wait_for_change(until)) {
            reply.null_array();
        }
        Ok(())
    }

    fn take_from<'a>(
        &self,
        plan: &PlanContext<'a>,
        key: &'a [u8],
        entry: &EntryView<'a>,
        reply: &mut Reply<'_>,
    ) -> Change<'a> {
        let view = SortedSetView::of(&entry.value, &transient_packing());
        let span = self.end.positions(self.count.unwrap_or(1), view.len());
        let taken = span.end - span.start;
        let is_nested = self.count.is_some();
        reply.array(if is_nested { 2 } else { 3 });
        reply.bulk(key);
        if is_nested {
            reply.array(taken as usize);
        }
        let write = |member: Element<'_>, score: f64| {
            if is_nested {
                reply.array(2);
            }
            write_element(reply, member);
            reply.double(score);
        };
        match self.end {
            End::Lowest => view.visit(&span, write),
            End::Highest => view.visit_back(&span, write),
        }
        let is_emptied = taken == view.len();
        let effect = if is_emptied {
            Effect::Remove
        } else {
            let mut ops = Vec::new();
            match entry.value {
                // Positions of a part are none of the whole.
                Value::Written(_) => {
                    let mut buffer = itoa::Buffer::new();
                    view.visit(&span, |member, _| {
                        put_remove(&mut ops, member.text(&mut buffer));
                    });
                }
                _ => put_remove_span(&mut ops, &span),
            }
            Effect::Delta {
                kind: Kind::SortedSet,
                is_new: false,
                ops: plan.made.keep(ops),
            }
        };
        Change {
            db: plan.db,
            key,
            effect,
            events: events_of(self.end, is_emptied),
        }
    }
}

fn positive(text: &[u8], error: &'static str) -> Result<u64, CommandError> {
    let number = int_argument(text).ok().filter(|number| *number > 0);
    number
        .map(i64::unsigned_abs)
        .ok_or(CommandError::Plain(error))
}

fn events_of(end: End, is_emptied: bool) -> &'static [KeyEvent] {
    match (end, is_emptied) {
        (End::Lowest, false) => &[KeyEvent::ZPopMin],
        (End::Lowest, true) => &[KeyEvent::ZPopMin, KeyEvent::Del],
        (End::Highest, false) => &[KeyEvent::ZPopMax],
        (End::Highest, true) => &[KeyEvent::ZPopMax, KeyEvent::Del],
    }
}

fn look_many<'a>(plan: &PlanContext<'_>, args: &Args<'a>, looks: &mut Vec<Look<'a>>) -> Outcome {
    Pop::parse_many(plan, args)?.look(plan, args, looks);
    Ok(())
}

fn take_many<'a>(
    plan: &PlanContext<'a>,
    args: &Args<'a>,
    found: &[Found<'a>],
    changes: &mut Vec<Change<'a>>,
    reply: &mut Reply<'_>,
) -> Outcome {
    Pop::parse_many(plan, args)?.take(plan, args, found, changes, reply)
}

fn look_lowest<'a>(plan: &PlanContext<'_>, args: &Args<'a>, looks: &mut Vec<Look<'a>>) -> Outcome {
    Pop::parse_one(plan, args, End::Lowest)?.look(plan, args, looks);
    Ok(())
}

fn look_highest<'a>(plan: &PlanContext<'_>, args: &Args<'a>, looks: &mut Vec<Look<'a>>) -> Outcome {
    Pop::parse_one(plan, args, End::Highest)?.look(plan, args, looks);
    Ok(())
}

fn take_lowest<'a>(
    plan: &PlanContext<'a>,
    args: &Args<'a>,
    found: &[Found<'a>],
    changes: &mut Vec<Change<'a>>,
    reply: &mut Reply<'_>,
) -> Outcome {
    Pop::parse_one(plan, args, End::Lowest)?.take(plan, args, found, changes, reply)
}

fn take_highest<'a>(
    plan: &PlanContext<'a>,
    args: &Args<'a>,
    found: &[Found<'a>],
    changes: &mut Vec<Change<'a>>,
    reply: &mut Reply<'_>,
) -> Outcome {
    Pop::parse_one(plan, args, End::Highest)?.take(plan, args, found, changes, reply)
}
