//! Writers that wait while a disk is behind: what is written and not durable has a limit.
//!
//! They wait before they have changed anything, and before they have reserved a shard, so nobody waits for them. A disk
//! that fails ends the wait: then they are refused.

use super::Pressure;
use crate::commands::{CommandId, Flags, Run, SessionCommand};
use crate::engine::Engine;
use crate::engine::remote::Message;
use crate::engine::session::Gates;
use crate::engine::wire::{self, Reader, RequestHead};
use crate::namespaces::Ack;
use crate::resp::Args;
use crate::ring::FrameKind;
use crate::stats::Counter;

impl Engine {
    /// Looks how far the disk is behind, and holds writers back or lets them go on.
    pub(in crate::engine) fn look_at_pressure(&mut self) {
        let Some(durability) = &self.durability else {
            return;
        };
        let pressure = durability.log.pressure();
        if pressure != Pressure::None {
            durability.log.demand();
        }
        let is_behind = pressure == Pressure::Wait;
        let has_changed = is_behind != self.gate.is_log_behind();
        if has_changed {
            self.gate.set_log_behind(is_behind);
        }
        if !is_behind {
            for index in self.gate.take_ahead() {
                self.catch_up_with(index);
            }
        }
        if has_changed && !is_behind {
            self.resume_held();
            if self.reserved.is_none() {
                self.run_deferred();
            }
        }
    }

    /// Holds writers back from now on, if the disk is behind. It never lets anybody go on.
    pub(in crate::engine) fn note_pressure(&mut self) {
        if let Some(durability) = &self.durability
            && !self.gate.is_log_behind()
            && durability.log.pressure() == Pressure::Wait
        {
            self.gate.set_log_behind(true);
        }
    }

    /// True for a request of a session that waits for the disk: it writes something that the log of the own shard keeps.
    #[cold]
    pub(in crate::engine) fn must_wait_for_log(
        &mut self,
        index: usize,
        command: CommandId,
        args: &Args<'_>,
    ) -> bool {
        let waits = match self.table.spec(command).run {
            Run::Session(SessionCommand::Exec) => {
                self.sessions[index].details().is_some_and(|details| {
                    let mut queue = details.multi.queue.iter();
                    queue.any(|queued| self.is_kept(queued.command, &queued.args.as_args()))
                })
            }
            _ => !self.sessions[index].gates.any(Gates::MULTI) && self.is_kept(command, args),
        };
        if waits {
            self.stats.add(Counter::LogWaits, 1);
        }
        waits
    }

    /// True for a message of another worker that waits for the disk, or comes behind one that does.
    #[cold]
    pub(in crate::engine) fn is_held_by_log(&mut self, message: &Message<'_>) -> bool {
        let sender = 1 << message.from;
        if self.gate.has_held(sender) {
            return true;
        }
        let waits = match message.header.kind {
            FrameKind::Reserve | FrameKind::Finish => true,
            FrameKind::Request => {
                let mut reader = Reader::new(&message.payload);
                let mut spans = Vec::new();
                let request = RequestHead::read(&mut reader, message.from).and_then(|head| {
                    let command = self.table.at(usize::from(head.command))?;
                    Some((command, reader.args(&mut spans)?))
                });
                request.is_some_and(|(command, bytes)| {
                    self.is_kept(command, &wire::args(bytes, &spans))
                })
            }
            _ => false,
        };
        if waits {
            self.gate.hold_behind(sender);
            self.stats.add(Counter::LogWaits, 1);
        }
        waits
    }

    /// True for a request that may write keys of the own shard of which its log has something.
    fn is_kept(&self, command: CommandId, args: &Args<'_>) -> bool {
        let row = self.table.spec(command);
        let may_write = match row.run {
            Run::Script(_) => !row.flags.has(Flags::READONLY),
            _ => row.flags.has(Flags::WRITE),
        };
        if !may_write {
            return false;
        }
        let namespaces = &self.options.namespaces;
        let mut keys = row
            .keys
            .positions(args)
            .map(|place| args.at(place))
            .peekable();
        if keys.peek().is_none() {
            return !namespaces.keep_nothing();
        }
        keys.any(|key| self.shard_of(key) == self.me && namespaces.of(key).ack != Ack::None)
    }
}
