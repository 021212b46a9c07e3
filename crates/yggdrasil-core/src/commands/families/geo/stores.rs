//! Searches for what is near, whose results may be stored.

use crate::commands::families::geo::large::{give_in_steps, store_in_steps};
use crate::commands::families::geo::query::{Form, Query};
use crate::commands::families::geo::search::{Point, points_of, write_points};
use crate::commands::families::sorted_sets::docs;
use crate::commands::families::sorted_sets::store::{Row, look_two, store, transient_packing};
use crate::commands::table::flags::Flags;
use crate::commands::table::handler::{
    Change, DecideHandler, Found, Look, LookHandler, Outcome, PlanContext, Run, Together,
    check_kind,
};
use crate::commands::table::key_use;
use crate::commands::table::keys::Keys;
use crate::commands::table::spec::Arity::AtLeast;
use crate::commands::table::spec::{CommandSpec, Docs, Group, Route};
use crate::keyspace::collection::sorted_set::SortedSetView;
use crate::keyspace::{KeyEvent, Kind, Value};
use crate::resp::{Args, Reply};

const COMPLEXITY: &str = "O(N + log M) for N of M members in the cells around the area";
/// The keys of the older commands, whose options begin at a place.
const fn older_keys(from: u16) -> Keys {
    Keys::FirstAndBehind {
        words: &["STORE", "STOREDIST"],
        from,
    }
}

const STORING: CommandSpec = CommandSpec {
    name: "geosearchstore",
    arity: AtLeast(8),
    flags: Flags::of(&[Flags::WRITE, Flags::DENYOOM]),
    keys: Keys::ToFrom,
    group: Group::Geo,
    needs: None,
    route: Route::Together,
    run: Run::Together(Together {
        look: look_two,
        decide: geosearchstore,
    }),
    docs: docs(
        "Stores the members inside of a circle or a box and gives their number.",
        "6.2.0",
        COMPLEXITY,
        "destination source <FROMMEMBER member | FROMLONLAT longitude latitude> \
         <BYRADIUS radius <M | KM | FT | MI> | BYBOX width height <M | KM | FT | MI>> [ASC | DESC] \
         [COUNT count [ANY]] [STOREDIST]",
        &[key_use::OVERWRITE, key_use::READ],
    ),
};

pub(in crate::commands) const COMMANDS: &[CommandSpec] = &[
    STORING,
    older(
        "georadius",
        6,
        look_radius,
        georadius,
        docs(
            "Gives or stores the members inside of a circle around a position.",
            "3.2.0",
            COMPLEXITY,
            "key longitude latitude radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] \
             [COUNT count [ANY]] [ASC | DESC] [STORE storekey | STOREDIST storedistkey]",
            &[key_use::READ, key_use::OVERWRITE],
        ),
    ),
    older(
        "georadiusbymember",
        5,
        look_by_member,
        georadiusbymember,
        docs(
            "Gives or stores the members inside of a circle around a member.",
            "3.2.0",
            COMPLEXITY,
            "key member radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] \
             [ASC | DESC] [STORE storekey | STOREDIST storedistkey]",
            &[key_use::READ, key_use::OVERWRITE],
        ),
    ),
];

const fn older(
    name: &'static str,
    arity: u16,
    look: LookHandler,
    decide: DecideHandler,
    docs: Docs,
) -> CommandSpec {
    CommandSpec {
        name,
        arity: AtLeast(arity),
        flags: Flags::of(&[Flags::WRITE, Flags::DENYOOM, Flags::MOVABLE_KEYS]),
        keys: older_keys(arity),
        run: Run::Together(Together { look, decide }),
        docs,
        ..STORING
    }
}

fn look_radius<'a>(
    context: &PlanContext<'_>,
    args: &Args<'a>,
    looks: &mut Vec<Look<'a>>,
) -> Outcome {
    look_optional(context, args, older_keys(6), looks)
}

fn look_by_member<'a>(
    context: &PlanContext<'_>,
    args: &Args<'a>,
    looks: &mut Vec<Look<'a>>,
) -> Outcome {
    look_optional(context, args, older_keys(5), looks)
}

/// Looks at what may become a destination, and at the source; without a destination the source stands for it.
fn look_optional<'a>(
    context: &PlanContext<'_>,
    args: &Args<'a>,
    keys: Keys,
    looks: &mut Vec<Look<'a>>,
) -> Outcome {
    let destination = keys.positions(args).last().unwrap_or(1);
    looks.push(context.look(args.at(destination), false));
    looks.push(context.look(args.at(1), true));
    Ok(())
}

fn geosearchstore<'a>(
    context: &PlanContext<'a>,
    args: &Args<'a>,
    found: &[Found<'a>],
    changes: &mut Vec<Change<'a>>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let stored: (_, &[_]) = (Form::Search, &[KeyEvent::GeoSearchStore]);
    search(context, stored, args, found, changes, reply)
}

fn georadius<'a>(
    context: &PlanContext<'a>,
    args: &Args<'a>,
    found: &[Found<'a>],
    changes: &mut Vec<Change<'a>>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let stored: (_, &[_]) = (Form::Radius, &[KeyEvent::GeoRadiusStore]);
    search(context, stored, args, found, changes, reply)
}

fn georadiusbymember<'a>(
    context: &PlanContext<'a>,
    args: &Args<'a>,
    found: &[Found<'a>],
    changes: &mut Vec<Change<'a>>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let stored: (_, &[_]) = (Form::RadiusByMember, &[KeyEvent::GeoRadiusStore]);
    search(context, stored, args, found, changes, reply)
}

fn search<'a>(
    context: &PlanContext<'a>,
    (form, events): (Form, &'static [KeyEvent]),
    args: &Args<'a>,
    found: &[Found<'a>],
    changes: &mut Vec<Change<'a>>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let (destination, source) = (&found[0], &found[1]);
    check_kind(Some(Kind::SortedSet), source.as_ref())?;
    let value = source.map_or(Value::Bytes(b""), |entry| entry.value);
    let view = SortedSetView::of(&value, &transient_packing());
    let query = Query::parse(args, form, true, source.map(|_| &view))?;
    let Some(asked) = query.store else {
        if !give_in_steps(source.as_ref(), &view, &query, reply) {
            write_points(reply, &query, &points_of(&view, &query));
        }
        return Ok(());
    };
    if let Some(entry) = source
        && store_in_steps(context, entry, &view, &query, (asked, events[0]))
    {
        return Ok(());
    }
    let points = points_of(&view, &query);
    let row = |point: &Point| -> Row {
        let score = match asked.distances {
            true => point.distance / query.told.unit,
            false => point.score,
        };
        (point.member.clone(), score)
    };
    let rows: Vec<Row> = points.iter().map(row).collect();
    reply.count(rows.len() as u64);
    store(context, (asked.key, destination), &rows, events, changes);
    Ok(())
}
