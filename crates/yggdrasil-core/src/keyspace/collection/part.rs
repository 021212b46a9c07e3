//! Parts of collections, for commands that need no more.
//!
//! ```text
//! 16 | count: length     so many elements from the first on
//! 17 | count: length     so many elements up to the last
//! others                 those of streams
//! ```

use super::Collection;
use super::Packing;
use super::list::{ListView, Side};
use super::stream::StreamPart;
use super::wire::{Wire, put_length};
use crate::keyspace::kind::{Kind, Value};

const FIRST: u8 = 16;
const LAST: u8 = 17;

/// How much of a collection is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part<'a> {
    /// So many elements of a list from the first on.
    First(u64),
    /// So many elements of a list up to the last.
    Last(u64),
    Stream(StreamPart<'a>),
}

impl<'a> Part<'a> {
    /// Appends the part.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (tag, count) = match self {
            Self::First(count) => (FIRST, *count),
            Self::Last(count) => (LAST, *count),
            Self::Stream(part) => return part.encode(out),
        };
        out.push(tag);
        put_length(out, count as usize);
    }

    /// Reads what [`Part::encode`] wrote.
    pub fn decode(wire: &mut Wire<'a>) -> Option<Self> {
        let mut ahead = *wire;
        let tag = ahead.byte()?;
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
        let (side, count) = match (self, value) {
            (Self::First(count), _) => (Side::Front, *count),
            (Self::Last(count), _) => (Side::Back, *count),
            (Self::Stream(part), Value::Tree(Collection::Stream(stream))) => {
                let mut ops = Vec::new();
                stream.write_part(part, &mut ops);
                return Some(ops);
            }
            (Self::Stream(_), _) => return None,
        };
        let is_here = matches!(value, Value::Bytes(_) | Value::Tree(_));
        (kind == Kind::List && is_here)
            .then(|| ListView::of(value, &Packing::default()).written_end(side, count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back() {
        for part in [
            Part::First(0),
            Part::Last(1 << 40),
            Part::Stream(StreamPart::Last),
        ] {
            let mut bytes = Vec::new();
            part.encode(&mut bytes);
            assert_eq!(Part::decode(&mut Wire::new(&bytes)), Some(part));
        }
        assert_eq!(Part::decode(&mut Wire::new(b"\x12\x01")), None);
    }
}
