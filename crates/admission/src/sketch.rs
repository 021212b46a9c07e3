//! How often keys were used lately: a count-min sketch of 4-bit counters behind a doorkeeper, that ages.
//!
//! All counters of a key lie in one cache line. Lines are found by linear hashing (Litwin 1980), so that the sketch
//! grows and shrinks with the number of keys one line at a time. Aging (TinyLFU's reset) raises an epoch; a line halves
//! its counters and clears its doorkeeper when it is next touched, so that no operation ever visits all of them.

use crate::lines::{line_of, parent, spread};

/// ```text
/// word 0      epoch:8 | doorkeeper:56
/// words 1..4  doorkeeper:192
/// words 4..8  two rows of 32 counters of 4 bits
/// ```
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Line([u64; 8]);

const CHUNK_LINES: usize = 1024;
/// A cache of few keys gets a sketch with room to spare.
const LINES_MIN: usize = CHUNK_LINES;
const DOOR_BITS: u64 = 248;
const EPOCH_BITS: u32 = 8;
const COUNTER_MAX: u64 = 15;
const COUNTERS_FROM: usize = 4;
const ROWS: usize = 2;
const HALVED: u64 = 0x7777_7777_7777_7777;

/// Keys for each line of 64 bytes: the sketch takes 4 bytes a key.
const KEYS_PER_LINE: usize = 16;
/// Keys for each line below which the sketch shrinks.
const KEYS_PER_LINE_MIN: usize = 5;
/// Requests for each key in the cache after which all counts are halved,
const REQUESTS_PER_KEY: u64 = 10;
/// or keys that came to each line, when they came sooner: beyond that the doorkeeper would know everybody.
const STRANGERS_PER_LINE: u64 = 40;

#[derive(Debug)]
pub(crate) struct Sketch {
    chunks: Vec<Box<[Line]>>,
    lines: usize,
    epoch: u8,
    /// Requests since the last epoch.
    requests: u64,
    /// Keys that were new to the doorkeeper since the last epoch.
    strangers: u64,
    sweep: usize,
}

impl Sketch {
    pub(crate) fn new() -> Self {
        let mut sketch = Self {
            chunks: Vec::new(),
            lines: 0,
            epoch: 0,
            requests: 0,
            strangers: 0,
            sweep: 0,
        };
        while sketch.lines < LINES_MIN {
            sketch.add_line(Line([0; 8]));
        }
        sketch
    }

    pub(crate) fn epoch(&self) -> u8 {
        self.epoch
    }

    /// Counts a request to a cache of so many keys. All counts are halved from time to time.
    #[inline]
    pub(crate) fn tick(&mut self, keys: usize) {
        self.requests += 1;
        if self.requests >= REQUESTS_PER_KEY * keys.max(KEYS_PER_LINE) as u64
            || self.strangers >= STRANGERS_PER_LINE * self.lines as u64
        {
            self.epoch = self.epoch.wrapping_add(1);
            (self.requests, self.strangers) = (0, 0);
        }
    }

    /// Remembers a key that left, with its uses.
    #[inline]
    pub(crate) fn remember(&mut self, key: u64, uses: u32) {
        let mixed = spread(key);
        let number = line_of(mixed, self.lines);
        let epoch = self.epoch;
        let line = self.line_mut(number);
        line.bring_to(epoch);
        let stranger = line.pass_door(mixed);
        line.raise(mixed, u64::from(uses.saturating_sub(1)));
        self.strangers += u64::from(stranger);
        // No line is left alone for so long that its epoch could be mistaken for a new one.
        self.sweep = (self.sweep + 1) % self.lines;
        let (number, epoch) = (self.sweep, self.epoch);
        self.line_mut(number).bring_to(epoch);
    }

    /// Splits or merges a line where the number of keys asks for it.
    #[inline]
    pub(crate) fn follow(&mut self, keys: usize) {
        if keys > self.lines * KEYS_PER_LINE {
            self.split();
        } else if self.lines > LINES_MIN && keys < self.lines * KEYS_PER_LINE_MIN {
            self.merge();
        }
    }

    /// Uses of a key that is not there, lately; sometimes too many.
    #[inline]
    pub(crate) fn estimate(&self, key: u64) -> u32 {
        let mixed = spread(key);
        let mut line = *self.line(line_of(mixed, self.lines));
        line.bring_to(self.epoch);
        line.estimate(mixed)
    }

    pub(crate) fn memory(&self) -> usize {
        self.chunks.len() * CHUNK_LINES * size_of::<Line>()
    }

    fn split(&mut self) {
        let copy = *self.line(parent(self.lines));
        self.add_line(copy);
    }

    /// Both lines of a split begin with the counts of the one.
    fn add_line(&mut self, line: Line) {
        if self.lines == self.chunks.len() * CHUNK_LINES {
            self.chunks
                .push(vec![Line([0; 8]); CHUNK_LINES].into_boxed_slice());
        }
        let number = self.lines;
        self.lines += 1;
        *self.line_mut(number) = line;
    }

    fn merge(&mut self) {
        let last = self.lines - 1;
        let into = parent(last);
        let epoch = self.epoch;
        let mut gone = *self.line(last);
        gone.bring_to(epoch);
        let line = self.line_mut(into);
        line.bring_to(epoch);
        line.join(&gone);
        self.lines = last;
        if self.lines + CHUNK_LINES <= (self.chunks.len() - 1) * CHUNK_LINES {
            self.chunks.pop();
        }
    }

    #[inline]
    fn line(&self, number: usize) -> &Line {
        &self.chunks[number / CHUNK_LINES][number % CHUNK_LINES]
    }

    #[inline]
    fn line_mut(&mut self, number: usize) -> &mut Line {
        &mut self.chunks[number / CHUNK_LINES][number % CHUNK_LINES]
    }
}

impl Line {
    /// Halves the counts once for each epoch that has passed.
    #[inline]
    fn bring_to(&mut self, epoch: u8) {
        let passed = epoch.wrapping_sub(self.0[0] as u8);
        if passed == 0 {
            return;
        }
        self.0[..COUNTERS_FROM].fill(0);
        self.0[0] = u64::from(epoch);
        for _ in 0..passed.min(4) {
            for word in &mut self.0[COUNTERS_FROM..] {
                *word = *word >> 1 & HALVED;
            }
        }
    }

    /// Makes the counters of a key say at least so much.
    #[inline]
    fn raise(&mut self, mixed: u64, uses: u64) {
        for (word, shift) in places(mixed) {
            let count = self.0[word] >> shift & COUNTER_MAX;
            if count < uses {
                self.0[word] += (uses - count) << shift;
            }
        }
    }

    #[inline]
    fn estimate(&self, mixed: u64) -> u32 {
        let known = door_bits(mixed)
            .iter()
            .all(|bit| self.0[(bit / 64) as usize] >> (bit % 64) & 1 == 1);
        self.least(&places(mixed)) as u32 + u32::from(known)
    }

    #[inline]
    fn least(&self, places: &[(usize, u32); ROWS]) -> u64 {
        places
            .iter()
            .map(|(word, shift)| self.0[*word] >> shift & COUNTER_MAX)
            .min()
            .unwrap_or(0)
    }

    /// Notes a key in the doorkeeper. Whether it was not there since the epoch began.
    #[inline]
    fn pass_door(&mut self, mixed: u64) -> bool {
        let mut stranger = false;
        for bit in door_bits(mixed) {
            let word = &mut self.0[(bit / 64) as usize];
            stranger |= *word >> (bit % 64) & 1 == 0;
            *word |= 1 << (bit % 64);
        }
        stranger
    }

    /// Takes over the larger counts of another line of the same epoch.
    fn join(&mut self, other: &Self) {
        let (door, counters) = self.0.split_at_mut(COUNTERS_FROM);
        for (word, other) in door.iter_mut().zip(&other.0) {
            *word |= other;
        }
        for (word, other) in counters.iter_mut().zip(&other.0[COUNTERS_FROM..]) {
            let mut joined = 0;
            for shift in (0..64).step_by(4) {
                let larger = (*word >> shift & COUNTER_MAX).max(other >> shift & COUNTER_MAX);
                joined |= larger << shift;
            }
            *word = joined;
        }
    }
}

/// The counters of a key: word and shift.
#[inline]
fn places(mixed: u64) -> [(usize, u32); ROWS] {
    std::array::from_fn(|row| {
        let place = (mixed >> (54 + 5 * row)) as usize & 31;
        (
            COUNTERS_FROM + 2 * row + place / 16,
            (place % 16 * 4) as u32,
        )
    })
}

/// The bits of a key in the doorkeeper, counted from the begin of the line.
#[inline]
fn door_bits(mixed: u64) -> [u64; 3] {
    [30, 38, 46].map(|shift| u64::from(EPOCH_BITS) + (mixed >> shift & 0xff) * DOOR_BITS / 256)
}
