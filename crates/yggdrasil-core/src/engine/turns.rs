//! Sessions that have sent so many requests that others have their turns in between.
//!
//! A client may send a thousand requests at once, each with a hundred elements for a very large collection. Some of them
//! are executed in a round of the loop; the session has its next turn behind those of others.

use std::collections::VecDeque;

use super::Engine;
use super::dispatch::TURN_COST;
use super::pending::SessionRef;
use super::session::Wait;

/// Sessions that wait for their turns, in their order.
#[derive(Default)]
pub(super) struct Turns {
    sessions: VecDeque<SessionRef>,
    /// The cost of the requests that have been executed.
    spent: usize,
}

impl Turns {
    /// True while none waits.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    pub fn add(&mut self, at: SessionRef) {
        self.sessions.push_back(at);
    }

    /// Counts what requests have cost that were executed.
    #[inline]
    pub fn note_spent(&mut self, cost: usize) {
        self.spent = self.spent.wrapping_add(cost);
    }
}

impl Engine {
    /// The turns of sessions, as many as make up one whole turn.
    pub(super) fn step_turns(&mut self) {
        let before = self.steps.turns.spent;
        for _ in 0..self.steps.turns.sessions.len() {
            let Some(at) = self.steps.turns.sessions.pop_front() else {
                return;
            };
            let waits = self
                .session(at)
                .is_some_and(|session| session.wait == Wait::Turn);
            if waits {
                self.read_clock();
                self.resume(at.index);
                self.settle();
                // Without a reply to be sent, nothing else would look whether its client has gone.
                if self.session(at).is_some() {
                    self.close_when_answered(at.index);
                }
            }
            if self.steps.turns.spent.wrapping_sub(before) >= TURN_COST {
                return;
            }
        }
    }
}
