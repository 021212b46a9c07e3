//! The order of the members of a sorted set: leaves of a tree, and the places that lead to them.

use std::cmp::Ordering;
use std::ops::{Deref, Range};

use crate::keyspace::collection::tree::Leaf;

/// A block with more bytes or rows is split.
const BYTES_MAX: usize = 2048;
const ROWS_MAX: usize = 64;
/// Memory grows by so much.
const BYTES_STEP: usize = 128;
const ROWS_STEP: usize = 8;
/// Bytes that a heap block takes beside its contents.
const HEAP_BLOCK_BYTES: usize = 16;
const SCORE_BYTES: usize = 8;
/// Bytes of a member that a place holds itself.
const INLINE_BYTES: usize = 22;

/// A member that is named by a place: short ones need no heap.
#[derive(Clone, Debug)]
enum Name {
    Short { len: u8, bytes: [u8; INLINE_BYTES] },
    Long(Box<[u8]>),
}

impl Name {
    fn of(text: &[u8]) -> Self {
        match u8::try_from(text.len()) {
            Ok(len) if text.len() <= INLINE_BYTES => {
                let mut bytes = [0; INLINE_BYTES];
                bytes[..text.len()].copy_from_slice(text);
                Self::Short { len, bytes }
            }
            _ => Self::Long(text.into()),
        }
    }
}

impl Deref for Name {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Short { len, bytes } => &bytes[..usize::from(*len)],
            Self::Long(bytes) => bytes,
        }
    }
}

/// A place in the order.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    score: f64,
    member: Name,
}

impl Mark {
    pub(super) fn new(score: f64, member: &[u8]) -> Self {
        Self {
            score,
            member: Name::of(member),
        }
    }

    pub(super) fn score(&self) -> f64 {
        self.score
    }

    pub(super) fn member(&self) -> &[u8] {
        &self.member
    }
}

/// The order of members with scores. No score is a negative zero.
#[inline]
pub fn compare(one: (f64, &[u8]), other: (f64, &[u8])) -> Ordering {
    one.0.total_cmp(&other.0).then_with(|| one.1.cmp(other.1))
}

impl Ord for Mark {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        compare((self.score, self.member()), (other.score, other.member()))
    }
}

impl PartialOrd for Mark {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Mark {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Mark {}

/// Rows in their order: `score: f64 | member` each.
#[derive(Clone, Debug, Default)]
pub(super) struct Block {
    /// Where each row begins.
    starts: Vec<u32>,
    bytes: Vec<u8>,
}

impl Leaf for Block {
    type Key = Mark;

    fn len(&self) -> usize {
        self.starts.len()
    }

    fn heap_bytes(&self) -> usize {
        let blocks = self.bytes.capacity() + self.starts.capacity() * size_of::<u32>();
        size_of::<Self>() + blocks + 2 * HEAP_BLOCK_BYTES
    }

    fn first_key(&self) -> Mark {
        let (score, member) = self.row(0).unwrap_or((0.0, b""));
        Mark::new(score, member)
    }

    fn split(&mut self) -> Option<Self> {
        let is_long = self.bytes.len() > BYTES_MAX || self.starts.len() > ROWS_MAX;
        if !is_long || self.starts.len() < 2 {
            return None;
        }
        let half = self.bytes.len() as u32 / 2;
        let middle = self.starts.partition_point(|start| *start < half);
        let at = middle.clamp(1, self.starts.len() - 1);
        let start = self.starts[at];
        let upper = Self {
            starts: self.starts[at..].iter().map(|own| own - start).collect(),
            bytes: self.bytes[start as usize..].to_vec(),
        };
        self.starts.truncate(at);
        self.starts.shrink_to_fit();
        self.bytes.truncate(start as usize);
        self.bytes.shrink_to_fit();
        Some(upper)
    }

    fn is_small(&self) -> bool {
        self.bytes.len() < BYTES_MAX / 2 && self.starts.len() < ROWS_MAX / 2
    }

    fn absorb(&mut self, next: &Self) -> bool {
        let bytes = self.bytes.len() + next.bytes.len();
        let rows = self.starts.len() + next.starts.len();
        if bytes > BYTES_MAX / 2 || rows > ROWS_MAX / 2 {
            return false;
        }
        let shift = self.bytes.len() as u32;
        self.starts
            .extend(next.starts.iter().map(|start| start + shift));
        self.bytes.extend_from_slice(&next.bytes);
        true
    }
}

impl Block {
    /// The number of rows.
    pub(super) fn count(&self) -> u64 {
        self.starts.len() as u64
    }

    /// The positions of the rows of a block that begins at one.
    pub(super) fn positions(&self, start: u64) -> Range<u64> {
        start..start + self.count()
    }

    /// Where the row of a position begins, or would.
    fn start_of(&self, index: usize) -> usize {
        self.starts
            .get(index)
            .map_or(self.bytes.len(), |start| *start as usize)
    }

    #[inline]
    pub(super) fn row(&self, index: usize) -> Option<(f64, &[u8])> {
        let start = *self.starts.get(index)? as usize;
        let row = self.bytes.get(start..self.start_of(index + 1))?;
        let (score, member) = row.split_first_chunk()?;
        Some((f64::from_le_bytes(*score), member))
    }

    pub(super) fn rows(
        &self,
        range: Range<usize>,
    ) -> impl DoubleEndedIterator<Item = (f64, &[u8])> {
        range.filter_map(|index| self.row(index))
    }

    /// The position of a member with a score, or that where it belongs.
    pub(super) fn search(&self, score: f64, member: &[u8]) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.starts.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            let row = self.row(middle).unwrap_or((f64::INFINITY, b""));
            match compare(row, (score, member)) {
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
                Ordering::Equal => return Ok(middle),
            }
        }
        Err(low)
    }

    /// Adds a member that is not there.
    pub(super) fn insert(&mut self, score: f64, member: &[u8]) {
        let Err(index) = self.search(score, member) else {
            return;
        };
        let start = self.start_of(index);
        let row_bytes = SCORE_BYTES + member.len();
        let needed = (self.bytes.len() + row_bytes).saturating_sub(self.bytes.capacity());
        if needed > 0 {
            let free = self.bytes.capacity() - self.bytes.len();
            self.bytes
                .reserve_exact(free + needed.next_multiple_of(BYTES_STEP));
        }
        if self.starts.len() == self.starts.capacity() {
            self.starts.reserve_exact(ROWS_STEP);
        }
        let old_len = self.bytes.len();
        self.bytes.resize(old_len + row_bytes, 0);
        self.bytes.copy_within(start..old_len, start + row_bytes);
        self.bytes[start..start + SCORE_BYTES].copy_from_slice(&score.to_le_bytes());
        self.bytes[start + SCORE_BYTES..start + row_bytes].copy_from_slice(member);
        self.starts.insert(index, start as u32);
        for behind in &mut self.starts[index + 1..] {
            *behind += row_bytes as u32;
        }
    }

    /// Removes a member, if it is there.
    pub(super) fn remove(&mut self, score: f64, member: &[u8]) {
        if let Ok(index) = self.search(score, member) {
            self.drain(index..index + 1);
        }
    }

    /// Removes the rows of some positions.
    pub(super) fn drain(&mut self, range: Range<usize>) {
        let (from, to) = (self.start_of(range.start), self.start_of(range.end));
        self.bytes.drain(from..to);
        self.starts.drain(range.clone());
        for behind in &mut self.starts[range.start..] {
            *behind -= (to - from) as u32;
        }
        if self.bytes.capacity() > 2 * self.bytes.len() + 4 * BYTES_STEP {
            self.bytes.shrink_to(self.bytes.len() + BYTES_STEP);
            self.starts.shrink_to(self.starts.len() + ROWS_STEP);
        }
    }
}
