//! One client that reads many values at once, again and again, and checks all of them.

use std::io::{Read, Write};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::error::Error;
use crate::histogram::Histogram;
use crate::hold;
use crate::probe::stop_at_line;
use crate::workload::{Workload, key_bytes};

/// What is read, until a line arrives on standard input unless there is a `duration`.
#[derive(Clone, Debug)]
pub struct Options {
    pub address: String,
    /// All in one MGET.
    pub keys: u64,
    pub value_bytes: usize,
    pub duration: Option<Duration>,
}

pub fn run(options: &Options) -> Result<Value, Error> {
    let stop = stop_at_line(options.duration.is_some());
    let workload = Workload::new(options.value_bytes);
    let mut request = format!("*{}\r\n$4\r\nMGET\r\n", options.keys + 1).into_bytes();
    let mut expected = format!("*{}\r\n", options.keys).into_bytes();
    for key in 0..options.keys {
        request.extend_from_slice(b"$16\r\n");
        request.extend_from_slice(&key_bytes(key));
        request.extend_from_slice(b"\r\n");
        workload.append_answer(key, &mut expected);
    }
    let mut stream = hold::connect(&options.address)?;
    let (mut latency, mut operations, mut errors) = (Histogram::new(), 0_u64, 0);
    let mut answer = vec![0; expected.len()];
    let start = Instant::now();
    while options.duration.map_or_else(
        || !stop.load(Ordering::Relaxed),
        |limit| start.elapsed() < limit,
    ) {
        let sent = Instant::now();
        let read = stream.write_all(&request);
        read.and_then(|()| stream.read_exact(&mut answer))
            .map_err(|source| Error::Connection {
                address: options.address.clone(),
                source,
            })?;
        latency.record(sent.elapsed(), 1);
        errors += u64::from(answer != expected);
        operations += 1;
    }
    Ok(json!({
        "operations": operations,
        "bytes": operations * expected.len() as u64,
        "seconds": start.elapsed().as_secs_f64(),
        "latency_us": latency.to_json(),
        "errors": errors,
    }))
}
