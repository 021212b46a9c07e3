//! Commands over entries that were delivered and not acknowledged.

use std::collections::BTreeMap;

use crate::commands::families::value::int_argument;
use crate::commands::table::error::CommandError;
use crate::commands::table::handler::{Outcome, ReadContext, ShardContext, check_kind};
use crate::keyspace::collection::stream::{Group, Name, Pending, Stream, StreamId, StreamOps};
use crate::keyspace::{EntryView, KeyEvent, Kind, Millis};
use crate::resp::{Args, Reply};

use super::ids::{Side, strict_id};
use super::range::pending_end;
use super::{no_group_or_key, stream_of, write_entry, write_id};

/// Pending entries that XAUTOCLAIM looks at for each one that it is to claim.
const LOOKS_PER_CLAIM: usize = 10;
const AUTOCLAIM_COUNT: usize = 100;

/// The long form of XPENDING.
struct Query<'a> {
    idle: u64,
    start: StreamId,
    end: StreamId,
    count: usize,
    consumer: Option<&'a [u8]>,
}

impl<'a> Query<'a> {
    fn parse(args: &Args<'a>) -> Result<Self, CommandError> {
        const LENGTHS: std::ops::RangeInclusive<usize> = 6..=9;
        if !LENGTHS.contains(&args.len()) {
            return Err(CommandError::Syntax);
        }
        let mut at = 3;
        let mut idle = 0;
        if args.at(at).eq_ignore_ascii_case(b"idle") {
            if args.len() < 8 {
                return Err(CommandError::Syntax);
            }
            idle = u64::try_from(int_argument(args.at(4))?).unwrap_or(0);
            at = 5;
        }
        let count = int_argument(args.at(at + 2))?;
        Ok(Self {
            idle,
            start: pending_end(args.at(at), &Side::Start)?,
            end: pending_end(args.at(at + 1), &Side::End)?,
            count: usize::try_from(count).unwrap_or(0),
            consumer: args.iter().nth(at + 3),
        })
    }
}

pub(super) fn xpending(
    context: &ReadContext<'_>,
    entry: Option<&EntryView<'_>>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let query = (args.len() > 3).then(|| Query::parse(args)).transpose()?;
    check_kind(Some(Kind::Stream), entry)?;
    let group = entry
        .and_then(stream_of)
        .and_then(|stream| stream.group(args.at(2)));
    let group = group.ok_or_else(|| no_group_or_key(args.at(1), args.at(2)))?;
    match query {
        None => summary(group, reply),
        Some(query) => list(group, &query, context.now, reply),
    }
    Ok(())
}

fn summary(group: &Group, reply: &mut Reply<'_>) {
    let ends = group.pending.first().zip(group.pending.last());
    reply.array(4);
    reply.count(group.pending.len());
    let Some(((first, _), (last, _))) = ends else {
        reply.null();
        reply.null();
        reply.null_array();
        return;
    };
    write_id(reply, *first);
    write_id(reply, *last);
    let consumers = group.consumers.iter();
    let busy: Vec<_> = consumers
        .filter(|(_, consumer)| !consumer.pending.is_empty())
        .collect();
    reply.array(busy.len());
    for (name, consumer) in busy {
        reply.array(2);
        reply.bulk(name);
        reply.bulk_int(consumer.pending.len() as i64);
    }
}

fn list(group: &Group, query: &Query<'_>, now: Millis, reply: &mut Reply<'_>) {
    let is_of = |pending: &Pending| query.consumer.is_none_or(|name| *pending.consumer == *name);
    let found: Vec<_> = group
        .pending
        .iter_from(&query.start)
        .take_while(|(id, _)| **id <= query.end)
        .filter(|(_, pending)| {
            is_of(pending) && now.saturating_sub(pending.delivered_at) >= query.idle
        })
        .take(query.count)
        .collect();
    reply.array(found.len());
    for (id, pending) in found {
        reply.array(4);
        write_id(reply, *id);
        reply.bulk(&pending.consumer);
        reply.count(now.saturating_sub(pending.delivered_at));
        reply.count(pending.deliveries);
    }
}

/// The options of XCLAIM.
struct Claim {
    min_idle: u64,
    delivered_at: Millis,
    deliveries: Option<u64>,
    is_forced: bool,
    just_ids: bool,
    last_id: Option<StreamId>,
}

fn min_idle(text: &[u8], name: &'static str) -> Result<u64, CommandError> {
    let idle = int_argument(text).map_err(|_| {
        CommandError::text(format!("ERR Invalid min-idle-time argument for {name}"))
    })?;
    Ok(u64::try_from(idle).unwrap_or(0))
}

impl Claim {
    fn parse(args: &Args<'_>, mut at: usize, now: Millis) -> Result<Self, CommandError> {
        let mut claim = Self {
            min_idle: min_idle(args.at(4), "XCLAIM")?,
            delivered_at: now,
            deliveries: None,
            is_forced: false,
            just_ids: false,
            last_id: None,
        };
        let number = |text: &[u8], option: &str| {
            int_argument(text).map_err(|_| {
                CommandError::text(format!("ERR Invalid {option} option argument for XCLAIM"))
            })
        };
        while at < args.len() {
            let option = args.at(at).to_ascii_lowercase();
            let value = args.iter().nth(at + 1);
            match (&option[..], value) {
                (b"force", _) => claim.is_forced = true,
                (b"justid", _) => claim.just_ids = true,
                (b"idle", Some(value)) => {
                    let idle = u64::try_from(number(value, "IDLE")?).unwrap_or(0);
                    claim.delivered_at = now.saturating_sub(idle);
                    at += 1;
                }
                (b"time", Some(value)) => {
                    let time = u64::try_from(number(value, "TIME")?).unwrap_or(0);
                    claim.delivered_at = time.min(now);
                    at += 1;
                }
                (b"retrycount", Some(value)) => {
                    claim.deliveries = u64::try_from(number(value, "RETRYCOUNT")?).ok();
                    at += 1;
                }
                (b"lastid", Some(value)) => {
                    claim.last_id = Some(strict_id(value, 0)?);
                    at += 1;
                }
                _ => {
                    let mut text = b"ERR Unrecognized XCLAIM option '".to_vec();
                    text.extend_from_slice(args.at(at));
                    text.push(b'\'');
                    return Err(CommandError::Text(text.into()));
                }
            }
            at += 1;
        }
        Ok(claim)
    }
}

/// What a claim of entries does and says.
struct Claimed<'s> {
    ops: Vec<u8>,
    ids: Vec<StreamId>,
    stream: &'s Stream,
    group: (&'s [u8], &'s Group),
    consumer: &'s [u8],
}

impl<'s> Claimed<'s> {
    fn new(stream: &'s Stream, name: &'s [u8], group: &'s Group, consumer: &'s [u8]) -> Self {
        Self {
            ops: Vec::new(),
            ids: Vec::new(),
            stream,
            group: (name, group),
            consumer,
        }
    }

    fn is_new_consumer(&self) -> bool {
        let name = Name::from(self.consumer);
        self.group.1.consumers.get(&name).is_none()
    }

    /// Gives an entry to the consumer.
    fn take(&mut self, id: StreamId, delivered_at: Millis, deliveries: u64) {
        let pending = Pending {
            consumer: Name::from(self.consumer),
            delivered_at,
            deliveries,
        };
        StreamOps::new(&mut self.ops).deliver(self.group.0, id, &pending);
        self.ids.push(id);
    }

    fn drop_deleted(&mut self, id: StreamId) {
        StreamOps::new(&mut self.ops).acknowledge(self.group.0, id);
    }

    /// The operations, with the visit of the consumer before them.
    fn finish(&self, now: Millis) -> Vec<u8> {
        let mut bytes = Vec::new();
        let known = self.group.1.consumers.get(&Name::from(self.consumer));
        let before = known.and_then(|consumer| consumer.active_at);
        let active = if self.ids.is_empty() {
            before
        } else {
            Some(now)
        };
        StreamOps::new(&mut bytes).consumer(self.group.0, self.consumer, now, active);
        bytes.extend_from_slice(&self.ops);
        bytes
    }

    fn write(&self, just_ids: bool, reply: &mut Reply<'_>) {
        reply.array(self.ids.len());
        for id in &self.ids {
            match self.stream.get(*id) {
                Some(entry) if !just_ids => write_entry(reply, &entry),
                _ => write_id(reply, *id),
            }
        }
    }
}

pub(super) fn xclaim(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let (key, now) = (context.first_key(args.at(1)), context.now);
    let entry = context.of_kind(Kind::Stream, &key)?;
    let stream = entry.as_ref().and_then(stream_of);
    let group = stream.and_then(|stream| stream.group(args.at(2)));
    let (Some(stream), Some(group)) = (stream, group) else {
        return Err(no_group_or_key(args.at(1), args.at(2)));
    };
    min_idle(args.at(4), "XCLAIM")?;
    let ids = args.iter().skip(5).map_while(|id| strict_id(id, 0).ok());
    let ids: Vec<StreamId> = ids.collect();
    let claim = Claim::parse(args, 5 + ids.len(), now)?;
    let mut claimed = Claimed::new(stream, args.at(2), group, args.at(3));
    if let Some(last) = claim.last_id.filter(|last| *last > group.last_id) {
        StreamOps::new(&mut claimed.ops).group(args.at(2), last, group.entries_read);
    }
    let mut seen: BTreeMap<StreamId, u64> = BTreeMap::new();
    for id in ids {
        let pending = group.pending.get(&id);
        if stream.get(id).is_none() {
            if pending.is_some() {
                claimed.drop_deleted(id);
            }
            continue;
        }
        let (before, idle) = match (pending, seen.get(&id)) {
            (_, Some(deliveries)) => (*deliveries, now.saturating_sub(claim.delivered_at)),
            (Some(pending), _) => (pending.deliveries, now.saturating_sub(pending.delivered_at)),
            (None, None) if claim.is_forced => (0, u64::MAX),
            (None, None) => continue,
        };
        if claim.min_idle > 0 && idle < claim.min_idle {
            continue;
        }
        let counted = before + u64::from(!claim.just_ids);
        let deliveries = claim.deliveries.unwrap_or(counted);
        seen.insert(id, deliveries);
        claimed.take(id, claim.delivered_at, deliveries);
    }
    let is_new = claimed.is_new_consumer();
    let ops = claimed.finish(now);
    claimed.write(claim.just_ids, reply);
    context.change(&key, Kind::Stream, &ops)?;
    if is_new {
        context.notify(KeyEvent::XGroupCreateConsumer, &key);
    }
    Ok(())
}

/// The options of XAUTOCLAIM.
fn autoclaim_options(args: &Args<'_>) -> Result<(usize, bool), CommandError> {
    let (mut count, mut just_ids) = (AUTOCLAIM_COUNT, false);
    let mut at = 6;
    while at < args.len() {
        if args.at(at).eq_ignore_ascii_case(b"count") && at + 1 < args.len() {
            let given = int_argument(args.at(at + 1));
            let given = given.ok().and_then(|given| usize::try_from(given).ok());
            count = given
                .filter(|count| (1..=usize::MAX / LOOKS_PER_CLAIM).contains(count))
                .ok_or(CommandError::Plain("COUNT must be > 0"))?;
            at += 2;
        } else if args.at(at).eq_ignore_ascii_case(b"justid") {
            just_ids = true;
            at += 1;
        } else {
            return Err(CommandError::Syntax);
        }
    }
    Ok((count, just_ids))
}

pub(super) fn xautoclaim(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let min_idle = min_idle(args.at(4), "XAUTOCLAIM")?;
    let start = pending_end(args.at(5), &Side::Start)?;
    let (count, just_ids) = autoclaim_options(args)?;
    let (key, now) = (context.first_key(args.at(1)), context.now);
    let entry = context.of_kind(Kind::Stream, &key)?;
    let stream = entry.as_ref().and_then(stream_of);
    let group = stream.and_then(|stream| stream.group(args.at(2)));
    let (Some(stream), Some(group)) = (stream, group) else {
        return Err(no_group_or_key(args.at(1), args.at(2)));
    };
    let mut claimed = Claimed::new(stream, args.at(2), group, args.at(3));
    let mut deleted = Vec::new();
    let mut left = count;
    let mut all = group.pending.iter_from(&start);
    let mut next = StreamId::MIN;
    for look in 0.. {
        let Some((id, pending)) = all.next() else {
            break;
        };
        if left == 0 || look == count * LOOKS_PER_CLAIM {
            next = *id;
            break;
        }
        if stream.get(*id).is_none() {
            claimed.drop_deleted(*id);
            deleted.push(*id);
            left -= 1;
            continue;
        }
        if min_idle > 0 && now.saturating_sub(pending.delivered_at) < min_idle {
            continue;
        }
        let deliveries = pending.deliveries + u64::from(!just_ids);
        claimed.take(*id, now, deliveries);
        left -= 1;
    }
    drop(all);
    let is_new = claimed.is_new_consumer();
    let ops = claimed.finish(now);
    reply.array(3);
    write_id(reply, next);
    claimed.write(just_ids, reply);
    reply.array(deleted.len());
    deleted.iter().for_each(|id| write_id(reply, *id));
    context.change(&key, Kind::Stream, &ops)?;
    if is_new {
        context.notify(KeyEvent::XGroupCreateConsumer, &key);
    }
    Ok(())
}
