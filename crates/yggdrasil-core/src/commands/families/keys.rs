//! Keys, whatever their values are.

use crate::commands::codecs::dump::{self as payload, Restored};
use crate::commands::families::moving::{Moving, Name, Told};
use crate::commands::families::scan;
use crate::commands::families::value::{
    canonical, database_argument, expire_at as expire_at_millis, int_argument,
};
use crate::commands::table::error::CommandError;
use crate::commands::table::flags::Flags;
use crate::commands::table::handler::{
    Change, Found, Look, Outcome, PlanContext, ReadContext, Run, ShardContext, Together,
};
use crate::commands::table::key_use;
use crate::commands::table::keys::Keys;
use crate::commands::table::spec::Arity::{AtLeast, Exact};
use crate::commands::table::spec::{CommandSpec, Docs, Group, Join, Route};
use crate::commands::table::together::Seen;
use crate::keyspace::{Effect, EntryView, Expiry, Key, KeyEvent, Millis, Value};
use crate::resp::{Args, Reply};

pub(in crate::commands) const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "del",
        arity: AtLeast(2),
        flags: Flags::WRITE,
        keys: Keys::ALL,
        group: Group::Generic,
        needs: None,
        route: Route::Split(Join::Sum),
        run: Run::Shard(del),
        docs: Docs {
            summary: "Deletes keys and gives the number of those that existed.",
            since: "1.0.0",
            complexity: "O(N) for N keys",
            syntax: "key [key ...]",
            tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
            key_uses: &[key_use::REMOVE],
        },
    },
    CommandSpec {
        name: "unlink",
        arity: AtLeast(2),
        flags: Flags::of(&[Flags::WRITE, Flags::FAST]),
        keys: Keys::ALL,
        group: Group::Generic,
        needs: None,
        route: Route::Split(Join::Sum),
        run: Run::Shard(del),
        docs: Docs {
            summary: "Deletes keys as DEL does.",
            since: "4.0.0",
            complexity: "O(N) for N keys",
            syntax: "key [key ...]",
            tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
            key_uses: &[key_use::REMOVE],
        },
    },
    CommandSpec {
        name: "exists",
        arity: AtLeast(2),
        flags: Flags::of(&[Flags::READONLY, Flags::FAST, Flags::NO_TOUCH]),
        keys: Keys::ALL,
        group: Group::Generic,
        needs: None,
        route: Route::Split(Join::Sum),
        run: Run::ReadEach(exists_one),
        docs: Docs {
            summary: "Gives the number of keys that exist, counting one again that is named again.",
            since: "1.0.0",
            complexity: "O(N) for N keys",
            syntax: "key [key ...]",
            tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
            key_uses: &[key_use::LOOK],
        },
    },
    CommandSpec {
        name: "touch",
        arity: AtLeast(2),
        flags: Flags::of(&[Flags::READONLY, Flags::FAST]),
        keys: Keys::ALL,
        group: Group::Generic,
        needs: None,
        route: Route::Split(Join::Sum),
        run: Run::Shard(touch),
        docs: Docs {
            summary: "Marks keys as used just now and gives the number of those that exist.",
            since: "3.2.1",
            complexity: "O(N) for N keys",
            syntax: "key [key ...]",
            tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
            key_uses: &[key_use::LOOK],
        },
    },
    CommandSpec {
        name: "type",
        arity: Exact(2),
        flags: Flags::of(&[Flags::READONLY, Flags::FAST, Flags::NO_TOUCH]),
        keys: Keys::FIRST,
        group: Group::Generic,
        needs: None,
        route: Route::Key,
        run: Run::Read(kind),
        docs: Docs {
            summary: "Gives the type of a value.",
            since: "1.0.0",
            complexity: "O(1)",
            syntax: "key",
            tips: &[],
            key_uses: &[key_use::LOOK],
        },
    },
    CommandSpec {
        name: "rename",
        arity: Exact(3),
        flags: Flags::WRITE,
        keys: Keys::FIRST_TWO,
        group: Group::Generic,
        needs: None,
        route: Route::Together,
        run: Run::Together(Together {
            look: rename_look,
            decide: rename_decide,
        }),
        docs: Docs {
            summary: "Gives a key another name, in place of what had that name before.",
            since: "1.0.0",
            complexity: "O(N) for a value of N bytes",
            syntax: "key newkey",
            tips: &[],
            key_uses: &[key_use::MOVE_AWAY, key_use::OVERWRITE],
        },
    },
    CommandSpec {
        name: "renamenx",
        arity: Exact(3),
        flags: Flags::of(&[Flags::WRITE, Flags::FAST]),
        keys: Keys::FIRST_TWO,
        group: Group::Generic,
        needs: None,
        route: Route::Together,
        run: Run::Together(Together {
            look: rename_look,
            decide: renamenx_decide,
        }),
        docs: Docs {
            summary: "Gives a key another name that no key has.",
            since: "1.0.0",
            complexity: "O(N) for a value of N bytes",
            syntax: "key newkey",
            tips: &[],
            key_uses: &[key_use::MOVE_AWAY, key_use::CREATE],
        },
    },
    CommandSpec {
        name: "copy",
        arity: AtLeast(3),
        flags: Flags::of(&[Flags::WRITE, Flags::DENYOOM]),
        keys: Keys::FromTo,
        group: Group::Generic,
        needs: None,
        route: Route::Together,
        run: Run::Together(Together {
            look: copy_look,
            decide: copy_decide,
        }),
        docs: Docs {
            summary: "Copies a value and its time of expiry to another key.",
            since: "6.2.0",
            complexity: "O(N) for a value of N bytes",
            syntax: "source destination [DB destination-db] [REPLACE]",
            tips: &[],
            key_uses: &[key_use::READ, key_use::OVERWRITE],
        },
    },
    CommandSpec {
        name: "move",
        arity: Exact(3),
        flags: Flags::of(&[Flags::WRITE, Flags::FAST]),
        keys: Keys::FIRST,
        group: Group::Generic,
        needs: None,
        route: Route::Together,
        run: Run::Shard(move_key),
        docs: Docs {
            summary: "Moves a key to another database that has none of its name.",
            since: "1.0.0",
            complexity: "O(N) for a value of N bytes",
            syntax: "key db",
            tips: &[],
            key_uses: &[],
        },
    },
    CommandSpec {
        name: "dump",
        arity: Exact(2),
        flags: Flags::READONLY,
        keys: Keys::FIRST,
        group: Group::Generic,
        needs: None,
        route: Route::Key,
        run: Run::Read(dump),
        docs: Docs {
            summary: "Gives a value in the form that RESTORE takes.",
            since: "2.6.0",
            complexity: "O(N) for a value of N bytes",
            syntax: "key",
            tips: &["nondeterministic_output"],
            key_uses: &[],
        },
    },
    CommandSpec {
        name: "restore",
        arity: AtLeast(4),
        flags: Flags::of(&[Flags::WRITE, Flags::DENYOOM, Flags::DANGEROUS]),
        keys: Keys::FIRST,
        group: Group::Generic,
        needs: None,
        route: Route::Key,
        run: Run::Shard(restore),
        docs: Docs {
            summary: "Sets a key to what DUMP gave, here or in Redis.",
            since: "2.6.0",
            complexity: "O(N) for a value of N bytes",
            syntax: "key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]",
            tips: &[],
            key_uses: &[key_use::OVERWRITE],
        },
    },
    CommandSpec {
        name: "restore-asking",
        arity: AtLeast(4),
        flags: Flags::of(&[
            Flags::WRITE,
            Flags::DENYOOM,
            Flags::DANGEROUS,
            Flags::ASKING,
        ]),
        keys: Keys::FIRST,
        group: Group::Generic,
        needs: None,
        route: Route::Key,
        run: Run::Shard(restore),
        docs: Docs {
            summary: "Sets a key to what DUMP gave, as nodes of a cluster do that hand over a hash slot.",
            since: "3.0.0",
            complexity: "O(N) for a value of N bytes",
            syntax: "key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]",
            tips: &[],
            key_uses: &[key_use::OVERWRITE],
        },
    },
    CommandSpec {
        name: "keys",
        arity: Exact(2),
        flags: Flags::of(&[Flags::READONLY, Flags::DANGEROUS]),
        keys: Keys::None,
        group: Group::Generic,
        needs: None,
        route: Route::AllShards(Join::Concat),
        run: Run::Shard(scan::keys),
        docs: Docs {
            summary: "Gives all keys that match a pattern.",
            since: "1.0.0",
            complexity: "O(N) for N keys in the database",
            syntax: "pattern",
            tips: &["request_policy:all_shards", "nondeterministic_output_order"],
            key_uses: &[],
        },
    },
    CommandSpec {
        name: "scan",
        arity: AtLeast(2),
        flags: Flags::READONLY,
        keys: Keys::None,
        group: Group::Generic,
        needs: None,
        route: Route::Scan,
        run: Run::Shard(scan::scan),
        docs: Docs {
            summary: "Gives some of the keys, and the cursor for the next ones; cursor 0 begins and ends.",
            since: "2.8.0",
            complexity: "O(N) for a count of N, O(M) for all M keys",
            syntax: "cursor [MATCH pattern] [COUNT count] [TYPE type]",
            tips: &[
                "nondeterministic_output",
                "request_policy:special",
                "response_policy:special",
            ],
            key_uses: &[],
        },
    },
    CommandSpec {
        name: "randomkey",
        arity: Exact(1),
        flags: Flags::READONLY,
        keys: Keys::None,
        group: Group::Generic,
        needs: None,
        route: Route::RandomKey,
        run: Run::Shard(randomkey),
        docs: Docs {
            summary: "Gives a key that is chosen by chance.",
            since: "1.0.0",
            complexity: "O(1)",
            syntax: "",
            tips: &[
                "request_policy:all_shards",
                "response_policy:special",
                "nondeterministic_output",
            ],
            key_uses: &[],
        },
    },
];

fn del(context: &mut ShardContext<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let mut removed = 0;
    for argument in args.iter().skip(1) {
        let key = context.key(argument);
        if context.shard.remove(&key, context.now) {
            context.notify(KeyEvent::Del, &key);
            removed += 1;
        }
    }
    reply.int(removed);
    Ok(())
}

fn exists_one(entry: Option<EntryView<'_>>, _: &mut Reply<'_>) -> i64 {
    i64::from(entry.is_some())
}

fn touch(context: &mut ShardContext<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let mut found = 0;
    for argument in args.iter().skip(1) {
        let key = context.key(argument);
        found += i64::from(context.shard.use_entry(&key, context.now).is_some());
    }
    reply.int(found);
    Ok(())
}

fn kind(
    _: &ReadContext<'_>,
    entry: Option<&EntryView<'_>>,
    _: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    reply.simple(entry.map_or("none", |entry| entry.kind.type_name()));
    Ok(())
}

fn rename_look<'a>(
    context: &PlanContext<'_>,
    args: &Args<'a>,
    looks: &mut Vec<Look<'a>>,
) -> Outcome {
    looks.extend([1, 2].map(|index| context.look(args.at(index), index == 1)));
    Ok(())
}

fn rename_decide<'a>(
    context: &PlanContext<'_>,
    args: &Args<'a>,
    found: &[Found<'a>],
    changes: &mut Vec<Change<'a>>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let source = found[0].ok_or(CommandError::NoSuchKey)?;
    if rename(context, args, source, Told::Ok, changes)? {
        reply.ok();
    }
    Ok(())
}

fn renamenx_decide<'a>(
    context: &PlanContext<'_>,
    args: &Args<'a>,
    found: &[Found<'a>],
    changes: &mut Vec<Change<'a>>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let source = found[0].ok_or(CommandError::NoSuchKey)?;
    let is_free = found[1].is_none();
    if !is_free || rename(context, args, source, Told::One, changes)? {
        reply.int(i64::from(is_free));
    }
    Ok(())
}

/// The new name comes first: if there is no memory for it, nothing is lost. A pin goes along. False where it is done in
/// steps.
fn rename<'a>(
    context: &PlanContext<'_>,
    args: &Args<'a>,
    source: EntryView<'a>,
    told: Told,
    changes: &mut Vec<Change<'a>>,
) -> Result<bool, CommandError> {
    let (db, old, new) = (context.db, args.at(1), args.at(2));
    if old == new {
        return Ok(true);
    }
    if source.pinned_until.is_some() {
        context.pins.check_move(old, new, source.footprint())?;
    }
    let name = |key: &[u8], event| Name {
        db,
        key: key.to_vec(),
        event,
    };
    let names = || {
        let old = name(old, KeyEvent::RenameFrom);
        (name(new, KeyEvent::RenameTo), Some(old))
    };
    if move_in_steps(context, &source, source.pinned_until, names, told) {
        return Ok(false);
    }
    changes.push(Change {
        db,
        key: new,
        effect: put(source, source.pinned_until),
        events: &[KeyEvent::RenameTo],
    });
    changes.push(Change {
        db,
        key: old,
        effect: Effect::Remove,
        events: &[KeyEvent::RenameFrom],
    });
    Ok(true)
}

/// Leaves it to be done in steps that a large collection gets another name. False where it is done at once.
fn move_in_steps(
    context: &PlanContext<'_>,
    source: &EntryView<'_>,
    pinned_until: Option<Millis>,
    names: impl FnOnce() -> (Name, Option<Name>),
    told: Told,
) -> bool {
    if !context.is_logged || !context.may_work_in_steps() {
        return false;
    }
    let Some(moving) = Moving::of(source, pinned_until, names(), told) else {
        return false;
    };
    context.work_in_steps(|| Box::new(moving));
    true
}

fn put(source: EntryView<'_>, pinned_until: Option<Millis>) -> Effect<'_> {
    Effect::Put {
        kind: source.kind,
        value: source.value,
        expire_at: source.expire_at,
        pinned_until,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CopyOptions {
    db: u8,
    replace: bool,
}

impl CopyOptions {
    fn parse(context: &PlanContext<'_>, args: &Args<'_>) -> Result<Self, CommandError> {
        let mut parsed = Self {
            db: context.db,
            replace: false,
        };
        let mut rest = args.iter().skip(3);
        while let Some(option) = rest.next() {
            if option.eq_ignore_ascii_case(b"replace") {
                parsed.replace = true;
            } else if option.eq_ignore_ascii_case(b"db") {
                let db = rest.next().ok_or(CommandError::Syntax)?;
                parsed.db = database_argument(db, context.limits.databases)?;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(parsed)
    }
}

fn copy_look<'a>(context: &PlanContext<'_>, args: &Args<'a>, looks: &mut Vec<Look<'a>>) -> Outcome {
    let options = CopyOptions::parse(context, args)?;
    let (source, destination) = (args.at(1), args.at(2));
    if options.db == context.db && source == destination {
        return Err(CommandError::SameObject);
    }
    looks.push(context.look(source, true));
    looks.push(Look {
        db: options.db,
        key: destination,
        value: false,
        part: None,
    });
    Ok(())
}

fn copy_decide<'a>(
    context: &PlanContext<'_>,
    args: &Args<'a>,
    found: &[Found<'a>],
    changes: &mut Vec<Change<'a>>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let options = CopyOptions::parse(context, args)?;
    let source = found[0].filter(|_| options.replace || found[1].is_none());
    if let Some(source) = source {
        let to = || Name {
            db: options.db,
            key: args.at(2).to_vec(),
            event: KeyEvent::CopyTo,
        };
        if move_in_steps(context, &source, None, || (to(), None), Told::One) {
            return Ok(());
        }
        changes.push(Change {
            db: options.db,
            key: args.at(2),
            effect: put(source, None),
            events: &[KeyEvent::CopyTo],
        });
    }
    reply.int(i64::from(source.is_some()));
    Ok(())
}

fn move_key(context: &mut ShardContext<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let db = database_argument(&args[2], context.limits.databases)?;
    if db == context.db {
        return Err(CommandError::SameObject);
    }
    let (key, now) = (context.first_key(&args[1]), context.now);
    let destination = Key { db, ..key };
    let is_free = context.shard.look(&destination, now).is_none();
    let look = Look {
        db: key.db,
        key: key.bytes,
        value: true,
        part: None,
    };
    let mut bytes = Vec::new();
    let seen = Seen::look(context, &look, &mut bytes);
    let Some(source) = seen.found(&bytes).filter(|_| is_free) else {
        reply.int(0);
        return Ok(());
    };
    if context.shard.has_listener() && context.may_work_in_steps() {
        let name = |db, event| Name {
            db,
            key: key.bytes.to_vec(),
            event,
        };
        let names = (
            name(db, KeyEvent::MoveTo),
            Some(name(key.db, KeyEvent::MoveFrom)),
        );
        if let Some(moving) = Moving::of(&source, source.pinned_until, names, Told::One) {
            context.work_in_steps(|| Box::new(moving));
            return Ok(());
        }
    }
    let effect = put(source, source.pinned_until);
    context.shard.make(&destination, &effect, now)?;
    context.shard.remove(&key, now);
    context.notify(KeyEvent::MoveFrom, &key);
    context.notify(KeyEvent::MoveTo, &destination);
    reply.int(1);
    Ok(())
}

fn dump(
    _: &ReadContext<'_>,
    entry: Option<&EntryView<'_>>,
    _: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    match entry {
        Some(entry) => reply.bulk(&payload::dump(entry.kind, entry.value)?),
        None => reply.null(),
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct RestoreOptions {
    replace: bool,
    absolute: bool,
    idle_seconds: Option<u64>,
    frequency: Option<u8>,
}

impl RestoreOptions {
    fn parse(options: &Args<'_>) -> Result<Self, CommandError> {
        let mut parsed = Self::default();
        let mut rest = options.iter();
        while let Some(option) = rest.next() {
            if option.eq_ignore_ascii_case(b"replace") {
                parsed.replace = true;
            } else if option.eq_ignore_ascii_case(b"absttl") {
                parsed.absolute = true;
            } else if option.eq_ignore_ascii_case(b"idletime") && parsed.frequency.is_none() {
                let idle = int_argument(rest.next().ok_or(CommandError::Syntax)?)?;
                let idle = u64::try_from(idle)
                    .map_err(|_| CommandError::Plain("Invalid IDLETIME value, must be >= 0"))?;
                parsed.idle_seconds = Some(idle);
            } else if option.eq_ignore_ascii_case(b"freq") && parsed.idle_seconds.is_none() {
                let frequency = int_argument(rest.next().ok_or(CommandError::Syntax)?)?;
                parsed.frequency = Some(u8::try_from(frequency).map_err(|_| {
                    CommandError::Plain("Invalid FREQ value, must be >= 0 and <= 255")
                })?);
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(parsed)
    }
}

fn restore(context: &mut ShardContext<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let options = RestoreOptions::parse(&args.from(4))?;
    let (key, now) = (context.first_key(&args[1]), context.now);
    if !options.replace && context.shard.look(&key, now).is_some() {
        return Err(CommandError::BusyKey);
    }
    let ttl = int_argument(&args[2])?;
    if ttl < 0 {
        return Err(CommandError::Plain("Invalid TTL value, must be >= 0"));
    }
    let value = payload::restore(&args[3], context.limits.string_bytes_max)?;
    let start = if options.absolute { 0 } else { now as i64 };
    let expiry = match ttl {
        0 => Expiry::Clear,
        ttl => Expiry::At(expire_at_millis(ttl.saturating_add(start))),
    };
    if matches!(expiry, Expiry::At(at) if at <= now) {
        if context.shard.remove(&key, now) {
            context.notify(KeyEvent::Del, &key);
        }
    } else {
        match &value {
            Restored::String(text) => context.shard.set(&key, canonical(text), expiry, now)?,
            Restored::Collection { kind, ops } => {
                let value = Value::Written(ops);
                context.shard.put(&key, *kind, value, expiry, now)?
            }
        };
        if let Some(seconds) = options.idle_seconds {
            context.shard.set_idle(&key, seconds, now);
        }
        if let Some(counter) = options.frequency {
            context.shard.set_frequency(&key, counter, now);
        }
        context.notify(KeyEvent::Restore, &key);
    }
    reply.ok();
    Ok(())
}

fn randomkey(context: &mut ShardContext<'_>, _: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let drawn = context.random.draw();
    match context.shard.random(context.db, drawn, context.now) {
        Some(key) => reply.bulk(key),
        None => reply.null(),
    }
    Ok(())
}
