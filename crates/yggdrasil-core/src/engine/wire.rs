//! Payloads of messages between workers. They come from another process: every read is checked.

use super::durability::AckChoice;
use super::tracking::Origin;
use crate::commands::{Change, Look};
use crate::keyspace::collection::Part;
use crate::keyspace::collection::wire::Wire;
use crate::keyspace::{Effect, KeyEvent};
use crate::resp::{Args, Span};

/// Appends the arguments of a request.
pub fn put_args<'a>(out: &mut Vec<u8>, args: impl ExactSizeIterator<Item = &'a [u8]> + Clone) {
    put_lengths(out, args.clone().map(<[u8]>::len));
    for arg in args {
        out.extend_from_slice(arg);
    }
}

/// Arguments may be longer than 32 bits can say.
fn put_lengths(out: &mut Vec<u8>, lengths: impl ExactSizeIterator<Item = usize>) {
    out.extend_from_slice(&(lengths.len() as u64).to_le_bytes());
    for len in lengths {
        out.extend_from_slice(&(len as u64).to_le_bytes());
    }
}

/// How much of a value a look wants.
const LOOK_NO_VALUE: u8 = 0;
const LOOK_VALUE: u8 = 1;
const LOOK_PART: u8 = 2;

/// Appends a look, but for its database.
pub fn put_look(out: &mut Vec<u8>, look: &Look<'_>) {
    match &look.part {
        Some(part) => {
            out.push(LOOK_PART);
            part.encode(out);
        }
        None => out.push(if look.value {
            LOOK_VALUE
        } else {
            LOOK_NO_VALUE
        }),
    }
    out.extend_from_slice(look.key);
}

/// Reads what [`put_look`] wrote.
pub fn look(db: u8, payload: &[u8]) -> Option<Look<'_>> {
    let mut wire = Wire::new(payload);
    let wanted = wire.byte()?;
    let part = match wanted {
        LOOK_NO_VALUE | LOOK_VALUE => None,
        LOOK_PART => Some(Part::decode(&mut wire)?),
        _ => return None,
    };
    Some(Look {
        db,
        key: wire.rest(),
        value: wanted != LOOK_NO_VALUE,
        part,
    })
}

/// What stands before the arguments of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestHead {
    /// Hash of the only key; `None` for several.
    pub hash: Option<u64>,
    /// The client that the slow log shows it under; 0 for none.
    pub client: u64,
    /// The client behind it, and whether that keeps what is read.
    pub origin: Origin,
    /// Index of the command's row.
    pub command: u16,
    /// The acknowledgement that the client has chosen.
    pub ack: AckChoice,
    /// The reply may come in parts.
    pub takes_parts: bool,
}

impl RequestHead {
    /// Appends the head.
    pub fn put(&self, out: &mut Vec<u8>) {
        let mut bytes = [0; 28];
        let tracks = self.origin.tracked_by.is_some();
        let untouched = self.origin.untouched;
        bytes[0] = u8::from(self.hash.is_some())
            | u8::from(tracks) << 1
            | u8::from(untouched) << 2
            | u8::from(self.takes_parts) << 3;
        bytes[1..9].copy_from_slice(&self.hash.unwrap_or_default().to_le_bytes());
        bytes[9..17].copy_from_slice(&self.client.to_le_bytes());
        bytes[17..25].copy_from_slice(&self.origin.client.to_le_bytes());
        bytes[25..27].copy_from_slice(&self.command.to_le_bytes());
        bytes[27] = self.ack as u8;
        out.extend_from_slice(&bytes);
    }

    /// Reads that of a request from a worker.
    #[inline]
    pub fn read(reader: &mut Reader<'_>, from: usize) -> Option<Self> {
        let flags = reader.u8()?;
        let hash = reader.u64()?;
        Some(Self {
            hash: (flags & 1 != 0).then_some(hash),
            client: reader.u64()?,
            origin: Origin {
                client: reader.u64()?,
                untouched: flags & 4 != 0,
                tracked_by: (flags & 2 != 0).then_some(from),
            },
            command: reader.u16()?,
            ack: AckChoice::numbered(reader.u8()?),
            takes_parts: flags & 8 != 0,
        })
    }
}

/// Appends the client behind a message, and whether it keeps what is read.
pub fn put_origin(out: &mut Vec<u8>, origin: Origin) {
    out.push(u8::from(origin.tracked_by.is_some()) | u8::from(origin.untouched) << 1);
    out.extend_from_slice(&origin.client.to_le_bytes());
}

/// Reads it, of a message from a worker.
pub fn origin(reader: &mut Reader<'_>, from: usize) -> Option<Origin> {
    let flags = reader.u8()?;
    Some(Origin {
        client: reader.u64()?,
        untouched: flags & 2 != 0,
        tracked_by: (flags & 1 != 0).then_some(from),
    })
}

/// Reads from the front of a payload.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// From its beginning.
    pub fn new(payload: &'a [u8]) -> Self {
        Self { rest: payload }
    }

    /// So many bytes.
    pub fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    pub fn u8(&mut self) -> Option<u8> {
        Some(self.bytes(1)?[0])
    }

    pub fn u16(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes(self.bytes(2)?.try_into().ok()?))
    }

    pub fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.bytes(8)?.try_into().ok()?))
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(self.u64()?).ok()
    }

    /// Bytes behind their length.
    pub fn blob(&mut self) -> Option<&'a [u8]> {
        let length = self.length()?;
        self.bytes(length)
    }

    /// All that is left.
    pub fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// Arguments: their spans go to `spans`, the bytes they lie in are returned.
    pub fn args(&mut self, spans: &mut Vec<Span>) -> Option<&'a [u8]> {
        let total = self.spans(spans)?;
        self.bytes(total)
    }

    /// The spans of arguments, and how many bytes they have together.
    fn spans(&mut self, spans: &mut Vec<Span>) -> Option<usize> {
        spans.clear();
        let count = self.length()?;
        let mut lengths = Reader::new(self.bytes(count.checked_mul(8)?)?);
        let mut start = 0_usize;
        for _ in 0..count {
            let len = lengths.length()?;
            spans.push(Span { start, len });
            start = start.checked_add(len)?;
        }
        Some(start)
    }
}

/// Arguments over what [`Reader::args`] gave.
pub fn args<'a>(bytes: &'a [u8], spans: &'a [Span]) -> Args<'a> {
    Args::new(bytes, spans)
}

/// Appends bytes behind their length.
pub fn put_blob(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Appends a change to make at the owner: the client that asks for it, its events, its key, then what to do.
pub fn put_change(out: &mut Vec<u8>, author: u64, change: &Change<'_>) {
    let Change {
        key,
        effect,
        events,
        ..
    } = change;
    out.extend_from_slice(&author.to_le_bytes());
    let events: Vec<u8> = events.iter().map(|event| *event as u8).collect();
    put_blob(out, &events);
    put_blob(out, key);
    effect.encode(out);
}

/// Reads what [`put_change`] wrote.
pub fn change(payload: &[u8]) -> Option<(u64, &[u8], Effect<'_>, Vec<KeyEvent>)> {
    let mut reader = Reader::new(payload);
    let author = reader.u64()?;
    let numbers = reader.blob()?.iter();
    let events: Option<Vec<_>> = numbers.map(|number| KeyEvent::numbered(*number)).collect();
    let key = reader.blob()?;
    Some((author, key, Effect::decode(reader.rest()).ok()?, events?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::{Kind, Value};

    #[test]
    fn arguments_come_back() {
        let mut payload = Vec::new();
        let given: [&[u8]; 3] = [b"set", b"", b"value"];
        put_args(&mut payload, given.into_iter());
        let mut spans = Vec::new();
        let bytes = Reader::new(&payload).args(&mut spans).unwrap();
        assert_eq!(args(bytes, &spans).iter().collect::<Vec<_>>(), given);
        for cut in 0..payload.len() {
            assert!(Reader::new(&payload[..cut]).args(&mut spans).is_none());
        }
    }

    #[test]
    fn lengths_beyond_32_bits_come_back() {
        let lengths = [3, (1 << 32) + 5, u32::MAX as usize, 0];
        let mut payload = Vec::new();
        put_lengths(&mut payload, lengths.into_iter());
        let mut spans = Vec::new();
        let total = Reader::new(&payload).spans(&mut spans);
        assert_eq!(total, Some(lengths.iter().sum()));
        assert_eq!(
            spans.iter().map(|span| span.len).collect::<Vec<_>>(),
            lengths
        );
        assert_eq!(spans[2].start, (1 << 32) + 8);
        assert!(Reader::new(&payload).args(&mut spans).is_none());
    }

    #[test]
    fn lengths_that_add_up_to_too_much_are_refused() {
        let mut payload = Vec::new();
        put_lengths(&mut payload, [usize::MAX, 2].into_iter());
        assert!(Reader::new(&payload).args(&mut Vec::new()).is_none());
        let count = u64::MAX.to_le_bytes();
        assert!(Reader::new(&count).args(&mut Vec::new()).is_none());
        assert!(Reader::new(&count).blob().is_none());
    }

    #[test]
    fn changes_come_back() {
        let put = Effect::Put {
            kind: Kind::Hash,
            value: Value::Bytes(b"v"),
            expire_at: Some(5),
            pinned_until: Some(7),
        };
        let events = &[KeyEvent::Set, KeyEvent::Expire];
        let there_and_back = |effect, events: &'static [KeyEvent]| {
            let (db, key) = (0, &b"key"[..]);
            let mut payload = Vec::new();
            let given = Change {
                db,
                key,
                effect,
                events,
            };
            put_change(&mut payload, 9, &given);
            assert_eq!(change(&payload), Some((9, key, effect, events.to_vec())));
            payload
        };
        there_and_back(put, events);
        let payload = there_and_back(Effect::Remove, &[]);
        assert!(change(&payload[..3]).is_none());
    }
}
