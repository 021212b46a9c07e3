//! Commands that add entries to a stream and remove them.

use crate::commands::families::removing::{self, AT_ONCE_MAX, Removal, remove};
use crate::commands::families::value::int_argument;
use crate::commands::table::error::CommandError;
use crate::commands::table::handler::{Outcome, ReadContext, ShardContext, Work};
use crate::keyspace::collection::stream::{Stream, StreamId, StreamOps, Trim};
use crate::keyspace::{EntryView, Key, KeyEvent, Kind};
use crate::resp::{Args, Progress, Reply};

use super::ids::{NewId, strict_id};
use super::{stream_of, write_id};

/// Entries that trimming by whole nodes removes at most when nothing is said, in nodes.
const NODES_MAX: u64 = 100;
/// The same where nodes have no limit of entries.
const ENTRIES_MAX: u64 = 10_000;

/// How a stream is to be trimmed.
#[derive(Clone, Copy)]
struct Trimming {
    trim: Trim,
    is_approximate: bool,
    limit: Option<u64>,
}

/// The options before the id of XADD, or behind the key of XTRIM.
#[derive(Default)]
struct Options {
    trimming: Option<Trimming>,
    no_stream: bool,
}

/// Reads options from a place on. Returns them with the place behind them.
fn options(
    args: &Args<'_>,
    mut at: usize,
    is_add: bool,
    default_limit: u64,
) -> Result<(Options, usize), CommandError> {
    let mut parsed = Options::default();
    let (mut limit, mut trim, mut is_approximate) = (None, None, false);
    while at < args.len() {
        let option = args.at(at);
        let is = |name: &[u8]| option.eq_ignore_ascii_case(name);
        let more = args.len() - at - 1;
        if more > 0 && (is(b"maxlen") || is(b"minid")) {
            at += 1;
            if more > 1 && matches!(args.at(at), b"~" | b"=") {
                is_approximate = args.at(at) == b"~";
                at += 1;
            }
            if trim.is_some() {
                return Err(CommandError::Plain(
                    "syntax error, MAXLEN and MINID options at the same time are not compatible",
                ));
            }
            trim = Some(if is(b"maxlen") {
                let length = u64::try_from(int_argument(args.at(at))?);
                Trim::Length(
                    length.map_err(|_| CommandError::Plain("The MAXLEN argument must be >= 0."))?,
                )
            } else {
                Trim::From(strict_id(args.at(at), 0)?)
            });
        } else if more > 0 && is(b"limit") {
            at += 1;
            let count = u64::try_from(int_argument(args.at(at))?);
            limit =
                Some(count.map_err(|_| CommandError::Plain("The LIMIT argument must be >= 0."))?);
        } else if is_add && is(b"nomkstream") {
            parsed.no_stream = true;
        } else if is_add {
            // The id is refused before options that do not fit together.
            NewId::parse(args.at(at))?;
            break;
        } else {
            return Err(CommandError::Syntax);
        }
        at += 1;
    }
    if limit.is_some() && trim.is_none() {
        return Err(CommandError::Plain(
            "syntax error, LIMIT cannot be used without specifying a trimming strategy",
        ));
    }
    if !is_add && trim.is_none() {
        return Err(CommandError::Plain(
            "syntax error, XTRIM must be called with at least one trimming strategy",
        ));
    }
    if limit.is_some() && !is_approximate {
        return Err(CommandError::Plain(
            "syntax error, LIMIT cannot be used without the special ~ option",
        ));
    }
    let limit = match limit {
        Some(0) => None,
        Some(limit) => Some(limit),
        None => Some(default_limit),
    };
    parsed.trimming = trim.map(|trim| Trimming {
        trim,
        is_approximate,
        limit,
    });
    Ok((parsed, at))
}

fn default_limit(context: &ShardContext<'_>) -> u64 {
    match context.shard.packing().stream_node_entries_max as u64 {
        0 => ENTRIES_MAX,
        entries => NODES_MAX * entries,
    }
}

impl Trimming {
    /// Entries at the front that go.
    fn excess(&self, stream: &Stream) -> u64 {
        stream.excess(self.trim, self.is_approximate, self.limit)
    }

    /// The same once a last entry is there.
    fn excess_with(&self, stream: &Stream, last: StreamId) -> u64 {
        let is_one_more = match self.trim {
            Trim::Length(length) => stream.entries() >= length,
            Trim::From(id) => last < id,
        };
        self.excess(stream) + u64::from(is_one_more && !self.is_approximate)
    }
}

pub(super) fn xadd(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    const ARITY: CommandError = CommandError::WrongArity("xadd");
    let (options, at) = options(args, 2, true, default_limit(context))?;
    let fields = at + 1;
    if fields >= args.len() {
        return Err(ARITY);
    }
    let new = NewId::parse(args.at(at))?;
    if !(args.len() - fields).is_multiple_of(2) {
        return Err(ARITY);
    }
    if let NewId::Exactly(StreamId::MIN) = new {
        return Err(CommandError::Plain(
            "The ID specified in XADD must be greater than 0-0",
        ));
    }
    let key = context.first_key(args.at(1));
    let now = context.now;
    let may_work_in_steps = context.may_work_in_steps();
    let mut ops = context.ops_of(args);
    let (entry, place) = context.to_change(Kind::Stream, &key)?;
    let found = entry.as_ref().and_then(stream_of);
    if found.is_none() && options.no_stream {
        reply.null();
        return Ok(());
    }
    let last = found.map_or(StreamId::MIN, Stream::last_id);
    let id = new.resolve(last, now)?;
    let excess = match (options.trimming, found) {
        (Some(trimming), Some(stream)) if may_work_in_steps => trimming.excess_with(stream, id),
        _ => 0,
    };
    StreamOps::new(&mut ops).add(id, args.slice(fields..args.len()).iter());
    if excess > AT_ONCE_MAX {
        write_id(reply, id);
        let key = args.at(1).to_vec();
        let trimming = None;
        let adding = || Adding {
            key,
            ops,
            excess,
            trimming,
        };
        context.work_in_steps(|| Box::new(adding()));
        return Ok(());
    }
    context.change_at(place, &key, Kind::Stream, ops)?;
    context.notify(KeyEvent::XAdd, &key);
    if let Some(trimming) = options.trimming {
        let excess = excess_of(context, &key, trimming)?;
        if excess > 0 {
            let mut ops = Vec::new();
            StreamOps::new(&mut ops).trim(excess);
            context.reduce(&key, Kind::Stream, &ops)?;
            context.notify(KeyEvent::XTrim, &key);
        }
    }
    write_id(reply, id);
    Ok(())
}

/// The number of entries that trimming removes from the stream of a key.
fn excess_of(
    context: &mut ShardContext<'_>,
    key: &Key<'_>,
    trimming: Trimming,
) -> Result<u64, CommandError> {
    let entry = context.of_kind(Kind::Stream, key)?;
    let found = entry.as_ref().and_then(stream_of);
    Ok(found.map_or(0, |stream| trimming.excess(stream)))
}

/// The removal of so many first entries.
fn first_entries(count: u64) -> Removal<impl FnMut(&mut Vec<u8>, u64) + 'static> {
    Removal {
        kind: Kind::Stream,
        count,
        bytes: 0,
        event: KeyEvent::XTrim,
        ops: |ops: &mut Vec<u8>, some: u64| StreamOps::new(ops).trim(some),
    }
}

/// XADD of an entry behind which very many others go.
#[derive(Debug)]
struct Adding {
    key: Vec<u8>,
    ops: Vec<u8>,
    excess: u64,
    /// What is done once the entry is there.
    trimming: Option<Box<dyn Work>>,
}

impl Work for Adding {
    fn go_on(
        &mut self,
        context: &mut ShardContext<'_>,
        reply: &mut Reply<'_>,
    ) -> Result<Progress, CommandError> {
        if let Some(trimming) = &mut self.trimming {
            return trimming.go_on(context, reply);
        }
        let key = context.key(&self.key);
        let trimming = removing::in_steps(context, &key, first_entries(self.excess))?;
        context.change(&key, Kind::Stream, &self.ops)?;
        context.notify(KeyEvent::XAdd, &key);
        self.trimming = Some(trimming);
        Ok(Progress::More)
    }
}

pub(super) fn xtrim(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let (options, _) = options(args, 2, false, default_limit(context))?;
    let key = context.first_key(args.at(1));
    let removed = match options.trimming {
        Some(trimming) => excess_of(context, &key, trimming)?,
        None => 0,
    };
    reply.count(removed);
    if removed > 0 {
        remove(context, &key, first_entries(removed))?;
    }
    Ok(())
}

pub(super) fn xdel(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let key = context.first_key(args.at(1));
    let entry = context.of_kind(Kind::Stream, &key)?;
    let Some(stream) = entry.as_ref().and_then(stream_of) else {
        reply.count(0);
        return Ok(());
    };
    let ids = args.iter().skip(2).map(|id| strict_id(id, 0));
    let mut ids: Vec<StreamId> = ids.collect::<Result<_, _>>()?;
    ids.retain(|id| stream.get(*id).is_some());
    ids.sort_unstable();
    ids.dedup();
    if !ids.is_empty() {
        let mut bytes = Vec::new();
        let mut ops = StreamOps::new(&mut bytes);
        ids.iter().for_each(|id| ops.delete(*id));
        context.reduce(&key, Kind::Stream, &bytes)?;
        context.notify(KeyEvent::XDel, &key);
    }
    reply.count(ids.len() as u64);
    Ok(())
}

/// The optional words of XSETID.
fn setid_options(args: &Args<'_>) -> Result<(Option<u64>, Option<StreamId>), CommandError> {
    let (mut added, mut deleted) = (None, None);
    let mut at = 3;
    while at < args.len() {
        let option = args.at(at);
        let value = args.iter().nth(at + 1).ok_or(CommandError::Syntax)?;
        if option.eq_ignore_ascii_case(b"entriesadded") {
            let count = u64::try_from(int_argument(value)?);
            added = Some(count.map_err(|_| CommandError::Plain("entries_added must be positive"))?);
        } else if option.eq_ignore_ascii_case(b"maxdeletedid") {
            deleted = Some(strict_id(value, 0)?);
        } else {
            return Err(CommandError::Syntax);
        }
        at += 2;
    }
    Ok((added, deleted))
}

pub(super) fn xsetid(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let last = strict_id(args.at(2), 0)?;
    let (added, deleted) = setid_options(args)?;
    if deleted.is_some_and(|deleted| last < deleted) {
        return Err(CommandError::Plain(
            "The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
        ));
    }
    let key = context.first_key(args.at(1));
    let entry = context.of_kind(Kind::Stream, &key)?;
    let stream = entry.as_ref().and_then(stream_of);
    let stream = stream.ok_or(CommandError::NoSuchKey)?;
    let top = super::last_entry_id(stream);
    if last < stream.max_deleted_id() {
        return Err(CommandError::Plain(
            "The ID specified in XSETID is smaller than current max_deleted_entry_id",
        ));
    }
    if top.is_some_and(|top| last < top) {
        return Err(CommandError::Plain(
            "The ID specified in XSETID is smaller than the target stream top item",
        ));
    }
    if added.is_some_and(|added| added < stream.entries()) {
        return Err(CommandError::Plain(
            "The entries_added specified in XSETID is smaller than the target stream length",
        ));
    }
    let added = added.unwrap_or(stream.entries_added());
    let deleted = deleted
        .filter(|deleted| *deleted != StreamId::MIN)
        .unwrap_or(stream.max_deleted_id());
    let mut ops = Vec::new();
    StreamOps::new(&mut ops).set(last, added, deleted);
    context.change(&key, Kind::Stream, &ops)?;
    context.notify(KeyEvent::XSetId, &key);
    reply.ok();
    Ok(())
}

pub(super) fn xlen(
    _: &ReadContext<'_>,
    entry: Option<&EntryView<'_>>,
    _: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    reply.count(entry.and_then(stream_of).map_or(0, Stream::entries));
    Ok(())
}
