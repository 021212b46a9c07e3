//! Replies that are made in steps: as many bytes at a time as their clients take, while others are served.
//!
//! What is left of such a reply stands in the output of its session, whose next request waits for its end. Where it is
//! made by the owner of another shard, the owner sends the beginning as the reply, and each next piece when it is asked.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use super::Engine;
use super::links::Envelope;
use super::output::Tail;
use super::pending::{Receiver, SessionRef, Waiter};
use super::remote::Message;
use super::session::Wait;
use crate::commands::{CommandId, Flags};
use crate::resp::{Progress, Rest};
use crate::ring::{FrameHeader, FrameKind};

/// Bytes of a piece that is sent to another worker, about.
const PIECE_BYTES: usize = 64 * 1024;

/// Names a reply among those that a worker makes for others; it rises.
pub(super) type RestNumber = u64;

/// Rests of other workers that nobody wants any more.
type GivenUp = Rc<RefCell<Vec<(usize, u32, RestNumber)>>>;

/// The rest of a reply that another worker makes.
#[derive(Debug)]
pub struct Afar {
    shard: usize,
    /// The incarnation of the worker that makes it.
    incarnation: u32,
    number: RestNumber,
    /// The next piece is under way.
    is_asked: bool,
    given_up: GivenUp,
}

impl Drop for Afar {
    fn drop(&mut self) {
        let place = (self.shard, self.incarnation, self.number);
        self.given_up.borrow_mut().push(place);
    }
}

/// The rest of a reply for a client of another worker.
struct Lodged {
    for_worker: usize,
    of_incarnation: u32,
    rest: Box<dyn Rest>,
    /// What is made and not sent yet.
    made: Vec<u8>,
}

/// A rest that has its turn.
enum Turn {
    Session(SessionRef),
    /// Another worker has asked for the next piece.
    Asked(usize, FrameHeader),
}

/// Replies that are made in steps.
#[derive(Default)]
pub(super) struct Rests {
    turns: VecDeque<Turn>,
    lodged: HashMap<RestNumber, Lodged>,
    last: RestNumber,
    given_up: GivenUp,
}

impl Rests {
    /// True while a step can be made.
    pub fn has_steps(&self) -> bool {
        !self.turns.is_empty()
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.turns.is_empty() && self.lodged.is_empty()
    }
}

impl Engine {
    /// Adds what was kept of the reply in hand to the output of its session, which is not muted.
    #[cold]
    pub(super) fn keep_rest(&mut self, index: usize) {
        if let Some(rest) = self.lending.take_rest()
            && !self.sessions[index].is_muted()
        {
            self.sessions[index].output.add_rest(Tail::Here(rest));
            self.line_up(index);
        }
    }

    /// Lets a session have its turn when more of its reply may be made.
    pub(super) fn line_up(&mut self, index: usize) {
        let session = &mut self.sessions[index];
        if !session.lined_up && session.output.wants_more() {
            session.lined_up = true;
            self.steps.rests.turns.push_back(Turn::Session(session.at));
        }
    }

    /// A step of one reply.
    pub(super) fn step_rest(&mut self) {
        match self.steps.rests.turns.pop_front() {
            None => {}
            Some(Turn::Session(at)) => self.step_session(at),
            Some(Turn::Asked(from, header)) => self.step_lodged(from, header),
        }
    }

    fn step_session(&mut self, at: SessionRef) {
        let Some(session) = self.session(at) else {
            return;
        };
        session.lined_up = false;
        if !session.output.wants_more() {
            return;
        }
        match session.output.first_afar() {
            Some(afar) if afar.is_asked => return,
            Some(afar) => {
                afar.is_asked = true;
                let (shard, incarnation, number) = (afar.shard, afar.incarnation, afar.number);
                if self.links.incarnation(shard) != incarnation {
                    self.drop_session(at.index);
                    return;
                }
                let envelope = Envelope::new(FrameKind::More, 0);
                let waiter = Waiter::Rest { session: at };
                self.send_asking(shard, waiter, envelope, &number.to_le_bytes());
            }
            None => session.output.make_more(),
        }
        self.go_on_with_rest(at.index);
    }

    /// More of a reply is there: it is sent, and the session goes on behind it.
    fn go_on_with_rest(&mut self, index: usize) {
        self.touch(index);
        self.line_up(index);
        self.resume_after_output(index);
        let session = &self.sessions[index];
        if session.output.is_empty() && session.input.is_empty() {
            self.close_when_answered(index);
        }
    }

    /// Lets a session go on whose client has taken enough of its replies.
    pub(super) fn resume_after_output(&mut self, index: usize) {
        let session = &self.sessions[index];
        if session.wait == Wait::Output && session.writable && !session.is_full() {
            self.resume(index);
        }
    }

    /// Keeps the rest of a reply for the worker that has asked, and sends the beginning.
    pub(super) fn lodge(
        &mut self,
        from: usize,
        header: &FrameHeader,
        rest: Box<dyn Rest>,
        begun: &[u8],
    ) {
        self.steps.rests.last += 1;
        let number = self.steps.rests.last;
        let lodged = Lodged {
            for_worker: from,
            of_incarnation: header.from_incarnation,
            rest,
            made: Vec::new(),
        };
        self.steps.rests.lodged.insert(number, lodged);
        let envelope = Envelope {
            kind: FrameKind::Part,
            tag: number,
            ..Envelope::reply_to(header)
        };
        self.links.send(from, envelope, begun);
    }

    /// The beginning of a reply has come, whose rest its sender keeps.
    pub(super) fn take_part(&mut self, message: &Message<'_>) {
        let afar = Afar {
            shard: message.from,
            incarnation: message.header.from_incarnation,
            number: message.header.tag,
            is_asked: false,
            given_up: Rc::clone(&self.steps.rests.given_up),
        };
        let tail = Tail::There(afar);
        match self.tickets.redeem(message.header.ticket) {
            Some(Waiter::Slot { session, slot }) => {
                let tails = vec![(message.payload.len(), tail)];
                self.answer_with(session, slot, &message.payload, tails);
            }
            Some(Waiter::Part { gather, part }) => {
                if let Some(gathering) = self.gathers.get_mut(gather) {
                    gathering.tail = Some(tail);
                }
                self.part_done(gather, part, message.payload.to_vec());
            }
            _ => {}
        }
    }

    /// Another worker asks for the next piece.
    pub(super) fn take_more(&mut self, from: usize, header: FrameHeader, payload: &[u8]) {
        // The number travels with the turn, in a place that requests do not use.
        let number = payload
            .first_chunk()
            .map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let header = FrameHeader {
            tag: number,
            ..header
        };
        self.steps.rests.turns.push_back(Turn::Asked(from, header));
    }

    fn step_lodged(&mut self, from: usize, header: FrameHeader) {
        let is_of = |lodged: &&mut Lodged| {
            lodged.for_worker == from && lodged.of_incarnation == header.from_incarnation
        };
        let lodged = self.steps.rests.lodged.get_mut(&header.tag).filter(is_of);
        let Some(lodged) = lodged else {
            self.send_reply(from, &header, &[]);
            return;
        };
        let progress = lodged.rest.go_on(&mut lodged.made);
        if progress == Progress::More && lodged.made.len() < PIECE_BYTES {
            self.steps.rests.turns.push_back(Turn::Asked(from, header));
            return;
        }
        let mut piece = std::mem::take(&mut lodged.made);
        piece.push(u8::from(progress == Progress::Done));
        if progress == Progress::Done {
            self.steps.rests.lodged.remove(&header.tag);
        }
        self.send_reply(from, &header, &piece);
    }

    /// The next piece has come, or its sender was restarted: then the client cannot be given a whole reply any more.
    pub(super) fn take_piece(&mut self, at: SessionRef, reply: Option<&[u8]>) {
        let Some(session) = self.session(at) else {
            return;
        };
        let Some(afar) = session.output.first_afar() else {
            return;
        };
        afar.is_asked = false;
        let Some((is_done, bytes)) = reply.and_then(<[u8]>::split_last) else {
            self.drop_session(at.index);
            return;
        };
        let progress = match is_done {
            0 => Progress::More,
            _ => Progress::Done,
        };
        session.output.take_made(bytes, progress);
        self.go_on_with_rest(at.index);
    }

    /// Tells owners which rests nobody wants any more.
    pub(super) fn give_up_rests(&mut self) {
        if self.steps.rests.given_up.borrow().is_empty() {
            return;
        }
        for (shard, incarnation, number) in self.steps.rests.given_up.take() {
            if self.links.incarnation(shard) == incarnation {
                let envelope = Envelope {
                    tag: number,
                    ..Envelope::new(FrameKind::Forget, 0)
                };
                self.links.send(shard, envelope, &[]);
            }
        }
    }

    pub(super) fn take_forget(&mut self, from: usize, header: &FrameHeader) {
        let lodged = self.steps.rests.lodged.get(&header.tag);
        if lodged.is_some_and(|lodged| lodged.for_worker == from) {
            self.steps.rests.lodged.remove(&header.tag);
        }
    }

    /// Forgets what was kept for a worker that was replaced.
    pub(super) fn lose_rests(&mut self, of: usize, incarnation: u32) {
        self.steps
            .rests
            .lodged
            .retain(|_, lodged| lodged.for_worker != of || lodged.of_incarnation == incarnation);
    }

    /// True for a request whose reply another worker may send in steps: it goes to a client, and changes nothing.
    pub(super) fn takes_parts(&self, waiter: Waiter, command: CommandId) -> bool {
        let is_for_client = match waiter {
            Waiter::Slot { .. } => true,
            Waiter::Part { gather, .. } => self.gathers_for_client(gather),
            _ => false,
        };
        is_for_client && self.table.spec(command).flags.has(Flags::READONLY)
    }

    /// True for a request of a transaction that the own shard alone executes, and that is no try of one that may wait.
    pub(super) fn gathers_in_steps(&self, gather: usize) -> bool {
        let gathering = &self.gathers[gather];
        match gathering.receiver {
            Receiver::Transaction(id) => {
                gathering.parts.len() == 1 && self.transactions[id].spread.is_none()
            }
            Receiver::Slot { .. } => false,
        }
    }

    /// True for a reply of a single part that a transaction gives to a client.
    pub(super) fn gathers_for_client(&self, gather: usize) -> bool {
        let gathering = &self.gathers[gather];
        match gathering.receiver {
            Receiver::Transaction(id) => {
                gathering.parts.len() == 1 && self.transactions[id].is_for_client()
            }
            Receiver::Slot { .. } => false,
        }
    }
}
