//! Long values on their way in: received straight into the pages that they will stay in.
//!
//! As soon as the length of a long argument is known, it gets its memory, or the request its error. What stands before
//! and behind the value is parsed as a request with an empty argument in its place.

use super::Engine;
use super::dispatch::{Flow, Plan};
use super::pending::SessionRef;
use super::session::Wait;
use crate::commands::{CommandError, CommandId, Flags, Route, parts};
use crate::keyspace::{Draft, Received, Shard, UploadError, UploadId};
use crate::resp::{Args, Arriving};
use crate::stats::Counter;

/// Arguments from here on are received where they stay.
const LONG_BYTES_MIN: usize = 64 * 1024;

/// Bytes of a value that a client may send ahead of a log whose disk is behind.
const AHEAD_BYTES_MAX: u64 = 4 << 20;

/// Where the bytes of a long argument go.
#[derive(Debug)]
pub(super) enum Target {
    /// The entry that a command like SET will make.
    Draft(Draft),
    Upload(UploadId),
    /// To the owner of the key, through the ring.
    Elsewhere(Transfer),
    /// The request has been refused.
    Nowhere,
}

/// What the owner of another shard gets in slices.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transfer {
    pub shard: usize,
    /// Names it among those of this worker.
    pub tag: u64,
    pub ticket: u64,
    /// The reply slot that the ticket stands for.
    pub slot: u64,
}

/// A long argument that is arriving, or has arrived and belongs to the first request of the input.
#[derive(Debug)]
pub struct Incoming {
    /// The request up to it, with the length 0 in the place of its own.
    head: Vec<u8>,
    target: Target,
    len: u64,
    received: u64,
}

impl Incoming {
    fn missing(&self) -> u64 {
        self.len - self.received
    }
}

/// Where the next bytes of a session may be received, beside the shared buffer.
pub enum Room<'a> {
    /// At the end of its input.
    Input(&'a mut Vec<u8>),
    /// At their place in the arena.
    Pages(*mut u8, usize),
}

impl Engine {
    /// Where the driver may put the next bytes of a session without a copy: at most `at_most` bytes of pages.
    /// Confirmed by [`Engine::received_into_input`] or [`Engine::received_into_pages`]; `None` when the shared receive
    /// buffer does.
    pub fn input_room(&mut self, at: SessionRef, at_most: u64) -> Option<Room<'_>> {
        let session = self.sessions.get(at.index).filter(|s| s.at == at)?;
        if session.wait != Wait::None {
            return None;
        }
        if session.incoming.is_some() {
            let (start, len) = self.incoming_room(at.index, at_most)?;
            return Some(Room::Pages(start, len));
        }
        let session = &mut self.sessions[at.index];
        (session.input_wanted >= super::KEEP_BUFFER_BYTES)
            .then_some(Room::Input(&mut session.input))
    }

    /// Where the next bytes of a long argument may be received.
    fn incoming_room(&mut self, index: usize, at_most: u64) -> Option<(*mut u8, usize)> {
        let incoming = self.sessions[index].incoming.as_mut()?;
        if incoming.missing() < super::KEEP_BUFFER_BYTES as u64 {
            return None;
        }
        let (received, at_most) = (incoming.received, at_most.min(incoming.missing()));
        let landing = match &mut incoming.target {
            Target::Draft(draft) => {
                let landing = self.shard.landing(draft, received, at_most);
                landing.map_err(CommandError::from)
            }
            Target::Upload(id) => {
                let landing = self.shard.upload_landing(*id, received, at_most);
                landing.map_err(CommandError::from)
            }
            Target::Elsewhere(_) | Target::Nowhere => return None,
        };
        match landing {
            Ok(room) => Some(room),
            Err(error) => {
                self.refuse_incoming(index, &error);
                None
            }
        }
    }

    /// The driver has put `bytes` more bytes into the pages that [`Engine::input_room`] named.
    pub fn received_into_pages(&mut self, at: SessionRef, bytes: usize) {
        self.run_staged();
        self.read_clock();
        self.stats.add(Counter::InputBytes, bytes as u64);
        let now = self.now;
        let Some(session) = self.session(at) else {
            return;
        };
        session.active_at = now;
        session.input_total += bytes as u64;
        self.incoming_advanced(at.index, Err(bytes as u64));
        self.note_pressure();
        if self.gate.is_log_behind() {
            self.pace_reading(at.index);
        }
    }

    /// Takes the bytes of a long argument from `bytes`; how many they are.
    pub(super) fn feed_incoming(&mut self, index: usize, bytes: &[u8]) -> usize {
        let Some(incoming) = &self.sessions[index].incoming else {
            return 0;
        };
        let count = usize::try_from(incoming.missing()).map_or(bytes.len(), |m| m.min(bytes.len()));
        if count > 0 {
            self.incoming_advanced(index, Ok(&bytes[..count]));
        }
        count
    }

    /// Takes the next bytes of a long argument; `Err` counts those that are in their place already.
    fn incoming_advanced(&mut self, index: usize, bytes: Result<&[u8], u64>) {
        let now = self.now;
        let session = &mut self.sessions[index];
        let Some(incoming) = &mut session.incoming else {
            return;
        };
        let received = incoming.received;
        let taken = match (&mut incoming.target, bytes) {
            (Target::Draft(draft), Ok(bytes)) => {
                let written = self.shard.write_draft(draft, received, bytes);
                written.map_err(CommandError::from)
            }
            (Target::Upload(id), bytes) => {
                // It may have timed out or been aborted.
                let taken = self.shard.upload_received(*id, received, bytes, now);
                taken.map_err(CommandError::from)
            }
            (Target::Elsewhere(transfer), Ok(bytes)) => {
                let transfer = *transfer;
                self.send_slices(index, transfer, bytes);
                Ok(())
            }
            (Target::Draft(_) | Target::Elsewhere(_) | Target::Nowhere, _) => Ok(()),
        };
        if let Err(error) = taken {
            self.refuse_incoming(index, &error);
        }
        let session = &mut self.sessions[index];
        let Some(incoming) = &mut session.incoming else {
            return;
        };
        incoming.received += bytes.map_or_else(|count| count, |bytes| bytes.len() as u64);
        if let Target::Draft(draft) = &mut incoming.target {
            self.shard.give_pieces(draft, incoming.received);
            if Shard::lacks_pieces(draft, incoming.received) {
                self.gate.add_ahead(index);
            }
        }
        if incoming.missing() == 0 {
            session.input = std::mem::take(&mut incoming.head);
            session.input_wanted = 0;
        }
    }

    /// What is still missing of a long argument is skipped: there is no place for it any more.
    fn refuse_incoming(&mut self, index: usize, error: &CommandError) {
        let Some(incoming) = &mut self.sessions[index].incoming else {
            return;
        };
        let target = std::mem::replace(&mut incoming.target, Target::Nowhere);
        self.free_target(target);
        self.refuse(index, None, error);
        self.touch(index);
    }

    /// True for a session that is to send nothing more of a long value before the log has more of it.
    pub(super) fn is_ahead_of_log(&self, index: usize) -> bool {
        let incoming = self.sessions[index].incoming.as_deref();
        self.gate.is_log_behind()
            && incoming.is_some_and(|incoming| match &incoming.target {
                Target::Draft(draft) => Shard::behind(draft, incoming.received) > AHEAD_BYTES_MAX,
                _ => false,
            })
    }

    /// Gives the log what it has not of a long value, and lets its client go on sending.
    pub(super) fn catch_up_with(&mut self, index: usize) {
        let Some(session) = self.sessions.get_mut(index) else {
            return;
        };
        if let Some(incoming) = &mut session.incoming
            && let Target::Draft(draft) = &mut incoming.target
        {
            self.shard.give_pieces(draft, incoming.received);
            if Shard::lacks_pieces(draft, incoming.received) {
                self.gate.add_ahead(index);
            }
        }
        self.pace_reading(index);
    }

    /// True while the bytes of a long argument are missing.
    pub(super) fn is_receiving(&self, index: usize) -> bool {
        self.sessions[index]
            .incoming
            .as_ref()
            .is_some_and(|incoming| incoming.missing() > 0)
    }

    /// Looks at the incomplete request at the end of a session's input: when a long value is arriving, all of the
    /// request is taken from the input. False when it is not such a request.
    pub(super) fn begin_incoming(&mut self, index: usize, request: &[u8]) -> bool {
        let parser = std::mem::take(&mut self.sessions[index].parser);
        let begun = parser
            .arriving()
            .is_some_and(|arriving| self.begin(index, request, &arriving));
        if !begun {
            self.sessions[index].parser = parser;
        }
        begun
    }

    fn begin(&mut self, index: usize, request: &[u8], arriving: &Arriving<'_>) -> bool {
        let session = &self.sessions[index];
        if arriving.len < LONG_BYTES_MIN || self.is_held(index) || session.closing {
            return false;
        }
        let args = Args::new(request, arriving.before);
        let Some(command) = self.table.named(&args) else {
            return false;
        };
        let spec = self.table.spec(command);
        let value_at = match spec.flags {
            flags if flags.has(Flags::VALUE_SECOND) => 2,
            flags if flags.has(Flags::VALUE_THIRD) => 3,
            _ => return false,
        };
        if args.len() != value_at || !spec.arity.allows(value_at + 1 + arriving.behind) {
            return false;
        }
        if !self.sessions[index].allows(command, spec, &args) {
            // It is refused when it is there.
            return false;
        }
        let plan = self.plan_request(Some(command), &args);
        let (position, len) = (arriving.position, arriving.len);
        let line_at = arriving
            .before
            .last()
            .map_or(0, |last| last.start + last.len + 2);
        let mut head = request[..line_at].to_vec();
        head.extend_from_slice(b"$0\r\n");
        let target = if plan.shard == self.me {
            self.make_room_for(command, &args, len as u64)
        } else {
            Ok(self.begin_transfer(index, command, &args, plan, len as u64))
        };
        let target = target.unwrap_or_else(|error| {
            self.refuse(index, Some(command), &error);
            self.touch(index);
            Target::Nowhere
        });
        let session = &mut self.sessions[index];
        session.incoming = Some(Box::new(Incoming {
            head,
            target,
            len: len as u64,
            received: 0,
        }));
        let used = self.feed_incoming(index, &request[position..]);
        let session = &mut self.sessions[index];
        let rest = &request[position + used..];
        if !rest.is_empty() {
            session.input.extend_from_slice(rest);
        }
        true
    }

    /// Memory for a long argument, before it is there.
    pub(super) fn make_room_for(
        &mut self,
        command: CommandId,
        args: &Args<'_>,
        len: u64,
    ) -> Result<Target, CommandError> {
        if let Some(error) = self.refusal(command) {
            return Err(error);
        }
        if self.table.spec(command).route == Route::Upload {
            let id = parts::upload_id(&args[2]).ok_or(UploadError::Unknown)?;
            parts::check_upload_bytes(&self.options.limits, self.shard.uploads().1, len)?;
            self.shard.receive_upload(id, len)?;
            return Ok(Target::Upload(id));
        }
        let key = &args[1];
        let mut draft = self.shard.draft(key.len(), len)?;
        self.shard.name_draft(&mut draft, key);
        Ok(Target::Draft(draft))
    }

    /// Executes the first request of a session's input, whose long argument has arrived before.
    #[cold]
    #[inline(never)]
    pub(super) fn execute_received(
        &mut self,
        index: usize,
        args: &Args<'_>,
        plan: Plan,
        incoming: Incoming,
    ) -> Flow {
        match incoming.target {
            Target::Nowhere => return Flow::Done,
            Target::Elsewhere(transfer) => {
                return self.finish_transfer(index, args, plan, transfer, incoming.len);
            }
            target => self.give_to_command(target, incoming.len),
        }
        let flow = self.execute(index, args, plan);
        self.take_incoming_back(index, flow != Flow::Done);
        flow
    }

    /// Gives the command in hand what was received for it.
    pub(super) fn give_to_command(&mut self, target: Target, len: u64) {
        match target {
            Target::Draft(mut draft) => {
                // All of it is counted already where the request is tried again.
                let uncounted = len - draft.filled();
                self.shard.fill_draft(&mut draft, uncounted);
                self.shard.give_pieces(&mut draft, len);
                self.shard.give_received(Received::Value(draft));
            }
            Target::Upload(id) => self.shard.give_received(Received::Part { id, len }),
            Target::Elsewhere(_) | Target::Nowhere => {}
        }
    }

    /// What was given and not used: kept for the same request when that is tried again, otherwise freed.
    fn take_incoming_back(&mut self, index: usize, is_tried_again: bool) {
        let Some((target, len)) = self.take_unused() else {
            return;
        };
        if is_tried_again {
            self.put_back(index, target, len);
        } else {
            self.free_target(target);
        }
    }

    /// What the last command was given and has not used.
    fn take_unused(&mut self) -> Option<(Target, u64)> {
        Some(match self.shard.take_received()? {
            Received::Value(draft) => {
                let len = draft.filled();
                (Target::Draft(draft), len)
            }
            Received::Part { id, len } => (Target::Upload(id), len),
        })
    }

    /// Frees what the last command was given and has not used.
    pub(super) fn free_unused(&mut self) {
        if let Some((target, _)) = self.take_unused() {
            self.free_target(target);
        }
    }

    /// Keeps a long argument that has arrived for the first request of the input.
    pub(super) fn put_back(&mut self, index: usize, target: Target, len: u64) {
        match self.sessions.get_mut(index) {
            Some(session) => {
                session.incoming = Some(Box::new(Incoming {
                    head: Vec::new(),
                    target,
                    len,
                    received: len,
                }));
            }
            None => self.free_target(target),
        }
    }

    /// The owner has answered a request whose long argument is still arriving: nothing more of that is wanted.
    pub(super) fn note_answered(&mut self, index: usize, slot: u64) {
        if let Some(incoming) = &mut self.sessions[index].incoming
            && matches!(&incoming.target, Target::Elsewhere(transfer) if transfer.slot == slot)
        {
            incoming.target = Target::Nowhere;
        }
    }

    /// Forgets a request with a long argument that will not come whole: the client has sent its last byte, and what it
    /// sent has been looked at.
    pub(super) fn drop_cut_off(&mut self, index: usize) {
        let session = &self.sessions[index];
        if session.input_ended && session.wait == Wait::None && session.incoming.is_some() {
            self.drop_incoming(index);
            self.close_when_answered(index);
        }
    }

    /// Forgets what a session was receiving. A request that has its place among the replies already gets an empty one.
    pub(super) fn drop_incoming(&mut self, index: usize) {
        let session = &mut self.sessions[index];
        let at = session.at;
        let Some(incoming) = session.incoming.take() else {
            return;
        };
        if let Target::Elsewhere(transfer) = incoming.target {
            self.answer(at, transfer.slot, b"");
        }
        self.free_target(incoming.target);
    }

    pub(super) fn free_target(&mut self, target: Target) {
        match target {
            Target::Draft(draft) => self.shard.abandon(draft),
            // The upload may have gone by itself.
            Target::Upload(id) => drop(self.shard.end_receiving(id, None, self.now)),
            Target::Elsewhere(transfer) => self.abandon_transfer(transfer),
            Target::Nowhere => {}
        }
    }
}
