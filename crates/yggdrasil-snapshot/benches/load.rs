//! Cost of loading a snapshot, by its parts: `cargo bench -p yggdrasil-snapshot --bench load -- [KEYS] [VALUE_BYTES]`.

use std::sync::Arc;

use rustix::time::{ClockId, clock_gettime};
use yggdrasil_core::keyspace::{
    Expiry, Key, Kind, Record, Shard, ShardReader, ShardShape, Value, hash_key,
};
use yggdrasil_core::shm::Segment;
use yggdrasil_snapshot::{
    Batch, Folder, Loader, NoHistory, Options, Progress, ShardPart, Source, Store, Unowned,
    apply_batch, take,
};

const SEED: u64 = 0x5eed;
const NOW: u64 = 1_700_000_000_000;
const ROUNDS: u32 = 5;
const RECORD_BYTES_MAX: u64 = 1 << 30;

fn shape() -> ShardShape {
    ShardShape {
        databases: 16,
        segment_bytes: 1 << 38,
        memory_limit: 1 << 36,
        hash_seed: SEED,
        value_bytes_max: 512 << 20,
    }
}

fn new_shard() -> (Segment, Shard) {
    let segment = Segment::create("bench", shape().segment_bytes).expect("a segment");
    let shard = Shard::create(segment.own().expect("an owner"), shape()).expect("a shard");
    (segment, shard)
}

/// A value that text is like: it shrinks by half.
fn value(number: u64, bytes: usize) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut draw = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..bytes)
        .map(|_| b"etaoin shrdlu.,:"[(draw() % 16) as usize])
        .collect()
}

/// CPU time of this process and its threads, in ns.
fn spent() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Takes a snapshot of a shard with so many keys.
fn snapshot(store: &Arc<dyn Store>, keys: u64, bytes: usize) -> ShardPart {
    let (segment, mut shard) = new_shard();
    for number in 0..keys {
        let name = format!("text:{number}");
        let key = Key {
            db: 0,
            hash: hash_key(SEED, name.as_bytes()),
            bytes: name.as_bytes(),
        };
        let value = value(number, bytes);
        let stored = shard.put(&key, Kind::String, Value::Bytes(&value), Expiry::Clear, NOW);
        stored.expect("room");
    }
    let reader = ShardReader::open(segment.read().expect("a mapping"), &shape()).expect("a reader");
    let mut sources = [Source {
        shard: 0,
        reader: &reader,
        history: &mut NoHistory,
        owner: &mut Unowned(0),
        keeps: &|_| true,
    }];
    let (options, progress, now) = (Options::default(), Progress::default(), || NOW);
    let taken = take(&**store, "n", &mut sources, None, &options, &progress, &now);
    taken.expect("a snapshot").manifest.shards.remove(0)
}

/// Time of filling a shard by batches.
fn filled(keys: u64, batches: impl Iterator<Item = Batch>) -> u64 {
    let (_segment, mut shard) = new_shard();
    let began = spent();
    for (place, batch) in batches.enumerate() {
        let expected = (place == 0).then_some(keys);
        apply_batch(&mut shard, &batch, expected).expect("room");
    }
    spent() - began
}

/// Time of applying the same records one by one.
fn one_by_one(batches: &[Batch]) -> u64 {
    let (_segment, mut shard) = new_shard();
    let began = spent();
    for change in batches.iter().flat_map(Batch::changes) {
        let record = Record::decode(change.record).expect("a record");
        shard.apply(&record, change.number).expect("room");
    }
    spent() - began
}

fn main() {
    let numbers = std::env::args().skip(1);
    let mut numbers = numbers.filter_map(|argument| argument.parse::<u64>().ok());
    let keys = numbers.next().unwrap_or(200_000);
    let bytes = numbers.next().unwrap_or(400) as usize;
    let root = std::env::temp_dir().join(format!("yggdrasil-load-{}", std::process::id()));
    let store: Arc<dyn Store> = Arc::new(Folder::new(&root));
    let part = snapshot(&store, keys, bytes);
    let load = || {
        let loader = Loader::new(&store, &part, 1, RECORD_BYTES_MAX);
        loader.map(|batch| batch.expect("a chunk"))
    };
    println!("{keys} keys, values of {bytes} bytes, ns of CPU a key");
    for _ in 0..ROUNDS {
        let began = spent();
        load().for_each(drop);
        let unpacked = spent() - began;
        let batches: Vec<Batch> = load().collect();
        let one_by_one = one_by_one(&batches);
        let ahead = filled(keys, batches.into_iter());
        let whole = filled(keys, load());
        let [unpacked, one_by_one, ahead, whole] =
            [unpacked, one_by_one, ahead, whole].map(|spent| spent / keys);
        println!(
            "read, check and unpack {unpacked}; apply one by one {one_by_one}, ahead {ahead}; all of it {whole}"
        );
    }
    let _ = std::fs::remove_dir_all(root);
}
