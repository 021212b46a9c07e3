//! What a request costs in the engine of one worker, everything but sockets: received, executed, its reply taken.
//!
//! `cargo bench -p yggdrasil-core --bench engine` prints nanoseconds a request. For instructions, run one case under
//! `valgrind --tool=callgrind --toggle-collect='*measured*'` by naming it: `engine GET 16`.

use std::hint::black_box;
use std::time::Instant;

use yggdrasil_core::control::{Control, NodeShape};
use yggdrasil_core::engine::{Clock, Engine, Listener, Options, Parts, Peer, SessionRef};
use yggdrasil_core::keyspace::{Shard, ShardShape};
use yggdrasil_core::lease::Holders;
use yggdrasil_core::shm::Segment;

const SHAPE: NodeShape = NodeShape {
    shards: 1,
    arena_bytes: 1 << 32,
    ring_bytes: 1 << 16,
    databases: 16,
    hash_seed: 1,
};
const KEYS: usize = 100_000;
const REQUESTS: usize = 64_000;
const ROUNDS: usize = 9;
const COMMANDS: [&str; 3] = ["GET", "SET", "MGET"];
const DEPTHS: [usize; 3] = [1, 16, 64];

fn main() {
    let named: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with('-'))
        .collect();
    let (mut engine, client) = engine();
    if let [command, depth] = &named[..] {
        let depth = depth.parse().expect("a depth is a number");
        let batches = batches(command, depth);
        measured(&mut engine, client, &batches);
        return;
    }
    for command in COMMANDS {
        for depth in DEPTHS {
            let batches = batches(command, depth);
            let best = (0..ROUNDS).map(|_| {
                let start = Instant::now();
                measured(&mut engine, client, &batches);
                start.elapsed().as_nanos() as f64 / (batches.len() * depth) as f64
            });
            let best = best.fold(f64::INFINITY, f64::min);
            println!("{command:4} depth {depth:2}: {best:6.0} ns");
        }
    }
}

/// What one client sends, a batch at a time.
fn batches(command: &str, depth: usize) -> Vec<Vec<u8>> {
    let mut number = 7_usize;
    let mut key = || {
        number = (number * 1_664_525 + 1_013_904_223) % KEYS;
        format!("key:{number:06}")
    };
    let mut request = || {
        let mut words = vec![command.to_owned()];
        match command {
            "GET" => words.push(key()),
            "SET" => words.extend([key(), "v".repeat(64)]),
            _ => words.extend((0..10).map(|_| key())),
        }
        encoded(&words)
    };
    (0..REQUESTS / depth)
        .map(|_| (0..depth).flat_map(|_| request()).collect())
        .collect()
}

fn encoded(words: &[String]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len());
    for word in words {
        bytes.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    bytes.into_bytes()
}

#[inline(never)]
fn measured(engine: &mut Engine, client: SessionRef, batches: &[Vec<u8>]) {
    let mut ready = Vec::new();
    for batch in batches {
        engine.receive(client, black_box(batch));
        engine.take_ready(&mut ready);
        ready.clear();
        let sent = black_box(engine.unsent(client)).len();
        engine.sent(client, sent, true);
    }
}

fn engine() -> (Engine, SessionRef) {
    let control = Control::open(Control::create(&SHAPE).unwrap(), SHAPE).unwrap();
    let arena = Segment::create("bench", SHAPE.arena_bytes).unwrap();
    let mut options = Options::unset();
    for (name, value) in [
        ("maxclients", "100"),
        ("proto-max-bulk-len", "536870912"),
        ("client-query-buffer-limit", "1073741824"),
        ("slowlog-log-slower-than", "10000"),
        ("maxmemory", "1099511627776"),
        ("maxmemory-policy", "noeviction"),
    ] {
        options.set(name, value).unwrap();
    }
    let shape = ShardShape {
        databases: SHAPE.databases as u16,
        segment_bytes: SHAPE.arena_bytes,
        memory_limit: options.memory_limit,
        hash_seed: SHAPE.hash_seed,
        value_bytes_max: SHAPE.arena_bytes,
    };
    let holders = Holders::new(0, [control.lease_page(0)]);
    let shard = Shard::create_beside(holders, arena.own().unwrap(), shape).unwrap();
    let mut engine = Engine::new(Parts {
        shard_index: 0,
        control,
        shard,
        readers: vec![None],
        options,
        clock: Clock {
            unix_ms: || 1_700_000_000_000,
            unix_us: || 1_700_000_000_000_000,
            ticks: || 0,
            ns_per_tick: 1 << 32,
        },
    });
    let client = engine.open(&Peer {
        address: "127.0.0.1:1".into(),
        local_address: "127.0.0.1:2".into(),
        descriptor: -1,
        listener: Listener::Common,
        secure: false,
    });
    let client = client.unwrap();
    for number in 0..KEYS {
        let words = ["SET".to_owned(), format!("key:{number:06}"), "v".repeat(64)];
        engine.receive(client, &encoded(&words));
        engine.take_ready(&mut Vec::new());
        let sent = engine.unsent(client).len();
        engine.sent(client, sent, true);
    }
    (engine, client)
}
