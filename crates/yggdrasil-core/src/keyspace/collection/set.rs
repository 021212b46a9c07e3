//! Sets: packed as a set of integers or as a listpack, and as a table.
//!
//! ```text
//! packed       0 | listpack of the members
//!              1 | set of integers
//! operations   1 | member        adds it
//!              2 | member        removes it
//! ```

mod view;

pub use self::view::{Member, SetView};
use super::intset::{Intset, IntsetBuf};
use super::listpack::{Element, Listpack, ListpackBuf};
use super::table::Table;
use super::tree::Wreckage;
use super::wire::{Wire, put_bytes};
use super::{Elements, Fit, Packing};

const LISTPACK: u8 = 0;
const INTEGERS: u8 = 1;

const ADD: u8 = 1;
const REMOVE: u8 = 2;

/// Appends the operation that adds a member.
pub fn put_add(ops: &mut Vec<u8>, member: &[u8]) {
    ops.push(ADD);
    put_bytes(ops, member);
}

/// Appends the operation that removes a member.
pub fn put_remove(ops: &mut Vec<u8>, member: &[u8]) {
    ops.push(REMOVE);
    put_bytes(ops, member);
}

/// An operation.
enum Op<'a> {
    Add(&'a [u8]),
    Remove(&'a [u8]),
}

fn next_op<'a>(wire: &mut Wire<'a>) -> Option<Op<'a>> {
    match wire.byte()? {
        ADD => wire.bytes().map(Op::Add),
        REMOVE => wire.bytes().map(Op::Remove),
        _ => None,
    }
}

/// A set that is not packed.
#[derive(Clone, Debug)]
pub struct Set {
    table: Table,
}

impl Set {
    /// The members.
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.table
    }
}

impl Elements for Set {
    fn new(packing: &Packing) -> Self {
        Self {
            table: Table::new(packing.seed),
        }
    }

    fn check(ops: &[u8]) -> bool {
        let mut wire = Wire::new(ops);
        while !wire.is_empty() {
            if next_op(&mut wire).is_none() {
                return false;
            }
        }
        true
    }

    fn len(&self) -> u64 {
        self.table.len()
    }

    fn heap_bytes(&self) -> u64 {
        self.table.heap_bytes()
    }

    fn apply(&mut self, ops: &[u8], _: &Packing) {
        let mut wire = Wire::new(ops);
        while let Some(op) = next_op(&mut wire) {
            match op {
                Op::Add(member) => self.table.insert(member, b""),
                Op::Remove(member) => self.table.remove(member),
            };
        }
    }

    fn apply_packed(packed: &mut Vec<u8>, ops: &[u8], packing: &Packing) -> Fit {
        let mut small = Small::open(packed);
        let mut wire = Wire::new(ops);
        while let Some(op) = next_op(&mut wire) {
            match op {
                Op::Add(member) => {
                    if small.add(member, packing) == Fit::TooLarge {
                        return Fit::TooLarge;
                    }
                }
                Op::Remove(member) => small.remove(member),
            }
        }
        small.close(packed);
        Fit::Packed
    }

    fn unpack(packed: &[u8], packing: &Packing) -> Self {
        let mut set = Self::new(packing);
        let mut buffer = itoa::Buffer::new();
        for member in SetView::packed(packed).members() {
            set.table.insert(member.text(&mut buffer), b"");
        }
        set
    }

    fn write_from(&self, position: u64, bytes: usize, ops: &mut Vec<u8>) -> Option<u64> {
        let end = ops.len().saturating_add(bytes);
        for (position, (member, _)) in (position..).zip(self.table.rows_from(position)) {
            if ops.len() >= end {
                return Some(position);
            }
            put_add(ops, member);
        }
        None
    }

    fn into_wreck(self) -> Box<dyn Wreckage> {
        self.table.into_wreck()
    }
}

/// A packed set that is being changed.
enum Small {
    Integers(IntsetBuf),
    Listpack(ListpackBuf),
}

impl Small {
    /// Takes the bytes of an entry, until [`Small::close`].
    fn open(packed: &mut Vec<u8>) -> Self {
        let mut bytes = std::mem::take(packed);
        if bytes.is_empty() {
            return Self::Integers(IntsetBuf::new());
        }
        match bytes.remove(0) {
            LISTPACK => Self::Listpack(ListpackBuf::trusted(bytes)),
            _ => Self::Integers(IntsetBuf::trusted(bytes)),
        }
    }

    fn close(self, packed: &mut Vec<u8>) {
        let (first, is_empty, bytes) = match self {
            Self::Integers(integers) => {
                (INTEGERS, integers.view().is_empty(), integers.into_bytes())
            }
            Self::Listpack(listpack) => {
                (LISTPACK, listpack.view().is_empty(), listpack.into_bytes())
            }
        };
        *packed = bytes;
        if is_empty {
            packed.clear();
        } else {
            packed.insert(0, first);
        }
    }

    fn add(&mut self, member: &[u8], packing: &Packing) -> Fit {
        match (&mut *self, Element::of(member)) {
            (Self::Integers(integers), Element::Int(number)) => {
                integers.insert(number);
                if integers.view().len() > packing.set_integers_max {
                    return Fit::TooLarge;
                }
            }
            (Self::Integers(integers), element) => {
                let members = integers.view().iter().map(Element::from);
                let mut listpack: ListpackBuf = members.collect();
                listpack.push_back(element);
                *self = Self::Listpack(listpack);
                return self.check_listpack(element, packing);
            }
            (Self::Listpack(listpack), element) => {
                let view = listpack.view();
                let first = view.first();
                if first.is_none_or(|first| view.find(element, first, 0).is_none()) {
                    listpack.push_back(element);
                    return self.check_listpack(element, packing);
                }
            }
        }
        Fit::Packed
    }

    fn check_listpack(&self, added: Element<'_>, packing: &Packing) -> Fit {
        let Self::Listpack(listpack) = self else {
            return Fit::Packed;
        };
        let is_many = listpack.view().len() > packing.set_entries_max;
        if is_many || added.text_len() > packing.set_value_bytes_max {
            return Fit::TooLarge;
        }
        Fit::Packed
    }

    fn remove(&mut self, member: &[u8]) {
        match (self, Element::of(member)) {
            (Self::Integers(integers), Element::Int(number)) => {
                integers.remove(number);
            }
            (Self::Integers(_), _) => {}
            (Self::Listpack(listpack), element) => {
                let view = listpack.view();
                let found = view.first().and_then(|first| view.find(element, first, 0));
                if let Some(at) = found {
                    listpack.remove(at, 1);
                }
            }
        }
    }
}

/// The packed form, as it is.
#[derive(Clone, Copy, Debug)]
pub enum PackedSet<'a> {
    Integers(Intset<'a>),
    Listpack(Listpack<'a>),
}

impl<'a> PackedSet<'a> {
    /// The set in the bytes of an entry.
    #[must_use]
    pub fn of(packed: &'a [u8]) -> Self {
        match packed.split_first() {
            Some((&INTEGERS, bytes)) => Self::Integers(Intset::trusted(bytes)),
            Some((_, bytes)) => Self::Listpack(Listpack::trusted(bytes)),
            None => Self::Listpack(Listpack::trusted(b"")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::keyspace::{Kind, Value};

    fn members() -> impl Strategy<Value = Vec<(bool, Vec<u8>)>> {
        let number = (-20..2000_i64).prop_map(|number| number.to_string().into_bytes());
        let text = prop::collection::vec(any::<u8>(), 0..80);
        let member = prop_oneof![6 => number, 1 => text];
        prop::collection::vec((prop::bool::weighted(0.7), member), 0..200)
    }

    proptest! {
        #[test]
        fn every_form_has_the_same_members(changes in members(), integers in 0..100_usize, entries in 0..50_usize) {
            let packing = Packing {
                set_integers_max: integers,
                set_entries_max: entries,
                ..Packing::default()
            };
            let mut model = BTreeSet::new();
            let (mut packed, mut fits) = (Vec::new(), true);
            let mut set = Set::new(&packing);
            for (adds, member) in &changes {
                let mut ops = Vec::new();
                if *adds {
                    put_add(&mut ops, member);
                    model.insert(member.clone());
                } else {
                    put_remove(&mut ops, member);
                    model.remove(member);
                }
                prop_assert!(Set::check(&ops));
                set.apply(&ops, &packing);
                fits = fits && Set::apply_packed(&mut packed, &ops, &packing) == Fit::Packed;
            }
            let mut ops = Vec::new();
            set.write(&mut ops);
            let collection = crate::keyspace::Collection::from(set);
            let mut views = vec![SetView::of(&Value::Tree(&collection), &packing), SetView::of(&Value::Written(&ops), &packing)];
            if fits {
                views.push(SetView::of(&Value::Bytes(&packed), &packing));
            }
            for view in views {
                prop_assert_eq!(view.len(), model.len() as u64);
                let members: BTreeSet<Vec<u8>> = view.members().map(Member::to_vec).collect();
                prop_assert_eq!(&members, &model);
                prop_assert!(model.iter().all(|member| view.contains(member)));
                prop_assert!(!view.contains(b"never there"));
            }
            prop_assert_eq!(collection.kind(), Kind::Set);
        }

        #[test]
        fn no_operations_are_too_strange_to_be_checked(ops: Vec<u8>) {
            if Set::check(&ops) {
                let packing = Packing::default();
                Set::new(&packing).apply(&ops, &packing);
                Set::apply_packed(&mut Vec::new(), &ops, &packing);
            }
        }
    }
}
