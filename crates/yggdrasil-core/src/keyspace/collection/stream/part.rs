//! Parts of streams, for readers at other shards: what one read gives, and not the whole.
//!
//! ```text
//! 1 | id | count: length                                            entries behind an id
//! 2                                                                 the last entry
//! 3 | group | consumer | count: length                              entries that are new to a group
//! 4 | group | consumer | id | count: length                         pending entries of a consumer behind an id
//! ```

use crate::keyspace::collection::wire::{Wire, put_bytes, put_length};

use super::group::{Group, Name};
use super::{Direction, Stream, StreamId, StreamOps};

const BEHIND: u8 = 1;
const LAST: u8 = 2;
const NEW: u8 = 3;
const HISTORY: u8 = 4;

/// The part of a stream that a read needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StreamPart<'a> {
    /// So many entries behind an id.
    Behind { id: StreamId, count: usize },
    /// The last entry.
    Last,
    /// So many entries that are new to a group, and its consumer.
    New {
        group: &'a [u8],
        consumer: &'a [u8],
        count: usize,
    },
    /// So many pending entries of a consumer behind an id.
    History {
        group: &'a [u8],
        consumer: &'a [u8],
        id: StreamId,
        count: usize,
    },
}

/// More entries than this are not asked for at a time.
const COUNT_MAX: usize = u32::MAX as usize;

impl<'a> StreamPart<'a> {
    /// Appends the part.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Behind { id, count } => {
                out.push(BEHIND);
                id.put(out);
                put_length(out, count.min(COUNT_MAX));
            }
            Self::Last => out.push(LAST),
            Self::New {
                group,
                consumer,
                count,
            } => {
                out.push(NEW);
                put_bytes(out, group);
                put_bytes(out, consumer);
                put_length(out, count.min(COUNT_MAX));
            }
            Self::History {
                group,
                consumer,
                id,
                count,
            } => {
                out.push(HISTORY);
                put_bytes(out, group);
                put_bytes(out, consumer);
                id.put(out);
                put_length(out, count.min(COUNT_MAX));
            }
        }
    }

    /// Reads what [`StreamPart::encode`] wrote.
    pub fn decode(wire: &mut Wire<'a>) -> Option<Self> {
        match wire.byte()? {
            BEHIND => Some(Self::Behind {
                id: StreamId::read(wire)?,
                count: wire.length()?,
            }),
            LAST => Some(Self::Last),
            NEW => Some(Self::New {
                group: wire.bytes()?,
                consumer: wire.bytes()?,
                count: wire.length()?,
            }),
            HISTORY => Some(Self::History {
                group: wire.bytes()?,
                consumer: wire.bytes()?,
                id: StreamId::read(wire)?,
                count: wire.length()?,
            }),
            _ => None,
        }
    }
}

impl Stream {
    /// Appends the operations that make a stream of which a read sees the same part.
    pub fn write_part(&self, part: &StreamPart<'_>, out: &mut Vec<u8>) {
        let mut ops = StreamOps::new(out);
        match *part {
            StreamPart::Behind { id, count } => self.write_behind(id, count, &mut ops),
            StreamPart::Last => self.write_last(&mut ops),
            StreamPart::New { group, count, .. } => {
                let last = self.group(group).map(|group| group.last_id);
                if let Some(last) = last {
                    self.write_behind(last, count, &mut ops);
                }
            }
            StreamPart::History {
                group,
                consumer,
                id,
                count,
            } => {
                let ids = self.group(group).and_then(|group| {
                    let consumer = group.consumers.get(&Name::from(consumer))?;
                    let pending = consumer.pending.iter_from(&id);
                    let behind = pending.map(|(id, ())| *id).filter(|at| *at > id);
                    Some(behind.take(count).collect::<Vec<_>>())
                });
                let entries = ids.iter().flatten().filter_map(|id| self.get(*id));
                entries.for_each(|entry| ops.add_entry(&entry));
            }
        }
        ops.set(self.last_id, self.entries_added, self.max_deleted_id);
        ops.total(self.entries());
        let (StreamPart::New {
            group, consumer, ..
        }
        | StreamPart::History {
            group, consumer, ..
        }) = *part
        else {
            return;
        };
        if let Some(state) = self.group(group) {
            write_consumer(&mut ops, group, state, consumer);
        }
    }

    fn write_behind(&self, id: StreamId, count: usize, ops: &mut StreamOps<'_>) {
        // The first entry, too: what a reader computes about the past of the stream depends on it.
        let first = self.first_id();
        if first <= id
            && let Some(entry) = self.get(first)
        {
            ops.add_entry(&entry);
        }
        if let Some(next) = id.next() {
            let entries = self.range(next, StreamId::MAX, Direction::Forward);
            entries.take(count).for_each(|entry| ops.add_entry(&entry));
        }
    }

    fn write_last(&self, ops: &mut StreamOps<'_>) {
        let mut entries = self.range(StreamId::MIN, StreamId::MAX, Direction::Back);
        if let Some(entry) = entries.next() {
            ops.add_entry(&entry);
        }
    }
}

/// Writes a group as one of its consumers sees it.
fn write_consumer(ops: &mut StreamOps<'_>, name: &[u8], group: &Group, consumer: &[u8]) {
    ops.group(name, group.last_id, group.entries_read);
    if let Some(state) = group.consumers.get(&Name::from(consumer)) {
        ops.consumer(name, consumer, state.seen_at, state.active_at);
        for (id, ()) in state.pending.iter() {
            if let Some(pending) = group.pending.get(id) {
                ops.deliver(name, *id, pending);
            }
        }
    }
}
