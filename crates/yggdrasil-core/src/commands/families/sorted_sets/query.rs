//! The arguments that say which members of a sorted set are meant.

use std::ops::Range;

use crate::commands::families::value::int_argument;
use crate::commands::table::error::CommandError;
use crate::keyspace::collection::sorted_set::{
    MemberEnd, MemberRange, ScoreEnd, ScoreRange, SortedSetView,
};
use crate::resp::{Args, Double};

/// What a range goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Rank,
    Score,
    Member,
}

/// A range of members.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Bounds<'a> {
    Rank(i64, i64),
    Score(ScoreRange),
    Member(MemberRange<'a>),
}

impl<'a> Bounds<'a> {
    pub(super) fn parse(by: By, min: &'a [u8], max: &'a [u8]) -> Result<Self, CommandError> {
        match by {
            By::Rank => Ok(Self::Rank(int_argument(min)?, int_argument(max)?)),
            By::Score => score_range(min, max).map(Self::Score),
            By::Member => member_range(min, max).map(Self::Member),
        }
    }

    /// The positions of the members, in the order of the sorted set or counted from its end.
    pub(super) fn positions(&self, view: &SortedSetView<'_>, is_back: bool) -> Range<u64> {
        match self {
            Self::Rank(first, last) => {
                let span = ranks(view.len(), *first, *last);
                if is_back {
                    view.len() - span.end..view.len() - span.start
                } else {
                    span
                }
            }
            Self::Score(range) => view.span_of_scores(range),
            Self::Member(range) => view.span_of_members(range),
        }
    }
}

/// The scores between two arguments.
pub(super) fn score_range(min: &[u8], max: &[u8]) -> Result<ScoreRange, CommandError> {
    let ends = score_end(min).zip(score_end(max));
    let (min, max) = ends.ok_or(CommandError::Plain("min or max is not a float"))?;
    Ok(ScoreRange { min, max })
}

/// A score, behind a bracket where it is outside. Other than for the score of a member, what is too large is infinite,
/// nothing is zero, and there are no hexadecimal numbers.
fn score_end(text: &[u8]) -> Option<ScoreEnd> {
    let (is_open, text) = match text {
        [b'(', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let score = match text {
        b"" => 0.0,
        text if text.contains(&b'x') || text.contains(&b'X') => return None,
        text => Double::parse(text)?.value,
    };
    Some(ScoreEnd {
        score: score + 0.0,
        is_open,
    })
}

/// The members between two arguments.
pub(super) fn member_range<'a>(
    min: &'a [u8],
    max: &'a [u8],
) -> Result<MemberRange<'a>, CommandError> {
    let ends = member_end(min).zip(member_end(max));
    let wrong = CommandError::Plain("min or max not valid string range item");
    let (min, max) = ends.ok_or(wrong)?;
    Ok(MemberRange { min, max })
}

fn member_end(text: &[u8]) -> Option<MemberEnd<'_>> {
    match text {
        b"-" => Some(MemberEnd::Lowest),
        b"+" => Some(MemberEnd::Highest),
        [sign @ (b'[' | b'('), member @ ..] => Some(MemberEnd::At {
            member,
            is_open: *sign == b'(',
        }),
        _ => None,
    }
}

/// The positions between two ranks, of which negative ones count from the end.
fn ranks(len: u64, first: i64, last: i64) -> Range<u64> {
    let from_end = |rank: i64| len.checked_sub(rank.unsigned_abs());
    let start = match u64::try_from(first) {
        Ok(first) => first.min(len),
        Err(_) => from_end(first).unwrap_or(0),
    };
    let end = match u64::try_from(last) {
        Ok(last) => last.saturating_add(1).min(len),
        Err(_) => from_end(last).map_or(0, |last| last + 1),
    };
    start..end.max(start)
}

/// What a command leaves open for its arguments.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Form {
    pub(super) by: Option<By>,
    pub(super) is_back: Option<bool>,
    /// The members are stored, always with their scores.
    pub(super) stores: bool,
}

/// Which members are meant, and what is told of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct RangeQuery<'a> {
    bounds: Bounds<'a>,
    pub(super) is_back: bool,
    offset: i64,
    limit: i64,
    pub(super) with_scores: bool,
}

impl<'a> RangeQuery<'a> {
    /// Reads the arguments behind that of the key.
    pub(super) fn parse(args: &Args<'a>, key_at: usize, form: Form) -> Result<Self, CommandError> {
        let (mut by, mut is_back) = (form.by, form.is_back);
        let (mut offset, mut limit, mut with_scores) = (0, -1, false);
        let mut rest = args.from(key_at + 3).iter();
        while let Some(option) = rest.next() {
            let is = |name: &[u8]| option.eq_ignore_ascii_case(name);
            if !form.stores && is(b"withscores") {
                with_scores = true;
            } else if is(b"limit") && rest.len() >= 2 {
                offset = int_argument(rest.next().unwrap_or_default())?;
                limit = int_argument(rest.next().unwrap_or_default())?;
            } else if is_back.is_none() && is(b"rev") {
                is_back = Some(true);
            } else if by.is_none() && is(b"bylex") {
                by = Some(By::Member);
            } else if by.is_none() && is(b"byscore") {
                by = Some(By::Score);
            } else {
                return Err(CommandError::Syntax);
            }
        }
        let (by, is_back) = (by.unwrap_or(By::Rank), is_back.unwrap_or(false));
        if limit != -1 && by == By::Rank {
            return Err(CommandError::Plain(
                "syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
            ));
        }
        if with_scores && by == By::Member {
            return Err(CommandError::Plain(
                "syntax error, WITHSCORES not supported in combination with BYLEX",
            ));
        }
        let (mut min, mut max) = (args.at(key_at + 1), args.at(key_at + 2));
        if is_back && by != By::Rank {
            std::mem::swap(&mut min, &mut max);
        }
        Ok(Self {
            bounds: Bounds::parse(by, min, max)?,
            is_back,
            offset,
            limit,
            with_scores,
        })
    }

    /// The positions of the members, in the order of the sorted set.
    pub(super) fn positions(&self, view: &SortedSetView<'_>) -> Range<u64> {
        let span = self.bounds.positions(view, self.is_back);
        if matches!(self.bounds, Bounds::Rank(..)) {
            return span;
        }
        let count = span.end - span.start;
        let skipped = u64::try_from(self.offset).map_or(count, |offset| offset.min(count));
        let left = count - skipped;
        let taken = u64::try_from(self.limit).map_or(left, |limit| limit.min(left));
        if self.is_back {
            let end = span.end - skipped;
            end - taken..end
        } else {
            let start = span.start + skipped;
            start..start + taken
        }
    }
}
