//! Sorted sets: ranges of members that are removed, and members that are taken from either end.

use std::ops::Range;

use crate::commands::families::removing::{Removal, remove};
use crate::commands::families::sorted_sets::changes::notify_removal;
use crate::commands::families::sorted_sets::query::{Bounds, By};
use crate::commands::families::sorted_sets::{begin_pairs, docs, view_of, write_pair};
use crate::commands::families::steps::{long, write_in_steps};
use crate::commands::families::value::{int_argument, write_element};
use crate::commands::table::error::CommandError;
use crate::commands::table::flags::Flags;
use crate::commands::table::handler::{Outcome, Run, ShardContext, ShardHandler};
use crate::commands::table::key_use;
use crate::commands::table::keys::Keys;
use crate::commands::table::spec::Arity::{AtLeast, Exact};
use crate::commands::table::spec::{CommandSpec, Docs, Group, Route};
use crate::keyspace::collection::listpack::Element;
use crate::keyspace::collection::sorted_set::{SortedSetView, put_remove_span};
use crate::keyspace::{Key, KeyEvent, Kind, Packing, Value};
use crate::resp::{Args, Reply};

const COMPLEXITY: &str = "O(log N + M) for M of N members";

pub(in crate::commands) const COMMANDS: &[CommandSpec] = &[
    removal(
        "zremrangebyrank",
        zremrangebyrank,
        docs(
            "Removes the members of a range of ranks and gives their number.",
            "2.0.0",
            COMPLEXITY,
            "key start stop",
            &[key_use::TAKE_OUT],
        ),
    ),
    removal(
        "zremrangebyscore",
        zremrangebyscore,
        docs(
            "Removes the members whose scores lie between two scores and gives their number.",
            "1.2.0",
            COMPLEXITY,
            "key min max",
            &[key_use::TAKE_OUT],
        ),
    ),
    removal(
        "zremrangebylex",
        zremrangebylex,
        docs(
            "Removes the members between two members and gives their number, where all have the same score.",
            "2.8.9",
            COMPLEXITY,
            "key min max",
            &[key_use::TAKE_OUT],
        ),
    ),
    pop(
        "zpopmin",
        zpopmin,
        docs(
            "Removes the members with the lowest scores and gives them.",
            "5.0.0",
            "O(M * log N) for M of N members",
            "key [count]",
            &[key_use::MOVE_AWAY],
        ),
    ),
    pop(
        "zpopmax",
        zpopmax,
        docs(
            "Removes the members with the highest scores and gives them.",
            "5.0.0",
            "O(M * log N) for M of N members",
            "key [count]",
            &[key_use::MOVE_AWAY],
        ),
    ),
];

const fn removal(name: &'static str, run: ShardHandler, docs: Docs) -> CommandSpec {
    CommandSpec {
        name,
        arity: Exact(4),
        flags: Flags::WRITE,
        keys: Keys::FIRST,
        group: Group::SortedSet,
        needs: None,
        route: Route::Key,
        run: Run::Shard(run),
        docs,
    }
}

const fn pop(name: &'static str, run: ShardHandler, docs: Docs) -> CommandSpec {
    CommandSpec {
        arity: AtLeast(2),
        flags: Flags::of(&[Flags::WRITE, Flags::FAST]),
        ..removal(name, run, docs)
    }
}

fn zremrangebyrank(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    remove_range(context, args, By::Rank, KeyEvent::ZRemRangeByRank, reply)
}

fn zremrangebyscore(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    remove_range(context, args, By::Score, KeyEvent::ZRemRangeByScore, reply)
}

fn zremrangebylex(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    remove_range(context, args, By::Member, KeyEvent::ZRemRangeByLex, reply)
}

fn remove_range(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    by: By,
    event: KeyEvent,
    reply: &mut Reply<'_>,
) -> Outcome {
    let bounds = Bounds::parse(by, args.at(2), args.at(3))?;
    let key = context.first_key(args.at(1));
    let found = context.of_kind(Kind::SortedSet, &key)?;
    let view = view_of(found.as_ref())?;
    let (span, len) = (bounds.positions(&view, false), view.len());
    remove_span(context, &key, &span, len, event)?;
    reply.count(span.end - span.start);
    Ok(())
}

/// Removes the members of some positions of all that there are.
fn remove_span(
    context: &mut ShardContext<'_>,
    key: &Key<'_>,
    span: &Range<u64>,
    len: u64,
    event: KeyEvent,
) -> Outcome {
    let count = span.end - span.start;
    if count == 0 {
        return Ok(());
    }
    if count == len {
        // All at once: what is left of a large one is freed in steps.
        context.shard.remove(key, context.now);
        notify_removal(context, event, key, true);
        return Ok(());
    }
    let start = span.start;
    let removal = Removal {
        kind: Kind::SortedSet,
        count,
        bytes: 0,
        event,
        ops: move |ops: &mut Vec<u8>, some| put_remove_span(ops, &(start..start + some)),
    };
    remove(context, key, removal)
}

fn zpopmin(context: &mut ShardContext<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    take(context, args, End::Lowest, reply)
}

fn zpopmax(context: &mut ShardContext<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    take(context, args, End::Highest, reply)
}

/// The end that members are taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Lowest,
    Highest,
}

impl End {
    fn event(self) -> KeyEvent {
        match self {
            Self::Lowest => KeyEvent::ZPopMin,
            Self::Highest => KeyEvent::ZPopMax,
        }
    }

    /// The positions of so many members of all that there are.
    pub(super) fn positions(self, count: u64, len: u64) -> Range<u64> {
        let count = count.min(len);
        match self {
            Self::Lowest => 0..count,
            Self::Highest => len - count..len,
        }
    }
}

fn take(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    end: End,
    reply: &mut Reply<'_>,
) -> Outcome {
    if args.len() > 3 {
        return Err(CommandError::Syntax);
    }
    let wrong = CommandError::Plain("value is out of range, must be positive");
    let count = match args.get(2) {
        Some(count) => int_argument(count)
            .ok()
            .and_then(|count| u64::try_from(count).ok())
            .ok_or(wrong)?,
        None => 1,
    };
    let key = context.first_key(args.at(1));
    let found = context.of_kind(Kind::SortedSet, &key)?;
    let view = view_of(found.as_ref())?;
    let len = view.len();
    let span = end.positions(count, len);
    let is_pair = args.len() == 2 && !span.is_empty();
    if is_pair {
        reply.array(2);
    } else {
        begin_pairs(reply, span.end - span.start);
    }
    let write = |member: Element<'_>, score: f64| {
        if is_pair {
            write_element(reply, member);
            reply.double(score);
        } else {
            write_pair(reply, member, score);
        }
    };
    if let Some(tree) = long(found.as_ref(), count.min(len)) {
        let taken = span.clone();
        write_in_steps(reply, tree, 0..count.min(len), move |tree, part, reply| {
            let view = SortedSetView::of(&Value::Tree(tree), &Packing::default());
            let write = |member: Element<'_>, score: f64| write_pair(reply, member, score);
            match end {
                End::Lowest => view.visit(&part, write),
                End::Highest => {
                    view.visit_back(&(taken.end - part.end..taken.end - part.start), write);
                }
            }
        });
    } else {
        match end {
            End::Lowest => view.visit(&span, write),
            End::Highest => view.visit_back(&span, write),
        }
    }
    remove_span(context, &key, &span, len, end.event())
}
