//! Archived objects of any bytes: what is unpacked is within the limits.

use yggdrasil_snapshot::{ArchivedKind, open_archived};

const RAW_BYTES_MAX: u64 = 1 << 20;

/// Opens an object.
pub fn archived(data: &[u8]) {
    for kind in [ArchivedKind::Segment, ArchivedKind::Times] {
        if let Ok(raw) = open_archived(kind, "times/golden", data, RAW_BYTES_MAX) {
            assert!(raw.len() as u64 <= RAW_BYTES_MAX);
        }
    }
}
