//! Positions: those of members, and what follows from them.

use crate::commands::codecs::geohash::Position;
use crate::commands::families::geo::{position_argument, unit_argument, write_distance};
use crate::commands::families::sorted_sets::changes::{AddOptions, add};
use crate::commands::families::sorted_sets::{docs, view_of};
use crate::commands::table::error::CommandError;
use crate::commands::table::flags::Flags;
use crate::commands::table::handler::{Outcome, ReadContext, ReadHandler, Run, ShardContext};
use crate::commands::table::key_use;
use crate::commands::table::keys::Keys;
use crate::commands::table::spec::Arity::{self, AtLeast};
use crate::commands::table::spec::{CommandSpec, Docs, Group, Route};
use crate::keyspace::EntryView;
use crate::resp::{Args, Reply};

pub(in crate::commands) const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "geoadd",
        arity: AtLeast(5),
        flags: Flags::of(&[Flags::WRITE, Flags::DENYOOM]),
        keys: Keys::FIRST,
        group: Group::Geo,
        needs: None,
        route: Route::Key,
        run: Run::Shard(geoadd),
        docs: docs(
            "Adds members with their positions, or changes these.",
            "3.2.0",
            "O(log N) for each member, in a sorted set of N",
            "key [NX | XX] [CH] longitude latitude member [longitude latitude member ...]",
            &[key_use::TOUCH_UP],
        ),
    },
    read(
        "geopos",
        AtLeast(2),
        geopos,
        docs(
            "Gives the positions of members.",
            "3.2.0",
            "O(1) for each member",
            "key [member ...]",
            &[],
        ),
    ),
    read(
        "geodist",
        AtLeast(4),
        geodist,
        docs(
            "Gives the distance between two members.",
            "3.2.0",
            "O(1)",
            "key member1 member2 [M | KM | FT | MI]",
            &[],
        ),
    ),
    read(
        "geohash",
        AtLeast(2),
        geohash,
        docs(
            "Gives the positions of members as geohash texts.",
            "3.2.0",
            "O(1) for each member",
            "key [member ...]",
            &[],
        ),
    ),
];

const fn read(name: &'static str, arity: Arity, run: ReadHandler, docs: Docs) -> CommandSpec {
    CommandSpec {
        name,
        arity,
        flags: Flags::READONLY,
        keys: Keys::FIRST,
        group: Group::Geo,
        needs: None,
        route: Route::Key,
        run: Run::Read(run),
        docs,
    }
}

fn geoadd(context: &mut ShardContext<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let mut options = AddOptions::default();
    let mut first = 2;
    while let Some(option) = args.get(first) {
        if option.eq_ignore_ascii_case(b"nx") {
            options.only_new = true;
        } else if option.eq_ignore_ascii_case(b"xx") {
            options.only_old = true;
        } else if option.eq_ignore_ascii_case(b"ch") {
            options.counts_changes = true;
        } else {
            break;
        }
        first += 1;
    }
    let left = args.len() - first;
    if left == 0 || !left.is_multiple_of(3) || (options.only_new && options.only_old) {
        return Err(CommandError::Syntax);
    }
    let mut pairs = Vec::with_capacity(left / 3);
    for place in (first..args.len()).step_by(3) {
        let position = position_argument(args.at(place), args.at(place + 1))?;
        pairs.push((position.to_score(), args.at(place + 2)));
    }
    add(context, args, options, &pairs, reply)
}

fn geopos(
    _: &ReadContext<'_>,
    found: Option<&EntryView<'_>>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let view = view_of(found)?;
    reply.array(args.len() - 2);
    for member in args.iter().skip(2) {
        match view.score(member).map(Position::of_score) {
            Some(position) => write_position(reply, position),
            None => reply.null_array(),
        }
    }
    Ok(())
}

pub(super) fn write_position(reply: &mut Reply<'_>, position: Position) {
    reply.array(2);
    reply.double(position.longitude);
    reply.double(position.latitude);
}

fn geodist(
    _: &ReadContext<'_>,
    found: Option<&EntryView<'_>>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let unit = match args.len() {
        4 => 1.0,
        5 => unit_argument(args.at(4))?,
        _ => return Err(CommandError::Syntax),
    };
    let view = view_of(found)?;
    let position = |place| view.score(args.at(place)).map(Position::of_score);
    match position(2).zip(position(3)) {
        Some((one, other)) => write_distance(reply, one.distance(other) / unit),
        None => reply.null(),
    }
    Ok(())
}

fn geohash(
    _: &ReadContext<'_>,
    found: Option<&EntryView<'_>>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let view = view_of(found)?;
    reply.array(args.len() - 2);
    for member in args.iter().skip(2) {
        match view.score(member).map(Position::of_score) {
            Some(position) => reply.bulk(&position.text()),
            None => reply.null(),
        }
    }
    Ok(())
}
