//! The members of a sorted set, whatever form it has.

use std::ops::{ControlFlow, Range};

use crate::keyspace::collection::listpack::Element;
use crate::keyspace::collection::{Collection, Elements, Packing};
use crate::keyspace::kind::Value;

use super::order::Mark;
use super::packed::Pairs;
use super::{MemberEnd, MemberRange, ScoreRange, SortedSet};

/// A sorted set that is read.
#[derive(Clone, Debug)]
pub enum SortedSetView<'a> {
    Packed(Pairs<'a>),
    Tree(&'a SortedSet),
    /// One that came from elsewhere.
    Made(Box<SortedSet>),
}

impl<'a> SortedSetView<'a> {
    /// The sorted set of a value; an empty one for what is none.
    #[must_use]
    pub fn of(value: &Value<'a>, packing: &Packing) -> Self {
        match *value {
            Value::Bytes(packed) => Self::Packed(Pairs::of(packed)),
            Value::Tree(Collection::SortedSet(set)) => Self::Tree(set),
            Value::Written(ops) => {
                let mut set = SortedSet::new(packing);
                set.apply(ops, packing);
                Self::Made(Box::new(set))
            }
            _ => Self::Packed(Pairs::of(b"")),
        }
    }

    /// The tree, or the packed pairs.
    #[inline]
    fn form(&self) -> Result<&SortedSet, &Pairs<'a>> {
        match self {
            Self::Packed(pairs) => Err(pairs),
            Self::Tree(set) => Ok(set),
            Self::Made(set) => Ok(set),
        }
    }

    /// The number of members.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self.form() {
            Ok(set) => set.len(),
            Err(pairs) => pairs.count(),
        }
    }

    /// True without members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The score of a member.
    #[must_use]
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match self.form() {
            Ok(set) => set.score(member),
            Err(pairs) => pairs.score(member),
        }
    }

    /// The position of a member, and its score.
    #[must_use]
    pub fn rank(&self, member: &[u8]) -> Option<(u64, f64)> {
        match self.form() {
            Ok(set) => {
                let score = set.score(member)?;
                Some((set.rank(member, score), score))
            }
            Err(pairs) => {
                let sought = Element::of(member);
                let mut ranked = (0..).zip(pairs.clone());
                let found = ranked.find(|(_, (member, _))| *member == sought);
                found.map(|(position, (_, score))| (position, score))
            }
        }
    }

    /// The member at a position, and its score.
    #[must_use]
    pub fn at(&self, position: u64) -> Option<(Element<'_>, f64)> {
        match self.form() {
            Ok(set) => {
                let (member, score) = set.at(position)?;
                Some((Element::Str(member), score))
            }
            Err(pairs) => pairs.at(position),
        }
    }

    /// The positions of the scores of a range.
    #[must_use]
    pub fn span_of_scores(&self, range: &ScoreRange) -> Range<u64> {
        let span = match self.form() {
            Ok(set) => {
                let from = position_behind(set, range.min.score, range.min.is_open);
                let to = position_behind(set, range.max.score, !range.max.is_open);
                from..to
            }
            Err(pairs) => {
                let mut scores = pairs.clone().map(|(_, score)| score).peekable();
                let mut from = 0;
                while scores.next_if(|score| range.is_above(*score)).is_some() {
                    from += 1;
                }
                from..from + scores.take_while(|score| range.reaches(*score)).count() as u64
            }
        };
        span.start..span.end.max(span.start)
    }

    /// The positions of the members of a range, where all have the same score.
    #[must_use]
    pub fn span_of_members(&self, range: &MemberRange<'_>) -> Range<u64> {
        let span = match self.form() {
            Ok(set) => {
                let from = position_of_end(set, range.min, false);
                let to = position_of_end(set, range.max, true);
                from..to
            }
            Err(pairs) => {
                let (mut one, mut other) = (itoa::Buffer::new(), itoa::Buffer::new());
                let mut members = pairs.clone().map(|(member, _)| member).peekable();
                let mut from = 0;
                while members
                    .next_if(|member| range.is_above(member.text(&mut one)))
                    .is_some()
                {
                    from += 1;
                }
                let reached = members.take_while(|member| range.reaches(member.text(&mut other)));
                from..from + reached.count() as u64
            }
        };
        span.start..span.end.max(span.start)
    }

    /// Visits the members of some positions in their order.
    #[inline]
    pub fn visit(&self, span: &Range<u64>, mut visit: impl FnMut(Element<'_>, f64)) {
        self.visit_while(span, |member, score| {
            visit(member, score);
            ControlFlow::Continue(())
        });
    }

    /// Visits them as long as the visitor goes on.
    #[inline]
    pub fn visit_while(
        &self,
        span: &Range<u64>,
        mut visit: impl FnMut(Element<'_>, f64) -> ControlFlow<()>,
    ) {
        let _ = match self.form() {
            Ok(set) => set.visit(span, |member, score| visit(Element::Str(member), score)),
            Err(pairs) => {
                let count = span.end.saturating_sub(span.start);
                let mut pairs = pairs.from(span.start).take(count as usize);
                pairs.try_for_each(|(member, score)| visit(member, score))
            }
        };
    }

    /// Visits the members of some positions from the last to the first.
    #[inline]
    pub fn visit_back(&self, span: &Range<u64>, mut visit: impl FnMut(Element<'_>, f64)) {
        match self.form() {
            Ok(set) => set.visit_back(span, |member, score| visit(Element::Str(member), score)),
            Err(pairs) => {
                let count = span.end.saturating_sub(span.start);
                for (member, score) in pairs.until(span.end).rev().take(count as usize) {
                    visit(member, score);
                }
            }
        }
    }

    /// Visits about `count` members from a cursor on. Returns the next cursor; 0 begins and ends.
    pub fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(Element<'_>, f64)) -> u64 {
        match self.form() {
            Ok(set) => set.scores.scan(cursor, count, |(member, value)| {
                visit(Element::Str(member), super::score_in(value));
            }),
            Err(pairs) => {
                for (member, score) in pairs.clone() {
                    visit(member, score);
                }
                0
            }
        }
    }

    /// The name of the form, as OBJECT ENCODING gives it.
    #[must_use]
    pub fn encoding_name(&self) -> &'static str {
        match self {
            Self::Packed(_) => "listpack",
            Self::Tree(_) | Self::Made(_) => "skiplist",
        }
    }
}

/// The position of the first member with a score, or of the first behind all of this score.
fn position_behind(set: &SortedSet, score: f64, is_behind: bool) -> u64 {
    if !is_behind {
        return set.position_of(&Mark::new(score + 0.0, b""));
    }
    if score == f64::INFINITY {
        return set.len();
    }
    set.position_of(&Mark::new(next_up(score + 0.0), b""))
}

/// The position at which a range of members begins, or ends.
fn position_of_end(set: &SortedSet, end: MemberEnd<'_>, is_last: bool) -> u64 {
    let (member, is_open) = match end {
        MemberEnd::Lowest => return 0,
        MemberEnd::Highest => return set.len(),
        MemberEnd::At { member, is_open } => (member, is_open),
    };
    let Some((_, score)) = set.at(0) else {
        return 0;
    };
    let position = set.position_of(&Mark::new(score, member));
    let is_there = || set.score(member) == Some(score);
    // The member itself belongs to what comes before a beginning that is open, or an end that is not.
    if is_open != is_last && is_there() {
        position + 1
    } else {
        position
    }
}

/// The least score above a finite one, or above minus infinity.
fn next_up(score: f64) -> f64 {
    let bits = score.to_bits();
    f64::from_bits(if score >= 0.0 { bits + 1 } else { bits - 1 })
}
