//! Running commands over keys that may belong to several shards, see [`Together`].
//!
//! The coordinator asks `look` what to see, collects it from the owners, asks `decide` what to change, and sends that to
//! the owners, who [`apply`] it. Within a shard a collection is seen by a clone, which takes constant time. What was
//! seen elsewhere travels as bytes:
//! ```text
//! present: u8 | bytes: u64 LE | effect that puts the entry
//! ```

use std::cell::RefCell;
use std::ops::Range;

use crate::commands::table::handler::{
    Change, Found, Further, Look, MayWait, Outcome, PlanContext, ShardContext, Together,
};
use crate::commands::table::made::Made;
use crate::keyspace::{Collection, Effect, EntryView, Key, Value, hash_key};
use crate::resp::{Args, Reply};

const MISSING: u8 = 0;
const PRESENT: u8 = 1;

/// What a shard has under the key of a look.
pub enum Seen {
    /// The place of its bytes among those of all looks.
    Bytes(Range<usize>),
    /// A collection with the entry around it.
    Tree(EntryView<'static>, Box<Collection>),
}

impl Seen {
    /// Looks; what travels as bytes is appended to those of other looks.
    pub fn look(context: &mut ShardContext<'_>, look: &Look<'_>, out: &mut Vec<u8>) -> Self {
        let key = key_of(context, look.db, look.key);
        context.note_miss(&key);
        let found = if context.untouched {
            context.shard.look(&key, context.now)
        } else {
            context.shard.use_entry(&key, context.now)
        };
        if let Some(entry) = found
            && let Value::Tree(tree) = entry.value
            && look.value
        {
            return Self::Tree(entry.with(Value::AtOwner), Box::new(tree.clone()));
        }
        let start = out.len();
        encode_look(found.as_ref(), look, out);
        Self::Bytes(start..out.len())
    }

    /// The same, with the bytes of all looks.
    pub fn found<'a>(&'a self, bytes: &'a [u8]) -> Found<'a> {
        match self {
            Self::Bytes(place) => decode(&bytes[place.clone()]).flatten(),
            Self::Tree(entry, tree) => Some(entry.with(Value::Tree(tree))),
        }
    }
}

/// Makes a change in the shard that owns its key.
pub fn apply(context: &mut ShardContext<'_>, change: &Change<'_>) -> Outcome {
    let key = key_of(context, change.db, change.key);
    context.shard.make(&key, &change.effect, context.now)?;
    for event in change.events {
        context.notify(*event, &key);
    }
    Ok(())
}

fn key_of<'k>(context: &ShardContext<'_>, db: u8, bytes: &'k [u8]) -> Key<'k> {
    Key {
        db,
        hash: hash_key(context.hash_seed, bytes),
        bytes,
    }
}

/// Appends an entry, or that there is none.
pub fn encode(entry: Option<&EntryView<'_>>, with_value: bool, out: &mut Vec<u8>) {
    let Some(entry) = entry else {
        out.push(MISSING);
        return;
    };
    out.push(PRESENT);
    out.extend(entry.total_bytes.to_le_bytes());
    let value = if with_value {
        entry.value
    } else {
        Value::Bytes(b"")
    };
    let put = Effect::Put {
        kind: entry.kind,
        value,
        expire_at: entry.expire_at,
        pinned_until: entry.pinned_until,
    };
    put.encode(out);
}

/// Appends what a look wants of an entry.
pub fn encode_look(entry: Option<&EntryView<'_>>, look: &Look<'_>, out: &mut Vec<u8>) {
    let part = look.part.zip(entry);
    let ops = part.and_then(|(part, entry)| part.of(entry.kind, &entry.value));
    match (entry, &ops) {
        (Some(entry), Some(ops)) => {
            let value = Value::Written(ops);
            encode(Some(&EntryView { value, ..*entry }), true, out);
        }
        _ => encode(entry, look.value, out),
    }
}

/// Reads what [`encode`] wrote; `None` for anything else.
pub fn decode(bytes: &[u8]) -> Option<Option<EntryView<'_>>> {
    let (tag, rest) = bytes.split_first()?;
    if *tag == MISSING {
        return rest.is_empty().then_some(None);
    }
    let (total_bytes, rest) = rest.split_first_chunk().filter(|_| *tag == PRESENT)?;
    let Ok(Effect::Put {
        kind,
        value,
        expire_at,
        pinned_until,
    }) = Effect::decode(rest)
    else {
        return None;
    };
    Some(Some(EntryView {
        kind,
        value,
        expire_at,
        version: 0,
        access: 0,
        total_bytes: u64::from_le_bytes(*total_bytes),
        pinned_until,
    }))
}

/// Runs the whole command in one shard that owns all its keys.
pub fn run_together(
    together: &Together,
    context: &mut ShardContext<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let (may_wait, further) = (MayWait::new(context.may_wait), Further::default());
    let mut looks = Vec::new();
    let (made, pins) = (Made::default(), context.shard.pins().room());
    let in_steps = RefCell::new(std::mem::take(&mut context.in_steps));
    let plan = PlanContext {
        db: context.db,
        now: context.now,
        limits: context.limits,
        pins: &pins,
        made: &made,
        may_wait: &may_wait,
        further: &further,
        in_steps: &in_steps,
        is_logged: context.shard.has_listener(),
    };
    (together.look)(&plan, args, &mut looks)?;
    let mut bytes = Vec::new();
    let mut seen = Vec::with_capacity(looks.len());
    for look in &looks {
        seen.push(Seen::look(context, look, &mut bytes));
    }
    let asked = {
        let found: Vec<_> = seen.iter().map(|seen| seen.found(&bytes)).collect();
        let mut changes = Vec::new();
        // The arguments are narrowed to the life of what was seen.
        let args: Args<'_> = *args;
        (together.decide)(&plan, &args, &found, &mut changes, reply)?;
        if in_steps.borrow().is_left() {
            context.in_steps = in_steps.take();
            return Ok(());
        }
        let asked = further.take();
        if asked.is_empty() {
            return finish(context, &changes, &may_wait);
        }
        asked
    };
    for key in &asked {
        seen.push(Seen::look(context, &plan.look(key, true), &mut bytes));
    }
    let found: Vec<_> = seen.iter().map(|seen| seen.found(&bytes)).collect();
    let mut changes = Vec::new();
    let args: Args<'_> = *args;
    (together.decide)(&plan, &args, &found, &mut changes, reply)?;
    finish(context, &changes, &may_wait)
}

/// Makes the changes that were decided, or waits.
fn finish(context: &mut ShardContext<'_>, changes: &[Change<'_>], may_wait: &MayWait) -> Outcome {
    if let Some(waits) = may_wait.asked() {
        // What is changed first is changed once: a later try finds it so.
        apply_all(context, changes)?;
        context.waits = Some(waits);
        return Ok(());
    }
    // What cannot be refused any more, or comes first, leaves nothing to undo.
    let behind = || changes.iter().skip(1);
    let may_be_refused = behind().any(|change| size_of_put(change).is_some());
    // How much room a change of a collection takes, only its making tells.
    let has_delta = behind().any(|change| matches!(change.effect, Effect::Delta { .. }));
    let sizes = changes.iter().filter_map(size_of_put);
    if has_delta || may_be_refused && !context.shard.has_room_for(sizes) {
        context.all_or_none(|context| apply_all(context, changes))
    } else {
        apply_all(context, changes)
    }
}

fn apply_all(context: &mut ShardContext<'_>, changes: &[Change<'_>]) -> Outcome {
    changes.iter().try_for_each(|change| apply(context, change))
}

/// Bytes of key and value of a change that may be refused for want of memory.
pub fn size_of_put(change: &Change<'_>) -> Option<(u64, u64)> {
    let value_bytes = match change.effect {
        Effect::Put { value, .. } => value.stored_len(),
        Effect::Splice { offset, bytes } => offset.saturating_add(bytes.len() as u64),
        _ => return None,
    };
    Some((change.key.len() as u64, value_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::Kind;
    use proptest::prelude::*;

    fn view(value: Value<'_>, expire_at: Option<u64>) -> EntryView<'_> {
        EntryView {
            kind: Kind::String,
            value,
            expire_at,
            version: 0,
            access: 0,
            total_bytes: 99,
            pinned_until: expire_at.map(|at| at ^ 1),
        }
    }

    fn there_and_back(entry: Option<EntryView<'_>>) {
        let mut bytes = Vec::new();
        encode(entry.as_ref(), true, &mut bytes);
        assert_eq!(decode(&bytes), Some(entry));
    }

    #[test]
    fn a_missing_entry_travels() {
        there_and_back(None);
    }

    #[test]
    fn a_value_is_left_out_where_it_is_not_wanted() {
        let mut bytes = Vec::new();
        encode(Some(&view(Value::Int(5), Some(7))), false, &mut bytes);
        assert_eq!(decode(&bytes), Some(Some(view(Value::Bytes(b""), Some(7)))));
    }

    #[test]
    fn what_was_never_encoded_is_refused() {
        for bytes in [
            &b""[..],
            b"\0a",
            b"\x02",
            b"\x08",
            b"\xff",
            b"\x01short",
            b"\x0112345678",
            b"\x0112345678\x04",
            b"\x0112345678\x01\x00\x01\x00too long for it",
            b"\x0212345678\x01\x00\x00\x00",
        ] {
            assert_eq!(decode(bytes), None, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn every_entry_travels(bytes: Vec<u8>, int: i64, expire_at: Option<u64>) {
            there_and_back(Some(view(Value::Bytes(&bytes), expire_at)));
            there_and_back(Some(view(Value::Int(int), expire_at)));
            let packed = EntryView { kind: Kind::Hash, ..view(Value::Bytes(&bytes), expire_at) };
            there_and_back(Some(packed));
        }

        #[test]
        fn no_bytes_are_too_strange_to_be_read(bytes: Vec<u8>) {
            decode(&bytes);
        }
    }
}
