//! Removals of so many elements of one collection that they are made in steps.

use std::fmt;

use crate::commands::table::error::CommandError;
use crate::commands::table::handler::{Outcome, ShardContext, Work};
use crate::keyspace::{Key, KeyEvent, Kind};
use crate::resp::{Progress, Reply};

/// Elements up to which a removal is made at once.
pub(in crate::commands) const AT_ONCE_MAX: u64 = 1024;
/// Elements of a step.
const STEP: u64 = 512;
/// Bytes of the record of a step beside its operations.
const RECORD_BYTES: u64 = 64;

/// What is removed from a collection, of which something is left.
pub(in crate::commands) struct Removal<F> {
    pub kind: Kind,
    pub count: u64,
    /// Bytes of all operations, about.
    pub bytes: u64,
    pub event: KeyEvent,
    /// Appends the operations that remove so many of what is left to be removed.
    pub ops: F,
}

/// Removes elements, at once or in steps.
pub(in crate::commands) fn remove<F>(
    context: &mut ShardContext<'_>,
    key: &Key<'_>,
    mut removal: Removal<F>,
) -> Outcome
where
    F: FnMut(&mut Vec<u8>, u64) + 'static,
{
    if removal.count > AT_ONCE_MAX && context.may_work_in_steps() {
        let work = in_steps(context, key, removal)?;
        context.work_in_steps(|| work);
        return Ok(());
    }
    let mut ops = Vec::new();
    (removal.ops)(&mut ops, removal.count);
    context.reduce(key, removal.kind, &ops)?;
    context.notify(removal.event, key);
    Ok(())
}

/// A removal that is made in steps. There is room for its records.
pub(in crate::commands) fn in_steps<F>(
    context: &mut ShardContext<'_>,
    key: &Key<'_>,
    removal: Removal<F>,
) -> Result<Box<dyn Work>, CommandError>
where
    F: FnMut(&mut Vec<u8>, u64) + 'static,
{
    let steps = removal.count.div_ceil(STEP);
    let records = removal.bytes + steps * (RECORD_BYTES + key.bytes.len() as u64);
    context.shard.reserve_record(records)?;
    let key = key.bytes.to_vec();
    Ok(Box::new(Removing { key, removal }))
}

/// A removal under way.
struct Removing<F> {
    key: Vec<u8>,
    removal: Removal<F>,
}

impl<F> fmt::Debug for Removing<F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "Removing({} of {:?})",
            self.removal.count, self.removal.kind
        )
    }
}

impl<F: FnMut(&mut Vec<u8>, u64)> Work for Removing<F> {
    fn go_on(
        &mut self,
        context: &mut ShardContext<'_>,
        _: &mut Reply<'_>,
    ) -> Result<Progress, CommandError> {
        let key = context.key(&self.key);
        let removal = &mut self.removal;
        let some = removal.count.min(STEP);
        let mut ops = Vec::new();
        (removal.ops)(&mut ops, some);
        context.reduce(&key, removal.kind, &ops)?;
        removal.count -= some;
        if removal.count > 0 {
            return Ok(Progress::More);
        }
        context.notify(removal.event, &key);
        Ok(Progress::Done)
    }
}
