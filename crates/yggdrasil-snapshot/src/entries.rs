//! The entries of a running shard, for who wants no more than them.

use yggdrasil_core::keyspace::ShardReader;

use crate::error::SnapshotError;
use crate::scan::{Owner, Scan, Visit};
use crate::take::Progress;

/// Visits each entry of a shard once, as it is at some moment: as a record under the number of its last change.
///
/// `hash_seed` is that of the node's keys.
///
/// # Errors
/// The shard or its owner does not answer, or `visit` failed.
pub fn entries(
    shard: u32,
    reader: &ShardReader,
    hash_seed: u64,
    owner: &mut dyn Owner,
    progress: &Progress,
    visit: &mut Visit<'_>,
) -> Result<(), SnapshotError> {
    let epoch = reader.epoch();
    let mut scan = Scan {
        reader,
        owner,
        shard,
        keeps: &|_| true,
        since: 0,
        each_once: Some(hash_seed),
    };
    scan.run(&|| progress.check(), visit)?;
    if reader.epoch() != epoch || epoch % 2 == 1 {
        return Err(SnapshotError::Restarted(shard));
    }
    Ok(())
}
