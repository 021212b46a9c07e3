//! Stretches of texts in which all repeats lie.
//!
//! Of the short runs of bytes within each window of a length, the one with the least hash is its anchor. Equal windows
//! have equal anchors, so a window whose anchor is met once has no equal. One byte in twenty-five begins an anchor; what
//! looks for repeats needs to look at the windows around those anchors only that are met twice.

use crate::dedup::mix;
use crate::dedup::repeats::{LENGTH_MAX, LENGTH_MIN, joined};
use crate::dedup::rolling::Rolling;
use crate::error::{KernelError, Result};

/// The least length of an anchor.
const GRAM_MIN: usize = 6;

/// Anchors of one hash that follow each other closely, as in a row of equal bytes.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    hash: u64,
    first: u64,
    last: u64,
    /// The borders of its text.
    begin: u64,
    end: u64,
}

/// A collector of the anchors of texts, whose hashes are in one of `parts` parts.
#[derive(Clone, Debug)]
pub struct Anchors {
    length: usize,
    windows: usize,
    rolling: Rolling,
    part: u64,
    parts: u64,
    anchors: Vec<Anchor>,
    hashes: Vec<u64>,
    least: Vec<u64>,
}

impl Anchors {
    /// A collector for repeats of at least `length` bytes.
    pub fn new(length: usize, part: u32, parts: u32) -> Result<Self> {
        if !(LENGTH_MIN..=LENGTH_MAX).contains(&length) {
            return Err(KernelError::Parameter("a repeat has 8 to 65536 bytes"));
        }
        if part >= parts {
            return Err(KernelError::Parameter(
                "the part is below the number of parts",
            ));
        }
        let gram = (length / 2).max(GRAM_MIN);
        Ok(Self {
            length,
            windows: length - gram + 1,
            rolling: Rolling::new(gram),
            part: u64::from(part),
            parts: u64::from(parts),
            anchors: Vec::new(),
            hashes: Vec::new(),
            least: Vec::new(),
        })
    }

    /// Collects the anchors of a text. Its first byte is at position `base` of all texts.
    pub fn observe(&mut self, text: &[u8], base: u64) {
        if text.len() < self.length {
            return;
        }
        self.hash(text);
        let hashes = std::mem::take(&mut self.hashes);
        let mut least = std::mem::take(&mut self.least);
        let borders = (base, base + text.len() as u64);
        let mut last = u64::MAX;
        let windows = self.windows;
        for block in (0..hashes.len() + 1 - windows).step_by(windows) {
            // A window is the end of one block and the beginning of the next: the least hash of each is known.
            least.clear();
            least.resize(windows, 0);
            let mut found = u64::MAX;
            for at in (0..windows).rev() {
                found = found.min(placed(hashes[block + at], at));
                least[at] = found;
            }
            let mut following = u64::MAX;
            let count = windows.min(hashes.len() + 1 - windows - block);
            for (at, &best) in least.iter().enumerate().take(count) {
                let best = best.min(following);
                let anchor = base + (block as u64) + (best & PLACE_MASK);
                if anchor != last {
                    last = anchor;
                    #[allow(clippy::cast_possible_truncation)]
                    let hash = hashes[block + (best & PLACE_MASK) as usize];
                    self.take(hash, anchor, borders);
                }
                if at + 1 < count {
                    let next = windows + at;
                    following = following.min(placed(hashes[block + next], next));
                }
            }
        }
        self.hashes = hashes;
        self.least = least;
    }

    /// Bytes that are held.
    pub fn held(&self) -> usize {
        self.anchors.capacity() * size_of::<Anchor>()
    }

    /// The ranges of positions in which all repeats lie, with their earlier ones, in order and apart from each other.
    pub fn finish(self) -> Vec<(u64, u64)> {
        let mut hashes: Vec<u64> = self.anchors.iter().map(|anchor| anchor.hash).collect();
        hashes.sort_unstable();
        let twice: Vec<u64> = hashes
            .chunk_by(|left, right| left == right)
            .filter(|run| run.len() > 1)
            .map(|run| run[0])
            .collect();
        drop(hashes);
        let filter = Filter::new(&twice);
        let (length, gram) = (self.length as u64, self.rolling.length() as u64);
        let ranges = self
            .anchors
            .iter()
            .filter(|anchor| anchor.first != anchor.last || filter.has(anchor.hash))
            .map(|anchor| {
                let first = (anchor.first + gram).saturating_sub(length);
                (
                    first.max(anchor.begin),
                    (anchor.last + length).min(anchor.end),
                )
            });
        joined(ranges.collect())
    }

    fn hash(&mut self, text: &[u8]) {
        let gram = self.rolling.length();
        self.hashes.clear();
        self.hashes.reserve(text.len() + 1 - gram);
        let mut hash = self.rolling.first(text);
        self.hashes.push(hash);
        for (&gone, &come) in text.iter().zip(&text[gram..]) {
            hash = self.rolling.next(hash, gone, come);
            self.hashes.push(hash);
        }
    }

    fn take(&mut self, hash: u64, at: u64, (begin, end): (u64, u64)) {
        let hash = mix(hash);
        if (hash >> 32).wrapping_mul(self.parts) >> 32 != self.part {
            return;
        }
        match self.anchors.last_mut() {
            Some(before)
                if before.hash == hash
                    && before.begin == begin
                    && at - before.last <= self.windows as u64 =>
            {
                before.last = at;
            }
            _ => self.anchors.push(Anchor {
                hash,
                first: at,
                last: at,
                begin,
                end,
            }),
        }
    }
}

/// Bits of a place within two blocks of windows.
const PLACE_BITS: u32 = 17;
const PLACE_MASK: u64 = (1 << PLACE_BITS) - 1;

/// A hash and a place in one word: the least is that of the least hash, and of equal ones the first.
fn placed(hash: u64, at: usize) -> u64 {
    // The product spreads the hash over the upper bits.
    hash.wrapping_mul(0x9fb2_1c65_1e98_df25) & !PLACE_MASK | at as u64
}

/// A set of hashes, most of which are told apart by one bit.
struct Filter<'a> {
    hashes: &'a [u64],
    bits: Vec<u64>,
}

impl<'a> Filter<'a> {
    /// A set of hashes in order.
    fn new(hashes: &'a [u64]) -> Self {
        let words = (hashes.len() / 4).next_power_of_two();
        let mut bits = vec![0_u64; words];
        for &hash in hashes {
            let (word, bit) = place(hash, words);
            bits[word] |= bit;
        }
        Self { hashes, bits }
    }

    fn has(&self, hash: u64) -> bool {
        let (word, bit) = place(hash, self.bits.len());
        self.bits[word] & bit != 0 && self.hashes.binary_search(&hash).is_ok()
    }
}

/// The word and the bit of a hash in a filter of a power of two of words.
#[allow(clippy::cast_possible_truncation)]
fn place(hash: u64, words: usize) -> (usize, u64) {
    ((hash >> 6) as usize & (words - 1), 1 << (hash & 63))
}
