//! The kinds of values, and the ways they are stored. Both stand in the header of an entry.

use super::collection::Collection;
use super::effect::Effect;

/// The type of a value as its clients see it. One more number, 7, is left, and no other bit of the header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    String = 0,
    List = 1,
    Set = 2,
    SortedSet = 3,
    Hash = 4,
    Stream = 5,
    Vector = 6,
}

impl Kind {
    pub const ALL: [Kind; 7] = [
        Self::String,
        Self::List,
        Self::Set,
        Self::SortedSet,
        Self::Hash,
        Self::Stream,
        Self::Vector,
    ];

    /// The kind with a number.
    #[inline]
    pub fn numbered(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// The name that TYPE gives it.
    pub fn type_name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::List => "list",
            Self::Set => "set",
            Self::SortedSet => "zset",
            Self::Hash => "hash",
            Self::Stream => "stream",
            Self::Vector => "vectorset",
        }
    }
}

/// How the bytes of an entry are to be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Encoding {
    /// The bytes of a string, or a collection that is packed into one piece.
    Raw = 0,
    /// A string that is the decimal form of an integer of 8 bytes.
    Int = 1,
    /// The root of a collection whose elements lie elsewhere, where only the owner finds them.
    Tree = 2,
    /// The place of a value that is not in memory.
    Absent = 3,
}

impl Encoding {
    const ALL: [Encoding; 4] = [Self::Raw, Self::Int, Self::Tree, Self::Absent];

    /// The encoding with a number.
    #[inline]
    pub fn numbered(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// A value as clients of the keyspace give and get it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value<'a> {
    /// The bytes of a string, or of a packed collection.
    Bytes(&'a [u8]),
    /// A string that is the decimal form of an integer.
    Int(i64),
    /// A collection on the heap of its owner, see [`Encoding::Tree`].
    Tree(&'a Collection),
    /// The operations that make a collection: its form in messages and in the log.
    Written(&'a [u8]),
    /// A collection that only the owner of the shard finds, seen from outside.
    AtOwner,
    /// The place of a value, see [`Encoding::Absent`].
    Absent(&'a [u8]),
}

/// A value as it is stored.
#[derive(Clone, Copy)]
pub(super) struct Stored<'a> {
    pub(super) kind: Kind,
    pub(super) encoding: Encoding,
    pub(super) bytes: &'a [u8],
    /// The change that this is to others, where it is not that the key gets these bytes.
    pub(super) said: Option<&'a Effect<'a>>,
}

impl<'a> Stored<'a> {
    /// The bytes of a string.
    pub(super) fn string(bytes: &'a [u8]) -> Self {
        Self {
            kind: Kind::String,
            encoding: Encoding::Raw,
            bytes,
            said: None,
        }
    }
}

impl<'a> Value<'a> {
    /// The value that an entry holds, seen from outside; `None` for what no entry may hold.
    #[inline]
    pub(super) fn from_stored(kind: Kind, encoding: Encoding, bytes: &'a [u8]) -> Option<Self> {
        match encoding {
            Encoding::Raw => Some(Self::Bytes(bytes)),
            Encoding::Int if kind == Kind::String => {
                Some(Self::Int(i64::from_le_bytes(bytes.try_into().ok()?)))
            }
            Encoding::Tree if kind != Kind::String => Some(Self::AtOwner),
            Encoding::Absent => Some(Self::Absent(bytes)),
            Encoding::Int | Encoding::Tree => None,
        }
    }

    /// The stored form of a value that is no collection in a tree; the bytes of an integer are written to `int`.
    #[inline(always)]
    pub(super) fn stored<'b>(self, kind: Kind, int: &'b mut [u8; 8]) -> Stored<'b>
    where
        'a: 'b,
    {
        let (encoding, bytes) = match self {
            Self::Bytes(bytes) => (Encoding::Raw, bytes),
            Self::Int(number) => {
                *int = number.to_le_bytes();
                (Encoding::Int, &int[..])
            }
            Self::Tree(_) | Self::AtOwner => (Encoding::Tree, &[][..]),
            Self::Written(ops) => (Encoding::Tree, ops),
            Self::Absent(bytes) => (Encoding::Absent, bytes),
        };
        Stored {
            kind,
            encoding,
            bytes,
            said: None,
        }
    }

    /// Bytes that it takes in an entry, or on the heap.
    #[inline]
    pub fn stored_len(&self) -> u64 {
        match self {
            Self::Int(number) => size_of_val(number) as u64,
            Self::Bytes(bytes) | Self::Written(bytes) | Self::Absent(bytes) => bytes.len() as u64,
            Self::Tree(collection) => collection.heap_bytes(),
            Self::AtOwner => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_name_kinds_and_encodings_both_ways() {
        for number in 0..=u8::MAX {
            let kind = Kind::numbered(number);
            assert!(kind.is_none_or(|kind| kind as u8 == number));
            assert_eq!(kind.is_some(), number < 7);
            let encoding = Encoding::numbered(number);
            assert!(encoding.is_none_or(|encoding| encoding as u8 == number));
            assert_eq!(encoding.is_some(), number < 4);
        }
    }
}
