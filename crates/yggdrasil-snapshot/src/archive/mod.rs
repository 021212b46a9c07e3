//! Segments of logs beside the snapshots that they go on from, and the way back to a point in time.

use std::io;

use crate::error::SnapshotError;
use crate::store::Store;

use self::name::SegmentName;
use self::object::{Kind, open};

mod name;
mod object;
mod prune;
mod restore;
mod segments;
mod times;
mod verify;

pub(crate) use name::{SEGMENTS, TAILS, TIMES};
pub use object::{ArchiveFault, Kind as ArchivedKind, RAW_BYTES_MAX, open as open_archived};
pub use prune::prune_archive;
pub use restore::{Restored, Until, restore_until};
pub use segments::Archive;
pub(crate) use segments::used_bytes;
pub(crate) use verify::verify_archive;

/// Reads an object: what it holds.
fn read_object(
    store: &dyn Store,
    kind: Kind,
    object: &str,
    raw_max: u64,
) -> Result<Vec<u8>, SnapshotError> {
    let opened = match store.get(object, RAW_BYTES_MAX) {
        Ok(bytes) => open(kind, object, &bytes, raw_max),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(ArchiveFault::Missing),
        Err(error) => return Err(SnapshotError::of_store("read", object)(error)),
    };
    opened.map_err(|fault| SnapshotError::Archive {
        name: object.to_owned(),
        fault,
    })
}

/// The segments of a node's logs, by shard and sequence number, and whether each is not written to any more. Of those
/// that were archived twice there is the later one.
fn list_segments(store: &dyn Store, node: &str) -> Result<Vec<(SegmentName, bool)>, SnapshotError> {
    let mut all = Vec::new();
    for part in [TAILS, SEGMENTS] {
        let listed = store.list(part);
        let listed = listed.map_err(SnapshotError::of_store("listed", part))?;
        let named = listed
            .iter()
            .filter_map(|object| SegmentName::of_object(&object.name));
        all.extend(named.filter(|(name, _)| name.node == node));
    }
    all.sort();
    Ok(all)
}

/// The nodes whose logs are archived in a store.
///
/// # Errors
/// The store does not answer.
pub fn archived_nodes(store: &dyn Store) -> Result<Vec<String>, SnapshotError> {
    let mut nodes = Vec::new();
    for part in [TAILS, SEGMENTS] {
        let listed = store.list(part);
        let listed = listed.map_err(SnapshotError::of_store("listed", part))?;
        let named = listed
            .iter()
            .filter_map(|object| SegmentName::of_object(&object.name));
        nodes.extend(named.map(|(name, _)| name.node));
    }
    nodes.sort();
    nodes.dedup();
    Ok(nodes)
}
