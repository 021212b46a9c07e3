//! Whole databases.

use crate::commands::table::error::CommandError;
use crate::commands::table::flags::Flags;
use crate::commands::table::handler::{Outcome, Run, ShardContext, ShardHandler};
use crate::commands::table::keys::Keys;
use crate::commands::table::spec::Arity::{self, AtLeast, Exact};
use crate::commands::table::spec::{CommandSpec, Docs, Group, Join, Route};
use crate::resp::{Args, Reply, parse_i64};

pub(in crate::commands) const COMMANDS: &[CommandSpec] = &[
    on_all_shards(
        "dbsize",
        Exact(1),
        Flags::of(&[Flags::READONLY, Flags::FAST, Flags::KEYSPACE]),
        Join::Sum,
        dbsize,
        Docs {
            summary: "Gives the number of keys in the database.",
            since: "1.0.0",
            complexity: "O(1)",
            syntax: "",
            tips: &["request_policy:all_shards", "response_policy:agg_sum"],
            key_uses: &[],
        },
    ),
    on_all_shards(
        "flushdb",
        AtLeast(1),
        Flags::of(&[Flags::WRITE, Flags::KEYSPACE, Flags::DANGEROUS]),
        Join::AllOk,
        flushdb,
        Docs {
            summary: "Deletes all keys of the database.",
            since: "1.0.0",
            complexity: "O(1); memory is reclaimed in small steps",
            syntax: "[ASYNC | SYNC]",
            tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
            key_uses: &[],
        },
    ),
    on_all_shards(
        "flushall",
        AtLeast(1),
        Flags::of(&[Flags::WRITE, Flags::KEYSPACE, Flags::DANGEROUS]),
        Join::AllOk,
        flushall,
        Docs {
            summary: "Deletes all keys of all databases.",
            since: "1.0.0",
            complexity: "O(1); memory is reclaimed in small steps",
            syntax: "[ASYNC | SYNC]",
            tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
            key_uses: &[],
        },
    ),
    on_all_shards(
        "swapdb",
        Exact(3),
        Flags::of(&[Flags::WRITE, Flags::FAST, Flags::KEYSPACE, Flags::DANGEROUS]),
        Join::AllOk,
        swapdb,
        Docs {
            summary: "Exchanges the keys of two databases.",
            since: "4.0.0",
            complexity: "O(N) for N watched keys in both",
            syntax: "index1 index2",
            tips: &[],
            key_uses: &[],
        },
    ),
];

const fn on_all_shards(
    name: &'static str,
    arity: Arity,
    flags: Flags,
    join: Join,
    run: ShardHandler,
    docs: Docs,
) -> CommandSpec {
    CommandSpec {
        name,
        arity,
        flags,
        keys: Keys::None,
        group: Group::Server,
        needs: None,
        route: Route::AllShards(join),
        run: Run::Shard(run),
        docs,
    }
}

fn dbsize(context: &mut ShardContext<'_>, _: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.count(context.shard.len(context.db));
    Ok(())
}

fn flushdb(context: &mut ShardContext<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    check_flush(args)?;
    context.shard.clear_database(context.db);
    context.shard.note_all_stale();
    reply.ok();
    Ok(())
}

fn flushall(context: &mut ShardContext<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    check_flush(args)?;
    context.shard.clear();
    context.shard.note_all_stale();
    reply.ok();
    Ok(())
}

/// ASYNC and SYNC are the same here: the keys are gone at once, and their memory follows in small steps.
fn check_flush(args: &Args<'_>) -> Outcome {
    let known = |option: &[u8]| {
        option.eq_ignore_ascii_case(b"async") || option.eq_ignore_ascii_case(b"sync")
    };
    match args.len() {
        1 => Ok(()),
        2 if known(&args[1]) => Ok(()),
        _ => Err(CommandError::Syntax),
    }
}

fn swapdb(context: &mut ShardContext<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let databases = context.limits.databases;
    let first = database(&args[1], "invalid first DB index")?;
    let second = database(&args[2], "invalid second DB index")?;
    let in_range = |number: i32| u8::try_from(number).ok().filter(|db| *db < databases);
    let (Some(first), Some(second)) = (in_range(first), in_range(second)) else {
        return Err(CommandError::DatabaseOutOfRange);
    };
    context.shard.swap_databases(first, second);
    reply.ok();
    Ok(())
}

fn database(argument: &[u8], error: &'static str) -> Result<i32, CommandError> {
    parse_i64(argument)
        .and_then(|number| i32::try_from(number).ok())
        .ok_or(CommandError::Plain(error))
}
