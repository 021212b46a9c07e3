//! Records of any bytes: what is read is written again, and read as the same.

use yggdrasil_core::keyspace::Record;

/// Reads a record, and writes what was read.
pub fn effect(data: &[u8]) {
    let Ok(record) = Record::decode(data) else {
        return;
    };
    let mut again = Vec::new();
    record.encode(&mut again);
    assert_eq!(again.len() as u64, record.encoded_len());
    assert_eq!(Record::decode(&again), Ok(record));
}
