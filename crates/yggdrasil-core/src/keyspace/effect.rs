//! Changes as data: what happened to a key, a database or all databases of a shard.
//!
//! Messages between workers carry effects, and so do logs and followers, all in one form:
//! ```text
//! put       1 | kind | encoding | flags | [expire_at: u64] | [pinned_until: u64] | bytes
//! splice    2 | offset: u64 | bytes
//! expire    3 | at: u64, all ones for never
//! remove    4
//! pin       5 | until: u64, all ones for none
//! clear     6
//! map       7 | physical number of each logical database: u8 each
//! delta     8 | kind | flags | operations
//! ```
//! Numbers are little-endian. A [`Record`] puts what is changed before its effect: `db: u8 | key_bytes: u32 | key`.

use super::collection::Collection;
use super::kind::{Encoding, Kind, Value};
use super::layout::DATABASES_MAX;
use super::types::Millis;

const PUT: u8 = 1;
const SPLICE: u8 = 2;
const EXPIRE: u8 = 3;
const REMOVE: u8 = 4;
const PIN: u8 = 5;
const CLEAR: u8 = 6;
const MAP: u8 = 7;
const DELTA: u8 = 8;

const EXPIRES: u8 = 1;
const IS_PINNED: u8 = 1 << 1;
const IS_NEW: u8 = 1;
/// Stands for a time that never comes.
const NEVER: Millis = Millis::MAX;

/// A change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect<'a> {
    /// The key has this value. An entry that was there keeps its pin, which lasts until `pinned_until` at least.
    Put {
        kind: Kind,
        value: Value<'a>,
        expire_at: Option<Millis>,
        pinned_until: Option<Millis>,
    },
    /// The bytes of a string from `offset` on are these. Zeros fill a gap.
    Splice { offset: u64, bytes: &'a [u8] },
    /// The key expires then, or never.
    Expire { at: Option<Millis> },
    /// The key is gone.
    Remove,
    /// The key is pinned until then, or not at all.
    Pin { until: Option<Millis> },
    /// A database is empty.
    Clear,
    /// Each logical database has the contents of this physical one.
    MapDatabases { physical: &'a [u8] },
    /// The operations on a collection, which is new where the key was not there before. See
    /// [`Elements`](super::collection::Elements).
    Delta {
        kind: Kind,
        is_new: bool,
        ops: &'a [u8],
    },
}

/// A change and what it changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    /// Physical number of the database.
    pub db: u8,
    /// Empty where a whole database, or the map of all, is changed.
    pub key: &'a [u8],
    pub effect: Effect<'a>,
}

/// A fault in the bytes of an effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EffectError {
    #[error("the bytes of a change end too early")]
    Short,
    #[error("{0} more bytes than a change has stand behind it")]
    Long(usize),
    #[error("no change has the number {0}")]
    Tag(u8),
    #[error(
        "a value of kind {kind}, encoding {encoding} and {bytes} bytes is none that an entry may hold"
    )]
    Value {
        kind: u8,
        encoding: u8,
        bytes: usize,
    },
    #[error("{bytes} bytes are no operations on a value of kind {kind}")]
    Ops { kind: u8, bytes: usize },
    #[error("the marks {0:#04x} of a value mean nothing")]
    Marks(u8),
    #[error("a map of {0} databases is impossible; each number stands in it once")]
    Map(usize),
}

impl<'a> Effect<'a> {
    /// Appends the effect.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Put {
                kind,
                value,
                expire_at,
                pinned_until,
            } => {
                let marks = [(expire_at, EXPIRES), (pinned_until, IS_PINNED)];
                let set = marks.into_iter().filter(|(time, _)| time.is_some());
                let flags = set.fold(0, |all, (_, flag)| all | flag);
                let mut int = [0; 8];
                let stored = value.stored(kind, &mut int);
                out.extend([PUT, kind as u8, stored.encoding as u8, flags]);
                for time in [expire_at, pinned_until].into_iter().flatten() {
                    out.extend(time.to_le_bytes());
                }
                match value {
                    Value::Tree(collection) => collection.write(out),
                    _ => out.extend_from_slice(stored.bytes),
                }
            }
            Self::Splice { offset, bytes } => {
                out.push(SPLICE);
                out.extend(offset.to_le_bytes());
                out.extend_from_slice(bytes);
            }
            Self::Expire { at } => put_time(out, EXPIRE, at),
            Self::Remove => out.push(REMOVE),
            Self::Pin { until } => put_time(out, PIN, until),
            Self::Clear => out.push(CLEAR),
            Self::MapDatabases { physical } => {
                out.push(MAP);
                out.extend_from_slice(physical);
            }
            Self::Delta { kind, is_new, ops } => {
                out.extend([DELTA, kind as u8, if is_new { IS_NEW } else { 0 }]);
                out.extend_from_slice(ops);
            }
        }
    }

    /// True for what takes memory.
    #[must_use]
    pub fn may_be_refused(&self) -> bool {
        match *self {
            Self::Put { .. } | Self::Splice { .. } => true,
            Self::Delta { kind, ops, .. } => !Collection::only_removes(kind, ops),
            _ => false,
        }
    }

    /// Bytes that [`Effect::encode`] appends.
    #[must_use]
    pub fn encoded_len(&self) -> u64 {
        let time = size_of::<Millis>() as u64;
        match self {
            Self::Put {
                value,
                expire_at,
                pinned_until,
                ..
            } => {
                let times = [expire_at, pinned_until].into_iter().flatten().count() as u64;
                let bytes = match value {
                    Value::Tree(collection) => {
                        let mut ops = Vec::new();
                        collection.write(&mut ops);
                        ops.len() as u64
                    }
                    _ => value.stored_len(),
                };
                4 + times * time + bytes
            }
            Self::Splice { bytes, .. } => 1 + time + bytes.len() as u64,
            Self::Expire { .. } | Self::Pin { .. } => 1 + time,
            Self::Remove | Self::Clear => 1,
            Self::MapDatabases { physical } => 1 + physical.len() as u64,
            Self::Delta { ops, .. } => 3 + ops.len() as u64,
        }
    }

    /// Reads what [`Effect::encode`] wrote.
    ///
    /// # Errors
    /// The bytes are those of no effect.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, EffectError> {
        let (tag, rest) = bytes.split_first().ok_or(EffectError::Short)?;
        match *tag {
            PUT => decode_put(rest),
            SPLICE => {
                let (offset, bytes) = number(rest)?;
                Ok(Self::Splice { offset, bytes })
            }
            EXPIRE => Ok(Self::Expire { at: time(rest)? }),
            REMOVE => ended(rest).map(|()| Self::Remove),
            PIN => Ok(Self::Pin { until: time(rest)? }),
            CLEAR => ended(rest).map(|()| Self::Clear),
            MAP => {
                check_map(rest)?;
                Ok(Self::MapDatabases { physical: rest })
            }
            DELTA => decode_delta(rest),
            other => Err(EffectError::Tag(other)),
        }
    }
}

impl<'a> Record<'a> {
    /// Appends the record.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.db);
        out.extend((self.key.len() as u32).to_le_bytes());
        out.extend_from_slice(self.key);
        self.effect.encode(out);
    }

    /// Bytes that [`Record::encode`] appends.
    #[must_use]
    pub fn encoded_len(&self) -> u64 {
        Self::HEAD_BYTES + self.key.len() as u64 + self.effect.encoded_len()
    }

    /// Bytes of a record beside its key and its effect.
    pub(super) const HEAD_BYTES: u64 = 5;

    /// Reads what [`Record::encode`] wrote.
    ///
    /// # Errors
    /// The bytes are those of no record.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, EffectError> {
        let (db, key, rest) = split_record(bytes).ok_or(EffectError::Short)?;
        let effect = Effect::decode(rest)?;
        Ok(Self { db, key, effect })
    }

    /// Database and key of a record, whose effect is not looked at.
    #[must_use]
    pub fn key_of(bytes: &'a [u8]) -> Option<(u8, &'a [u8])> {
        split_record(bytes).map(|(db, key, _)| (db, key))
    }

    /// True for the bytes of a record that removes its key.
    #[inline]
    #[must_use]
    pub fn is_removal(bytes: &[u8]) -> bool {
        split_record(bytes).is_some_and(|(_, _, effect)| effect == [REMOVE])
    }
}

/// Database, key, and the bytes of the effect.
#[inline]
fn split_record(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (db, rest) = bytes.split_first()?;
    let (len, rest) = rest.split_first_chunk()?;
    let len = u32::from_le_bytes(*len) as usize;
    let (key, rest) = rest.split_at_checked(len)?;
    Some((*db, key, rest))
}

fn put_time(out: &mut Vec<u8>, tag: u8, time: Option<Millis>) {
    out.push(tag);
    out.extend(time.unwrap_or(NEVER).to_le_bytes());
}

fn number(bytes: &[u8]) -> Result<(u64, &[u8]), EffectError> {
    let (number, rest) = bytes.split_first_chunk().ok_or(EffectError::Short)?;
    Ok((u64::from_le_bytes(*number), rest))
}

fn ended(rest: &[u8]) -> Result<(), EffectError> {
    match rest.len() {
        0 => Ok(()),
        more => Err(EffectError::Long(more)),
    }
}

fn time(bytes: &[u8]) -> Result<Option<Millis>, EffectError> {
    let (time, rest) = number(bytes)?;
    ended(rest)?;
    Ok(Some(time).filter(|time| *time != NEVER))
}

fn decode_put(bytes: &[u8]) -> Result<Effect<'_>, EffectError> {
    let ([kind, encoding, flags], mut rest) =
        bytes.split_first_chunk().ok_or(EffectError::Short)?;
    if flags & !(EXPIRES | IS_PINNED) != 0 {
        return Err(EffectError::Marks(*flags));
    }
    let mut time = |flag| -> Result<Option<Millis>, EffectError> {
        if flags & flag == 0 {
            return Ok(None);
        }
        let (time, after) = number(rest)?;
        rest = after;
        Ok(Some(time))
    };
    let (expire_at, pinned_until) = (time(EXPIRES)?, time(IS_PINNED)?);
    let unsound = EffectError::Value {
        kind: *kind,
        encoding: *encoding,
        bytes: rest.len(),
    };
    let kind = Kind::numbered(*kind).ok_or(unsound)?;
    let encoding = Encoding::numbered(*encoding).ok_or(unsound)?;
    let value = if encoding == Encoding::Tree && kind != Kind::String {
        check_ops(kind, rest)?;
        Value::Written(rest)
    } else {
        Value::from_stored(kind, encoding, rest).ok_or(unsound)?
    };
    Ok(Effect::Put {
        kind,
        value,
        expire_at,
        pinned_until,
    })
}

fn decode_delta(bytes: &[u8]) -> Result<Effect<'_>, EffectError> {
    let ([number, flags], ops) = bytes.split_first_chunk().ok_or(EffectError::Short)?;
    if flags & !IS_NEW != 0 {
        return Err(EffectError::Marks(*flags));
    }
    let unsound = EffectError::Ops {
        kind: *number,
        bytes: ops.len(),
    };
    let kind = Kind::numbered(*number).ok_or(unsound)?;
    check_ops(kind, ops)?;
    Ok(Effect::Delta {
        kind,
        is_new: flags & IS_NEW != 0,
        ops,
    })
}

fn check_ops(kind: Kind, ops: &[u8]) -> Result<(), EffectError> {
    if Collection::check(kind, ops) {
        return Ok(());
    }
    Err(EffectError::Ops {
        kind: kind as u8,
        bytes: ops.len(),
    })
}

/// A map names each of its databases once.
fn check_map(physical: &[u8]) -> Result<(), EffectError> {
    let count = physical.len();
    let mut seen = [false; DATABASES_MAX as usize];
    let is_new = |number: &u8| {
        usize::from(*number) < count && !std::mem::replace(&mut seen[usize::from(*number)], true)
    };
    if count == 0 || count > usize::from(DATABASES_MAX) || !physical.iter().all(is_new) {
        return Err(EffectError::Map(count));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keyspace::collection::set::put_add;

    fn there_and_back(effect: Effect<'_>) {
        let record = Record {
            db: 3,
            key: b"a key",
            effect,
        };
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        assert_eq!(bytes.len() as u64, record.encoded_len());
        assert_eq!(Record::decode(&bytes), Ok(record));
        let mut bytes = Vec::new();
        effect.encode(&mut bytes);
        assert_eq!(bytes.len() as u64, effect.encoded_len());
        assert_eq!(Effect::decode(&bytes), Ok(effect));
    }

    #[test]
    fn simple_effects_come_back() {
        there_and_back(Effect::Remove);
        there_and_back(Effect::Clear);
        for time in [None, Some(0), Some(u64::MAX - 1)] {
            there_and_back(Effect::Expire { at: time });
            there_and_back(Effect::Pin { until: time });
        }
        there_and_back(Effect::MapDatabases {
            physical: &[2, 0, 1],
        });
        let all: Vec<u8> = (0..=u8::MAX).rev().collect();
        there_and_back(Effect::MapDatabases { physical: &all });
    }

    #[test]
    fn what_is_no_effect_is_refused() {
        use EffectError::{Long, Map, Marks, Short, Tag};
        let unsound = |kind, encoding, bytes| EffectError::Value {
            kind,
            encoding,
            bytes,
        };
        for (bytes, error) in [
            (&b""[..], Short),
            (&[0], Tag(0)),
            (&[9], Tag(9)),
            (&[REMOVE, 0], Long(1)),
            (&[CLEAR, 0, 0], Long(2)),
            (&[PUT, 0, 0], Short),
            (&[PUT, 0, 0, 4], Marks(4)),
            (&[PUT, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0], Short),
            (&[PUT, 7, 0, 0], unsound(7, 0, 0)),
            (&[PUT, 0, 4, 0], unsound(0, 4, 0)),
            (&[PUT, 0, 1, 0, 1], unsound(0, 1, 1)),
            (&[PUT, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0], unsound(1, 1, 8)),
            (&[PUT, 0, 2, 0, 9], unsound(0, 2, 1)),
            (&[SPLICE, 0, 0], Short),
            (&[EXPIRE, 0, 0, 0, 0, 0, 0, 0], Short),
            (&[PIN, 0, 0, 0, 0, 0, 0, 0, 0, 0], Long(1)),
            (&[MAP], Map(0)),
            (&[MAP, 0, 0], Map(2)),
            (&[MAP, 1, 2], Map(2)),
        ] {
            assert_eq!(Effect::decode(bytes), Err(error), "{bytes:?}");
        }
        assert_eq!(Record::decode(&[0, 9, 0, 0, 0, 1]), Err(Short));
    }

    proptest! {
        #[test]
        fn values_come_back(
            bytes: Vec<u8>,
            int: i64,
            kind in 0_u8..7,
            expire_at: Option<u64>,
            pinned_until: Option<u64>,
            offset: u64,
        ) {
            let kind = Kind::numbered(kind).unwrap();
            let put = |kind, value| Effect::Put { kind, value, expire_at, pinned_until };
            there_and_back(put(Kind::String, Value::Int(int)));
            there_and_back(put(kind, Value::Bytes(&bytes)));
            there_and_back(put(kind, Value::Absent(&bytes)));
            let mut ops = Vec::new();
            put_add(&mut ops, &bytes);
            there_and_back(put(Kind::Set, Value::Written(&ops)));
            for is_new in [false, true] {
                there_and_back(Effect::Delta { kind: Kind::Set, is_new, ops: &ops });
            }
            there_and_back(Effect::Splice { offset, bytes: &bytes });
        }

        #[test]
        fn no_bytes_are_too_strange_to_be_read(bytes in prop::collection::vec(0_u8..10, 0..40), more: Vec<u8>) {
            let all = [bytes, more].concat();
            for start in 0..all.len() {
                let record = Record::decode(&all[start..]).map(|record| record.effect);
                for effect in Effect::decode(&all[start..]).into_iter().chain(record) {
                    let mut again = Vec::new();
                    effect.encode(&mut again);
                    prop_assert_eq!(Effect::decode(&again), Ok(effect));
                }
            }
        }
    }
}
