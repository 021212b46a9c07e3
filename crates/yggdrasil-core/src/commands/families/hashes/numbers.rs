//! Fields that are numbers.

use crate::commands::codecs::long_double::LongDouble;
use crate::commands::families::value::int_argument;
use crate::commands::table::error::CommandError;
use crate::commands::table::handler::{Outcome, ShardContext};
use crate::keyspace::collection::hash::put_set;
use crate::keyspace::collection::listpack::Element;
use crate::keyspace::{KeyEvent, Kind};
use crate::resp::{Args, Reply};

use super::hash_of;

pub(super) fn hincrby(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let amount = int_argument(args.at(3))?;
    let (key, now) = (context.first_key(&args[1]), context.now);
    let mut ops = context.ops_of(args);
    let (entry, at) = context.to_change(Kind::Hash, &key)?;
    let hash = hash_of(entry.as_ref(), now);
    let known = hash.get(args.at(2));
    let before = match known.map(|cell| cell.value) {
        None => 0,
        Some(Element::Int(number)) => number,
        Some(Element::Str(text)) => {
            int_argument(text).map_err(|_| CommandError::Plain("hash value is not an integer"))?
        }
    };
    let sum = before
        .checked_add(amount)
        .ok_or(CommandError::WouldOverflow)?;
    let expire_at = known.and_then(|cell| cell.expire_at);
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(sum).as_bytes();
    put_set(&mut ops, args.at(2), digits, expire_at);
    context.change_at(at, &key, Kind::Hash, ops)?;
    context.notify(KeyEvent::HIncrBy, &key);
    reply.int(sum);
    Ok(())
}

pub(super) fn hincrbyfloat(
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let amount = LongDouble::parse(args.at(3)).ok_or(CommandError::NotAFloat)?;
    if !amount.is_finite() {
        return Err(CommandError::Plain("value is NaN or Infinity"));
    }
    let (key, now) = (context.first_key(&args[1]), context.now);
    let mut ops = context.ops_of(args);
    let (entry, at) = context.to_change(Kind::Hash, &key)?;
    let hash = hash_of(entry.as_ref(), now);
    let known = hash.get(args.at(2));
    let before = match known.map(|cell| cell.value) {
        None => LongDouble::from_int(0),
        Some(Element::Int(number)) => LongDouble::from_int(number),
        Some(Element::Str(text)) => {
            LongDouble::parse(text).ok_or(CommandError::Plain("hash value is not a float"))?
        }
    };
    let sum = before
        .add(amount)
        .and_then(LongDouble::print)
        .ok_or(CommandError::WouldBeInfinite)?;
    let expire_at = known.and_then(|cell| cell.expire_at);
    put_set(&mut ops, args.at(2), sum.as_bytes(), expire_at);
    context.change_at(at, &key, Kind::Hash, ops)?;
    context.notify(KeyEvent::HIncrByFloat, &key);
    reply.bulk(sum.as_bytes());
    Ok(())
}
