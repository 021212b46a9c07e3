//! Estimates of how many different elements there are.

use crate::commands::codecs::hyperloglog::{
    self, Encoding, Invalid, REGISTERS, Registers, Sketch, estimate, place_of,
};
use crate::commands::table::error::CommandError;
use crate::commands::table::flags::Flags;
use crate::commands::table::handler::{
    Change, Found, Look, Outcome, PlanContext, Run, ShardContext, Together, check_kind,
};
use crate::commands::table::key_use;
use crate::commands::table::keys::Keys;
use crate::commands::table::spec::Arity::{AtLeast, Exact};
use crate::commands::table::spec::{CommandSpec, Docs, Group, Join, Route};
use crate::keyspace::{Effect, EntryView, Expiry, Key, KeyEvent, Kind, Value};
use crate::resp::{Args, Reply};

pub(in crate::commands) const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "pfadd",
        arity: AtLeast(2),
        flags: Flags::of(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST]),
        keys: Keys::FIRST,
        group: Group::HyperLogLog,
        needs: Some(Kind::String),
        route: Route::Key,
        run: Run::Shard(pfadd),
        docs: Docs {
            summary: "Adds elements to a HyperLogLog, and tells whether that has changed its estimate.",
            since: "2.8.9",
            complexity: "O(1) for each element",
            syntax: "key [element [element ...]]",
            tips: &[],
            key_uses: &[key_use::INSERT],
        },
    },
    CommandSpec {
        name: "pfcount",
        arity: AtLeast(2),
        flags: Flags::READONLY,
        keys: Keys::ALL,
        group: Group::HyperLogLog,
        needs: None,
        route: Route::Together,
        run: Run::Together(Together {
            look: pfcount_look,
            decide: pfcount_decide,
        }),
        docs: Docs {
            summary: "Estimates the number of different elements in one or several HyperLogLogs together.",
            since: "2.8.9",
            complexity: "O(1) for one key whose estimate is known, O(N) for N keys",
            syntax: "key [key ...]",
            tips: &[],
            key_uses: &[key_use::READ_AND_KEEP],
        },
    },
    CommandSpec {
        name: "pfmerge",
        arity: AtLeast(2),
        flags: Flags::of(&[Flags::WRITE, Flags::DENYOOM]),
        keys: Keys::IntoFirst { first: 1 },
        group: Group::HyperLogLog,
        needs: None,
        route: Route::Together,
        run: Run::Together(Together {
            look: pfmerge_look,
            decide: pfmerge_decide,
        }),
        docs: Docs {
            summary: "Adds what several HyperLogLogs have seen to one.",
            since: "2.8.9",
            complexity: "O(N) for N keys",
            syntax: "destkey [sourcekey [sourcekey ...]]",
            tips: &[],
            key_uses: &[key_use::READ_AND_INSERT, key_use::READ],
        },
    },
    CommandSpec {
        name: "pfdebug",
        arity: Exact(3),
        flags: Flags::of(&[Flags::WRITE, Flags::DENYOOM, Flags::ADMIN]),
        keys: Keys::SECOND,
        group: Group::HyperLogLog,
        needs: Some(Kind::String),
        route: Route::Key,
        run: Run::Shard(pfdebug),
        docs: Docs {
            summary: "Shows how a HyperLogLog is stored, or stores it densely.",
            since: "2.8.9",
            complexity: "O(N) for N registers",
            syntax: "subcommand key",
            tips: &[],
            key_uses: &[key_use::READ_AND_KEEP],
        },
    },
    CommandSpec {
        name: "pfselftest",
        arity: Exact(1),
        flags: Flags::ADMIN,
        keys: Keys::None,
        group: Group::HyperLogLog,
        needs: None,
        route: Route::AllShards(Join::AllOk),
        run: Run::Shard(pfselftest),
        docs: Docs {
            summary: "Tests estimates of this build.",
            since: "2.8.9",
            complexity: "O(1)",
            syntax: "",
            tips: &[],
            key_uses: &[],
        },
    },
];

impl From<Invalid> for CommandError {
    fn from(invalid: Invalid) -> Self {
        Self::text(match invalid {
            Invalid::Foreign => "WRONGTYPE Key is not a valid HyperLogLog string value.",
            Invalid::Corrupt => "INVALIDOBJ Corrupted HLL object detected",
        })
    }
}

/// The HyperLogLog that an entry is.
fn sketch_of<'a>(entry: &EntryView<'a>) -> Result<Sketch<'a>, CommandError> {
    check_kind(Some(Kind::String), Some(entry))?;
    match entry.value {
        Value::Bytes(bytes) => Ok(Sketch::of(bytes)?),
        _ => Err(Invalid::Foreign.into()),
    }
}

fn pfadd(context: &mut ShardContext<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = context.first_key(&args[1]);
    let sparse_bytes_max = context.limits.hll_sparse_bytes_max;
    let entry = context.string(&key)?;
    let is_new = entry.is_none();
    let stored = entry.as_ref().map(sketch_of).transpose()?;
    let mut sketch = stored.unwrap_or_else(Sketch::new);
    let mut raised = false;
    for element in args.iter().skip(2) {
        let (index, value) = place_of(element);
        raised |= sketch.raise(index, value, sparse_bytes_max)?;
    }
    if is_new || raised {
        sketch.outdate();
        let bytes = sketch.into_bytes();
        store(context, &key, &bytes)?;
        context.notify(KeyEvent::PfAdd, &key);
    }
    reply.int(i64::from(is_new || raised));
    Ok(())
}

/// Stores the bytes of a sketch; where it was as long before, only those that are others.
fn store(context: &mut ShardContext<'_>, key: &Key<'_>, bytes: &[u8]) -> Outcome {
    let now = context.now;
    let before = context.shard.look(key, now).map(|entry| entry.value);
    let Some(Value::Bytes(before)) =
        before.filter(|before| before.stored_len() <= bytes.len() as u64)
    else {
        let value = Value::Bytes(bytes);
        context.shard.set(key, value, Expiry::Keep, now)?;
        return Ok(());
    };
    let start = common(before.iter().zip(bytes));
    let same_behind = if before.len() == bytes.len() {
        common(before[start..].iter().rev().zip(bytes.iter().rev()))
    } else {
        0
    };
    let changed = &bytes[start..bytes.len() - same_behind];
    if !changed.is_empty() {
        context.shard.write_range(key, start as u64, changed, now)?;
    }
    Ok(())
}

/// How many pairs at the beginning are of equal bytes.
fn common<'a>(mut pairs: impl Iterator<Item = (&'a u8, &'a u8)>) -> usize {
    let mut equal = 0;
    while pairs.next().is_some_and(|(a, b)| a == b) {
        equal += 1;
    }
    equal
}

fn pfcount_look<'a>(
    context: &PlanContext<'_>,
    args: &Args<'a>,
    looks: &mut Vec<Look<'a>>,
) -> Outcome {
    looks.extend(args.iter().skip(1).map(|key| context.look(key, true)));
    Ok(())
}

fn pfcount_decide<'a>(
    context: &PlanContext<'a>,
    args: &Args<'a>,
    found: &[Found<'a>],
    changes: &mut Vec<Change<'a>>,
    reply: &mut Reply<'_>,
) -> Outcome {
    if let [entry] = found {
        let count = match entry {
            None => 0,
            Some(entry) => count_one(context, args.at(1), &sketch_of(entry)?, changes)?,
        };
        reply.count(count);
        return Ok(());
    }
    let mut union = Box::new([0; REGISTERS]);
    for entry in found.iter().flatten() {
        sketch_of(entry)?.merge_into(&mut union)?;
    }
    reply.count(estimate(&hyperloglog::histogram(&union)));
    Ok(())
}

/// The estimate of a stored sketch, which is kept there.
fn count_one<'a>(
    context: &PlanContext<'a>,
    key: &'a [u8],
    sketch: &Sketch<'_>,
    changes: &mut Vec<Change<'a>>,
) -> Result<u64, CommandError> {
    if let Some(cached) = sketch.cached() {
        return Ok(cached);
    }
    let count = sketch.count()?;
    changes.push(Change {
        db: context.db,
        key,
        effect: Effect::Splice {
            offset: Sketch::CACHE_OFFSET,
            bytes: context.made.keep(count.to_le_bytes().to_vec()),
        },
        events: &[],
    });
    Ok(count)
}

fn pfmerge_look<'a>(
    context: &PlanContext<'_>,
    args: &Args<'a>,
    looks: &mut Vec<Look<'a>>,
) -> Outcome {
    pfcount_look(context, args, looks)
}

fn pfmerge_decide<'a>(
    context: &PlanContext<'a>,
    args: &Args<'a>,
    found: &[Found<'a>],
    changes: &mut Vec<Change<'a>>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let mut union = Box::new([0; REGISTERS]);
    let mut has_dense = false;
    for entry in found.iter().flatten() {
        let sketch = sketch_of(entry)?;
        has_dense |= sketch.encoding() == Encoding::Dense;
        sketch.merge_into(&mut union)?;
    }
    let mut merged = match &found[0] {
        Some(entry) => sketch_of(entry)?,
        None => Sketch::new(),
    };
    if has_dense {
        merged.make_dense()?;
    }
    raise_all(&mut merged, &union, context.limits.hll_sparse_bytes_max)?;
    merged.outdate();
    changes.push(Change {
        db: context.db,
        key: args.at(1),
        effect: Effect::Put {
            kind: Kind::String,
            value: Value::Bytes(context.made.keep(merged.into_bytes())),
            expire_at: found[0].and_then(|entry| entry.expire_at),
            pinned_until: None,
        },
        events: &[KeyEvent::PfAdd],
    });
    reply.ok();
    Ok(())
}

fn raise_all(sketch: &mut Sketch<'_>, registers: &Registers, sparse_bytes_max: usize) -> Outcome {
    let raised = registers
        .iter()
        .enumerate()
        .filter(|(_, value)| **value > 0);
    for (index, value) in raised {
        sketch.raise(index, *value, sparse_bytes_max)?;
    }
    Ok(())
}

fn pfdebug(context: &mut ShardContext<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = context.first_key(&args[2]);
    let entry = context
        .string(&key)?
        .ok_or(CommandError::Plain("The specified key does not exist"))?;
    let mut sketch = sketch_of(&entry)?;
    let was_sparse = sketch.encoding() == Encoding::Sparse;
    match args[1].to_ascii_lowercase().as_slice() {
        b"getreg" => {
            let registers = sketch.registers()?;
            reply.array(registers.len());
            registers
                .iter()
                .for_each(|value| reply.int(i64::from(*value)));
            sketch.make_dense()?;
        }
        b"decode" if was_sparse => {
            let runs: Vec<String> = sketch.runs().map(|run| run.to_string()).collect();
            reply.bulk(runs.join(" ").as_bytes());
        }
        b"decode" => return Err(CommandError::Plain("HLL encoding is not sparse")),
        b"encoding" => reply.simple(if was_sparse { "sparse" } else { "dense" }),
        b"todense" => {
            sketch.make_dense()?;
            reply.int(i64::from(was_sparse));
        }
        _ => {
            let text = [b"ERR Unknown PFDEBUG subcommand '", &args[1], b"'"].concat();
            return Err(CommandError::Text(text.into()));
        }
    }
    if was_sparse && sketch.encoding() == Encoding::Dense {
        let bytes = sketch.into_bytes();
        let value = Value::Bytes(&bytes);
        context.shard.set(&key, value, Expiry::Keep, context.now)?;
    }
    Ok(())
}

/// Elements that are counted by PFSELFTEST.
const TESTED_ELEMENTS: u64 = 100_000;

fn pfselftest(context: &mut ShardContext<'_>, _: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let seed = context.random.draw();
    let (mut sparse, mut dense) = (Sketch::new(), Sketch::new());
    let sparse_bytes_max = context.limits.hll_sparse_bytes_max;
    let mut checked_at = 1;
    for count in 1..=TESTED_ELEMENTS {
        let (index, value) = place_of(&(count ^ seed).to_le_bytes());
        sparse.raise(index, value, sparse_bytes_max)?;
        dense.raise(index, value, 0)?;
        if count < checked_at {
            continue;
        }
        checked_at *= 10;
        let estimate = dense.count()?;
        if sparse.count()? != estimate {
            return Err(CommandError::text("TESTFAILED dense/sparse disagree"));
        }
        // Six times the standard error, and one more where few elements may share a register.
        let error_max = (6.0 * 1.04 / (REGISTERS as f64).sqrt() * count as f64).ceil() as u64;
        if estimate.abs_diff(count) > error_max.max(1) {
            let text = format!("TESTFAILED Too big error. card:{count} abserr:{estimate}");
            return Err(CommandError::text(text));
        }
    }
    reply.ok();
    Ok(())
}
