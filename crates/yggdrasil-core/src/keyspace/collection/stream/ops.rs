//! The operations on streams.

use crate::keyspace::collection::listpack::Element;
use crate::keyspace::collection::wire::{Wire, put_bytes, put_length};

use super::group::{Group, Name, Pending};
use super::id::StreamId;
use super::node::StreamEntry;

const ADD: u8 = 1;
const DELETE: u8 = 2;
const TRIM: u8 = 3;
const SET: u8 = 4;
const GROUP: u8 = 5;
const REMOVE_GROUP: u8 = 6;
const CONSUMER: u8 = 7;
const REMOVE_CONSUMER: u8 = 8;
const DELIVER: u8 = 9;
const ACKNOWLEDGE: u8 = 10;
const TOTAL: u8 = 11;

/// Stands for a number that is not known.
const UNKNOWN: u64 = u64::MAX;

/// Operations that are being written.
#[derive(Debug)]
pub struct StreamOps<'o> {
    out: &'o mut Vec<u8>,
}

impl<'o> StreamOps<'o> {
    /// Appends to bytes.
    pub fn new(out: &'o mut Vec<u8>) -> Self {
        Self { out }
    }

    /// Appends an entry; `pairs` are fields and values in turn.
    pub fn add<'a>(&mut self, id: StreamId, pairs: impl ExactSizeIterator<Item = &'a [u8]>) {
        self.out.push(ADD);
        id.put(self.out);
        put_length(self.out, pairs.len() / 2);
        pairs.for_each(|element| put_bytes(self.out, element));
    }

    /// Appends an entry of another stream.
    pub fn add_entry(&mut self, entry: &StreamEntry<'_>) {
        self.out.push(ADD);
        entry.id.put(self.out);
        put_length(self.out, entry.fields());
        for (field, value) in entry.pairs() {
            self.element(field);
            self.element(value);
        }
    }

    fn element(&mut self, element: Element<'_>) {
        put_bytes(self.out, element.text(&mut itoa::Buffer::new()));
    }

    /// Deletes an entry.
    pub fn delete(&mut self, id: StreamId) {
        self.out.push(DELETE);
        id.put(self.out);
    }

    /// Removes so many entries from the front.
    pub fn trim(&mut self, entries: u64) {
        self.out.push(TRIM);
        put_length(self.out, entries as usize);
    }

    /// Sets what the stream knows of its past.
    pub fn set(&mut self, last_id: StreamId, entries_added: u64, max_deleted_id: StreamId) {
        self.out.push(SET);
        last_id.put(self.out);
        self.out.extend(entries_added.to_le_bytes());
        max_deleted_id.put(self.out);
    }

    /// Says how many entries the stream has of which this is a part.
    pub(super) fn total(&mut self, entries: u64) {
        self.out.push(TOTAL);
        self.out.extend(entries.to_le_bytes());
    }

    /// Makes a group, or sets how far it is.
    pub fn group(&mut self, group: &[u8], last_id: StreamId, entries_read: Option<u64>) {
        self.out.push(GROUP);
        put_bytes(self.out, group);
        last_id.put(self.out);
        self.out
            .extend(entries_read.unwrap_or(UNKNOWN).to_le_bytes());
    }

    /// Removes a group.
    pub fn remove_group(&mut self, group: &[u8]) {
        self.out.push(REMOVE_GROUP);
        put_bytes(self.out, group);
    }

    /// Makes a consumer, or sets when it was seen and active.
    pub fn consumer(&mut self, group: &[u8], name: &[u8], seen_at: u64, active_at: Option<u64>) {
        self.out.push(CONSUMER);
        put_bytes(self.out, group);
        put_bytes(self.out, name);
        self.out.extend(seen_at.to_le_bytes());
        self.out.extend(active_at.unwrap_or(UNKNOWN).to_le_bytes());
    }

    /// Removes a consumer with its pending entries.
    pub fn remove_consumer(&mut self, group: &[u8], name: &[u8]) {
        self.out.push(REMOVE_CONSUMER);
        put_bytes(self.out, group);
        put_bytes(self.out, name);
    }

    /// Makes an entry pending for a consumer.
    pub fn deliver(&mut self, group: &[u8], id: StreamId, pending: &Pending) {
        self.out.push(DELIVER);
        put_bytes(self.out, group);
        put_bytes(self.out, &pending.consumer);
        id.put(self.out);
        self.out.extend(pending.delivered_at.to_le_bytes());
        self.out.extend(pending.deliveries.to_le_bytes());
    }

    /// Acknowledges an entry.
    pub fn acknowledge(&mut self, group: &[u8], id: StreamId) {
        self.out.push(ACKNOWLEDGE);
        put_bytes(self.out, group);
        id.put(self.out);
    }
}

/// Fields and values of an entry, as an operation has them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pairs<'a> {
    wire: Wire<'a>,
    len: usize,
}

impl<'a> Pairs<'a> {
    /// Those behind their number; `None` where some are missing.
    fn read(wire: &mut Wire<'a>) -> Option<Self> {
        let len = wire.length()?;
        let pairs = Self { wire: *wire, len };
        for _ in 0..len {
            wire.bytes()?;
            wire.bytes()?;
        }
        Some(pairs)
    }

    pub(super) fn len(self) -> usize {
        self.len
    }

    /// Fields and values in order.
    pub(super) fn iter(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let mut wire = self.wire;
        (0..self.len).map_while(move |_| Some((wire.bytes()?, wire.bytes()?)))
    }
}

/// An operation on a stream.
pub(super) enum Op<'a> {
    Add {
        id: StreamId,
        pairs: Pairs<'a>,
    },
    Delete(StreamId),
    Trim(u64),
    Set {
        last_id: StreamId,
        entries_added: u64,
        max_deleted_id: StreamId,
    },
    Group {
        group: &'a [u8],
        last_id: StreamId,
        entries_read: Option<u64>,
    },
    Total(u64),
    RemoveGroup(&'a [u8]),
    InGroup(&'a [u8], GroupOp<'a>),
}

/// An operation on a group.
pub(super) enum GroupOp<'a> {
    Consumer {
        name: &'a [u8],
        seen_at: u64,
        active_at: Option<u64>,
    },
    RemoveConsumer(&'a [u8]),
    Deliver(StreamId, Pending),
    Acknowledge(StreamId),
}

fn known(number: u64) -> Option<u64> {
    Some(number).filter(|number| *number != UNKNOWN)
}

impl<'a> Op<'a> {
    pub(super) fn read(wire: &mut Wire<'a>) -> Option<Self> {
        match wire.byte()? {
            ADD => {
                let id = StreamId::read(wire)?;
                let pairs = Pairs::read(wire)?;
                (pairs.len() > 0).then_some(Self::Add { id, pairs })
            }
            DELETE => StreamId::read(wire).map(Self::Delete),
            TRIM => wire.length().map(|entries| Self::Trim(entries as u64)),
            SET => Some(Self::Set {
                last_id: StreamId::read(wire)?,
                entries_added: wire.u64()?,
                max_deleted_id: StreamId::read(wire)?,
            }),
            GROUP => Some(Self::Group {
                group: wire.bytes()?,
                last_id: StreamId::read(wire)?,
                entries_read: known(wire.u64()?),
            }),
            TOTAL => wire.u64().map(Self::Total),
            REMOVE_GROUP => wire.bytes().map(Self::RemoveGroup),
            tag => {
                let group = wire.bytes()?;
                Some(Self::InGroup(group, GroupOp::read(tag, wire)?))
            }
        }
    }
}

impl<'a> GroupOp<'a> {
    fn read(tag: u8, wire: &mut Wire<'a>) -> Option<Self> {
        match tag {
            CONSUMER => Some(Self::Consumer {
                name: wire.bytes()?,
                seen_at: wire.u64()?,
                active_at: known(wire.u64()?),
            }),
            REMOVE_CONSUMER => wire.bytes().map(Self::RemoveConsumer),
            DELIVER => {
                let consumer = Name::from(wire.bytes()?);
                let id = StreamId::read(wire)?;
                let pending = Pending {
                    consumer,
                    delivered_at: wire.u64()?,
                    deliveries: wire.u64()?,
                };
                Some(Self::Deliver(id, pending))
            }
            ACKNOWLEDGE => StreamId::read(wire).map(Self::Acknowledge),
            _ => None,
        }
    }

    pub(super) fn apply(self, group: &mut Group) {
        match self {
            Self::Consumer {
                name,
                seen_at,
                active_at,
            } => group.set_consumer(name, seen_at, active_at),
            Self::RemoveConsumer(name) => group.remove_consumer(name),
            Self::Deliver(id, pending) => group.deliver(id, pending),
            Self::Acknowledge(id) => group.acknowledge(id),
        }
    }
}
