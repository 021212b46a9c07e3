//! Chunks of any bytes: what is unpacked is within the limits.

use yggdrasil_snapshot::{PART_BYTES, RAW_BYTES_MAX, decode_chunk};

/// Unpacks a chunk.
pub fn chunk(data: &[u8]) {
    let Ok(decoded) = decode_chunk(data) else {
        return;
    };
    assert!(decoded.raw_bytes() <= RAW_BYTES_MAX as u64);
    let bytes: usize = decoded.items().map(|item| item.bytes.len()).sum();
    assert!(bytes as u64 <= decoded.raw_bytes());
    assert!(decoded.items().all(|item| item.bytes.len() <= PART_BYTES));
}
