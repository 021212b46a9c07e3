//! SORT of so many elements that they are put in order in steps.

use std::cmp::Ordering;
use std::ops::Range;

use crate::commands::families::merging::{Row, Runs, key_of};
use crate::commands::families::sort::number;
use crate::commands::families::steps::{STEP_BYTES, STEP_NEXT, STEP_SOUGHT};
use crate::commands::families::storing::{Making, Storing};
use crate::commands::table::error::CommandError;
use crate::commands::table::handler::PlanContext;
use crate::keyspace::collection::Held;
use crate::keyspace::collection::list::{ListView, Side, put_push};
use crate::keyspace::collection::set::SetView;
use crate::keyspace::collection::sorted_set::SortedSetView;
use crate::keyspace::{Collection, KeyEvent, Kind, Packing, Value};
use crate::resp::{Progress, Protocol, Reply, Rest};

/// By what elements are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    Number,
    Text,
    /// Their places, which they keep.
    Place,
}

/// How elements are compared.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    pub weight: Weight,
    pub descending: bool,
}

/// What an element is compared by, before its text.
#[derive(Clone, Copy, Debug)]
struct Weighed {
    key: u64,
    descending: bool,
}

impl Row for Weighed {
    fn compare(&self, text: &[u8], other: &Self, other_text: &[u8]) -> Ordering {
        let order = (self.key, text).cmp(&(other.key, other_text));
        if self.descending {
            order.reverse()
        } else {
            order
        }
    }
}

/// Elements that are put in order.
#[derive(Debug)]
struct Sorting {
    held: Held,
    manner: Manner,
    /// The next element that is taken.
    next: u64,
    runs: Runs<Weighed>,
    /// Elements that are passed over, and such that are given then.
    skipped: usize,
    left: usize,
}

/// Ends a reply by the elements of a part of the order.
pub(super) fn sort_in_steps(
    reply: &mut Reply<'_>,
    collection: Collection,
    manner: Manner,
    part: &Range<usize>,
) {
    reply.end_in_steps(Box::new(Giving {
        sorting: Sorting::of(collection, manner, part),
        is_begun: false,
        protocol: reply.protocol(),
    }));
}

/// Leaves them to be stored in steps; false where it is to be done at once.
pub(super) fn store_in_steps(
    plan: &PlanContext<'_>,
    collection: Collection,
    manner: Manner,
    part: &Range<usize>,
    destination: &[u8],
) -> bool {
    if !plan.may_work_in_steps() {
        return false;
    }
    let packing = Packing::default();
    let Some(result) = Collection::new(Kind::List, &packing) else {
        return false;
    };
    plan.work_in_steps(|| {
        Box::new(Storing::new(
            Listing {
                sorting: Sorting::of(collection, manner, part),
                packing,
                result: Held::new(result),
            },
            destination.to_vec(),
            KeyEvent::SortStore,
        ))
    });
    true
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
    fn of(collection: Collection, manner: Manner, part: &Range<usize>) -> Self {
        Self {
            held: Held::new(collection),
            manner,
            next: 0,
            runs: Runs::default(),
            skipped: part.start,
            left: part.len(),
        }
    }

    /// Takes the next elements as a run. False when all are taken.
    fn take_some(&mut self) -> Result<bool, CommandError> {
        if self.next == self.held.len() {
            return Ok(false);
        }
        let end = self.held.len().min(self.next + STEP_NEXT);
        let (mut bytes, mut rows, mut is_wrong) = (Vec::new(), Vec::new(), false);
        let Manner { weight, descending } = self.manner;
        let mut place = self.next;
        visit(&self.held, self.next..end, |element| {
            let key = match weight {
                Weight::Number => number(element).map(key_of),
                Weight::Text => Some(0),
                Weight::Place => Some(place),
            };
            place += 1;
            is_wrong |= key.is_none();
            let start = bytes.len();
            bytes.extend_from_slice(element);
            let row = Weighed {
                key: key.unwrap_or(0),
                descending,
            };
            rows.push((row, start..bytes.len()));
        });
        if is_wrong {
            return Err(CommandError::Plain(
                "One or more scores can't be converted into double",
            ));
        }
        self.next = end;
        self.runs.add(bytes, rows);
        Ok(true)
    }

    /// Gives the next elements of the part, of so many bytes.
    fn give_some(&mut self, mut give: impl FnMut(&[u8])) {
        let mut bytes = 0;
        for _ in 0..STEP_SOUGHT {
            if self.left == 0 || bytes > STEP_BYTES {
                return;
            }
            let Some((_, element)) = self.runs.take() else {
                self.left = 0;
                return;
            };
            if self.skipped > 0 {
                self.skipped -= 1;
                continue;
            }
            give(&element);
            bytes += element.len();
            self.left -= 1;
        }
    }
}

/// A reply under way.
#[derive(Debug)]
struct Giving {
    sorting: Sorting,
    is_begun: bool,
    protocol: Protocol,
}

impl Rest for Giving {
    fn go_on(&mut self, out: &mut Vec<u8>) -> Progress {
        let mut reply = Reply::new(out, self.protocol);
        match self.sorting.take_some() {
            Ok(true) => return Progress::More,
            Ok(false) => {}
            Err(error) => {
                error.write(&mut reply);
                return Progress::Done;
            }
        }
        if !self.is_begun {
            self.is_begun = true;
            reply.array(self.sorting.left);
        }
        self.sorting.give_some(|element| reply.bulk(element));
        if self.sorting.left == 0 {
            Progress::Done
        } else {
            Progress::More
        }
    }
}

/// A list in the making.
#[derive(Debug)]
struct Listing {
    sorting: Sorting,
    packing: Packing,
    result: Held,
}

impl Making for Listing {
    fn go_on(&mut self) -> Result<bool, CommandError> {
        if self.sorting.take_some()? {
            return Ok(true);
        }
        let mut ops = Vec::new();
        self.sorting
            .give_some(|element| put_push(&mut ops, Side::Back, element));
        self.result.apply(&ops, &self.packing);
        Ok(self.sorting.left > 0)
    }

    fn result(&self) -> &Collection {
        &self.result
    }
}
