//! Arguments of list commands, refused in Redis's words.

use crate::commands::table::error::CommandError;
use crate::keyspace::collection::list::Side;
use crate::resp::parse_i64;

/// An integer.
pub(super) fn integer(text: &[u8]) -> Result<i64, CommandError> {
    parse_i64(text).ok_or(CommandError::NotAnInteger)
}

/// An integer that has a counterpart of the other sign.
pub(super) fn signed(text: &[u8]) -> Result<i64, CommandError> {
    let number = integer(text)?;
    if number == i64::MIN {
        return Err(CommandError::Plain(
            "value is out of range, value must between -9223372036854775807 and 9223372036854775807",
        ));
    }
    Ok(number)
}

/// An integer from `least` on; anything else has this error.
pub(super) fn at_least(least: i64, text: &[u8], error: &'static str) -> Result<u64, CommandError> {
    parse_i64(text)
        .filter(|number| *number >= least)
        .map(i64::unsigned_abs)
        .ok_or(CommandError::Plain(error))
}

/// LEFT or RIGHT.
pub(super) fn side(text: &[u8]) -> Result<Side, CommandError> {
    if text.eq_ignore_ascii_case(b"left") {
        Ok(Side::Front)
    } else if text.eq_ignore_ascii_case(b"right") {
        Ok(Side::Back)
    } else {
        Err(CommandError::Syntax)
    }
}

/// A part of a list: the first position, and how many there are from it on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Range {
    pub start: u64,
    pub count: u64,
}

impl Range {
    /// The part of a list of `len` elements from one index up to another; `None` for an empty one.
    pub fn of(start: i64, stop: i64, len: u64) -> Option<Self> {
        let signed_len = i64::try_from(len).unwrap_or(i64::MAX);
        let from_start = |index: i64| {
            if index < 0 {
                index.saturating_add(signed_len)
            } else {
                index
            }
        };
        let start = from_start(start).max(0);
        let stop = from_start(stop).min(signed_len - 1);
        (start <= stop).then(|| Self {
            start: start.unsigned_abs(),
            count: (stop - start).unsigned_abs() + 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_redis() {
        let range = |start, stop| Range::of(start, stop, 5).map(|range| (range.start, range.count));
        for (start, stop, expected) in [
            (0, -1, Some((0, 5))),
            (1, 2, Some((1, 2))),
            (-2, 100, Some((3, 2))),
            (-100, 0, Some((0, 1))),
            (3, 2, None),
            (5, 5, None),
            (0, -6, None),
            (i64::MIN, i64::MAX, Some((0, 5))),
            (i64::MAX, i64::MIN, None),
        ] {
            assert_eq!(range(start, stop), expected, "{start} {stop}");
        }
        assert_eq!(Range::of(0, -1, 0), None);
    }
}
