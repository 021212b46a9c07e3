//! Reading of lists.

use super::arguments::{Range, at_least, integer, signed};
use super::list_of;
use crate::commands::families::steps::{STEP_NEXT, long, write_in_steps};
use crate::commands::families::value::write_element;
use crate::commands::table::error::CommandError;
use crate::commands::table::handler::{Outcome, ReadContext, check_kind};
use crate::keyspace::collection::Held;
use crate::keyspace::collection::list::ListView;
use crate::keyspace::collection::listpack::Element;
use crate::keyspace::{EntryView, Kind, Packing, Value};
use crate::resp::{Args, Progress, Protocol, Reply, Rest};

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
    let span = range.start..range.start + range.count;
    if let Some(tree) = long(entry, range.count) {
        write_in_steps(reply, tree, span, |tree, positions, reply| {
            let list = ListView::of(&Value::Tree(tree), &Packing::default());
            list.visit(positions, |element| write_element(reply, element));
        });
        return Ok(());
    }
    list.visit(span, |element| write_element(reply, element));
    Ok(())
}

/// The options of LPOS.
#[derive(Debug)]
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

    /// Gives the positions that were found.
    fn write(&self, found: &[u64], reply: &mut Reply<'_>) {
        match (self.count, found.first()) {
            (Some(_), _) => {
                reply.array(found.len());
                found.iter().for_each(|position| reply.count(*position));
            }
            (None, Some(position)) => reply.count(*position),
            (None, None) => reply.null(),
        }
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
    let list = list_of(entry);
    let compared = match search.compared_max {
        0 => list.len(),
        most => most.min(list.len()),
    };
    if let Some(tree) = long(entry, compared) {
        let left = match search.backwards {
            false => 0..compared,
            true => list.len() - compared..list.len(),
        };
        reply.end_in_steps(Box::new(Searching {
            list: Held::new(tree.clone()),
            sought: args.at(2).to_vec(),
            found: Vec::new(),
            passed: 0,
            protocol: reply.protocol(),
            search,
            left,
        }));
        return Ok(());
    }
    search.write(&search.run(&list, args.at(2)), reply);
    Ok(())
}

/// A search under way, in a long list.
#[derive(Debug)]
struct Searching {
    search: Search,
    list: Held,
    sought: Vec<u8>,
    /// Positions that are not compared yet.
    left: std::ops::Range<u64>,
    /// Matches before the first that counts.
    passed: u64,
    found: Vec<u64>,
    protocol: Protocol,
}

impl Searching {
    fn note(&mut self, position: u64) {
        self.passed += 1;
        if self.passed >= self.search.rank {
            self.found.push(position);
        }
    }

    fn has_all(&self) -> bool {
        match self.search.count {
            Some(0) => false,
            Some(count) => self.found.len() as u64 >= count,
            None => !self.found.is_empty(),
        }
    }
}

impl Rest for Searching {
    fn go_on(&mut self, out: &mut Vec<u8>) -> Progress {
        if self.left.is_empty() || self.has_all() {
            if let Some(count) = self.search.count.filter(|count| *count > 0) {
                self.found
                    .truncate(usize::try_from(count).unwrap_or(usize::MAX));
            }
            self.search
                .write(&self.found, &mut Reply::new(out, self.protocol));
            return Progress::Done;
        }
        let count = STEP_NEXT.min(self.left.end - self.left.start);
        let list = ListView::of(&Value::Tree(&self.list), &Packing::default());
        let sought = Element::of(&self.sought);
        let is_it =
            |(position, element): (u64, Element<'_>)| (element == sought).then_some(position);
        let some = count as usize;
        let found: Vec<u64> = if self.search.backwards {
            let elements = list.back_from(self.left.end - 1).take(some);
            let positions = (0..self.left.end).rev();
            positions.zip(elements).filter_map(is_it).collect()
        } else {
            let elements = list.from(self.left.start).take(some);
            (self.left.start..)
                .zip(elements)
                .filter_map(is_it)
                .collect()
        };
        match self.search.backwards {
            true => self.left.end -= count,
            false => self.left.start += count,
        }
        found.into_iter().for_each(|position| self.note(position));
        Progress::More
    }
}
