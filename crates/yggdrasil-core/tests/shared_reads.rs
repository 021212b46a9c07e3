//! Two writer processes, each with its own shard, and four reader processes that read both: no value is ever torn,
//! recycled, out of date or lost. Runs 2 seconds, or as many as `YGGDRASIL_STRESS_SECONDS` says.

use std::fs::OpenOptions;
use std::os::fd::{AsFd, AsRawFd};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use xxhash_rust::xxh3::xxh3_64_with_seed;
use yggdrasil_core::keyspace::{
    EntryView, Expiry, Key, KeyspaceError, Read, ReadStamp, Shard, ShardReader, ShardShape, Value,
    hash_key,
};
use yggdrasil_core::shm::Segment;

const TEST: &str = "no_reader_ever_sees_a_wrong_value";
const ROLE: &str = "YGGDRASIL_STRESS_ROLE";
const SECONDS: &str = "YGGDRASIL_STRESS_SECONDS";
const SEED: u64 = 0x5eed;
const WRITERS: usize = 2;
const READERS: usize = 4;
/// Keys that are changed but never removed.
const LASTING: u64 = 300;
const KEYS: u64 = 20_000;
const VALUE_MAX: u64 = 200_000;
/// Two keys that change together, under a reservation.
const PAIR: [u64; 2] = [KEYS, KEYS + 1];
/// Every value begins with its count and ends with its checksum.
const FRAME: usize = 16;

fn shape() -> ShardShape {
    ShardShape {
        databases: 4,
        segment_bytes: 1 << 36,
        memory_limit: 64 << 20,
        hash_seed: SEED,
        value_bytes_max: 1 << 20,
    }
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}

fn seconds() -> u64 {
    std::env::var(SECONDS)
        .ok()
        .and_then(|seconds| seconds.parse().ok())
        .unwrap_or(2)
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

fn name(n: u64) -> Vec<u8> {
    let mut name = format!("key:{n}").into_bytes();
    let padding = (n % 37) as usize * if n.is_multiple_of(41) { 20 } else { 1 };
    name.resize(name.len() + padding, b'.');
    name
}

fn key(db: u8, name: &[u8]) -> Key<'_> {
    Key {
        db,
        hash: hash_key(SEED, name),
        bytes: name,
    }
}

/// A value of `size` bytes that tells which key it belongs to and when it was written.
fn value(name: &[u8], count: u64, size: usize, buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.extend_from_slice(&count.to_le_bytes());
    let mut word = count | 1;
    while buffer.len() + 8 < size {
        word = word.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let missing = size - 8 - buffer.len();
        buffer.extend_from_slice(&word.to_le_bytes()[..missing.min(8)]);
    }
    let checksum = xxh3_64_with_seed(buffer, hash_key(SEED, name));
    buffer.extend_from_slice(&checksum.to_le_bytes());
}

/// The count in a value; `None` when it is wrong.
fn check(name: &[u8], view: &EntryView<'_>, now: u64) -> Option<u64> {
    if view.expire_at.is_some_and(|expire_at| expire_at <= now) {
        return None;
    }
    match view.value {
        Value::Bytes([]) => Some(u64::MAX),
        Value::Int(int) => (int as u64 >> 32 == hash_key(SEED, name) >> 32).then_some(u64::MAX),
        Value::Bytes(bytes) => {
            let (body, checksum) = bytes.split_last_chunk::<8>()?;
            let right =
                xxh3_64_with_seed(body, hash_key(SEED, name)) == u64::from_le_bytes(*checksum);
            let count = body
                .first_chunk::<8>()
                .map(|count| u64::from_le_bytes(*count));
            count.filter(|_| right)
        }
        _ => None,
    }
}

fn size(random: &mut Random) -> usize {
    let limit = match random.below(100) {
        0 => VALUE_MAX,
        1..=5 => 20_000,
        6..=30 => 2000,
        _ => 200,
    };
    FRAME + random.below(limit - FRAME as u64) as usize
}

fn drop_result<T>(_: T) {}

struct Writer {
    shard: Shard,
    random: Random,
    count: u64,
    buffer: Vec<u8>,
}

impl Writer {
    fn set(&mut self, db: u8, n: u64, size: usize) {
        self.count += 1;
        let name = name(n);
        value(&name, self.count, size, &mut self.buffer);
        let expiry = match (n >= LASTING, self.random.below(4)) {
            (true, 0) => Expiry::At(now() + self.random.below(30)),
            (true, 1) => Expiry::Keep,
            _ => Expiry::Clear,
        };
        let tag = hash_key(SEED, &name) >> 32 << 32;
        let stored = match self.random.below(20) {
            0 => Value::Bytes(b""),
            1 => Value::Int((tag | self.count & 0xffff_ffff) as i64),
            _ => Value::Bytes(&self.buffer),
        };
        match self.shard.set(&key(db, &name), stored, expiry, now()) {
            Ok(_) | Err(KeyspaceError::OutOfMemory { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn set_pair(&mut self) {
        self.shard.reserve();
        self.count += 1;
        for n in PAIR {
            let name = name(n);
            value(&name, self.count, FRAME + 100, &mut self.buffer);
            let stored = self.shard.set(
                &key(0, &name),
                Value::Bytes(&self.buffer),
                Expiry::Clear,
                now(),
            );
            stored.expect("a value of the same size needs no memory");
        }
        self.shard.release();
    }

    /// One change of a random kind. Databases 1 and 2 are swapped and cleared, database 0 is not.
    fn step(&mut self) {
        let n = self.random.below(KEYS);
        let size = size(&mut self.random);
        let db = if self.random.below(4) == 0 {
            1 + self.random.below(2) as u8
        } else {
            0
        };
        match self.random.below(1000) {
            0..600 => self.set(db, n, size),
            600..900 if n >= LASTING => drop_result(self.shard.remove(&key(db, &name(n)), now())),
            900..940 if n >= LASTING => {
                let expiry = n.is_multiple_of(2).then(|| now() + 20);
                drop_result(self.shard.set_expiry(&key(db, &name(n)), expiry, now()));
            }
            940..970 => self.set(0, n % LASTING, size.min(3000)),
            970..990 => self.set_pair(),
            990 => self.shard.swap_databases(1, 2),
            991 => self.shard.clear_database(1 + (n % 2) as u8),
            _ => drop_result(self.shard.advance(now(), 200)),
        }
    }

    /// Grows and shrinks the index.
    fn wave(&mut self) {
        for n in LASTING..KEYS {
            self.set(0, n, FRAME + 10);
        }
        for n in LASTING..KEYS {
            self.shard.remove(&key(0, &name(n)), now());
        }
    }
}

fn write(segment: &Segment) {
    let shard = Shard::create(segment.own().expect("the only owner"), shape()).expect("a shard");
    let random = Random(u64::from(std::process::id()) << 20 | 1);
    let mut writer = Writer {
        shard,
        random,
        count: 0,
        buffer: Vec::new(),
    };
    (0..LASTING).for_each(|n| writer.set(0, n, FRAME + 100));
    writer.set_pair();
    let end = Instant::now() + Duration::from_secs(seconds());
    while Instant::now() < end {
        (0..20_000).for_each(|_| writer.step());
        writer.wave();
    }
    while writer.shard.advance(now(), 10_000) {}
    writer.shard.check_invariants();
    println!("\nchanges {}", writer.count);
}

/// What a reader remembers of one shard.
struct Observed {
    reader: ShardReader,
    /// The last count seen of each key of database 0.
    counts: Vec<u64>,
    reads: u64,
    hits: u64,
    unsettled: u64,
    wrong: u64,
}

impl Observed {
    fn wrong(&mut self, what: &str, n: u64) {
        self.wrong += 1;
        println!("\nwrong: {what} at key {n}");
    }

    fn read(&mut self, db: u8, n: u64, scratch: &mut Vec<u8>) -> Option<(u64, ReadStamp)> {
        let name = name(n);
        let now = now();
        let key = key(db, &name);
        let home = self.reader.prefetch_index(&key);
        self.reader.prefetch_entry(home, key.hash);
        self.reads += 1;
        match self.reader.read(&key, now, scratch) {
            Read::AskOwner => self.wrong("a string is taken for something else", n),
            Read::Unsettled => self.unsettled += 1,
            Read::Miss(_) if db == 0 && !(LASTING..KEYS).contains(&n) => {
                self.wrong("a lasting key is missing", n)
            }
            Read::Miss(_) => {}
            Read::Hit(view, stamp) => {
                self.hits += 1;
                let Some(count) = check(&name, &view, now) else {
                    self.wrong("a value is damaged", n);
                    return None;
                };
                if db == 0 && count != u64::MAX {
                    if count < self.counts[n as usize] {
                        self.wrong("a value is older than one seen before", n);
                    }
                    self.counts[n as usize] = count;
                }
                return Some((count, stamp));
            }
        }
        None
    }

    fn read_pair(&mut self, scratch: &mut Vec<u8>) {
        let (first, second) = (
            self.read(0, PAIR[0], scratch),
            self.read(0, PAIR[1], scratch),
        );
        let (Some((first, stamp)), Some((second, other))) = (first, second) else {
            return;
        };
        if first > second {
            self.wrong("half a transaction was seen by single reads", PAIR[0]);
        }
        let valid = self.reader.still_valid(&stamp) && self.reader.still_valid(&other);
        if valid && first != second {
            self.wrong("half a transaction was seen by a checked read", PAIR[0]);
        }
    }
}

fn read(segments: &[Segment]) {
    let mut shards: Vec<_> = segments
        .iter()
        .map(|segment| Observed {
            reader: ShardReader::open(segment.read().expect("a mapping"), &shape())
                .expect("a reader"),
            counts: vec![0; KEYS as usize + 2],
            reads: 0,
            hits: 0,
            unsettled: 0,
            wrong: 0,
        })
        .collect();
    let mut random = Random(u64::from(std::process::id()) << 20 | 1);
    let mut scratch = Vec::new();
    let end = Instant::now() + Duration::from_secs(seconds());
    while Instant::now() < end {
        for _ in 0..500 {
            let shard = random.below(WRITERS as u64) as usize;
            let shard = &mut shards[shard];
            match random.below(10) {
                0 => shard.read_pair(&mut scratch),
                1..=3 => drop_result(shard.read(0, random.below(LASTING), &mut scratch)),
                _ => {
                    drop_result(shard.read(random.below(3) as u8, random.below(KEYS), &mut scratch))
                }
            }
        }
    }
    for Observed {
        reader,
        reads,
        hits,
        unsettled,
        wrong,
        ..
    } in shards
    {
        println!(
            "\nreads {reads}\nhits {hits}\nunsettled {unsettled}\nretries {}\nwrong {wrong}",
            reader.retries()
        );
    }
}

/// Starts this test again in another process. It opens the segments through this process's descriptors.
fn spawn(role: &str, segments: &[Segment]) -> Child {
    let paths: Vec<_> = segments
        .iter()
        .map(|segment| {
            format!(
                "/proc/{}/fd/{}",
                std::process::id(),
                segment.as_fd().as_raw_fd()
            )
        })
        .collect();
    Command::new(std::env::current_exe().expect("a path"))
        .args(["--exact", TEST, "--nocapture", "--test-threads=1"])
        .env(ROLE, format!("{role} {}", paths.join(" ")))
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process")
}

fn play(role: &str) {
    let mut words = role.split(' ');
    let kind = words.next();
    let open = |path| {
        OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .expect("a segment")
    };
    let segments: Vec<_> = words
        .map(|path| Segment::adopt(open(path).into()).expect("a segment"))
        .collect();
    match kind {
        Some("write") => write(&segments[0]),
        _ => read(&segments),
    }
}

/// The sum of what the processes printed under a name.
fn total(outputs: &[String], what: &str) -> u64 {
    let numbers = outputs
        .iter()
        .flat_map(|output| output.lines())
        .filter_map(|line| line.strip_prefix(what));
    numbers
        .filter_map(|number| number.trim().parse::<u64>().ok())
        .sum()
}

/// Waits until the writer has stored what readers expect from their first read on.
fn wait_for_writer(segment: &Segment) {
    let reader = ShardReader::open(segment.read().expect("a mapping"), &shape()).expect("a reader");
    let name = name(PAIR[1]);
    let start = Instant::now();
    while !matches!(
        reader.read(&key(0, &name), now(), &mut Vec::new()),
        Read::Hit(..)
    ) {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "the writer has not started"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn no_reader_ever_sees_a_wrong_value() {
    if let Ok(role) = std::env::var(ROLE) {
        return play(&role);
    }
    let segments: Vec<_> = (0..WRITERS)
        .map(|_| Segment::create("stress", shape().segment_bytes).expect("a segment"))
        .collect();
    let mut children: Vec<_> = segments
        .chunks(1)
        .map(|segment| spawn("write", segment))
        .collect();
    segments.iter().for_each(wait_for_writer);
    children.extend((0..READERS).map(|_| spawn("read", &segments)));
    let outputs: Vec<_> = children
        .into_iter()
        .map(|child| {
            let output = child.wait_with_output().expect("an end");
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{text}");
            text
        })
        .collect();
    let counted = |what| total(&outputs, what);
    println!(
        "{} changes, {} reads, {} hits, {} retries, {} unsettled, {} wrong",
        counted("changes "),
        counted("reads "),
        counted("hits "),
        counted("retries "),
        counted("unsettled "),
        counted("wrong ")
    );
    let lines = outputs.iter().flat_map(|output| output.lines());
    let complaints: Vec<_> = lines
        .filter(|line| line.starts_with("wrong:"))
        .take(20)
        .collect();
    assert!(complaints.is_empty(), "{complaints:?}");
    assert!(counted("hits ") > 1000);
}
