use std::time::Duration;

use serde_json::{Value, json};

/// 64 positions for each power of two: a value is known to within 1.6%.
const SUB_BITS: u32 = 6;
const POSITIONS: usize = (65 - SUB_BITS as usize) << SUB_BITS;

/// Counts of durations in nanoseconds, logarithmic with linear steps in between.
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max_ns: u64,
}

impl Histogram {
    pub fn new() -> Self {
        Self {
            counts: vec![0; POSITIONS],
            total: 0,
            max_ns: 0,
        }
    }

    pub fn record(&mut self, duration: Duration, count: u64) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.counts[position(ns)] += count;
        self.total += count;
        self.max_ns = self.max_ns.max(ns);
    }

    /// The largest value of the position below which `share` of all values lie.
    fn quantile_ns(&self, share: f64) -> u64 {
        let wanted = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (at, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return upper_bound(at).min(self.max_ns);
            }
        }
        self.max_ns
    }

    pub fn to_json(&self) -> Value {
        let us = |ns: u64| (ns as f64 / 10.0).round() / 100.0;
        json!({
            "p50": us(self.quantile_ns(0.50)),
            "p90": us(self.quantile_ns(0.90)),
            "p99": us(self.quantile_ns(0.99)),
            "p99.9": us(self.quantile_ns(0.999)),
            "max": us(self.max_ns),
        })
    }
}

fn position(ns: u64) -> usize {
    if ns >> SUB_BITS == 0 {
        return ns as usize;
    }
    let exponent = ns.ilog2() - SUB_BITS;
    let sub = (ns >> exponent) as usize & ((1 << SUB_BITS) - 1);
    ((exponent as usize + 1) << SUB_BITS) + sub
}

fn upper_bound(position: usize) -> u64 {
    let row = position >> SUB_BITS;
    let sub = (position & ((1 << SUB_BITS) - 1)) as u64;
    if row == 0 {
        return sub;
    }
    let exponent = row - 1;
    let lower = ((1 << SUB_BITS) + sub) << exponent;
    lower + ((1 << exponent) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_covers_exactly_the_values_up_to_its_bound() {
        for ns in (0..5_000).chain([1 << 20, (1 << 40) + 12_345, u64::MAX]) {
            let at = position(ns);
            assert!(at < POSITIONS);
            assert!(ns <= upper_bound(at));
            assert!(at == 0 || ns > upper_bound(at - 1));
        }
    }

    #[test]
    fn quantiles_are_within_two_percent() {
        let mut histogram = Histogram::new();
        for us in 1..=1_000 {
            histogram.record(Duration::from_micros(us), 1);
        }
        for (share, us) in [(0.5, 500.0), (0.99, 990.0), (0.999, 999.0)] {
            let measured = histogram.quantile_ns(share) as f64 / 1_000.0;
            assert!((measured / us - 1.0).abs() < 0.02, "{measured} for {us}");
        }
        assert_eq!(histogram.quantile_ns(1.0), 1_000_000);
    }
}
