//! Files of Redis of any bytes: what is handed on is within the limits, and its payload has its checksum.

use yggdrasil_rdb::{Item, Limits, Reader};

const LIMITS: Limits = Limits {
    value_bytes: 1 << 20,
    databases: 16,
};
const FOOTER_BYTES: u64 = 10;

/// Reads a file.
pub fn rdb(data: &[u8]) {
    let Ok(reader) = Reader::open(data, LIMITS) else {
        return;
    };
    for item in reader {
        if let Ok(Item::Entry(entry)) = item {
            assert!(entry.db < LIMITS.databases);
            assert!(entry.payload.len() as u64 <= LIMITS.value_bytes + FOOTER_BYTES);
        }
    }
}
