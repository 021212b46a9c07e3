//! What one small command costs on its way: parsing, looking up, executing.
//!
//! `cargo bench -p yggdrasil-core` prints nanoseconds per command, the best and the median of several rounds.

use std::hint::black_box;
use std::time::Instant;

use yggdrasil_core::commands::{InSteps, KeyLimits, Registry, ShardContext};
use yggdrasil_core::keyspace::{Shard, ShardShape};
use yggdrasil_core::random::Random;
use yggdrasil_core::resp::{Limits, Parsed, Parser, Protocol, Reply, Requests};
use yggdrasil_core::script::Scripts;
use yggdrasil_core::shm::Segment;

const ROUNDS: usize = 21;
const BATCHES: usize = 2_000;
const DEPTH: usize = 64;

fn main() {
    let sets = pipeline(|index| {
        format!("*3\r\n$3\r\nSET\r\n$7\r\nkey:{index:03}\r\n$8\r\nvalue{index:03}\r\n")
    });
    let gets = pipeline(|index| format!("*2\r\n$3\r\nGET\r\n$7\r\nkey:{index:03}\r\n"));
    for (name, input) in [("SET", &sets), ("GET", &gets)] {
        let mut requests = Requests::new();
        report(&format!("parse {name}"), || parse(input, &mut requests));
        let registry = Registry::new();
        report(&format!("look up {name}"), || {
            look_up(&registry, &requests, input)
        });
    }
    execute(&sets, &gets);
}

fn pipeline(request: impl Fn(usize) -> String) -> Vec<u8> {
    (0..DEPTH).map(request).collect::<String>().into_bytes()
}

fn parse(input: &[u8], requests: &mut Requests) {
    requests.clear();
    let (mut parser, mut start) = (Parser::new(), 0);
    while let Ok(Parsed::Request) =
        parser.next(black_box(input), &mut start, &Limits::default(), requests)
    {}
    assert_eq!(requests.len(), DEPTH);
}

fn look_up(registry: &Registry, requests: &Requests, input: &[u8]) {
    for index in 0..requests.len() {
        let found = registry.lookup(black_box(&requests.args(index, input)));
        assert!(black_box(found).is_ok());
    }
}

/// Everything but the network: parsed, looked up, executed in a shard, replied to.
fn execute(sets: &[u8], gets: &[u8]) {
    let shape = ShardShape {
        databases: 1,
        segment_bytes: 1 << 32,
        memory_limit: 1 << 28,
        hash_seed: 1,
        value_bytes_max: 1 << 20,
    };
    let Ok(segment) = Segment::create("bench", shape.segment_bytes) else {
        return println!("no shared memory here");
    };
    let Ok(mapping) = segment.own() else {
        return println!("no shared memory here");
    };
    let Ok(mut shard) = Shard::create(mapping, shape) else {
        return println!("no shard here");
    };
    let registry = Registry::new();
    let limits = KeyLimits::default();
    let (mut requests, mut out) = (Requests::new(), Vec::new());
    for (name, input, reply_bytes) in [("SET", sets, 5), ("GET", gets, 14)] {
        report(&format!("all of {name}"), || {
            out.clear();
            parse(input, &mut requests);
            for index in 0..requests.len() {
                let args = requests.args(index, input);
                let Ok(id) = registry.lookup(&args) else {
                    continue;
                };
                let mut context = ShardContext {
                    shard: &mut shard,
                    db: 0,
                    now: 1_750_000_000_000,
                    hash_seed: 1,
                    first_key_hash: None,
                    limits: &limits,
                    may_wait: false,
                    waits: None,
                    in_steps: InSteps::AtOnce,
                    random: &mut Random::new(0),
                    scripts: &mut Scripts::new(0),
                    shard_index: 0,
                    shard_count: 1,
                    reads: false,
                    untouched: false,
                    hits: 0,
                    misses: 0,
                };
                let mut reply = Reply::new(&mut out, Protocol::Resp2);
                let outcome = registry
                    .spec(id)
                    .run_on_shard(&mut context, &args, &mut reply);
                assert_eq!(outcome, Ok(()));
            }
            assert_eq!(out.len(), DEPTH * reply_bytes);
        });
    }
}

/// Runs a batch of [`DEPTH`] commands often enough and prints what one command takes.
fn report(name: &str, mut batch: impl FnMut()) {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            (0..BATCHES).for_each(|_| batch());
            start.elapsed().as_nanos() as f64 / (BATCHES * DEPTH) as f64
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    println!(
        "{name:<12} {:6.1} ns best {:6.1} ns median",
        rounds[0],
        rounds[ROUNDS / 2]
    );
}
