//! Checking archived segments.

use crate::error::SnapshotError;
use crate::pace::Pace;
use crate::store::Store;
use crate::verify::{Damage, Verdict};

use super::name::{SEGMENTS, SegmentName, TAILS, TIMES, kind_of};
use super::object::{ArchiveFault, Kind, RAW_BYTES_MAX, open};
use super::segments::used_bytes;
use super::times;

/// Checks each archived object of a store.
pub(crate) fn verify_archive(
    store: &dyn Store,
    pace: &Pace,
    progress: &mut dyn FnMut(u64) -> bool,
    verdict: &mut Verdict,
) -> Result<(), SnapshotError> {
    for part in [SEGMENTS, TAILS, TIMES] {
        let listed = store.list(part);
        for object in listed.map_err(SnapshotError::of_store("listed", part))? {
            let Some(kind) = kind_of(&object.name) else {
                continue;
            };
            verdict.archived += 1;
            verdict.bytes += object.bytes;
            pace.spend(object.bytes);
            if !progress(object.bytes) {
                return Err(SnapshotError::Cancelled);
            }
            let bytes = match store.get(&object.name, RAW_BYTES_MAX) {
                Ok(bytes) => bytes,
                // It was removed meanwhile.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(SnapshotError::of_store("read", object.name)(error)),
            };
            if let Err(fault) = check(kind, &object.name, &bytes) {
                verdict.damage.push(Damage {
                    shard: SegmentName::of_object(&object.name).map(|(name, _)| name.shard),
                    object: object.name,
                    fault: fault.to_string(),
                    snapshots: Vec::new(),
                    records: 0,
                    low: 0,
                    high: 0,
                });
            }
        }
    }
    Ok(())
}

fn check(kind: Kind, name: &str, bytes: &[u8]) -> Result<(), ArchiveFault> {
    if kind == Kind::Times {
        return times::check(name, bytes);
    }
    let contents = open(kind, name, bytes, RAW_BYTES_MAX)?;
    let used = used_bytes(&contents, None);
    if used.bytes != contents.len() as u64 {
        let fault = format!("no record stands at offset {}", used.bytes);
        return Err(ArchiveFault::Contents(fault));
    }
    Ok(())
}
