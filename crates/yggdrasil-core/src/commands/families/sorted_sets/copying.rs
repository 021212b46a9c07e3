//! Members of a sorted set that are stored under another key, so many that it is done in steps.

use std::ops::Range;

use crate::commands::families::steps::{AT_ONCE_MAX, STEP_SOUGHT, hold};
use crate::commands::families::storing::{Making, Storing};
use crate::commands::table::error::CommandError;
use crate::commands::table::handler::PlanContext;
use crate::keyspace::collection::Held;
use crate::keyspace::collection::sorted_set::{SortedSetView, put_score};
use crate::keyspace::{Collection, EntryView, KeyEvent, Kind, Packing, Value};

use super::store::transient_packing;

/// A copy under way.
#[derive(Debug)]
struct Copying {
    source: Held,
    /// Positions of members that are not copied yet.
    left: Range<u64>,
    packing: Packing,
    result: Held,
}

/// Leaves the members of some positions to be stored in steps, if there are many; false where it is to be done at once.
pub(super) fn copy_in_steps(
    plan: &PlanContext<'_>,
    source: &EntryView<'_>,
    positions: &Range<u64>,
    destination: &[u8],
    event: KeyEvent,
) -> bool {
    let count = positions.end.saturating_sub(positions.start);
    if count <= AT_ONCE_MAX || !plan.may_work_in_steps() {
        return false;
    }
    let packing = transient_packing();
    let result = Collection::new(Kind::SortedSet, &packing);
    let (Some(source), Some(result)) = (hold(source), result) else {
        return false;
    };
    plan.work_in_steps(|| {
        Box::new(Storing::new(
            Copying {
                source: Held::new(source),
                left: positions.clone(),
                packing,
                result: Held::new(result),
            },
            destination.to_vec(),
            event,
        ))
    });
    true
}

impl Making for Copying {
    fn go_on(&mut self) -> Result<bool, CommandError> {
        let end = self.left.end.min(self.left.start + STEP_SOUGHT);
        let mut ops = Vec::new();
        let source = Value::Tree(&self.source);
        let members = SortedSetView::of(&source, &self.packing);
        let mut buffer = itoa::Buffer::new();
        members.visit(&(self.left.start..end), |member, score| {
            put_score(&mut ops, member.text(&mut buffer), score);
        });
        self.result.apply(&ops, &self.packing);
        self.left.start = end;
        Ok(!self.left.is_empty())
    }

    fn result(&self) -> &Collection {
        &self.result
    }
}
