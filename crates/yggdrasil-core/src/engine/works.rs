//! Changes that are made in steps, in a transaction of their own: the shard is held for them, and others are served
//! what needs no key of it.

use std::collections::VecDeque;

use super::Engine;
use super::durability::AckChoice;
use super::job::Job;
use super::lists::List;
use super::pending::Receiver;
use super::rests::Rests;
use super::tracking::Origin;
use super::turns::Turns;
use crate::commands::{CommandId, Work};
use crate::resp::{Progress, Protocol, Reply};

/// A change under way.
pub(super) struct Working {
    gather: usize,
    command: CommandId,
    db: u8,
    protocol: Protocol,
    origin: Origin,
    ack: AckChoice,
    /// Number of the last change before.
    before: u64,
    reply: Vec<u8>,
    work: Box<dyn Work>,
}

/// Whatever is made in steps.
#[derive(Default)]
pub(super) struct Steps {
    /// Reads of many keys.
    pub lists: VecDeque<List>,
    /// Replies.
    pub rests: Rests,
    /// Sessions that have sent much.
    pub turns: Turns,
    /// Changes. Each holds the shard.
    pub works: VecDeque<Working>,
}

impl Engine {
    /// Keeps what a job has left to be done.
    pub(super) fn begin_work(
        &mut self,
        gather: usize,
        job: &Job<'_>,
        before: u64,
        reply: Vec<u8>,
        work: Box<dyn Work>,
    ) {
        self.steps.works.push_back(Working {
            gather,
            command: job.command,
            db: job.db,
            protocol: job.protocol,
            origin: job.origin,
            ack: job.ack,
            before,
            reply,
            work,
        });
    }

    /// A step of a change.
    pub(super) fn step_work(&mut self) {
        let Some(mut working) = self.steps.works.pop_front() else {
            return;
        };
        self.read_clock();
        self.shard.set_author(working.origin.client);
        let mut reply = Reply::new(&mut working.reply, working.protocol);
        let mark = self.shard.event_mark();
        let mut context = self.shard_context(working.command, working.db, working.origin);
        let done = match working.work.go_on(&mut context, &mut reply) {
            Ok(Progress::More) => false,
            Ok(Progress::Done) => true,
            Err(error) => {
                reply.rewind(0);
                error.write(&mut reply);
                self.shard.forget_events_since(mark);
                self.gathers[working.gather].tail = None;
                true
            }
        };
        self.shard.set_author(0);
        if done {
            self.end_work(working);
        } else {
            self.send_stale();
            self.steps.works.push_back(working);
        }
    }

    fn end_work(&mut self, working: Working) {
        let Working {
            gather,
            ack,
            before,
            reply,
            ..
        } = working;
        self.send_stale();
        self.note_part(gather, self.me, self.part_of_group(ack, before));
        let receiver = self.gathers[gather].receiver;
        self.gathers[gather].parts[0] = Some(reply);
        if let Receiver::Transaction(id) = receiver {
            self.advance_transaction(id);
        }
    }
}
