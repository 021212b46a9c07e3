use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::error::Error;
use crate::histogram::Histogram;
use crate::hold;

const WORST_KEPT: usize = 10;

/// PING on one connection every `interval`, for `duration` or until a line arrives on standard input.
pub fn run(address: &str, interval: Duration, duration: Option<Duration>) -> Result<Value, Error> {
    let stop = stop_at_line(duration.is_some());
    let mut stream = hold::connect(address)?;
    hold::ping(&mut stream, address)?;
    let mut latencies = Histogram::new();
    let mut worst: Vec<(Duration, Duration)> = Vec::new();
    let mut operations = 0;
    let start = Instant::now();
    loop {
        let sent = Instant::now();
        let elapsed = sent - start;
        if duration.map_or_else(|| stop.load(Ordering::Relaxed), |limit| elapsed >= limit) {
            break;
        }
        hold::ping(&mut stream, address)?;
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
        "errors": 0,
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
