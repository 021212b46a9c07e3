//! CLIENT TRACKING: clients keep what they read, and are told when it is no more as it was.
//!
//! The owner of a key remembers who has read it since its last change. It does so in the moment in which it executes
//! the read, so that no change can come in between: the reads of such clients are executed by the owners, and never
//! served from shared memory. What the owner says then travels through the same ring as the reply did before it.
//!
//! A client that wants to hear of all keys with a prefix is no matter of single reads. All owners send the names of
//! all keys that change to its worker, which knows the prefixes.

use super::Engine;
use super::links::Envelope;
use super::pending::{Receiver, SessionRef};
use super::remote::Message;
use super::scripts::ScriptRun;
use super::session::{Gates, Session};
use super::wire::{self, Reader};
use crate::commands::{CommandId, Flags, Group, Run};
use crate::hashing::SeededMap;
use crate::keyspace::{Millis, Stale, Tracker};
use crate::resp::{Protocol, Reply};
use crate::ring::FrameKind;
use crate::stats::Counter;

/// The channel on which clients of RESP2 hear what is meant for others.
const CHANNEL: &[u8] = b"__redis__:invalidate";

/// The client on behalf of which something is executed.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Origin {
    /// Its id; 0 where that is not known.
    pub client: u64,
    /// What it reads does not count as used (CLIENT NO-TOUCH).
    pub untouched: bool,
    /// It keeps what it reads now: the worker that it is connected to.
    pub tracked_by: Option<usize>,
}

impl Origin {
    /// A client that keeps nothing.
    pub fn of(client: u64) -> Self {
        Self {
            client,
            ..Self::default()
        }
    }

    /// The client of a session of the worker `me`.
    #[inline(always)]
    pub(super) fn of_session(session: &Session, me: usize) -> Self {
        Self {
            client: session.at.client,
            untouched: session.gates.any(Gates::NO_TOUCH),
            tracked_by: session.tracks_now().then_some(me),
        }
    }
}

/// Another client, which hears what is meant for the one that reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Redirect {
    pub worker: usize,
    pub session: SessionRef,
}

/// The way in which a client says what it keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Caching {
    /// All that it reads.
    #[default]
    All,
    /// What it reads behind CLIENT CACHING YES.
    OptIn,
    /// What it reads, but for what stands behind CLIENT CACHING NO.
    OptOut,
    /// Whatever has one of these prefixes.
    Broadcast,
}

/// How a client is told of what it keeps.
#[derive(Clone, Debug, Default)]
pub struct Tracking {
    pub caching: Caching,
    /// It is not told of its own changes.
    pub no_loop: bool,
    pub redirect: Option<Redirect>,
    pub prefixes: Vec<Box<[u8]>>,
    /// CLIENT CACHING was sent, and holds for the next command or transaction.
    pub is_said: bool,
    /// The other client has gone.
    pub is_broken: bool,
}

impl Tracking {
    /// True when what is read now is kept.
    fn keeps(&self) -> bool {
        match self.caching {
            Caching::All => true,
            Caching::OptIn => self.is_said,
            Caching::OptOut => !self.is_said,
            Caching::Broadcast => false,
        }
    }
}

/// The clients of this worker that track, and what is being told.
#[derive(Default)]
pub(super) struct Trackings {
    /// client -> its session
    sessions: SeededMap<u64, usize>,
    /// Clients that hear of prefixes.
    broadcasts: u64,
    /// What the own shard says to clients of this worker.
    own: Vec<u8>,
    /// Keys that have changed since these clients were last told, each with who has changed it.
    changed: Vec<(Box<[u8]>, u64)>,
    /// Changes of all keys under way.
    all: SeededMap<u64, Flush>,
    /// Workers with clients that hear of prefixes, as bits.
    hearers: u64,
}

/// A change of all keys of which not all shards have told yet.
struct Flush {
    /// Those that have, as bits.
    told: u64,
    since: Millis,
}

/// What a message says.
mod said {
    /// A key that a client has read: client, author, key.
    pub const READ: u8 = 1;
    /// A key that has changed, for whoever hears of its prefix: author, key.
    pub const CHANGED: u8 = 2;
    /// All keys of the sender's shard: the number of the change.
    pub const ALL: u8 = 3;
    /// Keys for a client that hears for another: its session, that client, keys.
    pub const REDIRECTED: u8 = 4;
    /// The client that should hear for another has gone: that other client.
    pub const BROKEN: u8 = 5;
}

/// Keys that are not as they were; `None` for all.
type Keys<'a> = Option<&'a [&'a [u8]]>;

impl Engine {
    /// True where the owner has to execute what this session reads, and remember it.
    #[inline(always)]
    pub(super) fn tracks(&self, index: usize) -> bool {
        self.sessions[index].tracks_now()
    }

    /// Decides whether what a command of a session reads is remembered.
    pub(super) fn decide_tracking(&mut self, index: usize, command: CommandId) {
        let row = self.table.spec(command);
        let may_read = row.flags.has(Flags::READONLY) || matches!(row.run, Run::Script(_));
        let session = &mut self.sessions[index];
        let keeps = session.tracking().is_some_and(Tracking::keeps);
        session.tracks = keeps && may_read;
    }

    /// CLIENT CACHING holds for one command, or transaction.
    pub(super) fn end_caching(&mut self, index: usize, command: CommandId) {
        let row = self.table.spec(command);
        let is_client = row.group == Group::Connection && row.name.starts_with("client|");
        let session = &mut self.sessions[index];
        if is_client || session.gates.any(Gates::MULTI) {
            return;
        }
        if let Some(tracking) = session.tracking_mut() {
            tracking.is_said = false;
        }
    }

    /// The client behind a request whose reply goes to a receiver.
    pub(super) fn origin_of_receiver(&self, receiver: Receiver, command: CommandId) -> Origin {
        match receiver {
            Receiver::Slot { session, .. } => match self.sessions.get(session.index) {
                Some(known) if known.at == session => self.origin_of(session.index),
                _ => Origin::default(),
            },
            Receiver::Transaction(id) => {
                let transaction = &self.transactions[id];
                let reads = self.table.spec(command).flags.has(Flags::READONLY);
                let at = transaction.session;
                let session = self.sessions.get(at.index);
                let session = session.filter(|session| session.at == at);
                Origin {
                    client: at.client,
                    untouched: session.is_some_and(|session| session.gates.any(Gates::NO_TOUCH)),
                    tracked_by: (reads && transaction.tracks).then_some(self.me),
                }
            }
        }
    }

    /// True when the reads of a transaction that begins now are remembered.
    pub(super) fn tracks_transaction(&self, index: usize, exec: bool) -> bool {
        let keeps = || self.sessions[index].tracking().is_some_and(Tracking::keeps);
        if exec { keeps() } else { self.tracks(index) }
    }

    /// The client behind a request of a script.
    pub(super) fn origin_of_script(&self, script: &ScriptRun, command: CommandId) -> Origin {
        let reads = self.table.spec(command).flags.has(Flags::READONLY);
        Origin {
            client: script.client,
            untouched: false,
            tracked_by: (reads && script.tracks).then_some(self.me),
        }
    }

    /// The client behind a request of a session.
    pub(super) fn origin_of(&self, index: usize) -> Origin {
        Origin::of_session(&self.sessions[index], self.me)
    }

    /// Remembers what was read on behalf of a client.
    pub(super) fn track<'a>(&mut self, origin: Origin, keys: impl Iterator<Item = &'a [u8]>) {
        let Some(worker) = origin.tracked_by else {
            return;
        };
        let client = origin.client;
        for key in keys {
            self.shard.track(key, Tracker { worker, client });
        }
    }

    /// Begins to track for a client, or changes how.
    pub fn start_tracking(&mut self, at: SessionRef, tracking: Tracking) {
        if self.session(at).is_none() {
            return;
        }
        self.count_tracking(at.index, false);
        let session = &mut self.sessions[at.index];
        session.gates.set(Gates::TRACKING, true);
        session.details_mut().tracking = Some(Box::new(tracking));
        self.count_tracking(at.index, true);
        self.trackings.sessions.insert(at.client, at.index);
        self.hear_broadcasts();
    }

    /// Ends tracking of a session.
    pub(super) fn stop_tracking(&mut self, index: usize) {
        if !self.sessions[index].gates.any(Gates::TRACKING) {
            return;
        }
        self.count_tracking(index, false);
        let session = &mut self.sessions[index];
        session.gates.set(Gates::TRACKING, false);
        session.tracks = false;
        session.details_mut().tracking = None;
        let client = session.at.client;
        self.trackings.sessions.remove(&client);
        self.hear_broadcasts();
    }

    /// Ends tracking of a client.
    pub fn end_tracking(&mut self, at: SessionRef) {
        if self.session(at).is_some() {
            self.stop_tracking(at.index);
        }
    }

    /// How a client is told of what it keeps.
    pub fn tracking(&mut self, at: SessionRef) -> Option<&Tracking> {
        self.session(at).and_then(|session| session.tracking())
    }

    /// The session of a client of this worker.
    #[must_use]
    pub fn session_of(&self, client: u64) -> Option<SessionRef> {
        let mut sessions = self.sessions.iter();
        let found = sessions.find(|(_, session)| session.at.client == client && !session.closing);
        found.map(|(_, session)| session.at)
    }

    fn count_tracking(&mut self, index: usize, on: bool) {
        let Some(tracking) = self.sessions[index].tracking() else {
            return;
        };
        let is_broadcast = tracking.caching == Caching::Broadcast;
        let prefixes = tracking.prefixes.len() as u64;
        let counts = [
            (Counter::TrackingClients, 1),
            (Counter::TrackingBroadcasts, u64::from(is_broadcast)),
            (Counter::TrackingPrefixes, prefixes),
        ];
        for (counter, count) in counts {
            if on {
                self.stats.add(counter, count);
            } else {
                self.stats.subtract(counter, count);
            }
        }
        let broadcasts = &mut self.trackings.broadcasts;
        *broadcasts =
            broadcasts.wrapping_add(if on { 1 } else { u64::MAX } * u64::from(is_broadcast));
    }

    /// Looks which workers have clients that hear of prefixes. A worker asks this of all others before it confirms to
    /// such a client: then no change can be overlooked.
    pub fn hear_broadcasts(&mut self) {
        let has = |shard: &usize| self.control.stats(*shard).get(Counter::TrackingBroadcasts) > 0;
        let hearers = (0..self.shape.shards).filter(has);
        let hearers = hearers.fold(0, |hearers, shard| hearers | 1 << shard);
        if hearers != self.trackings.hearers {
            self.trackings.hearers = hearers;
            self.shard.track_all(hearers != 0);
        }
    }

    pub(super) fn apply_tracking_limit(&mut self) {
        let keys_max = self.options.tracking_keys_max;
        self.shard
            .limit_tracking(keys_max.div_ceil(self.shape.shards));
    }

    /// Tells other workers of all keys of the own shard that are not as they were.
    #[inline(always)]
    pub(super) fn send_stale(&mut self) {
        if self.shard.has_stale() {
            self.send_noted();
        }
    }

    /// Tells the clients of this worker of keys that are not as they were. While a command is executed, the reply to it
    /// is not there yet, so that this waits for its end.
    #[inline(always)]
    pub(super) fn tell_stale(&mut self) {
        self.send_stale();
        if !self.trackings.own.is_empty() {
            let payload = std::mem::take(&mut self.trackings.own);
            self.hear_stale(self.me, &payload);
        }
        if !self.trackings.changed.is_empty() {
            self.tell_broadcasts();
        }
    }

    #[cold]
    fn send_noted(&mut self) {
        let mut payloads = vec![Vec::new(); self.shape.shards];
        for stale in self.shard.take_stale() {
            let Some(key) = &stale.key else {
                self.put_all(&mut payloads);
                continue;
            };
            put_read(&mut payloads, &stale, key);
            let mut hearers = self.trackings.hearers;
            while hearers != 0 {
                let payload = &mut payloads[hearers.trailing_zeros() as usize];
                payload.push(said::CHANGED);
                payload.extend(stale.author.to_le_bytes());
                wire::put_blob(payload, key);
                hearers &= hearers - 1;
            }
        }
        for (shard, payload) in payloads.into_iter().enumerate() {
            if shard == self.me {
                self.trackings.own.extend(payload);
            } else if !payload.is_empty() {
                let envelope = Envelope::new(FrameKind::Stale, 0);
                self.links.send(shard, envelope, &payload);
            }
        }
    }

    /// Every shard says that all of its keys are others. In a transaction over all of them, clients hear it once, when
    /// all shards have said so.
    fn put_all(&mut self, payloads: &mut [Vec<u8>]) {
        let reservation = self.reserved.filter(|_| self.shape.shards > 1);
        let change = reservation.map_or(ALONE, |by| by.tag << 6 | by.coordinator as u64);
        for payload in payloads {
            payload.push(said::ALL);
            payload.extend(change.to_le_bytes());
        }
    }

    /// Another worker says that keys are not as they were.
    pub(super) fn take_stale(&mut self, message: &Message<'_>) {
        self.hear_stale(message.from, &message.payload);
    }

    fn hear_stale(&mut self, from: usize, payload: &[u8]) {
        let mut reader = Reader::new(payload);
        while let Some(kind) = reader.u8() {
            if self.hear_one(from, kind, &mut reader).is_none() {
                return;
            }
        }
    }

    fn hear_one(&mut self, from: usize, kind: u8, reader: &mut Reader<'_>) -> Option<()> {
        match kind {
            said::READ => {
                let (client, author) = (reader.u64()?, reader.u64()?);
                self.tell_reader(client, author, reader.blob()?);
            }
            said::CHANGED => {
                let (author, key) = (reader.u64()?, reader.blob()?);
                if self.trackings.broadcasts > 0 {
                    self.trackings.changed.push((key.into(), author));
                }
            }
            said::ALL => self.note_all(from, reader.u64()?),
            said::REDIRECTED => {
                let index = usize::try_from(reader.u64()?).ok()?;
                let client = reader.u64()?;
                let reads = reader.u64()?;
                let mut keys = Vec::new();
                let count = reader.u64()?;
                for _ in 0..count.min(ALL_KEYS - 1) * u64::from(count != ALL_KEYS) {
                    keys.push(reader.blob()?);
                }
                let keys = (count != ALL_KEYS).then_some(&keys[..]);
                let session = SessionRef { index, client };
                if !self.tell_for_another(session, keys) {
                    let payload = [&[said::BROKEN][..], &reads.to_le_bytes()].concat();
                    let envelope = Envelope::new(FrameKind::Stale, 0);
                    self.links.send(from, envelope, &payload);
                }
            }
            said::BROKEN => self.note_broken(reader.u64()?),
            _ => return None,
        }
        Some(())
    }

    /// Tells a client of this worker that a key which it has read is another now.
    fn tell_reader(&mut self, client: u64, author: u64, key: &[u8]) {
        let Some(&index) = self.trackings.sessions.get(&client) else {
            return;
        };
        let tracking = self.sessions[index].tracking();
        let is_told = tracking.is_some_and(|tracking| {
            tracking.caching != Caching::Broadcast && !(tracking.no_loop && author == client)
        });
        if is_told {
            self.tell_stale_to(index, Some(&[key]));
        }
    }

    /// Tells the clients that hear of prefixes, once for all that has changed in between.
    #[cold]
    fn tell_broadcasts(&mut self) {
        let mut changed = std::mem::take(&mut self.trackings.changed);
        changed.sort_unstable();
        changed.dedup();
        let sessions: Vec<usize> = self.trackings.sessions.values().copied().collect();
        for index in sessions {
            let session = &self.sessions[index];
            let (client, tracking) = (session.at.client, session.tracking());
            let Some(tracking) = tracking.filter(|it| it.caching == Caching::Broadcast) else {
                continue;
            };
            let no_loop = tracking.no_loop;
            for prefix in tracking.prefixes.clone() {
                let heard = changed
                    .iter()
                    .filter(|(key, by)| key.starts_with(&prefix) && !(no_loop && *by == client));
                let mut keys: Vec<&[u8]> = heard.map(|(key, _)| &**key).collect();
                keys.dedup();
                if !keys.is_empty() {
                    self.tell_stale_to(index, Some(&keys));
                }
            }
        }
    }

    /// A shard says that all of its keys are others.
    fn note_all(&mut self, from: usize, change: u64) {
        if change == ALONE {
            self.tell_all();
            return;
        }
        let (told, since) = (0, self.now);
        let flush = self.trackings.all.entry(change);
        let flush = flush.or_insert(Flush { told, since });
        flush.told |= 1 << from;
        if flush.told.count_ones() as usize == self.shape.shards {
            self.trackings.all.remove(&change);
            self.tell_all();
        }
    }

    /// Tells of changes of all keys that were none of all shards.
    pub(super) fn end_partial_flushes(&mut self) {
        let (before, now) = (self.trackings.all.len(), self.now);
        let all = &mut self.trackings.all;
        all.retain(|_, flush| now.saturating_sub(flush.since) < FLUSH_MS);
        if all.len() < before {
            self.tell_all();
        }
    }

    /// Tells all clients that track that any key may be another.
    fn tell_all(&mut self) {
        let sessions: Vec<usize> = self.trackings.sessions.values().copied().collect();
        for index in sessions {
            self.tell_stale_to(index, None);
        }
    }

    /// A shard was restarted and has forgotten its keys, and who has read them.
    pub(super) fn lose_tracked(&mut self) {
        self.trackings.all.clear();
        self.hear_broadcasts();
        self.tell_all();
    }

    fn tell_stale_to(&mut self, index: usize, keys: Keys<'_>) {
        let session = &self.sessions[index];
        let at = session.at;
        match session.tracking().and_then(|tracking| tracking.redirect) {
            None if session.protocol == Protocol::Resp3 => self.push_stale(index, keys),
            None => {}
            Some(Redirect { worker, session }) if worker == self.me => {
                let is_told = self.tell_for_another(session, keys);
                if !is_told {
                    self.note_broken(at.client);
                }
            }
            Some(Redirect { worker, session }) => {
                let mut payload = vec![said::REDIRECTED];
                let count = keys.map_or(ALL_KEYS, |keys| keys.len() as u64);
                for number in [session.index as u64, session.client, at.client, count] {
                    payload.extend(number.to_le_bytes());
                }
                for key in keys.into_iter().flatten() {
                    wire::put_blob(&mut payload, key);
                }
                self.links
                    .send(worker, Envelope::new(FrameKind::Stale, 0), &payload);
            }
        }
    }

    /// Tells a client what is meant for another. False when it has gone.
    fn tell_for_another(&mut self, at: SessionRef, keys: Keys<'_>) -> bool {
        let Some(session) = self.session(at) else {
            return false;
        };
        // Who speaks RESP2 hears messages only while it is subscribed to anything.
        if session.protocol == Protocol::Resp3 || session.subscriptions() > 0 {
            self.push_stale(at.index, keys);
        }
        true
    }

    /// Sends a client the names of keys, behind the replies that are under way: what they say may be stale. A command
    /// that waits for something else is none of these.
    fn push_stale(&mut self, index: usize, keys: Keys<'_>) {
        let session = &self.sessions[index];
        let overtakes = self.is_blocked(session) && session.slots.len() == 1;
        let session = &mut self.sessions[index];
        let protocol = session.protocol;
        let target = if overtakes {
            session.output.buffer()
        } else {
            session.reply_target()
        };
        let mut reply = Reply::new(target, protocol);
        if protocol == Protocol::Resp3 {
            reply.push(2);
            reply.bulk(b"invalidate");
        } else {
            reply.array(3);
            reply.bulk(b"message");
            reply.bulk(CHANNEL);
        }
        match keys {
            None => reply.null(),
            Some(keys) => {
                reply.array(keys.len());
                keys.iter().for_each(|key| reply.bulk(key));
            }
        }
        self.touch(index);
        self.check_output(index);
    }

    /// A client is to know that nobody hears for it any more.
    fn note_broken(&mut self, client: u64) {
        let Some(&index) = self.trackings.sessions.get(&client) else {
            return;
        };
        let session = &mut self.sessions[index];
        let protocol = session.protocol;
        let Some(tracking) = session.tracking_mut() else {
            return;
        };
        tracking.is_broken = true;
        let redirect = tracking.redirect.map_or(0, |to| to.session.client);
        if protocol == Protocol::Resp3 {
            let mut reply = Reply::new(session.reply_target(), protocol);
            reply.push(2);
            reply.bulk(b"tracking-redir-broken");
            reply.int(redirect as i64);
            self.touch(index);
        }
    }
}

/// A change of all keys of a shard that is not part of a transaction.
const ALONE: u64 = u64::MAX;
/// How long the shards of a transaction may take to tell of it, in milliseconds.
const FLUSH_MS: Millis = 50;
/// Stands for all keys where their number is expected.
const ALL_KEYS: u64 = u64::MAX;

fn put_read(payloads: &mut [Vec<u8>], stale: &Stale, key: &[u8]) {
    for tracker in &stale.trackers {
        let Some(payload) = payloads.get_mut(tracker.worker) else {
            continue;
        };
        payload.push(said::READ);
        payload.extend(tracker.client.to_le_bytes());
        payload.extend(stale.author.to_le_bytes());
        wire::put_blob(payload, key);
    }
}

impl Session {
    pub(super) fn tracking(&self) -> Option<&Tracking> {
        self.details()?.tracking.as_deref()
    }

    pub(super) fn tracking_mut(&mut self) -> Option<&mut Tracking> {
        self.gates
            .any(Gates::TRACKING)
            .then(|| self.details_mut())?
            .tracking
            .as_deref_mut()
    }
}
