//! SORT of so many elements that they are put in order in steps: short runs first, which are merged as they are given.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::ops::Range;

use crate::commands::families::sort::number;
use crate::commands::families::steps::{STEP_BYTES, STEP_NEXT, STEP_SOUGHT};
use crate::commands::table::error::CommandError;
use crate::keyspace::collection::Held;
use crate::keyspace::collection::list::ListView;
use crate::keyspace::collection::set::SetView;
use crate::keyspace::collection::sorted_set::SortedSetView;
use crate::keyspace::{Collection, Kind, Packing, Value};
use crate::resp::{Progress, Protocol, Reply, Rest};

/// How elements are compared.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    pub alpha: bool,
    pub descending: bool,
}

/// Elements in order, one behind the other, and what is left of them to be given.
#[derive(Debug)]
struct Run {
    bytes: Vec<u8>,
    rows: std::vec::IntoIter<(u64, Range<usize>)>,
}

/// The next element of a run.
#[derive(Debug)]
struct Head {
    key: u64,
    element: Vec<u8>,
    run: usize,
    descending: bool,
}

impl Head {
    fn compare(&self, other: &Self) -> Ordering {
        let order = (self.key, &self.element).cmp(&(other.key, &other.element));
        // The greatest of a heap comes first.
        if self.descending {
            order
        } else {
            order.reverse()
        }
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.compare(other) == Ordering::Equal
    }
}

impl Eq for Head {}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        self.compare(other)
    }
}

/// A number whose order as an integer is that of the double.
fn key_of(number: f64) -> u64 {
    let bits = number.to_bits();
    if bits >> 63 == 0 {
        bits | 1 << 63
    } else {
        !bits
    }
}

/// A sort under way.
#[derive(Debug)]
struct Sorting {
    held: Held,
    manner: Manner,
    /// The next element that is taken.
    next: u64,
    runs: Vec<Run>,
    heads: BinaryHeap<Head>,
    /// Elements that are passed over, and such that are given then.
    skipped: usize,
    left: usize,
    is_begun: bool,
    protocol: Protocol,
}

/// Ends a reply by the elements of a part of the order.
pub(super) fn sort_in_steps(
    reply: &mut Reply<'_>,
    collection: Collection,
    manner: Manner,
    part: &Range<usize>,
) {
    reply.end_in_steps(Box::new(Sorting {
        held: Held::new(collection),
        manner,
        next: 0,
        runs: Vec::new(),
        heads: BinaryHeap::new(),
        skipped: part.start,
        left: part.len(),
        is_begun: false,
        protocol: reply.protocol(),
    }));
}

/// Visits the elements of some positions.
fn visit(collection: &Collection, positions: Range<u64>, mut visit: impl FnMut(&[u8])) {
    let (value, packing) = (Value::Tree(collection), Packing::default());
    let mut buffer = itoa::Buffer::new();
    match collection.kind() {
        Kind::List => {
            let count = (positions.end - positions.start) as usize;
            let list = ListView::of(&value, &packing);
            for element in list.from(positions.start).take(count) {
                visit(element.text(&mut buffer));
            }
        }
        Kind::Set => SetView::of(&value, &packing)
            .visit_at(positions, |member| visit(member.text(&mut buffer))),
        _ => SortedSetView::of(&value, &packing)
            .visit(&positions, |member, _| visit(member.text(&mut buffer))),
    }
}

impl Sorting {
    /// Takes the next elements as a run.
    fn take_some(&mut self) -> Result<(), CommandError> {
        let end = self.held.len().min(self.next + STEP_NEXT);
        let (mut bytes, mut rows, mut is_wrong) = (Vec::new(), Vec::new(), false);
        visit(&self.held, self.next..end, |element| {
            let weight = match self.manner.alpha {
                true => Some(0.0),
                false => number(element),
            };
            is_wrong |= weight.is_none();
            let start = bytes.len();
            bytes.extend_from_slice(element);
            rows.push((key_of(weight.unwrap_or(0.0)), start..bytes.len()));
        });
        if is_wrong {
            return Err(CommandError::Plain(
                "One or more scores can't be converted into double",
            ));
        }
        rows.sort_unstable_by(|(one, a), (other, b)| {
            let order = (one, &bytes[a.clone()]).cmp(&(other, &bytes[b.clone()]));
            match self.manner.descending {
                true => order.reverse(),
                false => order,
            }
        });
        self.next = end;
        self.runs.push(Run {
            bytes,
            rows: rows.into_iter(),
        });
        self.advance(self.runs.len() - 1);
        Ok(())
    }

    /// Puts the next element of a run among the heads.
    fn advance(&mut self, run: usize) {
        let from = &mut self.runs[run];
        if let Some((key, place)) = from.rows.next() {
            self.heads.push(Head {
                key,
                element: from.bytes[place].to_vec(),
                run,
                descending: self.manner.descending,
            });
        }
    }
}

impl Rest for Sorting {
    fn go_on(&mut self, out: &mut Vec<u8>) -> Progress {
        let mut reply = Reply::new(out, self.protocol);
        if self.next < self.held.len() {
            return match self.take_some() {
                Ok(()) => Progress::More,
                Err(error) => {
                    error.write(&mut reply);
                    Progress::Done
                }
            };
        }
        if !self.is_begun {
            self.is_begun = true;
            reply.array(self.left);
        }
        let start = reply.position();
        for _ in 0..STEP_SOUGHT {
            if self.left == 0 {
                return Progress::Done;
            }
            let Some(head) = self.heads.pop() else {
                return Progress::Done;
            };
            self.advance(head.run);
            if self.skipped > 0 {
                self.skipped -= 1;
                continue;
            }
            reply.bulk(&head.element);
            self.left -= 1;
            if reply.position() - start > STEP_BYTES {
                break;
            }
        }
        if self.left == 0 {
            Progress::Done
        } else {
            Progress::More
        }
    }
}
