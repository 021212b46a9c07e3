//! Commands on strings that wait, with which tests look at waiting alone.

use crate::commands::{
    Arity, Change, CommandError, CommandSpec, Docs, Flags, Group, Keys, Look, Outcome, PlanContext,
    Route, Run, ShardContext, Together, check_kind,
};
use crate::keyspace::{Effect, EntryView, Kind, Value};
use crate::resp::{Args, Reply, parse_u64};

/// AWAIT key; TAKE key [key ...] milliseconds; HANDOVER source destination milliseconds.
pub(super) const ROWS: [CommandSpec; 3] = [
    CommandSpec {
        name: "await",
        arity: Arity::Exact(2),
        flags: Flags::BLOCKING,
        keys: Keys::FIRST,
        group: Group::String,
        needs: Some(Kind::String),
        route: Route::Key,
        run: Run::Shard(await_value),
        docs: docs("Gives the value of a key once it has one."),
    },
    CommandSpec {
        name: "take",
        arity: Arity::AtLeast(3),
        flags: Flags::of(&[Flags::WRITE, Flags::BLOCKING]),
        keys: Keys::range(1, -2),
        group: Group::String,
        needs: Some(Kind::String),
        route: Route::Together,
        run: Run::Together(Together {
            look: look_at_keys,
            decide: take,
        }),
        docs: docs("Takes the value of the first key that has one, once there is one."),
    },
    CommandSpec {
        name: "handover",
        arity: Arity::Exact(4),
        flags: Flags::of(&[Flags::WRITE, Flags::BLOCKING, Flags::WAITS_FOR_FIRST]),
        keys: Keys::FIRST_TWO,
        group: Group::String,
        needs: Some(Kind::String),
        route: Route::Together,
        run: Run::Together(Together {
            look: look_at_keys,
            decide: hand_over,
        }),
        docs: docs("Moves the value of a key to another one, once there is one."),
    },
];

const fn docs(summary: &'static str) -> Docs {
    Docs {
        summary,
        since: "1.0.0",
        complexity: "O(1)",
        syntax: "word [word ...]",
        tips: &[],
        key_uses: &[],
    }
}

fn await_value(context: &mut ShardContext<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = context.first_key(args.at(1));
    match context.string(&key)? {
        Some(found) => write(&found, reply),
        None => {
            if !context.wait_for_change(None) {
                reply.null();
            }
        }
    }
    Ok(())
}

fn write(found: &EntryView<'_>, reply: &mut Reply<'_>) {
    match found.value {
        Value::Int(number) => reply.bulk(number.to_string().as_bytes()),
        Value::Bytes(bytes) => reply.bulk(bytes),
        other => panic!("{other:?} is no string"),
    }
}

fn look_at_keys<'a>(plan: &PlanContext<'_>, args: &Args<'a>, looks: &mut Vec<Look<'a>>) -> Outcome {
    looks.extend((1..args.len() - 1).map(|place| plan.look(args.at(place), true)));
    Ok(())
}

/// Until when a request waits; its last argument tells.
fn until(plan: &PlanContext<'_>, args: &Args<'_>) -> Result<Option<u64>, CommandError> {
    let time = parse_u64(args.at(args.len() - 1)).ok_or(CommandError::NotAnInteger)?;
    Ok((time != 0).then_some(plan.now + time))
}

fn take<'a>(
    plan: &PlanContext<'_>,
    args: &Args<'a>,
    found: &[Option<EntryView<'a>>],
    changes: &mut Vec<Change<'a>>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let until = until(plan, args)?;
    for (at, found) in found.iter().enumerate() {
        check_kind(Some(Kind::String), found.as_ref())?;
        if let Some(found) = found {
            write(found, reply);
            changes.push(Change {
                db: plan.db,
                key: args.at(1 + at),
                effect: Effect::Remove,
                events: &[],
            });
            return Ok(());
        }
    }
    if !plan.wait_for_change(until) {
        reply.null_array();
    }
    Ok(())
}

fn hand_over<'a>(
    plan: &PlanContext<'_>,
    args: &Args<'a>,
    found: &[Option<EntryView<'a>>],
    changes: &mut Vec<Change<'a>>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let until = until(plan, args)?;
    let Some(moved) = &found[0] else {
        if !plan.wait_for_change(until) {
            reply.null_array();
        }
        return Ok(());
    };
    check_kind(Some(Kind::String), found[0].as_ref())?;
    write(moved, reply);
    let change = |key, effect| Change {
        db: plan.db,
        key,
        effect,
        events: &[],
    };
    let put = Effect::Put {
        kind: Kind::String,
        value: moved.value,
        expire_at: None,
        pinned_until: None,
    };
    if args.at(1) != args.at(2) {
        changes.push(change(args.at(2), put));
        changes.push(change(args.at(1), Effect::Remove));
    }
    Ok(())
}
