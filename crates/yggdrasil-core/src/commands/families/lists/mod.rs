//! Lists: rows of their commands.

mod arguments;
mod edit;
mod ends;
mod moves;
mod read;
mod seeking;

use crate::commands::table::flags::Flags;
use crate::commands::table::handler::{ReadHandler, Run, ShardHandler, Together};
use crate::commands::table::key_use;
use crate::commands::table::keys::Keys;
use crate::commands::table::spec::Arity::{AtLeast, Exact};
use crate::commands::table::spec::{Arity, CommandSpec, Docs, Group, Route};
use crate::keyspace::collection::Packing;
use crate::keyspace::collection::list::ListView;
use crate::keyspace::{EntryView, Kind};

const ADDS: Flags = Flags::of(&[Flags::WRITE, Flags::DENYOOM]);
const ADDS_FAST: Flags = Flags::of(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST]);
/// A wait for the first key alone: others of the kind are only written.
const WAITS_TO_ADD: Flags = Flags::of(&[
    Flags::WRITE,
    Flags::DENYOOM,
    Flags::BLOCKING,
    Flags::WAITS_FOR_FIRST,
]);
const TAKES_FAST: Flags = Flags::of(&[Flags::WRITE, Flags::FAST]);

pub(in crate::commands) const COMMANDS: &[CommandSpec] = &[
    writer(
        "lpush",
        AtLeast(3),
        ADDS_FAST,
        ends::lpush,
        Docs {
            summary: "Puts elements before the first of a list, each before the last one put.",
            since: "1.0.0",
            complexity: "O(N) for N elements",
            syntax: "key element [element ...]",
            tips: &[],
            key_uses: &[key_use::INSERT],
        },
    ),
    writer(
        "rpush",
        AtLeast(3),
        ADDS_FAST,
        ends::rpush,
        Docs {
            summary: "Puts elements behind the last of a list.",
            since: "1.0.0",
            complexity: "O(N) for N elements",
            syntax: "key element [element ...]",
            tips: &[],
            key_uses: &[key_use::INSERT],
        },
    ),
    writer(
        "lpushx",
        AtLeast(3),
        ADDS_FAST,
        ends::lpushx,
        Docs {
            summary: "Puts elements before the first of a list that is there.",
            since: "2.2.0",
            complexity: "O(N) for N elements",
            syntax: "key element [element ...]",
            tips: &[],
            key_uses: &[key_use::INSERT],
        },
    ),
    writer(
        "rpushx",
        AtLeast(3),
        ADDS_FAST,
        ends::rpushx,
        Docs {
            summary: "Puts elements behind the last of a list that is there.",
            since: "2.2.0",
            complexity: "O(N) for N elements",
            syntax: "key element [element ...]",
            tips: &[],
            key_uses: &[key_use::INSERT],
        },
    ),
    writer(
        "lpop",
        AtLeast(2),
        TAKES_FAST,
        ends::lpop,
        Docs {
            summary: "Removes the first element of a list, or so many, and gives them.",
            since: "1.0.0",
            complexity: "O(N) for N elements",
            syntax: "key [count]",
            tips: &[],
            key_uses: &[key_use::MOVE_AWAY],
        },
    ),
    writer(
        "rpop",
        AtLeast(2),
        TAKES_FAST,
        ends::rpop,
        Docs {
            summary: "Removes the last element of a list, or so many, and gives them.",
            since: "1.0.0",
            complexity: "O(N) for N elements",
            syntax: "key [count]",
            tips: &[],
            key_uses: &[key_use::MOVE_AWAY],
        },
    ),
    reader(
        "llen",
        Exact(2),
        Flags::of(&[Flags::READONLY, Flags::FAST]),
        Some(Kind::List),
        read::llen,
        Docs {
            summary: "Gives the number of elements of a list.",
            since: "1.0.0",
            complexity: "O(1)",
            syntax: "key",
            tips: &[],
            key_uses: &[key_use::LOOK],
        },
    ),
    reader(
        "lindex",
        Exact(3),
        Flags::READONLY,
        Some(Kind::List),
        read::lindex,
        Docs {
            summary: "Gives the element of a list at an index; negative ones count from the end.",
            since: "1.0.0",
            complexity: "O(log N) for N elements",
            syntax: "key index",
            tips: &[],
            key_uses: &[],
        },
    ),
    reader(
        "lrange",
        Exact(4),
        Flags::READONLY,
        // The arguments are looked at before the kind.
        None,
        read::lrange,
        Docs {
            summary: "Gives the elements of a list from one index up to another.",
            since: "1.0.0",
            complexity: "O(log N + M) for M of N elements",
            syntax: "key start stop",
            tips: &[],
            key_uses: &[],
        },
    ),
    reader(
        "lpos",
        AtLeast(3),
        Flags::READONLY,
        None,
        read::lpos,
        Docs {
            summary: "Gives the indexes at which a list has an element.",
            since: "6.0.6",
            complexity: "O(N) for N elements",
            syntax: "key element [RANK rank] [COUNT num-matches] [MAXLEN len]",
            tips: &[],
            key_uses: &[],
        },
    ),
    writer(
        "linsert",
        Exact(5),
        ADDS,
        edit::linsert,
        Docs {
            summary: "Puts an element before or behind another one of a list.",
            since: "2.2.0",
            complexity: "O(N) for N elements before the other one",
            syntax: "key <BEFORE | AFTER> pivot element",
            tips: &[],
            key_uses: &[key_use::INSERT],
        },
    ),
    writer(
        "lset",
        Exact(4),
        ADDS,
        edit::lset,
        Docs {
            summary: "Puts an element in the place of the one at an index.",
            since: "1.0.0",
            complexity: "O(log N) for N elements",
            syntax: "key index element",
            tips: &[],
            key_uses: &[key_use::TOUCH_UP],
        },
    ),
    writer(
        "lrem",
        Exact(4),
        Flags::WRITE,
        edit::lrem,
        Docs {
            summary: "Removes elements that are equal to one: so many first ones, last ones, or all.",
            since: "1.0.0",
            complexity: "O(N + M log N) for M of N elements",
            syntax: "key count element",
            tips: &[],
            key_uses: &[key_use::TAKE_OUT],
        },
    ),
    writer(
        "ltrim",
        Exact(4),
        Flags::WRITE,
        edit::ltrim,
        Docs {
            summary: "Removes all elements but those from one index up to another.",
            since: "1.0.0",
            complexity: "O(N) for N elements that are removed",
            syntax: "key start stop",
            tips: &[],
            key_uses: &[key_use::TAKE_OUT],
        },
    ),
    moving(
        "lmove",
        Exact(5),
        ADDS,
        Docs {
            summary: "Moves an element from an end of a list to an end of another one, and gives it.",
            since: "6.2.0",
            complexity: "O(1)",
            syntax: "source destination <LEFT | RIGHT> <LEFT | RIGHT>",
            tips: &[],
            key_uses: &[key_use::MOVE_AWAY, key_use::INSERT],
        },
    ),
    moving(
        "rpoplpush",
        Exact(3),
        ADDS,
        Docs {
            summary: "Moves the last element of a list before the first of another one, and gives it.",
            since: "1.2.0",
            complexity: "O(1)",
            syntax: "source destination",
            tips: &[],
            key_uses: &[key_use::MOVE_AWAY, key_use::INSERT],
        },
    ),
    moving(
        "blmove",
        Exact(6),
        WAITS_TO_ADD,
        Docs {
            summary: "Does the same as LMOVE, once there is an element.",
            since: "6.2.0",
            complexity: "O(1)",
            syntax: "source destination <LEFT | RIGHT> <LEFT | RIGHT> timeout",
            tips: &[],
            key_uses: &[key_use::MOVE_AWAY, key_use::INSERT],
        },
    ),
    moving(
        "brpoplpush",
        Exact(4),
        WAITS_TO_ADD,
        Docs {
            summary: "Does the same as RPOPLPUSH, once there is an element.",
            since: "2.2.0",
            complexity: "O(1)",
            syntax: "source destination timeout",
            tips: &[],
            key_uses: &[key_use::MOVE_AWAY, key_use::INSERT],
        },
    ),
    popping(
        "lmpop",
        AtLeast(4),
        Flags::of(&[Flags::WRITE, Flags::MOVABLE_KEYS]),
        Keys::Counted {
            count_at: 1,
            destination: None,
        },
        Docs {
            summary: "Removes elements at an end of the first of some lists that has any, and gives them.",
            since: "7.0.0",
            complexity: "O(N + M) for N lists and M elements",
            syntax: "numkeys key [key ...] <LEFT | RIGHT> [COUNT count]",
            tips: &[],
            key_uses: &[key_use::MOVE_AWAY],
        },
    ),
    popping(
        "blmpop",
        AtLeast(5),
        Flags::of(&[Flags::WRITE, Flags::BLOCKING, Flags::MOVABLE_KEYS]),
        Keys::Counted {
            count_at: 2,
            destination: None,
        },
        Docs {
            summary: "Does the same as LMPOP, once there is an element.",
            since: "7.0.0",
            complexity: "O(N + M) for N lists and M elements",
            syntax: "timeout numkeys key [key ...] <LEFT | RIGHT> [COUNT count]",
            tips: &[],
            key_uses: &[key_use::MOVE_AWAY],
        },
    ),
    popping(
        "blpop",
        AtLeast(3),
        Flags::of(&[Flags::WRITE, Flags::BLOCKING]),
        Keys::range(1, -2),
        Docs {
            summary: "Removes the first element of the first of some lists that has any, once there is one.",
            since: "2.0.0",
            complexity: "O(N) for N lists",
            syntax: "key [key ...] timeout",
            tips: &[],
            key_uses: &[key_use::MOVE_AWAY],
        },
    ),
    popping(
        "brpop",
        AtLeast(3),
        Flags::of(&[Flags::WRITE, Flags::BLOCKING]),
        Keys::range(1, -2),
        Docs {
            summary: "Removes the last element of the first of some lists that has any, once there is one.",
            since: "2.0.0",
            complexity: "O(N) for N lists",
            syntax: "key [key ...] timeout",
            tips: &[],
            key_uses: &[key_use::MOVE_AWAY],
        },
    ),
];

const fn moving(name: &'static str, arity: Arity, flags: Flags, docs: Docs) -> CommandSpec {
    CommandSpec {
        name,
        arity,
        flags,
        keys: Keys::FIRST_TWO,
        group: Group::List,
        needs: Some(Kind::List),
        route: Route::Together,
        run: Run::Together(Together {
            look: moves::move_look,
            decide: moves::move_decide,
        }),
        docs,
    }
}

const fn popping(
    name: &'static str,
    arity: Arity,
    flags: Flags,
    keys: Keys,
    docs: Docs,
) -> CommandSpec {
    CommandSpec {
        name,
        arity,
        flags,
        keys,
        group: Group::List,
        needs: Some(Kind::List),
        route: Route::Together,
        run: Run::Together(Together {
            look: moves::pop_look,
            decide: moves::pop_decide,
        }),
        docs,
    }
}

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
        group: Group::List,
        needs: Some(Kind::List),
        route: Route::Key,
        run: Run::Shard(run),
        docs,
    }
}

const fn reader(
    name: &'static str,
    arity: Arity,
    flags: Flags,
    needs: Option<Kind>,
    run: ReadHandler,
    docs: Docs,
) -> CommandSpec {
    CommandSpec {
        name,
        arity,
        flags,
        keys: Keys::FIRST,
        group: Group::List,
        needs,
        route: Route::Key,
        run: Run::Read(run),
        docs,
    }
}

/// The list of an entry; an empty one where there is none.
fn list_of<'a>(entry: Option<&EntryView<'a>>) -> ListView<'a> {
    match entry {
        Some(entry) => ListView::of(&entry.value, &Packing::default()),
        None => ListView::packed(b""),
    }
}
