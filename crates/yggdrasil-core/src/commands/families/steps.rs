//! Replies with so many elements that they are made in steps, from a collection as it was at one moment.

use std::fmt;
use std::ops::Range;

use crate::keyspace::collection::Held;
use crate::keyspace::{Collection, EntryView, Packing, Value};
use crate::resp::{Progress, Protocol, Reply, Rest};

/// Elements, and their bytes, up to which a reply is made, or a collection stored, at once.
pub(in crate::commands) const AT_ONCE_MAX: u64 = 1024;
pub(in crate::commands) const BYTES_AT_ONCE_MAX: u64 = 256 * 1024;

/// A step ends behind so many bytes.
pub(in crate::commands) const STEP_BYTES: usize = 64 * 1024;
/// Elements between two looks at the bytes, where they are short.
const CHUNK: u64 = 128;

/// Elements of a step where each is next to the one before, and where each is sought.
pub(in crate::commands) const STEP_NEXT: u64 = 2048;
pub(in crate::commands) const STEP_SOUGHT: u64 = 512;

/// Bytes of an element, on average.
fn bytes_each(collection: &Collection) -> u64 {
    collection.heap_bytes() / collection.len().max(1)
}

/// The tree of an entry of which a reply gives so many elements, where that reply is made in steps.
#[inline]
pub(in crate::commands) fn long<'a>(
    entry: Option<&EntryView<'a>>,
    count: u64,
) -> Option<&'a Collection> {
    match entry?.value {
        Value::Tree(tree) => {
            let is_long = count > AT_ONCE_MAX || {
                count > 1 && count.saturating_mul(bytes_each(tree)) > BYTES_AT_ONCE_MAX
            };
            is_long.then_some(tree)
        }
        _ => None,
    }
}

/// The collection of an entry, whatever its form, to be read when the entry may be gone.
pub(in crate::commands) fn hold(entry: &EntryView<'_>) -> Option<Collection> {
    match entry.value {
        Value::Tree(tree) => Some(tree.clone()),
        Value::Bytes(packed) => Collection::unpack(entry.kind, packed, &Packing::default()),
        Value::Written(ops) => Collection::written(entry.kind, ops, &Packing::default()),
        _ => None,
    }
}

/// Ends a reply by the elements of some positions, which `write` writes.
pub(in crate::commands) fn write_in_steps<W>(
    reply: &mut Reply<'_>,
    collection: &Collection,
    positions: Range<u64>,
    write: W,
) where
    W: FnMut(&Collection, Range<u64>, &mut Reply<'_>) + 'static,
{
    write_held(reply, collection.clone(), positions, STEP_NEXT, write);
}

/// The same of a collection that nobody else has, or a clone, so many elements a step.
pub(in crate::commands) fn write_held<W>(
    reply: &mut Reply<'_>,
    collection: Collection,
    positions: Range<u64>,
    elements: u64,
    write: W,
) where
    W: FnMut(&Collection, Range<u64>, &mut Reply<'_>) + 'static,
{
    let chunk = (STEP_BYTES as u64 / 4 / bytes_each(&collection).max(1)).clamp(1, CHUNK);
    let protocol = reply.protocol();
    reply.end_in_steps(Box::new(Elements {
        held: Held::new(collection),
        left: positions,
        elements,
        chunk,
        protocol,
        write,
    }));
}

/// Elements that are still to be written.
struct Elements<W> {
    held: Held,
    left: Range<u64>,
    /// Elements of a step.
    elements: u64,
    chunk: u64,
    protocol: Protocol,
    write: W,
}

impl<W> fmt::Debug for Elements<W> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Elements({:?})", self.left)
    }
}

impl<W: FnMut(&Collection, Range<u64>, &mut Reply<'_>)> Rest for Elements<W> {
    fn go_on(&mut self, out: &mut Vec<u8>) -> Progress {
        let start = out.len();
        let step_end = self
            .left
            .end
            .min(self.left.start.saturating_add(self.elements));
        let mut reply = Reply::new(out, self.protocol);
        while self.left.start < step_end && reply.position() - start < STEP_BYTES {
            let end = step_end.min(self.left.start + self.chunk);
            (self.write)(&self.held, self.left.start..end, &mut reply);
            self.left.start = end;
        }
        if self.left.is_empty() {
            Progress::Done
        } else {
            Progress::More
        }
    }
}
