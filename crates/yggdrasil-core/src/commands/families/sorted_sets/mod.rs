//! Sorted sets.

pub(in crate::commands) mod algebra;
pub(in crate::commands) mod changes;
pub(in crate::commands) mod lookups;
pub(in crate::commands) mod pops;
pub(in crate::commands) mod ranges;
pub(in crate::commands) mod removals;
pub(in crate::commands) mod sampling;
pub(in crate::commands) mod store;

mod combining;
mod copying;
mod query;

use crate::commands::families::value::write_element;
use crate::commands::table::error::CommandError;
use crate::commands::table::handler::check_kind;
use crate::commands::table::key_use::KeyUse;
use crate::commands::table::spec::Docs;
use crate::keyspace::collection::listpack::Element;
use crate::keyspace::collection::sorted_set::SortedSetView;
use crate::keyspace::{EntryView, Kind, Packing};
use crate::resp::{Protocol, Reply, parse_double};

/// The documentation of a command without tips.
pub(super) const fn docs(
    summary: &'static str,
    since: &'static str,
    complexity: &'static str,
    syntax: &'static str,
    key_uses: &'static [KeyUse],
) -> Docs {
    Docs {
        summary,
        since,
        complexity,
        syntax,
        tips: &[],
        key_uses,
    }
}

/// The sorted set of an entry; an empty one without an entry.
///
/// # Errors
/// The value is of another kind.
pub(super) fn view_of<'a>(
    found: Option<&EntryView<'a>>,
) -> Result<SortedSetView<'a>, CommandError> {
    check_kind(Some(Kind::SortedSet), found)?;
    let value = found.map_or(crate::keyspace::Value::Bytes(b""), |entry| entry.value);
    Ok(SortedSetView::of(&value, &Packing::default()))
}

pub(super) fn score_argument(text: &[u8]) -> Result<f64, CommandError> {
    parse_double(text).ok_or(CommandError::NotAFloat)
}

/// Begins an array of members with their scores: pairs where the protocol has them, or one after the other.
fn begin_pairs(reply: &mut Reply<'_>, count: u64) {
    let count = count as usize;
    match reply.protocol() {
        Protocol::Resp2 => reply.array(2 * count),
        Protocol::Resp3 => reply.array(count),
    }
}

/// Writes an element of what [`begin_pairs`] has begun.
fn write_pair(reply: &mut Reply<'_>, member: Element<'_>, score: f64) {
    if reply.protocol() == Protocol::Resp3 {
        reply.array(2);
    }
    write_element(reply, member);
    reply.double(score);
}
