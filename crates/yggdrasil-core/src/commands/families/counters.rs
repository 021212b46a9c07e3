//! Strings that are numbers.

use crate::commands::codecs::long_double::LongDouble;
use crate::commands::families::value::{as_int, canonical, int_argument, text};
use crate::commands::table::error::CommandError;
use crate::commands::table::flags::Flags;
use crate::commands::table::handler::{Outcome, Run, ShardContext, ShardHandler};
use crate::commands::table::keys::Keys;
use crate::commands::table::spec::Arity::Exact;
use crate::commands::table::spec::{CommandSpec, Docs, Group, Route};
use crate::keyspace::{Expiry, KeyEvent, Kind, Value};
use crate::resp::{Args, Reply};

pub(in crate::commands) const COMMANDS: &[CommandSpec] = &[
    counter(
        "incr",
        2,
        incr,
        Docs {
            summary: "Adds one to the integer at a key, 0 where there is none.",
            since: "1.0.0",
            complexity: "O(1)",
            syntax: "key",
            tips: &[],
            key_uses: &[],
        },
    ),
    counter(
        "decr",
        2,
        decr,
        Docs {
            summary: "Takes one from the integer at a key, 0 where there is none.",
            since: "1.0.0",
            complexity: "O(1)",
            syntax: "key",
            tips: &[],
            key_uses: &[],
        },
    ),
    counter(
        "incrby",
        3,
        incrby,
        Docs {
            summary: "Adds to the integer at a key, 0 where there is none.",
            since: "1.0.0",
            complexity: "O(1)",
            syntax: "key increment",
            tips: &[],
            key_uses: &[],
        },
    ),
    counter(
        "decrby",
        3,
        decrby,
        Docs {
            summary: "Takes from the integer at a key, 0 where there is none.",
            since: "1.0.0",
            complexity: "O(1)",
            syntax: "key decrement",
            tips: &[],
            key_uses: &[],
        },
    ),
    counter(
        "incrbyfloat",
        3,
        incrbyfloat,
        Docs {
            summary: "Adds to the floating point number at a key, 0 where there is none.",
            since: "2.6.0",
            complexity: "O(1)",
            syntax: "key float-increment",
            tips: &[],
            key_uses: &[],
        },
    ),
];

/// These commands differ in little.
const fn counter(name: &'static str, arity: u16, run: ShardHandler, docs: Docs) -> CommandSpec {
    CommandSpec {
        name,
        arity: Exact(arity),
        flags: Flags::of(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST]),
        keys: Keys::FIRST,
        group: Group::String,
        needs: Some(Kind::String),
        route: Route::Key,
        run: Run::Shard(run),
        docs,
    }
}

fn incr(context: &mut ShardContext<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    add(context, args, 1, reply)
}

fn decr(context: &mut ShardContext<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    add(context, args, -1, reply)
}

fn incrby(context: &mut ShardContext<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    add(context, args, int_argument(&args[2])?, reply)
}

fn decrby(context: &mut ShardContext<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let amount = int_argument(&args[2])?
        .checked_neg()
        .ok_or(CommandError::Plain("decrement would overflow"))?;
    add(context, args, amount, reply)
}

fn add(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    amount: i64,
    reply: &mut Reply<'_>,
) -> Outcome {
    let key = context.first_key(&args[1]);
    let before = match context.string(&key)? {
        Some(entry) => as_int(entry.value)?,
        None => 0,
    };
    let sum = before
        .checked_add(amount)
        .ok_or(CommandError::WouldOverflow)?;
    context
        .shard
        .set(&key, Value::Int(sum), Expiry::Keep, context.now)?;
    context.notify(KeyEvent::IncrBy, &key);
    reply.int(sum);
    Ok(())
}

fn incrbyfloat(context: &mut ShardContext<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = context.first_key(&args[1]);
    let before = match context.string(&key)?.map(|entry| entry.value) {
        Some(Value::Int(int)) => LongDouble::from_int(int),
        Some(value) => float_argument(text(value, &mut itoa::Buffer::new()))?,
        None => LongDouble::from_int(0),
    };
    let sum = before
        .add(float_argument(&args[2])?)
        .and_then(LongDouble::print)
        .ok_or(CommandError::WouldBeInfinite)?;
    let value = canonical(sum.as_bytes());
    context.shard.set(&key, value, Expiry::Keep, context.now)?;
    context.notify(KeyEvent::IncrByFloat, &key);
    reply.bulk(sum.as_bytes());
    Ok(())
}

fn float_argument(argument: &[u8]) -> Result<LongDouble, CommandError> {
    LongDouble::parse(argument).ok_or(CommandError::NotAFloat)
}
