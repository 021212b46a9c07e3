//! What a request costs in the engine of one worker, everything but sockets: received, executed, its reply taken.
//!
//! `cargo bench -p yggdrasil-core --bench engine` prints nanoseconds a request. For instructions, run one case under
//! `valgrind --tool=callgrind --toggle-collect='*measured*'` by naming it: `engine GET 16`.

#[path = "setup/engine.rs"]
mod setup;

use std::hint::black_box;
use std::time::Instant;

use yggdrasil_core::engine::{Engine, SessionRef};
use yggdrasil_core::random::Random;

/// Keys of strings, and elements of large collections.
const KEYS: usize = 100_000;
const REQUESTS: usize = 64_000;
/// Requests for replies of hundreds of elements.
const LONG_REQUESTS: usize = 3_200;
const ROUNDS: usize = 9;
const DEPTHS: [usize; 3] = [1, 16, 64];

/// A request that is measured.
struct Case {
    name: &'static str,
    /// Words, in which each `#` is a random number of [`KEYS`], and `+` the number of the request.
    request: &'static str,
    /// How often something is to be executed before.
    fill: &'static [(usize, &'static str)],
    requests: usize,
    shards: usize,
}

const fn case(
    name: &'static str,
    request: &'static str,
    fill: &'static [(usize, &'static str)],
) -> Case {
    Case {
        name,
        request,
        fill,
        requests: REQUESTS,
        shards: 1,
    }
}

const fn long(
    name: &'static str,
    request: &'static str,
    fill: &'static [(usize, &'static str)],
) -> Case {
    Case {
        requests: LONG_REQUESTS,
        ..case(name, request, fill)
    }
}

/// A limit of a rate by a script of three lines.
const EVAL: &str = "EVAL local\tn=redis.call('INCR',KEYS[1])\nif\tn==1\tthen\tredis.call('EXPIRE',KEYS[1],60)\tend\n\
                    return\tn 1 {b}counter:#";

const STRINGS: &[(usize, &str)] = &[(
    KEYS,
    "SET key:+ value:0123456789:0123456789:0123456789:0123",
)];
const HASH: &[(usize, &str)] = &[(KEYS, "HSET hash field:+ value:0123456789")];
const SET: &[(usize, &str)] = &[(KEYS, "SADD set member:+")];
const SORTED: &[(usize, &str)] = &[(KEYS, "ZADD sorted # member:+")];
const LIST: &[(usize, &str)] = &[(KEYS, "LPUSH list value:0123456789")];
const STREAM: &[(usize, &str)] = &[(1_000, "XADD stream * field value:0123456789")];
const TEN_FIELDS: &[(usize, &str)] = &[(10, "HSET small field:+ value:0123456789")];
const TEN_MEMBERS: &[(usize, &str)] = &[(10, "SADD small member:+")];
const TEN_SCORES: &[(usize, &str)] = &[(10, "ZADD small # member:+")];
const TEN_ELEMENTS: &[(usize, &str)] = &[(10, "RPUSH small value:0123456789")];

const CASES: &[Case] = &[
    case("GET", "GET key:#", STRINGS),
    case(
        "SET",
        "SET key:# value:0123456789:0123456789:0123456789:0123",
        STRINGS,
    ),
    case(
        "MGET",
        "MGET key:# key:# key:# key:# key:# key:# key:# key:# key:# key:#",
        STRINGS,
    ),
    case("INCR", "INCR counter:#", &[]),
    case("HSET", "HSET hash field:# value:0123456789", HASH),
    case("HGET", "HGET hash field:#", HASH),
    case("LPUSH", "LPUSH list value:0123456789", LIST),
    case("RPOP", "RPOP list", LIST),
    case("SADD", "SADD set member:#", &[]),
    case("SISMEMBER", "SISMEMBER set member:#", SET),
    case("ZADD", "ZADD sorted # member:#", SORTED),
    case("ZSCORE", "ZSCORE sorted member:#", SORTED),
    case("ZRANGE", "ZRANGE sorted 1000 1009", SORTED),
    case("XADD", "XADD stream * field value:0123456789", STREAM),
    case(
        "HSET-packed",
        "HSET small field:000000000003 value:#",
        TEN_FIELDS,
    ),
    case("HGET-packed", "HGET small field:000000000009", TEN_FIELDS),
    case("SADD-packed", "SADD few:# member:0", &[]),
    case(
        "SISMEMBER-packed",
        "SISMEMBER small member:000000000009",
        TEN_MEMBERS,
    ),
    case(
        "ZADD-packed",
        "ZADD small # member:000000000003",
        TEN_SCORES,
    ),
    case("RPOPLPUSH-packed", "RPOPLPUSH small small", TEN_ELEMENTS),
    case("EVAL", EVAL, &[]),
    Case {
        shards: 2,
        ..case("EVAL-of-two", EVAL, &[])
    },
    long(
        "LRANGE-600",
        "LRANGE long 0 599",
        &[(600, "RPUSH long value:0123456789")],
    ),
    long(
        "HGETALL-100",
        "HGETALL hundred",
        &[(100, "HSET hundred field:+ value")],
    ),
    long("ZRANGE-500", "ZRANGE sorted 0 499", SORTED),
    long(
        "SMEMBERS-500",
        "SMEMBERS members",
        &[(500, "SADD members member:+")],
    ),
];

fn main() {
    let named: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with('-'))
        .collect();
    if let [name, depth] = &named[..] {
        let depth = depth.parse().expect("a depth is a number");
        let case = CASES.iter().find(|case| case.name == name);
        let mut worker = Worker::of(case.expect("a case has this name"));
        let batches = worker.batches(depth);
        worker.measured(&batches);
        return;
    }
    for case in CASES {
        let mut worker = Worker::of(case);
        for depth in DEPTHS {
            let batches = worker.batches(depth);
            let best = (0..ROUNDS).map(|_| {
                let start = Instant::now();
                worker.measured(&batches);
                start.elapsed().as_nanos() as f64 / (batches.len() * depth) as f64
            });
            let best = best.fold(f64::INFINITY, f64::min);
            println!("{:16} depth {depth:2}: {best:6.0} ns", case.name);
        }
    }
}

fn encoded(request: &str, mut random: impl FnMut() -> usize, number: usize) -> Vec<u8> {
    let words: Vec<String> = request
        .split(' ')
        .map(|word| {
            let word = word.replace('+', &format!("{number:012}"));
            match word.split_once('#') {
                Some((before, behind)) => format!("{before}{:012}{behind}", random()),
                None => word,
            }
        })
        .collect();
    let mut bytes = format!("*{}\r\n", words.len());
    for word in words {
        bytes.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    bytes.into_bytes()
}

/// An engine with one client.
struct Worker {
    case: &'static Case,
    engine: Engine,
    client: SessionRef,
}

impl Worker {
    /// One that has what a case needs.
    fn of(case: &'static Case) -> Self {
        let (engine, client) = setup::engine_of(case.shards);
        let mut worker = Self {
            case,
            engine,
            client,
        };
        let mut random = Random::new(7);
        for (count, request) in case.fill {
            for number in 0..*count {
                let draw = || (random.draw() % KEYS as u64) as usize;
                let batch = encoded(request, draw, number);
                worker.prepare(&batch);
            }
        }
        worker
    }

    /// What the client sends, a batch at a time.
    fn batches(&self, depth: usize) -> Vec<Vec<u8>> {
        let mut random = Random::new(11);
        let mut draw = || (random.draw() % KEYS as u64) as usize;
        (0..self.case.requests / depth)
            .map(|batch| {
                (0..depth)
                    .flat_map(|number| {
                        encoded(self.case.request, &mut draw, batch * depth + number)
                    })
                    .collect()
            })
            .collect()
    }

    #[inline(never)]
    fn measured(&mut self, batches: &[Vec<u8>]) {
        for batch in batches {
            self.exchange(batch);
        }
    }

    /// Executes a request before anything is measured.
    #[inline(never)]
    fn prepare(&mut self, batch: &[u8]) {
        self.exchange(batch);
    }

    #[inline(always)]
    fn exchange(&mut self, batch: &[u8]) {
        let mut ready = Vec::new();
        self.engine.receive(self.client, black_box(batch));
        self.engine.take_ready(&mut ready);
        let sent = black_box(self.engine.unsent(self.client)).len();
        self.engine.sent(self.client, sent, true);
    }
}
