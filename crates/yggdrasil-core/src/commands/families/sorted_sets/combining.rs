//! Unions, intersections and differences of so many members that they are made in steps.

use crate::commands::families::sorted_sets::algebra::{
    Aggregate, Combination, Operation, number_or_zero,
};
use crate::commands::families::sorted_sets::{begin_pairs, write_pair};
use crate::commands::families::steps::{AT_ONCE_MAX, STEP_NEXT, STEP_SOUGHT, hold};
use crate::commands::families::storing::{Making, Storing};
use crate::commands::families::value::write_element;
use crate::commands::table::error::CommandError;
use crate::commands::table::handler::PlanContext;
use crate::keyspace::collection::Held;
use crate::keyspace::collection::set::SetView;
use crate::keyspace::collection::sorted_set::{SortedSetView, put_score};
use crate::keyspace::{Collection, KeyEvent, Kind, Packing, Value};
use crate::resp::{Progress, Protocol, Reply, Rest};

use super::store::transient_packing;

/// A combination under way.
#[derive(Debug)]
struct Combining {
    operation: Operation,
    aggregate: Aggregate,
    with_scores: bool,
    /// The inputs with their weights.
    inputs: Vec<(Held, f64)>,
    /// The input whose members are looked at, and the next of them.
    source: usize,
    next: u64,
    packing: Packing,
    protocol: Protocol,
    result: Held,
    /// Members that were given; none before the length was.
    given: Option<u64>,
}

/// Ends a reply by a combination, if there is much to be looked at; false where it is to be made at once.
pub(super) fn combine_in_steps(combination: &Combination<'_>, reply: &mut Reply<'_>) -> bool {
    let Some(combining) = Combining::of(combination, reply.protocol()) else {
        return false;
    };
    reply.end_in_steps(Box::new(combining));
    true
}

/// Leaves a combination to be made and stored in steps, if there is much to be looked at; false where it is to be done at
/// once.
pub(super) fn store_in_steps(
    combination: &Combination<'_>,
    plan: &PlanContext<'_>,
    destination: &[u8],
    event: KeyEvent,
) -> bool {
    if !plan.may_work_in_steps() {
        return false;
    }
    let Some(making) = Combining::of(combination, Protocol::Resp2) else {
        return false;
    };
    let destination = destination.to_vec();
    plan.work_in_steps(|| Box::new(Storing::new(making, destination, event)));
    true
}

impl Making for Combining {
    fn go_on(&mut self) -> Result<bool, CommandError> {
        Ok(self.look_at_some())
    }

    fn result(&self) -> &Collection {
        &self.result
    }
}

impl Combining {
    /// A combination that has much to look at.
    fn of(combination: &Combination<'_>, protocol: Protocol) -> Option<Self> {
        let inputs = &combination.inputs;
        let looked_at = match combination.operation {
            Operation::Union => inputs.iter().map(|input| input.len()).sum(),
            Operation::Inter | Operation::Diff => inputs.first().map_or(0, |input| input.len()),
        };
        let packing = transient_packing();
        let result = Collection::new(Kind::SortedSet, &packing);
        let result = result.filter(|_| looked_at > AT_ONCE_MAX)?;
        let held = inputs.iter().filter_map(|input| {
            let collection = hold(input.entry.as_ref()?)?;
            Some((Held::new(collection), input.weight))
        });
        Some(Self {
            operation: combination.operation,
            aggregate: combination.aggregate,
            with_scores: combination.with_scores,
            inputs: held.collect(),
            source: 0,
            next: 0,
            packing,
            protocol,
            result: Held::new(result),
            given: None,
        })
    }
}

/// The score of a member; all members of a set have the score 1.
fn score_in(input: &Held, member: &[u8]) -> Option<f64> {
    let value = Value::Tree(input);
    match input.kind() {
        Kind::Set => {
            let set = SetView::of(&value, &Packing::default());
            set.contains(member).then_some(1.0)
        }
        _ => SortedSetView::of(&value, &Packing::default()).score(member),
    }
}

impl Combining {
    /// Looks at some members. False when all have been looked at.
    fn look_at_some(&mut self) -> bool {
        let Some((source, weight)) = self.inputs.get(self.source) else {
            return false;
        };
        if self.operation != Operation::Union && self.source > 0 {
            return false;
        }
        let tests = self.inputs.len() as u64;
        let end = source.len().min(self.next + (STEP_SOUGHT / tests).max(1));
        let (mut ops, mut buffer) = (Vec::new(), itoa::Buffer::new());
        let mut look = |member: &[u8], score: f64| {
            if let Some(score) = self.score_of(member, score, *weight) {
                put_score(&mut ops, member, score);
            }
        };
        let (value, packing) = (Value::Tree(source), Packing::default());
        match source.kind() {
            Kind::Set => SetView::of(&value, &packing).visit_at(self.next..end, |member| {
                look(member.text(&mut buffer), 1.0);
            }),
            _ => SortedSetView::of(&value, &packing).visit(&(self.next..end), |member, score| {
                look(member.text(&mut buffer), score);
            }),
        }
        self.next = end;
        if end == source.len() {
            (self.source, self.next) = (self.source + 1, 0);
        }
        self.result.apply(&ops, &self.packing);
        true
    }

    /// The score that a member of the source has in the result, where it belongs there.
    fn score_of(&self, member: &[u8], score: f64, weight: f64) -> Option<f64> {
        let others = self.inputs.get(1..).unwrap_or_default();
        match self.operation {
            Operation::Union => {
                let score = number_or_zero(weight * score);
                let before = score_in(&self.result, member);
                Some(before.map_or(score, |before| self.aggregate.put_together(before, score)))
            }
            Operation::Inter => {
                let first = number_or_zero(weight * score);
                others.iter().try_fold(first, |score, (other, weight)| {
                    let other = score_in(other, member)?;
                    Some(self.aggregate.put_together(score, other * weight))
                })
            }
            Operation::Diff => {
                let is_elsewhere = |(other, _): &(Held, f64)| score_in(other, member).is_some();
                (!others.iter().any(is_elsewhere)).then_some(score)
            }
        }
    }
}

impl Rest for Combining {
    fn go_on(&mut self, out: &mut Vec<u8>) -> Progress {
        if self.look_at_some() {
            return Progress::More;
        }
        let mut reply = Reply::new(out, self.protocol);
        let view = SortedSetView::of(&Value::Tree(&self.result), &Packing::default());
        let Some(given) = self.given else {
            match self.with_scores {
                true => begin_pairs(&mut reply, view.len()),
                false => reply.array(view.len() as usize),
            }
            self.given = Some(0);
            return match view.is_empty() {
                true => Progress::Done,
                false => Progress::More,
            };
        };
        let end = view.len().min(given + STEP_NEXT);
        view.visit(&(given..end), |member, score| match self.with_scores {
            true => write_pair(&mut reply, member, score),
            false => write_element(&mut reply, member),
        });
        self.given = Some(end);
        if end == view.len() {
            Progress::Done
        } else {
            Progress::More
        }
    }
}
