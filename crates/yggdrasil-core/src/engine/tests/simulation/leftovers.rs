//! What an engine must not hold when nobody waits for anything.

use crate::engine::Engine;

impl Engine {
    /// Something that is held though nobody waits for it.
    pub(super) fn left_over(&self) -> Option<&'static str> {
        let left = [
            (!self.sessions.is_empty(), "a session"),
            (self.tickets.len() > 0, "a ticket"),
            (!self.gathers.is_empty(), "a gather"),
            (!self.transactions.is_empty(), "a transaction"),
            (self.reserved.is_some(), "a reservation"),
            (!self.deferred.is_empty(), "something deferred"),
            (!self.parked.is_empty(), "a request that waits"),
            (
                !self.spreads.is_empty(),
                "a request that waits at several shards",
            ),
            (!self.deadlines.is_empty(), "a deadline"),
            (!self.inbound.is_empty(), "a long argument"),
            (!self.steps.lists.is_empty(), "a list"),
            (!self.steps.rests.is_empty(), "the rest of a reply"),
            (!self.steps.works.is_empty(), "a change under way"),
            (!self.acknowledged.is_empty(), "a reply that waits for logs"),
            (
                !self.delayed_executions.is_empty(),
                "a request of a Python command",
            ),
            (
                !self.ring_waiters.is_empty(),
                "somebody who waits for a ring",
            ),
            (!self.staged.is_empty(), "a staged request"),
            (!self.holder.is_empty(), "a lease"),
            (self.shard.memory().leased > 0, "leased memory"),
            (self.shard.draft_bytes() > 0, "a draft"),
        ];
        left.iter()
            .find(|(is_left, _)| *is_left)
            .map(|(_, name)| *name)
    }
}
