//! What the node knows of one client connection.

use std::net::IpAddr;
use std::sync::Arc;

use crate::acl::User;
use crate::commands::{CommandId, CommandSpec};
use crate::engine::OUTPUT_PAUSE_BYTES;
use crate::engine::durability::AckChoice;
use crate::engine::incoming::Incoming;
use crate::engine::output::{Output, Tails};
use crate::engine::parked::Blocked;
use crate::engine::pending::SessionRef;
use crate::engine::pubsub::Subscribed;
use crate::engine::slots::ReplySlots;
use crate::engine::tracking::Tracking;
use crate::resp::{Args, ArgsBuffer, Parser, Protocol};

/// Reasons why a request must leave the fast path, as bits.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Gates(u16);

impl Gates {
    /// A password is set and not given yet.
    pub const UNAUTHENTICATED: Self = Self(1);
    /// MULTI was sent.
    pub const MULTI: Self = Self(1 << 1);
    /// Subscribed on RESP2: only a few commands are allowed.
    pub const SUBSCRIBED: Self = Self(1 << 2);
    /// CLIENT REPLY OFF.
    pub const REPLY_OFF: Self = Self(1 << 3);
    /// CLIENT REPLY SKIP: the next command is not answered.
    pub const REPLY_SKIP: Self = Self(1 << 4);
    /// MONITOR.
    pub const MONITOR: Self = Self(1 << 5);
    /// CLIENT NO-EVICT ON.
    pub const NO_EVICT: Self = Self(1 << 6);
    /// CLIENT NO-TOUCH ON.
    pub const NO_TOUCH: Self = Self(1 << 7);
    /// Its user may not do everything.
    pub const RESTRICTED: Self = Self(1 << 8);
    /// CLIENT TRACKING ON.
    pub const TRACKING: Self = Self(1 << 9);
    const SLOW: Self = Self(0b11_1011_1111);

    /// True when any of `other` is set.
    #[inline]
    pub fn any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// True when a request must be looked at more closely.
    #[inline]
    pub fn is_slow(self) -> bool {
        self.any(Self::SLOW)
    }

    /// True when a request must be looked at more closely for another reason than the rules of its user.
    #[inline]
    pub fn is_held(self) -> bool {
        self.0 & Self::SLOW.0 & !Self::RESTRICTED.0 != 0
    }

    /// Sets or clears.
    pub fn set(&mut self, other: Self, on: bool) {
        if on {
            self.0 |= other.0
        } else {
            self.0 &= !other.0
        }
    }
}

/// Why the next request of a session is not executed yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Wait {
    /// It is executed.
    #[default]
    None,
    /// The own shard is reserved for a transaction.
    Release,
    /// Its request is under way: a transaction, a gathered reply, a Python command. Ends when the slot is filled.
    Answer,
    /// Replies to earlier requests must leave first.
    Slots,
    /// The ring to another worker is full.
    Ring(usize),
    /// CLIENT PAUSE.
    Pause,
    /// Another worker may just have been sent the script.
    News,
    /// The client does not read its replies.
    Output,
    /// Others have their turns before it goes on with what it has sent.
    Turn,
}

/// The keys of requests under way: a Bloom filter of one function, wide enough for a pipeline.
#[derive(Clone, Copy, Default)]
struct KeySet([u64; 4]);

impl KeySet {
    const ALL: Self = Self([u64::MAX; 4]);

    #[inline]
    fn place(hash: u64) -> (usize, u64) {
        ((hash >> 62) as usize, 1 << (hash >> 56 & 63))
    }

    #[inline]
    fn add(&mut self, hash: u64) {
        let (word, bit) = Self::place(hash);
        self.0[word] |= bit;
    }

    #[inline]
    fn may_have(&self, hash: u64) -> bool {
        let (word, bit) = Self::place(hash);
        self.0[word] & bit != 0
    }
}

/// Replies up to this size wait for those behind them that are under way.
const HOLD_BYTES: usize = 16 * 1024;

/// Which of a node's listeners accepted a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Listener {
    /// The common port.
    Common,
    /// The worker's own port.
    Own,
    /// The Unix socket.
    Unix,
}

/// A queued request of a transaction.
#[derive(Clone, Debug)]
pub struct Queued {
    /// The row of its command.
    pub command: CommandId,
    /// Its arguments, the name included.
    pub args: ArgsBuffer,
}

/// MULTI and WATCH.
#[derive(Default)]
pub struct MultiState {
    /// Requests between MULTI and EXEC.
    pub queue: Vec<Queued>,
    /// A request was refused: EXEC will be too.
    pub aborted: bool,
    /// Shards with a watch of this session, as bits.
    pub watched: u64,
    /// Keys that were given to WATCH.
    pub watched_keys: usize,
    /// A watch could not be kept (its shard was restarted).
    pub watch_lost: bool,
}

/// What most sessions never need.
#[derive(Default)]
pub struct Details {
    pub name: Vec<u8>,
    pub library_name: Vec<u8>,
    pub library_version: Vec<u8>,
    pub subscribed: Subscribed,
    pub multi: MultiState,
    pub tracking: Option<Box<Tracking>>,
}

/// One client connection.
pub struct Session {
    /// Its index and client id.
    pub at: SessionRef,
    pub user: Arc<User>,
    /// It has said who it is, or did not have to when it connected.
    pub is_authenticated: bool,
    pub db: u8,
    pub protocol: Protocol,
    pub gates: Gates,
    pub wait: Wait,
    /// Where its request waits that blocks.
    pub blocked: Option<Blocked>,
    /// Closed once everything of `output` is sent; no further request is executed.
    pub closing: bool,
    /// Closed at once: what it has not been sent is lost.
    pub dropped: bool,
    /// The transport takes more bytes.
    pub writable: bool,
    pub listener: Listener,
    /// What it sends and gets is encrypted (TLS).
    pub secure: bool,
    /// The client has sent its last byte.
    pub input_ended: bool,
    /// In the engine's list of sessions with output.
    pub listed: bool,
    /// In the engine's list of sessions of whose reply more can be made.
    pub lined_up: bool,
    /// What it has sent is among what is executed at the end of the round.
    pub staged: bool,
    /// The driver was asked to stop reading from the client.
    pub reading_stopped: bool,
    /// The request in hand, which had to wait, was shown to monitors.
    pub is_shown: bool,
    /// What the request in hand reads is remembered by the owners of its keys.
    pub tracks: bool,
    /// The reply of the request in hand is not wanted.
    pub mute_this: bool,
    /// Shards with requests of this session under way, as bits; cleared when no slot is open.
    pub in_flight: u64,
    /// The keys of these requests.
    keys_in_flight: KeySet,
    /// Shards with reads of this session under way, as bits; cleared likewise.
    pub reads_under_way: u64,
    pub parser: Parser,
    /// Bytes received that are not executed yet.
    pub input: Vec<u8>,
    /// A long argument that is received elsewhere.
    pub incoming: Option<Box<Incoming>>,
    /// Bytes at least that the request at the end of the input lacks.
    pub input_wanted: usize,
    /// The acknowledgement that was asked for by CLIENT ACK.
    pub ack: AckChoice,
    /// Bytes to send.
    pub output: Output,
    pub slots: ReplySlots,
    pub address: String,
    pub local_address: String,
    pub descriptor: i32,
    pub created_at: u64,
    pub active_at: u64,
    pub last_command: Option<CommandId>,
    pub commands: u64,
    pub input_total: u64,
    pub output_total: u64,
    /// Since when the output is over its soft limit, in ms; 0 when it is not.
    pub over_soft_limit_since: u64,
    /// What was counted of its memory when it was last looked at.
    pub counted_bytes: u64,
    details: Option<Box<Details>>,
}

impl Session {
    /// A new connection.
    pub fn new(at: SessionRef, peer: &Peer, user: &Arc<User>, now: u64) -> Self {
        Self {
            at,
            user: Arc::clone(user),
            is_authenticated: false,
            db: 0,
            protocol: Protocol::Resp2,
            gates: Gates::default(),
            wait: Wait::None,
            blocked: None,
            closing: false,
            dropped: false,
            writable: true,
            listener: peer.listener,
            secure: peer.secure,
            input_ended: false,
            listed: false,
            lined_up: false,
            staged: false,
            reading_stopped: false,
            is_shown: false,
            tracks: false,
            mute_this: false,
            incoming: None,
            input_wanted: 0,
            in_flight: 0,
            keys_in_flight: KeySet::default(),
            reads_under_way: 0,
            parser: Parser::default(),
            input: Vec::new(),
            ack: AckChoice::Default,
            output: Output::default(),
            slots: ReplySlots::default(),
            address: peer.address.clone(),
            local_address: peer.local_address.clone(),
            descriptor: peer.descriptor,
            created_at: now,
            active_at: now,
            last_command: None,
            commands: 0,
            input_total: 0,
            output_total: 0,
            over_soft_limit_since: 0,
            counted_bytes: 0,
            details: None,
        }
    }

    /// The rarely needed part, made at first use.
    pub fn details_mut(&mut self) -> &mut Details {
        self.details.get_or_insert_default()
    }

    /// The rarely needed part, when there is one.
    pub fn details(&self) -> Option<&Details> {
        self.details.as_deref()
    }

    /// True for a client on this machine.
    pub fn is_local(&self) -> bool {
        let host = self.address.rsplit_once(':').map_or("", |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let is_loopback = |host: &str| host.parse::<IpAddr>().is_ok_and(|host| host.is_loopback());
        self.listener == Listener::Unix || is_loopback(host)
    }

    /// True for a request that its user may make, by the arguments that are there.
    pub fn allows(&self, command: CommandId, row: &CommandSpec, args: &Args<'_>) -> bool {
        !self.gates.any(Gates::RESTRICTED) || self.user.check(command, row, args).is_ok()
    }

    /// True while the owners remember what the request in hand reads.
    #[inline(always)]
    pub fn tracks_now(&self) -> bool {
        self.gates.any(Gates::TRACKING) && self.tracks
    }

    /// True while replies are not wanted.
    #[inline]
    pub fn is_muted(&self) -> bool {
        self.gates.any(Gates::REPLY_OFF) || self.mute_this
    }

    /// Subscriptions of any kind.
    pub fn subscriptions(&self) -> usize {
        self.details()
            .map_or(0, |details| details.subscribed.total())
    }

    /// True when nothing more will come for the client than what is in the output.
    pub fn ends_after_output(&self) -> bool {
        self.closing
            && self.slots.is_empty()
            && !self.output.has_gates()
            && !self.output.has_rests()
    }

    /// True where something may be due when a part of its output has been sent: its end, more of a reply, or its next
    /// request.
    #[inline]
    pub fn goes_on_after_output(&self) -> bool {
        self.input_ended || self.wait == Wait::Output || self.output.has_later()
    }

    /// True while its next request waits until more of its replies has been sent.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.output.len() > OUTPUT_PAUSE_BYTES || self.output.has_rests()
    }

    /// True when a read must wait for an earlier one: that one may be answered later than this one would be, and from
    /// behind a transaction of which this one would see nothing.
    #[inline]
    pub fn must_read_later(&self, shard: usize) -> bool {
        self.reads_under_way & !(1 << shard) != 0 && !self.slots.is_empty()
    }

    /// As [`Session::must_read_later`], for a read of several shards.
    pub fn has_reads_under_way(&self) -> bool {
        self.reads_under_way != 0 && !self.slots.is_empty()
    }

    /// Where the next reply goes.
    #[inline]
    pub fn reply_target(&mut self) -> &mut Vec<u8> {
        self.slots.target(self.output.buffer())
    }

    /// The place of the next reply among those that it will stand with.
    pub fn reply_start(&self) -> u64 {
        if self.slots.is_empty() {
            self.output.end()
        } else {
            self.slots.end()
        }
    }

    /// Keeps the reply that begins at this place, and all behind it, until a change is durable.
    pub fn hold_back(&mut self, start: u64, number: u64) {
        if self.slots.is_empty() {
            self.output.add_gate(start, number);
        } else {
            self.slots.add_gate(start, number);
        }
    }

    /// Opens the gates of changes that are durable. True where there is something to be sent for it.
    pub fn open_gates(&mut self, durable: u64) -> bool {
        self.slots.open_gates(durable);
        self.output.open_gates(durable)
    }

    /// True while something waits for a change to be durable.
    pub fn has_gates(&self) -> bool {
        self.output.has_gates() || self.slots.has_gates()
    }

    /// Takes back what was written of the reply in hand, which begins there.
    pub fn take_back(&mut self, start: usize) {
        if self.slots.is_empty() {
            self.output.truncate(start);
        } else {
            self.reply_target().truncate(start);
        }
    }

    /// Opens a slot for a reply that comes later.
    pub fn open_slot(&mut self) -> u64 {
        self.forget_what_is_done();
        let muted = self.gates.any(Gates::REPLY_OFF) || std::mem::take(&mut self.mute_this);
        self.slots.open(muted)
    }

    /// Opens a slot for the reply of EXEC, whose steps may say which of their replies are wanted.
    pub fn open_slot_of_exec(&mut self) -> u64 {
        self.forget_what_is_done();
        self.slots.open(false)
    }

    /// Opens a slot for a reply that `shards`, as bits, will give to a request for the key of this hash, or without one
    /// for several keys.
    pub fn open_slot_at(&mut self, shards: u64, hash: Option<u64>) -> u64 {
        let slot = self.open_slot();
        self.in_flight |= shards;
        match hash {
            Some(hash) => self.keys_in_flight.add(hash),
            None => self.keys_in_flight = KeySet::ALL,
        }
        slot
    }

    /// Gives a slot its reply.
    pub fn fill_slot(&mut self, slot: u64, reply: &[u8], tails: Tails) {
        self.slots.fill(slot, reply, tails, &mut self.output);
    }

    /// Whether to send now: replies that will be complete as soon as other workers have answered leave together.
    pub fn is_worth_sending(&self) -> bool {
        let held_back =
            !self.slots.is_empty() && self.in_flight != 0 && self.output.len() < HOLD_BYTES;
        self.ends_after_output() || !(self.output.is_empty() || held_back)
    }

    fn forget_what_is_done(&mut self) {
        if self.slots.is_empty() {
            self.in_flight = 0;
            self.keys_in_flight = KeySet::default();
            self.reads_under_way = 0;
        }
    }

    /// True when a read of this key must go to its owner: behind a request under way there that may change the key, or
    /// behind an earlier read, which would see what happens until it arrives.
    #[inline]
    pub fn must_ask_owner(&mut self, shard: usize, hash: u64) -> bool {
        self.forget_what_is_done();
        (self.in_flight | self.reads_under_way) & (1 << shard) != 0
            && (self.reads_under_way & (1 << shard) != 0 || self.keys_in_flight.may_have(hash))
    }

    /// True while a request that has come whole is not answered.
    pub fn has_replies_due(&self) -> bool {
        self.wait != Wait::None || !self.slots.is_empty()
    }

    /// Frees buffers that are empty.
    pub fn give_buffers_back(&mut self) {
        if self.output.is_empty() {
            self.output.clear();
        }
        if self.input.is_empty() {
            self.input = Vec::new();
        }
        self.slots.shrink();
    }

    /// Bytes of the session with its buffers.
    pub fn memory_bytes(&self) -> usize {
        let buffers = self.input.capacity() + self.output.capacity() + self.slots.bytes();
        buffers + size_of::<Self>()
    }
}

/// What is known of a connection when it opens.
#[derive(Clone, Debug)]
pub struct Peer {
    /// `ip:port` of the client, or the path of the Unix socket.
    pub address: String,
    /// `ip:port` of the node's side.
    pub local_address: String,
    /// The socket's descriptor, for CLIENT LIST.
    pub descriptor: i32,
    pub listener: Listener,
    /// What it sends and gets is encrypted.
    pub secure: bool,
}
