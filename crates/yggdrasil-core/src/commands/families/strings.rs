//! Strings: reading them, and changing a part of them.

use crate::commands::codecs::lcs::{LcsOptions, lcs as write_lcs};
use crate::commands::families::value::{int_argument, text, text_len, write_value};
use crate::commands::table::error::CommandError;
use crate::commands::table::flags::Flags;
use crate::commands::table::handler::{
    Change, Found, KeyLimits, Look, Outcome, PlanContext, ReadContext, Run, ShardContext, Together,
    check_kind,
};
use crate::commands::table::key_use;
use crate::commands::table::keys::Keys;
use crate::commands::table::spec::Arity::{AtLeast, Exact};
use crate::commands::table::spec::{CommandSpec, Docs, Group, Join, Route};
use crate::keyspace::{EntryView, Expiry, KeyEvent, Kind};
use crate::resp::{Args, Reply};

pub(in crate::commands) const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "get",
        arity: Exact(2),
        flags: Flags::of(&[Flags::READONLY, Flags::FAST]),
        keys: Keys::FIRST,
        group: Group::String,
        needs: Some(Kind::String),
        route: Route::Key,
        run: Run::Read(get),
        docs: Docs {
            summary: "Gives the value of a key.",
            since: "1.0.0",
            complexity: "O(1)",
            syntax: "key",
            tips: &[],
            key_uses: &[],
        },
    },
    CommandSpec {
        name: "mget",
        arity: AtLeast(2),
        flags: Flags::of(&[Flags::READONLY, Flags::FAST]),
        keys: Keys::ALL,
        group: Group::String,
        needs: None,
        route: Route::Split(Join::InOrder),
        run: Run::ReadEach(mget_one),
        docs: Docs {
            summary: "Gives the values of several keys, all as they were at one moment.",
            since: "1.0.0",
            complexity: "O(N) for N keys",
            syntax: "key [key ...]",
            tips: &["request_policy:multi_shard"],
            key_uses: &[],
        },
    },
    CommandSpec {
        name: "getdel",
        arity: Exact(2),
        flags: Flags::of(&[Flags::WRITE, Flags::FAST]),
        keys: Keys::FIRST,
        group: Group::String,
        needs: Some(Kind::String),
        route: Route::Key,
        run: Run::Shard(getdel),
        docs: Docs {
            summary: "Gives the value of a key and deletes it.",
            since: "6.2.0",
            complexity: "O(1)",
            syntax: "key",
            tips: &[],
            key_uses: &[key_use::MOVE_AWAY],
        },
    },
    CommandSpec {
        name: "strlen",
        arity: Exact(2),
        flags: Flags::of(&[Flags::READONLY, Flags::FAST]),
        keys: Keys::FIRST,
        group: Group::String,
        needs: Some(Kind::String),
        route: Route::Key,
        run: Run::Read(strlen),
        docs: Docs {
            summary: "Gives the length of a value in bytes, 0 where there is none.",
            since: "2.2.0",
            complexity: "O(1)",
            syntax: "key",
            tips: &[],
            key_uses: &[key_use::LOOK],
        },
    },
    CommandSpec {
        name: "getrange",
        arity: Exact(4),
        flags: Flags::READONLY,
        keys: Keys::FIRST,
        group: Group::String,
        needs: Some(Kind::String),
        route: Route::Key,
        run: Run::Read(getrange),
        docs: Docs {
            summary: "Gives the bytes of a value from one offset to another, both included; negative ones count from \
                the end.",
            since: "2.4.0",
            complexity: "O(N) for N bytes given",
            syntax: "key start end",
            tips: &[],
            key_uses: &[],
        },
    },
    CommandSpec {
        name: "substr",
        arity: Exact(4),
        flags: Flags::READONLY,
        keys: Keys::FIRST,
        group: Group::String,
        needs: Some(Kind::String),
        route: Route::Key,
        run: Run::Read(getrange),
        docs: Docs {
            summary: "The older name of GETRANGE.",
            since: "1.0.0",
            complexity: "O(N) for N bytes given",
            syntax: "key start end",
            tips: &[],
            key_uses: &[],
        },
    },
    CommandSpec {
        name: "setrange",
        arity: Exact(4),
        flags: Flags::of(&[Flags::WRITE, Flags::DENYOOM, Flags::VALUE_THIRD]),
        keys: Keys::FIRST,
        group: Group::String,
        needs: Some(Kind::String),
        route: Route::Key,
        run: Run::Shard(setrange),
        docs: Docs {
            summary: "Overwrites a part of a value, which grows where that reaches beyond its end.",
            since: "2.2.0",
            complexity: "O(N) for a value of N bytes",
            syntax: "key offset value",
            tips: &[],
            key_uses: &[key_use::TOUCH_UP],
        },
    },
    CommandSpec {
        name: "append",
        arity: Exact(3),
        flags: Flags::of(&[
            Flags::WRITE,
            Flags::DENYOOM,
            Flags::FAST,
            Flags::VALUE_SECOND,
        ]),
        keys: Keys::FIRST,
        group: Group::String,
        needs: Some(Kind::String),
        route: Route::Key,
        run: Run::Shard(append),
        docs: Docs {
            summary: "Adds to the end of a value, or creates it, and gives the new length.",
            since: "2.0.0",
            complexity: "O(N) for N bytes added, where the value has room to grow",
            syntax: "key value",
            tips: &[],
            key_uses: &[key_use::INSERT],
        },
    },
    CommandSpec {
        name: "lcs",
        arity: AtLeast(3),
        flags: Flags::READONLY,
        keys: Keys::FIRST_TWO,
        group: Group::String,
        needs: None,
        route: Route::Together,
        run: Run::Together(Together {
            look: lcs_look,
            decide: lcs_decide,
        }),
        docs: Docs {
            summary: "Gives the longest common subsequence of two values, its length, or where it lies in them.",
            since: "7.0.0",
            complexity: "O(N*M) for values of N and M bytes",
            syntax: "key1 key2 [LEN] [IDX] [MINMATCHLEN min-match-len] [WITHMATCHLEN]",
            tips: &[],
            key_uses: &[],
        },
    },
];

fn get(
    _: &ReadContext<'_>,
    entry: Option<&EntryView<'_>>,
    _: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    match entry {
        Some(entry) => write_value(reply, entry.value),
        None => reply.null(),
    }
    Ok(())
}

/// MGET gives null for what is no string.
fn mget_one(entry: Option<EntryView<'_>>, reply: &mut Reply<'_>) -> i64 {
    match entry.filter(|entry| entry.kind == Kind::String) {
        Some(entry) => write_value(reply, entry.value),
        None => reply.null(),
    }
    0
}

fn getdel(context: &mut ShardContext<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = context.first_key(&args[1]);
    match context.string(&key)? {
        Some(entry) => write_value(reply, entry.value),
        None => {
            context.notify(KeyEvent::KeyMiss, &key);
            reply.null();
            return Ok(());
        }
    }
    context.shard.remove(&key, context.now);
    context.notify(KeyEvent::Del, &key);
    Ok(())
}

fn strlen(
    _: &ReadContext<'_>,
    entry: Option<&EntryView<'_>>,
    _: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    reply.count(entry.map_or(0, |entry| text_len(entry.value)) as u64);
    Ok(())
}

fn getrange(
    _: &ReadContext<'_>,
    entry: Option<&EntryView<'_>>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let (start, end) = (int_argument(&args[2])?, int_argument(&args[3])?);
    let mut buffer = itoa::Buffer::new();
    let bytes = entry.map_or(&b""[..], |entry| text(entry.value, &mut buffer));
    reply.bulk(range(bytes, start, end));
    Ok(())
}

/// From `start` to `end`, as far as there is anything.
fn range(bytes: &[u8], start: i64, end: i64) -> &[u8] {
    if start < 0 && end < 0 && start > end {
        return b"";
    }
    let len = bytes.len() as i64;
    let offset = |index: i64| {
        if index < 0 {
            (index + len).max(0)
        } else {
            index
        }
    };
    let (start, end) = (offset(start), offset(end).min(len - 1));
    if start > end {
        return b"";
    }
    // Both lie in the value: 0 <= start <= end < len.
    &bytes[start as usize..=end as usize]
}

fn setrange(context: &mut ShardContext<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = context.first_key(&args[1]);
    let offset =
        u64::try_from(int_argument(&args[2])?).map_err(|_| CommandError::OffsetOutOfRange)?;
    let bytes = given_bytes(context, &args[3]);
    let len = if bytes == 0 {
        let entry = context.string(&key)?;
        entry.map_or(0, |entry| text_len(entry.value) as u64)
    } else {
        if let Err(too_long) = check_length(context.limits, offset, bytes) {
            context.string(&key)?;
            return Err(too_long);
        }
        let is_new = || context.shard.look(&key, context.now).is_none();
        let len = if offset == 0 && context.shard.has_received() && is_new() {
            context.store(&key, &args[3], Expiry::Clear)?;
            bytes
        } else {
            context.splice(&key, Some(offset), &args[3])?
        };
        context.notify(KeyEvent::SetRange, &key);
        len
    };
    reply.count(len);
    Ok(())
}

fn append(context: &mut ShardContext<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = context.first_key(&args[1]);
    let bytes = given_bytes(context, &args[2]);
    let before = context.shard.look(&key, context.now);
    check_kind(Some(Kind::String), before.as_ref())?;
    let len = match before.map(|entry| text_len(entry.value) as u64) {
        None => {
            context.store(&key, &args[2], Expiry::Clear)?;
            bytes
        }
        Some(len) => {
            check_length(context.limits, len, bytes)?;
            context.splice(&key, None, &args[2])?
        }
    };
    context.notify(KeyEvent::Append, &key);
    reply.count(len);
    Ok(())
}

/// Bytes of an argument, or of what was received in its place.
fn given_bytes(context: &ShardContext<'_>, argument: &[u8]) -> u64 {
    let received = context.shard.received_bytes();
    received.unwrap_or(argument.len() as u64)
}

/// True when so many bytes may stand at `offset`.
fn check_length(limits: &KeyLimits, offset: u64, bytes: u64) -> Outcome {
    match offset.checked_add(bytes) {
        Some(len) if len <= limits.string_bytes_max => Ok(()),
        _ => Err(CommandError::StringTooLong),
    }
}

fn lcs_look<'a>(context: &PlanContext<'_>, args: &Args<'a>, looks: &mut Vec<Look<'a>>) -> Outcome {
    LcsOptions::parse(&args.from(3))?;
    looks.extend([1, 2].map(|index| context.look(args.at(index), true)));
    Ok(())
}

fn lcs_decide<'a>(
    context: &PlanContext<'_>,
    args: &Args<'a>,
    found: &[Found<'a>],
    _: &mut Vec<Change<'a>>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let options = LcsOptions::parse(&args.from(3))?;
    for entry in found.iter().flatten() {
        check_kind(Some(Kind::String), Some(entry)).map_err(|error| match error {
            CommandError::WrongType => {
                CommandError::Plain("The specified keys must contain string values")
            }
            other => other,
        })?;
    }
    let mut buffers = [itoa::Buffer::new(), itoa::Buffer::new()];
    let [a, b] = &mut buffers;
    let a = found[0].map_or(&b""[..], |entry| text(entry.value, a));
    let b = found[1].map_or(&b""[..], |entry| text(entry.value, b));
    write_lcs(a, b, &options, context.limits.string_bytes_max, reply)
}
