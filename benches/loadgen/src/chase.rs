//! What one access to memory takes that depends on the one before: the floor under every read of so much data.

use std::time::Instant;

use serde_json::{Value, json};

use crate::workload::random_below;

/// Words of a cache line; the first says which line comes next.
const LINE_WORDS: usize = 8;
const STEPS: u64 = 4_000_000;

pub fn run(bytes: usize, seed: u64) -> Value {
    let lines = (bytes / size_of::<[u64; LINE_WORDS]>()).max(2);
    let mut memory = vec![[0_u64; LINE_WORDS]; lines];
    for (number, line) in memory.iter_mut().enumerate() {
        line[0] = number as u64;
    }
    // One cycle through all lines (Sattolo 1986).
    let mut random = seed;
    for last in (1..lines).rev() {
        let other = random_below(&mut random, last as u64) as usize;
        let (from, to) = (memory[last][0], memory[other][0]);
        (memory[last][0], memory[other][0]) = (to, from);
    }
    let (start, mut at) = (Instant::now(), 0);
    for _ in 0..STEPS {
        at = memory[at as usize][0];
    }
    let elapsed = start.elapsed();
    json!({
        "bytes": bytes,
        "last": at,
        "access_ns": elapsed.as_nanos() as f64 / STEPS as f64,
        "errors": 0,
    })
}
