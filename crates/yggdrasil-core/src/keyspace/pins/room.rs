//! What may still be pinned.

use std::sync::Arc;

use super::{Bytes, PIN_RULES_MAX, PinLimits, option_of};
use crate::keyspace::types::KeyspaceError;

/// The limits of pins, and what the node had pinned at one moment.
#[derive(Clone, Debug)]
pub struct PinRoom {
    pub(super) limits: Arc<PinLimits>,
    /// Of all shards, by rule; zeros where nothing is limited.
    pub(super) used: Bytes,
}

impl PinRoom {
    /// True when all of these keys may have so many bytes more.
    ///
    /// # Errors
    /// [`KeyspaceError::PinLimit`] names the limit that is in the way.
    pub fn check(&self, added: &[(&[u8], u64)]) -> Result<(), KeyspaceError> {
        let mut more = [0_u64; PIN_RULES_MAX + 1];
        for (key, bytes) in added {
            for rule in self.limits.rules(key) {
                more[rule] = more[rule].saturating_add(*bytes);
            }
        }
        let mut more = more.into_iter().enumerate().filter(|(_, more)| *more != 0);
        more.try_for_each(|(rule, needed)| self.check_rule(rule, needed))
    }

    /// True when a pin may go from one key to another that takes `bytes`: what it frees counts.
    ///
    /// # Errors
    /// [`KeyspaceError::PinLimit`] for a prefix that only the new name has.
    pub fn check_move(&self, from: &[u8], to: &[u8], bytes: u64) -> Result<(), KeyspaceError> {
        let held: Vec<usize> = self.limits.rules(from).collect();
        let mut added = self.limits.rules(to).filter(|rule| !held.contains(rule));
        added.try_for_each(|rule| self.check_rule(rule, bytes))
    }

    fn check_rule(&self, rule: usize, needed: u64) -> Result<(), KeyspaceError> {
        let (limit, used) = (self.limits.of_rule(rule), self.used[rule]);
        if limit == u64::MAX || used.saturating_add(needed) <= limit {
            return Ok(());
        }
        Err(KeyspaceError::PinLimit {
            needed,
            used,
            limit,
            option: option_of(rule),
        })
    }
}
