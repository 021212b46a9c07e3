//! The types that callers of the keyspace see.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::lease::RunLease;

use super::classes::{CLASS_BYTES_MAX, footprint};
use super::effect::Effect;
use super::kind::{Kind, Value};

/// Unix time in milliseconds.
pub type Millis = u64;

/// Names one WATCH of one client; chosen by the caller.
pub type WatchToken = u64;

/// A key, with its hash computed once for all that is done with it.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    /// Logical database.
    pub db: u8,
    /// [`hash_key`] of `bytes` with the seed of the shard's shape.
    pub hash: u64,
    pub bytes: &'a [u8],
}

/// The hash of a key in the index: the same in all processes of a node.
#[inline]
pub fn hash_key(seed: u64, bytes: &[u8]) -> u64 {
    xxh3_64_with_seed(bytes, seed)
}

/// One live entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EntryView<'a> {
    pub kind: Kind,
    pub value: Value<'a>,
    pub expire_at: Option<Millis>,
    /// The number of the change that the value or its time of expiry had last (48 bits).
    pub version: u64,
    /// The record of its uses, see [`AccessBits`](super::AccessBits).
    pub access: u32,
    /// Length of the entry with its header; 0 in a view from outside.
    pub(crate) total_bytes: u64,
    /// When its pin ends. Only the owner knows: a view from outside has none.
    pub pinned_until: Option<Millis>,
}

/// A large value that stays as it is until its lease is given back
/// ([`Holder::release`](crate::lease::Holder::release)).
#[derive(PartialEq, Eq, Debug)]
pub struct LeasedValue {
    pub lease: RunLease,
    /// Where its bytes begin in the segment.
    pub(crate) offset: u64,
    /// Their number.
    pub len: u64,
    /// The version of the entry, as in [`EntryView`].
    pub version: u64,
    pub expire_at: Option<Millis>,
}

impl<'a> EntryView<'a> {
    /// A string of another shard, of which no more is known.
    pub(crate) fn outside(value: Value<'a>, expire_at: Option<Millis>, version: u64) -> Self {
        Self {
            kind: Kind::String,
            value,
            expire_at,
            version,
            access: 0,
            total_bytes: 0,
            pinned_until: None,
        }
    }

    /// The same entry with another value.
    pub(crate) fn with<'b>(&self, value: Value<'b>) -> EntryView<'b> {
        EntryView {
            kind: self.kind,
            value,
            expire_at: self.expire_at,
            version: self.version,
            access: self.access,
            total_bytes: self.total_bytes,
            pinned_until: self.pinned_until,
        }
    }

    /// The effect that puts the same entry elsewhere.
    #[must_use]
    pub fn as_put(&self) -> Effect<'a> {
        Effect::Put {
            kind: self.kind,
            value: self.value,
            expire_at: self.expire_at,
            pinned_until: self.pinned_until,
        }
    }

    /// Bytes of the arena that it takes. Only the owner knows.
    #[must_use]
    pub fn footprint(&self) -> u64 {
        let tree = match self.value {
            Value::Tree(collection) => collection.heap_bytes(),
            _ => 0,
        };
        footprint(self.total_bytes) + tree
    }

    /// True for a value that has pages of its own, and can be lent.
    #[inline]
    pub fn is_long(&self) -> bool {
        matches!(self.value, Value::Bytes(bytes) if bytes.len() as u64 > CLASS_BYTES_MAX)
    }
}

/// The effect of a SET on the time of expiry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expiry {
    Clear,
    Keep,
    At(Millis),
}

/// Which option limits a pin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PinOption {
    Node,
    Prefix,
}

impl std::fmt::Display for PinOption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Node => "maxpinned",
            Self::Prefix => "maxpinned-prefixes",
        })
    }
}

/// Why a change was refused. Nothing has changed then. Small, since every write may return it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyspaceError {
    #[error("out of memory: {needed} bytes more are needed and {used} of {limit} are used")]
    OutOfMemory { needed: u64, limit: u64, used: u64 },
    #[error("a value of {bytes} bytes exceeds the limit of {limit}")]
    ValueTooLarge { bytes: u64, limit: u64 },
    #[error("a key of {bytes} bytes exceeds the limit of {limit}")]
    KeyTooLarge { bytes: u64, limit: u64 },
    #[error(
        "{needed} bytes more would be pinned, and {used} of the {limit} that {option} allows are; unpin keys or raise it"
    )]
    PinLimit {
        needed: u64,
        used: u64,
        limit: u64,
        option: PinOption,
    },
    #[error("the value is of another kind than the change")]
    WrongKind,
    #[error("a record of {bytes} bytes finds no room in the log; free space on its disk")]
    LogFull { bytes: u64 },
    #[error("Errors writing to the log: {}", std::io::Error::from_raw_os_error(*errno))]
    LogFailed { errno: i32 },
    #[error("impossible shape of a shard: {0}")]
    Shape(&'static str),
    #[error("the segment has {found} bytes where the shape says {expected}")]
    SegmentSize { expected: u64, found: u64 },
    #[error("the arena could not be emptied: system error {errno}")]
    Reset { errno: i32 },
}

/// Everything about a shard that owner and readers must agree on, and the owner's limits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShardShape {
    /// Logical databases, 1 to 256.
    pub databases: u16,
    /// Address space of the arena: a multiple of 64 KiB, at most 4 TiB. It costs nothing until used, and should be
    /// many times the memory limit, so that a contiguous run is always found.
    pub segment_bytes: u64,
    /// Memory that the shard may use.
    pub memory_limit: u64,
    /// Seed of [`hash_key`].
    pub hash_seed: u64,
    /// Longest value (and key) accepted.
    pub value_bytes_max: u64,
}

/// Bytes of memory, by kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MemoryUse {
    pub limit: u64,
    /// All memory that the shard takes: `entries + index + overhead`.
    pub used: u64,
    /// The largest `used` since the start or since [`Shard::reset_counters`](super::Shard::reset_counters).
    pub peak: u64,
    /// Resident pages that hold entries.
    pub entries: u64,
    /// Resident pages that hold buckets, and their directories.
    pub index: u64,
    /// Empty pages kept for reuse, header, and bookkeeping on the owner's heap.
    pub overhead: u64,
    /// Bytes in `entries` that live entries really fill, headers included.
    pub live: u64,
    /// Bytes in `entries` of large values that are gone but still looked at by somebody.
    pub leased: u64,
    /// Bytes of all these that lie in huge pages.
    pub huge: u64,
}

/// Where the admission policy stands, and what it has done since it came into force.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AdmissionState {
    /// New entries that were kept in place of others.
    pub admitted: u64,
    /// New entries that were not.
    pub rejected: u64,
    /// Bytes of entries in the window.
    pub window_bytes: u64,
    /// The window's share of all bytes, in 1024ths.
    pub window_share: u64,
    /// Bytes that the policy itself takes.
    pub memory: u64,
}

/// Counts since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ShardCounters {
    /// Entries removed because their time had come.
    pub expired: u64,
    /// Fields of hashes removed because their time had come.
    pub expired_fields: u64,
    /// Entries removed to make room.
    pub evicted: u64,
    /// Changes refused for want of memory.
    pub refused: u64,
    /// Buckets split and merged.
    pub splits: u64,
    pub merges: u64,
}
