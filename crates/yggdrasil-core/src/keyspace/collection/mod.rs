//! Collections: the values that have elements.
//!
//! A collection has three forms. A small one is *packed* into one entry, which every worker reads as it reads strings.
//! A large one is a *tree* on the heap of the owner, whose clone takes constant time. In messages and in the log it is
//! *written* as the operations that make it from nothing. The operations of a type are its one codec: commands change
//! a collection by them alone, and so do followers and whoever replays a log.

pub mod hash;
mod held;
pub mod intset;
pub mod list;
pub mod listpack;
pub mod map;
mod part;
pub mod set;
pub mod sorted_set;
pub mod stream;
pub mod table;
pub mod tree;
pub mod wire;

use std::fmt::Debug;

use self::hash::Hash;
pub use self::held::Held;
use self::list::List;
pub use self::part::Part;
use self::set::Set;
use self::sorted_set::SortedSet;
use self::stream::Stream;
use self::table::Table;
use self::tree::Wreckage;
use super::kind::Kind;

/// How collections are packed, and in which order large ones are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packing {
    /// Seed of the order of tables.
    pub seed: u64,
    /// Fields of a packed hash, and bytes of each field or value.
    pub hash_entries_max: usize,
    pub hash_value_bytes_max: usize,
    /// Bytes of a node of a list, or its elements.
    pub list_node: ListNode,
    /// Members of a set of integers, of another packed set, and bytes of each of its members.
    pub set_integers_max: usize,
    pub set_entries_max: usize,
    pub set_value_bytes_max: usize,
    /// Members of a packed sorted set, and bytes of each.
    pub sorted_set_entries_max: usize,
    pub sorted_set_value_bytes_max: usize,
    /// Bytes and entries of a node of a stream; 0 for no limit.
    pub stream_node_bytes_max: usize,
    pub stream_node_entries_max: usize,
}

/// The limit of a node of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ListNode {
    Bytes(usize),
    Entries(usize),
}

impl ListNode {
    /// Bytes of a node that -1, -2 ... stand for.
    const BYTES: [usize; 5] = [4096, 8192, 16_384, 32_768, 65_536];

    /// Bytes of a node whose limit is a number of elements.
    const SAFE_BYTES: usize = 8192;
    /// Nodes below both are small under any limit.
    pub(crate) const SMALL_BYTES: usize = 2048;
    pub(crate) const SMALL_LEN: usize = 64;

    /// True for a node of so many bytes and elements that is within the limit.
    #[must_use]
    pub fn allows(self, bytes: usize, len: usize) -> bool {
        match self {
            Self::Bytes(most) => bytes <= most,
            Self::Entries(most) => bytes <= Self::SAFE_BYTES && len <= most,
        }
    }

    /// True for a list of one node of so many bytes and elements that is small enough to be packed again: it may grow to
    /// twice of that before it is a tree once more.
    #[must_use]
    pub fn is_far_below(self, bytes: usize, len: usize) -> bool {
        match self {
            Self::Bytes(most) => bytes <= most / 2,
            Self::Entries(most) => len <= most / 2,
        }
    }

    /// Bytes that a node of several elements has at most.
    #[must_use]
    pub fn bytes_max(self) -> usize {
        match self {
            Self::Bytes(most) => most,
            Self::Entries(_) => Self::SAFE_BYTES,
        }
    }

    /// True for an element that is a node of its own.
    #[must_use]
    pub fn is_large(self, bytes: usize) -> bool {
        match self {
            Self::Bytes(most) => bytes > most,
            Self::Entries(_) => bytes > Self::SAFE_BYTES,
        }
    }

    /// The limit as Redis writes it: elements, or -1 to -5 for bytes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let number: i64 = text.parse().ok()?;
        match usize::try_from(number) {
            Ok(0) => None,
            Ok(elements) => Some(Self::Entries(elements)),
            Err(_) => {
                let index = usize::try_from(-(number + 1)).ok()?;
                Self::BYTES.get(index).copied().map(Self::Bytes)
            }
        }
    }
}

impl Default for Packing {
    fn default() -> Self {
        Self {
            seed: 0,
            hash_entries_max: 512,
            hash_value_bytes_max: 64,
            list_node: ListNode::Bytes(8192),
            set_integers_max: 512,
            set_entries_max: 128,
            set_value_bytes_max: 64,
            sorted_set_entries_max: 128,
            sorted_set_value_bytes_max: 64,
            stream_node_bytes_max: 4096,
            stream_node_entries_max: 100,
        }
    }
}

/// The outcome of operations on a packed collection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fit {
    /// The bytes are those of the changed collection.
    Packed,
    /// It does not fit any more; the bytes may be anything.
    TooLarge,
}

/// A type of collection.
pub trait Elements: Clone + Debug {
    /// An empty one.
    fn new(packing: &Packing) -> Self;

    /// True for bytes that are operations of this type.
    fn check(ops: &[u8]) -> bool;

    /// True for operations that only remove elements.
    fn only_removes(_ops: &[u8]) -> bool {
        false
    }

    /// The number of elements.
    fn len(&self) -> u64;

    /// True for a collection whose key is gone: of most types one without elements.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes on the heap.
    fn heap_bytes(&self) -> u64;

    /// Changes the collection by operations that [`Elements::check`] has seen. The outcome depends on nothing else;
    /// an operation on what is not there does nothing.
    fn apply(&mut self, ops: &[u8], packing: &Packing);

    /// The same for the packed form, where it exists. Empty bytes are an empty collection, before and after.
    fn apply_packed(packed: &mut Vec<u8>, ops: &[u8], packing: &Packing) -> Fit;

    /// The tree of a packed collection.
    fn unpack(packed: &[u8], packing: &Packing) -> Self;

    /// The packed form of what operations have made so small that it goes back to that. Most types stay trees.
    #[inline]
    fn packed_again(&self, _ops: &[u8], _packing: &Packing) -> Option<&[u8]> {
        None
    }

    /// Appends the operations that make the collection from nothing.
    fn write(&self, ops: &mut Vec<u8>) {
        self.write_from(0, usize::MAX, ops);
    }

    /// Appends a part of them, of about so many bytes: that which begins with the element at a position. Gives the
    /// position of the next part; none after the last one. All parts one after another make the collection.
    fn write_from(&self, position: u64, bytes: usize, ops: &mut Vec<u8>) -> Option<u64>;

    /// Gives the collection up, to be freed in steps.
    fn into_wreck(self) -> Box<dyn Wreckage>;
}

/// A collection on the heap of its owner.
#[derive(Clone, Debug)]
pub enum Collection {
    List(List),
    Set(Set),
    Stream(Stream),
    SortedSet(SortedSet),
    Hash(Hash),
}

/// Does the same with whatever type a collection has.
macro_rules! each {
    ($collection:expr, $name:ident => $body:expr) => {
        match $collection {
            Collection::List($name) => $body,
            Collection::Set($name) => $body,
            Collection::Stream($name) => $body,
            Collection::SortedSet($name) => $body,
            Collection::Hash($name) => $body,
        }
    };
}

/// Calls a function of the type that a kind has; kinds without elements give the last argument.
macro_rules! of_kind {
    ($kind:expr, $function:ident($($argument:expr),*), $map:path, $otherwise:expr) => {
        match $kind {
            Kind::List => $map(List::$function($($argument),*)),
            Kind::Set => $map(Set::$function($($argument),*)),
            Kind::Stream => $map(Stream::$function($($argument),*)),
            Kind::SortedSet => $map(SortedSet::$function($($argument),*)),
            Kind::Hash => $map(Hash::$function($($argument),*)),
            _ => $otherwise,
        }
    };
}

/// Gives its argument back.
fn same<T>(value: T) -> T {
    value
}

impl Collection {
    /// An empty collection of a kind that has elements.
    #[must_use]
    pub fn new(kind: Kind, packing: &Packing) -> Option<Self> {
        of_kind!(kind, new(packing), some, None)
    }

    /// The collection that operations make.
    #[must_use]
    pub fn written(kind: Kind, ops: &[u8], packing: &Packing) -> Option<Self> {
        let mut made = Self::new(kind, packing)?;
        made.apply(ops, packing);
        Some(made)
    }

    /// The collection of packed bytes.
    #[must_use]
    pub fn unpack(kind: Kind, packed: &[u8], packing: &Packing) -> Option<Self> {
        of_kind!(kind, unpack(packed, packing), some, None)
    }

    /// True for bytes that are operations on a collection of this kind.
    #[must_use]
    pub fn check(kind: Kind, ops: &[u8]) -> bool {
        of_kind!(kind, check(ops), same, false)
    }

    /// True for operations that only remove elements: memory does not refuse them.
    #[must_use]
    pub fn only_removes(kind: Kind, ops: &[u8]) -> bool {
        of_kind!(kind, only_removes(ops), same, false)
    }

    /// Changes packed bytes, see [`Elements::apply_packed`].
    pub fn apply_packed(kind: Kind, packed: &mut Vec<u8>, ops: &[u8], packing: &Packing) -> Fit {
        of_kind!(
            kind,
            apply_packed(packed, ops, packing),
            same,
            Fit::TooLarge
        )
    }

    /// Its packed form, if it goes back to that after these operations, see [`Elements::packed_again`].
    #[inline]
    #[must_use]
    pub fn packed_again(&self, ops: &[u8], packing: &Packing) -> Option<&[u8]> {
        each!(self, elements => elements.packed_again(ops, packing))
    }

    /// The kind of its values.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::List(_) => Kind::List,
            Self::Set(_) => Kind::Set,
            Self::Stream(_) => Kind::Stream,
            Self::SortedSet(_) => Kind::SortedSet,
            Self::Hash(_) => Kind::Hash,
        }
    }

    /// The number of elements.
    #[must_use]
    pub fn len(&self) -> u64 {
        each!(self, elements => elements.len())
    }

    /// True for a collection whose key is gone.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        each!(self, elements => elements.is_empty())
    }

    /// Bytes on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> u64 {
        each!(self, elements => elements.heap_bytes())
    }

    /// True for a hash with fields that expire.
    #[must_use]
    pub fn has_times(&self) -> bool {
        matches!(self, Self::Hash(hash) if hash.has_times())
    }

    /// The table of its members or fields, where it has one.
    #[must_use]
    pub fn table(&self) -> Option<&Table> {
        match self {
            Self::Set(set) => Some(set.table()),
            Self::Hash(hash) => Some(hash.table()),
            Self::SortedSet(set) => Some(set.scores()),
            Self::List(_) | Self::Stream(_) => None,
        }
    }

    /// Changes the collection, see [`Elements::apply`].
    pub fn apply(&mut self, ops: &[u8], packing: &Packing) {
        each!(self, elements => elements.apply(ops, packing));
    }

    /// Appends the operations that make it from nothing.
    pub fn write(&self, ops: &mut Vec<u8>) {
        each!(self, elements => elements.write(ops));
    }

    /// Appends a part of these operations, of about so many bytes: that which begins with the element at a position, which
    /// is 0 or what the part before gave. None after the last one.
    pub fn write_from(&self, position: u64, bytes: usize, ops: &mut Vec<u8>) -> Option<u64> {
        each!(self, elements => elements.write_from(position, bytes, ops))
    }

    /// Gives it up, to be freed in steps.
    #[must_use]
    pub fn into_wreck(self) -> Box<dyn Wreckage> {
        each!(self, elements => elements.into_wreck())
    }
}

fn some(made: impl Into<Collection>) -> Option<Collection> {
    Some(made.into())
}

impl From<List> for Collection {
    fn from(list: List) -> Self {
        Self::List(list)
    }
}

impl From<Hash> for Collection {
    fn from(hash: Hash) -> Self {
        Self::Hash(hash)
    }
}

impl From<Set> for Collection {
    fn from(set: Set) -> Self {
        Self::Set(set)
    }
}

impl From<Stream> for Collection {
    fn from(stream: Stream) -> Self {
        Self::Stream(stream)
    }
}

impl From<SortedSet> for Collection {
    fn from(set: SortedSet) -> Self {
        Self::SortedSet(set)
    }
}

/// Equal collections have the same operations that make them.
impl PartialEq for Collection {
    fn eq(&self, other: &Self) -> bool {
        if let (Self::List(one), Self::List(other)) = (self, other) {
            return one == other;
        }
        let written = |collection: &Self| {
            let mut ops = Vec::new();
            collection.write(&mut ops);
            ops
        };
        self.kind() == other.kind() && written(self) == written(other)
    }
}

impl Eq for Collection {}
