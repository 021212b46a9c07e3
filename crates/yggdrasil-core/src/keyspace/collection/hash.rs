//! Hashes, whose fields may expire: packed as a listpack of pairs or of triples, and as a table.
//!
//! ```text
//! packed       0 | listpack of fields, each with its value
//!              1 | listpack of fields, each with its value and the time when it expires, in the order of these times;
//!                  0 for never, which comes last
//! operations   1 | field | value            gives a field a value; it never expires
//!              2 | field | value | u64      gives it a value, and the time when it expires
//!              3 | field                    removes it
//!              4 | field | u64              changes when it expires, 0 for never
//! ```
//! Fields that have expired stand there until an operation removes them. Whoever reads passes over them.

mod dues;
mod packed;
#[cfg(test)]
mod tests;
mod view;

use self::dues::Dues;
use self::packed::Small;
pub use self::packed::{PackedHash, format};
pub use self::view::{Cell, HashView, Row};
use super::listpack::Element;
use super::table::Table;
use super::tree::{Wreckage, Wrecks};
use super::wire::{Wire, put_bytes};
use super::{Elements, Fit, Packing};
use crate::keyspace::types::Millis;

const SET: u8 = 1;
const SET_UNTIL: u8 = 2;
const REMOVE: u8 = 3;
const EXPIRE: u8 = 4;

/// Appends the operation that gives a field a value, and the time when it expires, if ever.
pub fn put_set(ops: &mut Vec<u8>, field: &[u8], value: &[u8], expire_at: Option<Millis>) {
    ops.push(if expire_at.is_some() { SET_UNTIL } else { SET });
    put_bytes(ops, field);
    put_bytes(ops, value);
    if let Some(at) = expire_at {
        ops.extend(at.to_le_bytes());
    }
}

/// Appends the operation that removes a field.
pub fn put_remove(ops: &mut Vec<u8>, field: &[u8]) {
    ops.push(REMOVE);
    put_bytes(ops, field);
}

/// Appends the operation that changes when a field expires, if ever.
pub fn put_expire(ops: &mut Vec<u8>, field: &[u8], expire_at: Option<Millis>) {
    ops.push(EXPIRE);
    put_bytes(ops, field);
    ops.extend(expire_at.unwrap_or(0).to_le_bytes());
}

/// An operation.
enum Op<'a> {
    Set {
        field: &'a [u8],
        value: &'a [u8],
        expire_at: Option<Millis>,
    },
    Remove(&'a [u8]),
    Expire {
        field: &'a [u8],
        at: Option<Millis>,
    },
}

fn next_op<'a>(wire: &mut Wire<'a>) -> Option<Op<'a>> {
    let tag = wire.byte()?;
    let field = wire.bytes()?;
    match tag {
        SET => Some(Op::Set {
            field,
            value: wire.bytes()?,
            expire_at: None,
        }),
        SET_UNTIL => Some(Op::Set {
            field,
            value: wire.bytes()?,
            expire_at: time(wire.u64()?),
        }),
        REMOVE => Some(Op::Remove(field)),
        EXPIRE => Some(Op::Expire {
            field,
            at: time(wire.u64()?),
        }),
        _ => None,
    }
}

/// A time of expiry in an operation, where it is one.
fn time(at: u64) -> Option<Millis> {
    (1..=i64::MAX as u64).contains(&at).then_some(at)
}

/// The earliest time that operations let a field expire at.
#[must_use]
pub fn earliest_of_ops(ops: &[u8]) -> Option<Millis> {
    let mut wire = Wire::new(ops);
    let times = std::iter::from_fn(|| next_op(&mut wire)).filter_map(|op| match op {
        Op::Set { expire_at, .. } => expire_at,
        Op::Expire { at, .. } => at,
        Op::Remove(_) => None,
    });
    times.min()
}

/// A hash that is not packed.
#[derive(Clone, Debug)]
pub struct Hash {
    /// Fields, each with [`cell`] behind it.
    table: Table,
    dues: Dues,
}

const LASTS: u8 = 0;
const EXPIRES: u8 = 1;

/// What stands beside a field in a table: when it expires, and its value.
fn cell(stored: &[u8]) -> Cell<'_> {
    let (value, expire_at) = match stored.split_first() {
        Some((&EXPIRES, rest)) => match rest.split_first_chunk() {
            Some((at, value)) => (value, Some(u64::from_le_bytes(*at))),
            None => (rest, None),
        },
        Some((_, value)) => (value, None),
        None => (stored, None),
    };
    Cell {
        value: Element::Str(value),
        expire_at,
    }
}

impl Hash {
    /// The fields.
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// True with fields that expire.
    #[must_use]
    pub fn has_times(&self) -> bool {
        !self.dues.is_empty()
    }

    fn get(&self, field: &[u8]) -> Option<Cell<'_>> {
        self.table.get(field).map(cell)
    }

    fn set(&mut self, field: &[u8], value: &[u8], expire_at: Option<Millis>) {
        if !self.dues.is_empty() {
            self.forget_due(field);
        }
        let Some(at) = expire_at else {
            self.table.insert_parts(field, &[&[LASTS], value]);
            return;
        };
        let at_bytes = at.to_le_bytes();
        self.table
            .insert_parts(field, &[&[EXPIRES], &at_bytes, value]);
        self.dues.add(at, field);
    }

    /// Forgets when a field expires.
    fn forget_due(&mut self, field: &[u8]) {
        let known = self.get(field).and_then(|cell| cell.expire_at);
        if let Some(at) = known {
            self.dues.remove(at, field);
        }
    }

    fn remove(&mut self, field: &[u8]) {
        if !self.dues.is_empty() {
            self.forget_due(field);
        }
        self.table.remove(field);
    }

    fn expire(&mut self, field: &[u8], at: Option<Millis>) {
        let known = self.get(field).filter(|cell| cell.expire_at != at);
        if let Some(cell) = known {
            let value = cell.value.to_vec();
            self.set(field, &value, at);
        }
    }
}

impl Elements for Hash {
    fn new(packing: &Packing) -> Self {
        Self {
            table: Table::new(packing.seed),
            dues: Dues::default(),
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
        self.table.heap_bytes() + self.dues.heap_bytes()
    }

    fn apply(&mut self, ops: &[u8], _: &Packing) {
        let mut wire = Wire::new(ops);
        while let Some(op) = next_op(&mut wire) {
            match op {
                Op::Set {
                    field,
                    value,
                    expire_at,
                } => self.set(field, value, expire_at),
                Op::Remove(field) => self.remove(field),
                Op::Expire { field, at } => self.expire(field, at),
            }
        }
    }

    fn apply_packed(packed: &mut Vec<u8>, ops: &[u8], packing: &Packing) -> Fit {
        let mut small = Small::open(packed);
        let mut wire = Wire::new(ops);
        let mut fit = Fit::Packed;
        while let Some(op) = next_op(&mut wire) {
            match op {
                Op::Set {
                    field,
                    value,
                    expire_at,
                } => fit = small.set(field, value, expire_at, packing),
                Op::Remove(field) => small.remove(field),
                Op::Expire { field, at } => small.expire(field, at),
            }
            if fit == Fit::TooLarge {
                break;
            }
        }
        small.close(packed);
        fit
    }

    fn unpack(packed: &[u8], packing: &Packing) -> Self {
        let mut hash = Self::new(packing);
        let (mut field, mut value) = (itoa::Buffer::new(), itoa::Buffer::new());
        for row in PackedHash::of(packed).rows() {
            let (field, value) = (row.field.text(&mut field), row.cell.value.text(&mut value));
            hash.set(field, value, row.cell.expire_at);
        }
        hash
    }

    fn write_from(&self, position: u64, bytes: usize, ops: &mut Vec<u8>) -> Option<u64> {
        let end = ops.len().saturating_add(bytes);
        for (position, (field, stored)) in (position..).zip(self.table.rows_from(position)) {
            if ops.len() >= end {
                return Some(position);
            }
            let Cell { value, expire_at } = cell(stored);
            put_set(ops, field, value.text(&mut itoa::Buffer::new()), expire_at);
        }
        None
    }

    fn into_wreck(self) -> Box<dyn Wreckage> {
        let dues = self.dues.into_wreck();
        let parts = dues.into_iter().chain([self.table.into_wreck()]);
        Box::new(Wrecks::new(0, parts.collect()))
    }
}
