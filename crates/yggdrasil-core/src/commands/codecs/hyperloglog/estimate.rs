//! The cardinality that registers tell of (Ertl 2017, arXiv:1702.01284).

use super::{REGISTERS, SEARCHED_BITS};

/// 1 / (2 ln 2).
const ALPHA: f64 = 0.721_347_520_444_481_7;

/// The cardinality by the numbers of registers of each value.
pub fn estimate(histogram: &[u32; 64]) -> u64 {
    let registers = REGISTERS as f64;
    let full = f64::from(histogram[SEARCHED_BITS as usize + 1]);
    let mut sum = registers * tau((registers - full) / registers);
    for count in histogram[1..=SEARCHED_BITS as usize].iter().rev() {
        sum = (sum + f64::from(*count)) * 0.5;
    }
    sum += registers * sigma(f64::from(histogram[0]) / registers);
    (ALPHA * registers * registers / sum).round() as u64
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if before == z {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if before == z {
            return z / 3.0;
        }
    }
}
