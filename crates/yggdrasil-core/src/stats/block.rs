//! The block of one worker.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use super::{COMMANDS_MAX, COUNTERS, Counter, HISTOGRAM_BUCKETS, bucket_of_ns};
use crate::shm::SharedMapping;

const WORD: usize = 8;
const COMMAND_WORDS: usize = 4;
const COMMANDS_OFFSET: usize = (COUNTERS.len() * WORD).next_multiple_of(64);
const HISTOGRAMS_OFFSET: usize = COMMANDS_OFFSET + COMMANDS_MAX * COMMAND_WORDS * WORD;
/// Bytes of one worker's block.
pub(crate) const BLOCK_BYTES: usize =
    (HISTOGRAMS_OFFSET + COMMANDS_MAX * HISTOGRAM_BUCKETS * WORD).next_multiple_of(4096);

#[inline]
fn word(mapping: &SharedMapping, offset: usize) -> &AtomicU64 {
    mapping
        .u64(offset as u64)
        .expect("statistics lie inside the control segment")
}

/// Adds to a word of which this process is the only writer.
#[inline]
fn bump(word: &AtomicU64, by: u64) {
    word.store(word.load(Relaxed).wrapping_add(by), Relaxed);
}

/// What was counted for one command.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct CommandStats {
    /// Executions.
    pub calls: u64,
    /// Time spent in them, in nanoseconds.
    pub nanoseconds: u64,
    /// Refused before execution (arity, authentication, memory ...).
    pub rejected: u64,
    /// Executed with an error reply.
    pub failed: u64,
}

/// The writer's side of a worker's block.
#[derive(Clone)]
pub struct StatsBlock {
    mapping: Arc<SharedMapping>,
    base: usize,
}

impl StatsBlock {
    pub(crate) fn new(mapping: Arc<SharedMapping>, base: usize) -> Self {
        Self { mapping, base }
    }

    #[inline]
    fn word(&self, offset: usize) -> &AtomicU64 {
        word(&self.mapping, self.base + offset)
    }

    #[inline]
    fn bump(&self, offset: usize, by: u64) {
        bump(self.word(offset), by);
    }

    /// The words of a command: calls, nanoseconds, rejected, failed.
    #[inline]
    fn row(&self, command: usize) -> &[AtomicU64; COMMAND_WORDS] {
        let offset = self.base + COMMANDS_OFFSET + command * COMMAND_WORDS * WORD;
        let words = self.mapping.words(offset as u64);
        words.expect("statistics lie inside the control segment")
    }

    /// Adds to a counter.
    #[inline]
    pub fn add(&self, counter: Counter, by: u64) {
        self.bump(counter as usize * WORD, by);
    }

    /// Takes from a gauge.
    #[inline]
    pub fn subtract(&self, counter: Counter, by: u64) {
        self.bump(counter as usize * WORD, by.wrapping_neg());
    }

    /// Sets a gauge.
    #[inline]
    pub fn set(&self, counter: Counter, value: u64) {
        self.word(counter as usize * WORD).store(value, Relaxed);
    }

    /// Reads a number back.
    #[must_use]
    pub fn get(&self, counter: Counter) -> u64 {
        self.word(counter as usize * WORD).load(Relaxed)
    }

    /// Counts one execution of a command.
    #[inline]
    pub fn executed(&self, command: usize, nanoseconds: u64, failed: bool) {
        let command = command.min(COMMANDS_MAX - 1);
        let [calls, spent, _, failures] = self.row(command);
        bump(calls, 1);
        bump(spent, nanoseconds);
        if failed {
            bump(failures, 1);
        }
        let bucket = bucket_of_ns(nanoseconds);
        self.bump(
            HISTOGRAMS_OFFSET + (command * HISTOGRAM_BUCKETS + bucket) * WORD,
            1,
        );
    }

    /// Counts a command that was refused before its execution.
    pub fn rejected(&self, command: usize) {
        let [_, _, rejected, _] = self.row(command.min(COMMANDS_MAX - 1));
        bump(rejected, 1);
    }

    /// Sets counters and command statistics to zero (CONFIG RESETSTAT); gauges keep their value.
    pub fn reset(&self) {
        for (index, spec) in COUNTERS.iter().enumerate() {
            if spec.kind == super::CounterKind::Counter {
                self.word(index * WORD).store(0, Relaxed);
            }
        }
        self.set(Counter::LoopLagMaxMicros, 0);
        for offset in (COMMANDS_OFFSET..BLOCK_BYTES).step_by(WORD) {
            let word = self.word(offset);
            if word.load(Relaxed) != 0 {
                word.store(0, Relaxed);
            }
        }
    }

    /// Sets everything to zero: a new worker begins.
    pub fn clear(&self) {
        for index in 0..COUNTERS.len() {
            self.word(index * WORD).store(0, Relaxed);
        }
        self.reset();
    }

    /// The reader's side of the same block.
    #[must_use]
    pub fn reader(&self) -> StatsReader {
        StatsReader {
            mapping: Arc::clone(&self.mapping),
            base: self.base,
        }
    }
}

/// Anyone's view of a worker's block.
#[derive(Clone)]
pub struct StatsReader {
    mapping: Arc<SharedMapping>,
    base: usize,
}

impl StatsReader {
    fn word(&self, offset: usize) -> u64 {
        word(&self.mapping, self.base + offset).load(Relaxed)
    }

    /// One number.
    #[must_use]
    pub fn get(&self, counter: Counter) -> u64 {
        self.word(counter as usize * WORD)
    }

    /// All numbers, in the order of [`COUNTERS`].
    #[must_use]
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        COUNTERS
            .iter()
            .enumerate()
            .map(|(index, spec)| (spec.name, self.word(index * WORD)))
            .collect()
    }

    /// What was counted for one command.
    #[must_use]
    pub fn command(&self, command: usize) -> CommandStats {
        let row = COMMANDS_OFFSET + command.min(COMMANDS_MAX - 1) * COMMAND_WORDS * WORD;
        CommandStats {
            calls: self.word(row),
            nanoseconds: self.word(row + WORD),
            rejected: self.word(row + 2 * WORD),
            failed: self.word(row + 3 * WORD),
        }
    }

    /// The histogram of one command: calls per bucket.
    #[must_use]
    pub fn histogram(&self, command: usize) -> [u64; HISTOGRAM_BUCKETS] {
        let row = HISTOGRAMS_OFFSET + command.min(COMMANDS_MAX - 1) * HISTOGRAM_BUCKETS * WORD;
        std::array::from_fn(|bucket| self.word(row + bucket * WORD))
    }
}
