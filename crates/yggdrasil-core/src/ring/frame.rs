//! Frames: what travels in a ring.

/// Bytes of an encoded header.
pub const FRAME_HEADER_BYTES: usize = 32;

/// What a frame carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum FrameKind {
    /// A command to execute on the receiver's shard.
    Request = 1,
    /// The reply to any of the others, by ticket.
    Reply = 2,
    /// Reserve the receiver's shard for a transaction.
    Reserve = 3,
    /// End a reservation.
    Release = 4,
    /// Deliver a published message to the receiver's subscribers.
    Publish = 5,
    /// A call from Python to Python.
    Call = 6,
    /// A command seen by MONITOR.
    Monitor = 7,
    /// Watch a key for a session of the sender.
    Watch = 8,
    /// Forget the watches of a session of the sender.
    Unwatch = 9,
    /// Send the entry of a key, for a command that runs elsewhere.
    Fetch = 10,
    /// Put or remove an entry, decided elsewhere.
    Apply = 11,
    /// Make room for a long argument of a request, whose ticket this has: it comes in slices.
    Begin = 12,
    /// The next bytes of a long argument, by tag.
    Slice = 13,
    /// The request whose long argument has come whole, by tag.
    Finish = 14,
    /// Forget a long argument, by tag.
    Abandon = 15,
    /// End a request that waits, by ticket: without an answer where its client has gone.
    Cancel = 16,
    /// Deliver events of the sender's keys to the receiver's subscribers.
    Events = 17,
    /// Wait for keys on behalf of a request that the sender coordinates, whose ticket this has.
    Wait = 18,
    /// A key has changed that the request with this ticket waits for: may it run?
    Claim = 19,
    /// Run the request with this ticket, which waits.
    Go = 20,
    /// The request with this ticket has run, and goes on waiting.
    Unclaim = 21,
    /// Tell the receiver's clients of keys that are not as they have read them.
    Stale = 22,
    /// Keep a script that was sent to another worker.
    Script = 23,
    /// End the script that runs.
    Kill = 24,
    /// The script that holds the receiver's shard runs for long, by tag.
    Busy = 25,
    /// Answer when the change whose number is the tag is durable.
    Durable = 26,
    /// Keep what the transaction changes from now on, or let it stay or undo it, by tag.
    Savepoint = 27,
    /// The beginning of the reply to a request; the tag is the name of its rest.
    Part = 28,
    /// Send the next piece of such a rest.
    More = 29,
    /// Nobody wants such a rest any more; the tag is its name.
    Forget = 30,
}

impl FrameKind {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Request,
            2 => Self::Reply,
            3 => Self::Reserve,
            4 => Self::Release,
            5 => Self::Publish,
            6 => Self::Call,
            7 => Self::Monitor,
            8 => Self::Watch,
            9 => Self::Unwatch,
            10 => Self::Fetch,
            11 => Self::Apply,
            12 => Self::Begin,
            13 => Self::Slice,
            14 => Self::Finish,
            15 => Self::Abandon,
            16 => Self::Cancel,
            17 => Self::Events,
            18 => Self::Wait,
            19 => Self::Claim,
            20 => Self::Go,
            21 => Self::Unclaim,
            22 => Self::Stale,
            23 => Self::Script,
            24 => Self::Kill,
            25 => Self::Busy,
            26 => Self::Durable,
            27 => Self::Savepoint,
            28 => Self::Part,
            29 => Self::More,
            30 => Self::Forget,
            _ => return None,
        })
    }
}

/// What stands before the payload of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameHeader {
    /// What it is.
    pub kind: FrameKind,
    /// More frames of the same message follow.
    pub more: bool,
    /// Reply protocol of the client, 2 or 3.
    pub protocol: u8,
    /// Logical database of the client.
    pub db: u8,
    /// Payload bytes of this frame.
    pub length: u32,
    /// The sender's name for the message, or in a reply the receiver's.
    pub ticket: u64,
    /// A number whose meaning depends on the kind: the transaction of a request, the number of a reservation.
    pub tag: u64,
    /// Incarnation of the sender.
    pub from_incarnation: u32,
    /// Incarnation of the receiver that the sender knows: anything else is dropped.
    pub to_incarnation: u32,
}

impl FrameHeader {
    /// The bytes that travel, little endian.
    #[must_use]
    pub fn encode(&self) -> [u8; FRAME_HEADER_BYTES] {
        let mut bytes = [0; FRAME_HEADER_BYTES];
        bytes[0] = self.kind as u8;
        bytes[1] = u8::from(self.more);
        bytes[2] = self.protocol;
        bytes[3] = self.db;
        bytes[4..8].copy_from_slice(&self.length.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.ticket.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.tag.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.from_incarnation.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.to_incarnation.to_le_bytes());
        bytes
    }

    /// Reads a header; `None` when there are too few bytes or the kind is unknown.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; FRAME_HEADER_BYTES] = bytes.first_chunk()?;
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        Some(Self {
            kind: FrameKind::from_byte(bytes[0])?,
            more: bytes[1] != 0,
            protocol: bytes[2],
            db: bytes[3],
            length: word(4),
            ticket: long(8),
            tag: long(16),
            from_incarnation: word(24),
            to_incarnation: word(28),
        })
    }
}
