//! Snapshots of shards without fork.
//!
//! A shard is scanned from outside while its owner goes on writing. Each entry carries the number of its last change,
//! so what was scanned and the log from before the scan give the exact state. A snapshot that follows another holds
//! only what has changed since, and names the chunks of the one before. `docs/formats.md` says what stands where.

mod archive;
mod check;
mod chunk;
mod copy;
mod entries;
mod error;
mod fill;
mod history;
mod load;
mod manifest;
mod name;
mod pace;
mod prune;
mod scan;
mod store;
mod take;
mod turns;
mod unpack;
mod verify;

pub use archive::{
    Archive, ArchiveFault, ArchivedKind, Restored, Until, archived_nodes, open_archived,
    prune_archive, restore_until,
};
pub use check::{
    CheckError, LogDamage, LogReport, Repaired, Report, check as check_directory, repair,
};
pub use chunk::{
    ChunkFault, ChunkWriter, Decoded, FORMAT as CHUNK_FORMAT, Item, PART_BYTES, Piece,
    RAW_BYTES_MAX, RAW_BYTES_TARGET, decode as decode_chunk,
};
pub use copy::copy;
pub use entries::entries;
pub use error::SnapshotError;
pub use fill::{FillError, apply_batch};
pub use history::LogHistory;
pub use load::{Batch, Catalog, Listed, Loader, list, newest, read_manifest};
pub use manifest::{
    ChunkRef, FORMAT as MANIFEST_FORMAT, Layer, MANIFEST_BYTES_MAX, Manifest, ManifestFault,
    ShardPart, seal as seal_manifest,
};
pub use name::ChunkName;
pub use pace::Pace;
pub use prune::{Pruned, prune};
pub use scan::{Change, History, NoHistory, Owner, Unowned, Visit};
pub use store::{Folder, Store, Stored};
pub use take::{Options, Progress, Source, Taken, take};
pub use verify::{Damage, Verdict, verify};
