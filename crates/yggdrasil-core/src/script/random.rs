//! The random numbers of scripts: the generator of 48 bits of POSIX, so that a seed gives the same numbers everywhere.

use std::cell::Cell;

use super::stack::{Failure, Outcome, Stack};

const MULTIPLIER: u64 = 0x5_DEEC_E66D;
const INCREMENT: u64 = 0xB;
const MASK: u64 = (1 << 48) - 1;
/// The lower bits of a seeded state.
const SEED_LOW: u64 = 0x330E;
pub const START: u64 = 0x1234_ABCD_330E;
/// Numbers are below this.
const MAX: u64 = 0x7FFF_FFFF;

/// The state of the generator.
pub struct Random(Cell<u64>);

impl Default for Random {
    fn default() -> Self {
        Self(Cell::new(START))
    }
}

impl Random {
    fn next(&self) -> u64 {
        let state = self
            .0
            .get()
            .wrapping_mul(MULTIPLIER)
            .wrapping_add(INCREMENT)
            & MASK;
        self.0.set(state);
        state >> 17
    }

    pub fn state(&self) -> u64 {
        self.0.get()
    }

    pub fn set_state(&self, state: u64) {
        self.0.set(state);
    }

    fn seed(&self, seed: i32) {
        self.0.set(u64::from(seed as u32) << 16 | SEED_LOW);
    }
}

/// `math.random`.
pub fn random(stack: Stack) -> Outcome {
    let part = (stack.host().random.next() % MAX) as f64 / MAX as f64;
    let arguments = stack.top();
    let value = match arguments {
        0 => part,
        1 => {
            let upper = stack.check_integer(1)? as i32;
            if upper < 1 {
                return Err(Failure::Argument(1, "interval is empty".into()));
            }
            (part * f64::from(upper)).floor() + 1.0
        }
        2 => {
            let (lower, upper) = (
                stack.check_integer(1)? as i32,
                stack.check_integer(2)? as i32,
            );
            if lower > upper {
                return Err(Failure::Argument(2, "interval is empty".into()));
            }
            let width = upper.wrapping_sub(lower).wrapping_add(1);
            (part * f64::from(width)).floor() + f64::from(lower)
        }
        _ => return Err(Failure::at("wrong number of arguments")),
    };
    stack.push_number(value);
    Ok(1)
}

/// `math.randomseed`.
pub fn seed(stack: Stack) -> Outcome {
    let seed = stack.check_integer(1)? as i32;
    stack.host().random.seed(seed);
    Ok(0)
}
