//! Runs of equal registers.

use std::fmt;

use super::{Invalid, REGISTERS};

/// The largest value of a run.
const VALUE_MAX: u8 = 32;
/// The most registers of a run with a value, and of one of zeros in a byte.
const VALUES_MAX: usize = 4;
const ZEROS_MAX: usize = 64;
/// Runs that are looked at for neighbours to join, beginning before a change.
const JOINED_AT_MOST: usize = 5;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Run {
    /// 0 for a run of zeros.
    pub value: u8,
    pub len: usize,
    /// Its bytes.
    pub bytes: usize,
}

impl Run {
    /// The run at the beginning of bytes.
    fn first(bytes: &[u8]) -> Option<Self> {
        let (&first, rest) = bytes.split_first()?;
        Some(if first & 0x80 != 0 {
            Self {
                value: (first >> 2 & 0x1f) + 1,
                len: usize::from(first & 3) + 1,
                bytes: 1,
            }
        } else if first & 0x40 != 0 {
            Self {
                value: 0,
                len: (usize::from(first & 0x3f) << 8 | usize::from(*rest.first()?)) + 1,
                bytes: 2,
            }
        } else {
            Self {
                value: 0,
                len: usize::from(first) + 1,
                bytes: 1,
            }
        })
    }
}

/// Goes through runs to their end, or to what is none.
pub struct Runs<'a>(&'a [u8]);

impl<'a> Runs<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
}

impl Iterator for Runs<'_> {
    type Item = Run;

    fn next(&mut self) -> Option<Run> {
        let run = Run::first(self.0)?;
        self.0 = &self.0[run.bytes..];
        Some(run)
    }
}

/// Appends a run of zeros, unless it is empty.
pub fn put_zeros(out: &mut Vec<u8>, len: usize) {
    match len {
        0 => {}
        1..=ZEROS_MAX => out.push((len - 1) as u8),
        _ => out.extend([0x40 | ((len - 1) >> 8) as u8, (len - 1) as u8]),
    }
}

/// Appends a run of registers of a value, unless it is empty.
fn put_values(out: &mut Vec<u8>, value: u8, len: usize) {
    if len > 0 {
        out.push(0x80 | (value - 1) << 2 | (len - 1) as u8);
    }
}

pub enum Raised {
    /// The register has such a value.
    Already,
    /// A run cannot say the value.
    TooLarge,
    /// The runs with the register raised.
    Runs(Vec<u8>),
}

/// Raises one register.
pub fn raise(runs: &[u8], index: usize, value: u8) -> Result<Raised, Invalid> {
    debug_assert!(index < REGISTERS);
    if value > VALUE_MAX {
        return Ok(Raised::TooLarge);
    }
    let (mut at, mut before, mut first) = (0, 0, 0);
    let run = loop {
        let run = Run::first(&runs[at..]).ok_or(Invalid::Corrupt)?;
        if index < first + run.len {
            break run;
        }
        (before, at, first) = (at, at + run.bytes, first + run.len);
    };
    if run.value >= value {
        return Ok(Raised::Already);
    }
    let mut raised = runs[..at].to_vec();
    let (ahead, behind) = (index - first, first + run.len - 1 - index);
    if run.value == 0 {
        put_zeros(&mut raised, ahead);
        put_values(&mut raised, value, 1);
        put_zeros(&mut raised, behind);
    } else {
        put_values(&mut raised, run.value, ahead);
        put_values(&mut raised, value, 1);
        put_values(&mut raised, run.value, behind);
    }
    raised.extend_from_slice(&runs[at + run.bytes..]);
    join(&mut raised, before);
    Ok(Raised::Runs(raised))
}

/// Joins neighbours of the same value, from a place on.
fn join(runs: &mut Vec<u8>, from: usize) {
    let mut at = from;
    for _ in 0..JOINED_AT_MOST {
        let Some(run) = Run::first(&runs[at..]) else {
            return;
        };
        let next = Run::first(&runs[at + run.bytes..]);
        match next.filter(|next| run.value > 0 && next.value == run.value) {
            Some(next) if run.len + next.len <= VALUES_MAX => {
                runs[at + 1] = 0x80 | (run.value - 1) << 2 | (run.len + next.len - 1) as u8;
                runs.remove(at);
            }
            _ => at += run.bytes,
        }
    }
}

impl fmt::Display for Run {
    /// As PFDEBUG DECODE shows it.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.value, self.bytes) {
            (0, 1) => write!(out, "z:{}", self.len),
            (0, _) => write!(out, "Z:{}", self.len),
            (value, _) => write!(out, "v:{value},{}", self.len),
        }
    }
}
