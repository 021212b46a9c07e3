//! Pins: PIN, UNPIN, PINTTL and PINNED.
//!
//! A pin belongs to a name: what is written under it stays pinned, and what is renamed takes its pin along. It ends
//! with its time, by UNPIN, and with the key.

use crate::commands::families::scan;
use crate::commands::families::value::{EXPIRE_AT_MAX, int_argument};
use crate::commands::table::error::CommandError;
use crate::commands::table::flags::Flags;
use crate::commands::table::handler::{
    Change, Found, Look, Outcome, PlanContext, Run, ShardContext, Together,
};
use crate::commands::table::keys::Keys;
use crate::commands::table::spec::Arity::{AtLeast, Exact};
use crate::commands::table::spec::{CommandSpec, Docs, Group, Join, Route};
use crate::keyspace::{Effect, Millis};
use crate::resp::{Args, Reply};

/// The options that may stand behind the keys of PIN, and their unit in milliseconds.
const UNITS: [(&str, i64); 2] = [("ex", 1000), ("px", 1)];

/// Where the keys of PIN are.
const KEYS: Keys = Keys::Before {
    option_names: &[UNITS[0].0, UNITS[1].0],
};

pub(in crate::commands) const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "pin",
        arity: AtLeast(2),
        flags: Flags::of(&[Flags::WRITE, Flags::MOVABLE_KEYS]),
        keys: KEYS,
        group: Group::Generic,
        needs: None,
        route: Route::Together,
        run: Run::Together(Together {
            look: pin_look,
            decide: pin_decide,
        }),
        docs: Docs {
            summary: "Keeps keys from being evicted for a time, by default that of pin-default-ttl, and gives the \
                      number of those that exist.",
            since: "0.1.0",
            complexity: "O(N log M) for N keys and M pins",
            syntax: "key [key ...] [EX seconds | PX milliseconds]",
            tips: &[],
            key_uses: &[],
        },
    },
    CommandSpec {
        name: "unpin",
        arity: AtLeast(2),
        flags: Flags::WRITE,
        keys: Keys::ALL,
        group: Group::Generic,
        needs: None,
        route: Route::Split(Join::Sum),
        run: Run::Shard(unpin),
        docs: Docs {
            summary: "Ends the pins of keys and gives the number of those that were pinned.",
            since: "0.1.0",
            complexity: "O(N log M) for N keys and M pins",
            syntax: "key [key ...]",
            tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
            key_uses: &[],
        },
    },
    CommandSpec {
        name: "pinttl",
        arity: Exact(2),
        flags: Flags::of(&[Flags::READONLY, Flags::FAST, Flags::NO_TOUCH]),
        keys: Keys::FIRST,
        group: Group::Generic,
        needs: None,
        route: Route::Key,
        run: Run::Shard(pinttl),
        docs: Docs {
            summary: "Gives the seconds until the pin of a key ends, -1 without a pin, -2 without a key.",
            since: "0.1.0",
            complexity: "O(log M) for M pins",
            syntax: "key",
            tips: &[],
            key_uses: &[],
        },
    },
    CommandSpec {
        name: "pinned",
        arity: AtLeast(1),
        flags: Flags::READONLY,
        keys: Keys::None,
        group: Group::Generic,
        needs: None,
        route: Route::Scan,
        run: Run::Shard(scan::pinned),
        docs: Docs {
            summary: "Gives some of the pinned keys, and the cursor for the next ones; cursor 0 begins and ends.",
            since: "0.1.0",
            complexity: "O(N) for a count of N, O(M) for all M pins",
            syntax: "[cursor] [MATCH pattern] [COUNT count]",
            tips: &[
                "nondeterministic_output",
                "request_policy:special",
                "response_policy:special",
            ],
            key_uses: &[],
        },
    },
];

/// Milliseconds of one unit of the option with this name.
fn unit_of(word: &[u8]) -> Option<i64> {
    let is = |(name, _): &&(&str, i64)| word.eq_ignore_ascii_case(name.as_bytes());
    UNITS.iter().find(is).map(|(_, unit)| *unit)
}

/// When a pin that begins now shall end.
fn end_of_pin(context: &PlanContext<'_>, args: &Args<'_>) -> Result<Millis, CommandError> {
    let option_at = KEYS.positions(args).count() + 1;
    let Some(unit) = args.get(option_at).and_then(unit_of) else {
        // The first word is a key whatever it is; the last of several would pin under a name that nobody meant.
        let last = args.len() - 1;
        if last > 1 && unit_of(args.at(last)).is_some() {
            return Err(CommandError::Syntax);
        }
        return Ok(context.now + context.limits.pin_milliseconds);
    };
    int_argument(args.at(option_at + 1))?
        .checked_mul(unit)
        .filter(|time| *time > 0)
        .and_then(|time| context.now.checked_add(time.unsigned_abs()))
        .filter(|until| *until <= EXPIRE_AT_MAX)
        .ok_or(CommandError::InvalidExpireTime("pin"))
}

fn pin_look<'a>(context: &PlanContext<'_>, args: &Args<'a>, looks: &mut Vec<Look<'a>>) -> Outcome {
    end_of_pin(context, args)?;
    looks.extend(
        KEYS.positions(args)
            .map(|position| context.look(args.at(position), false)),
    );
    Ok(())
}

fn pin_decide<'a>(
    context: &PlanContext<'_>,
    args: &Args<'a>,
    found: &[Found<'a>],
    changes: &mut Vec<Change<'a>>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let until = end_of_pin(context, args)?;
    let mut added: Vec<(&[u8], u64)> = Vec::new();
    for (position, entry) in (1..).zip(found) {
        let (key, Some(entry)) = (args.at(position), entry) else {
            continue;
        };
        if entry.pinned_until.is_none() {
            added.push((key, entry.footprint()));
        }
        changes.push(Change {
            db: context.db,
            key,
            effect: Effect::Pin { until: Some(until) },
            events: &[],
        });
    }
    reply.count(changes.len() as u64);
    added.sort_unstable();
    added.dedup();
    context.pins.check(&added)?;
    Ok(())
}

fn unpin(context: &mut ShardContext<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let mut ended = 0;
    for argument in args.iter().skip(1) {
        let key = context.key(argument);
        ended += i64::from(context.shard.unpin(&key, context.now));
    }
    reply.int(ended);
    Ok(())
}

fn pinttl(context: &mut ShardContext<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    write_time_left(context, args.at(1), reply, |left| (left + 500) / 1000)
}

/// OBJECT PIN.
pub(in crate::commands) fn object_pin(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    write_time_left(context, args.at(2), reply, |left| left)
}

fn write_time_left(
    context: &mut ShardContext<'_>,
    key: &[u8],
    reply: &mut Reply<'_>,
    unit: impl Fn(Millis) -> u64,
) -> Outcome {
    let now = context.now;
    let key = context.first_key(key);
    match context
        .shard
        .look(&key, now)
        .map(|entry| entry.pinned_until)
    {
        None => reply.int(-2),
        Some(Some(until)) if until > now => reply.count(unit(until - now)),
        Some(_) => reply.int(-1),
    }
    Ok(())
}
