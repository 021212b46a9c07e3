//! When keys expire.

use crate::commands::families::value::{expire_at, int_argument};
use crate::commands::table::error::CommandError;
use crate::commands::table::flags::Flags;
use crate::commands::table::handler::{
    Outcome, ReadContext, ReadHandler, Run, ShardContext, ShardHandler,
};
use crate::commands::table::key_use;
use crate::commands::table::keys::Keys;
use crate::commands::table::spec::Arity::{AtLeast, Exact};
use crate::commands::table::spec::{Arity, CommandSpec, Docs, Group, Route};
use crate::keyspace::{EntryView, KeyEvent, Millis};
use crate::resp::{Args, Reply};

pub(in crate::commands) const COMMANDS: &[CommandSpec] = &[
    writer(
        "expire",
        AtLeast(3),
        expire,
        Docs {
            summary: "Lets a key expire after so many seconds, if a condition holds.",
            since: "1.0.0",
            complexity: "O(1)",
            syntax: "key seconds [NX | XX | GT | LT]",
            tips: &[],
            key_uses: &[key_use::TOUCH_UP],
        },
    ),
    writer(
        "pexpire",
        AtLeast(3),
        pexpire,
        Docs {
            summary: "Lets a key expire after so many milliseconds, if a condition holds.",
            since: "2.6.0",
            complexity: "O(1)",
            syntax: "key milliseconds [NX | XX | GT | LT]",
            tips: &[],
            key_uses: &[key_use::TOUCH_UP],
        },
    ),
    writer(
        "expireat",
        AtLeast(3),
        expireat,
        Docs {
            summary: "Lets a key expire at a Unix time in seconds, if a condition holds.",
            since: "1.2.0",
            complexity: "O(1)",
            syntax: "key unix-time-seconds [NX | XX | GT | LT]",
            tips: &[],
            key_uses: &[key_use::TOUCH_UP],
        },
    ),
    writer(
        "pexpireat",
        AtLeast(3),
        pexpireat,
        Docs {
            summary: "Lets a key expire at a Unix time in milliseconds, if a condition holds.",
            since: "2.6.0",
            complexity: "O(1)",
            syntax: "key unix-time-milliseconds [NX | XX | GT | LT]",
            tips: &[],
            key_uses: &[key_use::TOUCH_UP],
        },
    ),
    writer(
        "persist",
        Exact(2),
        persist,
        Docs {
            summary: "Lets a key never expire.",
            since: "2.2.0",
            complexity: "O(1)",
            syntax: "key",
            tips: &[],
            key_uses: &[key_use::TOUCH_UP],
        },
    ),
    reader(
        "ttl",
        ttl,
        Docs {
            summary: "Gives the seconds until a key expires, -1 if it never does, -2 if there is none.",
            since: "1.0.0",
            complexity: "O(1)",
            syntax: "key",
            tips: &["nondeterministic_output"],
            key_uses: &[],
        },
    ),
    reader(
        "pttl",
        pttl,
        Docs {
            summary: "Gives the milliseconds until a key expires, -1 if it never does, -2 if there is none.",
            since: "2.6.0",
            complexity: "O(1)",
            syntax: "key",
            tips: &["nondeterministic_output"],
            key_uses: &[],
        },
    ),
    reader(
        "expiretime",
        expiretime,
        Docs {
            summary: "Gives the Unix time in seconds when a key expires, -1 if it never does, -2 if there is none.",
            since: "7.0.0",
            complexity: "O(1)",
            syntax: "key",
            tips: &[],
            key_uses: &[],
        },
    ),
    reader(
        "pexpiretime",
        pexpiretime,
        Docs {
            summary: "Gives the Unix time in milliseconds when a key expires, -1 if it never does, -2 if there is \
                none.",
            since: "7.0.0",
            complexity: "O(1)",
            syntax: "key",
            tips: &[],
            key_uses: &[],
        },
    ),
];

const fn writer(name: &'static str, arity: Arity, run: ShardHandler, docs: Docs) -> CommandSpec {
    CommandSpec {
        name,
        arity,
        flags: Flags::of(&[Flags::WRITE, Flags::FAST]),
        keys: Keys::FIRST,
        group: Group::Generic,
        needs: None,
        route: Route::Key,
        run: Run::Shard(run),
        docs,
    }
}

const fn reader(name: &'static str, run: ReadHandler, docs: Docs) -> CommandSpec {
    CommandSpec {
        name,
        arity: Exact(2),
        flags: Flags::of(&[Flags::READONLY, Flags::FAST, Flags::NO_TOUCH]),
        keys: Keys::FIRST,
        group: Group::Generic,
        needs: None,
        route: Route::Key,
        run: Run::Read(run),
        docs,
    }
}

/// Conditions under which EXPIRE changes anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Conditions {
    missing: bool,
    existing: bool,
    greater: bool,
    less: bool,
}

impl Conditions {
    fn parse(options: &Args<'_>) -> Result<Self, CommandError> {
        let mut parsed = Self::default();
        for option in options.iter() {
            let condition = match option.to_ascii_lowercase().as_slice() {
                b"nx" => &mut parsed.missing,
                b"xx" => &mut parsed.existing,
                b"gt" => &mut parsed.greater,
                b"lt" => &mut parsed.less,
                _ => {
                    let text = [b"ERR Unsupported option ", option].concat();
                    return Err(CommandError::Text(text.into()));
                }
            };
            *condition = true;
        }
        if parsed.missing && (parsed.existing || parsed.greater || parsed.less) {
            return Err(CommandError::Plain(
                "NX and XX, GT or LT options at the same time are not compatible",
            ));
        }
        if parsed.greater && parsed.less {
            return Err(CommandError::Plain(
                "GT and LT options at the same time are not compatible",
            ));
        }
        Ok(parsed)
    }

    /// A key that never expires does so later than any other.
    fn hold(self, before: Option<Millis>, after: i64) -> bool {
        match before.map(|at| at as i64) {
            None => !(self.existing || self.greater),
            Some(before) => {
                !(self.missing || self.greater && after <= before || self.less && after >= before)
            }
        }
    }
}

fn expire(context: &mut ShardContext<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    change(context, args, reply, context.now, 1000, "expire")
}

fn pexpire(context: &mut ShardContext<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    change(context, args, reply, context.now, 1, "pexpire")
}

fn expireat(context: &mut ShardContext<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    change(context, args, reply, 0, 1000, "expireat")
}

fn pexpireat(context: &mut ShardContext<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    change(context, args, reply, 0, 1, "pexpireat")
}

/// The key expires at `start` and the time given, in units of `factor` milliseconds.
fn change(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
    start: Millis,
    factor: i64,
    command: &'static str,
) -> Outcome {
    let conditions = Conditions::parse(&args.from(3))?;
    let at = int_argument(&args[2])?
        .checked_mul(factor)
        .and_then(|time| time.checked_add(start as i64))
        .ok_or(CommandError::InvalidExpireTime(command))?;
    let key = context.first_key(&args[1]);
    let now = context.now;
    let holds = context
        .shard
        .use_entry(&key, now)
        .is_some_and(|entry| conditions.hold(entry.expire_at, at));
    if holds && at <= now as i64 {
        context.shard.remove(&key, now);
        context.notify(KeyEvent::Del, &key);
    } else if holds {
        context.shard.set_expiry(&key, Some(expire_at(at)), now);
        context.notify(KeyEvent::Expire, &key);
    }
    reply.int(i64::from(holds));
    Ok(())
}

fn persist(context: &mut ShardContext<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = context.first_key(&args[1]);
    let now = context.now;
    let entry = context.shard.use_entry(&key, now);
    let expires = entry.is_some_and(|entry| entry.expire_at.is_some());
    if expires {
        context.shard.set_expiry(&key, None, now);
        context.notify(KeyEvent::Persist, &key);
    }
    reply.int(i64::from(expires));
    Ok(())
}

fn ttl(
    context: &ReadContext<'_>,
    entry: Option<&EntryView<'_>>,
    _: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    write_time(entry, reply, |at| {
        to_seconds(at.saturating_sub(context.now))
    })
}

fn pttl(
    context: &ReadContext<'_>,
    entry: Option<&EntryView<'_>>,
    _: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    write_time(entry, reply, |at| at.saturating_sub(context.now))
}

fn expiretime(
    _: &ReadContext<'_>,
    entry: Option<&EntryView<'_>>,
    _: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    write_time(entry, reply, to_seconds)
}

fn pexpiretime(
    _: &ReadContext<'_>,
    entry: Option<&EntryView<'_>>,
    _: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    write_time(entry, reply, |at| at)
}

fn write_time(
    entry: Option<&EntryView<'_>>,
    reply: &mut Reply<'_>,
    time: impl Fn(Millis) -> u64,
) -> Outcome {
    match entry {
        None => reply.int(-2),
        Some(EntryView {
            expire_at: None, ..
        }) => reply.int(-1),
        Some(EntryView {
            expire_at: Some(at),
            ..
        }) => reply.count(time(*at)),
    }
    Ok(())
}

/// Rounded, as Redis does.
fn to_seconds(milliseconds: u64) -> u64 {
    (milliseconds + 500) / 1000
}
