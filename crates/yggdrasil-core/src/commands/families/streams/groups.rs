//! XGROUP: groups and consumers.

use crate::commands::families::value::int_argument;
use crate::commands::table::error::CommandError;
use crate::commands::table::handler::{Outcome, ShardContext};
use crate::keyspace::collection::stream::{Group, Name, Stream, StreamId, StreamOps};
use crate::keyspace::{Key, KeyEvent, Kind};
use crate::resp::{Args, Reply};

use super::ids::strict_id;
use super::{no_group, stream_of, subcommand_syntax};

const NO_KEY: CommandError = CommandError::Plain(
    "The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to \
     create an empty stream automatically.",
);

/// The words behind the id of XGROUP CREATE and SETID.
#[derive(Default)]
struct Options {
    make_stream: bool,
    entries_read: Option<u64>,
}

impl Options {
    fn parse(args: &Args<'_>, may_make: bool) -> Result<Self, CommandError> {
        let mut options = Self::default();
        let mut at = 5;
        while at < args.len() {
            let word = args.at(at);
            if may_make && word.eq_ignore_ascii_case(b"mkstream") {
                options.make_stream = true;
                at += 1;
            } else if word.eq_ignore_ascii_case(b"entriesread") && at + 1 < args.len() {
                let read = int_argument(args.at(at + 1))?;
                if read < -1 {
                    return Err(CommandError::Plain(
                        "value for ENTRIESREAD must be positive or -1",
                    ));
                }
                options.entries_read = u64::try_from(read).ok();
                at += 2;
            } else {
                return Err(subcommand_syntax(args, "XGROUP"));
            }
        }
        Ok(options)
    }
}

/// The id of a group: "$" is the last one.
fn group_id(text: &[u8], stream: Option<&Stream>) -> Result<StreamId, CommandError> {
    match text {
        b"$" => Ok(stream.map_or(StreamId::MIN, Stream::last_id)),
        text => strict_id(text, 0),
    }
}

pub(super) fn create(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let options = Options::parse(args, true)?;
    let key = context.key(args.at(2));
    let entry = context.of_kind(Kind::Stream, &key)?;
    let stream = entry.as_ref().and_then(stream_of);
    if stream.is_none() && !options.make_stream {
        return Err(NO_KEY);
    }
    let id = group_id(args.at(4), stream)?;
    if stream.is_some_and(|stream| stream.group(args.at(3)).is_some()) {
        return Err(CommandError::text(
            "BUSYGROUP Consumer Group name already exists",
        ));
    }
    let mut ops = Vec::new();
    StreamOps::new(&mut ops).group(args.at(3), id, options.entries_read);
    context.change(&key, Kind::Stream, &ops)?;
    context.notify(KeyEvent::XGroupCreate, &key);
    reply.ok();
    Ok(())
}

/// The stream of a subcommand and its group, which are there.
fn with_group<T>(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    look: impl FnOnce(&Stream, &Group) -> Result<T, CommandError>,
) -> Result<T, CommandError> {
    let key = context.key(args.at(2));
    let entry = context.of_kind(Kind::Stream, &key)?;
    let stream = entry.as_ref().and_then(stream_of).ok_or(NO_KEY)?;
    let group = stream.group(args.at(3));
    look(
        stream,
        group.ok_or_else(|| no_group(args.at(2), args.at(3)))?,
    )
}

fn change(
    context: &mut ShardContext<'_>,
    key: &Key<'_>,
    event: KeyEvent,
    write: impl FnOnce(&mut StreamOps<'_>),
) -> Outcome {
    let mut ops = Vec::new();
    write(&mut StreamOps::new(&mut ops));
    context.change(key, Kind::Stream, &ops)?;
    context.notify(event, key);
    Ok(())
}

pub(super) fn setid(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let options = Options::parse(args, false)?;
    let id = with_group(context, args, |stream, _| {
        group_id(args.at(4), Some(stream))
    })?;
    let key = context.key(args.at(2));
    change(context, &key, KeyEvent::XGroupSetId, |ops| {
        ops.group(args.at(3), id, options.entries_read);
    })?;
    reply.ok();
    Ok(())
}

pub(super) fn destroy(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let key = context.key(args.at(2));
    let entry = context.of_kind(Kind::Stream, &key)?;
    let stream = entry.as_ref().and_then(stream_of).ok_or(NO_KEY)?;
    let is_there = stream.group(args.at(3)).is_some();
    if is_there {
        change(context, &key, KeyEvent::XGroupDestroy, |ops| {
            ops.remove_group(args.at(3));
        })?;
    }
    reply.int(i64::from(is_there));
    Ok(())
}

pub(super) fn create_consumer(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let name = Name::from(args.at(4));
    let is_new = with_group(context, args, |_, group| {
        Ok(group.consumers.get(&name).is_none())
    })?;
    if is_new {
        let (key, now) = (context.key(args.at(2)), context.now);
        change(context, &key, KeyEvent::XGroupCreateConsumer, |ops| {
            ops.consumer(args.at(3), &name, now, None);
        })?;
    }
    reply.int(i64::from(is_new));
    Ok(())
}

pub(super) fn delete_consumer(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let name = Name::from(args.at(4));
    let pending = with_group(context, args, |_, group| {
        let consumer = group.consumers.get(&name);
        Ok(consumer.map(|consumer| consumer.pending.len()))
    })?;
    if pending.is_some() {
        let key = context.key(args.at(2));
        change(context, &key, KeyEvent::XGroupDelConsumer, |ops| {
            ops.remove_consumer(args.at(3), &name);
        })?;
    }
    reply.count(pending.unwrap_or(0));
    Ok(())
}
