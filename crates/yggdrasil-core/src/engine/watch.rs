//! WATCH: the owner of a key remembers who watches it, and says at EXEC whether it was touched.

use super::Engine;
use super::dispatch::Flow;
use super::links::Envelope;
use super::pending::{Gather, Receiver, Waiter};
use super::remote::Message;
use super::session::Wait;
use super::wire::{self, Reader};
use crate::commands::Join;
use crate::keyspace::{Key, hash_key};
use crate::resp::Args;
use crate::ring::FrameKind;
use crate::stats::Counter;

impl Engine {
    /// Watches the keys `args[1..]` for a session, which is suspended until their owners have confirmed.
    pub(super) fn watch_keys(&mut self, index: usize, args: &Args<'_>) -> Flow {
        let session = &self.sessions[index];
        if !session.slots.is_empty() {
            return Flow::Again(Wait::Slots);
        }
        let (db, token) = (session.db, session.at.client);
        let mut by_shard: Vec<(usize, Vec<&[u8]>)> = Vec::new();
        for key in args.iter().skip(1) {
            let shard = self.shard_of(key);
            match by_shard.iter_mut().find(|(known, _)| *known == shard) {
                Some((_, keys)) => keys.push(key),
                None => by_shard.push((shard, vec![key])),
            }
        }
        if self.reserved.is_some() && by_shard.iter().any(|(shard, _)| *shard == self.me) {
            return Flow::Again(Wait::Release);
        }
        let session = &mut self.sessions[index];
        let slot = session.open_slot();
        let receiver = Receiver::Slot {
            session: session.at,
            slot,
        };
        let multi = &mut session.details_mut().multi;
        multi.watched_keys += args.len() - 1;
        self.stats.add(Counter::WatchedKeys, args.len() as u64 - 1);
        if multi.watched == 0 {
            self.stats.add(Counter::WatchingClients, 1);
        }
        multi.watched |= by_shard
            .iter()
            .fold(0, |shards, (shard, _)| shards | 1 << shard);
        self.set_wait(index, Wait::Answer);
        let gather = self.gathers.insert(Gather::new(
            Join::AllOk,
            Vec::new(),
            by_shard.len(),
            receiver,
        ));
        for (part, (shard, keys)) in by_shard.into_iter().enumerate() {
            if shard == self.me {
                keys.iter().for_each(|key| self.watch_here(db, key, token));
                self.gathers[gather].parts[part] = Some(b"+OK\r\n".to_vec());
            } else {
                let mut payload = token.to_le_bytes().to_vec();
                wire::put_args(&mut payload, keys.iter().copied());
                let envelope = Envelope {
                    db,
                    ..Envelope::new(FrameKind::Watch, 0)
                };
                self.send_asking(shard, Waiter::Part { gather, part }, envelope, &payload);
            }
        }
        self.finish_if_complete(gather);
        Flow::Done
    }

    fn watch_here(&mut self, db: u8, bytes: &[u8], token: u64) {
        let key = Key {
            db,
            hash: hash_key(self.shape.hash_seed, bytes),
            bytes,
        };
        self.shard.watch(&key, token, self.now);
    }

    /// Another worker's session watches keys of the own shard.
    pub(super) fn take_watch(&mut self, message: &Message<'_>) {
        let mut reader = Reader::new(&message.payload);
        let mut spans = Vec::new();
        if let (Some(token), Some(bytes)) = (reader.u64(), reader.args(&mut spans)) {
            let db = message.header.db;
            wire::args(bytes, &spans)
                .iter()
                .for_each(|key| self.watch_here(db, key, token));
        }
        self.send_reply(message.from, &message.header, b"+OK\r\n");
    }

    /// Another worker's session watches nothing any more.
    pub(super) fn take_unwatch(&mut self, message: &Message<'_>) {
        if let Some(token) = Reader::new(&message.payload).u64() {
            self.shard.unwatch(token);
        }
    }

    /// Ends all watches of a session.
    pub(super) fn forget_watches(&mut self, index: usize) {
        let session = &mut self.sessions[index];
        let token = session.at.client;
        if session
            .details()
            .is_none_or(|details| details.multi.watched == 0)
        {
            return;
        }
        let multi = &mut session.details_mut().multi;
        let watched = std::mem::take(&mut multi.watched);
        let keys = std::mem::take(&mut multi.watched_keys) as u64;
        multi.watch_lost = false;
        self.stats.subtract(Counter::WatchedKeys, keys);
        self.stats.subtract(Counter::WatchingClients, 1);
        for shard in (0..self.shape.shards).filter(|shard| watched & (1 << shard) != 0) {
            if shard == self.me {
                self.shard.unwatch(token);
            } else {
                self.links.send(
                    shard,
                    Envelope::new(FrameKind::Unwatch, 0),
                    &token.to_le_bytes(),
                );
            }
        }
    }

    /// A shard was restarted and has forgotten who watched it.
    pub(super) fn lose_watches(&mut self, shard: usize) {
        for (_, session) in &mut self.sessions {
            if session
                .details()
                .is_some_and(|details| details.multi.watched & (1 << shard) != 0)
            {
                session.details_mut().multi.watch_lost = true;
            }
        }
    }
}
