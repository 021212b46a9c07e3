//! Filling a shard from a snapshot.

use yggdrasil_core::keyspace::{ApplyError, EffectError, Record, Shard};

use crate::load::Batch;

/// Records that are decoded, and whose places are asked for, before the first of them is applied.
const AHEAD: usize = 16;

/// A record of a snapshot that cannot be applied.
#[derive(Debug, thiserror::Error)]
pub enum FillError {
    #[error(transparent)]
    Record(#[from] EffectError),
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

/// Applies the records of a batch, and gives their number. Where it is the first one with entries, `keys` says how many the
/// shard is going to have.
///
/// # Errors
/// A record is none, or does not fit the shard. Those before it are applied.
pub fn apply_batch(
    shard: &mut Shard,
    batch: &Batch,
    mut keys: Option<u64>,
) -> Result<u64, FillError> {
    let mut records = 0;
    let mut ahead: Vec<(u64, Record<'_>)> = Vec::with_capacity(AHEAD);
    let mut changes = batch.changes();
    loop {
        for change in changes.by_ref().take(AHEAD) {
            let record = Record::decode(change.record)?;
            shard.prefetch_key(record.db, record.key);
            ahead.push((change.number, record));
        }
        if ahead.is_empty() {
            return Ok(records);
        }
        records += ahead.len() as u64;
        for (number, record) in ahead.drain(..) {
            shard.apply(&record, number)?;
            if let Some(keys) = keys.take() {
                shard.expect_keys(record.db, keys);
            }
        }
    }
}
