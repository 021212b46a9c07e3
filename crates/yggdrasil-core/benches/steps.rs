//! The longest steps of an engine while its client works on very large collections:
//! `cargo bench --bench steps -- [MEMBERS]`.
//!
//! One step is what a worker does in a round of its loop: what it has received is executed, what is due is done, some of
//! what waits is sent. Given are the longest steps of a phase in processor time, so that other programs on the machine
//! do not count.

#[path = "setup/engine.rs"]
mod setup;

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use yggdrasil_core::engine::{Engine, SessionRef};

const MEMBERS: usize = 1_000_000;
/// Elements that one request adds.
const BATCH: usize = 100;
/// Bytes that are sent in a round.
const ROUND_BYTES: usize = 1 << 20;

struct Bench {
    engine: Engine,
    client: SessionRef,
    steps: Vec<Duration>,
    sent: usize,
}

fn main() {
    let mut numbers = std::env::args()
        .skip(1)
        .filter_map(|word| word.parse().ok());
    let members = numbers.next().unwrap_or(MEMBERS);
    let mut bench = Bench::new();
    println!("{members} members; microseconds of processor time of the longest steps");
    let all = members - 1;
    for (make, kind) in [
        ("ZADD", "sorted"),
        ("SADD", "set"),
        ("HSET", "hash"),
        ("RPUSH", "list"),
    ] {
        bench.build(make, kind, members);
    }
    for request in [
        "LRANGE list 0 -1",
        "HGETALL hash",
        "SMEMBERS set",
        &format!("SRANDMEMBER set -{members}"),
        &format!("SRANDMEMBER set {}", members / 2),
        "ZRANGE sorted 0 -1 REV WITHSCORES",
        "ZRANGE sorted -inf +inf BYSCORE",
        "SINTER set set",
        "SUNION set set",
        "ZUNION 2 sorted set",
        "LPOS list none COUNT 0",
        "SORT list BY nosort",
        "SORT list ALPHA",
        "COPY sorted sorted2",
        "ZUNIONSTORE sorted3 1 sorted",
        "SUNIONSTORE set2 set",
        "LINSERT list BEFORE none x",
        "LREM list 0 none",
        &format!("SPOP set2 {}", members / 2),
        &format!("ZPOPMIN sorted2 {}", members / 2),
        &format!("ZREMRANGEBYRANK sorted3 0 {}", members / 2),
        &format!("LTRIM list {} {all}", members / 2),
        &format!("LPOP list {}", members / 4),
        "SET set2 value",
        "RENAME hash sorted3",
        "DEL sorted",
        "PEXPIRE sorted2 0",
        "FLUSHALL",
    ] {
        bench.ask(request);
    }
}

impl Bench {
    fn new() -> Self {
        let (engine, client) = setup::engine_of(1);
        Self {
            engine,
            client,
            steps: Vec::new(),
            sent: 0,
        }
    }

    /// Makes a collection of so many elements.
    fn build(&mut self, command: &str, key: &str, members: usize) {
        for first in (0..members).step_by(BATCH) {
            let mut words = vec![command.to_owned(), key.to_owned()];
            for member in first..members.min(first + BATCH) {
                let name = format!("member:{:08}", member * 7919 % members);
                match command {
                    "ZADD" => words.extend([member.to_string(), name]),
                    "HSET" => words.extend([name, "value:0123456789".to_owned()]),
                    _ => words.push(name),
                }
            }
            self.serve(&words);
        }
        self.report(&format!("{command} of {BATCH}"));
    }

    fn ask(&mut self, request: &str) {
        let words: Vec<String> = request.split(' ').map(str::to_owned).collect();
        self.serve(&words);
        self.report(request);
        let mut more = true;
        while more {
            self.timed(|bench| more = bench.engine.tick());
        }
        self.report("    housekeeping behind it");
    }

    /// Rounds until nothing is left to be done.
    fn serve(&mut self, words: &[String]) {
        let request = encoded(words);
        self.timed(|bench| {
            bench.engine.receive(bench.client, &request);
            bench.send();
        });
        while self.engine.has_steps() || !self.engine.unsent(self.client).is_empty() {
            self.timed(|bench| {
                bench.send();
                bench.engine.step();
            });
        }
    }

    fn send(&mut self) {
        self.engine.take_ready(&mut Vec::new());
        let mut left = ROUND_BYTES;
        while left > 0 {
            let sent = self.engine.unsent(self.client).len().min(left);
            if sent == 0 {
                break;
            }
            self.engine.sent(self.client, sent, true);
            left -= sent;
            self.sent += sent;
        }
    }

    fn timed(&mut self, step: impl FnOnce(&mut Self)) {
        let start = processor_time();
        step(self);
        self.steps.push(processor_time().saturating_sub(start));
    }

    fn report(&mut self, what: &str) {
        let mut steps = std::mem::take(&mut self.steps);
        steps.sort_unstable();
        let longest: Vec<String> = steps
            .iter()
            .rev()
            .take(3)
            .map(|step| format!("{:8}", step.as_micros()))
            .collect();
        let total: Duration = steps.iter().sum();
        let sent = std::mem::take(&mut self.sent);
        println!(
            "{what:40} {} of {:7} steps, {:8} in all, {sent:10} bytes",
            longest.join(" "),
            steps.len(),
            total.as_micros()
        );
    }
}

fn encoded(words: &[String]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len());
    for word in words {
        bytes.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    bytes.into_bytes()
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
