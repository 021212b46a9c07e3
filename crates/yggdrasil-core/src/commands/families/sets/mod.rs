//! Sets: rows of their commands.

mod combine;
mod combining;
mod members;
mod random;

use crate::commands::table::flags::Flags;
use crate::commands::table::handler::{DecideHandler, ReadHandler, Run, ShardHandler, Together};
use crate::commands::table::key_use::{self, KeyUse};
use crate::commands::table::keys::Keys;
use crate::commands::table::spec::Arity::{AtLeast, Exact};
use crate::commands::table::spec::{Arity, CommandSpec, Docs, Group, Route};
use crate::keyspace::collection::Packing;
use crate::keyspace::collection::set::SetView;
use crate::keyspace::{EntryView, Kind};

pub(in crate::commands) const COMMANDS: &[CommandSpec] = &[
    writer(
        "sadd",
        AtLeast(3),
        Flags::of(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST]),
        members::sadd,
        Docs {
            summary: "Adds members to a set and gives the number of new ones.",
            since: "1.0.0",
            complexity: "O(N) for N members",
            syntax: "key member [member ...]",
            tips: &[],
            key_uses: &[key_use::INSERT],
        },
    ),
    writer(
        "srem",
        AtLeast(3),
        Flags::of(&[Flags::WRITE, Flags::FAST]),
        members::srem,
        Docs {
            summary: "Removes members from a set and gives the number of those that were there.",
            since: "1.0.0",
            complexity: "O(N) for N members",
            syntax: "key member [member ...]",
            tips: &[],
            key_uses: &[key_use::TAKE_OUT],
        },
    ),
    writer(
        "spop",
        AtLeast(2),
        Flags::of(&[Flags::WRITE, Flags::FAST]),
        random::spop,
        Docs {
            summary: "Removes members that are chosen by chance, and gives them.",
            since: "1.0.0",
            complexity: "O(N log M) for N of M members",
            syntax: "key [count]",
            tips: &["nondeterministic_output"],
            key_uses: &[key_use::MOVE_AWAY],
        },
    ),
    CommandSpec {
        name: "srandmember",
        arity: AtLeast(2),
        flags: Flags::READONLY,
        keys: Keys::FIRST,
        group: Group::Set,
        needs: Some(Kind::Set),
        route: Route::Key,
        run: Run::Shard(random::srandmember),
        docs: Docs {
            summary: "Gives members that are chosen by chance; a negative count may give one again.",
            since: "1.0.0",
            complexity: "O(N log M) for N of M members",
            syntax: "key [count]",
            tips: &["nondeterministic_output"],
            key_uses: &[],
        },
    },
    reader(
        "scard",
        Exact(2),
        Flags::of(&[Flags::READONLY, Flags::FAST]),
        members::scard,
        Docs {
            summary: "Gives the number of members of a set.",
            since: "1.0.0",
            complexity: "O(1)",
            syntax: "key",
            tips: &[],
            key_uses: &[key_use::LOOK],
        },
    ),
    reader(
        "sismember",
        Exact(3),
        Flags::of(&[Flags::READONLY, Flags::FAST]),
        members::sismember,
        Docs {
            summary: "Tells whether a set has a member.",
            since: "1.0.0",
            complexity: "O(log M) for M members",
            syntax: "key member",
            tips: &[],
            key_uses: &[key_use::LOOK],
        },
    ),
    reader(
        "smismember",
        AtLeast(3),
        Flags::of(&[Flags::READONLY, Flags::FAST]),
        members::smismember,
        Docs {
            summary: "Tells which of some members a set has.",
            since: "6.2.0",
            complexity: "O(N log M) for N of M members",
            syntax: "key member [member ...]",
            tips: &[],
            key_uses: &[],
        },
    ),
    reader(
        "smembers",
        Exact(2),
        Flags::READONLY,
        members::smembers,
        Docs {
            summary: "Gives all members of a set.",
            since: "1.0.0",
            complexity: "O(M) for M members",
            syntax: "key",
            tips: &["nondeterministic_output_order"],
            key_uses: &[],
        },
    ),
    CommandSpec {
        name: "sscan",
        arity: AtLeast(3),
        flags: Flags::READONLY,
        keys: Keys::FIRST,
        group: Group::Set,
        // The cursor is looked at before the kind.
        needs: None,
        route: Route::Key,
        run: Run::Read(members::sscan),
        docs: Docs {
            summary: "Gives some members of a set, and the cursor for the next ones; cursor 0 begins and ends.",
            since: "2.8.0",
            complexity: "O(N) for a count of N, O(M) for all M members",
            syntax: "key cursor [MATCH pattern] [COUNT count]",
            tips: &["nondeterministic_output"],
            key_uses: &[],
        },
    },
    CommandSpec {
        name: "smove",
        arity: Exact(4),
        flags: Flags::of(&[Flags::WRITE, Flags::FAST]),
        keys: Keys::FIRST_TWO,
        group: Group::Set,
        needs: Some(Kind::Set),
        route: Route::Together,
        run: Run::Together(Together {
            look: combine::smove_look,
            decide: combine::smove_decide,
        }),
        docs: Docs {
            summary: "Moves a member from one set to another.",
            since: "1.0.0",
            complexity: "O(log M) for M members of keys in one shard, O(M) otherwise",
            syntax: "source destination member",
            tips: &[],
            key_uses: &[key_use::MOVE_AWAY, key_use::INSERT],
        },
    },
    combination(
        "sinter",
        Together {
            look: combine::look_all,
            decide: combine::sinter,
        },
        Docs {
            summary: "Gives the members that all sets have.",
            since: "1.0.0",
            complexity: "O(N*K log M) for K sets, the smallest of N members, the largest of M",
            syntax: "key [key ...]",
            tips: &["nondeterministic_output_order"],
            key_uses: &[],
        },
    ),
    combination(
        "sunion",
        Together {
            look: combine::look_all,
            decide: combine::sunion,
        },
        Docs {
            summary: "Gives the members that any of some sets has.",
            since: "1.0.0",
            complexity: "O(N) for N members of all sets",
            syntax: "key [key ...]",
            tips: &["nondeterministic_output_order"],
            key_uses: &[],
        },
    ),
    combination(
        "sdiff",
        Together {
            look: combine::look_all,
            decide: combine::sdiff,
        },
        Docs {
            summary: "Gives the members of the first set that no other set has.",
            since: "1.0.0",
            complexity: "O(N) for N members of all sets",
            syntax: "key [key ...]",
            tips: &["nondeterministic_output_order"],
            key_uses: &[],
        },
    ),
    CommandSpec {
        name: "sintercard",
        arity: AtLeast(3),
        flags: Flags::of(&[Flags::READONLY, Flags::MOVABLE_KEYS]),
        keys: Keys::Counted {
            count_at: 1,
            destination: None,
        },
        group: Group::Set,
        needs: Some(Kind::Set),
        route: Route::Together,
        run: Run::Together(Together {
            look: combine::sintercard_look,
            decide: combine::sintercard_decide,
        }),
        docs: Docs {
            summary: "Gives the number of members that all sets have, or a limit where there are more.",
            since: "7.0.0",
            complexity: "O(N*K log M) for K sets, the smallest of N members, the largest of M",
            syntax: "numkeys key [key ...] [LIMIT limit]",
            tips: &[],
            key_uses: &[],
        },
    },
    store(
        "sinterstore",
        combine::sinterstore,
        Docs {
            summary: "Stores the members that all sets have.",
            since: "1.0.0",
            complexity: "O(N*K log M) for K sets, the smallest of N members, the largest of M",
            syntax: "destination key [key ...]",
            tips: &[],
            key_uses: STORE_USES,
        },
    ),
    store(
        "sunionstore",
        combine::sunionstore,
        Docs {
            summary: "Stores the members that any of some sets has.",
            since: "1.0.0",
            complexity: "O(N) for N members of all sets",
            syntax: "destination key [key ...]",
            tips: &[],
            key_uses: STORE_USES,
        },
    ),
    store(
        "sdiffstore",
        combine::sdiffstore,
        Docs {
            summary: "Stores the members of the first set that no other set has.",
            since: "1.0.0",
            complexity: "O(N) for N members of all sets",
            syntax: "destination key [key ...]",
            tips: &[],
            key_uses: STORE_USES,
        },
    ),
];

const STORE_USES: &[KeyUse] = &[key_use::OVERWRITE, key_use::READ];

const fn writer(
    name: &'static str,
    arity: Arity,
    flags: Flags,
    run: ShardHandler,
    docs: Docs,
) -> CommandSpec {
    CommandSpec {
        name,
        arity,
        flags,
        keys: Keys::FIRST,
        group: Group::Set,
        needs: Some(Kind::Set),
        route: Route::Key,
        run: Run::Shard(run),
        docs,
    }
}

const fn reader(
    name: &'static str,
    arity: Arity,
    flags: Flags,
    run: ReadHandler,
    docs: Docs,
) -> CommandSpec {
    CommandSpec {
        name,
        arity,
        flags,
        keys: Keys::FIRST,
        group: Group::Set,
        needs: Some(Kind::Set),
        route: Route::Key,
        run: Run::Read(run),
        docs,
    }
}

const fn combination(name: &'static str, together: Together, docs: Docs) -> CommandSpec {
    CommandSpec {
        name,
        arity: AtLeast(2),
        flags: Flags::READONLY,
        keys: Keys::ALL,
        group: Group::Set,
        needs: Some(Kind::Set),
        route: Route::Together,
        run: Run::Together(together),
        docs,
    }
}

const fn store(name: &'static str, decide: DecideHandler, docs: Docs) -> CommandSpec {
    CommandSpec {
        name,
        arity: AtLeast(3),
        flags: Flags::of(&[Flags::WRITE, Flags::DENYOOM]),
        keys: Keys::IntoFirst { first: 1 },
        group: Group::Set,
        needs: None,
        route: Route::Together,
        run: Run::Together(Together {
            look: combine::store_look,
            decide,
        }),
        docs,
    }
}

/// The set of an entry; an empty one where there is none.
fn set_of<'a>(entry: Option<&EntryView<'a>>) -> SetView<'a> {
    match entry {
        Some(entry) => SetView::of(&entry.value, &Packing::default()),
        None => SetView::packed(b""),
    }
}
