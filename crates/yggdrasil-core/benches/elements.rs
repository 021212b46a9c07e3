//! What sets and hashes take: bytes beyond their payload, and nanoseconds of their commands.
//!
//! `cargo bench -p yggdrasil-core --bench elements`

use std::time::Instant;

use yggdrasil_core::commands::{InSteps, KeyLimits, Registry, ShardContext};
use yggdrasil_core::keyspace::{Key, Shard, ShardShape, hash_key};
use yggdrasil_core::random::Random;
use yggdrasil_core::resp::{ArgsBuffer, Protocol, Reply};
use yggdrasil_core::script::Scripts;
use yggdrasil_core::shm::Segment;

const NOW: u64 = 1_750_000_000_000;
const SEED: u64 = 1;
const LARGE: usize = 300_000;
const ROUNDS: usize = 11;

struct Node {
    shard: Shard,
    registry: Registry,
    limits: KeyLimits,
    out: Vec<u8>,
}

impl Node {
    fn new() -> Option<Self> {
        let shape = ShardShape {
            databases: 1,
            segment_bytes: 1 << 34,
            memory_limit: 1 << 33,
            hash_seed: SEED,
            value_bytes_max: 1 << 20,
        };
        let segment = Segment::create("bench", shape.segment_bytes).ok()?;
        let shard = Shard::create(segment.own().ok()?, shape).ok()?;
        Some(Self {
            shard,
            registry: Registry::new(),
            limits: KeyLimits::default(),
            out: Vec::new(),
        })
    }

    fn run(&mut self, args: &ArgsBuffer) {
        let args = args.as_args();
        let Ok(id) = self.registry.lookup(&args) else {
            return;
        };
        let mut context = ShardContext {
            shard: &mut self.shard,
            db: 0,
            now: NOW,
            hash_seed: SEED,
            first_key_hash: None,
            limits: &self.limits,
            may_wait: false,
            scripts: &mut Scripts::new(0),
            untouched: false,
            waits: None,
            in_steps: InSteps::AtOnce,
            random: &mut Random::new(0),
            shard_index: 0,
            shard_count: 1,
            reads: false,
            hits: 0,
            misses: 0,
        };
        self.out.clear();
        let mut reply = Reply::new(&mut self.out, Protocol::Resp2);
        let outcome = self
            .registry
            .spec(id)
            .run_on_shard(&mut context, &args, &mut reply);
        assert_eq!(outcome, Ok(()));
    }

    fn bytes_of(&mut self, key: &[u8]) -> u64 {
        let key = Key {
            db: 0,
            hash: hash_key(SEED, key),
            bytes: key,
        };
        self.shard.entry_bytes(&key, NOW).unwrap_or(0)
    }
}

fn request(words: &[&str]) -> ArgsBuffer {
    words.iter().map(|word| word.as_bytes()).collect()
}

fn main() {
    let Some(mut node) = Node::new() else {
        return println!("no shared memory here");
    };
    bytes(&mut node);
    times(&mut node);
}

/// Bytes beyond the payload.
fn bytes(node: &mut Node) {
    for number in 0..LARGE {
        let (field, value) = (format!("field:{number:06}"), format!("{number:020}x"));
        node.run(&request(&["HSET", "hash", &field, &value[1..]]));
        node.run(&request(&["SADD", "set", &format!("member:{number:09}")]));
        let lasts = format!("{}", NOW + 1_000_000 + number as u64);
        node.run(&request(&[
            "HSETEX",
            "expiring",
            "PXAT",
            &lasts,
            "FIELDS",
            "1",
            &field,
            &value[1..],
        ]));
    }
    for (what, key, payload) in [
        ("field of a hash", "hash", 12 + 20),
        ("field that expires", "expiring", 12 + 20),
        ("member of a set", "set", 16),
    ] {
        let each = node.bytes_of(key.as_bytes()) as f64 / LARGE as f64;
        println!(
            "{what:<20} {:6.1} bytes beyond payload",
            each - f64::from(payload)
        );
    }
    let mut small = ArgsBuffer::new();
    ["HSET", "small"]
        .iter()
        .for_each(|word| small.push(word.as_bytes()));
    for number in 0..10 {
        small.push(format!("field:{number:06}").as_bytes());
        small.push(format!("{number:020}").as_bytes());
    }
    node.run(&small);
    let all = node.bytes_of(b"small") as i64 - 10 * (12 + 20) - 5;
    println!(
        "{:<20} {all:6} bytes beyond payload, without the index",
        "hash of 10 fields"
    );
}

fn times(node: &mut Node) {
    for number in 0..500 {
        node.run(&request(&[
            "SADD",
            "members",
            &format!("member:{number:09}"),
        ]));
    }
    for number in 0..100 {
        let (field, value) = (format!("field:{number:06}"), format!("{number:020}"));
        node.run(&request(&["HSET", "fields", &field, &value]));
    }
    let number = |round: usize| round * 7919 % LARGE;
    report(node, "HSET, large", 20_000, |round| {
        let field = format!("field:{:06}", number(round));
        request(&["HSET", "hash", &field, "01234567890123456789"])
    });
    report(node, "HGET, large", 20_000, |round| {
        request(&["HGET", "hash", &format!("field:{:06}", number(round))])
    });
    report(node, "SADD and SREM", 20_000, |round| {
        let member = format!("member:{:09}", number(round / 2));
        request(&[["SREM", "SADD"][round % 2], "set", &member])
    });
    report(node, "SISMEMBER, large", 20_000, |round| {
        request(&["SISMEMBER", "set", &format!("member:{:09}", number(round))])
    });
    report(node, "HSET, 10 fields", 20_000, |round| {
        let field = format!("field:{:06}", round % 10);
        request(&["HSET", "small", &field, "01234567890123456789"])
    });
    report(node, "HGET, 10 fields", 20_000, |round| {
        request(&["HGET", "small", &format!("field:{:06}", round % 10)])
    });
    report(node, "HGETALL of 100", 2_000, |_| {
        request(&["HGETALL", "fields"])
    });
    report(node, "SMEMBERS of 500", 500, |_| {
        request(&["SMEMBERS", "members"])
    });
}

/// Runs so many commands in each of several rounds and prints what one takes.
fn report(node: &mut Node, name: &str, count: usize, command: impl Fn(usize) -> ArgsBuffer) {
    let commands: Vec<_> = (0..count).map(command).collect();
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            commands.iter().for_each(|command| node.run(command));
            start.elapsed().as_nanos() as f64 / count as f64
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    let (best, median) = (rounds[0], rounds[ROUNDS / 2]);
    println!("{name:<20} {best:8.1} ns best {median:8.1} ns median");
}
