//! Effects of any bytes: what is read is written and read again as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use yggdrasil_core::keyspace::Record;

fuzz_target!(|bytes: &[u8]| {
    let Ok(record) = Record::decode(bytes) else {
        return;
    };
    let mut again = Vec::new();
    record.encode(&mut again);
    assert_eq!(again.len() as u64, record.encoded_len());
    assert_eq!(Record::decode(&again), Ok(record));
});
