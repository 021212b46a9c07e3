//! Streams: rows of their commands.

mod add;
mod deliver;
mod groups;
mod ids;
mod info;
mod pending;
mod range;

use std::borrow::Cow;

use crate::commands::families::value::write_element;
use crate::commands::table::error::CommandError;
use crate::commands::table::flags::Flags;
use crate::commands::table::handler::{Run, Together};
use crate::commands::table::key_use;
use crate::commands::table::keys::Keys;
use crate::commands::table::spec::Arity::{AtLeast, Exact};
use crate::commands::table::spec::{CommandSpec, Docs, Group, Route};
use crate::keyspace::collection::stream::{Direction, Stream, StreamEntry, StreamId};
use crate::keyspace::collection::{Collection, Elements, Packing};
use crate::keyspace::{EntryView, Kind, Value};
use crate::resp::{Args, Protocol, Reply};

pub(in crate::commands) const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "xadd",
        arity: AtLeast(5),
        flags: Flags::of(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST]),
        keys: Keys::FIRST,
        group: Group::Stream,
        needs: Some(Kind::Stream),
        route: Route::Key,
        run: Run::Shard(add::xadd),
        docs: Docs {
            summary: "Appends an entry to a stream, which may be trimmed then.",
            since: "5.0.0",
            complexity: "O(1), and O(N) for N entries that are trimmed",
            syntax: "key [NOMKSTREAM] [<MAXLEN | MINID> [= | ~] threshold [LIMIT count]] <* | id> field value [field value ...]",
            tips: &["nondeterministic_output"],
            key_uses: &[key_use::TOUCH_UP],
        },
    },
    CommandSpec {
        name: "xtrim",
        arity: AtLeast(4),
        flags: Flags::WRITE,
        keys: Keys::FIRST,
        group: Group::Stream,
        needs: Some(Kind::Stream),
        route: Route::Key,
        run: Run::Shard(add::xtrim),
        docs: Docs {
            summary: "Removes the oldest entries of a stream and gives their number.",
            since: "5.0.0",
            complexity: "O(N) for N entries that are removed",
            syntax: "key <MAXLEN | MINID> [= | ~] threshold [LIMIT count]",
            tips: &["nondeterministic_output"],
            key_uses: &[key_use::TAKE_OUT],
        },
    },
    CommandSpec {
        name: "xdel",
        arity: AtLeast(3),
        flags: Flags::of(&[Flags::WRITE, Flags::FAST]),
        keys: Keys::FIRST,
        group: Group::Stream,
        needs: Some(Kind::Stream),
        route: Route::Key,
        run: Run::Shard(add::xdel),
        docs: Docs {
            summary: "Deletes entries of a stream and gives the number of those that were there.",
            since: "5.0.0",
            complexity: "O(log M) for each id, among M entries",
            syntax: "key id [id ...]",
            tips: &[],
            key_uses: &[key_use::TAKE_OUT],
        },
    },
    CommandSpec {
        name: "xsetid",
        arity: AtLeast(3),
        flags: Flags::of(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST]),
        keys: Keys::FIRST,
        group: Group::Stream,
        needs: None,
        route: Route::Key,
        run: Run::Shard(add::xsetid),
        docs: Docs {
            summary: "Sets the last id of a stream.",
            since: "5.0.0",
            complexity: "O(1)",
            syntax: "key last-id [ENTRIESADDED entries-added] [MAXDELETEDID max-deleted-id]",
            tips: &[],
            key_uses: &[key_use::TOUCH_UP],
        },
    },
    CommandSpec {
        name: "xlen",
        arity: Exact(2),
        flags: Flags::of(&[Flags::READONLY, Flags::FAST]),
        keys: Keys::FIRST,
        group: Group::Stream,
        needs: Some(Kind::Stream),
        route: Route::Key,
        run: Run::Read(add::xlen),
        docs: Docs {
            summary: "Gives the number of entries of a stream.",
            since: "5.0.0",
            complexity: "O(1)",
            syntax: "key",
            tips: &[],
            key_uses: &[key_use::LOOK],
        },
    },
    CommandSpec {
        name: "xrange",
        arity: AtLeast(4),
        flags: Flags::READONLY,
        keys: Keys::FIRST,
        group: Group::Stream,
        needs: None,
        route: Route::Key,
        run: Run::Read(range::xrange),
        docs: Docs {
            summary: "Gives the entries of a stream between two ids.",
            since: "5.0.0",
            complexity: "O(log M + N) for N of M entries",
            syntax: "key start end [COUNT count]",
            tips: &[],
            key_uses: &[],
        },
    },
    CommandSpec {
        name: "xrevrange",
        arity: AtLeast(4),
        flags: Flags::READONLY,
        keys: Keys::FIRST,
        group: Group::Stream,
        needs: None,
        route: Route::Key,
        run: Run::Read(range::xrevrange),
        docs: Docs {
            summary: "Gives the entries of a stream between two ids, the last first.",
            since: "5.0.0",
            complexity: "O(log M + N) for N of M entries",
            syntax: "key end start [COUNT count]",
            tips: &[],
            key_uses: &[],
        },
    },
    CommandSpec {
        name: "xread",
        arity: AtLeast(4),
        flags: Flags::of(&[Flags::BLOCKING, Flags::READONLY, Flags::MOVABLE_KEYS]),
        keys: Keys::After {
            word: "STREAMS",
            from: 1,
        },
        group: Group::Stream,
        needs: Some(Kind::Stream),
        route: Route::Together,
        run: Run::Together(Together {
            look: range::xread_look,
            decide: range::xread_decide,
        }),
        docs: Docs {
            summary: "Gives the entries of streams behind ids, and may wait for them.",
            since: "5.0.0",
            complexity: "O(log M + N) for each stream, for N of M entries",
            syntax: "[COUNT count] [BLOCK milliseconds] STREAMS key [key ...] id [id ...]",
            tips: &[],
            key_uses: &[key_use::READ_SOME],
        },
    },
    CommandSpec {
        name: "xreadgroup",
        arity: AtLeast(7),
        flags: Flags::of(&[
            Flags::BLOCKING,
            Flags::WRITE,
            Flags::MOVABLE_KEYS,
            Flags::WAITS_FOR_REMOVAL,
        ]),
        keys: Keys::After {
            word: "STREAMS",
            from: 4,
        },
        group: Group::Stream,
        needs: Some(Kind::Stream),
        route: Route::Together,
        run: Run::Together(Together {
            look: deliver::xreadgroup_look,
            decide: deliver::xreadgroup_decide,
        }),
        docs: Docs {
            summary: "Gives a consumer entries that its group has not seen, or what is pending for it.",
            since: "5.0.0",
            complexity: "O(log M + N) for each stream, for N of M entries",
            syntax: "GROUP group consumer [COUNT count] [BLOCK milliseconds] [NOACK] STREAMS key [key ...] id [id ...]",
            tips: &[],
            key_uses: &[key_use::READ_SOME],
        },
    },
    CommandSpec {
        name: "xack",
        arity: AtLeast(4),
        flags: Flags::of(&[Flags::WRITE, Flags::FAST]),
        keys: Keys::FIRST,
        group: Group::Stream,
        needs: Some(Kind::Stream),
        route: Route::Key,
        run: Run::Shard(deliver::xack),
        docs: Docs {
            summary: "Acknowledges entries and gives the number of those that were pending.",
            since: "5.0.0",
            complexity: "O(log N) for each id, among N pending entries",
            syntax: "key group id [id ...]",
            tips: &[],
            key_uses: &[key_use::TOUCH_UP],
        },
    },
    CommandSpec {
        name: "xpending",
        arity: AtLeast(3),
        flags: Flags::READONLY,
        keys: Keys::FIRST,
        group: Group::Stream,
        needs: None,
        route: Route::Key,
        run: Run::Read(pending::xpending),
        docs: Docs {
            summary: "Tells which entries of a group are pending.",
            since: "5.0.0",
            complexity: "O(log N + M) for M of N pending entries",
            syntax: "key group [[IDLE min-idle-time] start end count [consumer]]",
            tips: &["nondeterministic_output"],
            key_uses: &[],
        },
    },
    CommandSpec {
        name: "xclaim",
        arity: AtLeast(6),
        flags: Flags::of(&[Flags::WRITE, Flags::FAST]),
        keys: Keys::FIRST,
        group: Group::Stream,
        needs: Some(Kind::Stream),
        route: Route::Key,
        run: Run::Shard(pending::xclaim),
        docs: Docs {
            summary: "Makes pending entries those of a consumer.",
            since: "5.0.0",
            complexity: "O(log N) for each id, among N pending entries",
            syntax: "key group consumer min-idle-time id [id ...] [IDLE ms] [TIME unix-time-milliseconds] [RETRYCOUNT count] [FORCE] [JUSTID] [LASTID lastid]",
            tips: &["nondeterministic_output"],
            key_uses: &[key_use::TOUCH_UP],
        },
    },
    CommandSpec {
        name: "xautoclaim",
        arity: AtLeast(6),
        flags: Flags::of(&[Flags::WRITE, Flags::FAST]),
        keys: Keys::FIRST,
        group: Group::Stream,
        needs: Some(Kind::Stream),
        route: Route::Key,
        run: Run::Shard(pending::xautoclaim),
        docs: Docs {
            summary: "Makes entries that are pending for long those of a consumer.",
            since: "6.2.0",
            complexity: "O(N) for N entries that are looked at",
            syntax: "key group consumer min-idle-time start [COUNT count] [JUSTID]",
            tips: &["nondeterministic_output"],
            key_uses: &[key_use::TAKE_OUT],
        },
    },
    CommandSpec {
        name: "xgroup",
        arity: AtLeast(2),
        flags: Flags::NONE,
        keys: Keys::None,
        group: Group::Stream,
        needs: None,
        route: Route::Session,
        run: Run::Container,
        docs: Docs {
            summary: "Changes groups of consumers.",
            since: "5.0.0",
            complexity: "That of the subcommand",
            syntax: "",
            tips: &[],
            key_uses: &[],
        },
    },
    CommandSpec {
        name: "xgroup|create",
        arity: AtLeast(5),
        flags: Flags::of(&[Flags::WRITE, Flags::DENYOOM]),
        keys: Keys::SECOND,
        group: Group::Stream,
        needs: None,
        route: Route::Key,
        run: Run::Shard(groups::create),
        docs: Docs {
            summary: "Makes a group.",
            since: "5.0.0",
            complexity: "O(1)",
            syntax: "key group <id | $> [MKSTREAM] [ENTRIESREAD entries-read]",
            tips: &[],
            key_uses: &[key_use::INSERT],
        },
    },
    CommandSpec {
        name: "xgroup|setid",
        arity: AtLeast(5),
        flags: Flags::WRITE,
        keys: Keys::SECOND,
        group: Group::Stream,
        needs: None,
        route: Route::Key,
        run: Run::Shard(groups::setid),
        docs: Docs {
            summary: "Sets the last entry that a group has seen.",
            since: "5.0.0",
            complexity: "O(1)",
            syntax: "key group <id | $> [ENTRIESREAD entries-read]",
            tips: &[],
            key_uses: &[key_use::TOUCH_UP],
        },
    },
    CommandSpec {
        name: "xgroup|destroy",
        arity: Exact(4),
        flags: Flags::WRITE,
        keys: Keys::SECOND,
        group: Group::Stream,
        needs: None,
        route: Route::Key,
        run: Run::Shard(groups::destroy),
        docs: Docs {
            summary: "Removes a group, whatever is pending.",
            since: "5.0.0",
            complexity: "O(N) for N pending entries",
            syntax: "key group",
            tips: &[],
            key_uses: &[key_use::TAKE_OUT],
        },
    },
    CommandSpec {
        name: "xgroup|createconsumer",
        arity: Exact(5),
        flags: Flags::of(&[Flags::WRITE, Flags::DENYOOM]),
        keys: Keys::SECOND,
        group: Group::Stream,
        needs: None,
        route: Route::Key,
        run: Run::Shard(groups::create_consumer),
        docs: Docs {
            summary: "Makes a consumer of a group.",
            since: "6.2.0",
            complexity: "O(1)",
            syntax: "key group consumer",
            tips: &[],
            key_uses: &[key_use::INSERT],
        },
    },
    CommandSpec {
        name: "xgroup|delconsumer",
        arity: Exact(5),
        flags: Flags::WRITE,
        keys: Keys::SECOND,
        group: Group::Stream,
        needs: None,
        route: Route::Key,
        run: Run::Shard(groups::delete_consumer),
        docs: Docs {
            summary: "Removes a consumer, whatever is pending for it.",
            since: "5.0.0",
            complexity: "O(N) for N pending entries",
            syntax: "key group consumer",
            tips: &[],
            key_uses: &[key_use::TAKE_OUT],
        },
    },
    CommandSpec {
        name: "xgroup|help",
        arity: Exact(2),
        flags: Flags::of(&[Flags::LOADING, Flags::STALE]),
        keys: Keys::None,
        group: Group::Stream,
        needs: None,
        route: Route::Session,
        run: Run::Help,
        docs: Docs {
            summary: "Lists the subcommands.",
            since: "5.0.0",
            complexity: "O(1)",
            syntax: "",
            tips: &[],
            key_uses: &[],
        },
    },
    CommandSpec {
        name: "xinfo",
        arity: AtLeast(2),
        flags: Flags::NONE,
        keys: Keys::None,
        group: Group::Stream,
        needs: None,
        route: Route::Session,
        run: Run::Container,
        docs: Docs {
            summary: "Tells about streams and their groups.",
            since: "5.0.0",
            complexity: "That of the subcommand",
            syntax: "",
            tips: &[],
            key_uses: &[],
        },
    },
    CommandSpec {
        name: "xinfo|stream",
        arity: AtLeast(3),
        flags: Flags::READONLY,
        keys: Keys::SECOND,
        group: Group::Stream,
        needs: Some(Kind::Stream),
        route: Route::Key,
        run: Run::Read(info::stream),
        docs: Docs {
            summary: "Tells about a stream.",
            since: "5.0.0",
            complexity: "O(1), and O(N) for N entries that are given",
            syntax: "key [FULL [COUNT count]]",
            tips: &[],
            key_uses: &[],
        },
    },
    CommandSpec {
        name: "xinfo|groups",
        arity: Exact(3),
        flags: Flags::READONLY,
        keys: Keys::SECOND,
        group: Group::Stream,
        needs: Some(Kind::Stream),
        route: Route::Key,
        run: Run::Read(info::groups),
        docs: Docs {
            summary: "Tells about the groups of a stream.",
            since: "5.0.0",
            complexity: "O(N) for N groups",
            syntax: "key",
            tips: &[],
            key_uses: &[],
        },
    },
    CommandSpec {
        name: "xinfo|consumers",
        arity: Exact(4),
        flags: Flags::READONLY,
        keys: Keys::SECOND,
        group: Group::Stream,
        needs: Some(Kind::Stream),
        route: Route::Key,
        run: Run::Read(info::consumers),
        docs: Docs {
            summary: "Tells about the consumers of a group.",
            since: "5.0.0",
            complexity: "O(N) for N consumers",
            syntax: "key group",
            tips: &["nondeterministic_output"],
            key_uses: &[],
        },
    },
    CommandSpec {
        name: "xinfo|help",
        arity: Exact(2),
        flags: Flags::of(&[Flags::LOADING, Flags::STALE]),
        keys: Keys::None,
        group: Group::Stream,
        needs: None,
        route: Route::Session,
        run: Run::Help,
        docs: Docs {
            summary: "Lists the subcommands.",
            since: "5.0.0",
            complexity: "O(1)",
            syntax: "",
            tips: &[],
            key_uses: &[],
        },
    },
];

/// The stream of an entry of this shard.
fn stream_of<'a>(entry: &EntryView<'a>) -> Option<&'a Stream> {
    match entry.value {
        Value::Tree(Collection::Stream(stream)) => Some(stream),
        _ => None,
    }
}

/// The stream of an entry, also of one that came from another shard.
fn made_stream<'a>(entry: &EntryView<'a>) -> Option<Cow<'a, Stream>> {
    match entry.value {
        Value::Tree(Collection::Stream(stream)) => Some(Cow::Borrowed(stream)),
        Value::Written(ops) => {
            let packing = Packing::default();
            let mut stream = Stream::new(&packing);
            stream.apply(ops, &packing);
            Some(Cow::Owned(stream))
        }
        _ => None,
    }
}

/// The id of the last entry that is there.
fn last_entry_id(stream: &Stream) -> Option<StreamId> {
    let mut entries = stream.range(StreamId::MIN, StreamId::MAX, Direction::Back);
    entries.next().map(|entry| entry.id)
}

fn write_id(reply: &mut Reply<'_>, id: StreamId) {
    reply.bulk(id.text(&mut [0; StreamId::TEXT_BYTES_MAX]));
}

fn write_entry(reply: &mut Reply<'_>, entry: &StreamEntry<'_>) {
    reply.array(2);
    write_id(reply, entry.id);
    reply.array(2 * entry.fields());
    for (field, value) in entry.pairs() {
        write_element(reply, field);
        write_element(reply, value);
    }
}

fn write_entries<'a>(reply: &mut Reply<'_>, entries: impl Iterator<Item = StreamEntry<'a>>) {
    let entries: Vec<_> = entries.collect();
    reply.array(entries.len());
    entries.iter().for_each(|entry| write_entry(reply, entry));
}

/// Begins the answer that gives entries by stream. In RESP2 each stream is an array of two.
fn begin_streams(reply: &mut Reply<'_>, count: usize) {
    match reply.protocol() {
        Protocol::Resp2 => reply.array(count),
        Protocol::Resp3 => reply.map(count),
    }
}

/// A text with the words of a client in it.
fn quoting(parts: &[&[u8]]) -> CommandError {
    CommandError::Text(parts.concat().into())
}

fn no_group(key: &[u8], group: &[u8]) -> CommandError {
    quoting(&[
        b"NOGROUP No such consumer group '",
        group,
        b"' for key name '",
        key,
        b"'",
    ])
}

fn no_group_or_key(key: &[u8], group: &[u8]) -> CommandError {
    quoting(&[
        b"NOGROUP No such key '",
        key,
        b"' or consumer group '",
        group,
        b"'",
    ])
}

fn subcommand_syntax(args: &Args<'_>, container: &str) -> CommandError {
    quoting(&[
        b"ERR unknown subcommand or wrong number of arguments for '",
        args.at(1),
        b"'. Try ",
        container.as_bytes(),
        b" HELP.",
    ])
}
