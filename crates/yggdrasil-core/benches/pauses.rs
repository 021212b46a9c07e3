//! The longest pauses of a shard while its memory changes hands: `cargo bench --bench pauses -- [LIMIT_MIB]`.
//!
//! One step is what a request does (make room, write) or what housekeeping does ten times a second. Given are the
//! longest of a phase in processor time, so that other programs on the machine do not count.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use yggdrasil_core::keyspace::{
    EvictionOptions, Expiry, Key, Policy, Shard, ShardShape, Value, hash_key,
};
use yggdrasil_core::shm::Segment;

const SEED: u64 = 0x5eed;
const START: u64 = 1_700_000_000_000;
/// As the engine has them.
const ROOM_BUDGET: usize = 64;
const STEP_BUDGET: usize = 256;
/// Of a long value, how much a socket is given room for at a time.
const RECEIVED_BYTES: usize = 32 << 10;
/// Requests between two steps of housekeeping.
const TICK: u64 = 10_000;

struct Bench {
    shard: Shard,
    now: u64,
    requests: u64,
    steps: Vec<Duration>,
}

fn main() {
    let mut numbers = std::env::args()
        .skip(1)
        .filter_map(|word| word.parse().ok());
    let limit: u64 = numbers.next().unwrap_or(256) << 20;
    let shape = ShardShape {
        databases: 16,
        segment_bytes: 1 << 38,
        memory_limit: limit,
        hash_seed: SEED,
        value_bytes_max: 512 << 20,
    };
    let segment = Segment::create("bench", shape.segment_bytes).expect("a segment");
    for policy in [Policy::TinyLfu, Policy::AllKeysLfu] {
        let shard =
            Shard::create(segment.own().expect("an owner"), shape.clone()).expect("a shard");
        println!("{policy:?}, {} MiB, microseconds", limit >> 20);
        let mut bench = Bench {
            shard,
            now: START,
            requests: 0,
            steps: Vec::new(),
        };
        bench.shard.set_eviction(EvictionOptions {
            policy,
            ..EvictionOptions::default()
        });
        bench.run(limit);
    }
}

impl Bench {
    fn run(&mut self, limit: u64) {
        let small = limit / 100;
        self.fill("SET of 100 B", 0..small, 100);
        self.delete("DEL of 80%", 0..small);
        self.fill("SET of 300 B", small..2 * small, 300);
        let large = limit / 5_000;
        self.fill("SET of 20 KB", 2 * small..2 * small + large, 20_000);
        self.fill("SET of 100 B again", 3 * small..4 * small, 100);
        self.fill_long(
            "SET of 8 MiB into values of 100 B",
            4 * small..4 * small + 40,
            8 << 20,
        );
        self.fill(
            "SET of 100 B into values of 8 MiB",
            5 * small..6 * small,
            100,
        );
        self.delete("DEL of the last", 5 * small..6 * small);
        self.shard.purge();
        self.rest("housekeeping after MEMORY PURGE");
    }

    fn fill(&mut self, what: &str, numbers: std::ops::Range<u64>, bytes: usize) {
        let value = vec![7; bytes];
        for number in numbers {
            let name = number.to_be_bytes();
            self.step(|shard, now| {
                shard.relieve(now, ROOM_BUDGET);
                let key = key(&name);
                let stored = shard.set(&key, Value::Bytes(&value), Expiry::Clear, now);
                assert!(stored.is_ok(), "{stored:?}");
            });
        }
        self.report(what);
    }

    /// As they come in: part by part.
    fn fill_long(&mut self, what: &str, numbers: std::ops::Range<u64>, bytes: usize) {
        let part = vec![7; RECEIVED_BYTES];
        for number in numbers {
            let name = number.to_be_bytes();
            let mut draft = None;
            self.step(|shard, _| draft = shard.draft(name.len(), bytes as u64).ok());
            let mut draft = draft.expect("it fits");
            while draft.missing() > 0 {
                self.step(|shard, now| {
                    shard.relieve(now, ROOM_BUDGET);
                    shard.write_draft(&mut draft, 0, &part).expect("room");
                    shard.fill_draft(&mut draft, part.len() as u64);
                });
            }
            self.step(|shard, now| {
                shard
                    .publish(draft, &key(&name), Expiry::Clear, now)
                    .expect("it is published");
            });
        }
        self.report(what);
    }

    fn delete(&mut self, what: &str, numbers: std::ops::Range<u64>) {
        for number in numbers.filter(|number| number % 5 != 0) {
            let name = number.to_be_bytes();
            self.step(|shard, now| {
                shard.remove(&key(&name), now);
            });
        }
        self.report(what);
    }

    fn rest(&mut self, what: &str) {
        let mut more = true;
        while more {
            self.timed(|shard, now| more = shard.advance(now, STEP_BUDGET));
        }
        self.report(what);
    }

    fn step(&mut self, request: impl FnOnce(&mut Shard, u64)) {
        self.timed(request);
        self.requests += 1;
        if self.requests.is_multiple_of(TICK) {
            self.now += 100;
            self.timed(|shard, now| {
                shard.advance(now, STEP_BUDGET);
            });
        }
    }

    fn timed(&mut self, step: impl FnOnce(&mut Shard, u64)) {
        let before = processor_time();
        step(&mut self.shard, self.now);
        self.steps.push(processor_time().saturating_sub(before));
    }

    fn report(&mut self, what: &str) {
        self.steps.sort_unstable();
        let of = |share: f64| {
            let index = ((self.steps.len() - 1) as f64 * share) as usize;
            self.steps[index].as_nanos() as f64 / 1000.0
        };
        println!(
            "{what:<36} p50 {:>7.2}  p99.9 {:>8.1}  longest {:>8.1}  steps {}",
            of(0.5),
            of(0.999),
            of(1.0),
            self.steps.len()
        );
        self.steps.clear();
    }
}

fn key(name: &[u8; 8]) -> Key<'_> {
    Key {
        db: 0,
        hash: hash_key(SEED, name),
        bytes: name,
    }
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}
