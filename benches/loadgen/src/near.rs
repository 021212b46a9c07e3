//! Reads through shared memory, one after the other, each timed and checked.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use yggdrasil_near::{NearReader, Options as NearOptions};

use crate::error::Error;
use crate::histogram::Histogram;
use crate::workload::{KEY_BYTES, Zipf, key_bytes, random_below};

/// What is read, and for how long.
#[derive(Clone, Debug)]
pub struct Options {
    pub path: String,
    pub keys: u64,
    pub value_bytes: usize,
    pub seed: u64,
    /// Of Zipf's distribution, 0 to less than 1; without it all keys are chosen equally often.
    pub skew: Option<f64>,
    pub duration: Duration,
}

pub fn run(options: &Options) -> Result<Value, Error> {
    let failed = |source| Error::Near {
        path: options.path.clone(),
        source,
    };
    let mut reader = NearReader::connect(&options.path, &NearOptions::default()).map_err(failed)?;
    // Every page is mapped once before: a page fault is the system's, and comes once.
    for key in 0..options.keys {
        reader.get(&key_bytes(key)).map_err(failed)?;
    }
    let (mut latency, mut clock) = (Histogram::new(), Histogram::new());
    let (mut operations, mut errors, mut random) = (0_u64, 0_u64, options.seed);
    let zipf = options.skew.map(|skew| Zipf::new(options.keys, skew));
    let start = Instant::now();
    while operations % 1024 != 0 || start.elapsed() < options.duration {
        let key = key_bytes(match &zipf {
            None => random_below(&mut random, options.keys),
            Some(zipf) => zipf.next(&mut random),
        });
        let before = Instant::now();
        let value = reader.get(&key).map_err(failed)?;
        let after = Instant::now();
        let right = value.is_some_and(|value| {
            let embedded = value.len().min(KEY_BYTES);
            value.len() == options.value_bytes && value.starts_with(&key[KEY_BYTES - embedded..])
        });
        errors += u64::from(!right);
        latency.record(after - before, 1);
        clock.record(after.elapsed(), 1);
        operations += 1;
    }
    Ok(json!({
        "mode": "near",
        "operations": operations,
        "errors": errors,
        "seconds": start.elapsed().as_secs_f64(),
        "latency_us": latency.to_json(),
        "clock_us": clock.to_json(),
    }))
}
