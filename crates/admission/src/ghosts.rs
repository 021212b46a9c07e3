//! Keys that left the window lately, as S3-FIFO's ghosts (Yang, Zhang, Qiu, Yue, Rashmi 2023): fingerprints with the
//! time at which they left, in lines that are found by linear hashing (Litwin 1980).

use crate::lines::{line_of, parent, spread};

/// ```text
/// tick:4 | fingerprint:12
/// ```
/// Fields are named from the low bits up; a fingerprint is not zero. Of lines that are full the oldest ghost goes.
type Line = [u16; PER_LINE];

const PER_LINE: usize = 16;
/// Lines of a chunk: 4 KiB.
const CHUNK_LINES: usize = 128;
const TICK_MASK: u16 = 15;
/// Ticks for which a ghost is remembered. It must be gone before ticks come round again.
const AGE_MAX: u16 = 12;
/// Ghosts of a tick for each key of the cache, as a fraction: in all that makes nine tenths of the keys, as many as
/// there are in the main part of S3-FIFO.
const TICK_GHOSTS: (usize, usize) = (3, 40);
/// Lines that are added at once where there are too few.
const GROWTH: usize = 2;

#[derive(Debug, Default)]
pub(crate) struct Ghosts {
    chunks: Vec<Box<[Line; CHUNK_LINES]>>,
    lines: usize,
    tick: u16,
    /// Ghosts since the last tick.
    since: usize,
    sweep: usize,
}

impl Ghosts {
    /// Remembers a key that left the window of a cache of so many keys.
    #[inline]
    pub(crate) fn remember(&mut self, key: u64, keys: usize) {
        self.follow(keys);
        self.since += 1;
        let (ghosts, of) = TICK_GHOSTS;
        if self.since * of >= keys * ghosts {
            self.tick = (self.tick + 1) & TICK_MASK;
            self.since = 0;
        }
        let tick = self.tick;
        // One line for each ghost is a round of all lines in every tick, or nearly.
        self.sweep = (self.sweep + 1) % self.lines;
        let sweep = self.sweep;
        for ghost in self.line_mut(sweep) {
            if age(*ghost, tick) > AGE_MAX {
                *ghost = 0;
            }
        }
        let mixed = spread(key);
        let fingerprint = fingerprint(mixed);
        let number = line_of(mixed, self.lines);
        let line = self.line_mut(number);
        let place = position(line, fingerprint).unwrap_or_else(|| oldest(line, tick));
        line[place] = fingerprint | tick;
    }

    /// Whether a key is remembered. It is not any more.
    #[inline]
    pub(crate) fn take(&mut self, key: u64) -> bool {
        if self.lines == 0 {
            return false;
        }
        let tick = self.tick;
        let mixed = spread(key);
        let number = line_of(mixed, self.lines);
        let line = self.line_mut(number);
        let Some(place) = position(line, fingerprint(mixed)) else {
            return false;
        };
        let ghost = std::mem::take(&mut line[place]);
        age(ghost, tick) <= AGE_MAX
    }

    /// Gives back a little of the memory, and forgets what was in it.
    #[inline]
    pub(crate) fn release(&mut self) {
        if self.chunks.pop().is_some() {
            self.lines = self.chunks.len() * CHUNK_LINES;
            self.sweep = 0;
        }
    }

    pub(crate) fn memory(&self) -> usize {
        self.chunks.len() * size_of::<[Line; CHUNK_LINES]>()
            + self.chunks.capacity() * size_of::<Box<[Line; CHUNK_LINES]>>()
    }

    /// Has a place for each key, give or take a factor of two.
    fn follow(&mut self, keys: usize) {
        for _ in 0..GROWTH {
            if self.lines == 0 || self.lines * PER_LINE < keys {
                // Both lines of a split begin with the ghosts of the one.
                let copy = if self.lines == 0 {
                    [0; PER_LINE]
                } else {
                    *self.line_mut(parent(self.lines))
                };
                if self.lines == self.chunks.len() * CHUNK_LINES {
                    self.chunks.push(Box::new([[0; PER_LINE]; CHUNK_LINES]));
                }
                self.lines += 1;
                *self.line_mut(self.lines - 1) = copy;
            } else if self.lines > 1 && self.lines * PER_LINE > 2 * keys {
                self.lines -= 1;
                self.chunks.truncate(self.lines.div_ceil(CHUNK_LINES));
            }
        }
    }

    #[inline]
    fn line_mut(&mut self, number: usize) -> &mut Line {
        &mut self.chunks[number / CHUNK_LINES][number % CHUNK_LINES]
    }
}

/// Bits that do not take part in finding the line.
#[inline]
fn fingerprint(mixed: u64) -> u16 {
    let bits = (mixed >> 52) as u16;
    bits.max(1) << 4
}

#[inline]
fn position(line: &Line, fingerprint: u16) -> Option<usize> {
    line.iter()
        .position(|ghost| ghost & !TICK_MASK == fingerprint)
}

/// An empty place, or that of the ghost that is there longest.
#[inline]
fn oldest(line: &Line, tick: u16) -> usize {
    (0..PER_LINE)
        .max_by_key(|place| match line[*place] {
            0 => TICK_MASK + 1,
            ghost => age(ghost, tick),
        })
        .unwrap_or(0)
}

#[inline]
fn age(ghost: u16, tick: u16) -> u16 {
    tick.wrapping_sub(ghost) & TICK_MASK
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(ghosts: &mut Ghosts, keys: std::ops::Range<u64>) -> usize {
        keys.filter(|key| ghosts.take(*key)).count()
    }

    #[test]
    fn nine_tenths_of_the_keys_are_remembered() {
        for keys in [500_usize, 10_000, 24_000] {
            let mut ghosts = Ghosts::default();
            let last = 10 * keys as u64;
            (0..last).for_each(|key| ghosts.remember(key, keys));
            let tenth = keys as u64 / 10;
            let new = taken(&mut ghosts, last - 5 * tenth..last);
            let old = taken(&mut ghosts, last - 20 * tenth..last - 10 * tenth);
            let never = taken(&mut ghosts, last..last + 10 * tenth);
            assert!(new * 100 >= keys / 2 * 97, "{keys}: {new}");
            assert!(old * 100 <= keys * 3, "{keys}: {old}");
            assert!(never * 100 <= keys, "{keys}: {never}");
        }
    }

    #[test]
    fn who_comes_back_is_no_ghost_any_more() {
        let mut ghosts = Ghosts::default();
        ghosts.remember(1, 100);
        assert!(ghosts.take(1));
        assert!(!ghosts.take(1));
    }

    #[test]
    fn what_is_remembered_survives_growth() {
        let mut ghosts = Ghosts::default();
        (0..1_000).for_each(|key| ghosts.remember(key, 1_500));
        (5_000..5_500).for_each(|key| ghosts.remember(key, 50_000));
        assert!(taken(&mut ghosts, 0..1_000) >= 900);
    }

    #[test]
    fn memory_follows_the_keys_and_is_given_back() {
        let mut ghosts = Ghosts::default();
        assert_eq!(ghosts.memory(), 0);
        (0..100_000).for_each(|key| ghosts.remember(key, 100_000));
        let full = ghosts.memory();
        assert!((200_000..250_000).contains(&full), "{full}");
        (0..10_000).for_each(|key| ghosts.remember(key, 10_000));
        assert!(ghosts.memory() < full / 2);
        let before = ghosts.memory();
        ghosts.release();
        assert!(ghosts.memory() < before);
        (0..100).for_each(|_| ghosts.release());
        assert!(ghosts.memory() < 2_000 && !ghosts.take(9_999));
    }
}
