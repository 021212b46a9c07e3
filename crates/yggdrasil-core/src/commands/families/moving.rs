//! Large collections that get another name, of which a log is told in parts before.

use crate::commands::families::steps::BYTES_AT_ONCE_MAX;
use crate::commands::table::error::CommandError;
use crate::commands::table::handler::{ShardContext, Work};
use crate::keyspace::{EntryView, Key, KeyEvent, Millis, Value, WrittenAhead, hash_key};
use crate::resp::{Progress, Reply};

/// The name that a collection gets, or loses.
#[derive(Debug)]
pub(in crate::commands) struct Name {
    pub db: u8,
    pub key: Vec<u8>,
    pub event: KeyEvent,
}

/// The reply to a request that has moved something.
#[derive(Clone, Copy, Debug)]
pub(in crate::commands) enum Told {
    Ok,
    One,
}

/// A collection on its way to another name.
#[derive(Debug)]
pub(in crate::commands) struct Moving {
    ahead: WrittenAhead,
    expire_at: Option<Millis>,
    pinned_until: Option<Millis>,
    to: Name,
    from: Option<Name>,
    told: Told,
}

impl Name {
    fn key<'k>(&'k self, context: &ShardContext<'_>) -> Key<'k> {
        Key {
            db: self.db,
            hash: hash_key(context.hash_seed, &self.key),
            bytes: &self.key,
        }
    }
}

impl Moving {
    /// Gives an entry another name; `None` where that is done at once. A pin goes along until `pinned_until`.
    pub fn of(
        source: &EntryView<'_>,
        pinned_until: Option<Millis>,
        (to, from): (Name, Option<Name>),
        told: Told,
    ) -> Option<Self> {
        let Value::Tree(tree) = source.value else {
            return None;
        };
        (tree.heap_bytes() > BYTES_AT_ONCE_MAX).then(|| Self {
            ahead: WrittenAhead::new(tree.clone()),
            expire_at: source.expire_at,
            pinned_until,
            to,
            from,
            told,
        })
    }
}

impl Work for Moving {
    fn go_on(
        &mut self,
        context: &mut ShardContext<'_>,
        reply: &mut Reply<'_>,
    ) -> Result<Progress, CommandError> {
        let key = self.to.key(context);
        if !context.shard.write_ahead(&mut self.ahead, key.bytes)? {
            return Ok(Progress::More);
        }
        let now = context.now;
        context.shard.put_ahead(
            &mut self.ahead,
            &key,
            self.expire_at,
            self.pinned_until,
            now,
        )?;
        if let Some(from) = &self.from {
            let old = from.key(context);
            context.shard.remove(&old, now);
            // Between databases, the old place is told first.
            if from.db != self.to.db {
                context.notify(from.event, &old);
            }
        }
        context.notify(self.to.event, &key);
        if let Some(from) = &self.from
            && from.db == self.to.db
        {
            let old = from.key(context);
            context.notify(from.event, &old);
        }
        match self.told {
            Told::Ok => reply.ok(),
            Told::One => reply.int(1),
        }
        Ok(Progress::Done)
    }
}
