//! Removing archived segments that no snapshot needs any more.

use crate::error::SnapshotError;
use crate::manifest::Manifest;
use crate::store::Store;

use super::list_segments;
use super::name::SegmentName;
use super::times;

const HOUR_MS: u64 = 3_600_000;

/// Removes what the oldest snapshot that is kept, and all later ones, do not need. Gives objects and bytes removed.
///
/// # Errors
/// The store does not answer. What is left goes on from the oldest snapshot without a gap.
pub fn prune_archive(
    store: &dyn Store,
    node: &str,
    oldest: &Manifest,
) -> Result<u64, SnapshotError> {
    let mut removed = 0;
    let mut remove = |object: &str| {
        let outcome = store.remove(object);
        removed += 1;
        outcome.map_err(SnapshotError::of_store("removed", object))
    };
    let all = list_segments(store, node)?;
    for (name, is_cut) in &all {
        if is_unneeded(name, &all, oldest) {
            remove(&name.object(*is_cut))?;
        }
    }
    for name in times::names(store)? {
        let is_old =
            name.generation < oldest.generation || (name.hour + 1) * HOUR_MS <= oldest.began_ms;
        if name.node == node && is_old {
            remove(&name.object())?;
        }
    }
    Ok(removed)
}

fn is_unneeded(name: &SegmentName, all: &[(SegmentName, bool)], oldest: &Manifest) -> bool {
    if name.generation != oldest.generation {
        return name.generation < oldest.generation;
    }
    let Some(part) = oldest.shard(name.shard) else {
        return false;
    };
    let same = |other: &&(SegmentName, bool)| {
        (other.0.generation, other.0.shard) == (name.generation, name.shard)
    };
    // Of the segments that begin before what is needed, the last one has its beginning.
    let first = all
        .iter()
        .filter(same)
        .filter(|(other, _)| other.number < part.start())
        .map(|(other, _)| (other.sequence, other.needs))
        .max();
    first.is_some_and(|(_, needs)| name.sequence < needs)
}
