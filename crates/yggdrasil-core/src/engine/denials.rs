//! The log of what users were denied, as ACL LOG shows it.

use std::collections::VecDeque;

use super::Engine;
use crate::acl::{Denial, User};
use crate::commands::{CommandError, CommandId};
use crate::resp::Args;
use crate::stats::Counter;

/// Entries that a new one is compared with.
const COMPARED: usize = 10;
/// Equal denials within so many milliseconds are one entry.
const TOGETHER_MS: u64 = 60_000;

/// The kind of thing that was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeniedWhat {
    Auth,
    Command,
    Key,
    Channel,
}

impl DeniedWhat {
    /// As ACL LOG names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Command => "command",
            Self::Key => "key",
            Self::Channel => "channel",
        }
    }

    fn counter(self) -> Counter {
        match self {
            Self::Auth => Counter::DeniedAuth,
            Self::Command => Counter::DeniedCommands,
            Self::Key => Counter::DeniedKeys,
            Self::Channel => Counter::DeniedChannels,
        }
    }
}

/// The way by which a request came that was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeniedWhere {
    TopLevel,
    Multi,
    Script,
    /// A command that is written in Python.
    Module,
}

impl DeniedWhere {
    /// As ACL LOG names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TopLevel => "toplevel",
            Self::Multi => "multi",
            Self::Script => "lua",
            Self::Module => "module",
        }
    }
}

/// One entry of the log.
#[derive(Clone, Debug)]
pub struct DenialEntry {
    /// Rises over all workers of the node.
    pub id: u64,
    pub count: u64,
    pub what: DeniedWhat,
    pub context: DeniedWhere,
    /// The command, key or channel that was denied.
    pub object: Vec<u8>,
    pub user: Vec<u8>,
    /// Unix time in milliseconds.
    pub created_ms: u64,
    /// Unix time in milliseconds of the last time that it happened.
    pub updated_ms: u64,
    /// The client of the last time, as CLIENT LIST shows it.
    pub client: String,
}

impl DenialEntry {
    fn is_like(&self, other: &Self) -> bool {
        self.what == other.what
            && self.context == other.context
            && other.updated_ms.saturating_sub(self.updated_ms) <= TOGETHER_MS
            && self.object == other.object
            && self.user == other.user
    }
}

/// The latest denials of a worker, newest first.
#[derive(Default)]
pub(super) struct Denials(VecDeque<DenialEntry>);

impl Denials {
    /// Adds a denial to the entry of equal ones, or as a new entry with the number that `id` draws.
    fn add(&mut self, entry: DenialEntry, entries_max: usize, id: impl FnOnce() -> u64) {
        let mut compared = self.0.iter().take(COMPARED);
        match compared.position(|known| known.is_like(&entry)) {
            Some(place) => {
                let mut known = self.0.remove(place).expect("it was there above");
                known.count += 1;
                known.updated_ms = entry.updated_ms;
                known.client = entry.client;
                self.0.push_front(known);
            }
            None => self.0.push_front(DenialEntry { id: id(), ..entry }),
        }
        self.0.truncate(entries_max);
    }
}

impl Engine {
    /// The denials of this worker that are kept, newest first.
    #[must_use]
    pub fn denials(&self) -> Vec<DenialEntry> {
        self.denials.0.iter().cloned().collect()
    }

    /// Forgets them.
    pub fn forget_denials(&mut self) {
        self.denials.0.clear();
    }

    /// Notes that a session was denied what it asked for; the error that it gets.
    #[cold]
    pub(super) fn deny(
        &mut self,
        index: usize,
        user: &User,
        command: CommandId,
        args: &Args<'_>,
        denial: Denial,
        context: DeniedWhere,
    ) -> CommandError {
        let name = self.table.spec(command).name;
        let (what, object) = match denial {
            Denial::Command => (DeniedWhat::Command, name.as_bytes()),
            Denial::Key(place) => (DeniedWhat::Key, args.at(place)),
            Denial::Channel(place) => (DeniedWhat::Channel, args.at(place)),
        };
        self.note_denial(Some(index), what, context, object, user.name());
        no_permission(user, name, denial)
    }

    /// Writes an entry into the log.
    pub(super) fn note_denial(
        &mut self,
        index: Option<usize>,
        what: DeniedWhat,
        context: DeniedWhere,
        object: &[u8],
        user: &[u8],
    ) {
        self.stats.add(what.counter(), 1);
        let session = index.and_then(|index| self.sessions.get(index));
        let client = session.map(|session| self.describe(session).line(self.me));
        let now = (self.clock.unix_ms)();
        let entry = DenialEntry {
            id: 0,
            count: 1,
            what,
            context,
            object: object.to_vec(),
            user: user.to_vec(),
            created_ms: now,
            updated_ms: now,
            client: client.unwrap_or_default(),
        };
        let control = &self.control;
        self.denials
            .add(entry, self.options.denials_max, || control.next_denial_id());
    }
}

/// The error of a request that a user may not make.
pub(super) fn no_permission(user: &User, command: &str, denial: Denial) -> CommandError {
    let text = match denial {
        Denial::Command => {
            let user = String::from_utf8_lossy(user.name());
            format!("NOPERM User {user} has no permissions to run the '{command}' command")
        }
        Denial::Key(_) => "NOPERM No permissions to access a key".to_owned(),
        Denial::Channel(_) => "NOPERM No permissions to access a channel".to_owned(),
    };
    CommandError::text(text)
}
