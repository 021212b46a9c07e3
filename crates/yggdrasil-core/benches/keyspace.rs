//! Cost of the keyspace per operation: `cargo bench --bench keyspace -- [KEYS] [VALUE_BYTES]`.
//!
//! Keys have 16 bytes and come in random order. Batches of 16 go through both prefetch stages, as requests do.

use std::hint::black_box;
use std::time::{Duration, Instant};

use yggdrasil_core::keyspace::{
    Expiry, Key, Read, Shard, ShardReader, ShardShape, Value, hash_key,
};
use yggdrasil_core::shm::Segment;

const SEED: u64 = 0x5eed;
const NOW: u64 = 1_700_000_000_000;
const BATCH: usize = 16;
/// Operations of a round; the best round counts, since nothing makes a round faster than it is.
const OPERATIONS: u64 = 160_000;
const ROUNDS: u64 = 60;

fn main() {
    let mut arguments = std::env::args()
        .skip(1)
        .filter_map(|argument| argument.parse::<u64>().ok());
    let keys = arguments.next().unwrap_or(100_000);
    let value = vec![b'v'; arguments.next().unwrap_or(64) as usize];
    let shape = ShardShape {
        databases: 16,
        segment_bytes: 1 << 38,
        memory_limit: 1 << 36,
        hash_seed: SEED,
        value_bytes_max: 512 << 20,
    };
    let segment = Segment::create("bench", shape.segment_bytes).expect("a segment");
    let mut shard =
        Shard::create(segment.own().expect("an owner"), shape.clone()).expect("a shard");
    let reader = ShardReader::open(segment.read().expect("a mapping"), &shape).expect("a reader");
    println!(
        "{keys} keys of 16 bytes, values of {} bytes, ns per operation",
        value.len()
    );
    load(&mut shard, keys, &value);
    memory(&shard, &segment, keys, value.len() as u64);
    measure_gets(&mut shard, keys, &value);
    measure_sets(&mut shard, keys, &value);
    measure_reader(&reader, keys, &value);
}

/// The 16 bytes of key number `n`.
fn name(n: u64) -> [u8; 16] {
    let mut name = *b"key:____--------";
    name[8..].copy_from_slice(&n.to_be_bytes());
    name
}

fn key(name: &[u8; 16]) -> Key<'_> {
    Key {
        db: 0,
        hash: hash_key(SEED, name),
        bytes: name,
    }
}

/// Times `round` with batches of random keys, which differ from round to round.
fn measure(
    what: &str,
    keys: u64,
    mut round: impl FnMut(&mut dyn Iterator<Item = [[u8; 16]; BATCH]>),
) {
    let best = (1..=ROUNDS)
        .map(|seed| {
            let start = Instant::now();
            round(&mut batches(keys, seed));
            start.elapsed()
        })
        .min()
        .unwrap_or_default();
    report(what, OPERATIONS, best);
}

/// Batches of random keys.
fn batches(keys: u64, seed: u64) -> impl Iterator<Item = [[u8; 16]; BATCH]> {
    let mut state = 88_172_645_463_325_252_u64.wrapping_mul(2 * seed + 1);
    (0..OPERATIONS / BATCH as u64).map(move |_| {
        std::array::from_fn(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            name(state % keys)
        })
    })
}

fn report(what: &str, operations: u64, elapsed: Duration) {
    println!(
        "{what:<44} {:>8.1}",
        elapsed.as_nanos() as f64 / operations as f64
    );
}

fn load(shard: &mut Shard, keys: u64, value: &[u8]) {
    let start = Instant::now();
    let mut longest = Duration::ZERO;
    // The multiplier has no factor in common with the number of keys, so each comes once, in no order.
    let multiplier = (0x9e37_79b9_u64..)
        .find(|candidate| gcd(*candidate, keys) == 1)
        .expect("one exists");
    let mut last = processor_time();
    for n in 0..keys {
        let name = name(n.wrapping_mul(multiplier) % keys);
        shard
            .set(&key(&name), Value::Bytes(value), Expiry::Clear, NOW)
            .expect("there is memory");
        if n % 16 == 0 {
            let now = processor_time();
            longest = longest.max(now.saturating_sub(last));
            last = now;
        }
    }
    report("SET of new keys", keys, start.elapsed());
    println!(
        "{:<44} {:>8.1}",
        "longest 16 of them, us",
        longest.as_nanos() as f64 / 1000.0
    );
}

/// Time of this thread on the processor: what others take from it does not count as a stall of ours.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn memory(shard: &Shard, segment: &Segment, keys: u64, value: u64) {
    let memory = shard.memory();
    let resident = segment
        .resident_bytes()
        .expect("fstat works")
        .max(memory.used);
    let beyond = resident as f64 / keys as f64 - (16 + value) as f64;
    println!("{:<44} {beyond:>8.1}", "bytes a key beyond key and value");
    println!(
        "{:<44} {:>8.1}",
        "of these in the index",
        memory.index as f64 / keys as f64
    );
}

/// Both prefetch stages of a batch.
macro_rules! prefetch {
    ($store:expr, $batch:expr) => {
        let homes = $batch.each_ref().map(|key| $store.prefetch_index(key));
        for (key, home) in $batch.iter().zip(homes) {
            $store.prefetch_entry(home, key.hash);
        }
    };
}

fn hashed(names: &[[u8; 16]; BATCH]) -> [Key<'_>; BATCH] {
    std::array::from_fn(|i| key(&names[i]))
}

fn measure_gets(shard: &mut Shard, keys: u64, value: &[u8]) {
    measure("making and hashing keys (in all below)", keys, |batches| {
        for names in batches {
            black_box(hashed(&names));
        }
    });
    measure("GET one by one", keys, |batches| {
        for names in batches {
            for name in &names {
                let view = shard
                    .use_entry(&key(name), NOW)
                    .expect("every key is there");
                assert_eq!(length(&view.value), value.len());
            }
        }
    });
    measure("GET in batches", keys, |batches| {
        for names in batches {
            let batch = hashed(&names);
            prefetch!(shard, batch);
            for key in &batch {
                let view = shard.use_entry(key, NOW).expect("every key is there");
                assert_eq!(length(&view.value), value.len());
                black_box(touch(&view.value));
            }
        }
    });
}

fn measure_sets(shard: &mut Shard, keys: u64, value: &[u8]) {
    let mut set = |batch: &[Key<'_>; BATCH], value: &[u8]| {
        prefetch!(shard, batch);
        for key in batch {
            assert_eq!(
                shard.set(key, Value::Bytes(value), Expiry::Clear, NOW),
                Ok(true)
            );
        }
    };
    measure("SET of the same size in batches", keys, |batches| {
        for names in batches {
            set(&hashed(&names), value);
        }
    });
    let longer = [value, &[b'+'; 9]].concat();
    measure("SET of changing size in batches", keys, |batches| {
        for (i, names) in batches.enumerate() {
            set(&hashed(&names), if i % 2 == 0 { &longer } else { value });
        }
    });
}

fn measure_reader(reader: &ShardReader, keys: u64, value: &[u8]) {
    let mut scratch = Vec::new();
    measure("GET by a reader in batches", keys, |batches| {
        for names in batches {
            let batch = hashed(&names);
            prefetch!(reader, batch);
            for key in &batch {
                let Read::Hit(view, _) = reader.read(key, NOW, &mut scratch) else {
                    panic!("every key is there")
                };
                assert!(length(&view.value) >= value.len());
            }
        }
    });
}

fn length(value: &Value<'_>) -> usize {
    value.stored_len() as usize
}

/// Reads the value, as a reply does.
fn touch(value: &Value<'_>) -> u64 {
    match value {
        Value::Int(int) => *int as u64,
        Value::Bytes(bytes) | Value::Written(bytes) | Value::Absent(bytes) => {
            bytes.iter().step_by(64).map(|byte| u64::from(*byte)).sum()
        }
        Value::Tree(_) | Value::AtOwner => 0,
    }
}
