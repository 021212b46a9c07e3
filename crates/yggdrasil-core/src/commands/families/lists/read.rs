//! Reading of lists.

use super::arguments::{Range, at_least, integer, signed};
use super::{list_of, write_element};
use crate::commands::table::error::CommandError;
use crate::commands::table::handler::{Outcome, ReadContext, check_kind};
use crate::keyspace::collection::list::ListView;
use crate::keyspace::collection::listpack::Element;
use crate::keyspace::{EntryView, Kind};
use crate::resp::{Args, Reply};

pub(super) fn llen(
    _: &ReadContext<'_>,
    entry: Option<&EntryView<'_>>,
    _: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    reply.count(list_of(entry).len());
    Ok(())
}

pub(super) fn lindex(
    _: &ReadContext<'_>,
    entry: Option<&EntryView<'_>>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    if entry.is_none() {
        reply.null();
        return Ok(());
    }
    let list = list_of(entry);
    let index = integer(args.at(2))?;
    match position_of(index, list.len()).and_then(|position| list.at(position)) {
        Some(element) => write_element(reply, element),
        None => reply.null(),
    }
    Ok(())
}

/// The position that an index stands for in a list of `len` elements.
pub(super) fn position_of(index: i64, len: u64) -> Option<u64> {
    match u64::try_from(index) {
        Ok(position) => (position < len).then_some(position),
        Err(_) => len.checked_sub(index.unsigned_abs()),
    }
}

pub(super) fn lrange(
    _: &ReadContext<'_>,
    entry: Option<&EntryView<'_>>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let (start, stop) = (integer(args.at(2))?, integer(args.at(3))?);
    check_kind(Some(Kind::List), entry)?;
    let list = list_of(entry);
    let Some(range) = Range::of(start, stop, list.len()) else {
        reply.array(0);
        return Ok(());
    };
    reply.array(range.count as usize);
    for element in list.from(range.start).take(range.count as usize) {
        write_element(reply, element);
    }
    Ok(())
}

/// The options of LPOS.
struct Search {
    /// Matches from this one on count, 1 being the first.
    rank: u64,
    /// From the last element to the first.
    backwards: bool,
    /// How many are wanted, 0 for all; none for the first alone.
    count: Option<u64>,
    /// Elements to be compared, 0 for all.
    compared_max: u64,
}

impl Search {
    fn parse(args: &Args<'_>) -> Result<Self, CommandError> {
        let mut search = Self {
            rank: 1,
            backwards: false,
            count: None,
            compared_max: 0,
        };
        let mut at = 3;
        while at < args.len() {
            let (word, Some(value)) = (args.at(at), args.get(at + 1)) else {
                return Err(CommandError::Syntax);
            };
            if word.eq_ignore_ascii_case(b"rank") {
                let rank = signed(value)?;
                if rank == 0 {
                    return Err(CommandError::Plain(
                        "RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use \
                         negative to start from the end of the list",
                    ));
                }
                (search.rank, search.backwards) = (rank.unsigned_abs(), rank < 0);
            } else if word.eq_ignore_ascii_case(b"count") {
                search.count = Some(at_least(0, value, "COUNT can't be negative")?);
            } else if word.eq_ignore_ascii_case(b"maxlen") {
                search.compared_max = at_least(0, value, "MAXLEN can't be negative")?;
            } else {
                return Err(CommandError::Syntax);
            }
            at += 2;
        }
        Ok(search)
    }

    /// The positions that are found.
    fn run(&self, list: &ListView<'_>, sought: &[u8]) -> Vec<u64> {
        let len = list.len();
        let Some(last) = len.checked_sub(1) else {
            return Vec::new();
        };
        let compared = match self.compared_max {
            0 => usize::MAX,
            most => usize::try_from(most).unwrap_or(usize::MAX),
        };
        let wanted = match self.count {
            None => 1,
            Some(0) => usize::MAX,
            Some(count) => usize::try_from(count).unwrap_or(usize::MAX),
        };
        let passed = usize::try_from(self.rank - 1).unwrap_or(usize::MAX);
        let sought = Element::of(sought);
        let is_it =
            |(position, element): (u64, Element<'_>)| (element == sought).then_some(position);
        if self.backwards {
            let elements = (0..len).rev().zip(list.back_from(last)).take(compared);
            elements
                .filter_map(is_it)
                .skip(passed)
                .take(wanted)
                .collect()
        } else {
            let elements = (0..).zip(list.from(0)).take(compared);
            elements
                .filter_map(is_it)
                .skip(passed)
                .take(wanted)
                .collect()
        }
    }
}

pub(super) fn lpos(
    _: &ReadContext<'_>,
    entry: Option<&EntryView<'_>>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let search = Search::parse(args)?;
    check_kind(Some(Kind::List), entry)?;
    let found = search.run(&list_of(entry), args.at(2));
    match (search.count, found.first()) {
        (Some(_), _) => {
            reply.array(found.len());
            found.iter().for_each(|position| reply.count(*position));
        }
        (None, Some(position)) => reply.count(*position),
        (None, None) => reply.null(),
    }
    Ok(())
}
