//! Cost of a recovery from a log, by its parts: `cargo bench -p yggdrasil-log --bench replay -- [KEYS] [VALUE_BYTES]`.
//! Instructions: `valgrind --tool=callgrind --toggle-collect='*measured*' replay KEYS`, divided by five times the keys.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use yggdrasil_core::keyspace::{Effect, Kind, Record, Shard, ShardShape, Value};
use yggdrasil_core::shm::Segment;
use yggdrasil_log::disk::{Disk, RealDisk};
use yggdrasil_log::{End, Recovery, Writer, WriterOptions};

const ROUNDS: u32 = 5;
const SEGMENT_BYTES: u64 = 64 << 20;
const STEP_BYTES: u64 = 1 << 20;

fn shape() -> ShardShape {
    ShardShape {
        databases: 16,
        segment_bytes: 1 << 34,
        memory_limit: 1 << 33,
        hash_seed: 0x5eed,
        value_bytes_max: 512 << 20,
    }
}

/// CPU time of this thread, in ns, as the scheduler counts it.
fn spent() -> u64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let first = told.split_whitespace().next();
    first.and_then(|spent| spent.parse().ok()).unwrap_or(0)
}

fn write(disk: &Arc<dyn Disk>, directory: &Path, keys: u64, bytes: usize) {
    let options = WriterOptions {
        directory: directory.to_path_buf(),
        segment_bytes: SEGMENT_BYTES,
        epoch: 1,
    };
    let opened = Writer::open(Arc::clone(disk), options, &End::default());
    let mut writer = opened.expect("a directory to write to");
    let value = vec![b'v'; bytes];
    for number in 1..=keys {
        let key = format!("key:{number:012}");
        writer
            .reserve(key.len() as u64 + bytes as u64)
            .expect("room");
        let effect = Effect::Put {
            kind: Kind::String,
            value: Value::Bytes(&value),
            expire_at: None,
            pinned_until: None,
        };
        let key = key.as_bytes();
        writer.change(number, &Record { db: 0, key, effect });
    }
}

/// Makes a shard from a log. Returns the time of the first reading, and of the second.
#[inline(never)]
fn measured(disk: &Arc<dyn Disk>, directory: &Path, shard: &mut Shard) -> (u64, u64) {
    let began = spent();
    let mut recovery = Recovery::scan(Arc::clone(disk), directory).expect("a log");
    recovery.decide(&Default::default());
    let scanned = spent();
    while !recovery.step(STEP_BYTES, shard).expect("sound changes") {}
    (scanned - began, spent() - scanned)
}

fn main() {
    let numbers = std::env::args().skip(1);
    let mut numbers = numbers.filter_map(|argument| argument.parse::<u64>().ok());
    let keys = numbers.next().unwrap_or(500_000);
    let bytes = numbers.next().unwrap_or(64) as usize;
    let directory: PathBuf =
        std::env::temp_dir().join(format!("yggdrasil-replay-{}", std::process::id()));
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::default());
    write(&disk, &directory, keys, bytes);
    println!("{keys} keys, values of {bytes} bytes, ns of CPU a key");
    for _ in 0..ROUNDS {
        let segment = Segment::create("bench", shape().segment_bytes).expect("a segment");
        let owned = segment.own().expect("an owner");
        let mut shard = Shard::create_hidden(Default::default(), owned, shape()).expect("a shard");
        let (scanned, replayed) = measured(&disk, &directory, &mut shard);
        assert_eq!(shard.len(0), keys);
        println!("scan {}, replay {}", scanned / keys, replayed / keys);
    }
    let _ = std::fs::remove_dir_all(directory);
}
