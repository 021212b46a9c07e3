//! Sorted sets: members that are taken from an end of the first of several that has any.

use crate::commands::families::sorted_sets::docs;
use crate::commands::families::sorted_sets::removals::End;
use crate::commands::families::sorted_sets::store::transient_packing;
use crate::commands::families::value::{int_argument, write_element};
use crate::commands::table::error::CommandError;
use crate::commands::table::flags::Flags;
use crate::commands::table::handler::{
    Change, Found, Look, Outcome, PlanContext, Run, Together, check_kind,
};
use crate::commands::table::key_use;
use crate::commands::table::keys::Keys;
use crate::commands::table::spec::Arity::AtLeast;
use crate::commands::table::spec::{CommandSpec, Group, Route};
use crate::keyspace::collection::listpack::Element;
use crate::keyspace::collection::sorted_set::{SortedSetView, put_remove_span};
use crate::keyspace::{Effect, KeyEvent, Kind};
use crate::resp::{Args, Reply};

pub(in crate::commands) const COMMANDS: &[CommandSpec] = &[CommandSpec {
    name: "zmpop",
    arity: AtLeast(4),
    flags: Flags::of(&[Flags::WRITE, Flags::MOVABLE_KEYS]),
    keys: Keys::Counted {
        count_at: 1,
        destination: None,
    },
    group: Group::SortedSet,
    needs: None,
    route: Route::Together,
    run: Run::Together(Together {
        look: zmpop_look,
        decide: zmpop,
    }),
    docs: docs(
        "Removes members with the lowest or highest scores from the first sorted set that has any and gives them.",
        "7.0.0",
        "O(K + M * log N) for K keys and M of N members",
        "numkeys key [key ...] <MIN | MAX> [COUNT count]",
        &[key_use::MOVE_AWAY],
    ),
}];

/// How a pop shows what it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    /// The key, and an array of pairs.
    Nested,
}

/// The arguments of ZMPOP from the number of keys on.
struct Pop {
    /// The place of the first key, and the number of keys.
    first: usize,
    keys: usize,
    end: End,
    count: u64,
}

impl Pop {
    fn parse(args: &Args<'_>, count_at: usize) -> Result<Self, CommandError> {
        let keys = positive(args.at(count_at), "numkeys should be greater than 0")?;
        let first = count_at + 1;
        let keys = usize::try_from(keys).unwrap_or(usize::MAX);
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
        Ok(Self {
            first,
            keys,
            end,
            count: count.unwrap_or(1),
        })
    }
}

fn positive(text: &[u8], error: &'static str) -> Result<u64, CommandError> {
    let number = int_argument(text).ok().filter(|number| *number > 0);
    number
        .map(i64::unsigned_abs)
        .ok_or(CommandError::Plain(error))
}

fn zmpop_look<'a>(
    context: &PlanContext<'_>,
    args: &Args<'a>,
    looks: &mut Vec<Look<'a>>,
) -> Outcome {
    let pop = Pop::parse(args, 1)?;
    let keys = args.from(pop.first).iter().take(pop.keys);
    looks.extend(keys.map(|key| context.look(key, true)));
    Ok(())
}

fn zmpop<'a>(
    context: &PlanContext<'a>,
    args: &Args<'a>,
    found: &[Found<'a>],
    changes: &mut Vec<Change<'a>>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let pop = Pop::parse(args, 1)?;
    let keys = args.from(pop.first).iter().zip(found);
    if !take(
        context,
        keys,
        (pop.end, pop.count),
        Shown::Nested,
        changes,
        reply,
    )? {
        reply.null_array();
    }
    Ok(())
}

/// Takes members from the first key that is there. False where none is.
fn take<'a, 'f>(
    context: &PlanContext<'a>,
    keys: impl Iterator<Item = (&'a [u8], &'f Found<'a>)>,
    (end, count): (End, u64),
    shown: Shown,
    changes: &mut Vec<Change<'a>>,
    reply: &mut Reply<'_>,
) -> Result<bool, CommandError>
where
    'a: 'f,
{
    for (key, found) in keys {
        let Some(entry) = found else {
            continue;
        };
        check_kind(Some(Kind::SortedSet), Some(entry))?;
        let view = SortedSetView::of(&entry.value, &transient_packing());
        let span = end.positions(count, view.len());
        let taken = span.end - span.start;
        match shown {
            Shown::Nested => {
                reply.array(2);
                reply.bulk(key);
                reply.array(taken as usize);
            }
        }
        let write = |member: Element<'_>, score: f64| {
            if shown == Shown::Nested {
                reply.array(2);
            }
            write_element(reply, member);
            reply.double(score);
        };
        match end {
            End::Lowest => view.visit(&span, write),
            End::Highest => view.visit_back(&span, write),
        }
        let is_emptied = taken == view.len();
        let effect = if is_emptied {
            Effect::Remove
        } else {
            let mut ops = Vec::new();
            put_remove_span(&mut ops, &span);
            Effect::Delta {
                kind: Kind::SortedSet,
                is_new: false,
                ops: context.made.keep(ops),
            }
        };
        changes.push(Change {
            db: context.db,
            key,
            effect,
            events: events_of(end, is_emptied),
        });
        return Ok(true);
    }
    Ok(false)
}

fn events_of(end: End, is_emptied: bool) -> &'static [KeyEvent] {
    match (end, is_emptied) {
        (End::Lowest, false) => &[KeyEvent::ZPopMin],
        (End::Lowest, true) => &[KeyEvent::ZPopMin, KeyEvent::Del],
        (End::Highest, false) => &[KeyEvent::ZPopMax],
        (End::Highest, true) => &[KeyEvent::ZPopMax, KeyEvent::Del],
    }
}
