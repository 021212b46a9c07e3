//! The keys of one shard, in shared memory: written by their owner ([`Shard`]), readable by everyone ([`ShardReader`]).

mod arena;
mod bucket;
mod capture;
mod classes;
pub mod collection;
mod database;
mod effect;
mod entry;
mod events;
mod eviction;
mod field_dues;
mod journal;
mod kind;
mod layout;
mod leases;
mod limbo;
mod pins;
mod reader;
mod runs;
mod shard;
pub mod slot;
mod sweep;
mod taking;
#[cfg(test)]
mod tests;
mod tracking;
mod types;
mod waiting;
mod warm;
mod watch;
mod wheel;

pub use capture::{CaptureMark, Captured};
pub use collection::{Collection, Packing};
pub use effect::{Effect, EffectError, Record};
pub use events::{EventClasses, EventMark, KeyEvent, NotedEvent};
pub use eviction::{AccessBits, EvictionOptions, Policy};
pub use journal::{ChangeListener, Mark};
pub use kind::{Kind, Value};
pub use layout::{DATABASES_MAX, SEGMENT_BYTES_MAX};
pub use leases::{Lease, Lender, Lent};
pub use pins::{PIN_RULES_MAX, PinLedger, PinLimits, PinRoom, Pins};
pub use reader::{Leased, Looked, Read, ReadStamp, ShardReader, ValueInfo};
pub use shard::{
    ApplyError, Draft, EntryPlace, OwnStamp, Published, Received, Shard, UPLOAD_SERIAL_BITS,
    Unheard, UploadError, UploadId, WrittenAhead,
};
pub use sweep::{Swept, is_before};
pub use tracking::{Stale, Tracker};
pub use types::{
    AdmissionState, EntryView, Expiry, Key, KeyspaceError, LeasedValue, MemoryUse, Millis,
    ShardCounters, ShardShape, WatchToken, hash_key,
};
pub use waiting::{ReadyKey, WaitToken};
