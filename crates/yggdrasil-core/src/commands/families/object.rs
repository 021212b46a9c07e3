//! OBJECT: how an entry is kept.

use crate::commands::families::pins::object_pin;
use crate::commands::table::error::CommandError;
use crate::commands::table::flags::Flags;
use crate::commands::table::handler::{Outcome, ReadContext, ReadHandler, Run, ShardContext};
use crate::commands::table::key_use;
use crate::commands::table::keys::Keys;
use crate::commands::table::spec::Arity::{AtLeast, Exact};
use crate::commands::table::spec::{CommandSpec, Docs, Group, Route};
use crate::keyspace::collection::hash::HashView;
use crate::keyspace::collection::set::SetView;
use crate::keyspace::{EntryView, Kind, Value};
use crate::resp::{Args, Reply};

/// Longer strings are "raw", for Redis keeps them apart from their header.
const EMBEDDED_BYTES_MAX: usize = 44;
/// Redis shares the integers below, and says so by an impossible number of references.
const SHARED_INTS: std::ops::Range<i64> = 0..10_000;

pub(in crate::commands) const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "object",
        arity: AtLeast(2),
        flags: Flags::NONE,
        keys: Keys::None,
        group: Group::Generic,
        needs: None,
        route: Route::Session,
        run: Run::Container,
        docs: Docs {
            summary: "Tells how a key is kept.",
            since: "2.2.3",
            complexity: "That of the subcommand",
            syntax: "",
            tips: &[],
            key_uses: &[],
        },
    },
    subcommand(
        "object|encoding",
        encoding,
        Docs {
            summary: "Gives the encoding of a value under the name that Redis has for it.",
            since: "2.2.3",
            complexity: "O(1)",
            syntax: "key",
            tips: &["nondeterministic_output"],
            key_uses: &[key_use::LOOK],
        },
    ),
    CommandSpec {
        name: "object|freq",
        arity: Exact(3),
        flags: Flags::of(&[Flags::READONLY, Flags::NO_TOUCH]),
        keys: Keys::SECOND,
        group: Group::Generic,
        needs: None,
        route: Route::Key,
        run: Run::Shard(freq),
        docs: Docs {
            summary: "Gives the access frequency of a key, under an eviction policy that keeps it.",
            since: "4.0.0",
            complexity: "O(1)",
            syntax: "key",
            tips: &["nondeterministic_output"],
            key_uses: &[key_use::LOOK],
        },
    },
    subcommand(
        "object|idletime",
        idletime,
        Docs {
            summary: "Gives the seconds since a key was last used.",
            since: "2.2.3",
            complexity: "O(1)",
            syntax: "key",
            tips: &["nondeterministic_output"],
            key_uses: &[key_use::LOOK],
        },
    ),
    CommandSpec {
        name: "object|pin",
        arity: Exact(3),
        flags: Flags::of(&[Flags::READONLY, Flags::NO_TOUCH]),
        keys: Keys::SECOND,
        group: Group::Generic,
        needs: None,
        route: Route::Key,
        run: Run::Shard(object_pin),
        docs: Docs {
            summary: "Gives the milliseconds until the pin of a key ends, -1 without a pin, -2 without a key.",
            since: "0.1.0",
            complexity: "O(log M) for M pins",
            syntax: "key",
            tips: &[],
            key_uses: &[],
        },
    },
    subcommand(
        "object|refcount",
        refcount,
        Docs {
            summary: "Gives the number of references that Redis would have to a value.",
            since: "2.2.3",
            complexity: "O(1)",
            syntax: "key",
            tips: &["nondeterministic_output"],
            key_uses: &[key_use::LOOK],
        },
    ),
    CommandSpec {
        name: "object|help",
        arity: Exact(2),
        flags: Flags::of(&[Flags::LOADING, Flags::STALE]),
        keys: Keys::None,
        group: Group::Generic,
        needs: None,
        route: Route::Session,
        run: Run::Help,
        docs: Docs {
            summary: "Lists the subcommands.",
            since: "6.2.0",
            complexity: "O(1)",
            syntax: "",
            tips: &[],
            key_uses: &[],
        },
    },
];

const fn subcommand(name: &'static str, run: ReadHandler, docs: Docs) -> CommandSpec {
    CommandSpec {
        name,
        arity: Exact(3),
        flags: Flags::of(&[Flags::READONLY, Flags::NO_TOUCH]),
        keys: Keys::SECOND,
        group: Group::Generic,
        needs: None,
        route: Route::Key,
        run: Run::Read(run),
        docs,
    }
}

fn encoding(
    _: &ReadContext<'_>,
    entry: Option<&EntryView<'_>>,
    _: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    match entry {
        None => reply.null(),
        Some(entry) => reply.bulk(encoding_name(entry).as_bytes()),
    }
    Ok(())
}

/// The name that Redis has for the way a value is kept.
pub fn encoding_name(entry: &EntryView<'_>) -> &'static str {
    match (entry.kind, entry.value) {
        (Kind::String, Value::Int(_)) => "int",
        (Kind::String, Value::Bytes(bytes)) if bytes.len() <= EMBEDDED_BYTES_MAX => "embstr",
        (Kind::String | Kind::Vector, _) => "raw",
        (Kind::Stream, _) => "stream",
        (Kind::Set, Value::Bytes(packed)) => SetView::packed(packed).encoding_name(),
        (Kind::Hash, Value::Bytes(packed)) => HashView::packed(packed, 0).encoding_name(),
        (Kind::List | Kind::SortedSet, Value::Bytes(_)) => "listpack",
        (Kind::List, _) => "quicklist",
        (Kind::SortedSet, _) => "skiplist",
        (Kind::Set | Kind::Hash, _) => "hashtable",
    }
}

fn freq(context: &mut ShardContext<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = context.first_key(args.at(2));
    let Some(access) = context
        .shard
        .look(&key, context.now)
        .map(|entry| entry.access)
    else {
        reply.null();
        return Ok(());
    };
    let counter = context.shard.frequency(access, context.now);
    reply.int(i64::from(counter.ok_or(CommandError::Plain(
        "An LFU maxmemory policy is not selected, access frequency not tracked. \
         Please note that when switching between policies at runtime LRU and LFU data will take \
         some time to adjust.",
    ))?));
    Ok(())
}

fn idletime(
    context: &ReadContext<'_>,
    entry: Option<&EntryView<'_>>,
    _: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let Some(entry) = entry else {
        reply.null();
        return Ok(());
    };
    let bits = context.limits.access_bits;
    let idle = bits.idle_seconds(entry.access, context.now);
    reply.count(idle.ok_or(CommandError::Plain(
        "An LFU maxmemory policy is selected, idle time not tracked. \
         Please note that when switching between policies at runtime LRU and LFU data will take \
         some time to adjust.",
    ))?);
    Ok(())
}

fn refcount(
    _: &ReadContext<'_>,
    entry: Option<&EntryView<'_>>,
    _: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    match entry.map(|entry| entry.value) {
        None => reply.null(),
        Some(Value::Int(int)) if SHARED_INTS.contains(&int) => reply.int(i64::from(i32::MAX)),
        Some(_) => reply.int(1),
    }
    Ok(())
}
