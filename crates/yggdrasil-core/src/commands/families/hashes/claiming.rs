//! Fields of many hashes that are given to whoever comes first.

use crate::commands::families::value::write_element;
use crate::commands::table::error::CommandError;
use crate::commands::table::handler::{Outcome, ShardContext, check_kind};
use crate::keyspace::collection::hash::put_set;
use crate::keyspace::{KeyEvent, Kind, Value};
use crate::resp::{Args, Reply};

use super::{CLAIM_STEP, hash_of};

/// Keys that are prefetched together.
const KEYS_AHEAD: usize = 32;
/// Bytes up to which a hash surely stays packed, and how much more than its bytes and those of new fields it may take.
const SURE_BYTES_MAX: u64 = 4096;
const SURE_SHARE: u64 = 4;

/// Each claim is decided behind those before it, so of two for one field the first one counts.
pub(super) fn hclaim(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    if !(args.len() - 1).is_multiple_of(usize::from(CLAIM_STEP)) {
        return Err(CommandError::WrongArity("hclaim"));
    }
    reply.array(args.len() / usize::from(CLAIM_STEP));
    if is_sure(context, args)? {
        return claim_all(context, args, reply);
    }
    context.all_or_none(|context| claim_all(context, args, reply))
}

fn claim_all(context: &mut ShardContext<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    for place in places(args) {
        claim(context, args, place, reply)?;
    }
    Ok(())
}

/// The places of the keys, with a field and a value behind each.
fn places(args: &Args<'_>) -> impl Iterator<Item = usize> {
    (1..args.len()).step_by(usize::from(CLAIM_STEP))
}

/// True where nothing can refuse any of the claims. Fails where a key has a value of another kind.
fn is_sure(context: &ShardContext<'_>, args: &Args<'_>) -> Result<bool, CommandError> {
    let mut sizes = Vec::with_capacity(args.len() / usize::from(CLAIM_STEP));
    let mut places = places(args);
    loop {
        let ahead: Vec<_> = places.by_ref().take(KEYS_AHEAD).collect();
        if ahead.is_empty() {
            return Ok(context.shard.has_room_for(sizes.into_iter()));
        }
        let keys: Vec<_> = ahead
            .iter()
            .map(|&place| context.key(args.at(place)))
            .collect();
        let homes: Vec<_> = keys
            .iter()
            .map(|key| context.shard.prefetch_index(key))
            .collect();
        for (key, &home) in keys.iter().zip(&homes) {
            context.shard.prefetch_entry(home, key.hash);
        }
        for (key, &place) in keys.iter().zip(&ahead) {
            let found = context.shard.look(key, context.now);
            check_kind(Some(Kind::Hash), found.as_ref())?;
            let known = match found.map(|entry| entry.value) {
                None => 0,
                Some(Value::Bytes(packed)) => packed.len() as u64,
                Some(_) => return Ok(false),
            };
            let bytes = known + (args.at(place + 1).len() + args.at(place + 2).len()) as u64;
            if bytes > SURE_BYTES_MAX {
                return Ok(false);
            }
            sizes.push((key.bytes.len() as u64, SURE_SHARE * bytes));
        }
    }
}

/// Gives one field its value, or replies with that of who came first.
fn claim(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    place: usize,
    reply: &mut Reply<'_>,
) -> Outcome {
    let (field, value) = (args.at(place + 1), args.at(place + 2));
    let key = context.key(args.at(place));
    let now = context.now;
    let (entry, at) = context.to_change(Kind::Hash, &key)?;
    if let Some(cell) = hash_of(entry.as_ref(), now).get(field) {
        write_element(reply, cell.value);
        return Ok(());
    }
    let mut ops = context.ops_of(args);
    put_set(&mut ops, field, value, None);
    context.change_at(at, &key, Kind::Hash, ops)?;
    context.notify(KeyEvent::HSet, &key);
    reply.null();
    Ok(())
}
