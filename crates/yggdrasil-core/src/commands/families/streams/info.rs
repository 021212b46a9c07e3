//! XINFO: what is known of a stream, its groups and their consumers.

use crate::commands::families::value::int_argument;
use crate::commands::table::error::CommandError;
use crate::commands::table::handler::{Outcome, ReadContext};
use crate::keyspace::EntryView;
use crate::keyspace::collection::stream::{Consumer, Direction, Group, Stream, StreamId};
use crate::resp::{Args, Reply};

use super::{no_group, stream_of, subcommand_syntax, write_entries, write_entry, write_id};

/// Entries, and pending entries of each group, in a full answer.
const FULL_COUNT: usize = 10;

fn found<'a>(entry: Option<&EntryView<'a>>) -> Result<&'a Stream, CommandError> {
    entry.and_then(stream_of).ok_or(CommandError::NoSuchKey)
}

fn write_number(reply: &mut Reply<'_>, number: Option<u64>) {
    match number {
        Some(number) => reply.count(number),
        None => reply.null(),
    }
}

fn write_lag(reply: &mut Reply<'_>, lag: Option<i64>) {
    match lag {
        Some(lag) => reply.int(lag),
        None => reply.null(),
    }
}

/// Entries that a group has not read yet, where that can be told. Negative for one that was said to have read more.
fn lag(stream: &Stream, group: &Group) -> Option<i64> {
    if stream.entries_added() == 0 || stream.entries() == 0 {
        return Some(0);
    }
    let first = stream.first_id();
    if group.last_id < first && stream.max_deleted_id() < first {
        return Some(stream.entries() as i64);
    }
    let read = match group.entries_read {
        Some(read) if !stream.has_gaps_from(group.last_id) => Some(read),
        _ => stream.number_of(group.last_id),
    };
    read.map(|read| stream.entries_added().wrapping_sub(read) as i64)
}

fn write_nodes(stream: &Stream, reply: &mut Reply<'_>) {
    let nodes = stream.nodes().count() as u64;
    reply.bulk(b"radix-tree-keys");
    reply.count(nodes);
    reply.bulk(b"radix-tree-nodes");
    reply.count(nodes + 1);
}

fn write_past(stream: &Stream, reply: &mut Reply<'_>) {
    reply.bulk(b"last-generated-id");
    write_id(reply, stream.last_id());
    reply.bulk(b"max-deleted-entry-id");
    write_id(reply, stream.max_deleted_id());
    reply.bulk(b"entries-added");
    reply.count(stream.entries_added());
    reply.bulk(b"recorded-first-entry-id");
    write_id(reply, stream.first_id());
}

pub(super) fn stream(
    _: &ReadContext<'_>,
    entry: Option<&EntryView<'_>>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let stream = found(entry)?;
    let mut full = None;
    if args.len() > 3 {
        if !args.at(3).eq_ignore_ascii_case(b"full") {
            return Err(subcommand_syntax(args, "XINFO"));
        }
        full = Some(FULL_COUNT);
        if args.len() > 4 {
            if args.len() != 6 || !args.at(4).eq_ignore_ascii_case(b"count") {
                return Err(subcommand_syntax(args, "XINFO"));
            }
            let count = int_argument(args.at(5))?;
            let count = usize::try_from(count).unwrap_or(FULL_COUNT);
            full = Some(if count == 0 { usize::MAX } else { count });
        }
    }
    match full {
        Some(count) => write_full(stream, count, reply),
        None => write_short(stream, reply),
    }
    Ok(())
}

fn write_short(stream: &Stream, reply: &mut Reply<'_>) {
    reply.map(10);
    reply.bulk(b"length");
    reply.count(stream.entries());
    write_nodes(stream, reply);
    write_past(stream, reply);
    reply.bulk(b"groups");
    reply.count(stream.groups().len());
    for (name, direction) in [
        (&b"first-entry"[..], Direction::Forward),
        (b"last-entry", Direction::Back),
    ] {
        reply.bulk(name);
        let mut entries = stream.range(StreamId::MIN, StreamId::MAX, direction);
        match entries.next() {
            Some(entry) => write_entry(reply, &entry),
            None => reply.null(),
        }
    }
}

fn write_full(stream: &Stream, count: usize, reply: &mut Reply<'_>) {
    reply.map(9);
    reply.bulk(b"length");
    reply.count(stream.entries());
    write_nodes(stream, reply);
    write_past(stream, reply);
    reply.bulk(b"entries");
    let entries = stream.range(StreamId::MIN, StreamId::MAX, Direction::Forward);
    write_entries(reply, entries.take(count));
    reply.bulk(b"groups");
    reply.array(stream.groups().len() as usize);
    for (name, group) in stream.groups().iter() {
        reply.map(7);
        reply.bulk(b"name");
        reply.bulk(name);
        reply.bulk(b"last-delivered-id");
        write_id(reply, group.last_id);
        reply.bulk(b"entries-read");
        write_number(reply, group.entries_read);
        reply.bulk(b"lag");
        write_lag(reply, lag(stream, group));
        reply.bulk(b"pel-count");
        reply.count(group.pending.len());
        reply.bulk(b"pending");
        reply.array(count.min(group.pending.len() as usize));
        for (id, pending) in group.pending.iter().take(count) {
            reply.array(4);
            write_id(reply, *id);
            reply.bulk(&pending.consumer);
            reply.count(pending.delivered_at);
            reply.count(pending.deliveries);
        }
        reply.bulk(b"consumers");
        reply.array(group.consumers.len() as usize);
        for (name, consumer) in group.consumers.iter() {
            write_full_consumer((name, consumer), group, count, reply);
        }
    }
}

fn write_full_consumer(
    (name, consumer): (&[u8], &Consumer),
    group: &Group,
    count: usize,
    reply: &mut Reply<'_>,
) {
    reply.map(5);
    reply.bulk(b"name");
    reply.bulk(name);
    reply.bulk(b"seen-time");
    reply.count(consumer.seen_at);
    reply.bulk(b"active-time");
    match consumer.active_at {
        Some(at) => reply.count(at),
        None => reply.int(-1),
    }
    reply.bulk(b"pel-count");
    reply.count(consumer.pending.len());
    reply.bulk(b"pending");
    reply.array(count.min(consumer.pending.len() as usize));
    for (id, ()) in consumer.pending.iter().take(count) {
        let pending = group.pending.get(id);
        reply.array(3);
        write_id(reply, *id);
        reply.count(pending.map_or(0, |pending| pending.delivered_at));
        reply.count(pending.map_or(0, |pending| pending.deliveries));
    }
}

pub(super) fn groups(
    _: &ReadContext<'_>,
    entry: Option<&EntryView<'_>>,
    _: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let stream = found(entry)?;
    reply.array(stream.groups().len() as usize);
    for (name, group) in stream.groups().iter() {
        reply.map(6);
        reply.bulk(b"name");
        reply.bulk(name);
        reply.bulk(b"consumers");
        reply.count(group.consumers.len());
        reply.bulk(b"pending");
        reply.count(group.pending.len());
        reply.bulk(b"last-delivered-id");
        write_id(reply, group.last_id);
        reply.bulk(b"entries-read");
        write_number(reply, group.entries_read);
        reply.bulk(b"lag");
        write_lag(reply, lag(stream, group));
    }
    Ok(())
}

pub(super) fn consumers(
    context: &ReadContext<'_>,
    entry: Option<&EntryView<'_>>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let stream = found(entry)?;
    let group = stream.group(args.at(3));
    let group = group.ok_or_else(|| no_group(args.at(2), args.at(3)))?;
    reply.array(group.consumers.len() as usize);
    for (name, consumer) in group.consumers.iter() {
        reply.map(4);
        reply.bulk(b"name");
        reply.bulk(name);
        reply.bulk(b"pending");
        reply.count(consumer.pending.len());
        reply.bulk(b"idle");
        reply.count(context.now.saturating_sub(consumer.seen_at));
        reply.bulk(b"inactive");
        match consumer.active_at {
            Some(at) => reply.count(context.now.saturating_sub(at)),
            None => reply.int(-1),
        }
    }
    Ok(())
}
