//! Strings: setting the whole value, and what goes with it.

use crate::commands::families::value::{canonical, expire_at, int_argument, write_value};
use crate::commands::table::error::CommandError;
use crate::commands::table::flags::Flags;
use crate::commands::table::handler::{
    Change, Found, Look, Outcome, PlanContext, Run, ShardContext, Together,
};
use crate::commands::table::key_use;
use crate::commands::table::keys::Keys;
use crate::commands::table::spec::Arity::{AtLeast, Exact};
use crate::commands::table::spec::{CommandSpec, Docs, Group, Join, Route};
use crate::keyspace::{Effect, Expiry, Key, KeyEvent, Kind, Millis};
use crate::resp::{Args, Reply};

/// Every argument but the values.
const PAIRS: Keys = Keys::At {
    first: 1,
    last: -1,
    step: 2,
};

pub(in crate::commands) const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "set",
        arity: AtLeast(3),
        flags: Flags::of(&[Flags::WRITE, Flags::DENYOOM, Flags::VALUE_SECOND]),
        keys: Keys::FIRST,
        group: Group::String,
        needs: None,
        route: Route::Key,
        run: Run::Shard(set),
        docs: Docs {
            summary: "Sets a key to a value, if a condition holds, for a time, or giving the value before.",
            since: "1.0.0",
            complexity: "O(1)",
            syntax: "key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT \
                unix-time-milliseconds | KEEPTTL]",
            tips: &[],
            key_uses: &[key_use::BY_OPTIONS],
        },
    },
    CommandSpec {
        name: "setnx",
        arity: Exact(3),
        flags: Flags::of(&[
            Flags::WRITE,
            Flags::DENYOOM,
            Flags::FAST,
            Flags::VALUE_SECOND,
        ]),
        keys: Keys::FIRST,
        group: Group::String,
        needs: None,
        route: Route::Key,
        run: Run::Shard(setnx),
        docs: Docs {
            summary: "Sets a key that does not exist.",
            since: "1.0.0",
            complexity: "O(1)",
            syntax: "key value",
            tips: &[],
            key_uses: &[key_use::CREATE],
        },
    },
    CommandSpec {
        name: "setex",
        arity: Exact(4),
        flags: Flags::of(&[Flags::WRITE, Flags::DENYOOM, Flags::VALUE_THIRD]),
        keys: Keys::FIRST,
        group: Group::String,
        needs: None,
        route: Route::Key,
        run: Run::Shard(setex),
        docs: Docs {
            summary: "Sets a key for so many seconds.",
            since: "2.0.0",
            complexity: "O(1)",
            syntax: "key seconds value",
            tips: &[],
            key_uses: &[key_use::OVERWRITE],
        },
    },
    CommandSpec {
        name: "psetex",
        arity: Exact(4),
        flags: Flags::of(&[Flags::WRITE, Flags::DENYOOM, Flags::VALUE_THIRD]),
        keys: Keys::FIRST,
        group: Group::String,
        needs: None,
        route: Route::Key,
        run: Run::Shard(psetex),
        docs: Docs {
            summary: "Sets a key for so many milliseconds.",
            since: "2.6.0",
            complexity: "O(1)",
            syntax: "key milliseconds value",
            tips: &[],
            key_uses: &[key_use::OVERWRITE],
        },
    },
    CommandSpec {
        name: "getset",
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
        run: Run::Shard(getset),
        docs: Docs {
            summary: "Sets a key and gives the value before.",
            since: "1.0.0",
            complexity: "O(1)",
            syntax: "key value",
            tips: &[],
            key_uses: &[],
        },
    },
    CommandSpec {
        name: "getex",
        arity: AtLeast(2),
        flags: Flags::of(&[Flags::WRITE, Flags::FAST]),
        keys: Keys::FIRST,
        group: Group::String,
        needs: Some(Kind::String),
        route: Route::Key,
        run: Run::Shard(getex),
        docs: Docs {
            summary: "Gives the value of a key and changes when it expires.",
            since: "6.2.0",
            complexity: "O(1)",
            syntax: "key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | \
                PERSIST]",
            tips: &[],
            key_uses: &[],
        },
    },
    CommandSpec {
        name: "mset",
        arity: AtLeast(3),
        flags: Flags::of(&[Flags::WRITE, Flags::DENYOOM]),
        keys: PAIRS,
        group: Group::String,
        needs: None,
        route: Route::Split(Join::AllOk),
        run: Run::Shard(mset),
        docs: Docs {
            summary: "Sets several keys at once.",
            since: "1.0.1",
            complexity: "O(N) for N keys",
            syntax: "key value [key value ...]",
            tips: &[
                "request_policy:multi_shard",
                "response_policy:all_succeeded",
            ],
            key_uses: &[key_use::OVERWRITE],
        },
    },
    CommandSpec {
        name: "msetnx",
        arity: AtLeast(3),
        flags: Flags::of(&[Flags::WRITE, Flags::DENYOOM]),
        keys: PAIRS,
        group: Group::String,
        needs: None,
        route: Route::Together,
        run: Run::Together(Together {
            look: msetnx_look,
            decide: msetnx_decide,
        }),
        docs: Docs {
            summary: "Sets several keys at once, if none of them exists.",
            since: "1.0.1",
            complexity: "O(N) for N keys",
            syntax: "key value [key value ...]",
            tips: &[],
            key_uses: &[key_use::CREATE],
        },
    },
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Missing,
    Existing,
}

/// How a time of expiry is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Seconds,
    Milliseconds,
    UnixSeconds,
    UnixMilliseconds,
}

/// The time of expiry by the options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Lifetime<'a> {
    /// Nothing.
    #[default]
    Default,
    /// KEEPTTL for SET, PERSIST for GETEX: the one that is not their default.
    Other,
    Until(Unit, &'a [u8]),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct SetOptions<'a> {
    condition: Option<Condition>,
    get: bool,
    lifetime: Lifetime<'a>,
}

impl<'a> SetOptions<'a> {
    fn for_set(options: &Args<'a>) -> Result<Self, CommandError> {
        let mut parsed = Self::default();
        let mut rest = options.iter();
        while let Some(option) = rest.next() {
            if option.eq_ignore_ascii_case(b"nx") {
                parsed.set_condition(Condition::Missing)?;
            } else if option.eq_ignore_ascii_case(b"xx") {
                parsed.set_condition(Condition::Existing)?;
            } else if option.eq_ignore_ascii_case(b"get") {
                parsed.get = true;
            } else if option.eq_ignore_ascii_case(b"keepttl") {
                parsed.lifetime.set_other()?;
            } else {
                parsed.lifetime.set_time(option, rest.next())?;
            }
        }
        Ok(parsed)
    }

    fn for_getex(options: &Args<'a>) -> Result<Lifetime<'a>, CommandError> {
        let mut lifetime = Lifetime::default();
        let mut rest = options.iter();
        while let Some(option) = rest.next() {
            if option.eq_ignore_ascii_case(b"persist") {
                lifetime.set_other()?;
            } else {
                lifetime.set_time(option, rest.next())?;
            }
        }
        Ok(lifetime)
    }

    fn set_condition(&mut self, condition: Condition) -> Outcome {
        match self.condition.replace(condition) {
            Some(other) if other != condition => Err(CommandError::Syntax),
            _ => Ok(()),
        }
    }
}

impl<'a> Lifetime<'a> {
    fn set_other(&mut self) -> Outcome {
        match self {
            Self::Until(..) => Err(CommandError::Syntax),
            Self::Default | Self::Other => {
                *self = Self::Other;
                Ok(())
            }
        }
    }

    /// The same option may come again; the last one counts.
    fn set_time(&mut self, option: &[u8], time: Option<&'a [u8]>) -> Outcome {
        let unit = Unit::of(option).ok_or(CommandError::Syntax)?;
        let time = time.ok_or(CommandError::Syntax)?;
        match *self {
            Self::Other => return Err(CommandError::Syntax),
            Self::Until(other, _) if other != unit => return Err(CommandError::Syntax),
            Self::Default | Self::Until(..) => *self = Self::Until(unit, time),
        }
        Ok(())
    }
}

impl Unit {
    fn of(option: &[u8]) -> Option<Self> {
        [
            (&b"ex"[..], Self::Seconds),
            (b"px", Self::Milliseconds),
            (b"exat", Self::UnixSeconds),
            (b"pxat", Self::UnixMilliseconds),
        ]
        .into_iter()
        .find(|(name, _)| option.eq_ignore_ascii_case(name))
        .map(|(_, unit)| unit)
    }

    fn is_relative(self) -> bool {
        matches!(self, Self::Seconds | Self::Milliseconds)
    }

    /// The time of expiry that `time` means now.
    fn expire_at(
        self,
        time: &[u8],
        now: Millis,
        command: &'static str,
    ) -> Result<Millis, CommandError> {
        let time = int_argument(time)?;
        let factor = match self {
            Self::Seconds | Self::UnixSeconds => 1000,
            Self::Milliseconds | Self::UnixMilliseconds => 1,
        };
        let start = if self.is_relative() { now as i64 } else { 0 };
        Some(time)
            .filter(|time| *time > 0)
            .and_then(|time| time.checked_mul(factor))
            .and_then(|time| time.checked_add(start))
            .map(expire_at)
            .ok_or(CommandError::InvalidExpireTime(command))
    }
}

fn set(context: &mut ShardContext<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if args.len() == 3 {
        let key = context.first_key(&args[1]);
        context.store(&key, &args[2], Expiry::Clear)?;
        context.notify(KeyEvent::Set, &key);
        reply.ok();
        return Ok(());
    }
    set_with_options(context, args, reply)
}

fn set_with_options(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let options = SetOptions::for_set(&args.from(3))?;
    let expiry = match options.lifetime {
        Lifetime::Default => Expiry::Clear,
        Lifetime::Other => Expiry::Keep,
        Lifetime::Until(unit, time) => Expiry::At(unit.expire_at(time, context.now, "set")?),
    };
    let key = context.first_key(&args[1]);
    if options.get {
        let existed = write_before(context, &key, reply)?;
        if options
            .condition
            .is_none_or(|condition| condition.holds(existed))
        {
            store(context, &key, &args[2], expiry)?;
        }
        return Ok(());
    }
    if let Some(condition) = options.condition {
        let existed = context.shard.use_entry(&key, context.now).is_some();
        if !condition.holds(existed) {
            reply.null();
            return Ok(());
        }
    }
    store(context, &key, &args[2], expiry)?;
    reply.ok();
    Ok(())
}

/// Makes bytes the value of a key, and says so.
fn store(context: &mut ShardContext<'_>, key: &Key<'_>, bytes: &[u8], expiry: Expiry) -> Outcome {
    context.store(key, bytes, expiry)?;
    context.notify(KeyEvent::Set, key);
    if matches!(expiry, Expiry::At(_)) {
        context.notify(KeyEvent::Expire, key);
    }
    Ok(())
}

impl Condition {
    fn holds(self, existed: bool) -> bool {
        match self {
            Self::Missing => !existed,
            Self::Existing => existed,
        }
    }
}

/// Writes the value before a change, or null. Tells whether there was one.
fn write_before(
    context: &mut ShardContext<'_>,
    key: &Key<'_>,
    reply: &mut Reply<'_>,
) -> Result<bool, CommandError> {
    match context.string(key)? {
        Some(entry) => {
            write_value(reply, entry.value);
            Ok(true)
        }
        None => {
            context.notify(KeyEvent::KeyMiss, key);
            reply.null();
            Ok(false)
        }
    }
}

fn setnx(context: &mut ShardContext<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = context.first_key(&args[1]);
    let existed = context.shard.use_entry(&key, context.now).is_some();
    if !existed {
        store(context, &key, &args[2], Expiry::Clear)?;
    }
    reply.int(i64::from(!existed));
    Ok(())
}

fn setex(context: &mut ShardContext<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    set_until(context, args, reply, Unit::Seconds, "setex")
}

fn psetex(context: &mut ShardContext<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    set_until(context, args, reply, Unit::Milliseconds, "psetex")
}

fn set_until(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
    unit: Unit,
    command: &'static str,
) -> Outcome {
    let expiry = Expiry::At(unit.expire_at(&args[2], context.now, command)?);
    let key = context.first_key(&args[1]);
    store(context, &key, &args[3], expiry)?;
    reply.ok();
    Ok(())
}

fn getset(context: &mut ShardContext<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = context.first_key(&args[1]);
    write_before(context, &key, reply)?;
    store(context, &key, &args[2], Expiry::Clear)
}

fn getex(context: &mut ShardContext<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let lifetime = SetOptions::for_getex(&args.from(2))?;
    let key = context.first_key(&args[1]);
    if !write_before(context, &key, reply)? {
        return Ok(());
    }
    let now = context.now;
    match lifetime {
        Lifetime::Default => {}
        Lifetime::Other => {
            let expires = context.shard.look(&key, now);
            if expires.is_some_and(|entry| entry.expire_at.is_some()) {
                context.shard.set_expiry(&key, None, now);
                context.notify(KeyEvent::Persist, &key);
            }
        }
        Lifetime::Until(unit, time) => {
            let at = unit.expire_at(time, now, "getex")?;
            if at <= now && !unit.is_relative() {
                context.shard.remove(&key, now);
                context.notify(KeyEvent::Del, &key);
            } else {
                context.shard.set_expiry(&key, Some(at), now);
                context.notify(KeyEvent::Expire, &key);
            }
        }
    }
    Ok(())
}

fn mset(context: &mut ShardContext<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let sizes = pairs(args, "mset")?
        .map(|index| (args.at(index).len() as u64, args.at(index + 1).len() as u64));
    if context.shard.has_room_for(sizes) {
        set_pairs(context, args)?;
    } else {
        context.all_or_none(|context| set_pairs(context, args))?;
    }
    reply.ok();
    Ok(())
}

fn set_pairs(context: &mut ShardContext<'_>, args: &Args<'_>) -> Outcome {
    for index in pairs(args, "mset")? {
        let key = context.key(args.at(index));
        let value = canonical(args.at(index + 1));
        context.shard.set(&key, value, Expiry::Clear, context.now)?;
        context.notify(KeyEvent::Set, &key);
    }
    Ok(())
}

/// The places of the keys, each of which has a value behind it.
fn pairs(
    args: &Args<'_>,
    command: &'static str,
) -> Result<impl Iterator<Item = usize>, CommandError> {
    if args.len().is_multiple_of(2) {
        return Err(CommandError::WrongArity(command));
    }
    Ok((1..args.len()).step_by(2))
}

fn msetnx_look<'a>(
    context: &PlanContext<'_>,
    args: &Args<'a>,
    looks: &mut Vec<Look<'a>>,
) -> Outcome {
    looks.extend(pairs(args, "msetnx")?.map(|index| context.look(args.at(index), false)));
    Ok(())
}

fn msetnx_decide<'a>(
    context: &PlanContext<'_>,
    args: &Args<'a>,
    found: &[Found<'a>],
    changes: &mut Vec<Change<'a>>,
    reply: &mut Reply<'_>,
) -> Outcome {
    if found.iter().any(Option::is_some) {
        reply.int(0);
        return Ok(());
    }
    changes.extend(pairs(args, "msetnx")?.map(|index| Change {
        db: context.db,
        key: args.at(index),
        effect: Effect::Put {
            kind: Kind::String,
            value: canonical(args.at(index + 1)),
            expire_at: None,
            pinned_until: None,
        },
        events: &[KeyEvent::Set],
    }));
    reply.int(1);
    Ok(())
}
