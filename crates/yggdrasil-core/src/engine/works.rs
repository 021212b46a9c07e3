//! Changes that are made in steps, in a transaction, which may be their own: the shard is held for them, and others are
//! served what needs no key of it.

use std::collections::VecDeque;

use super::Engine;
use super::durability::AckChoice;
use super::job::Job;
use super::lists::List;
use super::pending::Receiver;
use super::remote::Message;
use super::rests::Rests;
use super::tracking::Origin;
use super::turns::Turns;
use crate::commands::{CommandId, Work};
use crate::resp::{Progress, Protocol, Reply};
use crate::ring::{FrameHeader, FrameKind};

/// The transaction that waits for a change.
#[derive(Clone, Copy)]
pub(super) enum Awaiting {
    /// The own part of a gather.
    Gather(usize),
    /// The transaction of another worker, by its request.
    There { from: usize, header: FrameHeader },
}

/// A change under way.
pub(super) struct Working {
    awaiting: Awaiting,
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
    /// Changes. The shard is held for them.
    pub works: VecDeque<Working>,
    /// What the transaction of another worker wants behind its change.
    pub behind: VecDeque<Message<'static>>,
}

impl Engine {
    /// Keeps what a job has left to be done.
    pub(super) fn begin_work(
        &mut self,
        awaiting: Awaiting,
        job: &Job<'_>,
        before: u64,
        reply: Vec<u8>,
        work: Box<dyn Work>,
    ) {
        self.steps.works.push_back(Working {
            awaiting,
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
                if let Awaiting::Gather(gather) = working.awaiting {
                    self.gathers[gather].tail = None;
                }
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
            awaiting,
            ack,
            before,
            reply,
            ..
        } = working;
        self.send_stale();
        let gather = match awaiting {
            Awaiting::Gather(gather) => gather,
            Awaiting::There { from, header } => {
                self.reply_to_request(from, &header, before, ack, &reply);
                self.take_what_is_behind();
                return;
            }
        };
        self.note_part(gather, self.me, self.part_of_group(ack, before));
        let receiver = self.gathers[gather].receiver;
        self.gathers[gather].parts[0] = Some(reply);
        if let Receiver::Transaction(id) = receiver {
            self.advance_transaction(id);
        }
    }

    /// True while a change of one of the gathers of a transaction is made.
    pub(super) fn is_at_work(&self, gathers: &VecDeque<usize>) -> bool {
        let works = self.steps.works.iter();
        let mut awaited = works.filter_map(|working| match working.awaiting {
            Awaiting::Gather(gather) => Some(gather),
            Awaiting::There { .. } => None,
        });
        awaited.any(|gather| gathers.contains(&gather))
    }

    /// True for a message of the transaction that holds the shard while a change of that transaction is made.
    pub(super) fn is_behind_work(&self, message: &Message<'_>) -> bool {
        let header = &message.header;
        let is_step = matches!(
            header.kind,
            FrameKind::Request
                | FrameKind::Fetch
                | FrameKind::Apply
                | FrameKind::Savepoint
                | FrameKind::Release
        );
        let is_of = |awaiting: &Awaiting| match awaiting {
            Awaiting::Gather(_) => false,
            Awaiting::There { from, header: of } => *from == message.from && of.tag == header.tag,
        };
        let mut works = self.steps.works.iter();
        is_step && works.any(|working| is_of(&working.awaiting))
    }

    /// Goes on with what came while a change was made, up to the next change of that kind.
    fn take_what_is_behind(&mut self) {
        while self.steps.works.is_empty()
            && let Some(message) = self.steps.behind.pop_front()
        {
            self.take_message(message);
        }
    }

    /// Ends what was begun for the transaction of a worker that has died: no change is made by half.
    pub(super) fn end_lost_work(&mut self) {
        self.steps.behind.clear();
        while !self.steps.works.is_empty() {
            self.step_work();
        }
    }
}
