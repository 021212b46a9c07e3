//! Copying a snapshot from one store to another.

use std::collections::HashSet;

use crate::error::SnapshotError;
use crate::load::{list, read_bytes, read_manifest};
use crate::manifest::Manifest;
use crate::name::manifest_object;
use crate::store::Store;

/// Copies a snapshot, the newest readable one without a name, and checks all of it on the way.
///
/// # Errors
/// There is none, it is damaged, or it cannot be written. The target has it whole or not at all.
pub fn copy(from: &dyn Store, to: &dyn Store, id: Option<&str>) -> Result<Manifest, SnapshotError> {
    let manifest = match id {
        Some(id) => read_manifest(from, id)?,
        None => {
            let mut readable = list(from)?.into_iter().rev();
            readable
                .find_map(|listed| listed.manifest.ok())
                .ok_or_else(|| SnapshotError::Missing("that can be read".to_owned()))?
        }
    };
    copy_as(from, to, &manifest, &manifest.node)?;
    Ok(manifest)
}

/// Copies a snapshot as one of the node `as_node`, and checks all of it on the way.
pub(crate) fn copy_as(
    from: &dyn Store,
    to: &dyn Store,
    manifest: &Manifest,
    as_node: &str,
) -> Result<(), SnapshotError> {
    let mut copied = HashSet::new();
    for chunk in manifest.chunks() {
        if copied.insert(chunk.name) {
            let object = chunk.name.object();
            let bytes = read_bytes(from, chunk)?;
            to.put(&object, &bytes)
                .map_err(SnapshotError::of_store("written", object))?;
        }
    }
    let object = manifest_object(&manifest.id);
    let renamed = Manifest {
        node: as_node.to_owned(),
        ..manifest.clone()
    };
    let failed = |action| SnapshotError::of_store(action, object.clone());
    to.settle().map_err(failed("made durable"))?;
    to.put(&object, &renamed.encode())
        .map_err(failed("written"))?;
    to.settle().map_err(failed("made durable"))
}
