//! Searches for what is near.

use std::cmp::Ordering;
use std::ops::{ControlFlow, Range};

use crate::commands::codecs::geohash::{Position, Search};
use crate::commands::families::geo::large::give_in_steps;
use crate::commands::families::geo::positions::write_position;
use crate::commands::families::geo::query::{Form, Order, Query, Told, given};
use crate::commands::families::geo::write_distance;
use crate::commands::families::sorted_sets::{docs, view_of};
use crate::commands::table::flags::Flags;
use crate::commands::table::handler::{Outcome, ReadContext, ReadHandler, Run};
use crate::commands::table::keys::Keys;
use crate::commands::table::spec::Arity::{self, AtLeast};
use crate::commands::table::spec::{CommandSpec, Docs, Group, Route};
use crate::keyspace::EntryView;
use crate::keyspace::collection::sorted_set::{ScoreEnd, ScoreRange, SortedSetView};
use crate::resp::{Args, Reply};

const COMPLEXITY: &str = "O(N + log M) for N of M members in the cells around the area";

pub(in crate::commands) const COMMANDS: &[CommandSpec] = &[
    search(
        "geosearch",
        AtLeast(7),
        geosearch,
        docs(
            "Gives the members inside of a circle or a box.",
            "6.2.0",
            COMPLEXITY,
            "key <FROMMEMBER member | FROMLONLAT longitude latitude> \
             <BYRADIUS radius <M | KM | FT | MI> | BYBOX width height <M | KM | FT | MI>> [ASC | DESC] \
             [COUNT count [ANY]] [WITHCOORD] [WITHDIST] [WITHHASH]",
            &[],
        ),
    ),
    search(
        "georadius_ro",
        AtLeast(6),
        georadius_ro,
        docs(
            "Gives the members inside of a circle around a position.",
            "3.2.10",
            COMPLEXITY,
            "key longitude latitude radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] \
             [COUNT count [ANY]] [ASC | DESC]",
            &[],
        ),
    ),
    search(
        "georadiusbymember_ro",
        AtLeast(5),
        georadiusbymember_ro,
        docs(
            "Gives the members inside of a circle around a member.",
            "3.2.10",
            COMPLEXITY,
            "key member radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] \
             [COUNT count [ANY]] [ASC | DESC]",
            &[],
        ),
    ),
];

const fn search(name: &'static str, arity: Arity, run: ReadHandler, docs: Docs) -> CommandSpec {
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

fn geosearch(
    _: &ReadContext<'_>,
    found: Option<&EntryView<'_>>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    read(found, args, Form::Search, reply)
}

fn georadius_ro(
    _: &ReadContext<'_>,
    found: Option<&EntryView<'_>>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    read(found, args, Form::Radius, reply)
}

fn georadiusbymember_ro(
    _: &ReadContext<'_>,
    found: Option<&EntryView<'_>>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    read(found, args, Form::RadiusByMember, reply)
}

fn read(
    found: Option<&EntryView<'_>>,
    args: &Args<'_>,
    form: Form,
    reply: &mut Reply<'_>,
) -> Outcome {
    let view = view_of(found)?;
    let query = Query::parse(args, form, false, found.map(|_| &view))?;
    if give_in_steps(found, &view, &query, reply) {
        return Ok(());
    }
    write_points(reply, &query, &points_of(&view, &query));
    Ok(())
}

/// A member that was found.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) member: Vec<u8>,
    pub(super) score: f64,
    /// In meters, from the center.
    pub(super) distance: f64,
}

/// The positions of members that may be inside of an area, in the order in which they are looked at.
pub(super) fn spans_of(view: &SortedSetView<'_>, search: &Search) -> Vec<Range<u64>> {
    let span = |scores: Range<f64>| {
        view.span_of_scores(&ScoreRange {
            min: ScoreEnd {
                score: scores.start,
                is_open: false,
            },
            max: ScoreEnd {
                score: scores.end,
                is_open: true,
            },
        })
    };
    search.scores().into_iter().map(span).collect()
}

/// The members that a query asks for, in its order.
pub(super) fn points_of(view: &SortedSetView<'_>, query: &Query<'_>) -> Vec<Point> {
    let Some(search) = query.search() else {
        return Vec::new();
    };
    let enough = usize::try_from(query.enough()).unwrap_or(usize::MAX);
    let is_enough = |points: &Vec<Point>| enough > 0 && points.len() >= enough;
    let mut points = Vec::new();
    for span in spans_of(view, &search) {
        view.visit_while(&span, |member, score| {
            if let Some(distance) = search.distance(Position::of_score(score)) {
                points.push(Point {
                    member: member.to_vec(),
                    score,
                    distance,
                });
            }
            match is_enough(&points) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        });
        if is_enough(&points) {
            break;
        }
    }
    let nearer =
        |one: &Point, other: &Point| -> Ordering { one.distance.total_cmp(&other.distance) };
    match query.order {
        Order::None => {}
        Order::Nearest => points.sort_by(nearer),
        Order::Farthest => points.sort_by(|one, other| nearer(other, one)),
    }
    points.truncate(given(points.len(), query.count));
    points
}

pub(super) fn write_points(reply: &mut Reply<'_>, query: &Query<'_>, points: &[Point]) {
    reply.array(points.len());
    for point in points {
        write_point(reply, query.told, point);
    }
}

/// Writes a member that was found, with what is told of it.
pub(super) fn write_point(reply: &mut Reply<'_>, told: Told, point: &Point) {
    let parts = [told.distance, told.score, told.position];
    let parts = parts.into_iter().filter(|is_told| *is_told).count();
    if parts > 0 {
        reply.array(parts + 1);
    }
    reply.bulk(&point.member);
    if told.distance {
        write_distance(reply, point.distance / told.unit);
    }
    if told.score {
        reply.int(point.score as i64);
    }
    if told.position {
        write_position(reply, Position::of_score(point.score));
    }
}
