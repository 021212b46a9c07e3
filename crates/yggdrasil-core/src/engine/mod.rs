//! The engine of one worker: sessions, routing, transactions, publish and subscribe. Sans-I/O: bytes and messages
//! in, bytes and effects out; whoever drives it owns sockets, descriptors and the event loop.
//!
//! After every call the driver sends the output of the sessions in [`Engine::take_ready`], carries out
//! [`Engine::take_events`], and writes the eventfds of [`Engine::take_wakes`].

mod again;
mod ahead;
mod clients;
mod clock;
mod denials;
mod dispatch;
mod durability;
mod execute;
mod gate;
mod housekeeping;
mod incoming;
mod job;
mod key_events;
mod learning;
mod libraries;
mod links;
mod lists;
mod observe;
mod options;
mod output;
mod parked;
mod pending;
mod publish;
mod pubsub;
mod raw;
mod reads;
mod receive;
mod remote;
mod reservation;
mod rests;
mod routing;
mod savepoint;
mod script_queries;
mod script_run;
mod scripts;
mod session;
mod session_commands;
mod slots;
mod spare;
mod spread;
mod staged;
#[cfg(test)]
mod tests;
mod together;
mod tracking;
mod tracking_commands;
mod transaction;
mod transfer;
mod turns;
mod users;
mod views;
mod watch;
mod wire;
mod works;

use std::collections::VecDeque;
use std::sync::Arc;

use slab::Slab;

pub use clients::{ClientFilter, ClientInfo, ClientKind, Page};
pub use clock::Clock;
pub use denials::{DenialEntry, DeniedWhat, DeniedWhere};
pub use dispatch::Ended;
pub use durability::{AckChoice, Log, LogStatus, Origin, OtherShard, Pressure};
pub use execute::Executor;
pub use gate::ShardState;
pub use incoming::Room;
pub use observe::{LatencyEvent, LatencyHistory, SlowEntry};
pub use options::{OptionError, Options, OutputLimit};
pub use pending::SessionRef;
pub use raw::Raw;
pub use session::{Listener, Peer};
pub use session_commands::COMPATIBLE_VERSION;
pub use tracking::{Caching, Redirect, Tracking};
pub use transaction::TAG_SERIAL_BITS;
pub use users::UsersChange;
pub use views::Unsent;

use crate::acl::Users;
use crate::commands::{
    CommandId, CommandSpec, ElementPlaces, NewCommand, RegistrationError, Registry,
};
use crate::control::{Control, NodeShape};
use crate::keyspace::{Shard, ShardReader, Unheard};
use crate::lease::{Holder, HolderId, LeasePage};
use crate::random::Random;
use crate::resp::{ArgsBuffer, Protocol, Requests, Span};
use crate::script::Scripts;
use crate::stats::{Counter, StatsBlock};
use dispatch::Plan;
use links::Links;
use observe::Observations;
use pending::{Gather, Tickets};
use pubsub::Subscriptions;
use reservation::{Deferred, Reservation};
use session::{Session, Wait};
use transaction::{Transaction, UNLOGGED_RUN};
use views::{Lending, Returned};

/// What the driver has to do beside sending output.
#[derive(Debug)]
pub enum Event {
    /// Run a command that is written in Python; [`Engine::complete`] ends it.
    Command {
        session: SessionRef,
        slot: u64,
        command: CommandId,
        args: ArgsBuffer,
        transaction: Option<usize>,
    },
    /// Python of a worker, perhaps this one, asks; [`Engine::answer_call`] ends it.
    Called {
        caller: Caller,
        topic: Vec<u8>,
        payload: Vec<u8>,
    },
    /// The answer to [`Engine::call`]; `None` when the other worker was restarted first.
    CallAnswered { call: u64, answer: Option<Vec<u8>> },
    /// A script has logged a line, at a level of Redis: debug, verbose, notice, warning.
    Logged { level: u8, line: Vec<u8> },
    /// The reply to [`Engine::execute_for`], in RESP3.
    Executed { execution: u64, reply: Vec<u8> },
    /// Stop or resume reading from a client.
    Reading { session: SessionRef, on: bool },
    /// Look whether a client that is not read from has sent its last byte or is gone; [`Engine::end_input`] if so.
    LookForEnd { session: SessionRef },
}

/// Who asked by [`Engine::call`].
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    from: usize,
    incarnation: u32,
    ticket: u64,
}

/// Everything an engine is made of.
pub struct Parts {
    pub shard_index: usize,
    pub control: Control,
    pub shard: Shard,
    /// One for each other shard, in order; `None` for the own.
    pub readers: Vec<Option<ShardReader>>,
    pub options: Options,
    pub clock: Clock,
}

/// The engine of one worker.
pub struct Engine {
    me: usize,
    shape: NodeShape,
    control: Control,
    stats: StatsBlock,
    shard: Shard,
    /// Lends long values of the shard to replies.
    lending: Lending,
    readers: Vec<Option<ShardReader>>,
    /// What this worker holds of other shards.
    holder: Holder,
    /// What of it has been sent.
    returned: Returned,
    options: Options,
    clock: Clock,
    table: Registry,
    element_places: ElementPlaces,
    users: Users,
    denials: denials::Denials,
    links: Links,
    tickets: Tickets,
    gathers: Slab<Gather>,
    /// Requests that wait for a change of the own shard.
    parked: parked::ParkedRequests,
    /// Requests of clients here that wait for changes of several shards.
    spreads: spread::Spreads,
    deadlines: parked::Deadlines,
    transactions: Slab<Transaction>,
    transaction_serial: u64,
    /// A number that no run of this worker has had before, as far as anybody remembers.
    run: u64,
    reserved: Option<Reservation>,
    /// The savepoints of the own shard, one within the other: what it changes is kept, as it may be undone.
    saved: Vec<Unheard>,
    deferred: VecDeque<Deferred>,
    sessions: Slab<Session>,
    subscriptions: Subscriptions,
    trackings: tracking::Trackings,
    observations: Observations,
    gate: gate::Gate,
    /// Unix time in ms, read once a batch.
    now: u64,
    /// Ticks at the end of the command before.
    ticks: u64,
    random: Random,
    requests: Requests,
    plans: Vec<Plan>,
    staged: staged::Staged,
    scratch: Vec<u8>,
    payload: Vec<u8>,
    reply_scratch: Vec<u8>,
    spans: Vec<Span>,
    inbox: Vec<u8>,
    ready: Vec<usize>,
    resumable: VecDeque<usize>,
    ring_waiters: Vec<usize>,
    /// Requests of Python commands that wait for room in a ring.
    delayed_executions: VecDeque<execute::Execution>,
    events: Vec<Event>,
    next_inspected: usize,
    recent_buffers: clients::RecentBuffers,
    /// Long arguments that other workers are sending for requests to this shard.
    inbound: transfer::Inbounds,
    transfer_serial: u64,
    /// What is made in steps.
    steps: works::Steps,
    /// Scripts and libraries, and scripts that wait.
    scripts: Scripts,
    waiting: scripts::Waiting,
    /// The SCAN in hand does not go on to other shards.
    scans_own_only: bool,
    durability: Option<durability::Durability>,
    /// Replies that wait for changes of several shards to be durable.
    acknowledged: Slab<durability::Acknowledged>,
    rates: housekeeping::Rates,
    heap: housekeeping::Heap,
    /// Batches received, to look at the reports of others now and then.
    batches: u32,
}

/// The statistics of a worker that begins, whose shard is there unless it says otherwise.
fn begin_stats(parts: &Parts) -> StatsBlock {
    let stats = parts.control.stats_block(parts.shard_index);
    stats.clear();
    stats.set(Counter::ShardServes, 1);
    stats
}

impl Engine {
    /// Starts a worker's engine; its predecessor's statistics are cleared.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let shape = *parts.control.shape();
        let stats = begin_stats(&parts);
        let now = (parts.clock.unix_ms)();
        let table = Registry::new();
        let mut engine = Self {
            me: parts.shard_index,
            shape,
            links: Links::open(&parts.control, parts.shard_index),
            run: UNLOGGED_RUN | u64::from(parts.control.incarnation(parts.shard_index)),
            holder: Holder::new(parts.control.lease_page(parts.shard_index)),
            returned: Returned::default(),
            control: parts.control,
            stats,
            lending: Lending::new(parts.shard.lender()),
            shard: parts.shard,
            readers: parts.readers,
            options: parts.options,
            clock: parts.clock,
            users: Users::new(&table),
            denials: denials::Denials::default(),
            element_places: ElementPlaces::of(&table),
            table,
            tickets: Tickets::default(),
            gathers: Slab::new(),
            parked: parked::ParkedRequests::default(),
            spreads: spread::Spreads::default(),
            deadlines: parked::Deadlines::default(),
            transactions: Slab::new(),
            transaction_serial: 0,
            reserved: None,
            saved: Vec::new(),
            deferred: VecDeque::new(),
            sessions: Slab::new(),
            subscriptions: Subscriptions::new(shape.hash_seed),
            trackings: tracking::Trackings::default(),
            observations: Observations::default(),
            gate: gate::Gate::default(),
            now,
            ticks: (parts.clock.ticks)(),
            random: Random::new(shape.hash_seed ^ now.rotate_left(32) ^ parts.shard_index as u64),
            requests: Requests::new(),
            plans: Vec::new(),
            staged: staged::Staged::default(),
            scratch: Vec::new(),
            payload: Vec::new(),
            reply_scratch: Vec::new(),
            spans: Vec::new(),
            inbox: Vec::new(),
            ready: Vec::new(),
            resumable: VecDeque::new(),
            ring_waiters: Vec::new(),
            delayed_executions: VecDeque::new(),
            events: Vec::new(),
            next_inspected: 0,
            recent_buffers: clients::RecentBuffers::default(),
            inbound: transfer::Inbounds::default(),
            transfer_serial: 0,
            steps: works::Steps::default(),
            scripts: Scripts::new(0),
            waiting: scripts::Waiting::default(),
            scans_own_only: false,
            durability: None,
            acknowledged: Slab::new(),
            rates: housekeeping::Rates::default(),
            heap: housekeeping::Heap::default(),
            batches: 0,
        };
        engine.set_up();
        engine
    }

    /// Hands the options on to the shard, and the names of commands to whoever reads their statistics.
    fn set_up(&mut self) {
        self.options.limits.databases = u8::try_from(self.shape.databases).unwrap_or(u8::MAX);
        let ledger = self.control.pin_ledger(self.me);
        self.shard.share_pins(ledger);
        self.apply_eviction();
        self.apply_pin_limits();
        self.apply_thresholds();
        self.users.set_all_channels(self.options.all_channels);
        self.shard.set_lease_age(self.options.lease_age_max_ms);
        self.shard.set_huge_pages(self.options.huge_pages);
        self.apply_event_classes();
        self.apply_tracking_limit();
        self.hear_broadcasts();
        self.scripts.set_bytes_max(self.options.script_bytes_max);
        for (command, spec) in self.table.iter() {
            let name = stats_name(spec);
            self.control.set_command_name(command.index(), &name);
        }
    }

    /// The command table, with the rows that were registered.
    #[must_use]
    pub fn table(&self) -> &Registry {
        &self.table
    }

    /// Adds a command that is written in Python.
    ///
    /// # Errors
    /// What is wrong with its row.
    pub fn register(&mut self, command: NewCommand) -> Result<CommandId, RegistrationError> {
        let id = self.table.register(command)?;
        self.control
            .set_command_name(id.index(), &stats_name(self.table.spec(id)));
        Ok(id)
    }

    /// The node's shape.
    #[must_use]
    pub fn shape(&self) -> &NodeShape {
        &self.shape
    }

    /// The number of its shard.
    #[must_use]
    pub fn own_shard(&self) -> usize {
        self.me
    }

    /// The shard, for who fills it before anybody is served.
    pub fn filling(&mut self) -> &mut Shard {
        &mut self.shard
    }

    /// The shard, for who copies it; `None` while a transaction is changing it.
    #[must_use]
    pub fn settled(&self) -> Option<&Shard> {
        self.reserved.is_none().then_some(&self.shard)
    }

    /// The shard this worker owns.
    #[must_use]
    pub fn shard_index(&self) -> usize {
        self.me
    }

    /// The options in force.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Changes an option at run time.
    ///
    /// # Errors
    /// An unknown name, or a value that it cannot have.
    pub fn set_option(&mut self, name: &str, value: &str) -> Result<(), OptionError> {
        self.options.set(name, value)?;
        if name == "maxmemory" {
            self.apply_memory_limit();
        }
        self.apply_eviction();
        if name == "namespaces"
            && let Some(durability) = &mut self.durability
        {
            let namespaces = Arc::clone(&self.options.namespaces);
            durability.log.set_namespaces(namespaces);
        }
        if matches!(name, "maxmemory" | "maxpinned" | "maxpinned-prefixes") {
            self.apply_pin_limits();
        }
        self.shard.set_lease_age(self.options.lease_age_max_ms);
        self.shard.set_huge_pages(self.options.huge_pages);
        self.apply_event_classes();
        self.apply_tracking_limit();
        self.apply_thresholds();
        self.users.set_all_channels(self.options.all_channels);
        self.scripts.set_bytes_max(self.options.script_bytes_max);
        Ok(())
    }

    fn apply_eviction(&mut self) {
        self.shard.set_packing(self.options.packing);
        self.shard.set_eviction(self.options.eviction);
        self.options.limits.access_bits = self.shard.access_bits();
    }

    fn apply_pin_limits(&mut self) {
        let shards = self.shape.shards as u64;
        self.shard.set_pin_limits(self.options.pin_limits(shards));
    }

    /// Lets a process that reads the shared memory hold runs of this shard, by the page that it is given then.
    pub fn add_guest(&mut self, id: HolderId, page: LeasePage) {
        self.shard.add_guest(id, page);
    }

    /// Forgets such a process, which holds nothing any more.
    pub fn remove_guest(&mut self, id: HolderId) {
        self.shard.remove_guest(id);
    }

    /// Opens a session. `Err` is what to send before closing the connection.
    ///
    /// # Errors
    /// When `maxclients` connections are open already.
    pub fn open(&mut self, peer: &Peer) -> Result<SessionRef, &'static [u8]> {
        if self.control.connected_clients() >= self.options.max_clients {
            self.stats.add(Counter::ConnectionsRejected, 1);
            return Err(b"-ERR max number of clients reached\r\n");
        }
        self.read_clock();
        let entry = self.sessions.vacant_entry();
        let at = SessionRef {
            index: entry.key(),
            client: self.control.next_client_id(),
        };
        entry.insert(Session::new(at, peer, self.users.default_user(), self.now));
        self.log_out(at.index);
        self.stats.add(Counter::ConnectionsReceived, 1);
        self.stats.add(Counter::ConnectedClients, 1);
        self.recount(at.index);
        Ok(at)
    }

    /// The connection is gone. What it had under way is finished, and its replies are dropped.
    pub fn close(&mut self, at: SessionRef) {
        self.run_staged();
        if self.session(at).is_none() {
            return;
        }
        self.forget_subscriptions(at.index);
        self.forget_watches(at.index);
        self.stop_tracking(at.index);
        self.leave_monitor(at.index);
        self.end_blocked(at.index);
        self.set_wait(at.index, Wait::None);
        self.drop_incoming(at.index);
        self.waiting.informed.remove(&at.index);
        let session = self.sessions.remove(at.index);
        self.stats
            .subtract(Counter::SessionBytes, session.counted_bytes);
        self.stats.subtract(Counter::ConnectedClients, 1);
        self.settle();
    }

    fn session(&mut self, at: SessionRef) -> Option<&mut Session> {
        self.sessions
            .get_mut(at.index)
            .filter(|session| session.at == at)
    }

    fn read_clock(&mut self) {
        self.now = (self.clock.unix_ms)();
        let monitored = self.control.monitors() > 0;
        self.gate.set_monitored(monitored);
        self.ticks = (self.clock.ticks)();
    }

    /// Sessions that have output to send, or are to be closed. Each is named once. This ends a round: what waited for
    /// its end is executed.
    pub fn take_ready(&mut self, into: &mut Vec<SessionRef>) {
        self.run_staged();
        for index in self.ready.drain(..) {
            if let Some(session) = self.sessions.get_mut(index) {
                session.listed = false;
                into.push(session.at);
            }
        }
    }

    /// True when there is nothing for the driver to do.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.ready.is_empty()
            && self.staged.is_empty()
            && self.events.is_empty()
            && !self.has_steps()
            && !self.links.has_wakes()
    }

    /// What else is to be done.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// True when there are events to take.
    #[must_use]
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Shards whose eventfd has to be written, as bits.
    pub fn take_wakes(&mut self) -> u64 {
        self.links.take_wakes()
    }

    /// True when long values are among what is to be sent to a client: then [`Engine::unsent_pieces`] gives it.
    pub fn has_views(&mut self, at: SessionRef) -> bool {
        self.session(at)
            .is_some_and(|session| session.output.has_views())
    }

    /// About `at_most` of the bytes to send to a client, where they lie; what was sent is to be confirmed by
    /// [`Engine::sent`].
    pub fn unsent_pieces(&self, at: SessionRef, at_most: usize) -> Unsent<'_> {
        match self.sessions.get(at.index) {
            Some(session) if session.at == at => {
                session.output.pieces(at_most, &self.shard, &self.readers)
            }
            _ => Unsent::new(),
        }
    }

    /// A copy of the next of these bytes, at most so many.
    pub fn unsent_copy(&self, at: SessionRef, at_most: usize) -> Vec<u8> {
        match self.sessions.get(at.index) {
            Some(session) if session.at == at => {
                session.output.copied(at_most, &self.shard, &self.readers)
            }
            _ => Vec::new(),
        }
    }

    /// The bytes to send to a client; what was sent is to be confirmed by [`Engine::sent`].
    pub fn unsent(&mut self, at: SessionRef) -> &[u8] {
        self.session(at)
            .map_or(&[], |session| session.output.unsent())
    }

    /// False while the transport still holds bytes of this session.
    pub fn is_writable(&mut self, at: SessionRef) -> bool {
        self.session(at).is_some_and(|session| session.writable)
    }

    /// The protocol version that a session speaks; `None` when it has gone.
    pub fn protocol_of(&mut self, at: SessionRef) -> Option<Protocol> {
        self.session(at).map(|session| session.protocol)
    }

    /// Database and protocol that a Python command runs with.
    pub fn caller_of(
        &mut self,
        at: SessionRef,
        transaction: Option<usize>,
    ) -> Option<(u8, Protocol)> {
        match transaction.and_then(|id| self.transactions.get(id)) {
            Some(transaction) => Some((transaction.db, transaction.protocol)),
            None => self
                .session(at)
                .map(|session| (session.db, session.protocol)),
        }
    }

    /// The client has sent its last byte. True when replies are still due: the session closes after them.
    pub fn end_input(&mut self, at: SessionRef) -> bool {
        self.run_staged();
        let Some(session) = self.session(at) else {
            return false;
        };
        session.input_ended = true;
        if self.ends_with_input(at.index) {
            self.drop_session(at.index);
            return true;
        }
        self.drop_cut_off(at.index);
        let Some(session) = self.session(at) else {
            return false;
        };
        let due = session.has_replies_due();
        if !due {
            self.close_after_output(at.index);
        }
        due
    }

    /// True when the connection is to be closed after its output.
    pub fn is_closing(&mut self, at: SessionRef) -> bool {
        self.session(at)
            .is_some_and(|session| session.ends_after_output())
    }

    /// True when the connection is to be closed at once.
    pub fn is_dropped(&mut self, at: SessionRef) -> bool {
        self.session(at).is_some_and(|session| session.dropped)
    }

    /// So many bytes left the session's output; `writable` tells whether the transport takes more.
    pub fn sent(&mut self, at: SessionRef, bytes: usize, writable: bool) {
        self.stats.add(Counter::OutputBytes, bytes as u64);
        let Some(session) = self.session(at) else {
            return;
        };
        session.output_total += bytes as u64;
        session.writable = writable;
        session.output.advance(bytes, KEEP_BUFFER_BYTES);
        let is_followed = session.goes_on_after_output();
        self.settle_leases();
        if is_followed {
            if self.close_when_answered(at.index) {
                return;
            }
            self.line_up(at.index);
            self.resume_after_output(at.index);
        }
        if !self.resumable.is_empty() {
            self.settle();
        }
    }

    /// Closes the connection of a client that has sent its last byte, once it has all of its replies.
    #[inline]
    fn close_when_answered(&mut self, index: usize) -> bool {
        let session = &self.sessions[index];
        let is_over =
            session.input_ended && !session.has_replies_due() && session.output.is_empty();
        if is_over {
            self.close_after_output(index);
        }
        is_over
    }

    /// Gives back what was held of values that have been sent.
    #[inline]
    fn settle_leases(&mut self) {
        self.shard.settle_leases();
        if !self.returned.borrow().is_empty() {
            for lease in self.returned.take() {
                self.holder.release(lease);
            }
        }
    }

    /// Marks a session as having output.
    fn touch(&mut self, index: usize) {
        let session = &mut self.sessions[index];
        if !session.listed {
            session.listed = true;
            self.ready.push(index);
        }
    }

    /// Suspends a session, or ends its suspension.
    fn set_wait(&mut self, index: usize, wait: Wait) {
        let before = self.is_counted_as_blocked(index);
        let session = &mut self.sessions[index];
        session.wait = wait;
        if wait == Wait::None {
            session.blocked = None;
        }
        match (before, self.is_counted_as_blocked(index)) {
            (false, true) => self.stats.add(Counter::BlockedClients, 1),
            (true, false) => self.stats.subtract(Counter::BlockedClients, 1),
            _ => {}
        }
    }

    /// Lets a suspended session go on with what it has received.
    fn resume(&mut self, index: usize) {
        self.set_wait(index, Wait::None);
        self.resumable.push_back(index);
    }

    /// Lets sessions go on that wait for room in the rings to these shards.
    fn wake_ring_waiters(&mut self, shards: u64) {
        for index in std::mem::take(&mut self.ring_waiters) {
            match self.sessions.get(index).map(|session| session.wait) {
                Some(Wait::Ring(shard)) if shards & (1 << shard) != 0 => self.resume(index),
                Some(Wait::Ring(_)) => self.ring_waiters.push(index),
                _ => {}
            }
        }
        self.retry_executions();
    }

    /// Runs sessions that may go on until none is left, then publishes what was sent to other workers.
    fn settle(&mut self) {
        self.look_at_pressure();
        loop {
            self.settle_sessions();
            if !self.demand_durable() {
                break;
            }
        }
        self.settle_leases();
    }

    fn settle_sessions(&mut self) {
        loop {
            while let Some(index) = self.resumable.pop_front() {
                if self
                    .sessions
                    .get(index)
                    .is_some_and(|session| session.wait == Wait::None)
                {
                    self.run_buffered(index);
                    self.note_pressure();
                }
            }
            if self.shard.has_ready() {
                self.serve_ready();
            }
            self.publish_events();
            self.tell_stale();
            self.give_up_rests();
            let relieved = self.links.flush();
            if relieved != 0 {
                self.wake_ring_waiters(relieved);
            }
            if self.resumable.is_empty() {
                break;
            }
        }
    }
}

/// Group and name, as the table of names in the control segment has them.
fn stats_name(spec: &CommandSpec) -> String {
    format!("{}:{}", spec.group.name(), spec.name)
}

/// Buffers up to this size stay with their session; larger ones are given back.
const KEEP_BUFFER_BYTES: usize = 16 * 1024;
/// A session with more unsent output is not served further.
const OUTPUT_PAUSE_BYTES: usize = 1024 * 1024;
