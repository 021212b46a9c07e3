//! Lines of a processor's caches over simulated persistent memory: each store, write-back and fence is recorded.
//!
//! A line that is stored to may reach the memory at any time by itself. Only one that was written back, and fenced by the
//! same thread, is sure to.

use std::collections::BTreeMap;
use std::ops::Range;
use std::thread::{self, ThreadId};

use super::Damage;

const LINE_BYTES: usize = 64;
/// Stores of so many bytes reach the memory as a whole.
const WORD_BYTES: usize = 8;

type Line = [u8; LINE_BYTES];

/// A mistake of a program or of a processor that persistent memory does not forgive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mistake {
    /// Nothing is written back.
    NoWriteBack,
    /// The first line of each range is not written back.
    FirstLine,
    /// The last line of each range is not written back.
    LastLine,
    /// No fence follows.
    NoFence,
}

/// What was stored and is not sure to be in memory.
#[derive(Default, Debug)]
pub(super) struct CachedLines {
    lines: BTreeMap<usize, Cached>,
}

#[derive(Default, Debug)]
struct Cached {
    /// What the line was after each store, the last one last.
    states: Vec<Line>,
    /// How many of them were written back, and by whom.
    written_back: Option<(ThreadId, usize)>,
}

impl CachedLines {
    /// Stores bytes to `current`, word by word.
    pub fn store(&mut self, current: &mut [u8], offset: usize, bytes: &[u8]) {
        let mut at = offset;
        let mut left = bytes;
        while !left.is_empty() {
            let piece = (WORD_BYTES - at % WORD_BYTES).min(left.len());
            current[at..at + piece].copy_from_slice(&left[..piece]);
            let line = at / LINE_BYTES;
            let cached = self.lines.entry(line).or_default();
            cached.states.push(line_of(current, line));
            at += piece;
            left = &left[piece..];
        }
    }

    /// Begins to write back the lines of a range.
    pub fn write_back(&mut self, range: Range<usize>, mistake: Option<Mistake>) {
        let (mut first, mut end) = (range.start / LINE_BYTES, range.end.div_ceil(LINE_BYTES));
        match mistake {
            Some(Mistake::NoWriteBack) => return,
            Some(Mistake::FirstLine) => first += 1,
            Some(Mistake::LastLine) => end -= 1,
            _ => {}
        }
        if first >= end {
            return;
        }
        for cached in self.lines.range_mut(first..end).map(|(_, cached)| cached) {
            cached.written_back = Some((thread::current().id(), cached.states.len()));
        }
    }

    /// Waits for what this thread has written back.
    pub fn fence(&mut self, durable: &mut [u8], mistake: Option<Mistake>) {
        if mistake == Some(Mistake::NoFence) {
            return;
        }
        let me = thread::current().id();
        self.lines.retain(|line, cached| {
            if let Some((_, states)) = cached.written_back.take_if(|(thread, _)| *thread == me) {
                set_line(durable, *line, &cached.states[states - 1]);
                cached.states.drain(..states);
            }
            !cached.states.is_empty()
        });
    }

    /// Leaves of each line what it was at some moment since it was durable.
    pub fn cut_power(
        &mut self,
        durable: &mut [u8],
        damage: Damage,
        draw: &mut dyn FnMut(u64) -> u64,
    ) {
        for (line, cached) in std::mem::take(&mut self.lines) {
            let count = cached.states.len();
            let kept = match damage {
                Damage::Drop => 0,
                Damage::Keep => count,
                Damage::TearAnywhere | Damage::Sectors(_) => draw(count as u64 + 1) as usize,
            };
            if let Some(state) = kept.checked_sub(1) {
                set_line(durable, line, &cached.states[state]);
            }
        }
    }
}

/// A line, with zeros behind the end of a file that ends in it.
fn line_of(bytes: &[u8], line: usize) -> Line {
    let mut state = [0; LINE_BYTES];
    let here = &bytes[line * LINE_BYTES..];
    let length = here.len().min(LINE_BYTES);
    state[..length].copy_from_slice(&here[..length]);
    state
}

fn set_line(bytes: &mut [u8], line: usize, state: &Line) {
    let here = &mut bytes[line * LINE_BYTES..];
    let length = here.len().min(LINE_BYTES);
    here[..length].copy_from_slice(&state[..length]);
}
