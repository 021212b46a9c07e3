//! Strings as rows of bits.

use crate::commands::codecs::bits::{self, Operation};
use crate::commands::families::value::{int_argument, text};
use crate::commands::table::error::CommandError;
use crate::commands::table::flags::Flags;
use crate::commands::table::handler::{
    Change, Found, KeyLimits, Look, Outcome, PlanContext, ReadContext, Run, ShardContext, Together,
    check_kind,
};
use crate::commands::table::key_use;
use crate::commands::table::keys::Keys;
use crate::commands::table::spec::Arity::{AtLeast, Exact};
use crate::commands::table::spec::{CommandSpec, Docs, Group, Route};
use crate::keyspace::{Effect, EntryView, KeyEvent, Kind, Value};
use crate::resp::{Args, Reply};

pub(in crate::commands) const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "setbit",
        arity: Exact(4),
        flags: Flags::of(&[Flags::WRITE, Flags::DENYOOM]),
        keys: Keys::FIRST,
        group: Group::Bitmap,
        needs: Some(Kind::String),
        route: Route::Key,
        run: Run::Shard(setbit),
        docs: Docs {
            summary: "Sets or clears one bit of a value, which grows where it is shorter, and gives the bit before.",
            since: "2.2.0",
            complexity: "O(1)",
            syntax: "key offset value",
            tips: &[],
            key_uses: &[],
        },
    },
    CommandSpec {
        name: "getbit",
        arity: Exact(3),
        flags: Flags::of(&[Flags::READONLY, Flags::FAST]),
        keys: Keys::FIRST,
        group: Group::Bitmap,
        needs: Some(Kind::String),
        route: Route::Key,
        run: Run::Read(getbit),
        docs: Docs {
            summary: "Gives one bit of a value, 0 behind its end.",
            since: "2.2.0",
            complexity: "O(1)",
            syntax: "key offset",
            tips: &[],
            key_uses: &[],
        },
    },
    CommandSpec {
        name: "bitcount",
        arity: AtLeast(2),
        flags: Flags::READONLY,
        keys: Keys::FIRST,
        group: Group::Bitmap,
        needs: None,
        route: Route::Key,
        run: Run::Read(bitcount),
        docs: Docs {
            summary: "Counts the bits of a value, or of a part of it, that are set.",
            since: "2.6.0",
            complexity: "O(N) for N bytes",
            syntax: "key [start end [BYTE | BIT]]",
            tips: &[],
            key_uses: &[],
        },
    },
    CommandSpec {
        name: "bitpos",
        arity: AtLeast(3),
        flags: Flags::READONLY,
        keys: Keys::FIRST,
        group: Group::Bitmap,
        needs: None,
        route: Route::Key,
        run: Run::Read(bitpos),
        docs: Docs {
            summary: "Gives the place of the first bit that is set, or clear, in a value or a part of it.",
            since: "2.8.7",
            complexity: "O(N) for N bytes",
            syntax: "key bit [start [end [BYTE | BIT]]]",
            tips: &[],
            key_uses: &[],
        },
    },
    CommandSpec {
        name: "bitop",
        arity: AtLeast(4),
        flags: Flags::of(&[Flags::WRITE, Flags::DENYOOM]),
        keys: Keys::IntoFirst { first: 2 },
        group: Group::Bitmap,
        needs: None,
        route: Route::Together,
        run: Run::Together(Together {
            look: bitop_look,
            decide: bitop_decide,
        }),
        docs: Docs {
            summary: "Stores what an operation on the bits of several values gives, and tells its length.",
            since: "2.6.0",
            complexity: "O(N) for N bytes in all",
            syntax: "<AND | OR | XOR | NOT> destkey key [key ...]",
            tips: &[],
            key_uses: &[key_use::OVERWRITE, key_use::READ],
        },
    },
];

/// The place of a bit, such that the value that has it is not too long.
pub(super) fn bit_offset(argument: &[u8], limits: &KeyLimits) -> Result<u64, CommandError> {
    checked_offset(int_argument(argument).ok(), limits)
}

pub(super) fn checked_offset(offset: Option<i64>, limits: &KeyLimits) -> Result<u64, CommandError> {
    offset
        .and_then(|offset| u64::try_from(offset).ok())
        .filter(|offset| offset / 8 < limits.string_bytes_max)
        .ok_or(CommandError::Plain(
            "bit offset is not an integer or out of range",
        ))
}

fn setbit(context: &mut ShardContext<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let offset = bit_offset(&args[2], context.limits)?;
    let on = match int_argument(&args[3]) {
        Ok(bit @ (0 | 1)) => bit == 1,
        _ => {
            return Err(CommandError::Plain("bit is not an integer or out of range"));
        }
    };
    let key = context.first_key(&args[1]);
    let (at, mask) = ((offset / 8) as usize, 0x80 >> (offset % 8));
    let mut buffer = itoa::Buffer::new();
    let entry = context.string(&key)?;
    let byte = entry.and_then(|entry| text(entry.value, &mut buffer).get(at).copied());
    let before = byte.unwrap_or(0);
    let after = if on { before | mask } else { before & !mask };
    if byte != Some(after) {
        let now = context.now;
        context.shard.write_range(&key, at as u64, &[after], now)?;
        context.notify(KeyEvent::SetBit, &key);
    }
    reply.int(i64::from(before & mask != 0));
    Ok(())
}

fn getbit(
    context: &ReadContext<'_>,
    entry: Option<&EntryView<'_>>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let offset = bit_offset(&args[2], context.limits)?;
    let mut buffer = itoa::Buffer::new();
    let bytes = entry.map_or(&b""[..], |entry| text(entry.value, &mut buffer));
    let byte = bytes.get((offset / 8) as usize).copied().unwrap_or(0);
    reply.int(i64::from(byte >> (7 - offset % 8) & 1));
    Ok(())
}

/// The unit of a range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Unit {
    Byte,
    Bit,
}

impl Unit {
    fn named(name: Option<&[u8]>) -> Result<Self, CommandError> {
        match name {
            None => Ok(Self::Byte),
            Some(name) if name.eq_ignore_ascii_case(b"byte") => Ok(Self::Byte),
            Some(name) if name.eq_ignore_ascii_case(b"bit") => Ok(Self::Bit),
            Some(_) => Err(CommandError::Syntax),
        }
    }

    fn bits(self) -> u64 {
        match self {
            Self::Byte => 8,
            Self::Bit => 1,
        }
    }

    /// The bits from `start` to `end`, both included and counted from the end where they are negative.
    fn range(self, len: usize, start: i64, end: i64) -> std::ops::Range<u64> {
        let total = (len as u64 * 8 / self.bits()) as i64;
        let offset = |index: i64| {
            if index < 0 {
                (index + total).max(0)
            } else {
                index
            }
        };
        let (start, end) = (offset(start), offset(end).min(total - 1));
        if start > end {
            return 0..0;
        }
        start as u64 * self.bits()..(end as u64 + 1) * self.bits()
    }
}

fn bitcount(
    _: &ReadContext<'_>,
    entry: Option<&EntryView<'_>>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let range = match args.len() {
        2 => None,
        4 | 5 => Some((
            int_argument(&args[2])?,
            int_argument(&args[3])?,
            Unit::named(args.get(4))?,
        )),
        _ => return Err(CommandError::Syntax),
    };
    check_kind(Some(Kind::String), entry)?;
    let mut buffer = itoa::Buffer::new();
    let bytes = entry.map_or(&b""[..], |entry| text(entry.value, &mut buffer));
    reply.count(match range {
        None => bits::count(bytes),
        // Negative and the wrong way round: nothing, even where both are before the beginning.
        Some((start, end, _)) if start < 0 && end < 0 && start > end => 0,
        Some((start, end, unit)) => bits::count_in(bytes, unit.range(bytes.len(), start, end)),
    });
    Ok(())
}

fn bitpos(
    _: &ReadContext<'_>,
    entry: Option<&EntryView<'_>>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let wanted = match int_argument(&args[2])? {
        0 => false,
        1 => true,
        _ => return Err(CommandError::Plain("The bit argument must be 1 or 0.")),
    };
    let start = args.get(3).map_or(Ok(0), int_argument)?;
    if args.len() > 6 {
        return Err(CommandError::Syntax);
    }
    let unit = Unit::named(args.get(5))?;
    let end = args.get(4).map(int_argument).transpose()?;
    check_kind(Some(Kind::String), entry)?;
    let Some(entry) = entry else {
        reply.int(if wanted { -1 } else { 0 });
        return Ok(());
    };
    let mut buffer = itoa::Buffer::new();
    let bytes = text(entry.value, &mut buffer);
    let range = unit.range(bytes.len(), start, end.unwrap_or(-1));
    let is_empty = range.is_empty();
    // Where no end was given, zeros follow the value.
    let behind = (!wanted && end.is_none() && !is_empty).then_some(bytes.len() as u64 * 8);
    match bits::find_in(bytes, range, wanted).or(behind) {
        Some(place) => reply.count(place),
        None => reply.int(-1),
    }
    Ok(())
}

fn operation(args: &Args<'_>) -> Result<Operation, CommandError> {
    let operation = Operation::named(args.at(1)).ok_or(CommandError::Syntax)?;
    if operation == Operation::Not && args.len() != 4 {
        return Err(CommandError::Plain(
            "BITOP NOT must be called with a single source key.",
        ));
    }
    Ok(operation)
}

fn bitop_look<'a>(
    context: &PlanContext<'_>,
    args: &Args<'a>,
    looks: &mut Vec<Look<'a>>,
) -> Outcome {
    operation(args)?;
    looks.push(context.look(args.at(2), false));
    looks.extend(args.iter().skip(3).map(|key| context.look(key, true)));
    Ok(())
}

fn bitop_decide<'a>(
    context: &PlanContext<'a>,
    args: &Args<'a>,
    found: &[Found<'a>],
    changes: &mut Vec<Change<'a>>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let operation = operation(args)?;
    let mut buffers = vec![itoa::Buffer::new(); found.len()];
    let mut sources = Vec::with_capacity(found.len());
    for (entry, buffer) in found.iter().skip(1).zip(&mut buffers) {
        check_kind(Some(Kind::String), entry.as_ref())?;
        sources.push(entry.map_or(&b""[..], |entry| text(entry.value, buffer)));
    }
    let result = context.made.keep(operation.combine(&sources));
    let (db, key) = (context.db, args.at(2));
    if !result.is_empty() {
        changes.push(Change {
            db,
            key,
            effect: Effect::Put {
                kind: Kind::String,
                value: Value::Bytes(result),
                expire_at: None,
                pinned_until: None,
            },
            events: &[KeyEvent::Set],
        });
    } else if found[0].is_some() {
        changes.push(Change {
            db,
            key,
            effect: Effect::Remove,
            events: &[KeyEvent::Del],
        });
    }
    reply.count(result.len() as u64);
    Ok(())
}
