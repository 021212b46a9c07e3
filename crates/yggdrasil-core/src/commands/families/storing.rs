//! Results of so many elements that they are made in steps before they are stored.

use std::fmt::Debug;

use crate::commands::families::steps::BYTES_AT_ONCE_MAX;
use crate::commands::table::error::CommandError;
use crate::commands::table::handler::{ShardContext, Work};
use crate::keyspace::{Collection, Effect, KeyEvent, Value, WrittenAhead};
use crate::resp::{Progress, Reply};

/// Elements up to which a result may be small enough to be packed.
const PACKED_MAX: u64 = 4096;

/// A collection in the making.
pub(in crate::commands) trait Making: Debug {
    /// Makes a bounded part of it. False when it is whole.
    ///
    /// # Errors
    /// The reply: nothing is stored then.
    fn go_on(&mut self) -> Result<bool, CommandError>;

    fn result(&self) -> &Collection;

    /// The number that is the reply, once it is whole.
    fn count(&self) -> u64 {
        self.result().len()
    }
}

/// A result under way to its key.
#[derive(Debug)]
pub(in crate::commands) struct Storing<M> {
    making: M,
    destination: Vec<u8>,
    event: KeyEvent,
    /// The whole result, while a log is told of it.
    ahead: Option<WrittenAhead>,
}

impl<M> Storing<M> {
    /// Stores what is made under a key, and tells of it by an event.
    pub fn new(making: M, destination: Vec<u8>, event: KeyEvent) -> Self {
        Self {
            making,
            destination,
            event,
            ahead: None,
        }
    }
}

impl<M: Making> Work for Storing<M> {
    fn go_on(
        &mut self,
        context: &mut ShardContext<'_>,
        reply: &mut Reply<'_>,
    ) -> Result<Progress, CommandError> {
        if self.ahead.is_none() && self.making.go_on()? {
            return Ok(Progress::More);
        }
        let (result, key) = (self.making.result(), context.key(&self.destination));
        if result.len() > PACKED_MAX || result.heap_bytes() > BYTES_AT_ONCE_MAX {
            let ahead = self
                .ahead
                .get_or_insert_with(|| WrittenAhead::new(result.clone()));
            if !context.shard.write_ahead(ahead, key.bytes)? {
                return Ok(Progress::More);
            }
            context
                .shard
                .put_ahead(ahead, &key, None, None, context.now)?;
            reply.count(self.making.count());
            context.notify(self.event, &key);
            return Ok(Progress::Done);
        }
        reply.count(self.making.count());
        if result.is_empty() {
            if context.shard.remove(&key, context.now) {
                context.notify(KeyEvent::Del, &key);
            }
            return Ok(Progress::Done);
        }
        let mut ops = Vec::new();
        result.write(&mut ops);
        let effect = Effect::Put {
            kind: result.kind(),
            value: Value::Written(&ops),
            expire_at: None,
            pinned_until: None,
        };
        context.shard.make(&key, &effect, context.now)?;
        context.notify(self.event, &key);
        Ok(Progress::Done)
    }
}
