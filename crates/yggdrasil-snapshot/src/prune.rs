//! Removing old snapshots, and chunks that no snapshot has.

use std::collections::HashSet;
use std::time::Duration;

use crate::error::SnapshotError;
use crate::load::list;
use crate::name::{CHUNKS, ChunkName, manifest_object};
use crate::store::Store;

/// The result of pruning.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Pruned {
    /// Snapshots removed.
    pub snapshots: Vec<String>,
    /// Chunks removed, and their bytes.
    pub chunks: u64,
    pub bytes: u64,
    /// Snapshots whose manifests cannot be read. While there are any, no chunk is removed.
    pub unreadable: Vec<String>,
}

/// Removes all but the newest `keep` snapshots, and then each chunk that no snapshot names and that is older than
/// `age_min`: younger ones may belong to a snapshot that somebody is taking.
///
/// # Errors
/// The store does not answer. What is left is whole.
pub fn prune(store: &dyn Store, keep: usize, age_min: Duration) -> Result<Pruned, SnapshotError> {
    let mut pruned = Pruned::default();
    let mut readable = Vec::new();
    for listed in list(store)? {
        match listed.manifest {
            Ok(manifest) => readable.push(manifest),
            Err(SnapshotError::Missing(_)) => {}
            Err(_) => pruned.unreadable.push(listed.id),
        }
    }
    let kept = readable.split_off(readable.len().saturating_sub(keep));
    for manifest in &readable {
        let object = manifest_object(&manifest.id);
        store
            .remove(&object)
            .map_err(SnapshotError::of_store("removed", object))?;
        pruned.snapshots.push(manifest.id.clone());
    }
    // A chunk is missed by nobody only when the manifests that named it are gone for good.
    store
        .settle()
        .map_err(SnapshotError::of_store("made durable", "the store"))?;
    if !pruned.unreadable.is_empty() {
        return Ok(pruned);
    }
    let needed: HashSet<ChunkName> = kept
        .iter()
        .flat_map(|manifest| manifest.chunks().map(|chunk| chunk.name))
        .collect();
    let objects = store
        .list(CHUNKS)
        .map_err(SnapshotError::of_store("listed", CHUNKS))?;
    for object in objects {
        let is_unneeded =
            ChunkName::of_object(&object.name).is_some_and(|name| !needed.contains(&name));
        if is_unneeded && object.age.is_some_and(|age| age >= age_min) {
            store
                .remove(&object.name)
                .map_err(SnapshotError::of_store("removed", object.name.as_str()))?;
            pruned.chunks += 1;
            pruned.bytes += object.bytes;
        }
    }
    Ok(pruned)
}
