//! Requests that wait for a change of the own shard, in the order in which they came.
//!
//! One of a client of this worker runs again when a key has changed that it waits for. For one that came from another
//! worker, that worker is asked first (a claim): its client may have gone. While the answer is under way, whoever
//! came later for the same key waits.

use std::collections::{BTreeMap, BTreeSet};

use super::Engine;
use super::durability::AckChoice;
use super::job::{Job, Lends, MaySteps};
use super::links::Envelope;
use super::pending::{SessionRef, Waiter};
use super::remote::Message;
use super::spread::SpreadId;
use super::tracking::Origin;
use super::wire::{self, Reader};
use crate::commands::{CommandId, Flags, Waits};
use crate::hashing::SeededMap;
use crate::keyspace::{Key, Kind, Millis, ReadyKey, WaitToken, hash_key};
use crate::resp::{ArgsBuffer, Protocol, Reply};
use crate::ring::{FrameHeader, FrameKind};
use crate::stats::Counter;

/// The receiver of a reply that is given later.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asker {
    Here(Waiter),
    /// Another worker, which sent this message.
    There {
        from: usize,
        header: FrameHeader,
    },
}

/// Where the request of a session waits.
#[derive(Clone, Copy, Debug)]
pub enum Blocked {
    Here(WaitToken),
    /// At the owner of its keys.
    There {
        shard: usize,
        ticket: u64,
    },
    /// At several shards.
    Spread(SpreadId),
}

/// The end of a wait without the change that was waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ending {
    /// The client has gone.
    Gone = 0,
    /// Its time is over.
    Timeout = 1,
    /// CLIENT UNBLOCK with ERROR.
    Unblocked = 2,
    /// The shard is not written by clients any more.
    Following = 3,
}

impl Ending {
    fn from_payload(payload: &[u8]) -> Self {
        match payload.first() {
            Some(1) => Self::Timeout,
            Some(2) => Self::Unblocked,
            _ => Self::Gone,
        }
    }

    /// The reply of a request that ends like this; empty where nobody wants one.
    pub fn reply(self, protocol: Protocol) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut reply = Reply::new(&mut bytes, protocol);
        match self {
            Self::Gone => {}
            Self::Timeout => reply.null_array(),
            Self::Unblocked => reply.error("UNBLOCKED client unblocked via CLIENT UNBLOCK"),
            Self::Following => reply.error(
                "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
            ),
        }
        bytes
    }
}

/// The request itself, which runs here.
struct Request {
    /// The client behind it, for the slow log.
    client: u64,
    command: CommandId,
    args: ArgsBuffer,
    origin: Origin,
}

/// A request that waits, or the place of one that another worker runs.
pub(super) struct Parked {
    asker: Asker,
    request: Option<Request>,
    /// The keys whose change it waits for.
    keys: ArgsBuffer,
    /// The kind of value that it waits for.
    kind: Option<Kind>,
    /// The removal of a key ends its waiting.
    for_removal: bool,
    db: u8,
    protocol: Protocol,
    ack: AckChoice,
    until: Option<Millis>,
    claim: Option<Claim>,
}

/// A question under way whether the request may run.
#[derive(Default)]
struct Claim {
    /// A key has changed since.
    changed: bool,
}

/// What is due at a time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Due {
    Parked(WaitToken),
    Spread(SpreadId),
}

/// The ends of the times of requests that wait.
pub(super) type Deadlines = BTreeSet<(Millis, Due)>;

/// All requests that wait here.
#[derive(Default)]
pub(super) struct ParkedRequests {
    by_token: BTreeMap<WaitToken, Parked>,
    /// Those of other workers: worker, incarnation and ticket -> token
    by_message: SeededMap<(usize, u32, u64), WaitToken>,
    last: WaitToken,
}

impl ParkedRequests {
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.by_token.len()
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.by_token.is_empty()
    }

    fn add(&mut self, parked: Parked) -> WaitToken {
        self.last += 1;
        if let Some(place) = place_of(&parked.asker) {
            self.by_message.insert(place, self.last);
        }
        self.by_token.insert(self.last, parked);
        self.last
    }

    fn remove(&mut self, token: WaitToken) -> Option<Parked> {
        let parked = self.by_token.remove(&token)?;
        if let Some(place) = place_of(&parked.asker) {
            self.by_message.remove(&place);
        }
        Some(parked)
    }

    /// The request of a worker that has this ticket.
    fn of_message(&self, from: usize, header: &FrameHeader) -> Option<WaitToken> {
        let place = (from, header.from_incarnation, header.ticket);
        self.by_message.get(&place).copied()
    }
}

fn place_of(asker: &Asker) -> Option<(usize, u32, u64)> {
    match asker {
        Asker::Here(_) => None,
        Asker::There { from, header } => Some((*from, header.from_incarnation, header.ticket)),
    }
}

impl Engine {
    /// Keeps a job until one of its keys changes.
    pub(super) fn park(
        &mut self,
        job: &Job<'_>,
        client: u64,
        asker: Asker,
        waits: Waits,
    ) -> WaitToken {
        let row = self.table.spec(job.command);
        let places = row.waits_for(job.args);
        self.add_parked(Parked {
            asker,
            keys: places.map(|place| job.args.at(place)).collect(),
            kind: row.needs,
            for_removal: row.flags.has(Flags::WAITS_FOR_REMOVAL),
            db: job.db,
            protocol: job.protocol,
            ack: job.ack,
            until: waits.until,
            claim: None,
            request: Some(Request {
                client,
                command: job.command,
                args: waits
                    .instead
                    .map_or_else(|| (*job.args).into(), |args| *args),
                origin: job.origin,
            }),
        })
    }

    fn add_parked(&mut self, parked: Parked) -> WaitToken {
        let (db, for_removal, until) = (parked.db, parked.for_removal, parked.until);
        let keys = parked.keys.clone();
        if parked.request.is_some() {
            self.stats.add(Counter::BlockedClients, 1);
        }
        let token = self.parked.add(parked);
        for bytes in keys.as_args().iter() {
            let key = Key {
                db,
                hash: hash_key(self.shape.hash_seed, bytes),
                bytes,
            };
            self.shard.wait_for(&key, token, for_removal);
        }
        if let Some(until) = until {
            self.deadlines.insert((until, Due::Parked(token)));
        }
        token
    }

    /// Lets a request of a client here, which several shards have a part in, wait for keys of the own shard.
    pub(super) fn wait_here(
        &mut self,
        spread: SpreadId,
        command: CommandId,
        keys: ArgsBuffer,
        db: u8,
    ) -> WaitToken {
        let row = self.table.spec(command);
        self.add_parked(Parked {
            asker: Asker::Here(Waiter::Spread { spread }),
            request: None,
            keys,
            kind: row.needs,
            for_removal: row.flags.has(Flags::WAITS_FOR_REMOVAL),
            db,
            protocol: Protocol::Resp2,
            ack: AckChoice::Default,
            until: None,
            claim: None,
        })
    }

    /// The payload of [`FrameKind::Wait`].
    pub(super) fn wait_payload(command: CommandId, keys: &ArgsBuffer) -> Vec<u8> {
        let mut payload = (command.index() as u16).to_le_bytes().to_vec();
        wire::put_args(&mut payload, keys.as_args().iter());
        payload
    }

    /// Lets a request that another worker coordinates wait for keys of the own shard.
    pub(super) fn take_wait(&mut self, message: &Message<'_>) {
        let mut reader = Reader::new(&message.payload);
        let command = reader.u16().and_then(|index| self.table.at(index.into()));
        let mut spans = Vec::new();
        let Some((command, bytes)) = command.zip(reader.args(&mut spans)) else {
            return;
        };
        let row = self.table.spec(command);
        let parked = Parked {
            asker: Asker::There {
                from: message.from,
                header: message.header,
            },
            request: None,
            keys: wire::args(bytes, &spans).iter().collect(),
            kind: row.needs,
            for_removal: row.flags.has(Flags::WAITS_FOR_REMOVAL),
            db: message.header.db,
            protocol: Protocol::Resp2,
            ack: AckChoice::Default,
            until: None,
            claim: None,
        };
        self.add_parked(parked);
    }

    /// Takes back what waits. Where a claim of it was under way, those behind it have their turn.
    pub(super) fn unpark(&mut self, token: WaitToken) -> Option<Parked> {
        let parked = self.parked.remove(token)?;
        if parked.request.is_some() {
            self.stats.subtract(Counter::BlockedClients, 1);
        }
        if let Some(until) = parked.until {
            self.deadlines.remove(&(until, Due::Parked(token)));
        }
        for key in parked.keys.as_args().iter() {
            self.shard.end_wait(parked.db, key, token);
        }
        if parked.claim.is_some() {
            self.look_again(&parked, token + 1);
        }
        Some(parked)
    }

    fn look_again(&mut self, parked: &Parked, from: WaitToken) {
        for key in parked.keys.as_args().iter() {
            self.shard.look_again(parked.db, key, from);
        }
    }

    /// Runs requests again whose keys have changed.
    #[cold]
    pub(super) fn serve_ready(&mut self) {
        while self.reserved.is_none()
            && let Some(ready) = self.shard.take_ready()
        {
            self.serve_key(ready);
        }
    }

    /// Looks at those who wait for a key, in the order in which they came.
    fn serve_key(&mut self, mut ready: ReadyKey) {
        loop {
            let key = Key {
                db: ready.db,
                hash: hash_key(self.shape.hash_seed, &ready.bytes),
                bytes: &ready.bytes,
            };
            let kind = self.shard.look(&key, self.now).map(|entry| entry.kind);
            let Some(token) = self.shard.next_waiting(&ready, kind.is_none()) else {
                return;
            };
            if !self.serve(token, kind) {
                return;
            }
            ready.from = token + 1;
        }
    }

    /// Gives a request its turn. False where those behind it have to wait.
    fn serve(&mut self, token: WaitToken, kind: Option<Kind>) -> bool {
        let Some(parked) = self.parked.by_token.get_mut(&token) else {
            return true;
        };
        if let Some(claim) = &mut parked.claim {
            claim.changed = true;
            return false;
        }
        let is_other = parked.kind.is_some() && parked.kind != kind;
        if is_other && !parked.for_removal {
            return true;
        }
        match parked.asker {
            Asker::Here(Waiter::Spread { spread }) => {
                parked.claim = Some(Claim::default());
                self.spread_claimed(spread, self.me);
                false
            }
            Asker::Here(_) => {
                self.run_again(token);
                true
            }
            Asker::There { from, header } => {
                parked.claim = Some(Claim::default());
                let envelope = Envelope {
                    kind: FrameKind::Claim,
                    ..Envelope::reply_to(&header)
                };
                self.links.send(from, envelope, &[]);
                false
            }
        }
    }

    /// Runs a request again. False where it goes on waiting.
    fn run_again(&mut self, token: WaitToken) -> bool {
        let Some(parked) = self.parked.by_token.get_mut(&token) else {
            return true;
        };
        let Some(request) = parked.request.take() else {
            return true;
        };
        let job = Job {
            command: request.command,
            args: &request.args.as_args(),
            hash: None,
            db: parked.db,
            protocol: parked.protocol,
            may_wait: true,
            in_steps: MaySteps::No,
            origin: request.origin,
            ack: parked.ack,
        };
        let before = self.shard.number();
        let mut reply = Vec::new();
        let is_done = self.run_job(&job, &mut reply, Lends::Nothing).is_done();
        if is_done {
            self.account(&job, request.client, &reply);
        }
        if let Some(parked) = self.parked.by_token.get_mut(&token) {
            parked.request = Some(request);
        }
        if !is_done {
            return false;
        }
        if let Some(parked) = self.unpark(token) {
            let due = self.number_due(parked.ack, before);
            self.tell_when_durable(due, parked.asker, &reply);
        }
        true
    }

    /// Gives a reply to who waits for it, here or elsewhere.
    pub(super) fn tell(&mut self, asker: Asker, reply: &[u8]) {
        match asker {
            Asker::Here(waiter) => self.give(waiter, Some(reply)),
            Asker::There { from, header } => self.send_reply(from, &header, reply),
        }
    }

    /// The owner of a key asks whether a request may run that waits there.
    pub(super) fn take_claim(&mut self, from: usize, ticket: u64) {
        match self.tickets.waiter(ticket) {
            Some(Waiter::Spread { spread }) => self.spread_claimed(spread, from),
            Some(_) => self
                .links
                .send(from, Envelope::new(FrameKind::Go, ticket), &[]),
            None => self.send_cancel(from, ticket, 0, Ending::Gone),
        }
    }

    /// A request that waits here may run.
    pub(super) fn take_go(&mut self, from: usize, header: &FrameHeader) {
        if let Some(token) = self.parked.of_message(from, header)
            && !self.run_again(token)
        {
            self.unclaim(token);
        }
    }

    /// A request that waits here, too, has run elsewhere and goes on waiting.
    pub(super) fn take_unclaim(&mut self, from: usize, header: &FrameHeader) {
        if let Some(token) = self.parked.of_message(from, header) {
            self.unclaim(token);
        }
    }

    pub(super) fn unclaim(&mut self, token: WaitToken) {
        let Some(parked) = self.parked.by_token.get_mut(&token) else {
            return;
        };
        let Some(claim) = parked.claim.take() else {
            return;
        };
        let from = token + u64::from(!claim.changed);
        let (db, keys) = (parked.db, parked.keys.clone());
        for key in keys.as_args().iter() {
            self.shard.look_again(db, key, from);
        }
    }

    /// Ends a request that waits at another worker.
    pub(super) fn send_cancel(&mut self, to: usize, ticket: u64, tag: u64, ending: Ending) {
        let envelope = Envelope {
            tag,
            ..Envelope::new(FrameKind::Cancel, ticket)
        };
        self.links.send(to, envelope, &[ending as u8]);
    }

    /// Ends a request of another worker, if it still waits.
    pub(super) fn take_cancel(&mut self, from: usize, header: &FrameHeader, payload: &[u8]) {
        if let Some(token) = self.parked.of_message(from, header) {
            self.end_parked(token, Ending::from_payload(payload));
        }
    }

    fn end_parked(&mut self, token: WaitToken, ending: Ending) {
        if let Some(parked) = self.unpark(token)
            && ending != Ending::Gone
        {
            self.tell(parked.asker, &ending.reply(parked.protocol));
        }
    }

    /// Forgets what waits for a worker that was replaced.
    pub(super) fn lose_parked(&mut self, from: usize, incarnation: u32) {
        let all = self.parked.by_message.iter();
        let lost = all.filter(|((sender, of, _), _)| *sender == from && *of != incarnation);
        let mut tokens: Vec<WaitToken> = lost.map(|(_, token)| *token).collect();
        tokens.sort_unstable();
        for token in tokens {
            self.unpark(token);
        }
    }

    /// Ends what waits in order to write: only what the shard follows writes from now on.
    pub(super) fn end_waiting_writes(&mut self) {
        let all = self.parked.by_token.iter();
        let writes = all.filter(|(_, parked)| {
            let request = parked.request.as_ref();
            request.is_some_and(|request| {
                let flags = self.table.spec(request.command).flags;
                flags.has(Flags::WRITE)
            })
        });
        let tokens: Vec<WaitToken> = writes.map(|(token, _)| *token).collect();
        for token in tokens {
            self.end_parked(token, Ending::Following);
        }
    }

    /// The next time at which [`Engine::pass_time`] has something to do, in Unix ms, and how long that is from now.
    #[must_use]
    pub fn next_deadline(&self) -> Option<(Millis, Millis)> {
        let (until, _) = self.deadlines.first()?;
        Some((*until, until.saturating_sub((self.clock.unix_ms)())))
    }

    /// Ends requests that have waited for as long as they may.
    pub fn pass_time(&mut self) {
        self.run_staged();
        self.read_clock();
        self.end_waits_in_time();
        self.settle();
    }

    pub(super) fn end_waits_in_time(&mut self) {
        while let Some(&(until, due)) = self.deadlines.first()
            && until <= self.now
        {
            self.deadlines.pop_first();
            match due {
                Due::Parked(token) => self.end_parked(token, Ending::Timeout),
                Due::Spread(spread) => self.end_spread_by(spread, Ending::Timeout),
            }
        }
    }

    /// Ends what a session waits for: its client has gone.
    pub(super) fn end_blocked(&mut self, index: usize) {
        match self.sessions[index].blocked.take() {
            None => {}
            Some(Blocked::Here(token)) => drop(self.unpark(token)),
            Some(Blocked::Spread(spread)) => self.leave_spread(spread),
            Some(Blocked::There { shard, ticket }) => {
                self.tickets.redeem(ticket);
                self.send_cancel(shard, ticket, 0, Ending::Gone);
            }
        }
    }

    /// Lets a client go on that waits for a change, as if its time was over or with an error. False where it does not
    /// wait.
    pub fn unblock(&mut self, client: u64, with_error: bool) -> bool {
        let mut sessions = self.sessions.iter();
        let found = sessions.find(|(_, session)| session.at.client == client);
        let Some(blocked) = found.and_then(|(_, session)| session.blocked) else {
            return false;
        };
        let ending = if with_error {
            Ending::Unblocked
        } else {
            Ending::Timeout
        };
        match blocked {
            Blocked::Here(token) => self.end_parked(token, ending),
            Blocked::There { shard, ticket } => self.send_cancel(shard, ticket, 0, ending),
            Blocked::Spread(spread) => self.end_spread_by(spread, ending),
        }
        self.settle();
        true
    }

    /// Sessions that wait for a change, and have been sent all that was due before.
    #[must_use]
    pub fn waiting_sessions(&self) -> Vec<SessionRef> {
        let sessions = self.sessions.iter().map(|(_, session)| session);
        let waiting =
            sessions.filter(|session| session.blocked.is_some() && session.output.is_empty());
        waiting.map(|session| session.at).collect()
    }
}
