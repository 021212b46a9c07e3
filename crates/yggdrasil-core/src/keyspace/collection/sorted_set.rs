//! Sorted sets: packed as a listpack, and as a table of scores beside the order of the members.
//!
//! ```text
//! packed       listpack of member, score ... in their order
//! operations   1 | score: f64 | member      gives a member this score
//!              2 | member                   removes it
//!              3 | position | members       removes so many members from a position on
//! ```
//! Members stand in the order of their scores, those of equal scores in the order of their bytes. A score is a number
//! or infinite. There is no negative zero, since the packed form has none.

mod bounds;
mod order;
mod packed;
mod view;

pub use self::bounds::{MemberEnd, MemberRange, ScoreEnd, ScoreRange};
pub use self::order::compare as order_of;
use self::order::{Block, Mark};
pub use self::packed::Pairs;
use self::packed::Small;
pub use self::view::SortedSetView;
use super::table::Table;
use super::tree::{Tree, Wreck, Wreckage};
use super::wire::{Wire, put_bytes, put_length};
use super::{Elements, Fit, Packing};
use std::ops::{ControlFlow, Range};

const PUT: u8 = 1;
const REMOVE: u8 = 2;
const REMOVE_SPAN: u8 = 3;

/// Appends the operation that gives a member a score, which is a number.
pub fn put_score(ops: &mut Vec<u8>, member: &[u8], score: f64) {
    debug_assert!(!score.is_nan());
    ops.push(PUT);
    ops.extend(score.to_le_bytes());
    put_bytes(ops, member);
}

/// Appends the operation that removes a member.
pub fn put_remove(ops: &mut Vec<u8>, member: &[u8]) {
    ops.push(REMOVE);
    put_bytes(ops, member);
}

/// Appends the operation that removes the members of some positions.
pub fn put_remove_span(ops: &mut Vec<u8>, span: &Range<u64>) {
    ops.push(REMOVE_SPAN);
    put_length(ops, span.start as usize);
    put_length(ops, span.end.saturating_sub(span.start) as usize);
}

/// An operation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op<'a> {
    Put(&'a [u8], f64),
    Remove(&'a [u8]),
    /// The first position, and the number of members.
    RemoveSpan(u64, u64),
}

fn next_op<'a>(wire: &mut Wire<'a>) -> Option<Op<'a>> {
    match wire.byte()? {
        PUT => {
            let score = f64::from_bits(wire.u64()?);
            let member = wire.bytes()?;
            // Adding makes a negative zero positive.
            (!score.is_nan()).then_some(Op::Put(member, score + 0.0))
        }
        REMOVE => wire.bytes().map(Op::Remove),
        REMOVE_SPAN => {
            let (start, count) = (wire.length()?, wire.length()?);
            Some(Op::RemoveSpan(start as u64, count as u64))
        }
        _ => None,
    }
}

/// Operations in their order.
pub fn each_op(ops: &[u8]) -> impl Iterator<Item = Op<'_>> {
    let mut wire = Wire::new(ops);
    std::iter::from_fn(move || next_op(&mut wire))
}

/// A sorted set that is not packed.
#[derive(Clone, Debug)]
pub struct SortedSet {
    scores: Table,
    order: Tree<Block>,
}

/// The score in a row of the table.
fn score_in(value: &[u8]) -> f64 {
    value.try_into().map_or(0.0, f64::from_le_bytes)
}

impl SortedSet {
    /// The score of a member.
    #[must_use]
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        self.scores.get(member).map(score_in)
    }

    /// The table of all members.
    #[must_use]
    pub fn scores(&self) -> &Table {
        &self.scores
    }

    fn put(&mut self, member: &[u8], score: f64) {
        let row = [&score.to_le_bytes()[..]];
        let before = self
            .scores
            .replace(member, &row, |before| before.map(score_in));
        if before == Some(score) {
            return;
        }
        if let Some(before) = before {
            self.take_from_order(member, before);
        }
        self.order.edit_by_key(&Mark::new(score, member), |block| {
            block.insert(score, member);
        });
    }

    fn take_from_order(&mut self, member: &[u8], score: f64) {
        self.order.edit_by_key(&Mark::new(score, member), |block| {
            block.remove(score, member);
        });
    }

    fn remove(&mut self, member: &[u8]) {
        if let Some(score) = self.score(member) {
            self.scores.remove(member);
            self.take_from_order(member, score);
        }
    }

    fn remove_span(&mut self, start: u64, count: u64) {
        let scores = &mut self.scores;
        let end = start.saturating_add(count);
        self.order.remove_range(start, end, |block, from, to| {
            for (_, member) in block.rows(from..to) {
                scores.remove(member);
            }
            block.drain(from..to);
        });
    }

    /// Position of the first member that does not stand before a place in the order.
    fn position_of(&self, mark: &Mark) -> u64 {
        let found = self.order.find_by_key(mark);
        let inside = match found.leaf.search(mark.score(), mark.member()) {
            Ok(inside) | Err(inside) => inside,
        };
        found.start + inside as u64
    }

    /// Position of a member that has a score.
    fn rank(&self, member: &[u8], score: f64) -> u64 {
        self.position_of(&Mark::new(score, member))
    }

    fn at(&self, position: u64) -> Option<(&[u8], f64)> {
        let found = self.order.find_by_position(position);
        let inside = position.checked_sub(found.start)?;
        let (score, member) = found.leaf.row(inside as usize)?;
        Some((member, score))
    }

    /// Visits the members of some positions in their order, as long as the visitor goes on.
    fn visit(
        &self,
        span: &Range<u64>,
        mut visit: impl FnMut(&[u8], f64) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if span.is_empty() {
            return ControlFlow::Continue(());
        }
        for found in self.order.walk_from_position(span.start) {
            let rows = part(&found.leaf.positions(found.start), span);
            for (score, member) in found.leaf.rows(rows) {
                visit(member, score)?;
            }
            if found.start + found.leaf.count() >= span.end {
                break;
            }
        }
        ControlFlow::Continue(())
    }

    /// Visits them from the last to the first.
    fn visit_back(&self, span: &Range<u64>, mut visit: impl FnMut(&[u8], f64)) {
        if span.is_empty() {
            return;
        }
        for found in self.order.back_from_position(span.end - 1) {
            let rows = part(&found.leaf.positions(found.start), span);
            for (score, member) in found.leaf.rows(rows).rev() {
                visit(member, score);
            }
            if found.start <= span.start {
                break;
            }
        }
    }
}

/// The rows of a leaf that lie in a span of positions.
fn part(leaf: &Range<u64>, span: &Range<u64>) -> Range<usize> {
    let from = span.start.max(leaf.start) - leaf.start;
    let to = span.end.min(leaf.end).max(leaf.start) - leaf.start;
    from as usize..to as usize
}

impl Elements for SortedSet {
    fn new(packing: &Packing) -> Self {
        Self {
            scores: Table::new(packing.seed),
            order: Tree::default(),
        }
    }

    fn check(ops: &[u8]) -> bool {
        let mut wire = Wire::new(ops);
        while !wire.is_empty() {
            if next_op(&mut wire).is_none() {
                return false;
            }
        }
        true
    }

    fn len(&self) -> u64 {
        self.scores.len()
    }

    fn heap_bytes(&self) -> u64 {
        self.scores.heap_bytes() + self.order.heap_bytes()
    }

    fn apply(&mut self, ops: &[u8], _: &Packing) {
        for op in each_op(ops) {
            match op {
                Op::Put(member, score) => self.put(member, score),
                Op::Remove(member) => self.remove(member),
                Op::RemoveSpan(start, count) => self.remove_span(start, count),
            }
        }
    }

    fn apply_packed(packed: &mut Vec<u8>, ops: &[u8], packing: &Packing) -> Fit {
        let mut small = Small::open(std::mem::take(packed));
        for op in each_op(ops) {
            match op {
                Op::Put(member, score) => {
                    if small.put(member, score, packing) == Fit::TooLarge {
                        return Fit::TooLarge;
                    }
                }
                Op::Remove(member) => small.remove(member),
                Op::RemoveSpan(start, count) => small.remove_span(start, count),
            }
        }
        *packed = small.close();
        Fit::Packed
    }

    fn unpack(packed: &[u8], packing: &Packing) -> Self {
        let mut set = Self::new(packing);
        let mut buffer = itoa::Buffer::new();
        for (member, score) in Pairs::of(packed) {
            set.put(member.text(&mut buffer), score);
        }
        set
    }

    fn write_from(&self, position: u64, bytes: usize, ops: &mut Vec<u8>) -> Option<u64> {
        let end = ops.len().saturating_add(bytes);
        let mut next = position;
        let _ = self.visit(&(position..self.len()), |member, score| {
            if ops.len() >= end {
                return ControlFlow::Break(());
            }
            put_score(ops, member, score);
            next += 1;
            ControlFlow::Continue(())
        });
        (next < self.len()).then_some(next)
    }

    fn into_wreck(self) -> Box<dyn Wreckage> {
        Box::new(Remains {
            scores: self.scores.into_wreck(),
            order: self.order.into_wreck(),
        })
    }
}

/// The remains of a sorted set.
#[derive(Debug)]
struct Remains {
    scores: Box<dyn Wreckage>,
    order: Wreck<Block>,
}

impl Wreckage for Remains {
    fn free(&mut self, budget: usize) -> (u64, usize) {
        let (of_order, left) = self.order.free(budget);
        if left == 0 {
            return (of_order, 0);
        }
        let (of_scores, left) = self.scores.free(left);
        (of_order + of_scores, left)
    }
}

#[cfg(test)]
mod tests;
