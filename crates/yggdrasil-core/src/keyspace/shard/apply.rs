//! Effects on a shard.

use crate::keyspace::effect::Effect;
use crate::keyspace::types::{Expiry, Key, KeyspaceError, Millis};

use super::Shard;

impl Shard {
    /// Does to a key, its database or the map of databases what an effect says. Pins hold whatever their limits say.
    ///
    /// # Errors
    /// There is no memory for it, or the value is of another kind: nothing has changed then.
    pub fn make(
        &mut self,
        key: &Key<'_>,
        effect: &Effect<'_>,
        now: Millis,
    ) -> Result<(), KeyspaceError> {
        match *effect {
            Effect::Put {
                kind,
                value,
                expire_at,
                pinned_until,
            } => {
                let expiry = expire_at.map_or(Expiry::Clear, Expiry::At);
                self.put(key, kind, value, expiry, now)?;
                if let Some(until) = pinned_until {
                    let before = self.peek(key, now).and_then(|entry| entry.pinned_until);
                    self.pin(key, before.unwrap_or(0).max(until), now);
                }
            }
            Effect::Splice { offset, bytes } => {
                self.write_range(key, offset, bytes, now)?;
            }
            Effect::Expire { at } => {
                self.set_expiry(key, at, now);
            }
            Effect::Remove => {
                self.remove(key, now);
            }
            Effect::Pin { until: Some(until) } => {
                self.pin(key, until, now);
            }
            Effect::Pin { until: None } => {
                self.unpin(key, now);
            }
            Effect::Clear => self.clear_database(key.db),
            Effect::MapDatabases { physical } => self.map_databases(physical),
        }
        Ok(())
    }
}
