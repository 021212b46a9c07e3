//! The members of a set, whatever form it has.

use std::ops::Range;

use crate::keyspace::collection::listpack::Element;
use crate::keyspace::collection::{Collection, Elements, Packing};
use crate::keyspace::kind::Value;

use super::{PackedSet, Set};

/// A set that is read.
#[derive(Clone, Debug)]
pub enum SetView<'a> {
    Packed(PackedSet<'a>),
    Tree(&'a Set),
    /// One that came from elsewhere.
    Made(Box<Set>),
}

/// A member: integers may be packed.
pub type Member<'a> = Element<'a>;

impl<'a> SetView<'a> {
    /// The set of a value; an empty one for what is no set.
    #[must_use]
    pub fn of(value: &Value<'a>, packing: &Packing) -> Self {
        match *value {
            Value::Bytes(packed) => Self::packed(packed),
            Value::Tree(Collection::Set(set)) => Self::Tree(set),
            Value::Written(ops) => {
                let mut set = Set::new(packing);
                set.apply(ops, packing);
                Self::Made(Box::new(set))
            }
            _ => Self::packed(b""),
        }
    }

    /// The set in the bytes of an entry.
    #[must_use]
    pub fn packed(packed: &'a [u8]) -> Self {
        Self::Packed(PackedSet::of(packed))
    }

    fn tree(&self) -> Option<&Set> {
        match self {
            Self::Packed(_) => None,
            Self::Tree(set) => Some(set),
            Self::Made(set) => Some(set),
        }
    }

    /// The number of members.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Packed(PackedSet::Integers(integers)) => integers.len() as u64,
            Self::Packed(PackedSet::Listpack(listpack)) => listpack.len() as u64,
            Self::Tree(set) => set.len(),
            Self::Made(set) => set.len(),
        }
    }

    /// True without members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True when a member is there.
    #[must_use]
    pub fn contains(&self, member: &[u8]) -> bool {
        match self {
            Self::Packed(PackedSet::Integers(integers)) => match Element::of(member) {
                Element::Int(number) => integers.contains(number),
                Element::Str(_) => false,
            },
            Self::Packed(PackedSet::Listpack(listpack)) => listpack
                .first()
                .is_some_and(|first| listpack.find(Element::of(member), first, 0).is_some()),
            Self::Tree(set) => set.table.contains(member),
            Self::Made(set) => set.table.contains(member),
        }
    }

    /// All members.
    pub fn members(&self) -> Box<dyn Iterator<Item = Member<'_>> + '_> {
        match self {
            Self::Packed(PackedSet::Integers(integers)) => {
                Box::new(integers.iter().map(Element::from))
            }
            Self::Packed(PackedSet::Listpack(listpack)) => Box::new(listpack.iter()),
            Self::Tree(_) | Self::Made(_) => {
                let rows = self.tree().map(|set| set.table.rows());
                Box::new(
                    rows.into_iter()
                        .flatten()
                        .map(|(member, _)| Element::Str(member)),
                )
            }
        }
    }

    /// Visits the members of some positions.
    pub fn visit_at(&self, positions: Range<u64>, mut visit: impl FnMut(Member<'_>)) {
        let count = (positions.end - positions.start) as usize;
        match self.tree() {
            Some(set) => {
                let rows = set.table.rows_from(positions.start).take(count);
                rows.for_each(|(member, _)| visit(Element::Str(member)));
            }
            None => {
                let members = self.members().skip(positions.start as usize);
                members.take(count).for_each(visit);
            }
        }
    }

    /// Visits all members.
    #[inline]
    pub fn visit(&self, mut visit: impl FnMut(Member<'_>)) {
        match self {
            Self::Packed(PackedSet::Integers(integers)) => {
                integers.iter().map(Element::from).for_each(visit);
            }
            Self::Packed(PackedSet::Listpack(listpack)) => listpack.iter().for_each(visit),
            Self::Tree(_) | Self::Made(_) => {
                if let Some(set) = self.tree() {
                    set.table.visit(|(member, _)| visit(Element::Str(member)));
                }
            }
        }
    }

    /// The member at a position; positions mean nothing but that each member has one.
    #[must_use]
    pub fn at(&self, position: u64) -> Option<Member<'_>> {
        match self {
            Self::Packed(PackedSet::Integers(integers)) => integers
                .get(usize::try_from(position).ok()?)
                .map(Element::from),
            Self::Packed(PackedSet::Listpack(listpack)) => {
                listpack.get(i64::try_from(position).ok()?)
            }
            Self::Tree(_) | Self::Made(_) => {
                let (member, _) = self.tree()?.table.at(position)?;
                Some(Element::Str(member))
            }
        }
    }

    /// Visits about `count` members from a cursor on. Returns the next cursor; 0 begins and ends.
    pub fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(Member<'_>)) -> u64 {
        match self.tree() {
            Some(set) => set
                .table
                .scan(cursor, count, |(member, _)| visit(Element::Str(member))),
            None => {
                self.visit(visit);
                0
            }
        }
    }

    /// The name of the form, as OBJECT ENCODING gives it.
    #[must_use]
    pub fn encoding_name(&self) -> &'static str {
        match self {
            Self::Packed(PackedSet::Integers(_)) => "intset",
            Self::Packed(PackedSet::Listpack(_)) => "listpack",
            Self::Tree(_) | Self::Made(_) => "hashtable",
        }
    }
}
