//! Intersections, unions and differences of so many members that they are made in steps.

use std::collections::VecDeque;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use crate::commands::families::steps::{AT_ONCE_MAX, STEP_SOUGHT, hold};
use crate::commands::families::storing::{Making, Storing};
use crate::commands::families::value::write_element;
use crate::commands::table::error::CommandError;
use crate::commands::table::handler::{Found, PlanContext};
use crate::keyspace::collection::Held;
use crate::keyspace::collection::set::{SetView, put_add};
use crate::keyspace::{Collection, KeyEvent, Kind, Packing, Value};
use crate::resp::{Args, Progress, Protocol, Reply, Rest};

/// What becomes of several sets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Operation {
    Intersection,
    Union,
    Difference,
}

/// What is given of the result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Given {
    Members,
    /// Their number, up to a limit.
    Count(usize),
    /// Nothing: they are to be stored.
    Nothing,
}

/// A combination under way.
#[derive(Debug)]
struct Combining {
    operation: Operation,
    given: Given,
    sets: Vec<Held>,
    /// The set whose members are looked at, and the next of them.
    source: usize,
    next: u64,
    protocol: Protocol,
    /// Members of the result as they are sent, in pieces.
    pieces: VecDeque<Vec<u8>>,
    count: usize,
    is_begun: bool,
    /// The result that is to be stored.
    result: Option<Held>,
    packing: Packing,
}

/// Ends a reply by a combination, if there is much to be looked at; false where it is to be made at once.
pub(super) fn combine_in_steps(
    operation: Operation,
    given: Given,
    found: &[Found<'_>],
    sets: &[SetView<'_>],
    reply: &mut Reply<'_>,
) -> bool {
    let Some(combining) = Combining::of(operation, given, found, sets, reply.protocol()) else {
        return false;
    };
    reply.end_in_steps(Box::new(combining));
    true
}

/// Leaves a combination to be made and stored in steps, if there is much to be looked at; false where it is to be done at
/// once. The destination is the first argument.
pub(super) fn store_in_steps(
    operation: Operation,
    (plan, args): (&PlanContext<'_>, &Args<'_>),
    found: &[Found<'_>],
    sets: &[SetView<'_>],
    event: KeyEvent,
) -> bool {
    if !plan.may_work_in_steps() {
        return false;
    }
    let made = Combining::of(operation, Given::Nothing, found, sets, Protocol::Resp2);
    let Some(mut making) = made else {
        return false;
    };
    making.result = Collection::new(Kind::Set, &making.packing).map(Held::new);
    let destination = args.at(1).to_vec();
    plan.work_in_steps(|| Box::new(Storing::new(making, destination, event)));
    true
}

impl Making for Combining {
    fn go_on(&mut self) -> Result<bool, CommandError> {
        Ok(self.look_at_some())
    }

    fn result(&self) -> &Collection {
        self.result.as_deref().expect("a result was begun")
    }
}

impl Combining {
    /// A combination that has much to look at.
    fn of(
        operation: Operation,
        given: Given,
        found: &[Found<'_>],
        sets: &[SetView<'_>],
        protocol: Protocol,
    ) -> Option<Self> {
        let lens = sets.iter().map(SetView::len);
        let looked_at = match operation {
            Operation::Intersection => lens.min().unwrap_or(0),
            Operation::Union => lens.sum(),
            Operation::Difference => sets.first().map_or(0, SetView::len),
        };
        if looked_at <= AT_ONCE_MAX {
            return None;
        }
        let held = found.iter().flatten().filter_map(hold).map(Held::new);
        let mut held: Vec<_> = held.collect();
        if operation == Operation::Intersection {
            held.sort_by_key(|set| set.len());
        }
        Some(Self {
            operation,
            given,
            sets: held,
            source: 0,
            next: 0,
            protocol,
            pieces: VecDeque::new(),
            count: 0,
            is_begun: false,
            result: None,
            packing: Packing {
                seed: RandomState::new().hash_one(0),
                ..Packing::default()
            },
        })
    }
}

fn view(set: &Held) -> SetView<'_> {
    SetView::of(&Value::Tree(set), &Packing::default())
}

impl Combining {
    /// Looks at some members. False when all have been looked at.
    fn look_at_some(&mut self) -> bool {
        let (before, others) = self.sets.split_at(self.source);
        let Some((source, behind)) = others.split_first() else {
            return false;
        };
        let is_whole = self.given == Given::Count(self.count);
        if is_whole || self.operation != Operation::Union && self.source > 0 {
            return false;
        }
        let views = |sets| <[Held]>::iter(sets).map(view).collect::<Vec<_>>();
        let (before, behind) = (views(before), views(behind));
        let tests = match self.operation {
            Operation::Union => before.len(),
            _ => behind.len(),
        };
        let some = (STEP_SOUGHT / (tests as u64 + 1)).max(1);
        let end = source.len().min(self.next + some);
        let (mut piece, mut ops) = (Vec::new(), Vec::new());
        let mut buffer = itoa::Buffer::new();
        let mut reply = Reply::new(&mut piece, self.protocol);
        view(source).visit_at(self.next..end, |member| {
            let text = member.text(&mut buffer);
            let is_in = |set: &SetView<'_>| set.contains(text);
            let is_wanted = match self.operation {
                Operation::Intersection => behind.iter().all(is_in),
                Operation::Union => !before.iter().any(is_in),
                Operation::Difference => !behind.iter().any(is_in),
            };
            if is_wanted && self.given != Given::Count(self.count) {
                self.count += 1;
                match self.given {
                    Given::Members => write_element(&mut reply, member),
                    Given::Nothing => put_add(&mut ops, text),
                    Given::Count(_) => {}
                }
            }
        });
        if !piece.is_empty() {
            self.pieces.push_back(piece);
        }
        if let Some(result) = &mut self.result {
            result.apply(&ops, &self.packing);
        }
        self.next = end;
        if end == source.len() {
            (self.source, self.next) = (self.source + 1, 0);
        }
        true
    }
}

impl Rest for Combining {
    fn go_on(&mut self, out: &mut Vec<u8>) -> Progress {
        if self.look_at_some() {
            return Progress::More;
        }
        if self.is_begun {
            let piece = self.pieces.pop_front().unwrap_or_default();
            out.extend_from_slice(&piece);
        } else {
            self.is_begun = true;
            let mut reply = Reply::new(out, self.protocol);
            match self.given {
                Given::Members => reply.set(self.count),
                Given::Count(_) | Given::Nothing => reply.count(self.count as u64),
            }
        }
        if self.pieces.is_empty() {
            Progress::Done
        } else {
            Progress::More
        }
    }
}
