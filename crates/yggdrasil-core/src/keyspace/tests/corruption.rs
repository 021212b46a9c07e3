//! Readers over memory that makes no sense: they may miss, retry or return nonsense, but nothing else.

use proptest::prelude::*;

use super::{Rig, key};
use crate::keyspace::layout::{EPOCH, PAGE_BYTES, PAGE_WORDS, TXN_SEQ};
use crate::keyspace::{Expiry, Read, ShardReader, Swept, Value};
use crate::shm::Mapping;

const NOW: u64 = 1_700_000_000_000;
const SEGMENT: u64 = 1 << 24;

fn name(n: u64) -> Vec<u8> {
    format!("key:{n}").repeat(1 + n as usize % 40).into_bytes()
}

/// A shard with keys of all kinds, then left without its owner.
fn filled() -> (ShardReader, Mapping) {
    let mut rig = Rig::new(SEGMENT, SEGMENT);
    for n in 0..400 {
        let size = if n % 50 == 0 { 30_000 } else { n as usize };
        let expiry = if n % 3 == 0 {
            Expiry::At(NOW + n)
        } else {
            Expiry::Clear
        };
        let value = vec![n as u8; size];
        let value = if n % 7 == 0 {
            Value::Int(n as i64)
        } else {
            Value::Bytes(&value)
        };
        rig.shard
            .set(&key((n % 4) as u8, &name(n)), value, expiry, NOW)
            .unwrap();
    }
    let Rig {
        segment,
        shard,
        reader,
        ..
    } = rig;
    drop(shard);
    (reader, segment.own().unwrap())
}

/// Looks every key up; what comes back must be inside the bounds that hold for any value.
fn read_all(reader: &ShardReader) {
    let mut scratch = Vec::new();
    for n in 0..420 {
        for db in [(n % 4) as u8, 200] {
            let name = name(n);
            let key = key(db, &name);
            let home = reader.prefetch_index(&key);
            reader.prefetch_entry(home, key.hash);
            match reader.read(&key, NOW, &mut scratch) {
                Read::Hit(view, stamp) => {
                    reader.still_valid(&stamp);
                    if let Value::Bytes(bytes) = view.value {
                        assert!(bytes.len() <= 1 << 20);
                    }
                }
                Read::Miss(stamp) => {
                    reader.still_valid(&stamp);
                }
                Read::AskOwner | Read::Unsettled => {}
            }
            reader.len(db);
        }
    }
    sweep_all(reader);
}

/// Walks over all entries; whatever is found must be inside the bounds, and the walk goes on or is given up.
fn sweep_all(reader: &ShardReader) {
    let mut swept = Swept::default();
    for physical in [0, 1, 2, 3, 200] {
        let mut cursor = 0;
        for _ in 0..200 {
            let next = reader.scan(physical, cursor, &mut swept, &mut |key, view| {
                assert!(key.len() <= 1 << 20 && view.value.stored_len() <= 1 << 20);
            });
            cursor = next.unwrap_or(0);
            if cursor == 0 {
                break;
            }
        }
    }
}

/// The words that were ever written, by which damage is worth doing.
fn used_words(mapping: &Mapping) -> Vec<u64> {
    (0..SEGMENT / 8)
        .filter(|word| mapping.load(*word) != 0)
        .collect()
}

/// Keeps the shard open to readers, or they would stop at once.
fn open_doors(mapping: &mut Mapping) {
    mapping.store(EPOCH, 2);
    mapping.store(TXN_SEQ, 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn flipped_bits_harm_nobody(flips in prop::collection::vec((any::<prop::sample::Index>(), 0..64_u32), 1..2000)) {
        let (reader, mut mapping) = filled();
        let words = used_words(&mapping);
        for (word, bit) in flips {
            let word = words[word.index(words.len())];
            mapping.store(word, mapping.load(word) ^ 1 << bit);
        }
        open_doors(&mut mapping);
        read_all(&reader);
    }

    #[test]
    fn a_damaged_index_harms_nobody(flips in prop::collection::vec((0..PAGE_WORDS * 6, any::<u64>()), 1..300)) {
        let (reader, mut mapping) = filled();
        for (word, value) in flips {
            // Directories and first data pages, where the buckets are.
            mapping.store(PAGE_BYTES / 8 + word, value);
        }
        open_doors(&mut mapping);
        read_all(&reader);
    }

    #[test]
    fn garbage_harms_nobody(seed in any::<u64>(), keep_header in any::<bool>(), sparse in any::<bool>()) {
        let (reader, mut mapping) = filled();
        let mut state = seed | 1;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let first = if keep_header { PAGE_WORDS } else { 0 };
        for word in (first..SEGMENT / 8).step_by(if sparse { 3 } else { 1 }) {
            let value = random();
            // Even words everywhere pass for buckets at rest.
            mapping.store(word, if value & 4096 == 0 { value & !1 } else { value & 0xff_ffff });
        }
        open_doors(&mut mapping);
        read_all(&reader);
    }
}

#[test]
fn a_loop_of_overflow_buckets_ends() {
    use crate::keyspace::bucket::{LAST, set_place};
    use crate::keyspace::layout::LINK;

    let (reader, mut mapping) = filled();
    for line in (2 * PAGE_WORDS..SEGMENT / 8).step_by(8) {
        for place in 0..LAST {
            set_place(&mut mapping, line, place, 0, 0);
        }
        set_place(&mut mapping, line, LAST, 0, line | LINK);
        mapping.store(line, mapping.load(line) & !1);
    }
    read_all(&reader);
}
