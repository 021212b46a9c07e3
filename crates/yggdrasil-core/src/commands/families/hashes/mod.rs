//! Hashes: rows of their commands.

mod claiming;
pub(in crate::commands) mod expiry;
mod fields;
mod numbers;
mod random;

use crate::commands::table::flags::Flags;
use crate::commands::table::handler::{ReadHandler, Run, ShardHandler};
use crate::commands::table::key_use;
use crate::commands::table::keys::Keys;
use crate::commands::table::spec::Arity::{AtLeast, Exact};
use crate::commands::table::spec::{Arity, CommandSpec, Docs, Group, Join, Route};
use crate::keyspace::collection::Packing;
use crate::keyspace::collection::hash::HashView;
use crate::keyspace::{EntryView, Kind, Millis};

/// Flags of commands that may make a hash larger.
const ADDS: Flags = Flags::of(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST]);
/// Flags of the other commands that change one.
const TAKES: Flags = Flags::of(&[Flags::WRITE, Flags::FAST]);
const QUICK: Flags = Flags::of(&[Flags::READONLY, Flags::FAST]);
/// Arguments of a claim: a key, a field and a value.
const CLAIM_STEP: u16 = 3;

pub(in crate::commands) const COMMANDS: &[CommandSpec] = &[
    writer(
        "hset",
        AtLeast(4),
        ADDS,
        fields::hset,
        Docs {
            summary: "Gives fields of a hash values, and tells how many fields are new.",
            since: "2.0.0",
            complexity: "O(N) for N fields",
            syntax: "key field value [field value ...]",
            tips: &[],
            key_uses: &[key_use::TOUCH_UP],
        },
    ),
    writer(
        "hmset",
        AtLeast(4),
        ADDS,
        fields::hmset,
        Docs {
            summary: "Gives fields of a hash values, as HSET does.",
            since: "2.0.0",
            complexity: "O(N) for N fields",
            syntax: "key field value [field value ...]",
            tips: &[],
            key_uses: &[key_use::TOUCH_UP],
        },
    ),
    writer(
        "hsetnx",
        Exact(4),
        ADDS,
        fields::hsetnx,
        Docs {
            summary: "Gives a field of a hash a value where it has none.",
            since: "2.0.0",
            complexity: "O(1)",
            syntax: "key field value",
            tips: &[],
            key_uses: &[key_use::INSERT],
        },
    ),
    CommandSpec {
        name: "hclaim",
        arity: AtLeast(4),
        flags: Flags::of(&[Flags::WRITE, Flags::DENYOOM]),
        keys: Keys::At {
            first: 1,
            last: -1,
            step: CLAIM_STEP,
        },
        group: Group::Hash,
        needs: None,
        route: Route::Split(Join::InOrder),
        run: Run::Shard(claiming::hclaim),
        docs: Docs {
            summary: "Gives fields of hashes values where they have none, and gives the values that were there, null \
                for those that are new.",
            since: "0.1.0",
            complexity: "O(N) for N fields",
            syntax: "key field value [key field value ...]",
            tips: &["request_policy:multi_shard"],
            key_uses: &[key_use::READ_AND_INSERT],
        },
    },
    writer(
        "hdel",
        AtLeast(3),
        TAKES,
        fields::hdel,
        Docs {
            summary: "Removes fields from a hash and gives the number of those that were there.",
            since: "2.0.0",
            complexity: "O(N) for N fields",
            syntax: "key field [field ...]",
            tips: &[],
            key_uses: &[key_use::TAKE_OUT],
        },
    ),
    writer(
        "hincrby",
        Exact(4),
        ADDS,
        numbers::hincrby,
        Docs {
            summary: "Adds to the integer in a field of a hash, 0 where there is none.",
            since: "2.0.0",
            complexity: "O(1)",
            syntax: "key field increment",
            tips: &[],
            key_uses: &[],
        },
    ),
    writer(
        "hincrbyfloat",
        Exact(4),
        ADDS,
        numbers::hincrbyfloat,
        Docs {
            summary: "Adds to the floating point number in a field of a hash, 0 where there is none.",
            since: "2.6.0",
            complexity: "O(1)",
            syntax: "key field float-increment",
            tips: &[],
            key_uses: &[],
        },
    ),
    reader(
        "hget",
        Exact(3),
        QUICK,
        fields::hget,
        Docs {
            summary: "Gives the value of a field of a hash.",
            since: "2.0.0",
            complexity: "O(1)",
            syntax: "key field",
            tips: &[],
            key_uses: &[],
        },
    ),
    reader(
        "hmget",
        AtLeast(3),
        QUICK,
        fields::hmget,
        Docs {
            summary: "Gives the values of fields of a hash.",
            since: "2.0.0",
            complexity: "O(N) for N fields",
            syntax: "key field [field ...]",
            tips: &[],
            key_uses: &[],
        },
    ),
    reader(
        "hgetall",
        Exact(2),
        Flags::READONLY,
        fields::hgetall,
        Docs {
            summary: "Gives all fields of a hash, and their values.",
            since: "2.0.0",
            complexity: "O(M) for M fields",
            syntax: "key",
            tips: &["nondeterministic_output_order"],
            key_uses: &[],
        },
    ),
    reader(
        "hkeys",
        Exact(2),
        Flags::READONLY,
        fields::hkeys,
        Docs {
            summary: "Gives all fields of a hash.",
            since: "2.0.0",
            complexity: "O(M) for M fields",
            syntax: "key",
            tips: &["nondeterministic_output_order"],
            key_uses: &[],
        },
    ),
    reader(
        "hvals",
        Exact(2),
        Flags::READONLY,
        fields::hvals,
        Docs {
            summary: "Gives the values of all fields of a hash.",
            since: "2.0.0",
            complexity: "O(M) for M fields",
            syntax: "key",
            tips: &["nondeterministic_output_order"],
            key_uses: &[],
        },
    ),
    reader(
        "hlen",
        Exact(2),
        QUICK,
        fields::hlen,
        Docs {
            summary: "Gives the number of fields of a hash, of those that have just expired too.",
            since: "2.0.0",
            complexity: "O(1)",
            syntax: "key",
            tips: &[],
            key_uses: &[key_use::LOOK],
        },
    ),
    reader(
        "hstrlen",
        Exact(3),
        QUICK,
        fields::hstrlen,
        Docs {
            summary: "Gives the length of the value of a field of a hash.",
            since: "3.2.0",
            complexity: "O(1)",
            syntax: "key field",
            tips: &[],
            key_uses: &[key_use::LOOK],
        },
    ),
    reader(
        "hexists",
        Exact(3),
        QUICK,
        fields::hexists,
        Docs {
            summary: "Tells whether a hash has a field.",
            since: "2.0.0",
            complexity: "O(1)",
            syntax: "key field",
            tips: &[],
            key_uses: &[key_use::LOOK],
        },
    ),
    CommandSpec {
        name: "hscan",
        arity: AtLeast(3),
        flags: Flags::READONLY,
        keys: Keys::FIRST,
        group: Group::Hash,
        // The cursor is looked at before the kind.
        needs: None,
        route: Route::Key,
        run: Run::Read(fields::hscan),
        docs: Docs {
            summary: "Gives some fields of a hash, and the cursor for the next ones; cursor 0 begins and ends.",
            since: "2.8.0",
            complexity: "O(N) for a count of N, O(M) for all M fields",
            syntax: "key cursor [MATCH pattern] [COUNT count] [NOVALUES]",
            tips: &["nondeterministic_output"],
            key_uses: &[],
        },
    },
    CommandSpec {
        name: "hrandfield",
        arity: AtLeast(2),
        flags: Flags::READONLY,
        keys: Keys::FIRST,
        group: Group::Hash,
        needs: Some(Kind::Hash),
        route: Route::Key,
        run: Run::Shard(random::hrandfield),
        docs: Docs {
            summary: "Gives fields that are chosen by chance; a negative count may give one again.",
            since: "6.2.0",
            complexity: "O(N log M) for N of M fields",
            syntax: "key [count [WITHVALUES]]",
            tips: &["nondeterministic_output"],
            key_uses: &[],
        },
    },
];

const fn writer(
    name: &'static str,
    arity: Arity,
    flags: Flags,
    run: ShardHandler,
    docs: Docs,
) -> CommandSpec {
    row(name, arity, flags, Run::Shard(run), docs)
}

const fn reader(
    name: &'static str,
    arity: Arity,
    flags: Flags,
    run: ReadHandler,
    docs: Docs,
) -> CommandSpec {
    row(name, arity, flags, Run::Read(run), docs)
}

const fn row(name: &'static str, arity: Arity, flags: Flags, run: Run, docs: Docs) -> CommandSpec {
    CommandSpec {
        name,
        arity,
        flags,
        keys: Keys::FIRST,
        group: Group::Hash,
        needs: Some(Kind::Hash),
        route: Route::Key,
        run,
        docs,
    }
}

/// The hash of an entry at a time; an empty one where there is none.
fn hash_of<'a>(entry: Option<&EntryView<'a>>, now: Millis) -> HashView<'a> {
    match entry {
        Some(entry) => HashView::of(&entry.value, &Packing::default(), now),
        None => HashView::packed(b"", now),
    }
}
