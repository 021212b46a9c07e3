//! Sorted sets: members that are stored under another key.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use crate::commands::families::sorted_sets::copying::copy_in_steps;
use crate::commands::families::sorted_sets::docs;
use crate::commands::families::sorted_sets::query::{Form, RangeQuery};
use crate::commands::table::flags::Flags;
use crate::commands::table::handler::{
    Change, Found, Look, Outcome, PlanContext, Run, Together, check_kind,
};
use crate::commands::table::key_use;
use crate::commands::table::keys::Keys;
use crate::commands::table::spec::Arity::AtLeast;
use crate::commands::table::spec::{CommandSpec, Group, Route};
use crate::keyspace::collection::sorted_set::{SortedSetView, put_score};
use crate::keyspace::{Effect, KeyEvent, Kind, Packing, Value};
use crate::resp::{Args, Reply};

/// A member and its score.
pub(in crate::commands::families) type Row = (Vec<u8>, f64);

pub(in crate::commands) const COMMANDS: &[CommandSpec] = &[CommandSpec {
    name: "zrangestore",
    arity: AtLeast(5),
    flags: Flags::of(&[Flags::WRITE, Flags::DENYOOM]),
    keys: Keys::ToFrom,
    group: Group::SortedSet,
    needs: None,
    route: Route::Together,
    run: Run::Together(Together {
        look: look_two,
        decide: zrangestore,
    }),
    docs: docs(
        "Stores the members of a range of ranks, scores or members and gives their number.",
        "6.2.0",
        "O(log N + M) for M of N members",
        "destination source start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count]",
        &[key_use::OVERWRITE, key_use::READ],
    ),
}];

/// The packing of collections that live as long as a command: their order is not to be foreseen either.
pub(in crate::commands::families) fn transient_packing() -> Packing {
    Packing {
        seed: RandomState::new().hash_one(0),
        ..Packing::default()
    }
}

/// Looks at a destination, and at the value of a source.
pub(in crate::commands::families) fn look_two<'a>(
    context: &PlanContext<'_>,
    args: &Args<'a>,
    looks: &mut Vec<Look<'a>>,
) -> Outcome {
    looks.push(context.look(args.at(1), false));
    looks.push(context.look(args.at(2), true));
    Ok(())
}

/// Makes a key the sorted set of some members. Without members it is removed.
pub(in crate::commands::families) fn store<'a>(
    context: &PlanContext<'a>,
    (key, found): (&'a [u8], &Found<'a>),
    rows: &[Row],
    events: &'static [KeyEvent],
    changes: &mut Vec<Change<'a>>,
) {
    let db = context.db;
    if rows.is_empty() {
        if found.is_some() {
            changes.push(Change {
                db,
                key,
                effect: Effect::Remove,
                events: &[KeyEvent::Del],
            });
        }
        return;
    }
    let mut ops = Vec::new();
    for (member, score) in rows {
        put_score(&mut ops, member, *score);
    }
    let effect = Effect::Put {
        kind: Kind::SortedSet,
        value: Value::Written(context.made.keep(ops)),
        expire_at: None,
        pinned_until: None,
    };
    changes.push(Change {
        db,
        key,
        effect,
        events,
    });
}

fn zrangestore<'a>(
    context: &PlanContext<'a>,
    args: &Args<'a>,
    found: &[Found<'a>],
    changes: &mut Vec<Change<'a>>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let form = Form {
        stores: true,
        ..Form::default()
    };
    let query = RangeQuery::parse(args, 2, form)?;
    check_kind(Some(Kind::SortedSet), found[1].as_ref())?;
    let value = found[1].map_or(Value::Bytes(b""), |entry| entry.value);
    let view = SortedSetView::of(&value, &transient_packing());
    let positions = query.positions(&view);
    if let Some(source) = &found[1]
        && copy_in_steps(
            context,
            source,
            &positions,
            args.at(1),
            KeyEvent::ZRangeStore,
        )
    {
        return Ok(());
    }
    let mut rows = Vec::new();
    view.visit(&positions, |member, score| {
        rows.push((member.to_vec(), score));
    });
    reply.count(rows.len() as u64);
    let destination = (args.at(1), &found[0]);
    store(
        context,
        destination,
        &rows,
        &[KeyEvent::ZRangeStore],
        changes,
    );
    Ok(())
}
