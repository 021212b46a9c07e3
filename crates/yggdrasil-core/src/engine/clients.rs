//! The clients of a worker, as CLIENT LIST shows them and CLIENT KILL finds them, and what they hold.

use std::collections::HashSet;
use std::fmt::Write;

use super::Engine;
use super::pending::SessionRef;
use super::session::{Gates, Listener, Session};
use super::tracking::Caching;
use super::tracking_commands::redirect_of;
use crate::stats::Counter;

/// The seconds over which the longest buffers of clients are remembered.
const RECENT_SECONDS: usize = 8;

/// A client as CLIENT LIST shows it.
#[derive(Clone, Debug)]
pub struct ClientInfo {
    pub id: u64,
    pub address: String,
    pub local_address: String,
    pub descriptor: i32,
    pub name: String,
    pub age_seconds: u64,
    pub idle_seconds: u64,
    /// Letters as in CLIENT LIST; "N" for none.
    pub flags: String,
    pub db: u8,
    pub user: String,
    pub channels: usize,
    pub patterns: usize,
    pub sharded_channels: usize,
    /// Requests queued by MULTI; -1 outside of one.
    pub multi: i64,
    pub watches: usize,
    pub input_bytes: usize,
    pub input_free_bytes: usize,
    pub output_bytes: usize,
    pub reply_slots: usize,
    /// Bytes of replies that wait.
    pub output_memory_bytes: usize,
    /// Bytes of the buffer for replies, in use or not.
    pub output_buffer_bytes: usize,
    pub total_memory_bytes: usize,
    pub command: String,
    /// The client that hears of what this one keeps: 0 for itself, -1 where it keeps nothing.
    pub redirect: i64,
    pub protocol: u8,
    pub library_name: String,
    pub library_version: String,
    pub listener: Listener,
    pub secure: bool,
    pub commands: u64,
    pub input_total: u64,
    pub output_total: u64,
}

impl ClientInfo {
    /// The line of CLIENT LIST.
    #[must_use]
    pub fn line(&self, shard: usize) -> String {
        let mut line = String::with_capacity(512);
        let buffer = self.output_buffer_bytes;
        // Writing to a string cannot fail.
        let _ = write!(
            line,
            "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={} db={} sub={} psub={} ssub={} multi={} \
             watch={} qbuf={} qbuf-free={} argv-mem=0 multi-mem=0 rbs={buffer} rbp={buffer} obl={} oll={} omem={} \
             tot-mem={} events=r cmd={} user={} redir={} resp={} lib-name={} lib-ver={} io-thread={shard} \
             tot-net-in={} tot-net-out={} tot-cmds={}",
            self.id,
            self.address,
            self.local_address,
            self.descriptor,
            self.name,
            self.age_seconds,
            self.idle_seconds,
            self.flags,
            self.db,
            self.channels,
            self.patterns,
            self.sharded_channels,
            self.multi,
            self.watches,
            self.input_bytes,
            self.input_free_bytes,
            self.output_bytes,
            self.reply_slots,
            self.output_memory_bytes,
            self.total_memory_bytes,
            self.command,
            self.user,
            self.redirect,
            self.protocol,
            self.library_name,
            self.library_version,
            self.input_total,
            self.output_total,
            self.commands,
        );
        line
    }
}

/// What a client does, for the filters of CLIENT LIST and CLIENT KILL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientKind {
    Normal,
    PubSub,
    /// Another node of a replicated one: there are none.
    Replication,
}

/// Clients that are meant; what is `None` does not matter.
#[derive(Clone, Debug, Default)]
pub struct ClientFilter {
    pub ids: Option<HashSet<u64>>,
    pub address: Option<Vec<u8>>,
    pub local_address: Option<Vec<u8>>,
    pub kind: Option<ClientKind>,
    pub user: Option<Vec<u8>>,
    pub age_seconds_min: Option<u64>,
    pub except: Option<u64>,
}

impl ClientFilter {
    fn fits(&self, session: &Session, now: u64) -> bool {
        let is = |wanted: &Option<Vec<u8>>, address: &str| {
            wanted
                .as_ref()
                .is_none_or(|wanted| wanted == address.as_bytes())
        };
        let client = session.at.client;
        let age = now.saturating_sub(session.created_at) / 1000;
        self.ids.as_ref().is_none_or(|ids| ids.contains(&client))
            && self.except != Some(client)
            && is(&self.address, &session.address)
            && is(&self.local_address, &session.local_address)
            && self.kind.is_none_or(|kind| kind == kind_of(session))
            && self
                .user
                .as_ref()
                .is_none_or(|user| **user == *session.user.name())
            && self.age_seconds_min.is_none_or(|least| age >= least)
    }
}

/// Part of the clients of a worker: those of so many places, from a place on. One step of a long answer looks at one.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    pub from: usize,
    pub places: usize,
}

impl Page {
    /// All clients.
    pub const ALL: Page = Page {
        from: 0,
        places: usize::MAX,
    };
}

/// The longest buffers of clients in each of the last seconds.
#[derive(Default)]
pub(super) struct RecentBuffers {
    second: u64,
    input: [u64; RECENT_SECONDS],
    output: [u64; RECENT_SECONDS],
}

impl RecentBuffers {
    /// Goes on to a second, and forgets those that are too long ago.
    pub fn advance(&mut self, second: u64) {
        let passed = second.saturating_sub(self.second);
        self.second = self.second.max(second);
        for place in (0..passed.min(RECENT_SECONDS as u64)).map(|back| second - back) {
            let place = place as usize % RECENT_SECONDS;
            (self.input[place], self.output[place]) = (0, 0);
        }
    }

    fn note(&mut self, input: usize, output: usize) {
        let place = self.second as usize % RECENT_SECONDS;
        self.input[place] = self.input[place].max(input as u64);
        self.output[place] = self.output[place].max(output as u64);
    }
}

impl Engine {
    /// Clients of this worker on a page that fit a filter, and where the next page begins, if there is one.
    #[must_use]
    pub fn clients(&self, filter: &ClientFilter, page: Page) -> (Option<usize>, Vec<ClientInfo>) {
        let (next, found) = self.matching(filter, page);
        let found = found.map(|index| self.describe(&self.sessions[index]));
        (next, found.collect())
    }

    fn matching(
        &self,
        filter: &ClientFilter,
        page: Page,
    ) -> (Option<usize>, impl Iterator<Item = usize>) {
        let (count, now) = (self.sessions.capacity(), self.now);
        let end = page.from.saturating_add(page.places).min(count);
        let fits = move |index: &usize| {
            let session = self.sessions.get(*index);
            session.is_some_and(|session| filter.fits(session, now))
        };
        ((end < count).then_some(end), (page.from..end).filter(fits))
    }

    /// One client of this worker.
    pub fn client(&mut self, at: SessionRef) -> Option<ClientInfo> {
        self.session(at)?;
        self.sessions
            .get(at.index)
            .map(|session| self.describe(session))
    }

    pub(super) fn describe(&self, session: &Session) -> ClientInfo {
        let text = |bytes: Option<&Vec<u8>>| {
            String::from_utf8_lossy(bytes.map_or(&[][..], |bytes| bytes)).into_owned()
        };
        let details = session.details();
        let in_multi = session.gates.any(Gates::MULTI);
        let queued = details.map_or(0, |details| details.multi.queue.len());
        ClientInfo {
            id: session.at.client,
            address: session.address.clone(),
            local_address: session.local_address.clone(),
            descriptor: session.descriptor,
            name: text(details.map(|details| &details.name)),
            age_seconds: self.now.saturating_sub(session.created_at) / 1000,
            idle_seconds: self.now.saturating_sub(session.active_at) / 1000,
            flags: self.flags_of(session),
            db: session.db,
            user: String::from_utf8_lossy(session.user.name()).into_owned(),
            channels: details.map_or(0, |details| details.subscribed.channels.len()),
            patterns: details.map_or(0, |details| details.subscribed.patterns.len()),
            sharded_channels: details.map_or(0, |details| details.subscribed.sharded.len()),
            multi: if in_multi { queued as i64 } else { -1 },
            watches: details.map_or(0, |details| details.multi.watched_keys),
            input_bytes: session.input.len(),
            input_free_bytes: session.input.capacity() - session.input.len(),
            output_bytes: session.output.len(),
            reply_slots: session.slots.len(),
            output_memory_bytes: session.output.held() + session.slots.bytes(),
            output_buffer_bytes: session.output.capacity(),
            total_memory_bytes: session.memory_bytes(),
            command: session.last_command.map_or("NULL".into(), |command| {
                self.table.spec(command).name.to_owned()
            }),
            redirect: redirect_of(session),
            protocol: session.protocol.version(),
            library_name: text(details.map(|details| &details.library_name)),
            library_version: text(details.map(|details| &details.library_version)),
            listener: session.listener,
            secure: session.secure,
            commands: session.commands,
            input_total: session.input_total,
            output_total: session.output_total,
        }
    }

    fn flags_of(&self, session: &Session) -> String {
        let details = session.details();
        let tracking = session.tracking();
        let flags: String = [
            (session.gates.any(Gates::MONITOR), 'O'),
            (session.subscriptions() > 0, 'P'),
            (session.gates.any(Gates::MULTI), 'x'),
            (self.is_blocked(session), 'b'),
            (tracking.is_some(), 't'),
            (tracking.is_some_and(|it| it.is_broken), 'R'),
            (
                tracking.is_some_and(|it| it.caching == Caching::Broadcast),
                'B',
            ),
            (details.is_some_and(|details| details.multi.watch_lost), 'd'),
            (session.closing, 'c'),
            (session.listener == Listener::Unix, 'U'),
            (session.gates.any(Gates::NO_EVICT), 'e'),
            (session.gates.any(Gates::NO_TOUCH), 'T'),
        ]
        .into_iter()
        .filter_map(|(on, letter)| on.then_some(letter))
        .collect();
        if flags.is_empty() { "N".into() } else { flags }
    }

    /// Closes a client's connection: at once, or after the replies that are due.
    pub fn kill_client(&mut self, client: u64, at_once: bool) -> bool {
        let found = self
            .sessions
            .iter()
            .find(|(_, session)| session.at.client == client && !session.closing);
        let Some(index) = found.map(|(index, _)| index) else {
            return false;
        };
        if at_once {
            self.drop_session(index);
        } else {
            self.close_after_output(index);
        }
        true
    }

    /// Closes connections at once: those on a page that fit a filter. Where the next page begins, if there is one, and
    /// how many connections these were.
    pub fn kill_clients(&mut self, filter: &ClientFilter, page: Page) -> (Option<usize>, usize) {
        let (next, found) = self.matching(filter, page);
        let found: Vec<usize> = found
            .filter(|index| !self.sessions[*index].closing)
            .collect();
        for index in &found {
            self.drop_session(*index);
        }
        (next, found.len())
    }

    /// Counts what a session holds now, as part of what all hold.
    pub(super) fn recount(&mut self, index: usize) {
        let session = &mut self.sessions[index];
        let bytes = session.memory_bytes() as u64;
        let counted = std::mem::replace(&mut session.counted_bytes, bytes);
        self.stats
            .add(Counter::SessionBytes, bytes.wrapping_sub(counted));
        self.recent_buffers
            .note(session.input.len(), session.output.len());
    }

    /// Publishes the longest buffers of the last seconds.
    pub(super) fn publish_recent_buffers(&mut self) {
        let most = |lengths: &[u64]| lengths.iter().copied().max().unwrap_or(0);
        let (input, output) = (
            most(&self.recent_buffers.input),
            most(&self.recent_buffers.output),
        );
        self.stats.set(Counter::RecentInputMax, input);
        self.stats.set(Counter::RecentOutputMax, output);
    }
}

fn kind_of(session: &Session) -> ClientKind {
    if session.subscriptions() > 0 {
        ClientKind::PubSub
    } else {
        ClientKind::Normal
    }
}
