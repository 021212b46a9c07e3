//! Commands that give entries to the consumers of a group, and take their acknowledgements.

use std::borrow::Cow;

use crate::commands::table::error::CommandError;
use crate::commands::table::handler::{
    Change, Found, Look, Outcome, PlanContext, ShardContext, check_kind,
};
use crate::keyspace::collection::stream::{
    Direction, Group, Name, Pending, Stream, StreamId, StreamOps,
};
use crate::keyspace::{Effect, KeyEvent, Kind, Millis};
use crate::resp::{Args, Protocol, Reply};

use super::ids::strict_id;
use super::range::{From, Read, Unreadable};
use super::{begin_streams, last_entry_id, made_stream, stream_of, write_entry, write_id};

pub(super) fn xreadgroup_look<'a>(
    context: &PlanContext<'_>,
    args: &Args<'a>,
    looks: &mut Vec<Look<'a>>,
) -> Outcome {
    looks.extend(Read::parse(args, context.now, true)?.looks(context));
    Ok(())
}

/// A stream whose entries are to be given.
struct Given<'s, 'a> {
    key: &'a [u8],
    stream: Cow<'s, Stream>,
    from: From,
}

impl Given<'_, '_> {
    /// True when there is something to give; a history always is.
    fn has_some(&self, group: &Group) -> bool {
        match self.from {
            From::New => last_entry_id(&self.stream).is_some_and(|last| last > group.last_id),
            From::Behind(_) | From::Last | From::Now => true,
        }
    }
}

/// The streams of a request, each of which has the group and an id that can be read.
fn streams_to_give<'s, 'a>(
    read: &mut Read<'a>,
    group: &[u8],
    found: &'s [Found<'a>],
) -> Result<Vec<Given<'s, 'a>>, CommandError> {
    let mut unreadable = read.unreadable.take();
    let mut all = Vec::with_capacity(found.len());
    for (entry, (key, from)) in found.iter().zip(&read.streams) {
        check_kind(Some(Kind::Stream), entry.as_ref())?;
        let stream = entry.as_ref().and_then(made_stream);
        let stream = stream.filter(|stream| stream.group(group).is_some());
        let stream = stream.ok_or_else(|| no_group_of(key, group))?;
        Unreadable::refuse(&mut unreadable, all.len())?;
        all.push(Given {
            key,
            stream,
            from: *from,
        });
    }
    Ok(all)
}

pub(super) fn xreadgroup_decide<'a>(
    context: &PlanContext<'a>,
    args: &Args<'a>,
    found: &[Found<'a>],
    changes: &mut Vec<Change<'a>>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let mut read = Read::parse(args, context.now, true)?;
    let (group, consumer) = read.group.ok_or(CommandError::Syntax)?;
    let all = streams_to_give(&mut read, group, found)?;
    let has_some = |given: &Given<'_, '_>| {
        let group = given.stream.group(group);
        group.is_some_and(|group| given.has_some(group))
    };
    let count = all.iter().filter(|given| has_some(given)).count();
    if count == 0
        && read
            .until
            .is_some_and(|until| context.wait_for_change(until))
    {
        changes.extend(
            all.iter()
                .filter_map(|given| new_consumer(context, given, group, consumer)),
        );
        return Ok(());
    }
    match count {
        0 => reply.null_array(),
        count => begin_streams(reply, count),
    }
    for given in &all {
        let Some(state) = given.stream.group(group) else {
            continue;
        };
        let consumer = Reader {
            group: (group, state),
            name: consumer,
            now: context.now,
            no_ack: read.no_ack,
        };
        let gives = given.has_some(state);
        if gives {
            if reply.protocol() == Protocol::Resp2 {
                reply.array(2);
            }
            reply.bulk(given.key);
        }
        let ops = match given.from {
            From::New => consumer.give_new(&given.stream, gives, read.count, reply),
            From::Behind(id) => consumer.give_history(&given.stream, id, read.count, reply),
            From::Last | From::Now => Vec::new(),
        };
        let is_known = state.consumers.get(&Name::from(consumer.name)).is_some();
        changes.push(Change {
            db: context.db,
            key: given.key,
            effect: Effect::Delta {
                kind: Kind::Stream,
                is_new: false,
                ops: context.made.keep(ops),
            },
            events: if is_known {
                &[]
            } else {
                &[KeyEvent::XGroupCreateConsumer]
            },
        });
    }
    Ok(())
}

/// What makes a consumer who begins to wait, where nobody knows it.
fn new_consumer<'a>(
    context: &PlanContext<'a>,
    given: &Given<'_, 'a>,
    group: &[u8],
    name: &[u8],
) -> Option<Change<'a>> {
    let state = given.stream.group(group)?;
    if state.consumers.get(&Name::from(name)).is_some() {
        return None;
    }
    let reader = Reader {
        group: (group, state),
        name,
        now: context.now,
        no_ack: true,
    };
    let mut ops = Vec::new();
    reader.put_consumer(false, &mut StreamOps::new(&mut ops));
    Some(Change {
        db: context.db,
        key: given.key,
        effect: Effect::Delta {
            kind: Kind::Stream,
            is_new: false,
            ops: context.made.keep(ops),
        },
        events: &[KeyEvent::XGroupCreateConsumer],
    })
}

fn no_group_of(key: &[u8], group: &[u8]) -> CommandError {
    let mut text = b"NOGROUP No such key '".to_vec();
    text.extend_from_slice(key);
    text.extend_from_slice(b"' or consumer group '");
    text.extend_from_slice(group);
    text.extend_from_slice(b"' in XREADGROUP with GROUP option");
    CommandError::Text(text.into())
}

/// A consumer who reads.
struct Reader<'s> {
    group: (&'s [u8], &'s Group),
    name: &'s [u8],
    now: Millis,
    no_ack: bool,
}

impl Reader<'_> {
    /// Notes that the consumer was here, and whether it got something.
    fn put_consumer(&self, gets: bool, ops: &mut StreamOps<'_>) {
        let known = self.group.1.consumers.get(&Name::from(self.name));
        let before = known.and_then(|consumer| consumer.active_at);
        let active = if gets { Some(self.now) } else { before };
        ops.consumer(self.group.0, self.name, self.now, active);
    }

    fn give_new(
        &self,
        stream: &Stream,
        gives: bool,
        count: usize,
        reply: &mut Reply<'_>,
    ) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut ops = StreamOps::new(&mut bytes);
        self.put_consumer(gives, &mut ops);
        if !gives {
            return bytes;
        }
        let (name, group) = self.group;
        let start = group.last_id.next().unwrap_or(StreamId::MAX);
        let entries = stream.range(start, StreamId::MAX, Direction::Forward);
        let entries: Vec<_> = entries.take(count).collect();
        reply.array(entries.len());
        let (mut last, mut read) = (group.last_id, group.entries_read);
        for entry in &entries {
            write_entry(reply, entry);
            read = match read {
                Some(read) if last >= stream.first_id() && !stream.has_gaps_from(last) => {
                    Some(read.saturating_add(1))
                }
                _ => stream.number_of(entry.id),
            };
            last = entry.id;
            if !self.no_ack {
                ops.deliver(name, entry.id, &self.pending(1));
            }
        }
        ops.group(name, last, read);
        bytes
    }

    fn pending(&self, deliveries: u64) -> Pending {
        Pending {
            consumer: Name::from(self.name),
            delivered_at: self.now,
            deliveries,
        }
    }

    fn give_history(
        &self,
        stream: &Stream,
        id: StreamId,
        count: usize,
        reply: &mut Reply<'_>,
    ) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut ops = StreamOps::new(&mut bytes);
        let (name, group) = self.group;
        let consumer = group.consumers.get(&Name::from(self.name));
        let ids: Vec<StreamId> = consumer
            .into_iter()
            .flat_map(|consumer| consumer.pending.iter_from(&id))
            .map(|(id, ())| *id)
            .filter(|at| *at > id)
            .take(count)
            .collect();
        self.put_consumer(!ids.is_empty(), &mut ops);
        reply.array(ids.len());
        for id in ids {
            match stream.get(id) {
                Some(entry) => {
                    write_entry(reply, &entry);
                    let before = group
                        .pending
                        .get(&id)
                        .map_or(0, |pending| pending.deliveries);
                    ops.deliver(name, id, &self.pending(before + 1));
                }
                None => {
                    reply.array(2);
                    write_id(reply, id);
                    reply.null_array();
                }
            }
        }
        bytes
    }
}

pub(super) fn xack(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let key = context.first_key(args.at(1));
    let name = args.at(2);
    let entry = context.of_kind(Kind::Stream, &key)?;
    let group = entry.as_ref().and_then(stream_of);
    let group = group.and_then(|stream| stream.group(name));
    let ids = args.iter().skip(3).map(|id| strict_id(id, 0));
    let Some(group) = group else {
        reply.int(0);
        return Ok(());
    };
    let mut ids: Vec<StreamId> = ids.collect::<Result<_, _>>()?;
    ids.retain(|id| group.pending.get(id).is_some());
    ids.sort_unstable();
    ids.dedup();
    if !ids.is_empty() {
        let mut bytes = Vec::new();
        let mut ops = StreamOps::new(&mut bytes);
        ids.iter().for_each(|id| ops.acknowledge(name, *id));
        context.reduce(&key, Kind::Stream, &bytes)?;
    }
    reply.count(ids.len() as u64);
    Ok(())
}
