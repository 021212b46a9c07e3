//! Searches for what is near.

use std::cmp::Ordering;
use std::ops::ControlFlow;

use crate::commands::codecs::geohash::Position;
use crate::commands::families::geo::positions::write_position;
use crate::commands::families::geo::query::{Form, Order, Query};
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
    write_points(reply, &query, &points_of(&view, &query));
    Ok(())
}

/// A member that was found.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) member: Vec<u8>,
    pub(super) score: f64,
    position: Position,
    /// In meters, from the center.
    distance: f64,
}

impl Point {
    pub(super) fn distance_in(&self, query: &Query<'_>) -> f64 {
        self.distance / query.unit
    }
}

/// The members that a query asks for, in its order.
pub(super) fn points_of(view: &SortedSetView<'_>, query: &Query<'_>) -> Vec<Point> {
    let Some(search) = query.search() else {
        return Vec::new();
    };
    let enough = usize::try_from(query.enough()).unwrap_or(usize::MAX);
    let is_enough = |points: &Vec<Point>| enough > 0 && points.len() >= enough;
    let mut points = Vec::new();
    for scores in search.scores() {
        let range = ScoreRange {
            min: ScoreEnd {
                score: scores.start,
                is_open: false,
            },
            max: ScoreEnd {
                score: scores.end,
                is_open: true,
            },
        };
        view.visit_while(&view.span_of_scores(&range), |member, score| {
            let position = Position::of_score(score);
            if let Some(distance) = search.distance(position) {
                points.push(Point {
                    member: member.to_vec(),
                    score,
                    position,
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
    if query.count > 0 {
        points.truncate(usize::try_from(query.count).unwrap_or(usize::MAX));
    }
    points
}

pub(super) fn write_points(reply: &mut Reply<'_>, query: &Query<'_>, points: &[Point]) {
    let parts = [query.with_distance, query.with_score, query.with_position];
    let parts = parts.into_iter().filter(|is_told| *is_told).count();
    reply.array(points.len());
    for point in points {
        if parts > 0 {
            reply.array(parts + 1);
        }
        reply.bulk(&point.member);
        if query.with_distance {
            write_distance(reply, point.distance_in(query));
        }
        if query.with_score {
            reply.int(point.score as i64);
        }
        if query.with_position {
            write_position(reply, point.position);
        }
    }
}
