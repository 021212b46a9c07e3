//! Sorted sets: what is known of single members, and how many there are.

use crate::commands::families::sorted_sets::query::{member_range, score_range};
use crate::commands::families::sorted_sets::{docs, view_of};
use crate::commands::table::error::CommandError;
use crate::commands::table::flags::Flags;
use crate::commands::table::handler::{Outcome, ReadContext, ReadHandler, Run};
use crate::commands::table::key_use;
use crate::commands::table::keys::Keys;
use crate::commands::table::spec::Arity::{self, AtLeast, Exact};
use crate::commands::table::spec::{CommandSpec, Docs, Group, Route};
use crate::keyspace::EntryView;
use crate::resp::{Args, Reply};

pub(in crate::commands) const COMMANDS: &[CommandSpec] = &[
    read(
        "zscore",
        Exact(3),
        zscore,
        docs(
            "Gives the score of a member.",
            "1.2.0",
            "O(1)",
            "key member",
            &[],
        ),
    ),
    read(
        "zmscore",
        AtLeast(3),
        zmscore,
        docs(
            "Gives the scores of members.",
            "6.2.0",
            "O(N) for N members",
            "key member [member ...]",
            &[],
        ),
    ),
    read(
        "zcard",
        Exact(2),
        zcard,
        docs(
            "Gives the number of members.",
            "1.2.0",
            "O(1)",
            "key",
            &[key_use::LOOK],
        ),
    ),
    read(
        "zcount",
        Exact(4),
        zcount,
        docs(
            "Gives the number of members whose scores lie between two scores.",
            "2.0.0",
            "O(log N) for N members",
            "key min max",
            &[],
        ),
    ),
    read(
        "zlexcount",
        Exact(4),
        zlexcount,
        docs(
            "Gives the number of members between two members, where all have the same score.",
            "2.8.9",
            "O(log N) for N members",
            "key min max",
            &[],
        ),
    ),
    read(
        "zrank",
        AtLeast(3),
        zrank,
        docs(
            "Gives the rank of a member, from the lowest score.",
            "2.0.0",
            "O(log N) for N members",
            "key member [WITHSCORE]",
            &[],
        ),
    ),
    read(
        "zrevrank",
        AtLeast(3),
        zrevrank,
        docs(
            "Gives the rank of a member, from the highest score.",
            "2.0.0",
            "O(log N) for N members",
            "key member [WITHSCORE]",
            &[],
        ),
    ),
];

const fn read(name: &'static str, arity: Arity, run: ReadHandler, docs: Docs) -> CommandSpec {
    CommandSpec {
        name,
        arity,
        flags: Flags::of(&[Flags::READONLY, Flags::FAST]),
        keys: Keys::FIRST,
        group: Group::SortedSet,
        needs: None,
        route: Route::Key,
        run: Run::Read(run),
        docs,
    }
}

fn zscore(
    _: &ReadContext<'_>,
    found: Option<&EntryView<'_>>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    match view_of(found)?.score(args.at(2)) {
        Some(score) => reply.double(score),
        None => reply.null(),
    }
    Ok(())
}

fn zmscore(
    _: &ReadContext<'_>,
    found: Option<&EntryView<'_>>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let view = view_of(found)?;
    reply.array(args.len() - 2);
    for member in args.iter().skip(2) {
        match view.score(member) {
            Some(score) => reply.double(score),
            None => reply.null(),
        }
    }
    Ok(())
}

fn zcard(
    _: &ReadContext<'_>,
    found: Option<&EntryView<'_>>,
    _: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    reply.count(view_of(found)?.len());
    Ok(())
}

fn zcount(
    _: &ReadContext<'_>,
    found: Option<&EntryView<'_>>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let range = score_range(args.at(2), args.at(3))?;
    let span = view_of(found)?.span_of_scores(&range);
    reply.count(span.end - span.start);
    Ok(())
}

fn zlexcount(
    _: &ReadContext<'_>,
    found: Option<&EntryView<'_>>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let range = member_range(args.at(2), args.at(3))?;
    let span = view_of(found)?.span_of_members(&range);
    reply.count(span.end - span.start);
    Ok(())
}

fn zrank(
    _: &ReadContext<'_>,
    found: Option<&EntryView<'_>>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    rank(found, args, false, reply)
}

fn zrevrank(
    _: &ReadContext<'_>,
    found: Option<&EntryView<'_>>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    rank(found, args, true, reply)
}

fn rank(
    found: Option<&EntryView<'_>>,
    args: &Args<'_>,
    is_back: bool,
    reply: &mut Reply<'_>,
) -> Outcome {
    if args.len() > 4 {
        return Err(CommandError::WrongArity(if is_back {
            "zrevrank"
        } else {
            "zrank"
        }));
    }
    let with_score = args.get(3);
    if with_score.is_some_and(|option| !option.eq_ignore_ascii_case(b"withscore")) {
        return Err(CommandError::Syntax);
    }
    let view = view_of(found)?;
    let Some((position, score)) = view.rank(args.at(2)) else {
        match with_score {
            Some(_) => reply.null_array(),
            None => reply.null(),
        }
        return Ok(());
    };
    let rank = if is_back {
        view.len() - 1 - position
    } else {
        position
    };
    if with_score.is_some() {
        reply.array(2);
        reply.count(rank);
        reply.double(score);
    } else {
        reply.count(rank);
    }
    Ok(())
}
