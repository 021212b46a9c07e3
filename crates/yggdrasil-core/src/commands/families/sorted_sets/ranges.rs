//! Sorted sets: members in their order.

use std::ops::Range;

use crate::commands::families::sorted_sets::query::{By, Form, RangeQuery};
use crate::commands::families::sorted_sets::{begin_pairs, docs, view_of, write_pair};
use crate::commands::families::steps::{long, write_in_steps};
use crate::commands::families::value::write_element;
use crate::commands::table::flags::Flags;
use crate::commands::table::handler::{Outcome, ReadContext, ReadHandler, Run};
use crate::commands::table::keys::Keys;
use crate::commands::table::spec::Arity::AtLeast;
use crate::commands::table::spec::{CommandSpec, Docs, Group, Route};
use crate::keyspace::collection::sorted_set::SortedSetView;
use crate::keyspace::{EntryView, Packing, Value};
use crate::resp::{Args, Reply};

const COMPLEXITY: &str = "O(log N + M) for M of N members";

pub(in crate::commands) const COMMANDS: &[CommandSpec] = &[
    range(
        "zrange",
        zrange,
        docs(
            "Gives the members of a range of ranks, scores or members.",
            "1.2.0",
            COMPLEXITY,
            "key start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]",
            &[],
        ),
    ),
    range(
        "zrevrange",
        zrevrange,
        docs(
            "Gives the members of a range of ranks, from the highest score.",
            "1.2.0",
            COMPLEXITY,
            "key start stop [WITHSCORES]",
            &[],
        ),
    ),
    range(
        "zrangebyscore",
        zrangebyscore,
        docs(
            "Gives the members whose scores lie between two scores.",
            "1.0.5",
            COMPLEXITY,
            "key min max [WITHSCORES] [LIMIT offset count]",
            &[],
        ),
    ),
    range(
        "zrevrangebyscore",
        zrevrangebyscore,
        docs(
            "Gives the members whose scores lie between two scores, from the highest score.",
            "2.2.0",
            COMPLEXITY,
            "key max min [WITHSCORES] [LIMIT offset count]",
            &[],
        ),
    ),
    range(
        "zrangebylex",
        zrangebylex,
        docs(
            "Gives the members between two members, where all have the same score.",
            "2.8.9",
            COMPLEXITY,
            "key min max [LIMIT offset count]",
            &[],
        ),
    ),
    range(
        "zrevrangebylex",
        zrevrangebylex,
        docs(
            "Gives the members between two members from the last on, where all have the same score.",
            "2.8.9",
            COMPLEXITY,
            "key max min [LIMIT offset count]",
            &[],
        ),
    ),
];

const fn range(name: &'static str, run: ReadHandler, docs: Docs) -> CommandSpec {
    CommandSpec {
        name,
        arity: AtLeast(4),
        flags: Flags::READONLY,
        keys: Keys::FIRST,
        group: Group::SortedSet,
        needs: None,
        route: Route::Key,
        run: Run::Read(run),
        docs,
    }
}

const fn form(by: By, is_back: bool) -> Form {
    Form {
        by: Some(by),
        is_back: Some(is_back),
        stores: false,
    }
}

fn zrange(
    _: &ReadContext<'_>,
    found: Option<&EntryView<'_>>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    write_range(found, args, Form::default(), reply)
}

fn zrevrange(
    _: &ReadContext<'_>,
    found: Option<&EntryView<'_>>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    write_range(found, args, form(By::Rank, true), reply)
}

fn zrangebyscore(
    _: &ReadContext<'_>,
    found: Option<&EntryView<'_>>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    write_range(found, args, form(By::Score, false), reply)
}

fn zrevrangebyscore(
    _: &ReadContext<'_>,
    found: Option<&EntryView<'_>>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    write_range(found, args, form(By::Score, true), reply)
}

fn zrangebylex(
    _: &ReadContext<'_>,
    found: Option<&EntryView<'_>>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    write_range(found, args, form(By::Member, false), reply)
}

fn zrevrangebylex(
    _: &ReadContext<'_>,
    found: Option<&EntryView<'_>>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    write_range(found, args, form(By::Member, true), reply)
}

fn write_range(
    found: Option<&EntryView<'_>>,
    args: &Args<'_>,
    form: Form,
    reply: &mut Reply<'_>,
) -> Outcome {
    let query = RangeQuery::parse(args, 1, form)?;
    let view = view_of(found)?;
    let span = query.positions(&view);
    let count = span.end - span.start;
    if query.with_scores {
        begin_pairs(reply, count);
    } else {
        reply.array(count as usize);
    }
    let (is_back, with_scores) = (query.is_back, query.with_scores);
    if let Some(tree) = long(found, count) {
        write_in_steps(reply, tree, 0..count, move |tree, part, reply| {
            let view = SortedSetView::of(&Value::Tree(tree), &Packing::default());
            let part = match is_back {
                false => span.start + part.start..span.start + part.end,
                true => span.end - part.end..span.end - part.start,
            };
            write_span(&view, &part, is_back, with_scores, reply);
        });
    } else {
        write_span(&view, &span, is_back, with_scores, reply);
    }
    Ok(())
}

fn write_span(
    view: &SortedSetView<'_>,
    span: &Range<u64>,
    is_back: bool,
    with_scores: bool,
    reply: &mut Reply<'_>,
) {
    match (is_back, with_scores) {
        (false, false) => view.visit(span, |member, _| write_element(reply, member)),
        (false, true) => view.visit(span, |member, score| write_pair(reply, member, score)),
        (true, false) => view.visit_back(span, |member, _| write_element(reply, member)),
        (true, true) => view.visit_back(span, |member, score| write_pair(reply, member, score)),
    }
}
