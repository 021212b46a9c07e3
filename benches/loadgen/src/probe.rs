//! One client that asks for little, again and again, and how long it waits for each answer.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::error::Error;
use crate::histogram::Histogram;
use crate::hold;
use crate::workload::{Request, Verdict, Workload, random_below};

const WORST_KEPT: usize = 10;

/// What is asked for every `interval`, for `duration` or until a line arrives on standard input.
#[derive(Clone, Debug)]
pub struct Options {
    pub address: String,
    pub interval: Duration,
    pub duration: Option<Duration>,
    pub seed: u64,
    /// Random GETs of such keys; otherwise PING.
    pub values: Option<Values>,
}

/// Keys that are there.
#[derive(Clone, Copy, Debug)]
pub struct Values {
    pub keys: u64,
    pub bytes: usize,
}

/// Random GETs on one connection.
struct Gets {
    workload: Workload,
    keys: u64,
    random: u64,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Gets {
    fn new(values: Values, seed: u64) -> Self {
        let workload = Workload::new(values.bytes);
        Self {
            answer: vec![0; workload.reply_bytes_max()],
            workload,
            keys: values.keys,
            random: seed,
            request: Vec::new(),
        }
    }

    /// Chooses a key; what follows is timed.
    fn prepare(&mut self) -> Request {
        let request = Request {
            key: random_below(&mut self.random, self.keys),
            is_get: true,
        };
        self.request.clear();
        self.workload.append(request, &mut self.request);
        request
    }

    /// Whether the answer is right.
    fn ask(&mut self, request: Request, stream: &mut TcpStream) -> io::Result<bool> {
        stream.write_all(&self.request)?;
        let mut filled = 0;
        loop {
            filled += stream.read(&mut self.answer[filled..])?;
            match self.workload.check(request, &self.answer[..filled]) {
                Verdict::Right { .. } => return Ok(true),
                Verdict::Incomplete if filled < self.answer.len() => {}
                _ => return Ok(false),
            }
        }
    }
}

pub fn run(options: &Options) -> Result<Value, Error> {
    let (address, interval, duration) = (&options.address, options.interval, options.duration);
    let stop = stop_at_line(duration.is_some());
    let mut stream = hold::connect(address)?;
    hold::ping(&mut stream, address)?;
    let mut gets = options.values.map(|values| Gets::new(values, options.seed));
    let mut errors = 0;
    let mut latencies = Histogram::new();
    let mut worst: Vec<(Duration, Duration)> = Vec::new();
    let mut operations = 0;
    let start = Instant::now();
    loop {
        let request = gets.as_mut().map(Gets::prepare);
        let sent = Instant::now();
        let elapsed = sent - start;
        if duration.map_or_else(|| stop.load(Ordering::Relaxed), |limit| elapsed >= limit) {
            break;
        }
        match gets.as_mut().zip(request) {
            None => hold::ping(&mut stream, address)?,
            Some((gets, request)) => {
                let right = gets.ask(request, &mut stream);
                let right = right.map_err(|source| Error::Connection {
                    address: address.clone(),
                    source,
                })?;
                errors += u64::from(!right);
            }
        }
        let latency = sent.elapsed();
        latencies.record(latency, 1);
        operations += 1;
        keep_worst(&mut worst, (latency, elapsed));
        thread::sleep(interval.saturating_sub(latency));
    }
    let worst: Vec<Value> = worst
        .iter()
        .map(|(latency, at)| json!({ "us": latency.as_micros() as u64, "at_s": at.as_secs_f64() }))
        .collect();
    Ok(json!({
        "operations": operations,
        "seconds": start.elapsed().as_secs_f64(),
        "latency_us": latencies.to_json(),
        "worst": worst,
        "errors": errors,
    }))
}

/// Becomes true when a line arrives on standard input, unless the end `is_known` from something else.
pub fn stop_at_line(is_known: bool) -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    if is_known {
        return stop;
    }
    let seen = Arc::clone(&stop);
    thread::spawn(move || {
        let _ = io::stdin().read_line(&mut String::new());
        seen.store(true, Ordering::Relaxed);
    });
    stop
}

/// Keeps the longest latencies in descending order, each with the moment it began.
fn keep_worst(worst: &mut Vec<(Duration, Duration)>, sample: (Duration, Duration)) {
    if worst.len() == WORST_KEPT && worst.last().is_some_and(|least| sample.0 <= least.0) {
        return;
    }
    let at = worst.partition_point(|kept| kept.0 >= sample.0);
    worst.insert(at, sample);
    worst.truncate(WORST_KEPT);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_latencies_are_kept_in_order() {
        let mut worst = Vec::new();
        for ms in [5, 1, 30, 2, 9, 7, 7, 12, 3, 8, 40, 6, 4] {
            keep_worst(&mut worst, (Duration::from_millis(ms), Duration::ZERO));
        }
        let kept: Vec<u128> = worst
            .iter()
            .map(|(latency, _)| latency.as_millis())
            .collect();
        assert_eq!(kept, [40, 30, 12, 9, 8, 7, 7, 6, 5, 4]);
    }
}
