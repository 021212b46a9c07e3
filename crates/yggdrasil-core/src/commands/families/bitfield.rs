//! Integers of any width inside of strings.

use std::collections::BTreeMap;

use crate::commands::codecs::bits::{self, WINDOW_BYTES};
use crate::commands::families::bitmap::checked_offset;
use crate::commands::families::value::{int_argument, text};
use crate::commands::table::error::CommandError;
use crate::commands::table::flags::Flags;
use crate::commands::table::handler::{KeyLimits, Outcome, ReadContext, Run, ShardContext};
use crate::commands::table::key_use;
use crate::commands::table::keys::Keys;
use crate::commands::table::spec::Arity::AtLeast;
use crate::commands::table::spec::{CommandSpec, Docs, Group, Route};
use crate::keyspace::{EntryView, KeyEvent, Kind};
use crate::resp::{Args, Reply};

pub(in crate::commands) const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "bitfield",
        arity: AtLeast(2),
        flags: Flags::of(&[Flags::WRITE, Flags::DENYOOM]),
        keys: Keys::FIRST,
        group: Group::Bitmap,
        needs: Some(Kind::String),
        route: Route::Key,
        run: Run::Shard(bitfield),
        docs: Docs {
            summary: "Reads and changes integers of up to 64 bits that lie inside of a value.",
            since: "3.2.0",
            complexity: "O(1) for each operation",
            syntax: "key [<GET encoding offset | \
                     [OVERFLOW <WRAP | SAT | FAIL>] <SET encoding offset value | INCRBY encoding offset increment>> \
                     ...]",
            tips: &[],
            key_uses: &[key_use::BY_OPTIONS],
        },
    },
    CommandSpec {
        name: "bitfield_ro",
        arity: AtLeast(2),
        flags: Flags::of(&[Flags::READONLY, Flags::FAST]),
        keys: Keys::FIRST,
        group: Group::Bitmap,
        needs: Some(Kind::String),
        route: Route::Key,
        run: Run::Read(bitfield_ro),
        docs: Docs {
            summary: "Reads integers of up to 64 bits that lie inside of a value.",
            since: "6.0.0",
            complexity: "O(1) for each operation",
            syntax: "key [GET encoding offset [GET encoding offset ...]]",
            tips: &[],
            key_uses: &[],
        },
    },
];

/// What becomes of a result that its field cannot hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Overflow {
    Wrap,
    Saturate,
    Fail,
}

impl Overflow {
    fn named(name: &[u8]) -> Result<Self, CommandError> {
        let named = [
            (&b"wrap"[..], Self::Wrap),
            (b"sat", Self::Saturate),
            (b"fail", Self::Fail),
        ];
        let mut named = named.into_iter();
        named
            .find(|(known, _)| name.eq_ignore_ascii_case(known))
            .map(|(_, overflow)| overflow)
            .ok_or(CommandError::Plain("Invalid OVERFLOW type specified"))
    }
}

/// An integer inside of a string.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Field {
    signed: bool,
    bits: u32,
    /// The place of its first bit.
    offset: u64,
}

impl Field {
    fn parse(encoding: &[u8], offset: &[u8], limits: &KeyLimits) -> Result<Self, CommandError> {
        let (signed, bits_max, digits) = match encoding {
            [b'i', digits @ ..] => (true, 64, digits),
            [b'u', digits @ ..] => (false, 63, digits),
            _ => (false, 0, encoding),
        };
        let bits = int_argument(digits).ok();
        let bits = bits.filter(|bits| (1..=bits_max).contains(bits));
        let bits = bits.ok_or(CommandError::Plain(
            "Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
        ))?;
        let offset = match offset {
            [b'#', number @ ..] => int_argument(number)
                .ok()
                .and_then(|number| number.checked_mul(bits)),
            offset => int_argument(offset).ok(),
        };
        Ok(Self {
            signed,
            bits: bits as u32,
            offset: checked_offset(offset, limits)?,
        })
    }

    fn byte(self) -> u64 {
        self.offset / 8
    }

    /// The last byte that it touches.
    fn last_byte(self) -> u64 {
        (self.offset + u64::from(self.bits) - 1) / 8
    }

    fn start(self) -> u32 {
        (self.offset % 8) as u32
    }

    fn read(self, window: &[u8; WINDOW_BYTES]) -> i64 {
        let number = bits::read(window, self.start(), self.bits);
        self.extended(number)
    }

    /// The number that these lowest bits are.
    fn extended(self, number: u64) -> i64 {
        let unused = 64 - self.bits;
        if self.signed {
            (number << unused) as i64 >> unused
        } else {
            (number << unused >> unused) as i64
        }
    }

    /// What the field holds where a result is meant that may be out of its range; `None` where nothing is written.
    fn fit(self, result: i128, overflow: Overflow) -> Option<i64> {
        let (least, most) = if self.signed {
            (-(1_i128 << (self.bits - 1)), (1 << (self.bits - 1)) - 1)
        } else {
            (0, (1 << self.bits) - 1)
        };
        if (least..=most).contains(&result) {
            return Some(result as i64);
        }
        match overflow {
            Overflow::Wrap => Some(self.extended(result as u64)),
            Overflow::Saturate => Some(result.clamp(least, most) as i64),
            Overflow::Fail => None,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Operation {
    Get(Field),
    Set(Field, i64, Overflow),
    IncrBy(Field, i64, Overflow),
}

impl Operation {
    /// The field, where it is written.
    fn written(self) -> Option<Field> {
        match self {
            Self::Get(_) => None,
            Self::Set(field, ..) | Self::IncrBy(field, ..) => Some(field),
        }
    }
}

/// All operations of a request, which stand behind its key.
fn operations(args: &Args<'_>, limits: &KeyLimits) -> Result<Vec<Operation>, CommandError> {
    let mut operations = Vec::new();
    let mut overflow = Overflow::Wrap;
    let mut at = 2;
    while let Some(name) = args.get(at) {
        let left = args.len() - at - 1;
        let is = |known: &[u8], arguments| left >= arguments && name.eq_ignore_ascii_case(known);
        if is(b"overflow", 1) {
            overflow = Overflow::named(args.at(at + 1))?;
            at += 2;
            continue;
        }
        let (is_get, is_set) = (is(b"get", 2), is(b"set", 3));
        if !is_get && !is_set && !is(b"incrby", 3) {
            return Err(CommandError::Syntax);
        }
        let field = Field::parse(args.at(at + 1), args.at(at + 2), limits)?;
        if is_get {
            operations.push(Operation::Get(field));
            at += 3;
            continue;
        }
        let number = int_argument(args.at(at + 3))?;
        operations.push(if is_set {
            Operation::Set(field, number, overflow)
        } else {
            Operation::IncrBy(field, number, overflow)
        });
        at += 4;
    }
    Ok(operations)
}

/// What operations have written.
#[derive(Clone, Copy, Default, Debug)]
struct Written {
    /// Any field, be it with what it had.
    any: bool,
    /// A field with another number than it had.
    other: bool,
}

/// A string with bytes that are changed and not stored yet.
struct Draft<'a> {
    bytes: &'a [u8],
    changed: BTreeMap<u64, u8>,
}

impl Draft<'_> {
    /// A byte, 0 behind the end.
    fn byte(&self, at: u64) -> u8 {
        let stored = || self.bytes.get(at as usize).copied().unwrap_or(0);
        self.changed.get(&at).copied().unwrap_or_else(stored)
    }

    fn window(&self, field: Field) -> [u8; WINDOW_BYTES] {
        std::array::from_fn(|at| self.byte(field.byte() + at as u64))
    }

    fn write(&mut self, field: Field, number: i64) {
        let mut window = self.window(field);
        bits::write(&mut window, field.start(), field.bits, number as u64);
        for (at, byte) in (field.byte()..=field.last_byte()).zip(window) {
            if self.byte(at) != byte {
                self.changed.insert(at, byte);
            }
        }
    }

    /// Makes the string so long that it has a byte.
    fn reach(&mut self, at: u64) {
        if at >= self.bytes.len() as u64 {
            self.changed.entry(at).or_insert(0);
        }
    }

    /// The changes as pieces, each with its place. What lies between changes that are near goes with them.
    fn pieces(&self) -> Vec<(u64, Vec<u8>)> {
        const NEAR: u64 = 64;
        let mut pieces: Vec<(u64, Vec<u8>)> = Vec::new();
        for (&at, &byte) in &self.changed {
            match pieces.last_mut() {
                Some((start, piece)) if at - (*start + piece.len() as u64) < NEAR => {
                    let between = *start + piece.len() as u64..at;
                    piece.extend(between.map(|at| self.byte(at)));
                    piece.push(byte);
                }
                _ => pieces.push((at, vec![byte])),
            }
        }
        pieces
    }

    /// Answers the operations, and tells what they have written.
    fn run(&mut self, operations: &[Operation], reply: &mut Reply<'_>) -> Written {
        let mut written = Written::default();
        reply.array(operations.len());
        for operation in operations {
            let (field, result, overflow, gives_new) = match *operation {
                Operation::Get(field) => {
                    reply.int(field.read(&self.window(field)));
                    continue;
                }
                Operation::Set(field, number, overflow) => {
                    // A field without sign takes the bits of a negative number as one that is too large.
                    let number = if field.signed {
                        i128::from(number)
                    } else {
                        i128::from(number as u64)
                    };
                    (field, number, overflow, false)
                }
                Operation::IncrBy(field, number, overflow) => {
                    let before = field.read(&self.window(field));
                    let sum = i128::from(before) + i128::from(number);
                    (field, sum, overflow, true)
                }
            };
            let before = field.read(&self.window(field));
            match field.fit(result, overflow) {
                Some(after) => {
                    self.write(field, after);
                    reply.int(if gives_new { after } else { before });
                    written.any = true;
                    written.other |= before != after;
                }
                None => reply.null(),
            }
        }
        written
    }
}

fn bitfield(context: &mut ShardContext<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let operations = operations(args, context.limits)?;
    let key = context.first_key(&args[1]);
    let written = operations
        .iter()
        .filter_map(|operation| operation.written());
    let last = written.map(Field::last_byte).max();
    let mut buffer = itoa::Buffer::new();
    let entry = context.string(&key)?;
    let mut draft = Draft {
        bytes: entry.map_or(&b""[..], |entry| text(entry.value, &mut buffer)),
        changed: BTreeMap::new(),
    };
    let fields = draft.run(&operations, reply);
    let Some(last) = last else {
        return Ok(());
    };
    let grows = last >= draft.bytes.len() as u64;
    draft.reach(last);
    let pieces = draft.pieces();
    let now = context.now;
    let store = |context: &mut ShardContext<'_>| {
        // The last first: then the value grows once.
        for (at, piece) in pieces.iter().rev() {
            context.shard.write_range(&key, *at, piece, now)?;
        }
        Ok(())
    };
    if pieces.len() > 1 {
        context.all_or_none(store)?;
    } else {
        store(context)?;
    }
    if fields.other || fields.any && grows {
        context.notify(KeyEvent::SetBit, &key);
    }
    Ok(())
}

fn bitfield_ro(
    context: &ReadContext<'_>,
    entry: Option<&EntryView<'_>>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let operations = operations(args, context.limits)?;
    if operations
        .iter()
        .any(|operation| operation.written().is_some())
    {
        return Err(CommandError::Plain(
            "BITFIELD_RO only supports the GET subcommand",
        ));
    }
    let mut buffer = itoa::Buffer::new();
    let mut draft = Draft {
        bytes: entry.map_or(&b""[..], |entry| text(entry.value, &mut buffer)),
        changed: BTreeMap::new(),
    };
    draft.run(&operations, reply);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(signed: bool, bits: u32) -> Field {
        Field {
            signed,
            bits,
            offset: 0,
        }
    }

    #[test]
    fn what_does_not_fit_is_wrapped_held_or_left() {
        let byte = field(false, 8);
        assert_eq!(byte.fit(300, Overflow::Wrap), Some(44));
        assert_eq!(byte.fit(-1, Overflow::Wrap), Some(255));
        assert_eq!(byte.fit(300, Overflow::Saturate), Some(255));
        assert_eq!(byte.fit(300, Overflow::Fail), None);
        let signed = field(true, 8);
        assert_eq!(signed.fit(128, Overflow::Wrap), Some(-128));
        assert_eq!(signed.fit(-300, Overflow::Saturate), Some(-128));
        let wide = field(true, 64);
        let beyond = i128::from(i64::MAX) + 1;
        assert_eq!(wide.fit(beyond, Overflow::Wrap), Some(i64::MIN));
        assert_eq!(wide.fit(beyond, Overflow::Saturate), Some(i64::MAX));
    }

    #[test]
    fn near_changes_are_one_piece() {
        let mut draft = Draft {
            bytes: b"abcdefgh",
            changed: BTreeMap::from([(1, b'B'), (3, b'D')]),
        };
        assert_eq!(draft.pieces(), [(1, b"BcD".to_vec())]);
        draft.reach(2000);
        assert_eq!(draft.pieces(), [(1, b"BcD".to_vec()), (2000, vec![0])]);
    }
}
