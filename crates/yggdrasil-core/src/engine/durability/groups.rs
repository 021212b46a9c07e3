//! Groups of changes in the log: those of a transaction come back all or none, whoever dies when.
//!
//! All shards of a transaction have written their changes before the coordinator writes its decision, and that before
//! any shard is released. A group counts if the decision is there, and all changes that it names.

use super::{Engine, note_due};
use crate::engine::links::Envelope;
use crate::engine::pending::Waiter;
use crate::engine::reservation::{Ending, Reservation};
use crate::engine::transaction::Transaction;
use crate::keyspace::Mark;
use crate::ring::FrameKind;

/// A group that is over and may not be durable in other shards.
pub struct Unsettled {
    name: u64,
    /// Number of the last change before it was.
    pub before: u64,
    /// What must be durable elsewhere, of each shard the number.
    elsewhere: Vec<(usize, u64)>,
    /// Answers that are awaited; `None` before they are asked for.
    waits_for: Option<usize>,
}

impl Engine {
    /// The own shard is reserved from now on.
    pub(in crate::engine) fn begin_group(&mut self, reservation: &Reservation) {
        if self.durability.is_none() {
            return;
        }
        let alone = reservation.is_alone;
        self.shard.mark(&Mark::Begin {
            coordinator: reservation.coordinator as u16,
            tag: if alone { 0 } else { reservation.tag },
        });
        if !reservation.is_alone {
            self.shard.take_cannot_undo();
            self.shard.begin_changes();
        }
    }

    /// Writes the decision about a transaction of this worker, where there is anything to decide.
    pub(in crate::engine) fn decide_group(
        &mut self,
        ending: &mut Ending,
        transaction: &mut Transaction,
    ) {
        let is_alone = transaction.reserved == [self.me];
        let has_changed = !transaction.parts.is_empty();
        let Some(durability) = &mut self.durability else {
            return;
        };
        if !ending.counts || !has_changed || is_alone {
            return;
        }
        for shard in &transaction.reserved {
            durability.decided[*shard] = transaction.tag;
        }
        let named = transaction.parts.iter();
        let named = named.map(|(shard, number)| (*shard as u16, *number));
        ending.parts = named.collect();
        ending.decision = self.shard.decide(transaction.tag, &ending.parts);
        let due = &mut transaction.due;
        if !due.is_empty() {
            // All of it counts only if all of it is durable.
            for (shard, number) in &transaction.parts {
                note_due(due, *shard, *number);
            }
            note_due(due, self.me, ending.decision);
        }
    }

    /// The reservation of the own shard ends.
    pub(in crate::engine) fn end_group(&mut self, reservation: &Reservation, ending: &Ending) {
        if self.durability.is_none() {
            return;
        }
        if !reservation.is_alone {
            self.end_changes_of_group(ending.counts);
        }
        let mark = match (ending.counts, reservation.is_alone) {
            (false, _) => Mark::Undone,
            (true, true) => Mark::Whole,
            (true, false) => Mark::Released,
        };
        self.shard.mark(&mark);
        if ending.counts && ending.decision != 0 {
            self.keep_unsettled(reservation, ending);
        }
    }

    fn end_changes_of_group(&mut self, counts: bool) {
        let now = self.now;
        assert!(
            !self.shard.take_cannot_undo() || counts,
            "a whole database was changed by a transaction that does not count: its log knows better"
        );
        self.shard.end_changes(counts, now);
    }

    /// The coordinator has died. Its log says whether it had decided.
    pub(in crate::engine) fn end_lost_group(&mut self, reservation: &Reservation) {
        let counts = self.durability.as_ref().is_some_and(|durability| {
            let log = &durability.log;
            log.has_decided(reservation.coordinator, reservation.tag, reservation.since)
        });
        self.close_savepoints(counts);
        let ending = Ending {
            token: 0,
            counts,
            decision: 0,
            parts: Vec::new(),
        };
        self.end_group(reservation, &ending);
    }

    /// What is written behind a group waits for the group, when it is to be durable.
    fn keep_unsettled(&mut self, reservation: &Reservation, ending: &Ending) {
        let me = self.me;
        let Some(durability) = &mut self.durability else {
            return;
        };
        let parts = ending.parts.iter();
        let own = parts.clone().find(|(shard, _)| usize::from(*shard) == me);
        let Some((_, number)) = own else { return };
        let mut elsewhere: Vec<(usize, u64)> = parts
            .filter(|(shard, _)| usize::from(*shard) != me)
            .map(|(shard, number)| (usize::from(*shard), *number))
            .collect();
        if reservation.coordinator != me {
            note_due(&mut elsewhere, reservation.coordinator, ending.decision);
        }
        if elsewhere.is_empty() {
            // The own log has the changes and the decision, in order.
            return;
        }
        if let Some(last) = durability.unsettled.back_mut()
            && last.waits_for.is_none()
        {
            // What is asked for later covers both.
            for (shard, number) in elsewhere {
                note_due(&mut last.elsewhere, shard, number);
            }
            return;
        }
        durability.groups += 1;
        durability.unsettled.push_back(Unsettled {
            name: durability.groups,
            before: number - 1,
            elsewhere,
            waits_for: None,
        });
    }

    /// Asks other shards to make durable what stands before something that is waited for here.
    pub(super) fn ask_for_groups(&mut self) {
        let Some(durability) = &mut self.durability else {
            return;
        };
        if durability.unsettled.is_empty() || durability.wanted <= durability.settled() {
            return;
        }
        let wanted = durability.wanted;
        let mut asked = Vec::new();
        for group in &mut durability.unsettled {
            if group.before < wanted && group.waits_for.is_none() {
                group.waits_for = Some(group.elsewhere.len());
                asked.push((group.name, group.elsewhere.clone()));
            }
        }
        for (group, elsewhere) in asked {
            for (shard, number) in elsewhere {
                let envelope = Envelope {
                    tag: number,
                    ..Envelope::new(FrameKind::Durable, 0)
                };
                self.send_asking(shard, Waiter::Settled { group }, envelope, b"");
            }
        }
    }

    /// A shard has made durable its part of a group, or has died and come back with it.
    pub(in crate::engine) fn group_settled(&mut self, name: u64) {
        let Some(durability) = &mut self.durability else {
            return;
        };
        let mut groups = durability.unsettled.iter_mut();
        if let Some(group) = groups.find(|group| group.name == name) {
            group.waits_for = group.waits_for.map(|left| left.saturating_sub(1));
        }
        let unsettled = &mut durability.unsettled;
        while unsettled
            .front()
            .is_some_and(|group| group.waits_for == Some(0))
        {
            unsettled.pop_front();
        }
        self.note_durable();
    }
}
