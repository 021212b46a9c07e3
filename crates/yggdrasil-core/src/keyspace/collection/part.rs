//! Parts of collections, for commands that need no more.
//!
//! ```text
//! 16 | count: length     so many elements from the first on
//! 17 | count: length     so many elements up to the last
//! 18 | member: bytes     a member of a set, and another one if there is any
//! others                 those of streams
//! ```

use super::Collection;
use super::Packing;
use super::list::{ListView, Side};
use super::listpack::Element;
use super::set::{self, SetView};
use super::sorted_set::{SortedSetView, put_score};
use super::stream::StreamPart;
use super::wire::{Wire, put_bytes, put_length};
use crate::keyspace::kind::{Kind, Value};

const FIRST: u8 = 16;
const LAST: u8 = 17;
const MEMBER: u8 = 18;

/// How much of a collection is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part<'a> {
    /// So many elements of a list, or of a sorted set, from the first on.
    First(u64),
    /// So many elements of a list, or of a sorted set, up to the last.
    Last(u64),
    /// A member of a set, where it has that, and another one, where it has one.
    Member(&'a [u8]),
    Stream(StreamPart<'a>),
}

impl<'a> Part<'a> {
    /// Appends the part.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (tag, count) = match self {
            Self::First(count) => (FIRST, *count),
            Self::Last(count) => (LAST, *count),
            Self::Stream(part) => return part.encode(out),
            Self::Member(member) => {
                out.push(MEMBER);
                return put_bytes(out, member);
            }
        };
        out.push(tag);
        put_length(out, count as usize);
    }

    /// Reads what [`Part::encode`] wrote.
    pub fn decode(wire: &mut Wire<'a>) -> Option<Self> {
        let mut ahead = *wire;
        let tag = ahead.byte()?;
        if tag == MEMBER {
            let member = ahead.bytes()?;
            *wire = ahead;
            return Some(Self::Member(member));
        }
        if tag != FIRST && tag != LAST {
            return StreamPart::decode(wire).map(Self::Stream);
        }
        *wire = ahead;
        let count = wire.length()? as u64;
        Some(if tag == FIRST {
            Self::First(count)
        } else {
            Self::Last(count)
        })
    }

    /// The operations that make this part of a value; `None` where the whole value is to be taken.
    #[must_use]
    pub fn of(&self, kind: Kind, value: &Value<'_>) -> Option<Vec<u8>> {
        let is_here = matches!(value, Value::Bytes(_) | Value::Tree(_));
        let (side, count) = match (self, value) {
            _ if !is_here => return None,
            (Self::Member(member), _) => {
                return (kind == Kind::Set).then(|| of_set(member, value));
            }
            (Self::First(count), _) => (Side::Front, *count),
            (Self::Last(count), _) => (Side::Back, *count),
            (Self::Stream(part), Value::Tree(Collection::Stream(stream))) => {
                let mut ops = Vec::new();
                stream.write_part(part, &mut ops);
                return Some(ops);
            }
            (Self::Stream(_), _) => return None,
        };
        match kind {
            Kind::List => Some(ListView::of(value, &Packing::default()).written_end(side, count)),
            Kind::SortedSet => Some(end_of_sorted_set(side, count, value)),
            _ => None,
        }
    }
}

/// The operations that make a set of a member, where it is there, and of another one.
fn of_set(member: &[u8], value: &Value<'_>) -> Vec<u8> {
    let set = SetView::of(value, &Packing::default());
    let mut ops = Vec::new();
    if set.contains(member) {
        set::put_add(&mut ops, member);
    }
    let sought = Element::of(member);
    let another = set.members().find(|other| *other != sought);
    if let Some(another) = another {
        set::put_add(&mut ops, another.text(&mut itoa::Buffer::new()));
    }
    ops
}

/// The operations that make a sorted set of so many members of an end.
fn end_of_sorted_set(side: Side, count: u64, value: &Value<'_>) -> Vec<u8> {
    let set = SortedSetView::of(value, &Packing::default());
    let count = count.min(set.len());
    let span = match side {
        Side::Front => 0..count,
        Side::Back => set.len() - count..set.len(),
    };
    let (mut ops, mut buffer) = (Vec::new(), itoa::Buffer::new());
    set.visit(&span, |member, score| {
        put_score(&mut ops, member.text(&mut buffer), score);
    });
    ops
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back() {
        for part in [
            Part::First(0),
            Part::Last(1 << 40),
            Part::Member(b""),
            Part::Member(b"member"),
            Part::First(u64::MAX),
            Part::Stream(StreamPart::Last),
        ] {
            let mut bytes = Vec::new();
            part.encode(&mut bytes);
            assert_eq!(Part::decode(&mut Wire::new(&bytes)), Some(part));
        }
        assert_eq!(Part::decode(&mut Wire::new(b"\x12\x01")), None);
        assert_eq!(Part::decode(&mut Wire::new(b"\x13\x01")), None);
    }
}
