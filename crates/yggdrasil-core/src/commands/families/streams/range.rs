//! Commands that give entries of streams.

use crate::commands::families::steps::{AT_ONCE_MAX, STEP_BYTES, long};
use crate::commands::families::value::int_argument;
use crate::commands::table::error::CommandError;
use crate::commands::table::handler::{
    Change, Found, Look, Outcome, PlanContext, ReadContext, check_kind,
};
use crate::keyspace::collection::stream::{Direction, Stream, StreamId, StreamPart};
use crate::keyspace::collection::{Held, Part};
use crate::keyspace::{Collection, EntryView, Kind, Millis};
use crate::resp::{Args, ArgsBuffer, Progress, Protocol, Reply, Rest};

use super::ids::{Side, id, range_end, strict_id};
use super::{begin_streams, made_stream, stream_of, write_entries, write_entry};

/// Entries that are given, and such that are counted, in a step.
const STEP_ENTRIES: usize = 512;
const STEP_COUNTED: usize = 4096;

pub(super) fn xrange(
    _: &ReadContext<'_>,
    entry: Option<&EntryView<'_>>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let (start, end) = (args.at(2), args.at(3));
    range(entry, args, (start, end), Direction::Forward, reply)
}

pub(super) fn xrevrange(
    _: &ReadContext<'_>,
    entry: Option<&EntryView<'_>>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let (start, end) = (args.at(3), args.at(2));
    range(entry, args, (start, end), Direction::Back, reply)
}

fn range(
    entry: Option<&EntryView<'_>>,
    args: &Args<'_>,
    (start, end): (&[u8], &[u8]),
    direction: Direction,
    reply: &mut Reply<'_>,
) -> Outcome {
    let start = range_end(start, &Side::Start)?;
    let end = range_end(end, &Side::End)?;
    let mut count = None;
    let mut at = 4;
    while at < args.len() {
        if !args.at(at).eq_ignore_ascii_case(b"count") || at + 1 >= args.len() {
            return Err(CommandError::Syntax);
        }
        count = Some(int_argument(args.at(at + 1))?);
        at += 2;
    }
    // What cannot be read is refused whatever the key has.
    check_kind(Some(Kind::Stream), entry)?;
    let Some(stream) = entry.and_then(stream_of) else {
        reply.array(0);
        return Ok(());
    };
    if count.is_some_and(|count| count <= 0) {
        reply.null_array();
        return Ok(());
    }
    let count = match count {
        Some(count) => usize::try_from(count).unwrap_or(0),
        None => usize::MAX,
    };
    let first = stream.range(start, end, direction).take(count);
    let first: Vec<_> = first.take(AT_ONCE_MAX as usize + 1).collect();
    match entry.and_then(|entry| long(Some(entry), first.len() as u64)) {
        Some(tree) => reply.end_in_steps(Box::new(Ranging {
            stream: Held::new(tree.clone()),
            ends: (start, end),
            direction,
            next: Some(match direction {
                Direction::Forward => start,
                Direction::Back => end,
            }),
            left: count,
            counted: 0,
            gives: false,
            protocol: reply.protocol(),
        })),
        None => write_entries(reply, first.into_iter()),
    }
    Ok(())
}

/// A range under way: its entries are counted, and then given.
#[derive(Debug)]
struct Ranging {
    stream: Held,
    ends: (StreamId, StreamId),
    direction: Direction,
    /// The id to go on from; none at the end.
    next: Option<StreamId>,
    /// Entries that may still be counted, or are to be given.
    left: usize,
    counted: usize,
    gives: bool,
    protocol: Protocol,
}

impl Rest for Ranging {
    fn go_on(&mut self, out: &mut Vec<u8>) -> Progress {
        let mut reply = Reply::new(out, self.protocol);
        let (Some(next), Collection::Stream(stream)) = (self.next, &*self.stream) else {
            return self.turn(&mut reply);
        };
        let (start, end) = match self.direction {
            Direction::Forward => (next, self.ends.1),
            Direction::Back => (self.ends.0, next),
        };
        let some = self.left.min(if self.gives {
            STEP_ENTRIES
        } else {
            STEP_COUNTED
        });
        let begun = reply.position();
        let (mut taken, mut last) = (0, None);
        for entry in stream.range(start, end, self.direction).take(some) {
            if self.gives {
                write_entry(&mut reply, &entry);
            }
            (taken, last) = (taken + 1, Some(entry.id));
            if reply.position() - begun > STEP_BYTES {
                break;
            }
        }
        self.left -= taken;
        self.counted += taken;
        self.next = last
            .filter(|_| self.left > 0)
            .and_then(|id| match self.direction {
                Direction::Forward => id.next(),
                Direction::Back => id.previous(),
            });
        if self.next.is_none() {
            return self.turn(&mut reply);
        }
        Progress::More
    }
}

impl Ranging {
    /// Goes on with what comes behind a walk over all entries.
    fn turn(&mut self, reply: &mut Reply<'_>) -> Progress {
        if self.gives {
            return Progress::Done;
        }
        reply.array(self.counted);
        self.gives = true;
        self.left = self.counted;
        self.next = Some(match self.direction {
            Direction::Forward => self.ends.0,
            Direction::Back => self.ends.1,
        });
        Progress::More
    }
}

/// The id behind which a stream is read.
#[derive(Clone, Copy)]
pub(super) enum From {
    /// An id.
    Behind(StreamId),
    /// The last entry alone.
    Last,
    /// All that comes from now on.
    Now,
    /// All that is new to the group.
    New,
}

/// An id that cannot be read, and the place of its stream.
pub(super) struct Unreadable {
    index: usize,
    error: CommandError,
}

impl Unreadable {
    /// Refuses the stream at a place, if it is the one whose id cannot be read.
    pub(super) fn refuse(found: &mut Option<Self>, place: usize) -> Outcome {
        let here = found.take_if(|found| found.index == place);
        here.map_or(Ok(()), |found| Err(found.error))
    }
}

/// The arguments of XREAD and XREADGROUP.
pub(super) struct Read<'a> {
    pub(super) count: usize,
    /// The end of the time in which it waits, or that it waits without end.
    pub(super) until: Option<Option<Millis>>,
    pub(super) group: Option<(&'a [u8], &'a [u8])>,
    pub(super) no_ack: bool,
    pub(super) streams: Vec<(&'a [u8], From)>,
    /// The first id that cannot be read: the streams and groups up to it are looked for before.
    pub(super) unreadable: Option<Unreadable>,
    /// Place of the first id.
    ids_at: usize,
}

impl<'a> Read<'a> {
    pub(super) fn parse(
        args: &Args<'a>,
        now: Millis,
        is_group: bool,
    ) -> Result<Self, CommandError> {
        let mut read = Self {
            count: usize::MAX,
            until: None,
            group: None,
            no_ack: false,
            streams: Vec::new(),
            unreadable: None,
            ids_at: 0,
        };
        let mut at = 1;
        loop {
            let Some(option) = args.iter().nth(at) else {
                return Err(CommandError::Syntax);
            };
            let more = args.len() - at - 1;
            let option = option.to_ascii_lowercase();
            match &option[..] {
                b"block" if more > 0 => {
                    read.until = Some(until(args.at(at + 1), now)?);
                    at += 2;
                }
                b"count" if more > 0 => {
                    let count = int_argument(args.at(at + 1))?;
                    let count = usize::try_from(count).unwrap_or(0);
                    read.count = if count == 0 { usize::MAX } else { count };
                    at += 2;
                }
                b"streams" if more > 0 => {
                    at += 1;
                    break;
                }
                b"group" if more > 1 => {
                    if !is_group {
                        return Err(CommandError::Plain(
                            "The GROUP option is only supported by XREADGROUP. You called XREAD instead.",
                        ));
                    }
                    read.group = Some((args.at(at + 1), args.at(at + 2)));
                    at += 3;
                }
                b"noack" => {
                    if !is_group {
                        return Err(CommandError::Plain(
                            "The NOACK option is only supported by XREADGROUP. You called XREAD instead.",
                        ));
                    }
                    read.no_ack = true;
                    at += 1;
                }
                _ => return Err(CommandError::Syntax),
            }
        }
        read.read_streams(args, at, is_group)?;
        Ok(read)
    }

    fn read_streams(
        &mut self,
        args: &Args<'a>,
        at: usize,
        is_group: bool,
    ) -> Result<(), CommandError> {
        let left = args.len() - at;
        if !left.is_multiple_of(2) {
            return Err(CommandError::Plain(if is_group {
                "Unbalanced 'xreadgroup' list of streams: for each stream key an ID or '>' must be specified."
            } else {
                "Unbalanced 'xread' list of streams: for each stream key an ID, '+', or '$' must be specified."
            }));
        }
        if is_group && self.group.is_none() {
            return Err(CommandError::Plain("Missing GROUP option for XREADGROUP"));
        }
        self.ids_at = at + left / 2;
        for index in 0..left / 2 {
            let from = match from_argument(args.at(self.ids_at + index), is_group) {
                Err(error) => {
                    self.unreadable.get_or_insert(Unreadable { index, error });
                    From::New
                }
                Ok(from) => from,
            };
            self.streams.push((args.at(at + index), from));
        }
        Ok(())
    }

    /// The looks at its streams.
    pub(super) fn looks(&self, context: &PlanContext<'_>) -> Vec<Look<'a>> {
        let looks = self.streams.iter().map(|(key, from)| {
            let count = self.count;
            let part = match (*from, self.group) {
                (From::Behind(id), None) => StreamPart::Behind { id, count },
                (From::Behind(id), Some((group, consumer))) => StreamPart::History {
                    group,
                    consumer,
                    id,
                    count,
                },
                (From::New, Some((group, consumer))) => StreamPart::New {
                    group,
                    consumer,
                    count,
                },
                (From::Last | From::Now | From::New, _) => StreamPart::Last,
            };
            Look {
                part: Some(Part::Stream(part)),
                ..context.look(key, true)
            }
        });
        looks.collect()
    }
}

/// The end of the time that a command waits, in milliseconds from now; `None` for never.
fn until(text: &[u8], now: Millis) -> Result<Option<Millis>, CommandError> {
    let timeout = int_argument(text)
        .map_err(|_| CommandError::Plain("timeout is not an integer or out of range"))?;
    let timeout = u64::try_from(timeout).map_err(|_| CommandError::Plain("timeout is negative"))?;
    if timeout == 0 {
        return Ok(None);
    }
    let until = now.checked_add(timeout).filter(|at| *at <= i64::MAX as u64);
    let until = until.ok_or(CommandError::Plain("timeout is out of range"))?;
    Ok(Some(until))
}

fn from_argument(text: &[u8], is_group: bool) -> Result<From, CommandError> {
    match text {
        b"$" if is_group => Err(CommandError::Plain(
            "The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by \
             specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result \
             set.",
        )),
        b"+" if is_group => Err(CommandError::Plain(
            "The + ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by \
             specifying a proper ID, or use the > ID to get new messages. The + ID would just return an empty result \
             set.",
        )),
        b"$" => Ok(From::Now),
        b"+" => Ok(From::Last),
        b">" if is_group => Ok(From::New),
        b">" => Err(CommandError::Plain(
            "The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.",
        )),
        _ => strict_id(text, 0).map(From::Behind),
    }
}

pub(super) fn xread_look<'a>(
    context: &PlanContext<'_>,
    args: &Args<'a>,
    looks: &mut Vec<Look<'a>>,
) -> Outcome {
    looks.extend(Read::parse(args, context.now, false)?.looks(context));
    Ok(())
}

pub(super) fn xread_decide<'a>(
    context: &PlanContext<'a>,
    args: &Args<'a>,
    found: &[Found<'a>],
    _: &mut Vec<Change<'a>>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let mut read = Read::parse(args, context.now, false)?;
    let mut unreadable = read.unreadable.take();
    let mut streams = Vec::with_capacity(found.len());
    for entry in found {
        check_kind(Some(Kind::Stream), entry.as_ref())?;
        Unreadable::refuse(&mut unreadable, streams.len())?;
        streams.push(entry.as_ref().and_then(made_stream));
    }
    let mut given: Vec<(&[u8], &Stream, From)> = Vec::new();
    for ((key, from), stream) in read.streams.iter().zip(&streams) {
        let Some(stream) = stream.as_deref() else {
            continue;
        };
        let has_some = match *from {
            From::Behind(id) => super::last_entry_id(stream).is_some_and(|last| last > id),
            From::Last => stream.entries() > 0,
            From::Now | From::New => false,
        };
        if has_some {
            given.push((key, stream, *from));
        }
    }
    if given.is_empty() {
        let waits = read.until.is_some_and(|until| {
            context.wait_instead(until, Some(Box::new(resolved(&read, args, &streams))))
        });
        if !waits {
            reply.null_array();
        }
        return Ok(());
    }
    begin_streams(reply, given.len());
    for (key, stream, from) in given {
        if reply.protocol() == Protocol::Resp2 {
            reply.array(2);
        }
        reply.bulk(key);
        match from {
            From::Behind(id) => {
                let start = id.next().unwrap_or(StreamId::MAX);
                let entries = stream.range(start, StreamId::MAX, Direction::Forward);
                write_entries(reply, entries.take(read.count));
            }
            From::Last | From::Now | From::New => {
                let mut last = stream.range(StreamId::MIN, StreamId::MAX, Direction::Back);
                reply.array(1);
                if let Some(entry) = last.next() {
                    write_entry(reply, &entry);
                }
            }
        }
    }
    Ok(())
}

/// The arguments with the ids that stand for the present.
fn resolved(
    read: &Read<'_>,
    args: &Args<'_>,
    streams: &[Option<std::borrow::Cow<'_, Stream>>],
) -> ArgsBuffer {
    let mut ids = read.streams.iter().zip(streams).map(|((_, from), stream)| {
        let last = stream
            .as_deref()
            .map_or(StreamId::MIN, |stream| stream.last_id());
        match from {
            From::Behind(id) => *id,
            From::Last | From::Now | From::New => last,
        }
    });
    let mut resolved = ArgsBuffer::default();
    for (place, argument) in args.iter().enumerate() {
        match (place >= read.ids_at).then(|| ids.next()).flatten() {
            Some(id) => resolved.push(id.to_string().as_bytes()),
            None => resolved.push(argument),
        }
    }
    resolved
}

/// An id that begins or ends a range of pending entries.
pub(super) fn pending_end(text: &[u8], side: &Side) -> Result<StreamId, CommandError> {
    match text.first() {
        Some(b'(') => range_end(text, side),
        _ => id(
            text,
            match side {
                Side::Start => 0,
                Side::End => u64::MAX,
            },
        ),
    }
}
