//! Long arguments of requests to another shard: in slices through the ring, into the pages where they stay.
//!
//! `Begin` names the request and the length; the owner makes room, or answers with its error at once. `Slice`s follow
//! as the client sends them, no more than the ring takes; `Finish` is the request itself with an empty argument.

use super::Engine;
use super::dispatch::{Flow, Plan};
use super::incoming::{Target, Transfer};
use super::links::Envelope;
use super::pending::Waiter;
use super::remote::{Message, UNREADABLE};
use super::session::Wait;
use super::tracking::Origin;
use super::wire::{self, Reader, RequestHead};
use crate::commands::{CommandError, CommandId};
use crate::hashing::SeededMap;
use crate::resp::{Args, Protocol, Reply};
use crate::ring::{FrameHeader, FrameKind};
use crate::stats::Counter;

/// A long argument that comes from another worker.
#[derive(Debug)]
pub(super) struct Inbound {
    /// How it began, and what is to be answered if it comes to nothing.
    header: FrameHeader,
    command: CommandId,
    target: Target,
    len: u64,
    received: u64,
}

/// By the worker that sends it, and its tag there.
pub(super) type Inbounds = SeededMap<(usize, u64), Inbound>;

/// The side of the client's worker.
impl Engine {
    /// Tells the owner of a key that a long argument is coming. The reply slot is opened now.
    pub(super) fn begin_transfer(
        &mut self,
        index: usize,
        command: CommandId,
        args: &Args<'_>,
        plan: Plan,
        len: u64,
    ) -> Target {
        let hash = (plan.key_at != 0).then_some(plan.hash);
        let session = &mut self.sessions[index];
        let slot = session.open_slot_at(1 << plan.shard, hash);
        let waiter = Waiter::Slot {
            session: session.at,
            slot,
        };
        let (client, protocol, db) = (session.at.client, session.protocol, session.db);
        let incarnation = self.links.incarnation(plan.shard);
        let ticket = self.tickets.issue(waiter, plan.shard, incarnation);
        self.transfer_serial += 1;
        let tag = self.transfer_serial;
        let mut payload = Vec::new();
        let head = RequestHead {
            hash,
            client,
            origin: Origin::of(client),
            command: command.index() as u16,
            ack: self.sessions[index].ack,
            takes_parts: false,
        };
        head.put(&mut payload);
        payload.extend_from_slice(&len.to_le_bytes());
        wire::put_args(&mut payload, args.iter());
        let envelope = Envelope {
            tag,
            protocol: protocol.version(),
            db,
            ..Envelope::new(FrameKind::Begin, ticket)
        };
        self.links.send(plan.shard, envelope, &payload);
        Target::Elsewhere(Transfer {
            shard: plan.shard,
            tag,
            ticket,
            slot,
        })
    }

    /// Sends the next bytes; when the ring is full, the session waits for it.
    pub(super) fn send_slices(&mut self, index: usize, transfer: Transfer, bytes: &[u8]) {
        let envelope = Envelope {
            tag: transfer.tag,
            ..Envelope::new(FrameKind::Slice, 0)
        };
        for piece in bytes.chunks(self.links.piece_bytes_at_most(transfer.shard)) {
            self.links.send(transfer.shard, envelope, piece);
        }
        if self.links.is_backlogged(transfer.shard) {
            self.suspend(index, Wait::Ring(transfer.shard));
        }
    }

    /// Sends the request whose long argument the owner has.
    pub(super) fn finish_transfer(
        &mut self,
        index: usize,
        args: &Args<'_>,
        plan: Plan,
        transfer: Transfer,
        len: u64,
    ) -> Flow {
        let Some(command) = plan.command else {
            self.abandon_transfer(transfer);
            self.refuse_in_slot(index, transfer, &CommandError::Syntax);
            return Flow::Done;
        };
        if self.is_gated(index)
            && let Some(flow) = self.pass_gate(index, command, args)
        {
            if flow == Flow::Done {
                // Refused: the error stands behind its slot.
                let at = self.sessions[index].at;
                self.abandon_transfer(transfer);
                self.answer(at, transfer.slot, b"");
            } else {
                self.put_back(index, Target::Elsewhere(transfer), len);
            }
            return flow;
        }
        let session = &mut self.sessions[index];
        session.commands += 1;
        session.last_command = Some(command);
        let mut payload = Vec::new();
        let head = RequestHead {
            hash: (plan.key_at != 0).then_some(plan.hash),
            client: session.at.client,
            origin: Origin::of(session.at.client),
            command: command.index() as u16,
            ack: session.ack,
            takes_parts: false,
        };
        let (protocol, db) = (session.protocol, session.db);
        head.put(&mut payload);
        wire::put_args(&mut payload, args.iter());
        let envelope = Envelope {
            tag: transfer.tag,
            protocol: protocol.version(),
            db,
            ..Envelope::new(FrameKind::Finish, transfer.ticket)
        };
        self.links.send(transfer.shard, envelope, &payload);
        self.stats.add(Counter::RequestsSent, 1);
        Flow::Done
    }

    /// Tells the owner that a long argument will not come whole. Nobody waits for its reply any more.
    pub(super) fn abandon_transfer(&mut self, transfer: Transfer) {
        self.tickets.redeem(transfer.ticket);
        let envelope = Envelope {
            tag: transfer.tag,
            ..Envelope::new(FrameKind::Abandon, 0)
        };
        self.links.send(transfer.shard, envelope, &[]);
    }

    fn refuse_in_slot(&mut self, index: usize, transfer: Transfer, error: &CommandError) {
        let session = &self.sessions[index];
        let mut reply = Vec::new();
        error.write(&mut Reply::new(&mut reply, session.protocol));
        let at = session.at;
        self.answer(at, transfer.slot, &reply);
    }
}

/// The side of the owner.
impl Engine {
    /// Makes room for what another worker will send, or answers its request with the error: then what still comes of it
    /// is passed over, since nothing is known of it here.
    pub(super) fn take_begin(&mut self, message: &Message<'_>) {
        let mut reader = Reader::new(&message.payload);
        let mut spans = Vec::new();
        let request = RequestHead::read(&mut reader, message.from).and_then(|head| {
            let command = self.table.at(usize::from(head.command))?;
            let len = reader.u64()?;
            Some((command, len, reader.args(&mut spans)?))
        });
        let Some((command, len, bytes)) = request else {
            let error = CommandError::text(UNREADABLE);
            self.refuse_inbound(message.from, &message.header, None, &error);
            return;
        };
        let args = wire::args(bytes, &spans);
        let target = match self.make_room_for(command, &args, len) {
            Ok(target) => target,
            Err(error) => {
                self.refuse_inbound(message.from, &message.header, Some(command), &error);
                return;
            }
        };
        let inbound = Inbound {
            header: message.header,
            command,
            target,
            len,
            received: 0,
        };
        let key = (message.from, message.header.tag);
        if let Some(old) = self.inbound.insert(key, inbound) {
            self.free_target(old.target);
        }
    }

    /// Answers the request of another worker whose long argument has no place here.
    fn refuse_inbound(
        &mut self,
        from: usize,
        header: &FrameHeader,
        command: Option<CommandId>,
        error: &CommandError,
    ) {
        let protocol = if header.protocol == 3 {
            Protocol::Resp3
        } else {
            Protocol::Resp2
        };
        let mut reply = Vec::new();
        error.write(&mut Reply::new(&mut reply, protocol));
        self.observations.count_error(&reply);
        self.stats.add(Counter::ErrorReplies, 1);
        if let Some(command) = command {
            self.stats.rejected(command.index());
        }
        self.send_reply(from, header, &reply);
    }

    /// Puts the next bytes in their place.
    pub(super) fn take_slice(&mut self, message: &Message<'_>) {
        let key = (message.from, message.header.tag);
        let Some(mut inbound) = self.inbound.remove(&key) else {
            return;
        };
        let bytes = &message.payload[..];
        if bytes.len() as u64 > inbound.len - inbound.received {
            // No worker of ours sends that.
            self.free_target(inbound.target);
            return;
        }
        let received = inbound.received;
        let taken = match &mut inbound.target {
            Target::Draft(draft) => {
                let written = self.shard.write_draft(draft, received, bytes);
                written.map_err(CommandError::from)
            }
            Target::Upload(id) => {
                let taken = self
                    .shard
                    .upload_received(*id, received, Ok(bytes), self.now);
                taken.map_err(CommandError::from)
            }
            Target::Elsewhere(_) | Target::Nowhere => Ok(()),
        };
        if let Err(error) = taken {
            self.free_target(inbound.target);
            self.refuse_inbound(message.from, &inbound.header, Some(inbound.command), &error);
            return;
        }
        inbound.received += bytes.len() as u64;
        if let Target::Draft(draft) = &mut inbound.target {
            self.shard.give_pieces(draft, inbound.received);
        }
        self.inbound.insert(key, inbound);
    }

    /// Executes the request whose long argument is here.
    pub(super) fn take_finish(&mut self, message: &Message<'_>) {
        let Message {
            from,
            header,
            payload,
        } = message;
        let Some(inbound) = self.inbound.remove(&(*from, header.tag)) else {
            return;
        };
        if inbound.received != inbound.len {
            self.free_target(inbound.target);
            return;
        }
        self.give_to_command(inbound.target, inbound.len);
        self.take_request(*from, header, payload);
        self.free_unused();
    }

    /// Forgets a long argument that will not come whole.
    pub(super) fn take_abandon(&mut self, message: &Message<'_>) {
        if let Some(inbound) = self.inbound.remove(&(message.from, message.header.tag)) {
            self.free_target(inbound.target);
        }
    }

    /// Forgets what a worker had begun to send that was replaced since.
    pub(super) fn lose_inbound(&mut self, from: usize, incarnation: u32) {
        let inbound = self.inbound.iter();
        let lost: Vec<_> = inbound
            .filter(|(key, inbound)| {
                key.0 == from && inbound.header.from_incarnation != incarnation
            })
            .map(|(key, _)| *key)
            .collect();
        for key in lost {
            if let Some(inbound) = self.inbound.remove(&key) {
                self.free_target(inbound.target);
            }
        }
    }
}
